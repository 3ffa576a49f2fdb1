/* acts.h - the reference of the activations, in double: a value and a slope each, written anew beside the runtime's and
 * the op table's properties, of which it reads none. The interpreter computes with it; test_vec.c measures the
 * runtime's functions by it. */
#ifndef ACTS_H
#define ACTS_H

#include "op.h"

/* An activation in pieces: which piece x lies in is how many of its kinks it is above. At a kink itself, the lower one.
 */
typedef struct Pieces {
    int n;                /* kinks; 0: it is smooth */
    double kink[2], y[2]; /* and the output there */
    bool by_output;       /* the float run decides by its output, where there is one */
    bool upper_below;     /* at the upper kink itself x lies below it */
    double less;          /* with upper_below: what is taken from x before it is held against the upper kink's output */
    int of_nan;           /* where x is not a number, the slope is this piece's; NO_PIECE: not a number either */
} Pieces;
enum { NO_PIECE = -1 };

/* Where a value or a slope is asked for. */
typedef struct ActAt {
    const Arg *arg; /* by the op's row */
    double x;
    int piece;
    double (*off)(const void *of, double v); /* v, a number on the way of which float32 loses a part, as that has it */
    const void *of;
} ActAt;

/* How far off the runtime's may be: the value, of itself where it is above `floor`; the slope, of the largest slope. */
typedef struct ActLimits {
    double value, floor, slope;
} ActLimits;

typedef struct ActRule {
    double (*value)(const ActAt *at), (*slope)(const ActAt *at);
    Pieces (*pieces)(const Arg *arg); /* NULL: it is smooth, and nothing comes of what is not a number */
    ActLimits limits;
    double other[2][2 + 1]; /* arguments that tests try besides the usual ones; all 0: none */
} ActRule;
extern const ActRule act_rules[OP_KINDS]; /* of no activation: value NULL */

/* The nth list of arguments that tests try, the usual ones first; false: there is none. */
bool act_args(OpKind kind, int nth, Arg arg[OP_ARGS]);
Pieces act_pieces(OpKind kind, const Arg *arg);
int act_piece(const Pieces *p, double x); /* in which piece x lies */

#endif
