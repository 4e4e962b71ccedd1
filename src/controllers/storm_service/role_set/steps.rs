// SPDX-License-Identifier: Apache-2.0
//! What a pass of a RoleSet may do. Pure.

use kube_loops::{cluster::events::EventText, runtime::children::ChildRef};
use serde_json::Value;

use super::super::pod_groups::GroupPlan;
use crate::api::orchestration::RoleStatus;

/// A change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Nobody's pod with our label becomes ours.
    AdoptPod(ChildRef),
    /// Nobody's `PodSet` with our label becomes ours.
    AdoptSet(ChildRef),
    /// A merge patch of a pod that the RoleSet controls.
    PatchPod(ChildRef, Value),
    /// A merge patch of a `PodSet`.
    PatchSet(ChildRef, Value),
    /// A merge patch of the RoleSet's metadata.
    PatchSelf(Value),
    /// The condition of our readiness gate becomes true.
    OpenGate(ChildRef),
    /// New images for a running pod.
    UpdateInPlace(InPlace),
    /// An update in place is complete.
    Complete {
        /// The pod.
        pod: ChildRef,
        /// Whether the condition of our readiness gate is to become true first.
        gated: bool,
        /// The merge patch that makes it one of the new template.
        patch: Value,
        /// What to tell then.
        event: EventText,
    },
    /// A pod is made: the whole object.
    CreatePod(Value),
    /// A `PodSet` is made: the whole object.
    CreateSet(Value),
    /// The pod goes.
    DeletePod(ChildRef),
    /// The `PodSet` goes, and its pods with it.
    DeleteSet(ChildRef),
}

impl Step {
    /// Whether a replica is made.
    pub(super) const fn creates(&self) -> bool {
        matches!(self, Self::CreatePod(_) | Self::CreateSet(_))
    }
}

/// New images for a running pod.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InPlace {
    /// The pod.
    pub(super) pod: ChildRef,
    /// Whether the condition of our readiness gate is to become false first.
    pub(super) gated: bool,
    /// A strategic merge patch: images by container, and annotations.
    pub(super) patch: Value,
    /// What to tell then.
    pub(super) event: EventText,
}

/// Something that people are told once, for as long as it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What tells it apart from others that say the same.
    pub(super) key: String,
    /// What it says.
    pub(super) text: EventText,
    /// Told once in a term, also when it is not so in between.
    pub(super) once: bool,
}

impl Notice {
    /// A warning that is told apart by what it says.
    pub(super) fn warning(reason: &'static str, message: String) -> Self {
        Self { key: message.clone(), text: EventText { warning: true, reason, message }, once: false }
    }
}

/// What a pass does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plan {
    /// Changes of members. Deletions do not wait for creations that fail, and no role waits for another one's errors.
    pub(super) steps: Vec<Step>,
    /// Changes of `PodGroups`.
    pub(super) groups: GroupPlan,
    /// What is told once for as long as it is so.
    pub(super) notices: Vec<Notice>,
    /// What there is of each role of the spec; `None`: the RoleSet goes, and nobody counts any more.
    pub(super) roles: Option<Vec<RoleStatus>>,
    /// What is wrong although nothing was tried: a name that cannot be used.
    pub(super) errors: Vec<String>,
    /// All members are gone, and so may the RoleSet.
    pub(super) finalized: bool,
    /// What was adopted is to be looked at before anything is decided.
    pub(super) look_again: bool,
    /// An update in place is under way.
    pub(super) updates_in_place: bool,
}
