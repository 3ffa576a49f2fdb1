/* plain.h - the plan of a network for reading: every op is a kernel, and every op's output is stored, NCHW. Nothing is
 * fused or recomputed. */
#ifndef PLAIN_H
#define PLAIN_H

#include "graph.h"

/* What is decided of an op. Its output is a tensor [n][c][h][w] of floats, its gradient another of the same shape. */
typedef struct PlainOp {
    const char *name; /* in C: its path, dots as '_' */
    /* Op whose tensor holds the output: itself; of a flatten what it reads, for in NCHW nothing moves; 0: the input;
     * -1: the loss, which has none. */
    int tensor;
    bool learns;    /* the gradient of its output is wanted: it, or an op before it, has parameters */
    int64_t floats; /* of an image's output */
    int64_t steps;  /* and what the steps of a recurrent op leave, beside that */
} PlainOp;

typedef struct Plain {
    const Graph *g;
    PlainOp *op; /* by op */
    int logits;  /* op whose tensor the loss reads */
    /* By Graph.param: float offset in cvy_net.param or .running, in PyTorch's layout; or index in .batches. */
    int64_t *param_at;
    int64_t param_floats, running_floats;
    int64_t learning_floats; /* the first of param_floats, which training changes */
    int batches;
    int64_t value_floats; /* of an image: all tensors; the gradients are as many */
    int64_t trace_floats; /* of an image: the largest dropout mask */
    int min_batch;        /* 2 where a norm would see a single value */
} Plain;

/* needs: a checked graph after grad. sets: a plan; or collected errors and NULL where a size overflows or the network's
 * name is taken. */
Plain *plain_build(const Graph *g);
/* Whether op i has a tensor of its own. */
bool plain_stores(const Plain *p, int i);
int64_t plain_stored_bytes(const Plain *p); /* an image, kept from forward for backward: all that is stored */
void plain_dump(const Plain *p, FILE *to);  /* -d plan: a line an op */
/* `convoy plan --for reading`, in words: n ops (NULL: all of them). */
void plain_explain(const Plain *p, const int *ops, int n, FILE *to);

#endif
