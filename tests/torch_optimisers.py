"""Every optimiser of a spec beside torch.optim's, and the loss with its options: fifty steps of training from the same weights on the same batches.

    torch_optimisers.py --convoy build/gen/convoy [WORD...]      only the cases whose name holds a WORD

The network trains as a library, for portable and, in some cases, for reading; PyTorch trains the twin in double precision. Compared are all parameters and all
that the optimiser keeps (cvy_net.state), each tensor within 1e-4 of its largest number. The cases' weights have gradients well above rounding:
Adam divides by the gradient's size, so that it makes as much of noise as of anything."""
import os
import sys

import quick
from torch_common import load_twin, run, run_named

import numpy as np
import torch

STEPS, BATCH, BATCHES, FLOATS = 50, 12, 5, 2 * 6 * 6
SPEC = """\
name: net
input: [2, 6, 6]
classes: 3
layers:
  - conv: {out: 5, order: conv-tanh-bn, bias: true}
  - conv: {out: 18, stride: 2, order: conv-bn-silu}
  - flatten
  - linear: classes
"""
CASES = {  # keys of train; torch.optim's class and arguments, but for weight_decay
    "sgd": ("optimizer: sgd, lr: 0.05, weight_decay: 0.01", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "sgd, plain": ("lr: 0.1, momentum: 0", torch.optim.SGD, {"lr": 0.1, "momentum": 1e-12}),  # so that PyTorch keeps a buffer
    "sgd, nesterov": ("lr: 0.05, momentum: 0.8, nesterov: true, decay: all", torch.optim.SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "adam": ("optimizer: adam", torch.optim.Adam, {}),
    "adam, all": ("optimizer: adam, lr: 0.003, beta1: 0.8, beta2: 0.95, eps: 1e-3, weight_decay: 0.05, decay: all", torch.optim.Adam,
                  {"lr": 0.003, "betas": (0.8, 0.95), "eps": 1e-3}),
    "adamw": ("optimizer: adamw", torch.optim.AdamW, {}),
    "adamw, all": ("optimizer: adamw, lr: 0.003, beta1: 0.5, beta2: 0.9, eps: 1e-2, weight_decay: 0.3, decay: all", torch.optim.AdamW,
                   {"lr": 0.003, "betas": (0.5, 0.9), "eps": 1e-2}),
    "loss, smoothing": ("lr: 0.05, label_smoothing: 0.1", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "loss, weights": ("lr: 0.05, class_weights: [0.5, 3, 1]", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "loss, mixed": ("lr: 0.05, label_smoothing: 0.2", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "loss, both": ("lr: 0.05, label_smoothing: 0.3, class_weights: [0.25, 1, 0]", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
}
LOSSES = {"loss, mixed": {"label_smoothing": 0.2, "mixed": True}, "loss, smoothing": {"label_smoothing": 0.1}, "loss, weights": {"weight": [0.5, 3, 1]}, "loss, both": {"label_smoothing": 0.3, "weight": [0.25, 1, 0]}}
USUAL_DECAY = {torch.optim.SGD: 5e-4, torch.optim.Adam: 0, torch.optim.AdamW: 1e-2}  # a spec's; of the latter two PyTorch's, too
BUFFERS = {torch.optim.SGD: ["momentum_buffer"], torch.optim.Adam: ["exp_avg", "exp_avg_sq"], torch.optim.AdamW: ["exp_avg", "exp_avg_sq"]}
# Writes every tensor, trains on what comes in, writes them again, then the buffers of those that are trained.
DRIVER = """\
#include "net_layout.h"
#include "runtime/cvy_weights.h"
#include <stdio.h>
#include <stdlib.h>
static int put(struct net *net)
{
    for (int i = 0; i < net_model.ntensor; i++) {
        float *v = calloc(net_count(i), sizeof *v);
        if (!v || net_get(net, i, v) || fwrite(v, sizeof *v, net_count(i), stdout) != net_count(i))
            return 0;
        free(v);
    }
    return 1;
}
int main(void)
{
    enum { STEPS = %d, BATCH = %d, BATCHES = %d, FLOATS = %d };
    static float x[BATCHES][BATCH][FLOATS];
    static int labels[BATCHES][BATCH];
    const size_t bytes = net_arena_bytes(BATCH, 1);
    struct net *net = net_init(aligned_alloc(64, bytes), bytes, BATCH, 1);
    if (!net || fread(x, sizeof x, 1, stdin) != 1 || fread(labels, sizeof labels, 1, stdin) != 1 || net_draw(net, 3) || !put(net))
        return 2;
    struct cvy_step step = net_step;
    double loss = 0;
    for (int i = 0; i < STEPS; i++) {
        const struct cvy_batch batch = {x[i %% BATCHES], labels[i %% BATCHES], NULL, BATCH};
        step.step = (uint64_t)i;
#if defined MIXED
        static int other[BATCH];
        static float share[BATCH];
        for (int k = 0; k < BATCH; k++) {
            other[k] = labels[i %% BATCHES][BATCH - 1 - k];
            share[k] = (float)(k + 1) / (BATCH + 1);
        }
        step.other = other;
        step.share = share;
#endif
        loss = net_train_step(net, &batch, &step, NULL);
        if (!(loss > 0))
            return 3;
    }
    if (!put(net))
        return 4;
    for (int k = 0; k < cvy_buffers(net_model.train.optimiser); k++)
        for (int i = 0; i < net_model.ntensor; i++)
            if (cvy_is_param(&net_model.tensor[i])) {
                float *v = calloc(net_count(i), sizeof *v);
                if (!v)
                    return 5;
                cvy_gather(net->net.state + k * net->net.floats, &net_model.tensor[i].at, v);
                fwrite(v, sizeof *v, net_count(i), stdout);
                free(v);
            }
    fwrite(&loss, sizeof loss, 1, stdout);
    return 0;
}
""" % (STEPS, BATCH, BATCHES, FLOATS)


def arrays(data, shapes):
    made, at = {}, 0
    for name, shape in shapes:
        n = int(np.prod(shape)) if shape else 1
        made[name] = np.frombuffer(data, "<f4", n, 4 * at).reshape(shape).astype(np.float64)
        at += n
    return made, data[4 * at:]


def trained(convoy, spec, form, folder, x, labels, *define):
    """The program's standard output."""
    import subprocess
    out = os.path.join(folder, "net")
    run(convoy, "gen", spec, "-o", out, *form)
    driver = os.path.join(out, "driver.c")
    with open(driver, "w") as f:
        f.write(DRIVER)
    run("make", "-s", "-C", out, *quick.MAKE, "libnet.a")
    run("cc", "-std=c11", "-O0", *define, "-I", out, "-o", driver[:-2], driver, os.path.join(out, "libnet.a"), "-lm")
    return subprocess.run([driver[:-2]], input=x.astype("<f4").tobytes() + labels.astype("<i4").tobytes(), stdout=subprocess.PIPE, check=True).stdout


def reference(module, which, arguments, decay, decay_all, x, labels, loss):
    """Trains; returns the optimiser and the last loss."""
    loss = dict(loss, **({"weight": torch.tensor(loss["weight"], dtype=torch.float64)} if "weight" in loss else {}))
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    optimiser = which([{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": decay if decay_all else 0}], **arguments)
    module.train()
    mixed = loss.pop("mixed", False)
    for i in range(STEPS):
        optimiser.zero_grad()
        wanted = torch.tensor(labels[i % BATCHES])
        if mixed:  # what other and share mean, as probabilities
            share = (torch.arange(1, BATCH + 1).double() / (BATCH + 1))[:, None]
            classes = module(torch.tensor(x[:1].reshape(-1, 2, 6, 6)[:BATCH])).shape[1]
            hot = torch.nn.functional.one_hot(wanted, classes).double()
            wanted = share * hot + (1 - share) * hot.flip(0)
        value = torch.nn.functional.cross_entropy(module(torch.tensor(x[i % BATCHES].reshape(BATCH, 2, 6, 6))), wanted, **loss)
        value.backward()
        optimiser.step()
    return optimiser, value.item()


def case(convoy, name, form, work):
    keys, which, arguments = CASES[name]
    folder = os.path.join(work, f"{name}_{form[-1]}".replace(", ", "_"))
    os.mkdir(folder)
    spec = os.path.join(folder, "net.yaml")
    with open(spec, "w") as f:
        f.write(SPEC + f"train: {{batch: {BATCH}, {keys}}}\n")
    rng = np.random.default_rng(5)
    x, labels = rng.standard_normal((BATCHES, BATCH, FLOATS)).astype(np.float32), rng.integers(0, 3, (BATCHES, BATCH))
    data = trained(convoy, spec, form, folder, x, labels, *(["-DMIXED"] if "mixed" in name else []))
    module = load_twin(run(convoy, "twin", spec), "net").double()
    shapes = [(k, tuple(v.shape)) for k, v in module.state_dict().items()]
    before, data = arrays(data, shapes)
    after, data = arrays(data, shapes)
    module.load_state_dict({k: torch.tensor(v) for k, v in before.items()})
    decay = float(keys.split("weight_decay: ")[1].split(",")[0]) if "weight_decay" in keys else USUAL_DECAY[which]
    optimiser, loss = reference(module, which, arguments, decay, "decay: all" in keys, x.astype(np.float64), labels, LOSSES.get(name, {}))
    got, wanted = {}, {}
    named = dict(module.named_parameters())
    for buffer in BUFFERS[which]:
        kept, data = arrays(data, [(f"{buffer}.{k}", s) for k, s in shapes if k in named])
        got.update(kept)
        wanted.update({f"{buffer}.{k}": optimiser.state[p][buffer].numpy() for k, p in named.items()})
    last, data = np.frombuffer(data, "<f8", 1)[0], data[8:]
    assert not data, "more numbers than there should be"
    got.update({k: after[k] for k in named})
    wanted.update({k: p.detach().numpy() for k, p in named.items()})
    far = {k: np.abs(got[k] - wanted[k]).max() / np.abs(wanted[k]).max() for k in wanted}
    moved = max(np.abs(after[k] - before[k]).max() / np.abs(before[k]).max() for k in named if np.abs(before[k]).max() > 0)
    far["loss"] = abs(last - loss) / abs(loss)
    worst = max(far, key=far.get)
    return far[worst] < 1e-4 and moved > 0.01, f"{name} ({' '.join(form)}): {worst} is off by {far[worst]:.1e} of its largest; weights moved by {moved:.2f}"


def forms(name):
    return (["--target", "portable"], ["--for", "reading"])[:2 if ", " in name else 1]


if __name__ == "__main__":
    sys.exit(run_named(__doc__, "convoy-optimisers-", CASES, forms, case))
