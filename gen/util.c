/* util.c - memory, text, arithmetic that is checked.
 *
 * Memory lives as long as the program: each block is linked to the one before, so that it stays reachable and nothing
 * needs to be freed. */
#include "convoy.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct Block {
    struct Block *next;
    max_align_t data[];
} Block;

static Block *pool;

void *xalloc(size_t bytes)
{
    Block *b = bytes < PTRDIFF_MAX - sizeof *b ? calloc(1, sizeof *b + (bytes ? bytes : 1)) : NULL;
    if (!b) {
        fprintf(stderr, "convoy: out of memory (%zu bytes)\n", bytes);
        exit(1);
    }
    b->next = pool;
    pool = b;
    return b->data;
}

void *xgrow(void *old, size_t old_bytes, size_t new_bytes)
{
    void *p = xalloc(new_bytes);
    if (old_bytes)
        memcpy(p, old, old_bytes < new_bytes ? old_bytes : new_bytes);
    return p;
}

char *xstrndup(const char *s, size_t n)
{
    char *p = xalloc(n + 1);
    memcpy(p, s, n);
    return p;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

__attribute__((format(printf, 1, 0), nonnull)) static char *vprint(const char *fmt, va_list ap, size_t *len)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        BUG("cannot format '%s'", fmt);
    char *s = xalloc((size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    *len = (size_t)n;
    return s;
}

char *xprintf(const char *fmt, ...)
{
    va_list ap;
    size_t n;
    va_start(ap, fmt);
    char *s = vprint(fmt, ap, &n);
    va_end(ap);
    return s;
}

void buf_add(Buf *b, const char *s, size_t n)
{
    if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
        BUG("a text of %zu + %zu bytes", b->len, n);
    if (b->len + n + 1 > b->cap) {
        size_t cap = 2 * (b->len + n) + 256;
        b->text = xgrow(b->text, b->len, cap);
        b->cap = cap;
    }
    if (n)
        memcpy(b->text + b->len, s, n);
    b->len += n;
    b->text[b->len] = '\0';
}

void buf_puts(Buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_printf(Buf *b, const char *fmt, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0)
        BUG("cannot format '%s'", fmt);
    if ((size_t)n < sizeof small) {
        buf_add(b, small, (size_t)n);
        return;
    }
    size_t len;
    va_start(ap, fmt);
    char *s = vprint(fmt, ap, &len);
    va_end(ap);
    buf_add(b, s, len);
}

bool mul_fits(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

void bug(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    const char *slash = strrchr(file, '/');
    fflush(stdout);
    fprintf(stderr, "convoy: this is a bug in convoy, not in your spec (%s:%d): ", slash ? slash + 1 : file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nPlease report it together with the spec.\n");
    abort();
}
