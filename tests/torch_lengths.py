"""A length a sample beside the PyTorch twin: ten steps with lengths that are drawn and NaN behind them, then inference.

    torch_lengths.py --convoy build/gen/convoy

The networks are those of test_lengths.py and one with dropout between its layers, whose masks are the trace's. Loss, gradients, weights, momentum and running statistics after each step agree to
1e-4 of the largest number. Without `length` the twin takes all steps."""
import argparse
import sys

from torch_common import Case, Hyper, Program, TwinReference, common_options, is_trained, largest, load_twin, random_state, run, run_cases

import numpy as np
import torch

from test_lengths import NETWORKS, T, write

LIMIT = 1e-4
OWN = {"dropped": ("tokens: 9", ["- embed: 12", "- lstm: {hidden: 10, return: all}", "- drop(0.4)", "- gru: {hidden: 14, return: all, norm: {recurrent: ln}}", "- tanh",
                                 "- rnn: {hidden: 11, return: max}", "- drop(0.2)"])}


def one(args, case, folder, report):
    of, layers = {**NETWORKS, **OWN}[case.label]
    case.spec = write(folder, case.label, of, T, layers, True)
    source = run(args.convoy, "twin", case.spec)
    ref = TwinReference(load_twin(source, case.label), source)
    program, net = Program(args, case, folder), ref.net
    rng = np.random.default_rng(args.seed)
    kind, count = of.split(": ")
    count = int(count)

    def draw(n):
        x = rng.integers(0, count, (n, 1, T)).astype(np.float32) if kind == "tokens" else rng.normal(0, 1, (n, count, T)).astype(np.float32)
        length = rng.integers(1, T + 1, n)
        x[np.broadcast_to(np.arange(T) >= length[:, None, None], x.shape)] = np.nan
        return x, length

    def close(what, got, want, scale):
        off = float(np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64)).max()) / max(scale, 1e-3)
        report.worst = max(report.worst, off / LIMIT)
        if not off < LIMIT:
            report.wrong.append(f"{what}: off by {off:.3g} of the largest number")

    def load(state):
        net.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
        net.double()

    state, hyper = random_state(ref.shapes, rng), Hyper(0.1, 0.9, False, 1e-3)
    momentum = {k: np.zeros(p.shape, np.float32) for k, p in net.named_parameters()}
    for step in range(args.steps):
        (x, length), labels = draw(int(rng.integers(2, 9))), None
        labels = rng.integers(0, 3, len(x))
        trace = program.trace(state, momentum, x, labels, hyper, step, length)
        load(state)
        net.train()
        ref.masks = {k[5:]: torch.tensor(np.asarray(v, np.float64)) for k, v in trace.items() if k.startswith("mask.")}
        net.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(torch.tensor(x, dtype=torch.float64), torch.tensor(length)), torch.tensor(labels))
        loss.backward()
        close(f"step {step}: loss", trace["loss"], loss.item(), abs(loss.item()))
        grads = {k: p.grad.numpy() for k, p in net.named_parameters()}
        for k, g in grads.items():
            close(f"step {step}: grad.{k}", trace["grad." + k], g, largest(grads))
            moved = hyper.momentum * momentum[k] + g + (hyper.decay if g.ndim > 1 else 0) * state[k]
            close(f"step {step}: after.{k}", trace["after." + k], state[k] - hyper.lr * moved, float(np.abs(state[k]).max()))
        for k, v in net.state_dict().items():
            if not is_trained(k):
                close(f"step {step}: after.{k}", trace["after." + k], v.numpy(), float(v.abs().max()))
        state = {k: trace["after." + k] for k in ref.shapes}
        momentum = {k: trace["after.momentum." + k] for k in grads}
        report.steps += 1
    load(state)
    net.eval()
    ref.masks = {}
    x = np.nan_to_num(draw(5)[0])
    with torch.no_grad():
        want = net(torch.tensor(x, dtype=torch.float64)).numpy()
    close("inference of all steps", program.predict(state, x), want, float(np.abs(want).max()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_options(parser)
    args = parser.parse_args()
    return run_cases(args, [Case(name, None) for name in [*NETWORKS, *OWN]], one)


if __name__ == "__main__":
    sys.exit(main())
