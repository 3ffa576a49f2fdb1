#!/usr/bin/env python3
"""convoy predict: images that a network was trained with get the logits of their rows in the set, to the bit.

    test_predict.py --convoy build/gen/convoy [WORD...]"""
import json
import os
import shutil
import subprocess
import sys

import methods
import quick
from methods import check

try:
    import numpy as np
    from PIL import Image
    from dataset import Set, read
except ImportError as e:
    print("skipped: %s (Debian: python3-numpy python3-pil)\n0 passed, 0 failed, 1 skipped" % e)
    sys.exit(77)

SPEC = """name: net
input: [%s]
classes: %d
order: conv-bn-act
act: relu
layers:
  - conv: {out: 8, stride: 2}
  - flatten
  - linear: 16
  - linear: classes
train: {data: idx, epochs: 1, batch: 8, lr: 0.05, schedule: constant}
"""


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.top, self.skipped = os.path.abspath(convoy), folder, []
        self.rng = np.random.default_rng(8)

    def run(self, *args, status=0, **more):
        r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.top, timeout=300,
                           env=quick.env(), **more)
        r.out, r.err = r.stdout.decode("utf-8", "surrogateescape"), r.stderr.decode("utf-8", "surrogateescape")
        check(r.returncode == status, "%s: status %d, not %d: %s%s" % (" ".join(args[1:3]), r.returncode, status, r.out, r.err))
        return r

    def predict(self, *args, **more):
        return self.run(self.convoy, "predict", "net.yaml", "-o", self.build, *quick.OPTIONS, *args, **more)

    def spec(self, shape, classes, name="net.yaml"):
        self.build = "build-%s-%d" % ("-".join(map(str, shape)), classes)  # one that is there is compiled already
        with open(os.path.join(self.top, name), "w") as f:
            f.write(SPEC % (", ".join(map(str, shape)), classes))

    def picture(self, h, w, k):
        y, x = np.mgrid[0:h, 0:w]
        a = np.stack([(x * (k + 3) + y * (5 + c)) % 200 for c in range(3)], -1) + self.rng.integers(0, 56, (h, w, 3))
        return Image.fromarray(a.astype(np.uint8))

    def photos(self, classes=3):
        """A folder with a folder a class, of all that files do to a picture. Returns the files' names in it."""
        src, names = os.path.join(self.top, "photos"), []
        shutil.rmtree(src, ignore_errors=True)
        for k in range(classes):
            os.makedirs("%s/class %d" % (src, k), exist_ok=True)
            turned = Image.Exif()
            turned[0x112] = 3 + k % 6
            alpha = self.picture(31, 40, k)
            alpha.putalpha(Image.fromarray(self.rng.integers(0, 256, (31, 40), dtype=np.uint8)))
            kinds = [("small.png", self.picture(24, 20, k), {}), ("large.jpg", self.picture(150, 97, k), {"quality": 80}),
                     ("turned.jpg", self.picture(40, 61, k), {"exif": turned}), ("turned.png", self.picture(22, 50, k), {"exif": turned}),
                     ("grey.png", self.picture(30, 30, k).convert("L"), {}), ("grey.jpg", self.picture(33, 30, k).convert("L"), {}),
                     ("alpha.png", alpha, {}), ("palette.png", self.picture(28, 28, k).quantize(16), {}),
                     ("key.png", self.picture(28, 28, k).quantize(16), {"transparency": bytes(range(0, 256, 16))}),
                     ("deep.png", Image.fromarray(np.array(self.picture(24, 20, k).convert("L")).astype(np.uint16) * 256 + 77), {}),
                     ("cmyk.jpg", self.picture(24, 20, k).convert("CMYK"), {}), ("scans.jpg", self.picture(70, 20, k), {"progressive": True})]
            for name, picture, how in kinds:
                picture.save("%s/class %d/%s" % (src, k, name), **how)
                names.append("class %d/%s" % (k, name))
        return src, names

    def train(self, shape, *options, classes=3):
        """Weights of a short training on a set of photos, and where they lie."""
        src, names = self.photos(classes)
        self.run(self.convoy, "data", src, "-o", "set.safetensors", "-q", *options)
        self.spec(shape, classes)
        self.run(self.convoy, "train", "net.yaml", "-o", self.build, *quick.OPTIONS, "--data", "set.safetensors", "--save", "w.safetensors", "--quiet", "--force")
        return src, names

    def same_logits(self, shape, *options):
        src, names = self.train(shape, *options)
        s = Set(os.path.join(self.top, "set.safetensors"))
        rows = s.rows()
        np.save(self.top + "/rows.npy", np.stack([rows[n][1] for n in names]))
        self.run("%s/%s/net" % (self.top, self.build), "predict", "--weights", "w.safetensors", "--input", "rows.npy", "-o", "want.npy")
        want = np.load(self.top + "/want.npy")
        said = json.loads(self.predict("--weights", "w.safetensors", "--json", *[src + "/" + n for n in names]).out)
        check(len(said["images"]) == len(names), "not all images are there")
        for name, one, row in zip(names, said["images"], want):
            check(one["file"] == src + "/" + name, "%s stands where %s belongs" % (one["file"], name))
            have = np.array(one["logits"], np.float32)
            check(have.tobytes() == row.tobytes(), "%s: %s, not %s" % (name, have, row))
            share = np.exp(row.astype(float) - row.max())
            share /= share.sum()
            order = [c["number"] for c in one["classes"]]
            check(order == list(np.argsort(-row, kind="stable")) and [c["class"] for c in one["classes"]] == [s.classes[k] for k in order], one)
            check(np.abs(np.array([c["probability"] for c in one["classes"]]) - share[order]).max() < 1e-8, one)
        # one by one, as many at once
        alone = json.loads(self.predict("--weights", "w.safetensors", "--json", src + "/" + names[7]).out)
        check(alone["images"][0] == said["images"][7], "alone it has other logits")
        check(len({tuple(i["logits"]) for i in said["images"]}) > len(names) / 2, "most images have the same logits")

    # ---- the same as in training ----

    def test_colour(self):
        self.same_logits((3, 20, 24), "--size", "20x24")

    def test_grey_padded(self):
        self.same_logits((1, 17, 16), "--size", "17x16", "--fit", "pad", "--gray")

    def test_squashed(self):
        self.same_logits((3, 20, 24), "--size", "20x24", "--fit", "squash")

    def test_truncated(self):
        """What is kept of damaged files is kept here, too; otherwise they are refused."""
        src, _ = self.photos()
        path = src + "/class 1/large.jpg"
        whole = open(path, "rb").read()
        for keeps in (True, False):
            options = ["--keep-truncated"] if keeps else []
            self.train((3, 16, 16), "--size", "16x16", *options)
            open(path, "wb").write(whole[:len(whole) // 2])
            r = self.predict("--weights", "w.safetensors", path, status=0 if keeps else 1)
            check(path in r.err and ("is damaged" in r.err) == keeps, r.err)
            open(path, "wb").write(whole)

    # ---- what a training sees ----

    def batch(self, *args, **more):
        """What --show-batch says, and the numbers that it writes."""
        r = self.run(self.convoy, "data", "set.safetensors", "--show-batch", "net.yaml", "-o", "batch.npy", "--json", *args, **more)
        return json.loads(r.out), np.load(self.top + "/batch.npy")

    def test_shown_batch(self):
        """A step on the numbers that are shown makes, to the bit, the weights that the training itself makes."""
        src, names = self.train((3, 16, 16), "--size", "16x16")
        s = Set(self.top + "/set.safetensors")
        program = "%s/%s/net" % (self.top, self.build)
        words = "crop(3), flip, cutout(5)"
        shown = ["--n", "8", "--seed", "5", "--set", "train.augment=[%s]" % words]
        steps = -(-len(s["train.y"]) // 8)
        train = lambda *more: self.run(program, "train", "--data", "set.safetensors", "--seed", "5", "--augment", words, "--epochs", "2", "--no-eval", "--quiet",  # noqa: E731
                                       "--save", "b.safetensors", *more)
        for epoch, before in ((1, 0), (2, steps)):
            if epoch == 1:
                start = ["--weights", "w.safetensors"]
                train("--init-from", "w.safetensors", "--limit", "1", "--force")
            else:
                train("--resume", "--limit", str(before))
                for part in ("", ".state"):
                    shutil.copy(self.top + "/b%s.safetensors" % part, self.top + "/start%s.safetensors" % part)
                start = ["--weights", "start.safetensors", "--state", "start.state.safetensors"]
                train("--resume", "--limit", str(before + 1))
            said, x = self.batch("--epoch", str(epoch), *shown)
            np.save(self.top + "/labels.npy", np.array([row["label"] for row in said["rows"]]))

            def same(x):
                np.save(self.top + "/x.npy", x)
                self.run(program, "trace", *start, "--input", "x.npy", "--labels", "labels.npy", "-o", "t.safetensors", "--lr", "0.05", "--momentum", "0.9",
                         "--weight-decay", "5e-4", "--seed", "5")
                after, want = read(self.top + "/t.safetensors")[0], read(self.top + "/b.safetensors")[0]
                return all(after["after." + name].tobytes() == t.tobytes() for name, t in want.items())
            check(x.shape == (8, 3, 16, 16) and said["training_rows"] == len(s["train.y"]) and said["augment"] == words, said)
            check(same(x), "epoch %d: the training saw something else" % epoch)
            x[3, 1, 7, 8] += np.float32(2 / 255)
            check(not same(x), "one pixel of 6144 is of no account")
            check(all(row["name"] == s.names("train")[row["row"]] and row["class"] == s.classes[s["train.y"][row["row"]]] for row in said["rows"]), said["rows"])

    def test_shown_pictures(self):
        src, names = self.train((3, 16, 16), "--size", "16x16")
        s = Set(self.top + "/set.safetensors")
        said, x = self.batch("--n", "5", "--sheet", "sheet.png")
        sheet, rows = np.array(Image.open(self.top + "/sheet.png")), [s["train.x"][row["row"]] for row in said["rows"]]
        check(all(np.allclose(got, (row / 255 - 0.5) / 0.25, atol=1e-6) for got, row in zip(x, rows)), "rows are not scaled")
        for i, row in enumerate(rows):
            check((sheet[4:100:6, 4 + 100 * i:100 + 100 * i:6] == row.transpose(1, 2, 0)).all(), "picture %d" % i)
            words = sheet[100:113, 4 + 100 * i:100 + 100 * i]
            check(set(words.flat) == {0, 255}, "no words below picture %d" % i)
        # mixed: of two rows, by the share that is said
        said, x = self.batch("--n", "6", "--set", "train.augment=[mixup(0.8)]")
        scaled = (s["train.x"] / 255 - 0.5) / 0.25
        for row, got in zip(said["rows"], x):
            m = row["mixed"]
            others = scaled[[s.classes[y] == m["other"] for y in s["train.y"]]]
            off = np.abs(m["share"] * scaled[row["row"]] + m["other_share"] * others - got).max((1, 2, 3)).min()
            check(off < 1e-5 and abs(m["share"] + m["other_share"] - 1) < 1e-6, "%g %s" % (off, row))
        # a folder is imported first, as for a training; the spec's seed; a name for the sheet
        self.batch("--n", "4")
        r = self.run(self.convoy, "data", src, "--show-batch", "net.yaml", "--n", "4", "-o", "again.npy", "--sheet=other.png")
        check((np.load(self.top + "/again.npy") == np.load(self.top + "/batch.npy")).all() and "is imported into build-net.data.safetensors" in r.err, r.err)
        r = self.run(self.convoy, "data", "--show-batch", "net.yaml", "--set", "train.data=shapes", "--n", "4")
        check("wrote net-batch.png" in r.out and Image.open(self.top + "/net-batch.png").size == (404, 114), r.out)
        # what is wrong
        for args, status, word in ((["set.safetensors", "--epoch", "2"], 2, "--epoch is of --show-batch"), ([], 2, "SRC is missing"),
                                   (["--show-batch", "net.yaml"], 1, "--data"), (["nowhere", "--show-batch", "net.yaml"], 1, "nowhere"),
                                   (["set.safetensors", "--show-batch", "net.yaml", "--set", "input=[3, 16, 17]"], 1, "reads 3 x 16 x 17"),
                                   (["set.safetensors", "--show-batch", "net.yaml", "-o", "b.png"], 1, "--sheet b.png"),
                                   (["set.safetensors", "--show-batch", "net.yaml", "--n", "0"], 2, "--n")):
            r = self.run(self.convoy, "data", *args, status=status)
            check(word in r.err, "%s: %s" % (args, r.err))

    # ---- what is printed ----

    def test_top_five(self):
        src, names = self.train((3, 16, 16), "--size", "16x16", classes=7)
        lines = self.predict("--weights", "w.safetensors", src + "/" + names[0]).out.splitlines()
        check(len(lines) == 6 and lines[0] == src + "/" + names[0], lines)
        shares = [float(line.split("%")[0]) for line in lines[1:]]
        check(shares == sorted(shares, reverse=True) and all("%  class " in line for line in lines[1:]), lines)
        with open(src + "/" + names[0], "rb") as f:
            piped = self.predict("--weights", "w.safetensors", "-", stdin=f).out.splitlines()
        check(piped[1:] == lines[1:], piped)
        fifo = self.run("/bin/bash", "-c", "exec \"$0\" predict net.yaml -o %s %s --weights <(cat w.safetensors) <(cat \"$1\")" % (self.build, " ".join(quick.OPTIONS)), self.convoy,
                        src + "/" + names[0]).out.splitlines()
        check(fifo[1:] == lines[1:], fifo)

    def test_names_of_figures(self):
        self.spec((3, 16, 16), 3)
        self.run(self.convoy, "train", "net.yaml", "-o", self.build, *quick.OPTIONS, "--data", "shapes", "--save", "figures.safetensors", "--quiet", "--limit", "2", "--no-eval")
        src, names = self.photos()
        r = self.predict("--weights", "figures.safetensors", src + "/" + names[0])
        check("does not say how its images were read" in r.err and sorted(line.split()[-1] for line in r.out.splitlines()[1:]) ==
              ["disc", "ring", "square"], r.out + r.err)

    # ---- what is wrong ----

    def test_files_that_are_none(self):
        src, names = self.train((3, 16, 16), "--size", "16x16")
        open(self.top + "/empty.png", "w").close()
        open(self.top + "/text.png", "w").write("no image")
        bad = ["empty.png", "text.png", "nowhere.png", src]
        r = self.predict("--weights", "w.safetensors", bad[0], bad[1], src + "/" + names[0], bad[2], bad[3], status=1)
        check(all("'%s': " % b in r.err for b in bad), r.err)
        check(r.out.splitlines()[0] == src + "/" + names[0] and len(r.out.splitlines()) == 4, r.out)
        said = json.loads(self.predict("--weights", "w.safetensors", "--json", *bad, status=1).out)
        check([i["file"] for i in said["images"] if "error" in i] == bad, said)
        name = os.path.join(os.fsencode(self.top), b"\xff\n.png")
        Image.open(src + "/" + names[0]).save(os.fsdecode(name), format="PNG")
        said = json.loads(self.predict("--weights", "w.safetensors", "--json", os.fsdecode(name)).out)
        check(said["images"][0]["file"].endswith("\\xFF\\x0A.png"), said)

    def test_what_does_not_fit(self):
        src, names = self.train((3, 16, 16), "--size", "16x16")
        image = src + "/" + names[0]
        check("FILE is missing" in self.predict("--weights", "w.safetensors", status=2).err, "no image is no error")
        check("nowhere.safetensors" in self.predict("--weights", "nowhere.safetensors", image, status=1).err, "weights that are not there")
        check("net.safetensors" in self.predict(image, status=1).err, "the weights' usual name")
        self.spec((3, 16, 20), 3)
        r = self.predict("--weights", "w.safetensors", image, status=1)
        check("'w.safetensors' was trained with images of 3 x 16 x 16; the network 'net' reads 3 x 16 x 20" in r.err, r.err)
        self.spec((3, 16, 16), 5)
        r = self.predict("--weights", "w.safetensors", image, status=1)
        check("'w.safetensors' was trained with 3 classes; the network 'net' has 5" in r.err, r.err)
        self.spec((3, 16, 16), 3)
        text = open(self.top + "/net.yaml").read()
        open(self.top + "/net.yaml", "w").write(text.replace("act: relu", "act: elu"))
        check("was trained as another network" in self.predict("--weights", "w.safetensors", image, status=1).err, "another network")
        check(len(self.predict("--weights", "w.safetensors", "--force", image).out.splitlines()) == 4, "--force")
        raw = open(self.top + "/w.safetensors", "rb").read()
        for key, old, new in (("recipe", b'\\"fit\\":\\"crop\\"', b'\\"fit\\":\\"crap\\"'), ("classes", b'[\\"class 0', b'{\\"class 0')):
            check(raw.count(old) == 1, key)
            open(self.top + "/bad.safetensors", "wb").write(raw.replace(old, new))
            r = self.predict("--weights", "bad.safetensors", image, status=1)
            check("its metadata has no valid '%s'" % key in r.err, r.err)

    def table(self, name, columns, rows, text):
        """A table of normal numbers; text(x): the rest of a row."""
        x = self.rng.normal(3, 2, (rows, columns))
        with open(self.top + "/" + name, "w") as f:
            f.write(",".join("f%d" % c for c in range(columns)) + "," + text(None) + "\n")
            f.writelines(",".join("%.9g" % v for v in row) + "," + text(row) + "\n" for row in x)
        return x

    def trained_table(self, head, *options):
        """The spec and the weights of a short training on table.csv; the set."""
        open(self.top + "/net.yaml", "w").write("name: net\ninput: [3]\n%s\nlayers:\n  - linear: {out: 8, order: linear-act}\n  - linear: %s\n"
                                                "train: {data: idx, epochs: 2, batch: 8, lr: 0.01, mean: [3, 3.1, 2.9], std: [2, 1.9, 2.1]}\n"
                                                % (head, head.split(":")[0]))
        self.run(self.convoy, "data", "table.csv", "-o", "table.safetensors", "-q", *options)
        self.build = "build-%s" % head.replace(": ", "-")
        self.run(self.convoy, "train", "net.yaml", "-o", self.build, *quick.OPTIONS, "--data", "table.safetensors", "--save", "t.safetensors", "--quiet", "--force")
        return Set(self.top + "/table.safetensors")

    def same_answers(self, s, key):
        """Each row of the table gets the answers of its row in the set, to the bit."""
        rows = s.rows()
        said = {os.path.basename(i["file"]): i[key] for i in json.loads(self.predict("--weights", "t.safetensors", "--json", "table.csv").out)["images"]}
        check(sorted(said) == sorted(rows), "not the rows of the table")
        names = sorted(rows)
        x = np.stack([rows[n][1] for n in names])
        mean, std = np.array([3, 3.1, 2.9], np.float32), np.array([2, 1.9, 2.1], np.float32)
        np.save(self.top + "/rows.npy", ((x - mean[:, None, None]) / std[:, None, None]).astype(np.float32))
        self.run("%s/%s/net" % (self.top, self.build), "predict", "--weights", "t.safetensors", "--input", "rows.npy", "-o", "want.npy")
        want = np.load(self.top + "/want.npy")
        for name, row in zip(names, want):
            check(np.array(said[name], np.float32).tobytes() == row.tobytes(), "%s: %s, not %s" % (name, said[name], row))
        return dict(zip(names, want))

    def test_numbers_of_a_table(self):
        """Several columns to learn: named in what is predicted, and in an evaluation, whose errors are in their units."""
        x = self.table("table.csv", 3, 90, lambda r: "price,age" if r is None else "%.9g,%d" % (2 * r[0] - r[1], 10 * r[2]))
        s = self.trained_table("outputs: 2", "--target", "price,age")
        check(json.loads(s.meta["targets"]) == ["price", "age"], s.meta)
        answers = self.same_answers(s, "values")
        lines = self.predict("--weights", "t.safetensors", "table.csv").out.splitlines()
        check(lines[:3] == ["table.csv:2", "  price %.6g" % answers["table.csv:2"][0], "  age %.6g" % answers["table.csv:2"][1]], lines[:3])
        program = "%s/%s/net" % (self.top, self.build)
        eval_ = [program, "eval", "--weights", "t.safetensors", "--data", "table.safetensors"]
        said = json.loads(self.run(*eval_, "--json", "--report", "page.html").out)
        off = np.array([answers[n] for n in s.names("test")], float) - s["test.y"]
        check([o["name"] for o in said["outputs"]] == ["price", "age"], said["outputs"])
        check(np.allclose([o["rmse"] for o in said["outputs"]], np.sqrt((off ** 2).mean(0)), rtol=1e-5), said["outputs"])
        check("<td>price<td class=n>" in open(self.top + "/page.html").read(), "the page names no target")
        # columns in another order, another one among them; rows that cannot be read
        table = [line.split(",") for line in open(self.top + "/table.csv").read().split("\n")]
        with open(self.top + "/other.csv", "w") as f:
            f.write("f2,note,f0,f1\n" + "".join("%s,n,%s,%s\n" % (r[2], r[0], r[1]) for r in table[1:4]) + "1,n,nan,3\n1,n,x,3\n1,n\n")
        r = self.predict("--weights", "t.safetensors", "other.csv", status=1)
        check(r.out.splitlines()[1:3] == lines[1:3], r.out)
        check(all(w in r.err for w in ("'other.csv:5': column 'f0': 'nan' is no number", "'other.csv:6': column 'f0': 'x' is no number", "'other.csv:7': ")), r.err)
        open(self.top + "/short.csv", "w").write("f0,f1\n1,2\n")
        check("it has no column 'f2'" in self.predict("--weights", "t.safetensors", "short.csv", status=1).err, "a column that is not there")
        r = self.run(program, "train", "--data", "table.safetensors", "--no-save", "--epochs", "1")
        check("  price: RMSE " in r.out and "  age: RMSE " in r.out, r.out)
        # what does not fit
        r = self.run(self.convoy, "train", "net.yaml", "-o", self.build, *quick.OPTIONS, "--data", "table.safetensors", "--set", "outputs=3", status=1)
        check("with 2 numbers to learn, price, age; the network 'net' reads 3 x 1 x 1 and has 3 outputs" in r.err, r.err)
        text = open(self.top + "/net.yaml").read()
        open(self.top + "/net.yaml", "w").write(text.replace("outputs: 2", "outputs: 3"))
        r = self.predict("--weights", "t.safetensors", "table.csv", status=1)
        check("was trained with 2 numbers to learn; the network 'net' has 3" in r.err, r.err)
        check(len(x) == 90, x)

    def test_classes_of_a_table(self):
        self.table("table.csv", 3, 60, lambda r: "class" if r is None else "high" if r[0] > 3 else "low")
        s = self.trained_table("classes: 2")
        self.same_answers(s, "logits")
        src, names = self.photos(1)
        r = self.predict("--weights", "t.safetensors", src + "/" + names[0], status=1)
        check(names[0] in r.err, r.err)
        open(self.top + "/bare.csv", "w").write("1,2,3\n4,5,6\n")
        lines = self.predict("--weights", "t.safetensors", "bare.csv").out.splitlines()
        check([line for line in lines if line[0] != " "] == ["bare.csv:1", "bare.csv:2"] and sorted(line.split()[-1] for line in lines[1:3]) == ["high", "low"], lines)

    def test_tokens(self):
        """Tokens from a table and from arrays of whole numbers; what is none is named with its file and row."""
        rows = self.rng.integers(0, 9, (60, 5))
        text = ["a,b,c,d,e,kind"] + ["%s,k%d" % (",".join(map(str, r)), r[0] > 4) for r in rows]
        write = lambda name, lines: open(self.top + "/" + name, "w").write("\n".join(lines) + "\n")  # noqa: E731
        write("tokens.csv", text)
        write("net.yaml", ["name: net", "input: {tokens: 9, length: 5}", "classes: 2", "layers:", "  - embed: 6", "  - lstm: {hidden: 4, forget_bias: 2}", "  - linear: classes",
                           "train: {data: idx, epochs: 2, batch: 8, lr: 0.05}"])
        self.build = "build-tokens"
        train = ["train", "net.yaml", "-o", self.build, *quick.OPTIONS, "--data", "tokens.csv", "--label", "kind", "--quiet"]
        self.run(self.convoy, *train, "--save", "tokens.safetensors")
        said = json.loads(self.predict("--weights", "tokens.safetensors", "--json", "tokens.csv").out)["images"]
        program = "%s/%s/net" % (self.top, self.build)
        predict = [program, "predict", "--weights", "tokens.safetensors", "-o", "y.npy", "--input"]
        for x in (rows.astype("i8"), rows.astype("u1").reshape(60, 1, 1, 5), rows.astype("f4"), rows.astype("i4")):
            np.save(self.top + "/x.npy", x)
            self.run(*predict, "x.npy")
            y = np.load(self.top + "/y.npy")
            check(all(np.array(one["logits"], np.float32).tobytes() == a.tobytes() for one, a in zip(said, y)), "%s: other logits" % x.dtype)
        self.run(self.convoy, *train, "--lr", "0", "--weight-decay", "0", "--save", "drawn.safetensors")  # how it began
        drawn = read(self.top + "/drawn.safetensors")[0]
        for name, begins in (("bias_ih_l0", 2), ("bias_hh_l0", 0)):
            bias = drawn["lstm1." + name]
            check((bias[4:8] == begins).all() and np.abs(np.delete(bias, slice(4, 8))).max() <= 0.5 and (np.delete(bias, slice(4, 8)) != begins).all(), "%s: %s" % (name, bias))
        for bad in (9, -1, 2.5):
            x = rows.astype("f8")
            x[7, 3] = bad
            np.save(self.top + "/x.npy", x)
            r = self.run(*predict, "x.npy", status=1)
            check("'x.npy': row 7, place 3: %g is no token" % bad in r.err, r.err)
            write("new.csv", text[:2] + [",".join(map(str, [*rows[1][:2], bad, 0, 0]))])
            r = self.predict("--weights", "tokens.safetensors", "new.csv", status=1)
            check("'new.csv:3': column 'c': %g is no token" % bad in r.err and r.out.startswith("new.csv:2\n"), r.err + r.out)
        np.save(self.top + "/x.npy", rows[:, :4])
        check("has shape [60, 4]; the network reads tokens: [n, 5]" in self.run(*predict, "x.npy", status=1).err, "a shorter row")
        write("tokens.csv", text[:9] + ["1,2,9,0,0,k0"] + text[10:])
        r = self.run(self.convoy, *train, "--no-save", status=1)
        check("(tokens.csv:10), place 2: 9 is no token of the network 'net', which has 9" in r.err, r.err)

    def test_rows_that_were_no_images(self):
        np.savez(self.top + "/rows.npz", x=self.rng.normal(size=(60, 3)).astype(np.float32), y=np.arange(60) % 2)
        os.replace(self.top + "/rows.npz", self.top + "/table.csv.npz")
        open(self.top + "/net.yaml", "w").write("name: net\ninput: [3]\nclasses: 2\nlayers:\n  - linear: {out: 8, order: linear-act}\n  - linear: classes\n"
                                                "train: {data: idx, epochs: 1, batch: 8, lr: 0.05}\n")
        self.build = "build-classes-2"
        self.run(self.convoy, "data", "table.csv.npz", "-o", "table.safetensors", "-q")
        self.run(self.convoy, "train", "net.yaml", "-o", self.build, *quick.OPTIONS, "--data", "table.safetensors", "--save", "t.safetensors", "--quiet", "--force")
        src, names = self.photos(1)
        r = self.predict("--weights", "t.safetensors", src + "/" + names[0], status=1)
        check("was trained with arrays" in r.err, r.err)

    def test_a_set_is_kept(self):
        """Weights never take the place of a set, which often has their name."""
        self.train((3, 16, 16), "--size", "16x16")
        before = open(self.top + "/set.safetensors", "rb").read()
        for more in ([], ["--force"]):
            r = self.run(self.convoy, "train", "net.yaml", "-o", self.build, *quick.OPTIONS, "--data", "set.safetensors", "--save", "set.safetensors", *more, status=1)
            check("is a set, not weights" in r.err and open(self.top + "/set.safetensors", "rb").read() == before, r.err)


if __name__ == "__main__":
    sys.exit(methods.main("predict", Test))
