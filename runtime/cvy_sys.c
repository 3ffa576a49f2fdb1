/* cvy_sys.c - what the runtime asks of the system: messages, memory, files that are whole or not there, processors, time.
 * SPDX-License-Identifier: 0BSD */
#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#elif !defined _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, madvise */
#endif

#include "cvy_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

/* ---- messages ---- */

const char *cvy_program = "convoy";
int cvy_line_open;

static void close_line(void)
{
    if (cvy_line_open)
        putchar('\n');
    cvy_line_open = 0;
    fflush(stdout);
}

void cvy_error(const char *hint, const char *fmt, ...)
{
    va_list args;
    close_line();
    fprintf(stderr, "%s: error: ", cvy_program);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    if (hint)
        fprintf(stderr, "  hint: %s\n", hint);
}

void cvy_warn(const char *fmt, ...)
{
    va_list args;
    close_line();
    fprintf(stderr, "%s: warning: ", cvy_program);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- memory ---- */

void *cvy_alloc(size_t n, size_t size)
{
    void *p = NULL;
    if (size == 0 || n <= SIZE_MAX / 2 / size)
        p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        cvy_error(NULL, "out of memory (%zu x %zu bytes)", n, size);
    return p;
}

void *cvy_alloc_aligned(size_t bytes)
{
    const size_t huge = (size_t)2 << 20;
    void *p = NULL;
    size_t align = bytes >= 2 * huge ? huge : 64;
    if (bytes > SIZE_MAX / 2 || posix_memalign(&p, align, bytes ? bytes : 64) != 0) {
        cvy_error("a smaller --batch needs less", "out of memory: %.1f MB asked for", (double)bytes / 1e6);
        return NULL;
    }
#if defined __linux__ && defined MADV_HUGEPAGE
    if (align == huge)
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* a hint: where it fails, pages are small */
#endif
    memset(p, 0, bytes ? bytes : 64);
    return p;
}

char *cvy_format(const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *s = n < 0 ? NULL : malloc((size_t)n + 1);
    if (s)
        vsnprintf(s, (size_t)n + 1, fmt, again);
    else
        cvy_error(NULL, "out of memory");
    va_end(again);
    return s;
}

/* ---- files ---- */

static int out_fail(struct cvy_out *out, const char *what)
{
    const char *hint = errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? "what stood there before is untouched" : NULL;
    cvy_error(out->temp ? hint : NULL, "cannot %s '%s': %s", what, out->path, strerror(errno));
    return 0;
}

int cvy_out_open(struct cvy_out *out, const char *path)
{
    struct stat st;
    memset(out, 0, sizeof *out);
    int there = stat(path, &st) == 0;
    if (there) {
        out->path = realpath(path, NULL); /* so that a link stays a link */
        if (!out->path && errno == ENOMEM)
            cvy_error(NULL, "out of memory");
    }
    if (!out->path)
        out->path = cvy_format("%s", path);
    if (!out->path)
        return 0;
    if (there && S_ISDIR(st.st_mode)) {
        cvy_error(NULL, "cannot write '%s': it is a folder", path);
        cvy_out_drop(out);
        return 0;
    }
    int fd = -1;
    if (there && !S_ISREG(st.st_mode)) {
        fd = open(out->path, O_WRONLY);
    } else {
        if (there && access(out->path, W_OK) != 0) {
            out_fail(out, "write");
            cvy_out_drop(out);
            return 0;
        }
        for (int i = 0; i < 100 && fd < 0; i++) {
            free(out->temp);
            out->temp = cvy_format("%s.tmp.%ld.%d", out->path, (long)getpid(), i);
            if (!out->temp) {
                cvy_out_drop(out);
                return 0;
            }
            fd = open(out->temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
            if (fd < 0 && errno != EEXIST)
                break;
        }
    }
    out->file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!out->file) {
        out_fail(out, "write");
        if (fd >= 0)
            close(fd);
        else if (out->temp)
            out->temp[0] = '\0'; /* not ours: nothing to remove */
        cvy_out_drop(out);
        return 0;
    }
    return 1;
}

int cvy_out_write(struct cvy_out *out, const void *data, size_t bytes)
{
    if (bytes && fwrite(data, 1, bytes, out->file) != bytes)
        return out_fail(out, "write");
    return 1;
}

/* Everything is on the disk under the temporary name. */
static int out_sync(struct cvy_out *out)
{
    if (fflush(out->file) != 0)
        return out_fail(out, "write");
    if (out->temp && fsync(fileno(out->file)) != 0 && errno != EINVAL)
        return out_fail(out, "write");
    return 1;
}

/* The rename itself must survive a crash, too: the folder is synced. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? cvy_format("%.*s", slash == path ? 1 : (int)(slash - path), path) : cvy_format(".");
    int fd = folder ? open(folder, O_RDONLY) : -1;
    if (fd >= 0) {
        (void)fsync(fd); /* some file systems cannot; the rename stands all the same */
        close(fd);
    }
    free(folder);
}

int cvy_out_commit(struct cvy_out *out, int n)
{
    int ok = 1;
    for (int i = 0; i < n && ok; i++) {
        FILE *f = out[i].file;
        ok = out_sync(&out[i]);
        out[i].file = NULL;
        if (fclose(f) != 0 && ok)
            ok = out_fail(&out[i], "write");
    }
    for (int i = 0; i < n && ok; i++) {
        if (out[i].temp && rename(out[i].temp, out[i].path) != 0)
            ok = out_fail(&out[i], "write");
        else if (out[i].temp)
            out[i].temp[0] = '\0'; /* it is there no more */
    }
    for (int i = 0; i < n; i++) {
        if (ok && out[i].temp)
            sync_folder(out[i].path);
        cvy_out_drop(&out[i]);
    }
    return ok;
}

void cvy_out_drop(struct cvy_out *out)
{
    if (out->file)
        fclose(out->file);
    if (out->temp && out->temp[0])
        unlink(out->temp);
    free(out->temp);
    free(out->path);
    memset(out, 0, sizeof *out);
}

/* ---- processors, time ---- */

int cvy_processors(void)
{
    long n = 0;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
#endif
    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 1024 ? 1024 : (int)n;
}

int cvy_columns(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

double cvy_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
