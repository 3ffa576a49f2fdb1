/* cvy_train.c - `NAME train`: epochs of shuffled batches, the learning rate, evaluation, progress, log, checkpoints.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_schedule.h"
#include "cvy_settings.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- signals: finish the step, save, go ---- */

static volatile sig_atomic_t signal_seen;

static void on_signal(int number)
{
    signal_seen = number;
}

static void catch_signals(void)
{
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = on_signal;
    a.sa_flags = (int)(SA_RESETHAND | SA_RESTART); /* a second one ends the program at once */
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

/* ---- what one training is ---- */

struct train {
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
    struct cvy_resume old;    /* of --resume */
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

/* ---- what people see ---- */

static void clock_text(double seconds, char *text, size_t size)
{
    int s = seconds < 0 ? 0 : seconds > 3.5e6 ? 3500000 : (int)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%d:%02d", s / 60, s % 60);
}

/* "acc 93.12%", or "rmse 0.0812" where values are learnt. */
static const char *score_text(const struct train *t, double loss, double accuracy, char text[40])
{
    if (cvy_learns_classes(t->model))
        snprintf(text, 40, "acc %.2f%%", 100 * accuracy);
    else
        snprintf(text, 40, "rmse %.5g", sqrt(loss));
    return text;
}

/* One line, rewritten in place, at most ten times a second. */
static void show_progress(struct train *t, double begin, int64_t epoch_step, double images)
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

static void clear_progress(void)
{
    if (cvy_line_open)
        fputs("\r\033[K", stdout);
    cvy_line_open = 0;
}

/* One JSON object a line, flushed, so that a reader may follow. Takes `object`; `more`: members as text, or "". */
static void log_line(struct train *t, json_t *object, const char *more)
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

static void log_start(struct train *t)
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

/* What an evaluation found; accuracy is below zero where there was none. */
struct found {
    double loss, accuracy;
};
static const struct found nothing = {0, -1};

/* As "valid_loss", and "valid_accuracy" or "valid_rmse". */
static void log_found(const struct train *t, json_t *o, const char *split, struct found f)
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

/* Says how the epoch went, p being as it was before the epoch was counted. best: the best so far by validation. */
static void report_epoch(struct train *t, const struct cvy_progress *p, double rate, double seconds, struct found valid,
                         int best)
{
    double loss = p->loss_sum / p->seen, accuracy = p->correct_sum / p->seen;
    clear_progress();
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

/* The last line: the test set, which nothing before has read. */
static void report_test(struct train *t, struct found test)
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

/* ---- the loop ---- */

/* Removes temporaries that earlier saves left. */
static void clean(const struct train *t)
{
    cvy_out_clean(t->said.save);
    cvy_out_clean(t->state_path);
}

/* A failed save does not end the training: the disk may have room at the next one. */
static void save(struct train *t)
{
    if (t->said.no_save)
        return;
    const int failed_before = t->save_failed;
    /* the weights to use are those of the best epoch; as long as there is none, the last ones */
    const int weights = !t->p.best_epoch || t->best_is_new;
    const struct cvy_words words = {t->class_weights, t->augment_text};
    t->save_failed = !cvy_save(&t->run, t->state_path, &t->p, weights ? t->said.save : NULL,
                               t->p.best_epoch ? &t->best.run : NULL, t->ema.run.net ? &t->ema.run : NULL, &words);
    t->best_is_new &= t->save_failed;
    if (t->save_failed)
        cvy_warn("the checkpoint of step %" PRId64 " was not written; --resume goes on from an earlier one", t->p.step);
    else if (failed_before)
        clean(t);
}

/* Updates of an epoch, and the number of the one that the batch under way belongs to. */
static int64_t updates(const struct train *t)
{
    const int64_t every = (int64_t)t->p.setting[CVY_ACCUMULATE];
    return (t->steps + every - 1) / every;
}
static int64_t update_number(const struct train *t)
{
    return t->p.epoch * updates(t) + t->p.step_in_epoch / (int64_t)t->p.setting[CVY_ACCUMULATE];
}

static double rate_of(const struct train *t, int64_t update)
{
    const struct cvy_progress *p = &t->p;
    const struct cvy_moment m = {update, p->epochs * updates(t), updates(t),
                                 p->plateau.scale > 0 ? p->plateau.scale : 1};
    return cvy_rate(p->schedule, p->lr, p->setting, &m);
}

/* Backward, and the update where the batch is the last of those that it is for. Returns whether it was. */
static int backward(struct train *t, const struct cvy_batch *b, struct cvy_step *step)
{
    struct cvy_progress *p = &t->p;
    struct cvy_net *net = t->run.net;
    const int64_t n = t->model->param_floats, every = (int64_t)p->setting[CVY_ACCUMULATE],
                  had = p->step_in_epoch % every;
    const int last = p->step_in_epoch + 1 == t->steps, complete = last || had + 1 == every;
    if (every == 1 && p->setting[CVY_CLIP] == 0) {
        net->grad = last ? t->grad : NULL; /* seen once an epoch, for the log */
        t->model->backward(net, b, step);
        t->norm = net->grad ? cvy_gradient_norm(net->grad, t->real, n) : t->norm;
        net->grad = NULL;
        return 1;
    }
    step->hold = 1;
    net->grad = t->grad;
    t->model->backward(net, b, step);
    net->grad = NULL;
    float *g = every > 1 ? t->sum : t->grad;
    if (every > 1)
        cvy_gradient_add(t->sum, t->grad, n, had == 0);
    if (!complete)
        return 0;
    t->norm = cvy_gradient_scale(g, t->real, n, (int)had + 1, p->setting[CVY_CLIP]);
    step->hold = 0;
    step->step = (uint64_t)update_number(t);
    cvy_gradient_take(&t->run, g, step);
    return 1;
}

/* A loss so many times that of guessing comes back no more: training on would only spend time. */
#define DIVERGED 1e6

/* The rest of the epoch under way. 1: done; 0: stopped by a signal or the limit; -1: an error. */
static int train_epoch(struct train *t)
{
    struct cvy_progress *p = &t->p;
    const struct cvy_model *m = t->model;
    const struct cvy_batch *b;
    struct cvy_loader *loader = cvy_loader_start(&t->train_set, m, p->batch, m->min_batch, 1, p->seed,
                                                 (uint64_t)p->epoch, p->step_in_epoch, &t->augment);
    if (!loader)
        return -1;
    double begin = cvy_seconds(), images = 0;
    int result = 1;
    while (result == 1 && (b = cvy_loader_next(loader)) != NULL) {
        struct cvy_step step;
        double score = 0;
        memset(&step, 0, sizeof step);
        step.lr = (float)rate_of(t, update_number(t));
        memcpy(step.hyper, p->hyper, sizeof step.hyper);
        step.weight_decay = (float)p->weight_decay;
        step.weight_decay_other = p->decay_all ? (float)p->weight_decay : 0.0f;
        step.seed = p->seed;
        step.step = (uint64_t)p->step;
        step.label_smoothing = (float)p->setting[CVY_LABEL_SMOOTHING];
        step.class_weight = t->class_weight;
        cvy_loader_mixed(loader, &step);
        double loss = m->forward(t->run.net, b, &step, &score);
        const double guessing = m->train.loss->guessing(b->target, b->n, m->classes);
        if (!cvy_finite(loss) || loss > DIVERGED * guessing) {
            char said[96];
            snprintf(said, sizeof said, "%.3g, where guessing gives %.3g", loss, guessing);
            cvy_error("a smaller --lr, or --schedule one-cycle, may help; the last checkpoint is untouched",
                      "the loss is %s at epoch %" PRId64 ", step %" PRId64 " (learning rate %g): training stops",
                      cvy_nan(loss) ? "not a number"
                      : isinf(loss) ? "infinite"
                                    : said,
                      p->epoch + 1, p->step_in_epoch + 1, (double)step.lr);
            result = -1;
            break;
        }
        const int updated = backward(t, b, &step);
        if (updated && p->setting[CVY_EMA] > 0 && !cvy_average(&t->ema, &t->run, p->setting[CVY_EMA])) {
            result = -1;
            break;
        }
        p->step++;
        p->step_in_epoch++;
        p->loss_sum += loss * b->n;
        p->correct_sum += score;
        p->seen += b->n;
        images += b->n;
        show_progress(t, begin, p->step_in_epoch, images);
        if (p->step_in_epoch < t->steps && updated &&
            (signal_seen || (t->said.limit && (uint64_t)p->step >= t->said.limit)))
            result = 0;
    }
    double seconds = cvy_seconds() - begin;
    t->rate = seconds > 0 ? images / seconds : 0;
    cvy_loader_stop(loader);
    return result;
}

/* More right answers are better; of as many, a lower loss. */
static int is_better(const struct cvy_progress *p, struct found f)
{
    return cvy_finite(f.loss) && (!p->best_epoch || f.accuracy > p->best_accuracy ||
                                  (f.accuracy == p->best_accuracy && f.loss < p->best_loss));
}

/* After an epoch's last step: validate, save, report. It saves first: a reader of what is reported may be gone, and end
 * the program. */
static int finish_epoch(struct train *t, double begin)
{
    struct cvy_progress *p = &t->p;
    struct found valid = nothing;
    const double rate = rate_of(t, (p->epoch + 1) * updates(t) - 1);
    if (t->ema.run.net) { /* what is validated, and what is the best, is the average */
        if (!cvy_keep(&t->own, &t->run))
            return 0;
        cvy_put_back(&t->ema, &t->run);
    }
    if (t->valid_set.n && !t->said.no_eval && !cvy_evaluate(&t->run, &t->valid_set, &valid.loss, &valid.accuracy, NULL))
        return 0;
    const double seconds = cvy_seconds() - begin;
    const struct cvy_progress done = *p;
    const int best = valid.accuracy >= 0 && is_better(p, valid);
    p->epoch++;
    p->step_in_epoch = 0;
    p->loss_sum = p->correct_sum = p->seen = 0;
    if (best) {
        p->best_epoch = p->epoch;
        p->best_step = p->step;
        p->best_loss = valid.loss;
        p->best_accuracy = valid.accuracy;
        t->best_is_new = 1;
        if (!cvy_keep(&t->best, &t->run))
            return 0;
    }
    if (t->ema.run.net)
        cvy_put_back(&t->own, &t->run);
    if (p->schedule == CVY_PLATEAU && cvy_finite(valid.loss) && valid.accuracy >= 0)
        cvy_plateau_take(&p->plateau, p->lr, p->setting, valid.loss);
    save(t);
    report_epoch(t, &done, rate, seconds, valid, best);
    return 1;
}

/* Whether as many epochs as --patience allows passed without a better one. */
static int out_of_patience(const struct cvy_progress *p)
{
    return p->setting[CVY_PATIENCE] > 0 && p->best_epoch > 0 &&
           (double)(p->epoch - p->best_epoch) >= p->setting[CVY_PATIENCE];
}

/* The end of a training, with the weights that it chose. */
static int test(struct train *t)
{
    struct found found;
    struct cvy_data set;
    if (t->said.no_eval || !t->tests)
        return 1;
    if (t->p.best_epoch || t->ema.run.net)
        cvy_put_back(t->p.best_epoch ? &t->best : &t->ema, &t->run);
    int ok = cvy_data_load(&set, t->model, t->said.data, CVY_TEST_SPLIT, t->p.test_images);
    if (!ok)
        return 0;
    struct cvy_report report;
    ok =
        cvy_report_begin(&report, t->model, &set) && cvy_evaluate(&t->run, &set, &found.loss, &found.accuracy, &report);
    if (ok)
        report_test(t, found);
    if (ok && !t->said.quiet)
        ok = cvy_report_print(&report);
    cvy_report_end(&report);
    cvy_data_free(&set);
    return ok;
}

static void say_saved(const struct train *t)
{
    const struct cvy_progress *p = &t->p;
    printf("saved %s", t->said.save);
    if (p->best_epoch)
        printf(" of epoch %" PRId64 ", the best by validation", p->best_epoch);
    printf(" (and %s, for --resume)\n", t->state_path);
}

static int run_epochs(struct train *t)
{
    struct cvy_progress *p = &t->p;
    t->started = cvy_seconds();
    t->started_step = p->step;
    int result = 1;
    while (result == 1 && p->epoch < p->epochs && !out_of_patience(p) && !signal_seen &&
           !(t->said.limit && (uint64_t)p->step >= t->said.limit)) {
        double begin = cvy_seconds();
        result = train_epoch(t);
        if (result == 1 && !finish_epoch(t, begin))
            result = -1;
    }
    clear_progress();
    if (result < 0)
        return 1;
    if (result == 0)
        save(t); /* within an epoch; at an epoch's end it has been done */
    if (signal_seen) {
        fprintf(stderr, "%s: stopped by %s after step %" PRId64 "%s\n", cvy_program,
                signal_seen == SIGINT ? "SIGINT" : "SIGTERM", p->step,
                t->said.no_save || t->save_failed ? "; nothing was saved" : "; saved, --resume goes on from here");
        return 128 + signal_seen;
    }
    const int stopped = p->epoch < p->epochs && out_of_patience(p), done = p->epoch >= p->epochs || stopped;
    if (stopped && !t->said.quiet)
        printf("stopped after epoch %" PRId64 ": %.0f epochs without a better validation (--patience)\n", p->epoch,
               p->setting[CVY_PATIENCE]);
    if (!t->said.quiet && !t->said.no_save && !t->save_failed)
        say_saved(t);
    return (done && !test(t)) || t->save_failed || t->log_failed;
}

/* ---- the command ---- */

static void train_usage(struct train *t, const struct cvy_option *option)
{
    printf("usage: %s train [options]\n\n", t->model->name);
    cvy_wrap(
        "Trains the network; after each epoch it validates and saves. W holds the best epoch by validation; its state "
        "holds the last one. The test set is read once, at the end.\n"
        "Defaults (in brackets) are those of the spec's train section. Ctrl-C finishes the step, saves and stops; "
        "--resume goes on "
        "from there and ends with the same bytes as if it never stopped.\n",
        0, 0);
    cvy_options_help(option);
    printf("\nexamples\n  %s train --epochs 10 --lr 0.2\n  %s train --resume\n  %s eval --weights %s\n", t->model->name,
           t->model->name, t->model->name, t->said.save);
}

/* What --resume cannot change may be given all the same, if it is what it was. */
static int same_as_before(const struct cvy_option *option, const char *name, int now, int before)
{
    if (!cvy_option_given(option, name) || now == before)
        return 1;
    cvy_error("leave it out, or start a new training with --init-from", "%s %d: the training to resume has %d", name,
              now, before);
    return 0;
}

/* The spec's optimiser may not have changed behind the training's back. */
static int same_optimiser(const struct train *t, const struct cvy_option *option)
{
    const struct cvy_optimiser *o = t->model->train.optimiser;
    const char *before = cvy_get_meta(&t->old.state, "optimiser");
    char *now = cvy_optimiser_text(&t->model->train);
    int same = now && before && strcmp(now, before) == 0;
    same |= cvy_option_sets(option, &t->p.weight_decay) || cvy_option_sets(option, &t->p.decay_all);
    for (int k = 0; k < cvy_hypers(o); k++)
        same |= cvy_option_sets(option, &t->p.hyper[k]);
    if (now && !same && t->said.force)
        cvy_warn("the spec's optimiser was %s when the training began and is %s now: the training keeps its own",
                 before ? before : "not said", now);
    else if (now && !same)
        cvy_error("its options give it anew; --force goes on as the training began",
                  "the spec's optimiser was %s when the training began and is %s now", before ? before : "not said",
                  now);
    same = now && (same || t->said.force);
    free(now);
    return same;
}

/* Settings of a resumed training are those that it was started with, unless they are given anew. */
static int merge_resumed(struct train *t, const struct cvy_option *option)
{
    struct cvy_progress old, *p = &t->p;
    if (!cvy_resume_open(&t->old, t->model, t->said.save, t->said.force))
        return 0;
    old = t->old.p;
    if (!same_as_before(option, "--batch", p->batch, old.batch) ||
        !same_as_before(option, "--train-images", p->train_images, old.train_images) || !same_optimiser(t, option))
        return 0;
    if (cvy_option_given(option, "--valid") && p->setting[CVY_VALID] != old.setting[CVY_VALID]) {
        cvy_error("leave it out, or start a new training with --init-from",
                  "--valid %.10g: the training to resume has %.10g", p->setting[CVY_VALID], old.setting[CVY_VALID]);
        return 0;
    }
    if (cvy_option_given(option, "--seed") && p->seed != old.seed) {
        cvy_error("leave it out, or start a new training with --init-from",
                  "--seed %" PRIu64 ": the training to resume has %" PRIu64, p->seed, old.seed);
        return 0;
    }
#define KEEP(name, field)                                                                                              \
    if (cvy_option_given(option, name))                                                                                \
    old.field = p->field
    KEEP("--epochs", epochs);
    KEEP("--lr", lr);
    KEEP("--weight-decay", weight_decay);
    for (int k = 0; k < CVY_HYPERS; k++)
        if (cvy_option_sets(option, &p->hyper[k]))
            old.hyper[k] = p->hyper[k];
    for (int k = 0; k < CVY_SETTINGS; k++)
        if (cvy_option_sets(option, &p->setting[k]))
            old.setting[k] = p->setting[k];
    KEEP("--decay-all", decay_all);
    KEEP("--schedule", schedule);
    KEEP("--test-images", test_images);
#undef KEEP
    if (!cvy_option_given(option, "--class-weights"))
        t->said.class_weights = cvy_get_meta(&t->old.state, "class_weights");
    if (!cvy_option_given(option, "--augment"))
        t->said.augment = cvy_get_meta(&t->old.state, "augment");
    *p = old;
    return 1;
}

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
static int log_is_apart(const struct train *t)
{
    const char *const log = t->said.log_path, *const save = t->said.no_save ? NULL : t->said.save,
                      *const other[] = {t->said.data, t->said.init_from, save, t->state_path};
    if (log && save && (strcmp(log, save) == 0 || strcmp(log, t->state_path) == 0)) {
        cvy_error(NULL, "--log and --save are one file, '%s'", log);
        return 0;
    }
    return cvy_spares(log, other, save ? 4 : 2);
}

static int open_log(struct train *t)
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

/* That the checkpoint can be written is tried before hours are spent. */
static int try_save(struct train *t)
{
    struct cvy_out out;
    if (t->said.no_save)
        return 1;
    int ok = cvy_out_open(&out, t->state_path);
    if (ok)
        cvy_out_drop(&out);
    ok = ok && cvy_out_open(&out, t->said.save);
    if (ok)
        cvy_out_drop(&out);
    return ok;
}

/* Two trainings that save to one place would mix their files: the second one does not begin. */
static int lock(struct train *t)
{
    return t->said.no_save || (cvy_lock_take(&t->lock[0], t->said.save) && cvy_lock_take(&t->lock[1], t->state_path));
}

static const char balanced[] = "balanced";

/* Each class by how rare it is among the training rows: rows / (classes x its rows), 0 where it has none. */
static int balance(struct train *t)
{
    enum { WIDTH = 20 };
    const struct cvy_data *d = &t->train_set;
    const int classes = t->model->classes;
    double *rows = cvy_alloc((size_t)classes, sizeof *rows);
    free(t->class_weights);
    t->class_weights = cvy_alloc((size_t)classes, WIDTH);
    t->class_weight = cvy_alloc((size_t)classes, sizeof *t->class_weight);
    const int ok = rows && t->class_weights && t->class_weight;
    for (int i = 0; ok && i < d->n; i++)
        rows[d->label[cvy_data_row(d, i)]]++;
    for (int c = 0, at = 0; ok && c < classes; c++) {
        t->class_weight[c] = rows[c] > 0 ? (float)(d->n / (classes * rows[c])) : 0;
        at += snprintf(t->class_weights + at, WIDTH, "%s%.9g", c ? "," : "", (double)t->class_weight[c]);
    }
    free(rows);
    return ok;
}

/* The weights of classes: the spec's, or those that were said. */
static int read_class_weights(struct train *t)
{
    const struct cvy_model *m = t->model;
    const char *said = t->said.class_weights;
    char *spec = NULL;
    if (m->train.loss->target != CVY_CLASS && (said ? *said != '\0' : t->p.setting[CVY_LABEL_SMOOTHING] > 0)) {
        cvy_error(NULL, "%s: the network '%s' learns numbers, by %s, and has no classes",
                  said ? "--class-weights" : "--label-smoothing", m->name, m->train.loss->help);
        return 0;
    }
    if (said ? strcmp(said, balanced) == 0 : m->train.class_weight == cvy_balanced) {
        t->balances = 1; /* once the rows are known */
        return (t->class_weights = cvy_format("%s", balanced)) != NULL;
    }
    if (!said && m->train.class_weight) {
        enum { WIDTH = 20 };
        spec = cvy_alloc((size_t)m->classes, WIDTH);
        for (int c = 0, at = 0; spec && c < m->classes; c++)
            at += snprintf(spec + at, WIDTH, "%s%.9g", c ? "," : "", (double)m->train.class_weight[c]);
        said = spec;
    }
    t->class_weights = said ? cvy_format("%s", said) : cvy_format("%s", "");
    free(spec);
    if (!t->class_weights)
        return 0;
    if (!*t->class_weights)
        return 1;
    t->class_weight = cvy_alloc((size_t)m->classes, sizeof *t->class_weight);
    int n = 0;
    double v;
    char number[64];
    for (const char *at = t->class_weights; t->class_weight && n <= m->classes; at++) {
        const size_t len = strcspn(at, ",");
        snprintf(number, sizeof number, "%.*s", (int)(len < sizeof number ? len : sizeof number - 1), at);
        if (n == m->classes || !cvy_parse_real(number, 0, 1e6, &v)) {
            n = -1;
            break;
        }
        t->class_weight[n++] = (float)v;
        at += len;
        if (!*at)
            break;
    }
    if (t->class_weight && n != m->classes)
        cvy_error(
            NULL,
            "--class-weights: '%.200s' is not 'balanced', nor %d numbers from 0 to 1000000 with commas between them",
            t->class_weights, m->classes);
    return t->class_weight && n == m->classes;
}

static int read_augment(struct train *t)
{
    const struct cvy_model *m = t->model;
    const char *said = t->said.augment ? t->said.augment : m->train.augment ? m->train.augment : "";
    char why[200];
    if (!cvy_augment_read(&t->augment, said, why, sizeof why)) {
        cvy_error(NULL, "--augment: %s", why);
        return 0;
    }
    if (cvy_augments_pixels(&t->augment) && m->width == 1) {
        cvy_error("--augment none", "--augment: the network '%s' reads no images, but %d numbers", m->name,
                  m->channels);
        return 0;
    }
    cvy_augment_write(&t->augment, t->augment_text);
    return 1;
}

static int prepare(struct train *t, const struct cvy_option *option)
{
    struct cvy_progress *p = &t->p;
    const struct cvy_model *m = t->model;
    t->state_path = cvy_state_path(t->said.save);
    if (!t->state_path || !log_is_apart(t) || !lock(t) || (t->said.resume && !merge_resumed(t, option)))
        return 0;
    if (!t->said.resume && !t->said.no_save && !cvy_may_save(m, t->said.save, p->seed, t->said.quiet, t->said.force))
        return 0;
    if (!read_class_weights(t) || !read_augment(t))
        return 0;
    for (int i = 0; i < m->ntensor; i++) {
        t->weights += cvy_is_param(&m->tensor[i]);
        t->frozen += cvy_is_param(&m->tensor[i]) && !cvy_learns(&m->tensor[i]);
    }
    if (t->frozen && !t->said.resume && !t->said.init_from && !t->said.quiet)
        cvy_warn("what is frozen keeps the weights that are drawn: --init-from W gives it others");
    if (p->batch < m->min_batch) {
        cvy_error(NULL, "--batch %d: a norm of this network sees a single value then; %d at least", p->batch,
                  m->min_batch);
        return 0;
    }
    if (!try_save(t))
        return 0;
    if (!cvy_data_load(&t->train_set, m, t->said.data, CVY_TRAIN_SPLIT, p->train_images) ||
        !cvy_data_validation(&t->valid_set, &t->train_set, m, t->said.data, p->setting[CVY_VALID], &t->held))
        return 0;
    if (!t->said.no_eval && (t->tests = cvy_data_count(m, t->said.data, CVY_TEST_SPLIT, p->test_images)) < 0)
        return 0;
    if (t->balances && !balance(t))
        return 0;
    t->steps = cvy_batches(t->train_set.n, p->batch, m->min_batch);
    if (t->steps == 0) {
        cvy_error(NULL, "%d training images are too few: a batch has %d at least", t->train_set.n, m->min_batch);
        return 0;
    }
    if (p->schedule == CVY_PLATEAU && (!t->valid_set.n || t->said.no_eval)) {
        cvy_error("--valid N holds images out", "--schedule plateau goes by the validation, and there is none");
        return 0;
    }
    if (p->setting[CVY_PATIENCE] > 0 && cvy_schedules[p->schedule].falls && !t->said.quiet)
        cvy_warn("--patience may end the training before %s has brought the rate down",
                 cvy_schedules[p->schedule].name);
    if (!cvy_run_open(&t->run, m, p->batch, t->said.threads, 0))
        return 0;
    t->run.rows = &t->train_set;
    t->norm = -1;
    const size_t floats = (size_t)m->param_floats;
    const int sums = p->setting[CVY_ACCUMULATE] > 1, sees = sums || p->setting[CVY_CLIP] > 0 || t->said.log_path;
    if ((sees && (!(t->real = cvy_gradient_places(m)) || !(t->grad = cvy_alloc_aligned(floats * sizeof *t->grad)))) ||
        (sums && !(t->sum = cvy_alloc_aligned(floats * sizeof *t->sum))))
        return 0;
    t->said.threads = t->run.net->threads; /* it may use fewer than it is offered */
    const uint32_t crc = cvy_data_crc(&t->valid_set, cvy_data_crc(&t->train_set, 0));
    if (t->said.resume) {
        if (!cvy_resume_best(&t->run, &t->old, t->said.save, p) || (p->best_epoch && !cvy_keep(&t->best, &t->run)) ||
            !cvy_resume_load(&t->run, &t->old, &t->ema))
            return 0;
        if (p->data_crc != crc && t->said.force) {
            cvy_warn("the training to resume had other images than these (%s)", t->train_set.what);
            p->data_crc = crc;
        } else if (p->data_crc != crc) {
            cvy_error("give the same --data, or start a new training with --init-from; --force goes on with these",
                      "the training to resume had other images than these (%s)", t->train_set.what);
            return 0;
        }
        if (p->step_in_epoch >= t->steps || p->step != p->epoch * t->steps + p->step_in_epoch) {
            cvy_error(NULL,
                      "step %" PRId64 " of the training to resume is not in epoch %" PRId64 ": an epoch has %" PRId64
                      " steps here",
                      p->step, p->epoch + 1, t->steps);
            return 0;
        }
    } else {
        p->data_crc = crc;
        if (!t->said.init_from || t->said.init_partial)
            cvy_draw(t->run.model, t->run.net, p->seed);
        if (t->said.init_from && !(t->said.init_partial ? cvy_load_partial(&t->run, t->said.init_from, t->said.force)
                                                        : cvy_load_weights(&t->run, t->said.init_from,
                                                                           t->said.force ? CVY_FORCED : CVY_CHECKED)))
            return 0;
    }
    return open_log(t);
}

static void say_hello(const struct train *t)
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

int cvy_command_train(int argc, char **argv, const struct cvy_model *m)
{
    struct train t;
    memset(&t, 0, sizeof t);
    t.model = m;
    t.lock[0].fd = t.lock[1].fd = -1;
    struct cvy_progress *p = &t.p;
    const struct cvy_train *d = &m->train;
    p->epochs = d->epochs > 0 ? d->epochs : 5;
    p->batch = d->batch > 0 ? d->batch : 64;
    p->lr = d->lr;
    memcpy(p->hyper, d->hyper, sizeof p->hyper);
    p->weight_decay = d->weight_decay;
    p->decay_all = d->decay_all;
    memcpy(p->setting, d->setting, sizeof p->setting);
    p->seed = d->seed;
    t.said.schedule = d->schedule ? d->schedule : "constant";
    t.said.threads = cvy_processors();
    t.said.save = t.default_save = cvy_format("%s.safetensors", m->name);
    if (!t.said.save)
        return 1;
    struct cvy_option option[CVY_TRAIN_OPTIONS];
    cvy_train_options(&t.said, p, d->optimiser, option);
    int parsed = cvy_options_parse(argc, argv, 2, "train", option), status = 1;
    if (parsed < 0)
        train_usage(&t, option);
    int ok = parsed > 0 && cvy_train_fits(&t.said, p, d->optimiser);
    if (ok && prepare(&t, option)) {
        t.terminal = isatty(STDOUT_FILENO);
        say_hello(&t);
        log_start(&t);
        if (p->epoch >= p->epochs) {
            if (!t.said.quiet)
                printf("all %d epochs are done; --epochs N goes on\n", p->epochs);
            status = 0;
        } else if (out_of_patience(p)) {
            if (!t.said.quiet)
                printf("stopped after epoch %" PRId64 " for want of a better validation; --patience 0 goes on\n",
                       p->epoch);
            status = 0;
        } else {
            catch_signals();
            status = run_epochs(&t);
        }
    }
    if (t.log && fclose(t.log) != 0 && !t.log_failed) {
        cvy_error(NULL, "cannot write '%s': %s", t.said.log_path, strerror(errno));
        status = status ? status : 1;
    }
    cvy_lock_drop(&t.lock[0]);
    cvy_lock_drop(&t.lock[1]);
    cvy_run_close(&t.run);
    cvy_resume_close(&t.old);
    cvy_data_free(&t.train_set);
    cvy_data_free(&t.valid_set);
    cvy_kept_free(&t.best);
    cvy_kept_free(&t.ema);
    cvy_kept_free(&t.own);
    free(t.grad);
    free(t.real);
    free(t.sum);
    free(t.default_save);
    free(t.state_path);
    free(t.class_weights);
    free(t.class_weight);
    return parsed < 0 ? 0 : parsed == 0 ? 2 : status;
}
