/* Between the files of cli: the context that a command gets, and what commands share. A command is
 *
 *     int cmd_x(struct cli_context *ctx, int argc, char **argv) {   // argv[0] is "x"
 *         int opt;
 *         while ((opt = cli__getopt(ctx, argc, argv, "m:", own)) != CLI_OPT_END) ...   // CLI_OPT_EXIT: return
 * ctx->exit_code if (cli__begin(ctx) != 0) return ctx->exit_code;                             // ctx->cfg is loaded
 *         ...
 *         return cli__fail(ctx, &err);                                                 // prints, and gives the exit
 * code
 *     }
 */
#ifndef PENSTOCK_CLI_INTERNAL_H
#define PENSTOCK_CLI_INTERNAL_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "penstock/config.h"
#include "penstock/mem.h"

/* Exit codes; include/penstock/cli.h explains them. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_UNREACHABLE = 3, CLI_NOT_FOUND = 4, CLI_TIMED_OUT = 5 };

struct bus_property;
struct cli_context;
struct cli_command {
    const char *name, *summary;
    int (*run)(struct cli_context *ctx, int argc, char **argv);
    const char *help; /* usage, options, examples; cli.c adds the common options and the exit codes */
};

struct cli_context {
    const struct cli_command *command;
    struct config *cfg;      /* NULL before cli__begin */
    bool json, quiet;        /* --json, -q */
    bool color;              /* standard output is a terminal that may be coloured */
    bool terminal;           /* standard error is a terminal: progress bars */
    const char *config_flag; /* -c, or NULL */
    char *config_path;       /* the file that cfg came from, or NULL: none */
    const char **overrides;  /* -s, in order */
    size_t override_count;
    struct bus_property *props; /* of cli__kafka_config */
    int exit_code;
};

/* --- cli.c -------------------------------------------------------------------------------------------------------- */
void cli__print_help(const struct cli_context *ctx); /* of ctx->command, to standard output */

/* --- cli_options.c: options and configuration --------------------------------------------------------------------- */
enum { CLI_OPT_END = -1, CLI_OPT_EXIT = -2, CLI_OPT_OWN = 256 /* val of a command's first long-only option */ };

/* getopt_long with the common options added and handled: returns the command's own options, CLI_OPT_END (arguments
 * begin at optind), or CLI_OPT_EXIT when --help was answered or the usage was wrong (ctx->exit_code tells). */
int cli__getopt(struct cli_context *ctx, int argc, char **argv, const char *own_short, const struct option *own);

/* As -s: "section.key=value" (borrowed). Before cli__begin. */
void cli__override(struct cli_context *ctx, const char *override);

/* Loads the configuration and sets the log up. 0, or -1 with the error printed and ctx->exit_code set. */
int cli__begin(struct cli_context *ctx) MUSTCHECK;

/* What the configuration's author should look at; for server processes, whose log somebody reads. */
void cli__log_warnings(const struct cli_context *ctx);

/* Reads the whole number of option `name`; -1 with the usage error printed. */
int cli__parse_int(struct cli_context *ctx, const char *name, const char *text, int64_t min, int64_t max,
                   int64_t *ret) MUSTCHECK;

/* --- cli_output.c: errors and tables ------------------------------------------------------------------------------ */
void cli__print_err(const struct cli_context *ctx, const struct err *err); /* standard error: text, or the envelope */
int cli__exit_code(const struct err *err);
int cli__fail(const struct cli_context *ctx, const struct err *err);             /* both */
int cli__usage(struct cli_context *ctx, const char *fmt, ...) PRINTF_LIKE(2, 3); /* CLI_USAGE, printed */
void cli__format_ms(int64_t ms, char ret[static 16]);                            /* "850 ms", "3 h 2 m" */
const char *cli__state_color(const struct cli_context *ctx, const char *state);  /* "" without colour */
const char *cli__color_end(const struct cli_context *ctx);

struct cli_table {
    const char *const *heads; /* borrowed; one that begins with '>' is of a right-aligned column */
    size_t columns;
    char **cells;
    size_t count;
};
void cli__table_init(struct cli_table *table, const char *const *heads, size_t columns);
void cli__table_add(struct cli_table *table, const char *fmt, ...) PRINTF_LIKE(2, 3); /* the next cell, row by row */
void cli__table_print(const struct cli_table *table, const struct cli_context *ctx, bool with_heads);
void cli__table_done(struct cli_table *table);

/* --- cli_paths.c: where a running `penstock dev` keeps its files, and which configuration file holds -------------- */
/* <runtime dir>/penstock-dev. `create`: makes the runtime directory's fallback, not penstock-dev itself. */
int cli__dev_dir(bool create, struct buf *ret, struct err *err) MUSTCHECK;
/* Appends the configuration file of this user's running dev instance; false if none runs. */
bool cli__dev_config(struct buf *ret);
/* The file to read (caller frees), NULL for none. */
char *cli__find_config(const char *flag, bool *ret_is_dev);

/* --- commands, each with its help --------------------------------------------------------------------------------- */
#define CLI_COMMAND(name)                                                                                              \
    int cmd_##name(struct cli_context *ctx, int argc, char **argv);                                                    \
    extern const char cmd_##name##_help[]
CLI_COMMAND(submit);
CLI_COMMAND(check_model);
CLI_COMMAND(get);
CLI_COMMAND(list);
CLI_COMMAND(cancel);
CLI_COMMAND(pause);
CLI_COMMAND(resume);
CLI_COMMAND(drain);
CLI_COMMAND(wait);
CLI_COMMAND(queues);
CLI_COMMAND(workers);
CLI_COMMAND(models);
CLI_COMMAND(config);
CLI_COMMAND(demo);
CLI_COMMAND(serve);
CLI_COMMAND(worker);
CLI_COMMAND(dev);
CLI_COMMAND(events);
CLI_COMMAND(verify);

#endif
