/* registry: finding executors by name and models on disk.
 *
 * Hides where executors come from (linked in, or dlopen of libpenstock_<name>.so, '-' as '_') and the layout of the
 * model repository, which is Triton's: <repository>/<name>/config.json (optional; for the fake executor sufficient) and
 * <repository>/<name>/<version>/model.onnx, versions being positive integers, the highest the default.
 *
 *     const struct executor_ops *ops;
 *     struct model_list list;
 *     if (registry_executor_find("onnx-cpu", plugin_dir, &ops, &err) != 0) ...
 *     if (registry_models_scan("models", &list, &err) != 0) ...
 *     const struct model_entry *m = registry_model_find(&list, "digits", NULL);
 */
#ifndef PENSTOCK_REGISTRY_H
#define PENSTOCK_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/err.h"
#include "penstock/executor.h"
#include "penstock/job.h"

/* Finds the executor `name`. "fake" and "onnx-cpu" are linked in; others are opened from `plugin_dir`
 * (NULL: beside the binary, then the library path). The object stays open for the life of the process. */
int registry_executor_find(const char *name, const char *plugin_dir, const struct executor_ops **ret_ops,
                           struct err *err) MUSTCHECK;

/* One version of one model. The knobs are Triton's, from config.json; unknown members there are refused by name. */
struct model_entry {
    char name[65];
    char version[21];           /* "1"; also of a model without version folders (fake) */
    char backend[33];           /* "onnx" (default) or "fake" */
    char *path;                 /* folder of the version */
    int max_batch_size;         /* default 0 */
    int64_t max_queue_delay_us; /* dynamic_batching.max_queue_delay_microseconds, default 0 */
    struct model_policy policy;
    bool latest;    /* the default version of its name */
    uint64_t stamp; /* another file, another stamp: of model.onnx's identity, size and time; 0 without a file */
};

struct model_list {
    struct model_entry *entries; /* sorted by name, then by version as a number */
    size_t count;
};

/* Scans a repository folder. A model with a broken config.json or no usable version is an error that names it, and the
 * whole repository is refused; *ret_list is then untouched. Owns: caller ends it with registry_models_done. */
int registry_models_scan(const char *repository, struct model_list *ret_list, struct err *err) MUSTCHECK;
void registry_models_done(struct model_list *list);

bool registry_entry_equal(const struct model_entry *a, const struct model_entry *b); /* in all that they say */
bool registry_models_equal(const struct model_list *a, const struct model_list *b);

/* The entry of `name` and `version` (NULL or "" = latest), or NULL. */
const struct model_entry *registry_model_find(const struct model_list *list, const char *name, const char *version);

#endif
