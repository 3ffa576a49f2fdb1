/* html.c - what differs, as a page: one file, without scripts, without anything from elsewhere. Its style is
 * templates/diff.css.
 *
 * needs: a Diff with its levels.  sets: the page. It decides nothing. */
#include "diff.h"

#include "embedded.h"

#include <math.h>
#include <string.h>

enum {
    CONTEXT = 3,
    ALL_LAYERS = 24 /* a net of so many layers is shown whole; of a larger one what changed, and its neighbours */
};

static const char *const titles[] = {"Spec", "Graph", "Plan", "Inference", "Cost", "C"};
static const char *const leads[] = {
    "what is written",      "what is computed", "what is fused with what, and what is stored",
    "where each norm went", "side by side",     "what is emitted"};

/* Text as text: nothing in a spec's names becomes markup. */
static void put(Buf *to, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '<':
            buf_puts(to, "&lt;");
            break;
        case '>':
            buf_puts(to, "&gt;");
            break;
        case '&':
            buf_puts(to, "&amp;");
            break;
        case '"':
            buf_puts(to, "&quot;");
            break;
        default:
            buf_add(to, s, 1);
        }
}

static const char *style(void)
{
    return embedded_find("templates/diff.css")->text;
}

/* ---- head ---- */

static void put_side(Buf *to, const DiffSide *s, char which)
{
    buf_printf(to, "<div class=\"side %c\"><b>%c</b><div class=\"order\">", which == 'A' ? 'a' : 'b', which);
    put(to, s->label);
    buf_puts(to, "</div>");
    if (s->p)
        buf_printf(to,
                   "<span>%s parameters &middot; %s bytes per image kept for backward &middot; %d kernels &middot; "
                   "target %s</span>",
                   number_text((double)s->g->weights), number_text((double)s->p->stored_bytes), s->p->nkernel,
                   s->p->target->name);
    buf_puts(to, "</div>\n");
}

static int changed_files(const DiffLevel *l)
{
    int n = 0;

    for (int i = 0; i < l->nfile; i++)
        n += l->file[i].lines != NULL;
    return n;
}

/* How many things differ in a level. */
static int count_of(const DiffLevel *l)
{
    int n = l->nrow + changed_files(l);

    for (int i = 0; i < l->ncost; i++)
        n += !cost_same(&l->cost[i]);
    return n;
}

static void put_nav(Buf *to, const Diff *d)
{
    buf_puts(to, "<nav>");
    for (int l = 0; l < LEVELS; l++)
        if (d->level[l].there) {
            const int n = count_of(&d->level[l]);
            buf_printf(to, "<a href=\"#%s\">%s <i>%s</i></a>", level_names[l], titles[l],
                       n ? xprintf("%d", n) : "the same");
        }
    buf_puts(to, "</nav>\n");
}

/* ---- layers ---- */

static void put_chips(Buf *to, const Graph *g, const char *layer)
{
    bool any = false;

    buf_puts(to, "<div class=\"chips\">");
    for (int i = 1; g && i < g->nop - 1; i++) {
        const Op *op = &g->op[i];
        if (strcmp(op->layer, layer) != 0)
            continue;
        const OpClass c = op_info[op->kind].cls;
        buf_printf(to, "<span class=\"chip %s\">",
                   c == CLASS_WEIGHT      ? "weight"
                   : op_is_norm(op->kind) ? "norm"
                   : c == CLASS_POINT     ? "act"
                                          : "other");
        put(to, graph_op_text(g, i));
        if (c == CLASS_WEIGHT && op->bias)
            buf_puts(to, " + bias");
        buf_puts(to, "</span>");
        any = true;
    }
    buf_puts(to, any ? "</div>" : "<span class=\"gap\">&mdash;</span></div>");
}

/* The ops of a layer, to compare: what the chips say, and the shape. */
static const char *layer_text(const Graph *g, const char *layer)
{
    Buf b = {0};

    buf_puts(&b, "");
    for (int i = 1; i < g->nop - 1; i++)
        if (strcmp(g->op[i].layer, layer) == 0)
            buf_printf(&b, "%s %d %dx%dx%d,", graph_op_text(g, i), g->op[i].bias, g->op[i].shape.c, g->op[i].shape.h,
                       g->op[i].shape.w);
    return b.text;
}

static const char *layer_shape(const Graph *g, const char *layer)
{
    for (int i = g->nop - 2; i > 0; i--)
        if (strcmp(g->op[i].layer, layer) == 0)
            return xprintf("%d &times; %d &times; %d", g->op[i].shape.c, g->op[i].shape.h, g->op[i].shape.w);
    return "";
}

static void put_layer(Buf *to, const Diff *d, int i, bool changed)
{
    const bool in_a = d->pair[i][0] >= 0, in_b = d->pair[i][1] >= 0;

    buf_printf(to, "<div class=\"layer%s\"><div class=\"name\">", changed ? " changed" : "");
    put(to, in_a || !d->name_b[i] ? d->name[i] : d->name_b[i]);
    if (in_a && d->name_b[i]) {
        buf_puts(to, " <small>");
        put(to, xprintf("%s in B", d->name_b[i]));
        buf_puts(to, "</small>");
    }
    buf_printf(to, "<small>%s</small></div>", layer_shape(in_a ? d->a.g : d->renamed, d->name[i]));
    put_chips(to, in_a ? d->a.g : NULL, d->name[i]);
    put_chips(to, in_b ? d->renamed : NULL, d->name[i]);
    buf_puts(to, "</div>\n");
}

static void put_layers(Buf *to, const Diff *d)
{
    bool *changed = xalloc((size_t)d->npair + 1), *shown = xalloc((size_t)d->npair + 1),
         *empty = xalloc((size_t)d->npair + 1);
    int skipped = 0;

    for (int i = 0; i < d->npair; i++) {
        const char *a = layer_text(d->a.g, d->name[i]), *b = layer_text(d->renamed, d->name[i]);
        empty[i] = !*a && !*b; /* a shortcut that is the identity */
        changed[i] = !empty[i] && (d->pair[i][0] < 0 || d->pair[i][1] < 0 || strcmp(a, b) != 0);
    }
    for (int i = 0; i < d->npair; i++)
        shown[i] =
            d->npair <= ALL_LAYERS || changed[i] || (i && changed[i - 1]) || (i + 1 < d->npair && changed[i + 1]);
    buf_puts(to, "<h2 id=\"layers\">Layers <small>in the sequence of their stages</small></h2>\n<div class=\"card\">"
                 "<div class=\"layer head\"><div class=\"name\"></div><div>A</div><div>B</div></div>\n");
    for (int i = 0; i <= d->npair; i++) {
        if (skipped && (i == d->npair || shown[i])) {
            buf_printf(to, "<div class=\"layer skip\">%d layer%s the same</div>\n", skipped, skipped == 1 ? "" : "s");
            skipped = 0;
        }
        if (i < d->npair && shown[i] && !empty[i])
            put_layer(to, d, i, changed[i]);
        else
            skipped += i < d->npair && !empty[i];
    }
    buf_puts(to, "</div>\n");
}

/* ---- rows ---- */

static void put_value(Buf *to, const char *s, const char *class)
{
    buf_printf(to, "<div class=\"val %s%s\"><span>", class, s ? "" : " none");
    put(to, s ? s : "not there");
    buf_puts(to, "</span></div>");
}

static void put_row(Buf *to, const DiffRow *r)
{
    buf_puts(to, "<div class=\"row\"><header><h3>");
    put(to, r->key);
    buf_puts(to, "</h3><span>");
    for (int i = 0; i < r->nwhere; i++) {
        put(to, i ? ", " : "");
        put(to, r->where[i]);
    }
    buf_puts(to, "</span></header><div class=\"two\">");
    put_value(to, r->a, "a");
    put_value(to, r->b, "b");
    buf_puts(to, "</div>");
    if (r->why) {
        buf_puts(to, "<p class=\"why\">");
        put(to, r->why);
        buf_puts(to, "</p>");
    }
    buf_puts(to, "</div>\n");
}

static const char *value_text(bool known, double v, const char *unit)
{
    return !known ? "&ndash;" : strcmp(unit, "ms") == 0 ? xprintf("%.3f ms", v) : number_text(v);
}

enum {
    NOTICED = 1 /* per cent: what differs by less has no colour */
};

static void put_costs(Buf *to, const DiffLevel *l)
{
    buf_puts(to, "<div class=\"card\"><table class=\"cost\"><tr><th></th><th>A</th><th>B</th><th></th></tr>\n");
    for (int i = 0; i < l->ncost; i++) {
        const DiffCost *c = &l->cost[i];
        const bool same = cost_same(c), more = c->b > c->a;
        const double percent = c->known_a && c->known_b && c->a > 0 ? 100 * fabs(c->b - c->a) / c->a : 0;
        buf_printf(to, "<tr%s><td>%s", same ? " class=\"same\"" : "", *c->name == ' ' ? "&emsp;" : "");
        put(to, c->name + strspn(c->name, " "));
        if (*c->unit && strcmp(c->unit, "ms") != 0)
            put(to, xprintf(", %s", c->unit));
        buf_printf(to, "</td><td>%s</td><td>%s</td><td class=\"%s\">", value_text(c->known_a, c->a, c->unit),
                   value_text(c->known_b, c->b, c->unit),
                   c->note                     ? "said"
                   : same || percent < NOTICED ? ""
                   : more                      ? "more"
                                               : "less");
        put(to, cost_change(c));
        if (!same && !c->note && percent >= 0.05)
            buf_printf(to, "<span class=\"bar\" style=\"width:%.0fpx\"></span>", 2 + fmin(percent, 100) * 0.6);
        buf_puts(to, "</td></tr>\n");
    }
    buf_puts(to, "</table></div>\n");
}

/* ---- C ---- */

/* A line, with what differs from its counterpart marked: what is left between equal beginnings and ends. */
static void put_line(Buf *to, int number, const char *line, const char *other)
{
    const size_t n = strlen(line), m = other ? strlen(other) : 0;
    size_t head = 0, tail = 0;

    buf_printf(to, "<span><i>%d</i>", number);
    while (other && head < n && head < m && line[head] == other[head])
        head++;
    while (other && tail < n - head && tail < m - head && line[n - 1 - tail] == other[m - 1 - tail])
        tail++;
    if (!other || head + tail < n / 4 || head + tail >= n) { /* nothing in common worth a mark */
        put(to, line);
    } else {
        put(to, xstrndup(line, head));
        buf_puts(to, "<mark>");
        put(to, xstrndup(line + head, n - head - tail));
        buf_puts(to, "</mark>");
        put(to, line + n - tail);
    }
    buf_puts(to, "</span>");
}

static void put_lines(Buf *to, const char *class, const char **line, int first, int n, const char **other, int nother)
{
    buf_printf(to, "<pre class=\"%s%s\">", class, n ? "" : " empty");
    for (int i = 0; i < n; i++)
        put_line(to, first + i + 1, line[i], n == nother ? other[i] : NULL);
    buf_puts(to, "</pre>");
}

static void put_file(Buf *to, const DiffFile *f)
{
    const LineDiff *d = f->lines;
    int n;

    const Hunk *h = text_hunks(d, CONTEXT, &n);
    buf_puts(to, "<details><summary><span class=\"mono\">");
    put(to, f->name);
    buf_printf(to, "</span><span class=\"plus\">+%d</span><span class=\"minus\">&minus;%d</span>%s</summary>\n",
               d->added, d->removed,
               !f->in_a   ? "<span>new</span>"
               : !f->in_b ? "<span>gone</span>"
                          : "");
    for (int i = 0; i < n; i++) {
        buf_puts(to, "<div class=\"hunk\"><div class=\"at mono\">");
        put(to, hunk_head(&h[i]));
        buf_puts(to, "</div>");
        for (int k = 0; k < h[i].n; k++) {
            const Part *p = &h[i].part[k];
            buf_printf(to, "<div class=\"part%s\">", p->changed ? " changed" : "");
            put_lines(to, "a", d->a + p->a, p->a, p->na, d->b + p->b, p->changed ? p->nb : -1);
            put_lines(to, p->changed ? "b" : "b again", d->b + p->b, p->b, p->nb, d->a + p->a, p->changed ? p->na : -1);
            buf_puts(to, "</div>\n");
        }
        buf_puts(to, "</div>\n");
    }
    buf_puts(to, "</details>\n");
}

static void put_files(Buf *to, const DiffLevel *l)
{
    buf_puts(to, "<div class=\"card\">\n");
    for (int i = 0; i < l->nfile; i++)
        if (l->file[i].lines)
            put_file(to, &l->file[i]);
    buf_printf(to, "</div><p class=\"why\">Byte-identical: %d files.</p>\n", l->nfile - changed_files(l));
}

/* ---- the page ---- */

static void put_level(Buf *to, Level which, const DiffLevel *l)
{
    buf_printf(to, "<h2 id=\"%s\">%s <small>%s</small></h2>\n", level_names[which], titles[which], leads[which]);
    if (which != LEVEL_COST && level_same(l)) {
        buf_puts(to, "<p>The same.</p>\n");
        return;
    }
    if (l->nrow) {
        buf_puts(to, "<div class=\"card\">\n");
        for (int i = 0; i < l->nrow; i++)
            put_row(to, &l->row[i]);
        buf_puts(to, "</div>\n");
    }
    for (int i = 0; i < l->nnote; i++) {
        buf_puts(to, "<p class=\"why\">");
        put(to, l->note[i]);
        buf_puts(to, "</p>\n");
    }
    if (l->ncost)
        put_costs(to, l);
    if (l->nfile)
        put_files(to, l);
}

void diff_html(const Diff *d, Buf *to)
{
    static const Level sequence[] = {LEVEL_SPEC, LEVEL_COST, LEVEL_GRAPH, LEVEL_PLAN, LEVEL_INFER, LEVEL_C};
    const char *name = d->a.g ? d->a.g->spec->name : d->a.path;

    buf_puts(to, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    put(to, xprintf("%s: what differs", name));
    buf_printf(to, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>", style());
    put(to, name);
    buf_printf(to, "</h1>\n<p class=\"lead\">%s</p>\n<div class=\"sides\">",
               diff_same(d) ? "Two networks that do not differ." : "Two networks, and what differs between them.");
    put_side(to, &d->a, 'A');
    put_side(to, &d->b, 'B');
    buf_puts(to, "</div>\n");
    for (int i = 0; i < d->nnote; i++) {
        buf_puts(to, "<p class=\"note\">");
        put(to, d->note[i]);
        buf_puts(to, "</p>\n");
    }
    put_nav(to, d);
    if (d->a.g && d->b.g)
        put_layers(to, d);
    for (int i = 0; i < LEVELS; i++)
        if (d->level[sequence[i]].there)
            put_level(to, sequence[i], &d->level[sequence[i]]);
    buf_printf(to,
               "<footer>Written by convoy %s: <code>convoy diff --html</code></footer>\n</main>\n</body>\n</html>\n",
               CONVOY_VERSION);
}
