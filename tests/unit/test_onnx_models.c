/* Whole models: the digits model against torch's outputs and the true labels, and published models with their own data.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "onnx_cases.h"
#include "testlib.h"

#define DIGITS  SOURCE_DIR "/models/digits"
#define SAMPLES 20

/* The samples are flat JSON that train.py writes: the numbers after `key` up to the next ']' are all that is needed. */
static size_t numbers_after(const char *json, const char *key, double *ret, size_t max) {
    const char *at = strstr(json, key);
    assert_non_null(at);
    at += strlen(key);
    size_t count = 0;
    while (count < max) {
        char *end;
        ret[count] = strtod(at, &end);
        if (end == at) break;
        count++;
        at = *end == ',' ? end + 1 : end;
        if (*end != ',') break;
    }
    return count;
}

static struct buf read_json(const char *name) {
    char path[1024];
    struct buf file = {0};
    snprintf(path, sizeof path, "%s/samples/%s", DIGITS, name);
    if (!onnx_case_read_file(path, &file)) fail_msg("no %s", path);
    return file;
}

struct digits {
    struct onnx_model *model;
    struct onnx_session *ses;
};

static int open_digits(void **state) {
    static struct digits digits;
    struct err err;
    if (onnx_model_open(DIGITS "/1/model.onnx", &digits.model, &err) != 0 ||
        onnx_session_new(digits.model, 1, &digits.ses, &err) != 0) {
        print_error("%s\n", err.msg);
        return -1;
    }
    *state = &digits;
    return 0;
}

static int close_digits(void **state) {
    struct digits *digits = *state;
    onnx_session_free(digits->ses);
    onnx_model_free(digits->model);
    return 0;
}

static const float *run_digits(struct digits *digits, const float *images, int64_t count) {
    struct err err;
    struct tensor in = {.datatype = DATATYPE_FP32, .rank = 4, .shape = {count, 1, 8, 8}};
    if (onnx_session_prepare(digits->ses, &in, &err) != 0) fail_msg("%s", err.msg);
    struct tensor *to = onnx_session_input(digits->ses, 0);
    assert_int_equal(to->size_bytes, (size_t)count * 64 * sizeof(float));
    memcpy(to->data, images, to->size_bytes);
    if (onnx_session_run(digits->ses, NULL, &err) != 0) fail_msg("%s", err.msg);
    const struct tensor *out = onnx_session_output(digits->ses, 0);
    assert_string_equal(out->name, "probabilities");
    assert_int_equal(out->shape[0], count);
    assert_int_equal(out->shape[1], 10);
    return out->data;
}

static void read_sample(int number, float *image, double *expected, int *label) {
    char name[16], key[24];
    double pixels[64], value;
    snprintf(name, sizeof name, "%02d.json", number);
    struct buf sample = read_json(name), outputs = read_json("expected.json"), labels = read_json("labels.json");
    assert_int_equal(numbers_after(sample.data, "\"data\":[", pixels, 64), 64);
    for (int i = 0; i < 64; i++) image[i] = (float)pixels[i];
    snprintf(key, sizeof key, "\"%s\":[", name);
    assert_int_equal(numbers_after(outputs.data, key, expected, 10), 10);
    snprintf(key, sizeof key, "\"%s\":", name);
    assert_int_equal(numbers_after(labels.data, key, &value, 1), 1);
    *label = (int)value;
    buf_done(&sample);
    buf_done(&outputs);
    buf_done(&labels);
}

/* 1e-4: torch and OpenBLAS add in different orders; both are float32. */
static void check_sample(const float *have, const double *expected, int label) {
    int best = 0;
    for (int i = 0; i < 10; i++) {
        if (!(fabs((double)have[i] - expected[i]) <= 1e-4))
            fail_msg("digit %d: %g, expected %g", i, (double)have[i], expected[i]);
        if (have[i] > have[best]) best = i;
    }
    assert_int_equal(best, label);
}

static void test_each_digit_sample_gives_its_label_and_the_probabilities_of_torch(void **state) {
    for (int i = 1; i <= SAMPLES; i++) {
        float image[64];
        double expected[10];
        int label;
        read_sample(i, image, expected, &label);
        check_sample(run_digits(*state, image, 1), expected, label);
    }
}

static void test_all_digit_samples_in_one_batch_give_the_same_as_one_by_one(void **state) {
    float images[SAMPLES][64];
    double expected[SAMPLES][10];
    int labels[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) read_sample(i + 1, images[i], expected[i], &labels[i]);
    const float *out = run_digits(*state, images[0], SAMPLES);
    for (int i = 0; i < SAMPLES; i++) check_sample(out + (size_t)i * 10, expected[i], labels[i]);
}

/* --- stopping ---------------------------------------------------------------------------------------------------- */

struct stop {
    size_t at, done; /* nodes after which to stop; nodes that have run */
};

static bool stop_is_due(void *ctx) {
    const struct stop *stop = ctx;
    return stop->done >= stop->at;
}

static void count_node(void *ctx, double fraction, const char *op_type) {
    struct stop *stop = ctx;
    stop->done++;
}

/* The flag rises while a node runs: that node is the last. */
static void test_a_run_that_is_to_stop_runs_no_further_node(void **state) {
    struct digits *digits = *state;
    float image[64] = {0};
    struct stop all = {.at = SIZE_MAX};
    const struct onnx_control control = {&all, stop_is_due, count_node};
    struct err err;
    run_digits(digits, image, 1);
    assert_int_equal(onnx_session_run(digits->ses, &control, &err), 0);
    assert_true(all.done > 3);
    for (size_t at = 0; at < all.done; at++) {
        struct stop stop = {.at = at};
        const struct onnx_control stopping = {&stop, stop_is_due, count_node};
        assert_int_equal(onnx_session_run(digits->ses, &stopping, &err), 1);
        assert_int_equal(stop.done, at);
    }
}

/* --- published models -------------------------------------------------------------------------------------------- */

static void run_published(const char *name, double rtol, double atol, int least_sets) {
    const char *root = getenv("PENSTOCK_SHARED_MODELS");
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/%s", root ? root : SOURCE_DIR "/../shared/models", name);
    if (access(folder, R_OK) != 0) {
        print_message("skipped: no %s (set PENSTOCK_SHARED_MODELS)\n", folder);
        skip();
    }
    struct err err;
    int sets = 0;
    if (onnx_case_run(folder, rtol, atol, &sets, &err) != 0) fail_msg("%s", err.msg);
    assert_true(sets >= least_sets);
}

static void test_mnist_8_gives_its_published_outputs(void **state) { run_published("mnist_8", 1e-3, 1e-3, 3); }

static void test_super_resolution_10_gives_its_published_outputs(void **state) {
    run_published("super_resolution_10", 1e-3, 1e-4, 1);
}

/* Two LSTMs of 128 in a row, whose sums ONNX Runtime adds in another order. */
static void test_dtln_1_gives_the_outputs_of_onnx_runtime(void **state) { run_published("dtln_1", 1e-3, 1e-5, 1); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_digit_sample_gives_its_label_and_the_probabilities_of_torch,
                                        open_digits, close_digits),
        cmocka_unit_test_setup_teardown(test_all_digit_samples_in_one_batch_give_the_same_as_one_by_one, open_digits,
                                        close_digits),
        cmocka_unit_test_setup_teardown(test_a_run_that_is_to_stop_runs_no_further_node, open_digits, close_digits),
        cmocka_unit_test(test_mnist_8_gives_its_published_outputs),
        cmocka_unit_test(test_super_resolution_10_gives_its_published_outputs),
        cmocka_unit_test(test_dtln_1_gives_the_outputs_of_onnx_runtime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
