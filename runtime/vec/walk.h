/* walk.h - how rows of images meet, what a core calls for what it makes, and a walk over an image where no core makes
 * it.
 * SPDX-License-Identifier: 0BSD */

CVY_INLINE int cvy_smaller(int a, int b) { return a < b ? a : b; }
CVY_INLINE int cvy_larger(int a, int b) { return a > b ? a : b; }
/* Of `rows` rows that meet rows at, at + step, ... of another image: the first that meets one of its `size`, and the
 * one after the last. */
CVY_INLINE int cvy_rows_from(int at, int step, int size, int rows)
{
    const int from = step > 0 ? (at < 0 ? (step - 1 - at) / step : 0) : at >= size ? (at - size) / -step + 1 : 0;
    return from < rows ? from : rows;
}
CVY_INLINE int cvy_rows_to(int at, int step, int size, int rows)
{
    const int to = step > 0 ? (at < size ? (size - 1 - at) / step + 1 : 0) : at >= 0 ? at / -step + 1 : 0;
    return to < rows ? to : rows;
}

/* A thread's part of a kernel's work on one image: part c of of_c of the channels that it makes, part at of of_at of
 * its rows or tiles. */
struct cvy_part {
    int c, of_c, at, of_at;
};
CVY_INLINE struct cvy_part cvy_whole(void)
{
    const struct cvy_part whole = {0, 1, 0, 1};
    return whole;
}
/* Where part `part` of n begins; it ends where the next one begins. */
CVY_INLINE int cvy_part_from(int n, int part, int of) { return (int)((ptrdiff_t)n * part / of); }

/* What a core calls for the registers it finishes: begin for channel block c; first with a register of those that
 * follow, and the place of the first; point for each register; end. All are inlined. */
typedef void cvy_begin(void *pass, int c);
typedef void cvy_first(void *pass, int c, vf v, int y, int x);
typedef vf cvy_point(void *pass, vf v, int y, int x);
typedef void cvy_end(void *pass);
CVY_INLINE void cvy_begin_nothing(void *pass, int c) { (void)pass, (void)c; }
CVY_INLINE void cvy_first_ignored(void *pass, int c, vf v, int y, int x)
{
    (void)pass, (void)c, (void)v, (void)y, (void)x;
}
CVY_INLINE void cvy_end_nothing(void *pass) { (void)pass; }
/* Of a core that takes several images: what comes is of the m-th. */
typedef void cvy_image(void *pass, int m);
CVY_INLINE void cvy_image_only(void *pass, int m) { (void)pass, (void)m; }
/* Of a core by Winograd, before it has the pixels of the tile at (y, x): after begin. */
typedef void cvy_ahead(const void *pass, int y, int x);
CVY_INLINE void cvy_ahead_nothing(const void *pass, int y, int x) { (void)pass, (void)y, (void)x; }
/* Tensors that are read next, `lines` lines of 16 floats of each between two products of a core by Winograd. */
enum { CVY_NEXT = 4 };
struct cvy_next {
    int tensors;
    const float *at[CVY_NEXT];
    int lines[CVY_NEXT];
};
/* Products hardly use memory: meanwhile, what is read next comes nearer. NULL: nothing is known of it. */
CVY_INLINE void cvy_next_nearer(struct cvy_next *next)
{
    for (int i = 0; next && i < next->tensors; i++)
        for (int l = 0; l < next->lines[i]; l++, next->at[i] += VF)
            CVY_PREFETCH_FAR(next->at[i]);
}
/* 4 x 4 pixels that will be written come nearer, rows `row` floats apart. */
CVY_INLINE void cvy_written_ahead(const float *to, ptrdiff_t row)
{
    for (int i = 0; i < 4; i++, to += row) {
        CVY_PREFETCH_FAR(to);
        CVY_PREFETCH_FAR(to + VF);
        CVY_PREFETCH_FAR(to + 2 * VF);
        CVY_PREFETCH_FAR(to + 3 * VF);
    }
}
/* Where no core makes the values: a walk over an image of h x w pixels that reads them. */
typedef vf cvy_read(const void *pass, int y, int x);
CVY_INLINE void cvy_walk_some(void *pass, int from, int to, int h, int w, cvy_begin *begin, cvy_read *read,
                              cvy_point *point, cvy_end *end)
{
    for (int c = from; c < to; c += VF) {
        begin(pass, c);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w;) {
                const int stop = w - x > CVY_SUM ? x + CVY_SUM : w;
                for (; x < stop; x++)
                    point(pass, read(pass, y, x), y, x);
                end(pass);
            }
    }
}
CVY_INLINE void cvy_walk(void *pass, int channels, int h, int w, cvy_begin *begin, cvy_read *read, cvy_point *point,
                         cvy_end *end)
{
    cvy_walk_some(pass, 0, channels, h, w, begin, read, point, end);
}
/* The same of a single pixel, of whose place nobody is told. */
typedef vf cvy_point_one(void *pass, vf v);
typedef vf cvy_read_one(const void *pass);
CVY_INLINE void cvy_walk_one_some(void *pass, int from, int to, cvy_begin *begin, cvy_read_one *read,
                                  cvy_point_one *point, cvy_end *end)
{
    for (int c = from; c < to; c += VF) {
        begin(pass, c);
        point(pass, read(pass));
        end(pass);
    }
}
CVY_INLINE void cvy_walk_one(void *pass, int channels, cvy_begin *begin, cvy_read_one *read, cvy_point_one *point,
                             cvy_end *end)
{
    cvy_walk_one_some(pass, 0, channels, begin, read, point, end);
}

/* Features f .. f + 15 of the flattened (C, H, W) image at p (blocked, no halo), H * W = area, `total` features; and
 * back. */
CVY_INLINE vf vf_flatten(const float *p, int area, int f, int total)
{
    float t[16] = {0};
    for (int l = 0; l < VF && f + l < total; l++)
        t[l] = p[((ptrdiff_t)((f + l) / area / VF) * area + (f + l) % area) * VF + (f + l) / area % VF];
    return vf_loadu(t);
}
CVY_INLINE void vf_unflatten(float *p, int area, int f, int total, vf v)
{
    float t[16];
    memcpy(t, &v, sizeof t);
    for (int l = 0; l < VF && f + l < total; l++)
        p[((ptrdiff_t)((f + l) / area / VF) * area + (f + l) % area) * VF + (f + l) / area % VF] = t[l];
}
