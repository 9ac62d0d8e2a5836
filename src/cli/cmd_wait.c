/* penstock wait: until jobs have ended. */
#include "cli_jobs.h"

const char cmd_wait_help[] =
    "Usage: penstock wait JOB_ID... [OPTIONS]\n"
    "\n"
    "Waits until every job has ended and prints a line for each as it ends (--json: its record).\n"
    "Exit code 0 only if all completed, 1 if one failed or was cancelled, 5 on a timeout.\n"
    "\n"
    "  --timeout MS   wait no longer than this (default: for ever)\n"
    "\n"
    "Examples:\n"
    "  penstock wait my-job --timeout 30000\n"
    "  penstock submit jobs.jsonl | xargs penstock wait\n";

enum { OPT_TIMEOUT = CLI_OPT_OWN };

int cmd_wait(struct cli_context *ctx, int argc, char **argv) {
    static const struct option own[] = {{"timeout", required_argument, NULL, OPT_TIMEOUT}, {0}};
    struct cli_wait wait = {.print = true};
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv, "", own)) != CLI_OPT_END) switch (opt) {
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
