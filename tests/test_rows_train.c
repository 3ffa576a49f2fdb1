/* test_rows_train.c - the rows of optimisers, losses and words of data, beside what a reference says: interp.c's
 * updates in double, sums in double, what PyTorch's documentation says of defaults, the files of Debian's
 * dataset-fashion-mnist. Then each property of each row is flipped, and the same check must notice.
 *
 *   test_rows_train */
#define _GNU_SOURCE
#include "flips.h"
#include "interp.h"
#include "read.h"
#include "runtime.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static uint64_t state = 88172645463325252u;

/* In [-1, 1). */
static double uniform(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) / 4503599627370496.0 - 1;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-5 * fmax(1, fabs(b));
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* ---- optimisers ---- */

enum { FLOATS = 32, STEPS = 4 };
/* Of a number: what a network of images is usually trained with, and what torch.optim's class takes where it is told
 * nothing. */
typedef struct KnownHyper {
    const char *name;
    double usual, torch;
} KnownHyper;
static const struct {
    double lr, weight_decay;
    KnownHyper hyper[CVY_HYPERS];
} known[INTERP_OPTIMISERS] = {
    [INTERP_SGD] = {0.1, 5e-4, {{"momentum", 0.9, 0}, {"nesterov", 0, 0}}},
    [INTERP_ADAM] = {1e-3, 0, {{"beta1", 0.9, 0.9}, {"beta2", 0.999, 0.999}, {"eps", 1e-8, 1e-8}}},
    [INTERP_ADAMW] = {1e-3, 1e-2, {{"beta1", 0.9, 0.9}, {"beta2", 0.999, 0.999}, {"eps", 1e-8, 1e-8}}},
};
static Interp *ip; /* a network with FLOATS weights */
static int weight; /* their parameter */

static void build(void)
{
    char text[] = "{name: rows, input: [1, 4, 4], classes: 2, layers: [flatten, linear: classes]}";
    static Source src;
    src = (Source){.path = "rows.yaml", .text = text, .len = strlen(text)};
    diag_source(&src);
    Node *tree = yaml_parse(text, strlen(text), (Mark){1, 1, 1});
    const Spec *s = tree ? spec_read(tree) : NULL;
    const Graph *g = s ? graph_build(s) : NULL;
    if (diag_flush(stderr) || !g)
        exit(2);
    ip = interp_new(g, 1);
    while (g->param[weight].role != PARAM_WEIGHT)
        weight++;
    if (interp_numel(&g->param[weight]) != FLOATS)
        exit(2);
}

/* Some steps from drawn weights with drawn gradients, by the row. hyper: the numbers, in the order of `known`. */
typedef struct Trained {
    float w[FLOATS], state[CVY_BUFFERS * FLOATS];
} Trained;
static bool train(int which, const double *hyper, Trained *t)
{
    const struct cvy_optimiser *o = cvy_optimisers[which];
    struct cvy_net net = {.param = t->w, .state = t->state, .floats = FLOATS, .optimiser = o};
    struct cvy_step step = {.lr = 0.05f};
    memset(t, 0, sizeof *t);
    for (int k = 0; known[which].hyper[k].name; k++) {
        const int at = cvy_hyper_find(o, known[which].hyper[k].name);
        if (at < 0)
            return false;
        step.hyper[at] = hyper[k];
    }
    state = 88172645463325252u;
    for (int i = 0; i < FLOATS; i++)
        t->w[i] = (float)uniform();
    for (int s = 0; s < STEPS; s++) {
        float g[FLOATS];
        for (int i = 0; i < FLOATS; i++)
            g[i] = (float)uniform();
        step.step = (uint64_t)s;
        cvy_update(&net, 0, FLOATS, g, 0, 1, &step, 0.02f);
    }
    return true;
}

/* The same by interp.c, and whether it is what came out: weights, and buffers under their names. */
static bool reference_agrees(int which, const double *hyper)
{
    const struct cvy_optimiser *o = cvy_optimisers[which];
    InterpStep step = {.optimiser = (InterpOptimiser)which, .lr = 0.05f, .weight_decay = 0.02f};
    double *const of[INTERP_OPTIMISERS][3] = {
        {&step.momentum}, {&step.beta1, &step.beta2, &step.eps}, {&step.beta1, &step.beta2, &step.eps}};
    Trained t;
    for (int k = 0; k < 3 && of[which][k]; k++)
        *of[which][k] = hyper[k];
    step.nesterov = which == INTERP_SGD && hyper[1] != 0;
    if (!train(which, hyper, &t))
        return false;
    state = 88172645463325252u;
    for (int i = 0; i < FLOATS; i++) {
        ip->param[weight][i] = (double)(float)uniform();
        ip->buffer[0][weight][i] = ip->buffer[1][weight][i] = 0;
    }
    for (; step.before < STEPS; step.before++) {
        for (int i = 0; i < FLOATS; i++)
            ip->dparam[weight][i] = (double)(float)uniform();
        interp_update(ip, &step);
    }
    for (int i = 0; i < FLOATS; i++) {
        if (!near((double)t.w[i], ip->param[weight][i]))
            return false;
        for (int k = 0; k < INTERP_BUFFERS; k++) {
            if (k >= cvy_buffers(o) && (t.state[k * FLOATS + i] != 0 || interp_words[which].buffer[k]))
                return false;
            if (k < cvy_buffers(o) && (!same_text(o->buffer[k], interp_words[which].buffer[k]) ||
                                       !near((double)t.state[k * FLOATS + i], ip->buffer[k][weight][i])))
                return false;
        }
    }
    return true;
}

static bool same_training(int which, const double *a, const double *b)
{
    Trained x, y;
    return train(which, a, &x) && train(which, b, &y) && memcmp(&x, &y, sizeof x) == 0;
}

/* Whether all that is not 0 means the same for number k. */
static bool is_flag(int which, int k)
{
    double quarter[CVY_HYPERS] = {0.5, 0.5, 0.5}, three[CVY_HYPERS] = {0.5, 0.5, 0.5};
    quarter[k] = 0.25, three[k] = 0.75;
    return same_training(which, quarter, three);
}

static bool right_hyper(int which, int k)
{
    const struct cvy_optimiser *o = cvy_optimisers[which];
    const struct cvy_hyper *h = &o->hyper[k];
    const KnownHyper *want = &known[which].hyper[k];
    char option[32], off[40];
    const char *needs = NULL;
    if (!same_text(h->name, want->name))
        return false;
    snprintf(option, sizeof option, "--%s", h->name);
    snprintf(off, sizeof off, "--no-%s", h->name);
    for (char *c = option; *c; c++)
        *c = *c == '_' ? '-' : *c;
    const bool flag = is_flag(which, k);
    for (int n = 0; flag && n < cvy_hypers(o); n++) { /* which other number, at 0, makes it mean nothing */
        double with[CVY_HYPERS] = {0.5, 0.5, 0.5}, without[CVY_HYPERS] = {0.5, 0.5, 0.5};
        with[n] = without[n] = 0;
        with[k] = 1, without[k] = 0;
        if (n != k && same_training(which, with, without))
            needs = o->hyper[n].name;
    }
    return same_text(h->option, option) && same_text(h->off, flag ? off : NULL) && same_text(h->needs, needs) &&
           h->usual == want->usual && h->torch == want->torch && h->lo == 0 && h->hi == 1;
}

static bool right_optimiser(int which)
{
    const struct cvy_optimiser *o = cvy_optimisers[which];
    const double usual[][CVY_HYPERS] = {{0.9, 0.999, 1e-8}, {0.5, 0.25, 1e-3}, {0, 0, 1e-4}, {0.75, 0, 0.01}};
    int n = 0;
    while (n < CVY_HYPERS && known[which].hyper[n].name)
        n++;
    if (!same_text(o->name, interp_words[which].name) || o->lr != known[which].lr ||
        o->weight_decay != known[which].weight_decay || cvy_hypers(o) != n)
        return false;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (!reference_agrees(which, usual[i]))
            return false;
    for (int k = 0; k < n; k++)
        if (!right_hyper(which, k))
            return false;
    return true;
}

static const char *const other = "other", *const none = NULL;

static void flip_optimiser(int which)
{
    const struct cvy_optimiser *o = cvy_optimisers[which], *const another = cvy_optimisers[which + 1]
                                                                                ? cvy_optimisers[which + 1]
                                                                                : cvy_optimisers[0];
    const char *row = o->name;
    flips_open(o, sizeof *o);
    flips_row(row, right_optimiser, which);
    FLIP(row, o, name, other, right_optimiser, which);
    FLIP(row, o, update, another->update, right_optimiser, which);
    const double lr = 2 * o->lr, decay = o->weight_decay + 0.01;
    FLIP(row, o, lr, lr, right_optimiser, which);
    FLIP(row, o, weight_decay, decay, right_optimiser, which);
    for (int k = 0; k < CVY_BUFFERS; k++) {
        FLIP(row, o, buffer[k], other, right_optimiser, which);
        if (o->buffer[k])
            FLIP(row, o, buffer[k], none, right_optimiser, which);
    }
    for (int k = 0; k < cvy_hypers(o); k++) {
        const struct cvy_hyper *h = &o->hyper[k];
        const double usual = h->usual + 0.05, torch = h->torch + 0.05, lo = h->lo - 1, hi = h->hi + 1;
        FLIP(row, o, hyper[k].name, other, right_optimiser, which);
        FLIP(row, o, hyper[k].name, none, right_optimiser, which);
        FLIP(row, o, hyper[k].option, other, right_optimiser, which);
        FLIP(row, o, hyper[k].off, other, right_optimiser, which);
        if (h->off)
            FLIP(row, o, hyper[k].off, none, right_optimiser, which);
        FLIP(row, o, hyper[k].needs, other, right_optimiser, which);
        if (h->needs)
            FLIP(row, o, hyper[k].needs, none, right_optimiser, which);
        FLIP(row, o, hyper[k].usual, usual, right_optimiser, which);
        FLIP(row, o, hyper[k].torch, torch, right_optimiser, which);
        FLIP(row, o, hyper[k].lo, lo, right_optimiser, which);
        FLIP(row, o, hyper[k].hi, hi, right_optimiser, which);
    }
}

/* ---- losses ---- */

enum { IMAGES = 3, OUTPUTS = 4 };
static const struct {
    const char *name, *code, *torch, *of_target; /* what the text for PyTorch calls, and what it compares with */
    enum cvy_target target;
} losses[] = {
    {"cross_entropy", "cross_entropy", "functional.cross_entropy(net(x)", ", labels)", CVY_CLASS},
    {"mse", "mse", "functional.mse_loss(net(x)", ", values)", CVY_VALUES},
    {"mse_of_input", "mse", "functional.mse_loss(net(x)", ", x.flatten(1))", CVY_INPUT},
};
static float answers[IMAGES][OUTPUTS], values[IMAGES][OUTPUTS];
static const int labels[IMAGES] = {2, 0, 3};

/* Of image i whose answers are y, in double, by the definition. */
static double lost(bool classes, const float *y, int i)
{
    double sum = 0;
    for (int c = 0; c < OUTPUTS; c++)
        sum += classes ? exp((double)y[c]) : pow((double)y[c] - (double)values[i][c], 2);
    return classes ? log(sum) - (double)y[labels[i]] : sum / OUTPUTS;
}

/* What emitted code calls: the loss of image i under a step. */
static double by_code(bool classes, int i, const struct cvy_step *step)
{
    float g[OUTPUTS];
    double score = 0;
    return classes ? cvy_cross_entropy_image(answers[i], g, OUTPUTS, OUTPUTS, labels, i, 1, step, &score)
                   : cvy_mse_image(answers[i], g, OUTPUTS, OUTPUTS, values[0], i, 1, step, &score);
}

static bool has_key(const struct cvy_loss *l, const char *key)
{
    bool has = false;
    for (int k = 0; l->key[k]; k++)
        has |= strcmp(l->key[k], key) == 0;
    return has;
}

static bool right_loss(int which)
{
    const struct cvy_loss *l = cvy_losses[which];
    const bool classes = losses[which].target == CVY_CLASS;
    const float weights[OUTPUTS] = {1, 2, 3, 4}, zeros[OUTPUTS] = {0};
    const struct cvy_step plain = {.lr = 1}, smooth = {.label_smoothing = 0.1f}, weighed = {.class_weight = weights};
    double guess = 0;
    int keys = 0;
    if (!same_text(l->name, losses[which].name) || !same_text(l->code, losses[which].code) ||
        l->target != losses[which].target || !strstr(l->torch, losses[which].torch) ||
        !strstr(l->torch, losses[which].of_target))
        return false;
    for (int i = 0; i < IMAGES; i++) {
        int hit = -1, most = 0;
        const double is = l->lost(answers[i], OUTPUTS, classes ? (const void *)labels : values, i, &hit);
        for (int c = 0; c < OUTPUTS; c++)
            most = answers[i][c] > answers[i][most] ? c : most;
        if (!near(is, lost(classes, answers[i], i)) || !near(by_code(classes, i, &plain), is) ||
            hit != (classes && most == labels[i]))
            return false;
        guess += lost(classes, zeros, i) / IMAGES;
    }
    const double guessing = l->guessing(classes ? (const void *)labels : values, IMAGES, OUTPUTS);
    while (l->key[keys])
        keys++;
    const int matters[] = {!near(by_code(classes, 0, &smooth), by_code(classes, 0, &plain)),
                           !near(by_code(classes, 0, &weighed), by_code(classes, 0, &plain))};
    return near(guessing, classes ? guess : fmax(1, guess)) && keys == matters[0] + matters[1] &&
           has_key(l, "label_smoothing") == matters[0] && has_key(l, "class_weights") == matters[1];
}

static void flip_loss(int which)
{
    const struct cvy_loss *l = cvy_losses[which];
    const struct cvy_loss *const another = cvy_losses[which ? 0 : 1];
    const char *row = l->name;
    flips_open(l, sizeof *l);
    flips_row(row, right_loss, which);
    FLIP(row, l, name, other, right_loss, which);
    FLIP(row, l, code, other, right_loss, which);
    for (enum cvy_target t = 0; t < CVY_TARGETS; t++)
        if (t != l->target)
            FLIP(row, l, target, t, right_loss, which);
    for (int k = 0; k < 3; k++) {
        if (k == 0 || l->key[k - 1])
            FLIP(row, l, key[k], other, right_loss, which);
        if (l->key[k])
            FLIP(row, l, key[k], none, right_loss, which);
    }
    FLIP(row, l, torch, another->torch, right_loss, which);
    FLIP(row, l, lost, another->lost, right_loss, which);
    FLIP(row, l, guessing, another->guessing, right_loss, which);
}

/* ---- words of data ---- */

/* What the files of a package hold. Where it is not installed: what is known of it. */
static struct {
    int channels, height, width, classes;
    double mean, std;
} fashion = {1, 28, 28, 10, 0.2860, 0.3530};

static bool numbers_of(const char *folder)
{
    unsigned char head[16], *pixels = NULL;
    gzFile x = gzopen(xprintf("%s/train-images-idx3-ubyte.gz", folder), "rb"),
           y = gzopen(xprintf("%s/train-labels-idx1-ubyte.gz", folder), "rb");
    double sum = 0, squares = 0;
    bool ok = x && y && gzread(x, head, 16) == 16;
    const int n = ok ? head[6] << 8 | head[7] : 0, height = ok ? head[11] : 0, width = ok ? head[15] : 0;
    const size_t count = (size_t)n * (size_t)height * (size_t)width;
    ok = ok && count && (pixels = malloc(count)) && gzread(x, pixels, (unsigned)count) == (int)count;
    for (size_t i = 0; ok && i < count; i++) {
        sum += pixels[i];
        squares += pixels[i] * pixels[i];
    }
    free(pixels);
    fashion.classes = 0;
    ok = ok && gzread(y, head, 8) == 8;
    for (int label; ok && (label = gzgetc(y)) >= 0;)
        fashion.classes = label >= fashion.classes ? label + 1 : fashion.classes;
    if (ok) {
        const double mean = sum / (double)count;
        fashion.channels = 1, fashion.height = height, fashion.width = width;
        fashion.mean = mean / 255;
        fashion.std = sqrt(squares / (double)count - mean * mean) / 255;
    }
    if (x)
        gzclose(x);
    if (y)
        gzclose(y);
    return ok;
}

/* What a spec's word alone, and --data WORD, come to. */
static enum cvy_where where(const char *data, const char *said)
{
    uint64_t seed = 0;
    const char *folder = NULL;
    return cvy_data_where(data, said, &seed, &folder);
}

static const char *const word_names[] = {"fashion-mnist", "mnist", "shapes", "idx"};
enum { WORDS = sizeof word_names / sizeof *word_names };

static bool right_word(int which)
{
    const struct cvy_data_word *w = &cvy_data_words[which];
    const char *name = word_names[which];
    const bool images = which < 2; /* of a known kind; the others are as the network has them */
    struct stat st;
    /* MNIST's own numbers are those that everybody uses; where nothing is known, bytes are as if spread evenly */
    const double mean = which == 0   ? fashion.mean
                        : which == 1 ? 0.1307
                                     : 0.5,
                 std = which == 0   ? fashion.std
                       : which == 1 ? 0.3081
                                    : 0.25;
    const enum cvy_where from = which == 2 ? CVY_DRAWN
                                : which == 0
                                    ? stat("/usr/share/datasets/fashion-mnist", &st) == 0 ? CVY_FOLDER : CVY_NOWHERE
                                    : CVY_NOWHERE;
    return same_text(w->name, name) && fabs(w->mean - mean) < 6e-5 && fabs(w->std - std) < 6e-5 &&
           w->channels == (images ? fashion.channels : 0) && w->height == (images ? fashion.height : 0) &&
           w->width == (images ? fashion.width : 0) && w->classes == (images ? fashion.classes : 0) &&
           w->from == (which == 0 ? CVY_FOLDER : from) && where(name, NULL) == from &&
           same_text(w->folder, which == 0 ? "/usr/share/datasets/fashion-mnist" : NULL) &&
           (w->missing != NULL) == (w->folder != NULL) &&
           (!w->missing || strstr(w->missing, "apt-get install dataset-fashion-mnist"));
}

static void flip_word(int which)
{
    const struct cvy_data_word *w = &cvy_data_words[which];
    const char *row = w->name;
    const double mean = w->mean + 0.001, std = w->std + 0.001;
    const int channels = w->channels + 1, height = w->height + 1, width = w->width + 1, classes = w->classes + 1;
    flips_row(row, right_word, which);
    FLIP(row, w, name, other, right_word, which);
    FLIP(row, w, mean, mean, right_word, which);
    FLIP(row, w, std, std, right_word, which);
    FLIP(row, w, channels, channels, right_word, which);
    FLIP(row, w, height, height, right_word, which);
    FLIP(row, w, width, width, right_word, which);
    FLIP(row, w, classes, classes, right_word, which);
    for (enum cvy_where from = CVY_NOWHERE; from <= CVY_SET; from++)
        if (from != w->from)
            FLIP(row, w, from, from, right_word, which);
    FLIP(row, w, folder, other, right_word, which);
    FLIP(row, w, missing, other, right_word, which);
    if (w->folder) {
        FLIP(row, w, folder, none, right_word, which);
        FLIP(row, w, missing, none, right_word, which);
    }
}

int main(void)
{
    build();
    for (int i = 0; i < IMAGES; i++)
        for (int c = 0; c < OUTPUTS; c++) {
            answers[i][c] = (float)(2 * uniform());
            values[i][c] = (float)(4 * uniform());
        }
    if (!freopen("/dev/null", "w", stderr)) /* what rows that are wrong make it say */
        return 2;
    for (int i = 0; cvy_optimisers[i]; i++)
        if (i < INTERP_OPTIMISERS)
            flip_optimiser(i);
        else
            flips_unknown(cvy_optimisers[i]->name);
    for (int i = 0; cvy_losses[i]; i++)
        if (i < (int)(sizeof losses / sizeof *losses))
            flip_loss(i);
        else
            flips_unknown(cvy_losses[i]->name);
    if (!numbers_of("/usr/share/datasets/fashion-mnist"))
        printf("skipped: Fashion-MNIST's own numbers (Debian: dataset-fashion-mnist)\n");
    int words = 0;
    while (cvy_data_words[words].name)
        words++;
    flips_open(cvy_data_words, (size_t)words * sizeof *cvy_data_words);
    for (int i = 0; i < words; i++)
        if (i < WORDS)
            flip_word(i);
        else
            flips_unknown(cvy_data_words[i].name);
    return flips_end();
}
