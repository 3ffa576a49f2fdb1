/* cvy_infer.c - `NAME eval` and `NAME predict`: the folded network on a test set and on a user's images.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Images at a time: some megabytes. */
static int chunk_of(const struct cvy_model *m)
{
    int64_t n = ((int64_t)4 << 20) / ((int64_t)m->channels * m->height * m->width);
    return n < 1 ? 1 : n > 256 ? 256 : (int)n;
}

int cvy_evaluate(struct cvy_run *r, const struct cvy_data *d, double *loss, double *accuracy, struct cvy_report *report)
{
    const struct cvy_model *m = r->model;
    const struct cvy_batch *b;
    int chunk = chunk_of(m);
    float *y = cvy_alloc((size_t)chunk * (size_t)m->classes, sizeof *y);
    struct cvy_loader *l = y ? cvy_loader_start(d, m, chunk, 1, 0, 0, 0, 0, NULL) : NULL;
    double sum = 0;
    long correct = 0;
    int done = 0;
    if (!l) {
        free(y);
        return 0;
    }
    m->fold(r->net);
    while ((b = cvy_loader_next(l)) != NULL) {
        m->infer(r->net, b, y);
        for (int i = 0; i < b->n; i++) {
            int hit;
            const float *row = y + (size_t)i * (size_t)m->classes;
            const double lost = m->train.loss->lost(row, m->classes, b->target, i, &hit);
            sum += lost;
            correct += hit;
            if (report && cvy_learns_classes(m))
                cvy_report_row(report, cvy_data_row(d, done + i), row, ((const int *)b->target)[i],
                               cvy_largest(row, m->classes), lost);
            else if (report)
                cvy_report_values(report, cvy_data_row(d, done + i), row,
                                  (const float *)b->target + (size_t)i * (size_t)m->classes, lost);
        }
        done += b->n;
    }
    cvy_loader_stop(l);
    free(y);
    *loss = sum / d->n;
    *accuracy = (double)correct / d->n;
    return 1;
}

int cvy_command_eval(int argc, char **argv, const struct cvy_model *m)
{
    const char *weights = NULL, *data = NULL, *page = NULL, *answers = NULL;
    int threads = cvy_processors(), json = 0, images = 0, force = 0;
    struct cvy_option option[] = {
        {CVY_TEXT, "--weights", "W", &weights, 0, 0, "a checkpoint (default: NAME.safetensors)", 0},
        {CVY_FLAG, "--force", NULL, &force, 0, 0, "take weights that were trained as another network", 0},
        {CVY_TEXT, "--data", "DATA", &data, 0, 0, "a set, a folder with the two t10k files, or shapes[:SEED]", 0},
        {CVY_INT, "--test-images", "N", &images, 1, 2147483647, "only the first N test images", 0},
        {CVY_INT, "--threads", "N", &threads, 1, 1024, "the result is the same for any number", 0},
        {CVY_FLAG, "--json", NULL, &json, 0, 0, "for scripts; by class, and the worst predicted images, too", 0},
        {CVY_TEXT, "--report", "FILE", &page, 0, 0,
         "a page (HTML): by class, what is taken for what, the worst predicted images", 0},
        {CVY_TEXT, "--answers", "FILE", &answers, 0, 0, "each row's class and the answer, by number, as CSV", 0},
        {CVY_SECTION, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    int parsed = cvy_options_parse(argc, argv, 2, "eval", option);
    if (parsed < 0) {
        printf("usage: %s eval [options]\n\nLoss and accuracy on the test set, with norms folded into weights.\n\n",
               m->name);
        cvy_options_help(option);
        return 0;
    }
    if (parsed == 0)
        return 2;
    struct cvy_run r = {0};
    struct cvy_data d = {0};
    struct cvy_report report = {0};
    double loss = 0, accuracy = 0;
    char *own = weights ? NULL : cvy_format("%s.safetensors", m->name);
    weights = weights ? weights : own;
    const char *const read[] = {weights, data};
    int ok = weights && cvy_spares(page, read, 2) && cvy_spares(answers, read, 2) &&
             cvy_run_open(&r, m, 0, threads, 0) && cvy_load_weights(&r, weights, force ? CVY_FORCED : CVY_CHECKED) &&
             cvy_data_load(&d, m, data, CVY_TEST_SPLIT, images) && cvy_report_begin(&report, m, &d) &&
             (!answers || cvy_report_keep_answers(&report)) && cvy_evaluate(&r, &d, &loss, &accuracy, &report);
    if (ok && !cvy_finite(loss)) {
        cvy_error(NULL, "the loss is not finite: these weights overflow");
        ok = 0;
    } else if (ok && json) {
        json_t *o = json_pack("{s:s, s:s, s:b, s:i, s:f, s:f}", "network", m->name, "data", d.what, "synthetic",
                              d.synthetic, "images", d.n, "loss", loss, cvy_learns_classes(m) ? "accuracy" : "rmse",
                              cvy_learns_classes(m) ? accuracy : sqrt(loss));
        if (o && !cvy_report_json(&report, o)) { /* which has said so */
            json_decref(o);
            ok = 0;
        }
        ok = ok && cvy_json_print(o, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    } else if (ok && !cvy_learns_classes(m)) {
        printf("%s: test loss %.6g, RMSE %.6g, R2 %.4f (%d rows from %s%s)\n", m->name, loss, sqrt(loss),
               cvy_report_r2(&report, -1), d.n, d.what, d.synthetic ? ": a SYNTHETIC set, not a benchmark" : "");
    } else if (ok) {
        printf("%s: test loss %.4f, test accuracy %.2f%% (%d images from %s%s)\n", m->name, loss, 100 * accuracy, d.n,
               d.what, d.synthetic ? ": a SYNTHETIC set, not a benchmark" : "");
    }
    if (ok && page) {
        ok = cvy_report_page(&report, page, weights, loss);
        if (ok && !json)
            printf("wrote %s\n", page);
    }
    if (ok && answers) {
        ok = cvy_report_answers(&report, answers);
        if (ok && !json)
            printf("wrote %s\n", answers);
    }
    cvy_report_end(&report);
    cvy_run_close(&r);
    cvy_data_free(&d);
    free(own);
    return !ok;
}

int cvy_command_predict(int argc, char **argv, const struct cvy_model *m)
{
    const char *weights = NULL, *input = NULL, *lengths = NULL, *output = NULL;
    int threads = cvy_processors(), n = 0, force = 0, nonfinite = 0, quiet = 0;
    struct cvy_option option[] = {
        {CVY_TEXT, "--weights", "W", &weights, 0, 0, "a checkpoint (default: NAME.safetensors)", 0},
        {CVY_FLAG, "--force", NULL, &force, 0, 0, "take weights that were trained as another network", 0},
        {CVY_TEXT, "--input", "x.npy", &input, 0, 0,
         "n x C x H x W: float32 as the network reads them, or uint8, which are scaled as in training", 0},
        {CVY_TEXT, "--lengths", "l.npy", &lengths, 0, 0,
         "n whole numbers: how many steps of each row count, where the network takes lengths (default: all)", 0},
        {CVY_FLAG, "--nonfinite", NULL, &nonfinite, 0, 0, "take images with NaN and infinities in them", 0},
        {CVY_TEXT, "-o", "y.npy", &output, 0, 0, "n x classes: logits, float32", 0},
        {CVY_FLAG, "--quiet", NULL, &quiet, 0, 0, "print errors only", 0},
        {CVY_INT, "--threads", "N", &threads, 1, 1024, "the result is the same for any number", 0},
        {CVY_SECTION, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    int parsed = cvy_options_parse(argc, argv, 2, "predict", option);
    if (parsed < 0) {
        printf("usage: %s predict [--weights W] --input x.npy -o y.npy\n\nThe logits of images, with norms folded into "
               "weights.\n\n",
               m->name);
        cvy_options_help(option);
        return 0;
    }
    if (parsed > 0 && (!input || !output)) {
        cvy_error("NAME predict --weights W --input x.npy -o y.npy", "predict: %s is missing",
                  input ? "-o" : "--input");
        parsed = 0;
    }
    if (parsed == 0)
        return 2;
    struct cvy_run r = {0};
    float *x = NULL, *y = NULL;
    int *length = NULL;
    char *own = weights ? NULL : cvy_format("%s.safetensors", m->name);
    weights = weights ? weights : own;
    const char *const read[] = {weights, input, lengths};
    int ok = weights && cvy_spares(output, read, 3) && cvy_run_open(&r, m, 0, threads, 0) &&
             cvy_load_weights(&r, weights, force ? CVY_FORCED : CVY_CHECKED) &&
             cvy_npy_sequences(m, input, lengths, nonfinite, &x, &length, &n) &&
             (y = cvy_alloc((size_t)n * (size_t)m->classes, sizeof *y)) != NULL;
    if (ok) {
        size_t image = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
        m->fold(r.net);
        for (int i = 0, chunk = chunk_of(m); i < n; i += chunk) {
            chunk = n - i < chunk ? n - i : chunk;
            const struct cvy_batch part = {x + (size_t)i * image, NULL, length ? length + i : NULL, chunk};
            m->infer(r.net, &part, y + (size_t)i * (size_t)m->classes);
        }
        ok = cvy_npy_write(output, 2, (const int64_t[]){n, m->classes}, y);
    }
    if (ok && !quiet)
        printf("%s: wrote the logits of %d image%s to %s\n", m->name, n, n == 1 ? "" : "s", output);
    cvy_run_close(&r);
    free(x);
    free(length);
    free(y);
    free(own);
    return !ok;
}
