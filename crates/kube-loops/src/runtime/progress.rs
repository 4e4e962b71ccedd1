// SPDX-License-Identifier: Apache-2.0
//! Proof of work of one term, for the rule "no work, no Lease".

use std::time::Duration;

use parking_lot::Mutex;

use kube_fenced_election::clock::{Instant, SharedClock};

/// What one term has to show for itself; written by queues, workers and watches, read by the manager.
///
/// Shared by all loops of a controller: one loop that works is proof for all of them.
#[derive(Debug)]
pub struct Progress {
    clock: SharedClock,
    facts: Mutex<Facts>,
}

#[derive(Debug)]
struct Facts {
    /// Keys that wait or are worked on, over all queues of the term.
    held: usize,
    /// Since when some queue holds keys (waiting now or being worked on) and no pass has finished.
    busy_since: Option<Instant>,
    /// Since when a watch of the controller has failed without a break, and which.
    watch_failing: Option<(Instant, String)>,
    longest_deadline: Duration,
}

impl Progress {
    /// Starts a term. `longest_deadline`: the longest reconcile deadline of the controller's loops.
    pub fn new(clock: SharedClock, longest_deadline: Duration) -> Self {
        let facts = Facts { held: 0, busy_since: None, watch_failing: None, longest_deadline };
        Self { clock, facts: Mutex::new(facts) }
    }

    /// Some queue holds keys or a pass is under way. Repeated calls keep the first moment.
    pub fn work_waits(&self) {
        let now = self.clock.instant();
        self.facts.lock().busy_since.get_or_insert(now);
    }

    /// One queue that held `before` keys (waiting or being worked on) now holds `after`.
    pub fn keys_held(&self, before: usize, after: usize) {
        let now = self.clock.instant();
        let mut facts = self.facts.lock();
        facts.held = facts.held.saturating_sub(before).saturating_add(after);
        if after > 0 {
            facts.busy_since.get_or_insert(now);
        }
    }

    /// A pass has finished (well or not). `more`: whether keys still wait or are being worked on, beyond
    /// those that [`Self::keys_held`] tells of.
    ///
    /// A pass that ran into its deadline has not finished: a controller whose every request hangs would
    /// otherwise look busy.
    pub fn pass_finished(&self, more: bool) {
        let now = self.clock.instant();
        let mut facts = self.facts.lock();
        facts.busy_since = (more || facts.held > 0).then_some(now);
    }

    /// The watches' health changed: the first one that fails and since when, or `None`.
    pub fn watch_health(&self, failing: Option<(Instant, String)>) {
        self.facts.lock().watch_failing = failing;
    }

    /// The watch that fails and why, as last told to [`Self::watch_health`].
    pub fn failing_watch(&self) -> Option<String> {
        self.facts.lock().watch_failing.as_ref().map(|(_, watch)| watch.clone())
    }

    /// Why the controller should give its Lease away, if it should: keys wait and no pass has finished
    /// for the longest deadline + `patience`, or a watch has failed for `patience`.
    pub fn stuck(&self, patience: Duration) -> Option<&'static str> {
        let now = self.clock.instant();
        let facts = self.facts.lock();
        let over = |since: Instant, bound: Duration| now.saturating_duration_since(since) >= bound;
        if facts.busy_since.is_some_and(|since| over(since, facts.longest_deadline + patience)) {
            return Some("NoPassFinished");
        }
        if facts.watch_failing.as_ref().is_some_and(|(since, _)| over(*since, patience)) {
            return Some("WatchFailing");
        }
        None
    }
}
