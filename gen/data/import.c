/* import.c - the way from SRC to a set, step by step.
 *
 *   list         every row that there may be: name, label, split              (the source)
 *   read         each row into the spool; what cannot be read is left out     (the source)
 *   duplicates   equal rows become groups, near ones are noted
 *   split        which rows train, choose, test; their order
 *   write        statistics, the file
 *   report
 */
#define _FILE_OFFSET_BITS 64
#include "import.h"
#include "interrupt.h"
#include "runtime.h"

#include <errno.h>
#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const DataSource *const sources[] = {&array_source, &idx_source,    &cifar_source,
                                            &table_source, &folder_source, NULL};

/* ---- classes: in the order of their names ---- */

static const Import *sorting;

static int by_name(const void *a, const void *b)
{
    return strcmp(sorting->class_name[*(const int *)a], sorting->class_name[*(const int *)b]);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = 0, y = 0;
    cvy_parse_i64(sorting->class_name[*(const int *)a], INT64_MIN, INT64_MAX, &x);
    cvy_parse_i64(sorting->class_name[*(const int *)b], INT64_MIN, INT64_MAX, &y);
    return x < y ? -1 : x > y ? 1 : by_name(a, b);
}

static bool all_numbers(const Import *m)
{
    int64_t v;
    for (int c = 0; c < m->nclass; c++)
        if (!cvy_parse_i64(m->class_name[c], INT64_MIN, INT64_MAX, &v))
            return false;
    return m->nclass > 0;
}

/* Sorts the classes and drops those that have no row. */
static void sort_classes(Import *m)
{
    int *order = xalloc(((size_t)m->nclass + 1) * sizeof *order),
        *number = xalloc(((size_t)m->nclass + 1) * sizeof *number);
    const char **name = xalloc(((size_t)m->nclass + 1) * sizeof *name);
    int n = 0, empty = 0;
    for (int c = 0; c < m->nclass; c++)
        order[c] = c;
    m->numeric_classes = all_numbers(m);
    sorting = m;
    if (m->nclass)
        qsort(order, (size_t)m->nclass, sizeof *order, m->numeric_classes ? by_value : by_name);
    for (int i = 0; i < m->n; i++)
        if (!record(m, i)->left_out)
            number[record(m, i)->label] = 1;
    for (int i = 0; i < m->nclass; i++) {
        const int c = order[i];
        if (!number[c]) {
            note(m, NOTE_ODD, m->class_name[c], "the class has no row: it is left out of the classes");
            empty++;
            continue;
        }
        name[n] = m->class_name[c];
        number[c] = n++;
    }
    for (int i = 0; i < m->n; i++)
        if (!record(m, i)->left_out)
            record(m, i)->label = number[record(m, i)->label];
    m->class_name = name;
    m->nclass = n;
    if (m->numeric_classes && n > 1)
        fact(m, "classes", NULL, "%d, all whole numbers: in the order of their values%s", n,
             strcmp(name[0], "0") != 0 ? xprintf(" ('%s' is class 0 of the network)", name[0]) : "");
    else
        fact(m, "classes", NULL, "%d, in the order of their names' bytes", n);
    if (empty)
        fact(m, "classes", NULL, "%d without a row %s left out", empty, empty == 1 ? "is" : "are");
}

/* ---- groups, --max ---- */

static bool regex_make(const char *flag, const char *text, regex_t *re)
{
    char why[200];
    const int e = regcomp(re, text, REG_EXTENDED);
    if (e == 0)
        return true;
    regerror(e, re, why, sizeof why);
    cvy_error("an extended regular expression of POSIX; what stands in its first parentheses counts, or all of it",
              "%s '%s': %s", flag, text, why);
    return false;
}

/* What a name's group is called, by its first parentheses, or by all that was found. */
static bool find_groups(Import *m)
{
    regex_t re;
    regmatch_t at[2];
    Buf name = {0};
    int alone = 0;
    bool ok = true;
    if (!m->o->group || m->source->groups)
        return true;
    if (!regex_make("--group", m->o->group, &re))
        return false;
    for (int i = 0; i < m->n && ok; i++) {
        ok = goes_on() && texts_get(&m->names, record(m, i)->name, &name);
        if (!ok || regexec(&re, name.text, 2, at, 0) != 0) {
            alone++;
            continue;
        }
        const regmatch_t *g = re.re_nsub && at[1].rm_so >= 0 ? &at[1] : &at[0];
        record(m, i)->group = hash_of(name.text + g->rm_so, (size_t)(g->rm_eo - g->rm_so)) | 1;
    }
    regfree(&re);
    fact(m, "groups", "--group REGEX", "rows whose names have '%s' in common stay in one split%s", m->o->group,
         alone ? xprintf("; %d names do not match: each stands alone", alone) : "");
    return ok;
}

static int by_draw(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    const Record *x = record(sorting, i), *y = record(sorting, k);
    return x->hash < y->hash ? -1 : x->hash > y->hash ? 1 : i < k ? -1 : i > k;
}

/* At most N rows, of each class and given split in proportion: rows in a drawn order, of which every class and split
 * keeps its first ones. */
static void keep_at_most(Import *m)
{
    const int n = m->n, kinds = (m->nclass ? m->nclass : 1) * (SPLITS + 1);
    if (!m->o->max || n <= m->o->max)
        return;
    int *index = xmalloc((size_t)n * sizeof *index);
    double *left = xmalloc((size_t)kinds * sizeof *left), carry = 0;
    for (int k = 0; k < kinds; k++)
        left[k] = 0;
    for (int i = 0; i < n; i++) {
        Record *r = record(m, i);
        uint32_t w[4];
        cvy_draw4(m->o->seed, cvy_name_hash("max"), (uint64_t)i, w);
        r->hash = (uint64_t)w[0] << 32 | w[1];
        index[i] = i;
        left[(m->regression || r->label < 0 ? 0 : r->label) * (SPLITS + 1) + r->split]++;
    }
    for (int k = 0; k < kinds; k++) { /* whole numbers that add up to --max */
        const double want = left[k] * m->o->max / n + carry, whole = (double)(int64_t)(want + 1e-9);
        carry = want - whole;
        left[k] = whole;
    }
    sorting = m;
    qsort(index, (size_t)n, sizeof *index, by_draw);
    for (int k = 0; k < n; k++) {
        Record *r = record(m, index[k]);
        double *more = &left[(m->regression || r->label < 0 ? 0 : r->label) * (SPLITS + 1) + r->split];
        r->left_out = *more < 1;
        *more -= !r->left_out;
    }
    fact(m, "rows", "--max N", "%d of %d, of each class in proportion, drawn from seed %llu", m->o->max, n,
         (unsigned long long)m->o->seed);
    free(index);
    free(left);
}

/* ---- reading ---- */

/* 64 comparisons of brightness between neighbours, of the image in 8 rows of 9 areas. */
static uint64_t near_hash(const Import *m, const uint8_t *row)
{
    const int h = m->height, w = m->width;
    uint64_t bits = 0;
    if (h < 8 || w < 9)
        return 0;
    for (int y = 0; y < 8; y++) {
        double before = 0;
        for (int x = 0; x < 9; x++) {
            const int y0 = y * h / 8, y1 = (y + 1) * h / 8, x0 = x * w / 9, x1 = (x + 1) * w / 9;
            uint64_t sum = 0;
            for (int c = 0; c < m->channels; c++)
                for (int py = y0; py < y1; py++)
                    for (int px = x0; px < x1; px++)
                        sum += row[((size_t)c * (size_t)h + (size_t)py) * (size_t)w + (size_t)px];
            const double mean = (double)sum / ((double)(y1 - y0) * (x1 - x0));
            if (x > 0)
                bits = bits << 1 | (mean > before);
            before = mean;
        }
    }
    return bits;
}

static void look_at(Import *m, const void *row, int split)
{
    const int n = row_numbers(m);
    for (int k = 0; k < n; k++) {
        if (length_pads(m, k))
            continue;
        const double v = m->floats ? ((const float *)row)[k] : ((const uint8_t *)row)[k];
        m->least = v < m->least ? v : m->least;
        m->most = v > m->most ? v : m->most;
        m->split_most[split] = v > m->split_most[split] ? v : m->split_most[split];
        if (m->floats && m->whole)
            m->whole = v >= 0 && v <= 255 && v == (int)v;
    }
}

/* Rows of whole numbers from 0 to 255 may be pixels: what --shape says, or a square. */
static bool find_pixels(Import *m)
{
    int shape[3];
    bool bad = false;
    if (lengths_are(m)) {
        lengths_end(m);
        return true;
    }
    if (!m->floats || m->height > 1 || m->width > 1 || (!m->o->shape && (!m->whole || m->most <= 1)))
        return true;
    if (pixels_shape(m, m->channels, shape, &bad)) {
        fact(m, "pixels", m->o->shape ? NULL : "--features, or --shape CxHxW", "a row of %d %s is %d x %d x %d pixels",
             m->channels, m->whole ? "whole numbers" : "numbers", shape[0], shape[1], shape[2]);
        m->channels = shape[0];
        m->height = shape[1];
        m->width = shape[2];
        m->column = NULL;
    }
    return !bad;
}

/* One split from 0 to 255 and another from 0 to 1 were not scaled alike. */
static void compare_ranges(Import *m)
{
    const double *most = m->split_most;
    for (int s = SPLIT_VALID; s < SPLITS; s++)
        if (m->floats && most[SPLIT_TRAIN] > 0 && most[s] > 0 &&
            (most[s] > 50 * most[SPLIT_TRAIN] || most[SPLIT_TRAIN] > 50 * most[s]))
            fact(m, "warning", NULL, "the numbers of train go up to %.6g, those of %s to %.6g: were they scaled alike?",
                 most[SPLIT_TRAIN], split_words[s], most[s]);
}

static bool read_rows(Import *m)
{
    int kept = 0;
    m->row_bytes = (size_t)row_numbers(m) * (m->floats ? sizeof(float) : 1);
    if (!spool_open(&m->rows, m->folder))
        return false;
    void *row = xmalloc(m->row_bytes);
    m->least = HUGE_VAL;
    m->most = -HUGE_VAL;
    m->whole = true;
    int got = 0;
    for (int i = 0; i < m->n && got >= 0; i++) {
        Record *r = record(m, i);
        if (r->left_out)
            continue;
        got = goes_on() && length_get(m, i, &m->live) ? m->source->row(m, i, row) : -1;
        if (got < 0)
            break;
        r->left_out = got == 0;
        if (got == 0)
            continue;
        kept++;
        look_at(m, row, r->split);
        r->hash = hash_of(row, m->row_bytes);
        if (lengths_are(m)) {
            lengths_look(m, row);
            r->hash += (uint64_t)m->live; /* rows of different lengths are not equal */
        }
        r->near = m->floats ? 0 : near_hash(m, row);
        got = spool_put(&m->rows, row, m->row_bytes, (uint64_t)i * m->row_bytes) ? 1 : -1;
    }
    free(row);
    if (got >= 0 && !kept) {
        cvy_error(m->nnote ? xprintf("of '%.200s': %s", m->note[0].name, m->note[0].text) : NULL,
                  "'%s': nothing in it can be read", m->src);
        return false;
    }
    compare_ranges(m);
    if (got >= 0 && !find_pixels(m))
        return false;
    m->to_bytes = m->floats && m->whole && (m->height > 1 || m->width > 1) && !lengths_are(m);
    return got >= 0;
}

#define PIPE "pipe" /* what is said of one, and the set is called where no name is given */

static const char *out_of(const char *src)
{
    struct stat st;
    size_t n = strlen(src);
    if (stat(src, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return PIPE ".safetensors";
    while (n > 1 && src[n - 1] == '/')
        n--;
    size_t from = n;
    while (from > 0 && src[from - 1] != '/')
        from--;
    char *name = xstrndup(src + from, n - from), *dot = strchr(name, '.');
    if (dot && dot > name)
        *dot = '\0';
    return xprintf("%s.safetensors", *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 ? name : "data");
}

/* Where SRC is neither a file nor a folder it is a pipe, and can be read once: all of it goes into a file without a
 * name, which takes its place. False after a message. */
static bool take_pipe(Import *m, Spool *copy)
{
    enum { PART = 1 << 16 };
    struct stat st;
    if (stat(m->src, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return true; /* what is not there is said by find_source */
    const int fd = cvy_open_typed(m->src);
    uint8_t *part = xmalloc(PART);
    uint64_t bytes = 0;
    int64_t n = fd < 0 ? -1 : PART;
    bool ok = fd >= 0 && spool_open(copy, m->folder);
    while (ok && n == PART) {
        n = cvy_fd_read(fd, part, PART);
        ok = goes_on() && n >= 0 && spool_put(copy, part, (size_t)n, bytes);
        bytes += n > 0 ? (uint64_t)n : 0;
    }
    if (n < 0)
        cvy_error(NULL, "cannot read '%s': %s", m->src, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(part);
    m->shown = PIPE;
    m->src = xprintf("/dev/fd/%d", copy->fd);
    return ok;
}

static bool find_source(Import *m)
{
    struct stat st;
    if (stat(m->src, &st) != 0) {
        const char *const near = cvy_near_path(m->src, 0);
        cvy_error(near ? near : "a folder of images, .npy, .npz, CSV, IDX or CIFAR files: convoy data --help",
                  "there is no '%s'", m->src);
        return false;
    }
    for (int i = 0; sources[i] && !m->source; i++)
        if (sources[i]->is(m->src))
            m->source = sources[i];
    if (!m->source)
        cvy_error("a folder of images, .npy, .npz, CSV, IDX or CIFAR files: convoy data --help",
                  "'%s' is nothing that convoy data reads", m->shown);
    return m->source != NULL;
}

/* Options that are of other sources than this one are refused: they would change nothing. */
static bool options_fit(const Import *m)
{
    const DataOptions *o = m->o;
    const struct {
        const char *name;
        bool given;
        unsigned of;
        const char *what;
    } options[] = {
        {"--labels", o->labels, SRC_IMAGES, "image files"},
        {"--label-regex", o->label_regex, SRC_IMAGES, "image files"},
        {"--size", o->size, SRC_IMAGES, "image files"},
        {"--fit", o->fit, SRC_IMAGES, "image files"},
        {"--gray", o->gray, SRC_IMAGES, "image files"},
        {"--keep-truncated", o->keep_truncated, SRC_IMAGES, "image files"},
        {"--target", o->target, SRC_TABLE, "tables"},
        {"--length", o->length, SRC_TABLE | SRC_ARRAYS, "tables and arrays"},
        {"--label", o->label && !o->labels, SRC_TABLE, "tables (or goes with --labels)"},
        {"--features", o->features, SRC_TABLE | SRC_ARRAYS, "tables and arrays"},
        {"--shape", o->shape, SRC_TABLE | SRC_ARRAYS, "tables and arrays"},
        {"--x", o->x, SRC_ARRAYS, "arrays"},
        {"--y", o->y, SRC_ARRAYS, "arrays"},
        {"--layout", o->layout, SRC_ARRAYS, "arrays"},
        {"--coarse", o->coarse, SRC_CIFAR, "CIFAR-100"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].given && !(options[i].of & m->source->takes)) {
            cvy_error(NULL, "%s is of %s; '%s' is %s", options[i].name, options[i].what, m->src, m->source->what);
            return false;
        }
    if (o->target && o->label) {
        cvy_error(NULL, "--target and --label: one of them says what is to be learnt");
        return false;
    }
    if (o->labels && o->label_regex) {
        cvy_error(NULL, "--labels and --label-regex: one of them says which class an image is of");
        return false;
    }
    return true;
}

static bool import(Import *m, const char *path)
{
    if (!options_fit(m) || !m->source->list(m) || !find_groups(m))
        return false;
    keep_at_most(m);
    if (!read_rows(m))
        return false;
    if (!m->regression)
        sort_classes(m);
    return duplicates_find(m) && split_make(m) && set_write(m, path) && report_write(m);
}

bool data_import(const char *src, const DataOptions *o, int *by_signal)
{
    Import m = {.src = src, .shown = src, .o = o, .rows = {.fd = -1}, .targets = {.fd = -1}, .lengths = {.fd = -1}};
    Spool copy = {.fd = -1};
    const char *path = o->out ? o->out : out_of(src);
    DataOptions named = *o;
    named.out = path;
    m.o = &named;
    m.folder = folder_of(path);
    interrupt_begin();
    bool ok = take_pipe(&m, &copy) && find_source(&m);
    if (ok)
        cvy_out_clean(path);
    ok = ok && texts_open(&m.names, m.folder) && import(&m, path);
    if (m.state)
        m.source->end(&m);
    free(m.order);
    texts_close(&m.names);
    spool_close(&m.rows);
    spool_close(&m.targets);
    spool_close(&m.lengths);
    spool_close(&copy);
    *by_signal = interrupt_end();
    return ok;
}
