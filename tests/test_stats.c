/* test_stats.c - the statistics of studies against published tables, and against sums done the long way. */
#include "stats.h"
#include "test_study.h"

#include <math.h>

/* Percentage points of Student's t: Abramowitz and Stegun, Handbook of Mathematical Functions, table 26.10. */
START_TEST(table_of_t)
{
    static const double p[] = {.75, .9, .95, .975, .99, .995, .9995};
    static const struct {
        double df, t[7];
    } row[] = {
        {1, {1.000, 3.078, 6.314, 12.706, 31.821, 63.657, 636.619}},
        {2, {.816, 1.886, 2.920, 4.303, 6.965, 9.925, 31.598}},
        {3, {.765, 1.638, 2.353, 3.182, 4.541, 5.841, 12.924}},
        {4, {.741, 1.533, 2.132, 2.776, 3.747, 4.604, 8.610}},
        {5, {.727, 1.476, 2.015, 2.571, 3.365, 4.032, 6.869}},
        {7, {.711, 1.415, 1.895, 2.365, 2.998, 3.499, 5.408}},
        {9, {.703, 1.383, 1.833, 2.262, 2.821, 3.250, 4.781}},
        {10, {.700, 1.372, 1.812, 2.228, 2.764, 3.169, 4.587}},
        {11, {.697, 1.363, 1.796, 2.201, 2.718, 3.106, 4.437}},
        {19, {.688, 1.328, 1.729, 2.093, 2.539, 2.861, 3.883}},
        {30, {.683, 1.310, 1.697, 2.042, 2.457, 2.750, 3.646}},
        {120, {.677, 1.289, 1.658, 1.980, 2.358, 2.617, 3.373}},
        {1e6, {.674, 1.282, 1.645, 1.960, 2.326, 2.576, 3.291}},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int k = 0; k < 7; k++) {
            const double t = t_quantile(p[k], row[i].df);
            ck_assert_msg(fabs(t - row[i].t[k]) < .0006 || (row[i].df == 2 && k == 6 && fabs(t - 31.599) < .0006),
                          "t(%g, %g) = %.6f, the table has %.3f", p[k], row[i].df, t, row[i].t[k]);
            ck_assert_double_eq_tol(t_cdf(t, row[i].df), p[k], row[i].df > 1000 ? 1e-10 : 1e-12);
            ck_assert_double_eq_tol(t_quantile(1 - p[k], row[i].df), -t, 1e-9 * t);
        }
    ck_assert_double_eq(t_quantile(.5, 7), 0);
    ck_assert_double_eq(t_cdf(0, 7), .5);
}
END_TEST

/* With 1 and 2 degrees of freedom t has a closed form; with a = 1 or b = 1, and where x = 1/2, so has the beta
 * function. */
START_TEST(closed_forms)
{
    const double pi = 3.14159265358979323846;
    for (double t = -40; t <= 40; t += .37) {
        ck_assert_double_eq_tol(t_cdf(t, 1), .5 + atan(t) / pi, 1e-13);
        ck_assert_double_eq_tol(t_cdf(t, 2), .5 + t / (2 * sqrt(2 + t * t)), 1e-13);
    }
    for (double a = .25; a < 300; a *= 1.7)
        for (double x = 0; x <= 1; x += .0625) {
            ck_assert_double_eq_tol(incomplete_beta(a, 1, x), pow(x, a), 1e-12);
            ck_assert_double_eq_tol(incomplete_beta(1, a, x), 1 - pow(1 - x, a), 1e-12);
            ck_assert_double_eq_tol(incomplete_beta(a, a, .5), .5, 1e-12);
            ck_assert_double_eq_tol(incomplete_beta(a, 3, x) + incomplete_beta(3, a, 1 - x), 1, 1e-12);
        }
}
END_TEST

/* Student's own data (1908): hours of sleep gained with each of two drugs, ten patients. */
START_TEST(students_sleep)
{
    static const double a[] = {.7, -1.6, -.2, -1.2, -.1, 3.4, 3.7, .8, 0, 2},
                        b[] = {1.9, .8, 1.1, .1, -.1, 4.4, 5.5, 1.6, 4.6, 3.4};
    double d[10];
    for (int i = 0; i < 10; i++)
        d[i] = b[i] - a[i];
    const Interval at = t_interval(d, 10, .95, 0);
    ck_assert_double_eq_tol(at.mean, 1.58, 1e-12);
    ck_assert_double_eq_tol(at.sd, 1.2299955, 1e-7);
    ck_assert_double_eq_tol(at.lo, .7001142, 1e-7);
    ck_assert_double_eq_tol(at.hi, 2.4598858, 1e-7);
    ck_assert_double_eq_tol(correlation(a, b, 10), .7951702, 1e-7);
    /* nine differences are above zero and one is zero: of 2^10 ways 4 are as far */
    ck_assert_double_eq(sign_flip_p(d, 10), 4. / 1024);
}
END_TEST

/* Fisher's exact test on Darwin's maize (The Design of Experiments, 1935, section 21): of 32768 ways, 863 sums are as
 * large as the one that was seen, 1726 on both sides. */
START_TEST(darwins_maize)
{
    static const double d[] = {49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48};
    double tenth[15], other[15];
    ck_assert_double_eq(sign_flip_p(d, 15), 1726. / 32768);
    for (int i = 0; i < 15; i++) {
        tenth[i] = d[i] / 10; /* sums that are equal but for rounding count as equal */
        other[14 - i] = -d[i];
    }
    ck_assert_double_eq(sign_flip_p(tenth, 15), 1726. / 32768);
    ck_assert_double_eq(sign_flip_p(other, 15), 1726. / 32768);
}
END_TEST

/* The smallest p of n differences that all have one sign. */
START_TEST(smallest_p)
{
    double d[FLIPS_MOST];
    for (int n = 1; n <= FLIPS_MOST; n++) {
        d[n - 1] = 1 + n * .125;
        ck_assert_double_eq(sign_flip_p(d, n), ldexp(1, 1 - n));
    }
    for (int i = 0; i < 9; i++)
        d[i] = 0;
    ck_assert_double_eq(sign_flip_p(d, 9), 1);
}
END_TEST

/* Half widths of 95 % for an sd of 1, from t / sqrt(n); with training sets that overlap the variance has a floor. */
START_TEST(widths)
{
    ck_assert_double_eq_tol(half_width(.25, 10, .95, 0), .25 * 2.262157 / sqrt(10), 1e-6);
    ck_assert_double_eq_tol(half_width(1.3, 10, .95, .25), 1.3 * 2.262157 * sqrt(.1 + .25), 1e-5);
    ck_assert(half_width(1, 100000, .95, .25) > .5 * 1.95996);
    ck_assert_double_eq_tol(simultaneous(.95, 5), .99, 1e-15);
    ck_assert_double_eq_tol(simultaneous(.95, 1), .95, 1e-15);
    const double d[] = {1, 1, 1, 1};
    ck_assert_double_eq(t_interval(d, 4, .95, 0).sd, 0);
    const double third[] = {1 / 3., 1 / 3., 1 / 3.};
    ck_assert_double_eq(sd_of(third, 3), 0);
    ck_assert(isnan(correlation(d, third, 3)));
}
END_TEST

/* The number of runs is the least whose interval is no wider. */
START_TEST(needed)
{
    for (double sd = .05; sd < 2; sd *= 1.3)
        for (double width = .1; width < 2; width *= 1.7) {
            const int n = runs_needed(sd, width, .95, 0, 1000000);
            ck_assert_int_ge(n, 2);
            ck_assert(2 * half_width(sd, n, .95, 0) <= width);
            ck_assert(n == 2 || 2 * half_width(sd, n - 1, .95, 0) > width);
        }
    ck_assert_int_eq(runs_needed(.25, .6, .95, 0, 1000), 6); /* docs: an interval of .3 to either side */
    ck_assert_int_eq(runs_needed(1, .1, .95, .5, 1000), 0);
}
END_TEST

START_TEST(tops)
{
    double x[] = {-2, -1, 0, 1, 2, 3}, y[6], top;
    for (double at = -3; at < 4; at += .3) {
        for (int i = 0; i < 6; i++)
            y[i] = 90 - .7 * (x[i] - at) * (x[i] - at);
        ck_assert(parabola_top(x, y, 6, &top));
        ck_assert_double_eq_tol(top, at, 1e-9);
        ck_assert(parabola_top(x + 1, y + 1, 3, &top));
        ck_assert_double_eq_tol(top, at, 1e-9);
    }
    /* five points that are on no parabola, by the normal equations: y = 2.4 + .3 x - .5 x^2 */
    const double off[] = {0, 1, 3, 2, 1};
    ck_assert(parabola_top(x, off, 5, &top));
    ck_assert_double_eq_tol(top, .3 / (2 * .5), 1e-12);
    const double flat[] = {1, 1, 1, 1, 1}, up[] = {1, 0, 0, 0, 1}, same[] = {1, 1, 1};
    ck_assert(!parabola_top(x, flat, 5, &top));
    ck_assert(!parabola_top(x, up, 5, &top));
    ck_assert(!parabola_top(same, off, 3, &top));
    ck_assert(!parabola_top(x, y, 2, &top));
}
END_TEST

TCase *stats_tests(void)
{
    TCase *c = tcase_create("statistics");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, table_of_t);
    tcase_add_test(c, closed_forms);
    tcase_add_test(c, students_sleep);
    tcase_add_test(c, darwins_maize);
    tcase_add_test(c, smallest_p);
    tcase_add_test(c, widths);
    tcase_add_test(c, needed);
    tcase_add_test(c, tops);
    return c;
}
