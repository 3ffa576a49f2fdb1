/* pool.c - a study's rows: each seed cuts them anew into rows to train with and rows to pick rates by; test rows stay
 * apart.
 *
 * needs: a set of `convoy data`.  sets: sets for single seeds, in which no test row is; and the one of test rows. */
#include "plan_study.h"
#include "files.h"
#include "runtime.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* A split of the set. */
typedef struct Part {
    const struct cvy_entry *x, *y;
    const char *rows; /* mapped */
    int64_t *label;
    int n;
} Part;

struct Pool {
    struct cvy_tensors set;
    const char *path, *map;
    size_t bytes, row_bytes;
    Part train, valid, test;
    int classes;
    int *row, nrow; /* of train and valid, one after the other: those that are used, class by class */
    int *first;     /* of a class in `row`; classes + 1 of them */
    int *test_row, ntest;
    int *spare, nspare; /* of train and valid: rows that no seed trains with, and every seed holds out */
    uint32_t crc;
};

static bool bad(const Pool *p, const char *why)
{
    cvy_error("convoy data SRC makes one", "'%s' is no set for a study: %s", p->path, why);
    return false;
}

static bool same_rows(const struct cvy_entry *a, const struct cvy_entry *b)
{
    return strcmp(a->word, b->word) == 0 && a->ndim == b->ndim &&
           memcmp(a->dim + 1, b->dim + 1, 3 * sizeof *a->dim) == 0;
}

/* A split's rows and labels; `needed`: that it has none is an error. */
static bool open_part(Pool *p, const char *name, bool needed, Part *to)
{
    *to = (Part){.x = cvy_tensors_find(&p->set, xprintf("%s.x", name)),
                 .y = cvy_tensors_find(&p->set, xprintf("%s.y", name))};
    if (!to->x && !to->y && !needed)
        return true;
    if (!to->x || !to->y)
        return bad(p, xprintf("it has no rows of '%s'", name));
    if (to->x->ndim != 4 || to->y->ndim != 1 || to->x->dim[0] != to->y->dim[0] || to->x->dim[0] < 1 ||
        to->x->dim[0] > INT32_MAX / 2)
        return bad(p, xprintf("%s.x and %s.y do not fit", name, name));
    if (to->y->dtype != CVY_I64 || (to->x->dtype != CVY_F32 && strcmp(to->x->word, "U8") != 0))
        return bad(p, to->y->dtype == CVY_F32 ? "it is for regression" : "rows or labels are of another type");
    if (p->train.x && !same_rows(p->train.x, to->x))
        return bad(p, "rows have several shapes");
    to->n = (int)to->x->dim[0];
    if ((to->y->end - to->y->begin) != (uint64_t)to->n * sizeof(int64_t) ||
        (to->x->end - to->x->begin) % (uint64_t)to->n)
        return bad(p, "shapes and bytes do not fit");
    to->rows = p->map + p->set.data_at + to->x->begin;
    to->label = xalloc((size_t)to->n * sizeof *to->label);
    memcpy(to->label, p->map + p->set.data_at + to->y->begin, (size_t)to->n * sizeof *to->label);
    for (int i = 0; i < to->n; i++)
        if (to->label[i] < 0 || to->label[i] >= p->classes)
            return bad(p,
                       xprintf("%s.y[%d] is %lld, there are %d classes", name, i, (long long)to->label[i], p->classes));
    return true;
}

static int64_t label_of(const Pool *p, int row)
{
    return row < p->train.n ? p->train.label[row] : p->valid.label[row - p->train.n];
}

static const char *bytes_of(const Pool *p, int row)
{
    const Part *part = row < p->train.n ? &p->train : &p->valid;
    return part->rows + (size_t)(row < p->train.n ? row : row - p->train.n) * p->row_bytes;
}

/* `most` of n rows, of each class in proportion: the first of each class in an order that a stream of its own draws.
 * Sets rows class by class, and where each class begins. */
static int *choose(const Pool *p, int n, int most, uint64_t stream, int64_t (*label)(const Pool *, int), int *chosen,
                   int **first)
{
    int *order = xalloc(((size_t)n + 1) * sizeof *order), *row = xalloc(((size_t)n + 1) * sizeof *row), k = 0;
    int *begin = xalloc(((size_t)p->classes + 1) * sizeof *begin);
    cvy_permutation(order, n, stream, 0);
    for (int c = 0; c < p->classes; c++) {
        int of_class = 0, taken = 0;
        begin[c] = k;
        for (int i = 0; i < n; i++)
            of_class += label(p, i) == c;
        const int want = most && most < n ? (int)(((int64_t)of_class * most + n / 2) / n) : of_class;
        for (int i = 0; i < n && taken < want; i++)
            if (label(p, order[i]) == c) {
                row[k++] = order[i];
                taken++;
            }
    }
    begin[p->classes] = *chosen = k;
    if (first)
        *first = begin;
    return row;
}

static int64_t test_label(const Pool *p, int row)
{
    return p->test.label[row];
}

static bool map_set(Pool *p)
{
    struct stat st;
    if (p->set.kept || fstat(p->set.fd, &st) != 0 || !S_ISREG(st.st_mode))
        return bad(p, "it must be a file");
    p->bytes = (size_t)st.st_size;
    void *map = mmap(NULL, p->bytes, PROT_READ, MAP_PRIVATE, p->set.fd, 0);
    if (map == MAP_FAILED) {
        cvy_error(NULL, "cannot map '%s': %s", p->path, strerror(errno));
        return false;
    }
    p->map = map;
    p->crc = (uint32_t)crc32_z(crc32(0, NULL, 0), map, p->bytes);
    return true;
}

static int class_count(const Pool *p)
{
    const char *text = cvy_get_meta(&p->set, "classes");
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    const int n = json_is_array(list) ? (int)json_array_size(list) : 0;
    json_decref(list);
    return n;
}

/* Rows that were not chosen, in the order in which rows were drawn. */
static void find_spare(Pool *p, int most)
{
    const int n = p->train.n + p->valid.n;
    bool *used = xalloc((size_t)n * sizeof *used);
    int *order = xalloc((size_t)n * sizeof *order);
    p->spare = xalloc((size_t)n * sizeof *p->spare);
    for (int i = 0; i < p->nrow; i++)
        used[p->row[i]] = true;
    cvy_permutation(order, n, 1, 0);
    for (int i = 0; i < n && p->nspare < most; i++)
        if (!used[order[i]])
            p->spare[p->nspare++] = order[i];
}

Pool *pool_open(const char *set, int most_rows, int most_test, int pick_rows)
{
    Pool *p = xalloc(sizeof *p);
    p->path = set;
    if (!cvy_tensors_open(&p->set, set) || !map_set(p))
        return NULL;
    p->classes = class_count(p);
    if (p->classes < 2 || p->classes > 1 << 16) {
        bad(p, "it does not name its classes");
        return NULL;
    }
    if (!open_part(p, "train", true, &p->train) || !open_part(p, "valid", false, &p->valid) ||
        !open_part(p, "test", true, &p->test))
        return NULL;
    p->row_bytes = (size_t)(p->train.x->end - p->train.x->begin) / (size_t)p->train.n;
    p->row = choose(p, p->train.n + p->valid.n, most_rows, 1, label_of, &p->nrow, &p->first);
    find_spare(p, pick_rows);
    p->test_row = choose(p, p->test.n, most_test, 2, test_label, &p->ntest, NULL);
    if (p->nrow < 10 || p->ntest < 10) {
        bad(p,
            xprintf("%d rows to train with and to pick by, %d to test: 10 of each are the least", p->nrow, p->ntest));
        return NULL;
    }
    return p;
}

void pool_close(Pool *p)
{
    munmap((void *)(uintptr_t)p->map, p->bytes);
    cvy_tensors_free(&p->set);
}

void pool_describe(const Pool *p, Study *s)
{
    enum { MOST_TIMES = 3 }; /* the smallest class may be so many times in the largest for accuracy to be the score */
    int *of = xalloc((size_t)p->classes * sizeof *of), most = 0, least = p->ntest, there = 0;
    double sum = 0; /* of 1 / rows */
    for (int i = 0; i < p->ntest; i++)
        of[p->test.label[p->test_row[i]]]++;
    for (int c = 0; c < p->classes; c++) {
        if (!of[c])
            continue;
        most = of[c] > most ? of[c] : most;
        least = of[c] < least ? of[c] : least;
        sum += 1. / of[c];
        there++;
    }
    s->classes = p->classes;
    s->rows = p->ntest;
    s->guessing = (double)most / p->ntest;
    if (most <= MOST_TIMES * least)
        return;
    s->score = SCORE_RECALL;
    s->effective = there * there / sum;
    s->guessing = 1. / there;
}

int pool_rows(const Pool *p)
{
    return p->nrow;
}

int pool_classes(const Pool *p)
{
    return p->classes;
}

void pool_shape(const Pool *p, int shape[3])
{
    for (int i = 0; i < 3; i++)
        shape[i] = (int)p->train.x->dim[i + 1];
}

const char *pool_meta(const Pool *p, const char *key)
{
    const char *text = cvy_get_meta(&p->set, key);
    return text ? text : "1";
}

uint32_t pool_crc(const Pool *p)
{
    return p->crc;
}

/* ---- writing ---- */

/* Rows of a split to be written. */
typedef struct Out {
    const char *name;
    const int *row;
    int n;
    bool test; /* rows of the set's test split */
} Out;

static json_t *tensor_json(const char *dtype, json_t *shape, uint64_t *at, uint64_t bytes)
{
    json_t *o = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets", (json_int_t)*at,
                          (json_int_t)(*at + bytes));
    *at += bytes;
    return o;
}

/* The header: labels first, so that every tensor is aligned; what the set says of its classes and numbers stays. */
static char *header(const Pool *p, const Out *part, int n)
{
    json_t *o = json_object(), *meta = json_object();
    uint64_t at = 0;
    static const char *const kept[] = {"classes", "mean", "sd", "recipe", NULL};
    for (int i = 0; kept[i]; i++)
        if (cvy_get_meta(&p->set, kept[i]))
            json_object_set_new(meta, kept[i], json_string(cvy_get_meta(&p->set, kept[i])));
    json_object_set_new(o, "__metadata__", meta);
    for (int i = 0; i < n; i++)
        json_object_set_new(
            o, xprintf("%s.y", part[i].name),
            tensor_json("I64", json_pack("[i]", part[i].n), &at, (uint64_t)part[i].n * sizeof(int64_t)));
    const int64_t *d = p->train.x->dim;
    for (int i = 0; i < n; i++)
        json_object_set_new(
            o, xprintf("%s.x", part[i].name),
            tensor_json(p->train.x->word,
                        json_pack("[i, I, I, I]", part[i].n, (json_int_t)d[1], (json_int_t)d[2], (json_int_t)d[3]), &at,
                        (uint64_t)part[i].n * p->row_bytes));
    char *text = cvy_json_text(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(o);
    return text;
}

static bool write_set(const Pool *p, const Out *part, int n, const char *path)
{
    struct cvy_out out;
    char *text = header(p, part, n);
    if (!text) {
        cvy_error(NULL, "out of memory");
        return false;
    }
    const size_t len = strlen(text), padded = (len + 7) / 8 * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)padded >> 8 * i);
    bool ok = cvy_out_open(&out, path);
    if (!ok) {
        free(text);
        return false;
    }
    ok =
        cvy_out_write(&out, size, 8) && cvy_out_write(&out, text, len) && cvy_out_write(&out, "        ", padded - len);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < part[i].n && ok; k++) {
            const int64_t label = part[i].test ? test_label(p, part[i].row[k]) : label_of(p, part[i].row[k]);
            ok = cvy_out_write(&out, &label, sizeof label);
        }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < part[i].n && ok; k++)
            ok = cvy_out_write(
                &out, part[i].test ? p->test.rows + (size_t)part[i].row[k] * p->row_bytes : bytes_of(p, part[i].row[k]),
                p->row_bytes);
    free(text);
    if (!ok) {
        cvy_out_drop(&out);
        return false;
    }
    return cvy_out_commit(&out, 1);
}

bool pool_cut(const Pool *p, double share, int64_t seed, const char *path)
{
    int *order = xalloc((size_t)p->nrow * sizeof *order), *train = xalloc((size_t)p->nrow * sizeof *train),
        *held = xalloc((size_t)(p->nrow + p->nspare) * sizeof *held), ntrain = 0, nheld = 0;
    for (int c = 0; c < p->classes; c++) {
        const int n = p->first[c + 1] - p->first[c], out = (int)lround(n * share);
        cvy_permutation(order, n, (uint64_t)seed, (uint64_t)c + 1);
        for (int i = 0; i < n; i++) {
            const int row = p->row[p->first[c] + order[i]];
            if (i < out)
                held[nheld++] = row;
            else
                train[ntrain++] = row;
        }
    }
    for (int i = 0; i < p->nspare; i++)
        held[nheld++] = p->spare[i];
    if (!nheld || !ntrain) {
        cvy_error(NULL, "a share of %g of %d rows leaves none to %s", share, p->nrow,
                  nheld ? "train with" : "pick rates by");
        return false;
    }
    const Out part[] = {{"train", train, ntrain, false}, {"test", held, nheld, false}};
    return write_set(p, part, 2, path);
}

bool pool_whole(const Pool *p, const char *path)
{
    const Out part[] = {{"train", p->row, p->nrow, false}, {"test", p->test_row, p->ntest, true}};
    return write_set(p, part, 2, path);
}

bool pool_test(const Pool *p, const char *path)
{
    const Out part = {"test", p->test_row, p->ntest, true};
    return write_set(p, &part, 1, path);
}
