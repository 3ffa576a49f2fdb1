/* share.h - what is decided of a pass's code: who else has it, and what its values are called. */
#ifndef SHARE_H
#define SHARE_H

#include "plan.h"

/* Whether pointers to its images are all that a pass needs to be given. */
bool pass_is_given(const Plan *p, const PixelPass *r);
bool step_makes_value(const Step *s); /* from another one, by computing */
/* By value, the skip operand that it was made from: it is read there (`here`: that alone), or comes of such a one by
 * stages; -1: it is on the pass's own path. Each value is made once, and before it is used. */
int *pass_skips(const PixelPass *r, bool here);
/* Whether every step of a forward pass reads the last value of its path, so that none needs a name of its own. skip: of
 * pass_skips, not `here` alone. */
bool pass_is_chained(const PixelPass *r, const int *skip);

#endif
