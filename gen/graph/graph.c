/* graph.c - Spec -> Graph.
 *
 * needs: a Spec.  sets: the ops in order, orders spelled out and blocks gone, each with its shape; the parameters under
 * PyTorch's names; biases decided; or collected errors and NULL, where shapes do not fit.
 *
 * shapes.c knows shapes, params.c biases and parameters, dump.c the checker. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#define MAX_OPS 16384 /* after orders are spelled out */

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* The stage's name within its block: the kind, numbered from the second on. */
static const char *stage_name(const SpecLayer *l, int k)
{
    const char *kind = op_info[l->stage[k].op].stage;
    int n = 1;
    for (int j = 0; j < k; j++)
        n += strcmp(op_info[l->stage[j].op].stage, kind) == 0;
    return n == 1 ? kind : xprintf("%s%d", kind, n);
}

typedef struct Named {
    const char *c_name; /* dots as underscores */
    const char *name;
    int layer;
} Named;

static int by_c_name(const void *a, const void *b)
{
    const Named *x = a, *y = b;
    int c = strcmp(x->c_name, y->c_name);
    return c ? c : x->layer - y->layer;
}

static const char *in_c(const char *name)
{
    char *c = xstrdup(name);
    for (char *p = c; *p; p++)
        *p = *p == '.' ? '_' : *p;
    return c;
}

/* In C a dot becomes an underscore: "a.bn" and a layer "a_bn" must not meet there. */
static bool check_c_names(const Graph *g)
{
    const Spec *s = g->spec;
    Named *v = xalloc((size_t)(g->nop + s->nlayer) * sizeof *v);
    int n = 0;
    for (int i = 0; i < s->nlayer; i++)
        v[n++] = (Named){in_c(s->layer[i].name), s->layer[i].name, i};
    for (int i = 0; i < g->nop; i++)
        if (g->op[i].stage && g->op[i].layer_index >= 0)
            v[n++] = (Named){in_c(g->op[i].path), g->op[i].path, g->op[i].layer_index};
    qsort(v, (size_t)n, sizeof *v, by_c_name);
    bool ok = true;
    for (int i = 1; i < n; i++)
        if (strcmp(v[i - 1].c_name, v[i].c_name) == 0) {
            diag_error2(s->layer[v[i].layer].name_mark, s->layer[v[i - 1].layer].name_mark,
                        xprintf("'%s' belongs to this layer", v[i - 1].name),
                        "call one of the two layers by another name", "'%s' and '%s' are both called %s in C",
                        v[i].name, v[i - 1].name, v[i].c_name);
            ok = false;
        }
    return ok;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* The layers on their way into ops. */
typedef struct Build {
    Graph *g;
    int *out;   /* of each layer: the op whose output is the layer's; of the input at [-1] */
    int *start; /* of a shortcut: the op before which its own will stand */
} Build;

static Op *add_op(Graph *g, OpKind kind, const int *from, int n, Mark mark)
{
    Op *op = PUSH(g->op, g->nop);
    *op = (Op){.kind = kind, .in = n ? from[0] : -1, .nin = n, .layer_index = -1, .mark = mark, .groups = 1};
    int *ins = xalloc((size_t)(n + 1) * sizeof *ins);
    for (int k = 0; k < n; k++)
        ins[k] = from[k];
    op->ins = ins;
    for (int d = 0; d < 2; d++)
        op->kernel[d] = op->stride[d] = op->dilation[d] = 1;
    return op;
}

/* An op of a layer; NULL and an error where there are too many. */
static Op *add_layer_op(Graph *g, int index, OpKind kind, const int *from, int n, Mark mark)
{
    const SpecLayer *l = &g->spec->layer[index];
    if (g->nop >= MAX_OPS) {
        diag_error(l->mark, NULL, "the network has more than %d stages", MAX_OPS);
        return NULL;
    }
    Op *op = add_op(g, kind, from, n, mark);
    op->layer = op->path = l->name;
    op->layer_index = index;
    op->segment = l->segment;
    op->frozen = l->frozen && op_info[kind].param;
    return op;
}

static void set_args(Op *op, const SpecStage *st)
{
    for (int a = 0; a < OP_ARGS; a++)
        if (op_info[st->op].arg[a].name)
            op->arg[a] = st->arg[a];
}

bool op_is_one_way(const Op *op)
{
    return op_is_recurrent(op->kind) && op->arg[ARG_BOTH_WAYS].count;
}

const Op *graph_both_ways(const Graph *g, int i)
{
    const Op *op = &g->op[i], *in = op->kind == OP_CONCAT ? &g->op[op->in] : op;
    return in != op && op_is_one_way(in) && in->layer_index == op->layer_index ? in : NULL;
}

/* A recurrent layer of both directions: an op for each, called as PyTorch calls their parameters, and what joins them.
 */
static bool add_both_ways(Graph *g, int index, const SpecStage *st, int from, int *end)
{
    static const char *const way[] = {"l0", "l0_reverse"};
    int ways[2];
    for (int i = 0; i < 2; i++) {
        Op *op = add_layer_op(g, index, st->op, &from, 1, st->mark);
        if (!op)
            return false;
        set_args(op, st);
        op->stage = way[i];
        op->path = xprintf("%s.%s", op->layer, way[i]);
        op->reverse = i == 1;
        if (!graph_op_shape(g, op, 0))
            return false;
        ways[i] = g->nop - 1;
    }
    Op *op = add_layer_op(g, index, OP_CONCAT, ways, 2, st->mark);
    *end = g->nop - 1;
    return op && graph_op_shape(g, op, 0);
}

/* A layer's stages, the first of them reading op `from`; *end is the last. */
static bool add_stages(Graph *g, int index, int from, int out, bool unstrided, int *end)
{
    const SpecLayer *l = &g->spec->layer[index];
    for (int k = 0; k < l->nstage; k++) {
        const SpecStage *st = &l->stage[k];
        if (op_is_recurrent(st->op) && st->arg[ARG_BOTH_WAYS].count) {
            if (!add_both_ways(g, index, st, from, &from))
                return false;
            continue;
        }
        Op *op = add_layer_op(g, index, st->op, &from, 1, st->mark);
        if (!op)
            return false;
        if (!l->bare) {
            op->stage = stage_name(l, k);
            op->path = xprintf("%s.%s", l->name, op->stage);
        }
        set_args(op, st);
        if (unstrided && st->op == OP_CONV)
            op->stride[0] = op->stride[1] = 1;
        if (st->op == OP_CONV)
            op->mark = l->kernel_mark;
        else if (st->op == OP_LINEAR)
            op->mark = l->out_mark.line ? l->out_mark : l->mark;
        if (!graph_op_shape(g, op, out))
            return false;
        from = g->nop - 1;
    }
    *end = from;
    return true;
}

/* ---- joins ----------------------------------------------------------------------------------------------------- */

static bool add_join(const Build *b, int index, OpKind kind)
{
    const SpecLayer *l = &b->g->spec->layer[index];
    int *from = xalloc((size_t)l->nfrom * sizeof *from);
    for (int k = 0; k < l->nfrom; k++)
        from[k] = b->out[l->froms[k]];
    Op *op = add_layer_op(b->g, index, kind, from, l->nfrom, l->mark);
    b->out[index] = b->g->nop - 1;
    return op && graph_op_shape(b->g, op, 0);
}

/* Every stride-th pixel, and zeros for the channels that the branch has more. */
static bool add_pad(Graph *g, int index, int from, Shape to, int *end)
{
    const SpecLayer *l = &g->spec->layer[index];
    int more = to.c - g->op[from].shape.c;
    if (more < 0) {
        const Op *in = &g->op[from];
        diag_error2(l->mark, in->mark, graph_gives(in, "what it reads"), "shortcut: conv-bn",
                    "%s: pad cannot make %d channels of %d", l->name, to.c, in->shape.c);
        return false;
    }
    Op *op = add_layer_op(g, index, OP_PAD, &from, 1, l->mark);
    if (!op)
        return false;
    memcpy(op->arg[ARG_STRIDE].size, l->stride, sizeof l->stride);
    op->arg[ARG_BEFORE].count = more / 2;
    *end = g->nop - 1;
    return graph_op_shape(g, op, to.c);
}

/* Moves the last n ops before op `at`, and what refers to them and to those that they pass. */
static void move_last(const Build *b, int at, int n, int layers)
{
    Graph *g = b->g;
    int passed = g->nop - n - at;
    Op *moved = xalloc((size_t)(n + 1) * sizeof *moved);
    if (!n || !passed)
        return;
    memcpy(moved, &g->op[g->nop - n], (size_t)n * sizeof *moved);
    memmove(&g->op[at + n], &g->op[at], (size_t)passed * sizeof *moved);
    memcpy(&g->op[at], moved, (size_t)n * sizeof *moved);
#define MOVED(i) ((i) < at ? (i) : (i) < at + passed ? (i) + n : (i)-passed)
    for (int i = at; i < g->nop; i++) {
        Op *op = &g->op[i];
        int *ins = xalloc((size_t)op->nin * sizeof *ins);
        for (int k = 0; k < op->nin; k++)
            ins[k] = MOVED(op->ins[k]);
        op->ins = ins;
        op->in = ins[0];
    }
    for (int i = 0; i < layers; i++)
        b->out[i] = MOVED(b->out[i]);
#undef MOVED
}

/* What is left of a plane after a shortcut's stages, whose conv has its stride or 1. */
static Shape plane_after(const SpecLayer *l, Shape s, bool unstrided)
{
    for (int k = 0; k < l->nstage; k++) {
        const SpecStage *st = &l->stage[k];
        if (st->op != OP_CONV && st->op != OP_MAXPOOL && st->op != OP_AVGPOOL)
            continue;
        int side[2] = {s.h, s.w};
        for (int d = 0; d < 2; d++) {
            Walk walk = graph_walk(st->op, st->arg, d);
            if (st->op == OP_CONV && unstrided)
                walk.stride = 1;
            side[d] = (int)graph_windows(side[d], walk);
        }
        s.h = side[0];
        s.w = side[1];
    }
    return s;
}

/* Whether the pools in a shortcut's order make the branch's plane alone, as in avgpool(2)-conv-bn: then its conv has a
 * stride of 1. */
static bool pools_stride(const SpecLayer *l, Shape from, Shape to)
{
    const Shape with = plane_after(l, from, false), without = plane_after(l, from, true);
    return !(with.h == to.h && with.w == to.w) && without.h == to.h && without.w == to.w;
}

/* A sum. Its shortcut is built only now, since the branch decides what it has to become; its ops go before the
 * branch's. */
static bool add_sum(const Build *b, int index)
{
    Graph *g = b->g;
    const SpecLayer *add = &g->spec->layer[index];
    int layer = add->froms[1], had = g->nop;
    const SpecLayer *l = &g->spec->layer[layer];
    Shape to = g->op[b->out[add->froms[0]]].shape;
    int identity = b->out[l->from], from = b->out[l->else_from], *end = &b->out[layer];
    bool same = graph_same_shape(to, g->op[identity].shape);
    bool ok = true;
    *end = identity;
    if (l->shortcut == SHORTCUT_ALWAYS || (l->shortcut == SHORTCUT_CONV && !same))
        ok = add_stages(g, layer, from, to.c, pools_stride(l, g->op[from].shape, to), end);
    else if (l->shortcut == SHORTCUT_PAD && !same)
        ok = add_pad(g, layer, from, to, end);
    if (!ok)
        return false;
    move_last(b, b->start[layer], g->nop - had, index);
    return add_join(b, index, OP_ADD);
}

static bool add_layer(const Build *b, int index)
{
    const SpecLayer *l = &b->g->spec->layer[index];
    switch (l->form) {
    case FORM_BLOCK:
    case FORM_BARE:
    case FORM_STAGES:
        return add_stages(b->g, index, b->out[l->from], l->out, false, &b->out[index]);
    case FORM_SHORTCUT:
        b->start[index] = b->g->nop;
        return true;
    case FORM_ADD:
        return add_sum(b, index);
    case FORM_CONCAT:
        return add_join(b, index, OP_CONCAT);
    }
    BUG("a layer of no form");
}

static bool check_logits(const Graph *g)
{
    const Op *last = &g->op[g->nop - 1];
    if (last->shape.c == g->spec->classes && last->shape.h == 1 && last->shape.w == 1)
        return true;
    int weight = g->nop - 1;
    while (weight > 0 && op_info[g->op[weight].kind].cls != CLASS_WEIGHT)
        weight--;
    Mark at =
        last->shape.c != g->spec->classes && weight ? g->spec->layer[g->op[weight].layer_index].out_mark : last->mark;
    const char *what = g->spec->train.loss->target == CVY_CLASS ? "classes" : "outputs";
    const bool image = g->spec->train.loss->target == CVY_INPUT &&
                       (int64_t)last->shape.c * last->shape.h * last->shape.w == g->spec->classes;
    diag_error2(at, g->spec->classes_mark, xprintf("the spec has %d %s", g->spec->classes, what),
                last->shape.h == 1 && last->shape.w == 1 ? xprintf("end with - linear: %s", what)
                : image ? "end with - flatten: then the answer is a row of as many numbers, in the input's order"
                        : xprintf("end with - global_avg_pool (or - flatten) and - linear: %s", what),
                "%s: the network ends in %s, and must in %d x 1 x 1", last->path, graph_shape_text(last->shape),
                g->spec->classes);
    return false;
}

Graph *graph_build(const Spec *s)
{
    Graph *g = xalloc(sizeof *g);
    g->spec = s;
    g->dims = s->dims;
    Op *in = add_op(g, OP_INPUT, NULL, 0, s->input_mark);
    in->layer = in->path = "input";
    in->shape = (Shape){s->input[0], s->input[1], s->input[2]};
    in->lengths = s->lengths;
    if (!graph_shape_fits(g, in))
        return NULL;
    Build b = {g, (int *)xalloc((size_t)(s->nlayer + 1) * sizeof(int)) + 1, xalloc((size_t)s->nlayer * sizeof(int))};
    for (int i = 0; i < s->nlayer; i++)
        if (!add_layer(&b, i))
            return NULL;
    if (!check_logits(g) || !check_c_names(g))
        return NULL;
    int last = g->nop - 1;
    Op *loss = add_op(g, OP_LOSS, &last, 1, s->classes_mark);
    loss->layer = loss->path = "loss";
    loss->shape = (Shape){1, 1, 1};
    graph_decide_biases(g);
    if (!graph_add_params(g))
        return NULL;
    graph_check(g);
    return g;
}
