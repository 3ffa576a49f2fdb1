#!/usr/bin/env python3
"""What convoy keeps of an image for backward beside what PyTorch's autograd keeps of the same network (its twin): every storage once,
parameters, buffers, the input and the logits left out. Fails where a network keeps more than its bound.

    tests/torch_saved.py --convoy build/gen/convoy
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

try:
    import torch
except ImportError:
    print("skipped: PyTorch is missing (Debian's python3-torch)")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

SPECS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "specs")
BOUNDS = {  # channels are multiples of 16: no padding is counted
    "fashion": 0.52, "vgg": 0.52, "mobilenet": 0.52,
    "he_full": 0.55, "preact20": 0.55,
    "he_original": 0.78, "he_norm_after_sum": 0.78, "resnet20": 0.78,
}


def saved(net, shape, batch):
    """Bytes that autograd saves in a forward pass."""
    known = {t.data_ptr() for t in list(net.parameters()) + list(net.buffers())}
    x = torch.randn(batch, *shape)
    bytes_of = {}

    def pack(t):
        bytes_of[t.storage().data_ptr()] = t.storage().nbytes() if hasattr(t.storage(), "nbytes") else t.storage().size() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = net(x)
        torch.nn.functional.cross_entropy(y, torch.zeros(batch, dtype=torch.long))
    for t in [x, y]:
        bytes_of.pop(t.storage().data_ptr(), None)
    # constants a channel (a norm's mean and deviation) and what the loss keeps are no activations
    return sum(b for p, b in bytes_of.items() if p not in known and b >= 64 * batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--convoy", required=True)
    args = parser.parse_args()
    failed = 0
    print(f"{'network':<20} {'convoy, bytes':>14} {'autograd':>12} {'ratio':>7} {'at most':>8}")
    for name, bound in BOUNDS.items():
        spec = os.path.join(SPECS, name + ".yaml")
        text = open(spec).read()
        shape = [int(v) for v in re.search(r"input: \[(.*)\]", text).group(1).split(",")]
        with tempfile.TemporaryDirectory() as folder:
            twin = os.path.join(folder, "twin.py")
            subprocess.run([args.convoy, "twin", spec, "-o", twin], check=True, stdout=subprocess.DEVNULL)
            plan = subprocess.run([args.convoy, "plan", spec], check=True, stdout=subprocess.PIPE, text=True).stdout
            scope = {}
            exec(open(twin).read(), scope)
        net = [v for v in scope.values() if isinstance(v, type) and issubclass(v, torch.nn.Module) and v.__module__ != "torch.nn.modules.module"
               and v.__name__.lower() == name.replace("_", "")][0]()
        kept = int(re.search(r"(\d+) bytes per image", plan).group(1))
        batch = 8
        theirs = saved(net.train(), shape, batch) / batch
        ratio = kept / theirs
        failed += ratio > bound
        print(f"{name:<20} {kept:>14} {theirs:>12.0f} {ratio:>7.3f} {bound:>8}{'  TOO MUCH' if ratio > bound else ''}")
    print(f"{len(BOUNDS) - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
