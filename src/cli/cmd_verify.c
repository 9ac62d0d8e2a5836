/* penstock verify: proves, for every job, that the record in Redis is what the event log says.
 *
 * It folds the whole events topic job by job, and then compares each folded record with the stored one. The relay may
 * repeat events (at least once), always under the same (job_id, seq): repeats are counted and passed over; a gap or an
 * impossible transition is a violation. A job that is ahead of the log is only late (its events are still in the
 * outbox) and is looked at again after reading on; a terminal record may be gone by retention.
 */
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "cli_control.h"
#include "penstock/clock.h"
#include "penstock/loop.h"

#define POLL_MAX  1000
#define POLL_MS   100
#define SHOWN_MAX 20 /* violations told one by one */

const char cmd_verify_help[] =
    "Usage: penstock verify [--wait MS] [OPTIONS]\n"
    "\n"
    "Reads the whole events topic, folds every job's events and compares the outcome with its record in Redis.\n"
    "Exit code 0: every job's history is without gap and its record is what the history says.\n"
    "\n"
    "      --wait MS    wait so long for jobs whose events are still on their way (default 10000)\n"
    "\n"
    "Examples:\n"
    "  penstock verify\n"
    "  penstock verify --json\n";

enum { OPT_WAIT = CLI_OPT_OWN };

struct history {
    struct job_record rec; /* folded so far; first, and job_id is the key of the tree */
};

struct verify {
    struct cli_context *ctx;
    struct store *st;
    struct arena arena; /* of all histories: lives as long as the run */
    void *root;         /* tsearch tree of struct history by job_id */
    uint64_t jobs, events, repeats, rejected, violations, late, expired;
    bool final; /* late is now a violation */
    int64_t retention_ms;
    struct err failure; /* of a store call inside the tree walk */
    bool failed;
};

static int by_job_id(const void *a, const void *b) {
    return strcmp(((const struct history *)a)->rec.job_id, ((const struct history *)b)->rec.job_id);
}

static void violation(struct verify *v, const char *job_id, const char *what) {
    if (v->violations++ < SHOWN_MAX)
        fprintf(stderr, "job %s: %s\n", job_id, what);
    else if (v->violations == SHOWN_MAX + 1)
        fputs("... further violations are only counted\n", stderr);
}

/* --- folding -------------------------------------------------------------------------------------------------------
 */

static struct history *history_of(struct verify *v, const char *job_id) {
    struct history probe = {.rec = {.job_id = job_id}};
    void *found = tfind(&probe, &v->root, by_job_id);
    if (found) return *(struct history **)found;
    struct history *history = arena_alloc(&v->arena, sizeof *history);
    history->rec.job_id = arena_strdup(&v->arena, job_id);
    BUG_ON(!tsearch(history, &v->root, by_job_id));
    v->jobs++;
    return history;
}

/* The strings that the fold keeps must outlive the message. */
static void keep_strings(struct verify *v, struct job_event *ev, const char *job_id) {
    const char **strings[] = {&ev->model, &ev->model_version, &ev->worker, &ev->token, &ev->reason, &ev->traceparent};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) *strings[i] = arena_strdup(&v->arena, *strings[i]);
    ev->job_id = job_id;
}

static int fold_message(struct verify *v, const struct bus_msg *msg, struct err *err) {
    struct arena arena;
    struct job_event ev;
    struct err why;
    arena_init(&arena);
    int rc = wire_event_decode(msg->value, msg->value_len, &arena, &ev, err);
    if (rc != 0)
        err_wrap(err, "%s[%" PRId32 "]@%" PRId64, msg->topic, msg->partition, msg->offset);
    else if (ev.to == JOB_STATE_REJECTED)
        v->rejected++;
    else {
        struct history *history = history_of(v, ev.job_id);
        v->events++;
        if (ev.seq <= history->rec.seq) {
            v->repeats++;
        } else {
            keep_strings(v, &ev, history->rec.job_id);
            if (job_fold(&history->rec, &ev, &why) != 0) violation(v, ev.job_id, why.msg);
        }
    }
    arena_done(&arena);
    return rc;
}

/* Reads until the end that was there at opening; with more, what comes within one quiet poll. */
static int read_log(struct verify *v, struct bus_consumer *reader, bool more, struct err *err) {
    bool quiet = false;
    while (!loop_stop_requested() && (more ? !quiet : !bus_kafka_reader_caught_up(reader))) {
        struct bus_batch batch = {0};
        int rc = bus_poll(reader, POLL_MAX, POLL_MS, &batch, err);
        quiet = batch.count == 0;
        for (size_t i = 0; rc == 0 && i < batch.count; i++) rc = fold_message(v, &batch.msgs[i], err);
        bus_batch_release(&batch);
        if (rc != 0) return -1;
    }
    return 0;
}

/* --- comparing -----------------------------------------------------------------------------------------------------
 */

static bool may_have_expired(const struct verify *v, const struct job_record *folded) {
    return v->retention_ms > 0 && job_state_is_terminal(folded->state) &&
           clock_wall_ms(&clock_system) - folded->finished_at >= v->retention_ms;
}

static void compare(struct verify *v, const struct job_record *folded, const struct job_record *stored) {
    char what[160];
    const char *member = job_record_diff(folded, stored);
    if (stored->state == JOB_STATE_NONE) {
        if (may_have_expired(v, folded))
            v->expired++;
        else
            violation(v, folded->job_id, "has events but no record");
    } else if (stored->seq > folded->seq && !v->final) {
        v->late++;
    } else if (member) {
        snprintf(what, sizeof what,
                 "record and events differ in %s (record: %s seq %" PRId64 ", events: %s seq %" PRId64 ")", member,
                 job_state_name(stored->state), stored->seq, job_state_name(folded->state), folded->seq);
        violation(v, folded->job_id, what);
    }
}

static void compare_node(const void *node, VISIT visit, void *closure) {
    struct verify *v = closure;
    const struct history *history = *(struct history *const *)node;
    struct job_record stored;
    struct arena arena;
    if ((visit != postorder && visit != leaf) || v->failed) return;
    arena_init(&arena);
    if (store_job_get(v->st, history->rec.job_id, &arena, &stored, &v->failure) != 0)
        v->failed = true;
    else
        compare(v, &history->rec, &stored);
    arena_done(&arena);
}

/* Every record must have a history. */
static int check_records(struct verify *v, struct err *err) {
    struct store_list query = {.limit = 500};
    struct arena arena;
    int rc;
    arena_init(&arena);
    do {
        struct job_record *jobs;
        size_t count;
        rc = store_job_list(v->st, &query, &arena, &jobs, &count, &query.cursor, err);
        for (size_t i = 0; rc == 0 && i < count; i++) {
            struct history probe = {.rec = {.job_id = jobs[i].job_id}};
            if (!tfind(&probe, &v->root, by_job_id)) {
                if (v->final)
                    violation(v, jobs[i].job_id, "has a record but no events");
                else
                    v->late++;
            }
        }
    } while (rc == 0 && query.cursor);
    arena_done(&arena);
    return rc;
}

static int compare_all(struct verify *v, bool final, struct err *err) {
    v->late = v->expired = 0;
    v->final = final;
    twalk_r(v->root, compare_node, v);
    if (v->failed) {
        *err = v->failure;
        return -1;
    }
    return check_records(v, err);
}

/* Compares; while jobs are only late, reads on, until the deadline makes that a violation. */
static int verify_all(struct verify *v, struct bus_consumer *reader, int64_t wait_ms, struct err *err) {
    int64_t deadline = clock_mono_ms(&clock_system) + wait_ms;
    if (read_log(v, reader, false, err) != 0) return -1;
    for (;;) {
        uint64_t violations = v->violations;
        bool final = clock_mono_ms(&clock_system) >= deadline;
        if (compare_all(v, final, err) != 0) return -1;
        if (v->late == 0 || final || loop_stop_requested()) return 0;
        v->violations = violations; /* they are found again */
        if (read_log(v, reader, true, err) != 0) return -1;
    }
}

static void print_outcome(const struct verify *v) {
    bool good = v->violations == 0;
    if (v->ctx->json)
        printf("{\"ok\":%s,\"jobs\":%" PRIu64 ",\"events\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"rejected\":%" PRIu64
               ",\"expired\":%" PRIu64 ",\"violations\":%" PRIu64 "}\n",
               good ? "true" : "false", v->jobs, v->events, v->repeats, v->rejected, v->expired, v->violations);
    else
        printf("%s: %" PRIu64 " jobs, %" PRIu64 " events (%" PRIu64 " of them repeated), %" PRIu64
               " refused commands, %" PRIu64 " expired records, %" PRIu64 " violations\n",
               good ? "verified" : "NOT verified", v->jobs, v->events, v->repeats, v->rejected, v->expired,
               v->violations);
}

static void keep_node(void *node) { (void)node; /* the arena has it */ }

int cmd_verify(struct cli_context *ctx, int argc, char **argv) {
    static const struct option own[] = {{"wait", required_argument, NULL, OPT_WAIT}, {0}};
    struct verify v = {.ctx = ctx};
    struct bus_kafka_config kafka;
    struct bus_consumer *reader = NULL;
    struct err err;
    int64_t wait_ms = 10000;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv, "", own)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        if (opt == OPT_WAIT && cli__parse_int(ctx, "--wait", optarg, 0, 86400000, &wait_ms) != 0) return ctx->exit_code;
    }
    if (optind < argc) return cli__usage(ctx, "verify takes no arguments, but got '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    cli__handle_signals();
    cli__kafka_config(ctx, &kafka);
    v.retention_ms = config_int(ctx->cfg, "store.retention_ms");
    arena_init(&v.arena);
    int rc = cli__open_store(ctx, &v.st, &err);
    if (rc == 0)
        rc = bus_kafka_reader(&kafka, config_string(ctx->cfg, "bus.events_topic"), BUS_OFFSET_BEGINNING, &reader, NULL,
                              NULL, &err);
    if (rc == 0) rc = verify_all(&v, reader, wait_ms, &err);
    if (rc == 0) print_outcome(&v);
    bus_consumer_free(reader);
    store_free(v.st);
    tdestroy(v.root, keep_node);
    arena_done(&v.arena);
    if (rc != 0) return cli__fail(ctx, &err);
    return v.violations == 0 ? CLI_OK : CLI_FAILED;
}
