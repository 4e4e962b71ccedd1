// SPDX-License-Identifier: Apache-2.0
//! What a loop reads, said once: from it follow the watches of a standby, what a new leader catches up with, what is
//! queued by which change, and whose health counts.

use std::{fmt, sync::Arc};

use kube::core::ApiResource;

use crate::cluster::events::Recorder;
use kube_fenced_election::clock::SharedClock;

use super::super::{
    children::{Children, parents_of},
    queue::Enqueue,
    reconciler::Key,
    watches::{Change, Index, Keep, Owned, Read, Store, Stored, Subscription, WatchSpec, Watched, Watches},
};

/// The stores of a loop. Each call opens one and says what its changes mean; the watch is shared with everybody who
/// asked for the same.
pub struct Sources<'a> {
    watches: &'a Watches,
    declared: Declared,
}

/// What was declared.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) reads: Vec<Read>,
    pub(super) triggers: Vec<Trigger>,
    keys: Vec<Keys>,
    exists: Vec<Exists>,
}

/// Begins to queue keys, once the term has caught up.
pub(super) type Trigger = Box<dyn FnOnce(&Enqueue, &Recorder) -> Subscription + Send>;
/// Lists all keys.
pub(super) type AllKeys = Arc<dyn Fn() -> Vec<Key> + Send + Sync>;
/// Whether a key stands for something.
pub(super) type KeyExists = Arc<dyn Fn(&Key) -> bool + Send + Sync>;
type Keys = Box<dyn Fn() -> Vec<Key> + Send + Sync>;
type Exists = Box<dyn Fn(&Key) -> bool + Send + Sync>;

impl<'a> Sources<'a> {
    /// Nothing is declared yet.
    pub fn new(watches: &'a Watches) -> Self {
        Self { watches, declared: Declared::default() }
    }

    /// Clock of the process.
    pub fn clock(&self) -> &SharedClock {
        self.watches.clock()
    }

    pub(super) fn declared(self) -> Declared {
        self.declared
    }

    /// The objects that the loop is about: every change of one queues its key, and so do the start of the term, each
    /// period, and about every ten hours. One that cannot be read gets an event that says so.
    pub fn primary<K: Watched, S: Stored>(&mut self, spec: WatchSpec<K, S>) -> Store<S> {
        self.primary_when(spec, |_, _| true)
    }

    /// Like [`Self::primary`], but an update (old, new) queues its key only if it is worth a pass. Objects that appear
    /// or go always are.
    pub fn primary_when<K: Watched, S: Stored>(
        &mut self,
        spec: WatchSpec<K, S>,
        worth_a_pass: impl Fn(&S, &S) -> bool + Send + Sync + 'static,
    ) -> Store<S> {
        let store = self.trigger(spec, move |change| match (&change.old, &change.new) {
            (Some(old), Some(new)) if !worth_a_pass(old, new) => Vec::new(),
            _ => vec![change.key()],
        });
        let (keys, exists, malformed) = (store.clone(), store.clone(), store.clone());
        self.keyed(move || keys.keys(), move |key| exists.contains(key));
        self.declared.triggers.push(Box::new(move |_, recorder| {
            let recorder = recorder.clone();
            malformed.on_malformed(move |object| recorder.publish(object.event()))
        }));
        store
    }

    /// For a loop whose keys are not the objects of one store: `keys` lists them all, `exists` tells whether one still
    /// stands for something (if not, it is forgotten after its pass). May be called more than once: the keys add up,
    /// and a key exists if any says so.
    pub fn keyed(
        &mut self,
        keys: impl Fn() -> Vec<Key> + Send + Sync + 'static,
        exists: impl Fn(&Key) -> bool + Send + Sync + 'static,
    ) {
        self.declared.keys.push(Box::new(keys));
        self.declared.exists.push(Box::new(exists));
    }

    /// A store that passes read, whose changes queue nothing.
    pub fn reads<K: Watched, S: Stored>(&mut self, spec: WatchSpec<K, S>) -> Store<S> {
        let store = self.watches.store(spec);
        self.declared.reads.extend(Read::required(&store));
        store
    }

    /// Like [`Self::reads`], of a kind that may be absent from the cluster: the store is empty then.
    pub fn reads_if_served<K: Watched, S: Stored>(&mut self, spec: WatchSpec<K, S>) -> Store<S> {
        let store = self.watches.store(spec);
        self.declared.reads.extend(Read::optional(&store));
        store
    }

    /// A store of which every change queues the keys that `keys` yields for it, and which passes read. `keys` runs in
    /// the watch's task: it must be quick.
    pub fn trigger<K: Watched, S: Stored>(
        &mut self,
        spec: WatchSpec<K, S>,
        keys: impl Fn(&Change<S>) -> Vec<Key> + Send + 'static,
    ) -> Store<S> {
        let store = self.reads(spec);
        self.triggered(&store, keys);
        store
    }

    /// Like [`Self::trigger`], of a kind that may be absent from the cluster.
    pub fn trigger_if_served<K: Watched, S: Stored>(
        &mut self,
        spec: WatchSpec<K, S>,
        keys: impl Fn(&Change<S>) -> Vec<Key> + Send + 'static,
    ) -> Store<S> {
        let store = self.reads_if_served(spec);
        self.triggered(&store, keys);
        store
    }

    /// Objects that the loop makes: every change of one queues the object of the kind `group`, `kind` that controls it,
    /// or did before.
    pub fn owns<K, S>(
        &mut self,
        spec: WatchSpec<K, S>,
        group: &'static str,
        kind: &'static str,
    ) -> Children<K, S>
    where
        K: Watched,
        S: Owned,
    {
        let (resource, keep) = (spec.resource(), spec.keep());
        let store = self.reads(spec.indexed(Index::controller()));
        self.owned(store, resource, keep, (group, kind))
    }

    /// Like [`Self::owns`], of a kind that may be absent from the cluster.
    pub fn owns_if_served<K, S>(
        &mut self,
        spec: WatchSpec<K, S>,
        group: &'static str,
        kind: &'static str,
    ) -> Children<K, S>
    where
        K: Watched,
        S: Owned,
    {
        let (resource, keep) = (spec.resource(), spec.keep());
        let store = self.reads_if_served(spec.indexed(Index::controller()));
        self.owned(store, resource, keep, (group, kind))
    }

    fn owned<K, S: Owned>(
        &mut self,
        store: Store<S>,
        resource: ApiResource,
        keep: Keep<K, S>,
        (group, kind): (&'static str, &'static str),
    ) -> Children<K, S> {
        // The children hear of a change before the loop's queue does: a pass finds it settled.
        let children = Children::new(store, resource, keep, self.watches, Arc::clone(self.watches.clock()));
        self.triggered(children.store(), move |change| parents_of(change, group, kind));
        children
    }

    /// Every change of a store that is declared already queues these keys, too: for keys that can only be told with
    /// the store itself at hand.
    pub fn triggered<S: Stored>(
        &mut self,
        store: &Store<S>,
        keys: impl Fn(&Change<S>) -> Vec<Key> + Send + 'static,
    ) {
        let store = store.clone();
        self.declared.triggers.push(Box::new(move |enqueue, _| {
            let enqueue = enqueue.clone();
            store.subscribe(move |change| {
                for key in keys(&change) {
                    enqueue.add(key);
                }
            })
        }));
    }

    /// Each time the kind of a store that is declared already comes (back) into sight, these keys are queued: those
    /// whose objects have gone in the meantime get no other sign.
    pub fn when_served<S: Stored>(&mut self, store: &Store<S>, keys: impl Fn() -> Vec<Key> + Send + 'static) {
        let store = store.clone();
        self.declared.triggers.push(Box::new(move |enqueue, _| {
            let enqueue = enqueue.clone();
            store.on_served(move || keys().into_iter().for_each(|key| enqueue.add(key)))
        }));
    }
}

impl Declared {
    /// What lists all keys, and what tells whether one exists. Without any declaration every key exists.
    pub(super) fn keys(self) -> (AllKeys, KeyExists) {
        let Self { keys, exists, .. } = self;
        let all = move || keys.iter().flat_map(|keys| keys()).collect();
        let any = move |key: &Key| exists.is_empty() || exists.iter().any(|exists| exists(key));
        (Arc::new(all), Arc::new(any))
    }
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("reads", &self.declared.reads).finish_non_exhaustive()
    }
}
