/* test_rows_data.c - the rows of what `convoy data` reads, beside small sources made here: which row takes each of
 * them, how many rows come out, in which order, in how many groups, which options are refused. Then each property of
 * each row is flipped, and the same check must notice.
 *
 *   test_rows_data */
#define _GNU_SOURCE
#include "flips.h"
#include "import.h"
#include "runtime.h"

#include <ftw.h>
#include <jansson.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 24, SIDE = 8, CIFAR_ROWS = 4 };

/* ---- the sources ---- */

static FILE *made(const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        exit(2);
    return f;
}

static void done(FILE *f)
{
    if (ferror(f) || fclose(f) != 0)
        exit(2);
}

static void folder(const char *path)
{
    if (mkdir(path, 0777) != 0)
        exit(2);
}

/* The class of row i: no order by which anything is sorted. */
static int class_of_row(int i)
{
    return i * 7 % 5 % 2;
}

/* The same of the i-th of files in folders of classes, by their paths. */
static int class_of_file(int i)
{
    int first = 0;
    for (int k = 0; k < ROWS; k++)
        first += class_of_row(k) == 0;
    return i >= first;
}

/* A byte of row i: all rows differ. */
static unsigned char pixel(int i, int k)
{
    return (unsigned char)(i * 31 + k * (5 + i) + 3);
}

/* All rows, a byte a pixel, and their classes. */
static void put_rows(FILE *x, FILE *y)
{
    for (int i = 0; i < ROWS; i++) {
        putc(class_of_row(i), y);
        for (int k = 0; k < SIDE * SIDE; k++)
            putc(pixel(i, k), x);
    }
    done(x);
    done(y);
}

static void make_images(void)
{
    folder("images");
    folder("images/a");
    folder("images/b");
    for (int i = 0; i < ROWS; i++) {
        png_image image = {.version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE, .format = PNG_FORMAT_GRAY};
        unsigned char pixels[SIDE * SIDE];
        for (int k = 0; k < SIDE * SIDE; k++)
            pixels[k] = pixel(i, k);
        if (!png_image_write_to_file(&image, xprintf("images/%s/x%02d.png", class_of_row(i) ? "b" : "a", i), 0, pixels,
                                     0, NULL))
            exit(2);
    }
}

static void make_idx(void)
{
    folder("idx");
    FILE *x = made("idx/train-images-idx3-ubyte"), *y = made("idx/train-labels-idx1-ubyte");
    fwrite((const char[]){0, 0, 8, 3, 0, 0, 0, ROWS, 0, 0, 0, SIDE, 0, 0, 0, SIDE}, 1, 16, x);
    fwrite((const char[]){0, 0, 8, 1, 0, 0, 0, ROWS}, 1, 8, y);
    put_rows(x, y);
}

static void make_cifar(void)
{
    folder("cifar");
    for (int f = 0; f < 6; f++) {
        FILE *to = made(f < 5 ? xprintf("cifar/data_batch_%d.bin", f + 1) : "cifar/test_batch.bin");
        for (int i = f * CIFAR_ROWS; i < (f + 1) * CIFAR_ROWS; i++) {
            putc(class_of_row(i), to);
            for (int k = 0; k < 3 * 32 * 32; k++)
                putc(pixel(i, k), to);
        }
        done(to);
    }
}

static FILE *npy(const char *path, const char *shape)
{
    FILE *f = made(path);
    const char *head = xprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%s), }", shape);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, f);
    fprintf(f, "%-117s\n", head);
    return f;
}

static void make_arrays(void)
{
    folder("arrays");
    FILE *x = npy("arrays/x_train.npy", xprintf("%d, %d, %d", ROWS, SIDE, SIDE)),
         *y = npy("arrays/y_train.npy", xprintf("%d,", ROWS));
    put_rows(x, y);
}

static void make_table(void)
{
    FILE *f = made("table.csv");
    fprintf(f, "one,two,(g,label\n"); /* no regular expression: --group is a column here */
    for (int i = 0; i < ROWS; i++)
        fprintf(f, "%d.5,%d.25,%d,%d\n", pixel(i, 0), pixel(i, 1), i % 3, class_of_row(i));
    done(f);
}

static const unsigned all_takes[] = {SRC_IMAGES, SRC_ARRAYS, SRC_TABLE, SRC_CIFAR};
static const struct {
    const DataSource *source;
    const char *path, *what;
    void (*make)(void);
    int shape[3];
    bool ordered;        /* docs/data.md: rows of arrays keep their order */
    unsigned takes;      /* which options that documentation gives it */
    const char *group;   /* of --group: a column of a table; what names have in common */
    int groups, classes; /* so many then */
} kinds[] = {
    {&folder_source,
     "images",
     "a folder of images",
     make_images,
     {1, SIDE, SIDE},
     false,
     SRC_IMAGES,
     "^[^/]*/x[0-9]",
     6,
     2},
    {&idx_source, "idx", "IDX files", make_idx, {1, SIDE, SIDE}, true, SRC_ARRAYS, ".", 1, 2},
    {&cifar_source, "cifar", "binary files of CIFAR", make_cifar, {3, 32, 32}, true, SRC_CIFAR, ".", 1, 2},
    {&array_source, "arrays", "arrays of NumPy", make_arrays, {1, SIDE, SIDE}, true, SRC_ARRAYS, ".", 1, 2},
    {&table_source, "table.csv", "a table", make_table, {3, 1, 1}, false, SRC_TABLE, "(g", 3, 2},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- one import ---- */

static json_t *report;        /* what it printed; NULL: it failed */
static char refusal[1 << 14]; /* what it complained of */

static void slurp(int fd, char *to, size_t room)
{
    const ssize_t n = pread(fd, to, room - 1, 0);
    to[n > 0 ? n : 0] = '\0';
}

static void import_of(const char *src, DataOptions o)
{
    static char text[1 << 16];
    const int out = dup(1), err = dup(2), to_out = memfd_create("out", 0), to_err = memfd_create("err", 0);
    int by_signal;
    o.out = "set.safetensors";
    o.json = 1;
    o.seed = 1;
    fflush(NULL);
    dup2(to_out, 1);
    dup2(to_err, 2);
    const bool ok = data_import(src, &o, &by_signal);
    fflush(NULL);
    slurp(to_out, text, sizeof text);
    slurp(to_err, refusal, sizeof refusal);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    close(to_out);
    close(to_err);
    report = ok ? json_loads(text, 0, NULL) : NULL;
}

/* A tensor of the training rows, in its bytes. */
static bool tensor(const char *name, void *to, size_t bytes)
{
    struct cvy_tensors f;
    const struct cvy_entry *e;
    const bool ok = cvy_tensors_open(&f, "set.safetensors") && (e = cvy_tensors_find(&f, name)) &&
                    e->end - e->begin == bytes &&
                    pread(f.fd, to, bytes, (off_t)(f.data_at + e->begin)) == (ssize_t)bytes;
    cvy_tensors_free(&f);
    return ok;
}

/* ---- what a row should say ---- */

/* Of every kind: the source there is taken by its own row, and gives its rows. */
static bool all_read(void)
{
    for (int k = 0; k < KINDS; k++) {
        int shape[3] = {0}, train = 0, valid = 0, test = 0;
        const char *what = "";
        import_of(kinds[k].path, (DataOptions){.split = "50/25/25"});
        if (!report || json_unpack(report, "{s:s, s:[i, i, i], s:{s:i, s:i, s:i}}", "kind", &what, "shape", &shape[0],
                                   &shape[1], &shape[2], "rows", "train", &train, "valid", &valid, "test", &test) != 0)
            return false;
        if (strcmp(what, kinds[k].what) != 0 || memcmp(shape, kinds[k].shape, sizeof shape) != 0 ||
            train + valid + test != ROWS ||
            (int)json_array_size(json_object_get(report, "classes")) != kinds[k].classes)
            return false;
    }
    return true;
}

/* Whether the training rows stand in their order, and hold what was written; and how many groups they make. */
static bool order_and_groups(int k)
{
    const int train = kinds[k].source == &cifar_source ? 5 * CIFAR_ROWS : ROWS;
    int64_t label[ROWS];
    int32_t group[ROWS];
    unsigned char row[ROWS * 3 * 32 * 32];
    const int numbers = kinds[k].shape[0] * kinds[k].shape[1] * kinds[k].shape[2];
    bool ordered = true, seen[ROWS + 1] = {false};
    int groups = 0;
    import_of(kinds[k].path, (DataOptions){.split = "100/0/0", .group = kinds[k].group});
    if (!report || !tensor("train.y", label, (size_t)train * sizeof *label) ||
        !tensor("train.group", group, (size_t)train * sizeof *group))
        return false;
    if (kinds[k].source != &table_source && !tensor("train.x", row, (size_t)(train * numbers)))
        return false;
    for (int i = 0; i < train; i++) {
        ordered &= label[i] == (kinds[k].source == &folder_source ? class_of_file(i) : class_of_row(i));
        for (int j = 0; kinds[k].ordered && j < numbers; j++)
            ordered &= row[i * numbers + j] == pixel(i, j);
        if (group[i] < 0 || group[i] > ROWS)
            return false;
        groups += !seen[group[i]];
        seen[group[i]] = true;
    }
    return ordered == kinds[k].ordered && groups == kinds[k].groups;
}

/* An option of each kind of source, given to this one. */
static bool options_taken(int k)
{
    for (size_t t = 0; t < sizeof all_takes / sizeof *all_takes; t++) {
        DataOptions o = {0};
        o.gray = all_takes[t] == SRC_IMAGES;
        o.layout = all_takes[t] == SRC_ARRAYS ? "NCHW" : NULL;
        o.label = all_takes[t] == SRC_TABLE ? "label" : NULL;
        o.coarse = all_takes[t] == SRC_CIFAR;
        import_of(kinds[k].path, o);
        const bool refused = !report && strstr(refusal, "is of ") && strstr(refusal, kinds[k].what);
        if (refused == ((kinds[k].takes & all_takes[t]) != 0))
            return false;
    }
    return true;
}

static bool right(int k)
{
    return all_read() && order_and_groups(k) && options_taken(k);
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

int main(void)
{
    char here[] = "/tmp/convoy-rows-XXXXXX";
    static const char *const other = "other";
    if (!mkdtemp(here) || chdir(here) != 0)
        return 2;
    for (int k = 0; k < KINDS; k++)
        kinds[k].make();
    for (int k = 0; k < KINDS; k++) {
        const DataSource *s = kinds[k].source;
        const char *row = kinds[k].what;
        const bool ordered = !s->ordered, groups = !s->groups;
        flips_open(s, sizeof *s);
        flips_row(row, right, k);
        FLIP(row, s, what, other, right, k);
        FLIP(row, s, ordered, ordered, right, k);
        FLIP(row, s, groups, groups, right, k);
        for (size_t t = 0; t < sizeof all_takes / sizeof *all_takes; t++) {
            const unsigned takes = s->takes ^ all_takes[t];
            FLIP(row, s, takes, takes, right, k);
        }
        for (int i = 0; i < KINDS; i++) {
            if (s->is != kinds[i].source->is)
                FLIP(row, s, is, kinds[i].source->is, right, k);
            if (s->list != kinds[i].source->list)
                FLIP(row, s, list, kinds[i].source->list, right, k);
            if (s->row != kinds[i].source->row)
                FLIP(row, s, row, kinds[i].source->row, right, k);
        }
        flips_same(row, "end", "it only gives back what is open; the sanitizers' build tells");
    }
    const int status = flips_end();
    return chdir("/") != 0 || nftw(here, drop, 8, FTW_DEPTH | FTW_PHYS) != 0 ? 2 : status;
}
