/* data.h - `convoy data`: what people have, images, arrays and tables, becomes one file, a set. */
#ifndef CONVOY_DATA_H
#define CONVOY_DATA_H

#include "base.h"

struct cvy_option;

/* What the command line says; NULL and 0 where it says nothing. */
typedef struct DataOptions {
    const char *out, *sheet, *html;
    const char *labels, *label, *target, *label_regex, *group, *size, *fit, *split, *x, *y, *layout, *shape, *length;
    int gray, features, coarse, keep_truncated, json, quiet, max;
    uint64_t seed;
    int want[3]; /* channels, height, width that image files shall have where --size and --gray are not given; 0: any */
} DataOptions;
enum { DATA_OPTIONS = 32 }; /* room */
/* The options of the command beside -o, --html, --json and -q; they set *o, which gets its defaults. */
void data_options(DataOptions *o, struct cvy_option *list);

/* Reads SRC, writes the set, prints what was found. False after a message: the set that was there is as it was. Where a
 * signal asked for the end, *by_signal is its number, and all is cleaned up. */
bool data_import(const char *src, const DataOptions *o, int *by_signal);

/* What a set is made of, as text: SRC, the options that were given, names, sizes and times of the files; and the set
 * itself as it lies there. A line each; where one of them changes, the set is made again. NULL after a message. */
const char *data_stamp(const char *src, const struct cvy_option *options, const DataOptions *o);
const char *set_stamp(const char *path);
/* Which line of two stamps differs, in words; NULL: none. */
const char *stamp_change(const char *before, const char *now);

/* What a spec needs to know of a set. */
typedef struct SetInfo {
    int channels, height, width, nclass; /* nclass 0: for regression, of */
    int outputs;                         /* numbers a row */
    bool floats;
    bool lengths;      /* each row has a length of its own */
    int64_t rows[3];   /* to train with, to choose by, to test */
    double *mean, *sd; /* by channel; sd is never 0 */
    const char **class_name;
    const char **target; /* what the numbers to learn are called; NULL: nobody said */
} SetInfo;
bool set_is(const char *path);                  /* whether it may be a set, as far as its first bytes tell */
bool set_info(SetInfo *info, const char *path); /* false after a message */

#endif
