#!/bin/sh
# Every network of a folder is emitted and compiles without a warning: test_zoo.sh CONVOY FOLDER FOR FLAGS CC...
# FOR is gen's --for. FLAGS are the compiler's: -O2 for what users do, -fsyntax-only for what is quick.
set -u
convoy=$1 specs=$2 purpose=$3 flags=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

# compile FOLDER: the objects of the network itself; the runtime beside it is the same for all. Where syntax alone is looked at, most of the time is
# the processor's own header, read in each file, so a network of more than six files is looked at as one, in the order in which users may compile it
# so, too: NAME_net.c first. The trace is left out then: the stages' functions once more, as long as all the rest.
compile() {
    (
        cd "$1" || exit 1
        set --
        for file in *_*.c; do
            case $flags$file in -fsyntax-only*_trace.c) ;; *) set -- "$@" "${file%.c}.o" ;; esac
        done
        if [ "$flags" = -fsyntax-only ] && [ $# -gt 6 ]; then
            for object in *_net.c "$@"; do
                case $object in *_net.o) ;; *) printf '#include "%s.c"\n' "${object%.?}" ;; esac
            done >together.c
            set -- together.o
        fi
        make -s CC="$cc" CFLAGS="$flags -Wall -Wextra -Werror" "$@" OBJECTS="$*"
    )
}

for cc in "$@"; do
    if ! command -v "$cc" >/dev/null 2>&1; then
        echo "skipped: $cc is missing"
        skipped=$((skipped + 1))
        continue
    fi
    for spec in "$specs"/*.yaml; do
        net=$work/$(basename "$spec" .yaml)
        if "$convoy" gen "$spec" --for "$purpose" -o "$net" >"$work/log" 2>&1 && compile "$net" >>"$work/log" 2>&1; then
            passed=$((passed + 1))
        else
            echo "FAILED: $spec with $cc"
            echo "  repeat: $convoy gen $spec --for $purpose -o net && make -C net CC=$cc CFLAGS='$flags -Wall -Wextra -Werror'"
            head -n 20 "$work/log"
            failed=$((failed + 1))
        fi
        rm -rf "$net"
    done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
