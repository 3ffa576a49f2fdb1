#!/bin/sh
# words.sh - words of five languages: 10,000 of each to train with and 2,000 to test, as tokens: 0 fills a word up to 16 places,
# 1 to 26 are a to z.
# usage: specs/data/words.sh [FOLDER]       default: words; the set is FOLDER.safetensors
#
# The words come out of Debian's packages wamerican, wfrench, wngerman, wspanish and witalian: installed, or fetched by apt-get and
# unpacked. A word counts in lower case where it has 3 to 16 letters from a to z and stands in one of the five lists alone. The first
# ones in the order of their SHA-256 are taken. Needs python3 and convoy (CONVOY names another than the one in PATH).
set -eu
LC_ALL=C
export LC_ALL
folder=${1:-words}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for list in wamerican:american-english wfrench:french wngerman:ngerman wspanish:spanish witalian:italian; do
    name=${list#*:} package=${list%%:*}
    if [ -e "/usr/share/dict/$name" ]; then
        cp "/usr/share/dict/$name" "$work/$package"
        continue
    fi
    (cd "$work" && apt-get download "$package" >/dev/null && dpkg-deb -x "$package"_*.deb "$package.d") || {
        echo "words.sh: $package is not here and cannot be fetched" >&2
        exit 1
    }
    cp "$work/$package.d/usr/share/dict/$name" "$work/$package"
done
mkdir -p "$folder"
python3 - "$work" "$folder" <<'END'
import hashlib
import re
import struct
import sys

work, folder = sys.argv[1:]
LISTS = [("american", "wamerican"), ("french", "wfrench"), ("german", "wngerman"), ("italian", "witalian"), ("spanish", "wspanish")]
TRAIN, TEST, LENGTH = 10000, 2000, 16
fits = re.compile("[a-z]{3,%d}" % LENGTH).fullmatch


def words(path):
    with open(path, "rb") as f:
        lines = f.read().splitlines()
    return {w for w in (line.decode("utf-8", "replace").lower() for line in lines) if fits(w)}


def save(name, kind, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (kind, ", ".join(map(str, shape)) + ",")
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open("%s/%s.npy" % (folder, name), "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)


found = {language: words("%s/%s" % (work, name)) for language, name in LISTS}
rows = {"train": [], "test": []}
for language, own in found.items():
    only = own.difference(*(v for k, v in found.items() if k != language))
    ordered = sorted(only, key=lambda w: hashlib.sha256(w.encode()).digest())
    if len(ordered) < TRAIN + TEST:
        sys.exit("words.sh: %d words of %s, and %d are wanted" % (len(ordered), language, TRAIN + TEST))
    rows["train"] += [(w, language) for w in ordered[:TRAIN]]
    rows["test"] += [(w, language) for w in ordered[TRAIN:TRAIN + TEST]]
for split, list_ in rows.items():
    n = len(list_)
    save("x_" + split, "|u1", (n, LENGTH), b"".join(bytes(ord(c) - 96 for c in w).ljust(LENGTH, b"\0") for w, _ in list_))
    save("y_" + split, "|S8", (n,), b"".join(language.encode().ljust(8, b"\0") for _, language in list_))
END
"${CONVOY:-convoy}" data "$folder" -o "$folder.safetensors"
