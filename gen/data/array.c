/* array.c - rows and labels out of arrays: which axis is which, what the labels are. */
#define _FILE_OFFSET_BITS 64
#include "array.h"
#include "runtime.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_ROW = 1 << 26 }; /* numbers */

Arrays *arrays_begin(Import *m)
{
    return m->state = xalloc(sizeof(Arrays));
}

void arrays_end(Import *m)
{
    Arrays *s = m->state;
    for (int i = 0; i < s->nfd; i++)
        close(s->fd[i]);
    free(s->row);
    s->row = NULL;
    s->nfd = 0;
}

int arrays_spool(Import *m, Spool *s)
{
    Arrays *arrays = m->state;
    if (!spool_open(s, m->folder))
        return -1;
    *PUSH(arrays->fd, arrays->nfd) = s->fd;
    return s->fd;
}

static bool copy(const char *path, int fd, const Spool *to, uint64_t *bytes)
{
    enum { PART = 1 << 16 };
    char *part = xmalloc(PART);
    int64_t n;
    bool ok = true;
    *bytes = 0;
    do {
        n = cvy_fd_read(fd, part, PART);
        if (n < 0)
            cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        ok = goes_on() && n >= 0 && spool_put(to, part, (size_t)n, *bytes);
        *bytes += n > 0 ? (uint64_t)n : 0;
    } while (ok && n == PART);
    free(part);
    return ok;
}

int arrays_open(Import *m, const char *path, uint64_t *bytes)
{
    Arrays *s = m->state;
    struct stat st;
    Spool spool;
    const int fd = cvy_open_typed(path);
    if (fd < 0 || fstat(fd, &st) != 0) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *PUSH(s->fd, s->nfd) = fd;
    *bytes = (uint64_t)st.st_size;
    if (S_ISREG(st.st_mode))
        return fd;
    return arrays_spool(m, &spool) >= 0 && copy(path, fd, &spool, bytes) ? spool.fd : -1;
}

/* ---- one array ---- */

int64_t array_numbers(const Array *a)
{
    int64_t n = 1;
    for (int i = 1; i < a->ndim; i++)
        n *= a->dim[i];
    return n;
}

const char *array_shape(const Array *a)
{
    Buf b = {0};
    buf_puts(&b, "(");
    for (int i = 0; i < a->ndim; i++)
        buf_printf(&b, "%s%" PRId64, i ? ", " : "", a->dim[i]);
    const char *word = a->kind == 'u' ? "uint" : a->kind == 'i' ? "int" : a->kind == 'f' ? "float" : NULL;
    if (word)
        buf_printf(&b, ") %s%d", word, 8 * a->size);
    else
        buf_printf(&b, ") %s", a->kind == 'b' ? "bool" : "text");
    return b.text;
}

bool array_get(const Array *a, int64_t row, void *to)
{
    const Spool s = {a->fd, a->name};
    return spool_get(&s, to, (size_t)array_numbers(a) * (size_t)a->size, a->at + (uint64_t)row * a->stride);
}

static double half(unsigned h)
{
    const int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
    const double v = exponent == 31 ? (mantissa ? NAN : HUGE_VAL)
                     : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                    : ldexp(mantissa, -24);
    return h >> 15 ? -v : v;
}

double array_number(const Array *a, const uint8_t *element)
{
    uint64_t v = 0;
    for (int i = 0; i < a->size; i++)
        v |= (uint64_t)element[i] << 8 * (a->big ? a->size - 1 - i : i);
    if (a->kind == 'b')
        return v != 0;
    if (a->kind == 'f') {
        const uint32_t narrow = (uint32_t)v;
        float f;
        double d;
        memcpy(&f, &narrow, sizeof f);
        memcpy(&d, &v, sizeof d);
        return a->size == 2 ? half((unsigned)v) : a->size == 4 ? f : d;
    }
    if (a->kind == 'i' && a->size < 8 && v >> (8 * a->size - 1))
        v |= UINT64_MAX << 8 * a->size;
    return a->kind == 'i' ? (double)(int64_t)v : (double)v;
}

/* Text of numpy's S and U, as UTF-8. */
static const char *array_text(const Array *a, const uint8_t *element, char *to, size_t room)
{
    size_t at = 0;
    for (int i = 0; i < a->size && at + 5 < room; i += a->kind == 'U' ? 4 : 1) {
        uint32_t c = element[i];
        if (a->kind == 'U')
            c = a->big ? (uint32_t)element[i] << 24 | (uint32_t)element[i + 1] << 16 | (uint32_t)element[i + 2] << 8 |
                             element[i + 3]
                       : (uint32_t)element[i + 3] << 24 | (uint32_t)element[i + 2] << 16 |
                             (uint32_t)element[i + 1] << 8 | element[i];
        if (c == 0)
            break;
        if (c < 0x80 || a->kind == 'S') {
            to[at++] = (char)c;
        } else if (c < 0x800) {
            to[at++] = (char)(0xc0 | c >> 6);
            to[at++] = (char)(0x80 | (c & 63));
        } else if (c < 0x10000) {
            to[at++] = (char)(0xe0 | c >> 12);
            to[at++] = (char)(0x80 | (c >> 6 & 63));
            to[at++] = (char)(0x80 | (c & 63));
        } else {
            to[at++] = (char)(0xf0 | (c >> 18 & 7));
            to[at++] = (char)(0x80 | (c >> 12 & 63));
            to[at++] = (char)(0x80 | (c >> 6 & 63));
            to[at++] = (char)(0x80 | (c & 63));
        }
    }
    to[at] = '\0';
    return to;
}

/* ---- the shape of a row ---- */

static bool few(int64_t channels)
{
    return channels == 1 || channels == 3 || channels == 4;
}

/* Of (n, a, b, c): which is the axis of channels. */
static bool find_layout(Import *m, const Array *x)
{
    Arrays *s = m->state;
    const char *said = m->o->layout;
    if (said && strcmp(said, "NHWC") != 0 && strcmp(said, "NCHW") != 0) {
        cvy_error("NHWC: channels last, NCHW: channels first", "--layout: unknown value '%s'", said);
        return false;
    }
    s->nhwc = said ? strcmp(said, "NHWC") == 0 : few(x->dim[3]);
    m->channels = (int)x->dim[s->nhwc ? 3 : 1];
    m->height = (int)x->dim[s->nhwc ? 1 : 2];
    m->width = (int)x->dim[s->nhwc ? 2 : 3];
    fact(m, "layout", "--layout NHWC|NCHW",
         said      ? "%s, as asked for"
         : s->nhwc ? "%s: the last axis has 1, 3 or 4"
                   : "%s: the last axis has not 1, 3 or 4",
         s->nhwc ? "NHWC" : "NCHW");
    return true;
}

/* Of sequences: (n, length), one number a step; (n, features, length), or with an axis of one more. */
static bool find_sequence(Import *m, const Array *x, int64_t count)
{
    if (m->o->shape || x->ndim <= 2)
        return lengths_begin(m, count);
    if (m->o->layout || (x->ndim == 4 && x->dim[1] != 1 && x->dim[2] != 1)) {
        cvy_error("sequences: (n, length), or (n, features, length)", "'%s' has lengths, and the shape %s%s", x->name,
                  array_shape(x), m->o->layout ? ": --layout is of images" : "");
        return false;
    }
    const int64_t steps = x->dim[x->ndim - 1];
    if (!lengths_begin(m, count / steps * steps))
        return false;
    m->channels = (int)(count / steps);
    m->width = m->steps = (int)steps;
    m->one_a_step = false;
    return true;
}

static bool find_shape(Import *m, const Array *x)
{
    int shape[3];
    bool bad;
    int64_t n = 1;
    for (int i = 1; i < x->ndim; i++)
        n = x->dim[i] > 0 && n <= MOST_ROW / x->dim[i] ? n * x->dim[i] : MOST_ROW + 1LL;
    if (x->ndim < 1 || x->ndim > 4 || n > MOST_ROW) {
        cvy_error("rows of features: (n, features); images: (n, h, w), (n, c, h, w) or (n, h, w, c)",
                  "'%s' has the shape %s", x->name, array_shape(x));
        return false;
    }
    if (m->o->layout && x->ndim != 4) {
        cvy_error(NULL, "--layout is of four axes; '%s' has the shape %s", x->name, array_shape(x));
        return false;
    }
    if (m->o->shape || (x->ndim <= 2 && x->kind == 'u' && x->size == 1)) {
        if (pixels_shape(m, n, shape, &bad)) {
            fact(m, "pixels", m->o->shape ? NULL : "--features, or --shape CxHxW",
                 "a row of %d bytes is %d x %d x %d pixels", (int)n, shape[0], shape[1], shape[2]);
            m->channels = shape[0];
            m->height = shape[1];
            m->width = shape[2];
            return true;
        }
        if (bad)
            return false;
    }
    m->channels = m->height = m->width = 1;
    if (m->state && ((const Arrays *)m->state)->part[0].length.name)
        return find_sequence(m, x, n);
    if (x->ndim == 4)
        return find_layout(m, x);
    if (x->ndim == 3) {
        m->height = (int)x->dim[1];
        m->width = (int)x->dim[2];
    } else {
        m->channels = (int)n;
    }
    return true;
}

/* ---- labels ---- */

static bool is_text(const Array *a)
{
    return a->kind == 'S' || a->kind == 'U';
}

/* The class that stands in one hot row of K: the place of its only number that is not 0. -1: it is none. */
static int hot_place(const Array *y, const uint8_t *row, int64_t k)
{
    int at = -1;
    for (int64_t i = 0; i < k; i++) {
        const double v = array_number(y, row + i * y->size);
        if (v == 0)
            continue;
        if (at >= 0 || v != 1)
            return -1;
        at = (int)i;
    }
    return at;
}

/* Whether the labels of all parts are classes: whole numbers, text, or hot rows. */
static bool find_kind(Import *m)
{
    Arrays *s = m->state;
    for (int p = 0; p < s->n; p++) {
        const Array *y = &s->part[p].y;
        uint8_t *row = xmalloc((size_t)array_numbers(y) * (size_t)y->size);
        bool ok = true;
        for (int64_t i = 0; i < y->dim[0] && ok && y->kind == 'f' && array_numbers(y) == 1 && !m->regression; i++) {
            ok = goes_on() && array_get(y, i, row);
            const double v = ok ? array_number(y, row) : 0;
            m->regression = cvy_finite(v) && v != floor(v);
        }
        free(row);
        if (!ok)
            return false;
    }
    if (m->regression) {
        const char **const name = xalloc(sizeof *name);
        *name = s->part[0].y.name;
        target_names(m, name, 1);
        fact(m, "target", NULL, "'%s' holds numbers that are not whole: a set for regression", *name);
    }
    return true;
}

/* A row's label into its record. Where there is none, the record is left out, and that is noted. */
static bool read_label(Import *m, const Array *y, const uint8_t *row, const char *name, Record *r)
{
    const Arrays *s = m->state;
    const int64_t k = array_numbers(y);
    char text[512];
    if (is_text(y)) {
        array_text(y, row, text, sizeof text);
    } else {
        const double v = k > 1 ? hot_place(y, row, k) : array_number(y, row);
        if (k > 1 && v < 0) {
            cvy_error("one class a row: whole numbers (n), text (n), or one 1 among zeros (n, classes)",
                      "'%s' is %s, and its row %s is no class", y->name, array_shape(y), name);
            return false;
        }
        const float f = (float)v;
        if (!cvy_finite(v) || !cvy_finite(f) || (!m->regression && fabs(v) > 1e15)) {
            note(m, NOTE_CELL, name, "its label is %g", v);
            r->left_out = true;
            return true;
        }
        if (m->regression) {
            memcpy(&r->label, &f, sizeof f);
            return true;
        }
        if (s->label_names && (v < 0 || v >= s->nlabel)) {
            note(m, NOTE_CELL, name, "its label is %.0f, of %d classes", v, s->nlabel);
            r->left_out = true;
            return true;
        }
        snprintf(text, sizeof text, "%.0f", v);
        if (s->label_names)
            snprintf(text, sizeof text, "%s", s->label_names[(int)v]);
    }
    r->label = class_of(m, text);
    return r->label >= 0;
}

/* A row's length. Where it is none, the record is left out, and that is noted. */
static bool read_length(Import *m, const Array *from, int64_t row, const char *name, int i)
{
    uint8_t number[8];
    char why[LENGTH_WHY];
    if (!array_get(from, row, number))
        return false;
    const double v = array_number(from, number);
    if (length_fits(m, v, why))
        return length_put(m, i, v);
    note(m, NOTE_CELL, name, "%s ('%s'): the row is left out", why, from->name);
    record(m, i)->left_out = true;
    return true;
}

static bool list_part(Import *m, Part *p)
{
    uint8_t *row = xmalloc((size_t)array_numbers(&p->y) * (size_t)p->y.size);
    bool ok = true;
    p->first = m->n;
    for (int64_t i = 0; i < p->x.dim[0] && ok; i++) {
        char name[300];
        const int len = snprintf(name, sizeof name, "%.250s[%" PRId64 "]", p->x.name, i);
        Record *r = record_add(m, name, (size_t)len);
        ok = r && goes_on() && array_get(&p->y, i, row) && read_label(m, &p->y, row, name, r) &&
             (!p->length.name || read_length(m, &p->length, i, name, m->n - 1));
        if (ok) {
            r->split = (uint8_t)p->split;
            r->given = p->split != SPLIT_OPEN;
        }
    }
    free(row);
    return ok;
}

static bool fits(const Import *m, const Part *p)
{
    const Arrays *s = m->state;
    const Array *first = &s->part[0].x;
    if (is_text(&p->x)) {
        cvy_error(NULL, "'%s' holds text, %s: rows are numbers", p->x.name, array_shape(&p->x));
        return false;
    }
    if (p->x.ndim < 1 || p->x.dim[0] < 1 || p->x.dim[0] > INT32_MAX - 1) {
        cvy_error(NULL, "'%s' has no rows, or too many: %s", p->x.name, array_shape(&p->x));
        return false;
    }
    bool same = first->ndim == p->x.ndim;
    for (int i = 1; i < first->ndim && same; i++)
        same = first->dim[i] == p->x.dim[i];
    if (!same) {
        cvy_error(NULL, "the rows of '%s', %s, and of '%s', %s, have different shapes", first->name, array_shape(first),
                  p->x.name, array_shape(&p->x));
        return false;
    }
    if (p->y.ndim < 1 || p->y.ndim > 2 || p->y.dim[0] != p->x.dim[0] || array_numbers(&p->y) < 1 ||
        array_numbers(&p->y) > MOST_ROW || (is_text(&p->y) && array_numbers(&p->y) > 1)) {
        cvy_error("one label a row: (n), (n, 1), or one 1 among zeros (n, classes)",
                  "'%s' is %s, but the labels in '%s' are %s", p->x.name, array_shape(&p->x), p->y.name,
                  array_shape(&p->y));
        return false;
    }
    const Array *const of = &p->length;
    if (!of->name != !s->part[0].length.name) {
        cvy_error("length_train, length_test, ... beside x_train, x_test: of each, or of none",
                  "the rows of '%s' have lengths, and those of '%s' have none", of->name ? p->x.name : first->name,
                  of->name ? first->name : p->x.name);
        return false;
    }
    if (of->name &&
        (of->ndim < 1 || of->ndim > 2 || of->dim[0] != p->x.dim[0] || array_numbers(of) != 1 || is_text(of))) {
        cvy_error("one whole number a row: (n), or (n, 1)", "'%s' is %s, but the lengths in '%s' are %s", p->x.name,
                  array_shape(&p->x), of->name, array_shape(of));
        return false;
    }
    return true;
}

bool arrays_list(Import *m)
{
    Arrays *s = m->state;
    bool bytes = true;
    for (int p = 0; p < s->n; p++) {
        if (!fits(m, &s->part[p]))
            return false;
        bytes = bytes && s->part[p].x.size == 1 && (s->part[p].x.kind == 'u' || s->part[p].x.kind == 'b');
        fact(m, "arrays", NULL, "%s: '%s' %s, labels '%s' %s",
             s->part[p].split == SPLIT_OPEN ? "rows" : split_words[s->part[p].split], s->part[p].x.name,
             array_shape(&s->part[p].x), s->part[p].y.name, array_shape(&s->part[p].y));
        if (s->part[p].length.name)
            fact(m, "lengths", "--length NAME", "'%s': how many steps of each row of '%s' count",
                 s->part[p].length.name, s->part[p].x.name);
    }
    m->floats = !bytes;
    if (!find_shape(m, &s->part[0].x) || !find_kind(m))
        return false;
    for (int p = 0; p < s->n; p++)
        if (!list_part(m, &s->part[p]))
            return false;
    s->row = xmalloc((size_t)array_numbers(&s->part[0].x) * 8);
    return true;
}

int arrays_row(Import *m, int i, void *to)
{
    const Arrays *s = m->state;
    int p = s->n - 1;
    while (i < s->part[p].first)
        p--;
    const Array *x = &s->part[p].x;
    if (!array_get(x, i - s->part[p].first, s->row))
        return -1;
    const int64_t n = array_numbers(x), plane = (int64_t)m->height * m->width, c = m->channels;
    for (int64_t k = 0; k < n; k++) {
        const int64_t from = s->nhwc ? k % plane * c + k / plane : k;
        const double v = array_number(x, s->row + from * x->size);
        const float f = (float)v;
        if (length_pads(m, k)) {
            if (m->floats)
                ((float *)to)[k] = 0;
            else
                ((uint8_t *)to)[k] = 0;
            continue;
        }
        if (!m->floats) {
            ((uint8_t *)to)[k] = (uint8_t)v;
            continue;
        }
        if (!cvy_finite(v) || !cvy_finite(f)) {
            char name[300];
            snprintf(name, sizeof name, "%.250s[%d]", x->name, i - s->part[p].first);
            note(m, NOTE_CELL, name, "number %lld is %g: the row is left out", (long long)from, v);
            return 0;
        }
        ((float *)to)[k] = f;
    }
    return 1;
}
