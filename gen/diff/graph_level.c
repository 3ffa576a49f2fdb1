/* graph_level.c - what differs in the graphs, a layer at a time.
 *
 * needs: the pairs of layers.  sets: level[LEVEL_GRAPH]. */
#include "levels.h"

#include <string.h>

const char *graph_op_text(const Graph *g, int i)
{
    return op_text(g->op[i].kind, g->op[i].arg, g->dims, false);
}

typedef struct Ops {
    const Graph *g;
    int first, n; /* a layer's */
} Ops;

static Ops ops_of(const Graph *g, const char *layer)
{
    Ops o = {g, 0, 0};

    for (int i = 1; i < g->nop - 1; i++)
        if (strcmp(g->op[i].layer, layer) == 0)
            o.first = o.n++ ? o.first : i;
    return o;
}

static const Op *op_at(const Ops *o, int i)
{
    return &o->g->op[o->first + i];
}

static const char *text_at(const Ops *o, int i)
{
    return graph_op_text(o->g, o->first + i);
}

static bool same_op_at(const Ops *x, int i, const Ops *y, int j)
{
    const Op *a = op_at(x, i), *b = op_at(y, j);

    return a->kind == b->kind && strcmp(text_at(x, i), text_at(y, j)) == 0;
}

static const char *ops_text(const Ops *o)
{
    Buf b = {0};

    for (int i = 0; i < o->n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", text_at(o, i));
    return b.text;
}

/* For each stage of x, which of y it is, by what it does and which of several such: -1: none. */
static void match_stages(const Ops *x, const Ops *y, int *to)
{
    for (int i = 0; i < x->n; i++) {
        int nth = 0;
        to[i] = -1;
        for (int k = 0; k < i; k++)
            nth += same_op_at(x, k, x, i);
        for (int j = 0; j < y->n && to[i] < 0; j++)
            if (same_op_at(y, j, x, i) && nth-- == 0)
                to[i] = j;
    }
}

/* "relu moved in front of bn": what changed sides with what. */
static const char *moves_text(const Ops *x, const Ops *y)
{
    int *to = xalloc(sizeof *to * (size_t)(x->n + 1)), *back = xalloc(sizeof *back * (size_t)(y->n + 1));
    Buf b = {0};

    match_stages(x, y, to);
    match_stages(y, x, back);
    for (int i = 0; i < x->n; i++)
        if (to[i] < 0)
            buf_printf(&b, "%s%s is gone", b.len ? "; " : "", text_at(x, i));
    for (int j = 0; j < y->n; j++)
        if (back[j] < 0)
            buf_printf(&b, "%s%s is new%s", b.len ? "; " : "", text_at(y, j),
                       j          ? xprintf(", after %s", text_at(y, j - 1))
                       : y->n > 1 ? xprintf(", in front of %s", text_at(y, 1))
                                  : "");
    /* the stage that crossed most is the one that moved; of a pair, the one that is no weight op */
    for (;;) {
        int most = 0, who = -1;
        for (int i = 0; i < x->n; i++) {
            int crossed = 0;
            for (int k = 0; k < x->n && to[i] >= 0; k++)
                crossed += to[k] >= 0 && ((k < i) != (to[k] < to[i]));
            crossed = crossed ? 4 * crossed + 2 * (op_info[op_at(x, i)->kind].cls != CLASS_WEIGHT) +
                                    !op_is_batch_norm(op_at(x, i)->kind)
                              : 0;
            if (crossed > most) {
                most = crossed;
                who = i;
            }
        }
        if (who < 0)
            return b.text;
        Buf front = {0}, after = {0};
        for (int k = 0; k < x->n; k++)
            if (to[k] >= 0 && (k < who) != (to[k] < to[who])) {
                Buf *side = k < who ? &front : &after;
                buf_printf(side, "%s%s", side->len ? " and " : "", text_at(x, k));
            }
        buf_printf(&b, "%s%s moved", b.len ? "; " : "", text_at(x, who));
        if (front.len)
            buf_printf(&b, " in front of %s", front.text);
        if (after.len)
            buf_printf(&b, "%s after %s", front.len ? "," : "", after.text);
        to[who] = -1;
    }
}

static const char *bias_text(const Op *op)
{
    return op->bias_why ? op->bias_why : op->bias ? "there, as the spec says" : "none, as the spec says";
}

static const Op *weight_op(const Ops *o)
{
    for (int i = 0; i < o->n; i++)
        if (op_info[op_at(o, i)->kind].cls == CLASS_WEIGHT)
            return op_at(o, i);
    return NULL;
}

static const char *shape_text(Shape s)
{
    return xprintf("%d x %d x %d", s.c, s.h, s.w);
}

static int64_t weights_of(const Ops *o)
{
    int64_t sum = 0;

    for (int i = 0; i < o->g->nparam; i++) {
        const Param *p = &o->g->param[i];
        int64_t n = 1;
        for (int k = 0; k < p->ndim; k++)
            n *= p->dim[k];
        if (p->role < PARAM_MEAN && p->op >= o->first && p->op < o->first + o->n)
            sum += n;
    }
    return sum;
}

/* A joint or first op reads what is not just the op before it. */
static const char *sources_text(const Ops *o)
{
    const Op *op = op_at(o, 0);
    Buf b = {0};

    if (op->nin == 1 && op->in == o->first - 1)
        return NULL;
    for (int k = 0; k < op->nin; k++)
        buf_printf(&b, "%s%s", k ? ", " : "", o->g->op[op->ins[k]].path);
    return b.text;
}

static const char *amount(double v)
{
    return number_text(v);
}

/* Stages that are the same words in both, but for arguments that keys give: a conv's window, a norm's eps. */
static void argument_rows(Diff *d, const char *name, const Ops *x, const Ops *y)
{
    const int dims =
        x->g->dims == y->g->dims ? x->g->dims : 2; /* else a length's and an image's 3 would read the same */

    for (int i = 0; i < x->n && i < y->n; i++) {
        const Op *a = op_at(x, i), *b = op_at(y, i);
        if (a->kind == b->kind && diff_same_text(text_at(x, i), text_at(y, i)) &&
            !op_same_args(a->kind, a->arg, b->arg))
            diff_row(d, LEVEL_GRAPH, "arguments", name, op_text(a->kind, a->arg, dims, true),
                     op_text(b->kind, b->arg, dims, true), NULL);
    }
}

static void graph_layer(Diff *d, const char *name)
{
    const Ops x = ops_of(d->a.g, name), y = ops_of(d->renamed, name);

    if (!x.n && !y.n)
        return; /* the identity: no op */
    if (!x.n || !y.n) {
        const Ops *o = x.n ? &x : &y;
        const char *line = xprintf("%s: %s, %s weights", ops_text(o), shape_text(op_at(o, o->n - 1)->shape),
                                   amount((double)weights_of(o)));
        diff_row(d, LEVEL_GRAPH, "layer", name, x.n ? line : NULL, y.n ? line : NULL, NULL);
        return;
    }
    diff_row(d, LEVEL_GRAPH, "stages", name, ops_text(&x), ops_text(&y), moves_text(&x, &y));
    argument_rows(d, name, &x, &y);
    const Op *wx = weight_op(&x), *wy = weight_op(&y);
    const bool bias = wx && wy && wx->bias != wy->bias;
    if (bias)
        diff_row(d, LEVEL_GRAPH, "bias", name, bias_text(wx), bias_text(wy), NULL);
    diff_row(d, LEVEL_GRAPH, "output", name, shape_text(op_at(&x, x.n - 1)->shape),
             shape_text(op_at(&y, y.n - 1)->shape), NULL);
    diff_row(d, LEVEL_GRAPH, "reads", name, sources_text(&x), sources_text(&y), NULL);
    if (!bias && diff_same_text(ops_text(&x), ops_text(&y))) /* else that is why */
        diff_row(d, LEVEL_GRAPH, "weights", name, amount((double)weights_of(&x)), amount((double)weights_of(&y)), NULL);
}

static const char *input_text(const Graph *g)
{
    const Shape s = g->op[0].shape;

    return g->dims == 1 ? xprintf("%d x %d", s.c, s.w) : shape_text(s);
}

void diff_graph_level(Diff *d)
{
    diff_row(d, LEVEL_GRAPH, "input", NULL, input_text(d->a.g), input_text(d->renamed), NULL);
    diff_row(d, LEVEL_GRAPH, "classes", NULL, xprintf("%d", d->a.g->spec->classes),
             xprintf("%d", d->renamed->spec->classes), NULL);
    for (int i = 0; i < d->npair; i++)
        if (d->pair[i][0] >= 0 || diff_other_half(d, i) < 0)
            graph_layer(d, d->name[i]);
}
