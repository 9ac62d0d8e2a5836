/* Where the values of a plan are: the common plan's offsets laid over device memory, and a mirror of what the host
 * sees.
 *
 * One allocation holds the activations of whichever plan runs, one the weights, one what was folded for a plan's own
 * shapes. The mirror is pinned host memory for the graph's inputs and outputs and for what steps without a kernel read
 * and write; nothing in it is used twice, so that copies to and from it need no order among each other. A tensor's
 * `data` points into the mirror, or is NULL where the host has no business.
 *
 * When a block has to grow, everything that was bound to it is stale: `generation` counts that, and a plan of an older
 * generation is bound afresh at its next prepare.
 */
#include "cuda_internal.h"

#include <stdlib.h>

#define ALIGN ((size_t)256) /* what cudaMalloc gives, and vector loads and cuBLASLt like */

static size_t align_up(size_t size) { return (size + ALIGN - 1) & ~(ALIGN - 1); }

/* --- weights ----------------------------------------------------------------------------------------------------- */

/* Where in a new block the constants go that a graph's nodes read and that are not there yet; folding has left others
 * behind. Returns the block's size. */
static size_t choose_places(const struct cuda__state *state, bool fused, size_t *at) {
    const struct onnx_model *model = state->model;
    const struct onnx__node *nodes = fused ? model->fused_nodes : model->nodes;
    size_t count = fused ? model->fused_count : model->node_count, size = 0;
    for (size_t i = 0; i < model->fused_value_count; i++) at[i] = PLAN_NO_OFFSET;
    for (size_t n = 0; n < count; n++)
        for (size_t i = 0; i < nodes[n].input_count; i++) {
            int number = nodes[n].inputs[i];
            if (number < 0 || !model->values[number].constant || state->weight_of[number] ||
                at[number] != PLAN_NO_OFFSET || model->values[number].tensor.size_bytes == 0)
                continue;
            at[number] = size;
            size += align_up(model->values[number].tensor.size_bytes);
        }
    return size;
}

static int upload(struct cuda__state *state, char *block, const size_t *at, struct err *err) {
    const struct onnx_model *model = state->model;
    for (size_t i = 0; i < model->fused_value_count; i++) {
        const struct tensor *weight = &model->values[i].tensor;
        if (at[i] != PLAN_NO_OFFSET)
            CUDA__TRY(cudaMemcpyAsync(block + at[i], weight->data, weight->size_bytes, cudaMemcpyHostToDevice,
                                      state->device.stream),
                      err);
    }
    CUDA__TRY(cudaStreamSynchronize(state->device.stream), err);
    for (size_t i = 0; i < model->fused_value_count; i++)
        if (at[i] != PLAN_NO_OFFSET) state->weight_of[i] = block + at[i];
    return 0;
}

int cuda__place_weights(struct cuda__state *state, bool fused, struct err *err) {
    if (state->uploaded[fused]) return 0;
    size_t *at = mem_alloc((state->model->fused_value_count + 1) * sizeof *at);
    size_t size = choose_places(state, fused, at);
    (void)cudaFree(state->weights[fused]); /* of an attempt that failed */
    int rc = cuda__device_alloc((void **)&state->weights[fused], size, "weights", err);
    if (rc == 0) rc = upload(state, state->weights[fused], at, err);
    if (rc == 0) state->weight_bytes += size;
    state->uploaded[fused] = rc == 0;
    free(at);
    return rc;
}

/* --- who runs where ---------------------------------------------------------------------------------------------- */

static void choose_where(struct cuda__plan *own, const struct onnx__plan *plan) {
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct onnx__step *step = &plan->steps[s];
        own->ops[s] = cuda__op_find(step);
        if (!cuda__host_run(step))
            own->where[s] = CUDA__NOWHERE;
        else
            own->where[s] = own->ops[s] ? CUDA__ON_DEVICE : CUDA__ON_HOST;
    }
}

/* --- the mirror -------------------------------------------------------------------------------------------------- */

static void mirror_value(struct cuda__plan *own, const struct onnx__plan *plan, int number) {
    if (number < 0 || plan->offsets[number] == PLAN_NO_OFFSET) return;
    int root = plan->roots[number];
    if (own->mirror_at[root] != PLAN_NO_OFFSET) return;
    own->mirror_at[root] = own->mirror_bytes;
    own->mirror_bytes += align_up(plan->values[root].size_bytes);
}

static void mirror_all(const struct cuda__state *state, struct cuda__plan *own, const struct onnx__plan *plan) {
    const struct onnx_model *model = state->model;
    size_t scratch = 0;
    for (size_t i = 0; i < plan->value_count; i++) own->mirror_at[i] = PLAN_NO_OFFSET;
    for (size_t i = 0; i < model->input_count; i++) mirror_value(own, plan, model->input_values[i]);
    for (size_t i = 0; i < model->output_count; i++) mirror_value(own, plan, model->output_values[i]);
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct onnx__node *node = plan->steps[s].node;
        if (own->where[s] != CUDA__ON_HOST) continue;
        for (size_t i = 0; i < node->input_count; i++) mirror_value(own, plan, node->inputs[i]);
        for (size_t i = 0; i < node->output_count; i++) mirror_value(own, plan, node->outputs[i]);
        if (plan->steps[s].scratch_bytes > scratch) scratch = plan->steps[s].scratch_bytes;
    }
    own->scratch_at = own->mirror_bytes;
    own->mirror_bytes += align_up(scratch);
    for (size_t i = 0; i < plan->value_count; i++)
        if (plan->offsets[i] != PLAN_NO_OFFSET) own->mirror_at[i] = own->mirror_at[plan->roots[i]];
}

/* Fast forms on the CPU may read weights that have been packed for them, and ask for no room to do without. */
static void pack_host_weights(const struct cuda__state *state, const struct cuda__plan *own, struct onnx__plan *plan) {
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct onnx__fast *fast = plan->steps[s].node->fast;
        size_t ignored;
        if (own->where[s] == CUDA__ON_HOST && fast && fast->pack)
            plan->steps[s].packed = fast->pack(state->model, plan->steps[s].node, &ignored);
    }
}

/* --- a plan's own part ------------------------------------------------------------------------------------------- */

static void make_calls(struct cuda__plan *own, struct onnx__plan *plan) {
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct onnx__step *step = &plan->steps[s];
        own->calls[s] = (struct cuda__call){.step = step, .number = (unsigned)s + 1};
        own->calls[s].in = arena_alloc(&plan->arena, step->in_count * sizeof(void *));
        own->calls[s].known = arena_alloc(&plan->arena, step->in_count * sizeof(void *));
        own->calls[s].out = arena_alloc(&plan->arena, step->out_count * sizeof(void *));
    }
}

static struct cuda__plan *make_own(const struct cuda__state *state, struct onnx__plan *plan) {
    size_t values = plan->value_count, steps = plan->step_count;
    struct cuda__plan *own = arena_alloc(&plan->arena, sizeof *own);
    own->where = arena_alloc(&plan->arena, steps * sizeof *own->where);
    own->ops = arena_alloc(&plan->arena, steps * sizeof *own->ops);
    own->calls = arena_alloc(&plan->arena, steps * sizeof *own->calls);
    own->step_ms = arena_alloc(&plan->arena, steps * sizeof *own->step_ms);
    own->segments = arena_alloc(&plan->arena, steps * sizeof *own->segments);
    own->device = arena_alloc(&plan->arena, values * sizeof *own->device);
    own->mirror_at = arena_alloc(&plan->arena, values * sizeof *own->mirror_at);
    choose_where(own, plan);
    mirror_all(state, own, plan);
    pack_host_weights(state, own, plan);
    make_calls(own, plan);
    return own;
}

static bool is_plans_own_constant(const struct cuda__state *state, const struct onnx__plan *plan, int number) {
    return number >= 0 && plan->offsets[number] == PLAN_NO_OFFSET && plan->values[number].data &&
           !state->weight_of[number];
}

/* What was folded for these shapes, and kernels read. Run twice: for the size, and to copy. */
static size_t each_own_constant(const struct cuda__state *state, struct cuda__plan *own, const struct onnx__plan *plan,
                                bool copy, cudaError_t *code) {
    size_t at = 0;
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct onnx__node *node = plan->steps[s].node;
        for (size_t i = 0; i < node->input_count && own->where[s] == CUDA__ON_DEVICE; i++) {
            int number = node->inputs[i];
            if (!is_plans_own_constant(state, plan, number)) continue;
            size_t size = plan->values[number].size_bytes;
            if (copy) {
                own->device[number] = own->constants + at;
                if (size && *code == cudaSuccess)
                    *code = cudaMemcpyAsync(own->device[number], plan->values[number].data, size,
                                            cudaMemcpyHostToDevice, state->device.stream);
            }
            at += align_up(size);
        }
    }
    return at;
}

static int place_own_constants(struct cuda__state *state, struct cuda__plan *own, struct onnx__plan *plan,
                               struct err *err) {
    cudaError_t code = cudaSuccess;
    size_t size = each_own_constant(state, own, plan, false, &code);
    if (size == 0) return 0;
    if (!own->constants && cuda__device_alloc((void **)&own->constants, size, "constants of these shapes", err) != 0)
        return -1;
    (void)each_own_constant(state, own, plan, true, &code);
    if (code == cudaSuccess) code = cudaStreamSynchronize(state->device.stream);
    return code == cudaSuccess ? 0 : cuda__fail(code, "copying constants", err);
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

static int ensure_memory(struct cuda__state *state, size_t size_bytes, struct err *err) {
    char *memory;
    if (state->memory && size_bytes <= state->memory_bytes) return 0;
    size_t size = align_up(size_bytes + 1);
    if (cuda__device_alloc((void **)&memory, size, "activations", err) != 0) return -1;
    (void)cudaFree(state->memory);
    state->memory = memory;
    state->memory_bytes = size;
    state->generation++;
    return 0;
}

static int ensure_mirror(struct cuda__state *state, size_t size_bytes, struct err *err) {
    void *mirror;
    if (state->mirror && size_bytes <= state->mirror_bytes) return 0;
    size_t size = align_up(size_bytes + 1);
    if (size > onnx__memory_limit())
        return err_set(err, ERR_OUT_OF_MEMORY, "no memory for %zu bytes of inputs and outputs", size);
    CUDA__TRY(cudaMallocHost(&mirror, size), err);
    memset(mirror, 0, size);
    if (state->mirror) (void)cudaFreeHost(state->mirror);
    state->mirror = mirror;
    state->mirror_bytes = size;
    state->generation++;
    return 0;
}

/* A larger workspace lies elsewhere, and graphs hold the address of the one before: hence the generation. */
static int ensure_workspace(struct cuda__state *state, size_t size_bytes, struct err *err) {
    void *workspace;
    if (size_bytes <= state->device.workspace_bytes) return 0;
    if (cuda__device_alloc(&workspace, size_bytes, "workspace", err) != 0) return -1;
    (void)cudaFree(state->device.workspace);
    state->device.workspace = workspace;
    state->device.workspace_bytes = size_bytes;
    state->generation++;
    return 0;
}

/* --- binding ----------------------------------------------------------------------------------------------------- */

static void bind_values(const struct cuda__state *state, struct cuda__plan *own, struct onnx__plan *plan) {
    for (size_t i = 0; i < plan->value_count; i++) {
        if (plan->offsets[i] != PLAN_NO_OFFSET) {
            own->device[i] = state->memory + plan->offsets[i];
            plan->values[i].data = own->mirror_at[i] == PLAN_NO_OFFSET ? NULL : state->mirror + own->mirror_at[i];
        } else if (state->weight_of[i]) {
            own->device[i] = state->weight_of[i];
        }
    }
    for (size_t s = 0; s < plan->step_count; s++) plan->steps[s].scratch = state->mirror + own->scratch_at;
}

static void bind_call(struct cuda__state *state, struct cuda__plan *own, const struct onnx__plan *plan, size_t s) {
    const struct onnx__node *node = plan->steps[s].node;
    struct cuda__call *call = &own->calls[s];
    call->device = &state->device;
    for (size_t i = 0; i < node->input_count; i++) {
        int number = node->inputs[i];
        call->in[i] = number < 0 ? NULL : own->device[number];
        call->known[i] = number < 0 || plan->offsets[number] != PLAN_NO_OFFSET ? NULL : plan->values[number].data;
    }
    for (size_t i = 0; i < node->output_count; i++)
        call->out[i] = node->outputs[i] < 0 ? NULL : own->device[node->outputs[i]];
}

static void forget_calls(struct cuda__plan *own, const struct onnx__plan *plan) {
    for (size_t s = 0; s < plan->step_count; s++) {
        if (own->where[s] == CUDA__ON_DEVICE && own->ops[s]->forget) own->ops[s]->forget(&own->calls[s]);
        own->calls[s].made = NULL;
    }
}

static int bind_calls(struct cuda__state *state, struct cuda__plan *own, const struct onnx__plan *plan,
                      struct err *err) {
    forget_calls(own, plan);
    for (size_t s = 0; s < plan->step_count; s++) {
        if (own->where[s] != CUDA__ON_DEVICE) continue;
        bind_call(state, own, plan, s);
        own->calls[s].workspace_bytes = 0;
        if (own->ops[s]->prepare && own->ops[s]->prepare(&own->calls[s], err) != 0) return -1;
        if (ensure_workspace(state, own->calls[s].workspace_bytes, err) != 0) return -1;
    }
    return 0;
}

int cuda__place_plan(struct cuda__state *state, struct onnx__plan *plan, struct err *err) {
    if (!plan->backend) plan->backend = make_own(state, plan);
    struct cuda__plan *own = plan->backend;
    if (cuda__place_weights(state, plan->fused, err) != 0 || ensure_memory(state, plan->memory_bytes, err) != 0 ||
        ensure_mirror(state, own->mirror_bytes, err) != 0)
        return -1;
    if (own->generation == state->generation) return 0;
    own->generation = 0;
    cuda__run_forget(own);
    bind_values(state, own, plan);
    if (place_own_constants(state, own, plan, err) != 0 || bind_calls(state, own, plan, err) != 0) return -1;
    own->generation = state->generation;
    return 0;
}

void cuda__place_forget(struct onnx__plan *plan) {
    struct cuda__plan *own = plan->backend;
    if (!own) return;
    cuda__run_forget(own);
    forget_calls(own, plan);
    for (size_t s = 0; s < plan->step_count; s++) free((void *)plan->steps[s].packed);
    (void)cudaFree(own->constants);
    plan->backend = NULL;
}
