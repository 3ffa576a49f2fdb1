/* phases.h - Winograd of a 3 x 3 conv of stride 2. Along an axis its outputs meet the even places of the padded input
 * with taps 0 and 2, the odd ones with tap 1. So a tile of 4 x 4 outputs is a sum over four phases of its input. Two
 * taps are F(4, 2): y = A^T ((G w) . (B^T d)), of 5 inputs and 5 points +-1/2, +-5/4 and infinity. One tap is a product
 * for each output. That makes 9 x 9 products a tile and pair of channels, of 25 + 5 + 5 + 1 = 36 transformed weights:
 *
 *     products   rows, columns meet   weights   order
 *     0 .. 24    two, two taps        0 .. 24   [point of rows 5][point of columns 5]
 *     25 .. 44   two, one             25 .. 29  [point of rows 5][column 4]
 *     45 .. 64   one, two             30 .. 34  [point of columns 5][row 4]
 *     65 .. 80   one, one             35        [row 4][column 4]
 *
 * The input's gradient is the same with the taps turned round: its even and odd pixels are the outputs of the phases.
 * SPDX-License-Identifier: 0BSD */

/* the points: +-a, +-b */
#define CVY_PA 0.5f
#define CVY_PB 1.25f
#define CVY_PAA (CVY_PA * CVY_PA)
#define CVY_PBB (CVY_PB * CVY_PB)
/* How many of the products are of the w-th weights. */
CVY_INLINE int cvy_phases_of(int w) { return w < 25 ? 1 : w < 35 ? 4 : 16; }

/* B^T d, from m(x) = (x^2 - a^2) (x^2 - b^2): m(x) / (x - p) applied to d for p and -p, `others` being the square of
 * the other such points; m(x) itself for infinity. */
CVY_INLINE void vh_phases_in_pair(vh d0, vh d1, vh d2, vh d3, float p, float others, vh *plus, vh *minus)
{
    const vh even = vh_fma(vh_set(-others), d1, d3), odd = vh_mul(vh_set(p), vh_fma(vh_set(-others), d0, d2));
    *plus = vh_add(even, odd);
    *minus = vh_sub(even, odd);
}
CVY_INLINE vh vh_phases_in_end(vh d0, vh d2, vh d4)
{
    return vh_fma(vh_set(CVY_PAA * CVY_PBB), d0, vh_fma(vh_set(-(CVY_PAA + CVY_PBB)), d2, d4));
}
CVY_INLINE void vh_phases_in(const vh *d, vh *to)
{
    vh_phases_in_pair(d[0], d[1], d[2], d[3], CVY_PA, CVY_PBB, to, to + 1);
    vh_phases_in_pair(d[0], d[1], d[2], d[3], CVY_PB, CVY_PAA, to + 2, to + 3);
    to[4] = vh_phases_in_end(d[0], d[2], d[4]);
}
/* A y: the polynomial with coefficients y at each point, the highest at infinity: of p and -p, of all. */
CVY_INLINE void vh_phases_spread_pair(vh y0, vh y1, vh y2, vh y3, float p, vh *plus, vh *minus)
{
    const vh square = vh_set(p * p), even = vh_fma(square, y2, y0), odd = vh_mul(vh_set(p), vh_fma(square, y3, y1));
    *plus = vh_add(even, odd);
    *minus = vh_sub(even, odd);
}
CVY_INLINE void vh_phases_spread(const vh *y, vh *to)
{
    vh_phases_spread_pair(y[0], y[1], y[2], y[3], CVY_PA, to, to + 1);
    vh_phases_spread_pair(y[0], y[1], y[2], y[3], CVY_PB, to + 2, to + 3);
    to[4] = y[3];
}
/* A^T m: its first and third value, its second and fourth, all. */
CVY_INLINE void vh_phases_out_even(vh m0, vh m1, vh m2, vh m3, vh *first, vh *third)
{
    const vh even_a = vh_add(m0, m1), even_b = vh_add(m2, m3);
    *first = vh_add(even_a, even_b);
    *third = vh_fma(vh_set(CVY_PAA), even_a, vh_mul(vh_set(CVY_PBB), even_b));
}
CVY_INLINE void vh_phases_out_odd(vh m0, vh m1, vh m2, vh m3, vh m4, vh *second, vh *fourth)
{
    const vh odd_a = vh_sub(m0, m1), odd_b = vh_sub(m2, m3);
    *second = vh_fma(vh_set(CVY_PA), odd_a, vh_mul(vh_set(CVY_PB), odd_b));
    *fourth = vh_fma(vh_set(CVY_PA * CVY_PAA), odd_a, vh_fma(vh_set(CVY_PB * CVY_PBB), odd_b, m4));
}
CVY_INLINE void vh_phases_out(const vh *m, vh *to)
{
    vh_phases_out_even(m[0], m[1], m[2], m[3], to, to + 2);
    vh_phases_out_odd(m[0], m[1], m[2], m[3], m[4], to + 1, to + 3);
}
/* G^T u: G's row of point p is 1, p, divided by the product of p's distances from the others, which for -p is the same
 * with the other sign. */
#define CVY_PNA (1 / (2 * CVY_PA * (CVY_PAA - CVY_PBB)))
#define CVY_PNB (1 / (2 * CVY_PB * (CVY_PBB - CVY_PAA)))
CVY_INLINE void vh_phases_taps(vh u0, vh u1, vh u2, vh u3, vh u4, vh *first, vh *second)
{
    *first = vh_fma(vh_set(CVY_PNA), vh_sub(u0, u1), vh_mul(vh_set(CVY_PNB), vh_sub(u2, u3)));
    *second = vh_fma(vh_set(CVY_PNA * CVY_PA), vh_add(u0, u1), vh_fma(vh_set(CVY_PNB * CVY_PB), vh_add(u2, u3), u4));
}

/* Where tiles lie: `across` of them a row, `tiles` an image. In the packed images pixels of a phase are `row` and `col`
 * apart, and a phase of one tap begins `one_row`, `one_col` after that of two. The 81 products of a block of tiles go
 * to [81][blocks][tiles][16]. Floats. */
struct cvy_phases {
    int across, tiles, blocks;
    ptrdiff_t image, row, col, one_row, one_col, block; /* image, block of channels: from one to the next */
    ptrdiff_t point, to_block;                          /* of the 81, from one point, block of channels to the next */
};
CVY_INLINE const float *cvy_phases_tile(const struct cvy_phases *g, const float *x, int t)
{
    const int tile = t % g->tiles;
    return x + t / g->tiles * g->image + tile / g->across * 4 * g->row + tile % g->across * 4 * g->col;
}

/* What follows holds two of a transform's rows in registers at a time, as in winograd.h. */

/* Five values to points, from `to` on. */
CVY_INLINE void cvy_five_points(const vh *r, float *to, ptrdiff_t point)
{
    CVY_ALL
    for (int i = 0; i < 5; i++, to += point) {
        CVY_APART(to);
        vh_store(to, r[i]);
    }
}
/* (B^T d) B of a row of B^T d; (A y) A^T of a row of A y. */
CVY_INLINE void cvy_phases_in_row(const vh *s, float *to, ptrdiff_t point)
{
    vh r[5];
    vh_phases_in(s, r);
    cvy_five_points(r, to, point);
}
CVY_INLINE void cvy_phases_spread_row(const vh *s, float *to, ptrdiff_t point)
{
    vh r[5];
    vh_phases_spread(s, r);
    cvy_five_points(r, to, point);
}
/* The four rows (columns) of a phase of one tap along them, 5 pixels each, `step` apart: point j of row k goes to
 * to[4 j + k]. */
CVY_INLINE void cvy_phases_in_four(const float *d, ptrdiff_t next, ptrdiff_t step, float *to, ptrdiff_t point)
{
    CVY_ALL
    for (int k = 0; k < 4; k++, d += next, to += point) {
        vh s[5];
        const float *p = d;
        CVY_ALL
        for (int j = 0; j < 5; j++, p += step) {
            CVY_APART(p);
            s[j] = vh_load(p);
        }
        cvy_phases_in_row(s, to, 4 * point);
    }
}
CVY_INLINE void cvy_phases_spread_four(const float *d, ptrdiff_t next, ptrdiff_t step, float *to, ptrdiff_t point)
{
    CVY_ALL
    for (int k = 0; k < 4; k++, d += next, to += point) {
        vh s[4];
        const float *p = d;
        CVY_ALL
        for (int j = 0; j < 4; j++, p += step) {
            CVY_APART(p);
            s[j] = vh_load(p);
        }
        cvy_phases_spread_row(s, to, 4 * point);
    }
}
/* The 4 x 4 pixels of a phase of one tap. */
CVY_INLINE void cvy_phases_copy(const float *d, ptrdiff_t row, ptrdiff_t col, float *to, ptrdiff_t point)
{
    CVY_ALL
    for (int i = 0; i < 4; i++, d += row) {
        const float *p = d;
        CVY_ALL
        for (int j = 0; j < 4; j++, p += col, to += point) {
            CVY_APART(p);
            CVY_APART(to);
            vh_store(to, vh_load(p));
        }
    }
}
/* Two rows of B^T d B, of points p and -p; the last one. */
CVY_INLINE void cvy_phases_in_pair(const float *d, ptrdiff_t row, ptrdiff_t col, float p, float others, float *to,
                                   ptrdiff_t point)
{
    vh plus[5], minus[5];
    CVY_ALL
    for (int j = 0; j < 5; j++, d += col) {
        CVY_APART(d);
        vh_phases_in_pair(vh_load(d), vh_load(d + row), vh_load(d + 2 * row), vh_load(d + 3 * row), p, others, plus + j,
                          minus + j);
    }
    cvy_phases_in_row(plus, to, point);
    cvy_phases_in_row(minus, to + 5 * point, point);
}
CVY_INLINE void cvy_phases_in_end(const float *d, ptrdiff_t row, ptrdiff_t col, float *to, ptrdiff_t point)
{
    vh s[5];
    CVY_ALL
    for (int j = 0; j < 5; j++, d += col) {
        CVY_APART(d);
        s[j] = vh_phases_in_end(vh_load(d), vh_load(d + 2 * row), vh_load(d + 4 * row));
    }
    cvy_phases_in_row(s, to, point);
}
/* The products' inputs of `n` tiles from tile `first` on. */
CVY_KEEP void cvy_phases_in(const struct cvy_phases *g, const float *x, int first, int n, float *to)
{
    const ptrdiff_t row = g->row, col = g->col, one_row = g->one_row, one_col = g->one_col,
                    point = g->point; /* copies, as a store might change them */
    for (int t = 0; t < n; t++, to += VF) {
        const float *d = cvy_phases_tile(g, x, first + t);
        float *v = to;
        for (int b = 0; b < g->blocks; b++, d += g->block, v += g->to_block)
            for (int h = 0; h < VF; h += VH) {
                cvy_phases_in_pair(d + h, row, col, CVY_PA, CVY_PBB, v + h, point);
                cvy_phases_in_pair(d + h, row, col, CVY_PB, CVY_PAA, v + h + 10 * point, point);
                cvy_phases_in_end(d + h, row, col, v + h + 20 * point, point);
                cvy_phases_in_four(d + h + one_col, col, row, v + h + 25 * point, point);
                cvy_phases_in_four(d + h + one_row, row, col, v + h + 45 * point, point);
                cvy_phases_copy(d + h + one_row + one_col, row, col, v + h + 65 * point, point);
            }
    }
}
/* Points p and -p of A y A^T; infinity. */
CVY_INLINE void cvy_phases_spread_pair(const float *y, ptrdiff_t row, float p, float *to, ptrdiff_t point)
{
    vh plus[4], minus[4];
    CVY_ALL
    for (int j = 0; j < 4; j++, y += VF) {
        CVY_APART(y);
        vh_phases_spread_pair(vh_load(y), vh_load(y + row), vh_load(y + 2 * row), vh_load(y + 3 * row), p, plus + j,
                              minus + j);
    }
    cvy_phases_spread_row(plus, to, point);
    cvy_phases_spread_row(minus, to + 5 * point, point);
}
CVY_INLINE void cvy_phases_spread_end(const float *y, float *to, ptrdiff_t point)
{
    vh s[4];
    CVY_ALL
    for (int j = 0; j < 4; j++)
        s[j] = vh_load(y + j * VF);
    cvy_phases_spread_row(s, to, point);
}
/* What the 4 x 4 gradients of `n` tiles from tile `first` on bring to each of the products. */
CVY_KEEP void cvy_phases_spread(const struct cvy_phases *g, const float *y, int first, int n, float *to)
{
    const ptrdiff_t row = g->row, point = g->point; /* copies, as a store might change them */
    for (int t = 0; t < n; t++, to += VF) {
        const float *d = cvy_phases_tile(g, y, first + t);
        float *v = to;
        for (int b = 0; b < g->blocks; b++, d += g->block, v += g->to_block)
            for (int h = 0; h < VF; h += VH) {
                cvy_phases_spread_pair(d + h, row, CVY_PA, v + h, point);
                cvy_phases_spread_pair(d + h, row, CVY_PB, v + h + 10 * point, point);
                cvy_phases_spread_end(d + h + 3 * row, v + h + 20 * point, point);
                cvy_phases_spread_four(d + h, VF, row, v + h + 25 * point, point);
                cvy_phases_spread_four(d + h, row, VF, v + h + 45 * point, point);
                cvy_phases_copy(d + h, row, VF, v + h + 65 * point, point);
            }
    }
}
/* Two rows of A^T m of five columns each: the first and third, the second and fourth. Point i of column j stands at
 * m[across i + j]. */
CVY_INLINE void cvy_phases_rows_even(const float *m, int columns, ptrdiff_t across, ptrdiff_t point, vh *s, vh *t)
{
    CVY_ALL
    for (int j = 0; j < columns; j++, m += point) {
        CVY_APART(m);
        vh_phases_out_even(vh_load(m), vh_load(m + across), vh_load(m + 2 * across), vh_load(m + 3 * across), s + j,
                           t + j);
    }
}
CVY_INLINE void cvy_phases_rows_odd(const float *m, int columns, ptrdiff_t across, ptrdiff_t point, vh *s, vh *t)
{
    CVY_ALL
    for (int j = 0; j < columns; j++, m += point) {
        CVY_APART(m);
        vh_phases_out_odd(vh_load(m), vh_load(m + across), vh_load(m + 2 * across), vh_load(m + 3 * across),
                          vh_load(m + 4 * across), s + j, t + j);
    }
}
/* Row i of a tile: A of what two taps along it made (s, and those of one tap along the column), and of one (e). */
CVY_INLINE void cvy_phases_out_row(const float *m, ptrdiff_t point, int i, vh *s, const vh *e, vh bias, float *y)
{
    vh r[4];
    const float *one = m + (45 + i) * point, *both = m + (65 + 4 * i) * point;
    CVY_ALL
    for (int j = 0; j < 5; j++, one += 4 * point) {
        CVY_APART(one);
        s[j] = vh_add(s[j], vh_load(one));
    }
    vh_phases_out(s, r);
    CVY_ALL
    for (int k = 0; k < 4; k++, both += point) {
        CVY_APART(both);
        vh_store(y + k * VF, vh_add(vh_add(r[k], vh_add(e[k], vh_load(both))), bias));
    }
}
/* y [4 x 4 pixels][16] of one tile's products + bias, which may be NULL. */
CVY_KEEP void cvy_phases_out(const float *m, ptrdiff_t point, const float *bias, float *y)
{
    for (int h = 0; h < VF; h += VH, m += VH, y += VH) {
        const vh add = bias ? vh_load(bias + h) : vh_set(0);
        const float *const one = m + 25 * point;
        vh s[5], t[5], e[4], f[4];
        cvy_phases_rows_even(m, 5, 5 * point, point, s, t);
        cvy_phases_rows_even(one, 4, 4 * point, point, e, f);
        cvy_phases_out_row(m, point, 0, s, e, add, y);
        cvy_phases_out_row(m, point, 2, t, f, add, y + 8 * VF);
        cvy_phases_rows_odd(m, 5, 5 * point, point, s, t);
        cvy_phases_rows_odd(one, 4, 4 * point, point, e, f);
        cvy_phases_out_row(m, point, 1, s, e, add, y + 4 * VF);
        cvy_phases_out_row(m, point, 3, t, f, add, y + 12 * VF);
    }
}
/* Four values to every second pixel. */
CVY_INLINE void cvy_phases_second(const vh *r, float *y)
{
    CVY_ALL
    for (int k = 0; k < 4; k++)
        vh_store(y + 2 * k * VF, r[k]);
}
CVY_INLINE void cvy_phases_back_row(const vh *s, float *y)
{
    vh r[4];
    vh_phases_out(s, r);
    cvy_phases_second(r, y);
}
/* y [8 x 8 pixels][16]: the four phases of the input's gradient from one tile's products. Pixels of the phases of two
 * taps begin at row `two_row`, column `two_col`, those of one at the other; 0 or 1. */
CVY_KEEP void cvy_phases_out_back(const float *m, ptrdiff_t point, int two_row, int two_col, float *y)
{
    enum { ROW = 8 * VF };
    for (int h = 0; h < VF; h += VH, m += VH, y += VH) {
        const float *const one = m + 25 * point;
        float *const two = y + two_row * ROW, *const other = y + (1 - two_row) * ROW;
        const ptrdiff_t col = two_col * VF, other_col = (1 - two_col) * VF;
        vh s[5], t[5];
        cvy_phases_rows_even(m, 5, 5 * point, point, s, t);
        cvy_phases_back_row(s, two + col);
        cvy_phases_back_row(t, two + 4 * ROW + col);
        cvy_phases_rows_odd(m, 5, 5 * point, point, s, t);
        cvy_phases_back_row(s, two + 2 * ROW + col);
        cvy_phases_back_row(t, two + 6 * ROW + col);
        cvy_phases_rows_even(one, 4, 4 * point, point, s, t);
        cvy_phases_second(s, two + other_col);
        cvy_phases_second(t, two + 4 * ROW + other_col);
        cvy_phases_rows_odd(one, 4, 4 * point, point, s, t);
        cvy_phases_second(s, two + 2 * ROW + other_col);
        cvy_phases_second(t, two + 6 * ROW + other_col);
        CVY_ALL
        for (int i = 0; i < 4; i++) {
            const float *p = m + (45 + i) * point, *q = m + (65 + 4 * i) * point;
            CVY_ALL
            for (int j = 0; j < 5; j++, p += 4 * point) {
                CVY_APART(p);
                s[j] = vh_load(p);
            }
            cvy_phases_back_row(s, other + 2 * i * ROW + col);
            CVY_ALL
            for (int j = 0; j < 4; j++, q += point) {
                CVY_APART(q);
                t[j] = vh_load(q);
            }
            cvy_phases_second(t, other + 2 * i * ROW + other_col);
        }
    }
}
/* dw[9][16][16] += the taps of 16 x 16 channels' u[36][16][16]; fresh: dw = them. */
CVY_INLINE void cvy_phases_tap(float *dw, vh v, int fresh) { vh_store(dw, fresh ? v : vh_add(vh_load(dw), v)); }
CVY_KEEP void cvy_phases_taps(const float *u, float *dw, int fresh)
{
    enum { TAP = 256 };
    for (int l = 0; l < TAP; l += VH, u += VH, dw += VH) {
        vh s[5], t[5], first, second;
        CVY_ALL
        for (int j = 0; j < 5; j++) {
            const float *const p = u + j * TAP;
            vh_phases_taps(vh_load(p), vh_load(p + 5 * TAP), vh_load(p + 10 * TAP), vh_load(p + 15 * TAP),
                           vh_load(p + 20 * TAP), s + j, t + j);
        }
        vh_phases_taps(s[0], s[1], s[2], s[3], s[4], &first, &second);
        cvy_phases_tap(dw, first, fresh);
        cvy_phases_tap(dw + 2 * TAP, second, fresh);
        vh_phases_taps(t[0], t[1], t[2], t[3], t[4], &first, &second);
        cvy_phases_tap(dw + 6 * TAP, first, fresh);
        cvy_phases_tap(dw + 8 * TAP, second, fresh);
        CVY_ALL
        for (int j = 0; j < 5; j++) {
            s[j] = vh_load(u + (25 + j) * TAP);
            t[j] = vh_load(u + (30 + j) * TAP);
        }
        vh_phases_taps(s[0], s[1], s[2], s[3], s[4], &first, &second);
        cvy_phases_tap(dw + TAP, first, fresh);
        cvy_phases_tap(dw + 7 * TAP, second, fresh);
        vh_phases_taps(t[0], t[1], t[2], t[3], t[4], &first, &second);
        cvy_phases_tap(dw + 3 * TAP, first, fresh);
        cvy_phases_tap(dw + 5 * TAP, second, fresh);
        cvy_phases_tap(dw + 4 * TAP, vh_load(u + 35 * TAP), fresh);
    }
}
