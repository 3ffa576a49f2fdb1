/* words.c - a plan in words: `convoy plan`, and the texts that dumps, JSON and pictures have from there.
 *
 * needs: a complete plan. sets: nothing. */
#include "words.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_name[] = {
    [KERNEL_CONV] = "conv",   [KERNEL_LINEAR] = "linear", [KERNEL_RECURRENT] = "recurrent",
    [KERNEL_EMBED] = "embed", [KERNEL_PASS] = "pass",     [KERNEL_LOSS] = "loss"};

/* ", 4 groups lane by lane"; nothing of one group. */
static const char *conv_form(const Plan *p, const Kernel *k)
{
    const int groups = p->g->op[k->op].groups;

    return groups == 1 ? "" : xprintf(", %d groups %s", groups, k->conv->lanewise ? "lane by lane" : "in whole blocks");
}

const char *kernel_kind_text(const Plan *p, const Kernel *k)
{
    return xprintf("%s%s", kind_name[k->kind], k->conv ? conv_form(p, k) : "");
}

const char *plan_step_text(const Plan *p, const PixelPass *r, const Step *s)
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

    if (s->kind == STEP_SKIP || s->kind == STEP_SPLIT)
        return NULL;
    const char *what = s->kind == STEP_GIVE ? p->g->op[p->tensor[r->skip[s->skip].operand->path.tensor].op].path
                       : s->op >= 0         ? p->g->op[s->op].path
                                            : "";
    return xprintf("%s%s", verb[s->kind], what);
}

void pass_print_steps(const Plan *p, const PixelPass *r, FILE *to)
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

/* The stages of chains in words. */
static const char *passes_text(const Plan *p, const Chain *c, int n)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = text_begin(&text, &len);
    bool any = false;

    for (int w = 0; w < n; w++)
        for (int i = 0; i < c[w].n; i++) {
            const PixelPass *r = &c[w].pass[i];
            if (r->window < 0 && r->nstep == 0)
                continue;
            fputs(any ? ";" : "", to);
            pass_print_steps(p, r, to);
            any = true;
        }
    text_end(to, &text);
    const char *words = any ? xstrdup(text + 1) : "nothing";
    free(text);
    return words;
}

/* What a kernel reads, by paths. */
static const char *reads_text(const Plan *p, const Kernel *k)
{
    Buf b = {0};

    for (int i = 0; i < k->nport; i++) {
        const Tensor *nd = &p->tensor[k->port[i].tensor], *root = &p->tensor[nd->root];
        if (k->port[i].value)
            buf_printf(&b, "%s%s", b.len ? ", " : "", root->op == 0 ? "the input" : p->g->op[root->stored_op].path);
    }
    return b.text ? b.text : "nothing";
}

int64_t plan_tensor_bytes(const Plan *p, const Tensor *nd)
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
    const bool forward = !kernel_winograd(k, PASS_FORWARD), weights = k->learns && !kernel_winograd(k, PASS_WEIGHTS);
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
    const Tensor *nd = &p->tensor[k->tensor];

    if (nd->op == 0)
        w->stored = "nothing: it is the input, read again; its statistics are taken";
    else if (!nd->stored)
        w->stored = xprintf("nothing: its readers recompute it from %s",
                            nd->root == 0 ? "the input" : p->g->op[p->tensor[nd->root].stored_op].path);
    else {
        w->stored = nd->stored_op == k->op && k->w ? "its output" : p->g->op[nd->stored_op].path;
        w->stored_size = xprintf("%dx%dx%d, %lld bytes%s", nd->shape[0].c, nd->shape[0].h, nd->shape[0].w,
                                 (long long)plan_tensor_bytes(p, nd),
                                 nd->kept         ? ""
                                 : nd->recomputed ? ", made again for backward"
                                                  : ", forward only");
        w->stored_why = nd->why;
    }
}

/* The norms inside a recurrent op's steps, and what becomes of them at inference. */
static const char *places_words(const Plan *p, const Kernel *k)
{
    const Op *o = &p->g->op[k->op];
    Buf b = {0};

    for (int i = 0; i < k->recurrent->nnorm; i++) {
        const CellPlace place = k->recurrent->norm[i].place;
        buf_printf(&b, "%s%s of %s", i ? ", " : "", place_norm_text(o->kind, o->arg, place), place_info[place].of);
    }
    bool rows = false, table = false;
    for (int i = 0; i < k->recurrent->nnorm; i++) {
        rows |= !place_is_bn(k->recurrent->norm[i].norm);
        table |= k->recurrent->norm[i].rows > 0;
    }
    const char *between = ": ";
    if (recurrent_batch(k)) {
        buf_printf(&b, "%sbn with the statistics of all steps, folded into the weights at inference", between);
        between = "; ";
    }
    if (table) {
        StepPass pass[STEP_PASSES];
        buf_printf(&b, "%sbn with the statistics of a step, at inference a scale and a shift for each, not folded",
                   between);
        if (recurrent_meets(k))
            buf_printf(&b, "; in training all images meet in each step, in %d pass%s forward, %d backward",
                       recurrent_passes(k, false, pass), recurrent_passes(k, false, pass) > 1 ? "es" : "",
                       recurrent_passes(k, true, pass));
        between = "; ";
    }
    if (rows)
        buf_printf(&b, "%swith the statistics of a step's row, at inference too; none is folded", between);
    return b.text;
}

KernelWords plan_words(const Plan *p, const Kernel *k)
{
    KernelWords w = {.kind = kernel_kind_text(p, k)};

    w.reads = reads_text(p, k);
    w.before = passes_text(p, k->before, k->nin);
    if (k->w)
        w.after = passes_text(p, kernel_chain(k, CHAIN_AFTER), 1);
    if (k->tensor >= 0)
        stored_words(p, k, &w);
    if (k->conv)
        core_words(k, &w);
    if (k->recurrent)
        w.steps = xprintf("%d, %seach leaves %d numbers a unit: %lld bytes%s", k->recurrent->steps,
                          p->g->op[k->op].reverse ? "the last of its input first, " : "", recurrent_kept_numbers(k),
                          (long long)(4 * k->recurrent->kept), recurrent_kept_bytes(k) ? "" : ", forward only");
    if (k->recurrent && k->recurrent->nnorm)
        w.places = places_words(p, k);
    if (k->w)
        w.bias = p->g->op[k->op].bias_why;
    if (k->w && !k->learns)
        w.frozen = k->has_backward ? "its weights stay: backward takes its input's gradient alone"
                                   : "its weights stay, and nothing before it learns: it has no backward";
    return w;
}

static void explain_kernel(const Plan *p, const Kernel *k, FILE *to)
{
    const KernelWords w = plan_words(p, k);
    const char *stored = w.stored_size ? xprintf("%s, %s: %s", w.stored, w.stored_size, w.stored_why) : w.stored;
    const char *const line[][2] = {{"reads:", w.reads},  {"before:", w.before},     {"after:", w.after},
                                   {"stored:", stored},  {"steps:", w.steps},       {"norms:", w.places},
                                   {"tile:", w.tile},    {"winograd:", w.winograd}, {"bias:", w.bias},
                                   {"frozen:", w.frozen}};

    fprintf(to, "\n%s (%s)\n", k->name, w.kind);
    for (size_t i = 0; i < sizeof line / sizeof *line; i++)
        if (line[i][1])
            fprintf(to, "  %-10s %s\n", line[i][0], line[i][1]);
}

void plan_explain(const Plan *p, FILE *to)
{
    const struct cvy_optimiser *optimiser = p->g->spec->train.optimiser;

    fprintf(to, "%s for %s: %d kernels, %lld bytes per image stored for backward, %lld bytes of %s\n", p->g->spec->name,
            p->target->name, p->nkernel, (long long)p->stored_bytes,
            (long long)weights_kept_bytes(optimiser, p->param_floats, p->learning_floats),
            weights_kept_text(optimiser));
    for (int i = 0; i < p->nkernel; i++)
        explain_kernel(p, &p->kernel[i], to);
    bool any = false;
    for (int i = 0; i < p->nnorm; i++) {
        fprintf(to, "%s  %-12s %s\n", any ? "" : "\nnorms at inference\n", p->g->op[p->norm[i].op].path,
                p->norm[i].inference);
        any = true;
    }
}
