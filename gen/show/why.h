/* why.h - `convoy plan --why LAYER`: what the plan made of a layer, in words and numbers. */
#ifndef WHY_H
#define WHY_H

#include "plan.h"

/* One thing that is said of a stage. */
typedef struct Fact {
    const char *about; /* "forward", "stored": the column at the left */
    const char *text;
    int64_t bytes; /* that it speaks of, per image; -1: none */
} Fact;

typedef struct Story {
    int op; /* whose it is */
    Fact *fact;
    int n;
} Story;

/* The ops that `name` means: a layer's as `convoy check` lists it, a stage's ("conv2.bn"), or a group's ("s2.1": all
 * inside). Returns how many; 0: there is no such name. */
int why_find(const Graph *g, const char *name, int **ops);
/* The nearest name to one that why_find does not know, or NULL. */
const char *why_nearest(const Graph *g, const char *name);
/* What is fused, stored, recomputed and folded of an op, and why, from the plan's own decisions. */
Story why_tell(const Plan *p, int op);
/* The stories of ops, printed; as JSON, false where there is no memory. */
void why_print(const Plan *p, const char *name, const int *ops, int n, FILE *to);
bool why_json(const Plan *p, const char *name, const int *ops, int n, FILE *to);

/* plan_json.c: the plan's kernels as JSON; false where there is no memory. */
bool plan_json(const Plan *p, FILE *to);

/* Text in lines of at most 110 characters, those after the first indented. */
void print_wrapped(const char *text, int indent, FILE *to);
/* "1,234,567" */
const char *grouped(int64_t v);

#endif
