// SPDX-License-Identifier: Apache-2.0
//! Sliding windows over the samples of one metric source.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{SHORTEST_GAP_SECONDS, Totals};

/// Stable and panic window. Both receive every sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct Windows {
    /// Lengths in seconds; other lengths discard both windows.
    lengths: (i64, i64),
    stable: Buckets,
    panic: Buckets,
    /// First and last sample since the last interruption.
    observed: Option<(Timestamp, Timestamp)>,
}

impl Windows {
    /// Records a sample of this moment. Lengths are in seconds.
    pub(in super::super) fn record(&mut self, now: Timestamp, value: Totals, stable: i64, panic: i64) {
        if self.lengths != (stable, panic) {
            *self = Self { lengths: (stable, panic), ..Self::default() };
        }
        // After an interruption the window is as good as new: one low sample must not stand for all of it.
        let gap = SignedDuration::from_secs(stable.max(SHORTEST_GAP_SECONDS));
        let since = match self.observed {
            Some((since, last)) if now.duration_since(last) <= gap => since.min(now),
            Some(_) | None => now,
        };
        self.observed = Some((since, now));
        let second = second_of(now);
        self.stable.insert(second, value, stable);
        self.panic.insert(second, value, panic);
    }

    /// S and P: the means of both windows, 0 when nothing was recorded.
    pub(in super::super) fn means(&self) -> (Totals, Totals) {
        (self.stable.mean(), self.panic.mean())
    }

    /// When the stable window spans its full length; `None`: nothing was recorded yet.
    pub(in super::super) fn full_at(&self) -> Option<Timestamp> {
        let (since, _) = self.observed?;
        since.checked_add(SignedDuration::from_secs(self.lengths.0)).ok()
    }
}

/// One value for each second: a later sample of the same second replaces the earlier one.
#[derive(Debug, Clone, Default, PartialEq)]
struct Buckets(BTreeMap<i64, Totals>);

impl Buckets {
    /// Trims what is older than `length` seconds; a sample exactly that old stays.
    fn insert(&mut self, second: i64, value: Totals, length: i64) {
        self.0.insert(second, value);
        self.0 = self.0.split_off(&second.saturating_sub(length));
    }

    fn mean(&self) -> Totals {
        let of = |part: fn(&Totals) -> f64| mean_of(self.0.values().map(part));
        Totals { sum: of(|totals| totals.sum), spread: of(|totals| totals.spread) }
    }
}

fn mean_of(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let mut count = 0.0;
    let mut sum = 0.0;
    for value in values.clone() {
        sum += value;
        count += 1.0;
    }
    if count == 0.0 {
        0.0
    } else if sum.is_finite() {
        sum / count
    } else {
        // Each value is finite, and so is their mean.
        values.map(|value| value / count).sum()
    }
}

fn second_of(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_nanosecond().div_euclid(1_000_000_000)).unwrap_or(0)
}
