/* interp.h - the reference: a naive double-precision interpreter of the forward graph, NCHW, plain loops. It derives
 * its own backward (reverse mode over its own ops) and shares nothing with the passes that come after the graph. Slow
 * on purpose; what it says is right by inspection and by finite differences (test_interp.c). */
#ifndef INTERP_H
#define INTERP_H

#include "graph.h"

/* One step of PyTorch's SGD, Adam or AdamW. Weight decay reaches weights alone unless decay_all. */
typedef enum InterpOptimiser { INTERP_SGD, INTERP_ADAM, INTERP_ADAMW, INTERP_OPTIMISERS } InterpOptimiser;
enum { INTERP_BUFFERS = 2 }; /* at most, of each parameter */
typedef struct InterpStep {
    InterpOptimiser optimiser;
    double lr, weight_decay;
    bool decay_all;
    double momentum; /* of SGD */
    bool nesterov;
    double beta1, beta2, eps; /* of Adam and AdamW */
    int64_t before;           /* steps that were taken before this one */
} InterpStep;
/* What a state calls an optimiser, and its buffers: "momentum"; NULL after the last. */
typedef struct InterpWords {
    const char *name, *buffer[INTERP_BUFFERS];
} InterpWords;
extern const InterpWords interp_words[INTERP_OPTIMISERS];

/* All arrays are indexed by op or by parameter of the graph. Tensors are n x C x H x W without padding. */
typedef struct Interp {
    const Graph *g;
    int max_n, n;  /* room for, and images in the last forward */
    bool training; /* of the last forward */
    uint64_t
        shake; /* not 0: a seed. Every number that float32 cannot hold is moved by up to 2^-23 of itself and rounded, in
                * outputs, gradients, sums and a norm's insides: shows what float32 can do on this case */
    uint64_t moved;                  /* how many numbers were */
    double **param;                  /* [nparam]: values, also of running statistics; the count is one number */
    double **dparam;                 /* [nparam]: gradients, NULL for statistics and what is frozen */
    double **buffer[INTERP_BUFFERS]; /* [nparam]: the optimiser's, NULL likewise */
    double **out, **dout;            /* [nop]: an op's output and the gradient of it; the loss's are NULL */
    unsigned char *
        *mask;          /* [nop]: of a dropout, 0 or 1, n x C x H x W: the caller fills it before a training forward */
    const float **seen; /* [nop]: the output that a float run had, or NULL: decides at kinks. Caller's memory. */
    double *slack;      /* [nop]: so far from a kink a float run's decision is rounding, too (0: 1e-5 of the largest
                           magnitude) */
    double **mean, **istd; /* [nop]: of a norm, C each: what the last forward normalised with */
    double **var;          /* [nop]: of a norm, the biased variance of the last training batch */
    int64_t **route;       /* [nop]: of a max-pool, which input element won; -1: none */
    unsigned char **side;  /* [nop]: of relu and leaky_relu: 1 where the input counts as positive */
    bool *walked; /* [nop]: a recurrent op's forward runs again for its backward: its running statistics stay */
    int *label;
    const double *value; /* of a network that learns values: n x outputs, the caller's, before a forward with labels */
    double loss;         /* mean over the batch */
    int correct;
    int64_t flips;     /* decisions taken from the float run against its own arithmetic, near a kink */
    int64_t far_flips; /* the same too far from the kink to be rounding: a failure */
    int far_op;        /* where the first of those was; -1: nowhere */
} Interp;

/* Room for up to max_n images. Parameters start at zero. Ends the program where memory runs out. */
Interp *interp_new(const Graph *g, int max_n);
void interp_free(Interp *ip);
/* Elements an op's output has for one image; elements of a parameter. */
int64_t interp_image(const Graph *g, int op);
int64_t interp_numel(const Param *p);
/* Index of the parameter of that op and role, or -1. */
int interp_find(const Graph *g, int op, ParamRole role);

/* x: n x C x H x W; labels may be NULL (then there is no loss and no backward). Training: batch statistics, masks, and
 * running statistics are moved. Inference: running statistics, dropout passes through. */
void interp_forward(Interp *ip, const double *x, const int *labels, int n, bool training);
/* Op i once more, from what its inputs' outputs hold now. */
void interp_op(Interp *ip, int i);
/* After a training forward with labels: fills dout and dparam. */
void interp_backward(Interp *ip);
void interp_update(Interp *ip, const InterpStep *s);

#endif
