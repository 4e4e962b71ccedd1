// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};

use super::input_hash::{canonical_inputs, input_hash};

fn inputs(cache: &Value) -> Value {
    json!({"backend": "infinistore", "child": "cache", "inputs": cache, "name": "kv", "namespace": "ns",
        "uid": "u"})
}

#[test]
fn inputs_that_mean_the_same_have_one_text() {
    let canonical = canonical_inputs(&inputs(&json!({
        "resources": {"limits": {"cpu": "10000m", "memory": "1Gi"}, "requests": {}},
        "env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": null}, {}],
        "imagePullPolicy": null, "linkType": "\u{1}<", "zero": 0, "no": false,
    })));
    assert_eq!(
        canonical,
        concat!(
            r#"{"backend":"infinistore","child":"cache","inputs":{"env":[{"name":"A"},{"name":"B"},{}],"#,
            r#""linkType":"\u0001<","no":false,"resources":"#,
            r#"{"limits":{"cpu":"10","memory":"1073741824"}},"zero":0},"#,
            r#""name":"kv","namespace":"ns","uid":"u"}"#,
        ),
    );
}

/// Literal value, `sha256sum` of the text: objects are stamped with it.
#[test]
fn hash_is_the_start_of_the_digest() {
    assert_eq!(input_hash(&inputs(&json!({"imagePullPolicy": "Always"}))), "d4add9d8694be63b");
    assert_eq!(
        input_hash(&inputs(&json!({"imagePullPolicy": "Always", "env": [], "x": {"y": {}}}))),
        "d4add9d8694be63b"
    );
}

#[test]
fn every_input_changes_the_hash() {
    let base = input_hash(&inputs(&json!({"a": "b"})));
    for other in [json!({"a": "c"}), json!({}), json!({"a": "b", "value": ""}), json!({"a": "b", "n": [[]]})]
    {
        assert_ne!(input_hash(&inputs(&other)), base, "{other}");
    }
}
