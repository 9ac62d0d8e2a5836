/* Operators on numbers of every datatype, at the borders that ONNX's test data of Debian 12 (opset 17) do not reach:
 * ends of ranges, what is no number, empty tensors, older and newer forms, and what is refused. Expected numbers are
 * those of the operators' definitions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx_cases.h"

#define DIMS(...)                                                                                                      \
    (const int64_t[]) { __VA_ARGS__ }
#define LIST(type, ...)                                                                                                \
    (const type[]) { __VA_ARGS__ }
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* One node 'n' with up to three inputs a, b, c that come with the data, and one output y. */
#define MAX_INPUTS 3
struct trial {
    struct onnx_builder b;
    struct tensor in[MAX_INPUTS];
    int count;
    struct buf bytes;
    struct onnx_model *model;
    struct onnx_session *ses;
};

static int onnx_type(enum datatype datatype) {
    static const int types[DATATYPE_COUNT] = {
        [DATATYPE_FP32] = 1,  [DATATYPE_UINT8] = 2, [DATATYPE_INT8] = 3,    [DATATYPE_UINT16] = 4,
        [DATATYPE_INT16] = 5, [DATATYPE_INT32] = 6, [DATATYPE_INT64] = 7,   [DATATYPE_BOOL] = 9,
        [DATATYPE_FP16] = 10, [DATATYPE_FP64] = 11, [DATATYPE_UINT32] = 12, [DATATYPE_UINT64] = 13,
    };
    return types[datatype];
}

static struct tensor tensor_of(enum datatype datatype, int rank, const int64_t *dims, const void *data) {
    struct tensor tensor = {.datatype = datatype, .rank = rank, .data = (void *)(uintptr_t)data};
    if (rank) memcpy(tensor.shape, dims, (size_t)rank * sizeof *dims);
    tensor.size_bytes = (size_t)tensor_element_count(dims, rank) * datatype_size(datatype);
    return tensor;
}

static void give(struct trial *t, enum datatype datatype, int rank, const int64_t *dims, const void *data) {
    char name[] = {(char)('a' + t->count), 0};
    t->in[t->count++] = tensor_of(datatype, rank, dims, data);
    onnx_build_io(&t->b, ONNX_BUILD_INPUT, name, onnx_type(datatype), rank, dims);
}

/* A line of numbers as the next input. */
#define GIVE(t, datatype, type, ...)                                                                                   \
    give(t, DATATYPE_##datatype, 1, DIMS((int64_t)COUNT(LIST(type, __VA_ARGS__))), LIST(type, __VA_ARGS__))
#define SCALAR(t, datatype, type, value) give(t, DATATYPE_##datatype, 0, NULL, LIST(type, value))

/* The node on all inputs that were given, up to and with the run; -1 with *err. */
static int runs(struct trial *t, int opset, const char *op, enum datatype out, int rank, struct err *err) {
    static const char *const inputs[] = {"", "a", "a,b", "a,b,c"};
    onnx_build_node(&t->b, op, "n", inputs[t->count], "y");
    onnx_build_io(&t->b, ONNX_BUILD_OUTPUT, "y", onnx_type(out), rank, DIMS(-1, -1, -1, -1, -1, -1, -1, -1));
    onnx_build_model(&t->b, opset, &t->bytes);
    if (onnx_model_parse(t->bytes.data, t->bytes.len, &t->model, err) != 0) return -1;
    assert_int_equal(onnx_session_new(t->model, 1, &t->ses, err), 0);
    if (onnx_session_prepare(t->ses, t->in, err) != 0) return -1;
    for (int i = 0; i < t->count; i++)
        if (t->in[i].size_bytes)
            memcpy(onnx_session_input(t->ses, (size_t)i)->data, t->in[i].data, t->in[i].size_bytes);
    return onnx_session_run(t->ses, NULL, err);
}

static void done(struct trial *t) {
    onnx_session_free(t->ses);
    onnx_model_free(t->model);
    buf_done(&t->bytes);
}

static void gives(struct trial *t, int opset, const char *op, enum datatype datatype, int rank, const int64_t *dims,
                  const void *want) {
    struct tensor expected = tensor_of(datatype, rank, dims, want);
    struct err err = {0};
    if (runs(t, opset, op, datatype, rank, &err) != 0) fail_msg("%s", err.msg);
    if (onnx_case_compare(onnx_session_output(t->ses, 0), &expected, 1e-5, 1e-6, &err) != 0)
        fail_msg("%s: %s", op, err.msg);
    done(t);
}
#define GIVES(t, opset, op, datatype, type, ...)                                                                       \
    gives(t, opset, op, DATATYPE_##datatype, 1, DIMS((int64_t)COUNT(LIST(type, __VA_ARGS__))), LIST(type, __VA_ARGS__))

static void refused(struct trial *t, int opset, const char *op, enum err_code code, const char *words) {
    struct err err = {0};
    assert_int_equal(runs(t, opset, op, t->in[0].datatype, 1, &err), -1);
    if (err.code != code || !strstr(err.msg, "node 'n'") || !strstr(err.msg, op) || !strstr(err.msg, words))
        fail_msg("expected '%s' of node 'n' (%s), got: %s", words, op, err.msg);
    done(t);
}

/* --- Cast -------------------------------------------------------------------------------------------------------- */

static struct trial cast_to(enum datatype datatype) {
    struct trial t = {0};
    onnx_build_int(&t.b, "to", onnx_type(datatype));
    return t;
}

static void test_cast_of_a_number_beyond_the_range_gives_the_nearest_and_of_no_number_0(void **state) {
    struct trial t = cast_to(DATATYPE_INT8);
    GIVE(&t, FP32, float, 300, -300, NAN, -1.9f, INFINITY);
    GIVES(&t, 13, "Cast", INT8, int8_t, 127, -128, 0, -1, 127);
    t = cast_to(DATATYPE_UINT8);
    GIVE(&t, FP64, double, 256, -1, NAN, 254.9, -INFINITY);
    GIVES(&t, 13, "Cast", UINT8, uint8_t, 255, 0, 0, 254, 0);
    t = cast_to(DATATYPE_INT64);
    GIVE(&t, FP64, double, 1e300, -1e300, NAN, 9007199254740993.0);
    GIVES(&t, 13, "Cast", INT64, int64_t, INT64_MAX, INT64_MIN, 0, 9007199254740992);
    t = cast_to(DATATYPE_UINT64);
    GIVE(&t, FP32, float, 1e30f, -1, NAN, 18446742974197923840.0f);
    GIVES(&t, 13, "Cast", UINT64, uint64_t, UINT64_MAX, 0, 0, 18446742974197923840u);
}

static void test_cast_between_whole_numbers_keeps_the_low_bits(void **state) {
    struct trial t = cast_to(DATATYPE_INT8);
    GIVE(&t, INT64, int64_t, 256, 255, -129, INT64_MIN);
    GIVES(&t, 13, "Cast", INT8, int8_t, 0, -1, 127, 0);
    t = cast_to(DATATYPE_UINT32);
    GIVE(&t, INT16, int16_t, -1, 7);
    GIVES(&t, 13, "Cast", UINT32, uint32_t, UINT32_MAX, 7);
    t = cast_to(DATATYPE_FP64);
    GIVE(&t, UINT64, uint64_t, UINT64_MAX, 1);
    GIVES(&t, 13, "Cast", FP64, double, 18446744073709551616.0, 1);
}

static void test_cast_to_bool_asks_for_zero(void **state) {
    struct trial t = cast_to(DATATYPE_BOOL);
    GIVE(&t, FP32, float, 0, -0.0f, 0.1f, NAN);
    GIVES(&t, 13, "Cast", BOOL, uint8_t, 0, 0, 1, 1);
    t = cast_to(DATATYPE_INT32);
    GIVE(&t, BOOL, uint8_t, 0, 1, 7);
    GIVES(&t, 13, "Cast", INT32, int32_t, 0, 1, 1);
}

static void test_cast_to_16_bits_rounds_once_and_to_even(void **state) {
    struct trial t = cast_to(DATATYPE_FP16);
    const double from[] = {65504,   65519.9, 65520,     2049,        2051,  -0.0,
                           0x1p-24, 0x1p-25, 0x1.8p-24, 0x1.ffcp-15, 1e-30, 1 + 0x1p-11 + 0x1p-30,
                           -1e9,    0.1};
    const uint16_t want[] = {0x7bff, 0x7bff, 0x7c00, 0x6800, 0x6802, 0x8000, 1,
                             0,      2,      0x0400, 0,      0x3c01, 0xfc00, 0x2e66};
    struct err err = {0};
    give(&t, DATATYPE_FP64, 1, DIMS(COUNT(from)), from);
    if (runs(&t, 13, "Cast", DATATYPE_FP16, 1, &err) != 0) fail_msg("%s", err.msg);
    const uint16_t *have = onnx_session_output(t.ses, 0)->data;
    for (size_t i = 0; i < COUNT(want); i++)
        if (have[i] != want[i]) fail_msg("%g became %#x, not %#x", from[i], have[i], want[i]);
    done(&t);
}

static void test_every_number_of_16_bits_survives_the_way_there_and_back(void **state) {
    struct trial there = cast_to(DATATYPE_FP32), back = cast_to(DATATYPE_FP16);
    static uint16_t all[1 << 16];
    struct err err = {0};
    for (size_t i = 0; i < COUNT(all); i++) all[i] = (uint16_t)i;
    give(&there, DATATYPE_FP16, 1, DIMS(COUNT(all)), all);
    if (runs(&there, 13, "Cast", DATATYPE_FP32, 1, &err) != 0) fail_msg("%s", err.msg);
    give(&back, DATATYPE_FP32, 1, DIMS(COUNT(all)), onnx_session_output(there.ses, 0)->data);
    if (runs(&back, 13, "Cast", DATATYPE_FP16, 1, &err) != 0) fail_msg("%s", err.msg);
    const uint16_t *have = onnx_session_output(back.ses, 0)->data;
    for (size_t i = 0; i < COUNT(all); i++) {
        bool nan = (all[i] & 0x7c00) == 0x7c00 && (all[i] & 0x3ff);
        if (nan ? (have[i] & 0x7fff) <= 0x7c00 : have[i] != all[i]) fail_msg("%#x became %#x", all[i], have[i]);
    }
    done(&there);
    done(&back);
}

static void test_cast_to_a_type_that_is_not_here_is_refused(void **state) {
    static const int64_t types[] = {0, 8, 16, 99, -1, INT64_MAX};
    for (size_t i = 0; i < COUNT(types); i++) {
        struct trial t = {0};
        onnx_build_int(&t.b, "to", types[i]);
        GIVE(&t, FP32, float, 1);
        refused(&t, 13, "Cast", ERR_UNSUPPORTED_MODEL, "is not supported");
    }
}

/* --- whole numbers ----------------------------------------------------------------------------------------------- */

static void test_whole_numbers_wrap_at_their_ends(void **state) {
    struct trial t = {0};
    GIVE(&t, INT8, int8_t, 127, -128);
    GIVE(&t, INT8, int8_t, 1, -1);
    GIVES(&t, 14, "Add", INT8, int8_t, -128, 127);
    t = (struct trial){0};
    GIVE(&t, INT64, int64_t, INT64_MIN, 5);
    GIVES(&t, 14, "Neg", INT64, int64_t, INT64_MIN, -5);
    t = (struct trial){0};
    GIVE(&t, INT32, int32_t, INT32_MIN, -5);
    GIVES(&t, 14, "Abs", INT32, int32_t, INT32_MIN, 5);
    t = (struct trial){0};
    GIVE(&t, INT32, int32_t, INT32_MIN, 7, -7);
    SCALAR(&t, INT32, int32_t, -1);
    GIVES(&t, 14, "Div", INT32, int32_t, INT32_MIN, -7, 7);
    t = (struct trial){0};
    GIVE(&t, INT64, int64_t, INT64_MIN, 7);
    SCALAR(&t, INT64, int64_t, -1);
    GIVES(&t, 14, "Mod", INT64, int64_t, 0, 0);
    t = (struct trial){0};
    GIVE(&t, UINT16, uint16_t, 65535, 256);
    GIVE(&t, UINT16, uint16_t, 65535, 256);
    GIVES(&t, 14, "Mul", UINT16, uint16_t, 1, 0);
}

static void test_dividing_a_whole_number_by_zero_fails_the_run(void **state) {
    static const char *const ops[] = {"Div", "Mod"};
    static const enum datatype types[] = {DATATYPE_INT8,   DATATYPE_UINT8, DATATYPE_INT32,
                                          DATATYPE_UINT32, DATATYPE_INT64, DATATYPE_UINT64};
    static const int64_t zeros[2] = {0};
    for (size_t i = 0; i < COUNT(ops) * COUNT(types); i++) {
        struct trial t = {0};
        give(&t, types[i / 2], 1, DIMS(2), zeros);
        give(&t, types[i / 2], 1, DIMS(2), zeros);
        refused(&t, 14, ops[i % 2], ERR_EXECUTION_FAILED, "divided by zero");
    }
}

static void test_mod_has_the_sign_of_the_divisor_or_with_fmod_of_the_dividend(void **state) {
    for (int fmod = 0; fmod < 2; fmod++) {
        struct trial t = {0};
        onnx_build_int(&t.b, "fmod", fmod);
        GIVE(&t, INT16, int16_t, -7, 7, -6);
        GIVE(&t, INT16, int16_t, 3, -3, 3);
        if (fmod)
            GIVES(&t, 13, "Mod", INT16, int16_t, -1, 1, 0);
        else
            GIVES(&t, 13, "Mod", INT16, int16_t, 2, -2, 0);
    }
}

static void test_shifting_by_more_than_there_is_gives_0(void **state) {
    struct trial t = {0};
    onnx_build_string(&t.b, "direction", "LEFT");
    GIVE(&t, UINT8, uint8_t, 0x81, 1, 1);
    GIVE(&t, UINT8, uint8_t, 1, 7, 8);
    GIVES(&t, 11, "BitShift", UINT8, uint8_t, 2, 128, 0);
    t = (struct trial){0};
    onnx_build_string(&t.b, "direction", "RIGHT");
    GIVE(&t, UINT64, uint64_t, UINT64_MAX, 2, 1);
    GIVE(&t, UINT64, uint64_t, 63, 1, UINT64_MAX);
    GIVES(&t, 11, "BitShift", UINT64, uint64_t, 1, 1, 0);
}

static void test_powers_of_whole_numbers_wrap_and_have_no_fractions(void **state) {
    struct trial t = {0};
    GIVE(&t, INT64, int64_t, 3, 2, 1, -1, -1, 2, 0);
    GIVE(&t, INT64, int64_t, 39, 64, -5, -5, -4, -1, 0);
    GIVES(&t, 15, "Pow", INT64, int64_t, 4052555153018976267, 0, 1, -1, 1, 0, 1);
    t = (struct trial){0};
    GIVE(&t, INT32, int32_t, 9, 2, 10);
    GIVE(&t, FP32, float, 0.5f, -1, 20);
    GIVES(&t, 15, "Pow", INT32, int32_t, 3, 0, INT32_MAX);
    t = (struct trial){0};
    GIVE(&t, FP32, float, -3, 2, 0);
    GIVE(&t, FP32, float, 2, -2, 0);
    GIVES(&t, 15, "Pow", FP32, float, 9, 0.25f, 1);
}

static void test_products_of_matrices_of_whole_numbers_are_exact(void **state) {
    struct trial t = {0};
    give(&t, DATATYPE_INT32, 2, DIMS(2, 2), LIST(int32_t, INT32_MAX, 1, -2, 3));
    give(&t, DATATYPE_INT32, 2, DIMS(2, 1), LIST(int32_t, 2, 5));
    gives(&t, 13, "MatMul", DATATYPE_INT32, 2, DIMS(2, 1), LIST(int32_t, 3, 11));
    t = (struct trial){0};
    onnx_build_int(&t.b, "transA", 1);
    onnx_build_int(&t.b, "transB", 1);
    onnx_build_float(&t.b, "alpha", 2);
    onnx_build_float(&t.b, "beta", -3);
    give(&t, DATATYPE_INT64, 2, DIMS(3, 2), LIST(int64_t, 1, 2, 3, 4, 5, 6));
    give(&t, DATATYPE_INT64, 2, DIMS(1, 3), LIST(int64_t, 1, 0, -1));
    give(&t, DATATYPE_INT64, 1, DIMS(1), LIST(int64_t, 10));
    gives(&t, 13, "Gemm", DATATYPE_INT64, 2, DIMS(2, 1), LIST(int64_t, -38, -38));
    t = (struct trial){0};
    onnx_build_float(&t.b, "alpha", 0.5f);
    give(&t, DATATYPE_UINT32, 2, DIMS(1, 1), LIST(uint32_t, 1));
    give(&t, DATATYPE_UINT32, 2, DIMS(1, 1), LIST(uint32_t, 1));
    refused(&t, 13, "Gemm", ERR_UNSUPPORTED_MODEL, "must be whole");
}

static void test_products_of_matrices_of_doubles_keep_their_digits(void **state) {
    struct trial t = {0};
    give(&t, DATATYPE_FP64, 3, DIMS(2, 1, 2), LIST(double, 1, 0x1p-40, 2, 0));
    give(&t, DATATYPE_FP64, 2, DIMS(2, 1), LIST(double, 1, 1));
    struct err err = {0};
    if (runs(&t, 13, "MatMul", DATATYPE_FP64, 3, &err) != 0) fail_msg("%s", err.msg);
    assert_true(((const double *)onnx_session_output(t.ses, 0)->data)[0] == 1 + 0x1p-40);
    done(&t);
}

/* --- element by element ------------------------------------------------------------------------------------------ */

static void test_gelu_is_exact_or_by_tanh(void **state) {
    struct trial t = {0};
    GIVE(&t, FP32, float, -1, 0, 1, 3);
    GIVES(&t, 20, "Gelu", FP32, float, -0.15865525f, 0, 0.84134475f, 2.9959502f);
    t = (struct trial){0};
    onnx_build_string(&t.b, "approximate", "tanh");
    GIVE(&t, FP32, float, -1, 0, 1, 3);
    GIVES(&t, 20, "Gelu", FP32, float, -0.158808f, 0, 0.841192f, 2.9963627f);
    t = (struct trial){0};
    onnx_build_string(&t.b, "approximate", "somehow");
    GIVE(&t, FP32, float, 1);
    refused(&t, 20, "Gelu", ERR_UNSUPPORTED_MODEL, "approximation 'somehow' is not known");
}

static void test_mish_and_softplus_of_large_numbers_do_not_overflow(void **state) {
    struct trial t = {0};
    GIVE(&t, FP32, float, 0, 1, 200, -200);
    GIVES(&t, 18, "Mish", FP32, float, 0, 0.8650984f, 200, 0);
    t = (struct trial){0};
    GIVE(&t, FP64, double, 0, 1000, -1000);
    GIVES(&t, 1, "Softplus", FP64, double, 0.6931471805599453, 1000, 0);
}

static void test_functions_of_16_bits_go_on_past_the_stretch_they_are_computed_in(void **state) {
    struct trial t = {0};
    uint16_t x[1000], want[1000];
    for (size_t i = 0; i < COUNT(x); i++) {
        x[i] = (uint16_t)(0x3c00 + i % 512); /* 1 and on */
        want[i] = x[i] | 0x8000;
    }
    give(&t, DATATYPE_FP16, 1, DIMS(COUNT(x)), x);
    gives(&t, 13, "Neg", DATATYPE_FP16, 1, DIMS(COUNT(x)), want);
    t = (struct trial){0};
    give(&t, DATATYPE_FP16, 1, DIMS(COUNT(x)), x);
    give(&t, DATATYPE_FP16, 0, NULL, LIST(uint16_t, 0x8000));
    gives(&t, 13, "Add", DATATYPE_FP16, 1, DIMS(COUNT(x)), x);
}

static void test_what_is_no_number_wins_and_compares_with_nothing(void **state) {
    static const char *const ops[] = {"Max", "Min"};
    for (size_t i = 0; i < COUNT(ops); i++) {
        struct trial t = {0};
        GIVE(&t, FP32, float, NAN, 1, NAN);
        GIVE(&t, FP32, float, 1, NAN, NAN);
        GIVES(&t, 13, ops[i], FP32, float, NAN, NAN, NAN);
    }
    struct trial t = {0};
    GIVE(&t, FP32, float, NAN, NAN, INFINITY);
    GIVE(&t, FP32, float, NAN, 1, INFINITY);
    GIVES(&t, 16, "GreaterOrEqual", BOOL, uint8_t, 0, 0, 1);
}

static void test_is_inf_asks_for_the_signs_that_it_is_told(void **state) {
    struct trial t = {0};
    onnx_build_int(&t.b, "detect_negative", 0);
    GIVE(&t, FP32, float, INFINITY, -INFINITY, NAN, 1);
    GIVES(&t, 10, "IsInf", BOOL, uint8_t, 1, 0, 0, 0);
    t = (struct trial){0};
    GIVE(&t, FP16, uint16_t, 0x7c00, 0x7e01, 0xfc00);
    GIVES(&t, 20, "IsNaN", BOOL, uint8_t, 0, 1, 0);
}

static void test_truth_is_anything_but_zero(void **state) {
    struct trial t = {0};
    GIVE(&t, BOOL, uint8_t, 2, 2, 0);
    GIVE(&t, BOOL, uint8_t, 1, 0, 0);
    GIVES(&t, 11, "Equal", BOOL, uint8_t, 1, 0, 1);
    t = (struct trial){0};
    GIVE(&t, BOOL, uint8_t, 2, 2, 0);
    GIVE(&t, BOOL, uint8_t, 1, 0, 0);
    GIVES(&t, 11, "Xor", BOOL, uint8_t, 0, 1, 0);
}

static void test_where_stretches_all_three(void **state) {
    struct trial t = {0};
    give(&t, DATATYPE_BOOL, 2, DIMS(2, 1), LIST(uint8_t, 1, 0));
    give(&t, DATATYPE_INT16, 1, DIMS(3), LIST(int16_t, 1, 2, 3));
    give(&t, DATATYPE_INT16, 0, NULL, LIST(int16_t, 9));
    gives(&t, 9, "Where", DATATYPE_INT16, 2, DIMS(2, 3), LIST(int16_t, 1, 2, 3, 9, 9, 9));
    t = (struct trial){0};
    GIVE(&t, BOOL, uint8_t, 1);
    GIVE(&t, INT16, int16_t, 1);
    GIVE(&t, INT32, int32_t, 1);
    refused(&t, 9, "Where", ERR_UNSUPPORTED_MODEL, "different datatypes");
}

static void test_clip_has_bounds_of_its_inputs_datatype(void **state) {
    struct trial t = {0};
    GIVE(&t, INT64, int64_t, INT64_MIN, 0, INT64_MAX);
    SCALAR(&t, INT64, int64_t, -5);
    SCALAR(&t, INT64, int64_t, INT64_MAX - 1);
    GIVES(&t, 12, "Clip", INT64, int64_t, -5, 0, INT64_MAX - 1);
    t = (struct trial){0};
    GIVE(&t, FP16, uint16_t, 0x3c00, 0x4000, 0x4200); /* 1, 2, 3 */
    SCALAR(&t, FP16, uint16_t, 0x3e00);
    GIVES(&t, 13, "Clip", FP16, uint16_t, 0x3e00, 0x4000, 0x4200);
    t = (struct trial){0};
    onnx_build_float(&t.b, "max", 0.5f);
    GIVE(&t, FP64, double, -INFINITY, 0.25, 1);
    GIVES(&t, 6, "Clip", FP64, double, -INFINITY, 0.25, 0.5);
    t = (struct trial){0};
    GIVE(&t, UINT8, uint8_t, 1);
    SCALAR(&t, INT8, int8_t, 1);
    refused(&t, 12, "Clip", ERR_UNSUPPORTED_MODEL, "is not one number of the input's datatype");
}

static void test_until_opset_6_an_operand_may_begin_at_an_axis(void **state) {
    struct trial t = {0};
    onnx_build_int(&t.b, "broadcast", 1);
    onnx_build_int(&t.b, "axis", 0);
    give(&t, DATATYPE_FP32, 2, DIMS(2, 3), LIST(float, 1, 2, 3, 4, 5, 6));
    give(&t, DATATYPE_FP32, 1, DIMS(2), LIST(float, 10, 20));
    gives(&t, 6, "Add", DATATYPE_FP32, 2, DIMS(2, 3), LIST(float, 11, 12, 13, 24, 25, 26));
}

static void test_an_axis_where_none_belongs_reads_nothing_beyond_an_operand(void **state) {
    static const char *const ops[] = {"Max", "Sum", "PRelu"};
    for (size_t i = 0; i < COUNT(ops); i++) {
        struct trial t = {0};
        struct err err = {0};
        onnx_build_int(&t.b, "axis", 0);
        give(&t, DATATYPE_FP32, 3, DIMS(2, 5, 7), (const float[70]){0});
        give(&t, DATATYPE_FP32, 1, DIMS(2), LIST(float, 0, 0));
        if (runs(&t, 6, ops[i], DATATYPE_FP32, 3, &err) != 0) assert_non_null(strstr(err.msg, "node 'n'"));
        done(&t);
    }
}

/* --- reductions -------------------------------------------------------------------------------------------------- */

static void test_reductions_take_their_axes_as_an_input_from_opset_18(void **state) {
    struct trial t = {0};
    onnx_build_int(&t.b, "keepdims", 0);
    give(&t, DATATYPE_FP32, 3, DIMS(2, 2, 2), LIST(float, 1, 2, 3, 4, 5, 6, 7, 8));
    GIVE(&t, INT64, int64_t, -1, 0);
    GIVES(&t, 18, "ReduceMean", FP32, float, 3.5f, 5.5f);
}

static void test_a_reduction_without_axes_reduces_all_or_if_told_nothing(void **state) {
    for (int noop = 0; noop < 2; noop++) {
        struct trial t = {0};
        onnx_build_int(&t.b, "noop_with_empty_axes", noop);
        GIVE(&t, FP32, float, -1, 2);
        if (noop)
            GIVES(&t, 18, "ReduceL1", FP32, float, -1, 2);
        else
            GIVES(&t, 18, "ReduceL1", FP32, float, 3);
    }
}

static void test_reductions_of_nothing_give_what_wins_against_nothing(void **state) {
    static const struct {
        const char *op;
        float want;
    } cases[] = {{"ReduceSum", 0},        {"ReduceProd", 1},           {"ReduceMax", -INFINITY},
                 {"ReduceMin", INFINITY}, {"ReduceLogSum", -INFINITY}, {"ReduceLogSumExp", -INFINITY},
                 {"ReduceSumSquare", 0},  {"ReduceMean", NAN}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct trial t = {0};
        give(&t, DATATYPE_FP32, 2, DIMS(1, 0), NULL);
        t.in[0].data = &t; /* of no bytes */
        GIVE(&t, INT64, int64_t, 1);
        gives(&t, 20, cases[i].op, DATATYPE_FP32, 2, DIMS(1, 1), &cases[i].want);
    }
    struct trial t = {0};
    give(&t, DATATYPE_INT32, 2, DIMS(0, 1), &t);
    GIVE(&t, INT64, int64_t, 0);
    gives(&t, 20, "ReduceMax", DATATYPE_INT32, 2, DIMS(1, 1), LIST(int32_t, INT32_MIN));
    t = (struct trial){0};
    give(&t, DATATYPE_BOOL, 2, DIMS(0, 1), &t);
    GIVE(&t, INT64, int64_t, 0);
    gives(&t, 20, "ReduceMin", DATATYPE_BOOL, 2, DIMS(1, 1), LIST(uint8_t, 1));
}

static void test_log_sum_exp_does_not_overflow(void **state) {
    struct trial t = {0};
    GIVE(&t, FP32, float, 1000, 1000, -INFINITY);
    GIVES(&t, 13, "ReduceLogSumExp", FP32, float, 1000.6931f);
    t = (struct trial){0};
    GIVE(&t, FP32, float, 1, INFINITY, INFINITY);
    GIVES(&t, 13, "ReduceLogSumExp", FP32, float, INFINITY);
    t = (struct trial){0};
    GIVE(&t, FP32, float, NAN, 1);
    GIVES(&t, 13, "ReduceLogSumExp", FP32, float, NAN);
}

static void test_reductions_of_whole_numbers(void **state) {
    struct trial t = {0};
    GIVE(&t, INT32, int32_t, -7, 2, -2);
    GIVES(&t, 13, "ReduceMean", INT32, int32_t, -2);
    t = (struct trial){0};
    GIVE(&t, UINT64, uint64_t, 1, UINT64_MAX, 5);
    GIVES(&t, 13, "ReduceMax", UINT64, uint64_t, UINT64_MAX);
    t = (struct trial){0};
    GIVE(&t, INT64, int64_t, INT64_MIN, 1);
    GIVES(&t, 13, "ReduceL1", INT64, int64_t, INT64_MIN + 1);
    t = (struct trial){0};
    GIVE(&t, INT8, int8_t, 3, -4);
    GIVES(&t, 13, "ReduceL2", INT8, int8_t, 5);
    t = (struct trial){0};
    GIVE(&t, INT8, int8_t, 100, 100);
    GIVES(&t, 13, "ReduceSum", INT8, int8_t, -56);
}

static void test_reductions_over_an_axis_that_is_not_there_are_refused(void **state) {
    static const int64_t axes[] = {2, -3, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < COUNT(axes); i++) {
        struct trial t = {0};
        give(&t, DATATYPE_FP32, 2, DIMS(1, 1), LIST(float, 1));
        give(&t, DATATYPE_INT64, 1, DIMS(1), &axes[i]);
        refused(&t, 18, "ReduceSum", ERR_UNSUPPORTED_MODEL, "of a tensor with 2 dimensions");
    }
}

/* --- order ------------------------------------------------------------------------------------------------------- */

static void test_arg_max_takes_the_first_or_the_last_of_equals(void **state) {
    for (int last = 0; last < 2; last++) {
        struct trial t = {0};
        onnx_build_int(&t.b, "select_last_index", last);
        GIVE(&t, FP32, float, -1, 0, -0.0f, -5);
        GIVES(&t, 13, "ArgMax", INT64, int64_t, last ? 2 : 1);
    }
}

static void test_arg_max_and_arg_min_of_every_kind_of_number(void **state) {
    struct trial t = {0};
    GIVE(&t, UINT64, uint64_t, 1, UINT64_MAX, 5);
    GIVES(&t, 13, "ArgMax", INT64, int64_t, 1);
    t = (struct trial){0};
    GIVE(&t, INT8, int8_t, 1, -128, 5);
    GIVES(&t, 13, "ArgMin", INT64, int64_t, 1);
    t = (struct trial){0};
    GIVE(&t, FP64, double, -INFINITY, 1, NAN, INFINITY);
    GIVES(&t, 13, "ArgMax", INT64, int64_t, 2);
    t = (struct trial){0};
    GIVE(&t, FP16, uint16_t, 0x3c00, 0xbc00, 0xc000); /* 1, -1, -2 */
    GIVES(&t, 13, "ArgMin", INT64, int64_t, 2);
}

static void test_arg_max_of_no_elements_is_refused(void **state) {
    struct trial t = {0};
    give(&t, DATATYPE_FP32, 2, DIMS(0, 3), &t);
    refused(&t, 13, "ArgMax", ERR_UNSUPPORTED_MODEL, "the axis has no elements");
}

static int by_value(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x < y) - (x > y);
}

static void test_top_k_is_the_head_of_the_sorted_list_for_every_k(void **state) {
    int32_t numbers[150], sorted[COUNT(numbers)];
    uint32_t seed = 12345;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        seed = seed * 1664525 + 1013904223;
        sorted[i] = numbers[i] = (int32_t)(seed >> 25) - 64; /* with equals */
    }
    qsort(sorted, COUNT(sorted), sizeof *sorted, by_value);
    for (int64_t k = 0; k <= (int64_t)COUNT(numbers); k++) {
        struct trial t = {0};
        give(&t, DATATYPE_INT32, 1, DIMS(COUNT(numbers)), numbers);
        give(&t, DATATYPE_INT64, 1, DIMS(1), &k);
        gives(&t, 11, "TopK", DATATYPE_INT32, 1, DIMS(k), sorted);
    }
}

static void test_top_k_of_equals_takes_the_lower_index_first(void **state) {
    struct trial t = {0};
    struct err err = {0};
    onnx_build_int(&t.b, "largest", 0);
    GIVE(&t, FP32, float, 3, 1, -0.0f, 0, 1, NAN);
    onnx_build_weight(&t.b, "k", ONNX_TYPE_INT64, 1, DIMS(1), LIST(int64_t, 4), 8);
    onnx_build_node(&t.b, "TopK", "n", "a,k", ",y");
    onnx_build_io(&t.b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_INT64, 1, DIMS(-1));
    onnx_build_model(&t.b, 11, &t.bytes);
    if (onnx_model_parse(t.bytes.data, t.bytes.len, &t.model, &err) != 0 ||
        onnx_session_new(t.model, 1, &t.ses, &err) != 0 || onnx_session_prepare(t.ses, t.in, &err) != 0)
        fail_msg("%s", err.msg);
    memcpy(onnx_session_input(t.ses, 0)->data, t.in[0].data, t.in[0].size_bytes);
    assert_int_equal(onnx_session_run(t.ses, NULL, &err), 0);
    assert_memory_equal(onnx_session_output(t.ses, 0)->data, DIMS(2, 3, 1, 4), 32);
    done(&t);
}

static void test_top_k_beyond_the_axis_is_refused(void **state) {
    static const int64_t many[] = {4, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT(many); i++) {
        struct trial t = {0};
        GIVE(&t, FP32, float, 1, 2, 3);
        give(&t, DATATYPE_INT64, 1, DIMS(1), &many[i]);
        refused(&t, 11, "TopK", ERR_UNSUPPORTED_MODEL, "of 3");
    }
}

static void test_cum_sum_along_an_axis_that_is_not_there_is_refused(void **state) {
    struct trial t = {0};
    GIVE(&t, FP32, float, 1, 2, 3);
    SCALAR(&t, INT32, int32_t, 1);
    refused(&t, 11, "CumSum", ERR_UNSUPPORTED_MODEL, "axis 1 of a tensor with 1 dimensions");
}

/* --- normalisation ----------------------------------------------------------------------------------------------- */

static void test_layer_norm_far_from_zero_keeps_its_variance(void **state) {
    struct trial t = {0};
    GIVE(&t, FP32, float, 10000, 10001, 10002, 10003);
    GIVE(&t, FP32, float, 2);
    GIVES(&t, 17, "LayerNormalization", FP32, float, -2.68327f, -0.894424f, 0.894424f, 2.68327f);
    t = (struct trial){0};
    GIVE(&t, FP32, float, 1, 2, 3);
    GIVE(&t, FP32, float, 1, 1);
    refused(&t, 17, "LayerNormalization", ERR_UNSUPPORTED_MODEL, "is not one number per normalised element");
    t = (struct trial){0};
    give(&t, DATATYPE_FP32, 2, DIMS((int64_t)1 << 37, 0), &t);
    GIVE(&t, FP32, float, 1);
    refused(&t, 17, "LayerNormalization", ERR_UNSUPPORTED_MODEL, "nothing lies between");
}

static void test_group_norm_scales_groups_until_opset_20_and_then_channels(void **state) {
    for (int opset = 18; opset <= 21; opset += 3) {
        struct trial t = {0};
        onnx_build_int(&t.b, "num_groups", 2);
        give(&t, DATATYPE_FP32, 2, DIMS(1, 4), LIST(float, -1, 1, 3, 5));
        bool by_group = opset < 21;
        give(&t, DATATYPE_FP32, 1, DIMS(by_group ? 2 : 4), by_group ? LIST(float, 1, 10) : LIST(float, 1, 1, 10, 10));
        give(&t, DATATYPE_FP32, 1, DIMS(by_group ? 2 : 4), by_group ? LIST(float, 0, 1) : LIST(float, 0, 0, 1, 1));
        gives(&t, opset, "GroupNormalization", DATATYPE_FP32, 2, DIMS(1, 4),
              LIST(float, -0.999995f, 0.999995f, -8.99995f, 10.99995f));
    }
}

static void test_group_norm_of_channels_that_do_not_divide_is_refused(void **state) {
    static const int64_t groups[] = {0, -1, 3, INT64_MIN};
    for (size_t i = 0; i < COUNT(groups); i++) {
        struct trial t = {0};
        onnx_build_int(&t.b, "num_groups", groups[i]);
        give(&t, DATATYPE_FP32, 2, DIMS(1, 4), LIST(float, 1, 2, 3, 4));
        GIVE(&t, FP32, float, 1);
        GIVE(&t, FP32, float, 1);
        refused(&t, 18, "GroupNormalization", ERR_UNSUPPORTED_MODEL, "are not divided");
    }
}

static void test_lrn_over_more_channels_than_there_are_takes_all(void **state) {
    struct trial t = {0};
    onnx_build_int(&t.b, "size", INT64_MAX);
    onnx_build_float(&t.b, "beta", 1);
    give(&t, DATATYPE_FP32, 3, DIMS(1, 2, 1), LIST(float, 1, 2));
    gives(&t, 13, "LRN", DATATYPE_FP32, 3, DIMS(1, 2, 1), LIST(float, 1, 2));
    t = (struct trial){0};
    onnx_build_int(&t.b, "size", 0);
    give(&t, DATATYPE_FP32, 3, DIMS(1, 2, 1), LIST(float, 1, 2));
    refused(&t, 13, "LRN", ERR_UNSUPPORTED_MODEL, "size is not positive");
}

/* --- shapes that are computed ------------------------------------------------------------------------------------ */

static void test_a_shape_may_follow_from_an_input_by_arithmetic(void **state) {
    struct trial t = {0};
    struct err err = {0};
    SCALAR(&t, INT64, int64_t, 2);
    onnx_build_weight(&t.b, "two", ONNX_TYPE_INT64, 0, NULL, LIST(int64_t, 2), 8);
    onnx_build_weight(&t.b, "zero", ONNX_TYPE_INT64, 0, NULL, LIST(int64_t, 0), 8);
    onnx_build_node(&t.b, "Mul", "twice", "a,two", "end");
    onnx_build_node(&t.b, "Range", "range", "zero,end,two", "r");
    onnx_build_node(&t.b, "Identity", "out", "r", "y");
    onnx_build_io(&t.b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_INT64, 1, DIMS(-1));
    onnx_build_model(&t.b, 13, &t.bytes);
    if (onnx_model_parse(t.bytes.data, t.bytes.len, &t.model, &err) != 0) fail_msg("%s", err.msg);
    assert_int_equal(onnx_session_new(t.model, 1, &t.ses, &err), 0);
    for (int64_t n = 2; n < 5; n++) {
        t.in[0].data = &n;
        if (onnx_session_prepare(t.ses, t.in, &err) != 0 || onnx_session_run(t.ses, NULL, &err) != 0)
            fail_msg("%s", err.msg);
        assert_int_equal(onnx_session_output(t.ses, 0)->shape[0], n);
        assert_memory_equal(onnx_session_output(t.ses, 0)->data, DIMS(0, 2, 4, 6), (size_t)n * 8);
    }
    t.in[0].data = NULL;
    assert_int_equal(onnx_session_prepare(t.ses, t.in, &err), -1);
    assert_non_null(strstr(err.msg, "input 'a' decides a shape"));
    done(&t);
}

static void test_a_shape_that_follows_from_real_numbers_is_refused(void **state) {
    struct trial t = {0};
    struct err err = {0};
    SCALAR(&t, FP32, float, 2);
    onnx_build_node(&t.b, "Neg", "m", "a", "b");
    onnx_build_node(&t.b, "Range", "n", "b,b,b", "y");
    onnx_build_io(&t.b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 1, DIMS(-1));
    onnx_build_model(&t.b, 13, &t.bytes);
    if (onnx_model_parse(t.bytes.data, t.bytes.len, &t.model, &err) != 0) fail_msg("%s", err.msg);
    assert_int_equal(onnx_session_new(t.model, 1, &t.ses, &err), 0);
    assert_int_equal(onnx_session_prepare(t.ses, t.in, &err), -1);
    assert_non_null(strstr(err.msg, "node 'n' (Range): input 'b' decides a shape, but depends on data"));
    done(&t);
}

/* What PyTorch writes for x.expand(-1, 3): Where(shape == -1, ones, shape). */
static void test_what_exporters_compute_around_expand_is_done_when_a_plan_is_made(void **state) {
    struct trial t = {0};
    struct err err = {0};
    give(&t, DATATYPE_FP32, 2, DIMS(2, 1), LIST(float, 5, 6));
    onnx_build_weight(&t.b, "want", ONNX_TYPE_INT64, 1, DIMS(2), LIST(int64_t, -1, 3), 16);
    onnx_build_weight(&t.b, "minus", ONNX_TYPE_INT64, 0, NULL, LIST(int64_t, -1), 8);
    onnx_build_weight(&t.b, "one", ONNX_TYPE_INT64, 0, NULL, LIST(int64_t, 1), 8);
    onnx_build_node(&t.b, "Shape", "s", "a", "shape");
    onnx_build_node(&t.b, "Shape", "r", "shape", "rank");
    onnx_build_node(&t.b, "ConstantOfShape", "z", "rank", "zeros");
    onnx_build_int(&t.b, "to", ONNX_TYPE_INT64);
    onnx_build_node(&t.b, "Cast", "c", "zeros", "whole");
    onnx_build_node(&t.b, "Add", "o", "whole,one", "ones");
    onnx_build_node(&t.b, "Equal", "e", "want,minus", "open");
    onnx_build_node(&t.b, "Where", "w", "open,ones,want", "dims");
    onnx_build_node(&t.b, "Expand", "n", "a,dims", "y");
    onnx_build_io(&t.b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 2, DIMS(-1, -1));
    onnx_build_model(&t.b, 13, &t.bytes);
    if (onnx_model_parse(t.bytes.data, t.bytes.len, &t.model, &err) != 0) fail_msg("%s", err.msg);
    assert_int_equal(onnx_session_new(t.model, 1, &t.ses, &err), 0);
    if (onnx_session_prepare(t.ses, t.in, &err) != 0) fail_msg("%s", err.msg);
    memcpy(onnx_session_input(t.ses, 0)->data, t.in[0].data, t.in[0].size_bytes);
    assert_int_equal(onnx_session_run(t.ses, NULL, &err), 0);
    assert_memory_equal(onnx_session_output(t.ses, 0)->data, LIST(float, 5, 5, 5, 6, 6, 6), 24);
    done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cast_of_a_number_beyond_the_range_gives_the_nearest_and_of_no_number_0),
        cmocka_unit_test(test_cast_between_whole_numbers_keeps_the_low_bits),
        cmocka_unit_test(test_cast_to_bool_asks_for_zero),
        cmocka_unit_test(test_cast_to_16_bits_rounds_once_and_to_even),
        cmocka_unit_test(test_every_number_of_16_bits_survives_the_way_there_and_back),
        cmocka_unit_test(test_cast_to_a_type_that_is_not_here_is_refused),
        cmocka_unit_test(test_whole_numbers_wrap_at_their_ends),
        cmocka_unit_test(test_dividing_a_whole_number_by_zero_fails_the_run),
        cmocka_unit_test(test_mod_has_the_sign_of_the_divisor_or_with_fmod_of_the_dividend),
        cmocka_unit_test(test_shifting_by_more_than_there_is_gives_0),
        cmocka_unit_test(test_powers_of_whole_numbers_wrap_and_have_no_fractions),
        cmocka_unit_test(test_products_of_matrices_of_whole_numbers_are_exact),
        cmocka_unit_test(test_products_of_matrices_of_doubles_keep_their_digits),
        cmocka_unit_test(test_gelu_is_exact_or_by_tanh),
        cmocka_unit_test(test_mish_and_softplus_of_large_numbers_do_not_overflow),
        cmocka_unit_test(test_functions_of_16_bits_go_on_past_the_stretch_they_are_computed_in),
        cmocka_unit_test(test_what_is_no_number_wins_and_compares_with_nothing),
        cmocka_unit_test(test_is_inf_asks_for_the_signs_that_it_is_told),
        cmocka_unit_test(test_truth_is_anything_but_zero),
        cmocka_unit_test(test_where_stretches_all_three),
        cmocka_unit_test(test_clip_has_bounds_of_its_inputs_datatype),
        cmocka_unit_test(test_until_opset_6_an_operand_may_begin_at_an_axis),
        cmocka_unit_test(test_an_axis_where_none_belongs_reads_nothing_beyond_an_operand),
        cmocka_unit_test(test_reductions_take_their_axes_as_an_input_from_opset_18),
        cmocka_unit_test(test_a_reduction_without_axes_reduces_all_or_if_told_nothing),
        cmocka_unit_test(test_reductions_of_nothing_give_what_wins_against_nothing),
        cmocka_unit_test(test_log_sum_exp_does_not_overflow),
        cmocka_unit_test(test_reductions_of_whole_numbers),
        cmocka_unit_test(test_reductions_over_an_axis_that_is_not_there_are_refused),
        cmocka_unit_test(test_arg_max_takes_the_first_or_the_last_of_equals),
        cmocka_unit_test(test_arg_max_and_arg_min_of_every_kind_of_number),
        cmocka_unit_test(test_arg_max_of_no_elements_is_refused),
        cmocka_unit_test(test_top_k_is_the_head_of_the_sorted_list_for_every_k),
        cmocka_unit_test(test_top_k_of_equals_takes_the_lower_index_first),
        cmocka_unit_test(test_top_k_beyond_the_axis_is_refused),
        cmocka_unit_test(test_cum_sum_along_an_axis_that_is_not_there_is_refused),
        cmocka_unit_test(test_layer_norm_far_from_zero_keeps_its_variance),
        cmocka_unit_test(test_group_norm_scales_groups_until_opset_20_and_then_channels),
        cmocka_unit_test(test_group_norm_of_channels_that_do_not_divide_is_refused),
        cmocka_unit_test(test_lrn_over_more_channels_than_there_are_takes_all),
        cmocka_unit_test(test_a_shape_may_follow_from_an_input_by_arithmetic),
        cmocka_unit_test(test_a_shape_that_follows_from_real_numbers_is_refused),
        cmocka_unit_test(test_what_exporters_compute_around_expand_is_done_when_a_plan_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
