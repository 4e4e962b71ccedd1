// SPDX-License-Identifier: Apache-2.0
//! What a term remembers; a restart starts empty. Pure, but for the lock around what watches write.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::{backoff::exponential, reconciler::Key};

/// First wait between two repairs of one route; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// A route that needed no repair for so long is repaired at once again.
const CALM: Duration = Duration::from_mins(10);

/// Routes and grants that a workload was seen to leave, until a pass has dealt with it. Written by watches.
#[derive(Debug, Default)]
pub(super) struct Losses(Mutex<HashMap<Key, u64>>);

impl Losses {
    /// A workload was seen to go, or to serve another model than before.
    pub(super) fn add(&self, key: Key) {
        let mut losses = self.0.lock();
        let count = losses.entry(key).or_default();
        *count = count.wrapping_add(1);
    }

    /// Losses of the key that no pass has dealt with, as [`Self::settle`] wants them; `None`: none.
    pub(super) fn of(&self, key: &Key) -> Option<u64> {
        self.0.lock().get(key).copied()
    }

    /// A pass that saw `seen` has dealt with it. A loss that came meanwhile is left to the next pass.
    pub(super) fn settle(&self, key: &Key, seen: Option<u64>) {
        let mut losses = self.0.lock();
        if losses.get(key).copied() == seen {
            losses.remove(key);
        }
    }

    /// The key stands for nothing any more.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

/// What is remembered of one route.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Repairs of what somebody else did to it.
    repairs: Option<Repairs>,
    /// Why it was left alone when it was last looked at.
    pub(super) left_alone: Option<&'static str>,
    /// Why the API server did not take it when it was last offered.
    pub(super) refusal: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Repairs {
    last: Timestamp,
    in_a_row: u32,
}

impl Repairs {
    fn since(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.last)).unwrap_or(Duration::ZERO)
    }
}

impl State {
    /// How long to wait before the route is repaired (again), so that two programs that want different things
    /// do not write as fast as they can. `None`: no more; it counts once it is made, see [`Self::repaired`].
    pub(super) fn wait_to_repair(&self, now: Timestamp) -> Option<Duration> {
        let repairs = self.repairs?;
        let since = repairs.since(now);
        if since >= CALM {
            return None;
        }
        let wait = exponential(FIRST_WAIT, repairs.in_a_row.saturating_sub(1), LONGEST_WAIT);
        (since < wait).then(|| wait.saturating_sub(since))
    }

    /// A repair of the route was written. One that could not be written delays nothing.
    pub(super) fn repaired(&mut self, now: Timestamp) {
        let before = self.repairs.filter(|repairs| repairs.since(now) < CALM);
        let in_a_row = before.map_or(1, |repairs| repairs.in_a_row.saturating_add(1));
        self.repairs = Some(Repairs { last: now, in_a_row });
    }
}
