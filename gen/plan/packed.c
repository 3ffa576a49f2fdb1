/* packed.c - images in scratch: what windows read, what cores read and give back.
 *
 * needs: flow. sets: nothing; fuse.c and infer.c put them into kernels. */
#include "fuse.h"
#include "passes.h"

Image image_make(Shape shape, bool plain, int top, int left, int bottom, int right, const char *name)
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
Image image_for_window(const Graph *g, Shape shape, int op, const char *name)
{
    if (op < 0 || (g->op[op].kind != OP_MAXPOOL && g->op[op].kind != OP_AVGPOOL))
        return image_make(shape, false, 0, 0, 0, 0, name);
    const Op *o = &g->op[op];
    const Sides halo = graph_halo(g, o);
    Image m = image_make(shape, false, halo.before[0], halo.before[1], halo.after[0], halo.after[1], name);
    m.minus_inf = o->kind == OP_MAXPOOL;
    return m;
}

int image_add(Image **list, int *n, Image m)
{
    *PUSH(*list, *n) = m;
    return *n - 1;
}

Place image_place(int image, Shape shape)
{
    return (Place){.where = AT_IMAGE, .image = image, .total = shape.c, .shape = shape};
}

/* The packed input of a weight op: with the halo that its padding asks for. */
Image packed_image(const Plan *p, int op)
{
    const Graph *g = p->g;
    const Op *o = &g->op[op];
    const Shape in = g->op[o->in].shape;

    if (o->kind != OP_CONV)
        return image_make(in, o->kind == OP_EMBED, 0, 0, 0, 0, "xs");
    Image m = image_make(in, in.c <= PLAIN_MAX && o->groups == 1, o->padding[0], o->padding[1], o->after[0],
                         o->after[1], "xs");
    winograd_grow_x(p, op, &m);
    return m;
}

/* An image of which paths write parts that begin no block: its padding channels must be cleared. */
void packed_shared(const Kernel *k, Image *m)
{
    for (int w = 0; w < k->nin; w++)
        m->shared |= k->in[w].first % LANES != 0 || (k->in[w].shape[k->in[w].n].c % LANES != 0 && k->nin > 1);
}
