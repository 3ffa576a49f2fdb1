// What a network's folder holds besides its layers. `n` is the network's record.

//$ define header
/* ${n.name}.h - ${n.title}
 *
 * emitted by convoy ${n.version} from a spec with hash ${n.hash}; order ${n.order}; target ${n.target}${n.flags}
 * ${n.totals}
 *
 //$ if n.train
 * Training and inference. All memory is the caller's:
 *
 *     #include "${n.name}.h"
 *     #include <stdlib.h>
 *
 *     enum { BATCH = 64, THREADS = 2 };                      // images a step, and threads, at most
 *
 *     // steps times: fill(x, labels) sets BATCH images, ${n.shape}, NCHW, and ${n.their_target}. Returns the last step's loss.
 *     double ${n.name}_example(int steps, void (*fill)(float *x, ${n.example_type}${n.target_name}), float *x, ${n.example_type}${n.target_name}, float *y)
 *     {
 *         size_t bytes = ${n.NAME}_ARENA_BYTES(BATCH, THREADS);
 *         void *memory = aligned_alloc(64, bytes);
 *         struct ${n.name} *net = ${n.name}_init(memory, bytes, BATCH, THREADS);
 *         struct cvy_batch batch = {x, ${n.target_name}, NULL, BATCH};
 *         struct cvy_step step = ${n.name}_step;             // lr and so on, as the spec has them
 *         double loss = 0;
 *
 *         if (!net)
 *             return -1;                                     // no memory, or not this processor
 *         ${n.name}_draw(net, 1);                              // or ${n.name}_set() each tensor
 *         step.lr = 0.05f;
 *         for (int i = 0; i < steps; i++) {
 *             fill(x, ${n.target_name});
 *             step.step = i;                                 // dropout draws by it, adam counts by it
 *             loss = ${n.name}_train_step(net, &batch, &step, NULL);
 *         }
 *         ${n.name}_fold(net);                                 // after training, before inference
 *         ${n.name}_infer(net, &batch, y);                     // y: BATCH x ${n.classes} ${n.answers}
 *         free(memory);
 *         return loss;
 *     }
 *
 //$ else
 * Inference. All memory is the caller's:
 *
 *     #include "${n.name}.h"
 *     #include <stdlib.h>
 *
 *     size_t bytes = ${n.NAME}_ARENA_BYTES(0, 2);              // 2 threads
 *     struct ${n.name} *net = ${n.name}_init(aligned_alloc(64, bytes), bytes, 0, 2);
 *     for (int t = 0; t < ${n.name}_model.ntensor; t++)
 *         ${n.name}_set(net, t, numbers[t]);                   // in the sequence of ${n.name}_model.tensor
 *     ${n.name}_fold(net);
 *     struct cvy_batch batch = {x, NULL, NULL, n};           // x: n images, ${n.shape}, NCHW
 *     ${n.name}_infer(net, &batch, y);                         // y: n x ${n.classes} ${n.answers}
 *
 //$ end
 * ${n.input_doc}. Networks share no state: several may live in one program, also for
 //$ if n.plain
 * different targets, each used by one caller at a time. It runs on one thread, however many it is given.
 //$ else
 * different targets, each used by one caller at a time. With the same compiler, flags and kind of processor results are the same
 * bytes for any number of threads; where OpenBLAS was chosen, it must run on one: openblas_set_num_threads(1), which the
 * network's own program calls. A library cannot say how OpenMP's threads wait: GCC's spin, which on a machine
 * that has other work costs several times the speed. GOMP_SPINCOUNT=1000 in the environment before the program starts, or
 * OMP_WAIT_POLICY=passive, cures that.
 //$ end
 *
 * A call that makes no sense touches nothing and says so: ${n.name}_init returns NULL, ${n.name}_forward and ${n.name}_train_step NaN,
 * a size 0, the others -1 (0: done).
 * Which: a pointer that is NULL, n below 1 (of training: below ${n.name}_model.min_batch; of inference: below 0), n above the batch of ${n.name}_init, ${n.no_target}
 * lengths, ${n.name}_backward with another n than the ${n.name}_forward before it.
 * ${n.licence} */
#ifndef ${n.NAME}_H
#define ${n.NAME}_H

#include "runtime/cvy_model.h"

//$ emit n.part_api

#ifdef __cplusplus
extern "C" {
#endif

enum { ${n.NAME}_CHANNELS = ${n.c}, ${n.NAME}_HEIGHT = ${n.h}, ${n.NAME}_WIDTH = ${n.w}, ${n.NAME}_CLASSES = ${n.classes} };

/* Bytes for training on batches of up to `batch` images (0: inference only) with `threads` threads: a constant where they are. */
#define ${n.NAME}_ARENA_BYTES(batch, threads) ${n.arena}
/* The same as a function, for other languages; 0 where batch or threads are out of range or it is more than a size_t holds. */
${n.NAME}_API size_t ${n.name}_arena_bytes(int batch, int threads);

struct ${n.name};

/* 1 where this processor has the instructions of target ${n.target}, 0 where running the network would end the program. */
${n.NAME}_API int ${n.name}_supported(void);
/* Lays the network out in memory (64-byte aligned). Weights are zero until they are drawn or set. NULL where memory is too small,
 * batch is below 0, or above 0 and below ${n.name}_model.min_batch (2 where a norm would see a single value), threads are not 1 .. 4096, or ${n.name}_supported() is 0. */
${n.NAME}_API struct ${n.name} *${n.name}_init(void *memory, size_t bytes, int batch, int threads);
//$ if n.train
/* The spec's train section: step 0 of a training with one rate. */
${n.NAME}_API extern const struct cvy_step ${n.name}_step;
/* Mean loss of batch->n images, 1 <= n <= ${n.name}_init's batch. batch->target: ${n.target_doc};
 * *score (unless NULL): ${n.score_doc}. */
${n.NAME}_API double ${n.name}_forward(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score);
/* Gradients and update, after forward on the same batch. */
${n.NAME}_API int ${n.name}_backward(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step);
/* Both. */
${n.NAME}_API double ${n.name}_train_step(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score);
//$ end
//$ if n.plain
/* Nothing: inference applies norms where they stand. */
//$ else
/* Makes the weights of inference, running statistics folded in. Again whenever weights have changed. */
//$ end
${n.NAME}_API int ${n.name}_fold(struct ${n.name} *net);
/* y: batch->n x ${n.outputs} ${n.answers}. Any n; no target. */
${n.NAME}_API int ${n.name}_infer(struct ${n.name} *net, const struct cvy_batch *batch, float *y);

/* The network as data: ${n.name}_model.tensor[0 .. ntensor), each with its name and shape in PyTorch (.name, .at.ndim, .at.dim); sizes;
 * the spec's train section; the functions above, of a struct cvy_net (which a struct ${n.name} begins with). */
${n.NAME}_API extern const struct cvy_model ${n.name}_model;

/* ${n.name}_weights.c: numbers in and out, a tensor at a time, by its place in ${n.name}_model.tensor. */

/* The place of the tensor called so ("${n.first_tensor}"); -1: there is none. */
${n.NAME}_API int ${n.name}_tensor(const char *name);
/* How many numbers it has; 0 where there is no such tensor. */
${n.NAME}_API size_t ${n.name}_count(int tensor);
/* Its numbers to or from memory of the caller's, in C order, as PyTorch's .numpy() and safetensors have them. Of
 * num_batches_tracked one number, rounded. */
${n.NAME}_API int ${n.name}_get(const struct ${n.name} *net, int tensor, float *to);
${n.NAME}_API int ${n.name}_set(struct ${n.name} *net, int tensor, const float *from);
/* Draws every tensor as the spec says; `${n.name} train --seed N` begins with the same numbers. What the optimiser keeps becomes zero. */
${n.NAME}_API int ${n.name}_draw(struct ${n.name} *net, uint64_t seed);
//$ if n.train

/* ${n.name}_trace.c: what a step computed on its way. Need not be linked where it is not used. */
${n.NAME}_API extern const struct cvy_tracer ${n.name}_tracer;
//$ end

#ifdef __cplusplus
}
#endif
#endif
//$ end

//$ define api
/* Before each function here. In a shared library built with -fvisibility=hidden these are what it shows; -D${n.NAME}_API= shows
 * nothing. On Windows: -D${n.NAME}_DLL=1 where the DLL is built, =0 where it is used. */
#ifndef ${n.NAME}_API
#if defined _WIN32 && defined ${n.NAME}_DLL && ${n.NAME}_DLL
#define ${n.NAME}_API __declspec(dllexport)
#elif defined _WIN32 && defined ${n.NAME}_DLL
#define ${n.NAME}_API __declspec(dllimport)
#elif defined __GNUC__ && !defined _WIN32
#define ${n.NAME}_API __attribute__((visibility("default")))
#else
#define ${n.NAME}_API
#endif
#endif
//$ end

//$ define weights_file
/* ${n.name}_weights.c - the network's numbers by the tensor. ${n.licence} */
#include "${n.name}_layout.h"

#include "runtime/cvy_weights.h"

int ${n.name}_tensor(const char *name)
{
    for (int i = 0; name && i < ${n.name}_model.ntensor; i++)
        if (strcmp(${n.name}_model.tensor[i].name, name) == 0)
            return i;
    return -1;
}

size_t ${n.name}_count(int tensor)
{
    return tensor < 0 || tensor >= ${n.name}_model.ntensor ? 0 : (size_t)cvy_layout_count(&${n.name}_model.tensor[tensor].at);
}

int ${n.name}_get(const struct ${n.name} *net, int tensor, float *to)
{
    if (!net || !to || ${n.name}_count(tensor) == 0)
        return -1;
    const struct cvy_tensor *const t = &${n.name}_model.tensor[tensor];
    if (t->role == CVY_BATCHES)
        *to = (float)net->net.batches[t->at.offset];
    else
        cvy_gather(cvy_base(&net->net, t), &t->at, to);
    return 0;
}

int ${n.name}_set(struct ${n.name} *net, int tensor, const float *from)
{
    if (!net || !from || ${n.name}_count(tensor) == 0)
        return -1;
    const struct cvy_tensor *const t = &${n.name}_model.tensor[tensor];
    if (t->role != CVY_BATCHES)
        cvy_scatter(cvy_base(&net->net, t), &t->at, from);
    else if (*from >= 0 && *from < 9e18f)
        net->net.batches[t->at.offset] = (int64_t)*from;
    else
        return -1;
    return 0;
}

int ${n.name}_draw(struct ${n.name} *net, uint64_t seed)
{
    if (!net)
        return -1;
    cvy_draw(&${n.name}_model, &net->net, seed);
    return 0;
}
//$ end

//$ define tracer
/* Forward once more, and behind each kernel its trace, while what it read is there; running statistics stay as they were. */
static int ${n.name}_trace(struct cvy_net *base, const struct cvy_batch *batch, const struct cvy_step *step, float *scratch, cvy_sink sink, void *user)
{
    struct ${n.name} *const net = (struct ${n.name} *)(void *)base;

    if (!net || !batch || !batch->x || !step || !scratch || !sink || batch->n < 1 || batch->n != net->forwarded)
        return -1;
    const int n = batch->n;
    float *const kept = scratch, *const out = scratch + ${n.NAME}_RUNNING_FLOATS + ${n.NAME}_BATCHES_FLOATS;
    memcpy(kept, net->net.running, sizeof(float) * (${n.NAME}_RUNNING_FLOATS + ${n.NAME}_BATCHES_FLOATS)); /* one behind the other */
    //$ for k in n.kernels
    //$ if k.forward
    ${n.name}_${k.name}_forward(&net->${k.name}, n, step);
    //$ end
    //$ if k.traced
    ${n.name}_${k.name}_trace(&net->${k.name}, n, step, out, sink, user);
    //$ end
    //$ end
    memcpy(net->net.running, kept, sizeof(float) * (${n.NAME}_RUNNING_FLOATS + ${n.NAME}_BATCHES_FLOATS));
    return 0;
}

static size_t ${n.name}_trace_floats(int n)
{
    return n < 1 ? 0 : (size_t)n * ${n.NAME}_TRACE_FLOATS + ${n.NAME}_RUNNING_FLOATS + ${n.NAME}_BATCHES_FLOATS;
}

const struct cvy_tracer ${n.name}_tracer = {${n.name}_trace, ${n.name}_trace_floats};
//$ end

//$ define layout
/* ${n.name}_layout.h - every number that a neighbour can move: offsets, slots, who is given what. Not for users.
 * ${n.licence} */
#ifndef ${n.NAME}_LAYOUT_H
#define ${n.NAME}_LAYOUT_H

#include "runtime/cvy_names.h"

#if defined CVY_VEC_H && !defined ${n.macro}
#error "${n.name} is emitted for ${n.target}, and this translation unit has the code of another target: compile each network's files by themselves"
#endif
#define ${n.macro} 1

#include "${n.name}.h"
#include "runtime/cvy_kernels.h"
//$ if n.cells
#include "runtime/cvy_recurrent.h"
//$ end

/* Parameters in cvy_net.param, statistics in cvy_net.running: the float at which each begins. */
enum {
    //$ for p in n.params
    ${p.name} = ${p.at},
    //$ end
};

/* The same of the weights of inference, norms folded in. */
enum {
    //$ for p in n.folded
    ${p.name} = ${p.at},
    //$ end
};

//$ if n.train
/* Tensors of one image of the batch; of n images a tensor begins at n times that. Those that are never alive together share memory. */
enum {
    //$ for p in n.slots
    ${p.name} = ${p.at}, /* ${p.doc} */
    //$ end
};

//$ end
/* A thread's scratch: its floats, and where in it inference keeps what. */
enum {
    ${n.NAME}_SCRATCH = ${n.scratch},
    //$ for p in n.infer_slots
    ${p.name} = ${p.at},
    //$ end
};

//$ for k in n.kernels
//$ if k.train
struct ${n.name}_${k.name} {
    //$ for f in k.fields
    ${f.decl};
    //$ end
};
//$ for f in k.prototypes
${f.decl};
//$ end
//$ end
//$ end
//$ for f in n.infer_prototypes
${f.decl};
//$ end

struct ${n.name} {
    struct cvy_net net;
    float *folded, *scratch;
    //$ if n.train
    int forwarded; /* images of the last forward */
    double piece_loss[${n.pieces}], piece_score[${n.pieces}];
    //$ end
    //$ for m in n.norms
    struct cvy_bn ${m.name};
    //$ end
    //$ for m in n.image_norms
    struct cvy_gn ${m.name};
    //$ end
    //$ for m in n.stats
    struct cvy_stats ${m.name};
    //$ end
    //$ for k in n.kernels
    //$ if k.train
    struct ${n.name}_${k.name} ${k.name};
    //$ end
    //$ end
};

/* The arena, in bytes: at all times, for training, for each image of the batch, for each thread. */
//$ for p in n.bytes
#define ${n.NAME}_${p.name} ${p.at}
//$ end

/* Its parts, in floats. */
//$ for p in n.sizes
#define ${n.NAME}_${p.name} ${p.at}
//$ end

/* What the network says of itself. */
#define ${n.NAME}_ORDER "${n.order}"
#define ${n.NAME}_SPEC_HASH "${n.hash}"
#define ${n.NAME}_BATCHES ${n.nbatches}
#define ${n.NAME}_STORED_BYTES ${n.stored_bytes}
#define ${n.NAME}_FLOPS INT64_C(${n.flops})
#define ${n.NAME}_MIN_BATCH ${n.min_batch}

#endif

#if defined ${n.NAME}_NET && !defined ${n.NAME}_TENSORS /* what ${n.name}_net.c alone reads */
#define ${n.NAME}_TENSORS
#include "runtime/cvy_vec.h"

//$ if n.train
/* Where memory is that kernels and norms are given. */
struct ${n.name}_parts {
    float *param, *running;
    float *norms;  /* what norms know of each channel */
    double *sums;  /* the sums of each piece, of which they learn it */
    float *copy;   /* the weights as a core reads them */
    float *dw;     /* gradients of weights, of each piece */
    double *db;    /* and of biases */
    float *images; /* tensors of the batch */
    int64_t batch; /* its images */
};

//$ for f in n.places
CVY_KEEP void ${n.name}_place${f.number}(struct ${n.name} *net, const struct ${n.name}_parts *at)
{
    //$ for p in f.structs
    net->${p.name} = (struct ${p.type}){
        //$ for f in p.fields
        ${f.line},
        //$ end
    };
    //$ if p.call
    ${p.call};
    //$ end
    //$ end
}

//$ end
/* Who is given what. */
static void ${n.name}_place(struct ${n.name} *net, const struct ${n.name}_parts *at)
{
    //$ for f in n.places
    ${n.name}_place${f.number}(net, at);
    //$ end
}

//$ end
/* The arithmetic of folding: s = gamma / sqrt(var + eps), t = beta - s mean. */
static void ${n.name}_fold_all(const struct cvy_net *net, float *f)
{
    //$ if n.folds_norms
    const float *const p = net->param, *const r = net->running;
    //$ else
    const float *const p = net->param;
    //$ end
    //$ for l in n.folds
    ${l.line};
    //$ end
}

static const struct cvy_tensor ${n.name}_tensors[] = {
    //$ for t in n.tensors
    {"${t.name}", ${t.role}, {${t.ndim}, {${t.dim}}, {${t.block}}, {${t.outer}}, {${t.inner}}, ${t.at}}, ${t.draw}, ${t.value}},
    //$ end
};
//$ if n.has_fixed
static const struct cvy_fixed ${n.name}_fixed[] = {
    //$ for t in n.fixed
    {${t.values}},
    //$ end
};
//$ end

/* What it computes, a line per op: checkpoints carry it. */
static const char *const ${n.name}_identity[] = {
    //$ for l in n.identity
    "${l.line}",
    //$ end
    NULL,
};
#endif
//$ end

//$ define net
/* ${n.name}_net.c - the network, unrolled: a line per kernel. ${n.licence} */
#define ${n.NAME}_NET
#include "${n.name}_layout.h"

#include "runtime/cvy_vec.h"

#include <string.h>

typedef char ${n.name}_fits_its_place[sizeof(struct ${n.name}) <= ${n.NAME}_STRUCT_BYTES ? 1 : -1];

static const float ${n.name}_mean[] = {${n.mean}}, ${n.name}_std[] = {${n.std}};

int ${n.name}_supported(void)
{
    return cvy_supported();
}

struct ${n.name} *${n.name}_init(void *memory, size_t bytes, int batch, int threads)
{
    const size_t needed = ${n.name}_arena_bytes(batch, threads);

    if (!cvy_supported() || !memory || (uintptr_t)memory % 64 || needed == 0 || bytes < needed || (batch != 0 && batch < ${n.NAME}_MIN_BATCH))
        return NULL;
    struct ${n.name} *const net = (struct ${n.name} *)memory;
    float *at = (float *)memory + ${n.NAME}_STRUCT_BYTES / 4;

    memset(memory, 0, ${n.NAME}_STRUCT_BYTES + sizeof(float) * (${n.NAME}_PARAM_FLOATS + ${n.NAME}_RUNNING_FLOATS + ${n.NAME}_BATCHES_FLOATS));
    net->net.batch = batch;
    net->net.threads = threads;
    net->net.optimiser = ${n.name}_model.train.optimiser;
    net->net.floats = ${n.NAME}_${n.learning}_FLOATS;
    net->net.param = at;
    net->net.running = at += ${n.NAME}_PARAM_FLOATS;
    net->net.batches = (int64_t *)(void *)(at += ${n.NAME}_RUNNING_FLOATS);
    net->folded = at += ${n.NAME}_BATCHES_FLOATS;
    net->scratch = at += ${n.NAME}_FOLDED_FLOATS;
    //$ if n.train
    if (batch > 0) {
        struct ${n.name}_parts part = {.param = net->net.param, .running = net->net.running, .batch = batch};

        memset(at, 0, ${n.NAME}_TRAIN_BYTES);
        net->net.state = at;
        part.norms = at += ${n.NAME}_STATE_FLOATS;
        part.sums = (double *)(void *)(at += ${n.NAME}_NORM_FLOATS);
        part.copy = at += ${n.NAME}_SUMS_FLOATS;
        part.dw = at += ${n.NAME}_COPY_FLOATS;
        part.db = (double *)(void *)(at += ${n.NAME}_DW_FLOATS);
        part.images = at += ${n.NAME}_DB_FLOATS;
        net->scratch = at + (int64_t)batch * ${n.NAME}_IMAGE_FLOATS;
        ${n.name}_place(net, &part);
    }
    //$ end
    return net;
}

/* In integers alone: it may be asked on a processor without the target's instructions. */
size_t ${n.name}_arena_bytes(int batch, int threads)
{
    //$ if n.train
    const uint64_t most = SIZE_MAX / 4, images = batch < 0 ? 0 : (uint64_t)batch, parts = threads < 0 ? 0 : (uint64_t)threads;
    //$ else
    const uint64_t most = SIZE_MAX / 4, parts = threads < 0 ? 0 : (uint64_t)threads;
    //$ end

    //$ if n.train
    if (batch < 0 || threads < 1 || threads > 4096 || images > most / (${n.NAME}_IMAGE_BYTES + UINT64_C(1)) || parts > most / (${n.NAME}_THREAD_BYTES + UINT64_C(1)))
    //$ else
    if (batch < 0 || threads < 1 || threads > 4096 || parts > most / (${n.NAME}_THREAD_BYTES + UINT64_C(1)))
    //$ end
        return 0;
    //$ if n.train
    const uint64_t bytes = ${n.NAME}_FIXED_BYTES + (batch > 0 ? (uint64_t)${n.NAME}_TRAIN_BYTES : 0) + images * ${n.NAME}_IMAGE_BYTES + parts * ${n.NAME}_THREAD_BYTES;
    //$ else
    const uint64_t bytes = ${n.NAME}_FIXED_BYTES + parts * ${n.NAME}_THREAD_BYTES;
    //$ end
    return bytes > most ? 0 : (size_t)bytes;
}

//$ if n.train
//$ emit n.part_step

double ${n.name}_forward(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    double loss = 0, sum = 0;

    if (!net || !step || !${n.fits}(batch, net->net.batch, &cvy_${n.loss}, ${n.classes}${n.steps}) || batch->n < ${n.NAME}_MIN_BATCH)
        return (double)NAN;
    const int n = net->forwarded = batch->n;
    //$ for k in n.kernels
    //$ for i in k.inputs
    net->${k.name}.${i.name} = batch->x;
    //$ end
    //$ end
    net->loss.${n.target_name} = batch->target;
    //$ if n.lengths
    net->net.length = batch->length;
    //$ end
    //$ for m in n.still
    cvy_bn_still(&net->${m.name});
    //$ end
    //$ for k in n.kernels
    //$ if k.forward
    ${n.name}_${k.name}_forward(&net->${k.name}, n, step);
    //$ end
    //$ end
    for (int p = 0; p < ${n.pieces}; p++) {
        loss += net->loss.loss[p];
        sum += net->loss.score[p];
    }
    if (score)
        *score = sum;
    return loss / cvy_${n.loss_code}_weight(batch->target, n, step);
}

int ${n.name}_backward(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step)
{
    if (!net || !batch || !batch->x || !step || batch->n < 1 || batch->n != net->forwarded) /* the kernels that read x kept it in forward */
        return -1;
    const int n = batch->n;
    //$ for k in n.backward
    ${n.name}_${k.name}_${k.verb}(${k.arguments});
    //$ end
    return 0;
}

//$ emit n.part_train_step

static double ${n.name}_model_forward(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    return ${n.name}_forward((struct ${n.name} *)(void *)net, batch, step, score);
}
static int ${n.name}_model_backward(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *step)
{
    return ${n.name}_backward((struct ${n.name} *)(void *)net, batch, step);
}
//$ end

int ${n.name}_fold(struct ${n.name} *net)
{
    if (!net)
        return -1;
    memset(net->folded, 0, sizeof(float) * ${n.NAME}_FOLDED_FLOATS); /* channels that pad a block, too */
    ${n.name}_fold_all(&net->net, net->folded);
    return 0;
}

//$ if n.splits
/* One image, kernel by kernel: each of `parts` threads does its part of it, the first what has no parts. s: the image's tensors; own: the
 * thread's scratch. */
static void ${n.name}_image(const float *f, const float *x, float *y, float *s, float *own, int part, int parts)
{
    //$ for l in n.infer
    //$ if l.alone
    if (part == 0)
        ${l.line};
    //$ else
    ${l.line};
    //$ end
    //$ if l.meets
    CVY_MEET(parts);
    //$ end
    //$ end
    if (part == 0)
        memcpy(y, ${n.infer_result}, sizeof(float) * ${n.classes});
    CVY_MEET(parts);
}

//$ end
int ${n.name}_infer(struct ${n.name} *net, const struct cvy_batch *batch, float *y)
{
    if (!net || !${n.infers}(batch, y${n.steps}))
        return -1;
    const float *const f = net->folded, *const x = batch->x;
    const int n = batch->n;

    //$ if n.splits
    const int threads = net->net.threads, left = n % threads, alone = left <= threads / 2 ? n - left : n;

    CVY_PARALLEL_IF(threads, alone > 1)
    for (int i = 0; i < alone; i++) {
        float *const s = net->scratch + (int64_t)CVY_THREAD * ${n.NAME}_SCRATCH;
        ${n.name}_image(f, x + (ptrdiff_t)i * ${n.input_floats}, y + (ptrdiff_t)i * ${n.classes}, s, s, 0, 1);
    }
    if (alone == n)
        return 0;
    CVY_TOGETHER(threads) /* on each of the images that are left */
    {
        float *const own = net->scratch + (int64_t)CVY_THREAD * ${n.NAME}_SCRATCH;
        for (int i = alone; i < n; i++)
            ${n.name}_image(f, x + (ptrdiff_t)i * ${n.input_floats}, y + (ptrdiff_t)i * ${n.classes}, net->scratch, own, CVY_THREAD, CVY_THREADS);
    }
    //$ else
    CVY_PARALLEL_IF(net->net.threads, n > 1)
    for (int i = 0; i < n; i++) {
        float *const s = net->scratch + (int64_t)CVY_THREAD * ${n.NAME}_SCRATCH;
        //$ for l in n.infer
        ${l.line};
        //$ end
        memcpy(y + (int64_t)i * ${n.classes}, ${n.infer_result}, sizeof(float) * ${n.classes});
    }
    //$ end
    return 0;
}

static struct cvy_net *${n.name}_model_init(void *memory, size_t bytes, int batch, int threads)
{
    return (struct cvy_net *)(void *)${n.name}_init(memory, bytes, batch, threads);
}
static int ${n.name}_model_fold(struct cvy_net *net)
{
    return ${n.name}_fold((struct ${n.name} *)(void *)net);
}
static int ${n.name}_model_infer(struct cvy_net *net, const struct cvy_batch *batch, float *y)
{
    return ${n.name}_infer((struct ${n.name} *)(void *)net, batch, y);
}

const struct cvy_model ${n.name}_model = {
    .name = "${n.name}",
    .order = ${n.NAME}_ORDER,
    .target = "${n.target}",
    .spec_hash = ${n.NAME}_SPEC_HASH,
    .channels = ${n.c},
    .height = ${n.h},
    .width = ${n.w},
    .classes = ${n.classes},
    //$ if n.lengths
    .lengths = 1,
    //$ end
    //$ if n.tokens
    .tokens = ${n.tokens},
    //$ end
    .tensor = ${n.name}_tensors,
    .ntensor = sizeof ${n.name}_tensors / sizeof *${n.name}_tensors,
    //$ if n.has_fixed
    .fixed = ${n.name}_fixed,
    .nfixed = sizeof ${n.name}_fixed / sizeof *${n.name}_fixed,
    //$ end
    .param_floats = ${n.NAME}_PARAM_FLOATS,
    .running_floats = ${n.NAME}_RUNNING_FLOATS,
    .nbatches = ${n.NAME}_BATCHES,
    .stored_bytes = ${n.NAME}_STORED_BYTES,
    .flops = ${n.NAME}_FLOPS,
    .min_batch = ${n.NAME}_MIN_BATCH,
    //$ emit n.part_train_section
    .arena_bytes = ${n.name}_arena_bytes,
    .init = ${n.name}_model_init,
    //$ if n.train
    .forward = ${n.name}_model_forward,
    .backward = ${n.name}_model_backward,
    //$ end
    .fold = ${n.name}_model_fold,
    .infer = ${n.name}_model_infer,
    .identity = ${n.name}_identity,
};
//$ end

// What a network for reading has, too.
//$ define step
const struct cvy_step ${n.name}_step = {${n.step}};
//$ end
//$ define train_step
double ${n.name}_train_step(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    const double loss = ${n.name}_forward(net, batch, step, score);

    if (!isnan(loss))
        ${n.name}_backward(net, batch, step);
    return loss;
}
//$ end
//$ define train_section
.train = {
    .data = "${n.data}",
    .epochs = ${n.epochs},
    .batch = ${n.batch},
    .loss = &cvy_${n.loss},
    .optimiser = &cvy_${n.optimiser},
    .lr = ${n.lr},
    .hyper = {${n.hyper}},
    .weight_decay = ${n.weight_decay},
    .decay_all = ${n.decay_all},
    .schedule = "${n.schedule}",
    .setting = {${n.setting}},
    .mean = ${n.of_input}_mean,
    .std = ${n.of_input}_std,
    .seed = UINT64_C(${n.seed}),
    //$ if n.weighs_classes
    .class_weight = ${n.class_weight},
    //$ end
    .augment = "${n.augment}",
},
//$ end

//$ define main
/* main.c - the ${n.name} program: train, eval, predict, info, bench, trace. ${n.licence} */
#include "runtime/cvy_names.h"

#include "${n.name}.h"

#include <stdio.h>

extern const struct cvy_bench ${n.name}_bench;

int main(int argc, char **argv)
{
    if (!${n.name}_supported()) {
        fputs("${n.name}: error: this processor lacks instructions of ${n.target}, for which the network was emitted\n"
              "  hint: convoy gen --target native on this machine, or --target portable for any\n", stderr);
        return 1;
    }
    //$ if n.train
    return cvy_main(argc, argv, &${n.name}_model, &${n.name}_bench, &${n.name}_tracer);
    //$ else
    return cvy_main(argc, argv, &${n.name}_model, &${n.name}_bench, NULL);
    //$ end
}
//$ end

//$ define bench
/* ${n.name}_bench.c - each kernel alone and what it costs, for `${n.name} bench`. Part of the program, not of the library. ${n.licence} */
#include "${n.name}_layout.h"

#include "runtime/cvy_bench.h"

extern const struct cvy_bench ${n.name}_bench;

//$ for k in n.bench_training
static void ${k.function}(const struct cvy_bench_call *c)
{
    ${k.call};
}
//$ end
//$ for k in n.bench_inference
static void ${k.function}(const struct cvy_bench_call *c)
{
    const struct ${n.name} *const net = (const struct ${n.name} *)(void *)c->net;
    ${k.call};
}
//$ end

/* FLOPs of an image: useful, executed, the fewest of all ways; bytes to and from memory, for an image and for a step. */
//$ if n.train
static const struct cvy_bench_kernel training[] = {
    //$ for k in n.bench_training
    {"${k.name}", ${k.costs}, ${k.function}},
    //$ end
};
//$ end
static const struct cvy_bench_kernel inference[] = {
    //$ for k in n.bench_inference
    {"${k.name}", ${k.costs}, ${k.function}},
    //$ end
};

const struct cvy_bench ${n.name}_bench = {
    //$ if n.train
    training, sizeof training / sizeof *training,
    //$ else
    NULL, 0,
    //$ end
    inference, sizeof inference / sizeof *inference,
    cvy_peak, cvy_stream,
};
//$ end

//$ define makefile
//$ if n.plain
# Builds ${n.name} with a C compiler, zlib and jansson. ${n.licence}
#     make [CC=clang] [CFLAGS=-O${n.optimise}]
//$ else
# Builds ${n.name} with a C compiler, zlib and jansson; uses OpenMP where it is found. ${n.licence}
#     make [CC=clang] [CFLAGS=-O${n.optimise}] [OPENMP=no] [OPENBLAS=yes: products of linear layers are OpenBLAS's]
//$ end
CFLAGS ?= -O${n.optimise}
ifeq ($(strip $(CC)),)
override CC := cc
endif
STANDARD = ${n.standard}
TARGET = ${n.make_flags}
//$ if n.plain
//$ else
works = $(shell echo 'int main(void) { return 0; }' | $(CC) $(1) -x c - -o /dev/null $(2) >/dev/null 2>&1 && echo yes)
ifeq ($(origin OPENMP),undefined)
OPENMP := $(call works,-fopenmp)
endif
ifeq ($(OPENMP),yes)
WITH += -fopenmp
endif
ifeq ($(OPENBLAS),yes)
WITH += -DCVY_OPENBLAS $(shell pkg-config --cflags openblas 2>/dev/null)
BLAS_LIBS = -lopenblas
endif
//$ end

OBJECTS = \
//$ for f in n.sources
    ${f.object} \
//$ end

# The network without its program, for programs of yours: make lib${n.name}.a
LIBRARY = \
//$ for f in n.network
    ${f.source} \
//$ end

${n.name}: $(OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) $(WITH) -o $@ $(OBJECTS) $(BLAS_LIBS) -ljansson -lz -lpthread -lm

lib${n.name}.a: $(LIBRARY:.c=.o)
	rm -f $@
	$(AR) rcs $@ $^

# The compiler and its flags as they were last: a file that changes where they do, so that everything is compiled again.
FLAGS := $(CC) $(STANDARD) $(TARGET) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) $(WITH)
QUOTED := '$(subst ','\'',$(FLAGS))'
ifneq ($(shell printf '%s\n' $(QUOTED) | cmp -s - ${n.name}.flags && echo same),same)
${n.name}.flags: always
endif
${n.name}.flags:
	printf '%s\n' $(QUOTED) >$@

$(OBJECTS): ${n.name}.flags $(wildcard *.h runtime/*.h)

main.o: TARGET = # it asks whether the processor has what the rest needs

%.o: %.c
	$(CC) $(STANDARD) $(TARGET) $(CFLAGS) $(CPPFLAGS) $(WITH) -I. -c -o $@ $<

clean:
	rm -f ${n.name} ${n.name}.flags lib${n.name}.a $(OBJECTS)

.PHONY: clean always
//$ end

//$ define meson
# Builds ${n.name}. In another project it is a subproject (subprojects/${n.name}): subproject('${n.name}').get_variable('${n.name}_dep') is the
# network without its program, which then needs neither zlib nor jansson. ${n.licence}
project('${n.name}', 'c', default_options: ['c_std=${n.c_std}', 'optimization=${n.optimise}'])
cc = meson.get_compiler('c')
alone = not meson.is_subproject()
//$ if n.plain
deps = [cc.find_library('m', required: false)]
//$ else
deps = [dependency('openmp', required: false), cc.find_library('m', required: false)]
//$ end
flags = cc.get_supported_arguments('${n.make_flags}'.split())
lib = static_library('${n.name}',
//$ for f in n.network
  '${f.source}',
//$ end
  c_args: flags, dependencies: deps)
${n.name}_dep = declare_dependency(link_with: lib, include_directories: include_directories('.'), dependencies: deps)

if alone
  program = static_library('${n.name}_program', # its files have names of their own, so each is compiled by itself
//$ for f in n.measured
    '${f.source}',
//$ end
    c_args: flags, dependencies: deps, override_options: ['unity=off'])
  executable('${n.name}',
//$ for f in n.program
    '${f.source}',
//$ end
    link_with: program, override_options: ['unity=off'],
    dependencies: [${n.name}_dep, dependency('zlib'), dependency('jansson'), dependency('threads')])
endif
//$ end

//$ define cmake
# Builds ${n.name}. From another project: add_subdirectory(), then link ${n.name}_net, the network without its program; that needs neither
# zlib nor jansson. ${n.NAME}_PROGRAM decides, ON where this is the whole project. ${n.licence}
cmake_minimum_required(VERSION 3.16)
project(${n.name} C)
set(ALONE OFF)
if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  set(ALONE ON)
endif()
option(${n.NAME}_PROGRAM "The program ${n.name}, too: needs zlib and jansson" $${ALONE})
//$ if n.plain
//$ else
option(${n.NAME}_OPENBLAS "Products of linear layers are OpenBLAS's" OFF)
//$ end
set(CMAKE_C_STANDARD ${n.cmake_std})
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
add_library(${n.name}_net STATIC
//$ for f in n.network
  ${f.source}
//$ end
)
target_include_directories(${n.name}_net PUBLIC $${CMAKE_CURRENT_SOURCE_DIR})
separate_arguments(TARGET_FLAGS UNIX_COMMAND "${n.make_flags}")
target_compile_options(${n.name}_net PRIVATE $${TARGET_FLAGS})
target_link_libraries(${n.name}_net PUBLIC m)
//$ if n.plain
//$ else
find_package(OpenMP)
if(OpenMP_C_FOUND)
  target_link_libraries(${n.name}_net PUBLIC OpenMP::OpenMP_C)
endif()
if(${n.NAME}_OPENBLAS)
  find_library(OPENBLAS openblas REQUIRED)
  target_compile_definitions(${n.name}_net PRIVATE CVY_OPENBLAS)
  target_link_libraries(${n.name}_net PUBLIC $${OPENBLAS})
endif()
//$ end
if(${n.NAME}_PROGRAM)
  find_package(Threads REQUIRED)
  find_package(ZLIB REQUIRED)
  find_library(JANSSON jansson REQUIRED)
  add_executable(${n.name}
//$ for f in n.program
    ${f.source}
//$ end
//$ for f in n.measured
    ${f.source}
//$ end
  )
//$ for f in n.measured
  set_source_files_properties(${f.source} PROPERTIES COMPILE_OPTIONS "$${TARGET_FLAGS}")
//$ end
  set_target_properties(${n.name} PROPERTIES UNITY_BUILD OFF) # its files have names of their own
//$ if n.plain
//$ else
  if(${n.NAME}_OPENBLAS)
    target_compile_definitions(${n.name} PRIVATE CVY_OPENBLAS)
  endif()
//$ end
  target_link_libraries(${n.name} ${n.name}_net $${JANSSON} ZLIB::ZLIB Threads::Threads)
endif()
//$ end
