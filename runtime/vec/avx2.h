/* avx2.h - a vf in two registers of AVX2. What each function means stands in convoy's runtime/vec/contract.h.
 * SPDX-License-Identifier: 0BSD */

#if !defined __AVX2__ || !defined __FMA__
#error "this network was emitted for avx2: compile it with -mavx2 -mfma (or emit it for another target)"
#endif
/* Parts of gcc's header alone, as for avx512. */
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
typedef struct vf {
    __m256 a, b;
} vf;
typedef struct vu {
    __m256i a, b;
} vu;

CVY_INLINE vf vf_pair(__m256 a, __m256 b)
{
    vf r;
    r.a = a;
    r.b = b;
    return r;
}
CVY_INLINE vu vu_pair(__m256i a, __m256i b)
{
    vu r;
    r.a = a;
    r.b = b;
    return r;
}
#define CVY_BOTH(f, x, y) vf_pair(f((x).a, (y).a), f((x).b, (y).b))
CVY_INLINE vf vf_set(float x)
{
    const __m256 s = _mm256_set1_ps(x);
    return vf_pair(s, s);
}
CVY_INLINE vf vf_load(const float *p) { return vf_pair(_mm256_load_ps(p), _mm256_load_ps(p + 8)); }
CVY_INLINE vf vf_loadu(const float *p) { return vf_pair(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
CVY_INLINE void vf_store(float *p, vf v)
{
    _mm256_store_ps(p, v.a);
    _mm256_store_ps(p + 8, v.b);
}
CVY_INLINE vf vf_add(vf x, vf y) { return CVY_BOTH(_mm256_add_ps, x, y); }
CVY_INLINE vf vf_sub(vf x, vf y) { return CVY_BOTH(_mm256_sub_ps, x, y); }
CVY_INLINE vf vf_mul(vf x, vf y) { return CVY_BOTH(_mm256_mul_ps, x, y); }
CVY_INLINE vf vf_div(vf x, vf y) { return CVY_BOTH(_mm256_div_ps, x, y); }
CVY_INLINE vf vf_fma(vf x, vf y, vf z)
{
    return vf_pair(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}
CVY_INLINE vf vf_max(vf x, vf y) { return CVY_BOTH(_mm256_max_ps, x, y); }
CVY_INLINE vf vf_min(vf x, vf y) { return CVY_BOTH(_mm256_min_ps, x, y); }
#define CVY_CMP(x, y, how) vf_pair(_mm256_cmp_ps((x).a, (y).a, how), _mm256_cmp_ps((x).b, (y).b, how))
CVY_INLINE vf vf_blend(vf b, vf a, vf mask)
{
    return vf_pair(_mm256_blendv_ps(b.a, a.a, mask.a), _mm256_blendv_ps(b.b, a.b, mask.b));
}
CVY_INLINE vf vf_if_positive(vf x, vf a, vf b)
{
    const vf m = CVY_CMP(x, vf_set(0), _CMP_GT_OQ);
    return vf_blend(b, a, m);
}
CVY_INLINE vf vf_unless_zero_or_below(vf x, vf a, vf b)
{
    const vf m = CVY_CMP(x, vf_set(0), _CMP_NLE_UQ);
    return vf_blend(b, a, m);
}
CVY_INLINE vf vf_if_less(vf x, vf y, vf a, vf b)
{
    const vf m = CVY_CMP(x, y, _CMP_LT_OQ);
    return vf_blend(b, a, m);
}
CVY_INLINE vf vf_if_equal(vf x, vf y, vf a)
{
    const vf m = CVY_CMP(x, y, _CMP_EQ_OQ);
    return CVY_BOTH(_mm256_and_ps, m, a);
}
CVY_INLINE vf vf_abs(vf v)
{
    const vf m = vf_set(-0.0f);
    return CVY_BOTH(_mm256_andnot_ps, m, v);
}
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
    return vf_pair(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)),
                   _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8))));
}
CVY_INLINE void vf_add_to(double *d, vf v)
{
    _mm256_storeu_pd(d, _mm256_add_pd(_mm256_loadu_pd(d), _mm256_cvtps_pd(_mm256_castps256_ps128(v.a))));
    _mm256_storeu_pd(d + 4, _mm256_add_pd(_mm256_loadu_pd(d + 4), _mm256_cvtps_pd(_mm256_extractf128_ps(v.a, 1))));
    _mm256_storeu_pd(d + 8, _mm256_add_pd(_mm256_loadu_pd(d + 8), _mm256_cvtps_pd(_mm256_castps256_ps128(v.b))));
    _mm256_storeu_pd(d + 12, _mm256_add_pd(_mm256_loadu_pd(d + 12), _mm256_cvtps_pd(_mm256_extractf128_ps(v.b, 1))));
}
CVY_INLINE __m256 vf_exp2_half(__m256 n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
CVY_INLINE vf vf_exp2_int(vf n) { return vf_pair(vf_exp2_half(n.a), vf_exp2_half(n.b)); }
CVY_INLINE vf vf_round(vf v)
{
    return vf_pair(_mm256_round_ps(v.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                   _mm256_round_ps(v.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#define CVY_BOTHU(f, x, y) vu_pair(f((x).a, (y).a), f((x).b, (y).b))
CVY_INLINE vu vu_set(uint32_t x)
{
    const __m256i s = _mm256_set1_epi32((int)x);
    return vu_pair(s, s);
}
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
CVY_INLINE __m256 vu_ge_half(__m256i a, __m256i b)
{
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a));
}
CVY_INLINE vf vu_if_at_least(vu x, vu y, vf v)
{
    return vf_pair(_mm256_and_ps(vu_ge_half(x.a, y.a), v.a), _mm256_and_ps(vu_ge_half(x.b, y.b), v.b));
}
#define CVY_OWN_PERMUTE 1
typedef struct vp {
    vu lane;
    vf high, none;
} vp;
CVY_INLINE vp vp_load(const int *lane)
{
    vp p;
    p.lane = vu_pair(_mm256_loadu_si256((const __m256i *)(const void *)lane),
                     _mm256_loadu_si256((const __m256i *)(const void *)(lane + 8)));
    /* bit 3 of the lane, as a sign */
    p.high = vf_pair(_mm256_castsi256_ps(_mm256_slli_epi32(p.lane.a, 28)),
                     _mm256_castsi256_ps(_mm256_slli_epi32(p.lane.b, 28)));
    p.none = vf_pair(_mm256_castsi256_ps(_mm256_srai_epi32(p.lane.a, 31)),
                     _mm256_castsi256_ps(_mm256_srai_epi32(p.lane.b, 31)));
    return p;
}
/* A permutation looks at bits 0 .. 2. */
CVY_INLINE __m256 vf_permute_half(vf v, __m256i lane, __m256 high, __m256 none)
{
    return _mm256_andnot_ps(
        none, _mm256_blendv_ps(_mm256_permutevar8x32_ps(v.a, lane), _mm256_permutevar8x32_ps(v.b, lane), high));
}
CVY_INLINE vf vf_permute(vf v, vp p)
{
    return vf_pair(vf_permute_half(v, p.lane.a, p.high.a, p.none.a), vf_permute_half(v, p.lane.b, p.high.b, p.none.b));
}

/* In gcc a sum stays in the register that it is in: of many sums in straight code it moves some from one to another,
 * and runs out of them. */
#if defined __GNUC__
#define CVY_OWN_KEEP_FMA 1
#define CVY_KEEP_FMA(x, y, sum) __asm__("vfmadd231ps\t{%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(x), "v"(y))
CVY_INLINE vf vf_keep_fma(vf x, vf y, vf sum)
{
    CVY_KEEP_FMA(x.a, y.a, sum.a);
    CVY_KEEP_FMA(x.b, y.b, sum.b);
    return sum;
}
#endif

#define CVY_OWN_QUADS 1
CVY_INLINE vf vf_load_quads(const float *p, const float *q, const float *r, const float *s)
{
    return vf_pair(_mm256_set_m128(_mm_loadu_ps(q), _mm_loadu_ps(p)),
                   _mm256_set_m128(_mm_loadu_ps(s), _mm_loadu_ps(r)));
}
#define CVY_OWN_TRANSPOSE 1
CVY_INLINE void cvy_transpose_8(const float *from, ptrdiff_t step, float *to, ptrdiff_t to_step)
{
    __m256 a[8], b[8];
    CVY_ALL
    for (int i = 0; i < 8; i++)
        a[i] = _mm256_loadu_ps(from + i * step);
    CVY_ALL
    for (int i = 0; i < 8; i += 2)
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]), b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    CVY_ALL
    for (int i = 0; i < 8; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44), a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44), a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    CVY_ALL
    for (int i = 0; i < 4; i++) {
        _mm256_store_ps(to + i * to_step, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_store_ps(to + (i + 4) * to_step, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}
CVY_INLINE void vf_transpose(const float *from, ptrdiff_t step, float *to, ptrdiff_t to_step)
{
    cvy_transpose_8(from, step, to, to_step), cvy_transpose_8(from + 8, step, to + 8 * to_step, to_step);
    cvy_transpose_8(from + 8 * step, step, to + 8, to_step);
    cvy_transpose_8(from + 8 * step + 8, step, to + 8 * to_step + 8, to_step);
}
#define CVY_OWN_VH 1
enum { VH = 8 };
typedef __m256 vh;
CVY_INLINE vh vh_set(float x) { return _mm256_set1_ps(x); }
CVY_INLINE vh vh_load(const float *p) { return _mm256_load_ps(p); }
CVY_INLINE void vh_store(float *p, vh v) { _mm256_store_ps(p, v); }
CVY_INLINE vh vh_add(vh a, vh b) { return _mm256_add_ps(a, b); }
CVY_INLINE vh vh_sub(vh a, vh b) { return _mm256_sub_ps(a, b); }
CVY_INLINE vh vh_mul(vh a, vh b) { return _mm256_mul_ps(a, b); }
CVY_INLINE vh vh_fma(vh a, vh b, vh c) { return _mm256_fmadd_ps(a, b, c); }

enum { CVY_CHAINS = 5 }; /* independent multiply-adds that keep the processor busy, and fit its registers */

/* Whether the processor has these instructions. Needs none of them itself. */
CVY_INLINE int cvy_supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
