/* analyse.c - rounds, differences, differences at each rate, and the rates that a screen leads to.
 *
 * needs: a Study.  sets: an Analysis. Nothing here prints, and nothing but validation picks a rate. */
#include "analyse.h"
#include "answers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INTERIM .999 /* the level of an interval before the planned end: 5.3 % false claims in all, docs/study.md */
#define PLANNED .95
#define EXTENDED .995 /* after each extension */

/* ---- scores ---- */

static double points(double share)
{
    return 100 * share;
}

static double valid_points(const Study *s, const Training *t)
{
    return points(t->diverged ? s->guessing : t->valid);
}

static double test_points(const Study *s, const Training *t)
{
    return points(t->diverged ? s->guessing : t->test);
}

static bool one_rate(double a, double b)
{
    return fabs(a - b) <= 1e-6 * b;
}

/* ---- rounds ---- */

/* The trainings of one variant, role and seed stand side by side, rates rising (study_read). */
static int trainings_of(const Study *s, Role role, int64_t seed, int variant, const Training **first)
{
    int n = 0;
    for (int i = 0; i < s->nrun; i++) {
        const Training *t = &s->run[i];
        if (t->role != role || t->seed != seed || t->variant != variant)
            continue;
        if (!n++)
            *first = t;
    }
    return n;
}

static Counted counted(const Study *s, const Training *t, int n)
{
    const Training *run = study_pick(t, n);
    return (Counted){run, run ? test_points(s, run) : points(s->guessing)};
}

static bool takes_part(const Study *s, Role role, int variant)
{
    return role != ROLE_LONG || variant == s->pair[0].a || variant == s->pair[0].b;
}

static Rounds find_rounds(const Study *s, Role role)
{
    Rounds r = {0};
    r.of = xalloc((size_t)(s->nrun + 1) * (size_t)s->nvariant * sizeof *r.of);
    for (int i = 0; i < s->nrun; i++) {
        if (s->run[i].role != role || (i && s->run[i - 1].role == role && s->run[i - 1].seed == s->run[i].seed))
            continue;
        Counted *of = r.of + (size_t)r.n * (size_t)s->nvariant;
        bool whole = true;
        for (int v = 0; v < s->nvariant && whole; v++) {
            const Training *first = NULL;
            const int n = trainings_of(s, role, s->run[i].seed, v, &first);
            whole = n == ROUND_RATES || !takes_part(s, role, v);
            of[v] = n == ROUND_RATES ? counted(s, first, n) : (Counted){0};
        }
        if (whole)
            *PUSH(r.seed, r.n) = s->run[i].seed;
    }
    return r;
}

/* ---- a pair at each rate ---- */

static AtRate *rate_of(Comparison *c, double rate)
{
    for (int i = 0; i < c->nrate; i++)
        if (one_rate(c->rate[i].rate, rate))
            return &c->rate[i];
    AtRate *at = PUSH(c->rate, c->nrate);
    *at = (AtRate){.rate = rate};
    return at;
}

static int by_rate(const void *a, const void *b)
{
    const AtRate *s = a, *t = b;
    return s->rate < t->rate ? -1 : s->rate > t->rate;
}

/* Both variants' trainings at one rate, seed by seed. */
static void fill_rate(const Study *s, Role role, const Comparison *c, AtRate *to)
{
    double *diff = xalloc((size_t)(s->nrun + 1) * sizeof *diff);
    for (int i = 0; i < s->nrun; i++) {
        const Training *a = &s->run[i];
        if (a->variant != c->pair.a || !one_rate(a->rate, to->rate) || (a->role == ROLE_LONG) != (role == ROLE_LONG))
            continue;
        for (int k = 0; k < s->nrun; k++) {
            const Training *b = &s->run[k];
            if (b->variant != c->pair.b || b->role != a->role || b->seed != a->seed || !one_rate(b->rate, to->rate))
                continue;
            diff[to->n++] = test_points(s, b) - test_points(s, a);
            to->diverged_a += a->diverged;
            to->diverged_b += b->diverged;
        }
    }
    to->at = (Interval){.mean = mean_of(diff, to->n), .sd = sd_of(diff, to->n), .level = PLANNED};
    to->has_interval = to->n >= 3 && to->at.sd > 0;
    if (to->has_interval)
        to->at = t_interval(diff, to->n, PLANNED, s->overlap);
}

static void fill_rates(const Study *s, Role role, Comparison *c)
{
    for (int i = 0; i < s->nrun; i++)
        if (s->run[i].variant == c->pair.a && (s->run[i].role == ROLE_LONG) == (role == ROLE_LONG))
            rate_of(c, s->run[i].rate);
    for (int i = 0; i < c->nrate; i++)
        fill_rate(s, role, c, &c->rate[i]);
    int kept = 0;
    for (int i = 0; i < c->nrate; i++)
        if (c->rate[i].n)
            c->rate[kept++] = c->rate[i];
    c->nrate = kept;
    if (kept)
        qsort(c->rate, (size_t)kept, sizeof *c->rate, by_rate);
}

/* ---- a pair ---- */

static double mean_score(const double *x, int n, double none)
{
    return n ? mean_of(x, n) : none;
}

/* For other test rows like these: what each round's two trainings answer right, row by row. */
static void fill_others(const Study *s, const Rounds *r, Comparison *c, double level)
{
    const size_t rows = (size_t)s->rows;
    unsigned char *a = xalloc(rows), *b = xalloc(rows);
    RowSums *sum = xalloc(rows * sizeof *sum);
    if (!keeps_answers(s) || c->n < 3 || !c->verdict.has_interval)
        return;
    memset(sum, 0, rows * sizeof *sum);
    for (int i = 0; i < r->n; i++) {
        const Counted *of = r->of + (size_t)i * (size_t)s->nvariant;
        const Training *one = of[c->pair.a].run, *two = of[c->pair.b].run;
        if (!one || !two || !one->answers || !two->answers || !answers_read(one->answers, s->rows, a) ||
            !answers_read(two->answers, s->rows, b))
            return;
        for (size_t k = 0; k < rows; k++) {
            sum[k].sum += b[k] - a[k];
            sum[k].squares += b[k] != a[k];
        }
    }
    const double image = points(points(rows_variance(sum, s->rows, c->n)));
    c->others = rows_interval(c->diff, c->n, level, image, s->rows);
    c->has_others = true;
}

static Comparison compare(const Study *s, const Rounds *r, Role role, Pair pair, double level, double next_level)
{
    Comparison c = {.pair = pair, .n = r->n};
    double *a = xalloc((size_t)(r->n + 1) * sizeof *a), *b = xalloc((size_t)(r->n + 1) * sizeof *b);
    Question q = {.a = s->variant[pair.a].name, .b = s->variant[pair.b].name};
    c.diff = xalloc((size_t)(r->n + 1) * sizeof *c.diff);
    for (int i = 0; i < r->n; i++) {
        const Counted *of = r->of + (size_t)i * (size_t)s->nvariant;
        a[i] = of[pair.a].score;
        b[i] = of[pair.b].score;
        c.diff[i] = b[i] - a[i];
        q.failed_a += !of[pair.a].run;
        q.failed_b += !of[pair.b].run;
    }
    c.correlation = correlation(a, b, r->n);
    q.diff = c.diff;
    q.n = r->n;
    q.score_a = mean_score(a, r->n, points(s->guessing));
    q.score_b = mean_score(b, r->n, points(s->guessing));
    q.margin = s->margin;
    q.level = level;
    q.next_level = next_level;
    q.again = s->overlap;
    q.guessing = points(s->guessing);
    q.rows = (double)s->rows;
    q.score_rows = score_rows(s);
    q.where = xprintf("%s, at %d epochs",
                      s->overlap > 0 ? "on rows like these" : xprintf("on these %lld test rows", (long long)s->rows),
                      s->epochs * (role == ROLE_LONG ? 2 : 1));
    c.verdict = decide(&q);
    if (s->overlap > 0 && c.verdict.has_interval)
        c.here = t_interval(c.diff, c.n, level, 0);
    fill_others(s, r, &c, level);
    fill_rates(s, role, &c);
    return c;
}

/* ---- rates ---- */

double grid_rate(const Study *s, int power)
{
    return s->rate * pow(s->factor, power);
}

static int power_of(const Study *s, double rate)
{
    return (int)lround(log(rate / s->rate) / log(s->factor));
}

static int by_score_rate(const void *a, const void *b)
{
    const RateScore *s = a, *t = b;
    return s->rate < t->rate ? -1 : s->rate > t->rate;
}

int screen_scores(const Study *s, int variant, RateScore **to)
{
    int n = 0;
    *to = NULL;
    for (int i = 0; i < s->nrun; i++) {
        const Training *t = &s->run[i];
        if (t->role != ROLE_SCREEN || t->variant != variant)
            continue;
        int k = 0;
        while (k < n && !one_rate((*to)[k].rate, t->rate))
            k++;
        if (k == n)
            *PUSH(*to, n) = (RateScore){.rate = t->rate};
        RateScore *at = &(*to)[k];
        const double from = valid_points(s, t) - at->score;
        at->score += from / ++at->n;
        at->squares += from * (valid_points(s, t) - at->score);
        at->diverged += t->diverged;
    }
    if (n)
        qsort(*to, (size_t)n, sizeof **to, by_score_rate);
    return n;
}

/* The spread of one training's validation score: between the screen's seeds where there are several, else that of so
 * many rows. */
static double run_sd(const Study *s, double best)
{
    double sum = 0;
    int freedom = 0;
    for (int v = 0; v < s->nvariant; v++) {
        RateScore *at;
        const int n = screen_scores(s, v, &at);
        for (int i = 0; i < n; i++) {
            if (at[i].diverged)
                continue;
            sum += at[i].squares;
            freedom += at[i].n - 1;
        }
    }
    const double share = best / 100;
    return freedom ? sqrt(sum / freedom) : 100 * sqrt(share * (1 - share) / score_rows(s));
}

static double median_score(const RateScore *at, int n)
{
    double sorted[64] = {0};
    if (n > 64)
        BUG("%d rates in a screen", n);
    for (int i = 0; i < n; i++) {
        int k = i;
        for (; k > 0 && sorted[k - 1] > at[i].score; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = at[i].score;
    }
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

enum { PARABOLA_SIDE = 2 }; /* rates of a parabola to either side of the best */
#define PARABOLA                                                                                                       \
    4 /* over five equidistant rates a parabola's ends are so many times as far below its top as its median */

int screen_centre(const Study *s, int variant, int *more, int *edge)
{
    RateScore *at;
    const int n = screen_scores(s, variant, &at);
    int best = 0, learned = 0;
    double x[64], y[64], top;
    *more = *edge = 0;
    for (int i = 0; i < n; i++) {
        learned += at[i].diverged < at[i].n;
        if (at[i].score > at[best].score)
            best = i;
    }
    if (!n || !learned)
        return 0;
    /* The parabola goes through the best rate and two to either side: far from the top a curve is none. A rate at which
     * trainings fail is far below any parabola through the others: it is lifted to where one could be. */
    const int from = best < PARABOLA_SIDE ? 0 : best - PARABOLA_SIDE,
              to = best + PARABOLA_SIDE < n ? best + PARABOLA_SIDE + 1 : n;
    const double floor_at = at[best].score - PARABOLA * (at[best].score - median_score(at + from, to - from));
    for (int i = from; i < to; i++) {
        x[i] = power_of(s, at[i].rate);
        y[i] = at[i].score > floor_at ? at[i].score : floor_at;
    }
    int centre = (int)x[best];
    if (parabola_top(x + from, y + from, to - from, &top))
        centre = (int)lround(top < x[from] ? x[from] : top > x[to - 1] ? x[to - 1] : top);
    /* At an edge: is that one worse than the best by a run's sd? */
    const int lowest = power_of(s, at[0].rate), highest = power_of(s, at[n - 1].rate);
    const double sd = run_sd(s, at[best].score);
    const bool low = (centre == lowest || best == 0) && at[0].score > at[best].score - sd;
    const bool high = (centre == highest || best == n - 1) && at[n - 1].score > at[best].score - sd;
    *edge = low ? -1 : high ? 1 : 0;
    if (low && lowest > -(SCREEN_RATES / 2) - MOST_EXTENDED)
        *more = -1;
    else if (high && highest < SCREEN_RATES / 2 + MOST_EXTENDED)
        *more = 1;
    return centre;
}

static Summary summary(const Study *s, const Rounds *r, int v)
{
    Summary sum = {0};
    int more;
    double *score = xalloc((size_t)(r->n + 1) * sizeof *score);
    for (int i = 0; i < r->n; i++) {
        const Counted *c = &r->of[(size_t)i * (size_t)s->nvariant + (size_t)v];
        score[i] = c->score;
        sum.failed += !c->run;
    }
    sum.mean = mean_of(score, r->n);
    sum.sd = sd_of(score, r->n);
    for (int i = 0; i < s->nrun; i++)
        if (s->run[i].variant == v) {
            sum.trained++;
            sum.diverged += s->run[i].diverged;
        }
    RateScore *at;
    if (screen_scores(s, v, &at) >= ROUND_RATES)
        sum.centre = grid_rate(s, screen_centre(s, v, &more, &sum.edge));
    return sum;
}

/* ---- all ---- */

static bool claims(const Verdict *v)
{
    return v->better != 0;
}

Analysis *analyse(const Study *s)
{
    Analysis *a = xalloc(sizeof *a);
    a->s = s;
    a->rounds = find_rounds(s, ROLE_COUNT);
    a->longer = find_rounds(s, ROLE_LONG);
    a->interim = a->rounds.n < seeds_planned(s);
    a->level = a->interim ? INTERIM : s->nextension ? EXTENDED : PLANNED;
    /* what more seeds would be judged by: those still planned by their end's level, else an extension */
    const double next = a->interim && !s->nextension ? PLANNED : EXTENDED;
    a->pair = xalloc((size_t)s->npair * sizeof *a->pair);
    a->variant = xalloc((size_t)s->nvariant * sizeof *a->variant);
    for (int i = 0; i < s->npair; i++) {
        const int k = i ? s->npair - 1 : 1; /* all but the primary hold together */
        a->pair[i] = compare(s, &a->rounds, ROLE_COUNT, s->pair[i], simultaneous(a->level, k), simultaneous(next, k));
        const Verdict *v = &a->pair[i].verdict;
        a->null_claimed += s->pair[i].kind == PAIR_NULL && claims(v);
        a->positive_missed += s->pair[i].kind == PAIR_POSITIVE && !a->interim && v->better != 1;
    }
    if (a->longer.n) {
        a->again = xalloc(sizeof *a->again);
        *a->again = compare(s, &a->longer, ROLE_LONG, s->pair[0], a->longer.n < s->longer ? INTERIM : PLANNED, PLANNED);
    }
    for (int v = 0; v < s->nvariant; v++)
        a->variant[v] = summary(s, &a->rounds, v);
    return a;
}
