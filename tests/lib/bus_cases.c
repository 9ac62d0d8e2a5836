/* The shared cases of the bus. Each has a topic of its own, so that none sees another's messages, and a group of its
 * own.
 *
 * Not here, because the mock cluster cannot do it: a log whose start was cut off, and a broker that goes away and comes
 * back. Those stand in test_bus_kafka. */
#include "bus_cases.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "penstock/mem.h"
#include "testlib.h"

#define DEADLINE_MS 60000
#define POLL_MS     100

const struct bus_topic bus_cases_topics[] = {
    {"round", 1, 1, NULL, NULL},  {"nulls", 1, 1, NULL, NULL},      {"order", 4, 1, NULL, NULL},
    {"start", 2, 1, NULL, NULL},  {"retry", 1, 1, NULL, NULL},      {"share", 4, 1, NULL, NULL},
    {"pause", 2, 1, NULL, NULL},  {"from-0", 3, 1, NULL, NULL},     {"from-end", 2, 1, NULL, NULL},
    {"murmur", 7, 1, NULL, NULL}, {"lone", 1, 1, NULL, NULL},       {"commit", 1, 1, NULL, NULL},
    {"batch", 1, 1, NULL, NULL},  {"large", 1, 1, NULL, "2097152"}, {"cut", 1, 1, NULL, NULL},
    {"away", 1, 1, NULL, NULL},   {"keep", 1, 1, NULL, NULL},       {"again", 1, 1, NULL, NULL},
};
const size_t bus_cases_topic_count = sizeof bus_cases_topics / sizeof *bus_cases_topics;

/* Members hear of a rebalance with their next heartbeat: soon, here, so that the cases do not wait for it. */
static struct bus_property props_of_all[] = {
    {"bootstrap.servers", NULL}, {"session.timeout.ms", "6000"}, {"heartbeat.interval.ms", "200"}};

struct bus_kafka_config bus_cases_config(void) {
    return (struct bus_kafka_config){.client_id = "test", .props = props_of_all, .prop_count = 3};
}

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static int assigned(void *self, struct bus_position *positions, const int64_t *low, const int64_t *high, size_t count,
                    struct err *err) {
    struct bus_cases_group *group = self;
    group->asked++;
    if (group->failures > 0) {
        group->failures--;
        return err_set(err, ERR_STORE_UNAVAILABLE, "the store is away");
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(positions[i].offset, BUS_OFFSET_BEGINNING);
        positions[i].offset = group->start;
        group->low = low[i];
        group->high = high[i];
    }
    group->assigned += count;
    return 0;
}

static void revoked(void *self, const struct bus_position *positions, size_t count) {
    struct bus_cases_group *group = self;
    group->assigned -= count;
}

struct bus_consumer *bus_cases_join(struct bus_cases_group *group, const char *name, const char *topic) {
    struct bus_kafka_config cfg = bus_cases_config();
    struct bus_assign_ops ops = {.self = group, .assigned = assigned, .revoked = revoked};
    struct bus_consumer *con;
    struct err err;
    if (bus_kafka_group_consumer(&cfg, name, NULL, &topic, 1, &ops, &con, &err) != 0) fail_msg("%s", err.msg);
    return con;
}

struct deliveries {
    int good, bad;
    struct err last;
};

static void on_delivered(void *self, uint64_t tag, const struct err *err) {
    struct deliveries *got = self;
    if (!err) {
        got->good++;
        return;
    }
    got->bad++;
    got->last = *err;
}

static struct bus_producer *new_producer(const struct bus_kafka_config *cfg, struct deliveries *got) {
    struct bus_producer *prod;
    struct err err;
    if (bus_kafka_producer(cfg, on_delivered, got, &prod, &err) != 0) fail_msg("%s", err.msg);
    return prod;
}

static void wait_delivered(struct bus_producer *prod, const struct deliveries *got, int count) {
    int64_t deadline_ms = test_mono_ms() + DEADLINE_MS;
    struct err err;
    while (got->good + got->bad < count) {
        if (bus_producer_poll(prod, POLL_MS, &err) != 0) fail_msg("%s", err.msg);
        if (test_mono_ms() > deadline_ms) fail_msg("%d of %d delivered in time", got->good, count);
    }
    if (got->bad) fail_msg("%d not delivered: %s", got->bad, got->last.msg);
}

static void produce_one(const struct bus_out *msg) {
    struct bus_kafka_config cfg = bus_cases_config();
    struct deliveries got = {0};
    struct bus_producer *prod = new_producer(&cfg, &got);
    struct err err;
    if (bus_produce(prod, msg, &err) != 0) fail_msg("%s", err.msg);
    wait_delivered(prod, &got, 1);
    bus_producer_free(prod);
}

void bus_cases_produce(const char *topic, int32_t partition, const char *prefix, int count) {
    struct bus_kafka_config cfg = bus_cases_config();
    struct deliveries got = {0};
    struct bus_producer *prod = new_producer(&cfg, &got);
    for (int i = 0; i < count; i++) {
        char text[64];
        size_t len = (size_t)snprintf(text, sizeof text, "%s%d", prefix, i);
        struct bus_out msg = {topic, partition, text, len, text, len, NULL, 0, (uint64_t)i};
        struct err err;
        if (bus_produce(prod, &msg, &err) != 0) fail_msg("%s", err.msg);
    }
    wait_delivered(prod, &got, count);
    bus_producer_free(prod);
}

void bus_cases_take(struct bus_consumer *con, int count, bus_cases_each_fn *each, void *self) {
    int64_t deadline_ms = test_mono_ms() + DEADLINE_MS;
    int got = 0;
    while (got < count) {
        struct bus_batch batch = {0};
        struct err err;
        if (bus_poll(con, 256, POLL_MS, &batch, &err) != 0) fail_msg("%s", err.msg);
        for (size_t i = 0; i < batch.count; i++)
            if (each) each(self, &batch.msgs[i]);
        got += (int)batch.count;
        bus_batch_release(&batch);
        if (test_mono_ms() > deadline_ms) fail_msg("%d of %d messages came in time", got, count);
    }
    assert_int_equal(got, count);
}

/* How many messages come within `ms`: to show that none do. */
static int take_for(struct bus_consumer *con, int ms) {
    int64_t deadline_ms = test_mono_ms() + ms;
    int got = 0;
    while (test_mono_ms() < deadline_ms) {
        struct bus_batch batch = {0};
        struct err err;
        if (bus_poll(con, 256, 20, &batch, &err) != 0) fail_msg("%s", err.msg);
        got += (int)batch.count;
        bus_batch_release(&batch);
    }
    return got;
}

static struct bus_consumer *open_reader(const char *topic, int64_t from, struct bus_position **ret_ends,
                                        size_t *ret_count) {
    struct bus_kafka_config cfg = bus_cases_config();
    struct bus_consumer *con;
    struct err err;
    if (bus_kafka_reader(&cfg, topic, from, &con, ret_ends, ret_count, &err) != 0) fail_msg("%s", err.msg);
    return con;
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static void check_round_trip(void *self, const struct bus_msg *msg) {
    assert_string_equal(msg->topic, "round");
    assert_int_equal(msg->partition, 0);
    assert_int_equal(msg->offset, 0);
    assert_true(msg->timestamp_ms > 0);
    assert_int_equal(msg->key_len, 5);
    assert_memory_equal(msg->key, "job-1", 5);
    assert_int_equal(msg->value_len, 7);
    assert_memory_equal(msg->value, "a\0b\xff{}\n", 7);
    assert_int_equal(msg->header_count, 3);
    assert_string_equal(msg->headers[0].name, "ce_id");
    assert_int_equal(msg->headers[0].value_len, 7);
    assert_memory_equal(msg->headers[0].value, "job-1:1", 7);
    assert_string_equal(msg->headers[1].name, "ce_id"); /* a header may be repeated */
    assert_int_equal(msg->headers[1].value_len, 0);
    assert_non_null(msg->headers[1].value);
    assert_string_equal(msg->headers[2].name, "absent");
    assert_null(msg->headers[2].value);
}

static void test_message_arrives_with_its_key_value_and_headers(void **state) {
    struct bus_header headers[] = {{"ce_id", "job-1:1", 7}, {"ce_id", "", 0}, {"absent", NULL, 0}};
    produce_one(&(struct bus_out){"round", -1, "job-1", 5, "a\0b\xff{}\n", 7, headers, 3, 1});
    struct bus_consumer *con = open_reader("round", BUS_OFFSET_BEGINNING, NULL, NULL);
    bus_cases_take(con, 1, check_round_trip, NULL);
    bus_consumer_free(con);
}

static void check_nulls(void *self, const struct bus_msg *msg) {
    assert_null(msg->key);
    assert_null(msg->value);
    assert_int_equal(msg->header_count, 0);
}

static void test_null_key_and_null_value_stay_null(void **state) {
    produce_one(&(struct bus_out){.topic = "nulls", .partition = -1});
    struct bus_consumer *con = open_reader("nulls", BUS_OFFSET_BEGINNING, NULL, NULL);
    bus_cases_take(con, 1, check_nulls, NULL);
    bus_consumer_free(con);
}

#define LARGE_BYTES (1024 * 1024)

static void check_large(void *self, const struct bus_msg *msg) {
    assert_int_equal(msg->value_len, LARGE_BYTES);
    assert_int_equal(msg->value[LARGE_BYTES - 1], 'z');
    assert_int_equal(msg->headers[0].value_len, 8192);
}

/* The largest command, with what a dead letter puts in its headers. */
static void test_dead_letter_of_the_largest_command_passes(void **state) {
    char *value = mem_alloc(LARGE_BYTES), *reason = mem_alloc(8192);
    memset(value, 'z', LARGE_BYTES);
    memset(reason, 'r', 8192);
    struct bus_header header = {"reason", reason, 8192};
    produce_one(&(struct bus_out){"large", 0, "k", 1, value, LARGE_BYTES, &header, 1, 0});
    struct bus_consumer *con = open_reader("large", BUS_OFFSET_BEGINNING, NULL, NULL);
    bus_cases_take(con, 1, check_large, NULL);
    bus_consumer_free(con);
    free(value);
    free(reason);
}

#define ORDER_KEYS 20
struct order {
    int next[ORDER_KEYS];
    int partition[ORDER_KEYS];
};

static void check_order(void *self, const struct bus_msg *msg) {
    struct order *order = self;
    int key = atoi(msg->key), value = atoi(msg->value); /* each ends in a byte that is no digit */
    assert_in_range(key, 0, ORDER_KEYS - 1);
    assert_int_equal(value, order->next[key]++);
    if (value == 0) order->partition[key] = msg->partition;
    assert_int_equal(msg->partition, order->partition[key]);
}

static void test_messages_of_one_key_stay_in_order(void **state) {
    struct bus_kafka_config cfg = bus_cases_config();
    struct deliveries got = {0};
    struct bus_producer *prod = new_producer(&cfg, &got);
    for (int i = 0; i < 100 * ORDER_KEYS; i++) {
        char key[16], value[16];
        size_t key_len = (size_t)snprintf(key, sizeof key, "%d/", i % ORDER_KEYS);
        size_t value_len = (size_t)snprintf(value, sizeof value, "%d/", i / ORDER_KEYS);
        struct err err;
        struct bus_out msg = {"order", -1, key, key_len, value, value_len, NULL, 0, 0};
        assert_int_equal(bus_produce(prod, &msg, &err), 0);
    }
    wait_delivered(prod, &got, 100 * ORDER_KEYS);
    bus_producer_free(prod);
    struct order order = {0};
    struct bus_consumer *con = open_reader("order", BUS_OFFSET_BEGINNING, NULL, NULL);
    bus_cases_take(con, 100 * ORDER_KEYS, check_order, &order);
    bus_consumer_free(con);
}

/* The keys and hashes of Apache Kafka's own UtilsTest.testMurmur2; partition = (hash & 0x7fffffff) % partitions. */
static const struct {
    const char *key;
    int32_t hash;
} murmur2[] = {
    {"21", -973932308},
    {"foobar", -790332482},
    {"a-little-bit-long-string", -985981536},
    {"a-little-bit-longer-string", -1486304829},
    {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    {"abc", 479470107},
};

static void check_partition(void *self, const struct bus_msg *msg) {
    int *found = self;
    for (size_t i = 0; i < sizeof murmur2 / sizeof *murmur2; i++) {
        if (strlen(murmur2[i].key) != msg->key_len || memcmp(murmur2[i].key, msg->key, msg->key_len) != 0) continue;
        assert_int_equal(msg->partition, (murmur2[i].hash & 0x7fffffff) % 7);
        ++*found;
    }
}

static void test_key_goes_to_the_partition_that_java_clients_choose(void **state) {
    int count = sizeof murmur2 / sizeof *murmur2, found = 0;
    for (int i = 0; i < count; i++)
        produce_one(&(struct bus_out){"murmur", -1, murmur2[i].key, strlen(murmur2[i].key), "v", 1, NULL, 0, 0});
    struct bus_consumer *con = open_reader("murmur", BUS_OFFSET_BEGINNING, NULL, NULL);
    bus_cases_take(con, count, check_partition, &found);
    assert_int_equal(found, count);
    bus_consumer_free(con);
}

/* --- the group consumer ------------------------------------------------------------------------------------------- */

static void check_from_5(void *self, const struct bus_msg *msg) { assert_true(msg->offset >= 5); }

static void test_reading_starts_where_the_assignment_says(void **state) {
    bus_cases_produce("start", 0, "a", 12);
    bus_cases_produce("start", 1, "b", 12);
    struct bus_cases_group group = {.start = 5};
    struct bus_consumer *con = bus_cases_join(&group, "start-group", "start");
    bus_cases_take(con, 2 * (12 - 5), check_from_5, NULL);
    assert_int_equal(group.assigned, 2);
    assert_int_equal(group.low, 0);
    assert_int_equal(group.high, 12);
    bus_consumer_free(con);
}

static void test_failed_assignment_is_returned_and_asked_again(void **state) {
    bus_cases_produce("retry", 0, "a", 3);
    struct bus_cases_group group = {.start = 1, .failures = 2};
    struct bus_consumer *con = bus_cases_join(&group, "retry-group", "retry");
    int64_t deadline_ms = test_mono_ms() + DEADLINE_MS;
    int errors = 0;
    while (errors < 2) {
        struct bus_batch batch = {0};
        struct err err;
        if (bus_poll(con, 10, POLL_MS, &batch, &err) != 0) {
            assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
            assert_string_equal(err.msg, "the store is away");
            errors++;
        }
        assert_int_equal(batch.count, 0);
        bus_batch_release(&batch);
        assert_true(test_mono_ms() < deadline_ms);
    }
    bus_cases_take(con, 2, NULL, NULL);
    assert_int_equal(group.asked, 3);
    bus_consumer_free(con);
}

static void test_member_that_leaves_with_a_pending_assignment_does_not_hang(void **state) {
    struct bus_cases_group group = {.failures = 1000000};
    struct bus_consumer *con = bus_cases_join(&group, "leave-group", "retry");
    int64_t deadline_ms = test_mono_ms() + DEADLINE_MS;
    while (group.asked == 0) {
        struct bus_batch batch = {0};
        struct err err;
        if (bus_poll(con, 10, POLL_MS, &batch, &err) != 0) assert_int_equal(err.class, ERR_CLASS_RETRY);
        bus_batch_release(&batch);
        assert_true(test_mono_ms() < deadline_ms);
    }
    int64_t before_ms = test_mono_ms();
    bus_consumer_free(con);
    assert_true(test_mono_ms() - before_ms < DEADLINE_MS / 2);
}

/* Polls both members until they hold a and b partitions. */
static void wait_shares(struct bus_consumer *con_a, struct bus_cases_group *a, size_t want_a,
                        struct bus_consumer *con_b, struct bus_cases_group *b, size_t want_b) {
    int64_t deadline_ms = test_mono_ms() + DEADLINE_MS;
    while (a->assigned != want_a || (b && b->assigned != want_b)) {
        if (take_for(con_a, 10) > 0) fail_msg("a message was read that nobody produced");
        if (con_b && take_for(con_b, 10) > 0) fail_msg("a message was read that nobody produced");
        if (test_mono_ms() > deadline_ms) fail_msg("members hold %zu and %zu", a->assigned, b ? b->assigned : 0);
    }
}

static void test_two_members_share_the_partitions_and_the_survivor_inherits(void **state) {
    struct bus_cases_group a = {.start = BUS_OFFSET_BEGINNING}, b = {.start = BUS_OFFSET_BEGINNING};
    struct bus_consumer *con_a = bus_cases_join(&a, "share-group", "share");
    wait_shares(con_a, &a, 4, NULL, NULL, 0);
    struct bus_consumer *con_b = bus_cases_join(&b, "share-group", "share");
    wait_shares(con_a, &a, 2, con_b, &b, 2);
    bus_consumer_free(con_b);
    wait_shares(con_a, &a, 4, NULL, NULL, 0);
    for (int partition = 0; partition < 4; partition++) bus_cases_produce("share", partition, "x", 5);
    bus_cases_take(con_a, 20, NULL, NULL);
    bus_consumer_free(con_a);
}

/* Its assignment stands in librdkafka's queue and has not been seen by anybody. */
static void test_member_that_never_polled_leaves_without_hanging(void **state) {
    struct bus_cases_group a = {.start = BUS_OFFSET_BEGINNING}, b = {.start = BUS_OFFSET_BEGINNING};
    struct bus_consumer *con_a = bus_cases_join(&a, "silent-group", "share");
    wait_shares(con_a, &a, 4, NULL, NULL, 0);
    struct bus_consumer *con_b = bus_cases_join(&b, "silent-group", "share");
    wait_shares(con_a, &a, 2, NULL, NULL, 0); /* a has given up b's part: b is a member */
    alarm(DEADLINE_MS / 1000);                /* a hang ends the test */
    bus_consumer_free(con_b);
    alarm(0);
    assert_int_equal(b.asked, 0);
    wait_shares(con_a, &a, 4, NULL, NULL, 0);
    bus_consumer_free(con_a);
}

static int64_t take_one(struct bus_consumer *con) {
    int64_t deadline_ms = test_mono_ms() + DEADLINE_MS;
    struct bus_batch batch = {0};
    struct err err;
    while (batch.count == 0) {
        if (bus_poll(con, 1, POLL_MS, &batch, &err) != 0) assert_int_equal(err.class, ERR_CLASS_RETRY);
        assert_true(test_mono_ms() < deadline_ms);
        if (batch.count == 0) bus_batch_release(&batch);
    }
    int64_t offset = batch.msgs[0].offset;
    bus_batch_release(&batch);
    return offset;
}

/* What librdkafka has fetched beyond that place is not given out. */
static void test_member_asks_again_and_goes_on_where_it_is_told(void **state) {
    bus_cases_produce("again", 0, "x", 8);
    struct bus_cases_group group = {.start = 0};
    struct bus_consumer *con = bus_cases_join(&group, "again-group", "again");
    bus_ask_again(con); /* before anything is assigned */
    for (int64_t offset = 0; offset < 4; offset++) assert_int_equal(take_one(con), offset);
    int asked = group.asked;
    group.start = 2;
    group.failures = 1; /* the store is away at first */
    bus_ask_again(con);
    for (int64_t offset = 2; offset < 8; offset++) assert_int_equal(take_one(con), offset);
    assert_true(group.asked >= asked + 2);
    bus_consumer_free(con);
}

static void test_paused_topic_brings_nothing_until_it_is_resumed(void **state) {
    struct bus_cases_group group = {.start = BUS_OFFSET_BEGINNING};
    struct bus_consumer *con = bus_cases_join(&group, "pause-group", "pause");
    struct err err;
    assert_int_equal(bus_pause(con, "pause", true, &err), 0); /* before anything is assigned */
    wait_shares(con, &group, 2, NULL, NULL, 0);
    bus_cases_produce("pause", 0, "a", 10);
    bus_cases_produce("pause", 1, "b", 10);
    assert_int_equal(take_for(con, 300), 0);
    assert_int_equal(bus_pause(con, "pause", false, &err), 0);
    bus_cases_take(con, 20, NULL, NULL);
    assert_int_equal(bus_pause(con, "pause", true, &err), 0); /* and while assigned */
    bus_cases_produce("pause", 0, "c", 10);
    assert_int_equal(take_for(con, 300), 0);
    assert_int_equal(bus_pause(con, "pause", false, &err), 0);
    bus_cases_take(con, 10, NULL, NULL);
    bus_consumer_free(con);
}

/* A poll that waited for a full batch, or for its whole timeout, would take as long as the timeout. */
static void test_lone_message_ends_the_wait(void **state) {
    struct bus_cases_group group = {.start = BUS_OFFSET_BEGINNING};
    struct bus_consumer *con = bus_cases_join(&group, "lone-group", "lone");
    wait_shares(con, &group, 1, NULL, NULL, 0);
    bus_cases_produce("lone", 0, "x", 1);
    struct bus_batch batch = {0};
    struct err err;
    int64_t before_ms = test_mono_ms();
    assert_int_equal(bus_poll(con, 256, 10000, &batch, &err), 0);
    assert_int_equal(batch.count, 1);
    assert_true(test_mono_ms() - before_ms < 5000);
    bus_batch_release(&batch);
    bus_consumer_free(con);
}

static void test_batch_is_never_larger_than_asked_for(void **state) {
    bus_cases_produce("batch", 0, "x", 100);
    struct bus_consumer *con = open_reader("batch", BUS_OFFSET_BEGINNING, NULL, NULL);
    size_t got = 0, largest = 0;
    while (got < 100) {
        struct bus_batch batch = {0};
        struct err err;
        assert_int_equal(bus_poll(con, 7, 10000, &batch, &err), 0);
        assert_in_range(batch.count, 1, 7);
        got += batch.count;
        if (batch.count > largest) largest = batch.count;
        bus_batch_release(&batch);
        bus_batch_release(&batch); /* twice is safe */
    }
    assert_int_equal(largest, 7); /* and it does gather */
    bus_consumer_free(con);
}

static int64_t committed_offset(const char *group, const char *topic) {
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", props_of_all[0].value, why, sizeof why), 0);
    assert_int_equal(rd_kafka_conf_set(conf, "group.id", group, why, sizeof why), 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    assert_non_null(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0);
    assert_int_equal(rd_kafka_committed(rk, list, DEADLINE_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return offset;
}

static void test_commit_reaches_the_group(void **state) {
    bus_cases_produce("commit", 0, "x", 4);
    struct bus_cases_group group = {.start = BUS_OFFSET_BEGINNING};
    struct bus_consumer *con = bus_cases_join(&group, "commit-group", "commit");
    bus_cases_take(con, 4, NULL, NULL);
    struct bus_position position = {"commit", 0, 4};
    struct err err;
    assert_int_equal(bus_commit(con, &position, 1, &err), 0);
    assert_int_equal(bus_commit(con, NULL, 0, &err), 0);
    int64_t deadline_ms = test_mono_ms() + DEADLINE_MS;
    while (committed_offset("commit-group", "commit") != 4) assert_true(test_mono_ms() < deadline_ms);
    bus_consumer_free(con);
}

/* --- the reader --------------------------------------------------------------------------------------------------- */

static void test_reader_from_the_beginning_reads_up_to_the_ends(void **state) {
    bus_cases_produce("from-0", 0, "a", 7);
    bus_cases_produce("from-0", 2, "c", 9); /* partition 1 stays empty */
    struct bus_position *ends;
    size_t end_count;
    struct bus_consumer *con = open_reader("from-0", BUS_OFFSET_BEGINNING, &ends, &end_count);
    assert_int_equal(end_count, 3);
    assert_int_equal(ends[0].offset, 7);
    assert_int_equal(ends[1].offset, 0);
    assert_int_equal(ends[2].offset, 9);
    assert_string_equal(ends[2].topic, "from-0");
    assert_false(bus_kafka_reader_caught_up(con));
    bus_cases_take(con, 16, NULL, NULL);
    assert_true(bus_kafka_reader_caught_up(con));
    free(ends);
    bus_consumer_free(con);
}

static void check_starts_with_n(void *self, const struct bus_msg *msg) { assert_int_equal(msg->key[0], 'n'); }

static void test_reader_from_the_end_sees_only_what_follows(void **state) {
    bus_cases_produce("from-end", 0, "old", 5);
    struct bus_consumer *con = open_reader("from-end", BUS_OFFSET_END, NULL, NULL);
    assert_true(bus_kafka_reader_caught_up(con));
    bus_cases_produce("from-end", 0, "new", 3); /* before the first poll */
    bus_cases_produce("from-end", 1, "new", 3);
    bus_cases_take(con, 6, check_starts_with_n, NULL);
    bus_consumer_free(con);
}

/* --- what goes wrong ---------------------------------------------------------------------------------------------- */

static void assert_unreachable(const struct err *err, const char *address) {
    assert_int_equal(err->code, ERR_BUS_UNAVAILABLE);
    assert_int_equal(err->class, ERR_CLASS_RETRY);
    if (!strstr(err->msg, address) || !strstr(err->msg, "Connection refused"))
        fail_msg("not a complete message: %s", err->msg);
}

static void test_unreachable_broker_is_a_retry_that_names_it(void **state) {
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", test_free_port());
    struct bus_property props[] = {{"bootstrap.servers", address}, {"message.timeout.ms", "500"}};
    struct bus_kafka_config cfg = {.props = props, .prop_count = 2};
    struct err err;
    assert_int_equal(bus_kafka_create_topics(&cfg, bus_cases_topics, 1, &err), -1);
    assert_unreachable(&err, address);

    struct bus_consumer *con;
    assert_int_equal(bus_kafka_reader(&cfg, "round", BUS_OFFSET_END, &con, NULL, NULL, &err), -1);
    assert_unreachable(&err, address);

    struct bus_cases_group group = {0};
    struct bus_assign_ops ops = {.self = &group, .assigned = assigned};
    const char *topic = "round";
    assert_int_equal(bus_kafka_group_consumer(&cfg, "g", NULL, &topic, 1, &ops, &con, &err), 0);
    struct bus_batch batch = {0};
    for (int i = 0; i < 2; i++) { /* for as long as it is away, not once */
        while (bus_poll(con, 1, POLL_MS, &batch, &err) == 0) assert_int_equal(batch.count, 0);
        assert_unreachable(&err, address);
    }
    bus_consumer_free(con);

    struct deliveries got = {0};
    struct bus_producer *prod = new_producer(&cfg, &got);
    struct bus_out msg = {"round", -1, "k", 1, "v", 1, NULL, 0, 1};
    assert_int_equal(bus_produce(prod, &msg, &err), 0);
    while (got.bad == 0) assert_int_equal(bus_producer_poll(prod, POLL_MS, &err), 0);
    assert_unreachable(&got.last, address);
    bus_producer_free(prod);
}

static void test_full_queue_is_a_retry_and_freeing_drops_it_silently(void **state) {
    struct bus_property props[] = {{"bootstrap.servers", "127.0.0.1:1"}, {"queue.buffering.max.messages", "10"}};
    struct bus_kafka_config cfg = {.props = props, .prop_count = 2};
    struct deliveries got = {0};
    struct bus_producer *prod = new_producer(&cfg, &got);
    struct bus_out msg = {"round", 0, "k", 1, "v", 1, (struct bus_header[]){{"h", "v", 1}}, 1, 1};
    struct err err;
    for (int i = 0; i < 10; i++) assert_int_equal(bus_produce(prod, &msg, &err), 0);
    assert_int_equal(bus_produce(prod, &msg, &err), -1);
    assert_int_equal(err.code, ERR_BUS_UNAVAILABLE);
    if (!strstr(err.msg, "the queue of unsent messages is full")) fail_msg("not a complete message: %s", err.msg);
    bus_producer_free(prod);
    assert_int_equal(got.good + got.bad, 0);
}

static void test_message_over_the_limit_is_rejected_as_too_large(void **state) {
    struct bus_kafka_config cfg = bus_cases_config();
    struct deliveries got = {0};
    struct bus_producer *prod = new_producer(&cfg, &got);
    char *big = mem_calloc(3 * 1024 * 1024, 1);
    struct bus_out msg = {"round", 0, NULL, 0, big, 3 * 1024 * 1024, NULL, 0, 1};
    struct err err;
    assert_int_equal(bus_produce(prod, &msg, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    free(big);
    bus_producer_free(prod);
}

static void test_creating_topics_that_exist_is_no_error(void **state) {
    struct bus_kafka_config cfg = bus_cases_config();
    struct err err;
    for (int i = 0; i < 2; i++)
        if (bus_kafka_create_topics(&cfg, bus_cases_topics, bus_cases_topic_count, &err) != 0) fail_msg("%s", err.msg);
}

static const struct CMUnitTest shared[] = {
    cmocka_unit_test(test_creating_topics_that_exist_is_no_error),
    cmocka_unit_test(test_message_arrives_with_its_key_value_and_headers),
    cmocka_unit_test(test_null_key_and_null_value_stay_null),
    cmocka_unit_test(test_dead_letter_of_the_largest_command_passes),
    cmocka_unit_test(test_messages_of_one_key_stay_in_order),
    cmocka_unit_test(test_key_goes_to_the_partition_that_java_clients_choose),
    cmocka_unit_test(test_reading_starts_where_the_assignment_says),
    cmocka_unit_test(test_failed_assignment_is_returned_and_asked_again),
    cmocka_unit_test(test_member_that_leaves_with_a_pending_assignment_does_not_hang),
    cmocka_unit_test(test_member_that_never_polled_leaves_without_hanging),
    cmocka_unit_test(test_two_members_share_the_partitions_and_the_survivor_inherits),
    cmocka_unit_test(test_member_asks_again_and_goes_on_where_it_is_told),
    cmocka_unit_test(test_paused_topic_brings_nothing_until_it_is_resumed),
    cmocka_unit_test(test_lone_message_ends_the_wait),
    cmocka_unit_test(test_batch_is_never_larger_than_asked_for),
    cmocka_unit_test(test_commit_reaches_the_group),
    cmocka_unit_test(test_reader_from_the_beginning_reads_up_to_the_ends),
    cmocka_unit_test(test_reader_from_the_end_sees_only_what_follows),
    cmocka_unit_test(test_unreachable_broker_is_a_retry_that_names_it),
    cmocka_unit_test(test_full_queue_is_a_retry_and_freeing_drops_it_silently),
    cmocka_unit_test(test_message_over_the_limit_is_rejected_as_too_large),
};

int bus_cases_run(const char *bootstrap, const struct CMUnitTest *more, size_t more_count) {
    props_of_all[0].value = bootstrap;
    size_t shared_count = sizeof shared / sizeof *shared, count = shared_count + more_count;
    struct CMUnitTest *tests = mem_calloc(count, sizeof *tests);
    memcpy(tests, shared, sizeof shared);
    if (more_count) memcpy(tests + shared_count, more, more_count * sizeof *more);
    int failures = _cmocka_run_group_tests("bus", tests, count, NULL, NULL);
    free(tests);
    return failures;
}
