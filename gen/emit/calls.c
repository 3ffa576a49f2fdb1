/* calls.c - calls of passes over pixels, and of cores with the passes that they call.
 *
 * needs: a complete plan. sets: records of a layer's file. */
#include "expr.h"
#include "layer.h"
#include "share.h"

#include <string.h>

/* ---- passes over pixels ---- */

/* A tensor's part of the image at hand, or its gradient's. */
static const char *at_image(const Kernel *k, const Place *p, bool grad)
{
    const int64_t floats = p->where == AT_X ? (int64_t)p->shape.c * p->shape.h * p->shape.w : blocked_floats(p->shape);

    return expr("k->%s%s + (int64_t)at.image * %lld", k->port[p->port].name, grad ? "_g" : "", (long long)floats);
}

/* The fields by which a pass is given its images; `image` says what their numbers mean. */
const char *calls_init(const File *f, const PixelPass *r, const Image *image, bool several)
{
    const Kernel *k = f->k;
    const struct {
        const Place *place;
        const char *field;
    } list[] = {{&r->from, "from"}, {&r->value, "value"}, {&r->to, "to"}};
    const bool given = pass_is_given(f->p, r);
    const PassUses uses = layer_uses(f, r);
    Buf b = {0};

    if (uses.folded)
        buf_puts(&b, ", .f = f");
    if (uses.kernel)
        buf_puts(&b, ", .k = k");
    if (uses.at)
        buf_puts(&b, several ? ", .at = at_of, .images = at_of" : ", .at = &at");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const Place *p = list[i].place;
        if (p == &r->value && !uses.value)
            continue;
        if (p->where == AT_IMAGE)
            buf_printf(&b, ", .%s_image = %s", list[i].field, p->image >= 0 ? image[p->image].name : "y");
        else if (p->where == AT_X && f->infer)
            buf_printf(&b, ", .%s_image = %s", list[i].field, k->port[p->port].name);
        else if (p->where != NOWHERE && (given || r->joined))
            buf_printf(&b, ", .%s_image = %s", list[i].field, at_image(k, p, r->back && p != &r->value));
    }
    for (int i = 0; i < r->nskip && (f->infer || given); i++) {
        const Place *p = &r->skip[i].from;
        buf_printf(&b, ", .skip%d_image = %s", i,
                   p->where == AT_IMAGE ? image[p->image].name
                   : f->infer           ? k->port[p->port].name
                                        : at_image(k, p, false));
    }
    if (r->scatter_image >= 0)
        buf_printf(&b, ", .scatter_image = %s", image[r->scatter_image].name);
    if (r->joined && r->joined_first)
        buf_printf(&b, ", .first = %d", r->joined_first);
    norms_image_fields(f, r, &b);
    norms_given(f, r, given, &b);
    return b.text ? b.text + 2 : "0"; /* without the first comma */
}

/* A pad gives to every stride-th pixel alone: where it is the first to give, the others are cleared. */
void clear_padded(const File *f, Rec *fn, const PixelPass *r)
{
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        if (s->kind != STEP_GIVE || s->op < 0 || s->adds)
            continue;
        const Tensor *nd = &f->p->tensor[f->k->port[s->in2].tensor];
        const int64_t floats = blocked_floats(nd->shape[nd->nlink]);
        line_clear(fn, "body", expr("k->%s_g + (int64_t)i * %lld", f->k->port[s->in2].name, (long long)floats), floats);
    }
}

void calls_chain(const File *f, Rec *fn, const Chain *c, const Image *image, int from)
{
    for (int i = from; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        if (r->scatter_image >= 0 && f->p->g->op[r->window].kind != OP_GLOBAL_AVG_POOL)
            line_clear(fn, "body", image[r->scatter_image].name, image[r->scatter_image].floats);
        clear_padded(f, fn, r);
        norms_begin_pass(f, fn, r);
        Rec *s = line_add(fn, "body", "call_pass");
        rec_str(s, "tag", layer_tag(f, r));
        rec_str(s, "own", from && f->infer && f->k->split ? ", own" : "");
        rec_str(s, "var", r->name);
        rec_str(s, "init", calls_init(f, r, image, false));
    }
}

void calls_before(const File *f, Rec *fn)
{
    for (int i = 0; i < f->k->nin; i++)
        calls_chain(f, fn, &f->k->before[i], f->k->image, 0);
}

/* ---- cores ---- */

/* What a forward core is given of the work: a thread's part of it, or the whole. */
static const char *calls_part(const File *f)
{
    return !f->p->splits ? "" : f->infer && f->k->split ? ", own" : ", cvy_whole()";
}

void calls_of_core(Rec *s, const char *core, const char *x, const char *w, const char *bias, const char *part)
{
    Rec *c = rec_add(s, "cores");

    rec_str(c, "core", core);
    rec_str(c, "x", x);
    rec_str(c, "w", w);
    rec_str(c, "bias", bias);
    rec_str(c, "part", part);
}

Rec *calls_core(const File *f, Rec *fn, const PixelPass *r, const char *init)
{
    clear_padded(f, fn, r);
    norms_begin_pass(f, fn, r);
    Rec *s = line_add(fn, "body", "call_core");

    rec_str(s, "tag", pass_tag(f->k, r));
    rec_str(s, "var", r->name);
    rec_str(s, "init", init);
    rec_str(s, "begin", layer_uses(f, r).begins ? xprintf("%s_begin", pass_tag(f->k, r)) : "cvy_begin_nothing");
    rec_str(s, "first", pass_first(f->k, r));
    rec_str(s, "end", pass_end(f->k, r));
    return s;
}

/* Gathers image `from` into `to`, where there is such a one, for the other side of a lanewise conv. What its core reads
 * then. */
const char *calls_gather(const File *f, Rec *fn, const char *from, const Image *to, bool back)
{
    const Op *o = &f->p->g->op[f->k->op];
    const int in = f->p->g->op[o->in].shape.c, per_in = in / o->groups, per_out = o->shape.c / o->groups;

    if (!to)
        return from;
    Rec *s = line_add(fn, "body", "gather_lanes");
    rec_str(s, "from", from);
    rec_str(s, "to", to->name);
    rec_int(s, "area", (int64_t)to->rows * to->cols);
    rec_int(s, "channels", back ? in : o->shape.c);
    rec_int(s, "many", back ? per_in : per_out);
    rec_int(s, "few", back ? per_out : per_in);
    return to->name;
}

const char *calls_gather_x(const File *f, Rec *fn)
{
    const Kernel *k = f->k;

    return calls_gather(f, fn, k->image[k->w->x].name, k->conv && k->conv->xg >= 0 ? &k->image[k->conv->xg] : NULL,
                        false);
}

const char *calls_core_name(const Kernel *k, const char *name)
{
    return xprintf("%s_%s", k->w->core_name, name);
}

/* ---- what is read next ---- */

enum { NEXT = 4 }; /* CVY_NEXT */

/* Tensors that passes read, and how long they are. */
typedef struct Reads {
    const char *tensor[NEXT];
    int64_t floats[NEXT];
    int n;
} Reads;

static void read_of(const Kernel *k, Reads *list, const Place *p, bool grad)
{
    if (p->where != AT_SLOT || list->n == NEXT)
        return;
    const char *name = xprintf("%s%s", k->port[p->port].name, grad ? "_g" : "");
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->tensor[i], name) == 0)
            return;
    list->tensor[list->n] = name;
    list->floats[list->n++] = blocked_floats(p->shape);
}

static void reads_of(const File *f, Reads *list, const Chain *c)
{
    for (int i = 0; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        read_of(f->k, list, &r->from, r->back);
        if (layer_uses(f, r).value)
            read_of(f->k, list, &r->value, false);
        for (int s = 0; s < r->nskip; s++)
            read_of(f->k, list, &r->skip[s].from, false);
    }
}

/* How often a core by Winograd multiplies for `images` images: at each point, and for each part of the channels. */
static int64_t products_of(const Winograd *w, int images)
{
    const int64_t blocks = (images * w->tiles + w->block - 1) / w->block, parts = w->out_blocks / w->vectors;

    return 36 * blocks * parts * (w->weights ? w->blocks : w->made ? w->blocks / w->made : 1);
}

/* Declares what the kernel's next images are packed from, which the core of a pass brings nearer. In backward, the
 * weights' core takes what comes first, dz, the data's the rest; where one of them is no such core, the other all. */
const char *calls_next(const File *f, Rec *fn, Pass pass, int images)
{
    const Kernel *k = f->k;
    const Winograd *w = kernel_winograd(k, pass);
    const bool both = kernel_winograd(k, PASS_WEIGHTS) && kernel_winograd(k, PASS_DATA) && k->learns && k->back_data;
    Reads list = {0};

    if (pass == PASS_WEIGHTS || (pass == PASS_DATA && !both))
        reads_of(f, &list, kernel_chain(k, CHAIN_DOUT));
    for (int i = 0; i < k->nin && !(pass == PASS_WEIGHTS && both); i++)
        if (pass == PASS_FORWARD || k->learns)
            reads_of(f, &list, &k->before[i]);
    if (list.n == 0)
        return "NULL";
    Buf at = {0}, lines = {0};
    const int64_t products = products_of(w, images);
    for (int i = 0; i < list.n; i++) {
        const int64_t all = images * list.floats[i] / LANES;
        buf_printf(&at, "%sk->%s + (int64_t)(i + 1) * %lld", i ? ", " : "", list.tensor[i], (long long)list.floats[i]);
        buf_printf(&lines, "%s%lld", i ? ", " : "", (long long)((all + products - 1) / products));
    }
    static const char *const of[] = {"forward_next", "data_next", "weights_next"};
    Rec *s = line_add(fn, "body", "next");
    rec_str(s, "name", of[pass]);
    rec_int(s, "tensors", list.n);
    rec_str(s, "at", at.text);
    rec_str(s, "lines", lines.text);
    return xprintf("&%s", of[pass]);
}

/* Calls the core of a pass by Winograd with pass r: for each image, or for several once the last of them is packed. */
void calls_winograd(const File *f, Rec *fn, const PixelPass *r, const char *init, Pass pass, const char *x,
                    const char *w, const char *bias, bool next)
{
    const Kernel *k = f->k;
    const int together = r->several ? k->conv->winograd[pass].images : 1;
    const PassUses uses = layer_uses(f, r);

    norms_begin_pass(f, fn, r);
    clear_padded(f, fn, r);
    if (together > 1 && uses.at) {
        rec_int(line_add(fn, "begin", "images_at"), "group", together);
        line_add(fn, "body", "image_at");
    }
    const char *nearer = next ? calls_next(f, fn, pass, together) : "NULL";
    Rec *s = line_add(fn, "body", "call_winograd");
    rec_str(s, "next", nearer);
    rec_str(s, "tag", pass_tag(k, r));
    rec_str(s, "var", r->name);
    rec_str(s, "init", init);
    rec_str(s, "begin", uses.begins ? xprintf("%s_begin", pass_tag(k, r)) : "cvy_begin_nothing");
    rec_str(s, "image", uses.at ? xprintf("%s_image", pass_tag(k, r)) : "cvy_image_only");
    rec_str(s, "ahead", uses.ahead ? xprintf("%s_ahead", pass_tag(k, r)) : "cvy_ahead_nothing");
    rec_str(s, "first", pass_first(k, r));
    rec_str(s, "end", pass_end(k, r));
    rec_str(s, "core", calls_core_name(k, winograd_name(&k->conv->winograd[pass], pass)));
    rec_str(s, "x", together > 1 ? xprintf("%s_group", x) : x);
    rec_str(s, "w", w);
    rec_str(s, "bias", bias);
    rec_str(s, "part", pass == PASS_FORWARD ? calls_part(f) : "");
    rec_int(s, "group", together > 1 ? together : 0);
}

/* The forward core, with pass r. */
void calls_forward(const File *f, Rec *fn, const PixelPass *r, const Image *image, const char *x, const char *w,
                   const char *wu, const char *bias, bool next)
{
    const Winograd *winograd = kernel_winograd(f->k, PASS_FORWARD);
    const char *init = calls_init(f, r, image, winograd && r->several);

    if (winograd)
        calls_winograd(f, fn, r, init, PASS_FORWARD, x, winograd->made ? w : wu, bias, next);
    else
        calls_of_core(calls_core(f, fn, r, init), calls_core_name(f->k, "forward"), x, w, bias, calls_part(f));
}

const char *calls_bias(const File *f)
{
    return f->p->g->op[f->k->op].bias ? "k->bias" : "NULL";
}

static char *transpose_call(const File *f)
{
    const Kernel *k = f->k;
    const Op *o = &f->p->g->op[k->op];
    const Shape in = f->p->g->op[o->in].shape;
    const int taps = o->kernel[0] * o->kernel[1], per_in = in.c / o->groups, per_out = o->shape.c / o->groups;

    if (k->conv->lanewise)
        return xprintf("lanes(k->w, k->copy, b, %d, %d, %d, %d)", o->shape.c, per_in, per_out, taps);
    if (o->groups > 1) {
        const long long group = (long long)per_in * per_out * taps;
        return xprintf("block(k->w + b / %d * INT64_C(%lld), k->copy + b / %d * INT64_C(%lld), b %% %d, %d, %d, %d)",
                       per_out / LANES, group, per_out / LANES, group, per_out / LANES, per_out / LANES, per_in / LANES,
                       taps);
    }
    return k->conv->plain
               ? xprintf("plain(k->w, k->copy, b, %d, %d)", in.c, taps)
               : xprintf("block(k->w, k->copy, b, %d, %d, %d)", blocks_of(o->shape.c), blocks_of(in.c), taps);
}

/* The weights as the core of a pass reads them, made before it runs: kernels share the room. */
void calls_copy_weights(const File *f, Rec *fn, const char *list, Pass pass)
{
    const Kernel *k = f->k;
    const Op *o = &f->p->g->op[k->op];
    const int out = blocks_of(o->shape.c), in = blocks_of(f->p->g->op[o->in].shape.c);

    if (pass == PASS_FORWARD ? !k->conv->wu_floats : !k->conv->wt_floats)
        return;
    Rec *s = line_add(fn, list, "copy_weights");
    rec_int(s, "blocks", out);
    const Winograd *w = kernel_winograd(k, pass);
    const char *name = w && w->phases ? "phases" : "winograd";
    if (!winograd_transformed(w))
        rec_fmt(s, "call", "cvy_transpose_%s", transpose_call(f));
    else if (pass == PASS_FORWARD)
        rec_fmt(s, "call", "cvy_%s_weights(k->w, k->copy, b, %d)", name, in);
    else
        rec_fmt(s, "call", "cvy_%s_back(k->w, k->copy, b, %d, %d)", name, out, in);
}
