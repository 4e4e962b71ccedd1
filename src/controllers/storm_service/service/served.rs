// SPDX-License-Identifier: Apache-2.0
//! What the served definition leaves of an object.
//!
//! A newer AIBrix may have recorded members that the definition of today does not know: the API server has dropped them
//! from the StormService, but not from the revision, where they are no part of a schema.

use serde_json::Value;

use super::super::json::{at, list};

/// Drops what the API server drops: members that a structural schema does not name.
pub(super) fn prune(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(members) => {
            let (known, others) = (at(schema, &["properties"]), at(schema, &["additionalProperties"]));
            let open = *at(schema, &["x-kubernetes-preserve-unknown-fields"]) == true || *others == true;
            members.retain(|name, _| open || others.is_object() || known.get(name).is_some());
            for (name, member) in members {
                if let Some(schema) = known.get(name).or_else(|| others.is_object().then_some(others)) {
                    prune(member, schema);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|it| prune(it, at(schema, &["items"]))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of the template in a definition of StormServices; null: it has none.
pub(super) fn template_schema(definition: &Value, version: &str) -> Value {
    let served = list(definition, &["spec", "versions"]).find(|it| at(it, &["name"]) == version);
    let template = ["schema", "openAPIV3Schema", "properties", "spec", "properties", "template"];
    served.map(|it| at(it, &template)).cloned().unwrap_or_default()
}
