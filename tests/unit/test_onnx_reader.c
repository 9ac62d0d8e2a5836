/* The model reader on models made byte by byte: what is refused and how it is named, and that no truncation and no
 * changed byte does more than give an error. */
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

static void add_io(struct onnx_builder *b) {
    onnx_build_io(b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 2, DIMS(-1, 3));
    onnx_build_io(b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 2, DIMS(-1, 3));
}

static void refused(struct onnx_builder *b, int opset, enum err_code code, const char *words) {
    struct buf bytes = {0};
    struct onnx_model *model = NULL;
    struct err err = {0};
    onnx_build_model(b, opset, &bytes);
    assert_int_equal(onnx_model_parse(bytes.data, bytes.len, &model, &err), -1);
    assert_null(model);
    if (err.code != code || !strstr(err.msg, words))
        fail_msg("expected %s with '%s', got %s: %s", err_code_name(code), words, err_code_name(err.code), err.msg);
    buf_done(&bytes);
}

/* --- what a model computes --------------------------------------------------------------------------------------- */

/* y = relu(x + bias) with the nodes given in the wrong order. */
static void build_small(struct buf *bytes) {
    struct onnx_builder b = {0};
    const float bias[3] = {1, -2, 0.5f};
    onnx_build_node(&b, "Relu", "act", "sum", "y");
    onnx_build_node(&b, "Add", "plus", "x,bias", "sum");
    onnx_build_weight(&b, "bias", ONNX_TYPE_FLOAT, 1, DIMS(3), bias, sizeof bias);
    add_io(&b);
    onnx_build_model(&b, 13, bytes);
}

static void test_nodes_out_of_order_are_sorted_and_weights_are_read_at_any_alignment(void **state) {
    struct buf bytes = {0};
    build_small(&bytes);
    char *shifted = malloc(bytes.len + 4);
    assert_non_null(shifted);
    for (size_t shift = 0; shift < 4; shift++) {
        struct err err;
        struct onnx_model *model;
        struct onnx_session *ses;
        memcpy(shifted + shift, bytes.data, bytes.len);
        if (onnx_model_parse(shifted + shift, bytes.len, &model, &err) != 0) fail_msg("%s", err.msg);
        if (onnx_session_new(model, 1, &ses, &err) != 0) fail_msg("%s", err.msg);
        struct tensor in = {.datatype = DATATYPE_FP32, .rank = 2, .shape = {2, 3}};
        if (onnx_session_prepare(ses, &in, &err) != 0) fail_msg("%s", err.msg);
        memcpy(onnx_session_input(ses, 0)->data, (float[]){1, 1, 1, -5, 3, 0}, 6 * sizeof(float));
        assert_int_equal(onnx_session_run(ses, NULL, &err), 0);
        const float want[6] = {2, 0, 1.5f, 0, 1, 0.5f};
        assert_memory_equal(onnx_session_output(ses, 0)->data, want, sizeof want);
        onnx_session_free(ses);
        onnx_model_free(model);
    }
    free(shifted);
    buf_done(&bytes);
}

static void test_a_wrong_shape_is_refused_with_both_shapes_named(void **state) {
    struct buf bytes = {0};
    struct err err;
    struct onnx_model *model;
    build_small(&bytes);
    assert_int_equal(onnx_model_parse(bytes.data, bytes.len, &model, &err), 0);
    struct tensor in = {.datatype = DATATYPE_FP32, .rank = 2, .shape = {2, 4}};
    assert_int_equal(onnx_model_check_input(model, 0, &in, &err), -1);
    assert_int_equal(err.code, ERR_INVALID_INPUT);
    assert_string_equal(err.msg, "input 'x': shape [2,4] where the model takes [-1,3]");
    in.datatype = DATATYPE_INT64;
    assert_int_equal(onnx_model_check_input(model, 0, &in, &err), -1);
    assert_string_equal(err.msg, "input 'x': datatype INT64 where the model takes FP32");
    onnx_model_free(model);
    buf_done(&bytes);
}

/* y = relu(x) + x * x, with relu(x) read through two views after its own last reader: the square must not be laid over
 * it. */
static void test_a_view_keeps_the_bytes_of_its_root_alive(void **state) {
    struct onnx_builder b = {0};
    struct buf bytes = {0};
    struct err err;
    struct onnx_model *model;
    struct onnx_session *ses;
    onnx_build_node(&b, "Relu", "r", "x", "a");
    onnx_build_node(&b, "Flatten", "f", "a", "b");
    onnx_build_node(&b, "Identity", "i", "b", "c");
    onnx_build_node(&b, "Mul", "square", "x,x", "d");
    onnx_build_node(&b, "Add", "sum", "c,d", "y");
    add_io(&b);
    onnx_build_model(&b, 13, &bytes);
    if (onnx_model_parse(bytes.data, bytes.len, &model, &err) != 0) fail_msg("%s", err.msg);
    assert_int_equal(onnx_session_new(model, 1, &ses, &err), 0);
    struct tensor in = {.datatype = DATATYPE_FP32, .rank = 2, .shape = {1, 3}};
    for (int run = 0; run < 2; run++) {
        if (onnx_session_prepare(ses, &in, &err) != 0) fail_msg("%s", err.msg);
        memcpy(onnx_session_input(ses, 0)->data, (float[]){1, -1, 2}, 3 * sizeof(float));
        assert_int_equal(onnx_session_run(ses, NULL, &err), 0);
        const float want[3] = {2, 1, 6};
        assert_memory_equal(onnx_session_output(ses, 0)->data, want, sizeof want);
    }
    onnx_session_free(ses);
    onnx_model_free(model);
    buf_done(&bytes);
}

/* More shapes than plans are kept, and a shared block that grows: each shape must still run right, the second time too.
 */
static void test_many_shapes_in_turn_each_run_right(void **state) {
    struct buf bytes = {0};
    struct err err;
    struct onnx_model *model;
    struct onnx_session *ses;
    build_small(&bytes);
    assert_int_equal(onnx_model_parse(bytes.data, bytes.len, &model, &err), 0);
    assert_int_equal(onnx_session_new(model, 1, &ses, &err), 0);
    for (int64_t i = 0; i < 400; i++) {
        int64_t rows = 1 + i * 7 % 100;
        struct tensor in = {.datatype = DATATYPE_FP32, .rank = 2, .shape = {rows, 3}};
        if (onnx_session_prepare(ses, &in, &err) != 0) fail_msg("%s", err.msg);
        float *x = onnx_session_input(ses, 0)->data;
        for (int64_t j = 0; j < rows * 3; j++) x[j] = (float)(j - i);
        assert_int_equal(onnx_session_run(ses, NULL, &err), 0);
        const struct tensor *out = onnx_session_output(ses, 0);
        assert_int_equal(out->shape[0], rows);
        for (int64_t j = 0; j < rows * 3; j++) {
            float sum = (float)(j - i) + (const float[]){1, -2, 0.5f}[j % 3];
            assert_true(((const float *)out->data)[j] == (sum > 0 ? sum : 0));
        }
    }
    onnx_session_free(ses);
    onnx_model_free(model);
    buf_done(&bytes);
}

/* Two small inputs whose sum is an exabyte, and one that is only far beyond this machine. */
static void test_a_result_beyond_the_machine_is_refused_before_it_is_computed(void **state) {
    struct onnx_builder b = {0};
    struct buf bytes = {0};
    struct err err;
    struct onnx_model *model;
    struct onnx_session *ses;
    onnx_build_node(&b, "Add", "outer", "x,z", "y");
    onnx_build_io(&b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 2, DIMS(-1, 1));
    onnx_build_io(&b, ONNX_BUILD_INPUT, "z", ONNX_TYPE_FLOAT, 2, DIMS(1, -1));
    onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 2, DIMS(-1, -1));
    onnx_build_model(&b, 13, &bytes);
    assert_int_equal(onnx_model_parse(bytes.data, bytes.len, &model, &err), 0);
    assert_int_equal(onnx_session_new(model, 1, &ses, &err), 0);
    for (int64_t size = INT64_C(1) << 31; size >= INT64_C(1) << 18; size >>= 13) {
        struct tensor in[2] = {{.datatype = DATATYPE_FP32, .rank = 2, .shape = {size, 1}},
                               {.datatype = DATATYPE_FP32, .rank = 2, .shape = {1, size}}};
        assert_int_equal(onnx_session_prepare(ses, in, &err), -1);
        assert_int_equal(err.code, size > INT64_C(1) << 18 ? ERR_UNSUPPORTED_MODEL : ERR_OUT_OF_MEMORY);
    }
    onnx_session_free(ses);
    onnx_model_free(model);
    buf_done(&bytes);
}

/* --- refusals ---------------------------------------------------------------------------------------------------- */

static void test_an_unknown_operator_is_refused_by_node_and_name(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Frobnicate", "mid", "x", "y");
    add_io(&b);
    refused(&b, 13, ERR_UNSUPPORTED_MODEL, "node 'mid' (Frobnicate): the operator is not supported");
}

static void test_an_opset_beyond_the_known_ones_is_refused_with_the_range(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Relu", "r", "x", "y");
    add_io(&b);
    refused(&b, ONNX_MAX_OPSET + 1, ERR_UNSUPPORTED_MODEL, "the model uses opset 23; 1 to 22 are supported");
}

static void test_an_operator_older_than_its_implemented_meaning_is_refused(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "HardSwish", "a", "x", "y");
    add_io(&b);
    refused(&b, 13, ERR_UNSUPPORTED_MODEL, "node 'a' (HardSwish): as of opset 13; supported from opset 14");
}

static void test_a_cycle_is_refused_and_named(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Add", "head", "x,back", "mid");
    onnx_build_node(&b, "Relu", "tail", "mid", "back");
    onnx_build_node(&b, "Relu", "out", "back", "y");
    add_io(&b);
    refused(&b, 13, ERR_MODEL_LOAD_FAILED, "the graph has a cycle");
}

static void test_a_long_chain_of_nodes_in_reverse_order_does_not_exhaust_the_stack(void **state) {
    struct onnx_builder b = {0};
    struct buf bytes = {0};
    struct err err;
    struct onnx_model *model;
    char from[16] = "x", to[16];
    const int length = 20000;
    for (int i = length; i > 0; i--) {
        if (i > 1)
            snprintf(from, sizeof from, "v%d", i - 1);
        else
            snprintf(from, sizeof from, "x");
        if (i == length)
            snprintf(to, sizeof to, "y");
        else
            snprintf(to, sizeof to, "v%d", i);
        onnx_build_node(&b, "Relu", to, from, to);
    }
    add_io(&b);
    onnx_build_model(&b, 13, &bytes);
    if (onnx_model_parse(bytes.data, bytes.len, &model, &err) != 0) fail_msg("%s", err.msg);
    onnx_model_free(model);
    buf_done(&bytes);
}

static void test_a_value_from_nowhere_is_refused_by_name(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Add", "a", "x,ghost", "y");
    add_io(&b);
    refused(&b, 13, ERR_MODEL_LOAD_FAILED, "node 'a' (Add): input 'ghost' is produced by nothing");
}

static void test_a_value_with_two_producers_is_refused_by_name(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Relu", "one", "x", "y");
    onnx_build_node(&b, "Tanh", "two", "x", "y");
    add_io(&b);
    refused(&b, 13, ERR_MODEL_LOAD_FAILED, "node 'two' (Tanh): 'y' has another origin already");
}

static void test_a_weight_shorter_than_its_shape_is_refused_by_name(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Add", "a", "x,w", "y");
    onnx_build_weight(&b, "w", ONNX_TYPE_FLOAT, 2, DIMS(2, 3), "1234", 4);
    add_io(&b);
    refused(&b, 13, ERR_MODEL_LOAD_FAILED, "tensor 'w': 4 bytes given, 6 elements of FP32 declared");
}

static void test_dimensions_whose_product_overflows_are_refused(void **state) {
    const int64_t big = INT64_C(1) << 33;
    const int64_t shapes[][3] = {{big, big, 4}, {0, big, big}, {-1, 3, 1}, {INT64_MAX, INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct onnx_builder b = {0};
        onnx_build_node(&b, "Add", "a", "x,w", "y");
        onnx_build_weight(&b, "w", ONNX_TYPE_FLOAT, 3, shapes[i], "", 0);
        add_io(&b);
        refused(&b, 13, ERR_MODEL_LOAD_FAILED, "tensor 'w': its dimensions are negative or too large");
    }
}

static void test_a_length_past_the_end_is_refused_with_its_place(void **state) {
    const uint8_t bytes[] = {0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f}; /* graph, 4 GiB long */
    struct onnx_model *model;
    struct err err;
    assert_int_equal(onnx_model_parse(bytes, sizeof bytes, &model, &err), -1);
    assert_string_equal(err.msg, "not a valid ONNX file: byte 6: a length points past the end");
}

static void test_a_varint_without_end_is_refused(void **state) {
    uint8_t bytes[16];
    struct onnx_model *model;
    struct err err;
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(onnx_model_parse(bytes, sizeof bytes, &model, &err), -1);
    assert_non_null(strstr(err.msg, "over 64 bits"));
    assert_int_equal(onnx_model_parse(bytes, 3, &model, &err), -1);
    assert_non_null(strstr(err.msg, "cut short"));
}

static void test_an_empty_file_is_no_model(void **state) {
    struct onnx_model *model;
    struct err err;
    assert_int_equal(onnx_model_parse("", 0, &model, &err), -1);
    assert_string_equal(err.msg, "not a valid ONNX file: it has no graph");
    assert_int_equal(onnx_model_open("/nonexistent/model.onnx", &model, &err), -1);
    assert_int_equal(err.code, ERR_MODEL_LOAD_FAILED);
    assert_non_null(strstr(err.msg, "/nonexistent/model.onnx"));
}

/* --- every broken variant of a small model ----------------------------------------------------------------------- */

/* Bytes on the heap of exactly this size, so that AddressSanitizer sees a read past them. */
static int parse_copy(const uint8_t *bytes, size_t len) {
    uint8_t *copy = malloc(len ? len : 1);
    struct onnx_model *model = NULL;
    struct err err = {0};
    assert_non_null(copy);
    if (len) memcpy(copy, bytes, len);
    int rc = onnx_model_parse(copy, len, &model, &err);
    if (rc != 0) {
        assert_null(model);
        assert_int_not_equal(err.code, ERR_NONE);
        assert_int_not_equal(err.msg[0], 0);
    }
    onnx_model_free(model);
    free(copy);
    return rc;
}

static struct buf corpus_model(void) {
    struct buf bytes = {0};
    if (!onnx_case_read_file(SOURCE_DIR "/tests/fuzz/corpus/onnx/small_net.onnx", &bytes))
        fail_msg("no small_net.onnx");
    assert_int_equal(parse_copy((const uint8_t *)bytes.data, bytes.len), 0);
    return bytes;
}

static void test_every_truncation_of_a_model_is_refused(void **state) {
    struct buf bytes = corpus_model();
    size_t refusals = 0;
    for (size_t len = 0; len < bytes.len; len++) refusals += parse_copy((const uint8_t *)bytes.data, len) != 0;
    /* What follows the graph is the opset import: without it the model is refused too. */
    assert_int_equal(refusals, bytes.len);
    buf_done(&bytes);
}

static void test_no_change_of_one_byte_does_more_than_give_an_error(void **state) {
    struct buf bytes = corpus_model();
    size_t refusals = 0;
    for (size_t at = 0; at < bytes.len; at++) {
        const uint8_t was = (uint8_t)bytes.data[at];
        const uint8_t variants[] = {
            0x00, 0x01, 0x7f, 0x80, 0xff, (uint8_t)(was + 1), (uint8_t)(was - 1), (uint8_t)(was ^ 0x08)};
        for (size_t i = 0; i < sizeof variants; i++) {
            bytes.data[at] = (char)variants[i];
            refusals += parse_copy((const uint8_t *)bytes.data, bytes.len) != 0;
        }
        bytes.data[at] = (char)was;
    }
    assert_true(refusals > bytes.len); /* most bytes of a model mean something */
    buf_done(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_out_of_order_are_sorted_and_weights_are_read_at_any_alignment),
        cmocka_unit_test(test_a_wrong_shape_is_refused_with_both_shapes_named),
        cmocka_unit_test(test_a_view_keeps_the_bytes_of_its_root_alive),
        cmocka_unit_test(test_many_shapes_in_turn_each_run_right),
        cmocka_unit_test(test_a_result_beyond_the_machine_is_refused_before_it_is_computed),
        cmocka_unit_test(test_an_unknown_operator_is_refused_by_node_and_name),
        cmocka_unit_test(test_an_opset_beyond_the_known_ones_is_refused_with_the_range),
        cmocka_unit_test(test_an_operator_older_than_its_implemented_meaning_is_refused),
        cmocka_unit_test(test_a_cycle_is_refused_and_named),
        cmocka_unit_test(test_a_long_chain_of_nodes_in_reverse_order_does_not_exhaust_the_stack),
        cmocka_unit_test(test_a_value_from_nowhere_is_refused_by_name),
        cmocka_unit_test(test_a_value_with_two_producers_is_refused_by_name),
        cmocka_unit_test(test_a_weight_shorter_than_its_shape_is_refused_by_name),
        cmocka_unit_test(test_dimensions_whose_product_overflows_are_refused),
        cmocka_unit_test(test_a_length_past_the_end_is_refused_with_its_place),
        cmocka_unit_test(test_a_varint_without_end_is_refused),
        cmocka_unit_test(test_an_empty_file_is_no_model),
        cmocka_unit_test(test_every_truncation_of_a_model_is_refused),
        cmocka_unit_test(test_no_change_of_one_byte_does_more_than_give_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
