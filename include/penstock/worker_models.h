/* worker_models: the executors of a worker and the models that they have loaded. See worker.h.
 *
 *     if (worker_models_load(&options, &models, &err) != 0) ...
 *     log_info("worker", "%zu models on %s", worker_models_count(models), worker_models_device(models));
 */
#ifndef PENSTOCK_WORKER_MODELS_H
#define PENSTOCK_WORKER_MODELS_H

#include <stddef.h>

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
void worker_models_free(struct worker_models *models); /* safe on NULL */
size_t worker_models_count(const struct worker_models *models);
const char *worker_models_device(const struct worker_models *models); /* what probe said */
const char *worker_models_json(const struct worker_models *models);   /* as store_worker.models */

#endif
