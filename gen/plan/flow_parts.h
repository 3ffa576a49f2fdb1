/* flow_parts.h - what the files that make tensors and paths share: anchors.c, paths.c, stored.c, flow.c. */
#ifndef FLOW_PARTS_H
#define FLOW_PARTS_H

#include "plan.h"

typedef struct Flow {
    const Graph *g;
    Plan *p;
    bool infer;
    int *uses;             /* readers of an op's output, those of a concat counted as readers of what it joins */
    int *reader;           /* one of them */
    bool *solid;           /* of a concat: it is a tensor in memory, since a sum, a pad or an image norm reads it */
    unsigned char *anchor; /* the op's output is a tensor: why, by bits of Anchor; 0: it is none */
    bool *as_skip;         /* ... that is read as a skip operand */
    bool *padded;          /* a pad reads it as a skip operand: as it is stored, without stages between */
    int *main;             /* of an add: which operand is on the main line */
    int *fused;            /* of an add: the weight op in whose out path it stands, or -1 */
    int *tensor;           /* of an op's output, or -1 */
    Tensor *list;
    int n;
} Flow;

/* anchors.c. */
bool flow_is_weight(const Graph *g, int op);
/* A concat that is a list of paths. */
bool flow_is_list(const Flow *f, int op);
/* Whether an op works on a register: activations, dropout, a norm's apply. */
bool flow_is_point(const Graph *g, int op);
/* Whether an op takes statistics of what it reads: batch norms in training, unless they are frozen; image norms always.
 */
bool flow_takes_statistics(const Flow *f, int op);
void anchors_count(Flow *f);
void anchors_find(Flow *f);

/* paths.c. */
Path path_begin(const Flow *f, int tensor);
/* The op's link at the end of a path. */
void path_extend(const Flow *f, Path *w, int v);
void path_add(Path **paths, int *n, Path w);
/* The paths that end at v. Stages are walked without recursion; what recurs is a concat in a concat. */
void paths_to(const Flow *f, int v, Path **paths, int *n);
void paths_close(Path *paths, int n, int channels);

/* stored.c. */
/* What storing value p of an out path would mean, for each of its values. */
typedef struct Stores {
    int *refused;   /* an op before it whose backward it does not serve alone; -1: it may be the stored one */
    int64_t *bytes; /* an image */
} Stores;

/* Of the ops that a value does not serve, the first is the reason. One that needs its input is served by none after
 * it; one that needs its output by that alone; one that needs its output's sign until an op comes that does not keep
 * it. */
Stores stores_list(const Graph *g, const Path *w);
/* The cheapest value from `least` on that serves, the latest of equals: from it on, least is recomputed. -1: none. */
int stores_choose(const Path *w, const Stores *s, int least);
/* Why value p of the out path of weight op `op` is stored. */
const char *stored_why(const Flow *f, int op, const Path *w, const Stores *stores, int p, bool anchored);
void stores_choices(int op, const Path *w, const Stores *s, int least, Tensor *nd);

#endif
