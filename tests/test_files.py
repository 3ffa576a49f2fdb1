#!/usr/bin/env python3
"""What convoy does with files: paths that a user types, folders that somebody else made, two runs at once, signals, flags.

    tests/test_files.py --convoy build/gen/convoy
"""
import argparse
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

from counted import check, failed, passed, skipped

SPEC = """name: tiny
input: [1, 8, 8]
classes: 2
layers:
  - conv: {out: 2, stride: 2, order: conv-bn-relu}
  - global_avg_pool
  - linear: classes
train: {data: shapes, epochs: 1, batch: 16}
"""
convoy = shared = None


def run(*args, **more):
    more.setdefault("timeout", 120)
    return subprocess.run([convoy, *args], stdout=more.pop("stdout", subprocess.PIPE), stderr=more.pop("stderr", subprocess.PIPE), universal_newlines=True, **more)


def put(path, text):
    with open(path, "w") as f:
        f.write(text)


def read(path):
    with open(path) as f:
        return f.read()


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def names(path="."):
    return sorted(os.path.relpath(os.path.join(d, f), path) for d, _, files in os.walk(path) for f in files)


def refused(what, words, *args, **more):
    r = run(*args, **more)
    check(r.returncode == 1 and words in r.stderr, what, "status %d, stderr: %s" % (r.returncode, r.stderr))


# ---- paths that a user typed ----


def typed_paths():
    """Links are followed, pipes are read and written, modes stay, and nothing is left beside the file."""
    twin = run("twin", "t.yaml").stdout
    os.symlink("t.yaml", "link.yaml")
    check(run("check", "link.yaml").returncode == 0, "a spec behind a link")
    r = run("check", "/dev/stdin", input=SPEC)
    check(r.returncode == 0 and "conv1" in r.stdout, "a spec from a pipe", r.stderr)
    r = run("check", "-", input=SPEC)
    check(r.returncode == 0 and "conv1" in r.stdout, "a spec from standard input, as -", r.stderr)
    r = run("diff", "-", "t.yaml", input=SPEC)
    check(r.returncode == 0, "diff: - and a file", r.stderr)
    r = run("diff", "/dev/stdin", "--set", "conv1.order=conv-relu-bn", input=SPEC)
    check(r.returncode == 1 and "conv-relu-bn" in r.stdout, "a spec from a pipe, under two settings", r.stderr)
    r = subprocess.run(["bash", "-c", '"$0" diff <(cat t.yaml) <(cat t.yaml; echo "# more")', convoy], stdout=subprocess.PIPE, universal_newlines=True)
    check(r.returncode == 0 and "spelled out" in r.stdout, "two specs from pipes", r.stdout)
    os.mkfifo("fifo.yaml")
    writer = threading.Thread(target=put, args=("fifo.yaml", SPEC))
    writer.start()
    check(run("check", "fifo.yaml").returncode == 0, "a spec from a FIFO")
    writer.join()

    os.mkdir("out")
    put("out/secret.py", "old")
    os.chmod("out/secret.py", 0o600)
    check(run("twin", "t.yaml", "-o", "out/secret.py").returncode == 0 and mode("out/secret.py") == 0o600, "0600 stays 0600")
    old = os.umask(0o077)
    run("twin", "t.yaml", "-o", "out/new.py")
    check(mode("out/new.py") == 0o600, "a new file honours umask 077", oct(mode("out/new.py")))
    os.umask(0o027)
    run("twin", "t.yaml", "-o", "out/new2.py")
    check(mode("out/new2.py") == 0o640, "a new file honours umask 027", oct(mode("out/new2.py")))
    os.umask(old)
    os.chmod("out/new.py", 0o754)
    run("twin", "t.yaml", "-o", "out/new.py")
    check(mode("out/new.py") == 0o754 and read("out/new.py") == twin, "0754 stays 0754")

    put("out/one", "old")
    os.link("out/one", "out/other")
    run("twin", "t.yaml", "-o", "out/one")
    check(read("out/one") == twin and read("out/other") == "old", "another hard link keeps the old contents")
    os.symlink("real.py", "out/dangling.py")
    run("twin", "t.yaml", "-o", "out/dangling.py")
    check(os.path.islink("out/dangling.py") and read("out/real.py") == twin, "a link that leads nowhere yet is followed")
    os.symlink("loop", "out/loop")
    refused("a link to itself", "cannot write", "twin", "t.yaml", "-o", "out/loop")
    put("out/victim", "mine")
    for i in range(4):  # what an earlier version called its temporaries
        os.link("out/victim", "out/x.py" + [".convoy-tmp", ".tmp", "~", ".tmp.1.0"][i])
    run("twin", "t.yaml", "-o", "out/x.py")
    check(read("out/victim") == "mine" and read("out/x.py") == twin, "no temporary is written through a link")
    check(not [n for n in names("out") if ".tmp." in n and not n.startswith("x.py")], "no temporary is left", str(names("out")))

    os.mkfifo("fifo.py")
    got = []
    reader = threading.Thread(target=lambda: got.append(read("fifo.py")))
    reader.start()
    r = run("twin", "t.yaml", "-o", "fifo.py")
    reader.join()
    check(r.returncode == 0 and got == [twin] and stat.S_ISFIFO(os.stat("fifo.py").st_mode), "a FIFO is written to, and stays one")
    put("log", "before\n")
    with open("log", "a") as log:
        check(run("twin", "t.yaml", "-o", "/dev/stdout", stdout=log).returncode == 0, "/dev/stdout")
    check(read("log") == "before\n" + twin + "wrote /dev/stdout\n", "/dev/stdout appends where the shell said >>")
    refused("a full disk", "No space left", "twin", "t.yaml", "-o", "/dev/full")

    results = []
    pairs = [threading.Thread(target=lambda: results.append(run("twin", "t.yaml", "-o", "out/both.py").returncode)) for _ in range(12)]
    for t in pairs:
        t.start()
    for t in pairs:
        t.join()
    check(results == [0] * 12 and read("out/both.py") == twin, "twelve runs write one file at once")


def streams():
    for full in (["help"], ["--version"], ["check", "t.yaml"], ["twin", "t.yaml"], ["help", "gen"]):
        with open("/dev/full", "w") as f:
            r = run(*full, stdout=f)
        check(r.returncode == 1 and "standard output" in r.stderr, "%s >/dev/full" % full[0], r.stderr)
    for fd in (0, 1, 2):
        r = subprocess.run(["sh", "-c", '"$0" "$@" %d%s-' % (fd, "<&" if fd == 0 else ">&"), convoy, "twin", "t.yaml", "-o", "closed.py"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
        check(r.returncode == (fd == 1) and read("closed.py") == run("twin", "t.yaml").stdout, "descriptor %d closed" % fd, r.stderr)
        os.unlink("closed.py")
    r = subprocess.run(["sh", "-c", '"$0" check t.yaml >&-', convoy], stderr=subprocess.PIPE, universal_newlines=True)
    check(r.returncode == 1 and "standard output" in r.stderr, "what cannot be printed is an error", r.stderr)
    r = subprocess.run(["sh", "-c", 'ulimit -f 1; "$0" gen t.yaml -o big', convoy], stderr=subprocess.PIPE, universal_newlines=True)
    check(r.returncode == 1 and "File too large" in r.stderr and not os.path.exists("big"), "a limit of a file's size", r.stderr)


# ---- folders that somebody else made ----


def hostile_folders():
    victim = os.path.abspath("victim")
    os.mkdir(victim)
    put(victim + "/secret.txt", "keep")

    def folder(name, manifest):
        os.mkdir(name)
        put(name + "/.convoy-manifest", manifest)
        return name

    os.symlink(victim, folder("linked", "sub/secret.txt\n") + "/sub")
    check(run("gen", "t.yaml", "-o", "linked").returncode == 0, "a manifest that leads through a link")
    os.symlink(victim, folder("runtime", "runtime/secret.txt\n") + "/runtime")
    refused("a folder of ours is a link", "Not a directory", "gen", "t.yaml", "-o", "runtime")
    check(names("runtime") == [".convoy-manifest"], "nothing is left where it was refused", str(names("runtime")))
    os.symlink(victim + "/secret.txt", folder("filelink", "secret.txt\ntiny.h\n") + "/secret.txt")
    check(run("gen", "t.yaml", "-o", "filelink").returncode == 0, "a listed link is none of our files")
    os.symlink(victim + "/secret.txt", folder("overlink", "tiny.h\n") + "/tiny.h")
    refused("a link in the way", "in the way", "gen", "t.yaml", "-o", "overlink")
    folder("twice", "a.c\na.c\n")
    refused("a manifest that lists a file twice", "twice", "gen", "t.yaml", "-o", "twice")
    check(read(victim + "/secret.txt") == "keep" and names(victim) == ["secret.txt"], "the files outside are as they were")

    for bad in ("../victim/secret.txt", "/etc/passwd", "a/../../x", "a/b/c", "sub/.hidden", ".hidden", "a\\b", "a\x1bb", "a b", "\u202ex", "a/"):
        name = folder("bad", bad + "\n")
        refused("a manifest that lists %r" % bad, "damaged", "gen", "t.yaml", "-o", name)
        r = run("diff", name, name)
        check(r.returncode == 2 and "damaged" in r.stderr, "diff: a manifest that lists %r" % bad, r.stderr)
        shutil.rmtree(name)

    run("gen", "t.yaml", "-o", "good")
    for what, make in (("FIFO", os.mkfifo), ("link", lambda p: os.symlink(victim + "/secret.txt", p)), ("folder", os.mkdir),
                       ("device", lambda p: os.symlink("/dev/zero", p))):
        name = folder("odd", "tiny.h\n")
        make(name + "/tiny.h")
        r = run("diff", name, "good", timeout=20)
        check(r.returncode == 2 and "odd/tiny.h" in r.stderr, "diff: a %s is not read" % what, r.stderr)
        refused("gen: a %s in the way" % what, "in the way", "gen", "t.yaml", "-o", name, timeout=20)
        shutil.rmtree(name)
        os.mkdir(name)
        make(name + "/.convoy-manifest")
        refused("gen: a manifest that is a %s" % what, "cannot read", "gen", "t.yaml", "-o", name, timeout=20)
        shutil.rmtree(name)
    r = run("diff", "twice", "good")
    check(r.returncode == 2 and "twice" in r.stderr, "diff: a manifest that lists a file twice", r.stderr)
    put(folder("long", "".join("f%d.c\n" % i for i in range(100000))) + "/f1.c", "")
    start = time.time()
    check(run("gen", "t.yaml", "-o", "long").returncode == 0 and time.time() - start < 20, "a manifest of 100,000 lines")
    put("good/tiny.h.tmp.4711.0", "left by a run that was killed")
    check(run("gen", "t.yaml", "-o", "good").returncode == 0, "a leftover temporary")


def unchanged_folders():
    """What is the same is not written again: a folder that nobody may write to is up to date."""
    run("gen", "t.yaml", "-o", "same")
    before = {n: os.stat("same/" + n).st_mtime_ns for n in names("same")}
    check(run("gen", "t.yaml", "-o", "same").returncode == 0, "again")
    after = {n: os.stat("same/" + n).st_mtime_ns for n in names("same")}
    stamp = ".convoy-manifest"  # of a makefile's rule: as new as the last run
    check(after.pop(stamp) > before.pop(stamp) and before == after, "unchanged files keep their times, and the manifest is as new as the run")
    old = os.umask(0o077)
    check(run("gen", "t.yaml", "-o", "private").returncode == 0 and mode("private") == 0o700 and mode("private/tiny.h") == 0o600, "umask 077")
    os.umask(old)
    os.chmod("private/tiny.h", 0o604)
    run("gen", "t.yaml", "--set", "conv1.out=3", "-o", "private")
    check(mode("private/tiny.h") == 0o604, "a file of a folder keeps its mode", oct(mode("private/tiny.h")))
    os.mkdir("closed")
    if not shutil.which("strace"):
        skipped.append("a folder that cannot be made (no strace)")
    else:
        r = subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", "inject=mkdir:error=EACCES", convoy, "gen", "t.yaml", "-o", "closed/new"],
                           stderr=subprocess.PIPE, universal_newlines=True,
                           env=dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")) # not under ptrace
        check(r.returncode == 1 and "cannot make the folder closed/new: Permission denied" in r.stderr, "a folder that cannot be made", r.stderr)
    if os.geteuid() == 0:
        skipped.append("read-only folders (root may write to all)")
        return
    os.chmod("same", 0o555)
    check(run("gen", "t.yaml", "-o", "same").returncode == 0, "a read-only folder that is up to date")
    refused("a read-only folder", "cannot", "gen", "t.yaml", "--set", "conv1.out=3", "-o", "same")
    os.chmod("same", 0o755)


# ---- compiling: flags, two runs at once, signals ----

QUICK = ["--target", "portable"]
ARGS = ["--", "--train-images", "32", "--test-images", "16", "--quiet"]


def train(*more, folder="b", save=None, args=(), env=None, **kind):
    return run("train", "t.yaml", "-o", folder, *QUICK, *more, *ARGS, *(["--save", save] if save else ["--no-save"]), *args,
               env={**os.environ, "CFLAGS": "-O0", **(env or {})}, timeout=600, **kind)


def compiled(folder="b"):
    """A copy of a build folder, compiled once for all tests."""
    at = os.path.join(shared, "b")
    if not os.path.exists(at):
        r = train(folder=at)
        check(r.returncode == 0, "a program for several tests is compiled", r.stderr)
    shutil.copytree(at, folder, symlinks=True)


def spared(what, file, *command):
    """A command that would write over what it reads says so and leaves it."""
    before = open(file, "rb").read()
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    check(r.returncode in (1, 2) and ("is read here" in r.stderr or "are one file" in r.stderr) and open(file, "rb").read() == before, what, "status %d %s" % (r.returncode, r.stderr))


def what_is_read():
    """No command writes over what it reads, by whatever name; but for check --write, which may."""
    put("table.csv", "a,b,label\n" + "".join("%d,%d,%s\n" % (i, i * i % 7, "xy"[i % 2]) for i in range(60)))
    put("t.log", '{"event":"start","network":"t","first_step":0}\n{"event":"epoch","epoch":1,"loss":1}\n')
    os.symlink("t.yaml", "other.yaml")
    for words in (["twin", "t.yaml", "-o", "t.yaml"], ["draw", "t.yaml", "-o", "./other.yaml"], ["gen", "t.yaml", "-o", "o", "--depfile", "t.yaml"],
                  ["diff", "t.yaml", "--order", "conv-relu-bn", "--html", "t.yaml"]):
        spared(words[0] + " over its spec", "t.yaml", convoy, *words)
    spared("plot over its log", "t.log", convoy, "plot", "t.log", "-o", "t.log")
    spared("data over its table", "table.csv", convoy, "data", "table.csv", "-o", "table.csv")
    for words in (["twin", "t.yaml"], ["draw", "t.yaml"], ["check", "t.yaml", "--write"], ["schema"], ["plot", "t.log"]):
        r = run(*words, "-o", "-")
        check(r.returncode == 0 and r.stdout == run(*words).stdout and not os.path.exists("-"), words[0] + " -o -: standard output", r.stderr)
    r = run("data", "table.csv", "-o", "-")
    check(r.returncode == 2 and "-o -: a set goes into a file" in r.stderr and not os.path.exists("-"), "data -o -", r.stderr)
    r = run("plot", "-", input=read("t.log"))
    check(r.returncode == 0 and r.stdout.startswith("<svg"), "a log from standard input, as -", r.stderr)
    r = run("check", "t.yaml", "--write", "-o", "t.yaml")
    check(r.returncode == 0, "check --write over its spec", r.stderr)


def odd_places():
    """Blanks and letters outside ASCII in paths, weights behind a link, umask 077, stdin closed."""
    os.mkdir("für alle")
    os.chdir("für alle")
    put("t.yaml", SPEC)
    r = train(folder="ein Ordner", save="gewichte ä.safetensors")
    check(r.returncode == 0 and os.path.exists("gewichte ä.state.safetensors"), "train in a folder with a blank in its name", r.stderr)
    os.symlink("gewichte ä.safetensors", "w.safetensors")
    r = run("export", "t.yaml", "--weights", "w.safetensors", "-o", "aus gabe", "--single-file")
    check(r.returncode == 0 and os.path.exists("aus gabe/tiny.c"), "export of weights behind a link", r.stderr)
    r = subprocess.run(["sh", "-c", 'umask 077; exec "$0" "$@" <&-', os.path.abspath("ein Ordner/tiny"), "train", *ARGS[1:], "--save", "u.safetensors"],
                       stderr=subprocess.PIPE, universal_newlines=True)
    check(r.returncode == 0 and mode("u.safetensors") == mode("u.state.safetensors") == 0o600, "umask 077, stdin closed", r.stderr)


def flags():
    def program():
        with open("b/tiny", "rb") as f:
            return f.read()
    compiled()
    first, when = program(), os.stat("b/tiny").st_mtime_ns
    check(train().returncode == 0 and os.stat("b/tiny").st_mtime_ns == when, "the same flags: nothing is compiled")
    train(env={"CFLAGS": "-O0 -g -DNOTE='\"a b\"'"})
    check(program() != first, "other CFLAGS: compiled again")
    train(env={"CC": ""})
    check(program() == first, "CC= is cc", "")
    if shutil.which("clang"):
        train(env={"CC": "clang"})
        check(program() != first, "another CC: compiled again")
    else:
        skipped.append("another CC (no clang)")
    put("b/GNUmakefile", "all:\n\ttouch owned\n%:\n\ttouch owned\n")
    check(train(env={"CC": "clang"} if shutil.which("clang") else {}).returncode == 0 and not os.path.exists("b/owned"), "a GNUmakefile that lies there is not used")


def programs():
    """The emitted program: streams that are closed or unread, full disks, weights and data behind links and pipes."""
    compiled()
    r = train(save="w.safetensors")
    check(r.returncode == 0, "train", r.stderr)
    program, few = os.path.abspath("b/tiny"), ["--train-images", "32", "--test-images", "16"]

    def shell(line, *args):
        return subprocess.run(["bash", "-c", line, "bash", program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120)

    for n, save in enumerate(("head.safetensors", "closed.safetensors", "closed2.safetensors", "full.safetensors")):
        line = ['"$@" | head -n 1; exit ${PIPESTATUS[0]}', '"$@" >&-', '"$@" 2>&-', '"$@" >/dev/full'][n]
        r = shell(line, "train", *few, "--epochs", "2", "--save", save, "--log", save + ".log")
        check(r.returncode == (n == 3) and os.path.exists(save), "train with its output as in %s" % line, "status %d %s" % (r.returncode, r.stderr))
        check(all(one.startswith("{") for one in read(save + ".log").splitlines()), "its log holds nothing else")
    for line in ('"$@" >/dev/full', '"$@" >&-'):
        for words in (["help"], ["info"], ["eval", "--help"], ["eval", "--weights", "w.safetensors", *few[2:]]):
            r = shell(line, *words)
            check(r.returncode == 1 and "cannot write to standard output" in r.stderr, "%s with its output as in %s" % (words[0], line), r.stderr)
    for limit in (60000, 100000, 150000, 400000):  # KB; OpenBLAS, where it is there, cannot start its threads then, and waits for them
        try:
            r = subprocess.run(["bash", "-c", 'ulimit -v %d; exec "$@"' % limit, "bash", program, "info"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
            check(r.returncode == 0 or r.stderr, "an address space of %d KB" % limit, r.stderr)
        except subprocess.TimeoutExpired:
            check(False, "an address space of %d KB: it hangs" % limit)
    want = shell('"$@"', "eval", "--json", "--weights", "w.safetensors", *few[2:])
    os.symlink("w.safetensors", "weights")
    check(shell('"$@"', "eval", "--json", "--weights", "weights", *few[2:]).stdout == want.stdout, "weights behind a link")
    r = shell('"$@" --weights <(cat w.safetensors)', "eval", "--json", *few[2:])
    check(r.stdout == want.stdout, "weights from a pipe", r.stderr)
    head = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 8, 8), }".ljust(117) + "\n"
    with open("x.npy", "wb") as f:
        f.write(b"\x93NUMPY\x01\x00\x76\x00" + head.encode() + bytes(range(64)))
    shell('"$@" --input x.npy -o y.npy', "predict", "--weights", "w.safetensors")
    r = shell('"$@" --input <(cat x.npy) -o >(cat >z.npy); wait; sleep 0.2', "predict", "--weights", "w.safetensors")
    check(until(lambda: os.path.exists("z.npy") and open("y.npy", "rb").read() == open("z.npy", "rb").read(), 5), "images and logits through pipes", r.stderr)
    for words in (["eval", "--weights", "w.safetensors", "--report", "w.safetensors"], ["predict", "--weights", "w.safetensors", "--input", "x.npy", "-o", "w.safetensors"],
                  ["train", *few, "--no-save", "--init-from", "w.safetensors", "--log", "w.safetensors"], ["train", *few, "--save", "w.safetensors", "--log", "w.safetensors"],
                  ["trace", "--weights", "w.safetensors", "--input", "x.npy", "--labels", "x.npy", "-o", "w.safetensors"]):
        spared(words[0] + " over the weights", "w.safetensors", program, *words)
    os.mkdir("real")
    for split, n in (("train", 32), ("t10k", 16)):
        with open("real/%s-images-idx3-ubyte" % split, "wb") as f:
            f.write(bytes([0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 8, 0, 0, 0, 8]) + bytes(range(64)) * n)
        with open("real/%s-labels-idx1-ubyte" % split, "wb") as f:
            f.write(bytes([0, 0, 8, 1, 0, 0, 0, n]) + bytes([0, 1] * (n // 2)))
    os.mkdir("linked")
    for name in os.listdir("real"):
        os.symlink("../real/" + name, "linked/" + name)
    os.symlink("linked", "data")
    r = shell('"$@"', "train", "--data", "data", "--save", "d.safetensors", "--epochs", "1")
    check(r.returncode == 0, "data behind links", r.stderr)


def two_at_once():
    """Each of two trainings that share a build folder trains its own order."""
    orders = ["conv-bn-relu", "conv-relu-bn"]
    alone = []
    for i, order in enumerate(orders):
        compiled("alone%d" % i)
        train("--set", "conv1.order=" + order, folder="alone%d" % i, save="alone%d.safetensors" % i)
        with open("alone%d.safetensors" % i, "rb") as f:
            alone.append(f.read())
    check(alone[0] != alone[1], "the two orders differ")
    said = []

    def one(i):
        said.append(train("--set", "conv1.order=" + orders[i], folder="shared", save="both%d.safetensors" % i).stderr)
    runs = [threading.Thread(target=one, args=(i,)) for i in range(2)]
    for r in runs:
        r.start()
    for r in runs:
        r.join()
    for i in range(2):
        with open("both%d.safetensors" % i, "rb") as f:
            check(f.read() == alone[i], "two at once: %s" % orders[i], "\n".join(said))

    os.mkdir("held")
    holder = os.open("held", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    r = subprocess.Popen([convoy, "gen", "t.yaml", "-o", "held"], stderr=subprocess.PIPE, universal_newlines=True)
    line = r.stderr.readline()
    check("waiting for another convoy" in line and "held" in line and names("held") == [], "a run that waits says so", line)
    os.close(holder)
    check(r.wait(timeout=60) == 0 and "tiny.h" in names("held"), "and goes on when the holder is gone", "")


def until(condition, seconds=30):
    end = time.time() + seconds
    while time.time() < end and not condition():
        time.sleep(0.02)
    return condition()


def signals():
    """SIGTERM while a compiler runs: no temporary folder, no compiler stays."""
    os.mkdir("tmp")
    put("slow-cc", "#!/bin/sh\necho $$ > '%s/pid'\nexec sleep 60\n" % os.getcwd())
    os.chmod("slow-cc", 0o755)
    env = {**os.environ, "TMPDIR": os.path.abspath("tmp"), "CC": os.path.abspath("slow-cc")}

    def gone():
        try:
            os.kill(int(read("pid")), 0)
        except OSError:
            return True
        return False
    for what, number in ((["asm", "t.yaml", "conv1.forward"], signal.SIGTERM), (["asm", "t.yaml", "conv1.forward"], signal.SIGINT),
                         (["diff", "t.yaml", "--order", "conv-relu-bn", "--compile"], signal.SIGTERM), (["train", "t.yaml", "-o", "c"], signal.SIGTERM)):
        if os.path.exists("pid"):
            os.unlink("pid")
        p = subprocess.Popen([convoy, *what], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
        started = until(lambda: os.path.exists("pid") and read("pid").endswith("\n"))
        p.send_signal(number)
        try:
            p.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
        name = "%s ended by %s" % (what[0], signal.Signals(number).name)
        check(started and p.returncode == -number, name, "started %s, status %s" % (started, p.returncode))
        check(os.listdir("tmp") == [], name + " leaves nothing in TMPDIR", str(os.listdir("tmp")))
        check(until(gone, 5), name + " ends the compiler")


def main():
    global convoy, shared
    parser = argparse.ArgumentParser()
    parser.add_argument("--convoy", required=True)
    parser.add_argument("--only", help="of the tests: a name")
    args = parser.parse_args()
    convoy = os.path.abspath(args.convoy)
    shared = tempfile.mkdtemp(prefix="convoy-test-")
    for test in (typed_paths, what_is_read, streams, hostile_folders, unchanged_folders, odd_places, flags, programs, two_at_once, signals):
        if args.only and test.__name__ != args.only:
            continue
        with tempfile.TemporaryDirectory(prefix="convoy-test-") as folder:
            os.chdir(folder)
            put("t.yaml", SPEC)
            begin = time.time()
            test()
            print("%s: %.1f s" % (test.__name__, time.time() - begin))
            os.chdir("/")
    shutil.rmtree(shared)
    for s in skipped:
        print("skipped: " + s)
    print("%d passed, %d failed%s" % (len(passed), len(failed), ", %d skipped" % len(skipped) if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
