// SPDX-License-Identifier: Apache-2.0
//! Numbers in, numbers out: from measurements to a replica count.
//!
//! Doubles throughout, in the order of operations that is written down: tolerances sit exactly on
//! representable boundaries (33/30 against 1 + 0.1).

pub(super) mod aggregate;
pub(super) mod apa;
pub(super) mod cooldown;
pub(super) mod kpa;
pub(super) mod window;

#[cfg(test)]
mod aggregate_tests;
#[cfg(test)]
mod apa_tests;
#[cfg(test)]
mod cooldown_tests;
#[cfg(test)]
mod kpa_tests;
#[cfg(test)]
mod window_tests;

/// Shortest gap between measurements that counts as an interruption: three periods of ten seconds.
const SHORTEST_GAP_SECONDS: i64 = 30;

/// What all pods of a target report together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Totals {
    /// The sum of all pods. It says how many replicas are wanted, and whether fewer are enough.
    pub(super) sum: f64,
    /// The mean of the pods times the replicas. It says whether more are wanted: while a rollout has more pods than
    /// replicas, it is less than the sum.
    pub(super) spread: f64,
}

impl Totals {
    /// The same, whoever it is spread over.
    pub(super) fn of(total: f64) -> Self {
        Self { sum: total, spread: total }
    }

    /// Each number changed.
    pub(super) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { sum: change(self.sum), spread: change(self.spread) }
    }

    fn is_finite(self) -> bool {
        self.sum.is_finite() && self.spread.is_finite()
    }
}

/// What an algorithm may do in one step, and when it does nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Largest factor of a step up, at least 1.
    pub(super) up_rate: f64,
    /// Largest divisor of a step down, at least 1.
    pub(super) down_rate: f64,
    /// Relative excess that is ignored, at least 0.
    pub(super) up_tolerance: f64,
    /// Relative shortfall that is ignored, 0 to 1.
    pub(super) down_tolerance: f64,
}

/// A computed count as replicas: what is not finite or beyond the range ends at the range's bounds, NaN at 0.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which is what is wanted")]
fn to_replicas(count: f64) -> i32 {
    count as i32
}
