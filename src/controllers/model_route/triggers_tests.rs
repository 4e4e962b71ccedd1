// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    cases::{hand_written, seen_grant, seen_route, workload},
    routes::GrantFacts,
    sources::SourceFacts,
    triggers::{Affected, of_grant, of_route, of_source},
};
use kube_loops::runtime::{reconciler::Key, watches::Change};

const GATEWAY: &str = "aibrix-system";

fn change(old: Option<&Value>, new: Option<&Value>) -> Change<SourceFacts> {
    Change { old: old.map(SourceFacts::for_test), new: new.map(SourceFacts::for_test) }
}

fn route(name: &str) -> Key {
    Key::new(GATEWAY, format!("{name}-router"))
}

fn grant(ns: &str) -> Key {
    Key::new(ns, format!("aibrix-system-reserved-referencegrant-in-{ns}"))
}

#[test]
fn a_workload_wakes_its_route_and_the_grant_of_its_namespace() {
    let one = workload("default", "d", "m", 0);
    let keys = vec![route("m"), grant("default")];
    assert_eq!(of_source(&change(None, Some(&one)), GATEWAY), Affected { keys: keys.clone(), lost: vec![] });
    let gone = of_source(&change(Some(&one), None), GATEWAY);
    assert_eq!(gone, Affected { keys: keys.clone(), lost: keys });
    let home = workload(GATEWAY, "d", "m", 0);
    assert_eq!(
        of_source(&change(None, Some(&home)), GATEWAY).keys,
        [route("m")],
        "no grant for the gateway's"
    );
}

#[test]
fn what_says_nothing_about_a_model_wakes_nobody() {
    let mut none = workload("default", "d", "", 0);
    let nobody = Affected::default();
    assert_eq!(of_source(&change(None, Some(&none)), GATEWAY), nobody);
    assert_eq!(of_source(&change(Some(&none), None), GATEWAY), nobody);
    let mut one = workload("default", "d", "m", 0);
    let before = one.clone();
    one["metadata"]["resourceVersion"] = json!("8");
    one["metadata"]["labels"]["else"] = json!("x");
    assert_eq!(of_source(&change(Some(&before), Some(&one)), GATEWAY), nobody);
    none["metadata"]["labels"]["model.aibrix.ai/port"] = json!("1");
    assert_eq!(of_source(&change(None, Some(&none)), GATEWAY), nobody);
}

#[test]
fn a_workload_that_changes_its_model_is_lost_to_the_old_one_only() {
    let (old, new) = (workload("default", "d", "m", 0), workload("default", "d", "n", 0));
    let affected = of_source(&change(Some(&old), Some(&new)), GATEWAY);
    assert_eq!(affected.lost, [route("m")], "the namespace still has it");
    assert_eq!(affected.keys, [grant("default"), route("m"), route("n")]);
    let none = workload("default", "d", "", 0);
    let affected = of_source(&change(Some(&old), Some(&none)), GATEWAY);
    assert_eq!(affected.lost, [route("m"), grant("default")]);
    let mut port = old.clone();
    port["metadata"]["labels"]["model.aibrix.ai/port"] = json!("9000");
    let affected = of_source(&change(Some(&old), Some(&port)), GATEWAY);
    assert_eq!(affected, Affected { keys: vec![route("m"), grant("default")], lost: vec![] });
}

#[test]
fn a_namesake_that_took_the_place_of_a_workload_is_looked_at() {
    let old = workload("default", "d", "m", 0);
    let mut new = old.clone();
    new["metadata"]["uid"] = json!("another");
    assert_eq!(of_source(&change(Some(&old), Some(&new)), GATEWAY).keys.len(), 2);
}

#[test]
fn a_route_wakes_itself_and_the_grant_that_it_needs_no_more() {
    let plain = hand_written("m-router", "m");
    let mut ours = plain.clone();
    ours["metadata"]["annotations"] = json!({"model.aibrix.ai/route-spec-hash": "x.Deployment"});
    let keys = |old: Option<&Value>, new: Option<&Value>| {
        of_route(&Change { old: old.map(seen_route), new: new.map(seen_route) }, GATEWAY)
    };
    assert_eq!(keys(None, Some(&plain)), [route("m")]);
    assert_eq!(keys(Some(&plain), None), [route("m")]);
    assert_eq!(keys(Some(&ours), None), [route("m"), grant("default")]);
    let mut moved = ours.clone();
    moved["spec"]["rules"][0]["backendRefs"][0]["namespace"] = json!("other");
    assert_eq!(keys(Some(&ours), Some(&moved)), [route("m"), grant("default")]);
    let mut status = ours.clone();
    status["metadata"]["resourceVersion"] = json!("2");
    status["status"] = json!({"parents": []});
    assert!(keys(Some(&ours), Some(&status)).is_empty(), "what the gateway says about it");
}

#[test]
fn only_the_grant_of_our_name_counts_and_whom_it_admits() {
    let ours = seen_grant("default");
    let keys = |old: Option<&Arc<GrantFacts>>, new: Option<&Arc<GrantFacts>>| {
        of_grant(&Change { old: old.cloned(), new: new.cloned() }, GATEWAY)
    };
    assert_eq!(keys(Some(&ours), None), [grant("default")]);
    assert_eq!(keys(None, Some(&ours)), [grant("default")]);
    assert!(keys(Some(&ours), Some(&ours)).is_empty());
    let mut edited = (*ours).clone();
    edited.from.clear();
    assert_eq!(keys(Some(&ours), Some(&Arc::new(edited))), [grant("default")]);
    let mut other = (*ours).clone();
    "other".clone_into(&mut other.name);
    let other = Arc::new(other);
    assert!(keys(Some(&other), None).is_empty());
}
