#!/usr/bin/env python3
"""Isn't it a loss of information to normalise after a ReLU? What the activations of trained networks say.

    specs/studies/information.py [--convoy convoy] [--seeds 3] [--epochs 6] [--images 4000] [-o DIR]

Trains specs/fashion.yaml with either order on Fashion-MNIST, then looks at each op of each block, on images that were
trained with and on test images:

    probe   of the features, averaged over the image: a linear classifier by ridge regression, fitted on the first kind
            of images, its accuracy on the second, percent
    rank    the effective rank of the channels (Roy and Vetterli 2007): exp of the entropy of the singular values of
            images' pixels by channels, each channel centred
    dead    channels that are the same number for every image and pixel
    gamma   of a norm: the smallest, as a share of their mean size

Needs Debian's python3-numpy, a C compiler, and what convoy train needs. Prints tables as Markdown."""
import argparse
import gzip
import json
import os
import struct
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ORDERS = ("conv-bn-act", "conv-act-bn")
DATA = "/usr/share/datasets/fashion-mnist"
BLOCKS = 4


def idx(name, n):
    """The first n rows of an IDX file of bytes."""
    path = os.path.join(DATA, name)
    with (gzip.open(path + ".gz") if os.path.exists(path + ".gz") else open(path, "rb")) as f:
        dims = struct.unpack(">HBB", f.read(4))[2]
        shape = struct.unpack(">%dI" % dims, f.read(4 * dims))
        size = int(np.prod(shape[1:], dtype=int))
        return np.frombuffer(f.read(n * size), np.uint8).reshape(n, *shape[1:])


def tensors(path):
    """{name: array}, metadata"""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        head, data = json.loads(f.read(size)), f.read()
    meta = head.pop("__metadata__", {})
    return {k: np.frombuffer(data[slice(*t["data_offsets"])], {"F32": "<f4", "I64": "<i8"}.get(t["dtype"], "u1")).reshape(t["shape"])
            for k, t in head.items() if t["dtype"] in ("F32", "I64")}, meta


def said(command):
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode:
        sys.exit("%s: status %d\n%s" % (" ".join(command), r.returncode, r.stderr))
    return r.stdout


def traced(program, weights, x, y, folder, batch=500):
    """{op: pooled features, [images, channels]}, {op: pixels of the first images, [pixels, channels]}, the network's own answers"""
    pooled, pixels, answers = {}, {}, []
    xs, ys, out = (os.path.join(folder, n) for n in ("x.npy", "y.npy", "trace.safetensors"))
    for at in range(0, len(x), batch):
        np.save(xs, x[at:at + batch])
        np.save(ys, y[at:at + batch].astype("<i8"))
        said([program, "trace", "--weights", weights, "--input", xs, "--labels", ys, "-o", out])
        for name, a in tensors(out)[0].items():
            if name == "act.linear1.linear":
                answers.append(a.reshape(len(a), -1).argmax(1))
            if name.startswith("act.conv"):
                pooled.setdefault(name[4:], []).append(a.mean((2, 3)))
                pixels.setdefault(name[4:], a.transpose(0, 2, 3, 1).reshape(-1, a.shape[1]))
    return {k: np.concatenate(v) for k, v in pooled.items()}, pixels, np.concatenate(answers)


def probe(train, labels, test, truth, ridge=1e-3):
    """The accuracy of a linear classifier: least squares to one-hot labels, features standardised."""
    mean, sd = train.mean(0), train.std(0)
    live = sd > 1e-6
    a, b = ((z[:, live] - mean[live]) / sd[live] for z in (train, test))
    a, b = (np.hstack([z, np.ones((len(z), 1))]).astype(np.float64) for z in (a, b))
    w = np.linalg.solve(a.T @ a + ridge * len(a) * np.eye(a.shape[1]), a.T @ np.eye(10)[labels])
    return 100 * float((b @ w).argmax(1).__eq__(truth).mean())


def rank(pixels):
    centred = pixels.astype(np.float64) - pixels.mean(0, dtype=np.float64)
    s = np.sqrt(np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0))
    p = s[s > 0] / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--convoy", default="convoy")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--images", type=int, default=4000)
    p.add_argument("-o", default="information")
    o = p.parse_args()
    os.makedirs(o.o, exist_ok=True)
    raw = [idx(f + "-images-idx3-ubyte", o.images)[:, None] for f in ("train", "t10k")]
    y = [idx(f + "-labels-idx1-ubyte", o.images) for f in ("train", "t10k")]
    found = {}  # {(order, op): [(probe, rank, dead), ...]}
    gammas, channels, own = {}, {}, {}
    for order in ORDERS:
        folder = os.path.join(o.o, order)
        said([o.convoy, "gen", os.path.join(HERE, "..", "fashion.yaml"), "--set", "order=" + order, "-o", folder])
        said(["make", "-s", "-C", folder, "CFLAGS=-O2"])
        program = os.path.join(folder, "fashion")
        for seed in range(1, o.seeds + 1):
            weights = os.path.join(folder, "seed-%d.safetensors" % seed)
            if not os.path.exists(weights):
                said([program, "train", "--data", DATA, "--epochs", str(o.epochs), "--seed", str(seed), "--save", weights, "--quiet", "--no-eval"])
            learned, meta = tensors(weights)
            mean, sd = (np.reshape(np.float32(json.loads(meta[k])), (1, -1, 1, 1)) for k in ("mean", "std"))
            x = [((a / np.float32(255) - mean) / sd).astype("<f4") for a in raw]
            (train, _, _), (test, pixels, answers) = (traced(program, weights, a, b, folder) for a, b in zip(x, y))
            own.setdefault(order, []).append(100 * float((answers == y[1]).mean()))
            for op in train:
                dead = int((pixels[op].max(0) == pixels[op].min(0)).sum())
                found.setdefault((order, op), []).append((probe(train[op], y[0], test[op], y[1]), rank(pixels[op]), dead))
                channels[op.split(".")[0]] = train[op].shape[1]
            for name, g in learned.items():
                if name.endswith("bn.weight"):
                    gammas.setdefault((order, name.split(".")[0]), []).append(np.abs(g).min() / np.abs(g).mean())
    for order in ORDERS:
        print("\n`%s`, mean of %d seeds; the networks themselves: %.1f %%\n\n| block | channels | op | probe | rank | dead | smallest gamma |\n|---|---|---|---|---|---|---|" % (order, o.seeds, np.mean(own[order])))
        for b in range(1, BLOCKS + 1):
            for op in [op for r, op in found if r == order and op.split(".")[0] == "conv%d" % b]:
                block, kind = op.split(".")
                m = np.mean(found[order, op], 0)
                print("| %s | %d | %s | %.1f | %.1f | %.1f | %s |" % (block, channels[block], kind, *m, "%.2f" % np.mean(gammas[order, block]) if kind == "bn" else ""))


if __name__ == "__main__":
    main()
