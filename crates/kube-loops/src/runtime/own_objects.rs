// SPDX-License-Identifier: Apache-2.0
//! The objects that a loop is about, never older than the loop's own last write of them.
//!
//! A store shows a write a moment after it was answered. A pass that follows at once and starts from less would be
//! refused, or do the same thing twice.

use std::{fmt::Debug, num::NonZeroUsize, sync::Arc};

use kube::{
    Resource,
    core::{NamespaceResourceScope, object::HasStatus},
};
use lru::LruCache;
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};

use crate::cluster::{status::same, writer::Writer};

use super::{
    reconciler::Key,
    steps::StepError,
    watches::{Store, Stored, version},
};

/// Most own writes that are kept. One that is gone before the store shows it costs a pass that is refused.
pub(super) const WRITES: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// A store with the own writes that it does not show yet. Kept for one term.
#[derive(Debug)]
pub struct OwnObjects<K> {
    store: Store<K>,
    written: Mutex<Written<K>>,
}

#[derive(Debug)]
struct Written<K> {
    by_key: LruCache<Key, Arc<K>>,
    /// How often the API server had gone back to an earlier state when they were written.
    rewritten: u64,
}

impl<K> Written<K> {
    /// The writes, none from before the API server went back to an earlier state.
    fn since(&mut self, rewritten: u64) -> &mut LruCache<Key, Arc<K>> {
        if std::mem::replace(&mut self.rewritten, rewritten) != rewritten {
            self.by_key.clear();
        }
        &mut self.by_key
    }
}

impl<K: Stored + Resource> OwnObjects<K> {
    /// Nothing has been written yet.
    pub fn new(store: Store<K>) -> Self {
        // Made with its bound, the cache would have room for all of them from the beginning.
        let mut by_key = LruCache::unbounded();
        by_key.resize(WRITES);
        let rewritten = store.times_rewritten();
        Self { store, written: Mutex::new(Written { by_key, rewritten }) }
    }

    /// The object, as the store shows it or as we wrote it last, whichever is newer. `None`: the store has none.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        let mut written = self.written.lock();
        let written = written.since(self.store.times_rewritten());
        let Some(shown) = self.store.get_key(key) else {
            written.pop(key);
            return None;
        };
        Some(newest(written, key, shown))
    }

    /// The objects of one namespace, each as [`Self::get`] has it, sorted by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let shown = self.store.list_in(namespace);
        let mut written = self.written.lock();
        let written = written.since(self.store.times_rewritten());
        if written.is_empty() {
            return shown;
        }
        let newest = |object: Arc<K>| {
            let key = Key::new(namespace, object.name());
            newest(written, &key, object)
        };
        shown.into_iter().map(newest).collect()
    }

    /// A write was answered with this.
    pub fn wrote(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        let key = Key::new(object.namespace(), object.name());
        self.written.lock().by_key.put(key, Arc::clone(&object));
        object
    }

    /// The key stands for nothing any more.
    pub fn forget(&self, key: &Key) {
        self.written.lock().by_key.pop(key);
    }
}

fn newest<K: Stored + Resource>(written: &mut LruCache<Key, Arc<K>>, key: &Key, shown: Arc<K>) -> Arc<K> {
    let Some(ours) = written.peek(key) else { return shown };
    if ours.meta().uid == shown.meta().uid && version::before(shown.version(), ours.version()) {
        return Arc::clone(ours);
    }
    written.pop(key);
    shown
}

impl<K> OwnObjects<K>
where
    K: Stored
        + Resource<Scope = NamespaceResourceScope>
        + HasStatus
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
    K::DynamicType: Default,
    K::Status: Serialize,
{
    /// Stores a status in place of that of `object`, of which only this version may be replaced. Answers with what is
    /// stored then. Sends nothing when it is stored already, times compared at one second.
    ///
    /// # Errors
    /// [`StepError`]; after a conflict the store will show what is so.
    pub async fn replace_status(
        &self,
        writer: &Writer,
        object: &Arc<K>,
        status: K::Status,
    ) -> Result<Arc<K>, StepError> {
        let status = Some(status);
        if same(&object.status(), &status.as_ref()) {
            return Ok(Arc::clone(object));
        }
        let mut wanted = K::clone(object);
        *wanted.status_mut() = status;
        let stored = writer.replace_status(&wanted).await;
        stored.map(|stored| self.wrote(stored)).map_err(|error| StepError::new("write the status", error))
    }
}
