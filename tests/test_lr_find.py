#!/usr/bin/env python3
"""NAME lr-find: its losses beside numpy's for the same steps, its choice beside what the curve says.

    test_lr_find.py --convoy build/gen/convoy [WORD...]"""
import json
import os
import struct
import subprocess
import sys

import methods
import quick
from methods import check

try:
    import numpy as np
    from dataset import Set
except ImportError as e:
    print("skipped: %s (Debian: python3-numpy)\n0 passed, 0 failed, 1 skipped" % e)
    sys.exit(77)

NET = """name: net
input: [6]
classes: 4
layers:
  - linear: classes
train: {data: idx, batch: 240, lr: 0, momentum: 0, weight_decay: 0, epochs: 1, schedule: constant, mean: [0, 0, 0, 0, 0, 0], std: [1, 1, 1, 1, 1, 1]}
"""


def weights(path):
    """A checkpoint's tensors of float32."""
    raw = open(path, "rb").read()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    return {n: np.frombuffer(raw[8 + length:][slice(*t["data_offsets"])], np.float32).reshape(t["shape"])
            for n, t in header.items() if n != "__metadata__" and t["dtype"] == "F32"}


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.top, self.skipped = os.path.abspath(convoy), folder, []
        rng = np.random.default_rng(11)
        x = rng.normal(size=(360, 6))
        y = (x @ rng.normal(size=(6, 4)) + 0.3 * rng.normal(size=(360, 4))).argmax(1)
        np.savez(self.top + "/rows.npz", x=x.astype(np.float32), y=y)
        with open(self.top + "/net.yaml", "w") as f:
            f.write(NET)
        self.run(self.convoy, "data", "rows.npz", "-o", "rows.safetensors", "-q", "--features")
        self.run(self.convoy, "train", "net.yaml", "-o", "build", *quick.OPTIONS, "--data", "rows.safetensors", "--save", "w.safetensors", "--quiet")

    def run(self, *args, status=0):
        r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.top, timeout=300, text=True, env=quick.env())
        check(r.returncode == status, "%s: status %d, not %d: %s%s" % (" ".join(args[1:4]), r.returncode, status, r.stdout, r.stderr))
        return r

    def find(self, *args, **more):
        return self.run(self.top + "/build/net", "lr-find", "--data", "rows.safetensors", *args, **more)

    def test_beside_numpy(self):
        """All rows are one batch, so that their order does not matter: each step can be computed here."""
        s, w = Set(self.top + "/rows.safetensors"), weights(self.top + "/w.safetensors")
        x, y = s["train.x"].reshape(len(s["train.y"]), -1).astype(float), s["train.y"]
        check(len(y) > 240, len(y))
        x, y = x[:240], y[:240]
        name = [n for n in w if n.endswith("weight")][0]
        a, b = w[name].astype(float), w[name.replace("weight", "bias")].astype(float)
        said = json.loads(self.find("--train-images", "240", "--init-from", "w.safetensors", "--json", "--from", "1e-3", "--to", "1e3", "--steps", "60").stdout)
        n = said["steps"]
        check(np.allclose(said["lr"], 1e-3 * (1e6) ** (np.arange(n) / 59), rtol=1e-6), said["lr"])
        losses, smooth, mean = [], [], 0.0
        for i in range(n):
            z = x @ a.T + b
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            losses.append(-np.log(p[np.arange(240), y]).mean())
            g = p
            g[np.arange(240), y] -= 1
            a, b = a - said["lr"][i] * g.T @ x / 240, b - said["lr"][i] * g.mean(0)
            mean = 0.98 * mean + 0.02 * said["loss"][i]
            smooth.append(mean / (1 - 0.98 ** (i + 1)))
        calm = sum(r < 50 for r in said["lr"])  # beyond, each step makes differences larger
        off = np.abs(np.array(said["loss"]) / losses - 1)
        check(calm > 40 and off[:calm].max() < 1e-6, off)
        check(np.allclose(said["smoothed"], smooth, rtol=1e-7), "smoothed")
        least = [min(smooth[:i + 1]) for i in range(n)]
        away = [i for i in range(6, n) if smooth[i] > 4 * least[i]]
        check((away == [n - 1]) if said["ran_away"] else (away == [] and n == 60), (away, n))
        fall = [(smooth[i + 1] - smooth[i - 1]) / np.log(said["lr"][i + 1] / said["lr"][i - 1]) for i in range(5, n - 1)]
        check(abs(np.log(said["steepest"] / said["lr"][5 + int(np.argmin(fall))])) < 1e-6, said["steepest"])
        check(abs(said["tenth_of_least"] * 10 / said["lr"][5 + int(np.argmin(smooth[5:]))] - 1) < 1e-6, said["tenth_of_least"])

    def test_said(self):
        """What is printed names a rate that trains; nothing is written; any number of threads says the same."""
        before = sorted(os.listdir(self.top))
        one, two = (self.find("--batch", "32", "--threads", t, "--to", "1000").stdout for t in "12")
        check(one == two and "net train --lr " in one and "the loss ran away" in one, one)
        check(sorted(os.listdir(self.top)) == before, "it writes something")
        rate = one.split("net train --lr ")[1].split()[0]
        self.run(self.top + "/build/net", "train", "--data", "rows.safetensors", "--no-save", "--quiet", "--lr", rate, "--batch", "32", "--epochs", "15", "--log", "l.jsonl")
        last = [json.loads(line) for line in open(self.top + "/l.jsonl")][-1]
        check(last["test_accuracy"] > 0.7, last)

    def test_wrong(self):
        check("the rate is to rise" in self.find("--from", "1", "--to", "1", status=1).stderr, "from and to")
        check("whole number" in self.find("--steps", "9", status=2).stderr, "--steps")
        check("nowhere" in self.find("--init-from", "nowhere.safetensors", status=1).stderr, "--init-from")
        check("there is no" in self.run(self.top + "/build/net", "lr-find", "--data", "nowhere", status=1).stderr, "--data")


if __name__ == "__main__":
    sys.exit(methods.main("lr_find", Test))
