/* test_decide.c - the verdict of a pair: each sentence, its order, and that swapped names mirror it. */
#include "decide.h"
#include "test_study.h"

#include <math.h>
#include <string.h>

static Question question(const double *diff, int n)
{
    return (Question){.a = "before",
                      .b = "after",
                      .diff = diff,
                      .n = n,
                      .score_a = 90,
                      .score_b = 90 + mean_of(diff, n),
                      .margin = .5,
                      .level = .95,
                      .next_level = .995,
                      .guessing = 10,
                      .rows = 10000,
                      .score_rows = 10000,
                      .where = "here"};
}

/* n differences with that mean and sd: half above, half below. */
static const double *spread(int n, double mean, double sd)
{
    double *x = xalloc((size_t)n * sizeof *x);
    for (int i = 0; i < n; i++)
        x[i] = mean + sd * (i % 2 ? 1 : -1) * sqrt((n - 1.) / n);
    return x;
}

START_TEST(sentences)
{
    static const struct {
        double mean, sd;
        Answer answer;
        int better;
        const char *says;
    } cases[] = {
        {.8, .6, ANSWER_BETTER, 1,
         "after is better than before by 0.80 points (0.37 to 1.23), in 10 of 10 seeds, here."},
        {-.8, .6, ANSWER_BETTER, -1,
         "before is better than after by 0.80 points (0.37 to 1.23), in 10 of 10 seeds, here."},
        {.2, .1, ANSWER_SLIGHTLY, 1,
         "after is better than before by 0.20 points (0.13 to 0.27), here: less than the 0.5 that was said to matter. "
         "Choose by cost."},
        {-.2, .1, ANSWER_SLIGHTLY, -1,
         "before is better than after by 0.20 points (0.13 to 0.27), here: less than the 0.5 that was said to matter. "
         "Choose by cost."},
        {-.05, .35, ANSWER_EQUAL, 0,
         "before and after differ by less than 0.5 points (-0.30 to 0.20), here. Choose by cost."},
        {.35, 1, ANSWER_UNCLEAR, 0,
         "Cannot tell: after minus before is somewhere between -0.37 and 1.07 points, here. About 131 seeds in all "
         "would tell (there are 10)."},
        {.4, .3, ANSWER_BETTER, 1,
         "after is better than before by 0.40 points (0.19 to 0.61), in 10 of 10 seeds, here."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Question q = question(spread(10, cases[i].mean, cases[i].sd), 10);
        const Verdict v = decide(&q);
        ck_assert_str_eq(v.sentence, cases[i].says);
        ck_assert_int_eq(v.answer, cases[i].answer);
        ck_assert_int_eq(v.better, cases[i].better);
        ck_assert(v.has_interval);
    }
}
END_TEST

/* What comes before an interval is looked at. */
START_TEST(no_interval)
{
    const double *x = spread(10, .8, .6);
    Question q = question(x, 2);
    ck_assert_str_eq(decide(&q).sentence, "No verdict yet: an interval needs 3 seeds at the least, and 2 are done.");
    ck_assert_int_eq(decide(&q).answer, ANSWER_FEW);
    q.n = 0;
    ck_assert_int_eq(decide(&q).answer, ANSWER_FEW);

    q = question(x, 10);
    q.score_a = 9.8, q.score_b = 10.89;
    ck_assert_str_eq(decide(&q).sentence, "Nothing was learned: the better score, 10.89, is not clearly above the "
                                          "10.00 of always saying the largest class, here.");
    q.score_b = 10.91; /* 3 sqrt(.1 .9 / 10000) = .9 points */
    ck_assert_int_eq(decide(&q).answer, ANSWER_BETTER);

    q = question(x, 10);
    q.failed_b = 3;
    ck_assert_str_eq(decide(&q).sentence, "before failed in 0 of 10 seeds, after in 3: every rate diverged there, so "
                                          "no interval is drawn. Sign flips: p = 0.00195. after is better.");
    q.n = 7;
    ck_assert_str_eq(decide(&q).sentence,
                     "before failed in 0 of 7 seeds, after in 3: every rate diverged there, so no interval is drawn.");
    ck_assert(!decide(&q).has_interval);

    const double same[] = {.25, .25, .25, .25}, zero[4] = {0};
    q = question(zero, 4);
    ck_assert_str_eq(decide(&q).sentence, "before and after gave the same score in each of 4 seeds, here: they may be "
                                          "one function. No interval is drawn.");
    q = question(same, 4);
    ck_assert_str_eq(
        decide(&q).sentence,
        "after minus before is 0.25 points in each of 4 seeds, here: differences that do not vary have no interval.");
    ck_assert_int_eq(decide(&q).better, 0);
}
END_TEST

START_TEST(too_easy)
{
    Question q = question(spread(10, .05, .1), 10);
    q.score_a = 97.9, q.score_b = 97.95;
    ck_assert_int_eq(decide(&q).answer, ANSWER_EQUAL); /* an error of 2.05 is more than four margins */
    q.score_b = 98.05;
    ck_assert_str_eq(decide(&q).sentence, "Too easy: after has an error of 1.95 points, here, so that 0.5 points say "
                                          "little. The difference is -0.02 to 0.12.");
    q = question(spread(10, .2, .1), 10);
    q.score_b = 99;
    ck_assert_int_eq(decide(&q).answer, ANSWER_EASY); /* that it is less than the margin is not claimed either */
    ck_assert_int_eq(decide(&q).better, 0);
    q = question(spread(10, 1, .1), 10);
    q.score_b = 99;
    ck_assert_int_eq(decide(&q).answer, ANSWER_BETTER); /* but more than the margin is more than the margin */
}
END_TEST

/* Where folds are drawn from one pool, no number of seeds makes the interval smaller than half an sd of a split. */
START_TEST(rows_or_seeds)
{
    Question q = question(spread(10, .1, 1.3), 10);
    q.again = .25;
    q.rows = 400;
    q.next_level = .95;
    const Verdict v = decide(&q);
    ck_assert_int_eq(v.answer, ANSWER_UNCLEAR);
    ck_assert_int_eq(v.runs, 0);
    ck_assert_double_eq_tol(v.rows, 11000, 1); /* 400 (2 1.96 1.3 .5 / .5)^2 = 10388 */
    ck_assert_ptr_nonnull(strstr(v.sentence, "More seeds will not help: about 11000 test rows would."));
    q.margin = 3; /* then seeds do */
    q.score_a = q.score_b = 70;
    const double far[] = {-3, 4.5, 1};
    q.diff = far;
    q.n = 3;
    q.again = .01;
    const Verdict w = decide(&q);
    ck_assert_int_eq(w.answer, ANSWER_UNCLEAR);
    ck_assert_int_gt(w.runs, 3);
    ck_assert_double_eq(w.rows, 0);
}
END_TEST

static double draw(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) / 16777216.;
}

/* Any pair: swapping the names mirrors answer, interval, counts; an interval no wider than the margin has an answer. */
START_TEST(mirror)
{
    unsigned state = 7;
    int seen[ANSWERS] = {0};
    for (int i = 0; i < 20000; i++) {
        double diff[24], back[24];
        const int n = (int)(draw(&state) * (i % 200 ? 14 : 24)); /* 2^n ways of signs */
        const double at = (draw(&state) - .5) * 3, sd = draw(&state) < .1 ? 0 : draw(&state) * 2;
        for (int k = 0; k < n; k++) {
            diff[k] = at + sd * (draw(&state) + draw(&state) - 1);
            back[k] = -diff[k];
        }
        Question q = question(diff, n), r = q;
        q.margin = r.margin = .1 + draw(&state);
        q.score_a = r.score_b = draw(&state) < .1 ? 10 : draw(&state) < .1 ? 98.5 : 90;
        q.score_b = r.score_a = q.score_a + mean_of(diff, n);
        q.failed_a = r.failed_b = draw(&state) < .03;
        q.again = r.again = draw(&state) < .2 ? .25 : 0;
        r.a = q.b, r.b = q.a, r.diff = back;
        const Verdict v = decide(&q), w = decide(&r);
        seen[v.answer]++;
        ck_assert_int_eq(v.answer, w.answer);
        ck_assert_int_eq(v.better, -w.better);
        ck_assert_int_eq(v.won, w.lost);
        ck_assert_double_eq(v.at.mean, -w.at.mean);
        ck_assert_double_eq(v.at.lo, -w.at.hi);
        ck_assert_int_eq(v.runs, w.runs);
        ck_assert((isnan(v.flips) && isnan(w.flips)) || v.flips == w.flips);
        if (v.answer == ANSWER_BETTER || v.answer == ANSWER_SLIGHTLY)
            ck_assert_str_eq(v.sentence, w.sentence);
        if (v.has_interval && v.at.hi - v.at.lo <= q.margin)
            ck_assert_int_ne(v.answer, ANSWER_UNCLEAR);
    }
    for (int a = 0; a < ANSWERS; a++)
        ck_assert_msg(seen[a] > 20, "%s: seen %d times", answer_names[a], seen[a]);
}
END_TEST

START_TEST(digits)
{
    ck_assert_str_eq(points_text(.8, .5), "0.80");
    ck_assert_str_eq(points_text(.0004, .5), "0.0004");
    ck_assert_str_eq(points_text(-.0004, .5), "-0.0004");
    ck_assert_str_eq(points_text(.4996, .5), "0.4996");
    ck_assert_str_eq(points_text(.5, .5), "0.50");
    ck_assert_str_eq(points_text(-1e-12, .5), "0.000000");
    ck_assert_str_eq(points_text(0, .5), "0.00");
}
END_TEST

TCase *decide_tests(void)
{
    TCase *c = tcase_create("verdict");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, sentences);
    tcase_add_test(c, no_interval);
    tcase_add_test(c, too_easy);
    tcase_add_test(c, rows_or_seeds);
    tcase_add_test(c, mirror);
    tcase_add_test(c, digits);
    return c;
}
