/* identity.c - what a network computes, as lines: an emitted program and its checkpoints carry them
 * (cvy_model.identity).
 *
 * needs: a Graph. sets: nothing. How it is trained, emitted or called is none of it: batch, rates, target, unrolling.
 */
#include "graph.h"

#include "read.h"

/* "conv1/bn2", or "bn1" where a layer has one op and no name for it */
static const char *place(const Op *o)
{
    return o->stage ? xprintf("%s/%s", o->layer, o->stage) : o->layer;
}

/* One number where all channels have the same. */
static const char *channels(const double *v, int n)
{
    Buf b = {0};
    bool alike = true;

    for (int c = 1; c < n; c++)
        alike &= v[c] == v[0];
    for (int c = 0; c < (alike ? 1 : n); c++)
        buf_printf(&b, "%s%s", c ? "," : "", real_text(v[c]));
    return b.text;
}

static const char *word(const Graph *g, const Op *o)
{
    const SpecTrain *t = &g->spec->train;
    const char *text = op_lasting_text(o->kind, o->arg, g->dims);

    const char *lengths = o->lengths ? ",lengths" : "";

    if (o->kind == OP_INPUT && g->spec->tokens)
        return xprintf("input(tokens=%d%s)", g->spec->tokens, lengths);
    if (o->kind == OP_INPUT)
        return xprintf("input(mean=%s,std=%s%s)", channels(t->mean, o->shape.c), channels(t->std, o->shape.c), lengths);
    /* what makes channels says how many */
    return op_info[o->kind].cls == CLASS_WEIGHT || o->kind == OP_PAD ? xprintf("%s to %d", text, o->shape.c) : text;
}

/* Its fields; empty ones at the end are left out. */
static const char *joined(const char *const field[5])
{
    Buf b = {0};
    int n = 5;

    while (!field[n - 1])
        n--;
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? " | " : "", field[i] ? field[i] : "");
    return b.text;
}

const char *const *identity_lines(const Graph *g)
{
    const char **lines = xalloc((size_t)(g->nop + 1) * sizeof *lines);

    for (int i = 0, k = 0; i < g->nop; i++) {
        const Op *o = &g->op[i];
        Buf inputs = {0}, params = {0};
        for (int j = 0; j < o->nin; j++)
            buf_printf(&inputs, "%s%s", j ? " " : "", place(&g->op[o->ins[j]]));
        for (; k < g->nparam && g->param[k].op == i; k++)
            if (g->param[k].role <= PARAM_BETA) /* a norm's buffers are implied */
                buf_printf(&params, "%s%s", params.len ? " " : "", g->param[k].name);
        lines[i] = joined(
            (const char *const[]){place(o), word(g, o), inputs.text, params.text, op_training_text(o->kind, o->arg)});
    }
    return lines;
}
