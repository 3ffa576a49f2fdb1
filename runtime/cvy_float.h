/* cvy_float.h - how floating point must be compiled, here and in emitted code: as IEEE 754 has it, so that results are
 * the same from every compiler, what is recomputed equals the first to the bit, and a NaN is seen.
 * SPDX-License-Identifier: 0BSD */
#ifndef CVY_FLOAT_H
#define CVY_FLOAT_H

#if defined __FAST_MATH__ || defined __ASSOCIATIVE_MATH__ ||                                                           \
    (defined __FINITE_MATH_ONLY__ && __FINITE_MATH_ONLY__ != 0) || defined _M_FP_FAST
#error                                                                                                                 \
    "compile networks without -ffast-math, -Ofast, -funsafe-math-optimizations, -fassociative-math and -ffinite-math-only: they change results and hide NaN"
#endif

/* A fused multiply-add only where one is written. Clang has no macro for -fassociative-math: there it is switched off
 * here. */
#if defined __clang__
#pragma STDC FP_CONTRACT OFF
#if __clang_major__ >= 11
#pragma clang fp reassociate(off)
#endif
#elif defined __GNUC__
#pragma GCC optimize("fp-contract=off")
#endif

/* Sums about a pivot of `count` values, of v - pivot and of its square: whether the mean is so far from the pivot, by
 * the standard deviation, that squares in float have lost digits of the variance. Not so where they are not finite. */
#define CVY_PIVOT_FAR(sum, square, count)                                                                              \
    ((sum) * (sum) > 8.0 / 9 * (count) * (square)) /* (mean - pivot)^2 > 8 var                                         \
                                                    */

#endif
