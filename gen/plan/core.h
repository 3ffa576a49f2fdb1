/* core.h - a weight op on packed scratch: taps, register tiles, loops. */
#ifndef CORE_H
#define CORE_H

#include "target.h"

/* What may be unrolled, a function at a time: a budget for the whole network would make one layer's change move
 * another. */
enum {
    UNROLL_TAPS = 9,      /* a conv's taps; with more, the kernel's rows stay a loop */
    UNROLL_TILE = 2000,   /* multiply-adds of a register tile with its taps */
    UNROLL_PIXELS = 16,   /* pixels of a row in the weights' gradient */
    UNROLL_WINDOW = 64,   /* a pooling window's taps; with more, they are a loop */
    UNROLL_LIMIT = 20000, /* multiply-adds of a tile that `unroll: full` may make */
};

typedef struct Tap {
    int64_t x, w;   /* float offsets */
    int at_y, at_x; /* the pixel of the unpadded input that it meets at output pixel (0, 0) */
} Tap;

/* A register tile: rows x cols output pixels x vectors channel blocks. Tiles that meet the same padding are one: (y, x)
 * is where the first of them lies. */
typedef struct Tile {
    int rows, cols, y, x;
} Tile;

/* Tiles along some rows: number `tile` at columns from, from + its cols ... below `to`. */
typedef struct Span {
    int tile, from, to;
} Span;
typedef struct Band {
    int from, to, rows; /* a tile's */
    Span *span;
    int nspan;
} Band;

typedef enum CoreKind { CORE_OUTPUTS, CORE_WEIGHTS } CoreKind;

/* The loops of a weight op. By kind:
 *
 * CORE_OUTPUTS   out[y][x][block] = sum over blocks, kernel rows, taps, lanes of x[...] * w[...]: a forward pass, or
 * one class of a backward-data pass (the input pixels that share a set of taps under a stride) CORE_WEIGHTS   dw[...]
 * += sum over pixels of x * dz: `acc` lists the accumulators, each with its offset in x and dw
 *
 * Lanewise, lane l of x meets lane l of w (of dz), and blocks are the channels that an output sums; else a lane of x is
 * broadcast to the 16 outputs of a block. */
typedef struct Core {
    CoreKind kind;
    bool lanewise;
    int share;       /* output blocks that read the same x, a group of the conv; 0: all */
    int64_t x_group; /* from one such x to the next */
    int blocks;      /* input channel blocks (or plain channels): a loop */
    int64_t x_block, w_block;
    int rows;     /* of the kernel: a loop */
    int row_step; /* pixels of the unpadded input from one row of taps to the next */
    int64_t x_row, w_row;
    int lanes; /* channels inside a block, the inner loop; of CORE_WEIGHTS, lanewise: taps of a row */
    int out_blocks;
    int64_t w_out;      /* weights of one output block */
    int vectors;        /* output blocks a tile */
    int h, w;           /* output pixels of this class, pixels of dz */
    int64_t x_y, x_x;   /* from one of them to the next in x */
    int y_step, x_step; /* the same, in pixels of the unpadded input */
    int in_h, in_w;     /* of the unpadded input: taps outside are left out. 0: they meet the zeros of the halo */
    double cycles;      /* of an image, by the cost model */
    union {
        struct { /* CORE_OUTPUTS */
            const char *name;
            Tap *tap; /* of a row of the kernel */
            int ntap;
            bool flat;        /* tiles of several rows hold the taps of all rows; else these are a loop there, too */
            bool twice;       /* two turns of the inner loop are one: `lanes` is even */
            int64_t x_origin; /* x offset of output pixel (y, x): origin + y * x_y + x * x_x */
            int y0, x0, ystep, xstep; /* output pixel (y, x) stands at (y0 + y * ystep, x0 + x * xstep) of its image */
            int tiles_refused;        /* by the budget of statements, of the sizes that fit the registers */
            Tile *tile;
            int ntile;
            Band *band;
            int nband;
        };
        struct {      /* CORE_WEIGHTS */
            int step; /* how many of `lanes` a tile takes */
            int64_t x_lane;
            Tap *acc;
            int nacc;
            int row_at; /* of kernel row 0 */
            int64_t z_origin, z_y, z_x, z_block;
            int pixels; /* of a row of dz that are unrolled together at most */
            bool kept;  /* sums are kept in their registers: of what is broadcast, none can be an operand in memory */
            bool apart; /* each pixel loads what it reads of x: no register is left for what the next one shares */
            /* Rows of dz that are walked together: with the rows of x that they meet they stay in the first cache. */
            int band_rows;
            int images; /* how many a walk takes: adding to dw costs a small image more than its pixels do */
            int64_t x_image, z_image;
        };
    };
} Core;

/* The tile that covers most pixels of an image: what stands for all of them in words. */
const Tile *tile_main(const Core *c);
/* Whether tiles of that many rows walk the kernel's rows in a loop: a one-row tile leaves out those that meet padding
 * alone. */
bool tile_loops(const Core *c, int rows);
/* Whether output row y (column x) meets a pixel, no padding, with a tap of kernel row `row`. */
bool tile_meets_y(const Core *c, const Tap *tap, int row, int y);
bool tile_meets_x(const Core *c, const Tap *tap, int x); /* tap: or an accumulator, at column x of dz */
/* Cycles an image, by cover.c's model, of a 3 x 3 conv of stride 1 with `in` channels and outputs `out`; weights: of
 * its weights' gradient. */
double tile_direct_cycles(const Target *t, Shape out, int in, bool weights);
/* Multiply-adds of an image that a core does: padding channels with them, padding taps where they are not left out. */
int64_t core_products(const Core *c);

#endif
