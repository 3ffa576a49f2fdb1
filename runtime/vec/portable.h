/* portable.h - strict C99: a vf in four vectors of 16 bytes, gcc's and clang's own, where the processor has such; else
 * scalar.h. Both give the same bits. What each function means stands in convoy's runtime/vec/contract.h.
 * SPDX-License-Identifier: 0BSD */

/* Where compilers have vectors of four floats in registers. Others they take apart, a line of code a lane, which takes
 * them minutes. */
#if defined __SSE2__ || defined __ARM_NEON || defined __VSX__ || defined __ALTIVEC__ ||                                \
    (defined __VX__ && defined __ARCH__ && __ARCH__ >= 12) || defined __mips_msa || defined __loongarch_sx ||          \
    defined __wasm_simd128__ || defined __riscv_v || (defined __ARM_FEATURE_MVE && __ARM_FEATURE_MVE & 2)
#define CVY_HAS_VECTORS 1
#endif
#if defined __GNUC__ && defined __FLT_EVAL_METHOD__ && __FLT_EVAL_METHOD__ == 0 && defined CVY_HAS_VECTORS &&          \
    !defined CVY_SCALAR

typedef float vf_part __attribute__((vector_size(16)));
typedef uint32_t vu_part __attribute__((vector_size(16)));
typedef int32_t vi_part __attribute__((vector_size(16)));
typedef struct vf {
    vf_part a, b, c, d;
} vf;
typedef struct vu {
    vu_part a, b, c, d;
} vu;

CVY_INLINE vf vf_set(float x)
{
    const vf_part s = {x, x, x, x};
    vf r;
    r.a = r.b = r.c = r.d = s;
    return r;
}
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
CVY_INLINE vf vf_add(vf x, vf y)
{
    x.a += y.a, x.b += y.b, x.c += y.c, x.d += y.d;
    return x;
}
CVY_INLINE vf vf_sub(vf x, vf y)
{
    x.a -= y.a, x.b -= y.b, x.c -= y.c, x.d -= y.d;
    return x;
}
CVY_INLINE vf vf_mul(vf x, vf y)
{
    x.a *= y.a, x.b *= y.b, x.c *= y.c, x.d *= y.d;
    return x;
}
CVY_INLINE vf vf_div(vf x, vf y)
{
    x.a /= y.a, x.b /= y.b, x.c /= y.c, x.d /= y.d;
    return x;
}
CVY_INLINE vf vf_fma(vf x, vf y, vf z)
{
    z.a += x.a * y.a, z.b += x.b * y.b, z.c += x.c * y.c, z.d += x.d * y.d;
    return z;
}
/* a where m has ones, b where it has zeros */
CVY_INLINE vf_part vf_pick(vu_part m, vf_part a, vf_part b) { return (vf_part)((m & (vu_part)a) | (~m & (vu_part)b)); }
#define CVY_PICK(r, x, how, y, p, q)                                                                                   \
    (r).a = vf_pick((vu_part)((x).a how(y).a), (p).a, (q).a),                                                          \
    (r).b = vf_pick((vu_part)((x).b how(y).b), (p).b, (q).b),                                                          \
    (r).c = vf_pick((vu_part)((x).c how(y).c), (p).c, (q).c), (r).d = vf_pick((vu_part)((x).d how(y).d), (p).d, (q).d)
CVY_INLINE vf vf_max(vf x, vf y)
{
    vf r;
    CVY_PICK(r, x, >, y, x, y);
    return r;
}
CVY_INLINE vf vf_min(vf x, vf y)
{
    vf r;
    CVY_PICK(r, x, <, y, x, y);
    return r;
}
CVY_INLINE vf vf_if_positive(vf x, vf p, vf q)
{
    const vf zero = vf_set(0);
    vf r;
    CVY_PICK(r, x, >, zero, p, q);
    return r;
}
CVY_INLINE vf vf_unless_zero_or_below(vf x, vf p, vf q)
{
    const vf zero = vf_set(0);
    vf r;
    CVY_PICK(r, x, <=, zero, q, p);
    return r;
}
CVY_INLINE vf vf_if_less(vf x, vf y, vf p, vf q)
{
    vf r;
    CVY_PICK(r, x, <, y, p, q);
    return r;
}
CVY_INLINE vf vf_if_equal(vf x, vf y, vf p)
{
    const vf zero = vf_set(0);
    vf r;
    CVY_PICK(r, x, ==, y, p, zero);
    return r;
}
CVY_INLINE vu vu_set(uint32_t x)
{
    const vu_part s = {x, x, x, x};
    vu r;
    r.a = r.b = r.c = r.d = s;
    return r;
}
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
CVY_INLINE vu vu_add(vu x, vu y)
{
    x.a += y.a, x.b += y.b, x.c += y.c, x.d += y.d;
    return x;
}
CVY_INLINE vu vu_mul(vu x, vu y)
{
    x.a *= y.a, x.b *= y.b, x.c *= y.c, x.d *= y.d;
    return x;
}
CVY_INLINE vu vu_xor(vu x, vu y)
{
    x.a ^= y.a, x.b ^= y.b, x.c ^= y.c, x.d ^= y.d;
    return x;
}
CVY_INLINE vu vu_shift_xor(vu x, int n)
{
    const vu_part s = vu_set((uint32_t)n).a;
    x.a ^= x.a >> s, x.b ^= x.b >> s, x.c ^= x.c >> s, x.d ^= x.d >> s;
    return x;
}
CVY_INLINE vf vu_if_at_least(vu x, vu y, vf v)
{
    const vf zero = vf_set(0);
    vf r;
    CVY_PICK(r, x, >=, y, v, zero);
    return r;
}
CVY_INLINE vf_part vf_of_int(vi_part v)
{
#if defined __clang__ || __GNUC__ >= 9
    return __builtin_convertvector(v, vf_part);
#else
    const vf_part r = {(float)v[0], (float)v[1], (float)v[2], (float)v[3]};
    return r;
#endif
}
/* Of v + 3 2^22 the low bits are v's whole part, as integers are. (Less 3 2^22 it would be a float again;
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
/* The low bits of n + 2^23 + 127 are the exponent's */
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
CVY_INLINE void vf_store_route(uint8_t *p, vf route)
{
    float t[16];
    vf_store(t, route);
    CVY_LANES p[l] = (uint8_t)t[l];
}
CVY_INLINE vf vf_load_route(const uint8_t *p)
{
    float t[16];
    CVY_LANES t[l] = (float)p[l];
    return vf_load(t);
}
CVY_INLINE void vf_add_to(double *d, vf v)
{
    float t[16];
    vf_store(t, v);
    CVY_LANES d[l] += (double)t[l];
}

#else
#include "scalar.h"
#endif

enum { CVY_CHAINS = 3 }; /* independent multiply-adds that keep the processor busy, and fit its registers */

/* Whether the processor has these instructions. Any has. */
CVY_INLINE int cvy_supported(void) { return 1; }
