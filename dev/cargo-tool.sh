#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs a subcommand of cargo, once, and prints the folder that holds it:  dev/cargo-tool.sh NAME
#
# It comes from the registry, in the version below, into the cache of dev/tools.sh: outside the checkout, so
# that it survives `cargo clean` and serves every clone. Progress goes to stderr.
#
# AIBRIX_DEV_CACHE  the cache (default: $XDG_CACHE_HOME or ~/.cache, aibrix-controller-manager)
set -eu

fail() { printf 'cargo-tool: %s\n' "$*" >&2; exit 1; }
case ${1:-} in
    cargo-llvm-cov) version=0.9.1 ;;
    cargo-mutants) version=27.1.0 ;;
    *) fail 'usage: dev/cargo-tool.sh cargo-llvm-cov|cargo-mutants' ;;
esac
cache=${AIBRIX_DEV_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither AIBRIX_DEV_CACHE nor HOME is set}/.cache}/aibrix-controller-manager}
root=$cache/$1-$version
if [ ! -x "$root/bin/$1" ]; then
    printf 'cargo-tool: building %s %s into %s\n' "$1" "$version" "$root" >&2
    # Installed beside and moved into place: what is there is whole.
    rm -rf "$root.new"
    # cd: the settings of this checkout are not for it.
    (cd / && cargo install --locked --version "$version" --root "$root.new" "$1" >&2) ||
        fail "building $1 failed"
    mv -fT "$root.new" "$root"
fi
printf '%s/bin\n' "$root"
