#!/usr/bin/env python3
"""Time and memory of check, plan and gen: they grow as the network does, large images and kernels are no more work, what would be too much is
refused at a line, before it is done.

    tests/test_bounds.py --convoy build/gen/convoy [--sanitized | --all]     (--sanitized: processor time and memory say nothing)

Measured is the processor time that a command takes in user mode, at 500 ops (the mean of eight runs) and at 4,000 (the least of up to five): what is
linear takes 8 times as long, what is quadratic 64; an exponent of 1.2 is allowed, 12.1 times. Ten milliseconds of 4,000 ops count as nothing. Without --all,
networks that are shaped otherwise than a chain and groups in groups have half of these ops."""
import argparse
import os
import resource
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.abspath(__file__))
passed = failed = skipped = 0
HEAD = "name: x\ninput: [%s]\nclasses: 10\nlayers:\n%s"
TAIL = "  - global_avg_pool\n  - linear: classes\n"


def expect(ok, what):
    global passed, failed
    passed += ok
    failed += not ok
    if not ok:
        print("FAILED: %s" % what)


def chain(ops):
    return HEAD % ("16, 8, 8", "  - conv: 16\n" * (ops // 3) + TAIL)


def residual(ops):
    return HEAD % ("16, 8, 8", "  - conv: 16\n  - stage: {repeat: %d, residual: [conv: 16, conv: 16]}\n" % (ops // 7) + TAIL)


def many_shapes(ops):
    orders = ["conv-bn-act", "bn-act-conv", "act-conv-bn", "conv-act-bn"]
    return HEAD % ("16, 16, 16", "".join("  - conv: {out: %d, order: %s}\n" % (8 + 8 * (i % 5), orders[i % 4]) for i in range(ops // 3)) + TAIL)


def groups_in_groups(ops):
    """Four deep, so that names are long."""
    side = round((ops / 4) ** (1 / 3))
    return HEAD % ("16, 8, 8", "  - conv: 16\n  - stage: {repeat: %d, layers: [stage: {repeat: %d, layers: [stage: {repeat: %d, residual: [conv: 16]}]}]}\n"
                   % (side, side, side) + TAIL)


def deep_groups(ops):
    """Eleven deep, so that names are longest."""
    inside = "conv: 16, bn, relu"
    for level in range(10):
        inside = "stage: {repeat: 1, layers: [%s]}" % inside
    return HEAD % ("16, 8, 8", "  - conv: 16\n  - stage: {repeat: %d, layers: [%s]}\n" % (ops // 5, inside) + TAIL)


def norms_alone(ops):
    """Each norm makes a node of what it reads: none may be recomputed from the first."""
    return HEAD % ("16, 8, 8", "  - conv: {out: 16, order: conv}\n" + "  - tanh\n  - bn\n" * (ops // 2) + TAIL)


def activations(ops):
    return HEAD % ("16, 8, 8", "  - conv: {out: 16, order: conv}\n" + "".join("  - tanh\n" for _ in range(min(ops, 4000))) + TAIL)


def linears(ops):
    return HEAD % ("64", "  - linear: 64\n" * (ops // 3) + "  - linear: classes\n")


def dense(repeats):
    return HEAD % ("3, 8, 8", "  - conv: 16\n  - stage: {repeat: %d, order: bn-act-conv, concat: [[], [conv: 12]]}\n" % repeats + TAIL)


def file_bytes(folder):
    """Of each of an emitted network's own files; the layers' and the cores' are summed."""
    named = {"x_" + what for what in ("trace.c", "layout.h", "net.c", "bench.c", "weights.c")}
    sizes = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            kind = "cores" if name.startswith("core_") else "layers" if name.startswith("x_") and name not in named else name
            sizes[kind] = sizes.get(kind, 0) + os.path.getsize(path)
    return sizes


class Runner:
    def __init__(self, convoy, folder):
        self.convoy, self.folder, self.n = convoy, folder, 0
        self.bytes = {}  # of the files that the last gen wrote

    def run(self, text, command, more=(), stack=0):
        """(status, seconds in user mode, kilobytes, stderr)"""
        self.n += 1
        spec, out = os.path.join(self.folder, "%d.yaml" % self.n), os.path.join(self.folder, "out%d" % self.n)
        with open(spec, "w", encoding="utf-8") as f:
            f.write(text)
        args = [self.convoy, command, spec] + (["-o", out] if command == "gen" else []) + list(more)
        limit = (lambda: resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))) if stack else None
        with open(os.path.join(self.folder, "err"), "w+b") as err:
            p = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=err, preexec_fn=limit)
            _, status, use = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
            err.seek(0)
            said = err.read().decode()
        self.bytes = file_bytes(out)
        subprocess.run(["rm", "-rf", out], check=True)
        return p.returncode, use.ru_utime, use.ru_maxrss, said

    def least(self, text, command, more=()):
        runs = [self.run(text, command, more) for _ in range(3)]
        return runs[0][0], min(r[1] for r in runs), max(r[2] for r in runs), runs[0][3]


def growth(r, everything):
    for make in (chain, residual, many_shapes, groups_in_groups, deep_groups, norms_alone, activations, linears):
        few_ops = 500 if everything or make in (chain, groups_in_groups) else 250
        # gen does what the others do, but for what they print
        for command in ("check", "plan", "gen") if make in (chain, groups_in_groups, deep_groups) else ("gen",):
            small, large = [r.run(make(few_ops), command) for _ in range(8)], []
            small_bytes = r.bytes
            few = sum(run[1] for run in small) / len(small)
            most = 0.01 + 8 ** 1.2 * few
            while not large or (len(large) < 5 and min(run[1] for run in large) >= most):  # a busy machine, or too much work
                large.append(r.run(make(8 * few_ops), command))
            many, kilobytes = min(run[1] for run in large), max(run[2] for run in large)
            what = "%s of %s, %d and %d ops" % (command, make.__name__, few_ops, 8 * few_ops)
            for kind, size in small_bytes.items():
                expect(r.bytes[kind] < 8 ** 1.1 * size, "%s: %s has %d and %d bytes" % (what, kind, size, r.bytes[kind]))
            status = [run[0] for run in small + large]
            expect(not any(status), "%s: status %s: %s" % (what, status, large[-1][3][-300:]))
            expect(many < most, "%s: %.3f and %.3f s" % (what, few, many))
            expect(many < 3 and kilobytes < 300 * 1024, "%s: %.2f s and %d KB" % (what, many, kilobytes))


def differences(r):
    """Every layer differs: aligned, planned, emitted and compared."""
    other = os.path.join(r.folder, "other.yaml")
    seconds = []
    for ops in (500, 4000):
        with open(other, "w", encoding="utf-8") as f:
            f.write(chain(ops).replace("conv: 16", "conv: {out: 16, order: bn-act-conv}"))
        status, used, _, said = r.run(chain(ops), "diff", (other,))
        seconds.append(used)
        expect(status == 1, "diff of %d ops: status %d: %s" % (ops, status, said[-300:]))
    expect(seconds[1] < 25 * max(seconds[0], 0.05), "diff: %.2f s at 500 ops, %.2f s at 4,000" % tuple(seconds))


def images(r):
    large = HEAD % ("16, 2048, 2048", "  - conv: 16\n  - conv: {out: 64, stride: 2}\n  - conv: 64\n  - conv: {out: 32, kernel: 5}\n" + TAIL)
    for name, text in (("2048 x 2048 pixels", large), ("kernel 255", HEAD % ("16, 255, 255", "  - conv: {out: 16, kernel: 255}\n" + TAIL))):
        status, seconds, _, said = r.least(text, "plan")
        expect(status == 0 and seconds < 1, "plan of %s: status %d, %.2f s %s" % (name, status, seconds, said[-300:]))
    full = HEAD.replace("layers", "unroll: full\nlayers") % ("16, 255, 255", "  - conv: {out: 16, kernel: 255}\n" + TAIL)
    status, seconds, _, said = r.least(full, "plan")
    expect(status == 1 and "unroll: full makes at least 1040400 statements" in said and seconds < 3, "unroll: full of kernel 255: %.2f s %s" % (seconds, said))


def refusals(r):
    status, _, kilobytes, said = r.run(dense(500), "plan")
    expect(status == 1 and ".yaml:6:" in said and "the plan is too large" in said and "transition" in said and kilobytes < 300 * 1024,
           "plan of a dense stage of 500: status %d, %d KB: %s" % (status, kilobytes, said))
    status, _, kilobytes, said = r.run(dense(160).replace("bn-act-", "bn-act-drop(0.1)-"), "gen")
    expect(status == 1 and ".yaml:" in said and "MB of C would be written, and at most 64 are" in said and "transition" in said,
           "gen of a dense stage of 160 with dropout: status %d: %s" % (status, said))
    status, _, _, said = r.run(dense(80), "gen")
    expect(status == 0, "gen of a dense stage of 80: status %d: %s" % (status, said))
    expect(r.bytes["x_trace.c"] < 1.5e6, "the trace of a dense stage of 80 has %d bytes: what repeats should stand there once" % r.bytes["x_trace.c"])


def small_stack(r):
    """16,000 stages on one way: no pass goes down by a call a stage."""
    words = "-".join(["tanh"] * 64)
    text = HEAD % ("4, 2, 2", "  - conv: 4\n  - stage: {repeat: 125, pre: %s, post: %s, concat: [[], [drop: 0.5]]}\n" % (words, words.replace("tanh-tanh", "tanh", 1))
                   + "  - flatten\n  - linear: classes\n")
    text = text.replace("concat: [[], [drop: 0.5]]", "layers: [drop: 0.5]")
    for command, more in (("check", ()), ("plan", ()), ("gen", ()), ("gen", ("--for", "reading")), ("twin", ()), ("draw", ())):
        status, _, _, said = r.run(text, command, more, stack=1 << 19)
        expect(status == 0, "%s %s of 16,000 stages on half a megabyte of stack: status %d: %s" % (command, " ".join(more), status, said[-300:]))


def main():
    global skipped
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("--sanitized", action="store_true")
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        r = Runner(os.path.abspath(args.convoy), folder)
        if args.sanitized:
            skipped += 1
            print("skipped: time and memory, of a program built with sanitizers")
        else:
            growth(r, args.all)
            differences(r)
            images(r)
            small_stack(r)
        refusals(r)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
