/* naming.c - what kernels, and what they are given, are called in the emitted code.
 *
 * needs: for aliases, chains. sets: Kernel.name, .tag, .layer, .alias, .image_norm. */
#include "fuse.h"

#include <stdlib.h>
#include <string.h>

const char *fuse_c_name(const char *path)
{
    char *name = xstrdup(path);

    for (char *c = name; *c; c++)
        *c = *c == '.' ? '_' : *c;
    return name;
}

/* pass_<op>, or another name where a layer is called so. */
static const char *pass_name(Fuse *f, int op)
{
    const char *name = xprintf("pass_%s", fuse_c_name(f->g->op[op].path));

    while (*names_at(&f->layer, name) == 1)
        name = xprintf("%s_of_it", name);
    return name;
}

void fuse_name(Fuse *f)
{
    Kernel *k = f->k;
    const Op *o = &f->g->op[k->op];

    k->layer = o->layer;
    k->name = k->kind == KERNEL_LOSS   ? "loss"
              : k->kind == KERNEL_PASS ? pass_name(f, k->op)
                                       : fuse_c_name(op_is_one_way(o) ? o->path : o->layer);
    k->tag = k->name;
    if (k->w) {
        k->w->wparam = graph_param(f->g, k->op, PARAM_WEIGHT);
        k->w->bparam = graph_param(f->g, k->op, PARAM_BIAS);
    }
}

/* ---- aliases ---- */

/* A name for an op that has constants: own stages by their name, those of others with in_ (or, after it, to_) before
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
        for (int s = 0; s < c->pass[r].nstep; s++)
            add_alias(f, c->pass[r].step[s].op);
}

/* The image norms that a chain's stages apply. */
static void add_image_norms(Fuse *f, const Chain *c)
{
    Kernel *k = f->k;

    for (int r = 0; r < c->n; r++)
        for (int s = 0; s < c->pass[r].nstep; s++) {
            const int op = c->pass[r].step[s].op;
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

/* Names for what the kernel's stages, and those that take statistics of its tensor, are given. */
void fuse_aliases(Fuse *f)
{
    Kernel *k = f->k;
    const Tensor *nd = k->tensor >= 0 ? &f->tensor[k->tensor] : NULL;

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
