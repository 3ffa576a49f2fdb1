/* draw_diff.c - two pictures -> what of either is gone, came, moved or changed.
 *
 * needs: two pictures. sets: every `change`.
 *
 * Kernels are aligned in order, so that the sum of what pairs have in common is largest: a core, a name, a kind. Stages
 * of a pair are the same where they stand in the same section and do the same, those of one layer first; whose
 * parameters they read may be called otherwise. Of those left over, a stage of the same kind and layer that is left
 * over in the other picture, too, has moved there. */
#include "draw.h"

#include <string.h>

static int likeness(const Box *a, const Box *b)
{
    const Kernel *k = a->kernel, *l = b->kernel;

    if (!k || !l || k->kind != l->kind)
        return 0;
    const bool name = strcmp(k->name, l->name) == 0,
               core = k->w && l->w && strcmp(k->w->core_name, l->w->core_name) == 0;
    return name || core || k->kind == KERNEL_LOSS ? 1 + 3 * name + 4 * core : 0;
}

/* pair[i]: the box of b that stands for box i of a; -1: none. */
static int *align(const Picture *a, const Picture *b)
{
    const int n = a->nbox, m = b->nbox;
    int *best = xalloc(sizeof *best * (size_t)(n + 1) * (size_t)(m + 1)), *pair = xalloc(sizeof *pair * (size_t)n);

    for (int i = n - 1; i >= 0; i--)
        for (int j = m - 1; j >= 0; j--) {
            const int like = i && j ? likeness(&a->box[i], &b->box[j]) : 0, skip_a = best[(i + 1) * (m + 1) + j],
                      skip_b = best[i * (m + 1) + j + 1];
            const int both = like ? like + best[(i + 1) * (m + 1) + j + 1] : 0;
            best[i * (m + 1) + j] = both >= skip_a && both >= skip_b ? both : skip_a > skip_b ? skip_a : skip_b;
        }
    for (int i = 0; i < n; i++)
        pair[i] = -1;
    for (int i = 0, j = 0; i < n && j < m;) {
        const int like = i && j ? likeness(&a->box[i], &b->box[j]) : 0;
        if (like && best[i * (m + 1) + j] == like + best[(i + 1) * (m + 1) + j + 1])
            pair[i++] = j++;
        else if (best[i * (m + 1) + j] == best[(i + 1) * (m + 1) + j])
            i++;
        else
            j++;
    }
    pair[0] = 0;
    return pair;
}

/* The layer of a's op, as b calls it: that of the kernel paired with the one whose layer it is. */
static const char *layer_in(const Picture *a, const Picture *b, const int *pair, int op)
{
    const char *layer = a->plan->g->op[op].layer;

    for (int i = 1; i < a->nbox; i++)
        if (pair[i] >= 0 && strcmp(a->box[i].kernel->layer, layer) == 0)
            return b->box[pair[i]].kernel->layer;
    return layer;
}

static bool same_layer(const Picture *a, const Picture *b, const int *pair, const Pill *p, const Pill *q)
{
    return p->op < 0 || q->op < 0 ? p->op == q->op
                                  : strcmp(layer_in(a, b, pair, p->op), b->plan->g->op[q->op].layer) == 0;
}

static void compare_pills(const Picture *pa, const Picture *pb, const int *pair, Box *a, Box *b)
{
    for (int strict = 1; strict >= 0; strict--)
        for (int i = 0; i < a->npill; i++)
            for (int j = 0; j < b->npill && a->pill[i].change != SAME; j++) {
                Pill *p = &a->pill[i], *q = &b->pill[j];
                if (q->change != SAME && p->section == q->section && strcmp(p->what, q->what) == 0 &&
                    (!strict || same_layer(pa, pb, pair, p, q)))
                    p->change = q->change = SAME;
            }
    for (int i = 0; i < a->npill; i++) /* a weight op with other numbers, the loss */
        for (int j = 0; j < b->npill; j++)
            if (a->pill[i].section == SECTION_CORE && b->pill[j].section == SECTION_CORE && a->pill[i].change != SAME)
                a->pill[i].change = b->pill[j].change = CHANGED;
}

static void compare_tensors(const Picture *pa, const Picture *pb, Box *a, Box *b)
{
    const Tensor *s = a->tensor, *t = b->tensor;

    if (!s || !t || !s->stored || !t->stored)
        return;
    const Op *o = &pa->plan->g->op[s->stored_op], *q = &pb->plan->g->op[t->stored_op];
    const bool same = o->kind == q->kind && memcmp(&s->shape[0], &t->shape[0], sizeof(Shape)) == 0 &&
                      s->kept == t->kept && s->nroute == t->nroute;
    a->tensor_change = b->tensor_change = same ? SAME : CHANGED;
}

static void find_moved(Picture *a, Picture *b, const int *pair)
{
    for (int i = 0; i < a->nbox; i++)
        for (int k = 0; k < a->box[i].npill; k++) {
            Pill *p = &a->box[i].pill[k];
            bool found = p->change != GONE || p->op < 0;
            for (int j = 0; j < b->nbox; j++)
                for (int l = 0; l < b->box[j].npill && !found; l++) {
                    Pill *q = &b->box[j].pill[l];
                    if (q->change != CAME || q->op < 0 || a->plan->g->op[p->op].kind != b->plan->g->op[q->op].kind ||
                        !same_layer(a, b, pair, p, q))
                        continue;
                    p->change = q->change = MOVED;
                    found = true;
                }
        }
}

static void set_all(Picture *p, Change change)
{
    for (int i = 0; i < p->nbox; i++) {
        p->box[i].change = p->box[i].tensor_change = change;
        for (int k = 0; k < p->box[i].npill; k++)
            p->box[i].pill[k].change = change;
    }
}

void draw_diff(Picture *a, Picture *b)
{
    const int *pair = align(a, b);

    set_all(a, GONE);
    set_all(b, CAME);
    for (int i = 0; i < a->nbox; i++) {
        if (pair[i] < 0)
            continue;
        Box *x = &a->box[i], *y = &b->box[pair[i]];
        x->change = y->change = SAME;
        compare_pills(a, b, pair, x, y);
        compare_tensors(a, b, x, y);
    }
    find_moved(a, b, pair);
}
