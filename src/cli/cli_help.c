/* What the table of commands says, for people: --help, and the manual pages. Both are made of the same rows, and the
 * manual pages while building, so neither can tell of an option that is not there.
 *
 * A command's text is paragraphs in which `code` stands between grave accents, and lines that begin with two spaces,
 * which keep their form. The terminal gets it wrapped; man(7) gets paragraphs, and for the lines an example block. */
#include <ctype.h>
#include <string.h>

#include "cli_internal.h"

#define COLUMNS     80
#define OPTION_FROM 2
#define DOC_FROM    26

static const struct {
    int code;
    const char *doc;
} exits[] = {{CLI_OK, "done"},
             {CLI_FAILED, "the job, or what was asked for, failed"},
             {CLI_USAGE, "usage or configuration"},
             {CLI_UNREACHABLE, "Redis or Kafka is unreachable"},
             {CLI_NOT_FOUND, "not found"},
             {CLI_TIMED_OUT, "timed out"}};
#define EXIT_COUNT (sizeof exits / sizeof exits[0])

static const char about_penstock[] =
    "penstock feeds inference jobs from Kafka to workers and keeps every job's record in Redis.";

/* The next line of `text` without its end; false: there is none. */
static bool next_line(const char **text, const char **ret_line, size_t *ret_len) {
    if (!**text) return false;
    *ret_line = *text;
    *ret_len = strcspn(*text, "\n");
    *text += *ret_len + ((*text)[*ret_len] == '\n');
    return true;
}

static bool is_verbatim(const char *line, size_t len) { return len >= 2 && line[0] == ' ' && line[1] == ' '; }

/* --- on a terminal -------------------------------------------------------------------------------------------------
 */

/* Words of `text`, wrapped; the first line begins at column `at`, the others at `indent`. */
static void print_wrapped(FILE *out, const char *text, size_t len, int at, int indent) {
    for (const char *end = text + len; text < end;) {
        size_t word = 0;
        while (text + word < end && text[word] != ' ') word++;
        if (at > indent && at + 1 + (int)word > COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, word, out);
        at += (int)word;
        text += word;
        while (text < end && *text == ' ') text++;
    }
    fputc('\n', out);
}

static void print_about(FILE *out, const char *text) {
    const char *line;
    size_t len;
    while (next_line(&text, &line, &len)) {
        if (is_verbatim(line, len))
            fprintf(out, "%.*s\n", (int)len, line);
        else
            print_wrapped(out, line, len, 0, 0);
    }
}

static void print_options(FILE *out, const struct cli_option *option) {
    for (; option && option->name; option++) {
        if (!option->doc) continue;
        char letter[8] = "    ";
        if (option->val < 128) snprintf(letter, sizeof letter, "-%c, ", option->val);
        int at = fprintf(out, "%*s%s--%s%s%s", OPTION_FROM, "", letter, option->name, option->value ? " " : "",
                         option->value ? option->value : "");
        if (at + 2 > DOC_FROM)
            fprintf(out, "\n%*s", DOC_FROM, "");
        else
            fprintf(out, "%*s", DOC_FROM - at, "");
        print_wrapped(out, option->doc, strlen(option->doc), DOC_FROM, DOC_FROM);
    }
}

static void print_exits(FILE *out) {
    fputs("\nExit codes:\n", out);
    for (size_t i = 0; i < EXIT_COUNT; i++) fprintf(out, "  %d  %s\n", exits[i].code, exits[i].doc);
}

void cli__help_command(const struct cli_command *command, FILE *out) {
    const char *examples = command->examples, *line;
    size_t len;
    fprintf(out, "Usage: penstock %s %s\n\n", command->name, command->usage);
    print_about(out, command->about);
    if (command->options) fputs("\nOptions:\n", out);
    print_options(out, command->options);
    fputs("\nCommon options:\n", out);
    print_options(out, cli__common_options);
    print_exits(out);
    fputs("\nExamples:\n", out);
    while (next_line(&examples, &line, &len)) fprintf(out, "  %.*s\n", (int)len, line);
}

void cli__help_overview(FILE *out) {
    fprintf(out, "%s\n\nUsage: penstock COMMAND [OPTIONS]\n\nCommands:\n", about_penstock);
    for (const struct cli_command *const *command = cli__commands; *command; command++)
        fprintf(out, "  %-11s %s\n", (*command)->name, (*command)->summary);
    fputs("\n  penstock COMMAND --help      explains a command\n"
          "  penstock --version           prints the version\n",
          out);
}

/* --- man(7) --------------------------------------------------------------------------------------------------------
 */

/* Text as it is: no request at the start of a line, no escape, and a '-' that can be copied. `code`: between grave
 * accents is bold. */
static void roff_text(FILE *out, const char *text, size_t len) {
    bool bold = false;
    if (len && (*text == '.' || *text == '\'')) fputs("\\&", out);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '`') {
            bold = !bold;
            fputs(bold ? "\\fB" : "\\fR", out);
        } else if (text[i] == '-') {
            fputs("\\-", out);
        } else if (text[i] == '\\') {
            fputs("\\e", out);
        } else if (text[i] == '\'') {
            fputs("\\(aq", out);
        } else {
            fputc(text[i], out);
        }
    }
    fputc('\n', out);
}

static void roff_string(FILE *out, const char *text) { roff_text(out, text, strlen(text)); }

static void roff_block(FILE *out, bool *open, bool want) {
    if (*open != want) fputs(want ? ".PP\n.EX\n" : ".EE\n", out);
    *open = want;
}

static void roff_about(FILE *out, const char *text) {
    const char *line;
    size_t len;
    bool open = false, paragraph = false;
    while (next_line(&text, &line, &len)) {
        bool verbatim = is_verbatim(line, len);
        roff_block(out, &open, verbatim);
        if (len == 0) {
            paragraph = true;
            continue;
        }
        if (paragraph && !verbatim) fputs(".PP\n", out);
        paragraph = false;
        roff_text(out, line, len);
    }
    roff_block(out, &open, false);
}

static void roff_options(FILE *out, const struct cli_option *option) {
    for (; option && option->name; option++) {
        if (!option->doc) continue;
        fputs(".TP\n", out);
        if (option->val < 128) fprintf(out, "\\fB\\-%c\\fR, ", option->val);
        fputs("\\fB\\-\\-", out);
        for (const char *c = option->name; *c; c++) fprintf(out, *c == '-' ? "\\-" : "%c", *c);
        if (option->value)
            fprintf(out, "\\fR \\fI%s\\fR\n", option->value);
        else
            fputs("\\fR\n", out);
        roff_string(out, option->doc);
    }
}

static void roff_head(FILE *out, const char *name, const char *summary) {
    fputs(".\\\" Made by `penstock help --man`; do not edit.\n", out);
    fprintf(out, ".TH \"%s\" \"1\" \"\" \"penstock %s\" \"Penstock\"\n.SH NAME\n", name, PENSTOCK_VERSION);
    for (const char *c = name; *c; c++) fprintf(out, *c == '-' ? "\\-" : "%c", *c);
    fprintf(out, " \\- %c", tolower((unsigned char)*summary));
    roff_string(out, summary + 1);
}

static void roff_exits(FILE *out) {
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < EXIT_COUNT; i++) {
        fprintf(out, ".TP\n\\fB%d\\fR\n", exits[i].code);
        roff_string(out, exits[i].doc);
    }
}

void cli__man_command(const struct cli_command *command, FILE *out) {
    char name[64];
    const char *examples = command->examples, *line;
    size_t len;
    snprintf(name, sizeof name, "penstock-%s", command->name);
    roff_head(out, name, command->summary);
    fprintf(out, ".SH SYNOPSIS\n\\fBpenstock %s\\fR\n", command->name);
    roff_string(out, command->usage);
    fputs(".SH DESCRIPTION\n", out);
    roff_about(out, command->about);
    if (command->options) fputs(".SH OPTIONS\n", out);
    roff_options(out, command->options);
    fputs(".SH COMMON OPTIONS\n", out);
    roff_options(out, cli__common_options);
    roff_exits(out);
    fputs(".SH EXAMPLES\n.EX\n", out);
    while (next_line(&examples, &line, &len)) roff_text(out, line, len);
    fputs(".EE\n.SH SEE ALSO\n.BR penstock (1),\n.BR penstock.conf (5)\n", out);
}

void cli__man_overview(FILE *out) {
    roff_head(out, "penstock", "feed inference jobs from Kafka to workers");
    fputs(".SH SYNOPSIS\n\\fBpenstock\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n", out);
    roff_string(out, about_penstock);
    fputs(".SH COMMANDS\n", out);
    for (const struct cli_command *const *command = cli__commands; *command; command++) {
        fprintf(out, ".TP\n.BR penstock\\-");
        for (const char *c = (*command)->name; *c; c++) fprintf(out, *c == '-' ? "\\-" : "%c", *c);
        fputs(" (1)\n", out);
        roff_string(out, (*command)->summary);
    }
    fputs(".SH COMMON OPTIONS\n", out);
    roff_options(out, cli__common_options);
    roff_exits(out);
    fputs(".SH ENVIRONMENT\n.TP\n.B PENSTOCK_CONFIG\nThe configuration file, where no \\fB\\-c\\fR names one.\n"
          ".TP\n.BI PENSTOCK_ SECTION _ KEY\nOne setting, as in\n.BR penstock.conf (5).\n"
          ".TP\n.B NO_COLOR\nNo colour.\n.SH SEE ALSO\n.BR penstock.conf (5)\n",
          out);
}
