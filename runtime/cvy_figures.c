/* cvy_figures.c - `NAME train --stats`: what layers do in an epoch, by stage, by parameter and by batch norm. Some
 * updates are looked at; the network's tracer rebuilds every stage's output in them. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEAR_ZERO 0.05 /* or less, as fastai has it */

/* A stage's output. A unit is a channel: of a linear layer one number, of an image all pixels. */
struct seen_stage {
    char *name; /* "conv1.act" */
    int units;
    double *mean, *variance;            /* of each unit, over the batch that was traced last; the variance unbiased */
    unsigned char *above;               /* units that were above zero */
    double count, average, apart, near; /* over the epoch; apart: sum of (x - average)^2 */
};

struct seen_parameter {
    const struct cvy_tensor *tensor;
    double gradient, ratio; /* sums over updates */
    int64_t ratios;         /* updates before which it was not all zeros */
};

/* A norm that keeps running statistics. */
struct seen_norm {
    char *name, *input; /* the stage that it reads; NULL: not known */
    const struct cvy_tensor *mean, *variance;
    double eps, gap, log_ratio; /* sums over channels and batches, of `count` */
    int64_t count;
};

struct cvy_figures {
    const struct cvy_run *run;
    const struct cvy_tracer *tracer;
    struct seen_stage *stage;
    int nstage, next; /* next: the stage that will be handed out, as the order is always the same */
    struct seen_parameter *moved;
    int nmoved;
    struct seen_norm *norm;
    int nnorm;
    float *scratch, *param, *running; /* of the trace; weights and running statistics as they were before the update */
    float *row;                       /* one tensor, or one channel's numbers */
    int64_t *place;                   /* of a channel's pixels */
    int64_t room;                     /* in place */
    int64_t updates, images;
    int failed;
};

/* ---- what there is ---- */

static char *copy_of(const char *text, size_t len)
{
    return cvy_format("%.*s", (int)len, text);
}

/* Field `number` of a line of cvy_model.identity, from 0 on; its length. */
static const char *field(const char *line, int number, size_t *len)
{
    const char *end;
    while ((end = strstr(line, " | ")) != NULL && number > 0) {
        line = end + 3;
        number--;
    }
    *len = number > 0 ? 0 : end ? (size_t)(end - line) : strlen(line);
    return line;
}

/* What the network's lines say of a norm: the stage that it reads, by its trace's name, and its eps. */
static int find_input(struct seen_norm *w, const char *const *identity)
{
    const int i = cvy_identity_op_of(identity, w->mean->name);
    if (i < 0)
        return 1;
    size_t len;
    const char *op = field(identity[i], 1, &len), *eps = strstr(op, "eps=");
    char number[32];
    if (eps) {
        eps += 4;
        snprintf(number, sizeof number, "%.*s", (int)strcspn(eps, ",)"), eps);
        cvy_parse_real(number, 0, 1, &w->eps);
    }
    const char *from = field(identity[i], 2, &len);
    w->input = copy_of(from, len);
    char *slash = w->input ? strchr(w->input, '/') : NULL;
    if (slash) /* a place has one at most */
        *slash = '.';
    return w->input != NULL;
}

static int list_tensors(struct cvy_figures *f)
{
    const struct cvy_model *m = f->run->model;
    int64_t most = 1;
    f->moved = cvy_alloc((size_t)m->ntensor, sizeof *f->moved);
    f->norm = cvy_alloc((size_t)m->ntensor, sizeof *f->norm);
    if (!f->moved || !f->norm)
        return 0;
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        const char *dot = strrchr(t->name, '.');
        if (t->role != CVY_BATCHES && cvy_layout_count(&t->at) > most)
            most = cvy_layout_count(&t->at);
        if (cvy_learns(t))
            f->moved[f->nmoved++].tensor = t;
        if (t->role != CVY_RUNNING_MEAN || !dot)
            continue;
        struct seen_norm *w = &f->norm[f->nnorm];
        w->mean = t;
        for (int k = 0; k < m->ntensor; k++) {
            const struct cvy_tensor *v = &m->tensor[k];
            if (v->role == CVY_RUNNING_VAR && strncmp(v->name, t->name, (size_t)(dot + 1 - t->name)) == 0)
                w->variance = v;
        }
        if (!w->variance)
            continue;
        f->nnorm++;
        w->name = copy_of(t->name, (size_t)(dot - t->name));
        if (!w->name || !find_input(w, m->identity))
            return 0;
    }
    f->row = cvy_alloc((size_t)most, 2 * sizeof *f->row);
    return f->row != NULL;
}

struct cvy_figures *cvy_figures_open(const struct cvy_run *run, const struct cvy_tracer *tracer)
{
    const struct cvy_model *m = run->model;
    struct cvy_figures *f = cvy_alloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->run = run;
    f->tracer = tracer;
    const size_t floats = tracer->trace_floats(run->net->batch);
    if (floats > SIZE_MAX / sizeof *f->scratch)
        cvy_error("a smaller --batch", "--stats: there is no room for the activations of %d images", run->net->batch);
    else if ((f->scratch = cvy_alloc_aligned(floats * sizeof *f->scratch)) != NULL &&
             (f->param = cvy_alloc((size_t)m->param_floats + 1, sizeof *f->param)) != NULL &&
             (f->running = cvy_alloc((size_t)m->running_floats + 1, sizeof *f->running)) != NULL && list_tensors(f))
        return f;
    cvy_figures_close(f);
    return NULL;
}

void cvy_figures_close(struct cvy_figures *f)
{
    for (int i = 0; f && i < f->nstage; i++) {
        free(f->stage[i].name);
        free(f->stage[i].mean);
        free(f->stage[i].variance);
        free(f->stage[i].above);
    }
    for (int i = 0; f && i < f->nnorm; i++) {
        free(f->norm[i].name);
        free(f->norm[i].input);
    }
    if (f) {
        free(f->stage);
        free(f->moved);
        free(f->norm);
        free(f->scratch);
        free(f->param);
        free(f->running);
        free(f->row);
        free(f->place);
    }
    free(f);
}

/* ---- an update ---- */

void cvy_figures_before(struct cvy_figures *f)
{
    const struct cvy_model *m = f->run->model;
    memcpy(f->param, f->run->net->param, (size_t)m->param_floats * sizeof *f->param);
    memcpy(f->running, f->run->net->running, (size_t)m->running_floats * sizeof *f->running);
}

static struct seen_stage *find_stage(struct cvy_figures *f, const char *name)
{
    for (int i = 0; i < f->nstage; i++) {
        const int at = (f->next + i) % f->nstage;
        if (strcmp(f->stage[at].name, name) == 0) {
            f->next = at + 1;
            return &f->stage[at];
        }
    }
    return NULL;
}

static struct seen_stage *add_stage(struct cvy_figures *f, const char *name, int units)
{
    struct seen_stage *more = realloc(f->stage, (size_t)(f->nstage + 1) * sizeof *more);
    if (!more) {
        cvy_error(NULL, "out of memory");
        return NULL;
    }
    f->stage = more;
    struct seen_stage *s = &f->stage[f->nstage];
    memset(s, 0, sizeof *s);
    f->nstage++;
    s->units = units;
    s->name = cvy_format("%s", name);
    s->mean = cvy_alloc((size_t)units, sizeof *s->mean);
    s->variance = cvy_alloc((size_t)units, sizeof *s->variance);
    s->above = cvy_alloc((size_t)units, 1);
    return s->name && s->mean && s->variance && s->above ? s : NULL;
}

static int64_t place_along(const struct cvy_layout *at, int d, int i)
{
    return d < at->ndim ? i / at->block[d] * at->outer[d] + i % at->block[d] * at->inner[d] : 0;
}

static int along(const struct cvy_layout *at, int d)
{
    return d < at->ndim ? at->dim[d] : 1;
}

/* Where a channel's pixels lie, seen from its first. */
static int find_pixels(struct cvy_figures *f, const struct cvy_layout *at)
{
    const int h = along(at, 2), w = along(at, 3);
    if (f->room < (int64_t)h * w) {
        free(f->place);
        f->room = (int64_t)h * w;
        f->place = cvy_alloc((size_t)f->room, sizeof *f->place);
        if (!f->place)
            f->room = 0;
    }
    for (int y = 0; f->place && y < h; y++)
        for (int x = 0; x < w; x++)
            f->place[(int64_t)y * w + x] = place_along(at, 2, y) + place_along(at, 3, x);
    return f->place != NULL;
}

/* Takes in a batch of a stage's outputs. Sums are in double and in one order, whatever the number of threads. */
static void take_stage(const struct cvy_figures *f, struct seen_stage *s, const float *data,
                       const struct cvy_layout *at)
{
    const int64_t pixels = (int64_t)along(at, 2) * along(at, 3);
    const int n = at->dim[0];
    for (int c = 0; c < s->units; c++) {
        double sum = 0;
        int64_t near = 0, above = 0;
        for (int i = 0; i < n; i++) {
            const float *const v = data + at->offset + place_along(at, 0, i) + place_along(at, 1, c);
            for (int64_t k = 0; k < pixels; k++) {
                const double x = v[f->place[k]];
                sum += x;
                near += x >= -NEAR_ZERO && x <= NEAR_ZERO;
                above += x > 0;
            }
        }
        const double count = (double)n * (double)pixels, mean = sum / count;
        double apart = 0; /* squares alone would lose it where the mean is large */
        for (int i = 0; i < n; i++) {
            const float *const v = data + at->offset + place_along(at, 0, i) + place_along(at, 1, c);
            for (int64_t k = 0; k < pixels; k++)
                apart += (v[f->place[k]] - mean) * (v[f->place[k]] - mean);
        }
        s->mean[c] = mean;
        s->variance[c] = apart / (count > 1 ? count - 1 : 1);
        s->above[c] |= above > 0;
        const double all = s->count + count, off = mean - s->average; /* Chan, Golub & LeVeque 1979 */
        s->apart += apart + off * off * s->count * count / all;
        s->average += off * count / all;
        s->count = all;
        s->near += (double)near;
    }
}

static void sink(void *user, const char *name, const float *data, const struct cvy_layout *at)
{
    struct cvy_figures *f = user;
    if (f->failed || strncmp(name, "act.", 4) != 0)
        return;
    struct seen_stage *s = find_stage(f, name + 4);
    if (!s)
        s = add_stage(f, name + 4, along(at, 1));
    f->failed = !s || !find_pixels(f, at);
    if (!f->failed)
        take_stage(f, s, data, at);
}

/* A norm may read the network's input, which no tracer hands out. */
static const char *input_place(const struct cvy_model *m, size_t *len)
{
    *len = 0;
    return m->identity && m->identity[0] ? field(m->identity[0], 0, len) : "";
}

static int reads_input(const struct cvy_model *m, const struct seen_norm *w)
{
    size_t len;
    const char *place = input_place(m, &len);
    return w->input && strlen(w->input) == len && memcmp(w->input, place, len) == 0;
}

static int take_input(struct cvy_figures *f, const struct cvy_batch *b)
{
    const struct cvy_model *m = f->run->model;
    const int64_t plane = (int64_t)m->height * m->width;
    const struct cvy_layout at = {
        4, {b->n, m->channels, m->height, m->width}, {1, 1, 1, 1}, {m->channels * plane, plane, m->width, 1}, {0}, 0};
    int any = 0;
    for (int i = 0; i < f->nnorm; i++)
        any |= reads_input(m, &f->norm[i]);
    if (!any)
        return 1;
    struct seen_stage *s = find_stage(f, "");
    if (!s)
        s = add_stage(f, "", m->channels);
    if (!s || !find_pixels(f, &at))
        return 0;
    take_stage(f, s, b->x, &at);
    return 1;
}

static void compare(struct cvy_figures *f, struct seen_norm *w)
{
    const struct seen_stage *s = w->input ? find_stage(f, reads_input(f->run->model, w) ? "" : w->input) : NULL;
    const int64_t n = cvy_layout_count(&w->mean->at);
    float *const mean = f->row, *const variance = f->row + n;
    if (!s || s->units != n || cvy_layout_count(&w->variance->at) != n)
        return;
    cvy_gather(f->running, &w->mean->at, mean);
    cvy_gather(f->running, &w->variance->at, variance);
    for (int64_t c = 0; c < n; c++) {
        const double kept = (double)variance[c] + w->eps;
        w->gap += fabs(s->mean[c] - (double)mean[c]) / sqrt(kept);
        w->log_ratio += log((s->variance[c] + w->eps) / kept);
        w->count++;
    }
}

int cvy_figures_trace(struct cvy_figures *f, const struct cvy_batch *b, const struct cvy_step *step)
{
    f->failed = 0;
    if (!take_input(f, b) || f->tracer->trace(f->run->net, b, step, f->scratch, sink, f) != 0 || f->failed)
        return 0;
    for (int i = 0; i < f->nnorm; i++)
        compare(f, &f->norm[i]);
    f->images += b->n;
    return 1;
}

static double length_of(const float *v, int64_t n)
{
    double squares = 0;
    for (int64_t i = 0; i < n; i++)
        squares += (double)v[i] * (double)v[i];
    return sqrt(squares);
}

void cvy_figures_gradient(struct cvy_figures *f, const float *gradient)
{
    for (int i = 0; i < f->nmoved; i++) {
        const struct cvy_layout *at = &f->moved[i].tensor->at;
        cvy_gather(gradient, at, f->row);
        f->moved[i].gradient += length_of(f->row, cvy_layout_count(at));
    }
}

void cvy_figures_after(struct cvy_figures *f)
{
    for (int i = 0; i < f->nmoved; i++) {
        struct seen_parameter *w = &f->moved[i];
        const int64_t n = cvy_layout_count(&w->tensor->at);
        float *const before = f->row, *const by = f->row + n;
        cvy_gather(f->param, &w->tensor->at, before);
        cvy_gather(f->run->net->param, &w->tensor->at, by);
        for (int64_t k = 0; k < n; k++)
            by[k] -= before[k];
        const double length = length_of(before, n);
        if (length > 0) {
            w->ratio += length_of(by, n) / length;
            w->ratios++;
        }
    }
    f->updates++;
}

/* ---- an epoch ---- */

static void put(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, cvy_finite(v) ? json_real(v) : json_null());
}

static json_t *of_stages(const struct cvy_figures *f)
{
    json_t *list = json_array();
    for (int i = 0; i < f->nstage; i++) {
        const struct seen_stage *s = &f->stage[i];
        if (!*s->name)
            continue;
        int64_t never = 0;
        for (int c = 0; c < s->units; c++)
            never += !s->above[c];
        json_t *o =
            json_pack("{s:s, s:i, s:I}", "stage", s->name, "units", s->units, "never_above_zero", (json_int_t)never);
        put(o, "mean", s->average);
        put(o, "sd", sqrt(s->apart / s->count));
        put(o, "near_zero", s->near / s->count);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *of_parameters(const struct cvy_figures *f)
{
    json_t *list = json_array();
    for (int i = 0; i < f->nmoved; i++) {
        const struct seen_parameter *w = &f->moved[i];
        json_t *o = json_pack("{s:s}", "parameter", w->tensor->name);
        put(o, "gradient_norm", w->gradient / (double)f->updates);
        put(o, "update_ratio", w->ratios ? w->ratio / (double)w->ratios : (double)NAN);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *of_norms(const struct cvy_figures *f)
{
    json_t *list = json_array();
    for (int i = 0; i < f->nnorm; i++) {
        const struct seen_norm *w = &f->norm[i];
        json_t *o = json_pack("{s:s}", "norm", w->name);
        put(o, "mean_gap", w->count ? w->gap / (double)w->count : (double)NAN);
        put(o, "variance_ratio", w->count ? exp(w->log_ratio / (double)w->count) : (double)NAN);
        json_array_append_new(list, o);
    }
    return list;
}

static void begin_epoch(struct cvy_figures *f)
{
    f->updates = f->images = 0;
    for (int i = 0; i < f->nstage; i++) {
        struct seen_stage *s = &f->stage[i];
        memset(s->above, 0, (size_t)s->units);
        s->count = s->average = s->apart = s->near = 0;
    }
    for (int i = 0; i < f->nmoved; i++) {
        f->moved[i].gradient = f->moved[i].ratio = 0;
        f->moved[i].ratios = 0;
    }
    for (int i = 0; i < f->nnorm; i++) {
        f->norm[i].gap = f->norm[i].log_ratio = 0;
        f->norm[i].count = 0;
    }
}

json_t *cvy_figures_take(struct cvy_figures *f, const struct cvy_progress *p)
{
    json_t *o =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "event", "stats", "epoch", (json_int_t)p->epoch + 1,
                  "step", (json_int_t)p->step, "updates", (json_int_t)f->updates, "images", (json_int_t)f->images,
                  "stages", of_stages(f), "parameters", of_parameters(f), "norms", of_norms(f));
    begin_epoch(f);
    return o;
}
