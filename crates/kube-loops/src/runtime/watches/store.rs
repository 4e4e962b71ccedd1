// SPDX-License-Identifier: Apache-2.0
//! The read side of a watch: objects by namespace and name, and notifications of every difference.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::{BoxFuture, try_join_all};
use parking_lot::Mutex;

use crate::k8s::selector::Selector;
use kube_fenced_election::clock::Instant;

use super::{
    super::{catch_up::Lists, controller::RunError, reconciler::Key, tasks::TaskSet},
    cache::{Cache, Change, Stored},
    deserialize_guard::Malformed,
    index::{Index, Labelled},
    state::{Inner, OnChange, OnMalformed, OnServed, Subscription},
};

/// Objects of one watch, shared by everybody who asked for it. Cheap to clone.
///
/// Reads are from memory and never wait. The watch lives as long as a handle does (in a process with
/// warm stores: as long as the process). Where the process watches some namespaces only, it is one watch for each.
pub struct Store<S> {
    /// In order of namespace.
    parts: Arc<[Part<S>]>,
}

/// What one watch shows.
pub(super) struct Part<S> {
    /// Where it watches; `None`: everywhere.
    pub(super) namespace: Option<String>,
    pub(super) handle: Arc<Handle<S>>,
}

/// Everything that keeps a watch going; the last handle to go ends it.
pub(super) struct Handle<S> {
    pub(super) inner: Arc<Inner<S>>,
    pub(super) lists: Lists<S>,
    pub(super) _watch: TaskSet,
}

impl<S: Stored> Store<S> {
    pub(super) fn new(parts: Arc<[Part<S>]>) -> Self {
        Self { parts }
    }

    /// The object, if there is one.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<S>> {
        self.part(namespace)?.read(|cache| cache.get(namespace, name).cloned())
    }

    /// The object with this key, if there is one.
    pub fn get_key(&self, key: &Key) -> Option<Arc<S>> {
        self.get(&key.namespace, &key.name)
    }

    /// Whether there is an object with this key.
    pub fn contains(&self, key: &Key) -> bool {
        self.get_key(key).is_some()
    }

    /// All objects, sorted by namespace and name.
    pub fn list(&self) -> Vec<Arc<S>> {
        self.collect(|cache| cache.iter().cloned().collect())
    }

    /// The objects of one namespace, sorted by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<S>> {
        self.collect_in(namespace, |cache| cache.iter_in(namespace).cloned().collect())
    }

    /// The objects that a predicate picks, sorted by namespace and name. It must not use the store.
    pub fn list_where(&self, pick: impl Fn(&S) -> bool) -> Vec<Arc<S>> {
        self.collect(|cache| cache.iter().filter(|object| pick(object)).cloned().collect())
    }

    /// The objects with this key of an index, sorted by namespace and name. The index must have been asked for with
    /// the watch ([`super::WatchSpec::indexed`]); otherwise every object is looked at.
    pub fn by_index(&self, index: &Index<S>, key: &str) -> Vec<Arc<S>> {
        self.collect(|cache| cache.find(index, None, key))
    }

    /// Those of [`Self::by_index`] in one namespace, sorted by name.
    pub fn by_index_in(&self, namespace: &str, index: &Index<S>, key: &str) -> Vec<Arc<S>> {
        self.collect_in(namespace, |cache| cache.find(index, Some(namespace), key))
    }

    /// The objects of a namespace that the selector matches, sorted by name. Looks only at those with the rarest of
    /// the label values that the selector asks for and that are indexed ([`Index::label`]); without any at the whole
    /// namespace.
    pub fn select(&self, namespace: &str, selector: &Selector) -> Vec<Arc<S>>
    where
        S: Labelled,
    {
        self.collect_in(namespace, |cache| cache.select(namespace, selector))
    }

    /// Keys of all objects, sorted.
    pub fn keys(&self) -> Vec<Key> {
        let key = |object: &Arc<S>| Key::new(object.namespace(), object.name());
        self.collect(|cache| cache.iter().map(key).collect())
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.parts().map(|part| part.read(Cache::len)).sum()
    }

    /// Whether there is no object. Says nothing before the store [is synced](Self::has_synced).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `on_change` for every difference from now on, in order, until the subscription is dropped.
    /// It runs in the watch's task: it must be quick, must not wait, and may read stores.
    pub fn subscribe(&self, on_change: impl FnMut(Change<S>) + Send + 'static) -> Subscription {
        let listener: OnChange<S> = Arc::new(Mutex::new(on_change));
        self.parts().map(|part| part.listen(&listener)).collect()
    }

    /// Calls `on_served` each time the kind comes (back) into sight from now on, once its first list is complete; where
    /// there are several watches, once for each. The rules of [`Self::subscribe`] apply.
    pub fn on_served(&self, on_served: impl FnMut() + Send + 'static) -> Subscription {
        let listener: OnServed = Arc::new(Mutex::new(on_served));
        self.parts().map(|part| part.listen_to_served(&listener)).collect()
    }

    /// Calls `on_malformed` for every malformed object that is known already and for every later
    /// malformed version, once. The rules of [`Self::subscribe`] apply.
    pub fn on_malformed(&self, on_malformed: impl FnMut(&Malformed) + Send + 'static) -> Subscription {
        let listener: OnMalformed = Arc::new(Mutex::new(on_malformed));
        self.parts().map(|part| part.listen_to_malformed(&listener)).collect()
    }

    /// Whether the first list is complete.
    pub fn has_synced(&self) -> bool {
        self.parts().all(|part| part.state().synced)
    }

    /// Whether the API server serves the kind. False also while that is not known yet.
    pub fn is_served(&self) -> bool {
        self.parts().all(|part| part.state().served == Some(true))
    }

    /// Waits for the first list.
    ///
    /// # Errors
    /// [`RunError::CacheSync`] with what the API server said last, after `timeout`.
    pub async fn synced(&self, timeout: Duration) -> Result<(), RunError> {
        let reads = Read::required(self);
        try_join_all(reads.iter().map(|read| sync_in_time(read, timeout))).await?;
        Ok(())
    }

    /// Since when the watch has failed without a break, and what the API server said last.
    /// `None`: it does not fail, or its kind is not served.
    pub fn failing_since(&self) -> Option<(Instant, String)> {
        self.parts().filter_map(|part| part.failing_since()).min()
    }

    /// How often the API server went back to an earlier state: what was read or written before counts no more.
    pub(crate) fn times_rewritten(&self) -> u64 {
        // All parts count with the counter of the kind.
        self.parts().map(|part| part.times_rewritten()).max().unwrap_or(0)
    }

    pub(super) fn add_indexes(&self, indexes: &[Index<S>]) {
        self.parts().for_each(|part| part.add_indexes(indexes));
    }

    fn collect<T>(&self, read: impl Fn(&Cache<S>) -> Vec<T>) -> Vec<T> {
        self.parts().flat_map(|part| part.read(&read)).collect()
    }

    fn collect_in<T>(&self, namespace: &str, read: impl FnOnce(&Cache<S>) -> Vec<T>) -> Vec<T> {
        self.part(namespace).map_or_else(Vec::new, |part| part.read(read))
    }

    fn parts(&self) -> impl Iterator<Item = &Arc<Inner<S>>> {
        self.parts.iter().map(|part| &part.handle.inner)
    }

    /// The part that shows the objects of a namespace.
    fn part(&self, namespace: &str) -> Option<&Arc<Inner<S>>> {
        let shows = |part: &&Part<S>| part.namespace.as_deref().is_none_or(|it| it == namespace);
        self.parts.iter().find(shows).map(|part| &part.handle.inner)
    }
}

/// A watch that somebody reads from, and whether he can do without it.
#[derive(Clone)]
pub struct Read {
    /// The store, or the part of it that shows one namespace.
    pub store: Arc<dyn AnyStore>,
    /// The kind may be absent from the cluster; the store is empty then.
    pub optional: bool,
}

impl Read {
    /// The parts of a store of a kind that must be served.
    pub fn required<S: Stored>(store: &Store<S>) -> Vec<Self> {
        Self::of(store, false)
    }

    /// The parts of a store of a kind that may be absent.
    pub fn optional<S: Stored>(store: &Store<S>) -> Vec<Self> {
        Self::of(store, true)
    }

    fn of<S: Stored>(store: &Store<S>, optional: bool) -> Vec<Self> {
        let read = |part: &Part<S>| Self { store: Arc::<Handle<S>>::clone(&part.handle), optional };
        store.parts.iter().map(read).collect()
    }

    /// Group, empty for the core group, and plural of the kind. A plural contains no dot.
    pub(crate) fn group_resource(&self) -> (&str, &str) {
        let kind = self.store.kind();
        kind.split_once('.').map_or(("", kind), |(plural, group)| (group, plural))
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.store.kind();
        f.debug_struct("Read").field("kind", &kind).field("optional", &self.optional).finish()
    }
}

/// A store of any type, for what waits and watches over many.
pub trait AnyStore: Send + Sync {
    /// Plural and group of the kind.
    fn kind(&self) -> &str;
    /// The same for all handles of one store.
    fn id(&self) -> usize;
    /// See [`Store::has_synced`].
    fn has_synced(&self) -> bool;
    /// Whether the API server said that it does not serve the kind.
    fn is_absent(&self) -> bool;
    /// See [`Store::failing_since`].
    fn failing_since(&self) -> Option<(Instant, String)>;
    /// Resolves when the first list is complete; with `optional` also when the kind is not served.
    fn settled(&self, optional: bool) -> BoxFuture<'_, ()>;
    /// Resolves when the store shows everything that was written before the call. Does not fail: it goes on trying, and
    /// [`Self::failing_since`] tells.
    fn catch_up(&self, optional: bool) -> BoxFuture<'_, ()>;
    /// One small read from the API server, shared by all who ask within a few seconds. The error says
    /// what went wrong.
    fn probe(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Finds out whether a watch that has been silent for long hangs, which [`Self::failing_since`] tells then. Asks
    /// nothing of one that has not been.
    fn check_silence(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    /// Resolves when the watch has not broken, or has been seen since to go on where it was: until then the API server
    /// may have gone back to a state in which what the store shows does not exist.
    fn trusted(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl<S: Stored> AnyStore for Handle<S> {
    fn kind(&self) -> &str {
        self.inner.kind()
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn has_synced(&self) -> bool {
        self.inner.state().synced
    }

    fn is_absent(&self) -> bool {
        self.inner.state().served == Some(false)
    }

    fn failing_since(&self) -> Option<(Instant, String)> {
        self.inner.failing_since()
    }

    fn settled(&self, optional: bool) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.settled(optional))
    }

    fn catch_up(&self, optional: bool) -> BoxFuture<'_, ()> {
        Box::pin(self.lists.catch_up(&self.inner, optional))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.lists.probe())
    }

    fn check_silence(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.lists.check_silence(&self.inner))
    }

    fn trusted(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.trusted())
    }
}

/// Waits for the first list of a store.
pub(crate) async fn sync_in_time(read: &Read, timeout: Duration) -> Result<(), RunError> {
    let Read { store, optional } = read;
    if tokio::time::timeout(timeout, store.settled(*optional)).await.is_ok() {
        return Ok(());
    }
    let cause = match store.failing_since() {
        Some((_, cause)) => cause,
        None if store.is_absent() => "the kind is not served".to_owned(),
        None => "the API server did not deliver the first list in time".to_owned(),
    };
    Err(RunError::CacheSync { kind: store.kind().to_owned(), cause })
}

impl<S> Clone for Store<S> {
    fn clone(&self) -> Self {
        Self { parts: Arc::clone(&self.parts) }
    }
}

impl<S> fmt::Debug for Store<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|part| (&part.handle.inner.kind, &part.namespace));
        f.debug_map().entries(parts).finish()
    }
}
