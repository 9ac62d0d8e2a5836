/* penstock events: the audit trail, from the events topic.
 *
 * An event names its job's model only where it creates the job; for --model the others are looked up: in a small memory
 * of jobs seen before, by a digest of the id, and behind that in the store. So a stream of any length needs memory of
 * one size, and a call to Redis only for jobs that the memory does not have (any more). */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli_control.h"
#include "penstock/clock.h"
#include "penstock/fnv.h"
#include "penstock/loop.h"

#define POLL_MAX   500
#define POLL_MS    50
#define JOBS_KNOWN 16384           /* a power of two */
#define TYPE       "penstock.job." /* how CloudEvents call a transition to the state behind it */

enum { OPT_FROM_BEGINNING = CLI_OPT_OWN, OPT_JOB, OPT_STATE, OPT_TYPE, OPT_MODEL, OPT_WAIT };

#define TYPES TYPE "queued|" TYPE "running|" TYPE "completed|" TYPE "failed|" TYPE "cancelled|" TYPE "rejected"

static const struct cli_option options[] = {
    {"from-beginning", OPT_FROM_BEGINNING, NULL, NULL, "print what is there, then end"},
    {"job", OPT_JOB, "ID", CLI_JOBS, "only this job's events; implies --from-beginning"},
    {"wait", OPT_WAIT, "MS", NULL,
     "with --job: wait so long for its last event, which follows the record within milliseconds (default 1000)"},
    {"state", OPT_STATE, "STATE", CLI_STATES "|rejected", "only those that lead to this state; may be given again"},
    {"type", OPT_TYPE, "TYPE", TYPES, "the same by the type that CloudEvents have, such as penstock.job.failed"},
    {"model", OPT_MODEL, "NAME", CLI_MODELS, "only those of this model's jobs"},
    {"follow", 'f', NULL, NULL, "then wait for new ones; with --job until it has ended"},
    {0},
};

struct trail {
    struct cli_context *ctx;
    const char *job;                          /* NULL: all */
    const char *model;                        /* NULL: all */
    bool to[JOB_STATE_REJECTED + 1], to_some; /* only transitions to these are printed; !to_some: all */
    uint64_t seen;                            /* of the job, or of all: also what --state leaves out */
    bool ended;                               /* the job's last event was among them */
    struct known {
        uint64_t job; /* digest; 0: nobody */
        bool of_model;
    } * known;        /* JOBS_KNOWN; NULL without --model */
    struct store *st; /* with --model */
};

static void print_line(const struct trail *trail, const struct job_event *ev) {
    char at[25];
    const char *to = job_state_name(ev->to);
    clock_format_rfc3339(ev->at, at);
    printf("%s  %-36s %3" PRId64 "  %9s -> %s%-9s%s", at, ev->job_id ? ev->job_id : "-", ev->seq,
           ev->from == JOB_STATE_NONE ? "" : job_state_name(ev->from), cli__state_color(trail->ctx, to), to,
           cli__color_end(trail->ctx));
    if (ev->reason) printf("  %s", ev->reason);
    if (ev->attempt > 1) printf("  attempt %d", ev->attempt);
    if (ev->crashes > 0) printf("  crashes %d", ev->crashes);
    if (ev->worker) printf("  by %s", ev->worker);
    if (ev->to == JOB_STATE_REJECTED && ev->source.topic)
        printf("  from %s[%" PRId32 "]@%" PRId64, ev->source.topic, ev->source.partition, ev->source.offset);
    putchar('\n');
}

/* *ret: is the event's job one of --model? A job whose record has gone, and whose creation was not read, is not. */
static int is_of_model(struct trail *trail, const struct job_event *ev, struct arena *arena, bool *ret,
                       struct err *err) {
    struct job_record rec;
    *ret = !trail->model || (ev->model && strcmp(ev->model, trail->model) == 0);
    if (!trail->model || !ev->job_id) return 0;
    uint64_t digest = fnv1a(FNV1A, ev->job_id, strlen(ev->job_id)) | 1; /* never 0 */
    struct known *known = &trail->known[(digest >> 1) & (JOBS_KNOWN - 1)];
    if (!ev->model && known->job == digest) {
        *ret = known->of_model;
    } else if (!ev->model) {
        if (store_job_get(trail->st, ev->job_id, arena, &rec, err) != 0) return -1;
        *ret = rec.model && strcmp(rec.model, trail->model) == 0;
    }
    *known = (struct known){digest, *ret};
    return 0;
}

static int print_event(struct trail *trail, const struct bus_msg *msg, struct err *err) {
    struct arena arena;
    struct job_event ev;
    if (trail->job && (msg->key_len != strlen(trail->job) || memcmp(msg->key, trail->job, msg->key_len) != 0)) return 0;
    arena_init(&arena);
    int rc = wire_event_decode(msg->value, msg->value_len, &arena, &ev, err);
    bool decoded = rc == 0, wanted = false;
    if (!decoded)
        err_wrap(err, "%s[%" PRId32 "]@%" PRId64, msg->topic, msg->partition, msg->offset);
    else
        rc = is_of_model(trail, &ev, &arena, &wanted, err);
    wanted = rc == 0 && wanted && (!trail->to_some || trail->to[ev.to]);
    if (wanted && trail->ctx->json) {
        fwrite(msg->value, 1, msg->value_len, stdout);
        putchar('\n');
    } else if (wanted) {
        print_line(trail, &ev);
    }
    if (rc == 0) trail->seen++;
    if (rc == 0 && job_state_is_terminal(ev.to)) trail->ended = true;
    arena_done(&arena);
    return rc;
}

/* Nothing more to read: all that was there when the reader was opened, and of one job its end, if it comes in time. */
static bool is_read(const struct trail *trail, const struct bus_consumer *reader, int64_t deadline_ms) {
    if (!bus_kafka_reader_caught_up(reader)) return false;
    return !trail->job || trail->ended || clock_mono_ms(&clock_system) >= deadline_ms;
}

static int read_trail(struct trail *trail, struct bus_consumer *reader, bool follow, int64_t wait_ms, struct err *err) {
    int64_t deadline_ms = clock_mono_ms(&clock_system) + wait_ms;
    while (!loop_stop_requested() && !(follow ? trail->job && trail->ended : is_read(trail, reader, deadline_ms))) {
        struct bus_batch batch = {0};
        int rc = bus_poll(reader, POLL_MAX, POLL_MS, &batch, err);
        for (size_t i = 0; rc == 0 && i < batch.count; i++) rc = print_event(trail, &batch.msgs[i], err);
        bus_batch_release(&batch);
        if (rc != 0) return -1;
        if (fflush(stdout) != 0) return err_set_errno(err, ERR_SYSTEM, "standard output");
    }
    return 0;
}

/* Of --state, or of --type with the prefix that is CloudEvents'. */
static int add_state(struct trail *trail, const char *option, const char *name) {
    size_t prefix = strcmp(option, "--type") == 0 && strncmp(name, TYPE, sizeof TYPE - 1) == 0 ? sizeof TYPE - 1 : 0;
    int state = job_state_from_name(name + prefix, strlen(name + prefix));
    if (state > JOB_STATE_NONE) {
        trail->to[state] = trail->to_some = true;
        return 0;
    }
    trail->ctx->exit_code =
        cli__usage(trail->ctx, "%s '%s' is none of queued, running, completed, failed, cancelled, rejected%s", option,
                   name, strcmp(option, "--type") == 0 ? ", with " TYPE " before it or without" : "");
    return -1;
}

static int take_option(struct trail *trail, int opt) {
    switch (opt) {
    case OPT_JOB:
        trail->job = optarg;
        return 0;
    case OPT_MODEL:
        trail->model = optarg;
        return 0;
    case OPT_STATE:
        return add_state(trail, "--state", optarg);
    case OPT_TYPE:
        return add_state(trail, "--type", optarg);
    default:
        return 0;
    }
}

/* Reads and prints until there is nothing more to wait for. */
static int run(struct trail *trail, bool from_beginning, bool follow, int64_t wait_ms, struct err *err) {
    struct cli_context *ctx = trail->ctx;
    struct bus_kafka_config kafka;
    struct bus_consumer *reader = NULL;
    if (trail->model) trail->known = mem_calloc(JOBS_KNOWN, sizeof *trail->known);
    int rc = trail->model ? cli__open_store(ctx, &trail->st, err) : 0;
    cli__kafka_config(ctx, &kafka);
    if (rc == 0)
        rc = bus_kafka_reader(&kafka, config_string(ctx->cfg, "bus.events_topic"),
                              from_beginning ? BUS_OFFSET_BEGINNING : BUS_OFFSET_END, &reader, NULL, NULL, err);
    if (rc == 0) rc = read_trail(trail, reader, follow || !from_beginning, wait_ms, err);
    bus_consumer_free(reader);
    store_free(trail->st);
    free(trail->known);
    return rc;
}

static int events_main(struct cli_context *ctx, int argc, char **argv) {
    struct trail trail = {.ctx = ctx};
    bool from_beginning = false, follow = false;
    int64_t wait_ms = 1000;
    struct err err;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        if (opt == 'f') follow = true;
        if (opt == OPT_FROM_BEGINNING) from_beginning = true;
        if (opt == OPT_WAIT && cli__parse_int(ctx, "--wait", optarg, 0, 86400000, &wait_ms) != 0) return ctx->exit_code;
        if (take_option(&trail, opt) != 0) return ctx->exit_code;
    }
    if (optind < argc) return cli__usage(ctx, "events takes no arguments, but got '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    from_beginning |= trail.job != NULL;
    cli__handle_signals(false);
    signal(SIGPIPE, SIG_DFL); /* `penstock events | head` ends quietly */
    int rc = run(&trail, from_beginning, follow, wait_ms, &err);
    if (rc != 0) return cli__fail(ctx, &err);
    if (trail.job && trail.seen == 0 && !follow) {
        err_set(&err, ERR_NOT_FOUND, "there are no events of job %s", trail.job);
        return cli__fail(ctx, &err);
    }
    return CLI_OK;
}

const struct cli_command cmd_events = {
    .name = "events",
    .summary = "Print the events of all jobs or of one",
    .usage = "[OPTIONS]",
    .about = "Prints events from the events topic: one line for each transition of each job, and for each refused "
             "command. Without options it waits for new ones until Ctrl-C.",
    .options = options,
    .examples = "penstock events\n"
                "penstock events --job 01JD3V6S0000000000000000 --follow\n"
                "penstock events --model digits --state failed --state cancelled\n"
                "penstock events --from-beginning --type penstock.job.rejected --json",
    .run = events_main,
};
