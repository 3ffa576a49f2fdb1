"""Inputs whose mean is 10,000 times their deviation: what float32 leaves of gradients, beside PyTorch.

    torch_far.py --convoy build/gen/convoy

Behind a norm the gradient of a conv's weights is a sum of products with numbers near 10,000 that nearly cancel. Float64 is the measure;
PyTorch in float32 says what is to be expected. Of the gradients, of what the norm makes and of its variance, the emitted program's largest
error must be at most PyTorch's, or a hundred-thousandth of the largest element."""
import argparse
import os
import sys
import tempfile

from torch_common import Case, Hyper, Program, TwinReference, common_options, is_trained, load_twin, run, run_cases

import numpy as np

SPEC = """\
name: far
input: [2, 24, 20]
classes: 3
winograd: off
layers:
  - conv: {out: 4, kernel: %d, padding: 0, order: %s}
  - global_avg_pool
  - linear: classes
"""
NET = [(1, "conv-bn-relu"), (1, "conv-relu-bn"), (3, "conv-bn-relu"), (1, "conv-gn(2)-relu")]
DRAWS, BATCH, FLOOR = 6, 8, 1e-5


def off(got, want):
    """The largest error, relative to the largest element."""
    want = np.asarray(want, np.float64)
    return float(np.abs(np.asarray(got, np.float64).reshape(want.shape) - want).max() / max(np.abs(want).max(), 1e-30))


def one(args, case, folder, report):
    program = Program(args, case, folder)
    ref = TwinReference(load_twin(run(args.convoy, "twin", case.spec, *case.options), case.label))
    single, rng, ours, theirs = ref.rough(0), np.random.default_rng(args.seed), {}, {}
    for draw in range(DRAWS):
        x = 10000 + rng.integers(-1, 2, (BATCH, 2, 24, 20)).astype(np.float32)
        if draw % 2:  # and some pixels far from all others
            x[rng.integers(BATCH), :, 0, :6] = rng.integers(-3, 4, (2, 6))
        state = {}
        for name, shape in ref.shapes.items():
            whole = rng.integers(-2, 3, shape)
            state[name] = whole.astype(np.float32) if len(shape) > 1 else np.full(shape, name.endswith((".weight", "running_var")), np.float32)
            if len(shape) == 0:
                state[name] = np.array(0, np.int64)
        state["linear1.linear.weight"] = rng.normal(0, 0.5, (3, 4)).astype(np.float32)
        momentum = {k: np.zeros_like(v) for k, v in state.items() if is_trained(k)}
        labels, hyper = rng.integers(0, 3, BATCH), Hyper(0.05, 0.0, False, 0.0)
        trace = program.trace(state, momentum, x, labels, hyper, 0)
        want, rough = (r.step(state, momentum, x, labels, {}, hyper) for r in (ref, single))
        for name, group in (("grad.", "grads"), ("act.", "acts"), ("after.", "stats")):
            for key, value in getattr(want, group).items():
                if np.abs(value).max() < 1e-12:
                    continue  # zero, as a bias' gradient before a norm
                ours[name + key] = max(ours.get(name + key, 0), off(trace[name + key], value))
                theirs[name + key] = max(theirs.get(name + key, 0), off(getattr(rough, group)[key], value))
    report.steps = DRAWS
    for key in ours:
        if args.figures:
            print(f"     {case.label}: {key}: {ours[key]:.2g}, PyTorch {theirs[key]:.2g}")
        if not ours[key] <= max(theirs[key], FLOOR):
            report.wrong.append(f"{key}: off by {ours[key]:.3g}, PyTorch in float32 by {theirs[key]:.3g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_options(parser)
    parser.add_argument("--figures", action="store_true", help="print each tensor's errors")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for kernel, order in NET:
            path = os.path.join(folder, f"{len(cases)}.yaml")
            with open(path, "w") as f:
                f.write(SPEC % (kernel, f'"{order}"'))
            cases.append(Case(f"{kernel}x{kernel} {order}", path))
        return run_cases(args, cases, one)


if __name__ == "__main__":
    sys.exit(main())
