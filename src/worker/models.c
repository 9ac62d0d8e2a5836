/* The models that this worker serves. All versions found at start are loaded and run once on zeros, so that the first
 * job does not pay for what a first run sets up; only then are jobs claimed for them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/log.h"
#include "worker_internal.h"

#define ROLE          "worker"
#define MAX_EXECUTORS 2 /* one for "onnx", one for "fake" */

struct opened {
    const struct executor_ops *ops;
    struct executor *ex;
};

struct worker_models {
    struct model_list list;
    struct opened opened[MAX_EXECUTORS];
    size_t opened_count;
    struct worker__model *loaded;
    size_t count;
    const char **names; /* distinct, in the repository's order */
    int *max_jobs;
    int64_t *max_delay_us;
    size_t name_count;
    char device[256];
    struct buf json;
};

static int from_executor(struct err *err, const char *what, const struct executor_error *why) {
    enum err_code code = err_code_from_name(why->code);
    return err_set(err, code ? code : ERR_EXECUTION_FAILED, "%s: %s", what, why->message);
}

static const char *executor_name(const struct worker_model_options *options, const char *backend) {
    return strcmp(backend, "onnx") == 0 ? options->onnx_executor : backend;
}

/* The open executor for a backend. */
static int open_executor(struct worker_models *models, const struct worker_model_options *options, const char *backend,
                         struct opened **ret, struct err *err) {
    const char *name = executor_name(options, backend);
    struct executor_options how = {.device = options->device, .threads = options->threads};
    struct executor_error why = {0};
    struct opened opened;
    for (size_t i = 0; i < models->opened_count; i++)
        if (strcmp(models->opened[i].ops->name, name) == 0) {
            *ret = &models->opened[i];
            return 0;
        }
    if (models->opened_count == MAX_EXECUTORS)
        return err_set(err, ERR_CONFIG, "the repository's models need more than %d executors", MAX_EXECUTORS);
    if (registry_executor_find(name, options->plugin_dir, &opened.ops, err) != 0) return -1;
    if (opened.ops->probe(&how, models->device, sizeof models->device, &why) != 0 ||
        opened.ops->open(&how, &opened.ex, &why) != 0)
        return from_executor(err, name, &why);
    models->opened[models->opened_count] = opened;
    *ret = &models->opened[models->opened_count++];
    return 0;
}

/* --- warming up ----------------------------------------------------------------------------------------------------
 */

static bool never_stop(void *ctx, size_t index) {
    (void)ctx, (void)index;
    return false;
}

static void ignore_progress(void *ctx, size_t index, double fraction, const char *message) {
    (void)ctx, (void)index, (void)fraction, (void)message;
}

/* One run on zeros of the described shape, with 1 for what is free. */
static int warm_up(const struct worker__model *model, struct executor_error *why) {
    const struct executor_model_info *info = model->ops->describe ? model->ops->describe(model->model) : NULL;
    if (!info) return 0;
    struct arena arena;
    arena_init(&arena);
    struct tensor *inputs = arena_alloc(&arena, (info->input_count + 1) * sizeof *inputs);
    for (size_t i = 0; i < info->input_count; i++) {
        struct tensor *input = &inputs[i];
        *input = (struct tensor){
            .name = info->inputs[i].name, .datatype = info->inputs[i].datatype, .rank = info->inputs[i].rank};
        for (int d = 0; d < input->rank; d++)
            input->shape[d] = info->inputs[i].shape[d] < 0 ? 1 : info->inputs[i].shape[d];
        input->size_bytes = (size_t)tensor_element_count(input->shape, input->rank) * datatype_size(input->datatype);
        input->data = arena_alloc(&arena, input->size_bytes);
    }
    struct executor_job job = {.job_id = "warm-up", .attempt = 1, .inputs = inputs, .input_count = info->input_count};
    struct executor_control control = {NULL, never_stop, ignore_progress};
    int rc = model->ops->run(model->model, &job, 1, &control, why);
    if (rc == 0 && job.outcome == EXECUTOR_FAILED) {
        *why = job.error;
        rc = -1;
    }
    arena_done(&arena);
    return rc;
}

static int load_one(struct opened *opened, const struct model_entry *entry, struct worker__model *ret,
                    struct err *err) {
    struct executor_model_source source = {entry->name, entry->version, entry->path, entry->max_batch_size};
    struct executor_error why = {0};
    char what[128];
    snprintf(what, sizeof what, "model %s version %s", entry->name, entry->version);
    *ret = (struct worker__model){.entry = entry, .ops = opened->ops};
    if (opened->ops->load(opened->ex, &source, &ret->model, &why) != 0) return from_executor(err, what, &why);
    if (warm_up(ret, &why) == 0) return 0;
    opened->ops->unload(ret->model);
    from_executor(err, what, &why);
    return err_wrap(err, "warm-up");
}

/* --- what it tells about itself ------------------------------------------------------------------------------------
 */

static void put_tensors(struct buf *out, const char *member, const struct executor_tensor_info *infos, size_t count) {
    buf_printf(out, ",\"%s\":[", member);
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i ? ",{\"name\":" : "{\"name\":");
        wire_json_string(infos[i].name, strlen(infos[i].name), out);
        buf_printf(out, ",\"datatype\":\"%s\",\"shape\":[", datatype_name(infos[i].datatype));
        for (int d = 0; d < infos[i].rank; d++) buf_printf(out, "%s%lld", d ? "," : "", (long long)infos[i].shape[d]);
        buf_puts(out, "]}");
    }
    buf_puts(out, "]");
}

static void put_model(struct buf *out, const struct worker__model *model) {
    const struct executor_model_info *info = model->ops->describe ? model->ops->describe(model->model) : NULL;
    buf_printf(out, "{\"name\":\"%s\",\"version\":\"%s\",\"latest\":%s,\"executor\":\"%s\",\"max_batch_size\":%d",
               model->entry->name, model->entry->version, model->entry->latest ? "true" : "false", model->ops->name,
               model->entry->max_batch_size);
    if (info) {
        buf_printf(out, ",\"memory_bytes\":%zu", info->memory_bytes);
        put_tensors(out, "inputs", info->inputs, info->input_count);
        put_tensors(out, "outputs", info->outputs, info->output_count);
    }
    buf_puts(out, "}");
}

/* Names to claim for: each once, with the batch size and delay of its latest version. */
static void list_names(struct worker_models *models) {
    models->names = mem_calloc(models->count, sizeof *models->names);
    models->max_jobs = mem_calloc(models->count, sizeof *models->max_jobs);
    models->max_delay_us = mem_calloc(models->count, sizeof *models->max_delay_us);
    for (size_t i = 0; i < models->count; i++) {
        const struct model_entry *entry = models->loaded[i].entry;
        size_t at = models->name_count;
        if (at > 0 && strcmp(models->names[at - 1], entry->name) == 0)
            at--;
        else
            models->name_count++;
        models->names[at] = entry->name;
        models->max_jobs[at] = entry->max_batch_size > 1 ? entry->max_batch_size : 1;
        models->max_delay_us[at] = entry->max_queue_delay_us;
    }
}

int worker_models_load(const struct worker_model_options *options, struct worker_models **ret, struct err *err) {
    struct worker_models *models = mem_calloc(1, sizeof *models);
    struct opened *opened;
    struct err why;
    snprintf(models->device, sizeof models->device, "none");
    if (registry_models_scan(options->repository, &models->list, err) != 0) {
        free(models);
        return -1;
    }
    models->loaded = mem_calloc(models->list.count, sizeof *models->loaded);
    for (size_t i = 0; i < models->list.count; i++) {
        const struct model_entry *entry = &models->list.entries[i];
        if (open_executor(models, options, entry->backend, &opened, err) != 0) goto fail;
        if (load_one(opened, entry, &models->loaded[models->count], &why) != 0)
            log_err(ROLE, &why);
        else
            models->count++;
    }
    list_names(models);
    buf_puts(&models->json, "[");
    for (size_t i = 0; i < models->count; i++) {
        if (i) buf_puts(&models->json, ",");
        put_model(&models->json, &models->loaded[i]);
    }
    buf_puts(&models->json, "]");
    *ret = models;
    return 0;
fail:
    worker_models_free(models);
    return -1;
}

void worker_models_free(struct worker_models *models) {
    if (!models) return;
    for (size_t i = 0; i < models->count; i++) models->loaded[i].ops->unload(models->loaded[i].model);
    for (size_t i = 0; i < models->opened_count; i++) models->opened[i].ops->close(models->opened[i].ex);
    registry_models_done(&models->list);
    buf_done(&models->json);
    free(models->loaded);
    free(models->names);
    free(models->max_jobs);
    free(models->max_delay_us);
    free(models);
}

size_t worker_models_count(const struct worker_models *models) { return models->count; }
const char *worker_models_device(const struct worker_models *models) { return models->device; }
const char *worker_models_json(const struct worker_models *models) { return models->json.data; }

struct worker__model *worker__model_find(struct worker_models *models, const char *name, const char *version) {
    for (size_t i = 0; i < models->count; i++) {
        const struct model_entry *entry = models->loaded[i].entry;
        if (strcmp(entry->name, name) == 0 && (version ? strcmp(entry->version, version) == 0 : entry->latest))
            return &models->loaded[i];
    }
    return NULL;
}

void worker__model_names(struct worker_models *models, struct store_claim *ret) {
    ret->models = models->names;
    ret->max_jobs = models->max_jobs;
    ret->max_delay_us = models->max_delay_us;
    ret->model_count = models->name_count;
}
