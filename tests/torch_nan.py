"""A NaN in an image comes out of every op where it comes out of PyTorch's, forward and backward.

    torch_nan.py --convoy build/gen/convoy [--all] [WORD...]      only the forms whose name holds a WORD

Networks with every activation, norm, pool and sort of conv take a training step and an inference, with a NaN at some places of some
images (target_step.c), for each target that can run here and in each form: for speed, for size, for reading, exported. The first target has
all of them; the other targets have activations and pools, one activation of each sort, as these are what their vectors compute
each in its own way. --all: every network in every form, and two forms more. Beside them runs the twin in PyTorch. Compared is where a NaN stands: in the loss, each stage's output, each gradient, the running statistics, the logits. Winograd
is off, as it may spread a NaN over a tile; nothing is dropped out, as a dropped element is zero whatever it was."""
import argparse
import collections
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import threading

from methods import runtime_library
from torch_common import HERE, Failed, load_twin, run, st_write

import numpy as np
import torch

BATCH = 5  # target_step.c's
ACTS = [
    # made: activations (test_front rewrite)
    "relu", "leaky_relu(0.01)", "leaky_relu(0.125)", "tanh", "sigmoid", "silu", "elu(1)", "elu(0.7)",
    "elu(1.5)", "selu", "gelu", "mish", "softplus", "relu6", "hard_sigmoid", "hard_swish",
    "hard_tanh(-1,1)", "hard_tanh(-0.5,2)", "hard_tanh(0.25,1)", "general_relu(0,0)", "general_relu(0.125,0.5,2.5)", "general_relu(0.125,0.5)",
    # made: end
]
HEAD = "name: net\ninput: [{shape}]\nclasses: 4\nwinograd: off\nlayers:\n"
# Whole vectors everywhere: what PyTorch's relu6, elu and hardswish do with the last few elements is not what they do with the others.


def activations(acts):
    return (HEAD.format(shape="3, 4, 4") + "  - stage:\n      concat:\n"
                    + "".join(f"        - [conv: {{out: 4, kernel: 1, bias: true, order: \"conv-{a}\"}}]\n" for a in acts)
                    + "        - [conv: {out: 4, kernel: 1, order: \"conv-maxpool(3,1,1)\"}]\n        - [conv: {out: 4, kernel: 1, order: \"conv-avgpool(3,1,1)\"}]\n"
                    "        - [conv: {out: 4, kernel: 1, order: \"conv-maxpool(2,1,0:1)\"}]\n        - [conv: {out: 4, kernel: 1, padding: same, order: \"conv-avgpool(2,1,same)\"}]\n"
                    "  - conv: {out: 8, bias: true, order: conv-relu}\n  - conv: {out: 16, stride: 2, bias: true, order: \"conv-maxpool(2)-relu\"}\n"
                    "  - flatten\n  - linear: {out: 16, order: linear-relu6}\n  - linear: classes\n", [0, 3 * 16 + 5, 2 * 48 + 16 + 9])


SPECS = {
    "activations": activations(ACTS),
    "sorts of activations": activations({a.split("(")[0]: a for a in ACTS}.values()),
    "batch_norms": (HEAD.format(shape="3, 4, 4") + "  - stage: {concat: [[conv: {out: 8, order: conv-bn-relu}], [conv: {out: 8, order: conv-relu-bn}], [bn], []]}\n"
                    "  - stage: {residual: [conv: {out: 19, order: conv-relu}], shortcut: conv}\n  - global_avg_pool\n  - linear: classes\n", [17]),
    "image_norms": (HEAD.format(shape="4, 4, 4") + "  - stage: {concat: [[conv: {out: 8, order: conv-in-relu}], [conv: {out: 8, groups: 4, order: conv-relu-gn(4)}], "
                    "[in, relu], [gn(2), act], [ln], [rms]]}\n  - stage: {shortcut: pad, residual: [conv: {out: 32, order: conv-relu6}]}\n  - global_avg_pool\n  - linear: classes\n", [18, 64 + 3]),
    "groups": (HEAD.format(shape="4, 4, 4") + "  - conv: {groups: depthwise, bias: true, order: conv-relu}\n  - conv: {out: 32, groups: 4, kernel: 1, bias: true, order: conv-relu}\n"
               "  - conv: {out: 32, groups: 2, bias: true, order: conv-relu}\n  - conv: {out: 24, groups: 8, kernel: 2, padding: 0, stride: 2, bias: true, order: conv-relu}\n"
               "  - stage: {concat: [[], [conv: {out: 8, kernel: 1, dilation: 2, order: conv-act}]]}\n  - flatten\n  - linear: classes\n", [5, 64 * 2 + 16 + 3]),
}

NETS, ACTIVATIONS, SORTS = [n for n in SPECS if n != "sorts of activations"], ["activations"], ["sorts of activations"]


def numbers(text):
    return {line.split(" ")[0]: np.array([float(v) for v in line.split(" ")[1:]]) for line in text.splitlines()}


def reference(module, before, x, labels):
    """PyTorch's numbers, under target_step.c's names."""
    state = {k: v for k, v in module.state_dict().items()}
    module.load_state_dict({k: torch.tensor(before[f"before.{k}"], dtype=torch.float32).reshape(v.shape) if f"before.{k}" in before else v for k, v in state.items()})
    made, hooks = {}, []

    def watched(path):
        def see(module, inputs, output):
            made[f"act.{path}"] = output.detach().numpy().copy()
        return see

    module.eval()
    with torch.no_grad():
        made["answers"] = module(x).numpy()
    for path, m in module.named_modules():
        if path and not any(True for _ in m.children()):
            hooks.append(m.register_forward_hook(watched(path)))
    module.train()
    loss = torch.nn.functional.cross_entropy(module(x), labels)
    loss.backward()
    for h in hooks:
        h.remove()
    made["loss"] = np.array(loss.item())
    made.update({f"grad.{k}": p.grad.numpy() for k, p in module.named_parameters()})
    made.update({f"after.{k}": v.numpy() for k, v in module.state_dict().items() if ".running_" in k})
    return made


def compared(got, want):
    """What differs; and how many tensors there are."""
    bad, seen = [], 0
    for name, v in want.items():
        if name not in got:
            if not name.startswith("act."):
                bad.append(f"{name} is missing")
            continue
        seen += 1
        a, b = np.isnan(got[name]).ravel(), np.isnan(v).ravel()
        if a.size != b.size or (a != b).any():
            bad.append(f"{name}: {int(a.sum())} NaNs of {a.size}, PyTorch has {int(b.sum())} of {b.size}; first at {int(np.argmax(a != b)) if a.size == b.size else '?'}")
    return bad, seen


class Form:
    def __init__(self, name, options, flags=(), cc=("clang" if shutil.which("clang") else "gcc",), link=(), under=(), exported=False, nets=NETS):
        self.name, self.options, self.flags, self.cc, self.link, self.under, self.exported, self.nets = name, options, flags, cc, link, under, exported, nets


def cross_compiler():
    """clang takes two thirds of gcc's time."""
    clang = ("clang", "--target=aarch64-linux-gnu")
    works = shutil.which("clang") and subprocess.run([*clang, "-static", "-x", "c", "-", "-o", os.devnull], input=b"int main(void) { return 0; }", stderr=subprocess.DEVNULL).returncode == 0
    return clang if works else ("aarch64-linux-gnu-gcc",)


def forms(every):
    """Those that can run here, the first with all networks, and words about the others."""
    found, skipped = [], []
    nets = ACTIVATIONS if every else SORTS
    cpu = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
    for target, needs, flags in (("avx512", "avx512dq", ("-mavx512f", "-mavx512dq", "-mfma")), ("avx2", "avx2", ("-mavx2", "-mfma"))):
        if f" {needs}" in cpu:
            found.append(Form(target, ["--target", target], flags, nets=nets if found else NETS))
        else:
            skipped.append(f"{target}: this processor has no {needs}")
    portable, scalar = ["--target", "portable"], ("-DCVY_SCALAR",)
    found += [Form("portable", portable, nets=nets if found and not every else NETS), Form("scalar", portable, scalar, nets=nets),
              Form("reading", ["--for", "reading"]), Form("exported", portable, exported=True)]
    if every:  # portable's vectors and scalar's, once more
        found += [Form("size", [*portable, "--for", "size"], nets=nets), Form("exported, scalar", portable, scalar, exported=True, nets=nets)]
    if shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64"):
        found.append(Form("neon", ["--target", "neon"], (), cross_compiler(), ("-static",), ("qemu-aarch64",), nets=nets))
    else:
        skipped.append("neon: aarch64-linux-gnu-gcc or qemu-aarch64 is missing")
    return found, skipped


def built(convoy, form, spec, folder):
    out = os.path.join(folder, "net")
    run(convoy, "gen", spec, "-o", out, *form.options)
    kernels = sorted(f for f in os.listdir(out) if f.startswith("net_") and f.endswith(".c") and f[4:-2] not in ("bench", "trace", "model", "net"))
    with open(os.path.join(out, "together.c"), "w") as f: # one file compiles in half the time; net_net.c first, as it reads more of the layout
        f.writelines(f'#include "{e}"\n' for e in ["net_net.c"] + kernels)
    sources = ["together.c"] + [f for f in ("net_trace.c", "net_model.c") if os.path.exists(os.path.join(out, f))]
    program = os.path.join(out, "step")
    run(*form.cc, "-std=gnu11", "-O0", "-Wall", "-Werror", *form.flags, '-DHEADER="net.h"', "-DMODEL=net_model", "-DTRACER=net_tracer", "-DSUPPORTED=net_supported", "-I", out, "-o", program,
        *form.link, os.path.join(HERE, "target_step.c"), *(os.path.join(out, f) for f in sources), *runtime_library(out), "-lm")
    return program


def answers(convoy, form, spec, folder, before, x):
    """The logits of the exported network."""
    weights, out = os.path.join(folder, "w.safetensors"), os.path.join(folder, "e")
    tensors = {k[len("before."):]: v.astype(np.float32).reshape(s) for k, (v, s) in before.items()}
    counts = {k.replace("running_mean", "num_batches_tracked"): np.array(1, np.int64) for k in tensors if k.endswith("running_mean")}
    st_write(weights, {**tensors, **counts})
    run(convoy, "export", spec, "--weights", weights, "-o", out, "--single-file", *form.options)
    with open(os.path.join(out, "main.c"), "w") as f: # the images on stdin, the logits on stdout
        f.write('#include "net.h"\n#include <stdio.h>\nint main(void)\n{\n    static char memory[NET_ARENA_BYTES(1)];\n    static float x[%d], y[4];\n'
                '    struct net *net = net_init(memory, sizeof memory, 1);\n    while (net && fread(x, sizeof x, 1, stdin) == 1) {\n'
                '        net_infer(net, x, y, 1);\n        fwrite(y, sizeof y, 1, stdout);\n    }\n    return 0;\n}\n' % x[0].numel())
    run(*form.cc, "-std=gnu11", "-O0", *form.flags, "-I", out, "-o", os.path.join(out, "run"), os.path.join(out, "main.c"), os.path.join(out, "net.c"), "-lm")
    p = subprocess.run([os.path.join(out, "run")], input=x.numpy().astype("<f4").tobytes(), stdout=subprocess.PIPE, check=True)
    return np.frombuffer(p.stdout, "<f4")


RAN = {}  # (form, spec): what its program says
ALONE = collections.defaultdict(threading.Lock)


def judged(convoy, form, first, name, work):
    """What differs. The weights and images of an exported network are those of the first form."""
    text, places = SPECS[name]
    folder = os.path.join(work, f"{form.name}_{name}".replace(", ", "_").replace(" ", "_"))
    os.mkdir(folder)
    spec = os.path.join(folder, "net.yaml")
    with open(spec, "w") as f:
        f.write(text)
    ran = first if form.exported else form
    with ALONE[ran.name, name]:
        if (ran.name, name) not in RAN:
            RAN[ran.name, name] = numbers(run(*ran.under, built(convoy, ran, spec, folder), *places))
    got = RAN[ran.name, name]
    module = load_twin(run(convoy, "twin", spec), name)
    shape = [int(v) for v in text.split("input: [")[1].split("]")[0].split(",")]
    x = torch.tensor(got["x"], dtype=torch.float32).reshape([BATCH] + shape)
    want = reference(module, {k: v for k, v in got.items() if k.startswith("before.")}, x, torch.arange(BATCH) % 4)
    if form.exported:
        shapes = {k: tuple(v.shape) for k, v in module.state_dict().items()}
        before = {k: (v, shapes[k[len("before."):]]) for k, v in got.items() if k.startswith("before.")}
        got, want = {"answers": answers(convoy, form, spec, folder, before, x)}, {"answers": want["answers"]}
    return compared(got, want)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("--all", action="store_true", dest="every")
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    convoy, count = os.path.abspath(given.convoy), {"passed": 0, "failed": 0}
    found, skipped = forms(given.every)
    first = found[0]
    found = [f for f in found if not given.words or any(w in f.name for w in given.words)]
    work = tempfile.mkdtemp(prefix="convoy-nan-")
    try:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            cases = [(f, name, pool.submit(judged, convoy, f, first, name, work)) for f in found for name in f.nets]
            for form, name, case in cases:
                try:
                    bad, seen = case.result()
                except (Failed, subprocess.SubprocessError, OSError) as e:
                    bad, seen = [str(e)], 0
                if bad:
                    print(f"FAILED {form.name}, {name}:\n  " + "\n  ".join(bad[:12]))
                else:
                    print(f"ok      {form.name}, {name}: {seen} tensors")
                count["failed" if bad else "passed"] += 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for words in skipped:
        print(f"skipped: {words}")
    print(f"{count['passed']} passed, {count['failed']} failed, {len(skipped)} skipped")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
