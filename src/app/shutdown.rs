// SPDX-License-Identifier: Apache-2.0
//! Waits for a signal, and stops in order and within the budget.

use std::{convert::Infallible, process::ExitCode, sync::Arc, time::Duration};

use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::manager::{ShutdownOutcome, Signals};
use kube_loops::{
    cluster::events::Recorder,
    runtime::tasks::{Ended, TaskSet},
};

use super::{election_thread::ElectionThread, report::Report};

/// Bound of the flush of events.
const EVENT_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that runs until shutdown.
pub(super) struct Runnables {
    /// `--graceful-shutdown-timeout`.
    pub(super) timeout: Duration,
    /// How long the listeners stay open after the signal, at least: readiness fails meanwhile.
    pub(super) drain_delay: Duration,
    /// Cancelled at the signal: stops controllers and electors.
    pub(super) shutdown: CancellationToken,
    /// Cancelled last: stops the listeners.
    pub(super) closing: CancellationToken,
    pub(super) runners: TaskSet<ShutdownOutcome>,
    pub(super) electors: TaskSet<()>,
    /// Where electors and their background tasks run.
    pub(super) _election_thread: Option<ElectionThread>,
    pub(super) background: TaskSet<()>,
    pub(super) senders: TaskSet<()>,
    pub(super) recorders: Vec<Recorder>,
    pub(super) servers: TaskSet<()>,
    pub(super) report: Arc<Report>,
}

/// Runs until the first signal, then stops. A second signal ends it at once.
pub(super) async fn run_until_signal(parts: Runnables, signals: &mut Signals) -> ExitCode {
    let signal = tokio::select! {
        signal = signals.next() => signal,
        never = report_ended(&parts) => match never {},
    };
    tracing::info!(signal = signal.name(), "Stopping and waiting for leader election runnables");
    parts.shutdown.cancel();
    let drain_delay = tokio::time::sleep(parts.drain_delay);
    let graceful = tokio::time::timeout(parts.timeout, drain(&parts, drain_delay));
    tokio::select! {
        biased;
        again = signals.next() => {
            tracing::error!(signal = again.name(), "second signal, ending at once");
            ExitCode::FAILURE
        }
        graceful = graceful => {
            if let Ok(true) = graceful {
                tracing::info!("Wait completed, proceeding to shutdown the manager");
                ExitCode::SUCCESS
            } else {
                tracing::error!(timeout = ?parts.timeout, "not everything stopped in time");
                ExitCode::FAILURE
            }
        }
    }
}

/// Logs, until it is dropped, every task that ends before shutdown; without a controller or an elector the process
/// is unhealthy.
pub(super) async fn report_ended(parts: &Runnables) -> Infallible {
    loop {
        tokio::select! {
            Some((task, ended)) = parts.runners.join_next() => {
                parts.report.set_ended("the task of a controller has ended");
                log_end(&task, &ended, "controller ended by itself");
            }
            Some((task, ended)) = parts.electors.join_next() => {
                parts.report.set_ended("an elector has ended");
                log_end(&task, &ended, "elector ended by itself");
            }
            Some((task, ended)) = parts.background.join_next() => log_end(&task, &ended, "task ended by itself"),
            Some((task, ended)) = parts.senders.join_next() => log_end(&task, &ended, "task ended by itself"),
            Some((task, ended)) = parts.servers.join_next() => log_end(&task, &ended, "server ended by itself"),
            else => std::future::pending().await,
        }
    }
}

/// Waits for controllers, then electors, then their background tasks; flushes events; closes the listeners. `false`:
/// passes may still have run.
async fn drain(parts: &Runnables, drain_delay: Sleep) -> bool {
    let mut graceful = true;
    while let Some((task, ended)) = parts.runners.join_next().await {
        graceful &= matches!(ended, Ended::Finished(ShutdownOutcome::Graceful));
        log_end(&task, &ended, "controller did not stop orderly");
    }
    // An elector whose controller may still run keeps its Lease and ends nevertheless.
    while parts.electors.join_next().await.is_some() {}
    // They leave the Lease of an older manager and delete this replica's presence Lease.
    while parts.background.join_next().await.is_some() {}
    for recorder in &parts.recorders {
        recorder.flush(EVENT_FLUSH_TIMEOUT).await;
    }
    // Readiness has failed since the signal: meanwhile clients switch to other replicas.
    drain_delay.await;
    tracing::info!("Stopping and waiting for HTTP servers");
    parts.closing.cancel();
    while parts.servers.join_next().await.is_some() {}
    graceful
}

/// Logs a task that panicked.
fn log_end<T>(task: &str, ended: &Ended<T>, what: &'static str) {
    match ended {
        Ended::Panicked(message) => tracing::error!(task, panic = message, "{what}"),
        Ended::Finished(_) => tracing::debug!(task, "{what}"),
        Ended::Aborted => {}
    }
}
