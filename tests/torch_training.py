"""What `NAME train` does around the optimiser beside PyTorch: clipping, sums of gradients over batches, the moving average of weights.

    torch_training.py --convoy build/gen/convoy [WORD...]      only the cases whose name holds a WORD

A program trains for fifty updates. An update sees all images, in one batch or as the sum over the batches of an epoch, so that their order makes no difference. PyTorch trains the twin in
double precision from the same first weights; compared are the saved weights (the average, where there is one), and the training's own in the state, each tensor within 1e-4 of its largest number."""
import json
import os
import re
import struct
import sys

import quick
from torch_common import load_twin, run, run_named

import numpy as np
import torch

IMAGES, UPDATES = 48, 50
SPEC = """\
name: net
input: [1, 8, 8]
classes: 3
layers:
  - conv: {out: 5, order: conv-%stanh, bias: true}
  - conv: {out: 6, stride: 2, order: conv-tanh, bias: true}
  - flatten
  - linear: classes
train: {batch: %d, epochs: %d, schedule: constant, valid: 0, %s}
"""
SGD, ADAM = "optimizer: sgd, lr: 0.05, weight_decay: 0.01", "optimizer: adam, lr: 0.01, eps: 1e-3"
CASES = {  # batch, keys of train, a batch norm
    "clip": (48, SGD + ", clip: 0.05", True),
    "clip that does nothing": (48, SGD + ", clip: 1000", True),
    "accumulate": (12, SGD + ", accumulate: 4", False),
    "accumulate, adam": (16, ADAM + ", accumulate: 3", False),
    "ema": (48, SGD + ", ema: 0.9", True),
    "freeze": (48, SGD + ", clip: 0.5, ema: 0.9, freeze: [conv1]", True),
    "freeze the middle": (48, ADAM + ", freeze: [conv2]", True),
    "balanced": (48, SGD + ", class_weights: balanced, label_smoothing: 0.1", True),
    "mse": (48, SGD + ", loss: mse", True),
    "mse, sums and adam": (12, ADAM + ", loss: mse, accumulate: 4, ema: 0.8, clip: 0.1", False),
    "mse of the input": (48, ADAM + ", loss: mse, target: input", True),
    "all": (12, ADAM + ", clip: 0.1, accumulate: 4, ema: 0.8, label_smoothing: 0.1", False),
}


def key(keys, name, usual=0.0):
    return float(keys.split(name + ": ")[1].split(",")[0]) if name + ":" in keys else usual


def tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    return {k: np.frombuffer(data[8 + n:], "<f4" if v["dtype"] == "F32" else "<i8", int(np.prod(v["shape"])), v["data_offsets"][0]).reshape(v["shape"]).astype(np.float64)
            for k, v in json.loads(data[8:8 + n]).items() if k != "__metadata__"}


def idx(path, a):
    with open(path, "wb") as f:
        f.write(bytes([0, 0, 8, a.ndim]) + np.array(a.shape, ">u4").tobytes() + a.astype(np.uint8).tobytes())


def regression(spec, keys):
    if "mse" not in keys:
        return spec
    return spec.replace("classes: 3", "outputs: %d" % (64 if "input" in keys else 1)).replace("linear: classes", "linear: outputs")


def everything(folder):
    text = ""
    for name in sorted(os.listdir(folder)):
        if name.endswith((".c", ".h")):
            with open(os.path.join(folder, name)) as f:
                text += f.read()
    return text


def case(convoy, name, form, work):
    batch, keys, norm = CASES[name]
    folder = os.path.join(work, f"{name}_{form[-1]}".replace(", ", "_").replace(" ", "_"))
    os.mkdir(folder)
    rng = np.random.default_rng(3)
    x, labels = rng.integers(0, 256, (IMAGES, 8, 8)), rng.integers(0, 3, IMAGES)
    for split in ("train", "t10k"):
        idx(f"{folder}/{split}-images-idx3-ubyte", x)
        idx(f"{folder}/{split}-labels-idx1-ubyte", labels)
    spec = os.path.join(folder, "net.yaml")
    with open(spec, "w") as f:
        f.write(regression(SPEC, keys) % ("bn-" if norm else "", batch, UPDATES, keys))
    data, wanted = folder, torch.tensor(labels)
    rare = IMAGES / (3 * torch.bincount(wanted, minlength=3).double())  # as scikit-learn has it
    if "mse" in keys:
        values = rng.normal(0, 1, (IMAGES, 1)).astype(np.float32)
        wanted = torch.tensor(values.astype(np.float64))
        if "input" not in keys:
            data = os.path.join(folder, "set.safetensors")
            np.savez(os.path.join(folder, "a.npz"), x_train=x.astype(np.uint8)[:, None], y_train=values[:, 0], x_test=x.astype(np.uint8)[:, None], y_test=values[:, 0])
            run(convoy, "data", os.path.join(folder, "a.npz"), "--split", "100/0/0", "-o", data)
    out = os.path.join(folder, "net")
    run(convoy, "gen", spec, "-o", out, *form)
    run("make", "-s", "-j2", "-C", out, *quick.MAKE)
    program = os.path.join(out, "net")
    first, w = os.path.join(folder, "first.safetensors"), os.path.join(folder, "w.safetensors")
    run(program, "train", "--data", data, "--epochs", "1", "--lr", "0", "--weight-decay", "0", "--save", first, "--no-eval")
    run(program, "train", "--data", data, "--save", w, "--no-eval", "--log", os.path.join(folder, "log"))
    module = load_twin(run(convoy, "twin", spec), "net").double()
    begin = tensors(first)
    named = dict(module.named_parameters())
    learns = {k: p for k, p in named.items() if p.requires_grad}
    module.load_state_dict({k: torch.tensor(begin[k]) if k in named else v for k, v in module.state_dict().items()})
    weights, others = [p for p in learns.values() if p.ndim > 1], [p for p in learns.values() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": key(keys, "weight_decay")}, {"params": others, "weight_decay": 0}]
    if "adam" in keys:
        optimiser = torch.optim.Adam(groups, lr=key(keys, "lr"), eps=key(keys, "eps"))
    else:
        optimiser = torch.optim.SGD(groups, lr=key(keys, "lr"), momentum=0.9)
    decay = key(keys, "ema")
    average = torch.optim.swa_utils.AveragedModel(module, avg_fn=lambda e, p, n: decay * e + (1 - decay) * p) if decay else None
    images = torch.tensor((x[:, None] / 255.0 - 0.5) / 0.25)
    module.train()
    norms = []
    for _ in range(UPDATES):
        optimiser.zero_grad()
        if "mse" in keys:
            loss = torch.nn.functional.mse_loss(module(images), images.flatten(1) if "input" in keys else wanted)
        else:
            loss = torch.nn.functional.cross_entropy(module(images), wanted, label_smoothing=key(keys, "label_smoothing"), weight=rare if "balanced" in keys else None)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(learns.values(), key(keys, "clip", 1e9)).item())
        optimiser.step()
        if average:
            average.update_parameters(module)
    got, own = tensors(w), tensors(w.replace(".safetensors", ".state.safetensors"))
    far = {}
    for k, p in learns.items():
        wanted = {f"{k} in the state": (own[k], p.detach().numpy()), k: (got[k], dict((average.module if average else module).named_parameters())[k].detach().numpy())}
        far.update({word: np.abs(a - b).max() / np.abs(b).max() for word, (a, b) in wanted.items()})
    with open(os.path.join(folder, "log")) as f:
        logged = [json.loads(line)["gradient_norm"] for line in f if '"epoch",' in line]
    far["gradient_norm"] = max(abs(a - b) / b for a, b in zip(logged, norms)) if len(logged) == UPDATES else 1
    moved = max(np.abs(own[k] - begin[k]).max() / np.abs(begin[k]).max() for k in learns if np.abs(begin[k]).max() > 0)
    worst = max(far, key=far.get)
    differs = not average or any(np.abs(got[k] - own[k]).max() > 1e-3 * np.abs(own[k]).max() for k in learns)
    # what is frozen: the same bits, statistics with them, nothing kept, no backward function beyond what learns
    frozen = [k for k in begin if k.rsplit(".", 1)[0] in {n.rsplit(".", 1)[0] for n in named if n not in learns}]
    stays = all((a[k] == begin[k]).all() for k in frozen for a in (got, own)) and not any(k.endswith(n) and k != n for k in own for n in frozen if "ema." not in k)
    none = "freeze: [conv1]" not in keys or form[-1] == "reading" or not re.search(r"\bnet_conv1_backward\b", everything(out))
    return far[worst] < 1e-4 and moved > 0.01 and differs and stays and none and bool(frozen) == ("freeze" in keys), f"{name} ({' '.join(form)}): {worst} is off by {far[worst]:.1e} of its largest; weights moved by {moved:.2f}" + ("" if stays and none else "; what is frozen changed, or has a backward")


def forms(name):
    return (["--target", "portable"], ["--for", "reading"])[:2 if name in ("all", "clip", "freeze the middle") else 1]


if __name__ == "__main__":
    sys.exit(run_named(__doc__, "convoy-training-", CASES, forms, case))
