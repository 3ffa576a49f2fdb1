/* set_info.c - what a set says of itself, for a spec that is to fit it: its header. */
#include "data.h"
#include "image.h"
#include "import.h"
#include "runtime.h"

#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

bool set_is(const char *path)
{
    struct stat st;
    unsigned char head[9];
    uint64_t len = 0;
    FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
    const bool read = f && fread(head, 1, sizeof head, f) == sizeof head;
    if (f)
        fclose(f);
    for (int i = 0; read && i < 8; i++)
        len |= (uint64_t)head[i] << 8 * i;
    return read && head[8] == '{' && len < (uint64_t)st.st_size;
}

/* So many numbers of the metadata. NULL where there are not. */
static double *numbers(const struct cvy_tensors *f, const char *key, int n)
{
    const char *text = cvy_get_meta(f, key);
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    double *v = (int)json_array_size(list) == n ? xalloc((size_t)n * sizeof *v) : NULL;
    for (int i = 0; v && i < n; i++)
        v[i] = json_number_value(json_array_get(list, (size_t)i));
    json_decref(list);
    return v;
}

static bool read_info(SetInfo *info, const struct cvy_tensors *f)
{
    Origin origin;
    const struct cvy_entry *x = cvy_tensors_find(f, "train.x"), *y = cvy_tensors_find(f, "train.y");
    if (!x || !y || x->ndim != 4 || y->ndim < 1 || y->ndim > 2 ||
        (y->ndim == 2 && (y->dtype != CVY_F32 || y->dim[1] < 1 || y->dim[1] > INT32_MAX)) || x->dim[0] != y->dim[0]) {
        cvy_error("convoy data SRC makes one of images, arrays or a table",
                  "'%s' is no set: it has no rows to train with", f->path);
        return false;
    }
    for (int i = 0; i < 4; i++)
        if (x->dim[i] < 1 || x->dim[i] > INT32_MAX) {
            cvy_error("make the set again", "'%s': train.x has an impossible shape", f->path);
            return false;
        }
    if (!origin_read(&origin, f))
        return false;
    info->channels = (int)x->dim[1];
    info->height = (int)x->dim[2];
    info->width = (int)x->dim[3];
    info->floats = x->dtype == CVY_F32;
    info->lengths = cvy_tensors_find(f, "train.length") != NULL;
    info->nclass = y->dtype == CVY_I64 ? origin.nclass : 0;
    info->outputs = info->nclass ? 0 : y->ndim == 2 ? (int)y->dim[1] : 1;
    info->class_name = origin.class_name;
    info->target = origin.ntarget == info->outputs ? origin.target : NULL;
    info->mean = numbers(f, "mean", info->channels);
    info->sd = numbers(f, "sd", info->channels);
    if (!info->mean || !info->sd || (y->dtype == CVY_I64 && !origin.nclass)) {
        cvy_error("make the set again", "'%s': its metadata have no classes, or no mean and sd of each channel",
                  f->path);
        return false;
    }
    for (int c = 0; c < info->channels; c++)
        info->sd[c] = info->sd[c] > 0 ? info->sd[c] : 1;
    for (int s = 0; s < SPLITS; s++) {
        const struct cvy_entry *rows = cvy_tensors_find(f, xprintf("%s.y", split_words[s]));
        info->rows[s] = rows && rows->ndim >= 1 ? rows->dim[0] : 0;
    }
    return true;
}

bool set_info(SetInfo *info, const char *path)
{
    struct cvy_tensors f;
    *info = (SetInfo){0};
    const bool ok = cvy_tensors_open(&f, path) && read_info(info, &f);
    cvy_tensors_free(&f);
    return ok;
}
