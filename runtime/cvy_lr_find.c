/* cvy_lr_find.c - `NAME lr-find`: a short training in which the learning rate rises from step to step, until the loss
 * runs away; by its curve people choose a rate. Nothing is saved. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINES = 25, /* of the printed curve */
    BAR = 40,   /* characters of the longest */
    SETTLED = 5 /* steps whose smoothed loss is hardly one: no rate is chosen by them */
};
static const double keep = 0.98;     /* of the smoothed loss, a step */
static const double runs_away = 4.0; /* times the least: as fastai */

struct find {
    const struct cvy_model *model;
    const char *data, *from_weights;
    double from, to, hyper[CVY_HYPERS], weight_decay;
    int steps, batch, images, threads, json, decay_all;
    uint64_t seed;
    double *lr, *loss, *smooth; /* by step; so many of them: */
    int n;
    double steepest, tenth; /* rates; 0: none is found */
};

/* The loss without its jumps: the mean of all steps so far, the later ones counting more. */
static void take_loss(struct find *f, double *mean, double lr, double loss)
{
    *mean = keep * *mean + (1 - keep) * loss;
    f->lr[f->n] = lr;
    f->loss[f->n] = loss;
    f->smooth[f->n] = *mean / (1 - pow(keep, f->n + 1));
    f->n++;
}

static int ran_away(const struct find *f)
{
    double least = f->smooth[0];
    for (int i = 1; i < f->n; i++)
        least = f->smooth[i] < least ? f->smooth[i] : least;
    return f->n > SETTLED && f->smooth[f->n - 1] > runs_away * least;
}

/* Step by step. 0 after a message. */
static int find_steps(struct find *f, struct cvy_run *r, const struct cvy_data *d)
{
    const struct cvy_model *m = f->model;
    const int64_t per_pass = cvy_batches(d->n, f->batch, m->min_batch);
    double mean = 0;
    if (per_pass == 0) {
        cvy_error(NULL, "%d training images are too few: a batch has %d at least", d->n, m->min_batch);
        return 0;
    }
    int away = 0;
    struct cvy_augment augment; /* as the training has it */
    char why[8];
    (void)cvy_augment_read(&augment, m->train.augment ? m->train.augment : "", why, sizeof why);
    for (uint64_t pass = 0; f->n < f->steps && !away; pass++) {
        const struct cvy_batch *b;
        struct cvy_loader *l = cvy_loader_start(d, m, f->batch, m->min_batch, 1, f->seed, pass, 0, &augment);
        if (!l)
            return 0;
        while (f->n < f->steps && !away && (b = cvy_loader_next(l)) != NULL) {
            struct cvy_step step;
            memset(&step, 0, sizeof step);
            const double lr = f->from * pow(f->to / f->from, (double)f->n / (f->steps - 1));
            step.lr = (float)lr;
            memcpy(step.hyper, f->hyper, sizeof step.hyper);
            step.weight_decay = (float)f->weight_decay;
            step.weight_decay_other = f->decay_all ? (float)f->weight_decay : 0.0f;
            step.seed = f->seed;
            step.step = (uint64_t)f->n;
            cvy_loader_mixed(l, &step);
            const double loss = m->forward(r->net, b, &step, NULL);
            away = !cvy_finite(loss);
            if (away)
                break;
            take_loss(f, &mean, lr, loss);
            away = ran_away(f);
            if (!away)
                m->backward(r->net, b, &step);
        }
        cvy_loader_stop(l);
    }
    return 1;
}

/* Where the smoothed loss falls fastest by the rate's logarithm, and a tenth of the rate at which it is least. */
static void choose(struct find *f)
{
    double fall = 0, least = HUGE_VAL;
    for (int i = SETTLED; i + 1 < f->n; i++) {
        const double by = (f->smooth[i + 1] - f->smooth[i - 1]) / log(f->lr[i + 1] / f->lr[i - 1]);
        if (by < fall) {
            fall = by;
            f->steepest = f->lr[i];
        }
    }
    for (int i = SETTLED; i < f->n; i++)
        if (f->smooth[i] < least) {
            least = f->smooth[i];
            f->tenth = f->lr[i] / 10;
        }
    if (fall == 0)
        f->tenth = 0;
}

/* ---- what is said ---- */

static void print_curve(const struct find *f)
{
    double most = 0, least = HUGE_VAL;
    for (int i = 0; i < f->n; i++) {
        const double v = fmin(f->smooth[i], 2 * f->smooth[0]); /* one that ran away would hide the rest */
        most = v > most ? v : most;
        least = v < least ? v : least;
    }
    printf("learning rate    loss\n");
    const int lines = f->n < LINES ? f->n : LINES;
    for (int k = 0; k < lines; k++) {
        const int i = lines > 1 ? (int)((int64_t)k * (f->n - 1) / (lines - 1)) : 0;
        const double v = fmin(f->smooth[i], most);
        const int bar = most > least ? (int)(BAR * (v - least) / (most - least) + 0.5) : 0;
        printf("  %9.3g  %8.4f  %.*s\n", f->lr[i], f->smooth[i], bar, "########################################");
    }
}

static int print_found(const struct find *f)
{
    if (!f->json) {
        print_curve(f);
        if (f->n < f->steps)
            printf("stopped at step %d of %d: the loss ran away\n", f->n, f->steps);
        if (f->tenth > 0)
            printf("the loss falls fastest at %.2g; a tenth of the rate where it is least: %.2g\nnext:  %s train --lr "
                   "%.2g\n",
                   f->steepest, f->tenth, f->model->name, f->steepest < f->tenth ? f->steepest : f->tenth);
        else
            printf("the loss does not fall: no rate is found; --from and --to take others\n");
        return 1;
    }
    json_t *lr = json_array(), *loss = json_array(), *smooth = json_array();
    for (int i = 0; i < f->n; i++) {
        json_array_append_new(lr, json_real(f->lr[i]));
        json_array_append_new(loss, json_real(f->loss[i]));
        json_array_append_new(smooth, json_real(f->smooth[i]));
    }
    json_t *o = json_pack("{s:s, s:i, s:b, s:o, s:o, s:o}", "network", f->model->name, "steps", f->n, "ran_away",
                          f->n < f->steps, "lr", lr, "loss", loss, "smoothed", smooth);
    if (o && f->tenth > 0) {
        json_object_set_new(o, "steepest", json_real(f->steepest));
        json_object_set_new(o, "tenth_of_least", json_real(f->tenth));
    }
    return cvy_json_print(o, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
}

int cvy_command_lr_find(int argc, char **argv, const struct cvy_model *m)
{
    const struct cvy_train *t = &m->train;
    struct find f = {.model = m,
                     .from = 1e-5,
                     .to = 10,
                     .weight_decay = t->weight_decay,
                     .decay_all = t->decay_all,
                     .steps = 100,
                     .batch = t->batch > 0 ? t->batch : 64,
                     .threads = cvy_processors(),
                     .seed = t->seed};
    memcpy(f.hyper, t->hyper, sizeof f.hyper);
    const struct cvy_option first[] = {
        {CVY_TEXT, "--data", "DATA", &f.data, 0, 0, "as of train", 0},
        {CVY_INT, "--train-images", "N", &f.images, 1, 2147483647, "only the first N training images", 0},
        {CVY_INT, "--steps", "N", &f.steps, 10, 100000, "at most", 0},
        {CVY_REAL, "--from", "X", &f.from, 1e-12, 1e6, "the first learning rate", 0},
        {CVY_REAL, "--to", "X", &f.to, 1e-12, 1e6, "the last one, unless the loss runs away before", 0},
        {CVY_INT, "--batch", "N", &f.batch, 1, 1048576, "images per step", 0},
        {CVY_REAL, "--weight-decay", "X", &f.weight_decay, 0, 1e6, "of weights", 0},
        {CVY_TEXT, "--init-from", "W", &f.from_weights, 0, 0, "begin with these weights, of the same network", 0},
        {CVY_U64, "--seed", "N", &f.seed, 0, 0, "of weights, shuffling, dropout", 0},
        {CVY_INT, "--threads", "N", &f.threads, 1, 1024, "the result is the same for any number", 0},
        {CVY_FLAG, "--json", NULL, &f.json, 0, 0, "every step, for scripts", 0},
    };
    enum { FIRST = sizeof first / sizeof *first };
    struct cvy_option option[FIRST + CVY_HYPER_OPTIONS + 1];
    memset(option, 0, sizeof option);
    memcpy(option, first, sizeof first);
    cvy_hyper_options(t->optimiser, f.hyper, option + FIRST);
    const int parsed = cvy_options_parse(argc, argv, 2, "lr-find", option);
    if (parsed < 0) {
        printf("usage: %s lr-find [options]\n\n", m->name);
        cvy_wrap("A short training in which the learning rate rises from step to step until the loss runs away. Saves "
                 "nothing.\n\n",
                 0, 0);
        cvy_options_help(option);
        return 0;
    }
    if (parsed == 0)
        return 2;
    struct cvy_run r = {0};
    struct cvy_data d = {0};
    int ok = 0;
    if (f.to <= f.from)
        cvy_error(NULL, "--from %g and --to %g: the rate is to rise", f.from, f.to);
    else if (f.batch < m->min_batch)
        cvy_error(NULL, "--batch %d: a norm of this network sees a single value then; %d at least", f.batch,
                  m->min_batch);
    else
        ok = cvy_data_load(&d, m, f.data, CVY_TRAIN_SPLIT, f.images) && cvy_run_open(&r, m, f.batch, f.threads, 0);
    f.lr = ok ? cvy_alloc((size_t)f.steps, sizeof *f.lr) : NULL;
    f.loss = f.lr ? cvy_alloc((size_t)f.steps, sizeof *f.loss) : NULL;
    f.smooth = f.loss ? cvy_alloc((size_t)f.steps, sizeof *f.smooth) : NULL;
    ok = f.smooth != NULL;
    if (ok && f.from_weights)
        ok = cvy_load_weights(&r, f.from_weights, CVY_CHECKED);
    else if (ok)
        cvy_draw(m, r.net, f.seed);
    ok = ok && find_steps(&f, &r, &d);
    if (ok)
        choose(&f);
    if (ok && f.n == 0) {
        cvy_error("a smaller --from", "the loss is not finite at the first step");
        ok = 0;
    }
    ok = ok && print_found(&f);
    free(f.lr);
    free(f.loss);
    free(f.smooth);
    cvy_run_close(&r);
    cvy_data_free(&d);
    return !ok;
}
