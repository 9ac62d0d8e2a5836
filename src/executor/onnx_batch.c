/* What onnx-cpu and onnx-cuda share: jobs to batches, batches through the ONNX graph, results back to jobs. Which back
 * end the graph runs on is the one thing that it is told.
 *
 * Batching. With max_batch_size > 0, dimension 0 of every input is a job's number of rows: 1 as a rule, more if the
 * producer sends several samples in one job. Rows of jobs whose other dimensions agree are stacked into one pass as
 * long as they fit max_batch_size; what does not fit or has another shape goes into a further pass of the same run, so
 * that no valid job fails for the company it is in; nor are jobs stacked whose inputs decide shapes by value. With
 * max_batch_size 0 the model's dimensions are the model's own and each job is a pass.
 *
 * Isolation. Inputs are checked job by job before any pass; a wrong one fails its job alone. When a pass fails in a
 * kernel, its jobs are run again one by one, so that only the culprit fails. A job that is to stop is marked at once,
 * but its rows are computed along as long as somebody else in the pass is still wanted; when nobody is, the pass ends
 * between two nodes.
 *
 * Outputs are copied out of the session's memory, since the next pass reuses it, into an arena that lives until the
 * next run.
 */
#include "executor_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/mem.h"
#include "penstock/onnx_backend.h"

struct executor {
    const struct onnx_backend *backend;
    struct onnx_session_options options;
};

/* What a run knows of a job beyond struct executor_job. */
struct job_slot {
    const struct tensor **inputs; /* in the model's order */
    int64_t rows;
    double told; /* the progress reported last: a second try of its pass must not go back */
    bool over;   /* it has its outcome */
};

struct executor_model {
    struct onnx_model *graph;
    struct onnx_session *ses;
    struct executor_model_info info;
    struct executor_tensor_info *inputs, *outputs;
    int64_t max_rows; /* 0: no batch dimension */
    bool apart;       /* an input's value decides shapes: in company it would decide its neighbours', too */
    size_t max_jobs;
    struct job_slot *slots;
    size_t *pass;          /* the jobs of the current pass */
    struct tensor *shapes; /* of the current pass's inputs */
    struct arena results;  /* of the last run */
};

/* --- open -------------------------------------------------------------------------------------------------------- */

int executor__onnx_probe(const struct onnx_backend *backend, const struct executor_options *options, char *ret_device,
                         size_t ret_size, struct executor_error *err) {
    struct err why;
    if (onnx_backend_probe(backend, options->device, ret_device, ret_size, &why) == 0) return 0;
    return executor__error(err, why.code, "%s", why.msg);
}

/* One thread unless asked for more: a machine runs one worker per slot, and small models lose by sharing their work
 * out. */
int executor__onnx_open(const struct onnx_backend *backend, const struct executor_options *options,
                        struct executor **ret_ex, struct executor_error *err) {
    struct executor *ex = mem_calloc(1, sizeof *ex);
    ex->backend = backend;
    ex->options = (struct onnx_session_options){.threads = options->threads > 0 ? options->threads : 1,
                                                .device = options->device};
    *ret_ex = ex;
    return 0;
}

void executor__onnx_close(struct executor *ex) { free(ex); }

/* --- load -------------------------------------------------------------------------------------------------------- */

static struct executor_tensor_info *describe_ios(const struct onnx_io *ios, size_t count) {
    struct executor_tensor_info *infos = mem_calloc(count, sizeof *infos);
    for (size_t i = 0; i < count; i++) {
        infos[i] = (struct executor_tensor_info){.name = ios[i].name, .datatype = ios[i].datatype};
        infos[i].rank = ios[i].rank > 0 ? ios[i].rank : 0;
        memcpy(infos[i].shape, ios[i].shape, sizeof infos[i].shape);
    }
    return infos;
}

static void describe_model(struct executor_model *model) {
    size_t count;
    const struct onnx_io *ios = onnx_model_inputs(model->graph, &count);
    model->inputs = describe_ios(ios, count);
    model->info.inputs = model->inputs;
    model->info.input_count = count;
    ios = onnx_model_outputs(model->graph, &count);
    model->outputs = describe_ios(ios, count);
    model->info.outputs = model->outputs;
    model->info.output_count = count;
}

static int check_batch_dimension(const struct executor_model *model, struct err *err) {
    for (size_t i = 0; model->max_rows > 0 && i < model->info.input_count; i++) {
        const struct executor_tensor_info *in = &model->inputs[i];
        if (in->rank < 1)
            return err_set(err, ERR_UNSUPPORTED_MODEL, "max_batch_size is %lld, but input '%s' is a scalar",
                           (long long)model->max_rows, in->name);
        if (in->shape[0] >= 0 && !(in->shape[0] == 1 && model->max_rows == 1))
            return err_set(err, ERR_UNSUPPORTED_MODEL,
                           "max_batch_size is %lld, but dimension 0 of input '%s' is fixed at %lld: set it to 0",
                           (long long)model->max_rows, in->name, (long long)in->shape[0]);
    }
    return 0;
}

/* Every output must have the pass's rows in dimension 0, or it could not be given back to its jobs. */
static int check_outputs(const struct executor_model *model, int64_t rows, struct err *err) {
    for (size_t i = 0; model->max_rows > 0 && i < model->info.output_count; i++) {
        const struct tensor *out = onnx_session_output(model->ses, i);
        if (out->rank < 1 || out->shape[0] != rows)
            return err_set(err, ERR_UNSUPPORTED_MODEL, "output '%s' does not have the batch as its dimension 0",
                           out->name);
    }
    return 0;
}

/* Lays out memory for the largest batch now, as far as the model declares its dimensions; otherwise the first job does.
 */
static int prepare_largest(struct executor_model *model, struct err *err) {
    for (size_t i = 0; i < model->info.input_count; i++) {
        const struct executor_tensor_info *in = &model->inputs[i];
        struct tensor *shape = &model->shapes[i];
        *shape = (struct tensor){.name = in->name, .datatype = in->datatype, .rank = in->rank};
        memcpy(shape->shape, in->shape, sizeof shape->shape);
        if (model->max_rows > 0) shape->shape[0] = model->max_rows;
        for (int dim = 0; dim < shape->rank; dim++)
            if (shape->shape[dim] < 0) return 0;
    }
    struct err refused;
    if (onnx_session_prepare(model->ses, model->shapes, &refused) == 0)
        return check_outputs(model, model->max_rows, err);
    if (refused.code == ERR_INVALID_INPUT) return 0; /* an input's value decides a shape: known with the first job */
    *err = refused;
    return -1;
}

static int load_graph(struct executor_model *model, const struct executor *ex, const char *folder, struct err *err) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/model.onnx", folder) >= (int)sizeof path)
        return err_set(err, ERR_MODEL_LOAD_FAILED, "the path of the model is too long");
    if (onnx_model_open(path, &model->graph, err) != 0) return -1;
    if (onnx_backend_session(ex->backend, model->graph, &ex->options, &model->ses, err) != 0) return -1;
    describe_model(model);
    model->apart = model->max_rows == 0 || onnx_model_has_shape_input(model->graph);
    size_t inputs = model->info.input_count;
    model->shapes = mem_calloc(inputs, sizeof *model->shapes);
    model->slots = mem_calloc(model->max_jobs, sizeof *model->slots);
    model->pass = mem_calloc(model->max_jobs, sizeof *model->pass);
    for (size_t i = 0; i < model->max_jobs; i++) model->slots[i].inputs = mem_calloc(inputs, sizeof(struct tensor *));
    if (check_batch_dimension(model, err) != 0 || prepare_largest(model, err) != 0) return -1;
    model->info.memory_bytes = onnx_session_memory(model->ses);
    return 0;
}

void executor__onnx_unload(struct executor_model *model) {
    if (!model) return;
    for (size_t i = 0; model->slots && i < model->max_jobs; i++) free(model->slots[i].inputs);
    free(model->slots);
    free(model->pass);
    free(model->shapes);
    free(model->inputs);
    free(model->outputs);
    onnx_session_free(model->ses);
    onnx_model_free(model->graph);
    arena_done(&model->results);
    free(model);
}

int executor__onnx_load(struct executor *ex, const struct executor_model_source *source,
                        struct executor_model **ret_model, struct executor_error *err) {
    struct executor_model *model = mem_calloc(1, sizeof *model);
    struct err why;
    arena_init(&model->results);
    model->max_rows = source->max_batch_size > 0 ? source->max_batch_size : 0;
    model->max_jobs = model->max_rows > 0 ? (size_t)model->max_rows : 1;
    if (load_graph(model, ex, source->path, &why) != 0) {
        executor__onnx_unload(model);
        return executor__error(err, why.code, "model '%s' version %s: %s", source->name, source->version, why.msg);
    }
    *ret_model = model;
    return 0;
}

const struct executor_model_info *executor__onnx_describe(const struct executor_model *model) { return &model->info; }

/* --- checking a job's inputs ------------------------------------------------------------------------------------- */

static const struct tensor *find_input(const struct executor_job *job, const char *name) {
    for (size_t i = 0; i < job->input_count; i++)
        if (strcmp(job->inputs[i].name, name) == 0) return &job->inputs[i];
    return NULL;
}

/* Called when every input of the model is there: then a surplus one is unknown or given twice. */
static int surplus_input(const struct executor_model *model, const struct executor_job *job, struct err *err) {
    for (size_t i = 0; i < job->input_count; i++) {
        const char *name = job->inputs[i].name;
        bool known = false;
        for (size_t j = 0; j < model->info.input_count; j++) known = known || strcmp(model->inputs[j].name, name) == 0;
        if (!known) return err_set(err, ERR_INVALID_INPUT, "input '%.200s': the model has no such input", name);
    }
    return err_set(err, ERR_INVALID_INPUT, "an input is given twice");
}

static int check_input(const struct executor_model *model, size_t index, const struct tensor *in, struct err *err) {
    if (onnx_model_check_input(model->graph, index, in, err) != 0) return -1;
    int64_t count = tensor_element_count(in->shape, in->rank);
    size_t size;
    if (count < 0 || __builtin_mul_overflow((size_t)count, datatype_size(in->datatype), &size) ||
        size != in->size_bytes || (size > 0 && !in->data))
        return err_set(err, ERR_INVALID_INPUT, "input '%s': its data are not as large as its shape says", in->name);
    return 0;
}

static int check_rows(const struct executor_model *model, struct job_slot *slot, struct err *err) {
    slot->rows = 1;
    if (model->max_rows == 0) return 0;
    for (size_t i = 0; i < model->info.input_count; i++) {
        int64_t rows = slot->inputs[i]->shape[0];
        if (i == 0) slot->rows = rows;
        if (rows != slot->rows)
            return err_set(err, ERR_INVALID_INPUT, "input '%s': %lld rows where input '%s' has %lld",
                           model->inputs[i].name, (long long)rows, model->inputs[0].name, (long long)slot->rows);
        if (rows < 1 || rows > model->max_rows)
            return err_set(err, ERR_INVALID_INPUT, "input '%s': %lld rows in one job; max_batch_size allows 1 to %lld",
                           model->inputs[i].name, (long long)rows, (long long)model->max_rows);
    }
    return 0;
}

static int check_job(const struct executor_model *model, const struct executor_job *job, struct job_slot *slot,
                     struct err *err) {
    for (size_t i = 0; i < model->info.input_count; i++) {
        slot->inputs[i] = find_input(job, model->inputs[i].name);
        if (!slot->inputs[i]) return err_set(err, ERR_INVALID_INPUT, "input '%s' is missing", model->inputs[i].name);
        if (check_input(model, i, slot->inputs[i], err) != 0) return -1;
    }
    if (job->input_count > model->info.input_count) return surplus_input(model, job, err);
    return check_rows(model, slot, err);
}

/* --- one pass ---------------------------------------------------------------------------------------------------- */

struct run {
    struct executor_model *model;
    struct executor_job *jobs;
    size_t job_count;
    const struct executor_control *control;
    size_t pass_count;
    int64_t pass_rows;
};

static void end_job(struct run *run, size_t index, enum executor_outcome outcome) {
    run->jobs[index].outcome = outcome;
    run->model->slots[index].over = true;
}

static void fail_job(struct run *run, size_t index, enum err_code code, const char *message) {
    executor__error(&run->jobs[index].error, code, "%s", message);
    end_job(run, index, EXECUTOR_FAILED);
}

static bool pass_should_stop(void *ctx) {
    struct run *run = ctx;
    bool wanted = false;
    for (size_t i = 0; i < run->pass_count; i++) {
        size_t index = run->model->pass[i];
        if (run->model->slots[index].over) continue;
        if (run->control->should_stop(run->control->ctx, index)) {
            end_job(run, index, EXECUTOR_STOPPED);
        } else {
            wanted = true;
        }
    }
    return !wanted;
}

static void pass_progress(void *ctx, double fraction, const char *op_type) {
    struct run *run = ctx;
    for (size_t i = 0; i < run->pass_count; i++) {
        size_t index = run->model->pass[i];
        struct job_slot *slot = &run->model->slots[index];
        if (slot->over || fraction <= slot->told) continue;
        slot->told = fraction;
        run->control->progress(run->control->ctx, index, fraction, op_type);
    }
}

static int prepare_pass(struct run *run, struct err *err) {
    struct executor_model *model = run->model;
    const struct job_slot *first = &model->slots[model->pass[0]];
    for (size_t i = 0; i < model->info.input_count; i++) {
        model->shapes[i] = *first->inputs[i];
        if (model->max_rows > 0) model->shapes[i].shape[0] = run->pass_rows;
    }
    if (onnx_session_prepare(model->ses, model->shapes, err) != 0) return -1;
    return check_outputs(model, run->pass_rows, err);
}

static void gather_inputs(struct run *run) {
    struct executor_model *model = run->model;
    for (size_t i = 0; i < model->info.input_count; i++) {
        char *to = onnx_session_input(model->ses, i)->data;
        for (size_t j = 0; j < run->pass_count; j++) {
            const struct tensor *from = model->slots[model->pass[j]].inputs[i];
            if (from->size_bytes) memcpy(to, from->data, from->size_bytes);
            to += from->size_bytes;
        }
    }
}

/* Gives job `index` its rows, the first of which is `row`. */
static void split_outputs(struct run *run, size_t index, int64_t row) {
    struct executor_model *model = run->model;
    struct executor_job *job = &run->jobs[index];
    int64_t rows = model->slots[index].rows;
    job->output_count = model->info.output_count;
    job->outputs = arena_alloc(&model->results, job->output_count * sizeof *job->outputs);
    for (size_t i = 0; i < job->output_count; i++) {
        const struct tensor *from = onnx_session_output(model->ses, i);
        struct tensor *to = &job->outputs[i];
        size_t row_bytes = from->size_bytes / (size_t)run->pass_rows;
        *to = *from;
        if (model->max_rows > 0) to->shape[0] = rows;
        to->size_bytes = row_bytes * (size_t)rows;
        to->data = arena_alloc(&model->results, to->size_bytes);
        if (to->size_bytes) memcpy(to->data, (const char *)from->data + (size_t)row * row_bytes, to->size_bytes);
    }
    end_job(run, index, EXECUTOR_COMPLETED);
}

/* 0: every job of the pass is over. -1: a kernel failed. */
static int run_pass(struct run *run, struct err *err) {
    struct executor_model *model = run->model;
    const struct onnx_control control = {.ctx = run, .should_stop = pass_should_stop, .progress = pass_progress};
    if (prepare_pass(run, err) != 0) {
        if (err->code == ERR_DEVICE_LOST) return -1;
        enum err_code code =
            err->code == ERR_OUT_OF_MEMORY ? ERR_OUT_OF_MEMORY : ERR_INVALID_INPUT; /* the shapes' fault */
        for (size_t i = 0; i < run->pass_count; i++) fail_job(run, model->pass[i], code, err->msg);
        return 0;
    }
    gather_inputs(run);
    if (onnx_session_run(model->ses, &control, err) < 0) return -1;
    int64_t row = 0;
    for (size_t i = 0; i < run->pass_count; i++) {
        size_t index = model->pass[i];
        if (!model->slots[index].over) split_outputs(run, index, row);
        row += model->slots[index].rows;
    }
    return 0;
}

/* --- passes ------------------------------------------------------------------------------------------------------ */

static bool same_but_rows(const struct executor_model *model, const struct job_slot *a, const struct job_slot *b) {
    for (size_t i = 0; i < model->info.input_count; i++) /* the rank is the model's */
        for (int dim = 1; dim < a->inputs[i]->rank; dim++)
            if (a->inputs[i]->shape[dim] != b->inputs[i]->shape[dim]) return false;
    return true;
}

static void collect_pass(struct run *run, size_t first, bool alone) {
    struct executor_model *model = run->model;
    run->pass_count = 0;
    run->pass_rows = 0;
    for (size_t i = first; i < run->job_count; i++) {
        const struct job_slot *slot = &model->slots[i];
        if (slot->over || (i > first && (alone || model->apart))) continue;
        if (i > first && run->pass_rows + slot->rows > model->max_rows) continue;
        if (!same_but_rows(model, &model->slots[first], slot)) continue;
        model->pass[run->pass_count++] = i;
        run->pass_rows += slot->rows;
    }
}

/* What is wrong with the device is nobody's fault, and nothing runs on it any more. */
static void fail_pass_sticky(struct run *run, const struct err *why) {
    for (size_t i = 0; i < run->job_count; i++) {
        if (run->model->slots[i].over) continue;
        fail_job(run, i, why->code, why->msg);
        run->jobs[i].error.sticky = true;
    }
}

/* `alone` after a pass of several failed: then a failure is that one job's own. */
static void run_all(struct run *run, bool alone) {
    struct err why;
    for (size_t i = 0; i < run->job_count; i++) {
        if (run->model->slots[i].over) continue;
        collect_pass(run, i, alone);
        if (run_pass(run, &why) == 0) continue;
        if (why.code == ERR_DEVICE_LOST) {
            fail_pass_sticky(run, &why);
        } else if (run->pass_count == 1) {
            fail_job(run, i, why.code, why.msg);
        } else {
            run_all(run, true);
        }
    }
}

int executor__onnx_run(struct executor_model *model, struct executor_job *jobs, size_t job_count,
                       const struct executor_control *control, struct executor_error *err) {
    if (job_count < 1 || job_count > model->max_jobs)
        return executor__error(err, ERR_EXECUTION_FAILED, "a batch of %zu jobs where the model takes 1 to %zu",
                               job_count, model->max_jobs);
    struct run run = {.model = model, .jobs = jobs, .job_count = job_count, .control = control};
    arena_reset(&model->results);
    for (size_t i = 0; i < job_count; i++) {
        struct err why;
        model->slots[i].over = false;
        model->slots[i].told = 0;
        jobs[i].outputs = NULL;
        jobs[i].output_count = 0;
        if (check_job(model, &jobs[i], &model->slots[i], &why) != 0) fail_job(&run, i, why.code, why.msg);
    }
    run_all(&run, false);
    return 0;
}
