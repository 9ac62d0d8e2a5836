/* Whole models through the executor, in batches that mix jobs: each job must get what it gets alone, and one whose
 * outcome somebody else has computed must get that.
 *
 * The models are no part of the product (PENSTOCK_SHARED_MODELS); where they are not at hand the tests say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cuda_cases.h"
#include "onnx_cases.h"
#include "penstock/registry.h"
#include "testlib.h"

#define MAX_JOBS   8
#define MAX_INPUTS 2

struct subject {
    const char *name;
    size_t input_count;
    double rtol, atol; /* as in test_onnx_models.c */
    bool large;        /* three billion products a job: the emulated device takes seconds for each */
};

struct fixture {
    const struct executor_ops *ops;
    struct executor *ex;
    struct executor_model *model;
    struct arena arena;
    const struct subject *subject;
    const char *folder;
    struct tensor inputs[MAX_INPUTS], want; /* of the model's own test set */
};

static struct tensor read_tensor(struct fixture *fx, const char *name) {
    struct buf bytes = {0};
    struct tensor tensor;
    struct err err;
    char path[1200];
    snprintf(path, sizeof path, "%s/test_data_set_0/%s", fx->folder, name);
    if (!onnx_case_read_file(path, &bytes)) fail_msg("no %s", path);
    char *kept = arena_alloc(&fx->arena, bytes.len);
    memcpy(kept, bytes.data, bytes.len);
    if (onnx_tensor_read(kept, bytes.len, &fx->arena, &tensor, &err) != 0) fail_msg("%s: %s", path, err.msg);
    buf_done(&bytes);
    return tensor;
}

static const struct executor_ops *ops_of(const char *executor) {
    const struct executor_ops *ops;
    struct err err;
    if (strcmp(executor, "onnx-cuda") == 0) {
        if (!(ops = cuda_case_ops())) skip();
    } else if (registry_executor_find(executor, NULL, &ops, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    return ops;
}

/* Version folders are named by number in a repository; these folders are a version each. */
static void open_model(struct fixture *fx, const char *executor, const struct subject *subject, int max_batch_size) {
    const char *root = getenv("PENSTOCK_SHARED_MODELS");
    struct executor_error why;
    *fx = (struct fixture){.subject = subject};
    arena_init(&fx->arena);
    fx->folder = arena_printf(&fx->arena, "%s/%s", root ? root : SOURCE_DIR "/../shared/models", subject->name);
    if (access(fx->folder, R_OK) != 0) {
        print_message("skipped: no %s (set PENSTOCK_SHARED_MODELS)\n", fx->folder);
        arena_done(&fx->arena);
        skip();
    }
    const struct executor_model_source source = {subject->name, "1", fx->folder, max_batch_size};
    fx->ops = ops_of(executor);
    if (fx->ops->open(&(struct executor_options){.threads = 1}, &fx->ex, &why) != 0) fail_msg("%s", why.message);
    if (fx->ops->load(fx->ex, &source, &fx->model, &why) != 0) fail_msg("%s: %s", why.code, why.message);
    const struct executor_model_info *info = fx->ops->describe(fx->model);
    assert_int_equal(info->input_count, subject->input_count);
    for (size_t i = 0; i < subject->input_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "input_%zu.pb", i);
        fx->inputs[i] = read_tensor(fx, name);
        fx->inputs[i].name = info->inputs[i].name;
    }
    fx->want = read_tensor(fx, "output_0.pb");
}

static void close_model(struct fixture *fx) {
    fx->ops->unload(fx->model);
    fx->ops->close(fx->ex);
    arena_done(&fx->arena);
}

/* --- jobs -------------------------------------------------------------------------------------------------------- */

static int64_t rows_of(const struct fixture *fx) { return fx->inputs[0].shape[0]; }

static struct tensor row_of(const struct tensor *all, int64_t row) {
    struct tensor one = *all;
    one.size_bytes /= (size_t)all->shape[0];
    one.data = (char *)all->data + (size_t)row * one.size_bytes;
    one.shape[0] = 1;
    return one;
}

/* Job `number`: a row of the test set, its elements moved round by as many as the set was used up before; so job 0 to
 * rows - 1 are the set's own, and every later one is another valid input. */
static struct executor_job make_job(struct fixture *fx, size_t number) {
    size_t rows = (size_t)rows_of(fx), turn = number / rows;
    struct tensor *inputs = arena_alloc(&fx->arena, fx->subject->input_count * sizeof *inputs);
    for (size_t i = 0; i < fx->subject->input_count; i++) {
        inputs[i] = row_of(&fx->inputs[i], (int64_t)(number % rows));
        size_t count = inputs[i].size_bytes / datatype_size(inputs[i].datatype);
        size_t by = turn % count * datatype_size(inputs[i].datatype);
        char *data = arena_alloc(&fx->arena, inputs[i].size_bytes);
        memcpy(data, (char *)inputs[i].data + by, inputs[i].size_bytes - by);
        memcpy(data + inputs[i].size_bytes - by, inputs[i].data, by);
        inputs[i].data = data;
    }
    return (struct executor_job){
        .job_id = "job", .attempt = 1, .inputs = inputs, .input_count = fx->subject->input_count};
}

static bool never(void *ctx, size_t index) { return false; }
static void ignore(void *ctx, size_t index, double fraction, const char *message) {}

static void run(struct fixture *fx, struct executor_job *jobs, size_t count) {
    static const struct executor_control control = {NULL, never, ignore};
    struct executor_error why;
    if (fx->ops->run(fx->model, jobs, count, &control, &why) != 0) fail_msg("%s: %s", why.code, why.message);
    for (size_t i = 0; i < count; i++)
        if (jobs[i].outcome != EXECUTOR_COMPLETED) fail_msg("job %zu: %s", i, jobs[i].error.message);
}

static void must_be(const struct fixture *fx, const struct executor_job *job, const struct tensor *want, double rtol,
                    double atol, size_t count, size_t number) {
    struct err err;
    if (onnx_case_compare(&job->outputs[0], want, rtol, atol, &err) != 0)
        fail_msg("%s, batch of %zu, job %zu: %s", fx->subject->name, count, number, err.msg);
}

/* What job `number` gives alone, kept. */
static struct tensor alone(struct fixture *fx, size_t number) {
    struct executor_job job = make_job(fx, number);
    run(fx, &job, 1);
    struct tensor kept = job.outputs[0];
    kept.data = arena_alloc(&fx->arena, kept.size_bytes);
    memcpy(kept.data, job.outputs[0].data, kept.size_bytes);
    return kept;
}

/* The batches overlap in their jobs and put them at other places: 0; 1, 2; 3 to 9; 10 to 17, all modulo MAX_JOBS. Where
 * that would take minutes, it is the first two batches of two jobs. */
static void mixes(const char *executor, const struct subject *subject) {
    static const size_t sizes[] = {1, 2, 7, 8};
    struct fixture fx;
    struct tensor by_itself[MAX_JOBS];
    size_t next = 0, jobs_made = MAX_JOBS, batches = sizeof sizes / sizeof sizes[0];
    open_model(&fx, executor, subject, MAX_JOBS);
    if (subject->large && strcmp(executor, "onnx-cuda") == 0 && cuda_case_is_emulated()) jobs_made = batches = 2;
    for (size_t n = 0; n < jobs_made; n++) by_itself[n] = alone(&fx, n);
    for (size_t s = 0; s < batches; s++) {
        struct executor_job jobs[MAX_JOBS];
        size_t first = next;
        for (size_t i = 0; i < sizes[s]; i++) jobs[i] = make_job(&fx, next++ % jobs_made);
        run(&fx, jobs, sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++) {
            size_t number = (first + i) % jobs_made;
            /* 1e-4: BLAS blocks a larger matrix differently, and so adds in another order. */
            must_be(&fx, &jobs[i], &by_itself[number], 1e-4, 1e-5, sizes[s], number);
            if (number >= (size_t)rows_of(&fx)) continue;
            struct tensor want = row_of(&fx.want, (int64_t)number);
            must_be(&fx, &jobs[i], &want, subject->rtol, subject->atol, sizes[s], number);
        }
    }
    close_model(&fx);
}

/* A model whose file fixes the batch at 1 takes one job after the other: what is left of one must not show in the next.
 */
static void follows(const char *executor, const struct subject *subject) {
    struct fixture fx;
    open_model(&fx, executor, subject, 0);
    for (size_t n = 0; n < 3 * MAX_JOBS; n++) {
        struct executor_job job = make_job(&fx, n % 3);
        run(&fx, &job, 1);
        if (n % 3 == 0) must_be(&fx, &job, &fx.want, subject->rtol, subject->atol, 1, n);
    }
    close_model(&fx);
}

static void test_bert_tiny_gen_in_batches_that_mix_jobs(void **state) {
    mixes(*state, &(const struct subject){"bert_tiny_gen", 2, 1e-3, 1e-5, false});
}
static void test_gpt_licence_in_batches_that_mix_jobs(void **state) {
    mixes(*state, &(const struct subject){"gpt_licence", 1, 1e-3, 1e-4, false});
}
static void test_super_resolution_10_in_batches_that_mix_jobs(void **state) {
    mixes(*state, &(const struct subject){"super_resolution_10", 1, 1e-3, 1e-4, true});
}
static void test_mnist_8_job_after_job(void **state) {
    follows(*state, &(const struct subject){"mnist_8", 1, 1e-3, 1e-3, false});
}
static void test_dtln_1_job_after_job(void **state) {
    follows(*state, &(const struct subject){"dtln_1", 2, 1e-3, 1e-5, false});
}

#define ON(name, executor)                                                                                             \
    { #name " [" executor "]", name, NULL, NULL, (void *)(uintptr_t)executor }
#define BOTH(name) ON(name, "onnx-cpu"), ON(name, "onnx-cuda")

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_bert_tiny_gen_in_batches_that_mix_jobs),
        BOTH(test_gpt_licence_in_batches_that_mix_jobs),
        BOTH(test_super_resolution_10_in_batches_that_mix_jobs),
        BOTH(test_mnist_8_job_after_job),
        BOTH(test_dtln_1_job_after_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
