/* anchors.c - which values must be tensors in memory, and where each sum is done.
 *
 * needs: a checked graph after grad. sets: Flow.uses .. .fused.
 *
 * A value is an *anchor* where it must be a tensor in memory: several ops read it; in training a norm takes its
 * statistics; a join reads it as a skip operand. Between anchors every op has one reader, so that what leads to a
 * kernel is a tree: a main line, and at each join skip operands that begin at tensors. */
#include "flow_parts.h"

bool flow_is_weight(const Graph *g, int op)
{
    return op_row(g, op)->cls == CLASS_WEIGHT;
}

/* A concat that is a list of paths. */
bool flow_is_list(const Flow *f, int op)
{
    return f->g->op[op].kind == OP_CONCAT && !f->solid[op];
}

/* Whether an op works on a register: activations, dropout, a norm's apply. */
bool flow_is_point(const Graph *g, int op)
{
    return op_row(g, op)->cls == CLASS_POINT || op_is_norm(g->op[op].kind);
}

/* Whether an op takes statistics of what it reads: batch norms in training, unless they are frozen; image norms always.
 */
bool flow_takes_statistics(const Flow *f, int op)
{
    const Op *o = &f->g->op[op];

    return op_is_image_norm(o->kind) || (!f->infer && op_is_batch_norm(o->kind) && !op_is_still(o));
}

void anchors_count(Flow *f)
{
    const Graph *g = f->g;

    for (int i = 1; i < g->nop; i++)
        for (int k = 0; k < g->op[i].nin; k++)
            if (g->op[i].kind == OP_ADD || g->op[i].kind == OP_PAD ||
                op_is_image_norm(g->op[i].kind)) /* whose groups may cross what is joined */
                f->solid[g->op[i].ins[k]] = g->op[g->op[i].ins[k]].kind == OP_CONCAT;
    for (int i = g->nop - 1; i > 0; i--) {
        f->padded[g->op[i].in] |= g->op[i].kind == OP_PAD;
        for (int k = 0; k < g->op[i].nin; k++) {
            const int v = g->op[i].ins[k];
            f->uses[v] += flow_is_list(f, i) ? f->uses[i] : 1;
            f->reader[v] = i;
        }
    }
}

/* A norm takes statistics of what it reads: after a concat, of each tensor that is joined. */
static void anchor_statistics(Flow *f, int v)
{
    if (flow_is_list(f, v))
        for (int k = 0; k < f->g->op[v].nin; k++)
            anchor_statistics(f, f->g->op[v].ins[k]);
    else
        f->anchor[v] |= ANCHOR_STATS;
}

/* Back from v along the main line to an anchor, the input, a list, or a weight op. */
static int base_of(const Flow *f, int v)
{
    while (v > 0 && !f->anchor[v] && !flow_is_list(f, v) && !flow_is_weight(f->g, v))
        v = f->g->op[v].kind == OP_ADD ? f->g->op[v].ins[f->main[v]] : f->g->op[v].in;
    return v;
}

/* The tensor by which a join could read v as a skip operand: point stages from it on, or a pad first. -1: it cannot. */
static int skip_base(const Flow *f, int v)
{
    while (v > 0 && !f->anchor[v] && flow_is_point(f->g, v))
        v = f->g->op[v].in;
    if (v > 0 && !f->anchor[v] && f->g->op[v].kind == OP_PAD)
        v = f->g->op[v].in;
    return v == 0 || f->anchor[v] ? v : -1;
}

/* An op between weight op w and v that needs more in backward than winners of windows: after a sum nothing else can be
 * read off what is stored there. -1: none. */
static int sum_refused(const Flow *f, int w, int v)
{
    for (; v != w; v = f->g->op[v].kind == OP_ADD ? f->g->op[v].ins[f->main[v]] : f->g->op[v].in) {
        const Op *op = &f->g->op[v];
        const Need need = op_need(op);
        if (need == NEED_ROUTE ? op->kernel[0] * op->kernel[1] > 255 : need != NEED_NOTHING)
            return v;
    }
    return -1;
}

/* A weight op without a backward cannot hand on the gradient of a sum that it does: others of its operands want it. */
static bool sum_stays(const Flow *f, int w, int add)
{
    return !f->infer && f->g->op[add].output_grad && !f->g->op[w].output_grad;
}

/* Why the weight op at which operand v of a sum begins does not do the sum as it stores, or that there is none. */
static const char *why_no_sum(const Flow *f, int add, int v)
{
    const Graph *g = f->g;
    const int w = base_of(f, v);

    if (w == 0 || f->anchor[w] || !flow_is_weight(g, w))
        return xprintf("%s is%s%s%s: no weight op is at work on it that could add as it stores", g->op[v].path,
                       v == w ? "" : " made from ", v == w ? "" : g->op[w].path,
                       w == 0               ? ""
                       : flow_is_list(f, w) ? ", which is joined of others"
                       : v == w             ? " a tensor of its own"
                                            : ", where a kernel ended");
    if (sum_stays(f, w, add))
        return xprintf("not as %s stores: it is frozen and has no backward, which the other operand's gradient needs",
                       g->op[w].path);
    const int refused = sum_refused(f, w, v);
    if (refused >= 0)
        return xprintf("not as %s stores: %s needs its %s in backward, which cannot be read off a sum", g->op[w].path,
                       g->op[refused].path, op_need(&g->op[refused]) == NEED_INPUT ? "input" : "output");
    return xprintf("not as %s stores: the other operand is not there yet when it runs", g->op[w].path);
}

/* Where a sum is done, and why there. */
static const char *why_sum(const Flow *f, int add)
{
    const Graph *g = f->g;
    const Op *op = &g->op[add];
    Buf b = {0};

    if (f->fused[add] >= 0)
        return xprintf("%s adds as it stores: of the operands' weight ops it runs last, and nothing between it and the "
                       "sum needs more in backward than the sum tells",
                       g->op[f->fused[add]].path);
    for (int k = 0; k < op->nin; k++)
        buf_printf(&b, "%s%s", k ? "; " : "", why_no_sum(f, add, op->ins[k]));
    return b.text;
}

/* Which operand is on a sum's main line: one whose weight op can do the sum as it stores, the latest such; else one
 * that cannot be read as a skip operand. The others become skip operands. */
static void arrange_sum(Flow *f, int add)
{
    const Op *op = &f->g->op[add];

    f->fused[add] = -1;
    f->main[add] = -1;
    for (int k = 0; k < op->nin; k++) {
        const int w = base_of(f, op->ins[k]);
        if (w == 0 || f->anchor[w] || !flow_is_weight(f->g, w) || w < f->fused[add] || sum_stays(f, w, add) ||
            (!f->infer && sum_refused(f, w, op->ins[k]) >= 0))
            continue;
        bool ready = true; /* what the other operands begin at is there when w runs */
        for (int j = 0; j < op->nin; j++) {
            const int s = skip_base(f, op->ins[j]);
            ready = ready && (j == k || (s >= 0 ? s < w : op->ins[j] < w));
        }
        if (ready) {
            f->fused[add] = w;
            f->main[add] = k;
        }
    }
    for (int k = 0; k < op->nin && f->main[add] < 0; k++)
        if (skip_base(f, op->ins[k]) < 0 && !flow_is_list(f, base_of(f, op->ins[k])))
            f->main[add] = k;
    if (f->main[add] < 0)
        f->main[add] = 0;
    if (!f->infer)
        f->p->sum_why[add] = why_sum(f, add);
    if (flow_is_list(f, base_of(f, op->ins[f->main[add]])))
        f->anchor[op->ins[f->main[add]]] |= ANCHOR_TENSOR;
    for (int k = 0; k < op->nin; k++) {
        if (k == f->main[add])
            continue;
        if (skip_base(f, op->ins[k]) < 0)
            f->anchor[op->ins[k]] |= ANCHOR_SKIP;
        f->as_skip[skip_base(f, op->ins[k])] = true;
    }
}

void anchors_find(Flow *f)
{
    const Graph *g = f->g;

    for (int i = 1; i < g->nop; i++) {
        f->anchor[i] |= f->uses[i] > 1 && !flow_is_list(f, i) ? ANCHOR_MANY : 0;
        f->anchor[i] |= f->solid[i] ? ANCHOR_TENSOR : 0;
        if (flow_takes_statistics(f, i))
            anchor_statistics(f, g->op[i].in);
    }
    if (f->infer && !flow_is_list(f, g->op[g->nop - 1].in))
        f->anchor[g->op[g->nop - 1].in] |= ANCHOR_RESULT;
    for (int i = 1; i < g->nop; i++) {
        if (g->op[i].kind == OP_ADD)
            arrange_sum(f, i);
        if (g->op[i].kind == OP_PAD && flow_is_list(f, base_of(f, g->op[i].in)))
            f->anchor[g->op[i].in] |= ANCHOR_TENSOR;
    }
}
