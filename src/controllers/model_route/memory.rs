// SPDX-License-Identifier: Apache-2.0
//! What a term remembers; a restart starts empty. Pure; whoever shares it brings the lock.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::reconciler::Key;

/// First wait between two repairs of one route; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// A route that needed no repair for so long is repaired at once again.
const CALM: Duration = Duration::from_mins(10);

/// Memory of one term.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Routes and grants that a workload was seen to leave, until a pass has dealt with it.
    lost: BTreeSet<Key>,
    /// Repairs of what somebody else did to a route.
    repairs: HashMap<Key, Repairs>,
    /// Why a key was left alone when it was last looked at.
    left_alone: HashMap<Key, &'static str>,
    /// Why the API server did not take a route when it was last offered.
    refusals: HashMap<Key, String>,
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

impl Memory {
    /// A workload was seen to go, or to serve another model than before.
    pub(super) fn lose(&mut self, key: Key) {
        self.lost.insert(key);
    }

    /// Whether one was; it is forgotten.
    pub(super) fn take_lost(&mut self, key: &Key) -> bool {
        self.lost.remove(key)
    }

    /// How long to wait before the route is repaired (again), so that two programs that want different things
    /// do not write as fast as they can. `None`: no more; it counts once it is made, see [`Self::repaired`].
    pub(super) fn wait_to_repair(&self, key: &Key, now: Timestamp) -> Option<Duration> {
        let repairs = self.repairs.get(key)?;
        let since = repairs.since(now);
        if since >= CALM {
            return None;
        }
        let factor = 2_u32.saturating_pow(repairs.in_a_row.saturating_sub(1).min(16));
        let wait = FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT);
        (since < wait).then(|| wait.saturating_sub(since))
    }

    /// A repair of the route was written. One that could not be written delays nothing.
    pub(super) fn repaired(&mut self, key: &Key, now: Timestamp) {
        let before = self.repairs.get(key).filter(|repairs| repairs.since(now) < CALM);
        let in_a_row = before.map_or(1, |repairs| repairs.in_a_row.saturating_add(1));
        self.repairs.insert(key.clone(), Repairs { last: now, in_a_row });
    }

    /// Notes why a key is left alone, if it is. Whether that is news.
    pub(super) fn is_news(&mut self, key: &Key, left_alone: Option<&'static str>) -> bool {
        if let Some(why) = left_alone {
            return self.left_alone.insert(key.clone(), why) != Some(why);
        }
        self.left_alone.remove(key);
        false
    }

    /// Notes why the API server did not take a route; `None`: it took it. Whether that is news.
    pub(super) fn is_refusal_news(&mut self, key: &Key, refusal: Option<&str>) -> bool {
        let Some(refusal) = refusal else {
            self.refusals.remove(key);
            return false;
        };
        self.refusals.insert(key.clone(), refusal.to_owned()).as_deref() != Some(refusal)
    }

    /// The key stands for nothing any more.
    pub(super) fn forget(&mut self, key: &Key) {
        self.lost.remove(key);
        self.repairs.remove(key);
        self.left_alone.remove(key);
        self.refusals.remove(key);
    }
}
