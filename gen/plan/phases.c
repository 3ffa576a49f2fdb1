/* phases.c - a conv of stride 2 by Winograd of its phases: what its tiles read and give, and what direct cores cost.
 *
 * needs: a checked graph, the target. sets: nothing; winograd.c asks.
 *
 * Along an axis output pixel o meets the padded input's places 2 o, 2 o + 1, 2 o + 2 with taps 0, 1, 2: even places
 * with two taps, odd ones with one. A tile of 4 x 4 outputs reads 9 x 9 pixels. Backwards a tile of 8 x 8 input pixels
 * is four phases of 4 x 4, of 5 x 5 pixels of dz: where the padding is odd its first pixel is at an odd place. */
#include "phases.h"

#include "cover.h"

void phases_shape(Winograd *w, Pass pass)
{
    const bool data = pass == PASS_DATA;

    w->phases = true;
    w->points = 81;
    w->side = data ? 8 : 4;
    w->step = data ? 4 : 8;
    w->border = 1;
}

/* Pixel 0 is at the place `padding`; an even place 2 j meets pixels j - 1 and j of dz, an odd one 2 j + 1 pixel j. */
int phases_first_met(int padding)
{
    return padding % 2 ? (padding - 1) / 2 : padding / 2 - 1;
}

void phases_place(Winograd *w)
{
    const int64_t row = w->x_row;

    if (w->step == 4) { /* data: all phases read the same pixels of dz, those of one tap begin at the first or second */
        w->x_col = LANES;
        w->one_row = w->two_row ? 0 : row;
        w->one_col = w->two_col ? 0 : LANES;
        return;
    }
    w->x_row = 2 * row;
    w->x_col = 2 * LANES;
    w->one_row = row;
    w->one_col = LANES;
}

/* ---- direct cores ---- */

static double forward_cycles(const Target *t, const Op *o, Shape in)
{
    const int blocks = blocks_of(in.c);
    Core c = {.blocks = blocks,
              .rows = 1,
              .lanes = blocks == 1 ? in.c : LANES,
              .out_blocks = blocks_of(o->shape.c),
              .h = o->shape.h,
              .w = o->shape.w,
              .y_step = 2,
              .x_step = 2,
              .in_h = in.h,
              .in_w = in.w};

    for (int i = 0; i < 9; i++)
        *PUSH(c.tap, c.ntap) = (Tap){.at_y = i / 3 - o->padding[0], .at_x = i % 3 - o->padding[1]};
    cover_choose(t, &c, UNROLL_TILE);
    return c.cycles;
}

/* Of the pixels (a + 2 j, b + 2 i) of the input. */
static double data_cycles(const Target *t, const Op *o, Shape in, int a, int b)
{
    const int blocks = blocks_of(o->shape.c);
    Core c = {.blocks = blocks,
              .rows = 1,
              .lanes = blocks == 1 ? o->shape.c : LANES,
              .out_blocks = blocks_of(in.c),
              .h = (in.h - a + 1) / 2,
              .w = (in.w - b + 1) / 2,
              .y_step = 1,
              .x_step = 1,
              .in_h = o->shape.h,
              .in_w = o->shape.w};

    for (int i = 0; i < 9; i++) {
        const int y = a + o->padding[0] - i / 3, x = b + o->padding[1] - i % 3;
        if (y % 2 == 0 && x % 2 == 0)
            *PUSH(c.tap, c.ntap) = (Tap){.at_y = y / 2, .at_x = x / 2};
    }
    cover_choose(t, &c, UNROLL_TILE);
    return c.cycles;
}

double phases_direct_cycles(const Target *t, const Graph *g, const Op *o, Pass pass)
{
    const Shape in = g->op[o->in].shape;
    double cycles = 0;

    if (pass == PASS_WEIGHTS)
        return tile_direct_cycles(t, o->shape, in.c, true);
    if (pass == PASS_FORWARD)
        return forward_cycles(t, o, in);
    for (int a = 0; a < 2 && a < in.h; a++)
        for (int b = 0; b < 2 && b < in.w; b++)
            cycles += data_cycles(t, o, in, a, b);
    return cycles;
}
