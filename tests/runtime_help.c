/* runtime_help.c - see runtime_help.h. */
#include "runtime_help.h"

#include "fake_model.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/convoy-runtime-XXXXXX";
char out_text[1 << 16], err_text[1 << 16];
long file_limit;

void enter(void)
{
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    file_limit = 0;
}

void leave(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(system(command), 0);
}

size_t slurp(const char *path, void *to, size_t room)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "no '%s'", path);
    size_t n = fread(to, 1, room, f);
    ck_assert_msg(n < room, "'%s' is larger than expected", path);
    fclose(f);
    return n;
}

void spit(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

/* Runs `fake words...` (one string, blanks between them) and returns its exit status; -signal where one killed it. */
int run(const char *words)
{
    char line[1024], *argv[64] = {(char *)"fake"};
    int argc = 1, status;
    snprintf(line, sizeof line, "%s", words);
    for (char *w = strtok(line, " "); w && argc < 63; w = strtok(NULL, " "))
        argv[argc++] = w;
    argv[argc] = NULL;
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int o = open("stdout.txt", O_WRONLY | O_CREAT | O_TRUNC, 0666),
            e = open("stderr.txt", O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (o < 0 || e < 0 || dup2(o, 1) < 0 || dup2(e, 2) < 0)
            _exit(99);
        if (file_limit) {
            struct rlimit limit = {(rlim_t)file_limit, (rlim_t)file_limit};
            setrlimit(RLIMIT_FSIZE, &limit);
        }
        exit(cvy_main(argc, argv, &fake_model, &fake_bench, &fake_tracer));
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    size_t n = slurp("stdout.txt", out_text, sizeof out_text - 1);
    out_text[n] = '\0';
    n = slurp("stderr.txt", err_text, sizeof err_text - 1);
    err_text[n] = '\0';
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Exit status and all of stderr. */
void fails(const char *words, int status, const char *text)
{
    int s = run(words);
    ck_assert_msg(s == status && strcmp(err_text, text) == 0, "'%s' ended with %d and said\n%s--- wanted %d and\n%s",
                  words, s, err_text, status, text);
}

void same_files(const char *a, const char *b)
{
    static char x[1 << 18], y[1 << 18];
    size_t n = slurp(a, x, sizeof x);
    ck_assert_msg(n == slurp(b, y, sizeof y) && memcmp(x, y, n) == 0, "'%s' and '%s' differ", a, b);
}

int files_here(void)
{
    FILE *p = popen("ls -A | wc -l", "r");
    int n = -1;
    ck_assert_ptr_nonnull(p);
    ck_assert_int_eq(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

double accuracy(const char *words)
{
    RUNS(words);
    json_t *o = json_loads(out_text, 0, NULL);
    ck_assert_ptr_nonnull(o);
    double a = json_number_value(json_object_get(o, "accuracy"));
    json_decref(o);
    return a;
}

void add_cases(Suite *suite, const char *name, const TTest *const *test)
{
    TCase *c = tcase_create(name);
    tcase_add_checked_fixture(c, enter, leave);
    tcase_set_timeout(c, 300);
    for (; *test; test++)
        tcase_add_test(c, *test);
    suite_add_tcase(suite, c);
}
