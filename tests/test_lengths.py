"""A length a sample: what pads a sample changes nothing.

    test_lengths.py --convoy build/gen/convoy

Emitted networks train two steps and infer (lengths_step.c). A network whose samples all have length L of T, padded with NaN, infinity or a number,
prints what the network of length L prints, to the byte. With lengths that differ, the gradients of a batch are the sum of what each sample
gives by itself."""
import argparse
import json
import os
import subprocess
import struct
import tempfile

import counted
from counted import check, must, run
from methods import runtime_library

HERE = os.path.dirname(os.path.abspath(__file__))
T, L = 9, 5
LENGTHS = [3, 9, 1, 5]
TRAIN = "train: {data: idx, epochs: 1, batch: 4, optimizer: sgd, lr: 0.1, valid: 0}"
# name: input, layers
NETWORKS = {
    "stacked": ("tokens: 11", ["- embed: 20", "- tanh", "- gru: {hidden: 24, return: all}", "- lstm: {hidden: 17, return: mean}", "- bn"]),
    "ways": ("features: 5", ["- rnn: {hidden: 16, return: all, act: relu}", "- silu",
                             "- stage: {concat: [[gru: {hidden: 7, return: max}], [lstm: {hidden: 9}], [rnn: {hidden: 8, return: mean}]]}"]),
    "norms": ("features: 3", ["- lstm: {hidden: 20, return: all, norm: {input: ln, recurrent: ln, cell: ln, hidden: rms}}",
                              "- gru: {hidden: 16, norm: {input: {kind: ln, gates: each}, recurrent: rms}}"]),
    "carried": ("features: 4", ["- lstm: {hidden: 12, return: max, norm: {sum: ln, cell: {kind: ln, carried: true}}}", "- linear: 8", "- relu"]),
}


def write(folder, name, of, steps, layers, lengths):
    path = os.path.join(folder, f"{name}_{steps}{'_lengths' if lengths else ''}.yaml")
    with open(path, "w") as f:
        f.write(f"name: {name}\ninput: {{{of}, length: {steps}{', lengths: true' if lengths else ''}}}\nclasses: 3\nlayers:\n")
        f.writelines(f"  {line}\n" for line in layers + ["- linear: classes"])
        f.write(TRAIN + "\n")
    return path


def program(convoy, spec, target):
    out = spec[:-5] + "_" + target
    name = json.loads(must(convoy, "check", spec, "--json"))["name"]
    must(convoy, "gen", spec, "-o", out, "--target", target)
    with open(os.path.join(out, "Makefile")) as f:
        lines = dict(line.rstrip("\n").split(" = ", 1) for line in f if line.startswith(("STANDARD = ", "TARGET = ")))
    sources = sorted(f for f in os.listdir(out) if f.startswith(f"{name}_") and f.endswith(".c") and not f.endswith(("_bench.c", "_trace.c")))
    must("cc", lines["STANDARD"], "-O0", "-Wall", "-Wextra", "-Werror", "-I", out, *lines.get("TARGET", "").split(), f'-DHEADER="{name}.h"',
         f"-DMODEL={name}_model", "-o", os.path.join(out, "step"), os.path.join(HERE, "lengths_step.c"), *(os.path.join(out, f) for f in sources),
         *runtime_library(out), "-lm")
    return lambda lengths, pad="nan", steps=2: must(os.path.join(out, "step"), *map(str, lengths), pad, str(steps))


def numbers(text, kind):
    return {line.split(" ")[0]: [float(v) for v in line.split(" ")[1:]] for line in text.splitlines() if line.startswith(kind)}


def off(a, b):
    """The largest difference of two tensors, in parts of the largest number."""
    return max(abs(x - y) if x == x and y == y else float("inf") for x, y in zip(a, b)) / max(max(map(abs, b)), 1e-3)


def look_at(convoy, name, target, folder):
    of, layers = NETWORKS[name]
    padded = program(convoy, write(folder, name, of, T, layers, True), target)
    trimmed = program(convoy, write(folder, name, of, L, layers, False), target)
    want = trimmed([0] * 4)
    check("nan" not in want and len(set(want.splitlines())) > 10, f"{name}, {target}: numbers to compare", want[:300])
    for pad in ("nan", "inf", "1000"):
        check(padded([L] * 4, pad) == want, f"{name}, {target}: padded with {pad}, to the byte")
    check(padded([0] * 4) == padded([T] * 4), f"{name}, {target}: no lengths are all steps")
    check(padded([0] * 4) == program(convoy, write(folder, name, of, T, layers, False), target)([0] * 4), f"{name}, {target}: all steps, as without lengths")
    for bad in (T + 1, -1):
        check(run(os.path.join(folder, f"{name}_{T}_lengths_{target}", "step"), "3", str(bad), "nan", "1")[0] == 1, f"{name}, {target}: length {bad} is refused")
    mixed = padded(LENGTHS, steps=1)
    check(mixed == padded(LENGTHS, "inf", steps=1), f"{name}, {target}: lengths that differ, whatever pads them")
    check(mixed != padded([T] * 4, steps=1), f"{name}, {target}: lengths count")
    return mixed


def mean_of_samples(convoy, folder):
    """Without bn. Batches where one sample has its length and the others have 1, less what those with 1 give."""
    of, layers = NETWORKS["ways"]
    padded = program(convoy, write(folder, "ways", of, T, layers, True), "portable")
    whole = numbers(padded(LENGTHS, steps=1), "grad.")
    parts = [numbers(padded([l if j == i else 1 for j in range(4)], steps=1), "grad.") for i, l in enumerate(LENGTHS)]
    ones = numbers(padded([1] * 4, steps=1), "grad.")
    worst = max(off([sum(p[k][i] for p in parts) - 3 * ones[k][i] for i in range(len(v))], v) for k, v in whole.items())
    check(worst < 1e-5, "gradients of lengths that differ are the sum of the samples'", str(worst))


def npy(path, kind, shape, values):
    head = "{'descr': '<%s', 'fortran_order': False, 'shape': (%s,), }" % (kind, ", ".join(map(str, shape)))
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        f.write(struct.pack("<%d%s" % (len(values), {"f4": "f", "i8": "q"}[kind]), *values))


def round_trip(convoy, folder):
    """A table with lengths is imported, trained on and predicted; the program reads rows and lengths as arrays."""
    def at(*path):
        return os.path.join(folder, *path)

    spec = write(folder, "trip", "tokens: 6", 5, ["- embed: 8", "- gru: 16"], True)
    rows = [(i % 3, [(i * 7 + k * k) % 3 + (3 if k == i % 3 and i % 3 < n else 0) for k in range(n)]) for i in range(120) for n in (1 + i * 5 % 7 % 5,)]
    for name, pad in (("empty", ""), ("words", "?!"), ("none", None)):
        with open(at(name + ".csv"), "w") as f:
            f.write("label,steps," + ",".join(f"t{k}" for k in range(5)) + "\n")
            for label, row in rows:
                f.write(",".join([f"c{label}", str(len(row)), *map(str, row)] + ([] if pad is None else [pad] * (5 - len(row)))) + "\n")
    os.environ["CC"] = os.environ.get("CC", "cc")
    said = must(convoy, "train", spec, "--data", at("words.csv"), "--length", "steps", "--target", "portable", "--epochs", "8", "--threads", "1", "-o", at("trip"),
                "--save", at("trip.safetensors"))
    check("8" in said, "trained on a table with lengths")
    program = at("trip", "trip")
    answers = {}
    for name in ("empty", "words", "none"):
        answers[name] = json.loads(must(convoy, "predict", spec, "--weights", at("trip.safetensors"), "--target", "portable", "-o", at("trip"), "--json", at(name + ".csv")))
    logits = {name: [i["logits"] for i in a["images"]] for name, a in answers.items()}
    check(len(logits["none"]) == len(rows) and logits["none"] == logits["empty"] == logits["words"], "predict of a table: padding changes nothing")
    for name, pad in (("nan", float("nan")), ("big", 1e30)):
        npy(at(name + ".npy"), "f4", (len(rows), 5), [v for _, row in rows for v in row + [pad] * (5 - len(row))])
    npy(at("n.npy"), "i8", (len(rows),), [len(row) for _, row in rows])
    npy(at("y.npy"), "i8", (len(rows),), [label for label, _ in rows])
    out = {}
    for name in ("nan", "big"):
        must(program, "predict", "--weights", at("trip.safetensors"), "--input", at(name + ".npy"), "--lengths", at("n.npy"), "-o", at("out.npy"))
        must(program, "trace", "--weights", at("trip.safetensors"), "--input", at(name + ".npy"), "--lengths", at("n.npy"), "--labels", at("y.npy"), "-o", at("trace"))
        with open(at("out.npy"), "rb") as f, open(at("trace"), "rb") as g:
            out[name] = f.read(), g.read()
    check(out["nan"] == out["big"], "predict and trace: padding changes no byte")
    flat = [v for row in logits["none"] for v in row]
    got = struct.unpack("<%df" % len(flat), out["nan"][0][-4 * len(flat):])
    check(max(abs(a - b) for a, b in zip(got, flat)) < 1e-6, "arrays and tables give the same logits")
    npy(at("bad.npy"), "i8", (len(rows),), [6] * len(rows))
    for args, words in ((["--input", at("nan.npy")], "is no token"), (["--input", at("nan.npy"), "--lengths", at("bad.npy")], "length 6 of row 0"),
                        (["--input", at("nan.npy"), "--lengths", at("nan.npy")], "lengths (a whole number each) are wanted")):
        status, _, err = run(program, "predict", "--weights", at("trip.safetensors"), "-o", at("out2.npy"), *args)
        check(status == 1 and words in err, f"predict: {words}", err)
    with open(at("odd.csv"), "w") as f:
        f.write("steps,t0,t1,t2,t3,t4\n9,1,2,3,4,5\n2,1\n1,1\n")
    status, text, err = run(convoy, "predict", spec, "--weights", at("trip.safetensors"), "--target", "portable", "-o", at("trip"), at("odd.csv"))
    check(status == 1 and "'9' is no length" in err and "odd.csv:3" in err and "odd.csv:4" in text, "a table's rows that are wrong are named", err)
    with open(at("odd.csv"), "w") as f:
        f.write("t0,t1,t2,t3,t4\n1,2,3,4,5\n")
    status, _, err = run(convoy, "predict", spec, "--weights", at("trip.safetensors"), "--target", "portable", "-o", at("trip"), at("odd.csv"))
    check(status == 1 and "no column 'steps'" in err, "a table without lengths", err)
    status, _, err = run(convoy, "new", "trip2", "--data", at("words.csv"), "--length", "steps")
    check(status == 1 and "has a length of each row" in err, "convoy new", err)


def refusals(convoy, folder):
    for what, of, layers, words in [
            ("conv", "features: 4", ["- conv: {out: 8, order: conv}", "- gru: 8"], "conv would mix a sample with what pads it"),
            ("norm", "features: 4", ["- gru: {hidden: 8, return: all}", "- bn", "- gru: 8"], "bn would mix a sample with what pads it"),
            ("pool", "tokens: 4", ["- embed: 8", "- gru: {hidden: 8, return: all}", "- global_avg_pool"], "would mix a sample with what pads it"),
            ("inside", "features: 4", ["- gru: {hidden: 8, norm: {input: bn}}"], "yet to be built"),
            ("reset", "features: 4", ["- gru: {hidden: 8, reset: before}"], "yet to be built"),
            ("ways", "features: 4", ["- gru: {hidden: 8, bidirectional: true}"], "yet to be built"),
            ("both", "tokens: 4, features: 4", ["- embed: 8", "- gru: 8"], "tokens or features")]:
        status, _, err = run(convoy, "check", write(folder, "refused_" + what, of, T, layers, True))
        check(status == 1 and words in err, f"{what}: refused in words", err)
    spec = write(folder, "reading", *NETWORKS["ways"][:1], T, NETWORKS["ways"][1], True)
    status, _, err = run(convoy, "gen", spec, "-o", os.path.join(folder, "r"), "--for", "reading")
    check(status != 0 and "not built yet" in err, "for reading: refused in words", err)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--convoy", required=True)
    p.add_argument("--only", choices=NETWORKS, help="this network alone")
    options = p.parse_args()
    convoy = os.path.abspath(options.convoy)
    with tempfile.TemporaryDirectory() as folder:
        for name in [options.only] if options.only else NETWORKS:
            look_at(convoy, name, "portable", folder)
        if options.only:
            print(f"{len(counted.passed)} passed, {len(counted.failed)} failed")
            return 1 if counted.failed else 0
        own = json.loads(must(convoy, "plan", os.path.join(folder, f"stacked_{T}_lengths.yaml"), "--json")).get("target", "portable")
        if own != "portable":
            look_at(convoy, "stacked", own, folder)
        mean_of_samples(convoy, folder)
        round_trip(convoy, folder)
        refusals(convoy, folder)
    print(f"{len(counted.passed)} passed, {len(counted.failed)} failed")
    return 1 if counted.failed or not counted.passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
