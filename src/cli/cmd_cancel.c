/* penstock cancel: asks, through the control topic, which is read even while the commands wait. */
#include <string.h>

#include "cli_jobs.h"

enum { OPT_REASON = CLI_OPT_OWN, OPT_WAIT, OPT_TIMEOUT };

static const struct cli_option options[] = {
    {"reason", OPT_REASON, "TEXT", NULL, "kept in the events"},
    {"wait", OPT_WAIT, NULL, NULL, "wait until the jobs have ended; exit code 0 if all were cancelled"},
    {"timeout", OPT_TIMEOUT, "MS", NULL, "with --wait: no longer than this (default 60000)"},
    {0},
};

enum { ACK_TIMEOUT_MS = 30000, WAIT_TIMEOUT_MS = 60000 };

static int send_all(struct cli_context *ctx, char *const *ids, size_t count, const char *reason, struct err *err) {
    struct cli_producer producer = {0};
    struct buf value = {0};
    int rc = cli__open_producer(ctx, NULL, NULL, &producer, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        buf_reset(&value);
        wire_command_encode_cancel(ids[i], reason, &value);
        struct bus_out msg = {.topic = config_string(ctx->cfg, "bus.control_topic"),
                              .partition = -1,
                              .key = ids[i],
                              .key_len = strlen(ids[i]),
                              .value = value.data,
                              .value_len = value.len};
        rc = cli__produce(&producer, &msg, err);
    }
    if (rc == 0) rc = cli__flush(&producer, ACK_TIMEOUT_MS, err);
    cli__close_producer(&producer);
    buf_done(&value);
    return rc;
}

static int wait_for(struct cli_context *ctx, struct cli_wait *wait, struct err *err) {
    struct store *st = NULL;
    int rc = cli__open_store(ctx, &st, err);
    if (rc == 0) rc = cli__wait(ctx, st, wait, err);
    store_free(st);
    return rc;
}

static int cancel(struct cli_context *ctx, struct cli_wait *wait, char *const *ids, const char *reason, bool do_wait) {
    struct err err;
    if (send_all(ctx, ids, wait->count, reason, &err) != 0) return cli__fail(ctx, &err);
    if (!do_wait) {
        for (size_t i = 0; ctx->json && i < wait->count; i++) /* a valid id needs no escapes */
            printf("{\"job_id\":\"%s\",\"asked\":\"cancel\"}\n", ids[i]);
        if (!ctx->json && !ctx->quiet)
            fprintf(stderr, "asked for %zu job%s to be cancelled\n", wait->count, wait->count == 1 ? "" : "s");
        return CLI_OK;
    }
    if (wait_for(ctx, wait, &err) != 0) return cli__fail(ctx, &err);
    return wait->by_state[JOB_STATE_CANCELLED] == wait->count ? CLI_OK : CLI_FAILED;
}

static int cancel_main(struct cli_context *ctx, int argc, char **argv) {
    struct cli_wait wait = {.print = true, .timeout_ms = WAIT_TIMEOUT_MS};
    const char *reason = NULL;
    bool do_wait = false;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_REASON:
            reason = optarg;
            break;
        case OPT_WAIT:
            do_wait = true;
            break;
        case OPT_TIMEOUT:
            if (cli__parse_int(ctx, "--timeout", optarg, 1, INT64_MAX / 2, &wait.timeout_ms) != 0)
                return ctx->exit_code;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind == argc) return cli__usage(ctx, "which job? give its id");
    for (int i = optind; i < argc; i++)
        if (!job_id_is_valid(argv[i], strlen(argv[i]))) return cli__usage(ctx, "'%s' is not a job id", argv[i]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    wait.ids = (const char *const *)(argv + optind);
    wait.count = (size_t)(argc - optind);
    return cancel(ctx, &wait, argv + optind, reason, do_wait);
}

const struct cli_command cmd_cancel = {
    .name = "cancel",
    .summary = "Ask for jobs to be cancelled",
    .usage = "JOB_ID... [OPTIONS]",
    .about = "Asks for jobs to be cancelled. A running job ends as cancelled once its work has stopped. A job "
             "that has not arrived yet is cancelled when it does.",
    .options = options,
    .examples = "penstock cancel my-job --reason 'wrong image' --wait",
    .arguments = CLI_JOBS,
    .run = cancel_main,
};
