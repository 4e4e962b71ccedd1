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
# shellcheck disable=SC2016 # the inner shell expands
timeout --foreground --signal=KILL "$limit" dev/sandbox.sh sh -uc '
    code=0
    cargo test --offline --quiet --doc -- "$@" || code=$?
    cargo test --offline --no-fail-fast --tests -- "$@" || code=$?
    exit "$code"
' test "$@" || code=$?
if [ "$code" = 137 ]; then
    printf 'test: killed: the tests did not end within %s\n' "$limit" >&2
fi
exit "$code"
