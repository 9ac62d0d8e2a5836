/* The onnx-cpu executor: onnx_batch.c on the CPU's back end. */
#include "executor_internal.h"
#include "penstock/onnx_backend.h"

static int onnx_cpu_probe(const struct executor_options *options, char *ret_device, size_t ret_size,
                          struct executor_error *err) {
    return executor__onnx_probe(onnx_backend_cpu(), options, ret_device, ret_size, err);
}

static int onnx_cpu_open(const struct executor_options *options, struct executor **ret_ex, struct executor_error *err) {
    return executor__onnx_open(onnx_backend_cpu(), options, ret_ex, err);
}

const struct executor_ops executor__onnx_cpu = {
    .abi_version = EXECUTOR_ABI_VERSION,
    .name = "onnx-cpu",
    .probe = onnx_cpu_probe,
    .open = onnx_cpu_open,
    .load = executor__onnx_load,
    .describe = executor__onnx_describe,
    .run = executor__onnx_run,
    .unload = executor__onnx_unload,
    .close = executor__onnx_close,
};
