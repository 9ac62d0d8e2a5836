/* The models that this worker serves. Each is loaded and run once on zeros, so that the first job does not pay for what
 * a first run sets up; only then are jobs claimed for it.
 *
 * The repository may change while jobs run. A set of models is therefore made once and never changed: the next set
 * takes over what is the same, by reference, and loads what is new. A loaded model is counted: one for each set and one
 * for each job that is to run on it. The last one to let go puts it aside; it is unloaded by whoever loads next, since
 * unloading may take as long as loading and must not keep the main thread from renewing leases.
 *
 * A version that cannot be loaded leaves the one that was loaded under its number, and the latest version is the
 * highest that is loaded: a broken upload harms nobody. What failed is remembered, so that it is tried, and logged,
 * once for each change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/log.h"
#include "worker_internal.h"

#define ROLE          "worker"
#define MAX_EXECUTORS 2 /* one for "onnx", one for "fake" */

/* The open executors, and what is to be unloaded. Outlives every set; owned by all of them. */
struct worker__engine {
    struct {
        const struct executor_ops *ops;
        struct executor *ex;
    } opened[MAX_EXECUTORS];
    size_t opened_count;
    char device[256];
    pthread_mutex_t lock;
    struct worker__model *trash; /* by next */
    size_t users;                /* sets; under the lock */
};

struct worker_models {
    struct worker__engine *engine;
    struct worker__model **loaded; /* by name, then by version as a number */
    size_t count;
    struct model_list seen; /* the repository as it was: what is loaded, and what could not be */
    const char **names;     /* distinct */
    int *max_jobs;
    int64_t *max_delay_us;
    size_t name_count;
    struct buf json;
};

/* --- the engine --------------------------------------------------------------------------------------------------- */

static void unload_model(struct worker__model *model) {
    model->ops->unload(model->model);
    free(model->entry.path);
    free(model);
}

void worker__models_collect(struct worker_models *models) {
    struct worker__engine *engine = models->engine;
    pthread_mutex_lock(&engine->lock);
    struct worker__model *trash = engine->trash;
    engine->trash = NULL;
    pthread_mutex_unlock(&engine->lock);
    while (trash) {
        struct worker__model *next = trash->next;
        log_info(ROLE, "model %s version %s is unloaded", trash->entry.name, trash->entry.version);
        unload_model(trash);
        trash = next;
    }
}

struct worker__model *worker__model_ref(struct worker__model *model) {
    if (model) atomic_fetch_add(&model->refs, 1);
    return model;
}

void worker__model_unref(struct worker__model *model) {
    if (!model || atomic_fetch_sub(&model->refs, 1) > 1) return;
    struct worker__engine *engine = model->engine;
    pthread_mutex_lock(&engine->lock);
    model->next = engine->trash;
    engine->trash = model;
    pthread_mutex_unlock(&engine->lock);
}

static struct worker__engine *engine_new(void) {
    struct worker__engine *engine = mem_calloc(1, sizeof *engine);
    snprintf(engine->device, sizeof engine->device, "none");
    pthread_mutex_init(&engine->lock, NULL);
    return engine;
}

static void engine_use(struct worker__engine *engine) {
    pthread_mutex_lock(&engine->lock);
    engine->users++;
    pthread_mutex_unlock(&engine->lock);
}

/* The last set to go takes the executors with it: by then no batch is left. */
static void engine_leave(struct worker_models *models) {
    struct worker__engine *engine = models->engine;
    pthread_mutex_lock(&engine->lock);
    bool last = --engine->users == 0;
    pthread_mutex_unlock(&engine->lock);
    if (!last) return;
    while (engine->trash) {
        struct worker__model *next = engine->trash->next;
        unload_model(engine->trash);
        engine->trash = next;
    }
    for (size_t i = 0; i < engine->opened_count; i++) engine->opened[i].ops->close(engine->opened[i].ex);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

static int from_executor(struct err *err, const char *what, const struct executor_error *why) {
    enum err_code code = err_code_from_name(why->code);
    return err_set(err, code ? code : ERR_EXECUTION_FAILED, "%s: %s", what, why->message);
}

static const char *executor_name(const struct worker_model_options *options, const char *backend) {
    return strcmp(backend, "onnx") == 0 ? options->onnx_executor : backend;
}

/* The open executor for a backend: its index. */
static int open_executor(struct worker__engine *engine, const struct worker_model_options *options, const char *backend,
                         size_t *ret, struct err *err) {
    const char *name = executor_name(options, backend);
    struct executor_options how = {.device = options->device, .threads = options->threads};
    struct executor_error why = {0};
    for (*ret = 0; *ret < engine->opened_count; ++*ret)
        if (strcmp(engine->opened[*ret].ops->name, name) == 0) return 0;
    if (engine->opened_count == MAX_EXECUTORS)
        return err_set(err, ERR_CONFIG, "the repository's models need more than %d executors", MAX_EXECUTORS);
    const struct executor_ops *ops;
    if (registry_executor_find(name, options->plugin_dir, &ops, err) != 0) return -1;
    engine->opened[*ret].ops = ops;
    if (ops->probe(&how, engine->device, sizeof engine->device, &why) != 0 ||
        ops->open(&how, &engine->opened[*ret].ex, &why) != 0)
        return from_executor(err, name, &why);
    engine->opened_count++;
    return 0;
}

/* --- warming up --------------------------------------------------------------------------------------------------- */

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

static int load_one(struct worker__engine *engine, size_t executor, const struct model_entry *entry,
                    struct worker__model **ret, struct err *err) {
    struct executor_model_source source = {entry->name, entry->version, entry->path, entry->max_batch_size};
    struct executor_error why = {0};
    char what[128];
    struct worker__model *model = mem_calloc(1, sizeof *model);
    *model = (struct worker__model){.entry = *entry, .ops = engine->opened[executor].ops, .engine = engine};
    atomic_init(&model->refs, 1);
    snprintf(what, sizeof what, "model %s version %s", entry->name, entry->version);
    if (model->ops->load(engine->opened[executor].ex, &source, &model->model, &why) != 0) {
        free(model);
        return from_executor(err, what, &why);
    }
    if (warm_up(model, &why) != 0) {
        model->ops->unload(model->model);
        free(model);
        from_executor(err, what, &why);
        return err_wrap(err, "warm-up");
    }
    model->entry.path = mem_strdup(entry->path);
    *ret = model;
    return 0;
}

/* --- what it tells about itself ----------------------------------------------------------------------------------- */

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

static void put_model(struct buf *out, const struct worker__model *model, bool latest) {
    const struct executor_model_info *info = model->ops->describe ? model->ops->describe(model->model) : NULL;
    buf_printf(out, "{\"name\":\"%s\",\"version\":\"%s\",\"latest\":%s,\"executor\":\"%s\",\"max_batch_size\":%d",
               model->entry.name, model->entry.version, latest ? "true" : "false", model->ops->name,
               model->entry.max_batch_size);
    if (info) {
        buf_printf(out, ",\"memory_bytes\":%zu", info->memory_bytes);
        put_tensors(out, "inputs", info->inputs, info->input_count);
        put_tensors(out, "outputs", info->outputs, info->output_count);
    }
    buf_puts(out, "}");
}

static bool is_latest(const struct worker_models *models, size_t i) {
    return i + 1 == models->count || strcmp(models->loaded[i]->entry.name, models->loaded[i + 1]->entry.name) != 0;
}

/* Names to claim for: each once, with the batch size and delay of its latest version. */
static void list_names(struct worker_models *models) {
    models->names = mem_calloc(models->count, sizeof *models->names);
    models->max_jobs = mem_calloc(models->count, sizeof *models->max_jobs);
    models->max_delay_us = mem_calloc(models->count, sizeof *models->max_delay_us);
    for (size_t i = 0; i < models->count; i++) {
        const struct model_entry *entry = &models->loaded[i]->entry;
        if (!is_latest(models, i)) continue;
        models->names[models->name_count] = entry->name;
        models->max_jobs[models->name_count] = entry->max_batch_size > 1 ? entry->max_batch_size : 1;
        models->max_delay_us[models->name_count++] = entry->max_queue_delay_us;
    }
}

static void describe(struct worker_models *models) {
    list_names(models);
    buf_puts(&models->json, "[");
    for (size_t i = 0; i < models->count; i++) {
        if (i) buf_puts(&models->json, ",");
        put_model(&models->json, models->loaded[i], is_latest(models, i));
    }
    buf_puts(&models->json, "]");
}

/* --- sets --------------------------------------------------------------------------------------------------------- */

static struct worker__model *find_loaded(const struct worker_models *models, const struct model_entry *entry) {
    for (size_t i = 0; models && i < models->count; i++) {
        const struct model_entry *have = &models->loaded[i]->entry;
        if (strcmp(have->name, entry->name) == 0 && strcmp(have->version, entry->version) == 0)
            return models->loaded[i];
    }
    return NULL;
}

/* Has it been seen as it is now? If it is not loaded, it could not be. */
static bool was_seen(const struct worker_models *models, const struct model_entry *entry) {
    for (size_t i = 0; models && i < models->seen.count; i++)
        if (registry_entry_equal(&models->seen.entries[i], entry)) return true;
    return false;
}

/* Loads `entry`. What the set before had under its name and number stays if it cannot be. */
static struct worker__model *load_entry(struct worker_models *models, struct worker__model *have, size_t executor,
                                        const struct model_entry *entry) {
    struct worker__model *model;
    struct err why;
    if (load_one(models->engine, executor, entry, &model, &why) == 0) return model;
    log_err(ROLE, &why);
    if (have) log_warn(ROLE, "model %s version %s: what was there goes on", entry->name, entry->version);
    return worker__model_ref(have);
}

/* The set takes `entry` as the set before had it, or loads it. */
static int take_entry(struct worker_models *models, const struct worker_models *before,
                      const struct worker_model_options *options, const struct model_entry *entry, struct err *err) {
    struct worker__model *have = find_loaded(before, entry), *model = NULL;
    size_t executor;
    if (was_seen(before, entry)) {
        model = worker__model_ref(have);
    } else if (open_executor(models->engine, options, entry->backend, &executor, err) == 0) {
        model = load_entry(models, have, executor, entry);
        if (before && model && model != have)
            log_info(ROLE, "model %s version %s is loaded", entry->name, entry->version);
    } else if (before) {
        log_err(ROLE, err);
        model = worker__model_ref(have);
    } else {
        return -1;
    }
    if (model) models->loaded[models->count++] = model;
    return 0;
}

int worker__models_next(const struct worker_models *before, const struct worker_model_options *options,
                        struct worker_models **ret, struct err *err) {
    struct model_list list;
    *ret = NULL;
    if (registry_models_scan(options->repository, &list, err) != 0) return -1;
    if (before && registry_models_equal(&list, &before->seen)) {
        registry_models_done(&list);
        return 0;
    }
    struct worker_models *models = mem_calloc(1, sizeof *models);
    models->engine = before ? before->engine : engine_new();
    engine_use(models->engine);
    models->seen = list;
    models->loaded = mem_calloc(list.count, sizeof(struct worker__model *));
    for (size_t i = 0; i < list.count; i++)
        if (take_entry(models, before, options, &list.entries[i], err) != 0) {
            worker_models_free(models);
            return -1;
        }
    describe(models);
    *ret = models;
    return 0;
}

int worker_models_load(const struct worker_model_options *options, struct worker_models **ret, struct err *err) {
    return worker__models_next(NULL, options, ret, err);
}

void worker_models_free(struct worker_models *models) {
    if (!models) return;
    for (size_t i = 0; i < models->count; i++) worker__model_unref(models->loaded[i]);
    engine_leave(models);
    registry_models_done(&models->seen);
    buf_done(&models->json);
    free(models->loaded);
    free(models->names);
    free(models->max_jobs);
    free(models->max_delay_us);
    free(models);
}

size_t worker_models_count(const struct worker_models *models) { return models->count; }
const char *worker_models_device(const struct worker_models *models) { return models->engine->device; }
const char *worker_models_json(const struct worker_models *models) { return models->json.data; }

struct worker__model *worker__model_find(struct worker_models *models, const char *name, const char *version) {
    for (size_t i = 0; i < models->count; i++) {
        const struct model_entry *entry = &models->loaded[i]->entry;
        if (strcmp(entry->name, name) != 0) continue;
        if (version ? strcmp(entry->version, version) == 0 : is_latest(models, i)) return models->loaded[i];
    }
    return NULL;
}

void worker__model_names(struct worker_models *models, struct store_claim *ret) {
    ret->models = models->names;
    ret->max_jobs = models->max_jobs;
    ret->max_delay_us = models->max_delay_us;
    ret->model_count = models->name_count;
}
