/* Byte ranges (RFC 9110, section 14). One range is served; with several, or with what is no range of bytes at all, the
 * whole file is, as the RFC allows: nobody needs multipart answers of raw tensors. */
#include <string.h>

#include "http_internal.h"

/* Digits at *at. -1: none, or more than a file can have. */
static int64_t number(const char **at) {
    int64_t n = 0;
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits > 18) return -1;
    for (; digits > 0; digits--) n = n * 10 + (*(*at)++ - '0');
    return n;
}

enum http_range http__range_parse(const char *header, int64_t size, int64_t *ret_first, int64_t *ret_length) {
    if (!header || strncmp(header, "bytes=", 6) != 0) return HTTP_RANGE_NONE;
    const char *at = header + 6;
    int64_t first = *at == '-' ? -1 : number(&at), last = size - 1;
    bool suffix = header[6] == '-';
    if ((first < 0 && !suffix) || *at++ != '-') return HTTP_RANGE_NONE;
    if (*at) {
        last = number(&at);
        if (last < 0 || *at) return HTTP_RANGE_NONE;
    } else if (suffix) {
        return HTTP_RANGE_NONE;
    }
    if (suffix) { /* the last so many bytes */
        if (last == 0 || size == 0) return HTTP_RANGE_OUTSIDE;
        first = last < size ? size - last : 0;
        last = size - 1;
    }
    if (!suffix && last < first && last != size - 1) return HTTP_RANGE_NONE;
    if (first >= size) return HTTP_RANGE_OUTSIDE;
    if (last >= size) last = size - 1;
    *ret_first = first;
    *ret_length = last - first + 1;
    return HTTP_RANGE_PART;
}
