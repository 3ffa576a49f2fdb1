/* norms.c - what a layer's functions do for norms: statistics, sums, what norms take away, their updates.
 *
 * needs: a complete plan. sets: records of a layer's file. */
#include "layer.h"
#include "numbers.h"

#include <string.h>

/* ---- image norms ---- */

/* Whether the function at hand lacks `what` of an image norm; from then on it does not. */
static bool once(const File *f, const char *what)
{
    return ++*names_at(f->done, what) == 1;
}

static int64_t area_of(const Tensor *nd)
{
    const Shape s = nd->shape[nd->nlink];

    return (int64_t)s.h * s.w;
}

/* Channels of the kernel's tensor with the room that memory gave them. */
static int64_t tensor_room(const Tensor *nd)
{
    return blocks_of(nd->shape[nd->nlink].c) * LANES + LANES;
}

static const ImageNorm *image_norm(const File *f, int op)
{
    for (int i = 0; i < f->k->nimage_norm; i++)
        if (f->k->image_norm[i].op == op)
            return &f->k->image_norm[i];
    return NULL;
}

/* The fields of every line about an image norm: where one image's statistics lie, gamma and beta, and numbers. */
static void image_norm_numbers(const File *f, Rec *s, int op)
{
    const Op *o = &f->p->g->op[op];
    const int padded = plan_norm(f->p, op)->padded;
    const char *alias = plan_alias(f->k, op);

    rec_str(s, "norm", alias);
    rec_int(s, "channels", o->shape.c);
    rec_int(s, "groups", o->groups);
    rec_str(s, "sort", op_info[o->kind].norm->centred ? "gn" : "rms");
    rec_int(s, "padded", padded);
    rec_int(s, "area", (int64_t)o->shape.h * o->shape.w);
    rec_str(s, "eps", real_text(o->eps));
    if (f->infer) {
        const char *macro = affine_macro(f->p, op);
        rec_fmt(s, "stats", "%s_stats", alias);
        rec_fmt(s, "gamma", "f + %s", macro);
        rec_fmt(s, "beta", "f + %s + %d", macro, padded);
    } else {
        rec_fmt(s, "stats", "k->%s->kept + (int64_t)i * %d", alias, CVY_GN_KEPT * o->groups);
        rec_fmt(s, "gamma", "k->%s->norm.gamma", alias);
        rec_fmt(s, "beta", "k->%s->norm.beta", alias);
    }
}

/* Before a pass: what it needs of the image norms that it applies, or whose statistics and sums it takes. */
void norms_begin_pass(const File *f, Rec *fn, const PixelPass *r)
{
    const Tensor *nd = layer_tensor(f);

    if (r->image_stats && once(f, "statistics")) {
        line_scratch(fn, "scratch_doubles", "image_sums", f->k->image_stats, "pivots and sums of the image's channels");
        rec_int(line_add(fn, "start", "clear_image_sums"), "room", tensor_room(nd));
        if (r->stats) {
            line_scratch(fn, "scratch_doubles", "batch_sums", f->k->batch_sums, "the batch's, without this image");
            rec_int(line_add(fn, "start", "keep_batch_sums"), "room", tensor_room(nd));
        }
        line_add(fn, "start", "take_image");
    }
    for (int i = 0; i < r->nstep; i++) {
        const Step *st = &r->step[i];
        const ImageNorm *n = st->op >= 0 ? image_norm(f, st->op) : NULL;
        if (st->kind == STEP_CORRECT_IMAGE && once(f, "back")) {
            line_scratch(fn, "image_scratch", "image_back", f->k->image_back, "what image norms take away");
            for (int j = 0; j < nd->nimage_norm; j++) {
                Rec *s = line_add(fn, "body", "image_take");
                image_norm_numbers(f, s, nd->image_norm[j]);
                rec_str(s, "first", j ? "0" : "1");
                rec_int(s, "room", tensor_room(nd));
            }
        }
        if (!n)
            continue;
        const char *alias = plan_alias(f->k, n->op), *path = f->p->g->op[n->op].path;
        if (once(f, xprintf("constants of %s", alias))) {
            line_scratch(fn, "image_scratch", xprintf("%s_of_image", alias), n->constants,
                         xprintf("%s: mean, scale, shift, istd, off", path));
            image_norm_numbers(f, line_add(fn, "body", "image_constants"), n->op);
        }
        if (st->kind == STEP_SUMS && once(f, xprintf("sums of %s", alias))) {
            line_scratch(fn, "scratch_doubles", xprintf("%s_gradient", alias), n->sums,
                         xprintf("%s: sums of the image's gradient", path));
            image_norm_numbers(f, line_add(fn, "body", "clear_image_gradient"), n->op);
        }
    }
}

/* After an image's passes: the statistics that they took, and what became of the sums. */
void norms_end_image(const File *f, Rec *fn)
{
    const Tensor *nd = layer_tensor(f);
    const bool takes = nd && nd->nimage_norm && names_find(f->done, "statistics");

    if (takes) {
        Rec *s = line_add(fn, "body", "take_again");
        rec_int(s, "room", tensor_room(nd));
        rec_int(s, "channels", nd->shape[nd->nlink].c);
        rec_int(s, "area", area_of(nd));
        rec_int(s, "both", !f->infer && nd->nnorm);
    }
    for (int i = 0; takes && i < nd->nimage_norm; i++) {
        Rec *s = line_add(fn, "body", "image_stats");
        image_norm_numbers(f, s, nd->image_norm[i]);
        rec_int(s, "room", tensor_room(nd));
    }
    for (int i = 0; i < f->k->nimage_norm; i++)
        if (names_find(f->done, xprintf("sums of %s", plan_alias(f->k, f->k->image_norm[i].op))))
            image_norm_numbers(f, line_add(fn, "body", "image_gradient"), f->k->image_norm[i].op);
}

/* The fields by which a pass is given what it needs of image norms. */
void norms_image_fields(const File *f, const PixelPass *r, Buf *b)
{
    Names had = {0};

    if (r->image_stats)
        buf_puts(b, ", .image_sums = image_sums, .again = again");
    for (int i = 0; i < r->nstep; i++) {
        const Step *st = &r->step[i];
        const ImageNorm *n = st->op >= 0 ? image_norm(f, st->op) : NULL;
        const char *alias = n ? plan_alias(f->k, n->op) : NULL;
        if (st->kind == STEP_CORRECT_IMAGE)
            buf_puts(b, ", .image_back = image_back");
        if (n && ++*names_at(&had, alias) == 1)
            buf_printf(b, ", .%s_of_image = %s_of_image", alias, alias);
        if (n && st->kind == STEP_SUMS)
            buf_printf(b, ", .%s_gradient = %s_gradient", alias, alias);
    }
}

/* ---- all norms ---- */

/* The fields by which a pass that is given all is given its norms. */
void norms_given(const File *f, const PixelPass *r, bool given, Buf *b)
{
    Names had = {0};

    for (int i = 0; i < r->nstep && given; i++) {
        const int op = r->step[i].op;
        const char *alias = op >= 0 && op_is_norm(f->p->g->op[op].kind) ? plan_alias(f->k, op) : NULL;
        if (!alias || ++*names_at(&had, alias) > 1)
            continue;
        buf_printf(b, ", .%s_from = %s", alias,
                   f->infer ? xprintf("f + %s", affine_macro(f->p, op)) : xprintf("k->%s->mean", alias));
    }
}

/* The kernel's tensor, where norms read it. */
static const Tensor *normed(const File *f)
{
    const Tensor *nd = f->k->tensor >= 0 ? &f->p->tensor[f->k->tensor] : NULL;

    return nd && nd->nnorm ? nd : NULL;
}

void norms_begin_stats(const File *f, Rec *fn)
{
    if (normed(f)) {
        rec_int(fn, "finds_pivots", 1);
        line_add(fn, "begin", "begin_piece_stats");
    }
}

/* After an image: its sums are drained, but where a core takes several. */
void norms_move_stats(const File *f, Rec *fn)
{
    const Tensor *nd = normed(f);

    if (!nd)
        return;
    Rec *s = line_add(fn, "body", "move_stats");
    rec_int(s, "group", f->k->conv ? f->k->conv->winograd[PASS_FORWARD].images : 1);
    rec_int(s, "area", area_of(nd));
}

/* After forward's pieces: the statistics of the kernel's tensor, and what each norm over it makes of them. */
void norms_forward(const File *f, Rec *kernel)
{
    const Tensor *nd = normed(f);

    if (!nd)
        return;
    rec_int(line_add(kernel, "body", "merge_stats"), "area", area_of(nd));
    for (int i = 0; i < nd->nnorm; i++) {
        Rec *s = line_add(kernel, "body", "norm_forward");
        rec_str(s, "norm", plan_alias(f->k, nd->norm[i]));
        rec_int(s, "first", nd->norm_first[i]);
    }
}

/* The struct with a norm's gamma and beta and their gradients. */
static const char *norm_struct(const File *f, int op)
{
    return xprintf(op_is_image_norm(f->p->g->op[op].kind) ? "&k->%s->norm" : "k->%s", plan_alias(f->k, op));
}

/* Whether the norm of list[i] stands in the list before it: one that reads several tensors does. */
static bool norm_before(const NormSum *list, int i)
{
    for (int j = 0; j < i; j++)
        if (list[j].op == list[i].op)
            return true;
    return false;
}

void norms_begin_sums(const File *f, Rec *fn)
{
    NormSum *list;
    const int n = plan_sums(f->p, f->k, &list);

    for (int i = 0; i < n; i++) {
        if (!norm_before(list, i))
            rec_str(line_add(fn, "begin", "begin_piece_sums"), "norm", norm_struct(f, list[i].op));
    }
}

/* After backward's pieces: gradients and update of the norms whose sums the kernel took, and what they take away from
 * the gradients of the tensors under them. */
void norms_backward(const File *f, Rec *kernel)
{
    NormSum *list;
    const int n = plan_sums(f->p, f->k, &list);

    for (int i = 0; i < n; i++) {
        if (norm_before(list, i))
            continue;
        const char *alias = plan_alias(f->k, list[i].op), *norm = norm_struct(f, list[i].op);
        const bool learns = op_learns(&f->p->g->op[list[i].op]);
        if (learns)
            rec_str(line_add(kernel, "body", "norm_backward"), "norm", norm);
        for (int j = i; j < n && !op_is_image_norm(f->p->g->op[list[i].op].kind); j++) {
            const Tensor *nd = &f->p->tensor[list[j].tensor];
            if (list[j].op != list[i].op || !nd->grad)
                continue;
            Rec *s = line_add(kernel, "body", "norm_back");
            rec_str(s, "norm", alias);
            rec_int(s, "first", list[j].first);
            rec_int(s, "area", area_of(nd));
            for (int m = 0; m < f->k->nport; m++)
                if (f->k->port[m].tensor == list[j].tensor)
                    rec_str(s, "port", f->k->port[m].name);
        }
        if (learns)
            rec_str(line_add(kernel, "body", "norm_update"), "norm", norm);
    }
}

bool norms_has_sums(const File *f)
{
    NormSum *list;

    return plan_sums(f->p, f->k, &list) > 0;
}
