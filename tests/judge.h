/* judge.h - one case of the campaign: a spec is emitted, compiled and run on random numbers, and every tensor of its
 * trace is compared with the reference interpreter. */
#ifndef JUDGE_H
#define JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the numbers are like. */
typedef enum Fill {
    FILL_PLAIN,
    FILL_INTEGER,  /* small integers in inputs, weights and biases: conv, linear and max-pool must be exact */
    FILL_CONSTANT, /* each channel of the input is one integer: norms see no variance */
    FILL_OUTLIER,  /* integers whose mean is 1e4 times their deviation, and some that are far from all others: pixels, a
                      row or an image of either end; the statistics of what is exact are compared closely */
    FILL_NAN,    /* plain, and some numbers of one image are NaN: NaN wherever the reference has it, and nowhere else */
    FILL_OFFSET, /* the same without those: sums that are not about a pivot lose all digits of a variance */
    FILL_FAR,    /* channels whose mean is 1e4 times their deviation; integers, so that the norm's input is exact */
} Fill;

typedef struct Case {
    const char *spec; /* path of the spec */
    const char *dir;  /* a folder of the case's own, made by the caller */
    const char *convoy, *target, *cc, *cflags;
    const char *purpose; /* of gen's --for, or NULL */
    const char *env;     /* one more NAME=VALUE for make, or NULL */
    const char
        *objects;     /* a built folder of the same compiler and target whose runtime's objects may be taken, or NULL */
    uint64_t seed;    /* of the numbers */
    int n, n_predict; /* images in the trace, and in the prediction */
    int batch;        /* the network has room for so many in the trace */
    Fill fill;
    bool threads; /* also with 2 and 5 threads: the same bytes as with one */
    bool again;   /* also emit it a second time elsewhere, in another locale: the same bytes */
} Case;

typedef enum Outcome { CASE_PASSED, CASE_GEN, CASE_MAKE, CASE_RUN, CASE_WRONG, CASE_CRASHED } Outcome;
extern const char *const outcome_name[];

typedef struct Verdict {
    Outcome outcome;
    char what[1024]; /* the first thing wrong, for people */
    char worst[128]; /* the tensor with the largest error by tolerance, and that ratio */
    double ratio;
    double noise;  /* how many times float32's own noise is allowed */
    double fold;   /* folded inference: the error by the output's largest magnitude */
    int tensors;   /* compared */
    int exact;     /* compared with == */
    int64_t nan;   /* numbers that are NaN in the reference and in the run */
    bool nan_may;  /* they may be */
    bool nan_more; /* and the run may have more of them in this tensor */
    int noisy;     /* beyond the tolerance, and within what rounding to float does to the reference itself */
    int64_t flips; /* decisions at kinks taken from the float run */
    double kept, expected, variance; /* ones in dropout masks: how many, how many by p, and the variance of that */
} Verdict;

Verdict judge(const Case *c);
/* Whether the front end takes the spec and computes the same shape of the logits, and the same stages. */
struct Shape;
struct RsCount;
bool accepted(const char *spec, const struct Shape *logits, const struct RsCount *count);
/* Runs a program; its output goes to `log`. Its exit status, or -1 where it did not end by itself in time. */
int run_program(const char *log, const char *dir, const char *env, const char *const *argv);
/* The end of a log, on few lines. */
void log_tail(const char *log, char *to, size_t size);
bool same_files(const char *a, const char *b);

#endif
