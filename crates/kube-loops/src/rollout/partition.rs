// SPDX-License-Identifier: Apache-2.0
//! A rollout that stops half-way: the replicas with the lowest indexes stay at the current revision.
//!
//! ```text
//! N     the partition that the user asks for           P = min(N, R) while two revisions differ, else 0
//! held  the first P active replicas at the current revision, by index (none first), age, name
//! T     wanted at the update revision: max(R − P, moved, min(moved + third, R − held)), moved = min(active at
//!       update, R); what has moved is not moved back, and a third revision goes to the update revision
//!
//! scale out  n = min(R − active, R + S − live); of these max(0, R − T − active at current) at the current
//!            revision, so that a lost one comes back as it was, the rest at the update revision
//! scale in   the walk of a pool over: neither at update nor held; at update while more than R − P are there;
//!            held
//! roll       the walk of a pool over outdated ones that are not held; create min(R + S − live, T − updated)
//! done       nothing outdated is left that is not held, and at least R − P are at the update revision
//! ```
//! A replica of a third revision is never held. It counts in T while it is there: with a surge and no
//! unavailability nothing could take its place otherwise. Everything follows from the objects, so a restart
//! changes nothing. With P = 0 this is the plain pool.

use super::{
    limits::Limits,
    order::{lower_index_first, set_in_class, set_rollout, set_scale_in},
    pool::{PoolStep, RevisionStep, Surplus, scale_in, sorted, walk},
    replica::{Counts, Replica, Revision},
};

/// Why a text is no partition. Nothing moves then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a number of replicas (decimal digits, no sign, no percent)")]
pub struct InvalidPartition(pub String);

/// The partition that a user wrote; absent is 0.
///
/// # Errors
/// [`InvalidPartition`] for a sign, a percentage, and what is no number. The caller then holds everything,
/// by [`Partition::of`] with `usize::MAX`, and says so.
pub fn parse_partition(text: Option<&str>) -> Result<usize, InvalidPartition> {
    let Some(text) = text else { return Ok(0) };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidPartition(text.to_owned()));
    }
    // More digits than a number has are more than there are replicas.
    Ok(text.parse().unwrap_or(usize::MAX))
}

/// Which replicas stay, and how many move.
#[derive(Debug, Clone)]
pub struct Partition<'a> {
    /// Those that stay at the current revision.
    pub held: Vec<&'a Replica>,
    /// How many stay, P.
    pub count: usize,
    /// How many are wanted at the update revision, T.
    pub target: usize,
    replicas: &'a [Replica],
    limits: Limits,
}

impl<'a> Partition<'a> {
    /// The partition of these replicas. `wanted`: N; pass 0 when current and update revision are the same.
    pub fn of(replicas: &'a [Replica], limits: Limits, wanted: usize) -> Self {
        let count = wanted.min(limits.desired);
        let mut held = sorted(replicas, lower_index_first, |replica| replica.revision == Revision::Current);
        held.truncate(count);
        let moved = Counts::of(replicas).updated.min(limits.desired);
        let third =
            replicas.iter().filter(|replica| replica.is_active() && replica.revision == Revision::Other);
        let following = (moved + third.count()).min(limits.desired.saturating_sub(held.len()));
        let target = moved.max(following).max(limits.desired - count);
        Self { held, count, target, replicas, limits }
    }

    fn is_held(&self, replica: &Replica) -> bool {
        self.held.iter().any(|held| held.name == replica.name)
    }

    /// Active replicas that are to move and have not, in the order in which a rollout takes them. An update
    /// in place edits all of them and nothing else.
    pub fn to_move(&self) -> Vec<&'a Replica> {
        sorted(self.replicas, set_rollout, |replica| !replica.is_updated() && !self.is_held(replica))
    }

    /// Whether the rollout has come as far as the partition lets it.
    pub fn is_reached(&self) -> bool {
        let updated = Counts::of(self.replicas).updated;
        self.to_move().is_empty() && updated >= self.limits.desired - self.count
    }

    /// Brings the number of active replicas to the desired one; also while paused.
    pub fn scale(&self) -> RevisionStep<'a> {
        let counts = Counts::of(self.replicas);
        let missing = self.limits.desired.saturating_sub(counts.active).min(self.limits.room(counts.live()));
        let at_current = self
            .replicas
            .iter()
            .filter(|replica| replica.is_active() && replica.revision == Revision::Current);
        let lost = (self.limits.desired - self.target).saturating_sub(at_current.count());
        let create_current = missing.min(lost);
        let excess = counts.active.saturating_sub(self.limits.desired);
        let delete = scale_in(self.scale_in_order(counts), excess, counts, self.limits, Surplus::SparesReady);
        RevisionStep { delete, create_current, create_update: missing - create_current }
    }

    fn scale_in_order(&self, counts: Counts) -> Vec<&'a Replica> {
        if self.count == 0 {
            return sorted(self.replicas, set_scale_in, |_| true);
        }
        let class = |wanted: &dyn Fn(&Replica) -> bool| sorted(self.replicas, set_in_class, wanted);
        let mut updated = class(&|replica| replica.is_updated());
        let wanted = updated
            .split_off(counts.updated.saturating_sub(self.limits.desired - self.count).min(updated.len()));
        let mut order = class(&|replica| !replica.is_updated() && !self.is_held(replica));
        order.extend(updated);
        order.extend(class(&|replica| self.is_held(replica)));
        // By counting none of these is ever reached; a total order needs them all the same.
        order.extend(wanted);
        order
    }

    /// Replaces replicas that are to move. To be asked in a pass in which [`Self::scale`] had nothing to do.
    pub fn roll(&self) -> PoolStep<'a> {
        if self.is_reached() {
            return PoolStep::default();
        }
        let counts = Counts::of(self.replicas);
        PoolStep {
            delete: walk(self.to_move(), usize::MAX, self.limits.expendable(counts.ready)),
            create: self.target.saturating_sub(counts.updated).min(self.limits.room(counts.live())),
        }
    }

    /// Indexes used by those that a new replica of this revision must not meet: at the update revision what
    /// is there or held, at another one what is there.
    pub fn used_indexes(&self, revision: Revision) -> Vec<usize> {
        let update = revision == Revision::Update;
        let meets = |replica: &&Replica| {
            replica.is_active() && (replica.revision == revision || update && self.is_held(replica))
        };
        self.replicas.iter().filter(meets).filter_map(|replica| replica.index).collect()
    }
}
