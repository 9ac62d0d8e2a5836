/* What every executor owes its worker, as the same cases on "fake", "onnx-cpu" and "onnx-cuda" (cuda_cases.h says on
 * what device), through the public ABI alone; then what each promises of its own. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cuda_cases.h"
#include "onnx_cases.h"
#include "penstock/registry.h"
#include "penstock/wire.h"
#include "testlib.h"

#define MAX_JOBS  32
#define PIXELS    64
#define CPU_MODEL SOURCE_DIR "/models/digits/1"

struct subject {
    const char *executor;
    struct executor_model_source source;
};
static const struct subject fake = {"fake", {"echo", "1", "/nonexistent", MAX_JOBS}};
static const struct subject onnx_cpu = {"onnx-cpu", {"digits", "1", CPU_MODEL, MAX_JOBS}};
static const struct subject onnx_cuda = {"onnx-cuda", {"digits", "1", CPU_MODEL, MAX_JOBS}};

struct loaded {
    const struct executor_ops *ops;
    struct executor *ex;
    struct executor_model *model;
};

static const char *executor_of(void **state) { return ((const struct subject *)*state)->executor; }

static struct loaded open_executor(const char *name) {
    struct loaded at = {0};
    struct err err;
    struct executor_error why;
    if (strcmp(name, "onnx-cuda") == 0) {
        if (!(at.ops = cuda_case_ops())) skip();
    } else if (registry_executor_find(name, NULL, &at.ops, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    if (at.ops->open(&(struct executor_options){.threads = 1}, &at.ex, &why) != 0) fail_msg("%s", why.message);
    return at;
}

static struct loaded load(const struct subject *subject) {
    struct loaded at = open_executor(subject->executor);
    struct executor_error why;
    if (at.ops->load(at.ex, &subject->source, &at.model, &why) != 0) fail_msg("%s: %s", why.code, why.message);
    return at;
}

static void unload(struct loaded *at) {
    at->ops->unload(at->model);
    at->ops->close(at->ex);
}

/* --- a batch of jobs --------------------------------------------------------------------------------------------- */

/* The control of one run: which jobs are to stop, after how many questions; and what was told. */
struct control {
    size_t stop_after[MAX_JOBS + 1]; /* 0: never */
    size_t asked[MAX_JOBS + 1], told[MAX_JOBS + 1];
    double last[MAX_JOBS + 1];
    bool went_back;
};

static bool should_stop(void *ctx, size_t index) {
    struct control *control = ctx;
    control->asked[index]++;
    return control->stop_after[index] && control->asked[index] >= control->stop_after[index];
}

static void progress(void *ctx, size_t index, double fraction, const char *message) {
    struct control *control = ctx;
    control->told[index]++;
    control->went_back = control->went_back || !(fraction >= control->last[index]) || fraction > 1;
    control->last[index] = fraction;
}

struct batch {
    float pixels[MAX_JOBS + 1][PIXELS];
    struct tensor inputs[MAX_JOBS + 1];
    struct executor_job jobs[MAX_JOBS + 1];
    struct control control;
};

/* Jobs of distinct, reproducible images. */
static struct batch *batch_new(size_t count, const struct executor_param *params, size_t param_count) {
    struct batch *batch = calloc(1, sizeof *batch);
    assert_non_null(batch);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < PIXELS; j++) batch->pixels[i][j] = (float)((i * 37 + j * 11 + i * j) % 17);
        batch->inputs[i] =
            (struct tensor){"image", DATATYPE_FP32, 4, {1, 1, 8, 8}, batch->pixels[i], sizeof batch->pixels[i]};
        batch->jobs[i] = (struct executor_job){.job_id = "job",
                                               .attempt = 1,
                                               .inputs = &batch->inputs[i],
                                               .input_count = 1,
                                               .params = params,
                                               .param_count = param_count};
    }
    return batch;
}

static int run(struct loaded *at, struct batch *batch, size_t count) {
    struct executor_error why = {0};
    const struct executor_control control = {&batch->control, should_stop, progress};
    return at->ops->run(at->model, batch->jobs, count, &control, &why);
}

static void run_ok(struct loaded *at, struct batch *batch, size_t count) { assert_int_equal(run(at, batch, count), 0); }

static void assert_completed(const struct executor_job *job) {
    if (job->outcome != EXECUTOR_COMPLETED)
        fail_msg("outcome %d, %s: %s", (int)job->outcome, job->error.code, job->error.message);
    assert_true(job->output_count >= 1);
}

static void assert_failed(const struct executor_job *job, const char *code, const char *words) {
    assert_int_equal(job->outcome, EXECUTOR_FAILED);
    assert_string_equal(job->error.code, code);
    if (!strstr(job->error.message, words)) fail_msg("expected '%s' in: %s", words, job->error.message);
}

/* --- cases for every executor ------------------------------------------------------------------------------------ */

static void test_an_executor_probes_opens_loads_and_closes(void **state) {
    const struct subject *subject = *state;
    struct loaded at = load(subject);
    char device[128] = "";
    struct executor_error why;
    assert_int_equal(at.ops->probe(&(struct executor_options){0}, device, sizeof device, &why), 0);
    assert_int_not_equal(device[0], 0);
    assert_string_equal(at.ops->name, subject->executor);
    unload(&at);
    at.ops->unload(NULL);
}

static void test_a_batch_gives_the_same_outputs_as_its_jobs_one_by_one(void **state) {
    struct loaded at = load(*state);
    static const size_t sizes[] = {1, 2, 7, 32};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct batch *together = batch_new(sizes[s], NULL, 0), *alone = batch_new(sizes[s], NULL, 0);
        struct loaded other = load(*state);
        run_ok(&at, together, sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++) {
            const struct executor_control control = {&alone->control, should_stop, progress};
            struct executor_error why;
            struct err err;
            assert_int_equal(other.ops->run(other.model, &alone->jobs[i], 1, &control, &why), 0);
            assert_completed(&together->jobs[i]);
            assert_completed(&alone->jobs[i]);
            /* 1e-5: BLAS may block a larger matrix differently, and so add in another order. */
            if (onnx_case_compare(together->jobs[i].outputs, alone->jobs[i].outputs, 1e-5, 1e-6, &err) != 0)
                fail_msg("batch of %zu, job %zu: %s", sizes[s], i, err.msg);
        }
        unload(&other);
        free(together);
        free(alone);
    }
    unload(&at);
}

static void test_outputs_differ_from_job_to_job(void **state) {
    struct loaded at = load(*state);
    struct batch *batch = batch_new(2, NULL, 0);
    struct err err;
    run_ok(&at, batch, 2);
    assert_int_equal(onnx_case_compare(batch->jobs[0].outputs, batch->jobs[1].outputs, 1e-5, 1e-6, &err), -1);
    free(batch);
    unload(&at);
}

static void test_progress_never_goes_back_and_ends_at_one(void **state) {
    struct loaded at = load(*state);
    const struct executor_param steps[] = {{.name = "fake_steps", .kind = EXECUTOR_PARAM_INT, .integer = 5},
                                           {.name = "fake_latency_ms", .kind = EXECUTOR_PARAM_INT, .integer = 10}};
    struct batch *batch = batch_new(3, steps, 2);
    run_ok(&at, batch, 3);
    assert_false(batch->control.went_back);
    for (size_t i = 0; i < 3; i++) {
        assert_true(batch->control.told[i] >= 5);
        assert_true(batch->control.last[i] == 1.0);
    }
    free(batch);
    unload(&at);
}

static void test_a_stopped_job_stops_and_the_others_complete(void **state) {
    struct loaded at = load(*state);
    const struct executor_param latency[] = {{.name = "fake_latency_ms", .kind = EXECUTOR_PARAM_INT, .integer = 5}};
    struct batch *batch = batch_new(3, latency, 1);
    batch->control.stop_after[1] = 2;
    run_ok(&at, batch, 3);
    assert_completed(&batch->jobs[0]);
    assert_int_equal(batch->jobs[1].outcome, EXECUTOR_STOPPED);
    assert_completed(&batch->jobs[2]);
    assert_int_equal(batch->control.asked[1], 2); /* having said yes, it is not asked again */
    free(batch);
    unload(&at);
}

static void test_a_batch_of_which_nothing_is_wanted_ends_before_its_last_step(void **state) {
    struct loaded at = load(*state);
    const struct executor_param latency[] = {{.name = "fake_latency_ms", .kind = EXECUTOR_PARAM_INT, .integer = 600000},
                                             {.name = "fake_steps", .kind = EXECUTOR_PARAM_INT, .integer = 10}};
    struct batch *batch = batch_new(2, latency, 2);
    batch->control.stop_after[0] = 1;
    batch->control.stop_after[1] = 3;
    run_ok(&at, batch, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(batch->jobs[i].outcome, EXECUTOR_STOPPED);
        assert_true(batch->control.last[i] < 1);
    }
    run_ok(&at, batch, 1); /* stopping leaves the model usable; job 0 still says stop, at once */
    assert_int_equal(batch->jobs[0].outcome, EXECUTOR_STOPPED);
    free(batch);
    unload(&at);
}

static void test_a_batch_of_impossible_size_is_refused_as_a_whole(void **state) {
    struct loaded at = load(*state);
    struct batch *batch = batch_new(MAX_JOBS + 1, NULL, 0);
    assert_int_equal(run(&at, batch, 0), -1);
    assert_int_equal(run(&at, batch, MAX_JOBS + 1), -1);
    run_ok(&at, batch, MAX_JOBS);
    free(batch);
    unload(&at);
}

/* --- fake -------------------------------------------------------------------------------------------------------- */

static void run_fake(const struct executor_param *params, size_t count, int attempt, struct executor_job *ret) {
    struct loaded at = load(&fake);
    struct batch *batch = batch_new(1, params, count);
    batch->jobs[0].attempt = attempt;
    run_ok(&at, batch, 1);
    *ret = batch->jobs[0];
    free(batch);
    unload(&at);
}

static void test_fake_echoes_the_sum_and_the_number_of_elements(void **state) {
    struct loaded at = load(&fake);
    struct batch *batch = batch_new(1, NULL, 0);
    double sum = 0;
    for (size_t i = 0; i < PIXELS; i++) sum += (double)batch->pixels[0][i];
    run_ok(&at, batch, 1);
    const struct tensor *echo = batch->jobs[0].outputs;
    assert_string_equal(echo->name, "echo");
    assert_true(((const double *)echo->data)[0] == sum);
    assert_true(((const double *)echo->data)[1] == PIXELS);
    free(batch);
    unload(&at);
}

static void test_fake_without_latency_takes_no_time(void **state) {
    struct loaded at = load(&fake);
    struct batch *batch = batch_new(1, NULL, 0);
    int64_t start = test_mono_ms();
    for (int i = 0; i < 1000; i++) run_ok(&at, batch, 1);
    assert_true(test_mono_ms() - start < 900); /* one slice of 1 ms in each would be a second */
    free(batch);
    unload(&at);
}

static void test_fake_fails_with_the_word_that_the_job_asks_for(void **state) {
    const struct executor_param fail[] = {
        {.name = "fake_fail", .kind = EXECUTOR_PARAM_STRING, .string = "out_of_memory"}};
    struct executor_job job;
    run_fake(fail, 1, 7, &job);
    assert_failed(&job, "out_of_memory", "attempt 7");
    assert_true(job.error.retryable);
}

static void test_fake_fails_retryably_for_the_first_attempts_only(void **state) {
    const struct executor_param fail[] = {{.name = "fake_fail_attempts", .kind = EXECUTOR_PARAM_INT, .integer = 2}};
    struct executor_job job;
    for (int attempt = 1; attempt <= 3; attempt++) {
        run_fake(fail, 1, attempt, &job);
        assert_int_equal(job.outcome, attempt <= 2 ? EXECUTOR_FAILED : EXECUTOR_COMPLETED);
        if (attempt <= 2) assert_true(job.error.retryable);
    }
}

static void test_fake_refuses_a_misspelt_parameter_or_a_wrong_type(void **state) {
    const struct executor_param wrong[] = {
        {.name = "fake_crush", .kind = EXECUTOR_PARAM_BOOL, .boolean = true},
        {.name = "fake_latency_ms", .kind = EXECUTOR_PARAM_STRING, .string = "5"},
        {.name = "fake_latency_ms", .kind = EXECUTOR_PARAM_INT, .integer = -1},
        {.name = "fake_fail", .kind = EXECUTOR_PARAM_STRING, .string = "no_such_word"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct executor_job job;
        run_fake(&wrong[i], 1, 1, &job);
        assert_failed(&job, "invalid_input", wrong[i].name);
        assert_false(job.error.retryable);
    }
}

static void test_fake_output_bytes_adds_an_output_of_that_size(void **state) {
    struct loaded at = load(&fake);
    const struct executor_param size[] = {{.name = "fake_output_bytes", .kind = EXECUTOR_PARAM_INT, .integer = 100000}};
    struct batch *batch = batch_new(1, size, 1);
    run_ok(&at, batch, 1);
    assert_int_equal(batch->jobs[0].output_count, 2);
    const struct tensor *bytes = &batch->jobs[0].outputs[1];
    assert_int_equal(bytes->size_bytes, 100000);
    for (size_t i = 0; i < bytes->size_bytes; i++) assert_int_equal(((const uint8_t *)bytes->data)[i], i % 251);
    free(batch);
    unload(&at);
}

static pid_t run_fake_in_child(const struct executor_param *param, int attempt) {
    pid_t pid = fork();
    if (pid == 0) {
        struct executor_job job;
        run_fake(param, 1, attempt, &job);
        _exit(job.outcome == EXECUTOR_COMPLETED ? 0 : 1);
    }
    return pid;
}

static void test_fake_crashes_its_process_as_long_as_it_is_told(void **state) {
    const struct executor_param crash = {.name = "fake_crash_attempts", .kind = EXECUTOR_PARAM_INT, .integer = 1};
    int status;
    assert_true(waitpid(run_fake_in_child(&crash, 1), &status, 0) > 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(waitpid(run_fake_in_child(&crash, 2), &status, 0) > 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool stop_at_once(void *ctx, size_t index) {
    *(volatile int *)ctx = 1;
    return true;
}

static void test_fake_hang_ignores_should_stop(void **state) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct loaded at = load(&fake);
        const struct executor_param hang = {.name = "fake_hang", .kind = EXECUTOR_PARAM_BOOL, .boolean = true};
        struct batch *batch = batch_new(1, &hang, 1);
        int asked = 0;
        const struct executor_control control = {&asked, stop_at_once, progress};
        struct executor_error why;
        alarm(1); /* the proof that it never came back: this signal ends the child */
        (void)at.ops->run(at.model, batch->jobs, 1, &control, &why);
        _exit(0);
    }
    int status;
    assert_true(waitpid(pid, &status, 0) > 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
}

/* --- onnx ---------------------------------------------------------------------------------------------------- */

static void test_onnx_describes_the_model(void **state) {
    struct loaded at = load(*state);
    const struct executor_model_info *info = at.ops->describe(at.model);
    assert_int_equal(info->input_count, 1);
    assert_string_equal(info->inputs[0].name, "image");
    assert_int_equal(info->inputs[0].datatype, DATATYPE_FP32);
    assert_int_equal(info->inputs[0].rank, 4);
    assert_int_equal(info->inputs[0].shape[0], -1);
    assert_int_equal(info->inputs[0].shape[3], 8);
    assert_int_equal(info->output_count, 1);
    assert_string_equal(info->outputs[0].name, "probabilities");
    assert_true(info->memory_bytes > 200 * 1024); /* the weights alone */
    unload(&at);
}

static void test_onnx_refuses_wrong_inputs_by_name_and_runs_their_neighbours(void **state) {
    struct loaded at = load(*state);
    struct batch *batch = batch_new(10, NULL, 0);
    struct tensor two[2] = {batch->inputs[0], batch->inputs[0]}, twice[2] = {batch->inputs[0], batch->inputs[0]};
    batch->inputs[1].shape[3] = 9;
    batch->inputs[2].datatype = DATATYPE_INT32;
    batch->inputs[3].name = "picture";
    batch->inputs[4].data = NULL;
    batch->inputs[5].size_bytes -= 4;
    two[1].name = "surplus";
    batch->jobs[6].inputs = two;
    batch->jobs[7].inputs = twice;
    batch->jobs[6].input_count = batch->jobs[7].input_count = 2;
    batch->inputs[8].shape[0] = 0;
    batch->inputs[8].size_bytes = 0;
    batch->inputs[9].datatype = DATATYPE_BYTES;
    run_ok(&at, batch, 10);
    assert_completed(&batch->jobs[0]);
    assert_failed(&batch->jobs[1], "invalid_input", "input 'image': shape [1,1,8,9] where the model takes [-1,1,8,8]");
    assert_failed(&batch->jobs[2], "invalid_input", "input 'image': datatype INT32 where the model takes FP32");
    assert_failed(&batch->jobs[3], "invalid_input", "input 'image' is missing");
    assert_failed(&batch->jobs[4], "invalid_input", "input 'image': its data are not as large as its shape says");
    assert_failed(&batch->jobs[5], "invalid_input", "input 'image': its data are not as large as its shape says");
    assert_failed(&batch->jobs[6], "invalid_input", "input 'surplus': the model has no such input");
    assert_failed(&batch->jobs[7], "invalid_input", "an input is given twice");
    assert_failed(&batch->jobs[8], "invalid_input", "input 'image': 0 rows in one job; max_batch_size allows 1 to 32");
    assert_failed(&batch->jobs[9], "invalid_input", "input 'image': datatype BYTES where the model takes FP32");
    free(batch);
    unload(&at);
}

/* Jobs of 3, 1 and 31 rows: 35 do not fit one pass of 32. Each row must come back to its own job. */
static void test_onnx_jobs_of_several_rows_share_passes_and_get_their_own_rows_back(void **state) {
    struct loaded at = load(*state);
    struct batch *many = batch_new(MAX_JOBS, NULL, 0), *one = batch_new(MAX_JOBS, NULL, 0);
    static const int64_t rows[] = {3, 1, 31};
    for (size_t i = 0; i < 3; i++) {
        many->inputs[i].shape[0] = rows[i];
        many->inputs[i].data = one->pixels[0]; /* rows 0 .. of the same images for each */
        many->inputs[i].size_bytes = (size_t)rows[i] * sizeof one->pixels[0];
    }
    struct loaded other = load(*state);
    run_ok(&other, one, MAX_JOBS);
    run_ok(&at, many, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_completed(&many->jobs[i]);
        assert_int_equal(many->jobs[i].outputs[0].shape[0], rows[i]);
        for (int64_t row = 0; row < rows[i]; row++) {
            struct tensor part = one->jobs[row].outputs[0];
            struct err err;
            part.data = (float *)many->jobs[i].outputs[0].data + row * 10;
            if (onnx_case_compare(&part, &one->jobs[row].outputs[0], 1e-5, 1e-6, &err) != 0) fail_msg("%s", err.msg);
        }
    }
    many->inputs[0].shape[0] = 33;
    many->inputs[0].size_bytes = 33 * sizeof one->pixels[0];
    run_ok(&at, many, 1);
    assert_failed(&many->jobs[0], "invalid_input", "33 rows in one job; max_batch_size allows 1 to 32");
    free(many);
    free(one);
    unload(&at);
    unload(&other);
}

/* What `penstock submit` does with a sample, up to the worker: it must come out as the right digit. */
static int submit_sample(struct loaded *at, int number, struct arena *arena) {
    char path[1024];
    struct buf file = {0}, command = {0};
    struct err err;
    snprintf(path, sizeof path, SOURCE_DIR "/models/digits/samples/%02d.json", number);
    if (!onnx_case_read_file(path, &file)) fail_msg("no %s", path);
    const struct wire_member members[] = {{"type", "\"create\""}, {"job_id", "\"sample\""}};
    if (wire_object_merge(file.data, file.len, members, 2, &command, &err) != 0) fail_msg("%s", err.msg);
    struct job_command cmd;
    struct wire_request request;
    const struct wire_message in = {.value = command.data, .value_len = command.len};
    if (wire_command_decode(&in, arena, &cmd, NULL, &err) != 0) fail_msg("%s: %s", path, err.msg);
    assert_string_equal(cmd.model, "digits");
    if (wire_spec_decode(cmd.spec, cmd.spec_len, arena, &request, &err) != 0) fail_msg("%s", err.msg);
    struct control told = {0};
    const struct executor_control control = {&told, should_stop, progress};
    struct executor_job job = {
        .job_id = "sample", .attempt = 1, .inputs = request.inputs, .input_count = request.input_count};
    struct executor_error why;
    assert_int_equal(at->ops->run(at->model, &job, 1, &control, &why), 0);
    assert_completed(&job);
    const float *probabilities = job.outputs[0].data;
    int best = 0;
    for (int i = 1; i < 10; i++) best = probabilities[i] > probabilities[best] ? i : best;
    buf_done(&file);
    buf_done(&command);
    return best;
}

static void test_each_digit_sample_is_a_command_but_for_type_and_id_and_gives_its_digit(void **state) {
    struct loaded at = load(*state);
    struct arena arena;
    arena_init(&arena);
    for (int number = 1; number <= 20; number++) {
        assert_int_equal(submit_sample(&at, number, &arena), (number - 1) / 2); /* two of each digit, in order */
        arena_reset(&arena);
    }
    arena_done(&arena);
    unload(&at);
}

/* --- onnx on models made here -------------------------------------------------------------------------------- */

static const char *write_model(const char *bytes, size_t len) {
    static char folder[1024];
    static int count;
    char path[1100];
    snprintf(folder, sizeof folder, "%s/model%d", test_temp_dir(), count++);
    assert_int_equal(mkdir(folder, 0755), 0);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
    return folder;
}

static const char *write_built(struct onnx_builder *b) {
    struct buf bytes = {0};
    onnx_build_model(b, 13, &bytes);
    const char *folder = write_model(bytes.data, bytes.len);
    buf_done(&bytes);
    return folder;
}

static void load_refused(const struct subject *subject, const char *folder, int max_batch_size, const char *code,
                         const char *words) {
    struct loaded at = open_executor(subject->executor);
    struct executor_model_source source = {"made", "1", folder, max_batch_size};
    struct executor_error why = {0};
    assert_int_equal(at.ops->load(at.ex, &source, &at.model, &why), -1);
    assert_string_equal(why.code, code);
    assert_non_null(strstr(why.message, "model 'made' version 1"));
    if (!strstr(why.message, words)) fail_msg("expected '%s' in: %s", words, why.message);
    at.ops->close(at.ex);
}

static void test_onnx_refuses_a_broken_or_unsupported_model_and_says_why(void **state) {
    load_refused(*state, "/nonexistent", 1, "model_load_failed", "/nonexistent/model.onnx");
    load_refused(*state, write_model("not a model", 11), 1, "model_load_failed", "not a valid ONNX file");
    struct onnx_builder b = {0};
    onnx_build_node(&b, "TfIdfVectorizer", "rnn", "x", "y");
    onnx_build_io(&b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 1, (int64_t[]){-1});
    onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 1, (int64_t[]){-1});
    load_refused(*state, write_built(&b), 1, "unsupported_model",
                 "node 'rnn' (TfIdfVectorizer): the operator is not supported");
}

static void test_onnx_refuses_to_batch_a_model_with_a_fixed_dimension(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Relu", "r", "x", "y");
    onnx_build_io(&b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 2, (int64_t[]){2, 3});
    onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 2, (int64_t[]){2, 3});
    load_refused(*state, write_built(&b), 8, "unsupported_model", "dimension 0 of input 'x' is fixed at 2");
}

static void test_onnx_refuses_to_batch_a_model_whose_output_has_no_batch(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Transpose", "t", "x", "y");
    onnx_build_io(&b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 2, (int64_t[]){-1, 3});
    onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 2, (int64_t[]){3, -1});
    load_refused(*state, write_built(&b), 8, "unsupported_model",
                 "output 'y' does not have the batch as its dimension 0");
}

static void test_onnx_jobs_of_other_lengths_get_a_pass_of_their_own(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Relu", "r", "x", "y");
    onnx_build_io(&b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 2, (int64_t[]){-1, -1});
    onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 2, (int64_t[]){-1, -1});
    struct subject made = {executor_of(state), {"made", "1", write_built(&b), 8}};
    struct loaded at = load(&made);
    struct batch *batch = batch_new(3, NULL, 0);
    for (size_t i = 0; i < 3; i++) {
        int64_t length = i == 1 ? 5 : 4;
        batch->inputs[i] = (struct tensor){"x", DATATYPE_FP32, 2, {1, length}, batch->pixels[i], (size_t)length * 4};
    }
    run_ok(&at, batch, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_completed(&batch->jobs[i]);
        assert_int_equal(batch->jobs[i].outputs[0].shape[1], i == 1 ? 5 : 4);
        assert_memory_equal(batch->jobs[i].outputs[0].data, batch->pixels[i], batch->inputs[i].size_bytes);
    }
    free(batch);
    unload(&at);
}

/* y is x, as many times as n says: [rows, n]. */
static void test_onnx_jobs_whose_values_decide_shapes_do_not_decide_those_of_others(void **state) {
    struct onnx_builder b = {0};
    const int64_t any = -1;
    onnx_build_node(&b, "ReduceMax", "most", "n", "m");
    onnx_build_int(&b, "axis", 0);
    onnx_build_node(&b, "Concat", "both", "any,m", "shape");
    onnx_build_node(&b, "Abs", "sizes", "shape", "sizes");
    onnx_build_node(&b, "Expand", "widen", "x,sizes", "y");
    onnx_build_weight(&b, "any", ONNX_TYPE_INT64, 1, (int64_t[]){1}, &any, sizeof any);
    onnx_build_io(&b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, 2, (int64_t[]){-1, 1});
    onnx_build_io(&b, ONNX_BUILD_INPUT, "n", ONNX_TYPE_INT64, 1, (int64_t[]){-1});
    onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_FLOAT, 2, (int64_t[]){-1, -1});
    struct subject made = {executor_of(state), {"made", "1", write_built(&b), 8}};
    struct loaded at = load(&made);
    struct batch *batch = batch_new(4, NULL, 0);
    struct tensor inputs[4][2];
    int64_t lengths[4] = {2, 5, 1, 2};
    for (size_t i = 0; i < 4; i++) {
        inputs[i][0] = (struct tensor){"x", DATATYPE_FP32, 2, {1, 1}, batch->pixels[i], sizeof(float)};
        inputs[i][1] = (struct tensor){"n", DATATYPE_INT64, 1, {1}, &lengths[i], sizeof lengths[i]};
        batch->jobs[i].inputs = inputs[i];
        batch->jobs[i].input_count = 2;
    }
    run_ok(&at, batch, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_completed(&batch->jobs[i]);
        const struct tensor *out = &batch->jobs[i].outputs[0];
        assert_int_equal(out->shape[0], 1);
        assert_int_equal(out->shape[1], lengths[i]);
        for (int64_t j = 0; j < lengths[i]; j++)
            assert_memory_equal((char *)out->data + j * (int64_t)sizeof(float), batch->pixels[i], sizeof(float));
    }
    free(batch);
    unload(&at);
}

/* Integer division by zero is found by the kernel, in the middle of the batch: only its own job may fail. */
static void test_onnx_a_job_that_fails_in_a_kernel_fails_alone_and_progress_does_not_go_back(void **state) {
    struct onnx_builder b = {0};
    onnx_build_node(&b, "Mul", "square", "x,x", "s");
    onnx_build_node(&b, "Mul", "cube", "s,x", "c");
    onnx_build_node(&b, "Div", "ratio", "c,x", "y");
    onnx_build_io(&b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_INT64, 1, (int64_t[]){-1});
    onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", ONNX_TYPE_INT64, 1, (int64_t[]){-1});
    struct subject made = {executor_of(state), {"made", "1", write_built(&b), 8}};
    struct loaded at = load(&made);
    struct batch *batch = batch_new(3, NULL, 0);
    int64_t values[3] = {6, 0, -7};
    for (size_t i = 0; i < 3; i++) batch->inputs[i] = (struct tensor){"x", DATATYPE_INT64, 1, {1}, &values[i], 8};
    run_ok(&at, batch, 3);
    assert_completed(&batch->jobs[0]);
    assert_failed(&batch->jobs[1], "execution_failed", "node 'ratio' (Div): an integer is divided by zero");
    assert_completed(&batch->jobs[2]);
    assert_int_equal(*(int64_t *)batch->jobs[0].outputs[0].data, 36);
    assert_int_equal(*(int64_t *)batch->jobs[2].outputs[0].data, 49);
    assert_false(batch->control.went_back);
    free(batch);
    unload(&at);
}

/* --- all --------------------------------------------------------------------------------------------------------- */

#define CASE(name, subject)                                                                                            \
    { #name " [" #subject "]", name, NULL, NULL, (void *)(uintptr_t)&subject }
#define ONNX(name)  CASE(name, onnx_cpu), CASE(name, onnx_cuda)
#define EVERY(name) CASE(name, fake), ONNX(name)

int main(void) {
    const struct CMUnitTest tests[] = {
        EVERY(test_an_executor_probes_opens_loads_and_closes),
        EVERY(test_a_batch_gives_the_same_outputs_as_its_jobs_one_by_one),
        EVERY(test_outputs_differ_from_job_to_job),
        EVERY(test_progress_never_goes_back_and_ends_at_one),
        EVERY(test_a_stopped_job_stops_and_the_others_complete),
        EVERY(test_a_batch_of_which_nothing_is_wanted_ends_before_its_last_step),
        EVERY(test_a_batch_of_impossible_size_is_refused_as_a_whole),
        cmocka_unit_test(test_fake_echoes_the_sum_and_the_number_of_elements),
        cmocka_unit_test(test_fake_without_latency_takes_no_time),
        cmocka_unit_test(test_fake_fails_with_the_word_that_the_job_asks_for),
        cmocka_unit_test(test_fake_fails_retryably_for_the_first_attempts_only),
        cmocka_unit_test(test_fake_refuses_a_misspelt_parameter_or_a_wrong_type),
        cmocka_unit_test(test_fake_output_bytes_adds_an_output_of_that_size),
        cmocka_unit_test(test_fake_crashes_its_process_as_long_as_it_is_told),
        cmocka_unit_test(test_fake_hang_ignores_should_stop),
        ONNX(test_onnx_describes_the_model),
        ONNX(test_onnx_refuses_wrong_inputs_by_name_and_runs_their_neighbours),
        ONNX(test_onnx_jobs_of_several_rows_share_passes_and_get_their_own_rows_back),
        ONNX(test_each_digit_sample_is_a_command_but_for_type_and_id_and_gives_its_digit),
        ONNX(test_onnx_refuses_a_broken_or_unsupported_model_and_says_why),
        ONNX(test_onnx_refuses_to_batch_a_model_with_a_fixed_dimension),
        ONNX(test_onnx_refuses_to_batch_a_model_whose_output_has_no_batch),
        ONNX(test_onnx_jobs_of_other_lengths_get_a_pass_of_their_own),
        ONNX(test_onnx_jobs_whose_values_decide_shapes_do_not_decide_those_of_others),
        ONNX(test_onnx_a_job_that_fails_in_a_kernel_fails_alone_and_progress_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
