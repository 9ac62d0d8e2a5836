/* penstock verify: proves, for every job, that the record in Redis is what the event log says, and for every command,
 * that something became of it.
 *
 * Reads the command topics up to their present ends, noting which commands the store has taken, and then the whole
 * events topic, so that whatever was taken has its event in the outbox or in the log by then. What is missing may only
 * be late (its events are still in the outbox): it is looked at again after reading on, and becomes a violation when
 * the waiting time is over. A terminal record may be gone by retention. What the judgement is stands in verify.c and
 * verify_commands.c. */
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>

#include "cli_control.h"
#include "cli_verify.h"
#include "penstock/clock.h"
#include "penstock/loop.h"

#define POLL_MAX 1000
#define POLL_MS  100

enum { OPT_WAIT = CLI_OPT_OWN, OPT_ENDED };

static const struct cli_option options[] = {
    {"wait", OPT_WAIT, "MS", NULL, "wait so long for jobs whose events are still on their way (default 10000)"},
    {"ended", OPT_ENDED, NULL, NULL, "every command must have been taken and every job have ended"},
    {0},
};

struct verify_run {
    struct cli_context *ctx;
    struct store *st;
    struct cli_verify v;
    struct bus_position *taken; /* of the partitions of one command topic, as far as they were seen; heap */
    size_t taken_count;
    struct err failure; /* of a store call inside the tree walk */
    bool failed;
};

/* --- reading -------------------------------------------------------------------------------------------------------
 */

/* The store's offset of a partition, asked before any of its commands is judged. */
static int taken_up_to(struct verify_run *run, const char *topic, int32_t partition, int64_t *ret, struct err *err) {
    for (size_t i = 0; i < run->taken_count; i++) {
        if (run->taken[i].partition != partition) continue;
        *ret = run->taken[i].offset;
        return 0;
    }
    if (store_ingest_offset(run->st, topic, partition, ret, err) != 0) return -1;
    run->taken = mem_realloc(run->taken, (run->taken_count + 1) * sizeof *run->taken);
    run->taken[run->taken_count++] = (struct bus_position){topic, partition, *ret};
    return 0;
}

static int see_command(struct verify_run *run, const char *topic, const struct bus_msg *msg, struct err *err) {
    int64_t taken;
    if (taken_up_to(run, topic, msg->partition, &taken, err) != 0) return -1;
    cli__verify_command(&run->v, msg, msg->offset < taken);
    return 0;
}

/* Reads until the end that was there at opening; with more, what comes within one quiet poll. commands: the topic of
 * them, NULL for events. */
static int read_log(struct verify_run *run, struct bus_consumer *reader, const char *commands, bool more,
                    struct err *err) {
    bool quiet = false;
    while (!loop_stop_requested() && (more ? !quiet : !bus_kafka_reader_caught_up(reader))) {
        struct bus_batch batch = {0};
        int rc = bus_poll(reader, POLL_MAX, POLL_MS, &batch, err);
        quiet = batch.count == 0;
        for (size_t i = 0; rc == 0 && i < batch.count; i++)
            rc = commands ? see_command(run, commands, &batch.msgs[i], err)
                          : cli__verify_event(&run->v, &batch.msgs[i], err);
        bus_batch_release(&batch);
        if (rc != 0) return -1;
    }
    return 0;
}

static int open_reader(struct verify_run *run, const char *setting, const char **ret_topic, struct bus_consumer **ret,
                       struct err *err) {
    struct bus_kafka_config kafka;
    cli__kafka_config(run->ctx, &kafka);
    *ret_topic = config_string(run->ctx->cfg, setting);
    return bus_kafka_reader(&kafka, *ret_topic, BUS_OFFSET_BEGINNING, ret, NULL, NULL, err);
}

static int read_commands(struct verify_run *run, const char *setting, struct err *err) {
    struct bus_consumer *reader;
    const char *topic;
    if (open_reader(run, setting, &topic, &reader, err) != 0) return -1;
    run->taken_count = 0;
    int rc = read_log(run, reader, topic, false, err);
    bus_consumer_free(reader);
    return rc;
}

/* --- comparing -----------------------------------------------------------------------------------------------------
 */

/* What a completed or failed job has beside its record. */
static void compare_document(struct verify_run *run, const struct cli_verify_history *history, enum job_state state,
                             struct arena *arena) {
    const char *what = state == JOB_STATE_COMPLETED ? "result" : state == JOB_STATE_FAILED ? "error" : NULL, *doc;
    size_t len;
    if (!what) return;
    if (store_job_doc(run->st, what, history->rec.job_id, arena, &doc, &len, &run->failure) != 0)
        run->failed = true;
    else
        cli__verify_document(&run->v, history, what, doc, len);
}

static void compare_node(const void *node, VISIT visit, void *closure) {
    struct verify_run *run = closure;
    const struct cli_verify_history *history = *(struct cli_verify_history *const *)node;
    struct job_record stored;
    struct arena arena;
    if ((visit != postorder && visit != leaf) || run->failed) return;
    arena_init(&arena);
    if (store_job_get(run->st, history->rec.job_id, &arena, &stored, &run->failure) != 0)
        run->failed = true;
    else
        cli__verify_record(&run->v, history, &stored);
    if (!run->failed && !history->broken && stored.seq == history->rec.seq && stored.state == history->rec.state)
        compare_document(run, history, stored.state, &arena);
    arena_done(&arena);
}

/* Every record must have a history. */
static int check_records(struct verify_run *run, struct err *err) {
    struct store_list query = {.limit = 500};
    struct arena arena;
    int rc;
    arena_init(&arena);
    do {
        struct job_record *jobs;
        size_t count;
        rc = store_job_list(run->st, &query, &arena, &jobs, &count, &query.cursor, err);
        for (size_t i = 0; rc == 0 && i < count; i++)
            if (!cli__verify_find(&run->v, jobs[i].job_id))
                cli__verify_late(&run->v, CLI_VERIFY_RECORD, jobs[i].job_id, "has a record but no events");
    } while (rc == 0 && query.cursor);
    arena_done(&arena);
    return rc;
}

static int compare_all(struct verify_run *run, bool final, struct err *err) {
    cli__verify_begin(&run->v, final);
    twalk_r(run->v.root, compare_node, run);
    if (run->failed) {
        *err = run->failure;
        return -1;
    }
    if (check_records(run, err) != 0) return -1;
    cli__verify_commands(&run->v);
    return 0;
}

/* Compares; while something is only late, reads on, until the deadline makes that a violation. */
static int verify_all(struct verify_run *run, int64_t wait_ms, struct err *err) {
    struct bus_consumer *reader = NULL;
    const char *topic;
    if (read_commands(run, "bus.commands_topic", err) != 0) return -1;
    if (read_commands(run, "bus.control_topic", err) != 0) return -1;
    if (open_reader(run, "bus.events_topic", &topic, &reader, err) != 0) return -1;
    int64_t deadline = clock_mono_ms(&clock_system) + wait_ms;
    int rc = read_log(run, reader, NULL, false, err);
    while (rc == 0) {
        bool final = clock_mono_ms(&clock_system) >= deadline;
        rc = compare_all(run, final, err);
        if (rc != 0 || run->v.late == 0 || final || loop_stop_requested()) break;
        rc = read_log(run, reader, NULL, true, err);
    }
    bus_consumer_free(reader);
    return rc;
}

static void print_json(const struct cli_verify *v) {
    printf("{\"ok\":%s,\"jobs\":%" PRIu64 ",\"events\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"rejected\":%" PRIu64
           ",\"expired\":%" PRIu64 ",\"commands\":%zu,\"pending\":%" PRIu64 ",\"violations\":%" PRIu64 ",\"checks\":{",
           v->violations.count ? "false" : "true", v->jobs, v->events, v->repeats, v->rejected, v->expired,
           v->command_count, v->pending, v->violations.count);
    for (int check = 0; check < CLI_VERIFY_CHECK_COUNT; check++)
        printf("%s\"%s\":%" PRIu64, check ? "," : "", cli__verify_check_name(check), v->violations.by_check[check]);
    fputs("}}\n", stdout);
}

static void print_text(const struct cli_verify *v) {
    const struct cli_verify_findings *found = &v->violations;
    printf("%s: %" PRIu64 " jobs, %" PRIu64 " events (%" PRIu64 " of them repeated), %" PRIu64
           " expired records, %zu commands (%" PRIu64 " refused, %" PRIu64 " not taken yet), %" PRIu64 " violations",
           found->count ? "NOT verified" : "verified", v->jobs, v->events, v->repeats, v->expired, v->command_count,
           v->rejected, v->pending, found->count);
    const char *before = " (";
    for (int check = 0; check < CLI_VERIFY_CHECK_COUNT; check++) {
        if (!found->by_check[check]) continue;
        printf("%s%s %" PRIu64, before, cli__verify_check_name(check), found->by_check[check]);
        before = ", ";
    }
    puts(found->count ? ")" : "");
}

static void print_outcome(const struct verify_run *run) {
    if (run->v.told.len) fputs(run->v.told.data, stderr);
    if (run->ctx->json)
        print_json(&run->v);
    else
        print_text(&run->v);
}

static int verify_main(struct cli_context *ctx, int argc, char **argv) {
    struct verify_run run = {.ctx = ctx};
    struct err err;
    int64_t wait_ms = 10000;
    struct store_config store;
    bool all_ended = false;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        if (opt == OPT_ENDED) all_ended = true;
        if (opt == OPT_WAIT && cli__parse_int(ctx, "--wait", optarg, 0, 86400000, &wait_ms) != 0) return ctx->exit_code;
    }
    if (optind < argc) return cli__usage(ctx, "verify takes no arguments, but got '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    cli__handle_signals(false);
    cli__store_config(ctx, &store);
    cli__verify_init(&run.v, &store);
    run.v.all_ended = all_ended;
    int rc = cli__open_store(ctx, &run.st, &err);
    if (rc == 0) rc = verify_all(&run, wait_ms, &err);
    if (rc == 0) print_outcome(&run);
    bool good = run.v.violations.count == 0;
    store_free(run.st);
    free(run.taken);
    cli__verify_done(&run.v);
    if (rc != 0) return cli__fail(ctx, &err);
    return good ? CLI_OK : CLI_FAILED;
}

const struct cli_command cmd_verify = {
    .name = "verify",
    .summary = "Prove that every record is what the event log says",
    .usage = "[OPTIONS]",
    .about = "Reads the command topics and the whole events topic, folds every job's events and compares the "
             "outcome with its record in Redis, and every command with what became of it. Changes nothing; may "
             "run beside everything else.\n"
             "\n"
             "Each violation is one line on standard error, 'CHECK: job ID: what is wrong', the first 20 of them; "
             "CHECK is\n"
             "  sequence    a job's seq is not 1, 2, 3 ...: an event is missing, or was\n"
             "              written twice\n"
             "  transition  a step that no job may take, such as one after its end\n"
             "  repeat      an event again, with other contents\n"
             "  token       a run that overlaps another, or was ended by another worker or\n"
             "              token than it began with\n"
             "  attempt     attempts or crashes that went back or beyond their limit\n"
             "  record      the record, or the result or error beside it, is not what the\n"
             "              events say, or is not there\n"
             "  cancel      a cancel that came while the job ran has been forgotten\n"
             "  command     a command without job and refusal, or a job without its command\n"
             "  unended     with --ended: a command that was not taken, a job that has not\n"
             "              ended\n"
             "\n"
             "Of a job whose events are wrong only the first violation is told. With --json: counts, by check; "
             "violations still go to standard error. Exit code 0: nothing is wrong. 1: there are violations.",
    .options = options,
    .examples = "penstock verify\n"
                "penstock verify --ended --wait 30000\n"
                "penstock verify --json",
    .run = verify_main,
};
