/* http: what can be known without a connection: paths and queries, the table of routes, byte ranges, token files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/http/http_internal.h"

static struct arena arena;

static int setup(void **state) {
    arena_init(&arena);
    return 0;
}

static int teardown(void **state) {
    arena_done(&arena);
    return 0;
}

/* --- paths ---------------------------------------------------------------------------------------------------------
 */

static void test_a_path_is_split_before_it_is_decoded(void **state) {
    struct http_uri uri;
    struct err err;
    assert_int_equal(
        http__uri_parse("/jobs/a%2Fb/artifacts/x%20y?label=a%3Db&limit=5&label=c+d&&flag", &arena, &uri, &err), 0);
    assert_int_equal(uri.segment_count, 4);
    assert_string_equal(uri.segments[1], "a/b");
    assert_string_equal(uri.segments[3], "x y");
    assert_int_equal(uri.query_count, 4);
    assert_string_equal(uri.query[0].value, "a=b");
    assert_string_equal(uri.query[2].value, "c d");
    assert_string_equal(uri.query[3].name, "flag");
    assert_string_equal(uri.query[3].value, "");
    assert_int_equal(http__uri_parse("/", &arena, &uri, &err), 0);
    assert_int_equal(uri.segment_count, 0);
}

static void test_what_is_not_plainly_a_path_is_refused(void **state) {
    static const char *const bad[] = {
        "",        "jobs",     "*",       "http://x/jobs", "//",     "/jobs/",   "/a//b",
        "/../etc", "/a/./b",   "/%2e%2e", "/.%2E/x",       "/%",     "/%4",      "/%zz",
        "/%00",    "/a%0d%0a", "/a?b=%",  "/a?b=%1",       "/a?%00", "/a?x=%7F", "/1/2/3/4/5/6/7/8/9"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct http_uri uri;
        struct err err = {0};
        assert_int_equal(http__uri_parse(bad[i], &arena, &uri, &err), -1);
        assert_true(err_code_status(err.code) == 400 || err_code_status(err.code) == 404);
    }
}

static void test_a_query_of_more_parameters_than_there_is_room_for_is_refused(void **state) {
    struct buf raw = {0};
    struct http_uri uri;
    struct err err;
    buf_puts(&raw, "/jobs?");
    for (int i = 0; i < HTTP_QUERY_MAX; i++) buf_puts(&raw, "a=1&");
    assert_int_equal(http__uri_parse(raw.data, &arena, &uri, &err), 0);
    buf_puts(&raw, "a=1");
    assert_int_equal(http__uri_parse(raw.data, &arena, &uri, &err), -1);
    buf_done(&raw);
}

/* --- routes --------------------------------------------------------------------------------------------------------
 */

static const struct http_route *find(enum http_method method, const char *raw, const char *params[HTTP_PARAMS_MAX],
                                     struct err *err) {
    struct http_uri uri;
    unsigned allowed;
    assert_int_equal(http__uri_parse(raw, &arena, &uri, err), 0);
    return http__route_find(method, &uri, params, &allowed, err);
}

static void test_a_route_is_found_with_its_parameters(void **state) {
    const char *params[HTTP_PARAMS_MAX];
    struct err err;
    const struct http_route *route = find(HTTP_GET, "/jobs/j1/artifacts/1-2/out", params, &err);
    assert_string_equal(route->path, "/jobs/{job_id}/artifacts/{token}/{name}");
    assert_string_equal(params[0], "j1");
    assert_string_equal(params[1], "1-2");
    assert_string_equal(params[2], "out");
    assert_string_equal(find(HTTP_GET, "/", params, &err)->path, "/");
    assert_string_equal(find(HTTP_GET, "/jobs", params, &err)->path, "/jobs");
    assert_int_equal(find(HTTP_DELETE, "/jobs/j1", params, &err)->role, HTTP_CANCEL);
}

static void test_another_path_is_not_found_and_another_method_not_allowed(void **state) {
    static const char *const absent[] = {"/job", "/jobsx", "/jobs/a/results", "/v2/health", "/v2/health/live/x"};
    const char *params[HTTP_PARAMS_MAX];
    struct err err;
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        assert_null(find(HTTP_GET, absent[i], params, &err));
        assert_int_equal(err.code, ERR_NOT_FOUND);
    }
    assert_null(find(HTTP_DELETE, "/jobs", params, &err));
    assert_int_equal(err.code, ERR_METHOD_NOT_ALLOWED);
}

static void test_whatever_changes_something_needs_a_role(void **state) {
    size_t count = 0;
    for (const struct http_route *route; (route = http__route_at(count)); count++)
        if (route->method != HTTP_GET) assert_int_not_equal(route->role, HTTP_ANYBODY);
    assert_true(count > 10);
}

/* --- ranges --------------------------------------------------------------------------------------------------------
 */

static void test_ranges_are_read_as_the_rfc_says(void **state) {
    static const struct {
        const char *header;
        int64_t size;
        enum http_range verdict;
        int64_t first, length;
    } cases[] = {
        {"bytes=0-9", 100, HTTP_RANGE_PART, 0, 10},     {"bytes=90-", 100, HTTP_RANGE_PART, 90, 10},
        {"bytes=90-200", 100, HTTP_RANGE_PART, 90, 10}, {"bytes=-10", 100, HTTP_RANGE_PART, 90, 10},
        {"bytes=-1000", 100, HTTP_RANGE_PART, 0, 100},  {"bytes=99-99", 100, HTTP_RANGE_PART, 99, 1},
        {"bytes=100-", 100, HTTP_RANGE_OUTSIDE, 0, 0},  {"bytes=-0", 100, HTTP_RANGE_OUTSIDE, 0, 0},
        {"bytes=0-", 0, HTTP_RANGE_OUTSIDE, 0, 0},      {"bytes=5-3", 100, HTTP_RANGE_NONE, 0, 0},
        {"bytes=0-1,5-6", 100, HTTP_RANGE_NONE, 0, 0},  {"bytes=", 100, HTTP_RANGE_NONE, 0, 0},
        {"bytes=-", 100, HTTP_RANGE_NONE, 0, 0},        {"bytes=a-b", 100, HTTP_RANGE_NONE, 0, 0},
        {"bytes=1", 100, HTTP_RANGE_NONE, 0, 0},        {"bytes=0-99999999999999999999", 100, HTTP_RANGE_NONE, 0, 0},
        {"lines=0-9", 100, HTTP_RANGE_NONE, 0, 0},      {NULL, 100, HTTP_RANGE_NONE, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t first = 0, length = 0;
        assert_int_equal(http__range_parse(cases[i].header, cases[i].size, &first, &length), cases[i].verdict);
        if (cases[i].verdict != HTTP_RANGE_PART) continue;
        assert_int_equal(first, cases[i].first);
        assert_int_equal(length, cases[i].length);
    }
}

/* --- tokens --------------------------------------------------------------------------------------------------------
 */

static void test_a_token_is_known_by_its_hash_and_two_of_a_name_are_live(void **state) {
    struct buf first = {0}, second = {0}, file = {0};
    struct http_tokens *tokens;
    struct err err;
    buf_puts(&file, "# a comment\n\n");
    assert_int_equal(http_token_new("loader", "submit,read", &first, &file, &err), 0);
    assert_int_equal(http_token_new("loader", "submit", &second, &file, &err), 0);
    assert_null(strstr(file.data, first.data));
    assert_int_equal(http__tokens_parse(file.data, "tokens", &tokens, &err), 0);
    assert_int_equal(http__tokens_roles(tokens, first.data), HTTP_SUBMIT | HTTP_READ);
    assert_int_equal(http__tokens_roles(tokens, second.data), HTTP_SUBMIT);
    assert_int_equal(http__tokens_roles(tokens, "pst_0"), -1);
    assert_int_equal(http__tokens_roles(tokens, ""), -1);
    first.data[10] ^= 1;
    assert_int_equal(http__tokens_roles(tokens, first.data), -1);
    http__tokens_free(tokens);
    assert_int_equal(http_token_new("loader", "submit", &first, &file, &err), 0);
    assert_int_equal(http__tokens_parse(file.data, "tokens", &tokens, &err), -1);
    assert_non_null(strstr(err.msg, "tokens:5"));
    buf_done(&first);
    buf_done(&second);
    buf_done(&file);
}

static void test_a_broken_token_file_is_refused_by_line(void **state) {
    static const char sum[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char *const bad[] = {"a",           "a read",       "a read 00",   "a write %s",
                                      "a read,, %s", "a, read %s x", "a/b read %s", "a read %s0",
                                      "a read x%s",  "a  %s"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct http_tokens *tokens;
        struct err err = {0};
        const char *at = strstr(bad[i], "%s");
        const char *text = at ? arena_printf(&arena, "%.*s%s%s", (int)(at - bad[i]), bad[i], sum, at + 2) : bad[i];
        assert_int_equal(http__tokens_parse(text, "tokens", &tokens, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        assert_non_null(strstr(err.msg, "tokens:1: "));
    }
}

/* --- guarantees ----------------------------------------------------------------------------------------------------
 */

static void test_redis_is_judged_by_the_worst_that_a_crash_can_do(void **state) {
    static const struct {
        struct store_durability found;
        int survives;
        const char *means;
    } cases[] = {
        {{.maxmemory_policy = "noeviction", .appendonly = true, .appendfsync = "always"}, 1, "loses no transition"},
        {{.maxmemory_policy = "noeviction", .appendonly = true, .appendfsync = "everysec"}, 0, "about 1 s"},
        {{.maxmemory_policy = "noeviction", .appendonly = true, .appendfsync = "no"}, 0, "often 30 s"},
        {{.maxmemory_policy = "noeviction", .appendonly = true, .unknown = "NOPERM"}, -1, "not known"},
        {{.maxmemory_policy = "noeviction", .appendfsync = "always"}, 0, "no append-only file"},
        {{.maxmemory_policy = "noeviction", .unknown = "NOPERM"}, 0, "no append-only file"},
        {{.maxmemory_policy = "noeviction", .appendonly = true, .append_fails = true, .appendfsync = "always"},
         0,
         "cannot write"},
        {{.maxmemory_policy = "allkeys-lru", .appendonly = true, .appendfsync = "always"}, 0, "deletes records"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_judgement judged = http__judge_redis(&cases[i].found);
        assert_int_equal(judged.survives_crash, cases[i].survives);
        if (!strstr(judged.means, cases[i].means)) fail_msg("case %zu: %s", i, judged.means);
    }
}

static void test_a_topic_is_judged_by_the_worst_that_the_loss_of_a_broker_can_do(void **state) {
    static const struct bus_topic_durability sound = {.topic = "t",
                                                      .partitions = 4,
                                                      .replication_factor = 3,
                                                      .in_sync = 3,
                                                      .min_insync_replicas = 2,
                                                      .cleanup_policy = "delete"};
    struct bus_topic_durability topic = sound;
    assert_int_equal(http__judge_topic(&topic, &arena).survives_crash, 1);
    assert_string_equal(http__judge_topic(&topic, &arena).means, "An acknowledged message is on at least 2 brokers.");
    topic.in_sync = 2; /* one is away: what is acknowledged now is on two, too */
    assert_int_equal(http__judge_topic(&topic, &arena).survives_crash, 1);
    topic.min_insync_replicas = 1;
    assert_int_equal(http__judge_topic(&topic, &arena).survives_crash, 0);
    topic.min_insync_replicas = -1;
    assert_int_equal(http__judge_topic(&topic, &arena).survives_crash, -1);
    topic.replication_factor = 1; /* certain, whatever the rest is */
    assert_int_equal(http__judge_topic(&topic, &arena).survives_crash, 0);
    topic = sound;
    topic.unclean_leader_election = 1;
    assert_non_null(strstr(http__judge_topic(&topic, &arena).means, "lags behind"));
    topic = sound;
    topic.cleanup_policy = "compact,delete";
    assert_non_null(strstr(http__judge_topic(&topic, &arena).means, "Compaction"));
    topic = (struct bus_topic_durability){.topic = "t", .min_insync_replicas = -1, .unclean_leader_election = -1};
    assert_non_null(strstr(http__judge_topic(&topic, &arena).means, "no such topic"));
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_path_is_split_before_it_is_decoded),
        cmocka_unit_test(test_what_is_not_plainly_a_path_is_refused),
        cmocka_unit_test(test_a_query_of_more_parameters_than_there_is_room_for_is_refused),
        cmocka_unit_test(test_a_route_is_found_with_its_parameters),
        cmocka_unit_test(test_another_path_is_not_found_and_another_method_not_allowed),
        cmocka_unit_test(test_whatever_changes_something_needs_a_role),
        cmocka_unit_test(test_ranges_are_read_as_the_rfc_says),
        cmocka_unit_test(test_a_token_is_known_by_its_hash_and_two_of_a_name_are_live),
        cmocka_unit_test(test_a_broken_token_file_is_refused_by_line),
        cmocka_unit_test(test_redis_is_judged_by_the_worst_that_a_crash_can_do),
        cmocka_unit_test(test_a_topic_is_judged_by_the_worst_that_the_loss_of_a_broker_can_do),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
