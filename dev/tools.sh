#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the programs of the development control plane, once, and prints the folder that holds them.
#
#   dev/tools.sh                  build what is missing, then print the folder
#   dev/tools.sh --where          print the folder if it is complete, else say so and exit 1
#   dev/tools.sh --where NAME     print the path of one of our own programs, of the CRDs, or of AIBrix's sidecar, instead
#
# The versions are pinned by dev/go.mod. The folder lies in a cache outside the checkout, named by a hash
# of dev/go.mod and dev/go.sum: it survives `cargo clean` and serves every clone. Our own programs, and the CRDs
# of the Gateway API that dev/gateway-api pins, and AIBrix's runtime sidecar with what it imports (21 MB, pinned in
# dev/sidecar), carry a hash of their source in their names, so that clones may differ in them. Each program is built
# under another name and moved into place, and a lock keeps concurrent runs apart, so a program in the
# folder is always whole. Progress goes to stderr, the folder's name alone to stdout.
#
# AIBRIX_DEV_CACHE     the cache (default: $XDG_CACHE_HOME or ~/.cache, aibrix-controller-manager)
# KUBEBUILDER_ASSETS   a folder with etcd, kube-apiserver and kubectl: these are used instead of ours
set -eu

kubernetes=v1.36.3

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${AIBRIX_DEV_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither AIBRIX_DEV_CACHE nor HOME is set}/.cache}/aibrix-controller-manager}
hash=$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
tools=$cache/tools-$hash
contender=leasecontender-$(cat "$here"/leasecontender/*.go | sha256sum | cut -c1-16)
sidecar=runtime-sidecar-$({ cat "$here/sidecar/requirements.txt"; python3 --version; } | sha256sum | cut -c1-16)
gateway_api=gateway-api-$(cat "$here"/gateway-api/go.mod "$here"/gateway-api/go.sum | sha256sum | cut -c1-16)

# name and package of each program, in the order of need
programs="
etcd                    go.etcd.io/etcd/server/v3
kube-apiserver          k8s.io/kubernetes/cmd/kube-apiserver
kubectl                 k8s.io/kubernetes/cmd/kubectl
kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
kube-scheduler          k8s.io/kubernetes/cmd/kube-scheduler
kwok                    sigs.k8s.io/kwok/cmd/kwok
toxiproxy-server        github.com/Shopify/toxiproxy/v2/cmd/server
$contender              ./leasecontender
$gateway_api            ./gateway-api
$sidecar                ./sidecar
"
assets="etcd kube-apiserver kubectl"

say() { printf 'tools: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Whether $KUBEBUILDER_ASSETS supplies the program.
from_assets() {
    [ -n "${KUBEBUILDER_ASSETS:-}" ] || return 1
    case " $assets " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

# The programs that are not in the folder yet.
missing() {
    printf '%s\n' "$programs" | while read -r name package; do
        [ -n "$name" ] || continue
        if from_assets "$name"; then
            [ -x "$KUBEBUILDER_ASSETS/$name" ] || printf '%s %s\n' "$name" "$package"
        elif [ ! -x "$tools/$name" ]; then
            printf '%s %s\n' "$name" "$package"
        fi
    done
}

# The folder to use: ours, or with $KUBEBUILDER_ASSETS one of links to both.
folder() {
    if [ -z "${KUBEBUILDER_ASSETS:-}" ]; then
        printf '%s\n' "$tools"
        return
    fi
    mixed=$tools-with-$(printf '%s' "$KUBEBUILDER_ASSETS" | sha256sum | cut -c1-16)
    mkdir -p "$mixed"
    printf '%s\n' "$programs" | while read -r name _; do
        [ -n "$name" ] || continue
        if from_assets "$name"; then from=$KUBEBUILDER_ASSETS; else from=$tools; fi
        ln -sfn "$from/$name" "$mixed/.$name.$$" && mv -fT "$mixed/.$name.$$" "$mixed/$name"
    done
    printf '%s\n' "$mixed"
}

# The CRDs of the standard channel, out of the module that holds them. go.sum vouches for them.
gateway_crds() {
    (
        cd "$here/gateway-api"
        export GOFLAGS=-mod=readonly GOWORK=off
        go mod download sigs.k8s.io/gateway-api >&2
        dir=$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)
        rm -rf "$tools/.$1.new"
        mkdir "$tools/.$1.new"
        cp "$dir"/config/crd/standard/*.yaml "$tools/.$1.new"
        chmod -R u+w "$tools/.$1.new"
    ) || fail "fetching $1 failed"
    mv -fT "$tools/.$1.new" "$tools/$1"
}

# AIBrix's runtime sidecar, for `PYTHONPATH=… python3 -m aibrix.app`: without most of what it asks for.
runtime_sidecar() {
    rm -rf "$tools/.$1.new"
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
        --target "$tools/.$1.new" --requirement "$here/sidecar/requirements.txt" >&2 || fail "installing $1 failed"
    mv -fT "$tools/.$1.new" "$tools/$1"
}

# build NAME PACKAGE
build() {
    case $2 in
        ./gateway-api) gateway_crds "$1"; return ;;
        ./sidecar) runtime_sidecar "$1"; return ;;
    esac
    set -- "$1" "$2" "-s -w"
    case $2 in
        k8s.io/kubernetes/*)
            # kubectl refuses to compare unstamped versions.
            stamp=k8s.io/component-base/version
            minor=${kubernetes#v1.}
            set -- "$1" "$2" "$3 -X $stamp.gitVersion=$kubernetes -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}" ;;
    esac
    (cd "$here" && GOFLAGS=-mod=readonly GOWORK=off \
        go build -trimpath -ldflags "$3" -o "$tools/.$1.new" "$2" >&2) || fail "building $1 failed"
    mv -f "$tools/.$1.new" "$tools/$1"
}

if [ "${1:-}" = --where ]; then
    [ -z "$(missing)" ] || fail "the programs of the control plane are not built: run 'make tools'"
    case ${2:-} in
        '') folder ;;
        leasecontender) printf '%s/%s\n' "$(folder)" "$contender" ;;
        gateway-api) printf '%s/%s\n' "$(folder)" "$gateway_api" ;;
        runtime-sidecar) printf '%s/%s\n' "$(folder)" "$sidecar" ;;
        *) fail "$2 is nothing of ours" ;;
    esac
    exit
fi
[ $# -eq 0 ] || fail "usage: dev/tools.sh [--where [NAME]]"

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    for name in $assets; do
        [ -x "$KUBEBUILDER_ASSETS/$name" ] || fail "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no $name"
    done
    say "etcd, kube-apiserver and kubectl come from $KUBEBUILDER_ASSETS"
fi

if [ -n "$(missing)" ]; then
    mkdir -p "$tools"
    exec 9>"$cache/.lock"
    if ! flock -n 9; then
        say "another run is building; waiting for it"
        flock 9
    fi
    todo=$(missing) # what the other run has left
    if [ -n "$todo" ]; then
        command -v go >/dev/null || fail "go is needed to build the control plane (see dev/go.mod)"
        grep -q "k8s.io/kubernetes $kubernetes " "$here/go.mod" || fail "dev/tools.sh stamps $kubernetes, dev/go.mod has another Kubernetes"
        count=$(printf '%s\n' "$todo" | wc -l)
        say "building $count programs into $tools (about 10 minutes for all when Go's build cache is cold)"
        n=0
        printf '%s\n' "$todo" | while read -r name package; do
            n=$((n + 1))
            say "$n of $count: $name"
            build "$name" "$package"
        done
    fi
    exec 9>&-
fi
[ -z "$(missing)" ] || fail "some programs could not be built"
folder
