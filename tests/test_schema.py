"""spec.schema.json beside the parser: what convoy takes is valid, what it refuses for its keys, types and ranges is not.

Checked are the copy in specs/, every spec of the repository, random specs, the error cases whose messages are about keys,
types, ranges or words, and each bound of each number of the schema, on either side of it."""
import argparse
import copy
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

try:
    import jsonschema
    import yaml
except ImportError as e:
    print(f"skipped: python3-{e.name} missing")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)


class Loader(yaml.SafeLoader):
    """YAML 1.2, as convoy and editors read it: 5e-4 is a number, yes is a word, 010 is none of either."""


Loader.yaml_implicit_resolvers = {}
for tag, regexp, first in (("bool", r"true|false", "tf"), ("null", r"|~|null|Null|NULL", ["", "~", "n", "N"]),
                           ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
                           ("float", r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", "-+.0123456789")):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{regexp})$"), list(first))
Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))
# a key is a word, whatever it looks like: only: {2: ...}
Loader.add_constructor("tag:yaml.org,2002:map",
                       lambda loader, node: {str(k.value): loader.construct_object(v, deep=True) for k, v in node.value})

# Messages that tell of keys, types, ranges and words: what a schema knows of.
KNOWS = re.compile(r"unknown (key|bias|init|data|activation|stage|layer|schedule|optimizer|preset)|must be (a|an|from|at least|true|none|lower|at most \d+ char)\b"
                   r"|must be a (whole )?number|the key '\w+' is missing|takes (no|at most|a value)|needs 'p'|needs 'k'|is not built yet"
                   r"|has no closing|a stage is missing|the order .* has (no|a second)|has no stages|is a second: |has no body|stage has one body"
                   r"|is not a number in|the slope of init|takes no argument")
# What lies beyond the schema all the same.
BEYOND = {"init-slope-range": "a number in a word", "stride-group-at-top": "a word that only groups have"}


def load(path):
    with open(path, encoding="utf-8") as f:
        return yaml.load(f, Loader)


class Counts:
    passed = failed = skipped = 0

    def check(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL {what}")
        return good


def why(validator, spec):
    """The innermost complaint, for people."""
    error = jsonschema.exceptions.best_match(validator.iter_errors(spec))
    return f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" if error else "valid"


def good_specs(counts, validator):
    files = [f for part in ("specs/*.yaml", "specs/bench/*.yaml", "tests/golden/*.yaml", "tests/twin/*.yaml")
             for f in sorted(glob.glob(os.path.join(ROOT, part)))]
    counts.check(len(files) > 40, f"only {len(files)} specs found")
    for path in files:
        spec = load(path)
        counts.check(validator.is_valid(spec), f"{os.path.relpath(path, ROOT)} is not valid: {why(validator, spec)}")


def random_specs(args, counts, validator):
    for kind in ("--print-spec", "--print-graph"):
        for seed in range(1, 61):
            text = subprocess.run([args.campaign, kind, str(seed)], stdout=subprocess.PIPE, check=True).stdout.decode()
            spec = yaml.load(text, Loader)
            counts.check(validator.is_valid(spec), f"campaign {kind} {seed} is not valid: {why(validator, spec)}")


def bad_specs(counts, validator):
    told = 0
    for folder in sorted(glob.glob(os.path.join(HERE, "errors", "*"))):
        name = os.path.basename(folder)
        with open(os.path.join(folder, "expected"), encoding="utf-8") as f:
            errors = re.findall(r"^spec\.yaml:.* error: (.*)$|^spec\.yaml: error: (.*)$", f.read(), re.M)
        known = [a or b for a, b in errors if KNOWS.search(a or b)]
        if not known or name in BEYOND or os.path.exists(os.path.join(folder, "args")):
            continue
        try:
            spec = load(os.path.join(folder, "spec.yaml"))
        except (yaml.YAMLError, UnicodeDecodeError, ValueError):
            continue
        told += 1
        counts.check(not validator.is_valid(spec), f"errors/{name} is valid to the schema: {known[0]}")
    counts.check(told >= 40, f"only {told} error cases are about keys, types and ranges")


def bounds(schema):
    """(path of keys, bound, what lies beyond it) for each number of the schema's maps."""
    definitions = schema["definitions"]
    maps = {(): schema, ("train",): definitions["train"]["anyOf"][0], ("layers", 0, "conv"): definitions["conv"]["anyOf"][0],
            ("layers", 2, "linear"): definitions["linear"]["anyOf"][0], ("layers", 3, "stage"): definitions["stage"]}
    for path, described in maps.items():
        for key, value in described["properties"].items():
            for form in value.get("anyOf", [value]):
                step = 1 if form.get("type") == "integer" else None
                for word, sign, inside in (("minimum", -1, True), ("maximum", 1, True), ("exclusiveMinimum", -1, False),
                                           ("exclusiveMaximum", 1, False)):
                    if word in form:
                        bound = form[word]
                        beyond = bound + sign * step if step else bound + sign * max(1e-3, abs(bound)) if bound or sign > 0 else -1e-3
                        yield path + (key,), bound, inside, beyond


BASE = {"name": "net", "input": [2, 64, 64], "classes": 5, "layers": [
    {"conv": {"out": 4}}, "flatten", {"linear": {"out": 4}}, {"stage": {"name": "s", "layers": [{"linear": 5}]}}]}


def put(spec, path, value):
    spec = copy.deepcopy(spec)
    at = spec
    for part in path[:-1]:
        at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
    at[path[-1]] = value
    if path[-1] == "drop":
        at["adn"] = "ADN"
    if path[-1] == "only":
        at.pop("only")
    if path[-1] == "outputs":
        at.pop("classes")
    if path[0] == "train" and path[-1] in ("beta1", "beta2", "eps"):
        at["optimizer"] = "adam"
    return spec


def says(args, spec):
    """What the parser says of a value's range: JSON is YAML."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write(json.dumps(spec))
        f.flush()
        p = subprocess.run([args.convoy, "check", f.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return p.returncode, re.findall(r"error: (.* (?:must be|must lie) .*)", p.stdout.decode())


def ranges(args, counts, validator, schema):
    n = 0
    for path, bound, inside, beyond in bounds(schema):
        n += 1
        where = ".".join(map(str, path))
        for value, good in ((bound, inside), (beyond, False)):
            spec = put(BASE, path, value)
            _, errors = says(args, spec)
            counts.check(validator.is_valid(spec) == good, f"{where} = {value}: the schema says {why(validator, spec)}")
            counts.check(bool(errors) != good, f"{where} = {value}: the parser says {errors or 'nothing'}")
    counts.check(n >= 40, f"only {n} bounds")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--convoy", required=True)
    p.add_argument("--campaign", required=True)
    args = p.parse_args()
    counts = Counts()
    text = subprocess.run([args.convoy, "schema"], stdout=subprocess.PIPE, check=True).stdout.decode()
    with open(os.path.join(ROOT, "specs", "spec.schema.json"), encoding="utf-8") as f:
        counts.check(f.read() == text, "specs/spec.schema.json is another: convoy schema -o specs/spec.schema.json")
    schema = json.loads(text)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    good_specs(counts, validator)
    random_specs(args, counts, validator)
    bad_specs(counts, validator)
    ranges(args, counts, validator, schema)
    print(f"{counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped")
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
