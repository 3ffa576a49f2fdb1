/* cvy_augment.h - what is done to images before a training sees them: words, a row each, and an image's share of them,
 * drawn from (seed, epoch, image) alone. SPDX-License-Identifier: 0BSD */
#ifndef CVY_AUGMENT_H
#define CVY_AUGMENT_H

#include "cvy_names.h"

#include <stddef.h>
#include <stdint.h>

enum { CVY_CROP, CVY_SHIFT, CVY_FLIP, CVY_CUTOUT, CVY_MIXUP, CVY_AUGMENTS };

struct cvy_augment_word {
    const char *name, *help;
    int takes;     /* whether it has a number: crop(4) */
    double lo, hi; /* the number's range, both included */
    int whole;
};
extern const struct cvy_augment_word cvy_augment_words[CVY_AUGMENTS]; /* in the order in which they are done */

struct cvy_augment {
    double by[CVY_AUGMENTS]; /* the word's number, 1 where it takes none; 0: it is not asked for */
};
enum { CVY_AUGMENT_TEXT = 128 }; /* room */
/* Reads "crop(4), flip": words with commas between them; "" and "none" are none. 0 where it is not that: `why` says so.
 */
int cvy_augment_read(struct cvy_augment *a, const char *text, char *why, size_t room);
/* The same, as text with the words in their order; "" where there are none. */
void cvy_augment_write(const struct cvy_augment *a, char text[CVY_AUGMENT_TEXT]);
int cvy_augments(const struct cvy_augment *a);        /* whether it does anything */
int cvy_augments_pixels(const struct cvy_augment *a); /* ... that only images can bear: all but mixup */

/* Where an image's pixels come from: output (y, x) is input (y + dy, flip ? width - 1 - x + dx : x + dx), black where
 * that lies outside. Rows [hole[0], hole[1]) and columns [hole[2], hole[3]) are what the network reads as the mean, 0.
 */
struct cvy_view {
    int dy, dx, flip, hole[4];
};
/* With which of n images an image is mixed, and its own share of the mixture, drawn from Beta(a, a). */
struct cvy_mix {
    int other;
    float share;
};
struct cvy_mix cvy_augment_mix(const struct cvy_augment *a, int n, uint64_t seed, uint64_t epoch, uint64_t image);
struct cvy_view cvy_augment_draw(const struct cvy_augment *a, int height, int width, uint64_t seed, uint64_t epoch,
                                 uint64_t image);

#endif
