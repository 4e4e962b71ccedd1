// SPDX-License-Identifier: Apache-2.0
//! The custom resource definitions, generated from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::autoscaling::PodAutoscaler;

/// All definitions that this build serves, by name.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![published(PodAutoscaler::crd())]
}

/// Adapts what the derive macros generate to the contract with stored objects: `spec` is not required,
/// nothing is nullable, nothing is defaulted unless the contract says so, and `apiVersion`, `kind` and
/// `metadata` are named.
fn published(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
            schema.required = None;
            schema.title = None;
            let properties = schema.properties.get_or_insert_default();
            for (name, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
                let schema = JSONSchemaProps { type_: Some(kind.to_owned()), ..Default::default() };
                properties.insert(name.to_owned(), schema);
            }
        }
    }
    crd
}

fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.default = None;
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(tidy);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}
