// SPDX-License-Identifier: Apache-2.0
//! Pure: what a replica remembers between two passes. Losing it is harmless: every wait begins anew.

use std::collections::{BTreeMap, BTreeSet};

use kube_fenced_election::clock::Instant;

use super::{
    rotation::Pair,
    snapshot::Snapshot,
    x509::{Authority, Fingerprint},
};

/// Since when something has been so, by the monotonic clock.
type Since = BTreeMap<Fingerprint, Instant>;

/// What a replica remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplicaState {
    /// A CA of our making that is in no Secret yet.
    pub candidate: Option<Authority>,
    /// CAs of our making that never were in a Secret: nobody has their keys, so nobody serves by them.
    pub abandoned: BTreeSet<Fingerprint>,
    /// What we serve.
    pub serving: Option<Pair>,
    /// The API server refused our Secret; until then it is not stored again.
    pub store_blocked_until: Option<Instant>,
    /// The CA that clients of every configuration trusted when all of them were last read.
    pub last_trusted: BTreeSet<Fingerprint>,
    pub(super) secret_authority: Option<Fingerprint>,
    /// CAs in all entries of ours.
    pub(super) trusted: Since,
    /// CAs in an entry of ours that are neither in the Secret nor the candidate, while the Secret's stayed
    /// the same.
    pub(super) extra: Since,
}

impl ReplicaState {
    /// Adds an observation.
    pub(crate) fn update(&mut self, seen: &Snapshot, at: Instant) {
        if seen.secret.found().is_some() && self.secret_authority != seen.secret_authority() {
            self.secret_authority = seen.secret_authority();
            self.extra.clear();
        }
        if seen.has_unread_configuration() {
            return;
        }
        let mut all: Option<BTreeSet<Fingerprint>> = None;
        let mut any = BTreeSet::new();
        for (_, _, entry) in seen.own_entries() {
            let fingerprints: BTreeSet<Fingerprint> =
                entry.authorities.iter().map(|it| it.fingerprint).collect();
            any.extend(&fingerprints);
            all = Some(all.map_or_else(|| fingerprints.clone(), |all| &all & &fingerprints));
        }
        let all = all.unwrap_or_default();
        keep(&mut self.trusted, &all, at);
        self.last_trusted = all;
        let ours = [self.secret_authority, self.candidate.map(|it| it.fingerprint)];
        any.retain(|fingerprint| !ours.contains(&Some(*fingerprint)));
        keep(&mut self.extra, &any, at);
    }

    /// Since when all entries of ours have held this CA.
    pub(crate) fn trusted_since(&self, authority: Fingerprint) -> Option<Instant> {
        self.trusted.get(&authority).copied()
    }

    /// Since when this CA has been in an entry for no reason that the Secret gives.
    pub(crate) fn extra_since(&self, authority: Fingerprint) -> Option<Instant> {
        self.extra.get(&authority).copied()
    }
}

/// Removes what is not there any more, and keeps since when the rest is there.
fn keep(since: &mut Since, current: &BTreeSet<Fingerprint>, at: Instant) {
    since.retain(|fingerprint, _| current.contains(fingerprint));
    for fingerprint in current {
        since.entry(*fingerprint).or_insert(at);
    }
}
