// SPDX-License-Identifier: Apache-2.0
//! Waits of a broken watch.

use std::time::Duration;

use kube::runtime::{utils::Backoff, watcher::DefaultBackoff};

/// The usual waits grow to half a minute. A process has few watches, whose silence may cost it its Leases, so
/// after an outage it looks sooner.
const LONGEST: Duration = Duration::from_secs(5);

/// The usual waits between two tries of a watch, none longer than 5 s.
#[derive(Default)]
pub struct WatchBackoff(DefaultBackoff);

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| wait.min(LONGEST))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.0.reset();
    }
}

impl std::fmt::Debug for WatchBackoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchBackoff").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_watch_looks_again_within_five_seconds_for_ever() {
        let mut waits = WatchBackoff::default();
        let all: Vec<Duration> = waits.by_ref().take(200).collect();
        assert_eq!(all.len(), 200, "it never gives up");
        assert!(all.iter().all(|wait| *wait <= LONGEST && !wait.is_zero()), "{all:?}");
        assert!(all.iter().skip(10).any(|wait| *wait == LONGEST), "it does not hammer: {all:?}");
    }

    #[test]
    fn watch_that_worked_starts_with_short_waits_again() {
        let mut waits = WatchBackoff::default();
        assert!(waits.by_ref().take(20).any(|wait| wait == LONGEST));
        waits.reset();
        assert!(waits.next().is_some_and(|wait| wait < LONGEST / 2));
    }
}
