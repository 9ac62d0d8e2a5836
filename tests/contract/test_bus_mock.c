/* The bus on librdkafka's mock cluster, and what needs no cluster at all: the properties. */
#include "bus_cases.h"

#include <stdio.h>
#include <string.h>

static void assert_refused(const char *name, const char *value, const char *because) {
    struct bus_property prop = {name, value};
    struct bus_kafka_config cfg = {.props = &prop, .prop_count = 1};
    struct err err;
    assert_int_equal(bus_kafka_check_props(&cfg, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_int_equal(err.class, ERR_CLASS_FATAL);
    if (!strstr(err.msg, name) || !strstr(err.msg, because)) fail_msg("not a complete message: %s", err.msg);
}

static void test_property_that_a_promise_rests_on_is_refused_by_name(void **state) {
    assert_refused("acks", "1", "in-sync");
    assert_refused("acks", "all", "in-sync"); /* even the right value: it is not the operator's to decide */
    assert_refused("request.required.acks", "1", "in-sync");
    assert_refused("enable.idempotence", "false", "repeats or reorders");
    assert_refused("isolation.level", "read_uncommitted", "aborted");
    assert_refused("enable.auto.commit", "true", "store");
    assert_refused("auto.offset.reset", "latest", "error");
    assert_refused("partitioner", "random", "partition");
    assert_refused("group.id", "x", "bus.group");
}

static void test_unknown_property_and_bad_value_are_refused_in_librdkafkas_words(void **state) {
    assert_refused("bootstrap.server", "x", "librdkafka has no such property");
    assert_refused("linger.ms", "soon", "linger.ms");
    assert_refused("security.protocol", "tls", "security.protocol");
}

static void test_ordinary_properties_pass(void **state) {
    struct bus_property props[] = {{"bootstrap.servers", "a:1,b:2"}, {"linger.ms", "50"}, {"security.protocol", "ssl"}};
    struct bus_kafka_config cfg = {.props = props, .prop_count = 3};
    struct err err;
    assert_int_equal(bus_kafka_check_props(&cfg, &err), 0);
}

static void ignore_delivery(void *self, uint64_t tag, const struct err *err) {}

/* Asks the cluster at `bootstrap` for `topic`. */
static int ask(const char *bootstrap, const char *topic, struct err *err) {
    struct bus_property prop = {"bootstrap.servers", bootstrap};
    struct bus_kafka_config cfg = {.props = &prop, .prop_count = 1, .short_lived = true};
    struct bus_producer *prod;
    assert_int_equal(bus_kafka_producer(&cfg, ignore_delivery, NULL, &prod, err), 0);
    int rc = bus_kafka_producer_ask(prod, topic, err);
    bus_producer_free(prod);
    return rc;
}

static void test_producer_that_asks_learns_that_no_broker_answers_but_misses_no_topic(void **state) {
    struct err err;
    const char *bootstrap = bus_cases_config().props[0].value;
    assert_int_equal(ask(bootstrap, bus_cases_topics[0].name, &err), 0);
    assert_int_equal(ask(bootstrap, "nobody-made-this", &err), 0);
    assert_int_equal(ask("127.0.0.1:1", bus_cases_topics[0].name, &err), -1);
    assert_int_equal(err.code, ERR_BUS_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "127.0.0.1:1"));
}

static void test_durability_that_the_mock_does_not_tell_is_unknown_and_says_so(void **state) {
    struct bus_kafka_config cfg = bus_cases_config();
    const char *const names[] = {bus_cases_topics[0].name, "nobody-made-this"};
    struct bus_durability found;
    struct bus_producer *prod;
    struct arena arena;
    struct err err;
    arena_init(&arena);
    if (bus_kafka_producer(&cfg, ignore_delivery, NULL, &prod, &err) != 0) fail_msg("%s", err.msg);
    if (bus_kafka_durability(prod, names, 2, &arena, &found, &err) != 0) fail_msg("%s", err.msg);
    assert_string_equal(found.acks, "all");
    assert_true(found.idempotence);
    assert_int_equal(found.brokers, 1);
    assert_int_equal(found.topics[0].partitions, bus_cases_topics[0].partitions);
    assert_int_equal(found.topics[0].replication_factor, 1);
    assert_int_equal(found.topics[0].min_insync_replicas, -1);
    assert_non_null(found.topics[0].unknown);
    assert_int_equal(found.topics[1].partitions, 0);
    bus_producer_free(prod);
    arena_done(&arena);
}

static void test_client_without_bootstrap_servers_is_refused(void **state) {
    struct bus_kafka_config cfg = {0};
    struct err err;
    assert_int_equal(bus_kafka_create_topics(&cfg, NULL, 0, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.msg, "bootstrap.servers"));
}

int main(void) {
    struct bus_mock *mock;
    struct err err;
    if (bus_mock_start(bus_cases_topics, bus_cases_topic_count, &mock, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_property_that_a_promise_rests_on_is_refused_by_name),
        cmocka_unit_test(test_unknown_property_and_bad_value_are_refused_in_librdkafkas_words),
        cmocka_unit_test(test_ordinary_properties_pass),
        cmocka_unit_test(test_client_without_bootstrap_servers_is_refused),
        cmocka_unit_test(test_durability_that_the_mock_does_not_tell_is_unknown_and_says_so),
        cmocka_unit_test(test_producer_that_asks_learns_that_no_broker_answers_but_misses_no_topic),
    };
    int failures = bus_cases_run(bus_mock_bootstrap(mock), more, sizeof more / sizeof *more);
    bus_mock_stop(mock);
    return failures;
}
