// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    pod_autoscaler::{mutate, validate},
    review::{AdmissionResponse, answer},
};

fn review(operation: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "operation": operation, "name": "pa", "namespace": "ns",
            "kind": {"group": "autoscaling.aibrix.ai", "version": "v1alpha1", "kind": "PodAutoscaler"},
            "object": {
                "apiVersion": "autoscaling.aibrix.ai/v1alpha1", "kind": "PodAutoscaler",
                "metadata": {"name": "pa", "namespace": "ns"}, "spec": spec,
            },
        },
    })
}

fn ask(review: &Value) -> Value {
    let answer = answer(Some("application/json"), review.to_string().as_bytes(), validate);
    serde_json::from_slice::<Value>(&answer).unwrap()["response"].clone()
}

fn valid() -> Value {
    json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 10, "scalingStrategy": "HPA", "future": {"x": 1},
        "metricsSources": [{"metricSourceType": "resource", "targetMetric": "cpu", "targetValue": "30"}],
    })
}

#[test]
fn a_valid_object_passes_unchanged() {
    let allowed = json!({"uid": "u-1", "allowed": true, "status": {"code": 200}});
    for operation in ["CREATE", "UPDATE"] {
        let review = review(operation, &valid());
        assert_eq!(ask(&review), allowed);
        let answer = answer(Some("application/json"), review.to_string().as_bytes(), mutate);
        assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["response"], allowed);
    }
}

#[test]
fn an_invalid_object_is_refused_with_all_errors() {
    let mut spec = valid();
    spec["minReplicas"] = json!(-1);
    spec["metricsSources"][0]["port"] = json!("8000");
    for operation in ["CREATE", "UPDATE"] {
        let response = ask(&review(operation, &spec));
        assert_eq!((&response["allowed"], &response["uid"]), (&json!(false), &json!("u-1")));
        let status = &response["status"];
        assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
        let message = "PodAutoscaler.autoscaling.aibrix.ai \"pa\" is invalid: \
             [spec.minReplicas: Invalid value: -1: must not be negative, \
             spec.metricsSources[0].port: Forbidden: not allowed for metricSourceType=resource]";
        assert_eq!(status["message"], message);
        let details = &status["details"];
        assert_eq!(
            (&details["name"], &details["group"], &details["kind"]),
            (&json!("pa"), &json!("autoscaling.aibrix.ai"), &json!("PodAutoscaler"))
        );
        let fields: Vec<_> =
            details["causes"].as_array().unwrap().iter().map(|cause| cause["field"].clone()).collect();
        assert_eq!(fields, ["spec.minReplicas", "spec.metricsSources[0].port"]);
    }
}

#[test]
fn one_error_stands_without_brackets() {
    let mut spec = valid();
    spec["metricsSources"] = json!([]);
    let message = "PodAutoscaler.autoscaling.aibrix.ai \"pa\" is invalid: \
         spec.metricsSources: Invalid value: []: at least one metricsSource is required";
    assert_eq!(ask(&review("CREATE", &spec))["status"]["message"], message);
}

#[test]
fn an_object_without_spec_is_told_what_it_lacks() {
    let mut without = review("CREATE", &Value::Null);
    without["request"]["object"].as_object_mut().unwrap().remove("spec");
    for review in [without, review("CREATE", &Value::Null)] {
        let status = ask(&review)["status"].clone();
        assert_eq!(status["code"], 422);
        assert!(status["message"].as_str().unwrap().contains("spec.scaleTargetRef.name: Required value"));
    }
}

#[test]
fn an_object_whose_name_is_still_to_be_generated_is_judged_too() {
    let mut review = review("CREATE", &Value::Null);
    review["request"]["object"]["metadata"] = json!({"generateName": "pa-"});
    review["request"]["name"] = json!("");
    let message = ask(&review)["status"]["message"].clone();
    assert!(message.as_str().unwrap().starts_with("PodAutoscaler.autoscaling.aibrix.ai \"\" is invalid: "));
}

#[test]
fn an_object_that_does_not_parse_is_400_and_a_deletion_passes() {
    assert_eq!(ask(&review("CREATE", &json!("x")))["status"]["code"], 400);
    let mut deletion = review("DELETE", &Value::Null);
    deletion["request"]["object"] = Value::Null;
    assert_eq!(ask(&deletion)["allowed"], true);
    let mut other = review("CREATE", &valid());
    other["request"]["kind"]["kind"] = json!("ModelAdapter");
    assert_eq!(ask(&other)["status"]["code"], 400);
    assert_eq!(mutate(&serde_json::from_value(other["request"].clone()).unwrap()), AdmissionResponse::Allow);
}
