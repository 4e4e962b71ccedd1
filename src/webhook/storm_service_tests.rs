// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    review::{AdmissionResponse, Request, Stored},
    storm_service::{mutate, validate, validate_scale},
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

const POOLED: &str =
    "spec.mode Pooled allows at most one replica, got 2; scale spec.template.spec.roles[].replicas instead";

fn with_mode(mode: &str, replicas: &Value) -> Value {
    let mut object = service(&json!(null), &[role("a", "vllm")]);
    object["spec"]["replicas"] = replicas.clone();
    if !mode.is_empty() {
        object["spec"]["mode"] = json!(mode);
    }
    object
}

fn refused(response: &AdmissionResponse) -> bool {
    match response {
        AdmissionResponse::Deny(message) => {
            assert!(message.contains(POOLED), "{message}");
            true
        }
        AdmissionResponse::Allow | AdmissionResponse::Warn(_) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pooled_service_has_one_replica_at_most() {
    let cases = [
        ("Pooled", json!(2), true),
        ("Pooled", json!(1), false),
        ("Pooled", json!(0), false),
        ("Pooled", json!(null), false),
        ("Replica", json!(2), false),
        ("", json!(2), false),
    ];
    for (mode, replicas, denied) in cases {
        let object = with_mode(mode, &replicas);
        assert_eq!(
            refused(&validate(&request("CREATE", &object, &json!(null)))),
            denied,
            "{mode} {replicas}"
        );
    }
    let (one, two) = (with_mode("Pooled", &json!(1)), with_mode("Pooled", &json!(2)));
    assert!(refused(&validate(&request("UPDATE", &two, &one))), "more replicas");
    assert!(refused(&validate(&request("UPDATE", &two, &with_mode("", &json!(2))))), "another mode");
    assert!(
        !refused(&validate(&request("UPDATE", &two, &two))),
        "it got past the webhook, and stays editable"
    );
    let mut leaving = two.clone();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(!refused(&validate(&request("UPDATE", &leaving, &one))), "its finalizer goes");
}

#[test]
fn a_scale_is_judged_by_the_stored_service() {
    let scale = |wanted: i64, stored: Stored| {
        let mut request: Request = serde_json::from_value(json!({
            "uid": "u", "name": "web", "namespace": "ns", "operation": "UPDATE",
            "kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
            "object": {"spec": {"replicas": wanted}},
        }))
        .unwrap();
        request.stored = stored;
        validate_scale(&request)
    };
    let pooled = |replicas: i64| Stored::Found(with_mode("Pooled", &json!(replicas)));
    assert!(refused(&scale(2, pooled(1))));
    assert!(!refused(&scale(1, pooled(1))));
    assert!(!refused(&scale(0, pooled(1))));
    assert!(!refused(&scale(2, pooled(2))), "nothing changes");
    assert!(!refused(&scale(3, Stored::Found(with_mode("Replica", &json!(1))))));
    for (stored, why) in
        [(Stored::NotFound, "not found"), (Stored::Unknown { reason: "forbidden".to_owned() }, "forbidden")]
    {
        let AdmissionResponse::Warn(warnings) = scale(2, stored) else { panic!("a warning") };
        assert!(warnings[0].contains(why), "{warnings:?}");
    }
}
