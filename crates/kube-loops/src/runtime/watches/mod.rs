// SPDX-License-Identifier: Apache-2.0
//! The watches of a process: one for each kind, shared by all controllers, filled before any leads.
//!
//! # Guarantees
//! - One watch for each (type kept, resource, namespace, selectors), however often it is asked for.
//! - A process that is restricted to some namespaces has one for each of them, and needs no permission elsewhere. The
//!   store is then made of these parts, each of which is listed, fails and catches up for itself.
//! - A malformed object is skipped, counted and reported; the good ones go on.
//! - After a break of the watch the differences are delivered, deletions included, in order.
//! - A kind that is not served is waited for quietly; its store is empty. Whoever is told of the objects that
//!   vanish then can ask [`Store::is_served`]: they may still be there, out of sight.
//!
//! Deliberately absent: knowledge of any kind, and writes.

mod cache;
#[cfg(test)]
mod cache_tests;
mod connection_monitor;
mod deserialize_guard;
#[cfg(test)]
mod deserialize_guard_tests;
mod index;
#[cfg(test)]
mod index_tests;
pub mod interner;
#[cfg(test)]
mod interner_tests;
mod metadata;
#[cfg(test)]
mod namespaces_tests;
mod reflector;
#[cfg(test)]
mod reflector_tests;
mod spec;
mod state;
mod store;
pub mod version;
#[cfg(test)]
mod version_tests;
#[cfg(test)]
mod watches_tests;

use std::{
    any::Any,
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Weak},
};

use kube::Client;
use parking_lot::Mutex;

use kube_fenced_election::clock::SharedClock;

use self::{
    interner::Interner,
    reflector::Streaming,
    spec::{KubeSource, WatchId},
    store::{Handle, Part},
};
use super::{catch_up::Lists, metrics::RuntimeMetrics, tasks::TaskSet};

pub(crate) use self::{
    cache::Cache,
    spec::{Keep, Page, Source},
    state::Inner,
    store::sync_in_time,
};
pub use self::{
    cache::{Change, Stored},
    deserialize_guard::Malformed,
    index::{ControllerRef, Index, Labelled, Owned},
    spec::{WatchSpec, Watched},
    state::Subscription,
    store::{AnyStore, Read, Store},
};

/// The watches of a process. Cheap to clone; all clones share.
#[derive(Clone)]
pub struct Watches {
    shared: Arc<Shared>,
    /// The watched namespaces; none: all.
    namespaces: Arc<BTreeSet<String>>,
}

struct Shared {
    client: Client,
    clock: SharedClock,
    metrics: RuntimeMetrics,
    warm: bool,
    streaming: Streaming,
    interner: Arc<Interner>,
    stores: Mutex<HashMap<WatchId, StoreEntry>>,
}

/// A store with its type forgotten.
struct StoreEntry {
    /// A `Weak<Handle<S>>`.
    handle: Box<dyn Any + Send + Sync>,
    /// Keeps the watch going in a process with warm stores.
    _warm: Option<Box<dyn Any + Send + Sync>>,
}

impl Watches {
    /// No watch yet. `client`: reads for the whole process, needs no Lease. `warm`: a watch, once asked
    /// for, goes on until the process ends; otherwise it ends with the last [`Store`] handle, and starts
    /// anew for the next one (`--leader-election-warm-standby`).
    pub fn new(client: Client, clock: SharedClock, metrics: RuntimeMetrics, warm: bool) -> Self {
        let shared = Shared {
            client,
            clock,
            metrics,
            warm,
            streaming: Streaming::assumed(),
            interner: Arc::new(Interner::new()),
            stores: Mutex::new(HashMap::new()),
        };
        Self { shared: Arc::new(shared), namespaces: Arc::default() }
    }

    /// Restricts what is asked for from now on with [`WatchSpec::all`] to these namespaces; none: does not restrict it.
    /// Kinds without namespaces, and watches of one namespace, stay as they are.
    #[must_use]
    pub fn in_namespaces(self, namespaces: &BTreeSet<String>) -> Self {
        Self { namespaces: Arc::new(namespaces.clone()), ..self }
    }

    /// The store of a watch, which is started if nobody has asked for it before. Does not wait.
    /// To be called within the async runtime.
    pub fn store<K: Watched, S: Stored>(&self, spec: WatchSpec<K, S>) -> Store<S> {
        let (indexes, namespaces) = (spec.indexes.clone(), spec.namespaces(&self.namespaces));
        let spec = Arc::new(spec);
        let parts = namespaces.into_iter().map(|namespace| {
            let source =
                KubeSource::new(Arc::clone(&spec), namespace.clone(), Arc::clone(&self.shared.interner));
            Part { namespace, handle: self.handle_of(Arc::new(source)) }
        });
        let store = Store::new(parts.collect());
        store.add_indexes(&indexes);
        store
    }

    /// Clock of the process.
    pub(crate) fn clock(&self) -> &SharedClock {
        &self.shared.clock
    }

    /// Strings shared among the objects of all stores.
    pub fn interner(&self) -> &Interner {
        &self.shared.interner
    }

    fn handle_of<S: Stored>(&self, source: Arc<dyn Source<S>>) -> Arc<Handle<S>> {
        let shared = &self.shared;
        let id = source.id();
        let mut stores = shared.stores.lock();
        let known = stores.get(&id).and_then(|known| known.handle.downcast_ref::<Weak<Handle<S>>>());
        if let Some(handle) = known.and_then(Weak::upgrade) {
            return handle;
        }
        let kind = source.kind();
        let (malformed, rewritten) = (shared.metrics.malformed(&kind), shared.metrics.rewritten(&kind));
        let inner = Arc::new(Inner::new(kind.clone(), Arc::clone(&shared.clock), malformed, rewritten));
        let watch = TaskSet::new();
        let reflecting = reflector::run(
            Arc::clone(&inner),
            Arc::clone(&source),
            shared.client.clone(),
            shared.streaming.clone(),
        );
        watch.spawn(kind, reflecting);
        let lists = Lists::new(source, shared.client.clone(), Arc::clone(&shared.clock));
        let handle = Arc::new(Handle { inner, lists, _watch: watch });
        let warm = shared.warm.then(|| -> Box<dyn Any + Send + Sync> { Box::new(Arc::clone(&handle)) });
        stores.insert(id, StoreEntry { handle: Box::new(Arc::downgrade(&handle)), _warm: warm });
        handle
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("stores", &self.shared.stores.lock().len()).finish_non_exhaustive()
    }
}
