// SPDX-License-Identifier: Apache-2.0
//! One of ours on the Lease of older managers: told as a conflict, and never taken for an older manager.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};
use serde_json::json;

use crate::support::{
    ControlPlane, eventually, install::NAMESPACE, manager::Manager, probes::PLAYED, wait::throughout,
};

use super::{
    EXPIRY, PROBED, SOON, assert_nothing_without_lease, default_lease, default_leases, edit_lease,
    go_manager::{GO_MANAGER, GoManager, LEGACY},
    hardening::{nothing_has_started, wait_waiting},
    holders, plane, wait_counting, wait_held,
};

/// Whose bare id is the Lease of older managers.
const ALONE: [&str; 5] = [
    "--probe-loops",
    "--disable-webhook",
    "--leader-election-spread=false",
    "--controllers=kv-cache-controller",
    "--leader-election-id=aibrix-controller-manager",
];
const ALL: [&str; 3] = ["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];
/// What both sides say.
const PHRASE: &str = "upgrade guard conflict";
/// It is said again after this, and a moment.
const AGAIN: Duration = Duration::from_secs(30 + 5);
const GAUGE: &str = "leader_election_guard_conflict{name=\"aibrix-controller-manager\"}";

/// The default Leases of all controllers but the one of [`ALONE`].
fn others() -> Vec<String> {
    default_leases().into_iter().filter(|it| *it != default_lease(PROBED)).collect()
}

/// The probe loops of all controllers but that of [`ALONE`] work.
async fn wait_others_counting(client: &Client) {
    for controller in PLAYED.iter().filter(|it| **it != PROBED) {
        wait_counting(client, SOON, controller).await;
    }
}

/// How often a manager has told of the conflict; each time as an error.
fn told(manager: &Manager) -> Vec<String> {
    let log = manager.log();
    let lines: Vec<String> = log.lines().filter(|it| it.contains(PHRASE)).map(str::to_owned).collect();
    assert!(lines.iter().all(|it| it.starts_with('E')), "not an error: {lines:?}");
    lines
}

async fn wait_told(manager: &Manager) -> String {
    eventually(AGAIN, &format!("{} tells of the conflict", manager.pod_name()), async || {
        told(manager)
            .first()
            .cloned()
            .ok_or_else(|| manager.log().lines().last().unwrap_or_default().to_owned())
    })
    .await
}

async fn wait_event(client: &Client) {
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    eventually(SOON, "a Warning event on the Lease", async || {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let warned = list.iter().any(|event| {
            event.reason.as_deref() == Some("LeaderElectionGuardConflict")
                && event.type_.as_deref() == Some("Warning")
                && event.involved_object.kind.as_deref() == Some("Lease")
                && event.involved_object.name.as_deref() == Some(LEGACY)
        });
        if warned { Ok(()) } else { Err(format!("{} events, none of them it", list.items.len())) }
    })
    .await;
}

/// Waits until the probe loop of [`PROBED`] counts in the name of that process.
async fn wait_working(plane: &ControlPlane, manager: &Manager) {
    let mut log = plane.audit();
    let mark = log.mark();
    eventually(SOON, &format!("{} works", manager.pod_name()), async || {
        let works = log.since(mark).iter().any(|it| {
            let own = it.caller.as_ref().is_some_and(|by| manager.is(&by.identity));
            own && it.is_by(PROBED) && it.is_write() && it.is_ok() && it.resource() == "configmaps"
        });
        if works { Ok(()) } else { Err("it wrote nothing".to_owned()) }
    })
    .await;
}

// scenario: hardening 60
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manager_of_ours_on_the_legacy_lease_is_told_as_a_conflict_and_keeps_no_other_controller_waiting() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let alone = Manager::start(&plane, &ALONE).await;
    let held = wait_held(&client, SOON, &[LEGACY.to_owned()], &[&alone]).await;
    let holder = held[LEGACY].clone();
    wait_working(&plane, &alone).await;

    let full = Manager::start(&plane, &ALL).await;
    wait_held(&client, EXPIRY, &others(), &[&full]).await;
    wait_others_counting(&client).await;
    let line = wait_told(&full).await;
    for part in [LEGACY, &holder, "--leader-election-id"] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    wait_told(&alone).await;
    wait_event(&client).await;
    eventually(SOON, "a metric tells of the conflict", async || match full.metric(GAUGE).await {
        Ok(Some(1.0)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let before = told(&full).len();
    eventually(AGAIN, "it is told again", async || {
        let lines = told(&full);
        if lines.len() > before { Ok(()) } else { Err(format!("{lines:?}")) }
    })
    .await;
    assert!(told(&full).len() <= before + 1, "told more often than every 30 s: {:?}", told(&full));
    // Nobody was robbed, and both work.
    assert_eq!(holders(&client).await.expect("read Leases").get(LEGACY), Some(&holder));
    wait_working(&plane, &alone).await;
    wait_others_counting(&client).await;
    assert_nothing_without_lease(&mut log);
}

// scenario: hardening 60
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manager_of_ours_that_comes_to_the_legacy_lease_later_is_told_and_stops_nobody() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let full = Manager::start(&plane, &ALL).await;
    wait_held(&client, SOON, &default_leases(), &[&full]).await;
    wait_others_counting(&client).await;
    let alone = Manager::start(&plane, &ALONE).await;
    alone.wait_ready().await;
    for manager in [&alone, &full] {
        let line = wait_told(manager).await;
        for part in [LEGACY, "--leader-election-id"] {
            assert!(line.contains(part), "{part} is not in: {line}");
        }
    }
    wait_event(&client).await;
    eventually(SOON, "a metric tells of the conflict", async || {
        let gauges = (full.metric(GAUGE).await.ok().flatten(), alone.metric(GAUGE).await.ok().flatten());
        if [gauges.0, gauges.1].contains(&Some(1.0)) { Ok(()) } else { Err(format!("{gauges:?}")) }
    })
    .await;
    // Whoever leads it: the controller works, and so do all others.
    wait_counting(&client, EXPIRY, PROBED).await;
    wait_held(&client, EXPIRY, &others(), &[&full]).await;
    wait_others_counting(&client).await;
    assert!(full.exit_status().is_none() && alone.exit_status().is_none(), "a manager ended");
    assert_nothing_without_lease(&mut log);
}

// scenario: hardening 60
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_manager_is_waited_for_whatever_keys_of_ours_its_lease_carries() {
    let plane = plane().await;
    let client = plane.client().await;
    let _go = GoManager::start(&client).await;
    // Left behind by one of ours that held the Lease before.
    let stale = json!({"metadata": {
        "annotations": {"leaders.aibrix.ai/holder": "somebody_else"},
        "labels": {"leaders.aibrix.ai/controller": PROBED, "app.kubernetes.io/managed-by": LEGACY},
    }});
    edit_lease(&client, LEGACY, &stale).await;
    let full = Manager::start(&plane, &ALL).await;
    full.wait_ready().await;
    wait_waiting(&client, &full).await;
    let beside = "nothing starts beside a Go manager";
    throughout(Duration::from_secs(20), beside, async || nothing_has_started(&client).await).await;

    // The key names the holder, and no member of ours has that identity.
    edit_lease(
        &client,
        LEGACY,
        &json!({"metadata": {"annotations": {"leaders.aibrix.ai/holder": GO_MANAGER}}}),
    )
    .await;
    throughout(Duration::from_secs(20), beside, async || nothing_has_started(&client).await).await;
    assert_eq!(told(&full), [] as [String; 0], "a Go manager was taken for one of ours");
    wait_waiting(&client, &full).await;
}
