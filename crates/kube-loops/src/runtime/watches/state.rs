// SPDX-License-Identifier: Apache-2.0
//! State of a store: written by its watch, read by its handles, with the listeners for changes.

use std::{collections::BTreeMap, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use crate::metrics::families::IntCounter;
use kube_fenced_election::clock::{Instant, SharedClock};

use super::{
    super::tasks::panic_message,
    cache::{AfterInit, Cache, Change, Item, Stored},
    deserialize_guard::Malformed,
    index::Index,
};

/// State of a store, shared with its watch.
pub(crate) struct Inner<S> {
    pub(super) kind: String,
    clock: SharedClock,
    cache: RwLock<Cache<S>>,
    /// Held while a change is made and delivered, so that all listeners get changes in one order.
    order: Mutex<()>,
    listeners: Mutex<Listeners<S>>,
    state: watch::Sender<State>,
    /// The watch has broken, and it is not known whether the API server still has what the store shows.
    doubted: watch::Sender<bool>,
    /// Told after every change.
    changed: Notify,
    health: Mutex<Health>,
    malformed: IntCounter,
    rewritten: IntCounter,
}

/// Whether a watch works.
#[derive(Debug, Default)]
struct Health {
    /// Since when it has failed without a break, and why.
    failing: Option<(Instant, String)>,
    /// When the API server sent something last. `None`: the watch has failed since, or the kind is not served.
    heard: Option<Instant>,
}

pub(super) type OnChange<S> = Arc<Mutex<dyn FnMut(Change<S>) + Send>>;
pub(super) type OnServed = Arc<Mutex<dyn FnMut() + Send>>;
pub(super) type OnMalformed = Arc<Mutex<dyn FnMut(&Malformed) + Send>>;

struct Listeners<S> {
    next: u64,
    changes: BTreeMap<u64, OnChange<S>>,
    served: BTreeMap<u64, OnServed>,
    malformed: BTreeMap<u64, OnMalformed>,
}

/// How far a watch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// The first list is complete.
    pub(super) synced: bool,
    /// Whether the API server serves the kind; `None`: not known yet.
    pub(super) served: Option<bool>,
}

impl<S: Stored> Inner<S> {
    pub(super) fn new(
        kind: String,
        clock: SharedClock,
        malformed: IntCounter,
        rewritten: IntCounter,
    ) -> Self {
        Self {
            kind,
            clock,
            cache: RwLock::new(Cache::new()),
            order: Mutex::new(()),
            listeners: Mutex::default(),
            state: watch::Sender::new(State { synced: false, served: None }),
            doubted: watch::Sender::new(false),
            changed: Notify::new(),
            health: Mutex::default(),
            malformed,
            rewritten,
        }
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// See [`super::AnyStore::settled`].
    pub(super) async fn settled(&self, optional: bool) {
        let settled = |state: &State| state.synced || (optional && state.served == Some(false));
        // The sender is part of this state, so it cannot go while this waits.
        if self.state.subscribe().wait_for(settled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// See [`super::Store::failing_since`].
    pub(super) fn failing_since(&self) -> Option<(Instant, String)> {
        self.health.lock().failing.clone()
    }

    /// See [`super::Store::subscribe`].
    pub(super) fn listen(self: &Arc<Self>, listener: &OnChange<S>) -> Subscription {
        let inner = Arc::clone(self);
        let id = inner.listeners.lock().add(|listeners, id| {
            listeners.changes.insert(id, Arc::clone(listener));
        });
        let end = End(move || drop(inner.listeners.lock().changes.remove(&id)));
        Subscription { ends: vec![Box::new(end)] }
    }

    /// See [`super::Store::on_served`].
    pub(super) fn listen_to_served(self: &Arc<Self>, listener: &OnServed) -> Subscription {
        let inner = Arc::clone(self);
        let id = inner.listeners.lock().add(|listeners, id| {
            listeners.served.insert(id, Arc::clone(listener));
        });
        let end = End(move || drop(inner.listeners.lock().served.remove(&id)));
        Subscription { ends: vec![Box::new(end)] }
    }

    /// See [`super::Store::on_malformed`].
    pub(super) fn listen_to_malformed(self: &Arc<Self>, listener: &OnMalformed) -> Subscription {
        let inner = Arc::clone(self);
        let order = inner.order.lock();
        let id = inner.listeners.lock().add(|listeners, id| {
            listeners.malformed.insert(id, Arc::clone(listener));
        });
        let known: Vec<Malformed> = inner.read(|cache| cache.malformed().cloned().collect());
        for malformed in &known {
            inner.guarded(|| (*listener.lock())(malformed));
        }
        drop(order);
        let end = End(move || drop(inner.listeners.lock().malformed.remove(&id)));
        Subscription { ends: vec![Box::new(end)] }
    }

    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Cache<S>) -> T) -> T {
        read(&self.cache.read())
    }

    /// See [`super::WatchSpec::indexed`].
    pub(super) fn add_indexes(&self, indexes: &[Index<S>]) {
        if !indexes.is_empty() {
            let mut contents = self.cache.write();
            for index in indexes {
                contents.add_index(*index);
            }
        }
    }

    /// The watch begins to list.
    pub(super) fn begin(&self) {
        self.cache.write().begin();
    }

    /// Applies one object and notifies all listeners.
    pub(crate) fn apply(
        &self,
        item: Item<S>,
        apply: impl FnOnce(&mut Cache<S>, Item<S>) -> Option<Change<S>>,
    ) {
        let order = self.order.lock();
        let malformed = item.as_ref().err().cloned();
        let news = malformed.filter(|malformed| {
            self.read(|cache| {
                cache.version_of(&malformed.namespace, &malformed.name) != Some(&*malformed.version)
            })
        });
        let (change, rewritten) = {
            let mut cache = self.cache.write();
            let before = cache.is_rewritten();
            (apply(&mut cache, item), cache.is_rewritten() && !before)
        };
        if rewritten {
            self.report_rewritten();
        }
        self.notify(change);
        if let Some(malformed) = news {
            self.notify_malformed(&malformed);
        }
        drop(order);
    }

    /// Makes many changes at once and notifies all listeners.
    pub(crate) fn change_all(&self, change: impl FnOnce(&mut Cache<S>) -> Vec<Change<S>>) {
        let order = self.order.lock();
        let changes = change(&mut self.cache.write());
        self.notify(changes);
        drop(order);
    }

    /// The watch's list is complete.
    pub(super) fn init_done(&self) -> AfterInit {
        let mut after = AfterInit::Watch;
        self.change_all(|cache| {
            let (changes, then) = cache.init_done();
            after = then;
            changes
        });
        if after == AfterInit::Watch {
            self.doubt(false);
        }
        let came_into_sight = self.state.send_if_modified(|state| {
            let new = State { synced: true, served: Some(true) };
            std::mem::replace(state, new) != new
        });
        if came_into_sight {
            let listeners: Vec<OnServed> = self.listeners.lock().served.values().cloned().collect();
            for listener in &listeners {
                self.guarded(|| (*listener.lock())());
            }
        }
        after
    }

    /// The kind is not served: there are no objects, and waiting is no failure.
    pub(super) fn not_served(&self) {
        // First, so that a listener for a vanished object can read that the kind is not served.
        self.state.send_if_modified(|state| {
            let new = State { synced: false, served: Some(false) };
            std::mem::replace(state, new) != new
        });
        self.change_all(Cache::clear);
        *self.health.lock() = Health::default();
        self.doubt(false);
    }

    /// Sets whether what the store shows may not exist any more. Before the first list nothing is shown.
    pub(super) fn doubt(&self, doubted: bool) {
        let doubted = doubted && self.state().synced;
        self.doubted.send_if_modified(|it| std::mem::replace(it, doubted) != doubted);
    }

    /// See [`super::AnyStore::trusted`].
    pub(super) async fn trusted(&self) {
        // The sender is part of this state, so it cannot go while this waits.
        drop(self.doubted.subscribe().wait_for(|doubted| !doubted).await);
    }

    /// The API server answered the watch, or sent more of its answer.
    pub(crate) fn healthy(&self) {
        *self.health.lock() = Health { failing: None, heard: Some(self.clock.instant()) };
    }

    /// The watch failed. Logged once per change of cause.
    pub(crate) fn failed(&self, cause: String) {
        let now = self.clock.instant();
        let mut health = self.health.lock();
        let since = health.failing.as_ref().map_or(now, |(since, _)| *since);
        let news = health.failing.as_ref().is_none_or(|(_, known)| *known != cause);
        if news {
            warn!(kind = self.kind, error = cause, "watch failed");
        }
        *health = Health { failing: Some((since, cause)), heard: None };
    }

    /// The server went back to an earlier state: see [`Cache::rewritten`]. Said once until a list is complete.
    pub(crate) fn history_rewritten(&self) {
        let mut cache = self.cache.write();
        if !cache.is_rewritten() {
            cache.rewritten();
            self.report_rewritten();
        }
    }

    /// How often the server went back to an earlier state.
    pub(super) fn times_rewritten(&self) -> u64 {
        self.rewritten.get()
    }

    fn report_rewritten(&self) {
        self.rewritten.inc();
        warn!(
            kind = self.kind,
            "the API server shows an older state than before, as after a restore of its storage; the store follows it"
        );
    }

    /// Whether the watch has been silent for so long: it may hang, or nothing may have happened.
    pub(crate) fn is_silent(&self, at_least: Duration) -> bool {
        let heard = self.health.lock().heard;
        heard.is_some_and(|heard| self.clock.instant().saturating_duration_since(heard) >= at_least)
    }

    fn notify(&self, changes: impl IntoIterator<Item = Change<S>>) {
        // Called without the lock on the list of listeners, so that one may end its subscription.
        let listeners: Vec<OnChange<S>> = self.listeners.lock().changes.values().cloned().collect();
        for change in changes {
            for listener in &listeners {
                self.guarded(|| (*listener.lock())(change.clone()));
            }
        }
        self.changed.notify_waiters();
    }

    fn notify_malformed(&self, malformed: &Malformed) {
        self.malformed.inc();
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

impl<S> Default for Listeners<S> {
    fn default() -> Self {
        let (changes, served, malformed) = Default::default();
        Self { next: 0, changes, served, malformed }
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

/// Ends a subscription when it is dropped. A notification that is under way in another task may still
/// come to its end.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    /// They act when they are dropped.
    ends: Vec<Box<dyn Send + Sync>>,
}

impl FromIterator<Self> for Subscription {
    fn from_iter<T: IntoIterator<Item = Self>>(subscriptions: T) -> Self {
        Self { ends: subscriptions.into_iter().flat_map(|it| it.ends).collect() }
    }
}

struct End<F: Fn()>(F);

impl<F: Fn()> Drop for End<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("ends", &self.ends.len()).finish()
    }
}
