// SPDX-License-Identifier: Apache-2.0
//! The facts of a pass of a StormService. Pure.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Service};
use kube::ResourceExt;
use kube_loops::{
    rollout::{
        replica::{Life, Replica, Revision},
        revisions::Recorded,
        slots::index_of,
    },
    runtime::children::{Child, ChildRef},
};
use serde_json::Value;

use crate::api::{
    keys::storm_service::{REVISION_LABEL, ROLE_SET_INDEX},
    orchestration::{RoleSet, RoleStatus, StormService},
};

use super::super::{conditions, json::at};

/// What a pass looks at.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The StormService.
    pub(super) service: Arc<StormService>,
    /// Its RoleSets, those that terminate included, by name.
    pub(super) sets: Vec<Set>,
    /// Its recorded templates.
    pub(super) history: Vec<Record>,
    /// The Service of its name.
    pub(super) headless: Child<Service>,
    /// Whether all that was done to RoleSets is known.
    pub(super) caught_up: bool,
    /// What names of new RoleSets are drawn from: another one in each pass.
    pub(super) draw: u64,
}

/// A RoleSet.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "it is what the API calls it")]
pub(super) struct Set {
    /// As it is stored.
    pub(super) role_set: Arc<RoleSet>,
    /// Being deleted, whether or not the store shows it.
    pub(super) terminating: bool,
    /// Whether the RoleSet loop has passed over this generation of it in this term: its status is about it.
    pub(super) passed: bool,
}

/// A recorded template.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// As it is stored.
    pub(super) revision: Arc<ControllerRevision>,
    /// What the history knows of it.
    pub(super) recorded: Recorded,
    /// The template.
    pub(super) template: Value,
}

impl Record {
    /// Of a stored revision.
    pub(super) fn of(revision: Arc<ControllerRevision>) -> Self {
        let data = revision.data.as_ref().map_or(&Value::Null, |data| &data.0);
        let mut template = at(data, &["spec", "template"]).clone();
        if let Some(members) = template.as_object_mut() {
            members.remove("$patch");
        }
        let recorded = Recorded {
            name: revision.name_any(),
            uid: revision.metadata.uid.clone().unwrap_or_default(),
            number: revision.revision,
            created: revision.metadata.creation_timestamp.as_ref().map(|time| time.0),
        };
        Self { revision, recorded, template }
    }
}

impl Set {
    /// The RoleSet of a child; `None`: the child is none of ours.
    pub(super) fn of(child: Child<RoleSet>, passed: impl Fn(&RoleSet) -> bool) -> Option<Self> {
        let (role_set, terminating) = match child {
            Child::Ours(role_set) => (role_set, false),
            Child::Terminating(role_set) => (role_set, true),
            Child::Absent | Child::Orphan(_) | Child::Foreign(_) => return None,
        };
        let passed = passed(&role_set);
        Some(Self { role_set, terminating, passed })
    }

    /// What a write must find.
    pub(super) fn reference(&self) -> ChildRef {
        ChildRef::to(&*self.role_set)
    }

    /// The revision that its label names; empty: none.
    pub(super) fn revision(&self) -> &str {
        self.role_set.labels().get(REVISION_LABEL).map_or("", String::as_str)
    }

    /// Its place among its siblings.
    pub(super) fn index(&self) -> Option<usize> {
        index_of(self.role_set.annotations().get(ROLE_SET_INDEX).map(String::as_str))
    }

    /// Ready by its status, whatever that is about: unknown is not unready, and costs a budget.
    fn says_ready(&self) -> bool {
        let status = self.role_set.status.as_ref();
        !self.terminating && status.is_some_and(|status| conditions::is_true(&status.conditions, "Ready"))
    }

    /// Ready by its status, which is about what it is now.
    pub(super) fn is_ready(&self) -> bool {
        self.says_ready() && self.passed
    }

    /// Whether every role has as many replicas as `count` says of its status. A role without a status has none.
    pub(super) fn all_roles(&self, count: impl Fn(&RoleStatus) -> i32) -> bool {
        let statuses =
            self.role_set.status.as_ref().map(|status| status.roles.as_slice()).unwrap_or_default();
        let complete = self.role_set.spec.roles.iter().all(|role| {
            let wanted = role.replicas.unwrap_or(0).max(0);
            let status = statuses.iter().find(|status| status.name == role.name);
            status.map_or(wanted == 0, |status| count(status) == wanted)
        });
        complete && self.passed
    }

    /// What the arithmetic of rollouts knows of it.
    pub(super) fn replica(&self, current: &str, update: &str) -> Replica {
        let revision = match self.revision() {
            it if it == update => Revision::Update,
            it if it == current => Revision::Current,
            _ => Revision::Other,
        };
        Replica {
            name: self.role_set.name_any(),
            uid: self.role_set.metadata.uid.clone().unwrap_or_default(),
            created: self.role_set.metadata.creation_timestamp.as_ref().map(|time| time.0),
            life: if self.terminating { Life::Terminating } else { Life::Active },
            ready: self.says_ready(),
            revision,
            index: self.index(),
            deletion_cost: 0,
            draining: false,
        }
    }
}

impl Snapshot {
    /// Number of RoleSets that are wanted.
    pub(super) fn desired(&self) -> usize {
        usize::try_from(self.service.spec.replicas.unwrap_or(1)).unwrap_or(0)
    }
}
