// SPDX-License-Identifier: Apache-2.0
//! The queue's rules without a clock, a lock or a task: every moment is an argument.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use kube_fenced_election::clock::Instant;

use super::super::reconciler::Key;

/// What [`WorkQueue::take`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Take {
    /// A key to work on. It belongs to the caller until [`WorkQueue::done`].
    Key {
        /// The key.
        key: Key,
        /// How long it waited.
        waited: Duration,
    },
    /// Nothing is due. The next delayed key is due at this moment; `None`: no key is delayed.
    Empty(Option<Instant>),
    /// No key is handed out any more.
    ShutDown,
}

/// Keyed, de-duplicating, fair queue.
///
/// # Guarantees
/// - A key is with one taker at a time.
/// - A key that was added while it was worked on is handed out again afterwards.
/// - Keys are handed out in the order in which they became due.
/// - Of several delays of one key the earliest counts; an immediate add leaves a pending delay alone.
#[derive(Debug, Default)]
pub(crate) struct WorkQueue {
    /// Keys that may be taken, first in, first out.
    ready: VecDeque<Key>,
    /// Keys that wait for a pass and since when: those in `ready` and those that were added while
    /// they were worked on.
    waiting: HashMap<Key, Instant>,
    /// Keys with a taker, and since when.
    working: HashMap<Key, Instant>,
    /// Keys that become due later, in that order; the number keeps adds of one moment in order.
    delayed: BTreeSet<(Instant, u64, Key)>,
    /// Where a key stands in `delayed`.
    pub(super) delays: HashMap<Key, (Instant, u64)>,
    sequence: u64,
    adds: u64,
    shut: bool,
}

impl WorkQueue {
    /// The key is due now. Without effect if it waits already, or after shut down.
    pub(crate) fn add(&mut self, key: Key, now: Instant) {
        self.promote(now);
        self.enter(key, now);
    }

    /// The key is due at `moment`.
    pub(crate) fn add_at(&mut self, key: Key, moment: Instant, now: Instant) {
        self.promote(now);
        if moment <= now {
            return self.enter(key, now);
        }
        if self.shut {
            return;
        }
        if let Some(&(earlier, sequence)) = self.delays.get(&key) {
            if earlier <= moment {
                return;
            }
            self.delayed.remove(&(earlier, sequence, key.clone()));
        }
        self.sequence = self.sequence.saturating_add(1);
        self.delays.insert(key.clone(), (moment, self.sequence));
        self.delayed.insert((moment, self.sequence, key));
    }

    /// Hands out the key that has been due the longest.
    pub(crate) fn take(&mut self, now: Instant) -> Take {
        if self.shut {
            return Take::ShutDown;
        }
        self.promote(now);
        let Some(key) = self.ready.pop_front() else {
            return Take::Empty(self.delayed.first().map(|(moment, ..)| *moment));
        };
        let since = self.waiting.remove(&key).unwrap_or(now);
        self.working.insert(key.clone(), now);
        Take::Key { key, waited: now.saturating_duration_since(since) }
    }

    /// The taker of a key is through with it. Yields how long it had it; `None` if it had none.
    pub(crate) fn done(&mut self, key: &Key, now: Instant) -> Option<Duration> {
        let since = self.working.remove(key)?;
        if self.waiting.contains_key(key) && !self.shut {
            self.ready.push_back(key.clone());
        }
        Some(now.saturating_duration_since(since))
    }

    /// Makes delayed keys wait whose moment has come.
    pub(crate) fn promote(&mut self, now: Instant) {
        while self.delayed.first().is_some_and(|(moment, ..)| *moment <= now) {
            let Some((moment, _, key)) = self.delayed.pop_first() else { return };
            self.delays.remove(&key);
            self.enter(key, moment);
        }
    }

    /// Hands out nothing and takes in nothing from now on. Keys with a taker stay with it.
    pub(crate) fn shut_down(&mut self) {
        self.shut = true;
        self.ready.clear();
        self.waiting.clear();
        self.delayed.clear();
        self.delays.clear();
    }

    /// Keys that wait for a pass; delayed ones do not count.
    pub(crate) fn depth(&self) -> usize {
        self.waiting.len()
    }

    /// Keys that wait or are worked on. A key that does both counts twice.
    pub(crate) fn held(&self) -> usize {
        self.waiting.len().saturating_add(self.working.len())
    }

    /// How often a key came to wait, since the beginning.
    pub(crate) fn adds(&self) -> u64 {
        self.adds
    }

    /// For how long the keys with a taker have been worked on: in sum, and the longest.
    pub(crate) fn unfinished(&self, now: Instant) -> (Duration, Duration) {
        let ages = self.working.values().map(|since| now.saturating_duration_since(*since));
        ages.fold((Duration::ZERO, Duration::ZERO), |(sum, longest), age| {
            (sum.saturating_add(age), longest.max(age))
        })
    }

    fn enter(&mut self, key: Key, since: Instant) {
        if self.shut || self.waiting.contains_key(&key) {
            return;
        }
        self.adds = self.adds.saturating_add(1);
        self.waiting.insert(key.clone(), since);
        if !self.working.contains_key(&key) {
            self.ready.push_back(key);
        }
    }
}
