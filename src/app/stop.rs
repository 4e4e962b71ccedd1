// SPDX-License-Identifier: Apache-2.0
//! Waits for a signal, and stops in order and within the budget.

use std::{convert::Infallible, process::ExitCode, sync::Arc, time::Duration};

use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::manager::{Outlook, Signals};
use kube_loops::{
    cluster::events::Recorder,
    runtime::tasks::{Ended, TaskSet},
};

use super::report::Report;

/// Bound of the flush of events.
const FLUSH: Duration = Duration::from_secs(1);

/// Everything that has to be stopped.
pub(super) struct Stop {
    /// `--graceful-shutdown-timeout`.
    pub(super) timeout: Duration,
    /// How long the listeners stay open after the signal, at least.
    pub(super) linger: Duration,
    /// Told to controllers and electors.
    pub(super) shutdown: CancellationToken,
    /// Told to the listeners, last.
    pub(super) closing: CancellationToken,
    pub(super) lives: TaskSet<Outlook>,
    pub(super) electors: TaskSet<()>,
    pub(super) background: TaskSet<()>,
    pub(super) senders: TaskSet<()>,
    pub(super) recorders: Vec<Recorder>,
    pub(super) servers: TaskSet<()>,
    pub(super) report: Arc<Report>,
}

/// Runs until the first signal, then stops. A second signal ends it at once.
pub(super) async fn stop(parts: Stop, signals: &mut Signals) -> ExitCode {
    let asked = tokio::select! {
        asked = signals.next() => asked,
        never = look_after(&parts) => match never {},
    };
    tracing::info!(signal = asked.name(), "Stopping and waiting for leader election runnables");
    parts.shutdown.cancel();
    let lingered = tokio::time::sleep(parts.linger);
    let orderly = tokio::time::timeout(parts.timeout, drain(&parts, lingered));
    tokio::select! {
        biased;
        again = signals.next() => {
            tracing::error!(signal = again.name(), "second signal, ending at once");
            ExitCode::FAILURE
        }
        orderly = orderly => {
            if let Ok(true) = orderly {
                tracing::info!("Wait completed, proceeding to shutdown the manager");
                ExitCode::SUCCESS
            } else {
                tracing::error!(timeout = ?parts.timeout, "not everything stopped in time");
                ExitCode::FAILURE
            }
        }
    }
}

/// Tells, until it is dropped, of every part that ends though nothing told it to.
pub(super) async fn look_after(parts: &Stop) -> Infallible {
    loop {
        tokio::select! {
            Some((task, ended)) = parts.lives.join_next() => {
                parts.report.part_ended("the task of a controller has ended");
                tell(&task, &ended, "controller ended by itself");
            }
            Some((task, ended)) = parts.electors.join_next() => {
                parts.report.part_ended("an elector has ended");
                tell(&task, &ended, "elector ended by itself");
            }
            Some((task, ended)) = parts.background.join_next() => tell(&task, &ended, "task ended by itself"),
            Some((task, ended)) = parts.senders.join_next() => tell(&task, &ended, "task ended by itself"),
            Some((task, ended)) = parts.servers.join_next() => tell(&task, &ended, "server ended by itself"),
            else => std::future::pending().await,
        }
    }
}

/// Controllers, then elections, then what accompanies them, then events, then listeners. `false`: some work may still have run.
async fn drain(parts: &Stop, lingered: Sleep) -> bool {
    let mut orderly = true;
    while let Some((task, ended)) = parts.lives.join_next().await {
        orderly &= matches!(ended, Ended::Finished(Outlook::Orderly));
        tell(&task, &ended, "controller did not stop orderly");
    }
    // An elector whose controller may still run keeps its Lease and ends nevertheless.
    while parts.electors.join_next().await.is_some() {}
    // They sign off from the Lease of an older manager and delete the presence.
    while parts.background.join_next().await.is_some() {}
    for recorder in &parts.recorders {
        recorder.flush(FLUSH).await;
    }
    // Not ready since the signal: meanwhile others learn to ask elsewhere.
    lingered.await;
    tracing::info!("Stopping and waiting for HTTP servers");
    parts.closing.cancel();
    while parts.servers.join_next().await.is_some() {}
    orderly
}

/// Logs a task that panicked.
fn tell<T>(task: &str, ended: &Ended<T>, what: &'static str) {
    match ended {
        Ended::Panicked(message) => tracing::error!(task, panic = message, "{what}"),
        Ended::Finished(_) => tracing::debug!(task, "{what}"),
        Ended::Aborted => {}
    }
}
