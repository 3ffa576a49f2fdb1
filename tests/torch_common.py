"""What the comparisons with PyTorch share: files, building an emitted network, and ten steps beside a reference.

The reference is PyTorch in float64. Each step starts from the reference's state, rounded to float32 and given to both
sides, so that errors do not pile up; then loss, every stage's output, gradients, updated parameters, momentum and
running statistics are compared, and in the end inference with folded norms. Where a relu, leaky relu or max pooling
decides otherwise in float32 than in float64, the gradients of the two belong to different functions: such a step
compares the loss, the activations and the running statistics only, and is counted.

Where sums cancel (the gradient of a bias right before a norm is zero in truth), no float32 program can be within the
tolerance. How far rounding alone goes there is what the reference says itself, run in float32 and, some times, in
float64 with each stage's output and gradient, and a norm's insides, off by up to a unit in float32's last place:
NOISE times that is allowed, and counted."""
import argparse
import concurrent.futures
import copy
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
except ImportError:
    print("skipped: python3-torch missing")
    sys.exit(77)

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))


# ---- files ----------------------------------------------------------------------------------------------------------

ST_TYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}


def st_read(path):
    """A safetensors file: ({name: array}, metadata). Checks that the tensors tile the data without gap or overlap."""
    with open(path, "rb") as f:
        raw = f.read()
    size = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8:8 + size].decode("utf-8")), raw[8 + size:]
    meta, tensors, at = header.pop("__metadata__", {}), {}, 0
    for name, t in sorted(header.items(), key=lambda kv: kv[1]["data_offsets"]):
        begin, end = t["data_offsets"]
        kind = ST_TYPES[t["dtype"]]
        if begin != at or end - begin != kind.itemsize * math.prod(t["shape"]):
            raise ValueError(f"{path}: {name} stands at {begin}..{end}, expected it at {at}")
        tensors[name] = np.frombuffer(data[begin:end], kind).reshape(t["shape"])
        at = end
    if at != len(data):
        raise ValueError(f"{path}: {len(data) - at} bytes left over")
    return tensors, meta


def st_write(path, tensors, meta=None):
    header, blobs, at = {"__metadata__": {"format": "pt", **(meta or {})}}, [], 0
    names = {kind: name for name, kind in ST_TYPES.items()}
    for name, t in tensors.items():
        blob = np.ascontiguousarray(t).tobytes()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))


# ---- programs -------------------------------------------------------------------------------------------------------

class Failed(Exception):
    pass


def run(*command, cwd=None, env=None):
    """Runs a program; its standard output, or Failed with what it printed."""
    p = subprocess.run([str(c) for c in command], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode:
        said = (p.stdout + p.stderr).decode("utf-8", "replace").strip()
        raise Failed(f"{' '.join(str(c) for c in command)}: exit {p.returncode}\n{said[-2000:]}")
    return p.stdout.decode("utf-8", "replace")


def compiler(args):
    """For make. Where nothing is asked for, clang without optimisation, which takes half of gcc's time with -O1."""
    clang = not (args.cc or args.cflags) and shutil.which("clang")
    return [f"{k}={v}" for k, v in (("CC", "clang" if clang else args.cc), ("CFLAGS", "-O0" if clang else args.cflags or "-O1")) if v]


class Case:
    """A spec, what --set changes in it, and a folder to build it in."""

    def __init__(self, label, spec, sets=()):
        self.label, self.spec = label, spec
        self.options = [o for s in sets for o in ("--set", s)]


class Program:
    """An emitted network, built: the network's own files as one, with the runtime's objects of built_runtime.sh."""

    def __init__(self, args, case, folder):
        self.folder = os.path.join(folder, "net")
        # one name for all: the runtime's functions carry it
        named = [] if args.generator else ["--set", "name=chain"]
        run(args.generator or args.convoy, "gen", case.spec, "-o", self.folder, "--target", args.target, *(["--for", args.purpose] if args.purpose else []), *named, *case.options)
        if args.generator:
            run("make", "-C", self.folder)
        else:
            self.build(args)
        self.path = self.find()
        self.info = json.loads(run(self.path, "info", "--json"))

    def build(self, args):
        given = compiler(args)
        dir = os.environ.get("CONVOY_RUNTIMES") or os.path.join(tempfile.gettempdir(), f"convoy-runtimes-{os.getpid()}")
        built = run(os.path.join(HERE, "built_runtime.sh"), args.convoy, dir, args.target, args.purpose or "", *given).strip()
        with open(os.path.join(built, "make.log")) as f:
            log = f.read()
        name = "chain"
        with open(self.file("together.c"), "w") as f:
            # NAME_net.c first: it reads more of the layout than the others do
            files = sorted(e for e in os.listdir(self.folder) if e.endswith(".c") and "_" in e and e != f"{name}_net.c") + ["main.c"]
            files += [e for e in ("runtime/cvy_recurrent.c",) if os.path.exists(self.file(e))] # of few networks: not in the shared runtime
            f.writelines(f'#include "{e}"\n' for e in [f"{name}_net.c"] + files)
        runtime = [e.path for e in os.scandir(os.path.join(built, "runtime")) if e.name.endswith(".o")]
        found = [f"{key}={'yes' if option in log else 'no'}" for key, option in (("OPENMP", "-fopenmp"), ("OPENBLAS", "-lopenblas"))]
        run("make", "-C", self.folder, *given, *found, "OBJECTS=together.o", f"LDFLAGS={' '.join(sorted(runtime))}")

    def find(self):
        found = [e.path for e in os.scandir(self.folder)
                 if e.is_file() and os.access(e.path, os.X_OK) and "." not in e.name]
        if len(found) != 1:
            raise Failed(f"make left {len(found)} programs in {self.folder}")
        return found[0]

    def file(self, name):
        return os.path.join(self.folder, name)

    def content(self, name):
        with open(self.file(name), "rb") as f:
            return f.read()

    def save_images(self, x):
        """Where there is a length only, its height is 1."""
        np.save(self.file("x.npy"), x if x.ndim == 4 else x[:, :, None])

    def trace(self, state, momentum, x, labels, hyper, step, length=None):
        weights, start, out = self.file("w.safetensors"), self.file("s.safetensors"), self.file("t.safetensors")
        st_write(weights, state)
        st_write(start, {"momentum." + k: v for k, v in momentum.items()},
                 {"step": str(step), "epoch": "0", "seed": "7"})
        self.save_images(x)
        np.save(self.file("labels.npy"), labels)
        if length is not None:
            np.save(self.file("length.npy"), length)
        run(self.path, "trace", "--weights", weights, "--state", start, "--input", self.file("x.npy"), "--labels",
            self.file("labels.npy"), "--lr", hyper.lr, "--momentum", hyper.momentum, "--weight-decay", hyper.decay,
            *(["--nesterov"] if hyper.nesterov else []), *(["--lengths", self.file("length.npy")] if length is not None else []), "--seed", 7, "--step", step, "-o", out)
        return st_read(out)[0]

    def predict(self, state, x):
        st_write(self.file("w.safetensors"), state)
        self.save_images(x)
        run(self.path, "predict", "--weights", self.file("w.safetensors"), "--input", self.file("x.npy"),
            "-o", self.file("y.npy"))
        return np.load(self.file("y.npy"))


# ---- a reference ----------------------------------------------------------------------------------------------------

class Hyper:
    def __init__(self, lr, momentum, nesterov, decay):
        self.lr, self.momentum, self.nesterov, self.decay = lr, momentum, nesterov, decay


class Outcome:
    """What a step of a reference gives, all of it float64 arrays by name: loss, acts, grads, and after it params,
    momentum, stats (running_mean, running_var) and counts (num_batches_tracked)."""

    def __init__(self, loss, acts, grads, params, momentum, stats, counts):
        self.loss, self.acts, self.grads, self.params = loss, acts, grads, params
        self.momentum, self.stats, self.counts = momentum, stats, counts


class Jitter:
    """A tensor, its elements off by up to a unit in float32's last place, and its gradient likewise. With an odd seed equal
    elements are off alike, as when they are rounded, so that errors add up; with an even one each by itself."""

    def __init__(self, seed):
        self.alike = (2 * seed + 1) * 0x2545F4914F6CDD1D % 2 ** 63 if seed % 2 else None
        self.random = torch.Generator().manual_seed(seed)

    def off(self, t):
        if self.alike:
            bits = t.detach().contiguous().view(torch.int64) * self.alike  # int64 wraps around
            part = ((bits ^ (bits >> 29)) * self.alike >> 24 & 0xFFFFF).double() / 2 ** 20
        else:
            part = torch.rand(t.shape, generator=self.random)
        return t * (1 + (part * 2 - 1) * 2.0 ** -23)

    def __call__(self, t):
        t = self.off(t)
        if t.requires_grad:
            t.register_hook(self.off)
        return t

    def act(self, m, x):
        """An activation whose derivative comes from what is off: poor where it saturates, as float32 has it."""
        if isinstance(m, (torch.nn.ELU, torch.nn.SELU)):
            y, least = m.forward(x), m.forward(torch.tensor(-1e3, dtype=x.dtype))  # past the hook that asks this
            slope = torch.where(x > 0, m.forward(torch.tensor(1.0, dtype=x.dtype)), self.off(y) - least)
            return y.detach() + slope.detach() * (x - x.detach())
        s = self.off(torch.tanh(x) if isinstance(m, torch.nn.Tanh) else torch.sigmoid(x)).detach()
        if isinstance(m, torch.nn.SiLU):
            return (x * s).detach() + (s + x.detach() * s * (1 - s)) * (x - x.detach())
        return s + (1 - s * s if isinstance(m, torch.nn.Tanh) else s * (1 - s)) * (x - x.detach())

    def norm(self, m, x):
        """A norm in training, all that it computes off, as float32 has it where a batch leaves little to see."""
        if not isinstance(m, NORMS):
            return self.image_norm(m, x)
        dims, each = [d for d in range(x.ndim) if d != 1], (-1,) + (1,) * (x.ndim - 2)
        centred = self(x - self(x.mean(dims)).reshape(each))
        scale = self((self((centred * centred).mean(dims)) + m.eps) ** -0.5)
        return self(centred * scale.reshape(each)) * m.weight.reshape(each) + m.bias.reshape(each)

    def image_norm(self, m, x):
        groups = x.shape[1] if isinstance(m, INSTANCE_NORMS) else getattr(m, "num_groups", 1)
        parts, each = x.reshape(x.shape[0], groups, -1), (-1,) + (1,) * (x.ndim - 2)
        rms = is_rms(m)
        centred = parts if rms else self(parts - self(parts.mean(2, keepdim=True)))
        scale = self((self((centred * centred).mean(2, keepdim=True)) + m.eps) ** -0.5)
        y = self(centred * scale).reshape(x.shape) * m.weight.reshape(each)
        return y if rms else y + m.bias.reshape(each)


NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
INSTANCE_NORMS = (torch.nn.InstanceNorm1d, torch.nn.InstanceNorm2d)
IMAGE_NORMS = (torch.nn.GroupNorm, torch.nn.LayerNorm, *INSTANCE_NORMS)
CURVES = (torch.nn.Tanh, torch.nn.Sigmoid, torch.nn.SiLU, torch.nn.ELU, torch.nn.SELU)
MAX_POOLS = (torch.nn.MaxPool1d, torch.nn.MaxPool2d)


def is_rms(m):
    """The twin's own class, known by name."""
    return type(m).__name__ == "RmsNorm"


KINKS = {}  # by an activation's name and numbers


def kinks_of(call):
    """Where an activation's slope jumps, between -12 and 12, found by bisection: (output there, slope to its right)."""
    def slope(x):
        x = x.clone().requires_grad_(True)
        return torch.autograd.grad(call(x).sum(), x)[0]
    low = torch.linspace(-12.0037, 12.0011, 3001, dtype=torch.float64)
    low, high = low[:-1].clone(), low[1:].clone()
    for _ in range(48):
        middle = (low + high) / 2
        left, here, right = slope(low), slope(middle), slope(high)
        below = (here - left).abs() >= (right - here).abs()
        low, high = torch.where(below, low, middle), torch.where(below, middle, high)
    jump = (slope(high) - slope(low)).abs() > 1e-6
    at = [float(v) for v in call(low[jump])]
    return [(round(y, 9), float(s)) for y, s in zip(at, slope(high[jump]))]


def sides(m):
    """What tells, by an activation's output, on which side of its kinks an element is: where it goes on flat, or downwards, it is past the
    kink at its very value. None for other modules. A kink whose output is no float has a margin."""
    if not (type(m).__module__ == "torch.nn.modules.activation" or type(m).__name__ == "GeneralRelu"):
        return None
    key = type(m).__name__ + repr(sorted((k, v) for k, v in vars(m).items() if isinstance(v, (int, float))))
    if key not in KINKS:
        KINKS[key] = kinks_of(m.forward)
    kinks = KINKS[key]
    margin = [0 if float(np.float32(y)) == y else 1e-6 for y, _ in kinks]
    return (lambda v: sum(1 * (v >= y - e if s <= 0 else v > y + e) for (y, s), e in zip(kinks, margin))) if kinks else None


class TwinReference:
    """A torch.nn.Module with PyTorch's own layers, autograd and SGD. A stage is a module that holds no other, or a recurrent one."""

    def __init__(self, module, source=""):
        self.module, self.source = module, source
        self.learns_input = "mse_loss(net(x), x.flatten(1))" in source
        self.learns_values = "mse_loss(net(x), values)" in source
        self.tokens = next((m.num_embeddings for m in module.modules() if isinstance(m, torch.nn.Embedding)), 0)
        self.net = copy.deepcopy(module).double()
        self.dtype, self.jitter = torch.float64, None
        self.shapes = {k: tuple(v.shape) for k, v in self.net.state_dict().items()}
        self.learns = {k for k, p in self.net.named_parameters() if p.requires_grad}
        self.stages, self.kinks, self.drops = [], [], {}
        self.acts, self.masks, self.pooled, self.made = {}, {}, {}, []
        within = None # a recurrent module, whose norms are none of the network's
        for path, m in self.net.named_modules():
            recurrent = isinstance(m, torch.nn.RNNBase)
            inside = within and path.startswith(within)
            if path == "" or (inside and not isinstance(m, torch.nn.Identity)) or (any(True for _ in m.children()) and not recurrent):
                continue # the Identities of a bidirectional one hand out its two directions
            within = f"{path}." if recurrent else within if inside else None
            self.stages.append(path)
            if sides(m) or isinstance(m, MAX_POOLS):
                self.kinks.append((path, m))
            elif isinstance(m, torch.nn.Dropout):
                self.drops[path] = m.p
            m.register_forward_hook(self.hook(path))

    def loss(self, y, x, target):
        """As the twin's source says."""
        functional = torch.nn.functional
        if self.learns_input or self.learns_values:
            return functional.mse_loss(y, x.flatten(1) if self.learns_input else target.to(self.dtype))
        return functional.cross_entropy(y, target)

    def hook(self, path):
        def see(module, inputs, output):
            if isinstance(module, torch.nn.Dropout) and module.training:
                output = inputs[0] * self.masks[path].reshape(output.shape) / (1 - module.p)
            if self.jitter:
                if (isinstance(module, (*NORMS, *IMAGE_NORMS)) or is_rms(module)) and module.training:
                    output = self.jitter.norm(module, inputs[0])
                elif isinstance(module, CURVES):
                    output = self.jitter.act(module, inputs[0])
                output = self.jitter(output)
            self.acts[path] = output.detach()
            if isinstance(module, MAX_POOLS):
                self.pooled[path] = self.maker(inputs[0]), inputs[0].shape[1:]
            self.made.append((path, output))
            return output
        return see

    def maker(self, tensor):
        """The stage whose output a tensor is, or None for the input."""
        return next((path for path, output in reversed(self.made) if output.data_ptr() == tensor.data_ptr()), None)

    def rough(self, attempt):
        """The same, with rounding: attempt 0 in float32, the others in float64 with jitter."""
        other = TwinReference(self.module, self.source)
        if attempt == 0:
            other.net.float()
            other.dtype = torch.float32
        else:
            other.jitter = Jitter(attempt)
        return other

    def load(self, state):
        self.made = []
        self.net.load_state_dict({k: torch.tensor(np.array(v, dtype=None)) for k, v in state.items()}, strict=True)

    def step(self, state, momentum, x, labels, masks, hyper):
        self.load(state)
        self.net.train()
        self.acts, self.masks = {}, {k: torch.tensor(v, dtype=self.dtype) for k, v in masks.items()}
        every = dict(self.net.named_parameters())
        named = {k: p for k, p in every.items() if p.requires_grad}
        decayed = [p for p in named.values() if p.ndim > 1]
        others = [p for p in named.values() if p.ndim == 1]
        groups = [{"params": g, "weight_decay": d} for g, d in ((decayed, hyper.decay), (others, 0.0)) if g]
        sgd = torch.optim.SGD(groups, lr=hyper.lr, momentum=hyper.momentum, nesterov=hyper.nesterov)
        if hyper.momentum:
            for k, p in named.items():
                sgd.state[p]["momentum_buffer"] = torch.tensor(momentum[k], dtype=self.dtype)
        sgd.zero_grad()
        loss = self.loss(self.net(torch.tensor(x, dtype=self.dtype)), torch.tensor(x, dtype=self.dtype), torch.tensor(labels))
        loss.backward()
        grads = {k: p.grad.numpy().copy() for k, p in named.items()}
        sgd.step()
        after = {k: v.numpy().copy() for k, v in self.net.state_dict().items()}
        buffers = {}
        if hyper.momentum:
            buffers = {k: sgd.state[p]["momentum_buffer"].numpy().copy() for k, p in named.items()}
        return Outcome(loss.item(), {k: v.numpy() for k, v in self.acts.items()}, grads, {k: after[k] for k in every},
                       buffers, {k: v for k, v in after.items() if ".running_" in k},
                       {k: v for k, v in after.items() if k.endswith("num_batches_tracked")})

    def infer(self, state, x):
        self.load(state)
        self.net.eval()
        with torch.no_grad():
            return self.net(torch.tensor(x, dtype=self.dtype)).numpy()


def load_twin(source, label):
    """The last torch.nn.Module class that a twin's source defines, as an instance: before it stand what it uses."""
    space = {"__name__": "twin"}
    exec(compile(source, f"<twin of {label}>", "exec"), space)
    classes = [v for v in space.values() if isinstance(v, type) and issubclass(v, torch.nn.Module)]
    if not classes or source.count("\nclass ") != len(classes):
        raise Failed(f"the twin defines {len(classes)} modules")
    return classes[-1]()


# ---- random states --------------------------------------------------------------------------------------------------

def is_trained(name):
    return not name.endswith((".running_mean", ".running_var", ".num_batches_tracked"))


def random_state(shapes, rng):
    """Weights of a useful size; norms' gammas of either sign and sometimes zero; running statistics like real ones."""
    state = {}
    for name, shape in shapes.items():
        norm = len(shape) == 1 and name.endswith("weight")
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(rng.integers(0, 1000), np.int64)
        elif name.endswith("running_var"):
            state[name] = rng.uniform(0.3, 2, shape)
        elif norm:
            gamma = rng.normal(1, 0.5, shape) * rng.choice([1, 1, 1, -1], shape)
            state[name] = np.where(rng.random(shape) < 0.1, 0, gamma)
        elif len(shape) > 1:
            state[name] = rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
        else:
            state[name] = rng.normal(0, 0.3, shape)
    return {k: v if v.dtype == np.int64 else v.astype(np.float32) for k, v in state.items()}


# ---- comparing ------------------------------------------------------------------------------------------------------

NOISE, ROUGH_RUNS = 16, 4


class Report:
    """Collects what differs in a case."""

    def __init__(self):
        self.wrong, self.worst, self.flips, self.steps, self.noisy = [], 0.0, 0, 0, 0

    def close(self, where, got, want, kind, rough=None):
        """`kind`: the largest magnitude of the tensor's kind. `rough()`: the tensor as rough runs of the reference have
        it. The worst ratio of error to tolerance is kept."""
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        if got.size != want.size:
            self.wrong.append(f"{where}: {got.shape} where the reference has {want.shape}")
            return
        if not got.size:
            return
        tolerance = 1e-4 * max(np.abs(want).max(), 1e-3 * kind)
        error = np.abs(got.reshape(want.shape) - want)
        at = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
        ratio = error[at] / tolerance if tolerance > 0 else (0.0 if error[at] == 0 else math.inf)
        noise = [np.abs(t.reshape(want.shape) - want).max() for t in rough()] if rough and ratio > 1 else []
        if noise and error[at] <= NOISE * max(noise):
            self.noisy += 1
            return
        if not ratio <= 1:
            self.wrong.append(f"{where}{list(map(int, at))}: {got.reshape(want.shape)[at]:.9g}, reference "
                              f"{want[at]:.9g}, {ratio:.3g} times the tolerance")
        if not math.isnan(ratio):
            self.worst = max(self.worst, float(ratio))


def largest(tensors):
    return max((float(np.abs(t).max()) for t in tensors.values() if t.size), default=0.0)


def winners(pool, x):
    """Which element of each window is the largest."""
    for pads in getattr(pool, "sides", None), getattr(pool, "hang", None):
        x = torch.nn.functional.pad(x, pads, value=-math.inf) if pads else x
    function = torch.nn.functional.max_pool1d if x.ndim == 3 else torch.nn.functional.max_pool2d
    return function(x, pool.kernel_size, pool.stride, pool.padding, ceil_mode=pool.ceil_mode, return_indices=True)[1]


def count_flips(ref, got, want):
    """How many decisions at kinks differ between the trace's activations and the reference's."""
    flips = 0
    for path, pool in ref.kinks:
        side = sides(pool)
        before, shape = (None, None) if side else ref.pooled[path]
        if side:
            flips += int((side(got[path].ravel()) != side(want[path].ravel())).sum())
        elif before is not None:
            routes = [winners(pool, torch.tensor(np.asarray(t[before], np.float64)).reshape(-1, *shape)) for t in (got, want)]
            flips += int((routes[0] != routes[1]).sum())
    return flips


def expect_names(report, where, got, expected):
    missing, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    if missing:
        report.wrong.append(f"{where}: the trace lacks {', '.join(missing[:5])}")
    if extra:
        report.wrong.append(f"{where}: the trace has {', '.join(extra[:5])}, which the reference does not know")
    return not missing


class Rough:
    """The step a few times more with rounding, when it is asked for. A run that decides otherwise at a kink is no
    measure of gradients, unless all do: then rounding alone turns decisions there."""

    def __init__(self, ref, want, step):
        self.ref, self.want, self.step, self.outcomes = ref, want, step, None

    def of(self, group, name):
        def get():
            if self.outcomes is None:
                self.outcomes, self.even = [], []
                while len(self.even) < ROUGH_RUNS and len(self.outcomes) < 3 * ROUGH_RUNS:
                    self.outcomes.append(self.ref.rough(len(self.outcomes)).step(*self.step))
                    if not count_flips(self.ref, self.outcomes[-1].acts, self.want.acts):
                        self.even.append(self.outcomes[-1])
            outcomes = self.even or self.outcomes if group in ("grads", "params", "momentum") else self.outcomes
            return [np.asarray(getattr(o, group)[name] if name else getattr(o, group), np.float64) for o in outcomes]
        return get


def compare_step(report, where, ref, state, trace, want, rough, momentum_used):
    expected = ["loss"] + ["act." + s for s in ref.stages] + ["mask." + s for s in ref.drops]
    expected += ["grad." + k for k in want.grads] + ["after." + k for k in [*want.params, *want.stats, *want.counts]]
    expected += ["after.momentum." + k for k in want.grads]
    if not expect_names(report, where, trace, expected):
        return
    report.steps += 1
    acts = {s: trace["act." + s] for s in ref.stages}
    scale = largest(want.acts)
    report.close(f"{where} loss", trace["loss"], want.loss, scale, rough.of("loss", None))
    for s in ref.stages:
        report.close(f"{where} act.{s}", acts[s], want.acts[s], scale, rough.of("acts", s))
    for k, v in want.stats.items():
        report.close(f"{where} after.{k}", trace["after." + k], v, largest(want.stats), rough.of("stats", k))
    for k, v in want.counts.items():
        if trace["after." + k].dtype != np.int64 or trace["after." + k].shape != () or trace["after." + k] != v:
            report.wrong.append(f"{where} after.{k}: {trace['after.' + k]}, reference {v}")
    for k in want.params:  # frozen weights stay, to the bit
        if k not in want.grads and not np.array_equal(trace["after." + k], state[k].reshape(trace["after." + k].shape)):
            report.wrong.append(f"{where} after.{k}: it is frozen, and changed")
    if count_flips(ref, acts, want.acts):
        report.flips += 1
        return
    for k in reversed(want.grads):  # the one nearest to the loss tells where it began
        if trace["grad." + k].shape != want.grads[k].shape:
            report.wrong.append(f"{where} grad.{k} has the shape {trace['grad.' + k].shape}")
        report.close(f"{where} grad.{k}", trace["grad." + k], want.grads[k], largest(want.grads), rough.of("grads", k))
        report.close(f"{where} after.{k}", trace["after." + k], want.params[k], largest(want.params),
                     rough.of("params", k))
        if momentum_used:
            report.close(f"{where} after.momentum.{k}", trace["after.momentum." + k], want.momentum[k],
                         largest(want.momentum), rough.of("momentum", k))


def check_masks(report, where, masks, drops):
    for path, mask in masks.items():
        p, n = drops[path], mask.size
        if not np.isin(mask, (0, 1)).all():
            report.wrong.append(f"{where} mask.{path}: holds other values than 0 and 1")
        elif abs(mask.mean() - (1 - p)) > 6 * math.sqrt(p * (1 - p) / n) + 1e-12:
            report.wrong.append(f"{where} mask.{path}: keeps {mask.mean():.4f} of {n}, p is {p}")


def draw_inputs(ref, rng, n, shape):
    """What a network reads: normal numbers, or the tokens that its twin embeds."""
    tokens = getattr(ref, "tokens", 0)
    return rng.integers(0, tokens, (n, *shape)) if tokens else rng.normal(0, 1, (n, *shape))


def compare(report, program, ref, shape, classes, seed, steps=10, least=1, made_up=False):
    """`steps` training steps and an inference of `program` beside `ref`. shape: C, H, W, or C, L; least: images per batch;
    made_up: a random network. It may have a flip in each step (pooling over gelu, which PyTorch has at -0 from -8.3 on); run_cases limits
    how many steps of all have one."""
    rng, batches = np.random.default_rng(seed), (5, 8, 1, 6, 3)
    if "tensors" in program.info:
        listed = {t["name"]: tuple(t["shape"]) for t in program.info["tensors"]}
        if listed != ref.shapes:
            report.wrong.append(f"info lists {listed}, the reference has {ref.shapes}")
            return
    def start():
        state = random_state(ref.shapes, rng)
        learns = getattr(ref, "learns", None) or {k for k in state if is_trained(k)}
        return state, {k: rng.normal(0, 0.05, v.shape).astype(np.float32) for k, v in state.items() if k in learns}

    state, momentum = start()
    for step in range(steps):
        n = max(least, batches[step % len(batches)])
        x = draw_inputs(ref, rng, n, shape).astype(np.float32)
        labels = rng.integers(0, classes, n)
        if getattr(ref, "learns_values", False):
            labels = rng.normal(0, 1, (n, classes)).astype(np.float32)
        hyper = Hyper(0.05, (0.9, 0.9, 0.5, 0.0)[step % 4], step % 4 == 1, (5e-4, 0.01, 0.0)[step % 3])
        trace = program.trace(state, momentum, x, labels, hyper, step)
        masks = {k[5:]: v for k, v in trace.items() if k.startswith("mask.")}
        check_masks(report, f"step {step}", masks, ref.drops)
        if set(masks) != set(ref.drops):
            report.wrong.append(f"step {step}: masks of {sorted(masks)}, dropout in {sorted(ref.drops)}")
            return
        given = (state, momentum, x, labels, masks, hyper)
        want = ref.step(*given)
        if made_up and step and not max(largest(want.acts), largest(want.grads), largest(want.params)) < 1e15:
            state, momentum = start()  # it diverged, to where squares are no floats
            continue
        compare_step(report, f"step {step}", ref, state, trace, want, Rough(ref, want, given), hyper.momentum > 0)
        if report.wrong:
            return
        state = {k: np.asarray(v, np.int64 if v.dtype == np.int64 else np.float32)
                 for k, v in {**want.params, **want.stats, **want.counts}.items()}
        state = {k: state[k] for k in ref.shapes}
        if want.momentum:
            momentum = {k: v.astype(np.float32) for k, v in want.momentum.items()}
    if not made_up and 2 * report.flips > report.steps:
        report.wrong.append(f"{report.flips} of {report.steps} steps had a flip: too few gradients were compared")
    state = random_state(ref.shapes, rng)
    for n in (1, 7):
        x = draw_inputs(ref, rng, n, shape).astype(np.float32)
        report.close(f"inference of {n}", program.predict(state, x), ref.infer(state, x), 0,
                     lambda: [np.asarray(ref.rough(i).infer(state, x), np.float64) for i in range(ROUGH_RUNS)])


# ---- the run --------------------------------------------------------------------------------------------------------

def common_options(parser):
    parser.add_argument("--convoy", required=True, help="the convoy program")
    parser.add_argument("--generator", help="a stand-in for 'convoy gen'")
    parser.add_argument("--target", default="native")
    parser.add_argument("--for", dest="purpose", metavar="F", help="what the code is emitted for: speed, size, reading (needs --target portable)")
    parser.add_argument("--cc", help="the compiler that builds emitted code (default: clang -O0, or else the Makefile's with -O1)")
    parser.add_argument("--cflags", help="its flags (default: -O1)")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time (default: 1)")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="TEXT", help="only cases whose label holds TEXT")
    parser.add_argument("--keep", metavar="DIR", help="keep the emitted folders there")


def run_cases(args, cases, one):
    """Calls one(args, case, folder, report) for each case; prints a line each and the counts; the exit status."""
    cases = [case for case in cases if not args.only or args.only in case.label]

    def judge(number):
        report = Report()
        base = os.path.join(args.keep, f"{number:03d}") if args.keep else tempfile.mkdtemp(prefix="convoy-torch-")
        os.makedirs(base, exist_ok=True)
        try:
            one(args, cases[number], base, report)
        except (Failed, OSError, ValueError, KeyError, RuntimeError) as e:
            report.wrong.append(f"{type(e).__name__}: {e}")
        finally:
            if not args.keep:
                shutil.rmtree(base, ignore_errors=True)
        return report

    passed = failed = steps = flips = noisy = 0
    pool = concurrent.futures.ThreadPoolExecutor(max(1, args.jobs))
    for case, report in zip(cases, pool.map(judge, range(len(cases)))):
        steps, flips, noisy = steps + report.steps, flips + report.flips, noisy + report.noisy
        if report.wrong:
            failed += 1
            print(f"FAIL {case.label}\n     repeat: {shlex.join([sys.executable, *sys.argv])} --only {shlex.quote(case.label)}")
            for line in report.wrong[:8]:
                print("     " + line.replace("\n", "\n     "))
            if len(report.wrong) > 8:
                print(f"     and {len(report.wrong) - 8} more")
        else:
            passed += 1
            ran = f": {report.steps} steps, {report.flips} with a flip, worst {report.worst:.3f} of the tolerance"
            ran += f", {report.noisy} noisy tensors" if report.noisy else ""
            print(f"ok   {case.label}{ran if report.steps else ''}")
        sys.stdout.flush()
    if 4 * flips > steps:
        failed += 1
        print("FAIL too many steps with a flip")
    if steps:
        print(f"{steps} steps, {flips} of them with a flip (no gradients compared), {noisy} noisy tensors")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def run_named(about, prefix, cases, forms, case):
    """The main of a script of named cases: each in each of its forms. case(convoy, name, form, folder) -> (passed, words)"""
    p = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--convoy", required=True)
    p.add_argument("words", nargs="*", help="only cases whose names have one of them")
    a = p.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix=prefix) as work:
        for name in cases:
            if a.words and not any(w in name for w in a.words):
                continue
            for form in forms(name):
                ok, words = case(os.path.abspath(a.convoy), name, form, work)
                print("ok     " if ok else "FAILED ", words, flush=True)
                passed, failed = passed + ok, failed + (not ok)
    print(f"{passed} passed, {failed} failed")
    return failed != 0
