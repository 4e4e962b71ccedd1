// SPDX-License-Identifier: Apache-2.0
//! The states of a controller, and how long it does not contend for its Lease after a term that failed.
//!
//! ```text
//! WaitingForCrd ─► Guarded ─► Candidate ─► Starting ─► Running ─► Stopping ─► Candidate …
//!       ▲                                                            │
//!       └──────────────── a required kind has vanished ◄─────────────┴──► Stopped (shutdown)
//! ```

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

use kube_fenced_election::{TermEnd, clock::Instant};
use kube_loops::{
    metrics::families::IntGaugeVec,
    runtime::{backoff::exponential, controller::RunError, progress::Stuck},
};

/// State of a controller; label `state` of `aibrix_controller_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ControllerState {
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

impl ControllerState {
    /// All states, in the order in which a controller passes through them.
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

/// The state of every controller, for `/debug/leases` and tests; every change is written to
/// `aibrix_controller_state`.
#[derive(Debug)]
pub(crate) struct ControllerStates {
    states: Mutex<BTreeMap<&'static str, ControllerState>>,
    gauge: IntGaugeVec,
}

impl ControllerStates {
    /// `gauge` has the labels `controller` and `state`.
    pub(crate) fn new(gauge: IntGaugeVec) -> Self {
        Self { states: Mutex::new(BTreeMap::new()), gauge }
    }

    /// Moves a controller to `state`; answers the state before, `None` the first time.
    pub(crate) fn set(&self, controller: &'static str, state: ControllerState) -> Option<ControllerState> {
        let before = self.states.lock().insert(controller, state);
        if before != Some(state) {
            for each in ControllerState::ALL {
                self.gauge.with_label_values(&[controller, each.name()]).set(i64::from(each == state));
            }
            tracing::debug!(controller, state = state.name(), "controller state changed");
        }
        before
    }

    /// The state of a controller; `None` when it was never set (not enabled).
    pub(crate) fn get(&self, controller: &str) -> Option<ControllerState> {
        self.states.lock().get(controller).copied()
    }
}

/// How a term ended, as the runner sees it.
#[derive(Debug)]
pub(super) enum TermOutcome {
    /// Told to drain, and all its tasks have ended.
    Drained,
    /// Told to drain because of a shutdown, and tasks may still run.
    Unfinished,
    /// The right to write ended; the work was dropped.
    Lost,
    /// The controller ended though it was not stopped.
    Failed(RunError),
    /// The Lease was renewed, but passes or watches made no progress.
    Stuck(Stuck),
}

/// First pause after a controller ended by itself; doubles up to [`CRASH_CAP`].
const CRASH_FIRST: Duration = Duration::from_secs(1);
const CRASH_CAP: Duration = Duration::from_secs(30);
/// First pause after its caches did not fill; doubles up to [`SYNC_CAP`].
const SYNC_FIRST: Duration = Duration::from_secs(10);
const SYNC_CAP: Duration = Duration::from_mins(5);
/// A term of this length resets the back-off.
const HEALTHY_AFTER: Duration = Duration::from_mins(5);
/// How long a controller that gave way does not contend again, unless no other replica is present.
pub(super) const GAVE_WAY_PAUSE: Duration = Duration::from_mins(1);
/// How long a leader may make no progress before it gives way, on top of the deadline of its passes.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Failures in a row of one controller.
#[derive(Debug, Default)]
pub(super) struct Failures {
    in_a_row: u32,
}

impl Failures {
    /// Tells the elector how a term ended that began at `started`, and how long to stay out.
    /// `jitter` in `0.0..1.0` stretches the pause by up to a fifth.
    pub(super) fn term_end(
        &mut self,
        ended: &TermOutcome,
        started: Instant,
        now: Instant,
        jitter: f64,
    ) -> TermEnd {
        if now.saturating_duration_since(started) >= HEALTHY_AFTER {
            self.in_a_row = 0;
        }
        match ended {
            TermOutcome::Drained | TermOutcome::Lost => TermEnd::Finished,
            TermOutcome::Unfinished => TermEnd::Unfinished,
            TermOutcome::Stuck(stuck) => TermEnd::GaveWay { reason: stuck.reason, pause: GAVE_WAY_PAUSE },
            TermOutcome::Failed(error) => {
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
