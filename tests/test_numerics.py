"""Emitted C under compilers and flags: what must compile, what must refuse, and what it then computes.

    test_numerics.py --convoy build/gen/convoy [WORD...]      only the checks whose name holds a WORD

Needs Python's own library and a C compiler."""
import argparse
import array
import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback

from methods import runtime_library


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(ok, what):
    if not ok:
        raise Failed(what)


def spawn(*words, cwd=None, text=None):
    """Runs a command; (status, stdout and stderr)."""
    p = subprocess.run(words, cwd=cwd, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)
    return p.returncode, p.stdout


def run(*words, **more):
    status, out = spawn(*words, **more)
    check(status == 0, f"{' '.join(words)}: status {status}\n{out[-3000:]}")
    return out


def emitted(convoy, work, name, text, *options):
    """A spec emitted into work/name."""
    path, out = os.path.join(work, name + ".yaml"), os.path.join(work, name)
    with open(path, "w") as f:
        f.write(text)
    run(convoy, "gen", path, "-o", out, *options)
    return out


# ---- what must compile ----

def a_long_concat(convoy, work):
    """A kernel that reads hundreds of tensors: the network's struct has its place, and no more of it than it needs; operands share code."""
    for form in ("speed", "reading"):
        out = emitted(convoy, work, f"long_{form}", "name: longer\ninput: [4, 3, 3]\nclasses: 3\nlayers:\n"
                      "  - stage: {repeat: 100, order: bn-relu-conv, concat: [[], [conv: {out: 1, kernel: 1}]]}\n"
                      "  - stage: {repeat: 12, order: gn(1)-relu-conv, recompute: 3, concat: [[], [conv: {out: 2, kernel: 1}]]}\n"
                      "  - global_avg_pool\n  - linear: classes\n", "--target", "portable", "--for", form)
        run("cc", "-std=c99", "-fsyntax-only", "-Werror", "longer_net.c" if form == "speed" else "longer_model.c", cwd=out)
        if form == "speed":
            size = os.path.getsize(os.path.join(out, "longer_stage1_100_b2_conv1.c"))
            check(size < 100 * 1500, f"{size} bytes of C for a kernel of 100 operands: 4 KB each are code of their own")
            run("cc", "-std=c99", "-Werror", "-x", "c", "-fsyntax-only", "-", cwd=out, text='#define LONGER_NET\n#include "longer_layout.h"\n'
                "typedef char near[LONGER_STRUCT_BYTES - sizeof(struct longer) < 64 || sizeof(void *) < 8 ? 1 : -1];\n")


def names_that_meet(convoy, work):
    """Layers that are called as the emitted code calls what belongs to another layer."""
    names = ["norm_c_bn", "stats_c_conv", "norm_e", "bench_c", "fold_c", "pass_input", "c_in0"]
    convs = "".join(f"  - conv: {{name: {n}, out: 5, order: conv-bn-relu}}\n" for n in names)
    out = emitted(convoy, work, "meet", "name: meet\ninput: [4, 5, 5]\nclasses: 3\nlayers:\n  - conv: {name: c, out: 5, order: conv-bn-relu}\n"
                  f"  - in: {{name: e}}\n{convs}  - global_avg_pool\n  - linear: classes\n", "--target", "portable")
    for unit in ("meet_net.c", "meet_bench.c", "meet_trace.c"):
        run("cc", "-std=c99", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", unit, cwd=out)


def windows_of_one_element(convoy, work):
    """Pooling that takes every second pixel: no warning."""
    for form in ("speed", "size", "reading"):
        out = emitted(convoy, work, f"one_{form}", "name: one\ninput: [3, 6, 6]\nclasses: 2\nlayers:\n  - conv: {out: 16, order: \"conv-maxpool(1,2)-relu\"}\n"
                      "  - maxpool: {k: 1, stride: 2}\n  - conv: {out: 16, order: \"conv-avgpool(1,2)-relu\"}\n  - global_avg_pool\n  - linear: classes\n",
                      "--target", "portable", "--for", form)
        for cc in compilers():
            run(cc, "-std=c99", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *sorted(f for f in os.listdir(out) if f.startswith("one_") and f.endswith(".c")), cwd=out)


NORMS = """\
name: norms
input: [3, 4, 4]
classes: 3
unroll: none
winograd: off
layers:
  - stage: {concat: [[conv: {out: 4, kernel: 1, order: conv-bn-relu}], [conv: {out: 4, kernel: 1, order: conv-relu-bn}], [bn],
                     [conv: {out: 4, kernel: 1, order: conv-in-relu}], [conv: {out: 6, kernel: 1, order: "conv-act-gn(3)"}], [ln], ["rms"]]}
  - flatten
  - linear: {out: 6, order: linear-ln-relu-bn}
  - linear: classes
"""


def little_optimisation(convoy, work):
    """What debuggers compile with: functions that must be inlined are, though they are handed on by pointers. (-O0 inlines none; the campaigns
    compile with gcc -O1, and clang's -Og is its -O1.)"""
    for form in ("speed", "reading"):
        out = emitted(convoy, work, f"norms_{form}", NORMS, "--target", "portable", "--for", form)
        names = sorted(f for f in os.listdir(out) if f.startswith("norms_") and f.endswith(".c") and f[6:-2] not in ("net", "model", "trace", "bench"))
        for cc in compilers():
            run(cc, "-std=c99", "-Og", "-Wall", "-Wextra", "-Werror", "-I.", "-x", "c", "-", "-c", "-o", "norms.o", cwd=out,
                text="".join(f'#include "{e}"\n' for e in ["norms_net.c" if form == "speed" else "norms_model.c"] + names))


# ---- flags that change floating point ----

FLAGS = ["-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math", "-ffinite-math-only"]
# A gate: y = sigmoid(x), by weights of the identity.
GATE = "name: gate\ninput: [2, 1, 1]\nclasses: 2\nlayers:\n  - flatten\n  - linear: {out: 2, order: linear-sigmoid}\n  - linear: classes\n"
USE = """\
#include "gate.h"
#include <stdio.h>
int main(void)
{
    static char memory[GATE_ARENA_BYTES(1)];
    const float x[2] = {1, -3};
    float y[2];
    struct gate *net = gate_init(memory, sizeof memory, 1);
    if (!net)
        return 2;
    gate_infer(net, x, y, 1);
    printf("%.6f %.6f\\n", (double)y[0], (double)y[1]);
    return 0;
}
"""


def identity(path, *names):
    """A checkpoint of 2 x 2 identities, without biases' help."""
    tensors = {}
    for name in names:
        tensors[name + ".weight"] = ((2, 2), [1, 0, 0, 1])
        tensors[name + ".bias"] = ((2,), [0, 0])
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        blob = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + len(blob)]}
        data += blob
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def compilers():
    found = [cc for cc in ("gcc", "clang") if shutil.which(cc)]
    if not found:
        raise Skipped("no compiler")
    return found


def refused_in_words(status, out):
    return status != 0 and "compile networks without -ffast-math" in out


def flags_are_refused_or_harmless(convoy, work):
    """An exported network computes a sigmoid, or is not compiled, in words, whatever the flags."""
    spec, weights, out = (os.path.join(work, f) for f in ("gate.yaml", "w.safetensors", "out"))
    with open(spec, "w") as f:
        f.write(GATE)
    identity(weights, "linear1.linear", "linear2.linear")
    run(convoy, "export", spec, "--weights", weights, "-o", out, "--target", "portable", "--single-file")
    with open(os.path.join(out, "use.c"), "w") as f:
        f.write(USE)
    program, refused = os.path.join(out, "use"), set()
    for cc in compilers():
        for scalar in ([], ["-DCVY_SCALAR"]):
            for flag in [None] + FLAGS:
                words = [cc, "-std=c99", "-O2", *([flag] if flag else []), *scalar, "gate.c", "use.c", "-o", program, "-lm"]
                status, said = spawn(*words, cwd=out)
                if flag and refused_in_words(status, said):
                    refused.add((cc, flag))
                    continue
                check(status == 0, f"{' '.join(words)}: status {status}\n{said[-2000:]}")
                y = run(program).split()
                check(y == ["0.731059", "0.047426"], f"{' '.join(words)}: the sigmoid of 1 and -3 is {y}")
    for cc in compilers():
        for flag in ("-ffast-math", "-Ofast", "-ffinite-math-only"):
            check((cc, flag) in refused, f"{cc} {flag} is not refused")


def flags_and_folders(convoy, work):
    """The same of an emitted network's files, for reading and not, and of the runtime: each file that has floating point refuses."""
    seen = set()
    for form in ("speed", "reading"):
        out = emitted(convoy, work, f"gate_{form}", GATE, "--target", "portable", "--for", form)
        files = sorted(f for f in os.listdir(out) if f.startswith("gate_") and f.endswith(".c"))
        for file in sorted(os.path.join("runtime", f) for f in os.listdir(os.path.join(out, "runtime")) if f.endswith(".c")):
            with open(os.path.join(out, file)) as f:
                text = f.read()
            if text not in seen:  # most of the runtime is the same in both
                seen.add(text)
                files.append(file)
        for i, file in enumerate(files):  # each compiler reads the first, and the others in turn
            for cc in compilers() if i == 0 else [compilers()[i % len(compilers())]]:
                for flag in ("-ffast-math", "-ffinite-math-only") if i == 0 else ("-ffinite-math-only",):
                    status, said = spawn(cc, "-std=gnu11", "-E", "-o", os.devnull, flag, "-I", ".", file, cwd=out)
                    check(refused_in_words(status, said), f"{cc} {flag} {file}: status {status}\n{said[:500]}")


# ---- processors without vectors ----

SEVERAL = """\
name: several
input: [1, 6, 6]
classes: 5
order: conv-act-bn
act: gelu
winograd: off
layers:
  - conv: 8
  - conv: {out: 24, stride: 2, groups: 8, order: "conv-drop(0.2)-maxpool(3,2,1)-gn(4)-relu"}
  - global_avg_pool
  - linear: classes
"""


def no_vectors(convoy, work, ccs=None):
    """Where the compiler says that the processor has none, code is loops: the same numbers to the bit, and two to three times the instructions of
    vectors. (Unrolled it is seven times as many, over which gcc is minutes.)"""
    out = emitted(convoy, work, "several", SEVERAL, "--target", "portable")
    names = sorted(f for f in os.listdir(out) if f.startswith("several_") and f.endswith(".c") and f[8:-2] not in ("net", "trace", "bench"))
    with open(os.path.join(out, "together.c"), "w") as f:
        f.writelines(f'#include "{e}"\n' for e in ["several_net.c"] + names)
    step = ["-std=gnu11", '-DHEADER="several.h"', "-DMODEL=several_model", "-DTRACER=several_tracer", "-DSUPPORTED=several_supported", "-I."]
    for cc in ccs or compilers()[:1]:
        said, lines = {}, {}
        for form, flags in (("vectors", []), ("none", ["-U__SSE2__", "-U__ARM_NEON", "-U__ALTIVEC__", "-U__VSX__", "-U__VX__", "-U__riscv_v"])):
            run(cc, "-O1", "-std=c99", *flags, "-I.", "-S", "-o", "together.s", "together.c", cwd=out)
            with open(os.path.join(out, "together.s")) as f:
                lines[form] = sum(1 for line in f if line.startswith("\t") and not line.startswith("\t."))
            run(cc, "-O0", *step, *flags, os.path.join(os.path.dirname(os.path.abspath(__file__)), "target_step.c"), "together.s", "several_trace.c", *runtime_library(out),
                "-lm", "-o", "step", cwd=out)
            said[form] = run(os.path.join(out, "step"))
        check(said["none"] == said["vectors"], f"{cc}: other numbers than with vectors")
        check(lines["none"] < 4 * lines["vectors"], f"{cc}: instructions {lines}")


# ---- statistics ----

STATISTICS = """\
#include "far.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum { N = 24, AREA = FAR_HEIGHT * FAR_WIDTH };
static float x[N * AREA];
static double inverse[2][N]; /* 1 / sd of each image, of both norms */
static double own = -1;        /* the variance of what the conv before bn made */
static void sink(void *user, const char *name, const float *y, const struct cvy_layout *at)
{
    (void)user;
    for (int pass = 0; pass < 2 && strcmp(name, "act.stage1.b1.conv1.conv") == 0; pass++) {
        static double mean;
        double sum = 0;
        for (int i = 0; i < N * AREA; i++) {
            const double v = (double)y[at->offset + i / AREA * at->outer[0] + i % AREA / FAR_WIDTH * at->outer[2] + i % FAR_WIDTH * at->outer[3]];
            sum += pass ? (v - mean) * (v - mean) : v;
        }
        *(pass ? &own : &mean) = sum / (N * AREA - pass);
    }
    const int which = strcmp(name, "act.stage1.b3.conv1.inorm") == 0 ? 0 : strcmp(name, "act.stage1.b4.inorm1") == 0 ? 1 : -1;
    if (which < 0)
        return;
    for (int i = 0; i < N; i++) { /* by the two values that are furthest from each other */
        int lo = 0, hi = 0;
        for (int k = 0; k < AREA; k++)
            lo = x[i * AREA + k] < x[i * AREA + lo] ? k : lo, hi = x[i * AREA + k] > x[i * AREA + hi] ? k : hi;
        const float *const image = y + at->offset + i * at->outer[0];
        #define Y(k) ((double)image[k / FAR_WIDTH * at->outer[2] + k % FAR_WIDTH * at->outer[3]])
        inverse[which][i] = (Y(hi) - Y(lo)) / ((double)x[i * AREA + hi] - (double)x[i * AREA + lo]);
    }
}
int main(int argc, char **argv)
{
    const struct cvy_model *const m = &far_model;
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    const size_t bytes = m->arena_bytes(N, threads);
    const struct cvy_step step = {0};
    int labels[N] = {0};
    const struct cvy_batch batch = {x, labels, NULL, N};
    void *memory, *scratch;
    if (fread(x, sizeof x, 1, stdin) != 1 || posix_memalign(&memory, 64, bytes) || posix_memalign(&scratch, 64, sizeof(float) * far_tracer.trace_floats(N)))
        return 2;
    struct cvy_net *const net = m->init(memory, bytes, N, threads);
    if (!net)
        return 2;
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        if (t->role == CVY_GAMMA || t->role == CVY_WEIGHT)
            for (int c = 0; c < t->at.dim[0]; c++)
                net->param[t->at.offset + c / t->at.block[0] * t->at.outer[0] + c % t->at.block[0] * t->at.inner[0] +
                           (t->at.ndim == 4 && t->at.dim[2] == 3 ? t->at.outer[2] + t->at.outer[3] : 0)] = 1; /* the middle tap */
    }
    m->forward(net, &batch, &step, NULL);
    far_tracer.trace(net, &batch, &step, scratch, sink, NULL);
    for (int i = 0; i < m->ntensor; i++)
        if (m->tensor[i].role == CVY_RUNNING_VAR && strstr(m->tensor[i].name, "stage1"))
            printf("%s %.9g\\n", m->tensor[i].name, (double)net->running[m->tensor[i].at.offset]);
    for (int i = 0; i < N; i++)
        printf("in%d %.9g\\nboth%d %.9g\\n", i, inverse[0][i], i, inverse[1][i]);
    printf("own %.17g\\n", own);
    return 0;
}
"""
FAR = """\
name: far
input: [1, 72, 64]
classes: 2
winograd: off
layers:
  - stage:
      concat:
        - [conv: {out: 1, kernel: 1, bias: false, momentum: 1, order: conv-bn}]
        - [bn: {momentum: 1}]
        - [conv: {out: 1, kernel: 1, bias: false, order: conv-in}]
        - [in]
  - global_avg_pool
  - linear: classes
"""


def moments(values):
    """The mean, and the sum of squares about it."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values)


def outliers_in_statistics(convoy, work, long=False):
    """Values, rows or an image far from all others, wherever they stand, move no variance: those of bn behind a conv, of bn over the
    input, and of in behind a conv and over what a bn reads, too. With two threads the same bits. long: avx2, and behind a conv that
    runs by Winograd, whose own rounding is none of the variance's."""
    count, height, width, pieces = 24, 72, 64, 4
    programs = {}
    lacking = [t for t in ("avx512", "avx2") if long and not re.search(rf"^flags.*\b{t}f?\b", open("/proc/cpuinfo").read(), re.M)]
    targets = [t for t in ["native", "portable"] + ["avx2"] * long if t not in lacking]
    forms = [(t, False) for t in targets] + [(t, True) for t in targets if long]
    for target, winograd in forms:
        text = FAR if not winograd else (FAR.replace("winograd: off", "winograd: on").replace("out: 1, kernel: 1, bias: false, momentum: 1", "out: 16, kernel: 3, bias: false, momentum: 1")
                                         .replace("layers:", "layers:\n  - conv: {out: 16, kernel: 1, bias: false, order: conv}"))
        out = programs[target, winograd] = emitted(convoy, work, f"far_{target}_{winograd:d}", text, "--target", target)
        cores = [open(os.path.join(out, f)).read() for f in os.listdir(out) if f.startswith("core_")]
        check(any("inograd" in c for c in cores) == winograd, f"{target}: a conv {'does not run' if winograd else 'runs'} by Winograd")
        with open(os.path.join(out, "statistics.c"), "w") as f:
            f.write(STATISTICS)
        with open(os.path.join(out, "Makefile")) as f:
            flags = dict(line.rstrip("\n").split(" = ", 1) for line in f if line.startswith("TARGET = "))
        sources = sorted(f for f in os.listdir(out) if f.startswith("far_") and f.endswith(".c") and f != "far_bench.c")
        run("cc", "-O1", *flags.get("TARGET", "").split(), "-I.", "statistics.c", *sources, *runtime_library(out), "-lm", "-o", "statistics", cwd=out)
    draw, area = random.Random(5), height * width
    starts = [i * count // pieces * area for i in range(pieces)]
    places = {"nothing": [], "a pixel of the middle": [area // 2 + 7], "the last pixel": [count * area - 1],
              "the first pixel of each image": [i * area for i in range(count)], "the first pixel of each piece": starts,
              "four pixels at a corner": [0, 1, width, width + 1], "the first row": range(width), "the first row of the second image": range(area, area + width),
              "the first row of each piece": [s + i for s in starts for i in range(width)], "the last row": range((height - 1) * width, area),
              "the first image": range(area), "the first image of each piece": [s + i for s in starts for i in range(area)]}
    places.update({f"the first {n} pixels": range(n) for n in (1, 2, 6, 14, 16, 30)}) # what a register tile holds
    bad = []
    for whole in (True, False):
        plain = [draw.gauss(10000, 1) for _ in range(count * area)]
        plain = [float(round(v)) for v in plain] if whole else list(array.array("f", plain))
        usual = [moments(plain[i * area:(i + 1) * area]) for i in range(count)]
        for what, at in places.items():
            x = list(plain)
            for i in at:
                x[i] = 0.25 * (i % 3)
            touched = {i // area for i in at}
            of = [moments(x[i * area:(i + 1) * area]) if i in touched else usual[i] for i in range(count)]
            mean = math.fsum(m for m, _ in of) / count
            want = (math.fsum(s for _, s in of) + area * math.fsum((m - mean) ** 2 for m, _ in of)) / (count * area - 1)
            inverse = [(s / area + 1e-5) ** -0.5 for _, s in of]
            for (form, winograd), out in programs.items():
                target = form + (" by Winograd" if winograd else "")
                bytes_in = array.array("f", x).tobytes()
                p = subprocess.run([os.path.join(out, "statistics")], input=bytes_in, stdout=subprocess.PIPE, check=True)
                if long or (form == "native" and len(at) > 1000):
                    two = subprocess.run([os.path.join(out, "statistics"), "2"], input=bytes_in, stdout=subprocess.PIPE, check=True)
                    check(two.stdout == p.stdout, f"{target}, {what}: two threads have other bits")
                got = {line.split()[0]: float(line.split()[1]) for line in p.stdout.decode().splitlines()}
                conv = got.pop("own") if winograd else want
                norms = [k for k in got if k.endswith("running_var")]
                check(len(norms) == 2, f"norms: {sorted(got)}")
                for k in norms:
                    right = conv if ".b1." in k else want
                    if abs(got[k] / right - 1) > 1e-6:
                        bad.append(f"{target}, {what}{', whole numbers' if whole else ''}: {k} is off by {abs(got[k] / right - 1):.2g}")
                off = max(abs(got[f"{k}{i}"] / inverse[i] - 1) for i in range(count) for k in (["both"] if winograd else ["in", "both"]))
                if off > 6e-7:
                    bad.append(f"{target}, {what}{', whole numbers' if whole else ''}: 1 / sd of an image is off by {off:.2g}")
    check(not bad, "\n  ".join(bad))


def outliers_everywhere(convoy, work):
    outliers_in_statistics(convoy, work, True)


def no_vectors_by_each_compiler(convoy, work):
    no_vectors(convoy, work, compilers())


LONG = [outliers_everywhere, no_vectors_by_each_compiler]
CHECKS = [a_long_concat, names_that_meet, windows_of_one_element, little_optimisation, flags_are_refused_or_harmless, flags_and_folders, no_vectors, outliers_in_statistics]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("--long", action="store_true", help="outliers for each target, by Winograd and with two threads everywhere, and no vectors by each compiler; nothing else")
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    convoy = os.path.abspath(given.convoy)
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for one in LONG if given.long else CHECKS:
        if given.words and not any(w in one.__name__ for w in given.words):
            continue
        work = tempfile.mkdtemp(prefix="convoy-numerics-")
        try:
            one(convoy, work)
            count["passed"] += 1
        except Skipped as e:
            print(f"skipped: {one.__name__}: {e}")
            count["skipped"] += 1
        except Exception as e:
            print(f"FAILED {one.__name__}: {e if isinstance(e, Failed) else traceback.format_exc()}")
            count["failed"] += 1
        finally:
            shutil.rmtree(work, ignore_errors=True)
    print(", ".join(f"{n} {what}" for what, n in count.items()))
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
