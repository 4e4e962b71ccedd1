// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use crate::api::model::ModelAdapter;

use super::source::{Source, token_of};

fn adapter(spec: &Value) -> ModelAdapter {
    serde_json::from_value(json!({"metadata": {"name": "sql", "namespace": "ns"}, "spec": spec})).unwrap()
}

fn hash(spec: &Value) -> String {
    Source::of(&adapter(spec)).hash.to_string()
}

#[test]
fn the_hash_is_of_what_engines_get_to_know() {
    let plain = json!({"artifactURL": "s3://a"});
    assert_eq!(hash(&plain), hash(&json!({"artifactURL": "s3://a", "replicas": 1, "baseModel": "b"})));
    let others = [
        json!({"artifactURL": "s3://b"}),
        json!({"artifactURL": "s3://a", "credentialsSecretRef": {"name": "x"}}),
        json!({"artifactURL": "s3://a", "additionalConfig": {"api-key": "x"}}),
        json!({"artifactURL": "s3://a", "additionalConfig": {"api-key": "y"}}),
    ];
    let mut hashes: Vec<String> = others.iter().chain([&plain]).map(hash).collect();
    assert!(hashes.iter().all(|hash| hash.len() == 24 && hash.bytes().all(|it| it.is_ascii_hexdigit())));
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 5);
}

#[test]
fn a_secret_without_a_name_is_none() {
    let of = |spec: Value| Source::of(&adapter(&spec)).secret;
    assert_eq!(of(json!({"credentialsSecretRef": {"name": "x"}})), Some("x".to_owned()));
    assert_eq!(of(json!({"credentialsSecretRef": {"name": ""}})), None);
    assert_eq!(of(json!({})), None);
}

#[test]
fn secrets_are_not_printed() {
    let spec = json!({"artifactURL": "s3://user:secret@a", "additionalConfig": {"api-key": "hidden"}});
    let printed = format!("{:?}", Source::of(&adapter(&spec)));
    assert!(!printed.contains("secret") && !printed.contains("hidden"), "{printed}");
}

#[test]
fn the_token_comes_from_the_settings() {
    let of = |config: Value| token_of(&adapter(&json!({"additionalConfig": config})));
    assert!(of(json!({"api-key": "k"})).unwrap().is_some());
    assert!(of(json!({"api-key": ""})).unwrap().is_some());
    assert!(of(json!({"rank": "8"})).unwrap().is_none());
    assert!(of(json!({"api-key": "a\r\nb"})).is_err());
}
