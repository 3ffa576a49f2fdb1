"""Studies drawn for tests, as CSV: what `convoy study` writes, made by other code."""
import random

COLUMNS = "variant,role,seed,epochs,rate,valid,test,train_loss,test_loss,diverged,correct,rows"


class Made:
    """A study of four variants: 'before' and 'after', a redundant one of 'before', and one without a norm, worse by a point."""

    def __init__(self, seeds=10, diff=.4, sd=.25, correlation=.72, seed=1, rows=10000, planned=None, names=("before", "after"), base=90.0,
                 fail=(), extra=(), margin=.5, null=0.0):
        self.draw = random.Random(seed)
        self.rows, self.sd, self.correlation, self.base, self.fail = rows, sd, correlation, base, fail
        a, b = names
        self.variants = [(a, "order=conv-bn-act", 0, 0), (b, "order=conv-act-bn", diff, 1), ("redundant", "order=conv-bn-act, bias=true", null, 0),
                         ("none", "order=conv-act", -1, -1)]
        self.header = ["# convoy study 1", "# name: made", "# network: fashion", "# data: drawn", "# target: none", "# fingerprint: 0"]
        self.header += ["# variant: %s = %s" % (n, w) for n, w, _, _ in self.variants]
        self.header += ["# primary: %s %s" % (a, b), "# compare: %s none" % b, "# null: %s redundant" % a, "# positive: none %s" % a,
                        "# margin: %r" % margin, "# classes: 10", "# largest class: 0.1", "# test rows: %d" % rows, "# epochs: 6", "# screen: 2",
                        "# seeds: %d" % (planned or seeds), "# rate: 0.2", "# factor: 2"] + list(extra)
        self.run = []
        for s in (1, 2):
            for v in self.variants:
                for k in range(-2, 3):
                    self.train(v, "screen", s, k, 0)
        for s in range(3, 3 + seeds):
            common = self.draw.gauss(0, 1)
            for v in self.variants:
                for k in (-1, 0, 1):
                    self.train(v, "count", s, k, common)

    def train(self, variant, role, seed, k, common):
        name, _, off, top = variant
        noise = self.sd * (self.correlation ** .5 * common + (1 - self.correlation) ** .5 * self.draw.gauss(0, 1))
        score = self.base + off - .35 * (k - .3 * top) ** 2 + noise
        row = {"variant": name, "role": role, "seed": seed, "epochs": 6, "rate": .2 * 2 ** k, "diverged": 0}
        if (name, seed) in self.fail or (k == 2 and name == "none"):
            row["diverged"] = 1
        else:
            row["valid"] = round((score + self.draw.gauss(0, .25)) / 100, 4)
            row["correct"] = min(self.rows, max(0, round(score / 100 * self.rows)))
            row.update(test=row["correct"] / self.rows, rows=self.rows, train_loss=.2 + .01 * abs(k), test_loss=.3)
        self.run.append(row)

    def text(self, runs=None, columns=COLUMNS):
        lines = [",".join("%s" % (r.get(c, "") if not isinstance(r.get(c), float) else repr(r[c])) for c in columns.split(","))
                 for r in (self.run if runs is None else runs)]
        return "\n".join(self.header + [columns] + lines) + "\n"

    def scores(self, name, role="count", guessing=10.0):
        """{seed: the test score, in points, at the rate that validation picks}."""
        best = {}
        for r in self.run:
            if r["variant"] != name or r["role"] != role:
                continue
            best.setdefault(r["seed"], (-1, guessing))
            if not r["diverged"] and r["valid"] > best[r["seed"]][0]:
                best[r["seed"]] = (r["valid"], 100 * r["test"])
        return {s: v for s, (_, v) in best.items()}
