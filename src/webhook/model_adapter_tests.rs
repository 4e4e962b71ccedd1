// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    model_adapter::{mutate, validate},
    review::{AdmissionResponse, answer},
};

fn review(operation: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "operation": operation, "name": "a", "namespace": "ns",
            "kind": {"group": "model.aibrix.ai", "version": "v1alpha1", "kind": "ModelAdapter"},
            "object": {"metadata": {"name": "a", "namespace": "ns"}, "spec": spec},
        },
    })
}

fn ask(review: &Value) -> Value {
    let answer = answer(Some("application/json"), review.to_string().as_bytes(), validate);
    serde_json::from_slice::<Value>(&answer).unwrap()["response"].clone()
}

#[test]
fn a_good_url_passes_and_a_bad_one_is_403_with_a_message_that_helps() {
    let allowed = json!({"uid": "u-1", "allowed": true, "status": {"code": 200}});
    let good = json!({"artifactURL": "s3://test-bucket/test-model", "podSelector": {}});
    assert_eq!(ask(&review("CREATE", &good)), allowed);
    let bad = json!({"artifactURL": "gs://b/p", "podSelector": {}});
    let message = "spec.artifactURL: Invalid value: \"gs://b/p\": unsupported schema \"gs://b/p\", \
         supported schemas are [s3:// gcs:// tos:// huggingface:// hf:// /]";
    let status = json!({"code": 403, "reason": "Forbidden", "message": message});
    assert_eq!(ask(&review("CREATE", &bad)), json!({"uid": "u-1", "allowed": false, "status": status}));
}

#[test]
fn several_errors_stand_in_brackets() {
    let message = ask(&review("CREATE", &json!({"artifactURL": "aabbcc"})))["status"]["message"].clone();
    let message = message.as_str().unwrap();
    assert!(message.starts_with("[spec.artifactURL: ") && message.ends_with("/]]"), "{message}");
    assert!(
        message.contains("artifactURL is invalid") && message.contains("unsupported schema"),
        "{message}"
    );
}

#[test]
fn an_absent_spec_is_refused_for_its_url() {
    let response = ask(&review("CREATE", &Value::Null));
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)));
}

#[test]
fn changes_and_deletions_pass_whatever_they_are() {
    for operation in ["UPDATE", "DELETE"] {
        for spec in [json!({"artifactURL": "ftp://x"}), json!("garbage")] {
            let review = review(operation, &spec);
            assert_eq!(ask(&review)["allowed"], true, "{operation} {spec}");
            let request = serde_json::from_value(review["request"].clone()).unwrap();
            assert_eq!(mutate(&request), AdmissionResponse::Allow);
        }
    }
}
