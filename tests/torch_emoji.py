"""specs/emoji.yaml on the colour set that specs/data/emoji.sh makes, step by step beside the same network in PyTorch.

    CONVOY_EMOJI=emoji.safetensors torch_emoji.py --convoy build/gen/convoy [--steps N]

Each step of the training's first epoch is traced from the state that the step before it left, and PyTorch takes it from the same state in double precision: the loss, every stage's output, every
gradient, the weights, momentum and running statistics after it are within 1e-4 of each tensor's largest number. Where a relu lets a number through is taken from the trace, as float32 may
decide otherwise there. `NAME train` takes the same steps in one go: its state has the same bits."""
import argparse
import os
import sys
import tempfile

from dataset import Set
from draws import Draws
from torch_common import Case, Failed, Hyper, Program, TwinReference, load_twin, run, st_read, st_write

import numpy as np
import torch

SPEC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "specs", "emoji.yaml")
BATCH, SEED, LR, MOMENTUM, DECAY = 64, 1, 0.05, 0.9, 0.0005
MEAN, STD = np.array([0.799, 0.749, 0.701]), np.array([0.284, 0.285, 0.336])


class Options:
    generator = purpose = None
    target, cc, cflags = "native", "cc", "-O1"


def far(got, want):
    return float(np.abs(np.asarray(got, float) - want).max() / max(np.abs(want).max(), 1e-30))


def decide_alike(ref, masks):
    """PyTorch's relus let through what `masks` says."""
    for path, m in ref.net.named_modules():
        if isinstance(m, torch.nn.ReLU):
            m.register_forward_hook(lambda m, inputs, output, path=path: inputs[0] * masks[path])


def step_by_step(program, ref, state, batches):
    """(whether all is well, words) of each step; `state` and the momentum become those after the last one."""
    momentum, masks = {k: np.zeros(s, np.float32) for k, s in ref.shapes.items() if k in ref.learns}, {}
    decide_alike(ref, masks)
    for i, (rows, x, labels) in enumerate(batches):
        hyper = Hyper(LR, MOMENTUM, False, DECAY)
        got = program.trace(state, momentum, rows, labels, hyper, i)
        acts = {k[4:]: v for k, v in got.items() if k.startswith("act.")}
        masks.update({k: torch.tensor(v > 0) for k, v in acts.items()})
        want = ref.step(state, momentum, x, labels, {}, hyper)
        off = {"loss": abs(float(got["loss"]) - want.loss) / want.loss}
        for kind, tensors in (("act.", want.acts), ("grad.", want.grads), ("after.", want.params), ("after.", want.stats), ("after.momentum.", want.momentum)):
            off.update({kind + k: far(got[kind + k].reshape(v.shape), v) for k, v in tensors.items()})
        worst = max(off, key=off.get)
        yield off[worst] < 1e-4, f"step {i + 1}: loss {want.loss:.4f}, {len(off)} tensors, {worst} off by {off[worst]:.1e}"
        state.update({k: got["after." + k] for k in state})
        momentum = {k: got["after.momentum." + k] for k in momentum}


def in_one_go(program, start, end, data, steps):
    to, first = os.path.join(program.folder, "go.safetensors"), os.path.join(program.folder, "start.safetensors")
    st_write(first, start)
    run(program.path, "train", "--data", data, "--init-from", first, "--save", to, "--limit", steps, "--no-eval", "--quiet", "--schedule", "constant", "--lr", LR, "--seed", SEED,
        "--momentum", MOMENTUM, "--weight-decay", DECAY)
    got = st_read(to.replace(".safetensors", ".state.safetensors"))[0]
    other = [k for k, v in end.items() if (got[k] != v).any()]
    return not other, f"{steps} steps in one go: {len(end)} tensors, {len(other)} with other bits {other[:3]}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--convoy", required=True)
    p.add_argument("--steps", type=int, default=5)
    a = p.parse_args()
    data = os.environ.get("CONVOY_EMOJI")
    if not data:
        print("skipped: specs/data/emoji.sh makes the set; CONVOY_EMOJI=emoji.safetensors names it\n0 passed, 0 failed, 1 skipped")
        return 77
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="convoy-emoji-") as folder:
        options, s = Options(), Set(data)
        options.convoy = os.path.abspath(a.convoy)
        program = Program(options, Case("emoji", SPEC), folder)
        source = run(options.convoy, "twin", SPEC)
        ref = TwinReference(load_twin(source, "emoji"), source)
        rows, labels = s["train.x"], s["train.y"]
        order = Draws(folder).order(len(rows), SEED, 0)
        batches = []
        for i in range(a.steps):
            at = order[i * BATCH:(i + 1) * BATCH]
            x = (rows[at] / 255.0 - MEAN[:, None, None]) / STD[:, None, None]
            batches.append((rows[at], x, labels[at].astype(np.int64)))
        first = os.path.join(folder, "first.safetensors")
        run(program.path, "train", "--data", data, "--limit", 1, "--lr", 0, "--weight-decay", 0, "--save", first, "--no-eval", "--quiet", "--seed", SEED)
        state = {k: v.copy() for k, v in st_read(first)[0].items()}
        for k, v in state.items():
            if not k.endswith((".weight", ".bias")):
                v[...] = k.endswith("running_var")
        try:
            start = {k: v.copy() for k, v in state.items()}
            for good, words in [*step_by_step(program, ref, state, batches), in_one_go(program, start, state, data, a.steps)]:
                print("ok     " if good else "FAILED ", words)
                passed, failed = passed + good, failed + (not good)
        except Failed as e:
            print("FAILED ", e)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
