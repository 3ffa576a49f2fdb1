/* pass_lines.h - what the files that print a pass over pixels share: pass_lines.c, pass_places.c, pixel_pass.c. */
#ifndef PASS_LINES_H
#define PASS_LINES_H

#include "emit.h"
#include "names.h"

/* The lines of a pass in the making. */
typedef struct Lines {
    const Plan *p;
    const Kernel *k;
    const PixelPass *r;
    const Image *image;
    Rec *rec, *functions; /* the pass's, and its functions' */
    bool one;             /* a walk over a single pixel: its functions are told no place */
    const char *y, *x;    /* of the visited pixel; of a single one "0" */
    const char *index;    /* y * W + x */
    int base;             /* the number of the first value: in C it is v0, wherever on its path a pass begins */
    bool uses_place, uses_q, infer, given, reads_value;
    bool uses_kernel, uses_at, uses_folded, uses_block; /* fields of the struct that lines name: k, at, f, c */
    bool begin_reads_c;                                 /* a line of `begin` names the channel that it is given */
    bool chained; /* in C each value takes the place of the one before it: v, and a skip operand's v_skip0 */
    int drains;
    Names done;       /* constants that are declared and loaded already */
    int *skip, *read; /* by value, the skip operand that it comes of, or that is read there; -1: none */
} Lines;

/* pass_lines.c. A field of the pass's struct. */
void pass_field(Lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void pass_load(Lines *l, const char *name, const char *expr);
/* What a sum of the pass leaves behind, at the end of a tile or row. */
void pass_drain(Lines *l, const char *type, const char *name);
/* What follows the v of a value: nothing, or its number; or the skip operand that it is read from. */
const char *pass_number(const Lines *l, int value);
/* The left side of the line that makes a value. */
const char *pass_let(const Lines *l, int value);
/* The same where it is read from a skip operand: stages may follow there. */
const char *pass_let_skip(const Lines *l, const Step *skip);
/* Whether `name` is new to this pass; from then on it is not. */
bool pass_once(Lines *l, const char *name);
/* The fields of the pass's struct that not every pass has, as lines name them: the kernel, the place in the batch, the
 * folded weights, the channel block. What nobody asks for here is not in the struct. */
const char *pass_kernel(Lines *l);
const char *pass_at(Lines *l);
const char *pass_folded(Lines *l);
const char *pass_block(Lines *l);
/* In lines of `begin`, the channel that it is given: "c", or after a concat "c + 5", or "c + q->first" where the pass
 * is given its first channel. */
const char *pass_channel(Lines *l, int first);
/* "5", or "q->first" */
const char *pass_first_channel(const Lines *l, int first);
/* Whether the pass is given pointers to its tensors. */
bool pass_given_tensors(const Lines *l);
/* The pass is given a pointer `name` into scratch. */
void pass_scratch(Lines *l, const char *type, const char *name);
/* Channels of a tensor, rounded up, with room for a path that writes past the last. */
int pass_room(const Lines *l);
void pass_constants(Lines *l, const Step *s);
void pass_drop(Lines *l, const Step *st);
/* What every line of an op may name. */
void pass_op_fields(Lines *l, Rec *s, const Step *step);

/* pass_places.c. */
/* A window that looks at the whole image, not at one channel block of it. */
bool window_is_whole(const Lines *l);
/* The fields of a line that goes through a window whose input is image m, from output pixel (y, x). */
void window_fields(Lines *l, Rec *s, int op, const Image *m);
void window_taps(const Lines *l, Rec *s, int op, const Image *m, bool skip_first);
/* Pixels of a place, halo and all; of a linear op's result, one. */
int64_t place_area(const Lines *l, const Place *p);
/* The index of pixel (y, x), written as `y` and `x`, in a place. */
const char *place_pixel(const Lines *l, const Place *p, const char *y, const char *x);
/* The pointer to a channel block of a place, or (`whole`) to the place. */
const char *place_block(Lines *l, const Place *p, const char *name, bool grad, bool whole);
void place_image_field(Lines *l, const Place *p, const char *name);
void place_lanes(Lines *l, Rec *s, const Place *p, int channels);
/* Lines that read a value: `list` of the record, as `what` ("return", "const vf v3 ="); q->`from` is the block. */
void place_read(Lines *l, const char *list, const char *what, const char *from, const Place *p, bool window, bool keep);

#endif
