/* cover.h - what cores.c asks of cover.c. */
#ifndef COVER_H
#define COVER_H

#include "plan.h"

/* Of `n` pixels `step` apart, the first at `at`: those that lie in [0, in); all where `in` is 0. */
typedef struct Range {
    int from, to;
} Range;

/* Of `n` pixels `step` apart, the first at `at`: those that lie in [0, in); all where `in` is 0. */
Range met_range(int64_t at, int step, int in, int n);
/* Output rows that meet a pixel, no padding, with a tap in kernel row `row`; columns that do with a tap. */
Range rows_met(const Core *c, const Tap *tap, int row);
Range columns_met(const Core *c, const Tap *tap);

/* Cycles of one inner step: `outputs` pixels (or accumulators a vector) times `vectors`. A vf of a narrow target is
 * several registers, each with its own instructions. Lanewise, a multiply-add has its x in memory, a whole vf. */
double tile_step_cycles(const Target *t, int outputs, int vectors, bool lanewise);
/* In registers: the accumulators, the weights, the broadcast lane (avx512 with one weight takes it from memory). */
bool tile_fits(const Target *t, int outputs, int vectors);
void cover_choose(const Target *t, Core *c, int budget); /* tiles of at most `budget` multiply-adds */

#endif
