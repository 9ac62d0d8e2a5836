/* store: Redis, as the rest of Penstock sees it: job records, queues, deadlines, the outbox. The only user of hiredis.
 *
 * Each writing call is one EVALSHA of a Lua script in src/store/lua/ that takes a whole batch: it checks the from-state
 * and the fencing token of every job, writes the records, bumps the per-job seq, moves the indexes and appends ONE
 * outbox entry for the whole batch. It happens entirely or not at all. There is no fall-back to EVAL: the scripts'
 * text contains the store epoch, so a restarted Redis answers NOSCRIPT: the fence (docs/architecture.md).
 *
 *     struct store *st;
 *     if (store_open(&cfg, &st, &err) != 0) ...    // connects on first use
 *     if (store_claim(st, &want, &arena, &batch, &err) != 0) ...
 *
 * Errors: RETRY store_unavailable (not reachable; the outcome of the call is unknown, and every script is safe to
 * repeat), RETRY store_fenced (attach again), FATAL store_unfit / store_corrupt. Thread: one store per thread.
 */
#ifndef PENSTOCK_STORE_H
#define PENSTOCK_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/job.h"
#include "penstock/mem.h"

struct store;

struct store_config {
    const char *url;      /* redis://[user[:password]@]host[:port][/db], rediss:// for TLS, or unix:///path */
    const char *password; /* in the place of the URL's; NULL or "": that one */
    const char *tls_ca_file, *tls_cert_file, *tls_key_file; /* PEM; NULL or "": the system's authorities, none, none */
    const char *prefix;                                     /* "penstock:" */
    int timeout_ms;                                         /* of connecting and of one call */
    int64_t retention_ms;                                   /* of terminal jobs; 0 = for ever */
    int64_t retention_by_state_ms[JOB_STATE_COUNT];         /* 0: as retention_ms */
    int64_t tombstone_ms;                                   /* how long a cancel waits for its create */
    bool may_recover; /* a control process: it initialises an empty store and, after a Redis restart, begins an epoch */
    int max_crashes;  /* a job whose workers died this often fails as worker_lost */
    bool allow_unfit; /* tests only: skip the check of maxmemory-policy */
};

int store_open(const struct store_config *cfg, struct store **ret, struct err *err) MUSTCHECK;
void store_free(struct store *st); /* safe on NULL */

/* Makes the scripts callable; calls do it by themselves when needed. A process that may not recover waits (RETRY
 * store_fenced) until one that may has opened the store. */
int store_attach(struct store *st, struct err *err) MUSTCHECK;
/* RETRY store_fenced, once, if another epoch rules than the one attached to: what scripts notice by themselves. */
int store_check_epoch(struct store *st, struct err *err) MUSTCHECK;

/* What a model, or everything, may do. PAUSED: nothing of it is claimed. DRAINING: what is queued is worked off,
 * nothing new is taken: creates for a draining model are refused as `draining`; while everything drains, ingest leaves
 * the commands in Kafka. */
enum store_mode { STORE_MODE_OPEN, STORE_MODE_PAUSED, STORE_MODE_DRAINING };

/* --- ingest ------------------------------------------------------------------------------------------------------- */
enum store_item_kind { STORE_ITEM_CREATE, STORE_ITEM_CANCEL, STORE_ITEM_MODE, STORE_ITEM_REJECT };
struct store_item {
    enum store_item_kind kind;
    struct job_source source;
    const char *job_id; /* REJECT: may be NULL */
    const char *traceparent, *key;
    size_t key_len; /* as they came, for the dead letter */
    const char *raw;
    size_t raw_len, raw_size; /* raw_size: before it was cut to raw_len */
    /* create */
    const char *model, *model_version;
    int priority, max_attempts;
    int64_t timeout_ms, queue_timeout_ms, not_before;
    int64_t backoff_ms, backoff_max_ms; /* 0: what the worker's model or configuration says */
    const char *signature;              /* jobs of one batch have the same; "" is one, too */
    const struct job_label *labels;     /* into the record as label:<name> */
    size_t label_count;
    const char *spec;
    size_t spec_len;
    /* cancel; mode: who or why, for the queue view */
    const char *reason;
    /* mode: of `model`, or of everything (NULL) */
    enum store_mode mode;
    /* reject */
    enum err_code code;
    const char *error;
    size_t error_len; /* envelope */
    /* written by store_ingest */
    enum store_verdict { STORE_ACCEPTED, STORE_DUPLICATE, STORE_REJECTED, STORE_NOTED } verdict;
};
/* Items of one topic-partition stand in offset order. DUPLICATE: an offset below the stored one, or the same job again;
 * NOTED: a cancel that changes no state yet (running job, or tombstone). */
int store_ingest(struct store *st, struct store_item *items, size_t count, struct err *err) MUSTCHECK;
/* The next offset to read of a topic-partition, or -1 if nothing was ever read. */
int store_ingest_offset(struct store *st, const char *topic, int32_t partition, int64_t *ret,
                        struct err *err) MUSTCHECK;

/* --- workers ------------------------------------------------------------------------------------------------------ */
struct store_claim {
    const char *worker;          /* [A-Za-z0-9._:-]{1,64} */
    const char *const *models;   /* the one with the most urgent ready job is taken */
    const int *max_jobs;         /* per model: its max_batch_size, at least 1 */
    const int64_t *max_delay_us; /* per model: an incomplete batch waits until its first job is this old; NULL: none */
    size_t model_count;
    int64_t lease_ms;
};
struct store_claimed {
    const char *job_id, *model, *model_version, *token, *traceparent;
    int attempt, crashes;
    int64_t timeout_ms, backoff_ms, backoff_max_ms;
    const char *spec;
    size_t spec_len;
};
struct store_claims {
    struct store_claimed *jobs; /* of one model and signature; arena */
    size_t count;
    int64_t wait_us; /* count 0: an incomplete batch waits for so long yet; -1: none does */
};
int store_claim(struct store *st, const struct store_claim *want, struct arena *arena, struct store_claims *ret,
                struct err *err) MUSTCHECK;

enum store_lease { STORE_LEASE_HELD, STORE_LEASE_CANCEL_REQUESTED, STORE_LEASE_LOST };
struct store_renewal {
    const char *job_id, *token;
    double progress;              /* < 0: unchanged */
    const char *progress_message; /* NULL: unchanged */
    enum store_lease answer;      /* written */
};
int store_renew(struct store *st, const char *worker, int64_t lease_ms, struct store_renewal *jobs, size_t count,
                struct err *err) MUSTCHECK;

enum store_outcome { STORE_COMPLETED, STORE_FAILED, STORE_CANCELLED, STORE_RELEASED /* back to queued, not charged */ };
struct store_finish {
    const char *job_id, *token;
    enum store_outcome outcome;
    const char *doc;
    size_t doc_len;     /* COMPLETED: result; FAILED: error envelope */
    enum err_code code; /* FAILED */
    bool retryable;     /* FAILED: may be retried while attempts are left */
    int64_t backoff_ms; /* of that retry: the worker draws the jitter */
    bool accepted;      /* written; false: lease lost, the result is discarded */
};
/* Finishes jobs and, with `want` not NULL, claims the next batch in the same script. */
int store_finish(struct store *st, const char *worker, struct store_finish *jobs, size_t count,
                 const struct store_claim *want, struct arena *arena, struct store_claims *ret_claims,
                 struct err *err) MUSTCHECK;

/* --- deadlines ---------------------------------------------------------------------------------------------------- */
/* Handles at most `limit` due deadlines. *ret_done = how many; *ret_next_ms = until the next one, or -1 if there is
 * none. */
int store_sweep(struct store *st, size_t limit, size_t *ret_done, int64_t *ret_next_ms, struct err *err) MUSTCHECK;
/* The supervisor reports a dead worker: its jobs are requeued (or fail, at the crash limit) at once. */
int store_worker_lost(struct store *st, const char *worker, size_t *ret_jobs, struct err *err) MUSTCHECK;

#endif
