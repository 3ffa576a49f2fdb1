/* cvy_recurrent.h - how the weights of recurrent layers lie where kernels read them. The parameters themselves lie as
 * PyTorch has them: rows of one gate after the other. A program has this file where a layer of its is recurrent.
 * SPDX-License-Identifier: 0BSD */
#ifndef CVY_RECURRENT_H
#define CVY_RECURRENT_H

#include "cvy_names.h"

#include <stddef.h>

#ifdef CVY_NETWORK
#define cvy_cell_pack CVY_NAMED(cvy_cell_pack)
#define cvy_cell_turn CVY_NAMED(cvy_cell_turn)
#define cvy_cell_unpack CVY_NAMED(cvy_cell_unpack)
#define cvy_cell_biases CVY_NAMED(cvy_cell_biases)
#define cvy_cell_norm CVY_NAMED(cvy_cell_norm)
#define cvy_cell_spread CVY_NAMED(cvy_cell_spread)
#define cvy_cell_fold CVY_NAMED(cvy_cell_fold)
#define cvy_cell_table CVY_NAMED(cvy_cell_table)
#endif

enum { CVY_GATES = 4 }; /* of a cell at most */

/* A layer's cell. In a step each hidden unit has `slots` numbers; W x makes the first `nx` of them, U h those from
 * `first` on, `nh`. A panel is `lanes` units, whose gates stand side by side in a row of weights; the hidden units
 * count as whole blocks of 16, those that are not there having weights of zero. */
struct cvy_cell {
    int in, hidden, slots, nx, nh, first, lanes;
    int x_gate[CVY_GATES], h_gate[CVY_GATES]; /* by slot, from the first that W (U) feeds: which of PyTorch's gates */
    int back_h, back_x; /* panels side by side in the weights of backward, to h and to x; both divide the panels */
};

/* Weights for forward: [panel][in][nx][lanes], [panel][hidden][nh][lanes], then biases, [block of 16][slots][16], the
 * two of a sum in one. w, u, b, c: the parameters, weight_ih, weight_hh, bias_ih, bias_hh; b and c may be NULL. Packs
 * one panel. */
void cvy_cell_pack(const struct cvy_cell *cell, int panel, const float *w, const float *u, const float *b,
                   const float *c, float *to);
/* Weights for backward: of U [panels of back_h][block][nh][16][back_h lanes], of W likewise with back_x and nx, where a
 * panel is of input channels. Turns one such panel, those of U first. */
void cvy_cell_turn(const struct cvy_cell *cell, int panel, const float *w, const float *u, float *to);
/* The gradient of a panel's weights, [in][nx][lanes] and [hidden][nh][lanes], to where the parameters' gradients lie.
 */
void cvy_cell_unpack(const struct cvy_cell *cell, int panel, const float *from, float *dw, float *du);
/* The gradients of a block's biases: sum [slots][16]. */
void cvy_cell_biases(const struct cvy_cell *cell, int block, const double *sum, float *db, float *dc);

/* gamma and beta (NULL: zero) of a norm over `vectors` numbers a unit, as kernels read them: [block][vectors][16], one
 * behind the other. gate: which of PyTorch's gates each vector is of; NULL: they are of units, without gates. */
void cvy_cell_norm(const struct cvy_cell *cell, int vectors, const int *gate, const float *gamma, const float *beta,
                   float *to);
/* A block of such numbers, [vectors][16], to where the parameter has them. */
void cvy_cell_spread(const struct cvy_cell *cell, int block, int vectors, const int *gate, const double *from,
                     float *to);

/* bn of W x with its running statistics, folded into weights for forward, all of whose panels are packed in `to`:
 * W and biases become gamma / sqrt(var + eps) W and what that leaves of beta - mean. gamma .. var: as W's rows lie. */
void cvy_cell_fold(const struct cvy_cell *cell, const float *gamma, const float *beta, const float *mean,
                   const float *var, double eps, float *to);

/* bn in a place, in training. mean, var: the running statistics, a row for each step that has its own, a row as the
 * parameter's gates lie; istd: [step][block][vector][16]; sums: of g xhat over all steps, [block][vector][16], and
 * behind them those of g. still: its statistics are the running ones, which stay. */
struct cvy_cell_batch {
    float *istd, *mean, *var;
    double *sums, momentum;
    int still;
};

/* What bn with running statistics of each step is at inference, y = scale x + shift: as cvy_cell_norm has gamma and
 * beta, `to_rows` times, `apart` floats from one to the next. mean, var: [rows]; the last holds for those behind it. */
void cvy_cell_table(const struct cvy_cell *cell, int vectors, const int *gate, const float *gamma, const float *beta,
                    const float *mean, const float *var, double eps, int rows, int to_rows, float *to, ptrdiff_t apart);

#endif
