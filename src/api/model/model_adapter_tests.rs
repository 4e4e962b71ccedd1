// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{ModelAdapter, ModelAdapterSpec, ModelAdapterStatus};

fn parse(spec: &Value) -> ModelAdapter {
    let object = json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
        "metadata": {"name": "a", "namespace": "ns"}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

#[test]
fn an_object_without_spec_parses() {
    let without: ModelAdapter = serde_json::from_str(r#"{"metadata": {"name": "a"}}"#).unwrap();
    for adapter in [without, parse(&Value::Null), parse(&json!({}))] {
        assert!(adapter.spec == ModelAdapterSpec::default());
        assert_eq!(adapter.spec.pod_selector, None);
    }
}

#[test]
fn values_that_validation_would_refuse_still_parse() {
    let spec = parse(&json!({
        "artifactURL": "ftp://x", "replicas": -2, "unknown": {"a": 1},
        "podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}, "credentialsSecretRef": {},
    }))
    .spec;
    assert_eq!((spec.artifact_url.as_str(), spec.replicas), ("ftp://x", Some(-2)));
    assert_eq!(spec.credentials_secret_ref.unwrap().name, "");
}

#[test]
fn an_empty_selector_is_not_an_absent_one() {
    assert!(parse(&json!({"podSelector": {}})).spec.pod_selector.is_some());
    assert!(parse(&json!({"podSelector": null})).spec.pod_selector.is_none());
}

#[test]
fn what_was_read_is_written_again() {
    let spec = json!({
        "baseModel": "", "schedulerName": "default", "artifactURL": "s3://b/k", "replicas": 1,
        "podSelector": {"matchLabels": {"app": "web"}}, "credentialsSecretRef": {"name": "s"},
        "additionalConfig": {"api-key": "k"},
    });
    assert_eq!(serde_json::to_value(parse(&spec)).unwrap()["spec"], spec);
}

#[test]
fn zeros_and_empty_lists_are_left_out_of_the_status() {
    assert_eq!(serde_json::to_value(ModelAdapterStatus::default()).unwrap(), json!({}));
    let status = json!({"phase": "Running", "candidates": 2, "desiredReplicas": 1, "readyReplicas": 1,
        "instances": ["web-0"]});
    let parsed: ModelAdapterStatus = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(parsed).unwrap(), status);
}

#[test]
fn debug_output_shows_no_secret() {
    let adapter = parse(&json!({
        "artifactURL": "s3://key:hush@b/k?token=hush", "podSelector": {},
        "additionalConfig": {"api-key": "hush"},
    }));
    let text = format!("{adapter:?}");
    assert!(text.contains("api-key") && !text.contains("hush"), "{text}");
}
