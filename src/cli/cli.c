/* The table of commands and the way into one. A command is a row here and a file cmd_<name>.c; what it prints to
 * standard output is data (a table, or JSON with --json), everything for the person goes to standard error. */
#include "penstock/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_internal.h"
#include "penstock/nearest.h"

const struct cli_command *const cli__commands[] = {
    &cmd_dev,    &cmd_serve,       &cmd_worker, &cmd_submit, &cmd_get,    &cmd_list,   &cmd_wait,       &cmd_cancel,
    &cmd_pause,  &cmd_resume,      &cmd_drain,  &cmd_events, &cmd_verify, &cmd_queues, &cmd_workers,    &cmd_top,
    &cmd_models, &cmd_check_model, &cmd_token,  &cmd_config, &cmd_bench,  &cmd_demo,   &cmd_completion, &cmd_help,
    NULL,
};
#define COMMAND_COUNT (sizeof cli__commands / sizeof cli__commands[0] - 1)

const struct cli_command *cli__command_find(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(cli__commands[i]->name, name) == 0) return cli__commands[i];
    return NULL;
}

int cli__unknown_command(struct cli_context *ctx, const char *name) {
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++) names[i] = cli__commands[i]->name;
    const char *meant = nearest_word(name, names, COMMAND_COUNT);
    if (meant) return cli__usage(ctx, "unknown command '%s'; did you mean '%s'?", name, meant);
    return cli__usage(ctx, "unknown command '%s'", name);
}

void cli__print_version(const struct cli_context *ctx) {
    if (ctx->json)
        printf("{\"version\":\"%s\"}\n", PENSTOCK_VERSION);
    else
        printf("penstock %s\n", PENSTOCK_VERSION);
}

/* A full disk behind standard output must not look like success. */
static int close_output(struct cli_context *ctx, int code) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    struct err err;
    err_set_errno(&err, ERR_SYSTEM, "standard output");
    cli__print_err(ctx, &err);
    return code == CLI_OK ? CLI_FAILED : code;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c) {
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

/* What stands in place of a command: a question about the program itself. Returns false if it is none. */
static bool answer_about_itself(struct cli_context *ctx, int argc, char **argv) {
    bool version = false, overview = false;
    for (int i = 1; i < argc; i++) {
        if (is_one_of(argv[i], "--version", "-V", "version"))
            version = true;
        else if (is_one_of(argv[i], "--help", "-h", "--help"))
            overview = true;
        else if (strcmp(argv[i], "--json") != 0)
            return false;
    }
    if (version) cli__print_version(ctx);
    if (overview && !version) cli__help_overview(stdout);
    return version || overview;
}

static int dispatch(struct cli_context *ctx, int argc, char **argv) {
    if (answer_about_itself(ctx, argc, argv)) return CLI_OK;
    if (argc < 2) {
        cli__help_overview(stderr);
        return CLI_USAGE;
    }
    if (argv[1][0] == '-')
        return cli__usage(ctx, "the command comes first, then its options, but '%s' is none", argv[1]);
    ctx->command = cli__command_find(argv[1]);
    if (!ctx->command) return cli__unknown_command(ctx, argv[1]);
    return ctx->command->run(ctx, argc - 1, argv + 1);
}

bool cli__is_terminal(int fd) {
    const char *term = getenv("TERM");
    return isatty(fd) == 1 && !(term && strcmp(term, "dumb") == 0);
}

/* NO_COLOR: https://no-color.org. */
static bool may_color(void) {
    const char *no_color = getenv("NO_COLOR");
    return cli__is_terminal(STDOUT_FILENO) && !(no_color && *no_color);
}

/* Known before the options are read: they may be wrong, and --json may stand behind what is wrong. */
static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

int cli_main(int argc, char **argv) {
    struct cli_context ctx = {
        .terminal = cli__is_terminal(STDERR_FILENO), .color = may_color(), .json = wants_json(argc, argv)};
    int code = close_output(&ctx, dispatch(&ctx, argc, argv));
    config_free(ctx.cfg);
    free(ctx.config_path);
    free(ctx.overrides);
    free(ctx.props);
    return code;
}
