/* fit.c - the size of images: crop, pad or squash, by averages over areas, while the rows come in.
 *
 * Which pixels an output pixel averages is what Pillow's box filter says: those whose centres lie in its share of the
 * source. With fewer source pixels than output pixels that is the nearest one. Sums are whole numbers, so that turning
 * an image and then resizing it is the same as resizing and then turning: an orientation only changes where a pixel
 * goes. Memory: a row of sums for each output row under way, whatever the size of the source. */
#include "fit.h"

#include <stdlib.h>
#include <string.h>

const char *const fit_words[] = {"crop", "pad", "squash", NULL};

/* What becomes of one side of the source: output k, in the source's order, averages [lo[k], hi[k]) and goes to first +
 * k * step in a plane of the output. */
typedef struct Axis {
    int n, *lo, *hi;
    ptrdiff_t first, step;
} Axis;

enum { OPEN_ROWS = 4 }; /* output rows under way at once: two, and some slack for rounding */

struct Fitter {
    const Recipe *r;
    uint8_t *out;
    Axis x, y; /* of the source as it is stored */
    int at, next, width;
    bool resizes;
    uint32_t *line;            /* a source row's sums: x.n x channels */
    uint64_t *open[OPEN_ROWS]; /* sums of output row k in open[k % OPEN_ROWS] */
};

/* One side of the picture after turning: of `source` pixels those from `from` on, `used` of them, become `n` pixels
 * that begin at `to` of the output. `stride`: between neighbours of the output. */
static Axis axis_make(int source, int from, int used, int n, int to, ptrdiff_t stride, bool flipped)
{
    const double scale = (double)used / n, support = 0.5 * (scale < 1 ? 1 : scale), per = 1 / (2 * support);
    Axis a = {.n = n, .lo = xmalloc((size_t)n * sizeof(int)), .hi = xmalloc((size_t)n * sizeof(int))};

    for (int i = 0; i < n; i++) {
        const double center = (i + 0.5) * scale;
        int lo = (int)(center - support + 0.5), hi = (int)(center + support + 0.5);
        lo = lo < 0 ? 0 : lo > used - 1 ? used - 1 : lo;
        hi = hi > used ? used : hi <= lo ? lo + 1 : hi;
        while (lo < hi - 1 && (lo - center + 0.5) * per <= -0.5)
            lo++;
        while (hi - 1 > lo && (hi - 1 - center + 0.5) * per > 0.5)
            hi--;
        const int k = flipped ? n - 1 - i : i;
        a.lo[k] = flipped ? source - from - hi : from + lo;
        a.hi[k] = flipped ? source - from - lo : from + hi;
    }
    a.step = flipped ? -stride : stride;
    a.first = (to + (flipped ? n - 1 : 0)) * stride;
    return a;
}

/* Of a side of `a` pixels, as much as goes with `b` pixels of the other side at the proportion x : y. At least 1. */
static int in_proportion(int b, int x, int y, int most)
{
    const int64_t n = (int64_t)b * x / y;
    return n < 1 ? 1 : n > most ? most : (int)n;
}

Fitter *fitter_begin(const Recipe *r, int width, int height, int orientation, uint8_t *out)
{
    const bool swapped = orientation >= 5;
    const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const int w = swapped ? height : width, h = swapped ? width : height; /* after turning */
    int used_w = w, used_h = h, n_w = r->width, n_h = r->height;          /* of the source; of the output */
    Fitter *f = xmalloc(sizeof *f);

    if (r->fit == FIT_CROP) {
        used_w = in_proportion(h, r->width, r->height, w);
        used_h = in_proportion(w, r->height, r->width, h);
    } else if (r->fit == FIT_PAD) {
        n_w = in_proportion(r->height, w, h, r->width);
        n_h = in_proportion(r->width, h, w, r->height);
    }
    const int from_w = (w - used_w) / 2, from_h = (h - used_h) / 2;
    const int to_w = (r->width - n_w) / 2, to_h = (r->height - n_h) / 2;
    *f = (Fitter){.r = r, .out = out, .width = width, .resizes = w != r->width || h != r->height};
    /* the flips are of the source's sides; a side of the picture is the other side of the source where it was swapped
     */
    const Axis aw = axis_make(w, from_w, used_w, n_w, to_w, 1, swapped ? flip_y : flip_x);
    const Axis ah = axis_make(h, from_h, used_h, n_h, to_h, r->width, swapped ? flip_x : flip_y);
    f->x = swapped ? ah : aw;
    f->y = swapped ? aw : ah;
    const size_t sums = (size_t)f->x.n * (size_t)r->channels;
    f->line = xmalloc(sums * sizeof *f->line);
    for (int i = 0; i < OPEN_ROWS; i++)
        f->open[i] = xmalloc(sums * sizeof *f->open[i]);
    memset(out, 0, (size_t)r->channels * (size_t)r->height * (size_t)r->width);
    return f;
}

bool fitter_resizes(const Fitter *f)
{
    return f->resizes;
}

static void sum_line(Fitter *f, const uint8_t *row)
{
    const int c = f->r->channels;
    uint32_t *to = f->line;

    for (int k = 0; k < f->x.n; k++, to += c) {
        const uint8_t *p = row + (size_t)f->x.lo[k] * (size_t)c;
        for (int i = 0; i < c; i++)
            to[i] = 0;
        for (int x = f->x.lo[k]; x < f->x.hi[k]; x++)
            for (int i = 0; i < c; i++)
                to[i] += *p++;
    }
}

/* Output row k is complete: its averages, rounded, go to their places. */
static void put_row(Fitter *f, int k)
{
    const int c = f->r->channels;
    const size_t plane = (size_t)f->r->height * (size_t)f->r->width;
    const uint64_t *sum = f->open[k % OPEN_ROWS];
    uint8_t *const row = f->out + f->y.first + k * f->y.step;

    for (int x = 0; x < f->x.n; x++) {
        const uint64_t count = (uint64_t)(f->y.hi[k] - f->y.lo[k]) * (uint64_t)(f->x.hi[x] - f->x.lo[x]);
        uint8_t *to = row + f->x.first + x * f->x.step;
        for (int i = 0; i < c; i++, to += plane)
            *to = (uint8_t)((*sum++ + count / 2) / count);
    }
}

void fitter_row(Fitter *f, const uint8_t *row)
{
    const int y = f->at++;
    const size_t sums = (size_t)f->x.n * (size_t)f->r->channels;

    if (f->next == f->y.n || y < f->y.lo[f->next])
        return;
    sum_line(f, row);
    for (int k = f->next; k < f->y.n && f->y.lo[k] <= y; k++) {
        uint64_t *sum = f->open[k % OPEN_ROWS];
        if (y == f->y.lo[k])
            memset(sum, 0, sums * sizeof *sum);
        if (y < f->y.hi[k])
            for (size_t i = 0; i < sums; i++)
                sum[i] += f->line[i];
        if (y == f->y.hi[k] - 1)
            put_row(f, k);
    }
    while (f->next < f->y.n && f->y.hi[f->next] <= y + 1)
        f->next++;
}

void fitter_end(Fitter *f)
{
    for (int i = 0; i < OPEN_ROWS; i++)
        free(f->open[i]);
    free(f->line);
    free(f->x.lo);
    free(f->x.hi);
    free(f->y.lo);
    free(f->y.hi);
    free(f);
}
