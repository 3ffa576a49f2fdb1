#!/usr/bin/env python3
"""convoy where on sets that are made so that its answer is known before: one order must win, the other must, neither can, nothing can be learned.

    test_where_made.py --convoy build/gen/convoy [WORD...]"""
import json
import os
import shutil
import subprocess
import sys

import methods
import quick
from methods import check
from study_small import band, write_set

NULLS = 10  # sets on which neither order can win

SPEC = """name: tiny
input: [1, 6, 6]
classes: %d
order: conv-bn-act
act: %s
layers:
  - conv: {out: 8, stride: 2}
  - global_avg_pool
  - linear: classes
train: {epochs: 10, batch: 32, lr: 0.1, schedule: constant, mean: 0.5, std: %g}
"""


def level(draw, c):
    """Grey images whose class is how far from the middle they are, to either side. Inputs are some hundreds of times what the first weights
    expect: a tanh behind the conv tells dark from bright and nothing more, half of what there is to know. A norm before it brings them into tanh's reach."""
    grey = (40, 96, 160, 216)[c]
    return [grey + int(draw.gauss(0, 4)) for _ in range(36)]


def salt(draw, c):
    """Faint bands, and a few pixels that are black or white whatever the class. Before the tanh a norm's deviation is that of the few, and the
    bands are a tenth of it; a tanh before the norm cuts the few down to the size of the bands."""
    return [draw.choice((0, 255)) if draw.random() < .03 else 128 + int(draw.gauss(0, 1.5)) + (4 if r // 2 == c else 0) for r in range(6) for _ in range(6)]


def noise(draw, c):
    return [draw.randrange(256) for _ in range(36)]


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.folder, self.skipped, self.compiled = os.path.abspath(convoy), folder, [], {}
        self.env = quick.env()

    def where(self, name, seed, pixels, act, std, classes=3):
        """The study's report as JSON; the programs of an activation are compiled once."""
        to, data, spec = (os.path.join(self.folder, name + e) for e in ("", ".safetensors", ".yaml"))
        write_set(data, seed, (1,) * classes, pixels=pixels)
        with open(spec, "w") as f:
            f.write(SPEC % (classes, act, std))
        key = act, std, classes
        if key in self.compiled:
            os.mkdir(to)
            shutil.copytree(os.path.join(self.compiled[key], "build"), os.path.join(to, "build"))
        self.compiled.setdefault(key, to)
        r = subprocess.run([self.convoy, "where", data, "-o", to, "--spec", spec, "--minutes", "30", "--seeds", "10"], capture_output=True, text=True, env=self.env,
                           cwd=self.folder, timeout=1800)
        check(r.returncode in (0, 3), "status %d: %s%s" % (r.returncode, r.stdout, r.stderr))
        said = subprocess.run([self.convoy, "study", "--report", os.path.join(to, "runs.csv"), "--json"], capture_output=True, text=True, timeout=60)
        return json.loads(said.stdout), r

    def test_before_must_win(self):
        got, r = self.where("before", 1, level, "tanh", .0005, 4)
        check(r.returncode == 0 and got["pairs"][0]["better"] == -1 and got["headline"].startswith("before is better than after by "), got["headline"])
        check(got["pairs"][0]["difference"] < -15, got["headline"])
        check("conv-bn-tanh" in open(os.path.join(self.folder, "before", "best.yaml")).read(), "best.yaml is another order's")

    def test_after_must_win(self):
        got, r = self.where("after", 1, salt, "tanh", 4 / 255)
        check(r.returncode == 0 and got["pairs"][0]["better"] == 1 and got["headline"].startswith("after is better than before by "), got["headline"])
        check("conv-tanh-bn" in open(os.path.join(self.folder, "after", "best.yaml")).read(), "best.yaml is another order's")

    def test_neither_can(self):
        """leaky_relu(1) is no activation: both orders are one function, and differ by rounding and what follows from it. At 95 % one of twenty is claimed."""
        claims = []
        for seed in range(1, NULLS + 1):
            got, _ = self.where("neither-%d" % seed, seed, band, "leaky_relu(1)", .2)
            if got["pairs"][0]["better"]:
                claims.append(got["headline"])
        check(len(claims) <= 2, "%d of %d: %s" % (len(claims), NULLS, claims))

    def test_nothing_to_learn(self):
        got, r = self.where("noise", 1, noise, "relu", .3)
        check(r.returncode == 3 and got["pairs"][0]["verdict"] in ("nothing learned", "failures") and not got["pairs"][0]["better"], got["headline"])


if __name__ == "__main__":
    sys.exit(methods.main("where, made sets", Test))
