/* diag.c - errors that point at the user's line.
 *
 *   specs/fashion.yaml:14:10: error: unknown activation 'rellu'
 *      14 |     act: rellu
 *         |          ^~~~~
 *     hint: did you mean 'relu', 'relu6' or 'selu'? 'convoy help acts' lists them all
 *
 * They are collected, and printed in order of place at the end of a stage. A spec is foreign text: what is shown of it
 * loses control characters and is cut to a width that one can read. */
#include "diag.h"
#include "term.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHOW_WIDTH = 100, /* of a line of the spec, where the terminal is as wide */
    SHOW_MARGIN = 8,  /* its number stands there */
    SHOW_ERRORS = 20,
    SHOW_TEXT = 400,
    NEAREST = 3, /* names in a hint */
    FEW = 8,     /* so many names are all shown */
    TAB = 4
};

typedef struct Diag {
    Mark at, other;
    const char *text, *what_other, *hint;
    bool warning;
    int seq; /* keeps the sort stable */
} Diag;

static Source nowhere, *source = &nowhere;
static Diag *diag;
static int ndiag;
static bool colour; /* of what is printed now */
static int show_width;

void diag_source(Source *s)
{
    source = s;
}

Source *diag_source_now(void)
{
    return source;
}

void diag_override(int index, const char *text)
{
    while (source->noverride <= index)
        *PUSH(source->override, source->noverride) = "";
    source->override[index] = text;
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

unsigned utf8_next(const char *s, const char *end, int *bytes)
{
    const unsigned char *u = (const unsigned char *)s;
    int n = u[0] < 0x80 ? 1 : u[0] >= 0xf0 && u[0] < 0xf8 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    *bytes = 1;
    if (n == 1)
        return u[0];
    if (u[0] < 0xc0 || u[0] >= 0xf8 || end - s < n)
        return 0xfffd;
    unsigned c = u[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0xfffd;
        c = c << 6 | (u[i] & 0x3fu);
    }
    *bytes = n;
    return c;
}

const char *line_after(const char *s)
{
    s += strcspn(s, "\r\n");
    if (!*s)
        return NULL;
    return s + (s[0] == '\r' && s[1] == '\n' ? 2 : 1);
}

static int utf8_len(const char *s, const char *end)
{
    int chars = 0;
    for (int n; s < end; s += n, chars++)
        utf8_next(s, end, &n);
    return chars;
}

/* Characters that move the cursor, hide text or turn its direction. */
static bool harmful(unsigned c)
{
    return c < 32 || (c >= 0x7f && c < 0xa0) || c == 0xfffd || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static int width(unsigned c)
{
    if (c >= 0x300 && c < 0x370)
        return 0; /* combining marks */
    return (c >= 0x1100 && c < 0x1160) || (c >= 0x2e80 && c < 0xa4d0) || (c >= 0xac00 && c < 0xd7a4) ||
                   (c >= 0xf900 && c < 0xfb00) || (c >= 0xfe30 && c < 0xfe70) || (c >= 0xff00 && c < 0xff61) ||
                   (c >= 0x1f300 && c < 0x1f650) || (c >= 0x1f900 && c < 0x1fa00) || (c >= 0x20000 && c < 0x3fffe)
               ? 2
               : 1;
}

/* A message fit to be printed: harmless, and cut where it is very long. */
static const char *clean(const char *s)
{
    Buf b = {0};
    const char *end = s + strlen(s);
    buf_puts(&b, "");
    while (s < end) {
        int n;
        unsigned c = utf8_next(s, end, &n);
        if (b.len > SHOW_TEXT) {
            buf_puts(&b, "...");
            break;
        }
        if (harmful(c))
            buf_puts(&b, "?");
        else
            buf_add(&b, s, (size_t)n);
        s += n;
    }
    return b.text;
}

/* ---- collecting ------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 1, 0), nonnull)) static const char *format(const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        BUG("cannot format '%s'", fmt);
    char *s = xalloc((size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return clean(s);
}

static Diag *collect(Mark at, const char *hint, bool warning)
{
    Diag *d = PUSH(diag, ndiag);
    *d = (Diag){.at = at, .hint = hint ? clean(hint) : NULL, .warning = warning, .seq = ndiag};
    return d;
}

static bool same_mark(Mark a, Mark b)
{
    return a.line == b.line && a.col == b.col && a.len == b.len;
}

/* Drops the last where it was said before: a group's body is read once a repeat. Of a warning the place is enough. */
static void drop_again(void)
{
    const Diag *last = &diag[ndiag - 1];
    for (int i = 0; i < ndiag - 1; i++)
        if (diag[i].warning == last->warning && same_mark(diag[i].at, last->at) &&
            (last->warning ? last->at.line != 0 : strcmp(diag[i].text, last->text) == 0)) {
            ndiag--;
            return;
        }
}

void diag_error(Mark at, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    collect(at, hint, false)->text = format(fmt, ap);
    va_end(ap);
    drop_again();
}

void diag_error2(Mark at, Mark other, const char *what_other, const char *hint, const char *fmt, ...)
{
    va_list ap;
    Diag *d = collect(at, hint, false);
    d->other = other;
    d->what_other = clean(what_other);
    va_start(ap, fmt);
    d->text = format(fmt, ap);
    va_end(ap);
    drop_again();
}

void diag_warn(Mark at, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    collect(at, hint, true)->text = format(fmt, ap);
    va_end(ap);
    drop_again();
}

void diag_only_warn(void)
{
    for (int i = 0; i < ndiag; i++)
        diag[i].warning = true;
}

int diag_errors(void)
{
    int n = 0;
    for (int i = 0; i < ndiag; i++)
        n += !diag[i].warning;
    return n;
}

/* ---- printing -------------------------------------------------------------------------------------------------- */

/* The text of the line that a mark is in, without its line break. */
static const char *line_at(Mark m, size_t *len)
{
    const char *s = NULL;
    if (m.line < 0) {
        s = -1 - m.line < source->noverride ? source->override[-1 - m.line] : "";
    } else if (m.line > 0 && source->text) {
        s = source->text;
        for (int i = 1; i < m.line && s; i++)
            s = line_after(s);
    }
    if (!s)
        return NULL;
    *len = strcspn(s, "\r\n");
    return s;
}

/* Words in colour, where there is any. */
enum { BOLD = 1, RED = 31, GREEN = 32, MAGENTA = 35, CYAN = 36 };
static void put_coloured(Buf *b, int pen, const char *words)
{
    if (colour)
        buf_printf(b, "\033[%s%dm%s\033[0m", pen == BOLD ? "" : "1;", pen, words);
    else
        buf_puts(b, words);
}

static void put_spaces(Buf *b, int n)
{
    while (n-- > 0)
        buf_puts(b, " ");
}

/* The line of a mark, and below it the underline. A long line is cut at both ends around the mark. */
static void show_line(Buf *b, Mark m)
{
    size_t len;
    const char *s = line_at(m, &len);
    if (!s)
        return;
    const char *end = s + len;
    Buf text = {0}, under = {0};
    buf_puts(&text, "");

    bool wide = utf8_len(s, end) > show_width;
    int skip = wide && m.col > show_width * 6 / 10 ? m.col - show_width * 4 / 10 : 0; /* characters cut on the left */
    int shown = 0, col = 1, under_at = -1, under_end = 0;
    if (skip) {
        buf_puts(&text, "...");
        shown = 3;
    }
    for (int n; s < end; s += n, col++) {
        unsigned c = utf8_next(s, end, &n);
        if (col <= skip)
            continue;
        if (shown >= show_width) {
            buf_puts(&text, "...");
            break;
        }
        int w = c == '\t' ? TAB - shown % TAB : harmful(c) ? 1 : width(c);
        if (col == m.col)
            under_at = shown;
        if (c == '\t')
            put_spaces(&text, w);
        else if (harmful(c))
            buf_puts(&text, "?");
        else
            buf_add(&text, s, (size_t)n);
        shown += w;
        if (col >= m.col && col < m.col + (m.len > 0 ? m.len : 1))
            under_end = shown;
    }
    if (under_at < 0) { /* past the end of the line */
        under_at = shown;
        under_end = shown + 1;
    }
    buf_puts(&under, "^");
    for (int i = under_at + 1; i < under_end; i++)
        buf_puts(&under, "~");
    if (m.line < 0)
        buf_printf(b, "  --set | %s\n        | ", text.text);
    else
        buf_printf(b, "%5d | %s\n      | ", m.line, text.text);
    put_spaces(b, under_at);
    put_coloured(b, GREEN, under.text);
    buf_puts(b, "\n");
}

static void show_place(Buf *b, Mark m)
{
    const char *place = m.line > 0 && source->path ? xprintf("%s:%d:%d:", clean(source->path), m.line, m.col)
                        : m.line < 0               ? "--set:"
                                                   : xprintf("%s:", source->path ? clean(source->path) : "convoy");
    put_coloured(b, BOLD, place);
    buf_puts(b, " ");
}

static int by_place(const void *a, const void *b)
{
    const Diag *x = a, *y = b;
    if (x->at.line != y->at.line) /* overrides last, as they were typed: -1, -2, ... */
        return (x->at.line < 0) != (y->at.line < 0) ? (x->at.line < 0 ? 1 : -1)
               : x->at.line < 0                     ? (x->at.line > y->at.line ? -1 : 1)
               : x->at.line < y->at.line            ? -1
                                                    : 1;
    if (x->at.col != y->at.col)
        return x->at.col < y->at.col ? -1 : 1;
    return x->seq - y->seq;
}

bool diag_flush(FILE *to)
{
    int errors = 0, left_off = 0;
    Buf b = {0};
    colour = ndiag && term_colour(to);
    show_width = term_columns(to, SHOW_WIDTH + SHOW_MARGIN) - SHOW_MARGIN;
    show_width = show_width > SHOW_WIDTH ? SHOW_WIDTH : show_width;
    if (ndiag)
        qsort(diag, (size_t)ndiag, sizeof *diag, by_place);
    for (int i = 0; i < ndiag; i++) {
        const Diag *d = &diag[i];
        errors += !d->warning;
        if (i >= SHOW_ERRORS) {
            left_off++;
            continue;
        }
        show_place(&b, d->at);
        put_coloured(&b, d->warning ? MAGENTA : RED, d->warning ? "warning:" : "error:");
        buf_printf(&b, " %s\n", d->text);
        show_line(&b, d->at);
        if (d->what_other) {
            show_place(&b, d->other);
            put_coloured(&b, CYAN, "note:");
            buf_printf(&b, " %s\n", d->what_other);
            show_line(&b, d->other);
        }
        if (d->hint) {
            put_coloured(&b, CYAN, "  hint:");
            buf_printf(&b, " %s\n", d->hint);
        }
    }
    if (left_off)
        buf_printf(&b, "... and %d more\n", left_off);
    if (b.len)
        fwrite(b.text, 1, b.len, to);
    diag = NULL;
    ndiag = 0;
    return errors > 0;
}

void diag_drop(void)
{
    diag = NULL;
    ndiag = 0;
}

/* ---- hints ----------------------------------------------------------------------------------------------------- */

static int min3(int a, int b, int c)
{
    return a < b ? (a < c ? a : c) : b < c ? b : c;
}

/* Edits (insert, delete, replace, swap of neighbours) between two words of at most 40 characters. */
static int distance(const char *a, const char *b)
{
    int d[42][42], n = (int)strlen(a), m = (int)strlen(b);
    for (int i = 0; i <= n; i++)
        d[i][0] = i;
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            int x = a[i - 1] | 32, y = b[j - 1] | 32; /* case does not count */
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (x != y));
            if (i > 1 && j > 1 && x == (b[j - 2] | 32) && (a[i - 2] | 32) == y && d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    return d[n][m];
}

/* How far a word is from a name: edits; a beginning of it counts as one. -1: too far to be meant. */
static int nearness(const char *word, const char *name)
{
    const size_t n = strlen(name), w = strlen(word);
    if (w > 40 || n > 40 || !w)
        return -1;
    const int d = w >= 3 && w < n && strncmp(word, name, w) == 0 ? 1 : distance(word, name);
    return d <= (n <= 3 ? 1 : n <= 8 ? 2 : 3) ? d : -1;
}

/* The nearest names, the nearest first. Returns how many. */
static int nearest(const char *word, const char *const *names, int most, const char *near[])
{
    int far[NEAREST], n = 0;
    for (int i = 0; names[i]; i++) {
        const int d = nearness(word, names[i]);
        int at = n;
        while (d >= 0 && at > 0 && far[at - 1] > d)
            at--;
        if (d < 0 || at >= most)
            continue;
        n = n < most ? n + 1 : most;
        for (int k = n - 1; k > at; k--) {
            far[k] = far[k - 1];
            near[k] = near[k - 1];
        }
        far[at] = d;
        near[at] = names[i];
    }
    return n;
}

const char *diag_nearest(const char *word, const char *const *names)
{
    const char *near[1];
    return nearest(word, names, 1, near) ? near[0] : NULL;
}

const char *diag_choices(const char *word, const char *const *names, const char *all)
{
    Buf b = {0};
    const char *near[NEAREST];
    const int nnear = word ? nearest(word, names, NEAREST, near) : 0;
    int n = 0;
    while (names[n])
        n++;
    const bool few = !all || n <= FEW;
    if (few && !nnear)
        buf_puts(&b, n > 1 ? "one of " : "it can be ");
    for (int i = 0; i < (few ? 1 : NEAREST) && i < nnear; i++)
        buf_printf(&b, i ? "%s '%s'" : "%s'%s'", i == 0 ? "did you mean " : i == nnear - 1 ? " or" : ",", near[i]);
    if (nnear)
        buf_puts(&b, few ? "? (" : "? ");
    for (int i = 0; few && i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", names[i]);
    if (few && nnear)
        buf_puts(&b, ")");
    if (!few)
        buf_printf(&b, "'%s' lists them all", all);
    return b.text;
}

void mark_step(Mark *m, const char *s, const char *end)
{
    const bool ends = *s == '\n' || (*s == '\r' && !(s + 1 < end && s[1] == '\n'));
    if (ends && m->line > 0) {
        m->line++;
        m->col = 1;
    } else {
        m->col++;
    }
}
