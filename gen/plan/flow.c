/* flow.c - graph -> nodes and kernels: what is made where, and by which ways each kernel gets at what it reads.
 *
 * needs: a checked graph after grad.
 * sets:  Plan.node, .kernel (or of inference .infer_node, .infer) with their ways; no runs, no images, no offsets.
 *
 * A value is an *anchor* where it must be a node: several ops read it; in training a norm takes its statistics; a join
 * reads it by the side. Between anchors every op has one reader, so that what leads to a kernel is a tree: a main line,
 * and at each join sides that begin at nodes. A concat is no op here but a list of ways, each with its channels' place;
 * what stands behind it is done on each way alone, as all ops but weight ops and sums work on a channel by itself.
 *
 * The out way of a weight op ends at its node: at an anchor, or in training at the tensor that is best kept, or at
 * inference where the next kernel begins. Every other anchor is made by a pass. */
#include "plan.h"

#include <string.h>

typedef struct Flow {
    const Graph *g;
    Plan *p;
    bool infer;
    int *uses;             /* readers of an op's output, those of a concat counted as readers of what it joins */
    int *reader;           /* one of them */
    bool *solid;           /* of a concat: it is a tensor in memory, since a sum, a pad or an image norm reads it */
    unsigned char *anchor; /* the op's output is a node: why, by bits of Anchor; 0: it is none */
    bool *by_side;         /* ... that is read by the side */
    bool *padded;          /* a pad reads it by the side: as it is stored, without stages between */
    int *main;             /* of an add: which operand is on the main line */
    int *fused;            /* of an add: the weight op in whose out way it stands, or -1 */
    int *node;             /* of an op's output, or -1 */
    Tensor *list;
    int n;
} Flow;

static const OpInfo *info(const Graph *g, int op)
{
    return &op_info[g->op[op].kind];
}

static bool is_weight(const Graph *g, int op)
{
    return info(g, op)->cls == CLASS_WEIGHT;
}

static bool is_window(const Graph *g, int op)
{
    return info(g, op)->cls == CLASS_WINDOW;
}

/* A concat that is a list of ways. */
static bool is_list(const Flow *f, int op)
{
    return f->g->op[op].kind == OP_CONCAT && !f->solid[op];
}

/* Whether an op works on a register: activations, dropout, a norm's apply. */
static bool is_point(const Graph *g, int op)
{
    return info(g, op)->cls == CLASS_POINT || op_is_norm(g->op[op].kind);
}

/* Whether an op takes statistics of what it reads: batch norms in training, image norms always. */
static bool takes_statistics(const Flow *f, int op)
{
    return op_is_image_norm(f->g->op[op].kind) || (!f->infer && op_is_batch_norm(f->g->op[op].kind));
}

/* ---- anchors ---- */

static void count_uses(Flow *f)
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
            f->uses[v] += is_list(f, i) ? f->uses[i] : 1;
            f->reader[v] = i;
        }
    }
}

/* A norm takes statistics of what it reads: behind a concat, of each tensor that is joined. */
static void anchor_statistics(Flow *f, int v)
{
    if (is_list(f, v))
        for (int k = 0; k < f->g->op[v].nin; k++)
            anchor_statistics(f, f->g->op[v].ins[k]);
    else
        f->anchor[v] |= ANCHOR_STATS;
}

/* Back from v along the main line to an anchor, the input, a list, or a weight op. */
static int base_of(const Flow *f, int v)
{
    while (v > 0 && !f->anchor[v] && !is_list(f, v) && !is_weight(f->g, v))
        v = f->g->op[v].kind == OP_ADD ? f->g->op[v].ins[f->main[v]] : f->g->op[v].in;
    return v;
}

/* The node by which a join could read v by the side: point stages from it on, or a pad first. -1: it cannot. */
static int side_base(const Flow *f, int v)
{
    while (v > 0 && !f->anchor[v] && is_point(f->g, v))
        v = f->g->op[v].in;
    if (v > 0 && !f->anchor[v] && f->g->op[v].kind == OP_PAD)
        v = f->g->op[v].in;
    return v == 0 || f->anchor[v] ? v : -1;
}

/* An op between weight op w and v that needs more in backward than winners of windows: behind a sum nothing else can be
 * read off what is stored there. -1: none. */
static int sum_refused(const Flow *f, int w, int v)
{
    for (; v != w; v = f->g->op[v].kind == OP_ADD ? f->g->op[v].ins[f->main[v]] : f->g->op[v].in) {
        const Op *op = &f->g->op[v];
        const Need need = info(f->g, v)->need;
        if (need == NEED_ROUTE ? op->kernel[0] * op->kernel[1] > 255 : need != NEED_NOTHING)
            return v;
    }
    return -1;
}

/* Why the weight op at which operand v of a sum begins does not do the sum as it stores, or that there is none. */
static const char *why_no_sum(const Flow *f, int v)
{
    const Graph *g = f->g;
    const int w = base_of(f, v);

    if (w == 0 || f->anchor[w] || !is_weight(g, w))
        return xprintf("%s is%s%s%s: no weight op is at work on it that could add as it stores", g->op[v].path,
                       v == w ? "" : " made from ", v == w ? "" : g->op[w].path,
                       w == 0          ? ""
                       : is_list(f, w) ? ", which is joined of others"
                       : v == w        ? " a tensor of its own"
                                       : ", where a kernel ended");
    const int refused = sum_refused(f, w, v);
    if (refused >= 0)
        return xprintf("not as %s stores: %s needs its %s in backward, which cannot be read off a sum", g->op[w].path,
                       g->op[refused].path, info(g, refused)->need == NEED_INPUT ? "input" : "output");
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
        buf_printf(&b, "%s%s", k ? "; " : "", why_no_sum(f, op->ins[k]));
    return b.text;
}

/* Which operand is on a sum's main line: one whose weight op can do the sum as it stores, the latest such; else one
 * that cannot be read by the side. The others become sides. */
static void arrange_sum(Flow *f, int add)
{
    const Op *op = &f->g->op[add];

    f->fused[add] = -1;
    f->main[add] = -1;
    for (int k = 0; k < op->nin; k++) {
        const int w = base_of(f, op->ins[k]);
        if (w == 0 || f->anchor[w] || !is_weight(f->g, w) || w < f->fused[add] ||
            (!f->infer && sum_refused(f, w, op->ins[k]) >= 0))
            continue;
        bool ready = true; /* what the other operands begin at is there when w runs */
        for (int j = 0; j < op->nin; j++) {
            const int s = side_base(f, op->ins[j]);
            ready = ready && (j == k || (s >= 0 ? s < w : op->ins[j] < w));
        }
        if (ready) {
            f->fused[add] = w;
            f->main[add] = k;
        }
    }
    for (int k = 0; k < op->nin && f->main[add] < 0; k++)
        if (side_base(f, op->ins[k]) < 0 && !is_list(f, base_of(f, op->ins[k])))
            f->main[add] = k;
    if (f->main[add] < 0)
        f->main[add] = 0;
    if (!f->infer)
        f->p->sum_why[add] = why_sum(f, add);
    if (is_list(f, base_of(f, op->ins[f->main[add]])))
        f->anchor[op->ins[f->main[add]]] |= ANCHOR_TENSOR;
    for (int k = 0; k < op->nin; k++) {
        if (k == f->main[add])
            continue;
        if (side_base(f, op->ins[k]) < 0)
            f->anchor[op->ins[k]] |= ANCHOR_SIDE;
        f->by_side[side_base(f, op->ins[k])] = true;
    }
}

static void find_anchors(Flow *f)
{
    const Graph *g = f->g;

    for (int i = 1; i < g->nop; i++) {
        f->anchor[i] |= f->uses[i] > 1 && !is_list(f, i) ? ANCHOR_MANY : 0;
        f->anchor[i] |= f->solid[i] ? ANCHOR_TENSOR : 0;
        if (takes_statistics(f, i))
            anchor_statistics(f, g->op[i].in);
    }
    if (f->infer && !is_list(f, g->op[g->nop - 1].in))
        f->anchor[g->op[g->nop - 1].in] |= ANCHOR_RESULT;
    for (int i = 1; i < g->nop; i++) {
        if (g->op[i].kind == OP_ADD)
            arrange_sum(f, i);
        if (g->op[i].kind == OP_PAD && is_list(f, base_of(f, g->op[i].in)))
            f->anchor[g->op[i].in] |= ANCHOR_TENSOR;
    }
}

/* ---- what is stored ---- */

/* What storing value p of an out way would mean, for each of its values. */
typedef struct Stores {
    int *refused;   /* an op before it whose backward it does not serve alone; -1: it may be the stored one */
    int64_t *bytes; /* an image */
} Stores;

static int smaller(int a, int b)
{
    return b >= 0 && (a < 0 || b < a) ? b : a;
}

/* Of the ops that a value does not serve, the first is the reason. One that needs its input is served by none behind
 * it; one that needs its output by that alone; one that needs its output's sign until an op comes that does not keep
 * it. */
static Stores list_stores(const Graph *g, const Way *w)
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
        const Need need = info(g, w->link[p].op)->need;
        if (need == NEED_INPUT || (need == NEED_ROUTE && op->kernel[0] * op->kernel[1] > 255))
            never = never < 0 ? p : never;
        if (need == NEED_OUTPUT)
            output = output < 0 ? p : output;
        if (need == NEED_SIGN)
            sign = sign < 0 ? p : sign;
        if (!info(g, w->link[p].op)->keeps_sign)
            loses = p;
        if (need == NEED_ROUTE)
            routes += blocked_floats(w->shape[p + 1]);
    }
    return s;
}

/* The cheapest value from `least` on that serves, the latest of equals: from it on, least is recomputed. -1: none. */
static int choose_stored(const Way *w, const Stores *s, int least)
{
    int best = -1;

    for (int p = least; p <= w->n; p++)
        if (s->refused[p] < 0 && (best < 0 || s->bytes[p] <= s->bytes[best]))
            best = p;
    return best;
}

/* ---- ways ---- */

static void push_link(Way *w, Link link, Shape shape)
{
    int n = w->n;

    *PUSH(w->link, n) = link;
    n = w->n + 1;
    *PUSH(w->shape, n) = shape;
    w->n++;
}

static Way begin_way(const Flow *f, int node)
{
    const Tensor *nd = &f->list[node];
    Way w = {.node = node};
    int n = 0;

    *PUSH(w.shape, n) = nd->shape[0];
    for (int i = 0; i < nd->nlink; i++)
        push_link(&w, nd->link[i], nd->shape[i + 1]);
    w.grad = w.n;
    return w;
}

static Side make_side(const Flow *f, int v)
{
    int *op = NULL, n = 0, pad = -1;

    while (f->node[v] < 0 && is_point(f->g, v)) {
        *PUSH(op, n) = v;
        v = f->g->op[v].in;
    }
    if (f->node[v] < 0) {
        if (f->g->op[v].kind != OP_PAD)
            BUG("%s cannot be read by the side", f->g->op[v].path);
        pad = v;
        v = f->g->op[v].in;
    }
    Side s = {.seen = xalloc(sizeof *s.seen), .way = begin_way(f, f->node[v]), .pad = pad};
    if (pad >= 0) {
        if (s.way.n)
            BUG("%s pads what is not stored", f->g->op[pad].path);
        s.way.shape[0] = f->g->op[pad].shape;
    }
    while (n-- > 0)
        if (!f->infer || f->g->op[op[n]].kind != OP_DROP)
            push_link(&s.way, (Link){.op = op[n]}, f->g->op[op[n]].shape);
    s.way.total = s.way.shape[s.way.n].c;
    return s;
}

/* The op's link at the end of a way. */
static void extend(const Flow *f, Way *w, int v)
{
    const Op *op = &f->g->op[v];
    Link link = {.op = v, .first = w->first};
    Shape shape = op->shape;

    if (f->infer && op->kind == OP_DROP)
        return;
    if (op->kind == OP_ADD)
        for (int k = 0; k < op->nin; k++)
            if (k != f->main[v])
                *PUSH(link.side, link.nside) = make_side(f, op->ins[k]);
    if (op->kind == OP_FLATTEN) {
        const Shape in = w->shape[w->n];
        shape.c = in.c * in.h * in.w;
        w->first *= in.h * in.w;
    } else if (op->kind != OP_PAD) {
        shape.c = w->shape[w->n].c;
    }
    push_link(w, link, shape);
}

static void add_way(Way **ways, int *n, Way w)
{
    *PUSH(*ways, *n) = w;
}

/* The ways that end at v. Stages are walked without recursion; what recurs is a concat in a concat. */
static void ways_to(const Flow *f, int v, Way **ways, int *n)
{
    const Graph *g = f->g;
    const int from = *n;
    int *stage = NULL, nstage = 0; /* from v back */

    for (; f->node[v] < 0; v = g->op[v].kind == OP_ADD ? g->op[v].ins[f->main[v]] : g->op[v].in) {
        if (g->op[v].kind == OP_CONCAT)
            break;
        if (is_weight(g, v))
            BUG("%s is no node", g->op[v].path);
        *PUSH(stage, nstage) = v;
    }
    if (f->node[v] < 0) {
        int first = 0;
        for (int k = 0; k < g->op[v].nin; k++) {
            const int begin = *n;
            ways_to(f, g->op[v].ins[k], ways, n);
            for (int i = begin; i < *n; i++)
                (*ways)[i].first += first;
            first += g->op[g->op[v].ins[k]].shape.c;
        }
    } else {
        add_way(ways, n, begin_way(f, f->node[v]));
    }
    while (nstage-- > 0) {
        const Op *op = &g->op[stage[nstage]];
        if ((op->kind == OP_ADD || op->kind == OP_PAD) && *n - from != 1)
            BUG("%s reads %d ways", op->path, *n - from);
        for (int i = from; i < *n; i++)
            extend(f, &(*ways)[i], stage[nstage]);
    }
}

static void close_ways(Way *ways, int n, int channels)
{
    for (int i = 0; i < n; i++)
        ways[i].total = channels;
}

/* ---- nodes ---- */

static Tensor *add_node(Flow *f, int op, int key)
{
    f->node[op] = f->n;
    Tensor *nd = PUSH(f->list, f->n);
    *nd = (Tensor){.op = op, .key = key, .maker = -1, .stored = true, .root = f->n - 1, .stored_op = op, .image = -1};
    nd->shape = xalloc(sizeof *nd->shape);
    nd->shape[0] = f->g->op[op].shape;
    nd->anchor = f->anchor[op];
    nd->by_side = f->by_side[op];
    nd->grad = op > 0 && (f->g->op[op].input_grad || is_weight(f->g, op) || op_is_norm(f->g->op[op].kind)) && !f->infer;
    return nd;
}

/* The value behind v on a weight op's out way, or -1 where the way ends. */
static int next_out(const Flow *f, int w, int v)
{
    const int r = f->reader[v];

    if (f->anchor[v] || f->uses[v] != 1)
        return -1;
    if (is_point(f->g, r) || is_window(f->g, r))
        return r;
    return f->g->op[r].kind == OP_ADD && f->fused[r] == w && f->g->op[r].ins[f->main[r]] == v ? r : -1;
}

/* The word of the norm that op is; of a join in front of several, bn's. */
static const char *norm_at(const Flow *f, int op)
{
    return op_info[op_is_norm(f->g->op[op].kind) ? f->g->op[op].kind : OP_BN].name;
}

/* Why value p of the out way of weight op `op` is stored. */
static const char *why_stored(const Flow *f, int op, const Way *w, const Stores *stores, int p, bool anchored)
{
    const int n = w->n;

    if (p < n && stores->refused[p + 1] < 0)
        return "the tensors behind it that would serve are larger";
    if (p < n)
        return xprintf("the %s behind it needs its %s in backward", info(f->g, w->link[p].op)->name,
                       info(f->g, w->link[p].op)->need == NEED_INPUT ? "input" : "own tensor");
    op = n ? w->link[n - 1].op : op;
    return xprintf("it is what %s%s",
                   !anchored         ? "the next kernel reads"
                   : f->uses[op] > 1 ? "several ops read"
                   : f->by_side[op]  ? "a join reads"
                                     : xprintf("the %s behind it normalises", norm_at(f, f->reader[op])),
                   p ? ", and nothing earlier is needed for backward" : "");
}

static void list_choices(int op, const Way *w, const Stores *s, int least, Tensor *nd)
{
    nd->choice = xalloc(sizeof *nd->choice * (size_t)(w->n + 1));
    for (; nd->nchoice <= w->n; nd->nchoice++) {
        const int p = nd->nchoice;
        nd->choice[p] = (Choice){p ? w->link[p - 1].op : op, s->bytes[p], s->refused[p], p < least};
    }
}

/* A weight op's out way, and its node. */
static void build_out(Flow *f, Kernel *k)
{
    const Graph *g = f->g;
    Way w = {.node = -1};
    int n = 0, end = k->op, after_sum = 0, behind_windows = 0;

    *PUSH(w.shape, n) = g->op[k->op].shape;
    bool folding = f->p->fold; /* nothing but dropout and folded norms so far */
    for (int v = k->op; (v = next_out(f, k->op, v)) >= 0;) {
        end = v;
        if (f->infer && folding && op_is_batch_norm(g->op[v].kind)) {
            *PUSH(k->w->fold, k->w->nfold) = v;
            continue;
        }
        if (folding && g->op[v].kind != OP_DROP)
            k->w->fold_stop = v;
        folding = folding && g->op[v].kind == OP_DROP;
        extend(f, &w, v);
        if (g->op[v].kind == OP_ADD)
            after_sum = w.n;
        if (is_window(g, v))
            behind_windows = w.n;
    }
    w.total = w.shape[w.n].c;
    if (f->infer) {
        Tensor *nd = add_node(f, end, k->op);
        nd->shape[0] = w.shape[w.n];
        k->w->out = w;
        return;
    }
    const bool anchored = f->anchor[end], many = anchored && (f->uses[end] > 1 || f->by_side[end]);
    const int least = f->padded[end] ? w.n : many && behind_windows > after_sum ? behind_windows : after_sum;
    const char *least_why = f->padded[end]      ? "a pad reads the last as it is stored"
                            : least > after_sum ? "several ops read what stands behind a window"
                            : after_sum         ? "it stands before a sum, which would read all its terms again"
                                                : NULL;
    const Stores stores = list_stores(g, &w);
    int p = choose_stored(&w, &stores, least);
    int u = anchored ? w.n : p;
    if (p < 0) { /* others read it as it is, and the stages before need more in backward: a pass makes it */
        p = u = choose_stored(&w, &stores, after_sum);
        f->anchor[u ? w.link[u - 1].op : k->op] |= ANCHOR_CUT;
    }
    const int value = u ? w.link[u - 1].op : k->op;
    f->anchor[value] |= anchored ? 0 : ANCHOR_STORED;
    Tensor *nd = add_node(f, value, k->op);
    list_choices(k->op, &w, &stores, least, nd);
    nd->least_why = least_why;
    nd->why = !anchored || u == w.n ? why_stored(f, k->op, &w, &stores, p, anchored)
                                    : "what others read stands behind it, and a pass stores that";
    nd->stored_op = p ? w.link[p - 1].op : k->op;
    nd->nlink = u - p;
    nd->link = w.link + p;
    nd->shape = w.shape + p;
    for (int i = 0; i < p; i++)
        if (info(g, w.link[i].op)->need == NEED_ROUTE)
            *PUSH(nd->route, nd->nroute) = w.link[i].op;
    nd->route_slot = xalloc(sizeof *nd->route_slot * (size_t)(nd->nroute + 1));
    w.n = u;
    w.total = w.shape[u].c;
    k->w->out = w;
    k->w->out.grad = p; /* of an out way: the stored value */
}

/* A node that no weight op makes. It is stored unless its readers can go the way to it by themselves. */
static void build_pass(Flow *f, Kernel *k)
{
    const Graph *g = f->g;

    ways_to(f, k->op, &k->in, &k->nin);
    close_ways(k->in, k->nin, g->op[k->op].shape.c);
    Tensor *nd = add_node(f, k->op, k->op);
    nd->why = k->nin > 1 ? "a concat that is read as one tensor" : "";
    if (f->infer)
        return;
    const Way *w = &k->in[0];
    if (w->n > RECOMPUTE_MOST) {
        nd->why = "recomputing it would walk too many stages";
        return;
    }
    bool sums = false, windows = false;
    for (int i = 0; i < w->n; i++) { /* what its readers would go through, from what is stored on */
        sums |= g->op[w->link[i].op].kind == OP_ADD;
        windows |= is_window(g, w->link[i].op);
    }
    if (k->nin > 1 || sums || (windows && (f->uses[k->op] > 1 || f->by_side[k->op]))) {
        nd->why = k->nin > 1 ? nd->why
                  : sums     ? "it is a sum: recomputing it would read all its terms again"
                             : "several ops read what stands behind a window";
        return;
    }
    if (f->padded[k->op]) {
        nd->why = "a pad reads it";
        return;
    }
    nd->why = "not stored: its readers recompute it";
    nd->stored = false;
    nd->root = f->list[w->node].root;
    nd->stored_op = f->list[nd->root].stored_op;
    nd->link = w->link;
    nd->shape = w->shape;
    nd->nlink = w->n;
}

/* ---- kernels ---- */

static Kernel *add_kernel(Kernel **list, int *n, KernelKind kind, int op)
{
    Kernel *k = PUSH(*list, *n);

    *k = (Kernel){.kind = kind, .op = op, .node = -1, .trace_core = -1, .result = -1};
    if (kind == KERNEL_CONV || kind == KERNEL_LINEAR) {
        k->w = xalloc(sizeof *k->w);
        *k->w = (WeightPart){.out.node = -1, .x = -1, .dz = -1, .wparam = -1, .bparam = -1, .fold_stop = -1};
    }
    if (kind == KERNEL_CONV) {
        k->conv = xalloc(sizeof *k->conv);
        *k->conv = (ConvPart){.xg = -1, .zg = -1, .dx = -1, .work = -1};
    } else if (kind == KERNEL_LINEAR) {
        k->linear = xalloc(sizeof *k->linear);
        *k->linear = (LinearPart){.y = -1, .dx = -1};
    } else if (kind == KERNEL_LOSS) {
        k->loss = xalloc(sizeof *k->loss);
    }
    return k;
}

/* Whether a pass makes op's output: it is an anchor, and no weight op's out way ends there. */
static bool wants_pass(const Flow *f, int op)
{
    return f->anchor[op] && f->node[op] < 0;
}

static void count_readers(Flow *f, const Kernel *k)
{
    for (int w = -1; w < k->nin; w++) {
        const Way *way = w < 0 ? kernel_out(k) : &k->in[w];
        if (way->node >= 0)
            f->list[way->node].readers++;
        for (int i = w < 0 ? 0 : way->grad; i < way->n; i++)
            for (int s = 0; s < way->link[i].nside; s++)
                f->list[way->link[i].side[s].way.node].readers++;
    }
}

/* A norm over a node, whose channel 0 is channel `first` of the norm. */
static void place_norm(Tensor *nd, const Graph *g, int op, int first)
{
    if (op_is_image_norm(g->op[op].kind)) {
        *PUSH(nd->image_norm, nd->nimage_norm) = op;
        return;
    }
    int n = nd->nnorm;
    *PUSH(nd->norm, nd->nnorm) = op;
    *PUSH(nd->norm_first, n) = first;
}

/* Norms over each node. */
static void place_norms(Flow *f, const Kernel *k)
{
    for (int w = 0; w < k->nin; w++) {
        const Way *way = &k->in[w];
        for (int i = way->grad; i < way->n; i++) {
            const Link *l = &way->link[i];
            if (!takes_statistics(f, l->op))
                continue;
            if (i > way->grad)
                BUG("%s normalises what is no node", f->g->op[l->op].path);
            place_norm(&f->list[way->node], f->g, l->op, l->first);
        }
    }
}

static void side_norms(Flow *f, const Way *way)
{
    for (int i = way->node < 0 ? 0 : way->grad; i < way->n; i++)
        for (int s = 0; s < way->link[i].nside; s++) {
            const Way *side = &way->link[i].side[s].way;
            if (side->n > side->grad && takes_statistics(f, side->link[side->grad].op))
                place_norm(&f->list[side->node], f->g, side->link[side->grad].op, 0);
        }
}

/* What a kernel adds to the size of the plan: stages that it walks, tensors that it reads. */
static int64_t walks(const Kernel *k)
{
    int64_t n = kernel_out(k)->n + (int64_t)READ_WALKS * k->nin;

    for (int w = 0; w < k->nin; w++)
        n += k->in[w].n;
    return n;
}

/* A plan that is larger than WALKS_MOST ends at the layer with which it becomes so. */
static bool too_large(const Graph *g, const Kernel *k, int64_t all)
{
    if (all <= WALKS_MOST)
        return false;
    if (k->nin > 1)
        diag_error(g->op[k->op].mark,
                   "a conv of kernel 1 after some repeats (transition), so that what follows reads one tensor; or a "
                   "smaller 'repeat'",
                   "the plan is too large: every layer after a concat reads each of the tensors that it joins, %d here",
                   k->nin);
    else
        diag_error(g->op[k->op].mark, "a smaller 'repeat', or fewer stages between one conv and the next",
                   "the plan is too large: its kernels walk %lld stages up to here, and at most %d are planned",
                   (long long)all, WALKS_MOST);
    return true;
}

bool flow_build(Plan *p, bool infer)
{
    const Graph *g = p->g;
    const size_t n = (size_t)g->nop;
    Flow flow = {.g = g, .p = p, .infer = infer}, *f = &flow;
    Kernel *list = NULL;
    int nlist = 0;
    int64_t size = 0;

    f->uses = xalloc(n * sizeof(int));
    f->reader = xalloc(n * sizeof(int));
    f->solid = xalloc(n);
    if (!infer)
        p->sum_why = xalloc(n * sizeof *p->sum_why);
    f->anchor = xalloc(n);
    f->by_side = xalloc(n);
    f->padded = xalloc(n);
    f->main = xalloc(n * sizeof(int));
    f->fused = xalloc(n * sizeof(int));
    f->node = xalloc(n * sizeof(int));
    for (int i = 0; i < g->nop; i++)
        f->node[i] = -1;
    count_uses(f);
    find_anchors(f);
    add_node(f, 0, 0);
    if (f->anchor[0]) { /* norms read the input: nobody makes it, but its statistics are taken */
        Kernel *k = add_kernel(&list, &nlist, KERNEL_PASS, 0);
        add_way(&k->in, &k->nin, begin_way(f, 0));
        close_ways(k->in, k->nin, g->op[0].shape.c);
        k->node = 0;
    }
    for (int i = 1; i < g->nop; i++) {
        const bool weight = is_weight(g, i), loss = g->op[i].kind == OP_LOSS;
        if (!weight && !loss && !wants_pass(f, i))
            continue;
        const bool result = loss && infer; /* where no kernel makes it as one tensor, a pass does */
        if (result) {
            p->logits = f->node[g->op[i].in];
            if (p->logits >= 0)
                break;
            f->solid[g->op[i].in] = true;
        }
        Kernel *k = add_kernel(&list, &nlist,
                               !weight                    ? (loss && !infer ? KERNEL_LOSS : KERNEL_PASS)
                               : g->op[i].kind == OP_CONV ? KERNEL_CONV
                                                          : KERNEL_LINEAR,
                               result ? g->op[i].in : i);
        if (k->kind == KERNEL_PASS) {
            build_pass(f, k);
        } else {
            ways_to(f, g->op[i].in, &k->in, &k->nin);
            close_ways(k->in, k->nin, g->op[g->op[i].in].shape.c);
        }
        if (weight)
            build_out(f, k);
        size += walks(k);
        if (too_large(g, k, size))
            return false;
        if (!loss || infer) {
            k->node = f->n - 1;
            f->list[k->node].maker = nlist - 1;
        }
        if (loss && infer)
            p->logits = k->node;
        count_readers(f, k);
        place_norms(f, k);
        for (int w = 0; w < k->nin; w++)
            side_norms(f, &k->in[w]);
        side_norms(f, kernel_out(k));
    }
    if (infer) {
        p->infer_node = f->list, p->ninfer_node = f->n;
        p->infer = list, p->ninfer = nlist;
    } else {
        p->node = f->list, p->nnode = f->n;
        p->kernel = list, p->nkernel = nlist;
    }
    return true;
}
