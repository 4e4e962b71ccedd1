// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::json;

use crate::{
    clock::{Clock, SystemClock},
    testkit::lease_store::{Fault, LeaseStore},
};

use super::{
    Settings,
    harness_tests::{Replica, Said, pass, settings, within},
    legacy::GROUP,
};

const TWO: &[(&str, &str)] = &[("kv-cache-controller", "kv"), ("stormservice-controller", "storm")];
const OLD: &str = "aibrix-controller-manager";

fn guarded(identity: &str) -> Settings {
    Settings { legacy_lease: Some(OLD.to_owned()), ..settings(identity) }
}

/// A Go manager renews its Lease.
fn renew(store: &LeaseStore, round: u32) {
    let now = SystemClock.now();
    store.edit(
        OLD,
        &json!({ "spec": {
            "holderIdentity": "old-pod_x", "leaseDurationSeconds": 15, "leaseTransitions": 1,
            "renewTime": format!("{:.6}", now + Duration::from_micros(round.into())),
        } }),
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_while_an_older_manager_renews_and_everything_after_it_stopped() {
    let store = LeaseStore::new();
    renew(&store, 0);
    let a = Replica::start(&store, guarded("a"), TWO);
    for round in 1..40 {
        pass(2.0).await;
        renew(&store, round);
        assert_eq!(a.led(), 0);
        assert!(store.get("kv").is_none());
    }
    assert!((a.metric("leader_election_waiting_for_legacy", "") - 1.0).abs() < 0.1);
    let took = within(17.0, || a.led() == 2).await;
    assert!(took < 17.0, "{took}");
    assert_eq!(store.holder(OLD), GROUP);
    assert!(a.metric("leader_election_waiting_for_legacy", "").abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn abandoned_empty_and_missing_leases_of_older_managers_are_not_waited_for() {
    let abandoned = json!({ "spec": {
        "holderIdentity": "old-pod_x", "leaseDurationSeconds": 15, "renewTime": "2020-01-01T00:00:00.000000Z",
    } });
    for lease in [None, Some(json!({ "spec": { "holderIdentity": "" } })), Some(json!({})), Some(abandoned)] {
        let store = LeaseStore::new();
        if let Some(lease) = &lease {
            store.edit(OLD, lease);
        }
        let a = Replica::start(&store, guarded("a"), TWO);
        assert!(within(2.0, || a.led() == 2).await < 1.0, "{lease:?}");
        within(1.0, || store.holder(OLD) == GROUP).await;
    }
}

#[tokio::test(start_paused = true)]
async fn older_manager_that_comes_back_waits_until_the_last_of_us_has_left() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    within(2.0, || a.led() == 2).await;
    let b = Replica::start(&store, guarded("b"), &[("model-claim-controller", "claim")]);
    within(2.0, || b.led() == 1).await;
    let version = store.get(OLD).unwrap()["metadata"]["resourceVersion"].clone();
    pass(60.0).await;
    assert_ne!(store.get(OLD).unwrap()["metadata"]["resourceVersion"], version, "renewed");
    a.stop().await;
    assert_eq!(store.holder(OLD), GROUP, "b still leads");
    pass(60.0).await;
    assert_eq!(store.holder(OLD), GROUP);
    b.stop().await;
    assert_eq!(store.holder(OLD), "");
    assert_eq!(store.get(OLD).unwrap()["spec"]["leaseDurationSeconds"], 1);
}

#[tokio::test(start_paused = true)]
async fn two_that_leave_at_once_release_the_lease() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    let b = Replica::start(&store, guarded("b"), &[("model-claim-controller", "claim")]);
    within(2.0, || a.led() == 2 && b.led() == 1).await;
    pass(5.0).await;
    tokio::join!(a.stop(), b.stop());
    assert_eq!(store.holder(OLD), "");
}

#[tokio::test(start_paused = true)]
async fn signature_of_a_killed_manager_does_not_keep_the_lease() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    let b = Replica::start(&store, guarded("b"), &[("model-claim-controller", "claim")]);
    within(2.0, || a.led() == 2 && b.led() == 1).await;
    pass(30.0).await;
    b.kill();
    pass(90.0).await;
    a.stop().await;
    assert_eq!(store.holder(OLD), "");
}

#[tokio::test(start_paused = true)]
async fn older_manager_that_takes_its_lease_stops_all_controllers() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    within(2.0, || a.led() == 2).await;
    pass(20.0).await;
    renew(&store, 1);
    within(12.0, || store.holder("kv").is_empty() && store.holder("storm").is_empty()).await;
    assert_eq!(a.led(), 0);
    assert_eq!(a.times(&Said::Asked("LegacyLease")), 2);
    assert_eq!(store.holder(OLD), "old-pod_x");
}

#[tokio::test(start_paused = true)]
async fn forbidden_lease_of_an_older_manager_is_no_obstacle() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    a.link.requests(Fault::Refused(403));
    pass(10.0).await;
    a.link.requests(Fault::None);
    within(8.0, || a.led() == 2).await;
}
