/* weights.h - a checkpoint's numbers in the plan's layouts, and what inference makes of them. */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include "plan.h"

typedef struct Weights {
    float *param;   /* plan.param_floats */
    float *running; /* plan.running_floats */
} Weights;

/* Reads a checkpoint (safetensors). Its tensors must be exactly the network's, finite, variances not below zero; where
 * it says as which network it was trained, that must be this one, unless force. False and a message on stderr where
 * that is not so, or the file is damaged. */
bool weights_read(const Plan *p, const char *path, bool force, Weights *w);
/* What an emitted network begins with: the draws of the spec's seed. */
void weights_draw(const Plan *p, Weights *w);
/* Number i of a parameter, in C order of its shape. */
float weights_at(const Plan *p, const Weights *w, int param, int64_t i);
/* What NAME_fold makes of them: plan.fold_floats numbers, the same to the bit. NULL and a message where one is not
 * finite. */
float *weights_fold(const Plan *p, const Weights *w, const char *path);

#endif
