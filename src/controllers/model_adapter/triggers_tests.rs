// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use serde_json::{Value, json};

use crate::{api::model::ModelAdapter, k8s::pod_facts::PodFacts};
use kube_loops::runtime::{reconciler::Key, watches::Change};

use super::triggers::{of_pod, worth_a_pass};

fn adapter(name: &str, selector: &Value, instances: &[&str]) -> Arc<ModelAdapter> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": "u", "generation": 1},
            "spec": {"artifactURL": "/x", "podSelector": selector},
            "status": {"instances": instances},
        }))
        .unwrap(),
    )
}

fn pod(difference: &Value) -> Arc<PodFacts> {
    let mut pod = json!({
        "metadata": {"name": "a", "namespace": "ns", "uid": "u", "labels": {"app": "x"}, "resourceVersion": "1"},
        "spec": {}, "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    });
    json_patch::merge(&mut pod, difference);
    Arc::new(PodFacts::for_test(&pod))
}

fn woken(old: Option<&Arc<PodFacts>>, new: Option<&Arc<PodFacts>>) -> Vec<String> {
    let adapters = vec![
        adapter("all", &json!({}), &[]),
        adapter(
            "expressions",
            &json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]}),
            &[],
        ),
        adapter("host", &json!({"matchLabels": {"app": "gone"}}), &["a"]),
        adapter("labels", &json!({"matchLabels": {"app": "x"}}), &[]),
        adapter("other", &json!({"matchLabels": {"app": "y"}}), &["b"]),
        adapter("selectorless", &json!(null), &[]),
        adapter("wrong", &json!({"matchExpressions": [{"key": "app", "operator": "Near"}]}), &[]),
    ];
    let change = Change { old: old.cloned(), new: new.cloned() };
    let keys = of_pod(&change, |namespace| if namespace == "ns" { adapters } else { Vec::new() });
    keys.into_iter().map(|key: Key| key.name).collect()
}

const CONCERNED: [&str; 4] = ["all", "expressions", "host", "labels"];

#[test]
fn a_pod_wakes_those_that_select_it_or_are_on_it() {
    let (here, none) = (pod(&json!({})), None);
    assert_eq!(woken(none, Some(&here)), CONCERNED);
    assert_eq!(woken(Some(&here), none), CONCERNED);
}

#[test]
fn both_its_old_and_its_new_labels_count() {
    let moved = pod(&json!({"metadata": {"labels": {"app": "y"}}}));
    let want = ["all", "expressions", "host", "labels", "other"];
    assert_eq!(woken(Some(&pod(&json!({}))), Some(&moved)), want);
}

#[test]
fn what_changes_nothing_for_adapters_wakes_nobody() {
    let here = pod(&json!({}));
    let newer = pod(&json!({"metadata": {"resourceVersion": "2", "annotations": {"x": "y"}}}));
    assert_eq!(woken(Some(&here), Some(&newer)), Vec::<String>::new());
    let waiting = pod(&json!({"status": {"phase": "Pending", "podIP": null, "conditions": null}}));
    assert_eq!(woken(None, Some(&waiting)), Vec::<String>::new());
    let labelled = pod(&json!({"metadata": {"labels": {"app": "z"}}, "status": {"conditions": null}}));
    assert_eq!(woken(Some(&waiting), Some(&labelled)), Vec::<String>::new());
}

#[test]
fn readiness_departure_and_address_wake() {
    let here = pod(&json!({}));
    for difference in [
        json!({"status": {"conditions": null}}),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        json!({"status": {"podIP": "10.0.0.2"}}),
        json!({"status": {"phase": "Failed"}}),
        json!({"metadata": {"uid": "another"}}),
        json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z"}]}}),
    ] {
        assert_eq!(woken(Some(&here), Some(&pod(&difference))), CONCERNED, "{difference}");
    }
}

#[test]
fn own_writes_to_an_adapter_are_not_worth_a_pass() {
    let old = adapter("sql", &json!({}), &[]);
    let changed = |change: &dyn Fn(&mut ModelAdapter)| {
        let mut new = ModelAdapter::clone(&old);
        change(&mut new);
        worth_a_pass(&old, &new)
    };
    let annotate = |key: &'static str| {
        move |it: &mut ModelAdapter| it.metadata.annotations = Some([(key.into(), "x".into())].into())
    };
    assert!(!changed(&|it| it.status = None));
    assert!(!changed(&|it| it.metadata.finalizers = Some(vec!["x".into()])));
    assert!(!changed(&annotate("adapter.model.aibrix.ai/loaded-spec-hash")));
    assert!(changed(&annotate("anything")));
    assert!(changed(&|it| it.metadata.generation = Some(2)));
    assert!(changed(&|it| it.metadata.labels = Some([("a".into(), "b".into())].into())));
    assert!(changed(&|it| it.metadata.uid = Some("another".into())));
}
