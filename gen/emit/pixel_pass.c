/* pixel_pass.c - a pass over pixels as records: its struct, and the lines of its point, begin, end and read functions.
 *
 * needs: a complete plan. sets: records for template `pass` (templates/stages.c). */
#include "expr.h"
#include "pass_lines.h"
#include "share.h"

#include <string.h>

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

const char *pass_first(const Kernel *k, const PixelPass *r)
{
    return r->from.where == AT_CORE && (r->stats || r->image_stats) ? xprintf("%s_first", pass_tag(k, r))
                                                                    : "cvy_first_ignored";
}

/* What a tile's pixels are written to comes nearer before they are known. */
static void written_ahead(Lines *l, const char *name, const Place *p)
{
    if (l->infer || p->where != AT_SLOT || !kernel_winograd(l->k, l->r->back ? PASS_DATA : PASS_FORWARD))
        return;
    Rec *s = line_add(l->functions, "ahead", "written_ahead");
    rec_str(s, "name", name);
    rec_str(s, "pixel", place_pixel(l, p, l->y, l->x));
    rec_int(s, "row", (int64_t)p->shape.w * LANES);
}

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
    const char *name = xprintf("%s%d", give ? "to_skip" : "skip", step->skip);
    Place to = *p;
    Rec *s;

    if (give) {
        const Tensor *nd = &l->p->tensor[skip->operand->path.tensor];
        to = (Place){.where = AT_SLOT, .image = -1, .port = step->in2, .shape = nd->shape[nd->nlink]};
        to.total = to.shape.c;
        p = &to;
    }
    pass_field(l, "%sfloat *%s", give ? "" : "const ", name);
    if (!give)
        place_image_field(l, p, name);
    pass_load(l, name, place_block(l, p, name, give, o != NULL));
    if (o) {
        s = line_add(l->functions, "point", give ? "give_pad" : "skip_pad");
        rec_int(s, "area", place_area(l, p));
        rec_str(s, "pixel",
                place_pixel(l, p, xprintf("%s * %d", l->y, o->stride[0]), xprintf("%s * %d", l->x, o->stride[1])));
        rec_int(s, "before", o->before);
        rec_int(s, "channels", p->shape.c);
        rec_str(s, "c", pass_block(l));
        if (p->where == AT_X)
            rec_int(s, "nchw", 1);
    } else if (p->where == AT_X) {
        s = line_add(l->functions, "point", "skip_nchw");
        rec_str(s, "pixel", l->index);
        rec_int(s, "plane", place_area(l, p));
        rec_int(s, "channels", p->shape.c);
        rec_str(s, "c", pass_block(l));
    } else {
        s = line_add(l->functions, "point", give ? (step->adds ? "give_add" : "give") : "skip");
        rec_str(s, "pixel", place_pixel(l, p, l->y, l->x));
    }
    rec_str(s, "name", name);
    rec_str(s, "g", gradient(step));
    rec_str(s, "let", pass_let_skip(l, step));
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

    pass_field(l, "struct vf_stats %sstats", prefix);
    if (image) {
        pass_scratch(l, "double", "image_sums");
        pass_field(l, "int again");
    }
    Rec *s = line_add(l->functions, "point", "stats");
    rec_str(s, "in", pass_number(l, step->in));
    rec_str(s, "of", prefix);
    pass_drain(l, "vf_stats", xprintf("%sstats", prefix));
    if (shifted_in_tensor(l)) {
        rec_int(s, "valid", r->shape.c);
        rec_str(s, "c", pass_block(l));
    }
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

/* Statistics begin with a pivot: a walk reads one, a core has one once it has its first register. */
static void begin_stats(Lines *l)
{
    const PixelPass *r = l->r;
    const bool core = r->from.where == AT_CORE;
    const char *c = core ? expr("c + %d", r->stats_first) : pass_channel(l, r->stats_first);
    const char *image = xprintf("q->image_sums + %s", c), *image_lacks = "!q->again", *batch = NULL,
               *batch_lacks = NULL;
    if (r->stats) {
        batch = expr("%s->stats->part + (int64_t)%s->piece * %d + %s", pass_kernel(l), pass_at(l),
                     CVY_STATS_PART * pass_room(l), c);
        batch_lacks = xprintf("%s->fresh", pass_at(l)); /* the piece's first image */
    }
    Rec *s = line_add(l->functions, core ? "first" : "begin",
                      r->stats && r->image_stats ? "begin_both_stats" : "begin_stats");

    rec_str(s, "tag", pass_tag(l->k, r));
    rec_str(s, "of", r->image_stats ? "image_" : "");
    rec_str(s, "part", r->stats ? batch : image);
    rec_str(s, "image_part", image);
    if (batch_lacks)
        rec_str(s, "batch_lacks", batch_lacks);
    rec_int(s, "padded", pass_room(l));
    rec_fmt(s, "when", "%s%s",
            !r->image_stats ? batch_lacks
            : !r->stats     ? image_lacks
            : core          ? xprintf("(%s || %s)", batch_lacks, image_lacks)
                            : xprintf("%s || %s", batch_lacks, image_lacks),
            core ? " && y == 0 && x == 0" : "");
    rec_str(s, "first", core ? "first" : walk_value(l));
    rec_str(s, "lanes", shifted_in_tensor(l) ? xprintf("%d - c", r->shape.c) : "16");
}

static void sums_step(Lines *l, const Step *step)
{
    const char *alias = plan_alias(l->k, step->op);
    const int padded = plan_norm(l->p, step->op)->padded;

    if (!pass_once(l, xprintf("sums of %s", alias)))
        BUG("pass %s takes the sums of %s twice", l->r->name, alias);
    const char *sums;
    if (op_is_image_norm(l->p->g->op[step->op].kind)) {
        const char *name = xprintf("%s_gradient", alias);
        pass_scratch(l, "double", name);
        sums = xprintf("q->%s + %s", name, pass_channel(l, step->first));
    } else {
        sums = xprintf("%s->%s->sums + (int64_t)%s->piece * %d + %s", pass_kernel(l), alias, pass_at(l),
                       CVY_BN_SUMS * padded, pass_channel(l, step->first));
    }
    Rec *s = line_add(l->functions, "begin", "begin_sums");
    rec_str(s, "op", alias);
    rec_int(s, "padded", padded);
    rec_str(s, "sums", sums);
    pass_drain(l, "vf_norm", alias);
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
    pass_field(l, "float *stored");
    pass_load(l, "stored", place_block(l, &out, "stored", false, shifted));
    Rec *s = line_add(l->functions, "point", shifted ? "store_lanes" : "store");
    rec_str(s, "index", l->index);
    rec_str(s, "in", pass_number(l, step->in));
    if (shifted)
        place_lanes(l, s, &out, r->shape.c);
    else
        written_ahead(l, "stored", &out);
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
            s = line_add(l->functions, "point",
                         xprintf("fwd_%s", op_is_norm(g->op[step->op].kind)  ? "norm"
                                           : op_is_act(g->op[step->op].kind) ? "act"
                                                                             : op->name));
            break;
        case STEP_AFFINE:
            s = line_add(l->functions, "point", "fwd_norm");
            break;
        case STEP_MASK:
            s = line_add(l->functions, "point", "mask");
            rec_int(s, "unread", !l->chained); /* a mask has no number of what it is laid over */
            break;
        case STEP_ADD:
            s = line_add(l->functions, "point", "fwd_add");
            rec_str(s, "in2", pass_number(l, step->in2));
            break;
        case STEP_BACK:
            s = line_add(l->functions, "point",
                         op_is_act(g->op[step->op].kind) ? "back_act" : xprintf("back_%s", op->name));
            rec_str(s, "value", pass_number(l, op->need == NEED_OUTPUT ? step->out : step->in));
            break;
        case STEP_CORRECT:
        case STEP_CORRECT_IMAGE:
            s = line_add(l->functions, "point", "back_stats");
            rec_str(s, "of", step->kind == STEP_CORRECT ? "" : "image_");
            if (plan_shifted(&(Place){.first = step->first,
                                      .total = l->p->tensor[l->k->tensor].shape[l->p->tensor[l->k->tensor].nlink].c},
                             step->channels)) {
                rec_int(s, "valid", step->channels);
                rec_str(s, "c", pass_block(l));
            }
            break;
        case STEP_SUMS:
            s = line_add(l->functions, "point", "sums");
            pass_constants(l, step);
            sums_step(l, step);
            break;
        case STEP_SCALE:
            s = line_add(l->functions, "point", "back_scale");
            break;
        case STEP_SPLIT:
            s = line_add(l->functions, "point", "split");
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
        rec_str(s, "in", pass_number(l, step->in));
        rec_str(s, "let", pass_let(l, step->out));
        rec_str(s, "g", gradient(step));
        rec_int(s, "channels", step->channels);
        if (step->first_lanes) {
            rec_int(s, "first_lanes", 1);
            rec_str(s, "c", pass_block(l));
            l->uses_q = true;
        }
        if (op)
            pass_op_fields(l, s, step);
        if (op && g->op[step->op].kind == OP_DROP)
            pass_drop(l, step);
        pass_constants(l, step);
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
    pass_field(l, "float *to");
    place_image_field(l, p, "to");
    pass_load(l, "to",
              plain
                  ? (p->first ? xprintf("q->to_image + %lld", (long long)(p->first * place_area(l, p))) : "q->to_image")
                  : place_block(l, p, "to", true, shifted));
    Rec *s = line_add(l->functions, "point",
                      plain     ? "to_plain"
                      : shifted ? (r->adds ? "add_lanes" : "to_lanes")
                      : r->adds ? "to_sum"
                                : "to_blocked");
    rec_str(s, "value", value);
    rec_str(s, "pixel", place_pixel(l, p, l->y, l->x));
    if (plain) {
        rec_int(s, "plane", place_area(l, p));
        rec_int(s, "channels", r->shape.c);
    }
    if (shifted)
        place_lanes(l, s, p, r->shape.c);
    else if (!plain)
        written_ahead(l, "to", p);
    l->uses_place = l->uses_q = true;
}

static void scatter_result(Lines *l)
{
    const PixelPass *r = l->r;
    const Image *m = &l->image[r->scatter_image];
    const Place p = {.where = AT_IMAGE, .image = r->scatter_image, .total = m->shape.c, .shape = m->shape};

    pass_field(l, "float *scatter_image");
    pass_field(l, "float *scatter");
    pass_load(l, "scatter", place_block(l, &p, "scatter", false, window_is_whole(l)));
    const Op *o = &l->p->g->op[r->window];
    if (r->route && o->kernel[0] * o->kernel[1] > 1) /* a window that is one element has one winner */
        rec_str(line_add(l->functions, "point", "load_route"), "index", l->index), l->uses_place = true;
    Rec *s = line_add(l->functions, "point", xprintf("scatter_%s", op_info[o->kind].name));
    window_fields(l, s, r->window, m);
    window_taps(l, s, r->window, m, false);
    l->uses_q = true;
}

/* Where the winners of this pass's windows are stored: its channel block's bytes. */
static const char *route_block(Lines *l)
{
    const Tensor *nd = &l->p->tensor[l->k->tensor];
    const int64_t plane = (int64_t)l->r->shape.h * l->r->shape.w;

    for (int i = 0; i < nd->nroute; i++)
        if (nd->route[i] == l->r->window)
            return expr("%s->route%d + (int64_t)%s->image * %lld + %s * %lld", pass_kernel(l), i, pass_at(l),
                        (long long)(blocks_of(l->r->shape.c) * LANES * plane), pass_channel(l, 0), (long long)plane);
    BUG("no route is stored for pass %s", l->r->name);
}

static void bias_gradient(Lines *l)
{
    pass_field(l, "struct vf_sum bias");
    Rec *s = line_add(l->functions, "begin", "begin_bias_grad");
    rec_int(s, "padded", blocks_of(l->r->shape.c) * LANES);
    rec_str(s, "k", pass_kernel(l));
    rec_str(s, "at", pass_at(l));
    rec_str(s, "channel", pass_channel(l, 0));
    line_add(l->functions, "point", "bias_grad");
    pass_drain(l, "vf_sum", "bias");
    l->uses_q = true;
}

/* A pass's stages by name. */
static const char *describe_stages(const Plan *p, const PixelPass *r)
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

/* Whether a backward run looks for the winner of its windows again: none is stored, and windows have several elements.
 */
static bool finds_winner(const Lines *l)
{
    const Op *o = l->r->window >= 0 ? &l->p->g->op[l->r->window] : NULL;

    return o && o->kind == OP_MAXPOOL && l->r->scatter_image >= 0 && !l->r->route && o->kernel[0] * o->kernel[1] > 1;
}

/* The value at hand when a pass's point function begins. */
static void value_at_hand(Lines *l)
{
    const PixelPass *r = l->r;

    if (!r->back) {
        const char *input = xprintf("v%s", pass_number(l, r->first));
        rec_fmt(l->functions, "result", "v%s", pass_number(l, r->last));
        if (!r->bias) {
            rec_str(l->functions, "input", input);
            return;
        }
        input = l->chained ? input : "v_in";
        rec_str(l->functions, "input", input);
        Rec *s = line_add(l->functions, "point", "bias");
        rec_str(s, "let", pass_let(l, r->first));
        rec_str(s, "given", input);
        pass_field(l, "vf bias");
        pass_load(l, "bias", xprintf("vf_load(%s->bias + %s)", pass_kernel(l), pass_channel(l, 0)));
        l->uses_q = true;
        return;
    }
    rec_str(l->functions, "input", "g");
    rec_str(l->functions, "result", "g");
    const bool read = reads_first(l);
    l->reads_value = r->value.where != NOWHERE && (read || finds_winner(l));
    if (!l->reads_value)
        return;
    const bool window = r->value.where == AT_IMAGE && r->window >= 0 && r->value.image >= 0;
    pass_field(l, "const float *value");
    place_image_field(l, &r->value, "value");
    pass_load(l, "value", place_block(l, &r->value, "value", false, window && window_is_whole(l)));
    place_read(l, "point", read ? "const vf v0 =" : "", "value", &r->value, window, false);
    l->uses_q = true;
}

/* The walk of a pass that no core calls: where it reads. */
static void walk(Lines *l)
{
    const PixelPass *r = l->r;
    const Place *p = &r->from;
    const bool window = !r->back && r->window >= 0,
               shifted = !window && p->where != AT_X && plan_shifted(p, r->shape.c);

    pass_field(l, "const float *from");
    place_image_field(l, p, "from");
    pass_load(l, "from", place_block(l, p, "from", r->back, shifted || (window && window_is_whole(l))));
    if (!r->back && r->route) {
        pass_field(l, "uint8_t *route");
        pass_load(l, "route", route_block(l));
    }
    const bool point_used_place = l->uses_place;
    l->uses_place = false;
    place_read(l, "read", "return", "from", p, window, r->route && !r->back);
    if (!l->one && !l->uses_place && !(r->route && !r->back))
        rec_int(l->functions, "read_ignores_place", 1);
    l->uses_place = point_used_place;
    rec_int(l->rec, "walks", 1);
    const Kernel *k = l->k;
    if (l->infer && k->split && r > k->w->after.pass && r < k->w->after.pass + k->w->after.n) {
        rec_int(l->rec, "steps", kernel_out_blocks(k) / kernel_vectors(k));
        rec_int(l->rec, "step", kernel_vectors(k) * LANES);
    }
    rec_int(l->rec, "padded", blocks_of(r->shape.c) * LANES);
    rec_int(l->rec, "h", r->shape.h);
    rec_int(l->rec, "w", r->shape.w);
}

/* The fields that every pass may have: those of them that its lines name. */
static PassUses head(Lines *l)
{
    const bool loads = rec_has(l->functions, "begin");

    if (l->uses_folded)
        rec_str(rec_add(l->rec, "head"), "decl", "const float *f");
    if (l->uses_kernel)
        rec_fmt(rec_add(l->rec, "head"), "decl", "const struct %s *k", kernel_struct(l->p, l->k));
    if (l->uses_at)
        rec_str(rec_add(l->rec, "head"), "decl", "const struct cvy_at *at");
    if (l->uses_at && l->r->several) {
        rec_str(rec_add(l->rec, "head"), "decl", "const struct cvy_at *images");
        rec_int(l->functions, "several", 1);
    }
    if (l->uses_block) {
        rec_str(rec_add(l->rec, "head"), "decl", "int c");
        rec_int(l->functions, "keeps_c", 1); /* first: what else begins may call point, which reads it */
    } else if (loads && !l->begin_reads_c) {
        rec_int(l->functions, "ignores_c", 1);
    }
    if (loads || l->uses_block)
        rec_int(l->functions, "begins", 1);
    return (PassUses){.kernel = l->uses_kernel,
                      .at = l->uses_at,
                      .folded = l->uses_folded,
                      .value = l->reads_value,
                      .ahead = rec_has(l->functions, "ahead"),
                      .begins = loads || l->uses_block};
}

Rec *emit_pixel_pass(const Plan *p, const Kernel *k, const PixelPass *r, const Image *image, bool infer, PassUses *uses)
{
    int *skip = pass_skips(r, false);
    const bool one = r->from.where != AT_CORE && r->shape.h * r->shape.w == 1 && !r->stats && !r->image_stats;
    Lines line = {.p = p,
                  .k = k,
                  .r = r,
                  .image = image,
                  .rec = rec_new(),
                  .functions = rec_new(),
                  .one = one,
                  .y = one ? "0" : "y",
                  .x = one ? "0" : "x",
                  .index = one ? "0" : expr("y * %d + x", r->shape.w),
                  .base = r->first,
                  .infer = infer,
                  .given = pass_is_given(p, r),
                  .chained = pass_is_chained(r, skip),
                  .skip = skip,
                  .read = pass_skips(r, true)};
    Lines *l = &line;

    rec_str(l->rec, "template", "pass");
    rec_str(l->rec, "tag", pass_tag(k, r));
    const char *formula = pass_formula(p, r);
    rec_fmt(l->rec, "doc", "%s, %s: %s", r->name, describe_shape(r->shape), formula ? formula : describe_stages(p, r));
    rec_rec(l->rec, "r", l->functions);
    rec_str(l->functions, "template", "pass_functions");
    rec_str(l->functions, "tag", pass_tag(k, r));
    if (r->joined && r->joined_first)
        pass_field(l, "int first");
    value_at_hand(l);
    steps(l);
    if (r->bias_grad)
        bias_gradient(l);
    if (r->scatter_image >= 0) {
        if (r->route) {
            pass_field(l, "const uint8_t *route");
            pass_load(l, "route", route_block(l));
        }
        scatter_result(l);
    } else {
        store_result(l, r->back ? "g" : xprintf("v%s", pass_number(l, r->last)));
    }
    if (l->one)
        rec_int(l->functions, "one", 1);
    else if (!l->uses_place)
        line_add(l->functions, "point", "unused_place");
    if (l->uses_q)
        rec_int(l->functions, "point_uses_q", 1);
    if (r->from.where != AT_CORE)
        walk(l);
    if (r->stats || r->image_stats)
        begin_stats(l);
    if (l->drains == 1)
        rec_int(l->functions, "end_one", 1);
    *uses = head(l);
    rec_str(l->rec, "begin_name", uses->begins ? xprintf("%s_begin", pass_tag(k, r)) : "cvy_begin_nothing");
    rec_str(l->rec, "end_name", pass_end(k, r));
    return l->rec;
}
