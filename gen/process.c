/* process.c - other programs: make and the compiler. No shell takes part. */
#include "process.h"

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

int process_run(char *const argv[], Buf *output)
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

const char *process_compiler(void)
{
    const char *cc = getenv("CC");

    return cc && cc[strspn(cc, " ")] ? xstrndup(cc + strspn(cc, " "), strcspn(cc + strspn(cc, " "), " ")) : "cc";
}
