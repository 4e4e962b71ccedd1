#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Changes the code in small ways, one at a time, and looks whether a unit test fails: dev/mutants.sh [FILE…]
#
# Without files, in this order: the election crate whole; of the decisions of controllers, that is of their
# pure files, what differs from BASE, then a fixed twentieth. What was caught is not tried again, so that an
# interrupted run goes on where it stopped; `make mutants-reset` begins anew. Each part has a folder under
# target/mutants with the mutants that were caught, missed, and did not compile.
#
# BASE      what a change is compared with (default main)
# SHARD     which twentieth, 0 to 19 (default 0)
# MINUTES   after which it stops (default 60)
set -eu

cd "$(dirname -- "$0")/.."
base=${BASE:-main}
shard=${SHARD:-0}
end=$(($(date +%s) + ${MINUTES:-60} * 60))
out=target/mutants
PATH=$(dev/cargo-tool.sh cargo-mutants):$PATH
# cargo mutants works on a copy of the sources in a temporary folder: what it compiles stays here.
export PATH CARGO_TARGET_DIR="$PWD/$out/build" CARGO_TERM_COLOR=never RUST_BACKTRACE=0
mkdir -p "$out"
code=0

# mutants PART OPTION…
mutants() {
    part=$1
    shift
    left=$((end - $(date +%s)))
    if [ "$left" -le 0 ]; then
        printf 'mutants: %s: no time left; the same command goes on from here\n' "$part" >&2
        code=1
        return
    fi
    printf 'mutants: %s\n' "$part" >&2
    mkdir -p "$out/$part"
    status=0
    timeout --foreground --signal=INT "$left" \
        cargo mutants --iterate --no-times --colors never --cargo-arg=--lib --output "$out/$part" "$@" ||
        status=$?
    # 2: some were missed; 124: the time is over.
    case $status in
        0) ;;
        124)
            printf 'mutants: %s: the time is over; the same command goes on from here\n' "$part" >&2
            code=1 ;;
        *) code=1 ;;
    esac
}

# The pure files of controllers: what decides, builds and compares.
decisions() {
    find src/controllers -name '*.rs' ! -name '*_tests.rs' ! -path '*/fetch/*' ! -name fetch.rs \
        ! -name apply.rs ! -name reconcile.rs ! -name mod.rs ! -name error.rs | sort
}

if [ $# -gt 0 ]; then
    # shellcheck disable=SC2046 # two words for each file
    mutants files $(printf ' --file %s' "$@")
    exit "$code"
fi
mutants election --package kube-fenced-election
git diff "$base" -- src >"$out/base.diff"
# shellcheck disable=SC2046 # two words for each file
if [ -s "$out/base.diff" ]; then
    mutants changed --in-diff "$out/base.diff" $(decisions | sed 's/^/--file /')
fi
# shellcheck disable=SC2046
mutants "shard-$shard" --shard "$shard/20" $(decisions | sed 's/^/--file /')
for part in "$out"/*/mutants.out/missed.txt; do
    [ ! -s "$part" ] || { printf 'mutants: missed, %s:\n' "$part"; cat "$part"; }
done
exit "$code"
