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

    def test_verdict(self):
        """The plan is said first and kept; the same command again trains nothing; study and report agree."""
        to = os.path.join(self.folder, "w")
        shutil.copytree(self.short, to)
        status, out, err = self.run("-o", to, "--spec", self.spec, "--minutes", "20", "--margin", "3")
        check(status in (0, 3), "status %d: %s%s" % (status, out, err))
        check("300 rows to train with and to choose by, 150 to test, 3 classes" in out, out)
        said = re.search(r"2 variants, 70 trainings of (\d+) epochs on 300 rows, about \d+ minutes", out)
        check(said and int(said.group(1)) == 30, "twenty minutes are enough for all of it: %s" % out)
        # 100 sqrt(.06 / 150) t(.975, 9) / sqrt(10) = 1.43
        check("With 10 seeds and these test rows, differences below about 1.4 points cannot be shown." in out, out)
        check(out.index("cannot be shown") < out.index("pair  "), "said before it is done")
        study = open(os.path.join(to, "study.yaml")).read()
        check(study.startswith("# Made by convoy where of %s; convoy study goes on with it.\n" % self.set), study)
        check("seeds: 10\nepochs: 30\nrows: 300\npick_rows: 2000\n" in study and "margin: 3\n" in study, study)
        csv = os.path.join(to, "runs.csv")
        before = open(csv).read()
        check(sum(",count," in x for x in before.split("\n")) == 2 * 10 * 3, "counted trainings")
        again = self.run("-o", to, "--minutes", "0.001")
        check(again[0] == status and again[1].startswith(out[out.index("differences below"):].split("\n", 1)[1][:60]), "again: %r" % (again,))
        check(open(csv).read() == before, "a second run changed the CSV")
        r = subprocess.run([self.convoy, "study", os.path.join(to, "study.yaml"), "-o", to, "--json"], capture_output=True, text=True, env=self.env)
        check(r.returncode == status and json.loads(r.stdout)["seeds"] == 10, "convoy study on its file: %s%s" % (r.stdout, r.stderr))

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
        status, out, err = self.run("-o", to, "--minutes", "20")
        check(status in (0, 3) and not out.startswith("Interim"), "going on: %s%s" % (out, err))

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
