/* set.c - the set: a safetensors file. Its header needs the statistics of the training rows, so the rows in the spool
 * are read twice.
 *
 *   train.y         I64 [n]            the class, or F32 [n], where there are several [n, numbers]: what a regression
 *                                      wants
 *   train.name_at   I64 [n + 1]        where each row's name begins in train.name
 *   train.length    I64 [n]            how many steps of each row count, where rows have lengths
 *   train.group     I32 [n]            rows of one group are in one split
 *   train.x         U8 or F32 [n, c, h, w]
 *   train.name      U8 [bytes]         names, one after the other
 *
 * and the same for valid and test, where they have rows. 8-byte numbers stand first, then 4-byte ones, so that each
 * tensor is aligned. needs: order, count, groups. */
#include "import.h"
#include "runtime.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int row_numbers(const Import *m)
{
    return m->channels * m->height * m->width;
}

bool set_floats(const Import *m)
{
    return m->floats && !m->to_bytes;
}

bool row_get(Import *m, int i, void *to, float *floats)
{
    const int n = row_numbers(m);
    const bool convert = m->floats && m->to_bytes;
    if (!spool_get(&m->rows, convert ? floats : to, m->row_bytes, (uint64_t)i * m->row_bytes))
        return false;
    for (int k = 0; convert && k < n; k++)
        ((uint8_t *)to)[k] = (uint8_t)floats[k];
    return true;
}

/* ---- mean and standard deviation ---- */

/* Of bytes: how often each value occurs, which is exact whatever the order. */
static void statistics_of_bytes(Import *m, const uint64_t *often)
{
    for (int c = 0; c < m->channels; c++) {
        double n = 0, sum = 0, squares = 0;
        for (int v = 0; v < 256; v++) {
            n += (double)often[256 * c + v];
            sum += (double)often[256 * c + v] * (v / 255.0);
        }
        m->mean[c] = n > 0 ? sum / n : 0;
        for (int v = 0; v < 256; v++)
            squares += (double)often[256 * c + v] * (v / 255.0 - m->mean[c]) * (v / 255.0 - m->mean[c]);
        m->sd[c] = n > 0 ? sqrt(squares / n) : 0;
    }
}

/* Of the training rows. Of floats by Welford's update, which loses nothing where the mean is large. */
static bool statistics(Import *m, void *row, float *floats)
{
    const int plane = m->height * m->width;
    const bool as_floats = set_floats(m);
    uint64_t *often = as_floats ? NULL : xalloc((size_t)m->channels * 256 * sizeof *often);
    double *squares = xalloc((size_t)m->channels * sizeof *squares);
    m->mean = xalloc((size_t)m->channels * sizeof *m->mean);
    m->sd = xalloc((size_t)m->channels * sizeof *m->sd);
    int64_t *const met = xalloc((size_t)m->channels * sizeof *met);
    for (int i = 0; i < m->count[SPLIT_TRAIN]; i++) {
        if (!goes_on() || !row_get(m, m->order[i], row, floats) || !length_get(m, m->order[i], &m->live))
            return false;
        const uint8_t *bytes = row;
        const float *f = row;
        for (int c = 0; c < m->channels; c++)
            for (int p = 0; p < plane; p++) {
                if (length_pads(m, (int64_t)c * plane + p))
                    continue;
                met[c]++;
                if (!as_floats) {
                    often[256 * c + bytes[c * plane + p]]++;
                    continue;
                }
                const double v = f[c * plane + p], off = v - m->mean[c];
                m->mean[c] += off / (double)met[c];
                squares[c] += off * (v - m->mean[c]);
            }
    }
    if (!as_floats)
        statistics_of_bytes(m, often);
    for (int c = 0; c < m->channels && as_floats; c++)
        m->sd[c] = met[c] ? sqrt(squares[c] / (double)met[c]) : 0;
    return true;
}

/* ---- the header ---- */

typedef enum Part { PART_Y, PART_NAME_AT, PART_LENGTH, PART_GROUP, PART_X, PART_NAME, PARTS } Part;
static const char *const part_words[PARTS] = {"y", "name_at", "length", "group", "x", "name"};

/* A tensor of the file. */
typedef struct Tensor {
    Split split;
    Part part;
    const char *dtype;
    int size; /* of a number */
    int64_t dim[4];
    int ndim;
    uint64_t begin, end;
} Tensor;
enum { MOST_TENSORS = SPLITS * PARTS };

static Tensor tensor_make(const Import *m, Split s, Part part, uint64_t name_bytes)
{
    Tensor t = {.split = s, .part = part, .dtype = "I64", .size = 8, .dim = {m->count[s]}, .ndim = 1};
    if (part == PART_GROUP || (part == PART_Y && m->regression)) {
        t.dtype = part == PART_GROUP ? "I32" : "F32";
        t.size = 4;
        if (part == PART_Y && m->ntarget > 1)
            t.dim[t.ndim++] = m->ntarget;
    } else if (part == PART_NAME) {
        t.dtype = "U8";
        t.size = 1;
        t.dim[0] = (int64_t)name_bytes;
    } else if (part == PART_NAME_AT) {
        t.dim[0]++;
    } else if (part == PART_X) {
        t.dtype = set_floats(m) ? "F32" : "U8";
        t.size = set_floats(m) ? 4 : 1;
        t.ndim = 4;
        t.dim[1] = m->channels;
        t.dim[2] = m->height;
        t.dim[3] = m->width;
    }
    return t;
}

/* The tensors in the order in which they lie. */
static int tensors_make(const Import *m, const uint64_t name_bytes[SPLITS], Tensor list[MOST_TENSORS])
{
    int n = 0;
    uint64_t at = 0;
    for (int size = 8; size; size /= 2)
        for (int s = 0; s < SPLITS; s++)
            for (int part = 0; part < PARTS && m->count[s]; part++) {
                Tensor t = tensor_make(m, s, part, name_bytes[s]);
                if (t.size != size || (part == PART_LENGTH && !lengths_are(m)))
                    continue;
                uint64_t bytes = (uint64_t)size;
                for (int d = 0; d < t.ndim; d++)
                    bytes *= (uint64_t)t.dim[d];
                t.begin = at;
                t.end = at += bytes;
                list[n++] = t;
            }
    return n;
}

static json_t *numbers_json(const double *v, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_real(v[i]));
    return a;
}

/* Names as JSON text: what is no UTF-8 is written as \xNN. */
static json_t *names_json(const char *const *name, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++) {
        const size_t room = 6 * strlen(name[i]) + 8;
        char *plain = xmalloc(room);
        json_array_append_new(a, json_string(cvy_plain(name[i], plain, room)));
        free(plain);
    }
    return a;
}

static void put_text(json_t *meta, const char *key, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    json_object_set_new(meta, key, json_string(text));
    json_decref(value);
    free(text);
}

static void put_word(json_t *o, const char *key, const char *word)
{
    char plain[4000];
    if (word)
        json_object_set_new(o, key, json_string(cvy_plain(word, plain, sizeof plain)));
}

/* How the set was made: what a later import of the same kind needs, and what a person wants to know. */
static json_t *recipe_json(const Import *m)
{
    json_t *o = json_object();
    char shares[100];
    snprintf(shares, sizeof shares, "%.9g/%.9g/%.9g", m->share[0], m->share[1], m->share[2]);
    put_word(o, "source", m->source->what);
    if (m->images)
        json_object_set_new(o, "image", json_loads(recipe_text(&m->recipe), 0, NULL));
    put_word(o, "split", shares);
    json_object_set_new(o, "seed", json_integer((json_int_t)m->o->seed));
    put_word(o, "group", m->o->group);
    put_word(o, "label_regex", m->o->label_regex);
    put_word(o, "length", m->length_name);
    if (m->o->max)
        json_object_set_new(o, "max", json_integer(m->o->max));
    return o;
}

static char *header_text(const Import *m, const Tensor *list, int n)
{
    json_t *root = json_object(), *meta = json_object();
    json_object_set_new(meta, "convoy_data", json_string("1"));
    if (!m->regression)
        put_text(meta, "classes", names_json(m->class_name, m->nclass));
    else
        put_text(meta, "targets", names_json(m->target, m->ntarget));
    if (m->column)
        put_text(meta, "columns", names_json(m->column, row_numbers(m)));
    put_text(meta, "mean", numbers_json(m->mean, m->channels));
    put_text(meta, "sd", numbers_json(m->sd, m->channels));
    put_text(meta, "recipe", recipe_json(m));
    json_object_set_new(root, "__metadata__", meta);
    for (int i = 0; i < n; i++) {
        const Tensor *t = &list[i];
        json_t *shape = json_array();
        for (int d = 0; d < t->ndim; d++)
            json_array_append_new(shape, json_integer(t->dim[d]));
        json_object_set_new(root, xprintf("%s.%s", split_words[t->split], part_words[t->part]),
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->dtype, "shape", shape, "data_offsets",
                                      (json_int_t)t->begin, (json_int_t)t->end));
    }
    char *text = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(root);
    if (!text)
        BUG("the header of a set cannot be made");
    return text;
}

/* ---- the file ---- */

static int first_of(const Import *m, Split s)
{
    int at = 0;
    for (int i = 0; i < (int)s; i++)
        at += m->count[i];
    return at;
}

/* One number of a tensor that has one a row. */
static bool put_number(Import *m, struct cvy_out *out, const Tensor *t, int i, Buf *name, int64_t *name_at)
{
    const Record *r = record(m, i);
    int32_t length = 0;
    if (t->part == PART_LENGTH && !length_get(m, i, &length))
        return false;
    const int64_t wide = t->part == PART_Y ? r->label : t->part == PART_LENGTH ? length : *name_at;
    const int32_t narrow = t->part == PART_Y ? r->label : (int32_t)r->group; /* a float's bits are its label's */
    if (t->part == PART_NAME_AT) {
        if (!texts_get(&m->names, r->name, name))
            return false;
        *name_at += (int64_t)name->len;
    }
    return t->size == 8 ? cvy_out_write(out, &wide, 8) : cvy_out_write(out, &narrow, 4);
}

static bool put_tensor(Import *m, struct cvy_out *out, const Tensor *t, void *row, float *floats)
{
    const int first = first_of(m, t->split);
    Buf name = {0};
    int64_t name_at = 0;
    bool ok = true;
    const size_t bytes = (size_t)m->ntarget * sizeof(float);
    float *const target = t->ndim == 2 ? xmalloc(bytes) : NULL;
    for (int k = first; k < first + m->count[t->split] && ok; k++) {
        const int i = m->order[k];
        ok = goes_on();
        if (ok && t->part == PART_X)
            ok = row_get(m, i, row, floats) &&
                 cvy_out_write(out, row, (size_t)row_numbers(m) * (size_t)(set_floats(m) ? 4 : 1));
        else if (ok && t->part == PART_Y && t->ndim == 2)
            ok = spool_get(&m->targets, target, bytes, (uint64_t)i * bytes) && cvy_out_write(out, target, bytes);
        else if (ok && t->part == PART_NAME)
            ok = texts_get(&m->names, record(m, i)->name, &name) && cvy_out_write(out, name.text, name.len);
        else if (ok)
            ok = put_number(m, out, t, i, &name, &name_at);
    }
    free(target);
    return ok && (t->part != PART_NAME_AT || cvy_out_write(out, &name_at, 8));
}

static bool name_bytes(Import *m, uint64_t bytes[SPLITS])
{
    Buf name = {0};
    for (int s = 0; s < SPLITS; s++) {
        bytes[s] = 0;
        for (int k = first_of(m, s); k < first_of(m, s) + m->count[s]; k++) {
            if (!goes_on() || !texts_get(&m->names, record(m, m->order[k])->name, &name))
                return false;
            bytes[s] += name.len;
        }
    }
    return true;
}

bool set_write(Import *m, const char *path)
{
    struct cvy_out out = {0};
    void *row = xmalloc((size_t)row_numbers(m) * sizeof(float));
    float *floats = m->floats ? xmalloc(m->row_bytes) : NULL;
    uint64_t names[SPLITS];
    Tensor list[MOST_TENSORS];
    bool ok = statistics(m, row, floats) && name_bytes(m, names);
    if (ok) {
        const int n = tensors_make(m, names, list);
        char *text = header_text(m, list, n);
        const size_t len = strlen(text), pad = (64 - (8 + len) % 64) % 64;
        const uint64_t all = len + pad;
        static const char blanks[65] = "                                                                ";
        m->bytes = (double)all + 8 + (n ? (double)list[n - 1].end : 0);
        ok = cvy_out_open(&out, path) && cvy_out_write(&out, &all, 8) && cvy_out_write(&out, text, len) &&
             cvy_out_write(&out, blanks, pad);
        free(text);
        for (int i = 0; i < n && ok; i++)
            ok = put_tensor(m, &out, &list[i], row, floats);
        if (ok)
            ok = cvy_out_commit(&out, 1);
        else
            cvy_out_drop(&out);
    }
    free(row);
    free(floats);
    return ok;
}
