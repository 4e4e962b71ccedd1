// SPDX-License-Identifier: Apache-2.0
//! How far a rollout may go above and below the desired number of replicas, and the arithmetic that all
//! kinds share.
//!
//! Variables: `R` desired replicas, `S` surge, `U` unavailability, `live` all objects that exist (those that
//! terminate included, because they hold their resources until they are gone).
//!
//! ```text
//! at most R + S exist; at least R − U are ready
//! ```

use super::int_or_percent::{Amount, Rounding};

/// Resolved `maxSurge` and `maxUnavailable` for a number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Desired replicas, R.
    pub desired: usize,
    /// How many more than R may exist, S. Not capped.
    pub surge: usize,
    /// How many fewer than R may be ready, U, at most R.
    pub unavailable: usize,
}

impl Limits {
    /// Resolves both amounts together, as Deployments do.
    ///
    /// ```text
    /// S = surge of R, rounded up; absent → 0          U = unavailable of R, rounded down; absent → 0
    /// S = 0 and U = 0 → U = 1                         U = min(U, R)
    /// ```
    /// A rollout that may neither surge nor fall short could never move, hence the 1. A surge given as a
    /// number stays at R = 0: nothing can be created then, but a Ray fleet shows `R + S` in an annotation.
    /// Values that cannot be used are the caller's: [`Amount::parse`] says why, and a RoleSet or
    /// StormService passes `None`.
    pub fn resolve(desired: usize, surge: Option<Amount>, unavailable: Option<Amount>) -> Self {
        let surge = surge.map_or(0, |amount| amount.of(desired, Rounding::Up));
        let unavailable = unavailable.map_or(0, |amount| amount.of(desired, Rounding::Down));
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { desired, surge, unavailable: unavailable.min(desired) }
    }

    /// No surge and no promise of readiness: an update in place, where the children keep the budgets.
    pub const fn unguarded(desired: usize) -> Self {
        Self { desired, surge: 0, unavailable: desired }
    }

    /// No surge and no unavailability: `Recreate`, where the order of the steps is the only rule.
    pub const fn none(desired: usize) -> Self {
        Self { desired, surge: 0, unavailable: 0 }
    }

    /// R − U: so many must stay ready.
    pub const fn min_available(self) -> usize {
        self.desired.saturating_sub(self.unavailable)
    }

    /// R + S: so many may exist.
    pub const fn max_total(self) -> usize {
        self.desired.saturating_add(self.surge)
    }

    /// `max(0, R + S − live)`: what may still be created.
    pub const fn room(self, live: usize) -> usize {
        self.max_total().saturating_sub(live)
    }

    /// `max(0, ready − (R − U))`: how many ready ones may be given up.
    pub const fn expendable(self, ready: usize) -> usize {
        ready.saturating_sub(self.min_available())
    }

    /// How many a step of an ordered rollout may take on: `max(S + U, 1)`.
    pub fn step_width(self) -> usize {
        self.surge.saturating_add(self.unavailable).max(1)
    }
}
