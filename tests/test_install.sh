#!/bin/sh
# What meson installs needs nothing of the source tree: the installed program makes a network that builds and runs.
# usage: test_install.sh MESON BUILD_FOLDER SOURCE_FOLDER
set -eu
meson=$1 build=$2 source=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0

lacks() { ! grep -q -F -e "$1" "$2"; }

# step WHAT COMMAND...: must succeed
step() {
    what=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        cat "$work/log"
        echo "FAILED: $what"
        echo "$passed passed, 1 failed"
        exit 1
    fi
}

step 'meson install' "$meson" install -C "$build" --no-rebuild --destdir "$work/in stalled"
convoy=$(find "$work/in stalled" -type f -name convoy)
step 'one program is installed' test -x "$convoy"
cp "$convoy" "$work/bare"
strip "$work/bare" || echo 'not stripped' # what a debugger reads names the sources
step 'it has the templates inside, not their place' lacks "$source/templates" "$work/bare"
step 'it has the runtime inside, not its place' lacks "$source/runtime" "$work/bare"
mkdir "$work/empty"
cd "$work/empty"
step 'convoy new' env -i PATH="$PATH" "$convoy" new mynet
step 'convoy check' env -i PATH="$PATH" "$convoy" check mynet.yaml
step 'convoy gen' env -i PATH="$PATH" "$convoy" gen mynet.yaml -o mynet
step 'make' env -i PATH="$PATH" ${CCACHE_DIR:+CCACHE_DIR="$CCACHE_DIR"} make -C mynet CFLAGS=-O0
step 'the network trains' mynet/mynet train --data shapes --epochs 1 --train-images 128 --test-images 100 --no-save
echo "$passed passed, 0 failed"
