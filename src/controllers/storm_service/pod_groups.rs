// SPDX-License-Identifier: Apache-2.0
//! `PodGroups`: pods that a scheduler places together. The same rules for RoleSets and `PodSets`. Pure, but for the stores.
//!
//! | Scheduler | `PodGroup` of |
//! |---|---|
//! | Godel | `scheduling.godel.kubewharf.io/v1alpha1` |
//! | coscheduling | `scheduling.x-k8s.io/v1alpha1` |
//! | Volcano | `scheduling.volcano.sh/v1beta1` |
//!
//! A group is named after its owner. Others write to it, too (a scheduler its status, people labels), and so only the
//! fields of the strategy, one label and the owner are written.

use kube::core::DynamicObject;
use kube_loops::{
    cluster::{
        events::EventText,
        writer::{Change, Deletion, Writer},
    },
    rollout::template::{input_hash::input_hash, quantity::are_equal},
    runtime::{
        children::{Child, ChildRef, Children, Parent},
        controller::{Kind, Rule},
        loops::Sources,
        reconciler::Key,
        steps::StepReport,
        watches::{ControllerRef, Owned, Store, Stored, WatchSpec, interner::Interner},
    },
};
use serde_json::{Map, Value, json};

use crate::{
    api::{
        keys::ORCHESTRATION_GROUP,
        orchestration::{PodGroupKind, SchedulingStrategy},
    },
    k8s::member_facts::OwnerFacts,
};

use super::json::{at, put};

/// Annotation of a `PodGroup`: hash of the fields that we wrote last, which tells a field that the user took away from one
/// that the scheduler's own defaults filled in.
const WRITTEN: &str = "stormservice.orchestration.aibrix.ai/pod-group-spec";
/// Reason of the event that says that a group is as wanted.
const SYNCED: &str = "PodGroupSynced";
/// Reason of the event that says that nobody serves the kind.
const KIND_MISSING: &str = "PodGroupKindMissing";

/// How the kind is named and served.
pub(super) const fn kind_of(kind: PodGroupKind) -> Kind {
    let (group, version) = match kind {
        PodGroupKind::Godel => ("scheduling.godel.kubewharf.io", "v1alpha1"),
        PodGroupKind::Coscheduling => ("scheduling.x-k8s.io", "v1alpha1"),
        PodGroupKind::Volcano => ("scheduling.volcano.sh", "v1beta1"),
    };
    Kind { group, version, kind: "PodGroup", plural: "podgroups" }
}

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

const VERBS: &[&str] = &["create", "patch", "delete"];
/// What the loops do to `PodGroups`.
pub(super) const RULES: [Rule; 3] = [
    Rule::new("scheduling.godel.kubewharf.io", &["podgroups"], VERBS),
    Rule::new("scheduling.x-k8s.io", &["podgroups"], VERBS),
    Rule::new("scheduling.volcano.sh", &["podgroups"], VERBS),
];

/// What is kept of a `PodGroup`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct GroupFacts {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    version: Box<str>,
    terminating: bool,
    owner: Option<OwnerFacts>,
    labels: std::collections::BTreeMap<String, String>,
    written: Option<Box<str>>,
    spec: Value,
}

impl GroupFacts {
    /// Reduces a `PodGroup`.
    fn keep(object: DynamicObject, _: &Interner) -> Self {
        let DynamicObject { metadata, data, .. } = object;
        let owner = OwnerFacts::of(&metadata);
        let written = metadata.annotations.as_ref().and_then(|annotations| annotations.get(WRITTEN));
        Self {
            written: written.map(|hash| hash.as_str().into()),
            namespace: metadata.namespace.unwrap_or_default().into(),
            name: metadata.name.unwrap_or_default().into(),
            uid: metadata.uid.unwrap_or_default().into(),
            version: metadata.resource_version.unwrap_or_default().into(),
            terminating: metadata.deletion_timestamp.is_some(),
            owner,
            labels: metadata.labels.unwrap_or_default(),
            spec: data.get("spec").cloned().unwrap_or_default(),
        }
    }
}

impl Stored for GroupFacts {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }
}

impl Owned for GroupFacts {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn is_terminating(&self) -> bool {
        self.terminating
    }

    fn controller(&self) -> Option<ControllerRef<'_>> {
        self.owner.as_ref().map(OwnerFacts::to_ref)
    }
}

/// The `PodGroups` of one loop's objects.
#[derive(Debug)]
pub(super) struct PodGroups {
    kinds: [(PodGroupKind, Children<DynamicObject, GroupFacts>); 3],
}

/// What there is of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    kind: PodGroupKind,
    served: bool,
    group: Child<GroupFacts>,
}

impl PodGroups {
    /// Groups of the objects of this kind, which are in `owners`, and what these ask for.
    pub(super) fn open<S: Stored>(
        sources: &mut Sources<'_>,
        owner: &'static str,
        owners: &Store<S>,
        strategy: fn(&S) -> Option<&SchedulingStrategy>,
    ) -> Self {
        let kinds = PodGroupKind::ALL.map(|kind| {
            let spec = WatchSpec::<DynamicObject>::all_of(kind_of(kind).resource()).keeping(GroupFacts::keep);
            let groups = sources.owns_if_served(spec, ORCHESTRATION_GROUP, owner);
            let owners = owners.clone();
            // A scheduler that is installed later finds the objects that wait for it.
            sources.when_served(groups.store(), move || {
                let chosen = |it: &S| strategy(it).and_then(SchedulingStrategy::chosen).map(|(kind, _)| kind);
                let waiting = owners.list_where(|it| chosen(it) == Some(kind));
                waiting.iter().map(|it| Key::new(it.namespace(), it.name())).collect()
            });
            (kind, groups)
        });
        Self { kinds }
    }

    /// The groups named like an owner.
    pub(super) fn seen(&self, parent: Parent<'_>, name: &str) -> Vec<Seen> {
        let seen = |(kind, groups): &(PodGroupKind, Children<_, _>)| Seen {
            kind: *kind,
            served: groups.store().is_served(),
            group: groups.named(parent, name),
        };
        self.kinds.iter().map(seen).collect()
    }

    /// Makes the changes; all are tried.
    pub(super) async fn apply(
        &self,
        writer: &Writer,
        parent: Parent<'_>,
        steps: &[GroupStep],
        report: &mut StepReport,
    ) {
        for step in steps {
            let Some((_, groups)) = self.kinds.iter().find(|(kind, _)| *kind == step.kind()) else {
                continue;
            };
            match step {
                GroupStep::Create(_, object) => match serde_json::from_value::<DynamicObject>(object.clone())
                {
                    Ok(object) => {
                        report.note("create the PodGroup", groups.create(writer, parent, &object).await);
                    }
                    Err(error) => tracing::error!(%error, "a PodGroup of ours is no object"),
                },
                GroupStep::Patch(_, group, patch) => {
                    let patched = groups.patch(writer, parent, group, Change::Merge(patch.clone())).await;
                    report.note("patch the PodGroup", patched);
                }
                GroupStep::Delete(_, group) => {
                    let deleted = groups.delete(writer, parent, group, Deletion::background()).await;
                    report.note("delete the PodGroup", deleted);
                }
            }
        }
    }
}

/// A change of a `PodGroup`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum GroupStep {
    /// The whole object.
    Create(PodGroupKind, Value),
    /// A merge patch for the version that was seen.
    Patch(PodGroupKind, ChildRef, Value),
    /// The object that was seen.
    Delete(PodGroupKind, ChildRef),
}

impl GroupStep {
    fn kind(&self) -> PodGroupKind {
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
pub(super) struct GroupOwner<'a> {
    /// Namespace.
    pub(super) namespace: &'a str,
    /// Name of owner and group.
    pub(super) name: &'a str,
    /// The reference to it.
    pub(super) reference: Value,
    /// Label of the group that names the owner.
    pub(super) label: &'static str,
}

/// What a pass does about groups.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct GroupPlan {
    /// Changes.
    pub(super) steps: Vec<GroupStep>,
    /// To be told once the steps are done.
    pub(super) events: Vec<EventText>,
    /// What is in the way, told once per generation: nobody serves the kind, or the group is somebody else's.
    pub(super) trouble: Option<EventText>,
}

/// Makes the group that the strategy asks for, and takes those of other kinds away.
pub(super) fn plan(
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
pub(super) fn plan_none(seen: &[Seen]) -> Vec<GroupStep> {
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
pub(super) fn ask_for_the_same(one: Option<&SchedulingStrategy>, other: Option<&SchedulingStrategy>) -> bool {
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
