"""Targets beside each other: what a network computes for one is what it computes for another.

    test_targets.py --convoy build/gen/convoy [--neon]

Without --neon: a binary on a processor that lacks its target says so and stops, and the library refuses; avx2 (where this
processor has it) against portable. With --neon: the same comparison for neon, cross-compiled for 64-bit ARM and run under
qemu-user (Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user).

Compared are one training step and inference (target_step.c): loss, activations, gradients, parameters and running statistics after the step,
logits, each to 1e-4 of its largest magnitude (and of 1e-3 of the largest of its kind): targets differ in how they round. Where a true value is a sum
that cancels, as the gradient of a norm's gamma in front of another norm, float32 itself cannot do that: there NOISE times what shaken runs differ by is
allowed, MOST times as much at most, and counted. (Shaken: each weight and image element moved by up to 2^-23 of itself, by portable alone.)"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile

import quick
from methods import runtime_library

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden")
counts = {"passed": 0, "failed": 0, "skipped": 0}
SHAKEN = 4  # runs
NOISE = 8  # as judge.c
MOST = 4  # times the usual limit: beyond that, a shaken run took another branch of a relu, say, and shows no noise


def run(*words, status=0):
    p = subprocess.run(words, capture_output=True, text=True)
    if status is not None and p.returncode != status:
        raise RuntimeError(f"{' '.join(words)}: status {p.returncode}\n{p.stdout[-2000:]}{p.stderr[-2000:]}")
    return p


def compiled(convoy, spec, target, folder, cc, link=()):
    """The program of target_step.c with the network emitted for a target."""
    out = os.path.join(folder, target)
    name = json.loads(run(convoy, "check", spec, "--json").stdout)["name"]
    run(convoy, "gen", spec, "-o", out, "--target", target)
    with open(os.path.join(out, "Makefile")) as f:
        lines = dict(line.rstrip("\n").split(" = ", 1) for line in f if line.startswith(("STANDARD = ", "TARGET = ")))
    network = sorted(f for f in os.listdir(out) if f.startswith(f"{name}_") and f.endswith(".c") and not f.endswith("_bench.c"))
    program = os.path.join(out, "step")
    flags = [cc, lines["STANDARD"], "-O1", "-Wall", "-Wextra", "-Werror", "-I", out]
    run(*flags, f'-DHEADER="{name}.h"', f"-DMODEL={name}_model", f"-DTRACER={name}_tracer", f"-DSUPPORTED={name}_supported", "-c", "-o", program + ".o",
        os.path.join(HERE, "target_step.c"))  # like main.c without the target's flags: it asks whether the processor has what the rest needs
    run(*flags, *lines.get("TARGET", "").split(), "-o", program, *link, program + ".o", *(os.path.join(out, f) for f in network),
        *runtime_library(out), "-lm")
    return program


def numbers(text):
    return {line.split(" ")[0]: [float(v) for v in line.split(" ")[1:]] for line in text.splitlines()}


def differences(got, want, shaken=()):
    """Tensors of `got` that are not those of `want`; and how many are by the noise that `shaken` runs show alone."""
    by_noise = 0
    kind = lambda name: name.split(".")[0]
    largest = {}
    for name, v in want.items():
        largest[kind(name)] = max([largest.get(kind(name), 0)] + [abs(x) for x in v])
    bad = [f"{name} is missing" for name in want if name not in got] + [f"{name} is too many" for name in got if name not in want]
    for name, v in want.items():
        if name not in got:
            continue
        if len(v) != len(got[name]):
            bad.append(f"{name} has {len(got[name])} numbers, not {len(v)}")
            continue
        limit = 1e-4 * max(max(abs(x) for x in v), 2e-3 * largest[kind(name)])  # both sides round: twice what one is allowed beside exact sums
        worst = max(abs(a - b) if a == a and b == b else float("inf") for a, b in zip(got[name], v))
        noise = NOISE * max([abs(a - b) for run in shaken for a, b in zip(run[name], v)], default=0)
        if limit < worst <= min(noise, MOST * limit):
            by_noise += 1
        elif not worst <= limit:
            bad.append(f"{name} is off by {worst:.3g}, and {limit:.3g} is allowed (float32's noise: {noise:.3g})")
    return bad, by_noise


def check(what, f):
    try:
        bad = f()
    except (RuntimeError, OSError) as e:
        bad = [str(e)]
    counts["failed" if bad else "passed"] += 1
    for line in bad[:5]:
        print(f"FAILED: {what}: {line}", flush=True)


def skip(why):
    counts["skipped"] += 1
    print(f"skipped: {why}")


def has(*flags):
    try:
        with open("/proc/cpuinfo") as f:
            words = next((line.split() for line in f if line.startswith("flags")), [])
    except OSError:
        words = []
    return all(flag in words for flag in flags)


def compare(convoy, net, target, folder, cc="cc", link=(), under=()):
    spec = os.path.join(GOLDEN, f"{net}.yaml")
    portable = compiled(convoy, spec, "portable", folder, quick.WORDS.get("CC", "cc"))
    want = numbers(run(portable).stdout)
    shaken = [numbers(run(portable, f"shake={seed + 1}").stdout) for seed in range(SHAKEN)]
    got = numbers(run(*under, compiled(convoy, spec, target, folder, cc, link)).stdout)
    if differences(want, want)[0] or not want:
        return ["the comparison finds differences between equal things"]
    changed = {k: list(v) for k, v in got.items()}
    for v in changed.values():  # the comparison must notice one number of each tensor
        v[-1] += 1e-3 * max(1, max(abs(x) for x in v))
        if len([b for b in differences(changed, want, shaken)[0] if "off by" in b]) < 1:
            return ["the comparison does not notice a changed number"]
        v[-1] -= 1e-3 * max(1, max(abs(x) for x in v))
    if shaken[0] == want:
        return ["a shaken run is the same as the others"]
    bad, by_noise = differences(got, want, shaken)
    if by_noise:
        print(f"{target}, {net}: {by_noise} of {len(want)} tensors by float32's noise")
    return bad


def refuses(convoy, folder, under):
    """A program whose target the processor lacks: `under` is an emulator of an old one, or nothing where this one is old enough."""
    spec = os.path.join(GOLDEN, "tiny_cbr.yaml")
    p = run(*under, compiled(convoy, spec, "avx512", folder, "cc"), status=None)
    bad = [] if (p.returncode, p.stdout) == (3, "unsupported\n") else [f"the library: status {p.returncode}, {p.stdout!r}"]
    out = os.path.join(folder, "program")
    run(convoy, "gen", spec, "-o", out, "--target", "avx512")
    run("make", "-s", "-C", out, *quick.MAKE)
    p = run(*under, os.path.join(out, "tiny"), "info", status=None)
    if p.returncode != 1 or p.stdout or "error: this processor lacks instructions of avx512" not in p.stderr or "hint: convoy gen --target" not in p.stderr:
        bad.append(f"the program: status {p.returncode}, {p.stdout!r}, {p.stderr!r}")
    return bad


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--convoy", required=True)
    ap.add_argument("--neon", action="store_true")
    a = ap.parse_args()
    convoy = os.path.abspath(a.convoy)
    if a.neon:
        cc, qemu = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
        arm = platform.machine() == "aarch64"
        for net in ("tiny_cbr", "tiny_res", "everything", "groups", "length", "recurrent", "bidirectional", "places", "tokens", "plain"):
            if not arm and not (cc and qemu):
                skip("no cross compiler and emulator of 64-bit ARM (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)")
                continue
            with tempfile.TemporaryDirectory() as folder:
                if arm:
                    check(f"neon, {net}", lambda: compare(convoy, net, "neon", folder))
                else:
                    check(f"neon, {net}", lambda: compare(convoy, net, "neon", folder, cc, ("-static",), (qemu,)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            if has("avx2", "fma"):
                check("avx2, tiny_cbr", lambda: compare(convoy, "tiny_cbr", "avx2", folder))
            else:
                skip("this processor has no avx2")
        old = [] if platform.machine() == "x86_64" and not has("avx512f") else [shutil.which("qemu-x86_64"), "-cpu", "Nehalem"]
        with tempfile.TemporaryDirectory() as folder:
            if platform.machine() != "x86_64" or (old and not old[0]):
                skip("a processor without avx512, or qemu-user, is missing")
            else:
                check("a binary on a processor that lacks its target", lambda: refuses(convoy, folder, old))
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return 1 if counts["failed"] else 77 if not counts["passed"] else 0


sys.exit(main())
