/* Shared by the files of src/executor: the executors that are linked in, the batching that those on ONNX share, and the
 * writing of a plug-in's error. */
#ifndef PENSTOCK_EXECUTOR_INTERNAL_H
#define PENSTOCK_EXECUTOR_INTERNAL_H

#include "penstock/err.h"
#include "penstock/executor.h"

struct onnx_backend;

extern const struct executor_ops executor__fake;     /* fake.c */
extern const struct executor_ops executor__onnx_cpu; /* onnx_cpu.c */

/* onnx_batch.c: slots of executor_ops, the first two for a back end. */
int executor__onnx_probe(const struct onnx_backend *backend, const struct executor_options *options, char *ret_device,
                         size_t ret_size, struct executor_error *err);
int executor__onnx_open(const struct onnx_backend *backend, const struct executor_options *options,
                        struct executor **ret_ex, struct executor_error *err);
int executor__onnx_load(struct executor *ex, const struct executor_model_source *source,
                        struct executor_model **ret_model, struct executor_error *err);
const struct executor_model_info *executor__onnx_describe(const struct executor_model *model);
int executor__onnx_run(struct executor_model *model, struct executor_job *jobs, size_t job_count,
                       const struct executor_control *control, struct executor_error *err);
void executor__onnx_unload(struct executor_model *model);
void executor__onnx_close(struct executor *ex);

/* Writes *err with `code`'s word and whether it may be retried, as the table says. Returns -1. */
int executor__error(struct executor_error *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
