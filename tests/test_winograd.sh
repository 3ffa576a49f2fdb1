#!/bin/sh
# The emitted Winograd cores of several shapes against sums in double: forward, backward-data, backward-weights.
# usage: test_winograd.sh CONVOY SOURCE_DIR COMPILER
convoy=$1 here=$2 cc=$3 passed=0 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
command -v "$cc" >/dev/null || { echo "winograd: 0 passed, 0 failed, 1 skipped ($cc missing)"; exit 77; }
# "rows cols" of a packed image, as the layer's file says
extent() {
    sed -n "s/.* $1[_a-z]* = scratch[ +0-9]*; \/\* [0-9x]* in \([0-9]*\) x \([0-9]*\) pixels.*/\1 \2/p;s/.* $1[_a-z]* = scratch[ +0-9]*; \/\* [0-9]*x\([0-9]*\)x\([0-9]*\)\(,.*\)* \*\//\1 \2/p" \
        "$dir/net/n_conv2.c" | head -1
}
# input channels, output channels, height, width, padding, images taken together, target, batch (of 1: weights are transformed from taps), flags,
# stride (of 2: by its phases, 128 or 1 images)
check() {
    stride=${10:-1}
    cat >"$dir/n.yaml" <<Y
{name: n, input: [$1, $3, $4], classes: 2, winograd: on, train: {data: shapes, batch: $8},
 layers: [conv: {out: $1, kernel: 1, order: conv}, conv: {out: $2, padding: $5, stride: $stride, order: conv, bias: true}, global_avg_pool, linear: classes]}
Y
    core=conv_$1x$3x$4_$2_k3x3_s${stride}x${stride}_p$5x$5
    rm -rf "$dir/net"
    if ! "$convoy" gen "$dir/n.yaml" -o "$dir/net" --target "$7" >"$dir/log" 2>&1; then
        failed=$((failed + 1))
        cat "$dir/log"
        return
    fi
    top=$(($5 < 2 ? 2 - $5 : 0))
    taps=$(sed -n 's/^CVY_INLINE void .*_\(forward\|data\)_from_taps(.*/\1/p' "$dir/net/core_$core.h" | tr '\n' ' ')
    case $stride:$8:$taps in
    2:*:) names='-DFORWARD=forward_phases -DDATA=data_phases' top=$(($5 == 0)) ;;
    1:1:'forward data ') names='-DFORWARD=forward_from_taps -DDATA=data_from_taps -DTAPS_FORWARD -DTAPS_DATA' ;;
    1:128:) names='-DFORWARD=forward -DDATA=data' ;;
    *) failed=$((failed + 1)); echo "FAILED: $1 -> $2, $3 x $4, batch $8: from taps: $taps"; return ;;
    esac
    x=$(extent xs) z=$(extent dz)
    macro=$(sed -n 's/^#define \(CVY_[A-Z0-9]*\) 1.*/\1/p' "$dir/net/n_layout.h" | head -1)
    flags=$(sed -n 's/^TARGET = *//p' "$dir/net/Makefile")
    runtime=$dir/runtime-$7 # compiled once for each target
    if [ ! -d "$runtime" ]; then
        mkdir "$runtime"
        for part in kernels losses update; do
            # shellcheck disable=SC2086 # several words
            "$cc" -O1 -std=gnu11 -Wall -Wextra -Werror $flags -I"$dir/net" -c "$dir/net/runtime/cvy_$part.c" -o "$runtime/$part.o"
        done
    fi
    # shellcheck disable=SC2086 # several words
    "$cc" -O1 -std=gnu11 -Wall -Wextra -Werror $flags -D"$macro" -I"$dir/net" -DHEADER="\"core_$core.h\"" -DCORE="$core" -DCI="$1" -DCO="$2" -DH="$3" -DW="$4" \
        -DPAD="$5" -DIMAGES="$6" -DXR="${x% *}" -DXC="${x#* }" -DZR="${z% *}" -DZC="${z#* }" -DSTRIDE="$stride" -DTOP="$top" $names $9 "$here/winograd_check.c" \
        "$runtime"/*.o -lm -o "$dir/check" || { failed=$((failed + 1)); return; }
    errors=$("$dir/check")
    status=$?
    [ -n "$9" ] && expected=1 || expected=0
    if [ "$status" -eq "$expected" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf FAILED:
    fi
    echo "$1 -> $2, $3 x $4, stride $stride, padding $5, $6 images, $7, batch $8${9:+ $9}:$errors"
}
check 64 64 16 16 1 1 native 128 ''
check 64 64 8 8 1 8 native 128 ''
check 16 32 14 11 1 3 native 128 ''
check 33 17 7 7 1 8 native 128 ''
check 20 40 9 13 0 2 native 128 ''
check 128 128 4 4 1 5 native 128 ''
check 16 48 5 6 2 1 native 128 ''
check 4 5 3 3 4 3 native 128 ''
check 33 17 6 7 1 3 portable 128 ''
check 64 64 8 8 1 1 native 1 ''
check 80 48 9 6 1 1 native 1 ''
check 17 33 7 5 0 1 native 1 ''
check 40 100 4 4 1 1 portable 1 ''
check 16 32 32 32 1 1 native 128 '' 2
check 64 128 8 8 1 8 native 128 '' 2
check 32 64 14 11 1 3 native 128 '' 2
check 33 17 7 7 1 8 native 128 '' 2
check 20 40 9 13 0 2 native 128 '' 2
check 16 48 17 6 0 1 native 128 '' 2
check 16 48 5 6 2 2 native 128 '' 2
check 4 5 3 3 1 3 native 128 '' 2
check 33 17 6 7 0 1 portable 1 '' 2
check 16 16 8 8 1 1 native 128 -DFAULT
check 16 16 16 16 1 1 native 128 -DFAULT 2
echo "winograd: $passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
