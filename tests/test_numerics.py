"""Emitted C under compilers and flags: what must compile, what must refuse, and what it then computes.

    test_numerics.py --convoy build/gen/convoy [WORD...]      only the checks whose name holds a WORD

Needs Python's own library and a C compiler."""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import traceback


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(ok, what):
    if not ok:
        raise Failed(what)


def spawn(*words, cwd=None, text=None):
    """Runs a command; (status, stdout and stderr)."""
    p = subprocess.run(words, cwd=cwd, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)
    return p.returncode, p.stdout


def run(*words, **more):
    status, out = spawn(*words, **more)
    check(status == 0, f"{' '.join(words)}: status {status}\n{out[-3000:]}")
    return out


def emitted(convoy, work, name, text, *options):
    """A spec emitted into work/name."""
    path, out = os.path.join(work, name + ".yaml"), os.path.join(work, name)
    with open(path, "w") as f:
        f.write(text)
    run(convoy, "gen", path, "-o", out, *options)
    return out


# ---- what must compile ----

def a_long_concat(convoy, work):
    """A kernel that reads hundreds of tensors: the network's struct has its place, and no more of it than it needs."""
    for form in ("speed", "reading"):
        out = emitted(convoy, work, f"long_{form}", "name: longer\ninput: [4, 3, 3]\nclasses: 3\nlayers:\n"
                      "  - stage: {repeat: 110, order: bn-relu-conv, concat: [[], [conv: {out: 1, kernel: 1}]]}\n"
                      "  - stage: {repeat: 12, order: gn(1)-relu-conv, recompute: 3, concat: [[], [conv: {out: 2, kernel: 1}]]}\n"
                      "  - global_avg_pool\n  - linear: classes\n", "--target", "portable", "--for", form)
        run("cc", "-std=c99", "-fsyntax-only", "-Werror", "longer_net.c" if form == "speed" else "longer_model.c", cwd=out)
        if form == "speed":
            run("cc", "-std=c99", "-Werror", "-x", "c", "-fsyntax-only", "-", cwd=out, text='#define LONGER_NET\n#include "longer_layout.h"\n'
                "typedef char near[LONGER_STRUCT_BYTES - sizeof(struct longer) < 64 || sizeof(void *) < 8 ? 1 : -1];\n")


CHECKS = [a_long_concat]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    convoy = os.path.abspath(given.convoy)
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for one in CHECKS:
        if given.words and not any(w in one.__name__ for w in given.words):
            continue
        work = tempfile.mkdtemp(prefix="convoy-numerics-")
        try:
            one(convoy, work)
            count["passed"] += 1
        except Skipped as e:
            print(f"skipped: {one.__name__}: {e}")
            count["skipped"] += 1
        except Exception as e:
            print(f"FAILED {one.__name__}: {e if isinstance(e, Failed) else traceback.format_exc()}")
            count["failed"] += 1
        finally:
            shutil.rmtree(work, ignore_errors=True)
    print(", ".join(f"{n} {what}" for what, n in count.items()))
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
