/* places.h - norms inside the steps of a recurrent op: where one may stand, and what stands there. */
#ifndef CONVOY_PLACES_H
#define CONVOY_PLACES_H

#include "op.h"

typedef struct PlaceInfo {
    const char *name;  /* the key: "recurrent" */
    const char *param; /* what the names of its parameters begin with: "norm_recurrent" */
    const char *of;    /* what is normalised, for people: "U h" */
    bool of_gates;     /* as many numbers a unit as there are gates; else one */
} PlaceInfo;
extern const PlaceInfo place_info[PLACES];

/* A norm in a place: y = gamma xhat + beta, of all gates of a step together, or each by itself. */
typedef struct PlaceNorm {
    OpKind op; /* ln, rms, bn; OP_INPUT: none */
    bool step; /* of bn: each step has statistics of its own; else, in the input, all steps of a batch have one */
    int steps; /* of that: so many steps have running statistics of their own, those behind them the last one's; 0: as
                  many as the sequence has */
    double eps;
    double momentum; /* of bn */
    double gamma;    /* what gamma begins with */
    bool each;       /* gate by gate */
    bool beta;
    bool carried; /* of the cell: the next step has c as it is behind the norm */
} PlaceNorm;
struct Places {
    PlaceNorm of[PLACES];
};

CellPlace place_find(const char *name);                                  /* PLACE_NONE: there is no such */
const PlaceNorm *op_place(OpKind kind, const Arg *arg, CellPlace place); /* NULL: no norm stands there */
bool op_has_places(OpKind kind, const Arg *arg);
/* The bn in the input, with the statistics of a sequence: inference folds it into W; NULL: there is none. */
const PlaceNorm *op_input_bn(OpKind kind, const Arg *arg);
bool place_is_bn(const PlaceNorm *n);                 /* of whichever statistics; NULL: no */
bool op_has_place_bn(OpKind kind, const Arg *arg);    /* in any place */
int place_table_rows(const PlaceNorm *n, int length); /* of running statistics; 0: they are no table */
int place_gates(OpKind kind, CellPlace place);        /* numbers a unit that it normalises */
bool place_has(const PlaceNorm *n, ParamRole role);
int op_cell_kept(OpKind kind,
                 const Arg *arg); /* numbers a unit that backward reads of a step: CellInfo.kept, and norms' */
bool places_same(const struct Places *a, const struct Places *b);
/* "{input: {kind: ln, eps: 1e-05}, cell: {kind: rms, eps: 1e-05}}", as a spec has it. lasting: what the trained network
 * depends on; training: what it does not. "" where there is nothing. */
const char *places_text(const struct Places *p, bool lasting, bool training);

/* The same of one place: "ln(eps=1e-05, gates=each)". */
const char *place_norm_text(OpKind kind, const Arg *arg, CellPlace place);

#endif
