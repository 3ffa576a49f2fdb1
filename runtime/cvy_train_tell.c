/* cvy_train_tell.c - what a training tells: its progress, a line an epoch, the log.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_training.h"

#include "cvy_schedule.h"
#include "cvy_settings.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the log ---- */

/* A program that was killed may have left half a line at the log's end: it is cut off. */
static int cut_torn_line(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return 1;
    FILE *f = fopen(path, "r+b");
    off_t whole = 0, at = 0;
    int c, ok = f != NULL;
    while (ok && (c = getc(f)) != EOF)
        if (at++, c == '\n')
            whole = at;
    ok = ok && !ferror(f) && (whole == at || ftruncate(fileno(f), whole) == 0);
    if (!ok)
        cvy_error(NULL, "cannot write '%s': %s", path, strerror(errno));
    if (f)
        fclose(f);
    return ok;
}

/* That the log is none of the other files of the training. */
int cvy_log_is_apart(const struct cvy_training *t)
{
    const char *const log = t->said.log_path, *const save = t->said.no_save ? NULL : t->said.save,
                      *const other[] = {t->said.data, t->said.init_from, save, t->state_path};
    if (log && save && (strcmp(log, save) == 0 || strcmp(log, t->state_path) == 0)) {
        cvy_error(NULL, "--log and --save are one file, '%s'", log);
        return 0;
    }
    return cvy_spares(log, other, save ? 4 : 2);
}

int cvy_log_open(struct cvy_training *t)
{
    if (!t->said.log_path)
        return 1;
    if (t->said.resume && !cut_torn_line(t->said.log_path))
        return 0;
    t->log = fopen(t->said.log_path, t->said.resume ? "ab" : "wb");
    if (!t->log)
        cvy_error(NULL, "cannot write '%s': %s", t->said.log_path, strerror(errno));
    return t->log != NULL;
}

int cvy_log_close(struct cvy_training *t)
{
    if (!t->log || fclose(t->log) == 0 || t->log_failed)
        return 1;
    cvy_error(NULL, "cannot write '%s': %s", t->said.log_path, strerror(errno));
    return 0;
}

/* One JSON object a line, flushed, so that a reader may follow. Takes `object`; `more`: members as text, or "". */
static void log_line(struct cvy_training *t, json_t *object, const char *more)
{
    char *text =
        t->log && object ? cvy_json_text(object, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) : NULL;
    size_t len = text ? strlen(text) - 1 : 0; /* without the brace at its end */
    if (t->log && !t->log_failed &&
        (!text || fprintf(t->log, "%.*s%s}\n", (int)len, text, more) < 0 || fflush(t->log) != 0)) {
        cvy_error("training goes on without it", "cannot write '%s': %s", t->said.log_path,
                  text ? strerror(errno) : "out of memory");
        t->log_failed = 1;
    }
    free(text);
    json_decref(object);
}

void cvy_log_start(struct cvy_training *t)
{
    const struct cvy_progress *p = &t->p;
    if (!t->log)
        return;
    json_t *o = json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s, s:b, s:i, s:i, s:i, s:I}", "event", "start", "network",
                          t->model->name, "order", t->model->order, "target", t->model->target, "spec_hash",
                          t->model->spec_hash, "data", t->train_set.what, "synthetic", t->train_set.synthetic,
                          "train_images", t->train_set.n, "valid_images", t->valid_set.n, "test_images", t->tests,
                          "first_step", (json_int_t)p->step);
    const struct cvy_optimiser *optimiser = t->model->train.optimiser;
    json_t *s = json_pack("{s:i, s:i, s:s, s:f, s:f, s:b, s:s, s:s, s:s, s:i}", "epochs", p->epochs, "batch", p->batch,
                          "optimizer", optimiser->name, "lr", p->lr, "weight_decay", p->weight_decay, "decay_all",
                          p->decay_all, "schedule", cvy_schedules[p->schedule].name, "class_weights", t->class_weights,
                          "augment", t->augment_text, "threads", t->said.threads);
    char seed[64];
    snprintf(seed, sizeof seed, ",\"seed\":%" PRIu64, p->seed); /* the library's whole numbers have a sign */
    if (o && s && cvy_json_settings(s, p->setting) && cvy_json_hyper(s, optimiser, p->hyper))
        json_object_update(o, s);
    json_decref(s);
    log_line(t, o, seed);
}

/* As "valid_loss", and "valid_accuracy" or "valid_rmse". */
static void log_found(const struct cvy_training *t, json_t *o, const char *split, struct cvy_found f)
{
    char name[32];
    if (!o || f.accuracy < 0)
        return;
    snprintf(name, sizeof name, "%s_loss", split);
    json_object_set_new(o, name, cvy_finite(f.loss) ? json_real(f.loss) : json_null());
    snprintf(name, sizeof name, "%s_%s", split, cvy_learns_classes(t->model) ? "accuracy" : "rmse");
    if (cvy_learns_classes(t->model))
        json_object_set_new(o, name, json_real(f.accuracy));
    else
        json_object_set_new(o, name, cvy_finite(f.loss) ? json_real(sqrt(f.loss)) : json_null());
}

/* ---- what people see ---- */

void cvy_tell_begin(const struct cvy_training *t)
{
    const struct cvy_optimiser *o = t->model->train.optimiser;
    const struct cvy_progress *p = &t->p;
    if (t->said.quiet)
        return;
    printf("%s%s%s: %d images to train", t->model->name, t->model->order ? ", " : "",
           t->model->order ? t->model->order : "", t->train_set.n);
    if (t->held)
        printf(", %d held out of them to validate (--valid N)", t->valid_set.n);
    else
        printf(", %d to validate", t->valid_set.n);
    printf(", %d to test, from %s%s\n", t->tests, t->train_set.what,
           t->train_set.synthetic ? ": a SYNTHETIC set, not a benchmark" : "");
    printf("%d epoch%s of %" PRId64 " step%s, batch %d, %s, lr %g %s", p->epochs, p->epochs == 1 ? "" : "s", t->steps,
           t->steps == 1 ? "" : "s", p->batch, o->name, p->lr, cvy_schedules[p->schedule].name);
    for (int k = 0; k < cvy_hypers(o); k++)
        if (!o->hyper[k].off)
            printf(", %s %g", o->hyper[k].name, p->hyper[k]);
        else if (p->hyper[k] != 0)
            printf(", %s", o->hyper[k].name);
    for (int k = 0; k < CVY_SETTINGS; k++)
        if (k != CVY_VALID && p->setting[k] != cvy_settings[k].usual)
            printf(", %s %g", cvy_settings[k].name, p->setting[k]);
    if (*t->augment_text)
        printf(", augmented by %s", t->augment_text);
    if (t->frozen)
        printf(", %d of %d tensors of weights frozen", t->frozen, t->weights);
    printf(", weight decay %g, seed %" PRIu64 ", %d thread%s\n", p->weight_decay, p->seed, t->said.threads,
           t->said.threads == 1 ? "" : "s");
    if (p->step > 0)
        printf("resumed after epoch %" PRId64 ", step %" PRId64 "\n", p->epoch, p->step);
    fflush(stdout);
}

static void clock_text(double seconds, char *text, size_t size)
{
    int s = seconds < 0 ? 0 : seconds > 3.5e6 ? 3500000 : (int)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%d:%02d", s / 60, s % 60);
}

/* "acc 93.12%", or "rmse 0.0812" where values are learnt. */
static const char *score_text(const struct cvy_training *t, double loss, double accuracy, char text[40])
{
    if (cvy_learns_classes(t->model))
        snprintf(text, 40, "acc %.2f%%", 100 * accuracy);
    else
        snprintf(text, 40, "rmse %.5g", sqrt(loss));
    return text;
}

void cvy_tell_progress(struct cvy_training *t, double begin, int64_t epoch_step, double images)
{
    double now = cvy_seconds();
    if (!t->terminal || t->said.quiet || now - t->shown < 0.1)
        return;
    char eta[32], line[256], score[40];
    int64_t left = (int64_t)t->p.epochs * t->steps - t->p.step;
    int64_t done = t->p.step - t->started_step;
    clock_text(done ? (now - t->started) / (double)done * (double)left : 0, eta, sizeof eta);
    t->shown = now;
    snprintf(line, sizeof line,
             "epoch %" PRId64 "/%d  step %" PRId64 "/%" PRId64 "  loss %.4f  %s  %.0f images/s  ETA %s", t->p.epoch + 1,
             t->p.epochs, epoch_step, t->steps, t->p.loss_sum / t->p.seen,
             score_text(t, t->p.loss_sum / t->p.seen, t->p.correct_sum / t->p.seen, score),
             now > begin ? images / (now - begin) : 0.0, eta);
    printf("\r\033[K%.*s", cvy_columns() - 1, line); /* a line that wraps cannot be rewritten */
    fflush(stdout);
    cvy_line_open = 1;
}

void cvy_tell_clear(void)
{
    if (cvy_line_open)
        fputs("\r\033[K", stdout);
    cvy_line_open = 0;
}

void cvy_tell_epoch(struct cvy_training *t, const struct cvy_progress *p, double rate, double seconds,
                    struct cvy_found valid, int best)
{
    double loss = p->loss_sum / p->seen, accuracy = p->correct_sum / p->seen;
    cvy_tell_clear();
    if (!t->said.quiet) {
        char score[40];
        int at = printf("epoch %" PRId64 "/%d  loss %.4f  %s", p->epoch + 1, p->epochs, loss,
                        score_text(t, loss, accuracy, score));
        char rest[1024], *to = rest; /* room for the longest numbers */
        *to = '\0';
        if (valid.accuracy >= 0)
            to += snprintf(rest, sizeof rest, "  valid loss %.4f  valid %s%s", valid.loss,
                           score_text(t, valid.loss, valid.accuracy, score), best ? " (best)" : "");
        snprintf(to, sizeof rest - (size_t)(to - rest), "  %.1f s  %.0f images/s", seconds, t->rate);
        if (t->terminal && at + (int)strlen(rest) > cvy_columns()) /* a file has an epoch on one line */
            printf("\n    ");
        printf("%s\n", rest);
        fflush(stdout);
    }
    if (!t->log)
        return;
    json_t *o = json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "event", "epoch", "epoch",
                          (json_int_t)p->epoch + 1, "step", (json_int_t)p->step, "lr", rate, "train_loss", loss,
                          cvy_learns_classes(t->model) ? "train_accuracy" : "train_rmse",
                          cvy_learns_classes(t->model) ? accuracy : sqrt(loss), "seconds", seconds, "images_per_second",
                          t->rate);
    if (o && cvy_finite(t->norm) && t->norm >= 0)
        json_object_set_new(o, "gradient_norm", json_real(t->norm));
    log_found(t, o, "valid", valid);
    log_line(t, o, "");
}

void cvy_tell_figures(struct cvy_training *t, const struct cvy_progress *p)
{
    if (t->figures) /* an epoch's last update is looked at, so that there are some */
        log_line(t, cvy_figures_take(t->figures, p), "");
}

void cvy_tell_saved(const struct cvy_training *t)
{
    const struct cvy_progress *p = &t->p;
    printf("saved %s", t->said.save);
    if (p->best_epoch)
        printf(" of epoch %" PRId64 ", the best by validation", p->best_epoch);
    printf(" (and %s, for --resume)\n", t->state_path);
}

void cvy_tell_test(struct cvy_training *t, struct cvy_found test)
{
    const struct cvy_progress *p = &t->p;
    const int64_t epoch = p->best_epoch ? p->best_epoch : p->epoch;
    if (!t->said.quiet) {
        char score[40];
        printf("test loss %.4f  test %s  (epoch %" PRId64 "%s; %d images)\n", test.loss,
               score_text(t, test.loss, test.accuracy, score), epoch, p->best_epoch ? ", the best by validation" : "",
               t->tests);
        fflush(stdout);
    }
    json_t *o = t->log ? json_pack("{s:s, s:I}", "event", "test", "epoch", (json_int_t)epoch) : NULL;
    log_found(t, o, "test", test);
    if (t->log)
        log_line(t, o, "");
}
