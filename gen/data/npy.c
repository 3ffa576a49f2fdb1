/* npy.c - NumPy's files: the header, a Python dictionary, is read by the few forms that it can have. */
#include "array.h"
#include "runtime.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_HEADER = 1 << 20, BLOCK = 16 << 20 };

static bool bad(const char *name, const char *why)
{
    cvy_error("np.save and np.savez write such files", "'%s': %s", name, why);
    return false;
}

/* What stands after 'key': in the dictionary. NULL: nothing. */
static const char *value_of(const char *text, const char *key)
{
    const size_t n = strlen(key);
    for (const char *p = text; (p = strstr(p, key)) != NULL; p += n) {
        if (p == text || (p[-1] != '\'' && p[-1] != '"') || p[n] != p[-1])
            continue;
        p += n + 1;
        p += strspn(p, " ");
        if (*p == ':')
            return p + 1 + strspn(p + 1, " ");
    }
    return NULL;
}

static bool read_type(Array *a, const char *text)
{
    static const char sizes[] = "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8";
    char order, kind, pair[3];
    const char *s = value_of(text, "descr");
    int64_t size;
    char number[12];
    if (!s)
        return bad(a->name, "its header has no type");
    if (*s == '[')
        return bad(a->name, "it holds records of several fields: save each field as an array of its own");
    if (*s != '\'' && *s != '"')
        return bad(a->name, "its header has no type that can be read");
    s++;
    order = strchr("<>|=", *s) && *s ? *s++ : '|';
    kind = *s ? *s++ : ' ';
    if (kind == 'O') {
        cvy_error("save numbers instead: x.astype('float32')",
                  "'%s' holds Python objects, a pickle, which can run programs when it is read: refused", a->name);
        return false;
    }
    const size_t digits = strspn(s, "0123456789");
    snprintf(number, sizeof number, "%.*s", (int)(digits < 10 ? digits : 10), s);
    if (!cvy_parse_i64(number, 0, 1 << 20, &size) || (s[digits] != '\'' && s[digits] != '"'))
        return bad(a->name, "its header has no type that can be read");
    snprintf(pair, sizeof pair, "%c%d", kind, (int)(size < 10 ? size : 9));
    if (kind == 'U')
        size *= 4;
    if (kind != 'U' && kind != 'S' && !strstr(sizes, pair))
        return bad(a->name,
                   xprintf("it holds numbers of type '%c%d'; truth values, whole numbers and floats of up to 8 "
                           "bytes are read",
                           kind, (int)size));
    if (size == 0)
        return bad(a->name, "it holds elements of no bytes");
    a->kind = kind;
    a->size = (int)size;
    a->big = order == '>';
    return true;
}

static bool read_shape(Array *a, const char *text)
{
    const char *s = value_of(text, "shape");
    if (!s || *s != '(')
        return bad(a->name, "its header has no shape");
    for (s++; *(s += strspn(s, " ,")) != ')';) {
        const size_t digits = strspn(s, "0123456789");
        char number[24];
        snprintf(number, sizeof number, "%.*s", (int)(digits < 20 ? digits : 20), s);
        if (a->ndim == MOST_DIMS || !digits || !cvy_parse_i64(number, 0, INT64_MAX, &a->dim[a->ndim++]))
            return bad(a->name, "its header has no shape that can be read");
        s += digits + (s[digits] == 'L');
    }
    return true;
}

/* The array in C order: blocks of rows, each column of a block being contiguous in Fortran order. */
static bool to_c_order(Import *m, Array *a)
{
    Spool to, from = {a->fd, a->name};
    const int64_t n = a->dim[0], columns = array_numbers(a);
    const size_t size = (size_t)a->size;
    int64_t rows = BLOCK / ((int64_t)size * columns);
    rows = rows < 1 ? 1 : rows > n ? n : rows;
    if (arrays_spool(m, &to) < 0)
        return false;
    uint8_t *block = xmalloc((size_t)rows * (size_t)columns * size), *part = xmalloc((size_t)rows * size);
    bool ok = true;
    for (int64_t row = 0; row < n && ok; row += rows) {
        const int64_t k = n - row < rows ? n - row : rows;
        for (int64_t c = 0; c < columns && ok; c++) {
            int64_t rest = c, column = 0, step = 1; /* column c in C order, by the numbers of Fortran order */
            int64_t index[MOST_DIMS] = {0};
            for (int d = a->ndim - 1; d > 0; d--) {
                index[d] = rest % a->dim[d];
                rest /= a->dim[d];
            }
            for (int d = 1; d < a->ndim; d++) {
                column += index[d] * step;
                step *= a->dim[d];
            }
            ok = goes_on() && spool_get(&from, part, (size_t)k * size,
                                        a->at + ((uint64_t)column * (uint64_t)n + (uint64_t)row) * size);
            for (int64_t i = 0; i < k && ok; i++)
                memcpy(block + ((size_t)i * (size_t)columns + (size_t)c) * size, part + (size_t)i * size, size);
        }
        ok = ok && spool_put(&to, block, (size_t)(k * columns) * size, (uint64_t)(row * columns) * size);
    }
    free(block);
    free(part);
    a->fd = to.fd;
    a->at = 0;
    return ok;
}

/* The sizes that the header claims, against what is there. */
static bool sizes_fit(Array *a, uint64_t bytes)
{
    int64_t n = a->size;
    for (int i = 0; i < a->ndim; i++)
        if (!mul_fits(n, a->dim[i], &n) || n > INT64_MAX / 16)
            return bad(a->name, "its header claims an impossible shape");
    if ((uint64_t)n > bytes) {
        cvy_error("fetch it again", "'%s' is truncated: %s are %lld bytes, and %llu are there", a->name, array_shape(a),
                  (long long)n, (unsigned long long)bytes);
        return false;
    }
    return true;
}

bool npy_open(Import *m, Array *a, int fd, uint64_t at, uint64_t bytes, const char *name)
{
    unsigned char head[12];
    const Spool from = {fd, name};
    *a = (Array){.name = name, .fd = fd};
    if (bytes < 12 || !spool_get(&from, head, sizeof head, at) || memcmp(head, "\x93NUMPY", 6) != 0)
        return bad(name, "it is no array of NumPy");
    const bool wide = head[6] >= 2;
    if (head[6] < 1 || head[6] > 3)
        return bad(name, xprintf("it is of version %d of the format; 1 to 3 are known", head[6]));
    const uint64_t len =
        head[8] | (unsigned)head[9] << 8 | (wide ? (uint64_t)head[10] << 16 | (uint64_t)head[11] << 24 : 0);
    const uint64_t begin = wide ? 12 : 10;
    if (len > MOST_HEADER || len > bytes - begin)
        return bad(name, "its header is longer than the file, or than a megabyte");
    char *text = xalloc((size_t)len + 1);
    if (!spool_get(&from, text, (size_t)len, at + begin))
        return false;
    const char *order = value_of(text, "fortran_order");
    if (!read_type(a, text) || !read_shape(a, text))
        return false;
    a->at = at + begin + len;
    if (!order || (strncmp(order, "True", 4) != 0 && strncmp(order, "False", 5) != 0))
        return bad(name, "its header does not say in which order it is");
    if (!sizes_fit(a, bytes - begin - len))
        return false;
    if (a->ndim < 1) {
        bad(name, "it is a single number (0 axes)");
        return false;
    }
    a->stride = (uint64_t)array_numbers(a) * (uint64_t)a->size;
    const bool fortran = order[0] == 'T' && a->ndim > 1 && a->dim[0] > 0 && array_numbers(a) > 0;
    if (fortran && a->stride > (1u << 28))
        return bad(name, "its rows are too large to be turned from Fortran order");
    return !fortran || to_c_order(m, a);
}
