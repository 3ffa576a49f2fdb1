#!/usr/bin/env python3
"""What a build of convoy emits, as a list of SHA-256: for a change that must not change a byte of it.

    tests/emitted_hashes.py build/gen/convoy > after
    tests/emitted_hashes.py /path/to/an/older/build/gen/convoy > before
    diff before after

Each spec of specs/ and specs/bench/ (or those that are named behind CONVOY) goes through gen for every target and purpose,
plan --json for every target, twin, draw, check --write and export. Networks of more than 400,000 weights are not exported: their
constants would take minutes. The weights that export reads are made here, the same in each run."""

import array
import glob
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

TARGETS = ["avx512", "avx2", "neon", "portable"]
MOST_WEIGHTS = 400_000


def run(*args):
    done = subprocess.run(args, capture_output=True)
    return done.stdout if done.returncode == 0 else None


def show(name, data):
    print(hashlib.sha256(data).hexdigest() if data is not None else "refused".ljust(64), name, flush=True)


def show_folder(name, folder, wrote):
    if wrote is None:
        show(name, None)
        return
    for top, _, files in sorted(os.walk(folder)):
        for file in sorted(files):
            path = os.path.join(top, file)
            with open(path, "rb") as f:
                show(f"{name} {os.path.relpath(path, folder)}", f.read())


def checkpoint(convoy, spec, path):
    """Writes weights of the right names and shapes; False where there are too many."""
    header, parts, at = {}, [], 0
    for name, dims in re.findall(r"^param (\S+) +\[([^]]*)\]", run(convoy, "check", spec, "-d", "graph").decode(), re.M):
        shape = [int(d) for d in dims.split(",") if d.strip()]
        count = 1
        for d in shape:
            count *= d
        if name.endswith("num_batches_tracked"):
            data, kind = struct.pack("<q", 7), "I64"
        else:
            base = 0.5 if name.endswith("running_var") else -0.25
            data, kind = array.array("f", (base + (i * 37 % 101) / 200 for i in range(count))).tobytes(), "F32"
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
        if at > 4 * MOST_WEIGHTS:
            return False
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
    return True


def main():
    convoy, specs = sys.argv[1], sys.argv[2:]
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    specs = specs or sorted(glob.glob(f"{root}/specs/*.yaml") + glob.glob(f"{root}/specs/bench/*.yaml"))
    with tempfile.TemporaryDirectory() as scratch:
        count = 0

        def folder(name, *args):
            nonlocal count
            count += 1
            out = os.path.join(scratch, str(count))
            show_folder(name, out, run(convoy, *args, "-o", out))

        for spec in specs:
            name = os.path.splitext(os.path.basename(spec))[0]
            for target in TARGETS:
                for purpose in ["speed", "size"] + ["reading"] * (target == "portable"):
                    folder(f"{name} gen {target} {purpose}", "gen", spec, "--target", target, "--for", purpose)
                plan = run(convoy, "plan", spec, "--json", "--target", target)
                show(f"{name} plan {target}", plan and plan.replace(spec.encode(), b"SPEC"))
            for command in (["twin", spec], ["draw", spec, "--target", "avx2"], ["check", spec, "--write"], ["check", spec, "-d", "graph"]):
                show(f"{name} {' '.join(word for word in command if word != spec)}", run(convoy, *command))
            weights = os.path.join(scratch, f"{name}.safetensors")
            if checkpoint(convoy, spec, weights):
                for target in TARGETS:
                    for purpose in ["speed", "size"]:
                        folder(f"{name} export {target} {purpose}", "export", spec, "--weights", weights, "--target", target, "--for", purpose)
                folder(f"{name} export one file", "export", spec, "--weights", weights, "--single-file")


if __name__ == "__main__":
    main()
