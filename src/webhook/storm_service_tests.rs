// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    review::{AdmissionResponse, Request},
    storm_service::{mutate, validate},
};

fn role(name: &str, image: &str) -> Value {
    json!({"name": name, "template": {"spec": {"containers": [{"name": "engine", "image": image}]}}})
}

fn service(annotations: &Value, roles: &[Value]) -> Value {
    json!({
        "metadata": {"name": "web", "annotations": annotations},
        "spec": {"newField": 1, "template": {"metadata": {}, "spec": {"roles": roles}}},
    })
}

fn request(operation: &str, object: &Value, old: &Value) -> Request {
    serde_json::from_value(json!({
        "uid": "u", "name": "web", "operation": operation, "object": object, "oldObject": old,
        "kind": {"group": "orchestration.aibrix.ai", "version": "v1alpha1", "kind": "StormService"},
    }))
    .unwrap()
}

fn after(object: &Value) -> Value {
    let mut after = object.clone();
    match mutate(&request("CREATE", object, &json!(null))) {
        AdmissionResponse::Allow => {}
        AdmissionResponse::Patch(patch) => json_patch::patch(&mut after, &patch).unwrap(),
        other => panic!("{other:?}"),
    }
    after
}

#[test]
fn every_role_gets_the_sidecar_with_the_engine_of_its_own_image() {
    let annotations = json!({"model.aibrix.ai/sidecar-injection": "true"});
    let object = service(&annotations, &[role("a", "vllm"), role("b", "sglang"), json!({"name": "c"})]);
    let after = after(&object);
    let roles = &after["spec"]["template"]["spec"]["roles"];
    for (place, engine) in [(0, "vllm"), (1, "sglang")] {
        let sidecar = &roles[place]["template"]["spec"]["containers"][0];
        assert_eq!(
            (&sidecar["name"], &sidecar["env"][0]["value"]),
            (&json!("aibrix-runtime"), &json!(engine))
        );
    }
    assert_eq!(roles[2], json!({"name": "c"}), "nothing to inject into");
    assert_eq!(after["spec"]["newField"], 1);
}

#[test]
fn any_value_but_false_injects() {
    for (value, injects) in [("true", true), ("", true), ("no", true), ("false", false), ("False", false)] {
        let object = service(&json!({"model.aibrix.ai/sidecar-injection": value}), &[role("a", "vllm")]);
        assert_eq!(after(&object) != object, injects, "{value:?}");
    }
    let without = service(&json!(null), &[role("a", "vllm")]);
    assert_eq!(mutate(&request("CREATE", &without, &json!(null))), AdmissionResponse::Allow);
}

#[test]
fn engine_of_the_role_set_template_and_image_of_the_storm_service_count() {
    let annotations = json!({
        "model.aibrix.ai/sidecar-injection": "true", "model.aibrix.ai/sidecar-runtime-image": "my/runtime:3",
        "model.aibrix.ai/engine": "not this one",
    });
    let mut object = service(&annotations, &[role("a", "vllm")]);
    object["spec"]["template"]["metadata"]["annotations"] = json!({"model.aibrix.ai/engine": "triton"});
    let after = after(&object);
    let sidecar = &after["spec"]["template"]["spec"]["roles"][0]["template"]["spec"]["containers"][0];
    assert_eq!((&sidecar["image"], &sidecar["env"][0]["value"]), (&json!("my/runtime:3"), &json!("triton")));
}

#[test]
fn storm_service_without_a_template_is_refused_and_does_not_panic() {
    let annotations = json!({"annotations": {"model.aibrix.ai/sidecar-injection": "true"}});
    for spec in [json!(null), json!({}), json!({"template": {}}), json!({"template": {"spec": {"roles": 1}}})]
    {
        let object = json!({"metadata": annotations, "spec": spec});
        assert_eq!(after(&object), object);
    }
    let response =
        validate(&request("CREATE", &json!({"metadata": {}, "spec": {"template": {}}}), &json!(null)));
    let AdmissionResponse::Deny(message) = response else { panic!("{response:?}") };
    assert!(message.starts_with("spec.template.spec: Required value"), "{message}");
}

#[test]
fn creations_are_judged_by_the_name_of_the_request_when_the_object_has_none() {
    let mut review = request("CREATE", &json!({"spec": {"template": {"spec": {"roles": []}}}}), &json!(null));
    assert_eq!(validate(&review), AdmissionResponse::Allow);
    review.name = "9".to_owned();
    assert!(matches!(validate(&review), AdmissionResponse::Deny(_)));
}

#[test]
fn changes_are_refused_or_warned_of() {
    let good = service(&json!({}), &[role("a", "vllm")]);
    let mut bad = good.clone();
    bad["spec"]["updateStrategy"] = json!({"maxSurge": "abc"});
    assert!(matches!(validate(&request("CREATE", &bad, &json!(null))), AdmissionResponse::Deny(_)));
    assert!(matches!(validate(&request("UPDATE", &bad, &good)), AdmissionResponse::Deny(_)));
    assert_eq!(validate(&request("UPDATE", &bad, &bad)), AdmissionResponse::Warn(vec![]));
    let shouting = service(&json!({}), &[role("A", "vllm")]);
    let AdmissionResponse::Warn(warnings) = validate(&request("UPDATE", &shouting, &shouting)) else {
        panic!("it warns")
    };
    assert_eq!(warnings.len(), 1);
    assert_eq!(validate(&request("DELETE", &json!(null), &good)), AdmissionResponse::Allow);
}
