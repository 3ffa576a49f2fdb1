#!/bin/sh
# The C in README.md is what convoy really emits for the spec in README.md; the files that README and docs/ name are there.
# usage: test_readme.sh CONVOY README.md [--write]     --write brings the README up to date
#
# In the README, <!-- spec --> stands before the spec's block, and <!-- emitted ORDER FILE FUNCTION... --> before a block
# that shows functions of an emitted file.
set -eu
LC_ALL=C
export LC_ALL
convoy=$1 readme=$2 write=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk '/^<!-- spec -->$/ { marked = 1; next }
     marked && /^```/ { if (inside) exit; inside = 1; next }
     inside' "$readme" >"$work/spec.yaml"
[ -s "$work/spec.yaml" ] || { echo "no spec in $readme"; exit 1; }

sed -n 's/^<!-- emitted \([^ ]*\) .*/\1/p' "$readme" | sort -u >"$work/orders"
[ -s "$work/orders" ] || { echo "no emitted C in $readme"; exit 1; }
while read -r order; do
    "$convoy" gen "$work/spec.yaml" --set "order=$order" --target avx2 -o "$work/$order" >"$work/log" 2>&1 || {
        cat "$work/log"
        exit 1
    }
done <"$work/orders"

awk -v work="$work" '
    function show(file, name,    line, on, lines) { # prints the function `name` of a C file
        while ((getline line <file) > 0) {
            if (!on && line ~ /^[A-Za-z]/ && line !~ /;$/ && index(line, name "(") > 0)
                on = 1
            if (on) {
                print line
                lines++
            }
            if (on && line == "}")
                break
        }
        close(file)
        if (!lines) {
            printf "%s: no function %s\n", file, name >"/dev/stderr"
            failed = 1
        }
    }
    /^<!-- emitted / { n = split($0, mark, " ") }
    !skipping { print }
    n && /^```/ && !skipping {
        for (i = 5; i < n; i++) {
            if (i > 5)
                print ""
            show(work "/" mark[3] "/" mark[4], mark[i])
        }
        skipping = 1
        next
    }
    skipping && /^```/ {
        print
        skipping = n = 0
    }
    END { exit failed }' "$readme" >"$work/README.md"

# Links to files
folder=$(dirname "$readme")
lost=0
for page in "$readme" "$folder"/docs/*.md "$folder"/examples/*/*.md; do
    grep -o ']([^)#:]*)' "$page" | sed 's/^](//; s/)$//' | sort -u >"$work/links" || true
    while read -r link; do
        if [ ! -e "$(dirname "$page")/$link" ]; then
            echo "FAILED: $page names $link, which is not there"
            lost=1
        fi
    done <"$work/links"
done

if [ "$write" = --write ]; then
    cat "$work/README.md" >"$readme"
elif [ $lost -ne 0 ]; then
    echo "0 passed, 1 failed"
    exit 1
elif diff -u "$readme" "$work/README.md"; then
    echo "1 passed, 0 failed"
else
    echo "$readme shows C that convoy does not emit: tests/test_readme.sh CONVOY README.md --write brings it up to date"
    echo "0 passed, 1 failed"
    exit 1
fi
