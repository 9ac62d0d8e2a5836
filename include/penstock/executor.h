/* executor: the plug-in ABI for what runs a model. Public: an out-of-tree plug-in needs this header and tensor.h only.
 *
 * A plug-in is a shared object that exports `const struct executor_ops *penstock_executor(void)`; "fake" and "onnx-cpu"
 * are linked in. A worker process opens one executor, loads models into it, warms them up and runs one batch at a time.
 *
 *     ops->open(&options, &ex, &err);
 *     ops->load(ex, &source, &model, &err);
 *     ops->run(model, jobs, job_count, &control, &err);   // each job: its own result or its own error
 *     ops->unload(model);
 *     ops->close(ex);
 *
 * Thread: open, load, unload and close one at a time; run from the executor thread, and from the loading one to warm
 * up. A model is loaded, warmed up and unloaded while run() is busy with another one. should_stop and progress may be
 * called from within run only. A slot marked [optional] may be NULL.
 */
#ifndef PENSTOCK_EXECUTOR_H
#define PENSTOCK_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/tensor.h"

#define EXECUTOR_ABI_VERSION 1

/* An error of a plug-in. `code` is a word of penstock's table ("invalid_input", "execution_failed", "out_of_memory",
 * "unsupported_model", "model_load_failed", "no_device"); an unknown word is reported as execution_failed. */
struct executor_error {
    char code[40];
    char message[448];
    bool retryable; /* may the same job succeed on another attempt? */
    bool sticky;    /* the executor is broken (e.g. a sticky CUDA error): the worker process must end */
};

/* A request parameter of the Open Inference Protocol: a string, number or boolean, by name. */
enum executor_param_kind { EXECUTOR_PARAM_BOOL, EXECUTOR_PARAM_INT, EXECUTOR_PARAM_DOUBLE, EXECUTOR_PARAM_STRING };
struct executor_param {
    const char *name;
    enum executor_param_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        const char *string;
    };
};

enum executor_outcome { EXECUTOR_COMPLETED, EXECUTOR_FAILED, EXECUTOR_STOPPED };

/* One job of a batch. The host fills the upper part, run() the lower. Output data belongs to the model and stays valid
 * until its next run() or unload(). */
struct executor_job {
    const char *job_id;
    int attempt; /* which execution of the job this is: 1, 2, 3 ... */
    const struct tensor *inputs;
    size_t input_count;
    const struct executor_param *params;
    size_t param_count;

    enum executor_outcome outcome;
    struct tensor *outputs;
    size_t output_count;
    struct executor_error error; /* for EXECUTOR_FAILED */
};

/* How run() hears about the world. */
struct executor_control {
    void *ctx;
    /* True when job `index` must stop (cancel, deadline, lost lease). Looked at between nodes; cheap. */
    bool (*should_stop)(void *ctx, size_t index);
    /* Tells how far job `index` is, 0.0 to 1.0; throttled by the host. */
    void (*progress)(void *ctx, size_t index, double fraction, const char *message);
};

struct executor_options {
    int device;  /* ordinal of the GPU; ignored by CPU executors */
    int threads; /* CPU threads for one run; 0 = the executor's choice */
};

/* Where a model comes from: one version folder of the model repository, and the knobs of its config.json. */
struct executor_model_source {
    const char *name;
    const char *version;
    const char *path;   /* "<repository>/<name>/<version>"; for a model without versions "<repository>/<name>" */
    int max_batch_size; /* Triton's: 0 = the model takes no batch dimension from us; n = dim 0 of every tensor is the
                           batch */
};

struct executor_tensor_info {
    const char *name;
    enum datatype datatype;
    int rank;
    int64_t shape[TENSOR_MAX_RANK]; /* -1: any; with max_batch_size > 0 dim 0 is the batch */
};

/* Describes a loaded model; valid until unload. */
struct executor_model_info {
    const struct executor_tensor_info *inputs;
    size_t input_count;
    const struct executor_tensor_info *outputs;
    size_t output_count;
    size_t memory_bytes; /* weights and work space */
};

struct executor;       /* an open executor */
struct executor_model; /* a loaded model */

struct executor_ops {
    uint32_t abi_version; /* EXECUTOR_ABI_VERSION */
    const char *name;     /* "onnx-cpu" */

    /* Is the device there? Writes a short description ("2 x Intel Xeon", "NVIDIA H200"). 0, or -1 with *err. */
    int (*probe)(const struct executor_options *options, char *ret_device, size_t ret_size, struct executor_error *err);
    int (*open)(const struct executor_options *options, struct executor **ret_ex, struct executor_error *err);
    int (*load)(struct executor *ex, const struct executor_model_source *source, struct executor_model **ret_model,
                struct executor_error *err);
    const struct executor_model_info *(*describe)(
        const struct executor_model *model); /* [optional] NULL: takes anything */

    /* Runs `job_count` jobs (1 .. max(1, max_batch_size)) as one batch. 0: every job has an outcome of its own. -1 with
     * *err: the batch as a whole failed, no outcome is valid. Allocates nothing on the device. */
    int (*run)(struct executor_model *model, struct executor_job *jobs, size_t job_count,
               const struct executor_control *control, struct executor_error *err);
    void (*unload)(struct executor_model *model);
    void (*close)(struct executor *ex);
};

typedef const struct executor_ops *penstock_executor_fn(void);

#endif
