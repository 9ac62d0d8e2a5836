/* A batch on its way through the executor: decode the specs, run, encode the results.
 *
 * It is owned by one thread at a time: the main thread makes it, the runner runs it, the main thread finishes it. While
 * it runs, the main thread touches only the atomics: `stop` to end a job, `progress` to read how far it is. The results
 * are encoded on the runner's side, since the tensors belong to the model and are gone with its next run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/artifact.h"
#include "worker_internal.h"

/* --- making ------------------------------------------------------------------------------------------------------- */

static void prepare_job(struct worker_batch *batch, struct worker__job *job, struct worker_models *models) {
    const struct store_claimed *claim = &job->claim;
    atomic_init(&job->stop, STOP_NO);
    pthread_mutex_init(&job->message.lock, NULL);
    atomic_init(&job->deadline_us, INT64_MAX);
    atomic_init(&job->leased_us, INT64_MAX);
    job->model = worker__model_ref(worker__model_find(models, claim->model, claim->model_version));
    if (!job->model) {
        job->retryable = true; /* it is in the repository, or the command would not be here: soon, or elsewhere */
        err_set(&job->error, ERR_UNKNOWN_MODEL, "this worker does not serve %s version %s", claim->model,
                claim->model_version ? claim->model_version : "(latest)");
        return;
    }
    if (wire_spec_decode(claim->spec, claim->spec_len, &batch->arena, &job->request, &job->error) != 0) return;
    job->error.code = ERR_NONE;
    job->run = (struct executor_job){
        .job_id = claim->job_id,
        .attempt = claim->attempt + claim->crashes, /* the ABI counts executions */
        .inputs = job->request.inputs,
        .input_count = job->request.input_count,
        .params = job->request.params,
        .param_count = job->request.param_count,
    };
}

struct worker_batch *worker__batch_new(struct arena *arena_take, const struct store_claims *claims,
                                       struct worker_models *models, const struct worker_config *cfg) {
    struct worker_batch *batch = mem_calloc(1, sizeof *batch);
    batch->arena = *arena_take;
    arena_init(arena_take);
    batch->count = claims->count;
    batch->cfg = cfg;
    batch->jobs = mem_calloc(claims->count, sizeof *batch->jobs);
    for (size_t i = 0; i < claims->count; i++) {
        batch->jobs[i].claim = claims->jobs[i];
        prepare_job(batch, &batch->jobs[i], models);
    }
    return batch;
}

void worker__batch_free(struct worker_batch *batch) {
    if (!batch) return;
    for (size_t i = 0; i < batch->count; i++) {
        buf_done(&batch->jobs[i].result);
        worker__model_unref(batch->jobs[i].model);
        pthread_mutex_destroy(&batch->jobs[i].message.lock);
    }
    arena_done(&batch->arena);
    free(batch->jobs);
    free(batch);
}

/* --- running, on the runner's side -------------------------------------------------------------------------------- */

/* The jobs of one run: those of the batch that share a loaded model and fit its max_batch_size. */
struct group {
    struct worker_batch *batch;
    struct worker__job **members;
    struct executor_job *runs; /* of the members, contiguous as the executor wants them */
    size_t count;
};

static bool should_stop(void *ctx, size_t index) {
    struct group *group = ctx;
    struct worker__job *job = group->members[index];
    if (atomic_load_explicit(&job->stop, memory_order_relaxed) != STOP_NO) return true;
    int64_t now_us = clock_mono_us(group->batch->clock);
    if (now_us >= atomic_load_explicit(&job->leased_us, memory_order_relaxed)) {
        int none = STOP_NO; /* the main thread may be waiting for a store that does not answer */
        atomic_compare_exchange_strong(&job->stop, &none, STOP_LOST);
        return true;
    }
    if (now_us < atomic_load_explicit(&job->deadline_us, memory_order_relaxed)) return false;
    atomic_store(&job->timed_out, true);
    return true;
}

/* As much of `text` as fits, cut between characters of UTF-8. */
static void copy_message(char to[MESSAGE_SIZE], const char *text) {
    size_t len = strnlen(text, MESSAGE_SIZE);
    if (len == MESSAGE_SIZE) {
        len--;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) len--;
    }
    memcpy(to, text, len);
    to[len] = '\0';
}

static void on_progress(void *ctx, size_t index, double fraction, const char *message) {
    struct worker__job *job = ((struct group *)ctx)->members[index];
    atomic_store_explicit(&job->progress, fraction, memory_order_relaxed);
    if (!message || !*message) return;
    pthread_mutex_lock(&job->message.lock);
    copy_message(job->message.text, message);
    job->message.is_new = strcmp(job->message.text, job->message.told) != 0;
    pthread_mutex_unlock(&job->message.lock);
}

bool worker__job_has_message(struct worker__job *job) {
    pthread_mutex_lock(&job->message.lock);
    bool is_new = job->message.is_new;
    pthread_mutex_unlock(&job->message.lock);
    return is_new;
}

const char *worker__job_message(struct worker__job *job) {
    pthread_mutex_lock(&job->message.lock);
    bool is_new = job->message.is_new;
    if (is_new) strcpy(job->message.told, job->message.text);
    job->message.is_new = false;
    pthread_mutex_unlock(&job->message.lock);
    return is_new ? job->message.told : NULL;
}

static void fail_by_executor(struct worker__job *job, const struct executor_error *why) {
    enum err_code code = err_code_from_name(why->code);
    err_set(&job->error, code ? code : ERR_EXECUTION_FAILED, "%s", why->message);
    job->retryable = why->retryable;
}

/* Outputs that are too large for the document go into files, if there is a place for them. */
static int write_artifacts(struct worker_batch *batch, struct worker__job *job, struct wire_artifact *ret) {
    const struct worker_config *cfg = batch->cfg;
    size_t total = 0;
    for (size_t i = 0; i < job->run.output_count; i++) total += job->run.outputs[i].size_bytes;
    if (total > cfg->max_artifact_bytes)
        return err_set(&job->error, ERR_RESULT_TOO_LARGE, "the outputs have %zu bytes, artifacts.max_bytes is %zu",
                       total, cfg->max_artifact_bytes);
    for (size_t i = 0; i < job->run.output_count; i++) {
        struct artifact *written = arena_alloc(&batch->arena, sizeof *written);
        if (job->run.outputs[i].size_bytes <= cfg->inline_bytes) continue;
        if (artifact_write(cfg->artifacts, job->claim.job_id, job->claim.token, &job->run.outputs[i], &batch->arena,
                           written, &job->error) != 0) {
            job->retryable = true; /* a full disk, mostly */
            return -1;
        }
        ret[i] = (struct wire_artifact){written->uri, written->size_bytes, written->sha256};
    }
    return 0;
}

static void encode_result(struct worker_batch *batch, struct worker__job *job) {
    struct wire_artifact *artifacts = arena_alloc(&batch->arena, (job->run.output_count + 1) * sizeof *artifacts);
    if (batch->cfg->artifacts && write_artifacts(batch, job, artifacts) != 0) return;
    wire_result_encode(job->model->entry.name, job->model->entry.version, job->run.outputs, artifacts,
                       job->run.output_count, &job->result);
    if (job->result.len > batch->cfg->max_result_bytes)
        err_set(&job->error, ERR_RESULT_TOO_LARGE, "the result document has %zu bytes, worker.max_result_bytes is %zu",
                job->result.len, batch->cfg->max_result_bytes);
}

static void collect(struct worker_batch *batch, struct worker__job *job) {
    job->ran = true;
    if (job->run.outcome == EXECUTOR_FAILED)
        fail_by_executor(job, &job->run.error);
    else if (job->run.outcome == EXECUTOR_COMPLETED)
        encode_result(batch, job);
    else if (atomic_load(&job->timed_out))
        err_set(&job->error, ERR_TIMEOUT, "the run took longer than timeout_ms");
    else
        err_set(&job->error, ERR_CANCELLED, "the run was stopped");
}

/* Inputs that are named by uri are read here, on the runner's side: they may be large. */
static void read_inputs(struct worker_batch *batch, struct worker__job *job) {
    for (size_t i = 0; i < job->request.input_count && job->error.code == ERR_NONE; i++) {
        struct tensor *input = &job->request.inputs[i];
        if (!job->request.uris[i]) continue;
        if (!batch->cfg->inputs)
            err_set(&job->error, ERR_INVALID_INPUT, "input \"%.100s\": this worker has no artifacts.input_root",
                    input->name);
        else if (artifact_read(batch->cfg->inputs, job->request.uris[i], batch->cfg->max_input_bytes, input,
                               &batch->arena, &job->error) != 0)
            err_wrap(&job->error, "input \"%.100s\"", input->name);
    }
}

static void run_group(struct group *group) {
    const struct worker__model *model = group->members[0]->model;
    struct executor_control control = {group, should_stop, on_progress};
    struct executor_error why = {0};
    for (size_t i = 0; i < group->count; i++) group->runs[i] = group->members[i]->run;
    int rc = model->ops->run(model->model, group->runs, group->count, &control, &why);
    for (size_t i = 0; i < group->count; i++) {
        struct worker__job *job = group->members[i];
        job->run = group->runs[i];
        if (rc == 0)
            collect(group->batch, job);
        else
            fail_by_executor(job, &why);
        if (rc != 0 ? why.sticky : job->run.outcome == EXECUTOR_FAILED && job->run.error.sticky)
            group->batch->sticky = true;
    }
}

/* The next group: the first job that has not run decides the model. */
static bool next_group(struct worker_batch *batch, struct group *group) {
    size_t max = 1;
    group->count = 0;
    for (size_t i = 0; i < batch->count && group->count < max; i++) {
        struct worker__job *job = &batch->jobs[i];
        if (job->ran || job->error.code != ERR_NONE) continue;
        if (group->count == 0)
            max = job->model->entry.max_batch_size > 1 ? (size_t)job->model->entry.max_batch_size : 1;
        else if (job->model != group->members[0]->model)
            continue;
        group->members[group->count++] = job;
    }
    return group->count > 0;
}

void worker_batch_run(struct worker_batch *batch, const struct clock *clock) {
    struct group group = {.batch = batch};
    group.members = mem_calloc(batch->count, sizeof(struct worker__job *));
    group.runs = mem_calloc(batch->count, sizeof *group.runs);
    batch->clock = clock;
    batch->started_us = clock_mono_us(clock);
    for (size_t i = 0; i < batch->count; i++)
        if (batch->jobs[i].claim.timeout_ms > 0)
            atomic_store(&batch->jobs[i].deadline_us, batch->started_us + batch->jobs[i].claim.timeout_ms * 1000);
    for (size_t i = 0; i < batch->count; i++)
        if (batch->jobs[i].error.code == ERR_NONE) read_inputs(batch, &batch->jobs[i]);
    while (!batch->sticky && next_group(batch, &group)) run_group(&group);
    batch->run_us = clock_mono_us(clock) - batch->started_us;
    atomic_store(&batch->over, true);
    free(group.members);
    free(group.runs);
}
