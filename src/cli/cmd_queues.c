/* penstock queues: what waits and runs of each model, and what holds it back. */
#include "cli_view.h"
#include "penstock/clock.h"

static void print_json(const struct store_queue *queue) {
    struct buf out = {0};
    cli__queue_json(queue, &out);
    printf("%s\n", out.data);
    buf_done(&out);
}

static void print_table(const struct cli_context *ctx, const struct store_queue *queues, size_t count) {
    struct cli_table table;
    int64_t now = clock_wall_ms(&clock_system);
    cli__queue_table_init(&table);
    for (size_t i = 0; i < count; i++) cli__queue_row(&table, &queues[i], now);
    cli__table_print(&table, ctx, true);
    cli__table_done(&table);
}

static int queues_main(struct cli_context *ctx, int argc, char **argv) {
    struct store *st = NULL;
    struct store_queue *queues;
    enum store_mode all;
    size_t count;
    struct arena arena;
    struct err err;
    while (cli__getopt(ctx, argc, argv) != CLI_OPT_END) return ctx->exit_code;
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    arena_init(&arena);
    int rc = cli__open_store(ctx, &st, &err);
    if (rc == 0) rc = store_queue_list(st, &arena, &queues, &count, &all, &err);
    for (size_t i = 0; rc == 0 && ctx->json && i < count; i++) print_json(&queues[i]);
    if (rc == 0 && !ctx->json) print_table(ctx, queues, count);
    if (rc == 0 && all != STORE_MODE_OPEN && !ctx->quiet) fprintf(stderr, "everything is %s\n", cli__mode_name(all));
    store_free(st);
    arena_done(&arena);
    return rc == 0 ? CLI_OK : cli__fail(ctx, &err);
}

const struct cli_command cmd_queues = {
    .name = "queues",
    .summary = "Show what waits and runs of each model, and what holds it back",
    .usage = "[OPTIONS]",
    .about = "Shows each model's queue: jobs that are queued in all, those of them that could start now, how long "
             "the oldest of these has waited, running ones and their limit, and whether the model is paused or "
             "drains, and why. Queued but not ready are delayed jobs and those of tenants at their limit. With "
             "--json: one queue a line.",
    .examples = "penstock queues\n"
                "penstock queues --json | jq 'select(.ready > 100)'",
    .run = queues_main,
};
