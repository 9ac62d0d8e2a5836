/* Writing an executor_error. Linked-in executors speak in the words of err.h's table, as any plug-in must; taking the
 * word and the retry class from the table here keeps them from drifting apart. */
#include "executor_internal.h"

#include <stdarg.h>
#include <stdio.h>

int executor__error(struct executor_error *err, enum err_code code, const char *fmt, ...) {
    *err = (struct executor_error){.retryable = err_code_retryable(code)};
    snprintf(err->code, sizeof err->code, "%s", err_code_name(code));
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return -1;
}
