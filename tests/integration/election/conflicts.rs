// SPDX-License-Identifier: Apache-2.0
//! One Lease, two different controllers: the fault that this product cures.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::support::{
    eventually,
    install::NAMESPACE,
    manager::{Launch, Manager},
    wait::{now, throughout},
};

use super::{EXPIRY, SOON, debug_entry, edit_lease, holders, plane, wait_counting, wait_held};

const FIRST: &str = "kv-cache-controller";
const SECOND: &str = "model-claim-controller";
const OTHER: &str = "stormservice-controller";

// scenario: leader-election 5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_controller_on_a_lease_reports_the_conflict_and_never_takes_it() {
    let plane = plane().await;
    let client = plane.client().await;
    let shared = "shared".to_owned();
    let of_first = [
        "--probe-loops",
        "--disable-webhook",
        "--controllers=kv-cache-controller",
        "--leader-election-id=shared",
    ];
    let first = Manager::start(&plane, &of_first).await;
    wait_held(&client, SOON, std::slice::from_ref(&shared), &[&first]).await;

    let of_second = [
        "--probe-loops",
        "--disable-webhook",
        "--controllers=model-claim-controller,stormservice-controller",
        "--leader-election-id=model-claim-controller=shared",
        "--legacy-leader-election-id=",
    ];
    let second = Manager::start(&plane, &of_second).await;
    let other = format!("aibrix-{OTHER}");
    wait_held(&client, SOON, &[other], &[&second]).await;
    let line = second.wait_for_line(SOON, "election id conflict").await;
    for part in [FIRST, SECOND, "shared", "--leader-election-id"] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    assert!(line.starts_with('E'), "an error: {line}");
    eventually(SOON, "/debug/leases tells of the conflict", async || {
        let entry = debug_entry(&second, SECOND).await?;
        let state = entry["state"].as_str().unwrap_or_default().to_lowercase();
        if state.contains("conflict") { Ok(()) } else { Err(entry.to_string()) }
    })
    .await;
    let metrics = second.metrics().await.expect("metrics");
    let gauge: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("leader_election_conflict{")).collect();
    assert!(gauge.iter().any(|line| line.contains("shared") && line.ends_with(" 1")), "{gauge:?}");
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    eventually(SOON, "a Warning event on the Lease", async || {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let told = list.iter().any(|event| {
            event.reason.as_deref() == Some("LeaderElectionConflict")
                && event.type_.as_deref() == Some("Warning")
                && event.involved_object.name.as_deref() == Some("shared")
        });
        if told { Ok(()) } else { Err(format!("{} events, none of them it", list.items.len())) }
    })
    .await;
    throughout(Duration::from_secs(20), "the first keeps the Lease", async || {
        let holders = holders(&client).await?;
        match holders.get("shared") {
            Some(holder) if first.is(holder) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    wait_counting(&client, SOON, OTHER).await;
    drop(second);

    let mut cured = Launch::new(&plane, &of_second).await;
    for arg in &mut cured.args {
        *arg = arg.replace("=shared", "=own");
    }
    let cured = cured.start();
    wait_held(&client, EXPIRY, &["own".to_owned()], &[&cured]).await;
    wait_counting(&client, SOON, SECOND).await;
}

// scenario: leader-election 5
// scenario: manager-and-deployment 14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stolen_lease_stops_its_controller_alone_until_the_thief_is_gone() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let lease = format!("aibrix-{FIRST}");
    let managers = super::managers(&plane, 1, &[]).await;
    wait_held(&client, SOON, &super::default_leases(), &[&managers[0]]).await;
    wait_counting(&client, SOON, FIRST).await;

    let steal = || {
        let now = now();
        json!({"spec": {"holderIdentity": "thief_1", "renewTime": format!("{now:.6}"), "leaseDurationSeconds": 6}})
    };
    edit_lease(&client, &lease, &steal()).await;
    let metric = format!("leader_election_master_status{{name=\"{lease}\"}}");
    eventually(Duration::from_secs(3), "its controller stops", async || {
        match managers[0].metric(&metric).await {
            Ok(Some(0.0)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let stopped = now();
    throughout(Duration::from_secs(10), "the thief keeps the Lease", async || {
        edit_lease(&client, &lease, &steal()).await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        match holders(&client).await?.get(&lease).map(String::as_str) {
            Some("thief_1") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let late = log.entries().iter().filter(|it| it.received > stopped);
    let wrote = late.filter(|it| it.is_by(FIRST) && it.is_write() && !it.is_lease()).count();
    assert_eq!(wrote, 0, "writes of a controller whose Lease was stolen");
    wait_counting(&client, SOON, OTHER).await;
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    eventually(SOON, "an event tells that it stopped leading", async || {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let told = list.iter().any(|event| {
            event.involved_object.name.as_deref() == Some(lease.as_str())
                && event.message.as_deref().is_some_and(|text| text.ends_with("stopped leading"))
        });
        if told { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    // The thief stops renewing.
    wait_held(&client, EXPIRY, std::slice::from_ref(&lease), &[&managers[0]]).await;
    wait_counting(&client, SOON, FIRST).await;
    assert!(managers[0].exit_status().is_none());
}
