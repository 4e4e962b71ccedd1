// SPDX-License-Identifier: Apache-2.0
//! How long what failed waits. Pure.
//!
//! For a key there are two bounds, of which the longer counts: `5 ms · 2ⁿ` for each key, n being its failures in a row,
//! and one bucket for all keys of a loop, so that many failing keys together do not hammer the API.

use std::{collections::HashMap, time::Duration};

use kube_fenced_election::clock::Instant;

use super::reconciler::Key;

/// Delay after the first failure of a key.
pub(crate) const BASE: Duration = Duration::from_millis(5);
/// The loop's bucket refills one token in this time: 10 per second.
const REFILL: Duration = Duration::from_millis(100);
/// Retries that the loop's bucket lets through at once.
const BURST: u32 = 100;

/// `first · 2ⁿ`, at most `cap`, where n is how often it had failed before.
pub fn exponential(first: Duration, before: u32, cap: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(before)).min(cap)
}

/// Per-key exponential back-off.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: HashMap<Key, u32>,
    cap: Duration,
}

impl Backoff {
    /// No key has failed. `cap`: longest delay.
    pub(crate) fn new(cap: Duration) -> Self {
        Self { failures: HashMap::new(), cap }
    }

    /// Counts one more failure of the key and yields the delay `min(5 ms · 2ⁿ, cap)`, where n is how
    /// often it had failed before.
    pub(crate) fn fail(&mut self, key: &Key) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = exponential(BASE, *failures, self.cap);
        *failures = failures.saturating_add(1);
        delay
    }

    /// The key is well again: its next failure is its first.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.failures.remove(key);
    }
}

/// A token bucket that hands out moments instead of refusals: 10 per second, 100 at once.
///
/// Kept as the one moment at which the bucket would be full again, as in the generic cell rate
/// algorithm: nothing is counted up between calls, so there is nothing to drift.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one token and yields how long its holder has to wait from `now`: zero while tokens last.
    pub(crate) fn reserve(&mut self, now: Instant) -> Duration {
        let full_at = self.full_at.map_or(now, |moment| moment.max(now));
        let owed = full_at.saturating_duration_since(now);
        self.full_at = full_at.checked_add(REFILL);
        owed.saturating_sub(REFILL.saturating_mul(BURST.saturating_sub(1)))
    }
}
