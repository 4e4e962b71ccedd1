// SPDX-License-Identifier: Apache-2.0
//! The custom resource definitions, generated from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{autoscaling::PodAutoscaler, model::ModelAdapter};

/// A field, as the path of properties below the object, and what the API server fills in where it is absent.
type DefaultOf<'a> = (&'a [&'a str], &'a str);

/// What users find filled in for them in a ModelAdapter.
const MODEL_ADAPTER_DEFAULTS: &[DefaultOf<'_>] =
    &[(&["spec", "schedulerName"], "default"), (&["spec", "credentialsSecretRef", "name"], "")];

/// All definitions that this build serves, by name.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![published(ModelAdapter::crd(), MODEL_ADAPTER_DEFAULTS), published(PodAutoscaler::crd(), &[])]
}

/// Adapts what the derive macros generate to the contract with stored objects: `spec` is not required,
/// nothing is nullable, nothing is defaulted unless the contract says so, and `apiVersion`, `kind` and
/// `metadata` are named.
fn published(mut crd: CustomResourceDefinition, defaults: &[DefaultOf<'_>]) -> CustomResourceDefinition {
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
            for (path, value) in defaults {
                if let Some(property) = property_at(schema, path) {
                    property.default = Some(JSON((*value).into()));
                }
            }
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

fn property_at<'a>(schema: &'a mut JSONSchemaProps, path: &[&str]) -> Option<&'a mut JSONSchemaProps> {
    path.iter().try_fold(schema, |schema, name| schema.properties.as_mut()?.get_mut(*name))
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
