/* plan.h - how a graph becomes kernels. Every decision is here when emit starts; emit only prints.
 *
 * A kernel is a weight op, the loss, or a pass. Between kernels stand *nodes*: tensors that are stored, or that a norm
 * takes statistics of, or that several ops read. A kernel gets at what it reads by *ways*: from a node's stored tensor
 * through stages that are computed as they are needed. What stands behind a weight op up to its node is its *out* way.
 * In training every node has one gradient, to which its readers add in the order in which backward runs. */
#ifndef PLAN_H
#define PLAN_H

#include "graph.h"

enum {
    LANES = 16,
    PLAIN_MAX = 3,
    /* what may be unrolled, a function at a time: a budget for the whole network would make one layer's change move
       another */
    UNROLL_TAPS = 9,        /* a conv's taps; with more, the kernel's rows stay a loop */
    UNROLL_TILE = 2000,     /* multiply-adds of a register tile with its taps */
    UNROLL_PIXELS = 16,     /* pixels of a row in the weights' gradient */
    BAND_FLOATS = 7168,     /* what a band of rows may take of the first cache: 28 of 32 KB */
    UNROLL_WINDOW = 64,     /* a pooling window's taps; with more, they are a loop */
    GROUP_PIXELS = 128,     /* images are taken together for the weights' gradient up to this many pixels, ... */
    GROUP_FLOATS = 131072,  /* ... this much scratch, ... */
    GROUP_WALK = 4096,      /* ... and this much of the first cache (16 of 32 KB), if ... */
    GROUP_WEIGHTS = 131072, /* ... the weights are no more than the second cache takes */
    UNROLL_LIMIT = 20000,   /* multiply-adds of a tile that `unroll: full` may make */
    RECOMPUTE_MOST = 16,    /* stages that readers go through again to save a tensor; with more, a pass stores it */
    WALKS_MOST = 200000,    /* of a plan: stages that its kernels walk, and for each tensor that one reads ... */
    READ_WALKS = 8,         /* ... as many as this */
    GROUP_KEPT = 5,
    GROUP_KEPT_INFER = 3, /* floats a group of an image norm: CVY_GN_KEPT, CVY_GN_STATS */
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
    bool given;       /* another kernel's or the caller's, not in scratch */
    bool shared;      /* ways write parts of its blocks: cleared once, so that padding channels are zero */
} Image;

/* ---- flow: nodes and ways (flow.c) ---- */

typedef struct Side Side;

typedef struct Link {
    int op;     /* in graph */
    int first;  /* behind a concat: the channel of the op's input that is channel 0 of this way */
    Side *side; /* add: its other operands */
    int nside;
} Link;

/* From a tensor through stages. link[i] makes value i + 1 of value i. */
typedef struct Way {
    int node; /* where it begins, or -1: at the core */
    Link *link;
    Shape *shape; /* of values 0 .. n */
    int n;
    int grad; /* the node's own value: links before it recompute it from what is stored, its gradient is taken there */
    int first, total; /* what it makes is channels [first, first + shape[n].c) of `total` */
} Way;

/* The run that read a side last, by its name, and the side's number there. */
typedef struct SideSeen {
    const char *run;
    int at;
} SideSeen;

/* Another operand of a join, read where the join is: point stages alone. */
struct Side {
    SideSeen *seen; /* while runs are built */
    Way way;
    int pad; /* op through which the node's tensor is read, or -1 */
};

/* Why an op's output is a node. */
typedef enum Anchor {
    ANCHOR_STATS = 1,   /* a norm takes its statistics */
    ANCHOR_MANY = 2,    /* several ops read it */
    ANCHOR_SIDE = 4,    /* a sum reads it by the side, and cannot go the way to it by itself */
    ANCHOR_TENSOR = 8,  /* a concat that a sum or a pad reads as one tensor, or what a sum or a pad reads behind one */
    ANCHOR_STORED = 16, /* what a weight op stores: its way ends there */
    ANCHOR_CUT = 32,    /* likewise, but the way goes on: what stands behind is made by a pass */
    ANCHOR_RESULT = 64, /* the network's result */
} Anchor;

/* A tensor on a weight op's out way that could be the stored one. */
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
    int root;    /* node; itself where it is stored, or the input */
    Link *link;  /* from what is stored to its value */
    Shape *shape;
    int nlink;
    int stored_op;   /* op whose output is stored */
    bool kept;       /* backward reads what is stored (memory) */
    bool recomputed; /* of a segment: made again in backward, not kept till then (memory) */
    bool grad;       /* its gradient is wanted */
    bool given;      /* a kernel before, in backward, gives to it: others add */
    const char *why; /* of the choice of what is stored, for people */
    unsigned anchor; /* why it is a node: bits of Anchor */
    bool by_side;    /* a sum or a pad reads it where it stands */
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

/* ---- runs ---- */

typedef enum StepKind {
    STEP_FORWARD,     /* v[out] = op(v[in]) */
    STEP_AFFINE,      /* v[out] = (v[in] - mean) * scale + shift: a norm at inference that could not be folded */
    STEP_MASK,        /* v[out] = 1 where dropout keeps the element (trace) */
    STEP_SIDE,        /* v[out] = the tensor of side `side` at this pixel */
    STEP_ADD,         /* v[out] = v[in] + v[in2] */
    STEP_STORE,       /* v[in] is stored for backward */
    STEP_STATS,       /* v[in] enters the statistics of the kernel's node */
    STEP_IMAGE_STATS, /* v[in] enters the statistics of this image of the kernel's node */
    STEP_BACK,        /* g through op; reads v[in], its input, or v[out], its output, as op_info says */
    STEP_CORRECT,     /* g of the kernel's node, whose value is v[in]: what its norms' means and variances take away */
    STEP_CORRECT_IMAGE, /* the same of its image norms */
    STEP_SUMS,          /* g and g * xhat enter the sums of norm op, whose input is v[in] */
    STEP_SCALE,         /* g through norm op, but for what STEP_CORRECT does once all sums are known */
    STEP_SPLIT,         /* g<g> = g: what a join gives to its operand */
    STEP_GIVE,          /* g<g> goes to the gradient of side `side` */
} StepKind;

typedef struct Step {
    StepKind kind;
    int op;
    int in, in2, out;
    int first;        /* Link.first */
    int channels;     /* of the values */
    int g, side;      /* which gradient (0: the run's own), Run.side */
    bool adds;        /* STEP_GIVE: to what is there */
    bool first_lanes; /* the result's padding channels must be zeroed: the op does not map 0 to 0 */
} Step;

typedef enum Where {
    NOWHERE,
    AT_SLOT,  /* a node's tensor in the arena: blocked, no halo */
    AT_X,     /* the network's input: NCHW */
    AT_IMAGE, /* an image in scratch */
    AT_CORE,  /* the register that the core hands over */
} Where;

/* A place where values lie: the whole of a tensor, or channels [first, first + the run's) of `total`. */
typedef struct Place {
    Where where;
    int image; /* AT_IMAGE: in the phase's images; -1: the core's result (linear) */
    int port;  /* AT_SLOT, AT_X: Kernel.port */
    int first, total;
    Shape shape; /* of the whole tensor */
} Place;

/* What a kernel is given of a node. */
typedef struct Port {
    int node;
    const char *name; /* "in", "out", "side2" */
    bool value, grad; /* which of both */
} Port;

typedef struct SideRead {
    const Side *side;
    Place from;
    int *value; /* numbers of its way's values in this run, -1 where not computed */
} SideRead;

/* One walk over the pixels of an image, or what a core calls for each register it finishes. A window op (pooling,
 * flatten, pad) can only stand at its head. Forward: v[first] comes from `from`, through `window` if there is one; then
 * the steps; the result goes `to` an image. Backward: g comes from `from`; v[first] is recomputed: read where `value`
 * says, through `window` if the value is an image; the result goes `to` a slot or an image, or is scattered through
 * `window` into `scatter`. */
typedef struct Run {
    const char *name;   /* "in0", "dout1" */
    const char *shared; /* inference: the name of the kernel's run in training that does the same, whose functions it
                           has; NULL: it has its own */
    bool back;
    Shape shape; /* the pixels it visits */
    int first;   /* index of the first value, v[first] */
    int last;    /* forward: index of the value that goes to `to` */
    int next;    /* the first number that no value has */
    int grads;   /* gradients besides its own */
    int window;  /* op, or -1 */
    Place from, value, to;
    int scatter_image;       /* -1: none */
    bool adds;               /* the result is added to what is there */
    bool several;            /* its core takes several images at once */
    bool route;              /* the window's winners are in the arena: written forward, read backward */
    bool bias;               /* the value that comes in lacks the weight op's bias */
    bool bias_grad;          /* its results are summed: the bias's gradient */
    bool stats, image_stats; /* of the kernel's node, whose channels [stats_first, ...) these are */
    int stats_first;
    int store_first, store_total;
    SideRead *side;
    int nside;
    Step *step;
    int nstep;
} Run;

typedef struct Chain {
    Run *run;
    int n;
} Chain;

/* ---- cores: a weight op on packed scratch ---- */

typedef struct Tap {
    int64_t x, w;   /* float offsets */
    int at_y, at_x; /* the pixel of the unpadded input that it meets at output pixel (0, 0) */
} Tap;

/* A register tile: rows x cols output pixels x vectors channel blocks. Tiles that meet the same padding are one: (y, x)
 * is where the first of them lies. */
typedef struct Tile {
    int rows, cols, y, x;
} Tile;

/* Tiles along some rows: number `tile` at columns from, from + its cols ... below `to`. */
typedef struct Span {
    int tile, from, to;
} Span;
typedef struct Band {
    int from, to, rows; /* a tile's */
    Span *span;
    int nspan;
} Band;

/* out[y][x][block] = sum over blocks, kernel rows, taps, lanes of x[...] * w[...]: a forward pass, or one class of a
 * backward-data pass (the input pixels that share a set of taps under a stride). Lanewise, lane l of x meets lane l of
 * w, and blocks are the channels that an output sums; else a lane of x is broadcast to the 16 outputs of a block. */
typedef struct Core {
    bool lanewise;
    int share;       /* output blocks that read the same x, a group of the conv; 0: all */
    int64_t x_group; /* from one such x to the next */
    int blocks;      /* input channel blocks (or plain channels): a loop */
    int64_t x_block, w_block;
    Tap *tap;                 /* of a row of the kernel */
    int ntap, rows, row_step; /* row_step: pixels of the unpadded input from one row of taps to the next */
    int64_t x_row, w_row;
    bool flat; /* tiles of several rows hold the taps of all rows; else the kernel's rows are a loop there too */
    int lanes; /* channels inside a block: the inner loop */
    int out_blocks;
    int64_t w_out;              /* weights of one output block */
    int vectors;                /* output blocks a tile */
    int h, w;                   /* output pixels of this class */
    int64_t x_origin, x_y, x_x; /* x offset of output pixel (y, x): origin + y * x_y + x * x_x */
    int y0, x0, ystep, xstep;   /* output pixel (y, x) stands at (y0 + y * ystep, x0 + x * xstep) of its image */
    int tiles_refused;          /* by the budget of statements, of the sizes that fit the registers */
    double cycles;              /* of an image, by the cost model */
    int y_step, x_step;         /* pixels of the unpadded input from one output pixel to the next */
    int in_h, in_w; /* of the unpadded input: taps outside are left out. 0: they meet the zeros of the halo */
    Tile *tile;
    int ntile;
    Band *band;
    int nband;
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
    int lanes, step; /* channels inside a block (lanewise: taps of a row), and how many of them a tile takes */
    int64_t x_lane;
    Tap *acc;
    int nacc;
    int out_blocks, vectors;
    int64_t w_out;
    int h, w; /* pixels of dz */
    int y_step, x_step, in_h, in_w, row_at,
        row_step; /* as in Core: what meets padding alone is left out; row_at: of kernel row 0 */
    int64_t x_y, x_x, z_origin, z_y, z_x, z_block;
    int pixels; /* of a row of dz that are unrolled together at most */
    bool kept;  /* sums are kept in their registers: of what is broadcast, none can be an operand in memory */
    bool apart; /* each pixel loads what it reads of x: there are no registers for what it shares with the next */
    int band; /* rows of dz that are walked together: with the rows of x that they meet they stay in the first cache */
    int images; /* how many a walk takes: adding to dw costs a small image more than its pixels do */
    int64_t x_image, z_image;
} WeightCore;

/* A pass by Winograd F(4x4, 3x3): tiles of 4 x 4 outputs are transformed, `block` of them at a time, and multiplied by
 * the transformed weights at each of 36 points. v: transformed tiles [36][blocks][block][16]; m: products
 * [36][vectors][block][16]. The weights' gradient: v and z, of dz, and m [vectors][36][16][16]. Transformed weights u
 * [vectors][36][blocks][16][16] are four times as many as the taps: either they are a copy, or the core makes those of
 * `made` blocks of input channels at a time where it needs them. */
typedef enum Pass { PASS_FORWARD, PASS_DATA, PASS_WEIGHTS } Pass;
typedef struct Winograd {
    bool on, weights;
    int images;              /* that it takes at once */
    int h, w, across, tiles; /* pixels and tiles of an image that it gives (weights: of dz) */
    int blocks, lanes, out_blocks;
    int block;
    int rows, vectors; /* register tile: rows tiles (weights: input channels) x vectors channel blocks */
    int full; /* so many of a block's tiles are in register tiles of `rows`, the others in those of a row less */
    int rows_alone, full_alone; /* the same where the tiles are of one image, fewer than a block; 0: they are as many */
    int made; /* blocks of input channels whose weights it transforms at a time, from the taps; 0: it reads a copy */
    int64_t x_image, x_row, x_block, x_origin;
    int64_t z_image, z_row, z_block, z_origin;
    int64_t v_block, v_point, z_point, z_at, m_point, m_at, u_point, u_at,
        work; /* floats, in its work space; its size */
} Winograd;

typedef enum KernelKind { KERNEL_CONV, KERNEL_LINEAR, KERNEL_PASS, KERNEL_LOSS } KernelKind;

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

/* A conv and a linear have: stages after their core up to a node, weights, a core. */
typedef struct WeightPart {
    Way out;           /* from the core to the node */
    Chain after;       /* of `out` */
    Chain again, dout; /* backward: what it recomputes of `after`; dz, through the stages of `out` */
    int x, dz;         /* images: the packed input, the packed gradient (of training) */
    Core forward;
    const char *core_name; /* core_<...>.h */
    int wparam, bparam;    /* in Graph.param; no bias: -1 */
    int64_t w_floats;      /* padded */
    int64_t fold_floats;   /* the folded weights */
    /* inference */
    bool direct; /* the core reads the node as it lies, nothing is packed */
    int *fold;   /* norms folded into its weights */
    int nfold;
    int fold_stop; /* the first op of its out way behind which no norm is folded, or -1 */
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
    WeightCore weight;
    Winograd winograd[3]; /* by Pass; see kernel_winograd */
    int64_t wt_floats;    /* transposed copy for backward-data, 0: none */
    int64_t wu_floats;    /* Winograd's copy for forward, 0: none */
} ConvPart;

/* Images of rows: the product; the gradient of the packed input, -1: it is not needed. Float offsets for one image of
 * the matrices packed for the GEMMs; mat_dx where there is a dx. */
typedef struct LinearPart {
    int y, dx;
    int64_t mat_x, mat_y, mat_dz, mat_dx, mat_back_x;
} LinearPart;

/* Images: the logits, their gradient. */
typedef struct LossPart {
    int x, dx;
} LossPart;

/* What all kernels have, and what those of a kind do: the parts of other kinds are NULL. A pass has no more. */
typedef struct Kernel {
    KernelKind kind;
    const char *name; /* "conv2", "loss"; of files and symbols */
    const char
        *tag; /* what the names of its runs begin with: "conv2" too, until a file holds others' runs beside them */
    int op;   /* weight op or loss; for a pass, its node's op */
    const char *layer; /* whose stages are its own */
    int node;          /* that it makes; -1: the loss */
    Way *in;           /* of what its core reads, or of what a pass makes; several behind a concat */
    int nin;
    Port *port;
    int nport;
    Chain *before; /* forward, one an `in` way */
    Chain *din;    /* backward, one an `in` way */
    Chain trace;
    Image *image; /* what before, after, again, dout, din name */
    int nimage;   /* tile adds the gathered ones */
    Image *trace_image;
    int ntrace_image;
    int trace_core; /* run of `trace` that takes the core's result, -1 */
    bool back_data; /* the gradient of its input is needed */
    bool has_forward, has_backward;
    bool runs_again; /* in backward, to make its node again (schedule) */
    Alias *alias;
    int nalias;
    const Alias **alias_by_op; /* the same in the order of ops */
    ImageNorm *image_norm;
    int nimage_norm;
    int64_t image_stats,
        image_back;  /* where image norms read its node: scratch for an image's sums, and for what they take away */
    int64_t scratch; /* floats of a thread */
    /* inference */
    int result;         /* image that is its node; -1: it makes nothing, the statistics of the input are taken */
    int64_t scratch_at; /* in the thread's part */
    WeightPart *w;      /* conv and linear */
    ConvPart *conv;
    LinearPart *linear;
    LossPart *loss;
} Kernel;

/* A norm at inference that stays a multiply-add; or an image norm. */
typedef struct Affine {
    int op;
    int64_t at; /* mean, scale, shift, in the folded weights; of an image norm gamma, beta */
} Affine;

typedef enum NormPlace { NORM_FOLDED, NORM_EPILOGUE, NORM_PROLOGUE } NormPlace;

typedef struct Norm {
    int op;
    int area;   /* pixels of an image */
    int padded; /* channels rounded up to 16, and 16 more where a way reads them from a channel that begins no block */
    bool shifted;
    int64_t floats, doubles; /* offsets in the arena's norm parts */
    int64_t slot;          /* image norms: an image's means and so on, GROUP_KEPT floats a group, in the images' part */
    int64_t infer_slot;    /* the same at inference, in the thread's part */
    int64_t running;       /* of running_mean in cvy_net.running; running_var follows, padded */
    const char *inference; /* what happens to it at inference and why, for people */
    bool applied;          /* at inference: it is in Plan.affine */
    NormPlace place;       /* at inference */
    int kernel;            /* of Plan.infer, that folds or applies it */
    int stopped_by;        /* the op between it and the weight op that keeps it from being folded, or -1 */
} Norm;

typedef enum TargetKind { TARGET_AVX512, TARGET_AVX2, TARGET_NEON, TARGET_PORTABLE } TargetKind;
typedef struct Target {
    TargetKind kind;
    const char *name, *macro, *flags;
    int registers; /* vf that fit the register file */
    int parts;     /* registers that a vf takes */
} Target;
extern const Target targets[];               /* by TargetKind; name NULL ends */
const Target *target_find(const char *name); /* "native" resolves to this machine's; NULL: unknown */

/* What one call of a kernel does. */
typedef enum Phase { PHASE_FORWARD, PHASE_BACKWARD, PHASE_AGAIN, PHASE_INFER } Phase;

/* A kernel's turn in a training step. Each kernel has one forward and one backward; what does nothing there keeps its
 * turn, in which memory counts the lifetimes of tensors. */
typedef struct TrainStep {
    int kernel;
    Phase phase;
    bool runs; /* it is called */
} TrainStep;

typedef struct Plan {
    const Graph *g;
    const Target *target;
    bool fold;               /* at inference, norms go into weights where they can; else each is a multiply-add */
    bool compact;            /* weights become C: `winograd: auto` makes no transformed copies of those of inference */
    int64_t spared;          /* floats that such copies would add to them */
    Winograd (*winograd)[3]; /* by op and Pass */
    double winograd_held;    /* bytes of all transformed weights */
    Tensor *node;            /* of training; by key */
    int nnode;
    Kernel *kernel; /* in forward order; the last one is the loss */
    int nkernel;
    TrainStep *step; /* of a training step, in the order in which they run */
    int nstep;
    Tensor *infer_node;
    int ninfer_node;
    Kernel *infer; /* kernels of inference: weight ops and passes */
    int ninfer;
    Image *infer_image; /* of its nodes */
    int ninfer_image;
    int logits; /* node of inference that is the result */
    Norm *norm;
    int nnorm;
    Affine *affine;
    int naffine;
    int64_t *param_at; /* float offset of each Graph.param in cvy_net.param or .running, or index in .batches */
    int64_t param_floats, running_floats;
    int pieces;
    /* arena, floats */
    int64_t image_floats; /* for each image of the batch */
    int64_t image_bound;  /* what is alive at once, at most: no placement needs less */
    int64_t norm_floats, norm_doubles;
    int64_t
        copy_floats; /* of the weights in another layout, which a kernel makes before it runs: room for the largest */
    int64_t partial_floats; /* one piece's weight gradients, of the largest kernel */
    int64_t partial_bias;   /* doubles */
    int64_t fold_floats;
    int64_t scratch; /* a thread, floats, training */
    int64_t scratch_infer, infer_bound;
    int64_t stored_bytes; /* an image: what forward keeps for backward, the input aside */
    int64_t trace_floats; /* an image */
    int min_batch;
    const char **sum_why; /* by op, of an add: where it is done, in training, and why there */
} Plan;

Norm *plan_norm(const Plan *p, int op);
/* Whether a conv's cores are lanewise: of several groups, unless a group's channels are whole blocks on both sides. */
bool plan_lanewise(const Graph *g, const Op *o);
/* Whether a place's channels begin or end inside a block that others share. */
bool plan_shifted(const Place *p, int channels);
/* Norms whose backward sums kernel k takes: op, the node under it, the norm's channel at which that stands. Returns how
 * many. */
typedef struct NormSum {
    int op, node, first;
} NormSum;
int plan_sums(const Plan *p, const Kernel *k, NormSum **list);
const char *plan_alias(const Kernel *k, int op);
int plan_pieces(int batch);
int blocks_of(int channels);
int64_t blocked_floats(Shape s);

/* The way and the chains of what stands behind a kernel's core; empty where it has none. */
typedef enum ChainOf { CHAIN_AFTER, CHAIN_AGAIN, CHAIN_DOUT } ChainOf;
const Way *kernel_out(const Kernel *k);
const Chain *kernel_chain(const Kernel *k, ChainOf which);
/* How a pass of a kernel runs by Winograd; NULL: it does not. */
const Winograd *kernel_winograd(const Kernel *k, Pass pass);
/* The image that a kernel's ways lead to: packed input, logits, the result of a pass of inference; -1: a pass of
 * training stores what it makes. */
int kernel_input(const Kernel *k);
/* The kernel of an op, in a list that is in the order of ops, as those of a plan are; NULL: none. */
const Kernel *plan_kernel(const Kernel *list, int n, int op);

/* flow.c. needs: a checked graph after grad. sets: nodes, and kernels with their ways, in order, of training or
 * inference. False and an error at a layer's line where they are more than WALKS_MOST. */
bool flow_build(Plan *p, bool infer);
/* fuse.c. needs: flow. sets: chains of runs, images in scratch, ports, what happens to each norm at inference. */
void fuse_build(Plan *p);
/* tile.c. needs: fuse; sets: cores with their tiles. */
void tile_build(Plan *p);
/* The tile that covers most pixels of an image: what stands for all of them in words. */
const Tile *tile_main(const Core *c);
/* Whether a weight core's accumulator reads a pixel, no padding, at column x of dz. */
bool weight_meets_x(const WeightCore *c, const Tap *acc, int x);
/* Whether tiles of that many rows walk the kernel's rows in a loop: a one-row tile leaves out those that meet padding
 * alone. */
bool tile_loops(const Core *c, int rows);
/* Whether output row y (column x) meets a pixel, no padding, with a tap of kernel row `row`. */
bool tile_meets_y(const Core *c, const Tap *tap, int row, int y);
bool tile_meets_x(const Core *c, const Tap *tap, int x);
/* Cycles an image, by tile.c's model, of a 3 x 3 conv of stride 1 with `in` channels and outputs `out`; weights: of its
 * weights' gradient. */
double tile_direct_cycles(const Target *t, Shape out, int in, bool weights);
/* winograd.c. Before flow: which passes run by Winograd and how, from the graph alone. Then the room that the last
 * tiles need in packed images, and a kernel's passes, once its images are there. */
void winograd_choose(Plan *p);
/* Multiply-adds of an image that a core does: padding channels with them, padding taps where they are not left out;
 * Winograd's without its transforms. */
int64_t core_products(const Core *c);
int64_t weight_products(const WeightCore *c);
int64_t winograd_products(const Winograd *w);
/* Whether the weights that it reads are transformed ones; NULL: no. */
bool winograd_transformed(const Winograd *w);
void winograd_grow_x(const Plan *p, int op, Image *xs);
void winograd_grow_dz(const Plan *p, int op, bool data, Image *dz);
/* needs: tile; sets: the cores that run by Winograd. */
void winograd_build(Plan *p);
/* memory.c. needs: tile; sets: every offset and size. Collected errors where a size overflows. */
bool memory_build(Plan *p);
int64_t affine_floats(const Plan *p, const Affine *a); /* Floats of its constants. */
/* schedule.c. needs: fuse, and which nodes are recomputed; memory.c calls it. sets: Plan.step, Kernel.runs_again. */
void schedule_build(Plan *p);
int plan_segment(const Plan *p,
                 const Kernel *k); /* that it belongs to, whose tensors are made again for backward; 0: none */
/* NULL; or in words, a kernel whose turn in Plan.step is too soon, too late, one too many or missing. */
const char *plan_misordered(const Plan *p);
/* cost.c. needs: a complete plan. What one pass of a kernel costs. */
typedef struct Cost {
    double useful, executed; /* FLOPs of an image: 2 x multiply-adds of the weight op, and those that its cores do */
    double image_bytes, step_bytes; /* to and from memory: for each image, and for a step of any number of them */
} Cost;
Cost plan_cost(const Plan *p, const Kernel *k, Phase phase);
void plan_check(const Plan *p);
/* slots.c. NULL; or in words, a tensor that another lies over while it is needed, in training, inference or scratch. */
const char *plan_overlap(const Plan *p);
void plan_dump(const Plan *p, FILE *to);    /* -d plan: golden */
void plan_explain(const Plan *p, FILE *to); /* `convoy plan`: the kernels in words */

/* A kernel of training in words; NULL where there is nothing to say. */
typedef struct KernelWords {
    const char *kind, *reads, *before, *after, *stored, *stored_size, *stored_why, *tile, *winograd, *bias;
} KernelWords;
KernelWords plan_words(const Plan *p, const Kernel *k);
/* A step in those words, "conv2.bn", "store"; NULL: none is said of it. */
const char *plan_step_text(const Plan *p, const Run *r, const Step *s);
int64_t plan_node_bytes(const Plan *p, const Tensor *nd); /* of an image that it stores, winners of windows included */

/* The passes and their checkers. */
Plan *plan_build(const Graph *g, const Target *t);
Plan *plan_build_as(const Graph *g, const Target *t, bool fold, bool compact); /* see Plan */
bool plan_fits(const Graph *g); /* its budget alone, at a fraction of the time; errors are collected */

#endif
