#!/usr/bin/env python3
"""What it costs to emit and to compile networks: a line each with the time of `convoy gen`, the lines emitted, the time of compiling
what trains and infers (not the runtime, nor what `trace` and `bench` need, which stand in a column of their own), and the size of all its objects. Times are the
processor's, so that other programs hardly count.

    tests/bench_emit.py --convoy build/gen/convoy [--cc gcc] [--cflags -O2] [--rounds 5] [SPEC ...]      (default: specs/*.yaml)
"""
import argparse
import glob
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        sys.exit('%s\n%s' % (' '.join(command), done.stdout[-2000:]))


def processor():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(command, rounds, **more):
    times = []
    for _ in range(rounds):
        start = processor()
        run(command, **more)
        times.append(processor() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--convoy', required=True)
    parser.add_argument('--cc', default='gcc')
    parser.add_argument('--cflags', default='-O2')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('spec', nargs='*')
    args = parser.parse_args()
    convoy = os.path.abspath(args.convoy)
    specs = [os.path.abspath(s) for s in args.spec] or sorted(glob.glob(os.path.join(ROOT, 'specs', '*.yaml')))
    version = subprocess.run([args.cc, '--version'], stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]
    print('%s %s, one core; gen: median of %d (smallest to largest)' % (version, args.cflags, args.rounds))
    print('%-20s %26s %8s %10s %14s %10s' % ('network', 'gen, s', 'lines', 'compile, s', 'trace, bench', 'objects'))
    for spec in specs:
        work = tempfile.mkdtemp(prefix='convoy-bench-')
        try:
            out = os.path.join(work, 'net')
            gen = seconds([convoy, 'gen', spec, '-o', out], args.rounds)
            name = open(spec).read().split('name:')[1].split()[0]
            files = glob.glob(os.path.join(out, name + '_*.c')) + glob.glob(os.path.join(out, '*.h'))
            lines = sum(sum(1 for _ in open(f)) for f in files)
            objects = [os.path.basename(f)[:-2] + '.o' for f in glob.glob(os.path.join(out, name + '_*.c'))]
            aside = [name + '_trace.o', name + '_bench.o']
            make = [seconds(['make', '-s', '-j1', 'CC=' + args.cc, 'CFLAGS=' + args.cflags] + part, 1, cwd=out)[0]
                    for part in ([o for o in objects if o not in aside], aside)]
            size = sum(os.path.getsize(os.path.join(out, o)) for o in objects)
            print('%-20s %26s %8d %10.1f %14.1f %7.0f KiB' % (os.path.basename(spec)[:-5], '%.3f (%.3f to %.3f)' % (statistics.median(gen), min(gen), max(gen)), lines,
                                                     *make, size / 1024), flush=True)
        finally:
            shutil.rmtree(work)


if __name__ == '__main__':
    main()
