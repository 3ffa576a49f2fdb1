/* cvy_weights.h - a network's numbers by the tensor: where they lie, in and out in C order, the first draw. The
 * network's NAME_weights.c makes functions of a user's of it; checkpoints are read and written with it. Needs libc and
 * libm alone. SPDX-License-Identifier: 0BSD */
#ifndef CVY_WEIGHTS_H
#define CVY_WEIGHTS_H

#include "cvy_float.h"
#include "cvy_names.h"

#include "cvy_model.h"
#include "cvy_rng.h"
#include "cvy_update.h"

#include <string.h>

/* How many numbers there are, padding left out. */
static inline int64_t cvy_layout_count(const struct cvy_layout *at)
{
    int64_t n = 1;
    for (int i = 0; i < at->ndim; i++)
        n *= at->dim[i];
    return n;
}

/* Where the element at `index` lies; then index is the next one's, in C order. */
static inline int64_t cvy_next_place(const struct cvy_layout *at, int index[4])
{
    int64_t place = at->offset;
    for (int d = 0; d < at->ndim; d++)
        place += index[d] / at->block[d] * at->outer[d] + index[d] % at->block[d] * at->inner[d];
    for (int d = at->ndim - 1; d >= 0 && ++index[d] == at->dim[d]; d--)
        index[d] = 0;
    return place;
}

/* To C order, and from it. */
static inline void cvy_gather(const float *base, const struct cvy_layout *at, float *out)
{
    int index[4] = {0, 0, 0, 0};
    for (int64_t left = cvy_layout_count(at); left > 0; left--)
        *out++ = base[cvy_next_place(at, index)];
}
static inline void cvy_scatter(float *base, const struct cvy_layout *at, const float *in)
{
    int index[4] = {0, 0, 0, 0};
    for (int64_t left = cvy_layout_count(at); left > 0; left--)
        base[cvy_next_place(at, index)] = *in++;
}

static inline int cvy_is_param(const struct cvy_tensor *t)
{
    return (t->role & ~(unsigned)CVY_FROZEN) <= CVY_BETA;
}
/* Whether it is trained, so that it has a gradient and a part of the optimiser's buffers. */
static inline int cvy_learns(const struct cvy_tensor *t)
{
    return t->role <= CVY_BETA;
}

/* The array that its layout is of. Not of CVY_BATCHES. */
static inline float *cvy_base(const struct cvy_net *net, const struct cvy_tensor *t)
{
    return cvy_is_param(t) ? net->param : net->running;
}

/* Every tensor by its rule, from the seed; what the optimiser keeps, and batches, as they begin. */
static inline void cvy_draw(const struct cvy_model *m, struct cvy_net *net, uint64_t seed)
{
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        const uint64_t stream = cvy_name_hash(t->name), count = (uint64_t)cvy_layout_count(&t->at);
        int index[4] = {0, 0, 0, 0};
        if (t->role == CVY_BATCHES) {
            net->batches[t->at.offset] = 0;
            continue;
        }
        float *const base = cvy_base(net, t);
        for (uint64_t k = 0; k < count; k++) {
            uint32_t w[4];
            double v = t->value;
            if (t->draw == CVY_NORMAL) {
                v *= cvy_normal(seed, stream, k);
            } else if (t->draw == CVY_UNIFORM) {
                cvy_draw4(seed, stream, k, w);
                v *= 2.0 * cvy_unit(w[0], w[1]) - 1.0;
            }
            for (int f = 0; f < m->nfixed; f++)
                if (m->fixed[f].tensor == i && k >= (uint64_t)m->fixed[f].from && k < (uint64_t)m->fixed[f].to)
                    v = m->fixed[f].value;
            base[cvy_next_place(&t->at, index)] = (float)v;
        }
    }
    for (int k = 0; net->state && k < CVY_BUFFERS && net->optimiser->buffer[k]; k++)
        memset(net->state + k * net->floats, 0, (size_t)net->floats * sizeof *net->state);
}

#endif
