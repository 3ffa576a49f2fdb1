"""How tests compile programs whose speed does not matter. clang without optimisation takes half of gcc's time, or less; and make need not
find out whether OpenMP and OpenBLAS are there. The same words everywhere, so that the runtime is compiled once for many tests (ccache)."""
import os
import shutil

WORDS = {"CFLAGS": "-O0", "OPENMP": "no", "OPENBLAS": "no", **({"CC": "clang"} if shutil.which("clang") else {})}
MAKE = [f"{k}={v}" for k, v in WORDS.items()]  # for make


def env(**more):
    """For commands of convoy that call make."""
    return {**os.environ, **WORDS, **more}


# For the commands of convoy that compile: C without vectors, its loops not unrolled, is compiled soonest.
OPTIONS = ["--target", "portable", "--set", "unroll=none"]
