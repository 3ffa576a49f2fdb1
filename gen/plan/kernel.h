/* kernel.h - a kernel: a weight op, the loss, or a pass, with all that is fused into it. */
#ifndef KERNEL_H
#define KERNEL_H

#include "core.h"
#include "pixel_pass.h"
#include "places.h"
#include "runtime.h"
#include "winograd.h"

typedef enum KernelKind {
    KERNEL_CONV,
    KERNEL_LINEAR,
    KERNEL_RECURRENT,
    KERNEL_EMBED,
    KERNEL_PASS,
    KERNEL_LOSS
} KernelKind;

/* What stands in an emitted struct for an op that a kernel's stages name: "bn", or "in_bn" where it is another layer's.
 */
typedef struct Alias {
    int op;
    const char *name;
} Alias;

/* An image norm that a kernel's stages apply. Offsets in the thread's scratch, set by memory. */
typedef struct ImageNorm {
    int op;
    int64_t constants; /* of one image: mean, scale, shift, istd, off, a float a channel */
    int64_t sums;      /* of its gradient: two doubles a channel */
} ImageNorm;

/* What stands in a kernel's emitted struct. `which` counts what it says. */
typedef enum FieldKind {
    FIELD_NET,
    FIELD_SCRATCH,
    FIELD_OUT,        /* of a port: the tensor that the kernel makes */
    FIELD_IN,         /* of a port: one that it reads */
    FIELD_GRADIENT,   /* of a port */
    FIELD_PORT_STATS, /* of a port: statistics of its tensor, where norms' sums are added */
    FIELD_ROUTE,      /* of the tensor's routes */
    FIELD_STATS,      /* of its own tensor */
    FIELD_BN,         /* of an alias */
    FIELD_IMAGE_NORM, /* of an alias */
    FIELD_DROP,       /* of an alias */
    FIELD_WEIGHT,     /* of Graph.param */
    FIELD_BIAS,       /* of Graph.param */
    FIELD_CELL_NORM,  /* of Graph.param */
    FIELD_CELL_STATS, /* of the norms in the steps of a recurrent op */
    FIELD_CELL_SUMS,  /* likewise, of their gradients */
    FIELD_COPY,
    FIELD_DW,
    FIELD_DB,
    FIELD_MATRIX, /* of Matrix */
    FIELD_TARGET,
    FIELD_LOSS,
    FIELD_SCORE
} FieldKind;
typedef struct Field {
    FieldKind kind;
    int which;
} Field;
/* Matrices that a linear's product, a recurrent op's steps, and embed read and make; MAT_DX where the input has a
 * gradient. Of a recurrent op besides: what forward leaves of each step for backward, and backward's own room. */
typedef enum Matrix { MAT_X, MAT_Y, MAT_BACK_X, MAT_DZ, MAT_DX, MAT_STEPS, MAT_WORK, MATRICES } Matrix;

/* A conv and a linear have: stages after their core up to a tensor, weights, a core. */
typedef struct WeightPart {
    Path out;          /* from the core to the tensor */
    Chain after;       /* of `out` */
    Chain again, dout; /* backward: what it recomputes of `after`; dz, through the stages of `out` */
    int x, dz;         /* images: the packed input, the packed gradient (of training) */
    Core forward;
    const char *core_name; /* core_<...>.h */
    int wparam, bparam;    /* in Graph.param; no bias: -1 */
    int64_t w_floats;      /* padded */
    int64_t fold_floats;   /* the folded weights */
    /* inference */
    bool direct; /* the core reads the tensor as it lies, nothing is packed */
    int *fold;   /* norms folded into its weights */
    int nfold;
    int fold_stop; /* the first op of its out path after which no norm is folded, or -1 */
    int64_t fold_w, fold_b;
} WeightPart;

typedef struct ConvPart {
    bool plain;    /* its packed input is plain */
    bool lanewise; /* its groups are no whole blocks of channels: lane meets lane */
    int xg, zg; /* lanewise: the packed input and gradient, gathered so that they do; -1: x and dz stand so already */
    int dx;     /* the gradient of the packed input; -1: the core hands it over */
    int work;   /* Winograd's work space; -1: no pass needs one */
    Core *data; /* a class each */
    int ndata;
    Core weight;
    Winograd winograd[3]; /* by Pass; see kernel_winograd */
    int64_t wt_floats;    /* transposed copy for backward-data, 0: none */
    int64_t wu_floats;    /* Winograd's copy for forward, 0: none */
} ConvPart;

/* Of weight ops that take a whole batch at once, linear and recurrent ones. Images of rows: the result; the gradient of
 * the packed input, -1: it is not needed. Float offsets for one image of their matrices. */
typedef struct RowsPart {
    int y, dx;
    int64_t mat[MATRICES];
} RowsPart;

/* A norm in a place of a recurrent op's step. Where its numbers lie, in floats; of what is kept and of work, of one
 * image. */
typedef struct CellNorm {
    CellPlace place;
    const PlaceNorm *norm;
    int vectors, first; /* numbers of a unit; the first of the slots that they feed, of gates */
    int groups;         /* of those that have statistics of their own: 1 or as many as there are vectors; of bn 0 */
    int rows;           /* bn by step: of its running statistics; else 0 */
    int64_t hat_at, scale_at;     /* kept: xhat, and what made it of a - mean */
    int64_t packed_at, turned_at; /* gamma and beta, behind the weights as forward and as backward read them */
    int64_t sums_at, sums;        /* work: sums for the gradient of gamma (of a unit's number also beta) */
    int gamma, beta;              /* in Graph.param; -1: none */
    int64_t gamma_at, beta_at;    /* their gradients */
    /* bn, in the norms' part of the arena: what made xhat of a - mean, a number for each of the batch (and of each
     * step); in that of sums, in doubles: those of g xhat and of g, over all steps. */
    int64_t stats_at, both_at;
} CellNorm;

/* A recurrent op: panels of units, gates side by side (runtime/cvy_recurrent.h). Register tiles: rows by vectors. */
typedef struct RecurrentPart {
    struct cvy_cell cell;
    int steps;
    int state;   /* 1: a unit has a c beside its h */
    bool resets; /* a gru that applies r before its product: a step has two products, and leaves r h */
    int64_t packed, turned, grads; /* floats: weights as forward reads them, as backward does; of gradients */
    int64_t kept, work;            /* floats of an image: what forward keeps; backward's room */
    int64_t grad_at[4], panels_at; /* where gradients lie: of weight_ih, weight_hh, bias_ih, bias_hh; of panels */
    int scratch;                   /* inference: the image that holds what the steps leave */
    int table_rows;                /* inference with bn by step: of each, so many steps' scale and shift */
    int64_t table_row;             /* floats of one row; training has one, with gamma and beta */
    CellNorm norm[PLACES];         /* in the order of places */
    int nnorm;
} RecurrentPart;

/* Where a bn by step stands behind U h, all images of a batch meet in each step of training: a step is done in passes,
 * shared among threads by images, or by blocks of hidden units for all images. */
typedef enum StepPartKind {
    PART_PRODUCT, /* forward: U h */
    PART_GATES,   /* of an lstm with a norm of c: c */
    PART_HIDDEN,  /* with a norm of h: what it makes becomes h */
    PART_BEGIN,   /* backward: the gradient of h */
    PART_CELL,    /* of an lstm with a norm of c: through o and tanh to what the norm made */
    PART_RESET,   /* of a gru that resets before its product: through U (r h) */
    PART_UNITS,   /* both: the cell, or what of it is behind the norm of c (forward), or before it (backward) */
    PART_NORM     /* both */
} StepPartKind;
enum { STEP_PARTS = 8, STEP_PASSES = 6 };
typedef struct StepPass {
    bool by_images;
    struct {
        StepPartKind kind;
        const CellNorm *norm; /* of PART_NORM */
    } part[STEP_PARTS];
    int npart;
} StepPass;

/* Images: the logits, their gradient. */
typedef struct LossPart {
    int x, dx;
} LossPart;

/* How an image's work of a kernel of inference is split among threads: by the channels that it makes, or by rows or
 * tiles. */
typedef enum Split { SPLIT_NONE, SPLIT_CHANNELS, SPLIT_PLACES } Split;

/* What all kernels have, and what those of a kind do: the parts of other kinds are NULL. A pass has no more. */
typedef struct Kernel {
    KernelKind kind;
    const char *name; /* "conv2", "loss"; of files and symbols */
    const char
        *tag; /* what the names of its passes begin with: "conv2" too, until a file holds others' passes beside them */
    int op;   /* weight op or loss; for a pass, its tensor's op */
    const char *layer; /* whose stages are its own */
    int tensor;        /* that it makes; -1: the loss */
    Path *in;          /* of what its core reads, or of what a pass makes; several after a concat */
    int nin;
    Port *port;
    int nport;
    Chain *before; /* forward, one an `in` path */
    Chain *din;    /* backward, one an `in` path */
    Chain trace;
    /* In a trace, from the image of what the weight op reads to its packed input, as numbers of trace_image and of
     * image; empty where trace_core is -1. */
    Chain trace_pack;
    Image *image; /* what before, after, again, dout, din name */
    int nimage;   /* tile adds the gathered ones */
    Image *trace_image;
    int ntrace_image;
    int trace_core; /* pass of `trace` that takes the core's result, -1 */
    bool learns;    /* a weight op: the gradient of its weights is needed */
    bool back_data; /* the gradient of its input is needed */
    bool has_forward, has_backward;
    bool runs_again; /* in backward, to make its tensor again (schedule) */
    Alias *alias;
    int nalias;
    const Alias **alias_by_op; /* the same in the order of ops */
    ImageNorm *image_norm;
    int nimage_norm;
    /* Where image norms read its tensor: scratch for an image's sums, for the batch's without the image (where batch
     * norms read it, too), and for what they take away. */
    int64_t image_stats, batch_sums, image_back;
    int64_t scratch; /* floats of a thread */
    Field *field;    /* of its struct, in training (arena) */
    int nfield;
    /* inference */
    int result;         /* image that is its tensor; -1: it makes nothing, the statistics of the input are taken */
    int64_t scratch_at; /* in the thread's part */
    Split split;
    bool shares;   /* passes of its that are PixelPass.shared have training's functions */
    WeightPart *w; /* of weight ops */
    ConvPart *conv;
    RowsPart *rows; /* linear, recurrent and embed */
    RecurrentPart *recurrent;
    LossPart *loss;
} Kernel;

/* Whether the work between a kernel's rows is no product that weights, bias and norms fold into: steps, a table. */
bool kernel_is_apart(const Kernel *k);
/* The path and the chains of what stands after a kernel's core; empty where it has none. */
typedef enum ChainOf { CHAIN_AFTER, CHAIN_AGAIN, CHAIN_DOUT } ChainOf;
const Path *kernel_out(const Kernel *k);
const Chain *kernel_chain(const Kernel *k, ChainOf which);
/* recurrent.c: the bn in the input of a recurrent kernel's steps; NULL: there is none, or it is folded (inference). */
const CellNorm *recurrent_batch(const Kernel *k);
/* recurrent.c: whether a bn by step stands behind U h, so that the images of a batch meet in each step of training. */
bool recurrent_meets(const Kernel *k);
/* recurrent.c: the passes of such a kernel's step; how many. */
int recurrent_passes(const Kernel *k, bool back, StepPass pass[STEP_PASSES]);
/* recurrent.c: how many blocks of hidden units a thread takes at least: as many as a panel of backward has. */
int recurrent_group(const Kernel *k);
/* recurrent.c: the norm in a place of a recurrent kernel; NULL: there is none. */
const CellNorm *recurrent_norm(const Kernel *k, CellPlace place);
/* recurrent.c: which of PyTorch's gates its vectors are of, in `cell`; NULL: they are of units, without gates. */
const int *recurrent_norm_gates(const CellNorm *m, const struct cvy_cell *cell);
/* recurrent.c: how many rows a register tile of so many vectors has. */
int recurrent_rows(const Target *t, int vectors);
int recurrent_kept_numbers(const Kernel *k);   /* a unit that a step leaves: slots, c, h, what norms read */
int64_t recurrent_kept_bytes(const Kernel *k); /* an image: what its steps leave for backward; 0: nothing */
/* How many output channel blocks its forward core makes at a time, and of how many. */
int kernel_vectors(const Kernel *k);
int kernel_out_blocks(const Kernel *k);
/* How a pass of a kernel runs by Winograd; NULL: it does not. */
const Winograd *kernel_winograd(const Kernel *k, Pass pass);
/* Cycles of an image that the cost models give a conv's pass: by its direct cores, and by Winograd (0: it was not
 * looked at); of a pass that it does not have, 0. */
double kernel_direct_cycles(const Kernel *k, Pass pass);
double kernel_winograd_cycles(const Kernel *k, Pass pass);
/* The image that a kernel's paths lead to: packed input, logits, the result of a pass of inference; -1: a pass of
 * training stores what it makes. */
int kernel_input(const Kernel *k);

/* The kernel of an op, in a list that is in the order of ops, as those of a plan are; NULL: none. */
const Kernel *plan_kernel(const Kernel *list, int n, int op);
const char *plan_alias(const Kernel *k, int op);

#endif
