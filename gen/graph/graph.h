/* graph.h - a spec as a graph of ops with shapes and parameters. */
#ifndef CONVOY_GRAPH_H
#define CONVOY_GRAPH_H

#include "spec.h"

typedef struct Shape {
    int c, h, w;
} Shape;

typedef struct Op {
    OpKind kind;
    /* Index of the op whose output it reads, of several the first; -1 for the input. Smaller than its own index. */
    int in;
    int nin;           /* how many outputs it reads: 0 for the input, 1, or for a join 2 and more */
    const int *ins;    /* all of them, in the order of the spec; ins[0] == in. One op may stand there more than once. */
    Shape shape;       /* of its output. linear, flatten: c features, 1 x 1 */
    const char *layer; /* "conv1"; "input" and "loss" for those */
    const char *stage; /* "conv", "bn2"; NULL where the layer is bare */
    const char *path;  /* "conv1.bn2", or "bn1" for a bare layer: the prefix of its parameters and traces */
    int layer_index;   /* in Spec.layer; -1 for input and loss */
    int segment;       /* ops of one recompute segment share a number, from 1 on and rising; 0: of none */
    Mark mark;
    union {
        /* As in SpecStage, but a depthwise conv's groups are counted, and padding: same is what it comes to; and under
         * their names, each as large as an Arg, by the kind of op: */
        Arg arg[OP_ARGS];
        struct { /* of conv and pools; 1, 1, 0, 0, 1 where an op has no arguments */
            int kernel[2], : 32, : 32;
            int stride[2], : 32, : 32;
            int padding[2], after[2]; /* before the first row and column, and after the last */
            int dilation[2], : 32, : 32;
            int : 32, : 32, : 32, : 32;
            int counted; /* of avgpool: padding counts */
        };
        struct {
            double eps; /* of norms */
            int : 32, : 32;
            double momentum; /* of bn */
        };
        struct {
            double leak; /* of general_relu */
            int : 32, : 32;
            double sub;
            int : 32, : 32;
            double maxv; /* INFINITY: no most */
        };
        double value; /* of an op with one real: slope, alpha, p */
        int before;   /* of pad: how many channels of zeros stand before the input's own */
    };
    int groups; /* of channels: of a conv, of an image norm; else 1 */
    bool bias;
    const char *bias_why; /* why `auto` dropped or kept it, for people; NULL where the spec said it itself */
    bool lengths;         /* a sequence whose samples have lengths of their own: what stands behind one is padding */
    bool reverse; /* a recurrent op that walks from its input's last step to the first, beside one that does not */
    bool frozen;  /* its layer is: it has parameters, and they stay as they are; a batch norm uses running statistics */
    /* set by grad */
    bool input_grad;  /* the gradient of its input is needed: something before it learns */
    bool output_grad; /* that of its output: it learns, or something before it does */
} Op;

/* A parameter, or (MEAN, VAR, COUNT) a buffer of a norm, under PyTorch's name and shape. */
typedef struct Param {
    const char *name; /* "conv1.conv.weight" */
    ParamRole role;
    CellPlace place; /* of a norm inside a recurrent op's step: where it stands */
    int op;
    int ndim, dim[4]; /* conv weight O,I/groups,KH,KW (1-D: O,I/groups,K); linear O,I; the rest C; COUNT: ndim 0 */
    enum { DRAW_CONST, DRAW_NORMAL, DRAW_UNIFORM } draw;
    double draw_value;        /* the constant, the standard deviation, or the bound of a uniform draw on +-bound */
    int fixed_from, fixed_to; /* of its rows, those that begin with `fixed` instead */
    double fixed;
} Param;

typedef struct Graph {
    const Spec *spec;
    Op *op; /* topological: input first, loss last */
    int nop;
    /* In op order: weight, bias; gamma (weight), beta (bias), running_mean, running_var, num_batches_tracked. */
    Param *param;
    int nparam;
    int64_t flops;   /* of the forward pass of one image: 2 x multiply-adds of conv and linear, padding taps counted */
    int64_t weights; /* trained numbers */
    int dims;        /* of an image: 2; 1 where the spec's input is C x L, whose ops have a height of 1 */
} Graph;

/* needs: a Spec; sets: ops in order with shapes and parameters; collected errors and NULL where shapes do not fit. */
Graph *graph_build(const Spec *s);
/* Of a conv or pool, the pixels of padding that its windows meet or its padding asks for: before the first row and
 * column, and after the last, where ceil_mode lets a window hang over the edge. */
Sides graph_halo(const Graph *g, const Op *op);
/* What an avgpool's windows divide by along a direction: the elements of each that lie in [*from, *to), of pixels of
 * its input counted from the first. False: all of them, the kernel's, lie there. */
bool graph_counted(const Graph *g, const Op *op, int d, int *from, int *to);
/* Of a recurrent layer that is bidirectional: op i, which joins its two directions, is all that others see of it. The
 * first of the two; NULL: op i is none such. */
const Op *graph_both_ways(const Graph *g, int i);
bool op_is_one_way(const Op *op);                        /* one of those two directions */
int graph_param(const Graph *g, int op, ParamRole role); /* the index of an op's parameter; -1: it has none such */
/* The same of the norm in a place of a recurrent op's step. */
int graph_place_param(const Graph *g, int op, CellPlace place, ParamRole role);
void graph_check(const Graph *g);
void graph_dump(const Graph *g, FILE *to); /* -d graph: one line per op; stable, golden in tests */
/* needs: a Graph; sets: input_grad and output_grad of every op; or a collected error and false where nothing learns. */
bool grad_build(Graph *g);
bool op_learns(const Op *op);   /* it has parameters, and training changes them */
bool op_is_still(const Op *op); /* a batch norm that is frozen: what it does to a channel is the same in each step */
/* What its backward reads of its forward: as in its row, but what is frozen needs less. */
Need op_need(const Op *op);
/* What automatic differentiation keeps an image when every op keeps what its own backward reads: the measure that the
 * plan has to beat. The input and the logits aside. by_op, if not NULL: g->nop numbers, the bytes of each op's output,
 * and of what it keeps besides (masks, indices of winners). */
int64_t grad_autograd(const Graph *g, int64_t *by_op);

/* identity.c: what a checkpoint says of its network, a line per op, NULL-terminated (docs/runtime.md, Checkpoints). */
const char *const *identity_lines(const Graph *g);

#endif
