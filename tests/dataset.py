"""Reads a set that `convoy data` wrote, as strictly as the safetensors library does; knows nothing of convoy."""
import json
import struct

import numpy as np

TYPES = {"U8": np.uint8, "I32": np.int32, "I64": np.int64, "F32": np.float32}


def read(path):
    """Tensors by name, and the metadata, of a safetensors file."""
    with open(path, "rb") as f:
        raw = f.read()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length].decode("utf-8"))
    data, end = raw[8 + length:], 0
    meta, tensor = header.pop("__metadata__", {}), {}
    assert all(isinstance(v, str) for v in meta.values()), "metadata are text"
    for name, t in sorted(header.items(), key=lambda e: e[1]["data_offsets"]):
        begin, to = t["data_offsets"]
        dtype = np.dtype(TYPES[t["dtype"]])
        assert begin == end, "a hole before %s" % name
        assert (8 + length + begin) % dtype.itemsize == 0, "%s is not aligned" % name
        assert to - begin == dtype.itemsize * int(np.prod(t["shape"])), "%s has another size" % name
        tensor[name] = np.frombuffer(data[begin:to], dtype).reshape(t["shape"])
        end = to
    assert end == len(data), "bytes after the last tensor"
    return tensor, meta


class Set:
    """.tensor[name]: numpy arrays; .meta: text by key; .classes, .mean, .sd, .recipe: what the metadata say."""

    def __init__(self, path):
        self.tensor, self.meta = read(path)
        for key in ("classes", "mean", "sd", "recipe", "columns"):
            setattr(self, key, json.loads(self.meta[key]) if key in self.meta else None)

    def __getitem__(self, name):
        return self.tensor[name]

    def splits(self):
        return [s for s in ("train", "valid", "test") if s + ".x" in self.tensor]

    def names(self, split):
        at, raw = self[split + ".name_at"], self[split + ".name"].tobytes()
        return [raw[at[i]:at[i + 1]].decode("utf-8", "surrogateescape") for i in range(len(at) - 1)]

    def rows(self):
        """name -> (split, row, label, group), of all splits."""
        found = {}
        for s in self.splits():
            for i, name in enumerate(self.names(s)):
                assert name not in found, "%s is there twice" % name
                found[name] = (s, self[s + ".x"][i], self[s + ".y"][i], int(self[s + ".group"][i]))
        return found
