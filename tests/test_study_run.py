#!/usr/bin/env python3
"""convoy study: a small study is trained for real, killed, interrupted, extended; what it refuses.

    test_study_run.py --convoy build/gen/convoy [--kills N] [WORD...]"""
import base64
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

import methods
import quick
from methods import check
from study_small import SPEC, read_set, write_set

KILLS = 6
if "--kills" in sys.argv:
    at = sys.argv.index("--kills")
    KILLS = int(sys.argv[at + 1])
    del sys.argv[at:at + 2]

STUDY = """name: tiny-order
spec: tiny.yaml
data: tiny.safetensors
variants:
  before: {order: conv-bn-act}
  after: {order: conv-act-bn}
primary: [before, after]
margin: 2
seeds: 3
screen: 1
long: 1
"""
# Slurm's sbatch, as far as the script uses it: runs the job, each of its array in turn, and prints its number.
SBATCH = """#!/bin/sh
set -eu
echo "$* " >>"$FOLDER/calls"
n=$(wc -l <"$FOLDER/calls")
for job; do :; done
case " $* " in
    *" --array=1-2 "*) for k in 1 2; do SLURM_ARRAY_TASK_ID=$k sh "$job" >&2; done ;;
    *) sh "$job" >&2 ;;
esac
echo "$n;cluster"
"""


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.folder, self.skipped, self.n = os.path.abspath(convoy), folder, [], 0
        self.env = quick.env()
        self.log_compiler()
        self.write(SPEC, STUDY)
        write_set(os.path.join(folder, "tiny.safetensors"))
        # compiled once: studies begin with a copy of this
        self.compiled = os.path.join(folder, "compiled")
        status, out, err = self.run(self.compiled, "--plan")
        if status != 0:
            raise RuntimeError("--plan: status %d\n%s%s" % (status, out, err))
        self.planned = out
        self.whole, began = self.fresh(), time.time()
        self.status, self.said, err = self.run(self.whole, "--jobs", "2")
        self.seconds = time.time() - began
        if self.status not in (0, 3):
            raise RuntimeError("status %d\n%s%s" % (self.status, self.said, err))

    def log_compiler(self):
        """From here on the compiler is a script that says what it is asked for, and then does it."""
        script = os.path.join(self.folder, "logged-cc")
        self.asked = os.path.join(self.folder, "cc.log")
        with open(script, "w") as f:
            f.write('#!/bin/sh\necho "$*" >>"%s"\nexec %s "$@"\n' % (self.asked, self.env.get("CC", "cc")))
        os.chmod(script, 0o755)
        self.env.update(CC="logged-cc", PATH=self.folder + ":" + self.env["PATH"])

    def write(self, spec, study, data=None):
        for name, text in (("tiny.yaml", spec), ("study.yaml", study)):
            with open(os.path.join(self.folder, name), "w") as f:
                f.write(text)

    def fresh(self):
        self.n += 1
        to = os.path.join(self.folder, "run%d" % self.n)
        shutil.copytree(self.compiled, to)
        return to

    def start(self, folder, *args):
        return subprocess.Popen([self.convoy, "study", os.path.join(self.folder, "study.yaml"), "-o", folder, *args], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=self.env, start_new_session=True)

    def run(self, folder, *args):
        p = self.start(folder, *args)
        out, err = p.communicate(timeout=600)
        return p.returncode, out, err

    def runs(self, folder):
        lines = open(os.path.join(folder, "runs.csv")).read().split("\n")
        at = next(i for i, x in enumerate(lines) if x.startswith("variant,"))
        return [dict(zip(lines[at].split(","), x.split(","))) for x in lines[at + 1:] if x]

    def equal(self, folder, what):
        for name in ("runs.csv", "report.html"):
            a, b = (open(os.path.join(d, name)).read() for d in (self.whole, folder))
            check(a == b, "%s: %s differs from the undisturbed study's" % (what, name))

    def test_whole(self):
        """What an undisturbed study leaves: every training once, the report of its CSV, nothing else."""
        runs = self.runs(self.whole)
        count = [r for r in runs if r["role"] == "count"]
        check(len(count) == 2 * 3 * 3 and len([r for r in runs if r["role"] == "long"]) == 2 * 3, "%d counted trainings" % len(count))
        check({r["seed"] for r in count}.isdisjoint({r["seed"] for r in runs if r["role"] == "screen"}), "screening seeds are counted")
        check({r["epochs"] for r in runs if r["role"] == "long"} == {"2"}, "epochs of long ones")
        for v in ("before", "after"):
            rates = sorted({float(r["rate"]) for r in count if r["variant"] == v})
            check(len(rates) == 3 and rates[1] == 2 * rates[0] and rates[2] == 2 * rates[1], "rates of %s: %r" % (v, rates))
        check(sorted(os.listdir(self.whole)) == ["build", "report.html", "runs.csv", "runs.csv.lock", "times.csv"] or
              sorted(os.listdir(self.whole)) == ["build", "report.html", "runs.csv", "times.csv"], "left behind: %r" % os.listdir(self.whole))
        for r in runs:
            peers = [x for x in runs if (x["variant"], x["role"], x["seed"]) == (r["variant"], r["role"], r["seed"])]
            picked = r["role"] != "screen" and r["diverged"] == "0" and max(peers, key=lambda x: (x["valid"] and float(x["valid"]), x["rate"] == sorted((y["rate"] for y in peers), key=float)[1])) is r
            bits = base64.b64decode(r["answers"])
            check(not picked or sum(bin(b).count("1") for b in bits) == int(r["correct"]), "answers of %(variant)s, seed %(seed)s" % r)
            check(picked or not r["answers"], "answers of what is not picked: %(variant)s, seed %(seed)s, rate %(rate)s" % r)
        times = open(os.path.join(self.whole, "times.csv")).read().split()
        check(len(times) == len(runs), "%d times of %d trainings" % (len(times), len(runs)))
        page = os.path.join(self.folder, "again.html")
        r = subprocess.run([self.convoy, "study", "--report", os.path.join(self.whole, "runs.csv"), "--html", page], capture_output=True, text=True)
        check(r.returncode == self.status and open(page).read() == open(os.path.join(self.whole, "report.html")).read(), "the report of the CSV alone")
        check(r.stdout.split("The page:")[0] == self.said.split("The page:")[0], "the text of the CSV alone")
        status, out, err = self.run(self.whole)
        check(status == self.status and out == self.said and open(os.path.join(self.whole, "times.csv")).read().split() == times, "a second run trains nothing")
        self.equal(self.whole, "a second run")

    def test_compiled(self):
        """Two variants share their runtime, and so its compiling."""
        asked = [x.split()[-1] for x in open(self.asked) if " -c -o " in x]
        runtime = [x for x in asked if x.startswith("runtime/")]
        check(len(runtime) == len(set(runtime)) > 20, "the runtime's files were compiled %d times, %d are there" % (len(runtime), len(set(runtime))))
        check(asked.count("tiny_net.c") == 2, "the networks were compiled %d times" % asked.count("tiny_net.c"))

    def test_plan(self):
        check("0 trainings are done, 34 are left" in self.planned and "minutes, " in self.planned, self.planned)
        check(not os.path.exists(os.path.join(self.compiled, "runs.csv")), "--plan wrote a CSV")

    def mine(self, folder):
        """Processes whose command line names the folder."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    if (folder + "/").encode() in f.read():
                        found.append(pid)
            except OSError:
                pass
        return found

    def test_killed(self):
        """SIGKILL at random moments, each time the same command again: the same CSV, the same page, and nothing trained twice."""
        draw, kills, folder = random.Random(5), 0, self.fresh()
        for attempt in range(20 * KILLS):
            p = self.start(folder, "--jobs", "2")
            try:
                p.communicate(timeout=draw.uniform(.05, max(.6, self.seconds / 3)) if kills < KILLS else 600)
                check(p.returncode == self.status, "status %d" % p.returncode)
                self.equal(folder, "killed %d times" % kills)
                if kills >= KILLS:
                    break
                folder = self.fresh()
            except subprocess.TimeoutExpired:
                os.kill(p.pid, signal.SIGKILL)
                p.communicate()
                kills += 1
                for _ in range(100):
                    if not self.mine(folder):
                        break
                    time.sleep(.05)
                check(not self.mine(folder), "trainings outlive the study that was killed")
        keys = [x.rsplit(",", 2)[0] for x in open(os.path.join(folder, "times.csv")).read().split()]
        check(kills >= KILLS and len(set(keys)) == len(keys), "%d kills; trained twice: %r" % (kills, sorted({k for k in keys if keys.count(k) > 1})))

    def test_interrupted(self):
        """Ctrl-C and SIGTERM: what was finished is kept, the status says by what, and the same command goes on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            folder = self.fresh()
            p = self.start(folder, "--jobs", "2")
            csv = os.path.join(folder, "runs.csv")
            for _ in range(2000):
                if os.path.exists(csv) and len(self.runs(folder)) >= 4:
                    break
                time.sleep(.01)
            os.kill(p.pid, number)
            out, err = p.communicate(timeout=60)
            check(p.returncode == 128 + number and "the same command goes on" in err, "status %d\n%s" % (p.returncode, err))
            check(not out, "scores are shown before the end: %s" % out)
            check(not os.path.exists(os.path.join(folder, "work")), "the folder of trainings under way stays")
            check(self.run(folder, "--jobs", "1")[0] == self.status, "the same command")
            self.equal(folder, "interrupted by %d" % number)

    def test_parts(self):
        """The screen, two parts and their join: the undisturbed study's bytes. Joined again, and part by part, too."""
        to = self.fresh()
        status, out, err = self.run(to, "--part", "1/2")
        check(status == 1 and "the rates are not all found" in err and "--screen" in err, "a part before the screen: %d %s" % (status, err))
        for bad in (("--part", "3/2"), ("--part", "1"), ("--part", "1/2", "--merge"), ("--screen", "--look")):
            status, out, err = self.run(to, *bad)
            check(status == 2 and ("K/N" in err or "one at a time" in err), "%r: %d %s" % (bad, status, err))
        status, out, err = self.run(to, "--screen")
        check(status == 0 and "the rates are found; 24 trainings are left" in out, "--screen: %d %s%s" % (status, out, err))
        check({r["role"] for r in self.runs(to)} == {"screen"} and not os.path.exists(os.path.join(to, "report.html")), "what the screen left")
        for k in (1, 2):
            shutil.copytree(os.path.join(to, "build"), os.path.join(to, "part-%d" % k, "build"))
        status, out, err = self.run(to, "--part", "2/2")
        check(status == 0 and "part 2/2: 1 rounds are whole" in out, "--part 2/2: %d %s%s" % (status, out, err))
        check({(r["role"], r["seed"]) for r in self.runs(os.path.join(to, "part-2")) if r["role"] != "screen"} == {("count", "3")}, "a part's rounds")
        status, out, err = self.run(to, "--merge")
        check(status == 3 and out.startswith("Interim, 1 of 3 seeds"), "one part joined: %d %s%s" % (status, out, err))
        status, out, err = self.run(to, "--part", "1/2")
        check(status == 0 and "part 1/2: 2 rounds are whole" in out, "--part 1/2: %d %s%s" % (status, out, err))
        for _ in range(2):
            status, out, err = self.run(to, "--merge")
            check(status == self.status and out.split("The page:")[0] == self.said.split("The page:")[0], "--merge: %d %s%s" % (status, out, err))
            self.equal(to, "parts joined")
        # a round in two files, another result, another study
        part, whole = os.path.join(to, "part-1", "runs.csv"), os.path.join(to, "runs.csv")
        text, of_whole = open(part).read(), open(whole).read()
        head, rows = of_whole.split("\nvariant,role", 1)
        rows = rows.split("\n")
        first = next(i for i, r in enumerate(rows) if ",count,2," in r and ",0," in r)
        with open(whole, "w") as f:
            f.write(head + "\nvariant,role" + "\n".join(r for i, r in enumerate(rows) if i == first or ",count,2," not in r))
        status, out, err = self.run(to, "--merge")
        check(status == 1 and "seed 2 is trained in part in" in err and "a round belongs to one machine" in err, "a split round: %d %s" % (status, err))
        cells = rows[first].split(",")
        cells[10] = str(int(cells[10]) - 1)
        cells[6] = repr(int(cells[10]) / int(cells[11]))
        cells[12] = ""
        with open(whole, "w") as f:
            f.write(head + "\nvariant,role" + "\n".join(",".join(cells) if i == first else r for i, r in enumerate(rows)))
        status, out, err = self.run(to, "--merge")
        check(status == 1 and "have different results for" in err and "seed 2" in err, "another result: %d %s" % (status, err))
        with open(whole, "w") as f:
            f.write(of_whole)
        with open(part, "w") as f:
            f.write(text.replace("# target: ", "# target: other-", 1))
        status, out, err = self.run(to, "--merge")
        check(status == 1 and "another study" in err and "part-1" in err, "another target: %d %s" % (status, err))
        check(open(whole).read() == of_whole, "a refused join changed the CSV")

    def test_slurm(self):
        """The script for Slurm, run with an sbatch that runs its job at once: the undisturbed study's bytes."""
        to = self.fresh()
        for k in (1, 2):
            shutil.copytree(os.path.join(to, "build"), os.path.join(to, "part-%d" % k, "build"))
        status, out, err = self.run(to, "--slurm", "2", "--jobs", "2")
        script = os.path.join(to, "slurm.sh")
        check(status == 0 and "Begin with: sh " in out and script in out, "--slurm: %d %s%s" % (status, out, err))
        check(subprocess.run(["sh", "-n", script]).returncode == 0, "sh -n")
        bin_ = os.path.join(self.folder, "bin")
        os.makedirs(bin_, exist_ok=True)
        with open(os.path.join(bin_, "sbatch"), "w") as f:
            f.write(SBATCH)
        os.chmod(os.path.join(bin_, "sbatch"), 0o755)
        r = subprocess.run(["sh", script, "--partition=long"], capture_output=True, text=True, env=dict(self.env, PATH=bin_ + ":" + self.env["PATH"]))
        check(r.returncode == 0 and r.stdout.startswith("screen 1, parts 2, merge 3"), "the script: %s%s" % (r.stdout, r.stderr))
        calls = open(os.path.join(to, "calls")).read().split("\n")
        check("--dependency=afterok:1 " in calls[1] and "--array=1-2 " in calls[1] and "--dependency=afterok:2 " in calls[2] and
              all("--partition=long" in c and "--cpus-per-task=2 " in c for c in calls[:3]), "calls: %r" % calls)
        self.equal(to, "Slurm's parts joined")

    def test_rows(self):
        """A seed's set: no test row in it; training rows and held-out rows are the pool, in each class's share; each seed draws anew. And a
        training by hand gives what the CSV says."""
        folder = self.fresh()
        p = self.start(folder, "--jobs", "1")
        work, held = os.path.join(folder, "work"), {}
        pool = read_set(os.path.join(self.folder, "tiny.safetensors"))
        for _ in range(4000):
            try:
                sets = [x for x in os.listdir(work) if x.startswith("seed-") and x.endswith(".safetensors")]
            except OSError:
                sets = []
            for name in sets:
                if name not in held:
                    try:
                        shutil.copy(os.path.join(work, name), self.folder)
                    except OSError:
                        continue
                    held[name] = read_set(os.path.join(self.folder, name))
            if not os.path.exists(os.path.join(self.folder, "test-0.safetensors")) and sets:
                shutil.copy(os.path.join(work, "test-0.safetensors"), self.folder)
            if p.poll() is not None:
                break
            time.sleep(.003)
        p.communicate()
        check(len(held) == 4, "sets seen: %r" % sorted(held))
        everything, tests = sorted(pool["train"] + pool["valid"]), set(pool["test"])
        for name, cut in held.items():
            check(sorted(cut["train"] + cut["test"]) == everything, "%s is not the pool" % name)
            check(not tests & set(cut["train"] + cut["test"]), "%s holds test rows" % name)
            for c in range(3):
                all_, out = (sum(y == c for y, _ in rows) for rows in (everything, cut["test"]))
                check(out == round(.2 * all_), "%s: %d of %d rows of class %d held out" % (name, out, all_, c))
        check(len({tuple(sorted(cut["test"])) for cut in held.values()}) == 4, "seeds share a cut")
        check(sorted(read_set(os.path.join(self.folder, "test-0.safetensors"))["test"]) == sorted(pool["test"]), "the test rows")
        for r in [x for x in self.runs(folder) if x["role"] == "count" and x["diverged"] == "0"][:3]:
            program, w = os.path.join(folder, "build", r["variant"], "tiny"), os.path.join(self.folder, "w.safetensors")
            log = os.path.join(self.folder, "log")
            args = [program, "train", "--data", os.path.join(self.folder, "seed-%s.safetensors" % r["seed"]), "--seed", r["seed"], "--lr", r["rate"],
                    "--epochs", r["epochs"], "--threads", "2", "--save", w, "--force", "--log", log, "--quiet"]
            if "--valid " in subprocess.run([program, "train", "--help"], capture_output=True, text=True).stdout:
                args += ["--valid", "0"]
            subprocess.run(args, check=True)
            lines = [json.loads(x) for x in open(log)]
            valid = [x["test_accuracy"] for x in lines if "test_accuracy" in x][-1]
            out = subprocess.run([program, "eval", "--weights", w, "--data", os.path.join(self.folder, "tiny.safetensors"), "--json"], capture_output=True,
                                 text=True, check=True).stdout
            check(abs(valid - float(r["valid"])) < 1e-8 and abs(json.loads(out)["accuracy"] - float(r["test"])) < 1e-8, "by hand %r, %s; the CSV: %r" % (valid, out, r))

    def test_recall(self):
        """Where the largest class has more than three times the rows of the smallest, each class counts the same; the rates are picked by that, too."""
        folder, seen = os.path.join(self.folder, "recall"), os.path.join(self.folder, "uneven.safetensors")
        write_set(seen, shares=(20, 4, 3))
        with open(os.path.join(self.folder, "uneven.yaml"), "w") as f:
            f.write(STUDY.replace("tiny.safetensors", "uneven.safetensors").replace("name: ", "name: uneven-") + "epochs: 6\n")
        p = subprocess.run([self.convoy, "study", os.path.join(self.folder, "uneven.yaml"), "-o", folder], capture_output=True, text=True, env=self.env)
        check(p.returncode in (0, 3) and "Score: mean recall" in p.stdout, "status %d: %s%s" % (p.returncode, p.stdout, p.stderr))
        of = [sum(y == c for y, _ in read_set(seen)["test"]) for c in range(3)]
        head = [x for x in open(os.path.join(folder, "runs.csv")) if x.startswith("# ")]
        said = dict(x[2:].rstrip().split(": ", 1) for x in head if ": " in x)
        check(said["score"] == "mean recall" and abs(float(said["effective rows"]) - 9 / sum(1 / n for n in of)) < 1e-6 and
              abs(float(said["largest class"]) - 1 / 3) < 1e-9, "the header: %r" % said)
        done = [r for r in self.runs(folder) if r["correct"]]
        check(len(done) > 10, "%d trainings did not diverge" % len(done))
        for r in done: # rows that were answered right, class by class, make both numbers
            ways = [(a, b, int(r["correct"]) - a - b) for a in range(of[0] + 1) for b in range(of[1] + 1)]
            check(any(0 <= c <= of[2] and abs((a / of[0] + b / of[1] + c / of[2]) / 3 - float(r["test"])) < 1e-6 for a, b, c in ways), "no mean recall: %r" % r)
        check(any(abs(float(r["test"]) - int(r["correct"]) / int(r["rows"])) > .01 for r in done), "that is accuracy")
        page = open(os.path.join(folder, "report.html")).read()
        check("Score: mean recall" in page and "about" not in page[page.index('class="three"'):page.index("<figure")], "the page")
        # by hand: the first training that counts
        r = next(x for x in done if x["role"] == "count")
        program, w = os.path.join(folder, "build", r["variant"], "tiny"), os.path.join(self.folder, "u.safetensors")
        check(self.by_hand(program, seen, r, w), "a training by hand: %r" % r)

    def by_hand(self, program, data, r, weights):
        """Whether a training of all rows of the set can be asked for its recall as the study asked: the same sum of the same classes."""
        subprocess.run([program, "train", "--data", data, "--seed", r["seed"], "--lr", r["rate"], "--epochs", "1", "--threads", "1", "--save", weights, "--force",
                        "--quiet"], check=True, stdout=subprocess.DEVNULL)
        out = json.loads(subprocess.run([program, "eval", "--weights", weights, "--data", data, "--json"], capture_output=True, text=True, check=True).stdout)
        confusion = out["confusion"]
        return all(abs(c["accuracy"] - row[i] / sum(row)) < 1e-6 for i, (c, row) in enumerate(zip(out["classes"], confusion)))

    def test_pick_rows(self):
        """Rows that `rows` leaves out are held out where pick_rows asks for them, the same for each seed; no seed trains with them."""
        try:
            self.write(SPEC, STUDY + "rows: 90\npick_rows: 50\n")
            folder, held = self.fresh(), {}
            p = self.start(folder, "--jobs", "1")
            work = os.path.join(folder, "work")
            while p.poll() is None and len(held) < 2:
                for name in (os.listdir(work) if os.path.exists(work) else []):
                    if name.startswith("seed-") and name.endswith(".safetensors") and name not in held:
                        try:
                            held[name] = read_set(os.path.join(work, name))
                        except (OSError, struct.error):
                            pass
                time.sleep(.003)
            p.kill()
            p.communicate()
        finally:
            self.write(SPEC, STUDY)
        check(len(held) == 2, "sets seen: %r" % sorted(held))
        (a, b), pool = held.values(), read_set(os.path.join(self.folder, "tiny.safetensors"))
        for cut in (a, b):
            check(abs(len(cut["train"]) - 72) <= 2 and len(cut["train"]) + len(cut["test"]) in range(138, 143), "%d and %d rows" % (len(cut["train"]), len(cut["test"])))
            check(not set(cut["test"]) & set(pool["test"]) and not set(cut["train"]) & set(cut["test"]), "rows on two sides")
        check(len(set(a["test"]) & set(b["test"])) >= 50 and sorted(a["train"] + a["test"]) == sorted(b["train"] + b["test"]), "the spare rows are not the same")

    def test_refused(self):
        """Another spec, other data, another plan: words, and the CSV stays as it was."""
        folder = self.whole
        before = open(os.path.join(folder, "runs.csv")).read()
        cases = [(SPEC.replace("out: 3", "out: 4"), STUDY, None, "the specs, or the code that convoy makes of them, are others"),
                 (SPEC, STUDY, 2, "the data are others"),
                 (SPEC, STUDY.replace("margin: 2", "margin: 1"), None, "'# margin: 2' then, '# margin: 1' now"),
                 (SPEC, STUDY.replace("seeds: 3", "seeds: 5"), None, "'# seeds: 3' then, '# seeds: 5' now"),
                 (SPEC, STUDY.replace("after:", "behind:").replace(", after", ", behind"), None, "'# variant: after = "),
                 (SPEC, STUDY + "valid: 0.3\n", None, "the data are others")]
        try:
            for spec, study, data, says in cases:
                self.write(spec, study)
                write_set(os.path.join(self.folder, "tiny.safetensors"), data or 1)
                status, out, err = self.run(folder)
                check(status == 1 and says in err and not out, "wanted '%s', status %d: %s" % (says, status, err))
                check(open(os.path.join(folder, "runs.csv")).read() == before, "the CSV changed: %s" % says)
        finally:
            self.write(SPEC, STUDY)
            write_set(os.path.join(self.folder, "tiny.safetensors"))

    def test_one_network(self):
        """Two variants that are one network are refused before anything is compiled or trained: a norm that no order asks for."""
        try:
            self.write(SPEC, STUDY.replace("after: {order: conv-act-bn}", "after: {order: conv-bn-act, norm: ln}"))
            folder = os.path.join(self.folder, "one-network")
            status, out, err = self.run(folder)
            check(status == 1 and "'before' and 'after' are one network" in err, "status %d: %s" % (status, err))
            check(not os.path.exists(os.path.join(folder, "runs.csv")), "a CSV is there")
        finally:
            self.write(SPEC, STUDY)

    def test_two_at_once(self):
        folder = self.fresh()
        p = self.start(folder, "--jobs", "1")
        for _ in range(1000):
            if os.path.exists(os.path.join(folder, "work")):
                break
            time.sleep(.01)
        status, out, err = self.run(folder)
        check(status == 1 and "runs.csv" in err, "a second study in one folder: status %d\n%s" % (status, err))
        check(p.wait() == self.status, "the first")
        self.equal(folder, "with a second one beside it")

    def test_looks(self):
        """--look counts a look, and judges at 99.9 %; --extend comes after the planned end, and is judged at 99.5 %."""
        folder = self.fresh()
        p = self.start(folder, "--jobs", "2")
        csv = os.path.join(folder, "runs.csv")
        for _ in range(2000):
            if os.path.exists(csv) and len([r for r in self.runs(folder) if r["role"] == "count"]) >= 2:
                break
            time.sleep(.005)
        p.send_signal(signal.SIGINT)
        p.communicate()
        status, out, err = self.run(folder, "--extend", "1")
        check(status == 1 and "--extend comes after them" in err, err)
        status, out, err = self.run(folder, "--look")
        check(status == 3 and out.startswith("Interim, ") and "99.9 %" in out, "status %d: %s%s" % (status, out, err))
        check("\n# look: " in open(csv).read(), "the look is not in the CSV")
        check(self.run(folder, "--jobs", "2")[0] == self.status, "going on")
        check(self.runs(folder) == self.runs(self.whole), "trainings")
        status, out, err = self.run(folder, "--extend", "1", "--jobs", "2")
        check(status in (0, 3) and "1 more in 1 extension, judged at 99.5 %; looked at before, after" in " ".join(out.split()), "%d: %s%s" % (status, out, err))
        check(len([r for r in self.runs(folder) if r["role"] == "count"]) == 2 * 4 * 3, "trainings of the extension")
        check("\n# extension: 1\n" in open(csv).read(), "the extension is not in the CSV")

    def test_diverged(self):
        """Rates that are far too high: an outcome, not an error."""
        try:
            self.write(SPEC, STUDY + "rate: 900\nfactor: 10\n")
            folder = self.fresh()
            status, out, err = self.run(folder, "--jobs", "2")
            runs = self.runs(folder)
            check(status in (0, 3) and any(r["diverged"] == "1" for r in runs), "status %d: %s%s" % (status, out, err))
            check(all(r["correct"] == "" and r["test"] == "" for r in runs if r["diverged"] == "1"), "scores of what diverged")
        finally:
            self.write(SPEC, STUDY)

    def test_failed(self):
        """A training that cannot save ends the study with what it said; what was finished stays."""
        folder = self.fresh()
        program = os.path.join(folder, "build", "after", "tiny")
        good = program + ".good"
        os.rename(program, good)
        with open(program, "w") as f:
            f.write("#!/bin/sh\necho no space left >&2\nexit 1\n")
        os.chmod(program, 0o755)
        status, out, err = self.run(folder, "--jobs", "1")
        check(status == 1 and "a training failed (after, seed 1, rate 0.05): status 1\nno space left" in err, "status %d: %s" % (status, err))
        check(len(self.runs(folder)) >= 5, "what was finished")
        os.replace(good, program)
        check(self.run(folder, "--jobs", "2")[0] == self.status, "going on")
        self.equal(folder, "after a training that failed")

    def test_file(self):
        """What is wrong with a study's file is said with its line."""
        cases = [(STUDY.replace("margin: 2", "marjin: 2"), ":8:1: error: unknown key 'marjin' in a study"),
                 (STUDY.replace("primary: [before, after]", "primary: [before, afer]"), ":7:19: error: no variant is called 'afer'"),
                 (STUDY.replace("primary: [before, after]", "primary: [before]"), ":7:10: error: a pair must be a list of two variants"),
                 (STUDY.replace("primary: [before, after]\n", ""), "the primary pair is missing"),
                 (STUDY.replace("primary: [before, after]", "primary: [after, after]"), "a variant cannot be compared with itself"),
                 (STUDY.replace("seeds: 3", "seeds: 2"), ":9:8: error: "),
                 (STUDY.replace("  after: {order: conv-act-bn}\n", ""), "'variants' must be a map of two to 64 variants"),
                 (STUDY.replace("  after: {", "  af/ter: {"), "no name of a variant: 'af/ter'"),
                 (STUDY.replace("order: conv-act-bn", "oder: conv-act-bn"), "unknown key 'oder'"),
                 (STUDY.replace("spec: tiny.yaml", "spec: none.yaml"), "none.yaml"),
                 (STUDY.replace("data: tiny.safetensors", "data: none.safetensors"), "none.safetensors"),
                 (STUDY.replace("data: tiny.safetensors\n", ""), "'data' is missing"),
                 (STUDY + "compare: [before, after]\n", ":12:11: error: a pair must be a list of two variants"),
                 (STUDY.replace("tiny-order", "tiny/order"), ":1:7: error: no name of a study"),
                 (STUDY.replace("spec: tiny.yaml", "spec: study.yaml"), "study.yaml")]
        try:
            for study, says in cases:
                self.write(SPEC, study)
                folder = os.path.join(self.folder, "none")
                status, out, err = self.run(folder)
                check(status == 1 and says in err, "wanted '%s', status %d: %s" % (says, status, err))
                check(not os.path.exists(os.path.join(folder, "runs.csv")), "a CSV was written")
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            self.write(SPEC, STUDY)


sys.exit(methods.main("study run", Test))
