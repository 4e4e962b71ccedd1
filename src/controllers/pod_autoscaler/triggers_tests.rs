// SPDX-License-Identifier: Apache-2.0

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::autoscaling::PodAutoscaler;
use kube_loops::runtime::{reconciler::Key, watches::Change};

use super::{
    fetch::stores::TargetFacts,
    triggers::{has_appeared, that_target, worth_a_pass},
};

fn autoscaler(name: &str, metadata: &Value) -> PodAutoscaler {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": "u", "generation": 1},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5, "scalingStrategy": "KPA",
        },
    });
    json_patch::merge(&mut object, &json!({"metadata": metadata}));
    serde_json::from_value(object).unwrap()
}

#[test]
fn only_what_a_user_changes_is_worth_a_pass() {
    let before = autoscaler("pa", &json!({"resourceVersion": "1"}));
    let mut status_only = autoscaler("pa", &json!({"resourceVersion": "2"}));
    status_only.status = Some(serde_json::from_value(json!({"desiredScale": 3})).unwrap());
    assert!(!worth_a_pass(&before, &status_only));
    for (metadata, why) in [
        (json!({"generation": 2}), "spec"),
        (json!({"labels": {"a": "b"}}), "label"),
        (json!({"annotations": {"a": "b"}}), "annotation"),
        (json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), "deletion"),
        (json!({"uid": "v"}), "namesake"),
    ] {
        assert!(worth_a_pass(&before, &autoscaler("pa", &metadata)), "{why}");
    }
}

#[test]
fn target_wakes_when_it_appears_and_not_when_it_changes() {
    let target = |uid: &str, replicas: i32| {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "uid": uid}, "spec": {"replicas": replicas}});
        Some(Arc::new(TargetFacts::for_test(&object)))
    };
    assert!(has_appeared(&Change { old: None, new: target("u", 1) }));
    assert!(has_appeared(&Change { old: target("u", 1), new: target("v", 1) }));
    assert!(!has_appeared(&Change { old: target("u", 1), new: target("u", 2) }));
    assert!(!has_appeared(&Change { old: target("u", 1), new: None }));
}

#[test]
fn autoscalers_are_found_by_the_target_that_they_name() {
    let all = [Arc::new(autoscaler("a", &json!({}))), Arc::new(autoscaler("b", &json!({})))];
    assert_eq!(that_target(&all, "apps", "Deployment", "web"), [Key::new("ns", "a"), Key::new("ns", "b")]);
    assert_eq!(that_target(&all, "apps", "Deployment", "other"), []);
    assert_eq!(that_target(&all, "apps", "StatefulSet", "web"), []);
    assert_eq!(that_target(&all, "", "Deployment", "web"), []);
}
