/* cvy_sys.c - what the runtime asks of the system: messages, memory, standard streams, processors, time.
 * SPDX-License-Identifier: 0BSD */
#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#elif !defined _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, madvise */
#endif

#include "cvy_private.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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

/* The length of the UTF-8 character at s, whose value goes to *code; 0 where there is none. */
static int utf8(const unsigned char *s, unsigned long *code)
{
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    const int n = s[0] < 0x80                   ? 1
                  : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                  : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                  : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                : 0;

    *code = n == 1 ? s[0] : n ? s[0] & (0x7fu >> n) : 0;
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    return n && *code >= least[n] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff) ? n : 0;
}

/* Characters that steer a terminal, or that one cannot see: controls, marks of direction, separators of lines. */
static int unseen(unsigned long c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

const char *cvy_plain(const char *s, char *to, size_t room)
{
    size_t at = 0, keep = 0; /* keep: after it there is room for "..." */
    while (*s) {
        char one[16];
        unsigned long code;
        int n = utf8((const unsigned char *)s, &code), len;
        if (n && !unseen(code))
            len = snprintf(one, sizeof one, "%.*s", n, s);
        else
            len = n > 1 ? snprintf(one, sizeof one, "\\u%04lX", code)
                        : snprintf(one, sizeof one, "\\x%02X", (unsigned)(unsigned char)*s);
        s += n ? n : 1;
        if (at + 4 <= room)
            keep = at;
        if (at + (size_t)len + 1 > room) {
            at = keep + (size_t)snprintf(to + keep, room - keep, "%s", room - keep > 3 ? "..." : "");
            break;
        }
        memcpy(to + at, one, (size_t)len);
        at += (size_t)len;
    }
    to[at] = '\0';
    return to;
}

int cvy_silent;
int cvy_coloured = -1;

/* Whether messages are coloured: on a terminal, unless NO_COLOR or TERM=dumb speaks against it. */
static int coloured(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    if (cvy_coloured < 0)
        cvy_coloured = isatty(STDERR_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
    return cvy_coloured;
}

/* Prints a message's text. Whatever a file put into it reaches the terminal as plain characters. */
static void say(const char *kind, const char *fmt, va_list args)
{
    char text[6000], line[6000];

    if (cvy_silent)
        return;
    close_line();
    if (coloured())
        fprintf(stderr, "\033[1m%s:\033[0m \033[1;%dm%s:\033[0m ", cvy_program, strcmp(kind, "error") == 0 ? 31 : 35,
                kind);
    else
        fprintf(stderr, "%s: %s: ", cvy_program, kind);
    if (vsnprintf(text, sizeof text, fmt, args) < 0)
        text[0] = '\0';
    for (char *s = text, *end; s; s = end) {
        end = strchr(s, '\n');
        if (end)
            *end++ = '\0';
        fprintf(stderr, "%s\n", cvy_plain(s, line, sizeof line));
    }
}

void cvy_error(const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("error", fmt, args);
    va_end(args);
    if (hint && !cvy_silent)
        fprintf(stderr, "  hint: %s\n", hint);
}

void cvy_warn(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("warning", fmt, args);
    va_end(args);
}

void cvy_note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("note", fmt, args);
    va_end(args);
}

/* ---- standard streams ---- */

void cvy_start(void)
{
    /* A descriptor that is closed would go to the next file that is opened, and messages into that file. /dev/null is
     * opened the wrong way round, so that what is read or written there is still an error. */
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(1);
    }
#ifdef SIGXFSZ
    signal(SIGXFSZ, SIG_IGN); /* a file that may grow no further is an error of write, with a message */
#endif
}

/* Whether standard output was closed from the start, or the other end of its pipe is. */
static int nobody_reads(void)
{
    struct pollfd p = {STDOUT_FILENO, POLLOUT, 0};
    const int flags = fcntl(STDOUT_FILENO, F_GETFL);
    return flags == -1 || (flags & O_ACCMODE) == O_RDONLY ||
           (poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)) != 0);
}

int cvy_finish(int status, int may_be_gone)
{
    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || (may_be_gone && nobody_reads()))
        return status;
    cvy_error(NULL, "cannot write to standard output%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
    return status ? status : 1;
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

/* jansson goes on where it finds no memory for a text, without a part of it, in its writer and its parser. So its
 * allocations are watched. */
static int json_starved;

static void *json_room(size_t n)
{
    void *p = malloc(n);
    json_starved |= !p;
    return p;
}

void cvy_json_watch(void)
{
    json_set_alloc_funcs(json_room, free);
}

int cvy_json_starved(void)
{
    const int starved = json_starved;
    json_starved = 0;
    return starved;
}

char *cvy_json_text(const json_t *o, size_t flags)
{
    char *text = o ? json_dumps(o, flags) : NULL;
    if (cvy_json_starved()) {
        free(text);
        text = NULL;
    }
    return text;
}

int cvy_json_print(json_t *o, size_t flags)
{
    char *text = o ? cvy_json_text(o, flags) : NULL;
    if (text)
        printf("%s\n", text);
    else
        cvy_error(NULL, "out of memory");
    free(text);
    json_decref(o);
    return text != NULL;
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
    const char *said = getenv("COLUMNS");
    struct winsize size;
    int n = said ? atoi(said) : 0;
    if (n < 1)
        n = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    return n < 40 ? 40 : n > 1000 ? 1000 : n;
}

int cvy_wrap(const char *text, int at, int hang)
{
    const int columns = cvy_columns();
    while (*text) {
        const int space = (int)strspn(text, " "), word = (int)strcspn(text + space, " \n");
        if (word && at > hang && at + space + word > columns)
            printf("\n%*s", at = hang, "");
        else
            at += printf("%*s", space, "");
        at += printf("%.*s", word, text + space);
        text += space + word;
        if (*text == '\n') {
            putchar(*text++);
            at = 0;
        }
    }
    return at;
}

double cvy_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
