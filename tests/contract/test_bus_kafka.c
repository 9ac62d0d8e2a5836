/* The bus on a real Apache Kafka: the shared cases, and what the mock cluster cannot show: a log whose start was cut
 * off under the reader's position, a topic that is not there, a message that is refused, a broker that is killed and
 * comes back, rebalances that take no time. */
#include "bus_cases.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/mem.h"
#include "testlib.h"

static struct test_kafka *kafka;

/* As retention does, only now: deletes everything before `offset` of topic[0]. */
static void cut_off(const char *topic, int64_t offset) {
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", test_kafka_bootstrap(kafka), why, sizeof why), 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert_non_null(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteRecords(rk, &request, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
    assert_non_null(event);
    assert_int_equal(rd_kafka_event_error(event), 0);
    const rd_kafka_DeleteRecords_result_t *result = rd_kafka_event_DeleteRecords_result(event);
    assert_int_equal(rd_kafka_DeleteRecords_result_offsets(result)->elems[0].err, 0);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
}

/* Polls until an error comes. */
static void poll_error(struct bus_consumer *con, struct err *ret) {
    int64_t deadline_ms = test_mono_ms() + 30000;
    struct bus_batch batch = {0};
    while (bus_poll(con, 10, 100, &batch, ret) == 0) {
        assert_int_equal(batch.count, 0);
        bus_batch_release(&batch);
        assert_true(test_mono_ms() < deadline_ms);
    }
}

static void test_commands_deleted_before_they_were_read_are_an_error_with_their_range(void **state) {
    bus_cases_produce("cut", 0, "x", 30);
    cut_off("cut", 20);
    struct bus_cases_group group = {.start = 7};
    struct bus_consumer *con = bus_cases_join(&group, "cut-group", "cut");
    struct err err;
    for (int i = 0; i < 2; i++) { /* it stays: the partition stands still */
        poll_error(con, &err);
        assert_int_equal(err.code, ERR_COMMANDS_LOST);
        if (!strstr(err.msg, "cut[0]: offsets 7 to 19 (13) were deleted unread; the log starts at 20"))
            fail_msg("not a complete message: %s", err.msg);
    }
    assert_int_equal(group.low, 20);
    bus_consumer_free(con);
}

static void test_position_beyond_the_end_of_the_log_is_an_error(void **state) {
    bus_cases_produce("cut", 0, "x", 1);
    struct bus_cases_group group = {.start = 1000};
    struct bus_consumer *con = bus_cases_join(&group, "beyond-group", "cut");
    struct err err;
    poll_error(con, &err);
    assert_int_equal(err.code, ERR_COMMANDS_LOST);
    if (!strstr(err.msg, "the next offset to read is 1000, but the log ends at "))
        fail_msg("not a complete message: %s", err.msg);
    bus_consumer_free(con);
}

static void keep_error(void *self, uint64_t tag, const struct err *err) {
    assert_non_null(err);
    *(struct err *)self = *err;
}

/* A message that the broker refuses, larger than the topic takes (1 MiB). Returns what bus_producer_poll said. */
static int produce_refused(const char *gapless, struct err *ret_delivery, struct err *ret_poll) {
    struct bus_property props[] = {{"bootstrap.servers", test_kafka_bootstrap(kafka)},
                                   {"enable.gapless.guarantee", gapless}};
    struct bus_kafka_config cfg = {.props = props, .prop_count = 2};
    size_t size = 1536 * 1024;
    char *value = mem_calloc(size, 1);
    struct bus_producer *prod;
    if (bus_kafka_producer(&cfg, keep_error, ret_delivery, &prod, ret_poll) != 0) fail_msg("%s", ret_poll->msg);
    struct bus_out msg = {"round", 0, "k", 1, value, size, NULL, 0, 0};
    assert_int_equal(bus_produce(prod, &msg, ret_poll), 0);
    int rc = 0;
    int64_t deadline_ms = test_mono_ms() + 30000;
    while (rc == 0 && ret_delivery->code == ERR_NONE && test_mono_ms() < deadline_ms)
        rc = bus_producer_poll(prod, 100, ret_poll);
    if (rc != 0) { /* and produces nothing any more */
        struct err err;
        msg.value_len = 1;
        assert_int_equal(bus_produce(prod, &msg, &err), -1);
        assert_int_equal(err.code, ERR_BUS_FATAL);
    }
    bus_producer_free(prod);
    free(value);
    return rc;
}

static void test_message_that_the_broker_refuses_is_delivered_as_too_large(void **state) {
    struct err delivery = {0}, poll = {0};
    assert_int_equal(produce_refused("false", &delivery, &poll), 0);
    assert_int_equal(delivery.code, ERR_TOO_LARGE);
}

static void test_producer_that_must_not_leave_gaps_ends_at_a_refused_message(void **state) {
    struct err delivery = {0}, poll = {0};
    assert_int_equal(produce_refused("true", &delivery, &poll), -1);
    assert_int_equal(poll.code, ERR_BUS_FATAL);
    assert_int_equal(poll.class, ERR_CLASS_FATAL);
    if (!strstr(poll.msg, "GAPLESS")) fail_msg("not a complete message: %s", poll.msg);
}

static void test_broker_that_was_killed_is_a_retry_and_reading_goes_on_when_it_is_back(void **state) {
    bus_cases_produce("away", 0, "x", 3);
    struct bus_cases_group group = {.start = BUS_OFFSET_BEGINNING};
    struct bus_consumer *con = bus_cases_join(&group, "away-group", "away");
    bus_cases_take(con, 3, NULL, NULL);
    struct bus_cases_group leaver_group = {.start = BUS_OFFSET_BEGINNING};
    struct bus_consumer *leaver = bus_cases_join(&leaver_group, "leaver-group", "away");
    bus_cases_take(leaver, 3, NULL, NULL);
    group.start = 3; /* the member may lose its partition and be asked again where to go on */
    test_kafka_kill9(kafka);
    struct err err;
    for (int i = 0; i < 3; i++) { /* for as long as it is away, not once */
        poll_error(con, &err);
        assert_int_equal(err.code, ERR_BUS_UNAVAILABLE);
        assert_int_equal(err.class, ERR_CLASS_RETRY);
        if (!strstr(err.msg, test_kafka_bootstrap(kafka))) fail_msg("not a complete message: %s", err.msg);
    }
    int64_t before_ms = test_mono_ms();
    bus_consumer_free(leaver); /* nobody is there to take leave of */
    assert_true(test_mono_ms() - before_ms < 15000);
    test_kafka_restart(kafka);
    bus_cases_produce("away", 0, "y", 4);
    int64_t deadline_ms = test_mono_ms() + 60000;
    size_t got = 0;
    while (got < 4) { /* an error or two may still come while the client finds its way back */
        struct bus_batch batch = {0};
        if (bus_poll(con, 10, 100, &batch, &err) != 0) assert_int_equal(err.class, ERR_CLASS_RETRY);
        got += batch.count;
        bus_batch_release(&batch);
        if (test_mono_ms() > deadline_ms) fail_msg("%zu of 4 messages came in time; last: %s", got, err.msg);
    }
    assert_int_equal(got, 4);
    bus_consumer_free(con);
}

/* --- rebalances --------------------------------------------------------------------------------------------------- */

/* Others join and leave in turn; before the mistake was mended, a handful of these rebalances was enough. */
#define KEEP_ROUNDS   9
#define KEEP_ROUND_MS 600

static void ignore_delivery(void *self, uint64_t tag, const struct err *err) {}

/* Reads the topic while it is being written: nothing that stands in it may be skipped. */
static void take_next(struct bus_consumer *con, struct bus_producer *prod, int64_t *next) {
    struct bus_out msg = {"keep", 0, "k", 1, "v", 1, NULL, 0, 0};
    struct bus_batch batch = {0};
    struct err err;
    for (int i = 0; i < 3; i++) assert_int_equal(bus_produce(prod, &msg, &err), 0);
    if (bus_producer_poll(prod, 0, &err) != 0 || bus_poll(con, 1000, 20, &batch, &err) != 0) fail_msg("%s", err.msg);
    for (size_t i = 0; i < batch.count; i++) {
        int64_t offset = batch.msgs[i].offset;
        if (offset > *next) fail_msg("skipped: offsets %lld to %lld", (long long)*next, (long long)offset - 1);
        if (offset == *next) ++*next;
    }
    bus_batch_release(&batch);
}

/* For the time of a rebalance librdkafka pauses what a member keeps: see kafka_inbox.c. */
static void test_regression_1_member_skips_nothing_while_others_join_and_leave(void **state) {
    struct bus_property props[] = {{"bootstrap.servers", test_kafka_bootstrap(kafka)}, {"linger.ms", "0"}};
    struct bus_kafka_config cfg = {.props = props, .prop_count = 2};
    struct bus_producer *prod;
    struct err err;
    if (bus_kafka_producer(&cfg, ignore_delivery, NULL, &prod, &err) != 0) fail_msg("%s", err.msg);
    struct bus_cases_group group = {0}, others = {0};
    struct bus_consumer *con = bus_cases_join(&group, "keep-group", "keep"), *other = NULL;
    int64_t *next = &group.start; /* should it lose the partition after all, it is asked, and goes on from there */
    while (*next == 0) take_next(con, prod, next);
    for (int round = 0; round < KEEP_ROUNDS; round++) {
        int64_t until_ms = test_mono_ms() + KEEP_ROUND_MS;
        while (test_mono_ms() < until_ms) {
            struct bus_batch none = {0};
            if (other && bus_poll(other, 1, 0, &none, &err) != 0) fail_msg("%s", err.msg);
            assert_int_equal(none.count, 0); /* the partition stays where it is */
            take_next(con, prod, next);
        }
        bus_consumer_free(other);
        other = other ? NULL : bus_cases_join(&others, "keep-group", "keep");
    }
    bus_consumer_free(other);
    bus_consumer_free(con);
    bus_producer_free(prod);
}

static void test_topic_that_does_not_exist_is_a_retry_that_names_it(void **state) {
    struct bus_kafka_config cfg = bus_cases_config();
    struct bus_consumer *con;
    struct err err;
    assert_int_equal(bus_kafka_reader(&cfg, "no-such-topic", BUS_OFFSET_END, &con, NULL, NULL, &err), -1);
    assert_int_equal(err.code, ERR_BUS_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "no-such-topic"));
}

int main(void) {
    kafka = test_kafka_start();
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_commands_deleted_before_they_were_read_are_an_error_with_their_range),
        cmocka_unit_test(test_position_beyond_the_end_of_the_log_is_an_error),
        cmocka_unit_test(test_regression_1_member_skips_nothing_while_others_join_and_leave),
        cmocka_unit_test(test_topic_that_does_not_exist_is_a_retry_that_names_it),
        cmocka_unit_test(test_message_that_the_broker_refuses_is_delivered_as_too_large),
        cmocka_unit_test(test_producer_that_must_not_leave_gaps_ends_at_a_refused_message),
        cmocka_unit_test(test_broker_that_was_killed_is_a_retry_and_reading_goes_on_when_it_is_back),
    };
    int failures = bus_cases_run(test_kafka_bootstrap(kafka), more, sizeof more / sizeof *more);
    test_kafka_stop(kafka);
    return failures;
}
