// SPDX-License-Identifier: Apache-2.0
//! One fenced election per controller, on `kube-leader-election` with a guard underneath.

use std::time::Duration;

use crate::{clock::Timestamp, fence::Fence};

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
    /// Tasks may still run: let the Lease expire.
    Unfinished,
}
