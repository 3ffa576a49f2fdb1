#!/usr/bin/env python3
"""The statistics of gen/study beside SciPy's: test_scipy.py --numbers PROGRAM [--count N] [--seed S].

PROGRAM is study_numbers. Without SciPy (Debian: python3-scipy) all is skipped, and said."""
import argparse
import random
import subprocess
import sys


def cases(count, seed):
    """Lines for the program, and what SciPy says of each: [(line, [numbers], tolerance)]."""
    import numpy
    from scipy import special, stats
    draw = random.Random(seed)
    for i in range(count):
        a, b, x = 10 ** draw.uniform(-1, 3), 10 ** draw.uniform(-1, 3), draw.random()
        yield "beta %r %r %r" % (a, b, x), [special.betainc(a, b, x)], 1e-11
        df, t = 10 ** draw.uniform(-.3, 4), draw.gauss(0, 3)
        yield "cdf %r %r" % (t, df), [stats.t.cdf(t, df)], 1e-11
        p = draw.choice([draw.random(), 10 ** draw.uniform(-6, -1)])
        df = draw.choice([1, 2, 3, 4, 9, 11, 19, df])
        yield "quantile %r %r" % (p, df), [stats.t.ppf(p, df)], 1e-8  # so good is SciPy's
        n = draw.randrange(2, 41)
        d = [draw.gauss(.1, draw.choice([.01, .25, 3])) for _ in range(n)]
        text = " ".join(map(repr, d))
        level, again = draw.choice([.95, .99, .995, .999]), draw.choice([0, 0, .25, .1])
        lo, hi = stats.t.interval(level, n - 1, numpy.mean(d), numpy.std(d, ddof=1) * (1 / n + again) ** .5)
        yield "interval %r %r %d %s" % (level, again, n, text), [lo, hi], 1e-8
        if i % 20 == 0:
            m = draw.randrange(3, 13)
            exact = stats.permutation_test((d[:m] + [.3] * (m - len(d[:m])),), numpy.sum, permutation_type="samples",
                                           n_resamples=numpy.inf, alternative="two-sided").pvalue
            yield "flips %d %s" % (m, " ".join(map(repr, d[:m] + [.3] * (m - len(d[:m]))))), [exact], 1e-12
        n = max(n, 3)
        x, y = [draw.gauss(0, 1) for _ in range(n)], [draw.gauss(0, 1) for _ in range(n)]
        both = "%d %s %s" % (n, " ".join(map(repr, x)), " ".join(map(repr, y)))
        yield "correlation " + both, [stats.pearsonr(x, y)[0]], 1e-11
        c = numpy.polynomial.Polynomial.fit(x, y, 2).convert().coef
        if n > 3 and abs(c[2]) > 1e-3:
            yield "top " + both, [-c[1] / (2 * c[2]) if c[2] < 0 else float("nan")], 1e-6


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--numbers", required=True)
    p.add_argument("--count", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    try:
        import scipy  # noqa: F401
    except ImportError:
        print("skipped: SciPy is not there (Debian: python3-scipy)\n0 passed, 0 failed, 1 skipped")
        return 77
    made = list(cases(a.count, a.seed))
    out = subprocess.run([a.numbers], input="\n".join(line for line, _, _ in made), capture_output=True, text=True, check=True)
    lines, failed = out.stdout.splitlines(), 0
    if len(lines) != len(made):
        print("FAILED: %d lines for %d" % (len(lines), len(made)))
        failed = 1
    for (line, want, tolerance), said in zip(made, lines):
        for w, s in zip(want, map(float, said.split())):
            if not (abs(w - s) <= tolerance * max(1, abs(w)) or (w != w and s != s)):
                print("FAILED: %s: %.17g, SciPy says %.17g" % (line[:200], s, w))
                failed += 1
    print("%d passed, %d failed" % (len(made) - failed, failed))
    return failed != 0


sys.exit(main())
