/* winograd.h - Winograd F(4x4, 3x3): y = A^T ((G w G^T) . (B^T d B)) A for a tile of 4 x 4 outputs y and its 6 x 6
 * inputs d (Lavin and Gray 2016), with the points 0, +-5/8, +-3/2 and infinity, whose errors are half of those of +-1,
 * +-2. The 36 products of a tile are sums over channels: 36 products of matrices, tiles x channels.
 * SPDX-License-Identifier: 0BSD */

/* the points: +-a, +-b */
#define CVY_A 0.625f
#define CVY_B 1.5f
#define CVY_AA (CVY_A * CVY_A)
#define CVY_BB (CVY_B * CVY_B)

/* B^T d: the polynomial m(x) / (x - p) of each point p applied to d, m(x) = x (x^2 - a^2) (x^2 - b^2); m(x) for
 * infinity. Of p and -p, `others` being the square of the other such points; of 0 (d0, d2, d4) or infinity (d1, d3,
 * d5); of all. */
CVY_INLINE void vh_winograd_in_pair(vh d1, vh d2, vh d3, vh d4, float p, float others, vh *plus, vh *minus)
{
    const vh even = vh_fma(vh_set(-others), d2, d4), odd = vh_mul(vh_set(p), vh_fma(vh_set(-others), d1, d3));
    *plus = vh_add(even, odd);
    *minus = vh_sub(even, odd);
}
CVY_INLINE vh vh_winograd_in_end(vh low, vh middle, vh high)
{
    return vh_fma(vh_set(CVY_AA * CVY_BB), low, vh_fma(vh_set(-(CVY_AA + CVY_BB)), middle, high));
}
CVY_INLINE void vh_winograd_in(const vh *d, vh *to)
{
    to[0] = vh_winograd_in_end(d[0], d[2], d[4]);
    vh_winograd_in_pair(d[1], d[2], d[3], d[4], CVY_A, CVY_BB, to + 1, to + 2);
    vh_winograd_in_pair(d[1], d[2], d[3], d[4], CVY_B, CVY_AA, to + 3, to + 4);
    to[5] = vh_winograd_in_end(d[1], d[3], d[5]);
}
/* A y: the polynomial with coefficients y at each point, the highest at infinity: of p and -p, of all. */
CVY_INLINE void vh_winograd_spread_pair(vh y0, vh y1, vh y2, vh y3, float p, vh *plus, vh *minus)
{
    const vh square = vh_set(p * p), even = vh_fma(square, y2, y0), odd = vh_mul(vh_set(p), vh_fma(square, y3, y1));
    *plus = vh_add(even, odd);
    *minus = vh_sub(even, odd);
}
CVY_INLINE void vh_winograd_spread(const vh *y, vh *to)
{
    to[0] = y[0];
    vh_winograd_spread_pair(y[0], y[1], y[2], y[3], CVY_A, to + 1, to + 2);
    vh_winograd_spread_pair(y[0], y[1], y[2], y[3], CVY_B, to + 3, to + 4);
    to[5] = y[3];
}
/* A^T m: its first and third value, its second and fourth, all. */
CVY_INLINE void vh_winograd_out_even(vh m0, vh m1, vh m2, vh m3, vh m4, vh *first, vh *third)
{
    const vh even_a = vh_add(m1, m2), even_b = vh_add(m3, m4);
    *first = vh_add(m0, vh_add(even_a, even_b));
    *third = vh_fma(vh_set(CVY_AA), even_a, vh_mul(vh_set(CVY_BB), even_b));
}
CVY_INLINE void vh_winograd_out_odd(vh m1, vh m2, vh m3, vh m4, vh m5, vh *second, vh *fourth)
{
    const vh odd_a = vh_sub(m1, m2), odd_b = vh_sub(m3, m4);
    *second = vh_fma(vh_set(CVY_A), odd_a, vh_mul(vh_set(CVY_B), odd_b));
    *fourth = vh_fma(vh_set(CVY_A * CVY_AA), odd_a, vh_fma(vh_set(CVY_B * CVY_BB), odd_b, m5));
}
CVY_INLINE void vh_winograd_out(const vh *m, vh *to)
{
    vh_winograd_out_even(m[0], m[1], m[2], m[3], m[4], to, to + 2);
    vh_winograd_out_odd(m[1], m[2], m[3], m[4], m[5], to + 1, to + 3);
}
/* G^T u: G's row of point p is 1, p, p^2, divided by the product of p's distances from the other points, of which +-a
 * and +-b have these. Its first and third value, its second, all. */
#define CVY_NA (1 / (2 * CVY_AA * (CVY_AA - CVY_BB)))
#define CVY_NB (1 / (2 * CVY_BB * (CVY_BB - CVY_AA)))
CVY_INLINE void vh_winograd_taps_even(vh u0, vh u1, vh u2, vh u3, vh u4, vh u5, vh *first, vh *third)
{
    const vh even_a = vh_mul(vh_set(CVY_NA), vh_add(u1, u2)), even_b = vh_mul(vh_set(CVY_NB), vh_add(u3, u4));
    *first = vh_fma(vh_set(1 / (CVY_AA * CVY_BB)), u0, vh_add(even_a, even_b));
    *third = vh_fma(vh_set(CVY_AA), even_a, vh_fma(vh_set(CVY_BB), even_b, u5));
}
CVY_INLINE vh vh_winograd_taps_odd(vh u1, vh u2, vh u3, vh u4)
{
    const vh odd_a = vh_mul(vh_set(CVY_NA), vh_sub(u1, u2)), odd_b = vh_mul(vh_set(CVY_NB), vh_sub(u3, u4));
    return vh_fma(vh_set(CVY_A), odd_a, vh_mul(vh_set(CVY_B), odd_b));
}
CVY_INLINE void vh_winograd_taps(const vh *u, vh *to)
{
    vh_winograd_taps_even(u[0], u[1], u[2], u[3], u[4], u[5], to, to + 2);
    to[1] = vh_winograd_taps_odd(u[1], u[2], u[3], u[4]);
}
/* G w: of p and -p, `n` being their factor; of 0; of all. */
CVY_INLINE void vh_winograd_points_pair(vh w0, vh w1, vh w2, float p, float n, vh *plus, vh *minus)
{
    const vh even = vh_mul(vh_set(n), vh_fma(vh_set(p * p), w2, w0)), odd = vh_mul(vh_set(p * n), w1);
    *plus = vh_add(even, odd);
    *minus = vh_sub(even, odd);
}
CVY_INLINE vh vh_winograd_points_zero(vh w0) { return vh_mul(vh_set(1 / (CVY_AA * CVY_BB)), w0); }
CVY_INLINE void vh_winograd_points(const vh *w, vh *to)
{
    to[0] = vh_winograd_points_zero(w[0]);
    vh_winograd_points_pair(w[0], w[1], w[2], CVY_A, CVY_NA, to + 1, to + 2);
    vh_winograd_points_pair(w[0], w[1], w[2], CVY_B, CVY_NB, to + 3, to + 4);
    to[5] = w[2];
}

/* Where tiles lie: `across` of them a row, `tiles` an image; of the packed images, each tile's first pixel on; and
 * where each of the 36 points of a block of tiles goes, [36][blocks][tiles][16]. Floats. */
struct cvy_tiles {
    int across, tiles, blocks;
    ptrdiff_t image, row, block; /* from one image, row of pixels, block of channels to the next */
    ptrdiff_t point, to_block;   /* of the 36, from one point, block of channels to the next */
};
/* A tile of the packed images, and where it lies: tile `t`, the next one. */
struct cvy_tile {
    const float *at, *image;
    int tile, across;
};
CVY_INLINE struct cvy_tile cvy_tile(const struct cvy_tiles *g, const float *x, int t)
{
    struct cvy_tile a;
    a.tile = t % g->tiles;
    a.across = a.tile % g->across;
    a.image = x + t / g->tiles * g->image;
    a.at = a.image + a.tile / g->across * 4 * g->row + a.across * (4 * VF);
    return a;
}
CVY_INLINE void cvy_tile_next(const struct cvy_tiles *g, struct cvy_tile *a)
{
    a->at += 4 * VF;
    if (++a->across < g->across) {
        a->tile++;
        return;
    }
    a->across = 0;
    a->at += 4 * (g->row - g->across * VF);
    if (++a->tile < g->tiles)
        return;
    a->tile = 0;
    a->at = a->image += g->image;
}

/* What follows holds two of a transform's rows in registers at a time, twelve of which suffice: sixteen (avx2) are not
 * enough for half of the 36 values, and loops over arrays of vectors would hold them in memory. So all of their steps
 * stand one after the other (CVY_ALL), and what a pair of rows needs is loaded for each pair. A pointer that is set
 * apart is a register: else compilers keep an address for each of the loads. */
CVY_INLINE const float *cvy_apart(const float *p)
{
    CVY_APART(p);
    return p;
}

/* Six values to six points of a transformed tile, from `to` on. */
CVY_INLINE void cvy_six_points(const vh *r, float *to, ptrdiff_t point)
{
    CVY_ALL
    for (int i = 0; i < 6; i++, to += point) {
        CVY_APART(to);
        vh_store(to, r[i]);
    }
}
/* (B^T d) B of a row of B^T d; (A y) A^T of a row of A y; (G w) G^T of a row of G w. */
CVY_INLINE void cvy_winograd_in_row(const vh *s, float *to, ptrdiff_t point)
{
    vh r[6];
    vh_winograd_in(s, r);
    cvy_six_points(r, to, point);
}
CVY_INLINE void cvy_winograd_spread_row(const vh *s, float *to, ptrdiff_t point)
{
    vh r[6];
    vh_winograd_spread(s, r);
    cvy_six_points(r, to, point);
}
CVY_INLINE void cvy_winograd_points_row(const vh *s, float *to, ptrdiff_t point)
{
    vh r[6];
    vh_winograd_points(s, r);
    cvy_six_points(r, to, point);
}
/* Two rows of B^T d B, of points p and -p, from four of d. */
CVY_INLINE void cvy_winograd_in_pair(const float *d1, const float *d2, const float *d3, const float *d4, float p,
                                     float others, float *to, ptrdiff_t point)
{
    vh plus[6], minus[6];
    CVY_ALL
    for (int j = 0; j < 6; j++)
        vh_winograd_in_pair(vh_load(d1 + j * VF), vh_load(d2 + j * VF), vh_load(d3 + j * VF), vh_load(d4 + j * VF), p,
                            others, plus + j, minus + j);
    cvy_winograd_in_row(plus, to, point);
    cvy_winograd_in_row(minus, to + 6 * point, point);
}
/* That of 0, or of infinity. */
CVY_INLINE void cvy_winograd_in_end(const float *low, const float *middle, const float *high, float *to,
                                    ptrdiff_t point)
{
    vh s[6];
    CVY_ALL
    for (int j = 0; j < 6; j++)
        s[j] = vh_winograd_in_end(vh_load(low + j * VF), vh_load(middle + j * VF), vh_load(high + j * VF));
    cvy_winograd_in_row(s, to, point);
}
/* B^T d B of the 6 x 6 pixels of `n` tiles from tile `first` on. */
CVY_KEEP void cvy_winograd_in(const struct cvy_tiles *g, const float *x, int first, int n, float *to)
{
    const ptrdiff_t row = g->row, point = g->point; /* copies, as a store might change them */
    struct cvy_tile tile = cvy_tile(g, x, first);
    for (int t = 0; t < n; t++, to += VF, cvy_tile_next(g, &tile)) {
        const float *d = tile.at;
        float *v = to;
        for (int b = 0; b < g->blocks; b++, d += g->block, v += g->to_block)
            for (int h = 0; h < VF; h += VH) {
                const float *const d0 = cvy_apart(d + h), *const d1 = cvy_apart(d0 + row),
                                   *const d2 = cvy_apart(d1 + row), *const d3 = cvy_apart(d2 + row),
                                   *const d4 = cvy_apart(d3 + row), *const d5 = cvy_apart(d4 + row);
                cvy_winograd_in_end(d0, d2, d4, v + h, point);
                cvy_winograd_in_pair(d1, d2, d3, d4, CVY_A, CVY_BB, v + h + 6 * point, point);
                cvy_winograd_in_pair(d1, d2, d3, d4, CVY_B, CVY_AA, v + h + 18 * point, point);
                cvy_winograd_in_end(d1, d3, d5, v + h + 30 * point, point);
            }
    }
}
/* Points p and -p of G w G^T. */
CVY_INLINE void cvy_winograd_points_pair(const float *w, ptrdiff_t tap, float p, float n, float *u, ptrdiff_t point)
{
    vh plus[3], minus[3];
    CVY_ALL
    for (int j = 0; j < 3; j++)
        vh_winograd_points_pair(vh_load(w + j * tap), vh_load(w + (3 + j) * tap), vh_load(w + (6 + j) * tap), p, n,
                                plus + j, minus + j);
    cvy_winograd_points_row(plus, u, point);
    cvy_winograd_points_row(minus, u + 6 * point, point);
}
/* U = G w G^T of `blocks` blocks of 16 x 16 channels; w [blocks][9 taps][16][16], the taps `tap` floats apart; u's
 * points `point`, its blocks 256. */
CVY_KEEP void cvy_winograd_points(const float *w, ptrdiff_t tap, int blocks, float *u, ptrdiff_t point)
{
    for (int b = 0; b < blocks; b++, w += 8 * 256)
        for (int l = 0; l < 256; l += VH, w += VH, u += VH) {
            vh zero[3], infinity[3];
            CVY_ALL
            for (int j = 0; j < 3; j++) {
                zero[j] = vh_winograd_points_zero(vh_load(w + j * tap));
                infinity[j] = vh_load(w + (6 + j) * tap);
            }
            cvy_winograd_points_row(zero, u, point);
            cvy_winograd_points_row(infinity, u + 30 * point, point);
            cvy_winograd_points_pair(w, tap, CVY_A, CVY_NA, u + 6 * point, point);
            cvy_winograd_points_pair(w, tap, CVY_B, CVY_NB, u + 18 * point, point);
        }
}
/* Points p and -p of A y A^T. */
CVY_INLINE void cvy_winograd_spread_pair(const float *y0, const float *y1, const float *y2, const float *y3, float p,
                                         float *to, ptrdiff_t point)
{
    vh plus[4], minus[4];
    CVY_ALL
    for (int j = 0; j < 4; j++)
        vh_winograd_spread_pair(vh_load(y0 + j * VF), vh_load(y1 + j * VF), vh_load(y2 + j * VF), vh_load(y3 + j * VF),
                                p, plus + j, minus + j);
    cvy_winograd_spread_row(plus, to, point);
    cvy_winograd_spread_row(minus, to + 6 * point, point);
}
/* Points 0 and infinity: the first row of y, the last. */
CVY_INLINE void cvy_winograd_spread_end(const float *y, float *to, ptrdiff_t point)
{
    vh s[4];
    CVY_ALL
    for (int j = 0; j < 4; j++)
        s[j] = vh_load(y + j * VF);
    cvy_winograd_spread_row(s, to, point);
}
/* A y A^T of the 4 x 4 pixels of `n` tiles from tile `first` on. */
CVY_KEEP void cvy_winograd_spread(const struct cvy_tiles *g, const float *y, int first, int n, float *to)
{
    const ptrdiff_t row = g->row, point = g->point; /* copies, as a store might change them */
    struct cvy_tile tile = cvy_tile(g, y, first);
    for (int t = 0; t < n; t++, to += VF, cvy_tile_next(g, &tile)) {
        const float *d = tile.at;
        float *v = to;
        for (int b = 0; b < g->blocks; b++, d += g->block, v += g->to_block)
            for (int h = 0; h < VF; h += VH) {
                const float *const y0 = cvy_apart(d + h), *const y1 = cvy_apart(y0 + row),
                                   *const y2 = cvy_apart(y1 + row), *const y3 = cvy_apart(y2 + row);
                cvy_winograd_spread_end(y0, v + h, point);
                cvy_winograd_spread_pair(y0, y1, y2, y3, CVY_A, v + h + 6 * point, point);
                cvy_winograd_spread_pair(y0, y1, y2, y3, CVY_B, v + h + 18 * point, point);
                cvy_winograd_spread_end(y3, v + h + 30 * point, point);
            }
    }
}
/* A row of A^T m A + bias, from one of A^T m. */
CVY_INLINE void cvy_winograd_out_row(const vh *s, vh bias, float *y)
{
    vh r[4];
    vh_winograd_out(s, r);
    CVY_ALL
    for (int k = 0; k < 4; k++)
        vh_store(y + k * VF, vh_add(r[k], bias));
}
/* y = A^T m A + bias of one tile, m's points `point` floats apart: y [16 pixels][16], row by row; bias may be NULL. */
CVY_KEEP void cvy_winograd_out(const float *m, ptrdiff_t point, const float *bias, float *y)
{
    const ptrdiff_t row = 6 * point;
    for (int h = 0; h < VF; h += VH, m += VH, y += VH) {
        const vh add = bias ? vh_load(bias + h) : vh_set(0);
        vh s[6], t[6];
        CVY_ALL
        for (int j = 0; j < 6; j++) {
            const float *const m0 = cvy_apart(m + j * point), *const m2 = cvy_apart(m0 + 2 * row);
            vh_winograd_out_even(vh_load(m0), vh_load(m0 + row), vh_load(m2), vh_load(m2 + row), vh_load(m2 + 2 * row),
                                 s + j, t + j);
        }
        cvy_winograd_out_row(s, add, y);
        cvy_winograd_out_row(t, add, y + 8 * VF);
        CVY_ALL
        for (int j = 0; j < 6; j++) {
            const float *const m1 = cvy_apart(m + j * point + row), *const m3 = cvy_apart(m1 + 2 * row);
            vh_winograd_out_odd(vh_load(m1), vh_load(m1 + row), vh_load(m3), vh_load(m3 + row), vh_load(m3 + 2 * row),
                                s + j, t + j);
        }
        cvy_winograd_out_row(s, add, y + 4 * VF);
        cvy_winograd_out_row(t, add, y + 12 * VF);
    }
}
/* A row of G^T u G to dw, from one of G^T u. */
CVY_INLINE void cvy_winograd_taps_row(const vh *s, float *dw, int fresh)
{
    vh r[3];
    vh_winograd_taps(s, r);
    CVY_ALL
    for (int k = 0; k < 3; k++)
        vh_store(dw + k * 256, fresh ? r[k] : vh_add(vh_load(dw + k * 256), r[k]));
}
/* dw[9][16][16] += G^T u G for 16 x 16 channels, fresh: dw = it; u[36][16][16]. */
CVY_KEEP void cvy_winograd_taps(const float *u, float *dw, int fresh)
{
    for (int l = 0; l < 256; l += VH, u += VH, dw += VH) {
        vh s[6], t[6];
        CVY_ALL
        for (int j = 0; j < 6; j++) {
            const float *const p = u + j * 256;
            vh_winograd_taps_even(vh_load(p), vh_load(p + 6 * 256), vh_load(p + 12 * 256), vh_load(p + 18 * 256),
                                  vh_load(p + 24 * 256), vh_load(p + 30 * 256), s + j, t + j);
        }
        cvy_winograd_taps_row(s, dw, fresh);
        cvy_winograd_taps_row(t, dw + 6 * 256, fresh);
        CVY_ALL
        for (int j = 0; j < 6; j++) {
            const float *const p = u + j * 256;
            s[j] = vh_winograd_taps_odd(vh_load(p + 6 * 256), vh_load(p + 12 * 256), vh_load(p + 18 * 256),
                                        vh_load(p + 24 * 256));
        }
        cvy_winograd_taps_row(s, dw + 3 * 256, fresh);
    }
}
