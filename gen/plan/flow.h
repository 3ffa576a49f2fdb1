/* flow.h - tensors and paths: what is made where, and how a kernel gets at what it reads.
 *
 * Between kernels stand *tensors*: values that are stored, or that a norm takes statistics of, or that several ops
 * read. A kernel gets at what it reads by *paths*: from what is stored of a tensor through stages that are computed as
 * they are needed. What stands after a weight op up to its tensor is its *out* path. In training every tensor has one
 * gradient, to which its readers add in the order in which backward runs. */
#ifndef FLOW_H
#define FLOW_H

#include "image.h"

enum {
    RECOMPUTE_MOST = 16, /* stages that readers go through again to save a tensor; with more, a pass stores it */
    WALKS_MOST = 200000, /* of a plan: stages that its kernels walk, and for each tensor that one reads ... */
    READ_WALKS = 8,      /* ... as many as this */
};

typedef struct Skip Skip;

typedef struct Link {
    int op;     /* in graph */
    int first;  /* after a concat: the channel of the op's input that is channel 0 of this path */
    Skip *skip; /* add: its other operands */
    int nskip;
} Link;

/* From a tensor through stages. link[i] makes value i + 1 of value i. */
typedef struct Path {
    int tensor; /* where it begins, or -1: at the core */
    Link *link;
    Shape *shape; /* of values 0 .. n */
    int n;
    /* The tensor's own value: links before it recompute it from what is stored, its gradient is taken there. */
    int grad;
    int first, total; /* what it makes is channels [first, first + shape[n].c) of `total` */
} Path;

/* The pass that read a skip operand last, by its name, and the skip operand's number there. */
typedef struct SkipSeen {
    const char *pass;
    int at;
} SkipSeen;

/* Another operand of a join, read where the join is: point stages alone. */
struct Skip {
    SkipSeen *seen; /* while passes are built */
    Path path;
    int pad; /* op through which the tensor is read, or -1 */
};

/* Why an op's output is a tensor in memory. */
typedef enum Anchor {
    ANCHOR_STATS = 1,   /* a norm takes its statistics */
    ANCHOR_MANY = 2,    /* several ops read it */
    ANCHOR_SKIP = 4,    /* a sum reads it as a skip operand, and cannot follow the path to it by itself */
    ANCHOR_TENSOR = 8,  /* a concat that a sum or a pad reads as one tensor, or what a sum or a pad reads after one */
    ANCHOR_STORED = 16, /* what a weight op stores: its path ends there */
    ANCHOR_CUT = 32,    /* likewise, but the path goes on: what stands after is made by a pass */
    ANCHOR_RESULT = 64, /* the network's result */
} Anchor;

/* A tensor on a weight op's out path that could be the stored one. */
typedef struct Choice {
    int op;        /* whose output it is */
    int64_t bytes; /* an image, winners of windows before it included */
    int refused;   /* an op before it whose backward it does not serve; -1: it serves all */
    bool early;    /* it stands before the first that may be chosen (Tensor.least_why) */
} Choice;

typedef struct Tensor {
    int op;      /* whose output it is */
    int key;     /* op at which it is made: the weight op, or `op` */
    int maker;   /* kernel; -1: the network's input */
    bool stored; /* else its readers begin at `root`'s stored tensor */
    int root;    /* tensor; itself where it is stored, or the input */
    Link *link;  /* from what is stored to its value */
    Shape *shape;
    int nlink;
    int stored_op;   /* op whose output is stored */
    bool kept;       /* backward reads what is stored (memory) */
    bool recomputed; /* of a segment: made again in backward, not kept till then (memory) */
    bool grad;       /* its gradient is wanted */
    bool given;      /* a kernel before, in backward, gives to it: others add */
    const char *why; /* of the choice of what is stored, for people */
    unsigned anchor; /* why it is a tensor: bits of Anchor */
    bool as_skip;    /* a sum or a pad reads it where it stands */
    Choice *choice;  /* what could have been stored instead; a weight op's */
    int nchoice;
    const char *least_why;  /* why the first of them may not be, or NULL */
    int *norm, *norm_first; /* batch norms over it, and the channel of each that is its channel 0 */
    int nnorm;
    int *image_norm; /* image norms over it: each reads all of its channels */
    int nimage_norm;
    int readers;
    int *route; /* max-pool ops before what is stored, whose winners are stored too: a byte a window */
    int64_t *route_slot;
    int nroute;
    int64_t slot, grad_slot;        /* floats of one image */
    int64_t stats_floats, stats_at; /* offsets in the arena's norm parts */
    int image;                      /* inference: how it lies, in Plan.infer_image */
} Tensor;

#endif
