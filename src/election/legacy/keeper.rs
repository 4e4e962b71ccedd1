// SPDX-License-Identifier: Apache-2.0
//! Whose is the Lease, and who of us has signed it? Pure.

use std::{collections::BTreeMap, time::Duration};

use crate::clock::{Instant, Timestamp};

use super::super::{observation::Observation, shared::Members};

/// Holder identity of our group.
pub const GROUP: &str = "aibrix-controller-manager-group";

/// Prefix of the annotation with which a leading manager signs.
const SIGNATURE: &str = "leaders.aibrix.ai/";

/// A Lease that was last renewed this many durations ago by the wall clock was left for ever. Comparing
/// with the wall clock is safe here: so much skew would break TLS long before.
const ABANDONED_AFTER: u32 = 10;

/// Whose the Lease is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keeper {
    /// Nothing has been seen yet.
    Unknown,
    /// Nobody, or somebody who has stopped renewing it.
    Nobody,
    /// Our group.
    Group,
    /// A foreign manager that renews it, until this moment at least.
    Foreign(String, Instant),
}

/// Whose the Lease is at `now`. Pure.
pub(super) fn keeper_of(seen: &Observation, now: Instant) -> Keeper {
    let Some(chance) = seen.chance_for(GROUP) else { return Keeper::Unknown };
    match seen.live_rival(GROUP, now) {
        Some(holder) => Keeper::Foreign(holder.to_owned(), chance.from()),
        None if seen.holder() == Some(GROUP) => Keeper::Group,
        None => Keeper::Nobody,
    }
}

/// Whether the last renewal lies so far back that nobody can still mean it. Pure.
pub(super) fn is_abandoned(seen: &Observation, wall: Timestamp) -> bool {
    let Some(spec) = seen.lease().and_then(|lease| lease.spec.as_ref()) else { return false };
    let Some(renewed) = spec.renew_time.as_ref() else { return false };
    let lasts = Duration::from_secs(seen.stored_seconds().unwrap_or(1));
    let since = Duration::try_from(wall.duration_since(renewed.0)).unwrap_or_default();
    since > lasts.saturating_mul(ABANDONED_AFTER)
}

/// Signatures on the Lease, as fingerprints.
pub(super) fn signatures(seen: &Observation) -> impl Iterator<Item = &str> {
    let annotations = seen.lease().and_then(|lease| lease.metadata.annotations.as_ref());
    annotations.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix(SIGNATURE))
}

/// Whether `fingerprint` belongs to a member that may be leading.
fn is_present(fingerprint: &str, members: &Members) -> bool {
    // Before presence is known, everybody counts.
    members.known_since.is_none() || members.others.keys().any(|name| name.ends_with(fingerprint))
}

/// What a write changes about the signatures: own one set or removed, those of the gone removed.
/// Second: whether signatures of others remain. Pure.
pub(super) fn sign(
    seen: &Observation,
    me: &str,
    leads: bool,
    members: &Members,
) -> (BTreeMap<String, Option<String>>, bool) {
    let mut changes = BTreeMap::new();
    let mut others_remain = false;
    for other in signatures(seen).filter(|signature| *signature != me) {
        if is_present(other, members) {
            others_remain = true;
        } else {
            changes.insert(format!("{SIGNATURE}{other}"), None);
        }
    }
    changes.insert(format!("{SIGNATURE}{me}"), leads.then(|| "leading".to_owned()));
    (changes, others_remain)
}
