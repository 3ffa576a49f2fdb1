/* test_memory.c - where a plan puts its tensors, by what the kernels' steps read and write, and in what order they run.
 */
#define _GNU_SOURCE
#include "files.h"
#include "graph.h"
#include "plan_help.h"
#include "words.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- memory ---- */

START_TEST(stored_tensors_do_not_overlap)
{
    Plan *p = plan_of("[3, 16, 16]",
                      "conv: {out: 20, order: conv-maxpool(2)-bn-act}, conv: {out: 7, order: conv-bn-act-bn}, conv: "
                      "33, drop(0.2), bn",
                      "avx512");
    struct {
        int64_t at, end;
    } slot[64];
    int n = 0;

    for (int i = 0; i < p->ntensor; i++) {
        const Tensor *s = &p->tensor[i];
        if (s->op == 0 || !s->stored)
            continue;
        const Shape t = s->shape[0];
        slot[n].at = s->slot;
        slot[n].end = slot[n].at + (int64_t)blocks_of(t.c) * LANES * t.h * t.w;
        n++;
        for (int r = 0; r < s->nroute; r++, n++) {
            const Shape w = p->g->op[s->route[r]].shape;
            slot[n].at = s->route_slot[r];
            slot[n].end = slot[n].at + (int64_t)blocks_of(w.c) * LANES * w.h * w.w / 4;
        }
    }
    ck_assert_int_eq(n, 5);
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(slot[i].at % LANES, 0);
        ck_assert(slot[i].end <= p->image_floats);
        for (int j = 0; j < i; j++)
            ck_assert_msg(slot[i].end <= slot[j].at || slot[j].end <= slot[i].at, "slots %d and %d overlap", i, j);
    }
}
END_TEST

/* ---- memory: lifetimes, by what the kernels' runs read and write ---- */

typedef struct Life {
    const char *what;
    int64_t at, floats;
    int from, to, read; /* steps: the first and the last that touch it, the last that reads a value */
} Life;

typedef struct Lives {
    const Plan *p;
    Life *part;
    int n;
    int *value, *grad, *route; /* of a tensor: its part; route: of the first */
    int *kept;                 /* of an image norm, by op */
} Lives;

static int add_part(Lives *l, const char *what, int64_t at, int64_t floats)
{
    *PUSH(l->part, l->n) = (Life){what, at, floats, INT32_MAX, -1, -1};
    return l->n - 1;
}

static void touch(Lives *l, int part, int step, bool read)
{
    Life *t = &l->part[part];

    t->from = step < t->from ? step : t->from;
    t->to = step > t->to ? step : t->to;
    if (read)
        t->read = step > t->read ? step : t->read;
}

static void touch_value(Lives *l, int tensor, int step, bool read)
{
    const Tensor *root = &l->p->tensor[l->p->tensor[tensor].root];

    if (root->op != 0)
        touch(l, l->value[l->p->tensor[tensor].root], step, read);
}

/* Statistics of images: those that a step takes or gives back are of all image norms over the tensor. */
static void touch_image_norms(Lives *l, const Tensor *nd, int step)
{
    for (int i = 0; i < nd->nimage_norm; i++)
        touch(l, l->kept[nd->image_norm[i]], step, false);
}

static void add_image_norms(Lives *l, bool infer)
{
    const Plan *p = l->p;

    l->kept = xalloc(sizeof(int) * (size_t)p->g->nop);
    for (int i = 0; i < p->nnorm; i++) {
        const Op *o = &p->g->op[p->norm[i].op];
        if (op_is_image_norm(o->kind))
            l->kept[p->norm[i].op] =
                add_part(l, xprintf("statistics of %s", o->path), infer ? p->norm[i].infer_slot : p->norm[i].slot,
                         (infer ? 3 : 5) * (int64_t)o->groups);
    }
}

static void visit(Lives *l, const Kernel *k, const Chain *c, int step)
{
    for (int i = 0; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        if (r->from.where == AT_SLOT && r->back)
            touch(l, l->grad[k->port[r->from.port].tensor], step, false);
        else if (r->from.where == AT_SLOT)
            touch_value(l, k->port[r->from.port].tensor, step, true);
        if (r->value.where == AT_SLOT)
            touch_value(l, k->port[r->value.port].tensor, step, true);
        if (r->to.where == AT_SLOT)
            touch(l, l->grad[k->port[r->to.port].tensor], step, false);
        for (int s = 0; s < r->nstep; s++) {
            const Step *st = &r->step[s];
            if (st->kind == STEP_SKIP)
                touch_value(l, r->skip[st->skip].operand->path.tensor, step, true);
            else if (st->kind == STEP_GIVE)
                touch(l, l->grad[k->port[st->in2].tensor], step, false);
            else if (st->kind == STEP_STORE)
                touch_value(l, k->tensor, step, false);
            else if (st->kind == STEP_IMAGE_STATS || st->kind == STEP_CORRECT_IMAGE)
                touch_image_norms(l, &l->p->tensor[k->tensor], step);
            if (st->op >= 0 && op_is_image_norm(l->p->g->op[st->op].kind))
                touch(l, l->kept[st->op], step, false);
        }
        for (int w = 0; r->route && w < l->p->tensor[k->tensor].nroute; w++)
            if (l->p->tensor[k->tensor].route[w] == r->window)
                touch(l, l->route[k->tensor] + w, step, false);
    }
}

static Lives parts_of(const Plan *p)
{
    const int last = p->nkernel - 1;
    Lives l = {.p = p};

    l.value = xalloc(sizeof(int) * (size_t)p->ntensor);
    l.grad = xalloc(sizeof(int) * (size_t)p->ntensor);
    l.route = xalloc(sizeof(int) * (size_t)p->ntensor);
    for (int i = 1; i < p->ntensor; i++) {
        const Tensor *nd = &p->tensor[i];
        const char *path = p->g->op[nd->op].path;
        l.value[i] = nd->stored ? add_part(&l, path, nd->slot, blocked_floats(nd->shape[0])) : -1;
        l.grad[i] = add_part(&l, xprintf("gradient of %s", path), nd->grad_slot, blocked_floats(nd->shape[nd->nlink]));
        l.route[i] = l.n;
        for (int r = 0; r < nd->nroute; r++)
            add_part(&l, xprintf("routes of %s", path), nd->route_slot[r],
                     (blocked_floats(p->g->op[nd->route[r]].shape) + 3) / 4);
    }
    add_image_norms(&l, false);
    for (int i = 0; i <= last; i++) {
        const Kernel *k = &p->kernel[i];
        const int back = 2 * last - i;
        const bool weights = k->w != NULL;
        visit(&l, k, kernel_chain(k, CHAIN_AFTER), i);
        visit(&l, k, kernel_chain(k, CHAIN_AGAIN), back);
        visit(&l, k, kernel_chain(k, CHAIN_DOUT), back);
        for (int w = 0; w < k->nin; w++) {
            if (k->has_forward)
                visit(&l, k, &k->before[w], i);
            const Chain windows = {k->before[w].pass, k->before[w].n - 1};
            if (weights)
                visit(&l, k, &k->before[w], back);
            else if (k->back_data && k->kind == KERNEL_PASS)
                visit(&l, k, &windows, back);
            visit(&l, k, &k->din[w], back);
        }
        if (k->rows) {
            const struct {
                const char *what;
                int64_t at;
                int image, step;
            } mat[] = {{"x", k->rows->mat[MAT_X], k->w->x, i},
                       {"y", k->rows->mat[MAT_Y], k->rows->y, i},
                       {"x again", k->rows->mat[MAT_BACK_X], k->w->x, back},
                       {"dz", k->rows->mat[MAT_DZ], k->w->dz, back},
                       {"dx", k->rows->mat[MAT_DX], k->rows->dx, back}};
            for (size_t m = 0; m < sizeof mat / sizeof *mat; m++)
                if (mat[m].image >= 0)
                    touch(&l,
                          add_part(&l, xprintf("%s of %s", mat[m].what, k->name), mat[m].at,
                                   k->image[mat[m].image].floats),
                          mat[m].step, false);
        }
    }
    return l;
}

static bool overlap(const Life *a, const Life *b)
{
    return a->at < b->at + b->floats && b->at < a->at + a->floats;
}

/* No two parts that are alive at once share memory; all lie within `top`; `bound` is no less than what is alive at
 * once. */
static void check_parts(const Lives *l, int64_t top, int64_t bound)
{
    for (int i = 0; i < l->n; i++) {
        const Life *a = &l->part[i];
        int64_t alive = 0;
        ck_assert_msg(a->to >= 0, "%s is there for nothing", a->what);
        ck_assert_msg(a->at >= 0 && a->at % LANES == 0 && a->at + a->floats <= top, "%s lies at %lld", a->what,
                      (long long)a->at);
        for (int j = 0; j < l->n; j++) {
            const Life *b = &l->part[j];
            if (j < i && a->from <= b->to && b->from <= a->to)
                ck_assert_msg(!overlap(a, b), "%s (steps %d to %d) and %s (%d to %d) share memory", a->what, a->from,
                              a->to, b->what, b->from, b->to);
            if (b->from <= a->from && b->to >= a->from)
                alive += b->floats;
        }
        ck_assert_int_le(alive, bound);
    }
    ck_assert_int_le(bound, top);
}

static Lives infer_parts_of(const Plan *p)
{
    Lives l = {.p = p};

    l.value = xalloc(sizeof(int) * (size_t)p->ninfer_tensor);
    for (int i = 1; i < p->ninfer_tensor; i++)
        l.value[i] = add_part(&l, p->g->op[p->infer_tensor[i].op].path, p->infer_tensor[i].slot,
                              p->infer_image[p->infer_tensor[i].image].floats);
    add_image_norms(&l, true);
    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        if (k->tensor > 0)
            touch(&l, l.value[k->tensor], i, false);
        touch_image_norms(&l, &p->infer_tensor[k->tensor], i);
        for (int j = 0; j < k->nimage_norm; j++)
            touch(&l, l.kept[k->image_norm[j].op], i, false);
        for (int w = -1; w < k->nin; w++) {
            const Path *path = w < 0 ? kernel_out(k) : &k->in[w];
            if (path->tensor > 0)
                touch(&l, l.value[path->tensor], i, true);
            for (int j = 0; j < path->n; j++)
                for (int s = 0; s < path->link[j].nskip; s++)
                    if (path->link[j].skip[s].path.tensor > 0)
                        touch(&l, l.value[path->link[j].skip[s].path.tensor], i, true);
        }
        if (k->scratch)
            touch(&l, add_part(&l, xprintf("scratch of %s", k->name), k->scratch_at, k->scratch), i, false);
    }
    touch(&l, l.value[p->logits], p->ninfer, true);
    return l;
}

/* Networks for what holds of every plan; the first few are files. */
static const char *const memory_nets[] = {
    "../specs/conv_layer.yaml",
    "../specs/fashion.yaml",
    "../specs/lenet5.yaml",
    "../specs/vgg.yaml",
    "golden/groups.yaml",
    "golden/length.yaml",
    "golden/everything.yaml",
    /* DenseNet, Inception, a sum of concats, groups in groups, pools that several ops read */
    "{name: n1, input: [3, 32, 32], classes: 10, order: bn-act-conv, layers: [conv: {out: 16, order: conv}, stage: "
    "{name: d1, repeat: 6, concat: [[], [conv: 12]], "
    "transition: [conv: {kernel: 1, out: 40}, avgpool(2)]}, stage: {name: d2, repeat: 6, concat: [[], [conv: 12]]}, "
    "bn, act, global_avg_pool, linear: classes]}",
    "{name: n1, input: [3, 32, 32], classes: 10, layers: [conv: 16, stage: {name: mix, repeat: 2, concat: [[conv: "
    "{kernel: 1, out: 16}], [conv: {kernel: 1, out: 24}, conv: 32], "
    "['maxpool(3,1,1)', conv: {kernel: 1, out: 8}]]}, conv: 32, global_avg_pool, linear: classes]}",
    "{name: n1, input: [3, 16, 16], classes: 10, layers: [conv: 16, stage: {shortcut: identity, residual: [stage: "
    "{concat: [[conv: 5], [conv: 11]]}]}, global_avg_pool, linear: classes]}",
    "{name: n1, input: [3, 16, 16], classes: 10, layers: [stage: {concat: [[conv: 5], [conv: 11]]}, stage: {out: 16, "
    "repeat: 2, shortcut: identity, residual: [conv, conv]}, global_avg_pool, linear: classes]}",
    "{name: n1, input: [3, 16, 16], classes: 10, layers: [conv: {out: 16, order: 'conv-bn-act-maxpool(2)'}, stage: "
    "{out: 24, repeat: 3, post: 'drop(0.2)', residual: [conv: {order: conv-silu}, conv: {order: 'conv-bn-sigmoid'}]}, "
    "flatten, linear: {out: 32, order: linear-bn-act}, linear: classes]}",
    "{name: n1, input: [3, 12, 12], classes: 10, norm: gn(4), layers: [ln, conv: {out: 36, order: "
    "'conv-norm-act-gn(2)'}, stage: {out: 24, repeat: 3, post: 'in-act', residual: [conv, conv: {order: conv-norm}]}, "
    "stage: {concat: [[bn], [ln], [conv: 8]], post: 'norm-maxpool(2)'}, flatten, linear: {out: 32, order: "
    "'linear-norm-act-ln'}, linear: classes]}",
};
enum { MEMORY_NETS = sizeof memory_nets / sizeof *memory_nets };

static const char *memory_net_name(int i)
{
    return i < MEMORY_NETS ? memory_nets[i] : arrangements[i - MEMORY_NETS].name;
}

static Plan *memory_net(int i)
{
    size_t len;

    if (i >= MEMORY_NETS) {
        const struct Arrangement *a = &arrangements[i - MEMORY_NETS];
        return residual_net(a->order, a->keys, a->stem, 3, 3, a->tail);
    }
    if (memory_nets[i][0] == '{')
        return plan_of_text(memory_nets[i], "avx2");
    const char *path = xprintf("%s/%s", tests, memory_nets[i]), *text = file_read(path, 1 << 20, &len);
    ck_assert_msg(text != NULL, "%s cannot be read", path);
    return plan_of_text(text, "avx2");
}

/* Whether tensors are made again in backward: their lives have a gap, which the model here does not know. */
static bool recomputes(const Plan *p)
{
    for (int i = 0; i < p->ntensor; i++)
        if (p->tensor[i].recomputed)
            return true;
    return false;
}

START_TEST(slots_alive_at_once_share_nothing)
{
    Plan *p = memory_net(_i);
    const Lives infer = infer_parts_of(p);

    check_parts(&infer, p->scratch_infer, p->infer_bound);
    check_gradients(p);
    check_statistics(p);
    if (recomputes(p))
        return;
    const Lives l = parts_of(p);
    check_parts(&l, p->image_floats, p->image_bound);
}
END_TEST

/* What is placed over something that is needed is found: of every tensor that backward reads, put where the next such
 * lies, or its own gradient; of what inference reads, put where it is written to; of a scratch image, put into the one
 * before. */
START_TEST(overlaps_are_found)
{
    Plan *p = memory_net(_i);
    Tensor *before = NULL;
    int tried = 0;

    ck_assert_msg(plan_overlap(p) == NULL, "%s: %s", memory_net_name(_i), plan_overlap(p));
    for (int i = 1; i < p->ntensor; i++) {
        Tensor *nd = &p->tensor[i];
        const int64_t slot = nd->slot;
        if (!nd->kept)
            continue;
        if (before) {
            nd->slot = before->slot;
            ck_assert_msg(plan_overlap(p) != NULL, "%s: node %d over the one before", memory_net_name(_i), i);
            nd->slot = slot;
            tried++;
        }
        if (nd->grad) {
            nd->slot = nd->grad_slot;
            ck_assert_msg(plan_overlap(p) != NULL, "%s: node %d over its gradient", memory_net_name(_i), i);
            nd->slot = p->image_floats;
            ck_assert_msg(plan_overlap(p) != NULL, "%s: node %d outside", memory_net_name(_i), i);
            nd->slot = slot;
            tried += 2;
        }
        before = nd;
    }
    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        for (int j = 0; j < k->nport; j++) {
            Tensor *in = &p->infer_tensor[k->port[j].tensor];
            const int64_t slot = in->slot;
            if (k->port[j].tensor == k->tensor || in->op == 0 || k->tensor < 0)
                continue;
            in->slot = p->infer_tensor[k->tensor].slot;
            ck_assert_msg(plan_overlap(p) != NULL, "%s: %s writes over what it reads", memory_net_name(_i), k->name);
            in->slot = slot;
            tried++;
        }
    }
    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        for (int j = 0; j < k->nimage; j++)
            if (!k->image[j].row && !k->image[j].given && k->image[j].at > 0) {
                k->image[j].at -= LANES;
                ck_assert_msg(plan_overlap(p) != NULL, "%s: image %d of %s over the one before", memory_net_name(_i), j,
                              k->name);
                k->image[j].at += LANES;
                tried++;
            }
    }
    ck_assert(tried > 0);
    ck_assert(plan_overlap(p) == NULL);
}
END_TEST

/* Two steps in each other's place, a step missing, a step twice: each is found, wherever it stands. */
START_TEST(order_of_steps_is_proved)
{
    Plan *p = memory_net(_i);
    int found = 0;

    ck_assert_msg(plan_misordered(p) == NULL, "%s: %s", memory_net_name(_i), plan_misordered(p));
    ck_assert_int_ge(p->nstep, 2 * p->nkernel);
    TrainStep *right = p->step, *step = xalloc(sizeof *step * (size_t)(p->nstep + 1));
    const int n = p->nstep;
    p->step = step;
    for (int i = 0; i < n; i++, found++) {
        memcpy(step, right, sizeof *step * (size_t)i);
        memcpy(step + i, right + i + 1, sizeof *step * (size_t)(n - i - 1));
        p->nstep = n - 1;
        ck_assert_msg(plan_misordered(p) != NULL, "%s: without step %d", memory_net_name(_i), i);
        memcpy(step, right, sizeof *step * (size_t)n);
        step[n] = right[i];
        p->nstep = n + 1;
        ck_assert_msg(plan_misordered(p) != NULL, "%s: step %d twice", memory_net_name(_i), i);
    }
    p->nstep = n;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            if (right[i].kernel != right[j].kernel) /* kernels that do not touch each other may change places */
                continue;
            memcpy(step, right, sizeof *step * (size_t)n);
            step[i] = right[j];
            step[j] = right[i];
            ck_assert_msg(plan_misordered(p) != NULL, "%s: steps %d and %d change places", memory_net_name(_i), i, j);
        }
    for (int i = 0; i < n; i++) { /* a backward step at the end: what it gives its gradient to was before it */
        const Kernel *k = &p->kernel[right[i].kernel];
        bool gives = false;
        for (int j = 0; j < k->nport; j++)
            gives |= k->port[j].grad && k->port[j].tensor != k->tensor && p->tensor[k->port[j].tensor].maker >= 0;
        if (right[i].phase != PHASE_BACKWARD || !gives)
            continue;
        memcpy(step, right, sizeof *step * (size_t)i);
        memcpy(step + i, right + i + 1, sizeof *step * (size_t)(n - i - 1));
        step[n - 1] = right[i];
        ck_assert_msg(plan_misordered(p) != NULL, "%s: %s backward last", memory_net_name(_i), k->name);
    }
    for (int i = 1; i < p->nkernel; i++) { /* a forward step first */
        bool reads = false;
        const Kernel *k = &p->kernel[i];
        for (int j = 0; j < k->nport; j++)
            reads |= k->port[j].value && k->port[j].tensor != k->tensor &&
                     p->tensor[p->tensor[k->port[j].tensor].root].maker >= 0;
        if (!reads)
            continue;
        memcpy(step + 1, right, sizeof *step * (size_t)i);
        memcpy(step + i + 1, right + i + 1, sizeof *step * (size_t)(n - i - 1));
        step[0] = right[i];
        ck_assert_msg(plan_misordered(p) != NULL, "%s: %s forward first", memory_net_name(_i), k->name);
    }
    p->step = right;
    ck_assert(plan_misordered(p) == NULL);
}
END_TEST

START_TEST(little_more_memory_than_is_alive)
{
    Plan *p = memory_net(_i);

    ck_assert_msg((double)p->image_floats <= 1.1 * (double)p->image_bound,
                  "%s: an image takes %lld floats, at least %lld are needed", memory_net_name(_i),
                  (long long)p->image_floats, (long long)p->image_bound);
    ck_assert_msg((double)p->scratch_infer <= 1.1 * (double)p->infer_bound,
                  "%s: inference takes %lld floats, at least %lld are needed", memory_net_name(_i),
                  (long long)p->scratch_infer, (long long)p->infer_bound);
}
END_TEST

START_TEST(kept_is_what_backward_reads)
{
    Plan *p = memory_net(_i);
    if (recomputes(p))
        return;
    const Lives l = parts_of(p);
    int64_t bytes = 0;

    for (int i = 1; i < p->ntensor; i++) {
        const Tensor *nd = &p->tensor[i];
        if (!nd->stored)
            continue;
        const bool read = l.part[l.value[i]].read > p->nkernel - 1;
        ck_assert_msg(nd->kept == read, "%s: %s is %skept, and backward reads it %s", memory_net_name(_i),
                      p->g->op[nd->op].path, nd->kept ? "" : "not ", read ? "" : "never");
        bytes += nd->kept ? 4 * blocked_floats(nd->shape[0]) : 0;
        for (int r = 0; r < nd->nroute; r++)
            bytes += blocked_floats(p->g->op[nd->route[r]].shape);
    }
    for (int i = 0; i < p->ntensor; i++) /* of image norms a mean in two floats, and 1 / sd, per group */
        for (int j = 0; j < p->tensor[i].nimage_norm; j++)
            bytes += 4 * 3 * p->g->op[p->tensor[i].image_norm[j]].groups;
    ck_assert_int_eq(p->stored_bytes, bytes);
}
END_TEST

/* What a kernel's trace reads, right after its forward, nothing has been written over yet. */
static void check_traced(const char *net, const Lives *l, const Kernel *k, int tensor)
{
    const int root = l->p->tensor[tensor].root;

    if (l->p->tensor[root].op == 0)
        return;
    const Life *a = &l->part[l->value[root]];
    for (int i = 0; i < l->n; i++)
        ck_assert_msg(&l->part[i] == a || !overlap(a, &l->part[i]) || l->part[i].from <= a->from ||
                          l->part[i].from > (int)(k - l->p->kernel),
                      "%s: the trace of %s reads %s, over which %s was written", net, k->name, a->what,
                      l->part[i].what);
}

START_TEST(traced_values_are_there)
{
    Plan *p = memory_net(_i);
    const Lives l = parts_of(p);

    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        for (int r = 0; r < k->trace.n; r++) {
            const PixelPass *pass = &k->trace.pass[r];
            if (pass->from.where == AT_SLOT)
                check_traced(memory_net_name(_i), &l, k, k->port[pass->from.port].tensor);
            for (int s = 0; s < pass->nstep; s++)
                if (pass->step[s].kind == STEP_SKIP)
                    check_traced(memory_net_name(_i), &l, k, pass->skip[pass->step[s].skip].operand->path.tensor);
        }
    }
}
END_TEST

#define DEEP(recompute)                                                                                                \
    "{name: deep, input: [3, 16, 16], classes: 10, " recompute                                                         \
    "layers: [conv: 16, stage: {name: s1, repeat: 8, out: 16, order: bn-act-conv, residual: [conv, conv]}, "           \
    "global_avg_pool, linear: classes]}"

/* Of a segment's tensors only those that others read are kept; the rest is made again by kernels that run once more. */
START_TEST(recompute_keeps_borders)
{
    const Plan *all = plan_of_text(DEEP(""), "avx2"), *some = plan_of_text(DEEP("recompute: 3, "), "avx2");

    int again = 0;
    ck_assert(!recomputes(all) && recomputes(some));
    for (int i = 0; i < some->nkernel; i++) {
        const Kernel *k = &some->kernel[i];
        again += k->runs_again;
        ck_assert_int_eq(k->runs_again, k->tensor > 0 && some->tensor[k->tensor].recomputed);
        for (int j = 0; j < k->nport; j++) { /* what another segment reads is kept */
            const Tensor *root = &some->tensor[some->tensor[k->port[j].tensor].root];
            if (k->port[j].value && root->maker >= 0 &&
                some->g->op[some->kernel[root->maker].op].segment != some->g->op[k->op].segment)
                ck_assert_msg(!root->recomputed, "%s reads %s", k->name, some->g->op[root->op].path);
        }
    }
    ck_assert_int_gt(again, 8);
    ck_assert_msg(some->stored_bytes * 2 < all->stored_bytes, "%lld bytes kept of %lld", (long long)some->stored_bytes,
                  (long long)all->stored_bytes);
    ck_assert_msg(some->image_floats * 10 < all->image_floats * 8, "%lld floats of %lld", (long long)some->image_floats,
                  (long long)all->image_floats);
}
END_TEST

/* Adam keeps two numbers of each that is trained, sgd one: the arena has room for them, and `plan` says so. 16 x 3 x 9
 * + 16 + 16 + 10 x 16 + 10 numbers are trained, each conv's and norm's in whole vectors. */
START_TEST(what_optimisers_keep)
{
    static const struct {
        const char *optimizer;
        int kept;
        const char *words;
    } cases[] = {{"sgd", 1, "weights and momentum"},
                 {"adam", 2, "weights, exp_avg and exp_avg_sq"},
                 {"adamw", 2, "weights, exp_avg and exp_avg_sq"}};
    int64_t train[3];

    for (int i = 0; i < 3; i++) {
        const Plan *p = plan_of_text(xprintf("name: t\ninput: [3, 8, 8]\nclasses: 10\norder: conv-bn-relu\nlayers: "
                                             "[conv: 16, global_avg_pool, linear: classes]\ntrain: {optimizer: %s}\n",
                                             cases[i].optimizer),
                                     "avx512");
        char *text = NULL;
        size_t len = 0;
        FILE *to = open_memstream(&text, &len);
        const int64_t floats = p->param_floats;
        ck_assert_int_ge(floats, 16 * 3 * 9 + 16 + 16 + 10 * 16 + 10);
        ck_assert_int_lt(floats, 16 * 3 * 9 + 16 + 16 + 10 * 16 + 10 + 128);
        ck_assert_int_ge(p->arena.state, cases[i].kept * floats);
        ck_assert_int_lt(p->arena.state, cases[i].kept * (floats + 64));
        train[i] = arena_train_bytes(&p->arena);
        plan_explain(p, to);
        fclose(to);
        const char *const want =
            xprintf("%lld bytes of %s\n", (long long)(4 * (1 + cases[i].kept) * floats), cases[i].words);
        ck_assert_msg(strstr(text, want) != NULL, "%s: '%s' is not in: %s", cases[i].optimizer, want, text);
        free(text);
        ck_assert_int_eq(train[i] - train[0], 4 * (cases[i].kept - 1) * p->arena.learning);
    }
}
END_TEST

TCase *memory_tests(void)
{
    TCase *c = tcase_create("memory");

    tcase_set_timeout(c, 60); /* of a busy machine */
    tcase_add_test(c, stored_tensors_do_not_overlap);
    tcase_add_loop_test(c, slots_alive_at_once_share_nothing, 0, MEMORY_NETS + narrangement);
    tcase_add_loop_test(c, overlaps_are_found, 0, MEMORY_NETS + narrangement);
    tcase_add_loop_test(c, order_of_steps_is_proved, 0, MEMORY_NETS + narrangement);
    tcase_add_loop_test(c, little_more_memory_than_is_alive, 0, MEMORY_NETS + narrangement);
    tcase_add_loop_test(c, kept_is_what_backward_reads, 0, MEMORY_NETS + narrangement);
    tcase_add_loop_test(c, traced_values_are_there, 0, MEMORY_NETS + narrangement);
    tcase_add_test(c, recompute_keeps_borders);
    tcase_add_test(c, what_optimisers_keep);
    return c;
}
