// SPDX-License-Identifier: Apache-2.0
//! One piece of work for all who need it at the same time, if it starts late enough for each.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

/// Work whose result is shared. Whoever waits drives it; with nobody left it stops.
pub(super) type Joined<T> = Shared<BoxFuture<'static, T>>;

/// Joins callers to work that has not started when they call, so that its result is never older than
/// the call. At most one piece runs and one waits for it to end.
pub(super) struct Coalesced<T> {
    last: Mutex<Option<Run<T>>>,
}

struct Run<T> {
    started: Arc<AtomicBool>,
    /// Weak: the result goes with the last who waits for it.
    work: WeakShared<BoxFuture<'static, T>>,
}

impl<T: Clone + Send + Sync + 'static> Coalesced<T> {
    pub(super) fn new() -> Self {
        Self { last: Mutex::new(None) }
    }

    /// The result of work that starts after this call.
    pub(super) fn join(&self, work: impl FnOnce() -> BoxFuture<'static, T>) -> Joined<T> {
        let mut last = self.last.lock();
        let running = last.as_ref().and_then(|run| Some((run.work.upgrade()?, &run.started)));
        let before = match running {
            Some((waiting, started)) if !started.load(Ordering::Acquire) => return waiting,
            Some((running, _)) => Some(running),
            None => None,
        };
        let started = Arc::new(AtomicBool::new(false));
        let starts = Arc::clone(&started);
        let work = work();
        let joined: Joined<T> = async move {
            if let Some(before) = before {
                before.await;
            }
            starts.store(true, Ordering::Release);
            work.await
        }
        .boxed()
        .shared();
        *last = joined.downgrade().map(|work| Run { started, work });
        joined
    }
}
