"""The driver of a suite whose checks are the methods test_... of one class (test_api.py, test_export.py).

    class Test:             # Test(convoy, folder); .skipped: why something was not checked, as it printed it; .long: with all of it
        def test_word(self): check(..., "what is wrong")
    sys.exit(methods.main("api", Test))"""
import argparse
import os
import shlex
import shutil
import sys
import tempfile
import traceback


class Failed(Exception):
    pass


def check(ok, what):
    if not ok:
        raise Failed(what)


def runtime_library(folder):
    """The runtime's C files that the library of the network emitted there consists of, besides the network's."""
    files = [os.path.join(folder, "runtime", f"cvy_{part}.c") for part in ("kernels", "losses", "update", "recurrent")]
    return [f for f in files if os.path.exists(f)] # the last where a layer is recurrent


def cpu():
    """Seconds of processor that this process and those that it waited for took."""
    return sum(os.times()[:4])


def main(suite, make):
    """Runs the checks whose name holds one of the words of the command line (all, without a word), prints the counts, returns
    the exit status. A check that fails prints the command that repeats it."""
    p = argparse.ArgumentParser()
    p.add_argument("--convoy", required=True)
    p.add_argument("--keep", help="work in this folder, and keep it")
    p.add_argument("--long", action="store_true", help="what the suite slow has besides (test.long)")
    p.add_argument("words", nargs="*")
    args = p.parse_args()
    folder = args.keep or tempfile.mkdtemp(prefix=f"convoy-{suite}-")
    os.makedirs(folder, exist_ok=True)
    make.long = args.long
    test, passed, failed = make(args.convoy, os.path.abspath(folder)), 0, 0
    for name in [n for n in dir(test) if n.startswith("test_") and (not args.words or any(w in n for w in args.words))]:
        before = cpu()
        try:
            getattr(test, name)()
            print(f"ok      {name[5:]} ({cpu() - before:.1f} s of processor)", flush=True)
            passed += 1
            continue
        except Failed as e:
            print(f"FAILED  {name[5:]}: {e}")
        except Exception:
            print(f"FAILED  {name[5:]}:\n{traceback.format_exc()}")
        print(f"  repeat: {shlex.join([sys.executable, sys.argv[0], '--convoy', args.convoy, *['--long'] * args.long, name])}", flush=True)
        failed += 1
    if not args.keep:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{suite}: {passed} passed, {failed} failed, {len(test.skipped)} skipped")
    return 1 if failed or not passed else 0
