// SPDX-License-Identifier: Apache-2.0
//! Rolling several roles together, so that none runs ahead of the others.
//!
//! By **steps**: a step updates `L = max(S + U, 1)` replicas of each role. Every role says in which step it
//! is; the roles at or below the lowest step of the unfinished ones roll up to it.
//!
//! ```text
//! done      ready updated replicas (slots: those that hold nothing else)
//! k         ⌊(done − 1) / L⌋ + 1, at least 1
//! next      k + 1 if all is settled and done = L · k, or updated > L · k, or outdated < R − L · k
//! target    T = min((S + U) · k, R) for the lowest k
//! ```
//! At least 1, or a role of which a single old replica is broken could never begin the step that mends it.
//!
//! By **skew**: a role may begin its next replica while that keeps its share within a bound of the slowest
//! one's.
//!
//! ```text
//! f = min(1, ready updated / R)        m = min f over the unfinished roles
//! allowance = max(0, ⌊(m + skew) · R⌋ − started), exact in integers
//! the slowest (f = m, something outdated; largest R, then order) has at least 1 if all that it started is
//! ready
//! ```
//! Both are functions of what exists: a restart goes on where the last pass stopped.

use super::{
    limits::Limits,
    pool::Pace,
    replica::{Counts, Replica},
    slots::Slots,
};

/// How far one role has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleProgress {
    /// Replicas, or slots, that are updated and serve.
    done: usize,
    /// Active updated replicas, or slots with one.
    updated: usize,
    /// Active outdated replicas, or slots with nothing updated in them.
    outdated: usize,
    /// Nothing terminates, has ended, is not ready, or has no slot.
    settled: bool,
    /// Whether the role is wholly on the wanted template: nothing is left to wait for.
    pub all_ready: bool,
}

impl RoleProgress {
    /// Of a role without indexes.
    pub fn of_pool(replicas: &[Replica], desired: usize) -> Self {
        let counts = Counts::of(replicas);
        let settled = counts.terminating + counts.ended == 0 && counts.ready == counts.active;
        let all_ready = settled && counts.outdated() == 0 && counts.updated_ready == desired;
        let (done, updated, outdated) = (counts.updated_ready, counts.updated, counts.outdated());
        Self { done, updated, outdated, settled, all_ready }
    }

    /// Of a role with indexes.
    pub fn of_slots(replicas: &[Replica], desired: usize) -> Self {
        let counts = Counts::of(replicas);
        let slots = Slots::of(replicas, desired);
        let serves =
            |slot: &&Vec<&Replica>| matches!(slot.as_slice(), [one] if one.ready && one.is_updated());
        let done = slots.by_index.iter().filter(serves).count();
        let whole = counts.terminating + counts.ended == 0 && counts.ready == counts.active;
        let settled = whole && slots.homeless.is_empty();
        let all_ready = settled && counts.outdated() == 0 && counts.active == desired && done == desired;
        Self {
            done,
            updated: slots.count(Replica::is_updated),
            outdated: slots.outdated(),
            settled,
            all_ready,
        }
    }

    /// The step in which the role is, from 1.
    pub fn step(self, limits: Limits) -> usize {
        let width = limits.step_width();
        let step = self.done.saturating_sub(1) / width + 1;
        let reached = width.saturating_mul(step);
        let passed = (self.settled && self.done == reached)
            || self.updated > reached
            || self.outdated < limits.desired.saturating_sub(reached);
        step + usize::from(passed)
    }
}

/// How many replicas are to be updated after step `step`: `T = min((S + U) · k, R)`.
pub fn pace_of_step(step: usize, limits: Limits) -> Pace {
    Pace::Step(limits.surge.saturating_add(limits.unavailable).saturating_mul(step).min(limits.desired))
}

/// What the bound on the skew needs to know of one role with R > 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkewRole {
    /// Desired replicas, R. A role without any takes no part.
    pub desired: usize,
    /// Replicas whose update has begun: see [`started`].
    pub started: usize,
    /// Replicas, or slots, that are updated and ready.
    pub updated_ready: usize,
    /// Whether something outdated is left.
    pub outdated: bool,
    /// Whether the role is wholly on the wanted template.
    pub finished: bool,
}

/// How many replicas of a role have begun their update.
///
/// ```text
/// min(R, max(updated or heading for the wanted template, R − outdated ones that nothing was done to yet))
/// ```
/// The second term counts those that were deleted first and are not made again yet.
pub fn started(desired: usize, updated_or_heading: usize, untouched: usize) -> usize {
    updated_or_heading.max(desired.saturating_sub(untouched)).min(desired)
}

/// How many replicas each role may begin now, in the order given. `skew_percent`: 0 to 100. `None` in place
/// of a role: it could not be evaluated; it begins nothing and holds the others back as one that has not
/// begun.
pub fn skew_allowances(roles: &[Option<SkewRole>], skew_percent: u8) -> Vec<usize> {
    let unfinished =
        roles.iter().enumerate().filter(|(_, role)| role.is_none_or(|role| is_unfinished(&role)));
    let Some((done, of)) =
        unfinished.clone().map(|(_, role)| fraction(role.as_ref())).min_by(|a, b| compare(*a, *b))
    else {
        return vec![0; roles.len()];
    };
    let slowest = unfinished
        .filter_map(|(position, role)| Some((position, (*role)?)))
        .filter(|(_, role)| role.outdated && compare(fraction(Some(role)), (done, of)).is_eq())
        .max_by(|(first, a), (second, b)| a.desired.cmp(&b.desired).then(second.cmp(first)))
        .map(|(position, _)| position);
    let allowance = |(position, role): (usize, &Option<SkewRole>)| {
        let Some(role) = role.filter(is_unfinished) else { return 0 };
        // ⌊(done / of + skew / 100) · R⌋
        let reach = (100 * done + u128::from(skew_percent) * of) * wide(role.desired) / (100 * of);
        let allowed = usize::try_from(reach).unwrap_or(usize::MAX).saturating_sub(role.started);
        let must_move = slowest == Some(position) && role.updated_ready >= role.started;
        allowed
            .max(usize::from(must_move))
            .min(role.desired.saturating_sub(role.started).max(usize::from(must_move)))
    };
    roles.iter().enumerate().map(allowance).collect()
}

/// The pace of a role that may begin so many: [`skew_allowances`].
pub fn pace_of_share(role: SkewRole, allowance: usize) -> Pace {
    Pace::Share(role.started.saturating_add(allowance).min(role.desired))
}

fn is_unfinished(role: &SkewRole) -> bool {
    role.desired > 0 && !role.finished
}

/// f as numerator and denominator.
fn fraction(role: Option<&SkewRole>) -> (u128, u128) {
    role.map_or((0, 1), |role| (wide(role.updated_ready.min(role.desired)), wide(role.desired.max(1))))
}

fn compare(a: (u128, u128), b: (u128, u128)) -> std::cmp::Ordering {
    (a.0 * b.1).cmp(&(b.0 * a.1))
}

fn wide(count: usize) -> u128 {
    u128::try_from(count).unwrap_or(u128::MAX >> 64)
}
