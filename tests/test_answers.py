#!/usr/bin/env python3
"""docs/answers beside its CSVs: what a page says of a study is what `convoy study --report` says of docs/answers/STUDY/runs.csv, word by word.

    test_answers.py --convoy build/gen/convoy [--write]

A block of a page goes from `<!-- made: STUDY ... -->` to `<!-- made: end -->`; --write makes the blocks and the pictures anew."""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ANSWERS = os.path.join(ROOT, "docs", "answers")
MADE = ("pairs.svg", "report.html")  # beside each CSV, and of it
BLOCK = re.compile(r"<!-- made: ([a-z0-9-]+) [^\n]*-->\n(.*?)<!-- made: end -->\n", re.S)


def report(convoy, study, to):
    """What it says of the study's CSV; its picture and its page are written into the folder `to`."""
    csv = os.path.join(ANSWERS, study, "runs.csv")
    picture, page = (os.path.join(to, name) for name in MADE)
    r = subprocess.run([convoy, "study", "--report", csv, "--json", "--svg", picture, "--html", page], capture_output=True, text=True, timeout=120)
    if r.returncode not in (0, 3):
        raise SystemExit("%s: status %d\n%s" % (csv, r.returncode, r.stderr))
    return json.loads(r.stdout)


def points(interval):
    return "%.2f to %.2f" % tuple(interval) if interval else "none"


def row(pair, name):
    better = {1: pair["b"], -1: pair["a"]}.get(pair["better"])
    answer = "%s is %s" % (better, pair["verdict"]) if better and pair["verdict"].startswith("better") else pair["verdict"]
    kind = {"primary": "**", "null": "*", "positive": "*"}.get(pair["kind"], "")
    return "| %s%s%s | %+.2f | %s | %d of %d | %s |" % (kind, name, kind, pair["difference"], points(pair["interval"]), pair["won"], pair["seeds"], answer)


def block(study, said, csv):
    """The verdict, the comparisons, the scores: of one study."""
    head = dict(re.findall(r"^# ([^:\n]+): (.*)$", csv, re.M))
    first = said["pairs"][0]
    trainings = sum(v["trainings"] for v in said["variants"])
    lines = ["> %s" % said["headline"], "", "![Each difference with its interval](%s/pairs.svg)" % study, "", "| difference | points | interval | seeds won | |", "|---|---|---|---|---|"]
    for p in said["pairs"]:
        lines.append(row(p, "%s - %s" % (p["b"], p["a"])))
        if p is first and said["twice_the_epochs"]:
            lines.append(row(said["twice_the_epochs"], "the same at %d epochs" % (2 * said["epochs"])))
    lines += ["", "Bold: the primary pair, 95 %%. The others hold together. Italic: controls. %s" % other_rows(first), ""]
    lines += ["| variant | score | sd | rates around | |", "|---|---|---|---|---|"]
    for v in said["variants"]:
        notes = ["%d of %d trainings diverged" % (v["diverged"], v["trainings"])] * (v["diverged"] > 0)
        lines.append("| %s | %.2f | %.2f | %g%s | %s |" % (v["name"], v["score"], v["sd"], v["rate"], ", the grid's edge" if v["edge"] else "", ", ".join(notes)))
    lines += ["", "%d trainings; %s on %s test rows; %s. [Study](../../specs/studies/%s.yaml), [CSV](%s/runs.csv), [report](%s/report.html)." %
              (trainings, said["score"], head["test rows"], head["target"], study, study, study)]
    return "\n".join(lines) + "\n"


def other_rows(pair):
    if pair["interval_other_rows"]:
        return "For other test rows like these the primary difference is %s." % points(pair["interval_other_rows"])
    return "For these very rows, not others like them, it is %s." % points(pair["interval_these_rows"]) if pair["interval_these_rows"] else ""


def read_made(folder):
    paths = [os.path.join(folder, name) for name in MADE]
    return [open(p).read() if os.path.exists(p) else None for p in paths]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--convoy", required=True)
    p.add_argument("--write", action="store_true")
    args = p.parse_args()
    passed, failed, seen = 0, 0, set()
    for page in sorted(glob.glob(os.path.join(ANSWERS, "*.md"))):
        text = new = open(page).read()
        for study, now in BLOCK.findall(text):
            seen.add(study)
            folder = os.path.join(ANSWERS, study)
            before = read_made(folder)
            with tempfile.TemporaryDirectory() as other:
                made = folder if args.write else other
                want = block(study, report(args.convoy, study, made), open(os.path.join(folder, "runs.csv")).read())
                same = args.write or (want == now and read_made(made) == before)
            passed, failed = passed + same, failed + (not same)
            if not same:
                print("FAILED  %s says of '%s' what its CSV does not: tests/test_answers.py --write" % (os.path.relpath(page, ROOT), study))
            new = new.replace(now, want) if now.strip() else re.sub(r"(<!-- made: %s [^\n]*-->\n)" % re.escape(study), lambda m: m[1] + want, new)
        if args.write and new != text:
            with open(page, "w") as f:
                f.write(new)
            print("wrote " + os.path.relpath(page, ROOT))
    for folder in sorted(glob.glob(os.path.join(ANSWERS, "*", "runs.csv"))):
        study = os.path.basename(os.path.dirname(folder))
        if study not in seen:
            print("FAILED  no page tells of docs/answers/%s" % study)
            failed += 1
    print("answers: %d passed, %d failed" % (passed, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
