// SPDX-License-Identifier: Apache-2.0
//! Conditions of a status. [`upsert`] is the only writer.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::text::cut;

/// Longest message of a condition that the API server takes, in bytes (it counts characters).
const MESSAGE_BYTES: usize = 32768;

/// What a pass says about one aspect of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// Type of the condition.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Reason, in Pascal case.
    pub reason: &'static str,
    /// Message; stable in steady state.
    pub message: String,
}

/// Writes `stated` into the list: the order stays, a new condition goes to the end, `lastTransitionTime`
/// moves only with the status, reason and message are always refreshed.
pub fn upsert(conditions: &mut Vec<Condition>, stated: Stated, generation: Option<i64>, now: Timestamp) {
    let status = if stated.holds { "True" } else { "False" };
    let condition = Condition {
        type_: stated.kind.to_owned(),
        status: status.to_owned(),
        reason: stated.reason.to_owned(),
        message: stated.message,
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    upsert_condition(conditions, condition);
}

/// [`upsert`] for a condition copied from another object; its `lastTransitionTime` counts only if the
/// status moved.
pub fn upsert_condition(conditions: &mut Vec<Condition>, mut condition: Condition) {
    condition.message = cut(&condition.message, MESSAGE_BYTES);
    match conditions.iter_mut().find(|have| have.type_ == condition.type_) {
        Some(have) => {
            if have.status == condition.status {
                condition.last_transition_time = have.last_transition_time.clone();
            }
            *have = condition;
        }
        None => conditions.push(condition),
    }
}

/// Removes the condition of this type.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}
