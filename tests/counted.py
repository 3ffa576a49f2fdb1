"""Checks that are counted one by one, and go on where one fails: `check`, and commands whose output they look at."""
import subprocess

passed, failed, skipped = [], [], []


def check(ok, what, detail=""):
    (passed if ok else failed).append(what)
    if not ok:
        print("FAILED: %s\n%s" % (what, detail))


def run(*args, cwd=None, timeout=600):
    """Status, standard output and errors of a command."""
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=timeout, cwd=cwd)
    return r.returncode, r.stdout, r.stderr


def must(*args, cwd=None):
    """The output of a command that has to succeed."""
    status, out, err = run(*args, cwd=cwd)
    if status != 0:
        raise RuntimeError("%s: status %d\n%s%s" % (" ".join(args), status, out, err))
    return out
