/* ports.c - what a kernel is given of tensors: what is stored of them, their gradients.
 *
 * needs: flow. sets: Kernel.port, and the images that an inference kernel is given. */
#include "fuse.h"

static int *named(Fuse *f, const char *port)
{
    return &f->nnamed[*port == 'i' ? 0 : *port == 'o' ? 1 : 2];
}

void fuse_begin(Fuse *f, Kernel *k)
{
    f->k = k;
    f->kernel++;
    f->nnamed[0] = f->nnamed[1] = f->nnamed[2] = 0;
    for (int i = 0; i < k->nport; i++) {
        f->has[k->port[i].tensor] = (Has){f->kernel, i, -1};
        ++*named(f, k->port[i].name);
    }
}

/* What the kernel is given of a tensor; `name` ("in", "out", "skip") where it is not given anything of it yet. */
int fuse_port(Fuse *f, int tensor, const char *name)
{
    Kernel *k = f->k;
    Has *has = &f->has[tensor];

    if (has->kernel == f->kernel)
        return has->port;
    const int same = ++*named(f, name);
    *has = (Has){f->kernel, k->nport, -1};
    *PUSH(k->port, k->nport) = (Port){.tensor = tensor, .name = same > 1 ? xprintf("%s%d", name, same) : name};
    return has->port;
}

/* Where what a tensor's readers begin at lies, as kernel k is given it. */
Place fuse_value(Fuse *f, int tensor, const char *name)
{
    Kernel *k = f->k;
    const int port = fuse_port(f, tensor, name);
    Tensor *root = &f->tensor[f->tensor[tensor].root];

    k->port[port].value = true;
    if (f->infer && root->op > 0) {
        Has *has = &f->has[tensor];
        if (has->image < 0) {
            Image m = f->p->infer_image[root->image];
            m.given = true;
            m.name = k->port[port].name;
            has->image = image_add(&k->image, &k->nimage, m);
        }
        return image_place(has->image, root->shape[0]);
    }
    const Shape shape = f->tensor[tensor].shape[0];
    return (Place){
        .where = root->op == 0 ? AT_X : AT_SLOT, .image = -1, .port = port, .total = shape.c, .shape = shape};
}

/* Where a tensor's gradient lies. */
Place fuse_gradient(Fuse *f, int tensor, const char *name)
{
    const int port = fuse_port(f, tensor, name);
    const Tensor *nd = &f->tensor[tensor];
    const Shape shape = nd->shape[nd->nlink];

    f->k->port[port].grad = true;
    return (Place){.where = AT_SLOT, .image = -1, .port = port, .total = shape.c, .shape = shape};
}

Place place_part(Place p, int first)
{
    p.first = first;
    return p;
}

/* Whether the kernel is the first in backward to give to the port's tensor, or adds to what others gave. */
bool fuse_gives(Fuse *f, int port)
{
    Tensor *nd = &f->tensor[f->k->port[port].tensor];
    const bool adds = nd->given;

    nd->given = true;
    return adds;
}
