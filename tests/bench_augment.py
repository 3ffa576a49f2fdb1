#!/usr/bin/python3
"""What augmentation costs: processor seconds of a training with it and without, in turns. A benchmark, not a test.

    bench_augment.py --convoy BUILD/gen/convoy [--spec specs/fashion.yaml] [--augment "crop(4),flip,cutout(8)"] [--rounds 5] [--images 6000]

Both run on drawn figures with one thread for the steps; the loader's own is counted with it. Drawing the figures, which comes before the steps of both, is measured by a run of one step and taken away."""
import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile


def seconds(program, images, *more):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    p = subprocess.run([program, "train", "--data", "shapes", "--train-images", str(images), "--epochs", "1", "--threads", "1", "--no-eval", "--no-save", "--quiet", *more],
                       env=dict(os.environ, OPENBLAS_NUM_THREADS="1"), capture_output=True, text=True)
    if p.returncode:
        sys.exit(p.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--convoy", required=True)
    p.add_argument("--spec", default=os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "specs", "fashion.yaml"))
    p.add_argument("--augment", default="crop(4),flip,cutout(8)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--images", type=int, default=6000)
    a = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="convoy-augment-") as folder:
        subprocess.run([a.convoy, "gen", a.spec, "-o", folder + "/net"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["make", "-s", "-j2", "-C", folder + "/net"], check=True)
        name = [line.split()[-1] for line in open(a.spec) if line.startswith("name:")][0]
        program = f"{folder}/net/{name}"
        costs = []
        for _ in range(a.rounds):
            drawing = seconds(program, a.images, "--limit", "1")
            plain, augmented = seconds(program, a.images) - drawing, seconds(program, a.images, "--augment", a.augment) - drawing
            costs.append(augmented / plain - 1)
            print(f"{plain:.2f} s without, {augmented:.2f} s with {a.augment}: {100 * costs[-1]:+.1f} %", flush=True)
    print(f"median {100 * statistics.median(costs):+.1f} %, from {100 * min(costs):+.1f} to {100 * max(costs):+.1f}")


if __name__ == "__main__":
    main()
