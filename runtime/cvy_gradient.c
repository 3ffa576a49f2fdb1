/* cvy_gradient.c - what stands between a gradient and its update where a training asks for it: sums over several
 * batches, the norm, clipping; and the moving average of the weights. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <math.h>
#include <stdlib.h>

unsigned char *cvy_gradient_places(const struct cvy_model *m)
{
    unsigned char *real = cvy_alloc((size_t)m->param_floats, 1);
    for (int i = 0; real && i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        int index[4] = {0, 0, 0, 0};
        for (int64_t left = cvy_learns(t) ? cvy_layout_count(&t->at) : 0; left > 0; left--)
            real[cvy_next_place(&t->at, index)] = 1;
    }
    return real;
}

double cvy_gradient_norm(const float *g, const unsigned char *real, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        if (real[i])
            sum += (double)g[i] * (double)g[i];
    return sqrt(sum);
}

void cvy_gradient_add(float *sum, const float *g, int64_t n, int first)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = first ? g[i] : sum[i] + g[i];
}

void cvy_gradient_mean(float *sum, int64_t n, int batches)
{
    const float mean = 1.0f / (float)batches;
    for (int64_t i = 0; i < n && batches > 1; i++)
        sum[i] *= mean;
}

double cvy_gradient_clip(float *g, const unsigned char *real, int64_t n, double clip)
{
    const double norm = cvy_gradient_norm(g, real, n), least = norm + 1e-6;
    if (clip > 0 && clip < least) {
        const float by = (float)(clip / least);
        for (int64_t i = 0; i < n; i++)
            g[i] *= by;
    }
    return norm;
}

/* The optimiser works on whole blocks; what is left of a tensor goes through one of its own. */
static void update_rest(const struct cvy_net *net, int64_t at, int count, const float *g, const struct cvy_step *step,
                        float decay)
{
    const int buffers = cvy_buffers(net->optimiser);
    float w[CVY_BLOCK] = {0}, d[CVY_BLOCK] = {0}, state[CVY_BUFFERS * CVY_BLOCK] = {0};
    struct cvy_net block = {.param = w, .state = state, .floats = CVY_BLOCK, .optimiser = net->optimiser};
    memcpy(w, net->param + at, (size_t)count * sizeof *w);
    memcpy(d, g + at, (size_t)count * sizeof *d);
    for (int k = 0; k < buffers; k++)
        memcpy(state + k * CVY_BLOCK, net->state + k * net->floats + at, (size_t)count * sizeof *state);
    cvy_update(&block, 0, CVY_BLOCK, d, 0, 1, step, decay);
    memcpy(net->param + at, w, (size_t)count * sizeof *w);
    for (int k = 0; k < buffers; k++)
        memcpy(net->state + k * net->floats + at, state + k * CVY_BLOCK, (size_t)count * sizeof *state);
}

void cvy_gradient_take(const struct cvy_run *r, const float *g, const struct cvy_step *step)
{
    const struct cvy_model *m = r->model;
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        if (!cvy_learns(t))
            continue;
        int64_t end = r->net->floats; /* where the next tensor begins: what pads this one belongs to it */
        for (int k = 0; k < m->ntensor; k++)
            if (cvy_learns(&m->tensor[k]) && m->tensor[k].at.offset > t->at.offset && m->tensor[k].at.offset < end)
                end = m->tensor[k].at.offset;
        const int64_t at = t->at.offset, count = end - at, rest = count % CVY_BLOCK;
        const float decay = t->role == CVY_WEIGHT ? step->weight_decay : step->weight_decay_other;
        if (count > rest)
            cvy_update(r->net, at, count - rest, g + at, 0, 1, step, decay);
        if (rest)
            update_rest(r->net, end - rest, (int)rest, g, step, decay);
    }
}

static void move(float *average, const float *now, int64_t n, float share)
{
    for (int64_t i = 0; i < n; i++)
        average[i] += share * (now[i] - average[i]);
}

int cvy_average(struct cvy_kept *average, const struct cvy_run *r, double decay)
{
    const struct cvy_model *m = r->model;
    if (!average->run.net)
        return cvy_keep(average, r);
    const float share = (float)(1 - decay);
    move(average->net.param, r->net->param, m->param_floats, share);
    move(average->net.running, r->net->running, m->running_floats, share);
    memcpy(average->net.batches, r->net->batches, (size_t)m->nbatches * sizeof *r->net->batches);
    return 1;
}
