/* cvy_vec.h - the vector of emitted kernels: `vf`, the 16 floats of one channel block at one pixel, and the stage
 * functions on it. Forward and backward call the same functions, so that a recomputed mask equals the first one to the
 * bit.
 *
 * A network's layout header defines one of CVY_AVX512, CVY_AVX2, CVY_NEON, CVY_PORTABLE before this is included. The
 * first three use the instructions of that name; portable is strict C99. A fused multiply-add is always written as
 * vf_fma; contraction by the compiler is off in every emitted file. SPDX-License-Identifier: 0BSD */
#ifndef CVY_VEC_H
#define CVY_VEC_H

#include "cvy_float.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off */

#if defined __GNUC__ && !defined __clang__
/* predictive commoning carries taps from one pixel to the next in registers that the accumulators need (convoy asm shows it) */
#pragma GCC optimize("no-predictive-commoning")
#endif

#if defined __GNUC__
#define CVY_KEEP static __attribute__((noinline, unused))
#define CVY_PREFETCH(p) __builtin_prefetch(p)
#define CVY_MAYBE static inline __attribute__((unused)) /* as the compiler likes; gone where nothing calls it, unoptimised too */
#ifdef __OPTIMIZE__
#define CVY_INLINE static inline __attribute__((always_inline, unused))
#else
#define CVY_INLINE CVY_MAYBE /* at -O0 a copy at each call would be no faster, and takes a compiler four times as long */
#endif
#else
#define CVY_INLINE static inline
#define CVY_KEEP static
#define CVY_PREFETCH(p) ((void)0)
#define CVY_MAYBE static inline
#endif
/* Between pixels of an unrolled row, or unrolled taps: what they load through `pointer` is not shared. It would be kept in registers, and the accumulators on the stack. */
#if defined __GNUC__
#define CVY_APART(pointer) __asm__("" : "+r"(pointer))
#else
#define CVY_APART(pointer) (void)(pointer)
#endif
/* Before a loop: two steps of it in one. A loop's own counting and jump are a fifth of its instructions, and a core that shares its processor with a
 * neighbour has half as many a cycle. */
#if defined __clang__
#define CVY_TWICE _Pragma("clang loop unroll_count(2)")
#elif defined __GNUC__
#define CVY_TWICE _Pragma("GCC unroll 2")
#else
#define CVY_TWICE
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

enum { VF = 16 }; /* floats in a vf */
enum { CVY_SUM = 32 }; /* pixels that are added up in float before their sum goes to double */

#if defined CVY_AVX512

#if !defined __AVX512F__ || !defined __AVX512DQ__ || !defined __FMA__
#error "this network was emitted for avx512: compile it with -mavx512f -mavx512dq -mfma (or emit it for another target)"
#endif
/* gcc's header of all intrinsics takes half a second to compile, all but a tenth of it for instructions that are not used here. Its parts ask
 * whether it stands around them: so do these lines, for the versions whose parts are known; the whole may still be included afterwards. */
#if defined __GNUC__ && !defined __clang__ && __GNUC__ >= 7 && __GNUC__ <= 15 && !defined _IMMINTRIN_H_INCLUDED
#define _IMMINTRIN_H_INCLUDED
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#include <avx512fintrin.h>
#include <avx512dqintrin.h>
#undef _IMMINTRIN_H_INCLUDED
#else
#include <immintrin.h>
#endif
typedef __m512 vf;
typedef __m512i vu;

CVY_INLINE vf vf_set(float x) { return _mm512_set1_ps(x); }
CVY_INLINE vf vf_load(const float *p) { return _mm512_load_ps(p); }
CVY_INLINE vf vf_loadu(const float *p) { return _mm512_loadu_ps(p); }
CVY_INLINE void vf_store(float *p, vf v) { _mm512_store_ps(p, v); }
CVY_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
CVY_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
CVY_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
CVY_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
CVY_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
/* a > b ? a : b, and a < b ? a : b: what may be a NaN stands second, and is passed on. On every target. */
CVY_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
CVY_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
/* x > 0 ? a : b */
CVY_INLINE vf vf_if_positive(vf x, vf a, vf b)
{
    return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), a);
}
/* x <= 0 ? b : a, so a where x is not a number */
CVY_INLINE vf vf_unless_zero_or_below(vf x, vf a, vf b)
{
    return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLE_UQ), a);
}
CVY_INLINE vf vf_if_less(vf x, vf y, vf a, vf b) { return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), a); }
CVY_INLINE vf vf_if_equal(vf x, vf y, vf a) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ), a); }
CVY_INLINE vf vf_abs(vf v) { return _mm512_abs_ps(v); }
/* x > m, or x is not a number */
CVY_INLINE void vf_route(vf *m, vf *route, vf x, float t)
{
    const __mmask16 won = _mm512_cmp_ps_mask(x, *m, _CMP_GT_OQ) | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    *m = _mm512_mask_mov_ps(*m, won, x);
    *route = _mm512_mask_mov_ps(*route, won, _mm512_set1_ps(t));
}
CVY_INLINE void vf_store_route(uint8_t *p, vf route) { _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(route))); }
CVY_INLINE vf vf_load_route(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
CVY_INLINE void vf_add_to(double *d, vf v)
{
    _mm512_storeu_pd(d, _mm512_add_pd(_mm512_loadu_pd(d), _mm512_cvtps_pd(_mm512_castps512_ps256(v))));
    _mm512_storeu_pd(d + 8, _mm512_add_pd(_mm512_loadu_pd(d + 8), _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))));
}
CVY_INLINE vf vf_exp2_int(vf n) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23)); }
CVY_INLINE vf vf_round(vf v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
CVY_INLINE vu vu_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
CVY_INLINE vu vu_lanes(uint32_t first, uint32_t step)
{
    const __m512i l = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_add_epi32(_mm512_set1_epi32((int)first), _mm512_mullo_epi32(l, _mm512_set1_epi32((int)step)));
}
CVY_INLINE vu vu_add(vu a, vu b) { return _mm512_add_epi32(a, b); }
CVY_INLINE vu vu_mul(vu a, vu b) { return _mm512_mullo_epi32(a, b); }
CVY_INLINE vu vu_xor(vu a, vu b) { return _mm512_xor_si512(a, b); }
CVY_INLINE vu vu_shift_xor(vu a, int n) { return _mm512_xor_si512(a, _mm512_srl_epi32(a, _mm_cvtsi32_si128(n))); }
CVY_INLINE vf vu_if_at_least(vu a, vu b, vf v) { return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(a, b), v); }
/* Which lane of a vf each lane of another takes; -1: none, it is zero. */
#define CVY_PERMUTE 1
typedef struct vp { __m512i lane; __mmask16 any; } vp;
CVY_INLINE vp vp_load(const int *lane)
{
    vp p;
    p.lane = _mm512_loadu_si512(lane);
    p.any = _mm512_cmpge_epi32_mask(p.lane, _mm512_setzero_si512());
    return p;
}
CVY_INLINE vf vf_permute(vf v, vp p) { return _mm512_maskz_permutexvar_ps(p.any, p.lane, v); }

#elif defined CVY_AVX2

#if !defined __AVX2__ || !defined __FMA__
#error "this network was emitted for avx2: compile it with -mavx2 -mfma (or emit it for another target)"
#endif
/* as for avx512 */
#if defined __GNUC__ && !defined __clang__ && __GNUC__ >= 7 && __GNUC__ <= 15 && !defined _IMMINTRIN_H_INCLUDED
#define _IMMINTRIN_H_INCLUDED
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#undef _IMMINTRIN_H_INCLUDED
#else
#include <immintrin.h>
#endif
typedef struct vf { __m256 a, b; } vf;
typedef struct vu { __m256i a, b; } vu;

CVY_INLINE vf vf_pair(__m256 a, __m256 b) { vf r; r.a = a; r.b = b; return r; }
CVY_INLINE vu vu_pair(__m256i a, __m256i b) { vu r; r.a = a; r.b = b; return r; }
#define CVY_BOTH(f, x, y) vf_pair(f((x).a, (y).a), f((x).b, (y).b))
CVY_INLINE vf vf_set(float x) { const __m256 s = _mm256_set1_ps(x); return vf_pair(s, s); }
CVY_INLINE vf vf_load(const float *p) { return vf_pair(_mm256_load_ps(p), _mm256_load_ps(p + 8)); }
CVY_INLINE vf vf_loadu(const float *p) { return vf_pair(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
CVY_INLINE void vf_store(float *p, vf v) { _mm256_store_ps(p, v.a); _mm256_store_ps(p + 8, v.b); }
CVY_INLINE vf vf_add(vf x, vf y) { return CVY_BOTH(_mm256_add_ps, x, y); }
CVY_INLINE vf vf_sub(vf x, vf y) { return CVY_BOTH(_mm256_sub_ps, x, y); }
CVY_INLINE vf vf_mul(vf x, vf y) { return CVY_BOTH(_mm256_mul_ps, x, y); }
CVY_INLINE vf vf_div(vf x, vf y) { return CVY_BOTH(_mm256_div_ps, x, y); }
CVY_INLINE vf vf_fma(vf x, vf y, vf z) { return vf_pair(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)); }
CVY_INLINE vf vf_max(vf x, vf y) { return CVY_BOTH(_mm256_max_ps, x, y); }
CVY_INLINE vf vf_min(vf x, vf y) { return CVY_BOTH(_mm256_min_ps, x, y); }
#define CVY_CMP(x, y, how) vf_pair(_mm256_cmp_ps((x).a, (y).a, how), _mm256_cmp_ps((x).b, (y).b, how))
CVY_INLINE vf vf_blend(vf b, vf a, vf mask) { return vf_pair(_mm256_blendv_ps(b.a, a.a, mask.a), _mm256_blendv_ps(b.b, a.b, mask.b)); }
CVY_INLINE vf vf_if_positive(vf x, vf a, vf b) { const vf m = CVY_CMP(x, vf_set(0), _CMP_GT_OQ); return vf_blend(b, a, m); }
CVY_INLINE vf vf_unless_zero_or_below(vf x, vf a, vf b) { const vf m = CVY_CMP(x, vf_set(0), _CMP_NLE_UQ); return vf_blend(b, a, m); }
CVY_INLINE vf vf_if_less(vf x, vf y, vf a, vf b) { const vf m = CVY_CMP(x, y, _CMP_LT_OQ); return vf_blend(b, a, m); }
CVY_INLINE vf vf_if_equal(vf x, vf y, vf a) { const vf m = CVY_CMP(x, y, _CMP_EQ_OQ); return CVY_BOTH(_mm256_and_ps, m, a); }
CVY_INLINE vf vf_abs(vf v) { const vf m = vf_set(-0.0f); return CVY_BOTH(_mm256_andnot_ps, m, v); }
CVY_INLINE void vf_route(vf *m, vf *route, vf x, float t)
{
    const vf over = CVY_CMP(x, *m, _CMP_GT_OQ), nan = CVY_CMP(x, x, _CMP_UNORD_Q);
    const vf won = CVY_BOTH(_mm256_or_ps, nan, over);
    *m = vf_blend(*m, x, won);
    *route = vf_blend(*route, vf_set(t), won);
}
CVY_INLINE void vf_store_route(uint8_t *p, vf route)
{
    float f[16];
    _mm256_storeu_ps(f, route.a);
    _mm256_storeu_ps(f + 8, route.b);
    for (int l = 0; l < VF; l++)
        p[l] = (uint8_t)f[l];
}
CVY_INLINE vf vf_load_route(const uint8_t *p)
{
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return vf_pair(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8))));
}
CVY_INLINE void vf_add_to(double *d, vf v)
{
    _mm256_storeu_pd(d, _mm256_add_pd(_mm256_loadu_pd(d), _mm256_cvtps_pd(_mm256_castps256_ps128(v.a))));
    _mm256_storeu_pd(d + 4, _mm256_add_pd(_mm256_loadu_pd(d + 4), _mm256_cvtps_pd(_mm256_extractf128_ps(v.a, 1))));
    _mm256_storeu_pd(d + 8, _mm256_add_pd(_mm256_loadu_pd(d + 8), _mm256_cvtps_pd(_mm256_castps256_ps128(v.b))));
    _mm256_storeu_pd(d + 12, _mm256_add_pd(_mm256_loadu_pd(d + 12), _mm256_cvtps_pd(_mm256_extractf128_ps(v.b, 1))));
}
CVY_INLINE __m256 vf_exp2_half(__m256 n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23)); }
CVY_INLINE vf vf_exp2_int(vf n) { return vf_pair(vf_exp2_half(n.a), vf_exp2_half(n.b)); }
CVY_INLINE vf vf_round(vf v)
{
    return vf_pair(_mm256_round_ps(v.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), _mm256_round_ps(v.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#define CVY_BOTHU(f, x, y) vu_pair(f((x).a, (y).a), f((x).b, (y).b))
CVY_INLINE vu vu_set(uint32_t x) { const __m256i s = _mm256_set1_epi32((int)x); return vu_pair(s, s); }
CVY_INLINE vu vu_add(vu x, vu y) { return CVY_BOTHU(_mm256_add_epi32, x, y); }
CVY_INLINE vu vu_mul(vu x, vu y) { return CVY_BOTHU(_mm256_mullo_epi32, x, y); }
CVY_INLINE vu vu_xor(vu x, vu y) { return CVY_BOTHU(_mm256_xor_si256, x, y); }
CVY_INLINE vu vu_shift_xor(vu x, int n)
{
    const __m128i s = _mm_cvtsi32_si128(n);
    return vu_xor(x, vu_pair(_mm256_srl_epi32(x.a, s), _mm256_srl_epi32(x.b, s)));
}
CVY_INLINE vu vu_lanes(uint32_t first, uint32_t step)
{
    const vu l = vu_pair(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15));
    return vu_add(vu_set(first), vu_mul(l, vu_set(step)));
}
CVY_INLINE __m256 vu_ge_half(__m256i a, __m256i b) { return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a)); }
CVY_INLINE vf vu_if_at_least(vu x, vu y, vf v) { return vf_pair(_mm256_and_ps(vu_ge_half(x.a, y.a), v.a), _mm256_and_ps(vu_ge_half(x.b, y.b), v.b)); }
/* Which lane of a vf each lane of another takes; -1: none, it is zero. */
#define CVY_PERMUTE 1
typedef struct vp { vu lane; vf high, none; } vp;
CVY_INLINE vp vp_load(const int *lane)
{
    vp p;
    p.lane = vu_pair(_mm256_loadu_si256((const __m256i *)(const void *)lane), _mm256_loadu_si256((const __m256i *)(const void *)(lane + 8)));
    p.high = vf_pair(_mm256_castsi256_ps(_mm256_slli_epi32(p.lane.a, 28)), _mm256_castsi256_ps(_mm256_slli_epi32(p.lane.b, 28))); /* bit 3, as a sign */
    p.none = vf_pair(_mm256_castsi256_ps(_mm256_srai_epi32(p.lane.a, 31)), _mm256_castsi256_ps(_mm256_srai_epi32(p.lane.b, 31)));
    return p;
}
CVY_INLINE __m256 vf_permute_half(vf v, __m256i lane, __m256 high, __m256 none) /* a permutation looks at bits 0 .. 2 */
{
    return _mm256_andnot_ps(none, _mm256_blendv_ps(_mm256_permutevar8x32_ps(v.a, lane), _mm256_permutevar8x32_ps(v.b, lane), high));
}
CVY_INLINE vf vf_permute(vf v, vp p)
{
    return vf_pair(vf_permute_half(v, p.lane.a, p.high.a, p.none.a), vf_permute_half(v, p.lane.b, p.high.b, p.none.b));
}

#elif defined CVY_NEON

#if !defined __aarch64__ || !defined __ARM_NEON
#error "this network was emitted for neon: compile it for a 64-bit ARM processor (or emit it for another target)"
#endif
#include <arm_neon.h>
typedef struct vf { float32x4_t a, b, c, d; } vf;
typedef struct vu { uint32x4_t a, b, c, d; } vu;

CVY_INLINE vf vf_four(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) { vf r; r.a = a; r.b = b; r.c = c; r.d = d; return r; }
CVY_INLINE vu vu_four(uint32x4_t a, uint32x4_t b, uint32x4_t c, uint32x4_t d) { vu r; r.a = a; r.b = b; r.c = c; r.d = d; return r; }
#define CVY_FOUR(f, x, y) f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)
CVY_INLINE vf vf_set(float x) { const float32x4_t s = vdupq_n_f32(x); return vf_four(s, s, s, s); }
CVY_INLINE vf vf_load(const float *p) { return vf_four(vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)); }
CVY_INLINE vf vf_loadu(const float *p) { return vf_load(p); }
CVY_INLINE void vf_store(float *p, vf v) { vst1q_f32(p, v.a), vst1q_f32(p + 4, v.b), vst1q_f32(p + 8, v.c), vst1q_f32(p + 12, v.d); }
CVY_INLINE vf vf_add(vf x, vf y) { return vf_four(CVY_FOUR(vaddq_f32, x, y)); }
CVY_INLINE vf vf_sub(vf x, vf y) { return vf_four(CVY_FOUR(vsubq_f32, x, y)); }
CVY_INLINE vf vf_mul(vf x, vf y) { return vf_four(CVY_FOUR(vmulq_f32, x, y)); }
CVY_INLINE vf vf_div(vf x, vf y) { return vf_four(CVY_FOUR(vdivq_f32, x, y)); }
CVY_INLINE vf vf_fma(vf x, vf y, vf z)
{
    return vf_four(vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d));
}
CVY_INLINE vf vf_pick(vu m, vf x, vf y) /* x where m has ones, y where it has zeros */
{
    return vf_four(vbslq_f32(m.a, x.a, y.a), vbslq_f32(m.b, x.b, y.b), vbslq_f32(m.c, x.c, y.c), vbslq_f32(m.d, x.d, y.d));
}
/* not vmaxq, which gives a NaN wherever one operand is one */
CVY_INLINE vf vf_max(vf x, vf y) { return vf_pick(vu_four(CVY_FOUR(vcgtq_f32, x, y)), x, y); }
CVY_INLINE vf vf_min(vf x, vf y) { return vf_pick(vu_four(CVY_FOUR(vcltq_f32, x, y)), x, y); }
CVY_INLINE vf vf_if_positive(vf x, vf p, vf q) { const vf zero = vf_set(0); return vf_pick(vu_four(CVY_FOUR(vcgtq_f32, x, zero)), p, q); }
CVY_INLINE vf vf_unless_zero_or_below(vf x, vf p, vf q)
{
    const vf zero = vf_set(0);
    return vf_pick(vu_four(CVY_FOUR(vcleq_f32, x, zero)), q, p);
}
CVY_INLINE vf vf_if_less(vf x, vf y, vf p, vf q) { return vf_pick(vu_four(CVY_FOUR(vcltq_f32, x, y)), p, q); }
CVY_INLINE vf vf_if_equal(vf x, vf y, vf p) { return vf_pick(vu_four(CVY_FOUR(vceqq_f32, x, y)), p, vf_set(0)); }
CVY_INLINE vf vf_abs(vf v) { return vf_four(vabsq_f32(v.a), vabsq_f32(v.b), vabsq_f32(v.c), vabsq_f32(v.d)); }
CVY_INLINE void vf_route(vf *m, vf *route, vf x, float t)
{
    const vu over = vu_four(CVY_FOUR(vcgtq_f32, x, *m)), number = vu_four(CVY_FOUR(vceqq_f32, x, x));
    const vu won = vu_four(CVY_FOUR(vornq_u32, over, number));
    *m = vf_pick(won, x, *m);
    *route = vf_pick(won, vf_set(t), *route);
}
CVY_INLINE void vf_store_route(uint8_t *p, vf route)
{
    const uint16x8_t low = vcombine_u16(vmovn_u32(vcvtq_u32_f32(route.a)), vmovn_u32(vcvtq_u32_f32(route.b)));
    const uint16x8_t high = vcombine_u16(vmovn_u32(vcvtq_u32_f32(route.c)), vmovn_u32(vcvtq_u32_f32(route.d)));
    vst1q_u8(p, vcombine_u8(vmovn_u16(low), vmovn_u16(high)));
}
CVY_INLINE vf vf_load_route(const uint8_t *p)
{
    const uint8x16_t b = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(b)), high = vmovl_u8(vget_high_u8(b));
    return vf_four(vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
                   vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(high))));
}
CVY_INLINE void vf_add_to_part(double *d, float32x4_t v)
{
    vst1q_f64(d, vaddq_f64(vld1q_f64(d), vcvt_f64_f32(vget_low_f32(v))));
    vst1q_f64(d + 2, vaddq_f64(vld1q_f64(d + 2), vcvt_high_f64_f32(v)));
}
CVY_INLINE void vf_add_to(double *d, vf v)
{
    vf_add_to_part(d, v.a), vf_add_to_part(d + 4, v.b), vf_add_to_part(d + 8, v.c), vf_add_to_part(d + 12, v.d);
}
CVY_INLINE float32x4_t vf_exp2_part(float32x4_t n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23)); }
CVY_INLINE vf vf_exp2_int(vf n) { return vf_four(vf_exp2_part(n.a), vf_exp2_part(n.b), vf_exp2_part(n.c), vf_exp2_part(n.d)); }
CVY_INLINE vf vf_round(vf v) { return vf_four(vrndnq_f32(v.a), vrndnq_f32(v.b), vrndnq_f32(v.c), vrndnq_f32(v.d)); }
CVY_INLINE vu vu_set(uint32_t x) { const uint32x4_t s = vdupq_n_u32(x); return vu_four(s, s, s, s); }
CVY_INLINE vu vu_add(vu x, vu y) { return vu_four(CVY_FOUR(vaddq_u32, x, y)); }
CVY_INLINE vu vu_mul(vu x, vu y) { return vu_four(CVY_FOUR(vmulq_u32, x, y)); }
CVY_INLINE vu vu_xor(vu x, vu y) { return vu_four(CVY_FOUR(veorq_u32, x, y)); }
CVY_INLINE vu vu_shift_xor(vu x, int n)
{
    const int32x4_t s = vdupq_n_s32(-n);
    return vu_xor(x, vu_four(vshlq_u32(x.a, s), vshlq_u32(x.b, s), vshlq_u32(x.c, s), vshlq_u32(x.d, s)));
}
CVY_INLINE vu vu_lanes(uint32_t first, uint32_t step)
{
    static const uint32_t lane[4] = {0, 1, 2, 3};
    const uint32x4_t a = vmlaq_n_u32(vdupq_n_u32(first), vld1q_u32(lane), step), four = vdupq_n_u32(4 * step);
    const uint32x4_t b = vaddq_u32(a, four), c = vaddq_u32(b, four);
    return vu_four(a, b, c, vaddq_u32(c, four));
}
CVY_INLINE vf vu_if_at_least(vu x, vu y, vf v) { return vf_pick(vu_four(CVY_FOUR(vcgeq_u32, x, y)), v, vf_set(0)); }

#elif defined CVY_PORTABLE

/* Where compilers have vectors of four floats in registers. Others they take apart, a line of code a lane, which takes them minutes. */
#if defined __SSE2__ || defined __ARM_NEON || defined __VSX__ || defined __ALTIVEC__ || (defined __VX__ && defined __ARCH__ && __ARCH__ >= 12) || defined __mips_msa || \
    defined __loongarch_sx || defined __wasm_simd128__ || defined __riscv_v || (defined __ARM_FEATURE_MVE && __ARM_FEATURE_MVE & 2)
#define CVY_HAS_VECTORS 1
#endif
#if defined __GNUC__ && defined __FLT_EVAL_METHOD__ && __FLT_EVAL_METHOD__ == 0 && defined CVY_HAS_VECTORS && !defined CVY_SCALAR
/* gcc's and clang's own vectors of 16 bytes: SSE2, NEON, or whatever the processor has. The same bits as below. */
typedef float vf_part __attribute__((vector_size(16)));
typedef uint32_t vu_part __attribute__((vector_size(16)));
typedef int32_t vi_part __attribute__((vector_size(16)));
typedef struct vf { vf_part a, b, c, d; } vf;
typedef struct vu { vu_part a, b, c, d; } vu;

CVY_INLINE vf vf_set(float x) { const vf_part s = {x, x, x, x}; vf r; r.a = r.b = r.c = r.d = s; return r; }
CVY_INLINE vf vf_load(const float *p)
{
    vf r;
    memcpy(&r.a, p, 16), memcpy(&r.b, p + 4, 16), memcpy(&r.c, p + 8, 16), memcpy(&r.d, p + 12, 16);
    return r;
}
CVY_INLINE vf vf_loadu(const float *p) { return vf_load(p); }
CVY_INLINE void vf_store(float *p, vf v)
{
    memcpy(p, &v.a, 16), memcpy(p + 4, &v.b, 16), memcpy(p + 8, &v.c, 16), memcpy(p + 12, &v.d, 16);
}
CVY_INLINE vf vf_add(vf x, vf y) { x.a += y.a, x.b += y.b, x.c += y.c, x.d += y.d; return x; }
CVY_INLINE vf vf_sub(vf x, vf y) { x.a -= y.a, x.b -= y.b, x.c -= y.c, x.d -= y.d; return x; }
CVY_INLINE vf vf_mul(vf x, vf y) { x.a *= y.a, x.b *= y.b, x.c *= y.c, x.d *= y.d; return x; }
CVY_INLINE vf vf_div(vf x, vf y) { x.a /= y.a, x.b /= y.b, x.c /= y.c, x.d /= y.d; return x; }
CVY_INLINE vf vf_fma(vf x, vf y, vf z) { z.a += x.a * y.a, z.b += x.b * y.b, z.c += x.c * y.c, z.d += x.d * y.d; return z; }
/* a where m has ones, b where it has zeros */
CVY_INLINE vf_part vf_pick(vu_part m, vf_part a, vf_part b) { return (vf_part)((m & (vu_part)a) | (~m & (vu_part)b)); }
#define CVY_PICK(r, x, how, y, p, q) \
    (r).a = vf_pick((vu_part)((x).a how (y).a), (p).a, (q).a), (r).b = vf_pick((vu_part)((x).b how (y).b), (p).b, (q).b), \
    (r).c = vf_pick((vu_part)((x).c how (y).c), (p).c, (q).c), (r).d = vf_pick((vu_part)((x).d how (y).d), (p).d, (q).d)
CVY_INLINE vf vf_max(vf x, vf y) { vf r; CVY_PICK(r, x, >, y, x, y); return r; }
CVY_INLINE vf vf_min(vf x, vf y) { vf r; CVY_PICK(r, x, <, y, x, y); return r; }
CVY_INLINE vf vf_if_positive(vf x, vf p, vf q) { const vf zero = vf_set(0); vf r; CVY_PICK(r, x, >, zero, p, q); return r; }
CVY_INLINE vf vf_unless_zero_or_below(vf x, vf p, vf q) { const vf zero = vf_set(0); vf r; CVY_PICK(r, x, <=, zero, q, p); return r; }
CVY_INLINE vf vf_if_less(vf x, vf y, vf p, vf q) { vf r; CVY_PICK(r, x, <, y, p, q); return r; }
CVY_INLINE vf vf_if_equal(vf x, vf y, vf p) { const vf zero = vf_set(0); vf r; CVY_PICK(r, x, ==, y, p, zero); return r; }
CVY_INLINE vu vu_set(uint32_t x) { const vu_part s = {x, x, x, x}; vu r; r.a = r.b = r.c = r.d = s; return r; }
CVY_INLINE vf vf_abs(vf v)
{
    const vu_part m = vu_set(0x7fffffffu).a;
    v.a = (vf_part)((vu_part)v.a & m), v.b = (vf_part)((vu_part)v.b & m);
    v.c = (vf_part)((vu_part)v.c & m), v.d = (vf_part)((vu_part)v.d & m);
    return v;
}
CVY_INLINE void vf_route(vf *m, vf *route, vf x, float t)
{
    const vf tap = vf_set(t);
    vf best = *m, from = *route;
    CVY_PICK(best, x, >, *m, x, *m);
    CVY_PICK(from, x, >, *m, tap, *route);
    CVY_PICK(*m, x, ==, x, best, x); /* a NaN wins, and only another one beats it */
    CVY_PICK(*route, x, ==, x, from, tap);
}
CVY_INLINE vu vu_lanes(uint32_t first, uint32_t step)
{
    const vu_part a = {first, first + step, first + 2 * step, first + 3 * step}, four = vu_set(4 * step).a;
    vu r;
    r.a = a, r.b = a + four, r.c = r.b + four, r.d = r.c + four;
    return r;
}
CVY_INLINE vu vu_add(vu x, vu y) { x.a += y.a, x.b += y.b, x.c += y.c, x.d += y.d; return x; }
CVY_INLINE vu vu_mul(vu x, vu y) { x.a *= y.a, x.b *= y.b, x.c *= y.c, x.d *= y.d; return x; }
CVY_INLINE vu vu_xor(vu x, vu y) { x.a ^= y.a, x.b ^= y.b, x.c ^= y.c, x.d ^= y.d; return x; }
CVY_INLINE vu vu_shift_xor(vu x, int n)
{
    const vu_part s = vu_set((uint32_t)n).a;
    x.a ^= x.a >> s, x.b ^= x.b >> s, x.c ^= x.c >> s, x.d ^= x.d >> s;
    return x;
}
CVY_INLINE vf vu_if_at_least(vu x, vu y, vf v) { const vf zero = vf_set(0); vf r; CVY_PICK(r, x, >=, y, v, zero); return r; }
CVY_INLINE vf_part vf_of_int(vi_part v)
{
#if defined __clang__ || __GNUC__ >= 9
    return __builtin_convertvector(v, vf_part);
#else
    const vf_part r = {(float)v[0], (float)v[1], (float)v[2], (float)v[3]};
    return r;
#endif
}
/* To the nearest whole number, |v| < 2^22: of v + 3 2^22 the low bits are v's whole part, as integers are. (Less 3 2^22 it would be a float again;
 * but that a compiler which may reorder sums takes for v.) */
CVY_INLINE vf vf_round(vf v)
{
    const vf big = vf_set(12582912.0f), sum = vf_add(v, big);
    const vu_part zero = (vu_part)big.a;
    vf r;
    r.a = vf_of_int((vi_part)((vu_part)sum.a - zero)), r.b = vf_of_int((vi_part)((vu_part)sum.b - zero));
    r.c = vf_of_int((vi_part)((vu_part)sum.c - zero)), r.d = vf_of_int((vi_part)((vu_part)sum.d - zero));
    return r;
}
/* 2^n, n whole, -126 .. 127: the low bits of n + 2^23 + 127 are the exponent's */
CVY_INLINE vf vf_exp2_int(vf n)
{
    const vf v = vf_add(n, vf_set(8388608.0f + 127.0f));
    const vu_part s = vu_set(23).a;
    vf r;
    r.a = (vf_part)((vu_part)v.a << s), r.b = (vf_part)((vu_part)v.b << s);
    r.c = (vf_part)((vu_part)v.c << s), r.d = (vf_part)((vu_part)v.d << s);
    return r;
}
#define CVY_LANES for (int l = 0; l < VF; l++)
CVY_INLINE void vf_store_route(uint8_t *p, vf route) { float t[16]; vf_store(t, route); CVY_LANES p[l] = (uint8_t)t[l]; }
CVY_INLINE vf vf_load_route(const uint8_t *p) { float t[16]; CVY_LANES t[l] = (float)p[l]; return vf_load(t); }
CVY_INLINE void vf_add_to(double *d, vf v) { float t[16]; vf_store(t, v); CVY_LANES d[l] += (double)t[l]; }

#else /* any compiler of C99, and a processor without vectors: loops that stay loops, in functions that stay functions. Unrolled and inlined, as above, they
         are a line of code a lane, over which gcc is minutes. */

#if defined __i386__ && defined __GNUC__ && !defined __clang__
#pragma GCC optimize("no-ivopts") /* with the few registers of this processor gcc spends most of its time there, to no use */
#endif
typedef struct vf { float v[16]; } vf;
typedef struct vu { uint32_t v[16]; } vu;
#if defined __GNUC__
#define CVY_OP static __attribute__((noinline, unused))
#else
#define CVY_OP static inline
#endif
#if defined __clang__
#define CVY_EACH _Pragma("clang loop unroll(disable)") for (int l = 0; l < VF; l++)
#elif defined __GNUC__ && __GNUC__ >= 8
#define CVY_EACH _Pragma("GCC unroll 1") for (int l = 0; l < VF; l++)
#else
#define CVY_EACH for (int l = 0; l < VF; l++)
#endif

CVY_OP vf vf_set(float x) { vf r; CVY_EACH r.v[l] = x; return r; }
CVY_OP vf vf_load(const float *p) { vf r; memcpy(r.v, p, sizeof r.v); return r; }
CVY_OP vf vf_loadu(const float *p) { return vf_load(p); }
CVY_OP void vf_store(float *p, vf v) { memcpy(p, v.v, sizeof v.v); }
CVY_OP vf vf_add(vf a, vf b) { CVY_EACH a.v[l] += b.v[l]; return a; }
CVY_OP vf vf_sub(vf a, vf b) { CVY_EACH a.v[l] -= b.v[l]; return a; }
CVY_OP vf vf_mul(vf a, vf b) { CVY_EACH a.v[l] *= b.v[l]; return a; }
CVY_OP vf vf_div(vf a, vf b) { CVY_EACH a.v[l] /= b.v[l]; return a; }
CVY_OP vf vf_fma(vf a, vf b, vf c) { CVY_EACH c.v[l] += a.v[l] * b.v[l]; return c; }
CVY_OP vf vf_max(vf a, vf b) { CVY_EACH a.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l]; return a; }
CVY_OP vf vf_min(vf a, vf b) { CVY_EACH a.v[l] = a.v[l] < b.v[l] ? a.v[l] : b.v[l]; return a; }
CVY_OP vf vf_if_positive(vf x, vf a, vf b) { CVY_EACH a.v[l] = x.v[l] > 0 ? a.v[l] : b.v[l]; return a; }
CVY_OP vf vf_unless_zero_or_below(vf x, vf a, vf b) { CVY_EACH a.v[l] = x.v[l] <= 0 ? b.v[l] : a.v[l]; return a; }
CVY_OP vf vf_if_less(vf x, vf y, vf a, vf b) { CVY_EACH a.v[l] = x.v[l] < y.v[l] ? a.v[l] : b.v[l]; return a; }
CVY_OP vf vf_if_equal(vf x, vf y, vf a) { CVY_EACH a.v[l] = x.v[l] == y.v[l] ? a.v[l] : 0; return a; }
CVY_OP vf vf_abs(vf v) { CVY_EACH v.v[l] = fabsf(v.v[l]); return v; }
CVY_OP void vf_route(vf *m, vf *route, vf x, float t)
{
    CVY_EACH if (x.v[l] > m->v[l] || x.v[l] != x.v[l]) {
        m->v[l] = x.v[l];
        route->v[l] = t;
    }
}
CVY_OP void vf_store_route(uint8_t *p, vf route) { CVY_EACH p[l] = (uint8_t)route.v[l]; }
CVY_OP vf vf_load_route(const uint8_t *p) { vf r; CVY_EACH r.v[l] = (float)p[l]; return r; }
CVY_OP void vf_add_to(double *d, vf v) { CVY_EACH d[l] += (double)v.v[l]; }
CVY_OP float cvy_exp2_int(float n) /* 2^n by its exponent, n whole, -126 .. 127; of a NaN anything */
{
    const uint32_t bits = (uint32_t)((n == n ? (int)n : 0) + 127) << 23;
    memcpy(&n, &bits, sizeof n);
    return n;
}
CVY_OP vf vf_exp2_int(vf n) { CVY_EACH n.v[l] = cvy_exp2_int(n.v[l]); return n; }
CVY_OP vf vf_round(vf v) { CVY_EACH v.v[l] = rintf(v.v[l]); return v; }
CVY_OP vu vu_set(uint32_t x) { vu r; CVY_EACH r.v[l] = x; return r; }
CVY_OP vu vu_lanes(uint32_t first, uint32_t step) { vu r; CVY_EACH r.v[l] = first + (uint32_t)l * step; return r; }
CVY_OP vu vu_add(vu a, vu b) { CVY_EACH a.v[l] += b.v[l]; return a; }
CVY_OP vu vu_mul(vu a, vu b) { CVY_EACH a.v[l] *= b.v[l]; return a; }
CVY_OP vu vu_xor(vu a, vu b) { CVY_EACH a.v[l] ^= b.v[l]; return a; }
CVY_OP vu vu_shift_xor(vu a, int n) { CVY_EACH a.v[l] ^= a.v[l] >> n; return a; }
CVY_OP vf vu_if_at_least(vu a, vu b, vf v) { CVY_EACH v.v[l] = a.v[l] >= b.v[l] ? v.v[l] : 0; return v; }

#endif

#else
#error "no target: define CVY_AVX512, CVY_AVX2, CVY_NEON or CVY_PORTABLE"
#endif

CVY_INLINE vf vf_zero(void) { return vf_set(0.0f); }
/* Of three, the one between the others. */
CVY_INLINE vf vf_middle(vf a, vf b, vf c) { return vf_max(vf_min(a, b), vf_min(vf_max(a, b), c)); }
/* x * y + sum, where the sum stays in the register that it is in: of many sums in straight code, gcc moves some from one to another, and runs out of them. */
#if defined __GNUC__ && (defined CVY_AVX2 || defined CVY_AVX512)
#define CVY_KEEP_FMA(x, y, sum) __asm__("vfmadd231ps\t{%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(x), "v"(y))
CVY_INLINE vf vf_keep_fma(vf x, vf y, vf sum)
{
#if defined CVY_AVX512
    CVY_KEEP_FMA(x, y, sum);
#else
    CVY_KEEP_FMA(x.a, y.a, sum.a);
    CVY_KEEP_FMA(x.b, y.b, sum.b);
#endif
    return sum;
}
#else
CVY_INLINE vf vf_keep_fma(vf x, vf y, vf sum) { return vf_fma(x, y, sum); }
#endif
/* A sum over images: v is added to what is there; fresh: it is the first, and what is there is nothing yet. */
CVY_INLINE void vf_sum(float *to, vf v, int fresh)
{
    if (fresh)
        vf_store(to, v);
    else
        vf_store(to, vf_add(vf_load(to), v));
}

/* Whether the processor has the instructions that the target takes. Needs none of them itself. */
CVY_INLINE int cvy_supported(void)
{
#if defined CVY_AVX2
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined CVY_AVX512
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
#else
    return 1; /* every 64-bit ARM has neon, and portable is for all */
#endif
}

/* Adds a sum to 16 doubles, and begins it anew. */
CVY_INLINE void vf_drain(double *to, vf *sum)
{
    vf_add_to(to, *sum);
    *sum = vf_zero();
}

/* ---- loads and stores that are not a whole block ---- */

/* lanes 0 .. n-1 from p[l * stride], the rest zero (n >= 16: all) */
CVY_INLINE vf vf_gather(const float *p, ptrdiff_t stride, int n)
{
    float t[16] = {0};
    for (int l = 0; l < n && l < VF; l++)
        t[l] = p[l * stride];
    return vf_loadu(t);
}
CVY_INLINE void vf_scatter(float *p, ptrdiff_t stride, int n, vf v)
{
    float t[16];
    memcpy(t, &v, sizeof t);
    for (int l = 0; l < n && l < VF; l++)
        p[l * stride] = t[l];
}
/* v with lanes n .. 15 zeroed: after a stage that does not map 0 to 0, so that padding channels stay zero */
CVY_INLINE vf vf_first(vf v, int n)
{
    float t[16];
    memcpy(t, &v, sizeof t);
    for (int l = n < 0 ? 0 : n; l < VF; l++)
        t[l] = 0;
    return vf_loadu(t);
}

/* Four times four floats, one behind the other. */
CVY_INLINE vf vf_load_quads(const float *p, const float *q, const float *r, const float *s)
{
#if defined CVY_AVX512
    const __m256 low = _mm256_set_m128(_mm_loadu_ps(q), _mm_loadu_ps(p)), high = _mm256_set_m128(_mm_loadu_ps(s), _mm_loadu_ps(r));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
#elif defined CVY_AVX2
    return vf_pair(_mm256_set_m128(_mm_loadu_ps(q), _mm_loadu_ps(p)), _mm256_set_m128(_mm_loadu_ps(s), _mm_loadu_ps(r)));
#else
    float t[VF];
    memcpy(t, p, 16), memcpy(t + 4, q, 16), memcpy(t + 8, r, 16), memcpy(t + 12, s, 16);
    return vf_loadu(t);
#endif
}

/* Channels first .. first + 15 of a blocked image's pixel: p is that pixel in the image's first block, `area` its pixels. Of these
 * channels those in [0, end) are read (the rest is zero), written, or added to; first may be negative and need not begin a block. */
CVY_INLINE ptrdiff_t cvy_lane_at(ptrdiff_t area, int c) { return c / VF * area * VF + c % VF; }
/* Four of them at a time, where all begin at a multiple of four. */
CVY_INLINE int cvy_by_quads(int first, int end) { return ((first | end) & 3) == 0; }
CVY_INLINE const float *cvy_quad(const float *p, ptrdiff_t area, int c, int end)
{
    static const float none[4] = {0, 0, 0, 0};
    return c >= 0 && c < end ? p + cvy_lane_at(area, c) : none;
}
CVY_INLINE vf vf_load_lanes(const float *p, ptrdiff_t area, int first, int end)
{
    if (cvy_by_quads(first, end))
        return vf_load_quads(cvy_quad(p, area, first, end), cvy_quad(p, area, first + 4, end), cvy_quad(p, area, first + 8, end),
            cvy_quad(p, area, first + 12, end));
    float t[VF] = {0};
    for (int l = 0; l < VF; l++)
        if (first + l >= 0 && first + l < end)
            t[l] = p[cvy_lane_at(area, first + l)];
    return vf_loadu(t);
}
CVY_INLINE void vf_store_lanes(float *p, ptrdiff_t area, int first, int end, vf v)
{
    const int step = cvy_by_quads(first, end) ? 4 : 1;
    float t[VF];
    memcpy(t, &v, sizeof t);
    for (int l = 0; l < VF; l += step)
        if (first + l >= 0 && first + l < end) {
            float *const to = p + cvy_lane_at(area, first + l);
            if (step == 4)
                memcpy(to, t + l, 16);
            else
                *to = t[l];
        }
}
CVY_INLINE void vf_add_lanes(float *p, ptrdiff_t area, int first, int end, vf v)
{
    vf_store_lanes(p, area, first, end, vf_add(vf_load_lanes(p, area, first, end), v));
}
/* The same of an image in planes (NCHW). */
CVY_INLINE vf vf_gather_lanes(const float *p, ptrdiff_t area, int first, int end)
{
    float t[VF] = {0};
    for (int l = 0; l < VF; l++)
        if (first + l >= 0 && first + l < end)
            t[l] = p[(first + l) * area];
    return vf_loadu(t);
}

/* n floats (16 and more: 16) as doubles; and 16 back */
CVY_INLINE void vf_to_double(double *d, vf v, int n)
{
    float t[VF];
    memcpy(t, &v, sizeof t);
    for (int l = 0; l < n && l < VF; l++)
        d[l] = (double)t[l];
}
#ifdef CVY_AVX512
CVY_INLINE vf vf_from_double(const double *d)
{
    const __m512 low = _mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_loadu_pd(d)));
    return _mm512_insertf32x8(low, _mm512_cvtpd_ps(_mm512_loadu_pd(d + 8)), 1);
}
#else
CVY_INLINE vf vf_from_double(const double *d)
{
    float t[16];
    for (int l = 0; l < VF; l++)
        t[l] = (float)d[l];
    return vf_loadu(t);
}
#endif
/* Fills the halo of an image in scratch, `blocks` planes of rows x cols pixels of `lanes` floats, around its h x w content. */
CVY_INLINE void cvy_halo(float *p, int blocks, int rows, int cols, int top, int left, int h, int w, int lanes, float fill)
{
    for (int b = 0; b < blocks; b++)
        for (int y = 0; y < rows; y++) {
            float *row = p + ((ptrdiff_t)b * rows + y) * cols * lanes;
            const int inside = y >= top && y < top + h;
            for (int i = 0; i < (inside ? left : cols) * lanes; i++)
                row[i] = fill;
            for (int i = (left + w) * lanes; inside && i < cols * lanes; i++)
                row[i] = fill;
        }
}

/* A packed image of `area` pixels, halo and all, gathered for the `channels` of a conv's other side, so that lane meets lane. There a
 * group has `many` channels, here it has `few`: image j of the `few` of block b holds in lane l, for channel b 16 + l, the j-th of its
 * group. Lanes past the last channel are zero. */
CVY_KEEP void cvy_gather_lanes(const float *from, float *to, int area, int channels, int many, int few)
{
    const ptrdiff_t block = (ptrdiff_t)area * VF;

    for (int b = 0; b < channels; b += VF)
        for (int j = 0; j < few; j++, to += block) {
            const int lanes = channels - b < VF ? channels - b : VF;
            int source[VF] = {0}; /* channel of each lane, not falling */
            for (int l = 0; l < lanes; l++)
                source[l] = (b + l) / many * few + j;
#if defined CVY_PERMUTE
            for (int l = 0, end; l < lanes; l = end) { /* those of one block at a time */
                int lane[VF];
                memset(lane, 0xff, sizeof lane); /* -1 */
                for (end = l; end < lanes && source[end] / VF == source[l] / VF; end++)
                    lane[end] = source[end] % VF;
                const vp p = vp_load(lane);
                const float *const f = from + source[l] / VF * block;
                if (l == 0)
                    for (ptrdiff_t i = 0; i < block; i += VF)
                        vf_store(to + i, vf_permute(vf_load(f + i), p));
                else
                    for (ptrdiff_t i = 0; i < block; i += VF)
                        vf_store(to + i, vf_add(vf_load(to + i), vf_permute(vf_load(f + i), p)));
            }
#else
            ptrdiff_t at[VF];
            for (int l = 0; l < lanes; l++)
                at[l] = source[l] / VF * block + source[l] % VF;
            for (ptrdiff_t i = 0; i < block; i += VF) {
                float t[VF] = {0};
                for (int l = 0; l < lanes; l++)
                    t[l] = from[at[l] + i];
                vf_store(to + i, vf_loadu(t));
            }
#endif
        }
}

/* ---- a register's part of a vf, for transforms: a vf in two or four registers leaves too few for what a transform holds at once ---- */

#if defined CVY_AVX2
enum { VH = 8 }; /* floats in a vh */
typedef __m256 vh;
CVY_INLINE vh vh_set(float x) { return _mm256_set1_ps(x); }
CVY_INLINE vh vh_load(const float *p) { return _mm256_load_ps(p); }
CVY_INLINE void vh_store(float *p, vh v) { _mm256_store_ps(p, v); }
CVY_INLINE vh vh_add(vh a, vh b) { return _mm256_add_ps(a, b); }
CVY_INLINE vh vh_sub(vh a, vh b) { return _mm256_sub_ps(a, b); }
CVY_INLINE vh vh_mul(vh a, vh b) { return _mm256_mul_ps(a, b); }
CVY_INLINE vh vh_fma(vh a, vh b, vh c) { return _mm256_fmadd_ps(a, b, c); }
#elif defined CVY_NEON
enum { VH = 4 };
typedef float32x4_t vh;
CVY_INLINE vh vh_set(float x) { return vdupq_n_f32(x); }
CVY_INLINE vh vh_load(const float *p) { return vld1q_f32(p); }
CVY_INLINE void vh_store(float *p, vh v) { vst1q_f32(p, v); }
CVY_INLINE vh vh_add(vh a, vh b) { return vaddq_f32(a, b); }
CVY_INLINE vh vh_sub(vh a, vh b) { return vsubq_f32(a, b); }
CVY_INLINE vh vh_mul(vh a, vh b) { return vmulq_f32(a, b); }
CVY_INLINE vh vh_fma(vh a, vh b, vh c) { return vfmaq_f32(c, a, b); }
#else
enum { VH = VF };
typedef vf vh;
CVY_INLINE vh vh_set(float x) { return vf_set(x); }
CVY_INLINE vh vh_load(const float *p) { return vf_load(p); }
CVY_INLINE void vh_store(float *p, vh v) { vf_store(p, v); }
CVY_INLINE vh vh_add(vh a, vh b) { return vf_add(a, b); }
CVY_INLINE vh vh_sub(vh a, vh b) { return vf_sub(a, b); }
CVY_INLINE vh vh_mul(vh a, vh b) { return vf_mul(a, b); }
CVY_INLINE vh vh_fma(vh a, vh b, vh c) { return vf_fma(a, b, c); }
#endif

/* ---- Winograd F(4x4, 3x3): y = A^T ((G w G^T) . (B^T d B)) A for a tile of 4 x 4 outputs y and its 6 x 6 inputs d (Lavin and Gray
 * 2016), with the points 0, +-5/8, +-3/2 and infinity, whose errors are half of those of +-1, +-2. The 36 products of a tile are sums
 * over channels: 36 products of matrices, tiles x channels. ---- */

#define CVY_A 0.625f /* the points: +-a, +-b */
#define CVY_B 1.5f
#define CVY_AA (CVY_A * CVY_A)
#define CVY_BB (CVY_B * CVY_B)

/* B^T d: the polynomial m(x) / (x - p) of each point p applied to d, m(x) = x (x^2 - a^2) (x^2 - b^2); m(x) for infinity. */
CVY_INLINE void vh_winograd_in(vh d0, vh d1, vh d2, vh d3, vh d4, vh d5, vh *to, int step)
{
    const vh sum = vh_set(-(CVY_AA + CVY_BB)), product = vh_set(CVY_AA * CVY_BB), aa = vh_set(-CVY_AA), bb = vh_set(-CVY_BB);
    const vh even_a = vh_fma(bb, d2, d4), odd_a = vh_mul(vh_set(CVY_A), vh_fma(bb, d1, d3));
    const vh even_b = vh_fma(aa, d2, d4), odd_b = vh_mul(vh_set(CVY_B), vh_fma(aa, d1, d3));
    to[0] = vh_fma(product, d0, vh_fma(sum, d2, d4));
    to[step] = vh_add(even_a, odd_a);
    to[2 * step] = vh_sub(even_a, odd_a);
    to[3 * step] = vh_add(even_b, odd_b);
    to[4 * step] = vh_sub(even_b, odd_b);
    to[5 * step] = vh_fma(product, d1, vh_fma(sum, d3, d5));
}
/* A y: the polynomial with coefficients y at each point, the highest at infinity. */
CVY_INLINE void vh_winograd_spread(vh y0, vh y1, vh y2, vh y3, vh *to, int step)
{
    const vh even_a = vh_fma(vh_set(CVY_AA), y2, y0), odd_a = vh_mul(vh_set(CVY_A), vh_fma(vh_set(CVY_AA), y3, y1));
    const vh even_b = vh_fma(vh_set(CVY_BB), y2, y0), odd_b = vh_mul(vh_set(CVY_B), vh_fma(vh_set(CVY_BB), y3, y1));
    to[0] = y0;
    to[step] = vh_add(even_a, odd_a);
    to[2 * step] = vh_sub(even_a, odd_a);
    to[3 * step] = vh_add(even_b, odd_b);
    to[4 * step] = vh_sub(even_b, odd_b);
    to[5 * step] = y3;
}
/* A^T m */
CVY_INLINE void vh_winograd_out(vh m0, vh m1, vh m2, vh m3, vh m4, vh m5, vh *to, int step)
{
    const vh even_a = vh_add(m1, m2), odd_a = vh_sub(m1, m2), even_b = vh_add(m3, m4), odd_b = vh_sub(m3, m4);
    to[0] = vh_add(m0, vh_add(even_a, even_b));
    to[step] = vh_fma(vh_set(CVY_A), odd_a, vh_mul(vh_set(CVY_B), odd_b));
    to[2 * step] = vh_fma(vh_set(CVY_AA), even_a, vh_mul(vh_set(CVY_BB), even_b));
    to[3 * step] = vh_fma(vh_set(CVY_A * CVY_AA), odd_a, vh_fma(vh_set(CVY_B * CVY_BB), odd_b, m5));
}
/* G^T u: G's row of point p is 1, p, p^2, divided by the product of p's distances from the other points. */
CVY_INLINE void vh_winograd_taps(vh u0, vh u1, vh u2, vh u3, vh u4, vh u5, vh *to, int step)
{
    const vh na = vh_set(1 / (2 * CVY_AA * (CVY_AA - CVY_BB))), nb = vh_set(1 / (2 * CVY_BB * (CVY_BB - CVY_AA)));
    const vh even_a = vh_mul(na, vh_add(u1, u2)), odd_a = vh_mul(na, vh_sub(u1, u2));
    const vh even_b = vh_mul(nb, vh_add(u3, u4)), odd_b = vh_mul(nb, vh_sub(u3, u4));
    to[0] = vh_fma(vh_set(1 / (CVY_AA * CVY_BB)), u0, vh_add(even_a, even_b));
    to[step] = vh_fma(vh_set(CVY_A), odd_a, vh_mul(vh_set(CVY_B), odd_b));
    to[2 * step] = vh_fma(vh_set(CVY_AA), even_a, vh_fma(vh_set(CVY_BB), even_b, u5));
}

/* G w: the row of point p is 1, p, p^2, divided by the product of p's distances from the other points. */
CVY_INLINE void vh_winograd_points(vh w0, vh w1, vh w2, vh *to, int step)
{
    const vh na = vh_set(1 / (2 * CVY_AA * (CVY_AA - CVY_BB))), nb = vh_set(1 / (2 * CVY_BB * (CVY_BB - CVY_AA)));
    const vh a_na = vh_set(CVY_A / (2 * CVY_AA * (CVY_AA - CVY_BB))), b_nb = vh_set(CVY_B / (2 * CVY_BB * (CVY_BB - CVY_AA)));
    const vh even_a = vh_mul(na, vh_fma(vh_set(CVY_AA), w2, w0)), odd_a = vh_mul(a_na, w1);
    const vh even_b = vh_mul(nb, vh_fma(vh_set(CVY_BB), w2, w0)), odd_b = vh_mul(b_nb, w1);
    to[0] = vh_mul(vh_set(1 / (CVY_AA * CVY_BB)), w0);
    to[step] = vh_add(even_a, odd_a);
    to[2 * step] = vh_sub(even_a, odd_a);
    to[3 * step] = vh_add(even_b, odd_b);
    to[4 * step] = vh_sub(even_b, odd_b);
    to[5 * step] = w2;
}

/* Where tiles lie: `across` of them a row, `tiles` an image; of the packed images, each tile's first pixel on; and where each of the
 * 36 points of a block of tiles goes, [36][blocks][tiles][16]. Floats. */
struct cvy_tiles {
    int across, tiles, blocks;
    ptrdiff_t image, row, block; /* from one image, row of pixels, block of channels to the next */
    ptrdiff_t point, to_block;   /* of the 36, from one point, block of channels to the next */
};
CVY_INLINE const float *cvy_tile(const struct cvy_tiles *g, const float *x, int t)
{
    const int tile = t % g->tiles;
    return x + t / g->tiles * g->image + tile / g->across * 4 * g->row + tile % g->across * (4 * VF);
}
/* r's six values to six points of a transformed tile, from `to` on; gives where the next six begin. */
CVY_INLINE float *cvy_six_points(const vh *r, float *to, ptrdiff_t point)
{
    vh_store(to, r[0]), to += point;
    vh_store(to, r[1]), to += point;
    vh_store(to, r[2]), to += point;
    vh_store(to, r[3]), to += point;
    vh_store(to, r[4]), to += point;
    vh_store(to, r[5]), to += point;
    return to;
}
/* B^T d B of the 6 x 6 pixels of `n` tiles from tile `first` on. */
CVY_KEEP void cvy_winograd_in(const struct cvy_tiles *g, const float *x, int first, int n, float *to)
{
    const ptrdiff_t row = g->row, point = g->point; /* copies, as a store might change them */
    for (int t = 0; t < n; t++, to += VF) {
        const float *d = cvy_tile(g, x, first + t);
        float *v = to;
        for (int b = 0; b < g->blocks; b++, d += g->block, v += g->to_block)
            for (int h = 0; h < VF; h += VH) {
                vh s[36];
                for (int j = 0; j < 6; j++) {
                    const float *const p = d + h + j * VF;
                    vh_winograd_in(vh_load(p), vh_load(p + row), vh_load(p + 2 * row), vh_load(p + 3 * row), vh_load(p + 4 * row),
                        vh_load(p + 5 * row), s + j, 6);
                }
                float *q = v + h;
                for (int i = 0; i < 36; i += 6) {
                    vh r[6];
                    vh_winograd_in(s[i], s[i + 1], s[i + 2], s[i + 3], s[i + 4], s[i + 5], r, 1);
                    q = cvy_six_points(r, q, point);
                }
            }
    }
}
/* U = G w G^T of `blocks` blocks of 16 x 16 channels; w [blocks][9 taps][16][16], the taps `tap` floats apart; u's points `point`, its
 * blocks 256. */
CVY_KEEP void cvy_winograd_points(const float *w, ptrdiff_t tap, int blocks, float *u, ptrdiff_t point)
{
    for (int b = 0; b < blocks; b++, w += 8 * 256)
        for (int l = 0; l < 256; l += VH, w += VH, u += VH) {
            vh s[18];
            for (int j = 0; j < 3; j++)
                vh_winograd_points(vh_load(w + j * tap), vh_load(w + (3 + j) * tap), vh_load(w + (6 + j) * tap), s + j, 3);
            float *q = u;
            for (int i = 0; i < 18; i += 3) {
                vh r[6];
                vh_winograd_points(s[i], s[i + 1], s[i + 2], r, 1);
                q = cvy_six_points(r, q, point);
            }
        }
}
/* A y A^T of the 4 x 4 pixels of `n` tiles from tile `first` on. */
CVY_KEEP void cvy_winograd_spread(const struct cvy_tiles *g, const float *y, int first, int n, float *to)
{
    const ptrdiff_t row = g->row, point = g->point; /* copies, as a store might change them */
    for (int t = 0; t < n; t++, to += VF) {
        const float *d = cvy_tile(g, y, first + t);
        float *v = to;
        for (int b = 0; b < g->blocks; b++, d += g->block, v += g->to_block)
            for (int h = 0; h < VF; h += VH) {
                vh s[24];
                for (int j = 0; j < 4; j++) {
                    const float *const p = d + h + j * VF;
                    vh_winograd_spread(vh_load(p), vh_load(p + row), vh_load(p + 2 * row), vh_load(p + 3 * row), s + j, 4);
                }
                float *q = v + h;
                for (int i = 0; i < 24; i += 4) {
                    vh r[6];
                    vh_winograd_spread(s[i], s[i + 1], s[i + 2], s[i + 3], r, 1);
                    q = cvy_six_points(r, q, point);
                }
            }
    }
}
/* y = A^T m A + bias of one tile, m's points `point` floats apart: y [16 pixels][16], row by row; bias may be NULL. */
CVY_INLINE void cvy_winograd_out(const float *m, ptrdiff_t point, const float *bias, float *y)
{
    for (int h = 0; h < VF; h += VH, m += VH) {
        const vh add = bias ? vh_load(bias + h) : vh_set(0);
        vh s[24];
        for (int j = 0; j < 6; j++) {
            const float *const p = m + j * point;
            vh_winograd_out(vh_load(p), vh_load(p + 6 * point), vh_load(p + 12 * point), vh_load(p + 18 * point), vh_load(p + 24 * point),
                vh_load(p + 30 * point), s + j, 6);
        }
        for (int i = 0; i < 4; i++) {
            vh r[4];
            vh_winograd_out(s[6 * i], s[6 * i + 1], s[6 * i + 2], s[6 * i + 3], s[6 * i + 4], s[6 * i + 5], r, 1);
            for (int k = 0; k < 4; k++)
                vh_store(y + (4 * i + k) * VF + h, vh_add(r[k], add));
        }
    }
}
/* dw[9][16][16] += G^T u G for 16 x 16 channels, fresh: dw = it; u[36][16][16]. */
CVY_KEEP void cvy_winograd_taps(const float *u, float *dw, int fresh)
{
    for (int l = 0; l < 256; l += VH, u += VH, dw += VH) {
        vh s[18];
        for (int j = 0; j < 6; j++) {
            const float *const p = u + j * 256;
            vh_winograd_taps(vh_load(p), vh_load(p + 6 * 256), vh_load(p + 12 * 256), vh_load(p + 18 * 256), vh_load(p + 24 * 256),
                vh_load(p + 30 * 256), s + j, 6);
        }
        for (int i = 0; i < 3; i++) {
            vh r[3];
            vh_winograd_taps(s[6 * i], s[6 * i + 1], s[6 * i + 2], s[6 * i + 3], s[6 * i + 4], s[6 * i + 5], r, 1);
            for (int k = 0; k < 3; k++) {
                float *const d = dw + (3 * i + k) * 256;
                vh_store(d, fresh ? r[k] : vh_add(vh_load(d), r[k]));
            }
        }
    }
}

CVY_INLINE int cvy_smaller(int a, int b) { return a < b ? a : b; }
CVY_INLINE int cvy_larger(int a, int b) { return a > b ? a : b; }
/* Of `rows` rows that meet rows at, at + step, ... of another image: the first that meets one of its `size`, and the one behind the last. */
CVY_INLINE int cvy_rows_from(int at, int step, int size, int rows)
{
    const int from = step > 0 ? (at < 0 ? (step - 1 - at) / step : 0) : at >= size ? (at - size) / -step + 1 : 0;
    return from < rows ? from : rows;
}
CVY_INLINE int cvy_rows_to(int at, int step, int size, int rows)
{
    const int to = step > 0 ? (at < size ? (size - 1 - at) / step + 1 : 0) : at >= 0 ? at / -step + 1 : 0;
    return to < rows ? to : rows;
}

/* What a core calls for the registers it finishes: begin for channel block c with the first register and its place, point
 * for each register, end. All three are inlined. */
typedef void cvy_begin(void *run, int c, vf first, int y, int x);
typedef vf cvy_point(void *run, vf v, int y, int x);
typedef void cvy_end(void *run);
CVY_INLINE void cvy_end_nothing(void *run) { (void)run; }
/* Of a core that takes several images: what comes is of the m-th. */
typedef void cvy_image(void *run, int m);
CVY_INLINE void cvy_image_only(void *run, int m) { (void)run, (void)m; }
/* Where no core makes the values: a walk over an image of h x w pixels that reads them. */
typedef vf cvy_read(const void *run, int y, int x);
CVY_INLINE void cvy_walk(void *run, int channels, int h, int w, cvy_begin *begin, cvy_read *read, cvy_point *point, cvy_end *end)
{
    for (int c = 0; c < channels; c += VF) {
        begin(run, c, vf_zero(), 0, 0);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w;) {
                const int stop = w - x > CVY_SUM ? x + CVY_SUM : w;
                for (; x < stop; x++)
                    point(run, read(run, y, x), y, x);
                end(run);
            }
    }
}

/* Features f .. f + 15 of the flattened (C, H, W) image at p (blocked, no halo), H * W = area, `total` features; and back. */
CVY_INLINE vf vf_flatten(const float *p, int area, int f, int total)
{
    float t[16] = {0};
    for (int l = 0; l < VF && f + l < total; l++)
        t[l] = p[((ptrdiff_t)((f + l) / area / VF) * area + (f + l) % area) * VF + (f + l) / area % VF];
    return vf_loadu(t);
}
CVY_INLINE void vf_unflatten(float *p, int area, int f, int total, vf v)
{
    float t[16];
    memcpy(t, &v, sizeof t);
    for (int l = 0; l < VF && f + l < total; l++)
        p[((ptrdiff_t)((f + l) / area / VF) * area + (f + l) % area) * VF + (f + l) / area % VF] = t[l];
}

/* ---- activations: where v is not a number the result is none, as PyTorch has it, in backward, too ---- */

CVY_INLINE vf vf_relu(vf v) { return vf_max(vf_zero(), v); }
/* g, but zero where the relu's input (or output) was zero or below */
CVY_INLINE vf vf_relu_back(vf g, vf x) { return vf_unless_zero_or_below(x, g, vf_zero()); }
CVY_INLINE vf vf_leaky_relu(vf v, float slope) { return vf_if_positive(v, v, vf_mul(v, vf_set(slope))); }
CVY_INLINE vf vf_leaky_relu_back(vf g, vf x, float slope) { return vf_if_positive(x, g, vf_mul(g, vf_set(slope))); }

/* v = n ln 2 + r with |r| <= ln 2 / 2, v clamped to [-87, 88]; returns (e^r - 1) / r, Taylor to r^6, and 2^n */
CVY_INLINE vf vf_exp_parts(vf v, vf *r, vf *power)
{
    v = vf_min(vf_set(88.0f), vf_max(vf_set(-87.0f), v));
    const vf n = vf_round(vf_mul(v, vf_set(1.44269504f)));
    *r = vf_fma(n, vf_set(-0.693359375f), v); /* ln 2 in two parts */
    *r = vf_fma(n, vf_set(2.12194440e-4f), *r);
    *power = vf_exp2_int(n);
    vf p = vf_set(1.0f / 5040);
    p = vf_fma(p, *r, vf_set(1.0f / 720));
    p = vf_fma(p, *r, vf_set(1.0f / 120));
    p = vf_fma(p, *r, vf_set(1.0f / 24));
    p = vf_fma(p, *r, vf_set(1.0f / 6));
    p = vf_fma(p, *r, vf_set(0.5f));
    return vf_fma(p, *r, vf_set(1.0f));
}
/* e^v, relative error below 2e-7 on [-87, 88] */
CVY_INLINE vf vf_exp(vf v)
{
    vf r, power;
    const vf p = vf_exp_parts(v, &r, &power);
    return vf_mul(vf_fma(p, r, vf_set(1.0f)), power);
}
/* e^v - 1, as accurate near zero, too */
CVY_INLINE vf vf_expm1(vf v)
{
    vf r, power;
    const vf p = vf_exp_parts(v, &r, &power);
    return vf_fma(vf_mul(p, r), power, vf_sub(power, vf_set(1.0f)));
}
/* ln(1 + u) for u in [0, 1]: 2 artanh(s) with s = u / (2 + u) <= 1/3, its series to s^15 */
CVY_INLINE vf vf_log1p(vf u)
{
    const vf s = vf_div(u, vf_add(u, vf_set(2.0f))), z = vf_mul(s, s);
    vf p = vf_set(2.0f / 15);
    p = vf_fma(p, z, vf_set(2.0f / 13));
    p = vf_fma(p, z, vf_set(2.0f / 11));
    p = vf_fma(p, z, vf_set(2.0f / 9));
    p = vf_fma(p, z, vf_set(2.0f / 7));
    p = vf_fma(p, z, vf_set(2.0f / 5));
    p = vf_fma(p, z, vf_set(2.0f / 3));
    p = vf_fma(p, z, vf_set(2.0f));
    return vf_mul(p, s);
}
CVY_INLINE vf vf_sigmoid(vf v) { return vf_div(vf_set(1), vf_add(vf_set(1), vf_exp(vf_sub(vf_zero(), v)))); }
CVY_INLINE vf vf_sigmoid_back(vf g, vf y) { return vf_mul(g, vf_mul(y, vf_sub(vf_set(1), y))); }
/* 1 - 2 / (e^2v + 1); near zero, where that cancels, v + v^3 p(v^2) (coefficients: Cephes tanhf) */
CVY_INLINE vf vf_tanh(vf v)
{
    const vf z = vf_mul(v, v), e = vf_exp(vf_add(v, v));
    const vf far = vf_sub(vf_set(1), vf_div(vf_set(2), vf_add(e, vf_set(1))));
    vf p = vf_set(-5.70498872745e-3f);
    p = vf_fma(p, z, vf_set(2.06390887954e-2f));
    p = vf_fma(p, z, vf_set(-5.37397155531e-2f));
    p = vf_fma(p, z, vf_set(1.33314422036e-1f));
    p = vf_fma(p, z, vf_set(-3.33332819422e-1f));
    return vf_if_less(vf_abs(v), vf_set(0.625f), vf_fma(vf_mul(p, z), v, v), far);
}
CVY_INLINE vf vf_tanh_back(vf g, vf y) { return vf_mul(g, vf_sub(vf_set(1), vf_mul(y, y))); }
CVY_INLINE vf vf_silu(vf v) { return vf_mul(v, vf_sigmoid(v)); }
CVY_INLINE vf vf_silu_back(vf g, vf x)
{
    const vf s = vf_sigmoid(x);
    return vf_mul(g, vf_fma(vf_mul(x, s), vf_sub(vf_set(1), s), s)); /* s + x s (1 - s) */
}

/* v above zero, alpha (e^v - 1) below */
CVY_INLINE vf vf_elu(vf v, float alpha) { return vf_if_positive(v, v, vf_mul(vf_expm1(vf_min(vf_zero(), v)), vf_set(alpha))); }
CVY_INLINE vf vf_elu_back(vf g, vf y, float alpha) { return vf_if_positive(y, g, vf_mul(g, vf_add(y, vf_set(alpha)))); }
/* Klambauer et al. 2017: elu of alpha 1.67326, times 1.05070 */
CVY_INLINE vf vf_selu(vf v)
{
    return vf_if_positive(v, vf_mul(v, vf_set(1.05070099f)), vf_mul(vf_expm1(vf_min(vf_zero(), v)), vf_set(1.75809934f)));
}
CVY_INLINE vf vf_selu_back(vf g, vf y) { return vf_mul(g, vf_if_positive(y, vf_set(1.05070099f), vf_add(y, vf_set(1.75809934f)))); }
/* The normal distribution: its integral up to v, and *bell = e^(-v^2 / 2). For -|v| it is bell times a polynomial in
 * 1 / (1 + 0.35 |v|), a minimax fit whose relative error is below 4e-8 down to v = -13; so the tail is as accurate as the middle. */
CVY_INLINE vf vf_normal(vf v, vf *bell)
{
    const vf t = vf_div(vf_set(1.0f), vf_fma(vf_abs(v), vf_set(0.35f), vf_set(1.0f)));
    *bell = vf_exp(vf_mul(vf_mul(v, v), vf_set(-0.5f)));
    vf p = vf_set(-2.911511995e-2f);
    p = vf_fma(p, t, vf_set(1.438189149e-1f));
    p = vf_fma(p, t, vf_set(-2.553919852e-1f));
    p = vf_fma(p, t, vf_set(1.587976366e-1f));
    p = vf_fma(p, t, vf_set(-2.284413204e-2f));
    p = vf_fma(p, t, vf_set(1.053924263e-1f));
    p = vf_fma(p, t, vf_set(1.198630258e-1f));
    p = vf_fma(p, t, vf_set(1.398575753e-1f));
    p = vf_fma(p, t, vf_set(1.396216601e-1f));
    const vf below = vf_mul(vf_mul(p, t), *bell);
    return vf_if_positive(v, vf_sub(vf_set(1.0f), below), below);
}
CVY_INLINE vf vf_gelu(vf v)
{
    vf bell;
    return vf_mul(v, vf_normal(v, &bell));
}
CVY_INLINE vf vf_gelu_back(vf g, vf x)
{
    vf bell;
    const vf below = vf_normal(x, &bell);
    return vf_mul(g, vf_fma(vf_mul(x, bell), vf_set(0.398942280f), below)); /* the integral + x the density */
}
/* v tanh(ln(1 + e^v)) = v n / (n + 2) with n = e^v (e^v + 2); past 20 it is v */
CVY_INLINE vf vf_mish(vf v)
{
    const vf e = vf_exp(vf_min(vf_set(20.0f), v)), n = vf_mul(e, vf_add(e, vf_set(2.0f)));
    return vf_mul(v, vf_div(n, vf_add(n, vf_set(2.0f))));
}
CVY_INLINE vf vf_mish_back(vf g, vf x)
{
    const vf e = vf_exp(vf_min(vf_set(20.0f), x)), n = vf_mul(e, vf_add(e, vf_set(2.0f))), m = vf_add(n, vf_set(2.0f));
    const vf slope = vf_div(vf_mul(vf_mul(vf_set(4.0f), e), vf_add(e, vf_set(1.0f))), vf_mul(m, m)); /* (1 - tanh^2) sigmoid */
    return vf_mul(g, vf_fma(x, slope, vf_div(n, m)));
}
/* ln(1 + e^v) */
CVY_INLINE vf vf_softplus(vf v) { return vf_add(vf_max(vf_zero(), v), vf_log1p(vf_exp(vf_sub(vf_zero(), vf_abs(v))))); }
CVY_INLINE vf vf_softplus_back(vf g, vf y) { return vf_mul(g, vf_sub(vf_zero(), vf_expm1(vf_sub(vf_zero(), y)))); } /* sigmoid = 1 - e^-y */
CVY_INLINE vf vf_relu6(vf v) { return vf_min(vf_set(6.0f), vf_relu(v)); }
CVY_INLINE vf vf_relu6_back(vf g, vf y) { return vf_if_positive(y, vf_if_less(y, vf_set(6.0f), g, vf_zero()), vf_zero()); }
/* (v + 3) / 6 between 0 and 1 */
CVY_INLINE vf vf_hard_sigmoid(vf v) { return vf_min(vf_set(1.0f), vf_div(vf_relu(vf_add(v, vf_set(3.0f))), vf_set(6.0f))); }
CVY_INLINE vf vf_hard_sigmoid_back(vf g, vf y)
{
    return vf_if_positive(y, vf_if_less(y, vf_set(1.0f), vf_mul(g, vf_set(1.0f / 6)), vf_zero()), vf_zero());
}
CVY_INLINE vf vf_hard_swish(vf v) { return vf_mul(v, vf_hard_sigmoid(v)); }
/* x / 3 + 1/2 between -3 and 3 */
CVY_INLINE vf vf_hard_swish_back(vf g, vf x)
{
    const vf inside = vf_mul(g, vf_fma(x, vf_set(1.0f / 3), vf_set(0.5f)));
    return vf_unless_zero_or_below(vf_sub(vf_set(3.0f), x), vf_unless_zero_or_below(vf_add(x, vf_set(3.0f)), inside, vf_zero()), g);
}
/* v, at least min, at most max */
CVY_INLINE vf vf_hard_tanh(vf v, float min, float max) { return vf_min(vf_set(max), vf_max(vf_set(min), v)); }
CVY_INLINE vf vf_hard_tanh_back(vf g, vf y, float min, float max)
{
    return vf_if_less(vf_set(min), y, vf_if_less(y, vf_set(max), g, vf_zero()), vf_zero());
}
/* leaky(v) - sub, at most maxv (FLT_MAX: there is none); the gradient passes where that is not above maxv */
CVY_INLINE vf vf_general_relu(vf v, float leak, float sub, float maxv)
{
    return vf_min(vf_set(maxv), vf_sub(vf_leaky_relu(v, leak), vf_set(sub)));
}
CVY_INLINE vf vf_general_relu_back(vf g, vf x, float leak, float sub, float maxv)
{
    const vf back = vf_leaky_relu_back(g, x, leak), above = vf_sub(vf_sub(vf_leaky_relu(x, leak), vf_set(sub)), vf_set(maxv));
    return maxv < 3.4e38f ? vf_unless_zero_or_below(above, vf_zero(), back) : back;
}

/* ---- norms in a run: it has one of these for each, and what it does not use of them costs nothing, as it stays in registers ---- */

/* A sum over values, of which `to` gets each row's or tile's: in doubles. */
struct vf_sum {
    double *to;
    vf sum;
};
CVY_INLINE void vf_sum_begin(struct vf_sum *s, double *to)
{
    s->to = to;
    s->sum = vf_zero();
}
CVY_INLINE void vf_sum_take(struct vf_sum *s, vf v) { s->sum = vf_add(s->sum, v); }
CVY_INLINE void vf_sum_drain(struct vf_sum *s) { vf_drain(s->to, &s->sum); }

/* A norm's constants for 16 channels, and what backward sums. */
struct vf_norm {
    vf mean, scale, shift; /* (v - mean) * scale + shift; shift carries what the mean's float lost (cvy_bn_forward) */
    vf istd, off;          /* xhat = (v - mean) * istd + off */
    struct vf_sum g, g_xhat;
};
/* The constants are arrays of `padded` floats, one behind the other: a cvy_bn's, what cvy_gn_constants makes, or the first three as
 * cvy_fold_affine makes them. */
CVY_INLINE void vf_norm_load(struct vf_norm *n, const float *mean, ptrdiff_t padded)
{
    n->mean = vf_loadu(mean);
    n->scale = vf_loadu(mean + padded);
    n->shift = vf_loadu(mean + 2 * padded);
}
/* What backward needs, too. */
CVY_INLINE void vf_norm_load_back(struct vf_norm *n, const float *mean, ptrdiff_t padded)
{
    vf_norm_load(n, mean, padded);
    n->istd = vf_loadu(mean + 3 * padded);
    n->off = vf_loadu(mean + 4 * padded);
}
CVY_INLINE vf vf_norm(vf v, const struct vf_norm *n) { return vf_fma(vf_sub(v, n->mean), n->scale, n->shift); }
CVY_INLINE void vf_norm_begin(struct vf_norm *n, double *sums, ptrdiff_t padded)
{
    vf_sum_begin(&n->g, sums);
    vf_sum_begin(&n->g_xhat, sums + padded);
}
CVY_INLINE void vf_norm_take(struct vf_norm *n, vf v, vf g)
{
    vf_sum_take(&n->g, g);
    n->g_xhat.sum = vf_fma(g, vf_fma(vf_sub(v, n->mean), n->istd, n->off), n->g_xhat.sum);
}
CVY_INLINE void vf_norm_drain(struct vf_norm *n)
{
    vf_sum_drain(&n->g);
    vf_sum_drain(&n->g_xhat);
}

/* dL/dv = sum over the norms that read v of scale * (g - mean(g) - xhat mean(g xhat))   (Ioffe & Szegedy 2015, section 3): g is the
 * sum of scale * g already, the rest, what their statistics take away, is back_x (v - mean) + back_1 (cvy_bn_back) */
struct vf_taken {
    vf mean, back_x, back_1;
};
CVY_INLINE void vf_taken_load(struct vf_taken *t, const float *mean, ptrdiff_t padded)
{
    t->mean = vf_loadu(mean);
    t->back_x = vf_loadu(mean + padded);
    t->back_1 = vf_loadu(mean + 2 * padded);
}
CVY_INLINE vf vf_norm_back(vf g, vf v, const struct vf_taken *t) { return vf_add(g, vf_fma(vf_sub(v, t->mean), t->back_x, t->back_1)); }

/* Statistics in the making. `part`: pivot, sum of v - pivot, sum of its square, arrays of `padded` doubles. */
struct vf_stats {
    double *part;
    struct vf_sum sum, square;
    vf pivot;
};
CVY_INLINE void vf_stats_begin(struct vf_stats *s, double *part, ptrdiff_t padded)
{
    s->part = part;
    vf_sum_begin(&s->sum, part + padded);
    vf_sum_begin(&s->square, part + 2 * padded);
    s->pivot = vf_zero();
}
/* Once the first value (one between others of the first tile, as the first may be far from all) was taken: with a pivot of zero the sum is the value. It is the pivot of `n` channels. */
CVY_INLINE void vf_stats_first(struct vf_stats *s, int n) { vf_to_double(s->part, s->sum.sum, n); }
CVY_INLINE void vf_stats_pivot(struct vf_stats *s)
{
    s->sum.sum = s->square.sum = vf_zero();
    s->pivot = vf_from_double(s->part);
}
/* All three, with the first value through the run's point function where there is no pivot yet. A macro: at -Og gcc does not inline
 * what a function calls by a pointer that another inlined one has given it. */
#define vf_stats_start(s, part, padded, no_pivot, n, point, run, first) \
    do { \
        vf_stats_begin(s, part, padded); \
        if (no_pivot) { \
            point(run, first, 0, 0); \
            vf_stats_first(s, n); \
        } \
        vf_stats_pivot(s); \
    } while (0)
CVY_INLINE void vf_stats_add(struct vf_stats *s, vf d)
{
    vf_sum_take(&s->sum, d);
    s->square.sum = vf_fma(d, d, s->square.sum);
}
CVY_INLINE void vf_stats_take(struct vf_stats *s, vf v) { vf_stats_add(s, vf_sub(v, s->pivot)); }
CVY_INLINE void vf_stats_take_first(struct vf_stats *s, vf v, int n) { vf_stats_add(s, vf_first(vf_sub(v, s->pivot), n)); }
CVY_INLINE void vf_stats_drain(struct vf_stats *s)
{
    vf_sum_drain(&s->sum);
    vf_sum_drain(&s->square);
}

/* ---- image norms: groups of channels of one image, all channels, or each ---- */

/* What is kept of an image are three floats a group: mean, what the mean's float lost, and 1 / sd; an array each.
 * sums: pivot, sum of v - pivot, sum of its square, an array of `room` a channel each. Whether a pivot, which came from the image's first
 * values, is far from the others. Then the pivots become the means and the sums are cleared: the image must be taken again. */
CVY_MAYBE int cvy_pivots_far(double *sums, int room, int channels, int area)
{
    int far = 0;

    for (int c = 0; c < channels; c++)
        far |= CVY_PIVOT_FAR(sums[room + c], sums[2 * room + c], (double)area);
    for (int c = 0; far && c < channels; c++) {
        sums[c] = (double)(float)(sums[c] + sums[room + c] / area);
        sums[room + c] = sums[2 * room + c] = 0;
    }
    return far;
}
/* The same array of sums. Channels are merged as count, mean and M2. */
CVY_MAYBE void cvy_gn_stats(const double *sums, int room, int channels, int groups, int area, double eps, float *stats)
{
    const int many = channels / groups;

    for (int g = 0; g < groups; g++) {
        double count = 0, mean = 0, m2 = 0;
        for (int c = g * many; c < (g + 1) * many; c++) {
            const double own = sums[c] + sums[room + c] / area, d = own - mean;
            mean += d * area / (count + area);
            m2 += sums[2 * room + c] - sums[room + c] * sums[room + c] / area + d * d * count * area / (count + area);
            count += area;
        }
        stats[g] = (float)mean;
        stats[groups + g] = (float)(mean - (double)stats[g]);
        stats[2 * groups + g] = (float)(1 / sqrt((m2 < 0 ? 0 : m2 / count) + eps));
    }
}
/* The same where no mean is taken away: mean 0, and 1 / sqrt(mean of v^2 + eps). */
CVY_MAYBE void cvy_rms_stats(const double *sums, int room, int channels, int groups, int area, double eps, float *stats)
{
    const int many = channels / groups;

    for (int g = 0; g < groups; g++) {
        double total = 0;
        for (int c = g * many; c < (g + 1) * many; c++) {
            const double own = sums[c] + sums[room + c] / area, m2 = sums[2 * room + c] - sums[room + c] * sums[room + c] / area;
            total += (m2 < 0 ? 0 : m2) + own * own * area;
        }
        stats[g] = stats[groups + g] = 0;
        stats[2 * groups + g] = (float)(1 / sqrt(total / ((double)many * area) + eps));
    }
}
/* What a norm does to one image: to = mean, scale, shift, istd, off, an array of `padded` a channel each, with
 * y = (v - mean) scale + shift and xhat = (v - mean) istd + off. beta: NULL, or a float a channel. Padding channels become zero. */
CVY_MAYBE void cvy_gn_constants(const float *stats, const float *gamma, const float *beta, int channels, int groups, int padded, float *to)
{
    const int many = channels / groups;

    memset(to, 0, sizeof(float) * 5 * (size_t)padded);
    for (int c = 0; c < channels; c++) {
        const float istd = stats[2 * groups + c / many], off = -stats[groups + c / many] * istd;
        to[c] = stats[c / many];
        to[padded + c] = gamma[c] * istd;
        to[2 * padded + c] = (beta ? beta[c] : 0) + gamma[c] * off;
        to[3 * padded + c] = istd;
        to[4 * padded + c] = off;
    }
}

/* ---- dropout: the mask is a function of (seed, stage, step, image, element), recomputed wherever it is needed ---- */

struct vf_drop {
    vu lane;       /* element index of each lane at pixel 0, (c * height + y) * width + x, plus the key's first word */
    uint32_t key;  /* second word */
};
/* Two rounds of a 32-bit mixer (xor-shift-multiply, constants of C. Wellons' hash prospector), keyed before and between. */
CVY_INLINE vu vf_drop_bits(const struct vf_drop *d, int i)
{
    vu h = vu_add(d->lane, vu_set((uint32_t)i));
    h = vu_mul(vu_shift_xor(h, 16), vu_set(0x21f0aaadu));
    h = vu_mul(vu_shift_xor(h, 15), vu_set(0xd35a2d97u));
    h = vu_xor(vu_shift_xor(h, 15), vu_set(d->key));
    h = vu_mul(vu_shift_xor(h, 16), vu_set(0x21f0aaadu));
    h = vu_mul(vu_shift_xor(h, 15), vu_set(0xd35a2d97u));
    return vu_shift_xor(h, 15);
}
/* The first word of the key and the element index of each lane at pixel 0 of channel block c. */
CVY_INLINE vu vf_drop_lanes(uint64_t key, int c, int area) { return vu_lanes((uint32_t)key + (uint32_t)c * (uint32_t)area, (uint32_t)area); }
/* v / (1 - p) where the element is kept, else 0; drop_below = p * 2^32, scale = 1 / (1 - p). Its own backward. */
CVY_INLINE vf vf_dropout(const struct vf_drop *d, vf v, int i, uint32_t drop_below, float scale)
{
    return vu_if_at_least(vf_drop_bits(d, i), vu_set(drop_below), vf_mul(v, vf_set(scale)));
}

#endif
