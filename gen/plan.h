/* plan.h - how a graph becomes kernels. Every decision is here when emit starts; emit only prints.
 *
 * The ops between two weight ops (or the input, or the loss) are a *span*: tensors t[0] .. t[m], t[0] the first weight op's
 * output, t[m] the second one's input, op[i] making t[i + 1] of t[i]. One tensor of a span is stored for backward; the
 * span's own stages recompute the rest. A span is *cut* behind every batch norm (where it has none, at the stored tensor):
 * what stands before the first cut is fused into the first weight op's kernel, what stands behind the last into the second
 * one's, what stands between two cuts is a pass of its own. Gradients are stored at the cuts. */
#ifndef PLAN_H
#define PLAN_H

#include "convoy.h"

enum {
    LANES = 16,
    PLAIN_MAX = 3,
    /* what may be unrolled, a function at a time: a budget for the whole network would make one layer's change move another */
    UNROLL_TAPS = 9,       /* a conv's taps; with more, the kernel's rows stay a loop */
    UNROLL_TILE = 2000,    /* multiply-adds of a register tile with its taps */
    UNROLL_WINDOW = 64,    /* a pooling window's taps; with more, they are a loop */
    GROUP_PIXELS = 128,    /* images are taken together for the weights' gradient up to this many pixels ... */
    GROUP_FLOATS = 131072, /* ... and this much scratch */
    UNROLL_LIMIT = 20000,  /* multiply-adds of a tile that `unroll: full` may make */
};

/* An image in scratch. Blocked: element (c, y, x) at ((c / 16 * rows + y + top) * cols + x + left) * 16 + c % 16.
 * Plain: at (c * rows + y + top) * cols + x + left. The halo around h x w holds `fill`. */
typedef struct Image {
    Shape shape;
    int top, left, rows, cols;
    bool plain, filled; /* filled: it has a halo that must be set */
    bool minus_inf;     /* the halo's value: -infinity (max pooling) or 0 */
    int64_t floats;
    int copies; /* in scratch, one behind the other: of the images that one walk over the weights' gradient takes */
    int64_t at; /* offset in the thread's scratch, set by memory */
    const char *name; /* in the emitted code */
    bool row;         /* a row of a matrix in the arena (linear), not in scratch */
} Image;

typedef enum StepKind {
    STEP_FORWARD,   /* v[out] = op(v[in]) */
    STEP_AFFINE,    /* v[out] = v[in] * scale + shift: a norm at inference that could not be folded */
    STEP_MASK,      /* v[out] = 1 where dropout keeps the element (trace) */
    STEP_STORE,     /* v[in] is stored for backward */
    STEP_STATS,     /* v[in] enters the statistics of norm op */
    STEP_BACK,      /* g through op; reads v[in], its input, or v[out], its output, as op_info says */
    STEP_NORM_BACK, /* g through the barrier op, whose input is v[in] */
    STEP_SUMS,      /* g and g * xhat enter the sums of norm op, whose input is v[in] */
} StepKind;

typedef struct Step {
    StepKind kind;
    int op;
    int in, out;
    bool first_lanes; /* the result's padding channels must be zeroed: the op does not map 0 to 0 */
} Step;

typedef enum Where {
    NOWHERE,
    AT_SLOT,  /* a tensor in the arena: blocked, no halo */
    AT_X,     /* the network's input: NCHW */
    AT_IMAGE, /* an image in scratch */
    AT_CORE,  /* the register that the core hands over */
} Where;

/* One walk over the pixels of an image, or what a core calls for each register it finishes. A window op (pooling, flatten)
 * can only stand at its head.
 * Forward: v[first] comes from `from`, through `window` if there is one; then the steps; the result goes `to` an image.
 * Backward: g comes from `from`; v[first] is recomputed: read where `value` says, through `window` if the value is an
 * image; the result goes `to` a slot or an image, or is scattered through `window` into `scatter`. */
typedef struct Run {
    const char *name; /* "in0", "dout1" */
    bool back;
    Shape shape;      /* the pixels it visits */
    int first;        /* index of the first value, v[first] */
    int last;         /* forward: index of the value that goes to `to` */
    int window;       /* op, or -1 */
    Where from, value, to;
    int from_image, value_image, to_image, scatter_image; /* index in Kernel.image, -1: none */
    bool route;       /* the window's winners are in the arena: written forward, read backward */
    bool bias;        /* the value that comes in lacks the weight op's bias */
    bool bias_grad;   /* its results are summed: the bias's gradient */
    int stats, sums;  /* norm op, or -1 */
    Step *step;
    int nstep;
} Run;

typedef struct Chain {
    Run *run;
    int n;
} Chain;

/* What a span keeps. Slots are float offsets for one image; the arena holds batch times as much. */
typedef struct Span {
    int *op; /* graph ops, in order */
    int nop;
    Shape *shape;     /* of t[0] .. t[nop] */
    int stored;       /* index of the stored tensor */
    bool from_input;  /* t[0] is the network's input: nothing is stored, x is read again */
    int *cut;         /* indices of tensors; gradients are stored there */
    int *cut_op;      /* the norm right before the cut, or -1 */
    int ncut;
    bool *cut_grad;   /* the gradient at the cut is needed at all */
    bool *cut_kept;   /* something before the cut reads the stored gradient (else only the norm's sums are needed) */
    int64_t stored_slot, *grad_slot;
    int *route;       /* max-pool ops whose winners are stored */
    int64_t *route_slot;
    int nroute;
    const char *why;  /* of the choice of the stored tensor, for people */
} Span;

/* ---- cores: a weight op on packed scratch ---- */

typedef struct Tap {
    int64_t x, w; /* float offsets */
} Tap;

/* A register tile: rows x cols output pixels x vectors channel blocks. */
typedef struct Tile {
    int rows, cols;
} Tile;

/* out[y][x][block] = sum over blocks, kernel rows, taps, lanes of x[...] * w[...]: a forward pass, or one class of a backward-data
 * pass (the input pixels that share a set of taps under a stride). Lanewise, lane l of x meets lane l of w, and blocks are the
 * channels that an output sums; else a lane of x is broadcast to the 16 outputs of a block. */
typedef struct Core {
    bool lanewise;
    int share;                /* output blocks that read the same x, a group of the conv; 0: all */
    int64_t x_group;          /* from one such x to the next */
    int blocks;               /* input channel blocks (or plain channels): a loop */
    int64_t x_block, w_block;
    int rows;                 /* kernel rows kept as a loop; 1 where the taps hold them all */
    int64_t x_row, w_row;
    Tap *tap;
    int ntap;
    int lanes;                /* channels inside a block: the inner loop */
    int out_blocks;
    int64_t w_out;            /* weights of one output block */
    int vectors;              /* output blocks a tile */
    int h, w;                 /* output pixels of this class */
    int64_t x_origin, x_y, x_x; /* x offset of output pixel (y, x): origin + y * x_y + x * x_x */
    int y0, x0, ystep, xstep; /* output pixel (y, x) stands at (y0 + y * ystep, x0 + x * xstep) of its image */
    Tile tile[4];             /* full, right edge, bottom edge, corner; rows or cols 0: there is none */
    const char *name;
} Core;

/* dw[...] += sum over pixels of x * dz: `acc` lists the accumulators, each with its offset in x and in dw. */
typedef struct WeightCore {
    bool lanewise;
    int share;
    int64_t x_group;
    int blocks;
    int64_t x_block, w_block;
    int rows;
    int64_t x_row, w_row;
    int lanes, step;          /* channels inside a block (lanewise: taps of a row), and how many of them a tile takes */
    int64_t x_lane;
    Tap *acc;
    int nacc;
    int out_blocks, vectors;
    int64_t w_out;
    int h, w;                 /* pixels of dz */
    int64_t x_y, x_x, z_origin, z_y, z_x, z_block;
    int images;               /* how many a walk takes: adding to dw costs a small image more than its pixels do */
    int64_t x_image, z_image;
} WeightCore;

typedef enum KernelKind { KERNEL_CONV, KERNEL_LINEAR, KERNEL_PASS, KERNEL_LOSS } KernelKind;

/* What stands in an emitted struct for an op that a kernel's stages name: "bn", or "in_bn" where it is another layer's. */
typedef struct Alias {
    int op;
    const char *name;
} Alias;

typedef struct Kernel {
    KernelKind kind;
    const char *name;  /* "conv2", "loss"; of files and symbols */
    int op;            /* weight op or loss; for a pass, the norm whose statistics it takes */
    int before, after; /* spans; -1: none. A pass has none after it: it stores nothing. */
    int cut;           /* pass: it takes the statistics of this cut's norm and stands behind cut - 1 */
    Chain in, out;     /* forward */
    Chain again;       /* what backward recomputes of `out` */
    Chain dout, din;   /* backward */
    Chain trace_in, trace_out; /* one run a stage, before and after the weight op */
    Chain pre, post;   /* inference: before (first weight op only) and after */
    Image *image;      /* of training: what in, out, again, dout, din name */
    int nimage;        /* tile adds the gathered ones */
    int x, y, dz, dx;  /* of these: packed input, linear's output, packed gradient, gradient of the packed input; -1: none */
    Image *trace_image, *infer_image; /* what trace, and pre and post name. infer_image[0] is the input, [1] the output */
    int ntrace_image, ninfer_image;
    bool back_data;    /* the gradient of its input is needed */
    bool plain;        /* its packed input is plain */
    bool lanewise;     /* a conv whose groups are no whole blocks of channels: lane meets lane */
    int xg, zg;        /* lanewise: the packed input and gradient, gathered so that they do; -1: x and dz stand so already */
    int infer_xg;      /* of infer_image */
    Core forward, *data; /* data: a class each */
    int ndata;
    WeightCore weight;
    bool has_backward; /* a pass on the input has none */
    Alias *alias;
    int nalias, nalias_train; /* those of inference stand behind training's */
    const char *core_name; /* core_<...>.h */
    /* weights */
    int wparam, bparam; /* in Graph.param, -1 */
    int64_t w_floats;   /* padded */
    int64_t wt_floats;  /* transposed copy for backward-data, 0: none */
    int64_t scratch_train, scratch_infer; /* floats of a thread */
    /* linear: float offsets for one image of the matrices packed for the GEMMs (-1: none) */
    int64_t mat_x, mat_y, mat_dz, mat_dx, mat_back_x;
    /* inference */
    int *fold;          /* norms folded into its weights */
    int nfold;
    int64_t fold_w, fold_b;
    Core infer;         /* its forward core at inference */
    const char *infer_core;
} Kernel;

/* A norm at inference that stays a multiply-add. */
typedef struct Affine {
    int op;
    int64_t at; /* scale, then shift, in the folded weights */
} Affine;

typedef struct Norm {
    int op;
    int area;    /* pixels of an image */
    int padded;  /* channels rounded up to 16 */
    int64_t floats, doubles; /* offsets in the arena's norm parts */
    int64_t running;         /* of running_mean in cvy_net.running; running_var follows, padded */
    const char *inference;   /* what happens to it at inference and why, for people */
} Norm;

typedef enum TargetKind { TARGET_AVX512, TARGET_AVX2, TARGET_PORTABLE } TargetKind;
typedef struct Target {
    TargetKind kind;
    const char *name, *macro, *flags;
    int registers; /* vf that fit the register file */
} Target;
extern const Target targets[]; /* by TargetKind; name NULL ends */
const Target *target_find(const char *name); /* "native" resolves to this machine's; NULL: unknown */

typedef struct Plan {
    const Graph *g;
    const Target *target;
    Span *span;
    int nspan;
    Kernel *kernel; /* in forward order; the last one is the loss */
    int nkernel;
    Norm *norm;
    int nnorm;
    Affine *affine;
    int naffine;
    int64_t *param_at; /* float offset of each Graph.param in cvy_net.param or .running, or index in .batches */
    int64_t param_floats, running_floats;
    int pieces;
    /* arena, floats */
    int64_t image_floats;   /* for each image of the batch */
    int64_t norm_floats, norm_doubles;
    int64_t wt_floats;
    int64_t *wt_at;         /* by kernel */
    int64_t partial_floats; /* one piece's weight gradients, of the largest kernel */
    int64_t partial_bias;   /* doubles */
    int64_t fold_floats;
    int64_t scratch;        /* a thread, floats, training */
    int64_t scratch_infer;
    int64_t infer_ends;     /* floats of each of the two images that kernels hand over at inference */
    int64_t stored_bytes;   /* an image: what forward keeps for backward, input and logits aside */
    int64_t trace_floats;   /* an image */
    int min_batch;
} Plan;

Norm *plan_norm(const Plan *p, int op);
/* Whether a conv's cores are lanewise: of several groups, unless a group's channels are whole blocks on both sides. */
bool plan_lanewise(const Graph *g, const Op *o);
const char *plan_alias(const Kernel *k, int op);
int blocks_of(int channels);

/* needs: a checked graph after grad; sets: everything but cores, offsets, scratch. Collected errors and NULL where it cannot. */
Plan *fuse_build(const Graph *g, const Target *t);
/* needs: fuse; sets: cores with their tiles. */
void tile_build(Plan *p);
/* needs: tile; sets: every offset and size. Collected errors where a size overflows. */
bool memory_build(Plan *p);
void plan_check(const Plan *p);
void plan_dump(const Plan *p, FILE *to);    /* -d plan: golden */
/* `convoy plan`: the kernels in words; with `layer`, only those that run one of its stages. */
void plan_explain(const Plan *p, const char *layer, FILE *to);

/* The three passes and their checkers. */
Plan *plan_build(const Graph *g, const Target *t);

#endif
