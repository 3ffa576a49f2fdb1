/* test_rows.c - the properties in the op table's rows, against what the reference does: each property of each row is
 * computed from acts.c or the interpreter, which read none of it, and must be what the row says. Then each is flipped
 * to each other value, and the same check must notice.
 *
 *   test_rows */
#include "acts.h"
#include "flips.h"
#include "interp.h"
#include "read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- activations, by acts.c ---- */

enum { POINTS = 4001, MOST = POINTS + 2 };

typedef struct Curve {
    int n;
    double x[MOST], y[MOST], slope[MOST];
} Curve;

static int by_size(const void *a, const void *b)
{
    const double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

/* From -8 to 8, corners included. False: there is no such list of arguments. */
static bool curve(OpKind k, int nth, Curve *c)
{
    Arg arg[OP_ARGS];
    if (!act_args(k, nth, arg))
        return false;
    const Pieces p = act_pieces(k, arg);
    c->n = POINTS;
    for (int i = 0; i < POINTS; i++)
        c->x[i] = (i - POINTS / 2) * 0.004;
    for (int i = 0; i < p.n; i++)
        c->x[c->n++] = p.kink[i];
    qsort(c->x, (size_t)c->n, sizeof *c->x, by_size);
    for (int i = 0; i < c->n; i++) {
        const ActAt at = {.arg = arg, .x = c->x[i], .piece = act_piece(&p, c->x[i])};
        c->y[i] = act_rules[k].value(&at);
        c->slope[i] = act_rules[k].slope(&at);
    }
    return true;
}

static bool act_keeps_zero(OpKind k)
{
    static Curve c;
    for (int nth = 0; curve(k, nth, &c); nth++)
        for (int i = 0; i < c.n; i++)
            if (c.x[i] == 0 && c.y[i] != 0)
                return false;
    return true;
}

static bool act_keeps_sign(OpKind k)
{
    static Curve c;
    for (int nth = 0; curve(k, nth, &c); nth++)
        for (int i = 0; i < c.n; i++)
            if (c.slope[i] != 0 && (c.y[i] > 0) != (c.x[i] > 0) && c.x[i] != 0)
                return false;
    return true;
}

/* The least that tells the slope: the output's sign, the output, the input. */
static Need act_need(OpKind k)
{
    static Curve c;
    Need need = NEED_SIGN;
    for (int nth = 0; curve(k, nth, &c); nth++) {
        double at[2] = {NAN, NAN};
        for (int i = 0; i < c.n; i++) {
            double *seen = &at[c.y[i] > 0];
            if (isnan(*seen))
                *seen = c.slope[i];
            if (*seen != c.slope[i] && need == NEED_SIGN)
                need = NEED_OUTPUT;
            if (i && (c.y[i] < c.y[i - 1] || (c.y[i] == c.y[i - 1] && c.slope[i] != c.slope[i - 1])))
                return NEED_INPUT;
        }
    }
    return need;
}

/* ---- the others, by the interpreter: each in a small network; of a norm it follows from its name ---- */

typedef struct Net {
    const char *layers;
    Interp *ip;
    int op;
} Net;
static Net nets[OP_KINDS] = {
    [OP_CONV] = {.layers = "conv: {out: 3, order: conv}, flatten"},
    [OP_LINEAR] = {.layers = "flatten, linear: {out: 5, order: linear}"},
    [OP_EMBED] = {.layers = "embed: 5, flatten"},
    [OP_RNN] = {.layers = "rnn: {hidden: 5, return: all}, flatten"},
    [OP_GRU] = {.layers = "gru: {hidden: 5, return: all}, flatten"},
    [OP_LSTM] = {.layers = "lstm: {hidden: 5, return: all}, flatten"},
    [OP_DROP] = {.layers = "\"drop(0.5)\", flatten"},
    [OP_MAXPOOL] = {.layers = "\"maxpool(2)\", flatten"},
    [OP_AVGPOOL] = {.layers = "\"avgpool(2)\", flatten"},
    [OP_GLOBAL_AVG_POOL] = {.layers = "global_avg_pool"},
    [OP_FLATTEN] = {.layers = "flatten"},
    [OP_PAD] = {.layers =
                    "stage: {out: 6, stride: 2, shortcut: pad, residual: [conv: {out: 6, order: conv}]}, flatten"},
    [OP_ADD] = {.layers = "stage: {residual: [conv: {out: 4, order: conv}]}, flatten"},
    [OP_CONCAT] = {.layers = "stage: {concat: [[tanh], []]}, flatten"},
};
enum { IMAGES = 2 };
static uint64_t state = 88172645463325252u;

static double uniform(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) / 4503599627370496.0 - 1;
}

static void fail(const char *what)
{
    printf("test_rows: %s\n", what);
    exit(2);
}

static void build(OpKind k)
{
    Net *n = &nets[k];
    char *text = xprintf("{name: rows, input: %s, classes: 3, layers: [%s, linear: classes]}",
                         op_is_recurrent(k) ? "[4, 16]"
                         : k == OP_EMBED    ? "{tokens: 9, length: 16}"
                                            : "[4, 4, 4]",
                         n->layers);
    static Source src;
    src = (Source){.path = "rows.yaml", .text = text, .len = strlen(text)};
    diag_source(&src);
    Node *tree = yaml_parse(text, strlen(text), (Mark){1, 1, 1});
    const Spec *s = tree ? spec_read(tree) : NULL;
    const Graph *g = s ? graph_build(s) : NULL;
    if (diag_flush(stderr) || !g)
        fail(text);
    n->ip = interp_new(g, IMAGES);
    for (n->op = 1; g->op[n->op].kind != k; n->op++)
        if (n->op == g->nop - 1)
            fail(text);
    for (int p = 0; p < g->nparam; p++)
        for (int64_t i = 0; i < interp_numel(&g->param[p]); i++)
            n->ip->param[p][i] = 0.5 + uniform() * 0.4;
    for (int o = 0; o < g->nop; o++)
        for (int64_t i = 0; n->ip->mask[o] && i < IMAGES * interp_image(g, o); i++)
            n->ip->mask[o][i] = uniform() > 0;
}

/* The op's first input, with new numbers in it, its output, and how many there are of each. */
typedef struct View {
    double *x, *y;
    int64_t nx, ny;
} View;

static View fresh(const Net *n)
{
    static double x[IMAGES * 64];
    const Graph *g = n->ip->g;
    for (int i = 0; i < IMAGES * 64; i++)
        x[i] = uniform();
    interp_forward(n->ip, x, (int[IMAGES]){0, 1}, IMAGES, true);
    const int in = g->op[n->op].in;
    return (View){n->ip->out[in], n->ip->out[n->op], IMAGES * interp_image(g, in), IMAGES * interp_image(g, n->op)};
}

/* y after x[e] grew by h, less y before, for all of y. */
static void difference(const Net *n, const View *v, int64_t e, double h, double *d)
{
    double *before = xalloc((size_t)v->ny * sizeof *before);
    interp_op(n->ip, n->op);
    memcpy(before, v->y, (size_t)v->ny * sizeof *before);
    v->x[e] += h;
    interp_op(n->ip, n->op);
    for (int64_t j = 0; j < v->ny; j++)
        d[j] = v->y[j] - before[j];
    v->x[e] -= h;
    interp_op(n->ip, n->op);
}

static bool net_keeps_sign(const Net *n)
{
    const View v = fresh(n);
    double *d = xalloc((size_t)v.ny * sizeof *d);
    for (int64_t e = 0; e < v.nx; e++) {
        difference(n, &v, e, 1e-6, d);
        for (int64_t j = 0; j < v.ny; j++)
            if (fabs(d[j]) > 1e-9 && (v.y[j] > 0) != (v.x[e] > 0))
                return false;
    }
    return true;
}

/* A constant on channel 0 of the first input: whole channels of the output grow by it, and nothing else changes. */
static bool net_shift_safe(const Net *n)
{
    const View v = fresh(n);
    const Shape a = n->ip->g->op[n->ip->g->op[n->op].in].shape, b = n->ip->g->op[n->op].shape;
    double *before = xalloc((size_t)v.ny * sizeof *before);
    int grown = 0;
    memcpy(before, v.y, (size_t)v.ny * sizeof *before);
    for (int m = 0; m < IMAGES; m++)
        for (int i = 0; i < a.h * a.w; i++)
            v.x[(int64_t)m * a.c * a.h * a.w + i] += 3;
    interp_op(n->ip, n->op);
    for (int64_t c = 0; c < v.ny / (b.h * b.w); c++) {
        int by[2] = {0};
        for (int i = 0; i < b.h * b.w; i++) {
            const double d = v.y[c * b.h * b.w + i] - before[c * b.h * b.w + i];
            by[0] += fabs(d) < 1e-9, by[1] += fabs(d - 3) < 1e-9;
        }
        if (by[0] != b.h * b.w && by[1] != b.h * b.w)
            return false;
        grown += by[1] > 0;
    }
    return grown > 0;
}

/* Whether the derivative of the output is the same wherever the input is. */
static bool constant(const Net *n)
{
    View v = fresh(n);
    double *d[2] = {xalloc((size_t)v.ny * sizeof(double)), xalloc((size_t)v.ny * sizeof(double))};
    for (int64_t e = 0; e < v.nx; e++) {
        for (int t = 0; t < 2; t++) {
            v = fresh(n);
            difference(n, &v, e, 1e-6, d[t]);
        }
        for (int64_t j = 0; j < v.ny; j++)
            if (fabs(d[0][j] - d[1][j]) > 1e-8)
                return false;
    }
    return true;
}

static Need net_need(const Net *n)
{
    const Graph *g = n->ip->g;
    for (int p = 0; p < g->nparam; p++)
        if (g->param[p].op == n->op)
            return NEED_INPUT;
    return constant(n) ? NEED_NOTHING : n->ip->route[n->op] ? NEED_ROUTE : NEED_INPUT;
}

/* What element 0 of image 0 reaches. */
static NormOver net_over(const Net *n)
{
    const View v = fresh(n);
    const Shape s = n->ip->g->op[n->op].shape;
    double *d = xalloc((size_t)v.ny * sizeof *d);
    bool other = false;
    int channels = 0;
    difference(n, &v, 0, 0.1, d);
    for (int64_t c = 0; c < v.ny / (s.h * s.w); c++) {
        bool moved = false;
        for (int i = 0; i < s.h * s.w; i++)
            moved |= fabs(d[c * s.h * s.w + i]) > 1e-9;
        channels += moved && c < s.c;
        other |= moved && c >= s.c;
    }
    return other ? OVER_BATCH : channels == 1 ? OVER_CHANNEL : channels == s.c ? OVER_IMAGE : OVER_GROUPS;
}

static bool net_centred(const Net *n)
{
    const View v = fresh(n);
    double *before = xalloc((size_t)v.ny * sizeof *before), most = 0;
    memcpy(before, v.y, (size_t)v.ny * sizeof *before);
    for (int64_t e = 0; e < v.nx; e++)
        v.x[e] += 3;
    interp_op(n->ip, n->op);
    for (int64_t j = 0; j < v.ny; j++)
        most = fmax(most, fabs(v.y[j] - before[j]));
    return most < 1e-9;
}

/* ---- properties ---- */

typedef enum Property { P_NEED, P_SIGN, P_SHIFT, P_ZERO, P_OVER, P_CENTRED, PROPERTIES } Property;
static const struct {
    const char *name;
    int values;
} properties[PROPERTIES] = {{"need", 5},       {"keeps_sign", 2}, {"linear_shift_safe", 2},
                            {"keeps_zero", 2}, {"norm.over", 4},  {"norm.centred", 2}};

/* Where a row says less than is true: the flipped row would be right as well, and so no test could notice it as a
 * fault. */
static const struct {
    OpKind op;
    Property property;
    const char *why;
} equivalent[] = {
    {OP_CONCAT, P_SIGN,
     "a concat is a list of paths in the plan, or a stored tensor: nothing looks past it for a sign"},
    {OP_FLATTEN, P_SHIFT, "a bias in front of flatten stays, even where a norm of features would take it away"},
};

static int row_says(OpKind k, Property p)
{
    const OpInfo *o = &op_info[k];
    switch (p) {
    case P_NEED:
        return (int)o->need;
    case P_SIGN:
        return o->keeps_sign;
    case P_SHIFT:
        return o->linear_shift_safe;
    case P_ZERO:
        return o->keeps_zero;
    case P_OVER:
        return (int)o->norm->over;
    default:
        return o->norm->centred;
    }
}

static void row_set(OpKind k, Property p, int v)
{
    OpInfo *o = (OpInfo *)(uintptr_t)&op_info[k];
    NormInfo *n = (NormInfo *)(uintptr_t)o->norm;
    switch (p) {
    case P_NEED:
        o->need = (Need)v;
        return;
    case P_SIGN:
        o->keeps_sign = v;
        return;
    case P_SHIFT:
        o->linear_shift_safe = v;
        return;
    case P_ZERO:
        o->keeps_zero = v;
        return;
    case P_OVER:
        n->over = (NormOver)v;
        return;
    default:
        n->centred = v;
    }
}

/* What the reference says; -1: the row's word on it is never read, as keeps_zero of what is no point. */
static int reference(OpKind k, Property p)
{
    const bool act = act_rules[k].value != NULL;
    const Net *n = &nets[k];
    if (k == OP_EMBED && p != P_NEED)
        return -1; /* tokens are no numbers: they have no sign, no gradient, and nothing is added to them */
    switch (p) {
    case P_NEED:
        return (int)(act ? act_need(k) : net_need(n));
    case P_SIGN:
        return act ? act_keeps_sign(k) : net_keeps_sign(n);
    case P_SHIFT:
        return act ? false : net_shift_safe(n); /* a corner or a curve: none of them is x + c */
    case P_ZERO:
        return act ? act_keeps_zero(k) : k == OP_DROP ? 1 : -1;
    case P_OVER:
        return op_info[k].norm ? (int)net_over(n) : -1;
    default:
        return op_info[k].norm ? net_centred(n) : -1;
    }
}

int main(void)
{
    int passed = 0, failed = 0, same = 0, flips = 0;

    for (OpKind k = 0; k < OP_KINDS; k++) {
        if (op_is_norm(k))
            nets[k].layers = xprintf("\"%s%s\", flatten", op_info[k].name, op_may_args(k) ? "(2)" : "");
        if (nets[k].layers)
            build(k);
    }
    flips_open(op_info, sizeof op_info);
    for (OpKind k = 0; k < OP_KINDS; k++) {
        if (op_info[k].norm)
            flips_open(op_info[k].norm, sizeof *op_info[k].norm);
        if (k == OP_INPUT || k == OP_LOSS)
            continue;
        if (!nets[k].layers && !act_rules[k].value) {
            printf("FAILED: %s: no network here, and no row in acts.c\n", op_info[k].name);
            failed++;
            continue;
        }
        for (Property p = 0; p < PROPERTIES; p++) {
            const int is = reference(k, p), says = is < 0 ? -1 : row_says(k, p);
            const char *why = NULL;
            for (size_t e = 0; e < sizeof equivalent / sizeof *equivalent; e++)
                why = equivalent[e].op == k && equivalent[e].property == p ? equivalent[e].why : why;
            if (is < 0)
                continue;
            if (why) {
                printf("%s, %s: %s\n", op_info[k].name, properties[p].name, why);
                same++;
            }
            if ((is != says) != (why != NULL)) {
                printf("FAILED: %s says %s = %d, the reference %d\n", op_info[k].name, properties[p].name, says, is);
                failed++;
            } else {
                passed++;
            }
            for (int v = 0; v < properties[p].values && !why; v++) {
                if (v == says)
                    continue;
                row_set(k, p, v);
                flips++;
                if (reference(k, p) == row_says(k, p)) {
                    printf("FAILED: %s with %s = %d: nothing notices\n", op_info[k].name, properties[p].name, v);
                    failed++;
                } else {
                    passed++;
                }
                row_set(k, p, says);
            }
        }
    }
    printf("%d flips, %d properties that say less than is true\n%d passed, %d failed\n", flips, same, passed, failed);
    return failed > 0;
}
