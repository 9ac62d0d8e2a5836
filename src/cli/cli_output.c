/* What a person reads: errors with their hint, and aligned tables. Cells may quote bytes from outside (an error
 * message, a worker's name), so control characters are blanked before they reach a terminal. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "penstock/wire.h"

/* --- errors --------------------------------------------------------------------------------------------------------
 */

static void blank_controls(char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = ' ';
}

static void print_envelope(const struct err *err) {
    struct buf out = {0};
    wire_error_encode(err->code, err->msg, err_code_retryable(err->code), &out);
    fprintf(stderr, "%s\n", out.data);
    buf_done(&out);
}

void cli__print_err(const struct cli_context *ctx, const struct err *err) {
    if (ctx->json) {
        print_envelope(err);
        return;
    }
    char msg[sizeof err->msg];
    memcpy(msg, err->msg, sizeof msg);
    blank_controls(msg);
    fprintf(stderr, "penstock: %s\n", msg);
    if (err->code == ERR_USAGE && ctx->command)
        fprintf(stderr, "  hint: see `penstock %s --help`\n", ctx->command->name);
    else if (err->code == ERR_USAGE)
        fprintf(stderr, "  hint: see `penstock --help`\n");
    else
        fprintf(stderr, "  hint: %s\n", err_code_hint(err->code));
}

int cli__exit_code(const struct err *err) {
    switch (err->code) {
    case ERR_USAGE:
    case ERR_CONFIG:
        return CLI_USAGE;
    case ERR_STORE_UNAVAILABLE:
    case ERR_STORE_FENCED:
    case ERR_BUS_UNAVAILABLE:
    case ERR_BUS_DENIED:
        return CLI_UNREACHABLE;
    case ERR_NOT_FOUND:
        return CLI_NOT_FOUND;
    case ERR_TIMED_OUT_WAITING:
        return CLI_TIMED_OUT;
    default:
        return CLI_FAILED;
    }
}

int cli__fail(const struct cli_context *ctx, const struct err *err) {
    cli__print_err(ctx, err);
    return cli__exit_code(err);
}

int cli__usage(struct cli_context *ctx, const char *fmt, ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct err err;
    err_set(&err, ERR_USAGE, "%s%s%s", ctx->command ? ctx->command->name : "", ctx->command ? ": " : "", text);
    return ctx->exit_code = cli__fail(ctx, &err);
}

/* --- cells ---------------------------------------------------------------------------------------------------------
 */

void cli__format_ms(int64_t ms, char ret[static 16]) {
    int64_t sec = ms / 1000;
    char text[64];
    if (ms < 1000)
        snprintf(text, sizeof text, "%" PRId64 " ms", ms);
    else if (sec < 60)
        snprintf(text, sizeof text, "%" PRId64 ".%d s", sec, (int)(ms % 1000 / 100));
    else if (sec < 3600)
        snprintf(text, sizeof text, "%d m %d s", (int)(sec / 60), (int)(sec % 60));
    else if (sec < 86400)
        snprintf(text, sizeof text, "%d h %d m", (int)(sec / 3600), (int)(sec % 3600 / 60));
    else
        snprintf(text, sizeof text, "%" PRId64 " d", sec / 86400);
    snprintf(ret, 16, "%.15s", text);
}

const char *cli__state_color(const struct cli_context *ctx, const char *state) {
    static const struct {
        const char *state, *color;
    } colors[] = {{"completed", "\033[32m"},
                  {"failed", "\033[31m"},
                  {"running", "\033[36m"},
                  {"cancelled", "\033[33m"},
                  {"rejected", "\033[31m"}};
    for (size_t i = 0; ctx->color && i < sizeof colors / sizeof colors[0]; i++)
        if (strcmp(colors[i].state, state) == 0) return colors[i].color;
    return "";
}

const char *cli__color_end(const struct cli_context *ctx) { return ctx->color ? "\033[0m" : ""; }

/* --- tables --------------------------------------------------------------------------------------------------------
 */

void cli__table_init(struct cli_table *table, const char *const *heads, size_t columns) {
    *table = (struct cli_table){.heads = heads, .columns = columns};
}

void cli__table_add(struct cli_table *table, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    blank_controls(text);
    table->cells = mem_realloc(table->cells, (table->count + 1) * sizeof *table->cells);
    table->cells[table->count++] = mem_strdup(text);
}

/* Columns on the screen: characters of UTF-8, not bytes. */
static size_t width_of(const char *s) {
    size_t width = 0;
    for (; *s; s++) width += ((unsigned char)*s & 0xc0) != 0x80;
    return width;
}

/* The bytes of the first `width` characters. */
static size_t bytes_of(const char *s, size_t width) {
    size_t at = 0;
    for (; s[at]; at++)
        if (((unsigned char)s[at] & 0xc0) != 0x80 && width-- == 0) break;
    return at;
}

static void put_spaces(struct buf *out, size_t count) { buf_printf(out, "%*s", (int)count, ""); }

/* What is wider than its column ends in a '~'. */
static void put_cell(struct buf *out, const char *text, size_t width) {
    if (width_of(text) <= width) {
        buf_puts(out, text);
    } else if (width > 0) {
        buf_append(out, text, bytes_of(text, width - 1));
        buf_puts(out, "~");
    }
}

static void write_row(const struct cli_table *table, const struct cli_context *ctx, const size_t *widths,
                      char *const *cells, struct buf *out) {
    for (size_t c = 0; c < table->columns; c++) {
        bool right = table->heads[c][0] == '>', last = c + 1 == table->columns;
        const char *text = cells ? cells[c] : table->heads[c] + right;
        const char *color = cells ? cli__state_color(ctx, text) : "";
        size_t width = width_of(text), pad = width < widths[c] ? widths[c] - width : 0;
        if (right) put_spaces(out, pad);
        buf_puts(out, color);
        put_cell(out, text, widths[c]);
        buf_puts(out, *color ? cli__color_end(ctx) : "");
        if (!right && !last) put_spaces(out, pad);
        buf_puts(out, last ? "\n" : "  ");
    }
}

/* The widest column gives way, until all of them fit or none has anything to give. */
static void fit_widths(size_t *widths, size_t columns, size_t max_width) {
    for (;;) {
        size_t total = 2 * (columns - 1), widest = 0;
        for (size_t c = 0; c < columns; c++) {
            total += widths[c];
            if (widths[c] >= widths[widest]) widest = c;
        }
        if (total <= max_width || widths[widest] <= 4) return;
        widths[widest]--;
    }
}

void cli__table_write(const struct cli_table *table, const struct cli_context *ctx, bool with_heads, size_t max_width,
                      struct buf *out) {
    size_t *widths = mem_calloc(table->columns, sizeof *widths);
    for (size_t c = 0; c < table->columns; c++) widths[c] = width_of(table->heads[c]) - (table->heads[c][0] == '>');
    for (size_t i = 0; i < table->count; i++) {
        size_t width = width_of(table->cells[i]), *widest = &widths[i % table->columns];
        if (width > *widest) *widest = width;
    }
    if (max_width) fit_widths(widths, table->columns, max_width);
    if (with_heads) write_row(table, ctx, widths, NULL, out);
    for (size_t i = 0; i + table->columns <= table->count; i += table->columns)
        write_row(table, ctx, widths, table->cells + i, out);
    free(widths);
}

void cli__table_print(const struct cli_table *table, const struct cli_context *ctx, bool with_heads) {
    struct buf out = {0};
    cli__table_write(table, ctx, with_heads, 0, &out);
    fwrite(out.data, 1, out.len, stdout);
    buf_done(&out);
}

void cli__table_done(struct cli_table *table) {
    for (size_t i = 0; i < table->count; i++) free(table->cells[i]);
    free(table->cells);
    *table = (struct cli_table){0};
}
