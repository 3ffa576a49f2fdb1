/* cvy_train.c - `NAME train`: epochs of shuffled batches, the learning rate, validation, checkpoints, signals.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_training.h"

#include "cvy_schedule.h"
#include "cvy_settings.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
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

/* ---- the loop ---- */

/* Removes temporaries that earlier saves left. */
static void clean(const struct cvy_training *t)
{
    cvy_out_clean(t->said.save);
    cvy_out_clean(t->state_path);
}

/* A failed save does not end the training: the disk may have room at the next one. */
static void save(struct cvy_training *t)
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
static int64_t updates(const struct cvy_training *t)
{
    const int64_t every = (int64_t)t->p.setting[CVY_ACCUMULATE];
    return (t->steps + every - 1) / every;
}
static int64_t update_number(const struct cvy_training *t)
{
    return t->p.epoch * updates(t) + t->p.step_in_epoch / (int64_t)t->p.setting[CVY_ACCUMULATE];
}

static double rate_of(const struct cvy_training *t, int64_t update)
{
    const struct cvy_progress *p = &t->p;
    const struct cvy_moment m = {update, p->epochs * updates(t), updates(t),
                                 p->plateau.scale > 0 ? p->plateau.scale : 1};
    return cvy_rate(p->schedule, p->lr, p->setting, &m);
}

/* Whether the batch under way is the last of those that its update is for. */
static int completes(const struct cvy_training *t)
{
    const int64_t every = (int64_t)t->p.setting[CVY_ACCUMULATE];
    return t->p.step_in_epoch + 1 == t->steps || (t->p.step_in_epoch + 1) % every == 0;
}

/* Whether this batch, and the update that it completes, is one of those that --stats looks at. */
static int looks(const struct cvy_training *t)
{
    const int64_t all = updates(t), some = t->said.stats_updates < all ? t->said.stats_updates : all,
                  number = update_number(t) - t->p.epoch * all;
    return t->figures && completes(t) && (number + 1) * some / all > number * some / all;
}

/* Backward, and the update where the batch is the last of those that it is for. Returns whether it was. */
static int backward(struct cvy_training *t, const struct cvy_batch *b, struct cvy_step *step,
                    struct cvy_figures *figures)
{
    struct cvy_progress *p = &t->p;
    struct cvy_net *net = t->run.net;
    const int64_t n = t->model->param_floats, every = (int64_t)p->setting[CVY_ACCUMULATE],
                  had = p->step_in_epoch % every;
    if (every == 1 && p->setting[CVY_CLIP] == 0) {
        const int last = p->step_in_epoch + 1 == t->steps; /* seen once an epoch, for the log */
        net->grad = last || figures ? t->grad : NULL;
        t->model->backward(net, b, step);
        t->norm = last && net->grad ? cvy_gradient_norm(net->grad, t->real, n) : t->norm;
        net->grad = NULL;
        if (figures)
            cvy_figures_gradient(figures, t->grad);
        return 1;
    }
    step->hold = 1;
    net->grad = t->grad;
    t->model->backward(net, b, step);
    net->grad = NULL;
    float *g = every > 1 ? t->sum : t->grad;
    if (every > 1)
        cvy_gradient_add(t->sum, t->grad, n, had == 0);
    if (!completes(t))
        return 0;
    cvy_gradient_mean(g, n, (int)had + 1);
    if (figures)
        cvy_figures_gradient(figures, g);
    t->norm = cvy_gradient_clip(g, t->real, n, p->setting[CVY_CLIP]);
    step->hold = 0;
    step->step = (uint64_t)update_number(t);
    cvy_gradient_take(&t->run, g, step);
    return 1;
}

/* A loss so many times that of guessing comes back no more: training on would only spend time. */
#define DIVERGED 1e6

/* The rest of the epoch under way. 1: done; 0: stopped by a signal or the limit; -1: an error. */
static int train_epoch(struct cvy_training *t)
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
        struct cvy_figures *const figures = looks(t) ? t->figures : NULL;
        if (figures)
            cvy_figures_before(figures);
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
        if (figures && !cvy_figures_trace(figures, b, &step)) {
            result = -1;
            break;
        }
        const int updated = backward(t, b, &step, figures);
        if (figures)
            cvy_figures_after(figures);
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
        cvy_tell_progress(t, begin, p->step_in_epoch, images);
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
static int is_better(const struct cvy_progress *p, struct cvy_found f)
{
    return cvy_finite(f.loss) && (!p->best_epoch || f.accuracy > p->best_accuracy ||
                                  (f.accuracy == p->best_accuracy && f.loss < p->best_loss));
}

/* After an epoch's last step: validate, save, report. It saves first: a reader of what is reported may be gone, and end
 * the program. */
static int finish_epoch(struct cvy_training *t, double begin)
{
    struct cvy_progress *p = &t->p;
    struct cvy_found valid = {0, -1};
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
    cvy_tell_epoch(t, &done, rate, seconds, valid, best);
    cvy_tell_figures(t, &done);
    return 1;
}

/* Whether as many epochs as --patience allows passed without a better one. */
static int out_of_patience(const struct cvy_progress *p)
{
    return p->setting[CVY_PATIENCE] > 0 && p->best_epoch > 0 &&
           (double)(p->epoch - p->best_epoch) >= p->setting[CVY_PATIENCE];
}

/* The end of a training, with the weights that it chose. */
static int test(struct cvy_training *t)
{
    struct cvy_found found;
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
        cvy_tell_test(t, found);
    if (ok && !t->said.quiet)
        ok = cvy_report_print(&report);
    cvy_report_end(&report);
    cvy_data_free(&set);
    return ok;
}

static int run_epochs(struct cvy_training *t)
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
    cvy_tell_clear();
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
        cvy_tell_saved(t);
    return (done && !test(t)) || t->save_failed || t->log_failed;
}

/* ---- the command ---- */

static void train_usage(struct cvy_training *t, const struct cvy_option *option)
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

int cvy_command_train(int argc, char **argv, const struct cvy_model *m, const struct cvy_tracer *tracer)
{
    struct cvy_training t;
    memset(&t, 0, sizeof t);
    t.model = m;
    t.tracer = tracer;
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
    t.said.stats_updates = 16;
    t.said.save = t.default_save = cvy_format("%s.safetensors", m->name);
    if (!t.said.save)
        return 1;
    struct cvy_option option[CVY_TRAIN_OPTIONS];
    cvy_train_options(&t.said, p, d->optimiser, option);
    int parsed = cvy_options_parse(argc, argv, 2, "train", option), status = 1;
    if (parsed < 0)
        train_usage(&t, option);
    int ok = parsed > 0 && cvy_train_fits(&t.said, p, d->optimiser);
    if (ok && cvy_train_begin(&t, option)) {
        t.terminal = isatty(STDOUT_FILENO);
        cvy_tell_begin(&t);
        cvy_log_start(&t);
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
    if (!cvy_log_close(&t))
        status = status ? status : 1;
    cvy_lock_drop(&t.lock[0]);
    cvy_lock_drop(&t.lock[1]);
    cvy_figures_close(t.figures);
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
