/* study.h - the trainings of a study, as its CSV holds them. */
#ifndef CONVOY_STUDY_H
#define CONVOY_STUDY_H

#include "base.h"

enum {
    ROUND_RATES = 3,  /* rates of a counted seed, next to each other */
    SCREEN_RATES = 5, /* rates of a screening seed, before the grid is extended */
    MOST_EXTENDED = 2 /* rates by which the screen's grid may grow, to either side */
};

typedef enum Role {
    ROLE_SCREEN, /* finds the rates; never counted */
    ROLE_COUNT,  /* a round's */
    ROLE_LONG,   /* a round's, of the primary pair at twice the epochs */
    ROLES
} Role;
extern const char *const role_names[]; /* by Role, NULL-terminated */

typedef enum PairKind {
    PAIR_PRIMARY,
    PAIR_OTHER,
    PAIR_NULL,     /* one function, written twice: no difference may be found */
    PAIR_POSITIVE, /* the second must be found better */
    PAIR_KINDS
} PairKind;
extern const char
    *const pair_words[]; /* by PairKind, NULL-terminated: the header's "primary", "compare", "null", "positive" */

typedef struct Pair {
    int a, b; /* variants; a difference is b's score minus a's */
    PairKind kind;
} Pair;

typedef struct Variant {
    const char *name, *what; /* what: how it differs from the base spec, for people */
} Variant;

/* One training that has ended. Scores are shares of rows. */
typedef struct Training {
    int variant, epochs;
    Role role;
    int64_t seed;
    double rate;
    bool diverged;                /* then the numbers below may be missing: NaN, and rows 0 */
    double valid, test;           /* by the study's score; valid picks the rate, test is the result */
    double train_loss, test_loss; /* means of the last epoch, of the test rows */
    int64_t correct, rows;        /* of the test rows */
    const char *answers;          /* which of them are right (answers.h); NULL: not kept */
} Training;

typedef struct Study {
    const char *name, *network, *data, *target,
        *fingerprint; /* for people, but for the fingerprint: of code, data and specs */
    Variant *variant;
    int nvariant;
    Pair *pair; /* the first is the primary */
    int npair;
    const char *score; /* SCORE_RECALL, or "": accuracy */
    double
        effective; /* of a mean recall: so many rows, all of one kind, would have its standard error; 0: of accuracy */
    double margin; /* points */
    double guessing; /* the share of the largest class among the test rows */
    double overlap;  /* as t_interval()'s `again`; 0: one fixed test set */
    int classes, epochs;
    int64_t rows;               /* to test */
    int screens, seeds, longer; /* seeds that are planned, by role */
    double rate, factor;        /* the middle of the screen's grid, and from one rate to the next */
    int *extension, *look;      /* seeds that were added after the planned end; whole rounds at which somebody looked */
    int nextension, nlook;
    Training *run;
    int nrun;
} Study;

/* The score where classes are of very different size: the mean over the classes of the share of each class's rows that
 * are answered right. */
#define SCORE_RECALL "mean recall"

/* ---- runs.c */

/* The study of a CSV. NULL after errors that name file and line were collected. */
Study *study_read(const char *path);
/* The same study, the same bytes: trainings are put in order, which all that reads them needs. */
const char *study_csv(Study *s);
void study_sort(Study *s);
bool same_training(const Training *a, const Training *b); /* of one variant, role, seed and rate, whatever came of it */
bool scores_recall(const Study *s);
/* Whether bits of answers are kept: of one fixed test set, where the score counts rows. */
bool keeps_answers(const Study *s);
/* Of n trainings of one variant and seed, rates rising, the one that counts: the best by validation, of equal ones that
 * of the middle rate, else the lower. NULL: all diverged, or n is not ROUND_RATES. */
const Training *study_pick(const Training *of, int n);
double score_rows(const Study *s);    /* as many as its standard error is of */
int seeds_planned(const Study *s);    /* with all extensions */
bool study_name_ok(const char *name); /* of a variant or a study: letters, digits, _ . + -, 40 at the most */

#endif
