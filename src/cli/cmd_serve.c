/* penstock serve: the control process. */
#include "cli_control.h"

enum { OPT_NO_WORKERS = CLI_OPT_OWN, OPT_ACCEPT_LOST, OPT_INSECURE };

static const struct cli_option options[] = {
    {"no-workers", OPT_NO_WORKERS, NULL, NULL, "start no workers here; run `penstock worker` elsewhere"},
    {"insecure", OPT_INSECURE, NULL, NULL, "answer other machines over HTTP without asking for a token"},
    {"accept-lost-commands", OPT_ACCEPT_LOST, NULL, NULL,
     "go on where Kafka's retention deleted commands that were never read"},
    {0},
};

static int serve_main(struct cli_context *ctx, int argc, char **argv) {
    struct cli_control *control;
    struct err err;
    bool workers = true;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        if (opt == OPT_NO_WORKERS) workers = false;
        if (opt == OPT_INSECURE) cli__override(ctx, "http.insecure=true");
        if (opt == OPT_ACCEPT_LOST) cli__override(ctx, "bus.accept_lost_commands=true");
    }
    if (optind < argc) return cli__usage(ctx, "serve takes no arguments, but got '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    cli__log_warnings(ctx);
    cli__handle_signals(true);
    int count = workers ? (int)config_int(ctx->cfg, "worker.count") : 0;
    if (cli__control_start(ctx, count, &control, &err) != 0 || cli__control_run(control, NULL, NULL, &err) != 0)
        return cli__fail(ctx, &err);
    return CLI_OK;
}

const struct cli_command cmd_serve = {
    .name = "serve",
    .summary = "Run the control process, with a Kafka and a Redis of your own",
    .usage = "[OPTIONS]",
    .about = "Runs the control process: takes commands from Kafka into Redis, lets deadlines happen, publishes "
             "every transition to the events topic, and starts and watches worker.count worker processes. More "
             "than one may run: they share the command partitions, and one of them publishes.\n"
             "\n"
             "SIGTERM or Ctrl-C stops it gracefully, a second one at once; kill -9 loses nothing.",
    .options = options,
    .examples = "penstock serve -c /etc/penstock/penstock.ini\n"
                "penstock serve -s kafka.bootstrap.servers=127.0.0.1:9092 -s store.url=redis://127.0.0.1:6379",
    .run = serve_main,
};
