// SPDX-License-Identifier: Apache-2.0
//! What a loop remembers of its objects for one term. Pure; whoever shares it brings the lock.
//!
//! Only for what may be lost: a restart or a takeover starts empty.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::reconciler::Key;

/// One value for each object, bounded: beyond the bound the value that was not used for the longest
/// time goes. A namesake with another uid never sees its predecessor's value.
#[derive(Debug)]
pub(crate) struct TermCache<V> {
    /// The uid beside each value.
    entries: LruCache<Key, (String, V)>,
}

impl<V> TermCache<V> {
    /// Remembers nothing. `bound`: most objects to remember, at least 1.
    pub(crate) fn new(bound: usize) -> Self {
        // Made with its bound, the cache would have room for all of them from the beginning.
        let mut entries = LruCache::unbounded();
        entries.resize(NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN));
        Self { entries }
    }

    /// What is remembered of the object with this uid. `None`: nothing.
    pub(crate) fn get(&mut self, key: &Key, uid: &str) -> Option<&V> {
        self.get_mut(key, uid).map(|value| &*value)
    }

    /// Like [`Self::get`], to change it in place.
    pub(crate) fn get_mut(&mut self, key: &Key, uid: &str) -> Option<&mut V> {
        if self.entries.peek(key)?.0 != uid {
            self.forget(key);
            return None;
        }
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// Remembers a value in place of the former one.
    pub(crate) fn put(&mut self, key: &Key, uid: &str, value: V) {
        self.entries.put(key.clone(), (uid.to_owned(), value));
    }

    /// Remembers nothing of the object any more. Yields what it was.
    pub(crate) fn forget(&mut self, key: &Key) -> Option<V> {
        self.entries.pop(key).map(|(_, value)| value)
    }

    /// Objects remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
