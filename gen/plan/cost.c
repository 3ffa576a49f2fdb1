/* cost.c - what a kernel costs: operations, and bytes to and from memory. Its time is judged by them (`NAME bench`).
 *
 * needs: a complete plan.
 *
 * Bytes are those that must move: each tensor that a kernel reads or writes once a pass and image, however often it
 * does. Scratch, and what it reads a second time, is in cache. Weights move once a step; at inference once an image,
 * which goes through all layers before the next one comes. */
#include "cost.h"

typedef struct Traffic {
    const Plan *p;
    const Kernel *k;
    const Tensor *tensor; /* of training, or of inference */
    struct Moved {
        int where, port, first, what;
    } * moved;
    int n;
    double bytes; /* an image */
} Traffic;

enum { READS, READS_GRAD, WRITES, WRITES_GRAD };

/* Counts what has not been counted. */
static void move(Traffic *t, Where where, int port, int first, int what, double bytes)
{
    for (int i = 0; i < t->n; i++) {
        const struct Moved *m = &t->moved[i];
        if (m->where == (int)where && m->port == port && m->first == first && m->what == what)
            return;
    }
    *PUSH(t->moved, t->n) = (struct Moved){(int)where, port, first, what};
    t->bytes += bytes;
}

static double elements(int channels, Shape s)
{
    return (double)blocks_of(channels) * LANES * s.h * s.w;
}

/* A place in memory: `channels` of it, at `pixels` pixels (0: all). What lies in scratch costs nothing. */
static void move_place(Traffic *t, const Place *at, int channels, double pixels, int what)
{
    const int c = channels < at->shape.c ? channels : at->shape.c;
    const double all = (double)at->shape.h * at->shape.w, area = pixels > 0 && pixels < all ? pixels : all;

    if (at->where == AT_SLOT)
        move(t, AT_SLOT, at->port, at->first, what, 4 * area * blocks_of(c) * LANES);
    else if (at->where == AT_X)
        move(t, AT_X, at->port, at->first, what, 4 * area * c);
    else if (at->where == AT_IMAGE && at->image >= 0 && t->k->image[at->image].given)
        move(t, AT_IMAGE, at->image, at->first, what,
             4 * area * (t->k->image[at->image].plain ? c : blocks_of(c) * LANES));
}

static void move_step(Traffic *t, const PixelPass *r, const Step *s)
{
    const double pixels = (double)r->shape.h * r->shape.w, all = elements(r->shape.c, r->shape);

    if (s->kind == STEP_STORE)
        move(t, NOWHERE, t->k->tensor, r->store_first, WRITES, 4 * all);
    if (s->kind == STEP_SKIP)
        move_place(t, &r->skip[s->skip].from, r->skip[s->skip].from.shape.c, pixels, READS);
    if (s->kind != STEP_GIVE)
        return;
    const Tensor *nd = &t->tensor[t->k->port[s->in2].tensor];
    const double given = elements(nd->shape[nd->nlink].c, r->shape);
    move(t, AT_SLOT, s->in2, s->first, WRITES_GRAD, 4 * given);
    if (s->adds)
        move(t, AT_SLOT, s->in2, s->first, READS_GRAD, 4 * given);
}

static void move_chain(Traffic *t, const Chain *c)
{
    for (int i = 0; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        move_place(t, &r->from, r->shape.c, 0, r->back ? READS_GRAD : READS);
        move_place(t, &r->value, r->shape.c, 0, READS);
        move_place(t, &r->to, r->shape.c, 0, r->back ? WRITES_GRAD : WRITES);
        if (r->adds)
            move_place(t, &r->to, r->shape.c, 0, READS_GRAD);
        if (r->route)
            t->bytes += elements(r->shape.c, r->shape);
        for (int j = 0; j < r->nstep; j++)
            move_step(t, r, &r->step[j]);
    }
}

static void move_paths(Traffic *t, const Chain *paths)
{
    for (int i = 0; i < t->k->nin; i++)
        move_chain(t, &paths[i]);
}

/* ---- operations ---- */

/* 2 x multiply-adds of a weight op, padding taps counted. */
static double op_flops(const Graph *g, const Op *o)
{
    const double taps = o->kind == OP_CONV ? (double)o->kernel[0] * o->kernel[1] : 1;

    return 2 * taps * o->shape.c * (g->op[o->in].shape.c / o->groups) * o->shape.h * o->shape.w;
}

/* Multiply-adds of a direct pass. */
static int64_t direct_products(const Kernel *k, Pass pass)
{
    int64_t n = 0;

    if (pass != PASS_DATA)
        return core_products(pass == PASS_FORWARD ? &k->w->forward : &k->conv->weight);
    for (int i = 0; i < k->conv->ndata; i++)
        n += core_products(&k->conv->data[i]);
    return n;
}

static void count_pass(const Plan *p, const Kernel *k, Pass pass, Cost *cost)
{
    const Winograd *w = kernel_winograd(k, pass);
    const int64_t direct = direct_products(k, pass), other = winograd_products_of(p->g, &p->g->op[k->op], pass);

    cost->executed += 2.0 * (double)(w ? winograd_products(w) : direct);
    cost->fewest += 2.0 * (double)(other && other < direct ? other : direct);
}

/* A recurrent op: its products with the input and with the h before (of the first step there is none), each again for
 * the gradient of what it read and for that of its weights. h's gradient is taken in any case. */
static void count_steps(const Kernel *k, Phase phase, Cost *cost)
{
    const struct cvy_cell *c = &k->recurrent->cell;
    const double steps = k->recurrent->steps, units = blocks_of(c->hidden) * LANES;
    const double x[2] = {2 * steps * c->hidden * c->in * c->nx, 2 * steps * units * c->in * c->nx};
    const double h[2] = {2 * steps * c->hidden * c->hidden * c->nh, 2 * (steps - 1) * units * c->hidden * c->nh};
    const int of_x = phase == PHASE_BACKWARD ? k->learns + k->back_data : 1;
    const int of_h = phase == PHASE_BACKWARD ? k->learns + 1 : 1;

    cost->useful = of_x * x[0] + of_h * h[0];
    cost->executed = cost->fewest = of_x * x[1] + of_h * h[1];
}

static void count_flops(const Plan *p, const Kernel *k, Phase phase, Cost *cost)
{
    if (!k->w)
        return;
    if (k->kind == KERNEL_EMBED)
        return; /* it looks up, and multiplies nothing */
    if (k->recurrent) {
        count_steps(k, phase, cost);
        return;
    }
    const double once = op_flops(p->g, &p->g->op[k->op]);
    const int times = phase != PHASE_BACKWARD ? 1 : k->learns + k->back_data;
    cost->useful = times * once;
    if (k->rows && phase != PHASE_INFER) {
        cost->executed = 2.0 * times * (double)k->image[k->w->x].floats * (double)k->image[k->rows->y].floats;
        cost->fewest = cost->executed;
    } else if (phase != PHASE_BACKWARD) {
        count_pass(p, k, PASS_FORWARD, cost);
    } else {
        if (k->learns)
            count_pass(p, k, PASS_WEIGHTS, cost);
        if (k->back_data)
            count_pass(p, k, PASS_DATA, cost);
    }
}

/* ---- a kernel ---- */

static void move_backward(Traffic *t)
{
    const Kernel *k = t->k;

    for (int i = 0; i < k->nin; i++) {
        const Chain windows = {k->before[i].pass, k->before[i].n - 1};
        if (k->learns)
            move_chain(t, &k->before[i]);
        else if (!k->loss && k->back_data && windows.n > 0)
            move_chain(t, &windows);
    }
    move_chain(t, kernel_chain(k, CHAIN_AGAIN));
    move_chain(t, kernel_chain(k, CHAIN_DOUT));
    move_paths(t, k->din);
}

/* Weights, their gradient and what the optimiser keeps of them: bytes a step. A copy in another layout is written and
 * read by the kernel that makes it. */
static double weight_bytes(const Plan *p, const Kernel *k, Phase phase)
{
    if (!k->w)
        return 0;
    if (k->recurrent) { /* they are packed, and read from there; gradients are made in panels, and moved */
        const double w = 4 * (double)k->recurrent->panels_at, packed = 4 * (double)k->recurrent->packed;
        return phase == PHASE_INFER ? packed
               : phase != PHASE_BACKWARD
                   ? w + 2 * packed
                   : w + 8 * (double)k->recurrent->turned +
                         (k->learns ? 4 * w + 2 * (1 + cvy_buffers(p->g->spec->train.optimiser)) * w : 0);
    }
    const double w = 4 * (double)k->w->w_floats;
    if (k->kind == KERNEL_EMBED) /* rows are looked up; their gradients are added up in a table that is cleared first */
        return phase != PHASE_BACKWARD || !k->learns ? 0 : w + 2 * (1 + cvy_buffers(p->g->spec->train.optimiser)) * w;
    if (phase == PHASE_INFER && k->conv)
        return 4 * (double)k->w->fold_floats;
    if (phase != PHASE_BACKWARD)
        return w + (k->conv ? 8 * (double)k->conv->wu_floats : 0);
    const double partial = k->conv ? p->pieces : 1;
    return (k->learns ? 2 * partial * w + 2 * (1 + cvy_buffers(p->g->spec->train.optimiser)) * w : 0) +
           (k->conv        ? 8 * (double)k->conv->wt_floats
            : k->back_data ? w
                           : 0);
}

/* The matrices that a linear layer's products read and write. */
static double matrix_bytes(const Kernel *k, Phase phase)
{
    if (!k->rows || phase == PHASE_INFER)
        return 0;
    const double steps = k->recurrent ? 4 * (double)k->recurrent->kept : 0; /* written; read and changed; read */
    const double x = 4 * (double)k->image[k->w->x].floats, y = 4 * (double)k->image[k->rows->y].floats;
    if (k->kind == KERNEL_EMBED)
        return phase != PHASE_BACKWARD ? 2 * x + 3 * y : k->learns ? 2 * x + 4 * y : 0;
    if (k->recurrent)
        return phase != PHASE_BACKWARD ? 2 * (x + y) + 2 * steps
                                       : (k->back_data ? 4 : 2) * x + 2 * y + (k->learns ? 4 : 3) * steps;
    return phase != PHASE_BACKWARD ? 2 * (x + y)
           : k->learns             ? (k->back_data ? 4 * x + 3 * y : 2 * (x + y))
           : k->back_data          ? 2 * (x + y)
                                   : 0;
}

Cost plan_cost(const Plan *p, const Kernel *k, Phase phase)
{
    Traffic t = {.p = p, .k = k, .tensor = phase == PHASE_INFER ? p->infer_tensor : p->tensor};
    Cost cost = {0};

    if (phase == PHASE_BACKWARD) {
        move_backward(&t);
    } else {
        if (!k->w || !k->w->direct)
            move_paths(&t, k->before);
        else
            t.bytes += 4 * (double)k->image[k->w->x].floats;
        move_chain(&t, kernel_chain(k, CHAIN_AFTER));
        if (k->loss) /* its gradient is taken at once */
            move_paths(&t, k->din);
    }
    count_flops(p, k, phase, &cost);
    cost.image_bytes = t.bytes + matrix_bytes(k, phase);
    if (phase == PHASE_INFER)
        cost.image_bytes += weight_bytes(p, k, phase);
    else
        cost.step_bytes = weight_bytes(p, k, phase);
    return cost;
}
