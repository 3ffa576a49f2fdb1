/* cvy_training.h - one training: what its beginning (cvy_train_begin.c), its loop (cvy_train.c) and what it tells
 * (cvy_train_tell.c) share.
 * SPDX-License-Identifier: 0BSD */
#ifndef CVY_TRAINING_H
#define CVY_TRAINING_H

#include "cvy_private.h"

#include <stdio.h>

struct cvy_training {
    struct cvy_lock lock[2]; /* of the weights, of the state */
    const struct cvy_model *model;
    struct cvy_progress p;
    struct cvy_run run;
    struct cvy_data train_set, valid_set;
    int held;                 /* whether valid_set was held out of the training images */
    int tests;                /* images to test with, at the end */
    int weights, frozen;      /* parameters, as tensors, and how many of them training does not change */
    struct cvy_kept best;     /* weights, by validation; of p.best_epoch */
    struct cvy_kept ema, own; /* the moving average, where it is asked for; the training's weights meanwhile */
    float *grad, *sum;        /* where a gradient is to be seen; over several batches */
    unsigned char *real;      /* which of them are parameters */
    double norm;              /* of the last update's gradient; below zero: not known */
    const struct cvy_tracer *tracer;
    struct cvy_figures *figures; /* of --stats; NULL without it */
    struct cvy_resume old;       /* of --resume */
    struct cvy_said said;
    char *default_save, *state_path, *class_weights;
    float *class_weight;
    int balances; /* class_weight follows from the training rows */
    struct cvy_augment augment;
    char augment_text[CVY_AUGMENT_TEXT];
    int64_t steps; /* an epoch */
    FILE *log;
    int terminal, log_failed, save_failed;
    int best_is_new;             /* not saved yet */
    double started, shown, rate; /* clock; last progress line; images/s of this epoch */
    int64_t started_step;
};

/* What an evaluation found; accuracy is below zero where there was none. */
struct cvy_found {
    double loss, accuracy;
};

/* ---- cvy_train_begin.c ---- */

/* All before the first step: settings checked, files locked, data and first weights loaded, the log open. 0 after a
 * message. */
int cvy_train_begin(struct cvy_training *t, const struct cvy_option *option);

/* ---- cvy_train_tell.c ---- */

/* cvy_tell_epoch and cvy_tell_test write to the log, too; with --quiet, only there. */
void cvy_tell_begin(const struct cvy_training *t);
/* One line, rewritten in place, at most ten times a second. images: of this epoch, since the clock showed `begin`. */
void cvy_tell_progress(struct cvy_training *t, double begin, int64_t epoch_step, double images);
void cvy_tell_clear(void);
/* How the epoch went, p being as it was before the epoch was counted. best: the best so far by validation. */
void cvy_tell_epoch(struct cvy_training *t, const struct cvy_progress *p, double rate, double seconds,
                    struct cvy_found valid, int best);
/* What layers did in the epoch that `p` was in, to the log alone. */
void cvy_tell_figures(struct cvy_training *t, const struct cvy_progress *p);
void cvy_tell_saved(const struct cvy_training *t);
/* The last line: the test set, which nothing before has read. */
void cvy_tell_test(struct cvy_training *t, struct cvy_found test);

/* That the log is none of the other files of the training. 0 after a message. */
int cvy_log_is_apart(const struct cvy_training *t);
int cvy_log_open(struct cvy_training *t); /* 0 after a message */
void cvy_log_start(struct cvy_training *t);
int cvy_log_close(struct cvy_training *t); /* 0 after a message: none where a write failed before */

#endif
