/* compiler.h - what compilers call differently, and the sizes that all of emitted code knows.
 * SPDX-License-Identifier: 0BSD */

#if defined __GNUC__ && !defined __clang__
/* predictive commoning carries taps from one pixel to the next in registers that the accumulators need (convoy asm
 * shows it) */
#pragma GCC optimize("no-predictive-commoning")
#endif

/* CVY_INLINE: always inlined, but not at -O0, where a copy at each call would be no faster and takes a compiler four
 * times as long; CVY_KEEP: never; CVY_MAYBE: as the compiler likes. Where nothing calls one it is gone, without
 * optimisation, too. */
#if defined __GNUC__
#define CVY_KEEP static __attribute__((noinline, unused))
#define CVY_PREFETCH(p) __builtin_prefetch(p)
#define CVY_PREFETCH_FAR(p) __builtin_prefetch(p, 0, 2)
#define CVY_MAYBE static inline __attribute__((unused))
#ifdef __OPTIMIZE__
#define CVY_INLINE static inline __attribute__((always_inline, unused))
#else
#define CVY_INLINE CVY_MAYBE
#endif
#else
#define CVY_INLINE static inline
#define CVY_KEEP static
#define CVY_PREFETCH(p) ((void)(p))
#define CVY_PREFETCH_FAR(p) ((void)(p))
#define CVY_MAYBE static inline
#endif
/* Between pixels of an unrolled row, or unrolled taps: what they load through `pointer` is not shared. It would be kept
 * in registers, and the accumulators on the stack. */
#if defined __GNUC__
#define CVY_APART(pointer) __asm__("" : "+r"(pointer))
#else
#define CVY_APART(pointer) (void)(pointer)
#endif
/* Before a loop: two steps of it in one. A loop's own counting and jump are a fifth of its instructions, and a core
 * that shares its processor with a neighbour has half as many a cycle. */
#if defined __clang__
#define CVY_TWICE _Pragma("clang loop unroll_count(2)")
#elif defined __GNUC__
#define CVY_TWICE _Pragma("GCC unroll 2")
#else
#define CVY_TWICE
#endif
/* Before a loop over an array of vectors: all of its steps, one after the other, so that the vectors are in registers.
 * CVY_ALL: up to 8 steps. */
#if defined __clang__
#define CVY_ALL _Pragma("clang loop unroll(full)")
#define CVY_16 CVY_ALL
#elif defined __GNUC__
#define CVY_ALL _Pragma("GCC unroll 8")
#define CVY_16 _Pragma("GCC unroll 16")
#else
#define CVY_ALL
#define CVY_16
#endif
/* Before a local array that vectors are stored to. */
#if defined __GNUC__
#define CVY_ALIGNED __attribute__((aligned(64)))
#elif defined __STDC_VERSION__ && __STDC_VERSION__ >= 201112L
#define CVY_ALIGNED _Alignas(64)
#else
#define CVY_ALIGNED
#endif
#if defined __STDC_VERSION__ && !defined __cplusplus
#define CVY_RESTRICT restrict
#else
#define CVY_RESTRICT
#endif

enum { VF = 16 };      /* floats in a vf */
enum { CVY_SUM = 32 }; /* pixels that are added up in float before their sum goes to double */
