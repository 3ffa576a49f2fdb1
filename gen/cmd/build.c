/* build.c - the network's program: emitted into a build folder, compiled there with make.
 *
 * No shell takes part: what stands in SPEC or on the command line reaches make as it is. */
#include "commands.h"
#include "emit.h"
#include "files.h"
#include "process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_OBJECT = 64 << 20 };

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

static const char *text_of(const OutDir *o, const char *name, size_t *len)
{
    for (int i = 0; i < o->n; i++)
        if (strcmp(o->file[i].name, name) == 0) {
            *len = o->file[i].len;
            return o->file[i].text;
        }
    return NULL;
}

static bool in_runtime(const char *name, char kind)
{
    const size_t n = strlen(name);
    return strncmp(name, "runtime/", 8) == 0 && name[n - 2] == '.' && name[n - 1] == kind;
}

static bool same_file(const OutDir *a, const OutFile *f)
{
    size_t len;
    const char *text = text_of(a, f->name, &len);
    return text && len == f->len && memcmp(text, f->text, len) == 0;
}

/* What cannot be copied is compiled, so nobody is told. */
static bool copy(const char *from, const char *to)
{
    size_t len;
    const char *bytes = access(to, F_OK) == 0 ? NULL : file_read(from, MOST_OBJECT, &len);
    return bytes && file_write(to, bytes, len);
}

/* Copies the runtime's objects of another build whose sources are the same. The record of compiler and flags goes
 * first: where make finds other flags, it writes that record anew and compiles everything. */
static void take_runtime(const OutDir *out, const char *name, const char *dir, const Built *of)
{
    OutDir was = {0};
    if (!outdir_read(&was, of->dir))
        return;
    for (int i = 0; i < out->n; i++)
        if (in_runtime(out->file[i].name, 'h') && !same_file(&was, &out->file[i]))
            return;
    if (!copy(xprintf("%s/%s.flags", of->dir, of->name), xprintf("%s/%s.flags", dir, name)))
        return;
    for (int i = 0; i < out->n; i++) {
        const OutFile *f = &out->file[i];
        if (!in_runtime(f->name, 'c') || !same_file(&was, f))
            continue;
        const char *object = xprintf("%.*s.o", (int)strlen(f->name) - 2, f->name);
        copy(xprintf("%s/%s", of->dir, object), xprintf("%s/%s", dir, object));
    }
}

const char *build_program(const Options *o, const Plan *p, const Built *like, int *lock)
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
    if (like)
        take_runtime(&out, name, dir, like);
    /* OpenBLAS starts its threads before main; the program has its own, and where memory is limited those would hang.
     */
    if (setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0) {
        fprintf(stderr, "convoy: the environment is full: %s\n", strerror(errno));
        return NULL;
    }
    return compile(dir, xprintf("%s for %s", name, p->target->name)) ? xprintf("%s/%s", dir, name) : NULL;
}
