#!/bin/sh
# ./dev: its options, the demo in small, how it counts tests. Installs nothing.
# usage: test_dev.sh CONVOY SOURCE_FOLDER
set -u
LC_ALL=C
CONVOY=$1 dev=$2/dev
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
DEV_BUILD="$work/a build"
CFLAGS=-O1
export LC_ALL CONVOY DEV_BUILD CFLAGS
unset MAKEFLAGS
case $CONVOY in /*) ;; *) CONVOY=$PWD/$CONVOY ;; esac
passed=0 failed=0
cd "$work" || exit 1

# expect WHAT STATUS PATTERN COMMAND...: the status, and a line of the output that matches
expect() {
    what=$1 want=$2 pattern=$3
    shift 3
    "$@" >"$work/out" 2>&1 </dev/null
    status=$?
    check "$what (status $status, not $want)" test "$status" -eq "$want"
    says "$what" "$pattern"
}
lacks() { ! grep -q -E -e "$1" "$work/out"; }
says() { check "$1: no line matches '$2'" grep -q -E -e "$2" "$work/out"; }
check() {
    what_failed=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        cat "$work/out"
        echo "FAILED: $what_failed"
    fi
}

expect 'help' 0 'usage: ./dev COMMAND' "$dev" --help
expect 'the studies' 0 '^order-small +- +The question' "$dev" answers --list
expect 'no study' 2 'there is no specs/studies/none.yaml' "$dev" answers none
expect 'no command' 2 'usage: ./dev COMMAND' "$dev"
expect 'unknown command' 2 "unknown command 'tset'" "$dev" tset
expect 'unknown option' 2 "demo takes no '--epoch'" "$dev" demo --epoch 3
expect 'unknown option of bench' 2 "bench takes no '--net'" "$dev" bench --net vgg
expect 'bench without a value' 2 '--json needs a value' "$dev" bench --json
expect 'bench without a Python' 2 '--python needs a value' "$dev" bench --python
expect 'bench with a Python that does not run' 1 'bench: --python false -s: it does not run, or has no PyTorch' \
    python3 "$2/tests/bench_peers.py" --convoy "$CONVOY" --build "$work" --python 'false -s'
expect 'an option without its value' 2 '--data needs a value' "$dev" demo --data
expect 'two choices of tests' 2 'one of --quick, --slow, --sanitize' "$dev" test --quick --sanitize
expect 'unknown option of coverage' 2 "coverage takes no '--lines'" "$dev" coverage --lines
expect 'no such folder' 1 'there is no such folder' "$dev" demo --no-install --data "$work/nowhere"
mkdir "$work/data"
expect 'a folder without data' 1 'there is no train-images-idx3-ubyte' "$dev" demo --no-install --data "$work/data"
touch "$work/data/train-images-idx3-ubyte.gz" "$work/data/train-labels.idx1-ubyte"
expect 'a folder with half of the data' 1 'there is no t10k-images-idx3-ubyte' "$dev" demo --no-install --data data

# the demo, on few images
expect 'demo' 0 '^SYNTHETIC DATA' \
    "$dev" demo --no-install --data shapes --epochs 1 --threads 1 --seed 3 -- --train-images 256 --test-images 100
says 'demo: what was trained' '^256 images to train, 26 to validate, 100 to test, 1 epochs, .* seed 3, 1 threads'
for order in conv-bn-relu conv-relu-bn; do
    says "demo: a line of the table for $order" "^  $order +[0-9.]+ % +[0-9.]+ +[1-9][0-9]* +[1-9][0-9]+ +9[0-9]{4}$"
    check "demo: $order left no checkpoint" test -s "$DEV_BUILD/demo/$order.safetensors"
    says "demo: differences told for $order" "^    $order +(dropped|kept): "
done
says 'demo: where the norm stands' '^    conv-relu-bn +(act|relu), .*bn'
says 'demo: the norm at inference' '^  norm at inference \(conv1.bn, conv2.bn, conv3.bn, conv4.bn\)$'
check 'demo: the two are told to be the same' lacks '^  nothing$'
if grep -q avx2 /proc/cpuinfo 2>/dev/null; then
    expect 'the cost models beside a measurement' 0 '^  all convs +[1-9][0-9,]* +[1-9][0-9,]* +[0-9.]+$' \
        python3 "$2/tests/bench_model.py" --convoy "$CONVOY" --nets "$2/specs/fashion.yaml" --seconds 0.02 \
        --program "$DEV_BUILD/demo/conv-bn-relu/fashion"
    says 'the cost models: both passes of a layer' '^  conv3.backward +direct +[1-9][0-9,]* '
fi
expect 'demo with a training option that is wrong' 2 'epochs' "$dev" demo --no-install --data shapes --epochs many

# how tests are counted
cat >"$work/log.txt" <<'END'
==================================== 1/6 ====================================
test:         says what it did
duration:     1.00s
result:       exit status 0
----------------------------------- stdout -----------------------------------
a part of it: 3 passed, 0 failed
7 passed, 0 failed, 2 skipped
==================================== 2/6 ====================================
test:         Check
duration:     1.00s
result:       exit status 1
command:      OMP_NUM_THREADS=1 PATH=/bin:/usr/bin /a/test_unit 'two words'
----------------------------------- stdout -----------------------------------
83%: Checks: 6, Failures: 1, Errors: 0
==================================== 3/6 ====================================
test:         silent
duration:     1.00s
result:       exit status 0
==================================== 4/6 ====================================
test:         skipped
duration:     1.00s
result:       exit status 77
----------------------------------- stdout -----------------------------------
skipped: a moon is missing
==================================== 5/6 ====================================
test:         dies after success
duration:     1.00s
result:       killed by signal 11 SIGSEGV
----------------------------------- stdout -----------------------------------
4 passed, 0 failed
==================================== 6/6 ====================================
test:         never ends
duration:     1.00s
result:       killed by signal 9 SIGKILL
END
expect 'counts' 1 '^17 passed, 3 failed, 3 skipped$' "$dev" counts "$work/log.txt"
says 'counts: how to repeat' "^    repeat: cd $DEV_BUILD && /a/test_unit 'two words'$"
says 'counts: why something was skipped' '^  skipped: a moon is missing$'
tail -n 1 "$work/out" >"$work/last"
check 'counts: the last line is the sum' grep -q '^17 passed' "$work/last"
sed '/^=.* 2.6/,/^=.* 3.6/d' "$work/log.txt" | sed '/^=.* 5.6/,$d' >"$work/good.txt"
expect 'counts of what passed' 0 '^7 passed, 0 failed, 3 skipped$' "$dev" counts "$work/good.txt"
: >"$work/empty.txt"
expect 'no test at all is a failure' 1 '^0 passed, 0 failed, 0 skipped$' "$dev" counts "$work/empty.txt"

if command -v shellcheck >/dev/null 2>&1; then
    shellcheck "$dev" "$2/.ci/run" "$2"/tests/*.sh >"$work/out" 2>&1
    check 'shellcheck' test $? -eq 0
    skipped=0
else
    echo 'skipped: shellcheck missing'
    skipped=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
