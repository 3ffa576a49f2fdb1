/* general.h - the general form of what a target may do in its own way, for those that do not.
 * SPDX-License-Identifier: 0BSD */

/* x * y + sum */
#if !defined CVY_OWN_KEEP_FMA
CVY_INLINE vf vf_keep_fma(vf x, vf y, vf sum) { return vf_fma(x, y, sum); }
#endif

/* Four times four floats, one after the other. */
#if !defined CVY_OWN_QUADS
CVY_INLINE vf vf_load_quads(const float *p, const float *q, const float *r, const float *s)
{
    float t[VF];
    memcpy(t, p, 16), memcpy(t + 4, q, 16), memcpy(t + 8, r, 16), memcpy(t + 12, s, 16);
    return vf_loadu(t);
}
#endif

/* 16 rows of 16 floats, columns first. */
#if !defined CVY_OWN_TRANSPOSE
CVY_INLINE void vf_transpose(const float *from, ptrdiff_t step, float *to, ptrdiff_t to_step)
{
    for (int i = 0; i < VF; i++)
        for (int j = 0; j < VF; j++)
            to[j * to_step + i] = from[i * step + j];
}
#endif

/* 16 doubles as floats. */
#if !defined CVY_OWN_FROM_DOUBLE
CVY_INLINE vf vf_from_double(const double *d)
{
    float t[16];
    for (int l = 0; l < VF; l++)
        t[l] = (float)d[l];
    return vf_loadu(t);
}
#endif

/* A register's part of a vf, for transforms: a vf in two or four registers leaves too few for what a transform holds at
 * once. */
#if !defined CVY_OWN_VH
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
