/* measure.c - what only a compiler and a processor can tell: object sizes, and the time of a training step.
 *
 * Both networks are emitted into folders of their own below the one for temporary files, with the same small program
 * around each, and compiled by the emitted Makefile. The two are run in turn, one process per sample, each of about
 * SAMPLE_SECONDS of processor time, on one thread; the ratio is taken pair by pair, so that what slows the machine
 * slows both. Its median is given with the interval between the third smallest and the third largest of twelve ratios,
 * which covers the median in 96 of 100 cases (binomial, whatever the distribution). Where that holds 1, no difference
 * was seen.
 *
 * needs: both sides' C.  sets: rows of the costs. */
#include "diff.h"
#include "process.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ROUNDS = 12,
    FROM_END = 2 /* the interval's ends, counted from 0 */
};
#define SAMPLE_SECONDS 0.5

/* $n is the network, $N the same in capitals. Prints the processor time of argv[2] steps on batches of argv[1], after
 * one that is not counted. */
static const char program[] =
    "/* Times training steps. */\n"
    "#define _POSIX_C_SOURCE 200809L\n"
    "#include \"$n.h\"\n"
    "#include <stdio.h>\n"
    "#include <stdlib.h>\n"
    "#include <string.h>\n"
    "#include <time.h>\n"
    "\n"
    "static unsigned state = 1;\n"
    "static float draw(void)\n"
    "{\n"
    "    state = state * 1664525u + 1013904223u;\n"
    "    return (float)(state >> 8) / 8388608.0f - 1.0f;\n"
    "}\n"
    "\n"
    "int main(int argc, char **argv)\n"
    "{\n"
    "    const int batch = argc > 1 ? atoi(argv[1]) : 0, steps = argc > 2 ? atoi(argv[2]) : 0;\n"
    "    const size_t bytes = $n_model.arena_bytes(batch, 1), image = (size_t)$N_CHANNELS * $N_HEIGHT * $N_WIDTH;\n"
    "    void *memory = NULL;\n"
    "    float *x = malloc(image * (size_t)batch * sizeof *x);\n"
    "    int *labels = malloc((size_t)batch * sizeof *labels);\n"
    "    if (!bytes || posix_memalign(&memory, 64, bytes) || !x || !labels)\n"
    "        return 1;\n"
    "    struct cvy_net *net = (struct cvy_net *)$n_init(memory, bytes, batch, 1);\n"
    "    for (int64_t i = 0; i < $n_model.param_floats; i++)\n"
    "        net->param[i] = 0.05f * draw();\n"
    "    for (size_t i = 0; i < image * (size_t)batch; i++)\n"
    "        x[i] = draw();\n"
    "    for (int i = 0; i < batch; i++)\n"
    "        labels[i] = i % $N_CLASSES;\n"
    "    const struct cvy_batch b = {x, labels, NULL, batch};\n"
    "    struct cvy_step step = $n_step;\n"
    "    step.lr = 0.001f;\n"
    "    struct timespec from = {0, 0}, to;\n"
    "    for (int i = 0; i <= steps; i++) {\n"
    "        if (i == 1)\n"
    "            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);\n"
    "        $n_train_step((struct $n *)net, &b, &step, NULL);\n"
    "    }\n"
    "    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);\n"
    "    printf(\"%.9f\\n\", (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec));\n"
    "    return 0;\n"
    "}\n";

typedef struct Work {
    const char *dir;  /* for temporary files */
    const char *name; /* of the network, the same on both sides */
} Work;

static const char *side_dir(const Work *w, int side)
{
    return xprintf("%s/%c", w->dir, side ? 'b' : 'a');
}

static const char *program_text(const char *name)
{
    Buf b = {0};

    for (const char *c = program; *c; c++)
        if (*c == '$' && c[1] == 'n')
            buf_puts(&b, name), c++;
        else if (*c == '$' && c[1] == 'N') {
            for (const char *n = name; *n; n++)
                buf_printf(&b, "%c", *n >= 'a' && *n <= 'z' ? *n - 'a' + 'A' : *n);
            c++;
        } else
            buf_add(&b, c, 1);
    return b.text;
}

static bool failed(const char *what, const Buf *output)
{
    if (output->len)
        fwrite(output->text, 1, output->len, stderr);
    fprintf(stderr, "convoy: %s failed\n", what);
    return false;
}

/* Runs a program; false and a message where it does not end well. */
static bool run(const char *what, const char **argv, Buf *output)
{
    const int status = process_run((char *const *)argv, output);

    if (status == -1) {
        fprintf(stderr, "convoy: cannot run %s: %s\n", argv[0], strerror(errno));
        return false;
    }
    return status == 0 || failed(what, output);
}

/* The network's own objects: a word each, after a first one. */
static const char *objects(const DiffSide *s, const char *first)
{
    Buf b = {0};

    buf_puts(&b, first);
    for (int i = 0; i < s->out.n; i++) {
        const char *f = s->out.file[i].name;
        const size_t n = strlen(f);
        if (!strchr(f, '/') && n > 2 && strcmp(f + n - 2, ".c") == 0 && strcmp(f, "main.c") != 0)
            buf_printf(&b, " %.*s.o", (int)(n - 2), f);
    }
    return b.text;
}

static bool has_file(const DiffSide *s, const char *name)
{
    for (int i = 0; i < s->out.n; i++)
        if (strcmp(s->out.file[i].name, name) == 0)
            return true;
    return false;
}

/* Emits a side into its folder and compiles it there: NAME is then the small program. */
static bool compile(const Work *w, const DiffSide *s, int side)
{
    const char *dir = side_dir(w, side);
    OutDir out = {0};
    Buf output = {0};
    const char *text = program_text(w->name);

    for (int i = 0; i < s->out.n; i++)
        *PUSH(out.file, out.n) = s->out.file[i];
    outdir_add(&out, "steps.c", text, strlen(text));
    if (!outdir_commit(&out, dir, NULL))
        return false;
    const char *argv[] = {
        "make",
        "-j2",
        "--no-print-directory",
        "-C",
        dir,
        "-f",
        "Makefile",
        "OPENMP=no",
        xprintf("OBJECTS=%s",
                objects(s, xprintf("steps.o runtime/cvy_kernels.o runtime/cvy_losses.o runtime/cvy_update.o%s",
                                   has_file(s, "runtime/cvy_recurrent.c") ? " runtime/cvy_recurrent.o" : ""))),
        w->name,
        NULL};
    return run("compiling", argv, &output);
}

static bool prepare(Work *w, Diff *d)
{
    if (!process_exists("make") || !process_exists(process_compiler())) {
        fprintf(stderr,
                "convoy: --compile and --measure need make and a C compiler (%.200s)\n  hint: on Debian: apt install "
                "make gcc\n",
                process_compiler());
        return false;
    }
    const char *dir = process_folder("diff");
    if (!dir)
        return false;
    *w = (Work){.dir = dir, .name = d->a.g->spec->name};
    return compile(w, &d->a, 0) && compile(w, &d->b, 1);
}

/* ---- object sizes ---- */

/* Sums of the columns of `size`: text, data. */
static bool object_size(const Work *w, const DiffSide *s, int side, double *bytes)
{
    Buf output = {0};
    const char **argv = NULL;
    int n = 0;

    *PUSH(argv, n) = "size";
    for (char *rest = NULL, *word = strtok_r(xstrdup(objects(s, "")), " ", &rest); word;
         word = strtok_r(NULL, " ", &rest))
        *PUSH(argv, n) = xprintf("%s/%s", side_dir(w, side), word);
    *PUSH(argv, n) = NULL;
    if (!run("size", argv, &output))
        return false;
    *bytes = 0;
    for (const char *line = strchr(output.text ? output.text : "", '\n'); line && line[1];
         line = strchr(line + 1, '\n')) {
        double text, data;
        if (sscanf(line + 1, "%lf %lf", &text, &data) != 2)
            return failed("reading what size says", &output);
        *bytes += text + data;
    }
    return true;
}

static bool add_sizes(const Work *w, Diff *d)
{
    double a, b;

    if (!process_exists("size")) {
        fputs("convoy: --compile needs size\n  hint: on Debian: apt install binutils\n", stderr);
        return false;
    }
    if (!object_size(w, &d->a, 0, &a) || !object_size(w, &d->b, 1, &b))
        return false;
    diff_cost(d, "the network's objects, code and data", "bytes", true, a, true, b);
    return true;
}

/* ---- step time ---- */

static bool sample(const Work *w, int side, int batch, int steps, double *seconds)
{
    const char *argv[] = {xprintf("%s/%s", side_dir(w, side), w->name), xprintf("%d", batch), xprintf("%d", steps),
                          NULL};
    Buf output = {0};

    if (!run("a measured step", argv, &output))
        return false;
    if (!output.text || sscanf(output.text, "%lf", seconds) != 1 || !(*seconds > 0))
        return failed("a measured step", &output);
    return true;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *v) /* of ROUNDS sorted values */
{
    return (v[ROUNDS / 2 - 1] + v[ROUNDS / 2]) / 2;
}

static bool add_times(const Work *w, Diff *d)
{
    const int batch =
        d->a.g->spec->train.batch < d->b.g->spec->train.batch ? d->a.g->spec->train.batch : d->b.g->spec->train.batch;
    double first, time[2][ROUNDS], ratio[ROUNDS];

    if (setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0) /* others would spin, and their time would count */
        return false;
    if (!sample(w, 0, batch, 1, &first))
        return false;
    const int steps = first > SAMPLE_SECONDS ? 1 : (int)ceil(SAMPLE_SECONDS / first);
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < 2; k++) { /* first one of them begins, then the other */
            const int side = i % 2 ? 1 - k : k;
            if (!sample(w, side, batch, steps, &time[side][i]))
                return false;
            time[side][i] *= 1000.0 / steps;
        }
        ratio[i] = time[1][i] / time[0][i];
    }
    qsort(time[0], ROUNDS, sizeof(double), by_value);
    qsort(time[1], ROUNDS, sizeof(double), by_value);
    qsort(ratio, ROUNDS, sizeof *ratio, by_value);
    const double low = ratio[FROM_END], high = ratio[ROUNDS - 1 - FROM_END];
    DiffCost *c = diff_cost(d, xprintf("a training step of %d images", batch), "ms", true, median(time[0]), true,
                            median(time[1]));
    c->note = low <= 1 && high >= 1
                  ? xprintf("no difference seen (B / A %.3f to %.3f)", low, high)
                  : xprintf("%+.1f %% (%+.1f to %+.1f)", 100 * (median(ratio) - 1), 100 * (low - 1), 100 * (high - 1));
    return true;
}

bool diff_measure(Diff *d, bool size, bool time)
{
    Work work = {0};
    const bool ok = prepare(&work, d) && (!size || add_sizes(&work, d)) && (!time || add_times(&work, d));

    process_folder_remove();
    return ok;
}
