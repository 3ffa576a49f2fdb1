/* net.c - all of an emitted folder: the layers' files, and what ties them together.
 *
 * needs: a complete plan. sets: the files. */
#include "net.h"

#include "cost.h"
#include "names.h"

#include <stdlib.h>
#include <string.h>

/* ---- kernels ---- */

static bool has_trace(const Kernel *k)
{
    bool any = false;

    for (int i = 0; i < k->ntrace_image; i++)
        any |= k->trace_image[i].name != NULL;
    return any;
}

static const char *infer_prototype(const Net *n, const Kernel *k)
{
    return xprintf("void %s_infer(%s)", kernel_struct(n->p, k), emit_infer_parameters(n->p, k));
}

/* A row of what `NAME bench` measures: a kernel's call and what it costs. */
static void bench_row(const Net *n, const char *list, const Kernel *k, Phase phase, const char *verb, const char *call)
{
    const Cost c = plan_cost(n->p, k, phase);
    Rec *r = rec_add(n->rec, list);

    rec_fmt(r, "name", "%s.%s", k->name, verb);
    rec_fmt(r, "function", "%s_bench__%s_%s", n->name, k->name, verb); /* no network's or layer's own */
    rec_fmt(r, "costs", "%.1f, %.1f, %.1f, %.1f, %.1f", c.useful, c.executed, c.fewest, c.image_bytes, c.step_bytes);
    rec_str(r, "call", call);
}

static void bench_training(const Net *n, const Kernel *k, Phase phase, const char *verb)
{
    bench_row(n, "bench_training", k, phase, verb,
              xprintf("%s_%s(&((struct %s *)(void *)c->net)->%s%s, c->step)", kernel_struct(n->p, k), verb, n->name,
                      k->name, emit_takes_n(k, phase) ? ", c->n" : ""));
}

static void train_kernel(const Net *n, int i, bool backward)
{
    const Plan *p = n->p;
    const Kernel *k = &p->kernel[i];
    Rec *r = rec_add(n->rec, "kernels");
    const char *s = kernel_struct(p, k);

    rec_str(r, "name", k->name);
    rec_int(r, "train", 1);
    place_kernel(n, k, r);
    if (k->has_forward) {
        rec_int(r, "forward", 1);
        bench_training(n, k, PHASE_FORWARD, "forward");
        net_decl(r, "prototypes",
                 xprintf("void %s_forward(const struct %s *k, int n, const struct cvy_step *step)", s, s));
    }
    if (backward)
        net_decl(r, "prototypes",
                 xprintf("void %s_backward(const struct %s *k%s, const struct cvy_step *step)", s, s,
                         emit_takes_n(k, PHASE_BACKWARD) ? ", int n" : ""));
    if (k->runs_again)
        net_decl(r, "prototypes",
                 xprintf("void %s_again(const struct %s *k, int n, const struct cvy_step *step)", s, s));
    if (has_trace(k)) {
        rec_int(r, "traced", 1);
        net_decl(
            r, "prototypes",
            xprintf("void %s_trace(const struct %s *k, int n, const struct cvy_step *step, float *out, cvy_sink sink, "
                    "void *user)",
                    s, s));
    }
    for (int j = 0; j < k->nport; j++)
        if (k->port[j].value && p->tensor[p->tensor[k->port[j].tensor].root].op == 0)
            rec_str(rec_add(r, "inputs"), "name", k->port[j].name);
}

static void kernels(const Net *n)
{
    const Plan *p = n->p;
    const bool train = n->parts & PART_TRAIN;

    bool *backward = xalloc(sizeof *backward * (size_t)(p->nkernel + 1)); /* by kernel: it has such a function */

    for (int i = 0; train && i < p->nstep; i++)
        backward[p->step[i].kernel] |= p->step[i].phase == PHASE_BACKWARD && p->step[i].runs;
    for (int i = 0; train && i < p->nkernel; i++)
        train_kernel(n, i, backward[i]);
    for (int i = 0; i < p->ninfer; i++)
        rec_str(rec_add(n->rec, "infer_prototypes"), "decl", infer_prototype(n, &p->infer[i]));
    for (int i = p->nkernel; train && i < p->nstep; i++) {
        const TrainStep *s = &p->step[i];
        const char *verb = s->phase == PHASE_AGAIN ? "again" : "backward";
        if (!s->runs)
            continue;
        Rec *r = rec_add(n->rec, "backward");
        rec_str(r, "name", p->kernel[s->kernel].name);
        rec_str(r, "verb", verb);
        rec_fmt(r, "arguments", "&net->%s%s, step", p->kernel[s->kernel].name,
                emit_takes_n(&p->kernel[s->kernel], s->phase) ? ", n" : "");
        bench_training(n, &p->kernel[s->kernel], s->phase, verb);
    }
}

static void infer_calls(const Net *n)
{
    const bool lengths = n->g->spec->lengths;
    const Shape in = n->g->op[0].shape;

    rec_int(n->rec, "lengths", lengths);
    rec_str(n->rec, "fits", lengths ? "cvy_sequences_fit" : "cvy_batch_fits");
    rec_str(n->rec, "infers", lengths ? "cvy_sequences_infer" : "cvy_batch_infers");
    rec_str(n->rec, "steps", lengths ? xprintf(", %d", n->g->spec->input[2]) : "");
    emit_infer_places(n->p, n->rec, "infer_slots");
    for (int i = 0; i < n->p->ninfer; i++) {
        const Kernel *k = &n->p->infer[i];
        if (n->p->splits)
            emit_infer_line(n->p, i, "f", rec_add(n->rec, "infer"));
        else
            net_line(
                n->rec, "infer",
                emit_infer_call(n->p, k,
                                (InferArgs){"f", "x", "i", "s", "batch->length ? batch->length + i : NULL", 0, NULL}));
        bench_row(
            n, "bench_inference", k, PHASE_INFER, "infer",
            emit_infer_call(n->p, k, (InferArgs){"net->folded", "c->x", "c->image", "net->scratch", "NULL", 0, NULL}));
    }
    rec_int(n->rec, "splits", n->p->splits);
    rec_int(n->rec, "input_floats", (int64_t)in.c * in.h * in.w);
    rec_str(n->rec, "infer_result", emit_infer_result(n->p));
}

/* ---- the folder ---- */

static void add_file(OutDir *out, const char *name, const Buf *b)
{
    outdir_add(out, name, b->text, b->len);
}

static void expand_file(const Net *n, OutDir *out, const char *name, const char *template)
{
    Buf b = {0};

    template_expand(template, "n", n->rec, &b);
    add_file(out, name, &b);
}

/* Whether training has a kernel of that name, whose file holds inference's too. */
static bool trained(const Plan *p, const Kernel *infer)
{
    const Kernel *k = plan_kernel(p->kernel, p->nkernel, infer->op);

    return k && strcmp(k->name, infer->name) == 0;
}

/* What emits a file needs memory for its records many times the file's size: it is given back, and the text alone
 * stays. */
static void keep_file(OutDir *out, const char *name, const Buf *b, PoolMark mark)
{
    char *text = xmalloc(b->len), *path = xmalloc(strlen(name) + 1);
    const size_t len = b->len;

    memcpy(text, b->text, len);
    strcpy(path, name);
    pool_release(mark);
    outdir_add(out, xstrdup(path), xstrndup(text, len), len);
    free(text);
    free(path);
}

static void layer_file(const Net *n, OutDir *out, const Kernel *k, const Kernel *infer, Names *cores)
{
    const Kernel *any = k ? k : infer;
    const char *name = xprintf("%s_%s.c", n->name, any->name),
               *core = any->w ? xprintf("core_%s.h", any->w->core_name) : NULL;
    Buf b = {0}, header = {0};

    emit_source(n->rec, "network", name);
    PoolMark mark = pool_mark();
    emit_layer_file(n->p, k, infer, &b);
    keep_file(out, name, &b, mark);
    if (!core || (any->kind == KERNEL_LINEAR && !infer) || (*names_at(cores, core))++)
        return;
    mark = pool_mark();
    emit_core_file(n->p, any, infer, k != NULL, &header);
    keep_file(out, core, &header, mark);
}

void emit_network(const Plan *p, Parts parts, OutDir *out)
{
    NetPlace placing = {0};
    Net net = {.p = p,
               .g = p->g,
               .parts = parts,
               .name = p->g->spec->name,
               .NAME = upper(p->g->spec->name),
               .rec = rec_new(),
               .placing = &placing},
        *n = &net;
    Names cores = {0};

    template_load();
    layout_params(n);
    if (parts & PART_TRAIN) {
        layout_slots(n);
        place_norms(n);
        place_statistics(n);
    }
    kernels(n);
    layout_totals(n);
    place_folds(n);
    layout_tensors(n);
    infer_calls(n);

    emit_source(n->rec, "network", xprintf("%s_net.c", n->name));
    for (int i = 0; i < p->nkernel && (parts & PART_TRAIN); i++)
        layer_file(n, out, &p->kernel[i], parts & PART_INFER ? emit_infer_kernel(p, &p->kernel[i]) : NULL, &cores);
    for (int i = 0; i < p->ninfer && (parts & PART_INFER); i++)
        if (!(parts & PART_TRAIN) || !trained(p, &p->infer[i]))
            layer_file(n, out, NULL, &p->infer[i], &cores);
    if (parts & PART_TRAIN) {
        Buf b = {0};
        const PoolMark mark = pool_mark();
        emit_trace_file(p, &b);
        buf_puts(&b, "\n");
        template_expand("tracer", "n", n->rec, &b);
        keep_file(out, xprintf("%s_trace.c", n->name), &b, mark);
        emit_source(n->rec, "network", xprintf("%s_trace.c", n->name));
    }
    emit_source(n->rec, "network", xprintf("%s_weights.c", n->name));
    rec_int(n->rec, "cells", emit_has_cells(n->g));
    emit_runtime(n->rec, n->name, emit_has_cells(n->g), p->target, out);
    expand_file(n, out, xprintf("%s.h", n->name), "header");
    expand_file(n, out, xprintf("%s_weights.c", n->name), "weights_file");
    expand_file(n, out, xprintf("%s_layout.h", n->name), "layout");
    expand_file(n, out, xprintf("%s_net.c", n->name), "net");
    expand_file(n, out, xprintf("%s_bench.c", n->name), "bench");
    expand_file(n, out, "main.c", "main");
    expand_file(n, out, "Makefile", "makefile");
    expand_file(n, out, "meson.build", "meson");
    expand_file(n, out, "CMakeLists.txt", "cmake");
}
