// SPDX-License-Identifier: Apache-2.0
//! What the worker sees of a loop.

use std::{fmt, future::Future, time::Duration};

use crate::cluster::{events::Recorder, writer::Writer};
use kube_fenced_election::clock::Timestamp;

/// Key of an object in a queue. Sorted by namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace; empty for a key that is not namespaced.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// Key of the object `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What every pass gets.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Wall time at the start of the pass: the `now` of its plan.
    pub now: Timestamp,
    /// Randomness of the pass: another number for each.
    pub draw: u64,
    /// How often this key failed in a row before this pass.
    pub attempt: u32,
    /// Makes changes, under the term's fence.
    pub writer: Writer,
    /// Sends events, in the name of the loop.
    pub recorder: Recorder,
}

/// How a pass that went well ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Waits for triggers; back-off reset.
    Done,
    /// Comes back after this delay at the latest; back-off reset.
    RequeueAfter(Duration),
}

/// When to come back after a failure; what comes back first is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// The term is over: dropped, not counted.
    TermOver,
    /// Conflict, `AlreadyExists`, stale cache: per-key back-off, debug log, counted as `requeue`.
    Soon,
    /// API or engine trouble: `5 ms·2ⁿ` up to the loop's cap, and the loop's bucket of 10/s.
    Backoff,
    /// A cure is expected at a known pace.
    After(Duration),
}

/// An error of a pass, with the time of its retry.
pub trait Failure: std::error::Error + Send + Sync + 'static {
    /// When to come back.
    fn retry(&self) -> Retry;
}

/// One loop.
pub trait Reconciler: Send + Sync + 'static {
    /// What can go wrong.
    type Error: Failure;

    /// One pass for one key. Never called twice at the same time for one key; may be dropped at any
    /// await.
    fn reconcile(&self, key: &Key, pass: &Pass) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// The key's object is gone (its pass answered `Done` and the primary store lacks it): drops what
    /// is remembered for it.
    fn forget(&self, key: &Key) {
        let _ = key;
    }
}
