/* penstock wait: until jobs have ended. */
#include "cli_jobs.h"

enum { OPT_TIMEOUT = CLI_OPT_OWN };

static const struct cli_option options[] = {
    {"timeout", OPT_TIMEOUT, "MS", NULL, "wait no longer than this (default: for ever)"}, {0}};

static int wait_main(struct cli_context *ctx, int argc, char **argv) {
    struct cli_wait wait = {.print = true};
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_TIMEOUT:
            if (cli__parse_int(ctx, "--timeout", optarg, 1, INT64_MAX / 2, &wait.timeout_ms) != 0)
                return ctx->exit_code;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind == argc) return cli__usage(ctx, "which job? give its id");
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    wait.ids = (const char *const *)(argv + optind);
    wait.count = (size_t)(argc - optind);
    struct store *st = NULL;
    struct err err;
    int rc = cli__open_store(ctx, &st, &err);
    if (rc == 0) rc = cli__wait(ctx, st, &wait, &err);
    store_free(st);
    return rc == 0 ? cli__wait_exit_code(&wait) : cli__fail(ctx, &err);
}

const struct cli_command cmd_wait = {
    .name = "wait",
    .summary = "Wait until jobs have ended",
    .usage = "JOB_ID... [OPTIONS]",
    .about = "Waits until every job has ended and prints a line for each as it ends (--json: its record). Exit "
             "code 0 only if all completed, 1 if one failed or was cancelled, 5 on a timeout.",
    .options = options,
    .examples = "penstock wait my-job --timeout 30000\n"
                "penstock submit jobs.jsonl | xargs penstock wait",
    .arguments = CLI_JOBS,
    .run = wait_main,
};
