#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a command in a network, process and mount namespace of its own:  dev/sandbox.sh COMMAND [ARGUMENT…]
#
# Inside, every address of 10.244.0.0/16 is this machine: a server on 0.0.0.0:8000 answers for all pod IPs
# at once, one on 10.244.3.7:8000 for that pod alone. Ports never collide with anything outside, and
# nothing leaves the namespace: no internet, so compile first. Works for root and for an ordinary user;
# needs util-linux and iproute2.
#
# Outgoing connections and listeners on port 0 get ports from 32768 up, whatever the system's default is:
# below that are the ports that programs and tests ask for by number.
#
# The command's exit code passes through. Whatever it started dies with it, also after SIGKILL of this
# script or of the process that called it; SIGTERM alone waits for the command. TMPDIR is a file system in
# memory that vanishes too; AIBRIX_KEEP_RUN=1 leaves it on disk in .run/ for a look at the logs afterwards.
set -eu

PATH=$PATH:/usr/sbin:/sbin
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

fail() { printf 'sandbox: %s\n' "$*" >&2; exit 125; }
[ $# -gt 0 ] || fail "usage: dev/sandbox.sh COMMAND [ARGUMENT...]"
for program in unshare ip mount; do
    command -v "$program" >/dev/null || fail "$program is needed (packages util-linux and iproute2)"
done

# A user namespace lets an ordinary user make the others; root can do without where they are forbidden.
if unshare --map-root-user --net true 2>/dev/null; then
    user=--map-root-user
elif [ "$(id -u)" = 0 ] && unshare --net true 2>/dev/null; then
    user=
else
    fail "this system forbids network namespaces to $(id -un);" \
        "on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
fi

mkdir -p "$root/.run"
# --kill-child kills the namespace when unshare dies; setpriv has unshare killed when our caller dies.
with_caller=
if command -v setpriv >/dev/null; then with_caller='setpriv --pdeathsig KILL'; fi
# The inner shell stays, as process 1: a command that was process 1 itself would ignore the signals that
# it does not handle. SIGINT from a terminal reaches the command directly.
# shellcheck disable=SC2016,SC2086 # the inner shell expands; $user and $with_caller are none or several words
exec $with_caller unshare $user --net --pid --mount --fork --kill-child=KILL --mount-proc -- sh -euc '
    trap : INT TERM
    ip link set lo up
    ip route add local 10.244.0.0/16 dev lo
    range=/proc/sys/net/ipv4/ip_local_port_range
    { printf "32768 60999\n" >"$range"; } 2>/dev/null || :
    have=$(cat "$range" 2>/dev/null) || have=unknown
    case $have in
        32768?60999) ;;
        *) printf "sandbox: ports of outgoing connections are %s and cannot be set (%s): %s\n" \
            "$have" "$range" "one of them may be a port that a program asks for by number" >&2 ;;
    esac
    run=$1
    shift
    [ -n "${AIBRIX_KEEP_RUN:-}" ] || mount -t tmpfs -o mode=0700 tmpfs "$run" 2>/dev/null || :
    export TMPDIR="$run"
    code=0
    "$@" || code=$?
    exit "$code"
' sandbox "$root/.run" "$@"
