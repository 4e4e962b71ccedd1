// SPDX-License-Identifier: Apache-2.0
//! The read side of a watch: objects by namespace and name, and notifications of every difference.

use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use crate::clock::{Instant, SharedClock};

use super::{
    super::{
        catch_up::Lists,
        controller::RunError,
        metrics::MalformedCount,
        reconciler::Key,
        tasks::{TaskSet, panic_message},
    },
    contents::{AfterInit, Change, Contents, Item, Stored},
    guarded::Malformed,
};

/// Objects of one watch, shared by everybody who asked for it. Cheap to clone.
///
/// Reads are from memory and never wait. The watch lives as long as a handle does (in a process with
/// warm stores: as long as the process).
pub struct Store<S> {
    handle: Arc<Handle<S>>,
}

/// Everything that keeps a watch going; the last handle to go ends it.
pub(super) struct Handle<S> {
    pub(super) inner: Arc<Inner<S>>,
    pub(super) lists: Lists<S>,
    pub(super) _watch: TaskSet,
}

/// State of a store, shared with its watch.
pub(crate) struct Inner<S> {
    kind: String,
    clock: SharedClock,
    contents: RwLock<Contents<S>>,
    /// Held while a change is made and told, so that everybody hears of changes in one order.
    order: Mutex<()>,
    listeners: Mutex<Listeners<S>>,
    state: watch::Sender<State>,
    /// Told after every change.
    changed: Notify,
    health: Mutex<Option<(Instant, String)>>,
    malformed: MalformedCount,
}

type OnChange<S> = Arc<Mutex<dyn FnMut(Change<S>) + Send>>;
type OnMalformed = Arc<Mutex<dyn FnMut(&Malformed) + Send>>;

struct Listeners<S> {
    next: u64,
    changes: BTreeMap<u64, OnChange<S>>,
    malformed: BTreeMap<u64, OnMalformed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// The first list is complete.
    synced: bool,
    /// Whether the API server serves the kind; `None`: not known yet.
    served: Option<bool>,
}

/// Ends a subscription when it is dropped. A notification that is under way in another task may still
/// come to its end.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    _end: Box<dyn Send + Sync>,
}

struct End<F: Fn()>(F);

impl<F: Fn()> Drop for End<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl<S: Stored> Store<S> {
    pub(super) fn new(handle: Arc<Handle<S>>) -> Self {
        Self { handle }
    }

    pub(super) fn downgrade(&self) -> Weak<Handle<S>> {
        Arc::downgrade(&self.handle)
    }

    /// The object, if there is one.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<S>> {
        self.inner().contents.read().get(namespace, name).cloned()
    }

    /// The object with this key, if there is one.
    pub fn get_key(&self, key: &Key) -> Option<Arc<S>> {
        self.get(&key.namespace, &key.name)
    }

    /// Whether there is an object with this key.
    pub fn contains(&self, key: &Key) -> bool {
        self.inner().contents.read().get(&key.namespace, &key.name).is_some()
    }

    /// All objects, sorted by namespace and name.
    pub fn list(&self) -> Vec<Arc<S>> {
        self.inner().contents.read().iter().cloned().collect()
    }

    /// The objects of one namespace, sorted by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<S>> {
        self.inner().contents.read().iter_in(namespace).cloned().collect()
    }

    /// The objects that a predicate picks, sorted by namespace and name. It must not use the store.
    pub fn list_where(&self, pick: impl Fn(&S) -> bool) -> Vec<Arc<S>> {
        self.inner().contents.read().iter().filter(|object| pick(object)).cloned().collect()
    }

    /// Keys of all objects, sorted.
    pub fn keys(&self) -> Vec<Key> {
        let contents = self.inner().contents.read();
        contents.iter().map(|object| Key::new(object.namespace(), object.name())).collect()
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.inner().contents.read().len()
    }

    /// Whether there is no object. Says nothing before the store [is synced](Self::has_synced).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Objects whose newest version could not be parsed. Their last good version, if any, is still held.
    pub fn malformed(&self) -> Vec<Malformed> {
        self.inner().contents.read().malformed().cloned().collect()
    }

    /// Calls `on_change` for every difference from now on, in order, until the subscription is dropped.
    /// It runs in the watch's task: it must be quick, must not wait, and may read stores.
    pub fn subscribe(&self, on_change: impl FnMut(Change<S>) + Send + 'static) -> Subscription {
        let inner = Arc::clone(self.inner());
        let id = inner.listeners.lock().add(|listeners, id| {
            listeners.changes.insert(id, Arc::new(Mutex::new(on_change)));
        });
        let end = End(move || drop(inner.listeners.lock().changes.remove(&id)));
        Subscription { _end: Box::new(end) }
    }

    /// Calls `on_malformed` for every malformed object that is known already and for every later
    /// malformed version, once. The rules of [`Self::subscribe`] apply.
    pub fn on_malformed(&self, on_malformed: impl FnMut(&Malformed) + Send + 'static) -> Subscription {
        let inner = Arc::clone(self.inner());
        let listener: OnMalformed = Arc::new(Mutex::new(on_malformed));
        let order = inner.order.lock();
        let id = inner.listeners.lock().add(|listeners, id| {
            listeners.malformed.insert(id, Arc::clone(&listener));
        });
        let known = self.malformed();
        for malformed in &known {
            inner.guarded(|| (*listener.lock())(malformed));
        }
        drop(order);
        let end = End(move || drop(inner.listeners.lock().malformed.remove(&id)));
        Subscription { _end: Box::new(end) }
    }

    /// Whether the first list is complete.
    pub fn has_synced(&self) -> bool {
        self.inner().state.borrow().synced
    }

    /// Whether the API server serves the kind. False also while that is not known yet.
    pub fn is_served(&self) -> bool {
        self.inner().state.borrow().served == Some(true)
    }

    /// Waits for the first list.
    ///
    /// # Errors
    /// [`RunError::CacheSync`] with what the API server said last, after `timeout`.
    pub async fn synced(&self, timeout: Duration) -> Result<(), RunError> {
        sync_in_time(&Read::required(self), timeout).await
    }

    /// Since when the watch has failed without a break, and what the API server said last.
    /// `None`: it does not fail, or its kind is not served.
    pub fn failing_since(&self) -> Option<(Instant, String)> {
        self.inner().health.lock().clone()
    }

    fn inner(&self) -> &Arc<Inner<S>> {
        &self.handle.inner
    }
}

/// A store that somebody reads, and whether he can do without it.
#[derive(Clone)]
pub struct Read {
    /// The store.
    pub store: Arc<dyn AnyStore>,
    /// The kind may be absent from the cluster; the store is empty then.
    pub optional: bool,
}

impl Read {
    /// Of a kind that must be served.
    pub fn required<S: Stored>(store: &Store<S>) -> Self {
        Self { store: Arc::new(store.clone()), optional: false }
    }

    /// Of a kind that may be absent.
    pub fn optional<S: Stored>(store: &Store<S>) -> Self {
        Self { store: Arc::new(store.clone()), optional: true }
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
    /// See [`Store::is_served`].
    fn is_served(&self) -> bool;
    /// Whether the API server said that it does not serve the kind.
    fn is_absent(&self) -> bool;
    /// See [`Store::failing_since`].
    fn failing_since(&self) -> Option<(Instant, String)>;
    /// Resolves when the first list is complete; with `optional` also when the kind is not served.
    fn settled(&self, optional: bool) -> BoxFuture<'_, ()>;
    /// Resolves when the store shows everything that was written before the call. See
    /// [`super::super::catch_up`]. Does not fail: it goes on trying, and [`Self::failing_since`] tells.
    fn catch_up(&self, optional: bool) -> BoxFuture<'_, ()>;
    /// One small read from the API server, shared by all who ask within a few seconds. The error says
    /// what went wrong.
    fn probe(&self) -> BoxFuture<'_, Result<(), String>>;
}

impl<S: Stored> AnyStore for Store<S> {
    fn kind(&self) -> &str {
        &self.handle.inner.kind
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.handle).addr()
    }

    fn has_synced(&self) -> bool {
        Self::has_synced(self)
    }

    fn is_served(&self) -> bool {
        Self::is_served(self)
    }

    fn is_absent(&self) -> bool {
        self.inner().state.borrow().served == Some(false)
    }

    fn failing_since(&self) -> Option<(Instant, String)> {
        Self::failing_since(self)
    }

    fn settled(&self, optional: bool) -> BoxFuture<'_, ()> {
        let mut state = self.inner().state.subscribe();
        Box::pin(async move {
            let settled = |state: &State| state.synced || (optional && state.served == Some(false));
            // The sender lives as long as this handle.
            if state.wait_for(settled).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn catch_up(&self, optional: bool) -> BoxFuture<'_, ()> {
        Box::pin(self.handle.lists.catch_up(&self.handle.inner, optional))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.handle.lists.probe())
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

impl<S: Stored> Inner<S> {
    pub(super) fn new(kind: String, clock: SharedClock, malformed: MalformedCount) -> Self {
        let listeners = Listeners { next: 0, changes: BTreeMap::new(), malformed: BTreeMap::new() };
        Self {
            kind,
            clock,
            contents: RwLock::new(Contents::new()),
            order: Mutex::new(()),
            listeners: Mutex::new(listeners),
            state: watch::Sender::new(State { synced: false, served: None }),
            changed: Notify::new(),
            health: Mutex::new(None),
            malformed,
        }
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Contents<S>) -> T) -> T {
        read(&self.contents.read())
    }

    /// The watch begins to list.
    pub(super) fn begin(&self) {
        self.contents.write().begin();
    }

    /// Takes in one object through `apply` and tells everybody.
    pub(crate) fn take_in(
        &self,
        item: Item<S>,
        apply: impl FnOnce(&mut Contents<S>, Item<S>) -> Option<Change<S>>,
    ) {
        let order = self.order.lock();
        let malformed = item.as_ref().err().cloned();
        let news = malformed.filter(|malformed| {
            self.read(|contents| {
                contents.version_of(&malformed.namespace, &malformed.name) != Some(&*malformed.version)
            })
        });
        let change = apply(&mut self.contents.write(), item);
        self.tell(change);
        if let Some(malformed) = news {
            self.tell_malformed(&malformed);
        }
        drop(order);
    }

    /// Makes many changes at once and tells everybody.
    pub(crate) fn change_all(&self, change: impl FnOnce(&mut Contents<S>) -> Vec<Change<S>>) {
        let order = self.order.lock();
        let changes = change(&mut self.contents.write());
        self.tell(changes);
        drop(order);
    }

    /// The watch's list is complete.
    pub(super) fn init_done(&self) -> AfterInit {
        let mut after = AfterInit::Watch;
        self.change_all(|contents| {
            let (changes, then) = contents.init_done();
            after = then;
            changes
        });
        self.state.send_if_modified(|state| {
            let new = State { synced: true, served: Some(true) };
            std::mem::replace(state, new) != new
        });
        after
    }

    /// The kind is not served: there are no objects, and waiting is no failure.
    pub(super) fn not_served(&self) {
        self.change_all(Contents::clear);
        self.healthy();
        self.state.send_if_modified(|state| {
            let new = State { synced: false, served: Some(false) };
            std::mem::replace(state, new) != new
        });
    }

    /// The API server answered the watch.
    pub(super) fn healthy(&self) {
        *self.health.lock() = None;
    }

    /// The watch failed. Logged once per change of cause.
    pub(crate) fn failed(&self, cause: String) {
        let now = self.clock.instant();
        let mut health = self.health.lock();
        let since = health.as_ref().map_or(now, |(since, _)| *since);
        let news = health.as_ref().is_none_or(|(_, known)| *known != cause);
        if news {
            warn!(kind = self.kind, error = cause, "watch failed");
        }
        *health = Some((since, cause));
    }

    fn tell(&self, changes: impl IntoIterator<Item = Change<S>>) {
        // Called without the lock on the list of listeners, so that one may end its subscription.
        let listeners: Vec<OnChange<S>> = self.listeners.lock().changes.values().cloned().collect();
        for change in changes {
            for listener in &listeners {
                self.guarded(|| (*listener.lock())(change.clone()));
            }
        }
        self.changed.notify_waiters();
    }

    fn tell_malformed(&self, malformed: &Malformed) {
        self.malformed.add();
        warn!(
            kind = self.kind,
            namespace = malformed.namespace,
            name = malformed.name,
            error = malformed.error,
            "malformed object skipped"
        );
        let listeners: Vec<OnMalformed> = self.listeners.lock().malformed.values().cloned().collect();
        for listener in &listeners {
            self.guarded(|| (*listener.lock())(malformed));
        }
    }

    /// A listener that panics must not take the watch of everybody else with it.
    fn guarded(&self, listener: impl FnOnce()) {
        if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(listener)) {
            let message = panic_message(panic.as_ref());
            error!(
                kind = self.kind,
                error = format!("panic: {message} [recovered]"),
                "listener of a watch failed"
            );
        }
    }
}

impl<S> Listeners<S> {
    fn add(&mut self, add: impl FnOnce(&mut Self, u64)) -> u64 {
        self.next = self.next.saturating_add(1);
        let id = self.next;
        add(self, id);
        id
    }
}

impl<S> Clone for Store<S> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<S> fmt::Debug for Store<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.handle.inner.kind).finish()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}
