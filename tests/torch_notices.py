"""The comparison with PyTorch passes a faultless stand-in for emitted programs, and notices each fault put into it.

    torch_notices.py --convoy build/gen/convoy --fakegen build/tests/fakegen"""
import argparse
import contextlib
import io
import os
import sys

from torch_common import HERE, Case, common_options, run_cases

import torch_twin

FAULTS = ("gen", "make", "crash", "act", "grad", "nesterov", "decay", "running", "count", "missing", "predict", "rate")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_options(p)
    p.add_argument("--fakegen", required=True)
    args = p.parse_args()
    args.generator, args.twin_only = args.fakegen, False
    passed = failed = 0
    for spec, fault in [("preact", f) for f in ("", *FAULTS)] + [("graph", f) for f in ("", "join")]:
        cases = [Case(f"{spec}.yaml", os.path.join(HERE, "twin", f"{spec}.yaml"))]
        os.environ["FAULT"] = fault
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = run_cases(args, cases, torch_twin.one)
        if (status != 0) == bool(fault):
            passed += 1
        else:
            failed += 1
            print(f"FAIL {spec}, fault '{fault}': status {status}\n{said.getvalue()}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
