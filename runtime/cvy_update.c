/* cvy_update.c - see cvy_update.h. SPDX-License-Identifier: 0BSD */
#include "cvy_update.h"

#include <math.h>
#include <string.h>

/* The gradient of the slice's parameters from i on. Who asked for gradients gets it, too. */
static inline void cvy_gradient(const struct cvy_slice *s, int64_t i, float *restrict sum)
{
    memcpy(sum, s->g + i, CVY_BLOCK * sizeof *sum);
    for (int p = 1; p < s->parts; p++) {
        const float *part = s->g + p * s->stride + i;
        for (int j = 0; j < CVY_BLOCK; j++)
            sum[j] += part[j];
    }
    if (s->net->grad)
        memcpy(s->net->grad + s->at + i, sum, CVY_BLOCK * sizeof *sum);
}

/* Buffer k of the slice's parameters. */
static inline float *cvy_buffer(const struct cvy_slice *s, int k)
{
    return s->net->state + k * s->net->floats + s->at;
}

/* g += decay w;  m = momentum m + g;  w -= lr (nesterov ? g + momentum m : m) */
static void cvy_sgd_update(const struct cvy_slice *s)
{
    const float lr = s->step->lr, momentum = (float)s->step->hyper[CVY_MOMENTUM], decay = s->decay;
    const int nesterov = s->step->hyper[CVY_NESTEROV] != 0;

    for (int64_t i = 0; i < s->count; i += CVY_BLOCK) {
        float g[CVY_BLOCK];
        float *restrict const w = s->net->param + s->at + i, *restrict const m = cvy_buffer(s, 0) + i;
        cvy_gradient(s, i, g);
        if (nesterov)
            for (int j = 0; j < CVY_BLOCK; j++) {
                const float d = g[j] + decay * w[j];
                m[j] = momentum * m[j] + d;
                w[j] -= lr * (d + momentum * m[j]);
            }
        else
            for (int j = 0; j < CVY_BLOCK; j++) {
                m[j] = momentum * m[j] + (g[j] + decay * w[j]);
                w[j] -= lr * m[j];
            }
    }
}

/* m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  w -= lr m' / (sqrt(v') + eps), where m' = m / (1 -
 * beta1^t) and v' = v / (1 - beta2^t), t being 1 in the first step. Before that, adam: g += decay w; adamw: w -= lr
 * decay w. */
static inline void cvy_adam_slice(const struct cvy_slice *s, int apart)
{
    const double beta1 = s->step->hyper[CVY_BETA1], beta2 = s->step->hyper[CVY_BETA2], t = (double)s->step->step + 1;
    const float keep1 = (float)beta1, take1 = (float)(1 - beta1), keep2 = (float)beta2, take2 = (float)(1 - beta2);
    const float rate = (float)((double)s->step->lr / (1 - pow(beta1, t))), root = (float)sqrt(1 - pow(beta2, t));
    const float eps = (float)s->step->hyper[CVY_EPS];
    const float add = apart ? 0 : s->decay, shrink = apart ? (float)(1 - (double)s->step->lr * (double)s->decay) : 1;

    for (int64_t i = 0; i < s->count; i += CVY_BLOCK) {
        float g[CVY_BLOCK];
        float *restrict const w = s->net->param + s->at + i, *restrict const m = cvy_buffer(s, 0) + i,
                              *restrict const v = cvy_buffer(s, 1) + i;
        cvy_gradient(s, i, g);
        for (int j = 0; j < CVY_BLOCK; j++) {
            const float d = g[j] + add * w[j];
            m[j] = keep1 * m[j] + take1 * d;
            v[j] = keep2 * v[j] + take2 * d * d;
            w[j] = shrink * w[j] - rate * m[j] / (sqrtf(v[j]) / root + eps);
        }
    }
}
static void cvy_adam_update(const struct cvy_slice *s)
{
    cvy_adam_slice(s, 0);
}
static void cvy_adamw_update(const struct cvy_slice *s)
{
    cvy_adam_slice(s, 1);
}

/* ---- the rows ---- */

/* clang-format off */
#define ADAM_HYPERS { \
    [CVY_BETA1] = {"beta1", "--beta1", NULL, 0.9, 0.9, 0, 1, NULL, "how much of the mean of gradients a step keeps"}, \
    [CVY_BETA2] = {"beta2", "--beta2", NULL, 0.999, 0.999, 0, 1, NULL, "how much of the mean of their squares"}, \
    [CVY_EPS] = {"eps", "--eps", NULL, 1e-8, 1e-8, 0, 1, NULL, "added to the root of that mean"}}

const struct cvy_optimiser cvy_sgd = {
    "sgd", "stochastic gradient descent with momentum", {"momentum"}, {
        [CVY_MOMENTUM] = {"momentum", "--momentum", NULL, 0.9, 0, 0, 1, NULL, "how much of the last update a step keeps"},
        [CVY_NESTEROV] = {"nesterov", "--nesterov", "--no-nesterov", 0, 0, 0, 1, "momentum", "Nesterov's momentum"}},
    0.1, 5e-4, cvy_sgd_update};
const struct cvy_optimiser cvy_adam = {
    "adam", "Adam; the weight decay is added to the gradient", {"exp_avg", "exp_avg_sq"}, ADAM_HYPERS, 1e-3, 0, cvy_adam_update};
const struct cvy_optimiser cvy_adamw = {
    "adamw", "Adam; the weight decay shrinks the weight itself", {"exp_avg", "exp_avg_sq"}, ADAM_HYPERS, 1e-3, 1e-2, cvy_adamw_update};
/* clang-format on */

const struct cvy_optimiser *const cvy_optimisers[] = {&cvy_sgd, &cvy_adam, &cvy_adamw, NULL};

int cvy_buffers(const struct cvy_optimiser *o)
{
    int n = 0;
    while (n < CVY_BUFFERS && o->buffer[n])
        n++;
    return n;
}

int cvy_hypers(const struct cvy_optimiser *o)
{
    int n = 0;
    while (n < CVY_HYPERS && o->hyper[n].name)
        n++;
    return n;
}

int cvy_hyper_find(const struct cvy_optimiser *o, const char *name)
{
    for (int i = 0; i < cvy_hypers(o); i++)
        if (strcmp(o->hyper[i].name, name) == 0)
            return i;
    return -1;
}

/* ---- what kernels call ---- */

void cvy_update(const struct cvy_net *net, int64_t at, int64_t count, const float *g, int64_t stride, int parts,
                const struct cvy_step *step, float decay)
{
    const struct cvy_slice s = {net, at, count, g, stride, parts, step, decay};

    if (step->hold) { /* the gradient alone */
        for (int64_t i = 0; i < count; i += CVY_BLOCK) {
            float sum[CVY_BLOCK];
            cvy_gradient(&s, i, sum);
        }
        return;
    }
    net->optimiser->update(&s);
}

void cvy_update_bias(const struct cvy_net *net, int64_t at, int count, const double *g, int64_t stride, int parts,
                     const struct cvy_step *step)
{
    enum { ROOM = 16 * CVY_BLOCK };

    for (int i = 0; i < count; i += ROOM) {
        float sum[ROOM];
        const int n = count - i < ROOM ? count - i : ROOM;
        for (int j = 0; j < n; j++) {
            double total = 0;
            for (int p = 0; p < parts; p++)
                total += g[p * stride + i + j];
            sum[j] = (float)total;
        }
        cvy_update(net, at + i, n, sum, 0, 1, step, step->weight_decay_other);
    }
}
