#!/bin/sh
# Prints a built folder of a tiny network called chain, whose runtime's objects other networks of that name, target, compiler and flags may take:
# make LDFLAGS="$(echo FOLDER/runtime/*.o)" OBJECTS="what is the network's own". It is built once, then found again in DIR by
# its text: the sources, the options, and what the compiler says that it is. FOLDER/make.log says which libraries were found.
# The runtime is compiled as one file, which takes a quarter of the time without optimisation; but not where the options have -Wall, which is
# to see each file as users compile it.
# usage: built_runtime.sh CONVOY DIR TARGET PURPOSE [NAME=VALUE of make...]        PURPOSE: of gen's --for, or nothing
set -eu
convoy=$1 dir=$2 target=$3 purpose=$4
shift 4
mkdir -p "$dir"
work=$(mktemp -d "$dir/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
cat >"$work/spec.yaml" <<Y
name: chain
input: [1, 1, 1]
classes: 2
layers: [linear: classes]
Y
"$convoy" gen "$work/spec.yaml" -o "$work/net" --target "$target" ${purpose:+--for "$purpose"} >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
cc=cc
for word in "$@"; do
    case $word in CC=*) cc=${word#CC=} ;; esac
done
# CC may be several words.
# shellcheck disable=SC2086
key=$({ echo "$target $purpose $*" && cat "$0" && $cc --version && cat "$work/net/Makefile" "$work"/net/*.[ch] "$work"/net/runtime/*.[ch]; } 2>&1 | cksum | tr ' ' -)
if [ ! -d "$dir/$key" ]; then
    case " $*" in
    *-Wall*) ;;
    *)
        cd "$work/net"
        includes() { printf '#include "%s"\n' "$@"; }
        { echo '#define _GNU_SOURCE' && (cd runtime && includes cvy_*.c); } >runtime/whole.c
        includes chain_[nm]*.c chain_[!nm]*.c main.c >own.c # first what the others read of the network
        cd "$OLDPWD"
        set -- "$@" 'OBJECTS=own.o runtime/whole.o'
        ;;
    esac
    env -u MAKEFLAGS -u LDFLAGS -u OBJECTS make -C "$work/net" "$@" >"$work/net/make.log" 2>&1 || { cat "$work/net/make.log" >&2; exit 1; }
    rm -f "$work/net/runtime/whole.c" # the sources there are compared with others'
    mv "$work/net" "$work/$key"
    mv -n "$work/$key" "$dir/" # where another came first: its objects
fi
echo "$dir/$key"
