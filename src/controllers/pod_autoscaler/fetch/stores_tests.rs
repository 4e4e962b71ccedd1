// SPDX-License-Identifier: Apache-2.0

use serde_json::json;

use kube_loops::runtime::watches::{Stored, interner::Interner};

use super::stores::{TargetFacts, keep_hpa};

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
fn only_an_hpa_that_a_pod_autoscaler_controls_is_kept_whole() {
    let is_kept = |api_version: &str, kind: &str, controller: bool| {
        let hpa = json!({"metadata": {"name": "x", "ownerReferences": [
            {"apiVersion": api_version, "kind": kind, "name": "pa", "uid": "u", "controller": controller},
        ]}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        keep_hpa(serde_json::from_value(hpa).unwrap(), &Interner::new()).spec.is_some()
    };
    assert!(is_kept("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", true));
    assert!(!is_kept("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", false));
    assert!(!is_kept("autoscaling.k8s.io/v1", "PodAutoscaler", true));
    assert!(!is_kept("autoscaling.aibrix.ai/v1alpha1", "Other", true));
}
