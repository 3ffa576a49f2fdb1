/* cvy_shared.h - how many numbers norms keep of a channel or a group. The generator makes room for them, the runtime
 * and the emitted code fill it: both read it here. SPDX-License-Identifier: 0BSD */
#ifndef CVY_SHARED_H
#define CVY_SHARED_H

#include <stdint.h>

/* Statistics of a batch or an image are arrays of `padded` doubles: pivot, sum of v - pivot, sum of its square. */
#define CVY_STATS_PART 3
/* Floats (doubles) that a struct cvy_stats takes from the arena: mean, back_x, back_1; a part for each piece,
 * exact_mean, var. One array stands after the other: vf_taken_load reads on from mean. */
#define CVY_STATS_FLOATS(padded) (3 * (int64_t)(padded))
#define CVY_STATS_DOUBLES(padded, pieces) ((CVY_STATS_PART * (int64_t)(pieces) + 2) * (padded))

/* Sums of a norm's gradient, of a piece or an image, are arrays of `padded` doubles: of g, of g * xhat. */
#define CVY_BN_SUMS 2
/* Floats (doubles) that a struct cvy_bn takes from the arena: mean, scale, shift, istd, off, dgamma, dbeta; sums for
 * each piece. One array stands after the other: vf_norm_load_back reads on from mean. */
#define CVY_BN_FLOATS(padded) (7 * (int64_t)(padded))
#define CVY_BN_DOUBLES(padded, pieces) (CVY_BN_SUMS * (int64_t)(pieces) * (padded))

/* What is kept of an image for an image norm: for each group mean, what the mean's float lost, and 1 / sd, an array
 * each; in training also back_x and back_1. */
#define CVY_GN_STATS 3
#define CVY_GN_KEPT 5
/* Constants of the image at hand, arrays of `padded` floats: mean, scale, shift, istd, off. */
#define CVY_GN_CONSTANTS 5
/* What image norms take away from the image's gradient, arrays of floats: mean, back_x, back_1. */
#define CVY_GN_BACK 3

/* A norm at inference that is not folded, arrays of `padded` floats: mean, scale, shift; of an image norm gamma, beta.
 */
#define CVY_FOLDED_NORM 3
#define CVY_FOLDED_IMAGE 2

#endif
