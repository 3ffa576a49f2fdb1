/* shapes.c - the shape of what an op makes, and whether its arguments fit what it reads.
 *
 * needs: the ops before it, its arguments.  sets: Op.shape, .groups; arguments that a shape says: `same`, a depthwise
 * conv's groups; or collected errors. */
#include "parts.h"
#include "places.h"

#include <stddef.h>

_Static_assert(offsetof(Op, stride) - offsetof(Op, kernel) == sizeof(Arg) &&
                   offsetof(Op, padding) - offsetof(Op, kernel) == ARG_PADDING * sizeof(Arg) &&
                   offsetof(Op, after) - offsetof(Op, padding) == offsetof(Sides, after) &&
                   offsetof(Op, dilation) - offsetof(Op, kernel) == ARG_DILATION * sizeof(Arg) &&
                   offsetof(Op, counted) - offsetof(Op, kernel) == ARG_COUNTED * sizeof(Arg) &&
                   offsetof(Op, momentum) - offsetof(Op, eps) == ARG_MOMENTUM * sizeof(Arg) &&
                   offsetof(Op, maxv) - offsetof(Op, leak) == ARG_MAXV * sizeof(Arg),
               "an op's named arguments lie over arg[]");

#define MAX_IMAGE INT32_MAX            /* elements of a tensor, per image */
#define MAX_BATCHED ((int64_t)1 << 40) /* and a batch */

const char *graph_shape_text(Shape s)
{
    return xprintf("%d x %d x %d", s.c, s.h, s.w);
}

static Mark input_from(const Graph *g, const Op *op, const char **what)
{
    const Op *in = &g->op[op->in];
    *what =
        xprintf("its input, %s, comes from %s", graph_shape_text(in->shape), in->kind == OP_INPUT ? "here" : in->path);
    return in->mark;
}

Walk graph_walk(OpKind kind, const Arg *arg, int d)
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
int64_t graph_windows(int n, Walk w)
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
        Walk walk = graph_walk(op->kind, op->arg, d);
        const int n = d ? in.w : in.h;
        out[d] = graph_windows(n, walk);
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

/* A recurrent op walks along a length, its input's channels being what it reads in a step. */
static bool shape_recurrent(const Graph *g, Op *op)
{
    const Shape in = g->op[op->in].shape;
    if (g->dims != 1) {
        diag_error2(op->mark, g->spec->input_mark, "the input is an image", "input: [features, length]",
                    "%s: %s reads a sequence, not %s", op->path, op_info[op->kind].name, graph_shape_text(in));
        return false;
    }
    for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
        const PlaceNorm *n = op_place(op->kind, op->arg, p);
        if (n && op_is_batch_norm(n->op)) {
            if (g->spec->train.batch > 1 || (in.w > 1 && !n->step))
                continue;
            if (n->step) {
                diag_error(op->mark, "a batch of two or more, or ln",
                           "%s: with batches of 1 the norm in '%s' has a single value of each number in a step",
                           op->path, place_info[p].name);
                return false;
            }
            diag_error(op->mark, "a batch of two or more, or a longer sequence",
                       "%s: with batches of 1 and a single step the norm in '%s' has a single value of each number",
                       op->path, place_info[p].name);
            return false;
        }
        if (n && op->arg[ARG_HIDDEN].count * (n->each ? 1 : place_gates(op->kind, p)) == 1) {
            diag_error(op->mark, "two hidden units or more", "%s: the norm in '%s' has a single number a step",
                       op->path, place_info[p].name);
            return false;
        }
    }
    op->shape = (Shape){op->arg[ARG_HIDDEN].count, 1, op->arg[ARG_RETURN].count == RETURN_ALL ? in.w : 1};
    return true;
}

/* The rows of a table, one for each token of the input. */
static bool shape_embed(const Graph *g, Op *op)
{
    const Op *in = &g->op[op->in];
    if (!g->spec->tokens) {
        diag_error2(op->mark, g->spec->input_mark, "the input has numbers", "input: {tokens: 27, length: 16}",
                    "%s: embed reads tokens", op->path);
        return false;
    }
    if (in->kind != OP_INPUT) {
        diag_error2(op->mark, in->mark, graph_gives(in, "what it reads"), "put it first, or first in a branch",
                    "%s: embed reads the tokens of the input, and nothing else", op->path);
        return false;
    }
    op->shape = (Shape){op->arg[ARG_OUT].count, 1, in->shape.w};
    return true;
}

/* Tokens are names, no numbers: embed alone reads them. */
static bool reads_no_tokens(const Graph *g, const Op *op)
{
    bool tokens = false;
    for (int k = 0; k < op->nin; k++)
        tokens |= g->spec->tokens && g->op[op->ins[k]].kind == OP_INPUT;
    if (!tokens || op->kind == OP_EMBED)
        return true;
    diag_error2(op->mark, g->spec->input_mark, "the input has tokens", "- embed: 32 before it makes numbers of them",
                "%s: %s cannot read tokens", op->path, op_info[op->kind].name);
    return false;
}

/* Which ops may read a sequence whose samples have lengths of their own: those that make nothing of one step out of
 * another's, and recurrent ones, which stop. */
static bool respects_lengths(const Graph *g, Op *op)
{
    const OpInfo *info = &op_info[op->kind];
    bool lengths = false;
    for (int k = 0; k < op->nin; k++)
        lengths |= g->op[op->ins[k]].lengths;
    if (!lengths)
        return true;
    if (op_has_place_bn(op->kind, op->arg)) {
        diag_error2(op->mark, g->spec->input_mark, "samples have lengths", "ln or rms; or no lengths",
                    "%s: bn inside a step, over a batch that has lengths, is yet to be built", op->path);
        return false;
    }
    if (op->reverse) {
        diag_error2(op->mark, g->spec->input_mark, "samples have lengths", "leave bidirectional out; or no lengths",
                    "%s: a walk from where each sample ends is yet to be built", op->path);
        return false;
    }
    if (op_resets_before(op->kind, op->arg)) {
        diag_error2(op->mark, g->spec->input_mark, "samples have lengths", "reset: after; or no lengths",
                    "%s: reset: before, of samples with lengths, is yet to be built", op->path);
        return false;
    }
    if (op_is_recurrent(op->kind)) {
        op->lengths = op->arg[ARG_RETURN].count == RETURN_ALL;
        return true;
    }
    op->lengths = true;
    if (op->kind == OP_EMBED || op->kind == OP_ADD || op->kind == OP_CONCAT || info->cls == CLASS_POINT)
        return true;
    diag_error2(op->mark, g->spec->input_mark, "samples have lengths",
                "a recurrent layer that returns last, mean or max before it; or no lengths",
                "%s: %s would mix a sample with what pads it", op->path, info->name);
    return false;
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
    op->shape = (Shape){in.c * in.h * in.w, 1, 1}; /* fits: graph_shape_fits() saw the input */
    return true;
}

/* What comes from another op, for a message's second place. */
const char *graph_gives(const Op *op, const char *what)
{
    return xprintf("%s, %s, gives %s", what, op->kind == OP_INPUT ? "the input" : op->path,
                   graph_shape_text(op->shape));
}

bool graph_same_shape(Shape a, Shape b)
{
    return a.c == b.c && a.h == b.h && a.w == b.w;
}

/* A sum's two sides: the branch, and the shortcut, which has been made to fit as far as it can. */
static bool shape_add(const Graph *g, Op *op)
{
    const Op *a = &g->op[op->ins[0]], *b = &g->op[op->ins[1]];
    op->shape = a->shape;
    if (graph_same_shape(a->shape, b->shape))
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
    diag_error2(a->mark, b->mark, graph_gives(b, "the other side"), hint, "%s: the branch gives %s, the shortcut %s",
                op->path, graph_shape_text(a->shape), graph_shape_text(b->shape));
    return false;
}

static bool shape_concat(const Graph *g, Op *op)
{
    const Op *first = &g->op[op->ins[0]];
    int64_t c = 0;
    for (int k = 0; k < op->nin; k++) {
        const Op *in = &g->op[op->ins[k]];
        if (in->shape.h != first->shape.h || in->shape.w != first->shape.w) {
            diag_error2(in->mark, first->mark, graph_gives(first, "the first"),
                        "branches are joined by channels: their heights and widths must agree",
                        "%s: branch %d gives %s, the first %s", op->path, k + 1, graph_shape_text(in->shape),
                        graph_shape_text(first->shape));
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

bool graph_shape_fits(const Graph *g, const Op *op)
{
    int64_t n;
    if (!mul_fits(op->shape.c, op->shape.h, &n) || !mul_fits(n, op->shape.w, &n) || n > MAX_IMAGE) {
        diag_error(op->mark, NULL, "%s: an output of %s has more than 2^31 - 1 elements", op->path,
                   graph_shape_text(op->shape));
        return false;
    }
    if (!mul_fits(n, g->spec->train.batch, &n) || n > MAX_BATCHED) {
        diag_error(op->mark, "a smaller batch", "%s: an output of %s in batches of %d has more than 2^40 elements",
                   op->path, graph_shape_text(op->shape), g->spec->train.batch);
        return false;
    }
    return true;
}

/* `out`: how many outputs a weight op has. */
bool graph_op_shape(Graph *g, Op *op, int out)
{
    bool ok;
    if (!reads_no_tokens(g, op) || !respects_lengths(g, op))
        return false;
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
    case OP_RNN:
    case OP_GRU:
    case OP_LSTM:
        ok = shape_recurrent(g, op);
        break;
    case OP_EMBED:
        ok = shape_embed(g, op);
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
    return ok && graph_shape_fits(g, op);
}

Sides graph_halo(const Graph *g, const Op *op)
{
    const Shape in = g->op[op->in].shape;
    Sides s = op->arg[ARG_PADDING].sides;
    for (int d = 0; d < 2; d++) {
        const Walk walk = graph_walk(op->kind, op->arg, d);
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
