/* share.h - what is decided of a run's code: who else has it, and what its values are called. */
#ifndef SHARE_H
#define SHARE_H

#include "plan.h"

/* Whether pointers to its images are all that a run needs to be given. */
bool run_is_given(const Plan *p, const Run *r);
bool step_makes_value(const Step *s); /* from another one, by computing */
/* By value, the skip operand that it was made from: it is read there (`here`: that alone), or comes of such a one by
 * stages; -1: it is on the run's own path. Each value is made once, and before it is used. */
int *run_skips(const Run *r, bool here);
/* Whether every step of a forward run reads the last value of its path, so that none needs a name of its own. skip: of
 * run_skips, not `here` alone. */
bool run_is_chained(const Run *r, const int *skip);

#endif
