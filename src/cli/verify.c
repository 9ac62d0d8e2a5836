/* Folding the event log, and comparing the outcome with the records.
 *
 * What a history must be: seq 1, 2, 3 ... in the order of the log, only transitions of the table (job_fold checks
 * both), so one end at most and nothing behind it. Each run has a worker and a token, tokens grow, and what ends the
 * run names the same two: a result of an earlier run would carry an older one. The relay may repeat events (at least
 * once), always under the same (job_id, seq) and with the same bytes; the first occurrences must still come in order.
 * So a digest of every event's value is kept: two events that claim the same place are the trace of two writers.
 *
 * After the first violation a job's further events are passed over: they would only say the same again.
 *
 * An id is free again when its job's retention is over, so a creating event from then on begins a new history. What
 * breaks if the bytes of an event depend on the release that encodes them: an outbox that one release began to publish
 * and the next one repeats would show as a violation. */
#include "cli_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/clock.h"
#include "penstock/fnv.h"
#include "penstock/store_policy.h"
#include "penstock/wire.h"

#define SHOWN_MAX 20 /* violations told one by one */

static int by_job_id(const void *a, const void *b) {
    const struct cli_verify_history *left = a, *right = b;
    return strcmp(left->rec.job_id, right->rec.job_id);
}

void cli__verify_init(struct cli_verify *v, const struct store_config *store) {
    *v = (struct cli_verify){.store = *store};
    arena_init(&v->arena);
}

static void free_history(void *node) {
    struct cli_verify_history *history = node;
    free(history->digests); /* the rest is the arena's */
}

void cli__verify_done(struct cli_verify *v) {
    tdestroy(v->root, free_history);
    free(v->commands);
    buf_done(&v->told);
    arena_done(&v->arena);
}

const char *cli__verify_check_name(enum cli_verify_check check) {
#define X(constant, word) [CLI_VERIFY_##constant] = word,
    static const char *const names[] = {CLI_VERIFY_CHECKS(X)};
#undef X
    return names[check];
}

void cli__verify_violation(struct cli_verify *v, enum cli_verify_check check, const char *job_id, const char *fmt,
                           ...) {
    struct cli_verify_findings *all = &v->violations;
    all->by_check[check]++;
    all->count++;
    if (all->count == SHOWN_MAX + 1) buf_puts(&v->told, "... further violations are only counted\n");
    if (all->count <= SHOWN_MAX) {
        char text[512];
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        buf_printf(&v->told, "%s: job %s: %s\n", cli__verify_check_name(check), job_id, text);
    }
    all->told_len = v->told.len;
}

void cli__verify_late(struct cli_verify *v, enum cli_verify_check check, const char *job_id, const char *what) {
    if (v->final)
        cli__verify_violation(v, check, job_id, "%s", what);
    else
        v->late++;
}

/* Only accidents are to be noticed, and of those one in 2^64 may pass. */
uint64_t cli__verify_digest(const void *bytes, size_t len) { return fnv1a(FNV1A, bytes, len); }

/* --- histories -----------------------------------------------------------------------------------------------------
 */

const struct cli_verify_history *cli__verify_find(const struct cli_verify *v, const char *job_id) {
    struct cli_verify_history probe = {.rec = {.job_id = job_id}};
    void *found = tfind(&probe, &v->root, by_job_id);
    return found ? *(struct cli_verify_history **)found : NULL;
}

static struct cli_verify_history *history_of(struct cli_verify *v, const char *job_id) {
    struct cli_verify_history probe = {.rec = {.job_id = job_id}};
    void *found = tfind(&probe, &v->root, by_job_id);
    if (found) return *(struct cli_verify_history **)found;
    struct cli_verify_history *history = arena_alloc(&v->arena, sizeof *history);
    history->rec.job_id = arena_strdup(&v->arena, job_id);
    BUG_ON(!tsearch(history, &v->root, by_job_id));
    v->jobs++;
    return history;
}

/* The strings that the fold keeps must outlive the message. */
static void keep_strings(struct cli_verify *v, struct job_event *ev, const char *job_id) {
    const char **strings[] = {&ev->model,  &ev->model_version, &ev->worker,      &ev->token,
                              &ev->reason, &ev->traceparent,   &ev->source.topic};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) *strings[i] = arena_strdup(&v->arena, *strings[i]);
    ev->job_id = job_id;
}

static void remember(struct cli_verify_history *history, uint64_t digest) {
    if (history->digest_count == history->digest_room) {
        history->digest_room = history->digest_room ? 2 * history->digest_room : 4;
        history->digests = mem_realloc(history->digests, history->digest_room * sizeof *history->digests);
    }
    history->digests[history->digest_count++] = digest;
}

/* --- an event ------------------------------------------------------------------------------------------------------
 */

static bool same(const char *a, const char *b) { return a && b && strcmp(a, b) == 0; }

/* "<epoch>-<n>" */
static bool read_token(const char *text, uint64_t *ret_epoch, uint64_t *ret_n) {
    char *end;
    errno = 0;
    *ret_epoch = strtoull(text, &end, 10);
    if (*end != '-') return false;
    *ret_n = strtoull(end + 1, &end, 10);
    return *end == '\0' && errno == 0;
}

/* A run begins with a worker and a token that no run of the job had before. */
static const char *check_begin_of_run(struct cli_verify_history *history, const struct job_event *ev) {
    uint64_t epoch, token;
    if (!ev->worker || !ev->token || !read_token(ev->token, &epoch, &token)) return "a run without worker or token";
    if (epoch < history->epoch || (epoch == history->epoch && token <= history->token))
        return "a run whose token is not newer than that of the run before";
    history->epoch = epoch;
    history->token = token;
    return NULL;
}

/* NULL, or what is wrong with an event that job_fold has nothing against. rec: before the event. */
static const char *check_event(struct cli_verify_history *history, const struct job_event *ev,
                               enum cli_verify_check *ret_check) {
    const struct job_record *rec = &history->rec;
    *ret_check = CLI_VERIFY_ATTEMPT;
    if (ev->from == JOB_STATE_NONE)
        return ev->attempt == 1 && ev->crashes == 0 ? NULL : "does not begin with attempt 1";
    if (ev->attempt < rec->attempt || ev->attempt > rec->max_attempts || ev->crashes < rec->crashes)
        return "attempts or crashes that cannot follow those before";
    *ret_check = CLI_VERIFY_TOKEN;
    if (ev->to == JOB_STATE_RUNNING) return check_begin_of_run(history, ev);
    if (ev->from == JOB_STATE_RUNNING && (!same(ev->worker, rec->worker) || !same(ev->token, rec->token)))
        return "the end of a run by another worker or token than it began with";
    return NULL;
}

/* Takes the event as the next one of the history; false if it cannot be, and that has been told. */
static bool take_event(struct cli_verify *v, struct cli_verify_history *history, const struct job_event *ev) {
    struct job_record next = history->rec;
    struct err why;
    enum cli_verify_check check;
    const char *wrong;
    if (ev->seq != next.seq + 1)
        cli__verify_violation(v, CLI_VERIFY_SEQUENCE, ev->job_id, "seq %" PRId64 " (%s) follows seq %" PRId64, ev->seq,
                              job_state_name(ev->to), next.seq);
    else if (job_fold(&next, ev, &why) != 0)
        cli__verify_violation(v, CLI_VERIFY_TRANSITION, ev->job_id, "seq %" PRId64 ": %s -> %s while the job was %s",
                              ev->seq, job_state_name(ev->from), job_state_name(ev->to),
                              job_state_name(history->rec.state));
    else if ((wrong = check_event(history, ev, &check)))
        cli__verify_violation(v, check, ev->job_id, "seq %" PRId64 " (%s): %s", ev->seq, job_state_name(ev->to), wrong);
    else {
        history->rec = next;
        return true;
    }
    return false;
}

static void fold_event(struct cli_verify *v, struct cli_verify_history *history, struct job_event *ev,
                       uint64_t digest) {
    keep_strings(v, ev, history->rec.job_id);
    if (ev->from == JOB_STATE_NONE && history->digest_count == 0) {
        history->origin = ev->source;
        history->spec = cli__verify_digest(ev->doc, ev->doc_len);
    }
    if (take_event(v, history, ev)) {
        remember(history, digest);
        history->end = cli__verify_digest(ev->doc, ev->doc_len);
    } else {
        history->broken = true;
    }
}

/* Is the retention of an ended job over? */
static bool is_over(const struct cli_verify *v, const struct job_record *rec, int64_t at) {
    if (!job_state_is_terminal(rec->state)) return false;
    int64_t retention_ms = store_retention_ms(&v->store, rec->state);
    return retention_ms > 0 && at - rec->finished_at >= retention_ms;
}

static bool begins_new_life(const struct cli_verify *v, const struct cli_verify_history *history,
                            const struct job_event *ev) {
    return ev->seq == 1 && is_over(v, &history->rec, ev->at);
}

static void see_event(struct cli_verify *v, struct job_event *ev, uint64_t digest) {
    struct cli_verify_history *history = history_of(v, ev->job_id);
    v->events++;
    if (history->broken) return;
    bool known = ev->seq >= 1 && (uint64_t)ev->seq <= history->digest_count;
    if (known && history->digests[ev->seq - 1] == digest) {
        v->repeats++;
        return;
    }
    if (known && begins_new_life(v, history, ev)) {
        history->rec = (struct job_record){.job_id = history->rec.job_id};
        history->digest_count = 0;
        history->lived_before = true;
        known = false;
    }
    if (known) {
        cli__verify_violation(v, CLI_VERIFY_REPEAT, ev->job_id, "seq %" PRId64 " (%s) again, and with other contents",
                              ev->seq, job_state_name(ev->to));
        history->broken = true;
    } else {
        fold_event(v, history, ev, digest);
    }
}

int cli__verify_event(struct cli_verify *v, const struct bus_msg *msg, struct err *err) {
    struct arena arena;
    struct job_event ev;
    arena_init(&arena);
    int rc = wire_event_decode(msg->value, msg->value_len, &arena, &ev, err);
    uint64_t digest = cli__verify_digest(msg->value, msg->value_len);
    if (rc != 0)
        err_wrap(err, "%s[%" PRId32 "]@%" PRId64, msg->topic, msg->partition, msg->offset);
    else if (ev.to == JOB_STATE_REJECTED)
        cli__verify_refusal(v, &ev, digest);
    else
        see_event(v, &ev, digest);
    v->in_log = v->violations;
    arena_done(&arena);
    return rc;
}

/* --- comparing -----------------------------------------------------------------------------------------------------
 */

void cli__verify_begin(struct cli_verify *v, bool final) {
    v->violations = v->in_log; /* the rest is found again */
    if (v->told.len > v->violations.told_len) v->told.data[v->told.len = v->violations.told_len] = '\0';
    v->late = v->expired = v->pending = 0;
    v->final = final;
}

bool cli__verify_is_over(const struct cli_verify *v, const struct job_record *folded) {
    return is_over(v, folded, clock_wall_ms(&clock_system));
}

void cli__verify_record(struct cli_verify *v, const struct cli_verify_history *history,
                        const struct job_record *stored) {
    const struct job_record *folded = &history->rec;
    if (history->broken) return; /* told already */
    const char *member = job_record_diff(folded, stored);
    if (stored->state == JOB_STATE_NONE) {
        if (cli__verify_is_over(v, folded))
            v->expired++;
        else
            cli__verify_violation(v, CLI_VERIFY_RECORD, folded->job_id, "has events but no record");
    } else if (stored->seq > folded->seq && !v->final) {
        v->late++;
    } else if (member) {
        cli__verify_violation(v, CLI_VERIFY_RECORD, folded->job_id,
                              "record and events differ in %s (record: %s seq %" PRId64 ", events: %s seq %" PRId64 ")",
                              member, job_state_name(stored->state), stored->seq, job_state_name(folded->state),
                              folded->seq);
    } else if (stored->cancel_requested && stored->state != JOB_STATE_RUNNING) {
        cli__verify_violation(v, CLI_VERIFY_CANCEL, folded->job_id, "was to be cancelled while it ran, and is %s",
                              job_state_name(stored->state));
    } else if (v->all_ended && !job_state_is_terminal(folded->state)) {
        cli__verify_late(v, CLI_VERIFY_UNENDED, folded->job_id, "has not ended");
    }
}

void cli__verify_document(struct cli_verify *v, const struct cli_verify_history *history, const char *what,
                          const char *doc, size_t len) {
    const char *job_id = history->rec.job_id;
    if (!doc && !cli__verify_is_over(v, &history->rec))
        cli__verify_violation(v, CLI_VERIFY_RECORD, job_id, "its %s document is not there", what);
    else if (doc && cli__verify_digest(doc, len) != history->end)
        cli__verify_violation(v, CLI_VERIFY_RECORD, job_id, "its %s document is not what its last event says", what);
}
