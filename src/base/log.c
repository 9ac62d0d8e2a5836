/* One write(2) per line, so that lines of several threads and of the worker processes that share our standard error do
 * not mix. The level and the format are the program's only globals besides the stop flag; they are set before any
 * thread starts. */
#include "penstock/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "penstock/clock.h"

#define LINE_MAX_BYTES 4096

static enum log_level min_level = LOG_LEVEL_INFO;
static enum log_format line_format = LOG_FORMAT_TEXT;

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

void log_setup(enum log_level level, enum log_format format) {
    min_level = level;
    line_format = format;
}

bool log_enabled(enum log_level level) { return level >= min_level; }

/* JSON string escaping into a bounded buffer; stops early rather than overflow. Returns the bytes written. */
static size_t escape(const char *s, char *out, size_t cap) {
    size_t n = 0;
    for (; *s && n + 7 < cap; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20) {
            n += (size_t)snprintf(out + n, cap - n, "\\u%04x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = '\0';
    return n;
}

/* A message may quote bytes from outside: control characters must not reach a terminal. */
static void blank_controls(char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = ' ';
}

void log_write(enum log_level level, const char *role, const char *fmt, ...) {
    if (!log_enabled(level)) return;
    char msg[LINE_MAX_BYTES / 2], line[LINE_MAX_BYTES], at[25];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    clock_format_rfc3339(clock_wall_ms(&clock_system), at);
    int n;
    if (line_format == LOG_FORMAT_JSON) {
        char escaped[LINE_MAX_BYTES - 200];
        escape(msg, escaped, sizeof escaped);
        n = snprintf(line, sizeof line, "{\"at\":\"%s\",\"level\":\"%s\",\"role\":\"%s\",\"pid\":%d,\"msg\":\"%s\"}\n",
                     at, level_names[level], role, (int)getpid(), escaped);
    } else {
        blank_controls(msg);
        n = snprintf(line, sizeof line, "%s %-5s %-8s %s\n", at, level_names[level], role, msg);
    }
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* nowhere left to complain */
}

void log_err(const char *role, const struct err *err) {
    enum log_level level = err->class == ERR_CLASS_RETRY ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR;
    log_write(level, role, "%s (%s): %s", err->msg, err_code_name(err->code), err_code_hint(err->code));
}
