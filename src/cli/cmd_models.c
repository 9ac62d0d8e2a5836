/* penstock models: what workers have ready, as they registered it in the store; or what a repository folder holds. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/registry.h"

enum { OPT_REPOSITORY = CLI_OPT_OWN };

static const struct cli_option options[] = {
    {"repository", OPT_REPOSITORY, "DIR", CLI_FOLDERS,
     "list a model repository on disk instead, with what each config.json says about its jobs"},
    {0},
};

/* --- a repository on disk ------------------------------------------------------------------------------------------
 */

/* What the model says: "max_attempts=5 timeout_ms=1000", or as members of JSON. */
static void append_policy(const struct model_policy *policy, bool json, struct buf *out) {
    const struct {
        const char *name;
        int64_t value;
    } members[] = {{"max_attempts", policy->max_attempts},
                   {"backoff_ms", policy->backoff_ms},
                   {"backoff_max_ms", policy->backoff_max_ms},
                   {"timeout_ms", policy->timeout_ms},
                   {"timeout_max_ms", policy->timeout_max_ms},
                   {"queue_timeout_ms", policy->queue_timeout_ms},
                   {"queue_timeout_max_ms", policy->queue_timeout_max_ms},
                   {"max_running", policy->max_running},
                   {"max_queued", policy->max_queued}};
    size_t said = 0;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (members[i].value == 0) continue;
        const char *quote = json ? "\"" : "", *between = said++ == 0 ? "" : json ? "," : " ";
        buf_printf(out, "%s%s%s%s%s%" PRId64, between, quote, members[i].name, quote, json ? ":" : "=",
                   members[i].value);
    }
}

static void print_entry_json(const struct model_entry *model) {
    struct buf out = {0};
    buf_printf(&out, "{\"name\":\"%s\",\"version\":\"%s\",\"backend\":\"%s\",\"max_batch_size\":%d", model->name,
               model->version, model->backend, model->max_batch_size);
    buf_printf(&out, ",\"max_queue_delay_microseconds\":%" PRId64 ",\"latest\":%s,\"penstock\":{",
               model->max_queue_delay_us, model->latest ? "true" : "false");
    append_policy(&model->policy, true, &out);
    buf_puts(&out, "},\"path\":");
    wire_json_string(model->path, strlen(model->path), &out);
    printf("%s}\n", out.data);
    buf_done(&out);
}

static void print_entries(const struct cli_context *ctx, const struct model_list *list) {
    static const char *const heads[] = {"MODEL",        "VERSION", "BACKEND", ">MAX BATCH",
                                        ">QUEUE DELAY", "LATEST",  "JOBS",    "PATH"};
    struct cli_table table;
    struct buf policy = {0};
    cli__table_init(&table, heads, sizeof heads / sizeof heads[0]);
    for (size_t i = 0; i < list->count; i++) {
        const struct model_entry *model = &list->entries[i];
        buf_reset(&policy);
        buf_puts(&policy, "");
        append_policy(&model->policy, false, &policy);
        cli__table_add(&table, "%s", model->name);
        cli__table_add(&table, "%s", model->version);
        cli__table_add(&table, "%s", model->backend);
        cli__table_add(&table, "%d", model->max_batch_size);
        cli__table_add(&table, "%" PRId64 " us", model->max_queue_delay_us);
        cli__table_add(&table, "%s", model->latest ? "yes" : "");
        cli__table_add(&table, "%s", policy.data);
        cli__table_add(&table, "%s", model->path);
    }
    cli__table_print(&table, ctx, true);
    cli__table_done(&table);
    buf_done(&policy);
}

static int list_repository(struct cli_context *ctx, const char *folder, struct err *err) {
    struct model_list list = {0};
    if (registry_models_scan(folder, &list, err) != 0) return -1;
    for (size_t i = 0; ctx->json && i < list.count; i++) print_entry_json(&list.entries[i]);
    if (!ctx->json) print_entries(ctx, &list);
    registry_models_done(&list);
    return 0;
}

/* --- what workers have ---------------------------------------------------------------------------------------------
 */

static void append_member(struct wire_slice object, const char *name, struct buf *out) {
    struct wire_slice value;
    if (wire_json_member(object, name, &value)) wire_json_text(value, out);
}

/* "image FP32[1,1,8,8], mask BOOL[1]" */
static void append_tensors(struct wire_slice model, const char *name, struct buf *out) {
    struct wire_slice tensors, tensor;
    buf_puts(out, "");
    if (!wire_json_member(model, name, &tensors)) return;
    while (wire_json_element(&tensors, &tensor)) {
        if (out->len) buf_puts(out, ", ");
        append_member(tensor, "name", out);
        buf_puts(out, " ");
        append_member(tensor, "datatype", out);
        append_member(tensor, "shape", out);
    }
}

static void add_model(struct cli_table *table, const struct store_worker *worker, struct wire_slice model) {
    struct buf cell = {0};
    static const char *const plain[] = {"name", "version", "max_batch_size"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        buf_reset(&cell);
        buf_puts(&cell, "");
        append_member(model, plain[i], &cell);
        cli__table_add(table, "%s", cell.data);
    }
    static const char *const tensors[] = {"inputs", "outputs"};
    for (size_t i = 0; i < 2; i++) {
        buf_reset(&cell);
        append_tensors(model, tensors[i], &cell);
        cli__table_add(table, "%s", cell.data);
    }
    buf_reset(&cell);
    buf_puts(&cell, "");
    append_member(model, "memory_bytes", &cell);
    if (cell.len)
        cli__table_add(table, "%.1f MiB", strtod(cell.data, NULL) / (1 << 20));
    else
        cli__table_add(table, "%s", "");
    cli__table_add(table, "%s", worker->id);
    cli__table_add(table, "%s", worker->executor ? worker->executor : "");
    cli__table_add(table, "%s", worker->device ? worker->device : "");
    buf_done(&cell);
}

static void print_table(const struct cli_context *ctx, const struct store_worker *workers, size_t count) {
    static const char *const heads[] = {"MODEL",   "VERSION", ">MAX BATCH", "INPUTS", "OUTPUTS",
                                        ">MEMORY", "WORKER",  "EXECUTOR",   "DEVICE"};
    struct cli_table table;
    cli__table_init(&table, heads, sizeof heads / sizeof heads[0]);
    for (size_t i = 0; i < count; i++) {
        struct wire_slice models = {workers[i].models, workers[i].models ? strlen(workers[i].models) : 0}, model;
        while (wire_json_element(&models, &model)) add_model(&table, &workers[i], model);
    }
    cli__table_print(&table, ctx, true);
    cli__table_done(&table);
}

static void print_worker_json(const struct store_worker *worker) {
    struct buf out = {0};
    const struct {
        const char *name, *text;
    } texts[] = {
        {"worker", worker->id}, {"host", worker->host}, {"executor", worker->executor}, {"device", worker->device}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *text = texts[i].text ? texts[i].text : "";
        buf_printf(&out, "%c\"%s\":", i ? ',' : '{', texts[i].name);
        wire_json_string(text, strlen(text), &out);
    }
    printf("%s,\"pid\":%" PRId64 ",\"started_at\":%" PRId64 ",\"seen_at\":%" PRId64 ",\"models\":%s}\n", out.data,
           worker->pid, worker->started_at, worker->seen_at, worker->models && *worker->models ? worker->models : "[]");
    buf_done(&out);
}

static int list_workers(struct cli_context *ctx, struct err *err) {
    struct store *st = NULL;
    struct arena arena;
    struct store_worker *workers;
    size_t count;
    arena_init(&arena);
    int rc = cli__open_store(ctx, &st, err);
    if (rc == 0) rc = store_worker_list(st, &arena, &workers, &count, err);
    if (rc == 0 && ctx->json)
        for (size_t i = 0; i < count; i++) print_worker_json(&workers[i]);
    else if (rc == 0)
        print_table(ctx, workers, count);
    if (rc == 0 && count == 0 && !ctx->quiet) fprintf(stderr, "no worker is registered\n");
    store_free(st);
    arena_done(&arena);
    return rc;
}

static int models_main(struct cli_context *ctx, int argc, char **argv) {
    const char *repository = NULL;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_REPOSITORY:
            repository = optarg;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    struct err err;
    int rc = repository ? list_repository(ctx, repository, &err) : list_workers(ctx, &err);
    return rc == 0 ? CLI_OK : cli__fail(ctx, &err);
}

const struct cli_command cmd_models = {
    .name = "models",
    .summary = "List the models that workers have ready",
    .usage = "[OPTIONS]",
    .about = "Lists the models that workers have ready, with their inputs and outputs. With --json: one line for "
             "each worker, or for each version on disk.",
    .options = options,
    .examples = "penstock models\n"
                "penstock models --repository models\n"
                "penstock models --repository models --json | jq .penstock",
    .run = models_main,
};
