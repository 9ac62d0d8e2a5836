/* Inside the worker: loaded models, and a batch on its way from claim to finish. */
#ifndef PENSTOCK_WORKER_INTERNAL_H
#define PENSTOCK_WORKER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "penstock/registry.h"
#include "penstock/wire.h"
#include "penstock/worker.h"

/* --- models.c ----------------------------------------------------------------------------------------------------- */

struct worker__model {
    struct model_entry entry; /* its own */
    const struct executor_ops *ops;
    struct executor_model *model;
    struct worker__engine *engine;
    atomic_size_t refs;
    struct worker__model *next; /* in the trash */
};
struct worker__model *worker__model_ref(struct worker__model *model); /* NULL stays NULL */
void worker__model_unref(struct worker__model *model);
/* A set for the repository as it is now. *ret NULL: it is as it was `before` (NULL: there was nothing). */
int worker__models_next(const struct worker_models *before, const struct worker_model_options *options,
                        struct worker_models **ret, struct err *err) MUSTCHECK;
/* Unloads what nobody uses any more. */
void worker__models_collect(struct worker_models *models);
/* The loaded model of `name` and `version` (NULL = latest), or NULL. */
struct worker__model *worker__model_find(struct worker_models *models, const char *name, const char *version);
/* What to claim for: writes the models of `ret`. Arrays live as long as models. */
void worker__model_names(struct worker_models *models, struct store_claim *ret);

/* --- batch.c ------------------------------------------------------------------------------------------------------ */

#define MESSAGE_SIZE 257 /* of a progress message, in UTF-8 */

enum worker__stop { STOP_NO, STOP_CANCEL, STOP_LOST, STOP_SHUTDOWN };

struct worker__job {
    struct store_claimed claim;
    struct worker__model *model;
    struct wire_request request;
    struct executor_job run;
    struct err error; /* code ERR_NONE: none */
    bool retryable, ran;
    struct buf result;

    /* Between the two threads while the batch runs. */
    atomic_int stop;             /* enum worker__stop; set by the main thread */
    atomic_bool timed_out;       /* set by whoever sees the deadline first */
    _Atomic int64_t deadline_us; /* monotonic; INT64_MAX: none. Set when the run starts */
    _Atomic int64_t leased_us;   /* monotonic: from then on another worker may have it. Set with every renewal */
    _Atomic double progress;
    struct {
        pthread_mutex_t lock;
        bool is_new;
        char text[MESSAGE_SIZE], told[MESSAGE_SIZE];
    } message;
    int64_t stop_at_ms;   /* when it was told to stop; 0: not (main thread only) */
    double progress_told; /* main thread only */
};

struct worker_batch {
    struct arena arena;
    struct worker__job *jobs;
    size_t count;
    const struct clock *clock;
    const struct worker_config *cfg;
    bool sticky;      /* the executor is broken */
    atomic_bool over; /* nothing of it runs any more */
    int64_t started_us, run_us;
};

/* Takes the claims (whose strings are in `arena`, which is taken too) and decodes every spec. */
struct worker_batch *worker__batch_new(struct arena *arena_take, const struct store_claims *claims,
                                       struct worker_models *models, const struct worker_config *cfg);
/* What the run last said about how far it is, if it is new; NULL: nothing is. Valid until the next call. */
const char *worker__job_message(struct worker__job *job);
bool worker__job_has_message(struct worker__job *job);
void worker__batch_free(struct worker_batch *batch);

#endif
