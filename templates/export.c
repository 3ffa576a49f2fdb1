// A trained network for inference alone: weights inside, nothing to link but libm. `n` is the network's record.

//$ define export_header
/* ${n.name}.h - a trained network, for inference: ${n.shape} -> ${n.classes} classes
 *
 * emitted by convoy ${n.version} from a spec with hash ${n.hash}; order ${n.order}; target ${n.target}
 * ${n.totals}
 * compile: ${n.compile}
 * (-fopenmp, where the compiler has it, shares the images of a call among threads); link with -lm.
 *
 //$ if n.state
 *     void *memory = malloc(${n.NAME}_ARENA_BYTES(1));        // or a static array
 *     struct ${n.name} *net = ${n.name}_init(memory, ${n.NAME}_ARENA_BYTES(1), 1);
 *     float state[${n.NAME}_STATE] = {0}, x[${n.NAME}_CHANNELS], y[${n.NAME}_CLASSES];
 *     // each step: fill x, each value (byte / 255 - mean) / std where it was trained with bytes
 *     ${n.name}_step(net, state, x, y);                       // y: a logit a class, of the steps so far
 *
 //$ else
 *     void *memory = malloc(${n.NAME}_ARENA_BYTES(1));        // or a static array; room for one thread
 *     struct ${n.name} *net = ${n.name}_init(memory, ${n.NAME}_ARENA_BYTES(1), 1);
 *     float x[${n.NAME}_CHANNELS * ${n.NAME}_HEIGHT * ${n.NAME}_WIDTH], y[${n.NAME}_CLASSES];
 *     // fill x: channel by channel, row by row, each value (byte / 255 - mean) / std
 *     ${n.name}_infer(net, x, y, 1);                          // y: a logit a class; the largest is the answer
 *
 //$ end
 //$ if n.state
 * No malloc, no files; what a stream has of its past is in `state` alone. Several networks live in
 //$ else
 * No malloc, no state outside `memory`, no files. Results do not depend on how many threads there are. Several networks live in
 //$ end
 * one program, also for different targets.
 * ${n.licence} */
#ifndef ${n.NAME}_H
#define ${n.NAME}_H

#include <stddef.h>

//$ emit n.part_api

#ifdef __cplusplus
extern "C" {
#endif

enum { ${n.NAME}_CHANNELS = ${n.c}, ${n.NAME}_HEIGHT = ${n.h}, ${n.NAME}_WIDTH = ${n.w}, ${n.NAME}_CLASSES = ${n.classes} };

//$ if n.tokens
/* It reads tokens: whole numbers from 0 to below this, as floats. Of anything else its answers are NaN. */
enum { ${n.NAME}_TOKENS = ${n.tokens} };
#define ${n.NAME}_MEAN {0}
#define ${n.NAME}_STD {1}
//$ else
/* How the network was trained to see bytes, a number a channel: x = (byte / 255 - mean) / std. */
#define ${n.NAME}_MEAN {${n.mean}}
#define ${n.NAME}_STD {${n.std}}
//$ end

/* Bytes that ${n.name}_init needs for up to `threads` threads. */
#define ${n.NAME}_ARENA_BYTES(threads) ((size_t)${n.fixed_bytes} + (size_t)(threads) * ${n.thread_bytes})
/* The same as a function, for other languages; 0 where threads are out of range. */
${n.NAME}_API size_t ${n.name}_arena_bytes(int threads);

struct ${n.name};

/* Lays the network out in `memory`, which stays the caller's. NULL where there is too little, threads are not 1 .. 4096, or the
 * processor lacks instructions of target ${n.target}. */
${n.NAME}_API struct ${n.name} *${n.name}_init(void *memory, size_t bytes, int threads);
//$ if n.state
/* Floats of a stream's state: what the steps so far leave. All zero before the first; nothing else is of the stream, so that a copy goes on
 * where it was made, with another struct ${n.name} or in the code of another target. */
enum { ${n.NAME}_STATE = ${n.state} };
/* One step: x: its ${n.c} numbers; y: the logits of the steps so far, as many as there are classes, or NULL where nobody wants them. One caller at a
 * time, any number of streams. Returns 0; or -1 and touches nothing where another pointer is NULL. */
${n.NAME}_API int ${n.name}_step(struct ${n.name} *net, float *state, const float *x, float *y);
//$ else
/* x: n images, each channels x height x width; y: n x classes logits. One caller at a time. Returns 0; or -1 and touches nothing
 * where a pointer is NULL or n is below 0. */
//$ if n.lengths
/* length: how many of the ${n.w} steps each has, from 1 on; what stands behind them may be anything. NULL: all of them. */
//$ end
${n.NAME}_API int ${n.name}_infer(struct ${n.name} *net, const float *x, float *y, int n${n.length});
//$ end

#ifdef __cplusplus
}
#endif
#endif
//$ end

//$ define export_offsets
/* Where the parts of each layer's weights stand in its array: floats. */
enum {
    //$ for o in n.offsets
    ${o.name} = ${o.at},
    //$ end
};

/* A thread's scratch: its floats, and where in it layers find what they read. */
enum {
    ${n.NAME}_SCRATCH = ${n.scratch},
    //$ for o in n.places
    ${o.name} = ${o.at},
    //$ end
};
//$ end

//$ define export_layout
/* ${n.name}_layout.h - what the network's files share. Not for users.
 * ${n.licence} */
#ifndef ${n.NAME}_LAYOUT_H
#define ${n.NAME}_LAYOUT_H

#if defined CVY_VEC_H && !defined ${n.macro}
#error "${n.name} is exported for ${n.target}, and this translation unit has the code of another target: compile each network's files by themselves"
#endif
#define ${n.macro} 1

//$ emit n.part_offsets

//$ for a in n.arrays
${a.decl};
//$ end

//$ for k in n.prototypes
${k.decl};
//$ end

#endif
//$ end

//$ define export_net_file
/* ${n.name}_net.c - the network, unrolled: a line a layer. ${n.licence} */
#include "${n.name}.h"

#include "${n.name}_layout.h"

#include "runtime/cvy_vec.h"
//$ emit n.part_body
//$ end

//$ define export_body

#if defined _OPENMP
#include <omp.h>
#endif
//$ if n.splits
/* Where each of the threads waits for the others. */
#if defined _OPENMP
#define CVY_PRAGMA(x) _Pragma(#x)
#define CVY_MEET(threads) do { if ((threads) > 1) { CVY_PRAGMA(omp barrier) } } while (0)
#else
#define CVY_MEET(threads) (void)(threads)
#endif
//$ end

struct ${n.name} {
    float *scratch;
    int threads;
};

size_t ${n.name}_arena_bytes(int threads)
{
    return threads < 1 || threads > 4096 || (size_t)threads > (SIZE_MAX - ${n.fixed_bytes}) / ${n.thread_bytes} ? 0 : ${n.NAME}_ARENA_BYTES(threads);
}

struct ${n.name} *${n.name}_init(void *memory, size_t bytes, int threads)
{
    if (!cvy_supported() || !memory || threads < 1 || threads > 4096 || bytes < ${n.fixed_bytes} || (bytes - ${n.fixed_bytes}) / ${n.thread_bytes} < (size_t)threads)
        return NULL;
    unsigned char *const at = (unsigned char *)memory + (64 - (uintptr_t)memory % 64) % 64;
    struct ${n.name} *const net = (struct ${n.name} *)(void *)at;
    net->scratch = (float *)(void *)(at + 64);
    net->threads = threads;
    return net;
}

//$ if n.state
int ${n.name}_step(struct ${n.name} *net, float *stream, const float *x, float *y)
{
    if (!net || !stream || !x)
        return -1;
    float *const s = net->scratch, *const state = s + (${n.NAME}_SCRATCH - ${n.NAME}_STATE); /* aligned, as cores read it */
    memcpy(state, stream, sizeof(float) * ${n.NAME}_STATE);
    //$ for l in n.infer
    ${l.line};
    //$ end
    memcpy(stream, state, sizeof(float) * ${n.NAME}_STATE);
    if (y)
        memcpy(y, ${n.result}, sizeof(float) * ${n.classes});
    return 0;
}
//$ else
//$ if n.splits
/* One image, layer by layer: each of `parts` threads does its part of it, the first what has no parts. s: the image's tensors; own: the
 * thread's scratch. */
static void ${n.name}_image(const float *x, float *y, float *s, float *own, int part, int parts)
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
        memcpy(y, ${n.result}, sizeof(float) * ${n.classes});
    CVY_MEET(parts);
}

//$ end
int ${n.name}_infer(struct ${n.name} *net, const float *x, float *y, int n${n.length})
{
    if (!net || n < 0 || (n > 0 && (!x || !y)))
        return -1;
    //$ if n.lengths
    for (int i = 0; length && i < n; i++)
        if (length[i] < 1 || length[i] > ${n.w})
            return -1;
    //$ end
    //$ if n.splits
    const int threads = net->threads, left = n % threads, alone = left <= threads / 2 ? n - left : n;
#if defined _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads) if(alone > 1)
#endif
    for (int i = 0; i < alone; i++) {
        float *s = net->scratch;
#if defined _OPENMP
        s += (ptrdiff_t)omp_get_thread_num() * ${n.NAME}_SCRATCH;
#endif
        ${n.name}_image(x + (ptrdiff_t)i * ${n.input_floats}, y + (ptrdiff_t)i * ${n.classes}, s, s, 0, 1);
    }
    if (alone == n)
        return 0;
#if defined _OPENMP
#pragma omp parallel num_threads(threads)
#endif
    for (int i = alone; i < n; i++) { /* all threads on each of the images that are left */
        int part = 0, parts = 1;
#if defined _OPENMP
        part = omp_get_thread_num(), parts = omp_get_num_threads();
#endif
        ${n.name}_image(x + (ptrdiff_t)i * ${n.input_floats}, y + (ptrdiff_t)i * ${n.classes}, net->scratch,
            net->scratch + (ptrdiff_t)part * ${n.NAME}_SCRATCH, part, parts);
    }
    //$ else
#if defined _OPENMP
#pragma omp parallel for schedule(static) num_threads(net->threads) if(n > 1)
#endif
    for (int i = 0; i < n; i++) {
        float *s = net->scratch;
#if defined _OPENMP
        s += (ptrdiff_t)omp_get_thread_num() * ${n.NAME}_SCRATCH;
#endif
        //$ for l in n.infer
        ${l.line};
        //$ end
        memcpy(y + (ptrdiff_t)i * ${n.classes}, ${n.result}, sizeof(float) * ${n.classes});
    }
    //$ end
    return 0;
}
//$ end
//$ end

//$ define export_single
/* ${n.name}.c - a trained network, for inference: ${n.shape} -> ${n.classes} classes. How to use it: ${n.name}.h.
 *
 * emitted by convoy ${n.version} from a spec with hash ${n.hash}; target ${n.target}
 * compile: ${n.compile}
 * ${n.licence} */
#include "${n.name}.h"

#if defined CVY_VEC_H && (!defined ${n.macro} || CVY_VEC_OF != ${n.vec_hash})
#error "${n.name}.c is exported for ${n.target}, and this translation unit has the code of another target or version: compile each by itself"
#endif
#define ${n.macro} 1
#define CVY_VEC_OF ${n.vec_hash}
//$ end
