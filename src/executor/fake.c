/* The fake executor: deterministic, with scripted latency, progress, failure, crash and hang.
 *
 * It lets everything around an executor (claiming, batching, cancelling, retrying, crash recovery) be tested and tried
 * out without a model. It takes any inputs. What a job does is written in its own parameters:
 *
 *     fake_latency_ms        how long the job takes; default 0, which takes no time at all
 *     fake_batch_latency_ms  a cost of the whole batch, paid once before the jobs' own: the largest in the batch counts
 *     fake_steps             report progress this often, at equal parts of the job's time (and 1.0 at its end)
 *     fake_fail              a word of the error table: the job fails with it, retryable as the table says
 *     fake_fail_attempts     fails, retryable, while attempt <= n (with fake_fail's word, or execution_failed)
 *     fake_crash             true: the process kills itself with SIGKILL when the job's time is over
 *     fake_crash_attempts    the same, while attempt <= n
 *     fake_hang              true: never returns and ignores should_stop, as a wedged kernel would
 *     fake_output_bytes      adds the output "bytes", UINT8 [n], byte i being i mod 251 (at most 256 MiB)
 *
 * A parameter that starts with "fake_" and is not listed, or has the wrong type, fails its job as invalid_input: a
 * typing error must not turn a test of crashes into a test of nothing. Other parameters are ignored.
 *
 * Output: "echo", FP64 [2]: the sum of all elements of all inputs (BYTES count 0) and the number of elements.
 *
 * The jobs of a batch run side by side, as on a GPU: each ends after its own latency, the batch with the last. Time is
 * sliced (1 ms at most) so that should_stop is seen at once; a job without latency is still asked once before it
 * completes.
 */
#include "executor_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "penstock/clock.h"
#include "penstock/mem.h"

#define SLICE_US         1000
#define OUTPUT_MAX_BYTES ((int64_t)256 * 1024 * 1024)
#define MAX_STEPS        1000000

struct executor {
    int unused; /* an open fake has no state; the pointer must be distinct */
};

struct fake_result {
    struct tensor outputs[2];
    double echo[2];
    unsigned char *bytes;
};

struct executor_model {
    size_t max_jobs;
    struct fake_result *results; /* one a job of the batch; their data lives until the next run */
};

struct fake_script {
    int64_t latency_ms, batch_latency_ms, steps, fail_attempts, crash_attempts, output_bytes;
    bool crash, hang;
    const char *fail;
    int64_t steps_told;
    bool ended;
};

/* --- the script of a job ----------------------------------------------------------------------------------------- */

static int read_int(const struct executor_param *param, int64_t max, int64_t *ret) {
    if (param->kind != EXECUTOR_PARAM_INT || param->integer < 0 || param->integer > max) return -1;
    *ret = param->integer;
    return 0;
}

static int read_bool(const struct executor_param *param, bool *ret) {
    if (param->kind != EXECUTOR_PARAM_BOOL) return -1;
    *ret = param->boolean;
    return 0;
}

static int read_param(const struct executor_param *param, struct fake_script *script) {
    const char *name = param->name + strlen("fake_");
    if (strcmp(name, "latency_ms") == 0) return read_int(param, INT32_MAX, &script->latency_ms);
    if (strcmp(name, "batch_latency_ms") == 0) return read_int(param, INT32_MAX, &script->batch_latency_ms);
    if (strcmp(name, "steps") == 0) return read_int(param, MAX_STEPS, &script->steps);
    if (strcmp(name, "fail_attempts") == 0) return read_int(param, INT32_MAX, &script->fail_attempts);
    if (strcmp(name, "crash_attempts") == 0) return read_int(param, INT32_MAX, &script->crash_attempts);
    if (strcmp(name, "output_bytes") == 0) return read_int(param, OUTPUT_MAX_BYTES, &script->output_bytes);
    if (strcmp(name, "crash") == 0) return read_bool(param, &script->crash);
    if (strcmp(name, "hang") == 0) return read_bool(param, &script->hang);
    if (strcmp(name, "fail") != 0 || param->kind != EXECUTOR_PARAM_STRING) return -1;
    script->fail = param->string;
    return err_code_from_name(script->fail) == ERR_NONE ? -1 : 0;
}

static int read_script(const struct executor_job *job, struct fake_script *ret, struct executor_error *err) {
    *ret = (struct fake_script){0};
    for (size_t i = 0; i < job->param_count; i++) {
        const struct executor_param *param = &job->params[i];
        if (strncmp(param->name, "fake_", 5) != 0) continue;
        if (read_param(param, ret) != 0)
            return executor__error(
                err, ERR_INVALID_INPUT,
                "parameter '%s': not one of the fake executor's, or its value is of the wrong type or range",
                param->name);
    }
    return 0;
}

/* --- results ----------------------------------------------------------------------------------------------------- */

static double element(const struct tensor *in, int64_t i) {
    const char *at = (const char *)in->data + (size_t)i * datatype_size(in->datatype);
#define AS(type, text)                                                                                                 \
    case type: {                                                                                                       \
        text value;                                                                                                    \
        memcpy(&value, at, sizeof value);                                                                              \
        return (double)value;                                                                                          \
    }
    switch (in->datatype) {
        AS(DATATYPE_BOOL, uint8_t)
        AS(DATATYPE_UINT8, uint8_t)
        AS(DATATYPE_UINT16, uint16_t)
        AS(DATATYPE_UINT32, uint32_t)
        AS(DATATYPE_UINT64, uint64_t)
        AS(DATATYPE_INT8, int8_t)
        AS(DATATYPE_INT16, int16_t)
        AS(DATATYPE_INT32, int32_t)
        AS(DATATYPE_INT64, int64_t)
        AS(DATATYPE_FP32, float)
        AS(DATATYPE_FP64, double)
    default:
        return 0; /* FP16 and BYTES are counted, not summed */
    }
#undef AS
}

static void fill_result(const struct executor_job *job, const struct fake_script *script, struct fake_result *result) {
    result->echo[0] = result->echo[1] = 0;
    for (size_t i = 0; i < job->input_count; i++) {
        const struct tensor *in = &job->inputs[i];
        int64_t count = tensor_element_count(in->shape, in->rank);
        for (int64_t at = 0; in->data && at < count; at++) result->echo[0] += element(in, at);
        result->echo[1] += (double)count;
    }
    result->outputs[0] = (struct tensor){.name = "echo",
                                         .datatype = DATATYPE_FP64,
                                         .rank = 1,
                                         .shape = {2},
                                         .data = result->echo,
                                         .size_bytes = sizeof result->echo};
    if (!script->output_bytes) return;
    size_t size = (size_t)script->output_bytes;
    result->bytes = mem_realloc(result->bytes, size);
    for (size_t i = 0; i < size; i++) result->bytes[i] = (unsigned char)(i % 251);
    result->outputs[1] = (struct tensor){.name = "bytes",
                                         .datatype = DATATYPE_UINT8,
                                         .rank = 1,
                                         .shape = {script->output_bytes},
                                         .data = result->bytes,
                                         .size_bytes = size};
}

static void end_job(struct executor_job *job, const struct fake_script *script, struct fake_result *result) {
    if (script->crash || job->attempt <= script->crash_attempts) raise(SIGKILL);
    bool fails_now = job->attempt <= script->fail_attempts;
    if (fails_now || (script->fail && script->fail_attempts == 0)) {
        enum err_code code = script->fail ? err_code_from_name(script->fail) : ERR_EXECUTION_FAILED;
        executor__error(&job->error, code, "failure of attempt %d, as the job's parameters ask for", job->attempt);
        if (fails_now) job->error.retryable = true;
        job->outcome = EXECUTOR_FAILED;
        return;
    }
    fill_result(job, script, result);
    job->outputs = result->outputs;
    job->output_count = script->output_bytes ? 2 : 1;
    job->outcome = EXECUTOR_COMPLETED;
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

struct fake_run {
    struct executor_model *model;
    struct executor_job *jobs;
    struct fake_script *scripts;
    size_t job_count;
    const struct executor_control *control;
    int64_t start_us, batch_us; /* batch_us: the cost paid before any job's own time starts */
};

/* Looks at one job at `elapsed_us`. True when it is over. */
static bool advance(struct fake_run *run, size_t i, int64_t elapsed_us) {
    struct fake_script *script = &run->scripts[i];
    const struct executor_control *control = run->control;
    if (script->hang) return false;
    if (control->should_stop(control->ctx, i)) {
        run->jobs[i].outcome = EXECUTOR_STOPPED;
        return true;
    }
    int64_t total_us = script->latency_ms * 1000, own_us = elapsed_us - run->batch_us;
    if (own_us < 0) return false;
    int64_t due =
        own_us >= total_us ? script->steps : (int64_t)((double)own_us / (double)total_us * (double)script->steps);
    while (script->steps_told < due) {
        script->steps_told++;
        char message[64];
        snprintf(message, sizeof message, "step %lld of %lld", (long long)script->steps_told, (long long)script->steps);
        control->progress(control->ctx, i, (double)script->steps_told / (double)script->steps, message);
    }
    if (own_us < total_us) return false;
    end_job(&run->jobs[i], script, &run->model->results[i]);
    return true;
}

static void run_until_over(struct fake_run *run) {
    for (;;) {
        int64_t elapsed_us = clock_mono_us(&clock_system) - run->start_us;
        size_t left = 0;
        for (size_t i = 0; i < run->job_count; i++) {
            if (!run->scripts[i].ended) run->scripts[i].ended = advance(run, i, elapsed_us);
            left += !run->scripts[i].ended;
        }
        if (left == 0) return;
        nanosleep(&(struct timespec){.tv_nsec = SLICE_US * 1000L}, NULL);
    }
}

static int fake_run(struct executor_model *model, struct executor_job *jobs, size_t job_count,
                    const struct executor_control *control, struct executor_error *err) {
    if (job_count < 1 || job_count > model->max_jobs)
        return executor__error(err, ERR_EXECUTION_FAILED, "a batch of %zu jobs where the model takes 1 to %zu",
                               job_count, model->max_jobs);
    struct fake_run run = {.model = model, .jobs = jobs, .job_count = job_count, .control = control};
    run.scripts = mem_calloc(job_count, sizeof *run.scripts);
    for (size_t i = 0; i < job_count; i++) {
        jobs[i].outputs = NULL;
        jobs[i].output_count = 0;
        if (read_script(&jobs[i], &run.scripts[i], &jobs[i].error) != 0) {
            jobs[i].outcome = EXECUTOR_FAILED;
            run.scripts[i] = (struct fake_script){.ended = true};
        }
        if (run.scripts[i].batch_latency_ms * 1000 > run.batch_us)
            run.batch_us = run.scripts[i].batch_latency_ms * 1000;
    }
    run.start_us = clock_mono_us(&clock_system);
    run_until_over(&run);
    free(run.scripts);
    return 0;
}

/* --- the rest of the vtable -------------------------------------------------------------------------------------- */

static int fake_probe(const struct executor_options *options, char *ret_device, size_t ret_size,
                      struct executor_error *err) {
    snprintf(ret_device, ret_size, "no device");
    return 0;
}

static int fake_open(const struct executor_options *options, struct executor **ret_ex, struct executor_error *err) {
    *ret_ex = mem_calloc(1, sizeof **ret_ex);
    return 0;
}

static int fake_load(struct executor *ex, const struct executor_model_source *source, struct executor_model **ret_model,
                     struct executor_error *err) {
    struct executor_model *model = mem_calloc(1, sizeof *model);
    model->max_jobs = source->max_batch_size > 0 ? (size_t)source->max_batch_size : 1;
    model->results = mem_calloc(model->max_jobs, sizeof *model->results);
    *ret_model = model;
    return 0;
}

static void fake_unload(struct executor_model *model) {
    if (!model) return;
    for (size_t i = 0; i < model->max_jobs; i++) free(model->results[i].bytes);
    free(model->results);
    free(model);
}

static void fake_close(struct executor *ex) { free(ex); }

const struct executor_ops executor__fake = {
    .abi_version = EXECUTOR_ABI_VERSION,
    .name = "fake",
    .probe = fake_probe,
    .open = fake_open,
    .load = fake_load,
    .run = fake_run,
    .unload = fake_unload,
    .close = fake_close,
};
