// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use kube_loops::runtime::watches::Stored;

use super::pod_facts::PodFacts;

#[test]
fn pod_is_reduced_to_what_is_read() {
    let pod = PodFacts::for_test(&json!({
        "metadata": {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "7", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "env": [{"name": "x", "value": "y"}]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": []},
    }));
    assert_eq!((pod.namespace(), Stored::name(&pod), pod.version(), &*pod.uid), ("ns", "a", "7", "u"));
    assert!(pod.is_running() && !pod.leaving && !pod.is_finished() && !pod.has_sidecar);
    assert_eq!((pod.ip, pod.ready_since), (Some("10.0.0.1".parse().unwrap()), None));
    assert_eq!(pod.labels["app"], "web");
}

#[test]
fn pod_without_status_neither_runs_nor_has_an_address() {
    for status in [json!(null), json!({}), json!({"phase": "Running", "podIP": "nonsense"})] {
        let pod = PodFacts::for_test(&json!({"metadata": {"name": "a"}, "spec": {}, "status": status}));
        assert_eq!((pod.ip, pod.ready_since), (None, None));
    }
}

#[test]
fn readiness_is_since_when_it_holds() {
    let of = |condition: Value| {
        let status = json!({"conditions": [{"type": "Initialized", "status": "True"}, condition]});
        PodFacts::for_test(&json!({"metadata": {"name": "a"}, "spec": {}, "status": status})).ready_since
    };
    let since = "2026-01-01T00:00:00Z";
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
    assert_eq!(of(ready).map(|at| at.to_string()).as_deref(), Some(since));
    assert_eq!(of(json!({"type": "Ready", "status": "True"})).map(jiff::Timestamp::as_second), Some(0));
    assert_eq!(of(json!({"type": "Ready", "status": "False", "lastTransitionTime": since})), None);
}

#[test]
fn the_models_of_a_pod_come_from_label_annotation_and_claims() {
    let of = |labels: Value, annotations: Value| {
        let metadata = json!({"name": "a", "labels": labels, "annotations": annotations});
        let pod = PodFacts::for_test(&json!({"metadata": metadata, "spec": {}}));
        let claimed: Vec<String> = pod.claimed_models.iter().map(ToString::to_string).collect();
        (pod.base_model().map(str::to_owned), claimed)
    };
    let name = "model.aibrix.ai/name";
    assert_eq!(of(json!({}), json!({})), (None, vec![]));
    assert_eq!(of(json!({name: "l"}), json!({name: "/a"})), (Some("l".into()), vec![]));
    assert_eq!(of(json!({name: ""}), json!({name: "/a"})), (Some("/a".into()), vec![]));
    let claims = json!({
        "modelclaim.aibrix.ai/one": r#"{"model":"m1","port":8001,"state":"active"}"#,
        "modelclaim.aibrix.ai/two": r#"{"model":"m2","port":0,"state":"activating"}"#,
        "modelclaim.aibrix.ai/three": "nonsense",
    });
    assert_eq!(of(json!({}), claims), (None, vec!["m1".into()]));
}

#[test]
fn sidecar_ports_and_the_end_of_a_pod_are_seen() {
    let pod = PodFacts::for_test(&json!({
        "metadata": {"name": "a", "labels": {"model.aibrix.ai/port": "9000", "x": "0", "y": "70000", "z": "-1"},
            "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "engine"}, {"name": "aibrix-runtime"}],
            "initContainers": [{"name": "other"}]},
        "status": {"phase": "Failed"},
    }));
    assert!(pod.has_sidecar && pod.leaving && pod.is_finished() && !pod.is_running());
    assert_eq!(pod.engine_port(), Some(9000));
    assert_eq!(["x", "y", "z", "none"].map(|label| pod.port_label(label)), [None; 4]);
    let init = json!({"metadata": {"name": "a"}, "spec": {"initContainers": [{"name": "aibrix-runtime"}]}});
    assert!(!PodFacts::for_test(&init).has_sidecar);
}
