// SPDX-License-Identifier: Apache-2.0
//! `PodGroups`: pods that a scheduler places together. The same rules for RoleSets and `PodSets`. Planning is pure.
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
    cluster::writer::{Change, Deletion, Writer},
    runtime::{
        children::{Child, Children, Parent},
        controller::{Kind, Rule},
        loops::Sources,
        reconciler::Key,
        steps::StepReport,
        watches::{ControllerRef, Owned, Store, Stored, WatchSpec, interner::Interner},
    },
};
use serde_json::Value;

use crate::{
    api::{
        keys::ORCHESTRATION_GROUP,
        orchestration::{PodGroupKind, SchedulingStrategy},
    },
    k8s::member_facts::OwnerFacts,
};

mod plan;
#[cfg(test)]
mod plan_tests;

pub(super) use plan::{GroupOwner, GroupPlan, GroupStep, ask_for_the_same, plan, plan_none};

/// Annotation of a `PodGroup`: hash of the fields that we wrote last, which tells a field that the user took away from one
/// that the scheduler's own defaults filled in.
const WRITTEN: &str = "stormservice.orchestration.aibrix.ai/pod-group-spec";
/// How the kind is named and served.
pub(super) const fn kind_of(kind: PodGroupKind) -> Kind {
    let (group, version) = match kind {
        PodGroupKind::Godel => ("scheduling.godel.kubewharf.io", "v1alpha1"),
        PodGroupKind::Coscheduling => ("scheduling.x-k8s.io", "v1alpha1"),
        PodGroupKind::Volcano => ("scheduling.volcano.sh", "v1beta1"),
    };
    Kind { group, version, kind: "PodGroup", plural: "podgroups" }
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
