/* plan_study.h - what a study is to do: its file, its rows, its programs, and which training is next. */
#ifndef CONVOY_PLAN_STUDY_H
#define CONVOY_PLAN_STUDY_H

#include "study.h"

/* What a variant is: a spec, and overrides of it as --set has them. */
typedef struct VariantSpec {
    const char *spec;
    const char **set;
    int nset;
} VariantSpec;

/* Which rows of a set a study takes. */
typedef struct PoolTake {
    int rows, test_rows; /* at most so many to train with and to pick by together, to test; 0: all */
    int pick_rows; /* of rows that `rows` leaves out, so many are held out as well: rates are picked with less noise; 0:
                      none */
    int folds;     /* all rows are dealt into so many, and a seed tests with one of them; 0: with the set's test rows */
} PoolTake;

/* A study's file. Paths in it are seen from the file's folder. */
typedef struct StudyFile {
    Study study; /* names, variants, pairs, seeds, rates; not yet what the specs and the data say */
    const char *data;
    VariantSpec *of; /* by variant */
    double valid;    /* the share of rows that is held out to pick rates by, drawn anew for each seed */
    PoolTake take;
} StudyFile;
/* NULL after errors were collected. */
StudyFile *study_file_read(const char *path);

/* The rows of a set: what is cut anew for each seed, and what is only tested with. */
typedef struct Pool Pool;
/* Reads the labels of a set of `convoy data`. NULL after a message. */
Pool *pool_open(const char *set, const PoolTake *take);
/* Whether `convoy data` cut the set's test rows out of rows that had no split of their own. */
bool pool_was_cut(const char *set);
void pool_close(Pool *p);
/* Into the study: classes, rows to test (of folds: of the smallest), how far training sets overlap, the score, and what
 * always saying one class scores. */
void pool_describe(const Pool *p, Study *s);
int pool_rows(const Pool *p);                    /* to train with and to pick by; of folds, the least */
int pool_folds(const Pool *p);                   /* 1: the set's own test rows */
int pool_fold(const Pool *p, int64_t seed);      /* 0 where there are none */
int pool_test_rows(const Pool *p, int64_t seed); /* of the seed's fold */
int pool_classes(const Pool *p);
void pool_shape(const Pool *p, int shape[3]); /* of a row: channels, height, width */
const char *pool_meta(const Pool *p,
                      const char *key); /* of the set: "mean", "sd", a list in JSON; "1" where it has none */
uint32_t pool_crc(const Pool *p);       /* of the whole file */
/* Writes a set whose rows to train with are a seed's, and whose rows "to test" are those held out to pick rates by: no
 * test row is in it. The same seed, the same bytes. False after a message. */
bool pool_cut(const Pool *p, double share, int64_t seed, const char *path);
/* Writes the set of all rows that a seed trains with or picks by, as rows to train with, and of the test rows. Of
 * folds, all rows of the first seed's are to train with. */
bool pool_whole(const Pool *p, const char *path);
/* Writes the set of a fold's test rows alone. */
bool pool_test(const Pool *p, int fold, const char *path);

/* A training that is to be done. */
typedef struct Job {
    int variant, power; /* of the rate on the grid */
    Role role;
    int64_t seed;
} Job;
/* The trainings that are left, those that can begin now first: *ready of them. Which ones come later depends on what
 * the screen shows, so these are an estimate. */
Job *jobs_left(const Study *s, int *n, int *ready);
/* Which of its role's seeds a job has, from 0 on. */
int job_round(const Study *s, const Job *j);
double job_rate(const Study *s, const Job *j);
int job_epochs(const Study *s, const Job *j);

/* Where things are done, and how. */
typedef struct Runner {
    const char *folder;
    const char *const *program; /* the executable that trains each variant */
    const Pool *pool;
    double valid;
    int at_once;                        /* trainings */
    double deadline;                    /* by cvy_seconds(): a round that cannot end before it is not begun; 0: none */
    bool screen;                        /* rounds are not begun */
    void (*rates_found)(const Study *); /* called once, before the first round begins here; NULL: nobody asks */
    int part, parts;                    /* of the rounds, the part-th of every `parts`; 0: all */
} Runner;
/* Trains what is left and writes each result into FOLDER/runs.csv. 1: all is done; 0: a signal asked for the end
 * (*by_signal); -1: an error, after a message. What was finished is kept in any case. */
int study_run(Study *s, const Runner *r, int *by_signal);
/* Whether emitted programs hold rows out of those to train with unless --valid=0 tells them not to. */
bool study_holds_out(void);
/* Writes FOLDER/runs.csv. */
bool study_save(Study *s, const char *folder);

#endif
