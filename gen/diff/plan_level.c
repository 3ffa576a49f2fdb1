/* plan_level.c - what differs in the plans: what is stored, what each kernel does, where norms are at inference.
 *
 * needs: both plans, b's under a's names.  sets: level[LEVEL_PLAN], level[LEVEL_INFER]. */
#include "levels.h"
#include "words.h"

#include <string.h>

/* ---- plan ---- */

static const Kernel *kernel_named(const Plan *p, const char *name)
{
    for (int i = 0; i < p->nkernel; i++)
        if (strcmp(p->kernel[i].name, name) == 0)
            return &p->kernel[i];
    return NULL;
}

/* A layer's pass, under whatever name, that the other side does not have under its own. */
static const Kernel *pass_of(const Plan *p, const Plan *other, const Kernel *like)
{
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        if (k->kind == KERNEL_PASS && strcmp(k->layer, like->layer) == 0 && !kernel_named(other, k->name))
            return k;
    }
    return NULL;
}

static const char *stored_text(const KernelWords *w, bool size)
{
    return size && w->stored_size ? xprintf("%s, %s", w->stored, w->stored_size) : w->stored;
}

static const char *kernel_line(const KernelWords *w)
{
    return xprintf("%s; before: %s%s%s%s%s", w->kind, w->before, w->after ? "; after: " : "", w->after ? w->after : "",
                   w->stored ? "; stored: " : "", w->stored ? stored_text(w, true) : "");
}

static void kernel_rows(Diff *d, const Kernel *x, const Kernel *y)
{
    const KernelWords a = x ? plan_words(d->a.p, x) : (KernelWords){0},
                      b = y ? plan_words(d->b.p, y) : (KernelWords){0};
    const Kernel *any = x ? x : y;
    const char *where = any->w ? any->layer : any->kind == KERNEL_LOSS ? "loss" : any->name;

    if (!x || !y) {
        diff_row(d, LEVEL_PLAN, "kernel", where, x ? kernel_line(&a) : NULL, y ? kernel_line(&b) : NULL, NULL);
        return;
    }
    if (strcmp(x->name, y->name) != 0)
        diff_row(d, LEVEL_PLAN, "name", where, x->name, y->name, NULL);
    diff_row(d, LEVEL_PLAN, "kind", where, a.kind, b.kind, NULL);
    diff_row(d, LEVEL_PLAN, "reads", where, a.reads, b.reads, NULL);
    diff_row(d, LEVEL_PLAN, "before", where, a.before, b.before, NULL);
    diff_row(d, LEVEL_PLAN, "after", where, a.after, b.after, NULL);
    const bool resized = !diff_same_text(a.stored_size, b.stored_size);
    diff_row(d, LEVEL_PLAN, "stored", where, stored_text(&a, resized), stored_text(&b, resized),
             b.stored_why ? b.stored_why : a.stored_why);
    diff_row(d, LEVEL_PLAN, "tile", where, a.tile, b.tile, NULL);
    diff_row(d, LEVEL_PLAN, "frozen", where, a.frozen, b.frozen, NULL);
}

/* Which kernels are byte-identical. */
const char *diff_identical(const Diff *d)
{
    const char *name = d->a.g->spec->name;
    int same = 0, all = 0, cores = 0, cores_same = 0;
    Buf differ = {0};

    for (int i = 0; i < d->level[LEVEL_C].nfile; i++) {
        const DiffFile *f = &d->level[LEVEL_C].file[i];
        if (strncmp(f->name, "core_", 5) == 0) {
            cores++;
            cores_same += f->in_a && f->in_b && !f->lines;
        }
    }
    for (int i = 0; i < d->a.p->nkernel; i++) {
        const char *file = xprintf("%s_%s.c", name, d->a.p->kernel[i].name);
        bool is = false;
        for (int k = 0; k < d->level[LEVEL_C].nfile; k++) {
            const DiffFile *f = &d->level[LEVEL_C].file[k];
            is |= strcmp(f->name, file) == 0 && f->in_a && f->in_b && !f->lines;
        }
        all++;
        same += is;
        if (!is)
            buf_printf(&differ, "%s%s", differ.len ? ", " : "", d->a.p->kernel[i].name);
    }
    if (same == all)
        return xprintf("byte-identical: all %d kernels", all);
    return xprintf("byte-identical: %d of %d kernels, %s cores (the loops, which know no order)%s%s", same, all,
                   cores_same == cores ? "all" : xprintf("%d of %d", cores_same, cores),
                   all - same <= 8 ? "; different: " : "", all - same <= 8 ? differ.text : "");
}

void diff_plan_level(Diff *d)
{
    const Plan *a = d->a.p, *b = d->b.p;
    bool *taken = xalloc((size_t)b->nkernel + 1);

    for (int i = 0; i < a->nkernel; i++) {
        const Kernel *x = &a->kernel[i], *y = kernel_named(b, x->name);
        if (!y && x->kind == KERNEL_PASS && (y = pass_of(b, a, x)) && taken[y - b->kernel])
            y = NULL;
        if (y)
            taken[y - b->kernel] = true;
        kernel_rows(d, x, y);
    }
    for (int i = 0; i < b->nkernel; i++)
        if (!taken[i])
            kernel_rows(d, NULL, &b->kernel[i]);
}

/* ---- inference ---- */

static const char *norm_place_text(const Plan *p, const char *path)
{
    for (int i = 0; i < p->nnorm; i++)
        if (strcmp(p->g->op[p->norm[i].op].path, path) == 0)
            return p->norm[i].inference ? p->norm[i].inference : "as it is";
    return NULL;
}

void diff_infer_level(Diff *d)
{
    const Plan *a = d->a.p, *b = d->b.p;

    for (int i = 0; i < a->nnorm; i++) {
        const char *path = a->g->op[a->norm[i].op].path;
        diff_row(d, LEVEL_INFER, "norm", path, norm_place_text(a, path), norm_place_text(b, path), NULL);
    }
    for (int i = 0; i < b->nnorm; i++) {
        const char *path = b->g->op[b->norm[i].op].path;
        if (!norm_place_text(a, path))
            diff_row(d, LEVEL_INFER, "norm", path, NULL, norm_place_text(b, path), NULL);
    }
    if (a->ninfer != b->ninfer)
        diff_row(d, LEVEL_INFER, "kernels", NULL, xprintf("%d", a->ninfer), xprintf("%d", b->ninfer), NULL);
}
