/* worker: claims batches, runs them, renews their leases, stops them when told to, finishes them.
 *
 * Hides the loaded models, the executor thread, and the order of claim, renew and finish. The step function drives it
 * all over the store and a runner; in production the runner is a thread, in a simulation a function call.
 *
 *     worker_models_load(&options, &models, &err);              // opens executors, loads and warms up
 *     struct worker_runner *runner = worker_thread_new();
 *     struct worker *worker = worker_new(&cfg, st, models, runner, &clock_system);
 *     while (worker_step(worker, &err) >= 0) worker_wait(worker);
 */
#ifndef PENSTOCK_WORKER_H
#define PENSTOCK_WORKER_H

#include "penstock/clock.h"
#include "penstock/store.h"
#include "penstock/worker_models.h"

/* --- running ------------------------------------------------------------------------------------------------------ */

struct worker_batch;

/* Runs one batch at a time. */
struct worker_runner {
    void (*start)(struct worker_runner *runner, struct worker_batch *batch); /* only when none is running */
    bool (*done)(struct worker_runner *runner); /* has the started batch come to its end? */
    int (*fd)(struct worker_runner *runner);    /* readable when done; -1: none */
    void (*free)(struct worker_runner *runner); /* waits for a running batch */
};
struct worker_runner *worker_thread_new(const struct clock *clock);           /* a thread of its own */
void worker_batch_run(struct worker_batch *batch, const struct clock *clock); /* what a runner calls */

/* --- the worker --------------------------------------------------------------------------------------------------- */

struct worker_config {
    const char *id, *host, *executor;
    int64_t lease_ms, grace_ms;
    int64_t prefetch_below_ms; /* the next batch is claimed ahead if a batch takes less than this; 0: never */
    int64_t backoff_ms, backoff_max_ms;
    size_t max_result_bytes;
    struct artifact_root *artifacts, *inputs; /* NULL: none; borrowed */
    size_t inline_bytes, max_artifact_bytes, max_input_bytes;
    uint64_t seed; /* of the jitter */
};

struct worker_stats {
    uint64_t claimed, completed, failed, cancelled, refused; /* refused: late results, discarded by the fence */
};

struct worker;
struct worker *worker_new(const struct worker_config *cfg, struct store *st, struct worker_models *models,
                          struct worker_runner *runner, const struct clock *clock); /* borrows all */
void worker_free(struct worker *worker);

/* A loop_step_fn. Returns how many jobs were claimed or finished. ERR_EXECUTION_FAILED (fatal): the process must end,
 * because a run does not stop or the executor is broken; what could be saved has been saved. */
int worker_step(void *worker, struct err *err) MUSTCHECK;
void worker_wait(struct worker *worker); /* until a step has something to do */

void worker_use_models(struct worker *worker, struct worker_models *models); /* from now on; borrowed */

/* Must the process end now, because a run has gone on for a third of a lease after losing it? For a guardian: the step
 * may be waiting for a store that does not answer. Thread: any. */
bool worker_must_end(struct worker *worker);

/* Claims nothing more, gives back what was claimed ahead; when worker_is_idle, everything is finished. */
void worker_drain(struct worker *worker);
void worker_stop_runs(struct worker *worker); /* tells what runs to stop; it is given back uncharged when it has */
bool worker_is_idle(const struct worker *worker);
/* Hands everything back to the queue, uncharged: for a stop whose deadline has come. */
int worker_release(struct worker *worker, struct err *err) MUSTCHECK;
struct worker_stats worker_stats_get(const struct worker *worker);

#endif
