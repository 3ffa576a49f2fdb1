/* test_interp.c - the reference interpreter against central finite differences, op by op and in chains, and against
 * cases worked out by hand. Graphs are built here without any pass, so that nothing else is under test. */
#include "acts.h"
#include "interp.h"
#include "places.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- graphs by hand ---- */

enum { MOST_OPS = 32, MOST_PARAMS = 64, MOST_INPUTS = 4 };
typedef struct Net {
    Graph g;
    Op op[MOST_OPS];
    int ins[MOST_OPS][MOST_INPUTS];
    int from; /* what the next op reads */
    Param param[MOST_PARAMS];
    struct Places places[MOST_OPS]; /* of recurrent ops */
} Net;

static void net_param(Net *t, ParamRole role, int ndim, int d0, int d1, int d2, int d3)
{
    ck_assert_int_lt(t->g.nparam, MOST_PARAMS);
    t->param[t->g.nparam++] =
        (Param){.name = "p", .role = role, .op = t->g.nop - 1, .ndim = ndim, .dim = {d0, d1, d2, d3}};
}

static Op *net_op(Net *t, OpKind kind, int c, int h, int w)
{
    ck_assert_int_lt(t->g.nop, MOST_OPS);
    t->g.op = t->op;
    t->g.param = t->param;
    Op *o = &t->op[t->g.nop];
    *o = (Op){.kind = kind,
              .in = t->from,
              .nin = kind != OP_INPUT,
              .ins = t->ins[t->g.nop],
              .shape = {c, h, w},
              .layer = "l",
              .path = "l",
              .groups = 1,
              .kernel = {1, 1},
              .stride = {1, 1},
              .dilation = {1, 1}};
    t->ins[t->g.nop][0] = t->from;
    t->from = t->g.nop++;
    return o;
}

/* The shape of what the next op reads. */
static Shape last(const Net *t)
{
    return t->op[t->from].shape;
}

static void window(Op *o, Shape in, int kh, int kw, int sh, int sw, int ph, int pw)
{
    o->kernel[0] = kh, o->kernel[1] = kw;
    o->stride[0] = sh, o->stride[1] = sw;
    o->padding[0] = o->after[0] = ph, o->padding[1] = o->after[1] = pw;
    o->shape.h = (in.h + 2 * ph - o->dilation[0] * (kh - 1) - 1) / sh + 1;
    o->shape.w = (in.w + 2 * pw - o->dilation[1] * (kw - 1) - 1) / sw + 1;
}

static void conv(Net *t, int out, int kh, int kw, int sh, int sw, int ph, int pw, bool bias)
{
    Shape in = last(t);
    Op *o = net_op(t, OP_CONV, out, 0, 0);
    window(o, in, kh, kw, sh, sw, ph, pw);
    net_param(t, PARAM_WEIGHT, 4, out, in.c, kh, kw);
    if (bias)
        net_param(t, PARAM_BIAS, 1, out, 0, 0, 0);
}

static void conv_grouped(Net *t, int out, int groups, int kernel, int stride, int padding, int dilation)
{
    Shape in = last(t);
    Op *o = net_op(t, OP_CONV, out, 0, 0);
    o->groups = groups;
    o->dilation[0] = o->dilation[1] = dilation;
    window(o, in, kernel, kernel, stride, stride, padding, padding);
    net_param(t, PARAM_WEIGHT, 4, out, in.c / groups, kernel, kernel);
    net_param(t, PARAM_BIAS, 1, out, 0, 0, 0);
}

/* Over the length alone: a weight of three dimensions. */
static void conv_long(Net *t, int out, int kernel, int stride, int padding)
{
    Shape in = last(t);
    ck_assert_int_eq(in.h, 1);
    Op *o = net_op(t, OP_CONV, out, 0, 0);
    window(o, in, 1, kernel, 1, stride, 0, padding);
    net_param(t, PARAM_WEIGHT, 3, out, in.c, kernel, 0);
}

static void linear(Net *t, int out, bool bias)
{
    Shape in = last(t);
    net_op(t, OP_LINEAR, out, 1, 1);
    net_param(t, PARAM_WEIGHT, 2, out, in.c * in.h * in.w, 0, 0);
    if (bias)
        net_param(t, PARAM_BIAS, 1, out, 0, 0, 0);
}

static void recurrent(Net *t, OpKind kind, int hidden, int returns, int act, bool bias)
{
    static const int gates[OP_KINDS] = {[OP_RNN] = 1, [OP_GRU] = 3, [OP_LSTM] = 4};
    Shape in = last(t);
    Op *o = net_op(t, kind, hidden, 1, returns == RETURN_ALL ? in.w : 1);
    memset(o->arg, 0, sizeof o->arg);
    o->arg[ARG_HIDDEN].count = hidden;
    o->arg[ARG_RETURN].count = returns;
    o->arg[ARG_CELL_ACT].count = act;
    net_param(t, PARAM_WEIGHT, 2, gates[kind] * hidden, in.c, 0, 0);
    net_param(t, PARAM_HIDDEN_WEIGHT, 2, gates[kind] * hidden, hidden, 0, 0);
    for (int r = PARAM_BIAS; bias && r <= PARAM_HIDDEN_BIAS; r += PARAM_HIDDEN_BIAS - PARAM_BIAS)
        net_param(t, (ParamRole)r, 1, gates[kind] * hidden, 0, 0, 0);
}

/* Puts a norm into a place of the recurrent op that was added last. */
static void cell_norm(Net *t, CellPlace place, PlaceNorm norm)
{
    Op *o = &t->op[t->g.nop - 1];
    struct Places *p = &t->places[t->g.nop - 1];
    const bool units = place == PLACE_CELL || place == PLACE_HIDDEN;
    const int gates = units ? 1 : o->kind == OP_LSTM ? 4 : o->kind == OP_GRU ? 3 : 1;
    p->of[place] = norm;
    o->arg[ARG_CELL_NORM].places = p;
    const int rows = place_table_rows(&norm, t->op[o->in].shape.w), channels = gates * o->arg[ARG_HIDDEN].count;
    for (int r = PARAM_GAMMA; r <= (norm.op == OP_BN ? PARAM_COUNT : PARAM_BETA); r++) {
        const bool table = rows && (r == PARAM_MEAN || r == PARAM_VAR);
        if (r == PARAM_BETA && !norm.beta)
            continue;
        net_param(t, (ParamRole)r, r == PARAM_COUNT ? 0 : 1 + table, table ? rows : channels, table ? channels : 0, 0,
                  0);
        t->param[t->g.nparam - 1].place = place;
    }
}

static void bn(Net *t)
{
    Shape in = last(t);
    Op *o = net_op(t, OP_BN, in.c, in.h, in.w);
    o->eps = 1e-5;
    o->momentum = 0.1;
    for (int r = PARAM_GAMMA; r <= PARAM_VAR; r++)
        net_param(t, (ParamRole)r, 1, in.c, 0, 0, 0);
    net_param(t, PARAM_COUNT, 0, 0, 0, 0, 0);
}

static void image_norm(Net *t, OpKind kind, int groups)
{
    Shape in = last(t);
    Op *o = net_op(t, kind, in.c, in.h, in.w);
    o->eps = 1e-5;
    o->groups = groups;
    net_param(t, PARAM_GAMMA, 1, in.c, 0, 0, 0);
    if (kind != OP_RMS)
        net_param(t, PARAM_BETA, 1, in.c, 0, 0, 0);
}

static void point(Net *t, OpKind kind, double arg)
{
    Shape in = last(t);
    Op *o = net_op(t, kind, in.c, in.h, in.w);
    o->value = arg;
}

static void pool(Net *t, OpKind kind, int kh, int kw, int sh, int sw, int ph, int pw)
{
    Shape in = last(t);
    Op *o = net_op(t, kind, in.c, 0, 0);
    window(o, in, kh, kw, sh, sw, ph, pw);
    o->counted = true;
}

static void gap(Net *t)
{
    net_op(t, OP_GLOBAL_AVG_POOL, last(t).c, 1, 1);
}

static void flatten(Net *t)
{
    Shape in = last(t);
    net_op(t, OP_FLATTEN, in.c * in.h * in.w, 1, 1);
}

static void pad(Net *t, int out, int before, int sh, int sw)
{
    Shape in = last(t);
    Op *o = net_op(t, OP_PAD, out, (in.h - 1) / sh + 1, (in.w - 1) / sw + 1);
    o->before = before;
    o->stride[0] = sh, o->stride[1] = sw;
}

/* A join of n ops, whose indices follow. */
static void join(Net *t, OpKind kind, int n, const int *ins)
{
    Shape s = t->op[ins[0]].shape;
    ck_assert_int_le(n, MOST_INPUTS);
    for (int k = 1; k < n; k++) {
        const Shape *b = &t->op[ins[k]].shape;
        ck_assert(b->h == s.h && b->w == s.w && (kind == OP_CONCAT || b->c == s.c));
        s.c += kind == OP_CONCAT ? b->c : 0;
    }
    t->from = ins[0];
    Op *o = net_op(t, kind, s.c, s.h, s.w);
    o->nin = n;
    memcpy(t->ins[t->from], ins, (size_t)n * sizeof *ins);
}
#define JOIN(t, kind, ...) join(t, kind, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (const int[]){__VA_ARGS__})

/* Adds the last op's output to that of `shortcut`. */
static void add_to(Net *t, int shortcut)
{
    JOIN(t, OP_ADD, shortcut, t->from);
}

static void loss(Net *t)
{
    net_op(t, OP_LOSS, 1, 1, 1);
}

/* ---- random numbers and the check ---- */

static uint64_t state = 88172645463325252u;

static double uniform(double lo, double hi)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return lo + (hi - lo) * (double)(state >> 11) / 9007199254740992.0;
}

static double run(Interp *ip, const double *x, const int *label, int n)
{
    interp_forward(ip, x, label, n, true);
    return ip->loss;
}

static void compare(double *v, double want, Interp *ip, const double *x, const int *label, int n, const char *what,
                    int64_t e)
{
    double old = *v, h = 1e-6, up, down;
    *v = old + h;
    up = run(ip, x, label, n);
    *v = old - h;
    down = run(ip, x, label, n);
    *v = old;
    double got = (up - down) / (2 * h);
    ck_assert_msg(fabs(got - want) <= 1e-7 + 1e-5 * fabs(want), "%s[%lld]: backward %.12g, differences %.12g", what,
                  (long long)e, want, got);
}

/* Every gradient of the net against central differences: parameters and input. */
static void differences(const Net *t, int n)
{
    Interp *ip = interp_new(&t->g, n);
    int64_t size = n * interp_image(&t->g, 0);
    double *x = calloc((size_t)size, sizeof *x);
    int *label = calloc((size_t)n, sizeof *label), moved = 0;
    double value[256];
    ck_assert(x && label && n * t->op[t->g.nop - 2].shape.c <= 256);
    for (int i = 0; i < n * t->op[t->g.nop - 2].shape.c && t->g.spec; i++) /* no draw where nobody reads it */
        value[i] = uniform(-1, 1);
    ip->value = value;
    for (int64_t i = 0; i < size; i++)
        x[i] = uniform(-2, 2);
    for (int i = 0; i < n; i++)
        label[i] = (int)uniform(0, t->op[t->g.nop - 2].shape.c);
    for (int p = 0; p < t->g.nparam; p++)
        for (int64_t i = 0; i < interp_numel(&t->param[p]); i++)
            ip->param[p][i] = uniform(-1, 1) + (t->param[p].role == PARAM_VAR) * 2;
    for (int o = 0; o < t->g.nop; o++)
        for (int64_t i = 0; ip->mask[o] && i < n * interp_image(&t->g, o); i++)
            ip->mask[o][i] = uniform(0, 1) > t->op[o].value;
    run(ip, x, label, n);
    interp_backward(ip);
    double *dx = calloc((size_t)size, sizeof *dx);
    ck_assert(dx != NULL);
    memcpy(dx, ip->dout[0], (size_t)size * sizeof *dx);
    for (int64_t i = 0; i < size; i++) {
        compare(&x[i], dx[i], ip, x, label, n, "input", i);
        moved += fabs(dx[i]) > 1e-9;
    }
    for (int p = 0; p < t->g.nparam; p++)
        for (int64_t i = 0; ip->dparam[p] && i < interp_numel(&t->param[p]); i++) {
            compare(&ip->param[p][i], ip->dparam[p][i], ip, x, label, n, "parameter", i);
            moved += fabs(ip->dparam[p][i]) > 1e-9;
        }
    ck_assert_msg(moved > 0, "every gradient is zero: nothing was tested");
    interp_free(ip);
    free(x);
    free(dx);
    free(label);
}

static Net start(int c, int h, int w)
{
    Net t = {.g = {0}};
    t.from = -1;
    net_op(&t, OP_INPUT, c, h, w);
    return t;
}

/* A Net that was returned by value points at its old place. */
static void done(Net *t, int n)
{
    loss(t);
    differences(t, n);
}

/* Norms inside the steps of each cell: each place that it has alone, and several together. */
START_TEST(diff_places)
{
    static const OpKind cell[] = {OP_RNN, OP_GRU, OP_LSTM};
    const OpKind kind = cell[_i % 3];
    const PlaceNorm ln = {.op = OP_LN, .eps = 1e-3, .gamma = 1, .beta = true},
                    rms = {.op = OP_RMS, .eps = 1e-3, .gamma = 1};
    const PlaceNorm norm[] = {ln, rms, {.op = OP_LN, .eps = 1e-3, .gamma = 1, .beta = true, .each = kind != OP_RNN}};
    static const unsigned several[] = {IN_PLACE(PLACE_INPUT) | IN_PLACE(PLACE_RECURRENT),
                                       IN_PLACE(PLACE_SUM) | IN_PLACE(PLACE_HIDDEN) | IN_PLACE(PLACE_CELL),
                                       IN_PLACE(PLACE_CELL) | IN_PLACE(PLACE_INPUT), IN_PLACE(PLACE_INPUT)};
    for (int set = 0; set < PLACES - 1 + 4; set++) {
        unsigned in = set < PLACES - 1 ? IN_PLACE(set + 1) : several[set - PLACES + 1];
        const bool by_step = set % 3 == _i / 3;
        in &= op_info[kind].cell->places;
        Net t = start(3, 1, 4);
        recurrent(&t, kind, 4, set % RETURNS == RETURN_MAX ? RETURN_ALL : set % RETURNS, CELL_TANH, set % 2);
        for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
            PlaceNorm n = norm[_i / 3];
            n.each &= p < PLACE_CELL;
            n.carried = p == PLACE_CELL && set > PLACE_CELL;
            if (set == PLACES + 1 && p == PLACE_INPUT) /* bn of all steps, and of each */
                n = (PlaceNorm){.op = OP_BN, .eps = 1e-3, .momentum = 0.1, .gamma = 1, .beta = true};
            if (by_step)
                n = (PlaceNorm){.op = OP_BN,
                                .step = true,
                                .steps = set % 2 ? 2 : 0,
                                .eps = 1e-3,
                                .momentum = 0.1,
                                .gamma = 1,
                                .beta = p != PLACE_RECURRENT,
                                .carried = n.carried};
            if (in & IN_PLACE(p))
                cell_norm(&t, p, n);
        }
        flatten(&t);
        linear(&t, 3, true);
        done(&t, by_step ? 4 : 2);
    }
}

/* Each cell, with each way to return; and one behind another, with a conv between. */
START_TEST(diff_recurrent)
{
    static const OpKind cell[] = {OP_RNN, OP_GRU, OP_LSTM};
    for (int i = 0; i < 2 * RETURNS; i++) {
        const int returns = i / 2;
        Net t = start(3, 1, 5);
        recurrent(&t, cell[_i], 4, returns, CELL_TANH, returns != RETURN_MEAN);
        t.op[t.g.nop - 1].reverse = i % 2;
        flatten(&t);
        linear(&t, 3, true);
        done(&t, 2);
    }
    for (int i = 0; i < 2 && cell[_i] == OP_GRU; i++) {
        Net b = start(3, 1, 4);
        recurrent(&b, OP_GRU, 4, RETURN_ALL, RESET_BEFORE, i == 0);
        flatten(&b);
        linear(&b, 3, true);
        done(&b, 2);
    }
    Net t = start(2, 1, 6);
    recurrent(&t, cell[_i], 3, RETURN_ALL, cell[_i] == OP_RNN ? CELL_RELU : CELL_TANH, true);
    conv_long(&t, 4, 3, 1, 1);
    recurrent(&t, cell[(_i + 1) % 3], 2, RETURN_LAST, CELL_TANH, true);
    linear(&t, 3, true);
    done(&t, 3);
}
END_TEST

START_TEST(diff_conv)
{
    static const int shape[][7] = {{3, 3, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 0, 0, 0}, {3, 3, 2, 2, 1, 1, 1},
                                   {2, 4, 1, 1, 0, 2, 1}, {5, 1, 3, 1, 2, 0, 0}, {1, 3, 1, 2, 0, 1, 1},
                                   {3, 2, 2, 3, 2, 1, 0}, {2, 2, 3, 3, 0, 0, 1}};
    const int *s = shape[_i];
    Net t = start(2, 5, 6);
    conv(&t, 3, s[0], s[1], s[2], s[3], s[4], s[5], s[6] != 0);
    flatten(&t);
    linear(&t, 3, true);
    done(&t, 2);
}
END_TEST

START_TEST(diff_conv_grouped)
{
    Net t = start(4, 5, 5);
    Op *o = net_op(&t, OP_CONV, 6, 0, 0);
    o->groups = 2, o->dilation[0] = 2;
    window(o, (Shape){4, 5, 5}, 2, 3, 1, 1, 1, 1);
    net_param(&t, PARAM_WEIGHT, 4, 6, 2, 2, 3);
    gap(&t);
    done(&t, 2);
}
END_TEST

/* The nth of all activations, each with each list of arguments that acts.c has of it; then a slope that no spec can
 * have, and dropout. */
static bool nth_point(int nth, OpKind *kind, Arg arg[OP_ARGS])
{
    for (OpKind k = 0; k < OP_KINDS; k++)
        for (int i = 0; op_is_act(k) && act_args(k, i, arg); i++)
            if (nth-- == 0) {
                *kind = k;
                return true;
            }
    memset(arg, 0, OP_ARGS * sizeof *arg);
    *kind = nth == 0 ? OP_LEAKY_RELU : OP_DROP;
    arg[0].real = nth == 0 ? -0.3 : 0.4;
    return nth < 2;
}

START_TEST(diff_point)
{
    Net t = start(2, 3, 4);
    conv(&t, 3, 3, 3, 1, 1, 1, 1, true);
    OpKind kind;
    Arg arg[OP_ARGS];
    ck_assert(nth_point(_i, &kind, arg));
    point(&t, kind, 0);
    memcpy(t.op[t.g.nop - 1].arg, arg, sizeof arg);
    flatten(&t);
    linear(&t, 4, true);
    done(&t, 3);
}
END_TEST

START_TEST(diff_pool)
{
    static const int shape[][6] = {
        {2, 2, 2, 2, 0, 0}, {3, 3, 2, 2, 1, 1}, {3, 2, 1, 3, 1, 0}, {1, 3, 2, 1, 0, 1}, {2, 2, 3, 3, 1, 1}};
    const int *s = shape[_i % 5];
    Net t = start(2, 5, 7);
    pool(&t, _i < 5 ? OP_MAXPOOL : OP_AVGPOOL, s[0], s[1], s[2], s[3], s[4], s[5]);
    flatten(&t);
    linear(&t, 3, false);
    done(&t, 2);
}
END_TEST

START_TEST(diff_bn)
{
    Net t = start(3, _i ? 1 : 3, _i ? 1 : 2);
    bn(&t);
    flatten(&t);
    linear(&t, 3, true);
    done(&t, 5);
}
END_TEST

/* Groups of channels, all of them, each; the input's norm, and two in a row; features. */
START_TEST(diff_image_norm)
{
    const bool image = _i < 4 || _i == 5;
    Net t = start(6, image ? 3 : 1, image ? 2 : 1);
    if (_i == 3)
        image_norm(&t, OP_GN, 2), point(&t, OP_TANH, 0), image_norm(&t, OP_LN, 1), bn(&t);
    else
        conv(&t, 6, 1, 1, 1, 1, 0, 0, true);
    image_norm(&t,
               _i == 1   ? OP_LN
               : _i == 2 ? OP_IN
               : _i > 4  ? OP_RMS
                         : OP_GN,
               _i == 1 || _i > 4 ? 1
               : _i == 2         ? 6
                                 : 3);
    flatten(&t);
    linear(&t, 3, true);
    done(&t, 4);
}
END_TEST

/* Orders that break naive designs. */
START_TEST(diff_chain)
{
    Net t = start(2, 6, 5);
    switch (_i) {
    case 0: /* conv-bn-act-bn, norm on the logits */
        conv(&t, 3, 3, 3, 1, 1, 1, 1, false), bn(&t), point(&t, OP_RELU, 0), bn(&t);
        gap(&t), linear(&t, 3, true), bn(&t);
        break;
    case 1: /* silu before the norm, norm on the input */
        bn(&t), conv(&t, 3, 3, 3, 2, 2, 1, 1, true), point(&t, OP_SILU, 0), bn(&t), flatten(&t), linear(&t, 4, true);
        break;
    case 2: /* pool and dropout before the norm, a norm before the conv */
        point(&t, OP_DROP, 0.2), bn(&t), conv(&t, 4, 3, 3, 1, 1, 1, 1, true), pool(&t, OP_MAXPOOL, 2, 2, 2, 2, 0, 0);
        point(&t, OP_DROP, 0.5), bn(&t), point(&t, OP_TANH, 0), flatten(&t), linear(&t, 5, true), point(&t, OP_RELU, 0);
        bn(&t), linear(&t, 3, true);
        break;
    case 3: /* no activation at all */
        conv(&t, 2, 2, 3, 2, 1, 0, 1, true), bn(&t), bn(&t), conv(&t, 3, 1, 1, 1, 1, 0, 0, true),
            pool(&t, OP_AVGPOOL, 2, 2, 1, 1, 1, 1);
        bn(&t), gap(&t);
        break;
    }
    done(&t, 4);
}
END_TEST

/* Values instead of classes; and a norm whose statistics are numbers, as it is frozen. */
START_TEST(diff_values_and_frozen)
{
    const Spec squares = {.train.loss = &cvy_mse};
    for (int frozen = 0; frozen < 2; frozen++) {
        Net t = start(2, 4, 3);
        t.g.spec = &squares;
        Op *o = net_op(&t, OP_BN, 2, 4, 3);
        o->eps = 1e-3;
        o->momentum = 0.1;
        o->frozen = frozen;
        net_param(&t, PARAM_GAMMA, 1, 2, 0, 0, 0);
        net_param(&t, PARAM_BETA, 1, 2, 0, 0, 0);
        net_param(&t, PARAM_MEAN, 1, 2, 0, 0, 0);
        net_param(&t, PARAM_VAR, 1, 2, 0, 0, 0);
        net_op(&t, OP_LINEAR, 5, 1, 1);
        net_param(&t, PARAM_WEIGHT, 2, 5, 24, 0, 0);
        done(&t, 3);
    }
}
END_TEST

START_TEST(diff_conv_forms)
{
    Net t = start(_i == 4 ? 5 : 6, _i == 4 ? 1 : 6, 7);
    switch (_i) {
    case 0: /* depthwise */
        conv_grouped(&t, 6, 6, 3, 1, 1, 1);
        break;
    case 1: /* depthwise, two outputs a channel */
        conv_grouped(&t, 12, 6, 3, 2, 1, 1);
        break;
    case 2: /* dilated */
        conv_grouped(&t, 4, 1, 3, 1, 2, 2);
        break;
    case 3: /* grouped, dilated, with a stride */
        conv_grouped(&t, 9, 3, 2, 2, 1, 3);
        break;
    case 4: /* over a length, with weights of three dimensions */
        conv_long(&t, 4, 3, 2, 1), point(&t, OP_TANH, 0), conv_long(&t, 3, 1, 1, 0);
        break;
    }
    point(&t, OP_SILU, 0);
    gap(&t);
    done(&t, 2);
}
END_TEST

/* Pads: strides, channels of zeros before and after, and none. */
START_TEST(diff_pad)
{
    static const int pads[][4] = {{5, 1, 2, 2}, {6, 3, 1, 1}, {3, 0, 2, 3}, {8, 0, 3, 1}, {4, 1, 4, 5}};
    Net t = start(3, 5, 6);
    conv(&t, 3, 1, 1, 1, 1, 0, 0, true);
    pad(&t, pads[_i][0], pads[_i][1], pads[_i][2], pads[_i][3]);
    point(&t, OP_SIGMOID, 0);
    flatten(&t);
    linear(&t, 3, true);
    done(&t, 2);
}
END_TEST

/* A tensor that several ops read: each adds to its gradient. */
START_TEST(diff_graph)
{
    Net t = start(3, 4, 5);
    int a, b, c;
    switch (_i) {
    case 0: /* a residual block on the input itself */
        conv(&t, 3, 3, 3, 1, 1, 1, 1, false), bn(&t), point(&t, OP_RELU, 0), add_to(&t, 0), point(&t, OP_TANH, 0);
        break;
    case 1: /* with a projection, a stride and a norm on either way */
        a = t.from, conv(&t, 4, 3, 3, 2, 2, 1, 1, false), bn(&t), point(&t, OP_SILU, 0), b = t.from;
        t.from = a, conv(&t, 4, 1, 1, 2, 2, 0, 0, false), bn(&t), add_to(&t, b), point(&t, OP_RELU, 0);
        break;
    case 2: /* a padded shortcut: odd channels before and after */
        a = t.from, conv(&t, 6, 3, 3, 2, 2, 1, 1, true), bn(&t), b = t.from;
        t.from = a, pad(&t, 6, 1, 2, 2), add_to(&t, b), point(&t, OP_SIGMOID, 0);
        break;
    case 3: /* x + x, and x + x + x */
        conv(&t, 2, 3, 3, 1, 1, 1, 1, true), point(&t, OP_TANH, 0), a = t.from;
        JOIN(&t, OP_ADD, a, a), point(&t, OP_SILU, 0), b = t.from;
        JOIN(&t, OP_ADD, b, a, b, b), bn(&t);
        break;
    case 4: /* concat of three, one of them twice, one the input */
        conv(&t, 2, 1, 1, 1, 1, 0, 0, true), a = t.from;
        point(&t, OP_TANH, 0), b = t.from;
        JOIN(&t, OP_CONCAT, b, 0, a, b), bn(&t), point(&t, OP_SILU, 0);
        break;
    case 5: /* two norms on one tensor, and a third reader without */
        conv(&t, 3, 3, 3, 1, 1, 1, 1, true), a = t.from, bn(&t), point(&t, OP_RELU, 0), b = t.from;
        t.from = a, bn(&t), point(&t, OP_TANH, 0), c = t.from;
        JOIN(&t, OP_ADD, a, b, c), bn(&t);
        break;
    case 6: /* joins of joins: add in a branch of a concat in a residual block */
        a = t.from, conv(&t, 2, 3, 3, 1, 1, 1, 1, true), b = t.from, point(&t, OP_SILU, 0), add_to(&t, b), b = t.from;
        t.from = a, pool(&t, OP_MAXPOOL, 3, 3, 1, 1, 1, 1), pad(&t, 1 + 3, 1, 1, 1), c = t.from;
        JOIN(&t, OP_CONCAT, b, c), conv(&t, 3, 1, 1, 1, 1, 0, 0, false), bn(&t), add_to(&t, a), point(&t, OP_RELU, 0);
        b = t.from, JOIN(&t, OP_CONCAT, b, a), add_to(&t, t.from);
        break;
    case 7: /* full pre-activation: the shortcut reads the activated tensor; dropout in the branch */
        bn(&t), point(&t, OP_RELU, 0), a = t.from, conv(&t, 5, 3, 3, 1, 1, 1, 1, false), bn(&t),
                                       point(&t, OP_DROP, 0.3);
        conv(&t, 4, 3, 3, 1, 1, 1, 1, true), b = t.from, t.from = a, conv(&t, 4, 1, 1, 1, 1, 0, 0, true), add_to(&t, b);
        break;
    case 8: /* joins on features, after the image is gone */
        gap(&t), a = t.from, linear(&t, 3, true), point(&t, OP_TANH, 0), add_to(&t, a), b = t.from;
        JOIN(&t, OP_CONCAT, a, b, b), bn(&t), linear(&t, 4, false), pad(&t, 7, 2, 1, 1);
        break;
    case 9: /* the loss reads a join */
        conv(&t, 3, 3, 3, 1, 1, 1, 1, true), gap(&t), a = t.from, t.from = 0, gap(&t), add_to(&t, a);
        done(&t, 3);
        return;
    }
    flatten(&t);
    linear(&t, 3, true);
    done(&t, 3);
}
END_TEST

/* ---- by hand ---- */

START_TEST(hand_conv)
{
    Net t = start(1, 2, 3);
    conv(&t, 1, 2, 2, 1, 1, 0, 1, true);
    Interp *ip = interp_new(&t.g, 1);
    memcpy(ip->param[0], (double[]){1, 2, 3, 4}, 4 * sizeof(double));
    ip->param[1][0] = 10;
    interp_forward(ip, (double[]){1, 2, 3, 4, 5, 6}, NULL, 1, true);
    /* columns padded by one zero on either side: [0 1 2 3 0], [0 4 5 6 0] */
    static const double want[] = {10 + 2 + 16, 10 + 1 + 4 + 12 + 20, 10 + 2 + 6 + 15 + 24, 10 + 3 + 18};
    ck_assert_int_eq(t.op[1].shape.w, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq(ip->out[1][i], want[i]);
    interp_free(ip);
}
END_TEST

START_TEST(hand_bn)
{
    Net t = start(1, 1, 2);
    bn(&t);
    Interp *ip = interp_new(&t.g, 2);
    ip->param[0][0] = 2, ip->param[1][0] = 1, ip->param[2][0] = 10, ip->param[3][0] = 4, ip->param[4][0] = 7;
    double x[] = {1, 2, 3, 6}; /* mean 3, biased variance 3.5, unbiased 14 / 3 */
    interp_forward(ip, x, NULL, 2, true);
    ck_assert_double_eq_tol(ip->out[1][3], 2 * 3 / sqrt(3.5 + 1e-5) + 1, 1e-14);
    ck_assert_double_eq_tol(ip->param[2][0], 0.9 * 10 + 0.1 * 3, 1e-14);
    ck_assert_double_eq_tol(ip->param[3][0], 0.9 * 4 + 0.1 * 14 / 3, 1e-14);
    ck_assert_double_eq(ip->param[4][0], 8);
    interp_forward(ip, x, NULL, 2, false);
    ck_assert_double_eq_tol(ip->out[1][0], 2 * (1 - 9.3) / sqrt(0.9 * 4 + 0.1 * 14 / 3 + 1e-5) + 1, 1e-13);
    ck_assert_double_eq(ip->param[4][0], 8);
    interp_free(ip);
}
END_TEST

START_TEST(hand_pools)
{
    Net t = start(1, 2, 2);
    pool(&t, OP_AVGPOOL, 2, 2, 2, 2, 1, 1);
    Interp *ip = interp_new(&t.g, 1);
    interp_forward(ip, (double[]){4, 8, 12, 16}, NULL, 1, true);
    for (int i = 0; i < 4; i++) /* each corner sees one element and three of padding, which count */
        ck_assert_double_eq(ip->out[1][i], i + 1);
    interp_free(ip);

    Net m = start(1, 1, 4);
    pool(&m, OP_MAXPOOL, 1, 3, 1, 1, 0, 1);
    flatten(&m);
    loss(&m);
    ip = interp_new(&m.g, 1);
    interp_forward(ip, (double[]){-5, -5, -7, -7}, (int[]){0}, 1,
                   true); /* padding never wins; the first of equals does */
    static const int64_t route[] = {0, 0, 1, 2};
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(ip->route[1][i], route[i]);
    interp_backward(ip);
    ck_assert_double_eq(ip->dout[0][0], ip->dout[1][0] + ip->dout[1][1]);
    ck_assert_double_eq(ip->dout[0][3], 0);
    interp_free(ip);
}
END_TEST

/* Windows that hang over: what is beyond the padding counts for nobody, and padding where it does. */
START_TEST(hand_pool_ends)
{
    static const struct {
        bool counted;
        int before, after;
        double want[3];
    } cases[] = {{true, 1, 1, {(4 + 8) / 3.0, (8 + 12 + 16) / 3.0, 16 / 2.0}}, /* as PyTorch's ceil_mode */
                 {false, 1, 1, {(4 + 8) / 2.0, (8 + 12 + 16) / 3.0, 16}},
                 {true, 0, 1, {(4 + 8 + 12) / 3.0, (12 + 16) / 3.0, 0}}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        Net t = start(1, 1, 4);
        pool(&t, OP_AVGPOOL, 1, 3, 1, 2, 0, cases[k].before);
        Op *o = &t.op[t.from];
        o->counted = cases[k].counted, o->after[1] = cases[k].after, o->shape.w = cases[k].before ? 3 : 2;
        Interp *ip = interp_new(&t.g, 1);
        interp_forward(ip, (double[]){4, 8, 12, 16}, NULL, 1, true);
        for (int i = 0; i < o->shape.w; i++)
            ck_assert_double_eq_tol(ip->out[1][i], cases[k].want[i], 1e-14);
        interp_free(ip);
    }
}
END_TEST

/* A depthwise conv by hand: each channel by its own tap. */
START_TEST(hand_depthwise)
{
    Net t = start(2, 1, 4);
    Op *o = net_op(&t, OP_CONV, 2, 1, 2);
    o->groups = 2, o->kernel[1] = 2, o->dilation[1] = 2;
    net_param(&t, PARAM_WEIGHT, 3, 2, 1, 2, 0);
    Interp *ip = interp_new(&t.g, 1);
    memcpy(ip->param[0], (double[]){1, 10, 100, 1000}, 4 * sizeof(double));
    interp_forward(ip, (double[]){1, 2, 3, 4, 5, 6, 7, 8}, NULL, 1, true);
    static const double want[] = {31, 42, 7500, 8600}; /* taps are two apart */
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq(ip->out[1][i], want[i]);
    interp_free(ip);
}
END_TEST

START_TEST(hand_pad)
{
    Net t = start(2, 3, 3);
    pad(&t, 5, 2, 2, 2);
    flatten(&t);
    loss(&t);
    Interp *ip = interp_new(&t.g, 1);
    double x[18];
    for (int i = 0; i < 18; i++)
        x[i] = i + 1;
    interp_forward(ip, x, (int[]){0}, 1, true);
    static const double want[20] = {[8] = 1, 3, 7, 9, 10, 12, 16, 18};
    ck_assert_int_eq(t.op[1].shape.h, 2);
    for (int i = 0; i < 20; i++)
        ck_assert_double_eq(ip->out[1][i], want[i]);
    interp_backward(ip);
    ck_assert_double_eq(ip->dout[0][2], ip->dout[1][9]);
    ck_assert_double_eq(ip->dout[0][17], ip->dout[1][15]);
    ck_assert(ip->dout[1][15] != 0);
    ck_assert_double_eq(ip->dout[0][1], 0); /* between the pixels */
    interp_free(ip);
}
END_TEST

START_TEST(hand_add)
{
    Net t = start(3, 1, 1);
    JOIN(&t, OP_ADD, 0, 0), JOIN(&t, OP_ADD, 1, 0, 1);
    loss(&t);
    Interp *ip = interp_new(&t.g, 1);
    interp_forward(ip, (double[]){0.5, -1, 2}, (int[]){1}, 1, true);
    static const double want[] = {2.5, -5, 10};
    for (int i = 0; i < 3; i++)
        ck_assert_double_eq(ip->out[2][i], want[i]);
    interp_backward(ip);
    for (int i = 0; i < 3; i++) {
        ck_assert_double_eq_tol(ip->dout[0][i], 5 * ip->dout[2][i], 1e-15);
        ck_assert_double_eq(ip->dout[1][i], 2 * ip->dout[2][i]);
    }
    ck_assert_double_lt(ip->dout[0][1], -4.9);
    interp_free(ip);
}
END_TEST

START_TEST(hand_concat)
{
    Net t = start(2, 1, 2);
    pool(&t, OP_MAXPOOL, 1, 1, 1, 1, 0, 0);
    pad(&t, 1 + 2, 0, 1, 1); /* one more channel, of zeros */
    JOIN(&t, OP_CONCAT, 1, 2, 1);
    flatten(&t);
    loss(&t);
    Interp *ip = interp_new(&t.g, 2);
    interp_forward(ip, (double[]){1, 2, 3, 4, -1, -2, -3, -4}, (int[]){0, 13}, 2, true);
    static const double want[] = {1, 2, 3, 4, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4};
    ck_assert_int_eq(t.op[3].shape.c, 7);
    for (int i = 0; i < 14; i++) {
        ck_assert_double_eq(ip->out[3][i], want[i]);
        ck_assert_double_eq(ip->out[3][14 + i], -want[i]);
    }
    interp_backward(ip);
    const double *d = ip->dout[3];
    for (int i = 0; i < 4; i++) { /* of the second image, as well */
        ck_assert_double_eq_tol(ip->dout[0][i], d[i] + d[4 + i] + d[10 + i], 1e-15);
        ck_assert_double_eq_tol(ip->dout[0][4 + i], d[14 + i] + d[18 + i] + d[24 + i], 1e-15);
    }
    interp_free(ip);
}
END_TEST

START_TEST(hand_loss)
{
    Net t = start(3, 1, 1);
    loss(&t);
    Interp *ip = interp_new(&t.g, 2);
    interp_forward(ip, (double[]){1000, 1000, 1000, 0, log(2), 0}, (int[]){2, 1}, 2, true);
    ck_assert_double_eq_tol(ip->loss, (log(3) + log(2)) / 2, 1e-12);
    ck_assert_int_eq(ip->correct, 1); /* the first of equal logits counts */
    interp_backward(ip);
    ck_assert_double_eq_tol(ip->dout[0][2], (1 / 3.0 - 1) / 2, 1e-12);
    ck_assert_double_eq_tol(ip->dout[0][4], (0.5 - 1) / 2, 1e-14);
    interp_free(ip);
}
END_TEST

/* Two steps of SGD on w alone with gradient 1: PyTorch's numbers. */
START_TEST(hand_update)
{
    Net t = start(1, 1, 1);
    linear(&t, 2, true);
    loss(&t);
    Interp *ip = interp_new(&t.g, 1);
    InterpStep s = {.lr = 0.5, .momentum = 0.9, .weight_decay = 0.1, .nesterov = _i == 1, .decay_all = _i == 2};
    ip->param[0][0] = 2, ip->param[1][0] = 3;
    double w = 2, b = 3, mw = 0, mb = 0;
    for (int step = 0; step < 2; step++) {
        ip->dparam[0][0] = ip->dparam[1][0] = 1;
        interp_update(ip, &s);
        double gw = 1 + 0.1 * w, gb = 1 + (_i == 2 ? 0.1 * b : 0);
        mw = step ? 0.9 * mw + gw : gw, mb = step ? 0.9 * mb + gb : gb;
        w -= 0.5 * (_i == 1 ? gw + 0.9 * mw : mw), b -= 0.5 * (_i == 1 ? gb + 0.9 * mb : mb);
        ck_assert_double_eq_tol(ip->param[0][0], w, 1e-14);
        ck_assert_double_eq_tol(ip->param[1][0], b, 1e-14);
        ck_assert_double_eq_tol(ip->buffer[0][0][0], mw, 1e-14);
    }
    interp_free(ip);
}
END_TEST

/* Two steps on one weight of 2 with gradients 1 and -3: what torch.optim.Adam and AdamW make of it, in doubles. */
START_TEST(hand_adam)
{
    static const double torch[2][2][3] = {{{1.5471698113207548, 0.11999999999999997, 0.014400000000000012},
                                           {1.7480677321384883, -0.1765283018867924, 0.09521235457458177}},
                                          {{1.4555555555555555, 0.09999999999999998, 0.010000000000000009},
                                           {1.6163935084598438, -0.20999999999999996, 0.09990000000000009}}};
    Net t = start(1, 1, 1);
    linear(&t, 2, false);
    loss(&t);
    Interp *ip = interp_new(&t.g, 1);
    InterpStep s = {.optimiser = _i ? INTERP_ADAMW : INTERP_ADAM,
                    .lr = 0.5,
                    .weight_decay = 0.1,
                    .beta1 = 0.9,
                    .beta2 = 0.99,
                    .eps = 0.125};
    ip->param[0][0] = 2;
    for (; s.before < 2; s.before++) {
        ip->dparam[0][0] = s.before ? -3 : 1;
        interp_update(ip, &s);
        ck_assert_double_eq_tol(ip->param[0][0], torch[_i][s.before][0], 1e-14);
        ck_assert_double_eq_tol(ip->buffer[0][0][0], torch[_i][s.before][1], 1e-15);
        ck_assert_double_eq_tol(ip->buffer[1][0][0], torch[_i][s.before][2], 1e-15);
    }
    interp_free(ip);
}
END_TEST

START_TEST(hand_drop)
{
    Net t = start(1, 1, 2);
    point(&t, OP_DROP, 0.75);
    Interp *ip = interp_new(&t.g, 1);
    ip->mask[1][1] = 1;
    interp_forward(ip, (double[]){3, 5}, NULL, 1, true);
    ck_assert_double_eq(ip->out[1][0], 0);
    ck_assert_double_eq(ip->out[1][1], 20);
    interp_forward(ip, (double[]){3, 5}, NULL, 1, false);
    ck_assert_double_eq(ip->out[1][0], 3);
    interp_free(ip);
}
END_TEST

/* Two groups of two channels, by hand: 1 2 | 3 6 has mean 3 and variance 3.5; 0 0 | 4 4 has 2 and 4. */
START_TEST(hand_gn)
{
    Net t = start(4, 1, 2);
    image_norm(&t, OP_GN, 2);
    t.g.op[1].eps = 0.5;
    Interp *ip = interp_new(&t.g, 1);
    for (int c = 0; c < 4; c++)
        ip->param[0][c] = c + 1, ip->param[1][c] = -c;
    interp_forward(ip, (double[]){1, 2, 3, 6, 0, 0, 4, 4}, NULL, 1, true);
    const double second = 2 / sqrt(4.5),
                 want[] = {-1, -0.5, -1, 2, -3 * second - 2, -3 * second - 2, 4 * second - 3, 4 * second - 3};
    for (int i = 0; i < 8; i++)
        ck_assert_double_eq_tol(ip->out[1][i], want[i], 1e-12);
    interp_free(ip);
}
END_TEST

/* The float run's side is taken near a kink, and told apart from a wrong one far from it. */
START_TEST(kinks)
{
    Net t = start(1, 1, 3);
    point(&t, OP_RELU, 0);
    loss(&t);
    Interp *ip = interp_new(&t.g, 1);
    float near[] = {1e-7f, 0, 1}, far[] = {1e-3f, 0.5f, 1};
    ip->seen[1] = near;
    double x[] = {-1e-7, -0.5, 1};
    interp_forward(ip, x, NULL, 1, true);
    ck_assert_int_eq(ip->flips, 1);
    ck_assert_int_eq(ip->far_flips, 0);
    ck_assert_int_eq(ip->side[1][0], 1);
    ip->seen[1] = far;
    x[0] = -1e-3;
    interp_forward(ip, x, NULL, 1, true);
    ck_assert_int_eq(ip->far_flips, 2);
    ck_assert_int_eq(ip->far_op, 1);
    interp_free(ip);

    Net m = start(1, 1, 3);
    pool(&m, OP_MAXPOOL, 1, 3, 1, 1, 0, 0);
    ip = interp_new(&m.g, 1);
    ip->seen[0] = (float[]){1, 1.0000001f, 0};
    interp_forward(ip, (double[]){1.0000001, 1, 0}, NULL, 1, true);
    ck_assert_int_eq(ip->route[1][0], 1);
    ck_assert_int_eq(ip->flips, 1);
    ip->seen[0] = (float[]){1, 1, 2};
    interp_forward(ip, (double[]){1, 1, 0}, NULL, 1, true);
    ck_assert_int_eq(ip->route[1][0], 0);
    ck_assert_int_eq(ip->far_flips, 1);
    interp_free(ip);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("interp");
    TCase *d = tcase_create("differences"), *h = tcase_create("hand");
    tcase_add_loop_test(d, diff_conv, 0, 8);
    tcase_add_loop_test(d, diff_recurrent, 0, 3);
    tcase_add_loop_test(d, diff_places, 0, 9);
    tcase_add_test(d, diff_conv_grouped);
    int npoints = 0;
    tcase_set_timeout(d, 60); /* of a busy machine */
    tcase_set_timeout(h, 60);
    for (Arg arg[OP_ARGS]; nth_point(npoints, &(OpKind){0}, arg);)
        npoints++;
    tcase_add_loop_test(d, diff_point, 0, npoints);
    tcase_add_loop_test(d, diff_pool, 0, 10);
    tcase_add_loop_test(d, diff_bn, 0, 2);
    tcase_add_loop_test(d, diff_image_norm, 0, 7);
    tcase_add_loop_test(d, diff_chain, 0, 4);
    tcase_add_loop_test(d, diff_conv_forms, 0, 5);
    tcase_add_test(d, diff_values_and_frozen);
    tcase_add_loop_test(d, diff_pad, 0, 5);
    tcase_add_loop_test(d, diff_graph, 0, 10);
    tcase_add_test(h, hand_conv);
    tcase_add_test(h, hand_bn);
    tcase_add_test(h, hand_gn);
    tcase_add_test(h, hand_pools);
    tcase_add_test(h, hand_pool_ends);
    tcase_add_test(h, hand_depthwise);
    tcase_add_test(h, hand_pad);
    tcase_add_test(h, hand_add);
    tcase_add_test(h, hand_concat);
    tcase_add_test(h, hand_loss);
    tcase_add_loop_test(h, hand_update, 0, 3);
    tcase_add_loop_test(h, hand_adam, 0, 2);
    tcase_add_test(h, hand_drop);
    tcase_add_test(h, kinks);
    suite_add_tcase(s, d);
    suite_add_tcase(s, h);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
