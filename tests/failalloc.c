/* failalloc.c - preloaded into a program, it lets one allocation of it fail, or all from one on. In the environment:
 * FAIL_PROGRAM  the program's name; others that it starts are left alone
 * FAIL_AT       which allocation fails, from 1; 0: none
 * FAIL_ALL      set: all after it, too
 * FAIL_COUNT    a file that receives how many there were */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static atomic_long count;
static long fail_at = -1; /* -1: not the program */
static int all;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAIL_PROGRAM"), *at = getenv("FAIL_AT");
    if (name && at && strcmp(name, program_invocation_short_name) == 0) {
        fail_at = atol(at);
        all = getenv("FAIL_ALL") != NULL;
    }
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FAIL_COUNT");
    char text[32];
    int fd = path && fail_at >= 0 ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    if (fd < 0)
        return;
    int n = snprintf(text, sizeof text, "%ld\n", atomic_load(&count));
    if (write(fd, text, (size_t)n) != n)
        _exit(99);
    close(fd);
}

static int fails(void)
{
    if (fail_at < 0)
        return 0;
    long n = atomic_fetch_add(&count, 1) + 1;
    if (!fail_at || (n != fail_at && !(all && n > fail_at)))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n);
void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size);
void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n);
void *realloc(void *p, size_t n)
{
    return fails() ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n);
void *aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n);
int posix_memalign(void **p, size_t align, size_t n)
{
    void *got = fails() ? NULL : __libc_memalign(align, n);
    if (!got)
        return ENOMEM;
    *p = got;
    return 0;
}
