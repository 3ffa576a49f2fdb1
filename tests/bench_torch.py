#!/usr/bin/python3
"""Training steps of emitted code and of PyTorch, in one process, in turn: a benchmark, not a test.

    bench_torch.py --convoy BUILD/gen/convoy [SPEC ...] [--orders A,B] [--threads 1,2] [--rounds 7] [--cpu] [--json FILE]

Both sides train the same network (PyTorch the twin) on the same batch; --orders trains it in orders other than the spec's own. A round times each side once, for about 0.4 seconds; the
ratio is taken round by round. PyTorch gets the settings that were found best: AVX-512 kernels where the processor has them, jemalloc where it is installed,
pinned threads, channels_last and NCHW (the faster counts), foreach SGD, gradients set to None. --cpu counts
processor time instead of time, for one thread on a machine with other work. Prints medians with the smallest and largest, and versions; --json keeps every sample."""
import argparse, ctypes as C, glob, importlib.util, json, os, statistics, subprocess, sys, tempfile, time

with open('/proc/cpuinfo') as cpu:
    AVX512 = ' avx512f ' in cpu.read()
BEST = {'ATEN_CPU_CAPABILITY': 'avx512' if AVX512 else 'avx2', 'OMP_PROC_BIND': 'true', 'MALLOC_CONF': 'dirty_decay_ms:-1,muzzy_decay_ms:-1'}
if os.environ.get('CONVOY_BENCH') != '1':  # settings that a process must start with
    env = dict(os.environ, CONVOY_BENCH='1', **BEST)
    jemalloc = glob.glob('/usr/lib/*/libjemalloc.so.2')
    if jemalloc:
        env['LD_PRELOAD'] = jemalloc[0]
    os.execve(sys.executable, [sys.executable] + sys.argv, env)

try:
    import numpy as np, torch
except ImportError:
    print('skipped: python3-torch missing')
    sys.exit(77)


class Step(C.Structure):
    _fields_ = [('lr', C.c_float), ('momentum', C.c_float), ('weight_decay', C.c_float), ('other', C.c_float),
                ('nesterov', C.c_int), ('seed', C.c_uint64), ('step', C.c_uint64)]


class Net(C.Structure):
    _fields_ = [(n, C.POINTER(C.c_float)) for n in ('param', 'momentum', 'grad', 'running')]


def run(*args, **kw):
    p = subprocess.run(args, text=True, capture_output=True, **kw)
    if p.returncode:
        sys.exit(f'{" ".join(args)}: {p.stderr}')
    return p.stdout


def emit(convoy, spec, sets, folder, cc):
    """The network as a shared library, and what is known of it."""
    extra = [a for s in sets for a in ('--set', s)]
    info = json.loads(run(convoy, 'check', spec, '--json', *extra))
    name = info['name']
    run(convoy, 'gen', spec, '-o', folder, *extra)
    header = open(f'{folder}/{name}.h').read()
    flags = header.split('target ')[1].split('(')[1].split(')')[0].split() if '(' in header.split('target ')[1].split('\n')[0] else []
    with open(f'{folder}/bench_shim.c', 'w') as f:
        f.write(f'#include "{name}.h"\nsize_t bench_bytes(int batch, int threads) {{ return {name.upper()}_ARENA_BYTES(batch, threads); }}\n'
                f'int bench_batch(void) {{ return {name}_model.train.batch; }}\n'
                f'int64_t bench_params(void) {{ return {name}_model.param_floats; }}\n')
    sources = glob.glob(f'{folder}/{name}_*.c') + [f'{folder}/runtime/cvy_kernels.c', f'{folder}/bench_shim.c']
    blas = subprocess.run(['pkg-config', '--cflags', '--libs', 'openblas'], text=True, capture_output=True)
    with_blas = ['-DCVY_OPENBLAS'] + blas.stdout.split() if blas.returncode == 0 else []
    run(cc, '-std=c11', '-O2', '-fPIC', '-shared', '-fopenmp', *flags, '-I', folder, '-o', f'{folder}/net.so', *sources, *with_blas, '-lm')
    return name, info, C.CDLL(f'{folder}/net.so')


def convoy_side(name, lib, x, y, batch, threads):
    lib.bench_bytes.restype = C.c_size_t
    lib.bench_params.restype = C.c_int64
    init, forward, backward = (getattr(lib, f'{name}_{f}') for f in ('init', 'forward', 'backward'))
    init.restype = C.c_void_p
    init.argtypes = [C.c_void_p, C.c_size_t, C.c_int, C.c_int]
    fp, ip = C.POINTER(C.c_float), C.POINTER(C.c_int)
    forward.restype = C.c_double
    forward.argtypes = [C.c_void_p, fp, ip, C.c_int, C.POINTER(Step), ip]
    backward.argtypes = [C.c_void_p, fp, C.c_int, C.POINTER(Step)]
    size = lib.bench_bytes(batch, threads)
    memory = np.zeros(size + 64, np.uint8)
    at = (memory.ctypes.data + 63) // 64 * 64
    net = init(at, size, batch, threads)
    params = np.ctypeslib.as_array(Net.from_address(net).param, (lib.bench_params(),))
    params[:] = np.random.default_rng(1).normal(0, 0.03, params.size).astype(np.float32)
    step, correct = Step(0.01, 0.9, 0, 0, 0, 1, 0), C.c_int()
    px, py = x.ctypes.data_as(fp), y.ctypes.data_as(ip)

    def one():
        forward(net, px, py, batch, C.byref(step), C.byref(correct))
        backward(net, px, batch, C.byref(step))
    one.keep = memory, x, y
    return one


def torch_side(module, x, y, channels_last):
    net = module.train()
    x, y = torch.from_numpy(x), torch.from_numpy(y).long()
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, foreach=True)
    loss = torch.nn.CrossEntropyLoss()

    def one():
        opt.zero_grad(set_to_none=True)
        loss(net(x), y).backward()
        opt.step()
    return one


def timed(one, seconds, threads, clock):
    torch.set_num_threads(threads)
    t = clock()
    one()
    n = max(1, int(seconds / max(clock() - t, 1e-6)))
    t = clock()
    for _ in range(n):
        one()
    return (clock() - t) / n * 1e3


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('specs', nargs='*', default=[os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'specs', 'fashion.yaml')])
    ap.add_argument('--convoy', required=True)
    ap.add_argument('--orders', default='')
    ap.add_argument('--threads', default='1,2')
    ap.add_argument('--rounds', type=int, default=7)
    ap.add_argument('--cc', default='gcc')
    ap.add_argument('--cpu', action='store_true')
    ap.add_argument('--json')
    a = ap.parse_args()
    clock = time.process_time if a.cpu else time.perf_counter
    samples = []
    print(f'PyTorch {torch.__version__}, {run(a.cc, "--version").splitlines()[0]}; ms a step, median (smallest to largest) of {a.rounds} rounds')
    for spec in a.specs:
        for order in a.orders.split(','):
            with tempfile.TemporaryDirectory() as folder:
                sets = [f'order={order}'] if order else []
                name, info, lib = emit(a.convoy, spec, sets, folder, a.cc)
                run(a.convoy, 'twin', spec, '-o', f'{folder}/twin.py', *(b for v in sets for b in ('--set', v)))
                loader = importlib.util.spec_from_file_location('twin', f'{folder}/twin.py')
                twin = importlib.util.module_from_spec(loader)
                loader.loader.exec_module(twin)
                module = [v for v in vars(twin).values() if isinstance(v, type) and issubclass(v, torch.nn.Module) and v.__module__ == 'twin'][-1] # helpers first
                batch = lib.bench_batch()
                rng = np.random.default_rng(0)
                x = rng.normal(0, 1, [batch] + info['input']).astype(np.float32)
                y = rng.integers(0, info['classes'], batch).astype(np.int32)
                for threads in [int(t) for t in a.threads.split(',')]:
                    sides = {'convoy': convoy_side(name, lib, x, y, batch, threads),
                             'torch NCHW': torch_side(module(), x, y, False), 'torch channels_last': torch_side(module(), x, y, True)}
                    times = {k: [] for k in sides}
                    for k, one in sides.items():
                        timed(one, 0.2, threads, clock)
                    for _ in range(a.rounds):
                        for k, one in sides.items():
                            times[k].append(timed(one, 0.4, threads, clock))
                    best = min((k for k in sides if k != 'convoy'), key=lambda k: statistics.median(times[k]))
                    ratios = [t / c for t, c in zip(times[best], times['convoy'])]
                    show = lambda v, f: f'{statistics.median(v):{f}} ({min(v):{f}} to {max(v):{f}})'
                    print(f'{name} {order or "as it is"} batch {batch}, {threads} threads: convoy {show(times["convoy"], ".2f")}, {best} {show(times[best], ".2f")}, '
                          f'ratio {show(ratios, ".2f")}', flush=True)
                    samples.append({'net': name, 'order': order, 'batch': batch, 'threads': threads, 'ms': times, 'peer': best, 'ratio': ratios})
    if a.json:
        with open(a.json, 'w') as f:
            json.dump({'torch': torch.__version__, 'environment': BEST, 'samples': samples}, f, indent=1)


main()
