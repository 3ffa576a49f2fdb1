/* split.c - which kernels of inference are split among threads where there are fewer images than threads, and how.
 *
 * needs: cores, chains, shared passes. sets: Kernel.split of Plan.infer, Plan.splits.
 *
 * Each thread packs what a part of the core reads for itself, so a kernel is split by channels where weights are large,
 * by rows or tiles where the image is. Numbers are the same: a pixel's sum is one thread's. */
#include "passes.h"

/* Cycles. Threads meet after each kernel, in one to two microseconds, and what one made is in the cache of another:
 * ResNet-20 (a million cycles) gained nothing from a second thread. They may have to be woken first, too. */
enum { KERNEL_WORTH = 20000, NETWORK_WORTH = 2000000 };
/* By the cost model of winograd.c: a tile's 16 channels into V; 16 x 16 channels of U from the taps, from a copy. */
enum { CYCLES_IN = 90, CYCLES_MADE = 1400, CYCLES_READ = 900 };

/* Whether what stands behind the core keeps to the channels that it is given. */
static bool keeps_channels(const Plan *p, const Kernel *k)
{
    const Chain *c = kernel_chain(k, CHAIN_AFTER);

    for (int i = 1; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        const int window = r->window < 0 ? OP_MAXPOOL : (int)p->g->op[r->window].kind;
        if (r->joined || r->shared || r->to.first || r->shape.c != p->g->op[k->op].shape.c)
            return false;
        if (window != OP_MAXPOOL && window != OP_AVGPOOL && window != OP_GLOBAL_AVG_POOL)
            return false;
    }
    return true;
}

static Split choose(const Plan *p, const Kernel *k)
{
    const Winograd *w = kernel_winograd(k, PASS_FORWARD);
    const Chain *after = kernel_chain(k, CHAIN_AFTER);
    const int vectors = kernel_vectors(k), blocks = kernel_out_blocks(k), steps = blocks / vectors;
    const bool places = after->n == 1 && (w ? w->tiles >= 4 : k->w->forward.h >= 8);
    const bool channels = steps > 1 && keeps_channels(p, k);

    if (!channels || !places)
        return channels ? SPLIT_CHANNELS : places ? SPLIT_PLACES : SPLIT_NONE;
    if (!w) /* whole columns of channels for two and four threads, or so many that it does not matter */
        return steps % 2 == 0 || steps > 4 ? SPLIT_CHANNELS : SPLIT_PLACES;
    return w->tiles * CYCLES_IN < blocks * (w->made ? CYCLES_MADE : CYCLES_READ) ? SPLIT_CHANNELS : SPLIT_PLACES;
}

static double kernel_cycles(const Kernel *k)
{
    return kernel_winograd(k, PASS_FORWARD) ? kernel_winograd_cycles(k, PASS_FORWARD) : k->w->forward.cycles;
}

/* Whether an image's statistics, or a tensor that several write, are made on the way. */
static bool meets(const Plan *p, const Kernel *k)
{
    return k->tensor <= 0 || k->nimage_norm || p->infer_tensor[k->tensor].nimage_norm || k->image[k->result].shared;
}

void split_build(Plan *p)
{
    double split = 0;

    if (p->g->spec->lengths || p->stream)
        return;
    for (int i = 0; i < p->ninfer; i++)
        if (p->infer[i].w && kernel_is_apart(&p->infer[i]))
            return;
    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        if (!k->w || kernel_cycles(k) < KERNEL_WORTH || meets(p, k))
            continue;
        k->split = choose(p, k);
        if (k->split)
            split += kernel_cycles(k);
    }
    p->splits = split >= NETWORK_WORTH;
    for (int i = 0; i < p->ninfer && !p->splits; i++)
        p->infer[i].split = SPLIT_NONE;
}
