/* cvy_schedule.h - schedules of the learning rate: a row each. Words, options, keys and what is printed follow from it.
 * SPDX-License-Identifier: 0BSD */
#ifndef CVY_SCHEDULE_H
#define CVY_SCHEDULE_H

#include "cvy_names.h"

#include "cvy_model.h"

/* Where a training stands. */
struct cvy_moment {
    int64_t step, total, epoch; /* of all steps, 0-based; how many there are; steps of an epoch */
    double plateau;             /* what the rate was multiplied with so far, where validation came to a plateau */
};

struct cvy_schedule {
    const char *name, *help;
    int falls; /* only its end has the low rate that it is for: a training that stops early does not get there */
    /* The rate of step m->step of m->total, as PyTorch's scheduler has it after as many steps of its own. lr: the
     * highest one. setting: cvy_settings. */
    double (*rate)(double lr, const double *setting, const struct cvy_moment *m);
};

enum { CVY_CONSTANT, CVY_STEP, CVY_COSINE, CVY_ONE_CYCLE, CVY_LINEAR, CVY_PLATEAU, CVY_SCHEDULES };
extern const struct cvy_schedule cvy_schedules[CVY_SCHEDULES + 1]; /* a NULL name ends them */
/* The index of the one of that name; -1: there is none. */
int cvy_schedule_find(const char *name);
/* The rate of a step: the schedule's, or that of its warm-up. */
double cvy_rate(int schedule, double lr, const double *setting, const struct cvy_moment *m);

/* ReduceLROnPlateau's bookkeeping, zero at first: after each epoch with its validation loss. */
struct cvy_plateau {
    double best, scale; /* the lowest loss; what the rate is multiplied with */
    int64_t bad;        /* epochs since */
};
void cvy_plateau_take(struct cvy_plateau *p, double lr, const double *setting, double loss);

#endif
