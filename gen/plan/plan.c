/* plan.c - the passes from graph to plan, in order.
 *
 * needs: a checked graph with gradients marked. sets: a complete plan. */
#include "passes.h"

/* Each pass with what it needs and what it sets. False and collected errors: the plan is too large. */
static bool run_passes(Plan *p)
{
    /* needs: the graph. sets: which passes of which conv run by Winograd, and in what blocks. */
    winograd_choose(p);
    /* needs: that. sets: tensors, and kernels with their paths; of training, then of inference. */
    if (!flow_build(p, false) || !flow_build(p, true))
        return false;
    /* needs: flow. sets: chains of passes over pixels, images in scratch, ports, names; what becomes of each norm at
     * inference. */
    fuse_build(p);
    /* needs: packed images. sets: cores: taps, register tiles, loops; the weights' sizes. */
    cores_build(p);
    /* needs: cores, chains. sets: the cores that run by Winograd, and how many images they take together. */
    winograd_build(p);
    /* needs: chains, final images. sets: which passes of inference are training's code. */
    share_build(p);
    /* needs: cores, and that. sets: which kernels of inference are split among threads, and how. */
    split_build(p);
    /* needs: chains. sets: which tensors are not kept for backward, but made again. */
    lifetime_recompute(p);
    /* needs: that. sets: the kernels of a training step in order, forward, again, backward. */
    schedule_build(p);
    /* needs: the order, all images and weights. sets: every offset and size. */
    if (!memory_build(p))
        return false;
    /* needs: every size. sets: what stands in the emitted structs, and the parts of the caller's memory. */
    arena_build(p);
    /* needs: all. It aborts where the plan contradicts itself. */
    plan_check(p);
    return true;
}

static Plan *begin(const Graph *g, const Target *t, bool fold, bool compact)
{
    Plan *p = xalloc(sizeof *p);

    *p = (Plan){.g = g, .target = t, .fold = fold, .compact = compact};
    return p;
}

Plan *plan_build(const Graph *g, const Target *t)
{
    return plan_build_as(g, t, true, false);
}

Plan *plan_build_as(const Graph *g, const Target *t, bool fold, bool compact)
{
    Plan *p = begin(g, t, fold, compact);

    return run_passes(p) ? p : NULL;
}

bool plan_fits(const Graph *g)
{
    Plan *p = begin(g, target_find("portable"), true, false); /* the budget is the same for all targets */

    winograd_choose(p);
    return flow_build(p, false) && flow_build(p, true);
}
