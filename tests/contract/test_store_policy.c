/* Who may run, and in which order: priorities and ageing, limits of models and tenants, modes, batches, and who pays
 * for a crash; by the scripts on a real Redis. */
#include <stdlib.h>
#include <string.h>

#include "fx.h"
#include "penstock/store_policy.h"

#define TENANT_LABEL "tenant"

static void set_policy(struct fx *fx, struct store_policy policy) {
    policy.tenant_label = TENANT_LABEL;
    if (store_policy_set(fx->st, &policy, false, &fx->err) != 0) fail_msg("store_policy_set: %s", fx->err.msg);
}

static void set_mode(struct fx *fx, const char *model, enum store_mode mode) {
    struct store_item item = fx_item_cancel(fx, "unused");
    item.kind = STORE_ITEM_MODE;
    item.job_id = NULL;
    item.model = model;
    item.mode = mode;
    item.reason = "for a test";
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
}

/* A job of a tenant, or of none (NULL). */
static void create_for(struct fx *fx, const char *id, const char *tenant, int priority) {
    struct job_label *label = arena_alloc(&fx->arena, sizeof *label);
    struct store_item item = fx_item_create(fx, id);
    *label = (struct job_label){TENANT_LABEL, tenant};
    item.priority = priority;
    item.labels = label;
    item.label_count = tenant != NULL;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
}

/* Claims up to `max` jobs and compares their ids, in order, with a text such as "a b c". */
static struct store_claims assert_claims(struct fx *fx, const char *worker, int max, const char *ids) {
    struct store_claims claims = fx_claim(fx, worker, max, FX_LEASE_MS);
    struct buf got = {0};
    for (size_t i = 0; i < claims.count; i++) buf_printf(&got, "%s%s", i ? " " : "", claims.jobs[i].job_id);
    assert_string_equal(got.data ? got.data : "", ids);
    buf_done(&got);
    return claims;
}

static void complete(struct fx *fx, const char *worker, const struct store_claims *claims, size_t at) {
    assert_true(fx_finish(fx, worker, &claims->jobs[at], STORE_COMPLETED));
}

/* --- order -------------------------------------------------------------------------------------------------------- */

static void test_policy_without_ageing_the_urgent_always_goes_first(void **state) {
    struct fx *fx = *state;
    create_for(fx, "old", NULL, 0);
    create_for(fx, "urgent", NULL, 9);
    create_for(fx, "normal", NULL, 4);
    assert_claims(fx, "w", 3, "urgent normal old");
}

static bool has_aged(void *arg) {
    struct fx *fx = arg;
    return fx_now_ms(fx) >= fx_record(fx, "old").queued_at + 15;
}

static void test_policy_with_ageing_a_job_that_waited_goes_before_a_newer_one_of_higher_priority(void **state) {
    struct fx *fx = *state;
    set_policy(fx, (struct store_policy){.ageing_ms = 10});
    create_for(fx, "old", NULL, 4);
    assert_true(test_wait_for(has_aged, fx, FX_DEADLINE_MS));
    create_for(fx, "next", NULL, 5);   /* one level: worth 10 ms, and the old one waited longer */
    create_for(fx, "urgent", NULL, 9); /* five levels: worth 50 ms */
    assert_claims(fx, "w", 3, "urgent old next");
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static void test_policy_model_runs_no_more_jobs_than_its_limit(void **state) {
    struct fx *fx = *state;
    const struct store_limit limit = {FX_MODEL, 2};
    set_policy(fx, (struct store_policy){.models = &limit, .model_count = 1});
    for (int i = 0; i < 4; i++) fx_create(fx, arena_printf(&fx->arena, "%d", i));
    struct store_claims first = assert_claims(fx, "w1", 4, "0 1");
    assert_claims(fx, "w2", 4, "");
    complete(fx, "w1", &first, 0);
    assert_claims(fx, "w2", 4, "2");
    set_policy(fx, (struct store_policy){0});
    assert_claims(fx, "w2", 4, "3");
}

static void test_policy_tenant_at_its_limit_does_not_hold_up_the_others(void **state) {
    struct fx *fx = *state;
    set_policy(fx, (struct store_policy){.tenant_max_running = 1});
    create_for(fx, "a1", "a", 4);
    create_for(fx, "a2", "a", 4);
    create_for(fx, "a3", "a", 4);
    create_for(fx, "none", NULL, 4);
    create_for(fx, "b1", "b", 4);
    struct store_claims first = assert_claims(fx, "w1", 10, "a1 none b1");
    assert_claims(fx, "w2", 10, "");
    complete(fx, "w1", &first, 0);
    struct store_claims second = assert_claims(fx, "w2", 10, "a2");
    assert_claims(fx, "w3", 10, "");
    complete(fx, "w2", &second, 0);
    assert_claims(fx, "w3", 10, "a3");
}

static void test_policy_a_named_tenant_has_a_limit_of_its_own(void **state) {
    struct fx *fx = *state;
    const struct store_limit gold = {"gold", 2};
    set_policy(fx, (struct store_policy){.tenant_max_running = 1, .tenants = &gold, .tenant_count = 1});
    for (int i = 0; i < 3; i++) create_for(fx, arena_printf(&fx->arena, "g%d", i), "gold", 4);
    for (int i = 0; i < 3; i++) create_for(fx, arena_printf(&fx->arena, "f%d", i), "free", 4);
    assert_claims(fx, "w", 10, "g0 g1 f0");
}

static void test_policy_tenants_at_their_limit_take_turns(void **state) {
    struct fx *fx = *state;
    set_policy(fx, (struct store_policy){.tenant_max_running = 1});
    for (int i = 0; i < 3; i++) create_for(fx, arena_printf(&fx->arena, "a%d", i), "a", 4);
    for (int i = 0; i < 3; i++) create_for(fx, arena_printf(&fx->arena, "b%d", i), "b", 4);
    /* One worker, one job at a time. Without limits it would be a a a b b b. */
    static const char *const order[] = {"a0", "b0", "a1", "b1", "a2", "b2"};
    struct store_claims two[2];
    two[0] = assert_claims(fx, "w", 1, order[0]);
    two[1] = assert_claims(fx, "w", 1, order[1]);
    for (size_t i = 2; i < 6; i++) {
        complete(fx, "w", &two[i % 2], 0);
        two[i % 2] = assert_claims(fx, "w", 1, order[i]);
    }
}

static void test_policy_urgent_job_of_a_waiting_tenant_goes_first_when_there_is_a_slot(void **state) {
    struct fx *fx = *state;
    set_policy(fx, (struct store_policy){.tenant_max_running = 1});
    create_for(fx, "runs", "a", 4);
    struct store_claims first = assert_claims(fx, "w", 1, "runs");
    create_for(fx, "low", "a", 1);
    create_for(fx, "urgent", "a", 9);
    complete(fx, "w", &first, 0);
    assert_claims(fx, "w", 1, "urgent");
}

static void test_policy_parked_job_can_be_cancelled_and_leaves_nobody_behind(void **state) {
    struct fx *fx = *state;
    set_policy(fx, (struct store_policy){.tenant_max_running = 1});
    create_for(fx, "runs", "a", 4);
    struct store_claims first = assert_claims(fx, "w", 1, "runs");
    create_for(fx, "parked", "a", 4);
    create_for(fx, "next", "a", 4);
    assert_int_equal(fx_cancel(fx, "parked"), STORE_ACCEPTED);
    assert_int_equal(fx_state(fx, "parked"), JOB_STATE_CANCELLED);
    complete(fx, "w", &first, 0);
    struct store_claims second = assert_claims(fx, "w", 1, "next");
    complete(fx, "w", &second, 0);
    create_for(fx, "last", "a", 4);
    assert_claims(fx, "w", 1, "last");
}

static void test_policy_higher_limit_brings_parked_jobs_back(void **state) {
    struct fx *fx = *state;
    set_policy(fx, (struct store_policy){.tenant_max_running = 1});
    create_for(fx, "runs", "a", 4);
    assert_claims(fx, "w", 1, "runs");
    create_for(fx, "p1", "a", 4);
    create_for(fx, "p2", "a", 4);
    assert_claims(fx, "w", 2, "");
    set_policy(fx, (struct store_policy){.tenant_max_running = 3});
    assert_claims(fx, "w", 2, "p1 p2");
}

static void test_policy_slot_of_a_lost_worker_is_free_again(void **state) {
    struct fx *fx = *state;
    size_t lost;
    set_policy(fx, (struct store_policy){.tenant_max_running = 1});
    create_for(fx, "one", "a", 4);
    create_for(fx, "two", "a", 4);
    assert_claims(fx, "w1", 2, "one");
    assert_int_equal(store_worker_lost(fx->st, "w1", &lost, &fx->err), 0);
    struct store_claims claims = fx_claim(fx, "w2", 1, FX_LEASE_MS);
    assert_int_equal(claims.count, 1);
    assert_int_equal(fx_claim(fx, "w2", 1, FX_LEASE_MS).count, 0);
    assert_int_equal(
        fx_redis_int(fx, "EVAL \"return tonumber(redis.call('HGET', KEYS[1], 'tenant:a'))\" 1 penstock:counts"), 1);
}

/* --- modes -------------------------------------------------------------------------------------------------------- */

static void test_policy_paused_model_is_not_claimed_until_it_is_resumed(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    set_mode(fx, FX_MODEL, STORE_MODE_PAUSED);
    assert_claims(fx, "w", 1, "");
    fx_create(fx, "b"); /* is taken, and waits */
    set_mode(fx, FX_MODEL, STORE_MODE_OPEN);
    assert_claims(fx, "w", 2, "a b");
}

static void test_policy_pausing_everything_pauses_every_model(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    set_mode(fx, NULL, STORE_MODE_PAUSED);
    assert_claims(fx, "w", 1, "");
    set_mode(fx, NULL, STORE_MODE_OPEN);
    assert_claims(fx, "w", 1, "a");
}

static void test_policy_draining_model_works_off_what_it_has_and_refuses_new_jobs(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "old");
    set_mode(fx, FX_MODEL, STORE_MODE_DRAINING);
    assert_int_equal(fx_ingest_one(fx, fx_item_create(fx, "new")), STORE_REJECTED);
    assert_int_equal(fx_state(fx, "new"), JOB_STATE_NONE);
    assert_string_equal(fx_last_event(fx, "new")->reason, "draining");
    assert_claims(fx, "w", 1, "old");
    set_mode(fx, FX_MODEL, STORE_MODE_OPEN);
    fx_create(fx, "new"); /* the same command, sent again */
}

static void test_policy_cancel_reaches_jobs_of_a_paused_model(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    set_mode(fx, FX_MODEL, STORE_MODE_PAUSED);
    assert_int_equal(fx_cancel(fx, "a"), STORE_ACCEPTED);
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_CANCELLED);
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

static void create_signed(struct fx *fx, const char *id, const char *signature) {
    struct store_item item = fx_item_create(fx, id);
    item.signature = signature;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
}

static void test_policy_batch_has_one_signature_and_the_others_keep_their_places(void **state) {
    struct fx *fx = *state;
    create_signed(fx, "s1", "small");
    create_signed(fx, "l1", "large");
    create_signed(fx, "s2", "small");
    create_signed(fx, "l2", "large");
    assert_claims(fx, "w", 4, "s1 s2");
    assert_claims(fx, "w", 4, "l1 l2");
}

static struct store_claims claim_with_delay(struct fx *fx, int max, int64_t delay_us) {
    const char *const models[] = {FX_MODEL};
    struct store_claim want = {.worker = "w",
                               .models = models,
                               .max_jobs = &max,
                               .max_delay_us = &delay_us,
                               .model_count = 1,
                               .lease_ms = FX_LEASE_MS};
    struct store_claims claims = {0};
    if (store_claim(fx->st, &want, &fx->arena, &claims, &fx->err) != 0) fail_msg("store_claim: %s", fx->err.msg);
    return claims;
}

static void test_policy_incomplete_batch_waits_and_a_full_one_does_not(void **state) {
    struct fx *fx = *state;
    const int64_t hour_us = INT64_C(3600000000);
    fx_create(fx, "a");
    struct store_claims none = claim_with_delay(fx, 2, hour_us);
    assert_int_equal(none.count, 0);
    assert_in_range(none.wait_us, hour_us / 2, hour_us);
    fx_create(fx, "b");
    struct store_claims both = claim_with_delay(fx, 2, hour_us);
    assert_int_equal(both.count, 2);
    assert_int_equal(both.wait_us, -1);
    assert_int_equal(claim_with_delay(fx, 2, hour_us).wait_us, -1); /* nothing waits */
}

static bool claims_alone(void *arg) { return claim_with_delay(arg, 2, 5000).count == 1; }

static void test_policy_incomplete_batch_goes_when_its_first_job_has_waited_long_enough(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    assert_true(test_wait_for(claims_alone, fx, FX_DEADLINE_MS));
}

/* --- who pays for a crash ----------------------------------------------------------------------------------------- */

static void lose(struct fx *fx, const char *worker) {
    size_t lost;
    assert_int_equal(store_worker_lost(fx->st, worker, &lost, &fx->err), 0);
}

static void test_policy_poison_job_is_found_and_its_neighbours_are_not_charged(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "h1");
    fx_create(fx, "poison");
    fx_create(fx, "h2");
    assert_claims(fx, "w", 3, "h1 poison h2");
    lose(fx, "w");
    for (int left = 5; left > 0; left--) { /* 2 healthy, 3 crashes of the poisonous one */
        struct store_claims claims = fx_claim(fx, "w", 3, FX_LEASE_MS);
        assert_int_equal(claims.count, 1);
        if (strcmp(claims.jobs[0].job_id, "poison") == 0)
            lose(fx, "w");
        else
            complete(fx, "w", &claims, 0);
    }
    assert_int_equal(fx_state(fx, "poison"), JOB_STATE_FAILED);
    assert_string_equal(fx_record(fx, "poison").error_code, "worker_lost");
    assert_int_equal(fx_record(fx, "h1").crashes, 0);
    assert_int_equal(fx_record(fx, "h2").crashes, 0);
}

static void test_policy_job_claimed_ahead_is_not_charged_for_the_one_that_ran(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "ran");
    fx_create(fx, "ahead");
    assert_claims(fx, "w", 1, "ran");
    assert_claims(fx, "w", 1, "ahead");
    lose(fx, "w");
    assert_int_equal(fx_record(fx, "ran").crashes, 1);
    assert_int_equal(fx_record(fx, "ahead").crashes, 0);
    assert_int_equal(fx_state(fx, "ahead"), JOB_STATE_QUEUED);
}

static void test_policy_renewal_gives_back_what_the_worker_does_not_know_of(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "known");
    fx_create(fx, "unheard"); /* the answer to its claim got lost */
    struct store_claimed known = fx_claim_one(fx, "w");
    fx_claim_one(fx, "w");
    assert_int_equal(fx_renew(fx, "w", &known), STORE_LEASE_HELD);
    assert_int_equal(fx_state(fx, "unheard"), JOB_STATE_QUEUED);
    assert_int_equal(fx_record(fx, "unheard").crashes, 0);
    assert_int_equal(fx_state(fx, "known"), JOB_STATE_RUNNING);
}

static struct store_mode_view mode_of(struct fx *fx, const char *model) {
    struct store_mode_view view;
    if (store_mode_get(fx->st, model, &fx->arena, &view, &fx->err) != 0) fail_msg("store_mode_get: %s", fx->err.msg);
    return view;
}

static void test_policy_mode_is_told_with_its_reason_and_what_is_left(void **state) {
    struct fx *fx = *state;
    struct store_mode_view view = mode_of(fx, FX_MODEL);
    assert_int_equal(view.mode, STORE_MODE_OPEN);
    assert_string_equal(view.reason, "");
    assert_int_equal(view.queued + view.running, 0);
    for (int i = 0; i < 3; i++) fx_create(fx, arena_printf(&fx->arena, "j%d", i));
    struct store_item other = fx_item_create(fx, "of-another");
    other.model = "other";
    assert_int_equal(fx_ingest_one(fx, other), STORE_ACCEPTED);
    fx_claim_one(fx, "w");
    set_mode(fx, FX_MODEL, STORE_MODE_DRAINING);
    set_mode(fx, NULL, STORE_MODE_PAUSED);
    view = mode_of(fx, FX_MODEL);
    assert_int_equal(view.mode, STORE_MODE_DRAINING);
    assert_string_equal(view.reason, "for a test");
    assert_int_equal(view.queued, 2);
    assert_int_equal(view.running, 1);
    view = mode_of(fx, NULL);
    assert_int_equal(view.mode, STORE_MODE_PAUSED);
    assert_int_equal(view.queued, 3);
    assert_int_equal(view.running, 1);
    assert_int_equal(mode_of(fx, "other").mode, STORE_MODE_OPEN);
    set_mode(fx, FX_MODEL, STORE_MODE_OPEN);
    assert_int_equal(mode_of(fx, FX_MODEL).mode, STORE_MODE_OPEN);
    assert_string_equal(mode_of(fx, FX_MODEL).reason, "");
    assert_int_equal(mode_of(fx, NULL).mode, STORE_MODE_PAUSED);
}

/* --- what a record tells of it ------------------------------------------------------------------------------------ */

static void test_policy_record_tells_labels_by_name_tenant_and_backoff(void **state) {
    struct fx *fx = *state;
    set_policy(fx, (struct store_policy){.tenant_max_running = 1});
    struct job_label labels[] = {{"zone", "b"}, {"empty", ""}, {TENANT_LABEL, "acme"}, {"app.kubernetes", "x-1"}};
    struct store_item item = fx_item_create(fx, "labelled");
    item.labels = labels;
    item.label_count = 4;
    item.backoff_ms = 250;
    item.backoff_max_ms = 9000;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    struct job_record rec = fx_record(fx, "labelled");
    struct buf got = {0};
    for (size_t i = 0; i < rec.label_count; i++) buf_printf(&got, "%s=%s ", rec.labels[i].name, rec.labels[i].value);
    assert_string_equal(got.data, "app.kubernetes=x-1 empty= tenant=acme zone=b ");
    buf_done(&got);
    assert_string_equal(rec.tenant, "acme");
    assert_int_equal(rec.backoff_ms, 250);
    assert_int_equal(rec.backoff_max_ms, 9000);
    fx_create(fx, "bare");
    rec = fx_record(fx, "bare");
    assert_int_equal(rec.label_count, 0);
    assert_null(rec.tenant);
    assert_int_equal(rec.backoff_ms + rec.backoff_max_ms, 0);
}

/* --- backlog, retention, a lost policy ---------------------------------------------------------------------------- */

static void test_policy_backlog_tells_what_waits_of_each_model_and_whether_everything_drains(void **state) {
    struct fx *fx = *state;
    struct store_backlog backlog;
    struct store_item later = fx_item_create(fx, "later"), drain = fx_item_create(fx, "unused");
    assert_int_equal(store_backlog_get(fx->st, &fx->arena, &backlog, &fx->err), 0);
    assert_int_equal(backlog.count, 0);
    assert_false(backlog.draining);
    later.not_before = fx_now_ms(fx) + 3600000;
    assert_int_equal(fx_ingest_one(fx, later), STORE_ACCEPTED);
    assert_int_equal(fx_ingest_one(fx, fx_item_create(fx, "now")), STORE_ACCEPTED);
    drain = fx_item_create(fx, "unused");
    drain.kind = STORE_ITEM_MODE;
    drain.job_id = drain.model = NULL;
    drain.mode = STORE_MODE_DRAINING;
    assert_int_equal(fx_ingest_one(fx, drain), STORE_ACCEPTED);
    assert_int_equal(store_backlog_get(fx->st, &fx->arena, &backlog, &fx->err), 0);
    assert_int_equal(backlog.count, 1);
    assert_string_equal(backlog.models[0].model, FX_MODEL);
    assert_int_equal(backlog.models[0].queued, 2);
    assert_true(backlog.draining);
}

static void test_policy_that_is_there_is_replaced_only_if_that_is_asked_for(void **state) {
    struct fx *fx = *state;
    struct store_policy first = {.tenant_label = "tenant", .tenant_max_running = 1}, second = first;
    second.tenant_max_running = 2;
    assert_int_equal(store_policy_set(fx->st, &first, true, &fx->err), 0); /* none was there */
    assert_int_equal(store_policy_set(fx->st, &second, true, &fx->err), 0);
    assert_non_null(strstr(fx_redis(fx, "HGET penstock:policy tenant_default"), "\r\n1\r\n"));
    assert_int_equal(store_policy_set(fx->st, &second, false, &fx->err), 0);
    assert_non_null(strstr(fx_redis(fx, "HGET penstock:policy tenant_default"), "\r\n2\r\n"));
}

static void test_policy_retention_is_that_of_the_state_in_which_a_job_ended(void **state) {
    struct fx *fx = *state;
    fx->cfg.retention_ms = 3600000;
    fx->cfg.retention_by_state_ms[JOB_STATE_CANCELLED] = 1;
    fx_reopen(fx);
    assert_int_equal(store_retention_ms(&fx->cfg, JOB_STATE_COMPLETED), 3600000);
    assert_int_equal(store_retention_ms(&fx->cfg, JOB_STATE_CANCELLED), 1);
    for (int i = 0; i < 2; i++) {
        const char *id = i ? "cancelled" : "completed";
        assert_int_equal(fx_ingest_one(fx, fx_item_create(fx, id)), STORE_ACCEPTED);
        if (i) {
            assert_int_equal(fx_ingest_one(fx, fx_item_cancel(fx, id)), STORE_ACCEPTED);
        } else {
            struct store_claimed job = fx_claim_one(fx, "w1");
            assert_true(fx_finish(fx, "w1", &job, STORE_COMPLETED));
        }
    }
    int64_t ended = fx_record(fx, "cancelled").finished_at;
    while (fx_now_ms(fx) < ended + 2) continue;
    fx_drain(fx);
    int64_t next;
    assert_int_equal(fx_sweep(fx, 10, &next), 1);
    assert_int_equal(fx_record(fx, "cancelled").state, JOB_STATE_NONE);
    assert_int_equal(fx_record(fx, "completed").state, JOB_STATE_COMPLETED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_policy_without_ageing_the_urgent_always_goes_first),
        FX_TEST(test_policy_with_ageing_a_job_that_waited_goes_before_a_newer_one_of_higher_priority),
        FX_TEST(test_policy_model_runs_no_more_jobs_than_its_limit),
        FX_TEST(test_policy_tenant_at_its_limit_does_not_hold_up_the_others),
        FX_TEST(test_policy_a_named_tenant_has_a_limit_of_its_own),
        FX_TEST(test_policy_tenants_at_their_limit_take_turns),
        FX_TEST(test_policy_urgent_job_of_a_waiting_tenant_goes_first_when_there_is_a_slot),
        FX_TEST(test_policy_parked_job_can_be_cancelled_and_leaves_nobody_behind),
        FX_TEST(test_policy_higher_limit_brings_parked_jobs_back),
        FX_TEST(test_policy_slot_of_a_lost_worker_is_free_again),
        FX_TEST(test_policy_paused_model_is_not_claimed_until_it_is_resumed),
        FX_TEST(test_policy_pausing_everything_pauses_every_model),
        FX_TEST(test_policy_draining_model_works_off_what_it_has_and_refuses_new_jobs),
        FX_TEST(test_policy_cancel_reaches_jobs_of_a_paused_model),
        FX_TEST(test_policy_batch_has_one_signature_and_the_others_keep_their_places),
        FX_TEST(test_policy_incomplete_batch_waits_and_a_full_one_does_not),
        FX_TEST(test_policy_incomplete_batch_goes_when_its_first_job_has_waited_long_enough),
        FX_TEST(test_policy_poison_job_is_found_and_its_neighbours_are_not_charged),
        FX_TEST(test_policy_job_claimed_ahead_is_not_charged_for_the_one_that_ran),
        FX_TEST(test_policy_mode_is_told_with_its_reason_and_what_is_left),
        FX_TEST(test_policy_record_tells_labels_by_name_tenant_and_backoff),
        FX_TEST(test_policy_backlog_tells_what_waits_of_each_model_and_whether_everything_drains),
        FX_TEST(test_policy_that_is_there_is_replaced_only_if_that_is_asked_for),
        FX_TEST(test_policy_retention_is_that_of_the_state_in_which_a_job_ended),
        FX_TEST(test_policy_renewal_gives_back_what_the_worker_does_not_know_of),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
