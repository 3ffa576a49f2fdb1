"""Emitted C under compilers and flags: what must compile, what must refuse, and what it then computes.

    test_numerics.py --convoy build/gen/convoy [WORD...]      only the checks whose name holds a WORD

Needs Python's own library and a C compiler."""
import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback


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
    """A kernel that reads hundreds of tensors: the network's struct has its place, and no more of it than it needs."""
    for form in ("speed", "reading"):
        out = emitted(convoy, work, f"long_{form}", "name: longer\ninput: [4, 3, 3]\nclasses: 3\nlayers:\n"
                      "  - stage: {repeat: 110, order: bn-relu-conv, concat: [[], [conv: {out: 1, kernel: 1}]]}\n"
                      "  - stage: {repeat: 12, order: gn(1)-relu-conv, recompute: 3, concat: [[], [conv: {out: 2, kernel: 1}]]}\n"
                      "  - global_avg_pool\n  - linear: classes\n", "--target", "portable", "--for", form)
        run("cc", "-std=c99", "-fsyntax-only", "-Werror", "longer_net.c" if form == "speed" else "longer_model.c", cwd=out)
        if form == "speed":
            run("cc", "-std=c99", "-Werror", "-x", "c", "-fsyntax-only", "-", cwd=out, text='#define LONGER_NET\n#include "longer_layout.h"\n'
                "typedef char near[LONGER_STRUCT_BYTES - sizeof(struct longer) < 64 || sizeof(void *) < 8 ? 1 : -1];\n")


def windows_of_one_element(convoy, work):
    """Pooling that takes every second pixel: no warning."""
    for form in ("speed", "size", "reading"):
        out = emitted(convoy, work, f"one_{form}", "name: one\ninput: [3, 6, 6]\nclasses: 2\nlayers:\n  - conv: {out: 16, order: \"conv-maxpool(1,2)-relu\"}\n"
                      "  - maxpool: {k: 1, stride: 2}\n  - conv: {out: 16, order: \"conv-avgpool(1,2)-relu\"}\n  - global_avg_pool\n  - linear: classes\n",
                      "--target", "portable", "--for", form)
        for cc in compilers():
            run(cc, "-std=c99", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *sorted(f for f in os.listdir(out) if f.startswith("one_") and f.endswith(".c")), cwd=out)


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
    for form in ("speed", "reading"):
        out = emitted(convoy, work, f"gate_{form}", GATE, "--target", "portable", "--for", form)
        files = sorted(f for f in os.listdir(out) if f.startswith("gate_") and f.endswith(".c"))
        files += sorted(os.path.join("runtime", f) for f in os.listdir(os.path.join(out, "runtime")) if f.endswith(".c"))
        for cc in compilers():
            for file in files:
                for flag in ("-ffast-math", "-ffinite-math-only") if file == files[0] else ("-ffinite-math-only",):
                    status, said = spawn(cc, "-std=gnu11", "-fsyntax-only", flag, "-I", ".", file, cwd=out)
                    check(refused_in_words(status, said), f"{cc} {flag} {file}: status {status}\n{said[:500]}")


CHECKS = [a_long_concat, windows_of_one_element, flags_are_refused_or_harmless, flags_and_folders]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    convoy = os.path.abspath(given.convoy)
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for one in CHECKS:
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
