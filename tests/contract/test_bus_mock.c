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
    assert_refused("group.id", "x", "kafka.group");
}

static void test_unknown_property_and_bad_value_are_refused_in_librdkafkas_words(void **state) {
    assert_refused("bootstrap.server", "x", "No such configuration property");
    assert_refused("linger.ms", "soon", "linger.ms");
    assert_refused("security.protocol", "tls", "security.protocol");
}

static void test_ordinary_properties_pass(void **state) {
    struct bus_property props[] = {{"bootstrap.servers", "a:1,b:2"}, {"linger.ms", "50"}, {"security.protocol", "ssl"}};
    struct bus_kafka_config cfg = {.props = props, .prop_count = 3};
    struct err err;
    assert_int_equal(bus_kafka_check_props(&cfg, &err), 0);
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
    };
    int failures = bus_cases_run(bus_mock_bootstrap(mock), more, sizeof more / sizeof *more);
    bus_mock_stop(mock);
    return failures;
}
