/* image.h - how a tensor lies: in blocks of 16 channels, in scratch with a halo around it. */
#ifndef IMAGE_H
#define IMAGE_H

#include "graph.h"

enum {
    LANES = 16,
    PLAIN_MAX = 3, /* channels up to which a packed input is plain */
};

/* An image in scratch. Blocked: element (c, y, x) at ((c / 16 * rows + y + top) * cols + x + left) * 16 + c % 16.
 * Plain: at (c * rows + y + top) * cols + x + left. The halo around h x w holds `fill`. */
typedef struct Image {
    Shape shape;
    int top, left, rows, cols;
    bool plain, filled; /* filled: it has a halo that must be set */
    bool minus_inf;     /* the halo's value: -infinity (max pooling) or 0 */
    int64_t floats;
    int copies; /* in scratch, one after the other: of the images that one walk over the weights' gradient takes */
    int64_t at; /* offset in the thread's scratch, set by memory */
    const char *name; /* in the emitted code */
    bool row;         /* a row of a matrix in the arena (linear), not in scratch */
    bool given;       /* another kernel's or the caller's, not in scratch */
    bool shared;      /* paths write parts of its blocks: cleared once, so that padding channels are zero */
} Image;

int blocks_of(int channels);
int64_t blocked_floats(Shape s);

#endif
