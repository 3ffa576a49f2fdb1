#!/usr/bin/env python3
"""convoy plot: curves where the logs have their numbers; damaged logs are named.

    test_plot.py --convoy build/gen/convoy [WORD...]"""
import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

import methods
from methods import check

SVG = "{http://www.w3.org/2000/svg}"


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.top, self.skipped = os.path.abspath(convoy), folder, []

    def run(self, *args, status=0):
        r = subprocess.run([self.convoy, "plot", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.top, timeout=60)
        r.out, r.err = r.stdout.decode(), r.stderr.decode()
        check(r.returncode == status, "%s: status %d, not %d: %s%s" % (args, r.returncode, status, r.out[:300], r.err))
        return r

    def log(self, name, epochs, torn="", **start):
        lines = [dict(event="start", network="net", optimizer="adam", lr=0.1, batch=64, seed=3, **start)]
        lines += [dict(event="epoch", epoch=i + 1, lr=0.1 / (i + 1), train_loss=t, valid_loss=v, train_accuracy=0.5, valid_accuracy=a, seconds=1.5)
                  for i, (t, v, a) in enumerate(epochs)]
        lines.append(dict(event="test", epoch=len(epochs), test_loss=0.7, test_accuracy=0.8125))
        with open(os.path.join(self.top, name), "w") as f:
            f.write("".join(json.dumps(line) + "\n" for line in lines) + torn)
        return name

    def panel(self, root, title):
        return next(g for g in root.iter(SVG + "g") if any(t.text == title for t in g.iter(SVG + "text")))

    def test_points(self):
        """Each point of a curve is at its epoch and its number, by the ticks that stand there."""
        epochs = [(2.0, 1.8, 0.4), (1.2, 1.5, 0.65), (0.9, 1.1, 0.6)]
        self.log("a.jsonl", epochs)
        root = xml.fromstring(self.run("a.jsonl").out)
        g = self.panel(root, "loss")
        ticks = {}
        for t in g.iter(SVG + "text"):
            if t.get("text-anchor") == "end" and t.text != "by epoch":
                ticks[float(t.text)] = float(t.get("y")) - 4
        at_x = {float(t.text): float(t.get("x")) for t in g.iter(SVG + "text") if t.get("text-anchor") == "middle"}
        (lo, y_lo), (hi, y_hi) = min(ticks.items()), max(ticks.items())
        check(lo <= 0.7 and hi >= 2.0 and len(at_x) == 3, (ticks, at_x))
        paths = {p.get("class"): p.get("d") for p in g.iter(SVG + "path") if p.get("class", "").startswith("l ")}
        for style, k in (("l l0 c0", 0), ("l l1 c0", 1)):
            points = [tuple(map(float, p.split())) for p in re.split("[ML]", paths[style])[1:]]
            for i, (x, y) in enumerate(points):
                check(abs(x - at_x[i + 1]) < 0.2 and abs(y_lo + (epochs[i][k] - lo) / (hi - lo) * (y_hi - y_lo) - y) < 0.2, (style, i, x, y))
        circle = next(g.iter(SVG + "circle"))
        check(abs(float(circle.get("cx")) - at_x[3]) < 0.2 and abs(y_lo + (0.7 - lo) / (hi - lo) * (y_hi - y_lo) - float(circle.get("cy"))) < 0.2, "the test")

    def test_page(self):
        self.log("a.jsonl", [(2, 1.8, 0.4), (1.2, 1.5, 0.65), (0.9, 1.1, 0.6)])
        self.log("b <i>&.jsonl", [(3, 2.8, 0.3)] * 12)
        os.makedirs(self.top + "/other", exist_ok=True)
        self.log("other/a.jsonl", [(1, 1, 0.9)])
        r = self.run("a.jsonl", "b <i>&.jsonl", "other/a.jsonl", "-o", "p.svg", "--html", "p.html")
        check(r.out == "wrote p.svg and p.html\n", r.out)
        page, svg = (open(self.top + "/" + f).read() for f in ("p.html", "p.svg"))
        check("65.00 % <small>(epoch 2)" in page and "81.25 % <small>(epoch 3)" in page and page.count("adam") == 3, page[-1500:])
        check("other/a.jsonl" in page and "<i>" not in page + svg and "viewport" in page and "prefers-color-scheme" in page, "names")
        check(not re.search(r"(?:src|href)=", page) and "http" not in page, "it fetches something")
        check({"c0", "c1", "c2"} <= set(" ".join(re.findall(r'class="([^"]*)"', svg)).split()), "a colour for each")
        xml.fromstring(svg)
        check(self.run("a.jsonl", "--html", "q.html").out == "wrote q.html\n" and not os.path.exists(self.top + "/q.svg"), "the page alone")

    def test_resumed_and_torn(self):
        """Epochs that are there twice count once, the later ones; a line that a killed training left is left out."""
        name = self.log("r.jsonl", [(2, 2, 0.1), (1, 1, 0.2)])
        again = self.log("s.jsonl", [(5, 5, 0.1), (4, 4, 0.3), (3, 3, 0.4)])
        with open(self.top + "/r.jsonl", "a") as f:
            f.write(open(self.top + "/" + again).read() + '{"event":"epo')
        r = self.run(name)
        check("ends within a line" in r.err, r.err)
        check(r.out.replace("r.jsonl", "s.jsonl") == self.run(again).out, "not the later epochs")

    def stats(self, epoch, values, **more):
        """A line of --stats in which each figure of the layers a, b, ... is its value times the figure's number, from 1 on."""
        def entries(kind, *keys):
            return [dict({kind: "%s.%s" % (n, kind)}, **{key: v * i for i, key in keys}) for n, v in values.items()]
        line = dict(event="stats", epoch=epoch, stages=entries("stage", (1, "mean"), (2, "sd"), (0.003, "near_zero"), (4, "never_above_zero")),
                    parameters=entries("parameter", (5, "gradient_norm"), (6, "update_ratio")), norms=entries("norm", (7, "mean_gap"), (8, "variance_ratio")), **more)
        for s in line["stages"]:
            s["units"] = 400
        return json.dumps(line) + "\n"

    def cells(self, name):
        """title -> row -> [(x, y, shade, epoch, value)], and the numbers beside the rows."""
        made = {}
        for g in xml.fromstring(self.run(name).out).iter(SVG + "g"):
            texts = list(g.iter(SVG + "text"))
            rows = [t for t in texts if t.find(SVG + "title") is not None]
            if not rows:
                continue
            at = {float(t.get("y")): t.find(SVG + "title").text for t in rows}
            beside = {at[float(t.get("y"))]: float(t.text) for t in texts if t.get("text-anchor") is None and float(t.get("y")) in at and t.get("class") == "s"}
            of = {name: [] for name in at.values()}
            for p in g.iter(SVG + "path"):
                x, y, _ = map(float, re.split("[Mh ]", p.get("d"))[1:])
                epoch, value = re.match("epoch (.*): (.*)", p.find(SVG + "title").text).groups()
                of[at[y + 3]].append((x, y, float(p.get("stroke-opacity")), int(epoch), float(value)))
            made[texts[0].text] = of, beside
        return made

    def test_layers(self):
        """Every figure of --stats has its cell, shaded by where it stands between the least and the greatest, or their logarithms."""
        name = self.log("t.jsonl", [(2, 2, 0.1), (1, 1, 0.2), (1, 1, 0.3)])
        values = [{"a": 1.0, "b": 4.0}, {"a": 2.0, "b": 8.0}, {"a": 1.0, "b": 16.0}]
        with open(self.top + "/t.jsonl", "a") as f:
            f.write(self.stats(1, {"a": 9.0, "gone": 1.0}) + self.stats(2, {"a": 9.0}))  # of before a --resume
            f.write("".join(self.stats(i + 1, v) for i, v in enumerate(values)))
        made = self.cells(name)
        wanted = {"mean": (1, False), "standard deviation": (2, True), "near zero, %": (0.3, False), "units never above zero, %": (1, False), "gradient norm": (5, True),
                  "update / weight": (6, True), "batch mean off the running one, in sd": (7, False), "batch variance / running one": (8, True)}
        check(list(made) == list(wanted), list(made))
        for title, (by, log) in wanted.items():
            of, beside = made[title]
            for row, cells in of.items():
                if row.startswith("gone"):
                    check(not cells, "a figure of before it was resumed")
                    continue
                for i, (x, y, shade, epoch, value) in enumerate(cells):
                    v = values[i][row[0]]
                    where = math.log(v) / math.log(16) if log else (v - 1) / 15
                    check(epoch == i + 1 and abs(value - by * v) < 1e-3 * by * v and abs(shade - (0.06 + 0.94 * where)) < 0.006, (title, row, cells))
                check(len(cells) == 3 and cells[0][0] < cells[1][0] < cells[2][0], (title, row, cells))
                check(abs(beside[row] - by * values[-1][row[0]]) < 5e-3 * beside[row], (title, beside))
        page = self.run(name, "--html", "t.html") and open(self.top + "/t.html").read()
        check(page.count('class="w c0"') == 8 * 6 and "the darker" in page, "the page")

    def test_layers_that_are_odd(self):
        """Many epochs have forty columns, the last one among them; what is no number, or no name, is left out."""
        self.log("many.jsonl", [(2, 2, 0.1)] * 100)
        with open(self.top + "/many.jsonl", "a") as f:
            f.write("".join(self.stats(i + 1, {"a" * 60 + "<": i + 1.0}) for i in range(100)))
            f.write('{"event":"stats","epoch":"2"}\n{"event":"stats"}\n')
        of, _ = self.cells("many.jsonl")["mean"]
        epochs = [c[3] for c in of["a" * 60 + "<.stage"]]
        check(len(epochs) == 40 and epochs[-1] == 100 and epochs == sorted(set(epochs)), epochs)
        with open(self.top + "/odd2.jsonl", "w") as f:
            f.write('{"event":"epoch","epoch":1,"train_loss":0}\n{"event":"stats","epoch":1,"stages":[1,{"stage":3,"mean":1},{"stage":"n","mean":null,"sd":0,'
                    '"never_above_zero":1},{"stage":"z","mean":-1e300,"sd":0,"units":0,"never_above_zero":0}],"parameters":{"a":1},"norms":null}\n')
        made = self.cells("odd2.jsonl")
        check({t: {r: [c[3:] for c in cells] for r, cells in of.items()} for t, (of, _) in made.items()} ==
              {"mean": {"z": [(1, -1e300)]}, "standard deviation": {"n": [(1, 0)], "z": [(1, 0)]}}, made)

    def test_wrong(self):
        for content, words in (("", "holds no epoch"), ("{}\n", "holds no epoch"), ("epoch 1\n", "line 1: it is no JSON object"),
                               ('{"event":"start"}\n[1]\n', "line 2: it is no JSON object")):
            with open(self.top + "/w.jsonl", "w") as f:
                f.write(content)
            r = self.run("w.jsonl", "-o", "w.svg", status=1)
            check("'w.jsonl'" in r.err and words in r.err and not os.path.exists(self.top + "/w.svg"), r.err)
        check("nowhere.jsonl" in self.run("nowhere.jsonl", status=1).err, "nowhere")
        check("LOG is missing" in self.run(status=2).err, "no log")
        # numbers that no axis can hold
        with open(self.top + "/odd.jsonl", "w") as f:
            f.write('{"event":"epoch","epoch":1,"train_loss":0,"lr":1e-300}\n{"event":"epoch","epoch":2,"train_loss":0,"valid_loss":null,"lr":1e300}\n')
        xml.fromstring(self.run("odd.jsonl").out)


if __name__ == "__main__":
    sys.exit(methods.main("plot", Test))
