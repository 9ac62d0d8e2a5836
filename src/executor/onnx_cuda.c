/* The onnx-cuda executor: onnx_batch.c on CUDA's back end. Part of the plug-in libpenstock_onnx_cuda and of no program;
 * the plug-in brings its own copy of everything that it calls, and exports this one function. */
#include "executor_internal.h"
#include "penstock/onnx_backend.h"

static int onnx_cuda_probe(const struct executor_options *options, char *ret_device, size_t ret_size,
                           struct executor_error *err) {
    return executor__onnx_probe(onnx_backend_cuda(), options, ret_device, ret_size, err);
}

static int onnx_cuda_open(const struct executor_options *options, struct executor **ret_ex,
                          struct executor_error *err) {
    return executor__onnx_open(onnx_backend_cuda(), options, ret_ex, err);
}

__attribute__((visibility("default"))) penstock_executor_fn penstock_executor;

const struct executor_ops *penstock_executor(void) {
    static const struct executor_ops ops = {
        .abi_version = EXECUTOR_ABI_VERSION,
        .name = "onnx-cuda",
        .probe = onnx_cuda_probe,
        .open = onnx_cuda_open,
        .load = executor__onnx_load,
        .describe = executor__onnx_describe,
        .run = executor__onnx_run,
        .unload = executor__onnx_unload,
        .close = executor__onnx_close,
    };
    return &ops;
}
