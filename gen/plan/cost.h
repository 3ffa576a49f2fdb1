/* cost.h - what a kernel costs. */
#ifndef COST_H
#define COST_H

#include "plan.h"

/* What one pass of a kernel costs. needs: a complete plan. */
typedef struct Cost {
    /* FLOPs of an image: 2 x multiply-adds of the weight op; those that its cores do; of all ways that there are,
     * direct and Winograd, the fewest */
    double useful, executed, fewest;
    double image_bytes, step_bytes; /* to and from memory: for each image, and for a step of any number of them */
} Cost;
Cost plan_cost(const Plan *p, const Kernel *k, Phase phase);

#endif
