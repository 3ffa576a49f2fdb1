/* stfile.c - see stfile.h. Both formats are little-endian, and so are the machines that the tests run on. */
#include "stfile.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *room(int64_t n, size_t size)
{
    void *p = n < 0 ? NULL : calloc((size_t)n + 1, size);
    if (!p) {
        fprintf(stderr, "tests: out of memory\n");
        exit(2);
    }
    return p;
}

static void *no(const char *path, const char *what)
{
    fprintf(stderr, "%s: %s\n", path, what);
    return NULL;
}

/* The whole file, NUL-terminated; NULL and a message where it cannot be read. */
static char *slurp(const char *path, int64_t *len)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return no(path, "cannot be opened");
    char *text = NULL;
    if (fseek(f, 0, SEEK_END) == 0 && (*len = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
        text = room(*len, 1);
        if (fread(text, 1, (size_t)*len, f) != (size_t)*len) {
            free(text);
            text = NULL;
        }
    }
    fclose(f);
    return text ? text : no(path, "cannot be read");
}

StFile *st_new(void)
{
    return room(1, sizeof(StFile));
}

StTensor *st_add(StFile *f, const char *name, bool is_float, int ndim, const int64_t *dim)
{
    StTensor *all = realloc(f->tensor, ((size_t)f->n + 1) * sizeof *all);
    if (!all)
        room(-1, 1);
    f->tensor = all;
    StTensor *t = &all[f->n++];
    *t = (StTensor){.ndim = ndim, .n = 1};
    t->name = room((int64_t)strlen(name), 1);
    memcpy(t->name, name, strlen(name));
    for (int d = 0; d < ndim; d++)
        t->n *= t->dim[d] = dim[d];
    if (is_float)
        t->f = room(t->n, sizeof *t->f);
    else
        t->i = room(t->n, sizeof *t->i);
    return t;
}

StTensor *st_find(StFile *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->tensor[i].name, name) == 0)
            return &f->tensor[i];
    return NULL;
}

void st_free(StFile *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->n; i++) {
        free(f->tensor[i].name);
        free(f->tensor[i].f);
        free(f->tensor[i].i);
    }
    free(f->tensor);
    free(f);
}

/* One entry of the header; the sum of sizes so far in *total. */
static bool entry(StFile *f, const char *name, const json_t *v, const char *data, int64_t len, int64_t *total)
{
    const char *type = json_string_value(json_object_get(v, "dtype"));
    const json_t *shape = json_object_get(v, "shape"), *place = json_object_get(v, "data_offsets");
    int64_t dim[8] = {0}, from = json_integer_value(json_array_get(place, 0)),
            to = json_integer_value(json_array_get(place, 1));
    bool is_float = type && strcmp(type, "F32") == 0;
    if (!type || (!is_float && strcmp(type, "I64") != 0) || !json_is_array(shape) || json_array_size(shape) > 8 ||
        json_array_size(place) != 2)
        return false;
    for (size_t d = 0; d < json_array_size(shape); d++) {
        dim[d] = json_integer_value(json_array_get(shape, d));
        if (dim[d] < 0 || dim[d] > INT32_MAX)
            return false;
    }
    StTensor *t = st_add(f, name, is_float, (int)json_array_size(shape), dim);
    int64_t bytes = t->n * (is_float ? 4 : 8);
    if (from < 0 || to > len || to - from != bytes)
        return false;
    memcpy(is_float ? (void *)t->f : (void *)t->i, data + from, (size_t)bytes);
    *total += bytes;
    return true;
}

StFile *st_read(const char *path)
{
    int64_t len, total = 0;
    uint64_t head;
    char *text = slurp(path, &len);
    if (!text)
        return NULL;
    StFile *f = st_new();
    json_t *root = NULL;
    const char *wrong = NULL;
    if (len < 8 || (memcpy(&head, text, 8), head > (uint64_t)len - 8)) {
        wrong = "no safetensors header";
    } else if (!(root = json_loadb(text + 8, (size_t)head, JSON_REJECT_DUPLICATES, NULL)) || !json_is_object(root)) {
        wrong = "the safetensors header is no JSON object";
    } else {
        const char *name;
        json_t *v;
        json_object_foreach(root, name, v)
        {
            if (strcmp(name, "__metadata__") == 0)
                continue;
            if (!entry(f, name, v, text + 8 + head, len - 8 - (int64_t)head, &total))
                wrong = "a tensor's entry is wrong";
        }
        if (!wrong && total != len - 8 - (int64_t)head)
            wrong = "gaps or overlaps in the data";
    }
    json_decref(root);
    free(text);
    if (wrong) {
        st_free(f);
        return no(path, wrong);
    }
    return f;
}

bool st_write(const StFile *f, const char *path, const char *const *metadata)
{
    json_t *root = json_object(), *meta = json_object();
    int64_t at = 0;
    for (int i = 0; metadata && metadata[i]; i += 2)
        json_object_set_new(meta, metadata[i], json_string(metadata[i + 1]));
    if (metadata)
        json_object_set(root, "__metadata__", meta);
    json_decref(meta);
    for (int i = 0; i < f->n; i++) {
        const StTensor *t = &f->tensor[i];
        json_t *shape = json_array();
        for (int d = 0; d < t->ndim; d++)
            json_array_append_new(shape, json_integer(t->dim[d]));
        int64_t bytes = t->n * (t->f ? 4 : 8);
        json_object_set_new(root, t->name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->f ? "F32" : "I64", "shape", shape,
                                      "data_offsets", (json_int_t)at, (json_int_t)(at + bytes)));
        at += bytes;
    }
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    FILE *to = text ? fopen(path, "wb") : NULL;
    if (!to) {
        free(text);
        return no(path, "cannot be written") != NULL;
    }
    uint64_t len = strlen(text), padded = (len + 7) / 8 * 8;
    fwrite(&padded, 1, 8, to);
    fprintf(to, "%s%*s", text, (int)(padded - len), "");
    for (int i = 0; i < f->n; i++) {
        const StTensor *t = &f->tensor[i];
        fwrite(t->f ? (void *)t->f : (void *)t->i, t->f ? 4 : 8, (size_t)t->n, to);
    }
    free(text);
    bool bad = ferror(to) != 0;
    if (fclose(to) != 0 || bad)
        return no(path, "cannot be written") != NULL;
    return true;
}

bool npy_write(const char *path, const float *f, const int64_t *i, int ndim, const int64_t *dim)
{
    char shape[200] = "", head[256];
    int64_t n = 1;
    for (int d = 0; d < ndim; d++) {
        snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%" PRId64 ", ", dim[d]);
        n *= dim[d];
    }
    int len = snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", f ? "<f4" : "<i8",
                       shape);
    int padded = (10 + len + 1 + 63) / 64 * 64 - 10;
    FILE *to = fopen(path, "wb");
    if (!to)
        return no(path, "cannot be written") != NULL;
    unsigned char magic[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
    fwrite(magic, 1, sizeof magic, to);
    fprintf(to, "%s%*s\n", head, padded - len - 1, "");
    fwrite(f ? (const void *)f : (const void *)i, f ? 4 : 8, (size_t)n, to);
    bool bad = ferror(to) != 0;
    if (fclose(to) != 0 || bad)
        return no(path, "cannot be written") != NULL;
    return true;
}

float *npy_read(const char *path, int *ndim, int64_t dim[8])
{
    int64_t len, n = 1;
    char *text = slurp(path, &len);
    if (!text)
        return NULL;
    int64_t head = len < 10 ? 0 : (unsigned char)text[8] + 256 * (unsigned char)text[9];
    char *shape = NULL, *end;
    if (head > 0 && 10 + head <= len && memcmp(text, "\x93NUMPY\x01", 7) == 0) {
        text[10 + head - 1] = 0;
        if (strstr(text + 10, "'<f4'") && strstr(text + 10, "False") && (shape = strstr(text + 10, "'shape': (")))
            shape += strlen("'shape': (");
    }
    *ndim = 0;
    while (shape && *ndim < 8) {
        int64_t v = strtoll(shape, &end, 10);
        if (end == shape)
            break;
        n *= dim[(*ndim)++] = v;
        shape = end + strspn(end, ", ");
    }
    float *data = NULL;
    if (shape && n >= 0 && n < INT32_MAX && 10 + head + n * 4 == len) {
        data = room(n, sizeof *data);
        memcpy(data, text + 10 + head, (size_t)n * 4);
    }
    free(text);
    return data ? data : no(path, "no .npy file of float32, or of another size than it says");
}
