/* penstock config: the effective settings, their check, and the reference page. */
#include "cli_control.h"

const char cmd_config_help[] =
    "Usage: penstock config [--check [--connect] | --markdown] [OPTIONS]\n"
    "\n"
    "Prints the effective settings as INI, each with its source; secrets are masked.\n"
    "\n"
    "  --check      only check them: Kafka properties, files and folders, the model repository;\n"
    "               tells all that is wrong, connects to nothing\n"
    "  --connect    with --check: ask Redis and Kafka, too\n"
    "  --markdown   print docs/configuration.md\n"
    "\n"
    "Examples:\n"
    "  penstock config -c /etc/penstock/penstock.ini --check\n"
    "  penstock config --json -s worker.count=4\n";

enum { OPT_CHECK = CLI_OPT_OWN, OPT_CONNECT, OPT_MARKDOWN };

int cmd_config(struct cli_context *ctx, int argc, char **argv) {
    static const struct option own[] = {{"check", no_argument, NULL, OPT_CHECK},
                                        {"connect", no_argument, NULL, OPT_CONNECT},
                                        {"markdown", no_argument, NULL, OPT_MARKDOWN},
                                        {0}};
    bool do_check = false, do_connect = false, do_markdown = false;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv, "", own)) != CLI_OPT_END) switch (opt) {
        case OPT_CHECK:
            do_check = true;
            break;
        case OPT_CONNECT:
            do_connect = true;
            break;
        case OPT_MARKDOWN:
            do_markdown = true;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (do_connect && !do_check) return cli__usage(ctx, "--connect belongs to --check");
    if (do_markdown) {
        config_print_markdown(stdout);
        return CLI_OK;
    }
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    if (do_check) return cli__config_check(ctx, do_connect);
    if (ctx->json)
        config_print_json(ctx->cfg, stdout);
    else
        config_print(ctx->cfg, stdout);
    return CLI_OK;
}
