// SPDX-License-Identifier: Apache-2.0
//! For tests: the Leases of an API server in memory, and the parts of one election.

use std::sync::Arc;

use crate::Names;

pub mod lease_store;

/// The parts of one election, for model checks and races. They change without notice.
pub mod parts {
    pub use crate::{
        decision::{Action, ElectorState, Event, Permit, Stage, StepDownReason, StepInputs, Timing},
        guard::GuardedLease,
        lock::{AttemptEnd, Exchanged, Lock, ReleaseEnd},
        lock_error::{Attempt, LockError},
        observation::{Changed, Observation, Source},
        snapshot::LeaseSnapshot,
    };
}

/// The names with which tests write Leases.
pub fn names() -> Arc<Names> {
    Arc::new(Names {
        own_lease_advice: |controller| format!("--leader-election-id={controller}=example-{controller}"),
        ..Names::new("example", "example-controller-manager", "leaders.example.com")
    })
}
