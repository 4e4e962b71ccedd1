// SPDX-License-Identifier: Apache-2.0
//! `orchestration.aibrix.ai/v1alpha1`: StormService, RoleSet and PodSet.
//!
//! A StormService keeps copies of a RoleSet; a RoleSet keeps the pods of its roles, or PodSets where a replica of a
//! role is several pods; a PodSet keeps a group of pods.

mod conditions;
mod pod_set;
mod pod_template;
mod role_set;
mod scheduling;
mod storm_service;

pub(crate) use self::{
    conditions::{ConditionStatus, WorkloadCondition},
    pod_set::{PodSet, PodSetStatus},
    pod_template::pod_template_schema,
    role_set::{RoleSet, RoleSetStatus, RoleSpec, RoleStatus},
    scheduling::{PodGroupKind, SchedulingStrategy},
    storm_service::{StormService, StormServiceStatus},
};

/// Its only version.
pub(crate) const VERSION: &str = "v1alpha1";
/// `apiVersion` of these kinds.
pub(crate) const API_VERSION: &str = "orchestration.aibrix.ai/v1alpha1";
