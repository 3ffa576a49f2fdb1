/* fuzz_checkpoints.c - damaged checkpoints, states and logs, read in this process by the runtime, whose code is
 * compiled with the sanitizers where the compiler has them.
 *
 *   fuzz_checkpoints [COUNT [FROM [loud]]]   inputs FROM to FROM + COUNT - 1; input i is the same in every run; loud:
 * with messages
 *
 * What is taken is used: weights are loaded and trained on, a state's settings lay out memory and a step runs in it. */
#include "../runtime/cvy_private.h"
#include "fake_model.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOM = 1 << 16, IMAGES = 40, BATCH = 8, SIDE = 144 };

static long input;      /* under way */
static int report = -1; /* the real stderr */

/* ---- what a failure says ---- */

void __sanitizer_set_death_callback(void (*call)(void)) __attribute__((weak));
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__ubsan_default_options(void)
{
    return "halt_on_error=1:print_stacktrace=1";
}

static void on_death(void)
{
    dprintf(report, "\nFAILED at input %ld. It is repeated by: fuzz_checkpoints 1 %ld loud\n", input, input);
}

static void on_signal(int number)
{
    on_death();
    signal(number, SIG_DFL);
    raise(number);
}

static void must(int ok, const char *what)
{
    if (ok)
        return;
    dprintf(report, "fuzz_checkpoints: %s (errno: %s)\n", what, strerror(errno));
    on_death();
    _exit(1);
}

/* ---- draws ---- */

static uint64_t state_of_draws;

static uint64_t draw(void) /* splitmix64 */
{
    uint64_t z = state_of_draws += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static size_t below(size_t n)
{
    return n ? (size_t)(draw() % n) : 0;
}

/* ---- files ---- */

struct file {
    unsigned char byte[ROOM];
    size_t n;
};
static struct file weights, state, log_file;

static void slurp(const char *path, struct file *f)
{
    FILE *from = fopen(path, "rb");
    must(from != NULL, path);
    f->n = fread(f->byte, 1, ROOM, from);
    must(f->n < ROOM && fclose(from) == 0, path);
}

static void spit(const char *path, const struct file *f)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    must(fd >= 0 && cvy_fd_write(fd, f->byte, f->n) && close(fd) == 0, path);
}

static size_t header_end(const struct file *f)
{
    uint64_t n = 0;
    for (int i = 0; i < 8 && f->n >= 8; i++)
        n |= (uint64_t)f->byte[i] << 8 * i;
    return n < f->n ? 8 + (size_t)n < f->n ? 8 + (size_t)n : f->n : f->n;
}

/* Puts text in the place of `gone` bytes of the header, whose length is said anew. */
static void splice(struct file *f, size_t at, size_t gone, const void *text, size_t n)
{
    size_t end = header_end(f);
    if (f->n < 8 || at < 8 || at + gone > end || f->n - gone + n > ROOM)
        return;
    memmove(f->byte + at + n, f->byte + at + gone, f->n - at - gone);
    if (n)
        memcpy(f->byte + at, text, n);
    f->n += n - gone;
    end = end - gone + n - 8;
    for (int i = 0; i < 8; i++)
        f->byte[i] = (unsigned char)((uint64_t)end >> 8 * i);
}

static const char *const numbers[] = {"0",
                                      "1",
                                      "-1",
                                      "1e3",
                                      "1e308",
                                      "1e999",
                                      "nan",
                                      "inf",
                                      "",
                                      " 1",
                                      "2147483647",
                                      "2147483648",
                                      "4294967296",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "18446744073709551615",
                                      "18446744073709551616",
                                      "0x10",
                                      "007",
                                      "3.5",
                                      "1000",
                                      "511",
                                      "512",
                                      "513"};
static const char *const pieces[] = {
    " | ",       "\\n",       "/",           "drop", "drop(0.5)", "\"",         "{",
    "}",         "[",         "]",           ",",    ":",         "\\u0000",    "\\u001b",
    "\xff",      "\xc3\xa9",  "input",       "bn",   "module.",   "_orig_mod.", "F16",
    "F64",       "BF16",      "I32",         "I64",  "BOOL",      "[0,0]",      "[1,1,1,1,1,1,1,1,1]",
    "momentum.", "fc.weight", "\"shape\":[]"};

/* A number of the header, or a string's inside, becomes another. */
static void change_value(struct file *f)
{
    const size_t end = header_end(f);
    size_t at = 8 + below(end > 8 ? end - 8 : 0), to;
    while (at < end && (f->byte[at] < '0' || f->byte[at] > '9'))
        at++;
    for (to = at; to < end && strchr("0123456789.e+-", f->byte[to]); to++)
        ;
    const char *v = numbers[below(sizeof numbers / sizeof *numbers)];
    splice(f, at, to - at, v, strlen(v));
}

static void mutate(struct file *f)
{
    const size_t end = header_end(f), at = 8 + below(end > 8 ? end - 8 : 0);
    unsigned char some[8];
    const char *piece = pieces[below(sizeof pieces / sizeof *pieces)];
    switch (below(12)) {
    case 0:
        f->byte[below(f->n)] ^= (unsigned char)(1u << below(8));
        break;
    case 1:
        f->byte[below(end)] = (unsigned char)draw();
        break;
    case 2:
        f->n = below(f->n + 1);
        break;
    case 3: /* longer than it says */
        for (size_t i = below(40); i > 0 && f->n < ROOM; i--)
            f->byte[f->n++] = (unsigned char)draw();
        break;
    case 4:
        splice(f, at, below(16), NULL, 0);
        break;
    case 5:
        for (int i = 0; i < 8; i++)
            some[i] = (unsigned char)draw();
        splice(f, at, below(4), some, below(9));
        break;
    case 6:
        splice(f, at, below(3), piece, strlen(piece));
        break;
    case 7: { /* a part of the header twice, or elsewhere */
        unsigned char part[64];
        const size_t n = below(sizeof part), from = 8 + below(end > 8 + n ? end - 8 - n : 0);
        if (from + n <= f->n) {
            memcpy(part, f->byte + from, n);
            splice(f, at, below(2) ? n : 0, part, n);
        }
        break;
    }
    case 8: /* a special float among the data */
        if (f->n > end + 8) {
            static const uint32_t special[] = {0x7f800000u, 0x7fc00000u, 0xff800000u, 0x80000000u,
                                               1u,          0x7f7fffffu, 0xbf800000u};
            memcpy(f->byte + end + 4 * below((f->n - end) / 4), &special[below(7)], 4);
        }
        break;
    default:
        change_value(f);
        break;
    }
}

/* ---- what reads them ---- */

static float images[512 * SIDE];
static int labels[512];
static long taken, refused, trained;

static void step_on(struct cvy_run *r, int n, const struct cvy_progress *p)
{
    struct cvy_step step = {.lr = 0.01f, .hyper = {p->hyper[CVY_MOMENTUM]}, .seed = p->seed, .step = (uint64_t)p->step};
    const struct cvy_batch batch = {images, labels, NULL, n};
    fake_model.forward(r->net, &batch, &step, NULL);
    fake_model.backward(r->net, &batch, &step);
    trained++;
}

static void count(int ok)
{
    *(ok ? &taken : &refused) += 1;
}

static void read_weights(void)
{
    struct cvy_run r;
    struct cvy_progress p = {.seed = 1};
    if (!cvy_run_open(&r, &fake_model, BATCH, 1, 0))
        return;
    int ok = 0;
    switch (below(4)) {
    case 0:
        ok = cvy_load_weights(&r, "w", CVY_CHECKED);
        break;
    case 1:
        ok = cvy_load_weights(&r, "w", CVY_FORCED);
        break;
    case 2:
        ok = cvy_load_partial(&r, "w", (int)below(2));
        break;
    case 3:
        ok = cvy_may_save(&fake_model, "w", below(2), 1, below(2));
        break;
    }
    count(ok);
    if (ok)
        step_on(&r, BATCH, &p);
    cvy_run_close(&r);
}

static int program(const char *words)
{
    char line[256], *argv[24] = {(char *)"fake"};
    int argc = 1;
    snprintf(line, sizeof line, "%s", words);
    for (char *w = strtok(line, " "); w && argc < 23; w = strtok(NULL, " "))
        argv[argc++] = w;
    argv[argc] = NULL;
    return cvy_main(argc, argv, &fake_model, &fake_bench, &fake_tracer);
}

#define RESUME "train --resume --save w --no-eval --quiet --threads 1 --epochs 2 --limit 12"

static void resume(void)
{
    struct cvy_resume old;
    struct cvy_kept average = {0};
    struct cvy_run r;
    const int force = (int)below(2);
    int ok = cvy_resume_open(&old, &fake_model, "w", force);
    if (ok && cvy_run_open(&r, &fake_model, old.p.batch, 1, 0)) {
        ok = cvy_resume_best(&r, &old, "w", &old.p) && cvy_resume_load(&r, &old, &average);
        if (ok)
            step_on(&r, old.p.batch, &old.p);
        cvy_run_close(&r);
    }
    cvy_resume_close(&old);
    cvy_kept_free(&average);
    count(ok);
    if (ok && below(4) == 0)
        program(force ? RESUME " --force" : RESUME);
    if (below(8) == 0 && cvy_run_open(&r, &fake_model, BATCH, 1, 0)) {
        int64_t step;
        cvy_load_state(&r, "w.state.safetensors", &step);
        cvy_run_close(&r);
    }
}

/* A log with anything at its end: whole lines stay as they are. */
static void resume_log(void)
{
    struct file f = log_file, after;
    const size_t more = below(200);
    for (size_t i = 0; i < more; i++)
        f.byte[f.n++] = (unsigned char)(below(30) ? draw() : '\n');
    size_t whole = f.n;
    while (whole > 0 && f.byte[whole - 1] != '\n')
        whole--;
    spit("l", &f);
    const int ok = program(RESUME " --log l") == 0;
    count(ok);
    slurp("l", &after);
    must(after.n >= whole && memcmp(f.byte, after.byte, whole) == 0 &&
             (!ok || memcmp(after.byte + whole, "{\"event\":", 9) == 0),
         "a log's whole lines were changed");
}

static void one(void)
{
    struct file w = weights, s = state;
    const size_t kind = below(64);
    struct file *f = kind < 24 ? &w : &s;
    for (size_t n = 1 + below(3); n > 0; n--)
        mutate(f);
    spit("w", &w);
    spit("w.state.safetensors", &s);
    unlink("w.state.safetensors.tmp.999999999.0");
    unlink("w.tmp.999999999.0");
    if (kind == 63) {
        spit("w", &weights);
        spit("w.state.safetensors", &state);
        resume_log();
    } else if (kind > 56) { /* what a kill leaves */
        spit(kind & 1 ? "w.state.safetensors.tmp.999999999.0" : "w.tmp.999999999.0", kind & 1 ? &state : &weights);
        resume();
    } else if (kind < 20) {
        read_weights();
    } else {
        resume();
    }
}

int main(int argc, char **argv)
{
    uint64_t many = 20000, from = 0;
    char folder[] = "/dev/shm/convoy-fuzz-XXXXXX", elsewhere[] = "/tmp/convoy-fuzz-XXXXXX";
    struct stat st;
    if ((argc > 1 && !cvy_parse_u64(argv[1], 1, 1000000000, &many)) ||
        (argc > 2 && !cvy_parse_u64(argv[2], 0, 1000000000, &from))) {
        fprintf(stderr, "usage: fuzz_checkpoints [COUNT [FROM [loud]]]\n");
        return 2;
    }
    report = fcntl(2, F_DUPFD, 100);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_death);
    else
        signal(SIGSEGV, on_signal);
    const char *to = stat("/dev/shm", &st) == 0 && mkdtemp(folder) ? folder : mkdtemp(elsewhere);
    must(to && chdir(to) == 0, "no folder");
    must(argc > 3 || freopen("/dev/null", "w", stderr) != NULL, "/dev/null"); /* the runtime's messages */

    fake_model.train.batch = BATCH;
    for (int i = 0; i < 512 * SIDE; i++)
        images[i] = (float)(i % 7) - 3.0f;
    must(program("train --data shapes --train-images 40 --test-images 10 --epochs 2 --limit 7 --save w --log l --quiet "
                 "--threads 1") == 0,
         "no checkpoint");
    slurp("w", &weights);
    slurp("w.state.safetensors", &state);
    slurp("l", &log_file);
    for (uint64_t i = from; i < from + many; i++) {
        input = (long)i;
        state_of_draws = i * 0xD1342543DE82EF95u + 1;
        one();
    }
    cvy_out_clean("w");
    cvy_out_clean("w.state.safetensors");
    unlink("w");
    unlink("w.state.safetensors");
    unlink("l");
    must(chdir("/") == 0 && rmdir(to) == 0, "something was left in the folder");
    printf("%" PRIu64
           " damaged checkpoints, states and logs: %ld taken (%ld steps trained), %ld refused; 1 passed, 0 failed\n",
           many, taken, trained, refused);
    return taken > 0 && refused > 0 ? 0 : 1;
}
