/* table.c - a table in CSV: which column holds the label, which ones numbers, and rows of features or pixels.
 *
 * The file is read three times: to see what its columns are, for the labels, for the rows. */
#include "import.h"
#include "csv.h"
#include "runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* What stands in a column. */
typedef struct Column {
    const char *name;
    int64_t numbers, missing, text, large, rows;
    bool whole, counts; /* all numbers are whole; each is one more than the one before */
    double least, most, last;
    int64_t text_line, comma_line;
    const char *text_cell, *comma_cell;
    bool feature;
} Column;

typedef struct Table {
    Csv csv;
    Column *column;
    int ncolumn, label, group; /* label -1: there are targets instead */
    int length;                /* column of each row's length; -1: there are none */
    int *target, ntarget;      /* columns of numbers to learn */
    int next;                  /* record that the next row is */
    bool numeric_label;
} Table;

/* ---- whether it is one ---- */

static bool has_ending(const char *src)
{
    static const char *const ends[] = {".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz", NULL};
    const size_t n = strlen(src);
    for (int i = 0; ends[i]; i++)
        if (n > strlen(ends[i]) && strcasecmp(src + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

static bool table_is(const char *src)
{
    struct stat st;
    char head[4096];
    if (stat(src, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (has_ending(src))
        return true;
    const int fd = cvy_open_typed(src);
    gzFile z = fd < 0 ? NULL : gzdopen(fd, "rb"); /* packed or not */
    const int n = z ? gzread(z, head, sizeof head) : -1;
    if (z)
        gzclose(z);
    else if (fd >= 0)
        close(fd);
    for (int i = 0; i < n; i++)
        if ((unsigned char)head[i] < 32 && !strchr("\t\r\n", head[i]))
            return false;
    return n > 0 && memchr(head, '\n', (size_t)n) && head[0] != '<';
}

/* ---- what its columns are ---- */

static const char *place(const Table *t, int c)
{
    return t->csv.header && *t->column[c].name ? xprintf("column '%s'", t->column[c].name)
                                               : xprintf("column %d", c + 1);
}

static void look_at_cell(Table *t, Column *k, const char *cell)
{
    double v;
    k->rows++;
    switch (csv_number(cell, &v)) {
    case CELL_NUMBER:
        k->whole = k->whole && v == floor(v);
        k->counts = k->counts && (k->numbers == 0 ? v == 0 || v == 1 : v == k->last + 1);
        k->least = k->numbers == 0 || v < k->least ? v : k->least;
        k->most = k->numbers == 0 || v > k->most ? v : k->most;
        k->last = v;
        k->numbers++;
        return;
    case CELL_MISSING:
        k->missing++;
        return;
    case CELL_TOO_LARGE:
        k->large++;
        return;
    case CELL_COMMA:
        if (!k->comma_line) {
            k->comma_line = t->csv.line;
            k->comma_cell = xstrndup(cell, 40);
        }
        break;
    case CELL_TEXT:
        break;
    }
    if (!k->text++) {
        k->text_line = t->csv.line;
        k->text_cell = xstrndup(cell, 40);
    }
}

static bool look(Table *t)
{
    int got;
    t->ncolumn = t->csv.nname;
    t->column = xalloc((size_t)t->ncolumn * sizeof *t->column);
    for (int c = 0; c < t->ncolumn; c++)
        t->column[c] = (Column){
            .name = t->csv.header ? t->csv.name[c] : xprintf("column %d", c + 1), .whole = true, .counts = true};
    while ((got = csv_next(&t->csv)) > 0) {
        if (!goes_on())
            return false;
        for (int c = 0; c < t->ncolumn && c < t->csv.n; c++)
            look_at_cell(t, &t->column[c], t->csv.cell[c]);
    }
    return got == 0;
}

/* Where rows have lengths, text may pad them: a column is one of text where it has no number at all. */
static bool is_text(const Table *t, const Column *k)
{
    return t->length >= 0 ? k->text && !k->numbers : k->text > k->numbers;
}

static bool is_word(const char *name, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(name, *words) == 0)
            return true;
    return false;
}

static bool is_index(const Table *t, int c)
{
    static const char *const words[] = {"", "Unnamed: 0", "index", "id", "idx", NULL};
    const Column *k = &t->column[c];
    return t->csv.header && c == 0 && is_word(k->name, words) && k->counts && k->whole && k->numbers == k->rows &&
           k->rows;
}

/* Whether all columns but the first hold bytes, as many as a square has: pixels, after their label. */
static bool label_is_first(const Import *m, const Table *t)
{
    int shape[3];
    bool bad;
    for (int c = 1; c < t->ncolumn; c++)
        if (!t->column[c].whole || t->column[c].least < 0 || t->column[c].most > 255 || t->column[c].text)
            return false;
    return t->column[0].whole && pixels_shape(m, t->ncolumn - 1, shape, &bad);
}

/* ---- what is to be learnt ---- */

/* That a column has numbers to learn. */
static bool learnable(const Import *m, const Table *t, int c)
{
    const Column *k = &t->column[c];
    char plain[200];

    if (k->numbers && !is_text(t, k))
        return true;
    if (k->text)
        cvy_error("the numbers to learn stand in columns of numbers",
                  "'%s', line %lld, %s: '%s' is no number, and the column holds text", m->src, (long long)k->text_line,
                  place(t, c), cvy_plain(k->text_cell, plain, sizeof plain));
    else
        cvy_error("the numbers to learn stand in columns of numbers", "'%s': %s is empty", m->src, place(t, c));
    return false;
}

/* The columns that `said` names, commas between them. */
static bool find_targets(Import *m, Table *t, const char *said, const char *flag)
{
    Buf names = {0};

    t->ntarget = 0;
    for (const char *at = said;; at++) {
        const size_t len = strcspn(at, ",");
        const char *const word = xstrndup(at, len);
        const int c = csv_column(&t->csv, word);
        at += len;
        if (c < 0) {
            cvy_error("names of its first line, or numbers of columns, from 1, with commas between them",
                      "%s: '%s' has no column '%s'", flag, m->src, word);
            return false;
        }
        for (int i = 0; i < t->ntarget; i++)
            if (t->target[i] == c) {
                cvy_error(NULL, "%s: %s stands there twice", flag, place(t, c));
                return false;
            }
        *PUSH(t->target, t->ntarget) = c;
        if (!*at)
            break;
    }
    const char **const name = xalloc((size_t)t->ntarget * sizeof *name);
    for (int i = 0; i < t->ntarget; i++) {
        if (!learnable(m, t, t->target[i]))
            return false;
        name[i] = t->column[t->target[i]].name;
        buf_printf(&names, "%s%s", i ? ", " : "", place(t, t->target[i]));
    }
    target_names(m, name, t->ntarget);
    t->label = -1;
    fact(m, "targets", xprintf("%s COLUMN,...", flag), "%s: numbers to learn of each row", names.text);
    return true;
}

static bool find_label(Import *m, Table *t)
{
    static const char *const words[] = {"label",   "labels",   "class",   "target", "y",
                                        "species", "category", "variety", NULL};
    int texts = 0, text = -1;
    const char *why = NULL;
    t->label = -1;
    if (m->o->target)
        return find_targets(m, t, m->o->target, "--target");
    if (m->o->label) {
        t->label = csv_column(&t->csv, m->o->label);
        if (t->label < 0 && strchr(m->o->label, ','))
            return find_targets(m, t, m->o->label, "--label");
        if (t->label < 0) {
            cvy_error("a name of its first line, or the number of a column, from 1", "'%s' has no column '%s'", m->src,
                      m->o->label);
            return false;
        }
        why = "as asked for";
    }
    for (int c = 0; words[c] && t->label < 0 && t->csv.header; c++)
        for (int i = 0; i < t->ncolumn && t->label < 0; i++)
            if (strcasecmp(t->column[i].name, words[c]) == 0) {
                t->label = i;
                why = "by its name";
            }
    for (int c = 0; c < t->ncolumn; c++)
        if (is_text(t, &t->column[c])) {
            texts++;
            text = c;
        }
    if (t->label < 0 && texts == 1) {
        t->label = text;
        why = "the only one of text";
    }
    if (t->label < 0 && t->length < 0 && label_is_first(m, t)) {
        t->label = 0;
        why = "the first, in front of pixels";
    }
    if (t->label < 0) {
        t->label = t->ncolumn - 1 - (t->length == t->ncolumn - 1);
        why = t->label == t->ncolumn - 1 ? "the last" : "the last but the lengths";
    }
    if (t->label == t->length) {
        cvy_error("--label COLUMN, --length COLUMN: two of them", "--length: %s is the label of '%s'",
                  place(t, t->label), m->src);
        return false;
    }
    const Column *k = &t->column[t->label];
    t->numeric_label = k->text == 0 && k->numbers > 0;
    m->regression = t->numeric_label && !k->whole;
    fact(m, "label", "--label COLUMN", "%s, %s%s", place(t, t->label), why,
         m->regression ? "; its numbers are not whole: a set for regression" : "");
    if (m->regression) {
        const char **const name = xalloc(sizeof *name);
        *name = k->name;
        *PUSH(t->target, t->ntarget) = t->label;
        target_names(m, name, 1);
    }
    return true;
}

static bool is_target(const Table *t, int c)
{
    for (int i = 0; i < t->ntarget; i++)
        if (t->target[i] == c)
            return true;
    return false;
}

static bool find_length(Import *m, Table *t)
{
    t->length = -1;
    if (!m->o->length)
        return true;
    t->length = csv_column(&t->csv, m->o->length);
    if (t->length < 0) {
        cvy_error("of a table: the column that holds how many steps of a row count",
                  "--length: '%s' has no column '%s'", m->src, m->o->length);
        return false;
    }
    m->length_name = t->column[t->length].name;
    fact(m, "lengths", "--length COLUMN", "%s: how many steps of a row count", place(t, t->length));
    return true;
}

static bool find_features(Import *m, Table *t)
{
    Buf left = {0};
    t->group = -1;
    if (m->o->group) {
        t->group = csv_column(&t->csv, m->o->group);
        if (t->group < 0) {
            cvy_error("of a table: the column whose equal cells make a group", "--group: '%s' has no column '%s'",
                      m->src, m->o->group);
            return false;
        }
        fact(m, "groups", "--group COLUMN", "rows of one %s stay in one split", place(t, t->group));
    }
    m->channels = 0;
    for (int c = 0; c < t->ncolumn; c++) {
        Column *k = &t->column[c];
        if (c == t->label || c == t->group || c == t->length || is_target(t, c))
            continue;
        if (k->comma_line && (t->csv.delimiter != ',' || 2 * k->text > k->rows)) {
            char plain[200];
            cvy_error("write numbers with a point: 1.5", "'%s', line %lld, %s: '%s' has a decimal comma", m->src,
                      (long long)k->comma_line, place(t, c), cvy_plain(k->comma_cell, plain, sizeof plain));
            return false;
        }
        const char *why = is_index(t, c)  ? "it counts the rows"
                          : is_text(t, k) ? xprintf("text, as '%s' in line %lld", k->text_cell, (long long)k->text_line)
                          : k->numbers == 0 && t->length < 0 ? "it is empty"
                                                             : NULL;
        k->feature = why == NULL;
        m->channels += k->feature;
        if (why)
            buf_printf(&left, "%s%s (%s)", left.len ? "; " : "", place(t, c), why);
    }
    if (left.len)
        fact(m, "left out", NULL, "%s", left.text);
    if (m->channels == 0) {
        cvy_error(NULL, "'%s' has no column of numbers beside %s", m->src,
                  t->ntarget ? "what is to be learnt" : "its label");
        return false;
    }
    m->height = m->width = 1;
    m->floats = true;
    m->column = xalloc((size_t)m->channels * sizeof *m->column);
    for (int c = 0, n = 0; c < t->ncolumn; c++)
        if (t->column[c].feature)
            m->column[n++] = t->column[c].name;
    return t->length < 0 || lengths_begin(m, m->channels);
}

/* ---- rows ---- */

static const char *delimiter_word(char c)
{
    return c == ',' ? "a comma" : c == ';' ? "a semicolon" : c == '\t' ? "a tab" : "a bar";
}

static void note_cell(Import *m, const Table *t, int c, const char *what)
{
    char where[64];
    snprintf(where, sizeof where, "line %lld, column %d", (long long)t->csv.line, c + 1);
    note(m, NOTE_CELL, where, "%s%.100s%s%s: the row is left out", t->csv.header ? "'" : "",
         t->csv.header ? t->column[c].name : "", t->csv.header ? "': " : "", what);
}

/* The numbers to learn of the row; its record, the last one, is left out where one is missing, and that is noted. */
static bool read_targets(Import *m, Table *t)
{
    float *const v = xmalloc((size_t)t->ntarget * sizeof *v);
    Record *const r = record(m, m->n - 1);
    bool ok = true;

    for (int i = 0; i < t->ntarget && !r->left_out; i++) {
        const char *const cell = t->csv.cell[t->target[i]];
        char what[120], plain[80];
        double number;
        const Cell kind = csv_number(cell, &number);
        v[i] = (float)number;
        r->left_out = kind != CELL_NUMBER;
        snprintf(what, sizeof what, "'%s' is %s", cvy_plain(cell, plain, sizeof plain),
                 kind == CELL_TOO_LARGE ? "too large to learn" : "no number to learn");
        if (r->left_out)
            note_cell(m, t, t->target[i], kind == CELL_MISSING ? "no number to learn" : what);
    }
    if (!r->left_out)
        ok = target_put(m, m->n - 1, v);
    free(v);
    return ok;
}

/* A row's class; the record is left out where there is none, and that is noted. */
static bool read_label(Import *m, Table *t, Record *r)
{
    const char *cell = t->csv.cell[t->label];
    double v;
    char number[400];
    const Cell kind = csv_number(cell, &v);
    if (kind == CELL_MISSING) {
        note_cell(m, t, t->label, "no label");
        r->left_out = true;
        return true;
    }
    if (t->numeric_label && kind == CELL_NUMBER && strpbrk(cell, "0123456789")) { /* 1.0 and 1 are one class */
        snprintf(number, sizeof number, "%.0f", v);
        cell = number;
    }
    r->label = class_of(m, cell);
    return r->label >= 0;
}

/* Whether a row may end where it does: with lengths, what it lacks may be padding. */
static bool ends_well(const Import *m, const Table *t)
{
    int feature = 0;
    for (int c = 0; c < t->ncolumn; c++) {
        const bool own = t->column[c].feature;
        if (c >= t->csv.n && !(own && length_pads(m, feature)))
            return false;
        feature += own;
    }
    return t->csv.n <= t->ncolumn;
}

/* A row's length; its record, the last one, is left out where there is none, and that is noted. */
static bool read_length(Import *m, Table *t)
{
    const char *const cell = t->length < t->csv.n ? t->csv.cell[t->length] : "";
    char what[LENGTH_WHY + 80], plain[80];
    double v;
    const Cell kind = csv_number(cell, &v);
    if (kind == CELL_NUMBER && length_fits(m, v, what)) {
        m->live = (int32_t)v;
        return length_put(m, m->n - 1, v);
    }
    if (kind == CELL_MISSING)
        snprintf(what, sizeof what, "no length");
    else if (kind != CELL_NUMBER)
        snprintf(what, sizeof what, "'%s' is no length, no whole number from 1 to %d",
                 cvy_plain(cell, plain, sizeof plain), m->steps);
    note_cell(m, t, t->length, what);
    record(m, m->n - 1)->left_out = true;
    return true;
}

static bool list_rows(Import *m, Table *t)
{
    int got;
    const char *slash = strrchr(m->shown, '/'), *base = slash ? slash + 1 : m->shown;
    while ((got = csv_next(&t->csv)) > 0) {
        char name[300];
        const int len = snprintf(name, sizeof name, "%.250s:%lld", base, (long long)t->csv.line);
        Record *r = goes_on() ? record_add(m, name, (size_t)len) : NULL;
        if (!r)
            return false;
        if (t->length >= 0 && !read_length(m, t))
            return false;
        if (r->left_out)
            continue;
        if (!ends_well(m, t)) {
            snprintf(name, sizeof name, "line %lld", (long long)t->csv.line);
            note(m, NOTE_CELL, name, "%d cells, not %d: the row is left out", t->csv.n, t->ncolumn);
            r->left_out = true;
            continue;
        }
        if (!(m->regression ? read_targets(m, t) : read_label(m, t, r)))
            return false;
        if (t->group >= 0)
            r->group = hash_of(t->csv.cell[t->group], strlen(t->csv.cell[t->group])) | 1;
    }
    return got == 0;
}

static bool table_list(Import *m)
{
    Table *t = xalloc(sizeof *t);
    m->state = t;
    if (!csv_open(&t->csv, m->src))
        return false;
    if (t->csv.nname < 2) {
        cvy_error("columns are separated by , ; | or tabs; one of them holds the label", "'%s' has one column", m->src);
        return false;
    }
    fact(m, "table", NULL, "%d columns, %s between them, %s", t->csv.nname, delimiter_word(t->csv.delimiter),
         t->csv.header ? "their names in the first line" : "no names");
    return look(t) && find_length(m, t) && find_label(m, t) && find_features(m, t) && csv_rewind(&t->csv) &&
           list_rows(m, t) && csv_rewind(&t->csv);
}

static int table_row(Import *m, int i, void *to)
{
    Table *t = m->state;
    float *f = to;
    for (; t->next <= i; t->next++) {
        const int got = csv_next(&t->csv);
        if (got == 0)
            cvy_error(NULL, "'%s' changed while it was read", m->src);
        if (got <= 0)
            return -1;
    }
    if (!ends_well(m, t)) {
        cvy_error(NULL, "'%s' changed while it was read", m->src);
        return -1;
    }
    for (int c = 0; c < t->ncolumn; c++) {
        double v;
        char what[120], plain[80];
        if (!t->column[c].feature)
            continue;
        if (length_pads(m, f - (float *)to)) {
            *f++ = 0;
            continue;
        }
        const Cell kind = csv_number(t->csv.cell[c], &v);
        if (kind == CELL_NUMBER) {
            *f++ = (float)v;
            continue;
        }
        cvy_plain(t->csv.cell[c], plain, sizeof plain);
        snprintf(what, sizeof what, kind == CELL_TOO_LARGE ? "'%s' is too large" : "'%s' is no number", plain);
        note_cell(m, t, c, kind == CELL_MISSING ? "nothing there" : what);
        return 0;
    }
    return 1;
}

static void table_end(Import *m)
{
    Table *t = m->state;
    csv_close(&t->csv);
}

const DataSource table_source = {.takes = SRC_TABLE,
                                 .what = "a table",
                                 .is = table_is,
                                 .list = table_list,
                                 .row = table_row,
                                 .end = table_end,
                                 .groups = true};
