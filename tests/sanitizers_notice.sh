#!/bin/sh
# What a build with sanitizers is for: each program given has one fault, and must be ended by it, with words.
# usage: sanitizers_notice.sh PROGRAM...
set -u
passed=0 failed=0
for program in "$@"; do
    said=$("$program" 2>&1)
    status=$?
    case $status,$said in
    0,*) ;;
    *,*Sanitizer*) passed=$((passed + 1)) && continue ;;
    *,*'runtime error'*) passed=$((passed + 1)) && continue ;;
    esac
    failed=$((failed + 1))
    echo "FAILED: $program is not noticed (status $status): $said"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
