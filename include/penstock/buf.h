/* buf: a growing byte buffer. Like mem, it ends the process rather than fail.
 *
 *     struct buf out = {0};
 *     buf_printf(&out, "%d jobs", count);
 *     fwrite(out.data, 1, out.len, stdout);
 *     buf_done(&out);
 */
#ifndef PENSTOCK_BUF_H
#define PENSTOCK_BUF_H

#include <stddef.h>

#include "penstock/err.h"

/* Always NUL-terminated behind its length. {0} is a valid empty one. */
struct buf {
    char *data;
    size_t len, cap;
};

void buf_done(struct buf *buf);
void buf_reset(struct buf *buf);
void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_puts(struct buf *buf, const char *s);
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
