/* pass_backward.c - a path, backward: a gradient is taken from its end to its beginning, and what it needs is
 * recomputed.
 *
 * needs: flow; of windows the forward chain, whose images it reads. sets: nothing; chains.c says which paths. */
#include "fuse.h"

/* Where the input of a window op lies, as the forward chain left it. */
static Place value_image(const Chain *values, int window)
{
    for (int r = 0; r < values->n; r++)
        if (values->pass[r].window == window)
            return values->pass[r].from;
    return no_place;
}

static bool is_norm(const Fuse *f, int op)
{
    return op_is_norm(f->g->op[op].kind);
}

bool tensor_has_norms(const Tensor *nd)
{
    return nd->nnorm + nd->nimage_norm > 0;
}

/* A norm whose gradient needs sums. */
static bool takes_sums(const Fuse *f, int op)
{
    return is_norm(f, op) && !op_is_still(&f->g->op[op]);
}

/* Whether backward follows a path: its tensor's gradient is wanted, or a norm stands on it that learns. */
bool path_goes_back(const Fuse *f, const Path *w)
{
    if (w->tensor < 0 || f->tensor[w->tensor].grad)
        return true;
    for (int i = w->grad; i < w->n; i++) {
        if (op_learns(&f->g->op[w->link[i].op]))
            return true;
        for (int s = 0; s < w->link[i].nskip; s++)
            if (path_goes_back(f, &w->link[i].skip[s].path))
                return true;
    }
    return false;
}

/* What a join's operand is given: g of the sum, back through the skip operand's stages. */
static void skip_back(Fuse *f, PixelPass *r, const Skip *s)
{
    const Path *w = &s->path;
    const int skip = pass_skip(f, r, s), g = ++r->grads;

    for (int i = w->grad; i < w->n; i++) {
        const Need need = op_need(&f->g->op[w->link[i].op]);
        if (need == NEED_INPUT || need == NEED_SIGN)
            pass_skip_value(f, r, skip, i);
        else if (need == NEED_OUTPUT)
            pass_skip_value(f, r, skip, i + 1);
    }
    pass_step(r, STEP_SPLIT, -1, -1, -1)->g = g;
    for (int i = w->n - 1; i >= w->grad && f->g->op[w->link[i].op].output_grad; i--) {
        const Link *l = &w->link[i];
        const int *value = r->skip[skip].value;
        if (is_norm(f, l->op)) {
            if (takes_sums(f, l->op))
                pass_step(r, STEP_SUMS, l->op, value[i], 0)->g = g;
            pass_step(r, STEP_SCALE, l->op, value[i], 0)->g = g;
        } else {
            pass_step(r, STEP_BACK, l->op, value[i], value[i + 1])->g = g;
        }
    }
    if (!f->tensor[w->tensor].grad)
        return;
    const Place to = fuse_gradient(f, w->tensor, "skip");
    Step *give = pass_step(r, STEP_GIVE, s->pad, -1, -1);
    give->g = g;
    give->skip = skip;
    give->in2 = to.port;
    give->adds = fuse_gives(f, to.port);
}

/* The last value, from value u on, that going back through links [low, end) reads; -1: it reads none. */
static int last_read(const Graph *g, const Path *w, int low, int end, int u)
{
    for (int i = end - 1; i >= low; i--) {
        const Need what = op_need(&g->op[w->link[i].op]);
        if (what == NEED_OUTPUT && i + 1 >= u)
            return i + 1;
        if ((what == NEED_SIGN || what == NEED_INPUT) && i >= u)
            return i;
    }
    return -1;
}

/* The gradient goes back through links [low, end), which stand in one pass. sign_of_stored: masks of ops before the
 * stored tensor are taken from that. */
static void back_links(Fuse *f, PixelPass *r, const Backward *b, int low, int end, bool sign_of_stored)
{
    const Graph *g = f->g;
    const Path *w = b->path;

    for (int i = end - 1; i >= low && g->op[w->link[i].op].output_grad; i--) {
        const Link *l = &w->link[i];
        if (g->op[l->op].kind == OP_ADD) {
            for (int s = 0; s < l->nskip; s++)
                if (path_goes_back(f, &l->skip[s].path))
                    skip_back(f, r, &l->skip[s]);
        } else if (is_norm(f, l->op)) {
            if (takes_sums(f, l->op))
                pass_step(r, STEP_SUMS, l->op, i, 0)->first = l->first;
            pass_step(r, STEP_SCALE, l->op, i, 0)->first = l->first;
        } else if (i >= b->origin || op_need(&g->op[l->op]) != NEED_SIGN) {
            pass_step(r, STEP_BACK, l->op, i, i + 1)->first = l->first;
        } else if (sign_of_stored) {
            pass_step(r, STEP_BACK, l->op, b->origin, b->origin);
        }
    }
}

void pass_backward(Fuse *f, Chain *c, Image **images, int *nimages, const Backward *b)
{
    const Graph *g = f->g;
    const Path *w = b->path;
    int end = b->b; /* this pass covers links [start, end), after the window at start - 1 if there is one */
    Place from = b->from;

    for (int n = 0;; n++) {
        int start = end;
        while (start > 0 && !op_is_window(g, w->link[start - 1].op))
            start--;
        const int window = start > 0 ? w->link[start - 1].op : -1;
        const bool through = window >= 0 && start - 1 >= b->a && g->op[window].output_grad;
        const int low = start > b->a ? start : b->a; /* links [low, end) are walked back here */
        PixelPass *r = pass_add(c, xprintf("%s%d", b->name, n), w->shape[end], start, w->n + 1);
        r->back = true;
        r->from = from;
        r->window = window;

        /* the values at hand: v[u], or none */
        int u = -1;
        if (b->origin >= start && b->origin <= end) {
            u = b->origin;
            r->value = b->stored;
        } else if (b->origin < start) {
            u = start;
            r->value = value_image(b->values, window);
        }
        int need = b->correct && end == b->b ? end : u >= 0 ? last_read(g, w, low, end, u) : -1;
        bool sign_of_stored = false; /* masks of ops before the stored tensor, taken from it */
        if (b->origin >= start && b->origin <= end)
            for (int i = b->a; i < b->origin; i++)
                sign_of_stored |= op_need(&g->op[w->link[i].op]) == NEED_SIGN;
        const bool routes = through && op_need(&g->op[window]) == NEED_ROUTE && r->value.where == AT_IMAGE;
        if (need < 0 && !sign_of_stored && !routes)
            r->value = no_place;
        else if (need < 0)
            need = u;
        r->first = u >= 0 ? u : start;
        for (int i = u; i < need; i++)
            pass_link(f, r, w, i);

        const Tensor *nd = b->correct && end == b->b ? &f->tensor[f->k->tensor] : NULL;
        if (nd && nd->nnorm)
            pass_step(r, STEP_CORRECT, -1, end, 0)->first = w->first;
        if (nd && nd->nimage_norm)
            pass_step(r, STEP_CORRECT_IMAGE, -1, end, 0)->first = w->first;
        back_links(f, r, b, low, end, sign_of_stored);
        /* Masks of ops before windows commute with these: they act where the gradient is not zero. */
        for (int i = low - 1; sign_of_stored && i >= b->a; i--)
            if (op_need(&g->op[w->link[i].op]) == NEED_SIGN)
                pass_step(r, STEP_BACK, w->link[i].op, b->origin, b->origin);
        if (through) {
            r->route = start - 1 < b->origin && op_need(&g->op[window]) == NEED_ROUTE;
            Image m = image_for_window(g, w->shape[start - 1], window, xprintf("%s_scatter", r->name));
            m.minus_inf = m.filled = false; /* cleared whole for each image */
            r->scatter_image = image_add(images, nimages, m);
            from = image_place(r->scatter_image, w->shape[start - 1]);
            end = start - 1;
            continue;
        }
        r->to = b->to;
        r->adds = b->adds;
        r->bias_grad = b->bias_grad;
        return;
    }
}
