/* cvy_loader.c - a thread that makes batches ahead: shuffles, augments, scales bytes to floats, keeps a ring of three
 * full. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_rng.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 3 };

struct cvy_loader {
    const struct cvy_data *data;
    int channels, height, width, batch;
    const struct cvy_augment *augment; /* NULL: images stay as they are */
    int views, mixes;                  /* what of it there is */
    float *second;                     /* the image that one is mixed with */
    uint64_t seed, epoch;
    size_t plane;
    int *order;
    float *table;            /* channels x 256 */
    const float *mean, *std; /* by channel; NULL: 0, 1 */
    struct slot {
        float *x;
        int *label;             /* or, */
        float *value;           /* by what the network learns; NULL, too, where that is x */
        int *other;             /* of a mixed image the second class; */
        float *share;           /* the first one's share */
        int *length;            /* of each sequence; NULL: all steps */
        struct cvy_batch batch; /* of these */
    } slot[RING];
    int64_t first, count; /* batches [first, first + count) of the pass */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t made, taken; /* batches made; batches that the consumer is done with */
    int64_t given;       /* handed out */
    int stop, started;
};

int64_t cvy_batches(int n, int batch, int min_batch)
{
    int rest = n % batch;
    return n / batch + (rest > 0 && rest >= min_batch);
}

void cvy_scale_table(const struct cvy_model *m, float *table)
{
    for (int b = 0; b < 256 && m->tokens; b++)
        table[b] = (float)b;
    for (int c = 0; c < m->channels && !m->tokens; c++) {
        float mean = m->train.mean ? m->train.mean[c] : 0.0f, std = m->train.std ? m->train.std[c] : 1.0f;
        for (int b = 0; b < 256; b++)
            table[c * 256 + b] = ((float)b / 255.0f - mean) / std;
    }
}

/* A number of float32 as the network reads it. */
static float scaled(const struct cvy_loader *l, int c, float v)
{
    return (v - (l->mean ? l->mean[c] : 0.0f)) / (l->std ? l->std[c] : 1.0f);
}

/* An image of float32. */
static void scale(const struct cvy_loader *l, const float *in, float *out)
{
    for (int c = 0; c < l->channels; c++) {
        const float mean = l->mean ? l->mean[c] : 0.0f, std = l->std ? l->std[c] : 1.0f;
        for (size_t p = 0; p < l->plane; p++)
            *out++ = (*in++ - mean) / std;
    }
}

/* The columns [from, to) of an output row that lie inside the image; the others are black. */
static void inside(const struct cvy_view *v, int width, int *from, int *to)
{
    const int lo = v->flip ? v->dx : -v->dx; /* where column 0 of the image comes to lie, or its last one */
    *from = lo < 0 ? 0 : lo > width ? width : lo;
    *to = lo < -width ? 0 : lo > 0 ? width : lo + width;
}

/* An image of bytes, or of float32, as a training sees it. */
static void view(const struct cvy_loader *l, const struct cvy_view *v, const uint8_t *byte, const float *number,
                 float *out)
{
    const int last = v->flip ? l->width - 1 + v->dx : v->dx, step = v->flip ? -1 : 1; /* x comes from last + step x */
    int from, to;
    inside(v, l->width, &from, &to);
    for (int c = 0; c < l->channels; c++) {
        const float *const table = l->table + 256 * c;
        const float black = number ? scaled(l, c, 0) : *table;
        for (int y = 0; y < l->height; y++, out += l->width) {
            const int row = y + v->dy, there = row >= 0 && row < l->height;
            const int begin = there ? from : l->width, end = there ? to : l->width;
            const int64_t at = (int64_t)c * (int64_t)l->plane + (int64_t)row * l->width + last;
            for (int x = 0; x < begin; x++)
                out[x] = black;
            if (number)
                for (int x = begin; x < end; x++)
                    out[x] = scaled(l, c, number[at + step * x]);
            else
                for (int x = begin; x < end; x++)
                    out[x] = table[byte[at + step * x]];
            for (int x = end; x < l->width; x++)
                out[x] = black;
            if (y >= v->hole[0] && y < v->hole[1])
                memset(out + v->hole[2], 0, (size_t)(v->hole[3] - v->hole[2]) * sizeof *out);
        }
    }
}

/* A row of the data as the network reads it. */
static void read_row(const struct cvy_loader *l, int item, float *out)
{
    const struct cvy_data *d = l->data;
    const size_t at = (size_t)item * d->numbers;
    if (l->views) {
        const struct cvy_view v = cvy_augment_draw(l->augment, l->height, l->width, l->seed, l->epoch, (uint64_t)item);
        view(l, &v, d->number ? NULL : d->image + at, d->number ? d->number + at : NULL, out);
        return;
    }
    if (d->number) {
        scale(l, d->number + at, out);
        return;
    }
    const uint8_t *in = d->image + at;
    for (int c = 0; c < l->channels; c++) {
        const float *table = l->table + 256 * c;
        for (size_t p = 0; p < l->plane; p++)
            *out++ = table[*in++];
    }
}

/* share of `to`, and the rest of `from`. */
static void mix(float *to, const float *from, float share, size_t n)
{
    for (size_t k = 0; k < n; k++)
        to[k] = share * to[k] + (1 - share) * from[k];
}

static void make(struct cvy_loader *l, int64_t number, struct slot *to)
{
    const struct cvy_data *d = l->data;
    const size_t values = (size_t)d->values;
    int64_t from = number * l->batch;
    const int n = d->n - from < l->batch ? (int)(d->n - from) : l->batch;
    const void *const target = d->value ? (const void *)to->value : to->label ? (const void *)to->label : to->x;
    to->batch = (struct cvy_batch){to->x, target, to->length, n};
    for (int i = 0; i < n; i++) {
        const int item = cvy_data_row(d, l->order ? l->order[from + i] : (int)from + i);
        float *const out = to->x + (size_t)i * d->numbers;
        read_row(l, item, out);
        if (to->label)
            to->label[i] = d->label[item];
        if (to->length)
            to->length[i] = d->length[item];
        if (to->value)
            memcpy(to->value + (size_t)i * values, d->value + (size_t)item * values, values * sizeof *to->value);
        if (!l->mixes)
            continue;
        const struct cvy_mix m = cvy_augment_mix(l->augment, d->n, l->seed, l->epoch, (uint64_t)item);
        const int other = cvy_data_row(d, m.other);
        read_row(l, other, l->second);
        mix(out, l->second, m.share, d->numbers);
        if (to->value)
            mix(to->value + (size_t)i * values, d->value + (size_t)other * values, m.share, values);
        to->share[i] = m.share;
        to->other[i] = d->label ? d->label[other] : 0;
    }
}

static void *work(void *arg)
{
    struct cvy_loader *l = arg;
    for (int64_t i = 0; i < l->count; i++) {
        pthread_mutex_lock(&l->lock);
        while (i - l->taken >= RING && !l->stop)
            pthread_cond_wait(&l->changed, &l->lock);
        int stop = l->stop;
        pthread_mutex_unlock(&l->lock);
        if (stop)
            break;
        make(l, l->first + i, &l->slot[i % RING]);
        pthread_mutex_lock(&l->lock);
        l->made = i + 1;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

struct cvy_loader *cvy_loader_start(const struct cvy_data *d, const struct cvy_model *m, int batch, int min_batch,
                                    int shuffle, uint64_t seed, uint64_t epoch, int64_t first,
                                    const struct cvy_augment *augment)
{
    struct cvy_loader *l = cvy_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    if (batch > d->n)
        batch = d->n;
    l->data = d;
    l->channels = m->channels;
    l->height = m->height;
    l->width = m->width;
    l->augment = augment;
    l->views = augment && cvy_augments_pixels(augment);
    l->mixes = augment && augment->by[CVY_MIXUP] > 0;
    l->seed = seed;
    l->epoch = epoch;
    l->plane = (size_t)m->height * (size_t)m->width;
    l->batch = batch;
    l->first = first;
    l->mean = m->train.mean;
    l->std = m->train.std;
    l->count = cvy_batches(d->n, batch, min_batch) - first;
    l->table = cvy_alloc((size_t)m->channels * 256, sizeof *l->table);
    l->second = l->mixes ? cvy_alloc(d->numbers, sizeof *l->second) : NULL;
    int ok = l->table && (l->second || !l->mixes);
    if (ok)
        cvy_scale_table(m, l->table);
    if (ok && shuffle) {
        l->order = cvy_alloc((size_t)d->n, sizeof *l->order);
        ok = l->order != NULL;
        if (ok)
            cvy_permutation(l->order, d->n, seed, epoch);
    }
    for (int i = 0; i < RING && ok; i++) {
        ok = d->numbers <= SIZE_MAX / sizeof(float) / (size_t)batch &&
             (l->slot[i].x = cvy_alloc_aligned((size_t)batch * d->numbers * sizeof(float))) != NULL &&
             (!cvy_learns_classes(m) || (l->slot[i].label = cvy_alloc((size_t)batch, sizeof(int))) != NULL) &&
             (!l->mixes || ((l->slot[i].other = cvy_alloc((size_t)batch, sizeof(int))) != NULL &&
                            (l->slot[i].share = cvy_alloc((size_t)batch, sizeof(float))) != NULL)) &&
             (!d->length || (l->slot[i].length = cvy_alloc((size_t)batch, sizeof(int))) != NULL) &&
             (!d->value || (l->slot[i].value = cvy_alloc((size_t)batch * (size_t)d->values, sizeof(float))) != NULL);
    }
    if (ok) {
        sigset_t all, old;
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->changed, NULL);
        sigfillset(&all); /* signals are the main thread's */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int code = pthread_create(&l->thread, NULL, work, l);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        l->started = code == 0;
        if (code != 0)
            cvy_error(NULL, "cannot start the loader's thread: %s", strerror(code));
        ok = l->started;
    }
    if (!ok) {
        cvy_loader_stop(l);
        return NULL;
    }
    return l;
}

const struct cvy_batch *cvy_loader_next(struct cvy_loader *l)
{
    if (l->given >= l->count)
        return NULL;
    pthread_mutex_lock(&l->lock);
    l->taken = l->given;
    pthread_cond_broadcast(&l->changed);
    while (l->made <= l->given)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    return &l->slot[l->given++ % RING].batch;
}

void cvy_loader_mixed(const struct cvy_loader *l, struct cvy_step *step)
{
    const struct slot *s = &l->slot[(l->given - 1) % RING];
    step->other = s->label ? s->other : NULL; /* values are mixed, and so is x */
    step->share = s->label ? s->share : NULL;
}

void cvy_loader_stop(struct cvy_loader *l)
{
    if (!l)
        return;
    if (l->started) {
        pthread_mutex_lock(&l->lock);
        l->stop = 1;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
        pthread_cond_destroy(&l->changed);
        pthread_mutex_destroy(&l->lock);
    }
    for (int i = 0; i < RING; i++) {
        free(l->slot[i].x);
        free(l->slot[i].label);
        free(l->slot[i].value);
        free(l->slot[i].other);
        free(l->slot[i].share);
        free(l->slot[i].length);
    }
    free(l->order);
    free(l->table);
    free(l->second);
    free(l);
}
