"""A small network and a small set, for tests that train for real."""
import json
import random
import struct

SPEC = """name: tiny
input: [1, 6, 6]
classes: 3
order: conv-bn-act
layers:
  - conv: {out: 3, stride: 2}
  - global_avg_pool
  - linear: classes
train: {epochs: 1, batch: 32, lr: 0.2, schedule: constant, mean: 0.5, std: 0.2}
"""
ROWS = {"train": 240, "valid": 60, "test": 150}


def band(draw, c):
    """The 36 pixels of an image of class c: bright in a band of rows."""
    return [int(draw.gauss(128, 30)) + (40 if r // 2 == c else 0) for r in range(6) for _ in range(6)]


def write_set(path, seed=1, shares=(1, 1, 1), cut=None, pixels=band):
    """Classes of 6 x 6 images, as likely as their shares, drawn by `pixels`; a safetensors file as convoy data has it.
    cut: the shares by which convoy data would have cut it."""
    classes = len(shares)
    draw = random.Random(seed)
    tensors, data, at = {}, [], 0
    made = {}
    for split, n in ROWS.items():
        y = draw.choices(range(classes), shares, k=n) if len(set(shares)) > 1 else [draw.randrange(classes) for _ in range(n)]
        x = bytes(max(0, min(255, v)) for c in y for v in pixels(draw, c))
        made[split] = (y, x)
    for part, dtype in (("y", "I64"), ("x", "U8")):
        for split, (y, x) in made.items():
            b = struct.pack("<%dq" % len(y), *y) if part == "y" else x
            tensors["%s.%s" % (split, part)] = {"dtype": dtype, "shape": [len(y)] + ([1, 6, 6] if part == "x" else []), "data_offsets": [at, at + len(b)]}
            at += len(b)
            data.append(b)
    tensors["__metadata__"] = {"classes": json.dumps(list("abcdefgh"[:classes])), "mean": "[0.5]", "sd": "[0.15]"}
    if cut:
        tensors["__metadata__"]["recipe"] = json.dumps({"split": cut})
    head = json.dumps(tensors).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + b"".join(data))


def read_set(path):
    """{split: [(label, bytes of the row), ...]}"""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        head, data = json.loads(f.read(size)), f.read()
    got = {}
    for name, t in head.items():
        if name == "__metadata__" or not name.endswith(".y"):
            continue
        split, n = name[:-2], t["shape"][0]
        y = struct.unpack("<%dq" % n, data[slice(*t["data_offsets"])])
        x = data[slice(*head[split + ".x"]["data_offsets"])]
        got[split] = [(y[i], x[36 * i:36 * i + 36]) for i in range(n)]
    return got
