/* predict.c - `convoy predict`: of image files, or of the rows of a table, which class they are of, or the numbers that
 * the network learnt of such. They become rows by what the weights say of their set, as `convoy data` made those; the
 * network's program computes their logits (NAME predict). */
#include "commands.h"
#include "csv.h"
#include "emit.h"
#include "files.h"
#include "image.h"
#include "process.h"
#include "runtime.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ROWS_BYTES = 64 << 20,    /* of images at a time; the program holds four times as much, as floats */
    MOST_IMAGE = 1 << 30,     /* bytes of a file that comes through a pipe */
    MOST_WEIGHTS = INT32_MAX, /* of weights that come so */
    TOP = 5,
    MOST_VALUES = 20 /* that are printed of a row */
};

typedef struct Predict {
    const Options *o;
    const Plan *plan;
    const char *weights, *folder; /* the folder for temporary files */
    const char *program;          /* NULL: not yet compiled */
    Origin origin;
    Recipe recipe;
    int classes;
    bool table;   /* rows of tables, by the names of their columns */
    json_t *said; /* of --json: a member for each image */
    bool failed;
} Predict;

/* ---- the weights, and how images are read for them ---- */

/* Weights are read twice, here and by the program: those that come through a pipe are copied. NULL after a message. */
static const char *weights_file(const Predict *p, const char *path)
{
    struct stat st;
    size_t len;

    if (stat(path, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return path; /* what is wrong is said by who opens it */
    const char *copy = xprintf("%s/weights.safetensors", p->folder), *text = file_read(path, MOST_WEIGHTS, &len);
    if (!text) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        return NULL;
    }
    return file_write(copy, text, len) ? copy : NULL;
}

/* That what the weights were trained with has as many answers as the network. */
static bool answers_fit(const Predict *p)
{
    const Spec *const s = p->plan->g->spec;
    const bool classes = s->train.loss->target == CVY_CLASS;
    const int said = classes ? p->origin.nclass : s->train.loss->target == CVY_VALUES ? p->origin.ntarget : 0;

    if (!said || said == s->classes)
        return true;
    cvy_error("take the spec that they were trained with", "'%s' was trained with %d %s; the network '%s' has %d",
              p->weights, said, classes ? "classes" : "numbers to learn", s->name, s->classes);
    return false;
}

static bool columns_fit(const Predict *p)
{
    const Spec *const s = p->plan->g->spec;
    const int *const in = s->input, columns = s->tokens                  ? in[2]
                                              : s->lengths               ? in[0] * in[2]
                                              : in[1] == 1 && in[2] == 1 ? in[0]
                                                                         : 0;

    if (s->lengths && !p->origin.length) {
        cvy_error("take the spec that they were trained with",
                  "'%s' was trained with a table without lengths; the network '%s' takes a length a sample", p->weights,
                  s->name);
        return false;
    }
    if (p->origin.ncolumn == columns)
        return answers_fit(p);
    cvy_error("take the spec that they were trained with",
              "'%s' was trained with tables of %d columns; the network '%s' reads %d x %d x %d", p->weights,
              p->origin.ncolumn, s->name, in[0], in[1], in[2]);
    return false;
}

static bool find_recipe(Predict *p)
{
    const Spec *const s = p->plan->g->spec;
    const int *const in = s->input;
    const Origin *const from = &p->origin;
    struct cvy_tensors f;
    const bool read = cvy_tensors_open(&f, p->weights) && origin_read(&p->origin, &f);

    cvy_tensors_free(&f);
    if (!read)
        return false;
    p->classes = s->classes;
    p->recipe = from->images ? from->recipe : (Recipe){.channels = in[0], .height = in[1], .width = in[2]};
    p->table = from->ncolumn > 0;
    if (p->table)
        return columns_fit(p);
    if (from->source && !from->images) {
        cvy_error("NAME predict --input x.npy takes rows of numbers",
                  "'%s' was trained with %s, and not with image files: no image can be read as its rows were",
                  p->weights, from->source);
        return false;
    }
    if (p->recipe.channels != in[0] || p->recipe.height != in[1] || p->recipe.width != in[2]) {
        cvy_error("take the spec that they were trained with",
                  "'%s' was trained with images of %d x %d x %d; the network '%s' reads %d x %d x %d", p->weights,
                  p->recipe.channels, p->recipe.height, p->recipe.width, s->name, in[0], in[1], in[2]);
        return false;
    }
    if (from->images && !answers_fit(p))
        return false;
    if (!from->images && (s->dims != 2 || (in[0] != 1 && in[0] != 3))) {
        cvy_error(NULL, "the network '%s' reads %d x %d x %d: no image has so many channels", s->name, in[0], in[1],
                  in[2]);
        return false;
    }
    if (!from->images)
        cvy_note("'%s' does not say how its images were read, as it was not trained with image files: the middle of "
                 "each is taken, in %s, as %d x %d",
                 p->weights, in[0] == 1 ? "grey" : "colour", in[1], in[2]);
    return true;
}

/* ---- images ---- */

/* An image file, open; one that comes through a pipe is read first. NULL and why. */
static FILE *open_image(const char *path, char why[IMAGE_WHY])
{
    struct stat st;
    size_t len = 0;
    FILE *f = NULL;

    errno = 0;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        errno = EISDIR;
    else if (errno == 0 && S_ISREG(st.st_mode))
        f = fopen(path, "rb");
    else if (errno == 0) {
        char *text = file_read(path, MOST_IMAGE, &len);
        f = text && len ? fmemopen(text, len, "rb") : NULL;
        if (text && !len) {
            snprintf(why, IMAGE_WHY, "it is empty");
            return NULL;
        }
    }
    if (!f)
        snprintf(why, IMAGE_WHY, "%s", strerror(errno));
    return f;
}

/* A file's name in JSON: what is no UTF-8 is written as \xNN. */
static json_t *name_json(const char *path)
{
    const size_t room = 6 * strlen(path) + 8;

    return json_string(cvy_plain(path, xalloc(room), room));
}

/* An image's row; false after a message, which is noted in --json, too. */
static bool read_image(Predict *p, const char *path, uint8_t *row)
{
    char why[IMAGE_WHY] = "";
    unsigned met = 0;
    FILE *f = open_image(path, why);
    const bool ok = f && image_import(&p->recipe, f, row, &met, why);

    if (f)
        fclose(f);
    if (ok && met & MET_DAMAGED)
        cvy_note("'%s' is damaged: what can be read of it is taken", path);
    if (!ok) {
        cvy_error(NULL, "'%s': %s", path, why);
        p->failed = true;
    }
    if (!ok && p->said)
        json_array_append_new(p->said, json_pack("{s:o, s:s}", "file", name_json(path), "error", why));
    return ok;
}

enum { NPY_HEAD = 128 };

/* A .npy file of so many bytes. */
static bool write_npy(const char *path, const char *type, const char *shape, const void *data, size_t bytes)
{
    char head[NPY_HEAD + 1];
    struct cvy_out out = {0};

    memset(head, ' ', NPY_HEAD);
    memcpy(head, "\x93NUMPY\x01\0\x76\0", 10); /* 0x76: what follows of the head */
    const int len =
        snprintf(head + 10, NPY_HEAD - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type, shape);
    head[10 + len] = ' ';
    head[NPY_HEAD - 1] = '\n';
    if (cvy_out_open(&out, path) && cvy_out_write(&out, head, NPY_HEAD) && cvy_out_write(&out, data, bytes))
        return cvy_out_commit(&out, 1);
    cvy_out_drop(&out);
    return false;
}

/* Rows of bytes. */
static bool write_rows(const Predict *p, const char *path, const uint8_t *rows, int n, size_t row_bytes)
{
    const char *const shape = xprintf("%d, %d, %d, %d", n, p->recipe.channels, p->recipe.height, p->recipe.width);

    return write_npy(path, "|u1", shape, rows, (size_t)n * row_bytes);
}

static bool write_lengths(const char *path, const int64_t *length, int n)
{
    return write_npy(path, "<i8", xprintf("%d,", n), length, (size_t)n * sizeof *length);
}

/* ---- the network ---- */

/* The program's logits of rows that lie in a file: n x classes. NULL after a message. */
static const float *logits_of(Predict *p, const char *rows, int n)
{
    const char *const path = xprintf("%s/y.npy", p->folder);
    char *argv[14];
    int k = 0;
    Buf said = {0};
    size_t len;

    argv[k++] = xstrdup(p->program);
    argv[k++] = xstrdup("predict");
    argv[k++] = xstrdup("--weights");
    argv[k++] = xstrdup(p->weights);
    argv[k++] = xstrdup("--input");
    argv[k++] = xstrdup(rows);
    if (p->plan->g->spec->lengths) {
        argv[k++] = xstrdup("--lengths");
        argv[k++] = xstrdup(xprintf("%s/lengths.npy", p->folder));
    }
    argv[k++] = xstrdup("-o");
    argv[k++] = xstrdup(path);
    argv[k++] = xstrdup("--quiet");
    if (p->o->force)
        argv[k++] = xstrdup("--force");
    argv[k] = NULL;
    const int status = process_run(argv, &said);
    if (said.len)
        fwrite(said.text, 1, said.len, stderr); /* errors and notes */
    if (status == -1)
        cvy_error(NULL, "cannot run '%s': %s", p->program, strerror(errno));
    else if (status != 0 && !said.len)
        cvy_error(NULL, "'%s predict' ended with %s %d", p->program, WIFSIGNALED(status) ? "signal" : "status",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (status != 0)
        return NULL;
    const size_t bytes = (size_t)n * (size_t)p->classes * sizeof(float);
    const char *y = file_read(path, bytes + (1 << 16), &len);
    if (!y || len <= bytes) {
        cvy_error(NULL, "cannot read '%s': %s", path, y ? "it is too short" : strerror(errno));
        return NULL;
    }
    float *out = xalloc(bytes);
    memcpy(out, y + (len - bytes), bytes); /* they are the file's end */
    return out;
}

/* ---- what is said ---- */

static const float *ranking;

static int by_logit(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    return ranking[i] > ranking[k] ? -1 : ranking[i] < ranking[k] ? 1 : i - k;
}

/* Classes by their logits, the largest first; of equal ones the first. Softmax in double. */
static void rank(const float *y, int classes, int *order, double *probability)
{
    double sum = 0;

    for (int c = 0; c < classes; c++)
        order[c] = c;
    ranking = y;
    qsort(order, (size_t)classes, sizeof *order, by_logit);
    for (int c = 0; c < classes; c++)
        sum += probability[c] = exp((double)y[c] - (double)y[order[0]]);
    for (int c = 0; c < classes; c++)
        probability[c] /= sum;
}

/* The numbers that a network learnt, with their names where these are said. */
static void say_values(const Predict *p, const char *path, const float *y)
{
    char plain[400];

    if (p->said) {
        json_t *all = json_array();
        for (int c = 0; c < p->classes; c++)
            json_array_append_new(all, json_real((double)y[c]));
        json_array_append_new(p->said, json_pack("{s:o, s:o}", "file", name_json(path), "values", all));
        return;
    }
    printf("%s\n", cvy_plain(path, plain, sizeof plain));
    for (int c = 0; c < p->classes && c < MOST_VALUES && p->origin.ntarget; c++)
        printf("  %s %.6g\n", cvy_plain(p->origin.target[c], plain, sizeof plain), (double)y[c]);
    for (int c = 0; c < p->classes && c < MOST_VALUES && !p->origin.ntarget; c++)
        printf("%s%.6g", c ? " " : "  ", (double)y[c]);
    if (p->classes > MOST_VALUES)
        printf("%s... (%d numbers)", p->origin.ntarget ? "  " : " ", p->classes);
    fputs(p->origin.ntarget && p->classes <= MOST_VALUES ? "" : "\n", stdout);
}

/* What a class is called: by its number, where nobody said a name. */
static const char *class_text(const Predict *p, int c)
{
    return c < p->origin.nclass ? p->origin.class_name[c] : xprintf("%d", c);
}

static void say(Predict *p, const char *path, const float *y)
{
    int *const order = xalloc((size_t)p->classes * sizeof *order);
    double *const probability = xalloc((size_t)p->classes * sizeof *probability);
    bool finite = true;

    for (int c = 0; c < p->classes; c++)
        finite = finite && cvy_finite((double)y[c]);
    if (!finite) {
        cvy_error(NULL, "'%s': its logits are not finite: these weights overflow", path);
        p->failed = true;
        return;
    }
    char plain[400];
    if (p->plan->g->spec->train.loss->target != CVY_CLASS) {
        say_values(p, path, y);
        return;
    }
    rank(y, p->classes, order, probability);
    if (p->said) {
        json_t *list = json_array(), *all = json_array();
        for (int k = 0; k < p->classes; k++)
            json_array_append_new(list, json_pack("{s:s, s:i, s:f}", "class", class_text(p, order[k]), "number",
                                                  order[k], "probability", probability[order[k]]));
        for (int c = 0; c < p->classes; c++)
            json_array_append_new(all, json_real((double)y[c]));
        json_array_append_new(p->said,
                              json_pack("{s:o, s:o, s:o}", "file", name_json(path), "classes", list, "logits", all));
        return;
    }
    printf("%s\n", cvy_plain(path, plain, sizeof plain));
    for (int k = 0; k < p->classes && k < TOP; k++)
        printf("  %6.2f%%  %s\n", 100 * probability[order[k]], cvy_plain(class_text(p, order[k]), plain, sizeof plain));
}

/* ---- tables ---- */

/* What is wrong with a row of a table, or with all of it. */
static bool no_row(Predict *p, const char *path, const char *why)
{
    char plain[400];

    cvy_error(NULL, "'%s': %s", cvy_plain(path, plain, sizeof plain), why);
    p->failed = true;
    if (p->said)
        json_array_append_new(p->said, json_pack("{s:o, s:s}", "file", name_json(path), "error", why));
    return false;
}

/* Where the columns that the network reads stand in a table: by name, or, where it has no names, in their order. */
static bool find_columns(Predict *p, const Csv *csv, const char *path, int *at, int *length)
{
    const Origin *const from = &p->origin;
    char plain[200];

    *length = -1;
    if (p->plan->g->spec->lengths && csv->header)
        *length = csv_column(csv, from->length);
    if (p->plan->g->spec->lengths && *length < 0)
        return no_row(p, path,
                      csv->header
                          ? xprintf("it has no column '%s', which held the lengths that the weights were trained with",
                                    cvy_plain(from->length, plain, sizeof plain))
                          : "its columns have no names: which one holds the lengths?");

    for (int c = 0; c < from->ncolumn; c++) {
        at[c] = csv->header ? csv_column(csv, from->column[c]) : csv->nname == from->ncolumn ? c : -1;
        if (at[c] >= 0)
            continue;
        return no_row(p, path,
                      csv->header ? xprintf("it has no column '%s', which the weights were trained with",
                                            cvy_plain(from->column[c], plain, sizeof plain))
                                  : xprintf("it has %d columns without names; the weights were trained with %d",
                                            csv->nname, from->ncolumn));
    }
    return true;
}

/* How many steps of a row count; 0 where the network takes no lengths. */
static bool read_length(Predict *p, const Csv *csv, const char *name, int column, int64_t *length)
{
    const int steps = p->plan->g->spec->input[2];
    const char *const cell = column >= 0 && column < csv->n ? csv->cell[column] : "";
    char plain[100];
    double v = 0;

    *length = 0;
    if (column < 0)
        return true;
    if (csv_number(cell, &v) != CELL_NUMBER || v != floor(v) || v < 1 || v > steps)
        return no_row(p, name,
                      xprintf("column '%s': '%s' is no length, no whole number from 1 to %d", csv->name[column],
                              cvy_plain(cell, plain, sizeof plain), steps));
    *length = (int64_t)v;
    return true;
}

/* A row as the network reads it, of so many steps (0: there are no steps): scaled by the arithmetic of the runtime's
 * loader. */
static bool read_cells(Predict *p, const Csv *csv, const char *name, const int *at, int length, float *to)
{
    const int steps = p->plan->g->spec->input[2];
    const SpecTrain *const t = &p->plan->g->spec->train;
    const int tokens = p->plan->g->spec->tokens;
    char plain[100];

    for (int c = 0; c < p->origin.ncolumn; c++) {
        double v = 0;
        to[c] = 0;
        if (length > 0 && c % steps >= length)
            continue;
        if (at[c] >= csv->n)
            return no_row(p, name, xprintf("%d cells, not %d", csv->n, csv->nname));
        if (csv_number(csv->cell[at[c]], &v) != CELL_NUMBER)
            return no_row(p, name,
                          xprintf("column '%s': '%s' is no number", p->origin.column[c],
                                  cvy_plain(csv->cell[at[c]], plain, sizeof plain)));
        if (!cvy_is_token(tokens, v))
            return no_row(p, name,
                          xprintf("column '%s': %s is no token, no whole number from 0 to %d", p->origin.column[c],
                                  real_text(v), tokens - 1));
        const int channel = p->plan->g->spec->lengths ? c / steps : c;
        to[c] = tokens ? (float)v : ((float)v - (float)t->mean[channel]) / (float)t->std[channel];
    }
    return true;
}

/* Predicts rows that were read; false after a message that ends it. */
static bool predict_rows(Predict *p, const float *rows, const int64_t *length, int n, const char *const *name)
{
    const int columns = p->origin.ncolumn;
    const Spec *const s = p->plan->g->spec;
    const int64_t numbers[] = {n, columns, 1, 1}, tokens[] = {n, 1, 1, columns},
                  steps[] = {n, s->input[0], 1, s->input[2]};
    const char *const file = xprintf("%s/x.npy", p->folder);
    int lock;

    if (!n)
        return true;
    if (!cvy_npy_write(file, 4,
                       s->tokens    ? tokens
                       : s->lengths ? steps
                                    : numbers,
                       rows) ||
        (s->lengths && !write_lengths(xprintf("%s/lengths.npy", p->folder), length, n)))
        return false;
    if (!p->program)
        p->program = build_program(p->o, p->plan, NULL, &lock); /* held to the end */
    const float *const y = p->program ? logits_of(p, file, n) : NULL;
    for (int i = 0; i < n && y; i++)
        say(p, name[i], y + (size_t)i * (size_t)p->classes);
    return y != NULL;
}

static bool predict_table(Predict *p, const char *path)
{
    enum { AT_ONCE = 4096 };
    const size_t columns = (size_t)p->origin.ncolumn;
    int *const at = xalloc(columns * sizeof *at), column, n = 0, got = 0;
    int64_t *const length = xalloc(AT_ONCE * sizeof *length);
    float *const rows = xmalloc(AT_ONCE * columns * sizeof *rows);
    const char **const name = xalloc(AT_ONCE * sizeof *name);
    Csv csv;
    bool ok = true;

    if (!csv_open(&csv, path))
        p->failed = true; /* which has said why */
    else if (find_columns(p, &csv, path, at, &column))
        while (ok && (got = csv_next(&csv)) > 0) {
            name[n] = xprintf("%s:%lld", path, (long long)csv.line);
            n += read_length(p, &csv, name[n], column, &length[n]) &&
                 read_cells(p, &csv, name[n], at, (int)length[n], rows + (size_t)n * columns);
            if (n == AT_ONCE) {
                ok = predict_rows(p, rows, length, n, name);
                n = 0;
            }
        }
    ok = ok && predict_rows(p, rows, length, n, name);
    p->failed = p->failed || got < 0;
    csv_close(&csv);
    free(rows);
    return ok;
}

/* ---- the command ---- */

/* The images from number `from` on, as many as fit at once: their number. 0 after a message that ends it. */
static int predict_some(Predict *p, int from)
{
    const Options *const o = p->o;
    const size_t row = (size_t)p->recipe.channels * (size_t)p->recipe.height * (size_t)p->recipe.width;
    const int left = o->nword - from, fit = row >= ROWS_BYTES ? 1 : (int)(ROWS_BYTES / row),
              n = left < fit ? left : fit;
    uint8_t *const rows = xmalloc((size_t)n * row);
    const char **const path = xalloc((size_t)n * sizeof *path), *const file = xprintf("%s/x.npy", p->folder);
    int read = 0, lock;

    for (int i = 0; i < n; i++)
        if (read_image(p, o->word[from + i], rows + (size_t)read * row))
            path[read++] = o->word[from + i];
    bool ok = !read || write_rows(p, file, rows, read, row);
    free(rows);
    if (ok && read && !p->program) {
        p->program = build_program(o, p->plan, NULL, &lock); /* held to the end */
        ok = p->program != NULL;
    }
    const float *y = ok && read ? logits_of(p, file, read) : NULL;
    for (int i = 0; i < read && y; i++)
        say(p, path[i], y + (size_t)i * (size_t)p->classes);
    return ok && (!read || y) ? n : 0;
}

int cmd_predict(const Options *o)
{
    Predict p = {.o = o};
    int status;

    if (!o->nword) {
        fputs("convoy: predict: FILE is missing: the images or tables to look at stand after SPEC\n", stderr);
        return EXIT_USAGE;
    }
    p.plan = load_plan(o, o->target ? o->target : "native", false, &status);
    if (!p.plan)
        return status;
    p.folder = process_folder("predict");
    if (!p.folder)
        return EXIT_FAILED;
    p.weights = weights_file(&p, o->weights ? o->weights : xprintf("%s.safetensors", p.plan->g->spec->name));
    bool ok = p.weights && find_recipe(&p);
    if (o->json)
        p.said = json_array();
    for (int i = 0; ok && p.table && i < o->nword; i++)
        ok = predict_table(&p, o->word[i]);
    for (int from = 0, n = 0; ok && !p.table && from < o->nword; from += n) {
        n = predict_some(&p, from);
        ok = n > 0;
    }
    if (ok && p.said) {
        json_t *all = json_pack("{s:s, s:o, s:O}", "network", p.plan->g->spec->name, "weights",
                                name_json(o->weights ? o->weights : p.weights), "images", p.said);
        json_t *names = p.origin.ntarget ? json_array() : NULL;
        for (int c = 0; c < p.origin.ntarget; c++)
            json_array_append_new(names, name_json(p.origin.target[c]));
        if (names)
            json_object_set_new(all, "targets", names);
        char *text = json_dumps(all, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        if (!text)
            BUG("no JSON of what was predicted");
        printf("%s\n", text);
        free(text);
        json_decref(all);
    }
    json_decref(p.said);
    process_folder_remove();
    return ok && !p.failed ? EXIT_OK : EXIT_FAILED;
}
