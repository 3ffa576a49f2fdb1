/* numpy.c - the sources .npy and .npz, and a folder of .npy files: which array holds rows, which one labels. */
#include "array.h"
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* An array by its name, not opened yet. */
typedef struct Candidate {
    const char *name; /* without .npy */
    const char *path;
    Member member; /* of an archive */
} Candidate;

typedef struct Candidates {
    const char *path; /* of an archive */
    int fd;
    uint64_t bytes;
    Candidate *list;
    int n;
} Candidates;

/* Names that belong together, in any case; the first that are there are taken. */
static const struct Names4 {
    const char *x, *y;
    Split split;
    const char *length;
} pairs[] = {
    {"x_train", "y_train", SPLIT_TRAIN, "length_train"},
    {"x_val", "y_val", SPLIT_VALID, "length_val"},
    {"x_valid", "y_valid", SPLIT_VALID, "length_valid"},
    {"x_test", "y_test", SPLIT_TEST, "length_test"},
    {"train_x", "train_y", SPLIT_TRAIN, "train_length"},
    {"val_x", "val_y", SPLIT_VALID, "val_length"},
    {"valid_x", "valid_y", SPLIT_VALID, "valid_length"},
    {"test_x", "test_y", SPLIT_TEST, "test_length"},
    {"train_images", "train_labels", SPLIT_TRAIN, "train_length"},
    {"val_images", "val_labels", SPLIT_VALID, "val_length"},
    {"test_images", "test_labels", SPLIT_TEST, "test_length"},
    {"train_data", "train_labels", SPLIT_TRAIN, "train_length"},
    {"test_data", "test_labels", SPLIT_TEST, "test_length"},
    {"x", "y", SPLIT_OPEN, "length"},
    {"images", "labels", SPLIT_OPEN, "length"},
    {"data", "labels", SPLIT_OPEN, "length"},
    {"data", "target", SPLIT_OPEN, "length"},
    {"features", "labels", SPLIT_OPEN, "length"},
    {"arr_0", "arr_1", SPLIT_OPEN, "length"},
};
enum { NPAIRS = sizeof pairs / sizeof *pairs };

/* ---- what there is ---- */

static bool begins(const char *path, const char *with, size_t n)
{
    char head[8] = "";
    const int fd = cvy_open_typed(path);
    const bool ok = fd >= 0 && cvy_fd_read(fd, head, n) == (int64_t)n && memcmp(head, with, n) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool ends_in(const char *name, const char *with)
{
    const size_t n = strlen(name), k = strlen(with);
    return n > k && strcasecmp(name + n - k, with) == 0;
}

/* The .npy files of a folder. */
static int npy_files(const char *src, Candidate **list)
{
    DIR *d = opendir(src);
    const struct dirent *e;
    int n = 0;
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.' && ends_in(e->d_name, ".npy"))
            *PUSH(*list, n) = (Candidate){.name = xstrndup(e->d_name, strlen(e->d_name) - 4),
                                          .path = xprintf("%s/%s", src, e->d_name)};
    if (d)
        closedir(d);
    return n;
}

static bool array_is(const char *src)
{
    struct stat st;
    Candidate *list = NULL;
    if (stat(src, &st) != 0)
        return false;
    if (S_ISDIR(st.st_mode))
        return npy_files(src, &list) > 0;
    return S_ISREG(st.st_mode) ? begins(src, "\x93NUMPY", 6) || begins(src, "PK", 2)
                               : ends_in(src, ".npy") || ends_in(src, ".npz");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const Candidate *)a)->name, ((const Candidate *)b)->name);
}

static bool find_candidates(Import *m, Candidates *c)
{
    struct stat st;
    Member *member;
    c->path = m->src;
    if (stat(m->src, &st) == 0 && S_ISDIR(st.st_mode)) {
        c->n = npy_files(m->src, &c->list);
    } else {
        unsigned char head[2] = "";
        c->fd = arrays_open(m, m->src, &c->bytes);
        const Spool from = {c->fd, m->src};
        if (c->fd < 0 || (c->bytes >= 2 && !spool_get(&from, head, 2, 0)))
            return false;
        if (head[0] != 'P') {
            c->list = xalloc(sizeof *c->list);
            *c->list = (Candidate){.name = "x", .path = m->src};
            c->n = 1;
            return true;
        }
        const int n = zip_list(c->fd, c->bytes, m->src, &member);
        if (n < 0)
            return false;
        for (int i = 0; i < n; i++)
            if (ends_in(member[i].name, ".npy"))
                *PUSH(c->list, c->n) =
                    (Candidate){.name = xstrndup(member[i].name, strlen(member[i].name) - 4), .member = member[i]};
    }
    if (c->n)
        qsort(c->list, (size_t)c->n, sizeof *c->list, by_name);
    if (!c->n)
        cvy_error("np.savez('data.npz', x=..., y=...)", "'%s' holds no array", m->src);
    return c->n > 0;
}

static const Candidate *candidate(const Candidates *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->list[i].name, name) == 0)
            return &c->list[i];
    for (int i = 0; i < c->n; i++)
        if (strcasecmp(c->list[i].name, name) == 0)
            return &c->list[i];
    return NULL;
}

static bool open_file(Import *m, const char *path, Array *a)
{
    uint64_t bytes;
    const int fd = arrays_open(m, path, &bytes);
    const char *slash = strrchr(path, '/');
    return fd >= 0 && npy_open(m, a, fd, 0, bytes, slash ? slash + 1 : path);
}

static bool open_candidate(Import *m, const Candidates *c, const Candidate *one, Array *a)
{
    uint64_t at;
    if (one->path && strcmp(one->path, c->path) == 0 && c->fd > 0)
        return npy_open(m, a, c->fd, 0, c->bytes, one->name);
    if (one->path)
        return open_file(m, one->path, a);
    const int fd = zip_open(m, c->fd, c->bytes, c->path, &one->member, &at);
    return fd >= 0 && npy_open(m, a, fd, at, one->member.bytes, one->name);
}

/* ---- which is which ---- */

static const char *names_of(const Candidates *c)
{
    enum { SHOWN = 20 };
    Buf b = {0};
    char plain[200];
    for (int i = 0; i < c->n && i < SHOWN; i++)
        buf_printf(&b, "%s'%s'", i ? ", " : "", cvy_plain(c->list[i].name, plain, sizeof plain));
    return b.text;
}

/* --length, or the array of lengths that goes with others by its name; none is none. */
static bool open_length(Import *m, const Candidates *c, const char *usual, Array *to)
{
    const char *const said = m->o->length;
    const Candidate *const one = said ? candidate(c, said) : usual ? candidate(c, usual) : NULL;
    if (one)
        return open_candidate(m, c, one, to);
    if (said && ends_in(said, ".npy"))
        return open_file(m, said, to);
    if (said)
        cvy_error("--length NAME, or --length FILE.npy", "--length: '%s' has no array '%s'; it has %s", m->src, said,
                  names_of(c));
    return !said;
}

/* --x and --y. */
static bool add_named(Import *m, const Candidates *c)
{
    Arrays *s = m->state;
    Part p = {.split = SPLIT_OPEN};
    const Candidate *x = m->o->x ? candidate(c, m->o->x) : c->n == 1 ? &c->list[0] : NULL;
    const Candidate *y = m->o->y ? candidate(c, m->o->y) : NULL;
    for (int i = 0; i < NPAIRS && !x && !m->o->x; i++)
        x = candidate(c, pairs[i].x);
    if (!x) {
        if (m->o->x)
            cvy_error(NULL, "'%s' has no array '%s'; it has %s", m->src, m->o->x, names_of(c));
        else
            cvy_error("--x NAME --y NAME", "'%s': which array holds the rows, and which the labels? It has %s", m->src,
                      names_of(c));
        return false;
    }
    if (!y && m->o->y && ends_in(m->o->y, ".npy")) {
        if (!open_file(m, m->o->y, &p.y))
            return false;
    } else if (!y) {
        cvy_error("--y NAME, or --y FILE.npy",
                  m->o->y ? "'%s' has no array '%s'; it has %s" : "'%s': which array holds the labels%s? It has %s",
                  m->src, m->o->y ? m->o->y : "", names_of(c));
        return false;
    } else if (!open_candidate(m, c, y, &p.y)) {
        return false;
    }
    if (!open_candidate(m, c, x, &p.x) || !open_length(m, c, NULL, &p.length))
        return false;
    *PUSH(s->part, s->n) = p;
    return true;
}

static bool array_list(Import *m)
{
    Arrays *s = arrays_begin(m);
    Candidates c = {0};
    bool given = false;
    if (!find_candidates(m, &c))
        return false;
    for (int i = 0; i < NPAIRS && !m->o->x && !m->o->y; i++) {
        const Candidate *x = candidate(&c, pairs[i].x), *y = candidate(&c, pairs[i].y);
        if (!x || !y || (pairs[i].split == SPLIT_OPEN && s->n))
            continue;
        Part p = {.split = pairs[i].split};
        if (!open_candidate(m, &c, x, &p.x) || !open_candidate(m, &c, y, &p.y) ||
            !open_length(m, &c, pairs[i].length, &p.length))
            return false;
        *PUSH(s->part, s->n) = p;
        given = given || p.split == SPLIT_TRAIN;
    }
    for (int i = 0; i < s->n && !given; i++) /* a test set alone is a set to be split */
        s->part[i].split = SPLIT_OPEN;
    if (s->n > 1 && m->o->length) {
        cvy_error("length_train beside x_train, length_test beside x_test",
                  "--length is of one array of rows; '%s' has %d", m->src, s->n);
        return false;
    }
    return (s->n || add_named(m, &c)) && arrays_list(m);
}

const DataSource array_source = {.takes = SRC_ARRAYS,
                                 .what = "arrays of NumPy",
                                 .is = array_is,
                                 .list = array_list,
                                 .row = arrays_row,
                                 .end = arrays_end,
                                 .ordered = true};
