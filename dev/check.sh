#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Static checks. All of them run, whatever fails; a table at the end says what became of each.
#
# CHECK_REQUIRE  programs that must not be missing, such as "cargo-deny shellcheck": without it, a check
#                whose program is not installed is listed as "not run" and does not fail
set -u

cd "$(dirname -- "$0")/.." || exit 1
cargo=${CARGO:-cargo}
failed=0
table=

row() { table="$table$(printf '  %-14s %s' "$1" "$2")
"; }

# run NAME COMMAND…
run() {
    name=$1
    shift
    printf 'check: %s\n' "$name" >&2
    if "$@"; then
        row "$name" ok
    else
        row "$name" FAILED
        failed=1
    fi
}

# run_if PROGRAM NAME COMMAND…
run_if() {
    program=$1
    shift
    if command -v "$program" >/dev/null 2>&1; then
        run "$@"
        return
    fi
    case " ${CHECK_REQUIRE:-} " in
        *" $program "*)
            row "$1" "FAILED: $program is not installed"
            failed=1 ;;
        *)
            row "$1" "not run: $program is not installed" ;;
    esac
}

# Two versions of k8s-openapi would make two sets of types: the lease library's and ours.
one_k8s_openapi() {
    count=$(grep -c '^name = "k8s-openapi"$' Cargo.lock)
    [ "$count" = 1 ] && return
    printf 'Cargo.lock has %s versions of k8s-openapi; see Cargo.toml: kube and the lease library need the same\n' "$count" >&2
    return 1
}

# Cargo.lock fits Cargo.toml.
locked() { $cargo tree --locked --depth 0 >/dev/null; }

scripts() { find dev deploy .ci -type f \( -name '*.sh' -o -path '.ci/run' \) 2>/dev/null; }
script_syntax() {
    for script in $(scripts); do sh -n "$script" || return 1; done
}
# shellcheck disable=SC2046 # a word for each script
script_lint() { shellcheck $(scripts); }

python_syntax() {
    python3 -c 'import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]' dev/*.py
}

documentation() { RUSTDOCFLAGS='-D warnings' $cargo doc --locked --workspace --no-deps --document-private-items; }

run locked locked
run k8s-openapi one_k8s_openapi
run scripts script_syntax
run_if shellcheck shellcheck script_lint
run_if python3 python python_syntax
run format $cargo fmt --all --check
run clippy $cargo clippy --locked --workspace --all-targets -- -D warnings
run doc documentation
run_if cargo-deny deny $cargo deny --locked check bans licenses sources

printf 'check:\n%s' "$table"
exit "$failed"
