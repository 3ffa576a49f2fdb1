#!/usr/bin/env python3
"""Fails each system call of convoy's commands that write files, in turn, with each error that it may have: the old file or the new one
is there, whole; a message and status 1; no temporary is left. What a signal interrupts is done again, and ends well.

    tests/test_syscalls.py --convoy build/gen/convoy [--points 3 | --all] [--only gen]
"""
import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import quick  # noqa: E402
from test_memory import SPEC, contents, put  # noqa: E402

ERRORS = {  # with EINTR where the call may be interrupted
    "openat": ["EIO", "ENOSPC", "EMFILE", "EINTR"], "read": ["EIO", "EINTR"], "write": ["EIO", "ENOSPC", "EINTR"], "fsync": ["EIO", "EINTR"],
    "close": ["EIO", "EINTR"], "rename": ["EIO"], "renameat": ["EIO", "ENOSPC", "EINTR"], "fchmod": ["EIO"], "mkdir": ["EIO", "ENOSPC"], "mkdirat": ["EIO"],
    "unlinkat": ["EIO"], "newfstatat": ["EIO"], "fstat": ["EIO"], "getdents64": ["EIO"], "flock": ["ENOLCK", "EINTR"], "readlink": ["EIO"],
}
passed = failed = 0
skipped = []


def fail(what, detail):
    global failed
    failed += 1
    if failed <= 40:
        print("FAILED: %s\n  %s" % (what, detail))


class Case:
    """A command that writes `made`: a file or a folder. `before` is what stands there: None, a text, or a folder's files."""

    def __init__(self, words, made, before=None):
        self.words, self.made, self.before = words, made, before
        self.name = " ".join(words[1:])

    def prepare(self):
        shutil.rmtree("work", ignore_errors=True)
        os.mkdir("work")
        for name, data in (self.before.items() if isinstance(self.before, dict) else [("", self.before)]):
            path = os.path.join(self.made, name) if name else self.made
            if data is not None:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as f:
                    f.write(data)

    def run(self, *inject):
        """Under strace, which writes what it saw to `trace`."""
        self.prepare()
        r = subprocess.run(["strace", "-o", "trace", "-e", "trace=" + ",".join(ERRORS), *inject, *self.words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           stdin=subprocess.DEVNULL, timeout=120)
        return r.returncode, r.stdout, r.stderr.decode(errors="replace"), contents("work")

    def calls(self):
        """Of each system call, which of its occurrences are convoy's own, not the loader's."""
        own, seen, calls = False, collections.Counter(), collections.defaultdict(list)
        with open("trace", errors="replace") as f:
            for line in f:
                m = re.match(r"(\w+)\(", line)
                if not m:
                    continue
                seen[m.group(1)] += 1
                own = own or 't.yaml"' in line or "work/" in line
                if own:
                    calls[m.group(1)].append(seen[m.group(1)])
        return calls

    def judge(self, call, at, error, good, old):
        global passed
        status, out, err, files = self.run("-e", "inject=%s:error=%s:when=%d" % (call, error, at))
        what = "%s: %s %d fails with %s" % (self.name, call, at, error)
        odd = [n for n in files if files[n] not in (old.get(n), good[3].get(n)) and not n.endswith(".convoy-manifest")]
        left = [n for n in odd if ".tmp." in n and call != "unlinkat"]
        if status == 0 and (out, files) != (good[1], good[3]):
            fail(what, "status 0, but other output or files: %s" % odd)
        elif status not in (0, 1):
            fail(what, "status %s: %s" % (status, err[-300:]))
        elif status == 1 and error == "EINTR" and "standard output" not in err:  # whose handlers restart what they interrupt
            fail(what, "is not tried again: %s" % err[-300:])
        elif status == 1 and "convoy: " not in err and "t.yaml: error: " not in err:
            fail(what, "says nothing: %r" % err)
        elif left or (odd and call != "unlinkat") or not all(n in files or n in good[3] or self.gone_too(n, good) for n in old):
            fail(what, "files are neither old nor new: %s" % (left or odd))
        else:
            passed += 1

    def gone_too(self, name, good):
        return name not in good[3]  # an old file of a folder, which the new one has no more

    def campaign(self, points):
        good = self.run()
        if good[0] != 0:
            fail(self.name, "does not even run: %s" % good[2])
            return
        calls = self.calls()
        self.prepare()
        old, begin, before, n = contents("work"), time.time(), passed, 0
        for call in sorted(calls):
            places = calls[call]
            step = max(1, len(places) // points) if points else 1
            chosen = sorted(set(places[::step] + places[-1:]))
            for at in chosen:
                for error in ERRORS[call]:
                    self.judge(call, at, error, good, old)
                    n += 1
        print("%-60s %5d calls, %5d failed in turn, %5d well, %6.1f s" % (self.name[:60], sum(len(c) for c in calls.values()), n, passed - before, time.time() - begin))


def cases(convoy):
    def gen(folder, *more):
        subprocess.run([convoy, "gen", "t.yaml", "-o", folder, "--target", "portable", *more], check=True, stdout=subprocess.DEVNULL)
        return contents(folder)
    old = gen("g")
    other = gen("h", "--set", "conv1.order=conv-relu-bn")
    made = [Case([convoy, "new", "work_net", "-o", "work/net.yaml"], "work/net.yaml")]
    for words in (["twin", "t.yaml"], ["check", "t.yaml", "--write"], ["draw", "t.yaml"]):
        made += [Case([convoy, *words, "-o", "work/f"], "work/f", b"old"), Case([convoy, *words, "-o", "work/f"], "work/f")]
    made += [Case([convoy, "gen", "t.yaml", "-o", "work/o", "--target", "portable"], "work/o"),
             Case([convoy, "gen", "t.yaml", "-o", "work/o", "--target", "portable"], "work/o", other),
             Case([convoy, "gen", "t.yaml", "-o", "work/o", "--target", "portable"], "work/o", old)]
    r = subprocess.run(["make", "-C", "g", "-f", "Makefile", "-j2", *quick.MAKE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode:
        fail("the emitted program", "does not compile: %s" % r.stdout.decode()[-1000:])
    else:
        subprocess.run(["g/tiny", "train", "--train-images", "32", "--no-eval", "--quiet", "--save", "w.safetensors"], check=True)
        made += [Case([convoy, "export", "t.yaml", "--weights", "w.safetensors", "-o", "work/e"], "work/e")]
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("--points", type=int, default=2, help="of each system call of a command")
    parser.add_argument("--all", action="store_true", help="each of them")
    parser.add_argument("--only", default="", help="commands that begin with these words")
    args = parser.parse_args()
    if not shutil.which("strace") or subprocess.run(["strace", "-o", os.devnull, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: strace is missing, or may not trace (on Debian: apt install strace)\n0 passed, 0 failed, 1 skipped")
        return 77
    convoy = os.path.abspath(args.convoy)
    with tempfile.TemporaryDirectory(prefix="convoy-test-") as folder:
        os.chdir(folder)
        put("t.yaml", SPEC)
        for case in cases(convoy):
            if case.name.startswith(args.only):
                case.campaign(0 if args.all else args.points)
        os.chdir("/")
    for s in skipped:
        print("skipped: " + s)
    print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % len(skipped) if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
