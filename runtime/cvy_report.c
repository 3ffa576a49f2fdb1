/* cvy_report.c - what an evaluation found besides loss and accuracy: by class, what is taken for what, the worst
 * predicted samples by name. As text, and as JSON. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_MATRIX = 2048, /* classes that a matrix is kept of */
    JSON_MATRIX = 100,  /* ... and written of into JSON */
    TEXT_MATRIX = 12,   /* ... and printed of */
    TEXT_LINES = 10,    /* classes, pairs that are printed where there are more */
    TEXT_WORST = 5,
    NAME_WIDTH = 16
};

int cvy_report_begin(struct cvy_report *p, const struct cvy_model *m, const struct cvy_data *d)
{
    const size_t n = (size_t)m->classes;
    memset(p, 0, sizeof *p);
    p->model = m;
    p->data = d;
    p->k = m->classes < CVY_TOP_K ? m->classes : CVY_TOP_K;
    p->class_name = cvy_answer_names(d, m);
    if (!cvy_learns_classes(m)) {
        p->sum = cvy_alloc(n, sizeof *p->sum);
        p->squares = cvy_alloc(n, sizeof *p->squares);
        p->error = cvy_alloc(n, sizeof *p->error);
        return p->class_name && p->sum && p->squares && p->error;
    }
    p->rows = cvy_alloc(n, sizeof *p->rows);
    p->right = cvy_alloc(n, sizeof *p->right);
    if (n <= MOST_MATRIX)
        p->matrix = cvy_alloc(n * n, sizeof *p->matrix);
    return p->rows && p->right && p->class_name && (n > MOST_MATRIX || p->matrix);
}

void cvy_report_end(struct cvy_report *p)
{
    cvy_answer_names_free(p->class_name, p->model ? p->model->classes : 0);
    free(p->sum);
    free(p->squares);
    free(p->error);
    free(p->rows);
    free(p->right);
    free(p->matrix);
    free(p->answer);
    for (int i = 0; i < p->nworst; i++)
        free(p->worst[i].name);
    memset(p, 0, sizeof *p);
}

/* Among the worst, where it is one of them. */
static void keep_worst(struct cvy_report *p, struct cvy_worst row)
{
    int at = p->nworst;
    if (!cvy_finite(row.loss))
        return;
    while (at > 0 && row.loss > p->worst[at - 1].loss) /* of equal ones the first stays in front */
        at--;
    if (at == CVY_WORST)
        return;
    p->nworst += p->nworst < CVY_WORST;
    memmove(&p->worst[at + 1], &p->worst[at], (size_t)(p->nworst - 1 - at) * sizeof *p->worst);
    p->worst[at] = row;
}

void cvy_report_row(struct cvy_report *p, int item, const float *y, int label, int best, double loss)
{
    const int classes = p->model->classes;
    int before = 0;
    for (int c = 0; c < classes; c++)
        before += y[c] > y[label] || (c < label && y[c] == y[label]);
    p->in_top += before < p->k;
    p->rows[label]++;
    p->right[label] += label == best;
    if (p->matrix)
        p->matrix[(size_t)label * (size_t)classes + (size_t)best]++;
    if (p->answer)
        p->answer[p->nanswer++] = (struct cvy_answer){item, label, best};
    if (label != best)
        keep_worst(p, (struct cvy_worst){item, label, best, loss, NULL});
}

void cvy_report_values(struct cvy_report *p, int item, const float *y, const float *want, double loss)
{
    for (int c = 0; c < p->model->classes; c++) {
        const double v = (double)want[c], far = (double)y[c] - v;
        p->sum[c] += v;
        p->squares[c] += v * v;
        p->error[c] += far * far;
    }
    keep_worst(p, (struct cvy_worst){item, 0, 0, loss, NULL});
}

double cvy_report_r2(const struct cvy_report *p, int c)
{
    double error = 0, variance = 0;
    for (int k = c < 0 ? 0 : c; k < (c < 0 ? p->model->classes : c + 1); k++) {
        error += p->error[k];
        variance += p->squares[k] - p->sum[k] * p->sum[k] / p->data->n;
    }
    return variance > 0 ? 1 - error / variance : (double)NAN;
}

int cvy_report_names(struct cvy_report *p)
{
    for (int i = 0; i < p->nworst; i++)
        if (!p->worst[i].name && !(p->worst[i].name = cvy_data_name(p->data, p->worst[i].item)))
            return 0;
    return 1;
}

double cvy_report_share(const struct cvy_report *p, int class)
{
    return p->rows[class] ? (double)p->right[class] / (double)p->rows[class] : 0;
}

/* ---- each row's answer ---- */

int cvy_report_keep_answers(struct cvy_report *p)
{
    if (!cvy_learns_classes(p->model)) {
        cvy_error("predict writes them", "--answers: this network learns numbers, and has no class to answer with");
        return 0;
    }
    return (p->answer = cvy_alloc((size_t)p->data->n, sizeof *p->answer)) != NULL;
}

int cvy_report_answers(const struct cvy_report *p, const char *path)
{
    static const char head[] = "row,class,answer\n";
    struct cvy_out out = {0};
    int ok = cvy_out_open(&out, path) && cvy_out_write(&out, head, strlen(head));
    for (int i = 0; i < p->nanswer && ok; i++) {
        char line[64];
        const struct cvy_answer *a = &p->answer[i];
        const int len = snprintf(line, sizeof line, "%d,%d,%d\n", a->item, a->class, a->taken_for);
        ok = cvy_out_write(&out, line, (size_t)len);
    }
    if (ok)
        return cvy_out_commit(&out, 1);
    cvy_out_drop(&out);
    return 0;
}

/* ---- what is taken for what ---- */

static int by_count(const void *a, const void *b)
{
    const struct cvy_mistake *x = a, *y = b;
    return x->count != y->count   ? (x->count < y->count ? 1 : -1)
           : x->class != y->class ? x->class - y->class
                                  : x->taken_for - y->taken_for;
}

struct cvy_mistake *cvy_report_mistakes(const struct cvy_report *p, int *n)
{
    const int classes = p->model->classes;
    size_t k = 0, at = 0;
    *n = 0;
    for (int c = 0; p->matrix && c < classes; c++)
        for (int e = 0; e < classes; e++)
            k += c != e && p->matrix[(size_t)c * (size_t)classes + (size_t)e] > 0;
    struct cvy_mistake *list = cvy_alloc(k + 1, sizeof *list);
    for (int c = 0; list && p->matrix && c < classes; c++)
        for (int e = 0; e < classes; e++) {
            const int64_t count = p->matrix[(size_t)c * (size_t)classes + (size_t)e];
            if (c != e && count > 0)
                list[at++] = (struct cvy_mistake){c, e, count};
        }
    if (list && k)
        qsort(list, k, sizeof *list, by_count);
    *n = (int)k;
    return list;
}

static const struct cvy_report *sorting;

static int by_share(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    const double x = cvy_report_share(sorting, i), y = cvy_report_share(sorting, k);
    return x < y ? -1 : x > y ? 1 : i - k;
}

/* ---- text ---- */

static void print_matrix(const struct cvy_report *p)
{
    const int n = p->model->classes;
    printf("\n%-*s", NAME_WIDTH, "class, taken for");
    for (int c = 0; c < n; c++)
        printf(" %4.4s", p->class_name[c]);
    printf("    right\n");
    for (int c = 0; c < n; c++) {
        printf("%-*.*s", NAME_WIDTH, NAME_WIDTH, p->class_name[c]);
        for (int e = 0; e < n; e++)
            printf(" %4" PRId64, p->matrix[(size_t)c * (size_t)n + (size_t)e]);
        if (p->rows[c])
            printf("  %6.2f%%\n", 100 * cvy_report_share(p, c));
        else
            printf("        -\n");
    }
}

/* The classes that are told worst. */
static int print_classes(const struct cvy_report *p)
{
    int *order = cvy_alloc((size_t)p->model->classes, sizeof *order), n = 0;
    if (!order)
        return 0;
    for (int c = 0; c < p->model->classes; c++)
        if (p->rows[c])
            order[n++] = c;
    sorting = p;
    qsort(order, (size_t)n, sizeof *order, by_share);
    printf("\nthe classes that are told worst\n");
    for (int i = 0; i < n && i < TEXT_LINES; i++)
        printf("  %6.2f%%  %s (%" PRId64 " of %" PRId64 ")\n", 100 * cvy_report_share(p, order[i]),
               p->class_name[order[i]], p->right[order[i]], p->rows[order[i]]);
    free(order);
    int k;
    struct cvy_mistake *list = cvy_report_mistakes(p, &k);
    if (k)
        printf("the most frequent mistakes\n");
    for (int i = 0; list && i < k && i < TEXT_LINES; i++)
        printf("  %6" PRId64 "   %s, taken for %s\n", list[i].count, p->class_name[list[i].class],
               p->class_name[list[i].taken_for]);
    const int ok = list != NULL;
    free(list);
    return ok;
}

/* Where values are learnt: R2 of all, and by output where there are few. */
static void print_values(const struct cvy_report *p)
{
    printf("R2 %.4f\n", cvy_report_r2(p, -1));
    for (int c = 0; p->model->train.loss->target == CVY_VALUES && c < p->model->classes && c < TEXT_LINES; c++)
        printf("  %s: RMSE %.5g, R2 %.4f\n", p->class_name[c], sqrt(p->error[c] / p->data->n), cvy_report_r2(p, c));
    for (int i = 0; i < p->nworst && i < TEXT_WORST; i++)
        printf("%s%s: loss %.5g\n", i ? "  " : "predicted worst\n  ", p->worst[i].name, p->worst[i].loss);
}

int cvy_report_print(struct cvy_report *p)
{
    const int columns = cvy_columns();
    int ok = cvy_report_names(p);
    if (ok && !cvy_learns_classes(p->model)) {
        print_values(p);
        return 1;
    }
    if (ok && p->model->classes <= TEXT_MATRIX && NAME_WIDTH + 5 * p->model->classes + 9 <= columns)
        print_matrix(p);
    else if (ok)
        ok = print_classes(p);
    if (ok && p->k < p->model->classes)
        printf("in the first %d: %.2f%%\n", p->k, 100.0 * (double)p->in_top / p->data->n);
    for (int i = 0; ok && i < p->nworst && i < TEXT_WORST; i++)
        printf("%s%s: %s, taken for %s (%s: %.2g%%)\n", i ? "  " : "predicted worst\n  ", p->worst[i].name,
               p->class_name[p->worst[i].class], p->class_name[p->worst[i].taken_for], p->class_name[p->worst[i].class],
               100 * exp(-p->worst[i].loss));
    return ok;
}

/* ---- JSON ---- */

static json_t *real_or_null(double v)
{
    return cvy_finite(v) ? json_real(v) : json_null();
}

static int values_json(const struct cvy_report *p, json_t *o)
{
    json_t *outputs = json_array(), *worst = json_array();
    int ok = outputs && worst;
    for (int c = 0; c < p->model->classes; c++)
        ok &= json_array_append_new(outputs, json_pack("{s:s, s:f, s:o}", "name", p->class_name[c], "rmse",
                                                       sqrt(p->error[c] / p->data->n), "r2",
                                                       real_or_null(cvy_report_r2(p, c)))) == 0;
    for (int i = 0; i < p->nworst; i++)
        ok &= json_array_append_new(worst, json_pack("{s:s, s:i, s:f}", "name", p->worst[i].name, "row",
                                                     p->worst[i].item, "loss", p->worst[i].loss)) == 0;
    ok &= json_object_set_new(o, "r2", real_or_null(cvy_report_r2(p, -1))) == 0;
    ok &= json_object_set_new(o, "outputs", outputs) == 0;
    ok &= json_object_set_new(o, "worst", worst) == 0;
    if (!ok)
        cvy_error(NULL, "out of memory");
    return ok;
}

int cvy_report_json(struct cvy_report *p, json_t *o)
{
    const int n = p->model->classes;
    if (!cvy_report_names(p))
        return 0;
    if (!cvy_learns_classes(p->model))
        return values_json(p, o);
    json_t *classes = json_array(), *matrix = json_array(), *worst = json_array();
    int ok = classes && matrix && worst;
    for (int c = 0; c < n; c++) {
        ok &=
            json_array_append_new(classes, json_pack("{s:s, s:I, s:f}", "class", p->class_name[c], "images",
                                                     (json_int_t)p->rows[c], "accuracy", cvy_report_share(p, c))) == 0;
        json_t *line = json_array();
        for (int e = 0; e < n && n <= JSON_MATRIX; e++)
            ok &= json_array_append_new(line, json_integer(p->matrix[(size_t)c * (size_t)n + (size_t)e])) == 0;
        ok &= json_array_append_new(matrix, line) == 0;
    }
    for (int i = 0; i < p->nworst; i++)
        ok &= json_array_append_new(worst,
                                    json_pack("{s:s, s:i, s:s, s:s, s:f}", "name", p->worst[i].name, "row",
                                              p->worst[i].item, "class", p->class_name[p->worst[i].class], "taken_for",
                                              p->class_name[p->worst[i].taken_for], "loss", p->worst[i].loss)) == 0;
    ok &= json_object_set_new(o, "top_k", json_integer(p->k)) == 0;
    ok &= json_object_set_new(o, "top_k_accuracy", json_real((double)p->in_top / p->data->n)) == 0;
    ok &= json_object_set_new(o, "classes", classes) == 0;
    if (n <= JSON_MATRIX)
        ok &= json_object_set_new(o, "confusion", matrix) == 0;
    else
        json_decref(matrix);
    ok &= json_object_set_new(o, "worst", worst) == 0;
    if (!ok)
        cvy_error(NULL, "out of memory");
    return ok;
}
