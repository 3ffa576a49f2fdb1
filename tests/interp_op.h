/* interp_op.h - what the files of the reference interpreter share: what an op's forward and backward work on. */
#ifndef INTERP_OP_H
#define INTERP_OP_H

#include "interp.h"

/* What an op's functions work on: its own row of everything. */
typedef struct At {
    Interp *ip;
    const Op *op;
    int i;                /* the op's index */
    int k;                /* which of its inputs this is about */
    int n;                /* images */
    Shape a, b;           /* shapes of its input and its output */
    const double *x;      /* input */
    double *y;            /* output */
    const double *dy;     /* gradient of the output */
    double *dx;           /* gradient of the input: added to */
    const float *sx, *sy; /* what the float run saw of both, or NULL */
} At;

static inline double *value(const At *t, ParamRole role)
{
    int p = interp_find(t->ip->g, t->i, role);
    return p < 0 ? NULL : t->ip->param[p];
}

static inline double *gradient(const At *t, ParamRole role)
{
    int p = interp_find(t->ip->g, t->i, role);
    return p < 0 ? NULL : t->ip->dparam[p];
}

/* Index of element (n, c, y, x) in a tensor of shape s. */
static inline int64_t at(const Shape *s, int n, int c, int y, int x)
{
    return (((int64_t)n * s->c + c) * s->h + y) * s->w + x;
}

/* Zeroed room for n things; ends the program where memory runs out. */
void *interp_room(int64_t n, size_t size);

/* A decision at a kink: what the float run decided holds where the own distance to the kink is small beside `scale`. */
bool interp_decide(const At *t, bool own, bool seen, double distance, double scale);

/* A number on its way: as it is, or moved by about what rounding to float does to it. With an odd seed equal numbers
 * are moved alike, as rounding does, so that errors add up; with an even one each by itself, as when equal sums are
 * taken in different orders. */
double interp_shaken(Interp *ip, double v);
static inline double q(const At *t, double v)
{
    return interp_shaken(t->ip, v);
}

/* interp_cells.c: rnn, gru, lstm */
void interp_cell_forward(At *t);
void interp_cell_backward(At *t);

#endif
