/* phases.h - what winograd.c asks of phases.c. */
#ifndef PHASES_H
#define PHASES_H

#include "plan.h"

void phases_shape(Winograd *w, Pass pass); /* sets phases, points, side, step, border */
/* The pixel of dz, along an axis, that is the first of what data's tile at pixel 0 reads. */
int phases_first_met(int padding);
void phases_place(Winograd *w); /* the offsets of phases in an image whose rows are w->x_row apart */
/* Cycles an image of a pass by direct cores, by cover.c's model. */
double phases_direct_cycles(const Target *t, const Graph *g, const Op *o, Pass pass);

#endif
