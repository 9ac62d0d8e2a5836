/* Every state meets everything that can be asked of a job, in every mode that its model can be in. What must come out
 * is written down once, in docs/protocol.md under "Every command in every state", which is read here and held against
 * job_transition_table: a pair either makes a transition that the table has, or leaves the record exactly as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fx.h"

enum command {
    CREATE_SAME,
    CREATE_OTHER,
    CANCEL,
    PAUSE,
    RESUME,
    DRAIN,
    PAUSE_ALL,
    RESUME_ALL,
    DRAIN_ALL,
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

/* The mode in which the command meets the job: of its model, or of everything. */
enum mode { OPEN, PAUSED, DRAINING, ALL_PAUSED, ALL_DRAINING, MODE_COUNT };

#define N JOB_STATE_NONE
#define Q JOB_STATE_QUEUED
#define R JOB_STATE_RUNNING
#define C JOB_STATE_COMPLETED
#define F JOB_STATE_FAILED
#define X JOB_STATE_CANCELLED

/* --- the table ---------------------------------------------------------------------------------------------------- */

#define DOCUMENT "docs/protocol.md"
#define HEADING  "\n## Every command in every state\n"
#define ANY      (1 << OPEN | 1 << PAUSED | 1 << DRAINING | 1 << ALL_PAUSED | 1 << ALL_DRAINING)

/* Which row speaks of a command in a mode; the first that fits. */
static const struct {
    enum command command;
    int modes; /* a bit for each */
    const char *row;
} rows[] = {
    {CREATE_SAME, 1 << DRAINING, "create, while the model drains"},
    {CREATE_SAME, ANY, "create"},
    {CREATE_OTHER, 1 << DRAINING, "create of another spec, while the model drains"},
    {CREATE_OTHER, ANY, "create of another spec"},
    {CANCEL, ANY, "cancel"},
    {PAUSE, ANY, "pause, resume, drain of the model"},
    {RESUME, ANY, "pause, resume, drain of the model"},
    {DRAIN, ANY, "pause, resume, drain of the model"},
    {PAUSE_ALL, ANY, "pause, resume, drain of everything"},
    {RESUME_ALL, ANY, "pause, resume, drain of everything"},
    {DRAIN_ALL, ANY, "pause, resume, drain of everything"},
    {CLAIM, 1 << PAUSED | 1 << ALL_PAUSED, "claim, while the model or everything is paused"},
    {CLAIM, ANY, "claim"},
    {FINISH_COMPLETED, ANY, "result: completed"},
    {FINISH_FAILED, ANY, "result: failed"},
    {FINISH_RETRYABLE, ANY, "result: failed, and may be retried"},
    {FINISH_CANCELLED, ANY, "result: cancelled"},
    {FINISH_RELEASED, ANY, "release"},
    {RENEW, ANY, "renewal of the lease"},
    {LOST, ANY, "its worker is dead"},
    {SWEEP_DELAY, ANY, "its delay is over"},
    {SWEEP_QUEUE_TIMEOUT, ANY, "its queue timeout is over"},
    {SWEEP_LEASE, ANY, "its lease is over"},
    {SWEEP_RUN_TIMEOUT, ANY, "its run timeout is over"},
    {SWEEP_RETENTION, ANY, "its retention is over"},
};

static const char *row_of(enum command command, enum mode mode) {
    size_t i = 0;
    while (rows[i].command != command || !(rows[i].modes & 1 << mode)) i++;
    return rows[i].row;
}

static char *document; /* the table's text: from its heading to the next */

static void read_document(void) {
    struct buf text = {0};
    char chunk[8192];
    size_t got;
    FILE *file = fopen(SOURCE_DIR "/" DOCUMENT, "r");
    assert_non_null(file);
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) buf_append(&text, chunk, got);
    fclose(file);
    char *begin = strstr(text.data, HEADING);
    if (!begin) fail_msg("%s has no table of commands and states", DOCUMENT);
    char *end = strstr(begin + strlen(HEADING), "\n## ");
    if (end) *end = '\0';
    document = strdup(begin + strlen(HEADING));
    buf_done(&text);
}

/* The cell of a row (by its first cell) and a state, without blanks and backticks. */
static void read_cell(const char *row, enum job_state state, char ret[static 32]) {
    char begin[128];
    snprintf(begin, sizeof begin, "\n| %s |", row);
    const char *at = strstr(document, begin);
    if (!at) fail_msg("%s has no row \"%s\"", DOCUMENT, row);
    at += strlen(begin);
    for (enum job_state skipped = N; skipped < state; skipped++) at = strchr(at, '|') + 1;
    size_t len = 0;
    for (; *at != '|' && len < 31; at++)
        if (*at != ' ' && *at != '`') ret[len++] = *at;
    ret[len] = '\0';
}

/* --- bringing a job into a state ---------------------------------------------------------------------------------- */

struct pair {
    struct fx *fx;
    enum command command;
    enum mode mode;
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

/* --- the commands ------------------------------------------------------------------------------------------------- */

/* What comes of a command that changes no state, as the table words it. */
#define NOTHING "-"
#define KEPT    "noted"
#define STALE   "lost"

static const char *answer_of(struct fx *fx, enum store_verdict verdict, const char *id) {
    if (verdict == STORE_NOTED) return KEPT;
    return verdict == STORE_REJECTED ? fx_last_event(fx, id)->reason : NOTHING;
}

static const char *create_again(struct pair *pair) {
    struct store_item item = fx_item_create(pair->fx, pair->id);
    if (pair->command == CREATE_OTHER) item.spec = "{}";
    if (pair->command == CREATE_OTHER) item.spec_len = 2;
    return answer_of(pair->fx, fx_ingest_one(pair->fx, item), pair->id);
}

static void set_mode(struct fx *fx, const char *model, enum store_mode mode) {
    struct store_item item = fx_item_cancel(fx, "unused");
    item.kind = STORE_ITEM_MODE;
    item.job_id = NULL;
    item.model = model;
    item.mode = mode;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
}

static void enter_mode(struct fx *fx, enum mode mode) {
    static const enum store_mode modes[] = {STORE_MODE_OPEN, STORE_MODE_PAUSED, STORE_MODE_DRAINING, STORE_MODE_PAUSED,
                                            STORE_MODE_DRAINING};
    bool all = mode == ALL_PAUSED || mode == ALL_DRAINING;
    set_mode(fx, NULL, all ? modes[mode] : STORE_MODE_OPEN);
    set_mode(fx, FX_MODEL, all ? STORE_MODE_OPEN : modes[mode]);
}

static const char *finish(struct pair *pair, enum store_outcome outcome, bool retryable) {
    struct store_finish finish = {
        .job_id = pair->id, .token = pair->job.token, .outcome = outcome, .doc = "{}", .doc_len = 2};
    finish.code = ERR_EXECUTION_FAILED;
    finish.retryable = retryable;
    return fx_finish_one(pair->fx, "w1", finish) ? NOTHING : STALE;
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

static const char *run(struct pair *pair) {
    size_t lost;
    switch (pair->command) {
    case CREATE_SAME:
    case CREATE_OTHER:
        return create_again(pair);
    case CANCEL:
        return answer_of(pair->fx, fx_cancel(pair->fx, pair->id), pair->id);
    case PAUSE:
    case PAUSE_ALL:
        set_mode(pair->fx, pair->command == PAUSE ? FX_MODEL : NULL, STORE_MODE_PAUSED);
        return NOTHING;
    case RESUME:
    case RESUME_ALL:
        set_mode(pair->fx, pair->command == RESUME ? FX_MODEL : NULL, STORE_MODE_OPEN);
        return NOTHING;
    case DRAIN:
    case DRAIN_ALL:
        set_mode(pair->fx, pair->command == DRAIN ? FX_MODEL : NULL, STORE_MODE_DRAINING);
        return NOTHING;
    case CLAIM:
        fx_claim(pair->fx, "w2", 1, FX_LEASE_MS);
        return NOTHING;
    case FINISH_COMPLETED:
        return finish(pair, STORE_COMPLETED, false);
    case FINISH_FAILED:
        return finish(pair, STORE_FAILED, false);
    case FINISH_RETRYABLE:
        return finish(pair, STORE_FAILED, true);
    case FINISH_CANCELLED:
        return finish(pair, STORE_CANCELLED, false);
    case FINISH_RELEASED:
        return finish(pair, STORE_RELEASED, false);
    case RENEW:
        return fx_renew(pair->fx, "w1", &pair->job) == STORE_LEASE_HELD ? NOTHING : STALE;
    case LOST:
        assert_int_equal(store_worker_lost(pair->fx->st, "w1", &lost, &pair->fx->err), 0);
        assert_int_equal(lost, pair->from == R);
        return NOTHING;
    default:
        sweep(pair);
        return NOTHING;
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

/* --- the test ----------------------------------------------------------------------------------------------------- */

static size_t transitions_of(struct fx *fx, const char *id) {
    size_t count = 0;
    fx_drain(fx);
    for (size_t i = 0; i < fx->event_count; i++)
        if (fx->events[i].to != JOB_STATE_REJECTED && strcmp(fx->events[i].job_id, id) == 0) count++;
    return count;
}

/* What became of the job, as the table words it: a state, if it made a transition; else the answer, if the record is as
 * it was. */
static const char *outcome(struct pair *pair, const char *before, size_t transitions, const char *answer,
                           bool seen[JOB_STATE_COUNT][JOB_STATE_COUNT]) {
    struct fx *fx = pair->fx;
    enum job_state got = fx_state(fx, pair->id);
    transitions = transitions_of(fx, pair->id) - transitions;
    if (transitions == 0 && got == N && pair->from != N) return job_state_name(N); /* forgotten */
    if (transitions == 0)
        return strcmp(before, comparable(fx, pair->id, pair->command)) == 0 ? answer
                                                                            : "another record, without an event";
    if (transitions > 1) return "several transitions";
    const struct job_event *ev = fx_last_event(fx, pair->id);
    if (!job_may(pair->from, got) || ev->from != pair->from || ev->to != got) return "a transition that cannot be";
    seen[pair->from][got] = true;
    return job_state_name(got);
}

static void check_pair(struct pair *pair, bool seen[JOB_STATE_COUNT][JOB_STATE_COUNT]) {
    struct fx *fx = pair->fx;
    char want[32];
    const char *row = row_of(pair->command, pair->mode);
    read_cell(row, pair->from, want);
    bring_about(pair);
    enter_mode(fx, pair->mode);
    const char *before = comparable(fx, pair->id, pair->command);
    size_t transitions = transitions_of(fx, pair->id);
    const char *answer = run(pair), *got = outcome(pair, before, transitions, answer, seen);
    if (strcmp(got, want) != 0)
        fail_msg("%s, of a job that is %s (mode %d): \"%s\", not \"%s\" as %s says: now %s", row,
                 job_state_name(pair->from), (int)pair->mode, got, want, DOCUMENT, fx_hash(fx, pair->id));
    enter_mode(fx, OPEN);
}

/* Out of the way of the next pair. */
static void settle(struct fx *fx, const char *id) {
    struct job_record rec = fx_record(fx, id);
    struct store_claimed job = {.job_id = id, .token = rec.token};
    if (rec.state == Q) fx_cancel(fx, id);
    if (rec.state == R) assert_true(fx_finish(fx, rec.worker, &job, STORE_CANCELLED));
}

static void check_command(struct fx *fx, enum command command, bool seen[JOB_STATE_COUNT][JOB_STATE_COUNT]) {
    for (enum mode mode = OPEN; mode < MODE_COUNT; mode++)
        for (enum job_state from = N; from < JOB_STATE_COUNT; from++) {
            struct pair pair = {.fx = fx, .command = command, .mode = mode, .from = from};
            pair.id = arena_printf(&fx->arena, "job-%d-%d-%s", (int)command, (int)mode, job_state_name(from));
            check_pair(&pair, seen);
            settle(fx, pair.id);
        }
}

static void test_store_every_state_meets_every_command_in_every_mode_as_the_table_says(void **state) {
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

static void test_table_of_the_document_has_these_rows_and_columns_and_no_others(void **state) {
    char *line = strstr(document, "\n| asked |");
    assert_non_null(line);
    char *save = NULL, *text = strdup(line + 1);
    line = strtok_r(text, "\n", &save);
    assert_string_equal(line, "| asked | `none` | `queued` | `running` | `completed` | `failed` | `cancelled` |");
    assert_string_equal(strtok_r(NULL, "\n", &save), "|---|---|---|---|---|---|---|");
    while ((line = strtok_r(NULL, "\n", &save)) && line[0] == '|') {
        size_t len = strcspn(line + 2, "|") - 1, i = 0;
        while (i < sizeof rows / sizeof rows[0] &&
               (strlen(rows[i].row) != len || strncmp(rows[i].row, line + 2, len) != 0))
            i++;
        if (i == sizeof rows / sizeof rows[0]) fail_msg("nobody tests the row \"%.*s\"", (int)len, line + 2);
    }
    free(text);
}

static int group_setup(void **state) {
    read_document();
    return fx_group_setup(state);
}

static int group_teardown(void **state) {
    free(document);
    return fx_group_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_store_every_state_meets_every_command_in_every_mode_as_the_table_says),
        FX_TEST(test_store_retention_forgets_ended_jobs_and_no_others),
        FX_TEST(test_table_of_the_document_has_these_rows_and_columns_and_no_others),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
