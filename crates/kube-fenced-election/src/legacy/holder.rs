// SPDX-License-Identifier: Apache-2.0
//! Who holds the Lease, and which members have signed it? Pure.

use std::{collections::BTreeMap, time::Duration};

use crate::clock::Instant;

use super::super::{
    names::{Names, is_fingerprint},
    observation::Observation,
    registry::Members,
};

/// A foreign holder is respected at least for this long without a renewal, whatever duration it has stored.
const SHORTEST_FOREIGN_CLAIM: Duration = Duration::from_secs(4);

/// Who holds the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GuardHolder {
    /// Nothing has been seen yet.
    Unknown,
    /// Nobody, or somebody who has stopped renewing it.
    Nobody,
    /// Our group.
    Group,
    /// A foreign manager that renews it, until this moment at least.
    Foreign(String, Instant),
    /// A manager of this product that contends for it with one of its controllers: a wrong configuration.
    Ours {
        /// Its identity.
        holder: String,
        /// The controller for which it holds the Lease.
        controller: String,
        /// The end of its claim unless renewed.
        until: Instant,
    },
}

/// Who holds the Lease `lease` at `now`. A stored time is compared with no clock.
pub(super) fn guard_holder_of(
    names: &Names,
    seen: &Observation,
    lease: &str,
    members: &Members,
    now: Instant,
) -> GuardHolder {
    let group = names.group();
    let group = group.as_str();
    let Some(acquirable) = seen.acquirable_at(group) else { return GuardHolder::Unknown };
    let other = seen.holder().filter(|holder| *holder != group);
    let patience = other.map(|_| seen.first_observed() + SHORTEST_FOREIGN_CLAIM);
    let until = patience.into_iter().fold(acquirable.moment(), Instant::max);
    let live = seen.live_rival(group, now).or_else(|| other.filter(|_| now < until));
    match live {
        Some(holder) => match ours(names, seen, holder, lease, members) {
            Some(controller) => {
                GuardHolder::Ours { holder: holder.to_owned(), controller: controller.to_owned(), until }
            }
            None => GuardHolder::Foreign(holder.to_owned(), until),
        },
        None if seen.holder() == Some(group) => GuardHolder::Group,
        None => GuardHolder::Nobody,
    }
}

/// For which controller `holder` holds the Lease, if it is a manager of this product: the Lease says that one of ours
/// wrote it last as this holder, and a present member of this name contends for this Lease. Labels and what one of ours
/// has left behind under a Go manager prove nothing.
fn ours<'a>(
    names: &Names,
    seen: &Observation,
    holder: &str,
    lease: &str,
    members: &'a Members,
) -> Option<&'a str> {
    let annotations = seen.lease()?.metadata.annotations.as_ref()?;
    if annotations.get(&names.holder_annotation()).map(String::as_str) != Some(holder) {
        return None;
    }
    members.controller_of(holder, lease)
}

/// Signatures on the Lease, as fingerprints: each is an annotation of the product that is named after the fingerprint
/// of a leading manager.
pub(super) fn signatures<'a>(names: &Names, seen: &'a Observation) -> impl Iterator<Item = &'a str> {
    let prefix = names.annotation("");
    let annotations = seen.lease().and_then(|lease| lease.metadata.annotations.as_ref());
    annotations
        .into_iter()
        .flatten()
        .filter_map(move |(key, _)| key.strip_prefix(prefix.as_str()))
        .filter(|signature| is_fingerprint(signature))
}

/// What a write changes about the signatures: the own one set or removed, those of members that were seen to expire
/// removed. Whoever is merely not seen keeps its own. Second: whether signatures of others remain. Pure.
pub(super) fn sign(
    names: &Names,
    seen: &Observation,
    me: &str,
    leads: bool,
    members: &Members,
) -> (BTreeMap<String, Option<String>>, bool) {
    let mut changes = BTreeMap::new();
    let mut others_remain = false;
    for other in signatures(names, seen).filter(|signature| *signature != me) {
        if members.has_expired(other) {
            changes.insert(names.annotation(other), None);
        } else {
            others_remain = true;
        }
    }
    changes.insert(names.annotation(me), leads.then(|| "leading".to_owned()));
    (changes, others_remain)
}
