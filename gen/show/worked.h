/* worked.h - one channel of a norm through folding, with numbers. */
#ifndef WORKED_H
#define WORKED_H

#include "weights.h"

/* `checkpoint`: where the numbers are from, or NULL: they are weights_draw's, and the norm gets examples. */
void worked_print(const Plan *p, int norm, int channel, const Weights *w, const char *checkpoint, FILE *to);

#endif
