/* The table of operators that the CPU has a fast form of, and the small ones among them. Each is for FP32; what is of
 * another datatype or form goes to the reference. See struct onnx__fast.
 */
#include "cpu_internal.h"
#include "vec.h"

#define STRETCH 16384 /* numbers of an element-wise task */

/* --- functions of a number -----------------------------------------------------------------------------------------
 */

struct mapping {
    enum onnx__function function;
    const float *x;
    float *y;
    int64_t count;
};

static void map_stretch(void *ctx, int64_t task, int worker) {
    const struct mapping *mapping = ctx;
    int64_t first = task * STRETCH, left = mapping->count - first;
    onnx__vec()->map(mapping->function, 0, 0, left < STRETCH ? left : STRETCH, mapping->x + first, mapping->y + first);
}

static int run_function(const struct onnx__step *step, enum onnx__function function, onnx__run_fn *reference,
                        struct err *err) {
    if (step->in[0]->datatype != DATATYPE_FP32) return reference(step, err);
    struct mapping mapping = {function, onnx__floats(step, 0), onnx__out_floats(step), onnx__count(step->in[0])};
    onnx__team_run(step->team, (mapping.count + STRETCH - 1) / STRETCH, map_stretch, &mapping);
    return 0;
}

OP_RUN(fast_exp) { return run_function(step, FUNCTION_EXP, onnx__exp_run, err); }
OP_RUN(fast_sigmoid) { return run_function(step, FUNCTION_SIGMOID, onnx__sigmoid_run, err); }
OP_RUN(fast_tanh) { return run_function(step, FUNCTION_TANH, onnx__tanh_run, err); }
OP_RUN(fast_erf) { return run_function(step, FUNCTION_ERF, onnx__erf_run, err); }
OP_RUN(fast_relu) { return run_function(step, FUNCTION_RELU, onnx__relu_run, err); }

OP_RUN(fast_gelu) {
    bool by_tanh = strcmp(onnx__step_string(step, "approximate", "none"), "tanh") == 0;
    return run_function(step, by_tanh ? FUNCTION_GELU_TANH : FUNCTION_GELU, onnx__gelu_run, err);
}

/* --- rows ----------------------------------------------------------------------------------------------------------
 */

#define ROWS_AT_ONCE(length) (STRETCH / ((length) + 1) + 1)

struct rows {
    const struct onnx__step *step;
    int64_t count, length;
};

static void run_rows(const struct onnx__step *step, int64_t count, int64_t length, onnx__task_fn *task) {
    struct rows rows = {step, count, length};
    int64_t at_once = ROWS_AT_ONCE(length);
    onnx__team_run(step->team, (count + at_once - 1) / at_once, task, &rows);
}

static int64_t rows_end(const struct rows *rows, int64_t task) {
    int64_t end = (task + 1) * ROWS_AT_ONCE(rows->length);
    return end < rows->count ? end : rows->count;
}

static void softmax_rows(void *ctx, int64_t task, int worker) {
    const struct rows *rows = ctx;
    const float *x = onnx__floats(rows->step, 0);
    float *y = onnx__out_floats(rows->step);
    for (int64_t i = task * ROWS_AT_ONCE(rows->length); i < rows_end(rows, task); i++)
        onnx__vec()->softmax(rows->length, 1, x + i * rows->length, NULL, y + i * rows->length);
}

OP_RUN(fast_softmax) {
    struct onnx__lanes lanes;
    if (onnx__lanes_read(step, &lanes, err) != 0) return -1;
    if (lanes.inner != 1) return onnx__softmax_run(step, err);
    run_rows(step, lanes.outer, lanes.length, softmax_rows);
    return 0;
}

static void layer_norm_rows(void *ctx, int64_t task, int worker) {
    const struct rows *rows = ctx;
    const struct onnx__step *step = rows->step;
    const struct tensor *bias = onnx__step_in(step, 2);
    float epsilon = onnx__step_float(step, "epsilon", 1e-5f), mean, inverse;
    for (int64_t i = task * ROWS_AT_ONCE(rows->length); i < rows_end(rows, task); i++) {
        onnx__vec()->layer_norm(rows->length, onnx__floats(step, 0) + i * rows->length, onnx__floats(step, 1),
                                bias ? bias->data : NULL, epsilon, onnx__out_floats(step) + i * rows->length, &mean,
                                &inverse);
        if (step->out_count > 1 && step->out[1]) ((float *)step->out[1]->data)[i] = mean;
        if (step->out_count > 2 && step->out[2]) ((float *)step->out[2]->data)[i] = inverse;
    }
}

OP_RUN(fast_layer_norm) {
    const struct tensor *x = step->in[0], *bias = onnx__step_in(step, 2);
    int axis;
    if (onnx__step_axis(step, onnx__step_int(step, "axis", -1), x->rank, &axis, err) != 0) return -1;
    int64_t length = onnx__shape_product(x, axis, x->rank);
    if (onnx__count(step->in[1]) != length || (bias && onnx__count(bias) != length)) /* one number for all */
        return onnx__layer_norm_run(step, err);
    run_rows(step, onnx__shape_product(x, 0, axis), length, layer_norm_rows);
    return 0;
}

static void average_planes(void *ctx, int64_t task, int worker) {
    const struct rows *rows = ctx;
    for (int64_t i = task * ROWS_AT_ONCE(rows->length); i < rows_end(rows, task); i++)
        onnx__out_floats(rows->step)[i] =
            onnx__vec()->sum(rows->length, onnx__floats(rows->step, 0) + i * rows->length) / (float)rows->length;
}

OP_RUN(fast_global_average_pool) {
    const struct tensor *x = step->in[0];
    run_rows(step, x->shape[0] * x->shape[1], onnx__shape_product(x, 2, x->rank), average_planes);
    return 0;
}

/* --- the table -----------------------------------------------------------------------------------------------------
 */

static const struct onnx__fast table[] = {
    {"Attention", false, onnx__attention_infer, onnx__attention_run, NULL},
    {"Conv", true, onnx__fast_conv_infer, onnx__fast_conv_run, onnx__fast_conv_pack},
    {"Erf", false, onnx__same_infer, onnx__fast_erf_run, NULL},
    {"Exp", false, onnx__same_infer, onnx__fast_exp_run, NULL},
    {"Gelu", false, onnx__gelu_infer, onnx__fast_gelu_run, NULL},
    {"Gemm", true, onnx__fast_gemm_infer, onnx__fast_gemm_run, NULL},
    {"GlobalAveragePool", false, onnx__global_pool_infer, onnx__fast_global_average_pool_run, NULL},
    {"LSTM", false, onnx__lstm_infer, onnx__fast_lstm_run, NULL},
    {"LayerNormalization", false, onnx__layer_norm_infer, onnx__fast_layer_norm_run, NULL},
    {"MatMul", true, onnx__fast_matmul_infer, onnx__fast_matmul_run, NULL},
    {"MaxPool", false, onnx__fast_max_pool_infer, onnx__fast_max_pool_run, NULL},
    {"Relu", false, onnx__same_infer, onnx__fast_relu_run, NULL},
    {"Sigmoid", false, onnx__same_infer, onnx__fast_sigmoid_run, NULL},
    {"Softmax", false, onnx__softmax_infer, onnx__fast_softmax_run, NULL},
    {"Tanh", false, onnx__same_infer, onnx__fast_tanh_run, NULL},
};

const struct onnx__fast *onnx__fast_find(const char *op_type) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].op_type, op_type) == 0) return &table[i];
    return NULL;
}
