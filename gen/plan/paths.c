/* paths.c - by which paths a kernel gets at what it reads.
 *
 * needs: anchors, and the tensors so far. sets: nothing; flow.c asks.
 *
 * A concat is no op here but a list of paths, each with its channels' place; what stands after it is done on each path
 * alone, as all ops but weight ops and sums work on a channel by itself. */
#include "flow_parts.h"

static void push_link(Path *w, Link link, Shape shape)
{
    int n = w->n;

    *PUSH(w->link, n) = link;
    n = w->n + 1;
    *PUSH(w->shape, n) = shape;
    w->n++;
}

Path path_begin(const Flow *f, int tensor)
{
    const Tensor *nd = &f->list[tensor];
    Path w = {.tensor = tensor};
    int n = 0;

    *PUSH(w.shape, n) = nd->shape[0];
    for (int i = 0; i < nd->nlink; i++)
        push_link(&w, nd->link[i], nd->shape[i + 1]);
    w.grad = w.n;
    return w;
}

static Skip make_skip(const Flow *f, int v)
{
    int *op = NULL, n = 0, pad = -1;

    while (f->tensor[v] < 0 && flow_is_point(f->g, v)) {
        *PUSH(op, n) = v;
        v = f->g->op[v].in;
    }
    if (f->tensor[v] < 0) {
        if (f->g->op[v].kind != OP_PAD)
            BUG("%s cannot be read by the side", f->g->op[v].path);
        pad = v;
        v = f->g->op[v].in;
    }
    Skip s = {.seen = xalloc(sizeof *s.seen), .path = path_begin(f, f->tensor[v]), .pad = pad};
    if (pad >= 0) {
        if (s.path.n)
            BUG("%s pads what is not stored", f->g->op[pad].path);
        s.path.shape[0] = f->g->op[pad].shape;
    }
    while (n-- > 0)
        if (!f->infer || f->g->op[op[n]].kind != OP_DROP)
            push_link(&s.path, (Link){.op = op[n]}, f->g->op[op[n]].shape);
    s.path.total = s.path.shape[s.path.n].c;
    return s;
}

/* The op's link at the end of a path. */
void path_extend(const Flow *f, Path *w, int v)
{
    const Op *op = &f->g->op[v];
    Link link = {.op = v, .first = w->first};
    Shape shape = op->shape;

    if (f->infer && op->kind == OP_DROP)
        return;
    if (op->kind == OP_ADD)
        for (int k = 0; k < op->nin; k++)
            if (k != f->main[v])
                *PUSH(link.skip, link.nskip) = make_skip(f, op->ins[k]);
    if (op->kind == OP_FLATTEN) {
        const Shape in = w->shape[w->n];
        shape.c = in.c * in.h * in.w;
        w->first *= in.h * in.w;
    } else if (op->kind != OP_PAD) {
        shape.c = w->shape[w->n].c;
    }
    push_link(w, link, shape);
}

void path_add(Path **paths, int *n, Path w)
{
    *PUSH(*paths, *n) = w;
}

/* The paths that end at v. Stages are walked without recursion; what recurs is a concat in a concat. */
void paths_to(const Flow *f, int v, Path **paths, int *n)
{
    const Graph *g = f->g;
    const int from = *n;
    int *stage = NULL, nstage = 0; /* from v back */

    for (; f->tensor[v] < 0; v = g->op[v].kind == OP_ADD ? g->op[v].ins[f->main[v]] : g->op[v].in) {
        if (g->op[v].kind == OP_CONCAT)
            break;
        if (flow_is_weight(g, v))
            BUG("%s is no node", g->op[v].path);
        *PUSH(stage, nstage) = v;
    }
    if (f->tensor[v] < 0) {
        int first = 0;
        for (int k = 0; k < g->op[v].nin; k++) {
            const int begin = *n;
            paths_to(f, g->op[v].ins[k], paths, n);
            for (int i = begin; i < *n; i++)
                (*paths)[i].first += first;
            first += g->op[g->op[v].ins[k]].shape.c;
        }
    } else {
        path_add(paths, n, path_begin(f, f->tensor[v]));
    }
    while (nstage-- > 0) {
        const Op *op = &g->op[stage[nstage]];
        if ((op->kind == OP_ADD || op->kind == OP_PAD) && *n - from != 1)
            BUG("%s reads %d ways", op->path, *n - from);
        for (int i = from; i < *n; i++)
            path_extend(f, &(*paths)[i], stage[nstage]);
    }
}

void paths_close(Path *paths, int n, int channels)
{
    for (int i = 0; i < n; i++)
        paths[i].total = channels;
}
