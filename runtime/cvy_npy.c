/* cvy_npy.c - NumPy's .npy files: images and labels in, logits out. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int bad_npy(const char *path, const char *why)
{
    cvy_error("it must come from numpy.save", "'%s': %s", path, why);
    return 0;
}

/* numpy.save writes such files, too: what to save instead. */
static int other_npy(const char *path, const char *why, const char *instead)
{
    cvy_error(instead, "'%s': %s", path, why);
    return 0;
}

/* The text after 'key': in the header's dictionary, blanks skipped; NULL where it is not there. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *s = strstr(header, quoted);
    if (!s)
        return NULL;
    s += strlen(quoted);
    s += strspn(s, " ");
    if (*s++ != ':')
        return NULL;
    return s + strspn(s, " ");
}

static int parse_header(struct cvy_npy *a, const char *path, const char *header)
{
    static const char *const types[] = {"f4", "f8", "u1", "i1", "i4", "i8", NULL};
    const char *s = value_of(header, "descr"), *order = value_of(header, "fortran_order");
    const char *shape = value_of(header, "shape");
    int known = 0;
    if (!s || !order || !shape || *s != '\'' || *shape != '(' || strlen(s) < sizeof "'<f4'" - 1)
        return bad_npy(path, "its header has no descr, fortran_order and shape");
    for (int i = 0; types[i]; i++)
        known |= strncmp(s + 2, types[i], 2) == 0;
    if (strspn(s + 1, "<|=") != 1 || !known || s[4] != '\'')
        return other_npy(
            path,
            "numbers of a type that is not supported (float32, float64, uint8, int8, int32, int64; little-endian)",
            "numpy.save('x.npy', x.astype('float32'))");
    snprintf(a->type, sizeof a->type, "%.2s", s + 2);
    if (strncmp(order, "False", 5) != 0)
        return other_npy(path, "it is in Fortran order", "numpy.save('x.npy', numpy.ascontiguousarray(x))");
    a->count = 1;
    for (s = shape + 1 + strspn(shape + 1, " "); *s != ')';) {
        char number[24];
        size_t len = strspn(s, "0123456789");
        int64_t v;
        snprintf(number, sizeof number, "%.*s", (int)(len < sizeof number ? len : 0), s);
        if (!cvy_parse_i64(number, 0, INT64_MAX, &v) || a->ndim == 8 || (v > 0 && a->count > (INT64_MAX >> 4) / v))
            return bad_npy(path, "an impossible shape");
        a->dim[a->ndim++] = v;
        a->count *= v;
        s += len;
        s += strspn(s, " ");
        if (*s == ',')
            s += 1 + strspn(s + 1, " ");
        else if (*s != ')')
            return bad_npy(path, "an impossible shape");
    }
    return 1;
}

/* Reads what must be exactly `bytes` up to the file's end, growing with what is there: a header that lies costs
 * nothing. */
static int read_npy(struct cvy_npy *a, const char *path, int fd)
{
    const int64_t bytes = a->count * (a->type[1] - '0');
    size_t room = 0, have = 0;
    char *data = NULL, more;
    int64_t got;
    do {
        size_t next = room ? 2 * room : (size_t)1 << 20;
        if ((uint64_t)next > (uint64_t)bytes)
            next = (size_t)bytes;
        char *grown = realloc(data, next + 1);
        if (!grown) {
            free(data);
            cvy_error(NULL, "out of memory: '%s' holds %.1f MB", path, (double)bytes / 1e6);
            return 0;
        }
        data = grown;
        room = next;
        got = cvy_fd_read(fd, data + have, room - have);
        have += got > 0 ? (size_t)got : 0;
    } while (got >= 0 && have == room && (uint64_t)room < (uint64_t)bytes);
    if (got >= 0 && (int64_t)have == bytes)
        got = cvy_fd_read(fd, &more, 1); /* none may follow */
    if (got < 0 || (int64_t)have != bytes || got > 0) {
        free(data);
        if (got < 0)
            return bad_npy(path, strerror(errno));
        return bad_npy(path,
                       (int64_t)have == bytes ? "it is longer than its shape says" : "it ends before its shape says");
    }
    a->data = data;
    return 1;
}

/* Opens it and reads its header. The descriptor, or -1 after a message. */
static int open_npy(struct cvy_npy *a, const char *path)
{
    unsigned char head[12];
    char text[65536];
    size_t len = 0;
    memset(a, 0, sizeof *a);
    const int fd = cvy_open_typed(path);
    int64_t got = fd < 0 ? -1 : cvy_fd_read(fd, head, 10);
    int ok = got == 10 && memcmp(head, "\x93NUMPY", 6) == 0 && head[6] >= 1 && head[6] <= 3;
    if (got < 0) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
    } else {
        if (ok && head[6] == 1)
            len = head[8] | (size_t)head[9] << 8;
        else if (ok && (ok = cvy_fd_read(fd, head + 10, 2) == 2))
            len = head[8] | (size_t)head[9] << 8 | (size_t)head[10] << 16 | (size_t)head[11] << 24;
        if (!ok && got == 10 && memcmp(head, "PK\3\4", 4) == 0)
            cvy_error("save the array alone: numpy.save('x.npy', x)",
                      "'%s' is no .npy file but a zip archive, as .npz and .pt files are", path);
        else if (!ok)
            bad_npy(path, "no .npy file");
        else if (len >= sizeof text || cvy_fd_read(fd, text, len) != (int64_t)len)
            ok = bad_npy(path, "its header is cut off or too long");
    }
    if (ok) {
        text[len] = '\0';
        ok = parse_header(a, path, text);
    }
    if (ok)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Reads the numbers, where `ok` still, and closes it. */
static int finish_npy(struct cvy_npy *a, const char *path, int fd, int ok)
{
    if (fd < 0)
        return 0;
    ok = ok && read_npy(a, path, fd);
    close(fd);
    return ok;
}

int cvy_npy_read(struct cvy_npy *a, const char *path)
{
    return finish_npy(a, path, open_npy(a, path), 1);
}

int cvy_npy_write(const char *path, int ndim, const int64_t *dim, const float *data)
{
    char head[128], dict[118];
    struct cvy_out out;
    size_t floats = 1;
    /* 10 bytes before the dictionary, 118 of it: a multiple of 64, ended by a newline */
    int at = snprintf(dict, sizeof dict, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < ndim; i++) {
        at += snprintf(dict + at, sizeof dict - (size_t)at, "%" PRId64 ", ", dim[i]);
        floats *= (size_t)dim[i];
    }
    snprintf(dict + at - 2, sizeof dict - (size_t)at + 2, "), }");
    memcpy(head, "\x93NUMPY\x01\x00\x76\x00", 10);
    memset(head + 10, ' ', 118);
    memcpy(head + 10, dict, strlen(dict));
    head[127] = '\n';
    if (!cvy_out_open(&out, path))
        return 0;
    if (!cvy_out_write(&out, head, sizeof head) || !cvy_out_write(&out, data, floats * sizeof *data)) {
        cvy_out_drop(&out);
        return 0;
    }
    return cvy_out_commit(&out, 1);
}

/* ---- what the subcommands read ---- */

static void shape_of(const struct cvy_npy *a, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < a->ndim && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%" PRId64, i ? ", " : "", a->dim[i]);
    if (at < size)
        snprintf(text + at, size - at, "]");
}

/* Whether the last n axes are these, with one before them at most. */
static int ends_in(const struct cvy_npy *a, const int64_t *axis, int n)
{
    return n > 0 && (a->ndim == n || a->ndim == n + 1) &&
           memcmp(a->dim + a->ndim - n, axis, (size_t)n * sizeof *axis) == 0;
}

/* What makes such an array fit: where only axes of 1 are missing, or images are rows. NULL where it is another. */
static const char *fitting(const struct cvy_model *m, const struct cvy_npy *a, char *text, size_t size)
{
    const int64_t want[] = {m->channels, m->height, m->width}, all = want[0] * want[1] * want[2];
    int64_t longer[3];
    int n = 0;
    for (int i = 0; i < 3; i++)
        if (want[i] > 1)
            longer[n++] = want[i];
    if (a->ndim == 4 && a->dim[1] == m->height && a->dim[2] == m->width && a->dim[3] == m->channels)
        return "channels come before height and width: x.transpose(0, 3, 1, 2)";
    if (!ends_in(a, want, 3) && !ends_in(a, longer, n) && !ends_in(a, &all, 1))
        return NULL;
    snprintf(text, size, "x.reshape(-1, %d, %d, %d)", m->channels, m->height, m->width);
    return text;
}

static int images_fit(const struct cvy_model *m, const char *path, const struct cvy_npy *a)
{
    char shape[160], hint[80];
    shape_of(a, shape, sizeof shape);
    if (m->tokens) {
        const int row = a->ndim == 2 && a->dim[1] == m->width;
        if (!row && (a->ndim != 4 || a->dim[1] != 1 || a->dim[2] != 1 || a->dim[3] != m->width)) {
            cvy_error(NULL, "'%s' has shape %s; the network reads tokens: [n, %d]", path, shape, m->width);
            return 0;
        }
    } else if (a->ndim != 4 || a->dim[1] != m->channels || a->dim[2] != m->height || a->dim[3] != m->width) {
        cvy_error(fitting(m, a, hint, sizeof hint), "'%s' has shape %s; the network reads [n, %d, %d, %d]", path, shape,
                  m->channels, m->height, m->width);
        return 0;
    }
    if (a->dim[0] < 1 || a->dim[0] > INT32_MAX) {
        cvy_error(NULL, "'%s' holds %" PRId64 " images; 1 to %d can be read", path, a->dim[0], INT32_MAX);
        return 0;
    }
    if (!m->tokens && strcmp(a->type, "f4") != 0 && strcmp(a->type, "u1") != 0) {
        cvy_error("x.astype('float32')", "'%s' holds numbers of type %s; images are float32, or uint8 from 0 to 255",
                  path, a->type);
        return 0;
    }
    return 1;
}

/* Number i of an array, whatever its type. */
static double number_at(const struct cvy_npy *a, int64_t i)
{
    const int size = a->type[1] - '0';
    if (a->type[0] == 'f')
        return size == 4 ? (double)((const float *)a->data)[i] : ((const double *)a->data)[i];
    if (a->type[0] == 'u')
        return ((const uint8_t *)a->data)[i];
    return size == 8   ? (double)((const int64_t *)a->data)[i]
           : size == 4 ? (double)((const int32_t *)a->data)[i]
                       : (double)((const int8_t *)a->data)[i];
}

/* Tokens as the network reads them, of numbers of any type. any: also what is none. */
static int tokens_of(const struct cvy_model *m, const char *path, int any, const int *length, struct cvy_npy *a)
{
    float *to = cvy_alloc((size_t)a->count, sizeof *to);
    int ok = to != NULL;
    for (int64_t i = 0; ok && i < a->count; i++) {
        const double v = number_at(a, i);
        char hint[80];
        to[i] = (float)v;
        if (any || cvy_is_token(m->tokens, v) || (length && i % m->width >= length[i / m->width]))
            continue;
        snprintf(hint, sizeof hint, "a token is a whole number from 0 to %d", m->tokens - 1);
        cvy_error(hint, "'%s': row %" PRId64 ", place %" PRId64 ": %.9g is no token", path, i / m->width, i % m->width,
                  v);
        ok = 0;
    }
    free(a->data);
    a->data = to;
    return ok;
}

/* How many steps of each of n rows count. NULL after a message. */
static int *lengths_of(const struct cvy_model *m, const char *path, int64_t n)
{
    struct cvy_npy a;
    const int fd = open_npy(&a, path);
    int ok = fd >= 0;
    if (ok && (!m->lengths || a.ndim != 1 || a.dim[0] != n || a.type[0] == 'f')) {
        char shape[160];
        shape_of(&a, shape, sizeof shape);
        if (!m->lengths)
            cvy_error("input: {..., lengths: true}", "--lengths '%s': the network '%s' takes no lengths", path,
                      m->name);
        else
            cvy_error(NULL, "'%s' has shape %s of type %s; %" PRId64 " lengths (a whole number each) are wanted", path,
                      shape, a.type, n);
        ok = 0;
    }
    ok = finish_npy(&a, path, fd, ok);
    int *out = ok ? cvy_alloc((size_t)n, sizeof *out) : NULL;
    ok = out != NULL;
    for (int64_t i = 0; i < n && ok; i++) {
        const double v = number_at(&a, i);
        ok = v >= 1 && v <= m->width;
        out[i] = ok ? (int)v : 0;
        if (!ok)
            cvy_error(NULL, "'%s': length %.0f of row %" PRId64 "; the network '%s' reads 1 to %d steps", path, v, i,
                      m->name, m->width);
    }
    free(a.data);
    if (!ok)
        free(out);
    return ok ? out : NULL;
}

int cvy_npy_sequences(const struct cvy_model *m, const char *path, const char *lengths, int nonfinite, float **x,
                      int **length, int *n)
{
    struct cvy_npy a;
    *x = NULL;
    *length = NULL;
    const int fd = open_npy(&a, path);
    int ok = finish_npy(&a, path, fd, fd >= 0 && images_fit(m, path, &a)); /* what does not fit is not read */
    if (ok && lengths)
        ok = (*length = lengths_of(m, lengths, a.dim[0])) != NULL;
    if (ok && m->tokens) {
        ok = tokens_of(m, path, nonfinite, *length, &a);
    } else if (ok && a.type[0] == 'u') {
        size_t plane = (size_t)m->height * (size_t)m->width;
        float *table = cvy_alloc((size_t)m->channels * 256, sizeof *table);
        float *to = cvy_alloc((size_t)a.count, sizeof *to);
        ok = table && to;
        if (ok) {
            cvy_scale_table(m, table);
            for (size_t i = 0; i < (size_t)a.count; i++)
                to[i] = table[i / plane % (size_t)m->channels * 256 + ((unsigned char *)a.data)[i]];
        }
        free(table);
        free(a.data);
        a.data = to;
    } else if (ok) {
        const float *from = a.data;
        const int64_t image = a.count / a.dim[0];
        for (int64_t i = 0; i < a.count && ok && !nonfinite; i++) {
            const int pads = *length && i % m->width >= (*length)[i / image];
            if (!pads && !cvy_finite(from[i])) {
                cvy_error(NULL, "'%s' holds a number that is not finite (image %" PRId64 ")", path, i / image);
                ok = 0;
            }
        }
    }
    if (!ok) {
        free(a.data);
        free(*length);
        *length = NULL;
        return 0;
    }
    *x = a.data;
    *n = (int)a.dim[0];
    return 1;
}

int cvy_npy_labels(const struct cvy_model *m, const char *path, int **labels, int n)
{
    struct cvy_npy a;
    *labels = NULL;
    const int fd = open_npy(&a, path);
    int ok = fd >= 0;
    if (ok && (a.ndim != 1 || a.dim[0] != n || a.type[0] == 'f')) {
        char shape[160];
        shape_of(&a, shape, sizeof shape);
        cvy_error(NULL, "'%s' has shape %s of type %s; %d labels (a whole number each) are wanted", path, shape, a.type,
                  n);
        ok = 0;
    }
    ok = finish_npy(&a, path, fd, ok);
    int *out = ok ? cvy_alloc((size_t)n, sizeof *out) : NULL;
    ok = out != NULL;
    for (int i = 0; i < n && ok; i++) {
        int64_t v = 0;
        if (strcmp(a.type, "i8") == 0)
            v = ((int64_t *)a.data)[i];
        else if (strcmp(a.type, "i4") == 0)
            v = ((int32_t *)a.data)[i];
        else if (strcmp(a.type, "u1") == 0)
            v = ((uint8_t *)a.data)[i];
        else
            v = ((int8_t *)a.data)[i];
        if (v < 0 || v >= m->classes) {
            cvy_error(v == m->classes ? cvy_from_zero : NULL,
                      "'%s': label %" PRId64 " of item %d; the network has %d classes (0 to %d)", path, v, i,
                      m->classes, m->classes - 1);
            ok = 0;
        }
        out[i] = (int)v;
    }
    free(a.data);
    if (!ok)
        free(out);
    else
        *labels = out;
    return ok;
}

int cvy_npy_values(const struct cvy_model *m, const char *path, float **values, int n)
{
    struct cvy_npy a;
    *values = NULL;
    const int fd = open_npy(&a, path);
    int ok = fd >= 0;
    const int fits = ok && a.dim[0] == n && strcmp(a.type, "f4") == 0 &&
                     ((a.ndim == 2 && a.dim[1] == m->classes) || (a.ndim == 1 && m->classes == 1));
    if (ok && !fits) {
        char shape[160];
        shape_of(&a, shape, sizeof shape);
        cvy_error(NULL, "'%s' has shape %s of type %s; %d x %d float32 are wanted", path, shape, a.type, n, m->classes);
        ok = 0;
    }
    ok = finish_npy(&a, path, fd, ok);
    if (ok)
        *values = (float *)a.data;
    else
        free(a.data);
    return ok;
}
