/* cvy_shared.h - how many numbers norms keep of a channel or a group, and in which order. The generator makes room for
 * them, the runtime and the emitted code fill it: both read it here. Each is an array of `padded` numbers (of what is
 * kept of an image: of as many as there are groups); one array stands after the other. SPDX-License-Identifier: 0BSD */
#ifndef CVY_SHARED_H
#define CVY_SHARED_H

#include <stdint.h>

/* Statistics of a batch or an image, doubles: a pivot, the sum of v - pivot, the sum of its square. */
enum { CVY_PART_PIVOT, CVY_PART_SUM, CVY_PART_SQUARE, CVY_STATS_PART };
/* What statistics take away from a gradient, floats: mean, back_x, back_1. vf_taken_load reads on from mean. */
enum { CVY_TAKEN_MEAN, CVY_TAKEN_BACK_X, CVY_TAKEN_BACK_1, CVY_TAKEN };
/* Floats (doubles) that a struct cvy_stats takes from the arena: what it takes away; a part for each piece, exact_mean,
 * var. */
#define CVY_STATS_FLOATS(padded) (CVY_TAKEN * (int64_t)(padded))
#define CVY_STATS_DOUBLES(padded, pieces) ((CVY_STATS_PART * (int64_t)(pieces) + 2) * (padded))

/* Sums of a norm's gradient, of a piece or an image, doubles: of g, of g * xhat. */
enum { CVY_SUM_G, CVY_SUM_G_XHAT, CVY_BN_SUMS };
/* A norm's constants, floats. vf_norm_load reads on from mean, as far as shift at inference, as off in training. */
enum {
    CVY_NORM_MEAN,
    CVY_NORM_SCALE,
    CVY_NORM_SHIFT,
    CVY_FOLDED_NORM, /* of a norm at inference that is not folded */
    CVY_NORM_ISTD = CVY_FOLDED_NORM,
    CVY_NORM_OFF,
    CVY_GN_CONSTANTS, /* of the image at hand */
    CVY_NORM_DGAMMA = CVY_GN_CONSTANTS,
    CVY_NORM_DBETA,
    CVY_BN_ARRAYS /* of a struct cvy_bn */
};
/* Floats (doubles) that a struct cvy_bn takes from the arena: its arrays; sums for each piece. */
#define CVY_BN_FLOATS(padded) (CVY_BN_ARRAYS * (int64_t)(padded))
#define CVY_BN_DOUBLES(padded, pieces) (CVY_BN_SUMS * (int64_t)(pieces) * (padded))

/* What is kept of an image for an image norm, a float a group. */
enum {
    CVY_KEPT_MEAN,
    CVY_KEPT_TAIL, /* what the mean's float lost */
    CVY_KEPT_ISTD,
    CVY_GN_STATS, /* at inference, and what a trained network stores of an image */
    CVY_KEPT_BACK_X = CVY_GN_STATS,
    CVY_KEPT_BACK_1,
    CVY_GN_KEPT /* in training */
};
/* An image norm at inference, floats: gamma, beta. */
enum { CVY_FOLDED_IMAGE = 2 };

#endif
