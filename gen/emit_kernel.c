/* emit_kernel.c - a kernel's file as records: its runs, and the functions that call them in order.
 *
 * needs: a complete plan. sets: the text of NAME_<layer>.c. */
#include "emit.h"

#include <string.h>

typedef struct File {
    const Plan *p;
    const Kernel *k;
    Rec *rec;
} File;

static Rec *add(Rec *to, const char *list, const char *template)
{
    Rec *s = rec_add(to, list);

    rec_str(s, "template", template);
    return s;
}

static const char *symbol(const File *f, const char *verb)
{
    return xprintf("%s_%s_%s", f->p->g->spec->name, f->k->name, verb);
}

static Rec *add_function(const File *f, const char *list, const char *template, const char *name)
{
    Rec *r = add(f->rec, list, template);

    rec_str(r, "name", name);
    rec_str(r, "type", kernel_struct(f->p, f->k));
    return r;
}

/* ---- images ---- */

static void mark(bool *used, int image)
{
    if (image >= 0)
        used[image] = true;
}

static void mark_chain(bool *used, const Chain *c)
{
    for (int i = 0; i < c->n; i++) {
        const Run *r = &c->run[i];
        mark(used, r->from_image);
        mark(used, r->value_image);
        mark(used, r->to_image);
        mark(used, r->scatter_image);
    }
}

static void halo_line(Rec *to, const char *list, const Image *m, bool group)
{
    Rec *s = add(to, list, group ? "image_halos" : "image_halo");

    rec_str(s, "name", m->name);
    rec_int(s, "copies", m->copies);
    rec_int(s, "floats", m->floats);
    rec_int(s, "blocks", m->plain ? m->shape.c : blocks_of(m->shape.c));
    rec_int(s, "rows", m->rows);
    rec_int(s, "cols", m->cols);
    rec_int(s, "top", m->top);
    rec_int(s, "left", m->left);
    rec_int(s, "h", m->shape.h);
    rec_int(s, "w", m->shape.w);
    rec_int(s, "lanes", m->plain ? 1 : LANES);
    rec_str(s, "fill", m->minus_inf ? "-INFINITY" : "0.0f");
}

static const char *describe_image(const Image *m)
{
    return m->rows == m->shape.h && m->cols == m->shape.w ? describe_shape(m->shape)
                                                          : xprintf("%s in %d x %d pixels", describe_shape(m->shape), m->rows, m->cols);
}

/* Declares the images that are used, and sets their halos. Rows of matrices are declared in the loop over images. */
static void declare_images(const Kernel *k, Rec *fn, const Image *image, int n, const bool *used, bool backward)
{
    for (int i = 0; i < n; i++) {
        const Image *m = &image[i];
        if (!used[i])
            continue;
        const bool group = backward && m->copies > 1;
        Rec *s = add(fn, m->row ? "body" : "scratch", m->row ? "image_row" : group ? "image_group" : "image_scratch");
        rec_str(s, "name", m->name);
        rec_str(s, "doc", describe_image(m));
        if (group) {
            rec_int(s, "copies", m->copies);
            if (i == k->x) /* the packed input stands first among a kernel's images */
                rec_int(add(fn, "body", "member"), "group", m->copies);
            Rec *member = add(fn, "body", "image_member");
            rec_str(member, "name", m->name);
            rec_int(member, "floats", m->floats);
        }
        if (m->row) {
            rec_str(s, "matrix", i == k->x ? (backward ? "mat_back_x" : "mat_x") : i == k->y ? "mat_y" : i == k->dz ? "mat_dz" : "mat_dx");
            rec_int(s, "floats", m->floats);
        } else {
            rec_int(s, "at", m->at);
        }
        if (m->filled)
            halo_line(fn, "begin", m, group);
    }
}

/* ---- calls of runs ---- */

static const char *initialiser(const File *f, const Run *r, Phase phase)
{
    const Image *image = phase_images(f->k, phase);
    Buf b = {0};

    buf_puts(&b, phase == PHASE_INFER ? ".f = f" : ".k = k, .at = &at");
    if (r->from == AT_IMAGE)
        buf_printf(&b, ", .from_image = %s", r->from_image >= 0 ? image[r->from_image].name : "y");
    else if (r->from == AT_X && phase == PHASE_INFER)
        buf_puts(&b, ", .from_image = image");
    if (r->value == AT_IMAGE)
        buf_printf(&b, ", .value_image = %s", image[r->value_image].name);
    if (r->to == AT_IMAGE)
        buf_printf(&b, ", .to_image = %s", image[r->to_image].name);
    if (r->scatter_image >= 0)
        buf_printf(&b, ", .scatter_image = %s", image[r->scatter_image].name);
    return b.text;
}

static void call_runs(const File *f, Rec *fn, const Chain *c, Phase phase, int from)
{
    const Image *image = phase_images(f->k, phase);

    for (int i = from; i < c->n; i++) {
        const Run *r = &c->run[i];
        if (r->scatter_image >= 0 && f->p->g->op[r->window].kind != OP_GLOBAL_AVG_POOL) {
            Rec *s = add(fn, "body", "image_clear");
            rec_str(s, "name", image[r->scatter_image].name);
            rec_int(s, "floats", image[r->scatter_image].floats);
        }
        Rec *s = add(fn, "body", "call_pass");
        rec_str(s, "tag", run_tag(f->k, r));
        rec_str(s, "var", r->name);
        rec_str(s, "init", initialiser(f, r, phase));
    }
}

static void core_call(Rec *s, const char *core, const char *x, const char *w, const char *bias)
{
    Rec *c = rec_add(s, "cores");

    rec_str(c, "core", core);
    rec_str(c, "x", x);
    rec_str(c, "w", w);
    rec_str(c, "bias", bias);
}

static Rec *call_core(const File *f, Rec *fn, const Run *r, const char *init)
{
    Rec *s = add(fn, "body", "call_core");
    const bool reduces = r->stats >= 0 || r->sums >= 0 || r->bias_grad;

    rec_str(s, "tag", run_tag(f->k, r));
    rec_str(s, "var", r->name);
    rec_str(s, "init", init);
    rec_str(s, "end", reduces ? xprintf("%s_end", run_tag(f->k, r)) : "cvy_end_nothing");
    return s;
}

static void add_runs(const File *f, const char *list, const Chain *c, Phase phase)
{
    for (int i = 0; i < c->n; i++)
        rec_push(f->rec, list, emit_run(f->p, f->k, &c->run[i], phase));
}

static void over_pieces(const File *f, Rec *kernel, const char *piece)
{
    Rec *s = add(kernel, "body", "over_pieces");

    rec_str(s, "name", piece);
    rec_int(s, "pieces", f->p->pieces);
    rec_fmt(s, "stride", "%s_SCRATCH", upper(f->p->g->spec->name));
}

static void norm_line(const File *f, Rec *kernel, int op, const char *template)
{
    Rec *s = add(kernel, "body", template);

    rec_str(s, "norm", plan_alias(f->k, op));
    rec_int(s, "area", plan_norm(f->p, op)->area);
}

static int stats_of(const Chain *c)
{
    return c->n ? c->run[c->n - 1].stats : -1;
}

static int sums_of(const Chain *c)
{
    return c->n ? c->run[c->n - 1].sums : -1;
}

static void begin_norm(const File *f, Rec *fn, int op, const char *template)
{
    if (op >= 0)
        rec_str(add(fn, "begin", template), "norm", plan_alias(f->k, op));
}

static Rec *piece_function(const File *f, const char *name, const bool *used, bool backward)
{
    Rec *fn = add_function(f, "functions", "piece", xprintf("%s_%s", f->k->name, name));

    rec_int(fn, "pieces", f->p->pieces);
    if (used)
        declare_images(f->k, fn, f->k->image, f->k->nimage, used, backward);
    return fn;
}

static const char *stage_list(const File *f, const Chain *c)
{
    Buf b = {0};

    for (int i = 0; i < c->n; i++)
        buf_printf(&b, "%s%s", i ? "; " : "", describe_stages(f->p, &c->run[i]));
    return b.text ? b.text : "nothing";
}

static bool *used_images(const Kernel *k)
{
    return xalloc((size_t)k->nimage + 1);
}

/* ---- conv ---- */

/* Gathers image `from` into `to`, where there is such a one, for the other side of a lanewise conv. What its core reads then. */
static const char *gather(const File *f, Rec *fn, const char *from, const Image *to, bool back)
{
    const Op *o = &f->p->g->op[f->k->op];
    const int in = f->p->g->op[o->in].shape.c, per_in = in / o->groups, per_out = o->shape.c / o->groups;

    if (!to)
        return from;
    Rec *s = add(fn, "body", "gather_lanes");
    rec_str(s, "from", from);
    rec_str(s, "to", to->name);
    rec_int(s, "area", (int64_t)to->rows * to->cols);
    rec_int(s, "channels", back ? in : o->shape.c);
    rec_int(s, "many", back ? per_in : per_out);
    rec_int(s, "few", back ? per_out : per_in);
    return to->name;
}

static const char *gather_x(const File *f, Rec *fn)
{
    const Kernel *k = f->k;

    return gather(f, fn, k->image[k->x].name, k->xg >= 0 ? &k->image[k->xg] : NULL, false);
}

static const char *core_function(const Kernel *k, const char *name)
{
    return xprintf("%s_%s", k->core_name ? k->core_name : k->infer_core, name);
}

static void conv_forward(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);

    mark_chain(used, &k->in);
    mark_chain(used, &k->out);
    mark(used, k->xg);
    Rec *fn = piece_function(f, "forward_piece", used, false);
    begin_norm(f, fn, stats_of(&k->out), "begin_piece_stats");
    call_runs(f, fn, &k->in, PHASE_BEFORE, 0);
    const char *x = gather_x(f, fn);
    core_call(call_core(f, fn, &k->out.run[0], initialiser(f, &k->out.run[0], PHASE_AFTER)), core_function(k, "forward"), x, "k->w",
              f->p->g->op[k->op].bias ? "k->bias" : "NULL");
    call_runs(f, fn, &k->out, PHASE_AFTER, 1);

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "forward"));
    rec_fmt(rec_add(kernel, "docs"), "text", "forward. before the core: %s; after it: %s", stage_list(f, &k->in), stage_list(f, &k->out));
    over_pieces(f, kernel, xprintf("%s_forward_piece", k->name));
    if (stats_of(&k->out) >= 0)
        norm_line(f, kernel, stats_of(&k->out), "norm_forward");
}

static char *transpose_call(const File *f)
{
    const Kernel *k = f->k;
    const Op *o = &f->p->g->op[k->op];
    const Shape in = f->p->g->op[o->in].shape;
    const int taps = o->kernel[0] * o->kernel[1], per_in = in.c / o->groups, per_out = o->shape.c / o->groups;

    if (k->lanewise)
        return xprintf("lanes(k->w, k->wt, b, %d, %d, %d, %d)", o->shape.c, per_in, per_out, taps);
    if (o->groups > 1) {
        const long long group = (long long)per_in * per_out * taps;
        return xprintf("block(k->w + b / %d * INT64_C(%lld), k->wt + b / %d * INT64_C(%lld), b %% %d, %d, %d, %d)", per_out / LANES, group,
                       per_out / LANES, group, per_out / LANES, per_out / LANES, per_in / LANES, taps);
    }
    return k->plain ? xprintf("plain(k->w, k->wt, b, %d, %d)", in.c, taps)
                    : xprintf("block(k->w, k->wt, b, %d, %d, %d)", blocks_of(o->shape.c), blocks_of(in.c), taps);
}

static void update_lines(const File *f, Rec *kernel)
{
    const Kernel *k = f->k;
    const int blocks = blocks_of(f->p->g->op[k->op].shape.c);
    const char *name = upper(f->p->g->spec->name);

    Rec *s = add(kernel, "body", k->kind == KERNEL_CONV ? "update_conv" : "update_linear");
    rec_fmt(s, "at", "%s_%s", name, upper(f->p->g->param[k->wparam].name));
    rec_int(s, "floats", k->w_floats);
    if (k->kind == KERNEL_CONV) {
        rec_int(s, "blocks", blocks);
        rec_int(s, "block", k->w_floats / blocks);
        rec_int(s, "pieces", f->p->pieces);
        if (k->wt_floats)
            rec_str(s, "transpose", transpose_call(f));
    }
    if (k->bparam >= 0) {
        s = add(kernel, "body", "update_bias");
        rec_fmt(s, "at", "%s_%s", name, upper(f->p->g->param[k->bparam].name));
        rec_int(s, "padded", (int64_t)blocks * LANES);
        rec_int(s, "pieces", f->p->pieces);
    }
}

static void begin_weights(const File *f, Rec *fn)
{
    const Kernel *k = f->k;

    if (k->kind == KERNEL_CONV)
        rec_int(add(fn, "begin", "begin_piece_weights"), "floats", k->w_floats);
    if (k->bparam >= 0)
        rec_int(add(fn, "begin", "begin_piece_bias"), "padded", (int64_t)blocks_of(f->p->g->op[k->op].shape.c) * LANES);
}

static void conv_backward(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);

    mark_chain(used, &k->in);
    mark_chain(used, &k->again);
    mark_chain(used, &k->dout);
    mark_chain(used, &k->din);
    mark(used, k->xg);
    mark(used, k->zg);
    Rec *fn = piece_function(f, "backward_piece", used, true);
    begin_norm(f, fn, sums_of(&k->din), "begin_piece_sums");
    begin_weights(f, fn);
    call_runs(f, fn, &k->again, PHASE_AFTER, 0);
    call_runs(f, fn, &k->dout, PHASE_AFTER, 0);
    call_runs(f, fn, &k->in, PHASE_BEFORE, 0);
    const char *x = gather_x(f, fn);
    Rec *s = add(fn, "body", "call_weights");
    rec_str(s, "core", core_function(k, "weights"));
    rec_str(s, "x", x);
    rec_str(s, "dz", k->image[k->dz].name);
    if (k->weight.images > 1) {
        rec_int(s, "group", k->weight.images);
        rec_fmt(s, "x_group", "%s_group", k->image[k->x].name);
        rec_fmt(s, "dz_group", "%s_group", k->image[k->dz].name);
    }
    if (k->back_data) {
        const char *z = gather(f, fn, k->image[k->dz].name, k->zg >= 0 ? &k->image[k->zg] : NULL, true);
        s = call_core(f, fn, &k->din.run[0], initialiser(f, &k->din.run[0], PHASE_BEFORE));
        for (int i = 0; i < k->ndata; i++)
            core_call(s, core_function(k, k->data[i].name), z, "k->wt", "NULL");
        call_runs(f, fn, &k->din, PHASE_BEFORE, 1);
    }

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "backward"));
    rec_fmt(rec_add(kernel, "docs"), "text", "backward. dz: %s; dw; dx: %s; update", stage_list(f, &k->dout),
            k->back_data ? stage_list(f, &k->din) : "not needed");
    over_pieces(f, kernel, xprintf("%s_backward_piece", k->name));
    if (sums_of(&k->din) >= 0)
        norm_line(f, kernel, sums_of(&k->din), "norm_backward");
    update_lines(f, kernel);

    if (k->wt_floats) {
        Rec *loaded = add_function(f, "functions", "loaded", symbol(f, "loaded"));
        s = add(loaded, "body", "remake");
        rec_int(s, "blocks", blocks_of(f->p->g->op[k->op].shape.c));
        rec_str(s, "transpose", transpose_call(f));
    }
}

/* ---- linear ---- */

static void gemm_line(Rec *kernel, const char *args)
{
    rec_str(add(kernel, "body", "gemm"), "args", args);
}

static void linear_forward(const File *f)
{
    const Kernel *k = f->k;
    const long long in = k->image[k->x].floats, out = k->image[k->y].floats;
    bool *used = used_images(k);

    mark_chain(used, &k->in);
    Rec *fn = piece_function(f, "pack_piece", used, false);
    call_runs(f, fn, &k->in, PHASE_BEFORE, 0);
    memset(used, 0, (size_t)k->nimage);
    mark_chain(used, &k->out);
    fn = piece_function(f, "forward_piece", used, false);
    begin_norm(f, fn, stats_of(&k->out), "begin_piece_stats");
    call_runs(f, fn, &k->out, PHASE_AFTER, 0);

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "forward"));
    rec_fmt(rec_add(kernel, "docs"), "text", "forward. before the product: %s; after it: %s", stage_list(f, &k->in), stage_list(f, &k->out));
    over_pieces(f, kernel, xprintf("%s_pack_piece", k->name));
    gemm_line(kernel, xprintf("0, 1, n, %lld, %lld, k->mat_x, %lld, k->w, %lld, k->mat_y, %lld", out, in, in, in, out));
    over_pieces(f, kernel, xprintf("%s_forward_piece", k->name));
    if (stats_of(&k->out) >= 0)
        norm_line(f, kernel, stats_of(&k->out), "norm_forward");
}

static void linear_backward(const File *f)
{
    const Kernel *k = f->k;
    const long long in = k->image[k->x].floats, out = k->image[k->dz].floats;
    bool *used = used_images(k);

    mark_chain(used, &k->in);
    mark_chain(used, &k->again);
    mark_chain(used, &k->dout);
    Rec *fn = piece_function(f, "unpack_piece", used, true);
    begin_weights(f, fn);
    call_runs(f, fn, &k->again, PHASE_AFTER, 0);
    call_runs(f, fn, &k->dout, PHASE_AFTER, 0);
    call_runs(f, fn, &k->in, PHASE_BEFORE, 0);
    if (k->back_data) {
        memset(used, 0, (size_t)k->nimage);
        mark_chain(used, &k->din);
        if (k->in.n > 1) { /* windows before the product: their inputs are recomputed */
            mark_chain(used, &k->in);
        }
        fn = piece_function(f, "backward_piece", used, true);
        begin_norm(f, fn, sums_of(&k->din), "begin_piece_sums");
        if (k->in.n > 1)
            call_runs(f, fn, &k->in, PHASE_BEFORE, 0);
        call_runs(f, fn, &k->din, PHASE_BEFORE, 0);
    }

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "backward"));
    rec_fmt(rec_add(kernel, "docs"), "text", "backward. dz: %s; dw; dx: %s; update", stage_list(f, &k->dout),
            k->back_data ? stage_list(f, &k->din) : "not needed");
    over_pieces(f, kernel, xprintf("%s_unpack_piece", k->name));
    gemm_line(kernel, xprintf("1, 0, %lld, %lld, n, k->mat_dz, %lld, k->mat_back_x, %lld, k->dw, %lld", out, in, out, in, in));
    if (k->back_data) {
        gemm_line(kernel, xprintf("0, 0, n, %lld, %lld, k->mat_dz, %lld, k->w, %lld, k->mat_dx, %lld", in, out, out, in, in));
        over_pieces(f, kernel, xprintf("%s_backward_piece", k->name));
        if (sums_of(&k->din) >= 0)
            norm_line(f, kernel, sums_of(&k->din), "norm_backward");
    }
    update_lines(f, kernel);
}

/* ---- pass, loss ---- */

static void pass_kernel(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);

    mark_chain(used, &k->in);
    Rec *fn = piece_function(f, "forward_piece", used, false);
    begin_norm(f, fn, stats_of(&k->in), "begin_piece_stats");
    call_runs(f, fn, &k->in, PHASE_BEFORE, 0);
    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "forward"));
    rec_fmt(rec_add(kernel, "docs"), "text", "forward: %s", stage_list(f, &k->in));
    over_pieces(f, kernel, xprintf("%s_forward_piece", k->name));
    norm_line(f, kernel, stats_of(&k->in), "norm_forward");
    if (!k->has_backward)
        return;

    mark_chain(used, &k->din);
    fn = piece_function(f, "backward_piece", used, true);
    begin_norm(f, fn, sums_of(&k->din), "begin_piece_sums");
    if (k->in.n > 1) /* windows: their inputs are recomputed; the last run only took statistics */
        for (int i = 0; i + 1 < k->in.n; i++) {
            const Chain one = {&k->in.run[i], 1};
            call_runs(f, fn, &one, PHASE_BEFORE, 0);
        }
    call_runs(f, fn, &k->din, PHASE_BEFORE, 0);
    kernel = add_function(f, "functions", "kernel", symbol(f, "backward"));
    rec_fmt(rec_add(kernel, "docs"), "text", "backward: %s", stage_list(f, &k->din));
    over_pieces(f, kernel, xprintf("%s_backward_piece", k->name));
    norm_line(f, kernel, sums_of(&k->din), "norm_backward");
}

static void loss_kernel(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);
    const int classes = k->image[k->x].shape.c;

    mark_chain(used, &k->in);
    mark_chain(used, &k->din);
    mark(used, k->dx);
    Rec *fn = piece_function(f, "forward_piece", used, false);
    rec_int(fn, "loss", 1);
    begin_norm(f, fn, sums_of(&k->din), "begin_piece_sums");
    call_runs(f, fn, &k->in, PHASE_BEFORE, 0);
    Rec *s = add(fn, "body", "loss_image");
    rec_int(s, "classes", classes);
    rec_int(s, "padded", (int64_t)blocks_of(classes) * LANES);
    call_runs(f, fn, &k->din, PHASE_BEFORE, 0);

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "forward"));
    rec_fmt(rec_add(kernel, "docs"), "text", "the loss and its gradient. before: %s; back: %s", stage_list(f, &k->in), stage_list(f, &k->din));
    over_pieces(f, kernel, xprintf("%s_forward_piece", k->name));
    if (sums_of(&k->din) < 0)
        return;
    kernel = add_function(f, "functions", "kernel", symbol(f, "backward"));
    rec_str(rec_add(kernel, "docs"), "text", "the barrier of the norm before the loss, once the loss's own kernel has its sums");
    norm_line(f, kernel, sums_of(&k->din), "norm_backward");
}

/* ---- trace ---- */

static void trace_images(const File *f, Rec *fn, const Chain *c)
{
    for (int i = 0; i < c->n; i++) {
        const Image *m = &f->k->trace_image[c->run[i].to_image];
        Rec *s = add(fn, "body", "trace_image");
        rec_str(s, "name", xprintf("image%d", c->run[i].to_image));
        rec_int(s, "at", m->at);
        rec_int(s, "floats", m->floats);
        if (m->filled) {
            Image named = *m;
            named.name = xprintf("image%d", c->run[i].to_image);
            halo_line(fn, "body", &named, false);
        }
    }
}

static void trace_sinks(const File *f, Rec *fn, const Chain *c)
{
    for (int i = 0; i < c->n; i++) {
        const Image *m = &f->k->trace_image[c->run[i].to_image];
        if (!m->name)
            continue;
        Rec *s = add(fn, "sinks", "sink");
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

/* Calls of trace runs: their images have no names of their own in C but image<index>. */
static void trace_calls(const File *f, Rec *fn, const Chain *c, int from)
{
    for (int i = from; i < c->n; i++) {
        const Run *r = &c->run[i];
        Rec *s = add(fn, "body", "call_pass");
        rec_str(s, "tag", run_tag(f->k, r));
        rec_str(s, "var", r->name);
        rec_fmt(s, "init", ".k = k, .at = &at%s, .to_image = image%d",
                r->from == AT_IMAGE ? xprintf(", .from_image = %s", r->from_image < 0 ? "y" : xprintf("image%d", r->from_image)) : "",
                r->to_image);
    }
}

static void trace_function(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);

    if (k->kind == KERNEL_PASS || (k->trace_in.n == 0 && k->trace_out.n == 0))
        return;
    add_runs(f, "trace_runs", &k->trace_in, PHASE_TRACE_BEFORE);
    add_runs(f, "trace_runs", &k->trace_out, PHASE_TRACE_AFTER);
    Rec *fn = add_function(f, "trace_functions", "trace", symbol(f, "trace"));
    trace_images(f, fn, &k->trace_in);
    trace_images(f, fn, &k->trace_out);
    trace_calls(f, fn, &k->trace_in, 0);
    if (k->kind != KERNEL_LOSS) {
        mark_chain(used, &k->in);
        mark(used, k->xg);
        for (int i = 0; i < k->nimage; i++) { /* all in scratch here, rows too, one after the other */
            const Image *m = &k->image[i];
            if (!used[i] && i != k->y)
                continue;
            Rec *s = add(fn, "scratch", "image_scratch");
            rec_str(s, "name", m->name);
            rec_int(s, "at", m->row ? (i == k->x ? k->scratch_train : k->scratch_train + k->image[k->x].floats) : m->at);
            rec_str(s, "doc", describe_image(m));
            if (m->filled)
                halo_line(fn, "begin", m, false);
        }
        call_runs(f, fn, &k->in, PHASE_BEFORE, 0);
        if (k->kind == KERNEL_CONV) {
            const Run *r = &k->trace_out.run[0];
            const char *x = gather_x(f, fn);
            Rec *s = call_core(f, fn, r, xprintf(".k = k, .at = &at, .to_image = image%d", r->to_image));
            core_call(s, core_function(k, "forward"), x, "k->w", f->p->g->op[k->op].bias ? "k->bias" : "NULL");
        } else {
            Rec *s = add(fn, "body", "gemv");
            rec_int(s, "in", k->image[k->x].floats);
            rec_int(s, "out", k->image[k->y].floats);
        }
        trace_calls(f, fn, &k->trace_out, k->kind == KERNEL_CONV ? 1 : 0);
    }
    trace_sinks(f, fn, &k->trace_in);
    trace_sinks(f, fn, &k->trace_out);
}

/* ---- inference ---- */

static void infer_function(const File *f, const Chain *c, bool pack)
{
    const Kernel *k = f->k;
    const Plan *p = f->p;
    bool *used = xalloc((size_t)k->ninfer_image + 1);

    add_runs(f, "infer_runs", c, PHASE_INFER);
    Rec *fn = add_function(f, "infer_functions", pack ? "infer_pack" : "infer", symbol(f, pack ? "pack" : "infer"));
    mark_chain(used, c);
    if (!pack)
        mark(used, k->infer_xg);
    for (int i = 0; i < k->ninfer_image; i++) {
        const Image *m = &k->infer_image[i];
        if (i >= 2 && used[i]) {
            Rec *s = add(fn, "scratch", "image_scratch");
            rec_str(s, "name", m->name);
            rec_int(s, "at", m->at);
            rec_str(s, "doc", describe_image(m));
        }
        if (used[i] && m->filled)
            halo_line(fn, "body", m, false);
    }
    if (!pack) {
        const char *net = upper(p->g->spec->name), *name = upper(k->name);
        const char *x = gather(f, fn, "x", k->infer_xg >= 0 ? &k->infer_image[k->infer_xg] : NULL, false);
        core_call(call_core(f, fn, &c->run[0], initialiser(f, &c->run[0], PHASE_INFER)), core_function(k, "forward"), x, xprintf("f + %s_%s_FOLDED", net, name),
                  xprintf("f + %s_%s_FOLDED_BIAS", net, name));
    }
    call_runs(f, fn, c, PHASE_INFER, pack ? 0 : 1);
}

/* ---- the file ---- */

static void notes(const File *f)
{
    const Kernel *k = f->k;
    const Plan *p = f->p;

    if (k->before >= 0) {
        const Span *s = &p->span[k->before];
        rec_fmt(rec_add(f->rec, "notes"), "text", "reads:  %s, %s", s->from_input ? "the input" : "the stored tensor", describe_shape(s->shape[s->stored]));
    }
    if (k->after >= 0) {
        const Span *s = &p->span[k->after];
        rec_fmt(rec_add(f->rec, "notes"), "text", "stores: %s%s, %s: %s", s->stored ? "the output of " : "its output",
                s->stored ? op_info[p->g->op[s->op[s->stored - 1]].kind].name : "", describe_shape(s->shape[s->stored]), s->why);
    }
}

void emit_layer_file(const Plan *p, const Kernel *k, Parts parts, Buf *to)
{
    const Op *o = &p->g->op[k->op];
    File file = {p, k, rec_new()}, *f = &file;

    rec_str(f->rec, "net", p->g->spec->name);
    rec_str(f->rec, "licence", EMITTED_LICENCE);
    rec_fmt(f->rec, "file", "%s_%s.c", p->g->spec->name, k->name);
    if (k->kind == KERNEL_CONV)
        rec_str(f->rec, "doc", describe_conv(p, o));
    else if (k->kind == KERNEL_LINEAR)
        rec_fmt(f->rec, "doc", "linear: %d -> %d", p->g->op[o->in].shape.c, o->shape.c);
    else if (k->kind == KERNEL_PASS)
        rec_str(f->rec, "doc", "a pass between two barriers: the statistics of a norm that no weight op stands before");
    else
        rec_fmt(f->rec, "doc", "softmax cross-entropy of %d classes", k->image[k->x].shape.c);
    if (k->core_name || (k->infer_core && (parts & PART_INFER)))
        rec_str(f->rec, "core", k->core_name ? k->core_name : k->infer_core);

    if (parts & PART_TRAIN) {
        notes(f);
        add_runs(f, "runs", &k->in, PHASE_BEFORE);
        add_runs(f, "runs", &k->out, PHASE_AFTER);
        add_runs(f, "runs", &k->again, PHASE_AFTER);
        add_runs(f, "runs", &k->dout, PHASE_AFTER);
        add_runs(f, "runs", &k->din, PHASE_BEFORE);
        switch (k->kind) {
        case KERNEL_CONV:
            conv_forward(f);
            conv_backward(f);
            break;
        case KERNEL_LINEAR:
            linear_forward(f);
            linear_backward(f);
            break;
        case KERNEL_PASS:
            pass_kernel(f);
            break;
        case KERNEL_LOSS:
            loss_kernel(f);
            break;
        }
        trace_function(f);
    }
    if ((parts & PART_INFER) && (k->kind == KERNEL_CONV || k->kind == KERNEL_LINEAR)) {
        if (k->pre.n)
            infer_function(f, &k->pre, true);
        infer_function(f, &k->post, false);
    }
    template_expand("layer_file", "k", f->rec, to);
}
