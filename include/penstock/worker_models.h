/* worker_models: the executors of a worker and the models that they have loaded. See worker.h.
 *
 * A set of models is never changed; when the repository is, a new one takes its place and shares what stayed the same.
 *
 *     if (worker_models_load(&options, &models, &err) != 0) ...
 *     struct worker_loader *loader = worker_loader_new(&options, models, 5000);
 *     while (running) {
 *         if ((fresh = worker_loader_take(loader))) worker_use_models(worker, fresh), worker_models_free(models), ...
 *     }
 */
#ifndef PENSTOCK_WORKER_MODELS_H
#define PENSTOCK_WORKER_MODELS_H

#include <stddef.h>
#include <stdint.h>

#include "penstock/err.h"

struct worker_model_options {
    const char *repository;
    const char *onnx_executor; /* which executor serves the backend "onnx" */
    const char *plugin_dir;    /* NULL: the default places */
    int device, threads;
};

/* Every model of the repository, loaded and warmed up; one that fails is left out, with a line in the log: the others
 * serve. An executor that does not work at all is an error. */
struct worker_models;
int worker_models_load(const struct worker_model_options *options, struct worker_models **ret,
                       struct err *err) MUSTCHECK;
void worker_models_free(struct worker_models *models); /* safe on NULL; models that a batch uses stay until it ends */
size_t worker_models_count(const struct worker_models *models);
const char *worker_models_device(const struct worker_models *models); /* what probe said */
const char *worker_models_json(const struct worker_models *models);   /* as store_worker.models */

/* Looks at the repository every `poll_ms` in a thread of its own, loads and warms up what is new there while jobs run,
 * and has a new set ready. What cannot be loaded is logged once and tried again when it has changed; until then the
 * version that was there goes on. */
struct worker_loader;
struct worker_loader *worker_loader_new(const struct worker_model_options *options, struct worker_models *now,
                                        int64_t poll_ms); /* borrows options' strings, and now until a set is taken */
/* The new set, if there is one; NULL: nothing has changed. Owns: caller, who now uses it instead of the one before. */
struct worker_models *worker_loader_take(struct worker_loader *loader);
void worker_loader_free(struct worker_loader *loader); /* waits for a load; safe on NULL */

#endif
