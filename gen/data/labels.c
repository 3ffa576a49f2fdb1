/* labels.c - --labels FILE.csv: which file is of which class. 16 bytes a row: names are compared by their hashes. */
#include "labels.h"
#include "csv.h"
#include "runtime.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct Row {
    uint64_t name;
    int32_t label;
    bool used;
} Row;

struct Labels {
    Row *row;
    int n, room;
};

static const char *const file_words[] = {"file",     "filename", "file_name", "image", "image_name", "path",
                                         "filepath", "image_id", "id",        "name",  "img",        NULL};
static const char *const label_words[] = {"label", "class", "category", "target", "class_name", "breed", "y", NULL};

static int by_name(const void *a, const void *b)
{
    const Row *x = a, *y = b;
    return x->name < y->name ? -1 : x->name > y->name;
}

static bool is_image_name(const char *s)
{
    static const char *const ends[] = {".png", ".jpg", ".jpeg", ".jpe", NULL};
    const char *dot = strrchr(s, '.');
    for (int i = 0; dot && ends[i]; i++)
        if (strcasecmp(dot, ends[i]) == 0)
            return true;
    return false;
}

/* The column by one of the usual words; -1. */
static int usual(const Csv *c, const char *const *words)
{
    for (; *words; words++)
        for (int i = 0; i < c->nname && c->header; i++)
            if (strcasecmp(c->name[i], *words) == 0)
                return i;
    return -1;
}

static bool find_columns(const Import *m, Csv *c, int *file, int *label)
{
    for (int i = 0; i < c->nname && c->header; i++)
        if (is_image_name(c->name[i])) { /* it is a row like the others */
            c->header = false;
            if (!csv_rewind(c))
                return false;
        }
    *file = usual(c, file_words);
    *label = m->o->label ? csv_column(c, m->o->label) : usual(c, label_words);
    if (m->o->label && *label < 0) {
        cvy_error("a name of its first line, or the number of a column, from 1", "'%s' has no column '%s'", c->path,
                  m->o->label);
        return false;
    }
    if (*file < 0)
        *file = *label == 0 ? 1 : 0;
    if (*label < 0)
        *label = *file == 0 ? 1 : 0;
    if (c->nname < 2) {
        cvy_error("a line for each image: its file, a comma, its class", "'%s' has one column", c->path);
        return false;
    }
    return true;
}

static uint64_t hash_name(const char *s, size_t n)
{
    while (n > 2 && s[0] == '.' && s[1] == '/') {
        s += 2;
        n -= 2;
    }
    return hash_of(s, n);
}

static bool read_rows(Import *m, Csv *c, Labels *l, int file, int label)
{
    int got;
    while ((got = csv_next(c)) > 0) {
        if (!goes_on())
            return false;
        if (c->n <= file || c->n <= label || !*c->cell[file] || !*c->cell[label]) {
            note(m, NOTE_CELL, c->path, "line %lld: no file, or no class", (long long)c->line);
            continue;
        }
        if (l->n == l->room) {
            const int room = l->room ? l->room + l->room / 2 : 1024;
            Row *grown = realloc(l->row, (size_t)room * sizeof *grown);
            if (!grown)
                out_of_memory((size_t)room * sizeof *grown);
            l->row = grown;
            l->room = room;
        }
        const int class = class_of(m, c->cell[label]);
        if (class < 0)
            return false;
        l->row[l->n++] = (Row){hash_name(c->cell[file], strlen(c->cell[file])), class, false};
    }
    return got == 0;
}

/* One row a name; two with different classes are an error. */
static bool sort_rows(Labels *l, const char *path)
{
    int n = 0;
    if (l->n)
        qsort(l->row, (size_t)l->n, sizeof *l->row, by_name);
    for (int i = 0; i < l->n; i++) {
        if (n && l->row[n - 1].name == l->row[i].name) {
            if (l->row[n - 1].label == l->row[i].label)
                continue;
            cvy_error("one file has one class here", "'%s' gives a file two classes", path);
            return false;
        }
        l->row[n++] = l->row[i];
    }
    l->n = n;
    return true;
}

Labels *labels_read(Import *m)
{
    Csv c;
    Labels *l = xmalloc(sizeof *l);
    int file = 0, label = 0;
    *l = (Labels){0};
    const bool ok = csv_open(&c, m->o->labels) && find_columns(m, &c, &file, &label) &&
                    read_rows(m, &c, l, file, label) && sort_rows(l, m->o->labels);
    if (ok)
        fact(m, "labels", "--label COLUMN", "'%s': %d files; the file in %s, the class in %s", m->o->labels, l->n,
             c.header ? xprintf("column '%s'", c.name[file]) : xprintf("column %d", file + 1),
             c.header ? xprintf("'%s'", c.name[label]) : xprintf("%d", label + 1));
    csv_close(&c);
    if (ok)
        return l;
    free(l->row);
    free(l);
    return NULL;
}

int labels_find(Labels *l, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    const size_t all = strlen(path), bare = dot && dot > base ? (size_t)(dot - path) : all;
    const struct {
        const char *from;
        size_t n;
    } tried[] = {{path, all}, {base, all - (size_t)(base - path)}, {path, bare}, {base, bare - (size_t)(base - path)}};
    for (int i = 0; i < 4; i++) {
        const Row key = {.name = hash_name(tried[i].from, tried[i].n)};
        Row *found = l->n ? bsearch(&key, l->row, (size_t)l->n, sizeof key, by_name) : NULL;
        if (found) {
            found->used = true;
            return found->label;
        }
    }
    return -1;
}

void labels_end(Import *m, Labels *l)
{
    int unused = 0;
    for (int i = 0; i < l->n; i++)
        unused += !l->row[i].used;
    if (unused)
        fact(m, "labels", NULL, "%d of the files that '%s' names %s not there", unused, m->o->labels,
             unused == 1 ? "is" : "are");
    free(l->row);
    free(l);
}
