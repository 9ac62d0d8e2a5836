/* penstock config: the effective settings, their check, and the reference page. */
#include "cli_jobs.h"

const char cmd_config_help[] = "Usage: penstock config [--check | --markdown] [OPTIONS]\n"
                               "\n"
                               "Prints the effective settings as INI, each with its source; secrets are masked.\n"
                               "\n"
                               "  --check      only check them, the Kafka properties included\n"
                               "  --markdown   print docs/configuration.md\n"
                               "\n"
                               "Examples:\n"
                               "  penstock config -c /etc/penstock/penstock.ini --check\n"
                               "  penstock config --json -s worker.count=4\n";

enum { OPT_CHECK = CLI_OPT_OWN, OPT_MARKDOWN };

static int check(struct cli_context *ctx) {
    struct bus_kafka_config kafka;
    struct err err;
    cli__kafka_config(ctx, &kafka);
    if (bus_kafka_check_props(&kafka, &err) != 0) return cli__fail(ctx, &err);
    if (!ctx->quiet)
        fprintf(stderr, "the configuration is valid (%s)\n", ctx->config_path ? ctx->config_path : "no file");
    return CLI_OK;
}

int cmd_config(struct cli_context *ctx, int argc, char **argv) {
    static const struct option own[] = {
        {"check", no_argument, NULL, OPT_CHECK}, {"markdown", no_argument, NULL, OPT_MARKDOWN}, {0}};
    bool do_check = false, do_markdown = false;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv, "", own)) != CLI_OPT_END) switch (opt) {
        case OPT_CHECK:
            do_check = true;
            break;
        case OPT_MARKDOWN:
            do_markdown = true;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (do_markdown) {
        config_print_markdown(stdout);
        return CLI_OK;
    }
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    if (do_check) return check(ctx);
    if (ctx->json)
        config_print_json(ctx->cfg, stdout);
    else
        config_print(ctx->cfg, stdout);
    return CLI_OK;
}
