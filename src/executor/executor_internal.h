/* Shared by the files of src/executor: the executors that are linked in, and the writing of a plug-in's error. */
#ifndef PENSTOCK_EXECUTOR_INTERNAL_H
#define PENSTOCK_EXECUTOR_INTERNAL_H

#include "penstock/err.h"
#include "penstock/executor.h"

extern const struct executor_ops executor__fake;     /* fake.c */
extern const struct executor_ops executor__onnx_cpu; /* onnx_cpu.c */

/* Writes *err with `code`'s word and whether it may be retried, as the table says. Returns -1. */
int executor__error(struct executor_error *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
