// SPDX-License-Identifier: Apache-2.0
//! `autoscaling.aibrix.ai/v1alpha1`: PodAutoscaler.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire::{conditions_schema, is_zero};

/// Group of the PodAutoscaler.
pub(crate) const GROUP: &str = "autoscaling.aibrix.ai";
/// Its only version.
pub(crate) const VERSION: &str = "v1alpha1";
/// `apiVersion` of the PodAutoscaler.
pub(crate) const API_VERSION: &str = "autoscaling.aibrix.ai/v1alpha1";
/// Its kind.
pub(crate) const POD_AUTOSCALER: &str = "PodAutoscaler";

/// Lower bound when the spec names none.
pub(crate) const DEFAULT_MIN_REPLICAS: i32 = 1;
/// Stable window when the spec names none, in seconds.
pub(crate) const DEFAULT_OBSERVE_WINDOW_SECONDS: i64 = 180;
/// Panic window when the spec names none, in seconds.
pub(crate) const DEFAULT_PANIC_WINDOW_SECONDS: i64 = 60;

/// Scales one target between bounds, by a generated HorizontalPodAutoscaler or by itself.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "autoscaling.aibrix.ai",
    version = "v1alpha1",
    kind = "PodAutoscaler",
    namespaced,
    status = "PodAutoscalerStatus",
    derive = "PartialEq",
    doc = "PodAutoscaler scales one target workload between bounds.",
    printcolumn = r#"{"name":"MINPODS","type":"integer","jsonPath":".spec.minReplicas"}"#,
    printcolumn = r#"{"name":"MAXPODS","type":"integer","jsonPath":".spec.maxReplicas"}"#,
    printcolumn = r#"{"name":"REPLICAS","type":"integer","jsonPath":".status.actualScale"}"#,
    printcolumn = r#"{"name":"STRATEGY","type":"string","jsonPath":".spec.scalingStrategy"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodAutoscalerSpec {
    /// The workload to scale, in the namespace of the PodAutoscaler.
    pub scale_target_ref: ScaleTargetRef,
    /// Narrows the target to a part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_target_selector: Option<SubTargetSelector>,
    /// Lower bound, 1 by default; 0 allows scaling to zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// Upper bound.
    pub max_replicas: i32,
    /// Daily time windows that override bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minItems" = 1))]
    pub schedules: Option<Vec<Schedule>>,
    /// What is measured; the largest recommendation wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1))]
    pub metrics_sources: Vec<MetricSource>,
    /// Stable window in seconds, 1 to 3600, 180 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 3600))]
    pub observe_window_seconds: Option<i64>,
    /// Panic window in seconds, 1 to 3600, 60 by default, at most the stable window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 3600))]
    pub panic_window_seconds: Option<i64>,
    /// `HPA` generates a HorizontalPodAutoscaler; `KPA` and `APA` scale the target directly.
    #[schemars(extend("enum" = ["HPA", "KPA", "APA"]))]
    pub scaling_strategy: String,
}

/// Reference to the target. Empty text means absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub(crate) struct ScaleTargetRef {
    /// Group and version; empty: the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Kind; required in practice.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Name; required in practice.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Empty, or the namespace of the PodAutoscaler.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Without effect.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
    /// Without effect.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Without effect.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// A part of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SubTargetSelector {
    /// Role of a StormService; empty: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role_name: String,
}

/// A daily time window that overrides bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Schedule {
    /// Unique in the list; a DNS label.
    #[schemars(extend("minLength" = 1, "pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// IANA time zone, UTC by default; the same in all entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// `Mon` to `Sun` in any case; absent: every day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minItems" = 1))]
    pub days_of_week: Option<Vec<String>>,
    /// First minute, `HH:MM`.
    #[schemars(extend("pattern" = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start_time: String,
    /// The minute after the last one, `HH:MM`, later than the start on the same day.
    #[schemars(extend("pattern" = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub end_time: String,
    /// Lower bound while active; absent: the base bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// Upper bound while active; absent: the base bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i32>,
}

/// Where a measurement comes from. Empty text means absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricSource {
    /// `pod`, `resource`, `custom`, `external`, or `domain`, an older word for `external`.
    #[schemars(extend("enum" = ["pod", "resource", "custom", "external", "domain"]))]
    #[expect(clippy::struct_field_names, reason = "it is what the API calls it")]
    pub metric_source_type: String,
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("enum" = ["http", "https"]))]
    pub protocol_type: String,
    /// `host[:port]` of a metrics service; empty with `external`: the external metrics API.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// Path of the metrics, with or without a leading slash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Port of the pods.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub port: String,
    /// Name of the metric.
    pub target_metric: String,
    /// Wanted value, a decimal number above 0.
    pub target_value: String,
}

/// What the controller found and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodAutoscalerStatus {
    /// Last successful rescale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
    /// Replicas that the last decision asked for; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub desired_scale: i32,
    /// Replicas of the target at the last decision; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub actual_scale: i32,
    /// Conditions in the order of their first appearance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The last five scalings, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 5))]
    pub scaling_history: Vec<ScalingEvent>,
    /// Bounds in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_bounds: Option<ScheduledBounds>,
}

/// One scaling, or one attempt that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScalingEvent {
    /// When it was decided.
    pub timestamp: Time,
    /// Replicas before.
    pub previous_scale: i32,
    /// Replicas asked for.
    pub new_scale: i32,
    /// Why.
    pub reason: String,
    /// Whether the target took it.
    pub success: bool,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Bounds in force, after schedules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScheduledBounds {
    /// Name of the active schedule; absent: the base bounds are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_schedule: Option<String>,
    /// Lower bound.
    pub effective_min_replicas: i32,
    /// Upper bound.
    pub effective_max_replicas: i32,
}
