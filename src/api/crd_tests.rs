// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::crds;

/// Every default in a schema, by the path to it.
fn defaults(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if key == "default" {
                    found.insert(path.to_owned(), value.clone());
                } else {
                    defaults(&format!("{path}.{key}"), value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| defaults(path, item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn published_schemas_default_only_what_users_know_and_allow_no_null() {
    let mut found = BTreeMap::new();
    for crd in crds() {
        let value = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        assert!(!value.to_string().contains("\"nullable\""), "{value}");
        defaults(&crd.spec.names.kind, &value, &mut found);
    }
    // Those of pod templates are Kubernetes' own, and are compared with what users have installed elsewhere.
    found.retain(|path, _| {
        !path.contains(".template.properties.spec.properties.containers")
            && !path.contains(".template.properties.spec.properties.initContainers")
            && !path.contains(".template.properties.spec.properties.ephemeralContainers")
            && !path.contains(".template.properties.spec.properties.imagePullSecrets")
            && !path.contains(".template.properties.spec.properties.volumes")
    });
    let spec = |kind: &str, field: &str| {
        let path = field.replace('.', ".properties.").replace(".properties.items", ".items");
        format!("{kind}.openAPIV3Schema.properties.spec.properties.{path}")
    };
    let of_roles = "template.spec.roles.items.updateStrategy.type";
    let want = [
        (spec("ModelAdapter", "credentialsSecretRef.name"), json!("")),
        (spec("ModelAdapter", "schedulerName"), json!("default")),
        (spec("PodSet", "recoveryPolicy"), json!("ReplaceUnhealthy")),
        (spec("RoleSet", "roles.items.updateStrategy.type"), json!("Recreate")),
        (spec("RoleSet", "topologyPolicy.mode"), json!("Preferred")),
        (spec("RoleSet", "updateStrategy"), json!("Sequential")),
        (spec("StormService", of_roles), json!("Recreate")),
        (spec("StormService", "template.spec.topologyPolicy.mode"), json!("Preferred")),
        (spec("StormService", "template.spec.updateStrategy"), json!("Sequential")),
        (spec("StormService", "updateStrategy.type"), json!("RollingUpdate")),
    ];
    assert_eq!(found, want.into());
}

#[test]
fn definitions_are_sorted_by_name() {
    let names: Vec<_> = crds().into_iter().map(|crd| crd.metadata.name.unwrap()).collect();
    assert!(names.is_sorted_by_key(|name| name.split_once('.').unwrap().0.to_owned()), "{names:?}");
}
