// SPDX-License-Identifier: Apache-2.0
//! Spreads the controllers over the replicas.
//!
//! Pure. Two forces: whoever leads more waits longer before it takes a free Lease, and whoever leads
//! at least two more than another member gives one away.
//!
//! The second rule is a little stronger than "more than `ceil(controllers / members)`", which would
//! leave 3, 3 and 1 as they are. It implies that rule: if one of n members leads more than
//! `ceil(c / n)`, the others share less than their part, so one of them leads at least two fewer.
//! Once no two members differ by more than one, nothing moves any more.

use std::{collections::BTreeSet, time::Duration};

use crate::clock::Instant;

/// Least time for which others must have been seen before anything is given to them, and between two
/// offers.
pub(crate) const REBALANCE_PERIOD: Duration = Duration::from_secs(30);

/// How long a Lease that nobody took is kept before it is offered again.
pub(crate) const UNWANTED_FOR: Duration = Duration::from_mins(10);

/// Wait before taking a free Lease while leading `load` others.
pub(crate) fn wait_for_free(load: usize) -> Duration {
    Duration::from_millis(200) * steps(load)
}

/// Wait before taking an expired Lease while leading `load` others. Shorter: its controller has been
/// without a leader for the lease duration, and must have one within another second.
pub(crate) fn wait_for_expired(load: usize) -> Duration {
    Duration::from_millis(80) * steps(load)
}

fn steps(load: usize) -> u32 {
    u32::try_from(load).unwrap_or(u32::MAX).min(7)
}

/// A Lease that this process leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// Name of the Lease.
    pub lease: String,
    /// When it was won.
    pub since: Instant,
    /// Not to be offered before this moment: the last time nobody took it.
    pub unwanted_until: Option<Instant>,
}

/// Another member of the group of managers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Since when it has been seen without a break.
    pub seen_since: Instant,
    /// It is shutting down.
    pub leaving: bool,
    /// Leases that it contends for; `None`: it does not say, so presumably for all.
    pub contends_for: Option<BTreeSet<String>>,
    /// Leases that it holds, of those that this process watches.
    pub load: usize,
}

/// Which Lease to give away now, if any: the youngest one for which some member that has been seen
/// for [`REBALANCE_PERIOD`] contends while it leads at least two fewer.
pub(crate) fn surplus<'a>(
    held: &'a [Held],
    peers: &[Peer],
    last_offer: Option<Instant>,
    now: Instant,
) -> Option<&'a str> {
    let due = |since: Instant| now.saturating_duration_since(since) >= REBALANCE_PERIOD;
    if last_offer.is_some_and(|offered| !due(offered)) {
        return None;
    }
    let takers: Vec<&Peer> = peers
        .iter()
        .filter(|peer| !peer.leaving && due(peer.seen_since) && peer.load + 2 <= held.len())
        .collect();
    held.iter()
        .filter(|own| own.unwanted_until.is_none_or(|until| until <= now))
        .filter(|own| {
            takers
                .iter()
                .any(|peer| peer.contends_for.as_ref().is_none_or(|leases| leases.contains(&own.lease)))
        })
        .max_by_key(|own| (own.since, &own.lease))
        .map(|own| own.lease.as_str())
}
