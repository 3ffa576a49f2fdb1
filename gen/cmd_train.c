/* cmd_train.c - `convoy train`: emits the network into a build folder, compiles it there with make, becomes its program.
 *
 * No shell takes part: what stands in SPEC or on the command line reaches make and the program as it is. */
#include "commands.h"
#include "emit.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    MAX_OUTPUT = 1 << 16 /* of the compiler, shown where it fails: its end */
};

/* Whether a command can be found, on PATH or where it says. */
static bool command_exists(const char *command)
{
    if (strchr(command, '/'))
        return access(command, X_OK) == 0;
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/bin:/bin";; p++) {
        const size_t n = strcspn(p, ":");
        struct stat st;
        const char *file = xprintf("%.*s/%s", n ? (int)n : 1, n ? p : ".", command);
        if (access(file, X_OK) == 0 && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            return true;
        p += n;
        if (!*p)
            return false;
    }
}

/* Runs a command with what it prints kept, not shown. Its wait status; -1 and errno where it cannot be run. */
static int run_quietly(char *const argv[], Buf *output)
{
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t child = -1;

    if (pipe(ends) != 0)
        return -1;
    int e = posix_spawn_file_actions_init(&actions);
    if (e == 0) {
        e = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        e = e ? e : posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
        e = e ? e : posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
        e = e ? e : posix_spawn_file_actions_addclose(&actions, ends[0]);
        e = e ? e : posix_spawn_file_actions_addclose(&actions, ends[1]);
        e = e ? e : posix_spawnp(&child, argv[0], &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    while (e == 0) {
        char part[4096];
        const ssize_t n = read(ends[0], part, sizeof part);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (output->len + (size_t)n > 2 * MAX_OUTPUT) { /* the end says most */
            memmove(output->text, output->text + output->len - MAX_OUTPUT, MAX_OUTPUT);
            output->len = MAX_OUTPUT;
        }
        buf_add(output, part, (size_t)n);
    }
    close(ends[0]);
    errno = e;
    if (e)
        return -1;
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

/* The compiler that make will call, as far as its name goes. */
static const char *compiler(void)
{
    const char *cc = getenv("CC");

    return cc && cc[strspn(cc, " ")] ? xstrndup(cc + strspn(cc, " "), strcspn(cc + strspn(cc, " "), " ")) : "cc";
}

static bool compile(const char *dir)
{
    char *const argv[] = {xstrdup("make"), xstrdup("-j2"), xstrdup("--no-print-directory"), xstrdup("-C"), xstrdup(dir), NULL};
    Buf output = {0};

    if (!command_exists("make")) {
        fprintf(stderr, "convoy: 'make' is not there: the network's C is in %s, and make builds it\n"
                        "  hint: install make (on Debian: apt install make gcc)\n", dir);
        return false;
    }
    if (!command_exists(compiler())) {
        fprintf(stderr, "convoy: there is no C compiler '%.200s'\n"
                        "  hint: install gcc or clang, or name one that is there: CC=clang convoy train ...\n", compiler());
        return false;
    }
    const int status = run_quietly(argv, &output);
    if (status == 0)
        return true;
    if (status == -1) {
        fprintf(stderr, "convoy: cannot run make: %s\n", strerror(errno));
        return false;
    }
    if (output.len)
        fwrite(output.text, 1, output.len, stderr);
    if (WIFSIGNALED(status))
        fprintf(stderr, "convoy: compiling %s ended by signal %d (%s)\n", dir, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        fprintf(stderr, "convoy: compiling %s failed; what the compiler said stands above\n"
                        "  hint: it needs a C compiler and the headers of zlib and jansson (Debian: gcc zlib1g-dev libjansson-dev)\n", dir);
    return false;
}

int cmd_train(const Options *o)
{
    int status;
    Plan *p = load_plan(o, o->target ? o->target : "native", &status);

    if (!p)
        return status;
    const char *name = p->g->spec->name, *dir = o->out ? o->out : xprintf("build-%s", name);
    OutDir out = {0};
    emit_network(p, PART_ALL, &out);
    if (!outdir_commit(&out, dir))
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
    /* GCC's OpenMP spins at the end of a parallel loop; where another program wants the processor, that costs a time slice a loop.
     * Spinning briefly costs an idle machine a few per cent. Read before main, so it must stand in the environment. */
    if (setenv("GOMP_SPINCOUNT", "1000", 0) != 0) {
        fprintf(stderr, "convoy: the environment is full: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    execv(argv[0], argv);
    fprintf(stderr, "convoy: cannot run %s: %s\n", argv[0], strerror(errno));
    return EXIT_FAILED;
}
