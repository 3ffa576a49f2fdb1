#!/bin/sh
# The C in README.md and docs/emitted.md is what convoy really emits for the spec in the page; the files that README and docs/
# name are there.
# usage: test_readme.sh CONVOY README.md [--write]     --write brings the pages up to date
#
# In a page, <!-- spec --> stands before the spec's block, and <!-- emitted ORDER FILE FUNCTION... --> before a block
# that shows functions of an emitted file.
set -eu
LC_ALL=C
export LC_ALL
convoy=$1 readme=$2 write=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

folder=$(dirname "$readme")
pages="$readme $folder/docs/emitted.md"
mkdir "$work/new"

# The page $page as it should be, into $work/new.
renew() {
    rm -rf "$work"/conv-*
    awk '/^<!-- spec -->$/ { marked = 1; next }
         marked && /^```/ { if (inside) exit; inside = 1; next }
         inside' "$page" >"$work/spec.yaml"
    [ -s "$work/spec.yaml" ] || { echo "no spec in $page"; exit 1; }

    sed -n 's/^<!-- emitted \([^ ]*\) .*/\1/p' "$page" | sort -u >"$work/orders"
    [ -s "$work/orders" ] || { echo "no emitted C in $page"; exit 1; }
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
        END { exit failed }' "$page" >"$work/new/$(basename "$page")"
}

# Links to files
lost=0
for page in "$folder"/*.md "$folder"/docs/*.md "$folder"/examples/*/*.md; do
    grep -o ']([^)#:]*)' "$page" | sed 's/^](//; s/)$//' | sort -u >"$work/links" || true
    while read -r link; do
        if [ ! -e "$(dirname "$page")/$link" ]; then
            echo "FAILED: $page names $link, which is not there"
            lost=1
        fi
    done <"$work/links"
done

if [ $lost -ne 0 ]; then
    echo "0 passed, 1 failed"
    exit 1
fi
passed=0 failed=0
for page in $pages; do
    renew
    new=$work/new/$(basename "$page")
    if [ "$write" = --write ]; then
        cat "$new" >"$page"
    elif diff -u "$page" "$new"; then
        passed=$((passed + 1))
    else
        echo "$page shows C that convoy does not emit: tests/test_readme.sh CONVOY README.md --write brings it up to date"
        failed=$((failed + 1))
    fi
done
words=$(wc -w <"$readme")
if [ "$words" -lt 900 ]; then
    passed=$((passed + 1))
else
    echo "FAILED: $readme has $words words; 900 are too many for a first page"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
