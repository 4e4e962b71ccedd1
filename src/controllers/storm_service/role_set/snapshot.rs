// SPDX-License-Identifier: Apache-2.0
//! The facts of a pass of a RoleSet. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::orchestration::{PodSet, RoleSet},
    k8s::pod_facts::PodFacts,
};

use super::{super::pod_groups, member::Member};

/// What a pass looks at.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The RoleSet.
    pub(super) role_set: Arc<RoleSet>,
    /// Pods and `PodSets` that it controls, those that terminate included, by name.
    pub(super) members: Vec<Member>,
    /// Pods of its `PodSets`.
    pub(super) grouped: Vec<Arc<PodFacts>>,
    /// Pods that its label names and nobody controls, while the RoleSet is known to live.
    pub(super) orphan_pods: Vec<Arc<PodFacts>>,
    /// The same, `PodSets`.
    pub(super) orphan_sets: Vec<Arc<PodSet>>,
    /// Names that were refused because somebody else has them, and that he still has.
    pub(super) taken: BTreeSet<String>,
    /// Names of roles of which a replica could not be made when it was tried last.
    pub(super) refused: BTreeSet<String>,
    /// Whether all that was done is known.
    pub(super) caught_up: bool,
    /// What was read past the stores; `None`: nothing had to be.
    pub(super) live: Option<Live>,
    /// Its `PodGroups`.
    pub(super) groups: Vec<pod_groups::Seen>,
    /// What names of new pods are drawn from: another one in each pass.
    pub(super) draw: u64,
}

/// What was read past the stores, because a member has no digest or no fingerprint.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    /// When the spec of the RoleSet was written last; `None`: nobody says.
    pub(super) spec_written: Option<Timestamp>,
    /// Members by uid, whole.
    pub(super) members: BTreeMap<String, Value>,
}

impl Snapshot {
    /// Members of a role, of one kind.
    pub(super) fn members_of<'a>(&'a self, role: &'a str, sets: bool) -> impl Iterator<Item = &'a Member> {
        self.members.iter().filter(move |member| member.is_set() == sets && member.role() == role)
    }

    /// A member as it was read past the stores.
    pub(super) fn live_member(&self, uid: &str) -> Option<&Value> {
        self.live.as_ref()?.members.get(uid)
    }
}
