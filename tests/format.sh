#!/bin/sh
# The C of the tree as .clang-format says: lays it out, or says what would change.
# usage: format.sh SOURCE_FOLDER [--check]
#
# templates/ stays out: its files hold ${fields} and are no C yet. Tables of a line a row stand between
# "clang-format off" and "on".
set -u
LC_ALL=C
export LC_ALL
cd "$1" || exit 1
made_for=$(sed -n 's/.*clang-format \([0-9]*\);.*/\1/p' .clang-format)

if ! command -v clang-format >/dev/null 2>&1; then
    echo 'skipped: clang-format is missing: nothing looks at the layout of the C'
    exit 77
fi
case $(clang-format --version) in
*"version $made_for."*) ;;
*)
    # Each release lays some lines out in its own way.
    echo "skipped: clang-format $made_for is missing, and $(clang-format --version | grep -o 'version [0-9.]*') lays C out in its own way"
    exit 77
    ;;
esac

if [ "${2:-}" != --check ]; then
    find gen runtime tests examples -name '*.[ch]' -exec clang-format -i {} +
    exit
fi
passed=0 failed=0
for file in $(find gen runtime tests examples -name '*.[ch]' | sort); do
    if clang-format "$file" | cmp -s - "$file"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $file"
        clang-format "$file" | diff -u "$file" - | sed -n '4,12p'
    fi
done
[ $failed -eq 0 ] || echo "'./dev format' mends it"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
