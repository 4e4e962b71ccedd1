// SPDX-License-Identifier: Apache-2.0
//! Takes keys, runs passes, and decides what their ends mean.
//!
//! Passes are futures inside the task of their loop, not tasks of their own: once that task has ended, none of them is
//! polled again, so none can act after the Lease has gone.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;

use crate::{
    chain::Chain,
    cluster::{events::Recorder, writer::Writer},
};
use kube_fenced_election::clock::SharedClock;

use super::{
    controller::LoopSpec,
    metrics::{LoopMetrics, PassResult},
    progress::LoopProgress,
    queue::{Queue, Taken},
    reconciler::{Failure, Key, Outcome, Pass, Reconciler, Retry},
    tasks::panic_message,
    watches::Read,
};

/// A key that must be retried soon this often in a row is worth a warning.
const WARN_FROM: u32 = 5;

/// How a pass ended.
#[derive(Debug)]
pub(super) enum PassEnd<E> {
    /// With an answer.
    Answered(Result<Outcome, E>),
    /// By a panic with this message.
    Panicked(String),
    /// By the deadline.
    TimedOut,
}

impl<E: Failure> PassEnd<E> {
    /// Why it did not go well; `None`: it did.
    pub(super) fn cause(&self) -> Option<String> {
        match self {
            Self::Answered(Ok(_)) => None,
            Self::Answered(Err(error)) => Some(Chain(error).to_string()),
            Self::Panicked(message) => Some(format!("panic: {message} [recovered]")),
            Self::TimedOut => Some("deadline of the pass exceeded".to_owned()),
        }
    }
}

/// What happens to the key of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueAction {
    /// Reset the back-off; wait for a trigger.
    Forget,
    /// Reset the back-off; queue the key after a delay.
    ForgetAndAddAfter(Duration),
    /// Keep the back-off; queue the key after a delay.
    AddAfter(Duration),
    /// Queue the key after its back-off.
    AddRateLimited,
    /// The term is over: do not queue the key.
    DropPass,
}

/// At which level a failure is logged, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogPolicy {
    /// At debug level, each time.
    Debug,
    /// At warn level, each time.
    Warn,
    /// At warn level, once per change of cause.
    WarnOnNewCause,
    /// At error level, each time: a defect.
    Error,
}

/// What the worker does after a pass: one table for all outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PassHandling {
    pub(super) action: QueueAction,
    /// Label of the metrics; `None`: the pass is not counted.
    pub(super) result: Option<PassResult>,
    pub(super) log: LogPolicy,
}

/// What follows from the end of a pass. `attempt`: failures in a row of the key before it.
pub(super) fn classify<E: Failure>(ended: &PassEnd<E>, attempt: u32) -> PassHandling {
    use QueueAction::{AddAfter, AddRateLimited, DropPass, Forget, ForgetAndAddAfter};
    let handling = |action, result, log| PassHandling { action, result: Some(result), log };
    match ended {
        PassEnd::Answered(Ok(Outcome::Done)) => handling(Forget, PassResult::Success, LogPolicy::Debug),
        PassEnd::Answered(Ok(Outcome::RequeueAfter(delay))) => {
            handling(ForgetAndAddAfter(*delay), PassResult::RequeueAfter, LogPolicy::Debug)
        }
        PassEnd::Answered(Err(error)) => match error.retry() {
            Retry::Soon => {
                let often = attempt.saturating_add(1) >= WARN_FROM;
                let log = if often { LogPolicy::Warn } else { LogPolicy::Debug };
                handling(AddRateLimited, PassResult::Requeue, log)
            }
            Retry::Backoff => handling(AddRateLimited, PassResult::Error, LogPolicy::WarnOnNewCause),
            Retry::After(delay) => handling(AddAfter(delay), PassResult::Error, LogPolicy::WarnOnNewCause),
            Retry::TermOver => PassHandling { action: DropPass, result: None, log: LogPolicy::Debug },
        },
        PassEnd::Panicked(_) => handling(AddRateLimited, PassResult::Error, LogPolicy::Error),
        PassEnd::TimedOut => handling(AddRateLimited, PassResult::Error, LogPolicy::WarnOnNewCause),
    }
}

/// The workers of one loop for one term.
pub(super) struct Worker<R> {
    pub(super) controller: &'static str,
    pub(super) spec: &'static LoopSpec,
    pub(super) reconciler: R,
    pub(super) writer: Writer,
    pub(super) recorder: Recorder,
    pub(super) queue: Queue,
    /// The stores that passes read.
    pub(super) reads: Vec<Read>,
    /// Whether the primary store holds the key.
    pub(super) exists: Arc<dyn Fn(&Key) -> bool + Send + Sync>,
    pub(super) clock: SharedClock,
    pub(super) progress: LoopProgress,
    pub(super) metrics: LoopMetrics,
    pub(super) failures: Mutex<HashMap<Key, FailureRecord>>,
}

/// What is remembered of a key that fails.
#[derive(Debug, Default)]
pub(super) struct FailureRecord {
    attempts: u32,
    cause: String,
}

impl<R: Reconciler> Worker<R> {
    /// Runs passes, at most `max_concurrent` at a time, until `drain` is cancelled and those under way have
    /// ended.
    pub(super) async fn run(&self, max_concurrent: usize, drain: &CancellationToken) {
        let max_concurrent = max_concurrent.max(1);
        info!(
            controller = self.controller,
            r#loop = self.spec.label,
            worker_count = max_concurrent,
            "Starting workers"
        );
        let mut passes = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => break,
                // Passes that never wait and come back at once must not keep the thread from what else runs
                // on it, elections above all.
                Some(()) = passes.next() => tokio::task::consume_budget().await,
                taken = self.queue.take(), if passes.len() < max_concurrent => match taken {
                    Some(taken) => passes.push(self.pass(taken, drain)),
                    None => break,
                },
            }
        }
        self.queue.shut_down();
        info!(
            controller = self.controller,
            r#loop = self.spec.label,
            "Shutdown signal received, waiting for all workers to finish"
        );
        while passes.next().await.is_some() {}
        info!(controller = self.controller, r#loop = self.spec.label, "All workers finished");
    }

    /// Resolves when what the stores show can be believed: no pass works on what a restored backup lacks.
    async fn trusted(&self) {
        for read in &self.reads {
            read.store.trusted().await;
        }
    }

    async fn pass(&self, taken: Taken, drain: &CancellationToken) {
        if drain.run_until_cancelled(self.trusted()).await.is_none() {
            return;
        }
        let key = taken.key();
        let span = info_span!(
            "reconcile",
            controller = self.controller,
            r#loop = self.spec.label,
            namespace = key.namespace,
            name = key.name,
            reconcile_id = %Uuid::new_v4(),
        );
        self.pass_in_span(taken).instrument(span).await;
    }

    async fn pass_in_span(&self, taken: Taken) {
        let active = self.metrics.active();
        let started = self.clock.instant();
        let attempt = self.failures.lock().get(taken.key()).map_or(0, |failures| failures.attempts);
        let ended = self.run_reconciler(taken.key(), attempt).await;
        drop(active);
        let took = self.clock.instant().saturating_duration_since(started);
        let handling = classify(&ended, attempt);
        if let Some(result) = handling.result {
            self.metrics.pass_ended(result, took);
        }
        if matches!(ended, PassEnd::Panicked(_)) {
            self.metrics.panicked();
        }
        self.log_end(taken.key(), &ended, handling, took);
        self.forget_if_gone(taken.key(), &ended);
        self.requeue(taken.key(), handling.action);
        drop(taken);
        if !matches!(ended, PassEnd::TimedOut) {
            self.progress.pass_finished();
        }
    }

    /// The reconciler's pass, bounded by the deadline, with its panics caught.
    pub(super) async fn run_reconciler(&self, key: &Key, attempt: u32) -> PassEnd<R::Error> {
        let pass = Pass {
            now: self.clock.now(),
            draw: rand::random(),
            attempt,
            writer: self.writer.clone(),
            recorder: self.recorder.clone(),
        };
        // Inside an async block, so that a panic before the first await is caught, too.
        let work = AssertUnwindSafe(async { self.reconciler.reconcile(key, &pass).await }).catch_unwind();
        match tokio::time::timeout(self.spec.longest_pass(), work).await {
            Ok(Ok(answer)) => PassEnd::Answered(answer),
            Ok(Err(panic)) => PassEnd::Panicked(panic_message(panic.as_ref())),
            Err(_elapsed) => PassEnd::TimedOut,
        }
    }

    fn requeue(&self, key: &Key, action: QueueAction) {
        match action {
            QueueAction::Forget | QueueAction::DropPass => self.queue.forget(key),
            QueueAction::ForgetAndAddAfter(delay) => {
                self.queue.forget(key);
                self.queue.add_after(key.clone(), delay);
            }
            QueueAction::AddAfter(delay) => self.queue.add_after(key.clone(), delay),
            QueueAction::AddRateLimited => self.queue.add_rate_limited(key.clone()),
        }
    }

    fn log_end(&self, key: &Key, ended: &PassEnd<R::Error>, handling: PassHandling, took: Duration) {
        let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let Some(cause) = ended.cause() else {
            self.failures.lock().remove(key);
            let requeue_after_s = if let QueueAction::ForgetAndAddAfter(delay) = handling.action {
                Some(delay.as_secs_f64())
            } else {
                None
            };
            debug!(elapsed_ms, requeue_after_s, "Reconcile successful");
            return;
        };
        if handling.action == QueueAction::DropPass {
            self.failures.lock().remove(key);
            debug!(elapsed_ms, error = cause, "term is over, pass dropped");
            return;
        }
        let (attempt, new_cause) = self.record_failure(key, &cause);
        match handling.log {
            LogPolicy::Error => error!(elapsed_ms, attempt, error = cause, "Reconciler error"),
            LogPolicy::Warn => warn!(elapsed_ms, attempt, error = cause, "Reconciler error"),
            LogPolicy::WarnOnNewCause if new_cause => {
                warn!(elapsed_ms, attempt, error = cause, "Reconciler error");
            }
            LogPolicy::WarnOnNewCause | LogPolicy::Debug => {
                debug!(elapsed_ms, attempt, error = cause, "Reconciler error");
            }
        }
    }

    /// Counts a failure of the key. Yields how many in a row, and whether the cause is a new one.
    fn record_failure(&self, key: &Key, cause: &str) -> (u32, bool) {
        let mut failures = self.failures.lock();
        let known = failures.entry(key.clone()).or_default();
        known.attempts = known.attempts.saturating_add(1);
        let new_cause = known.cause != cause;
        if new_cause {
            cause.clone_into(&mut known.cause);
        }
        (known.attempts, new_cause)
    }

    fn forget_if_gone(&self, key: &Key, ended: &PassEnd<R::Error>) {
        if !matches!(ended, PassEnd::Answered(_)) || (self.exists)(key) {
            return;
        }
        let forget = AssertUnwindSafe(|| self.reconciler.forget(key));
        if let Err(panic) = std::panic::catch_unwind(forget) {
            let message = panic_message(panic.as_ref());
            error!(error = format!("panic: {message} [recovered]"), "forgetting an object failed");
            self.metrics.panicked();
        }
        if matches!(ended, PassEnd::Answered(Ok(_))) {
            self.failures.lock().remove(key);
        }
    }
}
