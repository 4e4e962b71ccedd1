// SPDX-License-Identifier: Apache-2.0

use serde_json::json;

use kube_loops::runtime::watches::Stored;

use super::stores::{TargetFacts, autoscaler_of};

#[test]
fn target_keeps_what_says_how_it_is_scaled_and_nothing_else() {
    let deployment = TargetFacts::for_test(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "ns", "uid": "u", "resourceVersion": "7"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}},
        "status": {"replicas": 3},
    }));
    assert_eq!((deployment.uid.as_str(), deployment.version()), ("u", "7"));
    let kept = json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}}, "status": {}});
    assert_eq!(deployment.object, kept);

    let roles =
        json!([{"name": "prefill", "replicas": 2, "podGroupSize": 2, "template": {}}, {"name": "decode"}]);
    let service = TargetFacts::for_test(&json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService",
        "metadata": {"name": "s"},
        "spec": {"replicas": 1, "template": {"spec": {"roles": roles}}},
        "status": {"roleStatuses": [{"name": "prefill", "replicas": 2, "ready": 1}]},
    }));
    let kept = json!({
        "spec": {"replicas": 1, "template": {"spec": {"roles": [{"name": "prefill", "replicas": 2}, {"name": "decode"}]}}},
        "status": {"roleStatuses": [{"name": "prefill", "replicas": 2}]},
    });
    assert_eq!(service.object, kept);
}

#[test]
fn owner_of_an_hpa_is_known_by_kind_and_group() {
    let hpa = |api_version: &str, kind: &str, controller: bool| {
        serde_json::from_value(json!({"metadata": {"name": "x", "ownerReferences": [
            {"apiVersion": api_version, "kind": kind, "name": "pa", "uid": "u", "controller": controller},
        ]}}))
        .unwrap()
    };
    assert_eq!(autoscaler_of(&hpa("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", true)), Some("pa"));
    assert_eq!(autoscaler_of(&hpa("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", false)), None);
    assert_eq!(autoscaler_of(&hpa("autoscaling.k8s.io/v1", "PodAutoscaler", true)), None);
    assert_eq!(autoscaler_of(&hpa("autoscaling.aibrix.ai/v1alpha1", "Other", true)), None);
}
