/* fuse.c - kernels with their paths -> chains of passes over pixels.
 *
 * needs: flow_build, of training and of inference.
 * sets:  chains of passes over pixels, images in scratch, ports, aliases, what happens to each norm at inference. No
 * cores, no offsets.
 *
 * The rules are in flow.h, pixel_pass.h and docs/kernels.md. They are stated over stages and their needs; no order is
 * special.
 */
#include "fuse.h"
#include "passes.h"

static void build_kernel(Fuse *f)
{
    Kernel *k = f->k;

    fuse_name(f);
    if (k->kind == KERNEL_LOSS) {
        const Shape logits = f->g->op[f->g->op[k->op].in].shape;
        Image x = image_make(logits, false, 0, 0, 0, 0, "logits");
        packed_shared(k, &x);
        k->loss->x = image_add(&k->image, &k->nimage, x);
        k->loss->dx = image_add(&k->image, &k->nimage, image_make(logits, false, 0, 0, 0, 0, "dlogits"));
    } else if (k->kind != KERNEL_PASS) {
        k->learns = op_learns(&f->g->op[k->op]);
        chain_images(f);
    } else if (k->op > 0) {
        fuse_port(f, k->tensor, "out");
    }
    chain_before(f);
    if (k->w)
        chain_after(f);
}

/* Backward, in the order in which it runs. */
static void build_kernel_back(Fuse *f)
{
    Kernel *k = f->k;

    if (k->w && f->g->op[k->op].output_grad)
        chain_after_back(f);
    chain_before_back(f);
    k->has_forward = k->kind != KERNEL_PASS || f->tensor[k->tensor].stored || tensor_has_norms(&f->tensor[k->tensor]);
    k->has_backward = k->learns || k->back_data;
}

/* Whether a path reads a norm's constants from a channel that begins no block. */
static void mark_shifted(Plan *p, const Path *w)
{
    for (int i = 0; i < w->n; i++)
        if (op_is_norm(p->g->op[w->link[i].op].kind) && w->link[i].first % LANES)
            plan_norm(p, w->link[i].op)->shifted = true;
}

static void add_norms(Plan *p)
{
    for (int i = 0; i < p->g->nop; i++) {
        const Shape s = p->g->op[i].shape;
        const Op *o = &p->g->op[i];
        for (int place = PLACE_INPUT; place < PLACES && !o->frozen; place++) {
            const PlaceNorm *n = op_place(o->kind, o->arg, (CellPlace)place);
            if (place_is_bn(n) && (n->step || p->g->op[o->in].shape.w == 1))
                p->min_batch = 2;
        }
        if (!op_is_norm(p->g->op[i].kind))
            continue;
        *PUSH(p->norm, p->nnorm) =
            (Norm){.op = i, .area = s.h * s.w, .padded = blocks_of(s.c) * LANES, .stopped_by = -1};
        if (s.h * s.w == 1 && op_is_batch_norm(p->g->op[i].kind) && !op_is_still(&p->g->op[i]))
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
    Fuse f = {.p = p,
              .g = g,
              .tensor = p->tensor,
              .tensor_of = by_op(g, -1),
              .aliased = by_op(g, 0),
              .image_norm = by_op(g, 0)};

    f.has = xalloc(sizeof *f.has * (size_t)(p->ntensor > p->ninfer_tensor ? p->ntensor : p->ninfer_tensor));
    for (int i = p->ntensor - 1; i >= 0; i--)
        f.tensor_of[p->tensor[i].op] = i;
    for (int i = 0; i < g->nop; i++)
        *names_at(&f.layer, fuse_c_name(g->op[i].layer)) = 1;
    return f;
}

void fuse_build(Plan *p)
{
    Fuse fuse = begin_fuse(p), *f = &fuse;
    Trace trace = {.f = f, .image = by_op(p->g, -1), .traced = xalloc((size_t)p->g->nop)};

    add_norms(p);
    for (int i = 0; i < p->nkernel; i++) {
        fuse_begin(f, &p->kernel[i]);
        build_kernel(f);
    }
    for (int i = p->nkernel - 1; i >= 0; i--) {
        fuse_begin(f, &p->kernel[i]);
        build_kernel_back(f);
    }
    for (int i = 0; i < p->nkernel; i++) {
        fuse_begin(f, &p->kernel[i]);
        trace_build(&trace);
        fuse_aliases(f);
    }
    f->tensor = p->infer_tensor;
    f->infer = true;
    infer_images(p);
    for (int i = 0; i < p->ninfer; i++) {
        fuse_begin(f, &p->infer[i]);
        infer_kernel(f);
    }
}
