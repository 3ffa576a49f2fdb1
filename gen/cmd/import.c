/* import.c - sets that commands make on the way: `convoy train --data SRC` and `convoy new --data SRC` import SRC once,
 * beside the build folder, and again where it or the options changed. */
#include "commands.h"
#include "runtime.h"
#include "data.h"
#include "files.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

int import_set(const char *src, const DataOptions *data)
{
    int number = 0;
    const bool ok = data_import(src, data, &number);

    if (number) { /* as if nobody had caught it */
        fprintf(stderr, "convoy: interrupted; no set was written\n");
        signal(number, SIG_DFL);
        raise(number);
    }
    return ok ? EXIT_OK : EXIT_FAILED;
}

static bool import_options(const Options *o, DataOptions *data, struct cvy_option option[DATA_OPTIONS])
{
    data_options(data, option);
    return cvy_options_parse(o->nimport, o->import, 0, "data", option) == 1;
}

/* Whether --data names what the program takes as it is: figures, Debian's Fashion-MNIST, four IDX files, a set, a pipe;
 * or nothing that is there, which is said by who looks for it. */
static bool is_ready(const char *data)
{
    struct stat st;
    bool there = true;

    if (stat(data, &st) != 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
        return true;
    if (S_ISREG(st.st_mode))
        return set_is(data);
    cvy_silent++;
    for (int i = 0; i < 4 && there; i++)
        there = cvy_data_file(data, i < 2 ? CVY_TRAIN_SPLIT : CVY_TEST_SPLIT, i % 2 == 0) != NULL;
    cvy_silent--;
    return there;
}

const char *import_path(const Options *o, const char *name)
{
    const char *const dir = o->out ? o->out : xprintf("build-%s", name);
    size_t n = strlen(dir);

    while (n > 1 && dir[n - 1] == '/')
        n--;
    return xprintf("%.*s.data.safetensors", (int)n, dir);
}

/* Writes down what a set was made of. */
static bool write_stamp(const char *path, const char *stamp)
{
    const char *const own = set_stamp(path), *const text = own ? xprintf("%s%s", stamp, own) : NULL;

    return text && file_write(xprintf("%s.from", path), text, strlen(text));
}

int import_once(const Options *o, const char *name, const char *src, const int want[3], bool quiet, const char **set)
{
    enum { MOST_STAMP = 1 << 20 };
    const char *const path = import_path(o, name), *const stamp_path = xprintf("%s.from", path);
    struct cvy_option option[DATA_OPTIONS];
    DataOptions data;
    struct stat st;
    size_t len;

    *set = src;
    if (is_ready(src)) {
        if (!o->nimport)
            return EXIT_OK;
        fprintf(stderr, "convoy: %s: '%s' is taken as it is, and not imported\n", o->import[0], src);
        return EXIT_FAILED;
    }
    if (!import_options(o, &data, option))
        return EXIT_USAGE;
    memcpy(data.want, want, sizeof data.want);
    data.out = *set = path;
    data.quiet = quiet;
    const char *stamp = data_stamp(src, option, &data), *change = NULL;
    if (!stamp)
        return EXIT_FAILED;
    if (stat(path, &st) == 0) {
        const char *const before = file_read(stamp_path, MOST_STAMP, &len), *const own = set_stamp(path);
        change = stamp_change(before ? before : "", xprintf("%s%s", stamp, own ? own : ""));
        if (!change) {
            if (!quiet)
                fprintf(stderr, "convoy: '%s' is as it was when %s was made of it\n", src, path);
            return EXIT_OK;
        }
    }
    if (change)
        fprintf(stderr, "convoy: '%s' is imported again into %s: %s\n", src, path, change);
    else
        fprintf(stderr, "convoy: '%s' is imported into %s\n", src, path);
    const int status = import_set(src, &data);
    return status == EXIT_OK && !write_stamp(path, stamp) ? EXIT_FAILED : status;
}

bool import_claim(const Options *o, const char *src, const char *path, const SetInfo *info)
{
    struct cvy_option option[DATA_OPTIONS];
    DataOptions data;

    if (!import_options(o, &data, option))
        return false;
    image_want(info->channels, info->height, info->width, data.want);
    const char *const stamp = data_stamp(src, option, &data);
    return stamp && write_stamp(path, stamp);
}

void image_want(int channels, int height, int width, int want[3])
{
    const bool image = (channels == 1 || channels == 3) && height * width > 1;

    want[0] = image ? channels : 0;
    want[1] = image ? height : 0;
    want[2] = image ? width : 0;
}
