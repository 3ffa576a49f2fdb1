/* damage.h - what the programs that damage files draw with: xorshift64 (Marsaglia 2003), whose state is theirs. */
#ifndef DAMAGE_H
#define DAMAGE_H

#include <stddef.h>
#include <stdint.h>

static uint64_t state; /* never 0 */

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* A number from 0 to n - 1; 0 where n is 0. */
static size_t below(size_t n)
{
    return n ? (size_t)(draw() >> 11) % n : 0;
}

#endif
