/* Every state meets every command. What must come out is written down once, below, and held against
 * job_transition_table: a pair either makes a transition that the table has, or leaves the record exactly as it was. */
#include <stdio.h>
#include <string.h>

#include "fx.h"

enum command {
    CREATE_SAME,
    CREATE_OTHER,
    CANCEL,
    CLAIM,
    FINISH_COMPLETED,
    FINISH_FAILED,
    FINISH_RETRYABLE,
    FINISH_CANCELLED,
    FINISH_RELEASED,
    RENEW,
    LOST,
    SWEEP_DELAY,
    SWEEP_QUEUE_TIMEOUT,
    SWEEP_LEASE,
    SWEEP_RUN_TIMEOUT,
    SWEEP_RETENTION,
    COMMAND_COUNT
};

#define NOT JOB_STATE_REJECTED /* refused or without effect: no event of a transition, the same record */
#define N   JOB_STATE_NONE
#define Q   JOB_STATE_QUEUED
#define R   JOB_STATE_RUNNING
#define C   JOB_STATE_COMPLETED
#define F   JOB_STATE_FAILED
#define X   JOB_STATE_CANCELLED

/* clang-format off */
static const struct {
    const char *name;
    enum job_state to[JOB_STATE_COUNT]; /* by the state before: none, queued, running, completed, failed, cancelled */
} expected[COMMAND_COUNT] = {
    [CREATE_SAME] =         {"create",                  {Q,   NOT, NOT, NOT, NOT, NOT}},
    [CREATE_OTHER] =        {"create with another body", {Q,   NOT, NOT, NOT, NOT, NOT}},
    [CANCEL] =              {"cancel",                  {NOT, X,   NOT, NOT, NOT, NOT}},
    [CLAIM] =               {"claim",                   {NOT, R,   NOT, NOT, NOT, NOT}},
    [FINISH_COMPLETED] =    {"finish completed",        {NOT, NOT, C,   NOT, NOT, NOT}},
    [FINISH_FAILED] =       {"finish failed",           {NOT, NOT, F,   NOT, NOT, NOT}},
    [FINISH_RETRYABLE] =    {"finish retryable",        {NOT, NOT, Q,   NOT, NOT, NOT}},
    [FINISH_CANCELLED] =    {"finish cancelled",        {NOT, NOT, X,   NOT, NOT, NOT}},
    [FINISH_RELEASED] =     {"finish released",         {NOT, NOT, Q,   NOT, NOT, NOT}},
    [RENEW] =               {"renew",                   {NOT, NOT, NOT, NOT, NOT, NOT}},
    [LOST] =                {"worker lost",             {NOT, NOT, Q,   NOT, NOT, NOT}},
    [SWEEP_DELAY] =         {"sweep of a delay",        {NOT, NOT, NOT, NOT, NOT, NOT}},
    [SWEEP_QUEUE_TIMEOUT] = {"sweep of queue_timeout",  {NOT, F,   NOT, NOT, NOT, NOT}},
    [SWEEP_LEASE] =         {"sweep of a lease",        {NOT, NOT, Q,   NOT, NOT, NOT}},
    [SWEEP_RUN_TIMEOUT] =   {"sweep of a run's timeout", {NOT, NOT, F,   NOT, NOT, NOT}},
    [SWEEP_RETENTION] =     {"sweep of retention",      {NOT, NOT, NOT, N,   N,   N}},
};
/* clang-format on */

/* --- bringing a job into a state -----------------------------------------------------------------------------------
 */

struct pair {
    struct fx *fx;
    enum command command;
    enum job_state from;
    const char *id;
    struct store_claimed job; /* its last run; a token that never was, before the first */
};

static void create(struct pair *pair) {
    struct store_item item = fx_item_create(pair->fx, pair->id);
    if (pair->command == SWEEP_QUEUE_TIMEOUT) item.queue_timeout_ms = 1;
    if (pair->command == SWEEP_DELAY) item.not_before = fx_now_ms(pair->fx) + 2;
    assert_int_equal(fx_ingest_one(pair->fx, item), STORE_ACCEPTED);
}

/* A delayed job must become due before anybody can claim it. */
static void claim(struct pair *pair) {
    struct store_claims claims;
    int64_t deadline = test_mono_ms() + FX_DEADLINE_MS;
    do {
        if (pair->command == SWEEP_DELAY) fx_sweep(pair->fx, 10, NULL);
        claims = fx_claim(pair->fx, "w1", 1, pair->command == SWEEP_LEASE && pair->from == R ? 1 : FX_LEASE_MS);
    } while (claims.count == 0 && test_mono_ms() < deadline);
    assert_int_equal(claims.count, 1);
    assert_string_equal(claims.jobs[0].job_id, pair->id);
    pair->job = claims.jobs[0];
}

static void bring_about(struct pair *pair) {
    pair->job = (struct store_claimed){.job_id = pair->id, .token = "1-999999"};
    if (pair->from == N) return;
    create(pair);
    if (pair->from == Q) return;
    if (pair->from == X) {
        fx_cancel(pair->fx, pair->id);
        return;
    }
    claim(pair);
    if (pair->from == C) assert_true(fx_finish(pair->fx, "w1", &pair->job, STORE_COMPLETED));
    if (pair->from == F) assert_true(fx_finish(pair->fx, "w1", &pair->job, STORE_FAILED));
}

/* --- the commands --------------------------------------------------------------------------------------------------
 */

static void create_again(struct pair *pair) {
    struct store_item item = fx_item_create(pair->fx, pair->id);
    if (pair->command == CREATE_OTHER) item.spec = "{}";
    if (pair->command == CREATE_OTHER) item.spec_len = 2;
    enum store_verdict verdict = fx_ingest_one(pair->fx, item);
    if (pair->from == N)
        assert_int_equal(verdict, STORE_ACCEPTED);
    else
        assert_int_equal(verdict, pair->command == CREATE_OTHER ? STORE_REJECTED : STORE_DUPLICATE);
}

static void cancel(struct pair *pair) {
    static const enum store_verdict verdicts[] = {STORE_NOTED,    STORE_ACCEPTED, STORE_NOTED,
                                                  STORE_REJECTED, STORE_REJECTED, STORE_DUPLICATE};
    assert_int_equal(fx_cancel(pair->fx, pair->id), verdicts[pair->from]);
}

/* The same result again is accepted again, because the first answer may have been lost; a result for another end is
 * not. */
static void finish(struct pair *pair, enum store_outcome outcome, bool retryable) {
    static const enum job_state ends[] = {C, F, X, NOT};
    struct store_finish finish = {
        .job_id = pair->id, .token = pair->job.token, .outcome = outcome, .doc = "{}", .doc_len = 2};
    finish.code = ERR_EXECUTION_FAILED;
    finish.retryable = retryable;
    bool again = ends[outcome] == pair->from && pair->from != X; /* the cancelled one here never ran */
    assert_int_equal(fx_finish_one(pair->fx, "w1", finish), pair->from == R || again);
}

/* Sweeps until the deadline that the command is about has passed, or would have if there were one. */
static void sweep(struct pair *pair) {
    if (pair->command == SWEEP_RUN_TIMEOUT && pair->from == R) {
        /* The run timeout is enforced with half a minute of grace: a negative one brings it near. */
        fx_redis(pair->fx, "HSET penstock:job:%s timeout_ms -29999", pair->id);
        fx_renew(pair->fx, "w1", &pair->job);
    }
    int64_t until = fx_now_ms(pair->fx) + 5;
    while (fx_now_ms(pair->fx) < until) fx_sweep(pair->fx, 10, NULL);
    fx_sweep(pair->fx, 10, NULL);
    if (pair->command == SWEEP_RUN_TIMEOUT && pair->from == R)
        fx_redis(pair->fx, "HSET penstock:job:%s timeout_ms 300000", pair->id);
}

static void run(struct pair *pair) {
    size_t lost;
    switch (pair->command) {
    case CREATE_SAME:
    case CREATE_OTHER:
        create_again(pair);
        break;
    case CANCEL:
        cancel(pair);
        break;
    case CLAIM:
        assert_int_equal(fx_claim(pair->fx, "w2", 1, FX_LEASE_MS).count, pair->from == Q);
        break;
    case FINISH_COMPLETED:
        finish(pair, STORE_COMPLETED, false);
        break;
    case FINISH_FAILED:
        finish(pair, STORE_FAILED, false);
        break;
    case FINISH_RETRYABLE:
        finish(pair, STORE_FAILED, true);
        break;
    case FINISH_CANCELLED:
        finish(pair, STORE_CANCELLED, false);
        break;
    case FINISH_RELEASED:
        finish(pair, STORE_RELEASED, false);
        break;
    case RENEW:
        assert_int_equal(fx_renew(pair->fx, "w1", &pair->job), pair->from == R ? STORE_LEASE_HELD : STORE_LEASE_LOST);
        break;
    case LOST:
        assert_int_equal(store_worker_lost(pair->fx->st, "w1", &lost, &pair->fx->err), 0);
        assert_int_equal(lost, pair->from == R);
        break;
    default:
        sweep(pair);
        break;
    }
}

/* What may change without a transition: the lease that a renewal prolongs, and the wish to cancel of a running job. */
static const char *comparable(struct fx *fx, const char *id, enum command command) {
    char *hash = arena_strdup(&fx->arena, fx_hash(fx, id));
    char *wish = strstr(hash, "cancel_reason=user asked cancel_requested=1 ");
    if (wish && command == CANCEL) memmove(wish, wish + 44, strlen(wish + 44) + 1);
    char *lease = strstr(hash, "lease_until=");
    if (lease && command == RENEW) memset(lease + 12, '?', strspn(lease + 12, "0123456789"));
    char *len = strchr(hash, '\n'); /* "$<length>\r\n" of the reply */
    return len ? len + 1 : hash;
}

/* --- the test ------------------------------------------------------------------------------------------------------
 */

static size_t transitions_of(struct fx *fx, const char *id) {
    size_t count = 0;
    fx_drain(fx);
    for (size_t i = 0; i < fx->event_count; i++)
        if (fx->events[i].to != JOB_STATE_REJECTED && strcmp(fx->events[i].job_id, id) == 0) count++;
    return count;
}

static bool check_pair(struct pair *pair, bool seen[JOB_STATE_COUNT][JOB_STATE_COUNT]) {
    struct fx *fx = pair->fx;
    enum job_state want = expected[pair->command].to[pair->from];
    bring_about(pair);
    const char *before = comparable(fx, pair->id, pair->command);
    size_t transitions = transitions_of(fx, pair->id);
    run(pair);
    enum job_state got = fx_state(fx, pair->id);
    transitions = transitions_of(fx, pair->id) - transitions;
    if (want == NOT || want == N) {
        if (got != (want == N ? N : pair->from) || transitions != 0) return false;
        return want == N || strcmp(before, comparable(fx, pair->id, pair->command)) == 0;
    }
    seen[pair->from][want] = true;
    return got == want && transitions == 1 && job_may(pair->from, want) &&
           fx_last_event(fx, pair->id)->from == pair->from;
}

/* Out of the way of the next pair. */
static void settle(struct fx *fx, const char *id) {
    struct job_record rec = fx_record(fx, id);
    struct store_claimed job = {.job_id = id, .token = rec.token};
    if (rec.state == Q) fx_cancel(fx, id);
    if (rec.state == R) assert_true(fx_finish(fx, rec.worker, &job, STORE_CANCELLED));
}

static void check_command(struct fx *fx, enum command command, bool seen[JOB_STATE_COUNT][JOB_STATE_COUNT]) {
    for (enum job_state from = N; from < JOB_STATE_COUNT; from++) {
        struct pair pair = {.fx = fx, .command = command, .from = from};
        pair.id = arena_printf(&fx->arena, "job-%d-%s", (int)command, job_state_name(from));
        if (!check_pair(&pair, seen))
            fail_msg("%s of a job that is %s: now %s", expected[command].name, job_state_name(from),
                     fx_hash(fx, pair.id));
        settle(fx, pair.id);
    }
}

static void test_store_every_state_meets_every_command_as_the_table_says(void **state) {
    struct fx *fx = *state;
    bool seen[JOB_STATE_COUNT][JOB_STATE_COUNT] = {{false}};
    for (enum command command = 0; command < SWEEP_RETENTION; command++) check_command(fx, command, seen);
    /* The one row that takes two commands: the cancel came first. */
    fx_cancel(fx, "early");
    fx_create(fx, "early");
    assert_int_equal(fx_state(fx, "early"), X);
    seen[N][X] = true;
    for (size_t i = 0; i < job_transition_count; i++)
        if (!seen[job_transition_table[i].from][job_transition_table[i].to])
            fail_msg("no command makes %s from %s", job_state_name(job_transition_table[i].to),
                     job_state_name(job_transition_table[i].from));
}

static void test_store_retention_forgets_ended_jobs_and_no_others(void **state) {
    struct fx *fx = *state;
    bool seen[JOB_STATE_COUNT][JOB_STATE_COUNT] = {{false}};
    fx->cfg.retention_ms = 1;
    fx_reopen(fx);
    check_command(fx, SWEEP_RETENTION, seen);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_store_every_state_meets_every_command_as_the_table_says),
        FX_TEST(test_store_retention_forgets_ended_jobs_and_no_others),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
