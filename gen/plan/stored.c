/* stored.c - which tensor of a weight op's out path is the stored one.
 *
 * needs: an out path. sets: nothing; flow.c asks. */
#include "flow_parts.h"

static int smaller(int a, int b)
{
    return b >= 0 && (a < 0 || b < a) ? b : a;
}

/* Of the ops that a value does not serve, the first is the reason. One that needs its input is served by none after
 * it; one that needs its output by that alone; one that needs its output's sign until an op comes that does not keep
 * it. */
Stores stores_list(const Graph *g, const Path *w)
{
    const Stores s = {xalloc(sizeof *s.refused * (size_t)(w->n + 1)), xalloc(sizeof *s.bytes * (size_t)(w->n + 1))};
    int never = -1, output = -1, sign = -1,
        loses = -1; /* the first link of such a need; the last that does not keep signs */
    int64_t routes = 0;

    for (int p = 0; p <= w->n; p++) {
        int first = smaller(never, output >= 0 && output + 1 != p ? output : -1);
        first = smaller(first, sign >= 0 && loses > sign ? sign : -1);
        s.refused[p] = first < 0 ? -1 : w->link[first].op;
        s.bytes[p] = 4 * blocked_floats(w->shape[p]) + routes;
        if (p == w->n)
            break;
        const Op *op = &g->op[w->link[p].op];
        const Need need = op_need(op);
        if (need == NEED_INPUT || (need == NEED_ROUTE && op->kernel[0] * op->kernel[1] > 255))
            never = never < 0 ? p : never;
        if (need == NEED_OUTPUT)
            output = output < 0 ? p : output;
        if (need == NEED_SIGN)
            sign = sign < 0 ? p : sign;
        if (!op_row(g, w->link[p].op)->keeps_sign)
            loses = p;
        if (need == NEED_ROUTE)
            routes += blocked_floats(w->shape[p + 1]);
    }
    return s;
}

/* The cheapest value from `least` on that serves, the latest of equals: from it on, least is recomputed. -1: none. */
int stores_choose(const Path *w, const Stores *s, int least)
{
    int best = -1;

    for (int p = least; p <= w->n; p++)
        if (s->refused[p] < 0 && (best < 0 || s->bytes[p] <= s->bytes[best]))
            best = p;
    return best;
}

/* The word of the norm that op is; of a join in front of several, bn's. */
static const char *norm_at(const Flow *f, int op)
{
    return op_info[op_is_norm(f->g->op[op].kind) ? f->g->op[op].kind : OP_BN].name;
}

/* Why value p of the out path of weight op `op` is stored. */
const char *stored_why(const Flow *f, int op, const Path *w, const Stores *stores, int p, bool anchored)
{
    const int n = w->n;

    if (p < n && stores->refused[p + 1] < 0)
        return "the tensors after it that would serve are larger";
    if (p < n && op_need(&f->g->op[w->link[p].op]) == NEED_NOTHING) /* it is frozen: not the norm decides */
        return xprintf("%s needs it in backward, and the tensors after it do not tell it",
                       f->g->op[stores->refused[p + 1]].path);
    if (p < n)
        return xprintf("the %s after it needs its %s in backward", op_row(f->g, w->link[p].op)->name,
                       op_need(&f->g->op[w->link[p].op]) == NEED_INPUT ? "input" : "own tensor");
    op = n ? w->link[n - 1].op : op;
    return xprintf("it is what %s%s",
                   !anchored         ? "the next kernel reads"
                   : f->uses[op] > 1 ? "several ops read"
                   : f->as_skip[op]  ? "a join reads"
                                     : xprintf("the %s after it normalises", norm_at(f, f->reader[op])),
                   p ? ", and nothing earlier is needed for backward" : "");
}

void stores_choices(int op, const Path *w, const Stores *s, int least, Tensor *nd)
{
    nd->choice = xalloc(sizeof *nd->choice * (size_t)(w->n + 1));
    for (; nd->nchoice <= w->n; nd->nchoice++) {
        const int p = nd->nchoice;
        nd->choice[p] = (Choice){p ? w->link[p - 1].op : op, s->bytes[p], s->refused[p], p < least};
    }
}
