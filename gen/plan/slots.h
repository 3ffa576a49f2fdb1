/* slots.h - room for what is alive for a while, and who asks for it. */
#ifndef SLOTS_H
#define SLOTS_H

#include "plan.h"

typedef struct Slot {
    int64_t floats, *at;
    int from, to;   /* steps, inclusive */
    int from2, to2; /* alive a second time: made again for backward; 0, 0: not */
    int order;
} Slot;

typedef struct Slots {
    Slot *item;
    int n;
} Slots;

/* `at` is set by slots_place. from, to: steps, inclusive. */
void slots_add(Slots *s, int64_t floats, int from, int to, int64_t *at);
/* The slot added last is alive a second time. */
void slots_again(Slots *s, int from, int to);
/* What is alive at once, at most: what begins at a step is there with what has not ended before it. */
int64_t slots_bound(const Slots *s);
/* Places all slots: of several orders the one that needs least; where that is more than is alive at once, orders near
 * it are tried, always the same ones. */
int64_t slots_place(Slots *s);

/* lifetime.c, for memory.c: places of what training keeps and inference makes for an image. */
void lifetime_images(Plan *p);
void lifetime_inference(Plan *p);

#endif
