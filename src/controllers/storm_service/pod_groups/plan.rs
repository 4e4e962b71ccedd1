// SPDX-License-Identifier: Apache-2.0
//! Which `PodGroups` there have to be. Pure.

use kube_loops::{
    cluster::events::EventText,
    rollout::template::{input_hash::input_hash, quantity::are_equal},
    runtime::children::{Child, ChildRef},
};
use serde_json::{Map, Value, json};

use crate::api::orchestration::{PodGroupKind, SchedulingStrategy};

use super::{
    super::json::{at, put},
    GroupFacts, Seen, WRITTEN, kind_of,
};

/// Reason of the event that says that a group is as wanted.
const SYNCED: &str = "PodGroupSynced";
/// Reason of the event that says that nobody serves the kind.
const KIND_MISSING: &str = "PodGroupKindMissing";

/// Fields of the `PodGroup` that a strategy may set.
const fn fields_of(kind: PodGroupKind) -> &'static [&'static str] {
    match kind {
        PodGroupKind::Godel => {
            &["minMember", "priorityClassName", "scheduleTimeoutSeconds", "application", "affinity"]
        }
        PodGroupKind::Coscheduling => &["minMember", "minResources", "scheduleTimeoutSeconds"],
        PodGroupKind::Volcano => {
            &["minMember", "minTaskMember", "queue", "priorityClassName", "minResources"]
        }
    }
}

/// A change of a `PodGroup`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::controllers::storm_service) enum GroupStep {
    /// The whole object.
    Create(PodGroupKind, Value),
    /// A merge patch for the version that was seen.
    Patch(PodGroupKind, ChildRef, Value),
    /// The object that was seen.
    Delete(PodGroupKind, ChildRef),
}

impl GroupStep {
    pub(super) fn kind(&self) -> PodGroupKind {
        match self {
            Self::Create(kind, _) | Self::Patch(kind, ..) | Self::Delete(kind, _) => *kind,
        }
    }

    /// Whether the group is then as wanted, which people are told.
    fn is_sync(&self) -> bool {
        !matches!(self, Self::Delete(..))
    }
}

/// Whose group is meant.
#[derive(Debug, Clone)]
pub(in crate::controllers::storm_service) struct GroupOwner<'a> {
    /// Namespace.
    pub(in crate::controllers::storm_service) namespace: &'a str,
    /// Name of owner and group.
    pub(in crate::controllers::storm_service) name: &'a str,
    /// The reference to it.
    pub(in crate::controllers::storm_service) reference: Value,
    /// Label of the group that names the owner.
    pub(in crate::controllers::storm_service) label: &'static str,
}

/// What a pass does about groups.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::controllers::storm_service) struct GroupPlan {
    /// Changes.
    pub(in crate::controllers::storm_service) steps: Vec<GroupStep>,
    /// To be told once the steps are done.
    pub(in crate::controllers::storm_service) events: Vec<EventText>,
    /// What is in the way, told once per generation: nobody serves the kind, or the group is somebody else's.
    pub(in crate::controllers::storm_service) trouble: Option<EventText>,
}

/// Makes the group that the strategy asks for, and takes those of other kinds away.
pub(in crate::controllers::storm_service) fn plan(
    owner: &GroupOwner<'_>,
    strategy: Option<&SchedulingStrategy>,
    seen: &[Seen],
) -> GroupPlan {
    let chosen = strategy.and_then(SchedulingStrategy::chosen);
    let mut plan = GroupPlan::default();
    for group in seen {
        match chosen {
            Some((kind, fields)) if kind == group.kind => keep_group(owner, fields, group, &mut plan),
            _ => {
                if let Child::Ours(ours) = &group.group {
                    plan.steps.push(GroupStep::Delete(group.kind, ChildRef::to(&**ours)));
                }
            }
        }
    }
    let synced = plan.steps.iter().filter(|step| step.is_sync());
    plan.events = synced
        .map(|_| EventText {
            warning: false,
            reason: SYNCED,
            message: format!("pod group {} synced", owner.name),
        })
        .collect();
    plan
}

/// Takes all groups away.
pub(in crate::controllers::storm_service) fn plan_none(seen: &[Seen]) -> Vec<GroupStep> {
    let ours = seen.iter().filter_map(|seen| match &seen.group {
        Child::Ours(group) => Some(GroupStep::Delete(seen.kind, ChildRef::to(&**group))),
        Child::Absent | Child::Terminating(_) | Child::Orphan(_) | Child::Foreign(_) => None,
    });
    ours.collect()
}

fn keep_group(owner: &GroupOwner<'_>, fields: &Map<String, Value>, seen: &Seen, plan: &mut GroupPlan) {
    let kind = kind_of(seen.kind);
    if !seen.served {
        let message = format!(
            "no PodGroup {} is made, and its pods may stay Pending: nobody serves podgroups.{}",
            owner.name, kind.group
        );
        plan.trouble = Some(EventText { warning: true, reason: KIND_MISSING, message });
        return;
    }
    let wanted = without_zeros(fields);
    let hash = input_hash(&Value::Object(wanted.clone()));
    match &seen.group {
        Child::Absent => {
            let object = json!({
                "apiVersion": format!("{}/{}", kind.group, kind.version),
                "kind": kind.kind,
                "metadata": {
                    "name": owner.name,
                    "namespace": owner.namespace,
                    "labels": {owner.label: owner.name},
                    "annotations": {WRITTEN: hash},
                    "ownerReferences": [owner.reference],
                },
                "spec": wanted,
            });
            plan.steps.push(GroupStep::Create(seen.kind, object));
        }
        Child::Terminating(_) => {} // its end is a trigger
        Child::Ours(group) => {
            if let Some(patch) = patch_for(seen.kind, owner, &wanted, &hash, group) {
                plan.steps.push(GroupStep::Patch(seen.kind, ChildRef::to(&**group), patch));
            }
        }
        Child::Orphan(group) if is_adoptable(owner, group) => {
            let mut patch = patch_for(seen.kind, owner, &wanted, &hash, group).unwrap_or_else(|| json!({}));
            put(&mut patch, &["metadata", "ownerReferences"], json!([owner.reference]));
            plan.steps.push(GroupStep::Patch(seen.kind, ChildRef::to(&**group), patch));
        }
        Child::Orphan(_) | Child::Foreign(_) => {
            let message = format!("the PodGroup {} is not ours and is left alone", owner.name);
            plan.trouble = Some(EventText { warning: true, reason: "PodGroupConflict", message });
        }
    }
}

/// Nobody's group of our name with our label: what a backup restored without its owner.
fn is_adoptable(owner: &GroupOwner<'_>, group: &GroupFacts) -> bool {
    group.labels.get(owner.label).is_some_and(|name| name == owner.name)
}

/// What is to be changed of a group; `None`: nothing.
fn patch_for(
    kind: PodGroupKind,
    owner: &GroupOwner<'_>,
    wanted: &Map<String, Value>,
    hash: &str,
    group: &GroupFacts,
) -> Option<Value> {
    let labelled = group.labels.get(owner.label).is_some_and(|name| name == owner.name);
    let has = |(field, value): (&String, &Value)| holds(at(&group.spec, &[field]), value);
    let rewritten = group.written.as_deref().is_some_and(|written| written != hash);
    if labelled && !rewritten && wanted.iter().all(has) {
        return None;
    }
    let mut spec = wanted.clone();
    for field in fields_of(kind) {
        let stored = at(&group.spec, &[field]);
        let taken_away = !wanted.contains_key(*field) && !stored.is_null();
        // Maps are merged: what is not wanted of one is taken away by name.
        match (wanted.get(*field), stored) {
            (Some(Value::Object(map)), Value::Object(stored)) => {
                let mut map = map.clone();
                for key in stored.keys() {
                    map.entry(key.clone()).or_insert(Value::Null);
                }
                spec.insert((*field).to_owned(), Value::Object(map));
            }
            _ if taken_away && rewritten => {
                spec.insert((*field).to_owned(), Value::Null);
            }
            _ => {}
        }
    }
    Some(json!({
        "metadata": {"labels": {owner.label: owner.name}, "annotations": {WRITTEN: hash}},
        "spec": spec,
    }))
}

/// Whether a stored value is the wanted one; quantities by value.
fn holds(stored: &Value, wanted: &Value) -> bool {
    match (stored, wanted) {
        (Value::Object(stored), Value::Object(wanted)) => {
            stored.len() == wanted.len()
                && wanted.iter().all(|(key, wanted)| stored.get(key).is_some_and(|it| holds(it, wanted)))
        }
        (Value::String(stored), Value::String(wanted)) => stored == wanted || are_equal(stored, wanted),
        _ => stored == wanted,
    }
}

/// Whether two strategies ask for the same group.
pub(in crate::controllers::storm_service) fn ask_for_the_same(
    one: Option<&SchedulingStrategy>,
    other: Option<&SchedulingStrategy>,
) -> bool {
    let written = |strategy: &SchedulingStrategy| {
        strategy.chosen().map(|(kind, fields)| (kind, Value::Object(without_zeros(fields))))
    };
    match (one.and_then(written), other.and_then(written)) {
        (Some((kind, one)), Some((other_kind, other))) => kind == other_kind && holds(&one, &other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// What is written of a strategy: AIBrix leaves zero values out.
fn without_zeros(fields: &Map<String, Value>) -> Map<String, Value> {
    let is_zero = |value: &Value| match value {
        Value::Null => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) => false,
    };
    fields
        .iter()
        .filter(|(_, value)| !is_zero(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
