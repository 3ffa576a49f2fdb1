#!/usr/bin/env python3
"""convoy where: what it plans for a set and a time, that it goes on, what it refuses.

    test_where.py --convoy build/gen/convoy [WORD...]"""
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

import methods
import quick
from methods import check
from study_small import SPEC, write_set


# The block that is printed, run: the tiny network made of it has the outputs of the twin, which other tests hold beside convoy.
AGREES = """
import subprocess, sys
line, best, weights, convoy = sys.argv[1:]
try:
    import torch
    from torch import nn
except ImportError:
    sys.exit(77)
sys.path.insert(0, %r)
from torch_common import st_read
exec(line)
named, twin = {}, {}
exec(subprocess.run([convoy, 'twin', best], capture_output=True, text=True, check=True).stdout, twin)
net = twin['Tiny']()
tensors = {k: torch.from_numpy(v.copy()) for k, v in st_read(weights)[0].items()}
net.load_state_dict(tensors)
mine = nn.Sequential(block(1, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
state = dict(zip(mine.state_dict(), net.state_dict().values()))
assert [v.shape for v in state.values()] == [v.shape for v in mine.state_dict().values()]
mine.load_state_dict(state)
net.eval(), mine.eval()
x = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(1))
assert (net(x) - mine(x)).abs().max() < 1e-6
net.train(), mine.train()
assert (net(x) - mine(x)).abs().max() < 1e-6
assert all((a - b).abs().max() < 1e-6 for a, b in zip(net.state_dict().values(), mine.state_dict().values()))
""" % os.path.dirname(os.path.abspath(__file__))


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.folder, self.skipped = os.path.abspath(convoy), folder, []
        self.env = quick.env()
        self.set, self.spec = os.path.join(folder, "tiny.safetensors"), os.path.join(folder, "tiny.yaml")
        write_set(self.set)
        with open(self.spec, "w") as f:
            f.write(SPEC)
        # the first one compiles; the others begin with its programs
        self.short = os.path.join(folder, "short")
        self.said = self.run("-o", self.short, "--spec", self.spec, "--minutes", "0.001")

    def start(self, *args, data=None):
        return subprocess.Popen([self.convoy, "where", data or self.set, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env,
                                cwd=self.folder)

    def run(self, *args, data=None):
        p = self.start(*args, data=data)
        out, err = p.communicate(timeout=600)
        return p.returncode, out, err

    def test_too_short(self):
        """Where the time is not enough for a verdict, it says how much is, and trains nothing."""
        status, out, err = self.said
        check(status == 3 and re.search(r"No verdict in the time that is left: three seeds of 5 epochs would take about \d+ minutes here\. Nothing was trained\.", out),
              "status %d: %s%s" % (status, out, err))
        check(not os.path.exists(os.path.join(self.short, "runs.csv")) and not os.path.exists(os.path.join(self.short, "study.yaml")), "something was left")

    def test_folds(self):
        """Rows that had no split of their own are dealt into folds: the plan says so, and the interval is that of training sets that overlap."""
        to, whole = os.path.join(self.folder, "folds"), os.path.join(self.folder, "whole.safetensors")
        shutil.copytree(self.short, to)
        write_set(whole, cut="0.7/0.15/0.15")
        status, out, err = self.run("-o", to, "--spec", self.spec, "--minutes", "20", "--seeds", "3", "--margin", "3", data=whole)
        check(status in (0, 3), "status %d: %s%s" % (status, out, err))
        # of 450 rows a fifth is tested with
        said = re.search(r"(\d+) rows to train with and to choose by, (\d+) to test, in each of 5 folds \(there are no test rows of their own\), 3 classes", out)
        check(said and int(said[1]) in range(355, 361) and int(said[2]) in range(85, 91), out)
        # 100 sqrt(.12 / rows) t(.975, 2) sqrt(1 / 3 + 1 / 4)
        below = 100 * (.12 / int(said[2])) ** .5 * 4.3027 * (1 / 3 + 1 / 4) ** .5
        check("With 3 seeds and these rows, differences below about %.2g points cannot be shown." % below in out, out)
        check("\nfolds: 5\n" in open(os.path.join(to, "study.yaml")).read(), "study.yaml")
        csv = open(os.path.join(to, "runs.csv")).read()
        check("\n# overlap: 0.25\n" in csv in csv, csv[:1500])
        r = subprocess.run([self.convoy, "study", "--report", os.path.join(to, "runs.csv"), "--json"], capture_output=True, text=True, env=self.env)
        pair = json.loads(r.stdout)["pairs"][0]
        check(pair["verdict"] in ("nothing", "failed") or "on rows like these" in pair["sentence"], pair["sentence"])
        if pair["interval"]:
            (lo, hi), (low, high) = pair["interval"], pair["interval_these_rows"]
            check(abs((hi - lo) / (high - low) - (1 + 3 / 4) ** .5) < 1e-6, "%r" % pair)
            check("For these very rows, not others like them: " in " ".join(out.split()), out)
        check("trained with all folds" in " ".join(out.split()), out)

    def test_verdict(self):
        """The plan is said first and kept; the same command again trains nothing; study and report agree."""
        to = os.path.join(self.folder, "w")
        shutil.copytree(self.short, to)
        status, out, err = self.run("-o", to, "--spec", self.spec, "--minutes", "20", "--margin", "3")
        check(status in (0, 3), "status %d: %s%s" % (status, out, err))
        check("300 rows to train with and to choose by, 150 to test, 3 classes" in out, out)
        said = re.search(r"2 variants, 130 trainings of (\d+) epochs on 300 rows, about \d+ minutes", out)
        check(said and int(said.group(1)) == 30, "twenty minutes are enough for all of it: %s" % out)
        # 100 sqrt(.12 / 150) t(.975, 19) / sqrt(20) = 1.32: all rows and 30 epochs leave time for the most seeds
        check("With 20 seeds and these test rows, differences below about 1.3 points cannot be shown." in out, out)
        check(out.index("cannot be shown") < out.index("pair  "), "said before it is done")
        study = open(os.path.join(to, "study.yaml")).read()
        check(re.match("# Made by convoy where of \"?%s\"?; convoy study goes on with it.\n" % re.escape(self.set), study), study)
        check("seeds: 20\nepochs: 30\nrows: 300\npick_rows: 2000\n" in study and "margin: 3\n" in study, study)
        csv = os.path.join(to, "runs.csv")
        before = open(csv).read()
        check(sum(",count," in x for x in before.split("\n")) == 2 * 20 * 3, "counted trainings")
        best = max(float(x.split(",")[5]) for x in before.split("\n") if ",screen," in x and x.split(",")[9] == "0")
        below = 100 * (.8 * best * (1 - best) / 150) ** .5 * 2.0930 / 20 ** .5
        check(best == 1 or "The rates are found. With 20 seeds and these test rows, differences below about %.2g points" % below in err, err)
        self.kept(to, out)
        again = self.run("-o", to, "--minutes", "0.001")
        check(again[0] == status and again[1].startswith(out[out.index("differences below"):].split("\n", 1)[1][:60]), "again: %r" % (again,))
        check(open(csv).read() == before, "a second run changed the CSV")
        plan = json.load(open(os.path.join(to, "plan.json")))
        check((plan["seeds"], plan["epochs"], plan["rows"], plan["test_rows"]) == (20, 30, 300, 150) and abs(plan["cannot_show_below"] - 1.324) < .01 and
              [v["what"] for v in plan["variants"]] == ["order=conv-bn-act", "order=conv-act-bn"], "plan.json: %r" % plan)
        r = subprocess.run([self.convoy, "study", os.path.join(to, "study.yaml"), "-o", to, "--json"], capture_output=True, text=True, env=self.env)
        check(r.returncode == status and json.loads(r.stdout)["seeds"] == 20, "convoy study on its file: %s%s" % (r.stdout, r.stderr))

    def kept(self, to, out):
        """The network to keep: its spec and weights, the score that is quoted, the page, and the block for PyTorch."""
        best, weights = (os.path.join(to, "best" + x) for x in (".yaml", ".safetensors"))
        text = open(best).read()
        score = re.search(r"Expect ([0-9.]+) %, the rounds' mean", " ".join(out.split()))
        csv = [x.split(",") for x in open(os.path.join(to, "runs.csv")).read().split("\n") if ",count," in x]
        name = re.search(r"Written by convoy where: '(\w+)'", text).group(1)
        rate = float(re.search(r"lr: ([0-9.e-]+)", text).group(1))
        check(rate in {float(x[4]) for x in csv if x[0] == name}, "rate %g was not among those of %s" % (rate, name))
        means = re.search(r"^%s +([0-9.]+) " % name, out, re.M)
        check(score and means and abs(float(score.group(1)) - float(means.group(1))) < .06, "the score: %s" % out)
        page = open(os.path.join(to, "report.html")).read()
        check("The network to keep" in page and "BatchNorm2d" in page and "In other libraries" not in page, "the page")
        flat = " ".join(out.split())
        check("a training step" in flat and "inference" in flat and ("No difference in cost" in flat or "is cheaper" in flat), "cost: %s" % out)
        left = sorted(x for x in os.listdir(to) if x.startswith("best"))
        check(left == ["best.safetensors", "best.yaml"], "left behind: %r" % left)
        check("Conv2D(o, 3, strides=s, use_bias=" in out and "BatchNormalization(momentum=0.9, epsilon=1e-5)" in out and "ZeroPadding2D(1)" in out, "Keras: %s" % out)
        check("bn_1st=%s" % ("True" if name == "before" else "False") in out and "bias=" in out, "fastai: %s" % out)
        line = re.search(r"^# PyTorch\n(def block.*)$", out, re.M).group(1)
        r = subprocess.run([sys.executable, "-c", AGREES, line, best, weights, self.convoy], capture_output=True, text=True, env=self.env)
        if r.returncode == 77:
            self.skipped.append("PyTorch")
            print("skipped: the block for PyTorch, run (Debian: python3-torch)")
        else:
            check(r.returncode == 0, "the block for PyTorch: %s%s" % (r.stdout, r.stderr))

    def test_time_is_over(self):
        """A round that cannot end in time is not begun: what there is is judged at 99.9 %, and the same command goes on."""
        to = os.path.join(self.folder, "over")
        shutil.copytree(self.short, to)
        with open(os.path.join(to, "study.yaml"), "w") as f:
            f.write("name: over\nspec: %s\ndata: %s\nvariants: {before: {order: conv-bn-act}, after: {order: conv-act-bn}}\nprimary: [before, after]\n"
                    "screen: 1\nseeds: 4\nepochs: 2\n" % (self.spec, self.set))
        status, out, err = self.run("-o", to, "--minutes", "0.001")
        check(status == 3 and "the time is over, and 24 trainings are left: the same command goes on" in err, "status %d: %s%s" % (status, out, err))
        check(out.startswith("Interim, 0 of 4 seeds"), out)
        p = self.start("-o", to, "--minutes", "20")  # Ctrl-C after the first round: what there is, at 99.9 %
        for line in p.stderr:
            if re.match("[123] of 4 rounds", line):
                p.send_signal(signal.SIGINT)
                break
        out, err = p.communicate()
        check(p.returncode == 130 and re.match("Interim, [123] of 4 seeds", out) and "stopped; " in err, "Ctrl-C: status %d: %s%s" % (p.returncode, out, err))
        check(len(re.findall("^# look: [123]$", open(os.path.join(to, "runs.csv")).read(), re.M)) == 1, "the look is not counted")
        status, out, err = self.run("-o", to, "--minutes", "20")
        check(status in (0, 3) and not out.startswith("Interim"), "going on: %s%s" % (out, err))

    def test_first_look(self):
        """--quick: one seed at each rate, no verdict, and the same command without it goes on from there."""
        to = os.path.join(self.folder, "quick")
        shutil.copytree(self.short, to)
        status, out, err = self.run("-o", to, "--spec", self.spec, "--minutes", "20", "--quick")
        check(status == 3 and "2 variants, 10 trainings of 30 epochs" in out, "status %d: %s%s" % (status, out, err))
        check(re.search(r"A first look: one seed at 5 rates, which cannot be a verdict\. 3 seeds would take about \d+ minutes: the same command with more "
                        r"--minutes, without --quick, goes on\.", out), out)
        check("Interim, 0 of 3 seeds" in out and "after - before at each rate" in out and not os.path.exists(os.path.join(to, "best.yaml")), out)
        csv = open(os.path.join(to, "runs.csv")).read()
        check(csv.count(",screen,") >= 10 and ",count," not in csv, "what was trained: %s" % csv)
        with open(os.path.join(to, "study.yaml")) as f:
            text = f.read()
        check("seeds: 3\n" in text and "epochs: 30\n" in text, text)

    def test_variants(self):
        """--variants and --thorough: what stands in the study's file; a wrong order is refused with its place."""
        to, odd = os.path.join(self.folder, "variants"), os.path.join(self.folder, 'a "name"\\ \t of\nits own.safetensors')
        shutil.copy(self.set, odd)
        status, out, err = self.run("-o", to, "--spec", self.spec, "--variants", "conv-act-bn,conv-act", "--minutes", "0.001", data=odd)
        check(status == 3 and "three seeds of 5 epochs" in out, "status %d: %s%s" % (status, out, err))
        check(sorted(os.listdir(os.path.join(to, "build"))) == ["conv-act", "conv-act-bn"], "variants: %r" % os.listdir(os.path.join(to, "build")))
        for bad, word in (("conv-bn-act,conv-xn-act", "xn"), ("conv-bn-act", "'variants' must be a map of two"), ("conv-bn-act,", "primary")):
            status, out, err = self.run("-o", os.path.join(self.folder, "bad"), "--spec", self.spec, "--variants", bad)
            check(status == 1 and "error" in err and "Traceback" not in err, "%s: status %d: %s" % (bad, status, err))
        check(not os.path.exists(os.path.join(self.folder, "bad", "study.yaml")), "a refused plan was kept")

    def test_network(self):
        """Without --spec a network that fits is written; it is a spec that convoy takes."""
        to = os.path.join(self.folder, "own")
        p = self.start("-o", to)
        path = os.path.join(to, "network.yaml")
        for _ in range(1000):
            if os.path.exists(path):
                break
            time.sleep(.01)
        p.send_signal(signal.SIGINT)
        p.communicate()
        out = subprocess.run([self.convoy, "check", path, "--json"], capture_output=True, text=True)
        check(out.returncode == 0, "convoy check: %s" % out.stderr)
        text = open(path).read()
        check("input: [1, 6, 6]\nclasses: 3\n" in text and "mean: [0.5], std: [0.15]" in text, text)

    def test_refused(self):
        """Rows that are no images, data that are not there, a time that is none."""
        def tensor(shape, a, b, dtype):
            return {"dtype": dtype, "shape": shape, "data_offsets": [a, b]}
        n, at, head, data = 40, 0, {"__metadata__": {"classes": '["a", "b"]'}}, b""
        for split in ("train", "test"):
            head[split + ".y"] = tensor([n], at, at + 8 * n, "I64")
            at += 8 * n
            data += struct.pack("<%dq" % n, *[i % 2 for i in range(n)])
        for split in ("train", "test"):
            head[split + ".x"] = tensor([n, 5, 1, 1], at, at + 20 * n, "F32")
            at += 20 * n
            data += struct.pack("<%df" % (5 * n), *[float(i % 7) for i in range(5 * n)])
        text = json.dumps(head).encode()
        text += b" " * (-len(text) % 8)
        path = os.path.join(self.folder, "table.safetensors")
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + data)
        status, out, err = self.run(data=path)
        check(status == 1 and "the rows of" in err and "are no images (5 x 1 x 1)" in err and "--spec SPEC" in err, "status %d: %s" % (status, err))
        status, out, err = self.run(data=os.path.join(self.folder, "none"))
        check(status == 1 and "none" in err, "status %d: %s" % (status, err))
        check(not os.path.exists(os.path.join(self.folder, "where-none")), "an empty folder was left")
        status, out, err = self.run(data=self.set + "s")
        check(status == 1 and "did you mean '%s'?" % self.set in err, "status %d: %s" % (status, err))
        # another set of the same name, in another folder
        os.mkdir(os.path.join(self.folder, "other"))
        write_set(os.path.join(self.folder, "other", "tiny.safetensors"))
        to = os.path.join(self.folder, "taken")
        os.mkdir(to)
        with open(os.path.join(to, "study.yaml"), "w") as f:
            f.write("# Made by convoy where of %s; convoy study goes on with it.\nname: taken\n" % self.set)
        status, out, err = self.run("-o", to, data=os.path.join(self.folder, "other", "tiny.safetensors"))
        check(status == 1 and "is the study of other images" in err and self.set in err, "status %d: %s" % (status, err))
        status, out, err = self.run("--minutes", "0")
        check(status == 2 and "--minutes" in err, "status %d: %s" % (status, err))


sys.exit(methods.main("where", Test))
