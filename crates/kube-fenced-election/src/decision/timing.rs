// SPDX-License-Identifier: Apache-2.0
//! How long things take.

use std::time::Duration;

/// The durations of an election; relations between them are checked before a process starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long a claim lasts without a renewal. Whole seconds, at least one.
    pub lease_duration: Duration,
    /// How long after the start of its last successful renewal a leader goes on.
    pub renew_deadline: Duration,
    /// Wait after a failure.
    pub retry_period: Duration,
}

/// The defaults of client-go and of the flags.
impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease_duration: seconds(15), renew_deadline: seconds(10), retry_period: seconds(2) }
    }
}

impl Timing {
    /// How long a controller that was asked to leave may take before its fence is closed. With a
    /// release right after, an older manager that took its Lease back has ours gone within 12 s.
    pub(crate) const STEP_DOWN_TIMEOUT: Duration = Duration::from_secs(5);

    /// Longest wait for one request. One that hangs does not cost the Lease: see [`Self::hedge_after`].
    pub fn request_timeout(&self) -> Duration {
        (self.renew_deadline / 2).min(Duration::from_secs(5))
    }

    /// When a request is not answered after this time, a second one is sent on another connection.
    pub(crate) fn hedge_after(&self) -> Duration {
        self.renew_deadline / 5
    }

    /// When a request about the Lease of the upgrade guard is not answered after this time, a second one is sent on
    /// another connection. Both are awaited for as long again: an API server that takes 2 s for each request costs
    /// no claim.
    pub(crate) fn guard_hedge_after(&self) -> Duration {
        (self.lease_duration / 3).min(Duration::from_secs(2))
    }

    /// From one successful renewal to the next.
    pub(crate) fn renew_every(&self) -> Duration {
        (self.lease_duration / 3).min(self.renew_deadline / 2)
    }

    /// From the start of a failed request to the next one; `jitter` in `0.0..1.0` adds up to a fifth.
    pub(crate) fn retry(&self, jitter: f64) -> Duration {
        self.retry_period + self.retry_period.mul_f64(jitter.clamp(0.0, 1.0) * 0.2)
    }

    /// From one failed release to the next: shorter than other retries, because a stopping process
    /// has few seconds.
    pub(crate) fn release_retry(&self) -> Duration {
        self.retry_period / 4
    }
}
