/* build.c - the network's program: emitted into a build folder, compiled there with make.
 *
 * No shell takes part: what stands in SPEC or on the command line reaches make as it is. */
#include "commands.h"
#include "emit.h"
#include "process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static bool compile(const char *dir, const char *what)
{
    char *argv[] = {xstrdup("make"),
                    xstrdup("-j2"),
                    xstrdup("--no-print-directory"),
                    xstrdup("-C"),
                    xstrdup(dir),
                    xstrdup("-f"),
                    xstrdup("Makefile"), /* a GNUmakefile that lies there is not ours */
                    xstrdup("-q"),       /* first: whether there is something to do */
                    NULL};
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
                "  hint: install gcc or clang, or name one that is there: CC=clang convoy ...\n",
                process_compiler());
        return false;
    }
    int status = process_run(argv, &output);
    if (status == 0)
        return true;
    fprintf(stderr, "convoy: %s in %s, compiling\n", what, dir);
    argv[sizeof argv / sizeof *argv - 2] = NULL;
    output = (Buf){0};
    status = process_run(argv, &output);
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

const char *build_program(const Options *o, const Plan *p, int *lock)
{
    const char *name = p->g->spec->name, *dir = o->out ? o->out : xprintf("build-%s", name);
    OutDir out = {0};

    if (!emit_fits(p, PART_ALL)) {
        diag_flush(stderr);
        return NULL;
    }
    emit_network(p, PART_ALL, &out);
    if (!outdir_commit(&out, dir, lock))
        return NULL;
    /* OpenBLAS starts its threads before main; the program has its own, and where memory is limited those would hang.
     */
    if (setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0) {
        fprintf(stderr, "convoy: the environment is full: %s\n", strerror(errno));
        return NULL;
    }
    return compile(dir, xprintf("%s for %s", name, p->target->name)) ? xprintf("%s/%s", dir, name) : NULL;
}
