// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    kv_cache::{mutate, validate},
    review::{AdmissionResponse, Request},
};

const BACKEND: &str = "kvcache.orchestration.aibrix.ai/backend";
const MODE: &str = "kvcache.orchestration.aibrix.ai/mode";

fn cache(annotations: &Value) -> Value {
    json!({"metadata": {"name": "kv", "annotations": annotations}, "spec": {"cache": {"replicas": 0}}})
}

fn request(operation: &str, object: &Value, old: &Value) -> Request {
    serde_json::from_value(json!({
        "uid": "u", "operation": operation, "object": object, "oldObject": old,
        "kind": {"group": "orchestration.aibrix.ai", "version": "v1alpha1", "kind": "KVCache"},
    }))
    .unwrap()
}

/// Annotations after the review, which changes nothing else.
fn filled(operation: &str, object: &Value) -> Value {
    let AdmissionResponse::Patch(patch) = mutate(&request(operation, object, &json!(null))) else {
        panic!("a patch")
    };
    let mut after = object.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    let annotations = after["metadata"]["annotations"].take();
    let mut before = object.clone();
    before["metadata"]["annotations"].take();
    assert_eq!(after, before);
    annotations
}

#[test]
fn backend_and_mode_are_filled_in_where_they_are_missing_or_empty() {
    let both = json!({BACKEND: "vineyard", MODE: "vineyard"});
    for operation in ["CREATE", "UPDATE"] {
        assert_eq!(filled(operation, &cache(&json!(null))), both);
        assert_eq!(filled(operation, &cache(&json!({BACKEND: "", MODE: ""}))), both);
    }
    let without = json!({"metadata": {"name": "kv"}});
    assert_eq!(filled("CREATE", &without), both);
    let given = json!({BACKEND: "infinistore", "x": "y"});
    assert_eq!(filled("CREATE", &cache(&given)), json!({BACKEND: "infinistore", MODE: "vineyard", "x": "y"}));
    let complete = cache(&json!({BACKEND: "bogus", MODE: "distributed"}));
    let AdmissionResponse::Patch(patch) = mutate(&request("CREATE", &complete, &json!(null))) else {
        panic!("a patch")
    };
    assert!(patch.is_empty());
    assert_eq!(mutate(&request("DELETE", &json!(null), &complete)), AdmissionResponse::Allow);
}

#[test]
fn backend_that_does_not_exist_is_refused_when_it_is_chosen() {
    let with = |backend: &str| cache(&json!({BACKEND: backend}));
    let denied = |response: AdmissionResponse| matches!(response, AdmissionResponse::Deny(_));
    assert!(denied(validate(&request("CREATE", &with("bogus"), &json!(null)))));
    assert!(denied(validate(&request("UPDATE", &with("bogus"), &with("vineyard")))));
    assert!(denied(validate(&request("UPDATE", &with("bogus"), &with("other")))));
    assert_eq!(validate(&request("UPDATE", &with("bogus"), &with("bogus"))), AdmissionResponse::Allow);
    assert_eq!(validate(&request("UPDATE", &with("hpkv"), &with("bogus"))), AdmissionResponse::Allow);
    for mode in ["distributed", "centralized", "anything"] {
        assert_eq!(
            validate(&request("CREATE", &cache(&json!({MODE: mode})), &json!(null))),
            AdmissionResponse::Allow
        );
    }
    assert_eq!(validate(&request("DELETE", &json!(null), &with("bogus"))), AdmissionResponse::Allow);
}

#[test]
fn strange_metadata_is_left_to_the_api_server() {
    for object in [json!({}), json!({"metadata": null}), json!({"metadata": {"annotations": []}}), json!([])]
    {
        let AdmissionResponse::Patch(patch) = mutate(&request("CREATE", &object, &json!(null))) else {
            panic!("a patch")
        };
        assert!(patch.is_empty(), "{object}");
        assert_eq!(validate(&request("CREATE", &object, &json!(null))), AdmissionResponse::Allow);
    }
}
