#!/usr/bin/env python3
"""convoy plan --why: the words of a few layers against golden files, its numbers against a count of their own, errors.

    tests/test_why.py --convoy build/gen/convoy [--update]     (--update writes the golden files anew)
"""
import argparse
import difflib
import json
import os
import re
import subprocess
import sys

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
passed, failed = [], []


def check(ok, what, detail=""):
    (passed if ok else failed).append(what)
    if not ok:
        print("FAILED: %s\n%s" % (what, detail))


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
        plan = int(re.search(r"(\d+) bytes an image stored", run(convoy, spec(name))[1]).group(1))
        check(kept == plan, "%s: bytes kept" % name, "%d, the plan has %d" % (kept, plan))
        check(autograd == graph["autograd_bytes"], "%s: autograd's bytes" % name, "%d, check has %d" % (autograd, graph["autograd_bytes"]))
        check(stages == len(graph["ops"]), "%s: every op is told of" % name, "%d of %d" % (stages, len(graph["ops"])))


def errors(convoy):
    cases = [
        (["--why", "s2.1.conv"], 1, "", "convoy: plan: no layer is called 's2.1.conv'\n  hint: did you mean 's2.1.conv1'?\n"),
        (["--why", "s4"], 1, "", "convoy: plan: no layer is called 's4'\n  hint: did you mean 's1'?\n"),
        (["--why", "nothing-like-it"], 1, "", "convoy: plan: no layer is called 'nothing-like-it'\n"),
        (["--json"], 2, "", "convoy plan: --json goes with --why LAYER\n"),
    ]
    for args, status, out, err in cases:
        got = run(convoy, spec("resnet20"), *args)
        check(got == (status, out, err), "error of %s" % args, repr(got))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--convoy", required=True)
    a.add_argument("--update", action="store_true")
    o = a.parse_args()
    golden(o.convoy, o.update)
    numbers(o.convoy)
    errors(o.convoy)
    print("%d passed, %d failed, 0 skipped" % (len(passed), len(failed)))
    sys.exit(1 if failed else 0)


main()
