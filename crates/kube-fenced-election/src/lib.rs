// SPDX-License-Identifier: Apache-2.0
//! One fenced election per controller, on `kube-leader-election` with a guard underneath.
//!
//! # What is promised
//! - At most one process holds a valid [`Fence`] for a Lease, whatever clocks, networks and people do,
//!   provided that monotonic clocks run at the same rate (a margin covers small differences) and that
//!   every candidate saw the Lease before somebody deleted it by hand.
//! - A fence that has closed never opens again; the next term has a new one.
//! - A fence lasts no longer than the group's claim on the Lease of older managers, by this process's own last write of
//!   it: see [`legacy`].
//! - One lost or hanging request costs no Lease: see [`lock`].
//! - An elector stands only while no task of its controller's last term can run.
//! - Losing one Lease concerns one controller. No error in here ends the process.
//! - A standby that sees somebody renew sends no request.
//!
//! # Parts
//! ```text
//!  supervisor ── Seat ──▶ elector ── events ──▶ decision::Core   pure: what to do, and when
//!                            │  ◀── actions ──       │
//!                            │                  observation     pure: who may be leading?
//!                     Lock: library + guard     spread, conflict pure: whose turn, whose Lease?
//!                            │
//!                        API server ◀── presence, legacy        one task each per process
//! ```
//!
//! # Deliberately absent
//! Tasks are not spawned here: [`Election`] hands out futures. What a controller does is unknown here;
//! so is how long it may take to stop. Lease traffic uses clients of its own, which are neither fenced
//! nor rate-limited nor retried.
//!
//! Who else writes these Leases: other replicas, Go managers with the same id, people.

#![cfg_attr(
    test,
    allow(
        clippy::duration_suboptimal_units,
        clippy::float_cmp,
        clippy::let_underscore_must_use,
        clippy::needless_for_each,
        clippy::needless_pass_by_value,
        clippy::too_many_lines,
        clippy::type_complexity,
        clippy::unnecessary_wraps,
        clippy::unwrap_in_result,
        clippy::wildcard_enum_match_arm,
        reason = "tables and builders of tests: what is exact, long or nested there is meant so"
    )
)]

use std::time::Duration;

use crate::{clock::Timestamp, fence::Fence};

mod assembly;
pub mod clock;
pub mod conflict;
pub mod decision;
mod elector;
pub mod events;
pub mod fence;
pub mod guard;
mod journal;
pub mod legacy;
pub mod lock;
pub mod metrics;
pub mod names;
pub mod observation;
pub mod presence;
mod seat;
pub mod shared;
pub mod spread;
pub mod status;
mod watch;
pub mod watch_backoff;
pub mod whole_errors;
mod without;

#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod conflict_tests;
#[cfg(test)]
mod elector_tests;
#[cfg(test)]
mod fence_tests;
#[cfg(test)]
mod guard_tests;
#[cfg(test)]
mod harness_tests;
#[cfg(test)]
mod legacy_tests;
#[cfg(test)]
mod observation_tests;
#[cfg(test)]
mod presence_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod spread_tests;
#[cfg(test)]
mod without_tests;

pub use assembly::{Candidate, Election, Setup, Task};
pub use events::{LeaseEvents, LeaseRef, NoEvents};
pub use lock::LeaseClients;
pub use metrics::{GuardMetrics, LeaseMetrics, Metrics, NoMetrics};
pub use names::Names;
pub use seat::{Seat, Stance};
pub use status::{LeaseState, LeaseStatus};
pub use without::without_election;

/// What all elections of a process share.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `<pod or host>_<uuid>`, at most 128 bytes.
    pub identity: String,
    /// Namespace of the Leases.
    pub namespace: String,
    /// Whole seconds, at least 1 s.
    pub lease_duration: Duration,
    /// Below the lease duration.
    pub renew_deadline: Duration,
    /// 1.2 × this is below the renew deadline.
    pub retry_period: Duration,
    /// Release on shutdown.
    pub release_on_cancel: bool,
    /// Spread controllers over replicas.
    pub spread: bool,
    /// The Go manager's Lease that guards upgrades; `None`: off.
    pub legacy_lease: Option<String>,
}

/// A Lease was won: the right to work for one term.
#[derive(Debug)]
pub struct Won {
    /// Closes when the term ends.
    pub fence: Fence,
    /// When it was won.
    pub since: Timestamp,
    /// `leaseTransitions` of the term.
    pub transitions: i32,
}

/// How the controller's work ended, told to its elector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaving {
    /// All tasks of the controller have ended: release the Lease.
    Finished,
    /// The controller ended or panicked by itself: release, stand again after the back-off.
    Failed {
        /// Not standing before this has passed.
        back_off: Duration,
    },
    /// Cannot work: release, stand again after `pause`, or at once when no other member is present.
    GaveWay {
        /// `reason` label of `leader_election_gave_way_total`.
        reason: &'static str,
        /// Not standing before this has passed.
        pause: Duration,
    },
    /// The process shuts down, and tasks may still run: let the Lease expire, never stand again. While the process
    /// lives, work that overruns is dropped instead, and has ended then.
    Unfinished,
}
