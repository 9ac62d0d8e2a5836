/* Weights in files beside the model: found where the model says, and only within its folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "onnx_cases.h"
#include "testlib.h"

#define DIMS(...)                                                                                                      \
    (const int64_t[]) { __VA_ARGS__ }

/* A folder "model" in a folder of our own, so that there is something outside. */
struct fixture {
    char model[128], file[160];
};

static char *path_of(char buf[256], const struct fixture *fx, const char *name) {
    snprintf(buf, 256, "%s/%s", fx->model, name);
    return buf;
}

static void write_file(const struct fixture *fx, const char *name, const void *bytes, size_t len) {
    char path[256];
    FILE *file = fopen(path_of(path, fx, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
    static struct fixture fx;
    const float outside[3] = {7, 7, 7};
    char path[256];
    snprintf(fx.model, sizeof fx.model, "%s/model", test_temp_dir());
    snprintf(fx.file, sizeof fx.file, "%s/model.onnx", fx.model);
    assert_int_equal(mkdir(fx.model, 0700), 0);
    assert_int_equal(mkdir(path_of(path, &fx, "parts"), 0700), 0);
    write_file(&fx, "../outside.bin", outside, sizeof outside);
    *state = &fx;
    return 0;
}

static void add_entry(struct buf *tensor, const char *key, const char *value) {
    struct buf entry = {0};
    if (!value) return;
    onnx_build_field_bytes(&entry, 1, key, strlen(key));
    onnx_build_field_bytes(&entry, 2, value, strlen(value));
    onnx_build_field_bytes(tensor, 13, entry.data, entry.len);
    buf_done(&entry);
}

/* A FP32 weight of three elements; NULL leaves an entry out. */
static void add_weight(struct onnx_builder *b, const char *name, const char *location, const char *offset,
                       const char *length) {
    struct buf tensor = {0};
    onnx_build_field_int(&tensor, 1, 3);
    onnx_build_field_int(&tensor, 2, ONNX_TYPE_FLOAT);
    onnx_build_field_bytes(&tensor, 8, name, strlen(name));
    add_entry(&tensor, "location", location);
    add_entry(&tensor, "offset", offset);
    add_entry(&tensor, "length", length);
    add_entry(&tensor, "checksum", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    onnx_build_field_int(&tensor, 14, 1); /* data_location = EXTERNAL */
    onnx_build_field_bytes(&b->graph, 5, tensor.data, tensor.len);
    buf_done(&tensor);
}

static void write_model(const struct fixture *fx, struct onnx_builder *b) {
    struct buf bytes = {0};
    onnx_build_io(b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 1, DIMS(3));
    onnx_build_io(b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 1, DIMS(3));
    onnx_build_model(b, 13, &bytes);
    write_file(fx, "model.onnx", bytes.data, bytes.len);
    buf_done(&bytes);
}

static void run(const struct fixture *fx, const float x[3], float ret_y[3]) {
    struct onnx_model *model;
    struct onnx_session *ses;
    struct err err;
    const struct tensor input = {.name = "x", .datatype = DATATYPE_FP32, .rank = 1, .shape = {3}, .size_bytes = 12};
    if (onnx_model_open(fx->file, &model, &err) != 0 || onnx_session_new(model, 1, &ses, &err) != 0 ||
        onnx_session_prepare(ses, &input, &err) != 0)
        fail_msg("%s", err.msg);
    memcpy(onnx_session_input(ses, 0)->data, x, 12);
    assert_int_equal(onnx_session_run(ses, NULL, &err), 0);
    memcpy(ret_y, onnx_session_output(ses, 0)->data, 12);
    onnx_session_free(ses);
    onnx_model_free(model);
}

/* --- taken ------------------------------------------------------------------------------------------------------- */

static void test_weights_lie_at_their_places_in_files_beside_the_model(void **state) {
    const struct fixture *fx = *state;
    const float two[6] = {1, 2, 3, 10, 20, 30}, whole[3] = {100, 200, 300}, x[3] = {0.5f, 0.25f, 0.125f};
    float y[3];
    struct onnx_builder b = {0};
    write_file(fx, "two.bin", two, sizeof two);
    write_file(fx, "parts/whole.bin", whole, sizeof whole);
    onnx_build_node(&b, "Sum", "sum", "x,first,second,third", "y");
    add_weight(&b, "first", "two.bin", NULL, "12");
    add_weight(&b, "second", "two.bin", "12", NULL);
    add_weight(&b, "third", "parts/whole.bin", "0", "12");
    write_model(fx, &b);
    run(fx, x, y);
    for (int i = 0; i < 3; i++) assert_true(y[i] == x[i] + two[i] + two[3 + i] + whole[i]);
}

static void test_place_that_no_float_could_be_read_from_is_copied(void **state) {
    const struct fixture *fx = *state;
    const float w[3] = {1, 2, 3}, x[3] = {0};
    char odd[13] = {0};
    float y[3];
    struct onnx_builder b = {0};
    memcpy(odd + 1, w, sizeof w);
    write_file(fx, "odd.bin", odd, sizeof odd);
    onnx_build_node(&b, "Add", "a", "x,w", "y");
    add_weight(&b, "w", "odd.bin", "1", "12");
    write_model(fx, &b);
    run(fx, x, y);
    assert_memory_equal(y, w, sizeof w);
}

/* --- refused ----------------------------------------------------------------------------------------------------- */

static const struct bad_place {
    const char *location, *offset, *length, *words;
} bad_places[] = {
    {NULL, NULL, NULL, "tensor 'w': external data without a location"},
    {"", NULL, NULL, "without a location"},
    {"missing.bin", NULL, NULL, "external data 'missing.bin', looked for in the model's folder: No such file"},
    {"../outside.bin", NULL, NULL, "looked for in the model's folder: Invalid cross-device link"},
    {"parts/../../outside.bin", NULL, NULL, "looked for in the model's folder: Invalid cross-device link"},
    {"/etc/passwd", NULL, NULL, "looked for in the model's folder: Invalid cross-device link"},
    {"link.bin", NULL, NULL, "Too many levels of symbolic links"},
    {"way/three.bin", NULL, NULL, "Too many levels of symbolic links"},
    {"parts", NULL, NULL, "'parts': not a regular file"},
    {"fifo", NULL, NULL, "'fifo': not a regular file"},
    {"three.bin", "4", NULL, "'three.bin' has 12 bytes, 12 at 4 are asked for"},
    {"three.bin", "18446744073709551615", NULL, "'three.bin' has 12 bytes, 12 at 18446744073709551615"},
    {"three.bin", "18446744073709551616", NULL, "'18446744073709551616' is no number of bytes"},
    {"three.bin", "-4", NULL, "'-4' is no number of bytes"},
    {"three.bin", "4k", NULL, "'4k' is no number of bytes"},
    {"three.bin", "", NULL, "'' is no number of bytes"},
    {"three.bin", NULL, "8", "8 bytes of external data where 12 belong"},
    {"empty.bin", NULL, NULL, "'empty.bin' has 0 bytes"},
};

static void test_places_that_are_not_there_or_outside_are_refused(void **state) {
    const struct fixture *fx = *state;
    char path[256];
    write_file(fx, "three.bin", "123412341234", 12);
    write_file(fx, "empty.bin", "", 0);
    assert_int_equal(symlink("../outside.bin", path_of(path, fx, "link.bin")), 0);
    assert_int_equal(symlink(".", path_of(path, fx, "way")), 0);
    assert_int_equal(mkfifo(path_of(path, fx, "fifo"), 0600), 0);
    for (size_t i = 0; i < sizeof bad_places / sizeof bad_places[0]; i++) {
        const struct bad_place *bad = &bad_places[i];
        struct onnx_builder b = {0};
        struct onnx_model *model;
        struct err err;
        onnx_build_node(&b, "Add", "a", "x,w", "y");
        add_weight(&b, "w", bad->location, bad->offset, bad->length);
        write_model(fx, &b);
        assert_int_equal(onnx_model_open(fx->file, &model, &err), -1);
        if (err.code != ERR_MODEL_LOAD_FAILED || !strstr(err.msg, bad->words))
            fail_msg("expected '%s', got %s: %s", bad->words, err_code_name(err.code), err.msg);
    }
}

static void test_model_in_memory_names_no_files(void **state) {
    struct onnx_builder b = {0};
    struct buf bytes = {0};
    struct onnx_model *model;
    struct err err;
    onnx_build_node(&b, "Add", "a", "x,w", "y");
    add_weight(&b, "w", "three.bin", NULL, NULL);
    onnx_build_model(&b, 13, &bytes);
    assert_int_equal(onnx_model_parse(bytes.data, bytes.len, &model, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED_MODEL);
    assert_string_equal(err.msg, "tensor 'w': data in an external file, and no folder to look for it");
    buf_done(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_lie_at_their_places_in_files_beside_the_model),
        cmocka_unit_test(test_place_that_no_float_could_be_read_from_is_copied),
        cmocka_unit_test(test_places_that_are_not_there_or_outside_are_refused),
        cmocka_unit_test(test_model_in_memory_names_no_files),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
