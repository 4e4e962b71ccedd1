// SPDX-License-Identifier: Apache-2.0
//! The manager that is measured, and what its requests look like from outside.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use kube_fenced_election::clock::Timestamp;

use crate::support::{
    ControlPlane,
    audit::{AuditLog, Entry},
    install::{NAME, NAMESPACE},
    leases,
    manager::{Launch, Manager},
    usage::{self, Usage},
    wait::{instant, within_deadline},
};

/// Flags that the Go manager has as well.
pub(crate) const ARGS: [&str; 3] =
    ["--leader-elect", "--leader-election-namespace=aibrix-system", "--disable-webhook"];
/// Longest wait for a process to come up; twice the lease duration is usual at most.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The manager's binary.
    pub(crate) binary: PathBuf,
}

impl Subject {
    /// Starts a replica.
    pub(crate) async fn start(&self, plane: &ControlPlane) -> Manager {
        let mut launch = Launch::new(plane, &ARGS).await;
        launch.binary = Some(self.binary.clone());
        launch.start()
    }
}

/// Whether a replica of the manager asked.
pub(crate) fn asked(entry: &Entry) -> bool {
    entry.user.strip_prefix("system:serviceaccount:").and_then(|it| it.split_once(':'))
        == Some((NAMESPACE, NAME))
}

/// Who took which election Lease first after `since`, other than `not`.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    /// The Lease's new holder.
    pub(crate) holder: String,
    /// When the request that took it was answered.
    pub(crate) at: Timestamp,
}

/// The first election Lease after `since` whose holder is not `not`, nor nobody. Leases by which replicas
/// say that they are there do not count.
pub(crate) fn taken(log: &mut AuditLog, since: Timestamp, not: &str) -> Option<Taken> {
    let history = leases::history(log.entries());
    let presence = |name: &str| name.starts_with("aibrix-controller-manager-");
    let elected = history.iter().filter(|((ns, name), _)| ns == NAMESPACE && !presence(name));
    elected
        .flat_map(|(_, changes)| changes)
        .filter(|it| !it.holder.is_empty() && it.holder != not)
        .filter(|it| it.finished > since)
        .min_by_key(|it| it.finished)
        .map(|it| Taken { holder: it.holder.clone(), at: it.finished })
}

/// Waits until somebody other than `not` takes an election Lease after `since`.
///
/// # Errors
/// Nobody did.
pub(crate) async fn wait_taken(log: &mut AuditLog, since: Timestamp, not: &str) -> Result<Taken> {
    let found = within_deadline(PATIENCE, async || taken(log, since, not).ok_or_else(String::new)).await;
    found.ok().context("nobody took the Lease within a minute")
}

/// Time from one moment to another; zero when they are the other way round.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

/// What a replica uses now.
///
/// # Errors
/// It has ended.
pub(crate) fn usage(manager: &Manager) -> Result<Usage> {
    usage::of(manager.pid()).with_context(|| format!("{} has ended:\n{}", manager.pod_name(), manager.log()))
}

/// Waits until a replica has gone to rest: less than a fiftieth of a processor over 5 s, seen twice.
///
/// # Errors
/// It has ended. One that does not come to rest is measured as it is, after `limit`.
pub(crate) async fn at_rest(manager: &Manager, limit: Duration) -> Result<()> {
    const LOOK: Duration = Duration::from_secs(5);
    let (from, mut quiet) = (instant(), 0);
    while quiet < 2 && from.elapsed() < limit {
        let before = usage(manager)?.cpu;
        tokio::time::sleep(LOOK).await;
        let used = usage(manager)?.cpu.saturating_sub(before);
        quiet = if used < LOOK / 50 { quiet + 1 } else { 0 };
    }
    Ok(())
}

/// Ends a replica and waits for its end.
///
/// # Errors
/// It does not end.
pub(crate) async fn stop(manager: &Manager) -> Result<()> {
    manager.sigterm();
    let ended = within_deadline(PATIENCE, async || manager.exit_status().ok_or_else(String::new)).await;
    if ended.is_err() {
        bail!("{} does not end:\n{}", manager.pod_name(), manager.log());
    }
    Ok(())
}
