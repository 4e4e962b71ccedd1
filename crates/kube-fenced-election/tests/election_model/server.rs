// SPDX-License-Identifier: Apache-2.0
//! The API server of the model: one Lease, compare-and-swap, and everything that a watch will deliver.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube_fenced_election::{clock::Timestamp, testkit::parts::LeaseSnapshot};

/// What a request wants to write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    /// The version that was decided on; `None` creates the Lease.
    pub(crate) on: Option<String>,
    /// The new holder; empty: release.
    pub(crate) holder: String,
    /// The new duration.
    pub(crate) seconds: i32,
    /// The holder's own clock.
    pub(crate) renewed: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Outcome {
    /// Stored; the Lease is like this now.
    Stored(LeaseSnapshot),
    /// 409.
    Conflict,
    /// 404: there is nothing to patch.
    NotFound,
}

/// One Lease and its past.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Server {
    /// All states of the Lease so far, the present one last.
    history: Vec<LeaseSnapshot>,
    /// Last version given out.
    version: u64,
    /// Requests that nobody waits for any more; each may arrive at any time, or never.
    pub(crate) strays: Vec<Write>,
}

impl Server {
    /// No Lease yet.
    pub(crate) fn empty() -> Self {
        Self { history: vec![LeaseSnapshot::Absent(None)], version: 0, strays: Vec::new() }
    }

    /// The Lease now.
    pub(crate) fn now(&self) -> LeaseSnapshot {
        self.history.last().cloned().unwrap_or(LeaseSnapshot::Absent(None))
    }

    /// The state with this number; `None` when it has not come yet.
    pub(crate) fn state(&self, number: usize) -> Option<LeaseSnapshot> {
        self.history.get(number).cloned()
    }

    /// How many states there have been.
    pub(crate) fn states(&self) -> usize {
        self.history.len()
    }

    /// Carries out a write. Without `swap` whatever is there is overwritten, as the bare library does.
    pub(crate) fn write(&mut self, write: &Write, swap: bool) -> Outcome {
        let (stored, absent) = match self.now() {
            LeaseSnapshot::Present(lease) => (*lease, false),
            LeaseSnapshot::Absent(_) => (Lease::default(), true),
        };
        match (&write.on, absent) {
            (None, false) => return Outcome::Conflict,
            (Some(_), true) => return Outcome::NotFound,
            (Some(version), false) if swap && stored.metadata.resource_version.as_ref() != Some(version) => {
                return Outcome::Conflict;
            }
            (Some(_), false) | (None, true) => {}
        }
        let before = stored.spec.unwrap_or_default();
        let moved = !write.holder.is_empty() && before.holder_identity.as_ref() != Some(&write.holder);
        let spec = LeaseSpec {
            holder_identity: Some(write.holder.clone()),
            lease_duration_seconds: Some(write.seconds),
            lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(moved)),
            renew_time: Some(MicroTime(write.renewed)),
            ..LeaseSpec::default()
        };
        let uid = stored.metadata.uid;
        Outcome::Stored(self.store(uid, Some(spec)))
    }

    /// Somebody deletes the Lease.
    pub(crate) fn delete(&mut self) {
        if matches!(self.now(), LeaseSnapshot::Present(_)) {
            self.version += 1;
            self.history.push(LeaseSnapshot::Absent(Some(self.version.to_string())));
        }
    }

    /// Somebody empties the Lease.
    pub(crate) fn empty_out(&mut self) {
        if let LeaseSnapshot::Present(lease) = self.now() {
            self.store(lease.metadata.uid, None);
        }
    }

    /// Somebody labels the Lease.
    pub(crate) fn label(&mut self) {
        if let LeaseSnapshot::Present(lease) = self.now() {
            self.store(lease.metadata.uid, lease.spec);
        }
    }

    fn store(&mut self, uid: Option<String>, spec: Option<LeaseSpec>) -> LeaseSnapshot {
        self.version += 1;
        let metadata = ObjectMeta {
            uid: Some(uid.unwrap_or_else(|| format!("uid-{}", self.version))),
            resource_version: Some(self.version.to_string()),
            ..ObjectMeta::default()
        };
        let snapshot = LeaseSnapshot::Present(Box::new(Lease { metadata, spec }));
        self.history.push(snapshot.clone());
        snapshot
    }

    /// Forgets what every watch has delivered already; answers how many states that were.
    pub(crate) fn forget(&mut self, delivered: usize) -> usize {
        let forgotten = delivered.saturating_sub(1).min(self.history.len().saturating_sub(1));
        self.history.drain(..forgotten);
        forgotten
    }
}
