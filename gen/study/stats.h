/* stats.h - the statistics of paired results. docs/study.md has each formula with its source. */
#ifndef CONVOY_STATS_H
#define CONVOY_STATS_H

#include "base.h"

/* The regularised incomplete beta function I_x(a, b), a and b above zero, x from 0 to 1. Good to 1e-12 for a, b up to
 * 1000, and to 1e-10 up to a million. */
double incomplete_beta(double a, double b, double x);
/* Student's t with df > 0 degrees of freedom (any real): P(T <= t), and the t of that p, 0 < p < 1. */
double t_cdf(double t, double df);
double t_quantile(double p, double df);

/* Mean and sd (n - 1) of n numbers; sd is 0 for n < 2. Numbers that are all equal have an sd of exactly 0. */
double mean_of(const double *x, int n);
double sd_of(const double *x, int n);
/* Pearson's correlation; NaN where one side does not vary, or n < 3. */
double correlation(const double *x, const double *y, int n);

/* An interval around a mean. */
typedef struct Interval {
    double mean, lo, hi, sd;
    double level; /* .95 */
} Interval;

/* The t interval of the mean of n >= 2 differences at `level`. `again` is what Nadeau and Bengio (2003) add to 1/n
 * where training sets overlap: rows to test over rows to train with; 0 where the test set is fixed. */
Interval t_interval(const double *x, int n, double level, double again);
/* The level of each of k comparisons whose intervals are to hold together with `level` (Bonferroni). k >= 1. */
double simultaneous(double level, int k);
/* Half the width of such an interval, from the sd alone. n >= 2. */
double half_width(double sd, int n, double level, double again);

/* Of one row, over n pairs of trainings: the sum of right in b minus right in a, and of its squares. */
typedef struct RowSums {
    int sum, squares;
} RowSums;
/* The variance of a row's true difference between rows, seeds' noise taken off; 0 where the noise alone explains what
 * is seen. rows, n >= 2. A random effects model of rows x seeds, by its mean squares. */
double rows_variance(const RowSums *of, int64_t rows, int n);
/* The t interval of the mean difference where both seeds and rows could have been others: the variance is that of the
 * mean over seeds plus between / rows, with Satterthwaite's (1946) degrees of freedom;
 * never narrower than t_interval(). between: in the square of x's
 * unit. */
Interval rows_interval(const double *x, int n, double level, double between, int64_t rows);

enum { FLIPS_LEAST = 8, FLIPS_MOST = 20 };
/* The two-sided p of a mean of zero when each difference's sign is flipped: all 2^n ways are counted, n <= FLIPS_MOST.
 */
double sign_flip_p(const double *x, int n);

/* The least n >= 2 whose interval is no wider than `width` in all, with that sd; 0: `most` (2 at least) is not enough.
 */
int runs_needed(double sd, double width, double level, double again, int most);

/* Where the parabola through (x, y), fitted by least squares, has its top: false where it has none (n < 3, or it does
 * not bend down). */
bool parabola_top(const double *x, const double *y, int n, double *top);

#endif
