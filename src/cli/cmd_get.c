/* penstock get: records, and the documents beside them. */
#include <inttypes.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/clock.h"

enum { OPT_RESULT = CLI_OPT_OWN, OPT_SPEC, OPT_ERROR };

static const struct cli_option options[] = {
    {"result", OPT_RESULT, NULL, NULL, "only the result document, as stored"},
    {"spec", OPT_SPEC, NULL, NULL, "only the spec; with --json: the record and its spec"},
    {"error", OPT_ERROR, NULL, NULL, "only the error document"},
    {0},
};

static void add_time(struct cli_table *table, const char *name, int64_t ms) {
    char at[25];
    if (ms == 0) return;
    clock_format_rfc3339(ms, at);
    cli__table_add(table, "%s", name);
    cli__table_add(table, "%s", at);
}

static void add_text(struct cli_table *table, const char *name, const char *text) {
    if (!text || !*text) return;
    cli__table_add(table, "%s", name);
    cli__table_add(table, "%s", text);
}

static void add_number(struct cli_table *table, const char *name, int64_t number, const char *unit) {
    cli__table_add(table, "%s", name);
    cli__table_add(table, "%" PRId64 "%s", number, unit);
}

static void print_fields(const struct cli_context *ctx, const struct job_record *rec) {
    static const char *const heads[] = {"FIELD", "VALUE"};
    struct cli_table table;
    cli__table_init(&table, heads, 2);
    add_text(&table, "job_id", rec->job_id);
    add_text(&table, "state", job_state_name(rec->state));
    if (rec->cancel_requested) add_text(&table, "cancel_requested", "yes");
    add_text(&table, "error_code", rec->error_code);
    add_text(&table, "cancel_reason", rec->cancel_reason);
    add_text(&table, "model", rec->model);
    add_text(&table, "model_version", rec->model_version);
    add_number(&table, "priority", rec->priority, "");
    cli__table_add(&table, "attempt");
    cli__table_add(&table, "%d of %d", rec->attempt, rec->max_attempts);
    if (rec->crashes) add_number(&table, "crashes", rec->crashes, "");
    add_text(&table, "worker", rec->worker);
    if (rec->state == JOB_STATE_RUNNING) {
        cli__table_add(&table, "progress");
        cli__table_add(&table, "%.0f %% %s", rec->progress * 100, rec->progress_message ? rec->progress_message : "");
    }
    add_time(&table, "created_at", rec->created_at);
    add_time(&table, "not_before", rec->not_before);
    add_time(&table, "queued_at", rec->queued_at);
    add_time(&table, "started_at", rec->started_at);
    add_time(&table, "finished_at", rec->finished_at);
    if (rec->finished_at) add_number(&table, "duration", rec->duration_ms, " ms");
    add_number(&table, "timeout", rec->timeout_ms, " ms");
    add_number(&table, "queue_timeout", rec->queue_timeout_ms, " ms");
    add_number(&table, "seq", rec->seq, "");
    add_text(&table, "token", rec->token);
    add_text(&table, "traceparent", rec->traceparent);
    cli__table_print(&table, ctx, false);
    cli__table_done(&table);
}

static int print_doc(struct store *st, const char *what, const char *job_id, struct arena *arena, struct err *err) {
    const char *doc = NULL;
    size_t len = 0;
    if (store_job_doc(st, what, job_id, arena, &doc, &len, err) != 0) return -1;
    if (!doc) return err_set(err, ERR_NOT_FOUND, "job %s has no %s", job_id, what);
    fwrite(doc, 1, len, stdout);
    fputc('\n', stdout);
    return 0;
}

/* `what`: "result", "spec", "error", or NULL for the record. */
static int get_one(struct cli_context *ctx, struct store *st, const char *job_id, const char *what, struct arena *arena,
                   struct err *err) {
    struct job_record rec;
    if (store_job_get(st, job_id, arena, &rec, err) != 0) return -1;
    if (rec.state == JOB_STATE_NONE) return err_set(err, ERR_NOT_FOUND, "there is no job %s", job_id);
    bool with_spec = what && strcmp(what, "spec") == 0;
    if (ctx->json && (!what || with_spec)) return cli__print_record_json(st, &rec, with_spec, err);
    if (what) return print_doc(st, what, job_id, arena, err);
    print_fields(ctx, &rec);
    return 0;
}

static int get_main(struct cli_context *ctx, int argc, char **argv) {
    const char *what = NULL;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_RESULT:
            what = "result";
            break;
        case OPT_SPEC:
            what = "spec";
            break;
        case OPT_ERROR:
            what = "error";
            break;
        default:
            return ctx->exit_code;
        }
    if (optind == argc) return cli__usage(ctx, "which job? give its id");
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    struct store *st = NULL;
    struct err err;
    if (cli__open_store(ctx, &st, &err) != 0) return cli__fail(ctx, &err);
    struct arena arena;
    arena_init(&arena);
    int code = CLI_OK;
    for (int i = optind; i < argc && (code == CLI_OK || code == CLI_NOT_FOUND); i++) {
        if (i > optind && !ctx->json && !what) putchar('\n');
        arena_reset(&arena);
        if (get_one(ctx, st, argv[i], what, &arena, &err) != 0) code = cli__fail(ctx, &err);
    }
    arena_done(&arena);
    store_free(st);
    return code;
}

const struct cli_command cmd_get = {
    .name = "get",
    .summary = "Show a job's record, spec, result or error",
    .usage = "JOB_ID... [OPTIONS]",
    .about = "Prints the record of each job. With --json: one line each, with its result and error.",
    .options = options,
    .examples = "penstock get 0192f1c4-8c1e-7000-8000-000000000001\n"
                "penstock get --result my-job | jq .outputs",
    .arguments = CLI_JOBS,
    .run = get_main,
};
