/* penstock config: the effective settings, their check, the reference page and the manual page. */
#include "cli_control.h"
#include "penstock/nearest.h"

enum { SETTINGS_MAX = 256 };

enum { OPT_CHECK = CLI_OPT_OWN, OPT_CONNECT, OPT_MARKDOWN, OPT_MAN };

static const struct cli_option options[] = {
    {"check", OPT_CHECK, NULL, NULL,
     "only check them: Kafka properties, files and folders, the model repository; tells all that is wrong, connects to "
     "nothing"},
    {"connect", OPT_CONNECT, NULL, NULL, "with --check: ask Redis and Kafka, too"},
    {"markdown", OPT_MARKDOWN, NULL, NULL, "print docs/configuration.md"},
    {"man", OPT_MAN, NULL, NULL, "print the manual page penstock.conf(5), in the language of man(7)"},
    {0},
};

typedef void page_fn(FILE *out);

static int print_page(page_fn *print) {
    print(stdout);
    return CLI_OK;
}

/* Names as the table has them; `names` ends with NULL. */
static int print_values(struct cli_context *ctx, char *const *names) {
    for (; *names; names++) {
        if (config_print_value(ctx->cfg, *names, ctx->json, stdout)) continue;
        const char *all[SETTINGS_MAX];
        struct config_info info;
        size_t count = 0;
        while (count < SETTINGS_MAX && config_info_at(count, &info)) all[count++] = info.name;
        const char *meant = nearest_word(*names, all, count);
        if (meant) return cli__usage(ctx, "there is no setting '%s'; did you mean '%s'?", *names, meant);
        return cli__usage(ctx, "there is no setting '%s', or it is not set", *names);
    }
    return CLI_OK;
}

static int config_main(struct cli_context *ctx, int argc, char **argv) {
    bool do_check = false, do_connect = false;
    page_fn *page = NULL;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_CHECK:
            do_check = true;
            break;
        case OPT_CONNECT:
            do_connect = true;
            break;
        case OPT_MARKDOWN:
            page = config_print_markdown;
            break;
        case OPT_MAN:
            page = config_print_man;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind < argc && (do_check || page)) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (do_connect && !do_check) return cli__usage(ctx, "--connect belongs to --check");
    if (page) return print_page(page);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    if (do_check) return cli__config_check(ctx, do_connect);
    if (optind < argc) return print_values(ctx, argv + optind);
    if (ctx->json)
        config_print_json(ctx->cfg, stdout);
    else
        config_print(ctx->cfg, stdout);
    return CLI_OK;
}

const struct cli_command cmd_config = {
    .name = "config",
    .summary = "Print or check the configuration",
    .usage = "[SECTION.KEY...] [OPTIONS]",
    .about = "Prints the effective settings as INI, each with its source, or the values of those "
             "that are named, a line each; secrets are masked.",
    .options = options,
    .examples = "penstock config -c /etc/penstock/penstock.ini --check\n"
                "penstock config --json -s worker.count=4\n"
                "curl http://$(penstock config http.listen)/v2/health/ready",
    .run = config_main,
};
