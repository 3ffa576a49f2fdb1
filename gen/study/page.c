/* page.c - an Analysis as a page: one file, without scripts, without anything from elsewhere. Its style is
 * templates/study.css.
 *
 * needs: an Analysis.  sets: the page. It decides nothing. */
#include "report.h"
#include "embedded.h"
#include "numbers.h"

#include <math.h>
#include <string.h>

/* Text as text: nothing in a file's words becomes markup. */
static const char *html(const char *s)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (; *s; s++) {
        const char *as = *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '&' ? "&amp;" : *s == '"' ? "&quot;" : NULL;
        if (as)
            buf_puts(&b, as);
        else
            buf_add(&b, s, 1);
    }
    return b.text;
}

static const char *style(void)
{
    for (size_t i = 0; i < nembedded; i++)
        if (strcmp(embedded[i].name, "templates/study.css") == 0)
            return embedded[i].text;
    BUG("the page's style is not there");
}

static const char *variant_name(const Study *s, int v)
{
    return html(s->variant[v].name);
}

static const char *sign(const Study *s, double v)
{
    return xprintf("%s%s", v > 0 ? "+" : "", points_text(v, s->margin));
}

static const char *span(const Study *s, const Interval *at)
{
    return xprintf("%s to %s", points_text(at->lo, s->margin), points_text(at->hi, s->margin));
}

/* ---- axes ---- */

enum {
    WIDTH = 440,
    LEFT = 104, /* of what is drawn; names stand before it */
    RIGHT = 20,
    ROW = 30,
};

typedef struct Axis {
    double lo, hi, step;
} Axis;

static double place(const Axis *a, double v)
{
    const double share = (v - a->lo) / (a->hi - a->lo);
    return LEFT + (WIDTH - LEFT - RIGHT) * (share < 0 ? 0 : share > 1 ? 1 : share);
}

/* Ends at whole steps of 1, 2 or 5 times a power of ten, about six of them. */
static Axis axis_for(double lo, double hi)
{
    const double rough = (hi - lo) / 6, unit = pow(10, floor(log10(rough)));
    const double step = unit * (rough / unit > 5 ? 10 : rough / unit > 2 ? 5 : rough / unit > 1 ? 2 : 1);
    return (Axis){step * floor(lo / step), step * ceil(hi / step), step};
}

static const char *tick_text(double v, double step)
{
    const int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    return xprintf("%.*f", decimals, fabs(v) < step / 1000 ? 0 : v);
}

static void put_ticks(Buf *to, const Axis *a, int top, int bottom)
{
    const int n = (int)lround((a->hi - a->lo) / a->step);
    for (int i = 0; i <= n; i++) {
        const double v = a->lo + i * a->step, x = place(a, v);
        const bool zero = fabs(v) < a->step / 1000;
        buf_printf(to, "<line class=\"%s\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>", zero ? "zero" : "axis", x,
                   top, x, bottom);
        buf_printf(to, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x, bottom + 15,
                   tick_text(v, a->step));
    }
}

static void svg_begin(Buf *to, int height, const char *title)
{
    buf_printf(to, "<figure><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", WIDTH, height, html(title));
}

static void svg_end(Buf *to, const char *caption)
{
    buf_printf(to, "</svg><figcaption>%s</figcaption></figure>\n", html(caption));
}

/* ---- the difference, with intervals ---- */

static void widen(double *lo, double *hi, double v)
{
    *lo = v < *lo ? v : *lo;
    *hi = v > *hi ? v : *hi;
}

static void put_interval(Buf *to, const Study *s, const Axis *a, int y, const Interval *at, bool there,
                         const char *name, const char *note, bool strong)
{
    buf_printf(to, "<g class=\"%s\"><text class=\"%s\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
               strong ? "tuned" : "thin", strong ? "strong" : "", LEFT - 10, y + 4, html(name));
    if (there)
        buf_printf(to, "<line class=\"span\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"><title>%s</title></line>\n",
                   place(a, at->lo), y, place(a, at->hi), y, html(span(s, at)));
    if (at->mean < a->lo || at->mean > a->hi) { /* further out than is drawn */
        const bool right = at->mean > a->hi;
        buf_printf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", right ? WIDTH - RIGHT : LEFT + 4,
                   y - 6, right ? "end" : "start", xprintf(right ? "%s &#8594;" : "&#8592; %s", sign(s, at->mean)));
    } else {
        buf_printf(to, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%d\" r=\"%g\"><title>%s%s</title></circle>\n",
                   place(a, at->mean), y, strong ? 5.5 : 4, html(sign(s, at->mean)), html(note));
    }
    buf_puts(to, "</g>\n");
}

static void put_differences(Buf *to, const Study *s, const Comparison *c)
{
    const Verdict *v = &c->verdict;
    double lo = -1.3 * s->margin, hi = 1.3 * s->margin;
    if (v->has_interval)
        widen(&lo, &hi, v->at.lo), widen(&lo, &hi, v->at.hi);
    else if (c->n)
        widen(&lo, &hi, v->at.mean);
    const double reach = 3 * (hi - lo); /* what diverges would make the rest invisible */
    for (int i = 0; i < c->nrate; i++) {
        const Interval *at = &c->rate[i].at;
        if (fabs(at->mean) < reach)
            widen(&lo, &hi, at->mean);
        if (c->rate[i].has_interval && fabs(at->lo) < reach && fabs(at->hi) < reach)
            widen(&lo, &hi, at->lo), widen(&lo, &hi, at->hi);
    }
    const Axis a = axis_for(lo, hi);
    const int rows = 1 + c->nrate, top = 26, bottom = top + ROW * rows;
    svg_begin(to, bottom + 24, xprintf("%s, in points", pair_text(s, c->pair)));
    buf_printf(to, "<rect class=\"band\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n", place(&a, -s->margin),
               top, place(&a, s->margin) - place(&a, -s->margin), bottom - top);
    put_ticks(to, &a, top, bottom);
    buf_printf(to,
               "<text class=\"soft\" x=\"%d\" y=\"16\">&#8592; %s better</text><text class=\"soft\" x=\"%d\" y=\"16\" "
               "text-anchor=\"end\">%s better &#8594;</text>\n",
               LEFT, variant_name(s, c->pair.a), WIDTH - RIGHT, variant_name(s, c->pair.b));
    if (c->n)
        put_interval(to, s, &a, top + ROW / 2, &v->at, v->has_interval, "tuned rates", "", true);
    for (int i = 0; i < c->nrate; i++) {
        const AtRate *r = &c->rate[i];
        put_interval(
            to, s, &a, top + ROW / 2 + ROW * (i + 1), &r->at, r->has_interval, xprintf("rate %s", real_text(r->rate)),
            xprintf(", %d seeds%s", r->n,
                    r->diverged_a + r->diverged_b ? xprintf(", diverged: %d and %d", r->diverged_a, r->diverged_b)
                                                  : ""),
            false);
    }
    svg_end(to, xprintf("Difference in points. Shaded: less than the margin of %s. Bold: each seed at the rate that "
                        "validation picked; the "
                        "verdict is read off that interval. Below: both at one and the same rate, 95 %% each, which "
                        "decide nothing.",
                        real_text(s->margin)));
}

/* ---- every comparison in one picture ---- */

enum { PAIR_ROW = 40, PAIRS_TOP = 4 };

static int pairs_height(const Analysis *a)
{
    return PAIRS_TOP + PAIR_ROW * (a->s->npair + (a->again != NULL)) + 24;
}

static void put_pair(Buf *to, const Study *s, const Axis *axis, const Comparison *c, int y, const char *name)
{
    const Verdict *v = &c->verdict;
    buf_printf(to, "<text class=\"over%s\" x=\"4\" y=\"%d\">%s<tspan class=\"soft\">, %s</tspan></text>\n",
               c->pair.kind == PAIR_PRIMARY ? " strong" : "", y + 14, html(name), html(answer_text(s, c)));
    if (c->n)
        put_interval(to, s, axis, y + 27, &v->at, v->has_interval, sign(s, v->at.mean), "",
                     c->pair.kind == PAIR_PRIMARY);
}

/* What stands in an svg of WIDTH x pairs_height(). */
static void put_all_pairs(Buf *to, const Analysis *a)
{
    const Study *s = a->s;
    double lo = -1.3 * s->margin, hi = 1.3 * s->margin;
    const int rows = s->npair + (a->again != NULL), bottom = PAIRS_TOP + PAIR_ROW * rows;
    for (int i = 0; i < rows; i++) {
        const Verdict *v = &(i < s->npair ? &a->pair[i] : a->again)->verdict;
        widen(&lo, &hi, v->has_interval ? v->at.lo : v->at.mean);
        widen(&lo, &hi, v->has_interval ? v->at.hi : v->at.mean);
    }
    const Axis axis = axis_for(lo, hi);
    buf_printf(to, "<rect class=\"band\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n",
               place(&axis, -s->margin), PAIRS_TOP, place(&axis, s->margin) - place(&axis, -s->margin),
               bottom - PAIRS_TOP);
    put_ticks(to, &axis, PAIRS_TOP, bottom);
    int y = PAIRS_TOP;
    for (int i = 0; i < s->npair; i++, y += PAIR_ROW) {
        put_pair(to, s, &axis, &a->pair[i], y, pair_text(s, a->pair[i].pair));
        if (i == 0 && a->again)
            put_pair(to, s, &axis, a->again, y += PAIR_ROW,
                     xprintf("%s at %d epochs", pair_text(s, a->pair[0].pair), 2 * s->epochs));
    }
}

const char *report_svg(const Analysis *a)
{
    Buf b = {0};
    const char *title = xprintf("%s: %s", a->s->name, headline(a));
    buf_printf(
        &b,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\" "
        "aria-label=\"%s\">\n<title>%s</title>\n<style>\n%s</style>\n<rect width=\"100%%\" height=\"100%%\" "
        "style=\"fill: var(--card)\"/>\n",
        WIDTH * 3 / 2, pairs_height(a) * 3 / 2, WIDTH, pairs_height(a), html(title), html(title), style());
    put_all_pairs(&b, a);
    buf_puts(&b, "</svg>\n");
    return b.text;
}

/* ---- runs ---- */

static void put_runs(Buf *to, const Analysis *a)
{
    const Study *s = a->s;
    double lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < a->rounds.n * s->nvariant; i++)
        widen(&lo, &hi, a->rounds.of[i].score);
    if (hi - lo < .2)
        lo -= .1, hi += .1;
    const Axis axis = axis_for(lo, hi);
    const int top = 6, bottom = top + ROW * s->nvariant;
    svg_begin(to, bottom + 24, "every counted seed's score, by variant");
    put_ticks(to, &axis, top, bottom);
    for (int v = 0; v < s->nvariant; v++) {
        const int y = top + ROW / 2 + ROW * v;
        const double mean = place(&axis, a->variant[v].mean);
        buf_printf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LEFT - 10, y + 4, variant_name(s, v));
        for (int i = 0; i < a->rounds.n; i++) {
            const Counted *c = &a->rounds.of[i * s->nvariant + v];
            buf_printf(to,
                       "<circle class=\"%s\" cx=\"%.1f\" cy=\"%d\" r=\"4\"><title>seed %lld: %.2f%s</title></circle>\n",
                       c->run ? "run" : "fail", place(&axis, c->score), y, (long long)a->rounds.seed[i], c->score,
                       c->run ? xprintf(", rate %s", real_text(c->run->rate)) : ", every rate diverged");
        }
        buf_printf(to, "<line class=\"mean\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n", mean, y - 9, mean,
                   y + 9);
    }
    svg_end(to, "Score on the test rows, percent: a dot is a seed at the rate that validation picked for it, the line "
                "the mean. Hollow: "
                "every rate diverged.");
}

/* ---- rates ---- */

static void put_curve(Buf *to, const Study *s, int variant, bool second, const Axis *y, double left, double step,
                      int top, int height)
{
    RateScore *at;
    const int n = screen_scores(s, variant, &at);
    Buf points = {0};
    buf_puts(&points, "");
    for (int i = 0; i < n; i++) {
        const double x = left + step * log(at[i].rate / s->rate) / log(s->factor);
        const double share = (at[i].score - y->lo) / (y->hi - y->lo), h = top + height * (1 - (share < 0 ? 0 : share));
        buf_printf(&points, "%.1f,%.1f ", x, h);
        buf_printf(
            to, "<circle class=\"at%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s, rate %s: %.2f%s</title></circle>\n",
            second ? " b" : "", x, h, variant_name(s, variant), real_text(at[i].rate), at[i].score,
            at[i].diverged ? xprintf(", %d of %d diverged", at[i].diverged, at[i].n) : "");
    }
    buf_printf(to, "<polyline class=\"curve%s\" points=\"%s\"/>\n", second ? " b" : "", points.text);
}

static void put_screen(Buf *to, const Study *s)
{
    const int pair[2] = {s->pair[0].a, s->pair[0].b}, top = 26, height = 190;
    double best = 0, least = 100;
    int low = 0, high = 0;
    for (int k = 0; k < 2; k++) {
        RateScore *at;
        const int n = screen_scores(s, pair[k], &at);
        for (int i = 0; i < n; i++) {
            const int power = (int)lround(log(at[i].rate / s->rate) / log(s->factor));
            low = power < low ? power : low;
            high = power > high ? power : high;
            best = at[i].score > best ? at[i].score : best;
            if (!at[i].diverged)
                least = at[i].score < least ? at[i].score : least;
        }
    }
    if (low == high)
        return;
    least = least < best - 25 ? best - 25 : least >= best ? best - 1 : least;
    const Axis y = axis_for(least, best);
    const int left = 56;
    const double step = (double)(WIDTH - left - 30) / (high - low), middle = left + 10 - step * low;
    buf_puts(to, "<h2>Which rates</h2>\n");
    svg_begin(to, top + height + 26, "validation score over learning rate");
    for (int i = 0; i <= (int)lround((y.hi - y.lo) / y.step); i++) {
        const double v = y.lo + i * y.step, h = top + height * (1 - i * y.step / (y.hi - y.lo));
        buf_printf(to,
                   "<line class=\"axis\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/><text class=\"soft\" x=\"%d\" "
                   "y=\"%.1f\" "
                   "text-anchor=\"end\">%s</text>\n",
                   left, h, WIDTH - RIGHT, h, left - 8, h + 4, tick_text(v, y.step));
    }
    for (int p = low; p <= high; p++)
        buf_printf(to, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", middle + step * p,
                   top + height + 18, real_text(grid_rate(s, p)));
    for (int k = 0; k < 2; k++) {
        put_curve(to, s, pair[k], k == 1, &y, middle, step, top, height);
        buf_printf(to, "<circle class=\"at%s\" cx=\"%d\" cy=\"12\" r=\"4\"/><text x=\"%d\" y=\"16\">%s</text>\n",
                   k ? " b" : "", left + k * 170, left + 10 + k * 170, variant_name(s, pair[k]));
    }
    svg_end(to, xprintf("Score on validation rows over learning rate, mean of %d screening seed%s, which are not "
                        "counted. A counted seed is trained at three "
                        "rates around the top.",
                        s->screens, s->screens == 1 ? "" : "s"));
}

/* ---- tables ---- */

static void put_pairs(Buf *to, const Analysis *a)
{
    const Study *s = a->s;
    buf_puts(to, "<h2>Every comparison</h2>\n");
    if (s->npair > 1) {
        svg_begin(to, pairs_height(a), "every comparison, in points");
        put_all_pairs(to, a);
        svg_end(to, xprintf("Difference in points, at the rates that validation picked. Shaded: less than the margin "
                            "of %s.",
                            real_text(s->margin)));
    }
    buf_puts(to, "<div class=\"wide\"><table><tr><th>pair</th><th "
                 "class=\"n\">points</th><th>interval</th><th "
                 "class=\"n\">sd</th><th class=\"n\">correlation</th><th class=\"n\">won</th><th class=\"n\">sign "
                 "flips</th></tr>\n");
    for (int i = 0; i < s->npair; i++) {
        const Comparison *c = &a->pair[i];
        const Verdict *v = &c->verdict;
        static const char *const kinds[] = {"primary", "", "null control", "positive control"};
        buf_printf(to,
                   "<tr><td>%s<br><span class=\"soft\">%s%s%s</span></td><td class=\"n\">%s</td><td>%s</td><td "
                   "class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%d of "
                   "%d</td><td class=\"n\">%s</td></tr>\n",
                   html(pair_text(s, c->pair)), kinds[c->pair.kind], *kinds[c->pair.kind] ? ": " : "",
                   html(answer_text(s, c)), c->n ? sign(s, v->at.mean) : "", v->has_interval ? span(s, &v->at) : "none",
                   c->n > 1 ? xprintf("%.2f", v->at.sd) : "",
                   isnan(c->correlation) ? "" : xprintf("%.2f", c->correlation), v->won, c->n,
                   isnan(v->flips) ? "" : xprintf("%.3g", v->flips));
    }
    buf_puts(to, "</table></div>\n");
    buf_printf(to,
               "<p class=\"soft\">The primary pair was named before: %g %%.%s A row's difference is what its name "
               "says, one score minus the other. "
               "Sign flips are a second opinion and decide nothing.</p>\n",
               100 * a->level,
               s->npair > 2 ? xprintf(" The %d other intervals hold together: %.4g %% each.", s->npair - 1,
                                      100 * a->pair[1].verdict.at.level)
                            : "");
}

static void put_variants(Buf *to, const Analysis *a)
{
    const Study *s = a->s;
    buf_puts(to, "<h2>Variants</h2>\n<div class=\"wide\"><table><tr><th>variant</th><th>what differs</th><th "
                 "class=\"n\">score</th><th "
                 "class=\"n\">sd</th><th class=\"n\">rates around</th><th class=\"n\">trainings</th><th "
                 "class=\"n\">diverged</th></tr>\n");
    for (int i = 0; i < s->nvariant; i++) {
        const Summary *v = &a->variant[i];
        buf_printf(to,
                   "<tr><td>%s</td><td><code>%s</code></td><td class=\"n\">%s</td><td class=\"n\">%s</td><td "
                   "class=\"n\">%s%s</td><td "
                   "class=\"n\">%d</td><td class=\"n\">%d</td></tr>\n",
                   variant_name(s, i), html(s->variant[i].what), a->rounds.n ? xprintf("%.2f", v->mean) : "",
                   a->rounds.n > 1 ? xprintf("%.2f", v->sd) : "", v->centre > 0 ? real_text(v->centre) : "",
                   v->edge ? " (at the grid's edge)" : "", v->trained, v->diverged);
    }
    buf_puts(to, "</table></div>\n");
}

static void put_all(Buf *to, const Study *s)
{
    buf_printf(
        to,
        "<details><summary>All %d trainings</summary>\n<div class=\"wide\"><table><tr><th>variant</th><th>for</th><th "
        "class=\"n\">seed</th><th class=\"n\">epochs</th><th class=\"n\">rate</th><th class=\"n\">validation</th><th "
        "class=\"n\">test</th><th class=\"n\">training loss</th></tr>\n",
        s->nrun);
    for (int i = 0; i < s->nrun; i++) {
        const Training *t = &s->run[i];
        buf_printf(to,
                   "<tr><td>%s</td><td>%s</td><td class=\"n\">%lld</td><td class=\"n\">%d</td><td class=\"n\">%s</td>",
                   variant_name(s, t->variant), role_names[t->role], (long long)t->seed, t->epochs, real_text(t->rate));
        if (t->diverged)
            buf_puts(to, "<td class=\"n\">diverged</td><td></td><td></td></tr>\n");
        else
            buf_printf(to, "<td class=\"n\">%.2f</td><td class=\"n\">%.2f</td><td class=\"n\">%.4f</td></tr>\n",
                       100 * t->valid, 100 * t->test, t->train_loss);
    }
    buf_puts(to, "</table></div></details>\n");
}

/* ---- the first screen ---- */

static void put_three(Buf *to, const Analysis *a)
{
    const Study *s = a->s;
    const Comparison *c = &a->pair[0];
    const Verdict *v = &c->verdict;
    buf_puts(to, "<div class=\"three\">");
    const char *rows =
        scores_recall(s) ? "" : xprintf(": about %.0f of %s", fabs(v->at.mean) * (double)s->rows / 100, rows_text(s));
    buf_printf(to, "<div><b>%s</b><span>points, %s%s</span></div>", c->n ? sign(s, v->at.mean) : "-",
               html(pair_text(s, c->pair)), rows);
    buf_printf(to, "<div><b>%d of %d</b><span>seeds in which %s was better</span></div>", v->won, c->n,
               variant_name(s, c->pair.b));
    buf_printf(to, "<div><b>%s</b><span>half the interval: what %d seeds can show here</span></div></div>\n",
               v->has_interval ? xprintf("&plusmn;%s", points_text((v->at.hi - v->at.lo) / 2, s->margin)) : "-", c->n);
}

static void put_parts(Buf *to, const PagePart *part, int n)
{
    for (int i = 0; i < n; i++)
        buf_printf(
            to, part[i].lines ? "<h2>%s</h2>\n<div class=\"wide\"><pre>%s</pre></div>\n" : "<h2>%s</h2>\n<p>%s</p>\n",
            html(part[i].title), html(part[i].text));
}

const char *report_html(const Analysis *a, const PagePart *part, int nparts)
{
    const Study *s = a->s;
    Buf b = {0};
    buf_printf(&b,
               "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
               "content=\"width=device-width, "
               "initial-scale=1\">\n<title>%s</title>\n<style>\n%s</style></head>\n<body><main>\n",
               html(s->name), style());
    buf_printf(&b, "<h1>%s%s%s%s%s</h1>\n<p class=\"verdict\">%s</p>\n", html(s->name), *s->network ? " &middot; " : "",
               html(s->network), *s->data ? " &middot; " : "", html(s->data), html(headline(a)));
    put_three(&b, a);
    if (a->positive_missed)
        buf_puts(
            &b,
            "<p class=\"warn\">A positive control was not found: this study may be too small for what it asks.</p>\n");
    put_differences(&b, s, &a->pair[0]);
    buf_printf(&b, "<p class=\"soft\">%s. %s%sScore: %s on %s, which picked nothing; the last epoch counts.</p>\n",
               html(looks_text(a)), scope_text(a) ? scope_text(a) : "", scope_text(a) ? " " : "", score_text(s),
               rows_text(s));
    if (a->again) {
        buf_printf(&b, "<h2>At twice the epochs</h2>\n<p>%s</p>\n", html(a->again->verdict.sentence));
        put_differences(&b, s, a->again);
    }
    put_parts(&b, part, nparts);
    put_pairs(&b, a);
    put_variants(&b, a);
    if (a->rounds.n) {
        buf_puts(&b, "<h2>Every counted seed</h2>\n");
        put_runs(&b, a);
    }
    put_screen(&b, s);
    put_all(&b, s);
    buf_printf(&b,
               "<details><summary>What was held equal</summary><p>Each seed gives every variant the same first weights "
               "where they have the "
               "same parameters, the same order of rows, the same validation rows and the same test rows. A counted "
               "result is one seed "
               "trained at three rates, of which validation picked one. A training counts as diverged where its loss "
               "is not finite, its "
               "last training loss is above ln(%d), or its validation score is not above %.2f, that of always saying "
               "the largest class; it "
               "then scores that.</p></details>\n</main></body></html>\n",
               s->classes, 100 * s->guessing);
    return b.text;
}
