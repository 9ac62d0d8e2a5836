/* What the onnx-cuda executor does with its device, seen from inside the emulated one: what it allocates, when it
 * stops, and what it makes of a device that fails. The kernels' results are other tests' (contract,
 * unit/test_onnx_nodes). */
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

#include "cuda_emulation.h"
#include "onnx_cases.h"
#include "penstock/registry.h"
#include "testlib.h"

#define ONNX_TEST_DATA "/usr/lib/python3/dist-packages/onnx/backend/test/data"
#define CHAIN          40 /* nodes in a row */
#define LENGTH         8  /* elements of a job */

enum { MEMORY_ALLOCATION = 2, ILLEGAL_ADDRESS = 700 }; /* cudaError_t */

struct fixture {
    const struct executor_ops *ops;
    struct executor *ex;
    struct executor_model *model;
    struct executor_error why;
    float values[LENGTH];
    bool stop;        /* what should_stop answers */
    uint64_t stop_at; /* the kernel before which it turns true; 0: none */
    uint64_t kernels; /* that have run */
};

static struct fixture fx;

static void on_kernel(void *ctx) {
    if (++fx.kernels == fx.stop_at) fx.stop = true;
}

static int setup(void **state) {
    struct err err;
    fx = (struct fixture){0};
    cuda_emulation_reset();
    cuda_emulation_on_kernel(on_kernel, NULL);
    if (registry_executor_find("onnx-cuda", BUILD_DIR "/emulated", &fx.ops, &err) != 0) fail_msg("%s", err.msg);
    assert_int_equal(fx.ops->open(&(struct executor_options){.threads = 1}, &fx.ex, &fx.why), 0);
    return 0;
}

static int teardown(void **state) {
    fx.ops->unload(fx.model);
    fx.ops->close(fx.ex);
    return 0;
}

/* A folder with the model y = op(op(... op(x))). */
static const char *write_chain(const char *op_type, int nodes) {
    static char folder[1024];
    static int count;
    char path[1100];
    struct onnx_builder b = {0};
    struct buf bytes = {0};
    const int64_t shape[] = {-1, LENGTH};
    for (int i = 0; i < nodes; i++) {
        char in[16] = "x", out[16] = "y";
        if (i > 0) snprintf(in, sizeof in, "v%d", i);
        if (i + 1 < nodes) snprintf(out, sizeof out, "v%d", i + 1);
        onnx_build_node(&b, op_type, "node", in, out);
    }
    onnx_build_io(&b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 2, shape);
    onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 2, shape);
    onnx_build_model(&b, 13, &bytes);
    snprintf(folder, sizeof folder, "%s/chain%d", test_temp_dir(), count++);
    assert_int_equal(mkdir(folder, 0755), 0);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    fclose(file);
    buf_done(&bytes);
    return folder;
}

static int load(const char *folder) {
    const struct executor_model_source source = {.name = "chain", .version = "1", .path = folder, .max_batch_size = 4};
    return fx.ops->load(fx.ex, &source, &fx.model, &fx.why);
}

static bool should_stop(void *ctx, size_t index) { return fx.stop; }
static void progress(void *ctx, size_t index, double fraction, const char *message) {}

static struct executor_job run(void) {
    struct tensor in = {"x", DATATYPE_FP32, 2, {1, LENGTH}, fx.values, sizeof fx.values};
    struct executor_job job = {.job_id = "job", .attempt = 1, .inputs = &in, .input_count = 1};
    const struct executor_control control = {NULL, should_stop, progress};
    for (int i = 0; i < LENGTH; i++) fx.values[i] = (float)(i - 3);
    assert_int_equal(fx.ops->run(fx.model, &job, 1, &control, &fx.why), 0);
    return job;
}

static void load_and_record(const char *op_type, int nodes) {
    assert_int_equal(load(write_chain(op_type, nodes)), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(run().outcome, EXECUTOR_COMPLETED);
}

static void test_a_recorded_plan_runs_as_graphs_and_allocates_nothing(void **state) {
    static const char *const allocates[] = {"cudaMalloc", "cudaMallocHost", "cudaGraphInstantiate", "launch"};
    uint64_t before[4];
    cuda_emulation_kernel_ms(0.0625f); /* three in a segment of 0.2 ms, and sums without rounding */
    load_and_record("Relu", CHAIN);
    for (size_t i = 0; i < 4; i++) before[i] = cuda_emulation_calls(allocates[i]);
    uint64_t graphs = cuda_emulation_calls("cudaGraphLaunch"), kernels = fx.kernels;
    struct executor_job job = run();
    for (size_t i = 0; i < 4; i++) assert_int_equal(cuda_emulation_calls(allocates[i]), before[i]);
    assert_int_equal(fx.kernels - kernels, CHAIN);
    assert_int_equal(cuda_emulation_calls("cudaGraphLaunch") - graphs, (CHAIN + 2) / 3);
    for (int i = 0; i < LENGTH; i++) assert_true(((float *)job.outputs[0].data)[i] == (i < 3 ? 0 : (float)(i - 3)));
}

/* The flag rises while a kernel runs. Short ones: its own segment and the next are on their way. */
static void test_a_stop_is_seen_within_two_segments_of_short_steps(void **state) {
    load_and_record("Relu", CHAIN);
    for (uint64_t at = 1; at < CHAIN - 8; at++) {
        fx.kernels = 0;
        fx.stop = false;
        fx.stop_at = at;
        assert_int_equal(run().outcome, EXECUTOR_STOPPED);
        assert_true(fx.kernels >= at && fx.kernels < at + 8);
    }
}

/* Long ones: no other is on its way. */
static void test_a_stop_is_seen_within_one_long_step(void **state) {
    cuda_emulation_kernel_ms(5);
    load_and_record("Relu", CHAIN);
    for (uint64_t at = 1; at < CHAIN; at++) {
        fx.kernels = 0;
        fx.stop = false;
        fx.stop_at = at;
        assert_int_equal(run().outcome, EXECUTOR_STOPPED);
        assert_int_equal(fx.kernels, at);
    }
}

static void test_the_first_run_of_a_shape_stops_between_steps(void **state) {
    assert_int_equal(load(write_chain("Relu", CHAIN)), 0);
    fx.stop_at = 5;
    assert_int_equal(run().outcome, EXECUTOR_STOPPED);
    assert_int_equal(fx.kernels, 5);
    fx.stop = false;
    assert_int_equal(run().outcome, EXECUTOR_COMPLETED);
}

static void test_a_device_without_memory_refuses_a_model_and_takes_it_later(void **state) {
    const char *folder = write_chain("Relu", 3);
    cuda_emulation_fail("cudaMalloc", 2, MEMORY_ALLOCATION);
    assert_int_equal(load(folder), -1);
    assert_string_equal(fx.why.code, "out_of_memory");
    assert_non_null(strstr(fx.why.message, "activations"));
    assert_true(fx.why.retryable);
    assert_int_equal(load(folder), 0);
    assert_int_equal(run().outcome, EXECUTOR_COMPLETED);
}

static void test_a_kernel_that_breaks_the_device_fails_the_job_and_says_that_it_sticks(void **state) {
    load_and_record("Relu", CHAIN);
    cuda_emulation_fail("kernel", 3, ILLEGAL_ADDRESS);
    struct executor_job job = run();
    assert_int_equal(job.outcome, EXECUTOR_FAILED);
    assert_string_equal(job.error.code, "device_lost");
    assert_true(job.error.sticky);
    assert_true(job.error.retryable);
    assert_non_null(strstr(job.error.message, "illegal memory access"));
    job = run(); /* and so does every later one */
    assert_string_equal(job.error.code, "device_lost");
    assert_true(job.error.sticky);
}

/* ONNX's own tests of one node each: what has a kernel must not have fallen back to the CPU unseen. */
static void test_operators_on_windows_run_on_the_device(void **state) {
    static const char *const folders[] = {"averagepool_2d_ceil",
                                          "averagepool_3d_default",
                                          "basic_conv_with_padding",
                                          "batchnorm_example",
                                          "conv_with_strides_and_asymmetric_padding",
                                          "convtranspose_3d",
                                          "convtranspose_dilations",
                                          "globalaveragepool",
                                          "globalmaxpool",
                                          "lrn",
                                          "maxpool_2d_uint8",
                                          "maxpool_with_argmax_2d_precomputed_strides",
                                          "resize_downsample_scales_cubic",
                                          "resize_tf_crop_and_resize",
                                          "resize_upsample_sizes_nearest_ceil_half_pixel",
                                          "upsample_nearest"};
    const char *root = getenv("PENSTOCK_ONNX_TEST_DATA");
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char folder[1200];
        struct err err;
        int sets;
        snprintf(folder, sizeof folder, "%s/node/test_%s", root ? root : ONNX_TEST_DATA, folders[i]);
        if (access(folder, R_OK) != 0) skip();
        fx.kernels = 0;
        if (onnx_case_run_on(fx.ops, fx.ex, folder, 2, 1e-3, 1e-5, &sets, &err) != 0)
            fail_msg("%s: %s", folder, err.msg);
        if (fx.kernels < 2) fail_msg("%s runs on the CPU", folder);
    }
}

static void must_not_probe(const char *code, const char *words) {
    char device[128];
    assert_int_equal(fx.ops->probe(&(struct executor_options){0}, device, sizeof device, &fx.why), -1);
    assert_string_equal(fx.why.code, code);
    if (!strstr(fx.why.message, words)) fail_msg("expected '%s' in: %s", words, fx.why.message);
}

static void test_what_is_missing_is_told_apart(void **state) {
    char device[128];
    cuda_emulation_machine(0, 13000);
    must_not_probe("no_device", "no CUDA-capable device");
    cuda_emulation_machine(1, 0);
    must_not_probe("no_device", "no NVIDIA driver is loaded");
    cuda_emulation_machine(1, 11040);
    must_not_probe("driver_unfit", "the NVIDIA driver knows CUDA up to 11.4, and 13.0 is needed");
    cuda_emulation_machine(1, 13000);
    assert_int_equal(fx.ops->probe(&(struct executor_options){.device = 1}, device, sizeof device, &fx.why), -1);
    assert_string_equal(fx.why.code, "no_device");
    assert_int_equal(fx.ops->probe(&(struct executor_options){0}, device, sizeof device, &fx.why), 0);
    assert_non_null(strstr(device, "emulated"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_recorded_plan_runs_as_graphs_and_allocates_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stop_is_seen_within_two_segments_of_short_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stop_is_seen_within_one_long_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_first_run_of_a_shape_stops_between_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_device_without_memory_refuses_a_model_and_takes_it_later, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_kernel_that_breaks_the_device_fails_the_job_and_says_that_it_sticks,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_operators_on_windows_run_on_the_device, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_missing_is_told_apart, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
