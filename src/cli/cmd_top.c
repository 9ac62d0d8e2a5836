/* penstock top: the house at a glance, drawn again and again.
 *
 * All of it is read from Redis, a handful of calls a look, whatever the throughput: what waits, what runs, and how many
 * jobs came into a terminal state within the last RECENT_MS, which is throughput. A difference of two counts would not
 * be: where records are kept for a week, a house in its second week forgets as many as it completes. Ages are measured
 * by Redis's clock, which wrote them.
 *
 * One description of a look (struct look) is turned into text or JSON; on a terminal the text is laid out for its size.
 * A look that fails does not end a view that has begun: it says so and shows what was so before. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_control.h"
#include "cli_view.h"
#include "penstock/clock.h"
#include "penstock/loop.h"

#define RECENT_MS           INT64_C(10000)
#define INTERVAL_DEFAULT_MS 1000
#define WORKERS_SHOWN       200 /* the job of each is asked for */
#define LINES_ABOVE         5   /* the summary, and an empty line */
#define LINES_AROUND        5   /* heads, an empty line, and what says that there are more */

enum { OPT_INTERVAL = CLI_OPT_OWN, OPT_ONCE };

static const struct cli_option options[] = {
    {"interval", OPT_INTERVAL, "MS", NULL, "between two looks, 100 to 3600000 (default 1000)"},
    {"once", OPT_ONCE, NULL, NULL, "one look, as plain text"},
    {0},
};

/* What one look saw; everything in its arena. */
struct look {
    struct arena arena;
    struct store_stats stats;
    struct store_recent recent;
    struct store_queue *queues; /* the busiest first */
    struct store_worker *workers;
    struct job_record *batches; /* of worker i its first job; no state: it holds none */
    size_t queue_count, worker_count;
    enum store_mode mode;
};

struct top {
    struct cli_context *ctx;
    struct store *st;
    int64_t interval_ms;
    struct look looks[2]; /* the one that is shown, and the one that is being made */
    int shown;
};

/* --- looking -------------------------------------------------------------------------------------------------------
 */

static int busiest_first(const void *a, const void *b) {
    const struct store_queue *left = a, *right = b;
    int64_t of_left = left->queued + left->running, of_right = right->queued + right->running;
    return of_left != of_right ? (of_left < of_right ? 1 : -1) : strcmp(left->model, right->model);
}

static int look_at_batches(struct store *st, struct look *look, struct err *err) {
    look->batches = arena_alloc(&look->arena, (look->worker_count + 1) * sizeof *look->batches);
    for (size_t i = 0; i < look->worker_count && i < WORKERS_SHOWN; i++)
        if (look->workers[i].job_count > 0 &&
            store_job_get(st, look->workers[i].job_ids[0], &look->arena, &look->batches[i], err) != 0)
            return -1;
    return 0;
}

static int look_at(struct store *st, struct look *look, struct err *err) {
    arena_reset(&look->arena);
    if (store_stats_get(st, &look->stats, err) != 0 || store_recent_get(st, RECENT_MS, &look->recent, err) != 0 ||
        store_queue_list(st, &look->arena, &look->queues, &look->queue_count, &look->mode, err) != 0 ||
        store_worker_list(st, &look->arena, &look->workers, &look->worker_count, err) != 0 ||
        look_at_batches(st, look, err) != 0)
        return -1;
    if (look->queue_count) qsort(look->queues, look->queue_count, sizeof *look->queues, busiest_first);
    return 0;
}

/* Makes a new look the one that is shown; if it fails the old one stays. */
static int look_again(struct top *top, struct err *err) {
    if (look_at(top->st, &top->looks[!top->shown], err) != 0) return -1;
    top->shown = !top->shown;
    return 0;
}

/* --- JSON ----------------------------------------------------------------------------------------------------------
 */

static double per_second(const struct look *look, enum job_state state) {
    return (double)look->recent.by_state[state] * 1000 / (double)RECENT_MS;
}

static void print_json(const struct look *look) {
    struct buf out = {0};
    buf_printf(&out, "{\"at\":%" PRId64 ",\"mode\":\"%s\"", look->recent.now_ms, cli__mode_name(look->mode));
    for (enum job_state state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT; state++)
        buf_printf(&out, "%s\"%s\":%" PRId64, state == JOB_STATE_QUEUED ? ",\"states\":{" : ",", job_state_name(state),
                   look->stats.by_state[state]);
    for (enum job_state state = JOB_STATE_COMPLETED; state < JOB_STATE_COUNT; state++)
        buf_printf(&out, "%s\"%s\":%.1f", state == JOB_STATE_COMPLETED ? "},\"per_second\":{" : ",",
                   job_state_name(state), per_second(look, state));
    buf_printf(&out, "},\"outbox_entries\":%" PRId64 ",\"queues\":[", look->stats.outbox_entries);
    for (size_t i = 0; i < look->queue_count; i++) {
        if (i) buf_puts(&out, ",");
        cli__queue_json(&look->queues[i], &out);
    }
    buf_puts(&out, "],\"workers\":[");
    for (size_t i = 0; i < look->worker_count; i++) {
        if (i) buf_puts(&out, ",");
        cli__worker_json(&look->workers[i], &out);
    }
    printf("%s]}\n", out.data);
    buf_done(&out);
}

/* --- text ----------------------------------------------------------------------------------------------------------
 */

static void put_state(const struct top *top, const struct look *look, enum job_state state, const char *between,
                      struct buf *out) {
    const char *name = job_state_name(state),
               *color = look->stats.by_state[state] ? cli__state_color(top->ctx, name) : "";
    buf_printf(out, "%s%s%" PRId64 " %s%s", between, color, look->stats.by_state[state], name,
               *color ? cli__color_end(top->ctx) : "");
}

/* Four lines. `why`: the look that should have followed failed. */
static void write_summary(const struct top *top, const struct look *look, const char *why, struct buf *out) {
    char at[25];
    clock_format_rfc3339(look->recent.now_ms, at);
    buf_printf(out, "penstock %s  %.19sZ", PENSTOCK_VERSION, at);
    if (look->mode != STORE_MODE_OPEN) buf_printf(out, "  everything is %s", cli__mode_name(look->mode));
    if (why)
        buf_printf(out, "  %s(not current: %s)%s", cli__state_color(top->ctx, "failed"), why, cli__color_end(top->ctx));
    buf_puts(out, "\njobs     ");
    for (enum job_state state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT; state++)
        put_state(top, look, state, state == JOB_STATE_QUEUED ? "" : ", ", out);
    buf_printf(out, "\nper s    %.1f completed, %.1f failed, %.1f cancelled (last %d s)\n",
               per_second(look, JOB_STATE_COMPLETED), per_second(look, JOB_STATE_FAILED),
               per_second(look, JOB_STATE_CANCELLED), (int)(RECENT_MS / 1000));
    buf_printf(out, "outbox   %" PRId64 " entries to be published\n", look->stats.outbox_entries);
}

static void write_more(size_t all, size_t shown, const char *what, struct buf *out) {
    if (all > shown) buf_printf(out, "... and %zu more %s\n", all - shown, what);
}

static void write_queues(const struct top *top, const struct look *look, size_t rows, size_t columns, struct buf *out) {
    struct cli_table table;
    cli__queue_table_init(&table);
    for (size_t i = 0; i < rows; i++) cli__queue_row(&table, &look->queues[i], look->recent.now_ms);
    cli__table_write(&table, top->ctx, true, columns, out);
    cli__table_done(&table);
    write_more(look->queue_count, rows, "models", out);
}

/* "digits, for 3.2 s, 40 %" */
static void batch_text(const struct look *look, size_t i, struct buf *out) {
    const struct job_record *job = &look->batches[i];
    char age[16];
    buf_puts(out, job->state == JOB_STATE_NONE && look->workers[i].job_count == 0 ? "idle" : "");
    if (job->state != JOB_STATE_RUNNING) return;
    cli__format_ms(look->recent.now_ms > job->started_at ? look->recent.now_ms - job->started_at : 0, age);
    buf_printf(out, "%s, for %s", job->model ? job->model : "", age);
    if (job->progress > 0) buf_printf(out, ", %.0f %%", job->progress * 100);
}

static void write_workers(const struct top *top, const struct look *look, size_t rows, size_t columns,
                          struct buf *out) {
    static const char *const heads[] = {"WORKER", "DEVICE", ">UP", ">SEEN", ">HOLDS", "RUNS", "JOBS"};
    struct cli_table table;
    struct buf text = {0};
    int64_t now = look->recent.now_ms;
    cli__table_init(&table, heads, sizeof heads / sizeof heads[0]);
    for (size_t i = 0; i < rows; i++) {
        const struct store_worker *worker = &look->workers[i];
        char up[16], seen[16];
        cli__format_ms(now > worker->started_at ? now - worker->started_at : 0, up);
        cli__format_ms(now > worker->seen_at ? now - worker->seen_at : 0, seen);
        cli__table_add(&table, "%s", worker->id);
        cli__table_add(&table, "%s", worker->device ? worker->device : "");
        cli__table_add(&table, "%s", up);
        cli__table_add(&table, "%s", seen);
        cli__table_add(&table, "%zu", worker->held);
        buf_reset(&text);
        batch_text(look, i, &text);
        cli__table_add(&table, "%s", text.data);
        buf_reset(&text);
        cli__worker_jobs(worker, &text);
        cli__table_add(&table, "%s", text.data);
    }
    cli__table_write(&table, top->ctx, true, columns, out);
    cli__table_done(&table);
    buf_done(&text);
    write_more(look->worker_count, rows, "workers", out);
    if (look->worker_count == 0) buf_puts(out, "no worker is registered\n");
}

/* columns and rows 0: as much as there is. Of a screen's rows workers get half, or what the queues do not need. */
static void write_look(const struct top *top, const struct look *look, const char *why, size_t columns, size_t rows,
                       struct buf *out) {
    size_t queues = look->queue_count, workers = look->worker_count;
    if (rows) {
        size_t space = rows > LINES_ABOVE + LINES_AROUND + 2 ? rows - LINES_ABOVE - LINES_AROUND : 2;
        size_t for_queues = workers < space / 2 ? space - workers : space - space / 2;
        if (queues > for_queues) queues = for_queues;
        if (workers > space - queues) workers = space - queues;
    }
    write_summary(top, look, why, out);
    buf_puts(out, "\n");
    write_queues(top, look, queues, columns, out);
    buf_puts(out, "\n");
    write_workers(top, look, workers, columns, out);
}

/* --- on a terminal, and elsewhere ----------------------------------------------------------------------------------
 */

static void show(const struct top *top, const char *why) {
    struct buf out = {0};
    size_t columns, rows;
    cli__screen_size(&columns, &rows);
    write_look(top, &top->looks[top->shown], why, columns, rows, &out);
    cli__screen_show(out.data);
    buf_done(&out);
}

/* Until q, Ctrl-C or the terminal's end. The first look is there already. */
static int run_screen(struct top *top, struct err *err) {
    struct err trouble;
    const char *why = NULL;
    int what = CLI_SCREEN_CHANGED;
    if (cli__screen_open(err) != 0) return -1;
    int64_t due = clock_mono_ms(&clock_system) + top->interval_ms;
    while (what != CLI_SCREEN_END && what != 'q' && what != 'Q') {
        if (what == CLI_SCREEN_TIME || what == ' ') {
            why = look_again(top, &trouble) == 0 ? NULL : trouble.msg;
            due = clock_mono_ms(&clock_system) + top->interval_ms;
        }
        show(top, why);
        int64_t left = due - clock_mono_ms(&clock_system);
        what = cli__screen_wait(left > 0 ? left : 0);
    }
    cli__screen_close();
    return 0;
}

/* One look after the other, as text or JSON; an error ends it. */
static int run_plain(struct top *top, bool once, struct err *err) {
    for (bool first = true; first || !once; first = false) {
        if (!first) loop_sleep(top->interval_ms);
        if (loop_stop_requested()) return 0;
        if (!first && look_again(top, err) != 0) return -1;
        struct buf out = {0};
        if (top->ctx->json) {
            print_json(&top->looks[top->shown]);
        } else {
            write_look(top, &top->looks[top->shown], NULL, 0, 0, &out);
            printf("%s%s", first ? "" : "\n", out.data);
        }
        buf_done(&out);
        if (fflush(stdout) != 0) return err_set_errno(err, ERR_SYSTEM, "standard output");
    }
    return 0;
}

static int run(struct top *top, bool once, struct err *err) {
    bool draws = !once && !top->ctx->json && cli__is_terminal(STDOUT_FILENO);
    if (cli__open_store(top->ctx, &top->st, err) != 0 || look_again(top, err) != 0) return -1;
    if (draws) return run_screen(top, err);
    cli__handle_signals(false);
    signal(SIGPIPE, SIG_DFL); /* `penstock top | head` ends quietly */
    return run_plain(top, once, err);
}

static int top_main(struct cli_context *ctx, int argc, char **argv) {
    struct top top = {.ctx = ctx, .interval_ms = INTERVAL_DEFAULT_MS};
    struct err err;
    bool once = false;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_INTERVAL:
            if (cli__parse_int(ctx, "--interval", optarg, 100, 3600000, &top.interval_ms) != 0) return ctx->exit_code;
            break;
        case OPT_ONCE:
            once = true;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    for (int i = 0; i < 2; i++) arena_init(&top.looks[i].arena);
    int rc = run(&top, once, &err);
    store_free(top.st);
    for (int i = 0; i < 2; i++) arena_done(&top.looks[i].arena);
    return rc == 0 ? CLI_OK : cli__fail(ctx, &err);
}

const struct cli_command cmd_top = {
    .name = "top",
    .summary = "Watch queues, workers and throughput",
    .usage = "[OPTIONS]",
    .about = "Shows, again each second, how many jobs are in each state, how many ended within the last ten seconds, "
             "what waits and runs of each model (the busiest first), and each worker with its device and what it works "
             "on. On a terminal it takes the whole of it: q or Ctrl-C ends, the space bar looks at once. In a pipe it "
             "prints one look after the other. With --json: one look a line.",
    .options = options,
    .examples = "penstock top\n"
                "penstock top --once\n"
                "penstock top --json --interval 5000 | jq .per_second.completed",
    .run = top_main,
};
