#!/usr/bin/env python3
"""Checkpoints of emitted programs: which network takes whose weights, and what is said of the others; that a training which is killed, or
whose disk fails, at any write, fsync or rename goes on and ends with the same bytes.

    tests/test_checkpoints.py --convoy build/gen/convoy [--long] [--only identity|locks|kills|moments|padding]

--long: at every system call that touches a file, of longer trainings too. Kills need strace; it is said where that is missing."""
import argparse
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import quick
from counted import check, failed, must, passed, run, skipped

BASE = """name: tiny
input: [1, 8, 8]
classes: 4
order: ORDER
layers:
  - conv: {out: 4, bias: true}
  - conv: {out: 6, bias: true, stride: 2}
  - global_avg_pool
DROP  - linear: {out: classes, order: linear}
train: {data: shapes, batch: 8, lr: 0.05, momentum: 0.9, nesterov: true}
"""
TRAIN = ["train", "--data", "shapes", "--train-images", "24", "--test-images", "8", "--threads", "1"]


def bytes_of(path):
    with open(path, "rb") as f:
        return f.read()


class Programs:
    """Emitted and compiled, the runtime once for all that are emitted alike."""

    def __init__(self, convoy, folder):
        self.convoy, self.folder, self.first = convoy, folder, {}

    def spec(self, order="conv-bn-act", drop="", edit=None):
        text = BASE.replace("ORDER", order).replace("DROP", drop)
        path = os.path.join(self.folder, "spec%d.yaml" % len(os.listdir(self.folder)))
        with open(path, "w") as f:
            f.write(edit(text) if edit else text)
        return path

    def program(self, name, spec, *more):
        to = os.path.join(self.folder, name)
        must(self.convoy, "gen", spec, "-o", to, "--target", "portable", *more)
        if more in self.first:
            # newer than what is emitted, and with the note of the flags: else make compiles them again
            for f in ["tiny.flags"] + [os.path.join("runtime", f) for f in os.listdir(os.path.join(self.first[more], "runtime")) if f.endswith(".o")]:
                shutil.copy(os.path.join(self.first[more], f), os.path.join(to, f))
        must("make", "-s", "-j2", *quick.MAKE, cwd=to)
        self.first.setdefault(more, to)
        return os.path.join(to, "tiny")


def read_header(path):
    data = bytes_of(path)
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + n]), data[8 + n:]


def write_header(path, header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def identity(p, dir):
    def at(name):
        return os.path.join(dir, name)

    base = p.spec()
    own = p.program("own", base)
    must(own, *TRAIN, "--epochs", "2", "--save", at("w"), cwd=dir)
    x = at("x.npy")
    head = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 8, 8), }".ljust(117) + "\n"
    with open(x, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(range(128)))

    def exports(spec, what=(), weights="w"):
        return ("export",) + run(p.convoy, "export", spec, "--weights", at(weights), "-o", at("exported"), *what)

    def uses(program, spec, what=(), weights="w"):
        """Each way of taking the weights: (name, status, stdout, stderr)."""
        for f in ("w", "w.state.safetensors"):
            shutil.copy(at(f), at("r" + f[1:]))
        yield ("eval",) + run(program, "eval", "--data", "shapes", "--test-images", "8", "--weights", weights, *what, cwd=dir)
        yield ("predict",) + run(program, "predict", "--weights", weights, "--input", x, "-o", "y.npy", *what, cwd=dir)
        yield exports(spec, what, weights)
        yield ("init-from",) + run(program, *TRAIN, "--epochs", "1", "--init-from", weights, "--no-save", *what, cwd=dir)
        yield ("resume",) + run(program, *TRAIN, "--resume", "--epochs", "3", "--save", "r", *what, cwd=dir)

    def text(a, b):
        return lambda s: s.replace(a, b)

    # another network, by what is said of it; all but the first two by export alone, which takes no compiling
    both = lambda s: s.replace("bias: true, stride", "bias: true, eps: 0.01, stride").replace("train: {", "train: {mean: 0.25, std: 0.5, ")
    other = {
        "crb": (p.spec("conv-act-bn"), r":\n  conv1: trained as conv-bn-relu, here conv-relu-bn\n  conv2: trained as conv-bn-relu, here conv-relu-bn\n  hint"),
        "eps": (p.spec(edit=both), r":\n  conv2: trained with bn\(eps=1e-5\), here bn\(eps=0.01\)\n"
                                   r"  input: trained with input\(mean=.*\), here input\(mean=0.25,std=0.5\)\n  hint"),
        "tanh": (p.spec(edit=text("\norder:", "\nact: tanh\norder:")), r":\n  conv1: trained as conv-bn-relu, here conv-bn-tanh\n  conv2: "),
        "stride": (p.spec(edit=text("stride: 2", "stride: 1")), r":\n  conv2: trained with conv\(kernel=3,stride=2,.*here conv\(kernel=3,stride=1,"),
        "out": (p.spec(edit=text("out: 6", "out: 5")), r":\n  conv2: trained with conv\(.*\) to 6, here conv\(.*\) to 5\n"),
        "bias": (p.spec(edit=text("bias: true, stride", "bias: false, stride")),
                 r":\n  conv2: trained with parameters conv2.conv.weight conv2.conv.bias, here conv2.conv.weight\n"),
        "pool": (p.spec(edit=text("global_avg_pool", "maxpool(2)\n  - flatten")), r"  maxpool1: not there when it was trained, here maxpool\n"),
        "shortcut": (p.spec(edit=text("- global_avg_pool", "- stage: {residual: [{conv: {out: 6}}]}\n  - global_avg_pool")), r"not there when it was trained, here"),
    }
    for name, (spec, said) in other.items():
        compiled = name in ("crb", "eps")
        program = p.program(name, spec) if compiled else None
        for use, status, out, err in uses(program, spec) if compiled else [exports(spec)]:
            good = status == 1 and re.search(said, err) and ("was trained as another network" in err)
            check(good, "%s of %s is refused, and what differs is named" % (use, name), out + err)
        for use, status, out, err in uses(program, spec, ["--force"]) if compiled else []:
            check(status == 0 and "warning: " in err, "%s of %s, --force" % (use, name), out + err)

    # no difference
    batch = p.spec(edit=lambda s: s.replace("batch: 8, lr: 0.05", "batch: 16, epochs: 9, seed: 3, lr: 0.5") + "unroll: none\nwinograd: off\n")
    for use, status, out, err in uses(p.program("batch", batch), batch):
        check(status == 0 and not err, "%s with another batch, rate, number of epochs, seed and code" % use, out + err)
    for use, status, out, err in uses(p.program("reading", base, "--for", "reading"), base):
        check(status == 0 and not err, "%s for reading" % use, out + err)
    renamed = exports(p.spec(edit=text("- global_avg_pool", "- global_avg_pool: {name: mean}")))
    check(renamed[1] == 0 and not renamed[3], "a layer without parameters under another name", renamed[3])
    infer = p.program("infer", other["crb"][0], "--parts", "infer")
    status, out, err = run(infer, "eval", "--data", "shapes", "--weights", "w", cwd=dir)
    check(status == 1 and "conv1: trained as conv-bn-relu, here conv-relu-bn" in err, "a program for inference alone", err)

    # a dropout, bn's momentum, the optimiser, the data: differences to --resume alone
    training = {
        "drop": (p.spec(drop="  - drop: 0.5\n", edit=text("bias: true, stride", "bias: true, momentum: 0.01, stride")),
                 r":\n  conv2: trained with momentum=0.1, here momentum=0.01\n  drop1: not there when it was trained, here drop\n"),
        "optimiser": (p.spec(edit=text("nesterov: true", "nesterov: false")),
                      r"the spec's optimiser was sgd\(momentum=0.9, nesterov=1,.* and is sgd\(momentum=0.9, nesterov=0,"),
    }
    for name, (spec, said) in training.items():
        for use, status, out, err in uses(p.program(name, spec), spec):
            if use == "resume":
                check(status == 1 and re.search(said, err), "resume with another %s is refused" % name, out + err)
            else:
                check(status == 0 and not err, "%s with another %s" % (use, name), out + err)
    frozen = p.program("frozen", p.spec(edit=text("momentum: 0.9,", "freeze: [conv1], momentum: 0.9,")))
    status, out, err = run(frozen, *TRAIN, "--resume", "--epochs", "3", "--save", "r", cwd=dir)
    check(status == 1 and re.search(r"is the state of a training that froze nothing, and this network freezes conv1.conv, conv1.bn", err), "resume with other frozen layers is refused", err)
    status, out, err = run(frozen, *TRAIN, "--epochs", "2", "--save", "fresh", cwd=dir)
    check(status == 0 and "keeps the weights that are drawn" in err, "frozen layers without --init-from are warned about", err)
    must(frozen, *TRAIN, "--epochs", "2", "--init-from", "w", "--ema", "0.9", "--save", "frozen_whole", cwd=dir)
    for n in range(1, 6):
        must(frozen, *TRAIN, "--epochs", "2", "--init-from", "w", "--ema", "0.9", "--save", "frozen_parts%d" % n, "--limit", str(n), cwd=dir)
        must(frozen, *TRAIN, "--resume", "--save", "frozen_parts%d" % n, cwd=dir)
        check(all(bytes_of(at("frozen_whole" + f)) == bytes_of(at("frozen_parts%d" % n + f)) for f in ("", ".state.safetensors")), "frozen layers: stopped after step %d, and resumed" % n)
    status, out, err = run(own, "eval", "--data", "shapes", "--test-images", "8", "--weights", "frozen_whole", cwd=dir)
    check(status == 0 and not err, "weights of a training with frozen layers, in the network without", err)
    (a, first), (b, after) = (read_header(at(f)) for f in ("w", "frozen_whole"))
    same = {k: first[slice(*v["data_offsets"])] == after[slice(*b[k]["data_offsets"])] for k, v in a.items() if k != "__metadata__"}
    check(all(same[k] for k in same if k.startswith("conv1.")) and not same["conv2.conv.weight"] and not same["linear1.linear.weight"], "frozen layers keep their bytes, the others do not", str(same))
    adam = p.program("adam", p.spec(drop="  - drop: 0.3\n", edit=text("momentum: 0.9, nesterov: true", "optimizer: adam, beta2: 0.9")))
    status, out, err = run(adam, *TRAIN, "--resume", "--force", "--epochs", "3", "--save", "r", cwd=dir)
    check(status == 1 and re.search(r"is the state of a training with sgd\(.*, and this network trains with adam", err), "resume with adam is refused", err)
    adamw = p.program("adamw", p.spec(drop="  - drop: 0.3\n", edit=text("momentum: 0.9, nesterov: true", "optimizer: adamw, weight_decay: 0.1")))
    for word, program in (("adamw", adamw), ("adam", adam)):
        must(program, *TRAIN, "--epochs", "2", "--save", "whole", cwd=dir)
        for n in range(1, 6):
            must(program, *TRAIN, "--epochs", "2", "--save", "parts%d" % n, "--limit", str(n), cwd=dir)
            must(program, *TRAIN, "--resume", "--save", "parts%d" % n, cwd=dir)
            check(all(bytes_of(at("whole" + f)) == bytes_of(at("parts%d" % n + f)) for f in ("", ".state.safetensors")), "%s: stopped after step %d, and resumed" % (word, n))
    kept = [k for k in read_header(at("whole.state.safetensors"))[0] if k != "__metadata__"]
    weights = [k for k in read_header(at("whole"))[0] if k != "__metadata__"]
    trained = [k for k in weights if "running" not in k and "num_batches" not in k]
    check(sorted(kept) == sorted(weights + [b + k for k in trained for b in ("exp_avg.", "exp_avg_sq.")]), "adam keeps two tensors a parameter", str(kept))
    status, out, err = run(adam, *TRAIN, "--momentum", "0.5", "--no-save", cwd=dir)
    check(status == 2 and "unknown option '--momentum'" in err, "adam has no momentum", err)
    status, out, err = run(own, *TRAIN, "--data", "shapes:5", "--resume", "--epochs", "3", "--save", "w", cwd=dir)
    check(status == 1 and "had other images" in err, "resume with other data is refused", err)

    # PyTorch's: no lines. Halves and doubles are tried in the runtime's own tests.
    header, data = read_header(at("w"))
    header.pop("__metadata__")
    write_header(at("torch"), header, data)
    for use, status, out, err in uses(own, base, weights="torch"):
        if use != "resume":
            check(status == 0 and err.count("\n") == 1 and "note: " in err and "does not say which network it was trained as" in err, "%s of PyTorch's" % use, err)
    write_header(at("module"), {"module." + k: v for k, v in header.items()}, data)
    status, out, err = run(p.convoy, "export", base, "--weights", at("module"), "-o", at("exported"))
    check(status == 0 and "all names begin with 'module.'" in err, "export of a DataParallel's", err)

    # a head of other classes on the same trunk
    head = p.spec(edit=text("classes: 4", "classes: 3"))
    head_program = p.program("head", head)
    status, out, err = run(head_program, *TRAIN, "--epochs", "1", "--init-from", "w", "--init-partial", "--save", "head.w", cwd=dir)
    check(status == 0 and re.search(r"4 of 5 ops with parameters are taken; drawn anew: linear1", err), "a new head", out + err)
    status, out, err = run(head_program, *TRAIN, "--epochs", "1", "--save", "w", cwd=dir)
    check(status == 1 and "where the training would save, holds weights of another network" in err and "--save OTHER" in err, "not written over", err)
    before = bytes_of(at("w"))
    status, out, err = run(own, *TRAIN, "--epochs", "1", "--save", "w", "--seed", "2", cwd=dir)
    check(status == 1 and "was trained with seed 1, and this training has 2" in err and bytes_of(at("w")) == before, "nor of another seed", err)


# ---- kills ----

CALLS = ("write", "fsync", "renameat")
MORE = ("openat", "close", "unlinkat", "fchmod", "newfstatat", "read", "lseek", "ftruncate")


def locks(p, dir):
    program = p.program("locked", p.spec())
    endless = [program, *TRAIN, "--epochs", "1000000", "--no-eval", "--quiet", "--save"]

    def refused(words, what):
        status, out, err = run(program, *TRAIN, "--epochs", "1", *words, cwd=dir)
        check(status == 1 and "another training is saving to" in err and "--save OTHER" in err, what, out + err)

    os.symlink("w.safetensors", os.path.join(dir, "link"))
    held = subprocess.Popen(endless + ["w.safetensors"], cwd=dir)
    try:
        for _ in range(600):
            if os.path.exists(os.path.join(dir, "w.state.safetensors")):
                break
            time.sleep(0.1)
        refused(["--save", "w.safetensors"], "a second training saves to the same file")
        refused(["--save", "w.safetensors", "--force"], "and insists")
        refused(["--save", "w.safetensors", "--resume"], "and goes on")
        refused(["--save", "link"], "through a link")
        refused(["--save", "w"], "with the same state")
        status, out, err = run(program, *TRAIN, "--epochs", "1", "--save", "other", cwd=dir)
        check(status == 0, "elsewhere it may", out + err)
        check(held.poll() is None, "the first one goes on")
    finally:
        held.kill()
        held.wait()
    status, out, err = run(program, "eval", "--data", "shapes", "--weights", "w.safetensors", cwd=dir)
    check(status == 0, "weights of a training that was killed", out + err)
    with open(os.path.join(dir, "w.safetensors"), "rb") as f:
        step = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))["__metadata__"]["step"]
    status, out, err = run(program, *TRAIN, "--save", "w.safetensors", "--resume", "--limit", str(int(step) + 2), cwd=dir)
    check(status == 0, "a lock's holder was killed", out + err)
    check(not [f for f in os.listdir(dir) if f.endswith(".lock")], "no lock is left", str(os.listdir(dir)))


def kills(p, dir, long):
    if not shutil.which("strace") or run("strace", "-o", os.devnull, "true")[0] != 0:
        skipped.append("kills: strace is missing, or may not trace")
        print("skipped: kills: strace is missing, or may not trace (on Debian: apt install strace)")
        return
    specs = {}

    def build(name, spec):
        built = p.program(name, spec)
        specs[built] = shutil.copy(spec, os.path.join(dir, name + ".yaml"))
        return built

    program = build("killed", p.spec(drop="  - drop: 0.3\n"))
    wide = build("wide", p.spec(edit=lambda s: s.replace("out: 6", "out: 640"))) if long else None

    def count(args, cwd, calls):
        """How often each call is made."""
        must("strace", "-f", "-o", "counted", "-e", "trace=" + ",".join(calls), *args, cwd=cwd)
        text = bytes_of(os.path.join(cwd, "counted")).decode("utf-8", "replace")
        main = text.split(" ", 1)[0]
        return {c: len(re.findall(r"^%s +%s\(" % (main, c), text, re.M)) for c in calls}

    def campaign(name, args, calls, faults, prepare=None):
        """Fails each call in turn; then the training goes on, and ends as if nothing had been."""
        whole = os.path.join(dir, name)
        os.mkdir(whole)
        if prepare:
            prepare(whole)
        counts = count(args, whole, calls)
        want = [bytes_of(os.path.join(whole, f)) for f in ("w", "w.state.safetensors")]
        runs = bad = resumed = 0
        pairs = readers(args, whole, int(args[args.index("--epochs") + 1])) if faults == kill and not prepare else None
        for call in calls:
            for n in range(1, counts[call] + 1):
                for fault in faults:
                    runs += 1
                    one = os.path.join(dir, "one")
                    shutil.rmtree(one, ignore_errors=True)
                    os.mkdir(one)
                    if prepare:
                        prepare(one)
                    inject = "inject=%s:%s:when=%d" % (call, fault, n)
                    status, out, err = run("strace", "-f", "-o", os.devnull, "-e", "trace=" + call, "-e", inject, *args, cwd=one)
                    if pairs:
                        seen_by_readers(args[0], one, pairs, inject)
                    again = [a for a in args if a != "--resume"]
                    if os.path.exists(os.path.join(one, "w.state.safetensors")):
                        again.append("--resume")
                        resumed += 1
                    # at most the first save is not there yet: then it begins anew
                    status, out, more = run(*again, cwd=one)
                    got = [bytes_of(os.path.join(one, f)) if os.path.exists(os.path.join(one, f)) else b"" for f in ("w", "w.state.safetensors")]
                    left = [f for f in os.listdir(one) if ".tmp." in f]
                    log = open(os.path.join(one, "l"), errors="replace").read() if os.path.exists(os.path.join(one, "l")) else ""
                    lines_good = True
                    try:
                        for line in log.splitlines():
                            json.loads(line)
                    except ValueError:
                        lines_good = False
                    if status != 0 or got != want or (left and "--resume" in again) or not lines_good:
                        bad += 1
                        print("FAILED: %s: %s\n  status %d, bytes %s, left %s, log %s\n%s%s" %
                              (name, inject, status, "equal" if got == want else "differ", left, lines_good, err, more))
        print("%s: %d runs failed on the way, %d resumed, %d wrong" % (name, runs, resumed, bad))
        check(runs > 10 and not bad and resumed > 0, "%s: %d runs" % (name, runs))

    def readers(args, whole, epochs):
        """What the weights are after each epoch, of three steps: their bytes, what eval says of them."""
        pairs = {}
        for epoch in range(1, epochs + 1):
            limit = ["--limit", str(3 * epoch)] if epoch < epochs else []
            to = os.path.join(whole, "epoch%d" % epoch)
            os.mkdir(to)
            must(*args, *limit, cwd=to)
            pairs[epoch] = bytes_of(os.path.join(to, "w")), must(args[0], "eval", "--data", "shapes", "--weights", "w", cwd=to)
            shutil.rmtree(to)
        return pairs

    def seen_by_readers(program, one, pairs, inject):
        """eval and export of what a killed training left: of an epoch's end, where there are weights yet."""
        if not os.path.exists(os.path.join(one, "w")):
            return
        held = [e for e in pairs if pairs[e][0] == bytes_of(os.path.join(one, "w"))]
        check(held, "%s: the weights of an epoch" % inject)
        if not held:
            return
        check(must(program, "eval", "--data", "shapes", "--weights", "w", cwd=one) == pairs[held[0]][1], "%s: eval" % inject)
        must(p.convoy, "export", specs[program], "--weights", "w", "-o", "exported", "--target", "portable", cwd=one)
        shutil.rmtree(os.path.join(one, "exported"))

    args = [program, *TRAIN, "--epochs", "2", "--save", "w", "--log", "l"]
    kill, broken = ["signal=KILL"], ["error=EIO", "error=ENOSPC"]
    campaign("killed at each", args, CALLS, kill)
    campaign("failed at each", args, CALLS, broken if long else broken[:1])

    # the resuming itself is killed, after a kill between the renames of weights and state
    def half(to):
        must(*args, "--limit", "3", cwd=to)
        shutil.copytree(to, to + ".later")
        must(*args, "--resume", cwd=to + ".later")
        shutil.copy(os.path.join(to + ".later", "w"), os.path.join(to, "w"))
        shutil.copy(os.path.join(to + ".later", "w.state.safetensors"), os.path.join(to, "w.state.safetensors.tmp.99999999.5"))
        shutil.rmtree(to + ".later")

    campaign("resuming killed at each", args[:3] + args[3:] + ["--epochs", "4", "--resume"], CALLS + ("unlinkat",), kill, half)
    if not long:
        return
    campaign("killed at each, and more calls", args, CALLS + MORE, kill)
    campaign("more calls failed", args, ("openat", "close", "unlinkat", "fchmod", "lseek", "ftruncate"), broken[:1])
    within = [program, *TRAIN, "--epochs", "3", "--save", "w", "--log", "l", "--quiet"]
    campaign("killed at each, three epochs", within, CALLS, kill)
    campaign("resuming killed at each, and more calls", args + ["--epochs", "4", "--resume"], CALLS + MORE, kill, half)
    big = [wide, *TRAIN, "--epochs", "2", "--save", "w", "--log", "l"]
    campaign("larger weights, killed at each", big, CALLS, kill)
    campaign("larger weights, failed at each", big, CALLS, broken)


PADDED = """name: tiny
input: [3, 8, 8]
classes: 4
layers:
  - conv: {out: 5, order: conv-tanh}
  - stage: {concat: [[conv: {out: 13, order: conv-tanh}], []]}
  - conv: {out: 20, order: conv-tanh}
  - conv: {out: 7, order: conv-elu}
  - stage: {residual: [conv: {out: 7, order: conv-tanh}], post: elu}
  - flatten
  - linear: {out: 21, order: linear-tanh}
  - linear: classes
train: {data: shapes, batch: 8, lr: 0.05, schedule: constant, valid: 0}
"""


def padding(p, dir, long):
    """What pads parameters may move in training (a core leaves lanes of dw that it does not need as they were), and comes back as zero
    where a training resumes: stopped after every step, it ends with the same bytes, so that no real number depends on it."""
    program, steps = p.program("padded", p.spec(edit=lambda s: PADDED)), 40 if long else 14
    train = [program, *TRAIN[:3], "--train-images", str(8 * steps), "--epochs", "1", "--no-eval", "--quiet", "--threads", "1"]
    must(*train, "--save", "whole", cwd=dir)
    for n in range(1, steps + 1):
        must(*train, "--save", "parts", "--limit", str(n), *(["--resume"] if n > 1 else []), cwd=dir)
    check(bytes_of(os.path.join(dir, "whole")) == bytes_of(os.path.join(dir, "parts")), "padding: stopped after each of %d steps" % steps)


def moments(p, dir, long):
    """Killed at random moments, with each of the options that keep something from step to step: the end is byte-equal."""
    rng, most = random.Random(7), 50 if long else 3
    plain = p.program("plain", p.spec(drop="  - drop: 0.3\n"))
    frozen = p.program("moments_frozen", p.spec(drop="  - drop: 0.3\n", edit=lambda s: s.replace("momentum: 0.9,", "freeze: [conv1], momentum: 0.9,")))
    options = {"patience": [plain, "--patience", "4", "--lr", "0.02"], "ema": [plain, "--ema", "0.9"], "accumulate": [plain, "--accumulate", "3"],
               "mixup": [plain, "--augment", "crop(1),flip,mixup(0.4)"], "frozen": [frozen], "all": [frozen, "--patience", "60", "--ema", "0.8", "--accumulate", "2", "--augment", "mixup(1)", "--clip", "0.5", "--class-weights", "balanced"]}
    for name, (program, *more) in options.items():
        args = [program, "train", "--data", "shapes", "--train-images", "240", "--test-images", "8", "--threads", "1", "--epochs", "10", "--quiet", *more]
        must(*args, "--save", name, cwd=dir)
        begin = time.time()
        must(*args, "--save", name + "_again", cwd=dir)
        whole, kills, wrong, starts = time.time() - begin, 0, 0, 0
        while kills < most and starts < 40 * most:
            save = "%s_%d" % (name, starts)
            left = os.path.join(dir, save + ".state.safetensors")
            for attempt in range(4):  # killed up to three times on its way
                starts += 1
                q = subprocess.Popen([*args, "--save", save, *(["--resume"] if os.path.exists(left) else [])], cwd=dir, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                try:
                    _, err = q.communicate(timeout=rng.uniform(0.05, 0.9) * whole if attempt < 3 else 120)
                    wrong += q.returncode != 0
                    break
                except subprocess.TimeoutExpired:
                    q.kill()
                    q.communicate()
                    kills += 1
            wrong += any(bytes_of(os.path.join(dir, name + f)) != bytes_of(os.path.join(dir, save + f)) for f in ("", ".state.safetensors"))
        print("%s: killed at %d random moments, %d wrong" % (name, kills, wrong), flush=True)
        check(kills >= most and not wrong, "%s: %d kills, %d wrong" % (name, kills, wrong))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", choices=("identity", "kills", "locks", "moments", "padding"))
    args = parser.parse_args()
    dir = tempfile.mkdtemp(prefix="convoy-checkpoints-")
    programs = os.path.join(dir, "programs")
    os.mkdir(programs)
    p = Programs(os.path.abspath(args.convoy), programs)
    if args.only in (None, "identity"):
        os.mkdir(os.path.join(dir, "identity"))
        identity(p, os.path.join(dir, "identity"))
    if args.only in (None, "locks"):
        os.mkdir(os.path.join(dir, "locks"))
        locks(p, os.path.join(dir, "locks"))
    for part in (moments, padding):
        if args.only in (None, part.__name__):
            os.mkdir(os.path.join(dir, part.__name__))
            part(p, os.path.join(dir, part.__name__), args.long)
    if args.only in (None, "kills"):
        kills(p, dir, args.long)
    shutil.rmtree(dir, ignore_errors=True)
    print("%d passed, %d failed, %d skipped" % (len(passed), len(failed), len(skipped)))
    return 1 if failed or not passed + skipped else 0


if __name__ == "__main__":
    sys.exit(main())
