/* show_batch.c - `convoy data --show-batch SPEC`: the rows that a training sees, as the network reads them. They come
 * from the runtime's own loader, so that what is drawn is what is trained with, to the bit. */
#include "show_batch.h"
#include "files.h"
#include "runtime.h"
#include "sheet.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHOWN = 1024, USUALLY_SHOWN = 64, MOST_VALUES = 4 };

void show_options(ShowOptions *o, struct cvy_option *list)
{
    *o = (ShowOptions){.epoch = 1};
    const struct cvy_option option[] = {
        {CVY_SECTION, "what a training sees, instead of a set", NULL, NULL, 0, 0, NULL, 0},
        {CVY_TEXT, "--show-batch", "SPEC", &o->spec, 0, 0,
         "draw the rows that a training of SPEC sees first, augmented and scaled; SRC may be left out where the spec "
         "names its data. --seed is the training's [the spec's]",
         0},
        {CVY_INT, "--epoch", "N", &o->epoch, 1, 1000000, "in which epoch", 0},
        {CVY_INT, "--n", "N", &o->n, 1, MOST_SHOWN, "how many rows [a batch, at most 64]", 0},
        {CVY_FLAG, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    memcpy(list, option, sizeof option);
}

typedef struct Show {
    const Spec *spec;
    struct cvy_model model; /* as far as the loader looks at one */
    struct cvy_data train, valid;
    struct cvy_loader *loader;
    const struct cvy_batch *batch; /* the loader's */
    struct cvy_step mixed;         /* what its images are mixed of */
    int epoch;
    uint64_t seed;
    int *item; /* the rows of the batch in the data */
    char **class_name;
    double least, most; /* of the numbers as they were before they were scaled */
    double mean, sd;    /* of what the network reads */
} Show;

/* ---- what is shown ---- */

static void make_model(Show *w)
{
    const Spec *const s = w->spec;
    const SpecTrain *const t = &s->train;
    float *const mean = xalloc((size_t)s->input[0] * sizeof *mean), *const std =
                                                                        xalloc((size_t)s->input[0] * sizeof *std);
    char *const augment = xalloc(CVY_AUGMENT_TEXT);

    for (int c = 0; c < s->input[0]; c++) {
        mean[c] = (float)t->mean[c];
        std[c] = (float)t->std[c];
    }
    cvy_augment_write(&t->augment, augment);
    w->model = (struct cvy_model){
        .name = s->name,
        .channels = s->input[0],
        .height = s->input[1],
        .width = s->input[2],
        .tokens = s->tokens,
        .lengths = s->lengths,
        .classes = s->classes,
        .min_batch = 1,
        .train = {.data = t->data, .loss = t->loss, .mean = mean, .std = std, .augment = augment},
    };
}

static bool load(Show *w, const ShowOptions *o, const char *data)
{
    const struct cvy_model *const m = &w->model;
    const SpecTrain *const t = &w->spec->train;
    int held;

    if (!cvy_data_load(&w->train, m, data, CVY_TRAIN_SPLIT, 0) ||
        !cvy_data_validation(&w->valid, &w->train, m, data, t->setting[CVY_VALID], &held))
        return false;
    const int usual = t->batch < USUALLY_SHOWN ? t->batch : USUALLY_SHOWN, asked = o->n ? o->n : usual,
              n = asked < w->train.n ? asked : w->train.n;
    int *const order = xmalloc((size_t)w->train.n * sizeof *order);
    cvy_permutation(order, w->train.n, w->seed, (uint64_t)w->epoch - 1);
    w->item = xalloc((size_t)n * sizeof *w->item);
    for (int i = 0; i < n; i++)
        w->item[i] = cvy_data_row(&w->train, order[i]);
    free(order);
    w->loader = cvy_loader_start(&w->train, m, n, 1, 1, w->seed, (uint64_t)w->epoch - 1, 0, &t->augment);
    w->batch = w->loader ? cvy_loader_next(w->loader) : NULL;
    if (w->batch && t->augment.by[CVY_MIXUP] > 0)
        cvy_loader_mixed(w->loader, &w->mixed);
    w->class_name = cvy_learns_classes(m) ? cvy_answer_names(&w->train, m) : NULL;
    return w->batch && (w->class_name || !cvy_learns_classes(m));
}

/* A number of channel c as it was before mean and std were taken away. */
static double unscaled(const Show *w, int c, float v)
{
    return (double)v * (double)w->model.train.std[c] + (double)w->model.train.mean[c];
}

static size_t plane_of(const Show *w)
{
    return (size_t)w->model.height * (size_t)w->model.width;
}

static void measure(Show *w)
{
    const size_t plane = plane_of(w), n = (size_t)w->batch->n * (size_t)w->model.channels * plane;
    double sum = 0, squares = 0;

    w->least = INFINITY;
    w->most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        const float v = w->batch->x[i];
        const double was = unscaled(w, (int)(i / plane) % w->model.channels, v);
        w->least = was < w->least ? was : w->least;
        w->most = was > w->most ? was : w->most;
        sum += (double)v;
        squares += (double)v * (double)v;
    }
    w->mean = sum / (double)n;
    w->sd = sqrt(fmax(squares / (double)n - w->mean * w->mean, 0));
}

/* ---- the sheet ---- */

/* What stands below picture i: its class, and what it is mixed with, or the numbers to learn. */
static void label_of(const Show *w, int i, const char *words[SHEET_LINES])
{
    const struct cvy_data *const d = &w->train;

    if (w->class_name) {
        const char *const own = w->class_name[((const int *)w->batch->target)[i]];
        words[0] = w->mixed.share ? xprintf("%.2f %s", (double)w->mixed.share[i], own) : own;
        words[1] =
            w->mixed.share ? xprintf("%.2f %s", 1 - (double)w->mixed.share[i], w->class_name[w->mixed.other[i]]) : NULL;
    } else if (d->value) {
        Buf b = {0};
        for (int k = 0; k < d->values && k < MOST_VALUES; k++)
            buf_printf(&b, "%s%.5g", k ? ", " : "",
                       (double)((const float *)w->batch->target)[(size_t)i * (size_t)d->values + (size_t)k]);
        words[0] = b.text;
    }
}

/* Mean and std are added again, so that bytes are what they were: black is 0, white 255. Numbers of another range are
 * drawn from the least to the largest of the batch. */
static bool write_sheet(const Show *w, const char *path)
{
    const int n = w->batch->n, channels = w->model.channels;
    const size_t plane = plane_of(w), numbers = (size_t)channels * plane;
    const double from = w->train.number ? w->least : 0,
                 span = w->train.number && w->most > w->least ? w->most - w->least : 1;
    float *const x = xmalloc((size_t)n * numbers * sizeof *x);
    Sheet sheet = {n,
                   channels,
                   w->model.height,
                   w->model.width,
                   x,
                   xalloc((size_t)n * sizeof *sheet.words),
                   w->mixed.share                    ? 2
                   : w->class_name || w->train.value ? 1
                                                     : 0};
    Buf png = {0};

    for (size_t i = 0; i < (size_t)n * numbers; i++)
        x[i] = (float)((unscaled(w, (int)(i / plane) % channels, w->batch->x[i]) - from) / span);
    for (int i = 0; i < n; i++)
        label_of(w, i, sheet.words[i]);
    const bool drawn = sheet_draw(&sheet, &png);
    free(x);
    if (!drawn)
        cvy_error("--n N takes fewer", "a sheet of %d rows of %d x %d would be too large", n, w->model.height,
                  w->model.width);
    return drawn && file_write(path, png.text, png.len);
}

/* ---- what is said ---- */

static json_t *row_json(const Show *w, int i)
{
    char *const name = cvy_data_name(&w->train, w->item[i]);
    json_t *const row = json_pack("{s:i, s:s?}", "row", w->item[i], "name", name);

    free(name);
    if (w->class_name) {
        const int label = ((const int *)w->batch->target)[i];
        json_object_set_new(row, "label", json_integer(label));
        json_object_set_new(row, "class", json_string(w->class_name[label]));
    }
    if (w->mixed.share)
        json_object_set_new(row, "mixed",
                            json_pack("{s:s, s:f, s:s, s:f}", "class",
                                      w->class_name[((const int *)w->batch->target)[i]], "share",
                                      (double)w->mixed.share[i], "other", w->class_name[w->mixed.other[i]],
                                      "other_share", 1 - (double)w->mixed.share[i]));
    if (w->train.value) {
        const size_t values = (size_t)w->train.values;
        json_t *const list = json_array();
        for (size_t k = 0; k < values; k++)
            json_array_append_new(list, json_real((double)((const float *)w->batch->target)[(size_t)i * values + k]));
        json_object_set_new(row, "values", list);
    }
    return row;
}

static void say(const Show *w, const Options *o, const char *sheet)
{
    const char *const augment = *w->model.train.augment ? w->model.train.augment : "none";

    if (o->json) {
        json_t *const rows = json_array();
        for (int i = 0; i < w->batch->n; i++)
            json_array_append_new(rows, row_json(w, i));
        json_t *const all =
            json_pack("{s:s, s:s, s:i, s:i, s:I, s:s, s:f, s:f, s:f, s:f, s:s?, s:s?, s:o}", "network", w->model.name,
                      "data", w->train.what, "training_rows", w->train.n, "epoch", w->epoch, "seed",
                      (json_int_t)w->seed, "augment", augment, "least", w->least, "most", w->most, "mean", w->mean,
                      "sd", w->sd, "sheet", sheet, "numbers", o->out, "rows", rows);
        char *const text = json_dumps(all, JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        if (!text)
            BUG("what is shown cannot be said");
        puts(text);
        free(text);
        json_decref(all);
        return;
    }
    if (o->quiet)
        return;
    printf("%s: %d of %d rows to train with, from %s\n", w->model.name, w->batch->n, w->train.n, w->train.what);
    printf("epoch %d, seed %llu, augmented by %s\n", w->epoch, (unsigned long long)w->seed, augment);
    printf("the network reads numbers of mean %.3f and sd %.3f%s\n", w->mean, w->sd,
           fabs(w->mean) > 1 || w->sd > 3 || w->sd < 0.3
               ? ": far from 0 and 1; 'convoy data SRC' prints the mean and std that fit"
               : "");
    if (sheet)
        printf("wrote %s: mean and std are added again, %s\n", sheet,
               w->train.number ? xprintf("black is %.6g and white %.6g", w->least, w->most)
                               : "black is 0 and white 255");
    if (o->out)
        printf("wrote %s: %d x %d x %d x %d float32, as the network reads them\n", o->out, w->batch->n,
               w->model.channels, w->model.height, w->model.width);
}

static bool write_numbers(const Show *w, const char *path)
{
    const int64_t dim[] = {w->batch->n, w->model.channels, w->model.height, w->model.width};

    return cvy_npy_write(path, 4, dim, w->batch->x);
}

static bool show(Show *w, const ShowOptions *own, const Options *o, const char *data, const char *sheet)
{
    const bool pictures = w->model.height > 1 && w->model.width > 1;
    const size_t n = o->out ? strlen(o->out) : 0;

    if (n > 4 && strcmp(o->out + n - 4, ".png") == 0) {
        cvy_error(xprintf("--sheet %s: the picture; -o FILE.npy: the numbers", o->out), "-o %s: it would get numbers",
                  o->out);
        return false;
    }
    if (sheet && !pictures) {
        cvy_error("-o FILE.npy writes its numbers", "--sheet: the rows that '%s' reads are no pictures", w->model.name);
        return false;
    }
    if (!pictures && !o->out && !o->json) {
        cvy_error("-o FILE.npy writes its numbers", "the rows that '%s' reads are no pictures", w->model.name);
        return false;
    }
    if (!load(w, own, data))
        return false;
    measure(w);
    if (pictures && !sheet && !o->out)
        sheet = xprintf("%s-batch.png", w->model.name);
    if ((sheet && !write_sheet(w, sheet)) || (o->out && !write_numbers(w, o->out)))
        return false;
    say(w, o, sheet);
    return true;
}

int show_batch(const Options *o, const ShowOptions *own, const DataOptions *data, bool seeded)
{
    Options of_spec = *o;
    int status, want[3];

    of_spec.spec = own->spec;
    of_spec.out = NULL;
    const Graph *const g = load_graph(&of_spec, &status);
    if (!g)
        return status;
    Show w = {.spec = g->spec, .epoch = own->epoch, .seed = seeded ? data->seed : (uint64_t)g->spec->train.seed};
    const char *set = o->spec;
    make_model(&w);
    image_want(w.model.channels, w.model.height, g->spec->dims == 2 ? w.model.width : 0, want);
    if (o->spec)
        status = import_once(&of_spec, g->spec->name, o->spec, want, o->quiet || o->json, &set);
    if (status == EXIT_OK)
        status = show(&w, own, o, set, data->sheet) ? EXIT_OK : EXIT_FAILED;
    cvy_answer_names_free(w.class_name, w.model.classes);
    cvy_loader_stop(w.loader);
    cvy_data_free(&w.valid);
    cvy_data_free(&w.train);
    return status;
}
