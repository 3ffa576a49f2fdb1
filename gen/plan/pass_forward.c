/* pass_forward.c - a path, forward: passes over pixels with their steps, a new one after each window.
 *
 * needs: flow. sets: nothing; chains.c says which paths. */
#include "fuse.h"

/* ---- steps ---- */

Step *pass_step(PixelPass *r, StepKind kind, int op, int in, int out)
{
    Step *s = PUSH(r->step, r->nstep);

    *s = (Step){.kind = kind, .op = op, .in = in, .out = out, .channels = r->shape.c};
    return s;
}

PixelPass *pass_add(Chain *c, const char *name, Shape shape, int first, int next)
{
    PixelPass *r = PUSH(c->pass, c->n);

    *r = (PixelPass){.name = name, .shape = shape, .first = first, .last = first, .next = next, .window = -1};
    r->from = r->value = r->to = no_place;
    r->scatter_image = -1;
    return r;
}

void pass_point(const Fuse *f, PixelPass *r, const Link *l, int in, int out)
{
    const OpKind kind = f->g->op[l->op].kind;
    Step *s = pass_step(r, f->infer && op_is_batch_norm(kind) ? STEP_AFFINE : STEP_FORWARD, l->op, in, out);

    s->first = l->first;
    s->first_lanes = !op_info[kind].keeps_zero && r->shape.c % LANES != 0;
}

/* The skip operand's number in the pass. */
int pass_skip(Fuse *f, PixelPass *r, const Skip *skip)
{
    if (skip->seen->pass == r->name) /* no two passes are called by the same text in memory */
        return skip->seen->at;
    const Place from = fuse_value(f, skip->path.tensor, "skip");
    SkipRead *s = PUSH(r->skip, r->nskip);
    *s = (SkipRead){.operand = skip, .from = from};
    s->value = xalloc(sizeof(int) * (size_t)(skip->path.n + 1));
    for (int i = 0; i <= skip->path.n; i++)
        s->value[i] = -1;
    *skip->seen = (SkipSeen){r->name, r->nskip - 1};
    return r->nskip - 1;
}

/* The number of value i of a skip operand's path in this pass. It and those before it are computed if they are not at
 * hand. */
int pass_skip_value(Fuse *f, PixelPass *r, int skip, int i)
{
    int *value = r->skip[skip].value, from = i;

    while (from >= 0 && value[from] < 0)
        from--;
    while (from < i) {
        value[++from] = r->next++;
        if (from == 0)
            pass_step(r, STEP_SKIP, -1, -1, value[0])->skip = skip;
        else
            pass_point(f, r, &r->skip[skip].operand->path.link[from - 1], value[from - 1], value[from]);
    }
    return value[i];
}

/* Link i of a path that is no window. */
void pass_link(Fuse *f, PixelPass *r, const Path *w, int i)
{
    const Link *l = &w->link[i];

    if (f->g->op[l->op].kind != OP_ADD) {
        pass_point(f, r, l, i, i + 1);
    } else {
        int sum = i;
        for (int s = 0; s < l->nskip; s++) {
            const int skip = pass_skip(f, r, &l->skip[s]), value = pass_skip_value(f, r, skip, l->skip[s].path.n);
            const int out = s + 1 == l->nskip ? i + 1 : r->next++;
            pass_step(r, STEP_ADD, l->op, sum, out)->in2 = value;
            sum = out;
        }
    }
    r->last = i + 1;
}

/* ---- a path ---- */

static void store_step(PixelPass *r, const Forward *fw, int value)
{
    pass_step(r, STEP_STORE, -1, value, 0);
    r->store_first = fw->path->first;
    r->store_total = fw->path->total;
}

void pass_forward(Fuse *f, Chain *c, Image **images, int *nimages, const Forward *fw)
{
    const Graph *g = f->g;
    const Path *w = fw->path;
    PixelPass *r = pass_add(c, xprintf("%s0", fw->name), w->shape[fw->a], fw->a, w->n + 1);

    r->from = fw->from;
    r->bias = fw->bias;
    if (fw->store == fw->a)
        store_step(r, fw, fw->a);
    for (int i = fw->a, n = 1; i < fw->b; i++) {
        const int op = w->link[i].op;
        if (op_is_window(g, op)) {
            const Image m = image_for_window(g, w->shape[i], op, xprintf("%s_image", r->name));
            r->to = image_place(image_add(images, nimages, m), w->shape[i]);
            const Place from = r->to;
            r = pass_add(c, xprintf("%s%d", fw->name, n++), w->shape[i + 1], i + 1, w->n + 1);
            r->from = from;
            r->window = op;
            r->route = fw->keep_route && i < fw->store && op_need(&g->op[op]) == NEED_ROUTE;
        } else {
            pass_link(f, r, w, i);
        }
        if (fw->store == i + 1)
            store_step(r, fw, i + 1);
    }
    if (fw->ends) {
        const Tensor *nd = &f->tensor[f->k->tensor];
        r->stats = nd->nnorm > 0;
        r->image_stats = nd->nimage_norm > 0;
        r->stats_first = w->first;
        if (r->stats)
            pass_step(r, STEP_STATS, -1, fw->b, 0);
        if (r->image_stats)
            pass_step(r, STEP_IMAGE_STATS, -1, fw->b, 0);
    }
    if (fw->to.where != NOWHERE)
        r->to = fw->to;
}
