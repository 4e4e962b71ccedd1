// SPDX-License-Identifier: Apache-2.0
//! Reservations under way: chosen pods that no status shows yet. Pure.
//!
//! A pod is reserved only if none was since its models were counted: two adapters that are placed at the same time
//! see each other.

use std::{collections::BTreeMap, time::Duration};

use crate::api::model::ModelAdapterStatus;
use kube_fenced_election::clock::Instant;
use kube_loops::runtime::reconciler::Key;

/// How long a placement counts that no status shows.
const ASSUMED: Duration = Duration::from_mins(1);

/// All reservations of one term.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    by_key: BTreeMap<Key, Placement>,
    changes: u64,
}

#[derive(Debug)]
struct Placement {
    pod: Box<str>,
    pod_uid: Box<str>,
    since: Instant,
}

impl Reservations {
    /// The adapter is going to be on this pod.
    pub(super) fn reserve(&mut self, key: &Key, pod: &str, pod_uid: &str, now: Instant) {
        let placement = Placement { pod: pod.into(), pod_uid: pod_uid.into(), since: now };
        self.by_key.insert(key.clone(), placement);
        self.changes = self.changes.wrapping_add(1);
    }

    /// Differs whenever a pod was reserved in between.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Uid of the pod that was chosen for the adapter; `None`: none was, or too long ago.
    pub(super) fn chosen(&self, key: &Key, now: Instant) -> Option<&str> {
        let placement = self.by_key.get(key)?;
        placement.counts(now).then_some(&*placement.pod_uid)
    }

    /// Adapters that are assumed to be on pods of a namespace: names of adapter and pod.
    pub(super) fn assumed_in<'a>(
        &'a self,
        namespace: &'a str,
        now: Instant,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let from = Key::new(namespace, "");
        let near = self.by_key.range(from..).take_while(move |(key, _)| key.namespace == namespace);
        near.filter(move |(_, it)| it.counts(now)).map(|(key, it)| (key.name.as_str(), &*it.pod))
    }

    /// This status of the adapter is stored. What statuses show counts from now on, and not what was assumed:
    /// the adapter may leave its pod again at once.
    pub(super) fn stored(&mut self, key: &Key, status: &ModelAdapterStatus) {
        if !status.instances.is_empty() {
            self.forget(key);
        }
    }

    /// The adapter is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.by_key.remove(key);
    }
}

impl Placement {
    fn counts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < ASSUMED
    }
}
