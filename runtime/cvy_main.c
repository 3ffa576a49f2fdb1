/* cvy_main.c - the emitted program: which subcommand. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#ifdef CVY_OPENBLAS
void openblas_set_num_threads(int n);
#endif

static const struct command {
    const char *name, *what;
    int (*run)(int argc, char **argv, const struct cvy_model *model);
    int trains; /* needs the network's training code */
    int unread; /* its result is a file: it goes on where nobody reads what it prints */
} commands[] = {
    {"train", "train the network; saves a checkpoint after each epoch", cvy_train, 1, 1},
    {"eval", "loss and accuracy of a checkpoint on the test set", cvy_eval, 0, 0},
    {"predict", "logits of images in a .npy file", cvy_predict, 0, 0},
    {"info", "shapes, parameters, memory", cvy_info, 0, 0},
    {"bench", "the speed of a step, and of each kernel", NULL, 0, 0}, /* takes more than the others */
    {"trace", "one training step with everything it computed, for comparisons", cvy_trace, 1, 0},
};
enum { NCOMMANDS = sizeof commands / sizeof *commands };

static void usage(FILE *to, const struct cvy_model *m)
{
    fprintf(to, "usage: %s COMMAND [options]\n\n", m->name);
    for (int i = 0; i < NCOMMANDS; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].what);
    fprintf(to, "\n%s COMMAND --help lists a command's options. Begin with: %s train\n", m->name, m->name);
}

int cvy_main(int argc, char **argv, const struct cvy_model *m, const struct cvy_bench *bench)
{
    const char *names[NCOMMANDS + 1] = {NULL}, *word = argc > 1 ? argv[1] : "";
    cvy_program = m->name;
    cvy_start();
    cvy_json_watch();
#ifdef CVY_OPENBLAS
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
        if (commands[i].trains && !m->forward) {
            cvy_error("convoy gen with --parts all, the default", "%s: this network was emitted for inference alone", word);
            return 1;
        }
        if (commands[i].unread)
            signal(SIGPIPE, SIG_IGN);
        int status = commands[i].run ? commands[i].run(argc, argv, m) : cvy_bench(argc, argv, m, bench);
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
