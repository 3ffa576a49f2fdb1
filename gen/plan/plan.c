/* plan.c - the passes from graph to plan in order, the checker behind them, and what the plan looks like to people.
 *
 * needs: a checked graph with gradients marked. sets: a complete plan. */
#include "names.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

Plan *plan_build(const Graph *g, const Target *t)
{
    return plan_build_as(g, t, true, false);
}

Plan *plan_build_as(const Graph *g, const Target *t, bool fold, bool compact)
{
    Plan *p = xalloc(sizeof *p);

    p->g = g;
    p->target = t;
    p->fold = fold;
    p->compact = compact;
    winograd_choose(p);
    if (!flow_build(p, false) || !flow_build(p, true))
        return NULL;
    fuse_build(p);
    tile_build(p);
    winograd_build(p);
    if (!memory_build(p))
        return NULL;
    plan_check(p);
    return p;
}

bool plan_fits(const Graph *g)
{
    Plan *p = xalloc(sizeof *p);

    p->g = g;
    p->target = target_find("portable"); /* the budget is the same for all */
    p->fold = true;
    winograd_choose(p);
    return flow_build(p, false) && flow_build(p, true);
}

/* ---- the checker ---- */

static void check_place(const Kernel *k, const Run *r, const Place *p, int nimage)
{
    if (p->where == AT_IMAGE && p->image >= nimage)
        BUG("run %s of %s names an image that is not there", r->name, k->name);
    if ((p->where == AT_SLOT || p->where == AT_X) && (p->port < 0 || p->port >= k->nport))
        BUG("run %s of %s names a port that is not there", r->name, k->name);
    if ((p->where == AT_SLOT || p->where == AT_IMAGE) && (p->first < 0 || p->first + r->shape.c > p->total) &&
        r->window < 0)
        BUG("run %s of %s: channels %d and on, %d of them, of %d", r->name, k->name, p->first, r->shape.c, p->total);
}

/* Whether every value is computed before it is used. */
static void check_values(const Run *r)
{
    bool *known = xalloc((size_t)r->next + 1);

    if (!r->back || r->value.where != NOWHERE)
        known[r->first] = true;
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        const bool makes = s->kind <= STEP_MASK || s->kind == STEP_ADD || s->kind == STEP_SIDE;
        const bool reads = s->kind != STEP_SIDE && s->kind != STEP_SPLIT && s->kind != STEP_GIVE &&
                           s->kind != STEP_BACK && s->kind != STEP_SCALE;
        if ((reads && (s->in < 0 || s->in >= r->next || !known[s->in])) || (s->kind == STEP_ADD && !known[s->in2]))
            BUG("run %s uses v%d, which is not at hand", r->name, s->in);
        if (makes && (s->out < 0 || s->out >= r->next))
            BUG("run %s makes v%d", r->name, s->out);
        if (makes)
            known[s->out] = true;
        if (s->g > r->grads)
            BUG("run %s names gradient %d of %d", r->name, s->g, r->grads);
    }
}

static void check_chain(const Plan *p, const Kernel *k, const Chain *c, int nimage)
{
    for (int i = 0; i < c->n; i++) {
        const Run *r = &c->run[i];
        check_place(k, r, &r->from, nimage);
        check_place(k, r, &r->value, nimage);
        check_place(k, r, &r->to, nimage);
        if (r->scatter_image >= nimage)
            BUG("run %s names an image that is not there", r->name);
        if (r->window >= 0 && op_info[p->g->op[r->window].kind].cls != CLASS_WINDOW)
            BUG("run %s starts with what is no window", r->name);
        if (r->from.where == NOWHERE)
            BUG("run %s reads nothing", r->name);
        check_values(r);
    }
}

static void check_kernels(const Plan *p, const Kernel *list, int n)
{
    Names names = {0};

    for (int i = 0; i < n; i++) {
        const Kernel *k = &list[i];
        for (int j = 0; j < k->nin; j++) {
            check_chain(p, k, &k->before[j], k->nimage);
            if (k->din)
                check_chain(p, k, &k->din[j], k->nimage);
        }
        check_chain(p, k, kernel_chain(k, CHAIN_AFTER), k->nimage);
        check_chain(p, k, kernel_chain(k, CHAIN_AGAIN), k->nimage);
        check_chain(p, k, kernel_chain(k, CHAIN_DOUT), k->nimage);
        check_chain(p, k, &k->trace, k->ntrace_image);
        if (++*names_at(&names, k->name) > 1)
            BUG("two kernels are called %s", k->name);
        if (k->conv && (k->w->forward.vectors < 1 || k->w->forward.out_blocks % k->w->forward.vectors))
            BUG("kernel %s has a tile that does not divide its channels", k->name);
        for (int j = 0; j < k->nport; j++)
            if (k->port[j].node != k->node && list == p->kernel && p->node[k->port[j].node].maker >= i)
                BUG("kernel %s reads what is made later", k->name);
    }
}

static void check_slots(const Plan *p)
{
    const char *wrong = plan_misordered(p);

    wrong = wrong ? wrong : plan_overlap(p);
    if (wrong)
        BUG("%s", wrong);
    for (int i = 0; i < p->nnode; i++) {
        const Tensor *nd = &p->node[i];
        if (nd->op == 0)
            continue;
        if (nd->grad && !nd->given)
            BUG("nobody gives a gradient to %s", p->g->op[nd->op].path);
        if (!nd->stored && p->node[nd->root].nlink && nd->root == i)
            BUG("%s is stored nowhere", p->g->op[nd->op].path);
    }
}

void plan_check(const Plan *p)
{
    check_kernels(p, p->kernel, p->nkernel);
    check_kernels(p, p->infer, p->ninfer);
    check_slots(p);
}

/* ---- for people ---- */

static const char *const kind_name[] = {
    [KERNEL_CONV] = "conv", [KERNEL_LINEAR] = "linear", [KERNEL_PASS] = "pass", [KERNEL_LOSS] = "loss"};

const char *plan_step_text(const Plan *p, const Run *r, const Step *s)
{
    static const char *const verb[] = {[STEP_FORWARD] = "",
                                       [STEP_AFFINE] = "affine ",
                                       [STEP_MASK] = "mask ",
                                       [STEP_ADD] = "",
                                       [STEP_STORE] = "store",
                                       [STEP_STATS] = "statistics",
                                       [STEP_IMAGE_STATS] = "statistics of the image",
                                       [STEP_BACK] = "back ",
                                       [STEP_CORRECT] = "norms' share",
                                       [STEP_CORRECT_IMAGE] = "image norms' share",
                                       [STEP_SUMS] = "sums ",
                                       [STEP_SCALE] = "back ",
                                       [STEP_GIVE] = "give to "};

    if (s->kind == STEP_SIDE || s->kind == STEP_SPLIT)
        return NULL;
    const char *what = s->kind == STEP_GIVE ? p->g->op[p->node[r->side[s->side].side->way.node].op].path
                       : s->op >= 0         ? p->g->op[s->op].path
                                            : "";
    return xprintf("%s%s", verb[s->kind], what);
}

static void print_steps(const Plan *p, const Run *r, FILE *to)
{
    bool comma = r->window >= 0;

    if (r->window >= 0)
        fprintf(to, " %s%s", r->back ? "through " : "", p->g->op[r->window].path);
    for (int i = 0; i < r->nstep; i++) {
        const char *text = plan_step_text(p, r, &r->step[i]);
        if (!text)
            continue;
        fprintf(to, "%s %s", comma ? "," : "", text);
        comma = true;
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
    fprintf(to, "    %-9s %s: by Winograd, %d tiles of %d per image at a time, %d x %d in registers", "core", what,
            w->block, w->tiles, w->rows, w->vectors);
    if (w->made)
        fprintf(to, ", weights transformed on the way, %d input channels at a time", w->made * LANES);
    fprintf(to, w->images > 1 ? ", %d images together\n" : "\n", w->images);
}

/* ", 4 groups lane by lane"; nothing of one group. */
static const char *conv_form(const Plan *p, const Kernel *k)
{
    const int groups = p->g->op[k->op].groups;

    return groups == 1 ? "" : xprintf(", %d groups %s", groups, k->conv->lanewise ? "lane by lane" : "in whole blocks");
}

static void dump_node(const Plan *p, int i, FILE *to)
{
    const Graph *g = p->g;
    const Tensor *nd = &p->node[i];

    fprintf(to, "node %s %dx%dx%d", g->op[nd->op].path, nd->shape[nd->nlink].c, nd->shape[nd->nlink].h,
            nd->shape[nd->nlink].w);
    if (nd->op == 0)
        fprintf(to, ": read again");
    else if (!nd->stored)
        fprintf(to, ": from %s", g->op[p->node[nd->root].op].path);
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
    for (int i = 0; i < p->nnode; i++)
        dump_node(p, i, to);
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        fprintf(to, "kernel %s %s%s%s\n", k->name, kind_name[k->kind], k->conv ? conv_form(p, k) : "",
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
            else
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

/* The stages of chains in words. */
static const char *runs_text(const Plan *p, const Chain *c, int n)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = text_begin(&text, &len);
    bool any = false;

    for (int w = 0; w < n; w++)
        for (int i = 0; i < c[w].n; i++) {
            const Run *r = &c[w].run[i];
            if (r->window < 0 && r->nstep == 0)
                continue;
            fputs(any ? ";" : "", to);
            print_steps(p, r, to);
            any = true;
        }
    text_end(to, &text);
    const char *words = any ? xstrdup(text + 1) : "nothing";
    free(text);
    return words;
}

/* What a kernel reads, by ways. */
static const char *reads_text(const Plan *p, const Kernel *k)
{
    Buf b = {0};

    for (int i = 0; i < k->nport; i++) {
        const Tensor *nd = &p->node[k->port[i].node], *root = &p->node[nd->root];
        if (k->port[i].value)
            buf_printf(&b, "%s%s", b.len ? ", " : "", root->op == 0 ? "the input" : p->g->op[root->stored_op].path);
    }
    return b.text ? b.text : "nothing";
}

int64_t plan_node_bytes(const Plan *p, const Tensor *nd)
{
    int64_t bytes = 4 * blocked_floats(nd->shape[0]);

    for (int i = 0; i < nd->nroute; i++)
        bytes += blocked_floats(p->g->op[nd->route[i]].shape);
    return bytes;
}

static void core_words(const Kernel *k, KernelWords *w)
{
    static const char *const name[] = {"forward", "data", "weights"};
    const Tile *t = tile_main(&k->w->forward);
    const bool forward = !kernel_winograd(k, PASS_FORWARD), weights = !kernel_winograd(k, PASS_WEIGHTS);
    Buf by = {0};

    if (forward || weights)
        w->tile =
            xprintf("%s%s%s",
                    forward ? xprintf("%d x %d pixels x %d channels in registers", t->rows, t->cols,
                                      k->w->forward.vectors * LANES)
                            : "",
                    forward && weights ? ", " : "",
                    weights ? xprintf("weight gradients %d x %d", k->conv->weight.nacc, k->conv->weight.vectors) : "");
    for (Pass i = PASS_FORWARD; i <= PASS_WEIGHTS; i++)
        if (kernel_winograd(k, i))
            buf_printf(&by, "%s%s", by.len ? ", " : "", name[i]);
    w->winograd = by.len ? by.text : NULL;
}

static void stored_words(const Plan *p, const Kernel *k, KernelWords *w)
{
    const Tensor *nd = &p->node[k->node];

    if (nd->op == 0)
        w->stored = "nothing: it is the input, read again; its statistics are taken";
    else if (!nd->stored)
        w->stored = xprintf("nothing: its readers recompute it from %s",
                            nd->root == 0 ? "the input" : p->g->op[p->node[nd->root].stored_op].path);
    else {
        w->stored = nd->stored_op == k->op && k->w ? "its output" : p->g->op[nd->stored_op].path;
        w->stored_size = xprintf("%dx%dx%d, %lld bytes%s", nd->shape[0].c, nd->shape[0].h, nd->shape[0].w,
                                 (long long)plan_node_bytes(p, nd),
                                 nd->kept         ? ""
                                 : nd->recomputed ? ", made again for backward"
                                                  : ", forward only");
        w->stored_why = nd->why;
    }
}

KernelWords plan_words(const Plan *p, const Kernel *k)
{
    KernelWords w = {.kind = xprintf("%s%s", kind_name[k->kind], k->conv ? conv_form(p, k) : "")};

    w.reads = reads_text(p, k);
    w.before = runs_text(p, k->before, k->nin);
    if (k->w)
        w.after = runs_text(p, kernel_chain(k, CHAIN_AFTER), 1);
    if (k->node >= 0)
        stored_words(p, k, &w);
    if (k->conv)
        core_words(k, &w);
    if (k->w)
        w.bias = p->g->op[k->op].bias_why;
    return w;
}

static void explain_kernel(const Plan *p, const Kernel *k, FILE *to)
{
    const KernelWords w = plan_words(p, k);
    const char *stored = w.stored_size ? xprintf("%s, %s: %s", w.stored, w.stored_size, w.stored_why) : w.stored;
    const char *const line[][2] = {{"reads:", w.reads}, {"before:", w.before}, {"after:", w.after},
                                   {"stored:", stored}, {"tile:", w.tile},     {"winograd:", w.winograd},
                                   {"bias:", w.bias}};

    fprintf(to, "\n%s (%s)\n", k->name, w.kind);
    for (size_t i = 0; i < sizeof line / sizeof *line; i++)
        if (line[i][1])
            fprintf(to, "  %-10s %s\n", line[i][0], line[i][1]);
}

void plan_explain(const Plan *p, FILE *to)
{
    fprintf(to, "%s for %s: %d kernels, %lld bytes per image stored for backward\n", p->g->spec->name, p->target->name,
            p->nkernel, (long long)p->stored_bytes);
    for (int i = 0; i < p->nkernel; i++)
        explain_kernel(p, &p->kernel[i], to);
    bool any = false;
    for (int i = 0; i < p->nnorm; i++) {
        fprintf(to, "%s  %-12s %s\n", any ? "" : "\nnorms at inference\n", p->g->op[p->norm[i].op].path,
                p->norm[i].inference);
        any = true;
    }
}
