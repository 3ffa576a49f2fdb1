/* cvy_tensors.c - safetensors files (https://github.com/huggingface/safetensors): 8 bytes of header length, a JSON
 * header, the numbers. The reader trusts nothing: every offset is checked against the file's size before a number is
 * read. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#define _FILE_OFFSET_BITS 64

#include "cvy_private.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined __BYTE_ORDER__ && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors are little-endian and this processor is not: swap bytes in cvy_tensors.c and cvy_npy.c first"
#endif

enum { HEADER_MAX = 64 << 20 }; /* the format's own limit is 100 MB */

static const struct {
    const char *word;
    unsigned size;
} types[] = {[CVY_F32] = {"F32", 4}, [CVY_F64] = {"F64", 8}, [CVY_F16] = {"F16", 2}, [CVY_BF16] = {"BF16", 2},
             [CVY_I64] = {"I64", 8}, [CVY_I32] = {"I32", 4}, [CVY_OTHER] = {"", 0}};

/* ---- writing ---- */

static struct cvy_entry *add_entry(struct cvy_tensors *t, const char *name)
{
    if (t->n == t->room) {
        int room = t->room ? 2 * t->room : 64;
        struct cvy_entry *grown = realloc(t->entry, (size_t)room * sizeof *grown);
        if (!grown) {
            cvy_error(NULL, "out of memory");
            return NULL;
        }
        t->entry = grown;
        t->room = room;
    }
    struct cvy_entry *e = &t->entry[t->n];
    memset(e, 0, sizeof *e);
    e->name = cvy_format("%s", name);
    if (!e->name)
        return NULL;
    t->n++;
    return e;
}

float *cvy_put_f32(struct cvy_tensors *t, const char *name, int ndim, const int *dim)
{
    struct cvy_entry *e = add_entry(t, name);
    uint64_t count = 1;
    if (!e)
        return NULL;
    e->dtype = CVY_F32;
    e->ndim = ndim;
    for (int i = 0; i < ndim; i++) {
        e->dim[i] = dim[i];
        if (dim[i] < 0 || (dim[i] > 0 && count > (UINT64_MAX >> 4) / (uint64_t)dim[i])) {
            cvy_error(NULL, "tensor '%s' is too large", name);
            return NULL;
        }
        count *= (uint64_t)dim[i];
    }
    e->end = count * sizeof(float);
    e->data = cvy_alloc((size_t)count, sizeof(float));
    return e->data;
}

int64_t *cvy_put_i64(struct cvy_tensors *t, const char *name)
{
    struct cvy_entry *e = add_entry(t, name);
    if (!e)
        return NULL;
    e->dtype = CVY_I64;
    e->end = sizeof(int64_t);
    e->data = cvy_alloc(1, sizeof(int64_t));
    return e->data;
}

static int add_meta(struct cvy_tensors *t, char *key, char *value)
{
    char **grown = key && value ? realloc(t->meta, (size_t)(t->nmeta + 2) * sizeof *grown) : NULL;
    if (!grown) {
        if (key && value)
            cvy_error(NULL, "out of memory");
        free(key);
        free(value);
        return 0;
    }
    t->meta = grown;
    t->meta[t->nmeta++] = key;
    t->meta[t->nmeta++] = value;
    return 1;
}

int cvy_put_meta(struct cvy_tensors *t, const char *key, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = n < 0 ? NULL : cvy_alloc((size_t)n + 1, 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text ? add_meta(t, cvy_format("%s", key), text) : 0;
}

const char *cvy_get_meta(const struct cvy_tensors *t, const char *key)
{
    for (int i = 0; i < t->nmeta; i += 2) {
        if (strcmp(t->meta[i], key) == 0)
            return t->meta[i + 1];
    }
    return NULL;
}

/* The header as JSON text. 8-byte numbers come first in the data, so that every tensor is aligned to its type. */
static char *header_text(const struct cvy_tensors *t)
{
    int ok = 1;
    uint64_t at = 0;
    json_t *root = json_object(), *meta = json_object();
    for (int i = 0; i < t->nmeta; i += 2)
        ok &= json_object_set_new(meta, t->meta[i], json_string(t->meta[i + 1])) == 0;
    if (t->nmeta)
        ok &= json_object_set(root, "__metadata__", meta) == 0;
    json_decref(meta);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < t->n; i++) {
            const struct cvy_entry *e = &t->entry[i];
            if ((e->dtype == CVY_I64) != (pass == 0))
                continue;
            json_t *shape = json_array();
            for (int d = 0; d < e->ndim; d++)
                ok &= json_array_append_new(shape, json_integer(e->dim[d])) == 0;
            json_t *one = json_pack("{s:s, s:o, s:[I, I]}", "dtype", e->dtype == CVY_I64 ? "I64" : "F32", "shape",
                                    shape, "data_offsets", (json_int_t)at, (json_int_t)(at + e->end));
            ok &= one && json_object_set_new(root, e->name, one) == 0;
            at += e->end;
        }
    }
    char *text = ok ? cvy_json_text(root, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    if (!text)
        cvy_error(NULL, "cannot make the header of a tensor file: out of memory, or a name that is not UTF-8");
    return text;
}

int cvy_tensors_write(const struct cvy_tensors *t, struct cvy_out *out)
{
    char *text = header_text(t);
    if (!text)
        return 0;
    size_t len = strlen(text), pad = (8 - len % 8) % 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)(len + pad) >> 8 * i);
    int ok = cvy_out_write(out, size, 8) && cvy_out_write(out, text, len) && cvy_out_write(out, "        ", pad);
    free(text);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < t->n && ok; i++) {
            if ((t->entry[i].dtype == CVY_I64) == (pass == 0))
                ok = cvy_out_write(out, t->entry[i].data, (size_t)t->entry[i].end);
        }
    }
    return ok;
}

/* ---- reading ---- */

static int damaged(const struct cvy_tensors *t, const char *fmt, ...) CVY_PRINTF(2, 3);
static int damaged(const struct cvy_tensors *t, const char *fmt, ...)
{
    char text[512], plain[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cvy_error("it is damaged, or it is no safetensors file", "'%s': %s", t->path, cvy_plain(text, plain, sizeof plain));
    return 0;
}

/* Formats that people hold for it. */
static int other_format(const struct cvy_tensors *t, const unsigned char *begin)
{
    static const char torch[] =
        "save it as safetensors: safetensors.torch.save_file(torch.load('x.pt', map_location='cpu'), 'x.safetensors')";
    static const struct {
        const char *begin;
        size_t len;
        const char *what, *hint;
    } known[] = {
        {"PK\3\4", 4, "a zip archive, as PyTorch's .pt and .pth are", torch},
        {"\x80\2", 2, "a pickle, as old .pt and .pth files of PyTorch are", torch},
        {"\x80\4", 2, "a pickle", torch},
        {"\x80\5", 2, "a pickle", torch},
        {"\x89HDF\r\n\x1a\n", 8, "HDF5, as Keras writes it",
         "save its weights as safetensors, under PyTorch's names and shapes"},
        {"\x93NUMPY", 6, "a NumPy array", "save the weights as safetensors, under their names"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (memcmp(begin, known[i].begin, known[i].len) == 0) {
            cvy_error(known[i].hint, "'%s' is no safetensors file but %s", t->path, known[i].what);
            return 1;
        }
    return 0;
}

static int no_header(const struct cvy_tensors *t)
{
    cvy_error(
        "it is damaged, or of another format: weights are saved as safetensors, under PyTorch's names, and 'convoy "
        "data SRC' makes a set",
        "'%s' is no safetensors file: it does not begin with the length of a header", t->path);
    return 0;
}

static int get_index(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return 0;
    *out = (uint64_t)json_integer_value(v);
    return 1;
}

static int read_entry(struct cvy_tensors *t, const char *name, const json_t *v, uint64_t data_bytes)
{
    const char *dtype = json_string_value(json_object_get(v, "dtype"));
    const json_t *shape = json_object_get(v, "shape"), *at = json_object_get(v, "data_offsets");
    uint64_t count = 1, dim;
    if (!json_is_object(v) || json_object_size(v) != 3 || !dtype || !json_is_array(shape) || !json_is_array(at) ||
        json_array_size(at) != 2)
        return damaged(t, "tensor '%.100s' has no dtype, shape and data_offsets", name);
    struct cvy_entry *e = add_entry(t, name);
    if (!e)
        return 0;
    snprintf(e->word, sizeof e->word, "%s", dtype);
    for (e->dtype = 0; e->dtype < CVY_OTHER && strcmp(dtype, types[e->dtype].word) != 0;)
        e->dtype++;
    if (!get_index(json_array_get(at, 0), &e->begin) || !get_index(json_array_get(at, 1), &e->end) ||
        e->begin > e->end || e->end > data_bytes)
        return damaged(t, "tensor '%.100s' lies outside of the file", name);
    if (json_array_size(shape) > 8)
        return damaged(t, "tensor '%.100s' has more than 8 dimensions", name);
    for (size_t i = 0; i < json_array_size(shape); i++) {
        if (!get_index(json_array_get(shape, i), &dim) || dim > INT64_MAX || (dim && count > (UINT64_MAX >> 4) / dim))
            return damaged(t, "tensor '%.100s' has an impossible shape", name);
        e->dim[e->ndim++] = (int64_t)dim;
        count *= dim;
    }
    const uint64_t size = types[e->dtype].size;
    if (e->dtype != CVY_OTHER && count * size != e->end - e->begin)
        return damaged(t, "tensor '%.100s' has %" PRIu64 " bytes, but its shape says %" PRIu64, name, e->end - e->begin,
                       count * size);
    return 1;
}

static int by_begin(const void *a, const void *b)
{
    const struct cvy_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int read_header(struct cvy_tensors *t, const char *text, size_t len, uint64_t data_bytes)
{
    json_error_t error;
    const char *key;
    errno = 0;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error), *value;
    int ok = 1;
    if (cvy_json_starved() || (!root && errno == ENOMEM)) {
        json_decref(root);
        cvy_error(NULL, "out of memory: '%s' has a header of %zu bytes", t->path, len);
        return 0;
    }
    if (!root)
        return damaged(t, "its header is not JSON (byte %d: %s)", error.position, error.text);
    if (!json_is_object(root))
        ok = damaged(t, "its header is not a JSON object");
    for (void *it = json_object_iter(root); ok && it; it = json_object_iter_next(root, it)) {
        key = json_object_iter_key(it);
        value = json_object_iter_value(it);
        if (strcmp(key, "__metadata__") != 0) {
            ok = read_entry(t, key, value, data_bytes);
            continue;
        }
        if (!json_is_object(value))
            ok = damaged(t, "its metadata is not a JSON object");
        for (void *m = json_object_iter(value); ok && m; m = json_object_iter_next(value, m)) {
            const char *s = json_string_value(json_object_iter_value(m));
            ok = s ? add_meta(t, cvy_format("%s", json_object_iter_key(m)), cvy_format("%s", s))
                   : damaged(t, "its metadata holds something that is no text");
        }
    }
    json_decref(root);
    if (!ok)
        return 0;
    if (t->n)
        qsort(t->entry, (size_t)t->n, sizeof *t->entry, by_begin);
    uint64_t at = 0;
    for (int i = 0; i < t->n; i++) {
        if (t->entry[i].begin != at)
            return damaged(t, "tensor '%.100s' %s", t->entry[i].name,
                           t->entry[i].begin < at ? "overlaps another" : "stands after bytes that belong to none");
        at = t->entry[i].end;
    }
    if (at != data_bytes)
        return damaged(t, "%" PRIu64 " bytes at its end belong to no tensor", data_bytes - at);
    return 1;
}

/* The rest of a pipe, which cannot be read twice, is kept. It grows with what is there: a header that lies costs
 * nothing. */
static int keep_rest(struct cvy_tensors *t, uint64_t *bytes)
{
    size_t room = 0, have = 0;
    for (;;) {
        if (have == room) {
            char *grown = room < SIZE_MAX / 4 ? realloc(t->kept, room = room ? 2 * room : (size_t)1 << 20) : NULL;
            if (!grown) {
                cvy_error(NULL, "out of memory");
                return 0;
            }
            t->kept = grown;
        }
        int64_t got = cvy_fd_read(t->fd, t->kept + have, room - have);
        if (got < 0) {
            cvy_error(NULL, "cannot read '%s': %s", t->path, strerror(errno));
            return 0;
        }
        have += (size_t)got;
        if (have < room)
            break;
    }
    *bytes = have;
    return 1;
}

int cvy_tensors_open(struct cvy_tensors *t, const char *path)
{
    struct stat st;
    unsigned char size[8];
    uint64_t len = 0;
    memset(t, 0, sizeof *t);
    t->fd = -1;
    t->path = cvy_format("%s", path);
    if (!t->path)
        return 0;
    t->fd = cvy_open_typed(path);
    if (t->fd < 0 || fstat(t->fd, &st) != 0) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        return 0;
    }
    if (S_ISDIR(st.st_mode)) {
        cvy_error(NULL, "cannot read '%s': it is a folder", path);
        return 0;
    }
    const int regular = S_ISREG(st.st_mode);
    const int64_t got = cvy_fd_read(t->fd, size, 8);
    uint64_t bytes = regular ? (uint64_t)st.st_size : UINT64_MAX;
    if (got < 0) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        return 0;
    }
    if (bytes < 8 || got != 8)
        return damaged(t, "too short: %" PRId64 " bytes", got);
    for (int i = 0; i < 8; i++)
        len |= (uint64_t)size[i] << 8 * i;
    if (len < 2 || len > HEADER_MAX || len > bytes - 8)
        return other_format(t, size) ? 0
               : len > HEADER_MAX    ? no_header(t)
               : regular ? damaged(t, "its header claims %" PRIu64 " bytes in a file of %" PRIu64, len, bytes)
                         : damaged(t, "its header claims %" PRIu64 " bytes", len);
    char *text = cvy_alloc((size_t)len, 1);
    if (!text)
        return 0;
    int ok = cvy_fd_read(t->fd, text, (size_t)len) == (int64_t)len;
    if (!ok)
        damaged(t, "it ends in its header");
    uint64_t data = bytes - 8 - len;
    if (ok && !regular)
        ok = keep_rest(t, &data);
    ok = ok && read_header(t, text, (size_t)len, data);
    free(text);
    t->data_at = 8 + len;
    return ok;
}

const struct cvy_entry *cvy_tensors_find(const struct cvy_tensors *t, const char *name)
{
    for (int i = 0; i < t->n; i++) {
        if (strcmp(t->entry[i].name, name) == 0)
            return &t->entry[i];
    }
    return NULL;
}

static const char *shape_text(const struct cvy_entry *e, char *text, size_t size)
{
    char word[32];
    size_t at =
        (size_t)snprintf(text, size, "%s [", e->word[0] ? cvy_plain(e->word, word, sizeof word) : types[e->dtype].word);
    for (int i = 0; i < e->ndim && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%" PRId64, i ? ", " : "", e->dim[i]);
    if (at < size)
        snprintf(text + at, size - at, "]");
    return text;
}

int cvy_entry_fits(const struct cvy_entry *e, const struct cvy_entry *want)
{
    if (want->dtype == CVY_I64) /* a count, which some writers hold for a list of one */
        return (e->dtype == CVY_I64 || e->dtype == CVY_I32) && (e->ndim == 0 || (e->ndim == 1 && e->dim[0] == 1));
    return e->dtype <= CVY_BF16 && e->ndim == want->ndim &&
           memcmp(e->dim, want->dim, (size_t)want->ndim * sizeof *want->dim) == 0;
}

/* Whether all names begin so; of none: no. */
static int all_begin(const struct cvy_tensors *t, const char *prefix, size_t len)
{
    for (int i = 0; i < t->n; i++)
        if (strncmp(t->entry[i].name, prefix, len) != 0)
            return 0;
    return t->n > 0;
}

void cvy_tensors_unwrap(struct cvy_tensors *t, const struct cvy_tensors *want)
{
    static const char *const wrapper[] = {"module.", "_orig_mod."}; /* of DataParallel; of torch.compile */
    for (int i = 0; i < 2; i++) {
        size_t len = strlen(wrapper[i]);
        if (!all_begin(t, wrapper[i], len) || all_begin(want, wrapper[i], len))
            continue;
        for (int k = 0; k < t->n; k++)
            memmove(t->entry[k].name, t->entry[k].name + len, strlen(t->entry[k].name + len) + 1);
        cvy_note("'%s': all names begin with '%s', which is taken off", t->path, wrapper[i]);
        i = -1; /* one may be inside another */
    }
}

int cvy_tensors_match(struct cvy_tensors *t, const struct cvy_tensors *want)
{
    enum { SHOWN = 5 };
    int missing = 0, unexpected = 0, unlike = 0, uncounted = 0;
    char text[4096] = "", a[128], b[128], name[128];
    size_t len = 0;
    cvy_tensors_unwrap(t, want);
    for (int i = 0; i < want->n; i++) {
        const struct cvy_entry *w = &want->entry[i], *e = cvy_tensors_find(t, w->name);
        int shown = 0;
        if (!e && w->dtype == CVY_I64)
            uncounted++;
        else if (!e)
            shown = missing++ < SHOWN;
        else if (!cvy_entry_fits(e, w))
            shown = unlike++ < SHOWN;
        if (shown && len < sizeof text)
            len += (size_t)(e ? snprintf(text + len, sizeof text - len, "\n  '%.100s' is %s; the network has %s",
                                         w->name, shape_text(e, a, sizeof a), shape_text(w, b, sizeof b))
                              : snprintf(text + len, sizeof text - len, "\n  missing: '%.100s'", w->name));
    }
    for (int i = 0; i < t->n; i++) {
        if (!cvy_tensors_find(want, t->entry[i].name) && unexpected++ < SHOWN && len < sizeof text)
            len += (size_t)snprintf(text + len, sizeof text - len, "\n  unexpected: '%s'",
                                    cvy_plain(t->entry[i].name, name, sizeof name));
    }
    if (!missing && !unexpected && !unlike) {
        if (uncounted)
            cvy_note("'%s' has no num_batches_tracked: counted as zero", t->path);
        return 1;
    }
    const char *of = cvy_get_meta(t, "convoy");
    char *hint =
        of ? cvy_format("the file's own word on it: a checkpoint of '%s'", cvy_plain(of, name, sizeof name)) : NULL;
    cvy_error(hint, "'%s' does not fit this network (%d missing, %d unexpected, %d of another shape or type):%s",
              t->path, missing, unexpected, unlike, text);
    free(hint);
    return 0;
}

static int read_data(const struct cvy_tensors *t, const struct cvy_entry *e, void *out, size_t bytes)
{
    if (t->kept) {
        memcpy(out, t->kept + e->begin, bytes);
        return 1;
    }
    off_t at = (off_t)(t->data_at + e->begin);
    int64_t got = lseek(t->fd, at, SEEK_SET) == at ? cvy_fd_read(t->fd, out, bytes) : -1;
    if (got != (int64_t)bytes) {
        cvy_error(NULL, "cannot read '%s': %s", t->path, got < 0 ? strerror(errno) : "it ends early");
        return 0;
    }
    return 1;
}

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Of binary16: a float of 5 bits of exponent and 10 of mantissa. */
static float from_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, mantissa = h & 1023;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent)
        return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    const float small = (float)mantissa * 0x1p-24f; /* a number without its leading one, exact */
    return sign ? -small : small;
}

static void to_floats(enum cvy_dtype type, const void *from, float *out, size_t n)
{
    const uint16_t *half = from;
    const double *wide = from;
    for (size_t i = 0; i < n; i++)
        out[i] = type == CVY_F16           ? from_half(half[i])
                 : type == CVY_BF16        ? from_bits((uint32_t)half[i] << 16)
                 : fabs(wide[i]) > FLT_MAX ? INFINITY
                                           : (float)wide[i];
}

int cvy_read_f32(const struct cvy_tensors *t, const char *name, float *out, size_t n)
{
    const struct cvy_entry *e = cvy_tensors_find(t, name);
    if (!e || e->dtype > CVY_BF16 || n > SIZE_MAX / 8 || e->end - e->begin != n * types[e->dtype].size)
        return damaged(t, "tensor '%.100s' is missing or of another size", name);
    const size_t bytes = n * types[e->dtype].size;
    void *raw = e->dtype == CVY_F32 ? NULL : cvy_alloc(bytes, 1);
    if (e->dtype != CVY_F32 && !raw)
        return 0;
    int ok = read_data(t, e, raw ? raw : (void *)out, bytes);
    if (ok && raw)
        to_floats(e->dtype, raw, out, n);
    free(raw);
    for (size_t i = 0; ok && i < n; i++) {
        if (!cvy_finite(out[i])) {
            cvy_error(NULL, "'%s': tensor '%s' holds a number that is not finite%s (element %zu)", t->path, name,
                      e->dtype == CVY_F64 ? ", or too large for float32" : "", i);
            ok = 0;
        }
    }
    return ok;
}

int cvy_read_i64(const struct cvy_tensors *t, const char *name, int64_t *out)
{
    const struct cvy_entry *e = cvy_tensors_find(t, name);
    int32_t narrow = 0;
    *out = 0;
    if (!e)
        return 1;
    if ((e->dtype != CVY_I64 && e->dtype != CVY_I32) || e->end - e->begin != types[e->dtype].size)
        return damaged(t, "tensor '%.100s' is no whole number", name);
    if (e->dtype == CVY_I64)
        return read_data(t, e, out, sizeof *out);
    if (!read_data(t, e, &narrow, sizeof narrow))
        return 0;
    *out = narrow;
    return 1;
}

void cvy_tensors_free(struct cvy_tensors *t)
{
    for (int i = 0; i < t->n; i++) {
        free(t->entry[i].name);
        free(t->entry[i].data);
    }
    for (int i = 0; i < t->nmeta; i++)
        free(t->meta[i]);
    free(t->entry);
    free(t->meta);
    if (t->path && t->fd >= 0) /* a reader's: a writer has no path */
        close(t->fd);
    free(t->path);
    free(t->kept);
    memset(t, 0, sizeof *t);
}
