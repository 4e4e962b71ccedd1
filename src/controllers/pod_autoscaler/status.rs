// SPDX-License-Identifier: Apache-2.0
//! The status: conditions, history, and what the steps changed about them.

use k8s_openapi::{
    api::autoscaling::v2::HorizontalPodAutoscalerCondition, apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    api::autoscaling::{PodAutoscalerStatus, ScalingEvent, ScheduledBounds},
    clock::Timestamp,
    validation::pod_autoscaler::Problem,
};

use super::steps::{Conclusion, Plan};

/// Condition of an object that may not act because another one holds its target; absent otherwise.
pub(super) const CONFLICT: &str = "MultiPodAutoscalerConflict";

/// What the status will say, before its conditions are worked out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outlook {
    /// The stored status.
    pub(super) previous: PodAutoscalerStatus,
    /// Generation of the spec that was looked at.
    pub(super) generation: Option<i64>,
    /// What is wrong with the spec.
    pub(super) problem: Option<Problem>,
    /// Message of the conflict.
    pub(super) conflict: Option<String>,
    /// Condition `AbleToScale`, where spec and claim allow scaling.
    pub(super) able: Able,
    /// Replicas asked for.
    pub(super) desired: i32,
    /// Replicas found.
    pub(super) actual: i32,
    /// What the message of `ScalingActive` adds: why scaling down is withheld.
    pub(super) note: Option<String>,
    /// Bounds in force.
    pub(super) bounds: ScheduledBounds,
    /// An entry for the history, if it is new.
    pub(super) entry: Option<ScalingEvent>,
    /// Last scaling as the HorizontalPodAutoscaler tells it.
    pub(super) last_scale_time: Option<Time>,
    /// Conditions of the generated HorizontalPodAutoscaler; `None`: another strategy.
    pub(super) hpa_conditions: Option<Vec<HorizontalPodAutoscalerCondition>>,
}

/// Whether the target can be scaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Able {
    /// Status of the condition.
    pub(super) holds: bool,
    /// Reason.
    pub(super) reason: &'static str,
    /// Message.
    pub(super) message: String,
}
