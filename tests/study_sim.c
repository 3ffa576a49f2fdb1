/* study_sim.c - studies that are drawn, with response curves and tuning, through the code that decides real ones: how
 * often a difference is claimed where there is none, and how often one is found, or shown to be small, where it is so.
 *
 *     study_sim [--count N] [--seed S]
 *
 * A run's sd is .25 points, the correlation over seeds .72; score over log2(rate) is a parabola that falls by .4 or .16
 * points an octave squared, the two tops 0, half or 1 octave apart, anywhere between two rates of the grid. Bounds: at
 * most 8 % false claims of 4,000 studies; of fewer, what 8 % gives in 999 of 1,000 cases. */
#include "analyse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static double uniform(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992. + 1e-17;
}

static double normal(void)
{
    const double r = sqrt(-2 * log(uniform()));
    return r * cos(6.283185307179586 * uniform());
}

typedef struct World {
    double sd, correlation, steep[2], top[2], difference; /* tops in octaves from the grid's middle */
} World;

enum { ROWS = 10000, BEST = 90 };

static void train(Study *s, const World *w, int variant, Role role, int64_t seed, int power, const double common[2])
{
    const double u = power - w->top[variant], at = BEST + variant * w->difference - w->steep[variant] * u * u;
    const double shared = sqrt(w->correlation), own = sqrt(1 - w->correlation), e = normal();
    const double test = at + w->sd * (shared * common[0] + own * e);
    /* the same training on other rows: partly the same luck */
    const double valid = at + w->sd * (shared * common[1] + own * (.5 * e + sqrt(.75) * normal()));
    const int64_t correct = llround(test * ROWS / 100);
    *PUSH(s->run, s->nrun) = (Training){.variant = variant,
                                        .epochs = 6,
                                        .role = role,
                                        .seed = seed,
                                        .rate = grid_rate(s, power),
                                        .valid = round(valid * 100) / 10000,
                                        .test = (double)correct / ROWS,
                                        .train_loss = .3,
                                        .test_loss = .3,
                                        .correct = correct,
                                        .rows = ROWS};
}

static void common_luck(double to[2])
{
    to[0] = normal();
    to[1] = .5 * to[0] + sqrt(.75) * normal();
}

/* A study as `convoy study` makes it: two screening seeds, the grid extended where it says so, then rounds. */
static Analysis *study(const World *w, int seeds, double margin)
{
    Study *s = xalloc(sizeof *s);
    *s = (Study){.name = "drawn",
                 .network = "",
                 .data = "",
                 .target = "",
                 .fingerprint = "",
                 .score = "",
                 .nvariant = 2,
                 .npair = 1,
                 .margin = margin,
                 .guessing = .1,
                 .classes = 10,
                 .epochs = 6,
                 .rows = ROWS,
                 .screens = 2,
                 .seeds = seeds,
                 .rate = .2,
                 .factor = 2};
    s->variant = xalloc(2 * sizeof *s->variant);
    s->variant[0] = (Variant){"a", ""};
    s->variant[1] = (Variant){"b", ""};
    s->pair = xalloc(sizeof *s->pair);
    *s->pair = (Pair){0, 1, PAIR_PRIMARY};
    double luck[64][2];
    int lo[2] = {-2, -2}, hi[2] = {2, 2}, centre[2];
    for (int seed = 0; seed < s->screens; seed++) {
        common_luck(luck[seed]);
        for (int v = 0; v < 2; v++)
            for (int p = lo[v]; p <= hi[v]; p++)
                train(s, w, v, ROLE_SCREEN, seed, p, luck[seed]);
    }
    for (int v = 0; v < 2; v++)
        for (int more = 1, edge; more;) {
            study_sort(s);
            centre[v] = screen_centre(s, v, &more, &edge);
            const int p = more < 0 ? --lo[v] : more > 0 ? ++hi[v] : 0;
            for (int seed = 0; more && seed < s->screens; seed++)
                train(s, w, v, ROLE_SCREEN, seed, p, luck[seed]);
        }
    for (int seed = 0; seed < seeds; seed++) {
        double round_luck[2];
        common_luck(round_luck);
        for (int v = 0; v < 2; v++)
            for (int p = centre[v] - 1; p <= centre[v] + 1; p++)
                train(s, w, v, ROLE_COUNT, 10 + seed, p, round_luck);
    }
    study_sort(s);
    return analyse(s);
}

static int passed, failed;

static void bound(bool ok, const char *what, int seen, int of, const char *bound_text)
{
    printf("%-7s %s: %.1f %% of %d (%s)\n", ok ? "ok" : "FAILED", what, 100. * seen / of, of, bound_text);
    *(ok ? &passed : &failed) += 1;
}

/* How many of n are seen at most, or at least, in 999 of 1,000 cases where the share is p. */
static double most_of(int n, double p)
{
    return n * p + 3.1 * sqrt(n * p * (1 - p)) + .5;
}

static double least_of(int n, double p)
{
    return n * p - 3.1 * sqrt(n * p * (1 - p)) - .5;
}

static const World usual = {.sd = .25, .correlation = .72};

static World draw_world(int i, double difference)
{
    static const double steep[2] = {.4, .16}, apart[3] = {0, .5, 1};
    World w = usual;
    w.steep[0] = w.steep[1] = steep[i % 2];
    w.top[0] = uniform() - .5;
    w.top[1] = w.top[0] + apart[i / 2 % 3] * (uniform() < .5 ? -1 : 1);
    w.difference = difference;
    return w;
}

/* No difference at each variant's best rate: how often is one claimed? And mirrored names must mirror the verdict. */
static void false_claims(int count)
{
    int claims = 0, by_scenario[6] = {0};
    for (int i = 0; i < count; i++) {
        const PoolMark m = pool_mark();
        const World w = draw_world(i, 0);
        const Analysis *a = study(&w, 10, .3);
        const bool claim = a->pair[0].verdict.better != 0;
        claims += claim;
        by_scenario[i % 6] += claim;
        pool_release(m);
    }
    bound(count >= 4000 ? claims <= .08 * count : claims <= most_of(count, .08),
          "claimed where there is none, tuned, 10 seeds", claims, count, "at most 8 %");
    for (int k = 0; k < 6; k++)
        printf("        steepness %s, tops %s octaves apart: %.1f %%\n", k % 2 ? ".16" : ".4",
               k / 2 == 0   ? "0"
               : k / 2 == 1 ? ".5"
                            : "1",
               600. * by_scenario[k] / count);
}

/* The design that must fail: the rate is tuned once, by one seed, and the counted seeds are trained at it. If this were
 * not noticed, the worlds above would be too kind. */
static void tuned_once(int count)
{
    int claims = 0;
    for (int i = 0; i < count; i++) {
        const PoolMark m = pool_mark();
        const World w = draw_world(i, 0);
        Study s = {.rate = .2, .factor = 2};
        double luck[2], score[2], diff[10];
        int best[2];
        common_luck(luck);
        for (int v = 0; v < 2; v++) {
            for (int p = -2; p <= 2; p++)
                train(&s, &w, v, ROLE_SCREEN, 0, p, luck);
            best[v] = -2;
            for (int p = -2; p <= 2; p++)
                if (s.run[v * 5 + p + 2].valid > s.run[v * 5 + best[v] + 2].valid)
                    best[v] = p;
        }
        for (int seed = 0; seed < 10; seed++) {
            common_luck(luck);
            for (int v = 0; v < 2; v++) {
                train(&s, &w, v, ROLE_COUNT, seed, best[v], luck);
                score[v] = 100 * s.run[s.nrun - 1].test;
            }
            diff[seed] = score[1] - score[0];
        }
        const Interval at = t_interval(diff, 10, .95, 0);
        claims += at.lo > 0 || at.hi < 0;
        pool_release(m);
    }
    bound(claims > .12 * count, "claimed where there is none, tuned once: the design that is not used", claims, count,
          "more than 12 %, or these worlds are too kind");
}

static void found(int count)
{
    int seen = 0, mirrored = 0;
    for (int i = 0; i < count; i++) {
        const PoolMark m = pool_mark();
        const World w = draw_world(i, .3);
        const uint64_t before = state;
        const Verdict v = study(&w, 10, .3)->pair[0].verdict;
        /* the same draws with the pair named the other way round */
        state = before;
        Analysis *a = study(&w, 10, .3);
        Study swapped = *a->s;
        Pair back = {1, 0, PAIR_PRIMARY};
        swapped.pair = &back;
        const Verdict r = analyse(&swapped)->pair[0].verdict;
        mirrored += v.answer == r.answer && v.better == -r.better && v.at.lo == -r.at.hi;
        seen += v.better == 1;
        pool_release(m);
    }
    bound(seen >= least_of(count, .9), "a difference of .3 found, tuned, 10 seeds", seen, count, "at least 90 %");
    bound(mirrored == count, "mirrored by swapped names", mirrored, count, "all");
}

/* Without tuning, at an sd of the differences of .25: the figures that docs/study.md promises. */
static Answer plain(int n, double difference, double margin, int *better)
{
    double diff[64];
    for (int i = 0; i < n; i++)
        diff[i] = difference + .25 * normal();
    const Question q = {.a = "a",
                        .b = "b",
                        .diff = diff,
                        .n = n,
                        .score_a = BEST,
                        .score_b = BEST,
                        .margin = margin,
                        .level = .95,
                        .next_level = .995,
                        .guessing = 10,
                        .rows = ROWS,
                        .score_rows = ROWS,
                        .where = "here"};
    const Verdict v = decide(&q);
    *better = v.better;
    return v.answer;
}

static void untuned(int count)
{
    int claims = 0, power = 0, equal = 0, better;
    for (int i = 0; i < count; i++) {
        const PoolMark m = pool_mark();
        plain(10, 0, .3, &better);
        claims += better != 0;
        plain(10, .3, .3, &better);
        power += better == 1;
        const Answer a = plain(12, 0, .3, &better);
        equal += a == ANSWER_EQUAL || a == ANSWER_SLIGHTLY; /* either says: less than .3 */
        pool_release(m);
    }
    bound(claims <= most_of(count, .05), "claimed where there is none, untuned", claims, count, "at most 5 %");
    bound(power >= least_of(count, .9), "a difference of .3 found, untuned, 10 seeds", power, count, "at least 90 %");
    bound(equal >= least_of(count, .9), "shown to be less than .3, untuned, 12 seeds", equal, count, "at least 90 %");
}

/* A look after 4 and after 7 rounds at 99.9 %, the planned end at 95 %, and where that cannot tell 10 more seeds
 * at 99.5 %. */
static void looks(int count)
{
    int claims = 0;
    for (int i = 0; i < count; i++) {
        double diff[20];
        bool claim = false;
        for (int n = 1; n <= 20; n++) {
            diff[n - 1] = .25 * normal();
            const double level = n == 4 || n == 7 ? .999 : n == 10 ? .95 : n == 20 ? .995 : 0;
            if (level == 0 || claim)
                continue;
            const Interval at = t_interval(diff, n, level, 0);
            claim = at.lo > 0 || at.hi < 0;
        }
        claims += claim;
    }
    bound(claims <= most_of(count, .06), "claimed in any of two looks, the planned end, an extension", claims, count,
          "at most 6 %");
}

int main(int argc, char **argv)
{
    int count = 400;
    state = 1;
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--count") == 0)
            count = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0)
            state = (uint64_t)atoll(argv[i + 1]);
    false_claims(count);
    tuned_once(count);
    found(count);
    untuned(count);
    looks(count);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
