/* trace.c - what a trace hands out: every op on its own, each value an image.
 *
 * needs: flow, ports. sets: Kernel.trace, .trace_image, .trace_core. */
#include "fuse.h"

static int trace_image(Trace *t, Shape shape, int op, const char *name)
{
    Kernel *k = t->f->k;

    return image_add(&k->trace_image, &k->ntrace_image, image_for_window(t->f->g, shape, op, name));
}

static Run *trace_run(Trace *t, Shape shape, int window, int from, int to)
{
    Kernel *k = t->f->k;
    Run *r = run_add(&k->trace, xprintf("trace%d", t->runs++), shape, window >= 0 ? 1 : 0, 2);

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
                        .from = fuse_value(f, node, "in"),
                        .store = -1,
                        .to = image_place(image, nd->shape[nd->nlink])};
    run_forward(f, &f->k->trace, &f->k->trace_image, &f->k->ntrace_image, &fw);
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

    if ((op->kind != OP_MAXPOOL && op->kind != OP_AVGPOOL) || sides_zero(graph_halo(t->f->g, op)))
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
    const bool window = op_is_window(f->g, v);

    if (op->kind == OP_DROP && name) {
        const int mask = trace_image(t, op->shape, -1, xprintf("mask.%s", op->path));
        Run *r = trace_run(t, op->shape, -1, in, mask);
        run_step(r, STEP_MASK, v, 0, 1);
        r->last = 1;
    }
    const int to = trace_image(t, op->shape, -1, name);
    Run *r = trace_run(t, op->shape, window ? v : -1, in, to);
    if (!window) {
        const Link link = {.op = v};
        run_point(f, r, &link, 0, 1);
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

void trace_build(Trace *t)
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
