/* CUDA as a back end: a session's share of a device, opened and closed in one place. */
#include "cuda_internal.h"

#include <stdlib.h>

static void cuda_close(void *ctx) {
    struct cuda__state *state = ctx;
    (void)cudaSetDevice(state->device.ordinal);
    for (size_t i = 0; state->inputs_there && i < state->model->input_count; i++)
        if (state->inputs_there[i]) (void)cudaEventDestroy(state->inputs_there[i]);
    if (state->before) (void)cudaEventDestroy(state->before);
    if (state->after) (void)cudaEventDestroy(state->after);
    for (int i = 0; i < 2; i++) (void)cudaFree(state->weights[i]);
    (void)cudaFree(state->memory);
    if (state->mirror) (void)cudaFreeHost(state->mirror);
    cuda__device_close(&state->device);
    free(state->inputs_there);
    free(state->weight_of);
    free(state);
}

static int open_state(struct cuda__state *state, const struct onnx_session_options *options, struct err *err) {
    if (cuda__device_open(&state->device, options, err) != 0) return -1;
    for (size_t i = 0; i < state->model->input_count; i++)
        CUDA__TRY(cudaEventCreateWithFlags(&state->inputs_there[i], cudaEventDisableTiming), err);
    CUDA__TRY(cudaEventCreate(&state->before), err);
    CUDA__TRY(cudaEventCreate(&state->after), err);
    return cuda__place_weights(state, !options->plain, err);
}

static int cuda_open(const struct onnx_model *model, const struct onnx_session_options *options, void **ret_state,
                     struct err *err) {
    struct cuda__state *state = mem_calloc(1, sizeof *state);
    state->model = model;
    state->generation = 1;
    state->weight_of = mem_calloc(model->fused_value_count + 1, sizeof *state->weight_of);
    state->inputs_there = mem_calloc(model->input_count + 1, sizeof(cudaEvent_t));
    if (open_state(state, options, err) != 0) {
        cuda_close(state);
        return -1;
    }
    *ret_state = state;
    return 0;
}

static int cuda_bind(void *ctx, struct onnx__plan *plan, struct err *err) {
    struct cuda__state *state = ctx;
    CUDA__TRY(cudaSetDevice(state->device.ordinal), err);
    if (cuda__place_plan(state, plan, err) != 0) return -1;
    const struct cuda__plan *own = plan->backend;
    return own->measured && !own->cut ? cuda__run_cut(state, plan, err) : 0;
}

static void cuda_forget(void *ctx, struct onnx__plan *plan) {
    const struct cuda__state *state = ctx;
    (void)cudaSetDevice(state->device.ordinal);
    cuda__place_forget(plan);
}

static int cuda_run(void *ctx, struct onnx__plan *plan, const struct onnx_control *control, struct err *err) {
    struct cuda__state *state = ctx;
    CUDA__TRY(cudaSetDevice(state->device.ordinal), err);
    return cuda__run(state, plan, control, err);
}

static size_t cuda_memory(const void *ctx) {
    const struct cuda__state *state = ctx;
    return state->weight_bytes + state->memory_bytes + state->device.workspace_bytes;
}

static bool cuda_on_device(const struct onnx__step *step) { return !cuda__host_run(step) || cuda__op_find(step); }

const struct onnx_backend *onnx_backend_cuda(void) {
    static const struct onnx_backend backend = {.name = "cuda",
                                                .fused = true,
                                                .probe = cuda__device_probe,
                                                .open = cuda_open,
                                                .close = cuda_close,
                                                .bind = cuda_bind,
                                                .forget = cuda_forget,
                                                .run = cuda_run,
                                                .memory = cuda_memory,
                                                .on_device = cuda_on_device};
    return &backend;
}
