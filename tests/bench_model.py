#!/usr/bin/python3
"""The cost models' cycles beside measured ones, pass by pass, of networks on one thread. A benchmark, not a test.

    bench_model.py --convoy BUILD/gen/convoy [--nets A,B] [--seconds S] [--program P]

Networks are specs/bench/*.yaml, or specs' own paths; --program: one that is compiled already, of a single spec. Predicted is what `convoy plan --json`
says of the cores: products, and for Winograd its transforms. Measured is what `NAME bench` says of the whole kernel, prologues, epilogues and memory with
it, in cycles of which the processor's peak takes one for two fused multiply-adds; so measured is more, and how much more should be the same for layers
of one kind. Cycles are of an image. backward is both gradients together. Needs a processor with the target's vectors (avx512, avx2)."""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOPS_A_CYCLE = {'avx512': 64, 'avx2': 32}  # two fused multiply-adds of 16 and of 8 floats


def run(*words):
    p = subprocess.run(words, text=True, capture_output=True)
    if p.returncode:
        sys.exit(f'{" ".join(words)}: status {p.returncode}\n{p.stderr[-500:]}')
    return p.stdout


def predicted(plan):
    """By kernel and verb: the way of each of its passes, and the cycles of all."""
    found = {}
    for k in plan['kernels']:
        core = k['core'] or {}
        for verb, passes in (('forward', ['forward']), ('backward', ['data', 'weights'])):
            ways, cycles = [], 0
            for p in passes:
                if p not in core.get('cycles', {}):
                    continue
                how = core[p][0] if p == 'data' else core[p]
                way = 'winograd' if how['winograd'] else 'direct'
                cycles += core['cycles'][p][way]
                ways.append(way)
            if ways:
                found[f'{k["name"]}.{verb}'] = ('+'.join(sorted(set(ways), reverse=True)), cycles)
    return found


def compare(convoy, spec, program, seconds):
    plan = json.loads(run(convoy, 'plan', spec, '--json'))
    b = json.loads(run(program, 'bench', '--json', '--kernels', '--threads', '1', '--seconds', str(seconds)))
    if b['target'] not in FLOPS_A_CYCLE:
        sys.exit(f'bench --model: how many operations {b["target"]} does in a cycle is not known; avx512 and avx2 are')
    rate = b['peak_gflops'] * 1e6 / FLOPS_A_CYCLE[b['target']]  # cycles in a ms
    told = predicted(plan)
    print(f'{b["network"]} for {b["target"]}, batch {b["batch"]}, one thread, {rate / 1e6:.2f} GHz by the peak; cycles of an image')
    print(f'  {"kernel":26} {"way":16} {"predicted":>10} {"measured":>10} {"measured / predicted":>21}')
    total = [0, 0]
    for k in b['kernels']:
        if k['name'] not in told:
            continue
        way, cycles = told[k['name']]
        measured = k['median_ms'] * rate / b['batch']
        total[0] += cycles
        total[1] += measured
        print(f'  {k["name"]:26} {way:16} {cycles:10,.0f} {measured:10,.0f} {measured / cycles:21.2f}')
    if not total[0]:
        sys.exit(f'bench --model: {spec} has no conv, and of nothing else is there a model')
    print(f'  {"all convs":26} {"":16} {total[0]:10,.0f} {total[1]:10,.0f} {total[1] / total[0]:21.2f}\n', flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--convoy', required=True)
    ap.add_argument('--nets', default='fm_small,resnet20,vgg,resnet18')
    ap.add_argument('--seconds', type=float, default=2)
    ap.add_argument('--program')
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in a.nets.split(','):
            bench = os.path.join(ROOT, 'specs', 'bench')
            found = [s for s in (os.path.join(bench, f'{name}.yaml'), *sorted(glob.glob(os.path.join(bench, f'{name}_*.yaml')))[:1], name) if os.path.exists(s)]
            if not found:
                sys.exit(f'bench: there is no network {name} in specs/bench')
            spec, program = found[0], a.program
            if not program:
                net = json.loads(run(a.convoy, 'check', spec, '--json'))['name']
                run(a.convoy, 'gen', spec, '-o', os.path.join(folder, net))
                run('make', '-s', '-j2', '-C', os.path.join(folder, net))
                program = os.path.join(folder, net, net)
            compare(a.convoy, spec, program, a.seconds)


main()
