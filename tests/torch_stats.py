"""`NAME train --stats` beside PyTorch: every figure of two epochs, for the batches that are looked at.

    torch_stats.py --convoy build/gen/convoy [WORD...]      only the cases whose name holds a WORD

A program trains with --stats; PyTorch trains the twin in double precision from the same first weights, on the same batches. Numpy makes the figures anew of every stage's
output, the gradients, the weights before and after an update, and the running statistics before it. Compared: means and deviations within 1e-4 of the deviation, the others
within 1e-4, counts as they are. And: units that weights make dead are found, and a unit that a single image wakes is not; neither --stats nor the number of threads
changes a byte of weights or figures."""
import json
import os
import sys

import torch_common
from draws import Draws
from torch_common import Case, Program, load_twin, run, run_named, st_read, st_write
from torch_training import idx

import numpy as np
import torch

IMAGES, BATCH, EPOCHS, SEED, NEAR = 47, 10, 2, 5, 0.05
SPEC = """\
name: chain
input: [2, 8, 8]
classes: 3
layers:
  - bn
  - conv: {out: 5, order: conv-bn-relu}
  - stage: {name: c, concat: [[], [conv: {out: 3, order: bn-relu-conv}]]}
  - stage: {name: r, residual: [conv: {out: 8, order: conv-bn}], post: act}
  - conv: {out: 20, stride: 2, order: conv-relu-maxpool(2), bias: true, name: dead}
  - flatten
  - linear: {out: 6, order: linear-bn-tanh}
  - linear: classes
train: {batch: 10, epochs: 2, lr: 0.02, momentum: 0.9, weight_decay: 0.01, schedule: constant, valid: 0, seed: 5}
"""
CASES = {  # options; which batches of an epoch's five are looked at
    "all": (["--stats-updates", "1000000000"], [0, 1, 2, 3, 4]),
    "some": (["--stats-updates", "2"], [2, 4]),
    "sums": (["--accumulate", "2", "--clip", "0.5", "--ema", "0.9"], [1, 3, 4]),
    "dead": (["--lr", "0", "--weight-decay", "0"], [0, 1, 2, 3, 4]),
}
BUILT = {}


class Options:
    convoy = generator = cc = cflags = None
    target, purpose = "portable", None


def build(convoy, form, work):
    """The program, the twin's source, and what both begin with; made once for each form."""
    if form[-1] not in BUILT:
        folder = os.path.join(work, form[-1])
        os.mkdir(folder)
        rng = np.random.default_rng(4)
        x, labels = rng.integers(0, 256, (IMAGES, 2, 8, 8)), rng.integers(0, 3, IMAGES)
        for split in ("train", "t10k"):
            idx(f"{folder}/{split}-images-idx4-ubyte", x)
            idx(f"{folder}/{split}-labels-idx1-ubyte", labels)
        spec = os.path.join(folder, "net.yaml")
        with open(spec, "w") as f:
            f.write(SPEC)
        options = Options()
        options.convoy, options.purpose = convoy, "reading" if form[-1] == "reading" else None
        program = Program(options, Case("stats", spec), folder)
        first = os.path.join(folder, "first.safetensors")
        run(program.path, "train", "--data", folder, "--epochs", "1", "--lr", "0", "--weight-decay", "0", "--save", first, "--no-eval")
        begin = {k: v.copy() for k, v in st_read(first)[0].items()}
        for k, v in begin.items():
            if k.endswith(("running_mean", "running_var", "num_batches_tracked")):
                v[...] = k.endswith("running_var")
        draws = Draws(folder)
        BUILT[form[-1]] = folder, program, run(convoy, "twin", spec), begin, draws, (x / 255.0 - 0.5) / 0.25, labels
    return BUILT[form[-1]]


class Watched:
    """A twin whose stages' outputs are kept, and what each norm reads."""

    def __init__(self, source, begin):
        self.net = load_twin(source, "net").double()
        self.net.load_state_dict({k: torch.tensor(v) for k, v in begin.items()})
        self.acts, self.reads = {}, {}
        for path, m in self.net.named_modules():
            if path and not any(True for _ in m.children()):
                m.register_forward_hook(lambda m, inputs, output, path=path: self.see(path, inputs[0], output))

    def see(self, path, read, output):
        self.acts[path], self.reads[path] = output.detach().numpy().copy(), read

    def forward(self, x):
        self.acts = {}
        return self.net(x)


class Epoch:
    """The figures of an epoch, from whole batches."""

    def __init__(self):
        self.acts, self.parameters, self.norms, self.images, self.updates = {}, {}, {}, 0, 0

    def forward(self, w, running):
        for path, a in w.acts.items():
            self.acts.setdefault(path, []).append(a)
        for path, m in w.net.named_modules():
            if isinstance(m, torch_common.NORMS):
                x = w.reads[path].detach().numpy()
                dims = tuple(d for d in range(x.ndim) if d != 1)
                mean, var = running[path + ".running_mean"].numpy(), running[path + ".running_var"].numpy() + m.eps
                self.norms.setdefault(path, []).append((np.abs(x.mean(dims) - mean) / np.sqrt(var), np.log((x.var(dims, ddof=1) + m.eps) / var)))
        self.images += len(next(iter(w.acts.values())))

    def update(self, before, gradient, after):
        for k, v in gradient.items():
            length = np.linalg.norm(before[k])
            self.parameters.setdefault(k, []).append((np.linalg.norm(v), np.linalg.norm(after[k] - before[k]) / length if length else None))
        self.updates += 1

    def far(self, line):
        """By how much each figure of a line of the log is off, as a share of what it may be."""
        off = {"updates": line["updates"] - self.updates, "images": line["images"] - self.images}
        stages = {s["stage"]: s for s in line["stages"]}
        off["stages"] = sorted(stages) != sorted(self.acts)
        off["parameters"] = [p["parameter"] for p in line["parameters"]] != list(self.parameters)
        off["norms"] = [n["norm"] for n in line["norms"]] != list(self.norms)
        for path, s in stages.items():
            a = np.concatenate(self.acts[path])
            units = np.moveaxis(a, 1, 0).reshape(a.shape[1], -1)
            off[path + " mean"] = abs(s["mean"] - a.mean()) / a.std() / 1e-4
            off[path + " sd"] = abs(s["sd"] - a.std()) / a.std() / 1e-4
            off[path + " near zero"] = abs(s["near_zero"] - (np.abs(a) <= NEAR).mean()) * a.size / 2.5  # two elements on the line
            off[path + " units"] = 10 * (s["units"] != len(units))
            off[path + " never above zero"] = 10 * (s["never_above_zero"] != (units.max(1) <= 0).sum())
        for p in line["parameters"]:
            norms, ratios = zip(*self.parameters[p["parameter"]])
            known = [r for r in ratios if r is not None]
            for key, want in (("gradient_norm", np.mean(norms)), ("update_ratio", np.mean(known) if known else None)):
                rounding = 2.0 ** -24 if key == "update_ratio" else 0  # of the weights themselves
                off[f"{p['parameter']} {key}"] = 10 * (p[key] is not None) if want is None else max(0, abs(p[key] - want) - rounding) / max(want, 1e-30) / 1e-4
        for n in line["norms"]:
            gap, ratio = (np.mean(v) for v in zip(*self.norms[n["norm"]]))
            off[n["norm"] + " mean gap"] = abs(n["mean_gap"] - gap) / gap / 1e-4
            off[n["norm"] + " variance ratio"] = abs(n["variance_ratio"] - np.exp(ratio)) / np.exp(ratio) / 1e-4
        return off


def replay(source, begin, draws, x, labels, options, looked):
    """An Epoch for each epoch of the training."""
    get = lambda name, usual: float(options[options.index(name) + 1]) if name in options else usual  # noqa: E731
    every, clip, lr, decay = int(get("--accumulate", 1)), get("--clip", 0), get("--lr", 0.02), get("--weight-decay", 0.01)
    w = Watched(source, begin)
    named = dict(w.net.named_parameters())
    optimiser = torch.optim.SGD([{"params": [p for p in named.values() if p.ndim > 1], "weight_decay": decay},
                                 {"params": [p for p in named.values() if p.ndim == 1], "weight_decay": 0}], lr=lr, momentum=0.9)
    w.net.train()
    epochs = []
    now = lambda: {k: p.detach().numpy().copy() for k, p in named.items()}  # noqa: E731
    for epoch in range(EPOCHS):
        order, e = draws.order(IMAGES, SEED, epoch), Epoch()
        batches = [order[i:i + BATCH] for i in range(0, IMAGES, BATCH)]
        optimiser.zero_grad()
        held = 0
        for i, rows in enumerate(batches):
            running = {k: v.clone() for k, v in w.net.state_dict().items()}
            loss = torch.nn.functional.cross_entropy(w.forward(torch.tensor(x[rows])), torch.tensor(labels[rows]))
            loss.backward()
            held += 1
            if i in looked:
                e.forward(w, running)
            if held < every and i + 1 < len(batches):
                continue
            for p in named.values():
                p.grad /= held
            gradient, before = {k: p.grad.numpy().copy() for k, p in named.items()}, now()
            if clip:
                torch.nn.utils.clip_grad_norm_(named.values(), clip)
            optimiser.step()
            if i in looked:
                e.update(before, gradient, now())
            optimiser.zero_grad()
            held = 0
        epochs.append(e)
    return epochs


def kill(source, begin, x, draws):
    """Three units of `dead` get a bias that no image reaches, and one that hardly any does: in one of the epochs, the highest alone."""
    made = {k: v.copy() for k, v in begin.items()}
    made["dead.conv.bias"][[2, 7, 19]] = -1000
    w, highest = Watched(source, made), []
    w.net.train()
    for epoch in range(EPOCHS):
        order = draws.order(IMAGES, SEED, epoch)
        for i in range(0, IMAGES, BATCH):
            w.forward(torch.tensor(x[order[i:i + BATCH]]))
            highest.append(w.acts["dead.conv"][:, 11].max())
    made["dead.conv.bias"][11] -= min(max(highest[:len(highest) // 2]), max(highest[len(highest) // 2:])) - 1e-3
    return made


def case(convoy, name, form, work):
    folder, program, source, begin, draws, x, labels = build(convoy, form, work)
    options, looked = CASES[name]
    start, log, w = (os.path.join(folder, f"{name}{end}") for end in ("_first.safetensors", ".log", ".safetensors"))
    if name == "dead":
        begin = kill(source, begin, x, draws)
    st_write(start, begin)
    words = [program.path, "train", "--data", folder, "--init-from", start, "--no-eval", "--quiet", *options]
    run(*words, "--save", w, "--stats", "--log", log, "--threads", "1")
    with open(log) as f:
        lines = [line for line in f if '"stats"' in line]
    off, worst = {}, "nothing"
    for e, line in zip(replay(source, begin, draws, x, labels, options, looked), lines):
        off.update({f"epoch {json.loads(line)['epoch']}: {k}": float(v) for k, v in e.far(json.loads(line)).items()})
        worst = max(off, key=off.get)
    good = len(lines) == EPOCHS and off[worst] <= 1
    said = f"{len(off)} figures; {worst} is off by {off[worst]:.2g} of what it may be" if off else "no figures"
    if name == "dead":
        never = [next(s["never_above_zero"] for s in json.loads(line)["stages"] if s["stage"] == "dead.act") for line in lines]
        good, said = good and never == [3, 3], said + f"; dead units: {never}"
    # the same bytes without --stats, and with threads
    run(*words, "--save", w + "2", "--threads", "1")
    run(*words, "--save", w + "3", "--stats", "--log", log + "3", "--threads", "3")
    with open(w, "rb") as a, open(w + "2", "rb") as b, open(w + "3", "rb") as c, open(log + "3") as f:
        same, alike = a.read() == b.read() == c.read(), [line for line in f if '"stats"' in line] == lines
    good, said = good and same and alike, said + ("" if same else "; the weights differ") + ("" if alike else "; with 3 threads the figures differ")
    return good, f"{name} ({' '.join(form)}): {said}"


def forms(name):
    return (["--target", "portable"], ["--for", "reading"])[:2 if name == "all" else 1]


if __name__ == "__main__":
    sys.exit(run_named(__doc__, "convoy-stats-", CASES, forms, case))
