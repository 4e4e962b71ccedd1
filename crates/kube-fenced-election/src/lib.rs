// SPDX-License-Identifier: Apache-2.0
//! Leader election for Kubernetes controllers: one Lease for each controller, every write fenced.
//!
//! # The problem
//! A process runs several controllers, and several replicas of it run. Each controller should work in exactly one
//! replica, and the controllers should be spread over the replicas. The usual elections answer "am I the leader?"
//! with a flag. A leader that is frozen for a while (a paused node, a swapped-out process) still has the flag set
//! when it goes on, while another replica has led for minutes: both write.
//!
//! # The promise
//! - At most one process has a valid [`fence::Fence`] for a Lease at any time.
//! - A fence whose term has ended stays closed; the next term has a new one. Within a term it closes while the clock is in
//!   doubt, until the Lease has been renewed.
//! - A process contends for a Lease again only after its manager has reported that no task of the last term runs.
//! - One request that is lost or hangs costs no Lease.
//! - The loss of one Lease concerns one controller. No error in here ends the process.
//! - A standby that sees the holder renew sends no request.
//! - With [`Settings::legacy_lease`], no fence outlasts the claim on the Lease of an older manager that runs all
//!   controllers under one Lease, so that old and new version never work at the same time.
//!
//! # What the promise needs
//! - Monotonic clocks of different machines run at the same rate; a margin of a tenth of the lease duration, at most
//!   a second, covers small differences. Wall clocks may differ by any amount. A suspended machine is no exception
//!   ([`clock::BootClock`]); of one that its hypervisor pauses, the `Date` of answers tells ([`clock::ClockCheck`]), if
//!   whoever makes the clients shows it.
//! - Whoever writes asks [`fence::Fence::check`] right before each request and bounds the request by its answer. A
//!   request that is answered by then was carried out within the term.
//! - All candidates of a Lease have seen it before somebody deletes it by hand, and everybody else who contends for it
//!   follows the rules of client-go.
//! - The tasks of [`Election`] are polled, and each term that [`ElectionHandle::acquired`] yields is concluded.
//!
//! # What is not promised
//! - That somebody leads at every moment: after a crash a Lease is free for up to its duration and a retry period.
//! - That a request on its way when a fence closes is not carried out later than the API server's own time-out
//!   allows: changes have to be preconditioned where that matters.
//! - That the spread over replicas is even at every moment; it settles within minutes.
//! - Anything about what a controller does. Tasks are not spawned here: [`Election`] hands out futures. Lease traffic
//!   uses clients of its own, which are neither fenced nor rate-limited nor retried.
//!
//! # Parts
//! ```text
//!     manager ── ElectionHandle ──▶ Elector ── events ──▶ ElectorState    pure: what to do, and when
//!                                      │ ◀── actions ──       │
//!                                      │                 Observation     pure: who may be leading?
//!                               Lock: library + guard    spread, conflict  pure: whose turn, whose Lease?
//!                                      │
//!                                 API server ◀── presence, legacy         one task each per process
//! ```
//!
//! # One renewal, from the timer to the wire
//! 1. `ElectorState::wake` says when the next renewal is due: a third of the lease duration, and at most half of the
//!    renew deadline, after the last one was sent. `Elector::run` sleeps until then and reports `Event::Tick`.
//! 2. `ElectorState::step` first looks at the clock: past the deadline the term ends, whatever else has happened.
//!    Otherwise it answers `Action::Renew`, with the moment at which the attempt is given up.
//! 3. `Elector::renew` hands a copy of the `Observation` to `Lock::renew`.
//! 4. `Lock::renew` has `kube-leader-election` renew. Without an answer after a fifth of the renew deadline it does
//!    the same once more on a second pool of connections, so that one hanging connection costs nothing.
//! 5. The library reads the Lease. `Guard` answers that from the observation, with a `renewTime` that is as old as the
//!    claim is by the monotonic clock, so that no skew of wall clocks decides.
//! 6. The library writes a merge patch. `Guard` refuses it when the observed-time rule does not allow it, adds
//!    `metadata.resourceVersion`, notes the moment, and sends it: it replaces exactly the Lease that was seen, or the
//!    API server answers 409.
//! 7. The answer comes back as `Event::Attempted`. The new end of the right is the stored duration after the moment
//!    noted in step 6, less the margin. `Action::Extend` moves the fence, and the next renewal is set.
//!
//! Others who write these Leases: other replicas, Go managers with the same id, people.

#![cfg_attr(
    not(feature = "testkit"),
    allow(unreachable_pub, reason = "what `testkit` shows to tests can be reached with that feature only")
)]
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

use crate::{decision::Timing, fence::Fence};

mod assembly;
pub mod clock;
mod clock_check;
mod conflict;
mod decision;
mod elector;
mod events;
pub mod fence;
mod guard;
mod handle;
mod legacy;
mod lock;
mod lock_error;
mod log;
mod long_claim;
mod metrics;
mod names;
mod observation;
mod presence;
mod registry;
mod snapshot;
mod spread;
mod status;
mod watch;
pub mod watch_backoff;
pub mod whole_errors;
mod without_election;

#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

#[cfg(test)]
mod clock_check_tests;
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
mod label_policy_tests;
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
mod without_election_tests;

pub use assembly::{Candidate, Election, Setup, Task};
pub use events::{EventRecorder, LeaseRef, NoEvents};
pub use handle::{Candidacy, ElectionHandle};
pub use lock::LeaseClients;
pub use metrics::{GuardMetrics, LeaseMetrics, Metrics, NoMetrics};
pub use names::Names;
pub use status::{LeaseState, LeaseStatus};
pub use without_election::without_election;

/// What all elections of a process share. Nothing in here is checked: see the field for what has to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Who this process is, unique among all that ever ran: `<pod or host>_<uuid>` as in client-go, at most 128 bytes.
    pub identity: String,
    /// Namespace of the Leases. It has to exist.
    pub namespace: String,
    /// How long a Lease lasts without a renewal; whole seconds, at least 1 s. client-go's default is 15 s.
    pub lease_duration: Duration,
    /// How long a leader goes on after its last successful renewal; below the lease duration. client-go's default is
    /// 10 s.
    pub renew_deadline: Duration,
    /// Wait after a failed request; 1.2 times this has to be below the renew deadline. client-go's default is 2 s.
    pub retry_period: Duration,
    /// Whether Leases are released on shutdown. Otherwise they expire.
    pub release_on_cancel: bool,
    /// Whether the controllers are spread over the replicas. Otherwise whoever comes first leads all it can get.
    pub spread: bool,
    /// Name of the one Lease under which an older manager ran all controllers; no controller starts while that
    /// manager renews it. `None`: there was no such manager.
    pub legacy_lease: Option<String>,
}

impl Settings {
    /// client-go's durations, Leases released on shutdown, controllers spread, no older manager.
    pub fn new(identity: impl Into<String>, namespace: impl Into<String>) -> Self {
        let Timing { lease_duration, renew_deadline, retry_period } = Timing::default();
        Self {
            identity: identity.into(),
            namespace: namespace.into(),
            lease_duration,
            renew_deadline,
            retry_period,
            release_on_cancel: true,
            spread: true,
            legacy_lease: None,
        }
    }

    /// How long data that a leader sent may stay unacknowledged before its connection is reset: what is still under way
    /// at the renew deadline has ended before another can lead.
    pub fn longest_unacknowledged(&self) -> Duration {
        self.lease_duration.saturating_sub(self.renew_deadline).max(Duration::from_secs(1))
    }
}

/// A Lease was acquired: the right to work for one term.
#[derive(Debug)]
pub struct Leadership {
    /// Closes when the term ends.
    pub fence: Fence,
    /// `leaseTransitions` of the term. Rises with each change of the holder, unless somebody deletes the Lease.
    pub transitions: i32,
}

/// How a term ended: the manager's report to the elector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TermEnd {
    /// All tasks of the controller have ended: release the Lease.
    Finished,
    /// The controller ended or panicked by itself, and its tasks have ended: release, contend again after the
    /// back-off.
    Failed {
        /// Not contending before this has passed.
        back_off: Duration,
    },
    /// The controller cannot work, and its tasks have ended: release, contend again after `pause`, or at once when no
    /// other member is present.
    GaveWay {
        /// Why, for logs and [`LeaseMetrics::gave_way`].
        reason: &'static str,
        /// Not contending before this has passed.
        pause: Duration,
    },
    /// The process shuts down, and tasks may still run: let the Lease expire, never contend again. While the process
    /// lives, drop work that overruns instead; it has ended then.
    Unfinished,
}
