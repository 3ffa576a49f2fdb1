/* files.c - output that is whole or not there.
 *
 * A single file goes to a temporary beside it, then takes its place. A folder of files goes to temporaries altogether;
 * when all of them are on the disk they are renamed. The folder's manifest lists what convoy wrote: that alone it
 * replaces or removes, later. */
#include "convoy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST ".convoy-manifest"
#define MANIFEST_HEAD "# What convoy wrote here, and may replace or remove. Keep it beside the files.\n"
#define TEMPORARY ".convoy-tmp"

enum {
    MAX_MANIFEST = 1 << 20,
    MAX_EMITTED = 1 << 28
};

/* ---- reading --------------------------------------------------------------------------------------------------- */

char *file_read(const char *path, size_t max, size_t *len)
{
    Buf b = {0};
    char part[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    buf_puts(&b, "");
    for (;;) {
        ssize_t n = read(fd, part, sizeof part);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int e = n < 0 ? errno : 0;
            close(fd);
            errno = e;
            *len = b.len;
            return e ? NULL : b.text;
        }
        buf_add(&b, part, (size_t)n);
        if (b.len > max) {
            close(fd);
            errno = EFBIG;
            return NULL;
        }
    }
}

/* ---- one file -------------------------------------------------------------------------------------------------- */

static bool fail(const char *what, const char *path)
{
    fprintf(stderr, "convoy: cannot %s %s: %s\n", what, path, strerror(errno));
    return false;
}

/* All of the text into a descriptor; closes it. False and errno where that fails, a full disk included. */
static bool write_all(int fd, const char *text, size_t len, bool sync)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int e = errno;
            close(fd);
            errno = e;
            return false;
        }
        text += n;
        len -= (size_t)n;
    }
    if (sync && fsync(fd) != 0 && errno != EINVAL && errno != EROFS) {
        int e = errno;
        close(fd);
        errno = e;
        return false;
    }
    return close(fd) == 0;
}

static bool write_new(const char *path, const char *text, size_t len, bool sync)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd >= 0 && write_all(fd, text, len, sync))
        return true;
    int e = errno;
    if (fd >= 0)
        unlink(path);
    errno = e;
    return false;
}

bool file_write(const char *path, const char *text, size_t len)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        int fd =
            S_ISDIR(st.st_mode) ? (errno = EISDIR, -1) : open(path, O_WRONLY | O_CLOEXEC); /* a pipe, /dev/stdout */
        return (fd >= 0 && write_all(fd, text, len, false)) || fail("write", path);
    }
    char *real = realpath(path, NULL); /* through a link, replace what it points to */
    const char *to = real ? xstrdup(real) : path;
    free(real);
    const char *tmp = xprintf("%s" TEMPORARY, to);
    if (!write_new(tmp, text, len, true))
        return fail("write", path);
    if (rename(tmp, to) != 0) {
        int e = errno;
        unlink(tmp);
        errno = e;
        return fail("write", path);
    }
    return true;
}

/* ---- a folder -------------------------------------------------------------------------------------------------- */

void outdir_add(OutDir *o, const char *name, const char *text, size_t len)
{
    for (int i = 0; i < o->n; i++)
        if (strcmp(o->file[i].name, name) == 0)
            BUG("two files are called %s", name);
    *PUSH(o->file, o->n) = (OutFile){xstrdup(name), text, len};
}

/* Relative, without "..", hidden parts or characters that a manifest could not hold. */
static bool name_is_safe(const char *name)
{
    if (!*name || *name == '/' || strlen(name) > 250)
        return false;
    for (const char *p = name; *p; p++) {
        bool at_start = p == name || p[-1] == '/';
        if ((unsigned char)*p <= 32 || *p == 127 || *p == '\\' || (at_start && (*p == '.' || *p == '/')))
            return false;
    }
    return name[strlen(name) - 1] != '/';
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool listed(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The files that an earlier manifest lists. False and a message where the manifest is not one of ours. */
static bool read_manifest(const char *dir, const char ***names, int *n, bool *found)
{
    const char *path = xprintf("%s/" MANIFEST, dir);
    size_t len;
    char *text = file_read(path, MAX_MANIFEST, &len);
    *found = text != NULL;
    if (!text)
        return errno == ENOENT || errno == ENOTDIR || fail("read", path);
    for (char *line = text; *line;) {
        size_t k = strcspn(line, "\n");
        const char *name = xstrndup(line, k);
        if (*name && *name != '#') {
            if (!name_is_safe(name)) {
                fprintf(stderr, "convoy: %s is damaged: it lists a file that convoy would not write\n", path);
                return false;
            }
            *PUSH(*names, *n) = name;
        }
        line += k + (line[k] == '\n');
    }
    return true;
}

/* Whether the folder is new or ours. Leftover temporaries of a run that was killed do not count. */
static bool folder_is_free(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d)
        return fail("open", dir);
    const char *foreign = NULL;
    for (struct dirent *e; !foreign && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !ends_with(e->d_name, TEMPORARY))
            foreign = xstrdup(e->d_name);
    closedir(d);
    if (foreign)
        fprintf(stderr,
                "convoy: %s is not empty, and convoy did not write what is in it (%s, for one)\n"
                "  hint: give -o a folder that is new, empty, or was written by convoy\n",
                dir, foreign);
    return !foreign;
}

bool outdir_read(OutDir *o, const char *dir)
{
    const char **names = NULL;
    int n = 0;
    bool found;

    if (!read_manifest(dir, &names, &n, &found))
        return false;
    if (!found) {
        fprintf(stderr, "convoy: %s is no folder that convoy wrote: it has no %s\n", dir, MANIFEST);
        return false;
    }
    for (int i = 0; i < n; i++) {
        const char *path = xprintf("%s/%s", dir, names[i]);
        size_t len;
        char *text = file_read(path, MAX_EMITTED, &len);
        if (!text)
            return fail("read", path);
        if (memchr(text, 0, len)) {
            fprintf(stderr, "convoy: %s is no text\n", path);
            return false;
        }
        outdir_add(o, names[i], text, len);
    }
    return true;
}

/* Makes a folder and those above it. Those that it made are added to `made`, for undoing. */
static bool make_folders(const char *dir, const char ***made, int *nmade)
{
    char *p = xstrdup(dir);
    for (size_t i = 1;; i++) {
        if (p[i] && p[i] != '/')
            continue;
        char c = p[i];
        p[i] = '\0';
        if (mkdir(p, 0777) == 0)
            *PUSH(*made, *nmade) = xstrdup(p);
        else if (errno != EEXIST)
            return fail("make the folder", p);
        p[i] = c;
        if (!c)
            break;
    }
    struct stat st;
    if (stat(dir, &st) != 0)
        return fail("open", dir);
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return fail("write into", dir);
    }
    return true;
}

static const char *manifest_text(const OutDir *o, const char *const *old, int nold)
{
    const char **names = xalloc((size_t)(o->n + nold + 1) * sizeof *names);
    int n = 0;
    for (int i = 0; i < o->n; i++)
        names[n++] = o->file[i].name;
    for (int i = 0; i < nold; i++)
        if (!listed(names, n, old[i]))
            names[n++] = old[i];
    qsort(names, (size_t)n, sizeof *names, by_string);
    Buf b = {0};
    buf_puts(&b, MANIFEST_HEAD);
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s\n", names[i]);
    return b.text;
}

typedef struct Commit {
    const OutDir *o;
    const char *dir;
    const char **path; /* of each file */
    const char **tmp;  /* of each file that changes, once its temporary is written */
    const char **old;  /* what the manifest listed */
    int nold;
    const char **made; /* folders */
    int nmade;
} Commit;

static bool same_content(const char *path, const OutFile *f)
{
    struct stat st;
    size_t len;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != f->len)
        return false;
    const char *text = file_read(path, f->len, &len);
    return text && len == f->len && memcmp(text, f->text, len) == 0;
}

/* Every file that is not there already, into a temporary beside its place. */
static bool write_temporaries(Commit *c)
{
    for (int i = 0; i < c->o->n; i++) {
        const OutFile *f = &c->o->file[i];
        const char *slash = strrchr(f->name, '/');
        struct stat st;
        c->path[i] = xprintf("%s/%s", c->dir, f->name);
        if (slash) {
            const char *sub = xprintf("%s/%s", c->dir, xstrndup(f->name, (size_t)(slash - f->name)));
            if (lstat(sub, &st) == 0 && !S_ISDIR(st.st_mode)) {
                errno = ENOTDIR;
                return fail("write into", sub);
            }
            if (!make_folders(sub, &c->made, &c->nmade))
                return false;
        }
        if (same_content(c->path[i], f))
            continue; /* keeps its time, so that make rebuilds no more than it must */
        if (lstat(c->path[i], &st) == 0 && (!listed(c->old, c->nold, f->name) || S_ISDIR(st.st_mode))) {
            fprintf(stderr, "convoy: %s is in the way: convoy did not write it\n", c->path[i]);
            return false;
        }
        const char *tmp = xprintf("%s" TEMPORARY, c->path[i]);
        if (!write_new(tmp, f->text, f->len, false))
            return fail("write", c->path[i]);
        c->tmp[i] = tmp;
    }
    return true;
}

static void undo(Commit *c)
{
    for (int i = 0; i < c->o->n; i++)
        if (c->tmp[i])
            unlink(c->tmp[i]);
    while (c->nmade > 0)
        rmdir(c->made[--c->nmade]);
}

static bool write_manifest(const Commit *c, int nold)
{
    const char *path = xprintf("%s/" MANIFEST, c->dir), *tmp = xprintf("%s" TEMPORARY, path);
    const char *text = manifest_text(c->o, c->old, nold);
    if (!write_new(tmp, text, strlen(text), false))
        return fail("write", path);
    if (rename(tmp, path) != 0) {
        unlink(tmp);
        return fail("write", path);
    }
    return true;
}

bool outdir_commit(const OutDir *o, const char *dir)
{
    Commit c = {.o = o, .dir = dir};
    bool ours;
    c.path = xalloc((size_t)(o->n + 1) * sizeof *c.path);
    c.tmp = xalloc((size_t)(o->n + 1) * sizeof *c.tmp);
    for (int i = 0; i < o->n; i++)
        if (!name_is_safe(o->file[i].name))
            BUG("a file called '%s'", o->file[i].name);
    if (!*dir) {
        fprintf(stderr, "convoy: the output folder has no name\n");
        return false;
    }
    if (!make_folders(dir, &c.made, &c.nmade) || !read_manifest(dir, &c.old, &c.nold, &ours) ||
        (!ours && !folder_is_free(dir)) || !write_temporaries(&c) ||
        !write_manifest(&c, c.nold)) { /* until all is renamed, it lists the old and the new */
        undo(&c);
        return false;
    }
    for (int i = 0; i < o->n; i++)
        if (c.tmp[i] && rename(c.tmp[i], c.path[i]) != 0) {
            fail("write", c.path[i]);
            c.nmade = 0;
            undo(&c);
            return false;
        }
    for (int i = 0; i < c.nold; i++) {
        bool keep = false;
        for (int k = 0; k < o->n; k++)
            keep = keep || strcmp(o->file[k].name, c.old[i]) == 0;
        if (keep)
            continue;
        const char *path = xprintf("%s/%s", dir, c.old[i]);
        if (unlink(path) != 0 && errno != ENOENT && errno != ENOTDIR)
            return fail("remove", path);
        char *slash = strrchr(xstrdup(c.old[i]), '/');
        if (slash)
            rmdir(
                xprintf("%s/%s", dir, xstrndup(c.old[i], (size_t)(strrchr(c.old[i], '/') - c.old[i])))); /* if empty */
    }
    return write_manifest(&c, 0);
}
