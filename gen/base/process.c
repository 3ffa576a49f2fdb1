/* process.c - other programs: make and the compiler. No shell takes part. What ends convoy meanwhile ends them, too,
 * and removes the temporary folder in which they work. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
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

bool process_exists(const char *command)
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

/* ---- signals that end the program ---- */

static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
enum { NENDS = sizeof ends / sizeof *ends };

static volatile sig_atomic_t ended_by;
static volatile pid_t running; /* 0: none */
static struct sigaction before[NENDS];
static int holds;

static void on_end(int number)
{
    ended_by = number;
    if (running > 0)
        kill(-running, number); /* its children, too: a shell that make runs does not hear of it otherwise */
}

/* From here on such a signal is kept until release_ends, and passed on to the program that runs. */
static void hold_ends(void)
{
    struct sigaction a = {.sa_handler = on_end, .sa_flags = SA_RESTART};

    if (holds++)
        return;
    sigemptyset(&a.sa_mask);
    for (int i = 0; i < NENDS; i++)
        if (sigaction(ends[i], NULL, &before[i]) == 0 && before[i].sa_handler != SIG_IGN)
            sigaction(ends[i], &a, NULL);
}

static void release_ends(void)
{
    if (--holds)
        return;
    for (int i = 0; i < NENDS; i++)
        sigaction(ends[i], &before[i], NULL);
    if (ended_by) {
        fflush(stdout);
        raise(ended_by);
    }
}

/* ---- a temporary folder ---- */

static char *folder;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void remove_folder(void)
{
    if (folder && nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        fprintf(stderr, "convoy: cannot remove the temporary folder %s: %s\n", folder, strerror(errno));
    folder = NULL;
}

const char *process_folder(const char *stem)
{
    static bool registered;
    const char *tmp = getenv("TMPDIR");
    char *path = xprintf("%s/convoy-%s-XXXXXX", tmp && *tmp ? tmp : "/tmp", stem);

    if (!registered && atexit(remove_folder) == 0) /* memory may run out on the way */
        registered = true;
    hold_ends();
    if (mkdtemp(path))
        return folder = path;
    fprintf(stderr, "convoy: cannot make a folder for temporary files, %s: %s\n", path, strerror(errno));
    release_ends();
    return NULL;
}

void process_folder_remove(void)
{
    if (!folder)
        return;
    remove_folder();
    release_ends();
}

/* ---- running ---- */

/* Starts it with its output in a pipe. 0, or the error. */
static int start(char *const argv[], const int pipe_ends[2], pid_t *child)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t set;
    int e = posix_spawn_file_actions_init(&actions);

    if (e)
        return e;
    e = posix_spawnattr_init(&attributes);
    if (e == 0) {
        sigemptyset(&set);
        sigaddset(&set, SIGXFSZ); /* ignored here, and make's business there */
        e = posix_spawnattr_setsigdefault(&attributes, &set);
        e = e ? e : posix_spawnattr_setpgroup(&attributes, 0);
        e = e ? e : posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        e = e ? e : posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        e = e ? e : posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 1);
        e = e ? e : posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 2);
        e = e ? e : posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
        e = e ? e : posix_spawn_file_actions_addclose(&actions, pipe_ends[1]);
        e = e ? e : posix_spawnp(child, argv[0], &actions, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return e;
}

static int run(char *const argv[], Buf *output)
{
    int pipe_ends[2], status;
    pid_t child = -1;

    if (ended_by) {
        errno = EINTR;
        return -1;
    }
    if (pipe(pipe_ends) != 0)
        return -1;
    const int e = start(argv, pipe_ends, &child);
    running = e ? 0 : child;
    close(pipe_ends[1]);
    while (e == 0) {
        char part[4096];
        const ssize_t n = read(pipe_ends[0], part, sizeof part);
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
    close(pipe_ends[0]);
    errno = e;
    if (e)
        return -1;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    running = 0;
    return status;
}

int process_run(char *const argv[], Buf *output)
{
    hold_ends();
    const int status = run(argv, output), e = errno;
    release_ends();
    errno = e;
    return status;
}

const char *process_compiler(void)
{
    const char *cc = getenv("CC");

    cc = cc ? cc + strspn(cc, " \t") : "";
    return *cc ? xstrndup(cc, strcspn(cc, " \t")) : "cc"; /* as in the Makefile */
}

const char *shell_word(const char *word)
{
    Buf b = {0};
    if (*word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-") == strlen(word))
        return word;
    buf_puts(&b, "'");
    for (; *word; word++)
        buf_printf(&b, *word == '\'' ? "'\\''" : "%c", *word);
    buf_puts(&b, "'");
    return b.text;
}
