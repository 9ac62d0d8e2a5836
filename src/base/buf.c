/* The growing byte buffer: doubles when it is full, so that appending costs constant time on average. */
#include "penstock/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/mem.h"

static void buf_reserve(struct buf *buf, size_t more) {
    BUG_ON(more > SIZE_MAX / 4);
    size_t need = buf->len + more + 1;
    if (need <= buf->cap) return;
    size_t cap = buf->cap ? buf->cap : 128;
    while (cap < need) cap *= 2;
    buf->data = mem_realloc(buf->data, cap);
    buf->cap = cap;
}

void buf_done(struct buf *buf) {
    free(buf->data);
    *buf = (struct buf){0};
}

void buf_reset(struct buf *buf) {
    buf->len = 0;
    if (buf->data) buf->data[0] = '\0';
}

void buf_append(struct buf *buf, const void *bytes, size_t len) {
    buf_reserve(buf, len);
    if (len) memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_puts(struct buf *buf, const char *s) { buf_append(buf, s, strlen(s)); }

void buf_printf(struct buf *buf, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    BUG_ON(n < 0);
    buf_reserve(buf, (size_t)n);
    vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, again);
    va_end(again);
    buf->len += (size_t)n;
}
