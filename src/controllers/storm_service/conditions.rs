// SPDX-License-Identifier: Apache-2.0
//! Conditions of StormServices, RoleSets and `PodSets`. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_fenced_election::clock::Timestamp;

use crate::api::orchestration::{ConditionStatus, WorkloadCondition};

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated {
    /// Its type.
    pub(super) kind: &'static str,
    /// Whether it holds.
    pub(super) status: ConditionStatus,
    /// Why, for programs.
    pub(super) reason: &'static str,
    /// Why, for people.
    pub(super) message: String,
}

/// States a condition. One that says the same already keeps its times; the transition time moves with the status only.
/// A new one comes last.
pub(super) fn state(conditions: &mut Vec<WorkloadCondition>, stated: Stated, now: Timestamp) {
    let Stated { kind, status, reason, message } = stated;
    let now = Some(Time(now));
    let mut wanted = WorkloadCondition {
        type_: kind.to_owned(),
        status: status.as_str().to_owned(),
        last_transition_time: now.clone(),
        last_update_time: now,
        last_update_micro_time: None,
        reason: reason.to_owned(),
        message,
    };
    let Some(stored) = conditions.iter_mut().find(|it| it.type_ == kind) else {
        conditions.push(wanted);
        return;
    };
    let says_the_same = (&stored.status, &stored.reason, &stored.message)
        == (&wanted.status, &wanted.reason, &wanted.message);
    if says_the_same {
        return;
    }
    if stored.status == wanted.status {
        wanted.last_transition_time.clone_from(&stored.last_transition_time);
    }
    *stored = wanted;
}

/// Takes a condition away.
pub(super) fn remove(conditions: &mut Vec<WorkloadCondition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// Whether a condition of this type is true.
pub(super) fn is_true(conditions: &[WorkloadCondition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
}
