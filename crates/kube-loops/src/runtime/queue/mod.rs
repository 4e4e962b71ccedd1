// SPDX-License-Identifier: Apache-2.0
//! The queue of a loop for one term: the rules of `work_queue` behind a lock, with a clock, a wake-up,
//! the back-off of [`super::backoff`] and the metrics of a Go manager's queue.
//!
//! Deliberately absent: priorities, and any memory of what a key's passes did; the worker has that.

#[cfg(test)]
mod queue_tests;
mod work_queue;
#[cfg(test)]
mod work_queue_tests;

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use kube_fenced_election::clock::SharedClock;

use self::work_queue::{Take, WorkQueue};
use super::{
    backoff::{Backoff, Bucket},
    controller::LoopSpec,
    metrics::{LoopMetrics, QueueSample, SampledQueue},
    progress::LoopProgress,
    reconciler::Key,
};

/// Queue of one loop and one term. Cheap to clone; all clones are one queue.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

/// The side of a queue that triggers and background tasks get: keys go in, none come out.
#[derive(Clone, Debug)]
pub struct Enqueue(Queue);

/// A key that is being worked on. Dropping it gives it back: the queue may hand it out again.
pub(crate) struct Taken {
    key: Key,
    queue: Queue,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
    clock: SharedClock,
    metrics: LoopMetrics,
    progress: LoopProgress,
}

struct State {
    work_queue: WorkQueue,
    backoff: Backoff,
    bucket: Bucket,
    /// The figures of `work_queue` that metrics and `progress` have already.
    adds: u64,
    held: usize,
}

impl Queue {
    /// An empty queue. `progress` learns whether it holds keys.
    pub fn new(spec: &LoopSpec, clock: SharedClock, metrics: &LoopMetrics, progress: LoopProgress) -> Self {
        let backoff = Backoff::new(spec.backoff_cap);
        let state =
            State { work_queue: WorkQueue::default(), backoff, bucket: Bucket::default(), adds: 0, held: 0 };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Notify::new(),
            clock,
            metrics: metrics.clone(),
            progress,
        });
        let sampled: Weak<Shared> = Arc::downgrade(&shared);
        metrics.follow(sampled);
        Self(shared)
    }

    /// The key is due now.
    pub(crate) fn add(&self, key: Key) {
        let now = self.0.clock.instant();
        self.0.change_and_wake(|state| state.work_queue.add(key, now));
    }

    /// The key is due after `delay`, or at an earlier moment that it has been given before.
    pub(crate) fn add_after(&self, key: Key, delay: Duration) {
        let now = self.0.clock.instant();
        self.0.metrics.retry();
        self.0.change_and_wake(|state| state.work_queue.add_at(key, now + delay, now));
    }

    /// The key failed: it is due after its own back-off or the loop's bucket, whichever is longer.
    pub(crate) fn add_rate_limited(&self, key: Key) {
        let now = self.0.clock.instant();
        self.0.metrics.retry();
        self.0.change_and_wake(|state| {
            let delay = state.backoff.fail(&key).max(state.bucket.reserve(now));
            state.work_queue.add_at(key, now + delay, now);
        });
    }

    /// The key succeeded: resets its back-off.
    pub(crate) fn forget(&self, key: &Key) {
        self.0.state.lock().backoff.forget(key);
    }

    /// Waits for a key. `None` once the queue is shut down. Dropping the future loses no key.
    pub(crate) async fn take(&self) -> Option<Taken> {
        loop {
            // Registered before looking, so that an add in between is not missed.
            let woken = self.0.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let now = self.0.clock.instant();
            let due = match self.0.change(|state| state.work_queue.take(now)) {
                Take::Key { key, waited } => {
                    self.0.metrics.waited(waited);
                    return Some(Taken { key, queue: self.clone() });
                }
                Take::ShutDown => return None,
                Take::Empty(due) => due,
            };
            let Some(due) = due else {
                woken.await;
                continue;
            };
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    /// No key is handed out from now on, and none is taken in.
    pub(crate) fn shut_down(&self) {
        self.0.change_and_wake(|state| state.work_queue.shut_down());
    }

    /// Keys that wait for a pass; delayed ones do not count.
    pub(crate) fn depth(&self) -> usize {
        self.0.state.lock().work_queue.depth()
    }

    /// The side that only adds.
    pub fn enqueue(&self) -> Enqueue {
        Enqueue(self.clone())
    }
}

impl Shared {
    /// Changes the state, then updates metrics and progress and wakes takers.
    fn change_and_wake<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = self.change(change);
        self.wake.notify_waiters();
        result
    }

    /// Changes the state, then updates metrics and progress. For takers, who would
    /// otherwise wake themselves.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        let (adds, held) = (state.work_queue.adds(), state.work_queue.held());
        self.metrics.added(adds.saturating_sub(state.adds));
        if held != state.held {
            self.progress.holds(held);
        }
        (state.adds, state.held) = (adds, held);
        result
    }
}

impl SampledQueue for Shared {
    fn sample(&self) -> QueueSample {
        let now = self.clock.instant();
        // Keys whose delay is over count, though no taker was there to notice.
        self.change(|state| {
            state.work_queue.promote(now);
            let (unfinished, longest) = state.work_queue.unfinished(now);
            QueueSample { depth: state.work_queue.depth(), unfinished, longest }
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A term that ends by being dropped leaves keys behind: they wait no more.
        self.progress.holds(0);
    }
}

impl Enqueue {
    /// The key is due now. Without effect once the term is over.
    pub fn add(&self, key: Key) {
        self.0.add(key);
    }
}

impl Taken {
    /// The key.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let shared = &self.queue.0;
        let now = shared.clock.instant();
        if let Some(worked) = shared.change_and_wake(|state| state.work_queue.done(&self.key, now)) {
            shared.metrics.worked(worked);
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taken").field(&self.key).finish()
    }
}
