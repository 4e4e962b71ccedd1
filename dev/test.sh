#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs all tests in the sandbox, or those whose name contains the argument. `make test` builds them first.
#
# TEST_TIMEOUT       after which everything is killed (default 60m)
# RUST_TEST_THREADS  tests that run at the same time
set -eu

cd "$(dirname -- "$0")/.."
limit=${TEST_TIMEOUT:-60m}
code=0
# --foreground: Ctrl-C reaches the tests. KILL: the sandbox dies with all that is in it.
# The integration tests come last, so that their summary does.
#
# An integration test that fails runs once more, alone: they measure seconds on a machine that is busy with a
# whole control plane. What passes only then is listed at the end; a unit test gets no second chance.
# shellcheck disable=SC2016 # the inner shell expands
timeout --foreground --signal=KILL "$limit" dev/sandbox.sh sh -uc '
    log=$TMPDIR/tests.log
    code=0
    cargo test --offline --quiet --doc -- "$@" || code=$?
    { cargo test --offline --no-fail-fast --tests -- "$@"; echo $? >"$TMPDIR/code"; } 2>&1 | tee "$log"
    first=$(cat "$TMPDIR/code")
    if [ "$first" = 0 ] || [ "$code" != 0 ]; then exit $((first > code ? first : code)); fi
    others=$(sed -n "/targets* failed:/,\$s/^ *.\(--[a-z].*\).$/\1/p" "$log" | grep -vx -e "--test integration" | wc -l)
    [ "$others" = 0 ] || exit "$first"
    failed=$(sed -n "s/^test \([a-z_0-9:]*\) .*FAILED$/\1/p" "$log")
    count=$(printf "%s\n" "$failed" | wc -w)
    if [ "$count" = 0 ] || [ "$count" -gt 5 ]; then exit "$first"; fi
    printf "test: once more, alone: %s\n" $failed
    for name in $failed; do
        cargo test --offline --test integration -- --exact "$name" || exit "$first"
    done
    printf "test: UNSTEADY, passed at the second attempt only: %s\n" $failed
' test "$@" || code=$?
if [ "$code" = 137 ]; then
    printf 'test: killed: the tests did not end within %s\n' "$limit" >&2
fi
exit "$code"
