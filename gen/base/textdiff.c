/* textdiff.c - what differs between two texts, line by line: Myers 1986, "An O(ND) difference algorithm and its
 * variations", in linear space. Where two texts share almost nothing the search for the least difference is cut off.
 *
 * needs: two texts.  sets: which lines of the first are gone and which of the second are new. */
#include "textdiff.h"

#include <string.h>

enum {
    MAX_COST = 4000,  /* differences that are searched for before the best so far is taken ... */
    WORK = 30000000,  /* ... as long as all searches of two texts have looked at no more diagonals than this; ... */
    TIRED_COST = 128, /* ... then only so many */
};

typedef struct Search {
    const int *a, *b; /* lines by number: equal lines have equal numbers */
    int *down, *up;   /* furthest x on each diagonal, from the start and from the end */
    int zero;         /* where diagonal 0 stands in both */
    bool *gone, *come;
    int64_t *work; /* diagonals looked at */
} Search;

typedef struct Spot {
    int x, y;
} Spot;

/* A point through which a least path from (a0, b0) to (a1, b1) runs. Both ranges differ at either end. */
static Spot middle(const Search *s, int a0, int a1, int b0, int b1)
{
    const int delta = (a1 - a0) - (b1 - b0), fore = a0 - b0, back = a1 - b1;
    int *const down = s->down + s->zero, *const up = s->up + s->zero;

    down[fore] = a0;
    up[back] = a1;
    for (int d = 1;; d++) {
        for (int k = fore - d; k <= fore + d; k += 2) {
            if (k < -(b1 + 1) || k > a1 + 1)
                continue;
            const int left = k > fore - d ? down[k - 1] + 1 : -1, above = k < fore + d ? down[k + 1] : -1;
            int x = left > above ? left : above;
            while (x < a1 && x - k < b1 && x >= a0 && x - k >= b0 && s->a[x] == s->b[x - k])
                x++;
            down[k] = x;
            if (delta % 2 != 0 && k >= back - (d - 1) && k <= back + (d - 1) && x >= up[k])
                return (Spot){x, x - k};
        }
        for (int k = back - d; k <= back + d; k += 2) {
            if (k < -(b1 + 1) || k > a1 + 1)
                continue;
            const int right = k < back + d ? up[k + 1] - 1 : a1 + 1, below = k > back - d ? up[k - 1] : a1 + 1;
            int x = right < below ? right : below;
            while (x > a0 && x - k > b0 && x <= a1 && x - k <= b1 && s->a[x - 1] == s->b[x - k - 1])
                x--;
            up[k] = x;
            if (delta % 2 == 0 && k >= fore - d && k <= fore + d && down[k] >= x)
                return (Spot){x, x - k};
        }
        *s->work += 2 * d;
        if (d < (*s->work < WORK ? MAX_COST : TIRED_COST))
            continue;
        Spot best = {a0, b0};
        for (int k = fore - d; k <= fore + d; k += 2) {
            const int x = down[k] < a1 ? down[k] : a1, y = x - k;
            if (k >= -(b1 + 1) && k <= a1 + 1 && x >= a0 && y >= b0 && y <= b1 && x + y > best.x + best.y)
                best = (Spot){x, y};
        }
        return best;
    }
}

static void compare(const Search *s, int a0, int a1, int b0, int b1)
{
    while (a0 < a1 && b0 < b1 && s->a[a0] == s->b[b0])
        a0++, b0++;
    while (a0 < a1 && b0 < b1 && s->a[a1 - 1] == s->b[b1 - 1])
        a1--, b1--;
    if (a0 == a1 || b0 == b1) {
        for (int i = a0; i < a1; i++)
            s->gone[i] = true;
        for (int i = b0; i < b1; i++)
            s->come[i] = true;
        return;
    }
    const Spot m = middle(s, a0, a1, b0, b1);
    if ((m.x == a0 && m.y == b0) || (m.x == a1 && m.y == b1) || m.x < a0 || m.y < b0 || m.x > a1 || m.y > b1) {
        for (int i = a0; i < a1; i++) /* nothing was gained: all of it is replaced */
            s->gone[i] = true;
        for (int i = b0; i < b1; i++)
            s->come[i] = true;
        return;
    }
    compare(s, a0, m.x, b0, m.y);
    compare(s, m.x, a1, m.y, b1);
}

/* ---- lines ---- */

static const char **split(const char *text, int *n)
{
    const char **line = NULL;

    *n = 0;
    while (*text) {
        const size_t len = strcspn(text, "\n");
        *PUSH(line, *n) = xstrndup(text, len);
        text += len + (text[len] == '\n');
    }
    return line;
}

typedef struct Table {
    const char **text;
    int *slot; /* number + 1, or 0 */
    int n, slots;
} Table;

static int number_of(Table *t, const char *line)
{
    uint32_t h = 2166136261u;

    for (const char *c = line; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    for (int i = (int)(h % (uint32_t)t->slots);; i = (i + 1) % t->slots) {
        if (t->slot[i] && strcmp(t->text[t->slot[i] - 1], line) == 0)
            return t->slot[i] - 1;
        if (!t->slot[i]) {
            t->text[t->n] = line;
            t->slot[i] = ++t->n;
            return t->n - 1;
        }
    }
}

/* A run of changed lines slides down as far as the text allows, so that what is inserted after a block ends with its
 * brace. */
static void slide(const int *line, bool *changed, int n)
{
    for (int i = 0; i < n;) {
        if (!changed[i]) {
            i++;
            continue;
        }
        int end = i;
        while (end < n && changed[end])
            end++;
        int start = i;
        while (end < n && !changed[end] && line[start] == line[end]) {
            changed[start++] = false;
            changed[end++] = true;
            while (end < n && changed[end])
                end++;
        }
        i = end;
    }
}

LineDiff *text_diff(const char *a, const char *b)
{
    LineDiff *d = xalloc(sizeof *d);

    d->a = split(a, &d->na);
    d->b = split(b, &d->nb);
    d->gone = xalloc((size_t)d->na + 1);
    d->come = xalloc((size_t)d->nb + 1);
    const int n = d->na + d->nb;
    Table t = {.slots = 2 * n + 1};
    t.text = xalloc(sizeof *t.text * (size_t)(n + 1));
    t.slot = xalloc(sizeof *t.slot * (size_t)t.slots);
    int *na = xalloc(sizeof *na * (size_t)(d->na + 1)), *nb = xalloc(sizeof *nb * (size_t)(d->nb + 1));
    for (int i = 0; i < d->na; i++)
        na[i] = number_of(&t, d->a[i]);
    for (int i = 0; i < d->nb; i++)
        nb[i] = number_of(&t, d->b[i]);
    int64_t work = 0;
    const Search s = {na,
                      nb,
                      xalloc(sizeof(int) * (size_t)(2 * n + 6)),
                      xalloc(sizeof(int) * (size_t)(2 * n + 6)),
                      n + 3,
                      d->gone,
                      d->come,
                      &work};
    compare(&s, 0, d->na, 0, d->nb);
    slide(na, d->gone, d->na);
    slide(nb, d->come, d->nb);
    for (int i = 0; i < d->na; i++)
        d->removed += d->gone[i];
    for (int i = 0; i < d->nb; i++)
        d->added += d->come[i];
    return d;
}

/* The next run of lines from *i and *j on: changed ones, or equal ones. */
static bool next_part(const LineDiff *d, int *i, int *j, Part *p)
{
    *p = (Part){.a = *i, .b = *j};
    while (*i < d->na && d->gone[*i])
        ++*i;
    while (*j < d->nb && d->come[*j])
        ++*j;
    p->changed = *i > p->a || *j > p->b;
    while (!p->changed && *i < d->na && *j < d->nb && !d->gone[*i] && !d->come[*j])
        ++*i, ++*j;
    p->na = *i - p->a;
    p->nb = *j - p->b;
    return p->na || p->nb;
}

Hunk *text_hunks(const LineDiff *d, int context, int *n)
{
    Hunk *list = NULL, *h = NULL;
    Part part;
    int i = 0, j = 0;

    *n = 0;
    while (next_part(d, &i, &j, &part)) {
        if (part.changed) {
            if (!h) {
                h = PUSH(list, *n);
                h->a = part.a;
                h->b = part.b;
            }
            *PUSH(h->part, h->n) = part;
            h->na = part.a + part.na - h->a;
            h->nb = part.b + part.nb - h->b;
            continue;
        }
        const bool last = i == d->na && j == d->nb;
        const int head = h ? (last || part.na > 2 * context ? context < part.na ? context : part.na : part.na) : 0;
        if (h && head) { /* after a change: all of what is short, else its beginning */
            *PUSH(h->part, h->n) = (Part){part.a, part.b, head, head, false};
            h->na += head;
            h->nb += head;
        }
        if (last || (h && head == part.na && part.na <= 2 * context))
            continue;
        const int tail = part.na - head < context ? part.na - head : context; /* in front of the next change */
        h = PUSH(list, *n);
        *h = (Hunk){.a = part.a + part.na - tail, .b = part.b + part.nb - tail, .na = tail, .nb = tail};
        if (tail)
            *PUSH(h->part, h->n) = (Part){h->a, h->b, tail, tail, false};
    }
    return list;
}

/* "12,7" as diff -u has it: a range that is empty stands after the line before it. */
static const char *range(int first, int n)
{
    return n == 1 ? xprintf("%d", first + 1) : xprintf("%d,%d", n ? first + 1 : first, n);
}

const char *hunk_head(const Hunk *h)
{
    return xprintf("@@ -%s +%s @@", range(h->a, h->na), range(h->b, h->nb));
}
