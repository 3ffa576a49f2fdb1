/* mutate.h - small changes of a random spec, for mutants.c. What comes out may be invalid, or the same spec. */
#ifndef MUTATE_H
#define MUTATE_H

#include "randspec.h"

/* One change of any kind: an argument, an op, the sequence of stages, a size, a bias, a name, where a layer ends. */
void rs_mutate(Rng *r, RandSpec *s);
/* Stages leave the beginning of a chain for another block, or come there from one. */
void rs_carry(Rng *r, RandSpec *s);

#endif
