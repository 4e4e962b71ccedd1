// SPDX-License-Identifier: Apache-2.0
//! Whether a member that AIBrix made is of the role's current template. Pure.
//!
//! Such a member has no digest. It counts as current if one of these holds; a member that is being updated in place is
//! judged by the last one only:
//!
//! 1. its label says what AIBrix puts there for this template;
//! 2. the spec of the RoleSet was never changed;
//! 3. it was made more than ten seconds after the spec was written last;
//! 4. everything that the template says is also said by the member.
//!
//! That is lenient on purpose: a wrong "outdated" restarts a model.

use std::time::Duration;

use serde_json::Value;

use crate::api::orchestration::RoleSpec;

use super::{
    super::{
        json::at,
        templates::{aibrix_hash_of, first_difference_of},
    },
    member::Member,
    snapshot::Snapshot,
};

/// How much younger than the last write of the spec a member has to be.
const SETTLED: Duration = Duration::from_secs(10);

/// What a member without a digest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Of the current template.
    Current,
    /// Of another one: the first difference, as a path.
    Differs(String),
    /// It could not be read: nothing is decided about it in this pass.
    Unknown,
}

/// Judges a member without a digest.
pub(super) fn judge(seen: &Snapshot, role: &RoleSpec, member: &Member) -> Judgement {
    let Some(live) = &seen.live else { return Judgement::Unknown };
    let template = role.template.as_ref().unwrap_or(&Value::Null);
    if member.target().is_none() {
        let named = aibrix_hash_of(template).is_some_and(|hash| hash.is(member.hash()));
        let never_changed = seen.role_set.metadata.generation == Some(1);
        let later = member.created().zip(live.spec_written).is_some_and(|(created, written)| {
            Duration::try_from(created.duration_since(written)).is_ok_and(|since| since > SETTLED)
        });
        if named || never_changed || later {
            return Judgement::Current;
        }
    }
    let Some(object) = live.members.get(member.uid()) else { return Judgement::Unknown };
    let made_from = if member.is_set() { at(object, &["spec", "template"]) } else { object };
    first_difference_of(template, made_from, true).map_or(Judgement::Current, Judgement::Differs)
}
