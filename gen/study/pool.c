/* pool.c - a study's rows: each seed cuts them anew into rows to train with and rows to pick rates by; test rows stay
 * apart. They are the set's, or where rows are dealt into folds, those of the seed's fold.
 *
 * needs: a set of `convoy data`.  sets: sets for single seeds, in which no test row is; and the ones of test rows. */
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
    int32_t *group; /* NULL: the set has none */
    int n;
} Part;

enum { TRAIN, VALID, TEST, SPLITS };
static const char *const split_words[SPLITS] = {"train", "valid", "test"};

/* Which rows are tested, and which are not. Rows are numbered through the splits, one after the other. */
typedef struct Cut {
    int *row, nrow;     /* to train with and to pick by: those that are used, class by class */
    int *first;         /* of a class in `row`; classes + 1 of them */
    int *test, ntest;   /* class by class */
    int *spare, nspare; /* rows that no seed trains with, and every seed holds out */
} Cut;

struct Pool {
    struct cvy_tensors set;
    const char *path, *map;
    size_t bytes, row_bytes;
    Part split[SPLITS];
    int classes;
    Cut *cut; /* one; of folds, one each */
    int ncut;
    bool grouped; /* all splits say which rows are of one group */
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

/* The numbers of a tensor that has one for each row, copied; the set may lie at any address. */
static void *numbers_of(const Pool *p, const struct cvy_entry *e, int n, size_t bytes)
{
    char *to = xalloc((size_t)n * bytes);
    memcpy(to, p->map + p->set.data_at + e->begin, (size_t)n * bytes);
    return to;
}

/* Which rows are of one group: where the set does not say, each is one of its own. */
static bool read_groups(Pool *p, const char *name, Part *to)
{
    const struct cvy_entry *e = cvy_tensors_find(&p->set, xprintf("%s.group", name));
    if (!e)
        return true;
    if (strcmp(e->word, "I32") != 0 || e->ndim != 1 || e->dim[0] != to->n ||
        e->end - e->begin != (uint64_t)to->n * sizeof *to->group)
        return bad(p, xprintf("%s.group does not fit", name));
    to->group = numbers_of(p, e, to->n, sizeof *to->group);
    return true;
}

/* A split's rows and labels; only rows to choose by may be missing. */
static bool open_split(Pool *p, int split)
{
    const char *name = split_words[split];
    Part *to = &p->split[split];
    *to = (Part){.x = cvy_tensors_find(&p->set, xprintf("%s.x", name)),
                 .y = cvy_tensors_find(&p->set, xprintf("%s.y", name))};
    if (!to->x && !to->y && split == VALID)
        return true;
    if (!to->x || !to->y)
        return bad(p, xprintf("it has no rows of '%s'", name));
    if (to->x->ndim != 4 || to->y->ndim != 1 || to->x->dim[0] != to->y->dim[0] || to->x->dim[0] < 1 ||
        to->x->dim[0] > INT32_MAX / 4)
        return bad(p, xprintf("%s.x and %s.y do not fit", name, name));
    if (to->y->dtype != CVY_I64 || (to->x->dtype != CVY_F32 && strcmp(to->x->word, "U8") != 0))
        return bad(p, to->y->dtype == CVY_F32 ? "it is for regression" : "rows or labels are of another type");
    if (!same_rows(p->split[TRAIN].x, to->x))
        return bad(p, "rows have several shapes");
    to->n = (int)to->x->dim[0];
    if ((to->y->end - to->y->begin) != (uint64_t)to->n * sizeof(int64_t) ||
        (to->x->end - to->x->begin) % (uint64_t)to->n)
        return bad(p, "shapes and bytes do not fit");
    to->rows = p->map + p->set.data_at + to->x->begin;
    to->label = numbers_of(p, to->y, to->n, sizeof *to->label);
    for (int i = 0; i < to->n; i++)
        if (to->label[i] < 0 || to->label[i] >= p->classes)
            return bad(p,
                       xprintf("%s.y[%d] is %lld, there are %d classes", name, i, (long long)to->label[i], p->classes));
    return read_groups(p, name, to);
}

static int all_rows(const Pool *p)
{
    return p->split[TRAIN].n + p->split[VALID].n + p->split[TEST].n;
}

static const Part *split_of(const Pool *p, int *row)
{
    int split = TRAIN;
    while (*row >= p->split[split].n)
        *row -= p->split[split++].n;
    return &p->split[split];
}

static int64_t label_of(const Pool *p, int row)
{
    const Part *split = split_of(p, &row);
    return split->label[row];
}

static const char *bytes_of(const Pool *p, int row)
{
    const Part *split = split_of(p, &row);
    return split->rows + (size_t)row * p->row_bytes;
}

/* ---- which rows ---- */

/* Rows to choose from. */
typedef struct Rows {
    int *at, n;
} Rows;

static Rows rows_between(int from, int to)
{
    Rows r = {xalloc(((size_t)(to - from) + 1) * sizeof *r.at), to - from};
    for (int i = 0; i < r.n; i++)
        r.at[i] = from + i;
    return r;
}

/* `most` of them (0: all), of each class in proportion: the first of each class in an order that a stream of its own
 * draws. Sets rows class by class, and where each class begins. */
static int *choose(const Pool *p, Rows of, int most, uint64_t stream, int *chosen, int **first)
{
    const int n = of.n;
    int *order = xalloc(((size_t)n + 1) * sizeof *order), *row = xalloc(((size_t)n + 1) * sizeof *row), k = 0;
    int *begin = xalloc(((size_t)p->classes + 1) * sizeof *begin);
    cvy_permutation(order, n, stream, 0);
    for (int c = 0; c < p->classes; c++) {
        int of_class = 0, taken = 0;
        begin[c] = k;
        for (int i = 0; i < n; i++)
            of_class += label_of(p, of.at[i]) == c;
        const int want = most && most < n ? (int)(((int64_t)of_class * most + n / 2) / n) : of_class;
        for (int i = 0; i < n && taken < want; i++)
            if (label_of(p, of.at[order[i]]) == c) {
                row[k++] = of.at[order[i]];
                taken++;
            }
    }
    begin[p->classes] = *chosen = k;
    if (first)
        *first = begin;
    return row;
}

/* Rows to train with that were not chosen, in the order in which rows were drawn. */
static void find_spare(Cut *cut, Rows of, int most, int all)
{
    bool *used = xalloc((size_t)all * sizeof *used);
    int *order = xalloc(((size_t)of.n + 1) * sizeof *order);
    cut->spare = xalloc(((size_t)of.n + 1) * sizeof *cut->spare);
    for (int i = 0; i < cut->nrow; i++)
        used[cut->row[i]] = true;
    cvy_permutation(order, of.n, 1, 0);
    for (int i = 0; i < of.n && cut->nspare < most; i++)
        if (!used[of.at[order[i]]])
            cut->spare[cut->nspare++] = of.at[order[i]];
}

static bool make_cut(const Pool *p, Rows train, Rows test, const PoolTake *take, Cut *to)
{
    to->row = choose(p, train, take->rows, 1, &to->nrow, &to->first);
    find_spare(to, train, take->pick_rows, all_rows(p));
    to->test = choose(p, test, take->test_rows, 2, &to->ntest, NULL);
    return (to->nrow >= 10 && to->ntest >= 10) ||
           bad(p, xprintf("%d rows to train with and to pick by, %d to test: 10 of each are the least", to->nrow,
                          to->ntest));
}

/* ---- folds ---- */

/* Rows of one group, which stay together. */
typedef struct Clump {
    int group, n, drawn; /* drawn: where its first row stands in the order that was drawn */
    int64_t label;       /* of that row */
    int number;
} Clump;

static int by_group(const void *a, const void *b)
{
    const Clump *x = a, *y = b;
    return x->group != y->group ? (x->group < y->group ? -1 : 1) : x->drawn < y->drawn ? -1 : x->drawn > y->drawn;
}

/* Class by class, the largest first, those of one size as they were drawn. */
static int by_class(const void *a, const void *b)
{
    const Clump *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return x->drawn < y->drawn ? -1 : x->drawn > y->drawn;
}

static int group_of(const Pool *p, int row)
{
    const int number = row;
    const Part *split = split_of(p, &row);
    return p->grouped ? split->group[row] : number;
}

/* The clumps of all rows, in the order in which they are dealt. clump_of: of each row, its clump's number. */
static Clump *clumps(const Pool *p, int *n, int *clump_of)
{
    const int rows = all_rows(p);
    int *order = xalloc((size_t)rows * sizeof *order), k = 0;
    Clump *list = xalloc((size_t)rows * sizeof *list);
    cvy_permutation(order, rows, 3, 0);
    for (int i = 0; i < rows; i++)
        list[i] = (Clump){.group = group_of(p, order[i]), .n = 1, .drawn = i, .label = label_of(p, order[i])};
    qsort(list, (size_t)rows, sizeof *list, by_group);
    for (int i = 0; i < rows; i++) {
        const int row = order[list[i].drawn];
        if (k && list[k - 1].group == list[i].group) {
            list[k - 1].n++;
        } else {
            list[k] = list[i];
            list[k].number = k;
            k++;
        }
        clump_of[row] = k - 1;
    }
    qsort(list, (size_t)k, sizeof *list, by_class);
    *n = k;
    return list;
}

/* The fold of each row: a clump goes where the fewest rows of its class are, of these where the fewest rows are. */
static int *deal(const Pool *p, int folds)
{
    const int rows = all_rows(p);
    int n, *fold = xalloc((size_t)rows * sizeof *fold);
    const Clump *list = clumps(p, &n, fold);
    int *of_class = xalloc((size_t)folds * sizeof *of_class), *of_all = xalloc((size_t)folds * sizeof *of_all),
        *of_clump = xalloc((size_t)n * sizeof *of_clump);
    for (int i = 0; i < n; i++) {
        int to = 0;
        if (!i || list[i].label != list[i - 1].label)
            memset(of_class, 0, (size_t)folds * sizeof *of_class);
        for (int f = 1; f < folds; f++)
            if (of_class[f] < of_class[to] || (of_class[f] == of_class[to] && of_all[f] < of_all[to]))
                to = f;
        of_class[to] += list[i].n;
        of_all[to] += list[i].n;
        of_clump[list[i].number] = to;
    }
    for (int i = 0; i < rows; i++)
        fold[i] = of_clump[fold[i]];
    return fold;
}

static bool cut_folds(Pool *p, const PoolTake *take)
{
    const int rows = all_rows(p), *fold = deal(p, take->folds);
    bool ok = true;
    for (int f = 0; f < take->folds && ok; f++) {
        Rows train = {xalloc((size_t)rows * sizeof(int)), 0}, test = {xalloc((size_t)rows * sizeof(int)), 0};
        for (int i = 0; i < rows; i++) {
            Rows *to = fold[i] == f ? &test : &train;
            to->at[to->n++] = i;
        }
        ok = make_cut(p, train, test, take, &p->cut[f]);
    }
    return ok;
}

static const Cut *cut_of(const Pool *p, int64_t seed)
{
    return &p->cut[pool_fold(p, seed)];
}

/* ---- opening ---- */

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

bool pool_was_cut(const char *set)
{
    struct cvy_tensors t;
    if (!cvy_tensors_open(&t, set))
        return false;
    const char *text = cvy_get_meta(&t, "recipe");
    json_t *recipe = text ? json_loads(text, 0, NULL) : NULL;
    const char *shares = json_string_value(json_object_get(recipe, "split")),
               *last = shares ? strrchr(shares, '/') : NULL;
    const bool cut = last && strtod(last + 1, NULL) > 0;
    json_decref(recipe);
    cvy_tensors_free(&t);
    return cut;
}

Pool *pool_open(const char *set, const PoolTake *take)
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
    for (int i = 0; i < SPLITS; i++)
        if (!open_split(p, i))
            return NULL;
    const Part *train = &p->split[TRAIN];
    p->grouped = train->group && p->split[TEST].group && (p->split[VALID].group || !p->split[VALID].n);
    const int test_at = train->n + p->split[VALID].n;
    p->row_bytes = (size_t)(train->x->end - train->x->begin) / (size_t)train->n;
    p->ncut = take->folds ? take->folds : 1;
    p->cut = xalloc((size_t)p->ncut * sizeof *p->cut);
    if (take->folds ? !cut_folds(p, take)
                    : !make_cut(p, rows_between(0, test_at), rows_between(test_at, all_rows(p)), take, p->cut))
        return NULL;
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
    int *of = xalloc((size_t)p->classes * sizeof *of), most = 0, least = INT32_MAX, there = 0, all = 0;
    double sum = 0; /* of 1 / rows */
    s->rows = p->cut->ntest;
    for (int k = 0; k < p->ncut; k++) {
        const Cut *cut = &p->cut[k];
        for (int i = 0; i < cut->ntest; i++)
            of[label_of(p, cut->test[i])]++;
        all += cut->ntest;
        s->rows = cut->ntest < s->rows ? cut->ntest : s->rows;
    }
    for (int c = 0; c < p->classes; c++) {
        if (!of[c])
            continue;
        most = of[c] > most ? of[c] : most;
        least = of[c] < least ? of[c] : least;
        sum += (double)p->ncut / of[c];
        there++;
    }
    s->classes = p->classes;
    s->overlap = p->ncut > 1 ? 1. / (p->ncut - 1) : 0;
    s->guessing = (double)most / all;
    if (most <= MOST_TIMES * least)
        return;
    s->score = SCORE_RECALL;
    s->effective = there * there / sum;
    s->guessing = 1. / there;
}

int pool_rows(const Pool *p)
{
    int least = p->cut->nrow;
    for (int i = 1; i < p->ncut; i++)
        least = p->cut[i].nrow < least ? p->cut[i].nrow : least;
    return least;
}

int pool_test_rows(const Pool *p, int64_t seed)
{
    return cut_of(p, seed)->ntest;
}

int pool_folds(const Pool *p)
{
    return p->ncut;
}

int pool_fold(const Pool *p, int64_t seed)
{
    return (int)(seed % p->ncut);
}

int pool_classes(const Pool *p)
{
    return p->classes;
}

void pool_shape(const Pool *p, int shape[3])
{
    for (int i = 0; i < 3; i++)
        shape[i] = (int)p->split[TRAIN].x->dim[i + 1];
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
    const int64_t *d = p->split[TRAIN].x->dim;
    for (int i = 0; i < n; i++)
        json_object_set_new(
            o, xprintf("%s.x", part[i].name),
            tensor_json(p->split[TRAIN].x->word,
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
            const int64_t label = label_of(p, part[i].row[k]);
            ok = cvy_out_write(&out, &label, sizeof label);
        }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < part[i].n && ok; k++)
            ok = cvy_out_write(&out, bytes_of(p, part[i].row[k]), p->row_bytes);
    free(text);
    if (!ok) {
        cvy_out_drop(&out);
        return false;
    }
    return cvy_out_commit(&out, 1);
}

bool pool_cut(const Pool *p, double share, int64_t seed, const char *path)
{
    const Cut *cut = cut_of(p, seed);
    int *order = xalloc((size_t)cut->nrow * sizeof *order), *train = xalloc((size_t)cut->nrow * sizeof *train),
        *held = xalloc((size_t)(cut->nrow + cut->nspare) * sizeof *held), ntrain = 0, nheld = 0;
    for (int c = 0; c < p->classes; c++) {
        const int n = cut->first[c + 1] - cut->first[c], out = (int)lround(n * share);
        cvy_permutation(order, n, (uint64_t)seed, (uint64_t)c + 1);
        for (int i = 0; i < n; i++) {
            const int row = cut->row[cut->first[c] + order[i]];
            if (i < out)
                held[nheld++] = row;
            else
                train[ntrain++] = row;
        }
    }
    for (int i = 0; i < cut->nspare; i++)
        held[nheld++] = cut->spare[i];
    if (!nheld || !ntrain) {
        cvy_error(NULL, "a share of %g of %d rows leaves none to %s", share, cut->nrow,
                  nheld ? "train with" : "pick rates by");
        return false;
    }
    const Out part[] = {{"train", train, ntrain}, {"test", held, nheld}};
    return write_set(p, part, 2, path);
}

bool pool_whole(const Pool *p, const char *path)
{
    const Cut *cut = p->cut;
    int *train = xalloc((size_t)(cut->nrow + cut->ntest) * sizeof *train), n = cut->nrow;
    memcpy(train, cut->row, (size_t)n * sizeof *train);
    for (int i = 0; i < cut->ntest && p->ncut > 1; i++) /* of folds, no row is tested with alone */
        train[n++] = cut->test[i];
    const Out part[] = {{"train", train, n}, {"test", cut->test, cut->ntest}};
    return write_set(p, part, 2, path);
}

bool pool_test(const Pool *p, int fold, const char *path)
{
    const Out part = {"test", p->cut[fold].test, p->cut[fold].ntest};
    return write_set(p, &part, 1, path);
}
