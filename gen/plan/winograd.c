/* winograd.c - which passes of a conv run by Winograd, and how: tiles, blocks of them, register tiles.
 *
 * needs: a checked graph, the target; for the cores also the kernel's packed images.
 * sets:  Kernel.winograd, its work space, the images that it takes together.
 *
 * The cost model counts cycles an image and pass. Products: as cover.c counts a step of its inner loop, for 36 points,
 * plus a constant a register tile. Transforms: a constant for each tile and block of 16 channels. Memory: a block reads
 * the transformed weights once, from the cache that they and its tiles fit, or from memory; so it pays to make them
 * from the taps, a quarter of the bytes, where few tiles meet many channels. A direct core is what cover.c says. The
 * cheapest is taken; docs/kernels.md has the constants and what they were measured on. */
#include "passes.h"
#include "phases.h"

enum {
    IN = 150,
    SPREAD = 110,
    OUT = 120, /* cycles of a transform, of a tile, for each 8 lanes */
    TAPS = 900,
    MAKE = 1400,            /* of 16 x 16 channels: points to taps, taps to points */
    CALL = 14,              /* of a register tile: the call, its loops' ends */
    CACHE = 768 * 1024,     /* bytes that stay near the core: most of a second-level cache of a megabyte */
    LAST = 8 * 1024 * 1024, /* bytes that stay in the last cache, which other processors have a part of */
    NEAR = 40,
    FAR = 16,
    MEMORY = 3,              /* bytes a cycle from there, from the last cache, from memory */
    MADE = 80 * 1024,        /* bytes of transformed weights made at a time */
    MOST = 256,              /* tiles of a block */
    FEW = 16,                /* the same where that is faster: see small_blocks */
    WORK = 2 * 1024 * 1024,  /* bytes that it may take */
    GROUP = 4 * 1024 * 1024, /* bytes of packed images taken together */
    TOGETHER = 32,           /* tiles up to which images are taken together */
};

/* The same of stride 2 by phases. With more products than V and M have room near, it is mostly their lines that take
 * time. */
enum {
    PHASES_IN = 400,
    PHASES_SPREAD = 350,
    PHASES_OUT = 240,    /* to 4 x 4 pixels */
    PHASES_BACK = 1000,  /* to 8 x 8 pixels of the input's gradient */
    PHASES_TAPS = 4500,  /* points to taps */
    PHASES_FEW = 8,      /* tiles of a block where the transformed weights are near */
    PHASES_TOGETHER = 8, /* tiles up to which images are taken together */
};
/* Of the direct cores' cycles it takes at most so much, as the model is no more exact. */
static const double PHASES_MARGIN = 0.97;

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

static int64_t transformed(const Winograd *w)
{
    return (int64_t)36 * w->blocks * w->out_blocks * LANES * LANES;
}

static bool possible(const Graph *g, const Op *o)
{
    if (o->kind != OP_CONV || o->groups != 1 || g->op[o->in].shape.c <= PLAIN_MAX)
        return false;
    for (int d = 0; d < 2; d++)
        if (o->kernel[d] != 3 || o->stride[d] != o->stride[0] || o->dilation[d] != 1)
            return false;
    return o->stride[0] == 1 || o->stride[0] == 2;
}

/* Cycles of a step that multiplies `rows` broadcasts by `vectors` vf. */
static double step_cycles(const Target *t, int rows, int vectors)
{
    const double parts = t->parts, fma = parts * rows * vectors / 2, loads = (rows + parts * vectors) / 2;
    const double most = fma > loads ? fma : loads;

    return (most > 4 ? most : 4) + 0.5;
}

/* Whether a register tile fits the register file, its vectors and a broadcast with it. */
static bool fits(const Target *t, int rows, int vectors)
{
    const int parts = t->parts, registers = parts * t->registers;

    return t->winograd_most ? rows * vectors <= t->winograd_most : parts * (rows * vectors + vectors) + 1 <= registers;
}

/* The register tile of most work a cycle; of those within 2 percent the widest, since what is broadcast is then read
 * less often. */
static void choose_tile(const Target *t, int out_blocks, int *rows, int *vectors)
{
    double best = 0;

    for (int v = 1; v <= 4 && v <= out_blocks; v++)
        for (int r = 1; r <= LANES; r++) {
            if (out_blocks % v || !fits(t, r, v))
                continue;
            const double rate = r * v / step_cycles(t, r, v);
            if (rate > best * (v > *vectors && best > 0 ? 0.98 : 1.0001))
                best = rate, *rows = r, *vectors = v;
        }
}

/* Tiles in register tiles of `most` rows or fewer, as even as can be: `full` of them in those of `rows`, the rest in
 * those of a row less. */
static void split(int tiles, int most, int *rows, int *full)
{
    const int n = divide_up(tiles, most);

    *rows = divide_up(tiles, n);
    *full = (tiles - n * (*rows - 1)) * *rows;
}

/* Bytes a cycle, of those that are read again and again while `all` bytes are. */
static double speed(double all)
{
    return all <= CACHE ? NEAR : all <= LAST ? FAR : MEMORY;
}

/* Transforming 16 x 16 channels' taps. */
static double make_cycles(const Target *t)
{
    return MAKE * t->parts / 2.0 + 4.0 * 36 * 256 / NEAR;
}

/* Bytes of weights that a block of tiles reads. */
static double weight_bytes(const Winograd *w)
{
    return 4.0 * (w->made ? 9 : 36) * 256 * w->blocks * w->out_blocks;
}

/* Cycles of a block's transformed weights. */
static double weights_cycles(const Target *t, const Winograd *w)
{
    const double read = weight_bytes(w);

    return (w->made ? (double)w->blocks * w->out_blocks * make_cycles(t) : 0) + read / speed(read + 4.0 * w->work);
}

/* The largest part of the blocks of input channels whose transformed weights are few enough. */
static int made_at_a_time(const Winograd *w)
{
    int n = w->blocks;

    while (n > 1 && (w->blocks % n || (int64_t)4 * 36 * 256 * n * w->vectors > MADE))
        n--;
    return n;
}

/* A register tile of `rows`: its steps, and for each part of them a call and the sums, which go to memory and come back
 * for the next part. */
static double tile_cycles(const Target *t, const Winograd *w, int rows)
{
    const int steps = w->weights ? w->block : w->blocks * w->lanes, parts = w->made ? w->blocks / w->made : 1;

    return steps * step_cycles(t, rows, w->vectors) + parts * CALL + (2.0 * parts - 1) * rows * w->vectors * t->parts;
}

/* Cycles of a tile's transforms for each 8 lanes: of what is read, of what is given (weights: of dz). */
typedef struct TransformCycles {
    double in, out;
} TransformCycles;

static TransformCycles transform_cycles(const Winograd *w)
{
    if (!w->phases)
        return (TransformCycles){IN, w->weights ? SPREAD : OUT};
    return (TransformCycles){PHASES_IN, w->weights ? PHASES_SPREAD : w->side == 8 ? PHASES_BACK : PHASES_OUT};
}

static double block_cycles(const Target *t, const Winograd *w)
{
    const double parts = t->parts;
    const int all = w->weights ? LANES : w->block, full = w->full / w->rows,
              rest = w->rows > 1 ? (all - w->full) / (w->rows - 1) : 0;
    const double sums = full * tile_cycles(t, w, w->rows) + (rest ? rest * tile_cycles(t, w, w->rows - 1) : 0);

    const TransformCycles c = transform_cycles(w);
    if (!w->weights)
        return (double)w->points * w->out_blocks / w->vectors * sums +
               w->block * parts / 2 * (c.in * w->blocks + c.out * w->out_blocks) + weights_cycles(t, w);
    const double dw = 4.0 * 9 * 256 * w->blocks * w->out_blocks;
    return (double)w->points * w->blocks * w->out_blocks / w->vectors * sums +
           (w->phases ? PHASES_TAPS : TAPS) * parts / 2 * w->blocks * w->out_blocks +
           w->block * parts / 2 * (c.in * w->blocks + c.out * w->out_blocks) + 2 * dw / speed(2 * dw + 4.0 * w->work);
}

static void lay_out(Winograd *w)
{
    w->v_block = (int64_t)w->block * LANES;
    w->v_point =
        w->blocks * w->v_block + LANES; /* a line more: points a power of two apart would share a set of the cache */
    if (w->weights) {
        w->z_point = w->out_blocks * w->v_block + LANES;
        w->z_at = w->points * w->v_point;
        w->m_at = w->z_at + w->points * w->z_point;
        w->work = w->m_at + (int64_t)36 * 256 * w->vectors;
    } else {
        const bool over = w->vectors == w->out_blocks && w->vectors <= w->blocks && !(w->made && w->made < w->blocks);
        w->m_point = over ? w->v_point : w->vectors * w->v_block + LANES;
        w->m_at = over ? 0 : w->points * w->v_point;
        w->u_point = w->made ? w->made * LANES * LANES + LANES : w->blocks * LANES * LANES;
        w->u_at = over ? w->points * w->v_point : w->m_at + w->points * w->m_point;
        w->work = w->u_at + (w->made ? 36 * w->u_point * w->vectors : 0);
    }
}

/* The block of at most `most_tiles` tiles that costs least: a part of those of the images taken together, as even as
 * can be. */
static double choose_block(const Target *t, Winograd *w, int images, int most_tiles)
{
    Winograd best = *w;
    double least = -1;
    const int most = w->rows;

    for (int b = images * w->tiles < most_tiles ? images * w->tiles : most_tiles; b > 0; b--) {
        const int n = divide_up(images * w->tiles, b), block = divide_up(images * w->tiles, n);
        if (block < b) /* as many blocks, less even */
            continue;
        w->block = block;
        if (!w->weights)
            split(block, most, &w->rows, &w->full);
        if (!w->weights && w->tiles < block)
            split(w->tiles, most, &w->rows_alone, &w->full_alone);
        else
            w->rows_alone = 0;
        lay_out(w);
        if (4 * w->work > WORK && block > 4)
            continue;
        const double cycles = block_cycles(t, w) * n / images;
        if (least < 0 || cycles < least * 0.995)
            least = cycles, best = *w;
    }
    *w = best;
    return least;
}

/* Whether V and M of a block of few tiles, which then stay in the first cache, are worth it. The model knows no first
 * cache; where it says that a copy is read, blocks are smaller than it says: if the copy, read for each, is near, and a
 * product not so short that calls cost more. */
static bool small_blocks(const Winograd *w)
{
    return !w->made && w->blocks * w->out_blocks > 1 && 4 * transformed(w) <= CACHE;
}

/* Whether transformed weights are a copy, made once a step, or made by each block of tiles. The cycles of an image. */
static double choose_weights(const Plan *p, Winograd *w)
{
    const Target *t = p->target;
    Winograd made = *w, few = *w;
    double cycles = choose_block(t, w, w->images, w->phases && 4 * transformed(w) <= CACHE ? PHASES_FEW : MOST);

    if (w->weights)
        return cycles;
    cycles += ((double)w->blocks * w->out_blocks * make_cycles(t) + weight_bytes(w) / speed(weight_bytes(w))) /
              p->g->spec->train.batch;
    if (w->phases)
        return cycles;
    made.made = made_at_a_time(w);
    const double each = choose_block(t, &made, w->images, MOST);
    if (each < cycles) {
        *w = made;
        return each;
    }
    if (small_blocks(w)) {
        choose_block(t, &few, few.images, FEW);
        *w = few;
    }
    return cycles;
}

static bool no_copies(const Plan *p)
{
    return p->compact && p->g->spec->winograd != WINOGRAD_ON;
}

/* Cycles of an image where `held` bytes of weights are read between one image and the next. */
static double folded_cycles(const Target *t, const Winograd *w, double held)
{
    const double read = weight_bytes(w);

    return divide_up(w->tiles, w->block) * block_cycles(t, w) + read / speed(held) - read / speed(read + 4.0 * w->work);
}

/* The same at inference, where all layers' weights are read for each image. */
static void choose_folded(const Plan *p, const Kernel *k, Winograd *w)
{
    const double held = p->winograd_held;

    if (no_copies(p))
        return;
    if (w->phases) {
        lay_out(w);
        const double read = weight_bytes(w) / 4,
                     direct = k->w->forward.cycles + read / speed(held / 4) - read / speed(read);
        w->on = p->g->spec->winograd == WINOGRAD_ON || folded_cycles(p->target, w, held) < direct;
        return;
    }
    Winograd copy = *w, made = *w;
    copy.made = 0, lay_out(&copy);
    made.made = made_at_a_time(w);
    choose_tile(p->target, w->out_blocks, &made.rows, &made.vectors);
    choose_block(p->target, &made, w->images, MOST);
    *w = folded_cycles(p->target, &made, held / 4) < folded_cycles(p->target, &copy, held) ? made : copy;
}

/* Images of a batch that one piece has; how many a pass takes together. */
static int images_together(const Plan *p, int tiles, int most_tiles, int64_t floats)
{
    const int batch = p->g->spec->train.batch, most = batch / plan_pieces(batch);
    int n = 1;

    while (n < most && n * tiles < most_tiles && 4 * (n + 1) * floats <= GROUP)
        n++;
    return n;
}

/* Of an image at a time, with weights that are transformed as they are read, if that beats the direct core's cycles. */
static Winograd without_copy(const Plan *p, Winograd w, double direct)
{
    if (!w.on || !no_copies(p))
        return w;
    if (w.phases) { /* these are always a copy */
        w.on = false;
        return w;
    }
    w.made = made_at_a_time(&w);
    w.cycles = choose_block(p->target, &w, 1, MOST);
    w.on = w.cycles < direct;
    return w;
}

/* Tiles and channels of a pass. */
static Winograd shape_of(const Graph *g, const Op *o, Pass pass)
{
    const Shape in = pass == PASS_DATA ? o->shape : g->op[o->in].shape,
                out = pass == PASS_DATA ? g->op[o->in].shape : o->shape;
    Winograd w = {.weights = pass == PASS_WEIGHTS, .h = out.h, .w = out.w, .vectors = 1};

    w.points = 36, w.side = w.step = 4, w.border = 2;
    if (o->stride[0] == 2)
        phases_shape(&w, pass);
    w.across = divide_up(out.w, w.side);
    w.tiles = w.across * divide_up(out.h, w.side);
    w.blocks = blocks_of(in.c);
    w.lanes = w.blocks == 1 ? in.c : LANES;
    w.twice = w.lanes % 2 == 0;
    w.out_blocks = blocks_of(out.c);
    return w;
}

int64_t winograd_products_of(const Graph *g, const Op *o, Pass pass)
{
    if (!possible(g, o))
        return 0;
    const Winograd w = shape_of(g, o, pass);
    return winograd_products(&w);
}

static Winograd choose_pass(const Plan *p, int op, Pass pass)
{
    const Graph *g = p->g;
    const Op *o = &g->op[op];
    const Target *t = p->target;

    if (g->spec->winograd == WINOGRAD_OFF || g->spec->unroll == UNROLL_NONE || !possible(g, o) ||
        (pass == PASS_WEIGHTS && !op_learns(o)))
        return (Winograd){0};
    const Shape in = pass == PASS_DATA ? o->shape : g->op[o->in].shape,
                out = pass == PASS_DATA ? g->op[o->in].shape : o->shape;
    Winograd w = shape_of(g, o, pass);
    choose_tile(t, w.out_blocks, &w.rows, &w.vectors);
    if (w.weights)
        split(LANES, w.rows, &w.rows, &w.full);
    const Shape most = w.phases ? g->op[o->in].shape : out;
    w.images = images_together(p, w.tiles, w.phases ? PHASES_TOGETHER : TOGETHER,
                               (int64_t)(blocks_of(in.c) + blocks_of(out.c)) * LANES * (most.h + 6) * (most.w + 6));
    const double cycles = choose_weights(p, &w), direct = w.phases
                                                              ? phases_direct_cycles(t, g, o, pass)
                                                              : tile_direct_cycles(t, out, in.c, pass == PASS_WEIGHTS);
    w.cycles = cycles;
    w.on = g->spec->winograd == WINOGRAD_ON || cycles < direct * (w.phases ? PHASES_MARGIN : 1);
    return p->compact && pass == PASS_FORWARD ? without_copy(p, w, direct) : w;
}

void winograd_choose(Plan *p)
{
    p->winograd = xalloc(sizeof *p->winograd * (size_t)p->g->nop);
    for (int op = 0; op < p->g->nop; op++) {
        for (Pass pass = PASS_FORWARD; pass <= PASS_WEIGHTS; pass++)
            p->winograd[op][pass] = choose_pass(p, op, pass);
        if (p->winograd[op][PASS_FORWARD].on)
            p->winograd_held += 4 * (double)transformed(&p->winograd[op][PASS_FORWARD]);
    }
    for (int op = 0; op < p->g->nop && no_copies(p); op++)
        if (p->g->spec->winograd == WINOGRAD_AUTO && possible(p->g, &p->g->op[op]))
            p->spared += (int64_t)(36 - 9) * 256 * blocks_of(p->g->op[p->g->op[op].in].shape.c) *
                         blocks_of(p->g->op[op].shape.c);
}

bool winograd_transformed(const Winograd *w)
{
    return w && !w->made;
}

int64_t winograd_products(const Winograd *w)
{
    return (int64_t)w->points * w->tiles * w->blocks * w->lanes * w->out_blocks * LANES;
}

/* The pixel of dz, along an axis, that is the first of what data's tile at 0 reads. */
static int first_met(const Winograd *w, int padding)
{
    return w->phases ? phases_first_met(padding) : padding - 2;
}

/* Room for `w`'s last tiles, whose pixels of an image begin at (top, left): tiles reach past an image that is no
 * multiple of four. */
static void grow(Image *m, const Winograd *w, int top, int left, int step, int border)
{
    if (!w->on)
        return;
    const int rows = top + w->tiles / w->across * step + border, cols = left + w->across * step + border;
    if (rows <= m->rows && cols <= m->cols)
        return;
    m->rows = rows > m->rows ? rows : m->rows;
    m->cols = cols > m->cols ? cols : m->cols;
    m->filled = true;
    m->floats = (int64_t)blocks_of(m->shape.c) * LANES * m->rows * m->cols;
}

void winograd_grow_x(const Plan *p, int op, Image *xs)
{
    for (Pass pass = PASS_FORWARD; pass <= PASS_WEIGHTS; pass += PASS_WEIGHTS - PASS_FORWARD) {
        const Winograd *w = &p->winograd[op][pass];
        grow(xs, w, 0, 0, w->step, w->border);
    }
}

void winograd_grow_dz(const Plan *p, int op, bool data, Image *dz)
{
    const Op *o = &p->g->op[op];
    const Winograd *w = &p->winograd[op][PASS_DATA];

    grow(dz, &p->winograd[op][PASS_WEIGHTS], dz->top, dz->left, 4, 0);
    if (data)
        grow(dz, w, first_met(w, o->padding[0]) + dz->top, first_met(w, o->padding[1]) + dz->left, w->step, w->border);
}

/* Offsets in an image whose pixel (y, x) is the first of what the tile at (0, 0) reads. */
static void place(Winograd *w, const Image *m, int y, int x)
{
    w->x_image = m->floats;
    w->x_row = (int64_t)m->cols * LANES;
    w->x_block = (int64_t)m->rows * m->cols * LANES;
    w->x_origin = ((int64_t)y * m->cols + x) * LANES;
    if (w->phases)
        phases_place(w);
}

/* Whether a pass that a core calls has no image of its own, and no norm has statistics of one, so that the core may
 * take several images at once. */
static bool passes_alone(const Graph *g, const Chain *c)
{
    const PixelPass *r = &c->pass[0];
    bool alone =
        c->n == 1 && r->to.where != AT_IMAGE && r->value.where != AT_IMAGE && r->scatter_image < 0 && !r->image_stats;

    for (int i = 0; i < r->nstep; i++)
        alone &= r->step[i].kind != STEP_CORRECT_IMAGE &&
                 (r->step[i].op < 0 || !op_is_image_norm(g->op[r->step[i].op].kind));
    for (int i = 0; i < r->nskip; i++)
        alone &= r->skip[i].from.where != AT_IMAGE;
    return alone;
}

static void take_together(const Graph *g, Winograd *w, Chain *c)
{
    if (w->images > 1 && passes_alone(g, c))
        c->pass[0].several = true;
    else
        w->images = 1;
}

static void kernel_cores(const Plan *p, Kernel *k, bool train)
{
    const Op *o = &p->g->op[k->op];
    const bool back = k->w->dz >= 0;

    for (Pass pass = PASS_FORWARD; pass <= PASS_WEIGHTS; pass++) {
        Winograd *w = &k->conv->winograd[pass];
        *w = (Winograd){.images = 1};
        if (pass != PASS_FORWARD && (!back || (pass == PASS_DATA && !k->back_data)))
            continue;
        *w = p->winograd[k->op][pass];
        if (!w->on)
            w->images = 1;
    }
    Winograd *forward = &k->conv->winograd[PASS_FORWARD], *data = &k->conv->winograd[PASS_DATA],
             *weights = &k->conv->winograd[PASS_WEIGHTS];
    if (forward->on) {
        place(forward, &k->image[k->w->x], 0, 0);
        if (!train)
            choose_folded(p, k, forward);
        if (!forward->on)
            forward->images = 1;
        else if (!forward->made)
            *(train ? &k->conv->wu_floats : &k->w->fold_floats) = transformed(forward);
    }
    if (!train)
        forward->images = 1;
    else if (forward->on)
        take_together(p->g, forward, &k->w->after);
    k->image[k->w->x].copies = forward->images;
    if (back) {
        const Image *dz = &k->image[k->w->dz];
        if (data->on) {
            data->two_row = o->padding[0] % 2, data->two_col = o->padding[1] % 2;
            place(data, dz, first_met(data, o->padding[0]) + dz->top, first_met(data, o->padding[1]) + dz->left);
            if (!data->made) /* otherwise it makes them from a copy that is transposed alone, as a direct core's */
                k->conv->wt_floats = transformed(data);
            for (int i = 0; i < k->nin; i++)
                if (k->din[i].n && k->din[i].pass[0].from.where == AT_CORE)
                    take_together(p->g, data, &k->din[i]);
        }
        if (weights->on) {
            place(weights, &k->image[k->w->x], 0, 0);
            weights->z_image = dz->floats;
            weights->z_row = (int64_t)dz->cols * LANES;
            weights->z_block = (int64_t)dz->rows * dz->cols * LANES;
            weights->z_origin = ((int64_t)dz->top * dz->cols + dz->left) * LANES;
        }
        if (weights->on || data->images > 1) /* one number of images for all of backward */
            k->conv->weight.images = weights->images > data->images ? weights->images : data->images;
        if (data->images > 1)
            data->images = k->conv->weight.images;
        const int copies = forward->images > k->conv->weight.images ? forward->images : k->conv->weight.images;
        k->image[k->w->x].copies = copies;
        k->image[k->w->dz].copies = k->conv->weight.images;
    }
    int64_t work = 0;
    for (int i = 0; i < 3; i++)
        if (k->conv->winograd[i].on && k->conv->winograd[i].work > work)
            work = k->conv->winograd[i].work;
    if (work) {
        Image m = {.floats = work, .copies = 1, .name = "work", .shape = {.c = 36, .h = 1, .w = (int)(work / 36)}};
        m.rows = 1, m.cols = m.shape.w;
        *PUSH(k->image, k->nimage) = m;
        k->conv->work = k->nimage - 1;
    }
}

void winograd_build(Plan *p)
{
    for (int i = 0; i < p->nkernel; i++)
        if (p->kernel[i].conv)
            kernel_cores(p, &p->kernel[i], true);
    for (int i = 0; i < p->ninfer; i++)
        if (p->infer[i].conv)
            kernel_cores(p, &p->infer[i], false);
}
