/* penstock workers: who works, on what device, and on which jobs. */
#include <inttypes.h>

#include "cli_view.h"
#include "penstock/clock.h"

static void print_json(const struct store_worker *worker) {
    struct buf out = {0};
    cli__worker_json(worker, &out);
    printf("%s\n", out.data);
    buf_done(&out);
}

static void add_jobs(struct cli_table *table, const struct store_worker *worker) {
    struct buf jobs = {0};
    cli__worker_jobs(worker, &jobs);
    cli__table_add(table, "%s", jobs.data);
    buf_done(&jobs);
}

static void print_table(const struct cli_context *ctx, const struct store_worker *workers, size_t count) {
    static const char *const heads[] = {"WORKER", "HOST",  "EXECUTOR", "DEVICE", ">PID",
                                        ">UP",    ">SEEN", ">HOLDS",   "JOBS"};
    struct cli_table table;
    int64_t now = clock_wall_ms(&clock_system);
    cli__table_init(&table, heads, sizeof heads / sizeof heads[0]);
    for (size_t i = 0; i < count; i++) {
        const struct store_worker *worker = &workers[i];
        char up[16], seen[16];
        cli__format_ms(now > worker->started_at ? now - worker->started_at : 0, up);
        cli__format_ms(now > worker->seen_at ? now - worker->seen_at : 0, seen);
        cli__table_add(&table, "%s", worker->id);
        cli__table_add(&table, "%s", worker->host ? worker->host : "");
        cli__table_add(&table, "%s", worker->executor ? worker->executor : "");
        cli__table_add(&table, "%s", worker->device ? worker->device : "");
        cli__table_add(&table, "%" PRId64, worker->pid);
        cli__table_add(&table, "%s", up);
        cli__table_add(&table, "%s", seen);
        cli__table_add(&table, "%zu", worker->held);
        add_jobs(&table, worker);
    }
    cli__table_print(&table, ctx, true);
    cli__table_done(&table);
}

static int workers_main(struct cli_context *ctx, int argc, char **argv) {
    struct store *st = NULL;
    struct store_worker *workers;
    size_t count;
    struct arena arena;
    struct err err;
    while (cli__getopt(ctx, argc, argv) != CLI_OPT_END) return ctx->exit_code;
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    arena_init(&arena);
    int rc = cli__open_store(ctx, &st, &err);
    if (rc == 0) rc = store_worker_list(st, &arena, &workers, &count, &err);
    for (size_t i = 0; rc == 0 && ctx->json && i < count; i++) print_json(&workers[i]);
    if (rc == 0 && !ctx->json) print_table(ctx, workers, count);
    if (rc == 0 && count == 0 && !ctx->quiet) fprintf(stderr, "no worker is registered\n");
    store_free(st);
    arena_done(&arena);
    return rc == 0 ? CLI_OK : cli__fail(ctx, &err);
}

const struct cli_command cmd_workers = {
    .name = "workers",
    .summary = "List the workers, and what they hold",
    .usage = "[OPTIONS]",
    .about = "Lists the workers that are registered: where and since when they run, on which device, when they "
             "were last heard of, how many jobs they hold and which (the first of them; a batch stands together). "
             "A worker that has been silent for long is taken off the list. With --json: one worker a line, with "
             "up to 100 of its jobs.",
    .examples = "penstock workers\n"
                "penstock workers --json | jq -r .jobs[]",
    .run = workers_main,
};
