// SPDX-License-Identifier: Apache-2.0
//! Free ports, each handed out once.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the range from which the kernel takes ports of outgoing connections (32768 and up), so that none
/// of these takes a port between our look and the server's bind.
const FIRST: u32 = 16_000;
const COUNT: u32 = 16_000;

static HANDED_OUT: AtomicU32 = AtomicU32::new(0);

/// A TCP port that nobody listens on; never the same twice in a process, and other processes in the
/// sandbox start elsewhere in the range.
pub(crate) fn free_port() -> u16 {
    let offset = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let n = HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + offset.wrapping_add(n) % COUNT).expect("below 65536");
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
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
