/* SHA-256 by libcrypto, which picks the processor's own instructions. A digest of bytes in memory cannot fail there but
 * for want of memory, and then nothing else would go on either (see mem.h). */
#include "penstock/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "penstock/err.h"

/* Only ever a pointer to an EVP_MD_CTX: the header needs no OpenSSL. */
static EVP_MD_CTX *ctx_of(struct sha256 *sha) { return (EVP_MD_CTX *)sha; }

void sha256_of(const void *bytes, size_t len, unsigned char ret[static SHA256_BYTES]) {
    unsigned size = SHA256_BYTES;
    BUG_ON(!EVP_Digest(bytes, len, ret, &size, EVP_sha256(), NULL));
}

struct sha256 *sha256_new(void) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    BUG_ON(!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL));
    return (struct sha256 *)ctx;
}

void sha256_add(struct sha256 *sha, const void *bytes, size_t len) {
    BUG_ON(!EVP_DigestUpdate(ctx_of(sha), bytes, len));
}

void sha256_end(struct sha256 *sha, unsigned char ret[static SHA256_BYTES]) {
    unsigned size = SHA256_BYTES;
    BUG_ON(!EVP_DigestFinal_ex(ctx_of(sha), ret, &size));
    sha256_free(sha);
}

void sha256_free(struct sha256 *sha) { EVP_MD_CTX_free(ctx_of(sha)); }

void sha256_hex(const unsigned char sum[static SHA256_BYTES], char ret[static SHA256_HEX_SIZE]) {
    for (size_t i = 0; i < SHA256_BYTES; i++) sprintf(ret + 2 * i, "%02x", sum[i]);
}
