/* options.c - the options of `convoy data`, with their defaults. */
#include "data.h"
#include "runtime.h"

#include <string.h>

void data_options(DataOptions *o, struct cvy_option *list)
{
    *o = (DataOptions){.seed = 1};
    const struct cvy_option option[] = {
        {CVY_SECTION, "splits", NULL, NULL, 0, 0, NULL, 0},
        {CVY_TEXT, "--split", "T/V/E", &o->split, 0, 0,
         "shares to train with, to choose by and to test, each class alike [70/15/15; from 10,000 rows on 80/10/10]",
         0},
        {CVY_TEXT, "--group", "REGEX", &o->group, 0, 0,
         "rows whose names have this in common (its first parentheses) stay in one split", 0},
        {CVY_U64, "--seed", "N", &o->seed, 0, 0, "of splits, of the order of rows, of --max [1]", 0},
        {CVY_INT, "--max", "N", &o->max, 1, 2147483647, "at most N rows, of each class in proportion", 0},
        {CVY_SECTION, "pictures", NULL, NULL, 0, 0, NULL, 0},
        {CVY_TEXT, "--sheet", "FILE.png", &o->sheet, 0, 0, "a contact sheet: a line of images for each class", 0},
        {CVY_SECTION, "image files", NULL, NULL, 0, 0, NULL, 0},
        {CVY_TEXT, "--labels", "FILE.csv", &o->labels, 0, 0, "a table of files and classes, instead of folders", 0},
        {CVY_TEXT, "--label-regex", "REGEX", &o->label_regex, 0, 0,
         "the class is what this finds in a file's path (its first parentheses)", 0},
        {CVY_TEXT, "--size", "HxW", &o->size, 0, 0, "[the images' own, where all have one; else 64x64]", 0},
        {CVY_TEXT, "--fit", "HOW", &o->fit, 0, 0,
         "to another shape: crop (the middle), pad (with black) or squash [crop]", 0},
        {CVY_FLAG, "--gray", NULL, &o->gray, 0, 0, "grey images [as they are: grey where all are]", 0},
        {CVY_FLAG, "--keep-truncated", NULL, &o->keep_truncated, 0, 0,
         "keep what can be read of damaged files [left out]", 0},
        {CVY_SECTION, "tables and arrays", NULL, NULL, 0, 0, NULL, 0},
        {CVY_TEXT, "--label", "COLUMN", &o->label, 0, 0,
         "the column of a table that holds the class, by name or number", 0},
        {CVY_TEXT, "--target", "COLUMN,...", &o->target, 0, 0,
         "columns of a table with numbers to learn, instead of a class ('convoy train' takes several as --label A,B)",
         0},
        {CVY_TEXT, "--length", "COLUMN", &o->length, 0, 0,
         "rows are sequences: the column of a table, or the array, that holds how many steps of a row count", 0},
        {CVY_FLAG, "--features", NULL, &o->features, 0, 0, "a row is a list of features, though it might be pixels", 0},
        {CVY_TEXT, "--shape", "CxHxW", &o->shape, 0, 0,
         "a row is an image of this shape; with lengths, Cx1xW: C features, W steps", 0},
        {CVY_TEXT, "--x", "NAME", &o->x, 0, 0, "the array of rows [x_train, x, images, data, arr_0, ...]", 0},
        {CVY_TEXT, "--y", "NAME", &o->y, 0, 0, "the array of classes, or a .npy file [y_train, y, labels, arr_1, ...]",
         0},
        {CVY_TEXT, "--layout", "L", &o->layout, 0, 0,
         "NHWC or NCHW, of arrays of images [NHWC where the last axis is 1, 3 or 4]", 0},
        {CVY_FLAG, "--coarse", NULL, &o->coarse, 0, 0, "CIFAR-100's 20 coarse classes [its 100 fine ones]", 0},
        {CVY_FLAG, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    memcpy(list, option, sizeof option);
}
