/* winograd.h - passes of a conv by Winograd: F(4x4, 3x3), and of stride 2 by the phases of its input. */
#ifndef WINOGRAD_H
#define WINOGRAD_H

#include "image.h"

/* A pass by Winograd: tiles of 4 x 4 outputs are transformed, `block` of them at a time, and multiplied by
 * the transformed weights at each of 36 points. v: transformed tiles [36][blocks][block][16]; m: products
 * [36][vectors][block][16]. The weights' gradient: v and z, of dz, and m [vectors][36][16][16]. Transformed weights u
 * [vectors][36][blocks][16][16] are four times as many as the taps: either they are a copy, or the core makes those of
 * `made` blocks of input channels at a time where it needs them.
 *
 * A conv of stride 2 goes by phases (runtime/vec/phases.h): 81 products of 36 weights for a tile, so v, z and m of 81
 * points. */
typedef enum Pass { PASS_FORWARD, PASS_DATA, PASS_WEIGHTS } Pass;
typedef struct Winograd {
    bool on, weights;
    bool phases;
    int points; /* products of a tile and pair of channels: 36, by phases 81 */
    int side, step,
        border; /* pixels, along an axis: a tile gives; from tile to tile of what it reads; that it reads further */
    bool twice; /* two turns of the loop over lanes are one */
    int images; /* that it takes at once */
    int h, w, across, tiles; /* pixels and tiles of an image that it gives (weights: of dz) */
    int blocks, lanes, out_blocks;
    int block;
    int rows, vectors; /* register tile: rows tiles (weights: input channels) x vectors channel blocks */
    int full; /* so many of a block's tiles are in register tiles of `rows`, the others in those of a row less */
    int rows_alone, full_alone; /* the same where the tiles are of one image, fewer than a block; 0: they are as many */
    int made; /* blocks of input channels whose weights it transforms at a time, from the taps; 0: it reads a copy */
    double cycles; /* of an image, by the cost model, whether it runs so or not; 0: it was not looked at */
    int64_t x_image, x_row, x_block, x_origin;
    int64_t x_col, one_row, one_col; /* by phases: a phase's pixels side by side; from two taps' first to one's */
    int two_row, two_col;            /* data by phases: pixel at which those of two taps begin; 0 or 1 */
    int64_t z_image, z_row, z_block, z_origin;
    int64_t v_block, v_point, z_point, z_at, m_point, m_at, u_point, u_at,
        work; /* floats, in its work space; its size */
} Winograd;

int64_t winograd_products(const Winograd *w); /* multiply-adds of an image, its transforms not counted */
/* The same of a pass of any conv, whether it runs so or not; 0: there is no such way. */
int64_t winograd_products_of(const Graph *g, const Op *o, Pass pass);
/* Whether the weights that it reads are transformed ones; NULL: no. */
bool winograd_transformed(const Winograd *w);

#endif
