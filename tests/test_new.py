#!/usr/bin/env python3
"""From people's data to a training: convoy new --data, and convoy train --data SRC, which imports once, and again where something changed.

    test_new.py --convoy build/gen/convoy [WORD...]"""
import csv
import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys

import methods
import quick
from methods import check

try:
    import numpy as np
    from PIL import Image
    from dataset import Set
except ImportError as e:
    print("skipped: %s (Debian: python3-numpy python3-pil)\n0 passed, 0 failed, 1 skipped" % e)
    sys.exit(77)

NET = "name: net\ninput: [%s]\nclasses: %d\nlayers:\n  - conv: {out: 4, stride: 4, order: conv-act}\n  - flatten\n  - linear: classes\ntrain: {data: idx}\n"


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.top, self.skipped = os.path.abspath(convoy), folder, []
        self.rng = np.random.default_rng(9)

    def run(self, *args, status=0):
        options = quick.OPTIONS if args[0] in ("train", "predict") else []
        r = subprocess.run([self.convoy, *args, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.top, timeout=300, text=True,
                           env=quick.env())
        check(r.returncode == status, "%s: status %d, not %d: %s%s" % (" ".join(args[:3]), r.returncode, status, r.stdout, r.stderr))
        return r

    def file(self, name, text):
        with open(os.path.join(self.top, name), "w") as f:
            f.write(text)

    def photos(self, name, n=6, size=(20, 26), classes=("cat", "dog", "it's"), mode="RGB"):
        src = os.path.join(self.top, name)
        shutil.rmtree(src, ignore_errors=True)
        for k, c in enumerate(classes):
            os.makedirs("%s/%s" % (src, c))
            for i in range(n):
                a = self.rng.integers(0, 80, (size[0], size[1], 3)) + np.arange(3) * 40 * (k - 1) + 80
                Image.fromarray(a.astype(np.uint8)).convert(mode).save("%s/%s/%d.png" % (src, c, i))
        return name

    def fits(self, data, *options):
        """The spec that `new` writes for the data: its text, checked against the set."""
        for f in ("fit.yaml",):
            if os.path.exists(os.path.join(self.top, f)):
                os.remove(os.path.join(self.top, f))
        r = self.run("new", "fit", "--data", data, *options)
        made = os.path.join(self.top, "build-fit.data.safetensors")
        s = Set(os.path.join(self.top, data) if data.endswith(".safetensors") else made)
        text = open(self.top + "/fit.yaml").read()
        rows = s["train.x"].shape
        said = [int(v) for v in re.search(r"^input: \[(.*?)\]", text, re.M).group(1).split(",")]
        check(said == [rows[1]] if rows[2] == rows[3] == 1 else said == list(rows[1:]), "input %s for rows %s" % (said, rows))
        check(int(re.search(r"^classes: (\d+)", text, re.M).group(1)) == len(s.classes), "classes")
        for key, want in (("mean", s.mean), ("std", s.sd)):
            have = [float(v) for v in re.search(r"^  %s: \[(.*)\]" % key, text, re.M).group(1).split(",")]
            check(np.allclose(have, [w or 1 for w in want], rtol=1e-5), "%s: %s, not %s" % (key, have, want))
        check("{:,} rows to train with".format(rows[0]) in text, "it does not say how many rows there are")
        checked = self.run("check", "fit.yaml")
        check("warning" not in checked.stderr, checked.stderr)
        return r, text, s

    def train(self, spec, data, *more, **how):
        return self.run("train", spec, "--data", data, "-o", "build", "--epochs", "1", "--save", "w.safetensors", "--force", *more, **how)

    # ---- specs that fit ----

    def test_fits(self):
        """Sizes, depths and widths go with the data, and what `new` says next works."""
        r, text, s = self.fits(self.photos("photos"))
        check("convoy train fit.yaml --data photos\n" in r.stdout and "# cat, dog, it's" in text, r.stdout + text)
        self.fits("build-fit.data.safetensors")
        few = text
        check(re.findall(r"conv: (\S+)", few)[0] == "16", few)
        _, text, _ = self.fits(self.photos("large", n=2, size=(150, 200)), "--size", "200x260")
        check(text.count("stride: 2") == 5 and "begins by halving" in text, text)
        _, text, _ = self.fits(self.photos("tiny", size=(7, 5), mode="L"))
        check("stride" not in text and text.count("- conv") == 2, text)
        _, text, _ = self.fits(self.photos("line", size=(1, 40)))
        rows = self.rng.integers(0, 255, (3500, 12, 12), dtype=np.uint8)
        np.savez(self.top + "/rows.npz", x=rows, y=np.arange(3500) % 11)
        _, text, _ = self.fits("rows.npz")
        check("- conv: 32" in text, text)
        idx = os.path.join(self.top, "digits")
        os.makedirs(idx, exist_ok=True)
        for split, n in (("train", 300), ("t10k", 40)):
            with gzip.open("%s/%s-images-idx3-ubyte.gz" % (idx, split), "wb") as f:
                f.write(struct.pack(">IIII", 0x803, n, 9, 8) + self.rng.integers(0, 256, n * 72, dtype=np.uint8).tobytes())
            with gzip.open("%s/%s-labels-idx1-ubyte.gz" % (idx, split), "wb") as f:
                f.write(struct.pack(">II", 0x801, n) + bytes(i % 4 for i in range(n)))
        self.run("data", "digits", "-o", "digits.safetensors", "-q")
        r, _, _ = self.fits("digits.safetensors")
        self.run("data", "photos", "-o", "fit.safetensors", "-q")
        r, _, _ = self.fits("fit.safetensors")
        check("--data fit.safetensors --save fit-weights.safetensors" in r.stdout, r.stdout)

    def test_learns(self):
        """Features in CSV, images: what `new` wrote learns what is easily told apart, and predicts it."""
        with open(self.top + "/flowers.csv", "w") as f:
            w = csv.writer(f)
            w.writerow(["length", "width", "colour", "kind"])
            for i in range(300):
                k = i % 3
                w.writerow(["%.3f" % (self.rng.normal() + 4 * k), "%.3f" % (100 * self.rng.normal()), "%.3f" % (self.rng.normal() - 3 * (k == 1)), "uvw"[k]])
        self.fits("flowers.csv")
        r = self.run("train", "fit.yaml", "--data", "flowers.csv", "--quiet", "--log", "log.jsonl", "--save", "f.safetensors")
        check("imported" not in r.stderr, "new's set is made again: " + r.stderr)
        found = [float(v) for v in re.findall(r'"test_accuracy":([0-9.]+)', open(self.top + "/log.jsonl").read())]
        check(found[-1] > 0.85, found)
        self.fits(self.photos("photos", n=20, size=(10, 13)))
        r = self.run("train", "fit.yaml", "--data", "photos", "--save", "p.safetensors", "--epochs", "20")
        check("imported" not in r.stderr, "new's set is made again: " + r.stderr)
        names = [os.path.join("photos", c, "%d.png" % i) for c in ("cat", "dog", "it's") for i in range(5)]
        said = self.run("predict", "fit.yaml", "--weights", "p.safetensors", *names).stdout.splitlines()
        best = [said[i + 1].split("%  ")[1] for i in range(0, len(said), 4)]
        check(sum(b == n.split("/")[1] for b, n in zip(best, names)) >= 13, said)

    def test_learns_numbers(self):
        """A column of numbers: new's spec learns a product, eval and its page say how well, an image's numbers are predicted; a training that resumes ends alike."""
        with open(self.top + "/numbers.csv", "w") as f:
            w = csv.writer(f)
            w.writerow(["a", "b", "c", "price"])
            for a, b, c in self.rng.normal(0, 1, (600, 3)):
                w.writerow(["%.4f" % v for v in (a, b, 5 * c, 2 * a - b * c)])
        self.run("new", "price", "--data", "numbers.csv")
        text = open(self.top + "/price.yaml").read()
        check("outputs: 1 " in text and "loss: mse" in text and "- linear: outputs" in text, text)
        r = self.run("train", "price.yaml", "--data", "numbers.csv", "--log", "log.jsonl", "--save", "n.safetensors")
        check(re.search(r"epoch 1/\d+  loss [0-9.]+  rmse [0-9.]+  valid loss [0-9.]+  valid rmse", r.stdout) and "acc" not in r.stdout, r.stdout)
        log = [json.loads(line) for line in open(self.top + "/log.jsonl")]
        check(all(abs(e["valid_rmse"] ** 2 - e["valid_loss"]) < 1e-6 for e in log if e["event"] == "epoch") and "train_accuracy" not in log[1], log[1])
        program, data = self.top + "/build-price/price", self.top + "/build-price.data.safetensors"
        e = json.loads(subprocess.run([program, "eval", "--data", data, "--weights", self.top + "/n.safetensors", "--json"], stdout=subprocess.PIPE).stdout)
        s = Set(data)
        np.save(self.top + "/x.npy", ((s["test.x"] - np.array(s.mean).reshape(-1, 1, 1)) / np.array(s.sd).reshape(-1, 1, 1)).astype(np.float32))
        subprocess.run([program, "predict", "--weights", self.top + "/n.safetensors", "--input", self.top + "/x.npy", "-o", self.top + "/y.npy", "--quiet"], check=True)
        off, want = np.load(self.top + "/y.npy")[:, 0].astype(np.float64) - s["test.y"], s["test.y"].astype(np.float64)
        r2 = 1 - (off ** 2).sum() / ((want - want.mean()) ** 2).sum()
        check(abs(e["loss"] - (off ** 2).mean()) < 1e-4 * e["loss"] + 1e-6 and abs(e["r2"] - r2) < 1e-4 and e["r2"] > 0.9, (e["loss"], e["r2"], r2))
        check(e["worst"][0]["row"] == int(np.argmax(off ** 2)), e["worst"][0])
        page = subprocess.run([program, "eval", "--data", data, "--weights", self.top + "/n.safetensors", "--report", self.top + "/r.html"], stdout=subprocess.PIPE, text=True)
        check(page.returncode == 0 and "RMSE" in open(self.top + "/r.html").read() and "R2 0.9" in page.stdout, page.stdout)
        half = [program, "train", "--data", data, "--epochs", "4", "--quiet", "--no-eval"]
        for save, more in (("whole", []), ("parts", ["--limit", "37"]), ("parts", ["--resume"])):
            subprocess.run([*half, "--save", "%s/%s.safetensors" % (self.top, save), *more], check=True)
        check(all(open("%s/whole%s" % (self.top, f), "rb").read() == open("%s/parts%s" % (self.top, f), "rb").read() for f in (".safetensors", ".state.safetensors")), "resumed")

    # ---- imports on the way ----

    def test_imports_once(self):
        made = os.path.join(self.top, "build.data.safetensors")
        src = self.photos("snaps")
        self.file("net.yaml", NET % ("3, 16, 16", 3))
        r = self.train("net.yaml", src)
        check("'snaps' is imported into build.data.safetensors" in r.stderr and "16 x 16, as the network reads them; averages over areas [--size HxW]" in " ".join(r.stdout.split()),
              r.stderr + r.stdout)
        self.run("data", "snaps", "-o", "same.safetensors", "-q", "--size", "16x16")
        check(open(made, "rb").read() == open(self.top + "/same.safetensors", "rb").read(), "convoy data makes another set")
        def again(why, *more):
            r = self.train("net.yaml", src, *more)
            check(why in r.stderr and ("imported" in r.stderr) == (why != "is as it was"), "%s: %s" % (why, r.stderr))
        again("is as it was")
        one = os.path.join(self.top, "snaps/cat/1.png")
        os.utime(one, ns=(10**18, 10**18))
        again("names, sizes or times of the files have changed")
        again("is as it was")
        os.rename(one, one.replace("1.png", "one.png"))
        again("names, sizes or times of the files have changed")
        open(one, "wb").write(open(one.replace("1.png", "2.png"), "rb").read() + b"x")
        again("names, sizes or times of the files have changed")
        again("it was made with other options", "--split", "60/20/20")
        check(Set(made).recipe["split"] == "0.6/0.2/0.2", "the split")
        again("is as it was", "--split=60/20/20")
        again("it was made with other options")
        self.file("net.yaml", NET % ("1, 16, 20", 3))
        again("or for another input")
        check(Set(made)["train.x"].shape[1:] == (1, 16, 20), "grey, of another size")
        open(made, "ab").write(b"x")
        again("it has been written since")
        os.remove(made + ".from")
        again("it was made of something else")
        os.remove(made)
        again("is imported into")
        again("it was made with other options", "--gray")
        check("--quiet" not in self.train("net.yaml", src, "--quiet").stdout, "quiet")
        check(self.train("net.yaml", src, "--quiet").stdout == "", "--quiet says something")

    def test_not_imported(self):
        """What the program takes as it is stays so."""
        self.file("net.yaml", NET % ("1, 16, 16", 3))
        r = self.train("net.yaml", "shapes", "--train-images", "64", "--test-images", "64")
        check("imported" not in r.stderr, r.stderr)
        for data in ("shapes", "same.safetensors"):
            if data != "shapes":
                self.run("data", self.photos("others"), "-o", data, "-q", "--gray", "--size", "16x16")
            r = self.train("net.yaml", data, "--size", "9x9", status=1)
            check("--size: '%s' is taken as it is" % data in r.stderr, r.stderr)
        r = self.run("train", "net.yaml", "--size", "9x9", status=2)
        check("--size is of an import: --data SRC names what to import" in r.stderr, r.stderr)
        r = self.train("net.yaml", "shapes", "--siez", "9x9", status=2)
        check("--size" in r.stderr, r.stderr)

    # ---- what is wrong ----

    def test_what_does_not_fit(self):
        """Both are named, before anything is compiled."""
        src = self.photos("photos")
        self.run("data", src, "-o", "photos.safetensors", "-q")
        for shape, classes, data, words in (("3, 20, 20", 3, "photos.safetensors", "'photos.safetensors' holds rows of 3 x 20 x 26 in 3 classes; the network 'net' reads 3 x 20 x 20 and has 3"),
                                            ("3, 20, 26", 4, "photos.safetensors", "'photos.safetensors' holds rows of 3 x 20 x 26 in 3 classes; the network 'net' reads 3 x 20 x 26 and has 4"),
                                            ("3, 12, 12", 2, src, "'never.data.safetensors' holds rows of 3 x 12 x 12 in 3 classes; the network 'net' reads 3 x 12 x 12 and has 2")):
            self.file("net.yaml", NET % (shape, classes))
            r = self.run("train", "net.yaml", "--data", data, "-o", "never", status=1)
            check(words in r.stderr and "compiling" not in r.stderr and not os.path.exists(self.top + "/never"), r.stderr)
        self.file("numbers.csv", "a,b,price\n" + "".join("%d,%d,%.2f\n" % (i, i % 7, i * 1.37) for i in range(90)))
        self.file("net.yaml", NET % ("1, 8, 8", 3))
        r = self.run("train", "net.yaml", "--data", "numbers.csv", "-o", "never", status=1)
        check("is for regression: its labels are numbers, price; the network 'net' learns 3 classes" in r.stderr, r.stderr)
        self.file("net.yaml", "name: net\ninput: [3, 20, 26]\noutputs: 2\nlayers:\n  - flatten\n  - linear: outputs\ntrain: {loss: mse}\n")
        r = self.run("train", "net.yaml", "--data", "photos.safetensors", "-o", "never", status=1)
        check("has classes; the network 'net' learns 2 numbers of each row by mean squared error" in r.stderr, r.stderr)
        self.run("data", "numbers.csv", "-o", "numbers.safetensors", "-q")
        self.file("net.yaml", "name: net\ninput: [2]\noutputs: 2\nlayers:\n  - linear: outputs\n")
        r = self.run("train", "net.yaml", "--data", "numbers.safetensors", "-o", "never", status=1)
        check("holds rows of 2 x 1 x 1 with 1 number to learn, price; the network 'net' reads 2 x 1 x 1 and has 2 outputs" in r.stderr, r.stderr)
        check("there is no 'nowhere'" in self.run("new", "bad", "--data", "nowhere", status=1).stderr, "nowhere")
        check("one of them says" in self.run("new", "bad", "--data", src, "--preset", "pytorch-resnet", status=1).stderr, "--preset")
        self.file("bad.yaml", "mine")
        check("is there already" in self.run("new", "bad", "--data", src, status=1).stderr and open(self.top + "/bad.yaml").read() == "mine", "written over")
        os.remove(self.top + "/bad.yaml")
        self.file("text.bin", "nothing that is known\0\1")
        check("text.bin" in self.run("new", "bad", "--data", "text.bin", status=1).stderr, "no data")
        raw = open(self.top + "/photos.safetensors", "rb").read()
        for old, new, words in ((b'"sd"', b'"se"', "no mean and sd"), (b'"train.x"', b'"train.z"', "is no set"), (b'[\\"cat', b'{\\"cat', "no valid 'classes'")):
            check(raw.count(old) >= 1, old)
            open(self.top + "/odd.safetensors", "wb").write(raw.replace(old, new, 1))
            r = self.run("new", "bad", "--data", "odd.safetensors", status=1)
            check(words in r.stderr, r.stderr)
        check(not os.path.exists(self.top + "/bad.yaml"), "a spec was written")


if __name__ == "__main__":
    sys.exit(methods.main("new", Test))
