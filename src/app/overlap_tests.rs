// SPDX-License-Identifier: Apache-2.0
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;

use super::overlap::{Found, Overlaps, deployment_of};

const KV: &str = "kv-cache-controller";
const STORM: &str = "stormservice-controller";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A Lease that `holder` renewed at this second.
fn lease(namespace: &str, controller: &str, holder: &str, renewed: i64) -> Lease {
    serde_json::from_value(json!({
        "metadata": {
            "namespace": namespace, "name": format!("aibrix-{controller}"),
            "labels": { "leaders.aibrix.ai/controller": controller },
        },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": format!("{:.6}", at(renewed)) },
    }))
    .unwrap()
}

fn ours() -> Overlaps {
    ours_in(&[])
}

/// With `--watch-namespaces`.
fn ours_in(watched: &[&str]) -> Overlaps {
    Overlaps::new("ours", [KV.to_owned()], watched.iter().map(|&it| it.to_owned()).collect())
}

fn found(pairs: &[(&str, &str)]) -> Found {
    let mut found = Found::new();
    for (namespace, controller) in pairs {
        found.entry((*namespace).to_owned()).or_default().insert((*controller).to_owned());
    }
    found
}

#[test]
fn held_lease_of_a_controller_of_ours_in_another_namespace_is_an_overlap() {
    for (lease, want) in [
        (lease("theirs", KV, "pod_x", 0), found(&[("theirs", KV)])),
        (lease("theirs", KV, "pod_x", 50), found(&[("theirs", KV)])),
        (lease("theirs", KV, "", 0), found(&[])),
        (lease("theirs", STORM, "pod_x", 0), found(&[])),
        (lease("ours", KV, "pod_x", 0), found(&[])),
        (lease("theirs", KV, "pod_x", -61), found(&[])),
    ] {
        assert_eq!(ours().found(vec![lease.clone()], at(0)), want, "{lease:?}");
    }
}

#[test]
fn installations_that_work_in_different_namespaces_do_not_overlap() {
    let all: &[&str] = &[];
    for (ours, theirs, overlap) in [
        (all, None, true),
        (all, Some("a"), true),
        (&["a"], None, true),
        (&["a"], Some("a"), true),
        (&["a", "b"], Some("b,c"), true),
        (&["a"], Some("b"), false),
        (&["a", "b"], Some("aa,c"), false),
        // Where the Leases are says nothing about where one works.
        (&["theirs"], Some("ours"), false),
    ] {
        let mut lease = lease("theirs", KV, "pod_x", 0);
        let annotation = theirs.map(|it| ("leaders.aibrix.ai/watch-namespaces".to_owned(), it.to_owned()));
        lease.metadata.annotations = Some(annotation.into_iter().collect());
        let want = if overlap { found(&[("theirs", KV)]) } else { found(&[]) };
        assert_eq!(ours_in(ours).found(vec![lease], at(0)), want, "{ours:?} and {theirs:?}");
    }
}

#[test]
fn renewal_since_the_last_look_tells_where_clocks_disagree() {
    let mut ours = ours();
    let hour = 3600;
    let left_behind = || lease("gone", KV, "pod_y", -2 * hour);
    let look = |ours: &mut Overlaps, renewed| {
        ours.found(vec![lease("theirs", KV, "pod_x", renewed), left_behind()], at(0))
    };
    assert_eq!(look(&mut ours, -hour), found(&[]), "by a clock that is an hour behind, or left behind");
    assert_eq!(look(&mut ours, -hour + 600), found(&[("theirs", KV)]));
    assert_eq!(look(&mut ours, -hour + 600), found(&[]), "not renewed again");
}

#[test]
fn deployment_is_known_by_the_name_of_its_pod() {
    for (pod, want) in [
        ("aibrix-controller-manager-6d4cf56db6-x7k2p", Some("aibrix-controller-manager")),
        ("manager-5f9c7b8d4-abcde", Some("manager")),
        ("manager-1", None),
        ("my-laptop", None),
        ("aibrix-controller-manager-0", None),
        ("a-b-c", None),
    ] {
        assert_eq!(deployment_of(pod), want, "{pod}");
    }
}
