/* cvy_recurrent.c - see cvy_recurrent.h. SPDX-License-Identifier: 0BSD */
#include "cvy_recurrent.h"

#include <math.h>
#include <stddef.h>

enum { BLOCK = 16 };

static int blocks(int channels)
{
    return (channels + BLOCK - 1) / BLOCK;
}

/* Rows of `gates` x hidden units, n columns, as panels: row k of a panel holds for each gate column k of its units. */
static void pack_panel(const struct cvy_cell *cell, int panel, const float *from, int n, int gates, const int *gate,
                       float *to)
{
    to += (ptrdiff_t)panel * n * gates * cell->lanes;
    for (int k = 0; k < n; k++)
        for (int v = 0; v < gates; v++)
            for (int l = 0; l < cell->lanes; l++) {
                const int unit = panel * cell->lanes + l;
                *to++ = unit < cell->hidden ? from[((ptrdiff_t)gate[v] * cell->hidden + unit) * n + k] : 0;
            }
}

void cvy_cell_pack(const struct cvy_cell *cell, int panel, const float *w, const float *u, const float *b,
                   const float *c, float *to)
{
    const ptrdiff_t units = (ptrdiff_t)blocks(cell->hidden) * BLOCK;
    float *const own = to + units * cell->in * cell->nx, *const bias = own + units * cell->hidden * cell->nh;

    pack_panel(cell, panel, w, cell->in, cell->nx, cell->x_gate, to);
    pack_panel(cell, panel, u, cell->hidden, cell->nh, cell->h_gate, own);
    for (int unit = panel * cell->lanes; unit < (panel + 1) * cell->lanes; unit++)
        for (int s = 0; s < cell->slots; s++) {
            const int there = unit < cell->hidden, h = s - cell->first;
            float sum = 0;
            if (there && b && s < cell->nx)
                sum += b[cell->x_gate[s] * cell->hidden + unit];
            if (there && c && h >= 0 && h < cell->nh)
                sum += c[cell->h_gate[h] * cell->hidden + unit];
            bias[((ptrdiff_t)(unit / BLOCK) * cell->slots + s) * BLOCK + unit % BLOCK] = sum;
        }
}

/* The same rows with outputs and inputs changed over: row (block, gate, lane) holds what that unit's gate takes of
 * `wide` columns. */
static void turn_panel(const struct cvy_cell *cell, int panel, const float *from, int n, int gates, const int *gate,
                       int wide, float *to)
{
    to += (ptrdiff_t)panel * blocks(cell->hidden) * gates * BLOCK * wide;
    for (int j = 0; j < blocks(cell->hidden); j++)
        for (int v = 0; v < gates; v++)
            for (int unit = j * BLOCK; unit < (j + 1) * BLOCK; unit++)
                for (int k = panel * wide; k < (panel + 1) * wide; k++)
                    *to++ = unit < cell->hidden && k < n ? from[((ptrdiff_t)gate[v] * cell->hidden + unit) * n + k] : 0;
}

void cvy_cell_turn(const struct cvy_cell *cell, int panel, const float *w, const float *u, float *to)
{
    const int units = blocks(cell->hidden) * BLOCK, own = units / (cell->back_h * cell->lanes);

    if (panel < own)
        turn_panel(cell, panel, u, cell->hidden, cell->nh, cell->h_gate, cell->back_h * cell->lanes, to);
    else
        turn_panel(cell, panel - own, w, cell->in, cell->nx, cell->x_gate, cell->back_x * cell->lanes,
                   to + (ptrdiff_t)units * units * cell->nh);
}

static const float *unpack_panel(const struct cvy_cell *cell, int panel, const float *from, int n, int gates,
                                 const int *gate, float *to)
{
    for (int k = 0; k < n; k++)
        for (int v = 0; v < gates; v++)
            for (int l = 0; l < cell->lanes; l++, from++) {
                const int unit = panel * cell->lanes + l;
                if (unit < cell->hidden)
                    to[((ptrdiff_t)gate[v] * cell->hidden + unit) * n + k] = *from;
            }
    return from;
}

void cvy_cell_unpack(const struct cvy_cell *cell, int panel, const float *from, float *dw, float *du)
{
    from = unpack_panel(cell, panel, from, cell->in, cell->nx, cell->x_gate, dw);
    unpack_panel(cell, panel, from, cell->hidden, cell->nh, cell->h_gate, du);
}

void cvy_cell_biases(const struct cvy_cell *cell, int block, const double *sum, float *db, float *dc)
{
    for (int unit = block * BLOCK; unit < (block + 1) * BLOCK && unit < cell->hidden; unit++) {
        for (int v = 0; v < cell->nx; v++)
            db[cell->x_gate[v] * cell->hidden + unit] = (float)sum[v * BLOCK + unit % BLOCK];
        for (int v = 0; v < cell->nh; v++)
            dc[cell->h_gate[v] * cell->hidden + unit] = (float)sum[(cell->first + v) * BLOCK + unit % BLOCK];
    }
}

static void pack_norm(const struct cvy_cell *cell, int vectors, const int *gate, const float *from, float *to)
{
    for (int j = 0; j < blocks(cell->hidden); j++)
        for (int v = 0; v < vectors; v++)
            for (int unit = j * BLOCK; unit < (j + 1) * BLOCK; unit++)
                *to++ = from && unit < cell->hidden ? from[(ptrdiff_t)(gate ? gate[v] : v) * cell->hidden + unit] : 0;
}

void cvy_cell_norm(const struct cvy_cell *cell, int vectors, const int *gate, const float *gamma, const float *beta,
                   float *to)
{
    pack_norm(cell, vectors, gate, gamma, to);
    pack_norm(cell, vectors, gate, beta, to + (ptrdiff_t)blocks(cell->hidden) * BLOCK * vectors);
}

void cvy_cell_spread(const struct cvy_cell *cell, int block, int vectors, const int *gate, const double *from,
                     float *to)
{
    for (int v = 0; v < vectors; v++)
        for (int unit = block * BLOCK; unit < (block + 1) * BLOCK && unit < cell->hidden; unit++)
            to[(ptrdiff_t)(gate ? gate[v] : v) * cell->hidden + unit] = (float)from[v * BLOCK + unit % BLOCK];
}

void cvy_cell_fold(const struct cvy_cell *cell, const float *gamma, const float *beta, const float *mean,
                   const float *var, double eps, float *to)
{
    const ptrdiff_t units = (ptrdiff_t)blocks(cell->hidden) * BLOCK;
    float *const bias = to + units * ((ptrdiff_t)cell->in * cell->nx + (ptrdiff_t)cell->hidden * cell->nh);

    for (int unit = 0; unit < cell->hidden; unit++)
        for (int v = 0; v < cell->nx; v++) {
            const int row = cell->x_gate[v] * cell->hidden + unit;
            const double scale = (double)gamma[row] / sqrt((double)var[row] + eps);
            float *const w =
                to + ((ptrdiff_t)(unit / cell->lanes) * cell->in * cell->nx + v) * cell->lanes + unit % cell->lanes;
            float *const b = &bias[((ptrdiff_t)(unit / BLOCK) * cell->slots + v) * BLOCK + unit % BLOCK];
            for (int k = 0; k < cell->in; k++)
                w[(ptrdiff_t)k * cell->nx * cell->lanes] =
                    (float)(scale * (double)w[(ptrdiff_t)k * cell->nx * cell->lanes]);
            *b = (float)((double)*b + (double)beta[row] - scale * (double)mean[row]);
        }
}

void cvy_cell_table(const struct cvy_cell *cell, int vectors, const int *gate, const float *gamma, const float *beta,
                    const float *mean, const float *var, double eps, int rows, int to_rows, float *to, ptrdiff_t apart)
{
    const ptrdiff_t numbers = (ptrdiff_t)blocks(cell->hidden) * BLOCK * vectors, channels = vectors * cell->hidden;

    for (int t = 0; t < to_rows; t++, to += apart) {
        const float *const m = mean + (t < rows ? t : rows - 1) * channels, *const s = var + (t < rows ? t : rows - 1) *
                                                                                                 channels;
        for (ptrdiff_t i = 0; i < numbers; i++) {
            const int unit = (int)(i / BLOCK / vectors * BLOCK + i % BLOCK), v = (int)(i / BLOCK % vectors);
            const int at = (gate ? gate[v] : v) * cell->hidden + unit;
            const double scale = unit < cell->hidden ? (double)gamma[at] / sqrt((double)s[at] + eps) : 0;
            to[i] = (float)scale;
            to[numbers + i] = unit < cell->hidden ? (float)((beta ? (double)beta[at] : 0) - scale * (double)m[at]) : 0;
        }
    }
}
