"""How tests compile programs whose speed does not matter. clang without optimisation takes half of gcc's time, or less; and make need not
find out whether OpenMP and OpenBLAS are there. The same words everywhere, so that the runtime is compiled once for many tests (ccache)."""
import glob
import os
import shutil

WORDS = {"CFLAGS": "-O0", "OPENMP": "no", "OPENBLAS": "no", **({"CC": "clang"} if shutil.which("clang") else {})}
MAKE = [f"{k}={v}" for k, v in WORDS.items()]  # for make


def together(path, files, head=""):
    """A C file beside them that includes these: compiled in a fraction of the time, most of which goes into starting and into the same headers."""
    with open(path, "w") as f:
        f.write(head + "".join(f'#include "{os.path.relpath(e, os.path.dirname(path))}"\n' for e in files))
    return path


def sources(folder):
    """The files of the program that is emitted there; first those that read more of the layout than the others do."""
    own = [f for f in glob.glob(folder + "/*.c") if "_" in os.path.basename(f) or f.endswith("/main.c")]
    return sorted(own, key=lambda f: not f.endswith(("_net.c", "_model.c"))) + sorted(glob.glob(folder + "/runtime/*.c"))


def whole(folder):
    """Words for make, with which it compiles that program as one file."""
    together(os.path.join(folder, "whole.c"), sources(folder), "#define _GNU_SOURCE\n")
    return ["OBJECTS=whole.o"]


def env(**more):
    """For commands of convoy that call make."""
    return {**os.environ, **WORDS, **more}


# For the commands of convoy that compile: C without vectors, its loops not unrolled, is compiled soonest.
OPTIONS = ["--target", "portable", "--set", "unroll=none"]
