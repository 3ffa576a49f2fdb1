/* flips.h - tests that flip a row's properties: a table that is constant is opened, a property is set to another value,
 * the check that the row passes as it stands must fail, and the property is put back. */
#ifndef FLIPS_H
#define FLIPS_H

#include <stdbool.h>
#include <stddef.h>

/* Makes what is constant writable. Ends the program where that cannot be. */
void flips_open(const void *at, size_t bytes);
/* Whether row `which` is right, asked in a process of its own: a function that is called with another's data may
 * crash, which is noticed, too. */
bool flips_right(bool (*right)(int which), int which);
/* Counts a failure unless the row is right as it stands. */
void flips_row(const char *row, bool (*right)(int which), int which);
/* Counts a failure unless the row is wrong with `bytes` of `value` at `property`. */
void flips_try(const char *row, const char *property, const void *at, const void *value, size_t bytes,
               bool (*right)(int which), int which);
/* A property whose flips no test could notice as a fault, and why. */
void flips_same(const char *row, const char *property, const char *why);
/* Counts a failure: a row that no reference here knows. */
void flips_unknown(const char *row);
/* Prints the counts; returns what main does. */
int flips_end(void);

/* Flips a field that is named. */
#define FLIP(row, object, field, to, right, which)                                                                     \
    flips_try(row, #field, &(object)->field, &(to), sizeof(object)->field, right, which)

#endif
