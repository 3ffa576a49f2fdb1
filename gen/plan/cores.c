/* cores.c - the shape of each core: which loops stay, which taps are unrolled.
 *
 * needs: kernels with their packed images.
 * sets:  forward, data, weight and inference cores, core names, padded weight sizes. */
#include "cover.h"
#include "passes.h"

#include <limits.h>
#include <string.h>

enum {
    LEAVE_OUT = 50,         /* padding is left out of columns where it is a fiftieth of the work */
    BAND_FLOATS = 7168,     /* what a band of rows may take of the first cache: 28 of 32 KB */
    GROUP_PIXELS = 128,     /* images are taken together for the weights' gradient up to this many pixels, ... */
    GROUP_FLOATS = 131072,  /* ... this much scratch, ... */
    GROUP_WALK = 4096,      /* ... and this much of the first cache (16 of 32 KB), if ... */
    GROUP_WEIGHTS = 131072, /* ... the weights are no more than the second cache takes */
};

/* Taps that meet padding alone are left out where that saves something: rows cost no text, columns cost tiles of their
 * own. */
static void leave_out(Core *c, int in_h, int in_w)
{
    int64_t y_missed = 0, x_missed = 0;

    if (c->lanes == 1) /* a tap is too little work */
        return;
    c->in_h = in_h, c->in_w = in_w;
    for (int i = 0; i < c->ntap; i++) {
        const Range x = columns_met(c, &c->tap[i]);
        x_missed += c->w - (x.to - x.from);
        for (int r = 0; r < c->rows; r++) {
            const Range y = rows_met(c, &c->tap[i], r);
            y_missed += c->h - (y.to - y.from);
        }
    }
    if (x_missed * LEAVE_OUT < (int64_t)c->ntap * c->w)
        c->in_w = 0;
    if (y_missed == 0)
        c->in_h = 0;
}

static void add_tap(Core *c, int64_t x, int64_t w, int at_y, int at_x)
{
    *PUSH(c->tap, c->ntap) = (Tap){x, w, at_y, at_x};
}

/* What `unroll:` asks for. full: the kernel's rows and the channels of a block are unrolled too. none (no taps): loops
 * over all but a kernel's row, around one register. */
typedef struct Unroll {
    int taps, budget;
    bool full;
} Unroll;

static Unroll unroll_of(const Spec *s)
{
    if (s->unroll == UNROLL_FULL)
        return (Unroll){INT_MAX, INT_MAX, true};
    if (s->unroll == UNROLL_NONE)
        return (Unroll){0, 1, false};
    return (Unroll){UNROLL_TAPS, s->unroll ? s->unroll : UNROLL_TILE, false};
}

/* The taps of all rows in one list, of all channels of a block, too. */
static void unroll_core(Core *c, bool channels)
{
    Tap *const tap = c->tap;
    const int n = c->ntap, lanes = channels ? c->lanes : 1;

    c->tap = NULL;
    c->ntap = 0;
    for (int r = 0; r < c->rows; r++)
        for (int i = 0; i < n; i++)
            for (int l = 0; l < lanes; l++)
                add_tap(c, tap[i].x + r * c->x_row + l, tap[i].w + r * c->w_row + (int64_t)l * LANES,
                        tap[i].at_y + r * c->row_step, tap[i].at_x);
    c->rows = 1;
    if (channels)
        c->lanes = 1;
}

static void finish_core(const Target *t, Core *c, Unroll u, int in_h, int in_w)
{
    c->flat = c->rows * c->ntap <= u.taps;
    if (u.taps)
        leave_out(c, in_h, in_w);
    if (u.full)
        unroll_core(c, true);
    else if (c->lanes == 1 && c->flat)
        unroll_core(c, false);
    c->twice = c->lanes % 2 == 0;
    cover_choose(t, c, u.budget);
}

/* Refuses a core that `unroll: full` makes too large. */
static void check_size(const Plan *p, const Kernel *k, const Core *c)
{
    int64_t n = 0;

    for (int i = 0; i < c->ntile; i++) {
        const int64_t one = (int64_t)c->ntap * c->tile[i].rows * c->tile[i].cols * c->vectors;
        n = one > n ? one : n;
    }
    if (p->g->spec->unroll == UNROLL_FULL && n > UNROLL_LIMIT)
        diag_error(p->g->spec->unroll_mark, "unroll: auto, or a number of statements",
                   "unroll: full makes %lld statements of one function of %s; at most %d are made", (long long)n,
                   k->name, UNROLL_LIMIT);
}

/* ---- conv ---- */

/* Blocks (lanewise and plain: channels) that one output sums, of a side of `channels`. */
static int blocks_summed(const Kernel *k, const Op *o, int channels, bool plain)
{
    return k->conv->lanewise || plain ? channels / o->groups : blocks_of(channels / o->groups);
}

/* Which x the output blocks of a side of `channels` share. */
static int blocks_sharing(const Kernel *k, const Op *o, int channels)
{
    return k->conv->lanewise ? 1 : o->groups > 1 ? channels / o->groups / LANES : 0;
}

static void forward_core(const Target *t, const Kernel *k, Core *c, const Op *o, Shape in, const Image *xs, Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], lanes = xs->plain ? 1 : LANES;
    const int per_w = xs->plain || k->conv->lanewise ? LANES : LANES * LANES;

    c->name = "forward";
    c->lanewise = k->conv->lanewise;
    c->blocks = blocks_summed(k, o, in.c, xs->plain);
    c->x_block = (int64_t)xs->rows * xs->cols * lanes;
    c->w_block = (int64_t)kh * kw * per_w;
    c->share = blocks_sharing(k, o, o->shape.c);
    c->x_group = c->share ? c->blocks * c->x_block : 0;
    c->lanes = xs->plain || k->conv->lanewise ? 1 : c->blocks == 1 ? in.c / o->groups : LANES;
    c->out_blocks = blocks_of(o->shape.c);
    c->w_out = c->blocks * c->w_block;
    c->h = o->shape.h, c->w = o->shape.w;
    c->x_y = (int64_t)o->stride[0] * xs->cols * lanes;
    c->x_x = (int64_t)o->stride[1] * lanes;
    c->ystep = c->xstep = 1;
    c->y_step = o->stride[0], c->x_step = o->stride[1];
    c->row_step = o->dilation[0];
    c->x_row = (int64_t)o->dilation[0] * xs->cols * lanes;
    c->w_row = (int64_t)kw * per_w;
    c->rows = kh;
    if (xs->plain && in.c * kh * kw <= 3 * UNROLL_TAPS && u.taps) { /* plain and small: unroll the channels too */
        c->rows = 1;
        for (int p = 0; p < in.c; p++)
            for (int y = 0; y < kh; y++)
                for (int x = 0; x < kw; x++)
                    add_tap(c, p * c->x_block + y * c->x_row + (int64_t)x * o->dilation[1] * lanes,
                            p * c->w_block + y * c->w_row + (int64_t)x * per_w, 0, 0);
        c->blocks = 1;
    } else
        for (int x = 0; x < kw; x++)
            add_tap(c, (int64_t)x * o->dilation[1] * lanes, (int64_t)x * per_w, -o->padding[0],
                    x * o->dilation[1] - o->padding[1]);
    finish_core(t, c, u, in.h, in.w);
}

/* One class: the input pixels (a + stride[0] j, b + stride[1] i), which share their taps. dz's pixel for kernel
 * position p is j + (a + padding - p dilation) / stride. */
static void data_core(const Target *t, const Kernel *k, Core *c, const Op *o, Shape in, const Image *dz, int a, int b,
                      Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], sh = o->stride[0], sw = o->stride[1], dh = o->dilation[0],
              dw = o->dilation[1];
    const int per_w = k->conv->lanewise ? LANES : LANES * LANES;
    int *y = xalloc(sizeof *y * (size_t)kh), *x = xalloc(sizeof *x * (size_t)kw), ny = 0, nx = 0;

    for (int p = 0; p < kh; p++)
        if ((a + o->padding[0] - p * dh) % sh == 0)
            y[ny++] = p;
    for (int p = 0; p < kw; p++)
        if ((b + o->padding[1] - p * dw) % sw == 0)
            x[nx++] = p;
    c->name = sh * sw == 1 ? "data" : xprintf("data_%d_%d", a, b);
    c->lanewise = k->conv->lanewise;
    c->blocks = blocks_summed(k, o, o->shape.c, false);
    c->x_block = (int64_t)dz->rows * dz->cols * LANES;
    c->w_block = (int64_t)kh * kw * per_w;
    c->share = blocks_sharing(k, o, in.c);
    c->x_group = c->share ? c->blocks * c->x_block : 0;
    c->lanes = k->conv->lanewise ? 1 : c->blocks == 1 ? o->shape.c / o->groups : LANES;
    c->out_blocks = blocks_of(in.c);
    c->w_out = c->blocks * c->w_block;
    c->h = (in.h - a + sh - 1) / sh, c->w = (in.w - b + sw - 1) / sw;
    c->x_y = (int64_t)dz->cols * LANES;
    c->x_x = LANES;
    c->y0 = a, c->x0 = b, c->ystep = sh, c->xstep = sw;
    c->y_step = c->x_step = 1;
    c->rows = nx ? ny : 0;
    const int apart = ny > 1 ? y[1] - y[0] : sh; /* rows of the kernel that the class meets, all as far apart */
    c->row_step = -(apart * dh / sh);
    c->x_row = (int64_t)c->row_step * dz->cols * LANES;
    c->w_row = (int64_t)apart * kw * per_w;
    for (int j = 0; j < nx && ny > 0; j++) {
        const int at_y = (a + o->padding[0] - y[0] * dh) / sh, at_x = (b + o->padding[1] - x[j] * dw) / sw;
        add_tap(c, (((int64_t)at_y + dz->top) * dz->cols + at_x + dz->left) * LANES,
                ((int64_t)y[0] * kw + x[j]) * per_w, at_y, at_x);
    }
    finish_core(t, c, u, o->shape.h, o->shape.w);
}

/* How many rows of dz are walked together. A block of x is walked once for each row of the kernel and each step through
 * a block's channels; where that is often, and the block is larger than the first cache, the walks take bands of rows
 * that fit it. All bands are as many rows, but the last. */
static int band_rows(const Core *c, int64_t x_row, Unroll u)
{
    const int64_t of_kernel = (c->rows - 1) * c->row_step + 1, row = c->y_step * x_row + c->z_y * c->vectors;
    const int64_t rows = (BAND_FLOATS - (of_kernel - c->y_step) * x_row) / row;

    if (u.taps == 0 || c->images > 1 || c->rows * (c->lanes / c->step) < 4 || rows >= c->h || rows * c->w < 32)
        return c->h;
    const int bands = (int)((c->h + rows - 1) / rows);
    return (c->h + bands - 1) / bands;
}

/* How many images a walk takes. Adding to dw costs a small image more than its pixels do; but what a walk reads (rows
 * of x that one row of the kernel meets, and dz) is read again for every step through a block's channels, and should
 * stay in the first cache. Weights that come from memory cost most. */
static int images_together(const Core *c, const Op *o, const Image *xs, const Image *dz)
{
    const int64_t lanes = xs->plain ? 1 : LANES, pixels = (int64_t)c->h * c->w,
                  cols = (int64_t)(c->w - 1) * o->stride[1] + (int64_t)(o->kernel[1] - 1) * o->dilation[1] + 1;
    const int64_t rows =
        c->rows > 1 ? c->h : (int64_t)(c->h - 1) * o->stride[0] + (int64_t)(o->kernel[0] - 1) * o->dilation[0] + 1;
    const int64_t walk = rows * cols * lanes + pixels * c->vectors * LANES;
    const bool large = c->w_out * c->out_blocks > GROUP_WEIGHTS;
    int n = 1;

    while (n < 16 && n * pixels < GROUP_PIXELS && (n + 1) * (xs->floats + dz->floats) <= GROUP_FLOATS &&
           (large || (n + 1) * walk <= GROUP_WALK))
        n++;
    return n;
}

/* How many values of x a pixel has in common with the next one of its row. */
static int next_reads(const Core *c)
{
    int n = 0;

    for (int i = 0; i < c->nacc; i++)
        for (int j = 0; j < c->nacc; j++)
            n += c->acc[j].x + c->x_x == c->acc[i].x;
    return n;
}

static void weight_core(const Target *t, const Kernel *k, Core *c, const Op *o, Shape in, const Image *xs,
                        const Image *dz, Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], lanes = xs->plain ? 1 : LANES;
    const int per_w = xs->plain || k->conv->lanewise ? LANES : LANES * LANES,
              limit = t->registers - (k->conv->lanewise ? 2 : 4);

    c->kind = CORE_WEIGHTS;
    c->lanewise = k->conv->lanewise;
    c->out_blocks = blocks_of(o->shape.c);
    c->x_block = (int64_t)xs->rows * xs->cols * lanes;
    c->w_block = (int64_t)kh * kw * per_w;
    c->blocks = blocks_summed(k, o, in.c, xs->plain);
    c->share = blocks_sharing(k, o, o->shape.c);
    c->x_group = c->share ? c->blocks * c->x_block : 0;
    c->w_out = c->blocks * c->w_block;
    c->x_row = (int64_t)o->dilation[0] * xs->cols * lanes;
    c->w_row = (int64_t)kw * per_w;
    c->x_lane = 1;
    c->rows = kh;
    c->lanes = xs->plain || k->conv->lanewise ? 1 : c->blocks == 1 ? in.c / o->groups : LANES;
    c->h = o->shape.h, c->w = o->shape.w;
    c->x_y = (int64_t)o->stride[0] * xs->cols * lanes;
    c->x_x = (int64_t)o->stride[1] * lanes;
    c->z_origin = ((int64_t)dz->top * dz->cols + dz->left) * LANES;
    c->z_y = (int64_t)dz->cols * LANES;
    c->z_x = LANES;
    c->z_block = (int64_t)dz->rows * dz->cols * LANES;

    int planes = 1, tap_rows = 1;
    if ((xs->plain || k->conv->lanewise) && kh * kw <= limit && u.taps) { /* few channels: as many taps as fit */
        tap_rows = kh;
        planes = c->blocks * kh * kw <= limit ? c->blocks : 1;
    }
    int cols = kw;
    if (k->conv->lanewise && tap_rows == 1) { /* as much of a row as fits */
        c->lanes = kw;
        c->x_lane = (int64_t)o->dilation[1] * LANES;
        cols = 1;
    }
    const int taps = planes * tap_rows * cols;
    const double products = (double)c->h * c->w * kh * kw * (in.c / o->groups) * c->out_blocks; /* of vectors */
    double best = -1;
    c->step = 1, c->vectors = 1;
    for (int s = 1; s <= c->lanes; s++)
        for (int v = 1; v <= 8 && v <= c->out_blocks; v++) {
            if (c->lanes % s || c->out_blocks % v || (c->share && c->share % v) || !tile_fits(t, taps * s, v) ||
                (u.taps == 0 && s * v > 1))
                continue;
            const double cycles =
                (tile_step_cycles(t, taps * s, v, k->conv->lanewise) + 20.0 / (c->h * c->w)) / (taps * s * v);
            if (best < 0 || cycles < best * 0.999) {
                best = cycles;
                c->step = s, c->vectors = v;
            }
        }
    c->cycles = best * products;
    for (int p = 0; p < planes; p++)
        for (int y = 0; y < tap_rows; y++)
            for (int x = 0; x < cols; x++)
                for (int s = 0; s < c->step; s++)
                    *PUSH(c->acc, c->nacc) =
                        (Tap){p * c->x_block +
                                  ((int64_t)y * o->dilation[0] * xs->cols + (int64_t)x * o->dilation[1]) * lanes +
                                  s * c->x_lane,
                              p * c->w_block + ((int64_t)y * kw + x) * per_w + s * LANES, 0,
                              x * o->dilation[1] - o->padding[1]};
    if (planes > 1)
        c->blocks = 1;
    if (tap_rows > 1)
        c->rows = 1;

    c->y_step = o->stride[0], c->x_step = o->stride[1];
    c->row_at = -o->padding[0], c->row_step = o->dilation[0];
    if (!xs->plain && !k->conv->lanewise && u.taps) {
        int64_t missed = 0;
        c->in_h = in.h, c->in_w = in.w;
        for (int i = 0; i < c->nacc; i++) {
            const Range met = columns_met(c, &c->acc[i]);
            missed += c->w - (met.to - met.from);
        }
        if (missed * LEAVE_OUT < (int64_t)c->nacc * c->w)
            c->in_w = 0;
    }

    c->x_image = xs->floats;
    c->z_image = dz->floats;
    c->images = k->conv->xg < 0 ? images_together(c, o, xs, dz) : 1;
    c->band_rows = band_rows(c, (int64_t)xs->cols * lanes, u);
    c->pixels = u.taps ? u.budget / (c->nacc * c->vectors) : 1;
    c->pixels = c->pixels < 1 ? 1 : c->pixels < UNROLL_PIXELS ? c->pixels : UNROLL_PIXELS;
    c->kept = !k->conv->lanewise && t->keeps && c->vectors >= t->keeps;
    c->apart = !c->kept || t->parts * (c->nacc + 1) * c->vectors + next_reads(c) > t->parts * t->registers;
}

/* ---- lanewise: images in which lane meets lane ---- */

/* `from` gathered for `channels` of the other side, each of which meets `few` of it. -1: it stands so already. */
static int gathered(Image **list, int *n, const Image *from, int channels, int few, const char *name)
{
    Image m = *from;

    m.name = name;
    m.filled = false; /* the halo is gathered with the rest */
    m.copies = 1;
    if (!mul_fits((int64_t)few * LANES * blocks_of(channels), (int64_t)m.rows * m.cols, &m.floats) ||
        m.floats > INT64_C(1) << 48)
        m.floats = INT64_C(1) << 48; /* memory refuses it */
    m.shape.c =
        (int)(few * (int64_t)LANES * blocks_of(channels) < INT32_MAX ? few * LANES * blocks_of(channels) : INT32_MAX);
    *PUSH(*list, *n) = m;
    return *n - 1;
}

static void gather_images(Kernel *k, const Op *o, Shape in)
{
    const int per_in = in.c / o->groups, per_out = o->shape.c / o->groups;

    if (!k->conv->lanewise || (per_in == 1 && per_out == 1))
        return;
    const Image xs = k->image[k->w->x];
    k->conv->xg = gathered(&k->image, &k->nimage, &xs, o->shape.c, per_in, "xg");
    k->image[k->conv->xg].given = false;
    if (!k->back_data || k->w->dz < 0)
        return;
    const Image dz = k->image[k->w->dz];
    k->conv->zg = gathered(&k->image, &k->nimage, &dz, in.c, per_out, "zg");
}

/* ---- linear at inference: a 1x1 conv on one pixel ---- */

static void linear_core(const Target *t, Core *c, int in, int out, Unroll u)
{
    c->name = "forward";
    c->blocks = blocks_of(in);
    c->x_block = LANES;
    c->w_block = LANES * LANES;
    c->rows = 1;
    c->lanes = c->blocks == 1 ? in : LANES;
    c->out_blocks = blocks_of(out);
    c->w_out = (int64_t)c->blocks * LANES * LANES;
    c->h = c->w = 1;
    c->ystep = c->xstep = 1;
    add_tap(c, 0, 0, 0, 0);
    finish_core(t, c, u, 0, 0);
}

/* ---- kernels ---- */

static const char *core_name(const Graph *g, const Kernel *k, const Op *o)
{
    const Shape in = g->op[o->in].shape;

    if (k->recurrent)
        return recurrent_name(o, &g->op[o->in]);
    if (k->kind == KERNEL_EMBED)
        return xprintf("embed_%d_%dx%d%s", g->spec->tokens, o->shape.c, o->shape.w, o->lengths ? "_lengths" : "");
    if (k->rows)
        return xprintf("linear_%d_%d", in.c, o->shape.c);
    const char *dilation =
        o->dilation[0] * o->dilation[1] > 1 ? xprintf("_d%dx%d", o->dilation[0], o->dilation[1]) : "";
    const char *groups = o->groups > 1 ? xprintf("_g%d", o->groups) : "";
    const char *after =
        sides_even(o->arg[ARG_PADDING].sides) ? "" : xprintf("_%dx%d", o->after[0], o->after[1]); /* after the last */
    return xprintf("conv_%dx%dx%d_%d_k%dx%d_s%dx%d_p%dx%d%s%s%s%s", in.c, in.h, in.w, o->shape.c, o->kernel[0],
                   o->kernel[1], o->stride[0], o->stride[1], o->padding[0], o->padding[1], after, dilation, groups,
                   xprintf("%s%s", k->learns ? "" : "_frozen", k->back_data ? "" : "_first"));
}

/* Refuses `unroll: full` of a kernel whose taps alone are too many, before tiles are looked for. */
static Unroll unroll_allowed(const Plan *p, const Kernel *k, const Op *o, Shape in, Unroll u)
{
    const int per_in = in.c / o->groups, lanes = k->conv->lanewise ? 1 : per_in < LANES ? per_in : LANES;
    const int64_t taps = (int64_t)o->kernel[0] * o->kernel[1] * lanes;

    if (!u.full || taps <= UNROLL_LIMIT)
        return u;
    diag_error(p->g->spec->unroll_mark, "unroll: auto, or a number of statements",
               "unroll: full makes at least %lld statements of one function of %s; at most %d are made",
               (long long)taps, k->name, UNROLL_LIMIT);
    return (Unroll){UNROLL_TAPS, UNROLL_TILE, false};
}

static void conv_cores(Plan *p, Kernel *k, const Op *o, Shape in, Unroll u)
{
    k->conv->lanewise = plan_lanewise(p->g, o);
    u = unroll_allowed(p, k, o, in, u);
    gather_images(k, o, in);
    const int taps = o->kernel[0] * o->kernel[1], per_in = in.c / o->groups, per_out = o->shape.c / o->groups;
    const Image *xs = &k->image[k->conv->xg >= 0 ? k->conv->xg : k->w->x];
    k->w->w_floats = (int64_t)blocks_of(o->shape.c) * LANES * taps *
                     (k->conv->plain || k->conv->lanewise ? per_in : blocks_of(per_in) * LANES);
    k->w->fold_floats = k->w->w_floats;
    forward_core(p->target, k, &k->w->forward, o, in, xs, u);
    check_size(p, k, &k->w->forward);
    if (k->w->dz < 0) /* inference, or frozen as all before it */
        return;
    k->conv->weight.images = 1;
    if (k->learns)
        weight_core(p->target, k, &k->conv->weight, o, in, xs, &k->image[k->w->dz], u);
    k->image[k->w->x].copies = k->image[k->w->dz].copies = k->conv->weight.images;
    if (!k->back_data)
        return;
    const Image *zs = &k->image[k->conv->zg >= 0 ? k->conv->zg : k->w->dz];
    k->conv->wt_floats =
        (int64_t)blocks_of(in.c) * LANES * taps * (k->conv->lanewise ? per_out : blocks_of(per_out) * LANES);
    for (int a = 0; a < o->stride[0] && a < in.h; a++)
        for (int b = 0; b < o->stride[1] && b < in.w; b++) {
            data_core(p->target, k, PUSH(k->conv->data, k->conv->ndata), o, in, zs, a, b, u);
            check_size(p, k, &k->conv->data[k->conv->ndata - 1]);
        }
}

static void kernel_cores(Plan *p, Kernel *k)
{
    const Op *o = &p->g->op[k->op];

    if (!k->w)
        return;
    const Shape in = p->g->op[o->in].shape;
    const Unroll u = unroll_of(p->g->spec);
    k->w->core_name = core_name(p->g, k, o);
    if (k->conv) {
        conv_cores(p, k, o, in, u);
        return;
    }
    if (k->recurrent) {
        recurrent_build(p, k);
        return;
    }
    if (k->kind == KERNEL_EMBED) { /* rows of whole blocks */
        k->w->w_floats = k->w->fold_floats = (int64_t)p->g->spec->tokens * blocks_of(o->shape.c) * LANES;
        return;
    }
    k->w->w_floats = k->w->fold_floats = (int64_t)blocks_of(o->shape.c) * LANES * blocks_of(in.c) * LANES;
    linear_core(p->target, &k->w->forward, in.c, o->shape.c, u);
    check_size(p, k, &k->w->forward);
}

void cores_build(Plan *p)
{
    for (int i = 0; i < p->nkernel; i++)
        kernel_cores(p, &p->kernel[i]);
    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        const Kernel *train = plan_kernel(p->kernel, p->nkernel, k->op);
        if (train) { /* one header serves both */
            k->learns = train->learns;
            k->back_data = train->back_data;
        }
        kernel_cores(p, k);
    }
}
