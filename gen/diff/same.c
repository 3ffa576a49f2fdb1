/* same.c - sentences about the two as a whole: one network written twice, a rotation, a bias that does nothing.
 *
 * A rotation. In a chain of blocks an order is a cycle: after the last stage of a block stands the first of the next.
 * Two orders that are one cycle begun in two places make the same network except at its first and last layers. Here no
 * order is looked at: the stages between weight ops are compared, and where they differ at the beginning, and at one
 * place more, by the same stages, that is what it is.
 *
 * needs: both graphs, b's under a's names.  sets: notes. */
#include "diff.h"
#include "read.h"

#include <string.h>

static void say(Diff *d, const char *text)
{
    diff_note(&d->note, &d->nnote, text);
}

static bool is_chain(const Graph *g)
{
    for (int i = 1; i < g->nop; i++)
        if (g->op[i].nin != 1 || g->op[i].in != i - 1)
            return false;
    return true;
}

/* The stages between two weight ops: op numbers. */
typedef struct Gap {
    const int *op;
    int n;
    int after, before; /* weight ops; 0 and the loss at the ends */
} Gap;

/* The gaps of a chain, the first before its first weight op. */
static Gap *gaps_of(const Graph *g, int *n)
{
    Gap *gap = NULL;
    int *op = xalloc(sizeof *op * (size_t)g->nop), nop = 0, first = 0, after = 0;

    *n = 0;
    for (int i = 1; i < g->nop; i++) {
        if (i < g->nop - 1 && op_info[g->op[i].kind].cls != CLASS_WEIGHT) {
            op[nop++] = i;
            continue;
        }
        *PUSH(gap, *n) = (Gap){op + first, nop - first, after, i};
        first = nop;
        after = i;
    }
    return gap;
}

static bool same_stage(const Op *a, const Op *b)
{
    return a->kind == b->kind && op_same_args(a->kind, a->arg, b->arg);
}

static bool same_weight_op(const Op *a, const Op *b)
{
    return same_stage(a, b) && a->shape.c == b->shape.c;
}

static bool same_gap(const Diff *d, const Gap *x, const Gap *y)
{
    bool same = x->n == y->n;

    for (int i = 0; same && i < x->n; i++)
        same = same_stage(&d->a.g->op[x->op[i]], &d->renamed->op[y->op[i]]);
    return same;
}

/* Whether `longer` is `shorter` with the n stages of `part` put in somewhere; a chain each. */
static bool has_part(const Graph *gl, const Gap *longer, const Graph *gs, const Gap *shorter, const Graph *gp,
                     const int *part, int n)
{
    if (longer->n != shorter->n + n)
        return false;
    for (int at = 0; at <= shorter->n; at++) {
        bool same = true;
        for (int i = 0; same && i < longer->n; i++) {
            const Op *op = &gl->op[longer->op[i]];
            same = i >= at && i < at + n ? same_stage(op, &gp->op[part[i - at]])
                                         : same_stage(op, &gs->op[shorter->op[i < at ? i : i - n]]);
        }
        if (same)
            return true;
    }
    return false;
}

static const char *stages_text(const Graph *g, const int *op, int n)
{
    Buf b = {0};

    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", graph_op_text(g, op[i]));
    return n ? b.text : "nothing";
}

static const char *place(const Graph *g, const Gap *p)
{
    if (p->after == 0)
        return xprintf("in front of %s", g->op[p->before].path);
    if (p->before == g->nop - 1)
        return xprintf("after %s", g->op[p->after].path);
    return xprintf("between %s and %s", g->op[p->after].path, g->op[p->before].path);
}

/* Biases that one has and the other has not, as words; NULL: none. */
static const char *biases(const Diff *d)
{
    const Graph *a = d->a.g, *b = d->renamed;
    Buf text = {0};

    for (int i = 0; i < a->nop; i++)
        for (int k = 0; op_info[a->op[i].kind].cls == CLASS_WEIGHT && k < b->nop; k++)
            if (strcmp(a->op[i].path, b->op[k].path) == 0 && a->op[i].bias != b->op[k].bias)
                buf_printf(&text, "%s%s has a bias in %s alone", text.len ? ", " : "", a->op[i].path,
                           a->op[i].bias ? "A" : "B");
    return text.text;
}

/* Two chains with the same weight ops. */
static void recognise_rotation(Diff *d)
{
    const Graph *a = d->a.g, *b = d->renamed;
    int na, nb, other = -1, ndiffer = 0;

    if (!is_chain(a) || !is_chain(b))
        return;
    const Gap *x = gaps_of(a, &na), *y = gaps_of(b, &nb);
    bool same = na == nb && a->dims == b->dims && memcmp(&a->op[0].shape, &b->op[0].shape, sizeof a->op[0].shape) == 0;
    for (int i = 0; same && i < na - 1; i++)
        same = same_weight_op(&a->op[x[i].before], &b->op[y[i].before]);
    if (!same)
        return;
    for (int i = 0; i < na; i++)
        if (!same_gap(d, &x[i], &y[i])) {
            ndiffer++;
            other = i;
        }
    if (ndiffer == 0) {
        if (!level_same(&d->level[LEVEL_GRAPH]) && !biases(d))
            say(d, DIFF_CUT " Only how they are cut into layers differs, and so the names.");
        return;
    }
    if (ndiffer != 2 || x[0].n == y[0].n)
        return;
    /* the beginning has more in one, and the other place has as much less */
    const bool more_b = y[0].n > x[0].n;
    const Graph *gm = more_b ? b : a, *gl = more_b ? a : b; /* more at the beginning; less */
    const Gap *m = more_b ? y : x, *l = more_b ? x : y;
    const int n = m[0].n - l[0].n;
    for (int at = 0; at + n <= m[0].n; at++) { /* which of the beginning's stages went there */
        const int *part = m[0].op + at;
        if (!has_part(gm, &m[0], gl, &l[0], gm, part, n) || !has_part(gl, &l[other], gm, &m[other], gm, part, n))
            continue;
        const char *stages = stages_text(gm, part, n);
        say(d,
            xprintf(DIFF_ROTATION " Between the weight ops inside, the same stages stand in both; %s stand%s %s in %s, "
                                  "and %s in %s.",
                    stages, n == 1 ? "s" : "", place(gm, &m[0]), more_b ? "B" : "A", place(gl, &l[other]),
                    more_b ? "A" : "B"));
        const char *bias = biases(d);
        if (bias)
            say(d, xprintf(DIFF_ENDS "%s.", bias));
        say(d, "A comparison of the two as orders would measure the ends: hold them fixed.");
        return;
    }
}

/* The graph that the spec makes when every bias is `auto`: where one is dropped then, it does nothing. */
static const Graph *with_auto_bias(const Graph *g)
{
    Spec *s = xalloc(sizeof *s);

    *s = *g->spec;
    SpecLayer *layer = xalloc(sizeof *layer * (size_t)(s->nlayer + 1));
    memcpy(layer, s->layer, sizeof *layer * (size_t)s->nlayer);
    for (int i = 0; i < s->nlayer; i++)
        layer[i].bias = BIAS_AUTO;
    s->layer = layer;
    Graph *bare = graph_build(s);
    if (!bare || diag_errors())
        diag_drop();
    return bare;
}

/* Whether nothing differs but biases, what `bias` the spec says, and the sizes that follow. */
static bool only_biases(const Diff *d)
{
    const DiffLevel *spec = &d->level[LEVEL_SPEC], *graph = &d->level[LEVEL_GRAPH];

    for (int i = 0; i < spec->nrow; i++)
        if (strcmp(spec->row[i].key, "bias") != 0)
            return false;
    for (int i = 0; i < graph->nrow; i++)
        if (strcmp(graph->row[i].key, "bias") != 0 && strcmp(graph->row[i].key, "weights") != 0)
            return false;
    return true;
}

static void recognise_bias(Diff *d)
{
    const Graph *a = d->a.g, *b = d->renamed, *aa = NULL, *ab = NULL;
    Buf redundant = {0};
    bool all = true, any = false;
    const char *why = NULL;

    for (int i = 0; i < a->nop; i++)
        for (int k = 0; op_info[a->op[i].kind].cls == CLASS_WEIGHT && k < b->nop; k++) {
            const Op *x = &a->op[i], *y = &b->op[k];
            if (strcmp(x->path, y->path) != 0 || x->bias == y->bias)
                continue;
            if (!aa)
                aa = with_auto_bias(a), ab = with_auto_bias(b);
            const Op *bare = x->bias ? (aa ? &aa->op[i] : NULL) : ab ? &ab->op[k] : NULL;
            any = true;
            if (!bare || bare->bias) {
                all = false;
                continue;
            }
            why = bare->bias_why; /* "dropped: ..." */
            why = why && strchr(why, ' ') ? strchr(why, ' ') + 1 : why;
            buf_printf(&redundant, "%s%s", redundant.len ? ", " : "", x->path);
        }
    if (!any || !redundant.len)
        return;
    if (all && only_biases(d))
        say(d, xprintf(DIFF_BUT_FOR_BIAS "%s): %s.", redundant.text, why ? why : "a norm takes it away"));
    else
        say(d, xprintf(DIFF_BIAS "%s): %s.", redundant.text, why ? why : "a norm takes it away"));
}

void diff_recognise(Diff *d)
{
    if (level_same(&d->level[LEVEL_SPEC]) && level_same(&d->level[LEVEL_GRAPH])) {
        size_t na, nb;
        const char *a = file_read_once(d->a.path, MAX_SPEC_BYTES, &na),
                   *b = file_read_once(d->b.path, MAX_SPEC_BYTES, &nb);
        if (strcmp(d->a.text, d->b.text) != 0 || (a && b && strcmp(a, b) != 0))
            say(d, DIFF_EQUAL " once groups, names and defaults are spelled out.");
        return;
    }
    recognise_rotation(d);
    recognise_bias(d);
}
