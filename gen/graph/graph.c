/* graph.c - Spec -> Graph.
 *
 * needs: a Spec.  sets: the ops in order, orders spelled out and blocks gone, each with its shape; the parameters under
 * PyTorch's names; biases decided; or collected errors and NULL, where shapes do not fit.
 *
 * In here an op has a shape rule, what it counts, and its parameters, one below the other. */
#include "graph.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(offsetof(Op, stride) - offsetof(Op, kernel) == sizeof(Arg) &&
                   offsetof(Op, padding) - offsetof(Op, kernel) == ARG_PADDING * sizeof(Arg) &&
                   offsetof(Op, after) - offsetof(Op, padding) == offsetof(Sides, after) &&
                   offsetof(Op, dilation) - offsetof(Op, kernel) == ARG_DILATION * sizeof(Arg) &&
                   offsetof(Op, counted) - offsetof(Op, kernel) == ARG_COUNTED * sizeof(Arg) &&
                   offsetof(Op, momentum) - offsetof(Op, eps) == ARG_MOMENTUM * sizeof(Arg) &&
                   offsetof(Op, maxv) - offsetof(Op, leak) == ARG_MAXV * sizeof(Arg),
               "an op's named arguments lie over arg[]");

#define MAX_OPS 16384                  /* after orders are spelled out */
#define MAX_IMAGE INT32_MAX            /* elements of a tensor, per image */
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

/* Windows along a direction: of `kernel` taps, `dilation` apart. */
typedef struct Walk {
    int kernel, stride, dilation, before, after; /* padding; PADDING_SAME: as much as `same` asks for */
    bool ceil;                                   /* the last window may hang over the padded end, if it begins before
                                                    the padding there */
} Walk;

static Walk walk_of(OpKind kind, const Arg *arg, int d)
{
    const bool conv = kind == OP_CONV;
    const Sides padding = arg[ARG_PADDING].sides;
    return (Walk){.kernel = arg[ARG_KERNEL].size[d],
                  .stride = arg[ARG_STRIDE].size[d],
                  .dilation = conv ? arg[ARG_DILATION].size[d] : 1,
                  .before = padding.before[d],
                  .after = padding.after[d],
                  .ceil = !conv && arg[ARG_CEIL].count};
}

static int64_t span(const Walk *w)
{
    return (int64_t)w->dilation * (w->kernel - 1) + 1;
}

/* What `same` comes to over n elements: so much that there are n / stride windows, rounded up; what is odd stands
 * after. */
static void same_padding(Walk *w, int n)
{
    if (w->before != PADDING_SAME)
        return;
    const int64_t out = ((int64_t)n + w->stride - 1) / w->stride, need = (out - 1) * w->stride + span(w) - n;
    const int all = need > 0 ? (int)need : 0;
    w->before = all / 2;
    w->after = all - all / 2;
}

/* How many windows fit over n elements. With ceil PyTorch's ceil_mode. */
static int64_t windows(int n, Walk w)
{
    same_padding(&w, n);
    const int64_t room = (int64_t)n + w.before + w.after - span(&w);
    if (!w.ceil)
        return room < 0 ? 0 : room / w.stride + 1;
    if (room <= -w.stride)
        return 0;
    const int64_t out = (room + w.stride - 1) / w.stride + 1;
    return (out - 1) * w.stride >= (int64_t)n + w.before ? out - 1 : out;
}

/* "1 x 1", "0:1 x 1" */
static const char *padding_text(const Op *op)
{
    const Sides s = op->arg[ARG_PADDING].sides;
    return xprintf("%s x %s", sides_text((Sides){{0, s.before[0]}, {0, s.after[0]}}, 1), sides_text(s, 1));
}

static bool shape_windows(const Graph *g, Op *op, int channels, const char *kernel_word)
{
    Shape in = g->op[op->in].shape;
    int64_t out[2];
    for (int d = 0; d < 2; d++) {
        Walk walk = walk_of(op->kind, op->arg, d);
        const int n = d ? in.w : in.h;
        out[d] = windows(n, walk);
        same_padding(&walk, n);
        op->padding[d] = walk.before;
        op->after[d] = walk.after;
    }
    const int64_t h = out[0], w = out[1];
    if (h < 1 || w < 1) {
        const char *what;
        Mark other = input_from(g, op, &what);
        diag_error2(op->mark, other, what, "a smaller window, more padding, or less pooling and stride before it",
                    "%s: a %s of %d x %d%s does not fit on %d x %d with a padding of %s", op->path, kernel_word,
                    op->kernel[0], op->kernel[1],
                    op->dilation[0] > 1 || op->dilation[1] > 1
                        ? xprintf(", dilated by %d x %d,", op->dilation[0], op->dilation[1])
                        : "",
                    in.h, in.w, padding_text(op));
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
                   "%s: with batches of 1 and an image of 1 x 1, this norm has a single value per channel", op->path);
        return false;
    }
    return true;
}

/* Norms of an image: each group of channels of an image must hold two values at least. */
static bool shape_image_norm(const Graph *g, Op *op)
{
    const char *what;
    Mark other = input_from(g, op, &what);
    op->shape = g->op[op->in].shape;
    op->groups = op_norm_groups(op->kind, op->arg, op->shape.c);
    if (op->shape.c % op->groups) {
        int fits = 2 * op->groups <= op->shape.c ? op->groups
                   : op->shape.c > 1             ? op->shape.c / 2
                                                 : 1; /* of two channels and more */
        while (op->shape.c % fits)
            fits--;
        diag_error2(op->mark, other, what, xprintf("gn(%d) would fit", fits), "%s: %d groups do not divide %d channels",
                    op->path, op->groups, op->shape.c);
        return false;
    }
    if (op->shape.c / op->groups == 1 && op->shape.h == 1 && op->shape.w == 1) {
        diag_error2(op->mark, other, what, "ln, or gn with fewer groups, where the image is 1 x 1",
                    "%s: each of its groups holds a single value of an image", op->path);
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

/* What comes from another op, for a message's second place. */
static const char *gives(const Op *op, const char *what)
{
    return xprintf("%s, %s, gives %s", what, op->kind == OP_INPUT ? "the input" : op->path, shape_text(op->shape));
}

static bool same_shape(Shape a, Shape b)
{
    return a.c == b.c && a.h == b.h && a.w == b.w;
}

/* A sum's two sides: the branch, and the shortcut, which has been made to fit as far as it can. */
static bool shape_add(const Graph *g, Op *op)
{
    const Op *a = &g->op[op->ins[0]], *b = &g->op[op->ins[1]];
    op->shape = a->shape;
    if (same_shape(a->shape, b->shape))
        return true;
    const SpecLayer *l = &g->spec->layer[g->spec->layer[op->layer_index].froms[1]];
    bool planes = a->shape.h != b->shape.h || a->shape.w != b->shape.w, pools = false;
    for (int k = 0; k < l->nstage; k++)
        pools = pools || op_info[l->stage[k].op].cls == CLASS_WINDOW;
    const char *stride = size_text(l->stride, g->dims);
    const char *hint =
        l->shortcut == SHORTCUT_IDENTITY ? "shortcut: conv-bn, or pad, makes them agree"
        : !planes                        ? NULL
        : pools ? xprintf("in the shortcut, the pool shrinks, and the conv has the stage's stride, %s: leave the pool "
                          "out, or give it "
                          "the stride that the branch has in all",
                          stride)
        : l->stride[0] > 1 || l->stride[1] > 1
            ? xprintf(
                  "the stage's stride, %s, is the shortcut's: stride: group says which conv of the branch has it, too",
                  stride)
            : "a stride that the stage has is the shortcut's, too: give it to the stage, and stride: group to the conv "
              "that has it";
    diag_error2(a->mark, b->mark, gives(b, "the other side"), hint, "%s: the branch gives %s, the shortcut %s",
                op->path, shape_text(a->shape), shape_text(b->shape));
    return false;
}

static bool shape_concat(const Graph *g, Op *op)
{
    const Op *first = &g->op[op->ins[0]];
    int64_t c = 0;
    for (int k = 0; k < op->nin; k++) {
        const Op *in = &g->op[op->ins[k]];
        if (in->shape.h != first->shape.h || in->shape.w != first->shape.w) {
            diag_error2(in->mark, first->mark, gives(first, "the first"),
                        "branches are joined by channels: their heights and widths must agree",
                        "%s: branch %d gives %s, the first %s", op->path, k + 1, shape_text(in->shape),
                        shape_text(first->shape));
            return false;
        }
        c += in->shape.c;
    }
    if (c > MAX_IMAGE) {
        diag_error(op->mark, NULL, "%s: %lld channels are more than 2^31 - 1", op->path, (long long)c);
        return false;
    }
    op->shape = (Shape){(int)c, first->shape.h, first->shape.w};
    return true;
}

/* How many groups, and outputs: of a depthwise conv, what its input decides. */
static bool shape_groups(const Graph *g, Op *op, int *out)
{
    const SpecLayer *l = &g->spec->layer[op->layer_index];
    int in = g->op[op->in].shape.c;
    const char *what;
    Mark other = input_from(g, op, &what);
    const bool said = op->arg[ARG_GROUPS].count;
    op->groups = op->arg[ARG_GROUPS].count = said ? op->arg[ARG_GROUPS].count : in;
    *out = *out ? *out : in;
    if (in % op->groups) {
        diag_error2(l->groups_mark, other, what, "the groups share the channels equally, on both sides",
                    "%s: %d groups do not divide %d input channels", op->path, op->groups, in);
        return false;
    }
    if (*out % op->groups) {
        diag_error2(said ? l->groups_mark : l->out_mark, other, what,
                    said ? "the groups share the channels equally, on both sides"
                         : "leave 'out' out: it is then the input's channels",
                    "%s: %d groups do not divide %d output channels", op->path, op->groups, *out);
        return false;
    }
    return true;
}

static bool shape_conv(const Graph *g, Op *op, int out)
{
    return shape_groups(g, op, &out) && shape_windows(g, op, out, "kernel");
}

static bool shape_pad(const Graph *g, Op *op, int out)
{
    const Shape in = g->op[op->in].shape;
    const int *stride = op->arg[ARG_STRIDE].size;
    op->shape = (Shape){out, (in.h - 1) / stride[0] + 1, (in.w - 1) / stride[1] + 1};
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

/* `out`: how many outputs a weight op has. */
static bool op_shape(Graph *g, Op *op, int out)
{
    bool ok;
    switch (op->kind) {
    case OP_CONV:
        ok = shape_conv(g, op, out);
        break;
    case OP_MAXPOOL:
    case OP_AVGPOOL:
        ok = shape_windows(g, op, g->op[op->in].shape.c, "window");
        break;
    case OP_LINEAR:
        ok = shape_linear(g, op, out);
        break;
    case OP_PAD:
        ok = shape_pad(g, op, out);
        break;
    case OP_ADD:
        ok = shape_add(g, op);
        break;
    case OP_CONCAT:
        ok = shape_concat(g, op);
        break;
    case OP_FLATTEN:
        ok = shape_flatten(g, op);
        break;
    case OP_GLOBAL_AVG_POOL:
        op->shape = (Shape){g->op[op->in].shape.c, 1, 1};
        ok = true;
        break;
    default:
        if (op_info[op->kind].cls == CLASS_POINT) {
            op->shape = g->op[op->in].shape;
            ok = true;
            break;
        }
        if (!op_is_norm(op->kind))
            BUG("no shape rule for %s", op_info[op->kind].name);
        ok = op_is_batch_norm(op->kind) ? shape_bn(g, op) : shape_image_norm(g, op);
    }
    return ok && shape_fits(g, op);
}

Sides graph_halo(const Graph *g, const Op *op)
{
    const Shape in = g->op[op->in].shape;
    Sides s = op->arg[ARG_PADDING].sides;
    for (int d = 0; d < 2; d++) {
        const Walk walk = walk_of(op->kind, op->arg, d);
        const int64_t last = (int64_t)((d ? op->shape.w : op->shape.h) - 1) * walk.stride;
        const int64_t over = last + span(&walk) - walk.before - (d ? in.w : in.h);
        s.after[d] = over > s.after[d] ? (int)over : s.after[d];
    }
    return s;
}

bool graph_counted(const Graph *g, const Op *op, int d, int *from, int *to)
{
    const Shape in = g->op[op->in].shape;
    const int n = d ? in.w : in.h, out = d ? op->shape.w : op->shape.h;
    *from = op->counted ? -op->padding[d] : 0;
    *to = op->counted ? n + op->after[d] : n;
    return *from > -op->padding[d] || (out - 1) * op->stride[d] - op->padding[d] + op->kernel[d] > *to;
}

/* ---- biases ---------------------------------------------------------------------------------------------------- */

/* Whether an op passes a constant added to a channel on unchanged. */
static bool passes_shift(const Op *op)
{
    if (op->kind == OP_AVGPOOL && op->counted && !sides_zero(op->arg[ARG_PADDING].sides))
        return false; /* windows that hold padding take less of it */
    return op_info[op->kind].linear_shift_safe;
}

/* What becomes of a constant that is added to a channel of an op's output. */
typedef struct Fate {
    bool gone;   /* every path reaches a norm that takes it away */
    bool norm;   /* some path reaches such a norm before the next weights */
    int decided; /* the op that decided: the norm, or what does not pass it on; 0: none */
} Fate;

/* Whether it takes each channel's mean away. */
static bool takes_mean(const Op *op)
{
    const NormInfo *norm = op_info[op->kind].norm;
    return norm && norm->centred && (norm->over == OVER_BATCH || op->groups == op->shape.c);
}

/* What an op that reads the constant does with it. */
static Fate fate_at(const Graph *g, const Fate *fate, int i)
{
    const Op *op = &g->op[i];
    OpClass cls = op_info[op->kind].cls;
    Fate f = {.norm = cls != CLASS_WEIGHT && cls != CLASS_LOSS && fate[i].norm, .decided = i};
    if (takes_mean(op))
        return (Fate){true, true, i};
    if (op->kind == OP_LOSS || !passes_shift(op))
        return f;
    return fate[i];
}

/* The fates of all ops' outputs, from the last to the first: each follows from those of its readers. */
static Fate *fates(const Graph *g)
{
    Fate *fate = xalloc((size_t)g->nop * sizeof *fate);
    bool *read = xalloc((size_t)g->nop * sizeof *read);
    for (int i = g->nop - 1; i > 0; i--) {
        Fate f = fate_at(g, fate, i);
        for (int k = 0; k < g->op[i].nin; k++) {
            Fate *in = &fate[g->op[i].ins[k]];
            bool first = !read[g->op[i].ins[k]], was = in->gone;
            read[g->op[i].ins[k]] = true;
            in->norm = in->norm || f.norm;
            in->gone = (first || was) && f.gone;
            if (first || was || !f.gone) /* of several, the nearest that decides */
                in->decided = f.decided;
        }
    }
    return fate;
}

static const char *fate_text(const Graph *g, Fate f)
{
    const Op *op = &g->op[f.decided];
    if (f.gone)
        return xprintf("dropped: %s subtracts the mean, and the bias with it", op->path);
    if (op_is_image_norm(op->kind))
        return xprintf(op_info[op->kind].norm->centred ? "kept: %s subtracts the mean of several channels"
                                                       : "kept: %s subtracts no mean",
                       op->path);
    if (!f.norm)
        return "kept: no bn follows before the next weights";
    return op->kind == OP_LOSS ? "kept: no bn follows" : xprintf("kept: %s stands before the next bn", op->path);
}

static void decide_biases(Graph *g)
{
    const Fate *fate = fates(g);
    for (int i = 0; i < g->nop; i++) {
        Op *op = &g->op[i];
        if (op_info[op->kind].cls != CLASS_WEIGHT)
            continue;
        Bias b = g->spec->layer[op->layer_index].bias;
        op->bias = b == BIAS_TRUE;
        if (b == BIAS_AUTO) {
            op->bias = !fate[i].gone;
            op->bias_why = fate_text(g, fate[i]);
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

/* Whether its gamma begins with 0: in a layer that says so, the last norm's does. */
static bool begins_with_zero(const Graph *g, int i)
{
    bool zero = g->spec->layer[g->op[i].layer_index].zero_gamma;
    for (int j = i + 1; zero && g->op[j].layer_index == g->op[i].layer_index; j++)
        zero = !op_is_norm(g->op[j].kind);
    return zero;
}

/* How weights begin. fan_in: inputs of one output; fan_out: outputs that one input reaches. The formulas are those of
 * torch.nn.init: Kaiming with gain sqrt(2 / (1 + slope^2)), He et al. 2015; Xavier, Glorot and Bengio 2010; "pytorch"
 * is what its layers do by themselves, kaiming_uniform(a = sqrt(5)), which is U(-1/sqrt(fan_in), 1/sqrt(fan_in)),
 * biases alike. */
static void draw_weights(Param *p, InitRule init, double fan_in, double fan_out)
{
    bool bias = p->role == PARAM_BIAS;
    const double gain2 = 2 / (1 + init.slope * init.slope);
    if (bias && init.kind != INIT_PYTORCH)
        return; /* zero */
    switch (init.kind) {
    case INIT_PYTORCH:
        p->draw = DRAW_UNIFORM;
        p->draw_value = 1 / sqrt(fan_in);
        break;
    case INIT_KAIMING_NORMAL:
        p->draw = DRAW_NORMAL;
        p->draw_value = sqrt(gain2 / fan_in);
        break;
    case INIT_KAIMING_UNIFORM:
        p->draw = DRAW_UNIFORM;
        p->draw_value = sqrt(3 * gain2 / fan_in);
        break;
    case INIT_KAIMING_NORMAL_FAN_OUT:
        p->draw = DRAW_NORMAL;
        p->draw_value = sqrt(gain2 / fan_out);
        break;
    case INIT_KAIMING_UNIFORM_FAN_OUT:
        p->draw = DRAW_UNIFORM;
        p->draw_value = sqrt(3 * gain2 / fan_out);
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

/* Counts a weight op's work, and refuses more weights than an index holds. */
static bool count_weight_op(Graph *g, int i)
{
    const Op *op = &g->op[i];
    int in = g->op[op->in].shape.c / op->groups, out = op->shape.c;
    int64_t taps = op->kind == OP_CONV ? (int64_t)op->kernel[0] * op->kernel[1] : 1, n, work;
    if (!mul_fits(in, taps, &n) || !mul_fits(n, out, &n) || n > INT32_MAX || g->weights + n > INT32_MAX) {
        diag_error(op->mark, NULL, "%s: with its weights, %d x %d x %lld, the network has more than 2^31 - 1", op->path,
                   out, in, (long long)taps);
        return false;
    }
    if (!mul_fits(n, 2 * (int64_t)op->shape.h * op->shape.w, &work) ||
        __builtin_add_overflow(g->flops, work, &g->flops)) {
        diag_error(op->mark, NULL, "%s: the network's operations do not fit 63 bits", op->path);
        return false;
    }
    return true;
}

/* One parameter of an op, by its role: its shape, and how it begins. */
static void add_slot(Graph *g, int i, const ParamSlot *slot)
{
    const Op *op = &g->op[i];
    const bool conv = op->kind == OP_CONV;
    const int in = op->nin ? g->op[op->in].shape.c / op->groups : 0;
    const double taps = conv ? (double)op->kernel[0] * op->kernel[1] : 1;
    const InitRule init = conv ? g->spec->init_conv : g->spec->init_linear;
    Param *p;
    switch (slot->role) {
    case PARAM_WEIGHT:
        p = add_param(g, i, slot->name, slot->role, conv ? 2 + g->dims : 2, op->shape.c);
        p->dim[1] = in;
        for (int d = 0; conv && d < g->dims; d++)
            p->dim[2 + d] = op->kernel[2 - g->dims + d];
        draw_weights(p, init, in * taps, op->shape.c * taps);
        g->weights += (int64_t)op->shape.c * in * (int64_t)taps;
        return;
    case PARAM_BIAS:
        if (!op->bias)
            return;
        draw_weights(add_param(g, i, slot->name, slot->role, 1, op->shape.c), init, in * taps, op->shape.c * taps);
        g->weights += op->shape.c;
        return;
    case PARAM_GAMMA:
        add_param(g, i, slot->name, slot->role, 1, op->shape.c)->draw_value = !begins_with_zero(g, i);
        g->weights += op->shape.c;
        return;
    case PARAM_BETA:
        add_param(g, i, slot->name, slot->role, 1, op->shape.c);
        g->weights += op->shape.c;
        return;
    case PARAM_MEAN:
    case PARAM_VAR:
        add_param(g, i, slot->name, slot->role, 1, op->shape.c)->draw_value = slot->role == PARAM_VAR;
        return;
    case PARAM_COUNT:
        add_param(g, i, slot->name, slot->role, 0, 0);
        return;
    }
}

static bool add_params(Graph *g)
{
    for (int i = 0; i < g->nop; i++) {
        if (op_info[g->op[i].kind].cls == CLASS_WEIGHT && !count_weight_op(g, i))
            return false;
        for (const ParamSlot *slot = op_info[g->op[i].kind].param; slot && slot->name; slot++)
            add_slot(g, i, slot);
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
    return op;
}

/* A layer's stages, the first of them reading op `from`; *end is the last. */
static bool add_stages(Graph *g, int index, int from, int out, bool unstrided, int *end)
{
    const SpecLayer *l = &g->spec->layer[index];
    for (int k = 0; k < l->nstage; k++) {
        const SpecStage *st = &l->stage[k];
        Op *op = add_layer_op(g, index, st->op, &from, 1, st->mark);
        if (!op)
            return false;
        if (!l->bare) {
            op->stage = stage_name(l, k);
            op->path = xprintf("%s.%s", l->name, op->stage);
        }
        for (int a = 0; a < OP_ARGS; a++)
            if (op_info[st->op].arg[a].name)
                op->arg[a] = st->arg[a];
        if (unstrided && st->op == OP_CONV)
            op->stride[0] = op->stride[1] = 1;
        if (st->op == OP_CONV)
            op->mark = l->kernel_mark;
        else if (st->op == OP_LINEAR)
            op->mark = l->out_mark.line ? l->out_mark : l->mark;
        if (!op_shape(g, op, out))
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
    return op && op_shape(b->g, op, 0);
}

/* Every stride-th pixel, and zeros for the channels that the branch has more. */
static bool add_pad(Graph *g, int index, int from, Shape to, int *end)
{
    const SpecLayer *l = &g->spec->layer[index];
    int more = to.c - g->op[from].shape.c;
    if (more < 0) {
        const Op *in = &g->op[from];
        diag_error2(l->mark, in->mark, gives(in, "what it reads"), "shortcut: conv-bn",
                    "%s: pad cannot make %d channels of %d", l->name, to.c, in->shape.c);
        return false;
    }
    Op *op = add_layer_op(g, index, OP_PAD, &from, 1, l->mark);
    if (!op)
        return false;
    memcpy(op->arg[ARG_STRIDE].size, l->stride, sizeof l->stride);
    op->arg[ARG_BEFORE].count = more / 2;
    *end = g->nop - 1;
    return op_shape(g, op, to.c);
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
static Shape plane_behind(const SpecLayer *l, Shape s, bool unstrided)
{
    for (int k = 0; k < l->nstage; k++) {
        const SpecStage *st = &l->stage[k];
        if (st->op != OP_CONV && st->op != OP_MAXPOOL && st->op != OP_AVGPOOL)
            continue;
        int side[2] = {s.h, s.w};
        for (int d = 0; d < 2; d++) {
            Walk walk = walk_of(st->op, st->arg, d);
            if (st->op == OP_CONV && unstrided)
                walk.stride = 1;
            side[d] = (int)windows(side[d], walk);
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
    const Shape with = plane_behind(l, from, false), without = plane_behind(l, from, true);
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
    bool same = same_shape(to, g->op[identity].shape);
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
    g->dims = s->dims;
    Op *in = add_op(g, OP_INPUT, NULL, 0, s->input_mark);
    in->layer = in->path = "input";
    in->shape = (Shape){s->input[0], s->input[1], s->input[2]};
    if (!shape_fits(g, in))
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
    decide_biases(g);
    if (!add_params(g))
        return NULL;
    graph_check(g);
    return g;
}

/* ---- the checker and the dump ---------------------------------------------------------------------------------- */

int graph_param(const Graph *g, int op, ParamRole role)
{
    int low = 0, high = g->nparam; /* the first of the op's: parameters stand in the order of ops */

    while (low < high) {
        const int mid = (low + high) / 2;
        if (g->param[mid].op < op)
            low = mid + 1;
        else
            high = mid;
    }
    for (int i = low; i < g->nparam && g->param[i].op == op; i++)
        if (g->param[i].role == role)
            return i;
    return -1;
}

void graph_check(const Graph *g)
{
    if (g->nop < 3 || g->op[0].kind != OP_INPUT || g->op[g->nop - 1].kind != OP_LOSS)
        BUG("graph: %d ops, from input to loss", g->nop);
    bool *read = xalloc((size_t)g->nop * sizeof *read);
    for (int i = 0, segment = 0; i < g->nop; i++) {
        const Op *op = &g->op[i];
        if (op->segment && (op->segment < segment || (op->segment == segment && g->op[i - 1].segment != segment)))
            BUG("graph: segment %d at %s", op->segment, op->path);
        segment = op->segment ? op->segment : segment;
        bool join = op_info[op->kind].cls == CLASS_JOIN;
        if (op->in >= i || op->in < (i ? 0 : -1) || !op->path || !op->layer)
            BUG("graph: op %d reads op %d", i, op->in);
        if ((join ? op->nin < 2 : op->nin != (i > 0)) || (op->nin && op->ins[0] != op->in))
            BUG("graph: %s reads %d ops", op->path, op->nin);
        for (int k = 0; k < op->nin; k++) {
            if (op->ins[k] < 0 || op->ins[k] >= i)
                BUG("graph: %s reads op %d", op->path, op->ins[k]);
            read[op->ins[k]] = true;
            if (op->kind == OP_ADD && !same_shape(op->shape, g->op[op->ins[k]].shape))
                BUG("graph: %s adds another shape", op->path);
        }
        if (op->shape.c < 1 || op->shape.h < 1 || op->shape.w < 1)
            BUG("graph: %s has shape %s", op->path, shape_text(op->shape));
        if (i && (op->kind == OP_INPUT || (op->kind == OP_LOSS) != (i == g->nop - 1)))
            BUG("graph: %s stands at %d", op->path, i);
        if ((op_info[op->kind].cls == CLASS_POINT || op_is_norm(op->kind)) &&
            memcmp(&op->shape, &g->op[op->in].shape, sizeof op->shape) != 0)
            BUG("graph: %s changes its shape", op->path);
        if (i && op->kind != OP_LOSS && (op->layer_index < 0 || op->layer_index >= g->spec->nlayer))
            BUG("graph: %s is of layer %d", op->path, op->layer_index);
    }
    for (int i = 0; i < g->nop - 1; i++)
        if (!read[i])
            BUG("graph: nothing reads %s", g->op[i].path);
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

/* "3,7" */
static const char *ins_text(const Op *op)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (int k = 0; k < op->nin; k++)
        buf_printf(&b, k ? ",%d" : "%d", op->ins[k]);
    return b.text;
}

void graph_dump(const Graph *g, FILE *to)
{
    static const char *const draws[] = {"const", "normal", "uniform"};
    fprintf(to, "graph %s: %d ops, %lld weights, %lld flops per image\n", g->spec->name, g->nop, (long long)g->weights,
            (long long)g->flops);
    for (int i = 0; i < g->nop; i++) {
        const Op *op = &g->op[i];
        fprintf(to, "%3d  %-20s", i, op->path);
        fprintf(to, op->nin ? " <- %-3s" : "       ", ins_text(op));
        fprintf(to, " %-14s %s", shape_text(op->shape), op_info[op->kind].name);
        if (op->kind == OP_CONV || op->kind == OP_MAXPOOL || op->kind == OP_AVGPOOL)
            fprintf(to, " kernel %dx%d stride %dx%d padding %s", op->kernel[0], op->kernel[1], op->stride[0],
                    op->stride[1], sides_whole(op->arg[ARG_PADDING].sides));
        for (int a = 0; a < OP_ARGS; a++)
            if (op_info[op->kind].arg[a].word && op->arg[a].count != (int)op_info[op->kind].arg[a].usual)
                fprintf(to, " %s", op_info[op->kind].arg[a].word);
        if (op->kind == OP_CONV && (op->dilation[0] > 1 || op->dilation[1] > 1))
            fprintf(to, " dilation %dx%d", op->dilation[0], op->dilation[1]);
        if (op->groups > 1)
            fprintf(to, " groups %d", op->groups);
        if (op->kind == OP_PAD)
            fprintf(to, " stride %dx%d before %d", op->stride[0], op->stride[1], op->before);
        if (op_info[op->kind].cls == CLASS_WEIGHT)
            fprintf(to, " bias %s%s%s%s", op->bias ? "yes" : "no", op->bias_why ? " (" : "",
                    op->bias_why ? op->bias_why : "", op->bias_why ? ")" : "");
        if (op_info[op->kind].cls == CLASS_POINT)
            for (int k = 0; k < op_may_args(op->kind); k++) {
                const int at = op_arg_at(op->kind, k);
                fprintf(to, " %s%s%.9g", k ? op_info[op->kind].arg[at].name : "", k ? " " : "", op->arg[at].real);
            }
        if (op_is_norm(op->kind))
            fprintf(to, " eps %.9g", op->eps);
        if (op_is_batch_norm(op->kind))
            fprintf(to, " momentum %.9g", op->momentum);
        if (op->segment)
            fprintf(to, "  segment %d", op->segment);
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
