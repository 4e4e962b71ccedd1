// SPDX-License-Identifier: Apache-2.0
//! The members of a RoleSet: pods that it controls itself, and `PodSets`. Pure.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt;
use kube_loops::{
    rollout::{
        order::{DELETION_COST, deletion_cost},
        replica::{Life, Replica, Revision},
        slots::index_of,
    },
    runtime::children::{Child, ChildRef},
};

use crate::{
    api::{
        keys::{
            ROLE_NAME_LABEL,
            storm_service::{
                ACCEPTED_GROUP_SIZE, ROLE_REPLICA_INDEX, ROLE_TEMPLATE_HASH, TARGET_HASH, TEMPLATE_DIGEST,
            },
        },
        orchestration::{PodSet, RoleSpec},
    },
    k8s::{member_facts::MemberFacts, pod_facts::PodFacts},
};

/// A pod or `PodSet` that the RoleSet controls.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    object: Object,
    /// Being deleted, whether or not the store shows it.
    terminating: bool,
    /// The digest that an adoption in this pass gives it.
    adopted: Option<String>,
}

/// What a member is.
#[derive(Debug, Clone)]
enum Object {
    Pod(Arc<PodFacts>),
    Set(Arc<PodSet>),
}

impl Member {
    /// The pod of a child; `None`: it is no member.
    pub(super) fn of_pod(child: Child<PodFacts>) -> Option<Self> {
        Self::of(child, Object::Pod)
    }

    /// The `PodSet` of a child; `None`: it is no member.
    pub(super) fn of_set(child: Child<PodSet>) -> Option<Self> {
        Self::of(child, Object::Set)
    }

    fn of<S>(child: Child<S>, object: fn(Arc<S>) -> Object) -> Option<Self> {
        let (object, terminating) = match child {
            Child::Ours(it) => (object(it), false),
            Child::Terminating(it) => (object(it), true),
            Child::Absent | Child::Orphan(_) | Child::Foreign(_) => return None,
        };
        Some(Self { object, terminating, adopted: None })
    }

    /// The same once it is noted to be of this template.
    pub(super) fn adopted(mut self, digest: &str) -> Self {
        self.adopted = Some(digest.to_owned());
        self
    }

    /// Whether it is a `PodSet`.
    pub(super) fn is_set(&self) -> bool {
        matches!(self.object, Object::Set(_))
    }

    /// The `PodSet`.
    pub(super) fn set(&self) -> Option<&Arc<PodSet>> {
        if let Object::Set(set) = &self.object { Some(set) } else { None }
    }

    /// The pod.
    pub(super) fn pod(&self) -> Option<&PodFacts> {
        if let Object::Pod(pod) = &self.object { Some(pod) } else { None }
    }

    /// What is kept of a pod that is a member.
    pub(super) fn facts(&self) -> Option<&MemberFacts> {
        self.pod()?.member.as_deref()
    }

    /// Name.
    pub(super) fn name(&self) -> &str {
        match &self.object {
            Object::Pod(pod) => &pod.name,
            Object::Set(set) => set.metadata.name.as_deref().unwrap_or_default(),
        }
    }

    /// Uid.
    pub(super) fn uid(&self) -> &str {
        match &self.object {
            Object::Pod(pod) => &pod.uid,
            Object::Set(set) => set.metadata.uid.as_deref().unwrap_or_default(),
        }
    }

    /// What a write must find.
    pub(super) fn reference(&self) -> ChildRef {
        match &self.object {
            Object::Pod(pod) => ChildRef::to(&**pod),
            Object::Set(set) => ChildRef::to(&**set),
        }
    }

    /// Being deleted.
    pub(super) fn is_terminating(&self) -> bool {
        self.terminating
    }

    /// Labels.
    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        match &self.object {
            Object::Pod(pod) => &pod.labels,
            Object::Set(set) => set.labels(),
        }
    }

    /// An annotation of ours; empty text counts as absent.
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        let value = match &self.object {
            Object::Pod(pod) => pod.member.as_ref()?.annotation(key),
            Object::Set(set) => set.annotations().get(key).map(String::as_str),
        };
        value.filter(|value| !value.is_empty())
    }

    /// The role that its label names.
    pub(super) fn role(&self) -> &str {
        self.labels().get(ROLE_NAME_LABEL).map_or("", String::as_str)
    }

    /// The hash that its label says.
    pub(super) fn hash(&self) -> &str {
        self.labels().get(ROLE_TEMPLATE_HASH).map_or("", String::as_str)
    }

    /// Digest of the template that it was made from, or is being updated to; `None`: AIBrix made it, and nobody has
    /// looked at it.
    pub(super) fn digest(&self) -> Option<&str> {
        self.annotation(TEMPLATE_DIGEST).or(self.adopted.as_deref())
    }

    /// The hash that an update in place is heading for.
    pub(super) fn target(&self) -> Option<&str> {
        self.annotation(TARGET_HASH)
    }

    /// Creation time.
    pub(super) fn created(&self) -> Option<Timestamp> {
        match &self.object {
            Object::Pod(pod) => pod.member.as_ref()?.created,
            Object::Set(set) => set.metadata.creation_timestamp.as_ref().map(|time| time.0),
        }
    }

    /// Oldest first, then by name.
    pub(super) fn age(&self) -> impl Ord + '_ {
        (self.created().is_none(), self.created(), self.name())
    }

    /// How far its life has come.
    pub(super) fn life(&self) -> Life {
        match &self.object {
            _ if self.terminating => Life::Terminating,
            Object::Pod(pod) if pod.is_finished() => Life::Ended,
            Object::Pod(_) | Object::Set(_) => Life::Active,
        }
    }

    /// Ready by its status.
    pub(super) fn is_ready(&self) -> bool {
        match &self.object {
            Object::Pod(pod) => pod.ready_since.is_some(),
            Object::Set(set) => set.status.as_ref().is_some_and(|status| status.phase == "Ready"),
        }
    }

    /// Its index among the replicas of the role: of a pod by its annotation, of a `PodSet` by its label.
    pub(super) fn index(&self) -> Option<usize> {
        match &self.object {
            Object::Pod(_) => index_of(self.annotation(ROLE_REPLICA_INDEX)),
            Object::Set(set) => index_of(set.labels().get(ROLE_REPLICA_INDEX).map(String::as_str)),
        }
    }

    /// Whether it was made from this template, and is not being updated in place to any.
    pub(super) fn is_updated(&self, digest: &str, role: &RoleSpec) -> bool {
        self.digest() == Some(digest) && self.target().is_none() && !self.is_of_other_size(role)
    }

    /// Whether it is a `PodSet` of another size than the role wants, and was not adopted like that.
    fn is_of_other_size(&self, role: &RoleSpec) -> bool {
        let (Some(set), Some(wanted)) = (self.set(), role.pod_group_size) else { return false };
        let accepted = self.adopted.is_some()
            || self.annotation(ACCEPTED_GROUP_SIZE).is_some_and(|size| size == wanted.to_string());
        set.spec.pod_group_size != wanted && !accepted
    }

    /// What the arithmetic of rollouts knows of it.
    pub(super) fn replica(&self, digest: &str, role: &RoleSpec) -> Replica {
        let cost = self
            .annotation(DELETION_COST)
            .map(|cost| deletion_cost(Some(&BTreeMap::from([(DELETION_COST.to_owned(), cost.to_owned())]))));
        Replica {
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            created: self.created(),
            life: self.life(),
            ready: self.life() == Life::Active && self.is_ready(),
            revision: if self.is_updated(digest, role) { Revision::Update } else { Revision::Other },
            index: self.index(),
            deletion_cost: cost.map_or(0, i64::from),
            draining: false,
        }
    }
}
