/* trace.c - what a trace hands out: every op on its own, each value an image.
 *
 * needs: flow, ports. sets: Kernel.trace, .trace_image, .trace_core, .trace_pack. */
#include "fuse.h"

static int trace_image(Trace *t, Shape shape, int op, const char *name)
{
    Kernel *k = t->f->k;

    return image_add(&k->trace_image, &k->ntrace_image, image_for_window(t->f->g, shape, op, name));
}

static PixelPass *trace_pass(Trace *t, Shape shape, int window, int from, int to)
{
    Kernel *k = t->f->k;
    PixelPass *r = pass_add(&k->trace, xprintf("trace%d", t->passes++), shape, window >= 0 ? 1 : 0, 2);

    r->window = window;
    r->from = from >= 0 ? image_place(from, k->trace_image[from].shape) : no_place;
    r->to = image_place(to, k->trace_image[to].shape);
    return r;
}

static int trace_value(Trace *t, int v);

/* A tensor's value, from what is stored of it, at `to`. */
static void trace_tensor_to(Trace *t, int tensor, Place to)
{
    Fuse *f = t->f;
    const Tensor *nd = &f->tensor[tensor];
    Path *w = xalloc(sizeof *w);

    *w =
        (Path){.tensor = tensor, .link = nd->link, .shape = nd->shape, .n = nd->nlink, .total = nd->shape[nd->nlink].c};
    const int first = f->k->ntrace_image;
    const Forward fw = {.name = xprintf("trace%d_", t->passes++),
                        .path = w,
                        .b = w->n,
                        .from = fuse_value(f, tensor, "in"),
                        .store = -1,
                        .to = to};
    pass_forward(f, &f->k->trace, &f->k->trace_image, &f->k->ntrace_image, &fw);
    for (int i = first; i < f->k->ntrace_image; i++)
        f->k->trace_image[i].name = NULL; /* handed out by the kernel that makes the tensor */
}

static int trace_tensor(Trace *t, int tensor)
{
    const Tensor *nd = &t->f->tensor[tensor];
    const Shape shape = nd->shape[nd->nlink];
    const int image = trace_image(t, shape, -1, NULL);

    trace_tensor_to(t, tensor, image_place(image, shape));
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
    trace_pass(t, shape, -1, from, copy);
    return copy;
}

/* What op v is called when it is handed out; NULL: it was. */
static const char *trace_name(Trace *t, int v)
{
    const char *name = t->traced[v] ? NULL : t->f->g->op[v].path;

    t->traced[v] = true;
    return name;
}

/* The tensor that is op v's output, if a kernel before made it; else -1. */
static int made_before(const Trace *t, int v)
{
    const Kernel *k = t->f->k;
    const int tensors = k->kind == KERNEL_LOSS ? t->f->p->ntensor : k->tensor, tensor = t->f->tensor_of[v];

    return tensor < tensors ? tensor : -1;
}

/* The operands of concat v in sequence; one that is a concat, and was handed out, is not made again: its own operands
 * stand for it. */
static int *concat_operands(const Trace *t, int v, int *n)
{
    const Op *list = t->f->g->op;
    int *flat = NULL, *todo = NULL, ntodo = 0;

    *n = 0;
    *PUSH(todo, ntodo) = v;
    while (ntodo > 0) {
        const int at = todo[--ntodo];
        const bool open =
            at == v || (list[at].kind == OP_CONCAT && t->traced[at] && t->image[at] < 0 && made_before(t, at) < 0);
        for (int i = list[at].nin - 1; open && i >= 0; i--)
            *PUSH(todo, ntodo) = list[at].ins[i];
        if (!open)
            *PUSH(flat, *n) = at;
    }
    return flat;
}

static void trace_concat(Trace *t, int v)
{
    Fuse *f = t->f;
    Kernel *k = f->k;
    const Op *op = &f->g->op[v];
    const char *name = trace_name(t, v);
    int n, first = 0, *in = concat_operands(t, v, &n), *image = xalloc(sizeof *image * (size_t)n);

    for (int i = 0; i < n; i++)
        image[i] = t->image[in[i]] < 0 && made_before(t, in[i]) >= 0 ? -1 : trace_value(t, in[i]);
    const int to = trace_image(t, op->shape, -1, name);
    k->trace_image[to].shared = true;
    for (int i = 0; i < n; i++) {
        const Shape shape = f->g->op[in[i]].shape;
        const Place part = place_part(image_place(to, op->shape), first);
        if (image[i] < 0)
            trace_tensor_to(t, made_before(t, in[i]), part);
        else
            trace_pass(t, shape, -1, image[i], to)->to = part;
        first += shape.c;
    }
    set_image(t, v, to);
}

static void trace_add(Trace *t, int v)
{
    const Op *op = &t->f->g->op[v];
    const char *name = trace_name(t, v);
    int *in = xalloc(sizeof *in * (size_t)op->nin);

    for (int i = 0; i < op->nin; i++)
        in[i] = trace_value(t, op->ins[i]);
    const int to = trace_image(t, op->shape, -1, name);
    for (int i = 0; i < op->nin; i++)
        trace_pass(t, op->shape, -1, in[i], to)->adds = i > 0;
    set_image(t, v, to);
}

static void trace_core(Trace *t, int v)
{
    Kernel *k = t->f->k;
    const Op *op = &t->f->g->op[v];
    const int to = trace_image(t, op->shape, -1, trace_name(t, v));

    k->trace_core = k->trace.n;
    PixelPass *r = trace_pass(t, op->shape, -1, -1, to);
    r->from = (Place){.where = k->conv ? AT_CORE : AT_IMAGE, .image = -1, .total = op->shape.c, .shape = op->shape};
    r->bias = k->kind == KERNEL_LINEAR && op->bias;
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
        PixelPass *r = trace_pass(t, op->shape, -1, in, mask);
        pass_step(r, STEP_MASK, v, 0, 1);
        r->last = 1;
    }
    const int to = trace_image(t, op->shape, -1, name);
    PixelPass *r = trace_pass(t, op->shape, window ? v : -1, in, to);
    if (!window) {
        const Link link = {.op = v};
        pass_point(f, r, &link, 0, 1);
        r->last = 1;
    }
    set_image(t, v, to);
}

/* The image of op v's output: back along the stages to what has one, then forward. What recurs is a join in a join. */
static int trace_value(Trace *t, int v)
{
    Fuse *f = t->f;
    const Kernel *k = f->k;
    int *stage = NULL, nstage = 0, at = v;

    for (; t->image[at] < 0; at = f->g->op[at].in) {
        const OpKind kind = f->g->op[at].kind;
        if (made_before(t, at) >= 0)
            set_image(t, at, trace_tensor(t, made_before(t, at)));
        else if (kind == OP_CONCAT)
            trace_concat(t, at);
        else if (kind == OP_ADD)
            trace_add(t, at);
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

/* From the image of op v's output to the packed input of the kernel's core. */
static void trace_pack(const Trace *t, int v)
{
    Kernel *k = t->f->k;
    const Shape shape = t->f->g->op[v].shape;
    PixelPass *r = pass_add(&k->trace_pack, "packed", shape, 0, 2);

    r->from = image_place(t->image[v], shape);
    r->to = image_place(k->w->x, shape);
}

void trace_build(Trace *t)
{
    const Fuse *f = t->f;
    Kernel *k = f->k;

    t->passes = 0;
    if (k->kind != KERNEL_PASS)
        trace_value(t, f->g->op[k->op].in); /* of the input itself nothing is handed out */
    if (k->kind != KERNEL_LOSS && k->op > 0)
        trace_value(t, f->tensor[k->tensor].op);
    if (k->trace_core >= 0 && !kernel_is_apart(k)) /* whose rows are still there when it is traced */
        trace_pack(t, f->g->op[k->op].in);
    while (t->nset > 0)
        t->image[t->set[--t->nset]] = -1;
}
