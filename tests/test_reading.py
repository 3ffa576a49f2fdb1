#!/usr/bin/env python3
"""Code for reading: every op of the table has its two functions, one above the other; it is C99 without a warning; what it trains the code
for speed goes on with; its masks are the same; what `plan`, `info` and `bench` say of it; errors; the excerpt in docs/for.md.

    tests/test_reading.py --convoy build/gen/convoy --campaign build/tests/campaign
"""
import argparse
import array
import json
import os
import re
import shutil
import sys
import tempfile

import quick
from counted import check, failed, must, passed, run

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
SPEC = os.path.join(TESTS, "reading_all.yaml")
STEPS = os.path.join(ROOT, "tests", "golden", "recurrent.yaml")
TOKENS = os.path.join(ROOT, "tests", "golden", "tokens.yaml")
SMALL = """name: small
input: [2, 8, 9]
classes: 4
layers:
  - conv: {out: 5, order: conv-bn-relu}
  - conv: {out: 6, stride: 2, order: "conv-gn(2)-silu-drop(0.3)"}
  - flatten
  - linear: {out: 9, order: linear-bn-tanh}
  - linear: classes
train: {data: shapes, batch: 6, lr: 0.02, momentum: 0.9, weight_decay: 5e-4}
"""
NO_FUNCTIONS = {"input", "flatten"}  # the one is given, the other moves nothing
ALIKE = {"ln": "gn", "in": "gn", "rms": "gn", "loss": "cross_entropy"}  # norms of groups of channels: of one, of each, of one without its mean; the usual loss


def text_of(path):
    with open(path) as f:
        return f.read()


def tensors(path):
    """A safetensors file's float32 tensors, as bytes by name."""
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    return {k: data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in json.loads(data[8:8 + n].decode()).items()
            if k != "__metadata__" and v["dtype"] == "F32"}


def floats(data):
    a = array.array("f")
    a.frombytes(data)
    return a


def npy(path):
    with open(path, "rb") as f:
        data = f.read()
    return floats(data[10 + int.from_bytes(data[8:10], "little"):])


def write_npy(path, numbers, shape, kind):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (kind, tuple(shape))
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + array.array("f" if kind == "<f4" else "q", numbers).tobytes())


def off(a, b):
    """The largest difference as a share of the largest magnitude."""
    top = max(max(abs(x) for x in b), 1e-30)
    return max(abs(x - y) for x, y in zip(a, b)) / top if len(a) == len(b) else float("inf")


def table():
    """The op table's names, from its rows."""
    return re.findall(r"^ +\[OP_\w+\] += \{\"(\w+)\"", text_of(os.path.join(ROOT, "gen", "op", "op.c")), re.M)


OWN = {"rnn": STEPS, "gru": STEPS, "lstm": STEPS, "embed": TOKENS}  # they stand in networks of their own, as others read no sequences, or no tokens


def functions(net, own=None):
    """Every op is forward, and the very next function is its backward."""
    order = re.findall(r"^(?:static )?\w+ (\w+)\(.*\)\n\{", net, re.M)
    names = table()
    check(len(names) > 25, "the op table's rows", str(names))
    for name in names:
        name = ALIKE.get(name, name)
        if name in NO_FUNCTIONS or OWN.get(name) != own:
            continue
        at = order.index(name + "_forward") if name + "_forward" in order else -1
        check(at >= 0 and order[at + 1:at + 2] == [name + "_backward"], "%s: backward stands below forward" % name, str(order))
        above = net[:net.find("%s_forward(" % name)].rsplit("\n\n", 1)[-1]
        check("/*" in above, "%s: a formula stands above forward" % name, above)


def clean(folder, compiler):
    for f in sorted(os.listdir(folder)):
        if f.endswith(".c"):
            status, _, err = run(compiler, "-std=c99", "-pedantic", "-O1", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I.", f, cwd=folder)
            check(status == 0, "%s: %s is C99 without a warning" % (compiler, f), err)


def build(convoy, dir, name, *options):
    """The program of SMALL; the runtime, which is the same in all folders, is compiled once."""
    folder, first = os.path.join(dir, name), os.path.join(dir, "first")
    must(convoy, "gen", os.path.join(dir, "small.yaml"), "-o", folder, *options)
    for f in os.listdir(os.path.join(first, "runtime")) if os.path.isdir(first) else []:
        if f.endswith(".o"):
            shutil.copy(os.path.join(first, "runtime", f), os.path.join(folder, "runtime"))
    must("make", "-s", *quick.MAKE, cwd=folder)
    if not os.path.isdir(first):
        shutil.copytree(folder, first)
    return os.path.join(folder, "small")


def training(dir, reading, speed, infer):
    """An epoch each, from the same draw: the same numbers but for rounding, and either goes on with the other's checkpoint."""
    def epochs(program, save, *more):
        must(program, "train", "--data", "shapes", "--train-images", "60", "--test-images", "10", "--quiet", "--save", save, *more, cwd=dir)

    epochs(reading, "r1", "--epochs", "1", "--threads", "1")
    epochs(reading, "r1b", "--epochs", "1", "--threads", "3")
    epochs(speed, "s1", "--epochs", "1")
    a, b = tensors(os.path.join(dir, "r1")), tensors(os.path.join(dir, "s1"))
    check(list(a) == list(b), "the same tensors under the same names")
    check(tensors(os.path.join(dir, "r1b")) == a, "training: the same bytes on one and three threads")
    worst = max((off(floats(a[k]), floats(b[k])), k) for k in a)
    check(worst[0] < 2e-2, "an epoch, reading and speed", str(worst))
    for program, own, other in ((reading, "r1", "s1"), (speed, "s1", "r1")):
        for resumed in (own, other):
            shutil.copy(os.path.join(dir, resumed), os.path.join(dir, "on"))
            shutil.copy(os.path.join(dir, resumed + ".state.safetensors"), os.path.join(dir, "on.state.safetensors"))
            status, out, err = run(program, "train", "--data", "shapes", "--resume", "--save", "on", "--quiet", "--epochs", "2", "--train-images", "60",
                                   "--test-images", "10", cwd=dir)
            check(status == 0, "%s goes on with %s" % (program, resumed), out + err)

    x = [((i * 2654435761) % 4001) / 1000 - 2 for i in range(4 * 2 * 8 * 9)]
    write_npy(os.path.join(dir, "x.npy"), x, (4, 2, 8, 9), "<f4")
    write_npy(os.path.join(dir, "y.npy"), [0, 1, 2, 3], (4,), "<i8")
    for program, to in ((reading, "pr.npy"), (speed, "ps.npy"), (infer, "pi.npy")):
        must(program, "predict", "--weights", "r1", "--input", "x.npy", "-o", to, cwd=dir)
    check(off(npy(os.path.join(dir, "pr.npy")), npy(os.path.join(dir, "ps.npy"))) < 1e-5, "predict, reading and speed")
    check(npy(os.path.join(dir, "pr.npy")) == npy(os.path.join(dir, "pi.npy")), "predict, --parts infer: the same bytes")

    for program, to in ((reading, "tr"), (speed, "ts")):
        must(program, "trace", "--weights", "s1", "--input", "x.npy", "--labels", "y.npy", "-o", to, "--lr", "0.1", "--step", "17", cwd=dir)
    a, b = tensors(os.path.join(dir, "tr")), tensors(os.path.join(dir, "ts"))
    masks = [k for k in a if k.startswith("mask.")]
    check(sorted(a) == sorted(b) and len(masks) == 1 and a[masks[0]] == b[masks[0]] and 0 < sum(floats(a[masks[0]])) < len(floats(a[masks[0]])),
          "trace: the same tensors, and the very same mask", str(set(a) ^ set(b)))


def words(convoy, spec, reading, infer):
    plan = must(convoy, "plan", spec, "--for", "reading")
    info = json.loads(must(reading, "info", "--json"))
    stored = [int(n) for n in re.findall(r"stored: .*, (\d+) bytes per image", plan)]
    check("nothing is fused" in plan and sum(stored) == info["stored_bytes_an_image"] and "%d bytes per image (" % sum(stored) in plan,
          "plan: what is stored adds up", plan)
    layer = must(convoy, "plan", spec, "--for", "reading", "--why", "conv1")
    check(re.findall(r"^(conv1\.\w+) \(", layer, re.M) == ["conv1.conv", "conv1.bn", "conv1.act"], "plan --why: the layer's ops", layer)
    check("tensor" in must(convoy, "gen", spec, "--for", "reading", "-d", "plan"), "gen -d plan")
    for program, what, kernels in ((reading, "train", ["forward", "backward"]), (reading, "infer", ["infer"]), (infer, "infer", ["infer"])):
        b = json.loads(must(program, "bench", "--what", what, "--batch", "2", "--seconds", "0.01", "--threads", "3", "--json", "--kernels"))
        check(b["threads"] == 1 and [k["name"] for k in b["kernels"]] == kernels, "bench %s: one thread, its kernels" % what, str(b))
        for k in b["kernels"]:
            check(0 < k["executed_gflops"] < k["useful_gflops"] * 0.999, "bench %s: padding's taps are not done" % what, str(k))
    for command in ("train", "trace"):
        status, _, err = run(infer, command)
        check(status == 1 and "emitted for inference alone" in err, "--parts infer: %s says that it cannot" % command, "status %d: %s" % (status, err))


def errors(convoy, dir):
    to = os.path.join(dir, "never")
    for args, status, says in (
            (("gen", SPEC, "-o", to, "--for", "reading", "--target", "avx2"), 2, ("--target avx2", "hint: leave --target out")),
            (("gen", SPEC, "-o", to, "--for", "reading", "--fold", "on"), 2, ("--fold on", "hint: leave --fold out")),
            (("gen", SPEC, "-o", to, "--for", "reading", "--set", "name=maxpool"), 1, ("cannot be called 'maxpool'", "--set name=maxpool_net")),
            (("export", SPEC, "-o", to, "--for", "reading", "--weights", "none"), 2, ("no export", "hint: convoy gen")),
            (("plan", SPEC, "--for", "reading", "--why", "conv1", "--json"), 2, ("--json goes with", "hint:")),
            (("plan", SPEC, "--for", "reading", "--why", "conv1", "--worked"), 2, ("--worked goes with", "hint:")),
            (("plan", SPEC, "--for", "reading", "--why", "conv11"), 1, ("no layer is called", "hint: did you mean 'conv1")),
            (("gen", SPEC, "-o", to, "--for", "raeding"), 2, ("unknown value 'raeding'", "did you mean 'reading'?"))):
        got, out, err = run(convoy, *args)
        check(got == status and all(s in err for s in says) and not os.path.exists(to), " ".join(args[2:]), "status %d\n%s" % (got, err))


def excerpt(convoy, dir):
    """What docs/for.md shows of the emitted code is emitted code."""
    page = text_of(os.path.join(ROOT, "docs", "for.md"))
    must(convoy, "gen", os.path.join(ROOT, "specs", "fashion.yaml"), "--for", "reading", "-o", os.path.join(dir, "page"))
    net = text_of(os.path.join(dir, "page", "fashion_net.c"))
    shown = re.findall(r"```c\n(.*?)```", page, re.S)
    check(len(shown) >= 2, "docs/for.md has excerpts")
    for block in shown:
        for part in block.split("    ...\n"):
            check(part.strip() and part in net, "docs/for.md: the excerpt is what is emitted", part)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--convoy", required=True)
    p.add_argument("--campaign", required=True)
    args = p.parse_args()
    convoy = os.path.abspath(args.convoy)
    with tempfile.TemporaryDirectory() as dir:
        with open(os.path.join(dir, "small.yaml"), "w") as f:
            f.write(SMALL)
        all_ops, infer_ops = os.path.join(dir, "all"), os.path.join(dir, "all_infer")
        must(convoy, "gen", SPEC, "--for", "reading", "-o", all_ops)
        must(convoy, "gen", SPEC, "--for", "reading", "--parts", "infer", "-o", infer_ops)
        functions(text_of(os.path.join(all_ops, "everything_net.c")))
        steps, infer_steps = os.path.join(dir, "steps"), os.path.join(dir, "infer_steps")
        must(convoy, "gen", STEPS, "--for", "reading", "-o", steps)
        must(convoy, "gen", STEPS, "--for", "reading", "--parts", "infer", "-o", infer_steps)
        functions(text_of(os.path.join(steps, "steps_net.c")), STEPS)
        tokens = os.path.join(dir, "tokens")
        must(convoy, "gen", TOKENS, "--for", "reading", "-o", tokens)
        functions(text_of(os.path.join(tokens, "tokens_net.c")), TOKENS)
        check("backward" not in text_of(os.path.join(infer_ops, "everything_net.c")), "--parts infer: no backward")
        for compiler in ("gcc", "clang"):
            if shutil.which(compiler):
                clean(all_ops, compiler)
                clean(infer_ops, compiler)
                clean(steps, compiler)
                clean(infer_steps, compiler)
                clean(tokens, compiler)
            else:
                print("skipped: %s is missing" % compiler)
        status, out, err = run(args.campaign, "--convoy", convoy, "--spec", SPEC, "--for", "reading", "--n", "5")
        check(status == 0, "every op against the interpreter", out + err)
        reading, speed = build(convoy, dir, "reading", "--for", "reading"), build(convoy, dir, "speed", "--target", "portable")
        infer = build(convoy, dir, "infer", "--for", "reading", "--parts", "infer")
        training(dir, reading, speed, infer)
        words(convoy, os.path.join(dir, "small.yaml"), reading, infer)
        errors(convoy, dir)
        excerpt(convoy, dir)
    print("%d passed, %d failed" % (len(passed), len(failed)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
