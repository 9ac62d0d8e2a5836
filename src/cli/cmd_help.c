/* penstock help: the same texts as --help; and the manual pages, which the build asks for. */
#include <string.h>

#include "cli_internal.h"

enum { OPT_MAN = CLI_OPT_OWN };

static const struct cli_option options[] = {
    {"man", OPT_MAN, NULL, NULL, "as a manual page, in the language of man(7)"},
    {0},
};

static int help_main(struct cli_context *ctx, int argc, char **argv) {
    bool man = false;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        man = true;
    }
    if (argc - optind > 1) return cli__usage(ctx, "one command, but not '%s' too", argv[optind + 1]);
    const struct cli_command *command = optind < argc ? cli__command_find(argv[optind]) : NULL;
    if (optind < argc && !command) return cli__unknown_command(ctx, argv[optind]);
    if (command && man)
        cli__man_command(command, stdout);
    else if (command)
        cli__help_command(command, stdout);
    else if (man)
        cli__man_overview(stdout);
    else
        cli__help_overview(stdout);
    return CLI_OK;
}

const struct cli_command cmd_help = {
    .name = "help",
    .summary = "Explain a command",
    .usage = "[COMMAND] [OPTIONS]",
    .about = "Lists the commands, or explains one: the same as `penstock COMMAND --help`.",
    .options = options,
    .examples = "penstock help submit\n"
                "penstock help --man submit | man -l -",
    .arguments = CLI_COMMANDS,
    .run = help_main,
};
