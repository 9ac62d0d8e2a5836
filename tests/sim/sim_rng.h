/* sim_rng: the one source of chance in a simulation. splitmix64: every seed, 0 and 1 included, starts a good sequence.
 */
#ifndef PENSTOCK_SIM_RNG_H
#define PENSTOCK_SIM_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t sim_rng_next(uint64_t *rng) {
    uint64_t z = *rng += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t sim_rng_below(uint64_t *rng, uint64_t n) { return sim_rng_next(rng) % n; }
static inline bool sim_rng_chance(uint64_t *rng, unsigned per_mille) { return sim_rng_below(rng, 1000) < per_mille; }

/* FNV-1a over words of eight bytes. Start with SIM_HASH_START. */
#define SIM_HASH_START UINT64_C(0xcbf29ce484222325)
static inline void sim_hash(uint64_t *hash, const void *bytes, size_t len) {
    for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, (const char *)bytes + at, len - at < sizeof word ? len - at : sizeof word);
        *hash = (*hash ^ word) * UINT64_C(0x100000001b3);
        *hash ^= *hash >> 29;
    }
    *hash = (*hash ^ len) * UINT64_C(0x100000001b3);
}

#endif
