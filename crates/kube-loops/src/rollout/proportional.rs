// SPDX-License-Identifier: Apache-2.0
//! Scaling in the middle of a paused rollout: every revision grows or shrinks by its share.

use super::{
    limits::Limits,
    order::set_in_class,
    pool::{RevisionStep, sorted},
    replica::{Counts, Replica},
};

/// Splits `desired` replicas between two revisions that have `current` and `update` of them now.
///
/// ```text
/// desired = current + update → as it is          neither has any → (0, desired)
/// current' = round(current · desired / (current + update)), half up      update' = desired − current'
/// ```
pub fn split(desired: usize, current: usize, update: usize) -> (usize, usize) {
    let total = current.saturating_add(update);
    if desired == total {
        return (current, update);
    }
    let share = if total == 0 { 0 } else { rounded(current.saturating_mul(desired), total) };
    (share, desired.saturating_sub(share))
}

/// `numerator / denominator`, halves away from zero. The denominator is not 0.
fn rounded(numerator: usize, denominator: usize) -> usize {
    numerator.saturating_mul(2).saturating_add(denominator) / denominator.saturating_mul(2).max(1)
}

/// Scales a set whose rollout is paused between two revisions, by the live numbers of each.
///
/// Out: both revisions up to their share; no surge is asked for, because terminating ones of a paused set
/// are not about to be replaced. In: replicas that are not ready first; when those are not enough, all of
/// them and ready ones of both revisions down to their share.
pub fn scale_paused(replicas: &[Replica], desired: usize) -> RevisionStep<'_> {
    let counts = Counts::of(replicas);
    if counts.active < desired {
        let (current, update) = split(desired, counts.outdated(), counts.updated);
        return RevisionStep {
            delete: Vec::new(),
            create_current: current.saturating_sub(counts.outdated()),
            create_update: update.saturating_sub(counts.updated),
        };
    }
    let excess = counts.active - desired;
    let mut delete = sorted(replicas, set_in_class, |replica| !replica.ready);
    if excess <= delete.len() {
        delete.truncate(excess);
    } else {
        let outdated = sorted(replicas, set_in_class, |replica| replica.ready && !replica.is_updated());
        let updated = sorted(replicas, set_in_class, |replica| replica.ready && replica.is_updated());
        let (keep_outdated, keep_updated) = split(desired, outdated.len(), updated.len());
        let first = |replicas: Vec<_>, keep: usize| {
            let surplus = replicas.len().saturating_sub(keep);
            replicas.into_iter().take(surplus)
        };
        delete.extend(first(outdated, keep_outdated));
        delete.extend(first(updated, keep_updated));
    }
    RevisionStep { delete, ..RevisionStep::default() }
}

/// One of several sets of one owner that have replicas, as its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSet {
    /// Replicas that it shall have now.
    pub replicas: usize,
    /// What R + S was when it was last scaled; `None`: it does not say, or not as a number.
    pub max_total: Option<i64>,
}

/// New sizes of several sets of one owner when the owner is scaled to R in the middle of a rollout, as
/// Deployments do it. The answer has one size per set, in the order given.
///
/// `sets` come largest first and, of equal size, newest first when there is something to add, oldest first
/// when there is something to take away: [`to_distribute`] says which. What rounding leaves goes to the
/// first.
///
/// ```text
/// allowed = R > 0 ? R + S : 0                 add = allowed − Σ replicas
/// share   = R = 0: −replicas      else: round(replicas · (R + S) / m) − replicas, halves away from zero
/// m       = R + S at the last scaling; else what the owner's status says; of 0 the present sum, at least 1
/// size    = replicas + share, where all shares together never go beyond add
/// ```
pub fn distribute(sets: &[ActiveSet], limits: Limits, status_replicas: i64) -> Vec<usize> {
    let add = to_distribute(sets, limits);
    let present: i64 = sets.iter().map(|set| signed(set.replicas)).sum();
    let mut added = 0_i64;
    let mut sizes: Vec<i64> = Vec::with_capacity(sets.len());
    for set in sets {
        let share = if set.replicas == 0 || add == 0 || add == added {
            0
        } else {
            let wanted = wanted_share(set, limits, status_replicas, present);
            if add > 0 { wanted.min(add - added) } else { wanted.max(add - added) }
        };
        added += share;
        sizes.push(signed(set.replicas) + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + add - added).max(0);
    }
    sizes.into_iter().map(|size| usize::try_from(size).unwrap_or(0)).collect()
}

/// How many replicas are to be added (or, negative, taken away) over all sets.
pub fn to_distribute(sets: &[ActiveSet], limits: Limits) -> i64 {
    let allowed = if limits.desired == 0 { 0 } else { signed(limits.max_total()) };
    allowed - sets.iter().map(|set| signed(set.replicas)).sum::<i64>()
}

fn wanted_share(set: &ActiveSet, limits: Limits, status_replicas: i64, present: i64) -> i64 {
    if limits.desired == 0 {
        return -signed(set.replicas);
    }
    let was = set.max_total.unwrap_or(status_replicas);
    let was = if was > 0 { was } else { present.max(1) };
    let numerator = set.replicas.saturating_mul(limits.max_total());
    signed(rounded(numerator, usize::try_from(was).unwrap_or(usize::MAX))) - signed(set.replicas)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
