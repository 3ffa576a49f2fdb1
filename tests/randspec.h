/* randspec.h - random valid chains for the campaign: made from a seed, printed as a spec, and made smaller step by step
 * when one of them fails. It knows the shape rules itself, so that what it makes is valid by its own reckoning. */
#ifndef RANDSPEC_H
#define RANDSPEC_H

#include "convoy.h"

enum {
    RS_MOST_STAGES = 9,
    RS_MOST_LAYERS = 16
};

typedef struct RsStage {
    OpKind op;
    bool as_act; /* written as "act": the block's or the network's activation, which is `op` */
    int k[2], stride[2], padding[2];
    double arg; /* drop: p; leaky_relu: slope */
} RsStage;

typedef struct RsLayer {
    OpKind block; /* OP_CONV, OP_LINEAR, or OP_KINDS for a bare stage */
    int out, kernel[2], stride[2], padding[2];
    int bias;     /* 0: not written, 1: auto, 2: true, 3: false */
    bool own_act; /* writes act: itself */
    OpKind act;   /* what "act" means here */
    bool named;
    double eps, momentum; /* 0: not written */
    RsStage stage[RS_MOST_STAGES];
    int nstage;
} RsLayer;

typedef struct RandSpec {
    int input[3], batch;
    int n, n_predict; /* images in the trace and in the prediction */
    OpKind act;
    bool top_order; /* the first conv block's order is written once, for the network */
    RsLayer layer[RS_MOST_LAYERS];
    int nlayer;
} RandSpec;

/* A random number generator of the tests' own. */
typedef struct Rng {
    uint64_t s;
} Rng;
uint64_t rng_next(Rng *r);
int rng_int(Rng *r, int lo, int hi); /* both included */
double rng_real(Rng *r, double lo, double hi);
double rng_normal(Rng *r);
bool rng_chance(Rng *r, double p);

/* A valid random chain; the same for the same seed. */
RandSpec rs_random(uint64_t seed);
/* Whether every shape fits, no norm sees a single value, the work stays small; *out: the last shape. */
bool rs_valid(const RandSpec *s, Shape *out);
void rs_print(const RandSpec *s, FILE *to);
/* The move-th way to make s smaller, from the largest cut to the smallest; false in *any where there are no more moves.
 * The result may be invalid or equal to s: the caller looks. */
RandSpec rs_shrink(const RandSpec *s, int move, bool *any);

#endif
