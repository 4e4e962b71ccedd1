// SPDX-License-Identifier: Apache-2.0
//! Runs one controller until shutdown: wait for its kinds, contend for its Lease, run a term, again.

use std::{
    convert::Infallible, fmt, future::Future, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration,
};

use futures::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use kube_fenced_election::{
    ElectionHandle, Leadership, TermEnd,
    clock::{Instant, SharedClock},
    fence::Fence,
};
use kube_loops::runtime::{
    controller::{Controller, FencedClient, RunError, Term},
    progress::{Progress, Stuck},
    tasks::panic_message,
};

use super::{
    health_gate::{EligibilityCheck, HealthGate},
    kind_gate::{KindGate, KindProbe},
    lifecycle::{ControllerState, ControllerStates, Failures, PATIENCE, TermOutcome},
};

/// How often it is checked whether a leader makes progress.
const PROGRESS_CHECK_PERIOD: Duration = Duration::from_secs(1);

/// Makes the client of a term, whose changes pass its fence.
pub(crate) type TermClient = Arc<dyn Fn(&'static str, &Fence) -> FencedClient + Send + Sync>;

/// What all runners of a process share.
#[derive(Clone)]
pub(crate) struct RunnerContext {
    /// Clock of the process.
    pub clock: SharedClock,
    /// Makes fenced clients.
    pub client: TermClient,
    /// Asks whether a kind is served.
    pub probe: KindProbe,
    /// State of each controller.
    pub states: Arc<ControllerStates>,
    /// Cancelled at the first signal.
    pub shutdown: CancellationToken,
    /// How long running passes may take after that signal.
    pub drain_budget: Duration,
    /// Start watches before the Lease is won.
    pub warm_standby: bool,
    /// Which controllers of the process cannot work.
    pub health_gate: HealthGate,
}

impl fmt::Debug for RunnerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LifeDeps").field("drain_budget", &self.drain_budget).finish_non_exhaustive()
    }
}

/// How a controller ended at shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownOutcome {
    /// All of the controller's work ended in time.
    Graceful,
    /// Passes may still have run when the drain budget was over; the Lease was not released.
    TimedOut,
}

/// One controller and the handle on its election.
pub(crate) struct ControllerRunner {
    controller: Arc<dyn Controller>,
    handle: ElectionHandle,
    workers: Option<usize>,
    context: RunnerContext,
    failures: Failures,
}

impl fmt::Debug for ControllerRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerRunner")
            .field("controller", &self.controller.spec().name)
            .finish_non_exhaustive()
    }
}

impl ControllerRunner {
    /// `workers`: passes at a time, `None` for each loop's own number.
    pub(crate) fn new(
        controller: Arc<dyn Controller>,
        handle: ElectionHandle,
        workers: Option<usize>,
        context: RunnerContext,
    ) -> Self {
        Self { controller, handle, workers, context, failures: Failures::default() }
    }

    fn name(&self) -> &'static str {
        self.controller.spec().name
    }

    fn set_state(&self, state: ControllerState) {
        self.context.states.set(self.name(), state);
    }

    /// Runs until shutdown. The future must be polled to its end, or the Lease is left to expire.
    pub(crate) async fn run(mut self) -> ShutdownOutcome {
        let shutdown = self.context.shutdown.clone();
        loop {
            let Some(won) = shutdown.run_until_cancelled(self.acquire_lease()).await.flatten() else {
                return self.release_at_shutdown().await;
            };
            let started = self.context.clock.instant();
            self.set_state(ControllerState::Starting);
            let ended = self.run_term(won).await;
            let outcome = match ended {
                TermOutcome::Unfinished => ShutdownOutcome::TimedOut,
                TermOutcome::Drained | TermOutcome::Lost | TermOutcome::Failed(_) | TermOutcome::Stuck(_) => {
                    ShutdownOutcome::Graceful
                }
            };
            self.end_term(&ended, started).await;
            if shutdown.is_cancelled() {
                self.set_state(ControllerState::Stopped);
                return outcome;
            }
        }
    }

    /// Shutdown while no term is running: releases a Lease that was acquired at the same moment.
    async fn release_at_shutdown(&mut self) -> ShutdownOutcome {
        self.handle.candidacy().withdraw();
        let rest = async {
            while self.handle.acquired().await.is_some() {
                self.handle.stepped_down_and_released(TermEnd::Finished).await;
            }
        };
        let outcome = match tokio::time::timeout(self.context.drain_budget, rest).await {
            Ok(()) => ShutdownOutcome::Graceful,
            Err(_) => ShutdownOutcome::TimedOut,
        };
        self.set_state(ControllerState::Stopped);
        outcome
    }

    /// Waits for the kinds, then for the Lease. `None`: the election is over for this process.
    async fn acquire_lease(&mut self) -> Option<Leadership> {
        let eligibility = EligibilityCheck {
            controller: Arc::clone(&self.controller),
            candidacy: self.handle.candidacy(),
            health_gate: self.context.health_gate.clone(),
        };
        let contending = self.contend();
        // From the second term on it contends while its kinds are looked for, and may acquire the Lease: then it works
        // under it, or steps down again.
        let won = tokio::select! {
            biased;
            won = self.handle.acquired() => won,
            never = contending => match never {},
            never = eligibility.run() => match never {},
        };
        // Reset health: the new term must prove itself.
        self.context.health_gate.set_healthy(self.name());
        self.handle.candidacy().set_eligible(true);
        won
    }

    /// Contends for the Lease once the kinds are served.
    fn contend(&self) -> impl Future<Output = Infallible> + Send + use<> {
        let name = self.name();
        let gate = KindGate {
            required: self.controller.spec().required_kinds,
            probe: Arc::clone(&self.context.probe),
        };
        let states = Arc::clone(&self.context.states);
        let warm = self.context.warm_standby.then(|| Arc::clone(&self.controller));
        let candidacy = self.handle.candidacy();
        async move {
            gate.wait_until_served(name, || {
                candidacy.withdraw();
                states.set(name, ControllerState::WaitingForCrd);
            })
            .await;
            states.set(name, ControllerState::Candidate);
            drop(warm.map(|controller| controller.reads()));
            candidacy.contend();
            std::future::pending().await
        }
    }

    /// Runs the controller for one term, until nothing of it runs any more.
    async fn run_term(&mut self, won: Leadership) -> TermOutcome {
        let tasks = TaskTracker::new();
        let ended = self.work(won, tasks.clone()).await;
        if matches!(ended, TermOutcome::Unfinished) {
            return ended;
        }
        self.set_state(ControllerState::Stopping);
        tasks.close();
        let (shutdown, budget) = (&self.context.shutdown, self.context.drain_budget);
        // A task that was aborted ends at its next await: until then it keeps the Lease, as long as the process runners.
        tokio::select! {
            biased;
            () = tasks.wait() => ended,
            () = async { shutdown.cancelled().await; tokio::time::sleep(budget).await } => {
                tracing::error!(controller = self.name(), ?budget,
                    "tasks did not end in time, the lease is left to expire");
                TermOutcome::Unfinished
            }
        }
    }

    /// Works until the term ends. What works is dropped then; tasks of it may still be about to end.
    async fn work(&mut self, won: Leadership, tasks: TaskTracker) -> TermOutcome {
        let name = self.name();
        let clock = Arc::clone(&self.context.clock);
        let progress = Arc::new(Progress::new(Arc::clone(&clock)));
        let drain = CancellationToken::new();
        let term = Term {
            client: (self.context.client)(name, &won.fence),
            fence: won.fence.clone(),
            clock,
            drain: drain.clone(),
            tasks,
            progress: Arc::clone(&progress),
            workers: self.workers,
        };
        self.set_state(ControllerState::Running);
        let controller = Arc::clone(&self.controller);
        // The future is made inside the guard: a panic of `run` itself counts like one of its tasks.
        let work = AssertUnwindSafe(async move { controller.run(term).await }).catch_unwind();
        let mut work = pin!(work);
        let (why, budget) = tokio::select! {
            biased;
            () = won.fence.expired() => return TermOutcome::Lost,
            ended = &mut work => return TermOutcome::Failed(cause_of(ended)),
            stuck = stuck(&progress) => return TermOutcome::Stuck(stuck),
            () = self.context.shutdown.cancelled() => ("shutdown", Some(self.context.drain_budget)),
            // The elector closes the fence of whoever takes longer than it allows.
            why = self.handle.step_down_requested() => (why, None),
        };
        let over = async {
            match budget {
                Some(budget) => tokio::time::sleep(budget).await,
                None => std::future::pending().await,
            }
        };
        self.set_state(ControllerState::Stopping);
        tracing::info!(
            controller = name,
            reason = why,
            "Shutdown signal received, waiting for all workers to finish"
        );
        drain.cancel();
        tokio::select! {
            biased;
            _ = work => {
                tracing::info!(controller = name, "All workers finished");
                TermOutcome::Drained
            }
            () = won.fence.expired() => {
                tracing::warn!(controller = name, reason = why,
                    "workers did not finish in time, what they were doing is dropped");
                TermOutcome::Lost
            }
            () = over => {
                tracing::error!(controller = name, budget = ?self.context.drain_budget,
                    "workers did not finish in time, the lease is left to expire");
                TermOutcome::Unfinished
            }
        }
    }

    /// Logs how the term ended and tells the elector, which releases the Lease.
    async fn end_term(&mut self, ended: &TermOutcome, started: Instant) {
        let controller = self.name();
        match ended {
            TermOutcome::Failed(error) => {
                tracing::error!(controller, error = %error, "controller ended by itself");
            }
            TermOutcome::Stuck(Stuck { reason, what }) => {
                tracing::error!(controller, reason, what, "controller cannot work, giving its lease away");
                self.context.health_gate.set_unhealthy(controller);
                self.handle.candidacy().set_eligible(false);
            }
            // Lost: the elector has logged it.
            TermOutcome::Lost | TermOutcome::Drained | TermOutcome::Unfinished => {}
        }
        let jitter = rand::random::<f64>();
        let term_end = self.failures.term_end(ended, started, self.context.clock.instant(), jitter);
        if term_end == TermEnd::Unfinished {
            self.handle.stepped_down(term_end);
        } else {
            self.handle.stepped_down_and_released(term_end).await;
        }
    }
}

/// Resolves when the controller makes no progress and should step down.
async fn stuck(progress: &Progress) -> Stuck {
    loop {
        tokio::time::sleep(PROGRESS_CHECK_PERIOD).await;
        if let Some(stuck) = progress.stuck(PATIENCE) {
            return stuck;
        }
    }
}

/// The error of a controller that ended though it was not stopped.
fn cause_of(ended: Result<Result<(), RunError>, Box<dyn std::any::Any + Send>>) -> RunError {
    match ended {
        Ok(Ok(())) => RunError::Ended { part: "controller" },
        Ok(Err(error)) => error,
        Err(panic) => RunError::Panicked { part: "controller", message: panic_message(&*panic) },
    }
}
