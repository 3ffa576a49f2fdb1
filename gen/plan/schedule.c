/* schedule.c - the kernels of a training step in the order in which they run.
 *
 * needs: chains of passes over pixels, and which tensors are made again for backward (lifetime.c).
 * sets:  Plan.step, Kernel.runs_again.
 *
 * Forward kernels in order; then backward, from the loss to the first. Before the last kernel of a segment runs
 * backward, those kernels of the segment whose tensors were not kept run forward again, in order. */
#include "passes.h"

int plan_segment(const Plan *p, const Kernel *k)
{
    return k->rows || k->kind == KERNEL_LOSS ? 0 : p->g->op[k->op].segment;
}

/* By segment: its first kernel. */
static int *segment_firsts(const Plan *p)
{
    int most = 0;

    for (int i = 0; i < p->nkernel; i++)
        most = plan_segment(p, &p->kernel[i]) > most ? plan_segment(p, &p->kernel[i]) : most;
    int *first = xalloc(sizeof *first * (size_t)(most + 1));
    for (int i = p->nkernel - 1; i >= 0; i--)
        first[plan_segment(p, &p->kernel[i])] = i;
    return first;
}

static void add_step(Plan *p, int kernel, Phase phase)
{
    const Kernel *k = &p->kernel[kernel];
    NormSum *list;
    bool runs = true;

    if (phase == PHASE_FORWARD)
        runs = k->has_forward;
    else if (phase == PHASE_BACKWARD) /* the loss makes its gradient forward; backward it takes norms' sums alone */
        runs = k->kind == KERNEL_LOSS ? plan_sums(p, k, &list) > 0 : k->has_backward;
    *PUSH(p->step, p->nstep) = (TrainStep){kernel, phase, runs};
}

void schedule_build(Plan *p)
{
    const int *first = segment_firsts(p);

    for (int i = 0; i < p->nkernel; i++)
        add_step(p, i, PHASE_FORWARD);
    for (int i = p->nkernel - 1, done = 0; i >= 0; i--) {
        const int segment = plan_segment(p, &p->kernel[i]);
        for (int j = first[segment]; segment && segment != done && j <= i; j++) {
            Kernel *k = &p->kernel[j];
            if (plan_segment(p, k) != segment || k->tensor <= 0 || !p->tensor[k->tensor].recomputed)
                continue;
            k->runs_again = true;
            add_step(p, j, PHASE_AGAIN);
        }
        done = segment ? segment : done;
        add_step(p, i, PHASE_BACKWARD);
    }
}

/* A kernel that has not yet made what kernel k reads in this phase, or not made it again where it was not kept; NULL:
 * none. */
static const Kernel *reads_too_soon(const Plan *p, const Kernel *k, Phase phase, const Phase *state, const bool *ran)
{
    for (int i = 0; i < k->nport; i++) {
        const Tensor *root = &p->tensor[p->tensor[k->port[i].tensor].root];
        const int maker = root->maker;
        if (!k->port[i].value || maker < 0 || (&p->kernel[maker] == k && phase != PHASE_BACKWARD))
            continue;
        const bool again = phase != PHASE_FORWARD && root->recomputed;
        if (!ran[maker] || (again && state[maker] != PHASE_AGAIN))
            return &p->kernel[maker];
    }
    return NULL;
}

const char *plan_misordered(const Plan *p)
{
    static const char *const verb[] = {
        [PHASE_FORWARD] = "forward", [PHASE_BACKWARD] = "backward", [PHASE_AGAIN] = "forward again"};
    bool *ran = xalloc(sizeof *ran * (size_t)p->nkernel);
    Phase *state = xalloc(sizeof *state * (size_t)p->nkernel); /* the last phase, of those that ran */

    for (int i = 0; i < p->nstep; i++) {
        const TrainStep *s = &p->step[i];
        const Kernel *k = &p->kernel[s->kernel];
        const bool again = s->phase == PHASE_AGAIN;
        const Phase before = k->runs_again && !again ? PHASE_AGAIN : PHASE_FORWARD; /* a phase after forward */
        const bool first = s->phase == PHASE_FORWARD, may = !again || k->runs_again;
        if (first ? ran[s->kernel] : !may || !ran[s->kernel] || state[s->kernel] != before)
            return xprintf("kernel %s runs %s out of turn", k->name, verb[s->phase]);
        const Kernel *late = reads_too_soon(p, k, s->phase, state, ran);
        if (late)
            return xprintf("kernel %s runs %s before %s, which makes what it reads", k->name, verb[s->phase],
                           late->name);
        for (int j = 0; j < k->nport && s->phase == PHASE_BACKWARD;
             j++) { /* gradients are whole once all readers ran */
            const int maker = p->tensor[k->port[j].tensor].maker;
            if (k->port[j].grad && maker >= 0 && maker != s->kernel && state[maker] == PHASE_BACKWARD)
                return xprintf("kernel %s runs backward after %s, to which it gives a gradient", k->name,
                               p->kernel[maker].name);
        }
        ran[s->kernel] = true;
        state[s->kernel] = s->phase;
    }
    for (int i = 0; i < p->nkernel; i++)
        if (!ran[i] || state[i] != PHASE_BACKWARD)
            return xprintf("kernel %s never runs %s", p->kernel[i].name, ran[i] ? "backward" : "forward");
    return NULL;
}
