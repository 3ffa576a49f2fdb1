/* files.c - output that is whole or not there.
 *
 * A single file goes to a temporary beside it, then takes its place. A folder of files goes to temporaries altogether;
 * when all of them are on the disk they are renamed. The folder's manifest lists what convoy wrote: that alone it
 * replaces or removes, later. */
#include "files.h"
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST ".convoy-manifest"
#define MANIFEST_HEAD "# What convoy wrote here, and may replace or remove. Keep it beside the files.\n"

enum { MAX_MANIFEST = 1 << 20, MAX_EMITTED = 1 << 28 };

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* All of a descriptor, which it closes. NULL and errno. */
static char *read_all(int fd, size_t max, size_t *len)
{
    Buf b = {0};
    char part[65536];
    int64_t n = sizeof part;
    if (fd < 0)
        return NULL;
    buf_puts(&b, "");
    while (n == sizeof part && b.len <= max) {
        n = cvy_fd_read(fd, part, sizeof part);
        if (n > 0)
            buf_add(&b, part, (size_t)n);
    }
    const int e = n < 0 ? errno : b.len > max ? EFBIG : 0;
    close(fd);
    errno = e;
    *len = b.len;
    return e ? NULL : b.text;
}

char *file_read(const char *path, size_t max, size_t *len)
{
    return read_all(cvy_open_typed(path), max, len);
}

const char *file_read_once(const char *path, size_t max, size_t *len)
{
    static struct Kept {
        const char *path, *text;
        size_t len;
    } * kept;
    static int n;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        return file_read(path, max, len);
    for (int i = 0; i < n; i++)
        if (strcmp(kept[i].path, path) == 0) {
            *len = kept[i].len;
            return kept[i].text;
        }
    const char *text = file_read(path, max, len);
    if (text)
        *PUSH(kept, n) = (struct Kept){xstrdup(path), text, *len};
    return text;
}

/* ---- one file -------------------------------------------------------------------------------------------------- */

static bool fail(const char *what, const char *path)
{
    fprintf(stderr, "convoy: cannot %s %s: %s\n", what, path, cvy_file_error(errno));
    return false;
}

/* While a temporary is there, signals that end the program wait, and an exit removes it. */
static struct cvy_out *unfinished;
static int nunfinished;

static void drop_unfinished(void)
{
    for (int i = 0; i < nunfinished; i++)
        cvy_out_drop(&unfinished[i]);
    nunfinished = 0;
}

static void protect(struct cvy_out *out, int n, sigset_t *before)
{
    static bool registered;
    sigset_t set;
    if (!registered && atexit(drop_unfinished) == 0)
        registered = true;
    unfinished = out;
    nunfinished = n;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, before);
}

static void unprotect(const sigset_t *before)
{
    nunfinished = 0;
    sigprocmask(SIG_SETMASK, before, NULL);
}

bool file_write(const char *path, const char *text, size_t len)
{
    struct cvy_out out = {0};
    sigset_t before;
    protect(&out, 1, &before);
    bool ok = cvy_out_open(&out, path);
    if (ok && !out.temp) /* a pipe may be waited for */
        unprotect(&before);
    ok = ok && cvy_out_write(&out, text, len);
    if (ok)
        ok = cvy_out_commit(&out, 1);
    else
        cvy_out_drop(&out);
    unprotect(&before);
    return ok;
}

/* ---- a folder -------------------------------------------------------------------------------------------------- */

void outdir_add(OutDir *o, const char *name, const char *text, size_t len)
{
    for (int i = 0; i < o->n; i++)
        if (strcmp(o->file[i].name, name) == 0)
            BUG("two files are called %s", name);
    *PUSH(o->file, o->n) = (OutFile){xstrdup(name), text, len};
}

/* What convoy calls its files: letters, digits, dots and the like; at most in a folder of the folder, and nothing
 * hidden. */
static bool name_is_safe(const char *name)
{
    const char *slash = strchr(name, '/');
    if (strlen(name) > 250 || (slash && (strchr(slash + 1, '/') || !slash[1] || slash[1] == '.')) || !*name ||
        *name == '/' || *name == '.')
        return false;
    return !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+/")];
}

/* Whether a file is a temporary that a killed run left: NAME.tmp.PID.N. */
static bool is_leftover(const char *name)
{
    const char *end = NULL;
    for (const char *p = strstr(name, CVY_TEMPORARY); p; p = strstr(p + 1, CVY_TEMPORARY))
        end = p;
    if (!end)
        return false;
    end += strlen(CVY_TEMPORARY);
    size_t a = strspn(end, "0123456789"), b = end[a] == '.' ? strspn(end + a + 1, "0123456789") : 0;
    return a && b && !end[a + 1 + b];
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool listed(const char *const *sorted, int n, const char *name)
{
    return n && bsearch(&name, sorted, (size_t)n, sizeof *sorted, by_string);
}

/* An open folder, and what its manifest lists, sorted. */
typedef struct Folder {
    const char *path;
    int fd;
    bool ours; /* has a manifest */
    const char **name;
    int n;
} Folder;

/* False and a message where the manifest is not one of ours. */
static bool read_manifest(Folder *f)
{
    const char *path = xprintf("%s/" MANIFEST, f->path);
    size_t len;
    char *text = read_all(cvy_open_named(f->fd, MANIFEST), MAX_MANIFEST, &len);
    f->ours = text != NULL;
    if (!text)
        return errno == ENOENT || fail("read", path);
    for (char *line = text; *line;) {
        size_t k = strcspn(line, "\n");
        const char *name = xstrndup(line, k);
        if (*name && *name != '#') {
            if (!name_is_safe(name)) {
                fprintf(stderr, "convoy: %s is damaged: it lists a file that convoy would not write\n", path);
                return false;
            }
            *PUSH(f->name, f->n) = name;
        }
        line += k + (line[k] == '\n');
    }
    if (f->n)
        qsort(f->name, (size_t)f->n, sizeof *f->name, by_string);
    for (int i = 1; i < f->n; i++) {
        if (strcmp(f->name[i - 1], f->name[i]) != 0)
            continue;
        fprintf(stderr, "convoy: %s is damaged: it lists %s twice\n", path, f->name[i]);
        return false;
    }
    return true;
}

/* Whether the folder is new or ours. Leftover temporaries of a run that was killed do not count. */
static bool folder_is_free(const Folder *f)
{
    DIR *d;
    const char *foreign = NULL;
    struct dirent *e;
    do
        d = opendir(f->path);
    while (!d && errno == EINTR);
    if (!d)
        return fail("open", f->path);
    while (errno = 0, !foreign && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !is_leftover(e->d_name))
            foreign = xstrdup(e->d_name);
    const int error = foreign ? 0 : errno;
    closedir(d);
    if (error) {
        errno = error;
        return fail("read", f->path);
    }
    if (foreign) {
        char plain[300];
        fprintf(stderr,
                "convoy: %s is not empty, and convoy did not write what is in it (%s, for one)\n"
                "  hint: give -o a folder of its own, new or empty: -o %s/net\n",
                f->path, cvy_plain(foreign, plain, sizeof plain), f->path);
    }
    return !foreign;
}

/* Opens a folder that the user typed, and waits until no other convoy works in it. The lock goes with the descriptor:
 * it ends with the program, killed or not. Where a file system knows no locks, there is none. */
static bool folder_open(Folder *f, const char *dir, int how)
{
    struct stat here, there;
    f->path = dir;
    for (int tries = 0; tries < 100; tries++) {
        do
            f->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        while (f->fd < 0 && errno == EINTR);
        if (f->fd < 0)
            return fail(how == LOCK_SH ? "read" : "write into", dir);
        int e = flock(f->fd, how | LOCK_NB);
        if (e != 0 && errno == EWOULDBLOCK) {
            fprintf(stderr, "convoy: waiting for another convoy that is writing or compiling in %s\n", dir);
            do
                e = flock(f->fd, how);
            while (e != 0 && errno == EINTR);
        }
        if (fstat(f->fd, &here) == 0 && stat(dir, &there) == 0 && here.st_ino == there.st_ino &&
            here.st_dev == there.st_dev)
            return true;
        close(f->fd); /* it was removed meanwhile, or another stands in its place */
        f->fd = -1;
    }
    errno = ENOENT;
    return fail("open", dir);
}

/* The folder that a file stands in, below an open one, without following a link; and the file's name in it. -1 and
 * errno. */
static int parent_of(int folder, const char *name, const char **base)
{
    const char *slash = strchr(name, '/');
    int fd;
    *base = slash ? slash + 1 : name;
    do
        fd = openat(folder, slash ? xstrndup(name, (size_t)(slash - name)) : ".",
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static char *read_listed(const Folder *f, const char *name, size_t max, size_t *len)
{
    const char *base;
    const int parent = parent_of(f->fd, name, &base), fd = parent < 0 ? -1 : cvy_open_named(parent, base), e = errno;
    if (parent >= 0)
        close(parent);
    errno = e;
    return read_all(fd, max, len);
}

bool outdir_read(OutDir *o, const char *dir)
{
    Folder f = {0};
    bool ok = folder_open(&f, dir, LOCK_SH);
    if (!ok)
        return false;
    ok = read_manifest(&f);
    if (ok && !f.ours) {
        fprintf(stderr, "convoy: %s is no folder that convoy wrote: it has no %s\n", dir, MANIFEST);
        ok = false;
    }
    for (int i = 0; i < f.n && ok; i++) {
        const char *path = xprintf("%s/%s", dir, f.name[i]);
        size_t len;
        char *text = read_listed(&f, f.name[i], MAX_EMITTED, &len);
        if (!text) {
            ok = fail("read", path);
        } else if (memchr(text, 0, len)) {
            fprintf(stderr, "convoy: %s is no text\n", path);
            ok = false;
        } else {
            outdir_add(o, f.name[i], text, len);
        }
    }
    close(f.fd);
    return ok;
}

/* Makes a folder that the user typed, and those above it. Those that it made are added to `made`, for undoing. */
static bool make_folders(const char *dir, const char ***made, int *nmade)
{
    char *p = xstrdup(dir);
    for (size_t i = 1;; i++) {
        if (p[i] && p[i] != '/')
            continue;
        char c = p[i];
        struct stat st;
        p[i] = '\0';
        if (mkdir(p, 0777) == 0) {
            *PUSH(*made, *nmade) = xstrdup(p);
        } else if (errno != EEXIST) { /* what is there need not be writable */
            const int why = errno;
            if (stat(p, &st) != 0) {
                errno = why;
                return fail("make the folder", p);
            }
        }
        p[i] = c;
        if (!c)
            return true;
    }
}

/* The names of the new files, and those of the old ones with them. */
static const char *manifest_text(const OutDir *o, const char *const *old, int nold)
{
    const char **names = xalloc((size_t)(o->n + nold + 1) * sizeof *names);
    int n = 0;
    for (int i = 0; i < o->n; i++)
        names[n++] = o->file[i].name;
    for (int i = 0; i < nold; i++)
        names[n++] = old[i];
    if (n)
        qsort(names, (size_t)n, sizeof *names, by_string);
    Buf b = {0};
    buf_puts(&b, MANIFEST_HEAD);
    for (int i = 0; i < n; i++)
        if (i == 0 || strcmp(names[i - 1], names[i]) != 0)
            buf_printf(&b, "%s\n", names[i]);
    return b.text;
}

typedef struct Commit {
    const OutDir *o;
    Folder f;
    const char **made; /* folders, to be removed where it fails */
    int nmade;
    struct Sub {
        const char *name;
        int fd;
        bool made; /* to be removed where it fails */
    } * sub;       /* subfolders, open */
    int nsub;
    struct Old {
        int folder;
        const char *base, *shown;
    } * old; /* files to remove */
    int nold;
    struct cvy_out *out; /* of each file that changes, and of the manifest twice */
    int nout;
} Commit;

/* The open folder for a file. Where it is not there, it is made; -1 after a message, or without one where it is not to
 * be made. */
static int place_of(Commit *c, const char *name, bool make, const char **base)
{
    const char *slash = strchr(name, '/');
    *base = slash ? slash + 1 : name;
    if (!slash)
        return c->f.fd;
    const char *sub = xstrndup(name, (size_t)(slash - name));
    for (int i = 0; i < c->nsub; i++)
        if (strcmp(c->sub[i].name, sub) == 0)
            return c->sub[i].fd;
    const bool made = make && mkdirat(c->f.fd, sub, 0777) == 0;
    const int fd = made || !make || errno == EEXIST ? parent_of(c->f.fd, name, base) : -1;
    if (fd < 0 && !make)
        return -1;
    if (fd < 0) {
        errno = errno == ELOOP || errno == ENOTDIR ? ENOTDIR : errno;
        fail("write into", xprintf("%s/%s", c->f.path, sub));
        return -1;
    }
    *PUSH(c->sub, c->nsub) = (struct Sub){sub, fd, made};
    return fd;
}

/* What stands under a name: 1, 0 where nothing does, -1 after a message where that cannot be seen. */
static int look_at(int folder, const char *name, const char *shown, struct stat *st)
{
    if (fstatat(folder, name, st, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    if (errno == ENOENT)
        return 0;
    fail("look at", shown);
    return -1;
}

static bool same_content(int folder, const char *name, const OutFile *f)
{
    struct stat st;
    size_t len;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != f->len)
        return false;
    const char *text = read_all(cvy_open_named(folder, name), f->len, &len);
    return text && len == f->len && memcmp(text, f->text, len) == 0;
}

/* A file into a temporary beside its place. NULL after a message. */
static struct cvy_out *write_temporary(Commit *c, int folder, const char *base, const char *shown, const char *text,
                                       size_t len)
{
    struct cvy_out *out = &c->out[c->nout];
    nunfinished = ++c->nout;
    return cvy_out_open_named(out, folder, base, shown) && cvy_out_write(out, text, len) && cvy_out_finish(out) ? out
                                                                                                                : NULL;
}

/* The manifest, where it is another than the one that is there. */
static bool write_manifest(Commit *c, int nold, struct cvy_out **out)
{
    const char *text = manifest_text(c->o, c->f.name, nold);
    const OutFile file = {.name = MANIFEST, .text = text, .len = strlen(text)};
    *out = NULL;
    if (same_content(c->f.fd, MANIFEST, &file))
        return true;
    *out = write_temporary(c, c->f.fd, MANIFEST, xprintf("%s/" MANIFEST, c->f.path), text, file.len);
    return *out != NULL;
}

/* It is the stamp of a makefile's rule: as new as the last run, also where that changed nothing; but a folder that
 * nobody may write to is up to date as it is. */
static bool touch_manifest(const Commit *c)
{
    return utimensat(c->f.fd, MANIFEST, NULL, AT_SYMLINK_NOFOLLOW) == 0 || errno == EACCES || errno == EPERM ||
           errno == EROFS || fail("set the time of", xprintf("%s/" MANIFEST, c->f.path));
}

/* Every file that is not there already, into a temporary. */
static bool write_temporaries(Commit *c)
{
    for (int i = 0; i < c->o->n; i++) {
        const OutFile *f = &c->o->file[i];
        const char *base, *shown = xprintf("%s/%s", c->f.path, f->name);
        struct stat st;
        const int folder = place_of(c, f->name, true, &base);
        if (folder < 0)
            return false;
        if (same_content(folder, base, f))
            continue; /* keeps its time, so that make rebuilds no more than it must */
        const int there = look_at(folder, base, shown, &st);
        if (there < 0)
            return false;
        if (there && (!listed(c->f.name, c->f.n, f->name) || !S_ISREG(st.st_mode))) {
            fprintf(stderr, "convoy: %s is in the way: convoy did not write it\n", shown);
            return false;
        }
        if (!write_temporary(c, folder, base, shown, f->text, f->len))
            return false;
    }
    return true;
}

/* Finds what the manifest lists and is not made any more. What is no regular file was not ours. False after a message.
 */
static bool find_old(Commit *c)
{
    const char **made = xalloc((size_t)(c->o->n + 1) * sizeof *made);
    for (int i = 0; i < c->o->n; i++)
        made[i] = c->o->file[i].name;
    if (c->o->n)
        qsort(made, (size_t)c->o->n, sizeof *made, by_string);
    for (int i = 0; i < c->f.n; i++) {
        const char *name = c->f.name[i], *base;
        struct stat st;
        const int folder = listed(made, c->o->n, name) ? -1 : place_of(c, name, false, &base);
        const char *shown = xprintf("%s/%s", c->f.path, name);
        const int there = folder < 0 ? 0 : look_at(folder, base, shown, &st);
        if (there < 0)
            return false;
        if (there && S_ISREG(st.st_mode))
            *PUSH(c->old, c->nold) = (struct Old){folder, base, shown};
    }
    return true;
}

static bool remove_old(const Commit *c)
{
    for (int i = 0; i < c->nold; i++)
        if (unlinkat(c->old[i].folder, c->old[i].base, 0) != 0 && errno != ENOENT)
            return fail("remove", c->old[i].shown);
    for (int i = 0; i < c->nsub; i++)
        unlinkat(c->f.fd, c->sub[i].name, AT_REMOVEDIR); /* if it is empty */
    return true;
}

/* Everything that can fail for want of memory or room comes before the first file is renamed. Until all are, the
 * manifest lists the old and the new. */
static bool commit(Commit *c)
{
    struct cvy_out *both, *last;
    if (!read_manifest(&c->f) || (!c->f.ours && !folder_is_free(&c->f)) || !write_temporaries(c))
        return false;
    const int n = c->nout;
    if (!find_old(c) || !write_manifest(c, c->f.n, &both))
        return false;
    if (!write_manifest(c, 0, &last))
        return false;
    if (both && !cvy_out_commit(both, 1))
        return false;
    for (int i = 0; i < c->nsub; i++)
        c->sub[i].made = false;
    c->nmade = 0;
    return cvy_out_commit(c->out, n) && remove_old(c) && (last ? cvy_out_commit(last, 1) : touch_manifest(c));
}

bool outdir_commit(const OutDir *o, const char *dir, int *lock)
{
    Commit c = {.o = o, .f = {.fd = -1}};
    sigset_t before;
    for (int i = 0; i < o->n; i++)
        if (!name_is_safe(o->file[i].name))
            BUG("a file called '%s'", o->file[i].name);
    if (!*dir) {
        fprintf(stderr, "convoy: the output folder has no name\n");
        return false;
    }
    c.out = xalloc((size_t)(o->n + 3) * sizeof *c.out);
    bool ok = make_folders(dir, &c.made, &c.nmade) && folder_open(&c.f, dir, LOCK_EX);
    if (ok) {
        protect(c.out, 0, &before);
        ok = commit(&c);
        for (int i = 0; i < c.nout; i++)
            cvy_out_drop(&c.out[i]);
        for (int i = 0; i < c.nsub; i++) {
            close(c.sub[i].fd);
            if (c.sub[i].made)
                unlinkat(c.f.fd, c.sub[i].name, AT_REMOVEDIR);
        }
        unprotect(&before);
    }
    while (!ok && c.nmade > 0)
        rmdir(c.made[--c.nmade]);
    if (lock)
        *lock = ok ? c.f.fd : -1;
    if (c.f.fd >= 0 && !(ok && lock))
        close(c.f.fd);
    return ok;
}
