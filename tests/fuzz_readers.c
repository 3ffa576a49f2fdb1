/* fuzz_readers.c - damaged files through everything that reads them: each is taken or refused with words, never a
 * crash, an undefined operation, or a byte read that is not there (it is compiled with the sanitizers).
 *
 *   fuzz_readers [COUNT [READER [SEED]]]        COUNT files for each reader, or for one
 *
 * Readers: weights, state, npy, labels, idx, gz, manifest, folder. Each begins with good files and damages them: bits,
 * bytes, spans, words that matter, other lengths. The same counts and seeds give the same files. A child reads a few
 * thousand of them; the file that ended one is kept as crash-READER. What is said must not hold characters that steer a
 * terminal. */
#define _GNU_SOURCE
#include "damage.h"
#include "files.h"
#include "cvy_private.h"
#include "cvy_settings.h"
#include "diff.h"
#include "fake_model.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

enum {
    SLICE = 4000, /* files a child reads: convoy's own memory is freed by its end alone */
    MAX_BYTES = 1 << 15
};

/* ---- damage ---- */

static const char *const words[] = {
    "0",
    "-1",
    "1e3",
    "inf",
    "nan",
    "3e20",
    "99999999999999999999",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "18446744073709551615",
    "0x10",
    "\"\"",
    "{}",
    "[]",
    "null",
    "true",
    "\\u001b[2J",
    "\x1b[2J",
    "\xc2\x9b",
    "\xe2\x80\xae",
    "\xff",
    "\n",
    "\"",
    "'",
    "(",
    ")",
    ",",
    ":",
    "{",
    "}",
    "F32",
    "F16",
    "F64",
    "BF16",
    "I64",
    "dtype",
    "shape",
    "data_offsets",
    "__metadata__",
    "momentum.",
    "weight",
    "batch",
    "step",
    "seed",
    "'descr': '",
    "'<f4'",
    "'|u1'",
    "'shape': (",
    "fortran_order",
    "True",
    "../",
    "/",
    "..",
    ".",
    "victim/secret",
    "link/secret",
    "fifo",
    "a.c",
    "sub/b.c",
    "tiny.h",
    "with hash ",
    "; order ",
    "; target ",
    " parameters",
    "emitted by convoy ",
    "_ARENA_BYTES(batch, threads) \\\n",
    "((size_t)",
    "name: ",
    "#",
    "\r",
    "\t",
    "%s%n",
    "%1000000d",
};
enum { NWORDS = sizeof words / sizeof *words };

typedef struct Bytes {
    unsigned char at[MAX_BYTES];
    size_t n;
} Bytes;

/* Puts n bytes in place of `gone` ones. */
static void replace(Bytes *b, size_t at, size_t gone, const void *with, size_t n)
{
    unsigned char copy[256];
    n = n < sizeof copy ? n : sizeof copy;
    memcpy(copy, with, n);
    if (at + gone > b->n || b->n - gone + n > MAX_BYTES)
        return;
    memmove(b->at + at + n, b->at + at + gone, b->n - at - gone);
    memcpy(b->at + at, copy, n);
    b->n += n - gone;
}

static void damage(Bytes *b)
{
    for (size_t times = 1 + below(4); times; times--) {
        const size_t at = below(b->n + 1), span = below(b->n - at + 1) % 64;
        const char *word = words[below(NWORDS)];
        const unsigned char odd[] = {0, 1, 127, 128, 255, '"', '\\', '\n'};
        switch (below(9)) {
        case 0:
            if (at < b->n)
                b->at[at] ^= (unsigned char)(1u << below(8));
            break;
        case 1:
            if (at < b->n)
                b->at[at] = odd[below(sizeof odd)];
            break;
        case 2:
            if (at < b->n)
                b->at[at] = (unsigned char)draw();
            break;
        case 3:
            replace(b, at, span, "", 0);
            break;
        case 4:
            replace(b, at, 0, b->at + below(b->n - span + 1), span);
            break;
        case 5:
            replace(b, at, span % 12, word, strlen(word));
            break;
        case 6:
            b->n = at;
            break;
        case 7:
            if (b->n > 16)
                b->at[below(16)] = (unsigned char)draw();
            break; /* where binary headers are */
        default:   /* a number in place of a number */
            for (size_t i = at; i < b->n; i++) {
                size_t digits = 0;
                while (i + digits < b->n && b->at[i + digits] >= '0' && b->at[i + digits] <= '9')
                    digits++;
                if (digits) {
                    word = words[below(12)];
                    replace(b, i, digits, word, strlen(word));
                    break;
                }
            }
        }
    }
}

/* ---- files ---- */

static void put(const char *path, const void *data, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || !cvy_fd_write(fd, data, n) || close(fd) != 0) {
        perror(path);
        exit(99);
    }
}

static void get(const char *path, Bytes *b)
{
    const int fd = open(path, O_RDONLY);
    const int64_t n = fd < 0 ? -1 : cvy_fd_read(fd, b->at, MAX_BYTES);
    if (n < 0) {
        perror(path);
        exit(99);
    }
    b->n = (size_t)n;
    close(fd);
}

/* ---- the readers: 1 where the file was taken, 0 where it was refused ---- */

static struct cvy_run run;
static float numbers[MAX_BYTES / 4];

static int read_weights(const char *path)
{
    struct cvy_tensors t;
    int ok = cvy_tensors_open(&t, path);
    for (int i = 0; ok && i < t.n && i < 50; i++) {
        const struct cvy_entry *e = &t.entry[i];
        uint64_t n = 1;
        for (int d = 0; d < e->ndim; d++)
            n = e->dim[d] && n < MAX_BYTES ? n * (uint64_t)e->dim[d] : e->dim[d] ? n : 0;
        if (n <= sizeof numbers / sizeof *numbers && !strstr(e->name, "num_batches"))
            (void)!cvy_read_f32(&t, e->name, numbers, (size_t)n);
    }
    cvy_tensors_free(&t);
    ok &= cvy_load_weights(&run, path, (enum cvy_taking)below(3));
    return cvy_load_partial(&run, path, (int)below(2)) && ok;
}

static int read_state(const char *path)
{
    struct cvy_resume r = {0};
    struct cvy_kept average = {0};
    (void)path;
    const int ok =
        cvy_resume_open(&r, &fake_model, "w.safetensors", (int)below(2)) && cvy_resume_load(&run, &r, &average);
    cvy_resume_close(&r);
    cvy_kept_free(&average);
    return ok;
}

static int read_npy(const char *path)
{
    float *x = NULL;
    int *length = NULL, n = 0;
    struct cvy_npy a;
    int ok = cvy_npy_read(&a, path);
    free(a.data);
    ok &= cvy_npy_sequences(&fake_model, path, below(2) ? path : NULL, 0, &x, &length, &n);
    free(x);
    free(length);
    return ok;
}

static int read_labels(const char *path)
{
    int *labels = NULL;
    const int ok = cvy_npy_labels(&fake_model, path, &labels, 3);
    free(labels);
    return ok;
}

static int read_data(const char *path)
{
    struct cvy_data d;
    (void)path;
    const int ok = cvy_data_load(&d, &fake_model, "d", CVY_TRAIN_SPLIT, (int)below(5));
    cvy_data_free(&d);
    return ok;
}

/* Files outside the folder must be as they were, whatever its manifest lists. */
static int read_manifest(const char *path)
{
    static const char text[] = "int a;\n";
    OutDir o = {0}, in = {0};
    struct stat st;
    (void)path;
    const int ok = outdir_read(&in, "m");
    outdir_add(&o, "a.c", text, sizeof text - 1);
    outdir_add(&o, "sub/b.c", text, sizeof text - 1);
    const int written = outdir_commit(&o, "m", NULL);
    if (stat("victim/secret", &st) != 0 || st.st_size != 4 || lstat("m/link", &st) != 0 || lstat("m/fifo", &st) != 0)
        abort();
    return ok | written;
}

static int read_folder(const char *path)
{
    Diff d = {.a = {.label = "f", .path = "f"}, .b = {.label = "g", .path = "g"}};
    const DiffView view = {.levels = (1 << LEVELS) - 1, .colour = draw() & 1, .stat = draw() & 1};
    FILE *null = fopen("/dev/null", "w");
    (void)path;
    const int ok = null && outdir_read(&d.a.out, "f") && outdir_read(&d.b.out, "g");
    if (ok) {
        Buf page = {0};
        diff_folders(&d);
        diff_print(&d, &view, null);
        if (!diff_json(&d, null))
            abort();
        diff_html(&d, &page);
    }
    if (null)
        fclose(null);
    return ok;
}

/* What is damaged stands in `path`; a gzipped file is damaged in half of the cases before it is packed. */
static const struct Reader {
    const char *name, *path;
    int (*read)(const char *path);
    bool packed;
} readers[] = {
    {"weights", "w.safetensors", read_weights, false},
    {"state", "w.state.safetensors", read_state, false},
    {"npy", "x.npy", read_npy, false},
    {"labels", "l.npy", read_labels, false},
    {"idx", "d/train-images-idx3-ubyte", read_data, false},
    {"gz", "d/train-labels-idx1-ubyte.gz", read_data, true},
    {"manifest", "m/.convoy-manifest", read_manifest, false},
    {"folder", "f/tiny.h", read_folder, false},
};
enum { NREADERS = sizeof readers / sizeof *readers };

/* ---- good files ---- */

static const char header[] =
    "/* tiny.h - one conv\n * emitted by convoy " CONVOY_VERSION
    " from a spec with hash 0123456789abcdef; order conv-bn-relu; target portable\n"
    " * 1,234 parameters, 56,789 FLOPs forward, 1,024 bytes of it stored */\n"
    "#define TINY_ARENA_BYTES(batch, threads) \\\n"
    "    ((size_t)1024 + ((batch) > 0 ? (size_t)2048 : 0) + (size_t)(batch) * 4096 + (size_t)(threads) * 512)\n";

static void put_npy(const char *path, const char *dict, const void *data, size_t n)
{
    unsigned char file[MAX_BYTES] = "\x93NUMPY\x01\x00\x76\x00";
    memset(file + 10, ' ', 118);
    memcpy(file + 10, dict, strlen(dict));
    file[127] = '\n';
    memcpy(file + 128, data, n);
    put(path, file, 128 + n);
}

static void put_packed(const char *path, const Bytes *b)
{
    unsigned char out[2 * MAX_BYTES];
    z_stream z = {
        .next_in = (unsigned char *)(uintptr_t)b->at, .avail_in = (uInt)b->n, .next_out = out, .avail_out = sizeof out};
    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflate(&z, Z_FINISH) != Z_STREAM_END)
        exit(99);
    deflateEnd(&z);
    put(path, out, sizeof out - z.avail_out);
}

static void make_good(void)
{
    static const unsigned char images[16 + 4 * 144] = {0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 12, 0, 0, 0, 12},
                                               labels[12] = {0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 2, 3};
    struct cvy_progress p = {.epochs = 3,
                             .batch = 32,
                             .lr = 0.05,
                             .hyper = {0.9},
                             .seed = 1,
                             .step = 2,
                             .step_in_epoch = 2,
                             .loss_sum = 4,
                             .seen = 64};
    Bytes b = {.n = sizeof labels};
    memcpy(b.at, labels, sizeof labels);
    for (int k = 0; k < CVY_SETTINGS; k++)
        p.setting[k] = cvy_settings[k].usual;
    if (mkdir("d", 0777) || mkdir("m", 0777) || mkdir("m/sub", 0777) || mkdir("victim", 0777) || mkdir("f", 0777) ||
        mkdir("g", 0777) || symlink("../victim", "m/link") || mkfifo("m/fifo", 0666) ||
        !cvy_run_open(&run, &fake_model, 4, 1, 0))
        exit(99);
    cvy_draw(run.model, run.net, 1);
    if (!cvy_save(&run, "w.state.safetensors", &p, "w.safetensors", NULL, NULL, &(const struct cvy_words){"", ""}))
        exit(99);
    put_npy("x.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 1, 12, 12), }", images + 16, 4 * 144);
    put_npy("l.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", "\1\2\3", 3);
    put("d/train-images-idx3-ubyte", images, sizeof images);
    put_packed("d/train-labels-idx1-ubyte.gz", &b);
    put("victim/secret", "keep", 4);
    put("m/a.c", "a", 1);
    put("m/sub/b.c", "b", 1);
    put("m/old.c", "c", 1);
    put("m/.convoy-manifest", "# head\na.c\nold.c\nsub/b.c\n", 26);
    for (int i = 0; i < 2; i++) {
        put(i ? "g/.convoy-manifest" : "f/.convoy-manifest", "tiny.h\n", 7);
        put(i ? "g/tiny.h" : "f/tiny.h", header, sizeof header - 1);
    }
}

/* ---- the loop ---- */

struct counts {
    uint64_t taken, refused, said_nothing, steering;
};

/* What stderr, which goes to a file, holds since the last time. */
static void judge_words(struct counts *c, int ok)
{
    char text[8192];
    const off_t n = lseek(2, 0, SEEK_CUR);
    const ssize_t got = pread(2, text, sizeof text, 0);
    c->taken += ok != 0;
    c->refused += !ok;
    c->said_nothing += !ok && n == 0;
    for (ssize_t i = 0; i < got; i++)
        if (((unsigned char)text[i] < 32 && text[i] != '\n') || text[i] == 127 ||
            (text[i] == (char)0xc2 && i + 1 < got && (unsigned char)text[i + 1] < 0xa0)) {
            c->steering++;
            break;
        }
    if (n && (ftruncate(2, 0) != 0 || lseek(2, 0, SEEK_SET) != 0))
        exit(99);
}

/* A header of the most bytes that there can be, whose type is cut off at its end. */
static void put_long_npy(const char *path)
{
    static char file[10 + 65535];
    memset(file, ' ', sizeof file);
    memcpy(file, "\x93NUMPY\x01\x00\xff\xff", 10);
    memcpy(file + 10, "{'fortran_order': False, 'shape': (1,), ", 40);
    memcpy(file + sizeof file - 9, "'descr':'", 9);
    put(path, file, sizeof file);
}

static void slice(const struct Reader *r, uint64_t seed, int n, int to)
{
    static Bytes good, unpacked, b;
    struct counts c = {0};
    unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 2, 3};
    get(r->path, &good);
    if (!r->read(r->path)) { /* what is refused as it is tests nothing that lies behind */
        fprintf(stderr, "the good file is refused\n");
        exit(98);
    }
    memcpy(unpacked.at, labels, unpacked.n = sizeof labels);
    state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < 8; i++)
        draw();
    if (r->read == read_npy) {
        put_long_npy(r->path);
        judge_words(&c, r->read(r->path));
    }
    for (int i = 0; i < n; i++) {
        const bool before = r->packed && (draw() & 1);
        b = before ? unpacked : good;
        damage(&b);
        if (before)
            put_packed(r->path, &b);
        else
            put(r->path, b.at, b.n);
        judge_words(&c, r->read(r->path));
    }
    put(r->path, good.at, good.n);
    if (write(to, &c, sizeof c) != sizeof c)
        exit(99);
    cvy_run_close(&run);
    exit(0);
}

/* True where all went well. */
static bool campaign(const struct Reader *r, long count, uint64_t seed, const char *home)
{
    struct counts all = {0}, c;
    Bytes *good = malloc(sizeof *good);
    const double begin = cvy_seconds();
    bool ok = good != NULL;
    if (good)
        get(r->path, good);
    for (long done = 0; ok && done < count; done += SLICE, seed++) {
        int ends[2], status;
        if (pipe(ends) != 0)
            return false;
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            const int log = open("stderr", O_RDWR | O_CREAT | O_TRUNC, 0666);
            if (log < 0 || dup2(log, 2) < 0)
                _exit(99);
            slice(r, seed, (int)(count - done < SLICE ? count - done : SLICE), ends[1]);
        }
        close(ends[1]);
        const bool counted = cvy_fd_read(ends[0], &c, sizeof c) == sizeof c;
        close(ends[0]);
        ok = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
             counted;
        if (!ok) {
            static Bytes said;
            get("stderr", &said);
            printf("%s: a child of seed %" PRIu64 " ended badly; its file is %s/crash-%s; it said:\n%.*s\n", r->name,
                   seed, home, r->name, (int)said.n, (char *)said.at);
            get(r->path, &said);
            char path[4096];
            snprintf(path, sizeof path, "%s/crash-%s", home, r->name);
            put(path, said.at, said.n);
            break;
        }
        all.taken += c.taken;
        all.refused += c.refused;
        all.said_nothing += c.said_nothing;
        all.steering += c.steering;
    }
    printf("%-9s %" PRIu64 " files: %" PRIu64 " taken, %" PRIu64 " refused, %" PRIu64
           " of them without a word, %" PRIu64 " with a word that steers terminals; %.1f s\n",
           r->name, all.taken + all.refused, all.taken, all.refused, all.said_nothing, all.steering,
           cvy_seconds() - begin);
    fflush(stdout);
    free(good);
    return ok && !all.said_nothing && !all.steering && all.refused > all.taken / 100;
}

static void remove_folder(const char *dir)
{
    char command[256];
    if (chdir("/") != 0 || snprintf(command, sizeof command, "rm -rf '%s'", dir) >= (int)sizeof command ||
        system(command) != 0)
        perror(dir);
}

int main(int argc, char **argv)
{
    const long count = argc > 1 ? atol(argv[1]) : 2000;
    const char *only = argc > 2 && *argv[2] ? argv[2] : NULL;
    const uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    char dir[] = "/dev/shm/convoy-test-XXXXXX", other[] = "/tmp/convoy-test-XXXXXX", home[3000];
    const char *work = mkdtemp(dir);
    int failed = 0, passed = 0;

    work = work ? work : mkdtemp(other);
    if (!work || !getcwd(home, sizeof home) || chdir(work) != 0) {
        perror("a folder for files");
        return 1;
    }
    make_good();
    for (int i = 0; i < NREADERS; i++)
        if (!only || strcmp(only, readers[i].name) == 0) {
            const bool ok = campaign(&readers[i], count, seed, home);
            passed += ok;
            failed += !ok;
        }
    cvy_run_close(&run);
    remove_folder(work);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
