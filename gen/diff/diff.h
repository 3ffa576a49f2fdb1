/* diff.h - what `convoy diff` knows: two sides, and what differs, level by level. The levels fill in, the printers
 * print. */
#ifndef DIFF_H
#define DIFF_H

#include "files.h"
#include "names.h"
#include "plan.h"
#include "textdiff.h"

/* One of the two that are compared: a network, or a folder that was emitted earlier. */
typedef struct DiffSide {
    const char *label; /* for people: "specs/fashion.yaml, order=conv-act-bn" */
    const char *path;
    const char *text; /* the spec with everything spelled out; NULL: a folder */
    Source *source;   /* what errors of its plan point at */
    const Graph *g;
    const Plan *p;
    OutDir out; /* the C */
} DiffSide;

/* What differs in one respect. a, b: NULL where that side has no such thing. */
typedef struct DiffRow {
    const char *key;    /* "order", "stored" */
    const char **where; /* layers, norms, kernels; none: the network */
    int nwhere;
    const char *a, *b, *why;
    const char *plain_a, *plain_b; /* the same without the layers' own names: rows with equal ones become one */
} DiffRow;

typedef struct DiffFile {
    const char *name;
    bool in_a, in_b;
    LineDiff *lines; /* NULL where it is the same */
} DiffFile;

typedef struct DiffCost {
    const char *name, *unit;
    bool known_a, known_b;
    double a, b;
    const char *note; /* instead of the ratio */
} DiffCost;

typedef enum Level { LEVEL_SPEC, LEVEL_GRAPH, LEVEL_PLAN, LEVEL_INFER, LEVEL_COST, LEVEL_C, LEVELS } Level;
extern const char *const level_names[]; /* by Level, NULL-terminated */

typedef struct DiffLevel {
    bool there; /* asked for, and both sides have it */
    const char **note;
    int nnote;
    DiffRow *row;
    int nrow;
    DiffCost *cost;
    int ncost;
    DiffFile *file;
    int nfile;
} DiffLevel;

typedef struct Diff {
    DiffSide a, b;
    const char **note; /* what was recognised */
    int nnote;
    DiffLevel level[LEVELS];
    /* the layers of both, side by side, -1: none; in the sequence of both. Names are a's; what is new has a name of its
     * own */
    int (*pair)[2];
    int npair;
    const char **name, **name_b; /* of a pair; name_b: what b calls it, NULL where it is the same */
    Names pair_at;               /* by name, the pair's number and one; of equal names the first */
    const Graph *renamed;        /* b with a's names */
} Diff;

typedef struct DiffView {
    bool stat, colour;
    int levels; /* bits */
} DiffView;

/* How the notes of diff_recognise() begin, each a claim that tests/mutants.c checks. */
#define DIFF_EQUAL "One network: the specs are equal"
#define DIFF_CUT "One network: the same stages in the same sequence."
#define DIFF_ROTATION "The same network except at its first and last layers: a rotation."
#define DIFF_ENDS "At the ends, too: "
#define DIFF_BUT_FOR_BIAS "The same network except for a redundant bias ("
#define DIFF_BIAS "A bias that one of them has is redundant ("

/* diff/align.c. needs: both graphs; sets: pair, name, name_b, renamed. */
void diff_align(Diff *d);
/* diff/same.c. needs: diff_align; sets: note. */
void diff_recognise(Diff *d);
/* diff/levels.c. needs: diff_align; sets: what differs in the specs and graphs. */
void diff_front(Diff *d);
/* needs: diff_front, and both sides' plans and C, b's under a's names; sets: the other levels. */
void diff_levels(Diff *d);
void diff_folders(Diff *d); /* the same of two emitted folders whose specs are not known: what their headers say */
bool diff_emitted_from(const OutDir *out,
                       const char *hash); /* false: the header in `out` states another hash of its spec */
void diff_row(Diff *d, Level l, const char *key, const char *where, const char *a, const char *b, const char *why);
void diff_note(const char ***list, int *n, const char *text);
DiffCost *diff_cost(Diff *d, const char *name, const char *unit, bool known_a, double a, bool known_b, double b);
bool diff_same(const Diff *d); /* of the levels that are there */
bool level_same(const DiffLevel *l);
const char *number_text(double v);          /* "1,234,567" */
const char *cost_change(const DiffCost *c); /* "-12.5 %" */
bool cost_same(const DiffCost *c);

/* diff/print.c, diff/html.c */
void diff_print(const Diff *d, const DiffView *v, FILE *to);
bool diff_json(const Diff *d, FILE *to); /* false: no memory */
void diff_html(const Diff *d, Buf *to);

/* diff/measure.c: adds to the costs the size of objects, the time of a step. false and a message where something cannot
 * be compiled or run. */
bool diff_measure(Diff *d, bool size, bool time);

/* Op i as an order has it: "maxpool(3,2,1)". */
const char *graph_op_text(const Graph *g, int i);

#endif
