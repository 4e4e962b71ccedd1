// SPDX-License-Identifier: Apache-2.0
//! Pure: what a replica remembers between two looks. Losing it is harmless: every wait begins anew.

use std::collections::{BTreeMap, BTreeSet};

use kube_fenced_election::clock::Instant;

use super::{
    rotation::Pair,
    snapshot::Snapshot,
    x509::{Authority, Print},
};

/// Since when something has been so, by the monotonic clock.
type Since = BTreeMap<Print, Instant>;

/// What a replica remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// A CA of our making that is in no Secret yet.
    pub candidate: Option<Authority>,
    /// CAs of our making that never were in a Secret: nobody has their keys, so nobody serves by them.
    pub abandoned: BTreeSet<Print>,
    /// What we serve.
    pub serving: Option<Pair>,
    /// The API server will not take our Secret; until then we do not try again.
    pub barred_until: Option<Instant>,
    /// The CA that clients of every configuration trusted when all of them were last read.
    pub last_carried: BTreeSet<Print>,
    pub(super) secret_authority: Option<Print>,
    /// CAs in all entries of ours.
    pub(super) carried: Since,
    /// CAs in an entry of ours that are neither in the Secret nor the candidate, while the Secret's stayed
    /// the same.
    pub(super) extra: Since,
}

impl Memory {
    /// Takes in what was seen at this moment.
    pub(crate) fn observe(&mut self, seen: &Snapshot, at: Instant) {
        if seen.secret.there().is_some() && self.secret_authority != seen.secret_authority() {
            self.secret_authority = seen.secret_authority();
            self.extra.clear();
        }
        if seen.is_blind() {
            return;
        }
        let mut all: Option<BTreeSet<Print>> = None;
        let mut any = BTreeSet::new();
        for (_, _, entry) in seen.own_entries() {
            let prints: BTreeSet<Print> = entry.authorities.iter().map(|it| it.print).collect();
            any.extend(&prints);
            all = Some(all.map_or_else(|| prints.clone(), |all| &all & &prints));
        }
        let all = all.unwrap_or_default();
        keep(&mut self.carried, &all, at);
        self.last_carried = all;
        let ours = [self.secret_authority, self.candidate.map(|it| it.print)];
        any.retain(|print| !ours.contains(&Some(*print)));
        keep(&mut self.extra, &any, at);
    }

    /// Since when all entries of ours have held this CA.
    pub(crate) fn carried_since(&self, authority: Print) -> Option<Instant> {
        self.carried.get(&authority).copied()
    }

    /// Since when this CA has been in an entry for no reason that the Secret gives.
    pub(crate) fn extra_since(&self, authority: Print) -> Option<Instant> {
        self.extra.get(&authority).copied()
    }
}

/// Forgets what is no more, and notes when the rest began.
fn keep(since: &mut Since, now_there: &BTreeSet<Print>, at: Instant) {
    since.retain(|print, _| now_there.contains(print));
    for print in now_there {
        since.entry(*print).or_insert(at);
    }
}
