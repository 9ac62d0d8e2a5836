/* fnv: FNV-1a with 64 bits, for tables and for noticing accidents. Whoever chooses the bytes can make two agree.
 *
 *     uint64_t digest = fnv1a(FNV1A, bytes, len); // and on: fnv1a(digest, more, more_len)
 *
 * Source: RFC 9923. */
#ifndef PENSTOCK_FNV_H
#define PENSTOCK_FNV_H

#include <stddef.h>
#include <stdint.h>

#define FNV1A UINT64_C(0xcbf29ce484222325) /* of no bytes */

static inline uint64_t fnv1a(uint64_t digest, const void *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) digest = (digest ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return digest;
}

#endif
