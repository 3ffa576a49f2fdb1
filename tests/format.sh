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
# One call for all files: starting it costs more than a file does.
# Words: no name has a space.
# shellcheck disable=SC2046
set -- $(find gen runtime tests examples -name '*.[ch]' | sort)
said=$(clang-format --dry-run -Werror "$@" 2>&1 </dev/null)
status=$?
failed=0
for file in $(printf '%s\n' "$said" | sed -n 's/^\([^: ]*\.[ch]\):[0-9]*:[0-9]*: .*clang-format-violations.*/\1/p' | sort -u); do
    failed=$((failed + 1))
    echo "FAILED: $file"
    clang-format "$file" | diff -u "$file" - | sed -n '4,12p'
done
if [ $failed -gt 0 ]; then
    echo "'./dev format' mends it"
elif [ $status -ne 0 ] || [ $# -eq 0 ]; then
    printf '%s\n' "$said" "FAILED: clang-format ended with status $status, over $# files"
    failed=1
fi
echo "$(($# - failed)) passed, $failed failed"
[ $failed -eq 0 ]
