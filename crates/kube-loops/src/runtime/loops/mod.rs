// SPDX-License-Identifier: Apache-2.0
//! What makes a controller short: each of its loops says once what it reads and what it does ([`Loop`]), and
//! [`LoopController`] runs them for one term after another.
//!
//! ```ignore
//! impl Loop for SetLoop {
//!     fn open(&self, sources: &mut Sources<'_>) -> Stores {
//!         let sets = sources.primary(WatchSpec::all());
//!         Stores { pods: sources.trigger(pod_facts::watch(), pods_to_sets), sets }
//!     }
//!     fn start(&self, stores: Stores, term: &mut LoopTerm) -> Conductor<SetStages> { /* … */ }
//! }
//! LoopController::new(&SPEC, &watches, &metrics).with(SetLoop)
//! ```
//!
//! Order: first lists of all stores → catch up → triggers → all keys once → workers. All loops wait for
//! all stores, start together and stop together. Each loop is a task, so that one whose pass computes for long delays no
//! other. The future of the term owns them: it waits for them before it ends, and aborts them when it is dropped.
//! Events of a loop are sent in its own name, the last ones before the term ends.
//!
//! [`LoopController::dry_run`] runs the same passes without a term, and tells what they would do.

mod dry_run;
#[cfg(test)]
mod dry_run_tests;
#[cfg(test)]
mod loops_tests;
mod run;
mod sources;

use std::{collections::HashMap, fmt, future::Future, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use kube::Client;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::cluster::{
    dry_run::NotedStep,
    events::{Recorder, RecorderTask},
    writer::Writer,
};
use kube_fenced_election::{clock::SharedClock, fence::Fence};

use super::{
    controller::{Controller, ControllerSpec, LoopSpec, RunError, Term},
    metrics::{LoopMetrics, RuntimeMetrics},
    queue::{Enqueue, Queue},
    reconciler::{Key, Reconciler},
    watches::{Read, Watches},
    worker::Worker,
};

pub use self::{dry_run::DryRun, sources::Sources};
use self::{
    run::run_loops,
    sources::{AllKeys, Declared, Trigger},
};

/// One loop of a controller: all of it that is not its passes.
pub trait Loop: Send + Sync + 'static {
    /// The stores that its passes read.
    type Stores;
    /// Its passes.
    type Reconciler: Reconciler;

    /// Its constants.
    fn spec(&self) -> &'static LoopSpec;

    /// Time after which all keys are queued: that of the constants, unless a setting says otherwise.
    fn period(&self) -> Option<Duration> {
        self.spec().period
    }

    /// Opens the stores and says what their changes mean. Called for each term, and before for a standby. Never
    /// waits.
    fn open(&self, sources: &mut Sources<'_>) -> Self::Stores;

    /// Its passes for one term. Nothing of a term is kept for the next one.
    fn start(&self, stores: Self::Stores, term: &mut LoopTerm) -> Self::Reconciler;
}

/// What a loop gets for one term.
pub struct LoopTerm {
    /// The right to write: checked right before every effect outside the API server.
    pub fence: Fence,
    /// Client that refuses to change anything once the fence is closed.
    pub client: Client,
    /// Clock of the process.
    pub clock: SharedClock,
    /// Adds keys to the loop's queue, from background tasks too. Without effect after the term.
    pub enqueue: Enqueue,
    background: Vec<Background>,
}

impl LoopTerm {
    /// Runs `work` beside the workers, from their start until their passes have ended. That it ends by itself or
    /// panics ends the controller's run, with `part` in the error.
    pub fn run_beside(&mut self, part: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.background.push(Background { part, work: work.boxed() });
    }
}

/// Something that runs beside the workers for the whole term.
struct Background {
    part: &'static str,
    work: BoxFuture<'static, ()>,
}

/// The loops of one controller.
pub struct LoopController {
    spec: &'static ControllerSpec,
    loops: Vec<Box<dyn AnyLoop>>,
    watches: Watches,
    metrics: RuntimeMetrics,
}

impl LoopController {
    /// A controller without loops yet.
    pub fn new(spec: &'static ControllerSpec, watches: &Watches, metrics: &RuntimeMetrics) -> Self {
        Self { spec, loops: Vec::new(), watches: watches.clone(), metrics: metrics.clone() }
    }

    /// Adds a loop.
    #[must_use]
    pub fn with(mut self, one: impl Loop) -> Self {
        self.loops.push(Box::new(one));
        self
    }

    fn build(&self, term: &Term, writer: impl Fn() -> Writer) -> Vec<BuiltLoop> {
        let build =
            |one: &dyn AnyLoop| one.build(self.spec.name, &self.watches, &self.metrics, term, writer());
        self.loops.iter().map(|one| build(one.as_ref())).collect()
    }
}

impl Controller for LoopController {
    fn spec(&self) -> &'static ControllerSpec {
        self.spec
    }

    fn loops(&self) -> Vec<&'static LoopSpec> {
        self.loops.iter().map(|one| one.spec()).collect()
    }

    fn reads(&self) -> Vec<Read> {
        self.loops.iter().flat_map(|one| one.reads(&self.watches)).collect()
    }

    fn run(&self, term: Term) -> BoxFuture<'static, Result<(), RunError>> {
        let loops = self.build(&term, || Writer::new(term.client.0.clone()));
        async move { run_loops(&term, loops).await }.boxed()
    }
}

/// A loop with its types forgotten.
trait AnyLoop: Send + Sync {
    fn spec(&self) -> &'static LoopSpec;
    fn reads(&self, watches: &Watches) -> Vec<Read>;
    fn build(
        &self,
        controller: &'static str,
        watches: &Watches,
        metrics: &RuntimeMetrics,
        term: &Term,
        writer: Writer,
    ) -> BuiltLoop;
}

impl<L: Loop> AnyLoop for L {
    fn spec(&self) -> &'static LoopSpec {
        Loop::spec(self)
    }

    fn reads(&self, watches: &Watches) -> Vec<Read> {
        let mut sources = Sources::new(watches);
        self.open(&mut sources);
        sources.declared().reads
    }

    fn build(
        &self,
        controller: &'static str,
        watches: &Watches,
        metrics: &RuntimeMetrics,
        term: &Term,
        writer: Writer,
    ) -> BuiltLoop {
        let spec = Loop::spec(self);
        let metrics: LoopMetrics = metrics.of(spec);
        let progress = term.progress.of_loop(spec.label, spec.longest_pass());
        let queue = Queue::new(spec, Arc::clone(&term.clock), &metrics, progress.clone());
        let client = term.client.0.clone();
        let (recorder, sending) = Recorder::new(client.clone(), spec.event_source, Arc::clone(&term.clock));
        let mut sources = Sources::new(watches);
        let stores = self.open(&mut sources);
        let mut declared: Declared = sources.declared();
        let mut for_loop = LoopTerm {
            fence: term.fence.clone(),
            client,
            clock: Arc::clone(&term.clock),
            enqueue: queue.enqueue(),
            background: Vec::new(),
        };
        let reconciler = self.start(stores, &mut for_loop);
        let (reads, triggers) = (std::mem::take(&mut declared.reads), std::mem::take(&mut declared.triggers));
        let (keys, exists) = declared.keys();
        let worker = Worker {
            controller,
            spec,
            reconciler,
            writer,
            recorder: recorder.clone(),
            queue: queue.clone(),
            reads: reads.clone(),
            exists,
            clock: Arc::clone(&term.clock),
            progress,
            metrics,
            failures: Mutex::new(HashMap::new()),
        };
        BuiltLoop {
            spec,
            period: self.period(),
            controller,
            queue,
            reads,
            triggers,
            keys,
            worker: Box::new(worker),
            background: for_loop.background,
            recorder,
            sending,
            at_once: term.workers.unwrap_or(spec.workers).max(1),
        }
    }
}

/// A loop that is complete.
struct BuiltLoop {
    spec: &'static LoopSpec,
    period: Option<Duration>,
    controller: &'static str,
    queue: Queue,
    reads: Vec<Read>,
    triggers: Vec<Trigger>,
    keys: AllKeys,
    worker: Box<dyn Work>,
    background: Vec<Background>,
    recorder: Recorder,
    sending: RecorderTask,
    at_once: usize,
}

/// A worker with the type of its reconciler forgotten.
trait Work: Send + Sync {
    fn run<'a>(&'a self, at_once: usize, drain: &'a CancellationToken) -> BoxFuture<'a, ()>;
    /// One pass: what its writer has noted, and why it did not go well.
    fn dry_run<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, (Vec<NotedStep>, Option<String>)>;
}

impl<R: Reconciler> Work for Worker<R> {
    fn run<'a>(&'a self, at_once: usize, drain: &'a CancellationToken) -> BoxFuture<'a, ()> {
        Worker::run(self, at_once, drain).boxed()
    }

    fn dry_run<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, (Vec<NotedStep>, Option<String>)> {
        async move {
            let ended = self.run_reconciler(key, 0).await;
            (self.writer.take_noted(), ended.cause())
        }
        .boxed()
    }
}

impl fmt::Debug for LoopController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loops: Vec<_> = self.loops().into_iter().map(|spec| spec.label).collect();
        f.debug_struct("LoopController")
            .field("name", &self.spec.name)
            .field("loops", &loops)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LoopTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopTerm").field("fence", &self.fence).finish_non_exhaustive()
    }
}
