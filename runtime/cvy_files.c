/* cvy_files.c - files: reading all that was asked for, and writing so that a file is whole or not there.
 *
 * A path that the user typed follows links and may name a pipe. A name that stands in some file is opened in its
 * folder, follows no link, and must be a regular file. SPDX-License-Identifier: 0BSD */
#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#elif !defined _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64

#include "cvy_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    OUT_ROOM = 1 << 16,
    MAX_LINKS = 40,
    MAX_BASE = 200 /* of a name, in its temporary's: 255 is what a file system takes */
};

/* ---- reading and writing a descriptor ---- */

/* Whether a call that failed is worth another try. Waits, where the other end of a pipe is not ready. */
static int again(int fd, short what)
{
    if (errno == EINTR)
        return 1;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        return 0;
    struct pollfd p = {fd, what, 0};
    return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

int64_t cvy_fd_read(int fd, void *to, size_t n)
{
    size_t have = 0;
    while (have < n) {
        size_t ask = n - have < (size_t)1 << 30 ? n - have : (size_t)1 << 30;
        ssize_t got = read(fd, (char *)to + have, ask);
        if (got > 0)
            have += (size_t)got;
        else if (got == 0)
            break;
        else if (!again(fd, POLLIN))
            return -1;
    }
    return (int64_t)have;
}

int cvy_fd_write(int fd, const void *data, size_t n)
{
    const char *from = data;
    while (n) {
        ssize_t put = write(fd, from, n < (size_t)1 << 30 ? n : (size_t)1 << 30);
        if (put >= 0) {
            from += put;
            n -= (size_t)put;
        } else if (!again(fd, POLLOUT)) {
            return 0;
        }
    }
    return 1;
}

/* ---- opening ---- */

int cvy_open_typed(const char *path)
{
    int fd;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int cvy_spares(const char *to, const char *const *read, int n)
{
    struct stat a, b;
    if (!to || stat(to, &a) != 0 || !S_ISREG(a.st_mode))
        return 1;
    for (int i = 0; i < n; i++) {
        if (read[i] && stat(read[i], &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino) {
            cvy_error("another name for what is written", "'%s' is read here: it would be written over", to);
            return 0;
        }
    }
    return 1;
}

int cvy_open_named(int folder, const char *name)
{
    struct stat st;
    int fd;
    do
        fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* a pipe must not be waited for */
    while (fd < 0 && errno == EINTR);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = ENOTSUP;
        return -1;
    }
    return fd;
}

const char *cvy_file_error(int error)
{
    return error == ELOOP                       ? "it is a link"
           : error == ENOTSUP || error == ENXIO ? "it is no regular file"
                                                : strerror(error);
}

/* ---- writing ---- */

static int out_fail(struct cvy_out *out, const char *what)
{
    const char *hint =
        errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? "what stood there before is untouched" : NULL;
    cvy_error(out->temp ? hint : NULL, "cannot %s '%s': %s", what, out->path, strerror(errno));
    return 0;
}

/* The descriptor that a path like /dev/stdout or /dev/fd/3 stands for; -1: none. */
static int own_descriptor(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/", NULL};
    if (strcmp(path, "/dev/stdout") == 0 || strcmp(path, "/dev/stderr") == 0)
        return path[8] == 'o' ? 1 : 2;
    for (int i = 0; folders[i]; i++) {
        size_t n = strlen(folders[i]), digits = strncmp(path, folders[i], n) == 0 ? strspn(path + n, "0123456789") : 0;
        if (digits > 0 && digits < 6 && !path[n + digits])
            return atoi(path + n);
    }
    return -1;
}

/* What a link points to, seen from where the link is. free(); NULL and errno: no link, or a message was given. */
static char *link_target(const char *path)
{
    char to[4096];
    ssize_t n = readlink(path, to, sizeof to - 1);
    if (n < 0)
        return NULL;
    to[n] = '\0';
    const char *slash = strrchr(path, '/');
    return to[0] == '/' || !slash ? cvy_format("%s", to) : cvy_format("%.*s/%s", (int)(slash - path), path, to);
}

/* Follows links, so that a link stays a link and what it points to is replaced, or made. */
static int follow(struct cvy_out *out, const char *path)
{
    struct stat st;
    out->path = cvy_format("%s", path);
    for (int i = 0; out->path && lstat(out->path, &st) == 0 && S_ISLNK(st.st_mode) && own_descriptor(out->path) < 0;
         i++) {
        char *to = i < MAX_LINKS ? link_target(out->path) : NULL;
        if (!to) {
            errno = i < MAX_LINKS ? errno : ELOOP;
            return out_fail(out, "write");
        }
        free(out->path);
        out->path = to;
    }
    return out->path != NULL;
}

/* Opens a file of a new name beside `name`, with the mode and, where that can be, the owner of what it will replace. */
static int open_temp(struct cvy_out *out, const struct stat *old)
{
    static unsigned count;
    const char *slash = strrchr(out->name, '/'), *base = slash ? slash + 1 : out->name;
    int fd = -1;
    for (int i = 0; i < 1000 && fd < 0; i++) {
        free(out->temp);
        out->temp = cvy_format("%.*s%.*s" CVY_TEMPORARY "%ld.%u", (int)(base - out->name), out->name, MAX_BASE, base,
                               (long)getpid(), count++);
        if (!out->temp)
            return -1;
        do
            fd =
                openat(out->folder, out->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, old ? 0600 : 0666);
        while (fd < 0 && errno == EINTR);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0) {
        out_fail(out, "write");
        free(out->temp); /* not ours: nothing to remove */
        out->temp = NULL;
        return -1;
    }
    if (old) {
        struct stat st;
        if (fstat(fd, &st) == 0 && (st.st_uid != old->st_uid || st.st_gid != old->st_gid) &&
            fchown(fd, old->st_uid, old->st_gid) != 0)
            errno = 0; /* somebody else's file that we may write: it becomes ours */
        if (fchmod(fd, old->st_mode & 07777) != 0 && errno != EPERM && errno != ENOTSUP) {
            out_fail(out, "write");
            close(fd);
            return -1;
        }
    }
    return fd;
}

static int give_room(struct cvy_out *out, int fd)
{
    out->room = fd < 0 ? NULL : malloc(OUT_ROOM);
    if (out->room) {
        out->fd = fd;
        return 1;
    }
    if (fd >= 0) {
        cvy_error(NULL, "out of memory");
        close(fd);
    }
    cvy_out_drop(out);
    return 0;
}

int cvy_out_open(struct cvy_out *out, const char *path)
{
    struct stat st;
    memset(out, 0, sizeof *out);
    out->folder = AT_FDCWD;
    if (!follow(out, path)) {
        cvy_out_drop(out);
        return 0;
    }
    out->name = out->path;
    const int there = stat(path, &st) == 0, own = own_descriptor(out->path);
    int fd = -1;
    if (own >= 0) { /* not opened anew: what was written there before would be overwritten */
        fflush(stdout);
        fd = fcntl(own, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            out_fail(out, "write");
    } else if (there && S_ISDIR(st.st_mode)) {
        cvy_error(NULL, "cannot write '%s': it is a folder", path);
    } else if (there && !S_ISREG(st.st_mode)) {
        do
            fd = open(path, O_WRONLY | O_CLOEXEC);
        while (fd < 0 && errno == EINTR);
        if (fd < 0)
            out_fail(out, "write");
    } else if (there && access(out->path, W_OK) != 0) {
        out_fail(out, "write");
    } else {
        fd = open_temp(out, there ? &st : NULL);
    }
    return give_room(out, fd);
}

int cvy_out_open_named(struct cvy_out *out, int folder, const char *name, const char *shown)
{
    struct stat st;
    memset(out, 0, sizeof *out);
    out->folder = folder;
    out->hasty = 1;
    out->path = cvy_format("%s", shown);
    out->name = out->own_name = cvy_format("%s", name);
    if (!out->path || !out->name) {
        cvy_out_drop(out);
        return 0;
    }
    const int there = fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && !S_ISREG(st.st_mode)) {
        cvy_error(NULL, "cannot write '%s': something stands there that is no regular file", shown);
        cvy_out_drop(out);
        return 0;
    }
    return give_room(out, open_temp(out, there ? &st : NULL));
}

static int out_flush(struct cvy_out *out)
{
    size_t n = out->used;
    out->used = 0;
    return cvy_fd_write(out->fd, out->room, n) || out_fail(out, "write");
}

int cvy_out_write(struct cvy_out *out, const void *data, size_t bytes)
{
    if (bytes > OUT_ROOM - out->used && !out_flush(out))
        return 0;
    if (bytes >= OUT_ROOM)
        return cvy_fd_write(out->fd, data, bytes) || out_fail(out, "write");
    if (bytes)
        memcpy(out->room + out->used, data, bytes);
    out->used += bytes;
    return 1;
}

int cvy_out_finish(struct cvy_out *out)
{
    int ok = out_flush(out), e;
    do
        e = ok && out->temp && !out->hasty ? fsync(out->fd) : 0;
    while (e != 0 && errno == EINTR);
    if (e != 0 && errno != EINVAL)
        ok = out_fail(out, "write");
    if (close(out->fd) != 0 && errno != EINTR && ok)
        ok = out_fail(out, "write");
    free(out->room);
    out->room = NULL;
    return ok;
}

/* The rename itself must survive a crash, too: the folder is synced. Some file systems cannot; the rename stands all
 * the same. */
static void sync_folder(const struct cvy_out *out)
{
    const char *slash = strrchr(out->name, '/');
    char *folder =
        slash ? cvy_format("%.*s", slash == out->name ? 1 : (int)(slash - out->name), out->name) : cvy_format(".");
    int fd = folder ? openat(out->folder, folder, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        while (fsync(fd) != 0 && errno == EINTR)
            ;
        close(fd);
    }
    free(folder);
}

static int out_rename(struct cvy_out *out)
{
    int e;
    do
        e = renameat(out->folder, out->temp, out->folder, out->name);
    while (e != 0 && errno == EINTR);
    if (e != 0)
        return out_fail(out, "write");
    free(out->temp);
    out->temp = NULL;
    if (!out->hasty)
        sync_folder(out);
    return 1;
}

int cvy_out_commit(struct cvy_out *out, int n)
{
    int ok = 1;
    for (int i = 0; i < n && ok; i++)
        ok = !out[i].room || cvy_out_finish(&out[i]);
    for (int i = 0; i < n && ok; i++)
        ok = out[i].temp == NULL || out_rename(&out[i]);
    for (int i = 0; i < n; i++)
        cvy_out_drop(&out[i]);
    return ok;
}

void cvy_out_drop(struct cvy_out *out)
{
    if (out->room)
        close(out->fd);
    if (out->temp)
        unlinkat(out->folder, out->temp, 0);
    free(out->room);
    free(out->temp);
    free(out->own_name);
    free(out->path);
    memset(out, 0, sizeof *out);
}

/* ---- temporaries that stayed ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void left_free(char **list)
{
    for (int i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

/* The program that made a temporary, out of the "PID.N" at its name's end; 0 where there is none. */
static int64_t maker_of(const char *end)
{
    const size_t digits = strspn(end, "0123456789");
    char text[16];
    int64_t pid = 0;
    uint64_t number;
    snprintf(text, sizeof text, "%.*s", (int)(digits < sizeof text ? digits : 0), end);
    return end[digits] == '.' && cvy_parse_u64(end + digits + 1, 0, UINT64_MAX, &number) &&
                   cvy_parse_i64(text, 1, INT32_MAX, &pid)
               ? pid
               : 0;
}

/* One more temporary at the list's end; where there is no memory, it is not looked at. */
static char **add_left(char **list, int n, char *name)
{
    struct stat st;
    char **grown =
        name && lstat(name, &st) == 0 && S_ISREG(st.st_mode) ? realloc(list, (size_t)(n + 2) * sizeof *list) : NULL;
    if (!grown) {
        free(name);
        return list;
    }
    grown[n] = name;
    grown[n + 1] = NULL;
    return grown;
}

/* Temporaries of `path` that a program left when it was killed: a list that ends with NULL, for left_free. NULL and a
 * message where memory is out. */
static char **out_left(const char *path)
{
    struct cvy_out out = {0};
    char **list = cvy_alloc(1, sizeof *list), *folder = NULL, *begin = NULL;
    if (list && follow(&out, path)) {
        const char *slash = strrchr(out.path, '/'), *base = slash ? slash + 1 : out.path;
        const int before = (int)(base - out.path);
        folder = before ? cvy_format("%.*s", before, out.path) : cvy_format(".");
        begin = cvy_format("%.*s" CVY_TEMPORARY, MAX_BASE, base);
        DIR *d = folder && begin ? opendir(folder) : NULL;
        const struct dirent *e;
        for (int n = 0; d && (e = readdir(d)) != NULL; n += list[n] != NULL)
            if (strncmp(e->d_name, begin, strlen(begin)) == 0 && maker_of(e->d_name + strlen(begin)))
                list = add_left(list, n, cvy_format("%.*s%s", before, out.path, e->d_name));
        if (d)
            closedir(d);
        for (char **end = list; *end; end++)
            if (!end[1])
                qsort(list, (size_t)(end + 1 - list), sizeof *list, by_text);
    }
    free(folder);
    free(begin);
    cvy_out_drop(&out);
    return list;
}

void cvy_out_clean(const char *path)
{
    char **list = out_left(path);
    for (int i = 0; list && list[i]; i++) {
        const char *end = strrchr(list[i], '.') - 1;
        while (end[-1] != '.')
            end--;
        const pid_t maker = (pid_t)maker_of(end);
        if (maker == getpid() || (kill(maker, 0) != 0 && errno == ESRCH))
            unlink(list[i]);
    }
    left_free(list);
}

/* ---- locks ---- */

/* That no lock can be made there: the folder does not take files, as who writes there will be told, or has no locks. */
static int no_lock_there(int e)
{
    return e == EACCES || e == EPERM || e == ENOENT || e == ENOTDIR || e == EROFS || e == ENAMETOOLONG || e == ENOLCK ||
           e == ENOTSUP || e == ENOSYS;
}

/* 1: held; 0: not, and an error; -1: not, and there is no need to. */
static int lock_once(struct cvy_lock *l, const char *path)
{
    struct stat st, there;
    int e;
    do
        l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    while (l->fd < 0 && errno == EINTR);
    do
        e = l->fd < 0 ? -1 : flock(l->fd, LOCK_EX | LOCK_NB);
    while (l->fd >= 0 && e != 0 && errno == EINTR);
    if (e == 0 && fstat(l->fd, &st) == 0 &&
        (lstat(l->path, &there) != 0 || there.st_ino != st.st_ino || there.st_dev != st.st_dev)) {
        close(l->fd); /* its holder ended and removed it */
        return lock_once(l, path);
    }
    if (e == 0)
        return 1;
    e = errno;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    if (e == EWOULDBLOCK)
        cvy_error("--save OTHER, or wait until it ends", "another training is saving to '%s'", path);
    else if (!no_lock_there(e))
        cvy_error(NULL, "cannot lock '%s': %s", l->path, strerror(e));
    return no_lock_there(e) ? -1 : 0;
}

int cvy_lock_take(struct cvy_lock *l, const char *path)
{
    struct cvy_out out = {0};
    struct stat st;
    l->fd = -1;
    l->path = NULL;
    int ok = follow(&out, path);
    if (ok && own_descriptor(out.path) < 0 && (stat(out.path, &st) != 0 || S_ISREG(st.st_mode))) {
        l->path = cvy_format("%s.lock", out.path);
        ok = l->path && lock_once(l, path) != 0;
    }
    cvy_out_drop(&out);
    return ok;
}

void cvy_lock_drop(struct cvy_lock *l)
{
    if (l->path && l->fd >= 0) {
        unlink(l->path);
        close(l->fd);
    }
    free(l->path);
    l->path = NULL;
    l->fd = -1;
}
