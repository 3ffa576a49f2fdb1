/* stamp.c - what a set was made of: SRC, options, and of each file name, size and time, so that a training knows
 * whether to make it again. The set's own size and time stand there, too: one that was written over is another. */
#include "data.h"
#include "import.h"
#include "runtime.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static struct Found {
    uint64_t sum; /* of the files' hashes: their order does not count */
    int64_t files;
    size_t skip; /* of a path: SRC */
} found;

static void add_file(const char *path, const struct stat *st)
{
    const char *text = xprintf("%s\n%lld %lld %ld", path + found.skip, (long long)st->st_size,
                               (long long)st->st_mtim.tv_sec, (long)st->st_mtim.tv_nsec);
    found.sum += hash_of(text, strlen(text));
    found.files++;
}

static int visit(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    const PoolMark mark = pool_mark();
    if (kind == FTW_F && path[where->base] != '.')
        add_file(path, st);
    pool_release(mark);
    return 0;
}

/* SRC, or a file that an option names. False after a message. */
static bool add(const char *path)
{
    enum { OPEN_FOLDERS = 16 };
    struct stat st;
    found.skip = strlen(path);
    if (stat(path, &st) != 0 || (S_ISDIR(st.st_mode) && nftw(path, visit, OPEN_FOLDERS, 0) != 0)) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode))
        add_file(path, &st);
    return true;
}

const char *data_stamp(const char *src, const struct cvy_option *options, const DataOptions *o)
{
    struct stat st;
    Buf b = {0};
    size_t n = strlen(src);
    while (n > 1 && src[n - 1] == '/')
        n--;
    found = (struct Found){0};
    if (!add(src) || (o->labels && !add(o->labels)) || (o->y && stat(o->y, &st) == 0 && !add(o->y)))
        return NULL;
    buf_printf(&b, "source %.*s\noptions of convoy %s, %d x %d x %d:", (int)n, src, CONVOY_VERSION, o->want[0],
               o->want[1], o->want[2]);
    for (; options->name; options++) {
        if (!options->given)
            continue;
        buf_printf(&b, " %s", options->name);
        if (options->kind == CVY_TEXT)
            buf_printf(&b, "=%s", *(const char *const *)options->value);
        else if (options->kind == CVY_INT)
            buf_printf(&b, "=%d", *(const int *)options->value);
        else if (options->kind == CVY_U64)
            buf_printf(&b, "=%" PRIu64, *(const uint64_t *)options->value);
    }
    buf_printf(&b, "\nfiles %" PRId64 ", %016" PRIx64 "\n", found.files, found.sum);
    return b.text;
}

const char *set_stamp(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        return NULL;
    }
    return xprintf("set %lld bytes, %lld.%09ld\n", (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                   (long)st.st_mtim.tv_nsec);
}

const char *stamp_change(const char *before, const char *now)
{
    static const struct {
        const char *word, *what;
    } lines[] = {{"source ", "it was made of something else"},
                 {"options ", "it was made with other options, or for another input"},
                 {"files ", "names, sizes or times of the files have changed"},
                 {"set ", "it has been written since it was made"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const size_t n = strcspn(before, "\n"), m = strcspn(now, "\n"), word = strlen(lines[i].word);
        if (n != m || memcmp(before, now, n) != 0 || strncmp(before, lines[i].word, word) != 0)
            return lines[i].what;
        before += n + (before[n] == '\n');
        now += m + (now[m] == '\n');
    }
    return *before || *now ? "it is not known what it was made of" : NULL;
}
