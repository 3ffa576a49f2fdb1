/* fuzz_data.c - damaged images, arrays, archives, tables and sets through everything of `convoy data` that reads them,
 * with the sanitizers: each is taken or refused with words; nothing is written where it is refused.
 *
 *   fuzz_data [COUNT [READER [SEED]]]        COUNT files for each reader, or for one
 *
 * Readers: png, jpeg (into one row), npy, npz, idx, gz, csv (a whole import), set (the runtime's). */
#define _GNU_SOURCE
#include "damage.h"
#include "cvy_private.h"
#include "data.h"
#include "fake_model.h"
#include "image.h"

#include <jpeglib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

enum { SLICE = 2000, MOST = 1 << 16 };

typedef struct Bytes {
    unsigned char at[MOST];
    size_t n;
} Bytes;

static void put(Bytes *b, const void *from, size_t n)
{
    if (n > MOST - b->n)
        abort();
    memcpy(b->at + b->n, from, n);
    b->n += n;
}

static void put_number(Bytes *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        put(b, &(unsigned char){(unsigned char)(i < 8 ? v >> 8 * i : 0)}, 1);
}

/* ---- good files ---- */

static void make_png(Bytes *b)
{
    Buf out = {0};
    uint8_t pixels[16 * 16 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)draw();
    image_png(&out, pixels, draw() & 1 ? 1 : 3, 16, 16);
    put(b, out.text, out.len);
}

static void make_jpeg(Bytes *b)
{
    static const unsigned char exif[] = "Exif\0\0MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0";
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *out = NULL, row[16 * 4];
    unsigned long n = 0;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &n);
    c.image_width = c.image_height = 16;
    c.input_components = (int[]){1, 3, 4}[below(3)];
    c.in_color_space = c.input_components == 1 ? JCS_GRAYSCALE : c.input_components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&c);
    if (draw() & 1)
        jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    jpeg_write_marker(&c, JPEG_APP0 + 1, exif, sizeof exif - 1);
    for (int y = 0; y < 16; y++) {
        JSAMPROW line = row;
        for (size_t i = 0; i < sizeof row; i++)
            row[i] = (unsigned char)draw();
        jpeg_write_scanlines(&c, &line, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    put(b, out, n);
    free(out);
}

static void put_npy(Bytes *b, const char *type, const char *shape, size_t bytes)
{
    char head[200];
    const int n = snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", type,
                           draw() & 1 ? "True" : "False", shape);
    put(b, "\x93NUMPY\1\0", 8);
    put_number(b, (uint64_t)n, 2);
    put(b, head, (size_t)n);
    for (size_t i = 0; i < bytes; i++)
        put(b, &(unsigned char){(unsigned char)(draw() % 3)}, 1);
}

static void make_npy(Bytes *b)
{
    static const char *const types[] = {"|u1", "<f4", ">i2", "<f2", "<i8", "|b1"};
    static const size_t sizes[] = {1, 4, 2, 2, 8, 1};
    const size_t t = below(6);
    put_npy(b, types[t], "(6, 3, 4)", 72 * sizes[t]);
}

/* An archive of two members, stored or deflated. */
static void make_npz(Bytes *b)
{
    static const char *const names[] = {"x.npy", "y.npy"};
    Bytes *member = malloc(sizeof *member), *directory = malloc(sizeof *directory);
    directory->n = 0;
    for (int i = 0; i < 2; i++) {
        unsigned char packed[2000];
        const uint64_t at = b->n;
        const bool deflated = draw() & 1;
        member->n = 0;
        put_npy(member, i ? "<i4" : "|u1", i ? "(6,)" : "(6, 3, 4)", i ? 24 : 72);
        uLong crc = crc32(0, member->at, (uInt)member->n);
        z_stream z = {
            .next_in = member->at, .avail_in = (uInt)member->n, .next_out = packed, .avail_out = sizeof packed};
        deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
        deflate(&z, Z_FINISH);
        const size_t n = deflated ? z.total_out : member->n;
        deflateEnd(&z);
        for (int central = 0; central < 2; central++) {
            Bytes *to = central ? directory : b;
            put(to, central ? "PK\1\2\24\0" : "PK\3\4", central ? 6 : 4);
            put_number(to, 20, 2);
            put_number(to, 0, 2);
            put_number(to, deflated ? 8 : 0, 2);
            put_number(to, 0, 4);
            put_number(to, crc, 4);
            put_number(to, n, 4);
            put_number(to, member->n, 4);
            put_number(to, 5, 2);
            put_number(to, 0, central ? 12 : 2);
            if (central)
                put_number(to, 0, 0), put_number(to, at, 4);
            put(to, names[i], 5);
        }
        put(b, deflated ? packed : member->at, n);
    }
    const size_t at = b->n;
    put(b, directory->at, directory->n);
    put(b, "PK\5\6\0\0\0\0\2\0\2\0", 12);
    put_number(b, directory->n, 4);
    put_number(b, at, 4);
    put_number(b, 0, 2);
    free(member);
    free(directory);
}

static void make_idx(Bytes *b)
{
    put(b, "\0\0\10\3\0\0\0\6\0\0\0\11\0\0\0\12", 16);
    for (int i = 0; i < 6 * 9 * 10; i++)
        put(b, &(unsigned char){(unsigned char)draw()}, 1);
}

static void make_gz(Bytes *b)
{
    Bytes *plain = malloc(sizeof *plain);
    plain->n = 0;
    make_idx(plain);
    z_stream z = {.next_in = plain->at, .avail_in = (uInt)plain->n, .next_out = b->at, .avail_out = MOST};
    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    b->n = z.total_out;
    deflateEnd(&z);
    free(plain);
}

static void make_csv(Bytes *b)
{
    static const char *const cells[] = {"1", "2.5", "-3e4", "NA", "\"a\"", "x", "", "\"1\n2\"", "inf", "1,5", "True"};
    static const char *const ends[] = {"\n", "\r\n", "\r", "\n\n"};
    const char delimiter = ",;\t|"[below(4)];
    put(b, draw() & 1 ? "a,b,class\n" : "\xef\xbb\xbf", draw() & 1 ? 3 : 0);
    for (int row = 0; row < 12; row++)
        for (int c = 0; c < 4; c++) {
            const char *cell = c == 3 ? (row & 1 ? "u" : "v") : cells[below(below(8) ? 3 : 11)];
            put(b, cell, strlen(cell));
            const char *end = ends[below(4)];
            put(b, c < 3 ? &delimiter : end, c < 3 ? 1 : strlen(end));
        }
}

static void make_set(Bytes *b)
{
    const bool floats = draw() & 1;
    const int n = 5, each = fake_model.channels * fake_model.height * fake_model.width * (floats ? 4 : 1);
    char head[1000];
    const int len = snprintf(head, sizeof head,
                             "{\"__metadata__\":{\"mean\":\"[0.5]\",\"sd\":\"[0.2]\"},"
                             "\"train.y\":{\"dtype\":\"I64\",\"shape\":[%d],\"data_offsets\":[0,%d]},"
                             "\"train.x\":{\"dtype\":\"%s\",\"shape\":[%d,%d,%d,%d],\"data_offsets\":[%d,%d]}}",
                             n, 8 * n, floats ? "F32" : "U8", n, fake_model.channels, fake_model.height,
                             fake_model.width, 8 * n, 8 * n + n * each);
    put_number(b, (uint64_t)len, 8);
    put(b, head, (size_t)len);
    for (int i = 0; i < n; i++)
        put_number(b, (uint64_t)i % 2, 8);
    for (int i = 0; i < n * each; i++) /* of float32: small numbers */
        put(b, &(unsigned char){floats ? (unsigned char)(i % 4 == 3 ? 60 : 0) : (unsigned char)draw()}, 1);
}

/* ---- damage ---- */

/* The checksums of a PNG file's chunks, so that damage reaches what stands after them. */
static void mend_png(Bytes *b)
{
    for (size_t at = 8; at + 12 <= b->n;) {
        const size_t n =
            (size_t)b->at[at] << 24 | (size_t)b->at[at + 1] << 16 | (size_t)b->at[at + 2] << 8 | b->at[at + 3];
        if (n > b->n - at - 12)
            return;
        const uLong crc = crc32(0, b->at + at + 4, (uInt)n + 4);
        for (int i = 0; i < 4; i++)
            b->at[at + 8 + n + (size_t)i] = (unsigned char)(crc >> 8 * (3 - i));
        at += 12 + n;
    }
}

static void damage(Bytes *b)
{
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff, '"', ',', '{', '\n', '9'};
    for (size_t times = 1 + below(6); times-- > 0 && b->n;) {
        const size_t at = below(below(3) ? (b->n < 120 ? b->n : 120) : b->n), n = 1 + below(8);
        switch (below(7)) {
        case 0:
        case 1:
            b->at[at] ^= (unsigned char)(1 << below(8));
            break;
        case 2:
            b->at[at] = values[below(sizeof values)];
            break;
        case 3:
            memset(b->at + at, values[below(5)], n < b->n - at ? n : b->n - at);
            break;
        case 4:
            b->n = at;
            break;
        case 5: /* a span is there twice */
            if (b->n + n < MOST && at + n <= b->n) {
                memmove(b->at + at + n, b->at + at, b->n - at);
                b->n += n;
            }
            break;
        default: /* a span is missing */
            if (at + n < b->n) {
                memmove(b->at + at, b->at + at + n, b->n - at - n);
                b->n -= n;
            }
        }
    }
}

/* ---- readers: whether the file was taken ---- */

static void need(bool ok, const char *what)
{
    if (!ok) {
        printf("FAILED: %s\n", what);
        fflush(stdout);
        abort();
    }
}

static bool read_image(Bytes *b)
{
    const Recipe r = {
        .channels = draw() & 1 ? 1 : 3, .height = 7, .width = 9, .fit = (Fit)below(3), .keep_truncated = draw() & 1};
    uint8_t row[7 * 9 * 3];
    unsigned met;
    char why[IMAGE_WHY] = "";
    ImageHead head;
    if (draw() & 1)
        mend_png(b);
    FILE *from = fmemopen(b->at, b->n ? b->n : 1, "rb");
    const bool known = image_head(from, &head, why);
    need(known || *why, "a head is refused without words");
    rewind(from);
    *why = '\0';
    const bool ok = image_import(&r, from, row, &met, why);
    need(ok || *why, "an image is refused without words");
    fclose(from);
    return ok;
}

static void save(const char *path, const void *from, size_t n)
{
    FILE *to = fopen(path, "wb");
    if (!to || fwrite(from, 1, n, to) != n || fclose(to) != 0)
        abort();
}

static bool import(const char *name, const Bytes *b, const DataOptions *said)
{
    DataOptions o = {.out = "out.safetensors", .quiet = true, .seed = 1};
    int by_signal;
    if (said)
        o.y = said->y;
    save(name, b->at, b->n);
    unlink("out.safetensors");
    const bool ok = data_import(name, &o, &by_signal);
    need(ok == (access("out.safetensors", F_OK) == 0), "a set is there, or not, against what was said");
    return ok;
}

static bool read_npy(Bytes *b)
{
    return import("f.npy", b, &(DataOptions){.y = "labels.npy"});
}

static bool read_npz(Bytes *b)
{
    return import("f.npz", b, NULL);
}

static bool read_idx(Bytes *b)
{
    return import("f-images", b, &(DataOptions){.y = "f-labels"});
}

static bool read_csv(Bytes *b)
{
    return import("f.csv", b, NULL);
}

static bool read_set(Bytes *b)
{
    struct cvy_data d;
    save("f.safetensors", b->at, b->n);
    const bool ok = cvy_data_load(&d, &fake_model, "f.safetensors", CVY_TRAIN_SPLIT, 0);
    if (ok) {
        need(d.n > 0 && (d.image || d.number), "a set without rows");
        (void)cvy_data_crc(&d, 0);
    }
    cvy_data_free(&d);
    return ok;
}

static const struct {
    const char *name;
    void (*make)(Bytes *b);
    bool (*read)(Bytes *b);
} readers[] = {{"png", make_png, read_image}, {"jpeg", make_jpeg, read_image}, {"npy", make_npy, read_npy},
               {"npz", make_npz, read_npz},   {"idx", make_idx, read_idx},     {"gz", make_gz, read_idx},
               {"csv", make_csv, read_csv},   {"set", make_set, read_set}};
enum { READERS = sizeof readers / sizeof *readers };

/* Files [from, to) of a reader, in this process; a pipe gets how many were taken. */
static void slice(int r, long from, long to, uint64_t seed, int report)
{
    static Bytes b;
    long taken = 0;
    for (long i = from; i < to; i++) {
        const PoolMark mark = pool_mark();
        state =
            (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)i * UINT64_C(0xbf58476d1ce4e5b9) + (uint64_t)r + 1;
        for (int k = 0; k < 8; k++)
            draw();
        b.n = 0;
        readers[r].make(&b);
        if (i % 50)
            damage(&b);
        const bool ok = readers[r].read(&b);
        need(ok || i % 50 || r == 6 || r == 7 || r == 2, "a good file is refused");
        taken += ok;
        pool_release(mark);
    }
    if (write(report, &taken, sizeof taken) != sizeof taken)
        abort();
}

int main(int argc, char **argv)
{
    const long count = argc > 1 ? atol(argv[1]) : 1000;
    const uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    char folder[] = "/tmp/convoy-fuzz-data-XXXXXX";
    int passed = 0, failed = 0;
    Bytes *labels = malloc(sizeof *labels);
    if (!labels || !mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    cvy_silent = 1;
    labels->n = 0;
    state = 1;
    put_npy(labels, "|u1", "(6,)", 6);
    save("labels.npy", labels->at, labels->n);
    save("f-labels", "\0\0\10\1\0\0\0\6\0\1\2\0\1\2", 14);
    free(labels);
    for (int r = 0; r < READERS; r++) {
        long taken = 0;
        bool ok = true;
        if (argc > 2 && strcmp(argv[2], readers[r].name) != 0)
            continue;
        for (long at = 0; at < count && ok; at += SLICE) {
            int pipes[2], status = 0;
            long part = 0;
            fflush(stdout);
            if (pipe(pipes) != 0)
                return 1;
            const pid_t child = fork();
            if (child == 0) {
                slice(r, at, at + SLICE < count ? at + SLICE : count, seed, pipes[1]);
                _exit(0);
            }
            close(pipes[1]);
            ok = child > 0 && read(pipes[0], &part, sizeof part) == sizeof part;
            close(pipes[0]);
            ok = waitpid(child, &status, 0) == child && status == 0 && ok;
            taken += part;
        }
        ok = ok && taken > 0;
        printf("%-5s %ld files, %ld taken%s\n", readers[r].name, count, taken, ok ? "" : "   FAILED");
        if (!ok)
            printf("  repeat: %s %ld %s %llu\n", argv[0], count, readers[r].name, (unsigned long long)seed);
        passed += ok;
        failed += !ok;
    }
    static const char *const files[] = {"f.npy", "f.npz",         "f-images",   "f-labels",
                                        "f.csv", "f.safetensors", "labels.npy", "out.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    if (chdir("/") != 0 || rmdir(folder) != 0)
        printf("something is left in %s\n", folder);
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
