/* zip.c - zip archives as np.savez writes them, stored or deflated, of any size: what the central directory says is
 * checked against what is there. */
#include "array.h"
#include "runtime.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END = 22, /* bytes of the end record */
    END_MOST = 65535 + END,
    ENTRY = 46,
    LOCAL = 30,
    MOST_MEMBERS = 10000,
    MOST_DIRECTORY = 16 << 20,
    PART = 1 << 16,
};

static int bad(const char *path, const char *why)
{
    cvy_error("fetch it again; np.savez writes such files", "'%s': %s", path, why);
    return -1;
}

static uint64_t number(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* Finds the central directory: where it is, its bytes, how many members. */
static bool find_directory(int fd, uint64_t bytes, const char *path, uint64_t *at, uint64_t *size, uint64_t *members)
{
    const Spool from = {fd, path};
    const size_t n = bytes < END_MOST ? (size_t)bytes : END_MOST;
    unsigned char *tail = xmalloc(n + 1);
    bool found = false;
    uint64_t wide_at = UINT64_MAX;
    if (!spool_get(&from, tail, n, bytes - n)) {
        free(tail);
        return false;
    }
    for (size_t i = n < END ? 0 : n - END + 1; i-- > 0 && !found;) {
        if (memcmp(tail + i, "PK\5\6", 4) != 0 || i + END + number(tail + i + 20, 2) > n)
            continue;
        found = true;
        *members = number(tail + i + 10, 2);
        *size = number(tail + i + 12, 4);
        *at = number(tail + i + 16, 4);
        if (i >= 20 && memcmp(tail + i - 20, "PK\6\7", 4) == 0)
            wide_at = number(tail + i - 20 + 8, 8);
    }
    free(tail);
    if (!found)
        return bad(path, "it is truncated: a zip archive without its end") > 0;
    if (wide_at != UINT64_MAX) {
        unsigned char wide[56];
        if (wide_at > bytes - sizeof wide || !spool_get(&from, wide, sizeof wide, wide_at) ||
            memcmp(wide, "PK\6\6", 4) != 0)
            return bad(path, "its directory is damaged") > 0;
        *members = number(wide + 32, 8);
        *size = number(wide + 40, 8);
        *at = number(wide + 48, 8);
    }
    if (*members > MOST_MEMBERS || *size > MOST_DIRECTORY || *at > bytes || *size > bytes - *at)
        return bad(path, "its directory is damaged, or too large") > 0;
    return true;
}

/* The sizes of zip64 in an entry's extra field, for those that are all ones. */
static bool wide_sizes(const unsigned char *extra, size_t n, Member *m)
{
    while (n >= 4) {
        const size_t len = (size_t)number(extra + 2, 2);
        if (len > n - 4)
            return false;
        if (number(extra, 2) == 1) {
            uint64_t *const field[] = {&m->bytes, &m->packed, &m->at};
            size_t used = 4;
            for (int i = 0; i < 3; i++) {
                if (*field[i] != UINT32_MAX)
                    continue;
                if (used + 8 > len + 4)
                    return false;
                *field[i] = number(extra + used, 8);
                used += 8;
            }
        }
        extra += 4 + len;
        n -= 4 + len;
    }
    return true;
}

int zip_list(int fd, uint64_t bytes, const char *path, Member **list)
{
    uint64_t at = 0, size = 0, members = 0;
    const Spool from = {fd, path};
    int n = 0;
    *list = NULL;
    if (!find_directory(fd, bytes, path, &at, &size, &members))
        return -1;
    unsigned char *directory = xalloc((size_t)size + 1), *p = directory;
    if (!spool_get(&from, directory, (size_t)size, at))
        return -1;
    for (uint64_t i = 0; i < members; i++) {
        size_t left = (size_t)size - (size_t)(p - directory);
        if (left < ENTRY || memcmp(p, "PK\1\2", 4) != 0)
            return bad(path, "its directory is damaged");
        const size_t name = (size_t)number(p + 28, 2), extra = (size_t)number(p + 30, 2),
                     comment = (size_t)number(p + 32, 2);
        if (name + extra + comment > left - ENTRY)
            return bad(path, "its directory is damaged");
        Member m = {.name = xstrndup((char *)p + ENTRY, name),
                    .method = (unsigned)number(p + 10, 2),
                    .crc = (uint32_t)number(p + 16, 4),
                    .packed = number(p + 20, 4),
                    .bytes = number(p + 24, 4),
                    .at = number(p + 42, 4)};
        if (!wide_sizes(p + ENTRY + name, extra, &m))
            return bad(path, "its directory is damaged");
        if (number(p + 8, 2) & 1)
            return bad(path, xprintf("'%s' in it is encrypted", m.name));
        *PUSH(*list, n) = m;
        p += ENTRY + name + extra + comment;
    }
    return n;
}

/* The packed bytes at `at`, checked, and unpacked into `to` where they are deflated. */
static bool unpack(int fd, const char *path, const Member *m, uint64_t at, const Spool *to)
{
    const Spool from = {fd, path};
    unsigned char *in = xmalloc(PART), *out = xmalloc(PART);
    z_stream z = {0};
    uint64_t left = m->packed, have = 0;
    uLong crc = crc32(0, NULL, 0);
    int code = Z_OK;
    bool ok = true;
    if (m->method && inflateInit2(&z, -15) != Z_OK)
        out_of_memory(0);
    while (ok && (m->method ? code != Z_STREAM_END : left > 0)) {
        if (z.avail_in == 0 && left > 0) {
            z.avail_in = left < PART ? (uInt)left : PART;
            z.next_in = in;
            ok = goes_on() && spool_get(&from, in, z.avail_in, at);
            at += z.avail_in;
            left -= z.avail_in;
        }
        if (!m->method) {
            crc = crc32(crc, in, z.avail_in);
            have += z.avail_in;
            z.avail_in = 0;
            continue;
        }
        z.next_out = out;
        z.avail_out = PART;
        code = ok ? inflate(&z, Z_NO_FLUSH) : Z_OK;
        const size_t n = PART - z.avail_out;
        if (code == Z_MEM_ERROR)
            out_of_memory(0);
        if (ok && ((code != Z_OK && code != Z_STREAM_END) || (code == Z_OK && n == 0 && left == 0 && z.avail_in == 0) ||
                   n > m->bytes - have)) {
            bad(path, xprintf("'%s' in it is damaged", m->name));
            ok = false;
        }
        crc = crc32(crc, out, (uInt)n);
        ok = ok && spool_put(to, out, n, have);
        have += n;
    }
    if (m->method)
        inflateEnd(&z);
    free(in);
    free(out);
    if (ok && (have != m->bytes || crc != m->crc)) {
        bad(path, xprintf("'%s' in it is damaged: its checksum is another", m->name));
        ok = false;
    }
    return ok;
}

int zip_open(Import *m, int fd, uint64_t bytes, const char *path, const Member *member, uint64_t *at)
{
    unsigned char local[LOCAL];
    const Spool from = {fd, path};
    Spool to;
    if (member->method != 0 && member->method != 8)
        return bad(path, xprintf("'%s' in it is packed by method %u; stored and deflated ones are read", member->name,
                                 member->method));
    if (member->at > bytes || bytes - member->at < LOCAL)
        return bad(path, "its directory points outside of it");
    if (!spool_get(&from, local, LOCAL, member->at))
        return -1;
    const uint64_t begin = member->at + LOCAL + number(local + 26, 2) + number(local + 28, 2);
    if (memcmp(local, "PK\3\4", 4) != 0 || begin > bytes || member->packed > bytes - begin ||
        (!member->method && member->packed != member->bytes))
        return bad(path, "its directory is damaged");
    if (member->method && (arrays_spool(m, &to) < 0 || !unpack(fd, path, member, begin, &to)))
        return -1;
    if (!member->method && !unpack(fd, path, member, begin, NULL))
        return -1;
    *at = member->method ? 0 : begin;
    return member->method ? to.fd : fd;
}
