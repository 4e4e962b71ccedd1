// SPDX-License-Identifier: Apache-2.0
//! Moving replicas from old sets to a new one, as Deployments do: the owner sets sizes only, the sets make
//! and delete the replicas.
//!
//! ```text
//! R, S, U      Limits            total = Σ replicas of all sets
//! new set      below R: grows to replicas + min(R + S − total, R − replicas); above R: shrinks to R
//! old sets     may lose total − (R − U) − (replicas of the new set that are not available)
//!   a) first what is not available, oldest set first
//!   b) then ready ones, oldest set first, while available − (R − U) is left
//! ```
//! One pass does the first of the two that changes something: the old sets are looked at only while the new
//! one has its size.

use super::{limits::Limits, order::older_first, replica::Replica};

/// A set of replicas of one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSize {
    /// The set as an object, for order and identity; its readiness and revision are not looked at.
    pub object: Replica,
    /// Replicas that it shall have, as its spec says.
    pub replicas: usize,
    /// Replicas that are available, as its status says. More than `replicas`: the status lags behind.
    pub available: usize,
}

/// A new size for a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize<'a> {
    /// The set.
    pub set: &'a SetSize,
    /// Replicas that it shall have.
    pub replicas: usize,
}

/// The size of the new set of a rolling update. `total`: replicas of all sets, the new one included.
/// `max_total`: R + S, or less where a surge is held back; the new set never shrinks because of it.
pub fn new_set_size(replicas: usize, total: usize, limits: Limits, max_total: usize) -> usize {
    if replicas >= limits.desired {
        return limits.desired;
    }
    replicas + max_total.saturating_sub(total).min(limits.desired - replicas)
}

/// The new sizes of the old sets of a rolling update, in the order in which they are to be written; empty:
/// nothing to do. Sets without replicas take no part.
///
/// Where a) meets a set that has more available replicas than it shall have, its status lags behind a
/// scale-down: nothing more is scaled in this pass, because what is available cannot be known.
pub fn scale_down_old<'a>(new: &SetSize, old: &'a [SetSize], limits: Limits) -> Vec<Resize<'a>> {
    let mut sets: Vec<_> = old.iter().filter(|set| set.replicas > 0).collect();
    sets.sort_by(|a, b| older_first(&a.object, &b.object));
    let mut sizes: Vec<_> = sets.iter().map(|set| set.replicas).collect();
    let total = new.replicas + sizes.iter().sum::<usize>();
    let missing = new.replicas.saturating_sub(new.available);
    // A new set whose status lags behind has more available than it shall have; the others gain by that.
    let ahead = new.available.saturating_sub(new.replicas);
    let mut removable = (total + ahead).saturating_sub(limits.min_available() + missing);
    if removable == 0 {
        return Vec::new();
    }
    let mut trusted = true;
    for (set, size) in sets.iter().zip(&mut sizes) {
        if removable == 0 {
            break;
        }
        if set.available > *size {
            trusted = false;
            break;
        }
        let broken = (*size - set.available).min(removable);
        *size -= broken;
        removable -= broken;
    }
    if trusted {
        let available = new.available + sets.iter().map(|set| set.available).sum::<usize>();
        let mut budget = limits.expendable(available);
        for size in &mut sizes {
            let given = (*size).min(budget);
            *size -= given;
            budget -= given;
        }
    }
    let resized = sets.into_iter().zip(sizes).filter(|(set, size)| set.replicas != *size);
    resized.map(|(set, replicas)| Resize { set, replicas }).collect()
}

/// Whether the new set has taken over: it has all replicas, was scaled for the present number, and all are
/// available. The old sets then go to 0 at once when the owner is scaled.
pub fn is_saturated(new: &SetSize, scaled_for: Option<i64>, desired: usize) -> bool {
    let scaled = scaled_for.and_then(|number| usize::try_from(number).ok()) == Some(desired);
    scaled && new.replicas == desired && new.available == desired
}
