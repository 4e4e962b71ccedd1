// SPDX-License-Identifier: Apache-2.0
//! Elections of the built binary against a real API server.
//!
//! Controllers that this build lacks run the probe loop (`--probe-loops`, cargo feature `testkit`): while
//! it leads, it counts up in the ConfigMap `probe-<controller>` of the election namespace, and makes as
//! many child ConfigMaps as its parents ask for.

mod client_go;
mod conflicts;
mod faults;
mod go_manager;
mod guard_errors;
mod hardening;
mod hardening_claim;
mod hardening_conflict;
mod label_policy;
mod legacy;
mod overlap;
mod races;
mod standing;
mod starved;
mod watch_namespaces;
mod work;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::Value;

pub(crate) use crate::support::probes::{
    CONTROLLERS, allow_probes, default_lease, default_leases, probe_count,
};
use crate::support::{
    ControlPlane, Options, audit::AuditLog, eventually, install::NAMESPACE, leases, manager::Manager,
};

/// A controller that the probe loop plays.
pub(crate) const PROBED: &str = "kv-cache-controller";

/// Bound for what takes a moment.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Default lease duration plus what an expiry by observation may take.
pub(crate) const EXPIRY: Duration = Duration::from_secs(25);

/// A control plane with the manager installed, and what the probe loops need besides.
pub(crate) async fn plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_without_storm_services().await;
    allow_probes(&plane).await;
    plane
}

/// `n` managers with all controllers and these arguments besides.
pub(crate) async fn managers(plane: &ControlPlane, n: usize, more: &[&str]) -> Vec<Manager> {
    let mut args = vec!["--probe-loops", "--disable-webhook"];
    args.extend_from_slice(more);
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(Manager::start(plane, &args).await);
    }
    all
}

/// Leases of the manager's namespace.
pub(crate) fn leases_of(client: &Client) -> Api<Lease> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Holder of each Lease of the namespace that has one.
pub(crate) async fn holders(client: &Client) -> Result<BTreeMap<String, String>, String> {
    let list = leases_of(client).list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    let holder = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone().filter(|it| !it.is_empty());
    Ok(list.iter().filter_map(|lease| Some((lease.name_any(), holder(lease)?))).collect())
}

/// Waits until each of these Leases is held by one of these managers; answers who holds what.
pub(crate) async fn wait_held(
    client: &Client,
    within: Duration,
    leases: &[String],
    by: &[&Manager],
) -> BTreeMap<String, String> {
    eventually(within, "every Lease is held by a living manager", async || {
        let holders = holders(client).await?;
        let held = |lease: &&String| holders.get(*lease).is_some_and(|it| by.iter().any(|one| one.is(it)));
        let missing: Vec<_> = leases.iter().filter(|lease| !held(lease)).collect();
        if missing.is_empty() { Ok(holders) } else { Err(format!("not held: {missing:?}, all: {holders:?}")) }
    })
    .await
}

/// The manager that holds this Lease.
pub(crate) fn holder_of<'a>(
    holders: &BTreeMap<String, String>,
    lease: &str,
    among: &'a [Manager],
) -> &'a Manager {
    let holder = holders.get(lease).unwrap_or_else(|| panic!("{lease} has no holder"));
    among.iter().find(|one| one.is(holder)).unwrap_or_else(|| panic!("{holder} is none of ours"))
}

/// Waits until the probe loop of a controller has counted on.
pub(crate) async fn wait_counting(client: &Client, within: Duration, controller: &str) {
    let from = probe_count(client, controller).await.expect("read the count");
    eventually(within, &format!("the probe loop of {controller} counts"), async || {
        let count = probe_count(client, controller).await?;
        if count > from { Ok(()) } else { Err(format!("{count}, as before")) }
    })
    .await;
}

/// Waits until each of these Leases has been renewed: every elector of their holders has had its turn.
pub(crate) async fn wait_renewed(client: &Client, leases: &[String]) {
    let renewed = async || {
        let list = leases_of(client).list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let at = |lease: &Lease| Some((lease.name_any(), lease.spec.as_ref()?.renew_time.clone()?));
        Ok::<BTreeMap<_, _>, String>(list.iter().filter_map(at).collect())
    };
    let before = renewed().await.expect("read Leases");
    eventually(EXPIRY, "every Lease is renewed", async || {
        let now = renewed().await?;
        let same: Vec<_> = leases.iter().filter(|it| now.get(*it) == before.get(*it)).collect();
        if same.is_empty() { Ok(()) } else { Err(format!("not yet: {same:?}")) }
    })
    .await;
}

/// The entry of a controller in `/debug/leases`.
pub(crate) async fn debug_entry(manager: &Manager, controller: &str) -> Result<Value, String> {
    let all = manager.leases().await.map_err(|error| format!("{error:#}"))?;
    let entries = all.as_array().ok_or_else(|| format!("not a list: {all}"))?;
    let entry = entries.iter().find(|entry| entry["controller"] == controller);
    entry.cloned().ok_or_else(|| format!("{controller} is not in {all}"))
}

/// Writes into a Lease what somebody else might.
pub(crate) async fn edit_lease(client: &Client, name: &str, patch: &Value) {
    leases_of(client)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap_or_else(|error| panic!("edit the Lease {name}: {error}"));
}

/// Every write of a controller so far was made by the identity that held its Lease.
pub(crate) fn assert_nothing_without_lease(log: &mut AuditLog) {
    leases::who_wrote_without_lease(log.entries()).assert_clean();
}
