/* pixel_pass.c - a pass over pixels as records: its struct, and the lines of its point, begin, end and read functions.
 *
 * needs: a complete plan. sets: records for template `run` (templates/stages.c). */
#include "emit.h"
#include "names.h"
#include "share.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

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

const char *pass_tag(const Kernel *k, const PixelPass *r)
{
    return xprintf("%s_%s", k->tag, k->shares && r->shared ? r->shared : r->name);
}

const char *pass_end(const Kernel *k, const PixelPass *r)
{
    bool any = r->stats || r->image_stats || r->bias_grad;

    for (int i = 0; i < r->nstep; i++)
        any |= r->step[i].kind == STEP_SUMS;
    return any ? xprintf("%s_end", pass_tag(k, r)) : "cvy_end_nothing";
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
    const PixelPass *r;
    const Image *image;
    Rec *rec;
    const char *index; /* of the visited pixel: (y * W + x) */
    int base;          /* the number of the first value: in C it is v0, wherever on its path a pass begins */
    bool uses_place, uses_q, infer, given;
    bool chained; /* in C each value takes the place of the one before it: v, and a skip operand's v_side0 */
    int drains;
    Names done;       /* constants that are declared and loaded already */
    int *skip, *read; /* by value, the skip operand that it comes of, or that is read there; -1: none */
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

/* What a sum of the pass leaves behind, at the end of a tile or row. */
static void drain(Lines *l, const char *type, const char *name)
{
    Rec *s = rec_add(l->rec, "end");

    rec_fmt(s, "drain", "%s_drain", type);
    rec_str(s, "name", name);
    l->drains++;
}

/* What follows the v of a value: nothing, or its number; or the skip operand that it is read from. */
static const char *number(const Lines *l, int value)
{
    const int skip = (l->chained ? l->skip : l->read)[value];

    return skip >= 0 ? xprintf("_side%d", skip) : l->chained ? "" : xprintf("%d", value - l->base);
}

/* The left side of the line that makes a value. */
static const char *let(const Lines *l, int value)
{
    return xprintf(l->chained ? "v%s =" : "const vf v%s =", number(l, value));
}

/* The same where it is read from a skip operand: stages may follow there. */
static const char *let_skip(const Lines *l, const Step *skip)
{
    bool changes = false;

    for (int i = 0; i < l->r->nstep && l->chained && !changes; i++)
        changes = step_makes_value(&l->r->step[i]) && l->skip[l->r->step[i].out] == skip->skip;
    return xprintf(changes ? "vf v%s =" : "const vf v%s =", number(l, skip->out));
}

/* Whether `name` is new to this pass; from then on it is not. */
static bool once(Lines *l, const char *name)
{
    return ++*names_at(&l->done, name) == 1;
}

/* "c", or "c + 5" after a concat */
static const char *channel(int first)
{
    return first ? xprintf("c + %d", first) : "c";
}

/* The pass is given a pointer `name` into scratch. */
static void scratch_field(Lines *l, const char *type, const char *name)
{
    if (once(l, name))
        field(l, "%s *%s", type, name);
}

/* Channels of a tensor, rounded up, with room for a path that writes past the last. */
static int tensor_room(const Lines *l)
{
    const Tensor *list = l->infer ? l->p->infer_tensor : l->p->tensor, *nd = &list[l->k->tensor];

    return blocks_of(nd->shape[nd->nlink].c) * LANES + LANES;
}

/* A struct of constants for 16 channels, declared and loaded once a pass: arrays of `padded` floats, the first at
 * `from`. */
static void constants(Lines *l, const char *type, const char *name, const char *from, int padded, int first)
{
    l->uses_q = true;
    if (!once(l, xprintf("constants %s", name)))
        return;
    field(l, "struct %s %s", type, name);
    Rec *s = add_line(l->rec, "begin", "begin_constants");
    rec_fmt(s, "load", "%s_load%s", type, l->r->back && strcmp(type, "vf_norm") == 0 ? "_back" : "");
    rec_str(s, "name", name);
    rec_fmt(s, "from", "%s + %s", from, channel(first));
    rec_int(s, "padded", padded);
}

/* Where a norm's constants lie: the batch norm's own, its running ones, in scratch those of the image at hand; or the
 * pass is given them. */
static void norm_constants(Lines *l, int op, int first)
{
    const char *alias = plan_alias(l->k, op), *at = xprintf("%s_of_image", alias), *from = xprintf("%s_from", alias);

    if (l->given) {
        if (once(l, from))
            field(l, "const float *%s", from);
        constants(l, "vf_norm", alias, xprintf("q->%s", from), plan_norm(l->p, op)->padded, first);
        return;
    }
    if (l->infer && !op_is_image_norm(l->p->g->op[op].kind)) {
        constants(l, "vf_norm", alias, xprintf("q->f + %s", affine_macro(l->p, op)), plan_norm(l->p, op)->padded,
                  first);
        return;
    }
    if (!op_is_image_norm(l->p->g->op[op].kind)) {
        constants(l, "vf_norm", alias, xprintf("q->k->%s->mean", alias), plan_norm(l->p, op)->padded, first);
        return;
    }
    scratch_field(l, "const float", at);
    constants(l, "vf_norm", alias, xprintf("q->%s", at), blocks_of(l->p->g->op[op].shape.c) * LANES, first);
}

static void step_constants(Lines *l, const Step *s)
{
    const bool norm = s->op >= 0 && op_is_norm(l->p->g->op[s->op].kind);

    if (s->kind == STEP_CORRECT) {
        constants(l, "vf_taken", "taken", "q->k->stats->mean", tensor_room(l), s->first);
    } else if (s->kind == STEP_CORRECT_IMAGE) {
        scratch_field(l, "const float", "image_back");
        constants(l, "vf_taken", "image_taken", "q->image_back", tensor_room(l), s->first);
    } else if (norm &&
               (s->kind == STEP_FORWARD || s->kind == STEP_AFFINE || s->kind == STEP_SUMS || s->kind == STEP_SCALE)) {
        norm_constants(l, s->op, s->first);
    }
}

static void drop_constant(Lines *l, const Step *st)
{
    const char *alias = plan_alias(l->k, st->op);
    const Shape shape = l->p->g->op[st->op].shape;

    l->uses_q = true;
    if (!once(l, alias))
        return;
    field(l, "struct vf_drop %s", alias);
    Rec *s = add_line(l->rec, "begin", "begin_drop");
    rec_str(s, "op", alias);
    rec_str(s, "channel", channel(st->first));
    rec_int(s, "plane", (int64_t)shape.h * shape.w);
}

/* What every line of an op may name. */
static void op_fields(Lines *l, Rec *s, const Step *step)
{
    const Op *o = &l->p->g->op[step->op];
    const char *alias = plan_alias(l->k, step->op);

    rec_str(s, "op", alias ? alias : o->stage ? o->stage : o->layer);
    rec_str(s, "index", l->index);
    if (o->kind == OP_DROP) {
        rec_fmt(s, "below", "%luu", (unsigned long)(o->value * 4294967296.0));
        rec_str(s, "arg", emit_float(1 / (1 - o->value)));
        l->uses_place = true;
    } else if (op_is_act(o->kind)) {
        Buf args = {0};
        buf_puts(&args, "");
        for (int k = 0; k < op_may_args(o->kind); k++) {
            const double v = o->arg[op_arg_at(o->kind, k)].real;
            buf_printf(&args, ", %s", emit_float(isinf(v) ? FLT_MAX : v));
        }
        rec_str(s, "act", op_info[o->kind].name);
        rec_str(s, "args", args.text);
    }
}

/* ---- windows ---- */

/* A window that looks at the whole image, not at one channel block of it. */
static bool whole_image(const Lines *l)
{
    const OpKind kind = l->r->window >= 0 ? l->p->g->op[l->r->window].kind : OP_KINDS;

    return kind == OP_FLATTEN || kind == OP_PAD;
}

/* "y * 2 - 1": where a window begins along a direction, moved by `by`. */
static const char *window_at(const Op *o, int d, int by)
{
    const char *at = o->stride[d] > 1 ? xprintf("%s * %d", d ? "x" : "y", o->stride[d]) : d ? "x" : "y";

    by -= o->padding[d];
    return by ? xprintf("%s %c %d", at, by < 0 ? '-' : '+', by < 0 ? -by : by) : at;
}

/* How many elements of a window at (y, x) an avgpool counts along a direction: the kernel, less what hangs over. */
static const char *window_count(const Graph *g, const Op *o, int d)
{
    int from, to;
    const char *end = window_at(o, d, o->kernel[d]), *begin = window_at(o, d, 0);
    const int last = ((d ? o->shape.w : o->shape.h) - 1) * o->stride[d] - o->padding[d];

    if (!graph_counted(g, o, d, &from, &to))
        return xprintf("%d", o->kernel[d]);
    end = last + o->kernel[d] > to ? xprintf("(%s < %d ? %s : %d)", end, to, end, to) : end;
    begin = from > -o->padding[d] ? xprintf("(%s > %d ? %s : %d)", begin, from, begin, from) : xprintf("(%s)", begin);
    return xprintf("(%s - %s)", end, begin);
}

/* What an avgpool's sum is multiplied by at (y, x). */
static const char *window_inverse(const Graph *g, const Op *o)
{
    int from, to;

    if (o->kind != OP_AVGPOOL || (!graph_counted(g, o, 0, &from, &to) && !graph_counted(g, o, 1, &from, &to)))
        return emit_float(1.0 / (o->kernel[0] * o->kernel[1]));
    return xprintf("1.0f / (float)(%s * %s)", window_count(g, o, 0), window_count(g, o, 1));
}

/* The fields of a line that goes through a window whose input is image m, from output pixel (y, x). */
static void window_fields(Lines *l, Rec *s, int op, const Image *m)
{
    const Op *o = &l->p->g->op[op];
    const Shape in = m->shape;

    rec_str(s, "index", l->index);
    rec_int(s, "plane", (int64_t)in.h * in.w);
    rec_int(s, "total", l->r->shape.c);
    if (o->kind == OP_MAXPOOL || o->kind == OP_AVGPOOL || o->kind == OP_PAD) {
        rec_fmt(s, "pixel", "(y * %d + x * %d)", o->stride[0] * m->cols, o->stride[1]);
        rec_str(s, "inverse", window_inverse(l->p->g, o));
        rec_int(s, "before", o->before);
        rec_int(s, "channels", in.c);
        rec_int(s, "area", (int64_t)m->rows * m->cols);
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
    if (count > 1)
        rec_int(s, "several", 1);
    rec_str(s, "won", count > 1 ? "route" : "vf_zero()"); /* of a window that is one element, the first */
    const int unroll = l->p->g->spec->unroll;
    if (count > (unroll == UNROLL_NONE ? 1 : UNROLL_WINDOW) && unroll != UNROLL_FULL) {
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

/* ---- places ---- */

/* Pixels of a place, halo and all; of a linear op's result, one. */
static int64_t place_area(const Lines *l, const Place *p)
{
    if (p->where == AT_IMAGE && p->image >= 0)
        return (int64_t)l->image[p->image].rows * l->image[p->image].cols;
    return (int64_t)p->shape.h * p->shape.w;
}

/* The index of pixel (y, x), written as `y` and `x`, in a place. */
static const char *place_pixel(const Lines *l, const Place *p, const char *y, const char *x)
{
    if (p->where == AT_IMAGE && p->image >= 0)
        return image_pixel(&l->image[p->image], y, x);
    return xprintf("(%s * %d + %s)", y, p->shape.w, x);
}

/* Where a place begins, as the pass is given it: in its own struct's `name_image`, or in the kernel's. */
static const char *place_base(const Lines *l, const Place *p, const char *name, bool grad)
{
    const int64_t area = place_area(l, p);

    if (p->where == AT_IMAGE || l->infer || l->given)
        return xprintf("q->%s_image", name);
    return xprintf("q->k->%s%s + (int64_t)q->at->image * %lld", l->k->port[p->port].name, grad ? "_g" : "",
                   (long long)(p->where == AT_X ? p->shape.c * area : blocked_floats(p->shape)));
}

/* The pointer to a channel block of a place, or (`whole`) to the place. */
static const char *place_block(const Lines *l, const Place *p, const char *name, bool grad, bool whole)
{
    if (whole)
        return place_base(l, p, name, grad);
    const char *c = p->first ? xprintf("(c + %d)", p->first) : "c";
    return xprintf("%s + %s * %lld", place_base(l, p, name, grad), c, (long long)place_area(l, p));
}

static void image_field(Lines *l, const Place *p, const char *name)
{
    if (p->where == AT_IMAGE || l->infer || l->given)
        field(l, "%sfloat *%s_image", strncmp(name, "to", 2) == 0 || strncmp(name, "scatter", 7) == 0 ? "" : "const ",
              name);
}

static void lane_fields(const Lines *l, Rec *s, const Place *p, int channels)
{
    rec_int(s, "area", place_area(l, p));
    rec_str(s, "channel", p->first ? xprintf("q->c + %d", p->first) : "q->c");
    rec_int(s, "end", (int64_t)p->first + channels);
}

/* Lines that read a value: `list` of the record, as `what` ("return", "const vf v3 ="); q->`from` is the block. */
static void read_value(Lines *l, const char *list, const char *what, const char *from, const Place *p, bool window,
                       bool keep)
{
    const PixelPass *r = l->r;
    Rec *s;

    if (window) {
        const Image *m = &l->image[p->image];
        s = add_line(l->rec, list, xprintf("read_%s", op_info[l->p->g->op[r->window].kind].name));
        window_fields(l, s, r->window, m);
        window_taps(l, s, r->window, m, true);
        if (keep)
            rec_int(s, "keep", 1);
    } else if (p->where == AT_X) {
        s = add_line(l->rec, list, "read_nchw");
        rec_str(s, "pixel", l->index);
        rec_int(s, "plane", place_area(l, p));
        rec_int(s, "channels", r->shape.c);
        l->uses_place = true;
    } else {
        const bool shifted = plan_shifted(p, r->shape.c);
        s = add_line(l->rec, list, shifted ? "read_lanes" : "read_blocked");
        rec_str(s, "pixel", place_pixel(l, p, "y", "x"));
        if (shifted)
            lane_fields(l, s, p, r->shape.c);
        l->uses_place = true;
    }
    rec_str(s, "what", what);
    rec_str(s, "from", from);
}

/* ---- the parts of a pass ---- */

static const char *gradient(const Step *s)
{
    return s->g ? xprintf("g%d", s->g) : "g";
}

/* Reading what a join's other operand begins at, and giving to its gradient. */
static void skip_step(Lines *l, const Step *step)
{
    const SkipRead *skip = &l->r->skip[step->skip];
    const Place *p = &skip->from;
    const int pad = skip->operand->pad;
    const Op *o = pad >= 0 ? &l->p->g->op[pad] : NULL;
    const bool give = step->kind == STEP_GIVE;
    const char *name = xprintf("%s%d", give ? "to_side" : "side", step->skip);
    Place to = *p;
    Rec *s;

    if (give) {
        const Tensor *nd = &l->p->tensor[skip->operand->path.tensor];
        to = (Place){.where = AT_SLOT, .image = -1, .port = step->in2, .shape = nd->shape[nd->nlink]};
        to.total = to.shape.c;
        p = &to;
    }
    field(l, "%sfloat *%s", give ? "" : "const ", name);
    if (!give)
        image_field(l, p, name);
    load(l, name, place_block(l, p, name, give, o != NULL));
    if (o) {
        s = add_line(l->rec, "point", give ? "give_pad" : "side_pad");
        rec_int(s, "area", place_area(l, p));
        rec_str(s, "pixel",
                place_pixel(l, p, o->stride[0] > 1 ? xprintf("(y * %d)", o->stride[0]) : "y",
                            o->stride[1] > 1 ? xprintf("(x * %d)", o->stride[1]) : "x"));
        rec_int(s, "before", o->before);
        rec_int(s, "channels", p->shape.c);
        if (p->where == AT_X)
            rec_int(s, "nchw", 1);
    } else if (p->where == AT_X) {
        s = add_line(l->rec, "point", "side_nchw");
        rec_str(s, "pixel", l->index);
        rec_int(s, "plane", place_area(l, p));
        rec_int(s, "channels", p->shape.c);
    } else {
        s = add_line(l->rec, "point", give ? (step->adds ? "give_add" : "give") : "side");
        rec_str(s, "pixel", place_pixel(l, p, "y", "x"));
    }
    rec_str(s, "name", name);
    rec_str(s, "g", gradient(step));
    rec_str(s, "let", let_skip(l, step));
    l->uses_place = l->uses_q = true;
}

/* Where a pass's channels stand among those of the kernel's tensor. */
static bool shifted_in_tensor(const Lines *l)
{
    const Tensor *list = l->infer ? l->p->infer_tensor : l->p->tensor, *nd = &list[l->k->tensor];
    const Place all = {.first = l->r->stats_first, .total = nd->shape[nd->nlink].c};

    return plan_shifted(&all, l->r->shape.c);
}

/* Statistics of the batch, in the arena, or of the image, in scratch. */
static void stats_step(Lines *l, const Step *step)
{
    const PixelPass *r = l->r;
    const bool image = step->kind == STEP_IMAGE_STATS;
    const char *prefix = image ? "image_" : "";

    field(l, "struct vf_stats %sstats", prefix);
    if (image) {
        scratch_field(l, "double", "image_sums");
        field(l, "int again");
    }
    Rec *s = add_line(l->rec, "point", "stats");
    rec_str(s, "in", number(l, step->in));
    rec_str(s, "of", prefix);
    drain(l, "vf_stats", xprintf("%sstats", prefix));
    if (shifted_in_tensor(l))
        rec_int(s, "valid", r->shape.c);
    l->uses_q = true;
}

/* A value of the image that is walked over: the middle one of three, so that none that is far from all others is taken
 * for a pivot. */
static char *walk_value(const Lines *l)
{
    const char *tag = pass_tag(l->k, l->r);
    const int h = l->r->shape.h, w = l->r->shape.w;

    return h * w < 3 ? xprintf("%s_read(q, 0, 0)", tag)
                     : xprintf("vf_middle(%s_read(q, 0, 0), %s_read(q, %d, %d), %s_read(q, %d, %d))", tag, tag, h / 2,
                               w / 2, tag, h - 1, w - 1);
}

static void begin_stats(Lines *l)
{
    const PixelPass *r = l->r;
    const char *image = xprintf("q->image_sums + %s", channel(r->stats_first));
    const char *batch = xprintf("q->k->stats->part + (int64_t)q->at->piece * %d + %s", CVY_STATS_PART * tensor_room(l),
                                channel(r->stats_first));
    Rec *s = add_line(l->rec, "begin", r->stats && r->image_stats ? "begin_both_stats" : "begin_stats");

    rec_str(s, "tag", pass_tag(l->k, r));
    rec_str(s, "of", r->image_stats ? "image_" : "");
    rec_str(s, "part", r->stats ? batch : image);
    rec_str(s, "image_part", image);
    rec_int(s, "padded", tensor_room(l));
    rec_str(s, "when",
            r->image_stats ? "!q->again && " : "q->at->fresh && "); /* of the batch: the piece's first image */
    rec_str(s, "first", r->from.where == AT_CORE ? "first" : walk_value(l));
    rec_str(s, "lanes", shifted_in_tensor(l) ? xprintf("%d - c", r->shape.c) : "16");
    rec_int(l->rec, "begin_uses_place", 1);
    if (r->from.where == AT_CORE)
        rec_int(l->rec, "begin_uses_first", 1);
}

static void sums_step(Lines *l, const Step *step)
{
    const char *alias = plan_alias(l->k, step->op);
    const int padded = plan_norm(l->p, step->op)->padded;

    if (!once(l, xprintf("sums of %s", alias)))
        BUG("run %s takes the sums of %s twice", l->r->name, alias);
    const char *sums;
    if (op_is_image_norm(l->p->g->op[step->op].kind)) {
        const char *name = xprintf("%s_gradient", alias);
        scratch_field(l, "double", name);
        sums = xprintf("q->%s + %s", name, channel(step->first));
    } else {
        sums = xprintf("q->k->%s->sums + (int64_t)q->at->piece * %d + %s", alias, CVY_BN_SUMS * padded,
                       channel(step->first));
    }
    Rec *s = add_line(l->rec, "begin", "begin_sums");
    rec_str(s, "op", alias);
    rec_int(s, "padded", padded);
    rec_str(s, "sums", sums);
    drain(l, "vf_norm", alias);
}

static void store_step(Lines *l, const Step *step)
{
    const PixelPass *r = l->r;
    const Tensor *nd = &l->p->tensor[l->k->tensor];
    Place out = {
        .where = AT_SLOT, .image = -1, .first = r->store_first, .total = r->store_total, .shape = nd->shape[0]};

    for (int i = 0; i < l->k->nport; i++)
        if (l->k->port[i].tensor == l->k->tensor)
            out.port = i;
    const bool shifted = plan_shifted(&out, r->shape.c);
    field(l, "float *stored");
    load(l, "stored", place_block(l, &out, "stored", false, shifted));
    Rec *s = add_line(l->rec, "point", shifted ? "store_lanes" : "store");
    rec_str(s, "index", l->index);
    rec_str(s, "in", number(l, step->in));
    if (shifted)
        lane_fields(l, s, &out, r->shape.c);
    l->uses_place = l->uses_q = true;
}

static void steps(Lines *l)
{
    const Graph *g = l->p->g;

    for (int i = 0; i < l->r->nstep; i++) {
        const Step *step = &l->r->step[i];
        const OpInfo *op = step->op >= 0 ? &op_info[g->op[step->op].kind] : NULL;
        Rec *s = NULL;
        switch (step->kind) {
        case STEP_FORWARD:
            s = add_line(l->rec, "point",
                         xprintf("fwd_%s", op_is_norm(g->op[step->op].kind)  ? "norm"
                                           : op_is_act(g->op[step->op].kind) ? "act"
                                                                             : op->name));
            break;
        case STEP_AFFINE:
            s = add_line(l->rec, "point", "fwd_norm");
            break;
        case STEP_MASK:
            s = add_line(l->rec, "point", "mask");
            break;
        case STEP_ADD:
            s = add_line(l->rec, "point", "fwd_add");
            rec_str(s, "in2", number(l, step->in2));
            break;
        case STEP_BACK:
            s = add_line(l->rec, "point", op_is_act(g->op[step->op].kind) ? "back_act" : xprintf("back_%s", op->name));
            rec_str(s, "value", number(l, op->need == NEED_OUTPUT ? step->out : step->in));
            break;
        case STEP_CORRECT:
        case STEP_CORRECT_IMAGE:
            s = add_line(l->rec, "point", "back_stats");
            rec_str(s, "of", step->kind == STEP_CORRECT ? "" : "image_");
            if (plan_shifted(&(Place){.first = step->first,
                                      .total = l->p->tensor[l->k->tensor].shape[l->p->tensor[l->k->tensor].nlink].c},
                             step->channels))
                rec_int(s, "valid", step->channels);
            break;
        case STEP_SUMS:
            s = add_line(l->rec, "point", "sums");
            step_constants(l, step);
            sums_step(l, step);
            break;
        case STEP_SCALE:
            s = add_line(l->rec, "point", "back_scale");
            break;
        case STEP_SPLIT:
            s = add_line(l->rec, "point", "split");
            break;
        case STEP_STORE:
            store_step(l, step);
            continue;
        case STEP_STATS:
        case STEP_IMAGE_STATS:
            stats_step(l, step);
            continue;
        case STEP_SKIP:
        case STEP_GIVE:
            skip_step(l, step);
            continue;
        }
        rec_str(s, "in", number(l, step->in));
        rec_str(s, "let", let(l, step->out));
        rec_str(s, "g", gradient(step));
        rec_int(s, "channels", step->channels);
        if (step->first_lanes) {
            rec_int(s, "first_lanes", 1);
            l->uses_q = true;
        }
        if (op)
            op_fields(l, s, step);
        if (op && g->op[step->op].kind == OP_DROP)
            drop_constant(l, step);
        step_constants(l, step);
    }
}

static void store_result(Lines *l, const char *value)
{
    const PixelPass *r = l->r;
    const Place *p = &r->to;

    if (p->where == NOWHERE)
        return;
    const Image *m = p->where == AT_IMAGE ? &l->image[p->image] : NULL;
    const bool plain = m && m->plain, shifted = !plain && plan_shifted(p, r->shape.c);
    field(l, "float *to");
    image_field(l, p, "to");
    load(l, "to",
         plain ? (p->first ? xprintf("q->to_image + %lld", (long long)(p->first * place_area(l, p))) : "q->to_image")
               : place_block(l, p, "to", true, shifted));
    Rec *s = add_line(l->rec, "point",
                      plain     ? "to_plain"
                      : shifted ? (r->adds ? "add_lanes" : "to_lanes")
                      : r->adds ? "to_sum"
                                : "to_blocked");
    rec_str(s, "value", value);
    rec_str(s, "pixel", place_pixel(l, p, "y", "x"));
    if (plain) {
        rec_int(s, "plane", place_area(l, p));
        rec_int(s, "channels", r->shape.c);
    }
    if (shifted)
        lane_fields(l, s, p, r->shape.c);
    l->uses_place = l->uses_q = true;
}

static void scatter_result(Lines *l)
{
    const PixelPass *r = l->r;
    const Image *m = &l->image[r->scatter_image];
    const Place p = {.where = AT_IMAGE, .image = r->scatter_image, .total = m->shape.c, .shape = m->shape};

    field(l, "float *scatter_image");
    field(l, "float *scatter");
    load(l, "scatter", place_block(l, &p, "scatter", false, whole_image(l)));
    const Op *o = &l->p->g->op[r->window];
    if (r->route && o->kernel[0] * o->kernel[1] > 1) /* a window that is one element has one winner */
        rec_str(add_line(l->rec, "point", "load_route"), "index", l->index), l->uses_place = true;
    Rec *s = add_line(l->rec, "point", xprintf("scatter_%s", op_info[o->kind].name));
    window_fields(l, s, r->window, m);
    window_taps(l, s, r->window, m, false);
    l->uses_q = true;
}

/* Where the winners of this pass's windows are stored: its channel block's bytes. */
static char *route_block(const Lines *l)
{
    const Tensor *nd = &l->p->tensor[l->k->tensor];
    const int64_t plane = (int64_t)l->r->shape.h * l->r->shape.w;

    for (int i = 0; i < nd->nroute; i++)
        if (nd->route[i] == l->r->window)
            return xprintf("q->k->route%d + (int64_t)q->at->image * %lld + c * %lld", i,
                           (long long)(blocks_of(l->r->shape.c) * LANES * plane), (long long)plane);
    BUG("no route is stored for run %s", l->r->name);
}

static void bias_gradient(Lines *l)
{
    field(l, "struct vf_sum bias");
    rec_int(add_line(l->rec, "begin", "begin_bias_grad"), "padded", blocks_of(l->r->shape.c) * LANES);
    add_line(l->rec, "point", "bias_grad");
    drain(l, "vf_sum", "bias");
    l->uses_q = true;
}

const char *describe_stages(const Plan *p, const PixelPass *r)
{
    Buf b = {0};
    const char *comma = "";

    if (r->window >= 0)
        buf_puts(&b, op_info[p->g->op[r->window].kind].name), comma = ", ";
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        static const char *const verb[] = {[STEP_STORE] = "store",
                                           [STEP_STATS] = "statistics",
                                           [STEP_IMAGE_STATS] = "statistics of the image",
                                           [STEP_CORRECT_IMAGE] = "what the image norms' statistics take away",
                                           [STEP_CORRECT] = "what the norms' statistics take away",
                                           [STEP_SUMS] = "sums for the norm before",
                                           [STEP_MASK] = "mask",
                                           [STEP_ADD] = "add",
                                           [STEP_GIVE] = "give to the other operand"};
        if (s->kind == STEP_SKIP || s->kind == STEP_SPLIT)
            continue;
        if (s->kind == STEP_FORWARD || s->kind == STEP_AFFINE)
            buf_printf(&b, "%s%s", comma, op_info[p->g->op[s->op].kind].name);
        else if (s->kind == STEP_BACK || s->kind == STEP_SCALE)
            buf_printf(&b, "%sback through %s", comma, op_info[p->g->op[s->op].kind].name);
        else
            buf_printf(&b, "%s%s", comma, verb[s->kind]);
        comma = ", ";
    }
    return b.text ? b.text : "as it is";
}

/* Whether a line of a backward pass names the value that it begins with. */
static bool reads_first(const Lines *l)
{
    const PixelPass *r = l->r;
    bool any = false;

    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        const OpKind kind = s->op >= 0 ? l->p->g->op[s->op].kind : OP_KINDS;
        const bool corrects = s->kind == STEP_CORRECT || s->kind == STEP_CORRECT_IMAGE;
        if (s->kind == STEP_BACK && kind != OP_DROP)
            any |= (op_info[kind].need == NEED_OUTPUT ? s->out : s->in) == r->first;
        else if (s->kind == STEP_FORWARD || s->kind == STEP_SUMS || corrects)
            any |= s->in == r->first;
        else if (s->kind == STEP_ADD)
            any |= s->in == r->first || s->in2 == r->first;
    }
    return any;
}

/* The value at hand when a pass's point function begins. */
static void value_at_hand(Lines *l)
{
    const PixelPass *r = l->r;

    if (!r->back) {
        const char *input = xprintf("v%s", number(l, r->first));
        rec_fmt(l->rec, "result", "v%s", number(l, r->last));
        if (!r->bias) {
            rec_str(l->rec, "input", input);
            return;
        }
        input = l->chained ? input : "v_in";
        rec_str(l->rec, "input", input);
        Rec *s = add_line(l->rec, "point", "bias");
        rec_str(s, "let", let(l, r->first));
        rec_str(s, "given", input);
        field(l, "vf bias");
        load(l, "bias", "vf_load(q->k->bias + c)");
        l->uses_q = true;
        return;
    }
    rec_str(l->rec, "input", "g");
    rec_str(l->rec, "result", "g");
    if (r->value.where == NOWHERE)
        return;
    const bool window = r->value.where == AT_IMAGE && r->window >= 0 && r->value.image >= 0;
    field(l, "const float *value");
    image_field(l, &r->value, "value");
    load(l, "value", place_block(l, &r->value, "value", false, window && whole_image(l)));
    read_value(l, "point", "const vf v0 =", "value", &r->value, window, false);
    l->uses_q = true;
    if (!reads_first(l))
        rec_int(add_line(l->rec, "point", "unused_value"), "in", 0);
}

/* The walk of a pass that no core calls: where it reads. */
static void walk(Lines *l)
{
    const PixelPass *r = l->r;
    const Place *p = &r->from;
    const bool window = !r->back && r->window >= 0,
               shifted = !window && p->where != AT_X && plan_shifted(p, r->shape.c);

    field(l, "const float *from");
    image_field(l, p, "from");
    load(l, "from", place_block(l, p, "from", r->back, shifted || (window && whole_image(l))));
    if (!r->back && r->route) {
        field(l, "uint8_t *route");
        load(l, "route", route_block(l));
    }
    const bool point_used_place = l->uses_place;
    l->uses_place = false;
    read_value(l, "read", "return", "from", p, window, r->route && !r->back);
    if (!l->uses_place && !(r->route && !r->back))
        rec_int(l->rec, "read_ignores_place", 1);
    l->uses_place = point_used_place;
    rec_int(l->rec, "padded", blocks_of(r->shape.c) * LANES);
    rec_int(l->rec, "h", r->shape.h);
    rec_int(l->rec, "w", r->shape.w);
}

Rec *emit_pixel_pass(const Plan *p, const Kernel *k, const PixelPass *r, const Image *image, bool infer)
{
    int *skip = pass_skips(r, false);
    Lines line = {.p = p,
                  .k = k,
                  .r = r,
                  .image = image,
                  .rec = rec_new(),
                  .index = xprintf("(y * %d + x)", r->shape.w),
                  .base = r->first,
                  .infer = infer,
                  .given = pass_is_given(p, r),
                  .chained = pass_is_chained(r, skip),
                  .skip = skip,
                  .read = pass_skips(r, true)};
    Lines *l = &line;

    rec_str(l->rec, "template", "run");
    rec_str(l->rec, "tag", pass_tag(k, r));
    rec_fmt(l->rec, "doc", "%s, %s: %s", r->name, describe_shape(r->shape), describe_stages(p, r));
    if (l->infer && !l->given) {
        field(l, "const float *f");
    } else if (!l->given) {
        field(l, "const struct %s *k", kernel_struct(p, k));
        field(l, "const struct cvy_at *at");
        if (r->several) {
            field(l, "const struct cvy_at *images");
            rec_int(l->rec, "several", 1);
        }
    }
    field(l, "int c");
    load(l, "c", "c");

    value_at_hand(l);
    steps(l);
    if (r->bias_grad)
        bias_gradient(l);
    if (r->scatter_image >= 0) {
        if (r->route) {
            field(l, "const uint8_t *route");
            load(l, "route", route_block(l));
        }
        scatter_result(l);
    } else {
        store_result(l, r->back ? "g" : xprintf("v%s", number(l, r->last)));
    }
    if (!l->uses_place)
        add_line(l->rec, "point", "unused_place");
    if (l->uses_q)
        rec_int(l->rec, "point_uses_q", 1);
    if (r->from.where != AT_CORE)
        walk(l);
    if (r->stats || r->image_stats)
        begin_stats(l);
    rec_str(l->rec, "end_name", pass_end(k, r));
    if (l->drains == 1)
        rec_int(l->rec, "end_one", 1);
    return l->rec;
}
