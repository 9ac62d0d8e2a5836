/* What workers and deadlines do: order, fencing, leases, retries, crashes, timeouts. */
#include <stdlib.h>
#include <string.h>

#include "fx.h"

/* --- order -------------------------------------------------------------------------------------------------------- */

static void create_with(struct fx *fx, const char *id, int priority, int64_t not_before) {
    struct store_item item = fx_item_create(fx, id);
    item.priority = priority;
    item.not_before = not_before;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
}

static void assert_claim_order(struct fx *fx, const char *const *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct store_claimed job = fx_claim_one(fx, "w1");
        assert_string_equal(job.job_id, ids[i]);
        assert_true(fx_finish(fx, "w1", &job, STORE_COMPLETED));
    }
    assert_int_equal(fx_claim(fx, "w1", 1, FX_LEASE_MS).count, 0);
}

static void test_store_urgent_jobs_go_first_and_equal_ones_in_order_of_arrival(void **state) {
    struct fx *fx = *state;
    create_with(fx, "z-4", 4, 0);
    create_with(fx, "a-4", 4, 0); /* by arrival, not by name */
    create_with(fx, "m-0", 0, 0);
    create_with(fx, "b-9", 9, 0);
    struct store_item batch[] = {fx_item_create(fx, "y-4"), fx_item_create(fx, "x-4")};
    fx_ingest(fx, batch, 2);
    create_with(fx, "a-9", 9, 0);
    static const char *const order[] = {"b-9", "a-9", "z-4", "a-4", "y-4", "x-4", "m-0"};
    assert_claim_order(fx, order, 7);
}

static void test_store_released_job_waits_behind_those_that_wait_already(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    fx_create(fx, "b");
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_true(fx_finish(fx, "w1", &job, STORE_RELEASED));
    struct job_record rec = fx_record(fx, "a");
    assert_int_equal(rec.state, JOB_STATE_QUEUED);
    assert_int_equal(rec.attempt, 1); /* not charged */
    assert_int_equal(rec.crashes, 0);
    assert_string_equal(fx_last_event(fx, "a")->reason, "release");
    static const char *const order[] = {"b", "a"};
    assert_claim_order(fx, order, 2);
}

static bool all_are_ready(void *arg) {
    struct fx *fx = arg;
    fx_sweep(fx, 100, NULL);
    return fx_redis_int(fx, "ZCARD penstock:ready:" FX_MODEL) == 3;
}

static void test_store_delayed_jobs_become_ready_in_the_order_of_their_times(void **state) {
    struct fx *fx = *state;
    int64_t now = fx_now_ms(fx);
    create_with(fx, "a", 4, now + 60);
    create_with(fx, "b", 4, now + 50);
    create_with(fx, "c", 4, now + 40);
    assert_int_equal(fx_claim(fx, "w1", 3, FX_LEASE_MS).count, 0);
    assert_int_equal(fx_record(fx, "a").not_before, now + 60);
    while (fx_now_ms(fx) < now + 61) continue; /* so that one sweep finds all three due */
    assert_true(test_wait_for(all_are_ready, fx, FX_DEADLINE_MS));
    static const char *const order[] = {"c", "b", "a"};
    assert_claim_order(fx, order, 3);
}

static void test_store_claim_takes_the_first_model_that_has_jobs_and_no_more_than_fit(void **state) {
    struct fx *fx = *state;
    for (int i = 0; i < 5; i++) {
        struct store_item item = fx_item_create(fx, arena_printf(&fx->arena, "second-%d", i));
        item.model = "second";
        assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    }
    const char *const models[] = {"first", "second", FX_MODEL};
    const int max_jobs[] = {8, 3, 8};
    fx_create(fx, "m");
    struct store_claim want = {
        .worker = "w1", .models = models, .max_jobs = max_jobs, .model_count = 3, .lease_ms = FX_LEASE_MS};
    struct store_claims claims;
    assert_int_equal(store_claim(fx->st, &want, &fx->arena, &claims, &fx->err), 0);
    assert_int_equal(claims.count, 3);
    for (size_t i = 0; i < 3; i++) assert_string_equal(claims.jobs[i].model, "second");
}

static void test_store_finish_brings_the_next_batch_in_one_outbox_entry(void **state) {
    struct fx *fx = *state;
    for (int i = 0; i < 6; i++) fx_create(fx, arena_printf(&fx->arena, "%d", i));
    struct store_claims claims = fx_claim(fx, "w1", 3, FX_LEASE_MS);
    struct store_finish finishes[3];
    for (size_t i = 0; i < 3; i++)
        finishes[i] = (struct store_finish){.job_id = claims.jobs[i].job_id,
                                            .token = claims.jobs[i].token,
                                            .outcome = i == 2 ? STORE_RELEASED : STORE_COMPLETED,
                                            .doc = "{}",
                                            .doc_len = 2};
    fx_drain(fx);
    size_t entries = fx->entry_count;
    const char *const models[] = {FX_MODEL};
    const int max_jobs[] = {10};
    struct store_claim want = {
        .worker = "w1", .models = models, .max_jobs = max_jobs, .model_count = 1, .lease_ms = FX_LEASE_MS};
    assert_int_equal(store_finish(fx->st, "w1", finishes, 3, &want, &fx->arena, &claims, &fx->err), 0);
    for (size_t i = 0; i < 3; i++) assert_true(finishes[i].accepted);
    assert_int_equal(claims.count, 4); /* the three that waited, and the one just given back */
    assert_string_equal(claims.jobs[3].job_id, "2");
    fx_drain(fx);
    assert_int_equal(fx->entry_count, entries + 1);
}

/* --- fencing ------------------------------------------------------------------------------------------------------ */

static void assert_fenced_out(struct fx *fx, const char *worker, const struct store_claimed *stale) {
    const char *before = fx_hash(fx, stale->job_id);
    size_t events = fx_event_count(fx, stale->job_id);
    assert_int_equal(fx_renew(fx, "elsewhere", stale), STORE_LEASE_LOST);
    for (enum store_outcome outcome = STORE_COMPLETED; outcome <= STORE_RELEASED; outcome++)
        assert_false(fx_finish(fx, worker, stale, outcome));
    assert_string_equal(fx_hash(fx, stale->job_id), before);
    assert_int_equal(fx_event_count(fx, stale->job_id), events);
}

static void test_store_stale_token_can_neither_renew_nor_finish(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    struct store_claimed stale = fx_claim(fx, "w1", 1, 1).jobs[0];
    fx_sweep_until(fx, "a", JOB_STATE_QUEUED);
    assert_fenced_out(fx, "w1", &stale); /* while it waits again */
    struct store_claimed job = fx_claim_one(fx, "w2");
    assert_fenced_out(fx, "w1", &stale); /* while another runs it */
    struct store_claimed stolen = job;
    stolen.token = stale.token;
    assert_fenced_out(fx, "w2", &stolen);
    assert_true(fx_finish(fx, "w2", &job, STORE_COMPLETED));
    assert_fenced_out(fx, "w1", &stale); /* after another finished it */
}

static void test_store_stale_token_of_the_same_worker_is_as_stale(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    struct store_claimed stale = fx_claim(fx, "w1", 1, 1).jobs[0];
    fx_sweep_until(fx, "a", JOB_STATE_QUEUED);
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_string_not_equal(job.token, stale.token);
    assert_fenced_out(fx, "w1", &stale);
    assert_true(fx_finish(fx, "w1", &job, STORE_COMPLETED));
}

static void test_store_finish_sent_twice_is_accepted_twice_and_told_once(void **state) {
    struct fx *fx = *state;
    static const enum store_outcome outcomes[] = {STORE_COMPLETED, STORE_FAILED, STORE_CANCELLED};
    static const char *const ids[] = {"completed", "failed", "cancelled"};
    for (size_t i = 0; i < 3; i++) {
        fx_create(fx, ids[i]);
        struct store_claimed job = fx_claim_one(fx, "w1");
        assert_true(fx_finish(fx, "w1", &job, outcomes[i]));
        assert_true(fx_finish(fx, "w1", &job, outcomes[i]));
        assert_int_equal(fx_event_count(fx, ids[i]), 3);
    }
}

static void test_store_finish_of_two_results_for_one_job_in_a_batch_counts_the_first(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    struct store_claimed job = fx_claim_one(fx, "w1");
    struct store_finish both[2];
    for (int i = 0; i < 2; i++)
        both[i] =
            (struct store_finish){.job_id = "a", .token = job.token, .doc = "{}", .doc_len = 2, .code = ERR_TIMEOUT};
    both[0].outcome = STORE_COMPLETED;
    both[1].outcome = STORE_FAILED;
    assert_int_equal(store_finish(fx->st, "w1", both, 2, NULL, &fx->arena, NULL, &fx->err), 0);
    assert_true(both[0].accepted);
    assert_false(both[1].accepted);
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_COMPLETED);
}

/* --- leases and crashes ------------------------------------------------------------------------------------------- */

static void test_store_renewed_lease_does_not_expire(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    struct store_claimed job = fx_claim(fx, "w1", 1, 1000).jobs[0];
    int64_t lease_until = fx_record(fx, "a").lease_until;
    assert_int_equal(fx_renew(fx, "w1", &job), STORE_LEASE_HELD);
    assert_true(fx_record(fx, "a").lease_until >= lease_until + FX_LEASE_MS - 1000);
    int64_t next_ms;
    fx_sweep(fx, 10, &next_ms);
    assert_in_range(next_ms, FX_LEASE_MS - 2000, FX_LEASE_MS);
}

static void test_store_renew_keeps_progress_and_message_each_on_its_own(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    struct store_claimed job = fx_claim_one(fx, "w1");
    struct store_renewal renewal = {
        .job_id = "a", .token = job.token, .progress = 0.25, .progress_message = "a \x1f b"};
    assert_int_equal(store_renew(fx->st, "w1", FX_LEASE_MS, &renewal, 1, &fx->err), 0);
    struct job_record rec = fx_record(fx, "a");
    assert_true(rec.progress == 0.25);
    assert_string_equal(rec.progress_message, "a \x1f b");
    renewal = (struct store_renewal){.job_id = "a", .token = job.token, .progress = -1, .progress_message = "half"};
    assert_int_equal(store_renew(fx->st, "w1", FX_LEASE_MS, &renewal, 1, &fx->err), 0);
    rec = fx_record(fx, "a");
    assert_true(rec.progress == 0.25);
    assert_string_equal(rec.progress_message, "half");
    assert_true(fx_finish(fx, "w1", &job, STORE_COMPLETED));
    assert_true(fx_last_event(fx, "a")->progress == 0.25);
}

static void test_store_renewals_of_a_batch_are_answered_one_by_one(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    fx_create(fx, "b");
    struct store_claims claims = fx_claim(fx, "w1", 2, FX_LEASE_MS);
    fx_cancel(fx, "b");
    struct store_renewal renewals[] = {{.job_id = "a", .token = claims.jobs[0].token, .progress = 0},
                                       {.job_id = "b", .token = claims.jobs[1].token, .progress = -1},
                                       {.job_id = "c", .token = "1-77", .progress = 1}};
    assert_int_equal(store_renew(fx->st, "w1", FX_LEASE_MS, renewals, 3, &fx->err), 0);
    assert_int_equal(renewals[0].answer, STORE_LEASE_HELD);
    assert_int_equal(renewals[1].answer, STORE_LEASE_CANCEL_REQUESTED);
    assert_int_equal(renewals[2].answer, STORE_LEASE_LOST);
    assert_int_equal(store_renew(fx->st, "w1", FX_LEASE_MS, NULL, 0, &fx->err), 0);
}

static void test_store_expired_lease_requeues_as_a_crash_and_not_as_an_attempt(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    struct store_claimed first = fx_claim(fx, "w1", 1, 1).jobs[0];
    fx_sweep_until(fx, "a", JOB_STATE_QUEUED);
    const struct job_event *ev = fx_last_event(fx, "a");
    assert_string_equal(ev->reason, "worker_lost");
    assert_string_equal(ev->worker, "w1");
    assert_string_equal(ev->token, first.token);
    struct store_claimed second = fx_claim_one(fx, "w2");
    assert_int_equal(second.attempt, 1);
    assert_int_equal(second.crashes, 1);
    assert_string_not_equal(second.token, first.token);
}

static void test_store_job_that_loses_its_workers_too_often_fails_with_an_error_document(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(fx_claim(fx, "w1", 1, 1).count, 1);
        fx_sweep_until(fx, "a", i < 3 ? JOB_STATE_QUEUED : JOB_STATE_FAILED);
        assert_int_equal(fx_record(fx, "a").crashes, i);
    }
    assert_string_equal(fx_record(fx, "a").error_code, "worker_lost");
    size_t len;
    const char *doc = fx_doc(fx, "error", "a", &len);
    assert_non_null(strstr(doc, "\"code\":\"worker_lost\""));
    const struct job_event *ev = fx_last_event(fx, "a");
    assert_int_equal(ev->doc_len, len);
    assert_memory_equal(ev->doc, doc, len);
    assert_int_equal(ev->crashes, 3);
}

static void test_store_lost_worker_gives_back_all_its_jobs_and_no_others(void **state) {
    struct fx *fx = *state;
    enum { MINE = 250, OTHERS = 10 };
    struct store_item items[MINE + OTHERS];
    for (int i = 0; i < MINE + OTHERS; i++) items[i] = fx_item_create(fx, arena_printf(&fx->arena, "%d", i));
    fx_ingest(fx, items, MINE + OTHERS);
    assert_int_equal(fx_claim(fx, "w1", MINE, FX_LEASE_MS).count, MINE);
    assert_int_equal(fx_claim(fx, "w2", OTHERS, FX_LEASE_MS).count, OTHERS);
    fx_drain(fx);
    size_t entries = fx->entry_count, lost = 0;
    assert_int_equal(store_worker_lost(fx->st, "w1", &lost, &fx->err), 0);
    assert_int_equal(lost, MINE);
    fx_drain(fx);
    assert_int_equal(fx->entry_count, entries + 3); /* bounded: 100 jobs a step */
    for (int i = 0; i < MINE + OTHERS; i++) {
        struct job_record rec = fx_record(fx, items[i].job_id);
        assert_int_equal(rec.state, i < MINE ? JOB_STATE_QUEUED : JOB_STATE_RUNNING);
        assert_int_equal(rec.crashes, 0); /* nobody knows which of them it was */
    }
    assert_int_equal(fx_claim(fx, "w3", MINE, FX_LEASE_MS).count, 1); /* from now on they run alone */
    assert_int_equal(store_worker_lost(fx->st, "w1", &lost, &fx->err), 0);
    assert_int_equal(lost, 0);
    assert_int_equal(store_worker_lost(fx->st, "nobody", &lost, &fx->err), 0);
    assert_int_equal(lost, 0);
}

static void test_store_job_that_lost_a_worker_is_handed_out_alone_and_in_its_turn(void **state) {
    struct fx *fx = *state;
    for (int i = 0; i < 6; i++) {
        struct store_item item = fx_item_create(fx, arena_printf(&fx->arena, "%d", i));
        item.priority = i == 0 || i == 4 ? 5 : 4;
        assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    }
    size_t lost;
    struct store_claimed held = fx_claim_one(fx, "keeper"); /* 0 */
    assert_string_equal(fx_claim_one(fx, "w1").job_id, "4");
    assert_int_equal(store_worker_lost(fx->st, "w1", &lost, &fx->err), 0);
    assert_true(fx_finish(fx, "keeper", &held, STORE_RELEASED));
    /* Ready now: 4, which lost a worker, 0 behind it, both urgent; then 1, 2, 3, 5. */
    struct store_claims claims = fx_claim(fx, "w2", 10, FX_LEASE_MS);
    assert_int_equal(claims.count, 1);
    assert_string_equal(claims.jobs[0].job_id, "4");
    assert_int_equal(store_worker_lost(fx->st, "w2", &lost, &fx->err), 0);
    /* Now 0 stands before it: the healthy ones go together, past it. */
    claims = fx_claim(fx, "w2", 10, FX_LEASE_MS);
    assert_int_equal(claims.count, 5);
    static const char *const healthy[] = {"0", "1", "2", "3", "5"};
    for (size_t i = 0; i < 5; i++) assert_string_equal(claims.jobs[i].job_id, healthy[i]);
    claims = fx_claim(fx, "w3", 10, FX_LEASE_MS);
    assert_int_equal(claims.count, 1);
    assert_int_equal(claims.jobs[0].crashes, 2);
}

/* --- retries and timeouts ----------------------------------------------------------------------------------------- */

static bool finish_retryable(struct fx *fx, const struct store_claimed *job, int64_t backoff_ms) {
    struct store_finish finish = {.job_id = job->job_id,
                                  .token = job->token,
                                  .outcome = STORE_FAILED,
                                  .doc = "{\"code\":\"out_of_memory\"}",
                                  .doc_len = 24,
                                  .code = ERR_OUT_OF_MEMORY,
                                  .retryable = true,
                                  .backoff_ms = backoff_ms};
    return fx_finish_one(fx, "w1", finish);
}

static bool is_claimable(void *arg) {
    struct fx *fx = arg;
    fx_sweep(fx, 10, NULL);
    return fx_redis_int(fx, "ZCARD penstock:ready:" FX_MODEL) == 1;
}

static void test_store_retry_waits_for_its_backoff_and_fails_when_attempts_are_used_up(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a"); /* of three attempts */
    for (int attempt = 1; attempt <= 3; attempt++) {
        assert_true(test_wait_for(is_claimable, fx, FX_DEADLINE_MS));
        struct store_claimed job = fx_claim_one(fx, "w1");
        assert_int_equal(job.attempt, attempt);
        int64_t before = fx_now_ms(fx);
        assert_true(finish_retryable(fx, &job, 30));
        struct job_record rec = fx_record(fx, "a");
        if (attempt == 3) break;
        assert_int_equal(rec.state, JOB_STATE_QUEUED);
        assert_int_equal(rec.attempt, attempt + 1);
        assert_true(rec.not_before >= before + 30 && rec.not_before == rec.queued_at + 30);
        assert_int_equal(fx_last_event(fx, "a")->not_before, rec.not_before);
        assert_string_equal(fx_last_event(fx, "a")->reason, "retry");
    }
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_FAILED);
    assert_string_equal(fx_record(fx, "a").error_code, "out_of_memory");
    assert_string_equal(fx_doc(fx, "error", "a", NULL), "{\"code\":\"out_of_memory\"}");
    assert_int_equal(fx_record(fx, "a").attempt, 3);
}

static void test_store_retry_without_backoff_is_ready_at_once(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_true(finish_retryable(fx, &job, 0));
    assert_int_equal(fx_claim_one(fx, "w1").attempt, 2);
}

static void test_store_cancel_of_a_job_that_waits_for_its_retry_leaves_no_timer(void **state) {
    struct fx *fx = *state;
    fx->cfg.retention_ms = 0;
    fx_reopen(fx);
    fx_create(fx, "a");
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_true(finish_retryable(fx, &job, 60000));
    assert_int_equal(fx_cancel(fx, "a"), STORE_ACCEPTED);
    assert_int_equal(fx_redis_int(fx, "ZCARD penstock:timers"), 0);
}

static void test_store_queue_timeout_counts_from_when_the_job_may_run(void **state) {
    struct fx *fx = *state;
    struct store_item item = fx_item_create(fx, "a");
    item.queue_timeout_ms = 20;
    item.not_before = fx_now_ms(fx) + 30;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    fx_sweep_until(fx, "a", JOB_STATE_FAILED);
    struct job_record rec = fx_record(fx, "a");
    assert_string_equal(rec.error_code, "queue_timeout");
    assert_true(rec.finished_at >= item.not_before + 20);
    assert_int_equal(rec.duration_ms, 0);
    assert_non_null(strstr(fx_doc(fx, "error", "a", NULL), "queue_timeout"));
}

static void test_store_job_that_runs_has_no_queue_timeout(void **state) {
    struct fx *fx = *state;
    struct store_item item = fx_item_create(fx, "a");
    item.queue_timeout_ms = 1;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    struct store_claimed job = fx_claim_one(fx, "w1");
    int64_t until = fx_now_ms(fx) + 3;
    while (fx_now_ms(fx) < until) fx_sweep(fx, 10, NULL);
    assert_int_equal(fx_renew(fx, "w1", &job), STORE_LEASE_HELD);
}

static void test_store_worker_that_renews_past_the_run_timeout_is_overruled(void **state) {
    struct fx *fx = *state;
    static const char *const ids[] = {"a", "b"};
    for (size_t i = 0; i < 2; i++) {
        fx_create(fx, ids[i]);
        struct store_claimed job = fx_claim_one(fx, "w1");
        if (i == 1) fx_cancel(fx, ids[i]); /* then it is cancelled, not failed */
        /* The store gives the worker half a minute to see to it by itself: a negative timeout brings the end near. */
        fx_redis(fx, "HSET penstock:job:%s timeout_ms -29980", ids[i]);
        enum store_lease want = i == 1 ? STORE_LEASE_CANCEL_REQUESTED : STORE_LEASE_HELD;
        assert_int_equal(fx_renew(fx, "w1", &job), want);
        fx_sweep_until(fx, ids[i], i == 1 ? JOB_STATE_CANCELLED : JOB_STATE_FAILED);
        assert_int_equal(fx_renew(fx, "w1", &job), STORE_LEASE_LOST);
        assert_false(i == 0 && fx_finish(fx, "w1", &job, STORE_COMPLETED));
        fx_redis(fx, "HSET penstock:job:%s timeout_ms 300000", ids[i]);
    }
    assert_string_equal(fx_record(fx, "a").error_code, "timeout");
    assert_non_null(strstr(fx_doc(fx, "error", "a", NULL), "timeout"));
}

static void test_store_sweep_does_no_more_than_its_limit_and_says_when_to_come_again(void **state) {
    struct fx *fx = *state;
    for (int i = 0; i < 25; i++) {
        struct store_item item = fx_item_create(fx, arena_printf(&fx->arena, "%d", i));
        item.queue_timeout_ms = 1;
        assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    }
    int64_t until = fx_now_ms(fx) + 2, next_ms;
    while (fx_now_ms(fx) < until) continue;
    assert_int_equal(fx_sweep(fx, 10, &next_ms), 10);
    assert_int_equal(next_ms, 0);
    assert_int_equal(fx_sweep(fx, 10, &next_ms), 10);
    assert_int_equal(fx_sweep(fx, 10, &next_ms), 5);
    assert_in_range(next_ms, 3600000 - FX_DEADLINE_MS, 3600000); /* retention is next */
    assert_int_equal(fx_sweep(fx, 10, NULL), 0);
}

/* --- retention ---------------------------------------------------------------------------------------------------- */

static bool sweeps_down_to_nothing(void *arg) {
    struct fx *fx = arg;
    fx_sweep(fx, 100, NULL);
    struct store_stats stats;
    assert_int_equal(store_stats_get(fx->st, &stats, &fx->err), 0);
    return stats.timers == 0;
}

static void test_store_retention_leaves_no_key_of_a_job(void **state) {
    struct fx *fx = *state;
    fx->cfg.retention_ms = 20;
    fx_reopen(fx);
    static const enum store_outcome outcomes[] = {STORE_COMPLETED, STORE_FAILED, STORE_CANCELLED};
    for (size_t i = 0; i < 3; i++) {
        fx_create(fx, arena_printf(&fx->arena, "the-job-%zu", i));
        struct store_claimed job = fx_claim_one(fx, "w1");
        if (i == 2) fx_cancel(fx, job.job_id);
        assert_true(fx_finish(fx, "w1", &job, outcomes[i]));
    }
    fx_cancel(fx, "the-job-early");
    fx_create(fx, "the-job-early");
    assert_true(test_wait_for(sweeps_down_to_nothing, fx, FX_DEADLINE_MS));
    fx_drain(fx);
    const char *keys = fx_redis(fx, "EVAL \"local keys = redis.call('KEYS', 'penstock:*') table.sort(keys) return "
                                    "table.concat(keys, ' ')\" 0");
    assert_non_null(strstr(keys, "\r\npenstock:ingest penstock:meta penstock:outbox\r\n"));
}

static void test_store_retention_of_zero_keeps_jobs(void **state) {
    struct fx *fx = *state;
    fx->cfg.retention_ms = 0;
    fx_reopen(fx);
    fx_create(fx, "a");
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_true(fx_finish(fx, "w1", &job, STORE_COMPLETED));
    fx_cancel(fx, "b");
    fx_create(fx, "b");
    int64_t next_ms;
    assert_int_equal(fx_sweep(fx, 10, &next_ms), 0);
    assert_int_equal(next_ms, -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_store_urgent_jobs_go_first_and_equal_ones_in_order_of_arrival),
        FX_TEST(test_store_released_job_waits_behind_those_that_wait_already),
        FX_TEST(test_store_delayed_jobs_become_ready_in_the_order_of_their_times),
        FX_TEST(test_store_claim_takes_the_first_model_that_has_jobs_and_no_more_than_fit),
        FX_TEST(test_store_finish_brings_the_next_batch_in_one_outbox_entry),
        FX_TEST(test_store_stale_token_can_neither_renew_nor_finish),
        FX_TEST(test_store_stale_token_of_the_same_worker_is_as_stale),
        FX_TEST(test_store_finish_sent_twice_is_accepted_twice_and_told_once),
        FX_TEST(test_store_finish_of_two_results_for_one_job_in_a_batch_counts_the_first),
        FX_TEST(test_store_renewed_lease_does_not_expire),
        FX_TEST(test_store_renew_keeps_progress_and_message_each_on_its_own),
        FX_TEST(test_store_renewals_of_a_batch_are_answered_one_by_one),
        FX_TEST(test_store_expired_lease_requeues_as_a_crash_and_not_as_an_attempt),
        FX_TEST(test_store_job_that_loses_its_workers_too_often_fails_with_an_error_document),
        FX_TEST(test_store_lost_worker_gives_back_all_its_jobs_and_no_others),
        FX_TEST(test_store_job_that_lost_a_worker_is_handed_out_alone_and_in_its_turn),
        FX_TEST(test_store_retry_waits_for_its_backoff_and_fails_when_attempts_are_used_up),
        FX_TEST(test_store_retry_without_backoff_is_ready_at_once),
        FX_TEST(test_store_cancel_of_a_job_that_waits_for_its_retry_leaves_no_timer),
        FX_TEST(test_store_queue_timeout_counts_from_when_the_job_may_run),
        FX_TEST(test_store_job_that_runs_has_no_queue_timeout),
        FX_TEST(test_store_worker_that_renews_past_the_run_timeout_is_overruled),
        FX_TEST(test_store_sweep_does_no_more_than_its_limit_and_says_when_to_come_again),
        FX_TEST(test_store_retention_leaves_no_key_of_a_job),
        FX_TEST(test_store_retention_of_zero_keeps_jobs),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
