/* The fused graph: what the file says in fewer steps, made once when a model is opened.
 *
 * Exporters spell things out. A normalisation of a layer is nine nodes, a GELU five, attention some ten, a bias an Add
 * of its own; each step writes to memory what the next one reads back. Here such patterns become one node each:
 *
 *   ReduceMean, Sub, Pow ... Add                  LayerNormalization
 *   Div, Erf, Add, Mul, Mul                       Gelu
 *   Conv, BatchNormalization                      Conv with other weights
 *   Transpose x 3, MatMul, Div, Add, Softmax,
 *   MatMul, Transpose                             Attention (cpu/attention.c)
 *   Conv, MatMul or Gemm, Add, Add, Relu ...      the first, with the others as its tail
 *
 * The nodes of the file stay as they are beside it, for whoever wants every node by itself, and for shapes that a fused
 * step refuses. A pattern is taken only if nobody else reads what happens inside it, so the outputs of the graph and of
 * every node that is left are the same numbers but for rounding. A step is still one node to whoever stops or watches a
 * run.
 *
 * How: each kind is a pass over the nodes in order. A pattern is recognised from its last node, whose place the new
 * node takes (all that it reads has been computed by then); the others are marked dead. The tables of who reads what
 * are made anew for each pass; within one they can only say too much about readers, so nothing is taken that should not
 * be. All of it is linear in the number of nodes. What breaks if this is changed: values that are added here are known
 * to the fused graph alone (fused_value_count).
 */
#include "onnx_internal.h"

#include <math.h>
#include <stdlib.h>

#define PATTERN_MAX 16
#define LEAST_OPSET 7 /* before, operands were stretched by other rules */

struct fuse {
    struct onnx_model *model;
    struct onnx__node *nodes;
    size_t count;
    bool *dead;
    int *producer; /* by value: the node; -1: none */
    int *reader;   /* by value: a node that reads it; -1: none */
    int *reads;    /* by value: how many do; the graph's outputs count, too */
    size_t cap;    /* of those tables */
};

/* A pattern in the making. */
struct pattern {
    int nodes[PATTERN_MAX];
    int count;
};

/* --- looking around ------------------------------------------------------------------------------------------------
 */

static void look(struct fuse *fuse) {
    struct onnx_model *model = fuse->model;
    for (size_t i = 0; i < fuse->cap; i++) fuse->producer[i] = fuse->reader[i] = -1;
    memset(fuse->reads, 0, fuse->cap * sizeof *fuse->reads);
    for (size_t n = 0; n < fuse->count; n++) {
        const struct onnx__node *node = &fuse->nodes[n];
        if (fuse->dead[n]) continue;
        for (size_t i = 0; i < node->output_count; i++)
            if (node->outputs[i] >= 0) fuse->producer[node->outputs[i]] = (int)n;
        for (size_t i = 0; i < node->input_count; i++) {
            if (node->inputs[i] < 0) continue;
            fuse->reader[node->inputs[i]] = (int)n;
            fuse->reads[node->inputs[i]]++;
        }
    }
    for (size_t i = 0; i < model->output_count; i++) fuse->reads[model->output_values[i]]++;
}

static struct onnx__node *node_at(const struct fuse *fuse, int n, const char *op_type) {
    struct onnx__node *node = n < 0 || fuse->dead[n] ? NULL : &fuse->nodes[n];
    return node && !node->tail && strcmp(node->op_type, op_type) == 0 ? node : NULL;
}

/* The node that makes `value`, if it is of that type; it becomes part of the pattern. */
static struct onnx__node *made_by(const struct fuse *fuse, int value, const char *op_type, struct pattern *pattern) {
    int n = value < 0 ? -1 : fuse->producer[value];
    struct onnx__node *node = node_at(fuse, n, op_type);
    if (!node || pattern->count == PATTERN_MAX) return NULL;
    for (int i = 0; i < pattern->count; i++)
        if (pattern->nodes[i] == n) return node;
    pattern->nodes[pattern->count++] = n;
    return node;
}

/* The only node that reads `value`, if it is of that type. */
static struct onnx__node *read_by(const struct fuse *fuse, int value, const char *op_type) {
    return fuse->reads[value] == 1 ? node_at(fuse, fuse->reader[value], op_type) : NULL;
}

static int number_of(const struct fuse *fuse, const struct onnx__node *node) { return (int)(node - fuse->nodes); }

static const struct tensor *constant(const struct fuse *fuse, int value) {
    const struct onnx__value *it = value < 0 ? NULL : &fuse->model->values[value];
    return it && it->constant && it->tensor.data && it->tensor.datatype == DATATYPE_FP32 ? &it->tensor : NULL;
}

static bool scalar(const struct fuse *fuse, int value, float *ret) {
    const struct tensor *tensor = constant(fuse, value);
    if (!tensor || onnx__count(tensor) != 1) return false;
    *ret = *(const float *)tensor->data;
    return true;
}

static bool is_scalar(const struct fuse *fuse, int value, double want) {
    float found;
    return scalar(fuse, value, &found) && fabs((double)found - want) <= 1e-6 * fabs(want);
}

/* A list of one number per column: a bias, a scale. */
static const struct tensor *row(const struct fuse *fuse, int value) {
    const struct tensor *tensor = constant(fuse, value);
    return tensor && tensor->rank == 1 ? tensor : NULL;
}

static int other_input(const struct onnx__node *node, int value) {
    return node->inputs[0] == value ? node->inputs[1] : node->inputs[0];
}

static const struct onnx__attr *attr_of(const struct onnx__node *node, const char *name, enum onnx__attr_kind kind) {
    const struct onnx__step step = {.node = node};
    return onnx__step_attr(&step, name, kind);
}

/* Does everybody who reads what the pattern makes, but for its last node (the first listed), belong to it? */
static bool is_closed(const struct fuse *fuse, const struct pattern *pattern) {
    for (int p = 1; p < pattern->count; p++) {
        const struct onnx__node *node = &fuse->nodes[pattern->nodes[p]];
        for (size_t o = 0; o < node->output_count; o++) {
            int inside = 0;
            for (int q = 0; q < pattern->count && node->outputs[o] >= 0; q++) {
                const struct onnx__node *reader = &fuse->nodes[pattern->nodes[q]];
                for (size_t i = 0; i < reader->input_count; i++) inside += reader->inputs[i] == node->outputs[o];
            }
            if (node->outputs[o] >= 0 && inside != fuse->reads[node->outputs[o]]) return false;
        }
    }
    return true;
}

/* --- writing -------------------------------------------------------------------------------------------------------
 */

static int *list_of(struct fuse *fuse, size_t count, const int *values) {
    int *list = arena_alloc(&fuse->model->arena, count * sizeof *list);
    memcpy(list, values, count * sizeof *list);
    return list;
}

/* The pattern's last node becomes another one, with at most one attribute; the others are dead. */
static void replace(struct fuse *fuse, const struct pattern *pattern, const struct onnx__op *op, size_t count,
                    const int *inputs, const struct onnx__attr *attrs, size_t attr_count) {
    struct onnx__node *node = &fuse->nodes[pattern->nodes[0]];
    struct onnx__attr *kept = arena_alloc(&fuse->model->arena, attr_count * sizeof *kept);
    if (attr_count) memcpy(kept, attrs, attr_count * sizeof *kept);
    for (int i = 1; i < pattern->count; i++) fuse->dead[pattern->nodes[i]] = true;
    node->op_type = op->op_type;
    node->op = op;
    node->inputs = list_of(fuse, count, inputs);
    node->input_count = count;
    node->attrs = kept;
    node->attr_count = attr_count;
}

/* A weight of the fused graph alone. */
static int add_weight(struct fuse *fuse, const char *name, int rank, const int64_t *shape, float **ret_data) {
    struct onnx_model *model = fuse->model;
    if (model->fused_value_count == model->value_cap) {
        model->value_cap = model->value_cap * 2 + 16;
        model->values = mem_realloc(model->values, model->value_cap * sizeof *model->values);
    }
    struct onnx__value *value = &model->values[model->fused_value_count];
    *value = (struct onnx__value){.name = name, .producer = -1, .constant = true};
    value->tensor.name = name;
    onnx__shape_set(&value->tensor, DATATYPE_FP32, rank, shape);
    value->tensor.size_bytes = (size_t)onnx__count(&value->tensor) * sizeof(float);
    value->tensor.data = *ret_data = arena_alloc(&model->arena, value->tensor.size_bytes);
    model->weight_bytes += value->tensor.size_bytes;
    return (int)model->fused_value_count++;
}

/* --- LayerNormalization --------------------------------------------------------------------------------------------
 */

/* The mean over the last dimension alone, which stays as 1. Axes counted from the front could be another one. */
static const struct onnx__node *mean_of(const struct fuse *fuse, int value, struct pattern *pattern) {
    const struct onnx__node *node = made_by(fuse, value, "ReduceMean", pattern);
    if (!node) return NULL;
    const struct onnx__attr *axes = attr_of(node, "axes", ATTR_INTS), *keep = attr_of(node, "keepdims", ATTR_INT);
    const struct tensor *input =
        node->input_count > 1 && node->inputs[1] >= 0 ? &fuse->model->values[node->inputs[1]].tensor : NULL;
    bool last = axes && axes->count == 1 && axes->ints[0] == -1;
    if (!axes && input && input->data && input->datatype == DATATYPE_INT64 && onnx__count(input) == 1)
        last = *(const int64_t *)input->data == -1;
    return last && (!keep || keep->integer == 1) ? node : NULL;
}

/* x - mean(x): returns x, or -1. */
static int centred(const struct fuse *fuse, int value, struct pattern *pattern) {
    const struct onnx__node *sub = made_by(fuse, value, "Sub", pattern);
    const struct onnx__node *mean = sub ? mean_of(fuse, sub->inputs[1], pattern) : NULL;
    return mean && mean->inputs[0] == sub->inputs[0] ? sub->inputs[0] : -1;
}

/* mean((x - mean(x))^2): returns x, or -1. */
static int variance_of(const struct fuse *fuse, int value, struct pattern *pattern) {
    const struct onnx__node *mean = mean_of(fuse, value, pattern), *square;
    if (!mean) return -1;
    if ((square = made_by(fuse, mean->inputs[0], "Pow", pattern)))
        return is_scalar(fuse, square->inputs[1], 2) ? centred(fuse, square->inputs[0], pattern) : -1;
    square = made_by(fuse, mean->inputs[0], "Mul", pattern);
    return square && square->inputs[0] == square->inputs[1] ? centred(fuse, square->inputs[0], pattern) : -1;
}

/* (x - mean) / sqrt(variance + epsilon): returns x, or -1. */
static int normalised(const struct fuse *fuse, int value, struct pattern *pattern, float *ret_epsilon) {
    const struct onnx__node *div = made_by(fuse, value, "Div", pattern);
    const struct onnx__node *root = div ? made_by(fuse, div->inputs[1], "Sqrt", pattern) : NULL;
    const struct onnx__node *add = root ? made_by(fuse, root->inputs[0], "Add", pattern) : NULL;
    if (!add) return -1;
    int epsilon = scalar(fuse, add->inputs[1], ret_epsilon) ? 1 : 0;
    if (!scalar(fuse, add->inputs[epsilon], ret_epsilon)) return -1;
    int x = centred(fuse, div->inputs[0], pattern);
    return x >= 0 && variance_of(fuse, add->inputs[!epsilon], pattern) == x ? x : -1;
}

static void fuse_layer_norm(struct fuse *fuse, int n) {
    struct pattern pattern = {{n}, 1};
    const struct onnx__node *add = node_at(fuse, n, "Add");
    for (int side = 0; add && side < 2; side++) {
        const struct tensor *bias = row(fuse, add->inputs[side]);
        const struct onnx__node *mul = bias ? made_by(fuse, add->inputs[!side], "Mul", &pattern) : NULL;
        for (int scale_side = 0; mul && scale_side < 2; scale_side++) {
            const struct tensor *scale = row(fuse, mul->inputs[scale_side]);
            float epsilon;
            if (!scale || scale->shape[0] != bias->shape[0]) continue;
            int x = normalised(fuse, mul->inputs[!scale_side], &pattern, &epsilon);
            if (x < 0 || !is_closed(fuse, &pattern)) return;
            const struct onnx__attr attrs[] = {{.name = "epsilon", .kind = ATTR_FLOAT, .number = epsilon}};
            replace(fuse, &pattern, onnx__op_find("LayerNormalization"), 3,
                    (int[]){x, mul->inputs[scale_side], add->inputs[side]}, attrs, 1);
            return;
        }
    }
}

/* --- Gelu ----------------------------------------------------------------------------------------------------------
 */

/* 1 + erf(x / sqrt 2): returns x, or -1. */
static int gelu_factor(const struct fuse *fuse, int value, struct pattern *pattern) {
    const struct onnx__node *add = made_by(fuse, value, "Add", pattern), *by;
    if (!add) return -1;
    int one = is_scalar(fuse, add->inputs[0], 1) ? 0 : 1;
    const struct onnx__node *erf = made_by(fuse, add->inputs[!one], "Erf", pattern);
    if (!erf || !is_scalar(fuse, add->inputs[one], 1)) return -1;
    if ((by = made_by(fuse, erf->inputs[0], "Div", pattern)))
        return is_scalar(fuse, by->inputs[1], M_SQRT2) ? by->inputs[0] : -1;
    by = made_by(fuse, erf->inputs[0], "Mul", pattern);
    if (!by) return -1;
    if (is_scalar(fuse, by->inputs[1], M_SQRT1_2)) return by->inputs[0];
    return is_scalar(fuse, by->inputs[0], M_SQRT1_2) ? by->inputs[1] : -1;
}

/* Is `value` 0.5 times x, with or without what is in `pattern` already? */
static bool is_half_of(const struct fuse *fuse, int value, int x, struct pattern *pattern) {
    const struct onnx__node *mul = made_by(fuse, value, "Mul", pattern);
    return mul && (mul->inputs[0] == x || mul->inputs[1] == x) && is_scalar(fuse, other_input(mul, x), 0.5);
}

/* Three products of x, the factor and 0.5, in the two orders that exporters write: (x * factor) * 0.5 and
 * (0.5 * x) * factor. */
static void fuse_gelu(struct fuse *fuse, int n) {
    const struct onnx__node *mul = node_at(fuse, n, "Mul");
    for (int side = 0; mul && side < 2; side++) {
        struct pattern pattern = {{n}, 1};
        int x = -1;
        if (is_scalar(fuse, mul->inputs[side], 0.5)) {
            const struct onnx__node *inner = made_by(fuse, mul->inputs[!side], "Mul", &pattern);
            for (int at = 0; inner && at < 2 && x < 0; at++) {
                struct pattern attempt = pattern;
                x = gelu_factor(fuse, inner->inputs[at], &attempt);
                if (x >= 0 && inner->inputs[!at] != x) x = -1;
                if (x >= 0) pattern = attempt;
            }
        } else {
            x = gelu_factor(fuse, mul->inputs[side], &pattern);
            if (x >= 0 && !is_half_of(fuse, mul->inputs[!side], x, &pattern)) x = -1;
        }
        if (x < 0 || !is_closed(fuse, &pattern)) continue;
        replace(fuse, &pattern, onnx__op_find("Gelu"), 1, &x, NULL, 0);
        return;
    }
}

/* --- Attention -----------------------------------------------------------------------------------------------------
 */

static const struct onnx__op attention = {
    .op_type = "Attention", .min_in = 3, .max_in = 4, .max_out = 1, .types = TYPES_FLOAT};

static bool has_perm(const struct onnx__node *node, const int64_t want[4]) {
    const struct onnx__attr *perm = node ? attr_of(node, "perm", ATTR_INTS) : NULL;
    return perm && perm->count == 4 && memcmp(perm->ints, want, 4 * sizeof *want) == 0;
}

static const int64_t heads_forward[4] = {0, 2, 1, 3}, keys_across[4] = {0, 2, 3, 1}, last_two[4] = {0, 1, 3, 2};

/* [batch, heads, sequence, size] made of [batch, sequence, heads, size]: returns that, or -1. */
static int heads_of(const struct fuse *fuse, int value, struct pattern *pattern) {
    const struct onnx__node *node = made_by(fuse, value, "Transpose", pattern);
    return has_perm(node, heads_forward) ? node->inputs[0] : -1;
}

/* The keys are turned once more, at once or in a second step. */
static int keys_of(const struct fuse *fuse, int value, struct pattern *pattern) {
    const struct onnx__node *node = made_by(fuse, value, "Transpose", pattern);
    if (has_perm(node, keys_across)) return node->inputs[0];
    return has_perm(node, last_two) ? heads_of(fuse, node->inputs[0], pattern) : -1;
}

/* Scores before the softmax: `*ret_mask` is added and `*ret_scale` multiplied, each if it is there. Returns the product
 * of queries and keys, or NULL. */
static const struct onnx__node *scores_of(const struct fuse *fuse, int value, struct pattern *pattern, int *ret_mask,
                                          float *ret_scale) {
    const struct onnx__node *node = made_by(fuse, value, "Add", pattern);
    *ret_mask = -1;
    *ret_scale = 1;
    if (node) { /* the mask is the side that is no product */
        int side = fuse->producer[node->inputs[0]] >= 0 && (node_at(fuse, fuse->producer[node->inputs[0]], "Div") ||
                                                            node_at(fuse, fuse->producer[node->inputs[0]], "Mul") ||
                                                            node_at(fuse, fuse->producer[node->inputs[0]], "MatMul"))
                       ? 0
                       : 1;
        value = node->inputs[side];
        *ret_mask = node->inputs[!side];
    }
    if ((node = made_by(fuse, value, "Div", pattern))) {
        if (!scalar(fuse, node->inputs[1], ret_scale)) return NULL;
        *ret_scale = 1 / *ret_scale;
        value = node->inputs[0];
    } else if ((node = made_by(fuse, value, "Mul", pattern))) {
        int side = scalar(fuse, node->inputs[1], ret_scale) ? 0 : 1;
        if (!scalar(fuse, node->inputs[!side], ret_scale)) return NULL;
        value = node->inputs[side];
    }
    return made_by(fuse, value, "MatMul", pattern);
}

static void fuse_attention(struct fuse *fuse, int n) {
    struct pattern pattern = {{n}, 1};
    int mask;
    float scale;
    if (!has_perm(node_at(fuse, n, "Transpose"), heads_forward)) return;
    const struct onnx__node *mix = made_by(fuse, fuse->nodes[n].inputs[0], "MatMul", &pattern);
    const struct onnx__node *soft = mix ? made_by(fuse, mix->inputs[0], "Softmax", &pattern) : NULL;
    const struct onnx__attr *axis = soft ? attr_of(soft, "axis", ATTR_INT) : NULL;
    if (!soft || (axis ? axis->integer != -1 && axis->integer != 3 : fuse->model->opset < 13)) return;
    const struct onnx__node *scores = scores_of(fuse, soft->inputs[0], &pattern, &mask, &scale);
    if (!scores) return;
    int q = heads_of(fuse, scores->inputs[0], &pattern), k = keys_of(fuse, scores->inputs[1], &pattern);
    int v = heads_of(fuse, mix->inputs[1], &pattern);
    if (q < 0 || k < 0 || v < 0 || !is_closed(fuse, &pattern)) return;
    const struct onnx__attr attrs[] = {{.name = "scale", .kind = ATTR_FLOAT, .number = scale}};
    replace(fuse, &pattern, &attention, mask < 0 ? 3 : 4, (int[]){q, k, v, mask}, attrs, 1);
}

/* --- BatchNormalization into Conv ----------------------------------------------------------------------------------
 */

/* Everything about the channels is constant, so it can be multiplied into the weights: w * f and (b - mean) * f + bias
 * with f = scale / sqrt(variance + epsilon). Forms that the operator itself refuses are left for it to refuse. */
static void fuse_batch_norm(struct fuse *fuse, int n) {
    const struct onnx__node *norm = node_at(fuse, n, "BatchNormalization");
    struct pattern pattern = {{n}, 1};
    struct onnx__node *conv = norm ? made_by(fuse, norm->inputs[0], "Conv", &pattern) : NULL;
    const struct tensor *w = conv ? constant(fuse, conv->inputs[1]) : NULL, *parts[4];
    int bias_value = conv && conv->input_count > 2 ? conv->inputs[2] : -1;
    const struct tensor *b = bias_value < 0 ? NULL : row(fuse, bias_value);
    if (!w || w->rank < 3 || norm->output_count != 1 || (bias_value >= 0 && !b) || !is_closed(fuse, &pattern)) return;
    for (int i = 0; i < 4; i++) {
        parts[i] = row(fuse, norm->inputs[i + 1]);
        if (!parts[i] || parts[i]->shape[0] != w->shape[0]) return;
    }
    const struct onnx__step step = {.node = norm, .opset = fuse->model->opset};
    if (onnx__step_int(&step, "training_mode", 0) != 0 || onnx__step_int(&step, "spatial", 1) != 1 ||
        (b && b->shape[0] != w->shape[0]))
        return;
    const struct tensor weights =
        *w; /* copied, as the data's places are: the table of values moves when one is added */
    const float *scale = parts[0]->data, *offset = parts[1]->data, *mean = parts[2]->data, *variance = parts[3]->data;
    const float *old_bias = b ? b->data : NULL;
    float epsilon = onnx__step_float(&step, "epsilon", 1e-5f), *new_w, *new_b;
    int64_t channels = weights.shape[0], each = onnx__shape_product(&weights, 1, weights.rank);
    int inputs[3] = {conv->inputs[0], add_weight(fuse, "folded weights", weights.rank, weights.shape, &new_w),
                     add_weight(fuse, "folded bias", 1, &channels, &new_b)};
    for (int64_t c = 0; c < channels; c++) {
        float factor = scale[c] / sqrtf(variance[c] + epsilon);
        for (int64_t i = 0; i < each; i++) new_w[c * each + i] = ((const float *)weights.data)[c * each + i] * factor;
        new_b[c] = ((old_bias ? old_bias[c] : 0) - mean[c]) * factor + offset[c];
    }
    replace(fuse, &pattern, conv->op, 3, inputs, conv->attrs, conv->attr_count);
}

/* --- tails ---------------------------------------------------------------------------------------------------------
 */

static bool clip_tail(const struct fuse *fuse, const struct onnx__node *node, struct onnx__tail *tail) {
    tail->alpha = -INFINITY;
    tail->beta = INFINITY;
    if (fuse->model->opset < 11) {
        const struct onnx__attr *low = attr_of(node, "min", ATTR_FLOAT), *high = attr_of(node, "max", ATTR_FLOAT);
        if (low) tail->alpha = low->number;
        if (high) tail->beta = high->number;
        return true;
    }
    if (node->input_count > 1 && node->inputs[1] >= 0 && !scalar(fuse, node->inputs[1], &tail->alpha)) return false;
    return node->input_count < 3 || node->inputs[2] < 0 || scalar(fuse, node->inputs[2], &tail->beta);
}

/* Is the node a function that a tail can be? */
static bool function_tail(const struct fuse *fuse, const struct onnx__node *node, struct onnx__tail *tail) {
    static const struct {
        const char *op_type;
        enum onnx__function function;
        float alpha, beta; /* the attributes' defaults */
    } functions[] = {
        {"Relu", FUNCTION_RELU, 0, 0},
        {"Clip", FUNCTION_CLIP, 0, 0},
        {"Sigmoid", FUNCTION_SIGMOID, 0, 0},
        {"Tanh", FUNCTION_TANH, 0, 0},
        {"Gelu", FUNCTION_GELU, 0, 0},
        {"LeakyRelu", FUNCTION_LEAKY_RELU, 0.01f, 0},
        {"HardSwish", FUNCTION_HARD_SWISH, 0, 0},
        {"HardSigmoid", FUNCTION_HARD_SIGMOID, 0.2f, 0.5f},
    };
    const struct onnx__step step = {.node = node};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (strcmp(node->op_type, functions[i].op_type) != 0) continue;
        *tail = (struct onnx__tail){.function = functions[i].function};
        if (tail->function == FUNCTION_CLIP) return clip_tail(fuse, node, tail);
        if (strcmp(onnx__step_string(&step, "approximate", "none"), "tanh") == 0) tail->function = FUNCTION_GELU_TANH;
        tail->alpha = onnx__step_float(&step, "alpha", functions[i].alpha);
        tail->beta = onnx__step_float(&step, "beta", functions[i].beta);
        return true;
    }
    return false;
}

/* Adds what a sole reader adds, as bias or as rest, whichever it is and is free. */
static bool take_add(const struct fuse *fuse, const struct onnx__node *add, int value, int columns, int inputs[4]) {
    int added = other_input(add, value);
    const struct tensor *list = row(fuse, added);
    if (add->inputs[0] == add->inputs[1]) return false;
    if (list && columns > 0 && list->shape[0] == columns && inputs[TAIL_BIAS] < 0 && inputs[TAIL_REST] < 0) {
        inputs[TAIL_BIAS] = added;
        return true;
    }
    if (inputs[TAIL_REST] >= 0) return false;
    inputs[TAIL_REST] = added;
    return true;
}

/* Number of columns that a bias may be added to; 0: the operator has its own bias; -1: no tail for this one. */
static int tail_columns(const struct fuse *fuse, const struct onnx__node *node) {
    const struct tensor *w = constant(fuse, node->inputs[1]);
    if (strcmp(node->op_type, "Conv") == 0) return 0;
    if (!w || w->rank < 2) return -1; /* FP32 for sure, and of known width */
    if (strcmp(node->op_type, "Gemm") == 0) return 0;
    return w->rank == 2 && w->shape[1] <= INT32_MAX ? (int)w->shape[1] : -1;
}

static void fuse_tail(struct fuse *fuse, int n) {
    struct onnx__node *node = &fuse->nodes[n];
    const struct onnx__fast *fast = fuse->dead[n] || node->tail ? NULL : onnx__fast_find(node->op_type);
    int inputs[4] = {-1, -1, -1, -1}, value = node->outputs[0], last = n;
    struct onnx__tail tail = {.function = FUNCTION_NONE};
    if (!fast || !fast->takes_tail || value < 0) return;
    int columns = tail_columns(fuse, node);
    if (columns < 0) return;
    memcpy(inputs, node->inputs, (node->input_count < 3 ? node->input_count : 3) * sizeof *inputs);
    for (const struct onnx__node *add; (add = read_by(fuse, value, "Add"));) {
        int from = number_of(fuse, add);
        if (!take_add(fuse, add, value, columns, inputs)) break;
        fuse->dead[last] = true;
        last = from;
        value = add->outputs[0];
    }
    int reader = fuse->reads[value] == 1 ? fuse->reader[value] : -1;
    if (reader >= 0 && !fuse->dead[reader] && fuse->nodes[reader].inputs[0] == value &&
        function_tail(fuse, &fuse->nodes[reader], &tail)) {
        fuse->dead[last] = true;
        last = reader;
    }
    if (last == n) return;
    struct onnx__tail *kept = arena_alloc(&fuse->model->arena, sizeof *kept);
    struct onnx__node fused = *node;
    *kept = tail;
    fused.tail = kept;
    fused.outputs = fuse->nodes[last].outputs;
    fused.output_count = 1;
    fused.inputs = list_of(fuse, 4, inputs);
    fused.input_count = 4;
    fuse->nodes[last] = fused;
    fuse->dead[last] = false;
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

static void pass(struct fuse *fuse, void (*fuse_one)(struct fuse *fuse, int n)) {
    look(fuse);
    for (size_t n = 0; n < fuse->count; n++) fuse_one(fuse, (int)n);
}

void onnx__fuse_model(struct onnx_model *model) {
    struct fuse fuse = {.model = model, .count = model->node_count};
    fuse.cap = model->value_count + 2 * model->node_count; /* a weight and a bias for each BatchNormalization at most */
    fuse.nodes = arena_alloc(&model->arena, fuse.count * sizeof *fuse.nodes);
    if (fuse.count) memcpy(fuse.nodes, model->nodes, fuse.count * sizeof *fuse.nodes);
    fuse.dead = mem_calloc(fuse.count, sizeof *fuse.dead);
    fuse.producer = mem_calloc(fuse.cap, sizeof *fuse.producer);
    fuse.reader = mem_calloc(fuse.cap, sizeof *fuse.reader);
    fuse.reads = mem_calloc(fuse.cap, sizeof *fuse.reads);
    model->fused_value_count = model->value_count;
    if (model->opset >= LEAST_OPSET) {
        pass(&fuse, fuse_layer_norm);
        pass(&fuse, fuse_gelu);
        pass(&fuse, fuse_attention);
        pass(&fuse, fuse_batch_norm);
        pass(&fuse, fuse_tail);
    }
    model->fused_nodes = fuse.nodes;
    for (size_t n = 0; n < fuse.count; n++) {
        if (fuse.dead[n]) continue;
        fuse.nodes[model->fused_count] = fuse.nodes[n];
        fuse.nodes[model->fused_count].fast = onnx__fast_find(fuse.nodes[n].op_type);
        model->fused_count++;
    }
    free(fuse.dead);
    free(fuse.producer);
    free(fuse.reader);
    free(fuse.reads);
}
