#!/bin/sh
# cppcheck over gen/ and runtime/: no findings but those that cppcheck.supp explains.
# usage: test_cppcheck.sh SOURCE_FOLDER [FOLDER...]        of those folders alone, by default gen and runtime, and each file as it is compiled
#                                                          without options; by default with what else its #if's ask for, too
#
# Before that it is tried on a file with a fault, which it must notice.
set -u
LC_ALL=C
export LC_ALL
source=$1
shift
what=${*:-gen runtime}
one=''
[ $# -eq 0 ] || one='--max-configs=1 --suppress=toomanyconfigs'
if ! command -v cppcheck >/dev/null 2>&1; then
    echo 'skipped: cppcheck is missing: nothing reads gen/ and runtime/ for faults'
    exit 77
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# check FILES...: status 1 where it finds something
check() {
    # Words.
    # shellcheck disable=SC2086
    cppcheck $one --quiet --enable=warning,performance,portability --std=c11 --library=posix --inline-suppr \
        --suppressions-list="$source/tests/cppcheck.supp" --error-exitcode=1 \
        --template='{file}:{line}:{column}: {severity}: {message} [{id}]' "$@"
}

failed=0
printf 'int f(void);\nint f(void)\n{\n    int a[2] = {1, 2};\n    return a[2];\n}\n' >"$work/fault.c"
if check "$work/fault.c" >"$work/out" 2>&1 || ! grep -q 'arrayIndexOutOfBounds' "$work/out"; then
    cat "$work/out"
    echo 'FAILED: a fault is not noticed'
    failed=$((failed + 1))
fi
set --
for folder in "$source"/gen/*/ "$source/runtime"; do set -- "$@" -I "$folder"; done
for folder in $what; do set -- "$@" "$source/$folder"; done
if ! check "$@" >"$work/out" 2>&1; then
    cat "$work/out"
    echo 'FAILED: cppcheck has findings. Mend them; what is no fault stands in tests/cppcheck.supp, with the reason'
    failed=$((failed + 1))
fi
echo "$((2 - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
