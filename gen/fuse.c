/* fuse.c - graph -> kernels with their stages.
 *
 * needs: a checked graph, gradients marked.
 * sets:  spans, kernels, chains of runs, images in scratch, what happens to each norm at inference. No cores, no offsets.
 *
 * The rules are in plan.h and docs/kernels.md. They are stated over stages and their needs; no order is special. */
#include "plan.h"

#include <string.h>

int blocks_of(int channels)
{
    return (channels + LANES - 1) / LANES;
}

static int64_t blocked_floats(Shape s)
{
    return (int64_t)blocks_of(s.c) * LANES * s.h * s.w;
}

static const OpInfo *info(const Graph *g, int op)
{
    return &op_info[g->op[op].kind];
}

static bool is_window(const Graph *g, int op)
{
    return info(g, op)->cls == CLASS_WINDOW;
}

/* ---- spans ---- */

/* Whether tensor p of the span may be the stored one: the backward of every op before it is served by t[p] alone. */
static bool can_store(const Graph *g, const Span *s, int p)
{
    for (int i = 0; i < p; i++) {
        const Op *op = &g->op[s->op[i]];
        switch (info(g, s->op[i])->need) {
        case NEED_NOTHING:
            break;
        case NEED_SIGN:
            for (int j = i + 1; j < p; j++)
                if (!info(g, s->op[j])->keeps_sign)
                    return false;
            break;
        case NEED_OUTPUT:
            if (i + 1 != p)
                return false;
            break;
        case NEED_ROUTE:
            if (op->kernel[0] * op->kernel[1] > 255)
                return false;
            break;
        case NEED_INPUT:
            return false;
        }
    }
    return true;
}

static int64_t store_bytes(const Graph *g, const Span *s, int p)
{
    int64_t bytes = 4 * blocked_floats(s->shape[p]);

    for (int i = 0; i < p; i++)
        if (info(g, s->op[i])->need == NEED_ROUTE)
            bytes += blocked_floats(s->shape[i + 1]);
    return bytes;
}

/* The cheapest tensor that serves, the latest of equals: from it on, least is recomputed. */
static void choose_stored(const Graph *g, Span *s, int limit)
{
    s->stored = 0;
    s->why = "it is the network's input, read again";
    if (s->from_input)
        return;
    for (int p = 1; p <= limit; p++)
        if (can_store(g, s, p) && store_bytes(g, s, p) <= store_bytes(g, s, s->stored))
            s->stored = p;
    if (s->stored < limit && can_store(g, s, s->stored + 1))
        s->why = "the tensors behind it that would serve are larger";
    else if (s->stored < limit)
        s->why = xprintf("the %s behind it needs its %s in backward", op_info[g->op[s->op[s->stored]].kind].name,
                         info(g, s->op[s->stored])->need == NEED_INPUT ? "input" : "own tensor");
    else
        s->why = xprintf("it is what %s%s", limit < s->nop ? "the bn behind it normalises" : "the next kernel reads",
                         s->stored ? ", and the stages before it need no more" : "");
    for (int i = 0; i < s->stored; i++)
        if (info(g, s->op[i])->need == NEED_ROUTE)
            *PUSH(s->route, s->nroute) = s->op[i];
}

static void build_span(const Graph *g, Span *s, int from, int to)
{
    s->from_input = g->op[from].kind == OP_INPUT;
    s->nop = to - from - 1;
    s->op = xalloc(sizeof *s->op * (size_t)(s->nop + 1));
    s->shape = xalloc(sizeof *s->shape * (size_t)(s->nop + 1));
    s->shape[0] = g->op[from].shape;
    int first_norm = -1;
    for (int i = 0; i < s->nop; i++) {
        s->op[i] = from + 1 + i;
        s->shape[i + 1] = g->op[s->op[i]].shape;
        if (g->op[s->op[i]].kind == OP_BN) {
            if (first_norm < 0)
                first_norm = i;
            s->ncut++;
        }
    }
    choose_stored(g, s, first_norm < 0 ? s->nop : first_norm);

    const int ncut = s->ncut ? s->ncut : 1;
    s->cut = xalloc(sizeof *s->cut * (size_t)ncut);
    s->cut_op = xalloc(sizeof *s->cut_op * (size_t)ncut);
    s->cut_grad = xalloc((size_t)ncut);
    s->cut_kept = xalloc((size_t)ncut);
    s->grad_slot = xalloc(sizeof *s->grad_slot * (size_t)ncut);
    s->route_slot = xalloc(sizeof *s->route_slot * (size_t)(s->nroute + 1));
    if (s->ncut == 0) {
        s->ncut = 1;
        s->cut[0] = s->stored;
        s->cut_op[0] = -1;
        s->cut_grad[0] = s->cut_kept[0] = !s->from_input;
        return;
    }
    for (int i = 0, c = 0; i < s->nop; i++)
        if (g->op[s->op[i]].kind == OP_BN) {
            s->cut[c] = i + 1;
            s->cut_op[c] = s->op[i];
            s->cut_grad[c] = true;
            s->cut_kept[c] = !s->from_input || c > 0;
            c++;
        }
}

/* ---- images ---- */

static Image make_image(Shape shape, bool plain, int top, int left, int bottom, int right, const char *name)
{
    Image m = {.shape = shape, .plain = plain, .top = top, .left = left, .name = name};

    m.rows = top + shape.h + bottom;
    m.cols = left + shape.w + right;
    m.filled = top || left || bottom || right;
    m.copies = 1;
    m.floats = (int64_t)(plain ? shape.c : blocks_of(shape.c) * LANES) * m.rows * m.cols;
    return m;
}

/* The image that feeds op: with the halo that its padding asks for. op -1: no halo. */
static Image image_for(const Graph *g, Shape shape, int op, const char *name)
{
    if (op < 0 || (g->op[op].kind != OP_MAXPOOL && g->op[op].kind != OP_AVGPOOL))
        return make_image(shape, false, 0, 0, 0, 0, name);
    const Op *o = &g->op[op];
    Image m = make_image(shape, false, o->padding[0], o->padding[1], o->padding[0], o->padding[1], name);
    m.minus_inf = o->kind == OP_MAXPOOL;
    return m;
}

static int add_image(Image **list, int *n, Image m)
{
    *PUSH(*list, *n) = m;
    return *n - 1;
}

/* ---- chains ---- */

static void add_step(Run *r, StepKind kind, int op, int in, int out)
{
    *PUSH(r->step, r->nstep) = (Step){.kind = kind, .op = op, .in = in, .out = out};
}

static Run *add_run(Chain *c, const char *name, Shape shape, int first)
{
    Run *r = PUSH(c->run, c->n);

    *r = (Run){.name = name, .shape = shape, .first = first, .last = first, .window = -1};
    r->from_image = r->value_image = r->to_image = r->scatter_image = -1;
    r->stats = r->sums = -1;
    return r;
}

static void forward_step(const Graph *g, Run *r, StepKind kind, int op, int in)
{
    add_step(r, kind, op, in, in + 1);
    r->step[r->nstep - 1].first_lanes = g->op[op].kind == OP_SIGMOID && g->op[op].shape.c % LANES != 0;
    r->last = in + 1;
}

/* A forward chain over ops[a .. b) of a span's list: `name` + number names its runs and images. */
typedef struct Forward {
    const char *name;
    const int *op;
    const Shape *shape;
    int a, b;
    Where from;
    int from_image;
    int store;      /* index of the tensor to store, -1 */
    int stats;      /* norm whose input is t[b], -1 */
    int to_image;   /* -1 */
    bool bias;      /* the first value lacks the bias */
    bool keep_route;
    bool affine;    /* norms are multiply-adds (inference) */
} Forward;

static void build_forward(const Graph *g, Chain *c, Image **images, int *nimages, const Forward *f)
{
    Run *r = add_run(c, xprintf("%s0", f->name), f->shape[f->a], f->a);

    r->from = f->from;
    r->from_image = f->from_image;
    r->bias = f->bias;
    if (f->store == f->a)
        add_step(r, STEP_STORE, -1, f->a, 0);
    for (int i = f->a; i < f->b; i++) {
        const int op = f->op[i];
        if (is_window(g, op)) {
            r->to = AT_IMAGE;
            r->to_image = add_image(images, nimages, image_for(g, f->shape[i], op, xprintf("%s_image", r->name)));
            const int from = r->to_image;
            r = add_run(c, xprintf("%s%d", f->name, c->n), f->shape[i + 1], i + 1);
            r->from = AT_IMAGE;
            r->from_image = from;
            r->window = op;
            r->route = f->keep_route && i < f->store && info(g, op)->need == NEED_ROUTE;
        } else {
            forward_step(g, r, f->affine && g->op[op].kind == OP_BN ? STEP_AFFINE : STEP_FORWARD, op, i);
        }
        if (f->store == i + 1)
            add_step(r, STEP_STORE, -1, i + 1, 0);
    }
    if (f->stats >= 0) {
        add_step(r, STEP_STATS, f->stats, f->b, 0);
        r->stats = f->stats;
    }
    if (f->to_image >= 0) {
        r->to = AT_IMAGE;
        r->to_image = f->to_image;
    }
}

/* A backward chain: the gradient of t[b] (or, with `norm`, of that norm's output, t[b] being its input) is taken back to t[a].
 * Values come from the stored tensor t[origin] on; the runs of the forward chain `fwd` over the same ops (from `lo` on) tell
 * where windows stand and which images hold their inputs. */
typedef struct Backward {
    const char *name;
    const int *op;
    const Shape *shape;
    int lo, a, b, origin;
    const Chain *values;   /* forward chain whose images hold the recomputed values; its first run starts at `values_from` */
    int values_from;       /* index of the first op of `values`' first run */
    Where stored;          /* AT_SLOT, AT_X */
    int norm;              /* barrier to pass first, -1 */
    Where from;
    int from_image;
    int sums;              /* norm whose output is t[a], -1 */
    Where to;              /* AT_SLOT, AT_IMAGE, NOWHERE */
    int to_image;
    bool bias_grad;
} Backward;

/* The image that holds t[i], the input of the window op i, as the forward chain left it. */
static int value_image(const Chain *values, int window)
{
    for (int r = 0; r < values->n; r++)
        if (values->run[r].window == window)
            return values->run[r].from_image;
    return -1;
}

/* Adds what run r needs of forward values: the steps from the known value v[u] up to v[need]. */
static void recompute(const Graph *g, Run *r, const int *op, int u, int need)
{
    for (int i = u; i < need; i++)
        forward_step(g, r, STEP_FORWARD, op[i], i);
}

static void build_backward(const Graph *g, Chain *c, Image **images, int *nimages, const Backward *f)
{
    int end = f->b; /* this run covers ops [start, end), behind the window at start - 1 if there is one */
    Where from = f->from;
    int from_image = f->from_image;

    for (;;) {
        int start = end;
        while (start > f->lo && !is_window(g, f->op[start - 1]))
            start--;
        const int window = start > f->lo ? f->op[start - 1] : -1;
        const bool through = window >= 0 && start - 1 >= f->a;
        const int low = start > f->a ? start : f->a; /* ops [low, end) are walked back here */
        Run *r = add_run(c, xprintf("%s%d", f->name, c->n), f->shape[end], start);
        r->back = true;
        r->from = from;
        r->from_image = from_image;
        r->window = window;

        /* the values at hand: v[u], or none */
        int u = -1;
        if (f->origin >= start && f->origin <= end) {
            u = f->origin;
            r->value = f->stored;
        } else if (f->origin < start) {
            u = start;
            r->value = AT_IMAGE;
            r->value_image = value_image(f->values, window);
        }
        int need = -1;
        if (f->norm >= 0 && end == f->b)
            need = end;
        for (int i = low; i < end; i++) {
            const Need n = info(g, f->op[i])->need;
            if (u >= 0 && i >= u && (n == NEED_SIGN || n == NEED_INPUT) && need < i)
                need = i;
            if (u >= 0 && i + 1 >= u && n == NEED_OUTPUT && need < i + 1)
                need = i + 1;
        }
        const bool last = !through;
        if (last && f->sums >= 0 && need < f->a - 1)
            need = f->a - 1;
        bool sign_of_stored = false; /* masks of ops before the stored tensor, taken from it */
        if (f->origin >= start && f->origin <= end)
            for (int i = f->a; i < f->origin; i++)
                sign_of_stored |= info(g, f->op[i])->need == NEED_SIGN;
        const bool routes = through && info(g, window)->need == NEED_ROUTE && r->value == AT_IMAGE;
        if (need < 0 && !sign_of_stored && !routes) {
            r->value = NOWHERE;
            r->value_image = -1;
        } else if (need < 0) {
            need = u;
        }
        r->first = u >= 0 ? u : start;
        recompute(g, r, f->op, u, need);

        if (f->norm >= 0 && end == f->b)
            add_step(r, STEP_NORM_BACK, f->norm, end, 0);
        for (int i = end - 1; i >= low; i--) {
            if (i < f->origin && info(g, f->op[i])->need == NEED_SIGN)
                continue;
            add_step(r, STEP_BACK, f->op[i], i, i + 1);
        }
        if (sign_of_stored) {
            /* Masks commute with what lies between: they act where the gradient is not zero. They come first of the ops
             * before the stored tensor; their place among this run's steps does not matter. */
            for (int i = f->origin - 1; i >= f->a; i--)
                if (info(g, f->op[i])->need == NEED_SIGN)
                    add_step(r, STEP_BACK, f->op[i], f->origin, f->origin);
        }
        if (through) {
            r->route = window >= 0 && start - 1 < f->origin && info(g, window)->need == NEED_ROUTE;
            r->scatter_image = add_image(images, nimages, image_for(g, f->shape[start - 1], window, xprintf("%s_scatter", r->name)));
            (*images)[r->scatter_image].minus_inf = false;
            (*images)[r->scatter_image].filled = false; /* cleared whole for each image */
            from = AT_IMAGE;
            from_image = r->scatter_image;
            end = start - 1;
            continue;
        }
        if (f->sums >= 0) {
            add_step(r, STEP_SUMS, f->sums, f->a - 1, 0);
            r->sums = f->sums;
        }
        r->to = f->to;
        r->to_image = f->to_image;
        r->bias_grad = f->bias_grad;
        return;
    }
}

/* ---- kernels ---- */

static int find_param(const Graph *g, int op, ParamRole role)
{
    for (int i = 0; i < g->nparam; i++)
        if (g->param[i].op == op && g->param[i].role == role)
            return i;
    return -1;
}

/* Extent of the output pixels along one axis that back-propagate into input pixels 0 .. in-1: how far they reach outside 0 .. out-1. */
static void data_halo(int in, int out, int kernel, int stride, int padding, int dilation, int *before, int *after)
{
    *before = *after = 0;
    for (int k = 0; k < kernel; k++) {
        /* o = (i + padding - k dilation) / stride where that divides; the extremes are near i = 0 and i = in - 1 */
        for (int i = 0; i < stride && i < in; i++) {
            const int lo = i + padding - k * dilation, hi = in - 1 - i + padding - k * dilation;
            if (lo % stride == 0 && -(lo / stride) > *before)
                *before = -(lo / stride);
            if (hi % stride == 0 && hi / stride - (out - 1) > *after)
                *after = hi / stride - (out - 1);
        }
    }
}

static const Alias *find_alias(const Kernel *k, const char *name)
{
    for (int i = 0; i < k->nalias; i++)
        if (strcmp(k->alias[i].name, name) == 0)
            return &k->alias[i];
    return NULL;
}

/* Names for the ops of a chain that have constants: own stages by their name, others with in_ before it. */
static void add_aliases(const Graph *g, Kernel *k, const Chain *c, const char *layer)
{
    for (int r = 0; r < c->n; r++)
        for (int s = 0; s < c->run[r].nstep; s++) {
            const int op = c->run[r].step[s].op;
            if (op < 0 || plan_alias(k, op))
                continue;
            const Op *o = &g->op[op];
            const char *stage = o->stage ? o->stage : o->layer;
            const char *name = strcmp(o->layer, layer) == 0 ? stage : xprintf("in_%s", stage), *unique = name;
            for (int i = 2; find_alias(k, unique); i++)
                unique = xprintf("%s_%d", name, i);
            *PUSH(k->alias, k->nalias) = (Alias){op, unique};
        }
}

const char *plan_alias(const Kernel *k, int op)
{
    for (int i = 0; i < k->nalias; i++)
        if (k->alias[i].op == op)
            return k->alias[i].name;
    return NULL;
}

/* The packed input of a weight op: with the halo that its padding asks for. */
static Image packed_input(const Graph *g, int op, const char *name)
{
    const Op *o = &g->op[op];
    const Shape in = g->op[o->in].shape;

    if (o->kind != OP_CONV)
        return make_image(in, false, 0, 0, 0, 0, name);
    return make_image(in, in.c <= PLAIN_MAX && o->groups == 1, o->padding[0], o->padding[1], o->padding[0], o->padding[1], name);
}

/* What the stages before a kernel's core do, forward and backward: span `s` behind its last cut (for a pass: cut j). */
static void build_before(const Graph *g, Kernel *k, const Span *s)
{
    const bool pass = k->kind == KERNEL_PASS;
    const int b = pass ? s->cut[k->cut] - 1 : s->nop;
    const Where stored = s->from_input ? AT_X : AT_SLOT;
    Forward f = {.name = "in", .op = s->op, .shape = s->shape, .a = s->stored, .b = b, .from = stored, .from_image = -1,
                 .store = -1, .stats = pass ? s->cut_op[k->cut] : -1, .to_image = k->x};

    build_forward(g, &k->in, &k->image, &k->nimage, &f);
    const int cut = pass ? k->cut - 1 : s->ncut - 1;
    if (cut < 0 || !s->cut_grad[cut])
        return;
    k->back_data = true;
    Backward d = {.name = "din", .op = s->op, .shape = s->shape, .lo = s->stored, .a = s->cut[cut], .b = b, .origin = s->stored,
                  .values = &k->in, .stored = stored, .norm = pass ? s->cut_op[k->cut] : -1, .sums = s->cut_op[cut],
                  .to = s->cut_kept[cut] ? AT_SLOT : NOWHERE, .to_image = -1};
    d.from = pass ? AT_SLOT : k->kind == KERNEL_CONV ? AT_CORE : AT_IMAGE;
    d.from_image = d.from == AT_IMAGE ? k->dx : -1;
    if (d.from == AT_CORE && k->in.n > 1) {
        /* windows ask for whole images: the core's results go through scratch */
        k->dx = add_image(&k->image, &k->nimage, make_image(s->shape[b], false, 0, 0, 0, 0, "dx"));
        Run *r = add_run(&k->din, "dx0", s->shape[b], b);
        r->back = true;
        r->from = AT_CORE;
        r->to = AT_IMAGE;
        r->to_image = k->dx;
        d.from = AT_IMAGE;
        d.from_image = k->dx;
    }
    build_backward(g, &k->din, &k->image, &k->nimage, &d);
}

/* What the stages behind a kernel's core do: span `s` up to its first cut. */
static void build_after(const Graph *g, Kernel *k, const Span *s)
{
    const int norm = s->cut_op[0], b = norm >= 0 ? s->cut[0] - 1 : s->stored;
    const bool conv = k->kind == KERNEL_CONV;
    Forward f = {.name = "out", .op = s->op, .shape = s->shape, .a = 0, .b = b, .from = conv ? AT_CORE : AT_IMAGE,
                 .from_image = k->y, .store = s->stored, .stats = norm, .to_image = -1, .bias = !conv && g->op[k->op].bias,
                 .keep_route = true};

    build_forward(g, &k->out, &k->image, &k->nimage, &f);

    /* what backward recomputes of it: images that windows behind the stored tensor read */
    int last_window = -1;
    for (int i = s->stored; i < b; i++)
        if (is_window(g, s->op[i]))
            last_window = i;
    if (last_window >= 0) {
        const int image = add_image(&k->image, &k->nimage, image_for(g, s->shape[last_window], s->op[last_window], "again_image"));
        Forward again = {.name = "again", .op = s->op, .shape = s->shape, .a = s->stored, .b = last_window, .from = AT_SLOT,
                         .from_image = -1, .store = -1, .stats = -1, .to_image = image};
        build_forward(g, &k->again, &k->image, &k->nimage, &again);
        /* the window itself, so that the backward chain finds the image it reads; emitted code does not walk it */
        Run *r = add_run(&k->again, "again_end", s->shape[last_window + 1], last_window + 1);
        r->from = AT_IMAGE;
        r->from_image = image;
        r->window = s->op[last_window];
    }
    Backward d = {.name = "dout", .op = s->op, .shape = s->shape, .lo = 0, .a = 0, .b = b, .origin = s->stored, .values = &k->again,
                  .stored = AT_SLOT, .norm = norm, .from = AT_SLOT, .from_image = -1, .sums = -1, .to = AT_IMAGE, .to_image = k->dz,
                  .bias_grad = g->op[k->op].bias};
    build_backward(g, &k->dout, &k->image, &k->nimage, &d);
    if (last_window >= 0)
        k->again.n--;
}

/* Trace: every stage of the span's part on its own, each tensor an image. */
static void build_trace(const Graph *g, Kernel *k, Chain *c, const Span *s, int a, int b, Where from)
{
    Run *r;

    if (from == AT_CORE || from == AT_IMAGE) {
        r = add_run(c, "trace_z", s->shape[0], 0);
        r->from = from;
        r->bias = k->kind == KERNEL_LINEAR && g->op[k->op].bias;
        r->to = AT_IMAGE;
        r->to_image = add_image(&k->trace_image, &k->ntrace_image, image_for(g, s->shape[0], b > a ? s->op[0] : -1, g->op[k->op].path));
        if (from == AT_IMAGE)
            r->from_image = -1;
    }
    for (int i = a; i < b; i++) {
        const int op = s->op[i], next = i + 1 < b ? s->op[i + 1] : -1;
        const bool window = is_window(g, op);
        int from_image = c->n ? c->run[c->n - 1].to_image : -1;
        if (window && from_image < 0) { /* a window reads an image: copy the stored tensor into one */
            r = add_run(c, xprintf("trace%d_copy", op), s->shape[i], i);
            r->from = from;
            r->to = AT_IMAGE;
            r->to_image = from_image = add_image(&k->trace_image, &k->ntrace_image, image_for(g, s->shape[i], op, NULL));
        }
        if (g->op[op].kind == OP_DROP) {
            r = add_run(c, xprintf("trace%d_mask", op), s->shape[i + 1], i);
            r->from = from_image < 0 ? from : AT_IMAGE;
            r->from_image = from_image;
            add_step(r, STEP_MASK, op, i, i + 1);
            r->last = i + 1;
            r->to = AT_IMAGE;
            r->to_image = add_image(&k->trace_image, &k->ntrace_image, image_for(g, s->shape[i + 1], -1, xprintf("mask.%s", g->op[op].path)));
        }
        r = add_run(c, xprintf("trace%d", op), s->shape[i + 1], window ? i + 1 : i);
        r->from = from_image < 0 ? from : AT_IMAGE;
        r->from_image = from_image;
        r->window = window ? op : -1;
        if (!window)
            forward_step(g, r, STEP_FORWARD, op, i);
        r->to = AT_IMAGE;
        r->to_image = add_image(&k->trace_image, &k->ntrace_image, image_for(g, s->shape[i + 1], next, g->op[op].path));
    }
}

/* ---- inference ---- */

/* Ops of span `s` as inference runs them: dropout is gone, norms right behind the weight op are folded into it. */
static void build_inference(Plan *p, Kernel *k, const Span *before, const Span *after, const Kernel *next)
{
    const Graph *g = p->g;
    Image in = packed_input(g, k->op, "x");

    add_image(&k->infer_image, &k->ninfer_image, in);
    Image out = next ? packed_input(g, next->op, "y") : make_image(after->shape[after->nop], false, 0, 0, 0, 0, "y");
    add_image(&k->infer_image, &k->ninfer_image, out);

    for (int part = 0; part < 2; part++) {
        const Span *s = part ? after : before;
        if (!s)
            continue;
        int n = 0, *op = xalloc(sizeof *op * (size_t)(s->nop + 1));
        Shape *shape = xalloc(sizeof *shape * (size_t)(s->nop + 1));
        shape[0] = s->shape[0];
        bool folding = part == 1; /* nothing but dropout and folded norms so far */
        for (int i = 0; i < s->nop; i++) {
            const int o = s->op[i];
            if (g->op[o].kind == OP_DROP)
                continue;
            if (g->op[o].kind == OP_BN) {
                Norm *norm = plan_norm(p, o);
                if (folding) {
                    *PUSH(k->fold, k->nfold) = o;
                    norm->inference = xprintf("folded into the weights and bias of %s: nothing but a scale and a shift a channel stands between",
                                              g->op[k->op].path);
                    continue;
                }
                norm->inference =
                    xprintf("a multiply-add in the %s of %s: %s", part ? "epilogue" : "prologue", k->name,
                            part ? "what stands between it and the weight op is not a scale and a shift a channel"
                                 : "folding it forward into weights is wrong at a zero-padded border");
                Affine *a = PUSH(p->affine, p->naffine);
                *a = (Affine){.op = o};
            }
            folding = false;
            op[n] = o;
            shape[++n] = s->shape[i + 1];
        }
        Forward f = {.name = part ? "post" : "pre", .op = op, .shape = shape, .a = 0, .b = n, .from = part ? AT_CORE : AT_X,
                     .from_image = -1, .store = -1, .stats = -1, .to_image = part ? 1 : 0, .affine = true};
        build_forward(g, part ? &k->post : &k->pre, &k->infer_image, &k->ninfer_image, &f);
    }
}

Norm *plan_norm(const Plan *p, int op)
{
    for (int i = 0; i < p->nnorm; i++)
        if (p->norm[i].op == op)
            return &p->norm[i];
    BUG("op %d is no norm", op);
}

static Kernel *add_kernel(Plan *p, KernelKind kind, int op, int before, int after)
{
    Kernel *k = PUSH(p->kernel, p->nkernel);

    *k = (Kernel){.kind = kind, .op = op, .before = before, .after = after, .wparam = -1, .bparam = -1};
    k->x = k->y = k->dz = k->dx = -1;
    k->mat_x = k->mat_y = k->mat_dz = k->mat_dx = k->mat_back_x = -1;
    k->has_backward = true;
    return k;
}

static void build_weight_kernel(Plan *p, Kernel *k)
{
    const Graph *g = p->g;
    const Op *o = &g->op[k->op];

    k->name = o->layer;
    k->wparam = find_param(g, k->op, PARAM_WEIGHT);
    k->bparam = find_param(g, k->op, PARAM_BIAS);
    k->x = add_image(&k->image, &k->nimage, packed_input(g, k->op, "xs"));
    k->plain = k->image[k->x].plain;
    const Span *before = &p->span[k->before], *after = &p->span[k->after];
    const bool data = before->cut_grad[before->ncut - 1];
    Image dz = make_image(o->shape, false, 0, 0, 0, 0, "dz");
    if (k->kind == KERNEL_CONV) {
        if (data) {
            const Shape in = g->op[o->in].shape;
            int top, bottom, left, right;
            data_halo(in.h, o->shape.h, o->kernel[0], o->stride[0], o->padding[0], o->dilation[0], &top, &bottom);
            data_halo(in.w, o->shape.w, o->kernel[1], o->stride[1], o->padding[1], o->dilation[1], &left, &right);
            dz = make_image(o->shape, false, top, left, bottom, right, "dz");
        }
        k->dz = add_image(&k->image, &k->nimage, dz);
    } else {
        k->image[k->x].row = dz.row = true;
        k->dz = add_image(&k->image, &k->nimage, dz);
        Image y = dz;
        y.name = "y";
        k->y = add_image(&k->image, &k->nimage, y);
        if (data) {
            Image dx = k->image[k->x];
            dx.name = "dx";
            k->dx = add_image(&k->image, &k->nimage, dx);
        }
    }
    build_before(g, k, before);
    build_after(g, k, after);
    build_trace(g, k, &k->trace_in, before, before->stored, before->nop, before->from_input ? AT_X : AT_SLOT);
    build_trace(g, k, &k->trace_out, after, 0, after->stored, k->kind == KERNEL_CONV ? AT_CORE : AT_IMAGE);
    const Chain *all[] = {&k->in, &k->out, &k->again, &k->dout, &k->din, &k->trace_in, &k->trace_out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        add_aliases(g, k, all[i], o->layer);
}

static void build_pass_kernel(Plan *p, Kernel *k)
{
    const Graph *g = p->g;
    char *name = xprintf("pass_%s", g->op[k->op].path);

    for (char *c = name; *c; c++)
        if (*c == '.')
            *c = '_';
    for (int i = 0; i < g->nop; i++)
        if (strcmp(g->op[i].layer, name) == 0) { /* a layer is called so: begin again with another name */
            name = xprintf("%s_of_it", name);
            i = -1;
        }
    k->name = name;
    k->has_backward = k->cut > 0;
    build_before(g, k, &p->span[k->before]);
    add_aliases(g, k, &k->in, g->op[k->op].layer);
    add_aliases(g, k, &k->din, g->op[k->op].layer);
}

static void build_loss_kernel(Plan *p, Kernel *k)
{
    const Graph *g = p->g;
    const Span *s = &p->span[k->before];

    k->name = "loss";
    k->x = add_image(&k->image, &k->nimage, make_image(s->shape[s->nop], false, 0, 0, 0, 0, "logits"));
    k->dx = add_image(&k->image, &k->nimage, make_image(s->shape[s->nop], false, 0, 0, 0, 0, "dlogits"));
    build_before(g, k, s);
    build_trace(g, k, &k->trace_in, s, s->stored, s->nop, AT_SLOT);
    const Chain *all[] = {&k->in, &k->din, &k->trace_in};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        add_aliases(g, k, all[i], "loss");
}

Plan *fuse_build(const Graph *g, const Target *t)
{
    Plan *p = xalloc(sizeof *p);
    int last = 0;

    p->g = g;
    p->target = t;
    for (int i = 1; i < g->nop; i++) {
        const OpClass cls = info(g, i)->cls;
        if (g->op[i].kind == OP_BN) {
            const Shape s = g->op[i].shape;
            *PUSH(p->norm, p->nnorm) = (Norm){.op = i, .area = s.h * s.w, .padded = blocks_of(s.c) * LANES};
            if (s.h * s.w == 1)
                p->min_batch = 2;
        }
        if (cls == CLASS_WEIGHT || cls == CLASS_LOSS) {
            build_span(g, PUSH(p->span, p->nspan), last, i);
            last = i;
        }
    }
    /* kernels in forward order; two rounds, so that pointers into the list hold while they are built */
    for (int s = 0; s < p->nspan; s++) {
        const Span *span = &p->span[s];
        for (int c = span->from_input ? 0 : 1; c < span->ncut; c++)
            if (span->cut_op[c] >= 0)
                add_kernel(p, KERNEL_PASS, span->cut_op[c], s, -1)->cut = c;
        int end = span->nop ? span->op[span->nop - 1] + 1 : -1;
        if (end < 0) /* an empty span: the op after the previous weight op (or the input) */
            end = s == 0 ? 1 : p->kernel[p->nkernel - 1].op + 1;
        const OpKind kind = g->op[end].kind;
        add_kernel(p, kind == OP_CONV ? KERNEL_CONV : kind == OP_LINEAR ? KERNEL_LINEAR : KERNEL_LOSS, end, s, kind == OP_LOSS ? -1 : s + 1);
    }
    Kernel *previous = NULL;
    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        switch (k->kind) {
        case KERNEL_CONV:
        case KERNEL_LINEAR:
            build_weight_kernel(p, k);
            if (previous)
                build_inference(p, previous, previous->before == 0 ? &p->span[0] : NULL, &p->span[previous->after], k);
            previous = k;
            break;
        case KERNEL_PASS:
            build_pass_kernel(p, k);
            break;
        case KERNEL_LOSS:
            build_loss_kernel(p, k);
            if (!previous)
                BUG("a network without a weight op");
            build_inference(p, previous, previous->before == 0 ? &p->span[0] : NULL, &p->span[previous->after], NULL);
            break;
        }
    }
    for (int i = 0; i < p->nkernel; i++) { /* aliases of inference come last: training's keep their names */
        p->kernel[i].nalias_train = p->kernel[i].nalias;
        if (p->kernel[i].kind == KERNEL_CONV || p->kernel[i].kind == KERNEL_LINEAR) {
            add_aliases(g, &p->kernel[i], &p->kernel[i].pre, p->kernel[i].name);
            add_aliases(g, &p->kernel[i], &p->kernel[i].post, p->kernel[i].name);
        }
    }
    return p;
}
