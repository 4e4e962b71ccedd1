// SPDX-License-Identifier: Apache-2.0
//! Takes keys, runs passes, and decides what their ends mean.
//!
//! Passes are futures inside the term's own future, not tasks: when the term is dropped, none of them is
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
};

/// A key that must be retried soon this often in a row is worth a warning.
const WARN_FROM: u32 = 5;

/// How a pass ended.
#[derive(Debug)]
pub(super) enum Ended<E> {
    /// With an answer.
    Answered(Result<Outcome, E>),
    /// By a panic with this message.
    Panicked(String),
    /// By the deadline.
    TimedOut,
}

/// What happens to the key of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing; its back-off starts anew.
    Rest,
    /// It comes back after a delay; its back-off starts anew.
    Again(Duration),
    /// It comes back after a delay; its back-off stays as it is.
    RetryAfter(Duration),
    /// It comes back after its back-off.
    BackOff,
    /// Nothing at all.
    Drop,
}

/// How loudly a failure is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// At debug level, each time.
    Quietly,
    /// At warn level, each time.
    Loudly,
    /// At warn level, once per change of cause.
    OncePerCause,
    /// At info level, once per change of cause.
    AsAdvice,
    /// At error level: a person must act.
    AsDefect,
}

/// What follows from the end of a pass; the table of outcomes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) next: Next,
    /// Label of the metrics; `None`: the pass is not counted.
    pub(super) result: Option<PassResult>,
    pub(super) tell: Tell,
    pub(super) terminal: bool,
}

/// Judges the end of a pass. `attempt`: failures in a row of the key before it.
pub(super) fn judge<E: Failure>(ended: &Ended<E>, attempt: u32) -> Verdict {
    let verdict = |next, result, tell| Verdict { next, result: Some(result), tell, terminal: false };
    match ended {
        Ended::Answered(Ok(Outcome::Done)) => verdict(Next::Rest, PassResult::Success, Tell::Quietly),
        Ended::Answered(Ok(Outcome::RequeueAfter(delay))) => {
            verdict(Next::Again(*delay), PassResult::RequeueAfter, Tell::Quietly)
        }
        Ended::Answered(Err(error)) => match error.retry() {
            Retry::Soon => {
                let often = attempt.saturating_add(1) >= WARN_FROM;
                let tell = if often { Tell::Loudly } else { Tell::Quietly };
                verdict(Next::BackOff, PassResult::Requeue, tell)
            }
            Retry::Backoff => verdict(Next::BackOff, PassResult::Error, Tell::OncePerCause),
            Retry::After(delay) => verdict(Next::RetryAfter(delay), PassResult::Error, Tell::OncePerCause),
            Retry::OnChange => {
                Verdict { terminal: true, ..verdict(Next::Rest, PassResult::Error, Tell::AsAdvice) }
            }
            Retry::TermOver => {
                Verdict { next: Next::Drop, result: None, tell: Tell::Quietly, terminal: false }
            }
        },
        Ended::Panicked(_) => verdict(Next::BackOff, PassResult::Error, Tell::AsDefect),
        Ended::TimedOut => verdict(Next::BackOff, PassResult::Error, Tell::OncePerCause),
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
    /// Whether the primary store holds the key.
    pub(super) exists: Arc<dyn Fn(&Key) -> bool + Send + Sync>,
    pub(super) clock: SharedClock,
    pub(super) progress: LoopProgress,
    pub(super) metrics: LoopMetrics,
    pub(super) failing: Mutex<HashMap<Key, Failing>>,
}

/// What is remembered of a key that fails.
#[derive(Debug, Default)]
pub(super) struct Failing {
    attempts: u32,
    cause: String,
}

impl<R: Reconciler> Worker<R> {
    /// Runs passes, at most `at_once` at a time, until `drain` is cancelled and those under way have
    /// ended.
    pub(super) async fn run(&self, at_once: usize, drain: &CancellationToken) {
        let at_once = at_once.max(1);
        info!(
            controller = self.controller,
            r#loop = self.spec.label,
            worker_count = at_once,
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
                taken = self.queue.take(), if passes.len() < at_once => match taken {
                    Some(taken) => passes.push(self.pass(taken)),
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

    async fn pass(&self, taken: Taken) {
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
        let attempt = self.failing.lock().get(taken.key()).map_or(0, |failing| failing.attempts);
        let ended = self.bounded(taken.key(), attempt).await;
        drop(active);
        let took = self.clock.instant().saturating_duration_since(started);
        let verdict = judge(&ended, attempt);
        if let Some(result) = verdict.result {
            self.metrics.pass_ended(result, took);
        }
        if verdict.terminal {
            self.metrics.terminal();
        }
        if matches!(ended, Ended::Panicked(_)) {
            self.metrics.panicked();
        }
        self.tell(taken.key(), &ended, verdict, took);
        self.forget_if_gone(taken.key(), &ended);
        self.requeue(taken.key(), verdict.next);
        drop(taken);
        if !matches!(ended, Ended::TimedOut) {
            self.progress.pass_finished();
        }
    }

    /// The reconciler's pass, bounded by the deadline, with its panics caught.
    async fn bounded(&self, key: &Key, attempt: u32) -> Ended<R::Error> {
        let pass = Pass {
            now: self.clock.now(),
            attempt,
            writer: self.writer.clone(),
            recorder: self.recorder.clone(),
        };
        // Inside an async block, so that a panic before the first await is caught, too.
        let work = AssertUnwindSafe(async { self.reconciler.reconcile(key, &pass).await }).catch_unwind();
        match tokio::time::timeout(self.spec.longest_pass(), work).await {
            Ok(Ok(answer)) => Ended::Answered(answer),
            Ok(Err(panic)) => Ended::Panicked(panic_message(panic.as_ref())),
            Err(_elapsed) => Ended::TimedOut,
        }
    }

    fn requeue(&self, key: &Key, next: Next) {
        match next {
            Next::Rest | Next::Drop => self.queue.forget(key),
            Next::Again(delay) => {
                self.queue.forget(key);
                self.queue.add_after(key.clone(), delay);
            }
            Next::RetryAfter(delay) => self.queue.add_after(key.clone(), delay),
            Next::BackOff => self.queue.add_rate_limited(key.clone()),
        }
    }

    fn tell(&self, key: &Key, ended: &Ended<R::Error>, verdict: Verdict, took: Duration) {
        let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let cause = match ended {
            Ended::Answered(Ok(outcome)) => {
                self.failing.lock().remove(key);
                let requeue_after_s = match outcome {
                    Outcome::RequeueAfter(delay) => Some(delay.as_secs_f64()),
                    Outcome::Done => None,
                };
                debug!(elapsed_ms, requeue_after_s, "Reconcile successful");
                return;
            }
            Ended::Answered(Err(error)) => Chain(error).to_string(),
            Ended::Panicked(message) => format!("panic: {message} [recovered]"),
            Ended::TimedOut => "deadline of the pass exceeded".to_owned(),
        };
        if verdict.next == Next::Drop {
            self.failing.lock().remove(key);
            debug!(elapsed_ms, error = cause, "term is over, pass dropped");
            return;
        }
        let (attempt, news) = self.note(key, &cause);
        match verdict.tell {
            Tell::AsDefect => error!(elapsed_ms, attempt, error = cause, "Reconciler error"),
            Tell::Loudly => warn!(elapsed_ms, attempt, error = cause, "Reconciler error"),
            Tell::OncePerCause if news => warn!(elapsed_ms, attempt, error = cause, "Reconciler error"),
            Tell::AsAdvice if news => info!(elapsed_ms, attempt, error = cause, "Reconciler error"),
            Tell::OncePerCause | Tell::AsAdvice | Tell::Quietly => {
                debug!(elapsed_ms, attempt, error = cause, "Reconciler error");
            }
        }
    }

    /// Counts a failure of the key. Yields how many in a row, and whether the cause is a new one.
    fn note(&self, key: &Key, cause: &str) -> (u32, bool) {
        let mut failing = self.failing.lock();
        let known = failing.entry(key.clone()).or_default();
        known.attempts = known.attempts.saturating_add(1);
        let news = known.cause != cause;
        if news {
            cause.clone_into(&mut known.cause);
        }
        (known.attempts, news)
    }

    fn forget_if_gone(&self, key: &Key, ended: &Ended<R::Error>) {
        if !matches!(ended, Ended::Answered(_)) || (self.exists)(key) {
            return;
        }
        let forget = AssertUnwindSafe(|| self.reconciler.forget(key));
        if let Err(panic) = std::panic::catch_unwind(forget) {
            let message = panic_message(panic.as_ref());
            error!(error = format!("panic: {message} [recovered]"), "forgetting an object failed");
            self.metrics.panicked();
        }
        if matches!(ended, Ended::Answered(Ok(_))) {
            self.failing.lock().remove(key);
        }
    }
}
