/* cvy_update.h - the optimisers. Each is a row, and the function that updates a slice of the parameters (cvy_update.c).
 * Memory, checkpoints, options, the keys of a spec and what is said of it follow from the row.
 * SPDX-License-Identifier: 0BSD */
#ifndef CVY_UPDATE_H
#define CVY_UPDATE_H

#include "cvy_float.h"
#include "cvy_names.h"

#include "cvy_model.h"

enum {
    CVY_BLOCK = 16
}; /* arrays are whole blocks of 16; loops over them have a fixed length, which compilers vectorise */

/* A number that an optimiser has besides the learning rate and the weight decay: a key of `train`, an option. */
struct cvy_hyper {
    const char *name;    /* "momentum"; NULL ends the list */
    const char *option;  /* "--momentum" */
    const char *off;     /* of what is 0 or 1, which the option sets to 1: "--no-nesterov". NULL: it is any number */
    double usual, torch; /* where a spec says nothing; where PyTorch is told nothing */
    double lo, hi;       /* its range; hi itself is an option's, but not a spec's */
    const char *needs;   /* the number that must be above zero where this is 1; NULL: none */
    const char *help;
};

/* `count` parameters from `at` on, a multiple of 16, none of them shared with another slice. */
struct cvy_slice {
    const struct cvy_net *net;
    int64_t at, count;
    const float *g; /* their gradient: the sum of `parts` arrays, `stride` floats apart, in their order */
    int64_t stride;
    int parts;
    const struct cvy_step *step;
    float decay; /* of these: step->weight_decay or step->weight_decay_other */
};

struct cvy_optimiser {
    const char *name, *help;
    const char *buffer[CVY_BUFFERS]; /* what it keeps of each parameter, zero at first; NULL ends the list. A state
                                        holds it as "momentum.<parameter>" */
    struct cvy_hyper hyper[CVY_HYPERS];
    double lr, weight_decay; /* where a spec says nothing */
    void (*update)(const struct cvy_slice *s);
};

/* PyTorch's SGD, Adam and AdamW (torch.optim), without their dampening, amsgrad and maximize. */
extern const struct cvy_optimiser cvy_sgd, cvy_adam, cvy_adamw;
/* All of them, NULL at the end. */
extern const struct cvy_optimiser *const cvy_optimisers[];
int cvy_buffers(const struct cvy_optimiser *o); /* how many floats it keeps of each parameter */
int cvy_hypers(const struct cvy_optimiser *o);
/* The index of the number called so; -1: it has none. */
int cvy_hyper_find(const struct cvy_optimiser *o, const char *name);

/* Updates a network's parameters by its optimiser. g, stride and parts: as of a slice. */
void cvy_update(const struct cvy_net *net, int64_t at, int64_t count, const float *g, int64_t stride, int parts,
                const struct cvy_step *step, float decay);
/* The same for a bias whose partial sums are doubles. */
void cvy_update_bias(const struct cvy_net *net, int64_t at, int count, const double *g, int64_t stride, int parts,
                     const struct cvy_step *step);

#endif
