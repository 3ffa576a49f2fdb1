/* memory.c - where everything lies.
 *
 * needs: kernels with cores and images.
 * sets:  parameter offsets, arena slots by lifetime, scratch offsets, the folded weights' offsets, totals.
 *
 * The arena has a fixed part, a part for each image of the batch and a part for each thread. In the images' part two tensors
 * share memory when no kernel needs both: each has a lifetime in steps (forward kernels, then backward ones), and the larger
 * ones are placed first, each as low as it fits. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

typedef struct Slot {
    int64_t floats, *at;
    int from, to; /* steps, inclusive */
    int order;
} Slot;

typedef struct Slots {
    Slot *item;
    int n;
} Slots;

static void add_slot(Slots *s, int64_t floats, int from, int to, int64_t *at)
{
    *PUSH(s->item, s->n) = (Slot){(floats + LANES - 1) / LANES * LANES, at, from, to, s->n - 1};
}

static int by_size(const void *a, const void *b)
{
    const Slot *x = a, *y = b;

    return x->floats != y->floats ? (x->floats < y->floats ? 1 : -1) : x->order - y->order;
}

/* Places every slot as low as those already placed and alive at the same time allow. Returns the top. */
static int64_t place(Slots *s)
{
    int64_t top = 0;

    if (s->n)
        qsort(s->item, (size_t)s->n, sizeof *s->item, by_size);
    for (int i = 0; i < s->n; i++) {
        Slot *a = &s->item[i];
        int64_t at = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (int j = 0; j < i; j++) {
                const Slot *b = &s->item[j];
                if (a->from <= b->to && b->from <= a->to && at < *b->at + b->floats && *b->at < at + a->floats) {
                    at = *b->at + b->floats;
                    moved = true;
                }
            }
        }
        *a->at = at;
        if (at + a->floats > top)
            top = at + a->floats;
    }
    return top;
}

static int64_t padded(int channels)
{
    return (int64_t)blocks_of(channels) * LANES;
}

static int64_t bytes_to_floats(int64_t bytes)
{
    return (bytes + 3) / 4;
}

static void place_images(Plan *p)
{
    const int last = p->nkernel - 1; /* the loss: forward and backward in one step */
    Slots slots = {0};

    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        const int forward = i, backward = 2 * last - i;
        if (k->after >= 0) { /* it stores its span's tensor, and reads the gradient of the first cut */
            Span *s = &p->span[k->after];
            const Shape t = s->shape[s->stored];
            add_slot(&slots, padded(t.c) * t.h * t.w, forward, backward, &s->stored_slot);
            p->stored_bytes += 4 * padded(t.c) * t.h * t.w;
            for (int r = 0; r < s->nroute; r++) {
                const Shape w = p->g->op[s->route[r]].shape;
                add_slot(&slots, bytes_to_floats(padded(w.c) * w.h * w.w), forward, backward, &s->route_slot[r]);
                p->stored_bytes += padded(w.c) * w.h * w.w;
            }
        }
        if (k->kind == KERNEL_LINEAR) {
            add_slot(&slots, k->image[k->x].floats, forward, forward, &k->mat_x);
            add_slot(&slots, k->image[k->y].floats, forward, forward, &k->mat_y);
            add_slot(&slots, k->image[k->x].floats, backward, backward, &k->mat_back_x);
            add_slot(&slots, k->image[k->dz].floats, backward, backward, &k->mat_dz);
            if (k->dx >= 0)
                add_slot(&slots, k->image[k->dx].floats, backward, backward, &k->mat_dx);
        }
    }
    for (int i = 0; i < p->nspan; i++) {
        Span *s = &p->span[i];
        for (int c = 0; c < s->ncut; c++) {
            if (!s->cut_grad[c] || !s->cut_kept[c])
                continue;
            int writer = -1, reader = -1;
            for (int j = 0; j < p->nkernel; j++) {
                const Kernel *k = &p->kernel[j];
                const bool pass = k->kind == KERNEL_PASS;
                if (k->before == i && (pass ? k->cut == c + 1 : c == s->ncut - 1))
                    writer = j;
                if (pass ? k->before == i && k->cut == c && c > 0 : k->after == i && c == 0)
                    reader = j;
            }
            if (writer < 0 || reader < 0)
                BUG("cut %d of span %d has no writer or no reader", c, i);
            const Shape t = s->shape[s->cut[c]];
            add_slot(&slots, padded(t.c) * t.h * t.w, 2 * last - writer, 2 * last - reader, &s->grad_slot[c]);
        }
    }
    p->image_floats = place(&slots);
}

static int64_t place_scratch(Image *image, int n, bool skip_ends)
{
    int64_t at = 0;

    for (int i = skip_ends ? 2 : 0; i < n; i++) {
        if (image[i].row)
            continue;
        image[i].at = at;
        at += (image[i].floats * image[i].copies + LANES - 1) / LANES * LANES;
    }
    return at;
}

static void place_params(Plan *p)
{
    const Graph *g = p->g;
    int64_t batches = 0;

    p->param_at = xalloc(sizeof *p->param_at * (size_t)(g->nparam + 1));
    for (int i = 0; i < g->nparam; i++) {
        const Param *q = &g->param[i];
        const int channels = g->op[q->op].shape.c;
        switch (q->role) {
        case PARAM_WEIGHT:
            for (int j = 0; j < p->nkernel; j++)
                if (p->kernel[j].wparam == i) {
                    p->param_at[i] = p->param_floats;
                    p->param_floats += p->kernel[j].w_floats;
                }
            break;
        case PARAM_BIAS:
        case PARAM_GAMMA:
        case PARAM_BETA:
            p->param_at[i] = p->param_floats;
            p->param_floats += padded(channels);
            break;
        case PARAM_MEAN:
        case PARAM_VAR:
            p->param_at[i] = p->running_floats;
            p->running_floats += padded(channels);
            break;
        case PARAM_COUNT:
            p->param_at[i] = batches++;
            break;
        }
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool memory_build(Plan *p)
{
    const Graph *g = p->g;
    const int batch = g->spec->train.batch;
    int64_t total;

    /* Pieces: enough for the cores that people have, few enough that their partial sums stay small. */
    p->pieces = batch / 8 < 16 ? batch / 8 : 16;
    if (p->pieces < 4)
        p->pieces = batch < 4 ? batch : 4;

    place_params(p);
    for (int i = 0; i < p->nnorm; i++) {
        Norm *n = &p->norm[i];
        n->floats = p->norm_floats;
        n->doubles = p->norm_doubles;
        p->norm_floats += 9 * n->padded;                          /* CVY_BN_FLOATS */
        p->norm_doubles += 5 * (int64_t)p->pieces * n->padded;    /* CVY_BN_DOUBLES */
    }
    place_images(p);
    p->wt_at = xalloc(sizeof *p->wt_at * (size_t)p->nkernel);
    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        p->wt_at[i] = p->wt_floats;
        p->wt_floats += k->wt_floats;
        if (k->kind == KERNEL_CONV || k->kind == KERNEL_LINEAR) {
            p->partial_floats = larger(p->partial_floats, k->w_floats);
            p->partial_bias = larger(p->partial_bias, padded(g->op[k->op].shape.c));
            k->fold_w = p->fold_floats;
            p->fold_floats += k->w_floats;
            k->fold_b = p->fold_floats;
            p->fold_floats += padded(g->op[k->op].shape.c);
        }
        k->scratch_train = place_scratch(k->image, k->nimage, false);
        p->scratch = larger(p->scratch, k->scratch_train + (k->kind == KERNEL_LINEAR ? k->image[k->x].floats + k->image[k->y].floats : 0)); /* trace */
        k->scratch_infer = place_scratch(k->infer_image, k->ninfer_image, true);
        /* inference: two images (input, output) of each kernel in turn at the two ends, its own in between */
        int64_t trace = 0;
        for (int j = 0; j < k->ntrace_image; j++) {
            k->trace_image[j].at = trace;
            trace += (k->trace_image[j].floats + LANES - 1) / LANES * LANES;
        }
        p->trace_floats = larger(p->trace_floats, trace);
    }
    int64_t ends = 0, inner = 0;
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        if (k->ninfer_image) {
            ends = larger(ends, larger(k->infer_image[0].floats, k->infer_image[1].floats));
            inner = larger(inner, k->scratch_infer);
        }
    }
    ends = (ends + LANES - 1) / LANES * LANES;
    p->infer_ends = ends;
    p->scratch_infer = 2 * ends + inner;
    for (int i = 0; i < p->naffine; i++) {
        p->affine[i].at = p->fold_floats;
        p->fold_floats += 2 * padded(g->op[p->affine[i].op].shape.c);
    }

    /* offsets inside one image are ints in the emitted code; everything else is 64 bits wide */
    const int64_t largest = larger(p->image_floats, larger(p->scratch, p->scratch_infer));
    if (largest > INT32_MAX || p->param_floats > INT32_MAX || !mul_fits(p->image_floats * 4, batch, &total) || total > INT64_C(1) << 46) {
        diag_error(g->spec->input_mark, "make the input, the channels or the batch smaller",
                   "the network is too large: %lld floats an image, %lld parameters", (long long)largest, (long long)p->param_floats);
        return false;
    }
    return true;
}
