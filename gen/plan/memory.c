/* memory.c - how much there is of everything, and where it lies.
 *
 * needs: kernels with cores and images; the order of a training step.
 * sets:  parameter offsets, arena slots by lifetime, scratch offsets, the folded weights' offsets, totals.
 *
 * The arena has a fixed part, a part for each image of the batch and a part for each thread. */
#include "passes.h"
#include "slots.h"

static int64_t place_scratch(Image *image, int n)
{
    int64_t at = 0;

    for (int i = 0; i < n; i++) {
        if (image[i].row || image[i].given)
            continue;
        image[i].at = at;
        at += (image[i].floats * image[i].copies + LANES - 1) / LANES * LANES;
    }
    return at;
}

static int64_t padded(int channels)
{
    return (int64_t)blocks_of(channels) * LANES;
}

/* Of running statistics inside a step: whole blocks. */
static int64_t running_floats(const Param *q)
{
    return ((int64_t)q->dim[0] * (q->ndim > 1 ? q->dim[1] : 1) + LANES - 1) / LANES * LANES;
}

/* Those of ops that learn, or those of the others, which stand behind them: what the optimiser keeps ends before. */
static void place_params_of(Plan *p, bool frozen, int64_t *batches)
{
    const Graph *g = p->g;

    for (int i = 0; i < g->nparam; i++) {
        const Param *q = &g->param[i];
        const int64_t floats = p->param_at[i];
        if (g->op[q->op].frozen != frozen)
            continue;
        switch (q->role) {
        case PARAM_WEIGHT:
        case PARAM_HIDDEN_WEIGHT:
            p->param_at[i] = p->param_floats;
            p->param_floats += floats;
            break;
        case PARAM_BIAS:
        case PARAM_HIDDEN_BIAS:
            p->param_at[i] = p->param_floats;
            p->param_floats += padded(q->dim[0]);
            break;
        case PARAM_GAMMA:
        case PARAM_BETA:
            p->param_at[i] = p->param_floats;
            p->param_floats += q->place ? padded(q->dim[0]) : plan_norm(p, q->op)->padded;
            break;
        case PARAM_MEAN:
        case PARAM_VAR:
            p->param_at[i] = p->running_floats;
            p->running_floats += q->place ? running_floats(q) : plan_norm(p, q->op)->padded;
            break;
        case PARAM_COUNT:
            p->param_at[i] = (*batches)++;
            break;
        }
    }
}

static void place_params(Plan *p)
{
    int64_t batches = 0;

    p->param_at = xalloc(sizeof *p->param_at * (size_t)(p->g->nparam + 1));
    for (int j = 0; j < p->nkernel; j++) { /* sizes, until they have places */
        const Kernel *k = &p->kernel[j];
        if (k->w)
            p->param_at[k->w->wparam] = k->w->w_floats;
        if (k->recurrent)
            p->param_at[graph_param(p->g, k->op, PARAM_HIDDEN_WEIGHT)] =
                k->recurrent->grad_at[2] - k->recurrent->grad_at[1];
    }
    place_params_of(p, false, &batches);
    p->learning_floats = p->param_floats;
    place_params_of(p, true, &batches);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What image norms need in a kernel's scratch, after its images. Returns the end. */
static int64_t place_image_norms(const Graph *g, Kernel *k, const Tensor *tensor, int64_t at)
{
    for (int i = 0; i < k->nimage_norm; i++) {
        const int64_t floats = padded(g->op[k->image_norm[i].op].shape.c);
        k->image_norm[i].constants = at;
        k->image_norm[i].sums = at + CVY_GN_CONSTANTS * floats;
        at += CVY_GN_CONSTANTS * floats + 2 * CVY_BN_SUMS * floats; /* a double is two floats */
    }
    if (k->tensor < 0 || !tensor[k->tensor].nimage_norm)
        return at;
    const int64_t room =
        padded(tensor[k->tensor].shape[tensor[k->tensor].nlink].c) + LANES; /* a path may write past the last channel */
    k->image_stats = at;
    const int64_t sums = 2 * CVY_STATS_PART * room; /* a double is two floats */
    k->batch_sums = at + sums;
    k->image_back = k->batch_sums + (tensor[k->tensor].nnorm ? sums : 0);
    return k->image_back + CVY_TAKEN * room;
}

static void place_kernels(Plan *p)
{
    const Graph *g = p->g;

    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        if (k->conv)
            p->copy_floats = larger(p->copy_floats, larger(k->conv->wt_floats, k->conv->wu_floats));
        if (k->recurrent)
            p->copy_floats = larger(p->copy_floats, larger(k->recurrent->packed, k->recurrent->turned));
        if (k->learns && k->recurrent) { /* in one piece, in the room of all pieces */
            p->partial_floats = larger(p->partial_floats, (k->recurrent->grads + p->pieces - 1) / p->pieces);
        } else if (k->learns && k->kind == KERNEL_EMBED) {
            p->partial_floats = larger(p->partial_floats, (k->w->w_floats + p->pieces - 1) / p->pieces);
        } else if (k->learns) {
            p->partial_floats = larger(p->partial_floats, k->w->w_floats);
            p->partial_bias = larger(p->partial_bias, padded(g->op[k->op].shape.c));
        }
        k->scratch = place_image_norms(g, k, p->tensor, place_scratch(k->image, k->nimage));
        p->scratch = larger(p->scratch, k->scratch + (k->kind == KERNEL_LINEAR
                                                          ? k->image[k->w->x].floats + k->image[k->rows->y].floats
                                                          : 0)); /* trace */
        int64_t trace = 0;
        for (int j = 0; j < k->ntrace_image; j++) {
            k->trace_image[j].at = trace;
            trace += (k->trace_image[j].floats + LANES - 1) / LANES * LANES;
        }
        p->trace_floats = larger(p->trace_floats, trace);
    }
    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        k->scratch = place_image_norms(g, k, p->infer_tensor, place_scratch(k->image, k->nimage));
        if (!k->w)
            continue;
        k->w->fold_w = p->fold_floats;
        p->fold_floats += k->w->fold_floats;
        k->w->fold_b = p->fold_floats;
        p->fold_floats += kernel_is_apart(k) ? 0 : padded(g->op[k->op].shape.c);
    }
}

int64_t affine_floats(const Plan *p, const Affine *a)
{
    return (op_is_image_norm(p->g->op[a->op].kind) ? CVY_FOLDED_IMAGE : CVY_FOLDED_NORM) *
           (int64_t)plan_norm(p, a->op)->padded;
}

bool memory_build(Plan *p)
{
    const Graph *g = p->g;
    const int batch = g->spec->train.batch;
    int64_t total;

    p->pieces = plan_pieces(batch);
    place_params(p);
    for (int i = 0; i < p->nnorm; i++) {
        Norm *n = &p->norm[i];
        n->floats = p->norm_floats;
        n->doubles = p->norm_doubles;
        p->norm_floats += CVY_BN_FLOATS(n->padded);
        p->norm_doubles +=
            p->g->op[n->op].output_grad && !op_is_still(&p->g->op[n->op]) ? CVY_BN_DOUBLES(n->padded, p->pieces) : 0;
    }
    for (int i = 0; i < p->nkernel; i++)
        for (int j = 0; p->kernel[i].recurrent && j < p->kernel[i].recurrent->nnorm; j++) {
            CellNorm *m = &p->kernel[i].recurrent->norm[j];
            const int64_t numbers = m->vectors * padded(p->kernel[i].recurrent->cell.hidden);
            if (!place_is_bn(m->norm))
                continue;
            m->stats_at = p->norm_floats;
            p->norm_floats += numbers * (m->norm->step ? p->kernel[i].recurrent->steps : 1);
            m->both_at = p->norm_doubles;
            p->norm_doubles += 2 * numbers;
        }
    for (int i = 0; i < p->ntensor; i++) {
        Tensor *n = &p->tensor[i];
        if (n->nnorm == 0)
            continue;
        const int64_t room = padded(n->shape[n->nlink].c) + LANES; /* a path may write past the last channel */
        n->stats_floats = p->norm_floats;
        n->stats_at = p->norm_doubles;
        p->norm_floats += CVY_STATS_FLOATS(room);
        p->norm_doubles += CVY_STATS_DOUBLES(room, p->pieces);
    }
    place_kernels(p);
    lifetime_images(p);
    lifetime_inference(p);
    for (int i = 0; i < p->naffine; i++) {
        Affine *a = &p->affine[i];
        a->at = p->fold_floats;
        p->fold_floats += affine_floats(p, a);
    }

    /* offsets inside one image are ints in the emitted code; everything else is 64 bits wide */
    const int64_t largest = larger(p->image_floats, larger(p->scratch, p->scratch_infer));
    if (p->fold_floats > INT32_MAX || p->running_floats > INT32_MAX || largest > INT32_MAX ||
        p->param_floats > INT32_MAX || !mul_fits(p->image_floats * 4, batch, &total) || total > INT64_C(1) << 46) {
        diag_error(g->spec->input_mark, "make the input, the channels or the batch smaller",
                   "the network is too large: %lld floats per image, %lld parameters", (long long)largest,
                   (long long)p->param_floats);
        return false;
    }
    return true;
}
