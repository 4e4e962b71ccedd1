#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the unit tests with a new seed and many more cases for property tests than `make test` tries. The first
# line tells how to try the same cases again.
#
# FACTOR             how many times the usual number of cases (default 20)
# PROPTEST_RNG_SEED  a seed that was printed
set -eu

cd "$(dirname -- "$0")/.."
PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
factor=${FACTOR:-20}
# Tests with another number of cases than the default of 256 have a share or a multiple of it.
PROPTEST_CASES=$((factor * 256))
PROPTEST_MAX_GLOBAL_REJECTS=$((factor * 1024))
# What fails becomes a test; a file that makes later runs try it first would only hide the seed.
PROPTEST_DISABLE_FAILURE_PERSISTENCE=true
export PROPTEST_RNG_SEED PROPTEST_CASES PROPTEST_MAX_GLOBAL_REJECTS PROPTEST_DISABLE_FAILURE_PERSISTENCE
printf 'properties: PROPTEST_RNG_SEED=%s FACTOR=%s make properties\n' "$PROPTEST_RNG_SEED" "$factor"
# In the sandbox, like all tests; without the model checks and the contracts, which try all there is in any case.
dev/sandbox.sh "${CARGO:-cargo}" test --offline --workspace --no-fail-fast --lib
