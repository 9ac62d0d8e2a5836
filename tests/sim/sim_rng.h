/* sim_rng: the one source of chance in a simulation. splitmix64: every seed, 0 and 1 included, starts a good sequence.
 */
#ifndef PENSTOCK_SIM_RNG_H
#define PENSTOCK_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t sim_rng_next(uint64_t *rng) {
    uint64_t z = *rng += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t sim_rng_below(uint64_t *rng, uint64_t n) { return sim_rng_next(rng) % n; }
static inline bool sim_rng_chance(uint64_t *rng, unsigned per_mille) { return sim_rng_below(rng, 1000) < per_mille; }

#endif
