/* lifetime.c - how long each tensor is needed, and where it lies.
 *
 * needs: cores (of linears the matrices); for places, the order of a training step.
 * sets:  which tensors are made again for backward; arena slots of images, Plan.stored_bytes; the same at inference.
 *
 * In the arena's part for each image two tensors share memory when no kernel needs both: each has a lifetime in steps
 * (forward kernels, then backward ones). At inference the same is done with the images of one thread. */
#include "passes.h"
#include "slots.h"

static int64_t bytes_to_floats(int64_t bytes)
{
    return (bytes + 3) / 4;
}

/* ---- training ---- */

/* When a kernel is run again (0: it is not) and backward: its place in Plan.step. The loss, last forward and
 * first backward, is one step. */
typedef struct Steps {
    int *again, *back; /* by kernel */
} Steps;

typedef struct Life {
    int forward_end, end; /* last reads, in forward and at all */
    int grad_begin;
    bool outside; /* a kernel of another segment reads it */
} Life;

static void read_at(const Plan *p, Life *life, int tensor, const Kernel *k, int at)
{
    const int last = p->nkernel - 1;
    Life *l = &life[p->tensor[tensor].root];
    const Tensor *root = &p->tensor[p->tensor[tensor].root];

    l->end = at > l->end ? at : l->end;
    if (at <= last)
        l->forward_end = at > l->forward_end ? at : l->forward_end;
    l->outside |= root->maker < 0 || plan_segment(p, &p->kernel[root->maker]) != plan_segment(p, k);
}

static void give_at(Life *life, int tensor, int at)
{
    life[tensor].grad_begin = at < life[tensor].grad_begin ? at : life[tensor].grad_begin;
}

/* What kernel k reads and gives to, at step `at`; forward and backward. */
static void touch_chain(const Plan *p, const Kernel *k, const Chain *c, int at, bool back, Life *life)
{
    for (int r = 0; r < c->n; r++) {
        const PixelPass *pass = &c->pass[r];
        const Place *read[] = {&pass->from, &pass->value};
        for (int i = 0; i < 2; i++)
            if (read[i]->where == AT_SLOT && (i == 1 || !pass->back)) /* where a gradient comes in, no value does */
                read_at(p, life, k->port[read[i]->port].tensor, k, at);
        for (int s = 0; s < pass->nstep; s++)
            if (pass->step[s].kind == STEP_SKIP)
                read_at(p, life, pass->skip[pass->step[s].skip].operand->path.tensor, k, at);
            else if (back && pass->step[s].kind == STEP_GIVE)
                give_at(life, k->port[pass->step[s].in2].tensor, at);
        if (back && pass->to.where == AT_SLOT)
            give_at(life, k->port[pass->to.port].tensor, at);
    }
}

static void touch_forward(const Plan *p, const Kernel *k, int at, Life *life)
{
    for (int w = 0; w < k->nin; w++)
        touch_chain(p, k, &k->before[w], at, false, life);
    touch_chain(p, k, kernel_chain(k, CHAIN_AFTER), at, false, life);
}

static void touch_backward(const Plan *p, const Kernel *k, int at, Life *life)
{

    for (int w = 0; w < k->nin; w++) {
        if (k->learns || (!k->loss && k->back_data && k->before[w].n > 1)) /* packed, or walked, again */
            touch_chain(p, k, &k->before[w], at, false, life);
        touch_chain(p, k, &k->din[w], at, true, life);
    }
    touch_chain(p, k, kernel_chain(k, CHAIN_AGAIN), at, false, life);
    touch_chain(p, k, kernel_chain(k, CHAIN_DOUT), at, true, life);
}

/* Which tensors are made again for backward: those of a segment that no kernel outside it reads. */
void lifetime_recompute(Plan *p)
{
    Life *life = xalloc(sizeof *life * (size_t)p->ntensor);

    for (int i = 0; i < p->nkernel; i++) {
        touch_forward(p, &p->kernel[i], 0, life);
        touch_backward(p, &p->kernel[i], 0, life);
    }
    bool *back = xalloc((size_t)p->g->nop + 1); /* by segment: a kernel of it runs backward */
    for (int i = 0; i < p->nkernel; i++)
        back[plan_segment(p, &p->kernel[i])] |= p->kernel[i].has_backward;
    for (int i = 1; i < p->ntensor; i++) {
        Tensor *nd = &p->tensor[i];
        const Kernel *k = nd->maker >= 0 ? &p->kernel[nd->maker] : NULL;
        const int segment = k ? plan_segment(p, k) : 0;
        nd->recomputed = k && nd->stored && segment && back[segment] && !life[i].outside;
    }
}

static Steps steps_of_kernels(const Plan *p)
{
    Steps s = {xalloc(sizeof(int) * (size_t)p->nkernel), xalloc(sizeof(int) * (size_t)p->nkernel)};

    for (int i = p->nkernel; i < p->nstep; i++)
        (p->step[i].phase == PHASE_AGAIN ? s.again : s.back)[p->step[i].kernel] = i - 1;
    return s;
}

static void place_tensor(Plan *p, Slots *slots, Tensor *nd, const Life *life, const Steps *step)
{
    const int last = p->nkernel - 1, backward = step->back[nd->maker], again = step->again[nd->maker];
    const int64_t floats = blocked_floats(nd->shape[0]);

    if (nd->stored)
        slots_add(slots, floats, nd->maker,
                  nd->recomputed && life->forward_end < nd->maker ? nd->maker
                  : nd->recomputed                                ? life->forward_end
                                                                  : life->end,
                  &nd->slot);
    if (nd->recomputed)
        slots_again(slots, again, life->end > again ? life->end : again);
    for (int r = 0; r < nd->nroute; r++) {
        slots_add(slots, bytes_to_floats(blocked_floats(p->g->op[nd->route[r]].shape)), nd->maker,
                  nd->recomputed ? nd->maker : backward, &nd->route_slot[r]);
        if (nd->recomputed)
            slots_again(slots, again, backward);
    }
    if (nd->grad)
        slots_add(slots, blocked_floats(nd->shape[nd->nlink]), life->grad_begin, backward, &nd->grad_slot);
    nd->kept = nd->stored && !nd->recomputed && life->end > last;
    if (nd->kept)
        p->stored_bytes += 4 * floats;
    for (int r = 0; r < nd->nroute && !nd->recomputed; r++)
        p->stored_bytes += blocked_floats(p->g->op[nd->route[r]].shape);
}

/* Whether a kernel that runs backward applies the image norm: its own gradient, or what it gives to weights. */
static bool applied_back(const Plan *p, int op)
{
    for (int i = 0; i < p->nkernel; i++)
        for (int j = 0; j < p->kernel[i].nimage_norm && p->kernel[i].has_backward; j++)
            if (p->kernel[i].image_norm[j].op == op)
                return true;
    return false;
}

/* The last step at which a kernel that runs again applies the image norm; -1: none. */
static int applied_again(const Plan *p, int op, const Steps *step)
{
    int last = -1;
    for (int i = 0; i < p->nkernel; i++)
        for (int j = 0; j < p->kernel[i].nimage_norm && p->kernel[i].runs_again; j++)
            if (p->kernel[i].image_norm[j].op == op && step->again[i] > last)
                last = step->again[i];
    return last;
}

void lifetime_images(Plan *p)
{
    const Steps step = steps_of_kernels(p);
    Slots slots = {0};
    Life *life = xalloc(sizeof *life * (size_t)p->ntensor);

    for (int i = 0; i < p->ntensor; i++)
        life[i] = (Life){.forward_end = p->tensor[i].maker, .end = p->tensor[i].maker, .grad_begin = INT32_MAX};
    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        if (k->has_forward)
            touch_forward(p, k, i, life);
        if (k->runs_again)
            touch_forward(p, k, step.again[i], life);
        touch_backward(p, k, step.back[i], life);
    }
    for (int i = 0; i < p->ntensor; i++)
        if (p->tensor[i].maker >= 0 && p->tensor[i].op > 0)
            place_tensor(p, &slots, &p->tensor[i], &life[i], &step);
    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        const int backward = step.back[i];
        if (!k->rows)
            continue;
        slots_add(&slots, k->image[k->w->x].floats, i, i, &k->rows->mat[MAT_X]);
        slots_add(&slots, k->image[k->rows->y].floats, i, i, &k->rows->mat[MAT_Y]);
        if (k->learns)
            slots_add(&slots, k->image[k->w->x].floats, backward, backward, &k->rows->mat[MAT_BACK_X]);
        if (k->w->dz >= 0)
            slots_add(&slots, k->image[k->w->dz].floats, backward, backward, &k->rows->mat[MAT_DZ]);
        if (k->recurrent) {
            slots_add(&slots, k->recurrent->kept, i, k->w->dz >= 0 ? backward : i, &k->rows->mat[MAT_STEPS]);
            p->stored_bytes += recurrent_kept_bytes(k);
        }
        if (k->recurrent && k->w->dz >= 0)
            slots_add(&slots, k->recurrent->work, backward, backward, &k->rows->mat[MAT_WORK]);
        if (k->rows->dx >= 0)
            slots_add(&slots, k->image[k->rows->dx].floats, backward, backward, &k->rows->mat[MAT_DX]);
    }
    for (int i = 0; i < p->ntensor;
         i++) /* statistics of an image: from when the tensor is made until its gradient is taken further back */
        for (int j = 0; j < p->tensor[i].nimage_norm; j++) {
            const int op = p->tensor[i].image_norm[j], maker = p->tensor[i].maker < 0 ? 0 : p->tensor[i].maker,
                      groups = p->g->op[op].groups;
            const bool back = applied_back(p, op);
            const int again = applied_again(p, op, &step), end = back ? step.back[maker] : p->nkernel - 1;
            slots_add(&slots, (int64_t)CVY_GN_KEPT * groups, maker, end > again ? end : again, &plan_norm(p, op)->slot);
            p->stored_bytes += back ? 4 * (int64_t)CVY_GN_STATS * groups : 0;
        }
    p->image_bound = slots_bound(&slots);
    p->image_floats = slots_place(&slots);
}

/* ---- inference ---- */

void lifetime_inference(Plan *p)
{
    Slots slots = {0};
    int *end = xalloc(sizeof *end * (size_t)p->ninfer_tensor);

    for (int i = 0; i < p->ninfer; i++)
        for (int j = 0; j < p->infer[i].nport; j++)
            end[p->infer[i].port[j].tensor] = i;
    end[p->logits] = p->ninfer;
    for (int i = 0; i < p->ninfer_tensor; i++)
        for (int j = 0; j < p->infer_tensor[i].nimage_norm; j++) {
            const int op = p->infer_tensor[i].image_norm[j];
            const int maker = p->infer_tensor[i].maker < 0 ? 0 : p->infer_tensor[i].maker;
            slots_add(&slots, (int64_t)CVY_GN_STATS * p->g->op[op].groups, maker, end[i],
                      &plan_norm(p, op)->infer_slot);
        }
    for (int i = 1; i < p->ninfer_tensor; i++) {
        Tensor *nd = &p->infer_tensor[i];
        slots_add(&slots, p->infer_image[nd->image].floats, nd->maker, end[i], &nd->slot);
    }
    for (int i = 0; i < p->ninfer; i++) /* a kernel's own scratch, after what it reads and makes */
        if (p->infer[i].scratch)
            slots_add(&slots, p->infer[i].scratch, i, i, &p->infer[i].scratch_at);
    p->infer_bound = slots_bound(&slots);
    p->scratch_infer = slots_place(&slots);
}
