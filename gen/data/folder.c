/* folder.c - a folder of images: a folder a class, train/ and test/ above the classes, labels from a table or from
 * names. */
#define _FILE_OFFSET_BITS 64
#include "import.h"
#include "labels.h"
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_DEPTH = 40, MOST_PATH = 4000 };

typedef struct Folder {
    int fd;
    bool has_splits;
    Sorter *sorter;
    Labels *labels;
    regex_t regex;
    bool has_regex;
    struct stat label_file, out_file;
    bool has_label_file, has_out_file;
    int links;
    bool any_folder;
    struct Seen {
        dev_t dev;
        ino_t ino;
    } above[MOST_DEPTH]; /* folders that the one being read lies in */
    Buf name;
} Folder;

static bool folder_is(const char *src)
{
    struct stat st;
    return stat(src, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- what lies there ---- */

static bool is_hidden(const char *name)
{
    static const char *const words[] = {"__MACOSX", "Thumbs.db", "desktop.ini", "ehthumbs.db", "@eaDir", NULL};
    return name[0] == '.' || is_in(words, name);
}

/* Folders that mean a split above the classes. SPLIT_OPEN: none. */
static Split split_of(const char *name, size_t len)
{
    static const struct {
        const char *word;
        Split split;
    } words[] = {{"train", SPLIT_TRAIN},      {"training", SPLIT_TRAIN}, {"valid", SPLIT_VALID}, {"val", SPLIT_VALID},
                 {"validation", SPLIT_VALID}, {"test", SPLIT_TEST},      {"testing", SPLIT_TEST}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].word) == len && strncasecmp(name, words[i].word, len) == 0)
            return words[i].split;
    return SPLIT_OPEN;
}

/* A folder, to be read and closed. NULL and errno. */
static DIR *open_folder(int at, const char *name)
{
    int fd;
    do
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0) {
        const int e = errno;
        close(fd);
        errno = e;
    }
    return d;
}

static bool cannot_read(const Import *m, const char *path)
{
    cvy_error(NULL, "cannot read '%s%s%s': %s", m->src, *path ? "/" : "", path, strerror(errno));
    return false;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool walk(Import *m, Folder *f, DIR *d, char path[], int depth);

/* One entry of a folder; path[0..at) is the folder's, with its slash. */
static bool walk_entry(Import *m, Folder *f, DIR *d, const char *name, char path[], size_t at, int depth)
{
    struct stat st;
    const size_t len = strlen(name);
    if (is_hidden(name)) {
        m->hidden++;
        return true;
    }
    if (at + len + 1 > MOST_PATH) {
        note(m, NOTE_ODD, name, "its path is longer than %d bytes: left out", MOST_PATH);
        return true;
    }
    memcpy(path + at, name, len + 1);
    if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || cannot_read(m, path);
    if (S_ISLNK(st.st_mode)) {
        f->links++;
        if (fstatat(dirfd(d), name, &st, 0) != 0) {
            note(m, NOTE_UNREADABLE, path, "a link to nothing");
            return true;
        }
    }
    if (S_ISREG(st.st_mode)) {
        if ((f->has_label_file && is_same(&st, &f->label_file)) || (f->has_out_file && is_same(&st, &f->out_file)))
            return true;
        return sorter_add(f->sorter, path, at + len);
    }
    if (!S_ISDIR(st.st_mode)) {
        note(m, NOTE_UNREADABLE, path, "no regular file");
        return true;
    }
    f->any_folder = true;
    if (!f->labels && !f->has_regex && depth == f->has_splits && class_of(m, name) < 0) /* one without a file is said */
        return false;
    if (depth + 1 == MOST_DEPTH) {
        note(m, NOTE_ODD, path, "more than %d folders deep: left out", MOST_DEPTH - 1);
        return true;
    }
    for (int i = 0; i <= depth; i++)
        if (f->above[i].dev == st.st_dev && f->above[i].ino == st.st_ino) {
            note(m, NOTE_ODD, path, "a link to a folder that it lies in: left out");
            return true;
        }
    DIR *below = open_folder(dirfd(d), name);
    if (!below) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            return cannot_read(m, path);
        note(m, NOTE_UNREADABLE, path, "%s", strerror(errno));
        return true;
    }
    f->above[depth + 1] = (struct Seen){st.st_dev, st.st_ino};
    memcpy(path + at + len, "/", 2);
    const bool ok = walk(m, f, below, path, depth + 1);
    closedir(below);
    return ok;
}

static bool walk(Import *m, Folder *f, DIR *d, char path[], int depth)
{
    const size_t at = strlen(path);
    const struct dirent *e;
    while (errno = 0, (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (!goes_on() || !walk_entry(m, f, d, e->d_name, path, at, depth))
            return false;
        path[at] = '\0';
    }
    return errno == 0 || cannot_read(m, path);
}

/* Whether all folders of SRC mean splits, train among them. */
static bool find_splits(Import *m, Folder *f, DIR *d)
{
    int splits = 0, others = 0;
    bool train = false;
    const struct dirent *e;
    const char *other = NULL;
    struct stat st;
    while (errno = 0, (e = readdir(d))) {
        if (is_hidden(e->d_name) || fstatat(dirfd(d), e->d_name, &st, 0) != 0 || !S_ISDIR(st.st_mode))
            continue;
        const Split s = split_of(e->d_name, strlen(e->d_name));
        if (s == SPLIT_OPEN && (!other || strcmp(e->d_name, other) < 0))
            other = xstrdup(e->d_name);
        splits += s != SPLIT_OPEN;
        others += s == SPLIT_OPEN;
        train = train || s == SPLIT_TRAIN;
    }
    if (errno)
        return cannot_read(m, "");
    rewinddir(d);
    f->has_splits = splits && train && !others;
    if (splits > 1 && train && others) {
        cvy_error("splits alone, or classes alone: name a folder below as SRC, or move what does not belong there away",
                  "'%s' holds train, and beside it '%s': is that a class?", m->src, other);
        return false;
    }
    return true;
}

/* ---- labels ---- */

/* The class of a path; path is below the split. -1: none, which was noted; -2 after a message. */
static int label_of(Import *m, Folder *f, const char *whole, char *path)
{
    regmatch_t at[2];
    if (f->labels) {
        int c = labels_find(f->labels, whole);
        if (c < 0 && path != whole)
            c = labels_find(f->labels, path);
        if (c < 0)
            note(m, NOTE_ODD, whole, "'%s' has no class for it: left out", m->o->labels);
        return c;
    }
    if (f->has_regex) {
        if (regexec(&f->regex, whole, 2, at, 0) != 0) {
            note(m, NOTE_ODD, whole, "--label-regex does not match: left out");
            return -1;
        }
        const regmatch_t *g = f->regex.re_nsub && at[1].rm_so >= 0 ? &at[1] : &at[0];
        char name[MOST_PATH + 1];
        snprintf(name, sizeof name, "%.*s", (int)(g->rm_eo - g->rm_so), whole + g->rm_so);
        const int c = class_of(m, name);
        return c < 0 ? -2 : c;
    }
    char *slash = strchr(path, '/');
    if (!slash) {
        note(m, NOTE_ODD, whole, "it lies in no class's folder: left out");
        return -1;
    }
    *slash = '\0';
    const int c = class_of(m, path);
    *slash = '/';
    return c < 0 ? -2 : c;
}

static bool add_files(Import *m, Folder *f)
{
    bool ok = sorter_sort(f->sorter);
    size_t len;
    const char *path;
    char own[MOST_PATH + 1];
    while (ok && (path = sorter_next(f->sorter, &len, &ok)) != NULL) {
        Split split = SPLIT_OPEN;
        if (!goes_on())
            return false;
        memcpy(own, path, len + 1);
        char *below = own;
        if (f->has_splits) {
            char *slash = strchr(own, '/');
            split = slash ? split_of(own, (size_t)(slash - own)) : SPLIT_OPEN;
            below = slash ? slash + 1 : own;
        }
        if (f->has_splits && split == SPLIT_OPEN) {
            note(m, NOTE_ODD, path, "it lies beside train: left out");
            continue;
        }
        const int label = label_of(m, f, path, below);
        if (label == -2)
            return false;
        if (label < 0)
            continue;
        Record *r = record_add(m, path, len);
        if (!r)
            return false;
        r->label = label;
        r->split = (uint8_t)split;
        r->given = split != SPLIT_OPEN;
    }
    return ok;
}

/* ---- files ---- */

/* A file of the folder. NULL: noted, or, where *bad, after a message. */
static FILE *open_image(Import *m, int i, bool *bad)
{
    Folder *f = m->state;
    struct stat st;
    int fd;
    if (!texts_get(&m->names, record(m, i)->name, &f->name)) {
        *bad = true;
        return NULL;
    }
    do
        fd = openat(f->fd, f->name.text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0 || fstat(fd, &st) != 0) {
        *bad = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
        if (*bad)
            cannot_read(m, f->name.text);
        else
            note(m, NOTE_UNREADABLE, f->name.text, "%s", strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        note(m, NOTE_UNREADABLE, f->name.text, "no regular file");
    } else {
        FILE *from = fdopen(fd, "rb");
        if (from)
            return from;
        out_of_memory(0);
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

/* Whether a file can be read to its end. */
static bool is_whole(Import *m, FILE *from, const ImageHead *head)
{
    const Recipe r = {.channels = head->grey ? 1 : 3,
                      .height = 1,
                      .width = 1,
                      .fit = FIT_SQUASH,
                      .keep_truncated = m->o->keep_truncated};
    uint8_t pixel[3];
    unsigned met;
    char why[IMAGE_WHY];
    rewind(from);
    return image_import(&r, from, pixel, &met, why);
}

/* What the images have in common: their size, and whether all are grey. A file counts that can be read to its end,
 * which is looked at only where its head says something new. */
static bool find_common(Import *m, ImageHead *common, bool *mixed)
{
    bool any = false;
    *mixed = false;
    *common = (ImageHead){.grey = true};
    const bool want_size = !m->o->size;
    for (int i = 0; i < m->n && (!any || (want_size && !*mixed) || common->grey); i++) {
        ImageHead head;
        char why[IMAGE_WHY];
        bool bad = false;
        const int64_t notes = m->note_count[NOTE_UNREADABLE];
        const int kept = m->nnote;
        if (!goes_on())
            return false;
        if (record(m, i)->left_out)
            continue;
        FILE *from = open_image(m, i, &bad);
        if (bad)
            return false;
        m->note_count[NOTE_UNREADABLE] = notes; /* it is read again, and noted then */
        m->nnote = kept;
        if (!from)
            continue;
        if (image_head(from, &head, why)) {
            const bool other = any && (head.width != common->width || head.height != common->height);
            if ((!any || (other && !*mixed) || (!head.grey && common->grey)) && is_whole(m, from, &head)) {
                if (!any) {
                    common->width = head.width;
                    common->height = head.height;
                }
                *mixed = *mixed || other;
                common->grey = common->grey && head.grey;
                any = true;
            }
        }
        fclose(from);
    }
    return true;
}

static bool read_size(const char *text, int *height, int *width)
{
    int used = 0;
    if (sscanf(text, "%5dx%5d%n", height, width, &used) == 2 && !text[used] && *height > 0 && *width > 0)
        return true;
    if (sscanf(text, "%5d%n", height, &used) == 1 && !text[used] && *height > 0) {
        *width = *height;
        return true;
    }
    cvy_error("height x width, as in --size 64x64", "--size: '%s' cannot be read", text);
    return false;
}

static bool find_recipe(Import *m)
{
    enum { USUAL = 64 };
    ImageHead common;
    bool mixed;
    Recipe *r = &m->recipe;
    *r = (Recipe){.fit = FIT_CROP, .keep_truncated = m->o->keep_truncated};
    if (m->o->size && !read_size(m->o->size, &r->height, &r->width))
        return false;
    while (m->o->fit && fit_words[r->fit] && strcmp(fit_words[r->fit], m->o->fit) != 0)
        r->fit++;
    if (!fit_words[r->fit]) {
        cvy_error("one of crop, pad, squash", "--fit: unknown value '%s'", m->o->fit);
        return false;
    }
    if (!find_common(m, &common, &mixed))
        return false;
    static const char *const fits[] = {"the middle is kept where the shape differs",
                                       "black beside it where the shape differs", "squashed where the shape differs"};
    const int *const want = m->o->want;
    if (want[1] && !m->o->size) {
        r->height = want[1];
        r->width = want[2];
        fact(m, "size", "--size HxW", "%d x %d, as the network reads them; averages over areas", r->height, r->width);
    } else if (m->o->size) {
        fact(m, "size", NULL, "%d x %d, as asked for; averages over areas", r->height, r->width);
    } else if (!mixed) {
        r->height = common.height;
        r->width = common.width;
        fact(m, "size", "--size HxW", "all %d x %d (height x width): they stay so", r->height, r->width);
    } else {
        r->height = r->width = USUAL;
        fact(m, "size", "--size HxW", "images of several sizes become %d x %d, by averages over areas", r->height,
             r->width);
    }
    if (m->o->size || want[1] || mixed)
        fact(m, "fit", "--fit crop|pad|squash", "%s: %s", fit_words[r->fit], fits[r->fit]);
    r->channels = m->o->gray ? 1 : want[0] ? want[0] : common.grey ? 1 : 3;
    fact(m, "channels", m->o->gray || want[0] || common.grey ? NULL : "--gray", "%s",
         m->o->gray ? "1: grey, as asked for"
         : want[0]  ? xprintf("%d: %s, as the network reads them", want[0], want[0] == 1 ? "grey" : "red, green, blue")
         : common.grey ? "1: all are grey"
                       : "3: red, green, blue");
    m->images = true;
    m->channels = r->channels;
    m->height = r->height;
    m->width = r->width;
    return true;
}

/* ---- the source ---- */

static bool folder_list(Import *m)
{
    Folder *f = xalloc(sizeof *f);
    char path[MOST_PATH + 2] = "", why[200];
    struct stat st;
    m->state = f;
    f->fd = -1;
    DIR *d = open_folder(AT_FDCWD, m->src);
    if (!d)
        return cannot_read(m, "");
    f->fd = fcntl(dirfd(d), F_DUPFD_CLOEXEC, 3);
    if (f->fd < 0 || fstat(dirfd(d), &st) != 0) {
        closedir(d);
        return cannot_read(m, "");
    }
    f->above[0] = (struct Seen){st.st_dev, st.st_ino};
    f->has_label_file = m->o->labels && stat(m->o->labels, &f->label_file) == 0;
    f->has_out_file = stat(m->o->out, &f->out_file) == 0;
    bool ok = true;
    if (m->o->label_regex) {
        const int e = regcomp(&f->regex, m->o->label_regex, REG_EXTENDED);
        f->has_regex = ok = e == 0;
        if (e) {
            regerror(e, &f->regex, why, sizeof why);
            cvy_error("an extended regular expression of POSIX; what stands in its first parentheses is the class, or "
                      "all of it",
                      "--label-regex '%s': %s", m->o->label_regex, why);
        }
    }
    if (ok && m->o->labels) {
        f->labels = labels_read(m);
        ok = f->labels != NULL;
    }
    f->sorter = ok ? sorter_begin(m->folder) : NULL;
    ok = f->sorter && find_splits(m, f, d) && walk(m, f, d, path, 0) && add_files(m, f);
    if (f->sorter)
        sorter_end(f->sorter);
    if (f->labels)
        labels_end(m, f->labels);
    closedir(d);
    if (ok && !m->n) {
        cvy_error(f->any_folder || m->o->labels || m->o->label_regex
                      ? NULL
                      : "a folder for each class; or --labels FILE.csv (file, class); or --label-regex REGEX: of names",
                  f->any_folder || m->o->labels || m->o->label_regex
                      ? "'%s' holds no file with a class"
                      : "'%s' holds no folder: which class is each image of?",
                  m->src);
        return false;
    }
    if (ok && f->links)
        fact(m, "links", NULL, "%d followed", f->links);
    if (ok && m->hidden)
        fact(m, "hidden", NULL, "%lld hidden files and folders were passed over (.name, __MACOSX, Thumbs.db)",
             (long long)m->hidden);
    return ok && find_recipe(m);
}

static int folder_row(Import *m, int i, void *to)
{
    const Folder *f = m->state;
    bool bad = false;
    unsigned met;
    char why[IMAGE_WHY];
    FILE *from = open_image(m, i, &bad);
    if (!from)
        return bad ? -1 : 0;
    const bool ok = image_import(&m->recipe, from, to, &met, why);
    const bool broken = ferror(from);
    fclose(from);
    if (!ok) {
        note(m, NOTE_UNREADABLE, f->name.text, "%s", broken ? "the disk cannot read it" : why);
        return 0;
    }
    for (int k = 0; k < MET_KINDS; k++)
        m->met[k] += met >> k & 1;
    if (met & MET_DAMAGED)
        note(m, NOTE_ODD, f->name.text, "damaged: the part that can be read is kept");
    return 1;
}

static void folder_end(Import *m)
{
    Folder *f = m->state;
    if (f->fd >= 0)
        close(f->fd);
    if (f->has_regex)
        regfree(&f->regex);
}

const DataSource folder_source = {.takes = SRC_IMAGES,
                                  .what = "a folder of images",
                                  .is = folder_is,
                                  .list = folder_list,
                                  .row = folder_row,
                                  .end = folder_end};
