/* Options. getopt_long is told the command's own options and the common ones in one array, so that they may stand in
 * any order; its messages are replaced by ours, which name the option and know a near one. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "penstock/log.h"
#include "penstock/nearest.h"

#define OPTIONS_MAX 48
enum { OPT_JSON = CLI_OPT_OWN - 1, OPT_COLOR = CLI_OPT_OWN - 2 };

const struct cli_option cli__common_options[] = {
    {"config", 'c', "FILE", CLI_FILES,
     "configuration file (default: $PENSTOCK_CONFIG, a running `penstock dev`, /etc/penstock/penstock.ini)"},
    {"set", 's', "SECTION.KEY=VALUE", CLI_SETTINGS, "set one setting; may be given again"},
    {"json", OPT_JSON, NULL, NULL, "JSON on standard output, error envelopes on standard error"},
    {"color", OPT_COLOR, "WHEN", "auto|always|never",
     "colour: auto (the default: on a terminal, unless NO_COLOR is set), always or never"},
    {"quiet", 'q', NULL, NULL, "no progress and no notes"},
    {"help", 'h', NULL, NULL, "this text"},
    {0},
};

struct getopt_table {
    struct option all[OPTIONS_MAX]; /* the command's, the common ones, the terminator */
    size_t count;
    char letters[2 * OPTIONS_MAX + 2];
};

static void add_options(struct getopt_table *table, const struct cli_option *options) {
    char *end = table->letters + strlen(table->letters);
    for (; options && options->name; options++) {
        BUG_ON(table->count + 1 >= OPTIONS_MAX);
        int has_value = options->value ? required_argument : no_argument;
        table->all[table->count++] = (struct option){options->name, has_value, NULL, options->val};
        if (options->val >= OPT_COLOR) continue;
        *end++ = (char)options->val;
        if (options->value) *end++ = ':';
    }
    *end = '\0';
}

static int leave(struct cli_context *ctx, int code) {
    ctx->exit_code = code;
    return CLI_OPT_EXIT;
}

/* "--wat=3" -> "--wat" */
static int refuse_option(struct cli_context *ctx, char **argv, const struct getopt_table *table) {
    const char *given = argv[optind - 1];
    if (strncmp(given, "--", 2) != 0) return leave(ctx, cli__usage(ctx, "unknown option '-%c'", optopt));
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(given + 2, "="), given + 2);
    const char *names[OPTIONS_MAX];
    for (size_t i = 0; i < table->count; i++) names[i] = table->all[i].name;
    const char *meant = nearest_word(word, names, table->count);
    if (optopt != 0) return leave(ctx, cli__usage(ctx, "option '--%s' takes no value", word));
    if (meant) return leave(ctx, cli__usage(ctx, "unknown option '--%s'; did you mean '--%s'?", word, meant));
    return leave(ctx, cli__usage(ctx, "unknown option '--%s'", word));
}

void cli__override(struct cli_context *ctx, const char *override) {
    ctx->overrides = mem_realloc(ctx->overrides, (ctx->override_count + 1) * sizeof *ctx->overrides);
    ctx->overrides[ctx->override_count++] = override;
}

static int set_color(struct cli_context *ctx, const char *when) {
    if (strcmp(when, "auto") == 0) return 0;
    ctx->color = strcmp(when, "always") == 0;
    if (ctx->color || strcmp(when, "never") == 0) return 0;
    ctx->exit_code = cli__usage(ctx, "--color '%s' is none of auto, always, never", when);
    return -1;
}

/* True if it was a common one; -1 with the usage error printed. */
static int take_common(struct cli_context *ctx, int opt) {
    switch (opt) {
    case 'c':
        ctx->config_flag = optarg;
        return true;
    case 's':
        cli__override(ctx, optarg);
        return true;
    case OPT_JSON:
        ctx->json = true;
        return true;
    case OPT_COLOR:
        return set_color(ctx, optarg) == 0 ? true : -1;
    case 'q':
        ctx->quiet = true;
        return true;
    default:
        return false;
    }
}

int cli__getopt(struct cli_context *ctx, int argc, char **argv) {
    struct getopt_table table = {.letters = ":"};
    add_options(&table, ctx->command->options);
    add_options(&table, cli__common_options);
    opterr = 0;
    for (;;) {
        int opt = getopt_long(argc, argv, table.letters, table.all, NULL);
        if (opt == -1) return CLI_OPT_END;
        if (opt == ':') return leave(ctx, cli__usage(ctx, "option '%s' needs a value", argv[optind - 1]));
        if (opt == '?') return refuse_option(ctx, argv, &table);
        if (opt == 'h') {
            cli__help_command(ctx->command, stdout);
            return leave(ctx, CLI_OK);
        }
        int common = take_common(ctx, opt);
        if (common < 0) return CLI_OPT_EXIT;
        if (!common) return opt;
    }
}

/* The names that config allows, so neither search can miss. */
static enum log_level level_of(const char *name) {
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    int level = LOG_LEVEL_DEBUG;
    while (strcmp(names[level], name) != 0) level++;
    return (enum log_level)level;
}

int cli__begin(struct cli_context *ctx) {
    struct err err;
    bool is_dev = false;
    ctx->config_path = cli__find_config(ctx->config_flag, &is_dev);
    if (config_load(ctx->config_path, ctx->overrides, ctx->override_count, &ctx->cfg, &err) != 0) {
        ctx->exit_code = cli__fail(ctx, &err);
        return -1;
    }
    if (is_dev && ctx->terminal && !ctx->quiet)
        fprintf(stderr, "using the running dev instance (%s)\n", ctx->config_path);
    bool json = strcmp(config_string(ctx->cfg, "log.format"), "json") == 0;
    log_setup(level_of(config_string(ctx->cfg, "log.level")), json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
    return 0;
}

void cli__log_warnings(const struct cli_context *ctx) {
    size_t count;
    const char *const *warnings = config_warnings(ctx->cfg, &count);
    for (size_t i = 0; i < count; i++) log_warn("config", "%s", warnings[i]);
}

int cli__parse_int(struct cli_context *ctx, const char *name, const char *text, int64_t min, int64_t max,
                   int64_t *ret) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE || number < min || number > max) {
        ctx->exit_code =
            cli__usage(ctx, "%s '%s' is not a whole number from %" PRId64 " to %" PRId64, name, text, min, max);
        return -1;
    }
    *ret = number;
    return 0;
}
