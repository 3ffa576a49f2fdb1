/* graph.c - Spec -> Graph.
 *
 * needs: a Spec.  sets: the ops in order, orders spelled out and blocks gone, each with its shape; the parameters under
 * PyTorch's names; biases decided; or collected errors and NULL, where shapes do not fit.
 *
 * In here an op has a shape rule, what it counts, and its parameters, one below the other. */
#include "convoy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPS 16384                  /* after orders are spelled out */
#define MAX_IMAGE INT32_MAX            /* elements of a tensor, an image */
#define MAX_BATCHED ((int64_t)1 << 40) /* and a batch */

static const char *shape_text(Shape s)
{
    return xprintf("%d x %d x %d", s.c, s.h, s.w);
}

/* ---- shapes ---------------------------------------------------------------------------------------------------- */

static Mark input_from(const Graph *g, const Op *op, const char **what)
{
    const Op *in = &g->op[op->in];
    *what = xprintf("its input, %s, comes from %s", shape_text(in->shape), in->kind == OP_INPUT ? "here" : in->path);
    return in->mark;
}

/* How many windows fit: of `kernel` taps, `dilation` apart, over n elements padded on both sides. */
static int64_t windows(int n, int kernel, int stride, int padding, int dilation)
{
    int64_t room = (int64_t)n + 2 * (int64_t)padding - (int64_t)dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

static bool shape_windows(const Graph *g, Op *op, int channels, const char *kernel_word)
{
    Shape in = g->op[op->in].shape;
    int64_t h = windows(in.h, op->kernel[0], op->stride[0], op->padding[0], op->dilation[0]);
    int64_t w = windows(in.w, op->kernel[1], op->stride[1], op->padding[1], op->dilation[1]);
    if (h < 1 || w < 1) {
        const char *what;
        Mark other = input_from(g, op, &what);
        diag_error2(op->mark, other, what, "a smaller window, more padding, or less pooling and stride before it",
                    "%s: a %s of %d x %d does not fit on %d x %d with a padding of %d x %d", op->path, kernel_word,
                    op->kernel[0], op->kernel[1], in.h, in.w, op->padding[0], op->padding[1]);
        return false;
    }
    if (h > INT32_MAX || w > INT32_MAX) {
        diag_error(op->mark, NULL, "%s: an output of %lld x %lld is too large", op->path, (long long)h, (long long)w);
        return false;
    }
    op->shape = (Shape){channels, (int)h, (int)w};
    return true;
}

static bool shape_linear(const Graph *g, Op *op, int out)
{
    Shape in = g->op[op->in].shape;
    if (in.h != 1 || in.w != 1) {
        const char *what;
        Mark other = input_from(g, op, &what);
        diag_error2(op->mark, other, what, "put - flatten or - global_avg_pool before it",
                    "%s: linear reads features of 1 x 1, not %d x %d", op->path, in.h, in.w);
        return false;
    }
    op->shape = (Shape){out, 1, 1};
    return true;
}

static bool shape_bn(const Graph *g, Op *op)
{
    op->shape = g->op[op->in].shape;
    if (g->spec->train.batch == 1 && op->shape.h == 1 && op->shape.w == 1) {
        diag_error(op->mark, "a batch of two or more, or a norm where the image is larger than 1 x 1",
                   "%s: with batches of 1 and an image of 1 x 1, this norm has a single value a channel", op->path);
        return false;
    }
    return true;
}

static bool shape_flatten(const Graph *g, Op *op)
{
    Shape in = g->op[op->in].shape;
    op->shape = (Shape){in.c * in.h * in.w, 1, 1}; /* fits: shape_fits() saw the input */
    return true;
}

static bool shape_fits(const Graph *g, const Op *op)
{
    int64_t n;
    if (!mul_fits(op->shape.c, op->shape.h, &n) || !mul_fits(n, op->shape.w, &n) || n > MAX_IMAGE) {
        diag_error(op->mark, NULL, "%s: an output of %s has more than 2^31 - 1 elements", op->path,
                   shape_text(op->shape));
        return false;
    }
    if (!mul_fits(n, g->spec->train.batch, &n) || n > MAX_BATCHED) {
        diag_error(op->mark, "a smaller batch", "%s: an output of %s in batches of %d has more than 2^40 elements",
                   op->path, shape_text(op->shape), g->spec->train.batch);
        return false;
    }
    return true;
}

static bool op_shape(Graph *g, Op *op, const SpecLayer *l)
{
    bool ok;
    switch (op->kind) {
    case OP_CONV:
        ok = shape_windows(g, op, l->out, "kernel");
        break;
    case OP_MAXPOOL:
    case OP_AVGPOOL:
        ok = shape_windows(g, op, g->op[op->in].shape.c, "window");
        break;
    case OP_LINEAR:
        ok = shape_linear(g, op, l->out);
        break;
    case OP_BN:
        ok = shape_bn(g, op);
        break;
    case OP_FLATTEN:
        ok = shape_flatten(g, op);
        break;
    case OP_GLOBAL_AVG_POOL:
        op->shape = (Shape){g->op[op->in].shape.c, 1, 1};
        ok = true;
        break;
    case OP_RELU:
    case OP_LEAKY_RELU:
    case OP_TANH:
    case OP_SIGMOID:
    case OP_SILU:
    case OP_DROP:
        op->shape = g->op[op->in].shape;
        ok = true;
        break;
    default:
        BUG("no shape rule for %s", op_info[op->kind].name);
    }
    return ok && shape_fits(g, op);
}

/* ---- biases ---------------------------------------------------------------------------------------------------- */

/* Whether an op passes a constant added to a channel on unchanged. */
static bool passes_shift(const Op *op)
{
    if (op->kind == OP_AVGPOOL && (op->padding[0] || op->padding[1]))
        return false; /* windows that hold padding take less of it */
    return op_info[op->kind].linear_shift_safe;
}

/* Whether every path from op i reaches a batch norm through ops that pass a constant on: then its mean takes the bias
 * away. `why` says what decided. */
static bool bias_redundant(const Graph *g, int i, const char **why)
{
    bool any = false;
    for (int j = i + 1; j < g->nop; j++) {
        const Op *op = &g->op[j];
        if (op->in != i)
            continue;
        any = true;
        if (op->kind == OP_BN) {
            *why = xprintf("dropped: %s subtracts the mean, and the bias with it", op->path);
        } else if (op->kind == OP_LOSS) {
            *why = "kept: no bn follows";
            return false;
        } else if (!passes_shift(op)) {
            *why = xprintf("kept: %s stands before the next bn", op->path);
            return false;
        } else if (!bias_redundant(g, j, why)) {
            return false;
        }
    }
    return any;
}

static bool followed_by_bn(const Graph *g, int i)
{
    for (int j = i + 1; j < g->nop; j++) {
        if (op_info[g->op[j].kind].cls == CLASS_WEIGHT)
            return false;
        if (g->op[j].kind == OP_BN)
            return true;
    }
    return false;
}

static void decide_biases(Graph *g)
{
    for (int i = 0; i < g->nop; i++) {
        Op *op = &g->op[i];
        if (op_info[op->kind].cls != CLASS_WEIGHT)
            continue;
        Bias b = g->spec->layer[op->layer_index].bias;
        op->bias = b == BIAS_TRUE;
        if (b == BIAS_AUTO) {
            op->bias = !bias_redundant(g, i, &op->bias_why);
            if (op->bias && !followed_by_bn(g, i))
                op->bias_why = "kept: no bn follows before the next weights";
        }
    }
}

/* ---- parameters ------------------------------------------------------------------------------------------------ */

static Param *add_param(Graph *g, int i, const char *name, ParamRole role, int ndim, int c)
{
    Param *p = PUSH(g->param, g->nparam);
    *p = (Param){.name = xprintf("%s.%s", g->op[i].path, name), .role = role, .op = i, .ndim = ndim, .dim = {c}};
    p->draw = DRAW_CONST;
    return p;
}

static void add_bn_params(Graph *g, int i)
{
    int c = g->op[i].shape.c;
    add_param(g, i, "weight", PARAM_GAMMA, 1, c)->draw_value = 1;
    add_param(g, i, "bias", PARAM_BETA, 1, c);
    add_param(g, i, "running_mean", PARAM_MEAN, 1, c);
    add_param(g, i, "running_var", PARAM_VAR, 1, c)->draw_value = 1;
    add_param(g, i, "num_batches_tracked", PARAM_COUNT, 0, 0);
    g->weights += 2 * (int64_t)c;
}

/* How weights begin. fan_in: inputs of one output; fan_out: outputs that one input reaches. The formulas are those of
 * torch.nn.init: Kaiming with gain sqrt(2), He et al. 2015; Xavier, Glorot and Bengio 2010; "pytorch" is what its
 * layers do by themselves, kaiming_uniform(a = sqrt(5)), which is U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases alike. */
static void draw_weights(Param *p, Init init, double fan_in, double fan_out)
{
    bool bias = p->role == PARAM_BIAS;
    if (bias && init != INIT_PYTORCH)
        return; /* zero */
    switch (init) {
    case INIT_PYTORCH:
        p->draw = DRAW_UNIFORM;
        p->draw_value = 1 / sqrt(fan_in);
        break;
    case INIT_KAIMING_NORMAL:
        p->draw = DRAW_NORMAL;
        p->draw_value = sqrt(2 / fan_in);
        break;
    case INIT_KAIMING_UNIFORM:
        p->draw = DRAW_UNIFORM;
        p->draw_value = sqrt(6 / fan_in);
        break;
    case INIT_XAVIER_NORMAL:
        p->draw = DRAW_NORMAL;
        p->draw_value = sqrt(2 / (fan_in + fan_out));
        break;
    case INIT_XAVIER_UNIFORM:
        p->draw = DRAW_UNIFORM;
        p->draw_value = sqrt(6 / (fan_in + fan_out));
        break;
    }
}

static bool add_weight_params(Graph *g, int i)
{
    const Op *op = &g->op[i];
    bool conv = op->kind == OP_CONV;
    int in = g->op[op->in].shape.c / op->groups, out = op->shape.c;
    int64_t taps = conv ? (int64_t)op->kernel[0] * op->kernel[1] : 1, fan_in, n, work;
    if (!mul_fits(in, taps, &fan_in) || !mul_fits(fan_in, out, &n) || n > INT32_MAX || g->weights + n > INT32_MAX) {
        diag_error(op->mark, NULL, "%s: with its weights, %d x %d x %lld, the network has more than 2^31 - 1", op->path,
                   out, in, (long long)taps);
        return false;
    }
    if (!mul_fits(n, 2 * (int64_t)op->shape.h * op->shape.w, &work) ||
        __builtin_add_overflow(g->flops, work, &g->flops)) {
        diag_error(op->mark, NULL, "%s: the network's operations do not fit 63 bits", op->path);
        return false;
    }
    double fan_out = (double)out * (double)taps;
    Param *w = add_param(g, i, "weight", PARAM_WEIGHT, conv ? 4 : 2, out);
    w->dim[1] = in;
    w->dim[2] = conv ? op->kernel[0] : 0;
    w->dim[3] = conv ? op->kernel[1] : 0;
    draw_weights(w, g->spec->init, (double)fan_in, fan_out);
    g->weights += n;
    if (op->bias) {
        draw_weights(add_param(g, i, "bias", PARAM_BIAS, 1, out), g->spec->init, (double)fan_in, fan_out);
        g->weights += out;
    }
    return true;
}

static bool add_params(Graph *g)
{
    for (int i = 0; i < g->nop; i++) {
        if (op_info[g->op[i].kind].cls == CLASS_WEIGHT && !add_weight_params(g, i))
            return false;
        if (g->op[i].kind == OP_BN)
            add_bn_params(g, i);
    }
    return true;
}

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

/* In C a dot becomes an underscore: "a.bn" and a layer "a_bn" must not meet there. */
static bool check_c_names(const Graph *g)
{
    const Spec *s = g->spec;
    Named *v = xalloc((size_t)(g->nop + s->nlayer) * sizeof *v);
    int n = 0;
    for (int i = 0; i < s->nlayer; i++)
        v[n++] = (Named){s->layer[i].name, s->layer[i].name, i};
    for (int i = 0; i < g->nop; i++)
        if (g->op[i].stage && g->op[i].layer_index >= 0) {
            char *c = xstrdup(g->op[i].path);
            for (char *p = c; *p; p++)
                *p = *p == '.' ? '_' : *p;
            v[n++] = (Named){c, g->op[i].path, g->op[i].layer_index};
        }
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

static Op *add_op(Graph *g, OpKind kind, Mark mark)
{
    Op *op = PUSH(g->op, g->nop);
    *op = (Op){.kind = kind, .in = g->nop - 2, .layer_index = -1, .mark = mark, .groups = 1};
    if (op->in >= 0) {
        int *in = xalloc(sizeof *in);
        *in = op->in;
        op->ins = in;
        op->nin = 1;
    }
    for (int d = 0; d < 2; d++)
        op->kernel[d] = op->stride[d] = op->dilation[d] = 1;
    return op;
}

static bool add_layer(Graph *g, int index)
{
    const SpecLayer *l = &g->spec->layer[index];
    for (int k = 0; k < l->nstage; k++) {
        const SpecStage *st = &l->stage[k];
        if (g->nop >= MAX_OPS) {
            diag_error(l->mark, NULL, "the network has more than %d stages", MAX_OPS);
            return false;
        }
        Op *op = add_op(g, st->op, st->mark);
        op->layer = l->name;
        op->layer_index = index;
        op->stage = l->bare ? NULL : stage_name(l, k);
        op->path = l->bare ? l->name : xprintf("%s.%s", l->name, op->stage);
        op->arg = st->arg;
        op->eps = l->eps;
        op->momentum = l->momentum;
        if (st->op == OP_CONV) {
            memcpy(op->kernel, l->kernel, sizeof op->kernel);
            memcpy(op->stride, l->stride, sizeof op->stride);
            memcpy(op->padding, l->padding, sizeof op->padding);
            memcpy(op->dilation, l->dilation, sizeof op->dilation);
            op->groups = l->groups;
            op->mark = l->kernel_mark;
        } else if (st->op == OP_MAXPOOL || st->op == OP_AVGPOOL) {
            memcpy(op->kernel, st->k, sizeof op->kernel);
            memcpy(op->stride, st->stride, sizeof op->stride);
            memcpy(op->padding, st->padding, sizeof op->padding);
        } else if (st->op == OP_LINEAR) {
            op->mark = l->out_mark.line ? l->out_mark : l->mark;
        }
        if (!op_shape(g, op, l))
            return false;
    }
    return true;
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
    diag_error2(
        at, g->spec->classes_mark, xprintf("the spec has %d classes", g->spec->classes),
        last->shape.h == 1 && last->shape.w == 1 ? "end with - linear: classes"
                                                 : "end with - global_avg_pool (or - flatten) and - linear: classes",
        "%s: the network ends in %s, and must in %d x 1 x 1", last->path, shape_text(last->shape), g->spec->classes);
    return false;
}

Graph *graph_build(const Spec *s)
{
    Graph *g = xalloc(sizeof *g);
    g->spec = s;
    g->dims = 2;
    Op *in = add_op(g, OP_INPUT, s->input_mark);
    in->in = -1;
    in->layer = in->path = "input";
    in->shape = (Shape){s->input[0], s->input[1], s->input[2]};
    if (!shape_fits(g, in))
        return NULL;
    for (int i = 0; i < s->nlayer; i++)
        if (!add_layer(g, i))
            return NULL;
    if (!check_logits(g) || !check_c_names(g))
        return NULL;
    Op *loss = add_op(g, OP_LOSS, s->classes_mark);
    loss->layer = loss->path = "loss";
    loss->shape = (Shape){1, 1, 1};
    decide_biases(g);
    if (!add_params(g))
        return NULL;
    graph_check(g);
    return g;
}

/* ---- the checker and the dump ---------------------------------------------------------------------------------- */

void graph_check(const Graph *g)
{
    if (g->nop < 3 || g->op[0].kind != OP_INPUT || g->op[g->nop - 1].kind != OP_LOSS)
        BUG("graph: %d ops, from input to loss", g->nop);
    for (int i = 0; i < g->nop; i++) {
        const Op *op = &g->op[i];
        if (op->in >= i || op->in < (i ? 0 : -1) || !op->path || !op->layer)
            BUG("graph: op %d reads op %d", i, op->in);
        if (op->shape.c < 1 || op->shape.h < 1 || op->shape.w < 1)
            BUG("graph: %s has shape %s", op->path, shape_text(op->shape));
        if (i && (op->kind == OP_INPUT || (op->kind == OP_LOSS) != (i == g->nop - 1)))
            BUG("graph: %s stands at %d", op->path, i);
        if ((op_info[op->kind].cls == CLASS_POINT || op->kind == OP_BN) &&
            memcmp(&op->shape, &g->op[op->in].shape, sizeof op->shape) != 0)
            BUG("graph: %s changes its shape", op->path);
        if (i && op->kind != OP_LOSS && (op->layer_index < 0 || op->layer_index >= g->spec->nlayer))
            BUG("graph: %s is of layer %d", op->path, op->layer_index);
    }
    int last = 0;
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        if (p->op < last || p->op >= g->nop || p->ndim > 4)
            BUG("graph: %s belongs to op %d", p->name, p->op);
        for (int d = 0; d < p->ndim; d++)
            if (p->dim[d] < 1)
                BUG("graph: dimension %d of %s is %d", d, p->name, p->dim[d]);
        last = p->op;
    }
}

void graph_dump(const Graph *g, FILE *to)
{
    static const char *const draws[] = {"const", "normal", "uniform"};
    fprintf(to, "graph %s: %d ops, %lld weights, %lld flops an image\n", g->spec->name, g->nop, (long long)g->weights,
            (long long)g->flops);
    for (int i = 0; i < g->nop; i++) {
        const Op *op = &g->op[i];
        fprintf(to, "%3d  %-20s", i, op->path);
        if (op->in >= 0)
            fprintf(to, " <- %-3d", op->in);
        else
            fprintf(to, "       ");
        fprintf(to, " %-14s %s", shape_text(op->shape), op_info[op->kind].name);
        if (op->kind == OP_CONV || op->kind == OP_MAXPOOL || op->kind == OP_AVGPOOL)
            fprintf(to, " kernel %dx%d stride %dx%d padding %dx%d", op->kernel[0], op->kernel[1], op->stride[0],
                    op->stride[1], op->padding[0], op->padding[1]);
        if (op_info[op->kind].cls == CLASS_WEIGHT)
            fprintf(to, " bias %s%s%s%s", op->bias ? "yes" : "no", op->bias_why ? " (" : "",
                    op->bias_why ? op->bias_why : "", op->bias_why ? ")" : "");
        if (op->kind == OP_DROP || op->kind == OP_LEAKY_RELU)
            fprintf(to, " %.9g", op->arg);
        if (op->kind == OP_BN)
            fprintf(to, " eps %.9g momentum %.9g", op->eps, op->momentum);
        if (op->input_grad)
            fprintf(to, "  input_grad");
        fprintf(to, "\n");
    }
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        fprintf(to, "param %-36s [", p->name);
        for (int d = 0; d < p->ndim; d++)
            fprintf(to, "%s%d", d ? ", " : "", p->dim[d]);
        fprintf(to, "] %s %.9g\n", draws[p->draw], p->draw_value);
    }
}
