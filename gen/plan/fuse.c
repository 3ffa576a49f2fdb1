/* fuse.c - kernels with their ways -> chains of runs.
 *
 * needs: flow_build, of training and of inference.
 * sets:  chains of runs, images in scratch, ports, aliases, what happens to each norm at inference. No cores, no
 * offsets.
 *
 * The rules are in plan.h and docs/kernels.md. They are stated over stages and their needs; no order is special. */
#include "names.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

static const OpInfo *info(const Graph *g, int op)
{
    return &op_info[g->op[op].kind];
}

static bool is_window(const Graph *g, int op)
{
    return info(g, op)->cls == CLASS_WINDOW;
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

/* The image that feeds window op: with the halo that its padding asks for. op -1: no halo. */
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

static Place image_place(int image, Shape shape)
{
    return (Place){.where = AT_IMAGE, .image = image, .total = shape.c, .shape = shape};
}

static const Place no_place = {.where = NOWHERE, .image = -1};

/* What a kernel has of a node. Good while `kernel` is the number of the kernel at hand. */
typedef struct Has {
    int kernel;
    int port, image; /* image: in which it is given to an inference kernel, or -1 */
} Has;

/* What is being built: of training, or of inference. */
typedef struct Fuse {
    Plan *p;
    const Graph *g;
    Kernel *k;
    Tensor *node;
    bool infer;
    int kernel;      /* a number for the kernel at hand, another one whenever it is another */
    Has *has;        /* by node */
    int nnamed[3];   /* ports called in, out, side and a number */
    int *node_of;    /* training's node that is an op's output, or -1 */
    int *aliased;    /* by op: the number of the kernel in which it has an alias */
    int *image_norm; /* likewise, in which its norm is listed */
    Names alias;     /* of the kernel at hand: the number that a name ended with last */
    Names layer;     /* all layers' names in C */
} Fuse;

/* ---- ports ---- */

static int *named(Fuse *f, const char *port)
{
    return &f->nnamed[*port == 'i' ? 0 : *port == 'o' ? 1 : 2];
}

static void begin_kernel(Fuse *f, Kernel *k)
{
    f->k = k;
    f->kernel++;
    f->nnamed[0] = f->nnamed[1] = f->nnamed[2] = 0;
    for (int i = 0; i < k->nport; i++) {
        f->has[k->port[i].node] = (Has){f->kernel, i, -1};
        ++*named(f, k->port[i].name);
    }
}

/* What the kernel is given of a node; `name` ("in", "out", "side") where it is not given anything of it yet. */
static int port_of(Fuse *f, int node, const char *name)
{
    Kernel *k = f->k;
    Has *has = &f->has[node];

    if (has->kernel == f->kernel)
        return has->port;
    const int same = ++*named(f, name);
    *has = (Has){f->kernel, k->nport, -1};
    *PUSH(k->port, k->nport) = (Port){.node = node, .name = same > 1 ? xprintf("%s%d", name, same) : name};
    return has->port;
}

/* Where the stored tensor that a node's readers begin at lies, as kernel k is given it. */
static Place value_place(Fuse *f, int node, const char *name)
{
    Kernel *k = f->k;
    const int port = port_of(f, node, name);
    Tensor *root = &f->node[f->node[node].root];

    k->port[port].value = true;
    if (f->infer && root->op > 0) {
        Has *has = &f->has[node];
        if (has->image < 0) {
            Image m = f->p->infer_image[root->image];
            m.given = true;
            m.name = k->port[port].name;
            has->image = add_image(&k->image, &k->nimage, m);
        }
        return image_place(has->image, root->shape[0]);
    }
    const Shape shape = f->node[node].shape[0];
    return (Place){
        .where = root->op == 0 ? AT_X : AT_SLOT, .image = -1, .port = port, .total = shape.c, .shape = shape};
}

/* Where a node's gradient lies. */
static Place grad_place(Fuse *f, int node, const char *name)
{
    const int port = port_of(f, node, name);
    const Tensor *nd = &f->node[node];
    const Shape shape = nd->shape[nd->nlink];

    f->k->port[port].grad = true;
    return (Place){.where = AT_SLOT, .image = -1, .port = port, .total = shape.c, .shape = shape};
}

static Place part(Place p, int first)
{
    p.first = first;
    return p;
}

/* ---- steps ---- */

static Step *add_step(Run *r, StepKind kind, int op, int in, int out)
{
    Step *s = PUSH(r->step, r->nstep);

    *s = (Step){.kind = kind, .op = op, .in = in, .out = out, .channels = r->shape.c};
    return s;
}

static Run *add_run(Chain *c, const char *name, Shape shape, int first, int next)
{
    Run *r = PUSH(c->run, c->n);

    *r = (Run){.name = name, .shape = shape, .first = first, .last = first, .next = next, .window = -1};
    r->from = r->value = r->to = no_place;
    r->scatter_image = -1;
    return r;
}

static void point_step(const Fuse *f, Run *r, const Link *l, int in, int out)
{
    const OpKind kind = f->g->op[l->op].kind;
    Step *s = add_step(r, f->infer && op_is_batch_norm(kind) ? STEP_AFFINE : STEP_FORWARD, l->op, in, out);

    s->first = l->first;
    s->first_lanes = !op_info[kind].keeps_zero && r->shape.c % LANES != 0;
}

/* The side's number in the run. */
static int side_of(Fuse *f, Run *r, const Side *side)
{
    if (side->seen->run == r->name) /* no two runs are called by the same text in memory */
        return side->seen->at;
    const Place from = value_place(f, side->way.node, "side");
    SideRead *s = PUSH(r->side, r->nside);
    *s = (SideRead){.side = side, .from = from};
    s->value = xalloc(sizeof(int) * (size_t)(side->way.n + 1));
    for (int i = 0; i <= side->way.n; i++)
        s->value[i] = -1;
    *side->seen = (SideSeen){r->name, r->nside - 1};
    return r->nside - 1;
}

/* The number of value i of a side's way in this run: it and those before it are computed where they are not at hand. */
static int side_value(Fuse *f, Run *r, int side, int i)
{
    int *value = r->side[side].value, from = i;

    while (from >= 0 && value[from] < 0)
        from--;
    while (from < i) {
        value[++from] = r->next++;
        if (from == 0)
            add_step(r, STEP_SIDE, -1, -1, value[0])->side = side;
        else
            point_step(f, r, &r->side[side].side->way.link[from - 1], value[from - 1], value[from]);
    }
    return value[i];
}

/* Link i of a way that is no window. */
static void forward_step(Fuse *f, Run *r, const Way *w, int i)
{
    const Link *l = &w->link[i];

    if (f->g->op[l->op].kind != OP_ADD) {
        point_step(f, r, l, i, i + 1);
    } else {
        int sum = i;
        for (int s = 0; s < l->nside; s++) {
            const int side = side_of(f, r, &l->side[s]), value = side_value(f, r, side, l->side[s].way.n);
            const int out = s + 1 == l->nside ? i + 1 : r->next++;
            add_step(r, STEP_ADD, l->op, sum, out)->in2 = value;
            sum = out;
        }
    }
    r->last = i + 1;
}

/* ---- forward chains ---- */

/* Values a .. b of a way. `name` and a number name its runs and images. */
typedef struct Forward {
    const char *name;
    const Way *way;
    int a, b;
    Place from;
    int store; /* value that is stored as the kernel's node, -1 */
    bool ends; /* value b is the kernel's node, of which norms take statistics */
    Place to;
    bool bias; /* the first value lacks the bias */
    bool keep_route;
} Forward;

static void store_step(Run *r, const Forward *fw, int value)
{
    add_step(r, STEP_STORE, -1, value, 0);
    r->store_first = fw->way->first;
    r->store_total = fw->way->total;
}

static void build_forward(Fuse *f, Chain *c, Image **images, int *nimages, const Forward *fw)
{
    const Graph *g = f->g;
    const Way *w = fw->way;
    Run *r = add_run(c, xprintf("%s0", fw->name), w->shape[fw->a], fw->a, w->n + 1);

    r->from = fw->from;
    r->bias = fw->bias;
    if (fw->store == fw->a)
        store_step(r, fw, fw->a);
    for (int i = fw->a, n = 1; i < fw->b; i++) {
        const int op = w->link[i].op;
        if (is_window(g, op)) {
            const Image m = image_for(g, w->shape[i], op, xprintf("%s_image", r->name));
            r->to = image_place(add_image(images, nimages, m), w->shape[i]);
            const Place from = r->to;
            r = add_run(c, xprintf("%s%d", fw->name, n++), w->shape[i + 1], i + 1, w->n + 1);
            r->from = from;
            r->window = op;
            r->route = fw->keep_route && i < fw->store && info(g, op)->need == NEED_ROUTE;
        } else {
            forward_step(f, r, w, i);
        }
        if (fw->store == i + 1)
            store_step(r, fw, i + 1);
    }
    if (fw->ends) {
        const Tensor *nd = &f->node[f->k->node];
        r->stats = nd->nnorm > 0;
        r->image_stats = nd->nimage_norm > 0;
        r->stats_first = w->first;
        if (r->stats)
            add_step(r, STEP_STATS, -1, fw->b, 0);
        if (r->image_stats)
            add_step(r, STEP_IMAGE_STATS, -1, fw->b, 0);
    }
    if (fw->to.where != NOWHERE)
        r->to = fw->to;
}

/* ---- backward chains ---- */

/* The gradient of value b of a way is taken back to value a. Values come from value `origin`, which lies at `stored`;
 * the runs of the forward chain `values` over the same links tell which images hold the windows' inputs. */
typedef struct Backward {
    const char *name;
    const Way *way;
    int a, b, origin;
    const Chain *values;
    Place stored;
    bool correct; /* value b is the kernel's node, and norms read that */
    Place from, to;
    bool adds, bias_grad;
} Backward;

/* Where the input of a window op lies, as the forward chain left it. */
static Place value_image(const Chain *values, int window)
{
    for (int r = 0; r < values->n; r++)
        if (values->run[r].window == window)
            return values->run[r].from;
    return no_place;
}

static bool is_norm(const Fuse *f, int op)
{
    return op_is_norm(f->g->op[op].kind);
}

static bool has_norms(const Tensor *nd)
{
    return nd->nnorm + nd->nimage_norm > 0;
}

/* Whether backward goes a way: its node's gradient is wanted, or a norm stands on it. */
static bool goes_back(const Fuse *f, const Way *w)
{
    if (w->node < 0 || f->node[w->node].grad)
        return true;
    for (int i = w->grad; i < w->n; i++) {
        if (is_norm(f, w->link[i].op))
            return true;
        for (int s = 0; s < w->link[i].nside; s++)
            if (goes_back(f, &w->link[i].side[s].way))
                return true;
    }
    return false;
}

/* Whether the kernel is the first in backward to give to the port's node, or adds to what others gave. */
static bool gives(Fuse *f, int port)
{
    Tensor *nd = &f->node[f->k->port[port].node];
    const bool adds = nd->given;

    nd->given = true;
    return adds;
}

/* What a join's operand is given: g of the sum, back through the side's stages. */
static void side_back(Fuse *f, Run *r, const Side *s)
{
    const Way *w = &s->way;
    const int side = side_of(f, r, s), g = ++r->grads;

    for (int i = w->grad; i < w->n; i++) {
        const Need need = info(f->g, w->link[i].op)->need;
        if (need == NEED_INPUT || need == NEED_SIGN)
            side_value(f, r, side, i);
        else if (need == NEED_OUTPUT)
            side_value(f, r, side, i + 1);
    }
    add_step(r, STEP_SPLIT, -1, -1, -1)->g = g;
    for (int i = w->n - 1; i >= w->grad; i--) {
        const Link *l = &w->link[i];
        const int *value = r->side[side].value;
        if (is_norm(f, l->op)) {
            add_step(r, STEP_SUMS, l->op, value[i], 0)->g = g;
            add_step(r, STEP_SCALE, l->op, value[i], 0)->g = g;
        } else {
            add_step(r, STEP_BACK, l->op, value[i], value[i + 1])->g = g;
        }
    }
    if (!f->node[w->node].grad)
        return;
    const Place to = grad_place(f, w->node, "side");
    Step *give = add_step(r, STEP_GIVE, s->pad, -1, -1);
    give->g = g;
    give->side = side;
    give->in2 = to.port;
    give->adds = gives(f, to.port);
}

static void build_backward(Fuse *f, Chain *c, Image **images, int *nimages, const Backward *b)
{
    const Graph *g = f->g;
    const Way *w = b->way;
    int end = b->b; /* this run covers links [start, end), behind the window at start - 1 if there is one */
    Place from = b->from;

    for (int n = 0;; n++) {
        int start = end;
        while (start > 0 && !is_window(g, w->link[start - 1].op))
            start--;
        const int window = start > 0 ? w->link[start - 1].op : -1;
        const bool through = window >= 0 && start - 1 >= b->a;
        const int low = start > b->a ? start : b->a; /* links [low, end) are walked back here */
        Run *r = add_run(c, xprintf("%s%d", b->name, n), w->shape[end], start, w->n + 1);
        r->back = true;
        r->from = from;
        r->window = window;

        /* the values at hand: v[u], or none */
        int u = -1;
        if (b->origin >= start && b->origin <= end) {
            u = b->origin;
            r->value = b->stored;
        } else if (b->origin < start) {
            u = start;
            r->value = value_image(b->values, window);
        }
        int need = b->correct && end == b->b ? end : -1;
        for (int i = low; i < end; i++) {
            const Need what = info(g, w->link[i].op)->need;
            if (u >= 0 && i >= u && (what == NEED_SIGN || what == NEED_INPUT) && need < i)
                need = i;
            if (u >= 0 && i + 1 >= u && what == NEED_OUTPUT && need < i + 1)
                need = i + 1;
        }
        bool sign_of_stored = false; /* masks of ops before the stored tensor, taken from it */
        if (b->origin >= start && b->origin <= end)
            for (int i = b->a; i < b->origin; i++)
                sign_of_stored |= info(g, w->link[i].op)->need == NEED_SIGN;
        const bool routes = through && info(g, window)->need == NEED_ROUTE && r->value.where == AT_IMAGE;
        if (need < 0 && !sign_of_stored && !routes)
            r->value = no_place;
        else if (need < 0)
            need = u;
        r->first = u >= 0 ? u : start;
        for (int i = u; i < need; i++)
            forward_step(f, r, w, i);

        const Tensor *nd = b->correct && end == b->b ? &f->node[f->k->node] : NULL;
        if (nd && nd->nnorm)
            add_step(r, STEP_CORRECT, -1, end, 0)->first = w->first;
        if (nd && nd->nimage_norm)
            add_step(r, STEP_CORRECT_IMAGE, -1, end, 0)->first = w->first;
        for (int i = end - 1; i >= low; i--) {
            const Link *l = &w->link[i];
            if (g->op[l->op].kind == OP_ADD) {
                for (int s = 0; s < l->nside; s++)
                    if (goes_back(f, &l->side[s].way))
                        side_back(f, r, &l->side[s]);
            } else if (is_norm(f, l->op)) {
                add_step(r, STEP_SUMS, l->op, i, 0)->first = l->first;
                add_step(r, STEP_SCALE, l->op, i, 0)->first = l->first;
            } else if (i >= b->origin || info(g, l->op)->need != NEED_SIGN) {
                add_step(r, STEP_BACK, l->op, i, i + 1)->first = l->first;
            } else if (sign_of_stored) {
                add_step(r, STEP_BACK, l->op, b->origin, b->origin);
            }
        }
        /* Masks of ops before windows commute with these: they act where the gradient is not zero. */
        for (int i = low - 1; sign_of_stored && i >= b->a; i--)
            if (info(g, w->link[i].op)->need == NEED_SIGN)
                add_step(r, STEP_BACK, w->link[i].op, b->origin, b->origin);
        if (through) {
            r->route = start - 1 < b->origin && info(g, window)->need == NEED_ROUTE;
            Image m = image_for(g, w->shape[start - 1], window, xprintf("%s_scatter", r->name));
            m.minus_inf = m.filled = false; /* cleared whole for each image */
            r->scatter_image = add_image(images, nimages, m);
            from = image_place(r->scatter_image, w->shape[start - 1]);
            end = start - 1;
            continue;
        }
        r->to = b->to;
        r->adds = b->adds;
        r->bias_grad = b->bias_grad;
        return;
    }
}

/* ---- kernels ---- */

/* Extent of the output pixels along one axis that back-propagate into input pixels 0 .. in-1: how far they reach
 * outside 0 .. out-1. */
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

const char *plan_alias(const Kernel *k, int op)
{
    int low = 0, high = k->nalias;

    while (low < high) {
        const int mid = (low + high) / 2;
        if (k->alias_by_op[mid]->op < op)
            low = mid + 1;
        else
            high = mid;
    }
    return low < k->nalias && k->alias_by_op[low]->op == op ? k->alias_by_op[low]->name : NULL;
}

/* A name for an op that has constants: own stages by their name, those of others with in_ (or, behind it, to_) before
 * it. */
static void add_alias(Fuse *f, int op)
{
    Kernel *k = f->k;

    if (op < 0 || f->aliased[op] == f->kernel)
        return;
    f->aliased[op] = f->kernel;
    const Op *o = &f->g->op[op];
    const char *stage = o->stage ? o->stage : op_info[o->kind].stage;
    const char *name = strcmp(o->layer, k->layer) == 0 ? stage : xprintf("%s_%s", op < k->op ? "in" : "to", stage),
               *unique = name;
    int last = *names_at(&f->alias, name);
    if (last == 0) {
        *names_at(&f->alias, name) = 1;
    } else {
        do
            unique = xprintf("%s_%d", name, ++last);
        while (*names_at(&f->alias, unique));
        *names_at(&f->alias, unique) = 1;
        *names_at(&f->alias, name) = last;
    }
    *PUSH(k->alias, k->nalias) = (Alias){op, unique};
}

static void add_aliases(Fuse *f, const Chain *c)
{
    for (int r = 0; r < c->n; r++)
        for (int s = 0; s < c->run[r].nstep; s++)
            add_alias(f, c->run[r].step[s].op);
}

/* The packed input of a weight op: with the halo that its padding asks for. */
static Image packed_input(const Plan *p, int op)
{
    const Graph *g = p->g;
    const Op *o = &g->op[op];
    const Shape in = g->op[o->in].shape;

    if (o->kind != OP_CONV)
        return make_image(in, false, 0, 0, 0, 0, "xs");
    Image m = make_image(in, in.c <= PLAIN_MAX && o->groups == 1, o->padding[0], o->padding[1], o->padding[0],
                         o->padding[1], "xs");
    winograd_grow_x(p, op, &m);
    return m;
}

static const char *way_name(const char *name, int way)
{
    return way ? xprintf("%s%c%s_", name, 'a' + way % 26, way < 26 ? "" : xprintf("%d", way / 26)) : name;
}

/* An image of which ways write parts that begin no block: its padding channels must be cleared. */
static void mark_shared(const Kernel *k, Image *m)
{
    for (int w = 0; w < k->nin; w++)
        m->shared |= k->in[w].first % LANES != 0 || (k->in[w].shape[k->in[w].n].c % LANES != 0 && k->nin > 1);
}

/* What leads to the kernel's core, or what a pass makes. */
static void build_before(Fuse *f)
{
    Kernel *k = f->k;
    const bool pass = k->kind == KERNEL_PASS;

    k->before = xalloc(sizeof *k->before * (size_t)k->nin);
    k->din = xalloc(sizeof *k->din * (size_t)k->nin);
    for (int i = 0; i < k->nin; i++) {
        const Way *w = &k->in[i];
        Forward fw = {.name = way_name(f->infer ? "pre" : "in", i),
                      .way = w,
                      .b = w->n,
                      .from = value_place(f, w->node, "in"),
                      .store = -1,
                      .to = no_place};
        fw.ends = pass;
        if (pass && !f->infer) {
            fw.store = f->node[k->node].stored && k->op > 0 ? w->n : -1;
        } else if (kernel_input(k) >= 0) {
            fw.to = part(image_place(kernel_input(k), k->image[kernel_input(k)].shape), w->first);
        }
        build_forward(f, &k->before[i], &k->image, &k->nimage, &fw);
    }
}

/* The same backwards. */
static void build_before_back(Fuse *f)
{
    Kernel *k = f->k;
    const bool pass = k->kind == KERNEL_PASS, conv = k->conv != NULL;
    const bool correct = pass && has_norms(&f->node[k->node]);
    Place from = no_place;

    for (int i = 0; i < k->nin; i++)
        k->back_data |= goes_back(f, &k->in[i]);
    if (!k->back_data)
        return;
    bool through_core = false, scratch = k->nin > 1; /* windows, and several ways, ask for whole images */
    for (int i = 0; i < k->nin; i++)
        scratch |= k->before[i].n > 1;
    if (pass) {
        from = grad_place(f, k->node, "out");
    } else if (!conv) {
        const int dx = k->linear ? k->linear->dx : k->loss->dx;
        from = image_place(dx, k->image[dx].shape);
    } else if (!scratch) {
        from.where = AT_CORE;
    } else {
        const Shape shape = k->image[k->w->x].shape;
        k->conv->dx = add_image(&k->image, &k->nimage, make_image(shape, false, 0, 0, 0, 0, "dx"));
        from = image_place(k->conv->dx, shape);
    }
    for (int i = 0; i < k->nin; i++) {
        const Way *w = &k->in[i];
        if (!goes_back(f, w))
            continue;
        Backward b = {.name = way_name("din", i),
                      .way = w,
                      .a = w->grad,
                      .b = w->n,
                      .values = &k->before[i],
                      .correct = correct,
                      .stored = value_place(f, w->node, "in"),
                      .from = part(from, w->first),
                      .to = no_place};
        if (f->node[w->node].grad)
            b.to = grad_place(f, w->node, "in");
        Chain *c = &k->din[i];
        if (conv && scratch && !through_core) { /* the core's results go through scratch; later ways find them there */
            through_core = true;
            const Shape shape = k->image[k->w->x].shape;
            Run *r = add_run(c, "dx0", shape, w->n, w->n + 1);
            r->back = true;
            r->from.where = AT_CORE;
            r->to = image_place(k->conv->dx, shape);
        }
        build_backward(f, c, &k->image, &k->nimage, &b);
        /* sides were given to while the chain was built, in its order; the way's own node comes last */
        if (b.to.where != NOWHERE)
            c->run[c->n - 1].adds = gives(f, b.to.port);
    }
}

/* What the stages behind a kernel's core do, up to its node. */
static void build_after(Fuse *f)
{
    Kernel *k = f->k;
    const bool conv = k->conv != NULL;
    Forward fw = {.name = "out",
                  .way = &k->w->out,
                  .b = k->w->out.n,
                  .from = no_place,
                  .store = k->w->out.grad,
                  .ends = true,
                  .to = no_place,
                  .bias = !conv && f->g->op[k->op].bias,
                  .keep_route = true};

    fw.from.where = conv ? AT_CORE : AT_IMAGE;
    fw.from.image = k->linear ? k->linear->y : -1;
    fw.from.shape = k->w->out.shape[0];
    fw.from.total = fw.from.shape.c;
    build_forward(f, &k->w->after, &k->image, &k->nimage, &fw);
    port_of(f, k->node, "out");
}

static void build_after_back(Fuse *f)
{
    Kernel *k = f->k;
    const Graph *g = f->g;
    const Tensor *nd = &f->node[k->node];
    const Way *w = &k->w->out;

    /* what backward recomputes: images that windows behind the stored tensor read */
    int last_window = -1;
    for (int i = w->grad; i < w->n; i++)
        if (is_window(g, w->link[i].op))
            last_window = i;
    Place stored = {.where = AT_SLOT,
                    .image = -1,
                    .port = port_of(f, k->node, "out"),
                    .total = w->shape[w->grad].c,
                    .shape = w->shape[w->grad]};
    if (last_window >= 0) {
        const int image = add_image(&k->image, &k->nimage,
                                    image_for(g, w->shape[last_window], w->link[last_window].op, "again_image"));
        Forward again = {.name = "again",
                         .way = w,
                         .a = w->grad,
                         .b = last_window,
                         .from = stored,
                         .store = -1,
                         .to = image_place(image, w->shape[last_window])};
        build_forward(f, &k->w->again, &k->image, &k->nimage, &again);
        /* the window itself, so that the backward chain finds the image it reads; emitted code does not walk it */
        Run *r = add_run(&k->w->again, "again_end", w->shape[last_window + 1], last_window + 1, w->n + 1);
        r->from = image_place(image, w->shape[last_window]);
        r->window = w->link[last_window].op;
    }
    Backward b = {.name = "dout",
                  .way = w,
                  .b = w->n,
                  .origin = w->grad,
                  .values = &k->w->again,
                  .stored = stored,
                  .correct = has_norms(nd),
                  .from = grad_place(f, k->node, "out"),
                  .to = image_place(k->w->dz, k->image[k->w->dz].shape),
                  .bias_grad = g->op[k->op].bias};
    build_backward(f, &k->w->dout, &k->image, &k->nimage, &b);
    if (last_window >= 0)
        k->w->again.n--;
}

/* The packed images of a weight op. */
static void weight_images(Fuse *f)
{
    Kernel *k = f->k;
    const Graph *g = f->g;
    const Op *o = &g->op[k->op];
    Image xs = packed_input(f->p, k->op), dz = make_image(o->shape, false, 0, 0, 0, 0, "dz");
    bool data = false;

    for (int i = 0; i < k->nin; i++)
        data |= goes_back(f, &k->in[i]);
    mark_shared(k, &xs);
    if (k->conv) {
        k->w->x = add_image(&k->image, &k->nimage, xs);
        k->conv->plain = xs.plain;
        if (data) {
            const Shape in = g->op[o->in].shape;
            int top, bottom, left, right;
            data_halo(in.h, o->shape.h, o->kernel[0], o->stride[0], o->padding[0], o->dilation[0], &top, &bottom);
            data_halo(in.w, o->shape.w, o->kernel[1], o->stride[1], o->padding[1], o->dilation[1], &left, &right);
            dz = make_image(o->shape, false, top, left, bottom, right, "dz");
        }
        winograd_grow_dz(f->p, k->op, data, &dz);
        k->w->dz = add_image(&k->image, &k->nimage, dz);
        return;
    }
    xs.row = dz.row = true;
    k->w->x = add_image(&k->image, &k->nimage, xs);
    k->w->dz = add_image(&k->image, &k->nimage, dz);
    Image y = dz;
    y.name = "y";
    k->linear->y = add_image(&k->image, &k->nimage, y);
    if (data) {
        Image dx = xs;
        dx.name = "dx";
        dx.shared = false;
        k->linear->dx = add_image(&k->image, &k->nimage, dx);
    }
}

/* ---- trace: every op on its own, each value an image ---- */

typedef struct Trace {
    Fuse *f;
    int *image; /* of an op's output in the kernel at hand, -1 */
    int *set;   /* the ops that have one */
    int nset;
    bool *traced; /* handed out already, by a kernel before */
    int runs;
} Trace;

static int trace_image(Trace *t, Shape shape, int op, const char *name)
{
    Kernel *k = t->f->k;

    return add_image(&k->trace_image, &k->ntrace_image, image_for(t->f->g, shape, op, name));
}

static Run *trace_run(Trace *t, Shape shape, int window, int from, int to)
{
    Kernel *k = t->f->k;
    Run *r = add_run(&k->trace, xprintf("trace%d", t->runs++), shape, window >= 0 ? 1 : 0, 2);

    r->window = window;
    r->from = from >= 0 ? image_place(from, k->trace_image[from].shape) : no_place;
    r->to = image_place(to, k->trace_image[to].shape);
    return r;
}

static int trace_value(Trace *t, int v);

/* A node's value, from what is stored of it. */
static int trace_node(Trace *t, int node)
{
    Fuse *f = t->f;
    const Tensor *nd = &f->node[node];
    Way *w = xalloc(sizeof *w);

    *w = (Way){.node = node, .link = nd->link, .shape = nd->shape, .n = nd->nlink, .total = nd->shape[nd->nlink].c};
    const int image = trace_image(t, nd->shape[nd->nlink], -1, NULL);
    const int first = f->k->ntrace_image;
    const Forward fw = {.name = xprintf("trace%d_", t->runs++),
                        .way = w,
                        .b = w->n,
                        .from = value_place(f, node, "in"),
                        .store = -1,
                        .to = image_place(image, nd->shape[nd->nlink])};
    build_forward(f, &f->k->trace, &f->k->trace_image, &f->k->ntrace_image, &fw);
    for (int i = first; i < f->k->ntrace_image; i++)
        f->k->trace_image[i].name = NULL; /* handed out by the kernel that makes the node */
    return image;
}

static void set_image(Trace *t, int v, int image)
{
    *PUSH(t->set, t->nset) = v;
    t->image[v] = image;
}

/* The image of op v's input `from`, with the halo that a window asks for. */
static int trace_input(Trace *t, int v, int from)
{
    const Op *op = &t->f->g->op[v];

    if (!(op->padding[0] || op->padding[1]) || !is_window(t->f->g, v))
        return from;
    const Shape shape = t->f->g->op[op->in].shape;
    const int copy = trace_image(t, shape, v, NULL);
    trace_run(t, shape, -1, from, copy);
    return copy;
}

/* What op v is called when it is handed out; NULL: it was. */
static const char *trace_name(Trace *t, int v)
{
    const char *name = t->traced[v] ? NULL : t->f->g->op[v].path;

    t->traced[v] = true;
    return name;
}

static void trace_join(Trace *t, int v)
{
    Fuse *f = t->f;
    Kernel *k = f->k;
    const Op *op = &f->g->op[v];
    const char *name = trace_name(t, v);
    int *in = xalloc(sizeof *in * (size_t)op->nin), first = 0;

    for (int i = 0; i < op->nin; i++)
        in[i] = trace_value(t, op->ins[i]);
    const int to = trace_image(t, op->shape, -1, name);
    k->trace_image[to].shared = op->kind == OP_CONCAT;
    for (int i = 0; i < op->nin; i++) {
        Run *r = trace_run(t, f->g->op[op->ins[i]].shape, -1, in[i], to);
        r->to.first = first;
        r->adds = op->kind == OP_ADD && i > 0;
        first += op->kind == OP_CONCAT ? r->shape.c : 0;
    }
    set_image(t, v, to);
}

static void trace_core(Trace *t, int v)
{
    Kernel *k = t->f->k;
    const Op *op = &t->f->g->op[v];
    const int to = trace_image(t, op->shape, -1, trace_name(t, v));

    k->trace_core = k->trace.n;
    Run *r = trace_run(t, op->shape, -1, -1, to);
    r->from = (Place){.where = k->conv ? AT_CORE : AT_IMAGE, .image = -1, .total = op->shape.c, .shape = op->shape};
    r->bias = k->linear && op->bias;
    set_image(t, v, to);
}

/* A stage, of an input that has its image. */
static void trace_stage(Trace *t, int v, const char *name)
{
    Fuse *f = t->f;
    const Op *op = &f->g->op[v];
    const int in = trace_input(t, v, t->image[op->in]);
    const bool window = is_window(f->g, v);

    if (op->kind == OP_DROP && name) {
        const int mask = trace_image(t, op->shape, -1, xprintf("mask.%s", op->path));
        Run *r = trace_run(t, op->shape, -1, in, mask);
        add_step(r, STEP_MASK, v, 0, 1);
        r->last = 1;
    }
    const int to = trace_image(t, op->shape, -1, name);
    Run *r = trace_run(t, op->shape, window ? v : -1, in, to);
    if (!window) {
        const Link link = {.op = v};
        point_step(f, r, &link, 0, 1);
        r->last = 1;
    }
    set_image(t, v, to);
}

/* The image of op v's output: back along the stages to what has one, then forward. What recurs is a join in a join. */
static int trace_value(Trace *t, int v)
{
    Fuse *f = t->f;
    const Kernel *k = f->k;
    const int nodes = k->kind == KERNEL_LOSS ? f->p->nnode : k->node; /* that are made before */
    int *stage = NULL, nstage = 0, at = v;

    for (; t->image[at] < 0; at = f->g->op[at].in) {
        const OpKind kind = f->g->op[at].kind;
        if (f->node_of[at] >= 0 && f->node_of[at] < nodes)
            set_image(t, at, trace_node(t, f->node_of[at]));
        else if (kind == OP_CONCAT || kind == OP_ADD)
            trace_join(t, at);
        else if (at == k->op && k->w)
            trace_core(t, at);
        else
            *PUSH(stage, nstage) = at;
        if (t->image[at] >= 0)
            break;
    }
    const char **name = xalloc(sizeof *name * (size_t)(nstage + 1));
    for (int i = 0; i < nstage; i++)
        name[i] = trace_name(t, stage[i]);
    while (nstage-- > 0)
        trace_stage(t, stage[nstage], name[nstage]);
    return t->image[v];
}

static void build_trace(Trace *t)
{
    const Fuse *f = t->f;
    const Kernel *k = f->k;

    t->runs = 0;
    if (k->kind != KERNEL_PASS)
        trace_value(t, f->g->op[k->op].in); /* of the input itself nothing is handed out */
    if (k->kind != KERNEL_LOSS && k->op > 0)
        trace_value(t, f->node[k->node].op);
    while (t->nset > 0)
        t->image[t->set[--t->nset]] = -1;
}

/* ---- training ---- */

static const char *c_name(const char *path)
{
    char *name = xstrdup(path);

    for (char *c = name; *c; c++)
        *c = *c == '.' ? '_' : *c;
    return name;
}

/* pass_<op>, or another name where a layer is called so. */
static const char *pass_name(Fuse *f, int op)
{
    const char *name = xprintf("pass_%s", c_name(f->g->op[op].path));

    while (*names_at(&f->layer, name) == 1)
        name = xprintf("%s_of_it", name);
    return name;
}

static void name_kernel(Fuse *f)
{
    Kernel *k = f->k;
    const Op *o = &f->g->op[k->op];

    k->layer = o->layer;
    k->name = k->kind == KERNEL_LOSS ? "loss" : k->kind == KERNEL_PASS ? pass_name(f, k->op) : c_name(o->layer);
    k->tag = k->name;
    if (k->w) {
        k->w->wparam = graph_param(f->g, k->op, PARAM_WEIGHT);
        k->w->bparam = graph_param(f->g, k->op, PARAM_BIAS);
    }
}

static void build_kernel(Fuse *f)
{
    Kernel *k = f->k;

    name_kernel(f);
    if (k->kind == KERNEL_LOSS) {
        const Shape logits = f->g->op[f->g->op[k->op].in].shape;
        Image x = make_image(logits, false, 0, 0, 0, 0, "logits");
        mark_shared(k, &x);
        k->loss->x = add_image(&k->image, &k->nimage, x);
        k->loss->dx = add_image(&k->image, &k->nimage, make_image(logits, false, 0, 0, 0, 0, "dlogits"));
    } else if (k->kind != KERNEL_PASS) {
        weight_images(f);
    } else if (k->op > 0) {
        port_of(f, k->node, "out");
    }
    build_before(f);
    if (k->w)
        build_after(f);
}

/* Backward, in the order in which it runs. */
static void build_kernel_back(Fuse *f)
{
    Kernel *k = f->k;
    const bool weights = k->w != NULL;

    if (weights)
        build_after_back(f);
    build_before_back(f);
    k->has_forward = k->kind != KERNEL_PASS || f->node[k->node].stored || has_norms(&f->node[k->node]);
    k->has_backward = weights || k->back_data;
}

/* The image norms that a chain's stages apply. */
static void add_image_norms(Fuse *f, const Chain *c)
{
    Kernel *k = f->k;

    for (int r = 0; r < c->n; r++)
        for (int s = 0; s < c->run[r].nstep; s++) {
            const int op = c->run[r].step[s].op;
            if (op < 0 || !op_is_image_norm(f->g->op[op].kind) || f->image_norm[op] == f->kernel)
                continue;
            f->image_norm[op] = f->kernel;
            *PUSH(k->image_norm, k->nimage_norm) = (ImageNorm){.op = op};
        }
}

static void name_chain(Fuse *f, const Chain *c)
{
    add_aliases(f, c);
    add_image_norms(f, c);
}

static int by_op_of(const void *a, const void *b)
{
    return (*(const Alias *const *)a)->op - (*(const Alias *const *)b)->op;
}

/* Names for what the kernel's stages, and those that take statistics of its node, are given. */
static void all_aliases(Fuse *f)
{
    Kernel *k = f->k;
    const Tensor *nd = k->node >= 0 ? &f->node[k->node] : NULL;

    names_clear(&f->alias);
    for (int i = 0; i < k->nin; i++)
        name_chain(f, &k->before[i]);
    name_chain(f, kernel_chain(k, CHAIN_AFTER));
    name_chain(f, kernel_chain(k, CHAIN_AGAIN));
    name_chain(f, kernel_chain(k, CHAIN_DOUT));
    for (int i = 0; i < k->nin && k->din; i++)
        name_chain(f, &k->din[i]);
    name_chain(f, &k->trace);
    for (int i = 0; nd && i < nd->nnorm; i++)
        add_alias(f, nd->norm[i]);
    for (int i = 0; nd && i < nd->nimage_norm; i++)
        add_alias(f, nd->image_norm[i]);
    k->alias_by_op = xalloc(sizeof *k->alias_by_op * (size_t)k->nalias);
    for (int i = 0; i < k->nalias; i++)
        k->alias_by_op[i] = &k->alias[i];
    if (k->nalias)
        qsort(k->alias_by_op, (size_t)k->nalias, sizeof(const Alias *), by_op_of);
}

/* ---- inference ---- */

/* How the nodes of inference lie: as the first conv that reads one unchanged packs it, else without a halo. */
static void infer_images(Plan *p)
{
    const Graph *g = p->g;

    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        Tensor *nd = &p->infer_node[k->in[0].node];
        if (k->kind == KERNEL_PASS || k->nin != 1 || k->in[0].n || nd->image >= 0 || k->in[0].node == 0)
            continue;
        const Image m = packed_input(p, k->op);
        if (m.plain && nd->readers > 1)
            continue;
        if (m.shape.c != nd->shape[0].c || m.shape.h != nd->shape[0].h || m.shape.w != nd->shape[0].w)
            BUG("%s does not read what is there", g->op[k->op].path);
        nd->image = add_image(&p->infer_image, &p->ninfer_image, m);
    }
    for (int i = 1; i < p->ninfer_node; i++)
        if (p->infer_node[i].image < 0)
            p->infer_node[i].image = add_image(&p->infer_image, &p->ninfer_image,
                                               make_image(p->infer_node[i].shape[0], false, 0, 0, 0, 0, "out"));
}

static bool same_place(const Image *a, const Image *b)
{
    return a->plain == b->plain && a->rows == b->rows && a->cols == b->cols && a->top == b->top && a->left == b->left;
}

static void infer_norms(Fuse *f, const Chain *c, bool after)
{
    for (int i = 0; i < c->n; i++)
        for (int s = 0; s < c->run[i].nstep; s++) {
            const Step *st = &c->run[i].step[s];
            const bool image = st->kind == STEP_FORWARD && op_is_image_norm(f->g->op[st->op].kind);
            if (st->kind != STEP_AFFINE && !image)
                continue;
            Norm *n = plan_norm(f->p, st->op);
            n->place = after ? NORM_EPILOGUE : NORM_PROLOGUE;
            n->kernel = (int)(f->k - f->p->infer);
            n->stopped_by = after ? f->k->w->fold_stop : -1;
            n->inference =
                image ? xprintf("applied in the %s of %s with the statistics of the image at hand",
                                after ? "epilogue" : "prologue", f->k->name)
                      : xprintf(
                            "a multiply-add in the %s of %s: %s", after ? "epilogue" : "prologue", f->k->name,
                            !f->p->fold             ? "folding is off"
                            : after                 ? xprintf("it cannot be folded: %s lies between",
                                              f->k->w->fold_stop >= 0 ? op_info[f->g->op[f->k->w->fold_stop].kind].name
                                                                                      : "a stage")
                            : f->k->in[0].node == 0 ? "folding it forward into weights is wrong at a zero-padded border"
                                                    : "what it normalises is read by others too");
            if (!n->applied) /* it may be already, on another way behind a concat */
                *PUSH(f->p->affine, f->p->naffine) = (Affine){.op = st->op};
            n->applied = true;
        }
}

static void build_infer_kernel(Fuse *f)
{
    Kernel *k = f->k;
    const bool pass = k->kind == KERNEL_PASS;

    name_kernel(f);
    if (k->node > 0) { /* of the input nothing is made, but its statistics are taken */
        Image out = f->p->infer_image[f->node[k->node].image];
        out.name = "out";
        out.given = true;
        if (pass)
            mark_shared(k, &out);
        k->result = add_image(&k->image, &k->nimage, out);
        port_of(f, k->node, "out");
    }
    if (!pass) {
        Image xs = packed_input(f->p, k->op);
        mark_shared(k, &xs);
        const Tensor *nd = &f->node[k->in[0].node];
        k->w->direct =
            k->nin == 1 && k->in[0].n == 0 && k->in[0].node > 0 && same_place(&xs, &f->p->infer_image[nd->image]);
        if (k->w->direct)
            k->w->x = value_place(f, k->in[0].node, "in").image;
        else
            k->w->x = add_image(&k->image, &k->nimage, xs);
        if (k->conv)
            k->conv->plain = xs.plain;
    }
    k->before = xalloc(sizeof *k->before * (size_t)k->nin);
    const bool direct = !pass && k->w->direct;
    if (!direct)
        build_before(f);
    for (int i = 0; i < k->nin && !direct; i++)
        infer_norms(f, &k->before[i], false);
    if (!pass) {
        Forward fw = {.name = "post",
                      .way = &k->w->out,
                      .b = k->w->out.n,
                      .from = {.where = AT_CORE},
                      .store = -1,
                      .ends = true,
                      .to = image_place(k->result, k->image[k->result].shape)};
        build_forward(f, &k->w->after, &k->image, &k->nimage, &fw);
        infer_norms(f, &k->w->after, true);
        for (int i = 0; i < k->w->nfold; i++) {
            Norm *n = plan_norm(f->p, k->w->fold[i]);
            n->kernel = (int)(k - f->p->infer);
            n->inference = xprintf(
                "folded into the weights and bias of %s: nothing but a scale and a shift a channel stands between",
                f->g->op[k->op].path);
        }
    }
    all_aliases(f);
}

/* Whether a way reads a norm's constants from a channel that begins no block. */
static void mark_shifted(Plan *p, const Way *w)
{
    for (int i = 0; i < w->n; i++)
        if (op_is_norm(p->g->op[w->link[i].op].kind) && w->link[i].first % LANES)
            plan_norm(p, w->link[i].op)->shifted = true;
}

static void add_norms(Plan *p)
{
    for (int i = 0; i < p->g->nop; i++) {
        const Shape s = p->g->op[i].shape;
        if (!op_is_norm(p->g->op[i].kind))
            continue;
        *PUSH(p->norm, p->nnorm) =
            (Norm){.op = i, .area = s.h * s.w, .padded = blocks_of(s.c) * LANES, .stopped_by = -1};
        if (s.h * s.w == 1 && op_is_batch_norm(p->g->op[i].kind))
            p->min_batch = 2;
    }
    for (int i = 0; i < p->nkernel; i++)
        for (int w = 0; w < p->kernel[i].nin; w++)
            mark_shifted(p, &p->kernel[i].in[w]);
    for (int i = 0; i < p->ninfer; i++)
        for (int w = 0; w < p->infer[i].nin; w++)
            mark_shifted(p, &p->infer[i].in[w]);
    for (int i = 0; i < p->nnorm; i++)
        p->norm[i].padded += p->norm[i].shifted ? LANES : 0;
}

/* By op, all `value`. */
static int *by_op(const Graph *g, int value)
{
    int *list = xalloc(sizeof *list * (size_t)g->nop);

    for (int i = 0; i < g->nop; i++)
        list[i] = value;
    return list;
}

static Fuse begin_fuse(Plan *p)
{
    const Graph *g = p->g;
    Fuse f = {
        .p = p, .g = g, .node = p->node, .node_of = by_op(g, -1), .aliased = by_op(g, 0), .image_norm = by_op(g, 0)};

    f.has = xalloc(sizeof *f.has * (size_t)(p->nnode > p->ninfer_node ? p->nnode : p->ninfer_node));
    for (int i = p->nnode - 1; i >= 0; i--)
        f.node_of[p->node[i].op] = i;
    for (int i = 0; i < g->nop; i++)
        *names_at(&f.layer, c_name(g->op[i].layer)) = 1;
    return f;
}

void fuse_build(Plan *p)
{
    Fuse fuse = begin_fuse(p), *f = &fuse;
    Trace trace = {.f = f, .image = by_op(p->g, -1), .traced = xalloc((size_t)p->g->nop)};

    add_norms(p);
    for (int i = 0; i < p->nkernel; i++) {
        begin_kernel(f, &p->kernel[i]);
        build_kernel(f);
    }
    for (int i = p->nkernel - 1; i >= 0; i--) {
        begin_kernel(f, &p->kernel[i]);
        build_kernel_back(f);
    }
    for (int i = 0; i < p->nkernel; i++) {
        begin_kernel(f, &p->kernel[i]);
        build_trace(&trace);
        all_aliases(f);
    }
    f->node = p->infer_node;
    f->infer = true;
    infer_images(p);
    for (int i = 0; i < p->ninfer; i++) {
        begin_kernel(f, &p->infer[i]);
        build_infer_kernel(f);
    }
}

static void way_sums(const Plan *p, const Way *w, NormSum **list, int *n)
{
    if (w->node >= 0 && w->n > w->grad && op_is_norm(p->g->op[w->link[w->grad].op].kind))
        *PUSH(*list, *n) = (NormSum){w->link[w->grad].op, w->node, w->link[w->grad].first};
    for (int i = w->node < 0 ? 0 : w->grad; i < w->n; i++)
        for (int s = 0; s < w->link[i].nside; s++)
            way_sums(p, &w->link[i].side[s].way, list, n);
}

int plan_sums(const Plan *p, const Kernel *k, NormSum **list)
{
    int n = 0;

    *list = NULL;
    way_sums(p, kernel_out(k), list, &n);
    for (int i = 0; i < k->nin; i++)
        way_sums(p, &k->in[i], list, &n);
    return n;
}
