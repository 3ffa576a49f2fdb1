/* lanes.h - loads, stores and sums that are not a whole block.
 * SPDX-License-Identifier: 0BSD */

CVY_INLINE vf vf_zero(void) { return vf_set(0.0f); }
/* Of three, the one between the others. */
CVY_INLINE vf vf_middle(vf a, vf b, vf c) { return vf_max(vf_min(a, b), vf_min(vf_max(a, b), c)); }

/* A sum over images: v is added to what is there; fresh: it is the first, and what is there is nothing yet. */
CVY_INLINE void vf_sum(float *to, vf v, int fresh)
{
    if (fresh)
        vf_store(to, v);
    else
        vf_store(to, vf_add(vf_load(to), v));
}

/* Whether the processor has the instructions that the target takes. Needs none of them itself. */

/* Adds a sum to 16 doubles, and begins it anew. */
CVY_INLINE void vf_drain(double *to, vf *sum)
{
    vf_add_to(to, *sum);
    *sum = vf_zero();
}

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

/* Channels first .. first + 15 of a blocked image's pixel: p is that pixel in the image's first block, `area` its
 * pixels. Of these channels those in [0, end) are read (the rest is zero), written, or added to; first may be negative
 * and need not begin a block. */
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
        return vf_load_quads(cvy_quad(p, area, first, end), cvy_quad(p, area, first + 4, end),
                             cvy_quad(p, area, first + 8, end), cvy_quad(p, area, first + 12, end));
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

/* n floats (16 and more: 16) as doubles */
CVY_INLINE void vf_to_double(double *d, vf v, int n)
{
    float t[VF];
    memcpy(t, &v, sizeof t);
    for (int l = 0; l < n && l < VF; l++)
        d[l] = (double)t[l];
}

/* Fills the halo of an image in scratch, `blocks` planes of rows x cols pixels of `lanes` floats, around its h x w
 * content. */
CVY_INLINE void cvy_halo(float *p, int blocks, int rows, int cols, int top, int left, int h, int w, int lanes,
                         float fill)
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

/* A packed image of `area` pixels, halo and all, gathered for the `channels` of a conv's other side, so that lane meets
 * lane. There a group has `many` channels, here it has `few`: image j of the `few` of block b holds in lane l, for
 * channel b 16 + l, the j-th of its group. Lanes past the last channel are zero. */
CVY_KEEP void cvy_gather_lanes(const float *from, float *to, int area, int channels, int many, int few)
{
    const ptrdiff_t block = (ptrdiff_t)area * VF;

    for (int b = 0; b < channels; b += VF)
        for (int j = 0; j < few; j++, to += block) {
            const int lanes = channels - b < VF ? channels - b : VF;
            int source[VF] = {0}; /* channel of each lane, not falling */
            for (int l = 0; l < lanes; l++)
                source[l] = (b + l) / many * few + j;
#if defined CVY_OWN_PERMUTE
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
