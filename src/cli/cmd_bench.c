/* penstock bench: load of a known shape, and what became of it.
 *
 * One thread sends what is due and reads the events topic, from its end as it was before the first command; so what is
 * measured is the whole way, as a producer and an event consumer of ours have it. Three latencies:
 *   queue   from the job's queued event to its first running one  \  by Redis's clock, in ms;
 *   run     from its last running event to its end                /  the rest is Kafka, and us
 *   total   from the command to its last event here, by this machine's clock.
 * With --rate a job's total counts from when it was DUE, not from when it was sent: a house that stalls makes the sender
 * wait, and latencies that begin after that wait would leave the stall out.
 *
 * Jobs are told from other people's by their ids, "bench-<uuid>-<index>", which are the events' keys: no event of others
 * is decoded. Nothing is removed afterwards; retention does that. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli_control.h"
#include "penstock/clock.h"
#include "penstock/loop.h"
#include "penstock/uuid.h"

#define COUNT_DEFAULT      1000
#define TIMEOUT_DEFAULT_MS 60000
#define POLL_MS            20
#define BURST              200 /* commands between two looks at the events */
#define HEARD_MAX          600 /* events between two looks at what is to be sent */
#define CODES_MAX          16

enum { OPT_MODEL = CLI_OPT_OWN, OPT_VERSION, OPT_COUNT, OPT_RATE, OPT_CONCURRENCY, OPT_PARAM, OPT_LABEL, OPT_TIMEOUT };

static const struct cli_option options[] = {
    {"model", OPT_MODEL, "NAME", CLI_MODELS, "model to run"},
    {"version", OPT_VERSION, "V", NULL, "its version (default: the latest)"},
    {"count", OPT_COUNT, "N", NULL, "jobs, 1 to 1000000 (default 1000)"},
    {"rate", OPT_RATE, "R", NULL, "jobs a second (default: as fast as possible)"},
    {"concurrency", OPT_CONCURRENCY, "N", NULL, "at most N jobs sent and not ended (default: no limit)"},
    {"param", OPT_PARAM, "NAME=VALUE", NULL, "a parameter, may be given again"},
    {"label", OPT_LABEL, "NAME=VALUE", NULL, "a label, may be given again"},
    {"timeout", OPT_TIMEOUT, "MS", NULL, "give up when no job has ended for so long (default 60000)"},
    {0},
};

struct timing {
    int64_t from_us, total_us;               /* this machine's clock; total 0: it has not ended */
    int64_t queued_at, first_run_at, run_at; /* Redis's; 0: not yet */
    int64_t queue_ms, run_ms;                /* -1: never ran */
};

struct bench {
    struct cli_context *ctx;
    struct arena arena;
    struct cli_overlay overlay;
    struct cli_documents docs; /* in turns */
    const char *model;         /* for the headline */
    int64_t count, rate, concurrency, timeout_ms;
    char prefix[UUID_SIZE + 8];
    struct cli_producer producer;
    struct bus_consumer *reader;
    struct cli_progress bar;
    struct timing *jobs;
    size_t sent, ended, by_state[JOB_STATE_REJECTED + 1];
    struct code {
        char name[48];
        size_t count;
    } codes[CODES_MAX]; /* why jobs failed or were refused */
    size_t code_count;
    int64_t start_us, sent_us, ended_us; /* first command, last command, last end */
};

/* --- sending -------------------------------------------------------------------------------------------------------
 */

static int build(struct bench *bench, size_t index, char id[static 64], struct buf *out, struct err *err) {
    const struct cli_document *doc = &bench->docs.list[index % bench->docs.count];
    snprintf(id, 64, "%s%zu", bench->prefix, index);
    buf_reset(out);
    if (cli__command_is_cloudevent(doc->json))
        return err_set(err, ERR_USAGE, "%s: a CloudEvent has an id of its own: give its data alone", doc->path);
    if (cli__command_build(doc->json, &bench->overlay, id, out, err) != 0)
        return err_wrap(err, "%s: document %zu", doc->path, doc->number);
    return 0;
}

/* One of each kind, before anything is sent; learns the model's name. */
static int check_all(struct bench *bench, struct err *err) {
    struct buf out = {0};
    const char *ignored;
    char id[64];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < bench->docs.count; i++) {
        const struct cli_document *doc = &bench->docs.list[i];
        rc = build(bench, i, id, &out, err);
        struct wire_slice command = {out.data, out.len}, model;
        if (rc == 0 && cli__command_check(command, &bench->arena, &ignored, err) != 0)
            rc = err_wrap(err, "%s: document %zu", doc->path, doc->number);
        if (rc != 0 || bench->model || !wire_json_member(command, "model", &model)) continue;
        struct buf name = {0};
        wire_json_text(model, &name);
        bench->model = arena_strdup(&bench->arena, name.data);
        buf_done(&name);
    }
    buf_done(&out);
    return rc;
}

/* When command `index` is to be sent. */
static int64_t due_us(const struct bench *bench, size_t index) {
    return bench->rate ? bench->start_us + (int64_t)((double)index * 1e6 / (double)bench->rate) : bench->start_us;
}

static bool may_send(const struct bench *bench) {
    bool free_slot = !bench->concurrency || bench->sent - bench->ended < (size_t)bench->concurrency;
    return bench->sent < (size_t)bench->count && free_slot;
}

static int send_due(struct bench *bench, struct buf *out, struct err *err) {
    char id[64];
    for (int i = 0; i < BURST && may_send(bench); i++) {
        int64_t now_us = clock_mono_us(&clock_system), due = due_us(bench, bench->sent);
        if (due > now_us) break;
        if (build(bench, bench->sent, id, out, err) != 0) return -1;
        bench->jobs[bench->sent].from_us = bench->rate ? due : now_us;
        if (cli__command_send(bench->ctx, &bench->producer, (struct wire_slice){out->data, out->len}, id, 0, err) != 0)
            return -1;
        bench->sent++;
        bench->sent_us = clock_mono_us(&clock_system);
    }
    return bus_producer_poll(bench->producer.prod, 0, err);
}

/* --- hearing -------------------------------------------------------------------------------------------------------
 */

static void count_code(struct bench *bench, const char *name) {
    size_t i = 0;
    while (i < bench->code_count && strcmp(bench->codes[i].name, name) != 0) i++;
    if (i == CODES_MAX) return; /* the total tells of it */
    if (i == bench->code_count)
        snprintf(bench->codes[bench->code_count++].name, sizeof bench->codes[0].name, "%s", name);
    bench->codes[i].count++;
}

static void take_end(struct bench *bench, struct timing *job, const struct job_event *ev) {
    if (job->total_us) return; /* a repeat */
    bench->ended_us = clock_mono_us(&clock_system);
    job->total_us = bench->ended_us - job->from_us;
    if (job->run_at) job->run_ms = ev->at - job->run_at;
    bench->by_state[ev->to]++;
    bench->ended++;
    if (ev->to == JOB_STATE_FAILED || ev->to == JOB_STATE_REJECTED)
        count_code(bench, ev->reason ? ev->reason : "without a reason");
}

static void take_event(struct bench *bench, struct timing *job, const struct job_event *ev) {
    if (ev->to == JOB_STATE_QUEUED && !job->queued_at) job->queued_at = ev->at;
    if (ev->to == JOB_STATE_RUNNING) {
        job->run_at = ev->at;
        if (!job->first_run_at) {
            job->first_run_at = ev->at;
            job->queue_ms = ev->at - job->queued_at;
        }
    }
    if (ev->to == JOB_STATE_REJECTED || job_state_is_terminal(ev->to)) take_end(bench, job, ev);
}

/* The job that a message is about, or NULL: somebody else's. */
static struct timing *job_of(struct bench *bench, const struct bus_msg *msg) {
    size_t prefix = strlen(bench->prefix);
    char index[24];
    if (!msg->key || msg->key_len <= prefix || memcmp(msg->key, bench->prefix, prefix) != 0) return NULL;
    snprintf(index, sizeof index, "%.*s", (int)(msg->key_len - prefix), msg->key + prefix);
    size_t at = strtoull(index, NULL, 10);
    return at < bench->sent ? &bench->jobs[at] : NULL;
}

static int hear_one(struct bench *bench, const struct bus_msg *msg, struct arena *arena, struct err *err) {
    struct timing *job = job_of(bench, msg);
    struct job_event ev;
    if (!job) return 0;
    arena_reset(arena);
    if (wire_event_decode(msg->value, msg->value_len, arena, &ev, err) != 0) return -1;
    take_event(bench, job, &ev);
    return 0;
}

/* All that is there. One at a time: a poll for many waits a little for more, which would count as latency. */
static int hear(struct bench *bench, int timeout_ms, struct err *err) {
    struct arena arena;
    bool more = true;
    int rc = 0;
    arena_init(&arena);
    for (int i = 0; rc == 0 && more && i < HEARD_MAX; i++) {
        struct bus_batch batch = {0};
        rc = bus_poll(bench->reader, 1, i == 0 ? timeout_ms : 0, &batch, err);
        more = batch.count > 0;
        if (rc == 0 && more) rc = hear_one(bench, &batch.msgs[0], &arena, err);
        bus_batch_release(&batch);
    }
    arena_done(&arena);
    return rc;
}

/* How long there is nothing to send. */
static int pause_ms(const struct bench *bench) {
    if (!may_send(bench)) return POLL_MS;
    int64_t left_ms = (due_us(bench, bench->sent) - clock_mono_us(&clock_system)) / 1000;
    return left_ms < 0 ? 0 : left_ms < POLL_MS ? (int)left_ms : POLL_MS;
}

/* Until all have ended, a stop is requested, or nothing has ended for too long. */
static int run(struct bench *bench, struct err *err) {
    struct buf out = {0};
    int rc = 0;
    size_t ended = 0;
    bench->start_us = bench->ended_us = clock_mono_us(&clock_system);
    int64_t heard_us = bench->start_us;
    cli__progress_init(&bench->bar, bench->ctx, "ended", (size_t)bench->count);
    while (rc == 0 && bench->ended < (size_t)bench->count && !loop_stop_requested()) {
        rc = send_due(bench, &out, err);
        if (rc == 0) rc = hear(bench, pause_ms(bench), err);
        int64_t now_us = clock_mono_us(&clock_system);
        if (bench->ended != ended || (may_send(bench) && bench->sent == bench->ended)) heard_us = now_us;
        ended = bench->ended;
        if (now_us - heard_us > bench->timeout_ms * 1000) break;
        if (rc == 0 && bench->producer.failed) rc = cli__flush(&bench->producer, 0, err); /* says why */
        cli__progress_show(&bench->bar, ended, 0, bench->by_state[JOB_STATE_FAILED]);
    }
    cli__progress_clear(&bench->bar);
    buf_done(&out);
    return rc;
}

/* --- what is printed -----------------------------------------------------------------------------------------------
 */

static const struct {
    const char *name, *head;
    double part; /* of the values that are not above it */
} quantiles[] = {{"p50", ">P50", 0.5},  {"p90", ">P90", 0.9},       {"p95", ">P95", 0.95},
                 {"p99", ">P99", 0.99}, {"p99_9", ">P99.9", 0.999}, {"max", ">MAX", 1}};
#define QUANTILES (sizeof quantiles / sizeof quantiles[0])

static const char *const latencies[] = {"queue", "run", "total"};
#define LATENCIES (sizeof latencies / sizeof latencies[0])

struct summary {
    size_t count;
    double mean_ms, ms[QUANTILES];
};

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Of jobs that completed or failed after having run; of "total" of all that ended. */
static double latency_ms(const struct timing *job, size_t which) {
    if (!job->total_us) return -1;
    return which == 0 ? (double)job->queue_ms : which == 1 ? (double)job->run_ms : (double)job->total_us / 1000;
}

/* The nearest rank: each quantile is a value that was measured. */
static struct summary summarize(const struct bench *bench, size_t which) {
    struct summary sum = {0};
    double *values = mem_calloc(bench->sent + 1, sizeof *values), total = 0;
    for (size_t i = 0; i < bench->sent; i++) {
        double ms = latency_ms(&bench->jobs[i], which);
        if (ms < 0) continue;
        values[sum.count++] = ms;
        total += ms;
    }
    qsort(values, sum.count, sizeof *values, by_value);
    sum.mean_ms = sum.count ? total / (double)sum.count : 0;
    for (size_t q = 0; sum.count && q < QUANTILES; q++) {
        double rank = quantiles[q].part * (double)sum.count;
        size_t at = (size_t)rank + ((double)(size_t)rank < rank);
        sum.ms[q] = values[at ? at - 1 : 0];
    }
    free(values);
    return sum;
}

static double seconds(int64_t from_us, int64_t to_us) {
    return to_us > from_us ? (double)(to_us - from_us) / 1e6 : 1e-6;
}

static double completed_per_s(const struct bench *bench) {
    return (double)bench->by_state[JOB_STATE_COMPLETED] / seconds(bench->start_us, bench->ended_us);
}

static void print_json(const struct bench *bench) {
    struct buf out = {0};
    buf_puts(&out, "{\"model\":");
    wire_json_string(bench->model, strlen(bench->model), &out);
    buf_printf(&out, ",\"job_ids\":\"%s*\",\"jobs\":%" PRId64 ",\"sent\":%zu", bench->prefix, bench->count,
               bench->sent);
    for (enum job_state state = JOB_STATE_COMPLETED; state <= JOB_STATE_REJECTED; state++)
        buf_printf(&out, ",\"%s\":%zu", job_state_name(state), bench->by_state[state]);
    buf_printf(&out, ",\"not_ended\":%zu,\"seconds\":%.3f,\"sent_per_second\":%.1f,\"completed_per_second\":%.1f",
               bench->sent - bench->ended, seconds(bench->start_us, bench->ended_us),
               (double)bench->sent / seconds(bench->start_us, bench->sent_us), completed_per_s(bench));
    for (size_t i = 0; i < LATENCIES; i++) {
        struct summary sum = summarize(bench, i);
        buf_printf(&out, "%s\"%s\":{\"count\":%zu,\"mean\":%.3f", i ? "," : ",\"latency_ms\":{", latencies[i],
                   sum.count, sum.mean_ms);
        for (size_t q = 0; q < QUANTILES; q++) buf_printf(&out, ",\"%s\":%.3f", quantiles[q].name, sum.ms[q]);
        buf_puts(&out, "}");
    }
    buf_puts(&out, "},\"failures\":{");
    for (size_t i = 0; i < bench->code_count; i++)
        buf_printf(&out, "%s\"%s\":%zu", i ? "," : "", bench->codes[i].name, bench->codes[i].count);
    printf("%s}}\n", out.data);
    buf_done(&out);
}

static void add_ms(struct cli_table *table, double ms) {
    cli__table_add(table, ms < 10000 ? "%.1f ms" : "%.1f s", ms < 10000 ? ms : ms / 1000);
}

static void print_latencies(const struct bench *bench) {
    const char *heads[QUANTILES + 2] = {"LATENCY", ">MEAN"};
    struct cli_table table;
    for (size_t q = 0; q < QUANTILES; q++) heads[q + 2] = quantiles[q].head;
    cli__table_init(&table, heads, QUANTILES + 2);
    for (size_t i = 0; i < LATENCIES; i++) {
        struct summary sum = summarize(bench, i);
        if (sum.count == 0) continue;
        cli__table_add(&table, "%s", latencies[i]);
        add_ms(&table, sum.mean_ms);
        for (size_t q = 0; q < QUANTILES; q++) add_ms(&table, sum.ms[q]);
    }
    cli__table_print(&table, bench->ctx, true);
    cli__table_done(&table);
}

static void print_text(const struct bench *bench) {
    printf("%zu jobs of %s, %s*\n", bench->sent, bench->model, bench->prefix);
    printf("%.1f jobs/s completed in %.2f s, sent at %.1f jobs/s\n", completed_per_s(bench),
           seconds(bench->start_us, bench->ended_us), (double)bench->sent / seconds(bench->start_us, bench->sent_us));
    for (enum job_state state = JOB_STATE_COMPLETED; state <= JOB_STATE_REJECTED; state++)
        printf("%s%zu %s", state == JOB_STATE_COMPLETED ? "" : ", ", bench->by_state[state], job_state_name(state));
    printf(", %zu not ended\n", bench->sent - bench->ended);
    for (size_t i = 0; i < bench->code_count; i++)
        printf("%s%zu %s", i ? ", " : "why: ", bench->codes[i].count, bench->codes[i].name);
    printf("%s\n", bench->code_count ? "\n" : "");
    print_latencies(bench);
}

static int judge(struct bench *bench, struct err *err) {
    if (bench->ctx->json)
        print_json(bench);
    else
        print_text(bench);
    if (bench->by_state[JOB_STATE_COMPLETED] == (size_t)bench->count) return CLI_OK;
    if (bench->ended == bench->sent || loop_stop_requested()) return CLI_FAILED;
    err_set(err, ERR_TIMED_OUT_WAITING, "%zu jobs have not ended, and none did for %" PRId64 " ms",
            bench->sent - bench->ended, bench->timeout_ms);
    return cli__fail(bench->ctx, err);
}

/* --- the command ---------------------------------------------------------------------------------------------------
 */

static int open_all(struct bench *bench, struct err *err) {
    struct cli_context *ctx = bench->ctx;
    struct bus_kafka_config kafka;
    char uuid[UUID_SIZE];
    if (uuid_v7(uuid, err) != 0) return -1;
    snprintf(bench->prefix, sizeof bench->prefix, "bench-%s-", uuid);
    if (check_all(bench, err) != 0) return -1;
    bench->jobs = mem_calloc((size_t)bench->count, sizeof *bench->jobs);
    for (int64_t i = 0; i < bench->count; i++) bench->jobs[i].queue_ms = bench->jobs[i].run_ms = -1;
    if (cli__open_producer(ctx, NULL, NULL, &bench->producer, err) != 0) return -1;
    cli__kafka_config(ctx, &kafka);
    return bus_kafka_reader(&kafka, config_string(ctx->cfg, "bus.events_topic"), BUS_OFFSET_END, &bench->reader, NULL,
                            NULL, err);
}

static int take_option(struct bench *bench, int opt, struct err *err) {
    struct cli_context *ctx = bench->ctx;
    switch (opt) {
    case OPT_MODEL:
        bench->model = optarg;
        cli__overlay_set(&bench->overlay, "model", optarg, true);
        return 0;
    case OPT_VERSION:
        cli__overlay_set(&bench->overlay, "model_version", optarg, true);
        return 0;
    case OPT_COUNT:
        return cli__parse_int(ctx, "--count", optarg, 1, 1000000, &bench->count);
    case OPT_RATE:
        return cli__parse_int(ctx, "--rate", optarg, 1, 1000000, &bench->rate);
    case OPT_CONCURRENCY:
        return cli__parse_int(ctx, "--concurrency", optarg, 1, 1000000, &bench->concurrency);
    case OPT_TIMEOUT:
        return cli__parse_int(ctx, "--timeout", optarg, 1, INT64_C(1) << 40, &bench->timeout_ms);
    case OPT_PARAM:
    case OPT_LABEL:
        if (cli__pairs_add(opt == OPT_PARAM ? &bench->overlay.params : &bench->overlay.labels, &bench->arena, optarg,
                           opt == OPT_PARAM, err) == 0)
            return 0;
        ctx->exit_code = cli__fail(ctx, err);
        return -1;
    default:
        return -1; /* CLI_OPT_EXIT: exit_code is set */
    }
}

static int parse_and_run(struct bench *bench, int argc, char **argv) {
    struct cli_context *ctx = bench->ctx;
    struct err err;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END)
        if (take_option(bench, opt, &err) != 0) return ctx->exit_code;
    if (optind == argc && !bench->model) return cli__usage(ctx, "of what? give --model, or files with jobs");
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    for (int i = optind; i < argc; i++)
        if (cli__documents_read(&bench->docs, argv[i], &bench->arena, &err) != 0) return cli__fail(ctx, &err);
    if (optind == argc) cli__documents_add(&bench->docs, "the options", 1, (struct wire_slice){"{}", 2});
    cli__handle_signals(false);
    if (open_all(bench, &err) != 0 || run(bench, &err) != 0) return cli__fail(ctx, &err);
    return judge(bench, &err);
}

static int bench_main(struct cli_context *ctx, int argc, char **argv) {
    struct bench bench = {.ctx = ctx, .count = COUNT_DEFAULT, .timeout_ms = TIMEOUT_DEFAULT_MS};
    arena_init(&bench.arena);
    bench.overlay.arena = &bench.arena;
    int code = parse_and_run(&bench, argc, argv);
    bus_consumer_free(bench.reader);
    cli__close_producer(&bench.producer);
    cli__documents_done(&bench.docs);
    free(bench.jobs);
    arena_done(&bench.arena);
    return code;
}

const struct cli_command cmd_bench = {
    .name = "bench",
    .summary = "Send a load of jobs and measure throughput and latency",
    .usage = "[FILE...] [OPTIONS]",
    .about = "Sends jobs to Kafka, listens to their events, and prints how many completed in a second, percentiles of "
             "latency, and why jobs failed. The jobs are those of the FILEs (as `submit` takes them; in turns) or, "
             "without FILE, of --model alone. Without --rate they are sent as fast as possible: what is measured "
             "then is throughput, and a latency of --concurrency jobs at a time.\n"
             "\n"
             "queue is from queued to running, run from running to the end, both by Redis's clock; total is from the "
             "command to its last event, as seen here. With --rate, total counts from when a job was due: a sender "
             "that is held up hides nothing.\n"
             "\n"
             "The jobs are real ones and stay as records as long as others. Ctrl-C prints what there is until then; "
             "jobs that were sent go on.",
    .options = options,
    .examples = "penstock bench --model digits models/digits/samples/*.json\n"
                "penstock bench --model echo --count 50000\n"
                "penstock bench --model echo --rate 200 --count 6000\n"
                "penstock bench models/digits/samples/01.json --concurrency 1 --json | jq .latency_ms.total.p99",
    .arguments = CLI_FILES,
    .run = bench_main,
};
