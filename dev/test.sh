#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs all tests of all crates in the sandbox, or those whose name contains the argument. `make test` builds
# them first. Each runs once: a test that fails is a defect, of the product or of the test.
#
# TEST_TIMEOUT       after which everything is killed (default 60m)
# RUST_TEST_THREADS  tests that run at the same time
set -eu

cd "$(dirname -- "$0")/.."
limit=${TEST_TIMEOUT:-60m}
code=0
# --foreground: Ctrl-C reaches the tests. KILL: the sandbox dies with all that is in it.
# The integration tests come last, so that their summary does: first every target whose name does not begin
# with their first letter, then those whose name does. Always the whole workspace: with fewer packages, cargo
# would build the dependencies anew with fewer features.
# shellcheck disable=SC2016 # the inner shell expands
timeout --foreground --signal=KILL "$limit" dev/sandbox.sh sh -uc '
    code=0
    cargo test --offline --workspace --quiet --doc -- "$@" || code=$?
    cargo test --offline --workspace --no-fail-fast --lib --bins --test "[!i]*" -- "$@" || code=$?
    cargo test --offline --workspace --no-fail-fast --test "i*" -- "$@" || code=$?
    exit "$code"
' test "$@" || code=$?
if [ "$code" = 137 ]; then
    printf 'test: killed: the tests did not end within %s\n' "$limit" >&2
fi
exit "$code"
