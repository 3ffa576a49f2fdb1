/* worked.c - `convoy plan --why LAYER --worked`: one channel of a norm through folding, with real numbers.
 *
 * needs: a complete plan, a checkpoint's numbers or the first draw. sets: nothing. All arithmetic is in double, as in
 * NAME_fold, on the float32 numbers; what is printed has nine digits, so that one can follow it with a calculator. */
#include "worked.h"

#include "why.h"

#include <math.h>
#include <string.h>

/* A norm at inference: y = scale z + shift. */
typedef struct Affine1 {
    double gamma, beta, mean, var, eps, scale, shift;
} Affine1;

typedef struct Worked {
    const Plan *p;
    const Graph *g;
    const Weights *w;
    bool trained; /* the numbers are a checkpoint's; else weights are the first draw, and norms have examples */
    int norm, channel;
    Affine1 a;
    FILE *to;
} Worked;

static void step(const Worked *k, int n, const char *text)
{
    fprintf(k->to, "\n%d. ", n);
    print_wrapped(text, 3, k->to);
}

/* A line of arithmetic. */
#define LINE(k, ...) fprintf((k)->to, "     " __VA_ARGS__)

/* ---- numbers ---- */

/* What a norm might have learned: a number of three digits in [from, to), by its parameter's name and the channel. */
static double example(const char *name, int channel, double from, double to)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    h = (h ^ (uint32_t)channel) * 16777619u;
    h ^= h >> 15;
    return round((from + (to - from) * (h % 1000) / 1000) * 1000) / 1000;
}

static double norm_number(const Worked *k, int norm, ParamRole role, double from, double to)
{
    const int param = graph_param(k->g, norm, role);

    if (k->trained)
        return (double)weights_at(k->p, k->w, param, k->channel);
    return example(k->g->param[param].name, k->channel, from, to);
}

static Affine1 affine_of(const Worked *k, int norm)
{
    Affine1 a = {.eps = k->g->op[norm].eps};

    a.gamma = norm_number(k, norm, PARAM_GAMMA, 0.6, 1.6);
    a.beta = norm_number(k, norm, PARAM_BETA, 0.1, 0.6);
    a.mean = norm_number(k, norm, PARAM_MEAN, -0.5, 0.5);
    a.var = norm_number(k, norm, PARAM_VAR, 0.3, 1.3);
    a.scale = a.gamma / sqrt(a.var + a.eps);
    a.shift = a.beta - a.mean * a.scale;
    return a;
}

/* Terms of one output of a weight op: `in` channels of its group by kernel positions. */
typedef struct Window {
    int op, param, in, kh, kw;
} Window;

static Window window_of(const Worked *k, int op)
{
    const Op *o = &k->g->op[op];
    const int channels = k->g->op[o->in].shape.c;

    if (o->kind == OP_LINEAR)
        return (Window){op, graph_param(k->g, op, PARAM_WEIGHT), channels, 1, 1};
    return (Window){op, graph_param(k->g, op, PARAM_WEIGHT), channels / o->groups, o->kernel[0], o->kernel[1]};
}

static double weight(const Worked *k, const Window *n, int out, int i, int y, int x)
{
    return (double)weights_at(k->p, k->w, n->param, (((int64_t)out * n->in + i) * n->kh + y) * n->kw + x);
}

/* The input that is worked with: small, and of both signs. */
static double input(int i, int y, int x)
{
    return ((7 * i + 3 * y + 5 * x) % 11 - 5) / 5.0;
}

#define INPUT "((7 i + 3 y + 5 x) mod 11 - 5) / 5"
static const char input_text[] = "x[i][y][x] = " INPUT;

static double product_sum(const Worked *k, const Window *n, double scale)
{
    double z = 0;

    for (int i = 0; i < n->in; i++)
        for (int y = 0; y < n->kh; y++)
            for (int x = 0; x < n->kw; x++)
                z += weight(k, n, k->channel, i, y, x) * scale * input(i, y, x);
    return z;
}

static double stored_sum(const Worked *k, const Window *n, double scale)
{
    double z = 0;

    for (int i = 0; i < n->in; i++)
        for (int y = 0; y < n->kh; y++)
            for (int x = 0; x < n->kw; x++)
                z += (double)(float)(weight(k, n, k->channel, i, y, x) * scale) * input(i, y, x);
    return z;
}

static double bias_of(const Worked *k, int op)
{
    const int param = graph_param(k->g, op, PARAM_BIAS);

    return param < 0 ? 0 : (double)weights_at(k->p, k->w, param, k->channel);
}

static const char *index_text(const Worked *k, const Window *n, int out, int i, int y, int x)
{
    const int dims = k->g->param[n->param].ndim;

    return dims == 2   ? xprintf("[%d][%d]", out, i)
           : dims == 3 ? xprintf("[%d][%d][%d]", out, i, x)
                       : xprintf("[%d][%d][%d][%d]", out, i, y, x);
}

/* ---- the steps ---- */

static void scale_and_shift(const Worked *k, int n)
{
    const Affine1 *a = &k->a;

    step(k, n,
         "A norm at inference is a scale and a shift: its mean and variance are the running ones, numbers like its "
         "gamma and beta.");
    LINE(k, "gamma %.9g   beta %.9g   running_mean %.9g   running_var %.9g   eps %.9g\n", a->gamma, a->beta, a->mean,
         a->var, a->eps);
    LINE(k, "y = gamma (z - mean) / sqrt(var + eps) + beta = scale z + shift\n");
    LINE(k, "scale = gamma / sqrt(var + eps) = %.9g / sqrt(%.9g + %.9g) = %.9g\n", a->gamma, a->var, a->eps, a->scale);
    LINE(k, "shift = beta - mean scale = %.9g - %.9g x %.9g = %.9g\n", a->beta, a->mean, a->scale, a->shift);
}

/* Norms folded before this one, and what they made of the weights: w scale, bias. */
static void folded_before(const Worked *k, const Kernel *kernel, double *scale, double *bias, const char **names)
{
    *scale = 1;
    *bias = bias_of(k, kernel->op);
    *names = NULL;
    for (int i = 0; i < kernel->w->nfold && kernel->w->fold[i] != k->norm; i++) {
        const Affine1 a = affine_of(k, kernel->w->fold[i]);
        *scale *= a.scale;
        *bias = a.scale * *bias + a.shift;
        *names =
            *names ? xprintf("%s, %s", *names, k->g->op[kernel->w->fold[i]].path) : k->g->op[kernel->w->fold[i]].path;
    }
}

/* "w[..] x[..] + ...": the first terms of an output, and how many more. */
static void print_sum(const Worked *k, const Window *n, const char *what, double scale, double bias, double result)
{
    const int64_t terms = (int64_t)n->in * n->kh * n->kw;
    int shown = 0;

    LINE(k, "%s ", what);
    for (int i = 0; i < n->in && shown < 3; i++)
        for (int y = 0; y < n->kh && shown < 3; y++)
            for (int x = 0; x < n->kw && shown < 3; x++)
                fprintf(k->to, "%s%.6g x %.6g", shown++ ? " + " : "", weight(k, n, k->channel, i, y, x) * scale,
                        input(i, y, x));
    if (terms > shown)
        fprintf(k->to, " + ... (%s terms)", grouped(terms));
    fprintf(k->to, " + %.9g = %.9g\n", bias, result);
}

static void folded(const Worked *k, const Kernel *kernel)
{
    const Affine1 *a = &k->a;
    const Window n = window_of(k, kernel->op);
    const char *op = k->g->op[kernel->op].path, *names, *first = index_text(k, &n, k->channel, 0, 0, 0);
    double scale, bias;

    folded_before(k, kernel, &scale, &bias, &names);
    const double w = weight(k, &n, k->channel, 0, 0, 0) * scale, z = product_sum(k, &n, scale) + bias,
                 y = a->scale * z + a->shift;
    const double new_bias = a->scale * bias + a->shift, y2 = product_sum(k, &n, scale * a->scale) + new_bias;
    const double stored = stored_sum(k, &n, scale * a->scale) + (double)(float)new_bias;

    step(k, 2,
         xprintf("What it scales and shifts is %s's output, z = sum of w x + b, with nothing in between%s. A scale of "
                 "a sum is a scale of each term:",
                 op, names ? xprintf(" but %s, folded already (w and b are those after it)", names) : " at inference"));
    LINE(k, "scale (sum w x + b) + shift = sum (scale w) x + (scale b + shift)\n");
    LINE(k, "weight %s: %.9g before, %.9g x %.9g = %.9g after\n", first, w, w, a->scale, w * a->scale);
    LINE(k, "bias of channel %d: %.9g before%s, %.9g x %.9g + %.9g = %.9g after\n", k->channel, bias,
         graph_param(k->g, kernel->op, PARAM_BIAS) < 0 && !names ? " (it has none)" : "", bias, a->scale, a->shift,
         new_bias);
    step(k, 3, xprintf("One output both ways, with the input %s:", input_text));
    print_sum(k, &n, "z =", scale, bias, z);
    LINE(k, "then the norm: y = %.9g x %.9g + %.9g = %.9g\n", a->scale, z, a->shift, y);
    print_sum(k, &n, "folded: y =", scale * a->scale, new_bias, y2);
    LINE(k, "difference %.1e; with the folded numbers as float32, as they are stored: %.9g, %.1e off\n", fabs(y2 - y),
         stored, fabs(stored - y));
    step(k, 4, "So no norm is left at inference: the same multiply-adds, with other numbers.");
}

static double activation(const Op *o, double z)
{
    switch (o->kind) {
    case OP_RELU:
        return z > 0 ? z : 0;
    case OP_LEAKY_RELU:
        return z > 0 ? z : o->value * z;
    case OP_TANH:
        return tanh(z);
    case OP_SIGMOID:
        return 1 / (1 + exp(-z));
    case OP_SILU:
        return z / (1 + exp(-z));
    default:
        BUG("%s is no activation", o->path);
    }
}

static const char *const act_text[OP_KINDS] = {
    [OP_RELU] = "relu", [OP_LEAKY_RELU] = "leaky", [OP_TANH] = "tanh", [OP_SIGMOID] = "sigmoid", [OP_SILU] = "silu"};

static void act_row(const Worked *k, const Op *o, double z, double scale, double shift)
{
    const double right = scale * activation(o, z) + shift, wrong = activation(o, scale * z + shift);

    LINE(k, "z = %12.9g, scale %12.9g:   after it %12.9g   in the weights %12.9g   %s\n", z, scale, right, wrong,
         fabs(right - wrong) <= 1e-9 * fabs(right) ? "equal" : "WRONG");
}

/* The channel's value at op v, one pixel, for the input above; not finite where windows or joins stand between. */
static double value(const Worked *k, int v)
{
    const Op *o = &k->g->op[v];

    if (op_info[o->kind].cls == CLASS_WEIGHT) {
        const Window n = window_of(k, v);
        return product_sum(k, &n, 1) + bias_of(k, v);
    }
    if (op_is_batch_norm(o->kind)) {
        const Affine1 a = affine_of(k, v);
        return a.scale * value(k, o->in) + a.shift;
    }
    return o->kind == OP_DROP ? value(k, o->in) : act_text[o->kind] ? activation(o, value(k, o->in)) : NAN;
}

/* The weight op before op v; -1: there is none, or a join stands between. */
static int weight_before(const Graph *g, int v)
{
    while (v > 0 && op_info[g->op[v].kind].cls != CLASS_WEIGHT) {
        if (op_info[g->op[v].kind].cls == CLASS_JOIN)
            return -1;
        v = g->op[v].in;
    }
    return v > 0 ? v : -1;
}

/* An operand of a sum other than the one that w leads to. */
static const char *other_operand(const Graph *g, const Op *sum, int w)
{
    for (int i = 0; i < sum->nin; i++)
        if (weight_before(g, sum->ins[i]) != w)
            return g->op[sum->ins[i]].path;
    return g->op[sum->ins[sum->nin - 1]].path;
}

/* A norm that a stage keeps from the weights before it. */
static void not_in_front(const Worked *k, int stop)
{
    const Op *o = &k->g->op[stop], *norm = &k->g->op[k->norm];
    const Affine1 *a = &k->a;
    const int w = weight_before(k->g, stop);
    const char *in_front = w >= 0 ? k->g->op[w].path : "the weights";

    if (act_text[o->kind]) {
        step(k, 2,
             xprintf("Between %s and it stands %s. In the weights, scale and shift would act in front of it, and "
                     "%s(scale z + shift) is not scale "
                     "%s(z) + shift:",
                     in_front, o->path, act_text[o->kind], act_text[o->kind]));
        double z = value(k, o->in);
        if (isfinite(z))
            LINE(k, "z = what %s reads, for the input %s\n", o->path, input_text);
        else
            z = 0.5;
        act_row(k, o, z, a->scale, a->shift);
        act_row(k, o, -z, a->scale, a->shift);
        act_row(k, o, z, -a->scale, a->shift);
        LINE(k, "(the last as if gamma were %.9g: what is decided holds for every gamma)\n", -a->gamma);
    } else if (o->kind == OP_MAXPOOL) {
        const double p = 0.5, q = -0.25;
        step(k, 2,
             xprintf("Between %s and it stands %s. In the weights, the scale would act in front of it; above zero that "
                     "is the same, but gamma may be "
                     "below zero, and "
                     "what is decided must hold for every gamma:",
                     in_front, o->path));
        for (int sign = 1; sign >= -1; sign -= 2) {
            const double s = sign * fabs(a->scale), right = s * (p > q ? p : q) + a->shift, one = s * p + a->shift,
                         other = s * q + a->shift;
            LINE(k, "of %.9g and %.9g, scale %12.9g:   after it %12.9g   in the weights %12.9g   %s\n", p, q, s, right,
                 one > other ? one : other, right >= one && right >= other ? "equal" : "WRONG");
        }
    } else if (o->kind == OP_ADD) {
        step(k, 2,
             xprintf("Between weights and it stands %s, a sum: scale (a + b) + shift = (scale a + shift) + scale b. "
                     "All operands would have to be "
                     "scaled, %s as well, "
                     "which is read by others or has no weights of its own.",
                     o->path, other_operand(k->g, o, k->p->infer[plan_norm(k->p, k->norm)->kernel].op)));
    } else {
        step(k, 2,
             xprintf("Between %s and it stands %s, which %s: the plan folds nothing after it.", in_front, o->path,
                     op_info[o->kind].cls == CLASS_WINDOW ? "works on several pixels at once"
                                                          : "is no scale and shift per channel"));
    }
    const int64_t area = (int64_t)norm->shape.c * norm->shape.h * norm->shape.w;
    step(k, 3,
         xprintf("So it stays where it is, as one multiply-add for each output, on the register that is there anyway: "
                 "y = scale r + shift, %s of "
                 "them an image, where the "
                 "whole network has %s.",
                 grouped(area), grouped(k->g->flops / 2)));
    LINE(k, "r = %.9g: y = %.9g x %.9g + %.9g = %.9g\n", 0.5, a->scale, 0.5, a->shift, a->scale * 0.5 + a->shift);
}

static int only_reader(const Graph *g, int v)
{
    int reader = -1;

    for (int i = v + 1; i < g->nop; i++)
        for (int j = 0; j < g->op[i].nin; j++) {
            if (g->op[i].ins[j] != v)
                continue;
            if (reader >= 0)
                return -1;
            reader = i;
        }
    return reader;
}

/* Why not forward, into the weights that read it. */
static void not_forward(const Worked *k, int n)
{
    const Affine1 *a = &k->a;
    const int r = only_reader(k->g, k->norm);
    const Op *o = r >= 0 ? &k->g->op[r] : NULL;

    if (!o || (o->kind != OP_CONV && o->kind != OP_LINEAR)) {
        step(k, n,
             o ? xprintf("Nor forward, into weights after it: %s stands before them.", o->path)
               : "Nor forward, into weights after it: several ops read it.");
        return;
    }
    if (o->kind == OP_LINEAR || sides_zero(o->arg[ARG_PADDING].sides)) {
        step(k, n,
             xprintf("Forward, into the weights of %s, it would be right here, as nothing is padded; the plan has one "
                     "rule for all shapes, and leaves it.",
                     o->path));
        return;
    }
    const Window m = window_of(k, r);
    const int group = k->channel / m.in, out = group * (o->shape.c / o->groups), i = k->channel % m.in;
    const bool first = o->padding[0] || o->padding[1]; /* else the last pixel is it whose taps lie outside */
    const int oy = first ? 0 : o->shape.h - 1, ox = first ? 0 : o->shape.w - 1;
    double all = 0, outside = 0, right = 0, wrong = 0;
    int taps = 0;
    for (int y = 0; y < m.kh; y++)
        for (int x = 0; x < m.kw; x++) {
            const double w = weight(k, &m, out, i, y, x);
            const int iy = oy * o->stride[0] - o->padding[0] + y * o->dilation[0],
                      ix = ox * o->stride[1] - o->padding[1] + x * o->dilation[1];
            const bool inside = iy >= 0 && ix >= 0 && iy < k->g->op[o->in].shape.h && ix < k->g->op[o->in].shape.w;
            all += w;
            outside += inside ? 0 : w;
            taps += !inside;
            if (inside) {
                right += w * (a->scale * input(i, iy, ix) + a->shift);
                wrong += w * a->scale * input(i, iy, ix);
            }
        }
    step(k, n,
         xprintf("Nor forward, into the weights of %s (w scale, and the bias plus shift times the sum of w): inside "
                 "the image that is right, but at "
                 "its border the conv pads with "
                 "zeros after the norm, which are no shifted zeros. Its output channel %d, of this channel alone, at "
                 "pixel (%d, %d), where %d of %d "
                 "taps lie outside:",
                 o->path, out, oy, ox, taps, m.kh * m.kw));
    LINE(k, "what the norm reads: x[y][x] = %s, with i = %d\n", INPUT, i);
    LINE(k, "right: sum over taps inside of w (scale x + shift) = %.9g\n", right);
    LINE(k, "folded: sum over taps inside of (w scale) x + shift x sum of all w = %.9g + %.9g x %.9g = %.9g\n", wrong,
         a->shift, all, wrong + a->shift * all);
    LINE(k, "off by shift x the sum of w outside = %.9g x %.9g = %.9g\n", a->shift, outside, a->shift * outside);
}

static void in_prologue(const Worked *k)
{
    const Graph *g = k->g;
    const Affine1 *a = &k->a;
    const int in = g->op[k->norm].in;
    const char *others = NULL;

    for (int i = in + 1; i < g->nop; i++)
        for (int j = 0; j < g->op[i].nin; j++)
            if (g->op[i].ins[j] == in && i != k->norm)
                others = others ? xprintf("%s, %s", others, g->op[i].path) : g->op[i].path;
    if (in == 0) {
        step(k, 2, "Before it stands the input alone: there are no weights that it could go into.");
    } else if (op_info[g->op[in].kind].cls == CLASS_WEIGHT && others) {
        const Window n = window_of(k, in);
        const double z = product_sum(k, &n, 1) + bias_of(k, in);
        step(k, 2,
             xprintf("Before it stands %s, but %s read%s that, too, and want%s it as it is. With the input %s:",
                     g->op[in].path, others, strchr(others, ',') ? "" : "s", strchr(others, ',') ? "" : "s",
                     input_text));
        LINE(k, "%s = %.9g; with the norm in its weights it would be %.9g x %.9g + %.9g = %.9g for all of them\n",
             g->op[in].path, z, a->scale, z, a->shift, a->scale * z + a->shift);
    } else {
        step(
            k, 2,
            xprintf("Before it stands %s%s%s.", g->op[in].path,
                    g->op[in].kind == OP_CONCAT ? ", tensors of several kernels, which others read as well" : "",
                    others ? xprintf(", which %s read%s, too, as it is", others, strchr(others, ',') ? "" : "s") : ""));
    }
    step(k, 3, "So it is one multiply-add per element, where its reader packs what it reads:");
    LINE(k, "x = %.9g: y = %.9g x %.9g + %.9g = %.9g\n", 0.5, a->scale, 0.5, a->shift, a->scale * 0.5 + a->shift);
}

void worked_print(const Plan *p, int norm, int channel, const Weights *w, const char *checkpoint, FILE *to)
{
    Worked worked =
               {.p = p, .g = p->g, .w = w, .trained = checkpoint != NULL, .norm = norm, .channel = channel, .to = to},
           *k = &worked;
    const Norm *n = plan_norm(p, norm);

    k->a = affine_of(k, norm);
    fprintf(to, "%s of %s, channel %d of %d, worked through\n", p->g->op[norm].path, p->g->spec->name, channel,
            p->g->op[norm].shape.c);
    if (checkpoint)
        fprintf(to, "(all numbers from %s)\n", checkpoint);
    else
        print_wrapped(xprintf("(weights as first drawn, with seed %lld; the norm's four numbers are examples, for "
                              "before training gamma is 1, beta "
                              "0, mean 0 and var 1; --weights W "
                              "takes a checkpoint's)",
                              (long long)p->g->spec->train.seed),
                      1, to);
    scale_and_shift(k, 1);
    if (n->place == NORM_FOLDED) {
        folded(k, &p->infer[n->kernel]);
    } else {
        if (n->place == NORM_EPILOGUE && n->stopped_by >= 0)
            not_in_front(k, n->stopped_by);
        else
            in_prologue(k);
        not_forward(k, 4);
    }
    fprintf(to, "\nthe plan: %s is ", p->g->op[norm].path);
    print_wrapped(n->inference, 10, to);
}
