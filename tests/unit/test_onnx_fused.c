/* The fused graph on the fast kernels against the file's own graph on the reference kernels: generated networks of
 * every pattern and of convolutions of every form. How many steps are left shows that a pattern was taken, or that it
 * was not where somebody else reads what happens inside it. The onnx-cuda executor runs the same networks. Whole models are run both ways by onnx_case_run, in
 * test_onnx_nodes and test_onnx_models. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "cuda_cases.h"
#include "onnx_cases.h"
#include "penstock/onnx_report.h"
#include "testlib.h"

#define DIMS(...)                                                                                                      \
    (const int64_t[]) { __VA_ARGS__ }
#define COUNT(list) (sizeof(list) / sizeof *(list))

struct net {
    struct onnx_builder b;
    struct tensor inputs[4];
    size_t input_count;
    uint64_t seed;
};

static float draw(struct net *net) {
    net->seed = net->seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(net->seed >> 33) / (float)(1u << 30) - 1;
}

static float *numbers(struct net *net, int rank, const int64_t *dims, float base, float spread) {
    int64_t count = tensor_element_count(dims, rank);
    float *data = malloc((size_t)count * sizeof *data + 1);
    assert_non_null(data);
    for (int64_t i = 0; i < count; i++) data[i] = base + spread * draw(net);
    return data;
}

static void give(struct net *net, const char *name, int rank, const int64_t *dims) {
    struct tensor *in = &net->inputs[net->input_count++];
    *in = (struct tensor){.name = name, .datatype = DATATYPE_FP32, .rank = rank};
    memcpy(in->shape, dims, (size_t)rank * sizeof *dims);
    in->size_bytes = (size_t)tensor_element_count(dims, rank) * sizeof(float);
    in->data = numbers(net, rank, dims, 0, 1);
    onnx_build_io(&net->b, ONNX_BUILD_INPUT, name, ONNX_TYPE_FLOAT, rank, dims);
}

static void weight(struct net *net, const char *name, int rank, const int64_t *dims, float base, float spread) {
    float *data = numbers(net, rank, dims, base, spread);
    onnx_build_weight(&net->b, name, ONNX_TYPE_FLOAT, rank, dims, data,
                      (size_t)tensor_element_count(dims, rank) * sizeof *data);
    free(data);
}

static void number(struct net *net, const char *name, float value) {
    onnx_build_weight(&net->b, name, ONNX_TYPE_FLOAT, 0, NULL, &value, sizeof value);
}

static void output(struct net *net, const char *name) {
    onnx_build_io(&net->b, ONNX_BUILD_OUTPUT, name, ONNX_TYPE_FLOAT, 4, DIMS(-1, -1, -1, -1));
}

static struct onnx_session *run_form(struct net *net, const struct onnx_model *model, bool plain, int threads,
                                     size_t *ret_steps) {
    const struct onnx_session_options options = {.threads = threads, .plain = plain};
    struct onnx_session *ses;
    struct onnx_memory memory;
    struct err err;
    if (onnx_backend_session(onnx_backend_cpu(), model, &options, &ses, &err) != 0 ||
        onnx_session_prepare(ses, net->inputs, &err) != 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < net->input_count; i++)
        memcpy(onnx_session_input(ses, i)->data, net->inputs[i].data, net->inputs[i].size_bytes);
    if (onnx_session_run(ses, NULL, &err) != 0) fail_msg("%s", err.msg);
    onnx_report_memory(ses, &memory);
    *ret_steps = memory.steps;
    return ses;
}

/* 1e-4 of the number and 1e-5: sums of at most some hundred products around 1, in float32, added in another order. */
static void compare(const struct onnx_session *plain, const struct onnx_session *fused, size_t outputs,
                    const char *what) {
    struct err err;
    for (size_t i = 0; i < outputs; i++)
        if (onnx_case_compare(onnx_session_output(fused, i), onnx_session_output(plain, i), 1e-4, 1e-5, &err) != 0)
            fail_msg("%s: %s", what, err.msg);
}

static const char *write_model(const struct buf *bytes) {
    static char folder[1024];
    static const char *root;
    static int count;
    char path[1100];
    if (!root) root = test_temp_dir();
    snprintf(folder, sizeof folder, "%s/net%d", root, count++);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    assert_int_equal(mkdir(folder, 0755), 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, bytes->len, file), bytes->len);
    fclose(file);
    return folder;
}

static bool never(void *ctx, size_t index) { return false; }
static void ignore(void *ctx, size_t index, double fraction, const char *message) {}

/* The first run of a shape goes step by step, the second as recorded. */
static void run_on_device(struct net *net, const char *folder, const struct onnx_session *plain, size_t outputs,
                          const char *what) {
    static const struct executor_control control = {NULL, never, ignore};
    const struct executor_ops *ops = cuda_case_ops();
    const struct executor_model_source source = {.name = "net", .version = "1", .path = folder};
    struct executor_job job = {.job_id = "job", .attempt = 1, .inputs = net->inputs, .input_count = net->input_count};
    struct executor *ex;
    struct executor_model *model;
    struct executor_error why;
    struct err err;
    assert_int_equal(ops->open(&(struct executor_options){.threads = 1}, &ex, &why), 0);
    if (ops->load(ex, &source, &model, &why) != 0) fail_msg("%s on the device: %s", what, why.message);
    for (int turn = 0; turn < 2; turn++) {
        if (ops->run(model, &job, 1, &control, &why) != 0 || job.outcome != EXECUTOR_COMPLETED)
            fail_msg("%s on the device: %s", what, job.error.message);
        for (size_t i = 0; i < outputs; i++)
            if (onnx_case_compare(&job.outputs[i], onnx_session_output(plain, i), 1e-4, 1e-5, &err) != 0)
                fail_msg("%s on the device, run %d: %s", what, turn + 1, err.msg);
    }
    ops->unload(model);
    ops->close(ex);
}

/* An emulated device has one multiprocessor, or as many as are asked for: kernels then share out their work in other
 * ways. */
static void agrees_on_device(struct net *net, const struct buf *bytes, const struct onnx_session *plain, size_t outputs,
                             const char *what) {
    static const char *const multiprocessors[] = {"1", "4", "100"};
    if (!cuda_case_ops()) return;
    const char *folder = write_model(bytes);
    for (size_t i = 0; i < COUNT(multiprocessors); i++) {
        setenv("PENSTOCK_CUDA_EMULATION_MULTIPROCESSORS", multiprocessors[i], 1);
        run_on_device(net, folder, plain, outputs, what);
    }
}

/* Both forms, by one and by three threads, give the same; `steps`: how many the fused graph is run in. */
static void agrees(struct net *net, int opset, size_t steps, const char *what) {
    struct buf bytes = {0};
    struct onnx_model *model;
    struct err err;
    size_t outputs, plain_steps, fused_steps;
    onnx_build_model(&net->b, opset, &bytes);
    if (onnx_model_parse(bytes.data, bytes.len, &model, &err) != 0) fail_msg("%s: %s", what, err.msg);
    onnx_model_outputs(model, &outputs);
    struct onnx_session *plain = run_form(net, model, true, 1, &plain_steps);
    for (int threads = 1; threads <= 3; threads += 2) {
        struct onnx_session *fused = run_form(net, model, false, threads, &fused_steps);
        if (fused_steps != steps) fail_msg("%s: %zu steps, not %zu (%zu plain)", what, fused_steps, steps, plain_steps);
        compare(plain, fused, outputs, what);
        onnx_session_free(fused);
    }
    agrees_on_device(net, &bytes, plain, outputs, what);
    onnx_session_free(plain);
    onnx_model_free(model);
    for (size_t i = 0; i < net->input_count; i++) free(net->inputs[i].data);
    buf_done(&bytes);
}

/* --- convolutions --------------------------------------------------------------------------------------------------
 */

struct form {
    const char *what;
    int rank;
    int64_t x[5], w[5], strides[3], dilations[3], pads[6], groups;
};

static const struct form forms[] = {
    {"3 x 3", 4, {2, 5, 11, 13}, {9, 5, 3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1},
    {"1 x 1", 4, {2, 7, 6, 9}, {10, 7, 1, 1}, {1, 1}, {1, 1}, {0}, 1},
    {"1 x 1 by steps of 2", 4, {3, 7, 9, 8}, {10, 7, 1, 1}, {2, 2}, {1, 1}, {0}, 1},
    {"1 x 1 with padding", 4, {1, 3, 4, 5}, {2, 3, 1, 1}, {1, 1}, {1, 1}, {1, 0, 2, 1}, 1},
    {"7 x 7 by steps of 2", 4, {1, 3, 30, 31}, {8, 3, 7, 7}, {2, 2}, {1, 1}, {3, 3, 3, 3}, 1},
    {"steps larger than the kernel", 4, {1, 2, 17, 19}, {3, 2, 2, 2}, {5, 3}, {1, 1}, {0, 1, 1, 0}, 1},
    {"dilated, by steps", 4, {1, 4, 19, 20}, {5, 4, 3, 3}, {2, 3}, {2, 3}, {2, 1, 0, 3}, 1},
    {"dilated", 4, {1, 4, 12, 40}, {5, 4, 3, 3}, {1, 1}, {3, 2}, {3, 2, 3, 2}, 1},
    {"groups", 4, {2, 6, 9, 9}, {9, 2, 3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 3},
    {"groups of 1 x 1", 4, {2, 6, 5, 5}, {9, 2, 1, 1}, {1, 1}, {1, 1}, {0}, 3},
    {"one channel by itself", 4, {1, 12, 10, 10}, {12, 1, 3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, 12},
    {"a line", 3, {2, 3, 101}, {17, 3, 5}, {2}, {1}, {2, 1}, 1},
    {"a body", 5, {1, 2, 7, 6, 5}, {4, 2, 3, 2, 3}, {1, 2, 1}, {1, 1, 1}, {1, 0, 1, 1, 1, 1}, 1},
    {"a kernel as large as the image", 4, {2, 3, 6, 6}, {11, 3, 6, 6}, {1, 1}, {1, 1}, {0}, 1},
    {"many channels of few pixels", 4, {1, 70, 4, 5}, {33, 70, 3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1},
    {"few channels of many", 4, {1, 50, 6, 6}, {5, 50, 3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1},
    {"large groups", 4, {1, 40, 5, 7}, {80, 20, 3, 3}, {2, 1}, {1, 1}, {1, 1, 1, 1}, 2},
    {"one pixel", 4, {1, 1, 1, 1}, {1, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1},
};

static void build_conv(struct net *net, const struct form *form, const char *inputs, const char *out) {
    int spatial = form->rank - 2;
    onnx_build_ints(&net->b, "strides", (size_t)spatial, form->strides);
    onnx_build_ints(&net->b, "dilations", (size_t)spatial, form->dilations);
    onnx_build_ints(&net->b, "pads", (size_t)spatial * 2, form->pads);
    onnx_build_int(&net->b, "group", form->groups);
    onnx_build_node(&net->b, "Conv", "conv", inputs, out);
}

static void test_convolutions_of_every_form_alone(void **state) {
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct net net = {.seed = i};
        give(&net, "x", forms[i].rank, forms[i].x);
        weight(&net, "w", forms[i].rank, forms[i].w, 0, 0.5f);
        build_conv(&net, &forms[i], "x,w", "y");
        output(&net, "y");
        agrees(&net, 13, 1, forms[i].what);
    }
}

static void test_convolutions_of_every_form_take_the_normalisation_an_addition_and_a_function(void **state) {
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct net net = {.seed = i + 100};
        const int64_t *channels = forms[i].w;
        give(&net, "x", forms[i].rank, forms[i].x);
        weight(&net, "w", forms[i].rank, forms[i].w, 0, 0.5f);
        weight(&net, "v", forms[i].rank, forms[i].w, 0, 0.5f);
        weight(&net, "b", 1, channels, 0, 1);
        weight(&net, "scale", 1, channels, 1, 0.5f);
        weight(&net, "offset", 1, channels, 0, 1);
        weight(&net, "mean", 1, channels, 0, 1);
        weight(&net, "variance", 1, channels, 1, 0.5f);
        build_conv(&net, &forms[i], "x,w,b", "c");
        onnx_build_node(&net.b, "BatchNormalization", "norm", "c,scale,offset,mean,variance", "n");
        build_conv(&net, &forms[i], "x,v", "shortcut");
        onnx_build_node(&net.b, "Add", "add", "n,shortcut", "s");
        onnx_build_node(&net.b, "Relu", "relu", "s", "y");
        output(&net, "y");
        agrees(&net, 13, 2, forms[i].what);
    }
}

/* The last addition is stretched over the output, so it comes after the tiles. */
static void test_what_is_stretched_is_added_after_all(void **state) {
    static const int64_t shapes[][4] = {{1, 9, 1, 1}, {1, 1, 11, 13}, {1, 1, 1, 13}, {2, 9, 1, 13}};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct net net = {.seed = i + 200};
        give(&net, "x", forms[0].rank, forms[0].x);
        give(&net, "more", 4, shapes[i]);
        weight(&net, "w", forms[0].rank, forms[0].w, 0, 0.5f);
        build_conv(&net, &forms[0], "x,w", "c");
        onnx_build_node(&net.b, "Add", "add", "more,c", "s");
        onnx_build_node(&net.b, "Sigmoid", "sigmoid", "s", "y");
        output(&net, "y");
        agrees(&net, 13, 1, "stretched");
    }
}

/* Then no part of it is the output's part: the plain graph is what runs. */
static void test_an_addition_that_makes_the_output_larger_is_left_alone(void **state) {
    struct net net = {.seed = 300};
    give(&net, "x", 4, DIMS(1, 5, 11, 13));
    give(&net, "more", 4, DIMS(3, 9, 11, 13));
    weight(&net, "w", forms[0].rank, forms[0].w, 0, 0.5f);
    build_conv(&net, &forms[0], "x,w", "c");
    onnx_build_node(&net.b, "Add", "add", "more,c", "s");
    onnx_build_node(&net.b, "Relu", "relu", "s", "y");
    output(&net, "y");
    agrees(&net, 13, 3, "larger");
}

static void test_weights_that_are_computed_are_for_the_reference(void **state) {
    for (size_t i = 0; i < 3; i++) {
        struct net net = {.seed = i + 400};
        give(&net, "x", forms[i].rank, forms[i].x);
        give(&net, "w", forms[i].rank, forms[i].w);
        build_conv(&net, &forms[i], "x,w", "c");
        onnx_build_node(&net.b, "Relu", "relu", "c", "y");
        output(&net, "y");
        agrees(&net, 13, 1, forms[i].what);
    }
}

static void test_a_convolution_that_follows_from_shapes_is_folded(void **state) {
    struct net net = {.seed = 500};
    const float half = 0.5f;
    give(&net, "x", 4, DIMS(1, 5, 6, 7));
    weight(&net, "w", 4, DIMS(5, 5, 3, 3), 0, 0.5f);
    onnx_build_node(&net.b, "Shape", "shape", "x", "dims");
    onnx_build_weight(&net.b, "half", ONNX_TYPE_FLOAT, 1, DIMS(1), &half, sizeof half);
    onnx_build_node(&net.b, "ConstantOfShape", "zeros", "dims", "z");
    onnx_build_node(&net.b, "Add", "halves", "z,half", "h");
    build_conv(&net, &forms[0], "h,w", "c");
    onnx_build_node(&net.b, "Tanh", "tanh", "c", "t");
    onnx_build_node(&net.b, "Add", "add", "t,x", "y");
    output(&net, "y");
    agrees(&net, 13, 1, "folded");
}

static void test_every_function_that_a_tail_can_be(void **state) {
    static const char *const functions[] = {"Relu",        "Sigmoid",   "Tanh", "LeakyRelu",
                                            "HardSigmoid", "HardSwish", "Gelu", "Clip"};
    for (size_t i = 0; i < COUNT(functions); i++) {
        struct net net = {.seed = i + 600};
        give(&net, "x", 4, forms[0].x);
        weight(&net, "w", 4, forms[0].w, 0, 0.5f);
        number(&net, "low", -0.5f);
        number(&net, "high", 0.75f);
        build_conv(&net, &forms[0], "x,w", "c");
        onnx_build_node(&net.b, functions[i], "function", strcmp(functions[i], "Clip") == 0 ? "c,low,high" : "c", "y");
        output(&net, "y");
        agrees(&net, 20, 1, functions[i]);
    }
}

static void test_max_pools_of_every_form(void **state) {
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct net net = {.seed = i + 700};
        int spatial = forms[i].rank - 2;
        bool inside = true; /* the operator wants no padding as wide as the kernel */
        for (int d = 0; d < 2 * spatial; d++) inside &= forms[i].pads[d] < forms[i].w[2 + d % spatial];
        if (!inside) continue;
        give(&net, "x", forms[i].rank, forms[i].x);
        ((float *)net.inputs[0].data)[net.inputs[0].size_bytes / sizeof(float) / 2] = NAN;
        onnx_build_ints(&net.b, "kernel_shape", (size_t)spatial, forms[i].w + 2);
        onnx_build_ints(&net.b, "strides", (size_t)spatial, forms[i].strides);
        onnx_build_ints(&net.b, "dilations", (size_t)spatial, forms[i].dilations);
        onnx_build_ints(&net.b, "pads", (size_t)spatial * 2, forms[i].pads);
        onnx_build_int(&net.b, "ceil_mode", (int64_t)i % 2);
        onnx_build_node(&net.b, "MaxPool", "pool", "x", "y");
        output(&net, "y");
        agrees(&net, 13, 1, forms[i].what);
    }
}

/* --- products ------------------------------------------------------------------------------------------------------
 */

static void test_products_take_bias_another_tensor_and_a_function(void **state) {
    static const int64_t rows[] = {1, 2, 70, 1300};
    for (size_t i = 0; i < COUNT(rows) * 2; i++) {
        struct net net = {.seed = i + 800};
        int64_t m = rows[i / 2];
        bool gemm = i % 2;
        give(&net, "x", 2, DIMS(m, 33));
        give(&net, "more", 2, DIMS(m, 90));
        weight(&net, "w", 2, DIMS(33, 90), 0, 0.3f);
        weight(&net, "b", 1, DIMS(90), 0, 1);
        onnx_build_node(&net.b, gemm ? "Gemm" : "MatMul", "product", gemm ? "x,w,b" : "x,w", "p");
        if (!gemm) onnx_build_node(&net.b, "Add", "bias", "b,p", "q");
        onnx_build_node(&net.b, "Add", "rest", gemm ? "p,more" : "q,more", "s");
        onnx_build_node(&net.b, "Gelu", "gelu", "s", "y");
        output(&net, "y");
        agrees(&net, 20, 1, gemm ? "Gemm" : "MatMul");
    }
}

static void test_gemm_with_factors_turned_matrices_and_a_column_that_is_stretched(void **state) {
    for (int kind = 0; kind < 4; kind++) {
        struct net net = {.seed = 900 + (uint64_t)kind};
        give(&net, "x", 2, kind & 1 ? DIMS(33, 70) : DIMS(70, 33));
        weight(&net, "w", 2, kind & 2 ? DIMS(90, 33) : DIMS(33, 90), 0, 0.3f);
        weight(&net, "c", 2, DIMS(70, 1), 0, 1);
        onnx_build_int(&net.b, "transA", kind & 1);
        onnx_build_int(&net.b, "transB", kind >> 1);
        onnx_build_float(&net.b, "alpha", 0.5f);
        onnx_build_float(&net.b, "beta", -2);
        onnx_build_node(&net.b, "Gemm", "product", "x,w,c", "p");
        onnx_build_node(&net.b, "Relu", "relu", "p", "y");
        output(&net, "y");
        agrees(&net, 13, 1, "Gemm");
    }
}

static void test_stacks_of_products(void **state) {
    struct net net = {.seed = 1000};
    give(&net, "a", 4, DIMS(2, 3, 5, 7));
    give(&net, "b", 4, DIMS(1, 3, 7, 4));
    weight(&net, "w", 2, DIMS(4, 6), 0, 0.5f);
    onnx_build_node(&net.b, "MatMul", "stack", "a,b", "p");
    onnx_build_node(&net.b, "MatMul", "wide", "p,w", "q");
    onnx_build_node(&net.b, "Tanh", "tanh", "q", "y");
    output(&net, "y");
    agrees(&net, 13, 2, "stacks");
}

/* --- normalisation, GELU, attention ----------------------------------------------------------------------------------
 */

static void build_layer_norm(struct net *net, bool by_mul) {
    onnx_build_ints(&net->b, "axes", 1, DIMS(-1));
    onnx_build_node(&net->b, "ReduceMean", "mean", "x", "m");
    onnx_build_node(&net->b, "Sub", "sub", "x,m", "c");
    onnx_build_node(&net->b, by_mul ? "Mul" : "Pow", "square", by_mul ? "c,c" : "c,two", "sq");
    onnx_build_ints(&net->b, "axes", 1, DIMS(-1));
    onnx_build_node(&net->b, "ReduceMean", "variance", "sq", "v");
    onnx_build_node(&net->b, "Add", "epsilon", "v,eps", "ve");
    onnx_build_node(&net->b, "Sqrt", "root", "ve", "r");
    onnx_build_node(&net->b, "Div", "div", "c,r", "d");
    onnx_build_node(&net->b, "Mul", "scale", "d,g", "e");
    onnx_build_node(&net->b, "Add", "offset", "e,b", "y");
}

static void layer_norm(bool by_mul, const char *second_output, size_t steps) {
    struct net net = {.seed = 1100};
    give(&net, "x", 3, DIMS(4, 9, 37));
    number(&net, "two", 2);
    number(&net, "eps", 1e-5f);
    weight(&net, "g", 1, DIMS(37), 1, 0.5f);
    weight(&net, "b", 1, DIMS(37), 0, 1);
    build_layer_norm(&net, by_mul);
    output(&net, "y");
    if (second_output) output(&net, second_output);
    agrees(&net, 13, steps, "LayerNormalization");
}

static void test_a_normalisation_that_is_spelled_out_is_one_step(void **state) {
    layer_norm(false, NULL, 1);
    layer_norm(true, NULL, 1);
}

static void test_a_normalisation_of_which_something_else_is_read_is_left_alone(void **state) {
    layer_norm(false, "v", 9);
    layer_norm(false, "c", 9);
    layer_norm(true, "d", 9);
}

static void test_gelu_in_the_orders_that_exporters_write_is_one_step(void **state) {
    for (int kind = 0; kind < 4; kind++) {
        struct net net = {.seed = 1200};
        give(&net, "x", 2, DIMS(7, 37));
        number(&net, "root", (float)M_SQRT2);
        number(&net, "part", (float)M_SQRT1_2);
        number(&net, "one", 1);
        number(&net, "half", 0.5f);
        onnx_build_node(&net.b, kind & 1 ? "Mul" : "Div", "scaled", kind & 1 ? "part,x" : "x,root", "s");
        onnx_build_node(&net.b, "Erf", "erf", "s", "e");
        onnx_build_node(&net.b, "Add", "add", kind & 1 ? "one,e" : "e,one", "f");
        if (kind & 2) {
            onnx_build_node(&net.b, "Mul", "first", "x,half", "h");
            onnx_build_node(&net.b, "Mul", "second", "h,f", "y");
        } else {
            onnx_build_node(&net.b, "Mul", "first", "x,f", "h");
            onnx_build_node(&net.b, "Mul", "second", "h,half", "y");
        }
        output(&net, "y");
        agrees(&net, 13, 1, "Gelu");
    }
}

/* What looks like GELU but has another number in it. */
static void test_an_almost_gelu_is_left_alone(void **state) {
    struct net net = {.seed = 1300};
    give(&net, "x", 2, DIMS(7, 37));
    number(&net, "root", 1.5f);
    number(&net, "one", 1);
    number(&net, "half", 0.5f);
    onnx_build_node(&net.b, "Div", "scaled", "x,root", "s");
    onnx_build_node(&net.b, "Erf", "erf", "s", "e");
    onnx_build_node(&net.b, "Add", "add", "e,one", "f");
    onnx_build_node(&net.b, "Mul", "first", "x,f", "h");
    onnx_build_node(&net.b, "Mul", "second", "h,half", "y");
    output(&net, "y");
    agrees(&net, 13, 5, "almost Gelu");
}

static void attention(const char *mask, int mask_rank, const int64_t *mask_dims, bool keys_in_two, bool multiplied) {
    struct net net = {.seed = 1400};
    give(&net, "q", 4, DIMS(2, 70, 3, 8)); /* more queries than a block of rows */
    give(&net, "k", 4, DIMS(2, 11, 3, 8));
    give(&net, "v", 4, DIMS(2, 11, 3, 5));
    if (mask) give(&net, mask, mask_rank, mask_dims);
    number(&net, "root", multiplied ? 0.35f : 2.8f);
    onnx_build_ints(&net.b, "perm", 4, DIMS(0, 2, 1, 3));
    onnx_build_node(&net.b, "Transpose", "q heads", "q", "qh");
    onnx_build_ints(&net.b, "perm", 4, keys_in_two ? DIMS(0, 2, 1, 3) : DIMS(0, 2, 3, 1));
    onnx_build_node(&net.b, "Transpose", "k heads", "k", keys_in_two ? "kh" : "kt");
    if (keys_in_two) {
        onnx_build_ints(&net.b, "perm", 4, DIMS(0, 1, 3, 2));
        onnx_build_node(&net.b, "Transpose", "k across", "kh", "kt");
    }
    onnx_build_ints(&net.b, "perm", 4, DIMS(0, 2, 1, 3));
    onnx_build_node(&net.b, "Transpose", "v heads", "v", "vh");
    onnx_build_node(&net.b, "MatMul", "scores", "qh,kt", "s");
    onnx_build_node(&net.b, multiplied ? "Mul" : "Div", "scale", "s,root", "t");
    if (mask) onnx_build_node(&net.b, "Add", "mask", "t,mask", "u");
    onnx_build_int(&net.b, "axis", -1);
    onnx_build_node(&net.b, "Softmax", "softmax", mask ? "u" : "t", "p");
    onnx_build_node(&net.b, "MatMul", "mix", "p,vh", "o");
    onnx_build_ints(&net.b, "perm", 4, DIMS(0, 2, 1, 3));
    onnx_build_node(&net.b, "Transpose", "back", "o", "y");
    output(&net, "y");
    agrees(&net, 13, 1, "Attention");
}

static void test_attention_is_one_step_with_and_without_a_mask(void **state) {
    attention(NULL, 0, NULL, false, false);
    attention(NULL, 0, NULL, true, true);
    attention("mask", 4, DIMS(2, 1, 1, 11), false, false);
    attention("mask", 4, DIMS(1, 3, 70, 11), true, false);
    attention("mask", 2, DIMS(70, 11), false, true);
    attention("mask", 1, DIMS(11), false, false);
}

static void test_lstm_of_one_and_of_several_items(void **state) {
    for (int64_t batch = 1; batch <= 3; batch += 2) {
        struct net net = {.seed = 1500};
        give(&net, "x", 3, DIMS(4, batch, 13));
        weight(&net, "w", 3, DIMS(2, 76, 13), 0, 0.3f);
        weight(&net, "r", 3, DIMS(2, 76, 19), 0, 0.3f);
        weight(&net, "b", 2, DIMS(2, 152), 0, 0.3f);
        onnx_build_string(&net.b, "direction", "bidirectional");
        onnx_build_int(&net.b, "hidden_size", 19);
        onnx_build_node(&net.b, "LSTM", "lstm", "x,w,r,b", "y,h,c");
        output(&net, "y");
        output(&net, "h");
        output(&net, "c");
        agrees(&net, 13, 1, "LSTM");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions_of_every_form_alone),
        cmocka_unit_test(test_convolutions_of_every_form_take_the_normalisation_an_addition_and_a_function),
        cmocka_unit_test(test_what_is_stretched_is_added_after_all),
        cmocka_unit_test(test_an_addition_that_makes_the_output_larger_is_left_alone),
        cmocka_unit_test(test_weights_that_are_computed_are_for_the_reference),
        cmocka_unit_test(test_a_convolution_that_follows_from_shapes_is_folded),
        cmocka_unit_test(test_every_function_that_a_tail_can_be),
        cmocka_unit_test(test_max_pools_of_every_form),
        cmocka_unit_test(test_products_take_bias_another_tensor_and_a_function),
        cmocka_unit_test(test_gemm_with_factors_turned_matrices_and_a_column_that_is_stretched),
        cmocka_unit_test(test_stacks_of_products),
        cmocka_unit_test(test_a_normalisation_that_is_spelled_out_is_one_step),
        cmocka_unit_test(test_a_normalisation_of_which_something_else_is_read_is_left_alone),
        cmocka_unit_test(test_gelu_in_the_orders_that_exporters_write_is_one_step),
        cmocka_unit_test(test_an_almost_gelu_is_left_alone),
        cmocka_unit_test(test_attention_is_one_step_with_and_without_a_mask),
        cmocka_unit_test(test_lstm_of_one_and_of_several_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
