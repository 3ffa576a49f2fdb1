"""What compilers make of the zoo's main kernels, by `convoy asm`: counts that hold on any machine, busy or not.

    test_asm.py --convoy build/gen/convoy

In each pass of each layer below: the inner loops have the multiply-adds that the plan's tiles say (those of the emitted text, and the
largest as many as the plan's full tile has), none of their vectors is on the stack, and besides multiply-adds and loads there is little more than the
loop's own counting. Winograd's transforms have no vector on the stack for avx512, with gcc nor with clang. The loop by which `NAME bench` measures the
processor's peak has all of its multiply-adds. Assembly is only looked at, so avx512 is, too, where the processor has none."""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYERS = [("fm_small_cbr", ["conv3"]), ("resnet20_crb", ["s1.1.conv1", "s3.2.conv1"])]
# gcc 12 keeps one of twelve sums there over a turn of the unrolled row, as sixteen registers hold no more. It costs nothing: the turn's 80
# multiply-adds take 40 cycles of two ports, its 54 loads 27; that sum is in six of them, 24 cycles and some 5 for the way through memory.
SPILLS = {("conv_32x14x14_64_k3x3_s2x2_p1x1_weights", "avx2"): 2}
COUNTING = 6  # instructions of a loop that are neither multiply-adds nor loads
MOVING = {"weights": 0.0625}  # a multiply-add: moves between registers, where a row of pixels is unrolled
PARTS = {"avx512": 1, "avx2": 2}  # registers of a vf
STEPS = {"avx512": 1, "avx2": 2}  # of a loop over lanes in one: gcc leaves loops of many instructions as they are
counts = {"passed": 0, "failed": 0, "skipped": 0}


def run(*words, **env):
    p = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ, **env))
    if p.returncode:
        raise RuntimeError(f"{' '.join(words)}: status {p.returncode}\n{p.stderr[-2000:]}")
    return p.stdout


def tiles(convoy, spec, target):
    """Of each kernel, by its name in C, multiply-adds in the loops of its full tiles where lanes are a loop: forward, data."""
    found, kernel = {}, None
    for line in run(convoy, "plan", spec, "--target", target, "-d", "plan").splitlines():
        if line.startswith("kernel "):
            kernel = line.split()[1]
        elif line.startswith("infer "):
            kernel = None
        m = re.match(r" +core +(forward|data)\S*: tile (\d+)x(\d+) pixels x (\d+) channels, \d+ taps x 16 lanes", line)
        if kernel and m:
            step = int(m[2]) * int(m[3]) * int(m[4]) // 16 * PARTS[target] * STEPS[target]
            found.setdefault((kernel, m[1]), []).append(step)
    return found


def problems(report, tiles, target):
    """What is wrong with a pass whose full tiles have so many multiply-adds."""
    loops = [l for l in report["loops"] if l["fma_in_c"] > 0]
    if not loops:
        return ["no loop of a core is there"]
    bad = []
    for l in loops:
        where = f"{l['core']}, line {l['line']}"
        if l["fma"] != l["fma_in_c"]:
            bad.append(f"{where}: {l['fma']} multiply-adds, and its text has {l['fma_in_c']}")
        if l["spills"] > SPILLS.get((l["core"], target), 0):
            bad.append(f"{where}: {l['spills']} accesses to the stack")
        if l["instructions"] - l["fma"] - l["loads_in_c"] - l["spills"] > COUNTING + MOVING.get(report["pass"], 0) * l["fma"]:
            bad.append(f"{where}: {l['instructions']} instructions for {l['fma']} multiply-adds and {l['loads_in_c']} loads")
    if tiles and max(l["fma"] for l in loops) < max(tiles):
        bad.append(f"the largest loop has {max(l['fma'] for l in loops)} multiply-adds, and the plan's tiles {max(tiles)}")
    return bad


def assembly(cc, target, source):
    flags = {"avx512": ["-mavx512f", "-mavx512dq", "-mfma"], "avx2": ["-mavx2", "-mfma"]}[target]
    command = [cc, "-std=c11", "-O2", *flags, f"-DCVY_{target.upper()}", "-I", ROOT, "-S", "-o", "-", "-x", "c", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def on_stack(body):
    """Instructions that move a vector to or from the stack, and those that make room there for an array of vectors."""
    lines = body.splitlines()
    rooms = [l for l in lines for m in [re.search(r"\bsubq\s+\$(\d+), %rsp", l)] if m and int(m[1]) > 4 * 64]
    frame = r"\(%r[sb]p" if re.search(r"\bmovq\s+%rsp, %rbp", body) else r"\(%rsp"
    return rooms + [l for l in lines if re.search(r"%[xyz]mm", l) and re.search(frame, l)]


def check_transforms(cc):
    """Winograd's transforms for avx512: arithmetic of vectors is in each, and none of its vectors is on the stack."""
    names = [f"cvy_winograd_{n}" for n in ("in", "spread", "out", "points", "taps")]
    text = assembly(cc, "avx512", f'#include "runtime/cvy_vec.h"\nvoid *const keep[] = {{{", ".join(f"(void *){n}" for n in names)}}};\n')
    for name in names:
        body = re.search(rf"^{name}:[^\n]*\n(.*?)\.cfi_endproc", text, re.M | re.S)
        bad = on_stack(body[1]) if body else ["it is not there"]
        if body and len(re.findall(r"\bv(?:add|sub|mul|fn?m(?:add|sub))[^\n]*zmm", body[1])) < 20:
            bad.append("hardly any arithmetic")
        counts["failed" if bad else "passed"] += 1
        if bad:
            print(f"FAILED: {name}, {cc}, avx512: the stack holds vectors: {bad[0].strip()}")


def peak_problem(cc, target):
    """A compiler that merges the chains of the peak's loop makes any peak out of it."""
    source = '#include "runtime/cvy_bench.h"\ndouble peak(int64_t rounds, float *sink) { return cvy_peak(1, rounds, sink) + cvy_stream(1, sink, 0, 0); }\n'
    text = assembly(cc, target, source)
    body = text[text.index("cvy_peak_thread:"):].split(".cfi_endproc")[0]
    count = len(re.findall(r"\bvfmadd", body))
    return "" if count == 10 else f"the loop that measures the peak has {count} multiply-adds, not 10"


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--convoy", required=True)
    ap.add_argument("--cc", default="gcc")
    a = ap.parse_args()
    if not shutil.which(a.cc) or os.uname().machine != "x86_64":
        print(f"skipped: {a.cc} for x86 is missing")
        return 77
    good = {"pass": "forward", "loops": [{"core": "c", "line": 1, "fma": 12, "fma_in_c": 12, "loads_in_c": 8, "instructions": 24, "spills": 0}]}
    for field, value in (("fma", 10), ("spills", 1), ("instructions", 30)):  # each must be noticed
        wrong = {"pass": "forward", "loops": [dict(good["loops"][0], **{field: value})]}
        counts["passed" if problems(wrong, [12], None) and not problems(good, [12], None) else "failed"] += 1
    for target in PARTS:
        bad = peak_problem(a.cc, target)
        counts["failed" if bad else "passed"] += 1
        if bad:
            print(f"FAILED: {target}: {bad}")
    spilt = "\tmovq\t%rsp, %rbp\n\tvmovaps\t%zmm1, 64(%rsp)\n\tvmovaps\t-56(%rbp), %ymm0\n\tmovq\t%rax, 8(%rsp)\n\tvmovaps\t(%rdi), %zmm1"
    counts["passed" if len(on_stack(spilt)) == 2 and len(on_stack("\tsubq\t$2304, %rsp")) == 1 else "failed"] += 1
    for cc in ("gcc", "clang"):
        if shutil.which(cc):
            check_transforms(cc)
        else:
            counts["skipped"] += 1
            print(f"skipped: Winograd's transforms with {cc}, which is missing")
    for net, layers in LAYERS:
        spec = os.path.join(ROOT, "specs", "bench", f"{net}.yaml")
        for target in PARTS:
            steps = tiles(a.convoy, spec, target)
            for layer in layers:
                for report in json.loads(run(a.convoy, "asm", spec, layer, "--target", target, "--json", CC=a.cc))["passes"]:
                    bad = problems(report, steps.get((layer.replace(".", "_"), report["pass"]), []), target)
                    counts["failed" if bad else "passed"] += 1
                    for line in bad[:4]:
                        print(f"FAILED: {net} {layer}.{report['pass']} for {target}: {line}")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return 1 if counts["failed"] else 0


sys.exit(main())
