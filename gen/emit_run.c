/* emit_run.c - a run as records: its struct, and the lines of its point, begin, end and read functions.
 *
 * needs: a complete plan. sets: records for template `run` (templates/stages.c). */
#include "emit.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

const Image *phase_images(const Kernel *k, Phase phase)
{
    return phase == PHASE_INFER ? k->infer_image : phase == PHASE_TRACE_BEFORE || phase == PHASE_TRACE_AFTER ? k->trace_image : k->image;
}

char *upper(const char *s)
{
    char *u = xstrdup(s);

    for (char *c = u; *c; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    return u;
}

char *emit_float(double v)
{
    const float f = (float)v;

    if (isinf(f))
        return xstrdup(f > 0 ? "INFINITY" : "-INFINITY");
    char *s = xprintf("%.9g", (double)f);
    return xprintf("%s%sf", s, strpbrk(s, ".e") ? "" : ".0");
}

const char *run_tag(const Kernel *k, const Run *r)
{
    return xprintf("%s_%s", k->name, r->name);
}

const char *describe_shape(Shape s)
{
    return xprintf("%dx%dx%d", s.c, s.h, s.w);
}

const char *kernel_struct(const Plan *p, const Kernel *k)
{
    return xprintf("%s_%s", p->g->spec->name, k->name);
}

const char *affine_macro(const Plan *p, int op)
{
    return xprintf("%s_%s_AFFINE", upper(p->g->spec->name), upper(p->g->op[op].path));
}

static char *plus(const char *v, int offset)
{
    return offset ? xprintf("(%s + %d)", v, offset) : xstrdup(v);
}

char *image_pixel(const Image *m, const char *y, const char *x)
{
    return xprintf("(%s * %d + %s)", plus(y, m->top), m->cols, plus(x, m->left));
}

/* ---- lines ---- */

typedef struct Lines {
    const Plan *p;
    const Kernel *k;
    const Run *r;
    Phase phase;
    const Image *image;
    Rec *rec;
    const char *index; /* of the visited pixel: (y * W + x) */
    bool uses_place, uses_q, infer;
} Lines;

static void field(Lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void field(Lines *l, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        BUG("a field of %s is too long", l->r->name);
    rec_str(rec_add(l->rec, "fields"), "decl", xstrdup(text));
}

static Rec *add_line(Rec *to, const char *list, const char *template)
{
    Rec *s = rec_add(to, list);

    rec_str(s, "template", template);
    return s;
}

static void load(Lines *l, const char *name, const char *expr)
{
    Rec *s = add_line(l->rec, "begin", "begin_load");

    rec_str(s, "name", name);
    rec_str(s, "expr", expr);
}

/* A constant vector of a norm, declared and loaded once a run. */
static void norm_constant(Lines *l, int op, const char *what, Buf *done)
{
    const char *alias = plan_alias(l->k, op), *key = xprintf("|%s_%s|", alias, what);

    if (done->text && strstr(done->text, key))
        return;
    buf_puts(done, key);
    field(l, "vf %s_%s", alias, what);
    if (!l->infer)
        load(l, xprintf("%s_%s", alias, what), xprintf("vf_load(q->k->%s->%s + c)", alias, what));
    else
        load(l, xprintf("%s_%s", alias, what),
             xprintf("vf_load(q->f + %s%s + c)", affine_macro(l->p, op),
                     strcmp(what, "scale") == 0 ? "" : xprintf(" + %d", blocks_of(l->p->g->op[op].shape.c) * LANES)));
}

static void norm_constants(Lines *l, const Step *s, Buf *done)
{
    static const char *const forward[] = {"mean", "scale", "shift", NULL}, *const affine[] = {"scale", "shift", NULL},
                            *const back[] = {"mean", "istd", "off", "scale", "back_x", "back_1", NULL},
                            *const sums[] = {"mean", "istd", "off", NULL};
    const char *const *w = s->kind == STEP_FORWARD ? forward : s->kind == STEP_AFFINE ? affine : s->kind == STEP_NORM_BACK ? back : sums;

    for (; *w; w++)
        norm_constant(l, s->op, *w, done);
}

static void drop_constant(Lines *l, int op, Buf *done)
{
    const char *alias = plan_alias(l->k, op), *key = xprintf("|%s|", alias);
    const Shape shape = l->p->g->op[op].shape;

    if (done->text && strstr(done->text, key))
        return;
    buf_puts(done, key);
    field(l, "struct vf_drop %s", alias);
    Rec *s = add_line(l->rec, "begin", "begin_drop");
    rec_str(s, "op", alias);
    rec_int(s, "plane", (int64_t)shape.h * shape.w);
}

/* What every line of an op may name. */
static void op_fields(Lines *l, Rec *s, const Step *step)
{
    const Op *o = &l->p->g->op[step->op];
    const char *alias = plan_alias(l->k, step->op);

    rec_str(s, "op", alias ? alias : o->stage ? o->stage : o->layer);
    rec_int(s, "channels", o->shape.c);
    rec_str(s, "index", l->index);
    if (o->kind == OP_DROP) {
        rec_fmt(s, "below", "%luu", (unsigned long)(o->arg * 4294967296.0));
        rec_str(s, "arg", emit_float(1 / (1 - o->arg)));
        l->uses_place = true;
    } else {
        rec_str(s, "arg", emit_float(o->arg));
    }
}

/* The fields of a line that goes through a window whose input is image m, from output pixel (y, x). */
static void window_fields(Lines *l, Rec *s, int op, const Image *m)
{
    const Op *o = &l->p->g->op[op];
    const Shape in = m->shape;

    rec_str(s, "index", l->index);
    rec_int(s, "plane", (int64_t)in.h * in.w);
    rec_int(s, "total", o->shape.c);
    if (o->kind == OP_MAXPOOL || o->kind == OP_AVGPOOL) {
        rec_fmt(s, "pixel", "(y * %d + x * %d)", o->stride[0] * m->cols, o->stride[1]);
        rec_str(s, "inverse", emit_float(1.0 / (o->kernel[0] * o->kernel[1])));
        l->uses_place = true;
    } else {
        rec_str(s, "inverse", emit_float(1.0 / ((double)in.h * in.w)));
    }
}

static void window_taps(const Lines *l, Rec *s, int op, const Image *m, bool skip_first)
{
    const Op *o = &l->p->g->op[op];

    if (o->kind != OP_MAXPOOL && o->kind != OP_AVGPOOL)
        return;
    const int64_t count = (int64_t)o->kernel[0] * o->kernel[1];
    if (count > UNROLL_WINDOW && l->p->g->spec->unroll != UNROLL_FULL) {
        rec_int(s, "loop", 1);
        rec_int(s, "count", count);
        rec_int(s, "across", o->kernel[1]);
        rec_int(s, "row", (int64_t)m->cols * LANES);
        return;
    }
    for (int y = 0, t = 0; y < o->kernel[0]; y++)
        for (int x = 0; x < o->kernel[1]; x++, t++) {
            if (t == 0 && skip_first)
                continue;
            Rec *tap = rec_add(s, "taps");
            rec_int(tap, "at", ((int64_t)y * m->cols + x) * LANES);
            rec_str(tap, "index", emit_float(t));
        }
}

/* Lines that read a value: `list` of the record, as `what` ("return", "const vf v3 ="); q->`from` is the block. */
static void read_value(Lines *l, const char *list, const char *what, const char *from, Where where, int image, bool keep)
{
    const Run *r = l->r;
    const Shape shape = r->shape;
    Rec *s;

    if (where == AT_IMAGE && r->window >= 0 && (!r->back || strcmp(from, "value") == 0)) {
        const Image *m = &l->image[image];
        s = add_line(l->rec, list, xprintf("read_%s", op_info[l->p->g->op[r->window].kind].name));
        window_fields(l, s, r->window, m);
        window_taps(l, s, r->window, m, true);
        if (keep)
            rec_int(s, "keep", 1);
    } else if (where == AT_X) {
        s = add_line(l->rec, list, "read_nchw");
        rec_fmt(s, "pixel", "%s", l->index);
        rec_int(s, "plane", (int64_t)shape.h * shape.w);
        rec_int(s, "channels", shape.c);
        l->uses_place = true;
    } else {
        s = add_line(l->rec, list, "read_blocked");
        rec_str(s, "pixel", where == AT_IMAGE && image >= 0 ? image_pixel(&l->image[image], "y", "x") : l->index);
        l->uses_place = true;
    }
    rec_str(s, "what", what);
    rec_str(s, "from", from);
}

static int64_t image_plane(const Image *m)
{
    return (int64_t)m->rows * m->cols;
}

/* The channel block's pointer behind q->`name`, for a value that lies `where`; `slot` is the kernel struct's field. */
static char *block_pointer(const Lines *l, Where where, int image, const char *image_field, const char *slot, Shape shape)
{
    const int64_t plane = (int64_t)shape.h * shape.w;

    switch (where) {
    case AT_SLOT:
        return xprintf("q->k->%s + (int64_t)q->at->image * %lld + c * %lld", slot, (long long)(blocks_of(shape.c) * LANES * plane), (long long)plane);
    case AT_X:
        if (l->infer)
            return xprintf("q->%s + c * %lld", image_field, (long long)plane);
        return xprintf("q->k->%s + (int64_t)q->at->image * %lld + c * %lld", slot, (long long)(shape.c * plane), (long long)plane);
    case AT_IMAGE:
        if (image < 0)
            return xprintf("q->%s + c * %lld", image_field, (long long)plane);
        if (l->image[image].plain)
            return xprintf("q->%s", image_field);
        return xprintf("q->%s + c * %lld", image_field, (long long)image_plane(&l->image[image]));
    case AT_CORE:
    case NOWHERE:
        break;
    }
    BUG("run %s has no such pointer", l->r->name);
}

static bool flattens(const Lines *l)
{
    return l->r->window >= 0 && l->p->g->op[l->r->window].kind == OP_FLATTEN;
}

static Shape window_input(const Lines *l)
{
    const Graph *g = l->p->g;

    return g->op[g->op[l->r->window].in].shape;
}

static bool is_after(Phase phase)
{
    return phase == PHASE_AFTER || phase == PHASE_TRACE_AFTER;
}

/* ---- the parts of a run ---- */

static void steps(Lines *l, Buf *done)
{
    const Graph *g = l->p->g;

    for (int i = 0; i < l->r->nstep; i++) {
        const Step *step = &l->r->step[i];
        const OpInfo *op = step->op >= 0 ? &op_info[g->op[step->op].kind] : NULL;
        const bool drop = step->op >= 0 && g->op[step->op].kind == OP_DROP;
        Rec *s = NULL;
        switch (step->kind) {
        case STEP_FORWARD:
            s = add_line(l->rec, "point", xprintf("fwd_%s", op->name));
            break;
        case STEP_AFFINE:
            s = add_line(l->rec, "point", "fwd_affine");
            break;
        case STEP_MASK:
            s = add_line(l->rec, "point", "mask");
            break;
        case STEP_STORE:
            s = add_line(l->rec, "point", "store");
            rec_str(s, "index", l->index);
            rec_int(s, "in", step->in);
            l->uses_place = l->uses_q = true;
            continue;
        case STEP_STATS:
            s = add_line(l->rec, "point", "stats");
            break;
        case STEP_BACK:
            s = add_line(l->rec, "point", xprintf("back_%s", op->name));
            rec_int(s, "value", op->need == NEED_OUTPUT ? step->out : step->in);
            break;
        case STEP_NORM_BACK:
            s = add_line(l->rec, "point", "back_norm");
            break;
        case STEP_SUMS:
            s = add_line(l->rec, "point", "sums");
            break;
        }
        rec_int(s, "in", step->in);
        rec_int(s, "out", step->out);
        if (step->first_lanes)
            rec_int(s, "first_lanes", 1);
        op_fields(l, s, step);
        if (step->first_lanes || drop || op->cls == CLASS_BARRIER)
            l->uses_q = true;
        if (drop)
            drop_constant(l, step->op, done);
        if (op->cls == CLASS_BARRIER && step->kind != STEP_STATS)
            norm_constants(l, step, done);
    }
}

static void store_result(Lines *l, const char *value)
{
    const Run *r = l->r;
    Rec *s;

    if (r->to == NOWHERE)
        return;
    const Image *m = r->to == AT_IMAGE ? &l->image[r->to_image] : NULL;
    field(l, "float *to");
    if (m)
        field(l, "float *to_image");
    load(l, "to", block_pointer(l, r->to, r->to_image, "to_image", "in_g", r->shape));
    s = add_line(l->rec, "point", m && m->plain ? "to_plain" : "to_blocked");
    rec_str(s, "value", value);
    rec_str(s, "pixel", m ? image_pixel(m, "y", "x") : l->index);
    if (m && m->plain) {
        rec_int(s, "plane", image_plane(m));
        rec_int(s, "channels", m->shape.c);
    }
    l->uses_place = l->uses_q = true;
}

static void scatter_result(Lines *l)
{
    const Run *r = l->r;
    const Image *m = &l->image[r->scatter_image];

    field(l, "float *scatter_image");
    field(l, "float *scatter");
    load(l, "scatter", flattens(l) ? "q->scatter_image" : block_pointer(l, AT_IMAGE, r->scatter_image, "scatter_image", NULL, m->shape));
    if (r->route)
        rec_str(add_line(l->rec, "point", "load_route"), "index", l->index), l->uses_place = true;
    Rec *s = add_line(l->rec, "point", xprintf("scatter_%s", op_info[l->p->g->op[r->window].kind].name));
    window_fields(l, s, r->window, m);
    window_taps(l, s, r->window, m, false);
    l->uses_q = true;
}

/* Where the winners of this run's windows are stored: its channel block's bytes. */
static char *route_block(const Lines *l)
{
    const Span *s = &l->p->span[l->k->after];
    const int64_t plane = (int64_t)l->r->shape.h * l->r->shape.w;

    for (int i = 0; i < s->nroute; i++)
        if (s->route[i] == l->r->window)
            return xprintf("q->k->route%d + (int64_t)q->at->image * %lld + c * %lld", i,
                           (long long)(blocks_of(l->r->shape.c) * LANES * plane), (long long)plane);
    BUG("no route is stored for run %s", l->r->name);
}

static void reductions(Lines *l)
{
    const Run *r = l->r;
    const bool stats = r->stats >= 0, sums = r->sums >= 0;

    if (!stats && !sums && !r->bias_grad)
        return;
    const int padded = blocks_of(r->shape.c) * LANES;
    field(l, stats ? "double *stats" : "double *sums");
    field(l, stats ? "vf sum, square, pivot" : sums ? "vf sum, square" : "vf sum");
    if (r->bias_grad)
        load(l, "sums", xprintf("q->k->db + (int64_t)q->at->piece * %d + c", padded));
    else
        load(l, stats ? "stats" : "sums",
             xprintf("q->k->%s->%s + (int64_t)q->at->piece * %d + c", plan_alias(l->k, stats ? r->stats : r->sums), stats ? "stats" : "sums",
                     (stats ? 3 : 2) * padded));
    if (r->bias_grad)
        add_line(l->rec, "point", "bias_grad");
    l->uses_q = true;
    Rec *e = add_line(l->rec, "end", stats ? "end_stats" : sums ? "end_sums" : "end_bias_grad");
    rec_int(e, "padded", padded);
}

static void begin_reductions(Lines *l)
{
    const Run *r = l->r;

    if (r->stats >= 0) {
        Rec *s = add_line(l->rec, "begin", "begin_stats");
        rec_str(s, "tag", run_tag(l->k, r));
        rec_int(l->rec, "begin_uses_first", 1);
    } else if (r->sums >= 0) {
        add_line(l->rec, "begin", "begin_sums");
    } else if (r->bias_grad) {
        add_line(l->rec, "begin", "begin_bias_grad");
    }
}

const char *describe_stages(const Plan *p, const Run *r)
{
    Buf b = {0};
    const char *comma = "";

    if (r->window >= 0)
        buf_puts(&b, op_info[p->g->op[r->window].kind].name), comma = ", ";
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        static const char *const verb[] = {[STEP_STORE] = "store", [STEP_STATS] = "statistics", [STEP_NORM_BACK] = "back through the norm",
                                           [STEP_SUMS] = "sums for the norm before", [STEP_MASK] = "mask"};
        if (s->kind == STEP_FORWARD || s->kind == STEP_AFFINE)
            buf_printf(&b, "%s%s", comma, op_info[p->g->op[s->op].kind].name);
        else if (s->kind == STEP_BACK)
            buf_printf(&b, "%sback through %s", comma, op_info[p->g->op[s->op].kind].name);
        else
            buf_printf(&b, "%s%s", comma, verb[s->kind]);
        comma = ", ";
    }
    return b.text ? b.text : "as it is";
}

Rec *emit_run(const Plan *p, const Kernel *k, const Run *r, Phase phase)
{
    Lines line = {.p = p, .k = k, .r = r, .phase = phase, .image = phase_images(k, phase), .rec = rec_new(),
                  .index = xprintf("(y * %d + x)", r->shape.w), .infer = phase == PHASE_INFER};
    Lines *l = &line;
    Buf done = {0};

    rec_str(l->rec, "template", "run");
    rec_str(l->rec, "tag", run_tag(k, r));
    rec_fmt(l->rec, "doc", "%s, %s: %s", r->name, describe_shape(r->shape), describe_stages(p, r));
    if (l->infer)
        field(l, "const float *f");
    else {
        field(l, "const struct %s *k", kernel_struct(p, k));
        field(l, "const struct cvy_at *at");
    }
    field(l, "int c");
    load(l, "c", "c");

    /* point: the value at hand, the steps, where it goes */
    if (r->back) {
        rec_str(l->rec, "input", "g");
        rec_str(l->rec, "result", "g");
        if (r->value != NOWHERE) {
            field(l, "const float *value");
            if (r->value == AT_IMAGE)
                field(l, "const float *value_image");
            const Shape at = r->value == AT_IMAGE ? l->image[r->value_image].shape : r->shape;
            load(l, "value", r->value == AT_IMAGE && flattens(l) ? "q->value_image"
                             : block_pointer(l, r->value, r->value_image, "value_image", is_after(phase) ? "out" : "in", at));
            read_value(l, "point", xprintf("const vf v%d =", r->first), "value", r->value, r->value_image, false);
            l->uses_q = true;
            if (r->nstep == 0 || r->value == AT_IMAGE) /* only the window's winners may be needed */
                rec_int(add_line(l->rec, "point", "unused_value"), "in", r->first);
        }
    } else if (r->bias) {
        rec_str(l->rec, "input", "v_in");
        rec_int(add_line(l->rec, "point", "bias"), "out", r->first);
        field(l, "vf bias");
        load(l, "bias", "vf_load(q->k->bias + c)");
        l->uses_q = true;
    } else {
        rec_fmt(l->rec, "input", "v%d", r->first);
    }
    if (!r->back)
        rec_fmt(l->rec, "result", "v%d", r->last);
    bool stores = false;
    for (int i = 0; i < r->nstep; i++)
        stores |= r->step[i].kind == STEP_STORE;
    if (stores) {
        field(l, "float *stored");
        load(l, "stored", block_pointer(l, AT_SLOT, -1, NULL, "out", r->shape));
    }
    steps(l, &done);
    reductions(l);
    if (r->scatter_image >= 0) {
        if (r->route) {
            field(l, "const uint8_t *route");
            load(l, "route", route_block(l));
        }
        scatter_result(l);
    } else {
        store_result(l, r->back ? "g" : xprintf("v%d", r->last));
    }
    begin_reductions(l);
    if (!l->uses_place)
        add_line(l->rec, "point", "unused_place");
    if (l->uses_q)
        rec_int(l->rec, "point_uses_q", 1);

    /* read and the walk, unless a core calls the run */
    if (r->from == AT_CORE)
        return l->rec;
    field(l, "const float *from");
    if (r->from == AT_IMAGE || (r->from == AT_X && l->infer))
        field(l, "const float *from_image");
    const bool window_read = !r->back && r->window >= 0;
    const Shape from_shape = window_read ? window_input(l) : r->shape;
    Rec *s = add_line(l->rec, "blocks", "begin_load");
    rec_str(s, "name", "from");
    rec_str(s, "expr", window_read && flattens(l) ? "q->from_image"
                       : block_pointer(l, r->from, r->from_image, "from_image",
                                       r->back ? "out_g" : is_after(phase) ? "out" : "in", from_shape));
    if (!r->back && r->route) {
        field(l, "uint8_t *route");
        s = add_line(l->rec, "blocks", "begin_load");
        rec_str(s, "name", "route");
        rec_str(s, "expr", route_block(l));
    }
    const bool point_used_place = l->uses_place;
    l->uses_place = false;
    read_value(l, "read", "return", "from", r->from, r->from_image, r->route && !r->back);
    if (!l->uses_place && !(r->route && !r->back))
        rec_int(l->rec, "read_ignores_place", 1);
    l->uses_place = point_used_place;
    rec_int(l->rec, "padded", blocks_of(r->shape.c) * LANES);
    rec_int(l->rec, "h", r->shape.h);
    rec_int(l->rec, "w", r->shape.w);
    rec_str(l->rec, "first", r->stats >= 0 ? xprintf("%s_read(q, 0, 0)", run_tag(k, r)) : "vf_zero()");
    return l->rec;
}
