/* flow.c - graph -> tensors and kernels: what is made where, and by which paths each kernel gets at what it reads.
 *
 * needs: a checked graph after grad.
 * sets:  Plan.tensor, .kernel (or of inference .infer_node, .infer) with their paths; no passes over pixels, no images,
 * no offsets.
 *
 * anchors.c says what must be a tensor, paths.c how one gets from there to a value, stored.c what is kept of it. The
 * out path of a weight op ends at its tensor: at an anchor, or in training at the tensor that is best kept, or at
 * inference where the next kernel begins. Every other anchor is made by a pass. */
#include "flow_parts.h"
#include "passes.h"

/* ---- tensors ---- */

static Tensor *add_tensor(Flow *f, int op, int key)
{
    f->tensor[op] = f->n;
    Tensor *nd = PUSH(f->list, f->n);
    *nd = (Tensor){.op = op, .key = key, .maker = -1, .stored = true, .root = f->n - 1, .stored_op = op, .image = -1};
    nd->shape = xalloc(sizeof *nd->shape);
    nd->shape[0] = f->g->op[op].shape;
    nd->anchor = f->anchor[op];
    nd->as_skip = f->as_skip[op];
    nd->grad = f->g->op[op].output_grad && !f->infer;
    return nd;
}

/* The value after v on a weight op's out path, or -1 where the path ends. */
static int next_out(const Flow *f, int w, int v)
{
    const int r = f->reader[v];

    if (f->anchor[v] || f->uses[v] != 1)
        return -1;
    if (flow_is_point(f->g, r) || op_is_window(f->g, r))
        return r;
    return f->g->op[r].kind == OP_ADD && f->fused[r] == w && f->g->op[r].ins[f->main[r]] == v ? r : -1;
}

/* A weight op's out path, and its tensor. */
static void build_out(Flow *f, Kernel *k)
{
    const Graph *g = f->g;
    Path w = {.tensor = -1};
    int n = 0, end = k->op, after_sum = 0, after_windows = 0;

    *PUSH(w.shape, n) = g->op[k->op].shape;
    /* nothing but dropout and folded norms so far; into a step's gates, or a table, nothing is folded */
    bool folding = f->p->fold && !kernel_is_apart(k);
    for (int v = k->op; (v = next_out(f, k->op, v)) >= 0;) {
        end = v;
        if (f->infer && folding && op_is_batch_norm(g->op[v].kind)) {
            *PUSH(k->w->fold, k->w->nfold) = v;
            continue;
        }
        if (folding && g->op[v].kind != OP_DROP)
            k->w->fold_stop = v;
        folding = folding && g->op[v].kind == OP_DROP;
        path_extend(f, &w, v);
        if (g->op[v].kind == OP_ADD)
            after_sum = w.n;
        if (op_is_window(g, v))
            after_windows = w.n;
    }
    w.total = w.shape[w.n].c;
    if (f->infer) {
        Tensor *nd = add_tensor(f, end, k->op);
        nd->shape[0] = w.shape[w.n];
        k->w->out = w;
        return;
    }
    const bool anchored = f->anchor[end], many = anchored && (f->uses[end] > 1 || f->as_skip[end]);
    const int least = f->padded[end] ? w.n : many && after_windows > after_sum ? after_windows : after_sum;
    const char *least_why = f->padded[end]      ? "a pad reads the last as it is stored"
                            : least > after_sum ? "several ops read what stands after a window"
                            : after_sum         ? "it stands before a sum, which would read all its terms again"
                                                : NULL;
    const Stores stores = stores_list(g, &w);
    int p = stores_choose(&w, &stores, least);
    int u = anchored ? w.n : p;
    if (p < 0) { /* others read it as it is, and the stages before need more in backward: a pass makes it */
        p = u = stores_choose(&w, &stores, after_sum);
        f->anchor[u ? w.link[u - 1].op : k->op] |= ANCHOR_CUT;
    }
    const int value = u ? w.link[u - 1].op : k->op;
    f->anchor[value] |= anchored ? 0 : ANCHOR_STORED;
    Tensor *nd = add_tensor(f, value, k->op);
    stores_choices(k->op, &w, &stores, least, nd);
    nd->least_why = least_why;
    nd->why = !anchored || u == w.n ? stored_why(f, k->op, &w, &stores, p, anchored)
                                    : "what others read stands after it, and a pass stores that";
    nd->stored_op = p ? w.link[p - 1].op : k->op;
    nd->nlink = u - p;
    nd->link = w.link + p;
    nd->shape = w.shape + p;
    for (int i = 0; i < p; i++)
        if (op_need(&g->op[w.link[i].op]) == NEED_ROUTE)
            *PUSH(nd->route, nd->nroute) = w.link[i].op;
    nd->route_slot = xalloc(sizeof *nd->route_slot * (size_t)(nd->nroute + 1));
    w.n = u;
    w.total = w.shape[u].c;
    k->w->out = w;
    k->w->out.grad = p; /* of an out path: the stored value */
}

/* A tensor that no weight op makes. It is stored unless its readers can follow the path to it by themselves. */
static void build_pass(Flow *f, Kernel *k)
{
    const Graph *g = f->g;

    paths_to(f, k->op, &k->in, &k->nin);
    paths_close(k->in, k->nin, g->op[k->op].shape.c);
    Tensor *nd = add_tensor(f, k->op, k->op);
    nd->why = k->nin > 1 ? "a concat that is read as one tensor" : "";
    if (f->infer)
        return;
    const Path *w = &k->in[0];
    if (w->n > RECOMPUTE_MOST) {
        nd->why = "recomputing it would walk too many stages";
        return;
    }
    bool sums = false, windows = false;
    for (int i = 0; i < w->n; i++) { /* what its readers would go through, from what is stored on */
        sums |= g->op[w->link[i].op].kind == OP_ADD;
        windows |= op_is_window(g, w->link[i].op);
    }
    if (k->nin > 1 || sums || (windows && (f->uses[k->op] > 1 || f->as_skip[k->op]))) {
        nd->why = k->nin > 1 ? nd->why
                  : sums     ? "it is a sum: recomputing it would read all its terms again"
                             : "several ops read what stands after a window";
        return;
    }
    if (f->padded[k->op]) {
        nd->why = "a pad reads it";
        return;
    }
    nd->why = "not stored: its readers recompute it";
    nd->stored = false;
    nd->root = f->list[w->tensor].root;
    nd->stored_op = f->list[nd->root].stored_op;
    nd->link = w->link;
    nd->shape = w->shape;
    nd->nlink = w->n;
}

/* ---- kernels ---- */

static Kernel *add_kernel(Kernel **list, int *n, KernelKind kind, int op)
{
    Kernel *k = PUSH(*list, *n);

    *k = (Kernel){.kind = kind, .op = op, .tensor = -1, .trace_core = -1, .result = -1};
    if (kind <= KERNEL_EMBED) {
        k->w = xalloc(sizeof *k->w);
        *k->w = (WeightPart){.out.tensor = -1, .x = -1, .dz = -1, .wparam = -1, .bparam = -1, .fold_stop = -1};
    }
    if (kind == KERNEL_CONV) {
        k->conv = xalloc(sizeof *k->conv);
        *k->conv = (ConvPart){.xg = -1, .zg = -1, .dx = -1, .work = -1};
    } else if (kind <= KERNEL_EMBED) {
        k->rows = xalloc(sizeof *k->rows);
        *k->rows = (RowsPart){.y = -1, .dx = -1};
    } else if (kind == KERNEL_LOSS) {
        k->loss = xalloc(sizeof *k->loss);
    }
    if (kind == KERNEL_RECURRENT)
        k->recurrent = xalloc(sizeof *k->recurrent);
    return k;
}

/* Whether a pass makes op's output: it is an anchor, and no weight op's out path ends there. */
static bool wants_pass(const Flow *f, int op)
{
    return f->anchor[op] && f->tensor[op] < 0;
}

static void count_readers(Flow *f, const Kernel *k)
{
    for (int w = -1; w < k->nin; w++) {
        const Path *path = w < 0 ? kernel_out(k) : &k->in[w];
        if (path->tensor >= 0)
            f->list[path->tensor].readers++;
        for (int i = w < 0 ? 0 : path->grad; i < path->n; i++)
            for (int s = 0; s < path->link[i].nskip; s++)
                f->list[path->link[i].skip[s].path.tensor].readers++;
    }
}

/* A norm over a tensor, whose channel 0 is channel `first` of the norm. */
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

/* Norms over each tensor. */
static void place_norms(Flow *f, const Kernel *k)
{
    for (int w = 0; w < k->nin; w++) {
        const Path *path = &k->in[w];
        for (int i = path->grad; i < path->n; i++) {
            const Link *l = &path->link[i];
            if (!flow_takes_statistics(f, l->op))
                continue;
            if (i > path->grad)
                BUG("%s normalises what is no node", f->g->op[l->op].path);
            place_norm(&f->list[path->tensor], f->g, l->op, l->first);
        }
    }
}

static void skip_norms(Flow *f, const Path *path)
{
    for (int i = path->tensor < 0 ? 0 : path->grad; i < path->n; i++)
        for (int s = 0; s < path->link[i].nskip; s++) {
            const Path *skip = &path->link[i].skip[s].path;
            if (skip->n > skip->grad && flow_takes_statistics(f, skip->link[skip->grad].op))
                place_norm(&f->list[skip->tensor], f->g, skip->link[skip->grad].op, 0);
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
    f->as_skip = xalloc(n);
    f->padded = xalloc(n);
    f->main = xalloc(n * sizeof(int));
    f->fused = xalloc(n * sizeof(int));
    f->tensor = xalloc(n * sizeof(int));
    for (int i = 0; i < g->nop; i++)
        f->tensor[i] = -1;
    anchors_count(f);
    anchors_find(f);
    add_tensor(f, 0, 0);
    if (f->anchor[0]) { /* norms read the input: nobody makes it, but its statistics are taken */
        Kernel *k = add_kernel(&list, &nlist, KERNEL_PASS, 0);
        path_add(&k->in, &k->nin, path_begin(f, 0));
        paths_close(k->in, k->nin, g->op[0].shape.c);
        k->tensor = 0;
    }
    for (int i = 1; i < g->nop; i++) {
        const bool weight = flow_is_weight(g, i), loss = g->op[i].kind == OP_LOSS;
        if (!weight && !loss && !wants_pass(f, i))
            continue;
        const bool result = loss && infer; /* where no kernel makes it as one tensor, a pass does */
        if (result) {
            p->logits = f->tensor[g->op[i].in];
            if (p->logits >= 0)
                break;
            f->solid[g->op[i].in] = true;
        }
        Kernel *k = add_kernel(&list, &nlist,
                               !weight                      ? (loss && !infer ? KERNEL_LOSS : KERNEL_PASS)
                               : g->op[i].kind == OP_CONV   ? KERNEL_CONV
                               : g->op[i].kind == OP_LINEAR ? KERNEL_LINEAR
                               : g->op[i].kind == OP_EMBED  ? KERNEL_EMBED
                                                            : KERNEL_RECURRENT,
                               result ? g->op[i].in : i);
        if (k->kind == KERNEL_PASS) {
            build_pass(f, k);
        } else {
            paths_to(f, g->op[i].in, &k->in, &k->nin);
            paths_close(k->in, k->nin, g->op[g->op[i].in].shape.c);
        }
        if (weight)
            build_out(f, k);
        size += walks(k);
        if (too_large(g, k, size))
            return false;
        if (!loss || infer) {
            k->tensor = f->n - 1;
            f->list[k->tensor].maker = nlist - 1;
        }
        if (loss && infer)
            p->logits = k->tensor;
        count_readers(f, k);
        place_norms(f, k);
        for (int w = 0; w < k->nin; w++)
            skip_norms(f, &k->in[w]);
        skip_norms(f, kernel_out(k));
    }
    if (infer) {
        p->infer_tensor = f->list, p->ninfer_tensor = f->n;
        p->infer = list, p->ninfer = nlist;
    } else {
        p->tensor = f->list, p->ntensor = f->n;
        p->kernel = list, p->nkernel = nlist;
    }
    return true;
}
