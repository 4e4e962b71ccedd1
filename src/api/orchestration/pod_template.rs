// SPDX-License-Identifier: Apache-2.0
//! The schema of a pod template, as controller-gen makes it from Kubernetes 1.31: the one that AIBrix publishes.
//!
//! The file beside this one is the schema of `core/v1` `PodTemplateSpec` without descriptions. It is data: what users
//! have stored was checked, and defaulted, by exactly this schema, and a template that changes by being stored anew
//! restarts pods.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

const SCHEMA: &str = include_str!("pod_template_schema.json");

/// The schema of a pod template.
///
/// # Panics
/// Never: a test reads the file.
#[expect(clippy::expect_used, reason = "the text is part of the program, and a test reads it")]
pub(crate) fn pod_template_schema() -> JSONSchemaProps {
    serde_json::from_str(SCHEMA).expect("the schema of pod templates is a schema")
}
