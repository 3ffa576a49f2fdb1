/* passes.h - the passes of a plan, for plan.c, which lists what each needs and sets. */
#ifndef PASSES_H
#define PASSES_H

#include "plan.h"

void winograd_choose(Plan *p);
bool flow_build(Plan *p, bool infer); /* false and an error at a layer's line: larger than WALKS_MOST */
void fuse_build(Plan *p);
void cores_build(Plan *p);
void winograd_build(Plan *p);
/* recurrent.c: of cores_build, for a recurrent op; what its core is called. */
void recurrent_build(const Plan *p, Kernel *k);
const char *recurrent_name(const Op *o, const Op *from);
void share_build(Plan *p);
void split_build(Plan *p);
void lifetime_recompute(Plan *p);
void schedule_build(Plan *p);
bool memory_build(Plan *p); /* false and collected errors: a size overflows */
void arena_build(Plan *p);
void plan_check(const Plan *p);

/* Room for a conv's last tiles by Winograd in its packed input, and in its packed gradient. */
void winograd_grow_x(const Plan *p, int op, Image *xs);
void winograd_grow_dz(const Plan *p, int op, bool data, Image *dz);

#endif
