"""convoy's training and inference beside its PyTorch twin: for each spec ten steps, then inference with folded norms.

    torch_twin.py --convoy build/convoy [SPEC...] [--random N --graphs N --campaign build/tests/campaign]

Without SPEC it takes the specs in tests/twin/ and the demo's network in both orders. --twin-only stops before
anything is compiled: names, shapes, initial weights, and that the twin runs."""
import argparse
import glob
import keyword
import os
import re
import sys
import tempfile

from torch_common import (HERE, NORMS, Case, Failed, Hyper, Program, TwinReference, common_options, compare, draw_inputs, load_twin,
                          random_state, run, run_cases, st_read)

import numpy as np
import torch

DEMO = os.path.join(os.path.dirname(HERE), "specs", "fashion.yaml")


def twin_of(args, case):
    source = run(args.convoy, "twin", case.spec, *case.options)
    return TwinReference(load_twin(source, case.label), source), source


def input_shape(source):
    """From the comment that opens forward(): # input: (N, C, H, W), or (N, C, L)"""
    line = next(line for line in source.splitlines() if line.strip().startswith("# input: (N, "))
    return tuple(int(v) for v in line.strip()[len("# input: (N, "):-1].split(","))


def check_twin(args, case, ref, shape, report):
    """The twin by itself: parameters as `-d graph` lists them, drawn as it says; it runs, and all get a gradient."""
    graph = run(args.convoy, "twin", case.spec, "-d", "graph", *case.options)
    lines = [line.split() for line in graph.splitlines()]
    params = {w[1]: (tuple(int(v) for v in " ".join(w[2:-2])[1:-1].split(",") if v), w[-2], float(w[-1]))
              for w in lines if w[0] == "param"}
    fixed = {w[1]: (int(w[3]), int(w[5]), float(w[8])) for w in lines if w[0] == "fixed"}  # fixed NAME rows 3 to 5 begin with 1
    if {k: v[0] for k, v in params.items()} != ref.shapes:
        report.wrong.append(f"the graph's parameters are {sorted(params)}, the twin's {sorted(ref.shapes)}")
        return
    for name, value in ref.net.state_dict().items():
        _, draw, number = params[name]
        value = value.double().numpy()
        if name in fixed:
            first, last, begins = fixed[name]
            if (value[first:last + 1] != begins).any():
                report.wrong.append(f"{name}: rows {first} to {last} do not begin with {begins:g}")
            value = np.delete(value, slice(first, last + 1))
        n = value.size
        deviation = {"const": 0, "normal": number, "uniform": number / 3 ** 0.5}[draw]
        if (draw == "const" and (value != np.float32(number)).any() or draw == "uniform" and np.abs(value).max() > number * 1.000001
                or n >= 100 and abs(value.std() - deviation) > 6 * deviation / n ** 0.5):
            report.wrong.append(f"{name} is drawn with deviation {value.std():.4g}, the graph says {draw} {number:.4g}")

    rng, n = np.random.default_rng(1), 4
    state = random_state(ref.shapes, rng)
    logits = ref.infer(state, np.zeros((n, *shape)))
    masks = {path: (rng.random(ref.acts[path].shape) >= p).astype(np.float64) for path, p in ref.drops.items()}
    labels = rng.normal(0, 1, (n, logits.shape[1])) if ref.learns_values else rng.integers(0, logits.shape[1], n)
    want = ref.step(state, {}, draw_inputs(ref, rng, n, shape), labels, masks,
                    Hyper(0.1, 0, False, 0))
    for path, dims in re.findall(r"^ *\d+ +(\S+) +<- [\d,]+ +(\d+ x \d+ x \d+) ", graph, re.M):
        dims = tuple(int(v) for v in dims.split(" x "))
        if path != "loss" and ref.acts[path].shape[1:] not in (dims, dims[:1], (dims[0], dims[2])):
            report.wrong.append(f"{path}: {dims} in the graph, {tuple(ref.acts[path].shape[1:])} in PyTorch")
    check_biases(graph, ref, shape, masks, not case.label.startswith("random"), report)
    if logits.ndim != 2 or logits.shape[0] != n or not np.isfinite(want.loss):
        report.wrong.append(f"logits {logits.shape}, loss {want.loss}")


def check_biases(graph, ref, shape, masks, strict, report):
    """`bias: auto` drops a bias only where the logits of training do not feel it. That it keeps one only where they do
    is not so in general (two linear maps in a row, one channel that a relu never cuts), but it is in our own specs."""
    rng = np.random.default_rng(2)
    ref.load(random_state(ref.shapes, rng))
    torch.nn.Module.train(ref.net)  # frozen norms, too: what is frozen decides no bias
    ref.masks = {k: torch.tensor(v) for k, v in masks.items()}
    x = torch.tensor(draw_inputs(ref, rng, 4, shape))
    with torch.no_grad():
        plain = ref.net(x)
        for path, says in re.findall(r"^ *\d+ +(\S+) .* bias (?:yes|no) \((kept|dropped): (?!flatten)", graph, re.M):
            if says == "kept" and not strict:
                continue
            def moved(by):
                """How far the logits move where `by` is added to the output at that path."""
                hook = ref.net.get_submodule(path).register_forward_hook(lambda module, inputs, output: output + by(output))
                far = float((ref.net(x) - plain).abs().max())
                hook.remove()
                return far
            # where norms stand behind each other over what hardly varies, rounding alone moves logits by more than 1e-9
            rounding = moved(lambda y: y * 2.0 ** -52 * torch.tensor(rng.uniform(-1, 1, tuple(y.shape))))
            bias = moved(lambda y: (torch.linspace(-1, 1, y.shape[1] + 2, dtype=torch.float64)[1:-1] + 0.01).reshape(-1, *[1] * (y.ndim - 2)))
            changed = bias > max(1e-9 * float(plain.abs().max()), 1000 * rounding)
            if changed != (says == "kept"):
                report.wrong.append(f"{path}: bias {says}, yet the logits {'do' if changed else 'do not'} change")


def checkpoints(program, ref, shape, report):
    """What NAME train saved loads strictly into the twin, and the twin's state back into NAME: both infer the same."""
    saved = program.file("trained.safetensors")
    run(program.path, "train", "--epochs", 1, "--limit", 5, "--save", saved)
    state, meta = st_read(saved)
    if {k: v.shape for k, v in state.items()} != ref.shapes:
        report.wrong.append(f"the checkpoint holds {sorted(state)}, the twin {sorted(ref.shapes)}")
        return
    if meta.get("format") != "pt":
        report.wrong.append(f"the checkpoint's metadata: {meta}")
    x = np.random.default_rng(3).normal(0, 1, (4, *shape)).astype(np.float32)
    logits = ref.infer(state, x)
    report.close("the trained checkpoint's inference", program.predict(state, x), logits, 0)
    back = {k: v.numpy().astype(state[k].dtype) for k, v in ref.net.state_dict().items()}
    if any((back[k] != state[k]).any() for k in state):
        report.wrong.append("the twin's state is not what it loaded")


def one(args, case, folder, report):
    if case.spec is None:
        check_names(args, case, folder, report)
        return
    ref, source = twin_of(args, case)
    shape = input_shape(source)
    torch.manual_seed(1)
    check_twin(args, case, twin_of(args, case)[0], shape, report)
    if args.twin_only or report.wrong:
        return
    program = Program(args, case, folder)
    classes = ref.infer(random_state(ref.shapes, np.random.default_rng(0)), np.zeros((1, *shape))).shape[1]
    single = sum(isinstance(m, NORMS) and p in ref.acts and ref.acts[p].numel() == m.num_features for p, m in ref.net.named_modules())
    single += 3 * any(getattr(m, "running_mean", None) is not None and m.running_mean.dim() == 2 for m in ref.net.modules())  # of each step
    least = min(1 + single, 4)  # two images leave little of a gradient, norm after norm
    compare(report, program, ref, shape, classes, args.seed, args.steps, least, case.label.startswith("random"))
    drawn = len(shape) == 3 and min(shape[1:]) >= 8  # figures need so many pixels
    if "train.data=shapes" in case.options and drawn and not ref.learns_values and not report.wrong:
        checkpoints(program, ref, shape, report)


def check_names(args, case, folder, report):
    """A layer called like anything that torch.nn.Module has: refused, or the twin works all the same."""
    taken = set(dir(torch.nn.Module())) | set(dir(torch.nn.ModuleDict())) | set(keyword.kwlist)
    path = os.path.join(folder, "name.yaml")
    forms = {"{}.conv.weight": "  - conv: {{out: 2, name: {0}}}\n",
             "{0}.{0}.conv.weight": "  - stage: {{name: {0}, residual: [conv: {{out: 1, name: {0}}}]}}\n  - conv: 2\n"}
    for name in sorted(n for n in taken if n[0] != "_"):
        for key, layers in forms.items():
            with open(path, "w", encoding="utf-8") as f:
                f.write("name: small\ninput: [1, 4, 4]\nclasses: 2\nlayers:\n" + layers.format(name) +
                        "  - global_avg_pool\norder: conv-bn-relu\n")
            try:
                ref, source = twin_of(args, Case(name, path))
            except Failed:
                continue
            ref.infer(random_state(ref.shapes, np.random.default_rng(0)), np.zeros((1, *input_shape(source))))
            if key.format(name) not in ref.shapes:
                report.wrong.append(f"a layer called {name} is lost")


def random_cases(args, folder):
    cases = []
    for kind, option, count in (("chain", "--print-spec", args.random), ("graph", "--print-graph", args.graphs)):
        for seed in range(args.seed, args.seed + count):
            path = os.path.join(folder, f"{kind}{seed}.yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(re.sub(", optimizer: adamw?", "", run(args.campaign, option, seed)))  # a reference's step is sgd's; torch_optimisers.py has the others
            cases.append(Case(f"random {kind} {seed}", path))
    return cases


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_options(p)
    p.add_argument("specs", nargs="*", metavar="SPEC")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all SPECs")
    p.add_argument("--twin-only", action="store_true")
    p.add_argument("--plain", action="store_true", help="without the demo's network, and without the names that --twin-only tries")
    p.add_argument("--random", type=int, default=0, metavar="N", help="also N random chains (needs --campaign)")
    p.add_argument("--graphs", type=int, default=0, metavar="N", help="also N random graphs (needs --campaign)")
    p.add_argument("--campaign", help="the program that makes random chains and graphs")
    args = p.parse_args()
    specs = args.specs or sorted(glob.glob(os.path.join(HERE, "twin", "*.yaml"))) + [
        os.path.join(HERE, "..", "specs", s) for s in ("conv_layer.yaml", "lenet5.yaml")]
    # networks that are named train on drawn figures, so that their checkpoints can be compared, too
    cases = [Case(os.path.basename(s), s, ["train.data=shapes", *args.set] if args.specs else ()) for s in specs]
    if not args.specs and not args.plain:
        cases += [Case(f"demo {order}", DEMO, [f"order={order}", "train.data=shapes"])
                  for order in ("conv-bn-relu", "conv-relu-bn")]
        if args.twin_only:
            cases.append(Case("names that are taken", None))
    if args.random or args.graphs:
        if not args.campaign:
            p.error("--random and --graphs need --campaign")
        with tempfile.TemporaryDirectory(prefix="convoy-torch-") as folder:
            return run_cases(args, cases + random_cases(args, folder), one)
    return run_cases(args, cases, one)


if __name__ == "__main__":
    sys.exit(main())
