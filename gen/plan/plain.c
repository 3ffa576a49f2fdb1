/* plain.c - the plan for reading, straight from the graph: an op is a kernel, its output is stored.
 *
 * needs: a checked graph after grad. sets: names in C, whose tensor is whose, offsets of parameters, sizes. */
#include "places.h"
#include "plain.h"

#include <string.h>

/* Words that the emitted code has for structs and functions of its own: NAME_forward may not be one of them. */
static const char *const taken[] = {"weights", "norm",      "bias", "pool",   "size", "run",
                                    "gates",   "recurrent", "row",  "return", NULL};

bool plain_stores(const Plain *p, int i)
{
    return i > 0 && p->op[i].tensor == i;
}

int64_t plain_stored_bytes(const Plain *p)
{
    return 4 * p->value_floats;
}

static bool name_is_free(const Graph *g)
{
    const char *name = g->spec->name;
    bool is_taken = false;

    for (int i = 0; taken[i]; i++)
        is_taken |= strcmp(taken[i], name) == 0;
    for (int i = 0; cvy_optimisers[i]; i++)
        is_taken |= strcmp(cvy_optimisers[i]->name, name) == 0;
    for (int i = 0; cvy_losses[i]; i++)
        is_taken |= strcmp(cvy_losses[i]->code, name) == 0;
    for (int k = 0; k < OP_KINDS; k++)
        is_taken |= strcmp(op_info[k].name, name) == 0;
    if (is_taken)
        diag_error((Mark){0}, xprintf("--set name=%s_net", name),
                   "for reading, a network cannot be called '%s': the emitted code has that name for a part of its own",
                   name);
    return !is_taken;
}

/* "s2.1.conv1.bn" -> "s2_1_conv1_bn". The graph has no two that would be alike. */
static const char *c_name(const char *path)
{
    char *name = xstrdup(path);

    for (char *c = name; *c; c++)
        if (*c == '.')
            *c = '_';
    return name;
}

static void build_op(Plain *p, int i)
{
    const Op *o = &p->g->op[i];
    PlainOp *q = &p->op[i];
    const bool view = o->kind == OP_FLATTEN && p->op[o->in].tensor > 0;

    q->name = c_name(o->path);
    q->tensor = o->kind == OP_LOSS ? -1 : view ? p->op[o->in].tensor : i;
    q->floats = (int64_t)o->shape.c * o->shape.h * o->shape.w;
    q->learns = o->output_grad;
    q->steps =
        op_is_recurrent(o->kind) ? (int64_t)op_cell_kept(o->kind, o->arg) * o->shape.c * p->g->op[o->in].shape.w : 0;
    p->value_floats += q->steps;
    if (plain_stores(p, i))
        p->value_floats += q->floats;
    if (o->kind == OP_DROP && q->floats > p->trace_floats)
        p->trace_floats = q->floats;
    if (op_is_batch_norm(o->kind) && !op_is_still(o) && o->shape.h * o->shape.w == 1)
        p->min_batch = 2;
}

static void place_param(Plain *p, int i)
{
    const Param *q = &p->g->param[i];
    int64_t *end = q->role == PARAM_MEAN || q->role == PARAM_VAR ? &p->running_floats : &p->param_floats, count = 1;

    if (q->role == PARAM_COUNT) {
        p->param_at[i] = p->batches++;
        return;
    }
    for (int d = 0; d < q->ndim; d++)
        count *= q->dim[d];
    p->param_at[i] = *end;
    *end += count;
}

/* Whether sizes are numbers that C's int64 and a dropout's 32 bits hold; sums of up to MAX_LAYERS of them then do not
 * overflow. */
static bool sizes_fit(const Graph *g)
{
    for (int i = 0; i < g->nop; i++) {
        const Shape s = g->op[i].shape;
        int64_t floats;
        if (mul_fits(s.c, s.h, &floats) && mul_fits(floats, s.w, &floats) && floats < INT32_MAX)
            continue;
        diag_error(g->op[i].mark, NULL, "%s: an image of more than 2,147,483,647 numbers", g->op[i].path);
        return false;
    }
    for (int i = 0; i < g->nop; i++) {
        const Op *o = &g->op[i];
        int64_t floats;
        if (!op_is_recurrent(o->kind) ||
            (mul_fits((int64_t)op_cell_kept(o->kind, o->arg) * o->shape.c, g->op[o->in].shape.w, &floats) &&
             floats < INT32_MAX))
            continue;
        diag_error(o->mark, "a smaller 'hidden', or a shorter sequence",
                   "%s: its steps leave more than 2,147,483,647 numbers", o->path);
        return false;
    }
    for (int i = 0; i < g->nparam; i++) {
        int64_t count = 1;
        bool fits = true;
        for (int d = 0; d < g->param[i].ndim; d++)
            fits = fits && mul_fits(count, g->param[i].dim[d], &count);
        if (fits && count < INT64_C(1) << 48)
            continue;
        diag_error(g->op[g->param[i].op].mark, NULL, "%s: more numbers than can be addressed", g->param[i].name);
        return false;
    }
    return true;
}

/* What there are no functions for. */
static bool has_functions(const Graph *g)
{
    if (g->spec->lengths) {
        diag_error(g->spec->input_mark, "leave --for reading out, or lengths",
                   "for reading, a length a sample is not built yet");
        return false;
    }
    for (int i = 0; i < g->nop; i++) {
        if (!op_has_place_bn(g->op[i].kind, g->op[i].arg))
            continue;
        diag_error(g->op[i].mark, "leave --for reading out, or take ln",
                   "%s: for reading, bn inside a recurrent layer is not built yet", g->op[i].path);
        return false;
    }
    return true;
}

Plain *plain_build(const Graph *g)
{
    if (!has_functions(g) || !name_is_free(g) || !sizes_fit(g))
        return NULL;
    Plain *p = xalloc(sizeof *p);
    *p = (Plain){.g = g, .min_batch = 1};
    p->op = xalloc((size_t)g->nop * sizeof *p->op);
    p->param_at = xalloc((size_t)(g->nparam + 1) * sizeof *p->param_at);
    for (int i = 0; i < g->nop; i++)
        build_op(p, i);
    for (int i = 0; i < g->nparam; i++)
        if (!g->op[g->param[i].op].frozen)
            place_param(p, i);
    p->learning_floats = p->param_floats;
    for (int i = 0; i < g->nparam; i++)
        if (g->op[g->param[i].op].frozen)
            place_param(p, i);
    p->logits = p->op[g->op[g->nop - 1].in].tensor;
    return p;
}

/* ---- dumps and words ---- */

void plain_dump(const Plain *p, FILE *to)
{
    const Graph *g = p->g;

    for (int i = 0; i < g->nop; i++) {
        const Op *o = &g->op[i];
        fprintf(to, "op %d %s %s %dx%dx%d tensor %d%s", i, op_info[o->kind].name, p->op[i].name, o->shape.c, o->shape.h,
                o->shape.w, p->op[i].tensor, p->op[i].learns ? " gradient" : "");
        for (int k = 0; k < o->nin; k++)
            fprintf(to, "%s%d", k ? " " : " reads ", p->op[o->ins[k]].tensor);
        fputc('\n', to);
    }
    for (int i = 0; i < g->nparam; i++)
        fprintf(to, "param %s at %lld\n", g->param[i].name, (long long)p->param_at[i]);
    fprintf(to, "floats param %lld running %lld values %lld trace %lld, batches %d, min batch %d\n",
            (long long)p->param_floats, (long long)p->running_floats, (long long)p->value_floats,
            (long long)p->trace_floats, p->batches, p->min_batch);
}

static const char *need_text(Need need)
{
    switch (need) {
    case NEED_NOTHING:
        return "the gradient alone";
    case NEED_SIGN:
    case NEED_OUTPUT:
        return "its output";
    case NEED_INPUT:
    case NEED_ROUTE:
        return "its input";
    }
    return "";
}

static void explain_op(const Plain *p, int i, FILE *to)
{
    const Op *o = &p->g->op[i];
    const char *reads = "";

    for (int k = 0; k < o->nin; k++)
        reads = xprintf("%s%s%s", reads, k ? ", " : "", p->g->op[o->ins[k]].path);
    fprintf(to, "\n%s (%s)\n  %-10s %s\n", o->path, op_info[o->kind].name, "reads:", reads);
    if (plain_stores(p, i))
        fprintf(to, "  %-10s %dx%dx%d, %lld bytes per image\n", "stored:", o->shape.c, o->shape.h, o->shape.w,
                (long long)(4 * p->op[i].floats));
    else if (o->kind != OP_LOSS)
        fprintf(to, "  %-10s nothing: its output is %s as it stands\n", "stored:", p->g->op[p->op[i].tensor].path);
    if (p->op[i].steps)
        fprintf(to, "  %-10s %lld bytes per image, what each of %d steps leaves\n",
                "stored:", (long long)(4 * p->op[i].steps), p->g->op[o->in].shape.w);
    if (p->op[i].learns)
        fprintf(to, "  %-10s reads %s\n", "backward:",
                o->kind == OP_FLATTEN ? "nothing: the gradient is that of what flatten reads"
                                      : need_text(op_info[o->kind].need));
    else
        fprintf(to, "  %-10s none: nothing before it has parameters\n", "backward:");
    if (o->bias_why)
        fprintf(to, "  %-10s %s\n", "bias:", o->bias_why);
}

void plain_explain(const Plain *p, const int *ops, int n, FILE *to)
{
    fprintf(to,
            "%s for reading: %d ops, each by itself; nothing is fused, nothing recomputed but means, winners of "
            "windows and masks\n"
            "every op's output is stored: %lld bytes per image (autograd, which drops outputs that no backward reads, "
            "would keep %lld)\n"
            "at inference norms are applied where they stand, none is folded\n",
            p->g->spec->name, p->g->nop - 1, (long long)plain_stored_bytes(p), (long long)grad_autograd(p->g, NULL));
    for (int i = 1; !ops && i < p->g->nop; i++)
        explain_op(p, i, to);
    for (int i = 0; ops && i < n; i++)
        if (ops[i] > 0)
            explain_op(p, ops[i], to);
}
