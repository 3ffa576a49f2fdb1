/* size.c - how much C a plan becomes, before it is printed.
 *
 * needs: a complete plan. sets: nothing.
 *
 * The bytes of a piece were fitted to the files of specs/ on four targets, those of names to names of 4 to 110 letters:
 * nine in ten kernels are told within a third, a folder within a fifth. That is enough to stop before a gigabyte is
 * printed. */
#include "emit.h"
#include "names.h"

#include <string.h>

enum {
    KERNEL = 6000,
    PASS = 1400,
    TRACED = 500, /* a pass of a trace, or of one of many operands: its call; most share their code with others */
    STEP = 110,
    SIDE = 140, /* a kernel's file, and its part of the network's and of the trace */
    CORE = 8000,
    TILE = 1050,
    STATEMENT = 125,
    SUM = 50,
    TRANSFORM = 2300, /* a core's header, which kernels of one shape share */
    CELL = 20000,     /* of a recurrent one besides */
};

/* The names in that text: kernels' of NAME letters and networks' of NET are counted in the bytes above. */
enum {
    NAME = 6,
    NET = 7,
    KERNEL_NAMES = 75, /* how often a kernel's name stands in its file and the network's, ... */
    PASS_NAMES = 22,   /* ... more for each pass of it, ... */
    KERNEL_NETS = 80,  /* ... and how often the network's does */
};

static int64_t chain_bytes(const Chain *c)
{
    int64_t n = 0;

    for (int i = 0; i < c->n; i++)
        n += (c->pass[i].joined ? TRACED : PASS) + (int64_t)STEP * c->pass[i].nstep + (int64_t)SIDE * c->pass[i].nskip;
    return n;
}

static int64_t layer_bytes(const Plan *p, const Kernel *k, bool train)
{
    const Chain *chain[] = {kernel_chain(k, CHAIN_AFTER), kernel_chain(k, CHAIN_AGAIN), kernel_chain(k, CHAIN_DOUT)};
    const int64_t name = (int64_t)strlen(k->name) - NAME, net = (int64_t)strlen(p->g->spec->name) - NET;
    int64_t n = KERNEL, passes = 0;

    for (int i = 0; i < (train ? 3 : 1); i++)
        n += chain_bytes(chain[i]), passes += chain[i]->n;
    n += train ? (int64_t)TRACED * k->trace.n : 0;
    for (int i = 0; i < k->nin && !(k->w && k->w->direct); i++)
        n += chain_bytes(&k->before[i]), passes += k->before[i].n;
    for (int i = 0; i < k->nin && train; i++)
        n += chain_bytes(&k->din[i]), passes += k->din[i].n;
    return n + name * (KERNEL_NAMES * (train ? 1 : 0) + PASS_NAMES * passes) + net * (train ? KERNEL_NETS : 0);
}

static int64_t pass_bytes(const Core *c)
{
    int64_t n = 0;

    for (int i = 0; i < c->ntile; i++) {
        const Tile *t = &c->tile[i];
        n += TILE +
             (int64_t)STATEMENT * c->ntap * (tile_loops(c, t->rows) ? 1 : c->rows) * t->rows * t->cols * c->vectors;
    }
    return n;
}

static int64_t core_bytes(const Kernel *k)
{
    int64_t n = CORE;

    if (k->recurrent)
        return n + CELL;
    if (k->kind == KERNEL_EMBED)
        return n;
    for (Pass pass = PASS_FORWARD; pass <= PASS_WEIGHTS; pass++)
        n += kernel_winograd(k, pass) ? TRANSFORM : 0;
    if (!kernel_winograd(k, PASS_FORWARD))
        n += pass_bytes(&k->w->forward);
    if (!k->conv)
        return n;
    for (int i = 0; i < k->conv->ndata && !kernel_winograd(k, PASS_DATA); i++)
        n += pass_bytes(&k->conv->data[i]);
    if (!kernel_winograd(k, PASS_WEIGHTS))
        n += (int64_t)SUM * k->conv->weight.nacc * k->conv->weight.vectors * k->conv->weight.pixels;
    return n;
}

static void add_kernels(EmitSize *s, const Plan *p, const Kernel *list, int n, bool train, Names *cores)
{
    for (int i = 0; i < n; i++) {
        const Kernel *k = &list[i];
        int64_t bytes = layer_bytes(p, k, train);
        s->layers += bytes;
        if (k->w && ++*names_at(cores, k->w->core_name) == 1) {
            s->cores += core_bytes(k);
            bytes += core_bytes(k);
        }
        if (bytes > s->most_bytes)
            s->most = k, s->most_bytes = bytes;
    }
}

EmitSize emit_size(const Plan *p, Parts parts)
{
    EmitSize s = {0};
    Names cores = {0};

    if (parts & PART_TRAIN)
        add_kernels(&s, p, p->kernel, p->nkernel, true, &cores);
    if (parts & PART_INFER)
        add_kernels(&s, p, p->infer, p->ninfer, false, &cores);
    return s;
}

bool emit_fits(const Plan *p, Parts parts)
{
    const EmitSize s = emit_size(p, parts);
    const int64_t bytes = s.layers + s.cores;
    const Spec *spec = p->g->spec;

    if (bytes <= EMIT_MOST)
        return true;
    const Op *op = &p->g->op[s.most->op];
    const bool mega = s.most_bytes >= 1 << 20;
    const bool unrolled = s.cores > s.layers && spec->unroll != UNROLL_NONE;
    diag_error(unrolled && spec->unroll_mark.line ? spec->unroll_mark : op->mark,
               unrolled          ? "unroll: none, or a smaller number of statements"
               : s.most->nin > 8 ? "a conv of kernel 1 after some repeats (transition), so that what follows a concat "
                                   "reads one tensor; or a smaller 'repeat'"
                                 : "a smaller 'repeat', or fewer layers",
               "about %lld MB of C would be written, and at most %d are; most of one layer, %lld %s, for %s",
               (long long)(bytes >> 20), EMIT_MOST >> 20, (long long)(s.most_bytes >> (mega ? 20 : 10)),
               mega ? "MB" : "KB", s.most->name);
    return false;
}
