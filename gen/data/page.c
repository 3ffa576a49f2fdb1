/* page.c - pictures of what is in a set: a contact sheet, and a page that needs nothing else. */
#include "import.h"
#include "runtime.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    ACROSS = 12,    /* pictures of a class */
    MOST_ROWS = 60, /* classes */
    GAP = 2,
    MOST_SHEET = 64 << 20, /* bytes of a sheet */
};

/* The first training rows of each class: index[class * ACROSS + k], -1 where there are no more. */
static int *first_rows(const Import *m, int classes)
{
    int *index = xalloc((size_t)classes * ACROSS * sizeof *index), *have = xalloc((size_t)classes * sizeof *have);
    for (int i = 0; i < classes * ACROSS; i++)
        index[i] = -1;
    const int all = m->count[0] + m->count[1] + m->count[2];
    for (int k = 0; k < all; k++) {
        const int label = m->regression ? 0 : record(m, m->order[k])->label;
        if (label < classes && have[label] < ACROSS)
            index[label * ACROSS + have[label]++] = m->order[k];
    }
    return index;
}

/* One row of the set into a picture of `width` pixels of 3 channels, at (x, y). */
static void draw(const Import *m, const void *row, uint8_t *picture, int width, int y, int x)
{
    const size_t plane = (size_t)m->height * (size_t)m->width;
    const double span = m->most > m->least ? m->most - m->least : 1;
    for (int i = 0; i < m->height; i++)
        for (int k = 0; k < m->width; k++)
            for (int c = 0; c < 3; c++) {
                const size_t at = (m->channels >= 3 ? (size_t)c : 0) * plane + (size_t)i * (size_t)m->width + (size_t)k;
                picture[(((size_t)y + (size_t)i) * (size_t)width + (size_t)(x + k)) * 3 + (size_t)c] =
                    set_floats(m) ? (uint8_t)(255 * (((const float *)row)[at] - m->least) / span)
                                  : ((const uint8_t *)row)[at];
            }
}

/* Lines of pictures, classes [from, to), as a PNG. */
static bool draw_classes(Import *m, const int *index, int from, int to, Buf *png)
{
    const int width = ACROSS * (m->width + GAP) + GAP, height = (to - from) * (m->height + GAP) + GAP;
    uint8_t *picture = xmalloc((size_t)width * (size_t)height * 3),
            *row = xmalloc((size_t)row_numbers(m) * sizeof(float));
    float *floats = m->floats ? xmalloc(m->row_bytes) : NULL;
    bool ok = true;
    memset(picture, 255, (size_t)width * (size_t)height * 3);
    for (int c = from; c < to && ok; c++)
        for (int k = 0; k < ACROSS && index[c * ACROSS + k] >= 0 && ok; k++) {
            ok = goes_on() && row_get(m, index[c * ACROSS + k], row, floats);
            if (ok)
                draw(m, row, picture, width, GAP + (c - from) * (m->height + GAP), GAP + k * (m->width + GAP));
        }
    if (ok)
        image_png(png, picture, 3, height, width);
    free(picture);
    free(row);
    free(floats);
    return ok;
}

/* How many classes have room in pictures; 0: rows are no pictures. */
static int drawn_classes(const Import *m)
{
    const int64_t line = (int64_t)(ACROSS * (m->width + GAP) + GAP) * (m->height + GAP) * 3;
    const int classes = m->regression ? 1 : m->nclass;
    int n = classes < MOST_ROWS ? classes : MOST_ROWS;
    if (m->height == 1 || m->width == 1)
        return 0;
    while (n > 1 && n * line > MOST_SHEET)
        n--;
    return n * line > MOST_SHEET ? 0 : n;
}

bool sheet_png(Import *m, Buf *to)
{
    const int n = drawn_classes(m);
    if (n == 0) {
        cvy_error(NULL, "--sheet: the rows of '%s' are no pictures, or too large ones", m->src);
        return false;
    }
    return draw_classes(m, first_rows(m, n), 0, n, to);
}

/* ---- the page ---- */

static void put_html(Buf *to, const char *text)
{
    for (; *text; text++) {
        const char *as = *text == '<'   ? "&lt;"
                         : *text == '>' ? "&gt;"
                         : *text == '&' ? "&amp;"
                         : *text == '"' ? "&quot;"
                                        : NULL;
        if (as)
            buf_puts(to, as);
        else
            buf_add(to, text, 1);
    }
}

static void put_base64(Buf *to, const char *from, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = 0;
        char four[4];
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < n ? (unsigned char)from[i + k] : 0);
        for (int k = 0; k < 4; k++)
            four[k] = i + (size_t)k > n ? '=' : digits[v >> 6 * (3 - k) & 63];
        buf_add(to, four, 4);
    }
}

static const char *plain(const char *s)
{
    const size_t room = 10 * strlen(s) + 8;
    return cvy_plain(s, xalloc(room), room);
}

static void put_cells(Buf *to, const char *tag, const char *const *cell)
{
    buf_puts(to, "<tr>");
    for (; *cell; cell++) {
        buf_printf(to, "<%s>", tag);
        put_html(to, *cell);
        buf_printf(to, "</%s>", tag);
    }
    buf_puts(to, "</tr>\n");
}

static bool put_classes(Import *m, Buf *to)
{
    const int n = drawn_classes(m), *index = n ? first_rows(m, n) : NULL;
    buf_puts(to, "<h2>Rows</h2>\n<table>\n<tr><th></th><th>train</th><th>valid</th><th>test</th><th></th></tr>\n");
    for (int c = m->regression ? -1 : 0; c < (m->regression ? 0 : m->nclass); c++) {
        buf_puts(to, "<tr><td>");
        put_html(to, c < 0 ? "all" : plain(m->class_name[c]));
        for (int s = 0; s < SPLITS; s++)
            buf_printf(to, "</td><td class=n>%d", rows_of(m, c, s));
        buf_puts(to, "</td><td>");
        if (c < n && n) {
            Buf png = {0};
            const int line = c < 0 ? 0 : c;
            if (!draw_classes(m, index, line, line + 1, &png))
                return false;
            buf_puts(to, "<img alt=\"\" src=\"data:image/png;base64,");
            put_base64(to, png.text, png.len);
            buf_puts(to, "\">");
        }
        buf_puts(to, "</td></tr>\n");
    }
    buf_puts(to, "</table>\n");
    return true;
}

static void put_pairs(Import *m, Buf *to, const char *head, const Pairs *p)
{
    if (!p->count)
        return;
    buf_printf(to, "<h2>%s: %" PRId64 " pairs</h2>\n", head, p->count);
    buf_printf(to, "<p>%" PRId64 " across the source's splits, %" PRId64 " across classes.</p>\n<table>\n",
               p->across_splits, p->across_classes);
    for (int i = 0; i < p->n; i++) {
        const Record *x = record(m, p->pair[i].a), *y = record(m, p->pair[i].b);
        put_cells(to, "td",
                  (const char *const[]){record_name(m, p->pair[i].a), split_words[x->split],
                                        record_name(m, p->pair[i].b), split_words[y->split],
                                        x->label != y->label ? "of two classes" : "", NULL});
    }
    buf_puts(to, "</table>\n");
}

bool page_html(Import *m, Buf *to)
{
    static const char *const heads[NOTE_KINDS] = {"Left out, because they cannot be read", "Odd", "Refused cells"};
    buf_puts(to, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    put_html(to, plain(m->shown));
    buf_puts(to,
             "</title>\n<style>body{font:15px/1.45 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
             "table{border-collapse:collapse}td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:middle;"
             "border-bottom:1px solid #ddd}.n{text-align:right}img{max-width:100%;display:block}"
             "</style></head><body>\n<h1>");
    put_html(to, plain(m->shown));
    buf_printf(
        to,
        "</h1>\n<p>%s: %d rows to train, %d to choose by, %d to test; each %d x %d x %d, %s, from %.6g to %.6g.</p>\n",
        m->source->what, m->count[0], m->count[1], m->count[2], m->channels, m->height, m->width,
        set_floats(m) ? "float32" : "bytes", m->least, m->most);
    buf_puts(to, "<table>\n");
    for (int i = 0; i < m->nfact; i++)
        put_cells(
            to, "td",
            (const char *const[]){m->fact[i].what, m->fact[i].text, m->fact[i].flag ? m->fact[i].flag : "", NULL});
    for (int k = 0; k < MET_KINDS; k++)
        if (m->met[k])
            put_cells(to, "td", (const char *const[]){"images", xprintf("%d %s", m->met[k], met_words[k]), "", NULL});
    buf_puts(to, "</table>\n");
    if (!put_classes(m, to))
        return false;
    for (int kind = 0; kind < NOTE_KINDS; kind++) {
        if (!m->note_count[kind])
            continue;
        buf_printf(to, "<h2>%s: %" PRId64 "</h2>\n<table>\n", heads[kind], m->note_count[kind]);
        for (int i = 0; i < m->nnote; i++)
            if (m->note[i].kind == (NoteKind)kind)
                put_cells(to, "td", (const char *const[]){m->note[i].name, m->note[i].text, NULL});
        buf_puts(to, "</table>\n");
    }
    put_pairs(m, to, "Equal", &m->same);
    put_pairs(m, to, "Nearly equal", &m->near);
    buf_puts(to, "</body></html>\n");
    return true;
}
