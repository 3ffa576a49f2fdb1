/* memory.c - where everything lies.
 *
 * needs: kernels with cores and images.
 * sets:  parameter offsets, arena slots by lifetime, scratch offsets, the folded weights' offsets, totals.
 *
 * The arena has a fixed part, a part for each image of the batch and a part for each thread. In the images' part two
 * tensors share memory when no kernel needs both: each has a lifetime in steps (forward kernels, then backward ones).
 * At inference the same is done with the images of one thread. */
#include "plan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct Slot {
    int64_t floats, *at;
    int from, to;   /* steps, inclusive */
    int from2, to2; /* alive a second time: made again for backward; 0, 0: not */
    int order;
} Slot;

typedef struct Slots {
    Slot *item;
    int n;
} Slots;

static void add_slot(Slots *s, int64_t floats, int from, int to, int64_t *at)
{
    if (to < from)
        BUG("a slot lives from step %d to %d", from, to);
    *PUSH(s->item, s->n) = (Slot){(floats + LANES - 1) / LANES * LANES, at, from, to, 0, 0, s->n - 1};
}

/* The slot added last is alive a second time. */
static void again_slot(Slots *s, int from, int to)
{
    Slot *a = &s->item[s->n - 1];

    if (to < from || from <= a->to)
        BUG("a slot lives again from step %d to %d", from, to);
    a->from2 = from;
    a->to2 = to;
}

static int steps_of(const Slots *s)
{
    int last = -1;

    for (int i = 0; i < s->n; i++) {
        const Slot *a = &s->item[i];
        last = a->to > last ? a->to : last;
        last = a->to2 > last ? a->to2 : last;
    }
    return last + 1;
}

/* What is alive at once, at most: what begins at a step is there with what has not ended before it. */
static int64_t most_alive(const Slots *s)
{
    const int steps = steps_of(s);
    int64_t most = 0, now = 0;
    int64_t *more =
        xalloc(sizeof *more * (size_t)(steps + 1)); /* by step: what begins, less what ended the step before */
    for (int i = 0; i < s->n; i++) {
        const Slot *a = &s->item[i];
        more[a->from] += a->floats;
        more[a->to + 1] -= a->floats;
        if (a->to2) {
            more[a->from2] += a->floats;
            more[a->to2 + 1] -= a->floats;
        }
    }
    for (int t = 0; t < steps; t++) {
        now += more[t];
        most = now > most ? now : most;
    }
    return most;
}

static int by_size(const void *a, const void *b)
{
    const Slot *x = a, *y = b;

    return x->floats != y->floats ? (x->floats < y->floats ? 1 : -1) : x->order - y->order;
}

static int by_length(const void *a, const void *b)
{
    const Slot *x = a, *y = b;
    const int m = x->to - x->from, n = y->to - y->from;

    return m != n ? n - m : by_size(a, b);
}

static int by_start(const void *a, const void *b)
{
    const Slot *x = a, *y = b;

    return x->from != y->from ? x->from - y->from : by_length(a, b);
}

/* A slot that has its place. One that lives once has a second life that ends before it begins. */
typedef struct Placed {
    int64_t at, end;
    int from, to, from2, to2;
} Placed;

/* Placed slots in the order of their offsets, so many at a time that a look at what they have in common most often
 * saves looking at each. */
enum { BLOCK = 64 };
typedef struct Block {
    Placed item[BLOCK];
    int n;
    int64_t end, gap;     /* the highest end; the largest gap between them */
    int from, to;         /* none is alive before or after */
    int all_from, all_to; /* all are alive in a life that has a step up to all_to and one from all_from on */
} Block;

typedef struct Shelf {
    Block **block; /* room for all that as many slots can need; those behind n are of an order tried before, or NULL */
    int n;
} Shelf;

static bool overlap(int from, int to, int from2, int to2)
{
    return from <= to2 && from2 <= to;
}

/* Whether both are alive at some step. */
static bool meet(const Placed *a, const Placed *b)
{
    return overlap(a->from, a->to, b->from, b->to) || overlap(a->from, a->to, b->from2, b->to2) ||
           overlap(a->from2, a->to2, b->from, b->to) || overlap(a->from2, a->to2, b->from2, b->to2);
}

static void sum_up(Block *b)
{
    const Placed *first = &b->item[0];

    b->end = first->end, b->gap = 0;
    b->from = b->all_from = first->from;
    b->to = b->all_to = first->to;
    for (int i = 0; i < b->n; i++) {
        const Placed *p = &b->item[i];
        b->gap = p->at - b->end > b->gap ? p->at - b->end : b->gap;
        b->end = p->end > b->end ? p->end : b->end;
        b->from = p->from < b->from ? p->from : b->from;
        b->to = p->to > b->to ? p->to : b->to;
        b->to = p->to2 > b->to ? p->to2 : b->to;
        b->all_from = p->from > b->all_from ? p->from : b->all_from;
        b->all_to = p->to < b->all_to ? p->to : b->all_to;
    }
}

/* The lowest offset at which `floats` are free while `a` is alive. */
static int64_t free_at(const Shelf *s, const Placed *a, int64_t floats)
{
    const int last = a->to2 > a->to ? a->to2 : a->to;
    int64_t at = 0;

    for (int i = 0; i < s->n; i++) {
        const Block *b = s->block[i];
        if (b->item[0].at >= at + floats)
            return at;
        if (!overlap(a->from, last, b->from, b->to))
            continue;
        if (b->gap < floats && overlap(a->from, a->to, b->all_from, b->all_to)) { /* each of them is in the way */
            at = b->end > at ? b->end : at;
            continue;
        }
        for (int k = 0; k < b->n; k++) {
            const Placed *p = &b->item[k];
            if (p->at >= at + floats)
                return at;
            if (p->end > at && meet(a, p))
                at = p->end;
        }
    }
    return at;
}

static Block *new_block(Shelf *s, int at)
{
    Block *b = s->block[s->n] ? s->block[s->n] : xalloc(sizeof *b);

    memmove(&s->block[at + 1], &s->block[at], sizeof *s->block * (size_t)(s->n++ - at));
    s->block[at] = b;
    b->n = 0;
    return b;
}

static void put(Shelf *s, Placed a)
{
    int low = 0, high = s->n; /* the last block that begins no higher, or the first */

    while (high - low > 1) {
        const int mid = (low + high) / 2;
        *(s->block[mid]->item[0].at <= a.at ? &low : &high) = mid;
    }
    Block *b = s->n ? s->block[low] : new_block(s, 0);
    if (b->n == BLOCK) {
        Block *half = new_block(s, low + 1);
        half->n = BLOCK / 2;
        b->n -= half->n;
        memcpy(half->item, &b->item[b->n], sizeof *half->item * (size_t)half->n);
        sum_up(b);
        sum_up(half);
        b = half->item[0].at <= a.at ? half : b;
    }
    int k = b->n++;
    for (; k > 0 && b->item[k - 1].at > a.at; k--)
        b->item[k] = b->item[k - 1];
    b->item[k] = a;
    sum_up(b);
}

/* Places every slot, in order, as low as those already placed and alive at the same time allow. Returns the top. */
static int64_t place_in_order(Slots *s, Shelf *shelf)
{
    int64_t top = 0;

    shelf->n = 0;
    for (int i = 0; i < s->n; i++) {
        const Slot *slot = &s->item[i];
        Placed a = {.from = slot->from,
                    .to = slot->to,
                    .from2 = slot->to2 ? slot->from2 : INT_MAX,
                    .to2 = slot->to2 ? slot->to2 : -1};
        a.at = free_at(shelf, &a, slot->floats);
        a.end = a.at + slot->floats;
        put(shelf, a);
        *slot->at = a.at;
        top = a.end > top ? a.end : top;
    }
    return top;
}

enum { TRIES = 20000, WORK = 10000000 };

/* Places all slots: of several orders the one that needs least; where that is more than is alive at once, orders near
 * it are tried, always the same ones. */
static int64_t place(Slots *s)
{
    static int (*const order[])(const void *, const void *) = {by_size, by_length, by_start};
    const int64_t bound = most_alive(s);
    const size_t bytes = sizeof *s->item * (size_t)s->n;
    int64_t least = 0;
    int best = -1;

    if (s->n == 0)
        return 0;
    Shelf shelf = {.block = xalloc(sizeof *shelf.block * ((size_t)s->n / (BLOCK / 2) + 2))};
    for (int i = 0; i < 3 && (best < 0 || least > bound); i++) {
        qsort(s->item, (size_t)s->n, sizeof *s->item, order[i]);
        const int64_t top = place_in_order(s, &shelf);
        if (best < 0 || top < least)
            least = top, best = i;
    }
    qsort(s->item, (size_t)s->n, sizeof *s->item, order[best]);
    Slot *kept = xalloc(bytes);
    memcpy(kept, s->item, bytes);
    uint32_t random = 1;
    for (int i = 0; i < TRIES && (int64_t)i * s->n * s->n < WORK && least > bound; i++) { /* one slot sooner */
        random = random * 1664525u + 1013904223u;
        const int from = (int)((random >> 8) % (uint32_t)s->n), to = (int)((random >> 20) % (uint32_t)(from + 1));
        const Slot moved = s->item[from];
        memmove(&s->item[to + 1], &s->item[to], sizeof moved * (size_t)(from - to));
        s->item[to] = moved;
        const int64_t top = place_in_order(s, &shelf);
        if (top <= least) {
            least = top;
            memcpy(kept, s->item, bytes);
        } else {
            memcpy(s->item, kept, bytes);
        }
    }
    memcpy(s->item, kept, bytes);
    return place_in_order(s, &shelf);
}

static int64_t bytes_to_floats(int64_t bytes)
{
    return (bytes + 3) / 4;
}

/* ---- training ---- */

/* When a kernel is run again (0: it is not) and backward: its place in Plan.step. The loss, last forward and first
 * backward, is one step. */
typedef struct Steps {
    int *again, *back; /* by kernel */
} Steps;

typedef struct Life {
    int forward_end, end; /* last reads, in forward and at all */
    int grad_begin;
    bool outside; /* a kernel of another segment reads it */
} Life;

static void read_at(const Plan *p, Life *life, int node, const Kernel *k, int at)
{
    const int last = p->nkernel - 1;
    Life *l = &life[p->node[node].root];
    const Tensor *root = &p->node[p->node[node].root];

    l->end = at > l->end ? at : l->end;
    if (at <= last)
        l->forward_end = at > l->forward_end ? at : l->forward_end;
    l->outside |= root->maker < 0 || plan_segment(p, &p->kernel[root->maker]) != plan_segment(p, k);
}

static void give_at(Life *life, int node, int at)
{
    life[node].grad_begin = at < life[node].grad_begin ? at : life[node].grad_begin;
}

/* What kernel k reads and gives to, at step `at`; forward and backward. */
static void touch_chain(const Plan *p, const Kernel *k, const Chain *c, int at, bool back, Life *life)
{
    for (int r = 0; r < c->n; r++) {
        const Run *run = &c->run[r];
        const Place *read[] = {&run->from, &run->value};
        for (int i = 0; i < 2; i++)
            if (read[i]->where == AT_SLOT && (i == 1 || !run->back)) /* where a gradient comes in, no value does */
                read_at(p, life, k->port[read[i]->port].node, k, at);
        for (int s = 0; s < run->nstep; s++)
            if (run->step[s].kind == STEP_SIDE)
                read_at(p, life, run->side[run->step[s].side].side->way.node, k, at);
            else if (back && run->step[s].kind == STEP_GIVE)
                give_at(life, k->port[run->step[s].in2].node, at);
        if (back && run->to.where == AT_SLOT)
            give_at(life, k->port[run->to.port].node, at);
    }
}

static void touch_forward(const Plan *p, const Kernel *k, int at, Life *life)
{
    for (int w = 0; w < k->nin; w++)
        touch_chain(p, k, &k->before[w], at, false, life);
    touch_chain(p, k, kernel_chain(k, CHAIN_AFTER), at, false, life);
}

static void touch_backward(const Plan *p, const Kernel *k, int at, Life *life)
{

    for (int w = 0; w < k->nin; w++) {
        if (k->w || (k->kind == KERNEL_PASS && k->back_data && k->before[w].n > 1)) /* packed, or walked, again */
            touch_chain(p, k, &k->before[w], at, false, life);
        touch_chain(p, k, &k->din[w], at, true, life);
    }
    touch_chain(p, k, kernel_chain(k, CHAIN_AGAIN), at, false, life);
    touch_chain(p, k, kernel_chain(k, CHAIN_DOUT), at, true, life);
}

/* Which nodes are made again for backward: those of a segment that no kernel outside it reads. */
static void choose_recomputed(Plan *p)
{
    Life *life = xalloc(sizeof *life * (size_t)p->nnode);

    for (int i = 0; i < p->nkernel; i++) {
        touch_forward(p, &p->kernel[i], 0, life);
        touch_backward(p, &p->kernel[i], 0, life);
    }
    for (int i = 1; i < p->nnode; i++) {
        Tensor *nd = &p->node[i];
        const Kernel *k = nd->maker >= 0 ? &p->kernel[nd->maker] : NULL;
        nd->recomputed = k && nd->stored && plan_segment(p, k) && !life[i].outside;
    }
}

static Steps steps_of_kernels(const Plan *p)
{
    Steps s = {xalloc(sizeof(int) * (size_t)p->nkernel), xalloc(sizeof(int) * (size_t)p->nkernel)};

    for (int i = p->nkernel; i < p->nstep; i++)
        (p->step[i].phase == PHASE_AGAIN ? s.again : s.back)[p->step[i].kernel] = i - 1;
    return s;
}

static void place_node(Plan *p, Slots *slots, Tensor *nd, const Life *life, const Steps *step)
{
    const int last = p->nkernel - 1, backward = step->back[nd->maker], again = step->again[nd->maker];
    const int64_t floats = blocked_floats(nd->shape[0]);

    if (nd->stored)
        add_slot(slots, floats, nd->maker,
                 nd->recomputed && life->forward_end < nd->maker ? nd->maker
                 : nd->recomputed                                ? life->forward_end
                                                                 : life->end,
                 &nd->slot);
    if (nd->recomputed)
        again_slot(slots, again, life->end > again ? life->end : again);
    for (int r = 0; r < nd->nroute; r++) {
        add_slot(slots, bytes_to_floats(blocked_floats(p->g->op[nd->route[r]].shape)), nd->maker,
                 nd->recomputed ? nd->maker : backward, &nd->route_slot[r]);
        if (nd->recomputed)
            again_slot(slots, again, backward);
    }
    if (nd->grad)
        add_slot(slots, blocked_floats(nd->shape[nd->nlink]), life->grad_begin, backward, &nd->grad_slot);
    nd->kept = nd->stored && !nd->recomputed && life->end > last;
    if (nd->kept)
        p->stored_bytes += 4 * floats;
    for (int r = 0; r < nd->nroute && !nd->recomputed; r++)
        p->stored_bytes += blocked_floats(p->g->op[nd->route[r]].shape);
}

static void place_images(Plan *p)
{
    choose_recomputed(p);
    schedule_build(p);
    const Steps step = steps_of_kernels(p);
    Slots slots = {0};
    Life *life = xalloc(sizeof *life * (size_t)p->nnode);

    for (int i = 0; i < p->nnode; i++)
        life[i] = (Life){.forward_end = p->node[i].maker, .end = p->node[i].maker, .grad_begin = INT32_MAX};
    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        if (k->has_forward)
            touch_forward(p, k, i, life);
        if (k->runs_again)
            touch_forward(p, k, step.again[i], life);
        touch_backward(p, k, step.back[i], life);
    }
    for (int i = 0; i < p->nnode; i++)
        if (p->node[i].maker >= 0 && p->node[i].op > 0)
            place_node(p, &slots, &p->node[i], &life[i], &step);
    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        const int backward = step.back[i];
        if (!k->linear)
            continue;
        add_slot(&slots, k->image[k->w->x].floats, i, i, &k->linear->mat_x);
        add_slot(&slots, k->image[k->linear->y].floats, i, i, &k->linear->mat_y);
        add_slot(&slots, k->image[k->w->x].floats, backward, backward, &k->linear->mat_back_x);
        add_slot(&slots, k->image[k->w->dz].floats, backward, backward, &k->linear->mat_dz);
        if (k->linear->dx >= 0)
            add_slot(&slots, k->image[k->linear->dx].floats, backward, backward, &k->linear->mat_dx);
    }
    for (int i = 0; i < p->nnode;
         i++) /* statistics of an image: from when the node is made until its gradient is taken further back */
        for (int j = 0; j < p->node[i].nimage_norm; j++) {
            const int op = p->node[i].image_norm[j], maker = p->node[i].maker < 0 ? 0 : p->node[i].maker,
                      groups = p->g->op[op].groups;
            add_slot(&slots, (int64_t)GROUP_KEPT * groups, maker, step.back[maker], &plan_norm(p, op)->slot);
            p->stored_bytes += 4 * (int64_t)GROUP_KEPT_INFER * groups;
        }
    p->image_bound = most_alive(&slots);
    p->image_floats = place(&slots);
}

/* ---- inference ---- */

static void place_inference(Plan *p)
{
    Slots slots = {0};
    int *end = xalloc(sizeof *end * (size_t)p->ninfer_node);

    for (int i = 0; i < p->ninfer; i++)
        for (int j = 0; j < p->infer[i].nport; j++)
            end[p->infer[i].port[j].node] = i;
    end[p->logits] = p->ninfer;
    for (int i = 0; i < p->ninfer_node; i++)
        for (int j = 0; j < p->infer_node[i].nimage_norm; j++) {
            const int op = p->infer_node[i].image_norm[j];
            const int maker = p->infer_node[i].maker < 0 ? 0 : p->infer_node[i].maker;
            add_slot(&slots, (int64_t)GROUP_KEPT_INFER * p->g->op[op].groups, maker, end[i],
                     &plan_norm(p, op)->infer_slot);
        }
    for (int i = 1; i < p->ninfer_node; i++) {
        Tensor *nd = &p->infer_node[i];
        add_slot(&slots, p->infer_image[nd->image].floats, nd->maker, end[i], &nd->slot);
    }
    for (int i = 0; i < p->ninfer; i++) /* a kernel's own scratch, behind what it reads and makes */
        if (p->infer[i].scratch)
            add_slot(&slots, p->infer[i].scratch, i, i, &p->infer[i].scratch_at);
    p->infer_bound = most_alive(&slots);
    p->scratch_infer = place(&slots);
}

static int64_t place_scratch(Image *image, int n)
{
    int64_t at = 0;

    for (int i = 0; i < n; i++) {
        if (image[i].row || image[i].given)
            continue;
        image[i].at = at;
        at += (image[i].floats * image[i].copies + LANES - 1) / LANES * LANES;
    }
    return at;
}

static int64_t padded(int channels)
{
    return (int64_t)blocks_of(channels) * LANES;
}

static void place_params(Plan *p)
{
    const Graph *g = p->g;
    int64_t batches = 0;

    p->param_at = xalloc(sizeof *p->param_at * (size_t)(g->nparam + 1));
    for (int j = 0; j < p->nkernel; j++)
        if (p->kernel[j].w)
            p->param_at[p->kernel[j].w->wparam] = p->kernel[j].w->w_floats; /* its size, until it has a place */
    for (int i = 0; i < g->nparam; i++) {
        const Param *q = &g->param[i];
        const int64_t floats = p->param_at[i];
        switch (q->role) {
        case PARAM_WEIGHT:
            p->param_at[i] = p->param_floats;
            p->param_floats += floats;
            break;
        case PARAM_BIAS:
            p->param_at[i] = p->param_floats;
            p->param_floats += padded(g->op[q->op].shape.c);
            break;
        case PARAM_GAMMA:
        case PARAM_BETA:
            p->param_at[i] = p->param_floats;
            p->param_floats += plan_norm(p, q->op)->padded;
            break;
        case PARAM_MEAN:
        case PARAM_VAR:
            p->param_at[i] = p->running_floats;
            p->running_floats += plan_norm(p, q->op)->padded;
            break;
        case PARAM_COUNT:
            p->param_at[i] = batches++;
            break;
        }
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What image norms need in a kernel's scratch, behind its images. Returns the end. */
static int64_t place_image_norms(const Graph *g, Kernel *k, const Tensor *node, int64_t at)
{
    for (int i = 0; i < k->nimage_norm; i++) {
        const int64_t floats = padded(g->op[k->image_norm[i].op].shape.c);
        k->image_norm[i].constants = at;
        k->image_norm[i].sums = at + 5 * floats;
        at += 5 * floats + 2 * 2 * floats; /* doubles */
    }
    if (k->node < 0 || !node[k->node].nimage_norm)
        return at;
    const int64_t room =
        padded(node[k->node].shape[node[k->node].nlink].c) + LANES; /* a way may write past the last channel */
    k->image_stats = at;
    k->image_back = at + 2 * 3 * room;
    return at + 2 * 3 * room + 3 * room;
}

static void place_kernels(Plan *p)
{
    const Graph *g = p->g;

    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        if (k->conv)
            p->copy_floats = larger(p->copy_floats, larger(k->conv->wt_floats, k->conv->wu_floats));
        if (k->w) {
            p->partial_floats = larger(p->partial_floats, k->w->w_floats);
            p->partial_bias = larger(p->partial_bias, padded(g->op[k->op].shape.c));
        }
        k->scratch = place_image_norms(g, k, p->node, place_scratch(k->image, k->nimage));
        p->scratch =
            larger(p->scratch,
                   k->scratch + (k->linear ? k->image[k->w->x].floats + k->image[k->linear->y].floats : 0)); /* trace */
        int64_t trace = 0;
        for (int j = 0; j < k->ntrace_image; j++) {
            k->trace_image[j].at = trace;
            trace += (k->trace_image[j].floats + LANES - 1) / LANES * LANES;
        }
        p->trace_floats = larger(p->trace_floats, trace);
    }
    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        k->scratch = place_image_norms(g, k, p->infer_node, place_scratch(k->image, k->nimage));
        if (!k->w)
            continue;
        k->w->fold_w = p->fold_floats;
        p->fold_floats += k->w->fold_floats;
        k->w->fold_b = p->fold_floats;
        p->fold_floats += padded(g->op[k->op].shape.c);
    }
}

int64_t affine_floats(const Plan *p, const Affine *a)
{
    return (op_is_image_norm(p->g->op[a->op].kind) ? 2 : 3) * (int64_t)plan_norm(p, a->op)->padded;
}

bool memory_build(Plan *p)
{
    const Graph *g = p->g;
    const int batch = g->spec->train.batch;
    int64_t total;

    p->pieces = plan_pieces(batch);
    place_params(p);
    for (int i = 0; i < p->nnorm; i++) {
        Norm *n = &p->norm[i];
        n->floats = p->norm_floats;
        n->doubles = p->norm_doubles;
        p->norm_floats += 7 * (int64_t)n->padded;              /* CVY_BN_FLOATS */
        p->norm_doubles += 2 * (int64_t)p->pieces * n->padded; /* CVY_BN_DOUBLES */
    }
    for (int i = 0; i < p->nnode; i++) {
        Tensor *n = &p->node[i];
        if (n->nnorm == 0)
            continue;
        const int64_t room = padded(n->shape[n->nlink].c) + LANES; /* a way may write past the last channel */
        n->stats_floats = p->norm_floats;
        n->stats_at = p->norm_doubles;
        p->norm_floats += 3 * room;                             /* CVY_STATS_FLOATS */
        p->norm_doubles += (3 * (int64_t)p->pieces + 2) * room; /* CVY_STATS_DOUBLES */
    }
    place_kernels(p);
    place_images(p);
    place_inference(p);
    for (int i = 0; i < p->naffine; i++) {
        Affine *a = &p->affine[i];
        a->at = p->fold_floats;
        p->fold_floats += affine_floats(p, a);
    }

    /* offsets inside one image are ints in the emitted code; everything else is 64 bits wide */
    const int64_t largest = larger(p->image_floats, larger(p->scratch, p->scratch_infer));
    if (largest > INT32_MAX || p->param_floats > INT32_MAX || !mul_fits(p->image_floats * 4, batch, &total) ||
        total > INT64_C(1) << 46) {
        diag_error(g->spec->input_mark, "make the input, the channels or the batch smaller",
                   "the network is too large: %lld floats per image, %lld parameters", (long long)largest,
                   (long long)p->param_floats);
        return false;
    }
    return true;
}
