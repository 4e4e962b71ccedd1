// SPDX-License-Identifier: Apache-2.0
//! Owned tasks: they end with their owner, and their panics are heard.

use std::{any::Any, collections::HashMap, fmt, future::Future, future::poll_fn, task::Poll};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    task::{Id, JoinError, JoinSet},
};
use tracing::Instrument;

/// How a task of a [`TaskSet`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended<T> {
    /// By itself.
    Finished(T),
    /// By a panic with this message. A defect: log it.
    Panicked(String),
    /// Its owner or the async runtime ended it.
    Aborted,
}

/// Tasks that are aborted when the set is dropped. The one home of starting tasks.
///
/// `T` is what a task yields. Shared by reference: tasks may be added while somebody waits for an end.
pub struct TaskSet<T = ()> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    tasks: JoinSet<T>,
    names: HashMap<Id, String>,
}

impl<T: Send + 'static> TaskSet<T> {
    /// No task.
    pub fn new() -> Self {
        Self { inner: Mutex::new(Inner { tasks: JoinSet::new(), names: HashMap::new() }) }
    }

    /// Starts a task. It keeps the caller's tracing span. `name` comes back with its end.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = T> + Send + 'static) {
        let mut inner = self.inner.lock();
        let id = inner.tasks.spawn(task.in_current_span()).id();
        inner.names.insert(id, name.into());
    }

    /// The same on another runtime.
    pub fn spawn_on(
        &self,
        runtime: &Handle,
        name: impl Into<String>,
        task: impl Future<Output = T> + Send + 'static,
    ) {
        let mut inner = self.inner.lock();
        let id = inner.tasks.spawn_on(task.in_current_span(), runtime).id();
        inner.names.insert(id, name.into());
    }

    /// Waits for the next end of a task and yields its name; `None` when there is no task.
    /// Dropping the future loses no end. One waiter at a time: a second one may miss its wake-up.
    pub async fn join_next(&self) -> Option<(String, Ended<T>)> {
        poll_fn(|cx| {
            let mut inner = self.inner.lock();
            let joined = match inner.tasks.poll_join_next_with_id(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(joined)) => joined,
            };
            let (id, ended) = match joined {
                Ok((id, value)) => (id, Ended::Finished(value)),
                Err(error) => (error.id(), ended_early(error)),
            };
            let name = inner.names.remove(&id).unwrap_or_default();
            Poll::Ready(Some((name, ended)))
        })
        .await
    }

    /// Aborts all tasks; each ends at its next await and is still reported by [`Self::join_next`].
    pub fn abort_all(&self) {
        self.inner.lock().tasks.abort_all();
    }

    /// Aborts all tasks and waits until the last one has ended.
    pub async fn shutdown(&self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }
}

impl<T: Send + 'static> Default for TaskSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for TaskSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.lock();
        f.debug_set().entries(inner.names.values()).finish()
    }
}

fn ended_early<T>(error: JoinError) -> Ended<T> {
    match error.try_into_panic() {
        Ok(panic) => Ended::Panicked(panic_message(panic.as_ref())),
        Err(_) => Ended::Aborted,
    }
}

/// What a panic said; a placeholder when it said something that is not text.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        return (*text).to_owned();
    }
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "no message".to_owned())
}
