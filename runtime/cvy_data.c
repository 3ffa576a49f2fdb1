/* cvy_data.c - images and labels from IDX files (the format of MNIST), gzipped or not.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static const char *kind_of(int ndim)
{
    return ndim == 1 ? "labels" : ndim >= 3 ? "images" : "a table";
}

/* What IDX calls its types; NULL: nothing. */
static const char *type_name(unsigned type)
{
    static const char *const names[] = {"signed bytes", NULL, "16-bit integers", "32-bit integers", "32-bit floats", "64-bit floats"};
    return type >= 9 && type - 9 < sizeof names / sizeof *names ? names[type - 9] : NULL;
}

static int bad(const char *path, const char *hint, const char *why)
{
    cvy_error(hint, "'%s': %s", path, why);
    return 0;
}

/* What zlib has to say about a read that gave less than was asked for. */
static int short_read(gzFile f, const char *path, int64_t wanted, int64_t got)
{
    int code = Z_OK;
    const char *text = gzerror(f, &code);
    size_t len = strlen(path);
    if (code == Z_ERRNO)
        text = strerror(errno);
    else if (strncmp(text, path, len) == 0 && strncmp(text + len, ": ", 2) == 0)
        text += len + 2; /* zlib names the file itself */
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        cvy_error(NULL, "cannot read '%s': %s", path, text);
    else
        cvy_error("fetch it again", "'%s' is truncated: %lld bytes promised, %lld there", path, (long long)wanted,
                  (long long)got);
    return 0;
}

/* Reads the header and all items of an IDX file (images: 3 or 4 dimensions, labels: 1). free(*data). */
static int read_idx(const char *path, int images, uint32_t dim[4], int *ndim, uint8_t **data)
{
    unsigned char head[20];
    int ok = 0;
    uint8_t *bytes = NULL;
    *data = NULL;
    gzFile f = gzopen(path, "rb");
    if (!f) {
        cvy_error(NULL, "cannot read '%s': %s", path, errno ? strerror(errno) : "out of memory");
        return 0;
    }
    gzbuffer(f, 1 << 17);
    int got = gzread(f, head, 4);
    if (got != 4) {
        short_read(f, path, 4, got < 0 ? 0 : got);
        goto done;
    }
    *ndim = head[3];
    if (head[0] || head[1] || *ndim < 1 || *ndim > 4) {
        bad(path, cvy_four_files, "no IDX file");
        goto done;
    }
    if (head[2] != 8) {
        const char *type = type_name(head[2]);
        char *why = cvy_format("it holds %s (type 0x%02x); %s are unsigned bytes (type 0x08)", type ? type : "numbers of no IDX type",
                               head[2], images ? "images" : "labels");
        bad(path, images ? "write them as bytes from 0 to 255; a pixel is (byte / 255 - mean) / std, with mean and std of train"
                         : "write them as bytes, from 0 to one less than classes",
            why ? why : "wrong type");
        free(why);
        goto done;
    }
    if (images ? *ndim < 3 : *ndim != 1) {
        char *why = cvy_format("it holds %s (%d dimension%s), but %s belong here", kind_of(*ndim), *ndim,
                               *ndim == 1 ? "" : "s", images ? "images" : "labels");
        bad(path, *ndim == 2 ? "images have 3 dimensions (n, height, width) or 4 (n, channels, height, width)" : "are two files swapped?", why ? why : "wrong type");
        free(why);
        goto done;
    }
    got = gzread(f, head + 4, (unsigned)(4 * *ndim));
    if (got != 4 * *ndim) {
        short_read(f, path, 4 + 4 * *ndim, 4 + (got < 0 ? 0 : got));
        goto done;
    }
    int64_t item = 1, total;
    for (int i = 0; i < *ndim; i++) {
        const unsigned char *b = head + 4 + 4 * i;
        dim[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
        if (i > 0)
            item = dim[i] && item <= INT32_MAX / (int64_t)dim[i] ? item * dim[i] : -1;
        if (item < 0)
            break;
    }
    if (item < 0 || dim[0] > INT32_MAX || dim[0] == 0) {
        char *why = item < 0 ? cvy_format("its header claims images of an impossible size")
                             : cvy_format("its header claims %u items; 1 to %d can be read", dim[0], INT32_MAX);
        bad(path, NULL, why ? why : "impossible size");
        free(why);
        goto done;
    }
    total = item * (int64_t)dim[0];
    int64_t have = 0, room = 0;
    while (have < total) { /* grows with what is there: a header that lies costs nothing */
        if (have == room) {
            room = room ? 2 * room : 16 << 20;
            if (room > total)
                room = total;
            uint8_t *grown = (uint64_t)room > SIZE_MAX / 2 ? NULL : realloc(bytes, (size_t)room);
            if (!grown) {
                cvy_error(NULL, "out of memory: '%s' holds %.1f MB", path, (double)total / 1e6);
                goto done;
            }
            bytes = grown;
        }
        int64_t ask = room - have < 1 << 24 ? room - have : 1 << 24;
        got = gzread(f, bytes + have, (unsigned)ask);
        if (got > 0)
            have += got;
        if (got < ask) {
            short_read(f, path, total, have);
            goto done;
        }
    }
    got = gzread(f, head, 1);
    if (got != 0) {
        if (got < 0)
            short_read(f, path, total, have);
        else
            bad(path, "fetch it again", "bytes follow after the last item that its header counts");
        goto done;
    }
    ok = 1;
done:
    if (gzclose(f) != Z_OK && ok)
        ok = bad(path, "fetch it again", "it is truncated or damaged (zlib)");
    if (!ok) {
        free(bytes);
        return 0;
    }
    *data = bytes;
    return 1;
}

static int load_files(struct cvy_data *d, const struct cvy_model *m, const char *folder, enum cvy_split split, int limit)
{
    uint32_t id[4] = {0}, ld[4] = {0};
    int in = 0, ln = 0, ok = 0;
    char *images = cvy_data_file(folder, split, 1), *labels = images ? cvy_data_file(folder, split, 0) : NULL;
    if (!images || !labels)
        goto done;
    if (!read_idx(images, 1, id, &in, &d->image) || !read_idx(labels, 0, ld, &ln, &d->label))
        goto done;
    int c = in == 4 ? (int)id[1] : 1, h = (int)id[in - 2], w = (int)id[in - 1];
    if (in == 3 && m->height == 1 && h == m->channels) { /* of one dimension: (n, channels, length) */
        c = h;
        h = 1;
    }
    if (c != m->channels || h != m->height || w != m->width) {
        cvy_error(NULL, "'%s' holds images of %d x %d x %d; the network '%s' reads %d x %d x %d", images, c, h, w, m->name,
                  m->channels, m->height, m->width);
        goto done;
    }
    if (id[0] != ld[0]) {
        cvy_error(NULL, "'%s' holds %u images, but '%s' %u labels", images, id[0], labels, ld[0]);
        goto done;
    }
    for (uint32_t i = 0; i < ld[0]; i++) {
        if (d->label[i] >= m->classes) {
            cvy_error(NULL, "'%s': label %d of item %u; the network has %d classes (0 to %d)", labels, d->label[i], i, m->classes,
                      m->classes - 1);
            goto done;
        }
    }
    d->n = limit && limit < (int)id[0] ? limit : (int)id[0];
    d->what = cvy_format("%s", folder);
    ok = d->what != NULL;
done:
    free(images);
    free(labels);
    return ok;
}

int cvy_data_load(struct cvy_data *d, const struct cvy_model *m, const char *where, enum cvy_split split, int limit)
{
    const char *folder;
    uint64_t seed;
    int ok = 0;
    memset(d, 0, sizeof *d);
    d->image_bytes = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
    switch (cvy_data_where(m->train.data ? m->train.data : "idx", where, &seed, &folder)) {
    case CVY_NOWHERE:
        break;
    case CVY_DRAWN:
        ok = cvy_shapes_make(d, m, split, limit, seed);
        break;
    case CVY_FOLDER:
        ok = load_files(d, m, folder, split, limit);
        break;
    }
    if (!ok)
        cvy_data_free(d);
    return ok;
}

void cvy_data_free(struct cvy_data *d)
{
    free(d->image);
    free(d->label);
    free(d->what);
    memset(d, 0, sizeof *d);
}

uint32_t cvy_data_crc(const struct cvy_data *d)
{
    uLong crc = crc32(0, d->label, (uInt)d->n);
    for (int i = 0; i < d->n; i++)
        crc = crc32(crc, d->image + (size_t)i * d->image_bytes, (uInt)d->image_bytes);
    return (uint32_t)crc;
}
