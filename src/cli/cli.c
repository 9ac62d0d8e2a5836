/* The table of commands and the way into one. A command is a row here and a file cmd_<name>.c; what it prints to
 * standard output is data (a table, or JSON with --json), everything for the person goes to standard error. */
#include "penstock/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_internal.h"
#include "penstock/nearest.h"

#define COMMAND(name, summary)                                                                                         \
    { #name, summary, cmd_##name, cmd_##name##_help }

static const struct cli_command commands[] = {
    COMMAND(dev, "Run everything here for trying things out: Kafka mock, Redis, control, workers"),
    COMMAND(serve, "Run the control process, with a Kafka and a Redis of your own"),
    COMMAND(worker, "Run one worker process"),
    COMMAND(submit, "Send jobs to Kafka, and wait for them if asked"),
    COMMAND(get, "Show a job's record, spec, result or error"),
    COMMAND(list, "List jobs, newest first"),
    COMMAND(wait, "Wait until jobs have ended"),
    COMMAND(cancel, "Ask for jobs to be cancelled"),
    COMMAND(pause, "Start no more jobs of a model, or of any"),
    COMMAND(resume, "End a pause or a drain"),
    COMMAND(drain, "Work off what is queued of a model, or everything, and take nothing new"),
    COMMAND(events, "Print the events of all jobs or of one"),
    COMMAND(verify, "Prove that every record is what the event log says"),
    COMMAND(queues, "Show what waits and runs of each model, and what holds it back"),
    COMMAND(workers, "List the workers, and what they hold"),
    COMMAND(models, "List the models that workers have ready"),
    {"check-model", "Tell whether a model can be run, and whether it gives what it should", cmd_check_model,
     cmd_check_model_help},
    COMMAND(config, "Print or check the configuration"),
    COMMAND(demo, "Run the sample images of the digits model and print what was recognised"),
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const char common_help[] =
    "\nCommon options:\n"
    "  -c, --config FILE            configuration file (default: $PENSTOCK_CONFIG, a running\n"
    "                               `penstock dev`, /etc/penstock/penstock.ini)\n"
    "  -s, --set SECTION.KEY=VALUE  set one setting; may be given again\n"
    "      --json                   JSON on standard output, error envelopes on standard error\n"
    "  -q, --quiet                  no progress and no notes\n"
    "  -h, --help                   this text\n"
    "\nExit codes:\n"
    "  0 done   1 the job, or what was asked for, failed   2 usage or configuration\n"
    "  3 Redis or Kafka is unreachable   4 not found   5 timed out\n";

static void print_overview(FILE *out) {
    fputs("penstock feeds inference jobs from Kafka to workers and keeps every job's record in Redis.\n\n"
          "Usage: penstock COMMAND [OPTIONS]\n\nCommands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fputs("\n  penstock COMMAND --help      explains a command\n"
          "  penstock --version           prints the version\n",
          out);
}

static const struct cli_command *find(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static int unknown_command(struct cli_context *ctx, const char *name) {
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++) names[i] = commands[i].name;
    const char *meant = nearest_word(name, names, COMMAND_COUNT);
    if (meant) return cli__usage(ctx, "unknown command '%s'; did you mean '%s'?", name, meant);
    return cli__usage(ctx, "unknown command '%s'", name);
}

void cli__print_help(const struct cli_context *ctx) {
    fputs(ctx->command->help, stdout);
    fputs(common_help, stdout);
}

/* A full disk behind standard output must not look like success. */
static int close_output(struct cli_context *ctx, int code) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    struct err err;
    err_set_errno(&err, ERR_SYSTEM, "standard output");
    cli__print_err(ctx, &err);
    return code == CLI_OK ? CLI_FAILED : code;
}

static int dispatch(struct cli_context *ctx, int argc, char **argv) {
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0 || strcmp(name, "version") == 0) {
        printf("penstock %s\n", PENSTOCK_VERSION);
        return CLI_OK;
    }
    bool help = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
    if (help && argc == 2) {
        print_overview(stdout);
        return CLI_OK;
    }
    if (help) name = argv[2];
    ctx->command = find(name);
    if (!ctx->command) return unknown_command(ctx, name);
    if (help) {
        cli__print_help(ctx);
        return CLI_OK;
    }
    return ctx->command->run(ctx, argc - 1, argv + 1);
}

int cli_main(int argc, char **argv) {
    struct cli_context ctx = {.terminal = isatty(STDERR_FILENO) == 1};
    const char *no_color = getenv("NO_COLOR");
    ctx.color = isatty(STDOUT_FILENO) == 1 && !(no_color && *no_color);
    int code = close_output(&ctx, dispatch(&ctx, argc, argv));
    config_free(ctx.cfg);
    free(ctx.config_path);
    free(ctx.overrides);
    free(ctx.props);
    return code;
}
