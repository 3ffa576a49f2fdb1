/* cvy_main.c - the emitted program: which subcommand. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#if defined _OPENMP && defined __GNUC__ && !defined __clang__
#define GCC_OPENMP
#endif
#ifdef CVY_OPENBLAS
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define _DARWIN_C_SOURCE
#endif

#include "cvy_private.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#if defined CVY_OPENBLAS || defined GCC_OPENMP
#include <unistd.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif

/* This program once more, with the same arguments, descriptors and signals: libraries read the environment when they
 * are loaded. Returns where that cannot be. */
static void load_again(char **argv)
{
#ifdef __linux__
    const char *const path =
        (const char *)getauxval(AT_EXECFN); /* as it was started, so that it keeps its name; needs no /proc */
    if (path)
        execv(path, argv);
#endif
    execv("/proc/self/exe", argv);
}
#endif

#ifdef GCC_OPENMP
/* GCC's OpenMP spins at the end of a parallel loop; where another program wants the processor, that costs a time slice
 * a loop. Spinning briefly costs an idle machine a few per cent. Where the user has said how to wait, that holds. The
 * variable itself says that this is the second start. */
static void load_with_short_spin(char **argv)
{
    if (!getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY") && setenv("GOMP_SPINCOUNT", "1000", 0) == 0)
        load_again(argv);
}
#endif

#ifdef CVY_OPENBLAS
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

void openblas_set_num_threads(int n);

/* OpenBLAS starts threads of its own when it is loaded. Where the address space is limited (ulimit -v) some of them
 * cannot start, and at the end it waits for those for ever. So the program is loaded again, with one. */
static void load_with_one_thread(char **argv)
{
    static const char name[] = "OPENBLAS_NUM_THREADS";
    const char *now = getenv(name);
    struct rlimit limit;
    if ((now && strcmp(now, "1") == 0) || getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    if (setenv(name, "1", 1) == 0)
        load_again(argv);
    cvy_error("set OPENBLAS_NUM_THREADS=1 in the environment",
              "memory is limited, and OpenBLAS cannot be loaded again with one thread: %s", strerror(errno));
    fflush(NULL);
    _exit(1); /* exit would wait */
}

/* A product takes a buffer for each thread; where there is no address space for it, OpenBLAS tries again for ever. */
static void warn_of_limit(void)
{
    enum { BUFFER_MB = 160 };
    const size_t bytes = (size_t)BUFFER_MB << 20;
    void *p[2]; /* of two threads at least */
    for (int i = 0; i < 2; i++)
        p[i] = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p[0] == MAP_FAILED || p[1] == MAP_FAILED)
        cvy_warn("the address space is limited (ulimit -v), and OpenBLAS waits for ever where it finds no %d MB per "
                 "thread; made with "
                 "OPENBLAS=no, the program does without",
                 BUFFER_MB);
    for (int i = 0; i < 2; i++)
        if (p[i] != MAP_FAILED)
            munmap(p[i], bytes);
}
#endif

static const struct command {
    const char *name, *what;
    int (*run)(int argc, char **argv, const struct cvy_model *model); /* NULL: bench, or: */
    int (*run_traced)(int argc, char **argv, const struct cvy_model *model, const struct cvy_tracer *tracer);
    int trains; /* needs the network's training code */
    int unread; /* its result is a file: it goes on where nobody reads what it prints */
    int loops;  /* waits for threads, so that how they wait matters; bench measures what it is given */
} commands[] = {
    {"train", "train the network; saves a checkpoint after each epoch", NULL, cvy_command_train, 1, 1, 1},
    {"lr-find", "look for a learning rate", cvy_command_lr_find, NULL, 1, 0, 1},
    {"eval", "loss and accuracy of a checkpoint on the test set", cvy_command_eval, NULL, 0, 0, 1},
    {"predict", "logits of images in a .npy file", cvy_command_predict, NULL, 0, 0, 1},
    {"info", "shapes, parameters, memory", cvy_command_info, NULL, 0, 0, 0},
    {"bench", "the speed of a step, and of each kernel", NULL, NULL, 0, 0, 0},
    {"trace", "one training step with everything it computed, for comparisons", NULL, cvy_command_trace, 1, 0, 1},
};
enum { NCOMMANDS = sizeof commands / sizeof *commands };

static void usage(FILE *to, const struct cvy_model *m)
{
    fprintf(to, "usage: %s COMMAND [options]\n\n", m->name);
    for (int i = 0; i < NCOMMANDS; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].what);
    fprintf(to, "\n%s COMMAND --help lists a command's options. Begin with: %s train\n", m->name, m->name);
}

int cvy_main(int argc, char **argv, const struct cvy_model *m, const struct cvy_bench *bench,
             const struct cvy_tracer *tracer)
{
    const char *names[NCOMMANDS + 1] = {NULL}, *word = argc > 1 ? argv[1] : "";
    cvy_program = m->name;
    cvy_start();
    cvy_json_watch();
#ifdef CVY_OPENBLAS
    load_with_one_thread(argv);
    openblas_set_num_threads(1); /* the threads are ours, and the bytes do not depend on their number */
#endif
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        usage(stdout, m);
        return cvy_finish(0, 0);
    }
    for (int i = 0; i < NCOMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(word, names[i]) != 0)
            continue;
        if (commands[i].trains && (!m->forward || !tracer)) {
            cvy_error("convoy gen with --parts all, the default", "%s: this network was emitted for inference alone",
                      word);
            return 1;
        }
#ifdef GCC_OPENMP
        if (commands[i].loops)
            load_with_short_spin(argv);
#endif
        if (commands[i].unread)
            signal(SIGPIPE, SIG_IGN);
#ifdef CVY_OPENBLAS
        if (commands[i].trains)
            warn_of_limit();
#endif
        int status = commands[i].run          ? commands[i].run(argc, argv, m)
                     : commands[i].run_traced ? commands[i].run_traced(argc, argv, m, tracer)
                                              : cvy_command_bench(argc, argv, m, bench);
        return cvy_finish(status, commands[i].unread);
    }
    if (*word) {
        const char *near = cvy_nearest(word, names);
        char *hint = near ? cvy_format("did you mean '%s'?", near) : NULL;
        cvy_error(hint, "unknown command '%s'", word);
        free(hint);
        return 2;
    }
    usage(stderr, m);
    return 2;
}
