#!/usr/bin/env python3
"""Fails each allocation of each command in turn, and all from each on: a message that says so, the status for trouble, files as
they were, no half output; or, where the program can do without, the output of a run that failed nothing.

    tests/test_memory.py --convoy build/gen/convoy --failalloc build/tests/libfailalloc.so [--points 12 | --all] [--only gen]
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

import quick

SPEC = """name: tiny
input: [1, 8, 8]
classes: 2
layers:
  - conv: {out: 2, stride: 2, order: conv-bn-relu}
  - stage: {residual: [conv: {out: 2, order: bn-relu-conv}]}
  - global_avg_pool
  - linear: classes
train: {data: shapes, epochs: 1, batch: 16, mean: 0.5}
"""
passed = failed = 0
skipped = []


def put(path, text):
    with open(path, "w") as f:
        f.write(text)


def contents(folder):
    """All files below a folder, with their bytes."""
    out = {}
    for d, _, files in os.walk(folder):
        for f in files:
            with open(os.path.join(d, f), "rb") as stream:
                out[os.path.relpath(os.path.join(d, f), folder)] = stream.read()
    return out


def fail(what, detail):
    global failed
    failed += 1
    if failed <= 40:
        print("FAILED: %s\n  %s" % (what, detail))


class Case:
    """A command whose allocations fail. `made` is a file or folder that it writes: before, it holds something else."""

    def __init__(self, preload, words, made=None, trouble=1, before=None, env=None):
        self.words, self.made, self.trouble, self.before = words, made, trouble, before
        self.env = {**os.environ, **(env or {}), "LD_PRELOAD": preload, "FAIL_PROGRAM": os.path.basename(words[0])}
        self.name = " ".join([os.path.basename(words[0])] + words[1:])

    def run(self, at, more=None):
        for path in (self.made, "work"):
            if path and os.path.isdir(path):
                shutil.rmtree(path)
            elif path and os.path.exists(path):
                os.unlink(path)
        os.mkdir("work")
        if self.made and self.before is not None:
            self.put_before()
        try:
            r = subprocess.run(self.words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=300,
                               env={**self.env, "FAIL_AT": str(at), **(more or {})})
        except subprocess.TimeoutExpired:
            return "hangs", b"", "", {}
        return r.returncode, r.stdout, r.stderr.decode(errors="replace"), contents(".")

    def put_before(self):
        if isinstance(self.before, dict):
            for name, data in self.before.items():
                path = os.path.join(self.made, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as f:
                    f.write(data)
        else:
            put(self.made, self.before)

    def judge(self, at, mode, good, old):
        global passed
        status, out, err, files = self.run(at, {"FAIL_ALL": "1"} if mode == "all" else None)
        what = "%s: allocation %d%s" % (self.name, at, " and all after it" if mode == "all" else "")
        if status == good[0] and out == good[1] and files == good[3]:
            passed += 1
        elif status != self.trouble:
            fail(what, "status %s, not %d: %s; other output: %s; other files: %s" % (status, self.trouble, err[-300:], out != good[1],
                 sorted(k for k in set(files) | set(good[3]) if files.get(k) != good[3].get(k))))
        elif ("memory" not in err and "cannot start the loader's thread" not in err) or "bug" in err:
            fail(what, "says: %r" % err[-300:])
        elif files != old and not self.partly(files, good[3], old):
            fail(what, "files differ: %s" % sorted(k for k in set(files) | set(old) if files.get(k) != old.get(k)))
        else:
            passed += 1

    def partly(self, files, new, old):
        """The folder of emitted C may hold old and new files, each whole, when renaming has begun; and nothing else."""
        return all(files[k] == old.get(k) or files[k] == new.get(k) or k.endswith(".convoy-manifest") for k in files) and all(k in files for k in old)

    def campaign(self, points):
        count = os.path.abspath("../count")
        good = self.run(0, {"FAIL_COUNT": count})
        if good[0] not in (0, 1) or (good[0] == 1 and self.trouble == 1):
            fail(self.name, "does not even run: %s %s" % (good[0], good[2]))
            return
        with open(count) as f:
            n = int(f.read())
        self.put_away()
        old = contents(".")
        begin, before = time.time(), passed
        step = max(1, n // points) if points else 1
        offset = len(self.name) % step
        tried = sorted(set(range(1 + offset, n + 1, step)) | ({n} if points else set()))
        for at in tried:
            for mode in ("one", "all"):
                self.judge(at, mode, good, old)
        print("%-70s %5d allocations, %5d runs, %5d well, %6.1f s" % (self.name[:70], n, 2 * len(tried), passed - before, time.time() - begin))

    def put_away(self):
        shutil.rmtree("work")
        os.mkdir("work")
        if self.made and os.path.isdir(self.made):
            shutil.rmtree(self.made)
        elif self.made and os.path.exists(self.made):
            os.unlink(self.made)
        if self.made and self.before is not None:
            self.put_before()


def cases(convoy, preload):
    def c(*words, **more):
        return Case(preload, [convoy, *words], **more)
    run = [convoy, "gen", "t.yaml", "-o", "g", "--target", "portable"]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(run[:-3] + ["h", "--target", "portable", "--set", "conv1.order=conv-relu-bn"], check=True, stdout=subprocess.DEVNULL)
    old_folder = contents("h")
    return [
        c("help"), c("--version"), c("presets"), c("presets", "fastai-ConvLayer"), c("new", "net", "-o", "work/net.yaml"),
        c("schema"), c("schema", "-o", "made", made="made", before="old"),
        c("check", "t.yaml"), c("check", "t.yaml", "--json"), c("check", "t.yaml", "--set", "conv1.out=3"),
        c("check", "t.yaml", "--write"), c("check", "t.yaml", "--write", "-o", "made", made="made", before="old"),
        c("check", "t.yaml", "--write", "-o", "work/new"),
        c("twin", "t.yaml"), c("twin", "t.yaml", "-o", "made", made="made", before="old"),
        c("plan", "t.yaml"), c("plan", "t.yaml", "--json"), c("plan", "t.yaml", "--why", "conv1"), c("plan", "t.yaml", "--why", "conv1", "--json"),
        c("plan", "t.yaml", "--why", "conv1", "--worked"), c("plan", "t.yaml", "--for", "reading"),
        c("draw", "t.yaml"), c("draw", "t.yaml", "--diff", "u.yaml", "-o", "made", made="made", before="old"),
        c("diff", "t.yaml", "u.yaml", trouble=2), c("diff", "t.yaml", "--order", "conv-relu-bn", "--json", trouble=2),
        c("diff", "g", "h", trouble=2), c("diff", "g", "h", "--json", trouble=2),
        c("diff", "t.yaml", "u.yaml", "--html", "made", trouble=2, made="made", before="old"),
        c("gen", "t.yaml", "-o", "made", made="made"), c("gen", "t.yaml", "-o", "made", made="made", before=old_folder),
        c("gen", "t.yaml", "-o", "made", "--for", "reading", made="made"), c("gen", "t.yaml", "-o", "made", "--for", "size", made="made"),
    ]


def program_cases(convoy, preload):
    """The emitted program, without OpenMP and OpenBLAS, which have allocations of their own before main begins."""
    r = subprocess.run(["make", "-C", "g", "-f", "Makefile", "-j2", *quick.MAKE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode:
        fail("the emitted program", "does not compile: %s" % r.stdout.decode()[-1000:])
        return []
    program = os.path.abspath("g/tiny")
    few = ["--train-images", "32", "--test-images", "16"]
    subprocess.run([program, "train", *few, "--quiet", "--save", "w.safetensors"], check=True)

    def p(*words, **more):
        return Case(preload, [program, *words], env={"OMP_NUM_THREADS": "1"}, **more)
    with open("x.npy", "wb") as f:
        head = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 1, 8, 8), }".ljust(117) + "\n"
        f.write(b"\x93NUMPY\x01\x00\x76\x00" + head.encode() + bytes(range(192)))
    with open("y.npy", "wb") as f:
        head = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }".ljust(117) + "\n"
        f.write(b"\x93NUMPY\x01\x00\x76\x00" + head.encode() + bytes([0, 1, 0]))
    return [
        p("help"), p("info"), p("info", "--json"), p("eval", "--weights", "w.safetensors", "--test-images", "16", "--json"),
        p("eval", "--weights", "w.safetensors", "--test-images", "16"),
        p("predict", "--weights", "w.safetensors", "--input", "x.npy", "-o", "made", made="made", before="old"),
        p("trace", "--weights", "w.safetensors", "--input", "x.npy", "--labels", "y.npy", "-o", "made", made="made", before="old"),
        p("train", *few, "--quiet", "--save", "work/w.safetensors"),
        p("train", *few, "--quiet", "--no-save", "--init-from", "w.safetensors", "--stats", "--log", "/dev/null"),
        Case(preload, [convoy, "export", "t.yaml", "--weights", "w.safetensors", "-o", "made"], made="made"),
        Case(preload, [convoy, "export", "t.yaml", "--weights", "w.safetensors", "-o", "made", "--single-file"], made="made"),
        Case(preload, [convoy, "plan", "t.yaml", "--why", "conv1", "--worked", "--weights", "w.safetensors"]),
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("--failalloc", required=True)
    parser.add_argument("--points", type=int, default=12, help="allocations of each command that are failed")
    parser.add_argument("--all", action="store_true", help="each of them")
    parser.add_argument("--only", default="", help="commands that begin with these words")
    args = parser.parse_args()
    convoy, preload = os.path.abspath(args.convoy), os.path.abspath(args.failalloc)
    with tempfile.TemporaryDirectory(prefix="convoy-test-") as folder:
        os.mkdir(folder + "/in")
        os.chdir(folder + "/in")
        put("t.yaml", SPEC)
        put("u.yaml", SPEC.replace("conv-bn-relu", "conv-relu-bn"))
        for case in cases(convoy, preload) + program_cases(convoy, preload):
            if args.only in case.name.partition(" ")[2]:
                case.campaign(0 if args.all else args.points)
                case.put_away()
                case.before = None
                if case.made:
                    shutil.rmtree(case.made, ignore_errors=True)
                    if os.path.exists(case.made):
                        os.unlink(case.made)
        os.chdir("/")
    for s in skipped:
        print("skipped: " + s)
    print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % len(skipped) if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
