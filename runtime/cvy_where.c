/* cvy_where.c - where a network's data are: drawn, in the folder of a package, in a folder of four IDX files, or in a
 * set. Knows names, no contents; `convoy train` asks here before it compiles. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const cvy_origin_keys[CVY_ORIGINS] = {"classes", "columns", "recipe", "targets"};

const char cvy_four_files[] =
    "a folder of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
    "t10k-labels-idx1-ubyte (each may end in .gz) is named by --data DIR; a set of 'convoy data' by --data FILE";
const char cvy_from_zero[] = "labels count from 0; are these counted from 1?";

/* clang-format off */
const struct cvy_data_word cvy_data_words[] = {
    {"fashion-mnist", "Fashion-MNIST, of Debian's dataset-fashion-mnist unless --data says", 0.2860, 0.3530, 1, 28, 28, 10, CVY_FOLDER, "/usr/share/datasets/fashion-mnist",
     "apt-get install dataset-fashion-mnist, or name the folder of its four files with --data DIR; --data shapes trains on drawn figures instead"},
    {"mnist", "MNIST, in --data", 0.1307, 0.3081, 1, 28, 28, 10, CVY_NOWHERE, NULL, NULL},
    {"shapes", "figures that the runtime draws", 0.5, 0.25, 0, 0, 0, 0, CVY_DRAWN, NULL, NULL},
    {"idx", "files of your own, or a set, in --data", 0.5, 0.25, 0, 0, 0, 0, CVY_NOWHERE, NULL, NULL},
    {NULL, NULL, 0, 0, 0, 0, 0, 0, CVY_NOWHERE, NULL, NULL}};
/* clang-format on */

/* The word that the first `length` letters are. */
static const struct cvy_data_word *data_word_of(const char *text, size_t length)
{
    for (const struct cvy_data_word *w = cvy_data_words; w->name; w++)
        if (strlen(w->name) == length && strncmp(w->name, text, length) == 0)
            return w;
    return NULL;
}

const struct cvy_data_word *cvy_data_word(const char *name)
{
    return data_word_of(name, strlen(name));
}

char *cvy_data_file(const char *folder, enum cvy_split split, int images)
{
    static const char *const image_ends[] = {"-idx3-ubyte", "-idx4-ubyte", ".idx3-ubyte", ".idx4-ubyte", NULL};
    static const char *const label_ends[] = {"-idx1-ubyte", ".idx1-ubyte", NULL};
    const char *const *end = images ? image_ends : label_ends;
    const char *prefix = split == CVY_TRAIN_SPLIT ? "train" : "t10k", *what = images ? "images" : "labels";
    for (int gz = 0; gz < 2; gz++) {
        for (int i = 0; end[i]; i++) {
            struct stat st;
            char *path = cvy_format("%s/%s-%s%s%s", folder, prefix, what, end[i], gz ? ".gz" : "");
            if (!path || stat(path, &st) == 0)
                return path;
            free(path);
        }
    }
    cvy_error(cvy_four_files, "there is no '%s/%s-%s%s' (or .gz)", folder, prefix, what, end[0]);
    return NULL;
}

/* "WORD", or "WORD:SEED" of what is drawn, for other figures than the usual ones; NULL: neither. */
static const struct cvy_data_word *named(const char *text, uint64_t *seed)
{
    const char *colon = strchr(text, ':');
    const struct cvy_data_word *w = data_word_of(text, colon ? (size_t)(colon - text) : strlen(text));

    *seed = 1;
    return w && colon && (w->from != CVY_DRAWN || !cvy_parse_u64(colon + 1, 0, UINT64_MAX, seed)) ? NULL : w;
}

/* Of what lies in the folder `dir`, the name nearest to `name`, or `near` where nothing is nearer; NULL: none is near.
 */
static char *nearest_in(const char *dir, const char *name, const char *near)
{
    char *best = near ? cvy_format("%s", near) : NULL;
    const struct dirent *e;
    DIR *d = opendir(dir);
    while (d && (e = readdir(d))) {
        const int first = best && strcmp(best, e->d_name) < 0; /* of equally near ones, whatever the folder's order */
        const char *const two[] = {first ? best : e->d_name, first ? e->d_name : best, NULL};
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || cvy_nearest(name, two) != e->d_name)
            continue;
        free(best);
        best = cvy_format("%s", e->d_name);
    }
    if (d)
        closedir(d);
    return best;
}

char *cvy_near_path(const char *path, int words)
{
    enum { WORDS = 16 };
    const char *word[WORDS + 1] = {NULL};
    char plain[4096];
    int n = 0;
    for (const struct cvy_data_word *w = cvy_data_words; words && w->name && n < WORDS; w++)
        if (w->folder || w->from == CVY_DRAWN)
            word[n++] = w->name;
    size_t end = strlen(path), at;
    while (end > 1 && path[end - 1] == '/')
        end--;
    for (at = end; at > 0 && path[at - 1] != '/'; at--)
        ;
    char *dir = cvy_format("%.*s", (int)at, path), *name = cvy_format("%.*s", (int)(end - at), path + at);
    char *near = dir && name && end < sizeof plain
                     ? nearest_in(at ? dir : ".", name, at ? NULL : cvy_nearest(name, word))
                     : NULL;
    char *hint = near ? cvy_format("did you mean '%s%s'?", dir, cvy_plain(near, plain, sizeof plain)) : NULL;
    free(dir);
    free(name);
    free(near);
    return hint;
}

enum cvy_where cvy_data_where(const char *data, const char *said, uint64_t *seed, const char **folder)
{
    struct stat st;
    const int there = said && stat(said, &st) == 0; /* a folder that is called so goes before the word */
    const struct cvy_data_word *w = there ? NULL : named(said ? said : data, seed);

    if (w && w->from == CVY_DRAWN)
        return CVY_DRAWN;
    if (!said && (!w || !w->folder)) {
        cvy_error(cvy_four_files, "where is the data? (data: %s)", data);
        return CVY_NOWHERE;
    }
    *folder = w && w->folder ? w->folder : said;
    if (there && !S_ISDIR(st.st_mode))
        return CVY_SET;
    if (there || (stat(*folder, &st) == 0 && S_ISDIR(st.st_mode)))
        return CVY_FOLDER;
    char *near = w && w->folder ? NULL : cvy_near_path(said, 1);
    if (w && w->folder)
        cvy_error(w->missing, "%s is not in '%s'", w->name, w->folder);
    else
        cvy_error(near ? near : cvy_four_files, "there is no folder and no set '%s' (data: %s)", said, data);
    free(near);
    return CVY_NOWHERE;
}
