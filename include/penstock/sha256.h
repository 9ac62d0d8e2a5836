/* sha256: FIPS 180-4, of bytes at once or as they come.
 *
 *     struct sha256 *sha = sha256_new();
 *     while (more) sha256_add(sha, chunk, len);
 *     sha256_end(sha, sum);                     // frees
 */
#ifndef PENSTOCK_SHA256_H
#define PENSTOCK_SHA256_H

#include <stddef.h>

#define SHA256_BYTES    32
#define SHA256_HEX_SIZE 65

void sha256_of(const void *bytes, size_t len, unsigned char ret[static SHA256_BYTES]);

struct sha256;
struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *sha, const void *bytes, size_t len);
void sha256_end(struct sha256 *sha, unsigned char ret[static SHA256_BYTES]); /* frees */
void sha256_free(struct sha256 *sha);                                        /* without an end; safe on NULL */

void sha256_hex(const unsigned char sum[static SHA256_BYTES], char ret[static SHA256_HEX_SIZE]);

#endif
