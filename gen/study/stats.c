/* stats.c - Student's t, intervals of paired differences, sign flips, a parabola's top.
 *
 * needs: numbers.  sets: numbers. It knows nothing of trainings. */
#include "stats.h"

#include <math.h>

/* The continued fraction of the incomplete beta function, by Lentz's method in Thompson and Barnett's form (Numerical
 * Recipes, 6.4). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300, enough = 1e-16;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double value = d;
    for (int m = 1; m < 100000; m++) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double step = 1;
        for (int k = 0; k < 2; k++) {
            const double term = k ? odd : even;
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            step = d * c;
            value *= step;
        }
        if (fabs(step - 1) < enough)
            break;
    }
    return value;
}

/* What Stirling's formula leaves out of lgamma(z), z >= 10 (Abramowitz and Stegun, 6.1.41). */
static double stirling_rest(double z)
{
    const double w = 1 / (z * z);
    return (1 / 12. - w * (1 / 360. - w * (1 / 1260. - w * (1 / 1680. - w / 1188.)))) / z;
}

/* lgamma(a + b) - lgamma(a) for a >= b > 0, without a difference of large numbers. */
static double gamma_ratio(double a, double b)
{
    if (a < 10)
        return lgamma(a + b) - lgamma(a);
    return (a + b - .5) * log1p(b / a) + b * (log(a) - 1) + stirling_rest(a + b) - stirling_rest(a);
}

double incomplete_beta(double a, double b, double x)
{
    if (x <= 0 || x >= 1)
        return x > 0;
    const double less = a < b ? a : b, more = a < b ? b : a;
    const double front = exp(gamma_ratio(more, less) - lgamma(less) + a * log(x) + b * log1p(-x));
    if (x <
        (a + 1) / (a + b + 2)) /* there the fraction converges fast; else the symmetry I_x(a, b) = 1 - I_1-x(b, a) */
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* P(T > t) for t >= 0, without a difference of numbers that are nearly equal. */
static double upper_tail(double t, double df)
{
    return incomplete_beta(df / 2, .5, df / (df + t * t)) / 2;
}

double t_cdf(double t, double df)
{
    return t < 0 ? upper_tail(-t, df) : 1 - upper_tail(t, df);
}

double t_quantile(double p, double df)
{
    const double tail = p < .5 ? p : 1 - p;
    double lo = 0, hi = 1;
    while (upper_tail(hi, df) > tail && hi < 1e150)
        hi *= 2;
    for (int i = 0; i < 2000 && hi - lo > 4e-16 * hi; i++) {
        const double mid = lo + (hi - lo) / 2;
        if (mid <= lo || mid >= hi)
            break;
        *(upper_tail(mid, df) > tail ? &lo : &hi) = mid;
    }
    const double t = tail == .5 ? 0 : lo + (hi - lo) / 2;
    return p < .5 ? -t : t;
}

double mean_of(const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] - x[0];
    return n ? x[0] + sum / n : 0;
}

double sd_of(const double *x, int n)
{
    const double mean = mean_of(x, n);
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return n < 2 ? 0 : sqrt(sum / (n - 1));
}

double correlation(const double *x, const double *y, int n)
{
    const double mx = mean_of(x, n), my = mean_of(y, n), sx = sd_of(x, n), sy = sd_of(y, n);
    double sum = 0;
    if (n < 3 || sx == 0 || sy == 0)
        return NAN;
    for (int i = 0; i < n; i++)
        sum += (x[i] - mx) / sx * ((y[i] - my) / sy);
    return sum / (n - 1);
}

double half_width(double sd, int n, double level, double again)
{
    return t_quantile((1 + level) / 2, n - 1) * sd * sqrt(1. / n + again);
}

Interval t_interval(const double *x, int n, double level, double again)
{
    Interval at = {.mean = mean_of(x, n), .sd = sd_of(x, n), .level = level};
    const double half = half_width(at.sd, n, level, again);
    at.lo = at.mean - half;
    at.hi = at.mean + half;
    return at;
}

double rows_variance(const RowSums *of, int64_t rows, int n)
{
    double mean = 0, spread = 0, noise = 0;
    for (int64_t i = 0; i < rows; i++)
        mean += (double)of[i].sum / n / (double)rows;
    for (int64_t i = 0; i < rows; i++) {
        const double own = (double)of[i].sum / n;
        spread += (own - mean) * (own - mean);
        noise += (of[i].squares - n * own * own) / (n - 1);
    }
    const double between = spread / (double)(rows - 1) - noise / (double)rows / n;
    return between > 0 ? between : 0;
}

Interval rows_interval(const double *x, int n, double level, double between, int64_t rows)
{
    Interval at = {.mean = mean_of(x, n), .sd = sd_of(x, n), .level = level};
    const double seeds = at.sd * at.sd / n, part = between / (double)rows, all = seeds + part;
    const double df = all * all / (seeds * seeds / (n - 1) + part * part / (double)(rows - 1));
    const double half = all > 0 ? fmax(t_quantile((1 + level) / 2, df) * sqrt(all), half_width(at.sd, n, level, 0)) : 0;
    at.lo = at.mean - half;
    at.hi = at.mean + half;
    return at;
}

double simultaneous(double level, int k)
{
    return 1 - (1 - level) / k;
}

double sign_flip_p(const double *x, int n)
{
    if (n < 1 || n > FLIPS_MOST)
        BUG("sign flips of %d differences", n);
    double seen = 0, scale = 0;
    for (int i = 0; i < n; i++) {
        seen += x[i];
        scale += fabs(x[i]);
    }
    /* In Gray's order one sign changes at a time. A sum that is the observed one but for rounding counts as that. */
    const double least = fabs(seen) - 1e-9 * scale;
    double sum = seen;
    unsigned flipped = 0, as_far = 0;
    const unsigned all = 1u << n;
    for (unsigned k = 1;; k++) {
        as_far += fabs(sum) >= least;
        if (k == all)
            break;
        int bit = 0;
        while (!(k >> bit & 1))
            bit++;
        flipped ^= 1u << bit;
        sum += (flipped >> bit & 1 ? -2 : 2) * x[bit];
    }
    return (double)as_far / all;
}

int runs_needed(double sd, double width, double level, double again, int most)
{
    int none = 1, enough = most;
    if (2 * half_width(sd, most, level, again) > width)
        return 0;
    while (enough - none > 1) { /* it becomes narrower with every run */
        const int mid = none + (enough - none) / 2;
        *(2 * half_width(sd, mid, level, again) > width ? &none : &enough) = mid;
    }
    return enough;
}

bool parabola_top(const double *x, const double *y, int n, double *top)
{
    if (n < 3)
        return false;
    /* Least squares with orthogonal polynomials 1, u, u^2 - b u - a, u = x - mean (Forsythe 1957). */
    const double at = mean_of(x, n), level = mean_of(y, n);
    double u2 = 0, u3 = 0, uy = 0, bend = 0, size = 0;
    for (int i = 0; i < n; i++) {
        const double u = x[i] - at;
        u2 += u * u;
        u3 += u * u * u;
        uy += u * (y[i] - level);
    }
    if (u2 == 0)
        return false;
    const double a = u2 / n, b = u3 / u2;
    for (int i = 0; i < n; i++) {
        const double u = x[i] - at, p = u * u - b * u - a;
        bend += p * (y[i] - level);
        size += p * p;
    }
    if (size <= 1e-12 * u2 * u2 || bend >= 0)
        return false;
    const double c2 = bend / size, c1 = uy / u2 - b * c2;
    *top = at - c1 / (2 * c2);
    return true;
}
