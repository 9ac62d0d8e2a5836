/* penstock pause, resume, drain: what a model, or everything, may do.
 *
 * They go through Kafka like every other command, so that they stand in the log with their reason and reach the store
 * in the order in which they were sent; and through the control topic, because the commands topic is not read while
 * everything drains. Nothing answers on Kafka, so --wait looks at the store: that the mode is there, and after a drain
 * that nothing is left. A command that the control process refuses (a model that it does not know) changes nothing
 * there, so waiting for it ends by its timeout; the rejected event says why. */
#include <inttypes.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/clock.h"
#include "penstock/loop.h"
#include "penstock/store_policy.h"

enum { OPT_REASON = CLI_OPT_OWN, OPT_WAIT, OPT_TIMEOUT };

static const struct cli_option mode_options[] = {
    {"reason", OPT_REASON, "TEXT", NULL, "for people; `penstock queues` shows it"},
    {"wait", OPT_WAIT, NULL, NULL, "wait until it is in force, and print how many jobs there are"},
    {"timeout", OPT_TIMEOUT, "MS", NULL, "with --wait: no longer than this (default 60000)"},
    {0},
};

static const struct cli_option drain_options[] = {
    {"reason", OPT_REASON, "TEXT", NULL, "for people; `penstock queues` shows it"},
    {"wait", OPT_WAIT, NULL, NULL, "wait until nothing is queued or running any more, delayed jobs included"},
    {"timeout", OPT_TIMEOUT, "MS", NULL, "with --wait: no longer than this (default: no limit)"},
    {0},
};

enum { ACK_TIMEOUT_MS = 30000, WAIT_TIMEOUT_MS = 60000, POLL_MS = 50, GIVE_UP_MS = 10000 };

struct order {
    enum wire_command_type type;
    const char *model;  /* NULL: everything */
    const char *reason; /* NULL: none */
    bool wait;
    int64_t timeout_ms; /* 0: none */
};

/* Checks the command as the control process will: a model's name, the length of a reason. */
static int build(const struct order *order, struct buf *ret, struct err *err) {
    struct arena arena;
    const char *job_id;
    wire_command_encode_mode(order->type, order->model, order->reason, ret);
    arena_init(&arena);
    int rc = cli__command_check((struct wire_slice){ret->data, ret->len}, &arena, &job_id, err);
    arena_done(&arena);
    return rc;
}

/* An empty key for everything, not none: so that such commands keep their order on a topic of several partitions. */
static int send(struct cli_context *ctx, const struct order *order, const struct buf *value, struct err *err) {
    struct cli_producer producer = {0};
    struct bus_out msg = {.topic = config_string(ctx->cfg, "bus.control_topic"),
                          .partition = -1,
                          .key = order->model ? order->model : "",
                          .key_len = order->model ? strlen(order->model) : 0,
                          .value = value->data,
                          .value_len = value->len};
    int rc = cli__open_producer(ctx, NULL, NULL, &producer, err);
    if (rc == 0) rc = cli__produce(&producer, &msg, err);
    if (rc == 0) rc = cli__flush(&producer, ACK_TIMEOUT_MS, err);
    cli__close_producer(&producer);
    return rc;
}

/* --- waiting -------------------------------------------------------------------------------------------------------
 */

static const enum store_mode modes[] = {[WIRE_COMMAND_PAUSE] = STORE_MODE_PAUSED,
                                        [WIRE_COMMAND_RESUME] = STORE_MODE_OPEN,
                                        [WIRE_COMMAND_DRAIN] = STORE_MODE_DRAINING};
static const char *const words[] = {
    [STORE_MODE_OPEN] = "resumed", [STORE_MODE_PAUSED] = "paused", [STORE_MODE_DRAINING] = "draining"};

static const char *name_of(const struct order *order) { return order->model ? order->model : "everything"; }

static int timed_out(const struct order *order, const struct store_mode_view *view, struct err *err) {
    if (view->mode != modes[order->type])
        return err_set(err, ERR_TIMED_OUT_WAITING,
                       "%s is not %s after %" PRId64 " ms: does a control process run, and know the model? "
                       "`penstock events` tells of refused commands",
                       name_of(order), words[modes[order->type]], order->timeout_ms);
    return err_set(err, ERR_TIMED_OUT_WAITING, "%s: %" PRId64 " queued and %" PRId64 " running after %" PRId64 " ms",
                   name_of(order), view->queued, view->running, order->timeout_ms);
}

static bool is_in_force(const struct order *order, const struct store_mode_view *view) {
    if (view->mode != modes[order->type]) return false;
    return order->type != WIRE_COMMAND_DRAIN || view->queued + view->running == 0;
}

static void draw(const struct cli_context *ctx, const struct order *order, const struct store_mode_view *view) {
    if (!ctx->terminal || ctx->quiet || order->type != WIRE_COMMAND_DRAIN) return;
    fprintf(stderr, "\r%s: %" PRId64 " queued, %" PRId64 " running\033[K", name_of(order), view->queued, view->running);
}

static void undraw(const struct cli_context *ctx, const struct order *order) {
    if (ctx->terminal && !ctx->quiet && order->type == WIRE_COMMAND_DRAIN) fputs("\r\033[K", stderr);
}

static void print_view(const struct cli_context *ctx, const struct order *order, const struct store_mode_view *view) {
    struct buf out = {0};
    if (!ctx->json) {
        printf("%s is %s: %" PRId64 " queued, %" PRId64 " running\n", name_of(order), words[view->mode], view->queued,
               view->running);
        return;
    }
    wire_json_string(order->model ? order->model : "*", order->model ? strlen(order->model) : 1, &out);
    printf("{\"model\":%s,\"mode\":\"%s\"", out.data, view->mode == STORE_MODE_OPEN ? "open" : words[view->mode]);
    buf_reset(&out);
    wire_json_string(view->reason, strlen(view->reason), &out);
    printf(",\"reason\":%s,\"queued\":%" PRId64 ",\"running\":%" PRId64 "}\n", out.data, view->queued, view->running);
    buf_done(&out);
}

/* Redis may be away for a moment; only when it stays away does waiting fail. */
static int wait_until_in_force(struct cli_context *ctx, struct store *st, const struct order *order, struct err *err) {
    int64_t start = clock_mono_ms(&clock_system), last_answer = start;
    struct store_mode_view view = {.mode = STORE_MODE_OPEN};
    struct arena arena;
    int rc;
    arena_init(&arena);
    for (;;) {
        arena_reset(&arena);
        rc = store_mode_get(st, order->model, &arena, &view, err);
        int64_t now = clock_mono_ms(&clock_system);
        if (rc == 0 && is_in_force(order, &view)) break;
        if (rc == 0) draw(ctx, order, &view);
        if (rc == 0)
            last_answer = now;
        else if (err->class != ERR_CLASS_RETRY || now - last_answer > GIVE_UP_MS)
            break;
        if (order->timeout_ms && now - start >= order->timeout_ms) {
            rc = timed_out(order, &view, err);
            break;
        }
        loop_sleep(POLL_MS);
    }
    undraw(ctx, order);
    if (rc == 0) print_view(ctx, order, &view);
    arena_done(&arena);
    return rc;
}

/* --- the commands --------------------------------------------------------------------------------------------------
 */

static int carry_out(struct cli_context *ctx, const struct order *order, struct err *err) {
    struct store *st = NULL;
    struct buf value = {0};
    int rc = build(order, &value, err);
    if (rc == 0) rc = send(ctx, order, &value, err);
    if (rc == 0 && order->wait) rc = cli__open_store(ctx, &st, err);
    if (rc == 0 && order->wait) rc = wait_until_in_force(ctx, st, order, err);
    store_free(st);
    buf_done(&value);
    return rc;
}

static void print_asked(const struct cli_context *ctx, const struct order *order) {
    const char *model = order->model ? order->model : "*";
    struct buf name = {0};
    if (ctx->json) {
        wire_json_string(model, strlen(model), &name);
        printf("{\"model\":%s,\"asked\":\"%s\"}\n", name.data, ctx->command->name);
    } else if (!ctx->quiet) {
        fprintf(stderr, "asked for %s to be %s\n", name_of(order),
                order->type == WIRE_COMMAND_DRAIN ? "drained" : words[modes[order->type]]);
    }
    buf_done(&name);
}

static int run(struct cli_context *ctx, enum wire_command_type type, int argc, char **argv) {
    struct order order = {.type = type, .timeout_ms = type == WIRE_COMMAND_DRAIN ? 0 : WAIT_TIMEOUT_MS};
    struct err err;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_REASON:
            order.reason = optarg;
            break;
        case OPT_WAIT:
            order.wait = true;
            break;
        case OPT_TIMEOUT:
            if (cli__parse_int(ctx, "--timeout", optarg, 1, INT64_MAX / 2, &order.timeout_ms) != 0)
                return ctx->exit_code;
            break;
        default:
            return ctx->exit_code;
        }
    if (argc - optind > 1)
        return cli__usage(ctx, "one model, or none for everything, but not '%s' too", argv[optind + 1]);
    if (optind < argc) order.model = argv[optind];
    if (order.model && !job_model_is_valid(order.model, strlen(order.model)))
        return cli__usage(ctx, "'%s' is not a model's name", order.model);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    if (carry_out(ctx, &order, &err) != 0) return cli__fail(ctx, &err);
    if (!order.wait) print_asked(ctx, &order);
    return CLI_OK;
}

static int pause_main(struct cli_context *ctx, int argc, char **argv) {
    return run(ctx, WIRE_COMMAND_PAUSE, argc, argv);
}
static int resume_main(struct cli_context *ctx, int argc, char **argv) {
    return run(ctx, WIRE_COMMAND_RESUME, argc, argv);
}
static int drain_main(struct cli_context *ctx, int argc, char **argv) {
    return run(ctx, WIRE_COMMAND_DRAIN, argc, argv);
}

const struct cli_command cmd_pause = {
    .name = "pause",
    .summary = "Start no more jobs of a model, or of any",
    .usage = "[MODEL] [OPTIONS]",
    .about = "Starts no more jobs of the model, or of any without MODEL. Running ones end as ever, new ones are "
             "queued, cancels and timeouts go on. `penstock resume` undoes it.",
    .options = mode_options,
    .examples = "penstock pause digits --reason 'new weights at noon'\n"
                "penstock pause --wait",
    .arguments = CLI_MODELS,
    .run = pause_main,
};

const struct cli_command cmd_resume = {
    .name = "resume",
    .summary = "End a pause or a drain",
    .usage = "[MODEL] [OPTIONS]",
    .about = "Ends a pause or a drain: of the model, or of everything without MODEL. A model that was paused or "
             "drained by name stays so when everything is resumed, and the other way round.",
    .options = mode_options,
    .examples = "penstock resume digits\n"
                "penstock resume --wait",
    .arguments = CLI_MODELS,
    .run = resume_main,
};

const struct cli_command cmd_drain = {
    .name = "drain",
    .summary = "Work off what is queued of a model, or everything, and take nothing new",
    .usage = "[MODEL] [OPTIONS]",
    .about = "Works off what is queued and takes nothing new. New jobs of a draining model are refused "
             "(`draining`, may be sent again later); without MODEL everything drains, and new commands wait in "
             "Kafka. `penstock resume` undoes it.",
    .options = drain_options,
    .examples = "penstock drain digits --reason 'retired' --wait\n"
                "penstock drain --wait --timeout 600000 && systemctl stop penstock",
    .arguments = CLI_MODELS,
    .run = drain_main,
};
