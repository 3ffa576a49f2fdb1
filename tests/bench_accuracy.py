#!/usr/bin/python3
"""Seconds until a network knows a part of the images held out to validate, convoy beside PyTorch: whole trainings, end to end. A benchmark, not a test.

    bench_accuracy.py --convoy BUILD/gen/convoy [--spec specs/fashion.yaml] [--data DIR] [--reach 91] [--seeds 1,2,3] [--threads 2] [--json FILE]
    bench_accuracy.py --convoy BUILD/gen/convoy --spec specs/fashion_resnet.yaml --steps 100 [--rounds 3]      processor seconds of a training, from so many steps

Both sides read the same IDX files, begin with the spec's initial distribution, and train by the spec's epochs, batch, rate (one-cycle) and weight
decay (of weights alone), on nine tenths of the training images; after each epoch they validate on the others. Timed from the start of reading the data (convoy: of its program) to
the end of the first epoch after which the accuracy is reached; PyTorch's import and the compilation of convoy's C, given apart, are not in it.
PyTorch: the module of `convoy twin`, channels_last, foreach SGD, gradients set to None, activations in place behind a norm; images are augmented a batch at a time (crop and flip).
The sides take turns. --steps: both take so many steps of the spec's recipe on one thread, timed by the processor time that they have, so that other programs do not
count; what they do once (reading, the first steps) is taken away, and the seconds of all the spec's epochs extrapolated."""
import argparse
import contextlib
import glob
import gzip
import importlib.util
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(*words, **kw):
    p = subprocess.run(words, text=True, capture_output=True, **kw)
    if p.returncode:
        sys.exit(f'{" ".join(words)}: {(p.stderr or p.stdout)[-2000:]}')
    return p.stdout


def augmentation(words):
    """What `augment` does to a batch: the pixels of crop(N), and whether it flips. Other words are not known here."""
    crop, flip = re.search(r'crop\((\d+)\)', words), 'flip' in words
    if re.sub(r'crop\(\d+\)|flip|[ ,]', '', words):
        sys.exit(f'augment: {words}: only crop and flip are built here')
    return int(crop[1]) if crop else 0, flip


def augment(torch, x, crop, flip, black):
    """Each image of a batch moved and mirrored by itself, by one gather."""
    if not crop and not flip:
        return x
    n, c, h, w = x.shape
    wide = torch.nn.functional.pad(x, (crop,) * 4, value=black)
    rows = torch.randint(2 * crop + 1, (n, 1, 1)) + torch.arange(h)[None, :, None]
    columns = torch.arange(w)[None, :].expand(n, w)
    if flip:
        columns = torch.where(torch.rand(n, 1) < 0.5, w - 1 - columns, columns)
    columns = columns[:, None, :] + torch.randint(2 * crop + 1, (n, 1, 1))
    return wide.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], rows, columns].permute(0, 3, 1, 2)


def torch_training(q):
    """One training; a line of JSON for each epoch: seconds since the beginning, accuracy. With steps: one line, the processor seconds of a step."""
    import torch
    from torch import nn
    spec = importlib.util.spec_from_file_location('twin', q['twin'])
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    torch.set_num_threads(q['threads'])
    torch.manual_seed(q['seed'])
    start = time.perf_counter()

    def idx(name):
        path = [p for p in glob.glob(os.path.join(q['data'], name + '*'))][0]
        with (gzip.open if path.endswith('.gz') else open)(path, 'rb') as f:
            raw = f.read()
        dims = raw[3]
        sizes = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], 'big') for i in range(dims)]
        return torch.frombuffer(bytearray(raw[4 + 4 * dims:]), dtype=torch.uint8).reshape(sizes)

    def images(name):
        x = (idx(name).float() / 255 - q['mean']) / q['std']
        return x[:, None].contiguous(memory_format=torch.channels_last)

    x, y = images('train-images-idx3-ubyte'), idx('train-labels-idx1-ubyte').long()
    held = torch.randperm(len(x)) < len(x) // 10
    x, y, tx, ty = x[~held], y[~held], x[held], y[held]
    net = [v for v in vars(twin).values() if isinstance(v, type) and issubclass(v, nn.Module) and v.__module__ == 'twin'][-1]()
    before = None
    for m in net.modules():
        if isinstance(m, nn.ReLU) and isinstance(before, nn.BatchNorm2d):
            m.inplace = True
        before = m
    net = net.to(memory_format=torch.channels_last)
    weights = [p for n, p in net.named_parameters() if p.dim() > 1]
    others = [p for n, p in net.named_parameters() if p.dim() == 1]
    opt = torch.optim.SGD([{'params': weights, 'weight_decay': q['weight_decay']}, {'params': others, 'weight_decay': 0}], lr=q['lr'], momentum=q['momentum'],
                          nesterov=bool(q['nesterov']), foreach=True)
    steps = (len(x) + q['batch'] - 1) // q['batch']
    rate = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=q['lr'], total_steps=steps * q['epochs'], cycle_momentum=False)
    loss = nn.CrossEntropyLoss(label_smoothing=q['label_smoothing'])
    crop, flip = augmentation(q['augment'])

    def step(at):
        opt.zero_grad(set_to_none=True)
        loss(net(augment(torch, x[at], crop, flip, -q['mean'] / q['std'])), y[at]).backward()
        opt.step()
        rate.step()
    if q['steps']:
        parts = torch.randperm(len(x)).split(q['batch'])[:q['steps'] + FIRST]
        for k, at in enumerate(parts):
            if k == FIRST:
                begin = time.process_time()
            step(at)
        print(json.dumps({'step': (time.process_time() - begin) / (len(parts) - FIRST), 'steps': steps, 'version': torch.__version__}))
        return
    for _ in range(q['epochs']):
        net.train()
        for at in torch.randperm(len(x)).split(q['batch']):
            step(at)
        net.eval()
        with torch.inference_mode():
            right = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(tx.split(500), ty.split(500)))
        print(json.dumps({'seconds': time.perf_counter() - start, 'accuracy': 100 * right / len(tx)}), flush=True)


def convoy_training(program, q):
    """The same; the log's seconds are epochs', what stands before them is reading."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, 'log')
        start = time.perf_counter()
        run(program, 'train', '--data', q['data'], '--seed', str(q['seed']), '--threads', str(q['threads']), '--log', log, '--quiet', '--no-save')
        whole = time.perf_counter() - start
        with open(log) as f:
            epochs = [o for o in map(json.loads, f) if o.get('event') == 'epoch']
    at = whole - sum(o['seconds'] for o in epochs)
    lines = []
    for o in epochs:
        at += o['seconds']
        lines.append({'seconds': at, 'accuracy': 100 * o['valid_accuracy']})
    return lines


FIRST = 5  # steps that are not timed


def convoy_step(program, q):
    """Processor seconds of a step: those of a training's first steps, without those of its first few."""
    spent = []
    for steps in (FIRST, FIRST + q['steps']):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run(program, 'train', '--data', q['data'], '--seed', str(q['seed']), '--threads', '1', '--limit', str(steps), '--no-eval', '--no-save', '--quiet')
        spent.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return (spent[1] - spent[0]) / q['steps']


def time_steps(program, python, q, rounds):
    """Both sides in turns, and what the medians of a step make of a whole training."""
    best = dict(os.environ, OMP_NUM_THREADS='1')
    with contextlib.suppress(OSError), open('/proc/cpuinfo') as f:
        best['ATEN_CPU_CAPABILITY'] = 'avx512' if ' avx512f' in f.read() else 'avx2'
    jemalloc = glob.glob('/usr/lib/*/libjemalloc.so.2')
    if jemalloc:
        best.update(LD_PRELOAD=jemalloc[0], MALLOC_CONF='dirty_decay_ms:-1,muzzy_decay_ms:-1')
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(convoy_step(program, q))
        said = json.loads(run(python, os.path.abspath(__file__), '--worker', json.dumps(q), env=best))
        theirs.append(said['step'])
        print(f'a step, ms of one processor: convoy {1000 * mine[-1]:.1f}, PyTorch {said["version"]} {1000 * theirs[-1]:.1f}', flush=True)
    ratios, steps = [t / m for m, t in zip(mine, theirs)], said['steps'] * q['epochs']
    for name, all_ in (('convoy', mine), ('PyTorch', theirs)):
        print(f'{name}: {q["epochs"]} epochs of {said["steps"]} steps would take {statistics.median(all_) * steps:.0f} s (extrapolated from {q["steps"]} steps, {rounds} times)')
    print(f'PyTorch / convoy: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})')
    return {'convoy': mine, 'PyTorch': theirs, 'version': said['version']}


def reached(lines, percent):
    return next((o['seconds'] for o in lines if o['accuracy'] >= percent), None)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--convoy', required=True)
    ap.add_argument('--spec', default=os.path.join(ROOT, 'specs', 'fashion.yaml'))
    ap.add_argument('--data', default='/usr/share/datasets/fashion-mnist')
    ap.add_argument('--reach', type=float, default=91)
    ap.add_argument('--seeds', default='1,2,3')
    ap.add_argument('--threads', type=int, default=2)
    ap.add_argument('--steps', type=int, default=0)
    ap.add_argument('--rounds', type=int, default=3)
    ap.add_argument('--json')
    a = ap.parse_args()
    python = '/usr/bin/python3' if os.path.exists('/usr/bin/python3') else sys.executable
    found = []
    with tempfile.TemporaryDirectory() as folder:
        net = json.loads(run(a.convoy, 'check', a.spec, '--json'))['name']
        start = time.perf_counter()
        run(a.convoy, 'gen', a.spec, '-o', os.path.join(folder, 'net'))
        run('make', '-s', f'-j{os.cpu_count()}', '-C', os.path.join(folder, 'net'))
        print(f'{net}: emitted and compiled in {time.perf_counter() - start:.1f} s', flush=True)
        program = os.path.join(folder, 'net', net)
        info = json.loads(run(program, 'info', '--json'))['train']
        run(a.convoy, 'twin', a.spec, '-o', os.path.join(folder, 'twin.py'))
        q = {'twin': os.path.join(folder, 'twin.py'), 'data': a.data, 'threads': a.threads,
             **{k: info[k] for k in ('epochs', 'batch', 'lr', 'momentum', 'nesterov', 'weight_decay', 'label_smoothing', 'augment')}, 'steps': a.steps, 'seed': 1,
             'mean': info['mean'][0], 'std': info['std'][0]}
        if a.steps:
            q['threads'] = 1
            found = time_steps(program, python, q, a.rounds)
            if a.json:
                with open(a.json, 'w') as f:
                    json.dump(found, f, indent=1)
            return
        for seed in map(int, a.seeds.split(',')):
            q['seed'] = seed
            mine = convoy_training(program, q)
            theirs = [json.loads(l) for l in run(python, os.path.abspath(__file__), '--worker', json.dumps(q)).splitlines()]
            found.append({'seed': seed, 'convoy': mine, 'PyTorch': theirs})
            for name, lines in (('convoy', mine), ('PyTorch', theirs)):
                at = reached(lines, a.reach)
                print(f'seed {seed}, {name}: {a.reach:g} % after {f"{at:.1f} s" if at else "no epoch"}; {lines[-1]["accuracy"]:.2f} % after {lines[-1]["seconds"]:.1f} s',
                      flush=True)
    both = [(reached(f['PyTorch'], a.reach), reached(f['convoy'], a.reach)) for f in found]
    ratios = [t / c for t, c in both if t and c]
    if ratios:
        print(f'PyTorch / convoy, seconds to {a.reach:g} %: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})')
    if a.json:
        with open(a.json, 'w') as f:
            json.dump(found, f, indent=1)


if '--worker' in sys.argv:
    torch_training(json.loads(sys.argv[-1]))
else:
    main()
