/* interp_cells.c - the reference interpreter's recurrent ops: a step after the other, of all images, from h = c = 0.
 * Weights [gates H][in] and [gates H][H], gates in PyTorch's order: h; r z n; i f g o. A norm in a place normalises W
 * x, U h, or both together before biases are added; c on its way to h; the new h. */
#include "interp_op.h"
#include "places.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a norm in a place has made of its steps: [steps][n][channels], and what it divided by, [steps][n][groups]. */
typedef struct Normed {
    const PlaceNorm *norm; /* NULL: none stands there */
    int channels, groups;
    double *hat, *istd;
} Normed;

typedef struct Walk {
    int n, in, hidden, steps, gates, rows; /* rows: gates x hidden */
    double *x, *u;                         /* [steps][n][rows]: W x, U h, then what their norms make of them */
    double *gate;                          /* [steps][n][rows], after their functions */
    double *c, *h;                         /* [steps + 1][n][hidden]: as the step before leaves them */
    double *y;                             /* [steps][n][hidden]: c as h has it; of a gru that resets before, r h */
    Normed at[PLACES];
} Walk;

static double *place_of(const At *t, double **of, CellPlace place, ParamRole role)
{
    const int p = graph_place_param(t->ip->g, t->i, place, role);
    return p < 0 ? NULL : of[p];
}

static Walk walk_new(const At *t)
{
    static const int gates[OP_KINDS] = {[OP_RNN] = 1, [OP_GRU] = 3, [OP_LSTM] = 4};
    Walk w = {.n = t->n, .in = t->a.c, .hidden = t->op->arg[ARG_HIDDEN].count, .steps = t->a.w};
    w.gates = gates[t->op->kind];
    w.rows = w.gates * w.hidden;
    const int64_t steps = (int64_t)w.steps * w.n;
    w.x = interp_room(steps * w.rows, sizeof(double));
    w.u = interp_room(steps * w.rows, sizeof(double));
    w.gate = interp_room(steps * w.rows, sizeof(double));
    w.y = interp_room(steps * w.hidden, sizeof(double));
    w.h = interp_room((steps + w.n) * w.hidden, sizeof(double));
    w.c = interp_room((steps + w.n) * w.hidden, sizeof(double));
    for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
        const PlaceNorm *norm = op_place(t->op->kind, t->op->arg, p);
        const bool of_units = p == PLACE_CELL || p == PLACE_HIDDEN;
        if (!norm)
            continue;
        w.at[p] = (Normed){.norm = norm, .channels = of_units ? w.hidden : w.rows, .groups = norm->each ? w.gates : 1};
        w.at[p].hat = interp_room(steps * w.at[p].channels, sizeof(double));
        w.at[p].istd = interp_room(norm->op == OP_BN ? (int64_t)w.steps * w.at[p].channels : steps * w.at[p].groups,
                                   sizeof(double));
    }
    return w;
}

static void walk_free(Walk *w)
{
    double *const all[] = {w->x, w->u, w->gate, w->c, w->h, w->y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
        free(w->at[p].hat);
        free(w->at[p].istd);
    }
}

/* The element of its input that step s reads, and of its output, if it returns all. */
static int element(const At *t, const Walk *w, int s)
{
    return t->op->reverse ? w->steps - 1 - s : s;
}

static double logistic(double v)
{
    return 1 / (1 + exp(-v));
}

/* ---- norms in their places --------------------------------------------------------------------------------------- */

/* Of one image in a step: v becomes gamma (v - mean) / sqrt(variance + eps) + beta; of rms the mean counts as 0. */
static void norm_forward(const At *t, Walk *w, CellPlace p, int s, int image, double *v)
{
    const Normed *m = &w->at[p];
    const double *gamma = place_of(t, t->ip->param, p, PARAM_GAMMA), *beta = place_of(t, t->ip->param, p, PARAM_BETA);
    const int size = m->channels / m->groups;
    const int64_t at = (int64_t)s * w->n + image;
    for (int g = 0; g < m->groups; g++) {
        double mean = 0, var = 0, *hat = m->hat + at * m->channels + (int64_t)g * size;
        for (int c = g * size; c < (g + 1) * size && m->norm->op != OP_RMS; c++)
            mean += v[c] / size;
        for (int c = g * size; c < (g + 1) * size; c++)
            var += (v[c] - mean) * (v[c] - mean) / size;
        const double istd = q(t, 1 / sqrt(var + m->norm->eps));
        m->istd[at * m->groups + g] = istd;
        for (int c = g * size; c < (g + 1) * size; c++) {
            hat[c - g * size] = q(t, (v[c] - mean) * istd);
            v[c] = q(t, gamma[c] * hat[c - g * size] + (beta ? beta[c] : 0));
        }
    }
}

/* The gradient of what the norm made, d, becomes that of what it read. */
static void norm_backward(const At *t, const Walk *w, CellPlace p, int s, int image, double *d)
{
    const Normed *m = &w->at[p];
    const double *gamma = place_of(t, t->ip->param, p, PARAM_GAMMA);
    double *dgamma = place_of(t, t->ip->dparam, p, PARAM_GAMMA), *dbeta = place_of(t, t->ip->dparam, p, PARAM_BETA);
    const int size = m->channels / m->groups;
    const int64_t at = (int64_t)s * w->n + image;
    for (int g = 0; g < m->groups; g++) {
        const double *hat = m->hat + at * m->channels;
        double mean = 0, slope = 0;
        for (int c = g * size; c < (g + 1) * size; c++) {
            if (dgamma)
                dgamma[c] += q(t, d[c] * hat[c]);
            if (dbeta)
                dbeta[c] += q(t, d[c]);
            if (m->norm->op != OP_RMS)
                mean += gamma[c] * d[c] / size;
            slope += gamma[c] * d[c] * hat[c] / size;
        }
        for (int c = g * size; c < (g + 1) * size; c++)
            d[c] = q(t, m->istd[at * m->groups + g] * (gamma[c] * d[c] - mean - hat[c] * slope));
    }
}

/* ---- forward -------------------------------------------------------------------------------------------------------
 */

/* A product's rows, without their biases. v has `n` numbers, `apart` from one to the next. */
static void rows_forward(const At *t, const Walk *w, const double *weight, const double *v, int n, int64_t apart,
                         double *to)
{
    for (int row = 0; row < w->rows; row++) {
        double sum = 0;
        for (int k = 0; k < n; k++)
            sum += q(t, weight[(int64_t)row * n + k] * v[k * apart]);
        to[row] = q(t, sum);
    }
}

/* bn in a place of `count` rows of v, those from row `from` on of all steps: with their mean and biased variance, or
 * the running ones, whose row `row` it is. */
static void batch_forward(const At *t, Walk *w, CellPlace p, int64_t from, int64_t count, int row, double *v)
{
    const Normed *m = &w->at[p];
    const double *gamma = place_of(t, t->ip->param, p, PARAM_GAMMA), *beta = place_of(t, t->ip->param, p, PARAM_BETA);
    const int n = m->channels;
    double *running_mean = place_of(t, t->ip->param, p, PARAM_MEAN) + (int64_t)row * n,
           *running_var = place_of(t, t->ip->param, p, PARAM_VAR) + (int64_t)row * n,
           *batches = place_of(t, t->ip->param, p, PARAM_COUNT), *hat = m->hat + from * n,
           *istd = m->istd + from / w->n * n;
    const double momentum = m->norm->momentum;
    const bool of_batch = t->ip->training && !t->op->frozen;
    for (int c = 0; c < n; c++) {
        double mean = running_mean[c], var = running_var[c];
        if (of_batch) {
            mean = var = 0;
            for (int64_t i = 0; i < count; i++)
                mean += v[i * n + c] / (double)count;
            for (int64_t i = 0; i < count; i++)
                var += (v[i * n + c] - mean) * (v[i * n + c] - mean) / (double)count;
            if (!t->ip->walked[t->i]) {
                running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean;
                running_var[c] = (1 - momentum) * running_var[c] +
                                 momentum * var * (double)count / (double)(count > 1 ? count - 1 : 1);
            }
        }
        istd[c] = q(t, 1 / sqrt(var + m->norm->eps));
        for (int64_t i = 0; i < count; i++) {
            hat[i * n + c] = q(t, (v[i * n + c] - mean) * istd[c]);
            v[i * n + c] = q(t, gamma[c] * hat[i * n + c] + (beta ? beta[c] : 0));
        }
    }
    if (of_batch && !t->ip->walked[t->i] && from == 0)
        *batches += 1;
}

/* d, of the same rows: the gradient of what that made becomes that of what it read. */
static void batch_backward(const At *t, const Walk *w, CellPlace p, int64_t from, int64_t count, double *d)
{
    const Normed *m = &w->at[p];
    const double *gamma = place_of(t, t->ip->param, p, PARAM_GAMMA);
    double *dgamma = place_of(t, t->ip->dparam, p, PARAM_GAMMA), *dbeta = place_of(t, t->ip->dparam, p, PARAM_BETA);
    const int n = m->channels;
    const double *hat = m->hat + from * n, *istd = m->istd + from / w->n * n;
    for (int c = 0; c < n; c++) {
        double mean = 0, slope = 0;
        for (int64_t i = 0; i < count; i++) {
            mean += d[i * n + c] / (double)count;
            slope += d[i * n + c] * hat[i * n + c] / (double)count;
            if (dgamma)
                dgamma[c] += q(t, d[i * n + c] * hat[i * n + c]);
            if (dbeta)
                dbeta[c] += q(t, d[i * n + c]);
        }
        if (t->op->frozen)
            mean = slope = 0; /* its statistics do not depend on the batch */
        for (int64_t i = 0; i < count; i++)
            d[i * n + c] = q(t, istd[c] * gamma[c] * (d[i * n + c] - mean - hat[i * n + c] * slope));
    }
}

/* The bn of W x with the statistics of all steps. */
static bool input_is_batch(const Walk *w)
{
    const PlaceNorm *norm = w->at[PLACE_INPUT].norm;
    return norm && norm->op == OP_BN && !norm->step;
}

/* A place's norm, where one stands, of step s: v has all images' numbers. */
static void place_forward(const At *t, Walk *w, CellPlace p, int s, double *v)
{
    const PlaceNorm *norm = w->at[p].norm;
    if (norm && norm->op == OP_BN) {
        const int rows = place_table_rows(norm, w->steps);
        batch_forward(t, w, p, (int64_t)s * w->n, w->n, s < rows ? s : rows - 1, v);
        return;
    }
    for (int image = 0; norm && image < w->n; image++)
        norm_forward(t, w, p, s, image, v + (int64_t)image * w->at[p].channels);
}

static void place_backward(const At *t, const Walk *w, CellPlace p, int s, double *d)
{
    const PlaceNorm *norm = w->at[p].norm;
    if (norm && norm->op == OP_BN) {
        batch_backward(t, w, p, (int64_t)s * w->n, w->n, d);
        return;
    }
    for (int image = 0; norm && image < w->n; image++)
        norm_backward(t, w, p, s, image, d + (int64_t)image * w->at[p].channels);
}

/* The sums of a step, of all images. */
static void products_forward(const At *t, Walk *w, int s)
{
    const double *b = value(t, PARAM_BIAS), *bh = value(t, PARAM_HIDDEN_BIAS);
    const int64_t at_step = (int64_t)s * w->n, all = (int64_t)w->n * w->rows;
    double *x = w->x + at_step * w->rows, *u = w->u + at_step * w->rows;
    for (int image = 0; image < w->n; image++)
        rows_forward(t, w, value(t, PARAM_HIDDEN_WEIGHT), w->h + (at_step + image) * w->hidden, w->hidden, 1,
                     u + (int64_t)image * w->rows);
    if (!input_is_batch(w))
        place_forward(t, w, PLACE_INPUT, s, x);
    place_forward(t, w, PLACE_RECURRENT, s, u);
    for (int64_t i = 0; w->at[PLACE_SUM].norm && i < all; i++)
        x[i] = q(t, x[i] + u[i]), u[i] = 0;
    place_forward(t, w, PLACE_SUM, s, x);
    for (int64_t i = 0; b && i < all; i++)
        x[i] = q(t, x[i] + b[i % w->rows]), u[i] = q(t, u[i] + bh[i % w->rows]);
}

/* A gru that resets before its product: n's rows of U read r h. */
static void reset_before(const At *t, Walk *w, int image, int s)
{
    const int H = w->hidden;
    const int64_t step = (int64_t)s * w->n + image;
    const double *x = w->x + step * w->rows, *h = w->h + step * H, *weight = value(t, PARAM_HIDDEN_WEIGHT),
                 *bh = value(t, PARAM_HIDDEN_BIAS);
    double *u = w->u + step * w->rows, *rh = w->y + step * H;
    for (int k = 0; k < H; k++)
        rh[k] = q(t, q(t, logistic(x[k] + u[k])) * h[k]);
    for (int row = 2 * H; row < 3 * H; row++) {
        double sum = 0;
        for (int k = 0; k < H; k++)
            sum += q(t, weight[(int64_t)row * H + k] * rh[k]);
        u[row] = q(t, sum + (bh ? bh[row] : 0));
    }
}

/* The gates of a step, and the new c (of lstm), or the new h (of the others), in `to`. */
static void gates_forward(const At *t, Walk *w, int image, int s, double *to)
{
    const int H = w->hidden;
    const int64_t step = (int64_t)s * w->n + image;
    const double *x = w->x + step * w->rows, *own = w->u + step * w->rows, *h = w->h + step * H, *c = w->c + step * H;
    double *gate = w->gate + step * w->rows;
    for (int u = 0; u < H; u++) {
        if (t->op->kind == OP_RNN) {
            const bool relu = t->op->arg[ARG_CELL_ACT].count == CELL_RELU;
            const double v = x[u] + own[u];
            const bool all =
                t->op->arg[ARG_RETURN].count == RETURN_ALL && t->sy && !w->at[PLACE_HIDDEN].norm; /* then h is not it */
            const bool over = all && relu
                                  ? interp_decide(t, v > 0, t->sy[at(&t->b, image, u, 0, element(t, w, s))] > 0, v, 1)
                                  : v > 0;
            to[u] = gate[u] = isnan(v) ? v : !relu ? q(t, tanh(v)) : over ? q(t, v) : 0;
        } else if (t->op->kind == OP_GRU) {
            const double r = q(t, logistic(x[u] + own[u])), z = q(t, logistic(x[H + u] + own[H + u]));
            const double n =
                q(t, tanh(x[2 * H + u] +
                          (op_resets_before(OP_GRU, t->op->arg) ? own[2 * H + u] : q(t, r * own[2 * H + u]))));
            gate[u] = r, gate[H + u] = z, gate[2 * H + u] = n;
            to[u] = q(t, (1 - z) * n + z * h[u]);
        } else {
            for (int k = 0; k < 4; k++) {
                const double v = x[k * H + u] + own[k * H + u];
                gate[k * H + u] = q(t, k == 2 ? tanh(v) : logistic(v));
            }
            to[u] = q(t, gate[H + u] * c[u] + gate[u] * gate[2 * H + u]);
        }
    }
}

static void step_forward(const At *t, Walk *w, int s)
{
    const int H = w->hidden;
    const int64_t step = (int64_t)s * w->n, next = step + w->n, all = (int64_t)w->n * H;
    double *h = w->h + next * H, *c = w->c + next * H, *y = w->y + step * H;
    products_forward(t, w, s);
    for (int image = 0; image < w->n; image++) {
        if (op_resets_before(t->op->kind, t->op->arg))
            reset_before(t, w, image, s);
        gates_forward(t, w, image, s, (t->op->kind == OP_LSTM ? c : h) + (int64_t)image * H);
    }
    if (t->op->kind == OP_LSTM) {
        memcpy(y, c, sizeof *y * (size_t)all);
        place_forward(t, w, PLACE_CELL, s, y);
        if (w->at[PLACE_CELL].norm && w->at[PLACE_CELL].norm->carried)
            memcpy(c, y, sizeof *y * (size_t)all);
        for (int64_t i = 0; i < all; i++)
            h[i] = q(t, w->gate[(step + i / H) * w->rows + 3 * H + i % H] * tanh(y[i]));
    }
    place_forward(t, w, PLACE_HIDDEN, s, h);
}

static double h_after(const Walk *w, int image, int u, int s)
{
    return w->h[((int64_t)(s + 1) * w->n + image) * w->hidden + u];
}

/* Of unit u, the first step whose h is the largest, or is no number. Steps that float32 cannot tell apart, as where h
 * saturates, are equal. */
static int largest_step(const Walk *w, int image, int u)
{
    const double apart = 4 * 0x1p-23, least = 0x1p-126;
    int best = 0;
    for (int s = 1; s < w->steps && !isnan(h_after(w, image, u, best)); s++)
        if (!(h_after(w, image, u, s) - h_after(w, image, u, best) <= apart * fabs(h_after(w, image, u, best)) + least))
            best = s;
    return best;
}

static void walk_forward(const At *t, Walk *w)
{
    for (int s = 0; s < w->steps; s++)
        for (int image = 0; image < t->n; image++)
            rows_forward(t, w, value(t, PARAM_WEIGHT), t->x + at(&t->a, image, 0, 0, element(t, w, s)), w->in, t->a.w,
                         w->x + ((int64_t)s * w->n + image) * w->rows);
    if (input_is_batch(w))
        batch_forward(t, w, PLACE_INPUT, 0, (int64_t)w->steps * w->n, 0, w->x);
    for (int s = 0; s < w->steps; s++)
        step_forward(t, w, s);
}

void interp_cell_forward(At *t)
{
    Walk w = walk_new(t);
    const int returns = t->op->arg[ARG_RETURN].count;
    walk_forward(t, &w);
    for (int image = 0; image < t->n; image++)
        for (int u = 0; u < w.hidden; u++)
            if (returns == RETURN_ALL) {
                for (int s = 0; s < w.steps; s++)
                    t->y[at(&t->b, image, u, 0, element(t, &w, s))] = h_after(&w, image, u, s);
            } else {
                double mean = 0;
                for (int s = 0; s < w.steps; s++)
                    mean += h_after(&w, image, u, s) / w.steps;
                t->y[at(&t->b, image, u, 0, 0)] = returns == RETURN_MEAN ? mean
                                                  : returns == RETURN_MAX
                                                      ? h_after(&w, image, u, largest_step(&w, image, u))
                                                      : h_after(&w, image, u, w.steps - 1);
            }
    walk_free(&w);
}

/* ---- backward ------------------------------------------------------------------------------------------------------
 */

/* What the gradient of h after step s is from the op's own output. */
static double step_given(const At *t, const Walk *w, int image, int u, int s)
{
    switch (t->op->arg[ARG_RETURN].count) {
    case RETURN_ALL:
        return t->dy[at(&t->b, image, u, 0, element(t, w, s))];
    case RETURN_MEAN:
        return t->dy[at(&t->b, image, u, 0, 0)] / w->steps;
    case RETURN_MAX:
        return largest_step(w, image, u) == s ? t->dy[at(&t->b, image, u, 0, 0)] : 0;
    default:
        return s == w->steps - 1 ? t->dy[at(&t->b, image, u, 0, 0)] : 0;
    }
}

/* The gradient of W x of a step, dx, into the weights and x. */
static void input_backward(const At *t, const Walk *w, int image, int s, const double *dx)
{
    const double *weight = value(t, PARAM_WEIGHT);
    double *dw = gradient(t, PARAM_WEIGHT);
    for (int row = 0; row < w->rows; row++)
        for (int k = 0; k < w->in; k++) {
            const int64_t x = at(&t->a, image, k, 0, element(t, w, s)), p = (int64_t)row * w->in + k;
            if (dw)
                dw[p] += q(t, dx[row] * t->x[x]);
            t->dx[x] += q(t, dx[row] * weight[p]);
        }
}

/* That of U h, du, into the weights and h. */
static void hidden_backward(const At *t, const Walk *w, int image, int s, const double *du, double *to_h)
{
    const int H = w->hidden;
    double *dv = gradient(t, PARAM_HIDDEN_WEIGHT);
    const double *own = value(t, PARAM_HIDDEN_WEIGHT);
    const double *h = w->h + ((int64_t)s * w->n + image) * H, *rh = w->y + ((int64_t)s * w->n + image) * H;
    for (int row = 0; row < w->rows; row++) {
        const bool reset = row >= 2 * H && op_resets_before(t->op->kind, t->op->arg);
        for (int k = 0; k < H; k++) {
            const int64_t p = (int64_t)row * H + k;
            if (dv && s) /* before the first step there is no h, even for a gradient that is no number */
                dv[p] += q(t, du[row] * (reset ? rh[k] : h[k]));
            if (!reset) /* what gates_backward has done */
                to_h[k] += q(t, du[row] * own[p]);
        }
    }
}

/* The gradients of the gates' sums, dx and (of gru's n another) du, from that of what gates_forward made, d; what of it
 * goes to the c or h before by itself. */
static void gates_backward(const At *t, const Walk *w, int image, int s, const double *d, double *dx, double *du,
                           double *before)
{
    const int H = w->hidden;
    const int64_t step = (int64_t)s * w->n + image;
    const double *gate = w->gate + step * w->rows, *h = w->h + step * H, *c = w->c + step * H;
    for (int u = 0; u < H; u++) {
        const double g = d[u];
        if (t->op->kind == OP_RNN) {
            const double y = gate[u];
            dx[u] = q(t, t->op->arg[ARG_CELL_ACT].count == CELL_TANH ? g * (1 - y * y) : y <= 0 ? 0 : g);
            du[u] = dx[u];
        } else if (t->op->kind == OP_GRU) {
            const double r = gate[u], z = gate[H + u], n = gate[2 * H + u];
            const double dn = q(t, g * (1 - z) * (1 - n * n));
            dx[u] = du[u] = q(t, dn * w->u[step * w->rows + 2 * H + u] * r * (1 - r));
            dx[H + u] = du[H + u] = q(t, g * (h[u] - n) * z * (1 - z));
            dx[2 * H + u] = dn;
            du[2 * H + u] = q(t, dn * r);
            before[u] += q(t, g * z);
            if (op_resets_before(OP_GRU, t->op->arg))
                du[2 * H + u] = dn;
        } else {
            const double i = gate[u], f = gate[H + u], j = gate[2 * H + u];
            dx[u] = du[u] = q(t, g * j * i * (1 - i));
            dx[H + u] = du[H + u] = q(t, g * c[u] * f * (1 - f));
            dx[2 * H + u] = du[2 * H + u] = q(t, g * i * (1 - j * j));
            before[u] = q(t, g * f);
        }
    }
    const double *own = value(t, PARAM_HIDDEN_WEIGHT);
    for (int u = 0; op_resets_before(t->op->kind, t->op->arg) && u < H; u++) {
        const double r = gate[u];
        double drh = 0;
        for (int row = 2 * H; row < 3 * H; row++)
            drh += q(t, du[row] * own[(int64_t)row * H + u]);
        dx[u] = du[u] = q(t, drh * h[u] * r * (1 - r));
        before[u] += q(t, drh * r);
    }
}

/* Of all images. dh, dc: the gradients of h and c after the step, then of those before it. dx: where that of W x goes.
 */
static void step_backward(const At *t, const Walk *w, int s, double *dh, double *dc, double *dx)
{
    const int H = w->hidden;
    const bool lstm = t->op->kind == OP_LSTM;
    const int64_t step = (int64_t)s * w->n, all = (int64_t)w->n * H, rows = (int64_t)w->n * w->rows;
    double *before = interp_room(all, sizeof *before), *d = interp_room(all, sizeof *d);
    double *du = interp_room(rows, sizeof *du);
    double *db = gradient(t, PARAM_BIAS), *dbh = gradient(t, PARAM_HIDDEN_BIAS);
    for (int64_t i = 0; i < all; i++)
        d[i] = q(t, dh[i] + step_given(t, w, (int)(i / H), (int)(i % H), s));
    place_backward(t, w, PLACE_HIDDEN, s, d);
    if (lstm) {
        const PlaceNorm *cell = w->at[PLACE_CELL].norm;
        const bool carried = cell && cell->carried;
        for (int64_t i = 0; i < all; i++) {
            const int64_t row = i / H * w->rows + 3 * H + i % H;
            const double o = w->gate[step * w->rows + row], y = tanh(w->y[step * H + i]);
            dx[row] = du[row] = q(t, d[i] * y * o * (1 - o));
            d[i] = q(t, d[i] * o * (1 - y * y) + (carried ? dc[i] : 0));
        }
        place_backward(t, w, PLACE_CELL, s, d);
        for (int64_t i = 0; i < all && !carried; i++)
            d[i] = q(t, d[i] + dc[i]);
    }
    for (int64_t image = 0; image < w->n; image++)
        gates_backward(t, w, (int)image, s, d + image * H, dx + image * w->rows, du + image * w->rows,
                       (lstm ? dc : before) + image * H);
    for (int64_t i = 0; db && i < rows; i++)
        db[i % w->rows] += q(t, dx[i]), dbh[i % w->rows] += q(t, du[i]);
    place_backward(t, w, PLACE_SUM, s, dx);
    if (w->at[PLACE_SUM].norm)
        memcpy(du, dx, sizeof *du * (size_t)rows);
    if (!input_is_batch(w))
        place_backward(t, w, PLACE_INPUT, s, dx);
    place_backward(t, w, PLACE_RECURRENT, s, du);
    for (int64_t image = 0; image < w->n; image++)
        hidden_backward(t, w, (int)image, s, du + image * w->rows, before + image * H);
    memcpy(dh, before, sizeof *dh * (size_t)all);
    free(before);
    free(d);
    free(du);
}

void interp_cell_backward(At *t)
{
    Walk w = walk_new(t);
    const int64_t all = (int64_t)t->n * w.hidden;
    double *dh = interp_room(2 * all, sizeof *dh), *dc = dh + all;
    double *dx = interp_room((int64_t)w.steps * t->n * w.rows, sizeof *dx);
    t->ip->walked[t->i] = true; /* its running statistics have moved */
    walk_forward(t, &w);
    for (int s = w.steps - 1; s >= 0; s--)
        step_backward(t, &w, s, dh, dc, dx + (int64_t)s * t->n * w.rows);
    if (input_is_batch(&w))
        batch_backward(t, &w, PLACE_INPUT, 0, (int64_t)w.steps * w.n, dx);
    for (int s = 0; s < w.steps; s++)
        for (int image = 0; image < t->n; image++)
            input_backward(t, &w, image, s, dx + ((int64_t)s * t->n + image) * w.rows);
    t->ip->walked[t->i] = false;
    free(dx);
    free(dh);
    walk_free(&w);
}
