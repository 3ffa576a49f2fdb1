/* acts.c - see acts.h. A row an activation: value, slope, kinks; then how exact the runtime's are. */
#include "acts.h"

#include <math.h>
#include <string.h>

#define RULE(name) static double name(const ActAt *a)
#define PIECES(name) static Pieces name(const Arg *arg)

static double off(const ActAt *a, double v)
{
    return a->off ? a->off(a->of, v) : v;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double log_1_exp(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* ---- in pieces ---- */

/* clang-format off */

PIECES(relu_pieces) { (void)arg; return (Pieces){1, {0}, {0}, true, false, 0, 1}; }
RULE(relu) { return a->piece ? a->x : 0; }
RULE(relu_slope) { return a->piece; }

/* A slope of zero or less hides the sign of the input in the output. */
PIECES(leaky_pieces) { return (Pieces){1, {0}, {0}, arg[0].real >= 0, false, 0, 0}; }
RULE(leaky) { return a->piece ? a->x : a->arg[0].real * a->x; }
RULE(leaky_slope) { return a->piece ? 1 : a->arg[0].real; }

/* Near -alpha a float's derivative is poor, when it comes from the output. */
PIECES(elu_pieces) { (void)arg; return (Pieces){1, {0}, {0}, true, false, 0, NO_PIECE}; }
RULE(elu) { return a->piece ? a->x : a->arg[0].real * expm1(a->x); }
RULE(elu_slope) { return a->piece ? 1 : off(a, a->arg[0].real * expm1(a->x)) + a->arg[0].real; }

static const double selu_scale = 1.0507009873554804934193349852946, selu_alpha = 1.6732632423543772848170429916717;
RULE(selu) { return selu_scale * (a->piece ? a->x : selu_alpha * expm1(a->x)); }
RULE(selu_slope) { return a->piece ? selu_scale : off(a, selu_scale * selu_alpha * expm1(a->x)) + selu_scale * selu_alpha; }

PIECES(relu6_pieces) { (void)arg; return (Pieces){2, {0, 6}, {0, 6}, true, false, 0, 0}; }
RULE(relu6) { return (double[]){0, a->x, 6}[a->piece]; }
RULE(inner_slope) { return a->piece == 1; }

PIECES(hard_sigmoid_pieces) { (void)arg; return (Pieces){2, {-3, 3}, {0, 1}, true, false, 0, 0}; }
RULE(hard_sigmoid) { return (double[]){0, (a->x + 3) / 6, 1}[a->piece]; }
RULE(hard_sigmoid_slope) { return a->piece == 1 ? 1.0 / 6 : 0; }

PIECES(hard_swish_pieces) { (void)arg; return (Pieces){2, {-3, 3}, {0, 3}, false, false, 0, NO_PIECE}; }
RULE(hard_swish) { return (double[]){0, a->x * (a->x + 3) / 6, a->x}[a->piece]; }
RULE(hard_swish_slope) { return (double[]){0, a->x / 3 + 0.5, 1}[a->piece]; }

PIECES(hard_tanh_pieces)
{
    return (Pieces){2, {arg[0].real, arg[1].real}, {arg[0].real, arg[1].real}, true, false, 0, 0};
}
RULE(hard_tanh) { return (double[]){a->arg[0].real, a->x, a->arg[1].real}[a->piece]; }

PIECES(general_pieces) /* leak, sub, maxv */
{
    const double sub = arg[1].real, maxv = arg[2].real;
    return (Pieces){isinf(maxv) ? 1 : 2, {0, maxv + sub}, {-sub, maxv}, false, true, sub, isinf(maxv) ? 0 : 2};
}
RULE(general) { return (double[]){a->arg[0].real * a->x - a->arg[1].real, a->x - a->arg[1].real, a->arg[2].real}[a->piece]; }
RULE(general_slope) { return (double[]){a->arg[0].real, 1, 0}[a->piece]; }

/* ---- smooth ones ---- */

/* Near 1 a float's derivative is poor, when it comes from the output. */
RULE(tanh_value) { return tanh(a->x); }
RULE(tanh_slope) { const double y = off(a, tanh(a->x)); return 1 - y * y; }

RULE(sigmoid_value) { return sigmoid(a->x); }
RULE(sigmoid_slope) { const double y = off(a, sigmoid(a->x)); return y * (1 - y); }

RULE(silu) { return a->x * sigmoid(a->x); }
RULE(silu_slope) { const double s = off(a, sigmoid(a->x)); return s + a->x * s * (1 - s); }

RULE(gelu) { return 0.5 * a->x * erfc(-a->x / sqrt(2)); }
RULE(gelu_slope)
{
    const double below = off(a, 0.5 * erfc(-a->x / sqrt(2))), bell = exp(-a->x * a->x / 2) / sqrt(2 * acos(-1));
    return below + off(a, a->x * bell);
}

RULE(softplus) { return log_1_exp(a->x); }
RULE(softplus_slope) { return sigmoid(a->x); }

RULE(mish) { return a->x * tanh(log_1_exp(a->x)); }
RULE(mish_slope)
{
    const double y = tanh(log_1_exp(a->x));
    return off(a, y) + off(a, a->x * (1 - y * y) * sigmoid(a->x));
}

const ActRule act_rules[OP_KINDS] = {
    [OP_RELU] = {relu, relu_slope, relu_pieces, {0, 1, 0}, {{0}}},
    [OP_LEAKY_RELU] = {leaky, leaky_slope, leaky_pieces, {1e-7, 1, 0}, {{0.125}}},
    [OP_ELU] = {elu, elu_slope, elu_pieces, {3e-7, 1e-30, 3e-7}, {{0.7}, {1.5}}},
    [OP_SELU] = {selu, selu_slope, elu_pieces, {4e-7, 1e-30, 4e-7}, {{0}}},
    [OP_RELU6] = {relu6, inner_slope, relu6_pieces, {0, 1, 0}, {{0}}},
    [OP_HARD_SIGMOID] = {hard_sigmoid, hard_sigmoid_slope, hard_sigmoid_pieces, {1.3e-7, 1, 1.3e-7}, {{0}}},
    [OP_HARD_SWISH] = {hard_swish, hard_swish_slope, hard_swish_pieces, {2e-7, 1, 2e-7}, {{0}}},
    [OP_HARD_TANH] = {hard_tanh, inner_slope, hard_tanh_pieces, {0, 1, 0}, {{-0.5, 2}, {0.25, 1}}},
    [OP_GENERAL_RELU] = {general, general_slope, general_pieces, {1.3e-7, 1, 1e-8}, {{0.125, 0.5, 2.5}, {0.125, 0.5, INFINITY}}},
    [OP_TANH] = {tanh_value, tanh_slope, NULL, {3e-7, 1e-30, 4e-7}, {{0}}},
    [OP_SIGMOID] = {sigmoid_value, sigmoid_slope, NULL, {4e-7, 1e-30, 3e-7}, {{0}}},
    [OP_SILU] = {silu, silu_slope, NULL, {5e-7, 1e-30, 1.2e-6}, {{0}}},
    [OP_GELU] = {gelu, gelu_slope, NULL, {7e-7, 1e-4, 4e-7}, {{0}}},
    [OP_MISH] = {mish, mish_slope, NULL, {6e-7, 1e-30, 6e-7}, {{0}}},
    [OP_SOFTPLUS] = {softplus, softplus_slope, NULL, {4e-7, 1e-30, 3e-7}, {{0}}},
};

/* clang-format on */

bool act_args(OpKind kind, int nth, Arg arg[OP_ARGS])
{
    static const double none[3];
    const double *v = nth > 0 && nth < 3 ? act_rules[kind].other[nth - 1] : none;

    if (nth == 0) {
        op_usual_args(kind, arg);
        return true;
    }
    if (nth > 2 || memcmp(v, none, sizeof none) == 0)
        return false;
    memset(arg, 0, OP_ARGS * sizeof *arg);
    for (int k = 0; k < op_may_args(kind); k++)
        arg[op_arg_at(kind, k)].real = v[k];
    return true;
}

Pieces act_pieces(OpKind kind, const Arg *arg)
{
    return act_rules[kind].pieces ? act_rules[kind].pieces(arg) : (Pieces){.of_nan = NO_PIECE};
}

int act_piece(const Pieces *p, double x)
{
    int piece = 0;

    for (int k = 0; k < p->n; k++)
        piece += k && !p->upper_below ? x >= p->kink[k] : x > p->kink[k];
    return piece;
}
