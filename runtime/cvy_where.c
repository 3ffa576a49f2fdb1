/* cvy_where.c - where a network's data are: drawn, in the folder of a package, in a folder of four IDX files, or in a
 * set. Knows names, no contents; `convoy train` asks here before it compiles. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char fashion[] = "fashion-mnist";
static const char fashion_folder[] = "/usr/share/datasets/fashion-mnist"; /* of Debian's dataset-fashion-mnist */
const char *const cvy_origin_keys[CVY_ORIGINS] = {"classes", "columns", "recipe"};

const char cvy_four_files[] =
    "a folder of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
    "t10k-labels-idx1-ubyte (each may end in .gz) is named by --data DIR; a set of 'convoy data' by --data FILE";
const char cvy_from_zero[] = "labels count from 0; are these counted from 1?";

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

/* Whether the folder is there; where not, what to do about it. */
static int check_folder(const char *folder, const char *data, int by_default)
{
    struct stat st;
    if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
        return 1;
    if (by_default)
        cvy_error("apt-get install dataset-fashion-mnist, or name the folder of its four files with --data DIR; "
                  "--data shapes trains on drawn figures instead",
                  "Fashion-MNIST is not in '%s'", folder);
    else
        cvy_error(cvy_four_files, "there is no folder and no set '%s' (data: %s)", folder, data);
    return 0;
}

/* Whether `word` asks for drawn figures: "shapes", or "shapes:SEED" for others than the usual ones. */
static int is_shapes(const char *word, uint64_t *seed)
{
    *seed = 1;
    return strcmp(word, "shapes") == 0 ||
           (strncmp(word, "shapes:", 7) == 0 && cvy_parse_u64(word + 7, 0, UINT64_MAX, seed));
}

enum cvy_where cvy_data_where(const char *data, const char *said, uint64_t *seed, const char **folder)
{
    struct stat st;
    const int there = said && stat(said, &st) == 0; /* a folder that is called so goes before the word */
    if (said && !there && strcmp(said, fashion) == 0) {
        data = fashion;
        said = NULL;
    }
    if (said ? is_shapes(said, seed) && !there : is_shapes(data, seed))
        return CVY_DRAWN;
    if (!said && strcmp(data, fashion) != 0) {
        cvy_error(cvy_four_files, "where is the data? (data: %s)", data);
        return CVY_NOWHERE;
    }
    *folder = said ? said : fashion_folder;
    if (there && !S_ISDIR(st.st_mode))
        return CVY_SET;
    return check_folder(*folder, data, !said) ? CVY_FOLDER : CVY_NOWHERE;
}
