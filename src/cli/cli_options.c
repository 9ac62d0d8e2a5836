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
#define OPT_JSON    (CLI_OPT_OWN - 1)

static const struct option common[] = {
    {"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 's'},
    {"json", no_argument, NULL, OPT_JSON},    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
};
#define COMMON_COUNT (sizeof common / sizeof common[0])

/* The command's options, then the common ones, then the terminator. Returns how many. */
static size_t merge(const struct option *own, struct option ret[static OPTIONS_MAX]) {
    size_t count = 0;
    for (; own && own->name; own++) ret[count++] = *own;
    BUG_ON(count + COMMON_COUNT + 1 > OPTIONS_MAX);
    memcpy(ret + count, common, sizeof common);
    count += COMMON_COUNT;
    ret[count] = (struct option){0};
    return count;
}

static int leave(struct cli_context *ctx, int code) {
    ctx->exit_code = code;
    return CLI_OPT_EXIT;
}

/* "--wat=3" -> "--wat" */
static int refuse_option(struct cli_context *ctx, char **argv, const struct option *all, size_t count) {
    const char *given = argv[optind - 1];
    if (strncmp(given, "--", 2) != 0) return leave(ctx, cli__usage(ctx, "unknown option '-%c'", optopt));
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(given + 2, "="), given + 2);
    const char *names[OPTIONS_MAX];
    for (size_t i = 0; i < count; i++) names[i] = all[i].name;
    const char *meant = nearest_word(word, names, count);
    if (optopt != 0) return leave(ctx, cli__usage(ctx, "option '--%s' takes no value", word));
    if (meant) return leave(ctx, cli__usage(ctx, "unknown option '--%s'; did you mean '--%s'?", word, meant));
    return leave(ctx, cli__usage(ctx, "unknown option '--%s'", word));
}

void cli__override(struct cli_context *ctx, const char *override) {
    ctx->overrides = mem_realloc(ctx->overrides, (ctx->override_count + 1) * sizeof *ctx->overrides);
    ctx->overrides[ctx->override_count++] = override;
}

int cli__getopt(struct cli_context *ctx, int argc, char **argv, const char *own_short, const struct option *own) {
    struct option all[OPTIONS_MAX];
    char letters[64];
    size_t count = merge(own, all);
    int n = snprintf(letters, sizeof letters, ":c:s:qh%s", own_short);
    BUG_ON(n < 0 || (size_t)n >= sizeof letters);
    opterr = 0;
    for (;;) {
        int opt = getopt_long(argc, argv, letters, all, NULL);
        switch (opt) {
        case -1:
            return CLI_OPT_END;
        case 'c':
            ctx->config_flag = optarg;
            break;
        case 's':
            cli__override(ctx, optarg);
            break;
        case OPT_JSON:
            ctx->json = true;
            break;
        case 'q':
            ctx->quiet = true;
            break;
        case 'h':
            cli__print_help(ctx);
            return leave(ctx, CLI_OK);
        case ':':
            return leave(ctx, cli__usage(ctx, "option '%s' needs a value", argv[optind - 1]));
        case '?':
            return refuse_option(ctx, argv, all, count);
        default:
            return opt;
        }
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
