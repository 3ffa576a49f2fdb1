/* util.c - memory, text, arithmetic that is checked.
 *
 * Memory lives as long as the program. It is cut from blocks of 64 KB; each is linked to the one before, so that it
 * stays reachable and nothing needs to be freed. */
#include "base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#if defined __SANITIZE_ADDRESS__
#define BLOCK_BYTES 0 /* a block for each piece, so that the sanitizer sees the end of it */
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define BLOCK_BYTES 0
#endif
#endif
#ifndef BLOCK_BYTES
#define BLOCK_BYTES ((size_t)64 << 10)
#endif

typedef struct Block {
    struct Block *next;
    max_align_t data[];
} Block;

static Block *pool;
static char *rest; /* of the block that pieces are cut from */
static size_t rest_bytes;

int trouble_status = 1;

void out_of_memory(size_t bytes)
{
    fprintf(stderr, "convoy: out of memory (%zu bytes)\n", bytes);
    exit(trouble_status);
}

static void *new_block(size_t bytes)
{
    Block *b = bytes < PTRDIFF_MAX - sizeof *b ? calloc(1, sizeof *b + bytes) : NULL;
    if (!b)
        out_of_memory(bytes);
    b->next = pool;
    pool = b;
    return b->data;
}

void *xalloc(size_t bytes)
{
    const size_t align = sizeof(max_align_t), whole = bytes ? bytes + (align - bytes % align) % align : align;
    if (bytes > BLOCK_BYTES / 4) /* and where it is too large to be counted */
        return new_block(bytes ? bytes : 1);
    if (whole > rest_bytes) {
        rest = new_block(BLOCK_BYTES);
        rest_bytes = BLOCK_BYTES;
    }
    void *p = rest;
    rest += whole;
    rest_bytes -= whole;
    return p;
}

PoolMark pool_mark(void)
{
    const PoolMark m = {pool, rest, rest_bytes};

    rest_bytes = 0;
    return m;
}

void pool_release(PoolMark m)
{
    while (pool != m.pool) {
        Block *b = pool;
        pool = b->next;
        free(b);
    }
    rest = m.rest;
    rest_bytes = m.rest_bytes;
}

void *xmalloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p)
        out_of_memory(bytes);
    return p;
}

FILE *text_begin(char **text, size_t *len)
{
    FILE *to = open_memstream(text, len);
    if (!to)
        out_of_memory(0);
    return to;
}

void text_end(FILE *to, char *const *text)
{
    const bool bad = ferror(to) != 0;
    if (fclose(to) != 0 || bad || !*text) /* the C library says only by the last that it had no room at the end */
        out_of_memory(0);
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

__attribute__((noreturn)) static void cannot_format(const char *fmt)
{
    if (errno == ENOMEM) /* a long number with many digits takes some */
        out_of_memory(strlen(fmt));
    BUG("cannot format '%s'", fmt);
}

__attribute__((format(printf, 1, 0), nonnull)) static char *vprint(const char *fmt, va_list ap, size_t *len)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        cannot_format(fmt);
    char *s = xalloc((size_t)n + 1);
    if (vsnprintf(s, (size_t)n + 1, fmt, again) != n)
        cannot_format(fmt);
    va_end(again);
    *len = (size_t)n;
    return s;
}

char *xvprintf(const char *fmt, va_list ap)
{
    size_t n;
    return vprint(fmt, ap, &n);
}

char *xprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = xvprintf(fmt, ap);
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
        cannot_format(fmt);
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

bool is_in(const char *const *names, const char *w)
{
    for (; *names; names++)
        if (strcmp(*names, w) == 0)
            return true;
    return false;
}
