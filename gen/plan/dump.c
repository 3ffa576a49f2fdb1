/* dump.c - `-d plan`: all of a plan, for golden tests.
 *
 * needs: a complete plan. sets: nothing. */
#include "words.h"

static void print_chain(const Plan *p, const char *what, const Chain *c, FILE *to)
{
    for (int i = 0; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        fprintf(to, "    %-9s %-8s %4dx%dx%d", i ? "" : what, r->name, r->shape.c, r->shape.h, r->shape.w);
        pass_print_steps(p, r, to);
        fputc('\n', to);
    }
}

static void print_core(const char *what, const Core *c, FILE *to)
{
    fprintf(to, "    %-9s %s: tiles", what, c->name);
    for (int i = 0; i < c->ntile; i++)
        fprintf(to, "%s %dx%d", i ? "," : "", c->tile[i].rows, c->tile[i].cols);
    fprintf(to, " pixels x %d channels, %d taps x %d lanes x %d blocks", c->vectors * LANES, c->ntap * c->rows,
            c->lanes, c->blocks);
    if (c->share)
        fprintf(to, c->lanewise ? ", lane by lane" : ", %d output blocks a group", c->share);
    fputc('\n', to);
}

static void print_winograd(const char *what, const Winograd *w, FILE *to)
{
    fprintf(to, "    %-9s %s: by Winograd%s, %d tiles of %d per image at a time, %d x %d in registers", "core", what,
            w->phases ? " of the stride's phases" : "", w->block, w->tiles, w->rows, w->vectors);
    if (w->made)
        fprintf(to, ", weights transformed on the way, %d input channels at a time", w->made * LANES);
    fprintf(to, w->images > 1 ? ", %d images together\n" : "\n", w->images);
}

static void dump_tensor(const Plan *p, int i, FILE *to)
{
    const Graph *g = p->g;
    const Tensor *nd = &p->tensor[i];

    fprintf(to, "node %s %dx%dx%d", g->op[nd->op].path, nd->shape[nd->nlink].c, nd->shape[nd->nlink].h,
            nd->shape[nd->nlink].w);
    if (nd->op == 0)
        fprintf(to, ": read again");
    else if (!nd->stored)
        fprintf(to, ": from %s", g->op[p->tensor[nd->root].op].path);
    else
        fprintf(to, ": stores %s %dx%dx%d at %lld%s", g->op[nd->stored_op].path, nd->shape[0].c, nd->shape[0].h,
                nd->shape[0].w, (long long)nd->slot,
                nd->kept         ? ", kept"
                : nd->recomputed ? ", made again"
                                 : "");
    for (int r = 0; r < nd->nroute; r++)
        fprintf(to, ", routes of %s at %lld", g->op[nd->route[r]].path, (long long)nd->route_slot[r]);
    for (int n = 0; n < nd->nnorm; n++)
        fprintf(to, ", norm %s", g->op[nd->norm[n]].path);
    for (int n = 0; n < nd->nimage_norm; n++)
        fprintf(to, ", image norm %s", g->op[nd->image_norm[n]].path);
    if (nd->grad)
        fprintf(to, ", gradient at %lld", (long long)nd->grad_slot);
    fputc('\n', to);
}

static void dump_chains(const Plan *p, const char *what, const Chain *c, int n, FILE *to)
{
    for (int i = 0; i < n; i++)
        print_chain(p, what, &c[i], to);
}

void plan_dump(const Plan *p, FILE *to)
{
    fprintf(to, "plan %s target %s pieces %d\n", p->g->spec->name, p->target->name, p->pieces);
    for (int i = 0; i < p->ntensor; i++)
        dump_tensor(p, i, to);
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        fprintf(to, "kernel %s %s%s%s\n", k->name, kernel_kind_text(p, k), k->w && !k->learns ? ", frozen" : "",
                k->back_data ? "" : ", no gradient of its input");
        dump_chains(p, "before", k->before, k->nin, to);
        if (kernel_winograd(k, PASS_FORWARD))
            print_winograd("forward", kernel_winograd(k, PASS_FORWARD), to);
        else if (k->conv)
            print_core("core", &k->w->forward, to);
        print_chain(p, "after", kernel_chain(k, CHAIN_AFTER), to);
        print_chain(p, "again", kernel_chain(k, CHAIN_AGAIN), to);
        print_chain(p, "back", kernel_chain(k, CHAIN_DOUT), to);
        if (k->conv) {
            const Winograd *data = kernel_winograd(k, PASS_DATA), *weights = kernel_winograd(k, PASS_WEIGHTS);
            if (data)
                print_winograd("data", data, to);
            for (int j = 0; j < k->conv->ndata && !data; j++)
                print_core("core", &k->conv->data[j], to);
            if (weights)
                print_winograd("weights", weights, to);
            else if (k->learns)
                fprintf(to, "    %-9s weights: %d x %d accumulators, %d images a walk\n", "core", k->conv->weight.nacc,
                        k->conv->weight.vectors, k->conv->weight.images);
        }
        dump_chains(p, "back", k->din, k->nin, to);
    }
    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        const bool direct = k->w && k->w->direct;
        fprintf(to, "infer %s%s\n", k->name, direct ? ", reads what is there" : "");
        if (!direct)
            dump_chains(p, "before", k->before, k->nin, to);
        for (int j = 0; k->w && j < k->w->nfold; j++)
            fprintf(to, "    folded    %s\n", p->g->op[k->w->fold[j]].path);
        print_chain(p, "after", kernel_chain(k, CHAIN_AFTER), to);
    }
    fprintf(to,
            "parameters %lld floats, an image %lld floats (at least %lld), scratch %lld floats, inference %lld floats "
            "(at least %lld), stored %lld bytes\n",
            (long long)p->param_floats, (long long)p->image_floats, (long long)p->image_bound, (long long)p->scratch,
            (long long)p->scratch_infer, (long long)p->infer_bound, (long long)p->stored_bytes);
}
