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
