/* plan.h - how a graph becomes kernels. Every decision is here when emit starts; emit only prints.
 *
 * The parts of a plan, from the bottom up: image.h, flow.h (tensors and paths), pixel_pass.h (what is done to pixels),
 * core.h and winograd.h (the loops of weight ops), kernel.h; here the whole, and the passes that make it. */
#ifndef PLAN_H
#define PLAN_H

#include "kernel.h"
#include "runtime.h"

/* A norm at inference that stays a multiply-add; or an image norm. */
typedef struct Affine {
    int op;
    int64_t at; /* mean, scale, shift, in the folded weights; of an image norm gamma, beta */
} Affine;

typedef enum NormPlace { NORM_FOLDED, NORM_EPILOGUE, NORM_PROLOGUE } NormPlace;

typedef struct Norm {
    int op;
    int area;   /* pixels of an image */
    int padded; /* channels rounded up to 16, and 16 more where a path reads them from a channel that begins no block */
    bool shifted;
    int64_t floats, doubles; /* offsets in the arena's norm parts */
    int64_t slot;       /* image norms: an image's means and so on, CVY_GN_KEPT floats a group, in the images' part */
    int64_t infer_slot; /* the same at inference, in the thread's part */
    int64_t running;    /* of running_mean in cvy_net.running; running_var follows, padded */
    const char *inference; /* what happens to it at inference and why, for people */
    bool applied;          /* at inference: it is in Plan.affine */
    NormPlace place;       /* at inference */
    int kernel;            /* of Plan.infer, that folds or applies it */
    int stopped_by;        /* the op between it and the weight op that keeps it from being folded, or -1 */
} Norm;

/* What one call of a kernel does. */
typedef enum Phase { PHASE_FORWARD, PHASE_BACKWARD, PHASE_AGAIN, PHASE_INFER } Phase;

/* A kernel's turn in a training step. Each kernel has one forward and one backward; what does nothing there keeps its
 * turn, in which memory counts the lifetimes of tensors. */
typedef struct TrainStep {
    int kernel;
    Phase phase;
    bool runs; /* it is called */
} TrainStep;

/* The parts of the memory that the caller provides, one after the other, in floats: whole lines of 64 bytes. First the
 * network's struct, of a network that trains or not. */
typedef struct Arena {
    int64_t struct_bytes[2];
    int64_t param, running, batches, folded; /* at all times */
    int64_t learning;                        /* the part of param that is not frozen */
    int64_t state, norm, sums, copy, dw, db; /* of training */
    int64_t image;                           /* for each image of the batch */
    int64_t thread;                          /* for each thread */
    int nbatches;                            /* counters of batches; two floats hold one */
} Arena;

typedef struct Plan {
    const Graph *g;
    const Target *target;
    bool fold;               /* at inference, norms go into weights where they can; else each is a multiply-add */
    bool stream;             /* of an export: inference is one step, whose cells keep a state */
    bool compact;            /* weights become C: `winograd: auto` makes no transformed copies of those of inference */
    int64_t spared;          /* floats that such copies would add to them */
    Winograd (*winograd)[3]; /* by op and Pass */
    double winograd_held;    /* bytes of all transformed weights */
    Tensor *tensor;          /* of training; by key */
    int ntensor;
    Kernel *kernel; /* in forward order; the last one is the loss */
    int nkernel;
    TrainStep *step; /* of a training step, in the order in which they run */
    int nstep;
    Tensor *infer_tensor;
    int ninfer_tensor;
    Kernel *infer; /* kernels of inference: weight ops and passes */
    int ninfer;
    Image *infer_image; /* of its tensors */
    int ninfer_image;
    int logits; /* tensor of inference that is the result */
    Norm *norm;
    int nnorm;
    Affine *affine;
    int naffine;
    int64_t *param_at; /* float offset of each Graph.param in cvy_net.param or .running, or index in .batches */
    int64_t param_floats, running_floats;
    int64_t learning_floats; /* the first of param_floats, which training changes */
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
    bool splits;          /* some kernel of inference is split among threads */
    int64_t stored_bytes; /* an image: what forward keeps for backward, the input aside */
    int64_t trace_floats; /* an image */
    Arena arena;
    int min_batch;
    const char **sum_why; /* by op, of an add: where it is done, in training, and why there */
} Plan;

Norm *plan_norm(const Plan *p, int op);
/* The op's row. */
const OpInfo *op_row(const Graph *g, int op);
bool op_is_window(const Graph *g, int op);
/* Whether a conv's cores are lanewise: of several groups, unless a group's channels are whole blocks on both sides. */
bool plan_lanewise(const Graph *g, const Op *o);
/* Norms whose backward sums kernel k takes: op, the tensor under it, the norm's channel at which that stands. Returns
 * how many. */
typedef struct NormSum {
    int op, tensor, first;
} NormSum;
int plan_sums(const Plan *p, const Kernel *k, NormSum **list);
int64_t arena_fixed_bytes(const Arena *a, bool train); /* of struct and arrays that are there at all times */
int64_t arena_train_bytes(const Arena *a);
int plan_pieces(int batch);
int64_t affine_floats(const Plan *p, const Affine *a); /* Floats of its constants. */
int plan_segment(const Plan *p,
                 const Kernel *k); /* that it belongs to, whose tensors are made again for backward; 0: none */

/* All passes, each with its checker. NULL and collected errors where a size overflows or the plan is too large. */
Plan *plan_build(const Graph *g, const Target *t);
Plan *plan_build_as(const Graph *g, const Target *t, bool fold, bool compact); /* see Plan */
bool plan_fits(const Graph *g); /* its budget alone, at a fraction of the time; errors are collected */

/* NULL; or in words, a kernel whose turn in Plan.step is too soon, too late, one too many or missing. */
const char *plan_misordered(const Plan *p);
/* NULL; or in words, a tensor that another lies over while it is needed, in training, inference or scratch. */
const char *plan_overlap(const Plan *p);

#endif
