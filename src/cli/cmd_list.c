/* penstock list: jobs, newest first, a page at a time. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/clock.h"

enum { OPT_STATE = CLI_OPT_OWN, OPT_MODEL, OPT_LABEL, OPT_SINCE, OPT_UNTIL, OPT_LIMIT, OPT_ALL, OPT_CURSOR };

static const struct cli_option options[] = {
    {"state", OPT_STATE, "STATE", CLI_STATES, "queued, running, completed, failed or cancelled"},
    {"model", OPT_MODEL, "NAME", CLI_MODELS, "of this model only"},
    {"label", OPT_LABEL, "NAME=VALUE", NULL, "with this label, may be given again: all must match"},
    {"since", OPT_SINCE, "TIME", NULL, "whose last transition was then or later: RFC 3339, or 90s, 10m, 3h, 7d ago"},
    {"until", OPT_UNTIL, "TIME", NULL, "and before then"},
    {"limit", OPT_LIMIT, "N", NULL, "at most N jobs (default 50)"},
    {"all", OPT_ALL, NULL, NULL, "every job"},
    {"cursor", OPT_CURSOR, "CURSOR", NULL, "go on where an earlier list ended"},
    {0},
};

enum { PAGE = 200, LIMIT_DEFAULT = 50, LABELS_MAX = 16 };

struct filter {
    struct store_list query;
    struct job_label labels[LABELS_MAX];
};

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

static int parse_time(struct cli_context *ctx, const char *name, const char *text, int64_t *ret) {
    if (clock_parse_when(text, clock_wall_ms(&clock_system), ret) == 0) return 0;
    ctx->exit_code = cli__usage(ctx, "%s '%s' is neither RFC 3339 nor of the form 90s, 10m, 3h or 7d", name, text);
    return -1;
}

/* `pair` is argv's and stays. */
static int parse_label(struct cli_context *ctx, char *pair, struct filter *filter) {
    char *equals = strchr(pair, '=');
    if (!equals || equals == pair || filter->query.label_count == LABELS_MAX) {
        ctx->exit_code = cli__usage(ctx, "--label '%s' is not NAME=VALUE, or one of more than %d", pair, LABELS_MAX);
        return -1;
    }
    *equals = '\0';
    filter->labels[filter->query.label_count++] = (struct job_label){pair, equals + 1};
    return 0;
}

static int list_main(struct cli_context *ctx, int argc, char **argv) {
    struct filter filter = {.query.labels = filter.labels};
    int64_t limit = LIMIT_DEFAULT;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_STATE:
            if (parse_state(ctx, optarg, &filter.query.state) != 0) return ctx->exit_code;
            break;
        case OPT_MODEL:
            filter.query.model = optarg;
            break;
        case OPT_LABEL:
            if (parse_label(ctx, optarg, &filter) != 0) return ctx->exit_code;
            break;
        case OPT_SINCE:
            if (parse_time(ctx, "--since", optarg, &filter.query.since) != 0) return ctx->exit_code;
            break;
        case OPT_UNTIL:
            if (parse_time(ctx, "--until", optarg, &filter.query.until) != 0) return ctx->exit_code;
            break;
        case OPT_LIMIT:
            if (cli__parse_int(ctx, "--limit", optarg, 1, 1000000, &limit) != 0) return ctx->exit_code;
            break;
        case OPT_ALL:
            limit = 0;
            break;
        case OPT_CURSOR:
            filter.query.cursor = optarg;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    struct store *st = NULL;
    struct err err;
    int rc = cli__open_store(ctx, &st, &err);
    if (rc == 0) rc = list(ctx, st, &filter.query, (size_t)limit, &err);
    store_free(st);
    if (rc != 0 && err.code == ERR_INVALID_MEMBER) return cli__usage(ctx, "--%s", err.msg); /* the cursor */
    return rc == 0 ? CLI_OK : cli__fail(ctx, &err);
}

const struct cli_command cmd_list = {
    .name = "list",
    .summary = "List jobs, newest first",
    .usage = "[OPTIONS]",
    .about = "Lists jobs, newest transition first. With --json: one record a line.",
    .options = options,
    .examples = "penstock list --state failed --since 1h\n"
                "penstock list --label tenant=acme --model digits\n"
                "penstock list --all --json > jobs.jsonl",
    .run = list_main,
};
