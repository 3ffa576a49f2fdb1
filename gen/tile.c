/* tile.c - the shape of each core: which loops stay, which taps are unrolled, and the register tile.
 *
 * needs: kernels with their packed images.
 * sets:  forward, data, weight and inference cores, core names, padded weight sizes.
 *
 * The cost model counts, for one step of the inner loop of a tile, fused multiply-adds (two a cycle), loads (two a cycle)
 * and the chain of dependent multiply-adds (four cycles), plus a constant for the loop; the cheapest sum over an image wins. */
#include "plan.h"

#include <limits.h>

static double max3(double a, double b, double c)
{
    const double m = a > b ? a : b;

    return m > c ? m : c;
}

/* Cycles of one inner step: `outputs` pixels (or accumulators a vector) times `vectors`. A vf of a narrow target is several
 * registers, each with its own instructions. Lanewise, a multiply-add has its x in memory, a whole vf. */
static double step_cycles(const Target *t, int outputs, int vectors, bool lanewise)
{
    const double parts = 32.0 / t->registers > 1 ? 2 : 1;
    const double fma = parts * outputs * vectors / 2;
    const double loads = ((lanewise ? parts : 1) * outputs + parts * vectors) / 2;

    return max3(fma, loads, 4) + 0.5;
}

static bool fits(const Target *t, int outputs, int vectors)
{
    return outputs * vectors + vectors + (vectors > 1) <= t->registers;
}

static double tile_cycles(const Target *t, const Core *c, int rows, int cols, int vectors)
{
    if (rows == 0 || cols == 0)
        return 0;
    const double steps = (double)c->blocks * c->rows * c->ntap * c->lanes;
    return steps * step_cycles(t, rows * cols, vectors, c->lanewise) + 2.0 * rows * cols * vectors + 20;
}

/* Cycles of a whole image with tiles of rows x cols pixels, their edges included. */
static double image_cycles(const Target *t, const Core *c, int rows, int cols, int vectors)
{
    const int full_y = c->h / rows, full_x = c->w / cols, edge_y = c->h % rows, edge_x = c->w % cols;

    return (full_y * (full_x * tile_cycles(t, c, rows, cols, vectors) + tile_cycles(t, c, rows, edge_x, vectors)) +
            full_x * tile_cycles(t, c, edge_y, cols, vectors) + tile_cycles(t, c, edge_y, edge_x, vectors)) *
           (c->out_blocks / vectors);
}

static void choose_tile(const Target *t, Core *c, int budget)
{
    double best = -1;
    int rows = 1, cols = 1;

    c->vectors = 1;
    for (int v = 1; v <= 8 && v <= c->out_blocks; v++) {
        if (c->out_blocks % v || (c->share && c->share % v))
            continue;
        for (int r = 1; r <= 8 && r <= c->h; r++)
            for (int w = 1; w <= 32 && w <= c->w; w++) {
                if (!fits(t, r * w, v) || (r > 1 && w < c->w && w < 4))
                    continue;
                if ((int64_t)c->ntap * r * w * v > budget && r * w * v > 1) {
                    c->tiles_refused++;
                    continue;
                }
                const double cycles = image_cycles(t, c, r, w, v);
                if (best < 0 || cycles < best * 0.999) {
                    best = cycles;
                    rows = r, cols = w, c->vectors = v;
                }
            }
    }
    c->cycles = best;
    c->tile[0] = (Tile){rows, cols};
    c->tile[1] = (Tile){rows, c->w % cols};
    c->tile[2] = (Tile){c->h % rows, cols};
    c->tile[3] = (Tile){c->h % rows, c->w % cols};
}

static void add_tap(Core *c, int64_t x, int64_t w)
{
    *PUSH(c->tap, c->ntap) = (Tap){x, w};
}

/* What `unroll:` asks for. full: the kernel's rows and the channels of a block are unrolled too. none (no taps): loops over all but a
 * kernel's row, around one register. */
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

static void finish_core(const Target *t, Core *c, Unroll u)
{
    if (u.full) { /* a tap for each channel of the block */
        Tap *const tap = c->tap;
        const int n = c->ntap;
        c->tap = NULL;
        c->ntap = 0;
        for (int i = 0; i < n; i++)
            for (int l = 0; l < c->lanes; l++)
                add_tap(c, tap[i].x + l, tap[i].w + (int64_t)l * LANES);
        c->lanes = 1;
    }
    choose_tile(t, c, u.budget);
}

/* Refuses a core that `unroll: full` makes too large. */
static void check_size(const Plan *p, const Kernel *k, const Core *c)
{
    const int64_t n = (int64_t)c->ntap * c->tile[0].rows * c->tile[0].cols * c->vectors;

    if (p->g->spec->unroll == UNROLL_FULL && n > UNROLL_LIMIT)
        diag_error(p->g->spec->unroll_mark, "unroll: auto, or a number of statements", "unroll: full makes %lld statements of one function of %s; at most %d are made",
                   (long long)n, k->name, UNROLL_LIMIT);
}

/* ---- conv ---- */

/* Three forms: of one group; of groups of whole blocks, in which a group's output blocks share an x; lanewise, in which each output
 * block has an x of its own: an image for each channel of a group. */
bool plan_lanewise(const Graph *g, const Op *o)
{
    return o->groups > 1 && (g->op[o->in].shape.c / o->groups % LANES != 0 || o->shape.c / o->groups % LANES != 0);
}

/* Blocks (lanewise and plain: channels) that one output sums, of a side of `channels`. */
static int blocks_summed(const Kernel *k, const Op *o, int channels, bool plain)
{
    return k->lanewise || plain ? channels / o->groups : blocks_of(channels / o->groups);
}

/* Which x the output blocks of a side of `channels` share. */
static int blocks_sharing(const Kernel *k, const Op *o, int channels)
{
    return k->lanewise ? 1 : o->groups > 1 ? channels / o->groups / LANES : 0;
}

static void forward_core(const Target *t, const Kernel *k, Core *c, const Op *o, Shape in, const Image *xs, Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], lanes = xs->plain ? 1 : LANES;
    const int per_w = xs->plain || k->lanewise ? LANES : LANES * LANES;

    c->name = "forward";
    c->lanewise = k->lanewise;
    c->blocks = blocks_summed(k, o, in.c, xs->plain);
    c->x_block = (int64_t)xs->rows * xs->cols * lanes;
    c->w_block = (int64_t)kh * kw * per_w;
    c->share = blocks_sharing(k, o, o->shape.c);
    c->x_group = c->share ? c->blocks * c->x_block : 0;
    c->lanes = xs->plain || k->lanewise ? 1 : c->blocks == 1 ? in.c / o->groups : LANES;
    c->out_blocks = blocks_of(o->shape.c);
    c->w_out = c->blocks * c->w_block;
    c->h = o->shape.h, c->w = o->shape.w;
    c->x_y = (int64_t)o->stride[0] * xs->cols * lanes;
    c->x_x = (int64_t)o->stride[1] * lanes;
    c->ystep = c->xstep = 1;
    const int planes = xs->plain && in.c * kh * kw <= 3 * UNROLL_TAPS && u.taps ? in.c : 1; /* plain and small: unroll the channels too */
    const bool all = kh * kw <= u.taps;
    c->rows = all ? 1 : kh;
    c->x_row = (int64_t)o->dilation[0] * xs->cols * lanes;
    c->w_row = (int64_t)kw * per_w;
    for (int p = 0; p < planes; p++)
        for (int y = 0; y < (all ? kh : 1); y++)
            for (int x = 0; x < kw; x++)
                add_tap(c, p * c->x_block + ((int64_t)y * o->dilation[0] * xs->cols + (int64_t)x * o->dilation[1]) * lanes, p * c->w_block + ((int64_t)y * kw + x) * per_w);
    if (planes > 1)
        c->blocks = 1;
    finish_core(t, c, u);
}

/* One class: the input pixels (a + stride[0] j, b + stride[1] i), which share their taps. dz's pixel for kernel position p is
 * j + (a + padding - p dilation) / stride. */
static void data_core(const Target *t, const Kernel *k, Core *c, const Op *o, Shape in, const Image *dz, int a, int b, Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], sh = o->stride[0], sw = o->stride[1], dh = o->dilation[0], dw = o->dilation[1];
    const int per_w = k->lanewise ? LANES : LANES * LANES;
    int *y = xalloc(sizeof *y * (size_t)kh), *x = xalloc(sizeof *x * (size_t)kw), ny = 0, nx = 0;

    for (int p = 0; p < kh; p++)
        if ((a + o->padding[0] - p * dh) % sh == 0)
            y[ny++] = p;
    for (int p = 0; p < kw; p++)
        if ((b + o->padding[1] - p * dw) % sw == 0)
            x[nx++] = p;
    c->name = sh * sw == 1 ? "data" : xprintf("data_%d_%d", a, b);
    c->lanewise = k->lanewise;
    c->blocks = blocks_summed(k, o, o->shape.c, false);
    c->x_block = (int64_t)dz->rows * dz->cols * LANES;
    c->w_block = (int64_t)kh * kw * per_w;
    c->share = blocks_sharing(k, o, in.c);
    c->x_group = c->share ? c->blocks * c->x_block : 0;
    c->lanes = k->lanewise ? 1 : c->blocks == 1 ? o->shape.c / o->groups : LANES;
    c->out_blocks = blocks_of(in.c);
    c->w_out = c->blocks * c->w_block;
    c->h = (in.h - a + sh - 1) / sh, c->w = (in.w - b + sw - 1) / sw;
    c->x_y = (int64_t)dz->cols * LANES;
    c->x_x = LANES;
    c->y0 = a, c->x0 = b, c->ystep = sh, c->xstep = sw;
    const bool all = ny * nx <= u.taps;
    c->rows = all ? 1 : ny;
    const int apart = ny > 1 ? y[1] - y[0] : sh; /* rows of the kernel that the class meets, all as far apart */
    c->x_row = -(int64_t)(apart * dh / sh) * dz->cols * LANES;
    c->w_row = (int64_t)apart * kw * per_w;
    for (int i = 0; i < (all ? ny : 1) && nx > 0 && ny > 0; i++)
        for (int j = 0; j < nx; j++)
            add_tap(c, (((int64_t)(a + o->padding[0] - y[i] * dh) / sh + dz->top) * dz->cols + (b + o->padding[1] - x[j] * dw) / sw + dz->left) * LANES,
                    ((int64_t)y[i] * kw + x[j]) * per_w);
    finish_core(t, c, u);
}

static void weight_core(const Target *t, const Kernel *k, WeightCore *c, const Op *o, Shape in, const Image *xs, const Image *dz, Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], lanes = xs->plain ? 1 : LANES;
    const int per_w = xs->plain || k->lanewise ? LANES : LANES * LANES, limit = t->registers - (k->lanewise ? 2 : 4);

    c->lanewise = k->lanewise;
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
    c->lanes = xs->plain || k->lanewise ? 1 : c->blocks == 1 ? in.c / o->groups : LANES;
    c->h = o->shape.h, c->w = o->shape.w;
    c->x_y = (int64_t)o->stride[0] * xs->cols * lanes;
    c->x_x = (int64_t)o->stride[1] * lanes;
    c->z_origin = ((int64_t)dz->top * dz->cols + dz->left) * LANES;
    c->z_y = (int64_t)dz->cols * LANES;
    c->z_x = LANES;
    c->z_block = (int64_t)dz->rows * dz->cols * LANES;

    int planes = 1, tap_rows = 1;
    if ((xs->plain || k->lanewise) && kh * kw <= limit && u.taps) { /* few channels: as many taps as fit */
        tap_rows = kh;
        planes = c->blocks * kh * kw <= limit ? c->blocks : 1;
    }
    int cols = kw;
    if (k->lanewise && tap_rows == 1) { /* as much of a row as fits */
        c->lanes = kw;
        c->x_lane = (int64_t)o->dilation[1] * LANES;
        cols = 1;
    }
    const int taps = planes * tap_rows * cols;
    double best = -1;
    c->step = 1, c->vectors = 1;
    for (int s = 1; s <= c->lanes; s++)
        for (int v = 1; v <= 8 && v <= c->out_blocks; v++) {
            if (c->lanes % s || c->out_blocks % v || (c->share && c->share % v) || !fits(t, taps * s, v) || (u.taps == 0 && s * v > 1))
                continue;
            const double cycles = (step_cycles(t, taps * s, v, k->lanewise) + 20.0 / (c->h * c->w)) / (taps * s * v);
            if (best < 0 || cycles < best * 0.999) {
                best = cycles;
                c->step = s, c->vectors = v;
            }
        }
    for (int p = 0; p < planes; p++)
        for (int y = 0; y < tap_rows; y++)
            for (int x = 0; x < cols; x++)
                for (int s = 0; s < c->step; s++)
                    *PUSH(c->acc, c->nacc) = (Tap){p * c->x_block + ((int64_t)y * o->dilation[0] * xs->cols + (int64_t)x * o->dilation[1]) * lanes + s * c->x_lane,
                                                   p * c->w_block + ((int64_t)y * kw + x) * per_w + s * LANES};
    if (planes > 1)
        c->blocks = 1;
    if (tap_rows > 1)
        c->rows = 1;

    /* small images: several in one walk, so that dw is read and written less often */
    c->x_image = xs->floats;
    c->z_image = dz->floats;
    c->images = 1;
    while (c->images < 16 && k->xg < 0 && (int64_t)c->images * c->h * c->w < GROUP_PIXELS && (c->images + 1) * (xs->floats + dz->floats) <= GROUP_FLOATS)
        c->images++;
}

/* ---- lanewise: images in which lane meets lane ---- */

/* `from` gathered for `channels` of the other side, each of which meets `few` of it. -1: it stands so already. */
static int gathered(Image **list, int *n, const Image *from, int channels, int few, const char *name)
{
    Image m = *from;

    m.name = name;
    m.filled = false; /* the halo is gathered with the rest */
    m.copies = 1;
    if (!mul_fits((int64_t)few * LANES * blocks_of(channels), (int64_t)m.rows * m.cols, &m.floats) || m.floats > INT64_C(1) << 48)
        m.floats = INT64_C(1) << 48; /* memory refuses it */
    m.shape.c = (int)(few * (int64_t)LANES * blocks_of(channels) < INT32_MAX ? few * LANES * blocks_of(channels) : INT32_MAX);
    *PUSH(*list, *n) = m;
    return *n - 1;
}

static void gather_images(Kernel *k, const Op *o, Shape in)
{
    const int per_in = in.c / o->groups, per_out = o->shape.c / o->groups;

    if (!k->lanewise || (per_in == 1 && per_out == 1))
        return;
    const Image xs = k->image[k->x];
    k->xg = gathered(&k->image, &k->nimage, &xs, o->shape.c, per_in, "xg");
    k->image[k->xg].given = false;
    if (!k->back_data || k->dz < 0)
        return;
    const Image dz = k->image[k->dz];
    k->zg = gathered(&k->image, &k->nimage, &dz, in.c, per_out, "zg");
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
    add_tap(c, 0, 0);
    finish_core(t, c, u);
}

static const char *core_name(const Kernel *k, const Op *o, Shape in)
{
    if (k->kind == KERNEL_LINEAR)
        return xprintf("linear_%d_%d", in.c, o->shape.c);
    const char *dilation = o->dilation[0] * o->dilation[1] > 1 ? xprintf("_d%dx%d", o->dilation[0], o->dilation[1]) : "";
    const char *groups = o->groups > 1 ? xprintf("_g%d", o->groups) : "";
    return xprintf("conv_%dx%dx%d_%d_k%dx%d_s%dx%d_p%dx%d%s%s%s", in.c, in.h, in.w, o->shape.c, o->kernel[0], o->kernel[1], o->stride[0],
                   o->stride[1], o->padding[0], o->padding[1], dilation, groups, k->back_data ? "" : "_first");
}

static void conv_cores(Plan *p, Kernel *k, const Op *o, Shape in, Unroll u)
{
    k->lanewise = plan_lanewise(p->g, o);
    gather_images(k, o, in);
    const int taps = o->kernel[0] * o->kernel[1], per_in = in.c / o->groups, per_out = o->shape.c / o->groups;
    const Image *xs = &k->image[k->xg >= 0 ? k->xg : k->x];
    k->w_floats = (int64_t)blocks_of(o->shape.c) * LANES * taps * (k->plain || k->lanewise ? per_in : blocks_of(per_in) * LANES);
    forward_core(p->target, k, &k->forward, o, in, xs, u);
    check_size(p, k, &k->forward);
    if (k->dz < 0) /* inference */
        return;
    weight_core(p->target, k, &k->weight, o, in, xs, &k->image[k->dz], u);
    k->image[k->x].copies = k->image[k->dz].copies = k->weight.images;
    if (!k->back_data)
        return;
    const Image *zs = &k->image[k->zg >= 0 ? k->zg : k->dz];
    k->wt_floats = (int64_t)blocks_of(in.c) * LANES * taps * (k->lanewise ? per_out : blocks_of(per_out) * LANES);
    for (int a = 0; a < o->stride[0] && a < in.h; a++)
        for (int b = 0; b < o->stride[1] && b < in.w; b++) {
            data_core(p->target, k, PUSH(k->data, k->ndata), o, in, zs, a, b, u);
            check_size(p, k, &k->data[k->ndata - 1]);
        }
}

static void kernel_cores(Plan *p, Kernel *k)
{
    const Op *o = &p->g->op[k->op];

    if (k->kind != KERNEL_CONV && k->kind != KERNEL_LINEAR)
        return;
    const Shape in = p->g->op[o->in].shape;
    const Unroll u = unroll_of(p->g->spec);
    k->core_name = core_name(k, o, in);
    if (k->kind == KERNEL_CONV) {
        conv_cores(p, k, o, in, u);
        return;
    }
    k->w_floats = (int64_t)blocks_of(o->shape.c) * LANES * blocks_of(in.c) * LANES;
    linear_core(p->target, &k->forward, in.c, o->shape.c, u);
    check_size(p, k, &k->forward);
}

void tile_build(Plan *p)
{
    for (int i = 0; i < p->nkernel; i++)
        kernel_cores(p, &p->kernel[i]);
    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        for (int j = 0; j < p->nkernel; j++) /* one header serves both */
            if (p->kernel[j].op == k->op)
                k->back_data = p->kernel[j].back_data;
        kernel_cores(p, k);
    }
}
