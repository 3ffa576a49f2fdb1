/* infer.c - a layer's function at inference.
 *
 * needs: a complete plan. sets: records of a layer's file. */
#include "layer.h"

#include <string.h>

/* Whether a chain of a layer applies the norm. */
static bool applies(const Chain *c, int op)
{
    for (int i = 0; i < c->n; i++)
        for (int j = 0; j < c->pass[i].nstep; j++)
            if ((c->pass[i].step[j].kind == STEP_AFFINE || c->pass[i].step[j].kind == STEP_FORWARD) &&
                c->pass[i].step[j].op == op)
                return true;
    return false;
}

bool emit_infer_applies(const Kernel *k, int op)
{
    bool any = applies(kernel_chain(k, CHAIN_AFTER), op);

    for (int i = 0; i < k->nin && !(k->w && k->w->direct); i++)
        any |= applies(&k->before[i], op);
    return any;
}

bool emit_infer_folded(const Plan *p, const Kernel *k)
{
    bool any = k->w != NULL;

    for (int i = 0; i < p->naffine; i++)
        any |= emit_infer_applies(k, p->affine[i].op);
    return any;
}

bool emit_infer_lengths(const Plan *p, const Kernel *k)
{
    return kernel_is_apart(k) && (k->recurrent || k->kind == KERNEL_EMBED) && p->g->op[p->g->op[k->op].in].lengths;
}

const char *emit_infer_parameters(const Plan *p, const Kernel *k)
{
    Buf b = {0};

    if (emit_infer_folded(p, k))
        buf_puts(&b, ", const float *f");
    for (int i = 0; i < k->nport; i++)
        if (k->port[i].tensor != k->tensor || k->tensor == 0)
            buf_printf(&b, ", const float *%s", k->port[i].name);
    for (int i = 0; i < k->nalias; i++) {
        const OpKind kind = p->g->op[k->alias[i].op].kind;
        bool applies = false;
        for (int j = 0; j < k->nimage_norm; j++)
            applies |= k->image_norm[j].op == k->alias[i].op;
        if (op_is_image_norm(kind))
            buf_printf(&b, ", %sfloat *%s_stats", applies ? "const " : "", k->alias[i].name);
    }
    if (k->tensor)
        buf_puts(&b, ", float *out");
    if (p->stream && k->recurrent)
        buf_puts(&b, ", float *state");
    if (k->scratch)
        buf_puts(&b, ", float *scratch");
    if (emit_infer_lengths(p, k))
        buf_puts(&b, ", const int *length");
    if (k->split)
        buf_puts(&b, ", int part, int parts");
    return b.text + 2; /* without the first comma */
}

void layer_infer(const File *f)
{
    const Kernel *k = f->k;
    const Plan *p = f->p;
    bool *used = images_none(k);

    for (int i = 0; i < k->nin; i++)
        layer_passes(f, "infer_runs", &k->before[i], k->image);
    layer_passes(f, "infer_runs", kernel_chain(k, CHAIN_AFTER), k->image);
    Rec *fn = line_function(f, "infer_functions", "infer", line_symbol(f, "infer"));
    rec_str(fn, "parameters", emit_infer_parameters(f->p, k));
    if (k->split)
        rec_str(line_add(fn, "scratch", "own_part"), "own",
                k->split == SPLIT_CHANNELS ? "part, parts, 0, 1" : "0, 1, part, parts");
    images_mark(used, kernel_input(k));
    images_mark(used, k->conv ? k->conv->xg : -1);
    images_mark_work(used, k);
    images_mark_before(used, k);
    images_mark_chain(used, kernel_chain(k, CHAIN_AFTER));
    if (kernel_is_apart(k))
        images_mark(used, k->rows->y);
    if (k->recurrent)
        images_mark(used, k->recurrent->scratch);
    for (int i = 0; i < k->nimage; i++) {
        const Image *m = &k->image[i];
        if (!used[i])
            continue;
        if (!m->given) {
            Rec *s = line_add(fn, "scratch", "image_scratch");
            rec_str(s, "name", m->name);
            rec_int(s, "at", m->at);
            rec_str(s, "doc", image_text(m));
        }
        if (m->given && i != k->result)
            continue; /* as its maker left it */
        if (m->shared)
            line_clear(fn, "body", m->name, m->floats);
        else if (m->filled)
            rec_int(line_halo(fn, "body", m, 1), "of_all", k->split && m->given);
    }
    calls_before(f, fn);
    if (k->kind == KERNEL_PASS) {
        norms_end_image(f, fn);
        return;
    }
    if (kernel_is_apart(k)) {
        (k->recurrent ? recurrent_infer : embed_infer)(f, fn);
        calls_chain(f, fn, kernel_chain(k, CHAIN_AFTER), k->image, 0);
        norms_end_image(f, fn);
        return;
    }
    const char *net = upper(p->g->spec->name), *name = upper(k->name);
    const char *x = calls_gather_x(f, fn);
    const char *w = xprintf("f + %s_%s_FOLDED", net, name);
    calls_forward(f, fn, &k->w->after.pass[0], k->image, x, w, w, xprintf("f + %s_%s_FOLDED_BIAS", net, name), false);
    calls_chain(f, fn, kernel_chain(k, CHAIN_AFTER), k->image, 1);
    norms_end_image(f, fn);
}

const Kernel *emit_infer_kernel(const Plan *p, const Kernel *k)
{
    const Kernel *infer = plan_kernel(p->infer, p->ninfer, k->op);

    return infer && strcmp(infer->name, k->name) == 0 ? infer : NULL;
}
