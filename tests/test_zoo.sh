#!/bin/sh
# Every network of a folder is emitted and compiles without a warning: test_zoo.sh CONVOY FOLDER [CC ...]   (default: gcc)
set -u
convoy=$1 specs=$2
shift 2
[ $# -gt 0 ] || set -- gcc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
for cc in "$@"; do
    if ! command -v "$cc" >/dev/null 2>&1; then
        echo "skipped: $cc is missing"
        skipped=$((skipped + 1))
        continue
    fi
    for spec in "$specs"/*.yaml; do
        net=$work/$(basename "$spec" .yaml)
        name=$(sed -n 's/^name: *//p' "$spec")
        if "$convoy" gen "$spec" -o "$net" >"$work/log" 2>&1 &&
            make -s -C "$net" -j2 CC="$cc" CFLAGS='-O0 -Wall -Wextra -Werror' $(cd "$net" && ls "$name"_*.c | sed 's/c$/o/') >>"$work/log" 2>&1; then
            passed=$((passed + 1))
        else
            echo "FAILED: $spec with $cc"
            head -n 20 "$work/log"
            failed=$((failed + 1))
        fi
        rm -rf "$net"
    done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
