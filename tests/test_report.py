#!/usr/bin/env python3
"""What is said of a trained network: by class, what is taken for what, the worst predicted samples; compared with the logits, in numpy.

    test_report.py --convoy build/gen/convoy [WORD...]"""
import base64
import html.parser
import io
import json
import os
import re
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

NET = "name: net\ninput: [%s]\nclasses: %d\nlayers:\n  - flatten\n  - linear: 8\n  - linear: classes\ntrain: {data: idx, batch: 16, lr: 0.02, epochs: 2, mean: [%s], std: [%s]}\n"
CLASSES = ["ant", "bee <b>", "cow & calf", "it's", "\"quoted\"", "fox", "gnu"]


class Page(html.parser.HTMLParser):
    """Tags, text and pictures; fails where something comes from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.pictures = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for key, value in attributes:
            check(key not in ("src", "href") or value.startswith("data:"), "it fetches %s" % value)
            if key == "src":
                self.pictures.append(np.array(Image.open(io.BytesIO(base64.b64decode(value.split(",")[1], validate=True)))))

    def handle_data(self, data):
        self.words.append(data)


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.top, self.skipped = os.path.abspath(convoy), folder, []
        self.rng = np.random.default_rng(10)

    def run(self, *args, status=0):
        r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.top, timeout=300, text=True, env=quick.env())
        check(r.returncode == status, "%s: status %d, not %d: %s%s" % (" ".join(args[1:4]), r.returncode, status, r.stdout, r.stderr))
        return r

    def spec(self, shape, classes):
        same = lambda v: ", ".join([v] * shape[0])  # noqa: E731
        return NET % (", ".join(map(str, shape)), classes, same("0"), same("1"))

    def trained(self, shape, classes, data):
        """Weights of a short training, and what the logits of the test rows are."""
        with open(self.top + "/net.yaml", "w") as f:
            f.write(self.spec(shape, classes))
        r = self.run(self.convoy, "train", "net.yaml", "-o", "build", *quick.OPTIONS, "--data", data, "--save", "w.safetensors", "--force")
        s = Set(os.path.join(self.top, data))
        np.save(self.top + "/x.npy", s["test.x"])  # floats are taken as they are: the spec's mean is 0 and its std 1
        self.run(self.top + "/build/net", "predict", "--weights", "w.safetensors", "--input", "x.npy", "-o", "y.npy")
        return r, s, np.load(self.top + "/y.npy").astype(float)

    def compare(self, s, y, classes):
        """`eval --json` with what numpy makes of the logits. Returns what it says."""
        label = s["test.y"]
        said = json.loads(self.run(self.top + "/build/net", "eval", "--weights", "w.safetensors", "--data", self.data, "--json").stdout)
        best = y.argmax(1)
        matrix = np.zeros((len(classes), len(classes)), int)
        np.add.at(matrix, (label, best), 1)
        check(said["confusion"] == matrix.tolist(), "%s, not %s" % (said["confusion"], matrix.tolist()))
        for c, one in enumerate(said["classes"]):
            check(one["class"] == classes[c] and one["images"] == (label == c).sum(), one)
            check(abs(one["accuracy"] - (matrix[c, c] / max(1, matrix[c].sum()))) < 1e-8, one)
        k = min(5, len(classes))
        top = np.mean([label[i] in np.argsort(-y[i], kind="stable")[:k] for i in range(len(y))])
        check(said["top_k"] == k and abs(said["top_k_accuracy"] - top) < 1e-8, "top %d: %s, not %s" % (k, said["top_k_accuracy"], top))
        loss = np.log(np.exp(y - y.max(1, keepdims=True)).sum(1)) + y.max(1) - y[np.arange(len(y)), label]
        wrong = np.flatnonzero(best != label)
        order = wrong[np.argsort(-loss[wrong], kind="stable")][:24]
        names = s.names("test")
        check([w["name"] for w in said["worst"]] == [names[i] for i in order], "worst: %s" % [w["name"] for w in said["worst"]])
        for w, i in zip(said["worst"], order):
            check(w["class"] == classes[label[i]] and w["taken_for"] == classes[best[i]] and abs(w["loss"] - loss[i]) < 1e-6 * max(1, loss[i]), w)
        check(len(order) > 3, "too few are wrong for a test")
        return said, order

    def photos(self):
        src = self.top + "/photos"
        for k, c in enumerate(CLASSES):
            os.makedirs("%s/%s" % (src, c))
            for i in range(30):
                a = self.rng.integers(0, 200, (9, 7, 3)) + 8 * k
                Image.fromarray(a.astype(np.uint8)).save("%s/%s/%02d&.png" % (src, c, i))
        self.run(self.convoy, "data", "photos", "-o", "photos.safetensors", "-q")
        self.data = "photos.safetensors"

    def test_images(self):
        self.photos()
        classes = sorted(CLASSES, key=lambda c: c.encode())
        r, s, y = self.trained((3, 9, 7), 7, self.data)
        said, order = self.compare(s, y, classes)
        # at the end of the training
        end = r.stdout[r.stdout.index("test loss"):]
        lines = re.findall(r"^(.{16})((?: +\d+)+) +([0-9.]+)%$", end, re.M)
        check([[int(v) for v in line[1].split()] for line in lines] == said["confusion"], end)
        check([line[0].rstrip() for line in lines] == [c[:16] for c in classes], end)
        check("in the first 5: %.2f%%" % (100 * said["top_k_accuracy"]) in end, end)
        check(re.findall(r"^  (\S.*?): .*, taken for", end, re.M) == [w["name"] for w in said["worst"][:5]], end)
        quiet = self.run(self.convoy, "train", "net.yaml", "-o", "build", *quick.OPTIONS, "--data", self.data, "--save", "w2.safetensors", "--quiet")
        check(quiet.stdout == "", quiet.stdout)
        # the page
        r = self.run(self.top + "/build/net", "eval", "--weights", "w.safetensors", "--data", self.data, "--report", "page.html")
        check("wrote page.html" in r.stdout and "test accuracy" in r.stdout, r.stdout)
        text = open(self.top + "/page.html", encoding="utf-8").read()
        page = Page(text)
        check("b" not in page.tags[page.tags.index("table"):page.tags.index("table") + 60], "a name is read as HTML")
        words = "".join(page.words)
        check(all(c in words for c in classes) and "viewport" in text and "prefers-color-scheme:dark" in text and "http" not in text, "the page")
        check(len(page.pictures) == len(order), "%d pictures" % len(page.pictures))
        for picture, i in zip(page.pictures, order):
            check((picture.transpose(2, 0, 1) == s["test.x"][i]).all(), "a picture is not row %d" % i)
        check(all(w["name"] in words for w in said["worst"]), "names are missing")
        # again: the same bytes; and where it cannot be written, the old one stays
        self.run(self.top + "/build/net", "eval", "--weights", "w.safetensors", "--data", self.data, "--report", "page2.html", "--threads", "1")
        check(open(self.top + "/page2.html", encoding="utf-8").read() == text, "another run writes another page")
        r = self.run(self.top + "/build/net", "eval", "--weights", "w.safetensors", "--data", self.data, "--report", "nowhere/page.html", status=1)
        check("nowhere" in r.stderr, r.stderr)

    def test_features(self):
        """Rows that are no pictures, two classes, names of a table's lines."""
        with open(self.top + "/t.csv", "w") as f:
            f.write("a,b,c,class\n" + "".join("%g,%g,%g,%s\n" % (*self.rng.normal(size=3), "yes" if i % 3 else "no") for i in range(300)))
        self.data = "t.safetensors"
        self.run(self.convoy, "data", "t.csv", "-o", self.data, "-q")
        _, s, y = self.trained((3,), 2, self.data)
        said, _ = self.compare(s, y, ["no", "yes"])
        self.run(self.top + "/build/net", "eval", "--weights", "w.safetensors", "--data", self.data, "--report", "t.html")
        page = Page(open(self.top + "/t.html", encoding="utf-8").read())
        check(not page.pictures and said["worst"][0]["name"] in "".join(page.words) and "in the first" not in "".join(page.words), page.words)
        # through a pipe the names cannot be looked up
        r = self.run("/bin/bash", "-c", "build/net eval --weights w.safetensors --data <(cat t.safetensors) --json")
        check(json.loads(r.stdout)["worst"][0]["name"].startswith("image "), r.stdout)

    def test_figures(self):
        """Classes as the runtime calls them, numbers as names; more classes than a matrix is printed of."""
        with open(self.top + "/net.yaml", "w") as f:
            f.write(self.spec((1, 9, 9), 14))
        r = self.run(self.convoy, "train", "net.yaml", "-o", "build", *quick.OPTIONS, "--data", "shapes", "--save", "f.safetensors", "--train-images", "300", "--test-images", "200")
        check("the classes that are told worst" in r.stdout and re.search(r"\d  +\w+, taken for \w+", r.stdout) and "image " in r.stdout, r.stdout)
        said = json.loads(self.run(self.top + "/build/net", "eval", "--weights", "f.safetensors", "--data", "shapes", "--json", "--test-images", "200").stdout)
        check([c["class"] for c in said["classes"]][8:] == ["dots", "chevron", "10", "11", "12", "13"] and said["classes"][13]["images"] == 0, said["classes"])


if __name__ == "__main__":
    sys.exit(methods.main("report", Test))
