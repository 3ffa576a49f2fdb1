/* data.h - `convoy data`: what people have, images, arrays and tables, becomes one file, a set. */
#ifndef CONVOY_DATA_H
#define CONVOY_DATA_H

#include "base.h"

struct cvy_option;

/* What the command line says; NULL and 0 where it says nothing. */
typedef struct DataOptions {
    const char *out, *sheet, *html;
    const char *labels, *label, *label_regex, *group, *size, *fit, *split, *x, *y, *layout, *shape;
    int gray, features, coarse, keep_truncated, json, quiet, max;
    uint64_t seed;
} DataOptions;
enum { DATA_OPTIONS = 32 }; /* room */
/* The options of the command beside -o, --html, --json and -q; they set *o, which gets its defaults. */
void data_options(DataOptions *o, struct cvy_option *list);

/* Reads SRC, writes the set, prints what was found. False after a message: the set that was there is as it was. Where a
 * signal asked for the end, *by_signal is its number, and all is cleaned up. */
bool data_import(const char *src, const DataOptions *o, int *by_signal);

#endif
