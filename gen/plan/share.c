/* share.c - which passes of inference are the same code as a pass of training, and which may be one code for many
 * operands of a concat.
 *
 * needs: chains with aliases, images with their final sizes, norms. sets: PixelPass.shared, PixelPass.joined.
 *
 * A pass that is given all its pointers reads no struct of its kernel's, so that inference can call training's. Whether
 * both do the same is told by their signatures: all that is printed of such a pass, in short. */
#include "passes.h"
#include "share.h"

#include <math.h>
#include <string.h>

bool pass_is_given(const Plan *p, const PixelPass *r)
{
    bool given = !r->back && r->to.where == AT_IMAGE &&
                 (r->from.where == AT_SLOT || r->from.where == AT_X || r->from.where == AT_IMAGE) && !r->stats &&
                 !r->image_stats && !r->route && !r->bias && !r->several && r->scatter_image < 0;

    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        given &=
            s->kind == STEP_AFFINE || s->kind == STEP_SKIP || s->kind == STEP_ADD ||
            (s->kind == STEP_FORWARD && !op_is_image_norm(p->g->op[s->op].kind) && p->g->op[s->op].kind != OP_DROP);
    }
    return given;
}

/* ---- values ---- */

bool step_makes_value(const Step *s)
{
    return s->kind == STEP_FORWARD || s->kind == STEP_AFFINE || s->kind == STEP_MASK || s->kind == STEP_ADD;
}

int *pass_skips(const PixelPass *r, bool here)
{
    int *skip = xalloc(sizeof *skip * (size_t)(r->next + 1));

    for (int i = 0; i <= r->next; i++)
        skip[i] = -1;
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        if (s->kind == STEP_SKIP)
            skip[s->out] = s->skip;
        else if (step_makes_value(s) && !here)
            skip[s->out] = skip[s->in];
    }
    return skip;
}

bool pass_is_chained(const PixelPass *r, const int *skip)
{
    int *last = xalloc(sizeof *last * (size_t)(r->nskip + 1)), *own = last + r->nskip;

    if (r->back)
        return false;
    *own = r->first;
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        const int from = s->kind == STEP_SKIP ? s->skip : skip[s->in], with = s->kind == STEP_ADD ? skip[s->in2] : -1;
        int *of = from < 0 ? own : &last[from];
        if (s->kind != STEP_SKIP && s->in != *of)
            return false;
        if (s->kind == STEP_ADD && s->in2 != (with < 0 ? *own : last[with]))
            return false;
        if (s->kind == STEP_SKIP || step_makes_value(s))
            *of = s->out;
    }
    return r->last == *own;
}

/* ---- signatures ---- */

typedef struct Signature {
    const Plan *p;
    const Kernel *k;
    const PixelPass *r;
    bool chained;
    int *skip, *read;
    Buf text;
} Signature;

/* A value: of its own path, or of skip operand n. Where each takes the place of the one before, it has no number. */
static void sign_value(Signature *s, int value)
{
    const int skip = (s->chained ? s->skip : s->read)[value];

    if (skip >= 0)
        buf_printf(&s->text, " s%d", skip);
    else if (s->chained)
        buf_puts(&s->text, " v");
    else
        buf_printf(&s->text, " v%d", value - s->r->first);
}

static void sign_place(Signature *s, const Place *at)
{
    const bool image = at->where == AT_IMAGE && at->image >= 0;
    const Image *m = image ? &s->k->image[at->image] : NULL;
    const Image slot = {.rows = at->shape.h, .cols = at->shape.w, .shape = at->shape};

    m = m ? m : &slot;
    buf_printf(&s->text, " %s%d[%d,%d+%d,%d+%d]%s",
               at->where == AT_X ? "x"
               : m->plain        ? "plain"
                                 : "blocked",
               at->first, m->rows, m->cols, m->top, m->shape.w, m->left,
               plan_shifted(at, s->r->shape.c) ? "shifted" : "");
}

/* The window at the pass's head, with the image that it looks at. */
static void sign_window(Signature *s)
{
    const Op *o = &s->p->g->op[s->r->window];
    const Image *m = &s->k->image[s->r->from.image];

    buf_printf(&s->text, " window %d %dx%d/%dx%d-%d of %d,%d,%d in %d,%d", o->kind, o->kernel[0], o->kernel[1],
               o->stride[0], o->stride[1], o->before, m->shape.c, m->shape.h, m->shape.w, m->rows, m->cols);
}

static void sign_skip(Signature *s, const Step *step)
{
    const SkipRead *skip = &s->r->skip[step->skip];
    const Op *pad = skip->operand->pad >= 0 ? &s->p->g->op[skip->operand->pad] : NULL;

    buf_printf(&s->text, "; skip %d", step->skip);
    sign_place(s, &skip->from);
    if (pad)
        buf_printf(&s->text, " pad /%dx%d-%d of %d", pad->stride[0], pad->stride[1], pad->before, skip->from.shape.c);
    else if (skip->from.where == AT_X)
        buf_printf(&s->text, " of %d", skip->from.shape.c);
}

static void sign_op(Signature *s, const Step *step)
{
    const Op *o = &s->p->g->op[step->op];

    if (op_is_norm(o->kind))
        buf_printf(&s->text, "; norm %s %d+%d", plan_alias(s->k, step->op), step->first,
                   plan_norm(s->p, step->op)->padded);
    else
        buf_printf(&s->text, "; op %d", o->kind);
    for (int i = 0; op_is_act(o->kind) && i < op_may_args(o->kind); i++)
        buf_printf(&s->text, " %a", (double)(float)o->arg[op_arg_at(o->kind, i)].real);
}

/* Of a pass that is given all its pointers. */
static const char *signature(const Plan *p, const Kernel *k, const PixelPass *r)
{
    int *skip = pass_skips(r, false);
    Signature sign = {.p = p,
                      .k = k,
                      .r = r,
                      .skip = skip,
                      .read = pass_skips(r, true),
                      .chained = pass_is_chained(r, skip)},
              *s = &sign;

    buf_printf(&s->text, "%d,%d,%d", r->shape.c, r->shape.h, r->shape.w);
    if (r->window >= 0)
        sign_window(s);
    sign_place(s, &r->from);
    sign_value(s, r->first);
    for (int i = 0; i < r->nstep; i++) {
        const Step *step = &r->step[i];
        if (step->kind == STEP_SKIP) {
            sign_skip(s, step);
        } else {
            if (step->kind == STEP_ADD)
                buf_puts(&s->text, "; add"), sign_value(s, step->in2);
            else
                sign_op(s, step);
            sign_value(s, step->in);
            if (step->first_lanes)
                buf_printf(&s->text, " first %d", step->channels);
        }
        sign_value(s, step->out);
    }
    buf_puts(&s->text, "; to");
    sign_value(s, r->last);
    sign_place(s, &r->to);
    return s->text.text;
}

/* ---- operands of a concat ---- */

enum { MANY = 16 }; /* operands that have code of their own, with their channels as constants: it is faster */

/* Notes a first channel of a pass; false where it has another one already. */
static bool note_first(int *first, int channel)
{
    if (channel && *first && channel != *first)
        return false;
    *first = channel ? channel : *first;
    return true;
}

/* Whether a pass's code depends on nothing of its operand but its first channel in the concat, which is noted. */
static bool is_joined(const Plan *p, const PixelPass *r, int *first)
{
    bool one = r->from.where != AT_CORE && !r->nskip && !r->route && !r->bias && !r->bias_grad && !r->several &&
               !r->stats && !r->image_stats && note_first(first, r->from.first) && note_first(first, r->value.first) &&
               note_first(first, r->to.first);

    for (int i = 0; i < r->nstep && one; i++) {
        const Step *s = &r->step[i];
        const OpKind kind = s->op >= 0 ? p->g->op[s->op].kind : OP_KINDS;
        one = (op_is_act(kind) && (s->kind == STEP_FORWARD || s->kind == STEP_BACK)) ||
              (op_is_batch_norm(kind) && (s->kind == STEP_FORWARD || s->kind == STEP_AFFINE || s->kind == STEP_SUMS ||
                                          s->kind == STEP_SCALE || s->kind == STEP_BACK));
        one = one && note_first(first, s->first);
    }
    return one;
}

static void join_chain(const Plan *p, Chain *c)
{
    for (int i = 0; i < c->n; i++)
        c->pass[i].joined = is_joined(p, &c->pass[i], &c->pass[i].joined_first);
}

static void join_operands(const Plan *p, Kernel *k, bool train)
{
    for (int w = 0; w < k->nin && k->nin > MANY; w++) {
        join_chain(p, &k->before[w]);
        if (train)
            join_chain(p, &k->din[w]);
    }
    if (train && k->nin > MANY) {
        join_chain(p, &k->trace_pack);
        join_chain(p, &k->trace);
    }
}

void share_build(Plan *p)
{
    for (int i = 0; i < p->nkernel; i++)
        join_operands(p, &p->kernel[i], true);
    for (int i = 0; i < p->ninfer; i++)
        join_operands(p, &p->infer[i], false);
    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        const Kernel *train = plan_kernel(p->kernel, p->nkernel, k->op);
        if (!train || strcmp(train->name, k->name) != 0)
            continue;
        k->shares = true;
        for (int w = 0; w < k->nin && w < train->nin && !(k->w && k->w->direct); w++)
            for (int j = 0; j < k->before[w].n && j < train->before[w].n; j++) {
                PixelPass *r = &k->before[w].pass[j];
                const PixelPass *like = &train->before[w].pass[j];
                if (pass_is_given(p, r) && pass_is_given(p, like) &&
                    strcmp(signature(p, k, r), signature(p, train, like)) == 0)
                    r->shared = like->name;
            }
    }
}
