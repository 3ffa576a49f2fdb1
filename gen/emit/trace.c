/* trace.c - NAME_trace.c: what rebuilds the activations of all kernels, stage by stage.
 *
 * needs: a complete plan. sets: the text of that file. */
#include "layer.h"
#include "names.h"

#include <string.h>

static const char *traced_name(int image)
{
    return xprintf("image%d", image);
}

static void trace_images(const File *f, Rec *fn, const Image *image)
{
    for (int i = 0; i < f->k->ntrace_image; i++) {
        const Image *m = &image[i];
        Rec *s = line_add(fn, "body", "trace_image");
        rec_str(s, "name", m->name);
        rec_int(s, "at", m->at);
        rec_int(s, "floats", m->floats);
        if (m->shared)
            line_clear(fn, "body", m->name, m->floats);
        else if (m->filled)
            line_halo(fn, "body", m, 1);
    }
}

static void trace_sinks(const File *f, Rec *fn)
{
    for (int i = 0; i < f->k->ntrace_image; i++) {
        const Image *m = &f->k->trace_image[i];
        if (!m->name)
            continue;
        Rec *s = line_add(fn, "sinks", "sink");
        rec_str(s, "name", strncmp(m->name, "mask.", 5) == 0 ? m->name : xprintf("act.%s", m->name));
        rec_int(s, "c", m->shape.c);
        rec_int(s, "h", m->shape.h);
        rec_int(s, "w", m->shape.w);
        rec_int(s, "floats", m->floats);
        rec_int(s, "plane", (int64_t)m->rows * m->cols * LANES);
        rec_int(s, "row", (int64_t)m->cols * LANES);
        rec_int(s, "first", ((int64_t)m->top * m->cols + m->left) * LANES);
        rec_int(s, "at", m->at);
    }
}

/* What the weight op reads, packed as in training: the images in scratch, rows too, one after the other. */
static void trace_core(const File *f, Rec *fn, const PixelPass *r, const Chain *pack, const Image *image)
{
    const Kernel *k = f->k;
    bool *used = images_none(k);

    images_mark(used, k->w->x);
    if (kernel_is_apart(k)) { /* whose rows are still there */
        Rec *s = line_add(fn, "body", "cell_traced");
        rec_int(s, "floats", k->image[k->rows->y].floats);
        const Chain one = {(PixelPass *)r, 1};
        calls_chain(f, fn, &one, image, 0);
        return;
    }
    images_mark(used, k->conv ? k->conv->xg : k->rows->y);
    images_mark_work(used, k);
    for (int i = 0; i < k->nimage; i++) {
        const Image *m = &k->image[i];
        if (!used[i])
            continue;
        Rec *s = line_add(fn, "scratch", "image_scratch");
        rec_str(s, "name", m->name);
        rec_int(s, "at", m->row ? (i == k->w->x ? k->scratch : k->scratch + k->image[k->w->x].floats) : m->at);
        rec_str(s, "doc", image_text(m));
        if (m->shared)
            line_clear(fn, "begin", m->name, m->floats);
        else if (m->filled)
            line_halo(fn, "begin", m, 1);
    }
    calls_chain(f, fn, pack, image, 0);
    if (k->conv) {
        const char *x = calls_gather_x(f, fn);
        calls_copy_weights(f, fn, "begin", PASS_FORWARD);
        calls_forward(f, fn, r, image, x, "k->w", "k->copy", calls_bias(f), false);
    } else {
        Rec *s = line_add(fn, "body", "gemv");
        rec_int(s, "in", k->image[k->w->x].floats);
        rec_int(s, "channels", k->image[k->w->x].shape.c);
        rec_int(s, "out", k->image[k->rows->y].floats);
        const Chain one = {(PixelPass *)r, 1};
        calls_chain(f, fn, &one, image, 0);
    }
}

static bool hands_out(const Kernel *k)
{
    bool any = false;

    for (int i = 0; i < k->ntrace_image; i++)
        any |= k->trace_image[i].name != NULL;
    return any;
}

/* A chain whose passes are called by the number of their code: passes that would be printed alike have one. Adds the
 * code that is new. */
static Chain share_code(const File *f, const Chain *c, const Image *image, Names *code)
{
    Chain to = {xalloc(sizeof *to.pass * (size_t)(c->n + 1)), c->n};

    for (int i = 0; i < c->n; i++) {
        PixelPass *r = &to.pass[i], alike = c->pass[i];
        Buf text = {0};
        *r = c->pass[i];
        alike.name = alike.shared = "alike";
        UsesOf of = {.pass = r};
        const PoolMark mark = pool_mark(); /* the text of a pass that is known is not kept */
        template_expand("pass", "r", emit_pixel_pass(f->p, f->k, &alike, image, false, &of.uses), &text);
        int number = names_find(code, text.text);
        const bool known = number > 0;
        if (known) {
            pool_release(mark);
        } else {
            int *at = names_at(code, text.text);
            number = *at = code->n;
        }
        *PUSH(f->uses->of, f->uses->n) = of;
        r->shared = xprintf("%d", number);
        if (!known) {
            alike.name = xprintf("pass %d", number);
            alike.shared = r->shared;
            rec_push(f->rec, "passes", emit_pixel_pass(f->p, f->k, &alike, image, false, &of.uses));
        }
    }
    return to;
}

static void trace_function(const File *f, Names *code)
{
    const Kernel *k = f->k;

    if (!hands_out(k))
        return;
    const int n = k->ntrace_image;
    Image *image =
        xalloc(sizeof *image * (size_t)(n + k->nimage + 1)); /* in C traced ones are called by their number */
    for (int i = 0; i < n; i++) {
        image[i] = k->trace_image[i];
        image[i].name = traced_name(i);
    }
    for (int i = 0; i < k->nimage; i++)
        image[n + i] = k->image[i];
    Chain pack = {xalloc(sizeof(PixelPass) * (size_t)(k->trace_pack.n + 1)), k->trace_pack.n};
    for (int i = 0; i < pack.n; i++) {
        pack.pass[i] = k->trace_pack.pass[i];
        pack.pass[i].to.image += n;
    }
    pack = share_code(f, &pack, image, code);
    const Chain trace = share_code(f, &k->trace, image, code);
    Rec *fn = line_function(f, "functions", "trace", line_symbol(f, "trace"));
    trace_images(f, fn, image);
    for (int i = 0; i < trace.n; i++) {
        const Chain one = {&trace.pass[i], 1};
        if (i == k->trace_core)
            trace_core(f, fn, &trace.pass[i], &pack, image);
        else
            calls_chain(f, fn, &one, image, 0);
    }
    trace_sinks(f, fn);
}

void emit_trace_file(const Plan *p, Buf *to)
{
    Rec *rec = rec_new();
    Names cores = {0}, code = {0};
    bool linear = false;

    rec_str(rec, "net", p->g->spec->name);
    rec_str(rec, "licence", EMITTED_LICENCE);
    for (int i = 0; i < p->nkernel; i++) {
        Kernel traced = p->kernel[i];
        const Kernel *k = &traced;
        Names done = {0};
        traced.tag = "trace"; /* its own copies of passes that layers' files have, too */
        traced.shares = true;
        UsesTable uses = {0};
        const File file = {p, k, rec_add(rec, "layers"), false, &done, &uses, NULL};
        if (k->conv && k->trace_core >= 0 && ++*names_at(&cores, k->w->core_name) == 1)
            rec_str(rec_add(rec, "cores"), "name", k->w->core_name);
        linear |= k->rows && !kernel_is_apart(k);
        trace_function(&file, &code);
    }
    if (linear)
        rec_int(rec, "product", 1);
    template_expand("trace_file", "k", rec, to);
}
