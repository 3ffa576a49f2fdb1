/* parts.h - what the files that make a graph share: shapes.c, params.c, graph.c, dump.c. */
#ifndef GRAPH_PARTS_H
#define GRAPH_PARTS_H

#include "graph.h"

/* Windows along a direction: of `kernel` taps, `dilation` apart. */
typedef struct Walk {
    int kernel, stride, dilation;
    int before, after; /* padding; PADDING_SAME: as much as `same` asks for */
    bool ceil;         /* the last window may hang over the padded end, if it begins before the padding there */
} Walk;

/* shapes.c. Errors are collected; false: there was one. */
Walk graph_walk(OpKind kind, const Arg *arg, int d); /* of a conv or pool along direction d */
int64_t graph_windows(int n, Walk w);                /* how many there are over n elements */
bool graph_op_shape(Graph *g, Op *op, int out);      /* `out`: how many outputs a weight op has */
bool graph_shape_fits(const Graph *g, const Op *op); /* whether its elements can be counted */
bool graph_same_shape(Shape a, Shape b);
const char *graph_shape_text(Shape s);                   /* "16 x 28 x 28" */
const char *graph_gives(const Op *op, const char *what); /* "the branch, conv1, gives 16 x 28 x 28" */

/* params.c */
void graph_decide_biases(Graph *g);
bool graph_add_params(Graph *g);

#endif
