/* A plan: for given input shapes, every tensor's shape and place, and the list of kernels to call.
 *
 * Sizes first, one allocation, carve. Shapes are inferred node by node; then each value that is computed gets an offset
 * in one stretch of memory, and gives it back after its last reader, so that the stretch is as large as the widest
 * moment of the network and not as the sum of its layers. A view (Reshape and its kin) shares its input's bytes and
 * extends their life. Graph inputs are placed like computed values, so that gathering a batch into them is the only
 * copy; graph outputs live to the end.
 *
 * Folding: a node whose inputs are all known is computed while planning. What depends on weights alone is folded once,
 * when the model is opened; what also depends on shapes (the arithmetic around Reshape that exporters emit) is folded
 * per plan. A shape that is still unknown then depends on data, and its node is refused.
 *
 * A plan holds offsets, not addresses, until a back end binds it to its memory, which may be a device's.
 */
#include "onnx_internal.h"

#include <stdlib.h>

#define FOLD_MAX_BYTES ((size_t)256 * 1024 * 1024)

/* --- steps ------------------------------------------------------------------------------------------------------- */

static struct tensor **step_tensors(struct arena *arena, struct tensor *values, const int *numbers, size_t count) {
    struct tensor **list = arena_alloc(arena, count * sizeof *list);
    for (size_t i = 0; i < count; i++) list[i] = numbers[i] < 0 ? NULL : &values[numbers[i]];
    return list;
}

static void step_init(struct onnx__step *step, struct arena *arena, struct tensor *values,
                      const struct onnx__node *node, int opset) {
    *step = (struct onnx__step){
        .node = node, .opset = opset, .threads = 1, .in_count = node->input_count, .out_count = node->output_count};
    step->in = step_tensors(arena, values, node->inputs, node->input_count);
    step->out = step_tensors(arena, values, node->outputs, node->output_count);
}

static int check_known(const struct onnx__step *step, struct err *err) {
    const struct onnx__op *op = step->node->op;
    if (step->in_count && step->in[0] && !(op->types & TYPE_BIT(step->in[0]->datatype)))
        return onnx__step_refuse(step, err, "datatype %s is not supported", datatype_name(step->in[0]->datatype));
    for (size_t i = 0; i < step->in_count && i < 8; i++)
        if (step->in[i] && (op->shape_inputs >> i & 1) && !step->in[i]->data)
            return onnx__step_refuse(step, err, "input '%s' decides a shape, but depends on data", step->in[i]->name);
    return 0;
}

static int step_infer(struct onnx__step *step, struct err *err) {
    const struct onnx__fast *fast = step->node->fast;
    if (check_known(step, err) != 0 || (fast ? fast->infer : step->node->op->infer)(step, err) != 0) return -1;
    for (size_t i = 0; i < step->out_count; i++) {
        struct tensor *out = step->out[i];
        if (out && !onnx__shape_fits(out, &out->size_bytes))
            return onnx__step_refuse(step, err, "output '%s' would be negative or over 1 TiB in size", out->name);
    }
    return 0;
}

/* --- folding ----------------------------------------------------------------------------------------------------- */

/* May it be computed now, and is there memory left for it? A model file can ask for any amount by shapes alone. */
static bool step_is_known(const struct onnx__step *step, size_t *budget) {
    if (!(step->node->op->flags & OP_OF_SHAPES))
        for (size_t i = 0; i < step->in_count; i++)
            if (step->in[i] && !step->in[i]->data) return false;
    size_t bytes = step->scratch_bytes;
    for (size_t i = 0; i < step->out_count; i++)
        if (step->out[i] && __builtin_add_overflow(bytes, step->out[i]->size_bytes, &bytes)) return false;
    if (bytes > *budget) return false;
    *budget -= bytes;
    return true;
}

/* Gives the outputs memory of their own and computes them. On failure they are unknown again, and nothing depends on
 * them. */
static int step_fold(struct onnx__step *step, struct arena *arena, struct err *err) {
    const struct onnx__op *op = step->node->op;
    onnx__run_fn *run = step->node->fast ? step->node->fast->run : op->run;
    for (size_t i = 0; i < step->out_count; i++)
        if (step->out[i])
            step->out[i]->data =
                i == 0 && (op->flags & OP_VIEW) ? step->in[0]->data : arena_alloc(arena, step->out[i]->size_bytes);
    if (!run) return 0;
    step->scratch = mem_alloc(step->scratch_bytes);
    int rc = run(step, err);
    free(step->scratch);
    step->scratch = NULL;
    return rc;
}

int onnx__plan_fold_model(struct onnx_model *model, struct err *err) {
    size_t kept = 0, budget = FOLD_MAX_BYTES;
    struct tensor *values = arena_alloc(&model->arena, model->value_count * sizeof *values);
    for (size_t i = 0; i < model->value_count; i++) values[i] = model->values[i].tensor;
    for (size_t n = 0; n < model->node_count; n++) {
        struct onnx__node *node = &model->nodes[n];
        bool known = true;
        for (size_t i = 0; i < node->input_count; i++)
            known = known && (node->inputs[i] < 0 || values[node->inputs[i]].data);
        struct onnx__step step;
        if (known) {
            step_init(&step, &model->arena, values, node, model->opset);
            if (step_infer(&step, err) != 0) return -1;
            known = step_is_known(&step, &budget);
        }
        if (!known) {
            model->nodes[kept++] = *node;
            continue;
        }
        if (step_fold(&step, &model->arena, err) != 0) return -1;
        for (size_t i = 0; i < node->output_count; i++) {
            if (node->outputs[i] < 0) continue;
            struct onnx__value *value = &model->values[node->outputs[i]];
            value->tensor = values[node->outputs[i]];
            value->tensor.name = value->name;
            value->constant = true;
            model->weight_bytes += value->tensor.size_bytes;
        }
    }
    model->node_count = kept;
    return 0;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static struct tensor known_copy(const struct tensor *given, struct arena *arena) {
    struct tensor copy = *given;
    copy.data = arena_alloc(arena, given->size_bytes);
    if (given->size_bytes) memcpy(copy.data, given->data, given->size_bytes);
    return copy;
}

static int init_values(struct onnx__plan *plan, const struct onnx_model *model, const struct tensor *inputs,
                       struct err *err) {
    plan->values = arena_alloc(&plan->arena, plan->value_count * sizeof *plan->values);
    plan->offsets = arena_alloc(&plan->arena, plan->value_count * sizeof *plan->offsets);
    for (size_t i = 0; i < plan->value_count; i++) {
        plan->values[i] = model->values[i].tensor;
        plan->values[i].name = model->values[i].name;
        plan->offsets[i] = PLAN_NO_OFFSET;
    }
    for (size_t i = 0; i < model->input_count; i++) {
        int number = model->input_values[i];
        struct tensor *value = &plan->values[number];
        onnx__shape_like(value, &inputs[i]);
        if (!onnx__shape_fits(value, &value->size_bytes))
            return err_set(err, ERR_INVALID_INPUT, "input '%s': its shape is negative or too large", value->name);
        if (!model->values[number].decides_shape) continue;
        if (!inputs[i].data || inputs[i].size_bytes != value->size_bytes)
            return err_set(err, ERR_INVALID_INPUT, "input '%s' decides a shape: its data are needed", value->name);
        const char *name = value->name;
        *value = known_copy(&inputs[i], &plan->arena);
        value->name = name;
    }
    return 0;
}

static int infer_all(struct onnx__plan *plan, const struct onnx_model *model, int threads, struct err *err) {
    const struct onnx__node *nodes = plan->fused ? model->fused_nodes : model->nodes;
    size_t count = plan->fused ? model->fused_count : model->node_count, budget = FOLD_MAX_BYTES;
    plan->steps = arena_alloc(&plan->arena, count * sizeof *plan->steps);
    for (size_t n = 0; n < count; n++) {
        struct onnx__step *step = &plan->steps[plan->step_count];
        step_init(step, &plan->arena, plan->values, &nodes[n], model->opset);
        step->threads = threads;
        if (step_infer(step, err) != 0) return -1;
        if (!step_is_known(step, &budget)) {
            plan->step_count++;
        } else if (step_fold(step, &plan->arena, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* --- places ------------------------------------------------------------------------------------------------------ */

struct placing {
    struct onnx__plan *plan;
    const struct onnx_model *model;
    size_t *last; /* by root: the last step that reads it or a view of it; SIZE_MAX: to the end */
    struct onnx__layout layout;
};

static void find_roots(struct placing *pl) {
    const struct onnx__plan *plan = pl->plan;
    int *roots = plan->roots;
    for (size_t i = 0; i < plan->value_count; i++) roots[i] = (int)i;
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct onnx__node *node = plan->steps[s].node;
        if (node->op->flags & OP_VIEW) roots[node->outputs[0]] = roots[node->inputs[0]];
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] >= 0) pl->last[roots[node->inputs[i]]] = s;
        for (size_t i = 0; i < node->output_count; i++)
            if (node->outputs[i] >= 0 && pl->last[roots[node->outputs[i]]] < s) pl->last[roots[node->outputs[i]]] = s;
    }
    for (size_t i = 0; i < pl->model->output_count; i++) pl->last[roots[pl->model->output_values[i]]] = SIZE_MAX;
}

static void place_value(struct placing *pl, int number) {
    struct onnx__plan *plan = pl->plan;
    if (number < 0 || plan->values[number].data || plan->roots[number] != number) return;
    plan->offsets[number] = onnx__layout_place(&pl->layout, plan->values[number].size_bytes);
}

static void release_read(struct placing *pl, const int *numbers, size_t count, size_t s) {
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] < 0) continue;
        int root = pl->plan->roots[numbers[i]];
        if (pl->last[root] != s || pl->plan->offsets[root] == PLAN_NO_OFFSET) continue;
        onnx__layout_release(&pl->layout, pl->plan->offsets[root]);
        pl->last[root] = SIZE_MAX - 1; /* released: a node may read one value twice */
    }
}

static void place_all(struct placing *pl) {
    struct onnx__plan *plan = pl->plan;
    const struct onnx_model *model = pl->model;
    for (size_t i = 0; i < model->input_count; i++) place_value(pl, model->input_values[i]);
    for (size_t s = 0; s < plan->step_count; s++) {
        struct onnx__step *step = &plan->steps[s];
        const struct onnx__node *node = step->node;
        for (size_t i = 0; i < node->output_count; i++) place_value(pl, node->outputs[i]);
        if (step->scratch_bytes) {
            step->scratch_at = onnx__layout_place(&pl->layout, step->scratch_bytes);
            onnx__layout_release(&pl->layout, step->scratch_at);
        }
        release_read(pl, node->inputs, node->input_count, s);
        release_read(pl, node->outputs, node->output_count, s);
    }
    for (size_t i = 0; i < plan->value_count; i++) /* views, now that their roots have a place */
        if (plan->roots[i] != (int)i) {
            plan->offsets[i] = plan->offsets[plan->roots[i]];
            if (plan->offsets[i] == PLAN_NO_OFFSET) plan->values[i].data = plan->values[plan->roots[i]].data;
        }
    plan->memory_bytes = pl->layout.high_water;
}

/* --- the plan ---------------------------------------------------------------------------------------------------- */

int onnx__plan_new(const struct onnx_model *model, bool fused, int threads, const struct tensor *inputs,
                   struct onnx__plan **ret, struct err *err) {
    struct onnx__plan *plan = mem_calloc(1, sizeof *plan);
    arena_init(&plan->arena);
    plan->fused = fused;
    plan->value_count = fused ? model->fused_value_count : model->value_count;
    if (init_values(plan, model, inputs, err) != 0 || infer_all(plan, model, threads, err) != 0) {
        onnx__plan_free(plan);
        return -1;
    }
    struct placing pl = {.plan = plan, .model = model};
    plan->roots = arena_alloc(&plan->arena, plan->value_count * sizeof *plan->roots);
    pl.last = arena_alloc(&plan->arena, plan->value_count * sizeof *pl.last);
    find_roots(&pl);
    place_all(&pl);
    onnx__layout_done(&pl.layout);
    *ret = plan;
    return 0;
}

void onnx__plan_free(struct onnx__plan *plan) {
    if (!plan) return;
    arena_done(&plan->arena);
    free(plan);
}
