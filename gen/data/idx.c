/* idx.c - IDX files (the format of MNIST), gzipped or not, and the binary files of CIFAR-10 and CIFAR-100. */
#define _FILE_OFFSET_BITS 64
#include "array.h"
#include "files.h"
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PART = 1 << 16 };

static bool there(const char *folder, const char *name)
{
    struct stat st;
    return stat(xprintf("%s/%s", folder, name), &st) == 0 && S_ISREG(st.st_mode);
}

/* ---- IDX ---- */

/* What IDX calls its types. */
static bool idx_type(unsigned type, Array *a)
{
    static const struct {
        unsigned type;
        char kind;
        int size;
    } types[] = {{8, 'u', 1}, {9, 'i', 1}, {11, 'i', 2}, {12, 'i', 4}, {13, 'f', 4}, {14, 'f', 8}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type) {
            a->kind = types[i].kind;
            a->size = types[i].size;
            return true;
        }
    return false;
}

static bool bad(const char *path, const char *why)
{
    cvy_error("fetch it again", "'%s': %s", path, why);
    return false;
}

/* The header at the beginning of `head`, of which `have` bytes are there: its own bytes, 0 after a message. */
static size_t idx_head(const char *path, const unsigned char *head, size_t have, Array *a, int64_t *bytes)
{
    if (have < 4 || head[0] || head[1] || head[3] < 1 || head[3] > 4 || !idx_type(head[2], a)) {
        bad(path, "it is no IDX file");
        return 0;
    }
    a->ndim = head[3];
    a->big = true;
    const size_t len = 4 + 4 * (size_t)a->ndim;
    if (have < len) {
        bad(path, "it ends in its header");
        return 0;
    }
    *bytes = a->size;
    for (int i = 0; i < a->ndim; i++) {
        const unsigned char *b = head + 4 + 4 * i;
        a->dim[i] = (int64_t)((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]);
        if (!mul_fits(*bytes, a->dim[i], bytes) || *bytes > INT64_MAX / 16) {
            bad(path, "its header claims an impossible shape");
            return 0;
        }
    }
    a->stride = (uint64_t)array_numbers(a) * (uint64_t)a->size;
    return len;
}

static bool promised(const char *path, int64_t bytes, uint64_t have)
{
    if ((uint64_t)bytes == have)
        return true;
    cvy_error("fetch it again", "'%s' is %s: its header promises %lld bytes, and %llu are there", path,
              have < (uint64_t)bytes ? "truncated" : "longer than it says", (long long)bytes, (unsigned long long)have);
    return false;
}

/* Unpacks a gzipped file into a spool, as far as its header says, and one byte more. */
static bool idx_unpack(Import *m, const char *path, int fd, Array *a)
{
    Spool to;
    unsigned char *part = xmalloc(PART);
    int64_t bytes = 0;
    uint64_t have = 0;
    const int own = dup(fd);
    gzFile z = own < 0 || lseek(own, 0, SEEK_SET) != 0 ? NULL : gzdopen(own, "rb");
    if (!z)
        out_of_memory(0);
    int n = gzread(z, part, PART), code;
    size_t skip = n < 0 ? 0 : idx_head(path, part, (size_t)n, a, &bytes);
    if (n < 0)
        bad(path, gzerror(z, &code));
    bool ok = skip > 0 && arrays_spool(m, &to) >= 0;
    while (ok && n > 0) {
        ok = goes_on() && spool_put(&to, part + skip, (size_t)n - skip, have);
        have += (size_t)n - skip;
        skip = 0;
        n = ok && have <= (uint64_t)bytes ? gzread(z, part, PART) : 0;
    }
    if (ok && (n < 0 || (gzerror(z, &code) && code != Z_OK && code != Z_STREAM_END)))
        ok = bad(path, "it is truncated or damaged: it cannot be unpacked to its end");
    gzclose(z);
    free(part);
    if (!ok || !promised(path, bytes, have))
        return false;
    a->fd = to.fd;
    a->at = 0;
    return true;
}

static bool idx_open(Import *m, const char *path, Array *a)
{
    uint64_t bytes;
    int64_t want;
    unsigned char head[20] = "";
    const char *slash = strrchr(path, '/');
    const int fd = arrays_open(m, path, &bytes);
    const Spool from = {fd, path};
    const size_t have = bytes < sizeof head ? (size_t)bytes : sizeof head;
    *a = (Array){.name = slash ? slash + 1 : path, .fd = fd};
    if (fd < 0 || !spool_get(&from, head, have, 0))
        return false;
    if (have > 2 && head[0] == 0x1f && head[1] == 0x8b)
        return idx_unpack(m, path, fd, a);
    a->at = idx_head(path, head, have, a, &want);
    return a->at && promised(path, want, bytes - a->at);
}

/* Whether one of the files of MNIST lies there. */
static bool idx_is(const char *src)
{
    static const char *const names[] = {"train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images-idx4-ubyte",
                                        "train-images.idx4-ubyte", NULL};
    struct stat st;
    unsigned char head[4] = "";
    if (stat(src, &st) != 0)
        return false;
    if (S_ISDIR(st.st_mode)) {
        for (int i = 0; names[i]; i++)
            if (there(src, names[i]) || there(src, xprintf("%s.gz", names[i])))
                return true;
        return false;
    }
    const int fd = S_ISREG(st.st_mode) ? cvy_open_typed(src) : -1;
    gzFile z = fd < 0 ? NULL : gzdopen(fd, "rb");
    const bool is = z && gzread(z, head, 4) == 4 && !head[0] && !head[1] && head[2] >= 8 && head[2] <= 14 &&
                    head[3] >= 1 && head[3] <= 4;
    if (z)
        gzclose(z);
    else if (fd >= 0)
        close(fd);
    return is;
}

/* The file of labels beside one of images: "images" becomes "labels", "idx3" and "idx4" become "idx1". NULL: none. */
static const char *labels_beside(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *at = strstr(base, "images");
    if (!at)
        return NULL;
    char *name = xprintf("%.*slabels%s", (int)(at - path), path, at + 6), *idx = strstr(name + (base - path), "idx");
    if (idx && (idx[3] == '3' || idx[3] == '4'))
        idx[3] = '1';
    return name;
}

static bool idx_list(Import *m)
{
    Arrays *s = arrays_begin(m);
    struct stat st;
    if (stat(m->src, &st) == 0 && S_ISDIR(st.st_mode)) {
        for (int split = 0; split < 2; split++) {
            Part p = {.split = split ? SPLIT_TEST : SPLIT_TRAIN};
            const int silent = cvy_silent;
            cvy_silent += split; /* without test files, a part of the training images becomes the test set */
            char *images = cvy_data_file(m->src, split ? CVY_TEST_SPLIT : CVY_TRAIN_SPLIT, 1);
            cvy_silent = silent;
            char *labels = images ? cvy_data_file(m->src, split ? CVY_TEST_SPLIT : CVY_TRAIN_SPLIT, 0) : NULL;
            const bool ok = labels && idx_open(m, xstrdup(images), &p.x) && idx_open(m, xstrdup(labels), &p.y);
            const bool none = !images;
            free(images);
            free(labels);
            if (split && none) {
                s->part[0].split = SPLIT_OPEN;
                break;
            }
            if (!ok)
                return false;
            *PUSH(s->part, s->n) = p;
        }
    } else {
        Part p = {.split = SPLIT_OPEN};
        const char *labels = m->o->y ? m->o->y : labels_beside(m->src);
        if (!labels) {
            cvy_error("--y FILE", "'%s': which file holds its labels?", m->src);
            return false;
        }
        if (!idx_open(m, m->src, &p.x) || !idx_open(m, labels, &p.y))
            return false;
        *PUSH(s->part, s->n) = p;
    }
    return arrays_list(m);
}

const DataSource idx_source = {.takes = SRC_ARRAYS,
                               .what = "IDX files",
                               .is = idx_is,
                               .list = idx_list,
                               .row = arrays_row,
                               .end = arrays_end,
                               .ordered = true};

/* ---- CIFAR ---- */

enum { CIFAR_PIXELS = 3 * 32 * 32 };

static const struct Cifar {
    const char *file[6];  /* the last one tests */
    int labels;           /* bytes in front of the pixels */
    const char *names[2]; /* files of the labels' names, by byte */
} cifar10 = {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin",
              "test_batch.bin"},
             1,
             {"batches.meta.txt", NULL}},
  cifar100 = {{"train.bin", "test.bin"}, 2, {"coarse_label_names.txt", "fine_label_names.txt"}};

static const struct Cifar *cifar_of(const char *src)
{
    return there(src, "data_batch_1.bin")                      ? &cifar10
           : there(src, "train.bin") && there(src, "test.bin") ? &cifar100
                                                               : NULL;
}

/* The pickled version is taken, too, so that it is refused with words. */
static bool is_pickled(const char *src)
{
    return there(src, "data_batch_1") || (there(src, "train") && there(src, "test") && there(src, "meta"));
}

static bool cifar_is(const char *src)
{
    return cifar_of(src) || is_pickled(src);
}

/* One name a line. */
static bool cifar_names(Arrays *s, const char *path)
{
    size_t len;
    const char **list = NULL;
    int n = 0;
    char *text = file_read(path, 1 << 16, &len);
    for (char *line = text; line && *line && n < 1000;) {
        const size_t k = strcspn(line, "\r\n");
        if (k)
            *PUSH(list, n) = xstrndup(line, k);
        line += k + strspn(line + k, "\r\n");
    }
    s->label_names = n ? list : NULL;
    s->nlabel = n;
    return n > 0;
}

static bool cifar_list(Import *m)
{
    Arrays *s = arrays_begin(m);
    const struct Cifar *c = cifar_of(m->src);
    if (!c) {
        cvy_error("take the binary version: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, unpacked",
                  "'%s' holds CIFAR's Python version, a pickle, which can run programs when it is read: refused",
                  m->src);
        return false;
    }
    const int label = c->labels - 1 - (m->o->coarse && c->labels == 2);
    if (m->o->coarse && c->labels == 1) {
        cvy_error(NULL, "--coarse is of CIFAR-100; '%s' is CIFAR-10", m->src);
        return false;
    }
    for (int i = 0; i < 6 && c->file[i]; i++) {
        const char *path = xprintf("%s/%s", m->src, c->file[i]);
        const bool last = i == 5 || !c->file[i + 1];
        const uint64_t each = (uint64_t)c->labels + CIFAR_PIXELS;
        uint64_t bytes;
        const int fd = arrays_open(m, path, &bytes);
        if (fd < 0)
            return false;
        if (bytes == 0 || bytes % each) {
            cvy_error("fetch it again", "'%s' is truncated: %llu bytes, and an image has %llu", path,
                      (unsigned long long)bytes, (unsigned long long)each);
            return false;
        }
        const Array x = {.name = c->file[i],
                         .fd = fd,
                         .at = (uint64_t)c->labels,
                         .stride = each,
                         .kind = 'u',
                         .size = 1,
                         .ndim = 4,
                         .dim = {(int64_t)(bytes / each), 3, 32, 32}};
        Array y = x;
        y.at = (uint64_t)label;
        y.ndim = 1;
        *PUSH(s->part, s->n) = (Part){.x = x, .y = y, .split = last ? SPLIT_TEST : SPLIT_TRAIN};
    }
    if (!cifar_names(s, xprintf("%s/%s", m->src, c->names[label])))
        fact(m, "names", NULL, "'%s' is not there: classes are called by their numbers", c->names[label]);
    if (c->labels == 2)
        fact(m, "labels", m->o->coarse ? NULL : "--coarse", m->o->coarse ? "the coarse ones" : "the fine ones");
    return arrays_list(m);
}

const DataSource cifar_source = {.takes = SRC_CIFAR,
                                 .what = "binary files of CIFAR",
                                 .is = cifar_is,
                                 .list = cifar_list,
                                 .row = arrays_row,
                                 .end = arrays_end,
                                 .ordered = true};
