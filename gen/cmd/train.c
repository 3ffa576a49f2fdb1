/* train.c - `convoy train`: emits the network into a build folder, compiles it there with make, becomes its program.
 *
 * No shell takes part: what stands in SPEC or on the command line reaches make and the program as it is. */
#include "commands.h"
#include "cvy_private.h"
#include "emit.h"
#include "process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool compile(const char *dir)
{
    char *const argv[] = {xstrdup("make"),
                          xstrdup("-j2"),
                          xstrdup("--no-print-directory"),
                          xstrdup("-C"),
                          xstrdup(dir),
                          xstrdup("-f"),
                          xstrdup("Makefile"),
                          NULL}; /* a GNUmakefile that lies there is not ours */
    Buf output = {0};

    if (!process_exists("make")) {
        fprintf(stderr,
                "convoy: 'make' is not there: the network's C is in %s, and make builds it\n"
                "  hint: install make (on Debian: apt install make gcc)\n",
                dir);
        return false;
    }
    if (!process_exists(process_compiler())) {
        fprintf(stderr,
                "convoy: there is no C compiler '%.200s'\n"
                "  hint: install gcc or clang, or name one that is there: CC=clang convoy train ...\n",
                process_compiler());
        return false;
    }
    const int status = process_run(argv, &output);
    if (status == 0)
        return true;
    if (status == -1) {
        fprintf(stderr, "convoy: cannot run make: %s\n", strerror(errno));
        return false;
    }
    if (output.len)
        fwrite(output.text, 1, output.len, stderr);
    if (WIFSIGNALED(status))
        fprintf(stderr, "convoy: compiling %s ended by signal %d (%s)\n", dir, WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    else
        fprintf(stderr,
                "convoy: compiling %s failed; what the compiler said stands above\n"
                "  hint: it needs a C compiler and the headers of zlib and jansson (Debian: gcc zlib1g-dev "
                "libjansson-dev)\n",
                dir);
    return false;
}

/* Whether the program will find its data: better said now than after compiling. What the files hold is for the program
 * to judge. */
static bool data_is_there(const char *data, const char *said)
{
    const char *folder;
    uint64_t seed;
    const enum cvy_where where = cvy_data_where(data, said, &seed, &folder);
    bool there = where != CVY_NOWHERE;

    for (int i = 0; i < 4 && where == CVY_FOLDER && there; i++) {
        char *path = cvy_data_file(folder, i < 2 ? CVY_TRAIN_SPLIT : CVY_TEST_SPLIT, i % 2 == 0);
        there = path != NULL;
        free(path);
    }
    return there;
}

/* The program's options over the spec's settings (NULL: over none), by the program's own table: 1, 0 with an error, or
 * -1 where it is asked for help. */
static int read_rest(const Options *o, const SpecTrain *spec, struct cvy_said *said)
{
    struct cvy_progress p = {0};
    struct cvy_option option[CVY_TRAIN_OPTIONS];

    *said = (struct cvy_said){.schedule = schedule_names[spec ? spec->schedule : SCHEDULE_CONSTANT]};
    const struct cvy_optimiser *optimiser = spec ? spec->optimiser : NULL; /* NULL: the options of all */
    if (spec)
        memcpy(p.hyper, spec->hyper, sizeof p.hyper);
    cvy_train_options(said, &p, optimiser, option);
    const int parsed = cvy_options_parse(o->nrest, o->rest, 0, "train", option);
    return spec && parsed > 0 ? cvy_train_fits(said, &p, optimiser) : parsed;
}

int cmd_train(const Options *o)
{
    int status;
    struct cvy_said said;
    const int parsed = read_rest(o, NULL, &said);
    if (parsed == 0)
        return EXIT_USAGE;
    Plan *p = load_plan(o, o->target ? o->target : "native", false, &status);

    if (!p)
        return status;
    if (read_rest(o, &p->g->spec->train, &said) == 0)
        return EXIT_FAILED;
    if (parsed > 0 && !data_is_there(p->g->spec->train.data, said.data)) /* not where it is asked for help alone */
        return EXIT_FAILED;
    const char *name = p->g->spec->name, *dir = o->out ? o->out : xprintf("build-%s", name);
    OutDir out = {0};
    if (!emit_fits(p, PART_ALL)) {
        diag_flush(stderr);
        return EXIT_FAILED;
    }
    emit_network(p, PART_ALL, &out);
    int lock; /* closed by exec: until then, no other convoy changes what is compiled here */
    if (!outdir_commit(&out, dir, &lock))
        return EXIT_FAILED;
    fprintf(stderr, "convoy: %s for %s in %s, compiling\n", name, p->target->name, dir);
    if (!compile(dir))
        return EXIT_FAILED;

    char **argv = xalloc((size_t)(o->nrest + 3) * sizeof *argv);
    argv[0] = xprintf("%s/%s", dir, name);
    argv[1] = xstrdup("train");
    for (int i = 0; i < o->nrest; i++)
        argv[2 + i] = o->rest[i];
    fflush(stdout);
    /* OpenBLAS starts its threads before main; the program has its own, and where memory is limited those would hang.
     */
    if (setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0) {
        fprintf(stderr, "convoy: the environment is full: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    execv(argv[0], argv);
    fprintf(stderr, "convoy: cannot run %s: %s\n", argv[0], strerror(errno));
    return EXIT_FAILED;
}
