#!/usr/bin/env python3
"""What gives a machine away in C: `+ 0`, `* 1`, `0 * x`, loops of one turn, OpenMP on one piece, decimals longer than they need be,
parameters that are cast to void, long tables of #define. None of it may stand in what convoy emits. (What cores and walks call has one
signature: where it needs no pixel or value, that is cast.)

    tests/test_smell.py --convoy build/gen/convoy [--spec my.yaml]

A few small networks are emitted for every target and purpose, and exported; comments and strings aside, their tokens are looked at.
The runtime, which is copied, is looked at once, for all but what callbacks ignore."""
import argparse
import os
import re
import struct
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import counted
import emitted_hashes
from counted import check, must

HERE = os.path.dirname(os.path.abspath(__file__))
TOKEN = re.compile(r"""
    (?P<comment>/\*.*?\*/ | //[^\n]*)
  | (?P<text>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*')
  | (?P<number>\.?[0-9](?:[eEpP][+-]|[\w.])*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<sign>->|\+\+|--|<<=?|>>=?|[-+*/%&|^=<>!]=|&&|\|\||\#\#?|\.\.\.|.)
""", re.X | re.S)
INTEGER = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*$")


def tokens(text):
    """(token, line) of C, without comments; a string is ''."""
    out, line = [], 1
    for m in TOKEN.finditer(text):
        kind = m.lastgroup
        if kind in ("number", "name") or (kind == "sign" and not m.group().isspace()):
            out.append((m.group(), line))
        elif kind == "text":
            out.append(("''", line))
        line += m.group().count("\n")
    return out


def integer(token):
    m = INTEGER.match(token)
    return None if not m else int(m.group(1), 16 if m.group(1)[1:2] in ("x", "X") else 10)


def longer_than_need_be(token):
    """Whether a decimal constant of a digit fewer reads back as the same number."""
    single = token[-1] in "fF"
    digits = token.rstrip("fFlL")
    n = max(1, len(re.split("[eE]", digits)[0].replace(".", "").strip("0")))

    def value(s):
        return struct.unpack("f", struct.pack("f", float(s)))[0] if single else float(s)
    return n > 1 and value("%.*e" % (n - 2, float(digits))) == value(digits)


def smells(text, copied=False):
    """(line, what) of each smell."""
    t = tokens(text)
    word = [x for x, _ in t]
    end = len(t)
    for i, (x, line) in enumerate(t):
        before = word[i - 1] if i else ""
        after = word[i + 1] if i + 1 < end else ""
        operand = before in (")", "]") or re.match(r"\w", before or "(") is not None and before not in ("return", "case")
        n = integer(x)
        if n == 0 and before in ("+", "-") and i > 1 and (word[i - 2] in (")", "]") or re.match(r"\w", word[i - 2])) \
                and after not in ("*", "/", "%") and not (word[i - 2] == "return"):
            yield line, "%s 0" % before
        if n == 0 and after == "+" and before in ("(", ",", "=", "["):
            yield line, "0 +"
        if n in (0, 1) and (before in ("*", "/", "%") and i > 1 and word[i - 2] not in ("(", ",") or after == "*"):
            yield line, "%s %s %s" % (before, x, after)
        if x == "for" and after == "(":
            head = "".join(word[i:i + 24])
            m = re.match(r"for\((?:\w+ ?)?(?:int)?(\w+)=(\d+)(?:,\w+=\d+)?;\1<(\d+);(?:\+\+\1|\1\+\+|\1\+=(\d+))", head)
            if m and int(m.group(2)) + int(m.group(4) or 1) >= int(m.group(3)):
                yield line, "a loop of %s: %s" % ("one turn" if int(m.group(2)) < int(m.group(3)) else "no turn", head[:40])
        if x.startswith("CVY_PARALLEL") and not copied:
            head = "".join(word[i:i + 40])
            m = re.search(r"\)for\(int\w+=0;\w+<(\w+);", head)
            if not m:
                yield line, "OpenMP on no loop: %s" % head[:60]
            elif m.group(1) == "1":
                yield line, "OpenMP on one piece"
        if re.match(r"\.?[0-9]", x) and n is None and not x.lower().startswith("0x") and not re.match(r"\d+[uUlL]+$", x):
            if longer_than_need_be(x):
                yield line, "a decimal longer than it need be: %s" % x
        if x == "void" and before == "(" and after == ")" and i + 3 < end and re.match(r"[A-Za-z_]", word[i + 2]) \
                and word[i + 3] in (";", ",") and not operand and not copied and word[i + 2] not in ("pass", "c", "m", "v", "w", "y", "x"):
            yield line, "(void)%s" % word[i + 2]
    run = 0
    for number, line in enumerate(text.split("\n"), 1):
        run = run + 1 if re.match(r"#define \w+ \S", line) else 0
        if run == 13 and not copied:
            yield number, "more than a dozen #defines in a row"


def look(name, files, copied=False):
    found = []
    for path, text in files:
        found += ["%s:%d: %s" % (path, line, what) for line, what in smells(text, copied)]
    kinds = {}
    for f in found:
        kinds.setdefault(re.sub(r"\d+|\w+$", "", f.split(": ", 1)[1])[:24], []).append(f)
    some = [k[0] for k in sorted(kinds.values(), key=len, reverse=True)]
    check(not found, name, "%d smells, of each kind one:\n  %s" % (len(found), "\n  ".join(some[:20])))


def emitted(folder):
    for top, _, files in sorted(os.walk(folder)):
        for f in sorted(files):
            if f.endswith((".c", ".h")) and os.path.basename(top) != "runtime":
                with open(os.path.join(top, f), encoding="utf-8") as text:
                    yield f, text.read()


def can_fail():
    """The nose itself."""
    bad = ["x + 0;", "f(a - 0, b);", "a[i * 1];", "x = 0 * y;", "x = 1 * y;", "y = (size_t)n * 1;", "for (int i = 0; i < 1; i++) f(i);",
           "for (int y = 0; y < 14; y += 14) f(y);", "CVY_PARALLEL(t)\nfor (int p = 0; p < 1; p++) f(p);", "float f = 0.100000001f;",
           "double d = 0.10000000000000001;", "{ (void)scratch; }", "{ (void)first, (void)y; }", "q->x[0 + l];",
           "\n".join("#define A%d %d" % (i, i) for i in range(20))]
    good = ["x + 0.5f;", "f(void *x, 0);", "int *p = 0;", "for (int i = 0; i < 2; i++) f(i);", "for (int i = 0; i < n; i++) f(i);",
            "float f = 0.1f, g = 3.4028235e38f;", "/* x + 0 */ char *s = \"x * 1\";", "f(-1, 10 * 12, 1);", "(void)fclose(f);",
            "CVY_PARALLEL(t)\nfor (int p = 0; p < 8; p++) f(p);", "double d = 0.1, e = 1e-5;", "x = (double *)(void *)p;", "a = b ? 1 : 0;"]
    for text in bad:
        check(list(smells(text)), "a smell is noticed", text)
    for text in good:
        check(not list(smells(text)), "no smell, and none is seen", "%s\n%s" % (text, list(smells(text))))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--convoy", required=True)
    options.add_argument("--spec", action="append")
    args = options.parse_args()
    can_fail()
    specs = args.spec or [os.path.join(HERE, *p) for p in (("golden", "tiny_res.yaml"), ("golden", "length.yaml"), ("..", "specs", "wine.yaml"))]
    with tempfile.TemporaryDirectory(prefix="convoy-smell-") as tmp:
        jobs = []
        for spec in specs:
            name = os.path.splitext(os.path.basename(spec))[0]
            ways = [("--target", t, "--for", f) for t in emitted_hashes.TARGETS for f in ("speed", "size")]
            ways += [("--for", "reading"), ("--target", "avx512", "--parts", "infer"), ("--target", "avx512", "--fold", "off")]
            for w in ways:
                jobs.append(("gen", spec, "%s %s" % (name, " ".join(w)), w))
        for spec in specs:
            name = os.path.splitext(os.path.basename(spec))[0]
            weights = os.path.join(tmp, name + ".safetensors")
            if emitted_hashes.checkpoint(args.convoy, spec, weights):
                for w in (("--target", "portable"), ("--target", "avx512", "--for", "size"), ("--single-file",)):
                    jobs.append(("export", spec, "%s export %s" % (name, " ".join(w)), ("--weights", weights) + w))

        def work(job):
            folder = os.path.join(tmp, re.sub(r"\W+", "_", job[2]))
            must(args.convoy, job[0], job[1], "-o", folder, "-q", *job[3])
            return job[2], folder
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(work, jobs))
        for name, folder in done:
            look(name, emitted(folder))
        runtime = os.path.join(done[0][1], "runtime")
        for f in sorted(os.listdir(runtime)):
            with open(os.path.join(runtime, f), encoding="utf-8") as text:
                look("runtime " + f, [(f, text.read())], copied=True)
    print("%d passed, %d failed" % (len(counted.passed), len(counted.failed)))
    return 1 if counted.failed else 0


sys.exit(main())
