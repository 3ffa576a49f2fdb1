"""convoy beside networks written out here by hand, so that the twin is not trusted on its own word.

The demo's network (specs/fashion.yaml) in both orders, as formulas: batch norm, its running statistics, the loss and
SGD are spelled out, and of PyTorch only conv2d, elementwise arithmetic and autograd are used."""
import argparse
import os
import sys

from torch_common import HERE, Case, Jitter, Outcome, Program, common_options, compare, is_trained, run_cases

import numpy as np
import torch
from torch.nn.functional import conv2d

DEMO = os.path.join(os.path.dirname(HERE), "specs", "fashion.yaml")
CONVS = ((1, 16, 1), (16, 32, 2), (32, 64, 2), (64, 128, 2))  # in, out, stride of conv1 to conv4


class ByHand:
    def __init__(self, order):
        self.order, self.dtype, self.jitter = order, torch.float64, lambda x: x
        self.shapes, self.stages, self.kinks, self.drops = {}, [], [], {}
        for i, (cin, cout, _) in enumerate(CONVS, 1):
            self.shapes[f"conv{i}.conv.weight"] = (cout, cin, 3, 3)
            if order == "conv-relu-bn":  # right before the norm, the norm would take the bias out again
                self.shapes[f"conv{i}.conv.bias"] = (cout,)
            for name in ("weight", "bias", "running_mean", "running_var"):
                self.shapes[f"conv{i}.bn.{name}"] = (cout,)
            self.shapes[f"conv{i}.bn.num_batches_tracked"] = ()
            self.stages += [f"conv{i}.{'act' if stage == 'relu' else stage}" for stage in order.split("-")]
            self.kinks.append((f"conv{i}.act", torch.nn.ReLU()))
        self.stages += ["global_avg_pool1", "linear1.linear"]
        self.shapes["linear1.linear.weight"], self.shapes["linear1.linear.bias"] = (10, 128), (10,)

    def rough(self, attempt):
        """The same, with rounding: attempt 0 in float32, the others in float64 with jitter."""
        other = ByHand(self.order)
        if attempt == 0:
            other.dtype = torch.float32
        else:
            other.jitter = Jitter(attempt)
        return other

    def norm(self, p, after, path, x, training):
        """Normalises with the biased variance of the batch; stores the unbiased one; 0.1 is the new batch's weight."""
        if not training:
            mean, var = p[path + ".running_mean"], p[path + ".running_var"]
        else:
            n = x.numel() // x.shape[1]
            mean = x.sum((0, 2, 3)) / n
            var = ((x - mean[:, None, None]) ** 2).sum((0, 2, 3)) / n
            after[path + ".running_mean"] = (0.9 * p[path + ".running_mean"] + 0.1 * mean).detach().numpy()
            after[path + ".running_var"] = (0.9 * p[path + ".running_var"] + 0.1 * var * n / (n - 1)).detach().numpy()
        xhat = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5) ** 0.5
        return xhat * p[path + ".weight"][:, None, None] + p[path + ".bias"][:, None, None]

    def forward(self, p, x, training):
        acts, after = {}, {}
        for i, (_, _, stride) in enumerate(CONVS, 1):
            for stage in self.order.split("-"):
                if stage == "conv":
                    x = conv2d(x, p[f"conv{i}.conv.weight"], p.get(f"conv{i}.conv.bias"), stride=stride, padding=1)
                elif stage == "bn":
                    x = self.norm(p, after, f"conv{i}.bn", x, training)
                else:
                    x = x * (x > 0)
                acts[f"conv{i}.{'act' if stage == 'relu' else stage}"] = x = self.jitter(x)
        acts["global_avg_pool1"] = x = x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])
        x = x[:, :, 0, 0] @ p["linear1.linear.weight"].T + p["linear1.linear.bias"]
        acts["linear1.linear"] = x
        return x, {k: v.detach().numpy() for k, v in acts.items()}, after

    def tensors(self, state):
        if {k: v.shape for k, v in state.items()} != self.shapes:
            raise ValueError(f"names or shapes differ: {sorted(set(state) ^ set(self.shapes))}")
        return {k: torch.tensor(v, dtype=self.dtype, requires_grad=is_trained(k)) for k, v in state.items()}

    def step(self, state, momentum, x, labels, masks, hyper):
        p = self.tensors(state)
        logits, acts, stats = self.forward(p, torch.tensor(x, dtype=self.dtype), True)
        top = logits.max(1, keepdim=True).values.detach()
        total = torch.log(torch.exp(logits - top).sum(1)) + top[:, 0]
        loss = (total - logits[torch.arange(len(labels)), torch.tensor(labels)]).sum() / len(labels)
        loss.backward()
        grads = {k: v.grad.numpy() for k, v in p.items() if v.requires_grad}
        params, buffers = {}, {}
        for k, g in grads.items():
            w = np.asarray(state[k], np.float64)
            g = g + (hyper.decay * w if w.ndim > 1 else 0)
            buffers[k] = hyper.momentum * np.asarray(momentum[k], np.float64) + g
            params[k] = w - hyper.lr * (g + hyper.momentum * buffers[k] if hyper.nesterov else buffers[k])
        counts = {k: state[k] + np.int64(1) for k in state if k.endswith("num_batches_tracked")}
        return Outcome(loss.item(), acts, grads, params, buffers, stats, counts)

    def infer(self, state, x):
        return self.forward(self.tensors(state), torch.tensor(x, dtype=self.dtype), False)[0].detach().numpy()


def one(args, case, folder, report):
    program = Program(args, case, folder)
    compare(report, program, ByHand(case.label), (1, 28, 28), 10, args.seed, args.steps)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_options(p)
    args = p.parse_args()
    return run_cases(args, [Case(o, DEMO, [f"order={o}", "act=relu"]) for o in ("conv-bn-relu", "conv-relu-bn")], one)


if __name__ == "__main__":
    sys.exit(main())
