/* penstock list: jobs, newest first, a page at a time. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/clock.h"

const char cmd_list_help[] = "Usage: penstock list [OPTIONS]\n"
                             "\n"
                             "Lists jobs, newest transition first. With --json: one record a line.\n"
                             "\n"
                             "  --state STATE    queued, running, completed, failed or cancelled\n"
                             "  --model NAME     of this model only\n"
                             "  --limit N        at most N jobs (default 50)\n"
                             "  --all            every job\n"
                             "  --cursor CURSOR  go on where an earlier list ended\n"
                             "\n"
                             "Examples:\n"
                             "  penstock list --state failed\n"
                             "  penstock list --all --json > jobs.jsonl\n";

enum { OPT_STATE = CLI_OPT_OWN, OPT_MODEL, OPT_LIMIT, OPT_ALL, OPT_CURSOR };
enum { PAGE = 200, LIMIT_DEFAULT = 50 };

static void add_row(struct cli_table *table, const struct job_record *rec, int64_t now) {
    char age[16], run[16] = "";
    cli__format_ms(now > rec->updated_at ? now - rec->updated_at : 0, age);
    if (rec->finished_at && rec->started_at) cli__format_ms(rec->duration_ms, run);
    cli__table_add(table, "%s", rec->job_id);
    cli__table_add(table, "%s", job_state_name(rec->state));
    cli__table_add(table, "%s", rec->model ? rec->model : "");
    cli__table_add(table, "%s", rec->model_version ? rec->model_version : "");
    cli__table_add(table, "%d", rec->priority);
    cli__table_add(table, "%d/%d", rec->attempt, rec->max_attempts);
    cli__table_add(table, "%s", run);
    cli__table_add(table, "%s", age);
    cli__table_add(table, "%s", rec->error_code ? rec->error_code : rec->cancel_requested ? "cancel requested" : "");
}

static void print_page(const struct cli_context *ctx, const struct job_record *jobs, size_t count, bool first) {
    static const char *const heads[] = {"JOB",      "STATE", "MODEL", "VERSION", ">PRIO",
                                        ">ATTEMPT", ">RUN",  ">AGE",  "ERROR"};
    struct cli_table table;
    cli__table_init(&table, heads, sizeof heads / sizeof heads[0]);
    int64_t now = clock_wall_ms(&clock_system);
    for (size_t i = 0; i < count; i++) add_row(&table, &jobs[i], now);
    cli__table_print(&table, ctx, first);
    cli__table_done(&table);
}

static void print_lines(const struct job_record *jobs, size_t count) {
    struct buf out = {0};
    for (size_t i = 0; i < count; i++) {
        buf_reset(&out);
        wire_record_encode(&jobs[i], NULL, NULL, NULL, &out);
        printf("%s\n", out.data);
    }
    buf_done(&out);
}

/* limit 0: all. A page may be empty and still not be the last. */
static int list(struct cli_context *ctx, struct store *st, struct store_list *query, size_t limit, struct err *err) {
    struct arena arenas[2]; /* the cursor of one page is used for the next */
    arena_init(&arenas[0]);
    arena_init(&arenas[1]);
    size_t shown = 0, page = 0;
    int rc = 0;
    do {
        struct arena *arena = &arenas[page++ % 2];
        struct job_record *jobs;
        size_t count;
        arena_reset(arena);
        query->limit = limit && limit - shown < PAGE ? limit - shown : PAGE;
        rc = store_job_list(st, query, arena, &jobs, &count, &query->cursor, err);
        if (rc != 0) break;
        if (ctx->json)
            print_lines(jobs, count);
        else if (count || (!query->cursor && shown == 0))
            print_page(ctx, jobs, count, shown == 0);
        shown += count;
    } while (query->cursor && (!limit || shown < limit));
    if (rc == 0 && query->cursor && !ctx->quiet) fprintf(stderr, "there are more: --cursor %s\n", query->cursor);
    arena_done(&arenas[0]);
    arena_done(&arenas[1]);
    return rc;
}

static int parse_state(struct cli_context *ctx, const char *name, enum job_state *ret) {
    int state = job_state_from_name(name, strlen(name));
    if (state <= JOB_STATE_NONE || state >= JOB_STATE_COUNT) {
        ctx->exit_code = cli__usage(ctx, "--state '%s' is none of queued, running, completed, failed, cancelled", name);
        return -1;
    }
    *ret = (enum job_state)state;
    return 0;
}

int cmd_list(struct cli_context *ctx, int argc, char **argv) {
    static const struct option own[] = {
        {"state", required_argument, NULL, OPT_STATE},   {"model", required_argument, NULL, OPT_MODEL},
        {"limit", required_argument, NULL, OPT_LIMIT},   {"all", no_argument, NULL, OPT_ALL},
        {"cursor", required_argument, NULL, OPT_CURSOR}, {0}};
    struct store_list query = {0};
    int64_t limit = LIMIT_DEFAULT;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv, "", own)) != CLI_OPT_END) switch (opt) {
        case OPT_STATE:
            if (parse_state(ctx, optarg, &query.state) != 0) return ctx->exit_code;
            break;
        case OPT_MODEL:
            query.model = optarg;
            break;
        case OPT_LIMIT:
            if (cli__parse_int(ctx, "--limit", optarg, 1, 1000000, &limit) != 0) return ctx->exit_code;
            break;
        case OPT_ALL:
            limit = 0;
            break;
        case OPT_CURSOR:
            query.cursor = optarg;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    struct store *st = NULL;
    struct err err;
    int rc = cli__open_store(ctx, &st, &err);
    if (rc == 0) rc = list(ctx, st, &query, (size_t)limit, &err);
    store_free(st);
    return rc == 0 ? CLI_OK : cli__fail(ctx, &err);
}
