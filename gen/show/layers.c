/* layers.c - what layers did, as panels of cells: the darker, the larger. */
#include "layers.h"
#include "runtime.h"

#include <math.h>
#include <string.h>

enum {
    TOP = 34,
    ROW = 12, /* of a panel's rows */
    BOTTOM = 24,
    NAMES = 150, /* left of the cells */
    LASTS = 62,  /* right of them */
    MOST_COLUMNS = 40,
    MOST_LETTERS = 25
};

static const struct Kind {
    const char *title, *list, *name, *key;
    const char *of;    /* what it is a share of; NULL: nothing */
    bool percent, log; /* log: by powers of ten */
} kinds[] = {
    {"mean", "stages", "stage", "mean", NULL, false, false},
    {"standard deviation", "stages", "stage", "sd", NULL, false, true},
    {"near zero, %", "stages", "stage", "near_zero", NULL, true, false},
    {"units never above zero, %", "stages", "stage", "never_above_zero", "units", true, false},
    {"gradient norm", "parameters", "parameter", "gradient_norm", NULL, false, true},
    {"update / weight", "parameters", "parameter", "update_ratio", NULL, false, true},
    {"batch mean off the running one, in sd", "norms", "norm", "mean_gap", NULL, false, false},
    {"batch variance / running one", "norms", "norm", "variance_ratio", NULL, false, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct Row {
    const char *name;
    double *x, *y; /* by epoch */
    int n;
} Row;

struct Layers {
    Row *row[KINDS];
    int nrow[KINDS];
    double *epoch;
    int nepoch;
};

/* The row of that name, at or behind `at`, where it stood in the line before. */
static Row *find_row(Layers *l, int k, int at, const char *name)
{
    for (int i = 0; i < l->nrow[k]; i++) {
        Row *r = &l->row[k][(at + i) % l->nrow[k]];
        if (strcmp(r->name, name) == 0)
            return r;
    }
    Row *r = PUSH(l->row[k], l->nrow[k]);
    *r = (Row){.name = xstrdup(name)};
    return r;
}

static void take_kind(Layers *l, int k, double epoch, const json_t *line)
{
    const json_t *list = json_object_get(line, kinds[k].list), *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_object_get(one, kinds[k].name));
        const json_t *v = json_object_get(one, kinds[k].key);
        const double whole = kinds[k].of ? json_number_value(json_object_get(one, kinds[k].of)) : 1;
        if (!name || !json_is_number(v) || whole <= 0)
            continue;
        Row *r = find_row(l, k, (int)i, name);
        int n = r->n;
        *PUSH(r->x, r->n) = epoch;
        *PUSH(r->y, n) = json_number_value(v) / whole * (kinds[k].percent ? 100 : 1);
    }
}

void layers_take(Layers **to, const json_t *line)
{
    const char *event = json_string_value(json_object_get(line, "event"));
    const json_t *at = json_object_get(line, "epoch");

    if (!event || strcmp(event, "stats") != 0 || !json_is_number(at))
        return;
    if (!*to)
        *to = xalloc(sizeof **to);
    Layers *l = *to;
    const double epoch = json_number_value(at);
    while (l->nepoch > 0 && l->epoch[l->nepoch - 1] >= epoch)
        l->nepoch--;
    *PUSH(l->epoch, l->nepoch) = epoch;
    for (int k = 0; k < KINDS; k++) {
        for (int i = 0; i < l->nrow[k]; i++)
            for (Row *r = &l->row[k][i]; r->n > 0 && r->x[r->n - 1] >= epoch;)
                r->n--;
        take_kind(l, k, epoch, line);
    }
}

/* The kind that a panel is of; -1: there are not so many. */
static int kind_of(const Layers *l, int panel)
{
    int k = 0;

    for (; l && k < KINDS; k++)
        if (l->nrow[k] && panel-- == 0)
            return k;
    return -1;
}

int layers_panels(const Layers *l)
{
    int n = 0;

    while (kind_of(l, n) >= 0)
        n++;
    return n;
}

const char *layers_title(const Layers *l, int panel)
{
    return kinds[kind_of(l, panel)].title;
}

void put_escaped(Buf *to, const char *text)
{
    for (; *text; text++)
        if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
            buf_printf(to, "&#%d;", *text);
        else
            buf_add(to, text, 1);
}

/* The end of a long name tells more than its beginning. */
static void put_name(Buf *to, const char *name)
{
    const size_t len = strlen(name);

    if (len > MOST_LETTERS)
        buf_puts(to, "...");
    put_escaped(to, len > MOST_LETTERS ? name + len - MOST_LETTERS + 2 : name);
}

/* Where a number stands between the least and the greatest; of powers of ten, what is not above zero is the least. */
typedef struct Scale {
    double lo, hi;
    bool log, any;
} Scale;

static Scale find_scale(const Layers *l, int k)
{
    Scale s = {.log = kinds[k].log};

    for (int i = 0; i < l->nrow[k]; i++)
        for (int j = 0; j < l->row[k][i].n; j++) {
            const double v = l->row[k][i].y[j];
            if (s.log && v <= 0)
                continue;
            s.lo = s.any ? fmin(s.lo, v) : v;
            s.hi = s.any ? fmax(s.hi, v) : v;
            s.any = true;
        }
    return s;
}

static double shade(const Scale *s, double v)
{
    if (!s->any || s->hi <= s->lo || v <= s->lo)
        return 0;
    return s->log ? log(v / s->lo) / log(s->hi / s->lo) : (v - s->lo) / (s->hi - s->lo);
}

/* The epoch of a column, of n: the last one is always there. */
static double epoch_of(const Layers *l, int column, int columns)
{
    return l->epoch[(int)((int64_t)(column + 1) * l->nepoch / columns) - 1];
}

static void put_row(const Layers *l, const Row *r, const Scale *s, int colour, int columns, int width, int y, Buf *to)
{
    const double cell = (double)(width - NAMES - LASTS) / columns;
    int at = 0;

    buf_printf(to, "<text class=\"s\" text-anchor=\"end\" x=\"%d\" y=\"%d\">", NAMES - 6, y + ROW - 3);
    put_name(to, r->name);
    buf_printf(to, "<title>");
    put_escaped(to, r->name);
    buf_printf(to, "</title></text>\n");
    for (int i = 0; i < columns; i++) {
        const double epoch = epoch_of(l, i, columns);
        while (at < r->n && r->x[at] < epoch)
            at++;
        if (at == r->n || r->x[at] > epoch)
            continue;
        buf_printf(to,
                   "<path class=\"w c%d\" stroke-opacity=\"%.2f\" d=\"M%.1f %.1fh%.1f\"><title>epoch %g: "
                   "%.4g</title></path>\n",
                   colour, 0.06 + 0.94 * shade(s, r->y[at]), NAMES + i * cell, y + ROW / 2.0, cell - (cell > 4), epoch,
                   r->y[at]);
    }
    if (r->n)
        buf_printf(to, "<text class=\"s\" x=\"%d\" y=\"%d\">%.3g</text>\n", width - LASTS + 6, y + ROW - 3,
                   r->y[r->n - 1]);
}

void layers_panel(const Layers *l, int panel, const char *run, int colour, int width, Buf *to, int *height)
{
    const int k = kind_of(l, panel), columns = l->nepoch < MOST_COLUMNS ? l->nepoch : MOST_COLUMNS;
    const Scale s = find_scale(l, k);
    Buf title = {0};

    *height = TOP + ROW * l->nrow[k] + BOTTOM;
    buf_printf(
        to, "<rect class=\"bg\" width=\"%d\" height=\"%d\" rx=\"8\"/><text class=\"h\" x=\"14\" y=\"22\">%s</text>\n",
        width, *height, kinds[k].title);
    put_name(&title, run);
    buf_printf(to, "<text class=\"t\" text-anchor=\"end\" x=\"%d\" y=\"22\">%s</text>\n", width - 14, title.text);
    for (int i = 0; i < l->nrow[k]; i++)
        put_row(l, &l->row[k][i], &s, colour, columns, width, TOP + ROW * i, to);
    const int y = *height - 8;
    buf_printf(to, "<text class=\"s\" x=\"%d\" y=\"%d\">epoch %g</text>\n", NAMES, y, epoch_of(l, 0, columns));
    if (columns > 1)
        buf_printf(to, "<text class=\"s\" text-anchor=\"end\" x=\"%d\" y=\"%d\">%g</text>\n", width - LASTS, y,
                   epoch_of(l, columns - 1, columns));
    buf_printf(to, "<text class=\"s\" x=\"%d\" y=\"%d\">last</text>\n", width - LASTS + 6, y);
    buf_printf(to, "<text class=\"s\" text-anchor=\"end\" x=\"%d\" y=\"%d\">%.3g to %.3g%s</text>\n", NAMES - 6, y,
               s.lo, s.hi, s.log ? ", log" : "");
}
