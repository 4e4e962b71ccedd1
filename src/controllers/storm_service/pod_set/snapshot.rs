// SPDX-License-Identifier: Apache-2.0
//! The facts of a pass of a `PodSet`. Pure.

use std::{collections::BTreeMap, sync::Arc};

use kube_loops::runtime::children::{Child, ChildRef};

use crate::{
    api::{
        keys::{POD_GROUP_INDEX_LABEL, storm_service::TEMPLATE_DIGEST},
        orchestration::PodSet,
    },
    k8s::{member_facts::MemberFacts, pod_facts::PodFacts},
};

use super::super::pod_groups;

/// What a pass looks at.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The `PodSet`.
    pub(super) pod_set: Arc<PodSet>,
    /// Its pods, those that terminate included.
    pub(super) members: Vec<Member>,
    /// Pods that its label names and nobody controls, while the `PodSet` is known to live.
    pub(super) adoptable: Vec<Arc<PodFacts>>,
    /// Names of its pods that somebody else's pods have.
    pub(super) taken: Vec<String>,
    /// Whether all that was done is known.
    pub(super) caught_up: bool,
    /// Its `PodGroups`.
    pub(super) groups: Vec<pod_groups::Seen>,
}

/// A pod of the `PodSet`.
#[derive(Debug, Clone)]
pub(super) struct Member {
    facts: Arc<PodFacts>,
    /// Being deleted, whether or not the store shows it.
    pub(super) terminating: bool,
}

impl Member {
    /// The pod of a child; `None`: the child is no member.
    pub(super) fn of(child: Child<PodFacts>) -> Option<Self> {
        match child {
            Child::Ours(facts) => Some(Self { facts, terminating: false }),
            Child::Terminating(facts) => Some(Self { facts, terminating: true }),
            Child::Absent | Child::Orphan(_) | Child::Foreign(_) => None,
        }
    }

    /// Name.
    pub(super) fn name(&self) -> &str {
        &self.facts.name
    }

    /// What a write must find.
    pub(super) fn reference(&self) -> ChildRef {
        ChildRef::to(&*self.facts)
    }

    /// It has ended and nobody deletes it yet.
    pub(super) fn has_ended(&self) -> bool {
        !self.terminating && self.facts.is_finished()
    }

    /// Neither ended nor terminating.
    pub(super) fn is_live(&self) -> bool {
        !self.terminating && !self.facts.is_finished()
    }

    /// Ready by its condition.
    pub(super) fn is_ready(&self) -> bool {
        self.facts.ready_since.is_some()
    }

    /// The index that its label says; `None`: none, or no number.
    pub(super) fn index(&self) -> Option<usize> {
        kube_loops::rollout::slots::index_of(self.facts.labels.get(POD_GROUP_INDEX_LABEL).map(String::as_str))
    }

    /// What is kept of members.
    pub(super) fn member(&self) -> Option<&MemberFacts> {
        self.facts.member.as_deref()
    }

    /// Whether it was made, or looked at and adopted, by this program.
    pub(super) fn has_digest(&self) -> bool {
        self.member().is_some_and(|member| member.annotation(TEMPLATE_DIGEST).is_some())
    }

    /// Whether a container of it was restarted.
    pub(super) fn was_restarted(&self) -> bool {
        let containers = self.member().into_iter().flat_map(|member| &member.containers);
        containers.filter_map(|container| container.status.as_ref()).any(|status| status.restart_count > 0)
    }

    /// Oldest first, then by name, for the choice between two of one index.
    pub(super) fn age(&self) -> impl Ord + '_ {
        let created = self.member().and_then(|member| member.created);
        (created.is_none(), created, self.name())
    }
}

impl Snapshot {
    /// Number of pods that are wanted.
    pub(super) fn size(&self) -> usize {
        usize::try_from(self.pod_set.spec.pod_group_size).unwrap_or(0)
    }

    /// Pods by status: those that count, and those of them that are ready.
    pub(super) fn total_before(&self) -> usize {
        let total = self.pod_set.status.as_ref().map_or(0, |status| status.total_pods);
        usize::try_from(total).unwrap_or(0)
    }

    /// Live pods with a usable index, one for each.
    pub(super) fn carriers(&self) -> BTreeMap<usize, &Member> {
        let mut carriers: BTreeMap<usize, &Member> = BTreeMap::new();
        for member in self.members.iter().filter(|member| member.is_live()) {
            let Some(index) = member.index().filter(|index| *index < self.size()) else { continue };
            let better =
                |other: &&mut &Member| (!member.is_ready(), member.age()) < (!other.is_ready(), other.age());
            match carriers.get_mut(&index) {
                None => drop(carriers.insert(index, member)),
                Some(other) if better(&other) => *other = member,
                Some(_) => {}
            }
        }
        carriers
    }
}
