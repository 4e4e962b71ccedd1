// SPDX-License-Identifier: Apache-2.0
//! Pure: how long to wait after failures, and before a write that somebody keeps undoing.

use std::{collections::VecDeque, time::Duration};

use kube_fenced_election::clock::Instant;
use kube_loops::runtime::backoff::exponential;

const FIRST: Duration = Duration::from_millis(10);
/// Longest wait between two tries.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// Writes within [`WINDOW`] that need no wait.
const FREE: usize = 10;
const WINDOW: Duration = Duration::from_mins(2);

/// Wait after this many failures in a row: 10 ms, doubled each time, 30 s at most.
pub(super) fn retry_delay(failures: u32) -> Duration {
    exponential(FIRST, failures.saturating_sub(1), LONGEST)
}

/// Slows down writes that another manager or a deployment tool undoes each time.
#[derive(Debug, Default)]
pub(super) struct WriteBackoff {
    writes: VecDeque<Instant>,
}

impl WriteBackoff {
    /// Counts a write.
    pub(super) fn record_write(&mut self, at: Instant) {
        self.writes.push_back(at);
    }

    /// Wait before the next write: none for the first ten of two minutes, then 100 ms, doubled for each further
    /// one, 30 s at most.
    pub(super) fn write_delay(&mut self, at: Instant) -> Duration {
        while self.writes.front().is_some_and(|first| at.saturating_duration_since(*first) > WINDOW) {
            self.writes.pop_front();
        }
        let Some(excess) = self.writes.len().checked_sub(FREE) else { return Duration::ZERO };
        exponential(FIRST * 10, u32::try_from(excess).unwrap_or(u32::MAX), LONGEST)
    }
}
