/* job: what a job is, and the only place that knows which state may follow which.
 *
 * Pure: no I/O, no clock, no allocation. The store's Lua text is generated from job_transition_table, so the table that
 * Redis enforces and the one that job_fold checks are the same.
 *
 *     if (!job_may(JOB_STATE_QUEUED, JOB_STATE_RUNNING)) ...
 *     for each event of one job: if (job_fold(&record, event, &err) != 0) -> the log is broken
 */
#ifndef PENSTOCK_JOB_H
#define PENSTOCK_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/err.h"

#define JOB_ID_MAX           128
#define JOB_MODEL_MAX        64
#define JOB_PRIORITY_DEFAULT 4
#define JOB_PRIORITY_MAX     9

enum job_state {
    JOB_STATE_NONE = 0, /* no record */
    JOB_STATE_QUEUED,
    JOB_STATE_RUNNING,
    JOB_STATE_COMPLETED,
    JOB_STATE_FAILED,
    JOB_STATE_CANCELLED,
    JOB_STATE_COUNT,
    JOB_STATE_REJECTED = JOB_STATE_COUNT /* never a record's: the `to` of a rejected command's event */
};

struct job_transition {
    enum job_state from, to;
    const char *by; /* "claim", "finish" ...; several ways are separated by ", " */
};

extern const struct job_transition job_transition_table[];
extern const size_t job_transition_count;

bool job_may(enum job_state from, enum job_state to);
bool job_state_is_terminal(enum job_state state);
const char *job_state_name(enum job_state state);      /* "queued"; "none"; "rejected" */
int job_state_from_name(const char *name, size_t len); /* enum job_state, or -1 */
bool job_id_is_valid(const char *id, size_t len);      /* [A-Za-z0-9._:-]{1,128} */
bool job_model_is_valid(const char *name, size_t len); /* [A-Za-z0-9._-]{1,64}, not starting with '.' */

/* Where a command stood in Kafka. */
struct job_source {
    const char *topic; /* NULL: not from Kafka */
    int32_t partition;
    int64_t offset;
};

struct job_label {
    const char *name, *value;
};

/* What a model says about its jobs, in its config.json under "penstock"; 0: not said, the configuration decides. */
struct model_policy {
    int max_attempts;
    int64_t backoff_ms, backoff_max_ms;
    int64_t timeout_ms, timeout_max_ms;             /* default, and cap of what a command may ask for */
    int64_t queue_timeout_ms, queue_timeout_max_ms; /* likewise */
    int64_t max_running;                            /* jobs of this model that run at once, over all workers */
    int64_t max_queued;                             /* over this ingest stops reading commands */
};

/* One transition (or, with to == JOB_STATE_REJECTED, one refused command): a line of the audit trail. Strings are
 * borrowed (from an arena); NULL or 0 where a member does not apply. Times in ms since the epoch, by Redis TIME. */
struct job_event {
    const char *job_id; /* of a rejected command: NULL when it could not be read */
    int64_t seq;        /* 1, 2, 3 ... per job; 0 for rejected */
    enum job_state from, to;
    int64_t at;
    int attempt, max_attempts, crashes, priority;
    const char *model, *model_version; /* in queued(create) and cancelled(create) */
    const char *worker;                /* in running, and in what ends a run: who ran it */
    const char *token;                 /* fencing token of the run, "epoch-n" */
    const char *reason;                /* "create", "claim", "retry", "worker_lost", "cancel" ... or the error code */
    const char *traceparent;           /* W3C trace context of the command */
    int64_t not_before;                /* ms; in queued: delayed until then */
    int64_t timeout_ms, queue_timeout_ms;
    double progress;          /* last known, 0..1 */
    struct job_source source; /* in what a command caused */
    const char *doc;
    size_t doc_len; /* JSON: the spec (queued/create), the result (completed), the error envelope (failed, rejected) */
    const char *key;
    size_t key_len; /* rejected: the Kafka key as it came */
    const char *raw;
    size_t raw_len;  /* rejected: the command's bytes as they came */
    size_t raw_size; /* how many those were before they were cut to raw_len */
};

/* A job's record: the hash penstock:job:<id>. Strings are borrowed. */
struct job_record {
    const char *job_id;
    enum job_state state;
    int64_t seq;
    const char *model, *model_version;
    int priority, attempt, max_attempts, crashes;
    const char *token, *worker;
    double progress;
    const char *progress_message;
    bool cancel_requested;
    const char *cancel_reason; /* of the cancel command */
    int64_t created_at, queued_at, started_at, finished_at, updated_at, duration_ms;
    int64_t not_before, timeout_ms, queue_timeout_ms, lease_until;
    int64_t backoff_ms, backoff_max_ms;
    const char *error_code, *traceparent, *tenant;
    struct job_label *labels;
    size_t label_count;
};

/* Applies one event to the record that the earlier events of the job gave (all zero before the first). Refuses a gap or
 * repeat in seq and a transition that the table does not have: ERR_STORE_CORRUPT. Ignores rejected events. Strings are
 * borrowed from the event. */
int job_fold(struct job_record *rec, const struct job_event *ev, struct err *err) MUSTCHECK;

/* Compares what events determine (not the lease, progress and updated_at, which change between transitions). Returns
 * NULL if equal, else the name of the first member that differs. */
const char *job_record_diff(const struct job_record *folded, const struct job_record *stored);

#endif
