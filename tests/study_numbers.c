/* study_numbers.c - the statistics of gen/study as a filter, for test_scipy.py: a line in, the numbers of it out.
 *
 *     beta A B X | cdf T DF | quantile P DF | interval LEVEL AGAIN N x... | flips N x... | correlation N x... y...
 *     | top N x... y... */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double number(void)
{
    double v;
    if (scanf("%lf", &v) != 1)
        exit(1);
    return v;
}

int main(void)
{
    char word[32];
    double x[64], y[64];
    while (scanf("%31s", word) == 1) {
        if (strcmp(word, "beta") == 0) {
            const double a = number(), b = number();
            printf("%.17g\n", incomplete_beta(a, b, number()));
            continue;
        }
        if (strcmp(word, "cdf") == 0 || strcmp(word, "quantile") == 0) {
            const double v = number(), df = number();
            printf("%.17g\n", *word == 'c' ? t_cdf(v, df) : t_quantile(v, df));
            continue;
        }
        const bool two = strcmp(word, "correlation") == 0 || strcmp(word, "top") == 0, interval = *word == 'i';
        const double level = interval ? number() : 0, again = interval ? number() : 0;
        const int n = (int)number();
        if (n < 1 || n > 64)
            return 1;
        for (int i = 0; i < n; i++)
            x[i] = number();
        for (int i = 0; i < n && two; i++)
            y[i] = number();
        if (interval) {
            const Interval at = t_interval(x, n, level, again);
            printf("%.17g %.17g\n", at.lo, at.hi);
        } else if (*word == 'f') {
            printf("%.17g\n", sign_flip_p(x, n));
        } else if (*word == 'c') {
            printf("%.17g\n", correlation(x, y, n));
        } else {
            double top = NAN;
            parabola_top(x, y, n, &top);
            printf("%.17g\n", top);
        }
    }
    return 0;
}
