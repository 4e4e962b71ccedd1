// SPDX-License-Identifier: Apache-2.0
//! The custom resource definitions, generated from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{
    autoscaling::PodAutoscaler,
    model::ModelAdapter,
    orchestration::{PodSet, RoleSet, StormService, pod_template_schema},
};

/// What the derive macros cannot say of a kind. Fields are dotted paths below the object; `[]` stands for the elements
/// of a list.
#[derive(Debug, Clone, Copy, Default)]
struct Additions {
    /// What the API server fills in where a field is absent.
    defaults: &'static [(&'static str, &'static str)],
    /// Fields that are pod templates.
    pod_templates: &'static [&'static str],
}

const NONE: Additions = Additions { defaults: &[], pod_templates: &[] };
const MODEL_ADAPTER: Additions = Additions {
    defaults: &[("spec.schedulerName", "default"), ("spec.credentialsSecretRef.name", "")],
    pod_templates: &[],
};
const POD_SET: Additions =
    Additions { defaults: &[("spec.recoveryPolicy", "ReplaceUnhealthy")], pod_templates: &["spec.template"] };
const ROLE_SET: Additions = Additions {
    defaults: &[
        ("spec.updateStrategy", "Sequential"),
        ("spec.topologyPolicy.mode", "Preferred"),
        ("spec.roles.[].updateStrategy.type", "Recreate"),
    ],
    pod_templates: &["spec.roles.[].template"],
};
const STORM_SERVICE: Additions = Additions {
    defaults: &[
        ("spec.updateStrategy.type", "RollingUpdate"),
        ("spec.template.spec.updateStrategy", "Sequential"),
        ("spec.template.spec.topologyPolicy.mode", "Preferred"),
        ("spec.template.spec.roles.[].updateStrategy.type", "Recreate"),
    ],
    pod_templates: &["spec.template.spec.roles.[].template"],
};

/// All definitions that this build serves, by name.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        published(ModelAdapter::crd(), MODEL_ADAPTER),
        published(PodAutoscaler::crd(), NONE),
        published(PodSet::crd(), POD_SET),
        published(RoleSet::crd(), ROLE_SET),
        published(StormService::crd(), STORM_SERVICE),
    ]
}

/// Adapts what the derive macros generate to the contract with stored objects: `spec` is not required,
/// nothing is nullable, nothing is defaulted unless the contract says so, and `apiVersion`, `kind` and
/// `metadata` are named.
fn published(mut crd: CustomResourceDefinition, additions: Additions) -> CustomResourceDefinition {
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
            for (path, value) in additions.defaults {
                if let Some(property) = property_at(schema, path) {
                    property.default = Some(JSON((*value).into()));
                }
            }
            for path in additions.pod_templates {
                if let Some(property) = property_at(schema, path) {
                    *property = pod_template_schema();
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

fn property_at<'a>(schema: &'a mut JSONSchemaProps, path: &str) -> Option<&'a mut JSONSchemaProps> {
    path.split('.').try_fold(schema, |schema, name| match (name, &mut schema.items) {
        ("[]", Some(JSONSchemaPropsOrArray::Schema(items))) => Some(&mut **items),
        ("[]", _) => None,
        (name, _) => schema.properties.as_mut()?.get_mut(name),
    })
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
