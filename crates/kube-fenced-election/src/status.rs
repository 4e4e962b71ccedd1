// SPDX-License-Identifier: Apache-2.0
//! The state of an election, for people, metrics and liveness.

use std::{fmt, time::Duration};

use crate::clock::{Instant, Timestamp};

/// State of one election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Not contending: the controller may not run (yet).
    Waiting,
    /// Not contending: an older manager holds its Lease.
    Guarded,
    /// Contending.
    Standby,
    /// Contending, but the Lease is held for another controller.
    Conflict,
    /// Waiting before it contends again: the Lease was given away a moment ago, or the controller could not work.
    Paused,
    /// Leading.
    Leading,
    /// Lost; tasks of the controller may still run.
    Stopping,
    /// Giving the Lease away.
    Releasing,
    /// Done for good.
    Stopped,
    /// Election is off: always leading.
    WithoutElection,
}

impl LeaseState {
    /// Word for `/debug/leases`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Guarded => "guarded",
            Self::Standby => "standby",
            Self::Conflict => "conflict",
            Self::Paused => "paused",
            Self::Leading => "leading",
            Self::Stopping => "stopping",
            Self::Releasing => "releasing",
            Self::Stopped => "stopped",
            Self::WithoutElection => "withoutElection",
        }
    }
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One Lease as its elector sees it, for `/debug/leases`, metrics and liveness.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseStatus {
    /// Name of the controller.
    pub controller: String,
    /// Namespace of the Lease; empty without election.
    pub namespace: String,
    /// Name of the Lease; empty without election.
    pub lease: String,
    /// Identity of this process.
    pub identity: String,
    /// State of the election.
    pub state: LeaseState,
    /// Holder as last seen; `None`: unknown, absent or released.
    pub holder: Option<String>,
    /// `leaseTransitions` as last seen.
    pub transitions: i32,
    /// End of the right to write; `None` when not leading, or without election.
    pub valid_until: Option<Instant>,
    /// End of the holder's claim unless renewed, by the wall clock, where that is unusually long: more than ten of our lease durations.
    pub claimed_until: Option<Timestamp>,
    /// What failed last; `None` once it has worked again.
    pub last_error: Option<String>,
    /// What is wrong about the upgrade guard's Lease: it cannot be used, or is claimed for unusually long.
    pub guard_error: Option<String>,
    /// When the loop of the elector's task last ran. It runs every few seconds.
    pub last_progress: Instant,
}

impl LeaseStatus {
    /// Time left to act for the controller; zero when not leading, and without election.
    pub fn valid_for(&self, now: Instant) -> Duration {
        self.valid_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Whether the elector's task has been stuck for `lease_duration` + 20 s while it believes to lead.
    pub fn is_stuck(&self, lease_duration: Duration, now: Instant) -> bool {
        self.state == LeaseState::Leading
            && now.saturating_duration_since(self.last_progress) > lease_duration + Duration::from_secs(20)
    }
}
