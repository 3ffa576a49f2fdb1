#!/bin/sh
# Shows that the campaign can fail: it must pass a faultless stand-in for the generator, and notice each of its faults.
# usage: campaign_notices.sh CAMPAIGN FAKEGEN
TMPDIR=$(mktemp -d) || exit 1
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
campaign=$1 fakegen=$2 passed=0 failed=0
expect() {
    FAULT=$2 "$campaign" --convoy "$fakegen" "$1" --count "$4" --tries 0 --first >/dev/null 2>&1
    if [ $? -eq "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1, fault '$2': the campaign did not end with status $3"
        echo "  repeat: FAULT=$2 $campaign --convoy $fakegen $1 --count $4 --tries 0 --first"
    fi
}
expect random none 0 12
expect graphs none 0 12
expect random rate 1 30  # a rate shows in numbers alone
expect random pivot 1 12 # sums about 0, where the mean is far from it
for fault in gen make emission decay crash act threads grad nesterov running count missing predict nan; do
    expect random "$fault" 1 12
done
for fault in join grad act predict; do
    expect graphs "$fault" 1 12
done
echo "campaign notices faults: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
