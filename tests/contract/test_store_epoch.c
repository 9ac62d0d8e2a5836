/* The store and a Redis that restarts, goes away, or is not fit: epochs, attaching, errors, URLs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fx.h"
#include "penstock/store_watch.h"

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static void assert_error(const struct err *err, enum err_code code, enum err_class class, const char *words) {
    if (err->code != code || err->class != class || !strstr(err->msg, words))
        fail_msg("expected %s with \"%s\", got %s: %s", err_code_name(code), words, err_code_name(err->code), err->msg);
}

static int claim_with(struct fx *fx, struct store *st, struct store_claims *ret) {
    const char *const models[] = {FX_MODEL};
    const int max_jobs[] = {1};
    struct store_claim want = {
        .worker = "w1", .models = models, .max_jobs = max_jobs, .model_count = 1, .lease_ms = FX_LEASE_MS};
    return store_claim(st, &want, &fx->arena, ret, &fx->err);
}

/* A store of a process that may not recover: a worker's. */
static struct store *open_worker(struct fx *fx) {
    struct store_config cfg = fx->cfg;
    cfg.may_recover = false;
    return fx_open(fx, &cfg);
}

static struct store_stats stats_of(struct fx *fx) {
    struct store_stats stats;
    if (store_stats_get(fx->st, &stats, &fx->err) != 0) fail_msg("store_stats_get: %s", fx->err.msg);
    return stats;
}

/* As a role loop does: repeats what is RETRY. Returns how often the call failed. */
static int sweep_with_retries(struct fx *fx, struct store *st) {
    size_t done;
    int64_t next_ms;
    for (int failures = 0; failures < 10; failures++) {
        if (store_sweep(st, 10, &done, &next_ms, &fx->err) == 0) return failures;
        assert_int_equal(fx->err.class, ERR_CLASS_RETRY);
    }
    fail_msg("never came back: %s", fx->err.msg);
    return -1;
}

/* --- restarts ----------------------------------------------------------------------------------------------------- */

static void test_store_that_was_never_opened_keeps_workers_waiting(void **state) {
    struct fx *fx = *state;
    store_free(fx->st);
    fx->st = NULL;
    fx_redis(fx, "FLUSHALL");
    struct store *worker = open_worker(fx);
    struct store_claims claims;
    assert_int_equal(store_attach(worker, &fx->err), -1);
    assert_error(&fx->err, ERR_STORE_FENCED, ERR_CLASS_RETRY, "never opened");
    assert_int_equal(claim_with(fx, worker, &claims), -1);
    assert_error(&fx->err, ERR_STORE_FENCED, ERR_CLASS_RETRY, "penstock serve");
    fx_reopen(fx);
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    store_free(worker);
}

static void test_store_after_a_restart_waits_for_a_process_that_may_recover(void **state) {
    struct fx *fx = *state;
    struct store *worker = open_worker(fx);
    struct store_claims claims;
    fx_create(fx, "a");
    fx_create(fx, "b");
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    struct store_claimed before = claims.jobs[0];
    int64_t epoch = stats_of(fx).store_epoch;
    test_redis_restart(fx->redis); /* kill -9; the append-only file brings the data back */

    for (int i = 0; i < 3; i++) {
        assert_int_equal(claim_with(fx, worker, &claims), -1);
        assert_int_equal(fx->err.class, ERR_CLASS_RETRY);
    }
    assert_error(&fx->err, ERR_STORE_FENCED, ERR_CLASS_RETRY, "restarted");

    assert_true(sweep_with_retries(fx, fx->st) > 0);
    int64_t next = stats_of(fx).store_epoch;
    assert_true(next > epoch);
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    assert_int_equal(claims.count, 1);
    assert_string_equal(claims.jobs[0].job_id, "b");
    assert_int_equal(strtoll(before.token, NULL, 10), epoch);
    assert_int_equal(strtoll(claims.jobs[0].token, NULL, 10), next);
    /* The run of before goes on: its record came back with it, and its token is still the record's. */
    assert_int_equal(fx_renew(fx, "w1", &before), STORE_LEASE_HELD);
    assert_true(fx_finish(fx, "w1", &before, STORE_COMPLETED));
    store_free(worker);
}

static void test_store_of_another_epoch_is_fenced_even_if_its_scripts_are_still_cached(void **state) {
    struct fx *fx = *state;
    struct store *worker = open_worker(fx);
    struct store_claims claims;
    fx_create(fx, "a");
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    fx_redis(fx, "HSET penstock:meta run_id 0123456789abcdef"); /* as if the data came from another process */
    fx_reopen(fx);
    assert_int_equal(claim_with(fx, worker, &claims), -1);
    assert_error(&fx->err, ERR_STORE_FENCED, ERR_CLASS_RETRY, "epoch");
    assert_int_equal(claim_with(fx, worker, &claims), 0); /* attaches by itself */
    store_free(worker);
}

static void test_store_two_control_processes_begin_one_epoch(void **state) {
    struct fx *fx = *state;
    struct store *other = fx_open(fx, &fx->cfg);
    assert_int_equal(store_attach(other, &fx->err), 0);
    int64_t epoch = stats_of(fx).store_epoch;
    test_redis_restart(fx->redis);
    sweep_with_retries(fx, fx->st);
    int64_t next = stats_of(fx).store_epoch;
    assert_true(next > epoch);
    sweep_with_retries(fx, other);
    assert_int_equal(sweep_with_retries(fx, fx->st), 0);
    assert_int_equal(sweep_with_retries(fx, other), 0);
    assert_int_equal(stats_of(fx).store_epoch, next);
    store_free(other);
}

static void test_store_whose_scripts_were_flushed_heals_by_itself(void **state) {
    struct fx *fx = *state;
    struct store *worker = open_worker(fx);
    struct store_claims claims;
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    int64_t epoch = stats_of(fx).store_epoch;
    fx_redis(fx, "SCRIPT FLUSH");
    assert_int_equal(claim_with(fx, worker, &claims), -1);
    assert_error(&fx->err, ERR_STORE_FENCED, ERR_CLASS_RETRY, "NOSCRIPT");
    assert_int_equal(claim_with(fx, worker, &claims), 0); /* though it may not recover: nothing was lost */
    assert_int_equal(stats_of(fx).store_epoch, epoch);
    store_free(worker);
}

static void test_store_that_was_emptied_fences_everybody(void **state) {
    struct fx *fx = *state;
    struct store *worker = open_worker(fx);
    struct store_claims claims;
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    fx_redis(fx, "FLUSHALL");
    assert_int_equal(claim_with(fx, worker, &claims), -1);
    assert_error(&fx->err, ERR_STORE_FENCED, ERR_CLASS_RETRY, "FENCED");
    assert_int_equal(claim_with(fx, worker, &claims), -1);
    assert_error(&fx->err, ERR_STORE_FENCED, ERR_CLASS_RETRY, "never opened");
    sweep_with_retries(fx, fx->st);
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    store_free(worker);
}

/* Whoever opens it may be a process that has just started and knows of no epoch. */
static void test_store_that_was_emptied_and_opened_by_a_newcomer_fences_who_goes_on_running(void **state) {
    struct fx *fx = *state;
    struct store *worker = open_worker(fx);
    struct store_claims claims;
    fx_create(fx, "a");
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    struct store_claimed before = claims.jobs[0];
    fx_redis(fx, "FLUSHALL");
    fx_reopen(fx);
    fx_create(fx, "a");
    assert_int_equal(claim_with(fx, worker, &claims), -1);
    assert_error(&fx->err, ERR_STORE_FENCED, ERR_CLASS_RETRY, "epoch");
    assert_int_equal(claim_with(fx, worker, &claims), 0);
    assert_string_equal(claims.jobs[0].job_id, "a");
    assert_true(strtoll(claims.jobs[0].token, NULL, 10) > strtoll(before.token, NULL, 10));
    assert_int_equal(fx_renew(fx, "w1", &before), STORE_LEASE_LOST);
    store_free(worker);
}

static void test_store_epoch_grows_though_the_clock_of_redis_is_behind(void **state) {
    struct fx *fx = *state;
    fx_redis(fx, "HSET penstock:meta run_id another store_epoch 9000000000000"); /* in the year 2255 */
    fx_reopen(fx);
    assert_int_equal(stats_of(fx).store_epoch, INT64_C(9000000000001));
    fx_redis(fx, "FLUSHALL"); /* what it knew is known to the process still */
    sweep_with_retries(fx, fx->st);
    assert_int_equal(stats_of(fx).store_epoch, INT64_C(9000000000002));
}

/* --- away --------------------------------------------------------------------------------------------------------- */

static void test_store_tells_that_redis_is_away_and_goes_on_when_it_is_back(void **state) {
    struct fx *fx = *state;
    struct job_record rec;
    int fd;
    fx_create(fx, "a");
    assert_int_equal(store_watch(fx->st, "w1", &fd, &fx->err), 0);
    test_redis_kill9(fx->redis);
    struct store_claims claims;
    assert_int_equal(claim_with(fx, fx->st, &claims), -1); /* on the connection that broke */
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "redis.sock");
    assert_int_equal(claim_with(fx, fx->st, &claims), -1); /* connecting anew */
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "connect");
    assert_int_equal(store_job_get(fx->st, "a", &fx->arena, &rec, &fx->err), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "connect");
    bool ready, cancel;
    assert_int_equal(store_watch_read(fx->st, &ready, &cancel, &fx->err), -1);
    assert_int_equal(store_watch(fx->st, "w1", &fd, &fx->err), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "connect");
    test_redis_restart(fx->redis);
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_QUEUED);
    sweep_with_retries(fx, fx->st);
    assert_int_equal(store_watch(fx->st, "w1", &fd, &fx->err), 0);
    assert_string_equal(fx_claim_one(fx, "w1").job_id, "a");
}

static void test_store_cut_connection_is_made_anew(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    fx_redis(fx, "CLIENT KILL TYPE normal");
    struct store_claims claims;
    assert_int_equal(claim_with(fx, fx->st, &claims), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "EVALSHA");
    assert_int_equal(claim_with(fx, fx->st, &claims), 0);
    assert_int_equal(claims.count, 1);
}

static void test_store_that_does_not_answer_in_time_is_unavailable(void **state) {
    struct fx *fx = *state;
    fx->cfg.timeout_ms = 50;
    fx_reopen(fx);
    fx_redis(fx, "CLIENT PAUSE 400 ALL");
    struct store_claims claims;
    int64_t before = test_mono_ms();
    assert_int_equal(claim_with(fx, fx->st, &claims), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "EVALSHA: no answer within 50 ms");
    assert_true(test_mono_ms() - before < 350);
    fx->cfg.timeout_ms = 5000;
    fx_reopen(fx); /* waits for the end of the pause */
}

static void test_store_with_too_many_clients_is_unavailable_and_not_broken(void **state) {
    struct fx *fx = *state;
    fx_redis(fx, "CONFIG SET maxclients 1"); /* which is fx->st */
    struct store *st = fx_open(fx, &fx->cfg);
    assert_int_equal(store_attach(st, &fx->err), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "max number of clients");
    test_redis_restart(fx->redis);
    sweep_with_retries(fx, st);
    sweep_with_retries(fx, fx->st);
    store_free(st);
}

/* --- unfit -------------------------------------------------------------------------------------------------------- */

static void test_store_that_may_evict_records_is_refused(void **state) {
    struct fx *fx = *state;
    fx_redis(fx, "CONFIG SET maxmemory-policy allkeys-lru");
    struct store *st = fx_open(fx, &fx->cfg);
    assert_int_equal(store_attach(st, &fx->err), -1);
    assert_error(&fx->err, ERR_STORE_UNFIT, ERR_CLASS_FATAL, "allkeys-lru");
    store_free(st);
    fx_redis(fx, "CONFIG SET maxmemory-policy noeviction");
    st = fx_open(fx, &fx->cfg);
    assert_int_equal(store_attach(st, &fx->err), 0);
    store_free(st);
}

static void test_store_without_memory_takes_no_jobs_but_ends_and_forgets_those_it_has(void **state) {
    struct fx *fx = *state;
    fx->cfg.retention_ms = 1;
    fx_reopen(fx);
    fx_create(fx, "a-lease");
    assert_int_equal(fx_claim(fx, "w0", 1, 1).count, 1); /* due first, by its name if need be */
    fx_create(fx, "finish");
    fx_create(fx, "lost");
    fx_create(fx, "wait");
    struct store_claimed finish = fx_claim_one(fx, "w1");
    fx_claim_one(fx, "w2");
    fx_redis(fx, "CONFIG SET maxmemory 1");
    struct store_item item = fx_item_create(fx, "new");
    assert_int_equal(store_ingest(fx->st, &item, 1, &fx->err), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "OOM");
    size_t lost;
    assert_int_equal(fx_renew(fx, "w1", &finish), STORE_LEASE_HELD);
    assert_true(fx_finish(fx, "w1", &finish, STORE_COMPLETED));
    assert_int_equal(store_worker_lost(fx->st, "w2", &lost, &fx->err), 0);
    assert_int_equal(lost, 1);
    fx_sweep_until(fx, "a-lease", JOB_STATE_QUEUED);
    fx_sweep_until(fx, "finish", JOB_STATE_NONE);
    fx_drain(fx);
    assert_int_equal(store_outbox_trim(fx->st, fx->cursor, &fx->err), 0);
    assert_int_equal(fx_claim(fx, "w3", 3, FX_LEASE_MS).count, 1);
    fx_redis(fx, "CONFIG SET maxmemory 0");
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
}

/* --- urls --------------------------------------------------------------------------------------------------------- */

static void test_store_urls_that_mean_nothing_are_refused(void **state) {
    struct fx *fx = *state;
    static const char *const urls[] = {"",
                                       "localhost",
                                       "http://localhost",
                                       "redis:/localhost",
                                       "unix://relative",
                                       "unix://",
                                       "redis://localhost:",
                                       "redis://localhost:0",
                                       "redis://localhost:65536",
                                       "redis://localhost:12x",
                                       "redis://localhost/db",
                                       "redis://localhost/-1",
                                       "redis://[::1",
                                       "redis://[::1]6379"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct store_config cfg = fx->cfg;
        struct store *st = NULL;
        cfg.url = urls[i];
        if (store_open(&cfg, &st, &fx->err) == 0) fail_msg("taken: %s", urls[i]);
        assert_error(&fx->err, ERR_CONFIG, ERR_CLASS_FATAL, "store.url");
        assert_null(st);
    }
}

/* Lets the server listen on TCP too, until it restarts. */
static int listen_on_tcp(struct fx *fx) {
    int port = test_free_port();
    const char *reply = fx_redis(fx, "CONFIG SET port %d", port);
    assert_string_equal(reply, "+OK\r\n");
    return port;
}

static int attach_to(struct fx *fx, const char *url) {
    struct store_config cfg = fx->cfg;
    cfg.url = url;
    struct store *st = fx_open(fx, &cfg);
    int rc = store_attach(st, &fx->err);
    if (rc == 0) {
        struct store_stats stats;
        rc = store_stats_get(st, &stats, &fx->err);
    }
    store_free(st);
    return rc;
}

static void test_store_is_reached_by_tcp_with_user_and_password_and_database(void **state) {
    struct fx *fx = *state;
    int port = listen_on_tcp(fx);
    fx_redis(fx, "ACL SETUSER tester on >se@cr:et/ ~* &* +@all");
    fx_redis(fx, "ACL SETUSER other on >x%%41 ~* &* +@all");
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://127.0.0.1:%d", port)), 0);
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://localhost:%d/", port)), 0);
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://tester:se%%40cr%%3Aet%%2f@127.0.0.1:%d/3", port)),
                     0);
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://tester:se@cr:et/@127.0.0.1:%d/0", port)), 0);
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://other:x%%2541@127.0.0.1:%d/0", port)), 0);
    /* Database 3 is a store of its own. */
    assert_string_equal(fx_redis(fx, "EVAL \"redis.call('SELECT', 3) return redis.call('EXISTS', 'penstock:meta')\" 0"),
                        ":1\r\n");
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://127.0.0.1:%d/99", port)), -1);
    assert_error(&fx->err, ERR_STORE_UNFIT, ERR_CLASS_FATAL, "SELECT");
}

static void test_store_wrong_or_missing_password_is_fatal_and_says_so(void **state) {
    struct fx *fx = *state;
    int port = listen_on_tcp(fx);
    fx_redis(fx, "ACL SETUSER tester on >secret ~* &* +@all");
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://tester:wrong@127.0.0.1:%d", port)), -1);
    assert_error(&fx->err, ERR_STORE_UNFIT, ERR_CLASS_FATAL, "WRONGPASS");
    assert_null(strstr(fx->err.msg, "wrong@"));
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://:secret@127.0.0.1:%d", port)), -1);
    assert_error(&fx->err, ERR_STORE_UNFIT, ERR_CLASS_FATAL, "AUTH");
    fx_redis(fx, "ACL SETUSER reader on >secret ~* &* +@read +info +select +auth");
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://reader:secret@127.0.0.1:%d", port)), -1);
    assert_error(&fx->err, ERR_STORE_UNFIT, ERR_CLASS_FATAL, "NOPERM");
}

static void test_store_where_nobody_listens_is_unavailable(void **state) {
    struct fx *fx = *state;
    int port = test_free_port();
    assert_int_equal(attach_to(fx, arena_printf(&fx->arena, "redis://127.0.0.1:%d", port)), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, arena_printf(&fx->arena, "127.0.0.1:%d", port));
    assert_int_equal(attach_to(fx, "unix:///nowhere/redis.sock"), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "/nowhere/redis.sock: connect: No such file");
    assert_int_equal(attach_to(fx, "redis://no-such-host.invalid"), -1);
    assert_error(&fx->err, ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY, "no-such-host.invalid:6379");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_store_that_was_never_opened_keeps_workers_waiting),
        FX_TEST(test_store_after_a_restart_waits_for_a_process_that_may_recover),
        FX_TEST(test_store_of_another_epoch_is_fenced_even_if_its_scripts_are_still_cached),
        FX_TEST(test_store_two_control_processes_begin_one_epoch),
        FX_TEST(test_store_whose_scripts_were_flushed_heals_by_itself),
        FX_TEST(test_store_that_was_emptied_fences_everybody),
        FX_TEST(test_store_that_was_emptied_and_opened_by_a_newcomer_fences_who_goes_on_running),
        FX_TEST(test_store_epoch_grows_though_the_clock_of_redis_is_behind),
        FX_TEST(test_store_tells_that_redis_is_away_and_goes_on_when_it_is_back),
        FX_TEST(test_store_cut_connection_is_made_anew),
        FX_TEST(test_store_that_does_not_answer_in_time_is_unavailable),
        FX_TEST(test_store_with_too_many_clients_is_unavailable_and_not_broken),
        FX_TEST(test_store_that_may_evict_records_is_refused),
        FX_TEST(test_store_without_memory_takes_no_jobs_but_ends_and_forgets_those_it_has),
        FX_TEST(test_store_urls_that_mean_nothing_are_refused),
        FX_TEST(test_store_is_reached_by_tcp_with_user_and_password_and_database),
        FX_TEST(test_store_wrong_or_missing_password_is_fatal_and_says_so),
        FX_TEST(test_store_where_nobody_listens_is_unavailable),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
