/* spool.c - files without a name; texts in them; sorting in bounded memory. */
#define _FILE_OFFSET_BITS 64
#include "spool.h"
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PART = 1 << 16,      /* bytes that are written or read at once */
    IN_MEMORY = 4 << 20, /* bytes of texts that are sorted at once */
    MOST_TEXTS = IN_MEMORY / 8,
    RUN_PART = 1 << 15, /* of each sorted part, while parts are merged */
};

const char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) { /* a pipe, /dev/stdout: nothing can lie beside it */
        const char *tmp = getenv("TMPDIR");
        return tmp && *tmp ? tmp : "/tmp";
    }
    return !slash ? "." : slash == path ? "/" : xstrndup(path, (size_t)(slash - path));
}

static bool fail(const Spool *s, const char *what)
{
    cvy_error(errno == ENOSPC || errno == EDQUOT || errno == EFBIG
                  ? "the rows lie there until the set is written: it takes twice the set's size"
                  : NULL,
              "cannot %s a temporary file in '%s': %s", what, s->folder, strerror(errno));
    return false;
}

bool spool_open(Spool *s, const char *folder)
{
    static unsigned count;
    s->folder = folder;
    s->fd = -1;
    for (int i = 0; i < 1000 && s->fd < 0; i++) {
        char *path = cvy_format("%s/.convoy-data" CVY_TEMPORARY "%ld.%u", folder, (long)getpid(), count++);
        if (!path)
            return false;
        do
            s->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        while (s->fd < 0 && errno == EINTR);
        const int e = errno;
        if (s->fd >= 0)
            unlink(path);
        free(path);
        errno = e;
        if (s->fd < 0 && e != EEXIST)
            break;
    }
    return s->fd >= 0 || fail(s, "make");
}

void spool_close(Spool *s)
{
    if (s->folder && s->fd >= 0)
        close(s->fd);
    *s = (Spool){.fd = -1};
}

bool spool_put(const Spool *s, const void *from, size_t bytes, uint64_t at)
{
    const char *p = from;
    while (bytes) {
        const ssize_t n = pwrite(s->fd, p, bytes, (off_t)at);
        if (n < 0 && errno != EINTR)
            return fail(s, "write");
        p += n > 0 ? n : 0;
        at += n > 0 ? (uint64_t)n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool spool_get(const Spool *s, void *to, size_t bytes, uint64_t at)
{
    char *p = to;
    while (bytes) {
        const ssize_t n = pread(s->fd, p, bytes, (off_t)at);
        if (n == 0)
            errno = EIO;
        if (n == 0 || (n < 0 && errno != EINTR))
            return fail(s, "read");
        p += n > 0 ? n : 0;
        at += n > 0 ? (uint64_t)n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* ---- texts ---- */

bool texts_open(Texts *t, const char *folder)
{
    *t = (Texts){.part = xmalloc(PART)};
    return spool_open(&t->spool, folder);
}

void texts_close(Texts *t)
{
    free(t->part);
    spool_close(&t->spool);
    t->part = NULL;
}

static bool texts_save(Texts *t)
{
    const bool ok = spool_put(&t->spool, t->part, t->used, t->saved);
    t->saved += t->used;
    t->used = 0;
    return ok;
}

static bool texts_add(Texts *t, const void *from, size_t bytes)
{
    const char *p = from;
    t->end += bytes;
    while (bytes) {
        const size_t n = bytes < PART - t->used ? bytes : PART - t->used;
        memcpy(t->part + t->used, p, n);
        t->used += n;
        p += n;
        bytes -= n;
        if (t->used == PART && !texts_save(t))
            return false;
    }
    return true;
}

bool texts_put(Texts *t, const char *text, size_t len, uint64_t *at)
{
    const uint32_t n = (uint32_t)len;
    *at = t->end;
    return texts_add(t, &n, sizeof n) && texts_add(t, text, len);
}

bool texts_get(Texts *t, uint64_t at, Buf *to)
{
    uint32_t n;
    if (t->used && !texts_save(t))
        return false;
    if (!spool_get(&t->spool, &n, sizeof n, at))
        return false;
    if (n >= to->cap) {
        to->cap = n + 256;
        to->text = xalloc(to->cap);
    }
    to->len = n;
    to->text[n] = '\0';
    return spool_get(&t->spool, to->text, n, at + sizeof n);
}

/* ---- sorting ---- */

/* A sorted part in the spool, being read. */
typedef struct Run {
    uint64_t at, end;
    char *part;
    size_t have, used;
    char *text; /* the text that is next; NULL: none is left */
    uint32_t len;
    size_t room;
} Run;

struct Sorter {
    Spool spool;
    uint64_t end;
    char *texts; /* lengths and texts, as they came */
    size_t used;
    uint32_t *at; /* of each in `texts` */
    char *text;   /* that was given last */
    int n, next;
    Run *run;
    int nrun, last; /* last: the run that gave the text before */
};

static const char *sorting; /* where the texts lie that are compared now */

static int by_text(const void *a, const void *b)
{
    const char *x = sorting + *(const uint32_t *)a, *y = sorting + *(const uint32_t *)b;
    uint32_t n, m;
    memcpy(&n, x, sizeof n);
    memcpy(&m, y, sizeof m);
    const int c = memcmp(x + sizeof n, y + sizeof m, n < m ? n : m);
    return c ? c : n < m ? -1 : n > m;
}

Sorter *sorter_begin(const char *folder)
{
    Sorter *s = xmalloc(sizeof *s);
    *s = (Sorter){.texts = xmalloc(IN_MEMORY), .at = xmalloc(MOST_TEXTS * sizeof *s->at), .last = -1};
    memset(s->texts, 0, IN_MEMORY); /* what an import takes is a constant from the start, not one for many images */
    memset(s->at, 0, MOST_TEXTS * sizeof *s->at);
    if (spool_open(&s->spool, folder))
        return s;
    sorter_end(s);
    return NULL;
}

static void sort_part(Sorter *s)
{
    sorting = s->texts;
    if (s->n)
        qsort(s->at, (size_t)s->n, sizeof *s->at, by_text);
}

/* Sorts what is in memory and puts it aside. */
static bool put_aside(Sorter *s)
{
    sort_part(s);
    Run r = {.at = s->end};
    char *part = xmalloc(IN_MEMORY); /* in order, to be written at once */
    size_t used = 0;
    for (int i = 0; i < s->n; i++) {
        uint32_t n;
        memcpy(&n, s->texts + s->at[i], sizeof n);
        memcpy(part + used, s->texts + s->at[i], sizeof n + n);
        used += sizeof n + n;
    }
    const bool ok = spool_put(&s->spool, part, used, s->end);
    free(part);
    s->end += used;
    r.end = s->end;
    *PUSH(s->run, s->nrun) = r;
    s->n = 0;
    s->used = 0;
    return ok;
}

bool sorter_add(Sorter *s, const char *text, size_t len)
{
    const uint32_t n = (uint32_t)len;
    if ((sizeof n + len > IN_MEMORY - s->used || s->n == MOST_TEXTS) && !put_aside(s))
        return false;
    s->at[s->n++] = (uint32_t)s->used;
    memcpy(s->texts + s->used, &n, sizeof n);
    memcpy(s->texts + s->used + sizeof n, text, len);
    s->used += sizeof n + len;
    return true;
}

/* n bytes of a run. */
static bool run_read(const Sorter *s, Run *r, void *to, size_t n)
{
    char *p = to;
    while (n) {
        if (r->used == r->have) {
            r->have = r->end - r->at < RUN_PART ? (size_t)(r->end - r->at) : RUN_PART;
            r->used = 0;
            if (!spool_get(&s->spool, r->part, r->have, r->at))
                return false;
            r->at += r->have;
        }
        const size_t k = n < r->have - r->used ? n : r->have - r->used;
        memcpy(p, r->part + r->used, k);
        r->used += k;
        p += k;
        n -= k;
    }
    return true;
}

static bool run_next(const Sorter *s, Run *r)
{
    if (r->at == r->end && r->used == r->have) {
        free(r->text);
        r->text = NULL;
        return true;
    }
    if (!run_read(s, r, &r->len, sizeof r->len))
        return false;
    if (r->len >= r->room) {
        free(r->text);
        r->room = r->len + 256;
        r->text = xmalloc(r->room);
    }
    r->text[r->len] = '\0';
    return run_read(s, r, r->text, r->len);
}

bool sorter_sort(Sorter *s)
{
    if (!s->nrun) {
        sort_part(s);
        return true;
    }
    bool ok = put_aside(s);
    free(s->texts);
    s->texts = NULL;
    for (int i = 0; i < s->nrun && ok; i++) {
        s->run[i].part = xmalloc(RUN_PART);
        ok = run_next(s, &s->run[i]);
    }
    return ok;
}

static const char *next_in_memory(Sorter *s, size_t *len)
{
    uint32_t n;
    free(s->text);
    s->text = NULL;
    if (s->next == s->n)
        return NULL;
    const char *from = s->texts + s->at[s->next++];
    memcpy(&n, from, sizeof n);
    s->text = xmalloc((size_t)n + 1);
    memcpy(s->text, from + sizeof n, n);
    s->text[n] = '\0';
    *len = n;
    return s->text;
}

const char *sorter_next(Sorter *s, size_t *len, bool *ok)
{
    int least = -1;
    if (!s->nrun)
        return next_in_memory(s, len);
    if (s->last >= 0 && !run_next(s, &s->run[s->last])) {
        *ok = false;
        return NULL;
    }
    for (int i = 0; i < s->nrun; i++) {
        if (!s->run[i].text)
            continue;
        const Run *a = &s->run[i], *b = least < 0 ? NULL : &s->run[least];
        const int c = b ? memcmp(a->text, b->text, a->len < b->len ? a->len : b->len) : -1;
        if (c < 0 || (c == 0 && a->len < b->len))
            least = i;
    }
    s->last = least;
    if (least < 0)
        return NULL;
    *len = s->run[least].len;
    return s->run[least].text;
}

void sorter_end(Sorter *s)
{
    for (int i = 0; i < s->nrun; i++) {
        free(s->run[i].part);
        free(s->run[i].text);
    }
    spool_close(&s->spool);
    free(s->texts);
    free(s->text);
    free(s->at);
    free(s);
}
