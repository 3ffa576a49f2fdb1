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
 * infinity. */
CVY_INLINE void vh_winograd_in(vh d0, vh d1, vh d2, vh d3, vh d4, vh d5, vh *to, int step)
{
    const vh sum = vh_set(-(CVY_AA + CVY_BB)), product = vh_set(CVY_AA * CVY_BB), aa = vh_set(-CVY_AA),
             bb = vh_set(-CVY_BB);
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
    const vh a_na = vh_set(CVY_A / (2 * CVY_AA * (CVY_AA - CVY_BB))),
             b_nb = vh_set(CVY_B / (2 * CVY_BB * (CVY_BB - CVY_AA)));
    const vh even_a = vh_mul(na, vh_fma(vh_set(CVY_AA), w2, w0)), odd_a = vh_mul(a_na, w1);
    const vh even_b = vh_mul(nb, vh_fma(vh_set(CVY_BB), w2, w0)), odd_b = vh_mul(b_nb, w1);
    to[0] = vh_mul(vh_set(1 / (CVY_AA * CVY_BB)), w0);
    to[step] = vh_add(even_a, odd_a);
    to[2 * step] = vh_sub(even_a, odd_a);
    to[3 * step] = vh_add(even_b, odd_b);
    to[4 * step] = vh_sub(even_b, odd_b);
    to[5 * step] = w2;
}

/* Where tiles lie: `across` of them a row, `tiles` an image; of the packed images, each tile's first pixel on; and
 * where each of the 36 points of a block of tiles goes, [36][blocks][tiles][16]. Floats. */
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
                    vh_winograd_in(vh_load(p), vh_load(p + row), vh_load(p + 2 * row), vh_load(p + 3 * row),
                                   vh_load(p + 4 * row), vh_load(p + 5 * row), s + j, 6);
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
/* U = G w G^T of `blocks` blocks of 16 x 16 channels; w [blocks][9 taps][16][16], the taps `tap` floats apart; u's
 * points `point`, its blocks 256. */
CVY_KEEP void cvy_winograd_points(const float *w, ptrdiff_t tap, int blocks, float *u, ptrdiff_t point)
{
    for (int b = 0; b < blocks; b++, w += 8 * 256)
        for (int l = 0; l < 256; l += VH, w += VH, u += VH) {
            vh s[18];
            for (int j = 0; j < 3; j++)
                vh_winograd_points(vh_load(w + j * tap), vh_load(w + (3 + j) * tap), vh_load(w + (6 + j) * tap), s + j,
                                   3);
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
                    vh_winograd_spread(vh_load(p), vh_load(p + row), vh_load(p + 2 * row), vh_load(p + 3 * row), s + j,
                                       4);
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
            vh_winograd_out(vh_load(p), vh_load(p + 6 * point), vh_load(p + 12 * point), vh_load(p + 18 * point),
                            vh_load(p + 24 * point), vh_load(p + 30 * point), s + j, 6);
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
            vh_winograd_taps(vh_load(p), vh_load(p + 6 * 256), vh_load(p + 12 * 256), vh_load(p + 18 * 256),
                             vh_load(p + 24 * 256), vh_load(p + 30 * 256), s + j, 6);
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
