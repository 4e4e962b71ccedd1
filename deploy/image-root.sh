#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Assembles the root directory of the image: the binary and what it needs to run, nothing else.
#
#   deploy/image-root.sh BINARY DIRECTORY
#
# The Dockerfile copies the result into an empty image, so a test that runs the binary inside such a
# directory runs what the image runs. Needs a Debian-like system of the same C library as the binary, with
# the packages ca-certificates and tzdata.
#
# Why a C library at all: a statically linked glibc cannot load NSS, so names would not resolve the way the
# cluster's resolv.conf says, and there is no musl target in the toolchain that builds this. The libraries
# below are the whole cost, about 3 MB.
#
#   /manager                         the program
#   the loader and libraries         those that the binary names, at the paths where the loader looks
#   libnss_files, libnss_dns, libresolv   loaded by name at run time, where the C library has them apart
#   /etc/nsswitch.conf               hosts: files, then DNS
#   /etc/passwd, /etc/group          the user nonroot, 65532
#   /etc/ssl/certs/ca-certificates.crt    public authorities, for metrics endpoints outside the cluster
#   /usr/share/zoneinfo              time zones of autoscaler schedules
#   /var/lib/dpkg/status.d           which packages the files come from, for vulnerability scanners
set -eu

fail() { echo "image-root: $*" >&2; exit 1; }

[ $# -eq 2 ] || fail "usage: image-root.sh BINARY DIRECTORY"
binary=$1
root=$2
[ -x "$binary" ] || fail "$binary is not an executable: build it first (cargo build --release --locked)"
[ ! -e "$root" ] || [ -z "$(ls -A "$root")" ] || fail "$root is not empty"
zones=/usr/share/zoneinfo
authorities=/etc/ssl/certs/ca-certificates.crt
[ -s "$authorities" ] || fail "$authorities is missing: install ca-certificates"
[ -e "$zones/UTC" ] || fail "$zones is missing: install tzdata"

umask 022
mkdir -p "$root"
install -m 0755 "$binary" "$root/manager"

# copy FILE: to the same path in the root, following links.
copy() {
    mkdir -p "$root$(dirname "$1")"
    cp -L "$1" "$root$1"
}

# `ldd` prints "name => path (address)" and, for the loader, "path (address)".
libraries=$(ldd "$binary" | sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*$/\1/p')
[ -n "$libraries" ] || fail "ldd names no library of $binary"
libc=
for library in $libraries; do
    copy "$library"
    case $library in */libc.so.6) libc=$library ;; esac
done
[ -n "$libc" ] || fail "$binary does not use the C library"

# Loaded by name, so ldd does not see them. Newer versions have files and DNS in the C library itself.
for name in libnss_files.so.2 libnss_dns.so.2 libresolv.so.2; do
    library=$(dirname "$libc")/$name
    [ ! -e "$library" ] || copy "$library"
done

mkdir -p "$root/etc/ssl/certs" "$root$zones"
cp -L "$authorities" "$root$authorities"
printf 'hosts: files dns\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"

# Without the copies in other formats, what only people read, and the link to this system's own zone.
cp -R -P "$zones/." "$root$zones/"
(cd "$root$zones" && rm -rf posix right posixrules localtime leap* ./*.tab ./*.list ./+VERSION tzdata.zi)
# Links out of the folder would dangle in the image.
find "$root$zones" -type l | while read -r link; do
    case $(readlink "$link") in
        /*) rm "$link" && cp -L "$zones/${link#"$root$zones/"}" "$link" ;;
    esac
done

if command -v dpkg-query >/dev/null 2>&1; then
    mkdir -p "$root/var/lib/dpkg/status.d"
    for package in libc6 libgcc-s1 ca-certificates tzdata; do
        dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package" 2>/dev/null ||
            rm -f "$root/var/lib/dpkg/status.d/$package"
    done
fi

du -sk "$root" | awk '{ printf "image-root: %.1f MB\n", $1 / 1024 }' >&2
