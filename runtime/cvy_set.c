/* cvy_set.c - a set, as `convoy data` writes it: a safetensors file with rows and labels of train, valid and test. Rows
 * are mapped, so that a set may be larger than memory. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#define _FILE_OFFSET_BITS 64

#include "cvy_private.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char make_one[] = "convoy data SRC makes one of images, arrays or a table";

/* A tensor of a split; NULL: it has none. */
static const struct cvy_entry *find(const struct cvy_tensors *f, const char *split, const char *part)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%s", split, part);
    return cvy_tensors_find(f, name);
}

/* Metadata that are JSON; NULL where there are none. */
static json_t *meta_json(const struct cvy_tensors *f, const char *key)
{
    const char *text = cvy_get_meta(f, key);
    return text ? json_loads(text, 0, NULL) : NULL;
}

/* ---- whether it fits the network ---- */

static int damaged_set(const struct cvy_tensors *f, const char *split, const char *why)
{
    cvy_error("make the set again", "'%s': %s.x and %s.y: %s", f->path, split, split, why);
    return 0;
}

/* The types and shapes of rows and labels. *floats: whether rows are float32, else bytes. */
static int shapes_fit(const struct cvy_tensors *f, const char *split, const struct cvy_entry *x,
                      const struct cvy_entry *y, int *floats)
{
    uint64_t count = 1;
    *floats = x->dtype == CVY_F32;
    if (!*floats && strcmp(x->word, "U8") != 0)
        return damaged_set(f, split, "rows are no bytes and no float32");
    if (x->ndim != 4 || (y->ndim != 1 && (y->ndim != 2 || y->dtype != CVY_F32)) || y->dim[0] != x->dim[0] ||
        x->dim[0] < 1 || x->dim[0] > INT32_MAX)
        return damaged_set(f, split, "their shapes are not n x c x h x w and n");
    for (int i = 0; i < 4; i++) {
        if (x->dim[i] < 1 || x->dim[i] > INT32_MAX || count > UINT64_MAX / 16 / (uint64_t)x->dim[i])
            return damaged_set(f, split, "an impossible shape");
        count *= (uint64_t)x->dim[i];
    }
    if (x->end - x->begin != count * (*floats ? sizeof(float) : 1))
        return damaged_set(f, split, "their bytes are not what their shapes say");
    return 1;
}

/* ", price, age": what the numbers to learn are called; "" where nobody said. */
static const char *targets_text(const struct cvy_tensors *f, char *text, size_t room)
{
    json_t *const names = meta_json(f, cvy_origin_keys[CVY_TARGET_NAMES]);
    size_t at = 0;
    *text = '\0';
    for (size_t i = 0; i < json_array_size(names) && at + 1 < room; i++) {
        const char *const name = json_string_value(json_array_get(names, i));
        char plain[100];
        at += (size_t)snprintf(text + at, room - at, ", %s", name ? cvy_plain(name, plain, sizeof plain) : "");
    }
    json_decref(names);
    return text;
}

static int set_fits(const struct cvy_tensors *f, const struct cvy_model *m, const struct cvy_entry *x,
                    const struct cvy_entry *y)
{
    json_t *classes = meta_json(f, "classes");
    const enum cvy_target wants = m->train.loss->target;
    const long long numbers = y->ndim == 2 ? (long long)y->dim[1] : 1;
    const long long n = wants == CVY_INPUT       ? m->classes
                        : wants == CVY_VALUES    ? numbers
                        : json_is_array(classes) ? (long long)json_array_size(classes)
                                                 : m->classes;
    json_decref(classes);
    if (wants == CVY_VALUES && y->dtype != CVY_F32) {
        cvy_error("'loss: cross_entropy' learns classes; 'convoy data --target COLUMN' takes a column of numbers",
                  "'%s' has classes; the network '%s' learns %d number%s of each row by %s", f->path, m->name,
                  m->classes, m->classes == 1 ? "" : "s", m->train.loss->help);
        return 0;
    }
    if (wants == CVY_CLASS && y->dtype != CVY_I64) {
        char plain[200];
        cvy_error(NULL, "'%s' is for regression: its labels are numbers%s; the network '%s' learns %d classes", f->path,
                  targets_text(f, plain, sizeof plain), m->name, m->classes);
        return 0;
    }
    if (cvy_reads(m, x->dim[1], x->dim[2], x->dim[3]) && n == m->classes)
        return 1;
    if (wants == CVY_VALUES) {
        char names[200];
        cvy_error(
            "'convoy new NAME --data FILE' writes a spec that fits",
            "'%s' holds rows of %lld x %lld x %lld with %lld number%s to learn%s; the network '%s' reads %d x %d x %d "
            "and has %d output%s",
            f->path, (long long)x->dim[1], (long long)x->dim[2], (long long)x->dim[3], n, n == 1 ? "" : "s",
            targets_text(f, names, sizeof names), m->name, m->channels, m->height, m->width, m->classes,
            m->classes == 1 ? "" : "s");
        return 0;
    }
    cvy_error("'convoy new NAME --data FILE' writes a spec that fits",
              "'%s' holds rows of %lld x %lld x %lld in %lld classes; the network '%s' reads %d x %d x %d and has %d "
              "classes",
              f->path, (long long)x->dim[1], (long long)x->dim[2], (long long)x->dim[3], n, m->name, m->channels,
              m->height, m->width, m->classes);
    return 0;
}

/* The network takes the spec's mean and std away; numbers of another kind than those make it learn badly, or not. */
static void compare_scale(const struct cvy_tensors *f, const struct cvy_model *m)
{
    json_t *mean = meta_json(f, "mean"), *sd = meta_json(f, "sd");
    for (int c = 0; c < m->channels; c++) {
        const double at = json_number_value(json_array_get(mean, (size_t)c)),
                     by = json_number_value(json_array_get(sd, (size_t)c));
        const double own_at = m->train.mean ? (double)m->train.mean[c] : 0,
                     own_by = m->train.std ? (double)m->train.std[c] : 1;
        if ((int)json_array_size(mean) != m->channels || (int)json_array_size(sd) != m->channels || by <= 0)
            continue;
        if (fabs(at - own_at) <= 2 * by && by <= 5 * own_by && own_by <= 5 * by)
            continue;
        cvy_warn(
            "channel %d of '%s' has mean %.4g and sd %.4g, and the spec says mean %.4g and std %.4g; 'convoy data' "
            "prints the lines that fit",
            c, f->path, at, by, own_at, own_by);
        break;
    }
    json_decref(mean);
    json_decref(sd);
}

/* ---- numbers ---- */

/* Bytes of the data, from `at` on. */
static int read_bytes(const struct cvy_tensors *f, void *to, size_t bytes, uint64_t at)
{
    if (f->kept) {
        memcpy(to, f->kept + at, bytes);
        return 1;
    }
    const off_t where = (off_t)(f->data_at + at);
    const int64_t got = lseek(f->fd, where, SEEK_SET) == where ? cvy_fd_read(f->fd, to, bytes) : -1;
    if (got == (int64_t)bytes)
        return 1;
    cvy_error(NULL, "cannot read '%s': %s", f->path, got < 0 ? strerror(errno) : "it ends early");
    return 0;
}

static int read_set_labels(struct cvy_data *d, const struct cvy_tensors *f, const struct cvy_model *m,
                           const char *split, const struct cvy_entry *y)
{
    enum { PART = 4096 };
    int64_t *part = cvy_alloc(PART, sizeof *part);
    d->label = cvy_alloc((size_t)d->n, sizeof *d->label);
    int ok = part && d->label;
    for (int i = 0; ok && i < d->n; i += PART) {
        const int n = d->n - i < PART ? d->n - i : PART;
        ok = read_bytes(f, part, (size_t)n * sizeof *part, y->begin + (uint64_t)i * sizeof *part);
        for (int k = 0; ok && k < n; k++) {
            if (part[k] < 0 || part[k] >= m->classes) {
                cvy_error(NULL, "'%s': %s.y[%d] is %" PRId64 "; the network has %d classes (0 to %d)", f->path, split,
                          i + k, part[k], m->classes, m->classes - 1);
                ok = 0;
            }
            d->label[i + k] = (int32_t)part[k];
        }
    }
    free(part);
    return ok;
}

/* What a regression wants of each row. */
static int read_set_values(struct cvy_data *d, const struct cvy_tensors *f, const struct cvy_model *m,
                           const char *split, const struct cvy_entry *y)
{
    const size_t n = (size_t)d->n * (size_t)m->classes;
    d->value = cvy_alloc(n, sizeof *d->value);
    d->values = m->classes;
    if (!d->value || !read_bytes(f, d->value, n * sizeof *d->value, y->begin))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (!cvy_finite(d->value[i])) {
            cvy_error(NULL, "'%s': %s.y has a number that is not finite, in row %zu", f->path, split,
                      i / (size_t)m->classes);
            return 0;
        }
    return 1;
}

/* The steps that each row has: SPLIT.length. A network without lengths takes no such set, nor one with lengths another.
 */
static int read_set_lengths(struct cvy_data *d, const struct cvy_tensors *f, const struct cvy_model *m,
                            const char *split, int64_t rows)
{
    const struct cvy_entry *from = find(f, split, "length");
    if (!from && !m->lengths)
        return 1;
    if (!from) {
        cvy_error("a set has them as SPLIT.length, int64, one of each row",
                  "'%s' has no %s.length, and the network '%s' takes a length a sample", f->path, split, m->name);
        return 0;
    }
    if (!m->lengths) {
        cvy_error("input: {..., lengths: true}",
                  "'%s' has a length of each row (%s.length), and the network '%s' takes none", f->path, split,
                  m->name);
        return 0;
    }
    if (from->dtype != CVY_I64 || from->ndim != 1 || from->dim[0] != rows ||
        from->end - from->begin != (uint64_t)from->dim[0] * sizeof(int64_t)) {
        cvy_error("make the set again", "'%s': %s.length is not an int64 of each row", f->path, split);
        return 0;
    }
    int64_t *all = cvy_alloc((size_t)d->n, sizeof *all);
    d->length = cvy_alloc((size_t)d->n, sizeof *d->length);
    int ok = all && d->length && read_bytes(f, all, (size_t)d->n * sizeof *all, from->begin);
    for (int i = 0; ok && i < d->n; i++) {
        ok = all[i] >= 1 && all[i] <= m->width;
        d->length[i] = (int32_t)(ok ? all[i] : 0);
        if (!ok)
            cvy_error(NULL, "'%s': %s.length[%d] is %" PRId64 "; the network '%s' reads 1 to %d steps", f->path, split,
                      i, all[i], m->name, m->width);
    }
    free(all);
    return ok;
}

/* A file's rows are mapped; those that came through a pipe are copied. */
static int read_rows(struct cvy_data *d, const struct cvy_tensors *f, const struct cvy_entry *x, int floats)
{
    const size_t bytes = (size_t)(x->end - x->begin) / (size_t)x->dim[0] * (size_t)d->n;
    const long page = sysconf(_SC_PAGESIZE);
    const uint64_t at = f->data_at + x->begin, skip = page > 0 ? at % (uint64_t)page : 0;
    const char *rows;
    if (f->kept || page <= 0 || (floats && at % sizeof(float))) {
        char *own = cvy_alloc(bytes, 1);
        if (!own || !read_bytes(f, own, bytes, x->begin)) {
            free(own);
            return 0;
        }
        d->own = own;
        rows = own;
    } else {
        void *map = mmap(NULL, bytes + (size_t)skip, PROT_READ, MAP_PRIVATE, f->fd, (off_t)(at - skip));
        if (map == MAP_FAILED) {
            cvy_error(NULL, "cannot map '%s': %s", f->path, strerror(errno));
            return 0;
        }
        d->map = map;
        d->map_bytes = bytes + (size_t)skip;
        rows = (const char *)map + skip;
    }
    if (floats)
        d->number = (const void *)rows;
    else
        d->image = (const void *)rows;
    return 1;
}

static int numbers_are_finite(const struct cvy_data *d, const struct cvy_model *m, const char *path)
{
    const size_t each = d->numbers;
    for (int i = 0; d->number && i < d->n; i++)
        for (size_t k = 0; k < each; k++)
            if (!cvy_data_pads(d, m, i, k) && !cvy_finite(d->number[(size_t)i * each + k])) {
                cvy_error("make the set again: 'convoy data' leaves such rows out",
                          "'%s' holds a number that is not finite (row %d)", path, i);
                return 0;
            }
    return 1;
}

static int keep_origin(struct cvy_data *d, const struct cvy_tensors *f)
{
    for (int i = 0; i < CVY_ORIGINS; i++) {
        const char *text = cvy_get_meta(f, cvy_origin_keys[i]);
        if (text && (d->origin[i] = cvy_format("%s", text)) == NULL)
            return 0;
    }
    return 1;
}

/* A row's name in the file, or NULL without a message: it may be damaged, or another by now. */
static char *name_in(const struct cvy_tensors *f, const char *split, int row)
{
    enum { LONGEST = 1000 };
    const struct cvy_entry *at = find(f, split, "name_at"), *name = find(f, split, "name");
    int64_t place[2];
    char text[LONGEST + 1], plain[LONGEST + 1];
    if (!at || !name || at->dtype != CVY_I64 || at->ndim != 1 || at->dim[0] < 2 || row > at->dim[0] - 2 ||
        !read_bytes(f, place, sizeof place, at->begin + 8 * (uint64_t)row) || place[0] < 0 || place[1] < place[0] ||
        place[1] - place[0] > LONGEST || (uint64_t)place[1] > name->end - name->begin ||
        !read_bytes(f, text, (size_t)(place[1] - place[0]), name->begin + (uint64_t)place[0]))
        return NULL;
    text[place[1] - place[0]] = '\0';
    return cvy_format("%s", cvy_plain(text, plain, sizeof plain));
}

char **cvy_answer_names(const struct cvy_data *d, const struct cvy_model *m)
{
    const int classes = cvy_learns_classes(m);
    const char *const text = d->origin[classes ? CVY_CLASSES : CVY_TARGET_NAMES];
    char **const name = cvy_alloc((size_t)m->classes, sizeof *name), plain[200];
    json_t *const names = text ? json_loads(text, 0, NULL) : NULL;
    int ok = name != NULL;
    for (int c = 0; ok && c < m->classes; c++) {
        const char *const said = json_string_value(json_array_get(names, (size_t)c));
        name[c] = said && *said ? cvy_format("%s", cvy_plain(said, plain, sizeof plain))
                                : cvy_format(classes ? "%d" : "output %d", c);
        ok = name[c] != NULL;
    }
    json_decref(names);
    if (ok)
        return name;
    cvy_answer_names_free(name, m->classes);
    return NULL;
}

void cvy_answer_names_free(char **name, int answers)
{
    for (int c = 0; name && c < answers; c++)
        free(name[c]);
    free(name);
}

char *cvy_data_name(const struct cvy_data *d, int row)
{
    struct cvy_tensors f;
    char *name = NULL;
    if (d->named) {
        cvy_silent++;
        name = cvy_tensors_open(&f, d->what) ? name_in(&f, d->named, row) : NULL;
        cvy_silent--;
        cvy_tensors_free(&f);
    }
    return name ? name : cvy_format("image %d", row);
}

/* A set that came through a pipe, which can be read once: its splits are asked for one after the other. */
static struct cvy_tensors piped;

static int open_set(struct cvy_tensors *f, const char *path)
{
    if (piped.path && strcmp(piped.path, path) == 0) {
        *f = piped;
        return 1;
    }
    const int ok = cvy_tensors_open(f, path);
    if (ok && f->kept) {
        cvy_tensors_free(&piped);
        piped = *f;
    }
    return ok;
}

static void close_set(struct cvy_tensors *f)
{
    if (!f->kept || f->kept != piped.kept)
        cvy_tensors_free(f);
}

int cvy_set_load(struct cvy_data *d, const struct cvy_model *m, const char *path, enum cvy_split split, int limit,
                 int *n)
{
    static const char *const words[] = {
        [CVY_TRAIN_SPLIT] = "train", [CVY_VALID_SPLIT] = "valid", [CVY_TEST_SPLIT] = "test"};
    struct cvy_tensors f;
    const char *word = words[split];
    int ok = open_set(&f, path), floats = 0;
    const struct cvy_entry *x = ok ? find(&f, word, "x") : NULL, *y = ok ? find(&f, word, "y") : NULL;
    *n = 0;
    if (ok && !x && split == CVY_TEST_SPLIT && d && find(&f, "train", "x") && find(&f, "valid", "x")) {
        cvy_note("'%s' has no rows to test; those to choose by (valid) are taken", path);
        word = "valid";
        x = find(&f, word, "x");
        y = find(&f, word, "y");
    }
    if (ok && !x && !y && find(&f, "train", "x") && (split == CVY_VALID_SPLIT || !d)) {
        close_set(&f); /* it may have no such rows */
        return 1;
    }
    if (ok && (!x || !y)) {
        cvy_error(make_one,
                  find(&f, "train", "x") || find(&f, "test", "x") ? "'%s' has no rows to %s"
                                                                  : "'%s' is no set: it has no rows to %s",
                  path, split == CVY_TRAIN_SPLIT ? "train with" : "test");
        ok = 0;
    }
    ok = ok && shapes_fit(&f, word, x, y, &floats) && set_fits(&f, m, x, y);
    if (ok)
        *n = limit && limit < x->dim[0] ? limit : (int)x->dim[0];
    if (ok && d) {
        d->n = *n;
        d->named = f.kept || !find(&f, word, "name_at") ? NULL : word; /* a pipe is read once */
        ok = (d->what = cvy_format("%s", path)) != NULL &&
             (m->train.loss->target == CVY_INPUT    ? 1
              : m->train.loss->target == CVY_VALUES ? read_set_values(d, &f, m, word, y)
                                                    : read_set_labels(d, &f, m, word, y)) &&
             read_rows(d, &f, x, floats) && read_set_lengths(d, &f, m, word, x->dim[0]) &&
             numbers_are_finite(d, m, path) && keep_origin(d, &f);
    }
    if (ok && d && split == CVY_TRAIN_SPLIT && !m->tokens)
        compare_scale(&f, m);
    close_set(&f);
    return ok;
}
