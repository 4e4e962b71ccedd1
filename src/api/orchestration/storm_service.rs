// SPDX-License-Identifier: Apache-2.0
//! StormService: copies of a RoleSet.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::wire::{AsStored, int_or_string_schema, label_selector_schema},
    conditions::WorkloadCondition,
    role_set::{DisruptionTolerance, RoleSetSpec, RoleStatus},
};

/// Keeps copies of a RoleSet, and moves them from one template to the next.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orchestration.aibrix.ai",
    version = "v1alpha1",
    kind = "StormService",
    plural = "stormservices",
    namespaced,
    status = "StormServiceStatus",
    derive = "PartialEq",
    doc = "StormService keeps copies of a RoleSet and rolls them to a new template.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.scalingTargetSelector"
    ),
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Paused","type":"boolean","jsonPath":".spec.paused"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StormServiceSpec {
    /// Number of RoleSets; absent: 1, negative: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Has to match the labels of the template.
    #[schemars(schema_with = "label_selector_schema")]
    pub selector: LabelSelector,
    /// Without effect; `roles[].stateful` has one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stateful: bool,
    /// What the RoleSets are made from.
    pub template: AsStored<RoleSetTemplate>,
    /// How RoleSets are moved to a new template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<ServiceUpdateStrategy>,
    /// Old revisions that are kept, 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<i32>,
    /// Stops a rollout; scaling goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_tolerance: Option<DisruptionTolerance>,
    /// `Replica` or `Pooled`: what the owner says that it is; `Pooled` has at most one RoleSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Replica", "Pooled"]))]
    pub mode: Option<String>,
    /// Seconds without progress after which a rollout is said to hang, 600 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<i32>,
}

/// What RoleSets are made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RoleSetTemplate {
    /// Labels and annotations of the RoleSets; the rest is without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Their spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<RoleSetSpec>,
}

/// Metadata of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TemplateMetadata {
    /// Copied to each RoleSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalizers: Option<Vec<String>>,
    /// Copied to each RoleSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// How RoleSets are moved to a new template.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceUpdateStrategy {
    /// `RollingUpdate` (also where it is absent) replaces RoleSets, `InPlaceUpdate` edits them.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["RollingUpdate", "InPlaceUpdate"]))]
    pub type_: Option<String>,
    /// How many RoleSets may be missing, as a number or percentage, rounded down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string_schema")]
    pub max_unavailable: Option<IntOrString>,
    /// How many RoleSets more may exist, as a number or percentage, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string_schema")]
    pub max_surge: Option<IntOrString>,
}

/// What the loop found. Counts are of RoleSets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StormServiceStatus {
    /// Generation of the object that this is about.
    pub observed_generation: i64,
    /// All, those that terminate included.
    pub replicas: i32,
    /// Ready ones.
    pub ready_replicas: i32,
    /// The rest.
    pub not_ready_replicas: i32,
    /// At the current revision.
    pub current_replicas: i32,
    /// At the update revision, with all roles updated.
    pub updated_replicas: i32,
    /// The same, ready.
    pub updated_ready_replicas: i32,
    /// Revision that was in force before the rollout.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// Revision of the template.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub update_revision: String,
    /// How often the name of a revision was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
    /// Selects the pods, for the scale subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scaling_target_selector: String,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<WorkloadCondition>,
    /// Sums over the RoleSets by role, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub role_statuses: Vec<RoleStatus>,
}
