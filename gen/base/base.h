/* base.h - memory, text, arithmetic that does not overflow. Everything that a pass allocates lives as long as the
 * program, so nothing here is ever freed. */
#ifndef CONVOY_BASE_H
#define CONVOY_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* CONVOY_VERSION is text that the build gives: the version is said once, in meson.build. */

/* Zeroed memory from the pool; ends the program with a message when there is none. Never returns NULL. */
void *xalloc(size_t bytes);
/* What a part of the work takes of the pool can be given back: all that was allocated since the mark, and nothing of it
 * may be used after. Marks nest. */
typedef struct PoolMark {
    void *pool;
    char *rest;
    size_t rest_bytes;
} PoolMark;
PoolMark pool_mark(void);
void pool_release(PoolMark m);
void *xmalloc(size_t bytes); /* as malloc, for libraries that free it; never NULL either */
extern int trouble_status;   /* with which it ends then: 1, but for commands whose 1 means something else */
void out_of_memory(size_t bytes) __attribute__((noreturn));
void *xgrow(void *old, size_t old_bytes, size_t new_bytes); /* a larger copy of `old`, the rest zeroed */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* Makes room for one more element at the end of v.item[v.n]. Doubles at powers of two. */
#define PUSH(v, n)                                                                                                     \
    (((n) & ((n)-1)) == 0 ? ((v) = xgrow((v), (size_t)(n) * sizeof *(v), ((n) ? 2 * (size_t)(n) : 1) * sizeof *(v)))   \
                          : (v),                                                                                       \
     &(v)[(n)++])

/* A stream whose text is in *text, to be freed, once text_end was called. */
FILE *text_begin(char **text, size_t *len);
void text_end(FILE *to, char *const *text);

/* Text under construction. `text` is always NUL-terminated once something was added. */
typedef struct Buf {
    char *text;
    size_t len, cap;
} Buf;
void buf_add(Buf *b, const char *s, size_t n);
void buf_puts(Buf *b, const char *s);
void buf_printf(Buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

bool is_in(const char *const *words, const char *w); /* whether w is one of them (NULL-terminated) */

bool mul_fits(int64_t a, int64_t b, int64_t *out); /* *out = a * b; false where it overflows int64 */

/* A bug of convoy itself: says so and aborts. */
#define BUG(...) bug(__FILE__, __LINE__, __VA_ARGS__)
void bug(const char *file, int line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));

#endif
