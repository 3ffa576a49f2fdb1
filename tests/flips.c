/* flips.c - see flips.h. */
#define _GNU_SOURCE
#include "flips.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int flips, same, passed, failed;

static void fail(const char *why)
{
    printf("flips: %s\n", why);
    exit(2);
}

void flips_open(const void *at, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)at / page * page;
    if (mprotect((void *)first, (uintptr_t)at + bytes - first, PROT_READ | PROT_WRITE) != 0)
        fail("a table cannot be written");
}

bool flips_right(bool (*right)(int which), int which)
{
    int status;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        alarm(60);
        _exit(right(which) ? 0 : 1);
    }
    if (waitpid(pid, &status, 0) != pid)
        fail("waitpid");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void flips_row(const char *row, bool (*right)(int which), int which)
{
    const bool is = flips_right(right, which);
    passed += is;
    failed += !is;
    if (!is)
        printf("FAILED: the row of %s is not what the reference says\n", row);
}

void flips_try(const char *row, const char *property, const void *at, const void *value, size_t bytes,
               bool (*right)(int which), int which)
{
    void *const to = (void *)(uintptr_t)at;
    unsigned char before[64];
    if (bytes > sizeof before || memcmp(at, value, bytes) == 0)
        fail("no flip");
    memcpy(before, at, bytes);
    memcpy(to, value, bytes);
    const bool noticed = !flips_right(right, which);
    memcpy(to, before, bytes);
    flips++;
    passed += noticed;
    failed += !noticed;
    if (!noticed)
        printf("FAILED: %s with another %s: nothing notices\n", row, property);
}

void flips_same(const char *row, const char *property, const char *why)
{
    printf("%s, %s: %s\n", row, property, why);
    same++;
}

void flips_unknown(const char *row)
{
    printf("FAILED: %s: there is no reference of this row here\n", row);
    failed++;
}

int flips_end(void)
{
    printf("%d flips, %d properties that cannot be told by results\n%d passed, %d failed\n", flips, same, passed,
           failed);
    return failed > 0;
}
