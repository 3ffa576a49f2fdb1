/* chains.c - the chains of a kernel: before its core and after it, forward and backward.
 *
 * needs: flow, packed images. sets: Kernel.before, .din, .w->after, .again, .dout, with the images that they name. */
#include "fuse.h"
#include "passes.h"

/* ---- packed images ---- */

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

/* The packed images of a weight op. */
void chain_images(Fuse *f)
{
    Kernel *k = f->k;
    const Graph *g = f->g;
    const Op *o = &g->op[k->op];
    Image xs = packed_image(f->p, k->op), dz = image_make(o->shape, false, 0, 0, 0, 0, "dz");
    bool data = false;

    for (int i = 0; i < k->nin; i++)
        data |= path_goes_back(f, &k->in[i]);
    packed_shared(k, &xs);
    const bool back = k->learns || data; /* else there is no dz */
    if (k->conv) {
        k->w->x = image_add(&k->image, &k->nimage, xs);
        k->conv->plain = xs.plain;
        if (data) {
            const Shape in = g->op[o->in].shape;
            int top, bottom, left, right;
            data_halo(in.h, o->shape.h, o->kernel[0], o->stride[0], o->padding[0], o->dilation[0], &top, &bottom);
            data_halo(in.w, o->shape.w, o->kernel[1], o->stride[1], o->padding[1], o->dilation[1], &left, &right);
            dz = image_make(o->shape, false, top, left, bottom, right, "dz");
        }
        winograd_grow_dz(f->p, k->op, data, &dz);
        if (back)
            k->w->dz = image_add(&k->image, &k->nimage, dz);
        return;
    }
    xs.row = dz.row = true;
    k->w->x = image_add(&k->image, &k->nimage, xs);
    if (back)
        k->w->dz = image_add(&k->image, &k->nimage, dz);
    Image y = dz;
    y.name = "y";
    k->rows->y = image_add(&k->image, &k->nimage, y);
    if (data) {
        Image dx = xs;
        dx.name = "dx";
        dx.shared = false;
        k->rows->dx = image_add(&k->image, &k->nimage, dx);
    }
}

/* ---- chains ---- */

static const char *path_name(const char *name, int path)
{
    return path ? xprintf("%s%c%s_", name, 'a' + path % 26, path < 26 ? "" : xprintf("%d", path / 26)) : name;
}

/* What leads to the kernel's core, or what a pass makes. */
void chain_before(Fuse *f)
{
    Kernel *k = f->k;
    const bool pass = k->kind == KERNEL_PASS;

    k->before = xalloc(sizeof *k->before * (size_t)k->nin);
    k->din = xalloc(sizeof *k->din * (size_t)k->nin);
    for (int i = 0; i < k->nin; i++) {
        const Path *w = &k->in[i];
        Forward fw = {.name = path_name(f->infer ? "pre" : "in", i),
                      .path = w,
                      .b = w->n,
                      .from = fuse_value(f, w->tensor, "in"),
                      .store = -1,
                      .to = no_place};
        fw.ends = pass;
        if (pass && !f->infer) {
            fw.store = f->tensor[k->tensor].stored && k->op > 0 ? w->n : -1;
        } else if (kernel_input(k) >= 0) {
            fw.to = place_part(image_place(kernel_input(k), k->image[kernel_input(k)].shape), w->first);
        }
        pass_forward(f, &k->before[i], &k->image, &k->nimage, &fw);
    }
}

/* The same backwards. */
void chain_before_back(Fuse *f)
{
    Kernel *k = f->k;
    const bool pass = k->kind == KERNEL_PASS, conv = k->conv != NULL;
    const bool correct = pass && tensor_has_norms(&f->tensor[k->tensor]);
    Place from = no_place;

    for (int i = 0; i < k->nin; i++)
        k->back_data |= path_goes_back(f, &k->in[i]);
    if (!k->back_data)
        return;
    bool through_core = false, scratch = k->nin > 1; /* windows, and several paths, ask for whole images */
    for (int i = 0; i < k->nin; i++)
        scratch |= k->before[i].n > 1;
    if (pass) {
        from = fuse_gradient(f, k->tensor, "out");
    } else if (!conv) {
        const int dx = k->rows ? k->rows->dx : k->loss->dx;
        from = image_place(dx, k->image[dx].shape);
    } else if (!scratch) {
        from.where = AT_CORE;
    } else {
        const Shape shape = k->image[k->w->x].shape;
        k->conv->dx = image_add(&k->image, &k->nimage, image_make(shape, false, 0, 0, 0, 0, "dx"));
        from = image_place(k->conv->dx, shape);
    }
    for (int i = 0; i < k->nin; i++) {
        const Path *w = &k->in[i];
        if (!path_goes_back(f, w))
            continue;
        Backward b = {.name = path_name("din", i),
                      .path = w,
                      .a = w->grad,
                      .b = w->n,
                      .values = &k->before[i],
                      .correct = correct,
                      .stored = fuse_value(f, w->tensor, "in"),
                      .from = place_part(from, w->first),
                      .to = no_place};
        if (f->tensor[w->tensor].grad)
            b.to = fuse_gradient(f, w->tensor, "in");
        Chain *c = &k->din[i];
        if (conv && scratch && !through_core) { /* the core's results go through scratch; later paths find them there */
            through_core = true;
            const Shape shape = k->image[k->w->x].shape;
            PixelPass *r = pass_add(c, "dx0", shape, w->n, w->n + 1);
            r->back = true;
            r->from.where = AT_CORE;
            r->to = image_place(k->conv->dx, shape);
        }
        pass_backward(f, c, &k->image, &k->nimage, &b);
        /* skip operands were given to while the chain was built, in its order; the path's own tensor comes last */
        if (b.to.where != NOWHERE)
            c->pass[c->n - 1].adds = fuse_gives(f, b.to.port);
    }
}

/* What the stages after a kernel's core do, up to its tensor. */
void chain_after(Fuse *f)
{
    Kernel *k = f->k;
    const bool conv = k->conv != NULL;
    Forward fw = {.name = "out",
                  .path = &k->w->out,
                  .b = k->w->out.n,
                  .from = no_place,
                  .store = k->w->out.grad,
                  .ends = true,
                  .to = no_place,
                  .bias = k->kind == KERNEL_LINEAR && f->g->op[k->op].bias,
                  .keep_route = true};

    fw.from.where = conv ? AT_CORE : AT_IMAGE;
    fw.from.image = k->rows ? k->rows->y : -1;
    fw.from.shape = k->w->out.shape[0];
    fw.from.total = fw.from.shape.c;
    pass_forward(f, &k->w->after, &k->image, &k->nimage, &fw);
    fuse_port(f, k->tensor, "out");
}

void chain_after_back(Fuse *f)
{
    Kernel *k = f->k;
    const Graph *g = f->g;
    const Tensor *nd = &f->tensor[k->tensor];
    const Path *w = &k->w->out;

    /* what backward recomputes: images that windows after the stored tensor read */
    int last_window = -1;
    for (int i = w->grad; i < w->n; i++)
        if (op_is_window(g, w->link[i].op))
            last_window = i;
    Place stored = {.where = AT_SLOT,
                    .image = -1,
                    .port = fuse_port(f, k->tensor, "out"),
                    .total = w->shape[w->grad].c,
                    .shape = w->shape[w->grad]};
    if (last_window >= 0) {
        const int image = image_add(&k->image, &k->nimage,
                                    image_for_window(g, w->shape[last_window], w->link[last_window].op, "again_image"));
        Forward again = {.name = "again",
                         .path = w,
                         .a = w->grad,
                         .b = last_window,
                         .from = stored,
                         .store = -1,
                         .to = image_place(image, w->shape[last_window])};
        pass_forward(f, &k->w->again, &k->image, &k->nimage, &again);
        /* the window itself, so that the backward chain finds the image it reads; emitted code does not walk it */
        PixelPass *r = pass_add(&k->w->again, "again_end", w->shape[last_window + 1], last_window + 1, w->n + 1);
        r->from = image_place(image, w->shape[last_window]);
        r->window = w->link[last_window].op;
    }
    Backward b = {.name = "dout",
                  .path = w,
                  .b = w->n,
                  .origin = w->grad,
                  .values = &k->w->again,
                  .stored = stored,
                  .correct = tensor_has_norms(nd),
                  .from = fuse_gradient(f, k->tensor, "out"),
                  .to = image_place(k->w->dz, k->image[k->w->dz].shape),
                  .bias_grad = k->learns && !kernel_is_apart(k) && g->op[k->op].bias};
    pass_backward(f, &k->w->dout, &k->image, &k->nimage, &b);
    if (last_window >= 0)
        k->w->again.n--;
}
