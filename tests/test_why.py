#!/usr/bin/env python3
"""convoy plan --why: the words of a few layers against golden files, its numbers against a count of their own, errors.

    tests/test_why.py --convoy build/gen/convoy [--update]     (--update writes the golden files anew)
"""
import argparse
import difflib
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

from counted import check, failed, passed

TESTS = os.path.dirname(os.path.abspath(__file__))
SPECS = os.path.join(os.path.dirname(TESTS), "specs")
GOLDEN = [  # spec, layer, more
    ("fashion", "conv2", []),
    ("fashion", "conv2", ["--set", "conv2.order=conv-maxpool(2)-relu-bn"]),
    ("fashion", "conv2", ["--set", "conv2.order=conv-silu-bn", "--set", "unroll=50"]),
    ("resnet20", "s2.1", []),
    ("preact20", "s1.1.add", []),
    ("densenet", "d1.transition", []),
    ("densenet", "bn1", []),
]
WORKED = [  # spec's layers, layer, channel, what happens
    ("conv: {out: 5, order: conv-bn-relu}", "conv1", 3, "folded"),
    ("conv: {out: 5, order: conv-bn-relu, bias: true}", "conv1", 4, "folded"),
    ("conv: {out: 20, order: conv}, conv: {out: 5, order: conv-drop(0.5)-bn-relu}", "conv2", 4, "folded"),
    ("conv: {out: 4, groups: 4, order: conv-bn}", "conv1", 2, "folded"),
    ("conv: {out: 4, order: conv}, global_avg_pool, linear: {out: 6, order: linear-bn}", "linear1", 5, "folded"),
    ("conv: {out: 5, order: conv-relu-bn}, conv: 4", "conv1", 3, "act border"),
    ("conv: {out: 20, order: conv-relu-bn}, conv: {out: 4, kernel: 5, dilation: 2}", "conv1", 18, "act border"),
    ("conv: {out: 6, order: conv-silu-bn}, conv: {out: 6, groups: 3, kernel: [3, 5]}", "conv1", 3, "act border"),
    ("conv: {out: 5, order: conv-relu-bn}, conv: {out: 4, kernel: 1}", "conv1", 3, "act"),
    ("conv: {out: 5, order: bn-conv-relu}", "conv1", 1, "border"),
    ("conv: {out: 5, order: conv-relu-bn}, conv: {out: 4, stride: 2, padding: [0, 1, 0, 2]}", "conv1", 3, "act border"),
    ("conv: {out: 5, order: conv-relu-bn}, conv: {out: 4, padding: [0, 0, 1, 0]}", "conv1", 2, "act border"),
]


def run(convoy, *args):
    r = subprocess.run([convoy, "plan", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
    return r.returncode, r.stdout, r.stderr


def spec(name):
    return os.path.join(SPECS, name + ".yaml")


def golden(convoy, update):
    for i, (name, layer, more) in enumerate(GOLDEN):
        path = os.path.join(TESTS, "golden", "why", "%s-%s%s.txt" % (name, layer, "-%d" % i if more else ""))
        status, out, err = run(convoy, spec(name), "--why", layer, "--target", "avx2", *more)
        if update:
            with open(path, "w") as f:
                f.write(out)
        with open(path) as f:
            want = f.read()
        diff = "".join(difflib.unified_diff(want.splitlines(True), out.splitlines(True), path, "now"))
        check(status == 0 and out == want, "words of %s %s %s" % (name, layer, more), diff + err)


def documented(convoy):
    """What docs/plan.md shows is what is printed."""
    with open(os.path.join(os.path.dirname(TESTS), "docs", "plan.md")) as f:
        page = f.read()
    lines = ["    " + l if l else "" for l in run(convoy, spec("fashion"), "--why", "conv2.act", "--set", "conv2.order=conv-silu-bn", "--target", "avx2")[1].splitlines()]
    check("\n".join(lines) in page, "docs/plan.md: a stage's words", "\n".join(lines))
    out = run(convoy, spec("fashion"), "--why", "conv2", "--worked", "--channel", "3")[1]
    lines = ["    " + l for l in out[out.index("\n2. ") + 1:out.index("\n\n3. ")].splitlines()]
    check("\n".join(lines) in page, "docs/plan.md: folding, worked through", "\n".join(lines))


def numbers(convoy):
    """Over all layers of a network, what --why counts as kept is what the plan counts; and autograd's is check's."""
    for name in ("fashion", "resnet20", "preact20", "densenet", "inception", "mobilenet", "he_act_only"):
        graph = json.loads(subprocess.run([convoy, "check", spec(name), "--json"], stdout=subprocess.PIPE, check=True).stdout)
        layers = []
        for op in graph["ops"]:
            if op["layer"] not in layers:
                layers.append(op["layer"])
        kept = autograd = stages = 0
        for layer in layers:
            status, out, err = run(convoy, spec(name), "--why", layer, "--json")
            if status:
                check(False, "%s of %s as JSON" % (layer, name), err)
                continue
            d = json.loads(out)
            kept += d["kept_bytes"]
            autograd += d["autograd_bytes"]
            stages += len(d["stages"])
            silent = [s["path"] for s in d["stages"] if not {"forward", "applied"} & {f["about"] for f in s["facts"]}]
            check(not silent, "%s of %s: every stage runs somewhere" % (layer, name), str(silent))
            reasons = [s["path"] for s in d["stages"] if not {"stored", "not stored"} & {f["about"] for f in s["facts"]}]
            check(not reasons, "%s of %s: every stage is stored or not" % (layer, name), str(reasons))
        plan = int(re.search(r"(\d+) bytes per image stored", run(convoy, spec(name))[1]).group(1))
        check(kept == plan, "%s: bytes kept" % name, "%d, the plan has %d" % (kept, plan))
        check(autograd == graph["autograd_bytes"], "%s: autograd's bytes" % name, "%d, check has %d" % (autograd, graph["autograd_bytes"]))
        check(stages == len(graph["ops"]), "%s: every op is told of" % name, "%d of %d" % (stages, len(graph["ops"])))


def whole_plan(convoy):
    """The plan as JSON says what the plan in words does; its reasons are --why's; its bytes add up."""
    for name in ("fashion", "resnet20", "preact20", "densenet", "inception", "mobilenet", "he_act_only", "resnet18"):
        d = json.loads(run(convoy, spec(name), "--json")[1])
        words = {}
        for part in run(convoy, spec(name))[1].split("\n\n")[1:]:
            head, *lines = part.splitlines()
            if " (" in head:
                words[head.split(" (")[0]] = dict((l[2:13].strip(), l[13:]) for l in lines)
        check([k["name"] for k in d["kernels"]] == list(words), "%s: the kernels" % name, str(list(words)))
        for k in d["kernels"]:
            text, what = words[k["name"]], "%s, kernel %s" % (name, k["name"])
            for key, line in (("prologue", "before:"), ("epilogue", "after:")):
                told = [] if text.get(line, "nothing") == "nothing" else re.split("[,;] ", text[line])
                check(k[key] == told, "%s: %s" % (what, key), "%s, in words %s" % (k[key], told))
            told = [] if text["reads:"] == "nothing" else ["input" if r == "the input" else r for r in text["reads:"].split(", ")]
            check(k["reads"] == told, "%s: reads" % what, "%s, in words %s" % (k["reads"], told))
            size = re.search(r", (\d+) bytes", text.get("stored:", ""))
            check((k["stored"] or {}).get("bytes") == (size and int(size.group(1))), "%s: stored" % what, str(k["stored"]))
            core = k["core"] if k["kind"].startswith("conv") else {}
            by = [p for p in ("forward", "data", "weights") if core and core[p] and (core[p][0] if p == "data" else core[p])["winograd"]]
            check(", ".join(by) == text.get("winograd:", ""), "%s: winograd" % what, str(core))
            for p, c in core.get("cycles", {}).items():  # direct cores' are the models' own, not those of the choice: within a tenth
                least = c["winograd"] is not None and c["winograd"] < c["direct"]
                near = c["winograd"] is not None and abs(c["winograd"] / c["direct"] - 1) < 0.1
                check(c["direct"] > 0 and (near or (p in by) == least), "%s: %s, the way of fewer cycles" % (what, p), str(c))
        kept = sum(k["stored"]["bytes"] for k in d["kernels"] if k["stored"] and k["stored"]["until"] == "backward")
        check(kept == d["stored_bytes"], "%s: bytes stored" % name, "%d, the plan has %d" % (kept, d["stored_bytes"]))
        reasons = {(r["stage"], r["about"], r["why"]) for k in d["kernels"] for r in k["not_fused"]}
        check(bool(reasons), "%s: something is not fused" % name, "")
        for stage in sorted({r[0] for r in reasons}):
            why = json.loads(run(convoy, spec(name), "--why", stage, "--json")[1])["stages"][0]["facts"]
            told = {(stage, f["about"], f["text"]) for f in why if f["about"] in ("not before", "sum there", "why a pass")}
            mine = {r for r in reasons if r[0] == stage}
            check(mine == told, "%s, %s: why it is not fused" % (name, stage), "%s, --why has %s" % (mine, told))


# ---- --worked: the same numbers, reckoned here from the checkpoint or the draw ----

def float32(v):
    return struct.unpack("<f", struct.pack("<f", v))[0]


def philox(seed, stream, index):
    a, b, c, d = index & 0xFFFFFFFF, index >> 32, stream & 0xFFFFFFFF, stream >> 32
    k, l = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & 0xFFFFFFFF, (p >> 32) ^ d ^ l, p & 0xFFFFFFFF
        k, l = (k + 0x9E3779B9) & 0xFFFFFFFF, (l + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def unit(hi, lo):
    return ((hi << 21) ^ (lo >> 11)) / 9007199254740992.0


def normal(seed, name, index):
    stream = 0xCBF29CE484222325
    for c in name.encode():
        stream = ((stream ^ c) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    w = philox(seed, stream, index)
    return math.sqrt(-2 * math.log(1 - unit(w[0], w[1]))) * math.cos(2 * math.pi * unit(w[2], w[3]))


class Net:
    """The parameters of a spec, with random numbers, as a checkpoint."""

    def __init__(self, convoy, path, seed):
        graph = json.loads(subprocess.run([convoy, "check", path, "--json"], stdout=subprocess.PIPE, check=True).stdout)
        shapes = {"input": graph["input"]}
        rng = random.Random(seed)
        self.ops = {op["path"]: op for op in graph["ops"]}
        self.tensor, self.shape = {}, {}
        for op in graph["ops"]:
            shapes[op["path"]] = op["output"]
            c, out = shapes[op["inputs"][0]][0], op["output"][0]
            if op["op"] == "conv":
                self.put(rng, op["path"] + ".weight", [out, c // op["groups"]] + op["kernel"], -0.5, 0.5)
            elif op["op"] == "linear":
                self.put(rng, op["path"] + ".weight", [out, c], -0.5, 0.5)
            elif op["op"] == "bn":
                for name, low, high in (("weight", -1.5, 1.5), ("bias", -1, 1), ("running_mean", -1, 1), ("running_var", 0.1, 2)):
                    self.put(rng, op["path"] + "." + name, [out], low, high)
            if op.get("bias"):
                self.put(rng, op["path"] + ".bias", [out], -0.5, 0.5)
        self.channels = shapes

    def put(self, rng, name, shape, low, high):
        self.shape[name] = shape
        self.tensor[name] = [float32(rng.uniform(low, high)) for _ in range(math.prod(shape))]

    def save(self, path):
        header, data = {}, b""
        for name, v in self.tensor.items():
            raw = struct.pack("<%df" % len(v), *v)
            header[name] = {"dtype": "F32", "shape": self.shape[name], "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
        for op in self.ops.values():
            if op["op"] == "bn":
                header[op["path"] + ".num_batches_tracked"] = {"dtype": "I64", "shape": [], "data_offsets": [len(data), len(data) + 8]}
                data += struct.pack("<q", 7)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + data)

    def weight(self, path, out, i, y, x):
        s = (self.shape[path + ".weight"] + [1, 1])[:4]
        return self.tensor[path + ".weight"][((out * s[1] + i) * s[2] + y) * s[3] + x]

    def affine(self, path, c):
        gamma, beta, mean, var = (self.tensor[path + "." + n][c] for n in ("weight", "bias", "running_mean", "running_var"))
        scale = gamma / math.sqrt(var + self.ops[path]["eps"])
        return scale, beta - mean * scale

    def output(self, path, c, scale=1.0):
        """One output of a weight op for the input of the words, without its bias."""
        s = (self.shape[path + ".weight"] + [1, 1])[:4]
        return sum(self.weight(path, c, i, y, x) * scale * given(i, y, x) for i in range(s[1]) for y in range(s[2]) for x in range(s[3]))


def given(i, y, x):
    return ((7 * i + 3 * y + 5 * x) % 11 - 5) / 5


def number(pattern, text):
    m = re.search(pattern.replace("NUM", r"(-?[\d.]+(?:e[-+]?\d+)?)"), text)
    return float(m.group(1)) if m else float("nan")


def close(a, b, scale=1.0):
    return abs(a - b) <= 2e-8 * max(abs(b), scale * 0.1)


def spec_of(layers):
    return "name: t\ninput: [4, 9, 9]\nclasses: 3\nlayers:\n%s%s  - linear: classes\ninit: kaiming_normal\ntrain: {data: shapes, seed: 5}\n" % (
        "".join("  - %s\n" % l for l in re.split(r", (?=conv:|global|linear)", layers)), "" if "global" in layers else "  - global_avg_pool\n")


ACTS = {"relu": lambda z: max(z, 0), "silu": lambda z: z / (1 + math.exp(-z))}


def worked_case(convoy, tmp, index, layers, layer, c, what):
    path, checkpoint = os.path.join(tmp, "s.yaml"), os.path.join(tmp, "w.safetensors")
    with open(path, "w") as f:
        f.write(spec_of(layers))
    net = Net(convoy, path, index)
    net.save(checkpoint)
    status, out, err = run(convoy, path, "--why", layer, "--worked", "--channel", str(c), "--weights", checkpoint)
    name = "worked: %s, channel %d" % (layers, c)
    check(status == 0, name, err)
    flat = re.sub(r"\s+", " ", out)
    bn = next(p for p, o in net.ops.items() if o["layer"] == layer and o["op"] == "bn")
    scale, shift = net.affine(bn, c)
    check(close(number(r"\+ [\de.-]+\) = NUM shift", flat), scale) and close(number(r"shift = beta - mean scale = .*? = NUM", flat), shift), name + ": scale and shift",
          "%r %r\n%s" % (scale, shift, out))
    weight = next(p for p, o in net.ops.items() if o["layer"] == layer and o["op"] in ("conv", "linear"))
    bias = net.tensor.get(weight + ".bias", [0.0] * 999)[c]
    z = net.output(weight, c if weight < bn or "folded" in what or "act" in what else 0) + bias
    if "folded" in what:
        before, after = number(r"weight [\[\]\d]+: NUM before", flat), number(r"before, [^=]*= NUM after bias", flat)
        w = net.weight(weight, c, 0, 0, 0)
        check(close(before, w) and close(after, w * scale), name + ": a weight", out)
        check(close(number(r"bias of channel \d+: NUM before", flat), bias) and close(number(r"bias of channel [^=]*= NUM after", flat), bias * scale + shift), name + ": the bias", out)
        direct, folded = number(r"then the norm: y = [^=]*= NUM", flat), number(r"folded: y = [^=]*= NUM", flat)
        want = scale * z + shift
        check(close(direct, want) and close(folded, net.output(weight, c, scale) + bias * scale + shift) and close(direct, folded), name + ": both ways",
              "%r\n%s" % (want, out))
        check(number(r"difference NUM", flat) < 1e-12 and number(r"stored: [^,]*, NUM off", flat) < 1e-5, name + ": differences", out)
        return
    if "act" in what:
        act = ACTS["silu" if "silu" in layers else "relu"]
        rows = re.findall(r"z = +(\S+), scale +(\S+): after it +(\S+) in the weights +(\S+) (equal|WRONG)", flat)
        check(len(rows) == 3, name + ": three rows", out)
        for (a, b, right, wrong, verdict), (zz, s) in zip(rows, ((z, scale), (-z, scale), (z, -scale))):
            good = close(float(a), zz) and close(float(b), s) and close(float(right), s * act(zz) + shift) and close(float(wrong), act(s * zz + shift))
            check(good and verdict == ("equal" if abs(s * act(zz) + shift - act(s * zz + shift)) < 1e-7 else "WRONG"), name + ": behind and in front", "%r %r\n%s" % (zz, s, out))
        check("WRONG" in [r[4] for r in rows], name + ": it cannot be folded", out)
    if "border" in what:
        reader = next(p for p, o in net.ops.items() if o["op"] == "conv" and o["inputs"] == [bn])
        o = net.ops[reader]
        per_in = net.shape[reader + ".weight"][1]
        first, i = c // per_in * (o["output"][0] // o["groups"]), c % per_in
        right = folded = outside = 0.0
        top, _, left, _ = o["padding"] if len(o["padding"]) == 4 else [o["padding"][d] for d in (0, 0, 1, 1)]
        last = (0, 0) if top or left else tuple((n - 1) * s for n, s in zip(o["output"][1:], o["stride"]))
        for y in range(o["kernel"][0]):
            for x in range(o["kernel"][1]):
                w, iy, ix = net.weight(reader, first, i, y, x), last[0] + y * o["dilation"][0] - top, last[1] + x * o["dilation"][1] - left
                if 0 <= iy < 9 and 0 <= ix < 9:
                    right += w * (scale * given(i, iy, ix) + shift)
                    folded += w * scale * given(i, iy, ix)
                else:
                    outside += w
                folded += w * shift
        check(close(number(r"right: [^=]*= NUM", flat), right) and close(number(r"folded: sum over taps inside of [^=]*= [^=]*= NUM", flat), folded) and
              close(number(r"off by [^=]*= [^=]*= NUM", flat), shift * outside) and abs(folded - right - shift * outside) < 1e-12 and abs(folded - right) > 1e-4,
              name + ": the border", "%r %r\n%s" % (right, folded, out))
    else:
        check("it would be right here" in flat, name + ": without padding", out)


def worked(convoy):
    with tempfile.TemporaryDirectory() as tmp:
        for i, case in enumerate(WORKED):
            worked_case(convoy, tmp, i, *case)
        path = os.path.join(tmp, "s.yaml")
        with open(path, "w") as f:
            f.write(spec_of("conv: {out: 5, order: conv-bn-relu}"))
        status, out, err = run(convoy, path, "--why", "conv1.bn", "--worked", "--channel", "2")
        want = float32(float32(math.sqrt(2.0 / (4 * 9))) * normal(5, "conv1.conv.weight", 2 * 4 * 9)) # the first of channel 2, as NAME draws it
        check(close(number(r"weight \[2\]\[0\]\[0\]\[0\]: NUM before", out), want), "worked: the first draw", "%r\n%s" % (want, out + err))
        check("examples" in out, "worked: examples are called so", out)
        bad = os.path.join(tmp, "bad.safetensors")
        with open(bad, "wb") as f:
            f.write(b"no checkpoint")
        status, out, err = run(convoy, path, "--why", "conv1", "--worked", "--weights", bad)
        check(status == 1 and not out and "bad.safetensors" in err, "worked: a damaged checkpoint", out + err)


def errors(convoy):
    cases = [
        (["--why", "s2.1.conv"], 1, "", "convoy: plan: no layer is called 's2.1.conv'\n  hint: did you mean 's2.1.conv1'?\n"),
        (["--why", "s4"], 1, "", "convoy: plan: no layer is called 's4'\n  hint: did you mean 's1'?\n"),
        (["--why", "nothing-like-it"], 1, "", "convoy: plan: no layer is called 'nothing-like-it'\n"),
        (["--why", "s2.1.add", "--worked"], 1, "", None),
        (["--why", "s2.1.conv1", "--worked", "--channel", "32"], 1, "", "convoy: plan: no channel '32': s2.1.conv1.bn has channels 0 to 31\n"),
        (["--why", "s2.1.conv1", "--worked", "--channel", "1x"], 1, "", "convoy: plan: no channel '1x': s2.1.conv1.bn has channels 0 to 31\n"),
        (["--why", "s2.1.conv1", "--worked", "--channel", "-1"], 1, "", "convoy: plan: no channel '-1': s2.1.conv1.bn has channels 0 to 31\n"),
        (["--worked"], 2, "", "convoy plan: --worked goes with --why LAYER\n"),
        (["--why", "s2.1", "--channel", "3"], 2, "", "convoy plan: --channel goes with --worked\n"),
        (["--why", "s2.1", "--weights", "w"], 2, "", "convoy plan: --weights goes with --worked\n"),
        (["--why", "s2.1", "--worked", "--json"], 2, "", "convoy plan: --worked is words, not JSON\n"),
    ]
    for args, status, out, err in cases:
        got = run(convoy, spec("resnet20"), *args)
        if err is None:
            err = got[2] if got[2].startswith("convoy: plan: 's2.1.add' has no norm to follow\n  hint: one of conv1.bn, s1.1.conv1.bn, ") else "a hint"
        check(got == (status, out, err), "error of %s" % args, repr(got))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--convoy", required=True)
    a.add_argument("--update", action="store_true")
    o = a.parse_args()
    golden(o.convoy, o.update)
    documented(o.convoy)
    whole_plan(o.convoy)
    numbers(o.convoy)
    worked(o.convoy)
    errors(o.convoy)
    print("%d passed, %d failed, 0 skipped" % (len(passed), len(failed)))
    sys.exit(1 if failed else 0)


main()
