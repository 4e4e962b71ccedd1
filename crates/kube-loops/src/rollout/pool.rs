// SPDX-License-Identifier: Apache-2.0
//! Scaling and rolling a pool of interchangeable replicas: the pods of a role without indexes, the sets of
//! roles of a service.
//!
//! One pass either scales or, when nothing had to be scaled, rolls. Both go by the same walk over an order
//! of replicas: it ends (it does not skip) at the first ready replica that may not be given up, because the
//! order puts those that cost nothing first.
//!
//! ```text
//! R, S, U    Limits                      live = active + terminating      ready = active and ready
//! scale out  min(R − active, R + S − live)
//! scale in   walk until active = R; a ready one only while ready > R − U
//! roll       delete outdated ones: every one that is not ready, a ready one only while ready > R − U
//!            create min(R + S − live, T − updated), with live as counted before these deletions
//! T          wanted number of updated replicas: R, or less in an ordered rollout
//! ```
//! A replica that drains is active and not ready here, so giving it up costs no budget.
//!
//! The promise (`pool_tests.rs` tries it from any state): nothing is created beyond R + S, no ready replica
//! is given up at or below R − U, and repeated passes over replicas that become ready end with R updated
//! ones.

use std::cmp::Ordering;

use super::{
    limits::Limits,
    replica::{Counts, Life, Replica},
};

/// Who goes first: a total order from [`super::order`].
pub type Order = fn(&Replica, &Replica) -> Ordering;

/// What a pass does to a pool. Both empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolStep<'a> {
    /// To delete (or to drain first, where the kind has that), in this order.
    pub delete: Vec<&'a Replica>,
    /// How many to create from the wanted template.
    pub create: usize,
}

impl PoolStep<'_> {
    /// Whether the pass does nothing.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.create == 0
    }
}

/// What scaling does to replicas of two revisions, in a rollout that is paused or stops half-way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevisionStep<'a> {
    /// To delete, in this order.
    pub delete: Vec<&'a Replica>,
    /// How many to create from the current template.
    pub create_current: usize,
    /// How many to create from the wanted template.
    pub create_update: usize,
}

impl RevisionStep<'_> {
    /// Whether the pass does nothing.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.create_current == 0 && self.create_update == 0
    }
}

/// What scaling in does when the walk ends at a ready replica that may not be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surplus {
    /// It waits: a role. The surplus is at most the surge, and goes when a newer replica is ready.
    Waits,
    /// It also gives up replicas that are not ready, of any revision, while more than R + S are active: a
    /// service whose rollout is stuck can still be scaled in.
    SparesReady,
}

/// How much of an ordered rollout a pass may take on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All at once, within the limits.
    Free,
    /// Until this many are updated. Outdated replicas that are not ready go at once all the same.
    Step(usize),
    /// Until this many are updated, those that are not ready included.
    Share(usize),
}

impl Pace {
    /// The wanted number of updated replicas, T.
    pub fn target(self, desired: usize) -> usize {
        match self {
            Self::Free => desired,
            Self::Step(target) | Self::Share(target) => target.min(desired),
        }
    }
}

/// Brings the number of active replicas to the desired one. Ended replicas are deleted in any case.
pub fn scale(replicas: &[Replica], limits: Limits, order: Order, surplus: Surplus) -> PoolStep<'_> {
    let counts = Counts::of(replicas);
    let mut ended: Vec<_> = replicas.iter().filter(|replica| replica.life == Life::Ended).collect();
    ended.sort_by(|a, b| a.name.cmp(&b.name));
    let missing = limits.desired.saturating_sub(counts.active);
    let create = missing.min(limits.room(counts.live()));
    let excess = counts.active.saturating_sub(limits.desired);
    let victims = scale_in(sorted(replicas, order, |_| true), excess, counts, limits, surplus);
    PoolStep { delete: ended.into_iter().chain(victims).collect(), create }
}

/// Replaces outdated replicas. To be asked in a pass in which [`scale`] had nothing to do.
pub fn roll(replicas: &[Replica], limits: Limits, order: Order, pace: Pace) -> PoolStep<'_> {
    let counts = Counts::of(replicas);
    let target = pace.target(limits.desired);
    let outdated = sorted(replicas, order, |replica| !replica.is_updated());
    let started = outdated.iter().filter(|replica| replica.draining).count();
    // Of the outdated ones R − T are not touched yet.
    let startable = |outdated: usize| outdated.saturating_sub(limits.desired - target);
    let (quota, of_ready) = match pace {
        Pace::Free => (outdated.len(), usize::MAX),
        Pace::Step(_) | Pace::Share(_) if counts.updated >= target => (started, 0),
        Pace::Step(_) => (outdated.len(), startable(outdated.len())),
        Pace::Share(_) => (started + startable(outdated.len() - started), startable(outdated.len())),
    };
    let expendable = limits.expendable(counts.ready).min(of_ready);
    PoolStep {
        delete: walk(outdated, quota, expendable),
        create: target.saturating_sub(counts.updated).min(limits.room(counts.live())),
    }
}

/// Which of the candidates of an update in place begin now: those that are not ready, and ready ones while
/// the budget lasts, in the order of [`super::order::pool_rollout`]. A ready one without budget is skipped.
///
/// ```text
/// budget = D − pending      D = ready − (R − U), in an ordered rollout at most outdated − (R − T)
/// pending: those that are under way and still ready, so they are about to be missing
/// ```
/// An update in place neither creates nor deletes, and with U = 0 no ready one could ever begin: such a
/// role is replaced instead.
pub fn in_place_starts(mut candidates: Vec<&Replica>, expendable: usize, pending: usize) -> Vec<&Replica> {
    candidates.sort_by(|a, b| super::order::pool_rollout(a, b));
    let mut budget = expendable.saturating_sub(pending);
    candidates.retain(|replica| {
        let paid = replica.ready && budget > 0;
        budget -= usize::from(paid);
        !replica.ready || paid
    });
    candidates
}

/// The first `wanted` of `ordered`, up to a ready one for which no budget is left.
pub(super) fn walk(ordered: Vec<&Replica>, wanted: usize, mut expendable: usize) -> Vec<&Replica> {
    let affordable = |replica: &&Replica| {
        let free = !replica.ready;
        let paid = !free && expendable > 0;
        expendable -= usize::from(paid);
        free || paid
    };
    ordered.into_iter().take(wanted).take_while(affordable).collect()
}

/// Walks `ordered` until `excess` are given up, and beyond the walk as `surplus` says.
pub(super) fn scale_in(
    ordered: Vec<&Replica>,
    excess: usize,
    counts: Counts,
    limits: Limits,
    surplus: Surplus,
) -> Vec<&Replica> {
    let mut victims = walk(ordered.clone(), excess, limits.expendable(counts.ready));
    if surplus == Surplus::SparesReady {
        let beyond = (counts.active - victims.len()).saturating_sub(limits.max_total());
        let spared = ordered.into_iter().skip(victims.len()).filter(|replica| !replica.ready);
        victims.extend(spared.take(beyond));
    }
    victims
}

/// The active replicas that `wanted` takes, in order.
pub(super) fn sorted(replicas: &[Replica], order: Order, wanted: impl Fn(&Replica) -> bool) -> Vec<&Replica> {
    let mut sorted: Vec<_> =
        replicas.iter().filter(|replica| replica.is_active() && wanted(replica)).collect();
    sorted.sort_by(|a, b| order(a, b));
    sorted
}
