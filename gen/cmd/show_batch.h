/* show_batch.h - `convoy data --show-batch SPEC`: what a training sees. */
#ifndef CONVOY_SHOW_BATCH_H
#define CONVOY_SHOW_BATCH_H

#include "commands.h"

typedef struct ShowOptions {
    const char *spec; /* NULL: nothing is to be shown */
    int epoch, n;     /* n 0: as many as a batch */
} ShowOptions;
struct cvy_option;
/* The options of `convoy data` that only this has; they set *o, which gets its defaults. */
void show_options(ShowOptions *o, struct cvy_option *list);

/* Draws the first rows that a training of the spec sees in an epoch into data's --sheet (or NAME-batch.png), and writes
 * their numbers into -o (.npy). o->spec: the data, NULL: the spec's; o->import: options of an import. seeded: whether
 * --seed was given. An exit status. */
int show_batch(const Options *o, const ShowOptions *own, const DataOptions *data, bool seeded);

#endif
