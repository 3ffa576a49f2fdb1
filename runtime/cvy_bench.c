/* cvy_bench.c - `NAME bench`: the time of a step, and of each kernel in it, beside what the machine can do. Random
 * images and weights; nothing is read or written. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_rng.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_SAMPLES = 1 << 16 };

/* ---- samples ---- */

struct times {
    double *second; /* in the order in which they were taken; sorted by summarise */
    int n;
};
struct summary {
    double median, min, max;
};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct summary summarise(struct times *t)
{
    qsort(t->second, (size_t)t->n, sizeof *t->second, by_value);
    return (struct summary){(t->second[(t->n - 1) / 2] + t->second[t->n / 2]) / 2, t->second[0], t->second[t->n - 1]};
}

/* ---- what is measured ---- */

struct bench {
    const struct cvy_model *model;
    const struct cvy_bench *bench;
    struct cvy_run run;
    int train, batch, threads;
    double seconds;
    const struct cvy_bench_kernel *kernel;
    int nkernel;
    struct cvy_step step; /* learning rate 0: the same arithmetic, and weights that stay what they are */
    float *x, *y, *sink, *memory;
    int *label;
    int64_t floats;      /* of `memory` */
    double peak, stream; /* FLOP/s, bytes/s of the threads that run a kernel */
};

/* One thread is timed by what it has of the processor, so that other programs do not count; several by the clock on the
 * wall. */
static int by_processor(const struct bench *b)
{
    return b->threads == 1 || !b->train;
}

static double now(int processor)
{
    struct timespec t;

    if (!processor || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        return cvy_seconds();
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double reading_time(int processor)
{
    double least = 1;

    for (int i = 0; i < 1000; i++) {
        const double from = now(processor), to = now(processor);
        least = fmin(least, to - from);
    }
    return fmax(least, 0);
}

static void one_step(struct bench *b)
{
    const struct cvy_batch batch = {b->x, cvy_learns_classes(b->model) ? (const void *)b->label : b->y, NULL, b->batch};

    if (b->train) {
        b->model->forward(b->run.net, &batch, &b->step, NULL);
        b->model->backward(b->run.net, &batch, &b->step);
        b->step.step++;
    } else {
        b->model->infer(b->run.net, &batch, b->y);
    }
}

static void time_steps(struct bench *b, struct times *t)
{
    one_step(b);
    one_step(b);
    const double end = cvy_seconds() + b->seconds, reading = reading_time(b->threads == 1);
    while (t->n < MAX_SAMPLES && (t->n < 3 || cvy_seconds() < end)) {
        const double from = now(b->threads == 1);
        one_step(b);
        t->second[t->n++] = fmax(now(b->threads == 1) - from - reading, 1e-9);
    }
}

/* Each kernel by itself, in order: a whole training step, or all images through inference on one thread, a sample each.
 */
static void time_kernels(struct bench *b, struct times *t, int room)
{
    const double end = cvy_seconds() + b->seconds, reading = reading_time(by_processor(b));

    one_step(b); /* tells the kernels where the images are */
    for (int n = 0; n < room && (n < 3 || cvy_seconds() < end); n++) {
        double from, to;
        for (int k = 0; k < b->nkernel; k++)
            t[k].second[t[k].n++] = 1e-9; /* never nothing */
        from = now(by_processor(b));
        for (int i = 0; i < (b->train ? 1 : b->batch); i++)
            for (int k = 0; k < b->nkernel; k++, from = to) {
                const struct cvy_bench_call call = {b->run.net, b->batch, &b->step, b->x, i};
                b->kernel[k].call(&call);
                to = now(by_processor(b));
                t[k].second[n] += fmax(to - from - reading, 0);
            }
        b->step.step++;
    }
}

/* The most that the machine shows in a tenth of a second each: other programs can only make it less. */
static void measure_machine(struct bench *b)
{
    const int threads = b->train ? b->threads : 1;
    int64_t rounds = 1 << 14;

    for (double spent = 0; spent < 0.1;) {
        const double from = now(by_processor(b)), flops = b->bench->peak(threads, rounds, b->sink),
                     time = now(by_processor(b)) - from;
        spent += time;
        if (time < 0.002)
            rounds *= 2;
        else
            b->peak = fmax(b->peak, flops / time);
    }
    for (double spent = 0; spent < 0.1;) {
        const int many = (int)(1 + ((int64_t)1 << 20) / b->floats);
        const double from = now(by_processor(b)), bytes = b->bench->stream(threads, b->memory, b->floats, many),
                     time = now(by_processor(b)) - from;
        spent += time;
        b->stream = fmax(b->stream, bytes / fmax(time, 1e-9));
    }
}

/* ---- what is said ---- */

struct row {
    double ms, useful, executed, fewest, bytes; /* of a step */
    double compute, memory;                     /* ms that the machine needs at least, for operations and for bytes */
};

static struct row row_of(const struct bench *b, const struct cvy_bench_kernel *k, double seconds)
{
    struct row r = {1e3 * seconds,
                    b->batch * k->useful,
                    b->batch * k->executed,
                    b->batch * k->fewest,
                    b->batch * k->image_bytes + k->step_bytes,
                    0,
                    0};
    r.compute = 1e3 * r.fewest / b->peak;
    r.memory = 1e3 * r.bytes / b->stream;
    return r;
}

static void add_row(struct row *to, const struct row *r)
{
    to->ms += r->ms;
    to->useful += r->useful;
    to->executed += r->executed;
    to->fewest += r->fewest;
    to->bytes += r->bytes;
    to->compute += r->compute;
    to->memory += r->memory;
}

static const char *bound_of(const struct row *r)
{
    return r->compute > r->memory ? "compute" : "memory";
}

static void print_row(const struct bench *b, const char *name, const struct row *r, double total, double bound)
{
    printf("  %-26s %9.4f %5.1f", name, r->ms, 100 * r->ms / total);
    if (r->useful > 0)
        printf(" %9.1f %9.1f %5.1f", r->useful / r->ms / 1e6, r->executed / r->ms / 1e6,
               1e5 * r->useful / r->ms / b->peak);
    else
        printf(" %9s %9s %5s", "-", "-", "-");
    printf(" %9.3f %7.1f   %7.4f %-7s %5.1f\n", r->bytes / 1e6, r->bytes / r->ms / 1e6, bound, bound_of(r),
           100 * bound / r->ms);
}

static void print_text(const struct bench *b, const struct summary *step, const struct summary *kernel, int steps)
{
    const int threads = b->train ? b->threads : 1;
    struct row sum = {0};
    double total = 0, bound = 0;

    printf("%s for %s, %s, batch %d, %d thread%s; random images and weights\n", b->model->name,
           b->model->target ? b->model->target : "?", b->train ? "training" : "inference", b->batch, b->threads,
           b->threads == 1 ? "" : "s");
    printf("a step  %.4f ms (%.4f to %.4f, %d of them) by the %s, %.0f images/s\n", 1e3 * step->median, 1e3 * step->min,
           1e3 * step->max, steps, b->threads == 1 ? "processor's time" : "clock", b->batch / step->median);
    printf("peak    %.1f GFLOP/s in registers, %.1f GB/s through %.1f MB, both measured just now on %d thread%s\n\n",
           b->peak / 1e9, b->stream / 1e9, 4e-6 * (double)b->floats, threads, threads == 1 ? "" : "s");
    if (!b->train && b->threads > 1)
        printf("Kernels on one thread, which is how an image is done:\n");
    for (int k = 0; k < b->nkernel; k++)
        total += 1e3 * kernel[k].median;
    printf("  %-26s %9s %5s %9s %9s %5s %9s %7s   %7s %-7s %5s\n", "", "", "", "GFLOP/s", "", "% of", "MB to and", "",
           "bound,", "", "% of");
    printf("  %-26s %9s %5s %9s %9s %5s %9s %7s   %7s %-7s %5s\n", "kernel", "ms", "%", "useful", "executed", "peak",
           "from mem.", "GB/s", "ms", "by", "bound");
    for (int k = 0; k < b->nkernel; k++) {
        const struct row r = row_of(b, &b->kernel[k], kernel[k].median);
        const double least = fmax(r.compute, r.memory);
        print_row(b, b->kernel[k].name, &r, total, least);
        add_row(&sum, &r);
        bound += least;
    }
    print_row(b, "all", &sum, total, bound);
}

static json_t *json_row(const struct bench *b, const struct cvy_bench_kernel *k, const struct summary *s)
{
    const struct row r = row_of(b, k, s->median);
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s}", "name", k->name, "median_ms", r.ms, "min_ms",
                     1e3 * s->min, "max_ms", 1e3 * s->max, "useful_gflops", r.useful / r.ms / 1e6, "executed_gflops",
                     r.executed / r.ms / 1e6, "share_of_peak", 1e3 * r.useful / r.ms / b->peak, "bytes", r.bytes,
                     "bound_ms", fmax(r.compute, r.memory), "bound", bound_of(&r));
}

static int print_bench_json(const struct bench *b, const struct summary *step, const struct summary *kernel, int steps)
{
    json_t *o =
        json_pack("{s:s, s:s?, s:s, s:i, s:i, s:s, s:i, s:f, s:f, s:f, s:f}", "network", b->model->name, "target",
                  b->model->target, "what", b->train ? "train" : "infer", "batch", b->batch, "threads", b->threads,
                  "clock", b->threads == 1 ? "processor" : "wall", "steps", steps, "median_ms", 1e3 * step->median,
                  "min_ms", 1e3 * step->min, "max_ms", 1e3 * step->max, "images_per_second", b->batch / step->median);
    int ok = o != NULL;
    if (ok && kernel) {
        json_t *list = json_array();
        for (int k = 0; k < b->nkernel; k++)
            ok &= json_array_append_new(list, json_row(b, &b->kernel[k], &kernel[k])) == 0;
        ok &= json_object_set_new(o, "peak_gflops", json_real(b->peak / 1e9)) == 0 &&
              json_object_set_new(o, "stream_gbytes", json_real(b->stream / 1e9)) == 0;
        ok &= json_object_set_new(o, "kernels", list) == 0;
    }
    if (!ok) {
        json_decref(o);
        o = NULL;
    }
    return cvy_json_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
}

/* ---- the command ---- */

static int fill(struct bench *b)
{
    const struct cvy_model *m = b->model;
    const size_t image = (size_t)m->channels * (size_t)m->height * (size_t)m->width, n = (size_t)b->batch * image;
    const size_t arena = m->arena_bytes(b->train ? b->batch : 0, b->threads) / 4;

    b->floats = (int64_t)(arena < ((size_t)1 << 24) ? arena : (size_t)1 << 24) / 16 * 16; /* up to 64 MiB */
    b->x = cvy_alloc_aligned(n * sizeof *b->x);
    b->y = cvy_alloc((size_t)b->batch * (size_t)m->classes, sizeof *b->y);
    b->label = cvy_alloc((size_t)b->batch, sizeof *b->label);
    b->sink = cvy_alloc_aligned((size_t)b->threads * 64);
    b->memory = cvy_alloc_aligned((size_t)b->floats * sizeof *b->memory);
    if (!b->x || !b->y || !b->label || !b->sink || !b->memory ||
        !cvy_run_open(&b->run, m, b->train ? b->batch : 0, b->threads, 0))
        return 0;
    b->threads = b->run.net->threads; /* it may use fewer than it is offered */
    for (size_t i = 0; i < n; i++)
        b->x[i] = m->tokens ? (float)((i * 2654435761u) % (size_t)m->tokens)
                            : (float)cvy_normal(1, cvy_name_hash("bench"), i);
    for (int i = 0; i < b->batch; i++)
        b->label[i] = i % m->classes;
    cvy_draw(b->run.model, b->run.net, 1);
    m->fold(b->run.net);
    memcpy(b->step.hyper, m->train.hyper, sizeof b->step.hyper);
    b->step.weight_decay = (float)m->train.weight_decay;
    return 1;
}

static int measure(struct bench *b, int json, int kernels)
{
    const int room = MAX_SAMPLES / (b->nkernel ? b->nkernel : 1) + 3;
    struct times step = {cvy_alloc(MAX_SAMPLES + 3, sizeof(double)), 0};
    struct times *t = cvy_alloc((size_t)b->nkernel + 1, sizeof *t);
    struct summary *kernel = cvy_alloc((size_t)b->nkernel + 1, sizeof *kernel);
    double *all = cvy_alloc((size_t)b->nkernel * (size_t)room + 1, sizeof *all);
    int ok = step.second && t && kernel && all;

    if (ok) {
        if (kernels)
            measure_machine(b);
        time_steps(b, &step);
        for (int k = 0; k < b->nkernel; k++)
            t[k].second = all + (size_t)k * (size_t)room;
        if (kernels) {
            time_kernels(b, t, room);
            measure_machine(b);
            for (int k = 0; k < b->nkernel; k++)
                kernel[k] = summarise(&t[k]);
        }
        const struct summary s = summarise(&step);
        if (json)
            ok = print_bench_json(b, &s, kernels ? kernel : NULL, step.n);
        else
            print_text(b, &s, kernel, step.n);
    }
    free(all);
    free(kernel);
    free(t);
    free(step.second);
    return ok;
}

int cvy_command_bench(int argc, char **argv, const struct cvy_model *m, const struct cvy_bench *bench)
{
    const char *what = bench->training ? "train" : "infer";
    int batch = m->train.batch > 0 ? m->train.batch : 64, threads = cvy_processors(), json = 0, kernels = 0;
    double seconds = 2;
    struct cvy_option option[] = {
        {CVY_TEXT, "--what", "W", &what, 0, 0, "train: whole training steps; infer: inference", 0},
        {CVY_INT, "--batch", "N", &batch, 1, 1048576, "images per step", 0},
        {CVY_INT, "--threads", "N", &threads, 1, 1024, "", 0},
        {CVY_REAL, "--seconds", "S", &seconds, 0.001, 86400, "for the steps, and again for the kernels", 0},
        {CVY_FLAG, "--json", NULL, &json, 0, 0, "one line for scripts: the step alone ...", 0},
        {CVY_FLAG, "--kernels", NULL, &kernels, 0, 0, "... and each kernel, too", 0},
        {CVY_SECTION, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    int parsed = cvy_options_parse(argc, argv, 2, "bench", option);
    if (parsed < 0) {
        printf("usage: %s bench [options]\n\n", m->name);
        cvy_wrap("The time of a step and of each kernel, with its operations, the bytes that it must move to and from "
                 "memory, and the bound "
                 "that the machine sets: the larger of what the fewest operations that convoy knows for a layer, "
                 "whichever way it runs, and what those bytes take at the speed measured.\n\n",
                 0, 0);
        cvy_options_help(option);
        return 0;
    }
    if (parsed > 0 && strcmp(what, "train") != 0 && strcmp(what, "infer") != 0) {
        cvy_error("train or infer", "bench: --what %s: there is no such thing", what);
        parsed = 0;
    }
    if (parsed == 0)
        return 2;
    struct bench b = {.model = m,
                      .bench = bench,
                      .train = strcmp(what, "train") == 0,
                      .batch = batch,
                      .threads = threads,
                      .seconds = seconds};
    if (b.train && !bench->training) {
        cvy_error("--what infer", "bench: this network was emitted for inference alone");
        return 1;
    }
    if (b.train && batch < m->min_batch) {
        cvy_error(NULL, "bench: --batch %d: this network trains on batches of at least %d", batch, m->min_batch);
        return 1;
    }
    b.kernel = b.train ? bench->training : bench->inference;
    b.nkernel = b.train ? bench->ntraining : bench->ninference;
    const int ok = fill(&b) && measure(&b, json, kernels || !json);
    cvy_run_close(&b.run);
    free(b.x);
    free(b.y);
    free(b.label);
    free(b.sink);
    free(b.memory);
    return !ok;
}
