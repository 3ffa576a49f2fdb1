/* scalar.h - a vf as an array, for any compiler of C99 and a processor without vectors.
 *
 * Loops that stay loops, in functions that stay functions: unrolled and inlined, they are a line of code for each lane,
 * over which gcc takes minutes.
 * SPDX-License-Identifier: 0BSD */

#if defined __i386__ && defined __GNUC__ && !defined __clang__
/* with the few registers of this processor gcc spends most of its time there, to no use */
#pragma GCC optimize("no-ivopts")
#endif
typedef struct vf {
    float v[16];
} vf;
typedef struct vu {
    uint32_t v[16];
} vu;
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

CVY_OP vf vf_set(float x)
{
    vf r;
    CVY_EACH r.v[l] = x;
    return r;
}
CVY_OP vf vf_load(const float *p)
{
    vf r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
CVY_OP vf vf_loadu(const float *p) { return vf_load(p); }
CVY_OP void vf_store(float *p, vf v) { memcpy(p, v.v, sizeof v.v); }
CVY_OP vf vf_add(vf a, vf b)
{
    CVY_EACH a.v[l] += b.v[l];
    return a;
}
CVY_OP vf vf_sub(vf a, vf b)
{
    CVY_EACH a.v[l] -= b.v[l];
    return a;
}
CVY_OP vf vf_mul(vf a, vf b)
{
    CVY_EACH a.v[l] *= b.v[l];
    return a;
}
CVY_OP vf vf_div(vf a, vf b)
{
    CVY_EACH a.v[l] /= b.v[l];
    return a;
}
CVY_OP vf vf_fma(vf a, vf b, vf c)
{
    CVY_EACH c.v[l] += a.v[l] * b.v[l];
    return c;
}
CVY_OP vf vf_max(vf a, vf b)
{
    CVY_EACH a.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l];
    return a;
}
CVY_OP vf vf_min(vf a, vf b)
{
    CVY_EACH a.v[l] = a.v[l] < b.v[l] ? a.v[l] : b.v[l];
    return a;
}
CVY_OP vf vf_if_positive(vf x, vf a, vf b)
{
    CVY_EACH a.v[l] = x.v[l] > 0 ? a.v[l] : b.v[l];
    return a;
}
CVY_OP vf vf_unless_zero_or_below(vf x, vf a, vf b)
{
    CVY_EACH a.v[l] = x.v[l] <= 0 ? b.v[l] : a.v[l];
    return a;
}
CVY_OP vf vf_if_less(vf x, vf y, vf a, vf b)
{
    CVY_EACH a.v[l] = x.v[l] < y.v[l] ? a.v[l] : b.v[l];
    return a;
}
CVY_OP vf vf_if_equal(vf x, vf y, vf a)
{
    CVY_EACH a.v[l] = x.v[l] == y.v[l] ? a.v[l] : 0;
    return a;
}
CVY_OP vf vf_abs(vf v)
{
    CVY_EACH v.v[l] = fabsf(v.v[l]);
    return v;
}
CVY_OP void vf_route(vf *m, vf *route, vf x, float t)
{
    CVY_EACH if (x.v[l] > m->v[l] || x.v[l] != x.v[l])
    {
        m->v[l] = x.v[l];
        route->v[l] = t;
    }
}
CVY_OP void vf_store_route(uint8_t *p, vf route) { CVY_EACH p[l] = (uint8_t)route.v[l]; }
CVY_OP vf vf_load_route(const uint8_t *p)
{
    vf r;
    CVY_EACH r.v[l] = (float)p[l];
    return r;
}
CVY_OP void vf_add_to(double *d, vf v) { CVY_EACH d[l] += (double)v.v[l]; }
/* 2^n by its exponent, n whole, -126 .. 127; of a NaN anything */
CVY_OP float cvy_exp2_int(float n)
{
    const uint32_t bits = (uint32_t)((n == n ? (int)n : 0) + 127) << 23;
    memcpy(&n, &bits, sizeof n);
    return n;
}
CVY_OP vf vf_exp2_int(vf n)
{
    CVY_EACH n.v[l] = cvy_exp2_int(n.v[l]);
    return n;
}
CVY_OP vf vf_round(vf v)
{
    CVY_EACH v.v[l] = rintf(v.v[l]);
    return v;
}
CVY_OP vu vu_set(uint32_t x)
{
    vu r;
    CVY_EACH r.v[l] = x;
    return r;
}
CVY_OP vu vu_lanes(uint32_t first, uint32_t step)
{
    vu r;
    CVY_EACH r.v[l] = first + (uint32_t)l * step;
    return r;
}
CVY_OP vu vu_add(vu a, vu b)
{
    CVY_EACH a.v[l] += b.v[l];
    return a;
}
CVY_OP vu vu_mul(vu a, vu b)
{
    CVY_EACH a.v[l] *= b.v[l];
    return a;
}
CVY_OP vu vu_xor(vu a, vu b)
{
    CVY_EACH a.v[l] ^= b.v[l];
    return a;
}
CVY_OP vu vu_shift_xor(vu a, int n)
{
    CVY_EACH a.v[l] ^= a.v[l] >> n;
    return a;
}
CVY_OP vf vu_if_at_least(vu a, vu b, vf v)
{
    CVY_EACH v.v[l] = a.v[l] >= b.v[l] ? v.v[l] : 0;
    return v;
}
