// SPDX-License-Identifier: Apache-2.0
//! Runs the life of one controller: wait for its kinds, contend for its Lease, work for a term, again.

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
    fitness::{Fitness, Standby},
    kind_gate::{KindGate, KindProbe},
    lifecycle::{Ended, Failures, PATIENCE, State},
    states::States,
};

/// How often a leader's proof of work is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Makes the client of a term, whose changes pass its fence.
pub(crate) type TermClient = Arc<dyn Fn(&'static str, &Fence) -> FencedClient + Send + Sync>;

/// What all lives of a process share.
#[derive(Clone)]
pub(crate) struct LifeDeps {
    /// Clock of the process.
    pub clock: SharedClock,
    /// Makes fenced clients.
    pub client: TermClient,
    /// Asks whether a kind is served.
    pub probe: KindProbe,
    /// Where each life stands.
    pub states: Arc<States>,
    /// Cancelled at the first signal.
    pub shutdown: CancellationToken,
    /// Time that passes under way have after that signal.
    pub drain_budget: Duration,
    /// Start watches before the Lease is won.
    pub warm_standby: bool,
    /// Which controllers of the process could not work if they led.
    pub fitness: Fitness,
}

impl fmt::Debug for LifeDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LifeDeps").field("drain_budget", &self.drain_budget).finish_non_exhaustive()
    }
}

/// How the life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// All of the controller's work ended in time.
    Orderly,
    /// Work may still have run when the time was over; its Lease was kept.
    Unfinished,
}

/// One controller and the handle on its election.
pub(crate) struct Life {
    controller: Arc<dyn Controller>,
    handle: ElectionHandle,
    workers: Option<usize>,
    deps: LifeDeps,
    failures: Failures,
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").field("controller", &self.controller.spec().name).finish_non_exhaustive()
    }
}

impl Life {
    /// `workers`: passes at a time, `None` for each loop's own number.
    pub(crate) fn new(
        controller: Arc<dyn Controller>,
        handle: ElectionHandle,
        workers: Option<usize>,
        deps: LifeDeps,
    ) -> Self {
        Self { controller, handle, workers, deps, failures: Failures::default() }
    }

    fn name(&self) -> &'static str {
        self.controller.spec().name
    }

    fn enter(&self, state: State) {
        self.deps.states.set(self.name(), state);
    }

    /// Lives until shutdown. The future must be polled to its end, or the Lease is left to expire.
    pub(crate) async fn run(mut self) -> Outlook {
        let shutdown = self.deps.shutdown.clone();
        loop {
            let Some(won) = shutdown.run_until_cancelled(self.win()).await.flatten() else {
                return self.stop().await;
            };
            let started = self.deps.clock.instant();
            self.enter(State::Starting);
            let ended = self.term(won).await;
            let outlook = match ended {
                Ended::Unfinished => Outlook::Unfinished,
                Ended::Drained | Ended::Lost | Ended::Failed(_) | Ended::Stuck(_) => Outlook::Orderly,
            };
            self.leave(&ended, started).await;
            if shutdown.is_cancelled() {
                self.enter(State::Stopped);
                return outlook;
            }
        }
    }

    /// Shutdown came while no term was running: gives back what was won at the same moment.
    async fn stop(&mut self) -> Outlook {
        self.handle.candidacy().withdraw();
        let rest = async {
            while self.handle.acquired().await.is_some() {
                self.handle.stepped_down_and_released(TermEnd::Finished).await;
            }
        };
        let outlook = match tokio::time::timeout(self.deps.drain_budget, rest).await {
            Ok(()) => Outlook::Orderly,
            Err(_) => Outlook::Unfinished,
        };
        self.enter(State::Stopped);
        outlook
    }

    /// Waits for the kinds, then for the Lease. `None`: the election is over for this process.
    async fn win(&mut self) -> Option<Leadership> {
        let standby = Standby {
            controller: Arc::clone(&self.controller),
            candidacy: self.handle.candidacy(),
            fitness: self.deps.fitness.clone(),
        };
        let contending = self.contend();
        // From the second term on it contends while its kinds are looked for, and may acquire the Lease: then it works
        // under it, or steps down again.
        let won = tokio::select! {
            biased;
            won = self.handle.acquired() => won,
            never = contending => match never {},
            never = standby.look_after() => match never {},
        };
        // Reset health: the new term must prove itself.
        self.deps.fitness.regained(self.name());
        self.handle.candidacy().set_eligible(true);
        won
    }

    /// Contends for the Lease once the kinds are served.
    fn contend(&self) -> impl Future<Output = Infallible> + Send + use<> {
        let name = self.name();
        let gate =
            KindGate { required: self.controller.spec().required_kinds, probe: Arc::clone(&self.deps.probe) };
        let states = Arc::clone(&self.deps.states);
        let warm = self.deps.warm_standby.then(|| Arc::clone(&self.controller));
        let candidacy = self.handle.candidacy();
        async move {
            gate.open(name, || {
                candidacy.withdraw();
                states.set(name, State::WaitingForCrd);
            })
            .await;
            states.set(name, State::Candidate);
            drop(warm.map(|controller| controller.reads()));
            candidacy.contend();
            std::future::pending().await
        }
    }

    /// Works for one term, and says how it ended once nothing of it runs any more.
    async fn term(&mut self, won: Leadership) -> Ended {
        let tasks = TaskTracker::new();
        let ended = self.work(won, tasks.clone()).await;
        if matches!(ended, Ended::Unfinished) {
            return ended;
        }
        self.enter(State::Stopping);
        tasks.close();
        let (shutdown, budget) = (&self.deps.shutdown, self.deps.drain_budget);
        // A task that was aborted ends at its next await: until then it keeps the Lease, as long as the process lives.
        tokio::select! {
            biased;
            () = tasks.wait() => ended,
            () = async { shutdown.cancelled().await; tokio::time::sleep(budget).await } => {
                tracing::error!(controller = self.name(), ?budget,
                    "tasks did not end in time, the lease is left to expire");
                Ended::Unfinished
            }
        }
    }

    /// Works until the term ends. What works is dropped then; tasks of it may still be about to end.
    async fn work(&mut self, won: Leadership, tasks: TaskTracker) -> Ended {
        let name = self.name();
        let clock = Arc::clone(&self.deps.clock);
        let progress = Arc::new(Progress::new(Arc::clone(&clock)));
        let drain = CancellationToken::new();
        let term = Term {
            client: (self.deps.client)(name, &won.fence),
            fence: won.fence.clone(),
            clock,
            drain: drain.clone(),
            tasks,
            progress: Arc::clone(&progress),
            workers: self.workers,
        };
        self.enter(State::Running);
        let controller = Arc::clone(&self.controller);
        // The future is made inside the guard: a panic of `run` itself counts like one of its tasks.
        let work = AssertUnwindSafe(async move { controller.run(term).await }).catch_unwind();
        let mut work = pin!(work);
        let (why, budget) = tokio::select! {
            biased;
            () = won.fence.expired() => return Ended::Lost,
            ended = &mut work => return Ended::Failed(cause_of(ended)),
            stuck = stuck(&progress) => return Ended::Stuck(stuck),
            () = self.deps.shutdown.cancelled() => ("shutdown", Some(self.deps.drain_budget)),
            // The elector closes the fence of whoever takes longer than it allows.
            why = self.handle.step_down_requested() => (why, None),
        };
        let over = async {
            match budget {
                Some(budget) => tokio::time::sleep(budget).await,
                None => std::future::pending().await,
            }
        };
        self.enter(State::Stopping);
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
                Ended::Drained
            }
            () = won.fence.expired() => {
                tracing::warn!(controller = name, reason = why,
                    "workers did not finish in time, what they were doing is dropped");
                Ended::Lost
            }
            () = over => {
                tracing::error!(controller = name, budget = ?self.deps.drain_budget,
                    "workers did not finish in time, the lease is left to expire");
                Ended::Unfinished
            }
        }
    }

    /// Tells the elector, and the log, how the term ended.
    async fn leave(&mut self, ended: &Ended, started: Instant) {
        let controller = self.name();
        match ended {
            Ended::Failed(error) => tracing::error!(controller, error = %error, "controller ended by itself"),
            Ended::Stuck(Stuck { reason, what }) => {
                tracing::error!(controller, reason, what, "controller cannot work, giving its lease away");
                self.deps.fitness.lost(controller);
                self.handle.candidacy().set_eligible(false);
            }
            // Lost: the elector has said so.
            Ended::Lost | Ended::Drained | Ended::Unfinished => {}
        }
        let jitter = rand::random::<f64>();
        let leaving = self.failures.leaving(ended, started, self.deps.clock.instant(), jitter);
        if leaving == TermEnd::Unfinished {
            self.handle.stepped_down(leaving);
        } else {
            self.handle.stepped_down_and_released(leaving).await;
        }
    }
}

/// Resolves with the reason when the controller should give way.
async fn stuck(progress: &Progress) -> Stuck {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(stuck) = progress.stuck(PATIENCE) {
            return stuck;
        }
    }
}

/// Why a controller's work ended though nothing told it to.
fn cause_of(ended: Result<Result<(), RunError>, Box<dyn std::any::Any + Send>>) -> RunError {
    match ended {
        Ok(Ok(())) => RunError::Ended { part: "controller" },
        Ok(Err(error)) => error,
        Err(panic) => RunError::Panicked { part: "controller", message: panic_message(&*panic) },
    }
}
