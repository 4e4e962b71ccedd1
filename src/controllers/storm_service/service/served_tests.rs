// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::served::*;

#[test]
fn what_a_schema_does_not_name_is_dropped_at_every_level() {
    let schema = json!({"properties": {
        "labels": {"additionalProperties": {"type": "string"}},
        "roles": {"items": {"properties": {
            "name": {"type": "string"},
            "template": {"x-kubernetes-preserve-unknown-fields": true, "properties": {"spec": {"properties": {}}}},
        }}},
        "empty": {"type": "object"},
    }});
    let mut value = json!({
        "labels": {"a": "1"},
        "roles": [{"name": "w", "drain": {"timeoutSeconds": 5}, "template": {"x": {"y": 1}, "spec": {"z": 1}}}],
        "empty": {"a": 1},
        "other": null,
    });
    prune(&mut value, &schema);
    assert_eq!(
        value,
        json!({
            "labels": {"a": "1"},
            "roles": [{"name": "w", "template": {"x": {"y": 1}, "spec": {}}}],
            "empty": {},
        })
    );
}

#[test]
fn our_own_definition_keeps_all_of_a_template_and_drops_what_it_does_not_know() {
    let crds = crate::internals::crds();
    let of_services = crds.iter().find(|it| it.spec.names.kind == "StormService").unwrap();
    let schema = template_schema(&json!(of_services), "v1alpha1");
    let template = json!({
        "metadata": {"labels": {"app": "a"}, "annotations": {"b": "c"}},
        "spec": {"updateStrategy": "Parallel", "roles": [{
            "name": "w", "replicas": 1, "drain": {"timeoutSeconds": 5}, "updateStrategy": {"maxSurge": "20%"},
            "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{
                "name": "main", "image": "e:1", "resources": {"limits": {"cpu": "1"}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            }], "nodeSelector": {"a": "b"}, "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]}},
        }]},
    });
    let mut kept = template.clone();
    kept["spec"]["roles"][0]["future"] = json!({"a": 1});
    prune(&mut kept, &schema);
    assert_eq!(kept, template);
    assert_eq!(template_schema(&json!(of_services), "v9"), Value::Null);
}
