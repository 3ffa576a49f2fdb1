#!/bin/sh
# What stands below a folder of gen/ builds without it, and its unit tests pass: in a copy of the tree the folders are deleted
# from the top down, one at a time.
# usage: test_prefixes.sh SOURCE_FOLDER
set -u
LC_ALL=C
export LC_ALL
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree" || exit 1
(cd "$1" && tar cf - meson.build meson_options.txt gen runtime templates tests specs docs README.md) | (cd "$work/tree" && tar xf -) || exit 1
folders=$(sed -n "s/^  \['\([a-z]*\)', \[$/\1/p" "$1/gen/meson.build")
from_top=''
for folder in $folders; do from_top="$folder $from_top"; done

passed=0 failed=0
meson setup "$work/build" "$work/tree" >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
for folder in $from_top; do
    rm -r "$work/tree/gen/$folder" || exit 1
    [ "$folder" = base ] && break
    if {
        meson setup --reconfigure "$work/build" "$work/tree" && meson compile -C "$work/build" &&
            meson test -C "$work/build" --no-rebuild --timeout-multiplier 4 --suite quick
    } >"$work/log" 2>&1; then
        passed=$((passed + 1))
        echo "without $folder and all above it: $(sed -n 's/^Ok: *//p' "$work/log") programs of unit tests pass"
    else
        failed=$((failed + 1))
        tail -n 40 "$work/log"
        echo "FAILED: without $folder and all above it"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
