/* Reading the store: lists, statistics, documents, workers. */
#include <stdlib.h>
#include <string.h>

#include "fx.h"
#include "penstock/clock.h"

static size_t list(struct fx *fx, struct store_list query, struct job_record **ret, const char **ret_cursor) {
    size_t count = 0;
    if (store_job_list(fx->st, &query, &fx->arena, ret, &count, ret_cursor, &fx->err) != 0)
        fail_msg("store_job_list: %s", fx->err.msg);
    assert_true(count <= query.limit);
    return count;
}

/* Reads all pages; how often each of the jobs "0" ... "<count - 1>" was seen. */
static int *count_seen(struct fx *fx, struct store_list query, int count) {
    int *seen = arena_alloc(&fx->arena, (size_t)count * sizeof *seen);
    struct job_record *jobs;
    const char *cursor = NULL;
    int pages = 0;
    do {
        query.cursor = cursor;
        size_t got = list(fx, query, &jobs, &cursor);
        for (size_t i = 0; i < got; i++) {
            int n = atoi(jobs[i].job_id);
            assert_in_range(n, 0, count - 1);
            seen[n]++;
        }
        assert_true(++pages <= 2 * count + 10);
    } while (cursor);
    return seen;
}

static void create_many(struct fx *fx, int count, const char *second_model) {
    struct store_item *items = arena_alloc(&fx->arena, (size_t)count * sizeof *items);
    for (int i = 0; i < count; i++) {
        items[i] = fx_item_create(fx, arena_printf(&fx->arena, "%d", i));
        if (second_model && i % 10 == 0) items[i].model = second_model;
    }
    fx_ingest(fx, items, (size_t)count);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static void test_list_of_a_thousand_jobs_of_one_millisecond_shows_each_once(void **state) {
    struct fx *fx = *state;
    create_many(fx, 1000, NULL);
    assert_int_equal(fx_record(fx, "0").created_at, fx_record(fx, "999").created_at);
    int *seen = count_seen(fx, (struct store_list){.state = JOB_STATE_QUEUED, .limit = 7}, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(seen[i], 1);
    seen = count_seen(fx, (struct store_list){.limit = 7}, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(seen[i], 1);
}

static void test_list_by_model_shows_all_of_it_and_nothing_else(void **state) {
    struct fx *fx = *state;
    create_many(fx, 300, "rare");
    int *seen = count_seen(fx, (struct store_list){.model = "rare", .limit = 2}, 300);
    for (int i = 0; i < 300; i++) assert_int_equal(seen[i], i % 10 == 0);
    seen = count_seen(fx, (struct store_list){.model = "unknown", .limit = 2}, 300);
    for (int i = 0; i < 300; i++) assert_int_equal(seen[i], 0);
}

static void test_list_over_all_states_shows_every_job_once(void **state) {
    struct fx *fx = *state;
    create_many(fx, 50, NULL);
    struct store_claims claims = fx_claim(fx, "w1", 40, FX_LEASE_MS);
    for (size_t i = 0; i < 30; i++)
        assert_true(fx_finish(fx, "w1", &claims.jobs[i],
                              i < 10   ? STORE_COMPLETED
                              : i < 20 ? STORE_FAILED
                                       : STORE_CANCELLED));
    for (size_t limit = 1; limit <= 60; limit += limit < 12 ? 1 : 16) {
        int *seen = count_seen(fx, (struct store_list){.limit = limit}, 50);
        for (int i = 0; i < 50; i++) assert_int_equal(seen[i], 1);
    }
    for (enum job_state one = JOB_STATE_QUEUED; one < JOB_STATE_COUNT; one++) {
        struct job_record *jobs;
        const char *cursor;
        assert_int_equal(list(fx, (struct store_list){.state = one, .limit = 100}, &jobs, &cursor), 10);
        assert_null(cursor);
        for (size_t i = 0; i < 10; i++) assert_int_equal(jobs[i].state, one);
    }
}

static bool a_millisecond_passed(void *arg) {
    struct fx *fx = arg;
    return fx_now_ms(fx) > fx_record(fx, "old").created_at;
}

static void test_list_has_the_newest_first(void **state) {
    struct fx *fx = *state;
    struct job_record *jobs;
    const char *cursor;
    fx_create(fx, "old");
    assert_true(test_wait_for(a_millisecond_passed, fx, FX_DEADLINE_MS));
    fx_create(fx, "new");
    assert_int_equal(list(fx, (struct store_list){.state = JOB_STATE_QUEUED, .limit = 10}, &jobs, &cursor), 2);
    assert_string_equal(jobs[0].job_id, "new");
    assert_string_equal(jobs[1].job_id, "old");
}

static void test_list_page_stays_in_place_while_jobs_come_and_go(void **state) {
    struct fx *fx = *state;
    struct job_record *jobs;
    const char *cursor;
    create_many(fx, 30, NULL);
    int seen[30] = {0};
    assert_int_equal(list(fx, (struct store_list){.state = JOB_STATE_QUEUED, .limit = 10}, &jobs, &cursor), 10);
    for (size_t i = 0; i < 10; i++) seen[atoi(jobs[i].job_id)]++;
    for (size_t i = 0; i < 5; i++) fx_cancel(fx, jobs[i].job_id); /* the cursor's own neighbours too */
    fx_cancel(fx, jobs[9].job_id);
    do {
        size_t got =
            list(fx, (struct store_list){.state = JOB_STATE_QUEUED, .limit = 10, .cursor = cursor}, &jobs, &cursor);
        for (size_t i = 0; i < got; i++) seen[atoi(jobs[i].job_id)]++;
    } while (cursor);
    for (int i = 0; i < 30; i++) assert_int_equal(seen[i], 1);
}

static void test_list_refuses_a_cursor_that_it_did_not_give(void **state) {
    struct fx *fx = *state;
    static const char *const cursors[] = {"",         "queued",       "queued:",   "queued:12",    "queued:x:a",
                                          "none:1:a", "rejected:1:a", "queued:1:", "queued:1:a b", "elsewhere:1:a"};
    for (size_t i = 0; i < sizeof cursors / sizeof cursors[0]; i++) {
        struct store_list query = {.limit = 10, .cursor = cursors[i]};
        struct job_record *jobs;
        const char *cursor;
        size_t count;
        if (store_job_list(fx->st, &query, &fx->arena, &jobs, &count, &cursor, &fx->err) == 0)
            fail_msg("taken: %s", cursors[i]);
        assert_int_equal(fx->err.code, ERR_INVALID_MEMBER);
    }
}

/* --- one job ------------------------------------------------------------------------------------------------------ */

static void test_view_of_a_job_that_is_not_there_is_none_and_no_error(void **state) {
    struct fx *fx = *state;
    assert_int_equal(fx_state(fx, "nobody"), JOB_STATE_NONE);
    assert_null(fx_doc(fx, "spec", "nobody", NULL));
    fx_create(fx, "a");
    assert_null(fx_doc(fx, "result", "a", NULL));
    assert_non_null(fx_doc(fx, "spec", "a", NULL));
}

static void test_view_of_a_broken_record_is_corrupt_and_no_crash(void **state) {
    struct fx *fx = *state;
    struct job_record rec;
    static const char *const fields[] = {"seq 1", "state nowhere", "state rejected", "state none"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        fx_redis(fx, "HSET penstock:job:broken %s", fields[i]);
        assert_int_equal(store_job_get(fx->st, "broken", &fx->arena, &rec, &fx->err), -1);
        assert_int_equal(fx->err.code, ERR_STORE_CORRUPT);
        fx_redis(fx, "DEL penstock:job:broken");
    }
}

static void test_stats_count_what_is_there(void **state) {
    struct fx *fx = *state;
    create_many(fx, 10, NULL);
    struct store_claims claims = fx_claim(fx, "w1", 4, FX_LEASE_MS);
    assert_true(fx_finish(fx, "w1", &claims.jobs[0], STORE_COMPLETED));
    struct store_stats stats;
    assert_int_equal(store_stats_get(fx->st, &stats, &fx->err), 0);
    assert_int_equal(stats.by_state[JOB_STATE_QUEUED], 6);
    assert_int_equal(stats.by_state[JOB_STATE_RUNNING], 3);
    assert_int_equal(stats.by_state[JOB_STATE_COMPLETED], 1);
    assert_int_equal(stats.by_state[JOB_STATE_FAILED], 0);
    assert_int_equal(stats.outbox_entries, 3);
    assert_int_equal(stats.gseq, 15);
    assert_true(stats.store_epoch > 0);
    assert_int_equal(stats.timers, 4); /* three leases and one retention */
}

static void assert_recent(struct fx *fx, int64_t window_ms, int64_t running, int64_t completed) {
    struct store_recent recent;
    if (store_recent_get(fx->st, window_ms, &recent, &fx->err) != 0) fail_msg("store_recent_get: %s", fx->err.msg);
    assert_int_equal(recent.by_state[JOB_STATE_RUNNING], running);
    assert_int_equal(recent.by_state[JOB_STATE_COMPLETED], completed);
    int64_t here_ms = clock_wall_ms(&clock_system); /* of the same machine */
    assert_in_range(recent.now_ms, here_ms - FX_DEADLINE_MS, here_ms);
}

static void test_recent_counts_what_came_within_the_window_alone(void **state) {
    struct fx *fx = *state;
    create_many(fx, 10, NULL);
    struct store_claims claims = fx_claim(fx, "w1", 4, FX_LEASE_MS);
    for (size_t i = 0; i < 3; i++) assert_true(fx_finish(fx, "w1", &claims.jobs[i], STORE_COMPLETED));
    assert_recent(fx, 3600000, 1, 3);
    const char *id = claims.jobs[0].job_id;
    fx_redis(fx, "ZADD penstock:index:completed 1790000000000 %s", id); /* long ago */
    assert_recent(fx, 3600000, 1, 2);
    fx_redis(fx, "ZADD penstock:index:completed %lld %s", (long long)fx_record(fx, id).updated_at, id);
}

/* --- workers ------------------------------------------------------------------------------------------------------ */

static size_t workers(struct fx *fx, struct store_worker **ret) {
    size_t count = 0;
    if (store_worker_list(fx->st, &fx->arena, ret, &count, &fx->err) != 0)
        fail_msg("store_worker_list: %s", fx->err.msg);
    return count;
}

static void enrol(struct fx *fx, const char *id, int64_t ttl_ms) {
    struct store_worker worker = {.id = id,
                                  .host = "host",
                                  .executor = "onnx-cpu",
                                  .device = "cpu",
                                  .pid = 4711,
                                  .started_at = 1790000000000,
                                  .seen_at = 1790000000001,
                                  .models = "[{\"name\":\"m\"}]"};
    if (store_worker_register(fx->st, &worker, ttl_ms, &fx->err) != 0)
        fail_msg("store_worker_register: %s", fx->err.msg);
}

static bool one_worker_is_left(void *arg) {
    struct store_worker *list_of;
    return workers(arg, &list_of) == 1;
}

static void test_workers_register_expire_and_leave(void **state) {
    struct fx *fx = *state;
    struct store_worker *list_of;
    assert_int_equal(workers(fx, &list_of), 0);
    enrol(fx, "w1", FX_LEASE_MS);
    enrol(fx, "w2", 20);
    enrol(fx, "w1", FX_LEASE_MS); /* again, as with every renewal */
    assert_true(test_wait_for(one_worker_is_left, fx, FX_DEADLINE_MS));
    assert_int_equal(workers(fx, &list_of), 1);
    assert_string_equal(list_of[0].id, "w1");
    assert_string_equal(list_of[0].host, "host");
    assert_string_equal(list_of[0].executor, "onnx-cpu");
    assert_string_equal(list_of[0].device, "cpu");
    assert_string_equal(list_of[0].models, "[{\"name\":\"m\"}]");
    assert_int_equal(list_of[0].pid, 4711);
    assert_int_equal(list_of[0].started_at, 1790000000000);
    assert_int_equal(list_of[0].seen_at, 1790000000001);
    assert_int_equal(fx_redis_int(fx, "SCARD penstock:workers"), 1); /* who expired is not kept in mind either */
    assert_int_equal(store_worker_unregister(fx->st, "w1", &fx->err), 0);
    assert_int_equal(store_worker_unregister(fx->st, "w1", &fx->err), 0);
    assert_int_equal(workers(fx, &list_of), 0);
    assert_int_equal(fx_redis_int(fx, "EXISTS penstock:workers penstock:worker:w1 penstock:worker:w2"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_list_of_a_thousand_jobs_of_one_millisecond_shows_each_once),
        FX_TEST(test_list_by_model_shows_all_of_it_and_nothing_else),
        FX_TEST(test_list_over_all_states_shows_every_job_once),
        FX_TEST(test_list_has_the_newest_first),
        FX_TEST(test_list_page_stays_in_place_while_jobs_come_and_go),
        FX_TEST(test_list_refuses_a_cursor_that_it_did_not_give),
        FX_TEST(test_view_of_a_job_that_is_not_there_is_none_and_no_error),
        FX_TEST(test_view_of_a_broken_record_is_corrupt_and_no_crash),
        FX_TEST(test_stats_count_what_is_there),
        FX_TEST(test_recent_counts_what_came_within_the_window_alone),
        FX_TEST(test_workers_register_expire_and_leave),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
