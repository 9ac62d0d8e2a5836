/* onnx_backend: where sessions run. See onnx.h, whose onnx_session_new is short for the CPU.
 *
 *     const struct onnx_backend *backend = onnx_backend_cpu();
 *     struct onnx_session_options options = {.threads = 1};
 *     if (onnx_backend_probe(backend, 0, name, sizeof name, &err) != 0) ...            // is the device there?
 *     if (onnx_backend_session(backend, model, &options, &ses, &err) != 0) ...
 *
 * Reading, shapes, folding and the plan of memory are the same for all of them; a back end has the memory and runs the
 * steps. Inputs and outputs of a session are host memory whatever the back end.
 */
#ifndef PENSTOCK_ONNX_BACKEND_H
#define PENSTOCK_ONNX_BACKEND_H

#include "penstock/onnx.h"

struct onnx_backend;

const struct onnx_backend *onnx_backend_cpu(void);
const struct onnx_backend *onnx_backend_cuda(void); /* in the plug-in libpenstock_onnx_cuda alone */

/* How products of FP32 matrices and convolutions are computed on a GPU; sums and what lies in memory stay FP32. The CPU
 * ignores it. */
enum onnx_precision { ONNX_PRECISION_FLOAT32, ONNX_PRECISION_TF32, ONNX_PRECISION_FLOAT16 };

struct onnx_session_options {
    int threads; /* that share out the work of a node */
    bool plain;  /* node by node as the file has them, on the reference kernels: what all else is held against */
    int device;  /* ordinal of the GPU; the CPU ignores it */
    enum onnx_precision precision;
};

/* Writes a short description of the device. ERR_NO_DEVICE, ERR_DRIVER_UNFIT, ERR_DEVICE_LOST. */
int onnx_backend_probe(const struct onnx_backend *backend, int device, char *ret_name, size_t ret_size,
                       struct err *err) MUSTCHECK;

/* Also what probe may answer, and ERR_OUT_OF_MEMORY: the weights are copied to the device here, once. */
int onnx_backend_session(const struct onnx_backend *backend, const struct onnx_model *model,
                         const struct onnx_session_options *options, struct onnx_session **ret,
                         struct err *err) MUSTCHECK;

#endif
