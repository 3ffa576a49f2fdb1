/* test_help.h - what several unit tests share: running a suite, commands, scratch folders. */
#ifndef TEST_HELP_H
#define TEST_HELP_H

#include <check.h>

/* Runs the parts (NULL-terminated), prints the counts, and gives a program's status. */
int run_tests(const char *name, TCase *const *parts);

/* What a command prints, and its status as a last line. */
const char *output_of(const char *command);
/* The same of a command that succeeds, without its status. */
const char *printed_by(const char *command);

/* A new folder below /tmp, which the test removes when it is done. */
char *scratch_dir(void);
void remove_dir(const char *dir);
/* What is below a folder, and the status of looking. */
const char *listing(const char *dir);

#endif
