// SPDX-License-Identifier: Apache-2.0
//! What a pass of a StormService may do. Pure.

use kube_loops::{cluster::events::EventText, runtime::children::ChildRef};
use serde_json::Value;

use crate::api::orchestration::StormServiceStatus;

use super::objects::NewRevision;

/// A change.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A template is recorded.
    Record(Box<NewRevision>),
    /// A recorded template gets another number.
    Renumber(ChildRef, i64),
    /// A recorded template goes.
    Forget(ChildRef),
    /// The headless Service is made: the whole object, and what to tell then.
    CreateHeadless(Value, EventText),
    /// The headless Service is corrected: a merge patch, and what to tell then.
    PatchHeadless(ChildRef, Value, EventText),
    /// A Service that has to be made anew goes.
    DeleteHeadless(ChildRef),
    /// A RoleSet is made: the whole object.
    Create(Value),
    /// A RoleSet is moved to the template in place: a merge patch.
    Move(ChildRef, Value),
    /// A RoleSet goes.
    Delete(ChildRef),
}

/// What a pass does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Changes, in order.
    pub(super) steps: Vec<Step>,
    /// Which part of the pass makes RoleSets come and go, for the words of its errors.
    pub(super) part: Part,
    /// What is told once for as long as it is so.
    pub(super) warnings: Vec<EventText>,
    /// Why nothing is scaled or rolled.
    pub(super) error: Option<String>,
    /// The status, as if all went well; `None`: it stays.
    pub(super) status: Option<StormServiceStatus>,
    /// A template was recorded: it is to be seen before anything is decided.
    pub(super) look_again: bool,
    /// Something has not been looked at by the RoleSet loop yet, so that the status waits.
    pub(super) waits: bool,
    /// All RoleSets are gone, and so may the StormService.
    pub(super) finalized: bool,
}

/// Which part of a pass makes RoleSets come and go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// It brings their number to what is wanted.
    #[default]
    Scaling,
    /// It moves them to the template.
    Rollout,
}
