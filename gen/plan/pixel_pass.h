/* pixel_pass.h - what a kernel does to pixels, step by step. */
#ifndef RUN_H
#define RUN_H

#include "flow.h"

typedef enum StepKind {
    STEP_FORWARD,     /* v[out] = op(v[in]) */
    STEP_AFFINE,      /* v[out] = (v[in] - mean) * scale + shift: a norm at inference that could not be folded */
    STEP_MASK,        /* v[out] = 1 where dropout keeps the element (trace) */
    STEP_SKIP,        /* v[out] = the tensor of skip operand `skip` at this pixel */
    STEP_ADD,         /* v[out] = v[in] + v[in2] */
    STEP_STORE,       /* v[in] is stored for backward */
    STEP_STATS,       /* v[in] enters the statistics of the kernel's tensor */
    STEP_IMAGE_STATS, /* v[in] enters the statistics of this image of the kernel's tensor */
    STEP_BACK,        /* g through op; reads v[in], its input, or v[out], its output, as op_info says */
    STEP_CORRECT, /* g of the kernel's tensor, whose value is v[in]: what its norms' means and variances take away */
    STEP_CORRECT_IMAGE, /* the same of its image norms */
    STEP_SUMS,          /* g and g * xhat enter the sums of norm op, whose input is v[in] */
    STEP_SCALE,         /* g through norm op, but for what STEP_CORRECT does once all sums are known */
    STEP_SPLIT,         /* g<g> = g: what a join gives to its operand */
    STEP_GIVE,          /* g<g> goes to the gradient of skip operand `skip` */
} StepKind;

typedef struct Step {
    StepKind kind;
    int op;
    int in, in2, out;
    int first;        /* Link.first */
    int channels;     /* of the values */
    int g, skip;      /* which gradient (0: the pass's own), PixelPass.skip */
    bool adds;        /* STEP_GIVE: to what is there */
    bool first_lanes; /* the result's padding channels must be zeroed: the op does not map 0 to 0 */
} Step;

typedef enum Where {
    NOWHERE,
    AT_SLOT,  /* a tensor in the arena: blocked, no halo */
    AT_X,     /* the network's input: NCHW */
    AT_IMAGE, /* an image in scratch */
    AT_CORE,  /* the register that the core hands over */
} Where;

/* A place where values lie: the whole of a tensor, or channels [first, first + the pass's) of `total`. */
typedef struct Place {
    Where where;
    int image; /* AT_IMAGE: in the phase's images; -1: the core's result (linear) */
    int port;  /* AT_SLOT, AT_X: Kernel.port */
    int first, total;
    Shape shape; /* of the whole tensor */
} Place;

/* What a kernel is given of a tensor. */
typedef struct Port {
    int tensor;
    const char *name; /* "in", "out", "skip2" */
    bool value, grad; /* which of both */
} Port;

typedef struct SkipRead {
    const Skip *operand;
    Place from;
    int *value; /* numbers of its path's values in this pass, -1 where not computed */
} SkipRead;

/* One walk over the pixels of an image, or what a core calls for each register it finishes. A window op (pooling,
 * flatten, pad) can only stand at its head. Forward: v[first] comes from `from`, through `window` if there is one; then
 * the steps; the result goes `to` an image. Backward: g comes from `from`; v[first] is recomputed: read where `value`
 * says, through `window` if the value is an image; the result goes `to` a slot or an image, or is scattered through
 * `window` into `scatter`. */
typedef struct PixelPass {
    const char *name;   /* "in0", "dout1" */
    const char *shared; /* inference: the name of the kernel's pass in training that does the same; NULL: none does */
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
    bool stats, image_stats; /* of the kernel's tensor, whose channels [stats_first, ...) these are */
    int stats_first;
    int store_first, store_total;
    /* Of one of many operands of a concat: the pass is given its tensors at run time, and its first channel in the
     * concat, so that operands that differ in these alone are one code. */
    bool joined;
    int joined_first;
    SkipRead *skip;
    int nskip;
    Step *step;
    int nstep;
} PixelPass;

typedef struct Chain {
    PixelPass *pass;
    int n;
} Chain;

/* Whether a place's channels begin or end inside a block that others share. */
bool plan_shifted(const Place *p, int channels);

#endif
