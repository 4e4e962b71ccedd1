// SPDX-License-Identifier: Apache-2.0
//! PodSet: a group of pods that serve as one replica.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{super::wire::any_schema, conditions::WorkloadCondition, scheduling::SchedulingStrategy};

/// Keeps a group of pods with indexes from 0.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orchestration.aibrix.ai",
    version = "v1alpha1",
    kind = "PodSet",
    plural = "podsets",
    namespaced,
    status = "PodSetStatus",
    derive = "PartialEq",
    doc = "PodSet keeps a group of pods that serve as one replica.",
    printcolumn = r#"{"name":"ReadyPods","type":"integer","jsonPath":".status.readyPods"}"#,
    printcolumn = r#"{"name":"TotalPods","type":"integer","jsonPath":".status.totalPods"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSetSpec {
    /// Number of pods.
    #[schemars(extend("minimum" = 2, "maximum" = 100))]
    pub pod_group_size: i32,
    /// The pod template, as it is stored.
    #[schemars(schema_with = "any_schema")]
    pub template: Value,
    /// Without effect: the pods always have an index.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stateful: bool,
    /// What follows from the loss of a pod: `ReplaceUnhealthy` (also where it is absent) makes the lost one again,
    /// `Recreate` all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["ReplaceUnhealthy", "Recreate"]))]
    pub recovery_policy: Option<String>,
    /// One group for the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_strategy: Option<SchedulingStrategy>,
}

/// What the loop found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSetStatus {
    /// Pods that are ready.
    pub ready_pods: i32,
    /// Pods that exist, less those that have ended or terminate.
    pub total_pods: i32,
    /// `Pending`, `Running` or `Ready`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// `Recovering` and `GangSchedulingError` while there is something to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<WorkloadCondition>,
}
