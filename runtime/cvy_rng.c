/* cvy_rng.c - permutations drawn with the generator of cvy_rng.h.
 * SPDX-License-Identifier: 0BSD */
#include "cvy_rng.h"

#include "cvy_private.h"

/* A number in [0, n) without bias (Lemire 2019): a draw whose low half falls short is thrown away. */
static uint32_t below(uint32_t n, uint64_t seed, uint64_t stream, uint64_t *index)
{
    uint32_t w[4], reject = (0u - n) % n;
    for (;;) {
        cvy_draw4(seed, stream, (*index)++, w);
        for (int i = 0; i < 4; i++) {
            uint64_t m = (uint64_t)w[i] * n;
            if ((uint32_t)m >= reject)
                return (uint32_t)(m >> 32);
        }
    }
}

void cvy_permutation(int *order, int n, uint64_t seed, uint64_t epoch)
{
    uint64_t stream = cvy_name_hash("convoy shuffle") + epoch, index = 0;
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)below((uint32_t)i + 1, seed, stream, &index);
        int t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}
