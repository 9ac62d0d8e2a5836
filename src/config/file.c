/* The configuration file, by inih.
 *
 * inih stops at 200 bytes a line unless told otherwise, and silently reads the rest as another line; a list of ten
 * brokers is longer. Debian's build has run-time switches for that, which other builds lack: they are used where the
 * linker finds them (weak symbols), and a line that is still too long is refused rather than cut. inih does not number
 * the lines for the handler either; it asks our reader for one line at a time, so the reader counts. */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config_internal.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define LINE_MAX_BYTES 8192

extern int ini_max_line __attribute__((weak));
extern int ini_initial_alloc __attribute__((weak));
extern bool ini_use_stack __attribute__((weak));

struct reader {
    struct config *cfg;
    const char *path;
    const char *next, *end; /* what is left of the file */
    int line;
    bool failed;       /* *err is written: the first error is the one to show */
    bool holds_secret; /* and not just the name of a secret's file */
    struct err *err;
};

static void allow_long_lines(void) {
    if (!&ini_max_line || !&ini_initial_alloc || !&ini_use_stack) return;
    ini_use_stack = false;
    ini_initial_alloc = ini_max_line = LINE_MAX_BYTES;
}

/* In the place of fgets. Ends the file after a line that does not fit. */
static char *next_line(char *line, int cap, void *stream) {
    struct reader *reader = stream;
    if (reader->next == reader->end || reader->failed) return NULL;
    reader->line++;
    const char *newline = memchr(reader->next, '\n', (size_t)(reader->end - reader->next));
    size_t len = (size_t)((newline ? newline + 1 : reader->end) - reader->next);
    if (len + 1 > (size_t)cap) {
        reader->failed = true;
        err_set(reader->err, ERR_CONFIG, "%s:%d: the line is longer than %d bytes", reader->path, reader->line,
                cap - 1);
        return NULL;
    }
    memcpy(line, reader->next, len);
    line[len] = '\0';
    reader->next += len;
    return line;
}

/* What would be masked when printed, passwords in URLs included; the name of a secret's file is none. */
static bool is_secret(const char *name, const char *value) {
    struct buf shown = {0};
    char *of_file = config__secret_of_file_name(name);
    free(of_file);
    if (of_file) return false;
    buf_puts(&shown, "");
    config__masked(name, value, &shown);
    bool differs = strcmp(shown.data, value) != 0;
    buf_done(&shown);
    return differs;
}

/* inih's handler: non-zero to go on. */
static int on_setting(void *user, const char *section, const char *key, const char *value) {
    struct reader *reader = user;
    if (reader->failed) return 0;
    struct buf name = {0}, source = {0};
    buf_printf(&name, "%s%s%s", section, *section ? "." : "", key);
    buf_printf(&source, "%s:%d", reader->path, reader->line);
    reader->failed = config__set(reader->cfg, name.data, value, source.data, true, reader->err) != 0;
    reader->holds_secret |= is_secret(name.data, value);
    buf_done(&name);
    buf_done(&source);
    return !reader->failed;
}

static int slurp(const char *path, struct buf *out, bool *ret_public, struct err *err) {
    FILE *file = fopen(path, "re");
    if (!file) return err_set_errno(err, ERR_CONFIG, "%s", path);
    char chunk[4096];
    size_t n;
    while (out->len <= FILE_MAX_BYTES && (n = fread(chunk, 1, sizeof chunk, file)) > 0) buf_append(out, chunk, n);
    int rc = 0;
    if (ferror(file))
        rc = err_set_errno(err, ERR_CONFIG, "%s", path);
    else if (out->len > FILE_MAX_BYTES)
        rc = err_set(err, ERR_CONFIG, "%s: larger than 1 MiB, which no configuration is", path);
    else if (out->len && memchr(out->data, '\0', out->len))
        rc = err_set(err, ERR_CONFIG, "%s: holds a NUL byte: this is no text file", path);
    struct stat st;
    *ret_public = fstat(fileno(file), &st) == 0 && (st.st_mode & S_IROTH);
    fclose(file);
    return rc;
}

static void warn_public(struct config *cfg, const char *path) {
    struct buf text = {0};
    buf_printf(&text, "%s: others may read the secrets in it: chmod o= %s, or name them by a file each (NAME_file)",
               path, path);
    config__warn(cfg, text.data);
}

int config__read_file(struct config *cfg, const char *path, struct err *err) {
    struct buf text = {0};
    bool is_public = false;
    int rc = slurp(path, &text, &is_public, err);
    if (rc != 0 || text.len == 0) goto out;
    struct reader reader = {.cfg = cfg, .path = path, .next = text.data, .end = text.data + text.len, .err = err};
    allow_long_lines();
    int line = ini_parse_stream(next_line, &reader, on_setting, &reader);
    if (reader.failed)
        rc = -1;
    else if (line > 0)
        rc = err_set(err, ERR_CONFIG, "%s:%d: neither [section] nor key = value nor a comment (; or #)", path, line);
    else if (line < 0)
        rc = err_set(err, ERR_CONFIG, "%s: cannot be parsed", path);
    if (rc == 0 && is_public && reader.holds_secret) warn_public(cfg, path);
out:
    buf_done(&text);
    return rc;
}
