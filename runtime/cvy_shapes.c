/* cvy_shapes.c - `data: shapes`: a synthetic set, drawn from a seed. Ten classes of small figures, each at a random
 * place, size, angle and brightness, on a tilted background with noise. Any C x H x W from 8 x 8 on. It is for trying a
 * network where no data is at hand, not for judging one. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_rng.h"

#include <math.h>
#include <stdlib.h>

enum { FIGURES = 10, TRAIN_ITEMS = 10000, TEST_ITEMS = 2000 };
static const double SET_BYTES = 512e6; /* large images: fewer of them */
const char *const cvy_shape_names[] = {"disc", "ring", "square", "frame",   "triangle", "cross",
                                       "bar",  "arc",  "dots",   "chevron", NULL};

static double box(double x, double y, double a, double b)
{
    double dx = fabs(x) - a, dy = fabs(y) - b;
    double out = hypot(dx > 0 ? dx : 0, dy > 0 ? dy : 0), in = dx > dy ? dx : dy;
    return out + (in < 0 ? in : 0);
}

/* Distance to the edge of figure `kind` of radius 1 about the origin, below zero inside. */
static double figure(int kind, double x, double y)
{
    const double s60 = 0.8660254037844386;
    double r = hypot(x, y), d;
    switch (kind) {
    case 0:
        return r - 1;
    case 1:
        return fabs(r - 0.75) - 0.25;
    case 2:
        return box(x, y, 0.8, 0.8);
    case 3:
        d = box(x, y, 0.65, 0.65);
        return fabs(d) - 0.2;
    case 4: /* equilateral: the largest of three half planes */
        d = -y;
        if (s60 * x + 0.5 * y > d)
            d = s60 * x + 0.5 * y;
        if (-s60 * x + 0.5 * y > d)
            d = -s60 * x + 0.5 * y;
        return d - 0.55;
    case 5:
        return fmin(box(x, y, 1, 0.28), box(x, y, 0.28, 1));
    case 6:
        return box(x, y, 1, 0.25);
    case 7:
        return fmax(fabs(r - 0.75) - 0.25, y); /* half of a ring */
    case 8:
        return fmin(hypot(x - 0.62, y), hypot(x + 0.62, y)) - 0.36;
    default:
        return fmin(box(x + 0.6, y, 0.25, 0.85), box(x, y - 0.6, 0.85, 0.25)); /* two bars at a right angle */
    }
}

/* A stream of draws of one image. */
struct stream {
    uint64_t seed, id, at;
};

static double uniform(struct stream *s, double lo, double hi)
{
    uint32_t w[4];
    cvy_draw4(s->seed, s->id, s->at++, w);
    return lo + (hi - lo) * cvy_unit(w[0], w[1]);
}

static void draw(const struct cvy_model *m, int kind, struct stream *s, uint8_t *image)
{
    int h = m->height, w = m->width;
    double side = h < w ? h : w, radius = uniform(s, 0.24, 0.40) * side,
           angle = uniform(s, -3.14159265358979, 3.14159265358979);
    double free_x = 0.5 * w - radius, free_y = 0.5 * h - radius;
    double cx = 0.5 * (w - 1) + uniform(s, -free_x, free_x), cy = 0.5 * (h - 1) + uniform(s, -free_y, free_y);
    double ca = cos(angle) / radius, sa = sin(angle) / radius, noise = uniform(s, 4, 22) / 147.8;
    uint32_t word[4];
    for (int c = 0; c < m->channels; c++) {
        double ground = uniform(s, 20, 90), ink = ground + uniform(s, 60, 140), gx = uniform(s, -25, 25),
               gy = uniform(s, -25, 25);
        for (int y = 0; y < h; y++) {
            for (int x = 0; x < w; x++) {
                int i = y * w + x;
                double dx = x - cx, dy = y - cy;
                double cover = 0.5 - radius * figure(kind, ca * dx + sa * dy, ca * dy - sa * dx);
                cover = cover < 0 ? 0 : cover > 1 ? 1 : cover;
                if (i % 4 == 0)
                    cvy_draw4(s->seed, s->id, s->at++, word);
                uint32_t b = word[i % 4]; /* the sum of four bytes is near enough to a normal draw */
                int sum = (int)(b & 255) + (int)(b >> 8 & 255) + (int)(b >> 16 & 255) + (int)(b >> 24) - 510;
                double v =
                    ground + gx * (x - 0.5 * w) / w + gy * (y - 0.5 * h) / h + cover * (ink - ground) + noise * sum;
                *image++ = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v + 0.5);
            }
        }
    }
}

int cvy_shapes_count(const struct cvy_model *m, enum cvy_split split, int limit)
{
    const size_t numbers = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
    const int n = limit ? limit : split == CVY_TRAIN_SPLIT ? TRAIN_ITEMS : TEST_ITEMS;
    if (m->height < 8 || m->width < 8) {
        cvy_error(NULL, "figures need images of 8 x 8 or more; the network '%s' reads %d x %d", m->name, m->height,
                  m->width);
        return -1;
    }
    if ((double)n * (double)numbers <= SET_BYTES)
        return n;
    const int most = (int)(SET_BYTES / (double)numbers);
    if (!limit && most >= 1)
        return most;
    cvy_error(NULL, "%d synthetic images of %zu bytes are too many: %.0f MB at most", n, numbers, SET_BYTES / 1e6);
    return -1;
}

/* As JSON; NULL and a message. */
static char *class_names(int classes)
{
    char *text = cvy_format("[");
    for (int c = 0; text && c < classes; c++) {
        char *more = cvy_format("%s%s\"%s\"", text, c ? "," : "", cvy_shape_names[c]);
        free(text);
        text = more;
    }
    char *all = text ? cvy_format("%s]", text) : NULL;
    free(text);
    return all;
}

int cvy_shapes_make(struct cvy_data *d, const struct cvy_model *m, enum cvy_split split, int limit, uint64_t seed)
{
    int classes = m->classes < FIGURES ? m->classes : FIGURES;
    int n = cvy_shapes_count(m, split, limit);
    if (n < 0)
        return 0;
    d->numbers = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
    uint8_t *image = cvy_alloc((size_t)n, d->numbers);
    d->own = image;
    d->image = image;
    d->label = cvy_alloc((size_t)n, sizeof *d->label);
    d->what = cvy_format("synthetic figures (seed %llu)", (unsigned long long)seed);
    d->origin[CVY_CLASSES] = class_names(classes);
    if (!d->image || !d->label || !d->what || !d->origin[CVY_CLASSES])
        return 0;
    static const char *const names[] = {[CVY_TRAIN_SPLIT] = "convoy shapes train",
                                        [CVY_VALID_SPLIT] = "convoy shapes valid",
                                        [CVY_TEST_SPLIT] = "convoy shapes test"};
    uint64_t id = cvy_name_hash(names[split]);
    for (int i = 0; i < n; i++) {
        struct stream s = {seed, id + (uint64_t)i, 0};
        int kind = (int)uniform(&s, 0, classes);
        d->label[i] = kind; /* a network that learns its input leaves it */
        draw(m, kind, &s, image + (size_t)i * d->numbers);
    }
    d->n = n;
    d->synthetic = 1;
    return 1;
}
