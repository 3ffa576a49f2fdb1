"""convoy's training and inference beside its PyTorch twin: for each spec ten steps, then inference with folded norms.

    torch_twin.py --convoy build/convoy [SPEC...] [--random N --campaign build/tests/campaign]

Without SPEC it takes the specs in tests/twin/ and the demo's network in both orders. --twin-only stops after the twin ran
forward and backward once: it needs no compiler."""
import argparse
import glob
import os
import sys

from torch_common import (HERE, Case, Failed, Program, TwinReference, common_options, compare, load_twin, random_state, run,
                          run_cases, st_read)

import numpy as np
import torch

DEMO = os.path.join(os.path.dirname(HERE), "specs", "fashion.yaml")


def twin_of(args, case):
    source = run(args.convoy, "twin", case.spec, *case.options)
    return TwinReference(load_twin(source, case.label)), source


def input_shape(source):
    """From the comment that opens forward(): # input: (N, C, H, W)"""
    line = next(line for line in source.splitlines() if line.strip().startswith("# input: (N, "))
    return tuple(int(v) for v in line.strip()[len("# input: (N, "):-1].split(","))


def twin_only(ref, shape, report):
    """The twin runs, gives logits, and every parameter of it gets a gradient."""
    rng = np.random.default_rng(1)
    masks, n = {}, 4
    for m in ref.net.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
    ref.net.eval()
    logits = ref.infer(random_state(ref.shapes, rng), np.zeros((n, *shape)))
    for path in ref.drops:
        masks[path] = np.ones(ref.acts[path].shape)
    want = ref.step(random_state(ref.shapes, rng), {}, rng.normal(0, 1, (n, *shape)), rng.integers(0, logits.shape[1], n),
                    masks, argparse.Namespace(lr=0.1, momentum=0.0, nesterov=False, decay=0.0))
    report.steps += 1
    if logits.shape[0] != n or logits.ndim != 2 or not np.isfinite(want.loss):
        report.wrong.append(f"logits {logits.shape}, loss {want.loss}")


def checkpoints(program, ref, shape, report):
    """What NAME train saved loads strictly into the twin, and the twin's state back into NAME: predict says the same."""
    saved = program.file("trained.safetensors")
    run(program.path, "train", "--epochs", 1, "--limit", 5, "--save", saved)
    state, meta = st_read(saved)
    if {k: v.shape for k, v in state.items()} != ref.shapes:
        report.wrong.append(f"the checkpoint holds {sorted(state)}, the twin {sorted(ref.shapes)}")
        return
    if meta.get("format") != "pt":
        report.wrong.append(f"the checkpoint's metadata: {meta}")
    x = np.random.default_rng(3).normal(0, 1, (4, *shape)).astype(np.float32)
    logits = ref.infer(state, x)
    report.close("the trained checkpoint's inference", program.predict(state, x), logits, 0)
    back = {k: v.numpy().astype(state[k].dtype) for k, v in ref.net.state_dict().items()}
    if any((back[k] != state[k]).any() for k in state):
        report.wrong.append("the twin's state is not what it loaded")


def one(args, case, folder, report):
    ref, source = twin_of(args, case)
    shape = input_shape(source)
    if args.twin_only:
        twin_only(ref, shape, report)
        return
    program = Program(args, case, folder)
    classes = ref.infer(random_state(ref.shapes, np.random.default_rng(0)), np.zeros((1, *shape))).shape[1]
    compare(report, program, ref, shape, classes, args.seed, args.steps)
    if case.label.startswith("demo") and not report.wrong:
        checkpoints(program, ref, shape, report)


def random_cases(args, folder):
    cases = []
    for seed in range(args.seed, args.seed + args.random):
        path = os.path.join(folder, f"random{seed}.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(run(args.campaign, "--print-spec", seed))
        cases.append(Case(f"random chain {seed}", path))
    return cases


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_options(p)
    p.add_argument("specs", nargs="*", metavar="SPEC")
    p.add_argument("--twin-only", action="store_true")
    p.add_argument("--random", type=int, default=0, metavar="N", help="also N random chains (needs --campaign)")
    p.add_argument("--campaign", help="the program that makes random chains")
    args = p.parse_args()
    cases = [Case(os.path.basename(s), s) for s in args.specs or sorted(glob.glob(os.path.join(HERE, "twin", "*.yaml")))]
    if not args.specs:
        cases += [Case(f"demo {order}", DEMO, [f"order={order}", "train.data=shapes"]) for order in ("conv-bn-relu", "conv-relu-bn")]
    if args.random:
        if not args.campaign:
            p.error("--random needs --campaign")
        import tempfile
        with tempfile.TemporaryDirectory(prefix="convoy-torch-") as folder:
            return run_cases(args, cases + random_cases(args, folder), one)
    return run_cases(args, cases, one)


if __name__ == "__main__":
    sys.exit(main())
