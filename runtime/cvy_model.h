/* cvy_model.h - what an emitted network tells the runtime about itself. The runtime knows no layers: everything it
 * does, from drawing weights to writing checkpoints, it does through this. SPDX-License-Identifier: 0BSD */
#ifndef CVY_MODEL_H
#define CVY_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum cvy_role {
    CVY_WEIGHT,
    CVY_BIAS,
    CVY_GAMMA,
    CVY_BETA,
    CVY_RUNNING_MEAN,
    CVY_RUNNING_VAR,
    CVY_BATCHES,
    CVY_FROZEN = 8 /* added to that of a parameter which training does not change: CVY_WEIGHT | CVY_FROZEN */
};
enum cvy_draw { CVY_CONST, CVY_NORMAL, CVY_UNIFORM }; /* value: the constant, the standard deviation, the bound */

/* Where the elements of a tensor lie: element (i0, i1, ...) stands at
 *     offset + sum over d of (i_d / block[d]) * outer[d] + (i_d % block[d]) * inner[d]       (floats)
 * Elements of padding (channels rounded up to 16) lie between them: zero at first, and no result depends on what a
 * training makes of them. */
struct cvy_layout {
    int ndim, dim[4], block[4];
    int64_t outer[4], inner[4];
    int64_t offset;
};

/* A parameter or a statistic under PyTorch's name and shape. Parameters lie in cvy_net.param, their gradient at the
 * same offset in .grad, and what the optimiser keeps of them in .state (frozen ones have neither); running statistics
 * lie in .running; CVY_BATCHES (ndim 0) is .batches[offset]. */
struct cvy_tensor {
    const char *name;
    enum cvy_role role;
    struct cvy_layout at;
    enum cvy_draw draw;
    float value;
};

/* Numbers [from, to) of a tensor, in C order, begin with that value instead. */
struct cvy_fixed {
    int tensor;
    int64_t from, to;
    float value;
};

/* Head of every emitted network's struct. All memory is the caller's (cvy_model.init). grad is NULL unless the runtime
 * asks for gradients (trace): then backward writes them there. */
struct cvy_net {
    float *param, *grad, *running;
    float *state;     /* the optimiser's buffers (cvy_update.h), `floats` floats each; they lie as the parameters do */
    int64_t floats;   /* of param, without those that are frozen, which stand behind the others */
    int64_t *batches; /* num_batches_tracked of each norm */
    const struct cvy_optimiser *optimiser;
    int batch;         /* largest n that training takes; 0: inference only */
    int threads;       /* that it uses: at most as many as init was offered */
    const int *length; /* those of the batch of the last forward */
};

/* The samples that a call works on. A network reads them where they are: they stay until forward and backward are done.
 */
struct cvy_batch {
    const float *x;     /* n x channels x height x width; tokens, too, as whole numbers */
    const void *target; /* what the loss compares the answers with: n classes, as int. NULL: none, as at inference */
    const int *length;  /* of each sequence; NULL: each is as long as the input. Networks without lengths have none */
    int n;
};

/* What an optimiser has besides: cvy_step.hyper[]. */
enum { CVY_HYPERS = 4, CVY_BUFFERS = 2 }; /* at most; buffers: floats that it keeps of each parameter */
enum { CVY_MOMENTUM, CVY_NESTEROV };      /* of sgd; nesterov: 0 or 1 */
enum { CVY_BETA1, CVY_BETA2, CVY_EPS };   /* of adam, adamw */

/* The numbers of a training besides (cvy_settings.h). */
enum {
    CVY_VALID,
    CVY_PATIENCE,
    CVY_LABEL_SMOOTHING,
    CVY_CLIP,
    CVY_ACCUMULATE,
    CVY_EMA,
    CVY_WARMUP_EPOCHS,
    CVY_WARMUP,
    CVY_STEP_SIZE,
    CVY_RATE_FACTOR,
    CVY_MIN_LR,
    CVY_PLATEAU_EPOCHS,
    CVY_SETTINGS
};

/* How a step is taken. */
struct cvy_step {
    float lr, weight_decay, weight_decay_other; /* _other: of norms and biases */
    double hyper[CVY_HYPERS];
    uint64_t seed, step; /* step: 0, 1, 2, ...: together they key the dropout masks; adam counts by it */
    /* of the loss: the share of a label that all classes have together; and what each class counts, NULL: 1 */
    float label_smoothing;
    const float *class_weight;
    int hold; /* backward only writes the gradient to cvy_net.grad, which must be there: nothing is updated */
    /* Mixed images: of each a second class, and the share (0 to 1) of the first in what it should be. NULL: none is */
    const int *other;
    const float *share;
};

/* One tensor of a trace: `data` + `at` hold `at.dim`; ndim up to 4; dim[0] is the image where it is an activation. */
typedef void (*cvy_sink)(void *user, const char *name, const float *data, const struct cvy_layout *at);

/* The spec's `train:` section: the defaults of `NAME train`. */
struct cvy_train {
    const char *data; /* "fashion-mnist", "mnist", "shapes", "idx" */
    int epochs, batch;
    const struct cvy_loss *loss;
    const struct cvy_optimiser *optimiser;
    double lr, hyper[CVY_HYPERS], weight_decay;
    int decay_all;        /* weight decay reaches norms and biases, too */
    const char *schedule; /* of cvy_schedules */
    double setting[CVY_SETTINGS];
    const float *mean, *std; /* one per channel */
    uint64_t seed;
    const float *class_weight; /* one per class; NULL: 1; or cvy_balanced */
    const char *augment;       /* "crop(4), flip"; "" where there is nothing */
};

/* cvy_train.class_weight where the training set's counts decide: rows / (classes x rows of the class). */
extern const float cvy_balanced[1];

struct cvy_model {
    const char *name, *order, *target, *spec_hash;
    int channels, height, width, classes;
    int tokens;  /* what it reads are whole numbers from 0 to below it, channels and height being 1; 0: any numbers */
    int lengths; /* whether its samples have lengths, up to width (cvy_batch.length) */
    const struct cvy_tensor *tensor;
    int ntensor;
    const struct cvy_fixed *fixed;
    int nfixed;
    int64_t param_floats, running_floats, nbatches; /* sizes of cvy_net's arrays */
    int64_t stored_bytes;                           /* an image, kept from forward for backward */
    int64_t flops;                                  /* forward, per image */
    int min_batch;                                  /* 2 where a norm would see a single value */
    struct cvy_train train;

    size_t (*arena_bytes)(int batch, int threads); /* 0 where it would overflow */
    /* Lays the network out in `memory` (64-byte aligned, arena_bytes); returns its cvy_net, or NULL where memory is too
     * small. Weights are zero until they are drawn or loaded. */
    struct cvy_net *(*init)(void *memory, size_t bytes, int batch, int threads);
    /* A call that makes no sense (see NAME.h) touches nothing: forward then returns NaN, the others -1. */
    /* One training step is forward, then backward (which updates) on the same batch. Returns the mean loss; *score
     * (unless NULL): how many samples had their class as the largest logit. */
    double (*forward)(struct cvy_net *, const struct cvy_batch *, const struct cvy_step *, double *score);
    int (*backward)(struct cvy_net *, const struct cvy_batch *, const struct cvy_step *);
    /* Folds the running statistics into the inference weights; then infer: y is n x classes logits. */
    int (*fold)(struct cvy_net *);
    int (*infer)(struct cvy_net *, const struct cvy_batch *, float *y);
    /* What the network computes, a line for each op in the order in which they run, NULL-terminated:
     *     PLACE | OP | INPUTS | PARAMETERS | TRAINING
     * PLACE is "layer/stage", or "layer" where it has one op; OP its word with arguments, "bn(eps=1e-05)"; INPUTS the
     * places and PARAMETERS the tensors that it reads, a blank between them; TRAINING what concerns training alone.
     * Empty fields at the end are left out. A checkpoint carries these lines. NULL: not known. */
    const char *const *identity;
};

/* What a step computed on its way, for comparisons. By itself, so that who does not trace need not link its code. */
struct cvy_tracer {
    /* Between forward and backward: hands every stage's output ("act.<layer>.<stage>") and every dropout mask
     * ("mask.<layer>.<stage>", 0 or 1) to `sink`. `scratch`: trace_floats(n) floats, 64-byte aligned. 0; or -1 and
     * nothing done. */
    int (*trace)(struct cvy_net *, const struct cvy_batch *, const struct cvy_step *, float *scratch, cvy_sink sink,
                 void *user);
    size_t (*trace_floats)(int n); /* 0 where n makes no sense */
};

/* What a kernel is given by `NAME bench`. */
struct cvy_bench_call {
    struct cvy_net *net;
    int n; /* training: images, the model's forward was called once */
    const struct cvy_step *step;
    const float *x; /* inference: all images, and which of them; on the calling thread */
    int image;
};

/* One kernel of a training step, or of inference, and what it costs. */
struct cvy_bench_kernel {
    const char *name; /* "conv2.forward" */
    /* FLOPs of an image: 2 x multiply-adds of the layer; those that its code does; of all ways that convoy knows,
     * direct and Winograd, the fewest, by which the bound is told */
    double useful, executed, fewest;
    double image_bytes, step_bytes; /* to and from memory: for each image, and for a step of any number of them */
    void (*call)(const struct cvy_bench_call *);
};

/* All of them, in the order in which they run; and loops that measure the machine, compiled for the network's target.
 */
struct cvy_bench {
    const struct cvy_bench_kernel *training; /* NULL: it is emitted for inference alone */
    int ntraining;
    const struct cvy_bench_kernel *inference;
    int ninference;
    double (*peak)(int threads, int64_t rounds, float *sink); /* fused multiply-adds in registers; returns FLOPs */
    double (*stream)(int threads, float *a, int64_t floats,
                     int rounds); /* reads two thirds of `a` and writes one; bytes */
};

/* The emitted program's main: train, eval, predict, info, bench, trace (tracer: NULL where the network does not train).
 * Returns the exit status. */
int cvy_main(int argc, char **argv, const struct cvy_model *model, const struct cvy_bench *bench,
             const struct cvy_tracer *tracer);

#endif
