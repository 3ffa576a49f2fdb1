/* decide.c - the verdict on a pair of variants.
 *
 * needs: the paired differences, and what they were drawn from.  sets: the first sentence that fits, in the order of
 * docs/study.md. */
#include "decide.h"

#include <math.h>
#include <string.h>

const char *const answer_names[ANSWERS] = {
    [ANSWER_FEW] = "too few",
    [ANSWER_NOTHING] = "nothing learned",
    [ANSWER_FAILED] = "failures",
    [ANSWER_SAME] = "no spread",
    [ANSWER_BETTER] = "better",
    [ANSWER_EASY] = "too easy",
    [ANSWER_SLIGHTLY] = "better by less than the margin",
    [ANSWER_EQUAL] = "equal within the margin",
    [ANSWER_UNCLEAR] = "cannot tell",
};

enum {
    LEAST = 3,          /* seeds of an interval */
    MOST_RUNS = 100000, /* beyond that a number of seeds says nothing */
};
#define EASY_MARGINS 4   /* the better variant's error must be so many margins for these to mean something */
#define LEARNED_ERRORS 3 /* standard errors above guessing */

static bool same_text(double v, double w, int decimals)
{
    return strcmp(xprintf("%.*f", decimals, v), xprintf("%.*f", decimals, w)) == 0;
}

const char *points_text(double v, double margin)
{
    int decimals = 2;
    while (decimals < 6 &&
           ((v != 0 && same_text(fabs(v), 0, decimals)) || (fabs(v) != margin && same_text(fabs(v), margin, decimals))))
        decimals++;
    return xprintf("%.*f", decimals, same_text(fabs(v), 0, decimals) ? 0 : v);
}

/* "0.34 to 1.21", the better side being above zero. */
static const char *span_text(const Question *q, double lo, double hi)
{
    return xprintf("%s to %s", points_text(lo, q->margin), points_text(hi, q->margin));
}

static const char *number(double v)
{
    return xprintf("%g", v);
}

static const char *flips_text(const Verdict *v)
{
    return isnan(v->flips) ? "" : xprintf(" Sign flips: p = %.3g.", v->flips);
}

/* A number of which two digits mean something. */
static double two_digits(double v)
{
    const double unit = pow(10, floor(log10(v)) - 1);
    return ceil(v / unit - 1e-9) * unit;
}

/* How many more runs or rows it would take. An interval that is no wider than the margin always has an answer: it
 * cannot hold both 0 and a margin. */
static void what_would_tell(const Question *q, Verdict *v)
{
    const double least = 2 * half_width(v->at.sd, MOST_RUNS, q->next_level, q->again);
    v->runs = 0;
    v->rows = 0;
    if (q->again > 0 && least > q->margin)
        v->rows = two_digits(q->rows * (least / q->margin) * (least / q->margin));
    else
        v->runs = runs_needed(v->at.sd, q->margin, q->next_level, q->again, MOST_RUNS);
}

static const char *unclear_text(const Question *q, Verdict *v)
{
    const char *span = xprintf("Cannot tell: %s minus %s is somewhere between %s and %s points, %s.", q->b, q->a,
                               points_text(v->at.lo, q->margin), points_text(v->at.hi, q->margin), q->where);
    what_would_tell(q, v);
    if (v->rows > 0)
        return xprintf("%s More seeds will not help: about %.0f test rows would.", span, v->rows);
    if (v->runs > 0)
        return xprintf("%s About %d seeds in all would tell (there are %d).", span, v->runs, q->n);
    return xprintf("%s More than %d seeds would be needed.", span, MOST_RUNS);
}

static const char *better_text(const Question *q, const Verdict *v)
{
    const bool b = v->better > 0;
    const double lo = b ? v->at.lo : -v->at.hi, hi = b ? v->at.hi : -v->at.lo;
    const char *said = xprintf("%s is better than %s by %s points (%s)", b ? q->b : q->a, b ? q->a : q->b,
                               points_text(fabs(v->at.mean), q->margin), span_text(q, lo, hi));
    if (v->answer == ANSWER_SLIGHTLY)
        return xprintf("%s, %s: less than the %s that was said to matter. Choose by cost.", said, q->where,
                       number(q->margin));
    return xprintf("%s, in %d of %d seeds, %s.", said, b ? v->won : v->lost, q->n, q->where);
}

static const char *failed_text(const Question *q, const Verdict *v)
{
    return xprintf("%s failed in %d of %d seeds, %s in %d: every rate diverged there, so no interval is drawn.%s%s",
                   q->a, q->failed_a, q->n, q->b, q->failed_b, flips_text(v),
                   v->better ? xprintf(" %s is better.", v->better > 0 ? q->b : q->a) : "");
}

static const char *same_spread_text(const Question *q, const Verdict *v)
{
    if (v->at.mean == 0)
        return xprintf(
            "%s and %s gave the same score in each of %d seeds, %s: they may be one function. No interval is "
            "drawn.",
            q->a, q->b, q->n, q->where);
    return xprintf("%s minus %s is %s points in each of %d seeds, %s: differences that do not vary have no interval.",
                   q->b, q->a, points_text(v->at.mean, q->margin), q->n, q->where);
}

static double best_score(const Question *q)
{
    return q->score_a > q->score_b ? q->score_a : q->score_b;
}

static bool learned(const Question *q)
{
    const double share = q->guessing / 100;
    return best_score(q) > q->guessing + LEARNED_ERRORS * 100 * sqrt(share * (1 - share) / q->score_rows);
}

/* The answer of an interval. */
static Answer read_interval(const Question *q, const Interval *at, int *better)
{
    *better = at->lo > 0 ? 1 : at->hi < 0 ? -1 : 0;
    const double far = *better > 0 ? at->hi : -at->lo;
    if (*better && far > q->margin)
        return ANSWER_BETTER;
    const bool within = at->lo > -q->margin && at->hi < q->margin;
    if (100 - best_score(q) < EASY_MARGINS * q->margin) {
        *better = 0;
        return ANSWER_EASY;
    }
    return *better ? ANSWER_SLIGHTLY : within ? ANSWER_EQUAL : ANSWER_UNCLEAR;
}

static const char *sentence(const Question *q, Verdict *v)
{
    switch (v->answer) {
    case ANSWER_FEW:
        return xprintf("No verdict yet: an interval needs %d seeds at the least, and %d %s done.", LEAST, q->n,
                       q->n == 1 ? "is" : "are");
    case ANSWER_NOTHING:
        return xprintf(
            "Nothing was learned: the better score, %.2f, is not clearly above the %.2f of always saying the "
            "largest class, %s.",
            best_score(q), q->guessing, q->where);
    case ANSWER_FAILED:
        return failed_text(q, v);
    case ANSWER_SAME:
        return same_spread_text(q, v);
    case ANSWER_EASY:
        return xprintf(
            "Too easy: %s has an error of %.2f points, %s, so that %s points say little. The difference is %s.",
            q->score_b >= q->score_a ? q->b : q->a, 100 - best_score(q), q->where, number(q->margin),
            span_text(q, v->at.lo, v->at.hi));
    case ANSWER_BETTER:
    case ANSWER_SLIGHTLY:
        return better_text(q, v);
    case ANSWER_EQUAL:
        return xprintf("%s and %s differ by less than %s points (%s), %s. Choose by cost.", q->a, q->b,
                       number(q->margin), span_text(q, v->at.lo, v->at.hi), q->where);
    default:
        return unclear_text(q, v);
    }
}

Verdict decide(const Question *q)
{
    Verdict v = {.flips = NAN};
    v.at = (Interval){.mean = mean_of(q->diff, q->n), .sd = sd_of(q->diff, q->n), .level = q->level};
    for (int i = 0; i < q->n; i++) {
        v.won += q->diff[i] > 0;
        v.lost += q->diff[i] < 0;
    }
    if (q->n >= FLIPS_LEAST && q->n <= FLIPS_MOST)
        v.flips = sign_flip_p(q->diff, q->n);
    if (q->n < LEAST) {
        v.answer = ANSWER_FEW;
    } else if (!learned(q)) {
        v.answer = ANSWER_NOTHING;
    } else if (q->failed_a || q->failed_b) {
        v.answer = ANSWER_FAILED;
        if (v.flips <= 1 - q->level)
            v.better = v.at.mean > 0 ? 1 : -1;
    } else if (v.at.sd == 0) {
        v.answer = ANSWER_SAME;
    } else {
        v.at = t_interval(q->diff, q->n, q->level, q->again);
        v.has_interval = true;
        v.answer = read_interval(q, &v.at, &v.better);
    }
    v.sentence = sentence(q, &v);
    return v;
}
