/* norms.h - norms of a batch and of an image.
 * SPDX-License-Identifier: 0BSD */

/* ---- norms of a batch: a pass over pixels has one of these for each. They stay in registers, and what it does not use
 * of them costs nothing. ---- */

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
/* The constants are arrays of `padded` floats, one after the other: a cvy_bn's, what cvy_gn_constants makes, or the
 * first three as cvy_fold_affine makes them. */
CVY_INLINE void vf_norm_load(struct vf_norm *n, const float *mean, ptrdiff_t padded)
{
    n->mean = vf_loadu(mean + CVY_NORM_MEAN * padded);
    n->scale = vf_loadu(mean + CVY_NORM_SCALE * padded);
    n->shift = vf_loadu(mean + CVY_NORM_SHIFT * padded);
}
/* What backward needs, too. */
CVY_INLINE void vf_norm_load_back(struct vf_norm *n, const float *mean, ptrdiff_t padded)
{
    vf_norm_load(n, mean, padded);
    n->istd = vf_loadu(mean + CVY_NORM_ISTD * padded);
    n->off = vf_loadu(mean + CVY_NORM_OFF * padded);
}
CVY_INLINE vf vf_norm(vf v, const struct vf_norm *n) { return vf_fma(vf_sub(v, n->mean), n->scale, n->shift); }
CVY_INLINE void vf_norm_begin(struct vf_norm *n, double *sums, ptrdiff_t padded)
{
    vf_sum_begin(&n->g, sums + CVY_SUM_G * padded);
    vf_sum_begin(&n->g_xhat, sums + CVY_SUM_G_XHAT * padded);
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

/* dL/dv = sum over the norms that read v of scale * (g - mean(g) - xhat mean(g xhat))   (Ioffe & Szegedy 2015, section
 * 3): g is the sum of scale * g already, the rest, what their statistics take away, is back_x (v - mean) + back_1
 * (cvy_bn_back) */
struct vf_taken {
    vf mean, back_x, back_1;
};
CVY_INLINE void vf_taken_load(struct vf_taken *t, const float *mean, ptrdiff_t padded)
{
    t->mean = vf_loadu(mean + CVY_TAKEN_MEAN * padded);
    t->back_x = vf_loadu(mean + CVY_TAKEN_BACK_X * padded);
    t->back_1 = vf_loadu(mean + CVY_TAKEN_BACK_1 * padded);
}
CVY_INLINE vf vf_norm_back(vf g, vf v, const struct vf_taken *t)
{
    return vf_add(g, vf_fma(vf_sub(v, t->mean), t->back_x, t->back_1));
}

/* Statistics in the making (CVY_STATS_PART). */
struct vf_stats {
    double *to; /* the pivots */
    struct vf_sum sum, square;
    vf pivot;
};
CVY_INLINE void vf_stats_begin(struct vf_stats *s, double *part, ptrdiff_t padded)
{
    s->to = part + CVY_PART_PIVOT * padded;
    vf_sum_begin(&s->sum, part + CVY_PART_SUM * padded);
    vf_sum_begin(&s->square, part + CVY_PART_SQUARE * padded);
    s->pivot = vf_zero();
}
/* Once the first value (one between others of the first tile, as the first may be far from all) was taken: with a pivot
 * of zero the sum is the value. It is the pivot of `n` channels. */
CVY_INLINE void vf_stats_first(struct vf_stats *s, int n) { vf_to_double(s->to, s->sum.sum, n); }
CVY_INLINE void vf_stats_pivot(struct vf_stats *s)
{
    s->sum.sum = s->square.sum = vf_zero();
    s->pivot = vf_from_double(s->to);
}
/* All three, with the first value through the pass's point function where there is no pivot yet. A macro: at -Og gcc
 * does not inline what a function calls by a pointer that another inlined one has given it. */
#define vf_stats_start(s, part, padded, no_pivot, n, point, pass, first)                                               \
    do {                                                                                                               \
        vf_stats_begin(s, part, padded);                                                                               \
        if (no_pivot) {                                                                                                \
            point(pass, first, 0, 0);                                                                                  \
            vf_stats_first(s, n);                                                                                      \
        }                                                                                                              \
        vf_stats_pivot(s);                                                                                             \
    } while (0)
CVY_INLINE void vf_stats_add(struct vf_stats *s, vf d)
{
    vf_sum_take(&s->sum, d);
    s->square.sum = vf_fma(d, d, s->square.sum);
}
CVY_INLINE void vf_stats_take(struct vf_stats *s, vf v) { vf_stats_add(s, vf_sub(v, s->pivot)); }
CVY_INLINE void vf_stats_take_first(struct vf_stats *s, vf v, int n)
{
    vf_stats_add(s, vf_first(vf_sub(v, s->pivot), n));
}
CVY_INLINE void vf_stats_drain(struct vf_stats *s)
{
    vf_sum_drain(&s->sum);
    vf_sum_drain(&s->square);
}

/* ---- image norms: groups of channels of one image, all channels, or each ---- */

/* What is kept of an image are CVY_GN_STATS floats a group, made of its channels' sums (CVY_STATS_PART), which are
 * arrays of `room`. */
struct cvy_sums {
    const double *pivot, *sum, *square;
};
CVY_INLINE struct cvy_sums cvy_sums_of(const double *sums, ptrdiff_t room)
{
    struct cvy_sums s;
    s.pivot = sums + CVY_PART_PIVOT * room;
    s.sum = sums + CVY_PART_SUM * room;
    s.square = sums + CVY_PART_SQUARE * room;
    return s;
}
/* Whether a pivot, which came from the image's first values, is far from the others. Then the pivots become the means
 * and the sums are cleared: the image must be taken again. */
CVY_MAYBE int cvy_pivots_far(double *sums, int room, int channels, int area)
{
    double *const pivot = sums + CVY_PART_PIVOT * (ptrdiff_t)room, *const sum = sums + CVY_PART_SUM * (ptrdiff_t)room,
                  *const square = sums + CVY_PART_SQUARE * (ptrdiff_t)room;
    int far = 0;

    for (int c = 0; c < channels; c++)
        far |= CVY_PIVOT_FAR(sum[c], square[c], (double)area);
    for (int c = 0; far && c < channels; c++) {
        pivot[c] = (double)(float)(pivot[c] + sum[c] / area);
        sum[c] = square[c] = 0;
    }
    return far;
}
/* Channels are merged as count, mean and M2. */
CVY_MAYBE void cvy_gn_stats(const double *sums, int room, int channels, int groups, int area, double eps, float *stats)
{
    const struct cvy_sums s = cvy_sums_of(sums, room);
    const int many = channels / groups;

    for (int g = 0; g < groups; g++) {
        double count = 0, mean = 0, m2 = 0;
        for (int c = g * many; c < (g + 1) * many; c++) {
            const double own = s.pivot[c] + s.sum[c] / area, d = own - mean;
            mean += d * area / (count + area);
            m2 += s.square[c] - s.sum[c] * s.sum[c] / area + d * d * count * area / (count + area);
            count += area;
        }
        stats[CVY_KEPT_MEAN * groups + g] = (float)mean;
        stats[CVY_KEPT_TAIL * groups + g] = (float)(mean - (double)(float)mean);
        stats[CVY_KEPT_ISTD * groups + g] = (float)(1 / sqrt((m2 < 0 ? 0 : m2 / count) + eps));
    }
}
/* The same where no mean is taken away: mean 0, and 1 / sqrt(mean of v^2 + eps). */
CVY_MAYBE void cvy_rms_stats(const double *sums, int room, int channels, int groups, int area, double eps, float *stats)
{
    const struct cvy_sums s = cvy_sums_of(sums, room);
    const int many = channels / groups;

    for (int g = 0; g < groups; g++) {
        double total = 0;
        for (int c = g * many; c < (g + 1) * many; c++) {
            const double own = s.pivot[c] + s.sum[c] / area, m2 = s.square[c] - s.sum[c] * s.sum[c] / area;
            total += (m2 < 0 ? 0 : m2) + own * own * area;
        }
        stats[CVY_KEPT_MEAN * groups + g] = stats[CVY_KEPT_TAIL * groups + g] = 0;
        stats[CVY_KEPT_ISTD * groups + g] = (float)(1 / sqrt(total / ((double)many * area) + eps));
    }
}
/* What a norm does to one image (CVY_GN_CONSTANTS): y = (v - mean) scale + shift and xhat = (v - mean) istd + off.
 * beta: NULL, or a float a channel. Padding channels become zero. */
CVY_MAYBE void cvy_gn_constants(const float *stats, const float *gamma, const float *beta, int channels, int groups,
                                int padded, float *to)
{
    const int many = channels / groups;

    memset(to, 0, sizeof(float) * CVY_GN_CONSTANTS * (size_t)padded);
    for (int c = 0; c < channels; c++) {
        const float *const kept = stats + c / many;
        const float istd = kept[CVY_KEPT_ISTD * groups], off = -kept[CVY_KEPT_TAIL * groups] * istd;
        to[CVY_NORM_MEAN * padded + c] = kept[CVY_KEPT_MEAN * groups];
        to[CVY_NORM_SCALE * padded + c] = gamma[c] * istd;
        to[CVY_NORM_SHIFT * padded + c] = (beta ? beta[c] : 0) + gamma[c] * off;
        to[CVY_NORM_ISTD * padded + c] = istd;
        to[CVY_NORM_OFF * padded + c] = off;
    }
}
