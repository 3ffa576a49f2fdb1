/* draw.h - `convoy draw`: a plan as a picture. draw.c makes what is in it and where it stands, draw_fold.c draws
 * repeats that are alike once, draw_diff.c says what differs between two, draw_svg.c prints. Lengths are whole pixels.
 */
#ifndef DRAW_H
#define DRAW_H

#include "plan.h"

/* How a thing fares in the other picture. */
typedef enum Change { SAME, GONE, CAME, MOVED, CHANGED } Change;

typedef enum Section { SECTION_PROLOGUE, SECTION_SKIP, SECTION_CORE, SECTION_EPILOGUE, SECTION_PASS } Section;

/* A stage in a kernel's box. */
typedef struct Pill {
    int op;        /* -1: statistics of the kernel's stored tensor */
    int64_t bytes; /* statistics that are kept for backward, per image; else 0 */
    Section section;
    const char *what; /* the stage, whosever it is: "relu" */
    const char *text, *title,
        *kind;     /* with its layer's name where that is another's; the tooltip; its colour, a class in the style */
    int row, x, w; /* row of the box; x from the box's left */
    Change change;
} Pill;

/* A kernel with what it stores below; the first is the network's input, which has no kernel. */
typedef struct Box {
    const Kernel *kernel; /* NULL: the input */
    const Tensor *tensor; /* NULL: the loss */
    Pill *pill;
    int npill, rows;
    int wire, nwire; /* those that come in, in Picture.wire */
    int rank;        /* longest distance from the input */
    double column;
    int x, y, h; /* of the kernel's frame */
    int elbow_y; /* above it, and above the groups that begin with it: where wires turn */
    int tensor_y;
    Change change, tensor_change;
} Box;

/* Box `to` reads what box `from` makes. */
typedef struct Wire {
    int from, to;
    int row;  /* of the box that reads: where it comes in as a skip operand, -1: from above */
    bool bus; /* it goes around what stands between, in a lane */
    int lane;
    /* The y at which it turns into the lane and out of it, if boxes beside that end are in the way; else 0. */
    int below, above;
} Wire;

/* Repeats `first` to `last` of a group, which are alike: the first alone is drawn. */
typedef struct Fold {
    const char *group;
    int first, last;
} Fold;

/* The frame around the kernels of a group. */
typedef struct Frame {
    const char *name;
    const Fold *fold;       /* of a repeat that stands for several; NULL: it does not */
    int depth, first, last; /* ranks */
    int above, below;       /* levels of frames inside that begin, or end, where it does */
    int x, y, w, h;
} Frame;

typedef struct Picture {
    const Plan *plan;
    const char *file; /* the spec's, where two pictures stand side by side and have one name; else NULL */
    Box *box;
    int nbox;
    Wire *wire;
    int nwire;
    Fold *fold;
    int nfold;
    Frame *frame;
    int nframe;
    int *begin, *end; /* by rank: levels of frames that begin, or end, there */
    int w, h;
} Picture;

enum {
    BOX_W = 272,
    BOX_CAPTION = 58, /* the column of "prologue", "core", "epilogue" */
    BOX_PAD = 8,
    BOX_HEADER = 22,
    ROW_H = 24,
    PILL_H = 19,
    TENSOR_W = 188,
    TENSOR_H = 40,
    FRAME_PAD = 12,
    LETTER = 68, /* a letter's width, in tenths */
    PILL_ENDS = 14,
};

/* needs: a complete plan. sets: boxes with pills, and wires. */
Picture *draw_picture(const Plan *p);
/* needs: a picture, or (b not NULL) two that stand beside each other; sets: folds, in two the same. */
void draw_fold(Picture *a, Picture *b);
/* needs: a picture, folded or not; sets: frames, and where everything stands. */
void draw_place(Picture *pic);
/* needs: two pictures, placed. sets: every `change` of both. */
void draw_diff(Picture *a, Picture *b);
/* One picture, or with `b` two side by side, as SVG. */
void draw_svg(const Picture *a, const Picture *b, Buf *to);
/* The y of a row of a box. */
int draw_row_y(const Box *b, int row);

#endif
