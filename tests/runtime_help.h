/* runtime_help.h - what the runtime's tests share: an empty folder for each test, and the fake network's command line
 * run in a child process. */
#ifndef RUNTIME_HELP_H
#define RUNTIME_HELP_H

#include <check.h>
#include <stddef.h>

extern char out_text[1 << 16], err_text[1 << 16]; /* of the last run */
extern long file_limit;                           /* RLIMIT_FSIZE of the next run; 0: none */

void enter(void); /* a test's fixture: into an empty folder, and out of it */
void leave(void);
size_t slurp(const char *path, void *to, size_t room); /* a whole file, shorter than room */
void spit(const char *path, const void *data, size_t n);
int run(const char *words);
void fails(const char *words, int status, const char *text);
void same_files(const char *a, const char *b);
int files_here(void);
double accuracy(const char *words); /* of `eval --json` */
/* A group of tests, each in an empty folder. tests: NULL at the end. */
void add_cases(Suite *suite, const char *name, const TTest *const *test);
void add_data_cases(Suite *suite);     /* test_runtime_data.c */
void add_file_cases(Suite *suite);     /* test_runtime_files.c */
void add_identity_cases(Suite *suite); /* test_runtime_identity.c */

/* test_runtime_files.c: a checkpoint of 16 steps, fake.safetensors, and its bytes */
extern char good[1 << 16];
extern size_t good_bytes;
void make_good(void);
/* A safetensors file of a header's text and `bytes` of zeros. */
void write_tensors(const char *path, const char *header, size_t bytes);

#define RUNS(words)                                                                                                    \
    do {                                                                                                               \
        int s_ = run(words);                                                                                           \
        ck_assert_msg(s_ == 0, "'%s' ended with %d: %s", words, s_, err_text);                                         \
    } while (0)

/* Options of a training that takes an instant: 16 steps per epoch. */
#define SHORT " --train-images 500 --test-images 100 --nesterov"

#endif
