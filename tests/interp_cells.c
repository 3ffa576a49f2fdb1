/* interp_cells.c - the reference interpreter's recurrent ops. */
#include "interp_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* rnn, gru, lstm: a step after the other, from h = c = 0. Weights [gates H][in] and [gates H][H], gates in PyTorch's
 * order: h; r z n; i f g o. */
typedef struct Walk {
    int in, hidden, steps, gates;
    double *gate;    /* [steps][gates][hidden], after their functions */
    double *through; /* [steps][hidden]: of gru, U h + b' of n */
    double *h, *c;   /* [steps + 1][hidden], of before each step */
} Walk;

static Walk walk_new(const At *t)
{
    static const int gates[OP_KINDS] = {[OP_RNN] = 1, [OP_GRU] = 3, [OP_LSTM] = 4};
    Walk w = {.in = t->a.c, .hidden = t->op->arg[ARG_HIDDEN].count, .steps = t->a.w, .gates = gates[t->op->kind]};
    w.gate = interp_room((int64_t)w.steps * w.gates * w.hidden, sizeof(double));
    w.through = interp_room((int64_t)w.steps * w.hidden, sizeof(double));
    w.h = interp_room((int64_t)(w.steps + 1) * w.hidden, sizeof(double));
    w.c = interp_room((int64_t)(w.steps + 1) * w.hidden, sizeof(double));
    return w;
}

static void walk_free(Walk *w)
{
    free(w->gate);
    free(w->through);
    free(w->h);
    free(w->c);
}

static double logistic(double v)
{
    return 1 / (1 + exp(-v));
}

/* Row `row` of a product with a bias. v has `n` numbers, `apart` from one to the next. */
static double row_sum(const At *t, const double *w, const double *b, int row, const double *v, int n, int64_t apart)
{
    double sum = b ? b[row] : 0;
    for (int k = 0; k < n; k++)
        sum += q(t, w[(int64_t)row * n + k] * v[k * apart]);
    return sum;
}

static void step_forward(const At *t, Walk *w, int image, int s)
{
    const int H = w->hidden;
    const double *x = t->x + at(&t->a, image, 0, 0, s), *h = w->h + (int64_t)s * H, *c = w->c + (int64_t)s * H;
    const double *b = value(t, PARAM_BIAS), *bh = value(t, PARAM_HIDDEN_BIAS);
    double *gate = w->gate + (int64_t)s * w->gates * H, *next = w->h + (int64_t)(s + 1) * H;
    for (int u = 0; u < H; u++) {
        double sum[4], own[4];
        for (int k = 0; k < w->gates; k++) {
            sum[k] = q(t, row_sum(t, value(t, PARAM_WEIGHT), b, k * H + u, x, w->in, t->a.w));
            own[k] = q(t, row_sum(t, value(t, PARAM_HIDDEN_WEIGHT), bh, k * H + u, h, H, 1));
        }
        if (t->op->kind == OP_RNN) {
            const bool relu = t->op->arg[ARG_CELL_ACT].count == CELL_RELU;
            const double v = sum[0] + own[0];
            const bool all = t->op->arg[ARG_RETURN].count == RETURN_ALL && t->sy;
            const bool over = all && relu ? interp_decide(t, v > 0, t->sy[at(&t->b, image, u, 0, s)] > 0, v, 1) : v > 0;
            gate[u] = isnan(v) ? v : !relu ? q(t, tanh(v)) : over ? q(t, v) : 0;
            next[u] = gate[u];
        } else if (t->op->kind == OP_GRU) {
            const double r = q(t, logistic(sum[0] + own[0])), z = q(t, logistic(sum[1] + own[1]));
            const double n = q(t, tanh(sum[2] + q(t, r * own[2])));
            w->through[(int64_t)s * H + u] = own[2];
            gate[u] = r, gate[H + u] = z, gate[2 * H + u] = n;
            next[u] = q(t, (1 - z) * n + z * h[u]);
        } else {
            const double i = q(t, logistic(sum[0] + own[0])), f = q(t, logistic(sum[1] + own[1]));
            const double g = q(t, tanh(sum[2] + own[2])), o = q(t, logistic(sum[3] + own[3]));
            gate[u] = i, gate[H + u] = f, gate[2 * H + u] = g, gate[3 * H + u] = o;
            w->c[(int64_t)(s + 1) * H + u] = q(t, f * c[u] + i * g);
            next[u] = q(t, o * tanh(w->c[(int64_t)(s + 1) * H + u]));
        }
    }
}

/* Of unit u, the first step whose h is the largest, or is no number; after it, as w.h has it. Steps that float32 cannot
 * tell apart, as where h saturates, are equal. */
static int largest_step(const Walk *w, int u)
{
    const double apart = 4 * 0x1p-23, least = 0x1p-126;
    int best = 1;
    for (int s = 2; s <= w->steps && !isnan(w->h[(int64_t)best * w->hidden + u]); s++)
        if (!(w->h[(int64_t)s * w->hidden + u] - w->h[(int64_t)best * w->hidden + u] <=
              apart * fabs(w->h[(int64_t)best * w->hidden + u]) + least))
            best = s;
    return best;
}

void interp_cell_forward(At *t)
{
    Walk w = walk_new(t);
    const int returns = t->op->arg[ARG_RETURN].count, H = w.hidden;
    for (int image = 0; image < t->n; image++) {
        for (int s = 0; s < w.steps; s++)
            step_forward(t, &w, image, s);
        for (int u = 0; u < H; u++)
            if (returns == RETURN_ALL) {
                for (int s = 0; s < w.steps; s++)
                    t->y[at(&t->b, image, u, 0, s)] = w.h[(int64_t)(s + 1) * H + u];
            } else {
                double mean = 0;
                for (int s = 1; s <= w.steps; s++)
                    mean += w.h[(int64_t)s * H + u] / w.steps;
                t->y[at(&t->b, image, u, 0, 0)] = returns == RETURN_MEAN  ? mean
                                                  : returns == RETURN_MAX ? w.h[(int64_t)largest_step(&w, u) * H + u]
                                                                          : w.h[(int64_t)w.steps * H + u];
            }
    }
    walk_free(&w);
}

/* What the gradient of h after step s is from the op's own output. */
static double step_given(const At *t, const Walk *w, int image, int u, int s)
{
    switch (t->op->arg[ARG_RETURN].count) {
    case RETURN_ALL:
        return t->dy[at(&t->b, image, u, 0, s)];
    case RETURN_MEAN:
        return t->dy[at(&t->b, image, u, 0, 0)] / w->steps;
    case RETURN_MAX:
        return largest_step(w, u) == s + 1 ? t->dy[at(&t->b, image, u, 0, 0)] : 0;
    default:
        return s == w->steps - 1 ? t->dy[at(&t->b, image, u, 0, 0)] : 0;
    }
}

/* The gradient of gate k's sum of unit u, dx, and (of gru's n, another: dh) that of what h feeds, into weights, biases
 * and what they read. */
static void row_back(const At *t, const Walk *w, int image, int s, int row, double dx, double dh, double *to_h)
{
    const int H = w->hidden;
    double *dw = gradient(t, PARAM_WEIGHT), *du = gradient(t, PARAM_HIDDEN_WEIGHT);
    double *db = gradient(t, PARAM_BIAS), *dbh = gradient(t, PARAM_HIDDEN_BIAS);
    const double *weight = value(t, PARAM_WEIGHT), *own = value(t, PARAM_HIDDEN_WEIGHT);
    for (int k = 0; k < w->in; k++) {
        const int64_t x = at(&t->a, image, k, 0, s), p = (int64_t)row * w->in + k;
        if (dw)
            dw[p] += q(t, dx * t->x[x]);
        t->dx[x] += q(t, dx * weight[p]);
    }
    for (int k = 0; k < H; k++) {
        const int64_t p = (int64_t)row * H + k;
        if (du && s) /* before the first step there is no h, even for a gradient that is no number */
            du[p] += q(t, dh * w->h[(int64_t)s * H + k]);
        to_h[k] += q(t, dh * own[p]);
    }
    if (db)
        db[row] += q(t, dx);
    if (dbh)
        dbh[row] += q(t, dh);
}

static void step_backward(const At *t, const Walk *w, int image, int s, double *dh, double *dc)
{
    const int H = w->hidden;
    const double *gate = w->gate + (int64_t)s * w->gates * H, *h = w->h + (int64_t)s * H, *c = w->c + (int64_t)s * H;
    double *before = interp_room(H, sizeof *before);
    for (int u = 0; u < H; u++) {
        const double g = q(t, dh[u] + step_given(t, w, image, u, s));
        if (t->op->kind == OP_RNN) {
            const double y = gate[u];
            const double d = t->op->arg[ARG_CELL_ACT].count == CELL_TANH ? g * (1 - y * y) : y <= 0 ? 0 : g;
            row_back(t, w, image, s, u, q(t, d), q(t, d), before);
        } else if (t->op->kind == OP_GRU) {
            const double r = gate[u], z = gate[H + u], n = gate[2 * H + u];
            const double dn = q(t, g * (1 - z) * (1 - n * n)), dz = q(t, g * (h[u] - n) * z * (1 - z));
            const double dr = q(t, dn * w->through[(int64_t)s * H + u] * r * (1 - r));
            row_back(t, w, image, s, u, dr, dr, before);
            row_back(t, w, image, s, H + u, dz, dz, before);
            row_back(t, w, image, s, 2 * H + u, dn, q(t, dn * r), before);
            before[u] += q(t, g * z);
        } else {
            const double i = gate[u], f = gate[H + u], j = gate[2 * H + u], o = gate[3 * H + u];
            const double y = tanh(w->c[(int64_t)(s + 1) * H + u]);
            const double d = q(t, dc[u] + g * o * (1 - y * y));
            const double back[4] = {q(t, d * j * i * (1 - i)), q(t, d * c[u] * f * (1 - f)), q(t, d * i * (1 - j * j)),
                                    q(t, g * y * o * (1 - o))};
            for (int k = 0; k < 4; k++)
                row_back(t, w, image, s, k * H + u, back[k], back[k], before);
            dc[u] = q(t, d * f);
        }
    }
    memcpy(dh, before, sizeof *dh * (size_t)H);
    free(before);
}

void interp_cell_backward(At *t)
{
    Walk w = walk_new(t);
    double *dh = interp_room(2 * (int64_t)w.hidden, sizeof *dh), *dc = dh + w.hidden;
    for (int image = 0; image < t->n; image++) {
        for (int s = 0; s < w.steps; s++)
            step_forward(t, &w, image, s);
        memset(dh, 0, 2 * sizeof *dh * (size_t)w.hidden);
        for (int s = w.steps - 1; s >= 0; s--)
            step_backward(t, &w, image, s, dh, dc);
    }
    free(dh);
    walk_free(&w);
}
