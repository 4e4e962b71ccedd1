// SPDX-License-Identifier: Apache-2.0
//! Pure: the states of one controller's life, and how long it stays out after it failed.
//!
//! ```text
//! WaitingForCrd ─► Guarded ─► Candidate ─► Starting ─► Running ─► Stopping ─► Candidate …
//!       ▲                                                            │
//!       └──────────────── a required kind has vanished ◄─────────────┴──► Stopped (shutdown)
//! ```

use std::time::Duration;

use kube_fenced_election::{TermEnd, clock::Instant};
use kube_loops::runtime::{backoff::exponential, controller::RunError, progress::Stuck};

/// Where a controller's life stands; label `state` of `aibrix_controller_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// A required kind is not served: it does not contend for its Lease.
    WaitingForCrd,
    /// A Go manager leads under the legacy Lease.
    Guarded,
    /// Contends for its Lease, or waits out a back-off before it does.
    Candidate,
    /// The Lease is held; the stores catch up.
    Starting,
    /// Workers run.
    Running,
    /// No new pass; passes under way end.
    Stopping,
    /// The process ends.
    Stopped,
    /// This build lacks the controller: no Lease, no work.
    NotBuilt,
}

impl State {
    /// All states, in the order of a life.
    pub(crate) const ALL: [Self; 8] = [
        Self::WaitingForCrd,
        Self::Guarded,
        Self::Candidate,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
        Self::NotBuilt,
    ];

    /// The name that logs, metrics and `/debug/leases` use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WaitingForCrd => "waitingForCRD",
            Self::Guarded => "guarded",
            Self::Candidate => "candidate",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::NotBuilt => "notBuilt",
        }
    }
}

/// How a term's work ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Told to drain, and all its work has ended.
    Drained,
    /// Told to drain because of a shutdown, and tasks may still run.
    Unfinished,
    /// The right to write ended; the work was dropped.
    Lost,
    /// It ended by itself.
    Failed(RunError),
    /// It renewed but could not work.
    Stuck(Stuck),
}

/// First pause after a controller ended by itself; doubles up to [`CRASH_CAP`].
const CRASH_FIRST: Duration = Duration::from_secs(1);
const CRASH_CAP: Duration = Duration::from_secs(30);
/// First pause after its caches did not fill; doubles up to [`SYNC_CAP`].
const SYNC_FIRST: Duration = Duration::from_secs(10);
const SYNC_CAP: Duration = Duration::from_mins(5);
/// A term that lived this long forgives earlier failures.
const HEALTHY_AFTER: Duration = Duration::from_mins(5);
/// Pause after giving way, unless no other member is present.
pub(super) const GAVE_WAY_PAUSE: Duration = Duration::from_mins(1);
/// How long a leader may be without work done before it gives way, on top of its longest deadline.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Failures in a row of one controller.
#[derive(Debug, Default)]
pub(super) struct Failures {
    in_a_row: u32,
}

impl Failures {
    /// What the elector is told about a term that began at `started` and ended now.
    /// `jitter` in `0.0..1.0` stretches the pause by up to a fifth.
    pub(super) fn leaving(&mut self, ended: &Ended, started: Instant, now: Instant, jitter: f64) -> TermEnd {
        if now.saturating_duration_since(started) >= HEALTHY_AFTER {
            self.in_a_row = 0;
        }
        match ended {
            Ended::Drained | Ended::Lost => TermEnd::Finished,
            Ended::Unfinished => TermEnd::Unfinished,
            Ended::Stuck(stuck) => TermEnd::GaveWay { reason: stuck.reason, pause: GAVE_WAY_PAUSE },
            Ended::Failed(error) => {
                let (first, cap) = match error {
                    RunError::CacheSync { .. } => (SYNC_FIRST, SYNC_CAP),
                    RunError::Ended { .. } | RunError::Panicked { .. } => (CRASH_FIRST, CRASH_CAP),
                };
                let back_off = exponential(first, self.in_a_row, cap);
                self.in_a_row = self.in_a_row.saturating_add(1);
                TermEnd::Failed { back_off: back_off.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 5.0) }
            }
        }
    }
}
