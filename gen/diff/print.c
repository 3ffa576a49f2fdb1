/* print.c - what differs, for a terminal, and as JSON. It decides nothing. */
#include "json.h"
#include "diff.h"
#include "runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 3, WHERE_WIDTH = 100 };

static const char *const titles[] = {"spec", "graph", "plan", "inference", "cost", "C"};

typedef struct Pen {
    FILE *to;
    bool colour;
} Pen;

static void paint(const Pen *p, const char *code, const char *text)
{
    if (p->colour)
        fprintf(p->to, "\033[%sm%s\033[0m", code, text);
    else
        fputs(text, p->to);
}

#define BOLD "1"
#define DIM "2"
#define RED "31"
#define GREEN "32"
#define CYAN "36"

/* "conv1, conv2, conv3"; of many the first and how many more. */
static const char *where_text(const DiffRow *r)
{
    Buf b = {0};

    for (int i = 0; i < r->nwhere; i++) {
        if (b.len > WHERE_WIDTH && r->nwhere - i > 1) {
            buf_printf(&b, " and %d more", r->nwhere - i);
            break;
        }
        buf_printf(&b, "%s%s", i ? ", " : "", r->where[i]);
    }
    return b.text ? b.text : "";
}

static void print_row(const Pen *p, const DiffRow *r)
{
    fputs("  ", p->to);
    paint(p, BOLD, r->key);
    if (r->nwhere)
        fprintf(p->to, " (%s)", where_text(r));
    fputc('\n', p->to);
    if (r->a)
        paint(p, RED, xprintf("    - %s\n", r->a));
    if (r->b)
        paint(p, GREEN, xprintf("    + %s\n", r->b));
    if (r->why)
        paint(p, DIM, xprintf("      %s\n", r->why));
}

static const char *value_text(bool known, double v, const char *unit)
{
    return !known                    ? "-"
           : strcmp(unit, "ms") == 0 ? xprintf("%.3f ms", v)
                                     : xprintf("%s%s%s", number_text(v), *unit ? " " : "", unit);
}

static void print_costs(const Pen *p, const DiffLevel *l)
{
    Buf same = {0};

    for (int i = 0; i < l->ncost; i++) {
        const DiffCost *c = &l->cost[i];
        if (cost_same(c)) {
            const char *name = c->name + strspn(c->name, " "); /* an indented one continues the one above */
            name = strncmp(name, "and ", 4) == 0 ? xprintf("arena, training: %s", name + 4) : name;
            buf_printf(&same, "%s%s %s", same.len ? "; " : "", name, value_text(c->known_a, c->a, c->unit));
            continue;
        }
        fprintf(p->to, "  %-34s %18s %18s  ", c->name, value_text(c->known_a, c->a, c->unit),
                value_text(c->known_b, c->b, c->unit));
        paint(p, c->note ? CYAN : c->b > c->a ? RED : GREEN, cost_change(c));
        fputc('\n', p->to);
    }
    if (same.len)
        paint(p, DIM, xprintf("  the same: %s\n", same.text));
}

static const char *file_state(const DiffFile *f)
{
    return !f->in_a ? "new" : !f->in_b ? "gone" : "";
}

static void print_stat(const Pen *p, const DiffLevel *l)
{
    int same = 0, removed = 0, added = 0, changed = 0, width = 0;

    for (int i = 0; i < l->nfile; i++)
        if (l->file[i].lines && (int)strlen(l->file[i].name) > width)
            width = (int)strlen(l->file[i].name);
    for (int i = 0; i < l->nfile; i++) {
        const DiffFile *f = &l->file[i];
        if (!f->lines) {
            same++;
            continue;
        }
        changed++;
        removed += f->lines->removed;
        added += f->lines->added;
        fprintf(p->to, "  %-*s  ", width, f->name);
        paint(p, GREEN, xprintf("%+5d", f->lines->added));
        paint(p, RED, xprintf(" %+5d", -f->lines->removed));
        fprintf(p->to, "%s%s\n", *file_state(f) ? "  " : "", file_state(f));
    }
    fprintf(p->to, "  %d file%s, %d line%s new, %d gone; %d files the same\n", changed, changed == 1 ? "" : "s", added,
            added == 1 ? "" : "s", removed, same);
}

/* A line of somebody's file: as it is, unless it would steer the terminal. */
static const char *line_text(const char *s)
{
    for (const char *c = s; *c; c++)
        if (((unsigned char)*c < 32 && *c != '\t') || (unsigned char)*c >= 127)
            return cvy_plain(s, xalloc(8 * strlen(s) + 8), 8 * strlen(s) + 8);
    return s;
}

static void print_lines(const Pen *p, const char *code, char sign, const char **line, int n)
{
    for (int i = 0; i < n; i++)
        if (*code)
            paint(p, code, xprintf("%c%s\n", sign, line_text(line[i])));
        else
            fprintf(p->to, "%c%s\n", sign, line_text(line[i]));
}

static void print_unified(const Pen *p, const DiffFile *f)
{
    const LineDiff *d = f->lines;
    int n;

    const Hunk *h = text_hunks(d, CONTEXT, &n);
    paint(p, BOLD, xprintf("--- %s\n", f->in_a ? xprintf("a/%s", f->name) : "/dev/null"));
    paint(p, BOLD, xprintf("+++ %s\n", f->in_b ? xprintf("b/%s", f->name) : "/dev/null"));
    for (int i = 0; i < n; i++) {
        paint(p, CYAN, xprintf("%s\n", hunk_head(&h[i])));
        for (int k = 0; k < h[i].n; k++) {
            const Part *q = &h[i].part[k];
            if (!q->changed) {
                print_lines(p, "", ' ', d->a + q->a, q->na);
                continue;
            }
            print_lines(p, RED, '-', d->a + q->a, q->na);
            print_lines(p, GREEN, '+', d->b + q->b, q->nb);
        }
    }
}

static void print_level(const Pen *p, Level which, const DiffLevel *l, const DiffView *v)
{
    fputc('\n', p->to);
    paint(p, BOLD, titles[which]);
    if (level_same(l) && !l->ncost) {
        fputs(": the same\n", p->to);
        return;
    }
    if (level_same(l)) {
        bool any = false; /* what was measured says something even so */
        for (int i = 0; i < l->ncost; i++)
            any |= l->cost[i].note != NULL;
        if (!any) {
            fputs(": the same\n", p->to);
            return;
        }
    }
    if (v->stat && which != LEVEL_C && which != LEVEL_COST) {
        int layers = 0;
        for (int i = 0; i < l->nrow; i++)
            layers += l->row[i].nwhere ? l->row[i].nwhere : 1;
        fprintf(p->to, ": %d difference%s in %d place%s\n", l->nrow, l->nrow == 1 ? "" : "s", layers,
                layers == 1 ? "" : "s");
        return;
    }
    fputc('\n', p->to);
    for (int i = 0; i < l->nrow; i++)
        print_row(p, &l->row[i]);
    for (int i = 0; i < l->nnote; i++)
        fprintf(p->to, "  %s\n", l->note[i]);
    if (l->ncost)
        print_costs(p, l);
    if (!l->nfile)
        return;
    if (v->stat || v->levels != 1 << LEVEL_C) {
        print_stat(p, l);
        if (!v->stat)
            paint(p, DIM, "  --level c shows the lines\n");
        return;
    }
    for (int i = 0; i < l->nfile; i++)
        if (l->file[i].lines)
            print_unified(p, &l->file[i]);
}

void diff_print(const Diff *d, const DiffView *v, FILE *to)
{
    const Pen pen = {to, v->colour}, *p = &pen;
    const bool lines_only = v->levels == 1 << LEVEL_C && !v->stat; /* fit for patch */

    if (!lines_only) {
        paint(p, RED, xprintf("A  %s\n", d->a.label));
        paint(p, GREEN, xprintf("B  %s\n", d->b.label));
        for (int i = 0; i < d->nnote; i++)
            paint(p, CYAN, xprintf("%s%s\n", i ? "" : "\n", d->note[i]));
    }
    if (lines_only) {
        for (int i = 0; i < d->level[LEVEL_C].nfile; i++)
            if (d->level[LEVEL_C].file[i].lines)
                print_unified(p, &d->level[LEVEL_C].file[i]);
        return;
    }
    if (diff_same(d) && v->levels == (1 << LEVELS) - 1) {
        bool measured = false;
        for (int i = 0; i < d->level[LEVEL_COST].ncost; i++)
            measured |= d->level[LEVEL_COST].cost[i].note != NULL;
        if (!measured) {
            fputs("\nno difference\n", to);
            return;
        }
    }
    for (int l = 0; l < LEVELS; l++)
        if (d->level[l].there && (v->levels & 1 << l))
            print_level(p, (Level)l, &d->level[l], v);
}

/* ---- JSON ---- */

static void set(json_t *o, const char *key, json_t *v)
{
    json_object_set_new(o, key, v);
}

/* What is no UTF-8, out of a file or a path, is written as \\xNN. */
static json_t *text_of(const char *s)
{
    json_t *v = json_string(s);
    char *plain = v ? NULL : xalloc(8 * strlen(s) + 8);

    return v ? v : json_string(cvy_plain(s, plain, 8 * strlen(s) + 8));
}

static json_t *text_or_null(const char *s)
{
    return s ? text_of(s) : json_null();
}

static json_t *texts(const char **s, int n)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(list, text_of(s[i]));
    return list;
}

static json_t *number(bool known, double v)
{
    if (!known || !isfinite(v))
        return json_null();
    return fabs(v) < 0x1p63 && v == (double)(json_int_t)v ? json_integer((json_int_t)v) : json_real(v); // NOLINT
}

static json_t *json_row(const DiffRow *r)
{
    json_t *o = json_object();

    set(o, "key", json_string(r->key));
    set(o, "where", texts(r->where, r->nwhere));
    set(o, "a", text_or_null(r->a));
    set(o, "b", text_or_null(r->b));
    if (r->why)
        set(o, "why", json_string(r->why));
    return o;
}

static json_t *json_cost(const DiffCost *c)
{
    json_t *o = json_object();

    set(o, "name", json_string(c->name + strspn(c->name, " ")));
    set(o, "unit", json_string(c->unit));
    set(o, "a", number(c->known_a, c->a));
    set(o, "b", number(c->known_b, c->b));
    if (c->note)
        set(o, "note", json_string(c->note));
    return o;
}

static json_t *json_file(const DiffFile *f)
{
    json_t *o = json_object(), *hunks = json_array();
    int n;

    set(o, "name", text_of(f->name));
    set(o, "state", json_string(!f->in_a ? "new" : !f->in_b ? "gone" : "changed"));
    set(o, "removed", json_integer(f->lines->removed));
    set(o, "added", json_integer(f->lines->added));
    const Hunk *h = text_hunks(f->lines, 0, &n);
    for (int i = 0; i < n; i++) {
        json_t *hunk = json_object();
        if (!h[i].na && !h[i].nb)
            continue;
        set(hunk, "a_line", json_integer(h[i].a + 1));
        set(hunk, "b_line", json_integer(h[i].b + 1));
        set(hunk, "removed", texts(f->lines->a + h[i].a, h[i].na));
        set(hunk, "added", texts(f->lines->b + h[i].b, h[i].nb));
        json_array_append_new(hunks, hunk);
    }
    set(o, "hunks", hunks);
    return o;
}

static json_t *json_level(const DiffLevel *l)
{
    json_t *o = json_object();

    set(o, "same", json_boolean(level_same(l)));
    set(o, "notes", texts(l->note, l->nnote));
    if (l->nfile) {
        json_t *files = json_array();
        for (int i = 0; i < l->nfile; i++)
            if (l->file[i].lines)
                json_array_append_new(files, json_file(&l->file[i]));
        set(o, "files", files);
        return o;
    }
    json_t *rows = json_array();
    for (int i = 0; i < l->nrow; i++)
        json_array_append_new(rows, json_row(&l->row[i]));
    for (int i = 0; i < l->ncost; i++)
        json_array_append_new(rows, json_cost(&l->cost[i]));
    set(o, "differences", rows);
    return o;
}

bool diff_json(const Diff *d, FILE *to)
{
    json_t *root = json_object(), *levels = json_object(), *layers = json_array();

    set(root, "a", text_of(d->a.label));
    set(root, "b", text_of(d->b.label));
    set(root, "same", json_boolean(diff_same(d)));
    set(root, "notes", texts(d->note, d->nnote));
    for (int i = 0; i < d->npair; i++) {
        json_t *pair = json_array();
        json_array_append_new(pair, d->pair[i][0] >= 0 ? json_string(d->name[i]) : json_null());
        json_array_append_new(pair,
                              d->pair[i][1] < 0 ? json_null() : json_string(d->name_b[i] ? d->name_b[i] : d->name[i]));
        json_array_append_new(layers, pair);
    }
    set(root, "layers", layers);
    for (int l = 0; l < LEVELS; l++)
        if (d->level[l].there)
            set(levels, level_names[l], json_level(&d->level[l]));
    set(root, "levels", levels);
    return json_print(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER, to);
}
