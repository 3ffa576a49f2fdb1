/* plan.c - the passes from graph to plan in order, the checker behind them, and what the plan looks like to people.
 *
 * needs: a checked graph with gradients marked. sets: a complete plan. */
#include "plan.h"

#include <string.h>

Plan *plan_build(const Graph *g, const Target *t)
{
    Plan *p = fuse_build(g, t);

    tile_build(p);
    if (!memory_build(p))
        return NULL;
    plan_check(p);
    return p;
}

/* ---- the checker ---- */

static void check_chain(const Plan *p, const Chain *c, int nimage)
{
    for (int i = 0; i < c->n; i++) {
        const Run *r = &c->run[i];
        if (r->from_image >= nimage || r->value_image >= nimage || r->to_image >= nimage || r->scatter_image >= nimage)
            BUG("run %s names an image that is not there", r->name);
        if (r->value == AT_IMAGE && r->value_image < 0)
            BUG("run %s recomputes from no image", r->name);
        if (r->window >= 0 && op_info[p->g->op[r->window].kind].cls != CLASS_WINDOW)
            BUG("run %s starts with what is no window", r->name);
        if (r->from == NOWHERE)
            BUG("run %s reads nothing", r->name);
        int known = r->first;
        for (int s = 0; s < r->nstep; s++) {
            const Step *step = &r->step[s];
            const bool forward = step->kind == STEP_FORWARD || step->kind == STEP_AFFINE || step->kind == STEP_MASK;
            if (forward && step->in != known)
                BUG("run %s computes v%d from v%d, which is not at hand", r->name, step->out, step->in);
            if (forward)
                known = step->out;
            else if ((step->kind == STEP_STORE || step->kind == STEP_STATS || step->kind == STEP_SUMS || step->kind == STEP_NORM_BACK) &&
                     (step->in < r->first || step->in > known))
                BUG("run %s uses v%d, which is not at hand", r->name, step->in);
        }
    }
}

void plan_check(const Plan *p)
{
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        const Chain *train[] = {&k->in, &k->out, &k->again, &k->dout, &k->din};
        for (size_t j = 0; j < sizeof train / sizeof *train; j++)
            check_chain(p, train[j], k->nimage);
        check_chain(p, &k->trace_in, k->ntrace_image);
        check_chain(p, &k->trace_out, k->ntrace_image);
        check_chain(p, &k->pre, k->ninfer_image);
        check_chain(p, &k->post, k->ninfer_image);
        for (int j = 0; j < i; j++)
            if (strcmp(p->kernel[j].name, k->name) == 0)
                BUG("two kernels are called %s", k->name);
        if (k->kind == KERNEL_CONV && (k->forward.vectors < 1 || k->forward.out_blocks % k->forward.vectors))
            BUG("kernel %s has a tile that does not divide its channels", k->name);
        if (k->kind == KERNEL_CONV && k->forward.share && k->forward.share % k->forward.vectors)
            BUG("kernel %s has a tile across two groups", k->name);
    }
    for (int i = 0; i < p->nspan; i++) {
        const Span *s = &p->span[i];
        if (s->stored > s->nop || (s->cut_op[0] >= 0 && s->stored >= s->cut[0]))
            BUG("span %d stores what stands behind its barrier", i);
    }
}

/* ---- for people ---- */

static const char *const kind_name[] = {[KERNEL_CONV] = "conv", [KERNEL_LINEAR] = "linear", [KERNEL_PASS] = "pass", [KERNEL_LOSS] = "loss"};

static void print_steps(const Plan *p, const Run *r, FILE *to)
{
    static const char *const verb[] = {[STEP_FORWARD] = "", [STEP_AFFINE] = "affine ", [STEP_MASK] = "mask ", [STEP_STORE] = "store", [STEP_STATS] = "statistics ",
                                       [STEP_BACK] = "back ", [STEP_NORM_BACK] = "norm-back ", [STEP_SUMS] = "sums "};

    if (r->window >= 0)
        fprintf(to, " %s%s", r->back ? "through " : "", p->g->op[r->window].path);
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        fprintf(to, "%s %s%s", i || r->window >= 0 ? "," : "", verb[s->kind], s->op >= 0 ? p->g->op[s->op].path : "");
    }
}

static void print_chain(const Plan *p, const char *what, const Chain *c, FILE *to)
{
    for (int i = 0; i < c->n; i++) {
        const Run *r = &c->run[i];
        fprintf(to, "    %-9s %-8s %4dx%dx%d", i ? "" : what, r->name, r->shape.c, r->shape.h, r->shape.w);
        print_steps(p, r, to);
        fputc('\n', to);
    }
}

static void print_core(const char *what, const Core *c, FILE *to)
{
    fprintf(to, "    %-9s %s: tile %dx%d pixels x %d channels, %d taps x %d lanes x %d blocks", what, c->name, c->tile[0].rows, c->tile[0].cols,
            c->vectors * LANES, c->ntap * c->rows, c->lanes, c->blocks);
    if (c->share)
        fprintf(to, c->lanewise ? ", lane by lane" : ", %d output blocks a group", c->share);
    fputc('\n', to);
}

void plan_dump(const Plan *p, FILE *to)
{
    fprintf(to, "plan %s target %s pieces %d\n", p->g->spec->name, p->target->name, p->pieces);
    for (int i = 0; i < p->nspan; i++) {
        const Span *s = &p->span[i];
        const Shape t = s->shape[s->stored];
        fprintf(to, "span %d stores %s %dx%dx%d at %lld", i, s->from_input && !s->stored ? "input" : s->stored ? p->g->op[s->op[s->stored - 1]].path : "z", t.c,
                t.h, t.w, (long long)s->stored_slot);
        for (int r = 0; r < s->nroute; r++)
            fprintf(to, ", routes of %s at %lld", p->g->op[s->route[r]].path, (long long)s->route_slot[r]);
        for (int c = 0; c < s->ncut; c++)
            fprintf(to, "; cut behind %s%s", s->cut_op[c] >= 0 ? p->g->op[s->cut_op[c]].path : "the stored tensor",
                    s->cut_grad[c] && s->cut_kept[c] ? xprintf(", gradient at %lld", (long long)s->grad_slot[c]) : "");
        fputc('\n', to);
    }
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        fprintf(to, "kernel %s %s%s\n", k->name, kind_name[k->kind], k->back_data ? "" : ", no gradient of its input");
        print_chain(p, "before", &k->in, to);
        if (k->kind == KERNEL_CONV)
            print_core("core", &k->forward, to);
        print_chain(p, "after", &k->out, to);
        print_chain(p, "again", &k->again, to);
        print_chain(p, "back", &k->dout, to);
        if (k->kind == KERNEL_CONV) {
            for (int j = 0; j < k->ndata; j++)
                print_core("core", &k->data[j], to);
            fprintf(to, "    %-9s weights: %d x %d accumulators, %d images a walk\n", "core", k->weight.nacc, k->weight.vectors, k->weight.images);
        }
        print_chain(p, "back", &k->din, to);
        print_chain(p, "infer", &k->pre, to);
        print_chain(p, "infer", &k->post, to);
    }
    fprintf(to, "parameters %lld floats, an image %lld floats, scratch %lld floats, stored %lld bytes\n", (long long)p->param_floats,
            (long long)p->image_floats, (long long)p->scratch, (long long)p->stored_bytes);
}

static void explain_runs(const Plan *p, const char *what, const Chain *c, FILE *to)
{
    fprintf(to, "  %-10s", what);
    bool any = false;
    for (int i = 0; i < c->n; i++) {
        const Run *r = &c->run[i];
        if (r->window < 0 && r->nstep == 0)
            continue;
        fputs(any ? ";" : "", to);
        print_steps(p, r, to);
        any = true;
    }
    fputs(any ? "\n" : " nothing\n", to);
}

static bool of_layer(const Plan *p, int op, const char *layer)
{
    return op >= 0 && strcmp(p->g->op[op].layer, layer) == 0;
}

/* Whether a kernel runs a stage of the layer, or is its weight op's. */
static bool concerns(const Plan *p, const Kernel *k, const char *layer)
{
    const Chain *chain[] = {&k->in, &k->out, &k->dout, &k->din};

    if (of_layer(p, k->op, layer))
        return true;
    for (size_t i = 0; i < sizeof chain / sizeof *chain; i++)
        for (int r = 0; r < chain[i]->n; r++) {
            const Run *run = &chain[i]->run[r];
            if (of_layer(p, run->window, layer))
                return true;
            for (int s = 0; s < run->nstep; s++)
                if (of_layer(p, run->step[s].op, layer))
                    return true;
        }
    return false;
}

void plan_explain(const Plan *p, const char *layer, FILE *to)
{
    fprintf(to, "%s for %s: %d kernels, %lld bytes an image stored for backward\n", p->g->spec->name, p->target->name, p->nkernel,
            (long long)p->stored_bytes);
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        if (layer && !concerns(p, k, layer))
            continue;
        fprintf(to, "\n%s (%s)\n", k->name, kind_name[k->kind]);
        explain_runs(p, "before:", &k->in, to);
        if (k->after >= 0) {
            const Span *s = &p->span[k->after];
            const Shape t = s->shape[s->stored];
            explain_runs(p, "after:", &k->out, to);
            fprintf(to, "  %-10s %s, %dx%dx%d: %s\n", "stored:", s->stored ? p->g->op[s->op[s->stored - 1]].path : "its output", t.c, t.h, t.w, s->why);
        }
        if (k->kind == KERNEL_CONV) {
            fprintf(to, "  %-10s %d x %d pixels x %d channels in registers, weight gradients %d x %d\n", "tile:", k->forward.tile[0].rows,
                    k->forward.tile[0].cols, k->forward.vectors * LANES, k->weight.nacc, k->weight.vectors);
            if (p->g->op[k->op].groups > 1)
                fprintf(to, "  %-10s %s\n", "groups:", k->xg >= 0    ? "lane by lane, on images gathered so that lane meets lane"
                                                       : k->lanewise ? "lane by lane"
                                                                     : "of whole blocks of channels, one after the other");
        }
        if (k->wparam >= 0 && p->g->op[k->op].bias_why)
            fprintf(to, "  %-10s %s\n", "bias:", p->g->op[k->op].bias_why);
    }
    bool any = false;
    for (int i = 0; i < p->nnorm; i++) {
        if (layer && !of_layer(p, p->norm[i].op, layer))
            continue;
        fprintf(to, "%s  %-12s %s\n", any ? "" : "\nnorms at inference\n", p->g->op[p->norm[i].op].path, p->norm[i].inference);
        any = true;
    }
}
