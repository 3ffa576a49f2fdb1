#!/usr/bin/env python3
"""convoy data: sets made of files that other programs wrote (Pillow, numpy, ImageMagick), compared with what those programs read.

    test_data.py --convoy build/gen/convoy [WORD...]"""
import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import methods
import quick
from methods import check

try:
    import numpy as np
    from PIL import Image, ImageOps
    from dataset import Set
except ImportError as e:
    print("skipped: %s (Debian: python3-numpy python3-pil)\n0 passed, 0 failed, 1 skipped" % e)
    sys.exit(77)

MAGICK = next((p for p in ("/usr/bin/convert", "/usr/bin/magick") if os.path.exists(p)), None)


def as_pillow(path, channels, size=None, fit="crop"):
    """An image as Pillow reads it: upright, over white, grey or RGB; cropped, padded or squashed, by its box filter. c x h x w."""
    im = Image.open(path)
    if im.mode == "I;16" or im.mode == "I":  # Pillow would clip; the upper bytes are what its 16-bit colour images keep
        im = Image.fromarray((np.array(im) >> 8).astype(np.uint8))
    im = ImageOps.exif_transpose(im)
    if im.mode in ("LA", "PA", "RGBA") or "transparency" in im.info:
        im = im.convert("RGBA")
        im = Image.composite(im.convert("RGB"), Image.new("RGB", im.size, "white"), im.getchannel("A"))
    im = im.convert("L" if channels == 1 else "RGB")
    if size:
        im = fitted(im, size, fit)
    a = np.array(im, dtype=np.uint8)
    return a[None] if channels == 1 else a.transpose(2, 0, 1)


def fitted(im, size, fit):
    (w, h), (H, W) = im.size, size
    if fit == "squash":
        return im.resize((W, H), Image.BOX)
    if fit == "crop":
        cw, ch = max(1, min(w, h * W // H)), max(1, min(h, w * H // W))
        x, y = (w - cw) // 2, (h - ch) // 2
        return im.crop((x, y, x + cw, y + ch)).resize((W, H), Image.BOX)
    nw, nh = max(1, min(W, H * w // h)), max(1, min(H, W * h // w))
    out = Image.new(im.mode, (W, H))
    out.paste(im.resize((nw, nh), Image.BOX), ((W - nw) // 2, (H - nh) // 2))
    return out


def names_of(s, split):
    text, at = s[split + ".name"].tobytes(), s[split + ".name_at"]
    return [text[a:b].decode() for a, b in zip(at, at[1:])]


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.top, self.skipped = os.path.abspath(convoy), folder, []
        self.rng = np.random.default_rng(15)

    # ---- what the checks share ----

    def folder(self, name):
        path = os.path.join(self.top, name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path

    def data(self, *args, **more):
        return subprocess.run([self.convoy, "data", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, cwd=self.top,
                              errors="surrogateescape", **more)

    def made(self, src, *args):
        """The set of SRC, and what was said of it."""
        out = os.path.join(self.top, "made.safetensors")
        r = self.data(src, "-o", out, "--json", *args)
        check(r.returncode == 0, "status %d: %s" % (r.returncode, r.stderr))
        return Set(out), json.loads(r.stdout)

    def refused(self, words, *args):
        out = os.path.join(self.top, "refused.safetensors")
        r = self.data(*args, "-o", out)
        check(r.returncode in (1, 2) and words in r.stderr, "'%s' is not in (%d): %s%s" % (words, r.returncode, r.stderr, r.stdout))
        check(not os.path.exists(out), "a set was written")
        return r.stderr

    def pixels(self, h, w, c=3):
        """A picture with edges and slopes, and some noise."""
        y, x = np.mgrid[0:h, 0:w]
        a = np.stack([(x * (7 + k) + y * (3 + 2 * k)) % 256 for k in range(c)], -1) // 2
        a = a + self.rng.integers(0, 128, (h, w, c))
        return np.squeeze(a.astype(np.uint8), -1) if c == 1 else a.astype(np.uint8)

    def save(self, path, array, **more):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(array).save(path, **more)

    def two_classes(self, name, n=20, size=(12, 12)):
        src = self.folder(name)
        for c in ("a", "b"):
            for i in range(n):
                self.save("%s/%s/%03d.png" % (src, c, i), self.pixels(*size))
        return src

    def same_as_pillow(self, src, channels, most, size=None, fit="crop", args=()):
        s, said = self.made(src, *args)
        rows = s.rows()
        for d, _, files in os.walk(src):
            for f in files:
                path = os.path.join(d, f)
                want = as_pillow(path, channels, size, fit).astype(int)
                have = rows[os.path.relpath(path, src)][1].astype(int)
                check(have.shape == want.shape, "%s: shape %s, not %s" % (path, have.shape, want.shape))
                off = np.abs(have - want).max()
                check(off <= most, "%s: off by %d levels" % (path, off))
        return s, said

    # ---- image files ----

    def test_png_kinds(self):
        src, colour, grey = self.folder("png"), self.pixels(20, 30), self.pixels(20, 30, 1)
        alpha = self.rng.integers(0, 256, (20, 30, 1), dtype=np.uint8)
        save = lambda name, im, **more: im.save(os.path.join(src, "k", name), **more)  # noqa: E731
        os.makedirs(src + "/k")
        save("rgb.png", Image.fromarray(colour))
        save("grey.png", Image.fromarray(grey))
        save("rgba.png", Image.fromarray(np.concatenate([colour, alpha], -1)))
        save("la.png", Image.fromarray(np.stack([grey, alpha[..., 0]], -1), "LA"))
        save("bit.png", Image.fromarray(grey).convert("1"))
        palette = Image.fromarray(colour).quantize(16)
        save("palette.png", palette)
        save("palette_see_through.png", palette, transparency=bytes(range(0, 256, 16)))
        save("key.png", Image.fromarray(colour), transparency=tuple(int(v) for v in colour[3, 4]))
        save("deep.png", Image.fromarray(grey.astype(np.uint16) * 256 + 77))
        for bits in (2, 4):
            save("palette%d.png" % bits, Image.fromarray(colour).quantize(1 << bits), bits=bits)
        kinds = [("interlaced.png", ["-interlace", "PNG"]), ("interlaced16.png", ["-interlace", "PNG", "-depth", "16"]),
                 ("deep_rgb.png", ["-depth", "16", "-define", "png:color-type=2"]), ("grey4.png", ["-colorspace", "Gray", "-depth", "4"])]
        for name, how in kinds if MAGICK else []:
            subprocess.run([MAGICK, src + "/k/rgb.png", *how, src + "/k/" + name], check=True)
        if not MAGICK:
            self.skipped.append("interlaced")
            print("skipped: interlaced and deep PNG files (Debian: imagemagick)")
        _, said = self.same_as_pillow(src, 3, 0)
        met = " ".join(m["what"] for m in said["met"])
        for words in ("transparency", "palette", "16 bits", "1, 2 or 4 bits", "the same value"):
            check(words in met, "'%s' is not said" % words)
        self.same_as_pillow(src, 1, 1, args=["--gray"])

    def test_jpeg_kinds(self):
        src, colour = self.folder("jpeg"), self.pixels(41, 50)
        os.makedirs(src + "/k")
        im = Image.fromarray(colour)
        for name, more in [("plain", {}), ("fine", {"subsampling": 0, "quality": 98}), ("steps", {"progressive": True}), ("poor", {"quality": 5}),
                           ("half", {"subsampling": 1})]:
            im.save("%s/k/%s.jpg" % (src, name), **more)
        im.convert("L").save(src + "/k/grey.JPE", "JPEG")
        im.convert("CMYK").save(src + "/k/inks.jpeg")
        if MAGICK:
            subprocess.run([MAGICK, src + "/k/plain.jpg", "-colorspace", "CMYK", src + "/k/magick.jpg"], check=True)
        _, said = self.same_as_pillow(src, 3, 0)
        check(any("CMYK" in m["what"] for m in said["met"]), "CMYK is not said")
        self.same_as_pillow(src, 1, 0, args=["--gray"])

    def test_orientation(self):
        src = self.folder("exif")
        os.makedirs(src + "/k")
        for o in range(1, 9):
            exif = Image.Exif()
            exif[0x112] = o
            size = (40, 23) if o < 5 else (23, 40)
            Image.fromarray(self.pixels(*size)).save("%s/k/%d.jpg" % (src, o), exif=exif)
            Image.fromarray(self.pixels(*size)).save("%s/k/%d.png" % (src, o), exif=exif)
        _, said = self.same_as_pillow(src, 3, 0)
        check([m["images"] for m in said["met"] if "upright" in m["what"]] == [14], "the turned ones are not counted: %s" % said["met"])
        for fit in ("crop", "pad", "squash"):
            self.same_as_pillow(src, 3, 1, (9, 14), fit, ["--size", "9x14", "--fit", fit])

    def test_resizing(self):
        src = self.folder("sizes")
        for i, (h, w) in enumerate([(1, 1), (1, 90), (77, 1), (10, 10), (64, 64), (65, 63), (100, 300), (301, 99), (7, 200), (128, 96)]):
            self.save("%s/k/%d.png" % (src, i), self.pixels(h, w))
            self.save("%s/k/%d-blocks.png" % (src, i), (self.rng.integers(0, 2, (h, w, 3)) * 255).astype(np.uint8))
        s, said = self.same_as_pillow(src, 3, 1, (64, 64))
        check(any("several sizes become 64 x 64" in f["text"] and f["flag"] == "--size HxW" for f in said["found"]), "the size is not said")
        for size in ((64, 64), (5, 31), (150, 40), (1, 1)):
            for fit in ("crop", "pad", "squash"):
                self.same_as_pillow(src, 3, 1, size, fit, ["--size", "%dx%d" % size, "--fit", fit])

    def bounded(self, what):
        """Whether memory says something: a program with sanitizers has its own."""
        with open(self.convoy, "rb") as f:
            plain = b"__asan_init" not in f.read()
        if not plain:
            self.skipped.append(what)
            print("skipped: %s, of a program built with sanitizers" % what)
        return plain

    def test_panorama(self):
        """Rows are read one by one: 12,000 x 9,000 pixels in little memory."""
        if not self.bounded("memory of a large image"):
            return
        src = self.folder("panorama")
        os.makedirs(src + "/k")
        line = self.pixels(1, 12000)
        Image.fromarray(np.broadcast_to(line, (9000, 12000, 3))).save(src + "/k/a.png", compress_level=1)
        Image.fromarray(self.pixels(50, 50)).save(src + "/k/b.png")
        r = self.data(src, "-o", "p.safetensors", "-q", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (100 << 20, 100 << 20)))
        check(r.returncode == 0, r.stderr)

    # ---- folders ----

    def test_set(self):
        """What a set holds, and that the same input makes the same bytes, in whichever order the folder lies on the disk."""
        src = self.two_classes("plain")
        s, said = self.made(src)
        first = open(self.top + "/made.safetensors", "rb").read()
        check(s.classes == ["a", "b"] and said["rows"] == {"train": 28, "valid": 6, "test": 6}, said["rows"])
        rows = s.rows()
        check(sorted(rows) == sorted("%s/%03d.png" % (c, i) for c in "ab" for i in range(20)), "names")
        check(all(s.classes[int(label)] == name[0] for name, (_, _, label, _) in rows.items()), "labels")
        check(len({g for _, _, _, g in rows.values()}) == 40, "groups")
        x = s["train.x"] / 255.0
        check(np.allclose(s.mean, x.mean((0, 2, 3)), atol=1e-7) and np.allclose(s.sd, x.std((0, 2, 3)), atol=1e-7), "mean and sd")
        check(s.recipe["image"]["height"] == 12 and s.recipe["seed"] == 1, s.recipe)
        other = self.folder("plain2")
        for name in sorted(rows, reverse=True):
            os.makedirs(os.path.dirname(os.path.join(other, name)), exist_ok=True)
            shutil.copy(os.path.join(src, name), os.path.join(other, name))
        self.made(other)
        check(open(self.top + "/made.safetensors", "rb").read() == first, "another order of files, other bytes")
        t, _ = self.made(src, "--seed", "2")
        check({n for n, r in t.rows().items() if r[0] == "test"} != {n for n, r in rows.items() if r[0] == "test"}, "the seed changes nothing")
        before, after = [s.names("train"), sorted(s.names("train"))]
        check(before != after, "rows stand class by class")

    def test_hidden_and_odd(self):
        src = self.two_classes("odd")
        for d in (".ipynb_checkpoints", "__MACOSX", "a/.cache"):
            os.makedirs(os.path.join(src, d))
            shutil.copy(src + "/a/000.png", os.path.join(src, d, "x.png"))
        for f in (".DS_Store", "a/Thumbs.db", "a/._000.png"):
            open(os.path.join(src, f), "wb").write(b"x")
        put = {"a/page.jpg": b"<!DOCTYPE html><html>", "a/empty.jpg": b"", "b/anim.jpg": b"GIF89a" + bytes(30), "b/w.png": b"RIFF\0\0\0\0WEBPVP8 ",
               "README.txt": b"text", "b/notes.txt": b"some text"}
        for name, content in put.items():
            open(os.path.join(src, name), "wb").write(content)
        jpeg = src + "/b/really.png"
        Image.fromarray(self.pixels(12, 12)).save(jpeg, "JPEG")
        whole = open(jpeg, "rb").read()
        open(src + "/a/cut.jpg", "wb").write(whole[:len(whole) - 60])
        png = open(src + "/a/001.png", "rb").read()
        open(src + "/a/cut.png", "wb").write(png[:len(png) // 2])
        at = whole.index(b"\xff\xda")
        open(src + "/b/extra.jpg", "wb").write(whole[:at] + b"\0\0\0" + whole[at:])
        os.symlink("000.png", src + "/a/link.png")
        os.symlink("nowhere", src + "/a/broken.png")
        os.symlink("..", src + "/a/loop")
        os.mkfifo(src + "/a/pipe.png")
        os.makedirs(src + "/nothing")
        s, said = self.made(src)
        check(s.classes == ["a", "b"], s.classes)
        notes = {n["name"]: n["why"] for k in said["notes"].values() for n in k["listed"]}
        for name, words in [("a/page.jpg", "web page"), ("a/empty.jpg", "empty"), ("b/anim.jpg", "GIF"), ("b/w.png", "WebP"), ("README.txt", "no class"),
                            ("b/notes.txt", "no image"), ("a/cut.jpg", "truncated"), ("a/cut.png", "truncated"), ("a/broken.png", "link to nothing"),
                            ("a/pipe.png", "regular"), ("nothing", "no row"), ("a/loop", "lies in")]:
            check(words in notes.get(name, ""), "%s: %s" % (name, notes.get(name)))
        check(len(notes) == 12, sorted(notes))
        check(said["hidden"] == 6, "hidden: %s" % said["hidden"])
        rows = s.rows()
        check("b/really.png" in rows and "b/extra.jpg" in rows and len(rows) == 43, sorted(rows))
        check(any("oddity" in m["what"] for m in said["met"]), "the extra bytes are not said")
        s, said = self.made(src, "--keep-truncated")
        check("a/cut.jpg" in s.rows() and len(s.rows()) == 44, "--keep-truncated")

    def test_names(self):
        """Blanks, line breaks, bytes that are no UTF-8, whole numbers as classes, capitals."""
        src = self.folder("names").encode()
        classes = [b"10", b"2", b"100", b"0"]
        odd = [b"a b.png", b"a\nb.png", b"\xff\xfe.png", "ä\u202e.PNG".encode(), b"x" * 250 + b".png"]
        for c in classes:
            os.makedirs(src + b"/" + c)
            for f in odd:
                with open(src + b"/" + c + b"/" + f, "wb") as to:
                    Image.fromarray(self.pixels(9, 9)).save(to, "PNG")
        s, said = self.made(src.decode())
        check(s.classes == ["0", "2", "10", "100"], s.classes)
        check(any("whole numbers" in f["text"] for f in said["found"]), "the order is not said")
        want = sorted((c + b"/" + f).decode("utf-8", "surrogateescape") for c in classes for f in odd)
        check(sorted(s.rows()) == want, "names")
        check(all(s.classes[int(r[2])] == n.split("/")[0] for n, r in s.rows().items()), "labels")

    def test_given_splits(self):
        src = self.folder("given")
        for split, classes in (("train", "abc"), ("test", "abd")):
            for c in classes:
                for i in range(10):
                    self.save("%s/%s/%s/%d.png" % (src, split, c, i), self.pixels(10, 10))
        shutil.copy(src + "/train/a/0.png", src + "/test/a/copy.png")
        s, said = self.made(src)
        check(s.classes == ["a", "b", "c", "d"], s.classes)
        rows = s.rows()
        check(all((r[0] == "test") == n.startswith("test/") for n, r in rows.items()), "the test set changed")
        check(said["rows"]["test"] == 31 and 3 <= said["rows"]["valid"] <= 6, said["rows"])
        check(said["equal"]["across_splits"] == 1, said["equal"])
        check(any("no row in test" in f["text"] for f in said["found"]), "a class without test images is not said")
        os.makedirs(src + "/cats")
        self.refused("beside it 'cats'", src)

    def test_groups_and_copies(self):
        src = self.folder("groups")
        for c in "ab":
            for person in range(10):
                for i in range(4):
                    self.save("%s/%s/p%s%d-%d.png" % (src, c, c, person, i), self.pixels(16, 16))
        base = self.pixels(64, 64)
        self.save(src + "/a/pa0-0.png", base[:16, :16])
        shutil.copy(src + "/a/pa0-0.png", src + "/b/pb9-9.png")
        s, said = self.made(src, "--group", "p([ab][0-9])-")
        rows, where = s.rows(), {}
        for n, r in rows.items():
            where.setdefault(n[3:6], set()).add(r[0])
        check(all(len(w) == 1 for w in where.values()), "a person is in two splits: %s" % where)
        check(rows["a/pa0-0.png"][3] == rows["b/pb9-9.png"][3], "a copy is in another group")
        check(said["equal"]["pairs"] == 1 and said["equal"]["across_classes"] == 1, said["equal"])
        total = sum(said["rows"].values())
        check(abs(said["rows"]["train"] / total - 0.7) < 0.1 and said["rows"]["valid"] and said["rows"]["test"], said["rows"])
        self.refused("regular expression", src, "--group", "(")

    def test_near_copies(self):
        src = self.folder("near")
        y, x = np.mgrid[0:64, 0:64]
        for i in range(12):
            f = self.rng.uniform(0.03, 0.3, 6)
            a = np.stack([127 + 100 * np.sin(f[k] * x + f[5 - k] * y + i + k) for k in range(3)], -1).astype(np.uint8)
            self.save("%s/%s/%02d.png" % (src, "ab"[i % 2], i), a)
            if i < 5:
                self.save("%s/%s/%02d-again.jpg" % (src, "ab"[i % 2], i), a, quality=90)
        _, said = self.made(src)
        pairs = {tuple(sorted(p["rows"])) for p in said["near"]["listed"]}
        want = {tuple(sorted(("%s/%02d.png" % ("ab"[i % 2], i), "%s/%02d-again.jpg" % ("ab"[i % 2], i)))) for i in range(5)}
        check(pairs == want, pairs ^ want)

    def test_split(self):
        """Each class alike, in proportion, also where classes are small; one image trains."""
        src = self.folder("small")
        for c in range(20):
            for i in range(3):
                self.save("%s/c%02d/%d.png" % (src, c, i), self.pixels(8, 8))
        self.save(src + "/single/0.png", self.pixels(8, 8))
        s, said = self.made(src)
        check(said["rows"] == {"train": 43, "valid": 9, "test": 9}, said["rows"])
        check(all(c["train"] >= 1 for c in said["classes"]), said["classes"])
        check(any("a single row, as 'single'" in f["text"] for f in said["found"]), "a class of one image is not said")
        s, said = self.made(src, "--split", "2/1/0")
        check(s.splits() == ["train", "valid"] and abs(said["rows"]["train"] - 41) <= 1, said["rows"])
        s, said = self.made(src, "--max", "20")
        check(sum(said["rows"].values()) == 20, said["rows"])
        self.refused("--split", src, "--split", "70/30")
        self.refused("--split", src, "--split", "0/50/50")

    def test_labels(self):
        src = self.folder("flat")
        for i in range(12):
            self.save("%s/%s%d.png" % (src, "x/" if i % 2 else "", i), self.pixels(8, 8))
        bare = self.folder("bare")
        self.save(bare + "/0.png", self.pixels(8, 8))
        check("--labels FILE.csv" in self.refused("which class is each image of?", bare), "no hint")
        table = self.top + "/labels.csv"
        with open(table, "w", newline="") as f:
            out = csv.writer(f)
            out.writerow(["id", "breed"])
            for i in range(11):
                out.writerow([[str(i), "%d.png" % i, ("x/" if i % 2 else "") + "%d.png" % i][i % 3], ["big dog", "cat, small"][i % 4 > 1]])
            out.writerow(["gone.png", "cat, small"])
        s, said = self.made(src, "--labels", table)
        check(s.classes == ["big dog", "cat, small"] and len(s.rows()) == 11, s.classes)
        check(all(int(r[2]) == (int(n.split("/")[-1][:-4]) % 4 > 1) for n, r in s.rows().items()), "labels")
        notes = [n["name"] for n in said["notes"]["odd"]["listed"]]
        check(notes == ["x/11.png"], notes)
        check(any("1 of the files" in f["text"] for f in said["found"]), "a missing file is not said")
        with open(table, "w") as f:  # without a header
            f.write("".join("%d.png;%s\n" % (i, "uv"[i % 2]) for i in range(12)))
        s, _ = self.made(src, "--labels", table)
        check(s.classes == ["u", "v"] and len(s.rows()) == 12, s.classes)
        s, _ = self.made(src, "--label-regex", "([0-9])\\.png")
        check(s.classes == [str(i) for i in range(10)], s.classes)

    # ---- arrays ----

    def digits(self, n=60, classes=3, shape=(8, 9)):
        x = self.rng.integers(0, 256, (n,) + shape, dtype=np.uint8)
        return x, (np.arange(n) * 7 % classes).astype(np.int64)

    def equals(self, s, x, y, given=None):
        """The set's rows are x[i], by their names' numbers, with the class called y[i]."""
        seen = 0
        for split in s.splits():
            for i, name in enumerate(s.names(split)):
                k = int(name[name.index("[") + 1:-1])
                if given and not name.startswith(given):
                    continue
                seen += 1
                check((s[split + ".x"][i] == x[k]).all(), "row %s" % name)
                check(s.classes[s[split + ".y"][i]] == str(y[k]), "label of %s" % name)
        check(seen == len(x), "%d rows of %d" % (seen, len(x)))

    def test_npy_types(self):
        """Every type, byte order and order of axes, versions 1 to 3: the numbers that numpy reads."""
        path, labels = self.top + "/t.npy", self.top + "/y.npy"
        raw, y = self.digits()
        np.save(labels, y)
        for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
            for order in "<>":
                for fortran in (False, True):
                    a = (raw.astype(np.float64) - (100 if kind[0] in "if" else 0)).clip(-100, 120) * (0.25 if kind[0] == "f" else 1)
                    a = a.astype(np.dtype(kind if kind == "?" else order + kind))
                    np.save(path, np.asfortranarray(a) if fortran else a)
                    s, said = self.made(path, "--y", labels)
                    self.equals(s, a.astype(np.float32)[:, None], y)
                    check((s["train.x"].dtype == np.uint8) == (kind[0] in "?u"), "%s becomes %s" % (kind, s["train.x"].dtype))
        for version in ((1, 0), (2, 0), (3, 0)):
            with open(path, "wb") as f:
                np.lib.format.write_array(f, raw, version=version)
            self.equals(self.made(path, "--y", labels)[0], raw[:, None], y)
        big = np.asfortranarray(self.rng.normal(size=(300, 3, 40, 41)).astype(np.float32))
        np.save(path, big)
        np.save(labels, np.arange(300) % 4)
        self.equals(self.made(path, "--y", labels, "--layout", "NCHW")[0], big, np.arange(300) % 4)

    def test_npz(self):
        x, y = self.digits()
        xt, yt = self.digits(30)
        path = self.top + "/a.npz"
        for save in (np.savez, np.savez_compressed):
            save(path, x_train=x, y_train=y, x_test=xt, y_test=yt)
            s, said = self.made(path)
            self.equals(s, x[:, None], y, "x_train")
            self.equals(s, xt[:, None], yt, "x_test")
            check(said["rows"] == {"train": 49, "valid": 11, "test": 30}, said["rows"])
            check(s.names("train") == sorted(s.names("train"), key=lambda n: int(n[8:-1])), "the order of rows changed")
            save(path, x, y)
            self.equals(self.made(path)[0], x[:, None], y)
            save(path, pictures=x, kinds=y)
            self.refused("which array holds", path)
            self.refused("no array 'y'", path, "--x", "pictures", "--y", "y")
            self.equals(self.made(path, "--x", "pictures", "--y", "kinds")[0], x[:, None], y)
        with open(path, "wb") as f:  # to a stream that cannot be rewound: sizes stand behind the data
            class Stream:
                write, flush, read = f.write, f.flush, None
            np.savez_compressed(Stream(), x=x, y=y)
        self.equals(self.made(path)[0], x[:, None], y)
        limits = zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT
        zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = 100, 1  # as an archive of more than 4 GB
        np.savez(path, x=x, y=y)
        zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limits
        check(b"PK\6\6" in open(path, "rb").read(), "no zip64")
        self.equals(self.made(path)[0], x[:, None], y)
        folder = self.folder("npys")
        np.save(folder + "/X_train.npy", x)
        np.save(folder + "/y_train.npy", y)
        self.equals(self.made(folder)[0], x[:, None], y)

    def test_layouts(self):
        path = self.top + "/l.npz"
        y = np.arange(40) % 2
        for shape, nhwc in (((40, 10, 12, 3), True), ((40, 3, 10, 12), False), ((40, 6, 7, 1), True), ((40, 2, 6, 7), False)):
            x = self.rng.integers(0, 256, shape, dtype=np.uint8)
            np.savez(path, x=x, y=y)
            s, said = self.made(path)
            self.equals(s, x.transpose(0, 3, 1, 2) if nhwc else x, y)
            check(any(f["what"] == "layout" and f["text"].startswith("NHWC" if nhwc else "NCHW") for f in said["found"]), said["found"])
        x = self.rng.integers(0, 256, (40, 784), dtype=np.uint8)
        np.savez(path, x=x, y=y)
        self.equals(self.made(path)[0], x.reshape(40, 1, 28, 28), y)
        self.equals(self.made(path, "--features")[0], x[:, :, None, None], y)
        self.equals(self.made(path, "--shape", "4x14x14")[0], x.reshape(40, 4, 14, 14), y)
        self.refused("does not fit", path, "--shape", "3x28x28")
        np.savez(path, x=(x[:, :64] // 16).astype(np.float64), y=y)  # as scikit-learn's digits
        s, _ = self.made(path)
        self.equals(s, (x[:, :64] // 16).reshape(40, 1, 8, 8), y)
        check(s["train.x"].dtype == np.uint8, "whole numbers are not bytes")
        np.savez(path, x_train=x[:30] / 255, y_train=y[:30], x_test=x[30:].astype(float), y_test=y[30:])
        _, said = self.made(path)
        check(any("scaled alike" in f["text"] for f in said["found"]), "two ranges are not said")

    def test_array_labels(self):
        path = self.top + "/l.npz"
        x, y = self.digits()
        words = np.array(["cat", "dog", "gr\u00fcn"])[y]
        np.savez(path, x=x, y=words)
        self.equals(self.made(path)[0], x[:, None], words)
        np.savez(path, x=x, y=np.char.encode(words, "latin-1").astype("S5")[:, None])
        check(len(self.made(path)[0].classes) == 3, "bytes")
        np.savez(path, x=x, y=np.eye(3)[y])
        self.equals(self.made(path)[0], x[:, None], y)
        np.savez(path, x=x, y=(y * 5 - 5).astype(np.float32)[:, None])
        self.equals(self.made(path)[0], x[:, None], y * 5 - 5)
        np.savez(path, x=x, y=y + 0.5)
        s, said = self.made(path)
        check(s["train.y"].dtype == np.float32 and s.classes is None, "regression")
        have = np.concatenate([s[k + ".y"] for k in s.splits()])
        check(sorted(have) == sorted(y + 0.5), "targets")
        bad = x.astype(np.float32)
        bad[5, 2, 3] = np.nan
        np.savez(path, x=bad, y=y)
        s, said = self.made(path)
        check(len(s.rows()) == 59 and said["notes"]["refused_cells"]["listed"][0]["name"] == "x[5]", said["notes"])

    def test_array_refusals(self):
        path, y = self.top + "/r.npy", self.top + "/y.npy"
        np.save(y, np.arange(3))
        for a, words in ((np.array([1, "a", None], dtype=object), "Python objects"), (np.array(3.0), "0 axes"), (np.zeros((0, 4)), "no rows"),
                         (np.zeros(3, dtype=[("a", "f4")]), "several fields"), (np.zeros((3, 2), complex), "c16"), (np.zeros((4, 2)), "labels in"),
                         (np.zeros((3, 1, 1, 1, 1)), "has the shape"), (np.array(["a", "b", "c"]), "holds text")):
            np.save(path, a, allow_pickle=True)
            self.refused(words, path, "--y", y)
        np.save(path, np.zeros((3, 100)))
        whole = open(path, "rb").read()
        open(path, "wb").write(whole[:-1])
        self.refused("truncated", path, "--y", y)
        open(path, "wb").write(whole.replace(b"(3, 100)", b"(9999999999999, 9999999)"))
        self.refused("", path, "--y", y)
        np.savez_compressed(self.top + "/r.npz", x=np.zeros((3, 1000)), y=np.arange(3))
        whole = open(self.top + "/r.npz", "rb").read()
        for at in (60, 100):
            open(self.top + "/r.npz", "wb").write(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1:])
            self.refused("damaged", self.top + "/r.npz")
        open(self.top + "/r.npz", "wb").write(whole[:-40])
        self.refused("truncated", self.top + "/r.npz")
        self.refused("--size is of image files", path, "--size", "3x3")

    def test_idx(self):
        import gzip
        idx = lambda a, kind=8: bytes([0, 0, kind, a.ndim]) + np.array(a.shape, ">u4").tobytes() + a.tobytes()  # noqa: E731
        src, (x, y), (xt, yt) = self.folder("idx"), self.digits(), self.digits(30)
        for name, a in (("train-images-idx3-ubyte", x), ("train-labels-idx1-ubyte", y.astype(np.uint8)), ("t10k-images-idx3-ubyte.gz", xt),
                        ("t10k-labels-idx1-ubyte.gz", yt.astype(np.uint8))):
            open(src + "/" + name, "wb").write(gzip.compress(idx(a)) if name.endswith("gz") else idx(a))
        s, said = self.made(src)
        self.equals(s, x[:, None], y, "train-images")
        self.equals(s, xt[:, None], yt, "t10k-images")
        self.equals(self.made(src + "/t10k-images-idx3-ubyte.gz")[0], xt[:, None], yt)
        real = (x / 4).astype(">f4")
        open(src + "/r-images", "wb").write(idx(real, 13))
        open(src + "/r-labels", "wb").write(idx(y.astype(np.uint8)))
        self.equals(self.made(src + "/r-images")[0], real[:, None], y)
        whole = gzip.compress(idx(x))
        for content, words in ((whole[:-100], "truncated"), (gzip.compress(idx(x)[:-5]), "truncated"), (gzip.compress(idx(x) + b"x"), "longer"),
                               (whole[:500] + bytes([whole[500] ^ 1]) + whole[501:], "'")):
            open(src + "/r-images", "wb").write(content)
            self.refused(words, src + "/r-images")

    def test_cifar(self):
        src = self.folder("cifar10")
        x, y = self.digits(60, 10, (3, 32, 32))
        for i in range(6):
            part = np.concatenate([y[i * 10:i * 10 + 10, None].astype(np.uint8), x[i * 10:i * 10 + 10].reshape(10, -1)], 1)
            part.tofile("%s/%s.bin" % (src, "test_batch" if i == 5 else "data_batch_%d" % (i + 1)))
        names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
        open(src + "/batches.meta.txt", "w").write("\n".join(names) + "\n\n")
        s, said = self.made(src)
        check(s.classes == names and said["rows"]["test"] == 10, s.classes)
        self.equals(s, x[50:], [names[k] for k in y[50:]], "test_batch")
        self.equals(s, x[10:20], [names[k] for k in y[10:20]], "data_batch_2")
        open(src + "/data_batch_3.bin", "ab").write(b"x")
        self.refused("data_batch_3.bin' is truncated", src)
        src = self.folder("cifar100")
        for name in ("train", "test"):
            np.concatenate([(y[:, None] // 5).astype(np.uint8), y[:, None].astype(np.uint8), x.reshape(60, -1)], 1).tofile("%s/%s.bin" % (src, name))
        self.equals(self.made(src)[0], x, y, "test")
        self.equals(self.made(src, "--coarse")[0], x, y // 5, "test")
        src = self.folder("pickled")
        open(src + "/data_batch_1", "wb").write(b"\x80\x02")
        check("binary version" in self.refused("a pickle", src), "no hint")

    # ---- tables ----

    def table(self, text, *args):
        path = self.top + "/t.csv"
        open(path, "wb").write(text if isinstance(text, bytes) else text.encode())
        return self.made(path, *args)

    def cells(self, s):
        """line -> (row, label)"""
        return {int(n.split(":")[-1]): ([round(float(v), 4) for v in r[1].ravel()], s.classes[int(r[2])] if s.classes else float(r[2]))
                for n, r in s.rows().items()}

    def test_tables(self):
        rows = [("%.2f" % (i / 7), str(i * i), "setosa" if i % 2 else "virginica") for i in range(20)]
        want = {i + 2: ([round(float(a), 4), float(b)], c) for i, (a, b, c) in enumerate(rows)}
        text = "a,b,species\n" + "".join("%s,%s,%s\n" % r for r in rows)
        for what, kind in [("plain", text), ("CRLF", text.replace("\n", "\r\n")), ("semicolons", text.replace(",", ";")), ("tabs", text.replace(",", "\t")),
                           ("BOM", "\ufeff" + text), ("a BOM a line", "".join("\ufeff" + line + "\n" for line in text.splitlines())),
                           ("no end", text[:-1]), ("blanks", text.replace("setosa", "setosa ").replace(",", ", ")),
                           ("quotes", text.replace("setosa", '"setosa"')), ("old Mac", text.replace("\n", "\r"))]:
            s, said = self.table(kind)
            check(s.columns == ["a", "b"] and self.cells(s) == want, "%s: %s" % (what, said["found"]))
        s, _ = self.table("a,b,species\n" + "".join("%s,%s,%s\n\n" % r for r in rows))
        check(len(s.rows()) == 20, "empty lines")
        s, _ = self.table("species,a,b\n" + "".join("%s,%s,%s\n" % (c, a, b) for a, b, c in rows))
        check(self.cells(s) == want, "label first")
        s, _ = self.table("".join("%s,%s,%s\n" % r for r in rows))
        check(self.cells(s) == {k - 1: v for k, v in want.items()} and s.columns == ["column 1", "column 2"], "no header")
        s, said = self.table(",a,b,species\n" + "".join("%d,%s,%s,%s\n" % (i, *r) for i, r in enumerate(rows)))
        check(self.cells(s) == want and any("counts the rows" in f["text"] for f in said["found"]), "an index column of pandas")
        s, said = self.table("a,day,b,c,name,species\n" + "".join("%s,2020-01-%02d,%s,%s,n%d,%s\n" % (r[0], i + 1, r[1], i > 5, i, r[2]) for i, r in enumerate(rows)))
        check(s.columns == ["a", "b", "c"], s.columns)
        check(all(w in str(said["found"]) for w in ("'day'", "'name'")), "columns of text are not said")
        s, said = self.table(text, "--label", "b")
        check(len(s.classes) == 20 and s.columns == ["a"], s.classes)
        s, said = self.table(text, "--label", "a")
        check(s.classes is None and s["train.y"].dtype == np.float32, "regression")
        self.refused("no column 'z'", self.top + "/t.csv", "--label", "z")
        s, _ = self.table("who," + "a,b,species\n" + "".join("p%d,%s,%s,%s\n" % (i // 4, *r) for i, r in enumerate(rows)), "--group", "who")
        where = {}
        for n, r in s.rows().items():
            where.setdefault((int(n.split(":")[-1]) - 2) // 4, set()).add(r[0])
        check(s.columns == ["a", "b"] and all(len(w) == 1 for w in where.values()), where)

    def test_table_cells(self):
        """Every refused cell is named with line and column; the row is left out."""
        good = "".join("%d.5,%d,%s\n" % (i, i, "xy"[i % 2]) for i in range(20))
        bad = ["NA,1,x", "1.5,?,x", ",2,y", "inf,2,y", "1e400,2,y", "abc,2,y", "1.5,2", "1.5,2,y,z", "1.5,2,", "nan,3,x"]
        s, said = self.table("a,b,c\n" + good + "\n".join(bad) + "\n")
        check(len(s.rows()) == 20, sorted(s.rows()))
        notes = {n["name"]: n["why"] for n in said["notes"]["refused_cells"]["listed"]}
        check(len(notes) == len(bad), notes)
        for i, words in enumerate(["nothing there", "nothing there", "nothing there", "too large", "too large", "'abc' is no number", "2 cells, not 3",
                                   "4 cells, not 3", "no label", "nothing there"]):
            line = [n for n in notes if n.split(",")[0] == "line %d" % (22 + i)]
            check(len(line) == 1 and words in notes[line[0]], "%s: %s" % (words, notes))
        check("line 23, column 2" in notes, notes)
        path = self.top + "/t.csv"
        open(path, "w").write("a;b;c\n" + "".join("%d,5;%d;%s\n" % (i, i, "xy"[i % 2]) for i in range(9)))
        self.refused("line 2, column 'a': '0,5' has a decimal comma", path)
        open(path, "w").write('a,b\n1,"x\n2,y\n')
        self.refused("not closed", path)
        path = self.top + "/utf16.csv"
        open(path, "wb").write("a,b,label\n1,2,x\n2,3,y\n".encode("utf-16"))
        self.refused("no text in UTF-8: it holds bytes of zero", path)
        open(path, "w").write("")
        self.refused("it is empty", path)
        s, _ = self.table('a,b,c\n' + "".join('%d,%d,"x, ""%d""\nand more"\n' % (i, i * i % 7, i % 2) for i in range(10)))
        check(s.classes == ['x, "0"\\x0Aand more', 'x, "1"\\x0Aand more'], s.classes)

    def test_table_pixels(self):
        x, y = self.digits(40, 4, (28, 28))
        lines = ["%d,%s" % (k, ",".join(map(str, a.ravel()))) for a, k in zip(x, y)]
        heads = ["label," + ",".join("pixel%d" % i for i in range(784)), "label," + ",".join("%dx%d" % (i // 28 + 1, i % 28 + 1) for i in range(784))]
        for head in heads + [None]:
            s, _ = self.table("\n".join(([head] if head else []) + lines) + "\n")
            check(s["train.x"].dtype == np.uint8 and s["train.x"].shape[1:] == (1, 28, 28) and s.classes == list("0123"), s["train.x"].shape)
            for n, r in s.rows().items():
                i = int(n.split(":")[-1]) - (2 if head else 1)
                check((r[1][0] == x[i]).all() and r[2] == y[i], n)
        s, _ = self.table("\n".join(lines) + "\n", "--features")
        check(s["train.x"].dtype == np.float32 and s["train.x"].shape[1:] == (784, 1, 1), s["train.x"].shape)

    # ---- training from sets ----

    def network(self, name, shape, classes, train="", layers="[{conv: {out: 4, stride: 2}}, global_avg_pool, {linear: classes}]"):
        """An emitted program; its path."""
        path = os.path.join(self.top, name + ".yaml")
        with open(path, "w") as f:
            f.write("name: net\ninput: %s\nclasses: %d\nlayers: %s\ntrain: {data: idx, epochs: 2, batch: 8%s}\n" % (shape, classes, layers, train))
        for what in (["gen", path, "-o", os.path.join(self.top, name), "--target", "portable", "-q"],):
            r = subprocess.run([self.convoy, *what], capture_output=True, text=True)
            check(r.returncode == 0, r.stderr)
        r = subprocess.run(["make", "-s", "-C", os.path.join(self.top, name), *quick.MAKE], capture_output=True, text=True)
        check(r.returncode == 0, r.stderr)
        return os.path.join(self.top, name, "net")

    def program(self, *args):
        return subprocess.run(args, capture_output=True, text=True, cwd=self.top)

    def test_training_from_a_set(self):
        """IDX files, and a set made of them, train to the same weights; float rows are scaled as predict's are."""
        idx = lambda a: bytes([0, 0, 8, a.ndim]) + np.array(a.shape, ">u4").tobytes() + a.tobytes()  # noqa: E731
        src, (x, y), (xt, yt) = self.folder("four"), self.digits(60, 3, (9, 11)), self.digits(30, 3, (9, 11))
        for name, a in (("train-images-idx3", x), ("train-labels-idx1", y.astype(np.uint8)), ("t10k-images-idx3", xt), ("t10k-labels-idx1", yt.astype(np.uint8))):
            open("%s/%s-ubyte" % (src, name), "wb").write(idx(a))
        self.made(src, "--split", "100/0/0")
        net = self.network("net", [1, 9, 11], 3)
        said = []
        for data, to in ((src, "a"), ("made.safetensors", "b")):
            r = self.program(net, "train", "--data", data, "--save", to + ".safetensors", "--threads", "1")
            check(r.returncode == 0, r.stderr)
            said.append(json.loads(self.program(net, "eval", "--data", data, "--weights", to + ".safetensors", "--json").stdout))
        weights = [open(self.top + "/%s.safetensors" % to, "rb").read() for to in "ab"]
        heads = [json.loads(w[8:8 + int.from_bytes(w[:8], "little")]) for w in weights]
        check(weights[0][8 + int.from_bytes(weights[0][:8], "little"):] == weights[1][8 + int.from_bytes(weights[1][:8], "little"):], "other weights")
        s = Set(self.top + "/made.safetensors")
        check({k: heads[1]["__metadata__"].pop(k) for k in ("classes", "recipe")} == {k: s.meta[k] for k in ("classes", "recipe")}, "what the set says of itself")
        check(heads[0] == heads[1], "other heads")
        check(said[0]["loss"] == said[1]["loss"] and said[1]["data"] == "made.safetensors", said)
        r = self.program(net, "train", "--data", "made.safetensors", "--save", "b.safetensors", "--resume", "--epochs", "3")
        check(r.returncode == 0, r.stderr)

        real = self.rng.normal(7, 3, (50, 5)).astype(np.float32)
        np.savez(self.top + "/real.npz", x_train=real, y_train=np.arange(50) % 3, x_test=real[:20] + 1, y_test=np.arange(20) % 3)
        s, _ = self.made(self.top + "/real.npz")
        mean, sd = (", ".join("%.6g" % v for v in values) for values in (s.mean, s.sd))
        net = self.network("table", [5], 3, ", mean: [%s], std: [%s]" % (mean, sd), "[{linear: 6}, {linear: classes}]")
        r = self.program(net, "train", "--data", "made.safetensors", "--threads", "1", "--save", "r.safetensors")
        check(r.returncode == 0 and "warning" not in r.stderr, r.stderr)
        r = subprocess.run(["bash", "-c", '"$0" train --data <(cat made.safetensors) --threads 1 --save piped.safetensors', net], capture_output=True, text=True, cwd=self.top)
        check(r.returncode == 0, "a set from a pipe: " + r.stderr)
        check(open(self.top + "/piped.safetensors", "rb").read() == open(self.top + "/r.safetensors", "rb").read(), "a set from a pipe: other weights")
        read = lambda text: np.array([float(v) for v in text.split(", ")], np.float32)  # noqa: E731
        np.save(self.top + "/in.npy", (((real[:20] + 1) - read(mean)) / read(sd)).astype(np.float32)[:, :, None, None])
        r = self.program(net, "predict", "--weights", "r.safetensors", "--input", "in.npy", "-o", "out.npy")
        check(r.returncode == 0, r.stderr)
        z = np.load(self.top + "/out.npy").astype(np.float64)
        loss = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(20), np.arange(20) % 3])
        have = json.loads(self.program(net, "eval", "--data", "made.safetensors", "--weights", "r.safetensors", "--json").stdout)
        check(abs(have["loss"] - loss) < 1e-5 * abs(loss) and have["images"] == 20, (have, loss))

        plain = self.network("unscaled", [5], 3, "", "[{linear: classes}]")
        r = self.program(plain, "train", "--data", "made.safetensors", "--no-save")
        check("prints the lines that fit" in r.stderr, "other means are not said: %s" % r.stderr)
        other = self.network("other", [5], 4, "", "[{linear: classes}]")
        for program, data, words in ((other, "made.safetensors", "'made.safetensors' holds rows of 5 x 1 x 1 in 3 classes; the network 'net' reads 5 x 1 x 1 and has 4"),
                                     (net, "r.safetensors", "'r.safetensors' is no set"), (net, "net.yaml", "damaged"), (net, "nowhere", "no set 'nowhere'")):
            r = self.program(program, "train", "--data", data, "--no-save")
            check(r.returncode == 1 and words in r.stderr, "%s: %s" % (data, r.stderr))
        np.savez(self.top + "/many.npz", x=self.rng.integers(0, 256, (1200, 8, 8), dtype=np.uint8), y=np.arange(1200) % 400)
        self.made(self.top + "/many.npz", "--split", "80/20/0")
        many = self.network("many", [1, 8, 8], 400, "", "[flatten, {linear: classes}]")
        r = self.program(many, "train", "--data", "made.safetensors", "--epochs", "1")
        check(r.returncode == 0 and ": 960 images to train, 240 to validate, 0 to test" in r.stdout and "test loss" not in r.stdout, r.stdout + r.stderr)
        r = self.program(many, "eval", "--data", "made.safetensors")
        check(r.returncode == 0 and "those to choose by (valid) are taken" in r.stderr, r.stderr)

    def test_wine(self):
        """The table that specs/data/wine.sh makes, where scikit-learn's copy is installed: the spec learns it."""
        source = "/usr/lib/python3/dist-packages/sklearn/datasets/data/wine_data.csv"
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if not os.path.exists(source):
            self.skipped.append("wine")
            print("skipped: the table of wines (Debian: python3-sklearn)")
            return
        r = subprocess.run([root + "/specs/data/wine.sh", "wine.csv"], env=dict(os.environ, CONVOY=self.convoy), cwd=self.top, capture_output=True, text=True)
        check(r.returncode == 0, r.stderr)
        s = Set(self.top + "/wine.safetensors")
        lines = {i + 2: line for i, line in enumerate(csv.reader(open(source).readlines()[1:]))}
        for name, row in s.rows().items():
            want = lines[int(name.split(":")[-1])]
            check((row[1].ravel() == np.array(want[:13], np.float32)).all() and s.classes[int(row[2])] == want[13], name)
        self.learns(root + "/specs/wine.yaml", "wine.safetensors", 0.9)

    def test_emoji(self):
        """The set that specs/data/emoji.sh makes (340 MB to fetch), where CONVOY_EMOJI names it: groups, and a step of the spec."""
        path = os.environ.get("CONVOY_EMOJI")
        if not path:
            self.skipped.append("emoji")
            print("skipped: emoji (specs/data/emoji.sh makes the set; CONVOY_EMOJI=emoji.safetensors names it)")
            return
        s, where = Set(path), {}
        for name, row in s.rows().items():
            where.setdefault(name.split("/")[-1].rsplit("-", 1)[0], set()).add((row[0], row[3]))
        check(len(s.classes) == 9 and all(len(w) == 1 for w in where.values()), "a code point is in two groups, or splits")
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.learns(root + "/specs/emoji.yaml", os.path.abspath(path), 0.3, "--epochs", "1")

    def learns(self, spec, data, accuracy, *args):
        r = subprocess.run([self.convoy, "train", spec, "-o", "learns", "--data", data, "--no-save", "--log", "log.jsonl", "--quiet", *args], cwd=self.top,
                           capture_output=True, text=True)
        check(r.returncode == 0, r.stderr)
        last = json.loads(open(self.top + "/log.jsonl").read().splitlines()[-1])
        check(last.get("test_accuracy", 0) >= accuracy, last)

    def test_pipe(self):
        """A table or an array through a pipe is the same set, but for the names of its rows."""
        with open(self.top + "/t.csv", "w") as f:
            f.write("a,b,kind\n" + "".join("%g,%g,%s\n" % (*self.rng.normal(size=2), "xyz"[i % 3]) for i in range(9000)))
        subprocess.run(["gzip", "-k", self.top + "/t.csv"], check=True)
        np.savez(self.top + "/t.npz", x=self.rng.normal(size=(90, 5)).astype(np.float32), y=np.arange(90) % 3)
        for name in ("t.csv", "t.csv.gz", "t.npz"):
            want, _ = self.made(name)
            for how in ("\"$0\" data <(cat %s) -o piped.safetensors -q", "cat %s | \"$0\" data - -o piped.safetensors -q",
                        "cat %s | (\"$0\" data /dev/stdin -q && mv pipe.safetensors piped.safetensors)"):
                r = subprocess.run(["/bin/bash", "-c", how % name, self.convoy], cwd=self.top, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                check(r.returncode == 0 and not r.stdout + r.stderr, "%s: %s" % (how % name, r.stderr))
                have = Set(self.top + "/piped.safetensors")
                os.remove(self.top + "/piped.safetensors")
                check(have.tensor.keys() == want.tensor.keys() and have.meta == want.meta, "other tensors, or metadata")
                check(all((have[k] == want[k]).all() for k in want.tensor if ".name" not in k), "%s: other rows" % name)
        check(want.names("train") and self.made("t.csv")[0].names("train")[0].startswith("t.csv:"), "names of rows")
        r = subprocess.run(["/bin/bash", "-c", "\"$0\" data <(true) -o none.safetensors", self.convoy], cwd=self.top, stderr=subprocess.PIPE, text=True)
        check(r.returncode == 1 and "nothing that convoy data reads" in r.stderr and not os.path.exists(self.top + "/none.safetensors"), r.stderr)

    def test_ten_lines_of_numpy(self):
        """The reader that docs/data.md shows reads what the strict one does."""
        text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs", "data.md")).read()
        code = text.split("```python\n")[1].split("```")[0]
        check(len(code.splitlines()) <= 10, "%d lines" % len(code.splitlines()))
        names = {}
        exec(code, names)
        for src in (self.two_classes("photos"), self.top + "/ten.npz"):
            np.savez(self.top + "/ten.npz", x=self.rng.normal(size=(40, 3)).astype(np.float32), y=np.arange(40) % 4)
            s, _ = self.made(src)
            rows, meta = names["read_set"](self.top + "/made.safetensors")
            check(meta == s.meta and rows.keys() == s.tensor.keys(), "names")
            check(all(rows[k].dtype == s[k].dtype and rows[k].shape == s[k].shape and (rows[k] == s[k]).all() for k in rows), "numbers")

    # ---- whatever happens ----

    def test_memory(self):
        """A constant, and 64 bytes an image."""
        if not self.bounded("memory of many images"):
            return
        def peak(src):
            p = subprocess.Popen([self.convoy, "data", src, "-o", "m.safetensors", "-q"], cwd=self.top)
            _, status, use = os.wait4(p.pid, 0)
            check(status == 0, "status %d" % status)
            return use.ru_maxrss * 1024
        peaks = []
        for n in (1000, 21000):
            src = self.folder("many")
            for c in "ab":
                os.makedirs(src + "/" + c)
            png = []
            for i in range(50):
                self.save(src + "/one.png", self.pixels(9, 9, 1))
                png.append(open(src + "/one.png", "rb").read())
            os.remove(src + "/one.png")
            for i in range(n):
                with open("%s/%s/%05d.png" % (src, "ab"[i % 2], i), "wb") as f:
                    f.write(png[i % 50])
            peaks.append(peak(src))
        shutil.rmtree(src)
        each = (peaks[1] - peaks[0]) / 20000
        check(each <= 64, "%.1f bytes an image (%s)" % (each, peaks))

    def test_interrupted(self):
        src = self.two_classes("slow", 150, (200, 200))
        out = self.top + "/whole/set.safetensors"
        self.folder("whole")
        open(out, "w").write("old")
        for number in (signal.SIGINT, signal.SIGTERM):
            p = subprocess.Popen([self.convoy, "data", src, "-o", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(0.25)
            p.send_signal(number)
            _, err = p.communicate()
            check(p.returncode == -number and b"interrupted" in err, "%s %s" % (p.returncode, err))
            check(os.listdir(self.top + "/whole") == ["set.safetensors"] and open(out).read() == "old", "the old set is gone")
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))  # noqa: E731
        r = self.data(src, "-o", out, preexec_fn=limit)
        check(r.returncode == 1 and "cannot write" in r.stderr, r.stderr)
        check(os.listdir(self.top + "/whole") == ["set.safetensors"] and open(out).read() == "old", "the old set is gone")
        r = self.data(src, "-o", self.top + "/nowhere/set.safetensors")
        check(r.returncode == 1 and "nowhere" in r.stderr, r.stderr)
        r = self.data("/nowhere", "-o", out)
        check(r.returncode == 1 and "there is no '/nowhere'" in r.stderr, r.stderr)

    def test_hostile(self):
        """Headers that lie, bombs: named, left out, in bounded memory and time."""
        if not self.bounded("memory of headers that lie"):
            return
        import struct
        import zlib
        src = self.two_classes("hostile", 3)
        chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
        png = lambda w, h, depth, kind, laced, data: (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, laced))  # noqa: E731
                                                      + chunk(b"IDAT", data) + chunk(b"IEND", b""))
        zeros = zlib.compress(bytes(1 << 20), 9)
        bad = {"wide.png": png(1 << 30, 1, 8, 2, 0, zeros), "many.png": png(100000, 100000, 1, 0, 0, zeros), "liar.png": png(9000, 9000, 8, 6, 0, zeros),
               "laced.png": png(13000, 13000, 8, 6, 1, zeros), "none.png": png(0, 5, 8, 2, 0, zeros), "head.png": b"\x89PNG\r\n\x1a\n"}
        Image.fromarray(self.pixels(40, 40)).save(src + "/a/ok.jpg", progressive=True)
        jpeg = open(src + "/a/ok.jpg", "rb").read()
        at = jpeg.index(b"\xff\xc2")
        bad["big.jpg"] = jpeg[:at + 5] + struct.pack(">HH", 65500, 65500) + jpeg[at + 9:]
        bad["large.jpg"] = jpeg[:at + 5] + struct.pack(">HH", 13000, 13000) + jpeg[at + 9:]
        scan = jpeg[jpeg.rindex(b"\xff\xda"):-2]
        bad["scans.jpg"] = jpeg[:-2] + scan * 3000 + b"\xff\xd9"
        for name, content in bad.items():
            open("%s/b/%s" % (src, name), "wb").write(content)
        begin = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        r = self.data(src, "-o", "h.safetensors", "--json", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)))
        check(r.returncode == 0, r.stderr)
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begin[1].ru_utime
        check(seconds < 8, "%.1f s" % seconds)
        named = {n["name"] for n in json.loads(r.stdout)["notes"]["unreadable"]["listed"]}
        check(named == {"b/" + n for n in bad}, named ^ {"b/" + n for n in bad})

    def test_targets(self):
        """Several columns of numbers to learn; what is no number is named with its line."""
        rng = np.random.default_rng(4)
        x, y = rng.normal(size=(80, 2)), rng.integers(0, 9, (80, 3))
        lines = ["a,p,b,q,word,r"] + ["%.9g,%d,%.9g,%d,w%d,%d" % (x[i][0], y[i][0], x[i][1], y[i][1], i, y[i][2]) for i in range(80)]
        path = self.top + "/t.csv"

        def take(*options, extra=(), **more):
            open(path, "w").write("\n".join(lines + list(extra)) + "\n")
            return self.data(path, "-o", "t.safetensors", *options, **more)
        for flag in ("--target", "--label"):  # r before p: in the order in which they are asked for
            r = take(flag, "r,p,4", extra=["1,nan,2,3,w,4", "1,2,3,4,w,x", "1,2,3,4,w,", "1,2,3,4,w,1e60"])
            check(r.returncode == 0 and "outputs: 3" in r.stdout and "loss: mse" in r.stdout, r.stdout + r.stderr)
            check(all(w in r.stdout for w in ("line 82, column 2: 'p': no number to learn", "line 83, column 6: 'r': 'x' is no number to learn",
                                              "line 84, column 6: 'r': no number to learn", "line 85, column 6: 'r': '1e60' is too large to learn")), r.stdout)
            s = Set(self.top + "/t.safetensors")
            check(json.loads(s.meta["targets"]) == ["r", "p", "q"] and s.classes is None and s.columns == ["a", "b"], s.meta)
            rows = s.rows()
            check(len(rows) == 80 and s["train.y"].dtype == np.float32, len(rows))
            for i in range(80):
                _, row, wanted, _ = rows["t.csv:%d" % (i + 2)]
                check((row.ravel() == x[i].astype(np.float32)).all() or np.allclose(row.ravel(), x[i], rtol=1e-6), row)
                check(list(wanted) == [y[i][2], y[i][0], y[i][1]], wanted)
        take("--target", "q")  # one, of whole numbers: no classes
        s = Set(self.top + "/t.safetensors")
        check(s["train.y"].shape == (len(s["train.x"]),) and json.loads(s.meta["targets"]) == ["q"], s.meta)
        for options, word in ((["--target", "p,none"], "'%s' has no column 'none'" % path), (["--target", "p,p"], "column 'p' stands there twice"),
                              (["--target", "p,word"], "line 2, column 'word': 'w0' is no number"), (["--target", "p,"], "has no column ''"),
                              (["--target", "p", "--label", "q"], "one of them"), (["--target", "a,b,p,q,r"], "no column of numbers beside")):
            before = open(self.top + "/t.safetensors", "rb").read()
            r = take(*options)
            check(r.returncode == 1 and word in r.stderr, "%s: %s" % (options, r.stderr))
            check(open(self.top + "/t.safetensors", "rb").read() == before, "the old set is gone")
        src = self.two_classes("no-table", 3)
        r = self.data(src, "--target", "p")
        check(r.returncode == 1 and "--target is of tables" in r.stderr, r.stderr)

    def test_lengths(self):
        """A length a row: what stands behind it changes no byte of the set, and no statistic."""
        n, steps = 90, 6
        length = self.rng.integers(1, steps + 1, n)
        tokens = self.rng.integers(0, 7, (n, steps))
        pads = {"nothing": lambda k: [], "empty": lambda k: [""] * k, "words": lambda k: ["nan", "junk", "-3.5", "1e99", "?", "x"][:k]}
        sets = {}
        for pad, cells in pads.items():
            with open(self.top + "/l.csv", "w") as f:
                f.write("kind,n," + ",".join("t%d" % k for k in range(steps)) + "\n")
                for i in range(n):
                    f.write(",".join(["c%d" % (i % 3), str(length[i])] + [str(v) for v in tokens[i, :length[i]]] + cells(steps - length[i])) + "\n")
            s, said = self.made(self.top + "/l.csv", "--length", "n", "--label", "kind")
            check(sum(said["rows"].values()) == n and said["notes"]["refused_cells"]["count"] == 0, "%s: %s" % (pad, said["notes"]))
            check(said["lengths"]["steps"] == steps and said["lengths"]["tokens"] and said["lengths"]["least"] == length.min(), said["lengths"])
            with open(self.top + "/made.safetensors", "rb") as f:
                sets[pad] = f.read()
        check(len(set(sets.values())) == 1, "padding changed the set")
        check(s["train.length"].dtype == np.int64 and s.recipe["length"] == "n" and s.columns == ["t%d" % k for k in range(steps)], s.meta)
        met = 0
        for split in ("train", "valid", "test"):
            for x, l, name in zip(s[split + ".x"], s[split + ".length"], names_of(s, split)):
                i = int(name.split(":")[1]) - 2
                check(l == length[i] and list(x.ravel()[:l]) == list(tokens[i, :l]) and not x.ravel()[l:].any(), "%s: %s %s" % (name, l, x.ravel()))
                met += 1
        check(met == n, met)
        with open(self.top + "/l.csv", "a") as f:
            f.write("c0,0,1\nc0,7,1,1,1,1,1,1\nc0,two,1\nc0,,1\nc0,3,1,2\nc0,2.5,1,2,3\nc0,2,1,x\nc0,1,1,1,1,1,1,1,1\n")
        r = self.data(self.top + "/l.csv", "--length", "n", "-o", "made.safetensors", "--json")
        said = json.loads(r.stdout)["notes"]["refused_cells"]
        at, words = n + 2, [note["name"] + ": " + note["why"] for note in said["listed"]]
        for k, want in enumerate(("its length is 0; a row has 1 to 6", "its length is 7", "'two' is no length", "no length", "4 cells, not 8",
                                  "its length is 2.5", "'x' is no number", "9 cells, not 8")):
            check(any("line %d" % (at + k) in w and want in w for w in words), "%s: %s" % (want, words))
        check(said["count"] == 8, said)

        for pad in (np.nan, 1e30):  # arrays: features by steps
            x = self.rng.normal(size=(n, 3, steps)).astype(np.float32) + np.arange(3)[None, :, None]
            live = np.arange(steps)[None, :] < length[:, None]
            x = np.where(live[:, None], x, pad).astype(np.float32)
            y = np.arange(n) % 2
            np.savez(self.top + "/l.npz", x=x, y=y, length=length)
            s, said = self.made(self.top + "/l.npz", "--split", "100/0/0")
            check(s["train.x"].shape == (n, 3, 1, steps) and not said["lengths"]["tokens"], s["train.x"].shape)
            for c in range(3):
                of = x[:, c][live].astype(float)
                check(abs(of.mean() - s.mean[c]) < 1e-5 and abs(of.std() - s.sd[c]) < 1e-5, (c, s.mean, s.sd))
            order = [int(name[2:-1]) for name in names_of(s, "train")]
            check((s["train.length"] == length[order]).all() and (s["train.x"][:, :, 0] == np.where(live[:, None], x, 0)[order]).all(), "rows")
        np.save(self.top + "/l_x.npy", x)
        np.save(self.top + "/l_y.npy", y)
        np.save(self.top + "/l_n.npy", length)
        one, _ = self.made(self.top + "/l_x.npy", "--y", self.top + "/l_y.npy", "--length", self.top + "/l_n.npy", "--split", "100/0/0")
        check((one["train.x"] == s["train.x"]).all() and (one["train.length"] == s["train.length"]).all(), "a file beside a file")
        np.savez(self.top + "/l.npz", x_train=tokens, y_train=y, length_train=length, x_test=tokens, y_test=y, length_test=length)
        s, said = self.made(self.top + "/l.npz")
        check(said["lengths"]["tokens"] and (s["test.length"] == length).all(), said["lengths"])
        np.savez(self.top + "/l.npz", x=np.zeros((8, 2)), y=np.arange(8) % 2, length=np.arange(8) // 4 + 1)
        s, said = self.made(self.top + "/l.npz", "--split", "100/0/0")  # [0] and [0, 0] are not equal
        check(said["equal"]["pairs"] == 6, said["equal"])

        np.savez(self.top + "/l.npz", x_train=tokens, y_train=y, length_train=length, x_test=tokens, y_test=y)
        self.refused("have lengths, and those of", self.top + "/l.npz")
        np.savez(self.top + "/l.npz", x=tokens, y=y, length=length[:-1])
        self.refused("but the lengths in 'length' are (89)", self.top + "/l.npz")
        self.refused("has no array 'm'", self.top + "/l.npz", "--length", "m")
        np.savez(self.top + "/l.npz", x=np.zeros((n, 2, 3, steps)), y=y, length=length)
        self.refused("sequences: (n, length)", self.top + "/l.npz")
        self.refused("has no column 'm'", self.top + "/l.csv", "--length", "m")
        self.refused("is the label of", self.top + "/l.csv", "--length", "n", "--label", "n")
        self.refused("--length is of tables and arrays", self.two_classes("no-lengths", 3), "--length", "n")

    def test_pictures(self):
        src = self.two_classes("pictures")
        r = self.data(src, "-o", "p.safetensors", "--sheet", "sheet.png", "--html", "page.html")
        check(r.returncode == 0 and "wrote p.safetensors" in r.stdout and "[--split T/V/E]" in r.stdout, r.stdout + r.stderr)
        sheet = np.array(Image.open(self.top + "/sheet.png"))
        s = Set(self.top + "/p.safetensors")
        first = s["train.x"][list(s["train.y"]).index(0)].transpose(1, 2, 0)
        check(sheet.shape == (2 * 14 + 2, 12 * 14 + 2, 3) and (sheet[2:14, 2:14] == first).all(), sheet.shape)
        page = open(self.top + "/page.html").read()
        check(page.count("data:image/png;base64,") == 2 and page.rstrip().endswith("</html>"), "the page")


if __name__ == "__main__":
    sys.exit(methods.main("data", Test))
