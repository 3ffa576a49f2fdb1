/* campaign.c - random chains and graphs, and chosen ones, emitted, compiled, run, and compared with the reference
 * interpreter. Prints its seed and counts; makes a failing random spec smaller until nothing more can go. `campaign
 * --help` says the rest. */
#include "graph.h"
#include "judge.h"
#include "randspec.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_JOBS = 16, MOST_TRIES = 160 };

/* A compiler, its flags, and a built folder of its own whose runtime's objects the cases take. */
typedef struct Compiler {
    const char *cc, *cflags, *objects;
} Compiler;

enum { MOST_COMPILERS = 10 };

typedef struct Options {
    const char *self; /* this program */
    const char *only;
    Compiler compiler[MOST_COMPILERS]; /* the cases take them in turn */
    int compilers;
    const char *convoy, *keep, *target, *purpose, *spec, *what, *work;
    int count, jobs, n, tries;
    bool first, brief;
    Fill fill;
    uint64_t seed;
} Options;

typedef struct Count {
    int passed, failed, noisy, exact;
    int64_t nan;
    int64_t tensors, flips;
    double kept, expected, variance, fold, ratio;
    char worst[128];
} Count;

static bool for_reading(const Options *o)
{
    return o->purpose && strcmp(o->purpose, "reading") == 0;
}

static void usage(FILE *to)
{
    fputs("usage: campaign [options] [random|graphs|specs|exact|matrix|all]\n"
          "\n"
          "  random  (default) random chains against the reference interpreter\n"
          "  graphs  random graphs: residual blocks, concats, groups in groups\n"
          "  specs   random chains and graphs through the front end alone\n"
          "  exact   chosen ones: integers, constant channels, mean/sd = 1e4, short batches, arrangements of blocks\n"
          "  matrix  chosen ones (six, or --count) by compilers, optimisation, sanitizers, OpenMP and targets\n"
          "\n"
          "  --convoy PATH     the generator to test (default: convoy)\n"
          "  --count N         random chains, or graphs (default: 40)\n"
          "  --seed S          of the first; the others follow it (default: 1)\n"
          "  --jobs N          at a time (default: 2)\n"
          "  --cc \"CC FLAGS\"   the compiler for emitted code (default: one of five cases, with --short of ten, with "
          "gcc "
          "-O1, the others with clang -O0)\n"
          "  --target T        native, avx512, avx2, portable (default: native; for reading: portable)\n"
          "  --for F           what the code is emitted for: speed, size, reading (default: speed)\n"
          "  --tries N         at making a failing one smaller (default: 160)\n"
          "  --only TEXT       of exact and matrix, those whose name holds TEXT\n"
          "  --first           end at the first failure\n"
          "  --short           of exact, those that no other one stands for\n"
          "  --keep DIR        keep every case's files in DIR; else they go, but for a failure's\n"
          "  --spec FILE       one spec instead of random ones; --n N images, --fill "
          "plain|integer|constant|outlier|nan|offset|far\n"
          "  --print-spec S    print the random chain of a seed and end\n"
          "  --print-graph S   the same of a graph\n",
          to);
}

/* ---- folders ---- */

static void remove_tree(const char *dir)
{
    const char *argv[] = {"rm", "-rf", "--", dir, NULL};
    run_program("/dev/null", NULL, NULL, argv);
}

static void fresh(const char *dir)
{
    remove_tree(dir);
    if (mkdir(dir, 0777) != 0) {
        fprintf(stderr, "campaign: %s: %s\n", dir, strerror(errno));
        exit(2);
    }
}

/* ---- cases, each in a process of its own ---- */

typedef struct Slot {
    pid_t pid;
    int from, index;
} Slot;

/* Starts judging; the verdict comes through a pipe. */
static Slot start(const Case *c, int index)
{
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0) {
        perror("campaign: pipe");
        exit(2);
    }
    pid_t pid = fork();
    if (pid < 0) {
        perror("campaign: fork");
        exit(2);
    }
    if (pid == 0) {
        close(ends[0]);
        Verdict v = judge(c);
        fflush(stdout);
        _exit(write(ends[1], &v, sizeof v) == (ssize_t)sizeof v ? 0 : 1);
    }
    close(ends[1]);
    return (Slot){pid, ends[0], index};
}

static Verdict finish(Slot *s)
{
    Verdict v;
    char *to = (char *)&v;
    size_t got = 0;
    ssize_t n;
    while (got < sizeof v && ((n = read(s->from, to + got, sizeof v - got)) > 0 || (n < 0 && errno == EINTR)))
        got += n > 0 ? (size_t)n : 0;
    close(s->from);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
    if (got != sizeof v)
        v = (Verdict){.outcome = CASE_CRASHED, .what = "the test itself crashed on it"};
    return v;
}

/* ---- reports ---- */

static void count(Count *k, const Verdict *v)
{
    if (v->outcome == CASE_PASSED)
        k->passed++;
    else
        k->failed++;
    k->noisy += v->noisy;
    k->exact += v->exact;
    k->nan += v->nan;
    k->tensors += v->tensors;
    k->flips += v->flips;
    k->kept += v->kept;
    k->expected += v->expected;
    k->variance += v->variance;
    k->fold = fmax(k->fold, v->fold);
    if (v->ratio > k->ratio && v->outcome == CASE_PASSED) {
        k->ratio = v->ratio;
        memcpy(k->worst, v->worst, sizeof k->worst);
    }
}

/* The counts; false where something failed. Dropout's rates are judged where every case has masks of its own. */
static bool report(const char *what, Count *k, bool masks)
{
    bool drops = k->variance == 0 || !masks || fabs(k->kept - k->expected) <= 5 * sqrt(k->variance);
    printf("%s: %" PRId64 " tensors compared, %d of them exactly; %" PRId64
           " numbers NaN, as in the reference; nearest to its tolerance: %s\n",
           what, k->tensors, k->exact, k->nan, k->worst[0] ? k->worst : "none");
    printf("%s: %" PRId64
           " decisions at kinks taken from the float run; %d tensors beyond the tolerance within float32's own noise; "
           "folded inference within %.2g\n",
           what, k->flips, k->noisy, k->fold);
    if (k->variance > 0)
        printf("%s: dropout kept %.0f of an expected %.0f (%.1f sigma)%s\n", what, k->kept, k->expected,
               (k->kept - k->expected) / sqrt(k->variance), drops ? "" : ": FAILED");
    if (!drops)
        k->failed++;
    printf("%s: %d passed, %d failed\n", what, k->passed, k->failed);
    fflush(stdout);
    return k->failed == 0;
}

static void print_file(const char *path)
{
    char line[512];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        printf("    %s", line);
    if (f)
        fclose(f);
}

/* What people read of a case: its name, and the command that runs it alone. */
typedef struct Label {
    char *name, *repeat;
} Label;

static Label label_of(const Options *o, const char *part, uint64_t seed, char *name)
{
    const char *purpose = o->purpose ? xprintf(" --for %s", o->purpose) : "";
    const char *which = name ? xprintf("--only '%s'", name) : xprintf("--seed %" PRIu64 " --count 1", seed);
    return (Label){name ? name : xprintf("seed %" PRIu64, seed),
                   xprintf("%s --convoy %s%s %s %s", o->self, o->convoy, purpose, part, which)};
}

static void say(Label label, const Case *c, const Verdict *v)
{
    printf("FAILED %s (%s): %s\n", label.name, outcome_name[v->outcome], v->what);
    printf("  repeat: %s\n", label.repeat);
    printf("  n %d, numbers' seed %" PRIu64 ", target %s, %s %s; files: %s\n", c->n, c->seed, c->target, c->cc,
           c->cflags, c->dir);
    print_file(c->spec);
    fflush(stdout);
}

/* Judges cases, `jobs` at a time, each as soon as there is room; says what failed in their own order. label[i] names
 * them. With --first, none is begun after a failure. */
static Count all_cases(const Options *o, const Case *c, const Label *label, int n, Verdict *v)
{
    Slot slot[MOST_JOBS] = {{0}};
    struct pollfd wait[MOST_JOBS];
    Count k = {0};
    bool *done = calloc((size_t)n + 1, sizeof *done);
    if (!done) {
        fprintf(stderr, "campaign: out of memory\n");
        exit(2);
    }
    for (int next = 0, said = 0; said < n && !(o->first && k.failed);) {
        for (int j = 0; j < o->jobs; j++) {
            if (!slot[j].pid && next < n) {
                slot[j] = start(&c[next], next);
                next++;
            }
            wait[j] = (struct pollfd){.fd = slot[j].pid ? slot[j].from : -1, .events = POLLIN};
        }
        if (poll(wait, (nfds_t)o->jobs, -1) < 0 && errno != EINTR)
            break;
        for (int j = 0; j < o->jobs; j++)
            if (slot[j].pid && wait[j].revents) {
                v[slot[j].index] = finish(&slot[j]);
                done[slot[j].index] = true;
            }
        for (; said < n && done[said]; said++) {
            count(&k, &v[said]);
            if (v[said].outcome != CASE_PASSED)
                say(label[said], &c[said], &v[said]);
            else if (!o->keep)
                remove_tree(c[said].dir);
        }
    }
    for (int j = 0; j < o->jobs; j++)
        if (slot[j].pid)
            finish(&slot[j]);
    free(done);
    return k;
}

/* ---- random chains ---- */

/* A case without numbers. Its own number chooses the compiler, and whether it runs with several threads, too. */
static Case plain_case(const Options *o, uint64_t number, const char *dir)
{
    const Compiler *compiler = &o->compiler[number % (uint64_t)o->compilers];
    return (Case){.dir = dir,
                  .convoy = o->convoy,
                  .target = o->target,
                  .purpose = o->purpose,
                  .cc = compiler->cc,
                  .cflags = compiler->cflags,
                  .objects = compiler->objects,
                  .threads = number % 5 < 2,
                  .spec = xprintf("%s/spec.yaml", dir)};
}

/* The built folder of a tiny net, whose runtime the others take; NULL where it cannot be built, which the cases will
 * say. */
static const char *shared_objects(const Options *o, const Case *like)
{
    static int number;
    const char *kept = getenv("CONVOY_RUNTIMES"), *dir = kept && *kept ? kept : xprintf("%s/runtimes", o->work);
    const char *log = xprintf("%s/runtime_%d", o->work, number++);
    const char *argv[] = {"sh",
                          BUILT_RUNTIME,
                          like->convoy,
                          dir,
                          like->target,
                          like->purpose ? like->purpose : "",
                          xprintf("CC=%s", like->cc),
                          xprintf("CFLAGS=%s", like->cflags),
                          like->env,
                          NULL};
    char path[PATH_MAX] = "";
    FILE *f = run_program(log, NULL, NULL, argv) == 0 ? fopen(log, "r") : NULL;
    bool read = f && fgets(path, sizeof path, f);
    path[strcspn(path, "\n")] = 0;
    if (f)
        fclose(f);
    return read ? realpath(path, NULL) : NULL;
}

/* Builds the runtime for each compiler. */
static void share_objects(Options *o)
{
    for (int i = 0; i < o->compilers; i++) {
        Compiler *mine = &o->compiler[i];
        for (int k = 0; k < i && !mine->objects; k++)
            if (strcmp(mine->cc, o->compiler[k].cc) == 0 && strcmp(mine->cflags, o->compiler[k].cflags) == 0)
                mine->objects = o->compiler[k].objects;
        if (!mine->objects) {
            Case like = plain_case(o, (uint64_t)i, o->work);
            mine->objects = shared_objects(o, &like);
        }
    }
}

/* Integers must come out exactly, constant channels without noise, and NaN where it belongs: not by Winograd. Else in
 * turn. */
static const char *winograd_for(Fill fill, uint64_t number)
{
    static const char *const use[] = {"on", "auto", "off"};
    return fill == FILL_PLAIN ? use[number % 3] : "off";
}

/* Whether a conv of kernel 1 and a norm stand in front of all else: where the fill is an offset, and the norm sees more
 * than one pixel. */
static bool begins_with_norm(const RandSpec *s, Fill fill)
{
    return fill == FILL_OFFSET && s->input[1] * s->input[2] > 1;
}

static void print_case(const RandSpec *s, const Case *c, uint64_t seed, FILE *f)
{
    char *text = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);

    if (!memory)
        return;
    rs_print(s, memory);
    if (fclose(memory) != 0 || !text)
        return;
    char *layers = strstr(text, "\nlayers:\n");
    const int head = layers ? (int)(layers - text) + (int)strlen("\nlayers:\n") : 0;
    fprintf(f, "%.*s", head, text);
    if (begins_with_norm(s, c->fill))
        fprintf(f, "  - conv: {name: offset, out: %d, kernel: 1, order: conv-bn}\n", s->input[0]);
    fprintf(f, "%swinograd: %s\n", text + head, winograd_for(c->fill, seed / 6));
    free(text);
}

static Case random_case(const Options *o, const char *dir, const RandSpec *s, uint64_t seed)
{
    static const Fill fills[] = {FILL_PLAIN, FILL_PLAIN, FILL_PLAIN, FILL_INTEGER, FILL_PLAIN, FILL_INTEGER};
    Case c = plain_case(o, seed, dir);
    c.seed = seed;
    c.n = s->n;
    c.batch = s->batch;
    c.n_predict = s->n_predict;
    c.fill = seed % 24 == 20  ? FILL_OUTLIER
             : seed % 24 == 8 ? FILL_OFFSET
             : seed % 12 == 2 ? FILL_NAN
                              : fills[seed % 6];
    c.again = seed % 4 == 0;
    fresh(dir);
    FILE *f = fopen(c.spec, "w");
    if (f)
        print_case(s, &c, seed, f);
    if (!f || ferror(f) || fclose(f) != 0) {
        fprintf(stderr, "campaign: %s: %s\n", c.spec, strerror(errno));
        exit(2);
    }
    return c;
}

/* A kind of random specs. */
typedef struct Kind {
    const char *name;
    RandSpec (*make)(uint64_t seed);
} Kind;
static const Kind chains = {"random", rs_random}, graphs = {"graphs", rs_graph};

/* Makes a failing spec smaller while it fails in the same way. */
static void shrink(const Options *o, const Kind *kind, uint64_t seed, Verdict v)
{
    char *dir = xprintf("%s/small_%s_%" PRIu64, o->work, kind->name, seed);
    char *best = xprintf("%s/smallest_%s_%" PRIu64, o->work, kind->name, seed);
    RandSpec s = kind->make(seed);
    Shape end;
    int tries = 0;
    bool any = true;
    for (int move = 0; any && tries < o->tries;) {
        RandSpec t = rs_shrink(&s, move++, &any);
        if (!any || memcmp(&t, &s, sizeof s) == 0 || !rs_valid(&t, &end))
            continue;
        Case c = random_case(o, dir, &t, seed);
        Slot slot = start(&c, 0);
        Verdict w = finish(&slot);
        tries++;
        if (w.outcome == v.outcome) {
            s = t;
            v = w;
            move = 0;
        }
    }
    remove_tree(dir);
    Case c = random_case(o, best, &s, seed);
    Slot slot = start(&c, 0);
    v = finish(&slot);
    printf("smallest after %d tries:\n", tries);
    say(label_of(o, kind->name, seed, NULL), &c, &v);
    printf("  worst: %s\n", v.worst);
}

static bool random_specs(const Options *o, const Kind *kind)
{
    Case *c = calloc((size_t)o->count, sizeof *c);
    Verdict *v = calloc((size_t)o->count, sizeof *v);
    Label *label = calloc((size_t)o->count, sizeof *label);
    if (!c || !v || !label)
        return false;
    printf("%s: seeds %" PRIu64 " to %" PRIu64 ", target %s\n", kind->name, o->seed, o->seed + (uint64_t)o->count - 1,
           o->target);
    for (int i = 0; i < o->count; i++) {
        uint64_t seed = o->seed + (uint64_t)i;
        RandSpec s = kind->make(seed);
        c[i] = random_case(o, xprintf("%s/%s_%" PRIu64, o->work, kind->name, seed), &s, seed);
        label[i] = label_of(o, kind->name, seed, NULL);
    }
    Count k = all_cases(o, c, label, o->count, v);
    for (int i = 0, shown = 0; i < o->count && shown < 3 && o->tries > 0; i++)
        if (v[i].outcome != CASE_PASSED) {
            shown++;
            shrink(o, kind, o->seed + (uint64_t)i, v[i]);
        }
    return report(kind->name, &k, true);
}

static bool random_chains(const Options *o)
{
    return random_specs(o, &chains);
}

static bool random_graphs(const Options *o)
{
    return random_specs(o, &graphs);
}

/* ---- chosen chains and graphs ---- */

typedef struct Chosen {
    const char *name;
    Fill fill;
    int n;
    const char *yaml;
} Chosen;

#define HEAD(shape, classes) "name: chain\ninput: " shape "\nclasses: " classes "\nlayers:\n"
#define TAIL "train: {data: shapes, batch: 6}\n"
/* Two residual blocks that keep the shape, and two of which the first has a stride and more channels. */
#define BLOCKS(keys)                                                                                                   \
    "  - conv: 8\n  - stage: {repeat: 2, out: 8, " keys "}\n  - stage: {repeat: 2, out: 18, stride: 2, " keys "}\n"
#define ENDING "  - global_avg_pool\n  - linear: classes\n" TAIL

static const Chosen exact[] = {
    {"integers through conv, relu, max-pool and linear", FILL_INTEGER, 5,
     HEAD("[3, 11, 9]",
          "7") "  - conv: {out: 20, order: conv-relu}\n  - conv: {out: 17, stride: 2, order: conv-maxpool(2)-relu}\n"
               "  - flatten\n  - linear: 19\n  - relu\n  - linear: classes\n" TAIL},
    {"integers through odd windows", FILL_INTEGER, 3,
     HEAD("[2, 13, 8]", "4") "  - conv: {out: 5, kernel: [2, 4], stride: [1, 3], padding: [1, 0], order: conv}\n"
                             "  - maxpool: {k: [3, 2], stride: [2, 1], padding: [1, 0]}\n  - conv: {out: 33, kernel: "
                             "1, stride: 2, order: relu-conv}\n"
                             "  - flatten\n  - linear: classes\n" TAIL},
    {"integers from 16 channels and more", FILL_INTEGER, 2,
     HEAD("[35, 6, 6]", "3") "  - conv: {out: 32, order: conv-relu}\n  - conv: {out: 16, kernel: 5, order: conv}\n"
                             "  - flatten\n  - linear: classes\n" TAIL},
    {"constant channels, conv-bn-relu", FILL_CONSTANT, 4,
     HEAD("[3, 7, 7]", "5") "  - conv: {out: 18, padding: 0, order: conv-bn-relu}\n  - conv: {out: 9, padding: 0, "
                            "order: conv-bn-relu}\n"
                            "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"constant channels, conv-relu-bn", FILL_CONSTANT, 4,
     HEAD("[3, 7, 7]", "5") "  - conv: {out: 18, padding: 0, order: conv-relu-bn}\n  - conv: {out: 9, padding: 0, "
                            "order: conv-relu-bn}\n"
                            "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"constant channels, a norm on the input", FILL_CONSTANT, 3,
     HEAD("[4, 5, 6]", "3") "  - bn\n  - conv: {out: 8, order: conv-bn-relu}\n  - global_avg_pool\n  - linear: "
                            "classes\n  - bn\n" TAIL},
    {"mean/sd = 1e4, conv-bn-relu", FILL_FAR, 6,
     HEAD("[2, 8, 8]",
          "4") "  - conv: {out: 17, kernel: 1, order: conv-bn-relu}\n  - conv: {out: 8, order: conv-bn-relu}\n"
               "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"mean/sd = 1e4, conv-relu-bn", FILL_FAR, 6,
     HEAD("[2, 8, 8]",
          "4") "  - conv: {out: 17, kernel: 1, order: conv-relu-bn}\n  - conv: {out: 8, order: conv-relu-bn}\n"
               "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"mean/sd = 1e4, 3x3 without padding, pooled before the norm", FILL_FAR, 6,
     HEAD("[1, 9, 8]", "4") "  - conv: {out: 3, padding: 0, order: conv-maxpool(2)-bn-relu}\n  - flatten\n  - linear: "
                            "classes\n" TAIL},
    {"mean/sd = 1e4, a norm on the input", FILL_FAR, 6,
     HEAD("[3, 5, 7]", "4") "  - bn\n  - conv: {out: 8, order: conv-relu-bn}\n  - flatten\n  - linear: classes\n" TAIL},
    {"constant channels, norms of images", FILL_CONSTANT, 4,
     HEAD("[3, 6, 6]", "4") "  - gn(3)\n  - conv: {out: 17, kernel: 1, order: in-conv-in-relu}\n  - conv: {out: 8, "
                            "order: conv-relu-gn(2)}\n"
                            "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"outliers, 3x3", FILL_OUTLIER, 3,
     HEAD("[2, 96, 40]", "3") "  - conv: {out: 3, order: conv-bn-relu, padding: 0}\n  - maxpool: 4\n" ENDING},
    {"outliers, a norm on the input", FILL_OUTLIER, 5, HEAD("[2, 96, 40]", "3") "  - bn\n  - maxpool: 4\n" ENDING},
    {"outliers, norms of images", FILL_OUTLIER, 4,
     HEAD("[2, 96, 40]", "3") "  - conv: {out: 4, kernel: 1, order: conv-in-relu}\n  - maxpool: 4\n" ENDING},
    {"outliers, a norm of groups", FILL_OUTLIER, 4,
     HEAD("[2, 96, 40]", "3") "  - conv: {out: 4, kernel: 1, order: conv-gn(2)-relu}\n  - maxpool: 4\n" ENDING},
    {"mean/sd = 1e4, norms of images", FILL_FAR, 4,
     HEAD("[2, 8, 8]",
          "4") "  - conv: {out: 17, kernel: 1, order: conv-in-relu}\n  - conv: {out: 8, order: conv-relu-ln}\n"
               "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"norms of images: in a row, several of a tensor, of joins, across blocks of 16, one image of six", FILL_PLAIN, 1,
     HEAD(
         "[3, 7, 6]",
         "4") "  - ln\n  - in\n  - conv: {out: 36, order: conv-gn(3)-relu-gn(2)}\n"
              "  - stage: {concat: [[bn], [gn(4)], [conv: {out: 4, order: in-conv-gelu}], [in]], post: "
              "\"gn(7)-act-maxpool(2)\"}\n"
              "  - stage: {repeat: 2, out: 18, norm: gn(6), residual: [conv, conv: {order: conv-norm}], post: ln-act}\n"
              "  - flatten\n  - linear: {out: 20, order: linear-ln-silu-gn(2)}\n  - linear: classes\n  - ln\n" TAIL},
    {"a short last batch: one image of six", FILL_PLAIN, 1,
     HEAD("[3, 8, 8]",
          "4") "  - conv: {out: 20, order: conv-bn-relu}\n  - conv: {out: 8, stride: 2, order: conv-relu-bn}\n"
               "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"norms of images before and behind convs by Winograd", FILL_PLAIN, 5,
     HEAD("[3, 8, 8]", "4") "  - conv: {out: 8, order: conv-gn(4)-act-bn}\n  - conv: {out: 16, order: in-act-conv-bn}\n"
                            "  - conv: {out: 16, order: conv-bn-act-ln}\n" ENDING},
    {"a short last batch: two of six, hidden linears with norms", FILL_PLAIN, 2,
     HEAD("[3, 6, 6]",
          "4") "  - conv: {out: 20, order: bn-conv-relu}\n  - flatten\n  - linear: {out: 24, order: linear-bn-relu}\n"
               "  - linear: {out: 11, order: linear-relu-bn}\n  - linear: classes\n  - bn\n" TAIL},
    {"two norms in a block, silu before one", FILL_PLAIN, 6,
     HEAD("[3, 7, 9]", "5") "  - bn\n  - conv: {out: 18, order: conv-bn-silu-bn}\n  - conv: {out: 9, order: "
                            "bn-conv-silu-bn-drop(0.3)}\n"
                            "  - global_avg_pool\n  - linear: classes\n  - bn\n" TAIL},
    {"pool and dropout before the norm", FILL_PLAIN, 6,
     HEAD("[2, 10, 10]",
          "5") "  - conv: {out: 18, order: conv-maxpool(2)-bn-tanh}\n  - conv: {out: 9, order: drop(0.1)-bn-conv-act}\n"
               "  - conv: {out: 7, order: conv-avgpool(2)-bn-leaky_relu}\n  - flatten\n  - linear: classes\n" TAIL},
    /* graphs: the five arrangements of He et al. 2016, with their projections, and the others */
    {"residual, original", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: conv-bn-act, post: act, residual: [conv, conv: {order: conv-bn}]") ENDING},
    {"residual, norm after addition", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: conv-bn-act, post: bn-act, residual: [conv, conv: {order: conv}]") ENDING},
    {"residual, relu before addition", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: conv-bn-act, residual: [conv, conv]") ENDING},
    {"residual, relu-only pre-activation", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: act-conv-bn, residual: [conv, conv]") ENDING},
    {"residual, full pre-activation", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: bn-act-conv, residual: [conv, conv]") "  - bn\n  - act\n" ENDING},
    {"residual, full pre-activation, projections of the activated tensor", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5")
         BLOCKS("order: conv-bn-act, pre: bn-act, residual: [conv, conv: {order: conv}], shortcut: conv, "
                "shortcut_from: pre") "  - bn\n  - act\n" ENDING},
    {"residual, option A from 16 to 32: eight channels of zeros on either side", FILL_PLAIN, 4,
     HEAD("[3, 9, 8]", "4") "  - conv: 16\n  - stage: {repeat: 2, out: 32, stride: 2, shortcut: pad, post: act, "
                            "residual: [conv, conv: {order: conv-bn}]}\n" ENDING},
    {"residual, option A with odd differences, option C, gammas of zero", FILL_PLAIN, 4,
     HEAD("[5, 8, 9]",
          "4") "  - stage: {out: 10, stride: [1, 2], shortcut: pad, residual: [conv]}\n"
               "  - stage: {out: 17, stride: [2, 1], shortcut: pad, zero_gamma: true, residual: [conv, conv: "
               "{order: conv-bn}]}\n"
               "  - stage: {out: 17, repeat: 2, shortcut: {always: true, order: conv-bn}, residual: [conv]}\n" ENDING},
    {"residual, integers through pads and sums", FILL_INTEGER, 4,
     HEAD("[3, 8, 8]",
          "4") "  - conv: {out: 16, order: conv-relu}\n"
               "  - stage: {out: 21, kernel: 1, stride: 2, shortcut: pad, order: conv-relu, post: relu, residual: "
               "[conv, conv: {order: conv}]}\n"
               "  - flatten\n  - linear: classes\n" TAIL},
    {"a join's operands are pooled, and what follows pools", FILL_PLAIN, 5,
     HEAD("[4, 9, 9]",
          "4") "  - stage: {stride: 2, post: \"maxpool(2)\", residual: [conv: {out: 9, stride: 1}, maxpool: {k: 3, "
               "stride: 2, padding: 1}]}\n"
               "  - stage: {concat: [[avgpool: {k: 3, stride: 1, padding: 1}], [maxpool: {k: 3, stride: 1, padding: "
               "1}]], post: \"bn-avgpool(2)\"}\n" ENDING},
    {"DenseNet, growth of 12 from 16", FILL_PLAIN, 4,
     HEAD("[3, 8, 8]",
          "5") "  - conv: {out: 16, order: conv}\n"
               "  - stage: {repeat: 3, order: bn-act-conv, concat: [[], [conv: 12]], transition: [conv: {kernel: 1, "
               "out: 26}, avgpool(2)]}\n"
               "  - bn\n  - act\n" ENDING},
    {"DenseNet, odd channels and bottlenecks", FILL_PLAIN, 4,
     HEAD("[3, 7, 6]",
          "5") "  - stage: {repeat: 4, order: bn-act-conv, concat: [[], [conv: {kernel: 1, out: 7}, conv: 5]], "
               "post: drop(0.2)}\n"
               "  - bn\n  - act\n" ENDING},
    {"Inception, with a pooled branch", FILL_PLAIN, 4,
     HEAD("[5, 8, 8]",
          "5") "  - stage: {concat: [[conv: {kernel: 1, out: 16}], [conv: {kernel: 1, out: 7}, conv: 13], [conv: "
               "{kernel: 1, out: 3}, conv: {kernel: 5, out: 8}], [maxpool: {k: 3, stride: 1, padding: 1}, conv: "
               "{kernel: 1, out: 9}]]}\n"
               "  - stage: {stride: 2, concat: [[conv: 12], [conv: {out: 5, kernel: [1, 3]}, conv: {out: 5, kernel: "
               "[3, 1]}]]}\n" ENDING},
    {"integers through concats of concats, the input among them", FILL_INTEGER, 4,
     HEAD("[3, 6, 7]", "4") "  - stage: {order: conv-relu, concat: [[], [conv: 5], [stage: {concat: [[conv: 17], [], "
                            "[maxpool: {k: 3, stride: 1, padding: 1}]]}], []]}\n"
                            "  - stage: {order: conv, kernel: 1, concat: [[conv: 16], [relu, conv: 1]]}\n"
                            "  - flatten\n  - linear: classes\n" TAIL},
    {"x + x, and the same tensor three times over", FILL_PLAIN, 4,
     HEAD("[3, 6, 7]", "4") "  - conv: 9\n  - stage: {residual: [stage: {residual: [drop(0)]}]}\n"
                            "  - stage: {concat: [[], [], []], post: bn}\n"
                            "  - stage: {residual: [maxpool: {k: 1, stride: 1}]}\n" ENDING},
    {"max-pools whose windows are one element", FILL_PLAIN, 5,
     HEAD("[3, 6, 7]",
          "4") "  - conv: 9\n  - stage: {residual: [maxpool: {k: 1, stride: 1}]}\n  - maxpool: {k: 1, stride: 2}\n"
               "  - conv: {out: 8, order: \"maxpool(1,1)-conv-maxpool(1,2)-bn-relu\"}\n" ENDING},
    {"two norms on one tensor, and a third reader", FILL_PLAIN, 4,
     HEAD("[3, 7, 7]",
          "4") "  - conv: {out: 11, order: conv}\n"
               "  - stage: {concat: [[bn, act], [bn: {eps: 1e-3}, tanh], [conv: 5]]}\n"
               "  - stage: {residual: [bn, conv: {out: 27, order: bn-act-conv}], shortcut: {always: true, order: "
               "bn-conv}}\n" ENDING},
    {"segments that are run again for backward", FILL_PLAIN, 4,
     "name: chain\ninput: [3, 8, 8]\nclasses: 4\nrecompute: 2\nlayers:\n"
     "  - conv: {out: 16, order: conv-bn-drop(0.2)-act}\n  - conv: {out: 16, order: \"conv-maxpool(2,1)-bn-act\"}\n"
     "  - stage: {name: s1, repeat: 4, out: 16, recompute: 2, shortcut: conv, order: bn-act-conv, residual: [conv, "
     "conv]}\n"
     "  - stage: {name: s2, repeat: 3, out: 32, stride: 2, shortcut: pad, residual: [conv, conv: {order: conv-bn}], "
     "post: act}\n"
     "  - stage: {name: d1, repeat: 3, order: bn-act-conv, recompute: 3, concat: [[], [conv: 5]]}\n"
     "  - conv: 16\n  - conv: 16\n  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"depthwise and pointwise", FILL_PLAIN, 4,
     HEAD("[3, 9, 8]",
          "4") "  - conv: 17\n  - conv: {groups: depthwise}\n  - conv: {kernel: 1, out: 33}\n"
               "  - conv: {groups: depthwise, out: 66, stride: 2, kernel: 5}\n"
               "  - stage: {residual: [conv: {kernel: 1, out: 20}, conv: {groups: depthwise, dilation: 2, padding: "
               "2}, conv: {kernel: 1, out: 66, order: conv-bn}], post: act}\n" ENDING},
    {"integers through grouped, depthwise and dilated convs", FILL_INTEGER, 4,
     HEAD("[6, 9, 9]", "4") "  - conv: {out: 9, groups: 3, order: conv-relu}\n"
                            "  - conv: {groups: depthwise, dilation: [2, 1], order: conv-relu}\n"
                            "  - conv: {out: 36, groups: 9, stride: 2, dilation: 2, order: conv}\n"
                            "  - flatten\n  - linear: classes\n" TAIL},
    {"integers through groups of whole blocks of 16, none of them first", FILL_INTEGER, 3,
     HEAD("[2, 7, 6]", "4") "  - conv: {out: 32, kernel: 1, order: conv-relu}\n  - conv: {out: 32, kernel: 1, groups: "
                            "2, order: conv-relu}\n"
                            "  - conv: {out: 64, groups: 2, stride: 2, kernel: 2, padding: 0, order: conv}\n"
                            "  - conv: {out: 64, kernel: [1, 3], padding: [0, 1], groups: 4, order: relu-conv}\n"
                            "  - flatten\n  - linear: classes\n" TAIL},
    {"groups of whole blocks of 16, dilated and by stride, in a residual and in a concat", FILL_PLAIN, 4,
     HEAD("[3, 8, 7]",
          "4") "  - conv: {out: 48, kernel: 1}\n  - conv: {out: 96, groups: 3, kernel: 1}\n"
               "  - stage: {stride: 2, shortcut: conv, residual: [conv: {out: 64, groups: 2, kernel: 5}, conv: {out: "
               "32, groups: 2, order: conv-bn}]}\n"
               "  - stage: {concat: [[], [conv: {out: 32, groups: 2, dilation: 2, padding: 2}]]}\n" ENDING},
    {"one dimension, groups of whole blocks of 16", FILL_INTEGER, 4,
     HEAD("[3, 19]", "4") "  - conv: {out: 32, order: conv-relu}\n  - conv: {out: 64, groups: 2, kernel: 1, stride: 2, "
                          "order: conv}\n"
                          "  - flatten\n  - linear: classes\n" TAIL},
    {"one dimension", FILL_PLAIN, 5,
     HEAD("[3, 29]",
          "4") "  - conv: {out: 17, kernel: 5, stride: 2}\n"
               "  - stage: {repeat: 2, out: 20, shortcut: pad, post: act, residual: [conv, conv: {order: conv-bn, "
               "dilation: 2, padding: 2}]}\n"
               "  - stage: {concat: [[], [conv: {groups: depthwise}], [maxpool: {k: 3, stride: 1, padding: 1}]], "
               "transition: [conv: {kernel: 1, out: 9}, avgpool(2)]}\n" ENDING},
    {"one dimension, integers", FILL_INTEGER, 5,
     HEAD("[5, 23]", "4") "  - conv: {out: 16, order: conv-relu}\n  - maxpool: {k: 3, stride: 2}\n"
                          "  - stage: {out: 19, stride: 2, shortcut: pad, order: conv, residual: [conv]}\n"
                          "  - flatten\n  - linear: classes\n" TAIL},
    {"sums and concats of features", FILL_PLAIN, 5,
     HEAD("[3, 5, 5]", "4") "  - conv: 8\n  - stage: {concat: [[global_avg_pool], [flatten, linear: 7]]}\n"
                            "  - stage: {residual: [linear: {out: 15, order: linear-bn-act}], post: bn-act}\n"
                            "  - stage: {residual: [linear: 21], shortcut: pad}\n  - linear: classes\n" TAIL},
    {"the logits are a sum", FILL_PLAIN, 4,
     HEAD("[3, 5, 5]", "4") "  - global_avg_pool\n  - stage: {residual: [linear: classes], shortcut: conv}\n" TAIL},
};
enum { EXACTS = sizeof exact / sizeof *exact };

/* Not with --short: others have their ops, their orders and their kinds of numbers; the last is the matrix'. */
static const char *const others[] = {"integers from 16 channels and more",
                                     "constant channels, conv-bn-relu",
                                     "constant channels, a norm on the input",
                                     "outliers, norms of images",
                                     "residual, full pre-activation",
                                     "depthwise and pointwise",
                                     "mean/sd = 1e4, conv-relu-bn",
                                     "mean/sd = 1e4, a norm on the input",
                                     "mean/sd = 1e4, norms of images",
                                     "a short last batch: one image of six",
                                     "residual, original",
                                     "residual, norm after addition",
                                     "residual, relu before addition",
                                     "residual, relu-only pre-activation",
                                     "residual, option A from 16 to 32: eight channels of zeros on either side",
                                     "DenseNet, growth of 12 from 16",
                                     "Inception, with a pooled branch",
                                     "integers through groups of whole blocks of 16, none of them first",
                                     "one dimension, groups of whole blocks of 16",
                                     "one dimension, integers",
                                     "pool and dropout before the norm"};

static bool another_has(const char *name)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    return false;
}

static Case chosen_case(const Options *o, const Chosen *w, const char *dir)
{
    Case c = plain_case(o, (uint64_t)(w - exact), dir);
    c.seed = o->seed + 12345;
    c.n = w->n;
    c.batch = 6; /* as the specs say */
    c.n_predict = 7;
    c.fill = w->fill;
    fresh(dir);
    FILE *f = fopen(c.spec, "w");
    if (!f || fputs(w->yaml, f) < 0 ||
        fprintf(f, "winograd: %s\n", winograd_for(w->fill, (uint64_t)(w - exact) % 2 * 2)) < 0 || fclose(f) != 0) {
        fprintf(stderr, "campaign: %s: %s\n", c.spec, strerror(errno));
        exit(2);
    }
    return c;
}

static bool wanted(const Options *o, const char *name)
{
    return !o->only || strstr(name, o->only);
}

static bool chosen(const Options *o)
{
    Case c[EXACTS];
    Label label[EXACTS];
    Verdict v[EXACTS];
    int n = 0;
    for (int i = 0; i < EXACTS; i++) {
        if (!wanted(o, exact[i].name) || (o->brief && another_has(exact[i].name)))
            continue;
        c[n] = chosen_case(o, &exact[i], xprintf("%s/exact_%d", o->work, i));
        c[n].again = i % 3 == 0;
        label[n++] = label_of(o, "exact", 0, xprintf("%s", exact[i].name));
    }
    Count k = all_cases(o, c, label, n, v);
    return report("exact", &k, false);
}

/* ---- compilers and targets ---- */

/* Where one network alone is compiled, each compiler, optimisation, target and setting of OpenMP occurs; not each with
 * each. */
static const struct {
    const char *target, *cc, *cflags, *env;
    bool more; /* only where there are several networks */
} matrix[] = {
    {"native", "gcc", "-O0 -Wall -Wextra -Werror", NULL, true},
    {"native", "gcc", "-O2 -Wall -Wextra -Werror", NULL, false},
    {"native", "clang", "-O0 -Wall -Wextra -Werror", NULL, true},
    {"native", "clang", "-O2 -Wall -Wextra -Werror", NULL, true},
    {"native", "gcc", "-O2 -Wall -Wextra -Werror", "OPENMP=no", true},
    {"native", "clang", "-O2 -Wall -Wextra -Werror", "OPENMP=no", false},
    {"native", "gcc", "-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all", NULL, false},
    {"portable", "gcc", "-O2 -std=c99 -pedantic -Wall -Wextra -Werror", NULL, false},
    {"portable", "clang", "-O2 -std=c99 -pedantic -Wall -Wextra -Werror", NULL, true},
    {"portable", "gcc", "-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all", NULL, true},
};
enum { ROWS = sizeof matrix / sizeof *matrix };

static bool have(const char *cc)
{
    const char *argv[] = {cc, "--version", NULL};
    return run_program("/dev/null", NULL, NULL, argv) == 0;
}

static const Chosen *chosen_named(const char *name)
{
    for (int i = 0; i < EXACTS; i++)
        if (strcmp(exact[i].name, name) == 0)
            return &exact[i];
    BUG("no chosen network is called '%s'", name);
}

static bool compilers(const Options *o)
{
    static const char *const pick[] = {"pool and dropout before the norm",
                                       "a short last batch: two of six, hidden linears with norms",
                                       "residual, option A with odd differences, option C, gammas of zero",
                                       "two norms in a block, silu before one",
                                       "one dimension",
                                       "integers through conv, relu, max-pool and linear"};
    enum { PICKS = sizeof pick / sizeof *pick };
    Case c[ROWS * PICKS];
    Label label[ROWS * PICKS];
    bool gcc = have("gcc"), clang = have("clang");
    int n = 0;
    if (!gcc)
        printf("skipped: gcc missing\n");
    if (!clang)
        printf("skipped: clang missing\n");
    for (int r = 0; r < ROWS; r++) {
        const char *objects = NULL;
        for (int p = 0; p < PICKS && p < o->count && (strcmp(matrix[r].cc, "gcc") == 0 ? gcc : clang); p++) {
            const Chosen *w = chosen_named(pick[p]);
            const char *target = for_reading(o) ? o->target : matrix[r].target, *env = matrix[r].env;
            char *name = xprintf("%s %s%s%s, %s: %s", matrix[r].cc, matrix[r].cflags, env ? " " : "", env ? env : "",
                                 target, w->name);
            if (!wanted(o, name) || (matrix[r].more && o->count == 1))
                continue;
            c[n] = chosen_case(o, w, xprintf("%s/matrix_%d_%d", o->work, r, p));
            c[n].target = target;
            c[n].cc = matrix[r].cc;
            c[n].cflags = matrix[r].cflags;
            c[n].env = env;
            c[n].threads = true;
            if (!objects)
                objects = shared_objects(o, &c[n]);
            c[n].objects = objects;
            label[n] = label_of(o, "matrix", 0, name);
            n++;
        }
    }
    Verdict v[ROWS * PICKS];
    Count k = all_cases(o, c, label, n, v);
    return report("matrix", &k, false);
}

/* Every random spec is accepted, with the shape and the stages that randspec computes. */
static bool specs_of(const Options *o, const Kind *kind)
{
    int failed = 0;
    char *dir = xprintf("%s/specs", o->work);
    for (int i = 0; i < o->count; i++) {
        uint64_t seed = o->seed + (uint64_t)i;
        RandSpec s = kind->make(seed);
        Shape end;
        rs_valid(&s, &end);
        RsCount count = rs_count(&s);
        Case c = random_case(o, dir, &s, seed);
        if (begins_with_norm(&s, c.fill))
            count.op[OP_CONV]++, count.op[OP_BN]++;
        if (!accepted(c.spec, &end, &count)) {
            printf("FAILED %s, seed %" PRIu64 ": refused, or with other shapes or stages\n", kind->name, seed);
            print_file(c.spec);
            failed++;
        }
    }
    printf("specs, %s: %d passed, %d failed\n", kind->name, o->count - failed, failed);
    return failed == 0;
}

static bool specs(const Options *o)
{
    bool ok = specs_of(o, &chains);
    return specs_of(o, &graphs) && ok;
}

static bool one_spec(const Options *o)
{
    Case c = plain_case(o, o->seed, xprintf("%s/one", o->work));
    c.threads = true;
    c.spec = realpath(o->spec, NULL);
    if (!c.spec) {
        fprintf(stderr, "campaign: %s: %s\n", o->spec, strerror(errno));
        return false;
    }
    c.seed = o->seed;
    c.n = o->n;
    c.n_predict = 5;
    c.fill = o->fill;
    Label label = {xprintf("%s", o->spec), xprintf("%s --convoy %s --spec %s --seed %" PRIu64 " --n %d", o->self,
                                                   o->convoy, c.spec, o->seed, o->n)};
    fresh(c.dir);
    Verdict v;
    Count k = all_cases(o, &c, &label, 1, &v);
    return report("one", &k, false);
}

/* ---- main ---- */

static int64_t number(const char *s, int64_t lo, int64_t hi)
{
    char *end;
    errno = 0;
    long long v = s ? strtoll(s, &end, 10) : 0;
    if (!s || end == s || *end || errno || v < lo || v > hi) {
        fprintf(stderr, "campaign: '%s' is no number from %" PRId64 " to %" PRId64 "\n", s ? s : "", lo, hi);
        exit(2);
    }
    return v;
}

static Fill fill_named(const char *s)
{
    static const char *const names[] = {"plain", "integer", "constant", "outlier", "nan", "offset", "far"};
    for (int i = 0; s && i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(s, names[i]) == 0)
            return (Fill)i;
    fprintf(stderr, "campaign: --fill is one of plain, integer, constant, outlier, nan, offset, far\n");
    exit(2);
}

/* A compiler's name and flags in one text, or NULL for those that are here. clang without optimisation takes half of
 * the time of gcc -O1, which has found more faults. */
static void choose_compilers(Options *o, const char *text)
{
    bool gcc = have("gcc"), clang = have("clang");
    char *cc = xprintf("%s", text ? text : gcc ? "gcc" : clang ? "clang" : "cc"), *flags = strchr(cc, ' ');
    if (flags)
        *flags++ = 0;
    o->compilers = text || !gcc || !clang ? 1 : o->brief ? MOST_COMPILERS : MOST_COMPILERS / 2;
    for (int i = 0; i < o->compilers; i++)
        o->compiler[i] =
            i == 0 ? (Compiler){.cc = cc, .cflags = flags ? flags : "-O1"} : (Compiler){.cc = "clang", .cflags = "-O0"};
}

static Options options(int argc, char **argv)
{
    const char *cc = NULL;
    Options o = {
        .self = argv[0], .convoy = "convoy", .count = 40, .jobs = 2, .seed = 1, .n = 3, .what = "random", .tries = 160};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--help") == 0) {
            usage(stdout);
            exit(0);
        }
        if (a[0] != '-') {
            o.what = a;
            continue;
        }
        if (strcmp(a, "--first") == 0 || strcmp(a, "--short") == 0) {
            *(a[2] == 'f' ? &o.first : &o.brief) = true;
            continue;
        }
        i++;
        if (!v) {
            fprintf(stderr, "campaign: %s wants a value; see campaign --help\n", a);
            exit(2);
        } else if (strcmp(a, "--convoy") == 0) {
            o.convoy = strchr(v, '/') ? realpath(v, NULL) : v;
        } else if (strcmp(a, "--count") == 0) {
            o.count = (int)number(v, 1, 100000);
        } else if (strcmp(a, "--seed") == 0) {
            o.seed = (uint64_t)number(v, 0, INT64_MAX);
        } else if (strcmp(a, "--jobs") == 0) {
            o.jobs = (int)number(v, 1, MOST_JOBS);
        } else if (strcmp(a, "--tries") == 0) {
            o.tries = (int)number(v, 0, 100000);
        } else if (strcmp(a, "--cc") == 0) {
            cc = v;
        } else if (strcmp(a, "--only") == 0) {
            o.only = v;
        } else if (strcmp(a, "--for") == 0) {
            o.purpose = v;
        } else if (strcmp(a, "--target") == 0) {
            o.target = v;
        } else if (strcmp(a, "--keep") == 0) {
            o.keep = v;
        } else if (strcmp(a, "--spec") == 0) {
            o.spec = v;
        } else if (strcmp(a, "--n") == 0) {
            o.n = (int)number(v, 1, 100000);
        } else if (strcmp(a, "--fill") == 0) {
            o.fill = fill_named(v);
        } else if (strcmp(a, "--print-spec") == 0 || strcmp(a, "--print-graph") == 0) {
            uint64_t seed = (uint64_t)number(v, 0, INT64_MAX);
            RandSpec s = a[8] == 's' ? rs_random(seed) : rs_graph(seed);
            rs_print(&s, stdout);
            exit(fflush(stdout) == 0 ? 0 : 1);
        } else {
            fprintf(stderr, "campaign: unknown option %s; see campaign --help\n", a);
            exit(2);
        }
    }
    choose_compilers(&o, cc);
    if (!o.target) /* code for reading is the same for every processor, and takes no other */
        o.target = for_reading(&o) ? "portable" : "native";
    if (!o.convoy) {
        fprintf(stderr, "campaign: no such generator\n");
        exit(2);
    }
    return o;
}

int main(int argc, char **argv)
{
    Options o = options(argc, argv);
    const char *tmp = getenv("TMPDIR");
    char *temporary = xprintf("%s/convoy-campaign-XXXXXX", tmp && *tmp ? tmp : P_tmpdir);
    if (o.keep) {
        if (mkdir(o.keep, 0777) != 0 && errno != EEXIST) {
            fprintf(stderr, "campaign: %s: %s\n", o.keep, strerror(errno));
            return 2;
        }
        o.work = realpath(o.keep, NULL);
    } else {
        o.work = mkdtemp(temporary);
    }
    if (!o.work) {
        perror("campaign");
        return 2;
    }
    bool every = strcmp(o.what, "all") == 0, ok = true, known = every;
    if (o.spec) {
        ok = one_spec(&o);
        known = true;
    } else {
        static const struct {
            const char *name;
            bool (*run)(const Options *);
            bool compiles; /* with the compilers of the options */
        } part[] = {{"specs", specs, false},
                    {"random", random_chains, true},
                    {"graphs", random_graphs, true},
                    {"exact", chosen, true},
                    {"matrix", compilers, false}};
        for (size_t i = 0; i < sizeof part / sizeof *part; i++)
            if (every || strcmp(o.what, part[i].name) == 0) {
                known = true;
                if (part[i].compiles && !o.compiler[0].objects)
                    share_objects(&o);
                ok = part[i].run(&o) && ok;
            }
    }
    if (!known) {
        usage(stderr);
        return 2;
    }
    if (ok && !o.keep)
        remove_tree(o.work);
    return ok ? 0 : 1;
}
