/* pass_places.c - where a pass over pixels reads and writes: windows, images, tensors, the network's input.
 *
 * needs: a complete plan. sets: fields of the records that read or write. */
#include "pass_lines.h"

#include "expr.h"

#include <string.h>

/* ---- windows ---- */

/* A window that looks at the whole image, not at one channel block of it. */
bool window_is_whole(const Lines *l)
{
    const OpKind kind = l->r->window >= 0 ? l->p->g->op[l->r->window].kind : OP_KINDS;

    return kind == OP_FLATTEN || kind == OP_PAD;
}

/* "y * 2 - 1": where a window begins along a direction, moved by `by`. */
static const char *window_at(const Lines *l, const Op *o, int d, int by)
{
    return expr("%s * %d + %d", d ? l->x : l->y, o->stride[d], by - o->padding[d]);
}

/* How many elements of a window at (y, x) an avgpool counts along a direction: the kernel, less what hangs over. */
static const char *window_count(const Lines *l, const Op *o, int d)
{
    int from, to;
    const char *end = window_at(l, o, d, o->kernel[d]), *begin = window_at(l, o, d, 0);
    const int last = ((d ? o->shape.w : o->shape.h) - 1) * o->stride[d] - o->padding[d];

    if (!graph_counted(l->p->g, o, d, &from, &to))
        return xprintf("%d", o->kernel[d]);
    end = last + o->kernel[d] > to ? xprintf("(%s < %d ? %s : %d)", end, to, end, to) : end;
    begin = from > -o->padding[d] ? xprintf("(%s > %d ? %s : %d)", begin, from, begin, from) : xprintf("(%s)", begin);
    return xprintf("(%s - %s)", end, begin);
}

/* What an avgpool's sum is multiplied by at (y, x). */
static const char *window_inverse(const Lines *l, const Op *o)
{
    const Graph *g = l->p->g;
    int from, to;

    if (o->kind != OP_AVGPOOL || (!graph_counted(g, o, 0, &from, &to) && !graph_counted(g, o, 1, &from, &to)))
        return emit_float(1.0 / (o->kernel[0] * o->kernel[1]));
    return xprintf("1.0f / (float)(%s * %s)", window_count(l, o, 0), window_count(l, o, 1));
}

/* The fields of a line that goes through a window whose input is image m, from output pixel (y, x). */
void window_fields(Lines *l, Rec *s, int op, const Image *m)
{
    const Op *o = &l->p->g->op[op];
    const Shape in = m->shape;

    rec_str(s, "index", l->index);
    rec_int(s, "plane", (int64_t)in.h * in.w);
    rec_int(s, "total", l->r->shape.c);
    if (o->kind == OP_FLATTEN || o->kind == OP_PAD)
        rec_str(s, "c", pass_block(l));
    if (o->kind == OP_MAXPOOL || o->kind == OP_AVGPOOL || o->kind == OP_PAD) {
        rec_fmt(s, "pixel", "(%s * %d + %s * %d)", l->y, o->stride[0] * m->cols, l->x, o->stride[1]);
        rec_str(s, "inverse", window_inverse(l, o));
        rec_int(s, "before", o->before);
        rec_int(s, "channels", in.c);
        rec_int(s, "area", (int64_t)m->rows * m->cols);
        l->uses_place = true;
    } else {
        rec_str(s, "inverse", emit_float(1.0 / ((double)in.h * in.w)));
    }
}

void window_taps(const Lines *l, Rec *s, int op, const Image *m, bool skip_first)
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
int64_t place_area(const Lines *l, const Place *p)
{
    if (p->where == AT_IMAGE && p->image >= 0)
        return (int64_t)l->image[p->image].rows * l->image[p->image].cols;
    return (int64_t)p->shape.h * p->shape.w;
}

/* The index of pixel (y, x), written as `y` and `x`, in a place. */
const char *place_pixel(const Lines *l, const Place *p, const char *y, const char *x)
{
    if (p->where == AT_IMAGE && p->image >= 0)
        return image_pixel(&l->image[p->image], y, x);
    return expr("%s * %d + %s", y, p->shape.w, x);
}

/* Where a place begins, as the pass is given it: in its own struct's `name_image`, or in the kernel's. */
static const char *place_base(Lines *l, const Place *p, const char *name, bool grad)
{
    const int64_t area = place_area(l, p);

    if (p->where == AT_IMAGE || pass_given_tensors(l))
        return xprintf("q->%s_image", name);
    return expr("%s->%s%s + (int64_t)%s->image * %lld", pass_kernel(l), l->k->port[p->port].name, grad ? "_g" : "",
                pass_at(l), (long long)(p->where == AT_X ? p->shape.c * area : blocked_floats(p->shape)));
}

/* The pointer to a channel block of a place, or (`whole`) to the place. */
const char *place_block(Lines *l, const Place *p, const char *name, bool grad, bool whole)
{
    if (whole)
        return place_base(l, p, name, grad);
    return expr("%s + (%s) * %lld", place_base(l, p, name, grad), pass_channel(l, p->first),
                (long long)place_area(l, p));
}

void place_image_field(Lines *l, const Place *p, const char *name)
{
    if (p->where == AT_IMAGE || pass_given_tensors(l))
        pass_field(l, "%sfloat *%s_image",
                   strncmp(name, "to", 2) == 0 || strncmp(name, "scatter", 7) == 0 ? "" : "const ", name);
}

void place_lanes(Lines *l, Rec *s, const Place *p, int channels)
{
    const char *const first = pass_first_channel(l, p->first);

    rec_int(s, "area", place_area(l, p));
    rec_str(s, "channel", expr("%s + %s", pass_block(l), first));
    rec_str(s, "end", expr("%s + %d", first, channels));
}

/* Lines that read a value: `list` of the record, as `what` ("return", "const vf v3 ="); q->`from` is the block. */
void place_read(Lines *l, const char *list, const char *what, const char *from, const Place *p, bool window, bool keep)
{
    const PixelPass *r = l->r;
    Rec *s;

    if (window) {
        const Image *m = &l->image[p->image];
        s = line_add(l->functions, list, xprintf("read_%s", op_info[l->p->g->op[r->window].kind].name));
        window_fields(l, s, r->window, m);
        window_taps(l, s, r->window, m, true);
        if (keep)
            rec_int(s, "keep", 1);
    } else if (p->where == AT_X) {
        s = line_add(l->functions, list, "read_nchw");
        rec_str(s, "pixel", l->index);
        rec_int(s, "plane", place_area(l, p));
        rec_int(s, "channels", r->shape.c);
        rec_str(s, "c", pass_block(l));
        l->uses_place = true;
    } else {
        const bool shifted = plan_shifted(p, r->shape.c);
        s = line_add(l->functions, list, shifted ? "read_lanes" : "read_blocked");
        rec_str(s, "pixel", place_pixel(l, p, l->y, l->x));
        if (shifted)
            place_lanes(l, s, p, r->shape.c);
        l->uses_place = true;
    }
    rec_str(s, "what", what);
    rec_str(s, "from", from);
}
