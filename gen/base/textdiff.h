/* textdiff.h - two texts, line by line. */
#ifndef TEXTDIFF_H
#define TEXTDIFF_H

#include "base.h"

typedef struct LineDiff {
    const char **a, **b; /* lines, without their ends */
    int na, nb;
    bool *gone, *come; /* of a; of b */
    int removed, added;
} LineDiff;
LineDiff *text_diff(const char *a, const char *b);

/* Lines [a, a + na) of the first beside [b, b + nb) of the second: equal, or changed. */
typedef struct Part {
    int a, b, na, nb;
    bool changed;
} Part;

/* Changes with `context` equal lines around them; those that lie close stand in one. */
typedef struct Hunk {
    int a, b, na, nb;
    Part *part;
    int n;
} Hunk;
Hunk *text_hunks(const LineDiff *d, int context, int *n);
const char *hunk_head(const Hunk *h); /* "@@ -12,7 +12,8 @@" */

#endif
