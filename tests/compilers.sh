#!/bin/sh
# Makes FOLDER, where the compilers' names are ccache's, for those compilers that are there; prints what of them it made.
# A test that compiles has it in front of its PATH: what another test has compiled already (the runtime, above all) is found again.
# usage: compilers.sh CCACHE FOLDER
set -eu
ccache=$1 dir=$2
rm -rf "$dir"
mkdir -p "$dir"
for name in cc gcc clang c++ g++ clang++ aarch64-linux-gnu-gcc; do
    if command -v "$name" >/dev/null 2>&1; then
        ln -s "$ccache" "$dir/$name"
        echo "$name"
    fi
done
