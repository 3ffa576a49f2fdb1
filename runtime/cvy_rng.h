/* cvy_rng.h - the counter-based random generator Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers:
 * as easy as 1, 2, 3", 2011). A draw is a pure function of (key, counter): no state, so a draw does not depend on how
 * many others were made, in which order, or by which thread. SPDX-License-Identifier: 0BSD */
#ifndef CVY_RNG_H
#define CVY_RNG_H

#include "cvy_names.h"

#include <math.h>
#include <stdint.h>

/* out[4] = Philox4x32-10 of the counter under the key. */
static inline void cvy_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3], k = key[0], l = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
        a = (uint32_t)(q >> 32) ^ b ^ k;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ l;
        d = (uint32_t)p;
        k += 0x9E3779B9u; /* the golden ratio */
        l += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}

/* A name as 64 bits (FNV-1a): what tells the streams of one seed apart. */
static inline uint64_t cvy_name_hash(const char *name)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001B3u;
    return h;
}

/* Draw number `index` of the stream `stream` of a seed: key = seed, counter = (index, stream). */
static inline void cvy_draw4(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4])
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    cvy_philox(counter, key, out);
}

/* 53 bits of two words as a double in [0, 1). */
static inline double cvy_unit(uint32_t hi, uint32_t lo)
{
    return (double)(((uint64_t)hi << 21) ^ (lo >> 11)) * (1.0 / 9007199254740992.0);
}

/* A normal number, mean 0, sd 1: Box and Muller's, in double. */
static inline double cvy_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t w[4];
    cvy_draw4(seed, stream, index, w);
    const double u = 1.0 - cvy_unit(w[0], w[1]); /* (0, 1] */
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * cvy_unit(w[2], w[3]));
}

/* cvy_rng.c */
/* order[0..n) becomes a permutation of 0..n-1 that depends on seed and epoch alone (Fisher-Yates). */
void cvy_permutation(int *order, int n, uint64_t seed, uint64_t epoch);

#endif
