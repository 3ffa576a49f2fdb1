/* overlap.c - proves that tensors that are alive at once do not lie in one place.
 *
 * needs: a complete plan. sets: nothing.
 *
 * It knows nothing of lifetimes. It goes through the steps of a training step, and of inference, and keeps for each
 * range of the arena whose value was written there last. What a step reads must be its own, whole, after all that the
 * step writes. */
#include "plan.h"

#include <string.h>

/* A value in memory: the plan's offset stands for it. */
typedef struct Value {
    const int64_t *at;
    int64_t floats;
    const char *name;
} Value;

typedef struct Piece {
    int64_t from, to;
    const int64_t *owner;
} Piece;

typedef struct Memory {
    Piece *piece; /* in order, apart */
    int n, room;
    Value *read, *write; /* of the step at hand */
    int nread, nwrite, room_read, room_write;
    int64_t all;
    const char *wrong; /* what was found first */
} Memory;

static void add_value(Value **list, int *n, int *room, Value v)
{
    if (*n == *room) {
        *room = *room ? 2 * *room : 64;
        *list = xgrow(*list, sizeof **list * (size_t)*n, sizeof **list * (size_t)*room);
    }
    (*list)[(*n)++] = v;
}

static void reads(Memory *m, const int64_t *at, int64_t floats, const char *name)
{
    if (floats > 0)
        add_value(&m->read, &m->nread, &m->room_read, (Value){at, floats, name});
}

static void writes(Memory *m, const int64_t *at, int64_t floats, const char *name)
{
    if (floats > 0)
        add_value(&m->write, &m->nwrite, &m->room_write, (Value){at, floats, name});
    reads(m, at, floats, name); /* nothing else of the step may lie there */
}

/* The first piece that ends after `at`. */
static int piece_at(const Memory *m, int64_t at)
{
    int low = 0, high = m->n;

    while (low < high) {
        const int mid = (low + high) / 2;
        if (m->piece[mid].to <= at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void take(Memory *m, const Value *v)
{
    const int64_t from = *v->at, to = from + v->floats;
    const int first = piece_at(m, from);
    Piece now[3];
    int last = first, n = 0;

    while (last < m->n && m->piece[last].from < to)
        last++;
    if (first < last && m->piece[first].from < from)
        now[n++] = (Piece){m->piece[first].from, from, m->piece[first].owner};
    now[n++] = (Piece){from, to, v->at};
    if (first < last && m->piece[last - 1].to > to)
        now[n++] = (Piece){to, m->piece[last - 1].to, m->piece[last - 1].owner};
    while (m->n + n > m->room) {
        const int room = m->room ? 2 * m->room : 256;
        m->piece = xgrow(m->piece, sizeof *m->piece * (size_t)m->n, sizeof *m->piece * (size_t)room);
        m->room = room;
    }
    memmove(&m->piece[first + n], &m->piece[last], sizeof *m->piece * (size_t)(m->n - last));
    memcpy(&m->piece[first], now, sizeof *now * (size_t)n);
    m->n += n - (last - first);
}

static bool whole(const Memory *m, const Value *v)
{
    int64_t at = *v->at;
    const int64_t to = at + v->floats;

    for (int i = piece_at(m, at); at < to; at = m->piece[i++].to)
        if (i == m->n || m->piece[i].from > at || m->piece[i].owner != v->at)
            return false;
    return true;
}

/* The end of a step, which a kernel takes. */
static void end_step(Memory *m, const char *kernel, const char *step)
{
    for (int i = 0; i < m->nwrite; i++) {
        const Value *v = &m->write[i];
        if (!m->wrong && (*v->at < 0 || *v->at + v->floats > m->all))
            m->wrong = xprintf("%s is written outside the arena", v->name);
        take(m, v);
    }
    for (int i = 0; i < m->nread && !m->wrong; i++)
        if (!whole(m, &m->read[i]))
            m->wrong = xprintf("%s of %s: %s is not there: something else lies in its place, or it was never written",
                               step, kernel, m->read[i].name);
    m->nread = m->nwrite = 0;
}

/* ---- training ---- */

typedef struct Train {
    const Plan *p;
    Memory m;
} Train;

static const char *name_of(const Plan *p, const Tensor *nd)
{
    return p->g->op[nd->op].path;
}

static void read_value(Train *t, int tensor)
{
    const Tensor *root = &t->p->tensor[t->p->tensor[tensor].root];

    if (root->op > 0) /* the network's input is the caller's */
        reads(&t->m, &root->slot, blocked_floats(root->shape[0]), name_of(t->p, root));
}

static void touch_gradient(Train *t, int tensor, bool read, bool write)
{
    const Tensor *nd = &t->p->tensor[tensor];
    const int64_t floats = blocked_floats(nd->shape[nd->nlink]);

    if (read)
        reads(&t->m, &nd->grad_slot, floats, xprintf("the gradient of %s", name_of(t->p, nd)));
    if (write && !read)
        writes(&t->m, &nd->grad_slot, floats, xprintf("the gradient of %s", name_of(t->p, nd)));
}

static void walk(Train *t, const Kernel *k, const Chain *c)
{
    const Graph *g = t->p->g;

    for (int i = 0; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        if (r->from.where == AT_SLOT && r->back)
            touch_gradient(t, k->port[r->from.port].tensor, true, false);
        else if (r->from.where == AT_SLOT)
            read_value(t, k->port[r->from.port].tensor);
        if (r->value.where == AT_SLOT)
            read_value(t, k->port[r->value.port].tensor);
        for (int s = 0; s < r->nstep; s++) {
            const Step *step = &r->step[s];
            if (step->kind == STEP_SKIP)
                read_value(t, r->skip[step->skip].operand->path.tensor);
            if (step->kind == STEP_GIVE)
                touch_gradient(t, k->port[step->in2].tensor, step->adds, true);
            if (step->op >= 0 && op_is_image_norm(g->op[step->op].kind)) {
                const Norm *n = plan_norm(t->p, step->op);
                reads(&t->m, &n->slot, (int64_t)CVY_GN_KEPT * g->op[step->op].groups, g->op[step->op].path);
            }
        }
        if (r->back && r->to.where == AT_SLOT)
            touch_gradient(t, k->port[r->to.port].tensor, r->adds, true);
    }
}

static void walk_all(Train *t, const Kernel *k, const Chain *c)
{
    for (int i = 0; i < k->nin && c; i++)
        walk(t, k, &c[i]);
}

static void touch_routes(Train *t, const Kernel *k, bool write)
{
    const Tensor *nd = k->tensor >= 0 ? &t->p->tensor[k->tensor] : NULL;

    for (int r = 0; nd && r < nd->nroute; r++)
        (write ? writes : reads)(&t->m, &nd->route_slot[r], (blocked_floats(t->p->g->op[nd->route[r]].shape) + 3) / 4,
                                 xprintf("the routes of %s", t->p->g->op[nd->route[r]].path));
}

static void forward(Train *t, const Kernel *k, bool again)
{
    const Plan *p = t->p;
    const Tensor *nd = k->tensor > 0 ? &p->tensor[k->tensor] : NULL;

    walk_all(t, k, k->before);
    walk(t, k, kernel_chain(k, CHAIN_AFTER));
    if (nd && nd->stored)
        writes(&t->m, &nd->slot, blocked_floats(nd->shape[0]), name_of(p, nd));
    touch_routes(t, k, true);
    for (int i = 0; k->tensor >= 0 && i < p->tensor[k->tensor].nimage_norm && !again; i++) {
        const Op *op = &p->g->op[p->tensor[k->tensor].image_norm[i]];
        writes(&t->m, &plan_norm(p, p->tensor[k->tensor].image_norm[i])->slot, (int64_t)CVY_GN_KEPT * op->groups,
               op->path);
    }
    if (k->rows) {
        writes(&t->m, &k->rows->mat[MAT_X], k->image[k->w->x].floats, "the rows of x");
        writes(&t->m, &k->rows->mat[MAT_Y], k->image[k->rows->y].floats, "the rows of y");
        if (k->recurrent)
            writes(&t->m, &k->rows->mat[MAT_STEPS], k->recurrent->kept, "what its steps leave");
    }
    end_step(&t->m, k->name, again ? "forward again" : "forward");
}

static void backward(Train *t, const Kernel *k)
{

    for (int i = 0; i < k->nin; i++)
        if (k->learns || k->loss || (k->back_data && k->before[i].n > 1))
            walk(t, k, &k->before[i]);
    walk(t, k, kernel_chain(k, CHAIN_AGAIN));
    walk(t, k, kernel_chain(k, CHAIN_DOUT));
    walk_all(t, k, k->din);
    touch_routes(t, k, false);
    if (k->rows) {
        if (k->learns)
            writes(&t->m, &k->rows->mat[MAT_BACK_X], k->image[k->w->x].floats, "the rows of x");
        if (k->w->dz >= 0)
            writes(&t->m, &k->rows->mat[MAT_DZ], k->image[k->w->dz].floats, "the rows of the gradient");
        if (k->recurrent && k->w->dz >= 0) {
            reads(&t->m, &k->rows->mat[MAT_STEPS], k->recurrent->kept, "what its steps leave");
            writes(&t->m, &k->rows->mat[MAT_WORK], k->recurrent->work, "the room of its steps");
        }
        if (k->rows->dx >= 0)
            writes(&t->m, &k->rows->mat[MAT_DX], k->image[k->rows->dx].floats, "the rows of the input's gradient");
    }
    end_step(&t->m, k->name, "backward");
}

static const char *check_training(const Plan *p)
{
    Train t = {.p = p, .m = {.all = p->image_floats}};

    for (int i = 0; i < p->nstep; i++) {
        const Kernel *k = &p->kernel[p->step[i].kernel];
        if (p->step[i].phase == PHASE_BACKWARD)
            backward(&t, k);
        else if (p->step[i].runs &&
                 k->kind != KERNEL_LOSS) /* what the loss reads and makes is looked at once, backward */
            forward(&t, k, p->step[i].phase == PHASE_AGAIN);
    }
    return t.m.wrong;
}

/* ---- inference ---- */

static const char *check_inference(const Plan *p)
{
    Memory m = {.all = p->scratch_infer};

    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        for (int j = 0; j < k->nport; j++) {
            const Tensor *nd = &p->infer_tensor[k->port[j].tensor];
            if (nd->op > 0)
                (k->port[j].tensor == k->tensor ? writes : reads)(&m, &nd->slot, p->infer_image[nd->image].floats,
                                                                  name_of(p, nd));
        }
        for (int j = 0; k->tensor >= 0 && j < p->infer_tensor[k->tensor].nimage_norm; j++) {
            const Op *op = &p->g->op[p->infer_tensor[k->tensor].image_norm[j]];
            writes(&m, &plan_norm(p, p->infer_tensor[k->tensor].image_norm[j])->infer_slot,
                   (int64_t)CVY_GN_STATS * op->groups, op->path);
        }
        for (int j = 0; j < k->nimage_norm; j++) {
            const Op *op = &p->g->op[k->image_norm[j].op];
            reads(&m, &plan_norm(p, k->image_norm[j].op)->infer_slot, (int64_t)CVY_GN_STATS * op->groups, op->path);
        }
        writes(&m, &k->scratch_at, k->scratch, "scratch");
        end_step(&m, k->name, "inference");
    }
    const Tensor *nd = &p->infer_tensor[p->logits];
    reads(&m, &nd->slot, p->infer_image[nd->image].floats, name_of(p, nd));
    end_step(&m, "the network", "the result");
    return m.wrong;
}

/* ---- scratch ---- */

/* The images of a kernel's scratch, which all live as long as it runs: each begins where those before it have ended. */
static const char *check_scratch(const Kernel *list, int n)
{
    for (int i = 0; i < n; i++) {
        int64_t end = 0;
        for (int j = 0; j < list[i].nimage; j++) {
            const Image *m = &list[i].image[j];
            if (m->row || m->given)
                continue;
            if (m->at < end)
                return xprintf("in the scratch of %s, %s lies over others", list[i].name, m->name);
            end = m->at + m->floats * m->copies;
        }
        if (end > list[i].scratch)
            return xprintf("the images of %s are larger than its scratch", list[i].name);
    }
    return NULL;
}

const char *plan_overlap(const Plan *p)
{
    const char *wrong = check_training(p);

    wrong = wrong ? wrong : check_inference(p);
    wrong = wrong ? wrong : check_scratch(p->kernel, p->nkernel);
    return wrong ? wrong : check_scratch(p->infer, p->ninfer);
}
