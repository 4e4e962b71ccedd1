// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    deployment::{mutate, validate},
    review::{AdmissionResponse, Request},
};

fn deployment(annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "ns", "annotations": annotations},
        "spec": {
            "newField": {"kept": [1, null]},
            "template": {"spec": {"containers": [{"name": "engine", "image": "vllm"}], "newField": {}}},
        },
    })
}

fn request(operation: &str, object: &Value) -> Request {
    serde_json::from_value(json!({
        "uid": "u", "operation": operation, "object": object,
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
    }))
    .unwrap()
}

/// The object after the review; `None` when the answer carries no patch.
fn changed(operation: &str, object: &Value) -> Option<Value> {
    match mutate(&request(operation, object)) {
        AdmissionResponse::Allow => None,
        AdmissionResponse::Patch(patch) => {
            let mut after = object.clone();
            json_patch::patch(&mut after, &patch).unwrap();
            Some(after)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_exactly_true_on_the_deployment_itself_injects() {
    for value in ["True", "1", "false", "", " true"] {
        let object = deployment(&json!({"model.aibrix.ai/sidecar-injection": value}));
        assert_eq!(changed("CREATE", &object), None, "{value:?}");
    }
    assert_eq!(changed("CREATE", &deployment(&json!(null))), None);
    let mut on_template = deployment(&json!({}));
    on_template["spec"]["template"]["metadata"] =
        json!({"annotations": {"model.aibrix.ai/sidecar-injection": "true"}});
    assert_eq!(changed("CREATE", &on_template), None);
    let object = deployment(&json!({"model.aibrix.ai/sidecar-injection": "true"}));
    for operation in ["CREATE", "UPDATE"] {
        let after = changed(operation, &object).unwrap();
        let containers = &after["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers[0]["name"], "aibrix-runtime");
        assert_eq!(containers[0]["image"], "aibrix/runtime:v0.5.0");
        assert_eq!(containers[0]["env"][0]["value"], "vllm");
        assert_eq!(after["spec"]["newField"], object["spec"]["newField"]);
        assert_eq!(after["spec"]["template"]["spec"]["newField"], json!({}));
    }
    assert_eq!(changed("DELETE", &json!(null)), None);
}

#[test]
fn image_and_engine_come_from_the_deployment() {
    let object = deployment(&json!({
        "model.aibrix.ai/sidecar-injection": "true",
        "model.aibrix.ai/sidecar-runtime-image": "my/runtime:2",
        "model.aibrix.ai/engine": "sglang",
    }));
    let after = changed("CREATE", &object).unwrap();
    let sidecar = &after["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&sidecar["image"], &sidecar["env"][0]["value"]), (&json!("my/runtime:2"), &json!("sglang")));
}

#[test]
fn deployment_without_a_pod_passes() {
    let annotations = json!({"annotations": {"model.aibrix.ai/sidecar-injection": "true"}});
    for spec in [json!(null), json!({}), json!({"template": null}), json!({"template": {"spec": []}})] {
        let response = mutate(&request("CREATE", &json!({"metadata": annotations, "spec": spec})));
        let untouched = match &response {
            AdmissionResponse::Patch(patch) => patch.is_empty(),
            response => *response == AdmissionResponse::Allow,
        };
        assert!(untouched, "{spec}: {response:?}");
    }
}

#[test]
fn every_deployment_is_valid_and_other_kinds_are_not_judged() {
    assert_eq!(validate(&request("CREATE", &json!({"spec": 1}))), AdmissionResponse::Allow);
    let mut other = request("CREATE", &deployment(&json!({})));
    other.kind.version = "v2".to_owned();
    assert!(matches!(mutate(&other), AdmissionResponse::Errored { code: 400, .. }));
}
