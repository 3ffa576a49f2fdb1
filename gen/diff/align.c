/* align.c - which layer of one network is which of the other.
 *
 * Layers are aligned by what they are, so that an inserted layer is an inserted layer and not a change of all after
 * it: the alignment of both lists, in sequence, that has most in common (Needleman and Wunsch 1970). Its weights: kind,
 * and then size, stages, name. Then b is built once more under a's names, so that what follows can compare by name.
 *
 * needs: the graphs of both sides.  sets: pairs, their names, the renamed graph. */
#include "diff.h"
#include "read.h"

#include <string.h>

enum { SAME_KIND = 2, SAME_SIZE = 8, SAME_STAGES = 3, SAME_SHORT_NAME = 1, SAME_NAME = 2 };

static const char *short_name(const SpecLayer *l)
{
    const char *dot = strrchr(l->name, '.');

    return dot ? dot + 1 : l->name;
}

static bool same_kind(const SpecLayer *a, const SpecLayer *b)
{
    const SpecStage *wa = layer_weight(a), *wb = layer_weight(b);

    if (a->form != b->form || !wa != !wb)
        return false;
    if (wa)
        return wa->op == wb->op;
    return a->form != FORM_BARE || strcmp(op_info[a->stage[0].op].stage, op_info[b->stage[0].op].stage) == 0;
}

/* Outputs, and of a conv its window and groups; padding and dilation may differ. */
static bool same_size(const SpecLayer *a, const SpecLayer *b)
{
    const SpecStage *wa = layer_weight(a);
    static const int sizes[] = {ARG_KERNEL, ARG_STRIDE, ARG_GROUPS};

    if (!wa)
        return true;
    bool same = a->out == b->out;
    for (int i = 0; same && wa->op == OP_CONV && i < 3; i++) {
        const Arg x = wa->arg[sizes[i]], y = layer_weight(b)->arg[sizes[i]];
        same = sizes[i] == ARG_GROUPS ? x.count == y.count : x.size[0] == y.size[0] && x.size[1] == y.size[1];
    }
    return same;
}

/* The same stages with the same arguments, a weight op's and a norm's keys aside. */
static bool same_stages(const SpecLayer *a, const SpecLayer *b)
{
    bool same = a->nstage == b->nstage;

    for (int i = 0; same && i < a->nstage; i++) {
        const SpecStage *x = &a->stage[i], *y = &b->stage[i];
        same = x->op == y->op && strcmp(stage_text(x, 2), stage_text(y, 2)) == 0;
    }
    return same;
}

/* How much two layers have in common; 0: they are not of one kind. */
static int likeness(const SpecLayer *a, const SpecLayer *b)
{
    if (!same_kind(a, b))
        return 0;
    return SAME_KIND + SAME_SIZE * same_size(a, b) + SAME_STAGES * same_stages(a, b) +
           SAME_NAME * (strcmp(a->name, b->name) == 0) + SAME_SHORT_NAME * (strcmp(short_name(a), short_name(b)) == 0);
}

static void add_pair(Diff *d, int a, int b)
{
    d->pair = (d->npair & (d->npair - 1)) == 0 ? xgrow(d->pair, (size_t)d->npair * sizeof *d->pair,
                                                       (size_t)(d->npair ? 2 * d->npair : 1) * sizeof *d->pair)
                                               : d->pair;
    d->pair[d->npair][0] = a;
    d->pair[d->npair++][1] = b;
}

/* Layers [first, na) and [first, nb), of which the last `tail` are the same. */
static void align(Diff *d, int first, int tail)
{
    const Spec *a = d->a.g->spec, *b = d->b.g->spec;
    const int na = a->nlayer - tail - first, nb = b->nlayer - tail - first;
    int *score = xalloc(sizeof *score * (size_t)(na + 1) * (size_t)(nb + 1)); /* of what stands after (i, j) */
#define AT(i, j) score[(size_t)(i) * (size_t)(nb + 1) + (size_t)(j)]

    for (int i = na - 1; i >= 0; i--)
        for (int j = nb - 1; j >= 0; j--) {
            const int same = likeness(&a->layer[first + i], &b->layer[first + j]);
            int best = AT(i + 1, j) > AT(i, j + 1) ? AT(i + 1, j) : AT(i, j + 1);
            if (same && AT(i + 1, j + 1) + same > best)
                best = AT(i + 1, j + 1) + same;
            AT(i, j) = best;
        }
    int i = 0, j = 0;
    while (i < na || j < nb) {
        const int same = i < na && j < nb ? likeness(&a->layer[first + i], &b->layer[first + j]) : 0;
        if (same && AT(i, j) == AT(i + 1, j + 1) + same) {
            add_pair(d, first + i, first + j);
            i++, j++;
        } else if (i < na && (j == nb || AT(i, j) == AT(i + 1, j))) {
            add_pair(d, first + i++, -1);
        } else {
            add_pair(d, -1, first + j++);
        }
    }
#undef AT
}

/* A layer that stands alone on both sides under one name, and is the same, has moved: it keeps its name. */
static int moved_from(const Diff *d, int b)
{
    const SpecLayer *l = &d->b.g->spec->layer[b];

    for (int i = 0; i < d->npair; i++)
        if (d->pair[i][0] >= 0 && d->pair[i][1] < 0) {
            const SpecLayer *o = &d->a.g->spec->layer[d->pair[i][0]];
            if (strcmp(o->name, l->name) == 0 && likeness(o, l) >= SAME_KIND + SAME_SIZE)
                return i;
        }
    return -1;
}

/* Whether a name is another's: as it is, or in C, where dots become underscores. */
static bool taken(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        const char *a = names[i], *b = name;
        while (*a && (*a == *b || (strchr("._", *a) && *b && strchr("._", *b))))
            a++, b++;
        if (!*a && !*b)
            return true;
    }
    return false;
}

static void name_pairs(Diff *d)
{
    const Spec *a = d->a.g->spec, *b = d->b.g->spec;
    const char **used = NULL;
    int nused = 0;

    d->name = xalloc(sizeof *d->name * (size_t)(d->npair + 1));
    d->name_b = xalloc(sizeof *d->name_b * (size_t)(d->npair + 1));
    for (int i = 0; i < a->nlayer; i++)
        *PUSH(used, nused) = a->layer[i].name;
    for (int i = 0; i < d->npair; i++) {
        const int x = d->pair[i][0], y = d->pair[i][1];
        if (x >= 0) {
            d->name[i] = a->layer[x].name;
            d->name_b[i] = y >= 0 && strcmp(d->name[i], b->layer[y].name) != 0 ? b->layer[y].name : NULL;
            continue;
        }
        const char *own = b->layer[y].name, *name = own;
        if (moved_from(d, y) < 0)
            for (int k = 1; taken(used, nused, name); k++)
                name = k == 1 ? xprintf("%s_new", own) : xprintf("%s_new%d", own, k);
        d->name[i] = name;
        d->name_b[i] = strcmp(name, own) != 0 ? own : NULL;
        *PUSH(used, nused) = name;
    }
    for (int i = d->npair - 1; i >= 0; i--)
        *names_at(&d->pair_at, d->name[i]) = i + 1;
}

/* b's graph with a's names; as it was where they meet another name of b's in C, which a wanton choice of names can
 * bring about. */
static const Graph *rename_layers(Diff *d)
{
    Spec *s = xalloc(sizeof *s);

    *s = *d->b.g->spec;
    s->name = d->a.g->spec->name;
    SpecLayer *layer = xalloc(sizeof *layer * (size_t)(s->nlayer + 1));
    memcpy(layer, s->layer, sizeof *layer * (size_t)s->nlayer);
    s->layer = layer;
    for (int i = 0; i < d->npair; i++)
        if (d->pair[i][1] >= 0)
            layer[d->pair[i][1]].name = d->name[i];
    Graph *g = graph_build(s);
    if (!g || diag_errors()) {
        diag_drop();
        return d->b.g;
    }
    grad_build(g);
    return g;
}

void diff_align(Diff *d)
{
    const Spec *a = d->a.g->spec, *b = d->b.g->spec;
    const int n = a->nlayer < b->nlayer ? a->nlayer : b->nlayer;
    int first = 0, tail = 0;

    const int whole = SAME_KIND + SAME_SIZE + SAME_STAGES + SAME_NAME + SAME_SHORT_NAME;
    while (first < n && likeness(&a->layer[first], &b->layer[first]) == whole)
        add_pair(d, first, first), first++;
    while (tail < n - first && likeness(&a->layer[a->nlayer - 1 - tail], &b->layer[b->nlayer - 1 - tail]) == whole)
        tail++;
    align(d, first, tail);
    for (int i = tail; i > 0; i--)
        add_pair(d, a->nlayer - i, b->nlayer - i);
    name_pairs(d);
    d->renamed = rename_layers(d);
}
