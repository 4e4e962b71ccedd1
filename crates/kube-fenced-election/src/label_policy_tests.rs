// SPDX-License-Identifier: Apache-2.0
//! Tools stamp labels onto our Leases, and members that cannot see each other: nobody is struck off for it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::testkit::{
    lease_store::{Fault, LeaseStore, Served},
    names,
};

use super::{
    Settings,
    harness_tests::{Replica, pass, settings, within},
    presence::presence_name,
};

const FOUR: &[(&str, &str)] = &[
    ("kv-cache-controller", "kv"),
    ("stormservice-controller", "storm"),
    ("model-claim-controller", "claim"),
    ("model-route-controller", "route"),
];
const OLD: &str = "example-controller-manager";
const GROUP: &str = "example-controller-manager-group";

fn guarded(identity: &str) -> Settings {
    Settings { legacy_lease: Some(OLD.to_owned()), ..settings(identity) }
}

/// More successful writes of one Lease by one process than one in each retry period, in these seconds.
fn too_many(served: &[Served], seconds: f64) -> Vec<String> {
    let mut writes: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for write in served.iter().filter(|it| it.verb == "PATCH" && it.code == 200) {
        *writes.entry((&*write.link, &write.lease)).or_default() += 1.0;
    }
    let many = writes.into_iter().filter(|(_, count)| *count > seconds / 2.0 + 1.0);
    many.map(|((link, lease), count)| format!("{count} of {lease} by {link}")).collect()
}

fn stamp(store: &LeaseStore) {
    store.stamp("app.kubernetes.io/managed-by", "platform");
    store.stamp("app.kubernetes.io/component", "platform");
}

// scenario: hardening 9
#[tokio::test(start_paused = true)]
async fn replicas_whose_leases_get_foreign_labels_see_each_other_and_share_the_controllers() {
    for from_the_start in [true, false] {
        let store = LeaseStore::new();
        if from_the_start {
            stamp(&store);
        }
        let spread = |identity| Settings { spread: true, ..guarded(identity) };
        let a = Replica::start(&store, spread("a"), FOUR);
        let b = Replica::start(&store, spread("b"), FOUR);
        within(120.0, || a.led() == 2 && b.led() == 2).await;
        let before = store.served().len();
        stamp(&store);
        for _ in 0..120 {
            pass(1.0).await;
            assert_eq!((a.led(), b.led(), store.holder(OLD).as_str()), (2, 2, GROUP));
        }
        assert_eq!(too_many(&store.served()[before..], 120.0), [] as [String; 0]);
        for one in [&a, &b] {
            let conflicts: Vec<_> = one.events().into_iter().filter(|it| it.contains("conflict")).collect();
            assert_eq!(conflicts, [] as [String; 0]);
            for (_, lease) in FOUR {
                assert!(one.figure("conflict", lease).abs() < 0.1);
            }
        }
        a.stop().await;
        within(2.0, || b.led() == 4).await;
        assert_eq!(store.holder(OLD), GROUP, "b leads");
        b.stop().await;
        assert_eq!(store.holder(OLD), "");
    }
}

// scenario: hardening 9
#[tokio::test(start_paused = true)]
async fn member_that_is_never_seen_keeps_the_groups_lease() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), &FOUR[..2]);
    let b = Replica::start(&store, guarded("b"), &FOUR[2..]);
    // Nobody sees b: its presence is refused.
    b.link.patches(&presence_name(&names(), "b"), usize::MAX, Fault::Refused(403));
    within(2.0, || a.led() == 2 && b.led() == 2).await;
    pass(90.0).await;
    let before = store.served().len();
    pass(60.0).await;
    assert_eq!(too_many(&store.served()[before..], 60.0), [] as [String; 0]);
    a.stop().await;
    for _ in 0..60 {
        assert_eq!((b.led(), store.holder(OLD).as_str()), (2, GROUP), "b still leads");
        pass(1.0).await;
    }
    b.stop().await;
    assert_eq!(store.holder(OLD), "");
}

// scenario: hardening 9
#[tokio::test(start_paused = true)]
async fn lease_of_a_leader_that_somebody_keeps_editing_is_not_fought_about() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, settings("a"), &FOUR[..1]);
    within(1.0, || a.led() == 1).await;
    pass(10.0).await;
    let before = store.served().len();
    for second in 0..200 {
        store.edit("kv", &json!({ "spec": { "leaseDurationSeconds": 30 + second % 2 } }));
        pass(0.1).await;
    }
    assert_eq!(too_many(&store.served()[before..], 20.0), [] as [String; 0]);
    assert_eq!(a.led(), 1);
}
