// SPDX-License-Identifier: Apache-2.0
//! RoleSet: one instance of a service of several roles.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    super::wire::{any_schema, int_or_string_schema, is_zero},
    conditions::WorkloadCondition,
    scheduling::SchedulingStrategy,
};

/// Keeps the wanted number of replicas of each role, and rolls them to a new template.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orchestration.aibrix.ai",
    version = "v1alpha1",
    kind = "RoleSet",
    plural = "rolesets",
    namespaced,
    status = "RoleSetStatus",
    derive = "PartialEq",
    doc = "RoleSet keeps the replicas of the roles of one instance of a service.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleSetSpec {
    /// The roles, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleSpec>,
    /// How several roles are rolled together: `Sequential` (also where it is absent), `Parallel`, `Interleave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Parallel", "Sequential", "Interleave"]))]
    pub update_strategy: Option<String>,
    /// One group for the pods of all roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_strategy: Option<SchedulingStrategy>,
    /// Where new pods are placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_policy: Option<TopologyPolicy>,
}

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleSpec {
    /// Name; part of the names of pods and the value of a label.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Replicas: pods, or PodSets where `podGroupSize` is above 1. Absent and negative are 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Place in a sequential rollout, lowest first; absent: after all that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1))]
    pub upgrade_order: Option<i32>,
    /// Pods of one replica, 1 by default; above 1 each replica is a PodSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub pod_group_size: Option<i32>,
    /// How the replicas of this role are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<RoleUpdateStrategy>,
    /// Replicas have an index and a name of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stateful: bool,
    /// The pod template, as it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_schema")]
    pub template: Option<Value>,
    /// How many replicas may be evicted at once; without effect unless disruption budgets are switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_tolerance: Option<DisruptionTolerance>,
    /// One group for the pods of each replica; only where `podGroupSize` is above 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_strategy: Option<SchedulingStrategy>,
    /// Waiting between the end of new requests and the deletion of a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<RoleDrain>,
}

/// How the replicas of a role are replaced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleUpdateStrategy {
    /// `Recreate` (also where it is absent), or `InPlaceIfPossible`: a change of images only is made to the running
    /// pod.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Recreate", "InPlaceIfPossible"]))]
    pub type_: Option<String>,
    /// How many replicas may be missing, as a number or percentage, rounded down. Absent: 0, or 1 where the surge is
    /// 0, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string_schema")]
    pub max_unavailable: Option<IntOrString>,
    /// How many replicas more may exist, as a number or percentage, rounded up. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string_schema")]
    pub max_surge: Option<IntOrString>,
}

/// How many may be evicted at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DisruptionTolerance {
    /// A number or percentage, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string_schema")]
    pub max_unavailable: Option<IntOrString>,
}

/// Waiting before a deletion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleDrain {
    /// Seconds; absent and 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0))]
    pub timeout_seconds: Option<i32>,
}

/// Pods that shall be near each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TopologyPolicy {
    /// Which pods: of the `StormService`, the `RoleSet` or the `Role`.
    #[schemars(extend("enum" = ["StormService", "RoleSet", "Role"]))]
    pub scope: String,
    /// `Preferred` (also where it is absent) or `Required`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Preferred", "Required"]))]
    pub mode: Option<String>,
    /// Label of nodes that have to agree.
    #[schemars(extend(
        "minLength" = 1, "maxLength" = 317,
        "pattern" = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
    ))]
    pub key: String,
}

/// What the loop found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleSetStatus {
    /// One entry for each role of the spec, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleStatus>,
    /// `Ready`; `ReplicaFailure` and `GangSchedulingError` while there is something to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<WorkloadCondition>,
}

/// The replicas of one role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleStatus {
    /// Name of the role.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Replicas that exist.
    pub replicas: i32,
    /// Those that are ready; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready_replicas: i32,
    /// Those that are not; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_ready_replicas: i32,
    /// Those of the wanted template; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub updated_replicas: i32,
    /// Those of the wanted template that are ready; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub updated_ready_replicas: i32,
}
