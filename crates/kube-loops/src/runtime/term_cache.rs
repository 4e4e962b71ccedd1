// SPDX-License-Identifier: Apache-2.0
//! What a loop remembers of its objects for one term. Pure; whoever shares it brings the lock.
//!
//! Only for what may be lost: a restart or a takeover starts empty.

use std::collections::{BTreeMap, HashMap};

use super::reconciler::Key;

/// One value for each object, bounded: beyond the bound the value that was not used for the longest
/// time goes. A namesake with another uid never sees its predecessor's value.
#[derive(Debug)]
pub struct TermCache<V> {
    entries: HashMap<Key, Entry<V>>,
    /// Keys by their last use.
    uses: BTreeMap<u64, Key>,
    tick: u64,
    bound: usize,
}

#[derive(Debug)]
struct Entry<V> {
    uid: String,
    value: V,
    used: u64,
}

impl<V> TermCache<V> {
    /// Remembers nothing. `bound`: most objects to remember, at least 1.
    pub fn new(bound: usize) -> Self {
        Self { entries: HashMap::new(), uses: BTreeMap::new(), tick: 0, bound: bound.max(1) }
    }

    /// What is remembered of the object with this uid. `None`: nothing.
    pub fn get(&mut self, key: &Key, uid: &str) -> Option<&V> {
        self.get_mut(key, uid).map(|value| &*value)
    }

    /// Like [`Self::get`], to change it in place.
    pub fn get_mut(&mut self, key: &Key, uid: &str) -> Option<&mut V> {
        if self.entries.get(key)?.uid != uid {
            self.forget(key);
            return None;
        }
        let used = self.next_tick();
        let entry = self.entries.get_mut(key)?;
        self.uses.remove(&entry.used);
        self.uses.insert(used, key.clone());
        entry.used = used;
        Some(&mut entry.value)
    }

    /// Remembers a value in place of the former one.
    pub fn put(&mut self, key: &Key, uid: &str, value: V) {
        self.forget(key);
        while self.entries.len() >= self.bound {
            let Some((_, oldest)) = self.uses.pop_first() else { break };
            self.entries.remove(&oldest);
        }
        let used = self.next_tick();
        self.uses.insert(used, key.clone());
        self.entries.insert(key.clone(), Entry { uid: uid.to_owned(), value, used });
    }

    /// Remembers nothing of the object any more. Yields what it was.
    pub fn forget(&mut self, key: &Key) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.uses.remove(&entry.used);
        Some(entry.value)
    }

    /// Objects remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn next_tick(&mut self) -> u64 {
        self.tick = self.tick.saturating_add(1);
        self.tick
    }
}
