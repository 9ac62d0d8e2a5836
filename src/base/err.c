/* The table of errors and the writing of one. The table itself stands in err.h as an X-macro, so that the enum, the
 * names, the classes and the hints cannot drift apart. */
#include "penstock/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *hint;
    enum err_class class;
    bool retryable;
    int status;
} table[ERR_CODE_COUNT] = {[ERR_NONE] = {"none", "", ERR_CLASS_RETRY, false, 200},
#define X(symbol, word, cls, again, http, text) [symbol] = {word, text, ERR_CLASS_##cls, again, http},
                           ERR_TABLE(X)
#undef X
};

static int set_v(struct err *err, enum err_code code, int errnum, const char *fmt, va_list args) {
    if (!err) return -1;
    BUG_ON(code <= ERR_NONE || code >= ERR_CODE_COUNT);
    char text[sizeof err->msg]; /* fmt's arguments may point into err->msg */
    int n = vsnprintf(text, sizeof text, fmt, args);
    if (errnum != 0 && n >= 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, ": %s", strerror(errnum));
    err->class = table[code].class;
    err->code = code;
    memcpy(err->msg, text, sizeof text);
    return -1;
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    set_v(err, code, 0, fmt, args);
    va_end(args);
    return -1;
}

int err_set_errno(struct err *err, enum err_code code, const char *fmt, ...) {
    int errnum = errno;
    va_list args;
    va_start(args, fmt);
    set_v(err, code, errnum, fmt, args);
    va_end(args);
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...) {
    if (!err) return -1;
    char text[sizeof err->msg];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0) return -1;
    size_t used = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    snprintf(text + used, sizeof text - used, ": %.*s", (int)(sizeof text - used), err->msg);
    memcpy(err->msg, text, sizeof text);
    return -1;
}

const char *err_code_name(enum err_code code) { return table[code < ERR_CODE_COUNT ? code : ERR_NONE].name; }
const char *err_code_hint(enum err_code code) { return table[code < ERR_CODE_COUNT ? code : ERR_NONE].hint; }
int err_code_status(enum err_code code) { return table[code < ERR_CODE_COUNT ? code : ERR_NONE].status; }
bool err_code_retryable(enum err_code code) { return table[code < ERR_CODE_COUNT ? code : ERR_NONE].retryable; }

enum err_code err_code_from_name(const char *name) {
    for (int code = ERR_NONE + 1; code < ERR_CODE_COUNT; code++)
        if (strcmp(table[code].name, name) == 0) return (enum err_code)code;
    return ERR_NONE;
}

void err_bug(const char *cond, const char *file, int line) {
    fprintf(stderr, "penstock: BUG: %s at %s:%d; please report this\n", cond, file, line);
    abort();
}
