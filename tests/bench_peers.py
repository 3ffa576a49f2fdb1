#!/usr/bin/python3
"""convoy beside its peers: PyTorch (training and inference) and onnxruntime-node (inference). A benchmark, not a test.

    bench_peers.py --convoy BUILD/gen/convoy --build BUILD [--nets A,B] [--what train,infer,memory] [--threads 1,2] [--rounds 7] [--quick] [--json FILE]
                   [--python CMD]

Networks are specs/bench/*.yaml (--nets fm_small takes both orders of it). The peers' are made from `convoy twin`: the same network. All sides
are processes of their own and take turns: a round times each once, for a part of a second; ratios are taken round by round, beside the peer's
fastest variant. One thread is timed by the processor time that it has, so that other programs do not count; several by the clock. PyTorch gets what was found best for it: AVX-512 kernels where the processor has them, jemalloc where it is installed, pinned
threads, NCHW and channels_last, foreach SGD, gradients set to None, activations in place behind a norm, shortcuts with zeros by pad or by average
pool and concat (in training they differ in layout); numbers near 0 flushed; LSTMs with norms of W x or U h as the twin has them, written for speed
(of all steps at once what can be), and that scripted; at inference eager, frozen, and optimised for inference. onnxruntime gets all graph
optimisations. Ratios above 1: convoy is faster. memory: the most that is resident in three steps of training, of convoy's whole process beside what
PyTorch's has above that which it had once it was imported (without jemalloc, which keeps what is freed). --json keeps every sample, and the versions.
PyTorch is that of CMD, which may have arguments ('/opt/torch/bin/python -s', 'chroot DIR python3': DIR has this source and /tmp at the same places); else the
system's."""
import argparse
import glob
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def cpu():
    try:
        with open('/proc/cpuinfo') as f:
            return dict(line.split(':', 1) for line in f.read().replace('\t', '').splitlines() if ':' in line)
    except OSError:
        return {}


# ---- the workers: a JSON object a line in, one out ----

def torch_worker():
    import time
    from typing import List
    import torch
    torch.set_flush_denormal(True)
    print(json.dumps({'version': f'PyTorch {torch.__version__}'}), flush=True)
    made = {}

    def load(path):
        spec = importlib.util.spec_from_file_location('twin', path)
        twin = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(twin)
        return twin

    def pooled(pad):
        class Pooled(torch.nn.Module):  # what Pad does, but gradients stay in channels_last
            def __init__(self, before, after, stride):
                super().__init__()
                self.stride, self.before, self.after = tuple(stride), before, after

            def forward(self, x):
                z = torch.nn.functional.avg_pool2d(x, 1, self.stride)
                like = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
                zeros = lambda c: z.new_zeros((z.shape[0], c, *z.shape[2:])).contiguous(memory_format=like)
                return torch.cat([t for t in (zeros(self.before), z, zeros(self.after)) if t.shape[1]], 1)
        return Pooled if pad else None

    class Norm(torch.nn.LayerNorm):  # of a step's numbers: what CellNorm does, in one call
        def __init__(self, old):
            super().__init__(old.weight.shape, old.eps)
            self.weight, self.bias = old.weight, old.bias

    class ManyRows(torch.nn.BatchNorm2d):  # batch norm of rows of numbers, as an image of one column whose channels lie last: the quick way of PyTorch's CPU
        def __init__(self, old):
            super().__init__(old.num_features, old.eps, old.momentum)
            self.weight, self.bias = old.weight, old.bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.t().unsqueeze(0).unsqueeze(3)
            x = torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.training, self.momentum, self.eps, False)
            return x.squeeze(3).squeeze(0).t()

    class FastLSTM(torch.nn.Module):
        """An LSTM with norms on W x and U h as one writes it for speed: W x of all steps at once, no branch in a step, biases added once."""
        def __init__(self, old):
            super().__init__()
            self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0 = old.weight_ih_l0, old.weight_hh_l0, old.bias_ih_l0, old.bias_hh_l0
            of = lambda n: torch.nn.Identity() if n is None else ManyRows(n) if isinstance(n, torch.nn.BatchNorm1d) else Norm(n)
            self.norm_input, self.norm_recurrent, self.hidden, self.last = of(old.norm_input), of(old.norm_recurrent), old.hidden_size, old.returns == 'last'

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.matmul(x.permute(2, 0, 1), self.weight_ih_l0.t())
            y = self.norm_input(y.flatten(0, 1)).view_as(y) + (self.bias_ih_l0 + self.bias_hh_l0)
            h = torch.zeros(x.size(0), self.hidden)
            c = h
            steps: List[torch.Tensor] = []
            u = self.weight_hh_l0.t()
            for t in range(x.size(2)):
                i, f, g, o = (y[t] + self.norm_recurrent(torch.mm(h, u))).chunk(4, 1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                steps.append(h)
            return h.unsqueeze(2) if self.last else torch.stack(steps, 2)

    def fast(net):
        """Its recurrent layers with norms on W x or U h, written for speed."""
        for name, m in list(net.named_children()):
            if type(m).__name__ == 'NormedLSTM':
                if m.norm_sum or m.norm_cell or m.norm_hidden or m.carried or not m.bias:
                    raise ValueError('no fast form of these places')
                setattr(net, name, FastLSTM(m))
            else:
                fast(m)
        return net

    def module(q):
        twin = load(q['twin'])
        if q['pooled']:
            if not hasattr(twin, 'Pad'):
                raise ValueError('no shortcut with zeros')
            twin.Pad = pooled(twin.Pad)
        net = [v for v in vars(twin).values() if isinstance(v, type) and issubclass(v, torch.nn.Module) and v.__module__ == 'twin'][-1]()
        before = None
        for m in net.modules():
            if isinstance(m, torch.nn.ReLU) and isinstance(before, torch.nn.BatchNorm2d):
                m.inplace = True
            before = m
        if q['form'] != 'twin':
            net = fast(net)
        return net

    def make(q):
        torch.manual_seed(0)
        net = module(q)
        x = torch.randn(q['batch'], *q['input'])
        if q['format'] == 'channels_last':
            net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
        if q['what'] == 'train':
            net.train()
            if q['form'] == 'scripted':
                net = torch.jit.script(net)
            y = torch.arange(q['batch']) % q['classes']
            opt, loss = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, foreach=True), torch.nn.CrossEntropyLoss()

            def step():
                opt.zero_grad(set_to_none=True)
                loss(net(x), y).backward()
                opt.step()
            return step
        net.eval()
        with torch.no_grad():
            if q['mode'] != 'eager':
                net = torch.jit.trace(net, x)
                net = torch.jit.freeze(net) if q['mode'] == 'frozen' else torch.jit.optimize_for_inference(net)
            for _ in range(3):
                net(x)

        def infer():
            with torch.inference_mode():
                net(x)
        return infer

    def resident(field):
        with open('/proc/self/status') as f:
            return [int(line.split()[1]) for line in f if line.startswith(field + ':')][0] / 1024

    def answer(q):
        if q['what'] == 'memory':
            before = resident('VmRSS')
            q = dict(q, form='twin')
            torch.set_num_threads(q['threads'])
            step = make(dict(q, what='train'))
            for _ in range(3):
                step()
            return {'MiB': resident('VmHWM') - before}
        if q['what'] == 'onnx':
            net = module(dict(q, form='twin')).eval()
            for m in net.modules():  # statistics that are not those of an untrained net
                if isinstance(m, torch.nn.BatchNorm2d):
                    m.running_mean.uniform_(-0.1, 0.1), m.running_var.uniform_(0.5, 1.5)
            torch.onnx.export(net, torch.randn(q['batch'], *q['input']), q['path'], opset_version=13, input_names=['x'], output_names=['y'])
            return {}
        key = json.dumps({k: v for k, v in q.items() if k not in ('threads', 'seconds')}, sort_keys=True)
        torch.set_num_threads(q['threads'])
        if key not in made:
            made[key] = make(q)
            made[key]()
        one = made[key]
        clock = time.process_time if q['threads'] == 1 else time.perf_counter
        t = clock()
        one()
        n = max(1, int(q['seconds'] / max(clock() - t, 1e-6)))
        t = clock()
        for _ in range(n):
            one()
        return {'ms': (clock() - t) / n * 1e3}

    for line in sys.stdin:
        try:
            print(json.dumps(answer(json.loads(line))), flush=True)
        except Exception as e:
            print(json.dumps({'error': f'{type(e).__name__}: {e}'[:200]}), flush=True)


class Worker:
    def __init__(self, argv, env):
        self.argv, self.env, self.version = argv, env, None
        try:
            self.start()
        except (OSError, ValueError):
            pass  # it is not there, or says something else

    def start(self):
        self.p = subprocess.Popen(self.argv, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.version = json.loads(self.p.stdout.readline())['version']

    def ask(self, **q):
        try:
            self.p.stdin.write(json.dumps(q) + '\n')
            self.p.stdin.flush()
        except BrokenPipeError:
            pass
        while True:
            line = self.p.stdout.readline()
            if not line:  # a peer may crash at what it was asked; it goes on with the rest
                self.p.wait()
                self.start()
                return {'error': 'it crashed'}
            if line.startswith('{'):
                return json.loads(line)

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def torch_worker_words(python):
    """What starts a worker of the Python of --python, else of the system's."""
    own = '/usr/bin/python3' if os.path.exists('/usr/bin/python3') else sys.executable
    return (shlex.split(python) if python else [own]) + [os.path.abspath(__file__), '--worker']


def start_torch(python):
    best = {'ATEN_CPU_CAPABILITY': 'avx512' if ' avx512f' in cpu().get('flags', '') else 'avx2', 'OMP_PROC_BIND': 'true'}
    jemalloc = glob.glob('/usr/lib/*/libjemalloc.so.2')
    if jemalloc:
        best.update(LD_PRELOAD=jemalloc[0], MALLOC_CONF='dirty_decay_ms:-1,muzzy_decay_ms:-1')
    env = {k: v for k, v in os.environ.items() if k not in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')}
    w = Worker(torch_worker_words(python), dict(env, **best))
    if python and not w.version:
        sys.exit(f'bench: --python {python}: it does not run, or has no PyTorch')
    return (w, best) if w.version else (None, best)


def start_ort(build):
    """onnxruntime-node, installed into the build folder where node and npm are there. The worker, or None; why not."""
    if not shutil.which('node') or not shutil.which('npm'):
        return None, 'node and npm are missing (Debian: nodejs npm)'
    folder = os.path.join(build, 'onnxruntime')
    os.makedirs(folder, exist_ok=True)
    if not os.path.isdir(os.path.join(folder, 'node_modules', 'onnxruntime-node')):
        p = subprocess.run(['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', 'onnxruntime-node'], cwd=folder, capture_output=True, text=True)
        if p.returncode:
            return None, 'npm install onnxruntime-node failed: ' + (p.stderr.strip().splitlines() or ['?'])[-1][:150]
    w = Worker(['node', os.path.join(ROOT, 'tests', 'bench_ort.js')], dict(os.environ, NODE_PATH=os.path.join(folder, 'node_modules')))
    return (w, '') if w.version else (None, 'onnxruntime-node does not run')


# ---- the turns ----

def run(*words, **kw):
    p = subprocess.run(words, text=True, capture_output=True, **kw)
    if p.returncode:
        sys.exit(f'{" ".join(words)}: {(p.stderr or p.stdout)[-2000:]}')
    return p.stdout


def show(v):
    return f'{statistics.median(v):.3f} ({min(v):.3f} to {max(v):.3f})'


def convoy_side(program, what, batch, threads, seconds):
    env = dict(os.environ, OMP_PROC_BIND='true', OMP_NUM_THREADS=str(threads))
    return lambda: json.loads(run(program, 'bench', '--json', '--what', what, '--batch', str(batch), '--threads', str(threads), '--seconds', str(seconds),
                                  env=env))['median_ms']


def sides_of(a, net, what, batch, threads, torch, ort, folder):
    """Name -> a function that gives ms, or raises."""
    def asking(worker, **q):
        def one():
            r = worker.ask(threads=threads, seconds=a.seconds, **q)
            if 'ms' not in r:
                raise RuntimeError(r.get('error', '?'))
            return r['ms']
        return one
    sides = {'convoy': convoy_side(net['program'], what, batch, threads, a.seconds)}
    image = len(net['input']) == 3
    for form in ('NCHW', 'channels_last') if image else ():
        for pool in (False, True):
            for mode in (('eager',) if what == 'train' else ('eager', 'frozen', 'optimised')):
                if torch and (not pool or (net['pad'] and what == 'train')):
                    sides[f'PyTorch {form}{" pooled" if pool else ""}{"" if what == "train" else " " + mode}'] = asking(
                        torch, what=what, twin=net['twin'], batch=batch, input=net['input'], classes=net['classes'], format=form, pooled=pool, mode=mode, form='twin')
    if torch and not image:
        for form in ('twin', 'fast', 'scripted') if net['normed'] and what == 'train' else ('twin',):
            for mode in ('eager',) if what == 'train' else ('eager', 'frozen'):
                sides[f'PyTorch {form}{"" if what == "train" else " " + mode}'] = asking(
                    torch, what=what, twin=net['twin'], batch=batch, input=net['input'], classes=net['classes'], format='', pooled=False, mode=mode, form=form)
    if ort and torch and what == 'infer':
        path = os.path.join(folder, f'{net["name"]}_{batch}.onnx')
        made = torch.ask(what='onnx', twin=net['twin'], batch=batch, input=net['input'], path=path, pooled=False)
        if 'error' in made:
            print(f'  onnxruntime skipped: {made["error"]}')
        else:
            sides['onnxruntime'] = asking(ort, path=path, shape=[batch] + net['input'])
    return sides


def compare(a, net, what, batch, threads, torch, ort, folder):
    sides = sides_of(a, net, what, batch, threads, torch, ort, folder)
    times = {k: [] for k in sides}
    for name, one in list(sides.items()):  # a turn that is not counted
        try:
            one()
        except RuntimeError as e:
            print(f'  {name} skipped: {e}')
            del sides[name], times[name]
    for _ in range(a.rounds):
        for name, one in sides.items():
            times[name].append(one())
    print(f'{net["name"]}, {what}, batch {batch}, {threads} thread{"s" * (threads > 1)}: convoy {show(times["convoy"])} ms')
    ratios = {}
    for peer in ('PyTorch', 'onnxruntime'):
        mine = [k for k in times if k.startswith(peer)]
        if mine:
            best = min(mine, key=lambda k: statistics.median(times[k]))
            ratios[peer] = {'variant': best, 'ratios': [t / c for t, c in zip(times[best], times['convoy'])]}
            print(f'  {best}: {show(times[best])} ms, ratio {show(ratios[peer]["ratios"])}', flush=True)
    return {'net': net['name'], 'what': what, 'batch': batch, 'threads': threads, 'ms': times, 'beside': ratios}


def memory(a, net, threads, torch, folder):
    """MiB that are resident at most in three steps of training: convoy's program in all, PyTorch's above its import."""
    argv = [net['program'], 'train', '--data', 'shapes', '--train-images', str(3 * net['batch']), '--test-images', '1', '--epochs', '1', '--no-eval',
            '--threads', str(threads), '--quiet', '--force', '--save', os.path.join(folder, 'w.safetensors')]
    _, status, used = os.wait4(subprocess.Popen(argv).pid, 0)
    if status:
        sys.exit(f'{" ".join(argv)}: status {status}')
    found = {'convoy': used.ru_maxrss / 1024}
    for form in ('NCHW', 'channels_last') if torch else ():
        w = Worker(torch_worker_words(a.python), dict(os.environ))
        r = w.ask(what='memory', twin=net['twin'], batch=net['batch'], input=net['input'], classes=net['classes'], format=form, pooled=False, threads=threads)
        w.close()
        if 'MiB' in r:
            found[f'PyTorch {form}'] = r['MiB']
    print(f'{net["name"]}, memory of a training step, batch {net["batch"]}, {threads} thread{"s" * (threads > 1)}: ' +
          ', '.join(f'{k} {v:.0f} MiB' for k, v in found.items()))
    if len(found) > 1:
        print(f'  convoy / PyTorch {found["convoy"] / min(v for k, v in found.items() if k != "convoy"):.2f}', flush=True)
    return {'net': net['name'], 'what': 'memory', 'batch': net['batch'], 'threads': threads, 'MiB': found}


def emit(a, spec, folder):
    info = json.loads(run(a.convoy, 'check', spec, '--json'))
    name, out = info['name'], os.path.join(folder, info['name'])
    run(a.convoy, 'gen', spec, '-o', out)
    run('make', '-s', '-j2', '-C', out)
    run(a.convoy, 'twin', spec, '-o', out + '.py')
    batch = json.loads(run(os.path.join(out, name), 'info', '--json'))['batch']
    with open(out + '.py') as f:
        text = f.read()
    shape = [int(n) for n in re.search(r'# input: \(N, ([^)]*)\)', text)[1].split(',')]
    return {'name': name, 'program': os.path.join(out, name), 'twin': out + '.py', 'input': shape, 'classes': info['classes'], 'batch': batch,
            'pad': 'class Pad(' in text, 'normed': 'class NormedLSTM(' in text}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--convoy', required=True)
    ap.add_argument('--build', required=True)
    ap.add_argument('--nets', default='fm_small,resnet20,vgg,resnet18')
    ap.add_argument('--what', default='train,infer')
    ap.add_argument('--threads', default='1,2')
    ap.add_argument('--rounds', type=int, default=7)
    ap.add_argument('--seconds', type=float, default=0.4)
    ap.add_argument('--quick', action='store_true')
    ap.add_argument('--json')
    ap.add_argument('--python', metavar='CMD')
    a = ap.parse_args()
    if a.quick:
        a.nets, a.rounds, a.seconds = 'fm_small' if a.nets == ap.get_default('nets') else a.nets, 3, 0.1
    specs = [s for n in a.nets.split(',') for s in sorted(glob.glob(os.path.join(ROOT, 'specs', 'bench', f'{n}.yaml')) or
                                                          glob.glob(os.path.join(ROOT, 'specs', 'bench', f'{n}_*.yaml'))) or [n]]
    for s in specs:
        if not os.path.exists(s):
            sys.exit(f'bench: there is no network {s} in specs/bench')
    torch, best = start_torch(a.python)
    ort, why = start_ort(a.build) if torch and 'infer' in a.what else (None, 'needs PyTorch, which writes its networks')
    versions = {'convoy': run(a.convoy, '--version').strip(), 'compiler': run(os.environ.get('CC', 'cc'), '--version').splitlines()[0],
                'PyTorch': torch.version if torch else None, 'onnxruntime': ort.version if ort else None,
                'processor': cpu().get('model name', platform.machine()).strip(), 'system': platform.platform()}
    for k, v in versions.items():
        print(f'{k}: {v or "missing" + (" (Debian: python3-torch)" if k == "PyTorch" else f": {why}" if "infer" in a.what else "")}')
    print(f'ms: median (smallest to largest) of {a.rounds} rounds\n', flush=True)
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        for spec in specs:
            net = emit(a, spec, folder)
            for what in a.what.split(','):
                if what == 'memory':
                    samples += [memory(a, net, int(t), torch, folder) for t in a.threads.split(',')]
                    continue
                for batch in [net['batch']] if what == 'train' else [1, 32]:
                    for threads in [int(t) for t in a.threads.split(',')]:
                        samples.append(compare(a, net, what, batch, threads, torch, ort, folder))
    for w in (torch, ort):
        if w:
            w.close()
    if a.json:
        with open(a.json, 'w') as f:
            json.dump({'versions': versions, 'environment': best, 'rounds': a.rounds, 'samples': samples}, f, indent=1)


if '--worker' in sys.argv:
    torch_worker()
else:
    main()
