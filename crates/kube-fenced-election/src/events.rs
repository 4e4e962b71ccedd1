// SPDX-License-Identifier: Apache-2.0
//! Kubernetes events about elections, handed to the user of the library.

use std::fmt;

/// The Lease that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`; `None` when the Lease has not been seen.
    pub uid: Option<String>,
}

impl fmt::Display for LeaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Publishes events on Leases. Calls return at once and never fail: an event that cannot be sent is
/// lost.
pub trait EventRecorder: Send + Sync + fmt::Debug + 'static {
    /// Normal `LeaderElection`: `<identity> became leader`, from component `identity`.
    fn became_leader(&self, lease: &LeaseRef, identity: &str);
    /// Normal `LeaderElection`: `<identity> stopped leading`, from component `identity`.
    fn stopped_leading(&self, lease: &LeaseRef, identity: &str);
    /// Warning `LeaderElectionConflict` with this message, from component `identity`.
    fn conflict(&self, lease: &LeaseRef, identity: &str, message: &str);
    /// Warning `LeaderElectionGuardConflict` with this message, from component `identity`.
    fn guard_conflict(&self, lease: &LeaseRef, identity: &str, message: &str);
    /// Warning `LeaderElectionLongClaim` with this message, from component `identity`.
    fn long_claim(&self, lease: &LeaseRef, identity: &str, message: &str);
}

/// Publishes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl EventRecorder for NoEvents {
    fn became_leader(&self, _: &LeaseRef, _: &str) {}
    fn stopped_leading(&self, _: &LeaseRef, _: &str) {}
    fn conflict(&self, _: &LeaseRef, _: &str, _: &str) {}
    fn guard_conflict(&self, _: &LeaseRef, _: &str, _: &str) {}
    fn long_claim(&self, _: &LeaseRef, _: &str, _: &str) {}
}
