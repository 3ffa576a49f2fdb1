/* report.c - an Analysis as text and as JSON.
 *
 * needs: an Analysis.  sets: text. It computes nothing that decides. */
#include "report.h"
#include "numbers.h"
#include "runtime.h"
#include "term.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *pair_text(const Study *s, Pair p)
{
    return xprintf("%s - %s", s->variant[p.b].name, s->variant[p.a].name);
}

static const char *level_text(double level)
{
    return xprintf("%.4g %%", 100 * level);
}

const char *headline(const Analysis *a)
{
    const Study *s = a->s;
    Buf b = {0};
    if (a->interim)
        buf_printf(&b, "Interim, %d of %d seeds (%s interval): ", a->rounds.n, seeds_planned(s), level_text(a->level));
    for (int i = 0; i < s->npair && a->null_claimed; i++)
        if (s->pair[i].kind == PAIR_NULL && a->pair[i].verdict.better) {
            buf_printf(
                &b,
                "The null control is claimed: %s That is one function, so something else than the networks differs "
                "here, and no claim of this study can be trusted. ",
                a->pair[i].verdict.sentence);
            break;
        }
    buf_puts(&b, a->pair[0].verdict.sentence);
    return b.text;
}

const char *score_text(const Study *s)
{
    return scores_recall(s) ? "mean recall, in which each class counts the same (the largest has more than three times "
                              "the rows of the smallest),"
                            : "accuracy";
}

const char *looks_text(const Analysis *a)
{
    const Study *s = a->s;
    Buf b = {0};
    buf_printf(&b, "%d of %d planned seed%s", a->rounds.n, s->seeds, s->seeds == 1 ? "" : "s");
    if (s->nextension)
        buf_printf(&b, " and %d more in %d extension%s", seeds_planned(s) - s->seeds, s->nextension,
                   s->nextension == 1 ? "" : "s");
    buf_printf(&b, ", judged at %s", level_text(a->level));
    if (s->nlook) {
        buf_printf(&b, "; looked at before, after");
        for (int i = 0; i < s->nlook; i++)
            buf_printf(&b, "%s %d", i ? "," : "", s->look[i]);
        buf_printf(&b, " rounds");
    } else {
        buf_puts(&b, "; not looked at before");
    }
    return b.text;
}

const char *rows_text(const Study *s)
{
    return s->overlap > 0 ? xprintf("%lld rows, a fold of the set", (long long)s->rows)
                          : xprintf("%lld test rows", (long long)s->rows);
}

const char *scope_text(const Analysis *a)
{
    const Comparison *c = &a->pair[0];
    if (c->has_others)
        return xprintf("For other test rows like these: %s to %s.", points_text(c->others.lo, a->s->margin),
                       points_text(c->others.hi, a->s->margin));
    if (!(a->s->overlap > 0) || !c->verdict.has_interval)
        return NULL;
    return xprintf("For these very rows, not others like them: %s to %s.", points_text(c->here.lo, a->s->margin),
                   points_text(c->here.hi, a->s->margin));
}

const char *answer_text(const Study *s, const Comparison *c)
{
    const Verdict *v = &c->verdict;
    if (v->answer != ANSWER_BETTER && v->answer != ANSWER_SLIGHTLY)
        return answer_names[v->answer];
    return xprintf("%s is %s", s->variant[v->better > 0 ? c->pair.b : c->pair.a].name, answer_names[v->answer]);
}

/* ---- text ---- */

static const char *signed_points(double v, double margin)
{
    return xprintf("%s%s", v > 0 ? "+" : "", points_text(v, margin));
}

static const char *interval_text(const Interval *at, bool there, double margin)
{
    return there ? xprintf("%s to %s", points_text(at->lo, margin), points_text(at->hi, margin)) : "none";
}

static const char *or_none(double v, const char *format)
{
    if (isnan(v))
        return "-";
    return *format == '2' ? xprintf("%.2f", v) : xprintf("%.3g", v);
}

static int name_width(const Study *s)
{
    size_t most = 8;
    for (int i = 0; i < s->npair; i++) {
        const size_t n = strlen(pair_text(s, s->pair[i]));
        most = n > most ? n : most;
    }
    return (int)most;
}

static void print_comparison(const Study *s, const Comparison *c, int width, FILE *to)
{
    const Verdict *v = &c->verdict;
    fprintf(to, "%-*s %10s  %-18s %6s %6s %6s  %3d of %-3d %s, %s\n", width, pair_text(s, c->pair),
            c->n ? signed_points(v->at.mean, s->margin) : "-", interval_text(&v->at, v->has_interval, s->margin),
            c->n > 1 ? xprintf("%.2f", v->at.sd) : "-", or_none(c->correlation, "2"), or_none(v->flips, "3"), v->won,
            c->n, pair_words[c->pair.kind], answer_text(s, c));
}

static void print_pairs(const Analysis *a, FILE *to)
{
    const Study *s = a->s;
    const int width = name_width(s);
    fprintf(to, "\n%-*s %10s  %-18s %6s %6s %6s  %-10s %s\n", width, "pair", "difference", "interval", "sd", "corr",
            "flips", "seeds won", "");
    for (int i = 0; i < s->npair; i++)
        print_comparison(s, &a->pair[i], width, to);
    if (s->npair > 2)
        fprintf(to, "%-*s all but the primary pair hold together (%s each)\n", width, "",
                level_text(a->pair[1].verdict.at.level));
}

static void print_rates(const Study *s, const Comparison *c, FILE *to)
{
    fprintf(to, "\n%s at each rate\n", pair_text(s, c->pair));
    for (int i = 0; i < c->nrate; i++) {
        const AtRate *r = &c->rate[i];
        fprintf(to, "  %-10s %10s  %-18s %d seed%s", real_text(r->rate), signed_points(r->at.mean, s->margin),
                interval_text(&r->at, r->has_interval, s->margin), r->n, r->n == 1 ? "" : "s");
        if (r->diverged_a || r->diverged_b)
            fprintf(to, ", diverged: %d and %d", r->diverged_a, r->diverged_b);
        fprintf(to, "\n");
    }
}

static void print_variants(const Analysis *a, FILE *to)
{
    const Study *s = a->s;
    size_t width = 7;
    for (int i = 0; i < s->nvariant; i++)
        width = strlen(s->variant[i].name) > width ? strlen(s->variant[i].name) : width;
    fprintf(to, "\n%-*s %7s %6s  %-10s %s\n", (int)width, "variant", "score", "sd", "rates", "trainings");
    for (int i = 0; i < s->nvariant; i++) {
        const Summary *v = &a->variant[i];
        fprintf(to, "%-*s %7s %6s  %-10s %d%s%s\n", (int)width, s->variant[i].name,
                a->rounds.n ? xprintf("%.2f", v->mean) : "-", a->rounds.n > 1 ? xprintf("%.2f", v->sd) : "-",
                v->centre > 0 ? xprintf("%s%s", real_text(v->centre), v->edge ? ", edge" : "") : "-", v->trained,
                v->diverged ? xprintf(", %d diverged", v->diverged) : "",
                v->failed ? xprintf(", %d seed%s failed", v->failed, v->failed == 1 ? "" : "s") : "");
    }
}

void report_text(const Analysis *a, FILE *to)
{
    const Study *s = a->s;
    Buf said = {0};
    term_wrap(&said, headline(a), 0, term_columns(to, TERM_USUAL));
    fprintf(to, "%s\n\n", said.text);
    fprintf(to, "%s%s%s%s%s: %s\n", s->name, *s->network ? ", " : "", s->network, *s->data ? ", " : "", s->data,
            looks_text(a));
    if (scores_recall(s)) {
        Buf score = {0};
        term_wrap(&score, xprintf("Score: %s of %s.", score_text(s), rows_text(s)), 0, term_columns(to, TERM_USUAL));
        fprintf(to, "%s\n", score.text);
    }
    print_pairs(a, to);
    if (scope_text(a))
        fprintf(to, "\n%s\n", scope_text(a));
    print_rates(s, &a->pair[0], to);
    if (a->again)
        fprintf(to, "\nAt twice the epochs: %s\n", a->again->verdict.sentence);
    print_variants(a, to);
    if (a->positive_missed)
        fprintf(to, "\nA positive control was not found: this study may be too small for what it asks.\n");
}

/* ---- JSON ---- */

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *interval_json(const Interval *at, bool there)
{
    return there ? json_pack("[o, o]", number(at->lo), number(at->hi)) : json_null();
}

static json_t *rate_json(const AtRate *r)
{
    return json_pack("{s:o, s:i, s:o, s:o, s:[i, i]}", "rate", number(r->rate), "seeds", r->n, "difference",
                     number(r->at.mean), "interval", interval_json(&r->at, r->has_interval), "diverged", r->diverged_a,
                     r->diverged_b);
}

static json_t *comparison_json(const Study *s, const Comparison *c)
{
    const Verdict *v = &c->verdict;
    json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:o, s:s, s:i, s:i, s:o, s:s}", "a",
                          s->variant[c->pair.a].name, "b", s->variant[c->pair.b].name, "kind", pair_words[c->pair.kind],
                          "seeds", c->n, "difference", number(v->at.mean), "level", number(v->at.level), "interval",
                          interval_json(&v->at, v->has_interval), "sd", number(v->at.sd), "correlation",
                          number(c->correlation), "won", v->won, "lost", v->lost, "sign_flips", number(v->flips),
                          "verdict", answer_names[v->answer], "better", v->better, "seeds_needed", v->runs,
                          "rows_needed", number(v->rows), "sentence", v->sentence);
    json_t *rates = json_array(), *differences = json_array();
    for (int i = 0; i < c->nrate; i++)
        json_array_append_new(rates, rate_json(&c->rate[i]));
    for (int i = 0; i < c->n; i++)
        json_array_append_new(differences, number(c->diff[i]));
    json_object_set_new(o, "interval_these_rows", interval_json(&c->here, s->overlap > 0 && v->has_interval));
    json_object_set_new(o, "interval_other_rows", interval_json(&c->others, c->has_others));
    json_object_set_new(o, "differences", differences);
    json_object_set_new(o, "rates", rates);
    return o;
}

const char *report_json(const Analysis *a)
{
    const Study *s = a->s;
    json_t *pairs = json_array(), *variants = json_array();
    for (int i = 0; i < s->npair; i++)
        json_array_append_new(pairs, comparison_json(s, &a->pair[i]));
    for (int i = 0; i < s->nvariant; i++) {
        const Summary *v = &a->variant[i];
        json_array_append_new(variants,
                              json_pack("{s:s, s:s, s:o, s:o, s:o, s:i, s:i, s:i, s:i}", "name", s->variant[i].name,
                                        "what", s->variant[i].what, "score", number(v->mean), "sd", number(v->sd),
                                        "rate", number(v->centre), "edge", v->edge, "trainings", v->trained, "diverged",
                                        v->diverged, "failed", v->failed));
    }
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:i, s:o, s:i, s:b, s:i, s:o, s:o, s:o}", "name", s->name,
                  "score", scores_recall(s) ? SCORE_RECALL : "accuracy", "headline", headline(a), "interim", a->interim,
                  "seeds", a->rounds.n, "planned", seeds_planned(s), "extensions", s->nextension, "looks", s->nlook,
                  "margin", number(s->margin), "epochs", s->epochs, "null_control_claimed", a->null_claimed > 0,
                  "positive_controls_missed", a->positive_missed, "variants", variants, "pairs", pairs,
                  "twice_the_epochs", a->again ? comparison_json(s, a->again) : json_null());
    char *text = o ? cvy_json_text(o, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) : NULL;
    if (!text)
        BUG("a report without JSON");
    json_decref(o);
    const char *kept = xstrdup(text);
    free(text);
    return kept;
}
