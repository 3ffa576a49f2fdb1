/* formula.c - what a pass over pixels does, as a formula: the comment above its functions.
 *
 * needs: a complete plan. sets: nothing. */
#include "emit.h"

#include <string.h>

enum { LONGEST = 120 }; /* a longer formula explains less than its stages' names */

typedef struct Formula {
    const Plan *p;
    const PixelPass *r;
    const char **value;    /* of each, what it is of x */
    const char **gradient; /* of each, what it is of dy */
    Buf also;              /* what is done beside it */
} Formula;

/* "(x + skip0)", where a product follows; a product, a name or a call as it is. */
static const char *operand(const char *s)
{
    int depth = 0;

    for (const char *c = s; *c; c++) {
        depth += (*c == '(') - (*c == ')');
        if ((*c == '+' || *c == '-') && depth == 0)
            return xprintf("(%s)", s);
    }
    return s;
}

static void also(Formula *f, const char *text)
{
    buf_printf(&f->also, "; %s", text);
}

/* A norm takes `mean` away, where it does. */
static const char *centred(const NormInfo *n, const char *v)
{
    return n->centred ? xprintf("(%s - mean)", v) : operand(v);
}

static const char *normed(const Formula *f, int op, const char *v)
{
    const OpKind kind = f->p->g->op[op].kind;
    const NormInfo *n = op_info[kind].norm;

    return xprintf("gamma * %s / %s%s", centred(n, v), n->centred ? "sd" : "rms",
                   op_has_param(kind, PARAM_BETA) ? " + beta" : "");
}

static const char *forward(const Formula *f, const Step *s)
{
    const OpKind kind = f->p->g->op[s->op].kind;
    const char *v = f->value[s->in];

    return op_is_norm(kind) ? normed(f, s->op, v) : xprintf("%s(%s)", op_info[kind].name, v);
}

static const char *back(const Formula *f, const Step *s, const char *g)
{
    const OpKind kind = f->p->g->op[s->op].kind;

    return kind == OP_DROP ? xprintf("%s / keep * mask", operand(g))
                           : xprintf("%s * %s'(%s)", operand(g), op_info[kind].name, f->value[s->in]);
}

static void step(Formula *f, const Step *s)
{
    const char **g = s->g < f->r->grads + 1 ? &f->gradient[s->g] : NULL;

    switch (s->kind) {
    case STEP_FORWARD:
    case STEP_AFFINE:
        f->value[s->out] = forward(f, s);
        break;
    case STEP_MASK:
        f->value[s->out] = "mask / keep";
        break;
    case STEP_SKIP:
        f->value[s->out] = xprintf("skip%d", s->skip);
        break;
    case STEP_ADD:
        f->value[s->out] = xprintf("%s + %s", f->value[s->in], f->value[s->in2]);
        break;
    case STEP_STORE:
        also(f, xprintf("%s is stored", s->in == f->r->last ? "y" : f->value[s->in]));
        break;
    case STEP_STATS:
        also(f, "statistics");
        break;
    case STEP_IMAGE_STATS:
        also(f, "statistics of the image");
        break;
    case STEP_BACK:
        *g = back(f, s, *g);
        break;
    case STEP_CORRECT:
    case STEP_CORRECT_IMAGE:
        *g =
            xprintf("%s + the gradient through the %smean and variance", *g, s->kind == STEP_CORRECT ? "" : "image's ");
        break;
    case STEP_SUMS:
        also(f, "sums of dgamma and dbeta");
        break;
    case STEP_SCALE:
        *g = xprintf("%s * gamma / %s", operand(*g), op_info[f->p->g->op[s->op].kind].norm->centred ? "sd" : "rms");
        break;
    case STEP_SPLIT:
        *g = f->gradient[0];
        break;
    case STEP_GIVE:
        also(f, xprintf("dskip%d %s %s", s->skip, s->adds ? "+=" : "=", *g));
        break;
    }
}

/* What begins the pass: its first value, of what it reads. */
static const char *begins(const Formula *f)
{
    const PixelPass *r = f->r;
    const char *window = r->window >= 0 ? op_info[f->p->g->op[r->window].kind].name : NULL;

    return window ? xprintf("%s(x)", window) : r->bias ? "x + bias" : "x";
}

/* Whether some term is so long already that no formula comes of it: terms that are read twice double with each step. */
static bool too_long(const Formula *f)
{
    for (int i = 0; i <= f->r->next; i++)
        if (strlen(f->value[i]) > 4 * LONGEST)
            return true;
    for (int i = 0; i <= f->r->grads; i++)
        if (strlen(f->gradient[i]) > 4 * LONGEST)
            return true;
    return false;
}

const char *pass_formula(const Plan *p, const PixelPass *r)
{
    Formula formula = {.p = p, .r = r}, *f = &formula;
    const char *window = r->window >= 0 ? op_info[p->g->op[r->window].kind].name : NULL, *result;

    if (r->nstep > LONGEST)
        return NULL;
    f->value = xalloc(sizeof *f->value * (size_t)(r->next + 1));
    f->gradient = xalloc(sizeof *f->gradient * (size_t)(r->grads + 1));
    buf_puts(&f->also, "");
    for (int i = 0; i <= r->next; i++)
        f->value[i] = "x";
    for (int i = 0; i <= r->grads; i++)
        f->gradient[i] = "dy";
    f->value[r->first] = begins(f);
    for (int i = 0; i < r->nstep; i++) {
        step(f, &r->step[i]);
        if (too_long(f))
            return NULL;
    }
    if (r->bias_grad)
        also(f, "the bias's gradient");
    if (!r->back)
        result = xprintf("y = %s", f->value[r->last]);
    else if (r->scatter_image >= 0)
        result = xprintf("dx = back through %s of %s", window, operand(f->gradient[0]));
    else
        result = xprintf("dx %s %s", r->adds ? "+=" : "=", f->gradient[0]);
    return strlen(result) + f->also.len <= LONGEST ? xprintf("%s%s", result, f->also.text) : NULL;
}
