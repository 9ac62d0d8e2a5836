/* The CPU as a back end: one block of memory, as large as the largest plan needs, a team of threads, and a loop over
 * the plan's steps. Weights stay where the reader mapped them, beside what some kernels make of theirs in advance.
 * Between two steps the loop asks whether to stop and tells how far it is. BLAS is told, for the whole process, to use
 * one thread: the team calls it from its own.
 */
#include "../onnx_internal.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct cpu_state {
    const struct onnx_model *model;
    struct onnx__team *team;
    void **packed; /* by number of the fused graph's node, or NULL */
    size_t packed_bytes;
    char *memory;
    size_t memory_bytes;
};

static int cpu_probe(int device, char *ret_name, size_t ret_size, struct err *err) {
    char line[256], name[128] = "CPU";
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "model name : %127[^\n]", name) == 1) break;
    if (file) fclose(file);
    snprintf(ret_name, ret_size, "%ld x %s", sysconf(_SC_NPROCESSORS_ONLN), name);
    return 0;
}

static void pack_weights(struct cpu_state *state) {
    const struct onnx_model *model = state->model;
    state->packed = mem_calloc(model->fused_count, sizeof *state->packed);
    for (size_t n = 0; n < model->fused_count; n++) {
        const struct onnx__node *node = &model->fused_nodes[n];
        size_t size = 0;
        if (!node->fast || !node->fast->pack) continue;
        state->packed[n] = node->fast->pack(model, node, &size);
        state->packed_bytes += size;
    }
}

static int cpu_open(const struct onnx_model *model, const struct onnx_session_options *options, void **ret_state,
                    struct err *err) {
    if (options->threads < 1) return err_set(err, ERR_CONFIG, "%d threads: at least 1", options->threads);
    openblas_set_num_threads(1);
    struct cpu_state *state = mem_calloc(1, sizeof *state);
    state->model = model;
    if (!options->plain) {
        state->team = onnx__team_new(options->threads);
        pack_weights(state);
    }
    *ret_state = state;
    return 0;
}

static void cpu_close(void *ctx) {
    struct cpu_state *state = ctx;
    onnx__team_free(state->team);
    for (size_t n = 0; state->packed && n < state->model->fused_count; n++) free(state->packed[n]);
    free(state->packed);
    free(state->memory);
    free(state);
}

static int ensure_memory(struct cpu_state *state, size_t size_bytes, struct err *err) {
    if (state->memory && size_bytes <= state->memory_bytes) return 0;
    size_t size =
        (size_bytes + PLAN_ALIGN) & ~(PLAN_ALIGN - 1); /* at least one unit, and a multiple as the call wants */
    char *memory = size <= onnx__memory_limit() ? aligned_alloc(PLAN_ALIGN, size) : NULL;
    if (!memory) return err_set(err, ERR_OUT_OF_MEMORY, "no memory for %zu bytes of activations", size);
    memset(memory, 0, size); /* touched now: page faults belong to loading, not to the first job */
    free(state->memory);
    state->memory = memory;
    state->memory_bytes = size;
    return 0;
}

/* plan->backend: the memory that the plan is laid over at present. */
static int cpu_bind(void *ctx, struct onnx__plan *plan, struct err *err) {
    struct cpu_state *state = ctx;
    if (ensure_memory(state, plan->memory_bytes, err) != 0) return -1;
    char *base = state->memory;
    if (plan->backend == base) return 0;
    for (size_t i = 0; i < plan->value_count; i++)
        if (plan->offsets[i] != PLAN_NO_OFFSET) plan->values[i].data = base + plan->offsets[i];
    for (size_t s = 0; s < plan->step_count; s++) {
        struct onnx__step *step = &plan->steps[s];
        step->scratch = base + step->scratch_at;
        step->team = state->team;
        if (plan->fused) step->packed = state->packed[step->node - state->model->fused_nodes];
    }
    plan->backend = base;
    return 0;
}

static int cpu_run(void *ctx, struct onnx__plan *plan, const struct onnx_control *control, struct err *err) {
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct onnx__step *step = &plan->steps[s];
        onnx__run_fn *run = step->node->fast ? step->node->fast->run : step->node->op->run;
        if (control && control->should_stop(control->ctx)) return 1;
        if (run && run(step, err) != 0) return -1;
        if (control) control->progress(control->ctx, (double)(s + 1) / (double)plan->step_count, step->node->op_type);
    }
    return 0;
}

static size_t cpu_memory(const void *ctx) {
    const struct cpu_state *state = ctx;
    return state->model->weight_bytes + state->packed_bytes + state->memory_bytes;
}

const struct onnx_backend *onnx_backend_cpu(void) {
    static const struct onnx_backend backend = {.name = "cpu",
                                                .fused = true,
                                                .probe = cpu_probe,
                                                .open = cpu_open,
                                                .close = cpu_close,
                                                .bind = cpu_bind,
                                                .run = cpu_run,
                                                .memory = cpu_memory};
    return &backend;
}
