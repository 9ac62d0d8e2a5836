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

const char cmd_pause_help[] =
    "Usage: penstock pause [MODEL] [OPTIONS]\n"
    "\n"
    "Starts no more jobs of the model, or of any without MODEL. Running ones end as ever, new ones are queued,\n"
    "cancels and timeouts go on. `penstock resume` undoes it.\n"
    "\n"
    "  --reason TEXT   for people; `penstock queues` shows it\n"
    "  --wait          wait until it is in force, and print how many jobs there are\n"
    "  --timeout MS    with --wait: no longer than this (default 60000)\n"
    "\n"
    "Examples:\n"
    "  penstock pause digits --reason 'new weights at noon'\n"
    "  penstock pause --wait\n";

const char cmd_resume_help[] =
    "Usage: penstock resume [MODEL] [OPTIONS]\n"
    "\n"
    "Ends a pause or a drain: of the model, or of everything without MODEL. A model that was paused or drained by\n"
    "name stays so when everything is resumed, and the other way round.\n"
    "\n"
    "  --wait          wait until it is in force, and print how many jobs there are\n"
    "  --timeout MS    with --wait: no longer than this (default 60000)\n"
    "\n"
    "Examples:\n"
    "  penstock resume digits\n"
    "  penstock resume --wait\n";

const char cmd_drain_help[] =
    "Usage: penstock drain [MODEL] [OPTIONS]\n"
    "\n"
    "Works off what is queued and takes nothing new. New jobs of a draining model are refused (`draining`, may be\n"
    "sent again later); without MODEL everything drains, and new commands wait in Kafka.\n"
    "`penstock resume` undoes it.\n"
    "\n"
    "  --reason TEXT   for people; `penstock queues` shows it\n"
    "  --wait          wait until nothing is queued or running any more, delayed jobs included\n"
    "  --timeout MS    with --wait: no longer than this (default: no limit)\n"
    "\n"
    "Examples:\n"
    "  penstock drain digits --reason 'retired' --wait\n"
    "  penstock drain --wait --timeout 600000 && systemctl stop penstock\n";

enum { OPT_REASON = CLI_OPT_OWN, OPT_WAIT, OPT_TIMEOUT };
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

static int run(struct cli_context *ctx, enum wire_command_type type, int argc, char **argv) {
    static const struct option own[] = {{"reason", required_argument, NULL, OPT_REASON},
                                        {"wait", no_argument, NULL, OPT_WAIT},
                                        {"timeout", required_argument, NULL, OPT_TIMEOUT},
                                        {0}};
    struct order order = {.type = type, .timeout_ms = type == WIRE_COMMAND_DRAIN ? 0 : WAIT_TIMEOUT_MS};
    struct err err;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv, "", own)) != CLI_OPT_END) switch (opt) {
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
    if (!order.wait && !ctx->quiet)
        fprintf(stderr, "asked for %s to be %s\n", name_of(&order),
                type == WIRE_COMMAND_DRAIN ? "drained" : words[modes[type]]);
    return CLI_OK;
}

int cmd_pause(struct cli_context *ctx, int argc, char **argv) { return run(ctx, WIRE_COMMAND_PAUSE, argc, argv); }
int cmd_resume(struct cli_context *ctx, int argc, char **argv) { return run(ctx, WIRE_COMMAND_RESUME, argc, argv); }
int cmd_drain(struct cli_context *ctx, int argc, char **argv) { return run(ctx, WIRE_COMMAND_DRAIN, argc, argv); }
