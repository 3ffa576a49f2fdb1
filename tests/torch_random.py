"""Random trainings beside PyTorch: networks, optimisers, losses, schedules and all that `NAME train` does between a batch and an update, drawn at random; about fifty updates.

    torch_random.py --convoy build/gen/convoy [--count N] [--seed S]

Of each seed a small network without corners (so that float32 and float64 decide alike) is drawn, with an optimiser and a loss, and three trainings of it: schedule, warm-up, class
weights, label smoothing, clipping, sums of gradients, moving average, mixup, batch, seed. The program trains on shuffled batches; PyTorch trains the twin in double precision from the same first
weights on the same batches (draws.py), by its own optimisers and schedulers. Compared are all tensors of the training's state, and the moving average: each within 1e-4 of its largest number."""
import argparse
import json
import os
import random
import sys
import tempfile

from draws import Draws
from torch_common import Case, Failed, Program, load_twin, run, st_read, st_write
from torch_schedules import Case as Rates

import numpy as np
import torch

UPDATES, CLASSES, SHAPE, LABELS = 50, 4, (2, 8, 8), 1
SCHEDULES = ["constant", "step", "cosine", "one-cycle", "linear", "plateau"]
OPTIMISERS = {"sgd": (torch.optim.SGD, 0.05), "adam": (torch.optim.Adam, 0.004), "adamw": (torch.optim.AdamW, 0.004)}
TRAININGS = 3


class Options:
    convoy = generator = cc = cflags = purpose = None
    target = "portable"


def network(rng, optimiser, loss):
    order = lambda: rng.choice(["conv-bn-tanh", "conv-tanh-bn", "conv-silu", "bn-conv-sigmoid", "conv-gn(1)-softplus", "conv-ln-gelu"])  # noqa: E731
    outputs = {"cross_entropy": "classes: %d" % CLASSES, "mse": "outputs: %d" % LABELS, "input": "outputs: %d" % np.prod(SHAPE)}[loss]
    last = rng.randint(3, 9)
    layers = ["conv: {out: %d, order: %s}" % (rng.randint(3, 20), order()), "conv: {out: %d, stride: 2, order: %s}" % (last, order())]
    layers += rng.choice([["flatten"], ["avgpool(2)", "flatten"], ["stage: {residual: [conv: {out: %d, order: conv-tanh}]}" % last, "flatten"]])
    layers += ["linear: " + outputs.split(":")[0]]
    keys = {"cross_entropy": "", "mse": ", loss: mse", "input": ", loss: mse, target: input"}[loss]
    return "name: chain\ninput: [2, 8, 8]\n%s\nlayers:\n%strain: {optimizer: %s, epochs: 1, batch: 16%s}\n" % (outputs, "".join("  - %s\n" % x for x in layers), optimiser, keys)


class Training:
    """What one training is told, and PyTorch's side of it."""

    def __init__(self, rng, rows, optimiser, loss, number):
        self.rng, self.rows, self.optimiser, self.loss = rng, rows, optimiser, loss
        self.batch, self.every, self.seed = rng.choice([rows, 16, 13, 8]), rng.choice([1, 1, 2, 3]), rng.randint(1, 99)
        batches = -(-rows // self.batch)
        self.updates = -(-batches // self.every)
        self.epochs = max(2, UPDATES // self.updates)
        rate = OPTIMISERS[optimiser][1] / (5 if (optimiser, loss) == ("sgd", "mse") else 1)
        self.schedule = SCHEDULES[number % len(SCHEDULES)]
        r = self.rates = Rates(rng, self.schedule)
        r.epochs, r.epoch, r.total, r.lr = self.epochs, self.updates, self.epochs * self.updates, rate
        r.min_lr, r.rising = rng.choice([0, rate / 20]), rng.choice([0, 0, 1]) if self.epochs > 3 else 0
        r.step_size = rng.randint(1, max(1, self.epochs // 2))
        if self.schedule == "one-cycle" and r.warmup * (r.total - r.rising * r.epoch) < 1.5:  # PyTorch divides by zero
            r.warmup = 0.5
        self.decay, self.all = rng.choice([0, 0.02]), rng.random() < 0.3
        self.clip, self.ema = rng.choice([0, 0, 0.05]), rng.choice([0, 0.8])
        classes = loss == "cross_entropy"
        self.smoothing = rng.choice([0, 0.2]) if classes else 0
        self.weights = rng.choice([None, [0.5, 2, 1, 3], "balanced"]) if classes else None
        self.mixup = rng.choice([None, 0.2, 1])
        if optimiser == "sgd":
            momentum = rng.choice([0.9, 0.5])
            self.numbers = {"momentum": momentum, "nesterov": rng.random() < 0.4}
        else:
            self.numbers = {"betas": (rng.choice([0.9, 0.7]), rng.choice([0.999, 0.9])), "eps": 1e-3}

    def options(self):
        r = self.rates
        o = {"--batch": self.batch, "--accumulate": self.every, "--seed": self.seed, "--epochs": self.epochs, "--schedule": self.schedule, "--lr": r.lr, "--warmup": r.warmup,
             "--warmup-epochs": r.rising, "--step-size": r.step_size, "--gamma": r.gamma, "--min-lr": r.min_lr, "--plateau": r.patience, "--weight-decay": self.decay,
             "--clip": self.clip, "--ema": self.ema, "--augment": "mixup(%g)" % self.mixup if self.mixup else "none"}
        if self.optimiser == "sgd":
            o["--momentum"] = self.numbers["momentum"]
        else:
            o.update({"--beta1": self.numbers["betas"][0], "--beta2": self.numbers["betas"][1], "--eps": self.numbers["eps"]})
        if self.loss == "cross_entropy":
            o["--label-smoothing"] = self.smoothing
            o["--class-weights"] = ",".join(map(str, self.weights)) if isinstance(self.weights, list) else self.weights or "1,1,1,1"
        flags = (["--decay-all"] if self.all else []) + (["--nesterov" if self.numbers["nesterov"] else "--no-nesterov"] if self.optimiser == "sgd" else [])
        return [str(v) for pair in o.items() for v in pair] + flags

    def value(self, net, x, y, other, share, weights):
        if self.loss == "input":
            return torch.nn.functional.mse_loss(net(x), x.flatten(1))
        if self.loss == "mse":
            return torch.nn.functional.mse_loss(net(x), share[:, None] * y + (1 - share[:, None]) * other)
        z = net(x)
        ce = lambda t: torch.nn.functional.cross_entropy(z, t, weight=weights, label_smoothing=self.smoothing, reduction="none")  # noqa: E731
        whole = weights if weights is not None else torch.ones(CLASSES).double()
        return (share * ce(y) + (1 - share) * ce(other)).sum() / (share * whole[y] + (1 - share) * whole[other]).sum()

    def torch(self, net, draws, x, y, losses):
        """All tensors after the last update, and their average; by PyTorch."""
        self.rates.losses = losses
        rates = self.rates.torch()
        named = dict(net.named_parameters())
        split = [[p for p in named.values() if p.ndim > 1], [p for p in named.values() if p.ndim == 1]]
        groups = [{"params": p, "weight_decay": d} for p, d in zip(split, (self.decay, self.decay if self.all else 0)) if p]
        optimiser = OPTIMISERS[self.optimiser][0](groups, lr=1, **self.numbers)
        weights = None
        if self.weights == "balanced":
            weights = self.rows / (CLASSES * torch.bincount(y, minlength=CLASSES).double())
        elif self.weights:
            weights = torch.tensor(self.weights).double()
        net.train()
        average, update = None, 0
        optimiser.zero_grad()
        for epoch in range(self.epochs):
            order, held = draws.order(self.rows, self.seed, epoch), 0
            for i in range(0, self.rows, self.batch):
                rows = order[i:i + self.batch]
                partner, share = rows, np.ones(len(rows))
                if self.mixup:
                    partner, share = zip(*[draws.mix("mixup(%g)" % self.mixup, self.rows, self.seed, epoch, k) for k in rows])
                share, partner = torch.tensor(share).double(), list(partner)
                each = share.reshape(-1, 1, 1, 1)
                self.value(net, each * x[rows] + (1 - each) * x[partner], y[rows], y[partner], share, weights).backward()
                held += 1
                if held < self.every and i + self.batch < self.rows:
                    continue
                for p in named.values():
                    p.grad /= held
                if self.clip:
                    torch.nn.utils.clip_grad_norm_(named.values(), self.clip)
                for group in optimiser.param_groups:
                    group["lr"] = rates[update]
                optimiser.step()
                optimiser.zero_grad()
                update, held = update + 1, 0
                now = {k: v.detach().numpy().copy() for k, v in net.state_dict().items() if not k.endswith("tracked")}
                average = now if average is None else {k: self.ema * average[k] + (1 - self.ema) * now[k] for k in now}
        if update != len(rates):
            raise Failed(f"{update} updates, and {len(rates)} rates")
        return now, average if self.ema else {}


def one(convoy, draws, seed, folder):
    """A network and its trainings: a line and whether all is well for each."""
    rng, numbers = random.Random(f"training {seed}"), np.random.default_rng(seed)
    optimiser, loss = sorted(OPTIMISERS)[seed % 3], ["cross_entropy", "cross_entropy", "mse", "input"][seed % 4]
    rows, spec, data = rng.randint(20, 50), os.path.join(folder, "net.yaml"), os.path.join(folder, "set.safetensors")
    with open(spec, "w") as f:
        f.write(network(rng, optimiser, loss))
    x, v = (numbers.integers(0, 256, (n, *SHAPE)).astype(np.uint8) for n in (rows, 9))
    made = lambda n: numbers.permutation(np.arange(n) % CLASSES) if loss == "cross_entropy" else numbers.normal(0, 1, n).astype(np.float32)  # noqa: E731
    y, w = made(rows), made(9)
    np.savez(os.path.join(folder, "a.npz"), x_train=x, y_train=y, x_val=v, y_val=w, x_test=v, y_test=w)
    run(convoy, "data", os.path.join(folder, "a.npz"), "-o", data, "-q")
    options = Options()
    options.convoy = convoy
    program = Program(options, Case("training", spec), folder)
    first = os.path.join(folder, "first.safetensors")
    run(program.path, "train", "--data", data, "--epochs", 1, "--lr", 0, "--weight-decay", 0, "--save", first, "--no-eval", "--quiet")
    begin = st_read(first)[0]
    source = run(convoy, "twin", spec)
    for k in range(TRAININGS):
        t = Training(rng, rows, optimiser, loss, seed * TRAININGS + k)
        state, log = os.path.join(folder, f"w{k}.state.safetensors"), os.path.join(folder, f"log{k}")
        words = [program.path, "train", "--data", data, "--init-from", first, "--save", os.path.join(folder, f"w{k}.safetensors"), "--log", log, "--quiet", *t.options()]
        again = {p: a for p, a in begin.items() if p.endswith((".weight", ".bias"))}
        net = load_twin(source, "net").double()
        net.load_state_dict({p: torch.tensor(again[p]) if p in again else a for p, a in net.state_dict().items()})
        start = os.path.join(folder, "start.safetensors")
        write_start(start, begin)
        words[words.index(first)] = start
        run(*words)
        with open(log) as f:
            losses = [json.loads(line).get("valid_loss") for line in f if '"epoch",' in line]
        target = torch.tensor(y.astype(np.int64) if loss == "cross_entropy" else y.astype(np.float64)[:, None])
        now, average = t.torch(net, draws, torch.tensor((x / 255.0 - 0.5) / 0.25), target, losses)
        got = {p: a.astype(np.float64) for p, a in st_read(state)[0].items()}
        far = {p: np.abs(got[p] - a).max() / max(np.abs(a).max(), 1e-30) for p, a in [*now.items(), *((f"ema.{p}", a) for p, a in average.items())]}
        moved = max(np.abs(now[p] - again[p]).max() / np.abs(again[p]).max() for p in again if np.abs(again[p]).max() > 0)
        worst = max(far, key=far.get)
        good = far[worst] < 1e-4 and moved > 1e-3
        yield good, f"{seed}.{k} {optimiser}, {loss}, {t.schedule}: {len(far)} tensors, {worst} off by {far[worst]:.1e}; moved by {moved:.2g}" + ("" if good else "\n  " + " ".join(t.options()))


def write_start(path, begin):
    """The first weights, with statistics that no batch has moved."""
    fresh = {k: v.copy() for k, v in begin.items()}
    for k, v in fresh.items():
        if not k.endswith((".weight", ".bias")):
            v[...] = k.endswith("running_var")
    st_write(path, fresh)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--convoy", required=True)
    p.add_argument("--count", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="convoy-random-") as work:
        draws = Draws(work)
        for seed in range(a.seed, a.seed + a.count):
            folder = os.path.join(work, str(seed))
            os.mkdir(folder)
            before = failed
            try:
                for good, words in one(os.path.abspath(a.convoy), draws, seed, folder):
                    print("ok     " if good else "FAILED ", words, flush=True)
                    passed, failed = passed + good, failed + (not good)
            except (Failed, OSError, ValueError, KeyError, RuntimeError) as e:
                failed += 1
                print(f"FAILED  {seed}: {type(e).__name__}: {e}")
            if failed > before:
                print(f"  repeat: torch_random.py --convoy {a.convoy} --count 1 --seed {seed}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
