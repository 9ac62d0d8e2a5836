/* Folding: the record that a sequence of events gives. This is the reader's side of the promise "fold(events) ==
 * record"; the writer's side is transition() in src/store/lua/common.lua, and the two must change together. */
#include "penstock/job.h"

#include <inttypes.h>
#include <string.h>

static void fold_created(struct job_record *rec, const struct job_event *ev) {
    *rec = (struct job_record){
        .job_id = ev->job_id,
        .model = ev->model,
        .model_version = ev->model_version,
        .priority = ev->priority,
        .attempt = ev->attempt,
        .max_attempts = ev->max_attempts,
        .timeout_ms = ev->timeout_ms,
        .queue_timeout_ms = ev->queue_timeout_ms,
        .traceparent = ev->traceparent,
        .created_at = ev->at,
    };
}

int job_fold(struct job_record *rec, const struct job_event *ev, struct err *err) {
    if (ev->to == JOB_STATE_REJECTED) return 0;
    if (ev->seq != rec->seq + 1)
        return err_set(err, ERR_STORE_CORRUPT, "job %s: event seq %" PRId64 " after %" PRId64, ev->job_id, ev->seq,
                       rec->seq);
    if (ev->from != rec->state || !job_may(ev->from, ev->to))
        return err_set(err, ERR_STORE_CORRUPT, "job %s seq %" PRId64 ": %s -> %s while the job was %s", ev->job_id,
                       ev->seq, job_state_name(ev->from), job_state_name(ev->to), job_state_name(rec->state));
    if (ev->from == JOB_STATE_NONE) fold_created(rec, ev);
    rec->seq = ev->seq;
    rec->state = ev->to;
    rec->updated_at = ev->at;
    rec->attempt = ev->attempt;
    rec->crashes = ev->crashes;
    switch (ev->to) {
    case JOB_STATE_QUEUED:
        rec->queued_at = ev->at;
        rec->not_before = ev->not_before;
        rec->worker = rec->token = NULL;
        rec->started_at = 0;
        break;
    case JOB_STATE_RUNNING:
        rec->started_at = ev->at;
        rec->not_before = 0;
        rec->worker = ev->worker;
        rec->token = ev->token;
        break;
    default: /* terminal */
        rec->finished_at = ev->at;
        rec->duration_ms = rec->started_at ? ev->at - rec->started_at : 0;
        rec->not_before = 0;
        rec->error_code = ev->to == JOB_STATE_FAILED ? ev->reason : NULL;
        break;
    }
    return 0;
}

static bool same(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

const char *job_record_diff(const struct job_record *folded, const struct job_record *stored) {
#define NUMBER(member)                                                                                                 \
    if (folded->member != stored->member) return #member
#define STRING(member)                                                                                                 \
    if (!same(folded->member, stored->member)) return #member
    NUMBER(state);
    NUMBER(seq);
    STRING(model);
    STRING(model_version);
    NUMBER(priority);
    NUMBER(attempt);
    NUMBER(max_attempts);
    NUMBER(crashes);
    STRING(token);
    STRING(worker);
    NUMBER(created_at);
    NUMBER(queued_at);
    NUMBER(started_at);
    NUMBER(finished_at);
    NUMBER(duration_ms);
    NUMBER(not_before);
    NUMBER(timeout_ms);
    NUMBER(queue_timeout_ms);
    STRING(error_code);
    STRING(traceparent);
#undef NUMBER
#undef STRING
    return NULL;
}
