/* cvy_train_begin.c - before the first step of a training: what was said, the spec or the training to resume decides;
 * its files, data and first weights.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_training.h"

#include "cvy_schedule.h"
#include "cvy_settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- a training to resume ---- */

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
static int same_optimiser(const struct cvy_training *t, const struct cvy_option *option)
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
static int merge_resumed(struct cvy_training *t, const struct cvy_option *option)
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

/* ---- its files ---- */

/* That the checkpoint can be written is tried before hours are spent. */
static int try_save(struct cvy_training *t)
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
static int lock(struct cvy_training *t)
{
    return t->said.no_save || (cvy_lock_take(&t->lock[0], t->said.save) && cvy_lock_take(&t->lock[1], t->state_path));
}

/* ---- weights of classes, what is done to images ---- */

static const char balanced[] = "balanced";

/* Each class by how rare it is among the training rows: rows / (classes x its rows), 0 where it has none. */
static int balance(struct cvy_training *t)
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
static int read_class_weights(struct cvy_training *t)
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

static int read_augment(struct cvy_training *t)
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

/* ---- all of it ---- */

int cvy_train_begin(struct cvy_training *t, const struct cvy_option *option)
{
    struct cvy_progress *p = &t->p;
    const struct cvy_model *m = t->model;
    t->state_path = cvy_state_path(t->said.save);
    if (!t->state_path || !cvy_log_is_apart(t) || !lock(t) || (t->said.resume && !merge_resumed(t, option)))
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
    if (t->said.stats && !(t->figures = cvy_figures_open(&t->run, t->tracer)))
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
    return cvy_log_open(t);
}
