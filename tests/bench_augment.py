#!/usr/bin/python3
"""What augmentation costs, as a share of a training step on one thread. A benchmark, not a test.

    bench_augment.py --convoy BUILD/gen/convoy [--spec specs/fashion.yaml] [--augment "crop(4),flip,cutout(8)"] [--rounds 15] [--images 6000] [--training]

The loader's thread makes batches of drawn figures with augmentation and without, in turns, and nothing else runs in that program: its processor time is what they cost. A step is what
NAME bench says of one thread. Of either the least of all rounds counts, as other programs only ever add to it. With a free processor the loader works beside the steps and takes nothing from them.
--training: whole trainings, too, in turns, their processor seconds together with the loader's; noisier."""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile


DRIVER = """\
#include "runtime/cvy_names.h"
#include "runtime/cvy_private.h"
#include <stdlib.h>
#include <time.h>
extern const struct cvy_model NAME_model;
static double processor(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
int main(int argc, char **argv)
{
    struct cvy_data d;
    struct cvy_augment a[2];
    char why[200];
    const int rounds = atoi(argv[2]), batch = NAME_model.train.batch;
    double least[2] = {1e9, 1e9};
    cvy_program = argv[0];
    cvy_start();
    if (argc != 4 || !cvy_augment_read(&a[0], "", why, sizeof why) || !cvy_augment_read(&a[1], argv[1], why, sizeof why) ||
        !cvy_data_load(&d, &NAME_model, "shapes", CVY_TRAIN_SPLIT, atoi(argv[3])))
        return 1;
    for (int r = 0; r < 2 * rounds; r++) {
        struct cvy_loader *l = cvy_loader_start(&d, &NAME_model, batch, 1, 1, 1, (uint64_t)r / 2, 0, &a[r % 2]);
        if (!l)
            return 1;
        const double begin = processor();
        while (cvy_loader_next(l))
            ;
        const double took = (processor() - begin) / d.n;
        least[r % 2] = took < least[r % 2] ? took : least[r % 2];
        cvy_loader_stop(l);
    }
    printf("%.9g %.9g\\n", least[0] * 1e6, least[1] * 1e6);
    return 0;
}
"""


def loader(folder, name, augment, rounds, images):
    """Microseconds of an image that the loader makes, without augmentation and with it."""
    net = os.path.join(folder, "net")
    with open(f"{net}/driver.c", "w") as f:
        f.write(DRIVER.replace("NAME", name))
    objects = [os.path.join(d, o) for d, _, files in os.walk(net) for o in files if o.endswith(".o") and o != "main.o"]
    with open(f"{net}/Makefile") as f:
        standard = next(line.split("=", 1)[1].split() for line in f if line.startswith("STANDARD"))
    subprocess.run(["cc", *standard, "-O2", "-fopenmp", "-I", net, "-o", f"{net}/driver", f"{net}/driver.c", *objects, "-lopenblas", "-ljansson", "-lz", "-lpthread", "-lm"], check=True)
    out = subprocess.run([f"{net}/driver", augment, str(rounds), str(images)], check=True, capture_output=True, text=True).stdout
    return tuple(map(float, out.split()))


def step(program, rounds):
    """Microseconds of an image in a step on one thread: the least median."""
    said = [json.loads(subprocess.run([program, "bench", "--threads", "1", "--seconds", "0.3", "--json"], check=True, capture_output=True, text=True).stdout) for _ in range(rounds)]
    return min(1e3 * s["median_ms"] / s["batch"] for s in said)


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
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--training", action="store_true")
    p.add_argument("--images", type=int, default=6000)
    a = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="convoy-augment-") as folder:
        subprocess.run([a.convoy, "gen", a.spec, "-o", folder + "/net"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["make", "-s", "-j2", "-C", folder + "/net"], check=True)
        name = [line.split()[-1] for line in open(a.spec) if line.startswith("name:")][0]
        program = f"{folder}/net/{name}"
        plain, augmented = loader(folder, name, a.augment, a.rounds, a.images)
        one = step(program, a.rounds)
        print(f"an image: {one:.1f} us in a step, {plain:.2f} us in the loader, {augmented:.2f} us with {a.augment}: {100 * (augmented - plain) / one:+.2f} % of a step", flush=True)
        if a.training:
            training(program, a)


def training(program, a):
    costs = []
    for _ in range(a.rounds):
        drawing = seconds(program, a.images, "--limit", "1")
        plain, augmented = seconds(program, a.images) - drawing, seconds(program, a.images, "--augment", a.augment) - drawing
        costs.append(augmented / plain - 1)
        print(f"{plain:.2f} s without, {augmented:.2f} s with {a.augment}: {100 * costs[-1]:+.1f} %", flush=True)
    print(f"median {100 * statistics.median(costs):+.1f} %, from {100 * min(costs):+.1f} to {100 * max(costs):+.1f}")


if __name__ == "__main__":
    main()
