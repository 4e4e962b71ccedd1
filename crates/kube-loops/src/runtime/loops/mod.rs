// SPDX-License-Identifier: Apache-2.0
//! What makes a controller short: a loop is put together from a reconciler, stores and triggers, and
//! [`run_loops`] runs the loops of one controller for one term.
//!
//! ```ignore
//! let sets = Loop::new("set-controller", &CARD, &term, &metrics).primary(&sets).trigger(&pods, pods_to_sets);
//! let reconciler = SetLoop { background: sets.enqueue(), /* … */ };
//! run_loops(&term, vec![sets.build(reconciler)]).await
//! ```
//!
//! Order: first lists of all stores → catch up → triggers → all keys once → workers. All loops wait for
//! all stores, start together and stop together. Everything belongs to the future of [`run_loops`] and
//! ends with it.

mod last_words;
#[cfg(test)]
mod loops_tests;
mod run;

use std::{collections::HashMap, fmt, future::Future, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    controller::{LoopCard, Term},
    metrics::{LoopMetrics, RuntimeMetrics},
    queue::{Enqueue, Queue},
    reconciler::{Key, Reconciler},
    watches::{Change, Malformed, Read, Store, Stored, Subscription},
    worker::Worker,
};

pub use self::{last_words::run_with_events, run::run_loops};

/// A loop without its reconciler yet. Its queue exists already, see [`Self::enqueue`].
#[must_use = "a loop does nothing before it is built and run"]
pub struct Loop {
    card: &'static LoopCard,
    controller: &'static str,
    term: Term,
    queue: Queue,
    metrics: LoopMetrics,
    reads: Vec<Read>,
    triggers: Vec<Trigger>,
    keys: Vec<Keys>,
    exists: Option<Exists>,
    alongside: Vec<Alongside>,
}

/// A loop that is complete.
#[must_use = "a loop does nothing before it is run"]
pub struct BuiltLoop {
    card: &'static LoopCard,
    controller: &'static str,
    queue: Queue,
    reads: Vec<Read>,
    triggers: Vec<Trigger>,
    keys: Keys,
    worker: Box<dyn Work>,
    alongside: Vec<Alongside>,
    at_once: usize,
}

type Trigger = Box<dyn FnOnce() -> Subscription + Send>;
type Keys = Arc<dyn Fn() -> Vec<Key> + Send + Sync>;
type Exists = Arc<dyn Fn(&Key) -> bool + Send + Sync>;

/// Something that runs beside the workers for the whole term.
struct Alongside {
    part: &'static str,
    work: BoxFuture<'static, ()>,
}

/// A worker with the type of its reconciler forgotten.
trait Work: Send + Sync {
    fn run<'a>(&'a self, at_once: usize, drain: &'a CancellationToken) -> BoxFuture<'a, ()>;
}

impl Loop {
    /// A loop for one term, without stores or triggers yet. `controller` is the name of its controller.
    pub fn new(
        controller: &'static str,
        card: &'static LoopCard,
        term: &Term,
        metrics: &RuntimeMetrics,
    ) -> Self {
        let metrics = metrics.of(card);
        let queue = Queue::new(card, Arc::clone(&term.clock), &metrics, Arc::clone(&term.progress));
        Self {
            card,
            controller,
            term: term.clone(),
            queue,
            metrics,
            reads: Vec::new(),
            triggers: Vec::new(),
            keys: Vec::new(),
            exists: None,
            alongside: Vec::new(),
        }
    }

    /// Adds keys to the loop's queue, from background tasks too. Without effect after the term.
    pub fn enqueue(&self) -> Enqueue {
        self.queue.enqueue()
    }

    /// The objects that the loop is about: every change of one queues its key, and so do the start of
    /// the term, each period, and about every ten hours.
    pub fn primary<S: Stored>(self, store: &Store<S>) -> Self {
        self.primary_when(store, |_, _| true)
    }

    /// Like [`Self::primary`], but an update (old, new) queues its key only if it is worth a pass.
    /// Objects that appear or go always are.
    pub fn primary_when<S: Stored>(
        self,
        store: &Store<S>,
        worth_a_pass: impl Fn(&S, &S) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (keys, exists) = (store.clone(), store.clone());
        self.trigger(store, move |change| match (&change.old, &change.new) {
            (Some(old), Some(new)) if !worth_a_pass(old, new) => Vec::new(),
            _ => vec![change.key()],
        })
        .keyed(move || keys.keys(), move |key| exists.contains(key))
    }

    /// For a loop whose keys are not the objects of one store: `keys` lists them all, `exists` tells
    /// whether one still stands for something (if not, it is forgotten after its pass). May be called
    /// more than once: the keys add up, and a key exists if any says so.
    pub fn keyed(
        mut self,
        keys: impl Fn() -> Vec<Key> + Send + Sync + 'static,
        exists: impl Fn(&Key) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.keys.push(Arc::new(keys));
        self.exists = Some(match self.exists.take() {
            None => Arc::new(exists),
            Some(before) => Arc::new(move |key| before(key) || exists(key)),
        });
        self
    }

    /// A store that passes read: the loop starts when it is filled and has caught up.
    pub fn reads<S: Stored>(mut self, store: &Store<S>) -> Self {
        self.reads.push(Read::required(store));
        self
    }

    /// Like [`Self::reads`], of a kind that may be absent from the cluster: the store is empty then.
    pub fn reads_if_served<S: Stored>(mut self, store: &Store<S>) -> Self {
        self.reads.push(Read::optional(store));
        self
    }

    /// Every change of the store queues the keys that `keys` yields for it. The loop reads the store, too.
    /// `keys` runs in the watch's task: it must be quick.
    pub fn trigger<S: Stored>(
        self,
        store: &Store<S>,
        keys: impl Fn(&Change<S>) -> Vec<Key> + Send + 'static,
    ) -> Self {
        self.triggered(store, keys).reads(store)
    }

    /// Like [`Self::trigger`], of a kind that may be absent from the cluster.
    pub fn trigger_if_served<S: Stored>(
        self,
        store: &Store<S>,
        keys: impl Fn(&Change<S>) -> Vec<Key> + Send + 'static,
    ) -> Self {
        self.triggered(store, keys).reads_if_served(store)
    }

    /// Calls `report` once for each malformed object of the store, those known already included, while
    /// the term lasts: to send an event.
    pub fn on_malformed<S: Stored>(
        mut self,
        store: &Store<S>,
        report: impl Fn(&Malformed) + Send + 'static,
    ) -> Self {
        let store = store.clone();
        self.triggers.push(Box::new(move || store.on_malformed(report)));
        self
    }

    /// Runs `work` beside the workers, from their start until their passes have ended. That it ends by
    /// itself or panics ends the controller's run, with `part` in the error.
    pub fn alongside(mut self, part: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Self {
        self.alongside.push(Alongside { part, work: work.boxed() });
        self
    }

    /// The complete loop.
    pub fn build<R: Reconciler>(self, reconciler: R) -> BuiltLoop {
        let Self { card, controller, term, queue, metrics, reads, triggers, keys, exists, alongside } = self;
        let worker = Worker {
            controller,
            card,
            reconciler,
            queue: queue.clone(),
            exists: exists.unwrap_or_else(|| Arc::new(|_| true)),
            clock: term.clock,
            progress: term.progress,
            metrics,
            failing: Mutex::new(HashMap::new()),
        };
        BuiltLoop {
            card,
            controller,
            queue,
            reads,
            triggers,
            keys: Arc::new(move || keys.iter().flat_map(|keys| keys()).collect()),
            worker: Box::new(worker),
            alongside,
            at_once: term.workers.unwrap_or(card.workers).max(1),
        }
    }

    fn triggered<S: Stored>(
        mut self,
        store: &Store<S>,
        keys: impl Fn(&Change<S>) -> Vec<Key> + Send + 'static,
    ) -> Self {
        let (store, enqueue) = (store.clone(), self.enqueue());
        self.triggers.push(Box::new(move || {
            store.subscribe(move |change| {
                for key in keys(&change) {
                    enqueue.add(key);
                }
            })
        }));
        self
    }
}

impl<R: Reconciler> Work for Worker<R> {
    fn run<'a>(&'a self, at_once: usize, drain: &'a CancellationToken) -> BoxFuture<'a, ()> {
        Worker::run(self, at_once, drain).boxed()
    }
}

impl fmt::Debug for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loop").field(&self.card.label).finish()
    }
}

impl fmt::Debug for BuiltLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BuiltLoop").field(&self.card.label).finish()
    }
}
