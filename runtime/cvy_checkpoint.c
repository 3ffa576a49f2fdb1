/* cvy_checkpoint.c - checkpoints of a training: the weights to use, and beside them its state: all that it needs to go
 * on (the weights of its last step, what the optimiser keeps; where it stands, as metadata).
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_settings.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

char *cvy_state_path(const char *weights)
{
    static const char end[] = ".safetensors";
    size_t n = strlen(weights), m = strlen(end);
    if (n > m && strcmp(weights + n - m, end) == 0)
        n -= m;
    return cvy_format("%.*s.state%s", (int)n, weights, end);
}

/* ---- progress as metadata ---- */

/* One row a field; all are written as text that reads back to the same bits. */
enum field_kind { FIELD_INT, FIELD_I64, FIELD_U64, FIELD_U32, FIELD_REAL };
struct field {
    const char *key;
    enum field_kind kind;
    size_t at;
    double lo, hi;
};
#define FIELD(kind, name, lo, hi)                                                                                      \
    {                                                                                                                  \
#name, kind, offsetof(struct cvy_progress, name), lo, hi                                                       \
    }
static const struct field fields[] = {
    FIELD(FIELD_I64, step, 0, 9e15),
    FIELD(FIELD_I64, epoch, 0, 2e9),
    FIELD(FIELD_U64, seed, 0, 0),
    FIELD(FIELD_I64, step_in_epoch, 0, 9e15),
    FIELD(FIELD_REAL, loss_sum, 0, 1e300),
    FIELD(FIELD_REAL, correct_sum, 0, 1e15),
    FIELD(FIELD_REAL, seen, 0, 1e15),
    FIELD(FIELD_INT, epochs, 0, 1e9),
    FIELD(FIELD_INT, batch, 1, 1e9),
    FIELD(FIELD_REAL, lr, 0, 1e6),
    FIELD(FIELD_REAL, weight_decay, 0, 1e6),
    FIELD(FIELD_INT, decay_all, 0, 1),
    FIELD(FIELD_INT, train_images, 0, 2147483647),
    FIELD(FIELD_INT, test_images, 0, 2147483647),
    FIELD(FIELD_U32, data_crc, 0, 4294967295.0),
    FIELD(FIELD_I64, best_epoch, 0, 2e9),
    FIELD(FIELD_I64, best_step, 0, 9e15),
    FIELD(FIELD_REAL, best_loss, -1e300, 1e300),
    FIELD(FIELD_REAL, best_accuracy, 0, 1),
    FIELD(FIELD_REAL, plateau.best, -1e300, 1e300),
    FIELD(FIELD_REAL, plateau.scale, 0, 1),
    FIELD(FIELD_I64, plateau.bad, 0, 2e9),
};
enum { NFIELDS = sizeof fields / sizeof *fields };

static int put_progress(struct cvy_tensors *f, const struct cvy_progress *p, const struct cvy_optimiser *o)
{
    int ok = cvy_put_meta(f, "schedule", "%s", cvy_schedules[p->schedule].name);
    for (int k = 0; k < cvy_hypers(o) && ok; k++)
        ok = cvy_put_meta(f, o->hyper[k].name, "%.17g", p->hyper[k]);
    for (int k = 0; k < CVY_SETTINGS && ok; k++)
        ok = cvy_put_meta(f, cvy_settings[k].name, "%.17g", p->setting[k]);
    for (int i = 0; i < NFIELDS && ok; i++) {
        const void *v = (const char *)p + fields[i].at;
        switch (fields[i].kind) {
        case FIELD_INT:
            ok = cvy_put_meta(f, fields[i].key, "%d", *(const int *)v);
            break;
        case FIELD_I64:
            ok = cvy_put_meta(f, fields[i].key, "%" PRId64, *(const int64_t *)v);
            break;
        case FIELD_U64:
            ok = cvy_put_meta(f, fields[i].key, "%" PRIu64, *(const uint64_t *)v);
            break;
        case FIELD_U32:
            ok = cvy_put_meta(f, fields[i].key, "%" PRIu32, *(const uint32_t *)v);
            break;
        case FIELD_REAL:
            ok = cvy_put_meta(f, fields[i].key, "%.17g", *(const double *)v);
            break;
        }
    }
    return ok;
}

static int get_field(const struct field *field, const char *text, void *to)
{
    const int64_t lo = (int64_t)field->lo, hi = (int64_t)field->hi;
    int64_t v = 0;
    if (field->kind == FIELD_REAL)
        return cvy_parse_real(text, field->lo, field->hi, to);
    if (field->kind == FIELD_U64)
        return cvy_parse_u64(text, 0, UINT64_MAX, to);
    if (!cvy_parse_i64(text, lo, hi, &v))
        return 0;
    if (field->kind == FIELD_I64)
        *(int64_t *)to = v;
    else if (field->kind == FIELD_U32)
        *(uint32_t *)to = (uint32_t)v;
    else
        *(int *)to = (int)v;
    return 1;
}

static const char no_state[] =
    "it is not the state of a training; --init-from W starts a new one from the weights alone";

static int bad_field(const struct cvy_tensors *f, const char *key)
{
    cvy_error(no_state, "'%s': its metadata has no valid '%s'", f->path, key);
    return 0;
}

static int get_progress(const struct cvy_tensors *f, struct cvy_progress *p, const struct cvy_optimiser *o)
{
    memset(p, 0, sizeof *p);
    for (int i = 0; i < NFIELDS; i++) {
        const char *text = cvy_get_meta(f, fields[i].key);
        if (!text || !get_field(&fields[i], text, (char *)p + fields[i].at))
            return bad_field(f, fields[i].key);
    }
    for (int k = 0; k < cvy_hypers(o); k++) {
        const struct cvy_hyper *h = &o->hyper[k];
        const char *text = cvy_get_meta(f, h->name);
        if (!text || !cvy_parse_real(text, h->lo, h->hi, &p->hyper[k]) ||
            (h->off && p->hyper[k] != 0 && p->hyper[k] != 1))
            return bad_field(f, h->name);
    }
    for (int k = 0; k < CVY_SETTINGS; k++) {
        const struct cvy_setting *s = &cvy_settings[k];
        const char *text = cvy_get_meta(f, s->name);
        if (!text || !cvy_parse_real(text, s->lo, s->hi, &p->setting[k]) || !cvy_setting_is(s, p->setting[k]))
            return bad_field(f, s->name);
    }
    const char *schedule = cvy_get_meta(f, "schedule");
    if (!schedule || (p->schedule = cvy_schedule_find(schedule)) < 0)
        return bad_field(f, "schedule");
    if (p->best_epoch > p->epoch || p->best_step > p->step)
        return bad_field(f, "best_epoch");
    /* sums of the epoch under way, of the images of its steps */
    if ((p->seen > 0) != (p->step_in_epoch > 0) || p->correct_sum > p->seen ||
        p->seen > (double)p->step_in_epoch * p->batch || (p->seen == 0 && p->loss_sum > 0)) {
        cvy_error(no_state, "'%s': its metadata says %.17g images in %" PRId64 " steps of %d", f->path, p->seen,
                  p->step_in_epoch, p->batch);
        return 0;
    }
    return 1;
}

/* ---- checkpoints ---- */

/* A number for each channel: "0.5, 0.25". */
static int put_channels(struct cvy_tensors *f, const char *key, const float *v, int n, double otherwise)
{
    enum { WIDTH = 20 }; /* "-1.23456789e-38, " */
    char *text = cvy_alloc((size_t)n + 1, WIDTH);
    size_t at = 0;
    for (int c = 0; text && c < n; c++)
        at += (size_t)snprintf(text + at, WIDTH, "%s%.9g", c ? ", " : "", v ? (double)v[c] : otherwise);
    int ok = text && cvy_put_meta(f, key, "%s", text);
    free(text);
    return ok;
}

char *cvy_optimiser_text(const struct cvy_train *t)
{
    char hyper[40 * CVY_HYPERS] = "";
    size_t at = 0;
    for (int k = 0; k < cvy_hypers(t->optimiser); k++)
        at += (size_t)snprintf(hyper + at, sizeof hyper - at, "%s=%.9g, ", t->optimiser->hyper[k].name, t->hyper[k]);
    return cvy_format("%s(%sweight_decay=%.9g, decay_all=%d)", t->optimiser->name, hyper, t->weight_decay,
                      t->decay_all);
}

static int all_finite(const struct cvy_tensors *f)
{
    for (int i = 0; i < f->n; i++) {
        const struct cvy_entry *e = &f->entry[i];
        for (size_t k = 0; e->dtype == CVY_F32 && k < e->end / sizeof(float); k++) {
            if (!cvy_finite(((const float *)e->data)[k])) {
                cvy_error("a smaller --lr may help", "'%s' holds a number that is not finite: not saved", e->name);
                return 0;
            }
        }
    }
    return 1;
}

/* What the set that it was trained with says of itself. */
static int put_origin(struct cvy_tensors *w, const struct cvy_data *rows)
{
    int ok = 1;
    for (int i = 0; rows && ok && i < CVY_ORIGINS; i++)
        ok = !rows->origin[i] || cvy_put_meta(w, cvy_origin_keys[i], "%s", rows->origin[i]);
    return ok;
}

static int put_weights(struct cvy_tensors *w, const struct cvy_run *r, int64_t epoch, int64_t step, uint64_t seed)
{
    const struct cvy_model *m = r->model;
    return cvy_put_meta(w, "format", "pt") && cvy_put_meta(w, "convoy", "%s", m->name) &&
           put_channels(w, "mean", m->train.mean, m->channels, 0.0) &&
           put_channels(w, "std", m->train.std, m->channels, 1.0) && cvy_put_meta(w, "epoch", "%" PRId64, epoch) &&
           cvy_put_meta(w, "step", "%" PRId64, step) && cvy_put_meta(w, "seed", "%" PRIu64, seed) &&
           put_origin(w, r->rows) && cvy_put_identity(w, m->identity) && cvy_add_weights(w, r, "") && all_finite(w);
}

char *cvy_frozen_text(const struct cvy_model *m)
{
    char *all = cvy_format("%s", "");
    size_t had = 0;
    const char *last = "";
    for (int i = 0; all && i < m->ntensor; i++) {
        const char *name = m->tensor[i].name, *dot = strrchr(name, '.');
        const size_t n = dot ? (size_t)(dot - name) : strlen(name);
        if (!cvy_is_param(&m->tensor[i]) || cvy_learns(&m->tensor[i]) || (n == had && memcmp(name, last, n) == 0))
            continue;
        char *more = cvy_format("%s%s%.*s", all, *all ? ", " : "", (int)n, name);
        free(all);
        all = more;
        last = name;
        had = n;
    }
    return all;
}

static int put_state(struct cvy_tensors *s, const struct cvy_run *r, const struct cvy_progress *p,
                     const struct cvy_words *words)
{
    char *optimiser = cvy_optimiser_text(&r->model->train), *frozen = cvy_frozen_text(r->model);
    int ok = optimiser && frozen && cvy_put_meta(s, "convoy", "%s", r->model->name) &&
             (!*frozen || cvy_put_meta(s, "freeze", "%s", frozen)) && cvy_put_meta(s, "optimiser", "%s", optimiser) &&
             cvy_put_meta(s, "class_weights", "%s", words->class_weights) &&
             cvy_put_meta(s, "augment", "%s", words->augment) && cvy_put_identity(s, r->model->identity) &&
             put_progress(s, p, r->model->train.optimiser) && cvy_add_weights(s, r, "") && cvy_add_buffers(s, r, "");
    free(optimiser);
    free(frozen);
    return ok;
}

/* The weights go first: a state that is there has its weights. A kill between the two renames leaves an older state,
 * and the training that goes on from it makes the same weights again. */
int cvy_save(const struct cvy_run *r, const char *state, const struct cvy_progress *p, const char *path,
             const struct cvy_run *best, const struct cvy_run *ema, const struct cvy_words *words)
{
    struct cvy_tensors w = {0}, s = {0};
    struct cvy_out out[2] = {{0}, {0}};
    const int weights = path != NULL;
    int ok = put_state(&s, r, p, words) && (!ema || cvy_add_weights(&s, ema, CVY_EMA_PREFIX)) && all_finite(&s) &&
             cvy_out_open(&out[1], state) && cvy_tensors_write(&s, &out[1]);
    if (ok && weights)
        ok = put_weights(&w,
                         best  ? best
                         : ema ? ema
                               : r,
                         best ? p->best_epoch : p->epoch, best ? p->best_step : p->step, p->seed) &&
             cvy_out_open(&out[0], path) && cvy_tensors_write(&w, &out[0]);
    ok = ok && cvy_out_commit(out + !weights, 1 + weights);
    cvy_out_drop(&out[0]);
    cvy_out_drop(&out[1]);
    cvy_tensors_free(&w);
    cvy_tensors_free(&s);
    return ok;
}

int cvy_may_save(const struct cvy_model *m, const char *path, uint64_t seed, int quiet, int force)
{
    static const char ways[] = "--save OTHER keeps both, --force writes over it";
    struct cvy_tensors f;
    struct stat st;
    uint64_t its_seed = 0;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return 1;
    cvy_silent++;
    int opened = cvy_tensors_open(&f, path);
    cvy_silent--;
    char *what = NULL;
    enum cvy_likeness like = CVY_UNREADABLE;
    if (opened && cvy_get_meta(&f, "convoy_data")) {
        cvy_error("--save OTHER keeps it", "'%s', where the training would save, is a set, not weights", path);
    } else if (force) {
        like = CVY_SAME;
    } else if (!opened) {
        cvy_error(ways, "'%s', where the training would save, is there and is no checkpoint that can be read", path);
    } else if ((like = cvy_identity_compare(&f, m->identity, 1, &what)) == CVY_DIFFERENT) {
        cvy_error(ways, "'%s', where the training would save, holds weights of another network:%s", path, what);
    } else if (like == CVY_UNSAID && m->identity) {
        cvy_error(ways, "'%s', where the training would save, holds weights that do not say of which network", path);
    } else if (like != CVY_UNREADABLE) {
        const char *text = cvy_get_meta(&f, "seed");
        int said = text && cvy_parse_u64(text, 0, UINT64_MAX, &its_seed);
        if (said && its_seed != seed)
            cvy_error(ways,
                      "'%s', where the training would save, was trained with seed %" PRIu64
                      ", and this training has %" PRIu64,
                      path, its_seed, seed);
        else if (!said)
            cvy_error(ways, "'%s', where the training would save, holds weights that do not say of which seed", path);
        like = said && its_seed == seed ? CVY_SAME : CVY_DIFFERENT;
        const char *step = cvy_get_meta(&f, "step");
        char plain[32];
        if (like == CVY_SAME && step && !quiet)
            cvy_note("'%s' holds a training up to step %s, which this one will write over: --resume goes on with it, "
                     "--save OTHER keeps both",
                     path, cvy_plain(step, plain, sizeof plain));
    }
    free(what);
    cvy_tensors_free(&f);
    return like == CVY_SAME;
}

/* ---- a training to go on with ---- */

/* That the state is of a training with this optimiser: another keeps other things. */
static int check_optimiser(const struct cvy_tensors *f, const struct cvy_model *m)
{
    const char *name = m->train.optimiser->name, *said = cvy_get_meta(f, "optimiser");
    if (!said || (strncmp(said, name, strlen(name)) == 0 && said[strlen(name)] == '('))
        return 1;
    char was[96];
    cvy_error("--init-from W starts a new training from the weights alone",
              "'%s' is the state of a training with %s, and this network trains with %s", f->path,
              cvy_plain(said, was, sizeof was), name);
    return 0;
}

/* That the state is of a training that froze the same: another keeps something for other weights. */
static int check_frozen(const struct cvy_tensors *f, const struct cvy_model *m)
{
    const char *said = cvy_get_meta(f, "freeze");
    char *now = cvy_frozen_text(m), was[200];
    said = said ? said : "";
    const int same = now && strcmp(said, now) == 0;
    if (now && !same)
        cvy_error("--init-from W starts a new training from the weights alone",
                  "'%s' is the state of a training that froze %s, and this network freezes %.200s%s", f->path,
                  *said ? cvy_plain(said, was, sizeof was) : "nothing", *now ? now : "nothing",
                  strlen(now) > 200 ? " ..." : "");
    free(now);
    return same;
}

int cvy_resume_open(struct cvy_resume *r, const struct cvy_model *m, const char *weights, int force)
{
    char *state = cvy_state_path(weights);
    memset(r, 0, sizeof *r);
    if (!state)
        return 0;
    int ok = access(state, F_OK) == 0;
    if (!ok)
        cvy_error("a training that was saved leaves it beside its weights; --save W names them",
                  "nothing to resume: no '%s'", state);
    ok = ok && cvy_tensors_open(&r->state, state) && cvy_identity_check(&r->state, m->identity, 1, force) &&
         check_optimiser(&r->state, m) && check_frozen(&r->state, m) && cvy_match_state(m, &r->state, 1) &&
         get_progress(&r->state, &r->p, m->train.optimiser);
    if (ok) { /* what killed programs left is of no use now */
        cvy_out_clean(weights);
        cvy_out_clean(state);
    }
    free(state);
    return ok;
}

/* The step of the weights that lie there; -1: there are none of this network. */
static int64_t step_of(const struct cvy_model *m, const char *weights)
{
    struct cvy_tensors f;
    int64_t step = -1;
    char *what = NULL;
    cvy_silent++;
    const char *text = cvy_tensors_open(&f, weights) && cvy_identity_compare(&f, m->identity, 1, &what) == CVY_SAME
                           ? cvy_get_meta(&f, "step")
                           : NULL;
    if (text && !cvy_parse_i64(text, 0, INT64_MAX, &step))
        step = -1;
    cvy_silent--;
    free(what);
    cvy_tensors_free(&f);
    return step;
}

int cvy_resume_best(struct cvy_run *run, const struct cvy_resume *r, const char *weights, struct cvy_progress *p)
{
    if (p->best_epoch == 0)
        return 1;
    const int64_t step = step_of(run->model, weights);
    if (step == p->best_step)
        return cvy_load_weights(run, weights, CVY_COMPARED);
    if (step <= r->p.step) /* else a kill came between two renames: the epoch after the state's was the best */
        cvy_warn("'%s' no longer holds the weights of epoch %" PRId64 ", the best so far: the next epoch counts as the "
                 "best again",
                 weights, p->best_epoch);
    p->best_epoch = p->best_step = 0;
    p->best_loss = p->best_accuracy = 0;
    return 1;
}

int cvy_resume_load(struct cvy_run *run, const struct cvy_resume *r, struct cvy_kept *ema)
{
    return cvy_load_kept(run, &r->state, 1) &&
           (!cvy_has_ema(run->model, &r->state) || (cvy_keep(ema, run) && cvy_load_ema(&ema->run, &r->state)));
}

void cvy_resume_close(struct cvy_resume *r)
{
    cvy_tensors_free(&r->state);
}
