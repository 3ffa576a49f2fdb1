"""Frozen prefixes of every length: the gradients of what learns are those of the network in which all learns, and PyTorch's.

    torch_frozen.py --convoy build/gen/convoy [--lengths 0,3,5]

Of a network of six blocks and a linear layer the first n are frozen, n from 1 to all but the last, in two forms: one has norms of an image alone; in the other the second block has
a batch norm, which where it is frozen uses its running statistics, so that what stands behind it sees other numbers, and the gradients are compared with PyTorch's alone.
One step from the same weights on the same batch: each gradient is within 1e-5 of its largest number of the unfrozen network's, and within 1e-4 of PyTorch's in double precision;
there is none of what is frozen, whose weights stay to the bit."""
import argparse
import os
import sys
import tempfile

from torch_common import Case, Failed, Hyper, Program, TwinReference, load_twin, random_state, run

import numpy as np

SPEC = """\
name: chain
input: [2, 9, 8]
classes: 4
layers:
  - conv: {out: 5, order: conv-tanh, name: a1, bias: true}
  - conv: {out: 6, order: %s, name: a2}
  - conv: {out: 6, stride: 2, order: conv-gn(2)-silu, name: a3}
  - stage: {name: a4, residual: [conv: {out: 6, order: conv-ln-gelu}]}
  - stage: {name: a5, concat: [[], [conv: {out: 7, kernel: 1, order: conv-sigmoid, bias: true}]]}
  - conv: {out: 8, order: conv-in-tanh, name: a6}
  - flatten
  - linear: {out: classes, name: a7}
train: {batch: 6}
"""
LAYERS, N = ["a1", "a2", "a3", "a4", "a5", "a6", "a7"], 6
HYPER = Hyper(0.1, 0.9, False, 0.01)


class Options:
    generator = purpose = cc = cflags = None
    target = "portable"


def far(got, want):
    return float(np.abs(np.asarray(got, float) - want).max() / max(np.abs(want).max(), 1e-30))


def of(tensor, layers):
    return tensor.split(".")[0] in layers


def step(convoy, order, length, state, x, labels, work):
    """The trace of a step with the first `length` layers frozen, and PyTorch's."""
    folder = os.path.join(work, f"{order[5:8]}{length}")
    os.mkdir(folder)
    spec = os.path.join(folder, "net.yaml")
    with open(spec, "w") as f:
        f.write(SPEC % order)
    case = Case("frozen", spec, [f"train.freeze=[{','.join(LAYERS[:length])}]"] if length else [])
    options = Options()
    options.convoy = convoy
    program = Program(options, case, folder)
    source = run(convoy, "twin", spec, *case.options)
    ref = TwinReference(load_twin(source, "frozen"), source)
    state = state or random_state(ref.shapes, np.random.default_rng(1))
    momentum = {k: np.zeros(ref.shapes[k], np.float32) for k in ref.learns}
    return state, program.trace(state, momentum, x, labels, HYPER, 0), ref.step(state, momentum, x.astype(float), labels, {}, HYPER)


def judge(order, length, state, got, want, whole):
    grads = {k[5:]: v for k, v in got.items() if k.startswith("grad.")}
    learns = sorted(k for k in want.params if not of(k, LAYERS[:length]))
    if sorted(grads) != learns:
        return False, f"gradients of {sorted(grads)}, wanted of {learns}"
    moved = [k for k in want.params if of(k, LAYERS[:length]) and (got["after." + k] != state[k]).any()]
    off = {f"{k} beside PyTorch": far(v, want.grads[k]) / 1e-4 for k, v in grads.items()}
    if "bn" not in order or length < 2:
        off.update({f"{k} beside the unfrozen": far(v, whole["grad." + k]) / 1e-5 for k, v in grads.items()})
    worst = max(off, key=off.get)
    return off[worst] <= 1 and not moved, f"{len(off)} gradients, {worst} off by {off[worst]:.2g} of what it may be" + (f"; {moved} moved" if moved else "")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--convoy", required=True)
    p.add_argument("--lengths", default="1,2,3,4,5,6")
    a = p.parse_args()
    rng = np.random.default_rng(2)
    x, labels = rng.normal(0, 1, (N, 2, 9, 8)).astype(np.float32), rng.integers(0, 4, N)
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="convoy-frozen-") as work:
        for order in ("conv-ln-tanh", "conv-bn-tanh"):
            state, whole, _ = step(os.path.abspath(a.convoy), order, 0, None, x, labels, work)
            for length in map(int, a.lengths.split(",")):
                try:
                    _, got, want = step(os.path.abspath(a.convoy), order, length, state, x, labels, work)
                    good, words = judge(order, length, state, got, want, whole)
                except Failed as e:
                    good, words = False, str(e)
                print("ok     " if good else "FAILED ", f"{order}, {length} frozen: {words}", flush=True)
                passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
