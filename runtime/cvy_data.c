/* cvy_data.c - images and labels: from where they are; IDX files (the format of MNIST), gzipped or not.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_rng.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static const char *kind_of(int ndim)
{
    return ndim == 1 ? "labels" : ndim >= 3 ? "images" : "a table";
}

/* What IDX calls its types; NULL: nothing. */
static const char *type_name(unsigned type)
{
    static const char *const names[] = {"signed bytes",  NULL,           "16-bit integers", "32-bit integers",
                                        "32-bit floats", "64-bit floats"};
    return type >= 9 && type - 9 < sizeof names / sizeof *names ? names[type - 9] : NULL;
}

static int bad_idx(const char *path, const char *hint, const char *why)
{
    cvy_error(hint, "'%s': %s", path, why);
    return 0;
}

/* ---- bytes, gzipped or not ---- */

struct source {
    const char *path;
    int fd, packed, ended; /* ended: of what is packed */
    z_stream z;
    unsigned char in[1 << 16];
};

/* More of the file into s->in, after what is still to be used; how much is there, or -1 after a message. */
static int64_t refill(struct source *s)
{
    memmove(s->in, s->z.next_in, s->z.avail_in);
    int64_t got = cvy_fd_read(s->fd, s->in + s->z.avail_in, sizeof s->in - s->z.avail_in);
    s->z.next_in = s->in;
    if (got < 0) {
        cvy_error(NULL, "cannot read '%s': %s", s->path, strerror(errno));
        return -1;
    }
    s->z.avail_in += (uInt)got;
    return (int64_t)s->z.avail_in;
}

static int source_open(struct source *s, const char *path)
{
    memset(s, 0, sizeof *s);
    s->path = path;
    s->fd = cvy_open_typed(path);
    s->z.next_in = s->in;
    if (s->fd < 0) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        return 0;
    }
    int64_t n = refill(s);
    s->packed = n >= 2 && s->in[0] == 0x1f && s->in[1] == 0x8b;
    if (s->packed && inflateInit2(&s->z, 15 + 16) != Z_OK) {
        s->packed = 0;
        cvy_error(NULL, "out of memory: cannot unpack '%s'", path);
        return 0;
    }
    return n >= 0;
}

static void source_close(struct source *s)
{
    if (s->packed)
        inflateEnd(&s->z);
    if (s->fd >= 0 && s->path)
        close(s->fd);
    memset(s, 0, sizeof *s);
    s->fd = -1;
}

static int64_t read_packed(struct source *s, uint8_t *to, size_t n)
{
    size_t have = 0;
    while (have < n && !s->ended) {
        int64_t ready = s->z.avail_in ? 1 : refill(s);
        if (ready < 0)
            return -1;
        if (ready == 0)
            break;
        uInt ask = n - have < 1 << 30 ? (uInt)(n - have) : 1u << 30;
        s->z.next_out = to + have;
        s->z.avail_out = ask;
        int code = inflate(&s->z, Z_NO_FLUSH);
        have += ask - s->z.avail_out;
        if (code == Z_STREAM_END) { /* another may follow, as from cat a.gz b.gz */
            if (s->z.avail_in < 2 && refill(s) < 0)
                return -1;
            s->ended = s->z.avail_in < 2 || s->z.next_in[0] != 0x1f || s->z.next_in[1] != 0x8b;
            inflateReset(&s->z);
        } else if (code != Z_OK && code != Z_BUF_ERROR) {
            cvy_error(NULL, "cannot read '%s': %s", s->path,
                      code == Z_MEM_ERROR ? "out of memory"
                      : s->z.msg          ? s->z.msg
                                          : "it is damaged");
            return -1;
        }
    }
    return (int64_t)have;
}

/* n bytes, or fewer where there are no more; -1 after a message. */
static int64_t source_read(struct source *s, void *to, size_t n)
{
    if (s->packed)
        return read_packed(s, to, n);
    size_t ready = s->z.avail_in < n ? s->z.avail_in : n;
    memcpy(to, s->z.next_in, ready);
    s->z.next_in += ready;
    s->z.avail_in -= (uInt)ready;
    int64_t got = cvy_fd_read(s->fd, (char *)to + ready, n - ready);
    if (got < 0)
        cvy_error(NULL, "cannot read '%s': %s", s->path, strerror(errno));
    return got < 0 ? -1 : (int64_t)ready + got;
}

/* ---- IDX files ---- */

struct idx {
    struct source from;
    uint32_t dim[4];
    int ndim;
};

/* Exactly n bytes. `at`: how many came before. */
static int read_exactly(struct idx *f, void *to, size_t n, int64_t at)
{
    int64_t got = source_read(&f->from, to, n);
    if (got >= 0 && (size_t)got < n)
        cvy_error("fetch it again", "'%s' is truncated: %lld bytes promised, %lld there", f->from.path,
                  (long long)at + (long long)n, (long long)(at + got));
    return got == (int64_t)n;
}

/* Opens it and reads what it says of itself (images: 3 or 4 dimensions, labels: 1). Its items are not read yet. */
static int idx_open(struct idx *f, const char *path, int images)
{
    unsigned char head[20];
    if (!source_open(&f->from, path) || !read_exactly(f, head, 4, 0))
        return 0;
    f->ndim = head[3];
    if (head[0] || head[1] || f->ndim < 1 || f->ndim > 4)
        return bad_idx(path, cvy_four_files, "no IDX file");
    if (head[2] != 8) {
        const char *type = type_name(head[2]);
        char *why = cvy_format("it holds %s (type 0x%02x); %s are unsigned bytes (type 0x08)",
                               type ? type : "numbers of no IDX type", head[2], images ? "images" : "labels");
        bad_idx(
            path,
            images
                ? "write them as bytes from 0 to 255; a pixel is (byte / 255 - mean) / std, with mean and std of train"
                : "write them as bytes, from 0 to one less than classes",
            why ? why : "wrong type");
        free(why);
        return 0;
    }
    if (images ? f->ndim < 3 : f->ndim != 1) {
        char *why = cvy_format("it holds %s (%d dimension%s), but %s belong here", kind_of(f->ndim), f->ndim,
                               f->ndim == 1 ? "" : "s", images ? "images" : "labels");
        bad_idx(path,
                f->ndim == 2 ? "images have 3 dimensions (n, height, width) or 4 (n, channels, height, width)"
                             : "are two files swapped?",
                why ? why : "wrong type");
        free(why);
        return 0;
    }
    if (!read_exactly(f, head + 4, (size_t)(4 * f->ndim), 4))
        return 0;
    int64_t item = 1;
    for (int i = 0; i < f->ndim; i++) {
        const unsigned char *b = head + 4 + 4 * i;
        f->dim[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
        if (i > 0)
            item = f->dim[i] && item <= INT32_MAX / (int64_t)f->dim[i] ? item * f->dim[i] : -1;
        if (item < 0)
            return bad_idx(path, NULL, "its header claims images of an impossible size");
    }
    if (f->dim[0] > INT32_MAX || f->dim[0] == 0) {
        cvy_error(NULL, "'%s': its header claims %u items; 1 to %d can be read", path, f->dim[0], INT32_MAX);
        return 0;
    }
    return 1;
}

/* All items, to the file's end. free(*data). Memory grows with what is there: a header that lies costs nothing. */
static int idx_items(struct idx *f, uint8_t **data)
{
    int64_t total = 1, have = 0, room = 0;
    uint8_t *bytes = NULL, more;
    for (int i = 0; i < f->ndim; i++)
        total *= f->dim[i];
    int ok = 1;
    while (ok && have < total) {
        room = room ? 2 * room : 16 << 20;
        room = room < total ? room : total;
        uint8_t *grown = (uint64_t)room > SIZE_MAX / 2 ? NULL : realloc(bytes, (size_t)room);
        if (!grown) {
            cvy_error(NULL, "out of memory: '%s' holds %.1f MB", f->from.path, (double)total / 1e6);
            ok = 0;
            break;
        }
        bytes = grown;
        int64_t got = source_read(&f->from, bytes + have, (size_t)(room - have));
        ok = got >= 0;
        have += ok ? got : 0;
        if (ok && have < room) {
            cvy_error("fetch it again", "'%s' is truncated: %lld bytes promised, %lld there", f->from.path,
                      (long long)total, (long long)have);
            ok = 0;
        }
    }
    if (ok) {
        int64_t got = source_read(&f->from, &more, 1);
        ok = got == 0 && (!f->from.packed || f->from.ended);
        if (got > 0)
            bad_idx(f->from.path, "fetch it again", "bytes follow after the last item that its header counts");
        else if (got == 0 && !ok)
            bad_idx(f->from.path, "fetch it again", "it is truncated: what is packed has no end");
    }
    if (!ok) {
        free(bytes);
        return 0;
    }
    *data = bytes;
    return 1;
}

/* That the headers of both fit the model and each other, before anything large is read. */
static int headers_fit(const struct cvy_model *m, const struct idx *images, const struct idx *labels)
{
    const uint32_t *id = images->dim;
    int in = images->ndim, c = in == 4 ? (int)id[1] : 1, h = (int)id[in - 2], w = (int)id[in - 1];
    if (!cvy_reads(m, c, h, w)) {
        cvy_error(NULL, "'%s' holds images of %d x %d x %d; the network '%s' reads %d x %d x %d", images->from.path, c,
                  h, w, m->name, m->channels, m->height, m->width);
        return 0;
    }
    if (id[0] != labels->dim[0]) {
        cvy_error(NULL, "'%s' holds %u images, but '%s' %u labels", images->from.path, id[0], labels->from.path,
                  labels->dim[0]);
        return 0;
    }
    return 1;
}

/* Labels from the file's bytes. */
static int read_labels(struct cvy_data *d, const struct cvy_model *m, struct idx *f)
{
    uint8_t *byte = NULL;
    if (!cvy_learns_classes(m))
        return 1;
    int ok = idx_items(f, &byte) && (d->label = cvy_alloc(f->dim[0], sizeof *d->label)) != NULL;
    for (uint32_t i = 0; ok && i < f->dim[0]; i++) {
        d->label[i] = byte[i];
        if (byte[i] >= m->classes) {
            cvy_error(byte[i] == m->classes ? cvy_from_zero : NULL,
                      "'%s': label %d of item %u; the network has %d classes (0 to %d)", f->from.path, byte[i], i,
                      m->classes, m->classes - 1);
            ok = 0;
        }
    }
    free(byte);
    return ok;
}

/* d: NULL where only *n, how many there are, is asked for. */
static int load_files(struct cvy_data *d, const struct cvy_model *m, const char *folder, enum cvy_split split,
                      int limit, int *n)
{
    struct idx *f = cvy_alloc(2, sizeof *f); /* images, labels */
    char *images = f ? cvy_data_file(folder, split, 1) : NULL,
         *labels = images ? cvy_data_file(folder, split, 0) : NULL;
    int ok =
        images && labels && idx_open(&f[0], images, 1) && idx_open(&f[1], labels, 0) && headers_fit(m, &f[0], &f[1]);
    if (ok)
        *n = limit && limit < (int)f[0].dim[0] ? limit : (int)f[0].dim[0];
    if (ok && d) {
        uint8_t *image = NULL;
        ok = read_labels(d, m, &f[1]) && idx_items(&f[0], &image) && (d->what = cvy_format("%s", folder)) != NULL;
        d->own = image;
        d->image = image;
        d->n = *n;
    }
    for (int i = 0; f && i < 2; i++)
        source_close(&f[i].from);
    free(f);
    free(images);
    free(labels);
    return ok;
}

/* ---- the sources: a row each ---- */

/* Where a source has its data. */
struct place {
    const char *folder; /* or the set's file */
    uint64_t seed;      /* of drawn figures */
};

/* Images of classes have no numbers to learn. */
static int has_targets(const struct cvy_model *m, const char *what)
{
    if (m->train.loss->target != CVY_VALUES)
        return 1;
    cvy_error("'convoy data' makes a set of a table with a column of numbers, or of arrays",
              "the network '%s' learns %d number%s of each row, and %s of classes", m->name, m->classes,
              m->classes == 1 ? "" : "s", what);
    return 0;
}

static int look_at_figures(struct cvy_data *d, const struct cvy_model *m, const struct place *at, enum cvy_split split,
                           int limit, int *n)
{
    if (!has_targets(m, "drawn figures are"))
        return 0;
    *n = cvy_shapes_count(m, split, limit);
    return *n >= 0 && (!d || cvy_shapes_make(d, m, split, limit, at->seed));
}

static int look_at_files(struct cvy_data *d, const struct cvy_model *m, const struct place *at, enum cvy_split split,
                         int limit, int *n)
{
    return has_targets(m, "IDX files hold images") && load_files(d, m, at->folder, split, limit, n);
}

static int look_at_set(struct cvy_data *d, const struct cvy_model *m, const struct place *at, enum cvy_split split,
                       int limit, int *n)
{
    return cvy_set_load(d, m, at->folder, split, limit, n);
}

struct source_row {
    /* Loads a split, or, where d is NULL, counts it alone. limit: at most so many, 0: all. Sets *n. */
    int (*look)(struct cvy_data *d, const struct cvy_model *m, const struct place *at, enum cvy_split split, int limit,
                int *n);
    enum {
        HELD_OUT,
        AS_MANY,
        ITS_OWN
    } validation; /* of its images; made besides, as many as asked for; rows of its
                     own, held out where it has none */
};
static const struct source_row sources[] = {
    [CVY_NOWHERE] = {NULL, HELD_OUT},
    [CVY_DRAWN] = {look_at_figures, AS_MANY},
    [CVY_FOLDER] = {look_at_files, HELD_OUT},
    [CVY_SET] = {look_at_set, ITS_OWN},
};

/* The row of what a model's data, or those that are `said`, come from; look is NULL after a message. */
static const struct source_row *source_of(const struct cvy_model *m, const char *said, struct place *at)
{
    return &sources[cvy_data_where(m->train.data ? m->train.data : "idx", said, &at->seed, &at->folder)];
}

/* That rows of tokens hold nothing else. */
static int are_tokens(const struct cvy_data *d, const struct cvy_model *m)
{
    char hint[80];

    for (int i = 0; m->tokens && i < d->n; i++)
        for (size_t k = 0; k < d->numbers; k++) {
            const size_t at = (size_t)i * d->numbers + k;
            const double v = d->number ? (double)d->number[at] : d->image[at];
            if (cvy_is_token(m->tokens, v) || cvy_data_pads(d, m, i, k))
                continue;
            char *name = cvy_data_name(d, i);
            snprintf(hint, sizeof hint, "a token is a whole number from 0 to %d", m->tokens - 1);
            if (name)
                cvy_error(hint, "'%s': row %d (%s), place %zu: %.9g is no token of the network '%s', which has %d",
                          d->what, i, name, k, v, m->name, m->tokens);
            free(name);
            return 0;
        }
    return 1;
}

/* Only sets have lengths. */
static int has_lengths(const struct cvy_data *d, const struct cvy_model *m)
{
    if (!m->lengths || d->length || d->n == 0)
        return 1;
    cvy_error("a set has them as train.length", "the network '%s' takes a length a sample, and '%s' has none", m->name,
              d->what);
    return 0;
}

/* Loads a split of a source, or counts it. */
static int look_in(const struct source_row *row, struct cvy_data *d, const struct cvy_model *m, const struct place *at,
                   enum cvy_split split, int limit, int *n)
{
    return row->look(d, m, at, split, limit, n) && (!d || (are_tokens(d, m) && has_lengths(d, m)));
}

static int look_up(struct cvy_data *d, const struct cvy_model *m, const char *where, enum cvy_split split, int limit,
                   int *n)
{
    struct place at;
    const struct source_row *row = source_of(m, where, &at);

    return row->look && look_in(row, d, m, &at, split, limit, n);
}

int cvy_data_load(struct cvy_data *d, const struct cvy_model *m, const char *where, enum cvy_split split, int limit)
{
    int n;
    memset(d, 0, sizeof *d);
    d->numbers = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
    const int ok = look_up(d, m, where, split, limit, &n);
    if (!ok)
        cvy_data_free(d);
    return ok;
}

int cvy_data_count(const struct cvy_model *m, const char *where, enum cvy_split split, int limit)
{
    int n;
    return look_up(NULL, m, where, split, limit, &n) ? n : -1;
}

void cvy_data_free(struct cvy_data *d)
{
    if (d->map)
        munmap(d->map, d->map_bytes);
    free(d->own);
    if (!d->borrowed) {
        free(d->label);
        free(d->value);
        free(d->length);
    }
    free(d->row);
    free(d->what);
    for (int i = 0; i < CVY_ORIGINS; i++)
        free(d->origin[i]);
    memset(d, 0, sizeof *d);
}

/* Labels count as bytes where all are. */
uint32_t cvy_data_crc(const struct cvy_data *d, uint32_t before)
{
    const size_t bytes = d->numbers * (d->number ? sizeof *d->number : 1);
    const uint8_t *rows = d->number ? (const void *)d->number : d->image;
    uLong crc = before;
    int wide = 0;
    for (int i = 0; i < d->n && d->value; i++)
        crc = crc32(crc, (const void *)(d->value + (size_t)cvy_data_row(d, i) * (size_t)d->values),
                    (uInt)((size_t)d->values * sizeof *d->value));
    for (int i = 0; i < d->n && d->label; i++)
        wide = wide || d->label[cvy_data_row(d, i)] > 255;
    for (int i = 0; i < d->n && d->label; i++) {
        const uint32_t label = (uint32_t)d->label[cvy_data_row(d, i)];
        const uint8_t byte[4] = {(uint8_t)label, (uint8_t)(label >> 8), (uint8_t)(label >> 16), (uint8_t)(label >> 24)};
        crc = crc32(crc, byte, wide ? 4 : 1);
    }
    for (int i = 0; i < d->n && d->length; i++)
        crc = crc32(crc, (const void *)&d->length[cvy_data_row(d, i)], sizeof *d->length);
    for (int i = 0; i < d->n; i++)
        crc = crc32(crc, rows + (size_t)cvy_data_row(d, i) * bytes, (uInt)bytes);
    return (uint32_t)crc;
}

/* ---- what to validate with ---- */

static uint64_t shuffled(int item) /* by a seed of its own: trainings of any --seed hold the same images out */
{
    uint32_t w[4];
    cvy_draw4(1, cvy_name_hash("convoy validation"), (uint64_t)item, w);
    return (uint64_t)w[0] << 32 | w[1];
}

/* A class, and how much of an image it lacks where its share was rounded down. */
struct lack {
    double rest;
    int class;
};

static int more_lacking(const void *a, const void *b)
{
    const struct lack *x = a, *y = b;
    return x->rest != y->rest ? (x->rest < y->rest ? 1 : -1) : x->class - y->class;
}

struct drawn {
    uint64_t key;
    int item;
};

static int by_key(const void *a, const void *b)
{
    const struct drawn *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : x->item - y->item;
}

/* How many of each class: in proportion, `want` in all; what rounding down leaves goes to those that lack most. */
static int quotas(const struct cvy_data *d, int classes, int want, int *quota)
{
    struct lack *lack = cvy_alloc((size_t)classes, sizeof *lack);
    int left = want;
    if (!lack)
        return 0;
    for (int i = 0; i < d->n; i++)
        quota[d->label ? d->label[i] : 0]++;
    for (int c = 0; c < classes; c++) {
        const double exact = (double)quota[c] * want / d->n;
        lack[c] = (struct lack){exact - floor(exact), c};
        left -= quota[c] = (int)floor(exact);
    }
    qsort(lack, (size_t)classes, sizeof *lack, more_lacking);
    for (int c = 0; c < left && c < classes; c++)
        quota[lack[c].class] += lack[c].rest > 0;
    free(lack);
    return 1;
}

/* Moves `want` of the training images to *d. */
static int hold_out(struct cvy_data *d, struct cvy_data *train, int classes, int want)
{
    int *quota = cvy_alloc((size_t)classes, sizeof *quota);
    struct drawn *order = cvy_alloc((size_t)train->n, sizeof *order);
    int *kept = cvy_alloc((size_t)train->n, sizeof *kept), *held = cvy_alloc((size_t)want, sizeof *held);
    char *out = cvy_alloc((size_t)train->n, 1);
    const int ok = quota && order && kept && held && out && quotas(train, classes, want, quota);
    for (int i = 0; ok && i < train->n; i++)
        order[i] = (struct drawn){shuffled(i), i};
    if (ok)
        qsort(order, (size_t)train->n, sizeof *order, by_key);
    for (int i = 0; ok && i < train->n; i++)
        if (quota[train->label ? train->label[order[i].item] : 0] > 0) {
            quota[train->label ? train->label[order[i].item] : 0]--;
            out[order[i].item] = 1;
        }
    int nkept = 0, nheld = 0;
    for (int i = 0; ok && i < train->n; i++)
        if (out[i])
            held[nheld++] = i;
        else
            kept[nkept++] = i;
    free(quota);
    free(order);
    free(out);
    if (!ok) {
        free(kept);
        free(held);
        return 0;
    }
    train->row = kept;
    train->n = nkept;
    d->row = held;
    d->n = nheld;
    d->image = train->image;
    d->number = train->number;
    d->label = train->label;
    d->value = train->value;
    d->values = train->values;
    d->length = train->length;
    d->borrowed = 1;
    return 1;
}

int cvy_data_validation(struct cvy_data *d, struct cvy_data *train, const struct cvy_model *m, const char *where,
                        double share, int *held)
{
    struct place at;
    int n;
    memset(d, 0, sizeof *d);
    d->numbers = train->numbers;
    *held = 0;
    if (share == 0)
        return 1;
    const double exact = share < 1 ? floor(share * train->n + 0.5) : share;
    const struct source_row *row = source_of(m, where, &at);
    if (!row->look)
        return 0;
    if (row->validation == AS_MANY)
        return exact < 1 || look_in(row, d, m, &at, CVY_VALID_SPLIT, (int)exact, &n);
    if (row->validation == ITS_OWN) {
        const int ok = look_in(row, d, m, &at, CVY_VALID_SPLIT, 0, &n);
        if (!ok || n > 0)
            return ok;
    }
    if (exact >= train->n) {
        cvy_error("a share below 1 is one of the training images", "--valid %.10g: there are %d training images", share,
                  train->n);
        return 0;
    }
    *held = exact >= 1;
    return exact < 1 || hold_out(d, train, train->label ? m->classes : 1, (int)exact);
}
