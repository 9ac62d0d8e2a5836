/* store_view: reading job records, lists, models and workers. Writes nothing but a worker's own registration. See
 * store.h.
 *
 *     struct job_record rec;
 *     if (store_job_get(st, id, arena, &rec, &err) == 0 && rec.state != JOB_STATE_NONE) ...
 */
#ifndef PENSTOCK_STORE_VIEW_H
#define PENSTOCK_STORE_VIEW_H

#include "penstock/store.h"

/* state JOB_STATE_NONE: there is no such job. */
int store_job_get(struct store *st, const char *job_id, struct arena *arena, struct job_record *ret,
                  struct err *err) MUSTCHECK;

/* Documents beside the record: "spec", "result" or "error". *ret NULL: absent. */
int store_job_doc(struct store *st, const char *what, const char *job_id, struct arena *arena, const char **ret,
                  size_t *ret_len, struct err *err) MUSTCHECK;

struct store_list {
    enum job_state state;           /* JOB_STATE_NONE: every state */
    const char *model;              /* NULL: all */
    const struct job_label *labels; /* all of them must match */
    size_t label_count;
    int64_t since, until; /* ms: last transition in [since, until); 0: open */
    size_t limit;
    const char *cursor; /* NULL: newest first from the top */
};
/* Newest first by the time of the last transition; with state NONE state by state. *ret_cursor NULL: the end. Bounded:
 * at most some 10 x limit records are looked at in one call, so a page may be short or empty and still have a cursor.
 */
int store_job_list(struct store *st, const struct store_list *query, struct arena *arena, struct job_record **ret,
                   size_t *ret_count, const char **ret_cursor, struct err *err) MUSTCHECK;

struct store_stats {
    int64_t by_state[JOB_STATE_COUNT];
    int64_t outbox_entries, gseq, store_epoch, timers;
};
int store_stats_get(struct store *st, struct store_stats *ret, struct err *err) MUSTCHECK;

/* How many jobs came into each state within the last `window_ms` and still are in it: of the terminal ones, throughput,
 * whatever retention takes away meanwhile. now_ms is Redis's clock. */
struct store_recent {
    int64_t now_ms, by_state[JOB_STATE_COUNT];
};
int store_recent_get(struct store *st, int64_t window_ms, struct store_recent *ret, struct err *err) MUSTCHECK;

/* One model's queue. */
struct store_queue {
    const char *model;
    int64_t queued; /* in all: ready, held back by a tenant's limit, or delayed */
    int64_t ready;
    int64_t running, max_running; /* 0: no limit */
    int64_t oldest_ready_at;      /* when the job that is ready for the longest became so; 0: none is */
    enum store_mode mode;
    const char *mode_reason;
};
/* Every model that has or had jobs, limits or a mode, by name; *ret_all: the mode of everything. */
int store_queue_list(struct store *st, struct arena *arena, struct store_queue **ret, size_t *ret_count,
                     enum store_mode *ret_all, struct err *err) MUSTCHECK;

/* A worker tells what it is and which models it has ready; refreshed with every renewal, gone `ttl_ms` after the last.
 */
struct store_worker {
    const char *id, *host, *executor, *device;
    int64_t pid, started_at, seen_at;
    const char *const *job_ids; /* store_worker_list: what it holds, at most some hundred */
    size_t job_count, held;     /* of those; in all */
    const char *models; /* JSON: [{"name","version","max_batch_size","inputs":[...],"outputs":[...],"memory_bytes"}] */
};
int store_worker_register(struct store *st, const struct store_worker *worker, int64_t ttl_ms,
                          struct err *err) MUSTCHECK;
int store_worker_unregister(struct store *st, const char *id, struct err *err) MUSTCHECK;
int store_worker_list(struct store *st, struct arena *arena, struct store_worker **ret, size_t *ret_count,
                      struct err *err) MUSTCHECK;

/* What a crash of Redis can cost, as it is set up at present. Strings are in the arena. */
struct store_durability {
    const char *version, *role, *maxmemory_policy; /* "7.0.15"; "master", "slave"; "noeviction" ... */
    bool appendonly, append_fails;                 /* has it an append-only file; could it not write the last time? */
    const char *appendfsync; /* "always", "everysec", "no"; NULL: it may not be read, and `unknown` says why */
    const char *unknown;
    int64_t replicas; /* connected */
};
int store_durability_get(struct store *st, struct arena *arena, struct store_durability *ret,
                         struct err *err) MUSTCHECK;

/* Does Redis answer, is it fit to hold jobs, and may our user do all that the processes do? What attaching checks,
 * without attaching. */
int store_check(struct store *st, struct err *err) MUSTCHECK;

#endif
