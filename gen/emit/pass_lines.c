/* pass_lines.c - what the lines of a pass over pixels name: fields of its struct, values, constants.
 *
 * needs: a complete plan. sets: the records of fields, and of what begin loads and end drains. */
#include "pass_lines.h"

#include "expr.h"
#include "share.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

void pass_field(Lines *l, const char *fmt, ...)
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

void pass_load(Lines *l, const char *name, const char *expr)
{
    Rec *s = line_add(l->functions, "begin", "begin_load");

    rec_str(s, "name", name);
    rec_str(s, "expr", expr);
}

/* What a sum of the pass leaves behind, at the end of a tile or row. */
void pass_drain(Lines *l, const char *type, const char *name)
{
    Rec *s = rec_add(l->functions, "end");

    rec_fmt(s, "drain", "%s_drain", type);
    rec_str(s, "name", name);
    l->drains++;
}

/* What follows the v of a value: nothing, or its number; or the skip operand that it is read from. */
const char *pass_number(const Lines *l, int value)
{
    const int skip = (l->chained ? l->skip : l->read)[value];

    return skip >= 0 ? xprintf("_skip%d", skip) : l->chained ? "" : xprintf("%d", value - l->base);
}

/* The left side of the line that makes a value. */
const char *pass_let(const Lines *l, int value)
{
    return xprintf(l->chained ? "v%s =" : "const vf v%s =", pass_number(l, value));
}

/* The same where it is read from a skip operand: stages may follow there. */
const char *pass_let_skip(const Lines *l, const Step *skip)
{
    bool changes = false;

    for (int i = 0; i < l->r->nstep && l->chained && !changes; i++)
        changes = step_makes_value(&l->r->step[i]) && l->skip[l->r->step[i].out] == skip->skip;
    return xprintf(changes ? "vf v%s =" : "const vf v%s =", pass_number(l, skip->out));
}

/* Whether `name` is new to this pass; from then on it is not. */
bool pass_once(Lines *l, const char *name)
{
    return ++*names_at(&l->done, name) == 1;
}

const char *pass_kernel(Lines *l)
{
    l->uses_kernel = true;
    return "q->k";
}

const char *pass_at(Lines *l)
{
    l->uses_at = true;
    return "q->at";
}

const char *pass_folded(Lines *l)
{
    l->uses_folded = true;
    return "q->f";
}

const char *pass_block(Lines *l)
{
    l->uses_block = true;
    return "q->c";
}

const char *pass_first_channel(const Lines *l, int first)
{
    return first && l->r->joined ? "q->first" : xprintf("%d", first);
}

const char *pass_channel(Lines *l, int first)
{
    l->begin_reads_c = true;
    return expr("c + %s", pass_first_channel(l, first));
}

bool pass_given_tensors(const Lines *l)
{
    return l->infer || l->given || l->r->joined;
}

/* The pass is given a pointer `name` into scratch. */
void pass_scratch(Lines *l, const char *type, const char *name)
{
    if (pass_once(l, name))
        pass_field(l, "%s *%s", type, name);
}

/* Channels of a tensor, rounded up, with room for a path that writes past the last. */
int pass_room(const Lines *l)
{
    const Tensor *list = l->infer ? l->p->infer_tensor : l->p->tensor, *nd = &list[l->k->tensor];

    return blocks_of(nd->shape[nd->nlink].c) * LANES + LANES;
}

/* A struct of constants for 16 channels, declared and loaded once a pass: arrays of `padded` floats, the first at
 * `from`. */
static void constants(Lines *l, const char *type, const char *name, const char *from, int padded, int first)
{
    l->uses_q = true;
    if (!pass_once(l, xprintf("constants %s", name)))
        return;
    pass_field(l, "struct %s %s", type, name);
    Rec *s = line_add(l->functions, "begin", "begin_constants");
    rec_fmt(s, "load", "%s_load%s", type, l->r->back && strcmp(type, "vf_norm") == 0 ? "_back" : "");
    rec_str(s, "name", name);
    rec_fmt(s, "from", "%s + %s", from, pass_channel(l, first));
    rec_int(s, "padded", padded);
}

/* Where a norm's constants lie: the batch norm's own, its running ones, in scratch those of the image at hand; or the
 * pass is given them. */
static void norm_constants(Lines *l, int op, int first)
{
    const char *alias = plan_alias(l->k, op), *at = xprintf("%s_of_image", alias), *from = xprintf("%s_from", alias);

    if (l->given) {
        if (pass_once(l, from))
            pass_field(l, "const float *%s", from);
        constants(l, "vf_norm", alias, xprintf("q->%s", from), plan_norm(l->p, op)->padded, first);
        return;
    }
    if (l->infer && !op_is_image_norm(l->p->g->op[op].kind)) {
        constants(l, "vf_norm", alias, xprintf("%s + %s", pass_folded(l), affine_macro(l->p, op)),
                  plan_norm(l->p, op)->padded, first);
        return;
    }
    if (!op_is_image_norm(l->p->g->op[op].kind)) {
        constants(l, "vf_norm", alias, xprintf("%s->%s->mean", pass_kernel(l), alias), plan_norm(l->p, op)->padded,
                  first);
        return;
    }
    pass_scratch(l, "const float", at);
    constants(l, "vf_norm", alias, xprintf("q->%s", at), blocks_of(l->p->g->op[op].shape.c) * LANES, first);
}

void pass_constants(Lines *l, const Step *s)
{
    const bool norm = s->op >= 0 && op_is_norm(l->p->g->op[s->op].kind);

    if (s->kind == STEP_CORRECT) {
        constants(l, "vf_taken", "taken", xprintf("%s->stats->mean", pass_kernel(l)), pass_room(l), s->first);
    } else if (s->kind == STEP_CORRECT_IMAGE) {
        pass_scratch(l, "const float", "image_back");
        constants(l, "vf_taken", "image_taken", "q->image_back", pass_room(l), s->first);
    } else if (norm &&
               (s->kind == STEP_FORWARD || s->kind == STEP_AFFINE || s->kind == STEP_SUMS || s->kind == STEP_SCALE)) {
        norm_constants(l, s->op, s->first);
    }
}

void pass_drop(Lines *l, const Step *st)
{
    const char *alias = plan_alias(l->k, st->op);
    const Shape shape = l->p->g->op[st->op].shape;

    l->uses_q = true;
    if (!pass_once(l, alias))
        return;
    pass_field(l, "struct vf_drop %s", alias);
    Rec *s = line_add(l->functions, "begin", "begin_drop");
    rec_str(s, "op", alias);
    rec_str(s, "channel", pass_channel(l, st->first));
    rec_str(s, "k", pass_kernel(l));
    rec_str(s, "at", pass_at(l));
    rec_int(s, "plane", (int64_t)shape.h * shape.w);
}

/* What every line of an op may name. */
void pass_op_fields(Lines *l, Rec *s, const Step *step)
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
