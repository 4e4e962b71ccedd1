// SPDX-License-Identifier: Apache-2.0
//! Free ports, each handed out once.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Above the ports that engines and shipped manifests name (8000, 8080, 8081, 9443), below that of the debug
/// mode (30081) and below the range from which the kernel takes ports by itself in the sandbox (32768 and up).
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

static HANDED_OUT: AtomicU32 = AtomicU32::new(0);

/// From where the kernel takes ports of outgoing connections and of listeners on port 0. `dev/sandbox.sh`
/// sets it; where it may not, ports are chosen around it.
static KERNELS: LazyLock<RangeInclusive<u16>> = LazyLock::new(kernels);

fn kernels() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ends: Vec<u16> = text.split_whitespace().filter_map(|end| end.parse().ok()).collect();
    if let [first, last] = ends[..] { first..=last } else { 32_768..=60_999 }
}

/// A TCP port that nobody listens on; never the same twice in a process, and other processes in the
/// sandbox start elsewhere in the range. Nobody else is given it between our look and the server's bind: the
/// kernel takes none of these by itself.
pub(crate) fn free_port() -> u16 {
    let offset = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let n = HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + offset.wrapping_add(n) % COUNT).expect("below 65536");
        if !KERNELS.contains(&port) && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {} outside of {:?}", FIRST + COUNT, *KERNELS);
}

/// Fails the test unless it runs in the sandbox's network.
///
/// # Panics
/// Outside, with the command to use instead: tests that could not run must not look as if they passed.
pub(crate) fn require_sandbox() {
    if let Err(error) = TcpListener::bind((Ipv4Addr::new(10, 244, 255, 254), 0)) {
        panic!(
            "this needs the sandbox, in which 10.244.0.0/16 is this machine ({error}): run `make test`, or \
             `dev/sandbox.sh cargo test --offline --test integration [NAME]`"
        );
    }
}
