/* interp.c - the reference interpreter: see interp.h. Each op is one row of a table with its forward and, beside it,
 * its backward, which adds to the gradient of its input. An op that reads several is called for each of them in turn.
 */
#include "acts.h"
#include "interp_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *interp_room(int64_t n, size_t size)
{
    void *p = n < 0 || (uint64_t)n > SIZE_MAX / size ? NULL : calloc((size_t)n + 1, size);
    if (!p) {
        fprintf(stderr, "interp: out of memory (%lld x %zu bytes)\n", (long long)n, size);
        exit(2);
    }
    return p;
}

int64_t interp_image(const Graph *g, int op)
{
    const Shape *s = &g->op[op].shape;
    return (int64_t)s->c * s->h * s->w;
}

int64_t interp_numel(const Param *p)
{
    int64_t n = 1;
    for (int d = 0; d < p->ndim; d++)
        n *= p->dim[d];
    return n;
}

int interp_find(const Graph *g, int op, ParamRole role)
{
    for (int i = 0; i < g->nparam; i++)
        if (g->param[i].op == op && g->param[i].role == role)
            return i;
    return -1;
}

static bool trained(ParamRole r)
{
    return r <= PARAM_BETA;
}

/* The largest magnitude in a tensor. */
static double top(const double *v, int64_t n)
{
    double m = 0;
    for (int64_t i = 0; i < n; i++)
        if (fabs(v[i]) > m)
            m = fabs(v[i]);
    return m;
}

static int64_t size_in(const At *t)
{
    return (int64_t)t->n * t->a.c * t->a.h * t->a.w;
}

static int64_t size_out(const At *t)
{
    return (int64_t)t->n * t->b.c * t->b.h * t->b.w;
}

bool interp_decide(const At *t, bool own, bool seen, double distance, double scale)
{
    if (own == seen)
        return own;
    if (fabs(distance) <= fmax(1e-5 * scale, t->ip->slack[t->i])) {
        t->ip->flips++;
        return seen;
    }
    if (t->ip->far_flips++ == 0)
        t->ip->far_op = t->i;
    return own;
}

double interp_shaken(Interp *ip, double v)
{
    if (!ip->shake || v == (double)(float)v)
        return v;
    uint64_t z;
    memcpy(&z, &v, sizeof z);
    if (ip->shake % 2 == 0)
        z += ++ip->moved;
    z = (z ^ ip->shake * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 29)) * 0x94d049bb133111ebu;
    return (double)(float)(v * (1 + ((double)(z >> 33) / 1073741824.0 - 1) / 8388608.0));
}

/* conv: weight [out][in / groups][kh][kw]; padding taps are zero. */
static void conv_walk(At *t, const double *w, double *dw, bool back)
{
    const Op *o = t->op;
    int groups = o->groups > 0 ? o->groups : 1;
    int dil[2] = {o->dilation[0] > 0 ? o->dilation[0] : 1, o->dilation[1] > 0 ? o->dilation[1] : 1};
    int ig = t->a.c / groups, og = t->b.c / groups;
    for (int n = 0; n < t->n; n++)
        for (int k = 0; k < t->b.c; k++)
            for (int y = 0; y < t->b.h; y++)
                for (int x = 0; x < t->b.w; x++) {
                    int64_t to = at(&t->b, n, k, y, x);
                    double sum = 0;
                    for (int c = 0; c < ig; c++)
                        for (int u = 0; u < o->kernel[0]; u++)
                            for (int v = 0; v < o->kernel[1]; v++) {
                                int sy = y * o->stride[0] - o->padding[0] + u * dil[0];
                                int sx = x * o->stride[1] - o->padding[1] + v * dil[1];
                                if (sy < 0 || sy >= t->a.h || sx < 0 || sx >= t->a.w)
                                    continue;
                                int64_t from = at(&t->a, n, k / og * ig + c, sy, sx);
                                int64_t tap = (((int64_t)k * ig + c) * o->kernel[0] + u) * o->kernel[1] + v;
                                if (back) {
                                    if (dw)
                                        dw[tap] += q(t, t->dy[to] * t->x[from]);
                                    t->dx[from] += q(t, t->dy[to] * w[tap]);
                                } else {
                                    sum += q(t, t->x[from] * w[tap]);
                                }
                            }
                    if (!back)
                        t->y[to] = sum;
                }
}

static void bias_forward(At *t)
{
    const double *b = value(t, PARAM_BIAS);
    int64_t plane = (int64_t)t->b.h * t->b.w;
    for (int64_t i = 0; b && i < size_out(t); i++)
        t->y[i] += b[i / plane % t->b.c];
}

static void bias_backward(At *t)
{
    double *db = gradient(t, PARAM_BIAS);
    int64_t plane = (int64_t)t->b.h * t->b.w;
    for (int64_t i = 0; db && i < size_out(t); i++)
        db[i / plane % t->b.c] += q(t, t->dy[i]);
}

static void conv_forward(At *t)
{
    conv_walk(t, value(t, PARAM_WEIGHT), NULL, false);
    bias_forward(t);
}

static void conv_backward(At *t)
{
    conv_walk(t, value(t, PARAM_WEIGHT), gradient(t, PARAM_WEIGHT), true);
    bias_backward(t);
}

/* linear: weight [out][in] */
static void linear_forward(At *t)
{
    const double *w = value(t, PARAM_WEIGHT);
    int64_t in = (int64_t)t->a.c * t->a.h * t->a.w;
    for (int n = 0; n < t->n; n++)
        for (int k = 0; k < t->b.c; k++) {
            double sum = 0;
            for (int64_t c = 0; c < in; c++)
                sum += q(t, t->x[n * in + c] * w[k * in + c]);
            t->y[(int64_t)n * t->b.c + k] = sum;
        }
    bias_forward(t);
}

static void linear_backward(At *t)
{
    const double *w = value(t, PARAM_WEIGHT);
    double *dw = gradient(t, PARAM_WEIGHT);
    int64_t in = (int64_t)t->a.c * t->a.h * t->a.w;
    for (int n = 0; n < t->n; n++)
        for (int k = 0; k < t->b.c; k++) {
            double g = t->dy[(int64_t)n * t->b.c + k];
            for (int64_t c = 0; c < in; c++) {
                if (dw)
                    dw[k * in + c] += q(t, g * t->x[n * in + c]);
                t->dx[n * in + c] += q(t, g * w[k * in + c]);
            }
        }
    bias_backward(t);
}

/* embed: a table [tokens][out]; the row of the token at step l of image n, -1 where that is none */
static int64_t embed_row(const At *t, int n, int l)
{
    const double v = t->x[(int64_t)n * t->a.w + l];
    return v >= 0 && v < t->ip->g->spec->tokens && v == floor(v) ? (int64_t)v : -1;
}

static void embed_forward(At *t)
{
    const double *w = value(t, PARAM_WEIGHT);
    for (int n = 0; n < t->n; n++)
        for (int c = 0; c < t->b.c; c++)
            for (int l = 0; l < t->b.w; l++) {
                const int64_t row = embed_row(t, n, l);
                t->y[at(&t->b, n, c, 0, l)] = row < 0 ? NAN : q(t, w[row * t->b.c + c]);
            }
}

static void embed_backward(At *t)
{
    double *dw = gradient(t, PARAM_WEIGHT);
    for (int n = 0; n < t->n && dw; n++)
        for (int c = 0; c < t->b.c; c++)
            for (int l = 0; l < t->b.w; l++) {
                const int64_t row = embed_row(t, n, l);
                if (row >= 0)
                    dw[row * t->b.c + c] += q(t, t->dy[at(&t->b, n, c, 0, l)]);
            }
}

/* bn: normalises with the biased variance, stores the unbiased one; momentum is the weight of the new batch. */
static void bn_forward(At *t)
{
    const Op *o = t->op;
    const double *gamma = value(t, PARAM_GAMMA), *beta = value(t, PARAM_BETA);
    double *rmean = value(t, PARAM_MEAN), *rvar = value(t, PARAM_VAR), *count = value(t, PARAM_COUNT);
    double *mean = t->ip->mean[t->i], *istd = t->ip->istd[t->i], *var = t->ip->var[t->i];
    int64_t plane = (int64_t)t->b.h * t->b.w, m = t->n * plane;
    const bool of_batch = t->ip->training && !o->frozen;
    for (int c = 0; c < t->b.c; c++) {
        if (of_batch) {
            double sum = 0, sq = 0;
            for (int n = 0; n < t->n; n++)
                for (int64_t i = 0; i < plane; i++)
                    sum += t->x[((int64_t)n * t->b.c + c) * plane + i];
            mean[c] = sum / (double)m;
            for (int n = 0; n < t->n; n++)
                for (int64_t i = 0; i < plane; i++) {
                    double d = t->x[((int64_t)n * t->b.c + c) * plane + i] - mean[c];
                    sq += d * d;
                }
            var[c] = sq / (double)m;
            rmean[c] = (1 - o->momentum) * rmean[c] + o->momentum * mean[c];
            rvar[c] = (1 - o->momentum) * rvar[c] + o->momentum * sq / (double)(m > 1 ? m - 1 : 1);
        } else {
            mean[c] = rmean[c];
            var[c] = rvar[c];
        }
        istd[c] = q(t, 1 / sqrt(var[c] + o->eps));
        for (int n = 0; n < t->n; n++)
            for (int64_t i = 0; i < plane; i++) {
                int64_t e = ((int64_t)n * t->b.c + c) * plane + i;
                t->y[e] = (gamma ? gamma[c] : 1) * q(t, (t->x[e] - mean[c]) * istd[c]) + (beta ? beta[c] : 0);
            }
    }
    if (of_batch && count)
        *count += 1;
}

static void bn_backward(At *t)
{
    const double *gamma = value(t, PARAM_GAMMA);
    double *dgamma = gradient(t, PARAM_GAMMA), *dbeta = gradient(t, PARAM_BETA);
    const double *mean = t->ip->mean[t->i], *istd = t->ip->istd[t->i];
    int64_t plane = (int64_t)t->b.h * t->b.w;
    double m = (double)(t->n * plane);
    for (int c = 0; c < t->b.c; c++) {
        double sum = 0, dot = 0;
        for (int n = 0; n < t->n; n++)
            for (int64_t i = 0; i < plane; i++) {
                int64_t e = ((int64_t)n * t->b.c + c) * plane + i;
                sum += q(t, t->dy[e]);
                dot += q(t, t->dy[e]) * q(t, (t->x[e] - mean[c]) * istd[c]);
            }
        if (dgamma)
            dgamma[c] += dot;
        if (dbeta)
            dbeta[c] += sum;
        if (t->op->frozen) /* mean and deviation are numbers like gamma */
            sum = dot = 0;
        for (int n = 0; n < t->n; n++)
            for (int64_t i = 0; i < plane; i++) {
                int64_t e = ((int64_t)n * t->b.c + c) * plane + i;
                double xhat = q(t, (t->x[e] - mean[c]) * istd[c]);
                t->dx[e] += (gamma ? gamma[c] : 1) * istd[c] *
                            q(t, q(t, t->dy[e] - q(t, sum / m)) - q(t, xhat * q(t, dot / m)));
            }
    }
}

/* gn, ln, in: each group of channels of each image by itself, with one gamma and one beta per channel. Values of a
 * group stand together. rms takes no mean away, and has no beta. */
static void image_norm_forward(At *t)
{
    const double *gamma = value(t, PARAM_GAMMA), *beta = value(t, PARAM_BETA);
    int64_t plane = (int64_t)t->b.h * t->b.w, m = t->b.c / t->op->groups * plane;
    for (int64_t g = 0; g < t->n * t->op->groups; g++) {
        const double *x = t->x + g * m;
        double mean = 0, var = 0;
        for (int64_t i = 0; i < m && t->op->kind != OP_RMS; i++)
            mean += x[i] / (double)m;
        for (int64_t i = 0; i < m; i++)
            var += (x[i] - mean) * (x[i] - mean) / (double)m;
        t->ip->mean[t->i][g] = mean;
        t->ip->istd[t->i][g] = q(t, 1 / sqrt(var + t->op->eps));
        for (int64_t i = 0; i < m; i++) {
            int c = (int)((g * m + i) / plane % t->b.c);
            t->y[g * m + i] =
                gamma[c] * q(t, (x[i] - mean) * t->ip->istd[t->i][g]) + (t->op->kind == OP_RMS ? 0 : beta[c]);
        }
    }
}

static void image_norm_backward(At *t)
{
    const double *gamma = value(t, PARAM_GAMMA);
    double *dgamma = gradient(t, PARAM_GAMMA), *dbeta = gradient(t, PARAM_BETA);
    int64_t plane = (int64_t)t->b.h * t->b.w, m = t->b.c / t->op->groups * plane;
    for (int64_t g = 0; g < t->n * t->op->groups; g++) {
        double mean = t->ip->mean[t->i][g], istd = t->ip->istd[t->i][g], sum = 0, dot = 0;
        for (int64_t e = g * m; e < (g + 1) * m; e++) {
            int c = (int)(e / plane % t->b.c);
            double xhat = q(t, (t->x[e] - mean) * istd), dy = q(t, t->dy[e]);
            if (t->op->kind != OP_RMS) {
                if (dbeta)
                    dbeta[c] += dy;
                sum += q(t, gamma[c] * dy);
            }
            if (dgamma)
                dgamma[c] += dy * xhat;
            dot += q(t, gamma[c] * dy) * xhat;
        }
        for (int64_t e = g * m; e < (g + 1) * m; e++) {
            int c = (int)(e / plane % t->b.c);
            double xhat = q(t, (t->x[e] - mean) * istd);
            t->dx[e] +=
                istd * q(t, q(t, gamma[c] * t->dy[e] - q(t, sum / (double)m)) - q(t, xhat * q(t, dot / (double)m)));
        }
    }
}

/* In the float run: a saturated output lies at the kink's value, so that the upper kink is passed where it is reached.
 */
static bool seen_above(const At *t, const Pieces *p, int k, int64_t i)
{
    if (t->sy && (p->by_output || !t->sx))
        return k ? t->sy[i] >= (float)p->y[k] : t->sy[i] > (float)p->y[k];
    if (p->upper_below && k) /* general_relu asks what it makes of x */
        return (float)t->sx[i] - (float)p->less > (float)p->y[k];
    return k ? t->sx[i] >= (float)p->kink[k] : t->sx[i] > (float)p->kink[k];
}

static double off(const void *t, double v)
{
    return q(t, v);
}

/* An activation: its value by acts.c, in the piece that it is taken to lie in. */
static void act_forward(At *t)
{
    double scale = top(t->x, size_in(t));
    unsigned char *side = t->ip->side[t->i];
    const Pieces p = act_pieces(t->op->kind, t->op->arg);
    for (int64_t i = 0; i < size_in(t); i++) {
        if (isnan(t->x[i])) {
            if (side)
                side[i] = (unsigned char)p.of_nan;
            t->y[i] = t->x[i];
            continue;
        }
        int piece = 0;
        for (int k = 0; k < p.n; k++) {
            bool above = k && !p.upper_below ? t->x[i] >= p.kink[k] : t->x[i] > p.kink[k];
            if (t->sx || t->sy)
                above = interp_decide(t, above, seen_above(t, &p, k, i), t->x[i] - p.kink[k], scale);
            piece += above;
        }
        if (side)
            side[i] = (unsigned char)piece;
        t->y[i] = act_rules[t->op->kind].value(&(ActAt){t->op->arg, t->x[i], piece, off, t});
    }
}

static void act_backward(At *t)
{
    const unsigned char *side = t->ip->side[t->i];
    const bool pieces = act_pieces(t->op->kind, t->op->arg).n > 0;
    for (int64_t i = 0; i < size_in(t); i++) {
        if (side && side[i] == (unsigned char)NO_PIECE) {
            t->dx[i] = NAN;
            continue;
        }
        const double slope = act_rules[t->op->kind].slope(&(ActAt){t->op->arg, t->x[i], side ? side[i] : 0, off, t});
        if (!pieces || slope != 0) /* where a piece is flat, nothing comes back: not NaN times zero either */
            t->dx[i] += t->dy[i] * slope;
    }
}

/* drop: y = x / (1 - p) in training where the mask has a one, else 0, also for NaN; y = x in inference */
static void drop_forward(At *t)
{
    for (int64_t i = 0; i < size_in(t); i++)
        t->y[i] = !t->ip->training ? t->x[i] : t->ip->mask[t->i][i] ? t->x[i] / (1 - t->op->value) : 0;
}

static void drop_backward(At *t)
{
    for (int64_t i = 0; i < size_in(t); i++)
        if (t->ip->mask[t->i][i])
            t->dx[i] += t->dy[i] / (1 - t->op->value);
}

/* An element of the input: its own, or the float run's. */
static double input_at(const At *t, bool seen, int64_t i)
{
    return seen ? (double)t->sx[i] : t->x[i];
}

/* The largest of a window in its own order, the first of equals, a NaN before all and the last of several, as in
 * PyTorch; -1 where the window lies in the padding. */
static int64_t winner(const At *t, bool seen, int n, int c, int y, int x)
{
    int64_t best = -1;
    for (int u = 0; u < t->op->kernel[0]; u++)
        for (int v = 0; v < t->op->kernel[1]; v++) {
            int sy = y * t->op->stride[0] - t->op->padding[0] + u;
            int sx = x * t->op->stride[1] - t->op->padding[1] + v;
            if (sy < 0 || sy >= t->a.h || sx < 0 || sx >= t->a.w)
                continue;
            int64_t from = at(&t->a, n, c, sy, sx);
            if (best < 0 || input_at(t, seen, from) > input_at(t, seen, best) || isnan(input_at(t, seen, from)))
                best = from;
        }
    return best;
}

static void maxpool_forward(At *t)
{
    double scale = top(t->x, size_in(t));
    for (int n = 0; n < t->n; n++)
        for (int c = 0; c < t->b.c; c++)
            for (int y = 0; y < t->b.h; y++)
                for (int x = 0; x < t->b.w; x++) {
                    int64_t to = at(&t->b, n, c, y, x), own = winner(t, false, n, c, y, x);
                    int64_t seen = t->sx ? winner(t, true, n, c, y, x) : own;
                    if (own != seen && interp_decide(t, false, true, t->x[own] - t->x[seen], scale))
                        own = seen;
                    t->ip->route[t->i][to] = own;
                    t->y[to] = own < 0 ? -INFINITY : t->x[own];
                }
}

static void maxpool_backward(At *t)
{
    for (int64_t i = 0; i < size_out(t); i++)
        if (t->ip->route[t->i][i] >= 0)
            t->dx[t->ip->route[t->i][i]] += t->dy[i];
}

/* By what an element of a window that is off the image counts in an average: as one in the padding, where padding
 * counts; not at all beyond it. */
static bool counts(const At *t, int sy, int sx)
{
    const Op *o = t->op;
    if (sy >= 0 && sy < t->a.h && sx >= 0 && sx < t->a.w)
        return true;
    return o->kind == OP_AVGPOOL && o->arg[ARG_COUNTED].count && sy < t->a.h + o->arg[ARG_PADDING].sides.after[0] &&
           sx < t->a.w + o->arg[ARG_PADDING].sides.after[1];
}

/* avgpool divides by how many elements of the window count; global_avg_pool is a window of the whole image. */
static void avgpool_walk(At *t, bool back)
{
    bool all = t->op->kind == OP_GLOBAL_AVG_POOL;
    int kh = all ? t->a.h : t->op->kernel[0], kw = all ? t->a.w : t->op->kernel[1];
    int ph = all ? 0 : t->op->padding[0], pw = all ? 0 : t->op->padding[1];
    int dh = all ? 1 : t->op->stride[0], dw = all ? 1 : t->op->stride[1];
    for (int n = 0; n < t->n; n++)
        for (int c = 0; c < t->b.c; c++)
            for (int y = 0; y < t->b.h; y++)
                for (int x = 0; x < t->b.w; x++) {
                    int64_t to = at(&t->b, n, c, y, x);
                    double sum = 0, count = 0;
                    for (int u = 0; u < kh; u++)
                        for (int v = 0; v < kw; v++)
                            count += counts(t, y * dh - ph + u, x * dw - pw + v);
                    for (int u = 0; u < kh; u++)
                        for (int v = 0; v < kw; v++) {
                            int sy = y * dh - ph + u, sx = x * dw - pw + v;
                            if (sy < 0 || sy >= t->a.h || sx < 0 || sx >= t->a.w)
                                continue;
                            if (back)
                                t->dx[at(&t->a, n, c, sy, sx)] += t->dy[to] / count;
                            else
                                sum += t->x[at(&t->a, n, c, sy, sx)];
                        }
                    if (!back)
                        t->y[to] = sum / count;
                }
}

static void avgpool_forward(At *t)
{
    avgpool_walk(t, false);
}

static void avgpool_backward(At *t)
{
    avgpool_walk(t, true);
}

static void flatten_forward(At *t)
{
    memcpy(t->y, t->x, (size_t)size_in(t) * sizeof *t->y);
}

static void flatten_backward(At *t)
{
    for (int64_t i = 0; i < size_in(t); i++)
        t->dx[i] += t->dy[i];
}

/* pad: every stride-th pixel, and channels of zeros before and after */
static void pad_walk(At *t, bool back)
{
    const Op *o = t->op;
    for (int n = 0; n < t->n; n++)
        for (int c = 0; c < t->b.c; c++)
            for (int y = 0; y < t->b.h; y++)
                for (int x = 0; x < t->b.w; x++) {
                    int from = c - o->before;
                    int64_t to = at(&t->b, n, c, y, x);
                    bool inside = from >= 0 && from < t->a.c;
                    int64_t source = inside ? at(&t->a, n, from, y * o->stride[0], x * o->stride[1]) : 0;
                    if (!back)
                        t->y[to] = inside ? t->x[source] : 0;
                    else if (inside)
                        t->dx[source] += t->dy[to];
                }
}

static void pad_forward(At *t)
{
    pad_walk(t, false);
}

static void pad_backward(At *t)
{
    pad_walk(t, true);
}

/* add: the sum of all inputs, from the first on */
static void add_forward(At *t)
{
    for (int64_t i = 0; i < size_out(t); i++)
        t->y[i] = t->k ? q(t, t->y[i]) + t->x[i] : t->x[i];
}

static void add_backward(At *t)
{
    for (int64_t i = 0; i < size_out(t); i++)
        t->dx[i] += t->dy[i];
}

/* concat: the channels of its inputs one after the other */
static void concat_walk(At *t, bool back)
{
    int first = 0; /* of this input's channels */
    for (int k = 0; k < t->k; k++)
        first += t->ip->g->op[t->op->ins[k]].shape.c;
    for (int n = 0; n < t->n; n++)
        for (int c = 0; c < t->a.c; c++)
            for (int y = 0; y < t->a.h; y++)
                for (int x = 0; x < t->a.w; x++) {
                    int64_t from = at(&t->a, n, c, y, x), to = at(&t->b, n, first + c, y, x);
                    if (back)
                        t->dx[from] += t->dy[to];
                    else
                        t->y[to] = t->x[from];
                }
}

static void concat_forward(At *t)
{
    concat_walk(t, false);
}

static void concat_backward(At *t)
{
    concat_walk(t, true);
}

/* loss: softmax cross-entropy, mean over the batch */
static double log_sum(const double *z, int classes)
{
    double m = z[0], sum = 0;
    for (int k = 1; k < classes; k++)
        m = z[k] > m ? z[k] : m;
    for (int k = 0; k < classes; k++)
        sum += exp(z[k] - m);
    return m + log(sum);
}

/* The values that image n should give; NULL: it has a class. */
static const double *wanted(const At *t, int n)
{
    const enum cvy_target wants = t->ip->g->spec ? t->ip->g->spec->train.loss->target : CVY_CLASS;
    return wants == CVY_INPUT    ? t->ip->out[0] + (int64_t)n * t->a.c
           : wants == CVY_VALUES ? t->ip->value + (int64_t)n * t->a.c
                                 : NULL;
}

/* The mean of (y - value)^2 over images and outputs, and its slope. */
static void squares(At *t, bool back)
{
    for (int n = 0; n < t->n; n++)
        for (int k = 0; k < t->a.c; k++) {
            const double far = t->x[(int64_t)n * t->a.c + k] - wanted(t, n)[k], all = (double)t->n * t->a.c;
            if (back)
                t->dx[(int64_t)n * t->a.c + k] += 2 * far / all;
            else
                t->ip->loss += far * far / all;
        }
}

static void loss_forward(At *t)
{
    int classes = t->a.c;
    t->ip->loss = 0;
    t->ip->correct = 0;
    if (wanted(t, 0)) {
        squares(t, false);
        return;
    }
    for (int n = 0; n < t->n; n++) {
        const double *z = t->x + (int64_t)n * classes;
        int best = 0;
        for (int k = 1; k < classes; k++)
            best = z[k] > z[best] ? k : best;
        t->ip->correct += best == t->ip->label[n];
        t->ip->loss += (log_sum(z, classes) - z[t->ip->label[n]]) / t->n;
    }
}

static void loss_backward(At *t)
{
    int classes = t->a.c;
    if (wanted(t, 0)) {
        squares(t, true);
        return;
    }
    for (int n = 0; n < t->n; n++) {
        const double *z = t->x + (int64_t)n * classes;
        double all = log_sum(z, classes);
        for (int k = 0; k < classes; k++)
            t->dx[(int64_t)n * classes + k] += (exp(z[k] - all) - (k == t->ip->label[n])) / t->n;
    }
}

typedef struct Rule {
    void (*forward)(At *), (*backward)(At *);
} Rule;
static const Rule rule[OP_KINDS] = {
    [OP_CONV] = {conv_forward, conv_backward},
    [OP_LINEAR] = {linear_forward, linear_backward},
    [OP_EMBED] = {embed_forward, embed_backward},
    [OP_RNN] = {interp_cell_forward, interp_cell_backward},
    [OP_GRU] = {interp_cell_forward, interp_cell_backward},
    [OP_LSTM] = {interp_cell_forward, interp_cell_backward},
    [OP_BN] = {bn_forward, bn_backward},
    [OP_GN] = {image_norm_forward, image_norm_backward},
    [OP_LN] = {image_norm_forward, image_norm_backward},
    [OP_IN] = {image_norm_forward, image_norm_backward},
    [OP_RMS] = {image_norm_forward, image_norm_backward},
    [OP_DROP] = {drop_forward, drop_backward},
    [OP_MAXPOOL] = {maxpool_forward, maxpool_backward},
    [OP_AVGPOOL] = {avgpool_forward, avgpool_backward},
    [OP_GLOBAL_AVG_POOL] = {avgpool_forward, avgpool_backward},
    [OP_FLATTEN] = {flatten_forward, flatten_backward},
    [OP_PAD] = {pad_forward, pad_backward},
    [OP_ADD] = {add_forward, add_backward},
    [OP_CONCAT] = {concat_forward, concat_backward},
    [OP_LOSS] = {loss_forward, loss_backward},
};

static const Rule *rule_of(const Op *o)
{
    static const Rule act = {act_forward, act_backward};
    return act_rules[o->kind].value ? &act : &rule[o->kind];
}

/* Op i and its k-th input. */
static At at_op(Interp *ip, int i, int k)
{
    const Op *o = &ip->g->op[i];
    if (!rule_of(o)->forward) {
        fprintf(stderr, "interp: op %d has no rule\n", (int)o->kind);
        exit(2);
    }
    int in = o->ins[k];
    return (At){.ip = ip,
                .op = o,
                .i = i,
                .k = k,
                .n = ip->n,
                .a = ip->g->op[in].shape,
                .b = o->shape,
                .x = ip->out[in],
                .y = ip->out[i],
                .dy = ip->dout[i],
                .dx = ip->dout[in],
                .sx = ip->training ? ip->seen[in] : NULL,
                .sy = ip->training ? ip->seen[i] : NULL};
}

static void shake(Interp *ip, double *v, int64_t n)
{
    for (int64_t i = 0; ip->shake && v && i < n; i++)
        v[i] = interp_shaken(ip, v[i]);
}

void interp_op(Interp *ip, int i)
{
    for (int k = 0; k < ip->g->op[i].nin; k++) {
        At t = at_op(ip, i, k);
        rule_of(t.op)->forward(&t);
    }
}

void interp_forward(Interp *ip, const double *x, const int *labels, int n, bool training)
{
    if (n < 1 || n > ip->max_n) {
        fprintf(stderr, "interp: %d images, room for %d\n", n, ip->max_n);
        exit(2);
    }
    ip->n = n;
    ip->training = training;
    ip->flips = ip->far_flips = 0;
    ip->far_op = -1;
    memcpy(ip->out[0], x, (size_t)(n * interp_image(ip->g, 0)) * sizeof *x);
    if (labels)
        memcpy(ip->label, labels, (size_t)n * sizeof *labels);
    for (int i = 1; i < ip->g->nop; i++) {
        if (ip->g->op[i].kind == OP_LOSS && !labels)
            continue;
        interp_op(ip, i);
        shake(ip, ip->out[i], n * interp_image(ip->g, i));
    }
}

/* Whether op i is read more than once. */
static bool shared(const Graph *g, int i)
{
    int n = 0;
    for (int j = i + 1; j < g->nop; j++)
        for (int k = 0; k < g->op[j].nin; k++)
            n += g->op[j].ins[k] == i;
    return n > 1;
}

/* Adds op i's part to the gradient of its k-th input. Where others add theirs, too, a float run has rounded each by
 * itself, and so does a shaken one. */
static void backward(Interp *ip, int i, int k)
{
    At t = at_op(ip, i, k);
    int64_t size = size_in(&t);
    double *all = t.dx, *part = ip->shake && shared(ip->g, t.op->ins[k]) ? interp_room(size, sizeof *part) : NULL;
    if (part)
        t.dx = part;
    rule_of(t.op)->backward(&t);
    shake(ip, part, size);
    for (int64_t e = 0; part && e < size; e++)
        all[e] = q(&t, all[e] + part[e]);
    free(part);
}

void interp_backward(Interp *ip)
{
    const Graph *g = ip->g;
    for (int i = 0; i < g->nop; i++)
        if (ip->dout[i])
            memset(ip->dout[i], 0, (size_t)(ip->n * interp_image(g, i)) * sizeof(double));
    for (int i = 0; i < g->nparam; i++)
        if (ip->dparam[i])
            memset(ip->dparam[i], 0, (size_t)interp_numel(&g->param[i]) * sizeof(double));
    for (int i = g->nop - 1; i > 0; i--) {
        shake(ip, ip->dout[i], ip->n * interp_image(g, i));
        for (int k = 0; k < g->op[i].nin; k++)
            backward(ip, i, k);
    }
    for (int i = 0; i < g->nparam; i++)
        if (ip->dparam[i])
            shake(ip, ip->dparam[i], interp_numel(&g->param[i]));
}

const InterpWords interp_words[INTERP_OPTIMISERS] = {
    [INTERP_SGD] = {"sgd", {"momentum"}},
    [INTERP_ADAM] = {"adam", {"exp_avg", "exp_avg_sq"}},
    [INTERP_ADAMW] = {"adamw", {"exp_avg", "exp_avg_sq"}},
};

static void sgd(const InterpStep *s, double g, double decay, double *w, double *m)
{
    g += decay * *w;
    *m = s->momentum * *m + g;
    *w -= s->lr * (s->nesterov ? g + s->momentum * *m : *m);
}

/* Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2. */
static void adam(const InterpStep *s, double g, double decay, double *w, double *mean, double *square)
{
    const double t = (double)s->before + 1;
    if (s->optimiser == INTERP_ADAMW)
        *w -= s->lr * decay * *w;
    else
        g += decay * *w;
    *mean = s->beta1 * *mean + (1 - s->beta1) * g;
    *square = s->beta2 * *square + (1 - s->beta2) * g * g;
    *w -= s->lr * (*mean / (1 - pow(s->beta1, t))) / (sqrt(*square / (1 - pow(s->beta2, t))) + s->eps);
}

void interp_update(Interp *ip, const InterpStep *s)
{
    for (int p = 0; p < ip->g->nparam; p++) {
        const double decay =
            s->decay_all || ip->g->param[p].role == PARAM_WEIGHT || ip->g->param[p].role == PARAM_HIDDEN_WEIGHT
                ? s->weight_decay
                : 0;
        double *w = ip->param[p], *a = ip->buffer[0][p], *b = ip->buffer[1][p];
        if (!ip->dparam[p])
            continue;
        for (int64_t i = 0; i < interp_numel(&ip->g->param[p]); i++)
            if (s->optimiser == INTERP_SGD)
                sgd(s, ip->dparam[p][i], decay, &w[i], &a[i]);
            else
                adam(s, ip->dparam[p][i], decay, &w[i], &a[i], &b[i]);
    }
}

Interp *interp_new(const Graph *g, int max_n)
{
    Interp *ip = interp_room(1, sizeof *ip);
    *ip = (Interp){.g = g, .max_n = max_n, .far_op = -1};
    ip->param = interp_room(g->nparam, sizeof *ip->param);
    ip->dparam = interp_room(g->nparam, sizeof *ip->dparam);
    for (int k = 0; k < INTERP_BUFFERS; k++)
        ip->buffer[k] = interp_room(g->nparam, sizeof *ip->buffer[k]);
    for (int i = 0; i < g->nparam; i++) {
        int64_t n = interp_numel(&g->param[i]);
        ip->param[i] = interp_room(n, sizeof(double));
        if (trained(g->param[i].role) && !g->op[g->param[i].op].frozen) {
            ip->dparam[i] = interp_room(n, sizeof(double));
            for (int k = 0; k < INTERP_BUFFERS; k++)
                ip->buffer[k][i] = interp_room(n, sizeof(double));
        }
    }
    ip->out = interp_room(g->nop, sizeof *ip->out);
    ip->dout = interp_room(g->nop, sizeof *ip->dout);
    ip->mask = interp_room(g->nop, sizeof *ip->mask);
    ip->seen = interp_room(g->nop, sizeof *ip->seen);
    ip->slack = interp_room(g->nop, sizeof *ip->slack);
    ip->mean = interp_room(g->nop, sizeof *ip->mean);
    ip->istd = interp_room(g->nop, sizeof *ip->istd);
    ip->var = interp_room(g->nop, sizeof *ip->var);
    ip->route = interp_room(g->nop, sizeof *ip->route);
    ip->side = interp_room(g->nop, sizeof *ip->side);
    ip->walked = interp_room(g->nop, sizeof *ip->walked);
    ip->label = interp_room(max_n, sizeof *ip->label);
    for (int i = 0; i < g->nop; i++) {
        OpKind k = g->op[i].kind;
        int64_t n = max_n * interp_image(g, i);
        if (k == OP_LOSS)
            continue;
        ip->out[i] = interp_room(n, sizeof(double));
        ip->dout[i] = interp_room(n, sizeof(double));
        if (k == OP_DROP)
            ip->mask[i] = interp_room(n, 1);
        if (act_pieces(g->op[i].kind, g->op[i].arg).n)
            ip->side[i] = interp_room(n, 1);
        if (k == OP_MAXPOOL)
            ip->route[i] = interp_room(n, sizeof(int64_t));
        if (op_is_image_norm(k)) {
            ip->mean[i] = interp_room((int64_t)max_n * g->op[i].groups, sizeof(double));
            ip->istd[i] = interp_room((int64_t)max_n * g->op[i].groups, sizeof(double));
        }
        if (k == OP_BN) {
            ip->mean[i] = interp_room(g->op[i].shape.c, sizeof(double));
            ip->istd[i] = interp_room(g->op[i].shape.c, sizeof(double));
            ip->var[i] = interp_room(g->op[i].shape.c, sizeof(double));
        }
    }
    return ip;
}

void interp_free(Interp *ip)
{
    if (!ip)
        return;
    for (int i = 0; i < ip->g->nparam; i++) {
        free(ip->param[i]);
        free(ip->dparam[i]);
        for (int k = 0; k < INTERP_BUFFERS; k++)
            free(ip->buffer[k][i]);
    }
    for (int i = 0; i < ip->g->nop; i++) {
        free(ip->out[i]);
        free(ip->dout[i]);
        free(ip->mask[i]);
        free(ip->mean[i]);
        free(ip->istd[i]);
        free(ip->var[i]);
        free(ip->route[i]);
        free(ip->side[i]);
    }
    free(ip->param);
    free(ip->dparam);
    for (int k = 0; k < INTERP_BUFFERS; k++)
        free(ip->buffer[k]);
    free(ip->out);
    free(ip->dout);
    free(ip->mask);
    free(ip->seen);
    free(ip->slack);
    free(ip->mean);
    free(ip->istd);
    free(ip->var);
    free(ip->route);
    free(ip->side);
    free(ip->walked);
    free(ip->label);
    free(ip);
}
