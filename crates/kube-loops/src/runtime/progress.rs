// SPDX-License-Identifier: Apache-2.0
//! Proof of work of one term, for the rule "no work, no Lease".

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use kube_fenced_election::clock::{Instant, SharedClock};

/// What one term has to show for itself; written by queues, workers and watches, read by the manager.
///
/// Each loop of a controller answers for itself: one that works hides none that hangs.
#[derive(Debug)]
pub struct Progress {
    clock: SharedClock,
    started: Instant,
    state: Mutex<ProgressState>,
}

#[derive(Debug, Default)]
struct ProgressState {
    loops: Vec<LoopState>,
    /// Since when a watch of the controller has failed without a break, and which.
    watch_failing: Option<(Instant, String)>,
}

#[derive(Debug)]
struct LoopState {
    label: &'static str,
    longest_pass: Duration,
    /// Keys that wait or are worked on.
    held: usize,
    /// Since when the queue has held keys and no pass has finished.
    busy_since: Option<Instant>,
}

/// Why a controller should give its Lease away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Value of a metric label: `NoPassFinished` or `WatchFailing`.
    pub reason: &'static str,
    /// The loop, or the watch and what is wrong with it.
    pub what: String,
}

impl Progress {
    /// Starts a term, without loops yet.
    pub fn new(clock: SharedClock) -> Self {
        Self { started: clock.instant(), clock, state: Mutex::default() }
    }

    /// A loop of the term, whose passes may take as long as `longest_pass`.
    pub fn of_loop(self: &Arc<Self>, label: &'static str, longest_pass: Duration) -> LoopProgress {
        let mut state = self.state.lock();
        state.loops.push(LoopState { label, longest_pass, held: 0, busy_since: None });
        LoopProgress { index: state.loops.len() - 1, term: Arc::clone(self) }
    }

    /// The watches' health changed: the one that has failed for the longest time and since when, or `None`.
    pub(crate) fn watch_health(&self, failing: Option<(Instant, String)>) {
        self.state.lock().watch_failing = failing;
    }

    /// Why the controller should give its Lease away, if it should: keys of a loop wait and none of its passes has
    /// finished for its longest pass + `patience`, or a watch has failed for `patience`.
    pub fn stuck(&self, patience: Duration) -> Option<Stuck> {
        let now = self.clock.instant();
        let state = self.state.lock();
        let over = |since: Instant, bound: Duration| now.saturating_duration_since(since) >= bound;
        let hangs =
            |it: &&LoopState| it.busy_since.is_some_and(|since| over(since, it.longest_pass + patience));
        if let Some(hanging) = state.loops.iter().find(hangs) {
            return Some(Stuck { reason: "NoPassFinished", what: hanging.label.to_owned() });
        }
        // For a watch that failed before the term began, patience counts from the start of the term: otherwise a
        // leader without rivals would step down and win again, over and over.
        let fails = |since: Instant| over(since.max(self.started), patience);
        let (_, watch) = state.watch_failing.as_ref().filter(|(since, _)| fails(*since))?;
        Some(Stuck { reason: "WatchFailing", what: watch.clone() })
    }
}

/// Through which one loop reports its progress.
#[derive(Debug, Clone)]
pub struct LoopProgress {
    index: usize,
    term: Arc<Progress>,
}

impl LoopProgress {
    /// The queue now holds this number of keys, waiting or being worked on.
    pub(crate) fn holds(&self, keys: usize) {
        self.change(|it, now| {
            it.held = keys;
            if keys > 0 {
                it.busy_since.get_or_insert(now);
            }
        });
    }

    /// A pass has finished, well or not.
    ///
    /// A pass that ran into its deadline has not finished: a loop whose every request hangs would otherwise look
    /// busy.
    pub(crate) fn pass_finished(&self) {
        self.change(|it, now| it.busy_since = (it.held > 0).then_some(now));
    }

    fn change(&self, change: impl FnOnce(&mut LoopState, Instant)) {
        let now = self.term.clock.instant();
        if let Some(it) = self.term.state.lock().loops.get_mut(self.index) {
            change(it, now);
        }
    }
}
