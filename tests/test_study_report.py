#!/usr/bin/env python3
"""convoy study --report: a CSV's report against numbers worked out here, its bytes, damaged CSVs.

    test_study_report.py --convoy build/gen/convoy [WORD...]"""
import base64
import html.parser
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree

import methods
from methods import check
from study_csv import COLUMNS, Made

T = {3: 4.302653, 5: 2.776445, 8: 2.364624, 10: 2.262157, 12: 2.200985, 20: 2.093024}  # t(.975, n - 1), A&S 26.10
T999 = {4: 12.923979}


class Page(html.parser.HTMLParser):
    """That tags are closed in order, and what a page refers to."""
    def __init__(self):
        super().__init__()
        self.open, self.faults, self.refers = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        self.refers += [v for k, v in attrs if k in ("src", "href", "xlink:href")] + ([tag] if tag in ("script", "link", "iframe") else [])

    def handle_startendtag(self, tag, attrs):
        self.refers += [v for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def base64_of(bits):
    return base64.b64encode(bytes(sum(b << k for k, b in enumerate(bits[i:i + 8])) for i in range(0, len(bits), 8))).decode()


def quantile(p, df):
    """Student's, by bisection of Simpson's rule on the density."""
    def below(t, steps=2000):
        f = lambda x: math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / (df * math.pi) ** .5 * (1 + x * x / df) ** (-(df + 1) / 2)
        h = t / steps
        return .5 + h / 3 * (f(0) + f(t) + sum((4 if k % 2 else 2) * f(k * h) for k in range(1, steps)))
    lo, hi = 0.0, 100.0
    for _ in range(60):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if below(mid) < p else (lo, mid)
    return lo


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.folder, self.skipped = os.path.abspath(convoy), folder, []
        self.csv = os.path.join(folder, "runs.csv")

    def run(self, text, *args):
        with open(self.csv, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        r = subprocess.run([self.convoy, "study", "--report", self.csv, *args], capture_output=True, timeout=60)
        return r.returncode, r.stdout.decode(), r.stderr.decode()

    def json(self, made):
        status, out, err = self.run(made.text(), "--json")
        check(status in (0, 3), "status %d: %s" % (status, err))
        return json.loads(out)

    def test_numbers(self):
        """Differences, intervals, seeds won, of drawn studies, against those of Python's own statistics."""
        for n in (3, 5, 8, 10, 12, 20):
            made = Made(seeds=n, seed=n, diff=.1)
            got = self.json(made)["pairs"][0]
            a, b = made.scores("before"), made.scores("after")
            d = [b[s] - a[s] for s in sorted(a)]
            mean, sd = statistics.mean(d), statistics.stdev(d)
            half = T[n] * sd / n ** .5
            check(len(d) == n and got["seeds"] == n, "%d seeds" % got["seeds"])
            for what, want, is_ in (("mean", mean, got["difference"]), ("sd", sd, got["sd"]), ("lo", mean - half, got["interval"][0]),
                                    ("hi", mean + half, got["interval"][1])):
                check(abs(want - is_) < 1e-5, "n %d: %s %r, worked out %r" % (n, what, is_, want))
            check(got["won"] == sum(x > 0 for x in d), "seeds won: %d" % got["won"])
            check(max(abs(x - y) for x, y in zip(d, got["differences"])) < 1e-6, "differences %r" % got["differences"])
            x, y = [a[s] for s in sorted(a)], [b[s] for s in sorted(a)]
            check(abs(correlation(x, y) - got["correlation"]) < 1e-6, "correlation %r" % got["correlation"])
            check((got["sign_flips"] is None) == (n < 8), "sign flips at n = %d" % n)

    def test_other_rows(self):
        """For other test rows: rows and seeds are drawn; the interval's parts are worked out here, from sums of squares of rows x seeds."""
        draw, n, rows = random.Random(3), 5, 400
        row_bias = [draw.choice((-1, 0, 0, 0, 1)) * .6 for _ in range(rows)]
        made = Made(seeds=n, rows=rows)
        right = {}
        for r in made.run:
            if r["role"] != "count":
                continue
            chance = [.8 + (row_bias[i] if r["variant"] == "after" else 0) for i in range(rows)]
            bits = [int(draw.random() < c) for c in chance]
            r["correct"], r["test"] = sum(bits), sum(bits) / rows
            right[r["variant"], r["seed"], r["rate"]] = bits
        picked = {}
        for r in made.run:
            key = r["variant"], r["seed"]
            if r["role"] == "count" and (key not in picked or r["valid"] > picked[key]["valid"]):
                picked[key] = r
        for r in made.run:
            kept = r["role"] == "count" and picked[r["variant"], r["seed"]] is r
            r["answers"] = base64_of(right[r["variant"], r["seed"], r["rate"]]) if kept else ""
        text = made.text(columns=COLUMNS + ",answers")
        status, out, err = self.run(text, "--json")
        check(status in (0, 3), "status %d: %s" % (status, err))
        got = json.loads(out)["pairs"][0]
        seeds = sorted({r["seed"] for r in made.run if r["role"] == "count"})
        d = [[100 * (right["after", s, picked["after", s]["rate"]][i] - right["before", s, picked["before", s]["rate"]][i]) for s in seeds] for i in range(rows)]
        of_row, of_seed = [statistics.mean(x) for x in d], [statistics.mean(d[i][k] for i in range(rows)) for k in range(n)]
        within = statistics.mean(statistics.variance(x) for x in d)
        between = max(0, statistics.variance(of_row) - within / n)
        a, b = statistics.variance(of_seed) / n, between / rows
        df = (a + b) ** 2 / (a * a / (n - 1) + b * b / (rows - 1))
        half = max(quantile(.975, df) * (a + b) ** .5, T[n] * a ** .5)
        want = [statistics.mean(of_seed) - half, statistics.mean(of_seed) + half]
        check(between > 100, "rows differ: %r" % between)
        check(max(abs(x - y) for x, y in zip(want, got["interval_other_rows"])) < 1e-5, "%r, worked out %r" % (got["interval_other_rows"], want))
        check(got["interval_other_rows"][0] < got["interval"][0], "it is wider than that of these rows")
        check("For other test rows like these: " in self.run(text)[1], "it is said")
        one = next(r for r in made.run if r["answers"])
        for wrong, why in ((one["answers"][:-4], "no answers of this row's test rows"), ("*" + one["answers"][1:], "no answers of this row's test rows"),
                           (base64_of([0] * rows), "answers of which 0 are right, not %d" % one["correct"]), (base64_of([1] * 408), "no answers")):
            status, out, err = self.run(text.replace(one["answers"], wrong, 1))
            check(status == 1 and why in err and "runs.csv:" in err, "%r: status %d, %s" % (why, status, err))
        one["answers"] = ""
        got = json.loads(self.run(made.text(columns=COLUMNS + ",answers"), "--json")[1])["pairs"][0]
        check(got["interval_other_rows"] is None, "without one round's answers there is none")

    def test_rates(self):
        """The difference at each rate: both at that rate, screening and counted seeds."""
        made = Made(seeds=6)
        got = self.json(made)["pairs"][0]["rates"]
        check([r["rate"] for r in got] == [.05, .1, .2, .4, .8], "rates %r" % [r["rate"] for r in got])
        for r in got:
            at = {(v, x["seed"], x["role"]): 100 * x["test"] for v in ("before", "after") for x in made.run
                  if x["variant"] == v and abs(x["rate"] - r["rate"]) < 1e-9}
            d = [at["after", s, k] - at["before", s, k] for v, s, k in at if v == "before"]
            check(r["seeds"] == len(d) == (2 if r["rate"] in (.05, .8) else 8), "%d seeds at %g" % (r["seeds"], r["rate"]))
            check(abs(r["difference"] - statistics.mean(d)) < 1e-6, "difference at %g" % r["rate"])

    def test_levels(self):
        """An interim look is judged at 99.9 %, the planned end at 95 %, an extension at 99.5 %; others hold together."""
        got = self.json(Made(seeds=4, planned=10, extra=["# look: 3"]))
        p = got["pairs"][0]
        check(got["interim"] and p["level"] == .999, "interim: level %r" % p["level"])
        check(abs((p["interval"][1] - p["interval"][0]) / 2 - T999[4] * p["sd"] / 2) < 1e-4, "interim interval")
        check(got["headline"].startswith("Interim, 4 of 10 seeds (99.9 % interval): "), got["headline"])
        check(got["looks"] == 1, "looks")
        got = self.json(Made(seeds=10))
        check(not got["interim"] and got["pairs"][0]["level"] == .95, "planned end")
        check([round(x["level"], 9) for x in got["pairs"][1:]] == [round(1 - .05 / 3, 9)] * 3, "others %r" % [x["level"] for x in got["pairs"]])
        got = self.json(Made(seeds=10, planned=6, extra=["# extension: 4"]))
        check(not got["interim"] and got["pairs"][0]["level"] == .995 and got["extensions"] == 1, "extension")
        got = self.json(Made(seeds=8, planned=6, extra=["# extension: 4"]))
        check(got["interim"] and got["pairs"][0]["level"] == .999, "within an extension")

    def test_whole_rounds(self):
        """A seed that lacks one training of one variant is not counted, whatever that training was."""
        made = Made(seeds=6)
        all_, lacking = self.json(made), []
        for drop in ("before", "none"):
            made = Made(seeds=6)
            i = next(i for i, r in enumerate(made.run) if r["role"] == "count" and r["seed"] == 5 and r["variant"] == drop)
            del made.run[i]
            lacking.append(self.json(made))
        check(all_["seeds"] == 6 and [x["seeds"] for x in lacking] == [5, 5], "rounds %r" % [x["seeds"] for x in lacking])
        check(lacking[0]["pairs"][0]["differences"] == lacking[1]["pairs"][0]["differences"] ==
              [d for i, d in enumerate(all_["pairs"][0]["differences"]) if i != 2], "the other rounds stay")

    def test_only_validation_picks(self):
        """Test scores of what was not picked change no verdict; those at the picked rates do."""
        made = Made(seeds=6)
        before = self.json(made)["pairs"][0]
        for r in made.run:
            peers = [x["valid"] for x in made.run if (x["variant"], x["seed"], x["role"]) == (r["variant"], r["seed"], r["role"]) and "valid" in x]
            if "valid" in r and (r["role"] == "screen" or r["valid"] < max(peers)):
                r["correct"] = made.rows
                r["test"] = 1.0
        after = self.json(made)["pairs"][0]
        for key in ("difference", "interval", "differences", "verdict", "sentence"):
            check(before[key] == after[key], "%s: %r, then %r" % (key, before[key], after[key]))

    def test_mirror(self):
        """The same runs under swapped names, and as the swapped pair, mirror the verdict."""
        for seed in range(12):
            made = Made(seeds=8, seed=seed, diff=random.Random(seed).uniform(-.6, .6))
            one = self.json(made)["pairs"][0]
            made.header = [h.replace("# primary: before after", "# primary: after before") for h in made.header]
            two = self.json(made)["pairs"][0]
            check(one["verdict"] == two["verdict"] and one["better"] == -two["better"], "seed %d: %r, %r" % (seed, one["verdict"], two["verdict"]))
            check(one["difference"] == -two["difference"] and one["interval"] == [-x for x in two["interval"][::-1]], "intervals")
            text = made.text()
            for a, b in (("before", "\0"), ("after", "before"), ("\0", "after")):
                text = re.sub(r"\b%s\b" % a, b, text) if a != "\0" else text.replace(a, b)
            status, out, err = self.run(text, "--json")
            three = json.loads(out)["pairs"][0]
            check(three["sentence"] == two["sentence"].replace("before", "\0").replace("after", "before").replace("\0", "after"), three["sentence"])

    def test_bytes(self):
        """The same CSV gives the same bytes, in any order of its rows, in any folder and locale."""
        made, seen = Made(seeds=5), set()
        for i in range(4):
            runs = made.run[:]
            random.Random(i).shuffle(runs)
            os.environ["LC_ALL"], os.environ["TZ"] = ("C", "UTC") if i % 2 else ("de_DE.UTF-8", "Asia/Tokyo")
            status, out, err = self.run(made.text(runs))
            seen.add((status, out, open(os.path.join(self.folder, "report.html")).read()))
        check(len(seen) == 1, "%d reports of one CSV" % len(seen))

    def test_picture(self):
        """--svg: a picture by itself, with each comparison's name, answer and difference; the same bytes each time."""
        to = os.path.join(self.folder, "picture.svg")
        made = Made(seeds=10, diff=1.2)
        pairs = self.json(made)["pairs"]
        self.run(made.text(), "--svg", to)
        text = open(to).read()
        said = ["".join(x.itertext()) for x in xml.etree.ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
        for p in pairs:
            check(any(x.startswith("%s - %s, " % (p["b"], p["a"])) and p["verdict"] in x for x in said), "%s - %s: %r" % (p["b"], p["a"], said))
            check("%+.2f" % p["difference"] in said, "%r: %r" % (p["difference"], said))
        check("after - before, after is better" in said and "http" not in text.replace("http://www.w3.org/2000/svg", ""), "%r" % said)
        self.run(made.text(), "--svg", to)
        check(open(to).read() == text, "another picture of the same CSV")

    def test_page(self):
        made = Made(seeds=5, fail={("none", 4)}, extra=["# look: 2"])
        made.header[2] = "# network: <script>alert(1)</script> & \"co\""
        self.run(made.text(), "--html", os.path.join(self.folder, "page.html"))
        text = open(os.path.join(self.folder, "page.html")).read()
        page = Page()
        page.feed(text)
        check(not page.faults and not page.open, "tags %r %r" % (page.faults, page.open))
        check(not page.refers, "the page refers to %r" % page.refers)
        check("url(" not in text and "@import" not in text and "<script" not in text, "something from elsewhere")
        check("http:" not in text and "https:" not in text, "an address")
        check(self.json(made)["headline"].replace("&", "&amp;") in text, "the headline")
        check(text.count('class="run"') == 5 * 4 - 1 and text.count('class="fail"') == 1, "a dot for each seed and variant")

    def test_failures(self):
        """Seeds of which every rate diverged: no interval, but how many; sign flips from 8 on."""
        made = Made(seeds=10, fail={("before", 4), ("before", 7)}, diff=1)
        got = self.json(made)["pairs"][0]
        check(got["verdict"] == "failures" and got["interval"] is None, "%r" % got)
        check("before failed in 2 of 10 seeds, after in 0" in got["sentence"] and "Sign flips: p = 0.00195. after is better." in got["sentence"],
              got["sentence"])
        got = self.json(Made(seeds=6, fail={("after", 4)}))["pairs"][0]
        check(got["verdict"] == "failures" and "p =" not in got["sentence"], got["sentence"])

    def test_controls(self):
        """A null control that is claimed heads the report; a positive one that is missed is said."""
        good = self.json(Made(seeds=12))
        check(not good["null_control_claimed"] and good["positive_controls_missed"] == 0, "good controls")
        made = Made(seeds=12, null=2.0)
        got = self.json(made)
        check(got["null_control_claimed"] and got["headline"].startswith("The null control is claimed: redundant is better than before"), got["headline"])
        check(self.run(made.text())[0] == 3, "such a study has no verdict")
        made = Made(seeds=12, seed=3)
        made.header = [h.replace("# positive: none before", "# positive: before none") for h in made.header]
        check("A positive control was not found" in self.run(made.text())[1], "a positive control that is missed")

    def test_status(self):
        check(self.run(Made(seeds=12, diff=2).text())[0] == 0, "a verdict")
        check(self.run(Made(seeds=4, sd=3, diff=.3).text())[0] == 3, "cannot tell")
        check(self.run(Made(seeds=4, planned=12, diff=2).text())[0] == 3, "interim")
        check(self.run("")[0] == 1, "an empty file")

    def test_damaged(self):
        """What is wrong with a CSV is said with file and line, and nothing is written."""
        made = Made(seeds=3)
        good = made.text()
        lines = good.split("\n")
        first = lines.index(COLUMNS) + 1
        cases = [
            (lambda l: l[:-1] + ["before,count"], len(lines) - 1 + 1, "the last line ends early"),
            (lambda l: ["variant,seed"] + l, 1, "no study"),
            (lambda l: replace(l, "# margin: 0.5", "# margin: 0"), at(lines, "# margin"), "no number from 1e-06 to 100: '0'"),
            (lambda l: replace(l, "# margin: 0.5", "# margin: 0.5\n# margin: 0.4"), at(lines, "# margin") + 1, "'margin' stands here twice"),
            (lambda l: replace(l, "# margin: 0.5", "# marjin: 0.5"), at(lines, "# margin"), "an unknown key: 'marjin'"),
            (lambda l: replace(l, "# seeds: 3\n", ""), first - 1, "the header above has no '# seeds: ...'"),
            (lambda l: replace(l, "# seeds: 3\n", "# seeds: 2\n"), None, "3 seeds are counted, 2 were planned"),
            (lambda l: replace(l, "# variant: after", "# variant: af ter"), at(lines, "# variant: after"), "no name of a variant"),
            (lambda l: replace(l, "# variant: after", "# variant: before"), at(lines, "# variant: after"), "a variant's name that was given before"),
            (lambda l: replace(l, "# primary: before after", "# primary: before afte"), at(lines, "# primary"), "no two variants"),
            (lambda l: replace(l, "# primary: before after", "# primary: after after"), at(lines, "# primary"), "no two variants"),
            (lambda l: replace(l, "# compare: after none", "# primary: after none"), at(lines, "# compare"), "a second primary pair"),
            (lambda l: replace(l, "# largest class: 0.1", "# largest class: 0.05"), first, "the largest of 10 classes cannot have a share"),
            (lambda l: replace(l, COLUMNS, COLUMNS[1:]), first, "no names of columns"),
            (lambda l: cell(l, first, 0, "befor"), first + 1, "a variant that the header does not name: 'befor'"),
            (lambda l: cell(l, first, 1, "counted"), first + 1, "an unknown role: 'counted'"),
            (lambda l: cell(l, first, 2, "1.5"), first + 1, "no whole number from 0 to"),
            (lambda l: cell(l, first, 3, "7"), first + 1, "no whole number from 6 to 6: '7'"),
            (lambda l: cell(l, first, 4, "nan"), first + 1, "no number from"),
            (lambda l: cell(l, first, 4, "-0.1"), first + 1, "no number from"),
            (lambda l: cell(l, first, 5, "1.01"), first + 1, "no number from 0 to 1: '1.01'"),
            (lambda l: cell(l, first, 5, ""), first + 1, "no number from 0 to 1: ''"),
            (lambda l: cell(l, first, 6, "0.5"), first + 1, "a test score that is not"),
            (lambda l: cell(l, first, 9, "2"), first + 1, "no whole number from 0 to 1"),
            (lambda l: cell(l, first, 10, "10001"), first + 1, "no whole number from 0 to 10000"),
            (lambda l: cell(l, first, 11, "9999"), first + 1, "no whole number from 10000 to 10000"),
            (lambda l: cell(l, first, 11, "10000,1"), first + 1, "13 columns, 12 are needed"),
            (lambda l: l[:first] + [l[first][:10]] + l[first + 1:], first + 1, "2 columns, 12 are needed"),
            (lambda l: l[:first + 1] + l[first:], None, "stands there twice"),
            (lambda l: cell(l, next(i for i, x in enumerate(l) if x.startswith("before,count")), 4, "0.8"), None, "further apart than the header's factor"),
        ]
        for change, line, says in cases:
            made_of = change(lines[:])
            text = "\n".join(made_of)
            check(text != good, "the case '%s' changes nothing" % says)
            page = os.path.join(self.folder, "none.html")
            status, out, err = self.run(text, "--html", page)
            where = "runs.csv:%d:" % line if line else "runs.csv"
            check(status == 1 and says in err and where in err, "wanted '%s' at %s, status %d:\n%s" % (says, where, status, err))
            check(not os.path.exists(page) and not out, "something was written")
        status, out, err = self.run(good.replace("# data: drawn", "# data: dr\xff".encode("latin-1").decode("latin-1")).encode("latin-1"))
        check(status == 1 and "no text in UTF-8" in err, err)
        os.remove(self.csv)
        r = subprocess.run([self.convoy, "study", "--report", self.csv], capture_output=True, text=True)
        check(r.returncode == 1 and "cannot be read: No such file" in r.stderr, r.stderr)

    def test_random_damage(self):
        """Bytes changed, lines dropped, doubled, cut: a report or an error with the file's name, never a crash."""
        good = Made(seeds=3).text().encode()
        for seed in range(250):
            draw = random.Random(seed)
            b = bytearray(good)
            for _ in range(draw.randrange(1, 4)):
                k, at_ = draw.randrange(5), draw.randrange(len(b))
                if k == 0:
                    b[at_] = draw.randrange(256)
                elif k == 1:
                    del b[at_:at_ + draw.randrange(1, 80)]
                elif k == 2:
                    b[at_:at_] = bytes(draw.choice(b",\n#-.e0 9") for _ in range(draw.randrange(1, 5)))
                elif k == 3:
                    b = b[:at_ + 1]
                else:
                    b[at_:at_] = b[draw.randrange(len(b)):][:200]
            status, out, err = self.run(bytes(b), "--json")
            check((status in (0, 3) and json.loads(out)) or (status == 1 and "runs.csv" in err and not out),
                  "seed %d: status %d\n%s" % (seed, status, err))


def correlation(x, y):
    mx, my = statistics.mean(x), statistics.mean(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / (len(x) - 1) / statistics.stdev(x) / statistics.stdev(y)


def replace(lines, old, new):
    return "\n".join(lines).replace(old, new, 1).split("\n")


def at(lines, start):
    return next(i for i, x in enumerate(lines) if x.startswith(start)) + 1


def cell(lines, line, k, text):
    cells = lines[line].split(",")
    cells[k] = text
    return lines[:line] + [",".join(cells)] + lines[line + 1:]


sys.exit(methods.main("study report", Test))
