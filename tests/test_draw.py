#!/usr/bin/env python3
"""convoy draw: every picture is XML, holds every kernel, stage and stored tensor of the plan, and nothing stands upon another; --diff
marks what moved and nothing else; errors.

    tests/test_draw.py --convoy build/gen/convoy
"""
import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

from counted import check, failed, passed

SPECS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "specs")
SVG = "{http://www.w3.org/2000/svg}"


def run(convoy, *args):
    r = subprocess.run([convoy, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    return r.returncode, r.stdout, r.stderr


def kernels_of(convoy, spec, more):
    """What -d plan says: kernels with the runs' ops, and nodes that store."""
    text = run(convoy, "plan", spec, "-d", "plan", "--target", "avx2", *more)[1]
    kernels, stored = {}, []
    name = None
    for line in text.splitlines():
        word = line.split()
        if word[0] == "kernel":
            name = word[1]
            kernels[name] = line
        elif word[0] == "infer":
            name = None
        elif word[0] == "node" and " stores " in line:
            m = re.search(r": stores (\S+) (\d+)x(\d+)x(\d+) at", line)
            kept = "kept" if re.search(r", kept(,|$)", line) else "again" if ", made again" in line else "forward"
            c, h, w = map(int, m.groups()[1:])
            routes = line.count("routes of")
            stored.append((m.group(1), 4 * ((c + 15) // 16 * 16) * h * w, kept, routes))
    return kernels, stored


def stages_of(convoy, spec, more):
    """The ops that forward runs in each kernel, by the words of `convoy plan`."""
    out = {}
    name = None
    for line in run(convoy, "plan", spec, "--target", "avx2", *more)[1].splitlines():
        m = re.match(r"(\w+) \((conv|linear|recurrent|embed|pass|loss)", line)
        if m:
            name = m.group(1)
            out[name] = set()
        elif line.startswith("norms at inference"):
            break
        elif name and re.match(r"  (before|after):", line):
            words = re.split(r"[,;] ", line.split(":", 1)[1].strip())
            out[name] |= {w for w in words if w and w not in ("nothing", "store")}
    return out


def rectangles(root, cls):
    for e in root.iter(SVG + "rect"):
        if cls in e.get("class", "").split():
            yield tuple(int(e.get(k)) for k in ("x", "y", "width", "height"))


def overlap(a, b):
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def parsed(convoy, name, spec, *more):
    status, out, err = run(convoy, "draw", spec, "--target", "avx2", *more)
    check(status == 0, "%s is drawn" % name, err)
    try:
        return ElementTree.fromstring(out)
    except ElementTree.ParseError as e:
        check(False, "%s is XML" % name, str(e))
        return None


def folded(convoy, spec, more=()):
    """With repeats drawn once: each kernel of the plan is there, or its counterpart in the repeat that stands for it, with the same stages."""
    name = os.path.basename(spec) + " ".join(("",) + tuple(more)) + ", folded"
    root, whole = parsed(convoy, name, spec, *more), parsed(convoy, name, spec, "--all", *more)
    if root is None or whole is None:
        return 0

    def kernels(tree):
        return {e.get("data-kernel"): [(s.get("data-section"), "".join(s.itertext()).split(".")[-1]) for s in e.iter(SVG + "g") if s.get("data-op")]
                for e in tree.iter(SVG + "g") if e.get("data-kernel")}

    few, all_of_them = kernels(root), kernels(whole)
    folds = [(e.get("data-group").replace(".", "_"), int(e.get("data-last"))) for e in root.iter(SVG + "g") if e.get("data-last")]
    gone = {}
    for kernel in all_of_them:
        stands, changed = kernel, True
        while changed:
            changed = False
            for group, last in folds:
                prefix, first = group.rsplit("_", 1)
                m = re.match(r"(pass_)?" + re.escape(prefix) + r"_(\d+)_(.*)", stands)
                if m and int(first) < int(m.group(2)) <= last:
                    stands, changed = "%s%s_%s" % (m.group(1) or "", group, m.group(3)), True
        if stands != kernel:
            gone[kernel] = stands
    check(set(few) == set(all_of_them) - set(gone), "%s: kernels" % name, "%s\n%s\n%s" % (sorted(few), sorted(all_of_them), gone))
    for kernel, stands in gone.items():
        same = [s for s, _ in all_of_them[kernel]] == [s for s, _ in few.get(stands, [])]
        check(same, "%s: %s stands for %s" % (name, stands, kernel), "%s\n%s" % (few.get(stands), all_of_them[kernel]))
    apart(root, name)
    return len(gone)


def picture(convoy, spec, more=()):
    name = os.path.basename(spec) + " ".join(("",) + tuple(more))
    root = parsed(convoy, name, spec, "--all", *more)
    if root is None:
        return
    kernels, stored = kernels_of(convoy, spec, more)
    drawn = [e.get("data-kernel") for e in root.iter(SVG + "g") if e.get("data-kernel")]
    check(sorted(drawn) == sorted(kernels), "%s: its kernels" % name, "%s\n%s" % (sorted(drawn), sorted(kernels)))
    discs = [(e.get("data-tensor"), int(e.get("data-bytes")), e.get("data-kept")) for e in root.iter(SVG + "g") if e.get("data-tensor") and e.get("data-kept") != "input"]
    want = [(t[0], t[2]) for t in stored]
    check(sorted((d[0], d[2]) for d in discs) == sorted(want), "%s: what is stored" % name, "%s\n%s" % (sorted(discs), sorted(want)))
    sizes = {t[0]: t[1] for t in stored if not t[3]}
    wrong = [d for d in discs if d[0] in sizes and d[1] != sizes[d[0]]]
    check(not wrong, "%s: bytes of what is stored" % name, str(wrong))
    total = int(re.search(r"(\d+) bytes per image stored", run(convoy, "plan", spec, "--target", "avx2", *more)[1]).group(1))
    kept = sum(d[1] for d in discs if d[2] == "kept") + sum(int(e.get("data-kept-bytes", 0)) for e in root.iter(SVG + "g"))
    check(kept == total, "%s: bytes kept" % name, "%d drawn, %d in the plan" % (kept, total))

    runs = stages_of(convoy, spec, more)
    for e in root.iter(SVG + "g"):
        if not e.get("data-kernel"):
            continue
        ops = {s.get("data-op") for s in e.iter(SVG + "g") if s.get("data-op")}
        missing = runs[e.get("data-kernel")] - ops
        check(not missing, "%s: stages of %s" % (name, e.get("data-kernel")), str(missing))

    apart(root, name)


def apart(root, name):
    """Boxes and stages stand in the picture, none upon another, and no wire goes through a box."""
    view = [int(v) for v in root.get("viewBox").split()]
    boxes = list(rectangles(root, "box"))
    check(all(b[0] >= 0 and b[1] >= 0 and b[0] + b[2] <= view[2] and b[1] + b[3] <= view[3] for b in boxes), "%s: boxes are inside" % name)
    check(not any(overlap(boxes[i], boxes[j]) for i in range(len(boxes)) for j in range(i)), "%s: no box upon another" % name)
    for e in root.iter(SVG + "g"):
        if e.get("data-kernel"):
            box = next(rectangles(e, "box"))
            pills = list(rectangles(e, "pill"))
            inside = all(p[0] >= box[0] and p[1] >= box[1] and p[0] + p[2] <= box[0] + box[2] and p[1] + p[3] <= box[1] + box[3] for p in pills)
            clear = not any(overlap(pills[i], pills[j]) for i in range(len(pills)) for j in range(i))
            check(inside and clear, "%s: stages of %s stand in their box" % (name, e.get("data-kernel")))
    crossed = []
    walls = [(b[0] + 1, b[1] + 1, b[2] - 2, b[3] - 2) for b in boxes]
    for e in root.iter(SVG + "path"):
        if e.get("class") == "wire":
            for line in lines(e.get("d")):
                through = [b for b in walls if overlap(b, line)]
                crossed += ["%s through %s" % (e.get("d"), through)] if through else []
    check(not crossed, "%s: no wire goes through a box" % name, "\n".join(crossed))


def lines(d):
    """The straight parts of a path of M, H, V and Q, as rectangles a pixel wide."""
    x = y = 0
    for c, args in re.findall(r"([MHVQ])([-\d ]+)", d):
        v = [int(a) for a in args.split()]
        nx, ny = (v[0], y) if c == "H" else (x, v[0]) if c == "V" else (v[-2], v[-1])
        if c in "HV":
            yield (min(x, nx), min(y, ny), abs(nx - x) + 1, abs(ny - y) + 1)
        x, y = nx, ny


def fares(root, index):
    """How stages fare: of the picture at the left (0) or the right (1)."""
    right = [e for e in root.iter(SVG + "g") if e.get("transform")]
    inside = set(right[0].iter(SVG + "g"))
    out = {}
    for kernel in root.iter(SVG + "g"):
        if not kernel.get("data-kernel") or (kernel in inside) != (index == 1):
            continue
        for e in kernel.iter(SVG + "g"):
            if e.get("data-op"):
                out[(kernel.get("data-kernel"), e.get("data-op"))] = e.get("class").split()[-1]
    return out


def differences(convoy):
    fashion = os.path.join(SPECS, "fashion.yaml")
    with tempfile.TemporaryDirectory() as tmp:
        other = os.path.join(tmp, "other.yaml")
        with open(fashion) as f:
            text = f.read()

        def against(old, new):
            assert old in text
            with open(other, "w") as f:
                f.write(text.replace(old, new, 1))
            status, out, err = run(convoy, "draw", fashion, "--diff", other, "--target", "avx2")
            check(status == 0, "--diff", err)
            root = ElementTree.fromstring(out)
            return fares(root, 0), fares(root, 1)

        a, b = against("name: fashion", "name: fashion")
        check(set(a.values()) == set(b.values()) == {"same"} and a.keys() == b.keys(), "--diff with itself: all the same", str(a))
        a, b = against("order: conv-bn-act", "order: conv-act-bn")
        for picture, words in (("fashion-orders", [fashion, "--diff", other]), ("inception", [os.path.join(SPECS, "inception.yaml")])):
            with open(os.path.join(os.path.dirname(SPECS), "docs", "pictures", picture + ".svg")) as f:
                now = run(convoy, "draw", *words, "--target", "avx2")[1]
                check(f.read() == now, "docs/pictures/%s.svg is what is drawn" % picture, "write it anew: convoy draw ... --target avx2")
        check(a[("conv2", "conv1.act")] == "moved" and b[("conv1", "conv1.act")] == "moved", "the relu moved", "%s\n%s" % (a, b))
        check(a[("conv2", "conv1.bn")] == b[("conv2", "conv1.bn")] == "same", "the norm stayed")
        check(a[("conv1", "conv1.conv")] == b[("conv1", "conv1.conv")] == "changed", "the bias came")
        check(a[("linear1", "linear1.linear")] == "same", "the last layer is the same")
        check("gone" not in a.values() and "came" not in b.values(), "nothing came or is gone", "%s\n%s" % (a, b))
        a, b = against("  - global_avg_pool\n", "  - drop(0.1)\n  - global_avg_pool\n")
        came = [k for k, v in b.items() if v != "same"]
        check(came == [("linear1", "drop1")] and b[came[0]] == "came" and set(a.values()) == {"same"}, "dropout came, and nothing else", "%s\n%s" % (a, b))
        first = re.search(r"  - conv: .*\n", text).group(0)
        a, b = against(first, first + first)
        check(all(v == "same" for v in a.values()), "a layer more: all of the first is the same", str(a))
        new = {k[0] for k, v in b.items() if v != "same"}
        check(new == {"conv2"}, "a layer more: one kernel is new, though those behind it are called otherwise", str(b))


def repeats(convoy):
    resnet20 = os.path.join(SPECS, "resnet20.yaml")
    check(folded(convoy, resnet20) == 6, "two repeats of ResNet-20 stand for two others")
    check(folded(convoy, resnet20, ("--set", "s2.repeat=9")) == 24, "of nine repeats, the second stands for seven")
    check(folded(convoy, resnet20, ("--set", "s1.2.order=conv-act-bn")) == 3, "a repeat with another order stands for itself")
    check(folded(convoy, os.path.join(SPECS, "fashion.yaml")) == 0, "without repeats nothing is folded")
    for spec in sorted(glob.glob(os.path.join(SPECS, "*.yaml"))):
        folded(convoy, spec)
    root = parsed(convoy, "two with folds", resnet20, "--diff", resnet20)
    check({k[1] for k in fares(root, 0).items()} == {"same"} and fares(root, 0).keys() == fares(root, 1).keys(), "--diff with itself, folded: all the same")
    folds = [e.get("data-group") for e in root.iter(SVG + "g") if e.get("data-last")]
    check(len(folds) == 4 and folds[:2] == folds[2:], "both fold the same", str(folds))
    with tempfile.TemporaryDirectory() as tmp:
        other = os.path.join(tmp, "other.yaml")
        with open(other, "w") as f:
            f.write(run(convoy, "check", resnet20, "--set", "s1.3.order=conv-act-bn", "--write")[1])
        root = parsed(convoy, "one with folds", resnet20, "--diff", other)
        folds = [e.get("data-group") for e in root.iter(SVG + "g") if e.get("data-last")]
        check(folds == ["s2.2", "s2.2"], "what one cannot fold, the other does not", str(folds))


def errors(convoy):
    fashion = os.path.join(SPECS, "fashion.yaml")
    status, out, err = run(convoy, "draw", "/nonexistent.yaml")
    check(status == 1 and not out and "/nonexistent.yaml" in err, "a spec that is not there", err)
    status, out, err = run(convoy, "draw", fashion, "--diff", "/nonexistent.yaml")
    check(status == 1 and not out and "/nonexistent.yaml" in err, "a second spec that is not there", out[:100] + err)
    status, out, err = run(convoy, "draw", fashion, "-o", "/nonexistent/a.svg")
    check(status == 1 and not out and err, "a folder that is not there", out[:100] + err)
    status, out, err = run(convoy, "draw", fashion, "--why", "conv1")
    check(status == 2 and "unknown option '--why'" in err, "an option that it has not", err)
    first, second = run(convoy, "draw", fashion)[1], run(convoy, "draw", fashion)[1]
    check(first == second, "the same bytes twice")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--convoy", required=True)
    a.add_argument("spec", nargs="*", help="draw only these")
    o = a.parse_args()
    for spec in o.spec:
        picture(o.convoy, spec)
    if o.spec:
        print("%d passed, %d failed, 0 skipped" % (len(passed), len(failed)))
        sys.exit(1 if failed else 0)
    for spec in sorted(glob.glob(os.path.join(SPECS, "*.yaml"))):
        picture(o.convoy, spec)
    tests = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
    for spec in sorted(glob.glob(os.path.join(tests, "*.yaml"))):
        picture(o.convoy, spec)
    picture(o.convoy, os.path.join(SPECS, "vgg.yaml"), ("--set", "recompute=2"))
    repeats(o.convoy)
    differences(o.convoy)
    errors(o.convoy)
    print("%d passed, %d failed, 0 skipped" % (len(passed), len(failed)))
    sys.exit(1 if failed else 0)


main()
