/* Between the files of cli: the context that a command gets, and what commands share. A command is
 *
 *     static int x_main(struct cli_context *ctx, int argc, char **argv) {   // argv[0] is "x"
 *         int opt;
 *         while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) ...   // CLI_OPT_EXIT: return ctx->exit_code
 *         if (cli__begin(ctx) != 0) return ctx->exit_code;                  // ctx->cfg is loaded
 *         ...
 *         return cli__fail(ctx, &err);                                      // prints, and gives the exit code
 *     }
 *     const struct cli_command cmd_x = {.name = "x", .options = options, .run = x_main, ...};
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

/* What a value or an argument is, for completion: words with '|' between them, or one of these. NULL: anything. */
#define CLI_FILES    "@files"
#define CLI_FOLDERS  "@folders"
#define CLI_MODELS   "@models"   /* of the repository, or those that workers have */
#define CLI_JOBS     "@jobs"     /* ids of the newest jobs */
#define CLI_SETTINGS "@settings" /* section.key=value */
#define CLI_COMMANDS "@commands"
#define CLI_STATES   "queued|running|completed|failed|cancelled"

/* The one description of an option: getopt, --help, the manual pages and the shells' completion are made of it. */
struct cli_option {
    const char *name;     /* "follow"; NULL ends the list */
    int val;              /* what cli__getopt returns; a letter is the short option, too */
    const char *value;    /* what --help calls its value; NULL: it takes none */
    const char *complete; /* what may stand there */
    const char *doc;      /* NULL: not shown to anybody */
};

struct cli_command {
    const char *name, *summary;
    const char *usage;                /* what stands behind the name: "[FILE...] [OPTIONS]" */
    const char *about;                /* paragraphs with an empty line between; lines that begin with two spaces stay */
    const struct cli_option *options; /* NULL: only the common ones */
    const char *examples;             /* one a line */
    const char *arguments;            /* what they are, for completion */
    int (*run)(struct cli_context *ctx, int argc, char **argv);
};

struct cli_context {
    const struct cli_command *command;
    struct config *cfg;      /* NULL before cli__begin */
    bool json, quiet;        /* --json, -q */
    bool color;              /* standard output is a terminal that may be coloured, or --color says so */
    bool terminal;           /* standard error is a terminal: progress bars */
    const char *config_flag; /* -c, or NULL */
    char *config_path;       /* the file that cfg came from, or NULL: none */
    const char **overrides;  /* -s, in order */
    size_t override_count;
    struct bus_property *props; /* of cli__kafka_config */
    int exit_code;
};

/* --- cli.c: the table of commands --------------------------------------------------------------------------------- */
extern const struct cli_command *const cli__commands[]; /* ended by NULL */
const struct cli_command *cli__command_find(const char *name);
int cli__unknown_command(struct cli_context *ctx, const char *name); /* CLI_USAGE, printed; knows a near one */
bool cli__is_terminal(int fd);                                       /* one that understands escape sequences */
void cli__print_version(const struct cli_context *ctx);

/* --- cli_help.c: what the table says, for people ------------------------------------------------------------------ */
void cli__help_overview(FILE *out);
void cli__help_command(const struct cli_command *command, FILE *out);
void cli__man_overview(FILE *out); /* penstock(1), as man(7) */
void cli__man_command(const struct cli_command *command, FILE *out);

/* --- cli_options.c: options and configuration --------------------------------------------------------------------- */
enum { CLI_OPT_END = -1, CLI_OPT_EXIT = -2, CLI_OPT_OWN = 256 /* val of a command's first long-only option */ };
extern const struct cli_option cli__common_options[];

/* getopt_long over ctx->command's options and the common ones, which it handles itself: returns the command's own,
 * CLI_OPT_END (arguments begin at optind), or CLI_OPT_EXIT when --help was answered or the usage was wrong
 * (ctx->exit_code tells). */
int cli__getopt(struct cli_context *ctx, int argc, char **argv);

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
/* max_width: columns on the screen, 0: no bound. */
void cli__table_write(const struct cli_table *table, const struct cli_context *ctx, bool with_heads, size_t max_width,
                      struct buf *out);
void cli__table_print(const struct cli_table *table, const struct cli_context *ctx, bool with_heads);
void cli__table_done(struct cli_table *table);

/* --- cli_paths.c: where a running `penstock dev` keeps its files, and which configuration file holds -------------- */
/* <runtime dir>/penstock-dev. `create`: makes the runtime directory's fallback, not penstock-dev itself. */
int cli__dev_dir(bool create, struct buf *ret, struct err *err) MUSTCHECK;
void cli__dev_dir_leave(void); /* removes the fallback again, if it is empty */
/* Appends the configuration file of this user's running dev instance; false if none runs. */
bool cli__dev_config(struct buf *ret);
/* The file to read (caller frees), NULL for none. */
char *cli__find_config(const char *flag, bool *ret_is_dev);

/* --- commands ----------------------------------------------------------------------------------------------------- */
extern const struct cli_command cmd_dev, cmd_serve, cmd_worker, cmd_submit, cmd_get, cmd_list, cmd_wait, cmd_cancel,
    cmd_pause, cmd_resume, cmd_drain, cmd_events, cmd_verify, cmd_queues, cmd_workers, cmd_top, cmd_models,
    cmd_check_model, cmd_token, cmd_config, cmd_bench, cmd_demo, cmd_completion, cmd_help;

#endif
