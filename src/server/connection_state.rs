// SPDX-License-Identifier: Apache-2.0
//! How far a connection has got: what it is good for, and whether it owes the head of a request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Shared by the parts of one connection, which all run in one task.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    /// Through its handshake.
    established: AtomicBool,
    /// Speaks HTTP/1, in which a head comes in pieces.
    http1: AtomicBool,
    /// Requests under way.
    requests: AtomicUsize,
    /// Heads that have come in so far.
    heads: AtomicUsize,
}

impl ConnectionState {
    /// The handshake is over, if there was one.
    pub(super) fn established(&self, http1: bool) {
        self.http1.store(http1, Ordering::Relaxed);
        self.established.store(true, Ordering::Relaxed);
    }

    /// 0: good for nothing yet; 1: it may ask something; 2: it is being answered.
    pub(super) fn keep_priority(&self) -> u8 {
        match (self.established.load(Ordering::Relaxed), self.requests.load(Ordering::Relaxed)) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, _) => 2,
        }
    }

    /// Which head is to come next, counted from 0; `None` while none is awaited.
    pub(super) fn awaited_head(&self) -> Option<usize> {
        let awaited = self.http1.load(Ordering::Relaxed) && self.requests.load(Ordering::Relaxed) == 0;
        awaited.then(|| self.heads.load(Ordering::Relaxed))
    }
}

/// Counts a request while it is under way, however that ends.
#[derive(Debug)]
pub(super) struct InFlight(Arc<ConnectionState>);

impl InFlight {
    /// Its head has come in.
    pub(super) fn new(on: &Arc<ConnectionState>) -> Self {
        on.requests.fetch_add(1, Ordering::Relaxed);
        on.heads.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(on))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
