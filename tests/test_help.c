/* test_help.c - what several unit tests share: running a suite, commands, scratch folders. */
#define _GNU_SOURCE
#include "test_help.h"

#include "base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

int run_tests(const char *name, TCase *const *parts)
{
    Suite *s = suite_create(name);

    while (*parts)
        suite_add_tcase(s, *parts++);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r), ran = srunner_ntests_run(r);
    srunner_free(r);
    printf("%d passed, %d failed\n", ran - failed, failed);
    return failed != 0;
}

/* What a command prints, and its status as a last line. */
const char *output_of(const char *command)
{
    Buf b = {0};
    char part[4096];
    size_t n;
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        buf_add(&b, part, n);
    int status = pclose(f);
    buf_printf(&b, "status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return b.text;
}

/* The same of a command that succeeds, without its status. */
const char *printed_by(const char *command)
{
    const char *text = output_of(command), *end = strstr(text, "status 0\n");
    ck_assert_msg(end != NULL, "%s: %s", command, text);
    return xstrndup(text, (size_t)(end - text));
}

char *scratch_dir(void)
{
    char *dir = xstrdup("/tmp/convoy-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    return dir;
}

void remove_dir(const char *dir)
{
    ck_assert_int_eq(system(xprintf("chmod -R u+w '%s'; rm -rf '%s'", dir, dir)), 0);
}

const char *listing(const char *dir)
{
    return output_of(xprintf("cd '%s' && find . -mindepth 1 | LC_ALL=C sort | tr '\\n' ' '", dir));
}
