// A network for reading: the network itself: its calls, its tensors, the program around it. `n` is the network's record.

//$ define plain_net
/* ${n.name}_net.c - the network, to be read: loops over plain arrays, one function an op and direction, and the network as a list of their calls.
 *
 * n images at once, NCHW: element (c, i, j) of image m is x[m][c][i][j]. In the formulas and the loops m is an image, c a channel of the input
 * and o of the output, (i, j) a pixel of the output, (u, v) one of a kernel, and (r, s) the pixel of the input under it. A function begins by saying
 * what shapes its arguments have; the (void *) there is for C before C23, to which an array of const is not a const array.
 * x is the input, v.NAME what op NAME makes of it, p.NAME its parameters.
 //$ if n.train
 * d.NAME is the gradient of v.NAME, g.NAME that of p.NAME. Gradients begin as zeros, and whoever reads a tensor adds to its gradient.
 //$ end
 * ${n.licence} */
#include "${n.name}_layout.h"

#include <math.h>
#include <string.h>

//$ if n.train
/* ---- the ops: forward, and below it backward ---- */
//$ else
/* ---- the ops ---- */
//$ end

//$ for o in n.ops
//$ emit o

//$ end
/* ---- the network ---- */

//$ if n.sizes
static const struct {
    //$ for s in n.size_kinds
    struct ${s.kind} ${s.names};
    //$ end
} size = {
    //$ for s in n.sizes
    .${s.name} = {${s.values}},
    //$ end
};

//$ end
//$ if n.train
/* Of n images. step NULL: inference. */
//$ else
/* Of n images. */
//$ end
static void run(const struct ${n.name} *net, const struct ${n.name}_values *v, int n, const float *x${n.step_parameter})
{
    const struct ${n.name}_params *const p = &net->p;

    //$ for l in n.forward
    ${l.line}
    //$ end
}

//$ if n.train
//$ emit n.part_step

double ${n.name}_forward(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    double sum;

    if (!net || !step || !cvy_batch_fits(batch, net->net.batch, &cvy_${n.loss}, ${n.classes}) || batch->n < ${n.min_batch})
        return (double)NAN;
    net->batch = *batch;
    run(net, &net->v, batch->n, batch->x${n.step_argument});
    return ${n.loss_code}_forward(batch->n, ${n.classes}, net->v.${n.logits}, batch->target, step, score ? score : &sum);
}

int ${n.name}_backward(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step)
{
    if (!net || !batch || !batch->x || !step || batch->n < 1 || batch->n != net->batch.n)
        return -1;
    const int n = batch->n;
    ${n.target_type}const ${n.target_name} = net->batch.target;
    //$ if n.backward_reads_x
    const float *const x = batch->x;
    //$ end
    const struct ${n.name}_values *const v = &net->v, *const d = &net->d;
    const struct ${n.name}_params *const p = &net->p, *const g = &net->g;

    memset(net->gradients, 0, sizeof(float) * ${n.value_floats} * (size_t)net->net.batch);
    memset(net->grad, 0, sizeof(float) * ${n.param_floats});
    //$ for l in n.backward
    ${l.line}
    //$ end

    if (net->net.grad) /* who runs a trace wants to see them */
        memcpy(net->net.grad, net->grad, sizeof(float) * ${n.param_floats});
    for (int i = 0; i < ${n.name}_model.ntensor && !step->hold; i++) {
        const struct cvy_tensor *t = &${n.name}_model.tensor[i];
        int64_t count = 1;
        for (int k = 0; k < t->at.ndim; k++)
            count *= t->at.dim[k];
        if (t->role <= CVY_BETA)
            ${n.optimiser}(count, step, t->role == CVY_WEIGHT ? step->weight_decay : step->weight_decay_other, net->grad + t->at.offset,
                ${n.buffers}, net->net.param + t->at.offset);
    }
    return 0;
}

//$ emit n.part_train_step

//$ end
int ${n.name}_infer(struct ${n.name} *net, const struct cvy_batch *batch, float *y)
{
    if (!net || !cvy_batch_infers(batch, y))
        return -1;
    for (int m = 0; m < batch->n; m++) {
        run(net, &net->one, 1, batch->x + m * INT64_C(${n.input_floats})${n.no_step});
        memcpy(y + (int64_t)m * ${n.classes}, net->one.${n.logits}, sizeof(float) * ${n.classes});
    }
    return 0;
}
//$ end

//$ define plain_layout
/* ${n.name}_layout.h - the network's tensors by name. Not for users. ${n.licence} */
#ifndef ${n.NAME}_LAYOUT_H
#define ${n.NAME}_LAYOUT_H

#include "runtime/cvy_names.h"

#include "${n.name}.h"
#include "runtime/cvy_kernels.h"

/* What each op makes of n images, [n][channels][height][width]. */
struct ${n.name}_values {
    //$ for v in n.values
    float *${v.name}; /* ${v.doc} */
    //$ end
};

struct weights {
    void *w;  /* conv [O][C][K][L], linear [O][C]: floats */
    float *b; /* [O], or NULL */
};
//$ if n.cells
//$ if n.cell_norms
struct affine {
    float *gamma, *beta; /* of a norm inside a step, or NULL */
};
//$ end
struct gates {
    float *w, *u;        /* [gates H][C], [gates H][H] */
    float *b, *hidden_b; /* [gates H], or NULL */
    //$ if n.cell_norms
    struct affine input, recurrent, sum, cell, hidden; /* [gates H]; cell, hidden: [H] */
    //$ end
};
//$ end
struct norm {
    float *gamma, *beta, *mean, *var; /* [C]; mean and var: the running ones */
    int64_t *batches;                 /* that they have seen */
};
struct ${n.name}_params {
    //$ for p in n.params
    struct ${p.kind} ${p.name};
    //$ end
};

struct ${n.name} {
    struct cvy_net net;
    struct ${n.name}_params p;
    struct ${n.name}_values one; /* of one image, for inference */
    //$ if n.train
    struct ${n.name}_params g;
    struct ${n.name}_values v, d;
    float *gradients, *grad; /* all of d, all of g */
    struct cvy_batch batch;  /* of the last forward */
    //$ end
};
//$ if n.train
//$ if n.drops
int ${n.name}_keeps(uint64_t key, uint32_t i, uint32_t below);
//$ end
//$ end

#endif
//$ end

//$ define plain_model
/* ${n.name}_model.c - where everything lies in memory, and the network as the runtime sees it. ${n.licence} */
#include "${n.name}_layout.h"

#include <string.h>

typedef char ${n.name}_fits_its_place[sizeof(struct ${n.name}) <= ${n.struct_bytes} ? 1 : -1];

static const float input_mean[] = {${n.mean}}, input_std[] = {${n.std}};

/* PyTorch's names and layouts: an array of each, one behind the other. */
static const struct cvy_tensor tensors[] = {
    //$ for t in n.tensors
    {"${t.name}", ${t.role}, {${t.ndim}, {${t.dim}}, {${t.block}}, {${t.outer}}, {${t.inner}}, ${t.at}}, ${t.draw}, ${t.value}},
    //$ end
};
//$ if n.has_fixed
static const struct cvy_fixed fixed[] = {
    //$ for t in n.fixed
    {${t.values}},
    //$ end
};
//$ end

/* What it computes, a line per op: checkpoints carry it. */
static const char *const identity[] = {
    //$ for l in n.identity
    "${l.line}",
    //$ end
    NULL,
};

/* Gives each tensor of n images its place, from `at` on. Returns the end. */
static float *place_values(struct ${n.name}_values *v, float *at, int64_t n)
{
    //$ for v in n.values
    v->${v.name} = at, at += n * INT64_C(${v.floats});
    //$ end
    return at;
}

//$ if n.norms
static void place_params(struct ${n.name}_params *p, float *param, float *running, int64_t *batches)
//$ else
static void place_params(struct ${n.name}_params *p, float *param)
//$ end
{
    //$ for p in n.params
    p->${p.name} = (struct ${p.kind}){${p.place}};
    //$ end
}

int ${n.name}_supported(void)
{
    return 1;
}

struct ${n.name} *${n.name}_init(void *memory, size_t bytes, int batch, int threads)
{
    const size_t needed = ${n.name}_arena_bytes(batch, threads);

    if (!memory || (uintptr_t)memory % 64 || needed == 0 || bytes < needed || (batch != 0 && batch < ${n.min_batch}))
        return NULL;
    struct ${n.name} *const net = (struct ${n.name} *)memory;
    int64_t *const batches = (int64_t *)(void *)((char *)memory + ${n.struct_bytes});
    float *at = (float *)(void *)($[batches + ${n.batches}]);

    memset(memory, 0, ${n.fixed_bytes} + (batch > 0 ? ${n.train_bytes} : 0));
    net->net.batch = batch;
    net->net.threads = 1;
    net->net.optimiser = ${n.name}_model.train.optimiser;
    net->net.floats = ${n.learning_floats};
    net->net.batches = batches;
    net->net.param = at;
    net->net.running = at += ${n.param_floats};
    //$ if n.train
    at = place_values(&net->one, $[at + ${n.running_floats}], 1);
    //$ else
    place_values(&net->one, $[at + ${n.running_floats}], 1);
    //$ end
    place_params(&net->p, net->net.param${n.place_norms});
    //$ if n.train
    if (batch > 0) {
        net->net.state = at;
        net->grad = at += ${n.state_floats};
        place_params(&net->g, net->grad${n.place_norms});
        net->gradients = place_values(&net->v, at + ${n.param_floats}, batch);
        place_values(&net->d, net->gradients, batch);
    }
    //$ end
    return net;
}

size_t ${n.name}_arena_bytes(int batch, int threads)
{
    //$ if n.train
    const uint64_t most = SIZE_MAX / 4, images = batch < 0 ? 0 : (uint64_t)batch;

    if (batch < 0 || threads < 1 || threads > 4096 || images > most / (${n.image_bytes} + UINT64_C(1)))
        return 0;
    const uint64_t bytes = UINT64_C(${n.fixed_bytes}) + (batch > 0 ? UINT64_C(${n.train_bytes}) : 0) + images * ${n.image_bytes};
    return bytes > most ? 0 : (size_t)bytes;
    //$ else
    return batch < 0 || threads < 1 || threads > 4096 ? 0 : ${n.fixed_bytes};
    //$ end
}

int ${n.name}_fold(struct ${n.name} *net)
{
    return net ? 0 : -1; /* norms stay what they are */
}

static struct cvy_net *model_init(void *memory, size_t bytes, int batch, int threads)
{
    return (struct cvy_net *)(void *)${n.name}_init(memory, bytes, batch, threads);
}
//$ if n.train
static double model_forward(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    return ${n.name}_forward((struct ${n.name} *)(void *)net, batch, step, score);
}
static int model_backward(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *step)
{
    return ${n.name}_backward((struct ${n.name} *)(void *)net, batch, step);
}
//$ end
static int model_fold(struct cvy_net *net)
{
    return ${n.name}_fold((struct ${n.name} *)(void *)net);
}
static int model_infer(struct cvy_net *net, const struct cvy_batch *batch, float *y)
{
    return ${n.name}_infer((struct ${n.name} *)(void *)net, batch, y);
}

const struct cvy_model ${n.name}_model = {
    .name = "${n.name}",
    .order = "${n.order}",
    .target = "${n.target}",
    .spec_hash = "${n.hash}",
    .channels = ${n.c},
    .height = ${n.h},
    .width = ${n.w},
    .classes = ${n.classes},
    //$ if n.tokens
    .tokens = ${n.tokens},
    //$ end
    .tensor = tensors,
    .ntensor = sizeof tensors / sizeof *tensors,
    //$ if n.has_fixed
    .fixed = fixed,
    .nfixed = sizeof fixed / sizeof *fixed,
    //$ end
    .param_floats = ${n.param_floats},
    .running_floats = ${n.running_floats},
    .nbatches = ${n.batches},
    .stored_bytes = ${n.stored_bytes},
    .flops = INT64_C(${n.flops}),
    .min_batch = ${n.min_batch},
    //$ emit n.part_train_section
    .arena_bytes = ${n.name}_arena_bytes,
    .init = model_init,
    //$ if n.train
    .forward = model_forward,
    .backward = model_backward,
    //$ end
    .fold = model_fold,
    .infer = model_infer,
    .identity = identity,
};
//$ end

//$ define plain_trace
/* ${n.name}_trace.c - hands over what forward has stored, for `${n.name} trace`. ${n.licence} */
#include "${n.name}_layout.h"

static void hand(cvy_sink sink, void *user, const char *name, const float *data, int n, int c, int h, int w)
{
    const struct cvy_layout at = {4, {n, c, h, w}, {1, 1, 1, 1}, {(int64_t)c * h * w, (int64_t)h * w, w, 1}, {0, 0, 0, 0}, 0};

    sink(user, name, data, &at);
}

//$ if n.drops
/* 1 where dropout keeps an element, else 0. */
static float *mask(const char *stage, int n, uint32_t size, uint32_t below, const struct cvy_step *step, float *to)
{
    for (int m = 0; m < n; m++) {
        const uint64_t key = cvy_drop_key(cvy_stage(stage), step, m);
        for (uint32_t i = 0; i < size; i++)
            to[(int64_t)m * size + i] = (float)${n.name}_keeps(key, i, below);
    }
    return to;
}

//$ end
static int trace(struct cvy_net *base, const struct cvy_batch *batch, const struct cvy_step *step, float *scratch, cvy_sink sink, void *user)
{
    const struct ${n.name} *const net = (const struct ${n.name} *)(void *)base;

    if (!net || !batch || !batch->x || !step || !scratch || !sink || batch->n < 1 || batch->n != net->batch.n)
        return -1;
    const int n = batch->n;
    const struct ${n.name}_values *const v = &net->v;
    //$ for t in n.traces
    //$ if t.mask
    hand(sink, user, "mask.${t.path}", mask("${t.path}", n, ${t.floats}, ${t.below}, step, scratch), n, ${t.c}, ${t.h}, ${t.w});
    //$ end
    hand(sink, user, "act.${t.path}", ${t.value}, n, ${t.c}, ${t.h}, ${t.w});
    //$ end
    return 0;
}

static size_t trace_floats(int n)
{
    return n < 1 ? 0 : $[(size_t)n * ${n.trace_floats}];
}

const struct cvy_tracer ${n.name}_tracer = {trace, trace_floats};
//$ end

//$ define plain_bench
/* ${n.name}_bench.c - forward, backward and inference, and what they cost, for `${n.name} bench`. Part of the program, not of the library.
 * ${n.licence} */
#define CVY_PORTABLE 1

#include "${n.name}_layout.h"

#include "runtime/cvy_bench.h"

extern const struct cvy_bench ${n.name}_bench;

//$ if n.train
static void bench_forward(const struct cvy_bench_call *c)
{
    struct ${n.name} *const net = (struct ${n.name} *)(void *)c->net;

    ${n.name}_forward(net, &net->batch, c->step, NULL);
}

static void bench_backward(const struct cvy_bench_call *c)
{
    struct ${n.name} *const net = (struct ${n.name} *)(void *)c->net;

    ${n.name}_backward(net, &net->batch, c->step);
}

//$ end
static void bench_infer(const struct cvy_bench_call *c)
{
    const struct cvy_batch one = {c->x + c->image * INT64_C(${n.input_floats}), NULL, NULL, 1};
    float y[${n.classes}];

    ${n.name}_infer((struct ${n.name} *)(void *)c->net, &one, y);
}

/* FLOPs of an image: useful, executed, the fewest of all ways; bytes to and from memory, for an image and for a step, as if each op read and wrote its tensors once. */
//$ if n.train
static const struct cvy_bench_kernel training[] = {
    {"forward", ${n.forward_costs}, bench_forward},
    {"backward", ${n.backward_costs}, bench_backward},
};
//$ end
static const struct cvy_bench_kernel inference[] = {
    {"infer", ${n.infer_costs}, bench_infer},
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
