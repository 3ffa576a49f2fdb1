/* avx512.h - a vf in one register of AVX-512. What each function means stands in convoy's runtime/vec/contract.h.
 * SPDX-License-Identifier: 0BSD */

#if !defined __AVX512F__ || !defined __AVX512DQ__ || !defined __FMA__
#error "this network was emitted for avx512: compile it with -mavx512f -mavx512dq -mfma (or emit it for another target)"
#endif
/* gcc's header of all intrinsics takes half a second to compile, all but a tenth of it for instructions that are not
 * used here. Its parts ask whether it stands around them: so do these lines, for the versions whose parts are known;
 * the whole may still be included afterwards. */
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
CVY_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
CVY_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
CVY_INLINE vf vf_if_positive(vf x, vf a, vf b)
{
    return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), a);
}
CVY_INLINE vf vf_unless_zero_or_below(vf x, vf a, vf b)
{
    return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLE_UQ), a);
}
CVY_INLINE vf vf_if_less(vf x, vf y, vf a, vf b)
{
    return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), a);
}
CVY_INLINE vf vf_if_equal(vf x, vf y, vf a) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ), a); }
CVY_INLINE vf vf_abs(vf v) { return _mm512_abs_ps(v); }
CVY_INLINE void vf_route(vf *m, vf *route, vf x, float t)
{
    const __mmask16 won = _mm512_cmp_ps_mask(x, *m, _CMP_GT_OQ) | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    *m = _mm512_mask_mov_ps(*m, won, x);
    *route = _mm512_mask_mov_ps(*route, won, _mm512_set1_ps(t));
}
CVY_INLINE void vf_store_route(uint8_t *p, vf route)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(route)));
}
CVY_INLINE vf vf_load_route(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
CVY_INLINE void vf_add_to(double *d, vf v)
{
    _mm512_storeu_pd(d, _mm512_add_pd(_mm512_loadu_pd(d), _mm512_cvtps_pd(_mm512_castps512_ps256(v))));
    _mm512_storeu_pd(d + 8, _mm512_add_pd(_mm512_loadu_pd(d + 8), _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))));
}
CVY_INLINE vf vf_exp2_int(vf n)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
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
#define CVY_OWN_PERMUTE 1
typedef struct vp {
    __m512i lane;
    __mmask16 any;
} vp;
CVY_INLINE vp vp_load(const int *lane)
{
    vp p;
    p.lane = _mm512_loadu_si512(lane);
    p.any = _mm512_cmpge_epi32_mask(p.lane, _mm512_setzero_si512());
    return p;
}
CVY_INLINE vf vf_permute(vf v, vp p) { return _mm512_maskz_permutexvar_ps(p.any, p.lane, v); }

/* In gcc a sum stays in the register that it is in: of many sums in straight code it moves some from one to another,
 * and runs out of them. */
#if defined __GNUC__
#define CVY_OWN_KEEP_FMA 1
#define CVY_KEEP_FMA(x, y, sum) __asm__("vfmadd231ps\t{%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(x), "v"(y))
CVY_INLINE vf vf_keep_fma(vf x, vf y, vf sum)
{
    CVY_KEEP_FMA(x, y, sum);
    return sum;
}
#endif

#define CVY_OWN_QUADS 1
CVY_INLINE vf vf_load_quads(const float *p, const float *q, const float *r, const float *s)
{
    const __m256 low = _mm256_set_m128(_mm_loadu_ps(q), _mm_loadu_ps(p)),
                 high = _mm256_set_m128(_mm_loadu_ps(s), _mm_loadu_ps(r));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
#define CVY_OWN_FROM_DOUBLE 1
CVY_INLINE vf vf_from_double(const double *d)
{
    const __m512 low = _mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_loadu_pd(d)));
    return _mm512_insertf32x8(low, _mm512_cvtpd_ps(_mm512_loadu_pd(d + 8)), 1);
}
#define CVY_OWN_TRANSPOSE 1
CVY_INLINE void vf_transpose(const float *from, ptrdiff_t step, float *to, ptrdiff_t to_step)
{
    __m512 a[16], b[16];
    CVY_16
    for (int i = 0; i < 16; i++)
        a[i] = _mm512_loadu_ps(from + i * step);
    CVY_16
    for (int i = 0; i < 16; i += 2)
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]), b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    CVY_16
    for (int i = 0; i < 16; i += 4) { /* a[i + j]: of each four columns the j-th, of four rows from i on */
        a[i] = _mm512_shuffle_ps(b[i], b[i + 2], 0x44), a[i + 1] = _mm512_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0x44), a[i + 3] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    CVY_16
    for (int j = 0; j < 4; j++) {
        const __m512 low = _mm512_shuffle_f32x4(a[j], a[4 + j], 0x88),
                     high = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0x88),
                     low_odd = _mm512_shuffle_f32x4(a[j], a[4 + j], 0xdd),
                     high_odd = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0xdd);
        _mm512_store_ps(to + j * to_step, _mm512_shuffle_f32x4(low, high, 0x88));
        _mm512_store_ps(to + (8 + j) * to_step, _mm512_shuffle_f32x4(low, high, 0xdd));
        _mm512_store_ps(to + (4 + j) * to_step, _mm512_shuffle_f32x4(low_odd, high_odd, 0x88));
        _mm512_store_ps(to + (12 + j) * to_step, _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd));
    }
}

enum { CVY_CHAINS = 10 }; /* independent multiply-adds that keep the processor busy, and fit its registers */

/* Whether the processor has these instructions. Needs none of them itself. */
CVY_INLINE int cvy_supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
}
