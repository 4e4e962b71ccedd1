// SPDX-License-Identifier: Apache-2.0
//! RoleSets: one instance of a service of several roles, whose replicas are pods or `PodSets`.
//!
//! # Guarantees
//! - A member is ours by the uid of its controller; nobody's members with our labels are adopted, everybody else's left
//!   alone.
//! - What AIBrix made keeps running: it is taken over by what it says, not by who made it, and nothing of it is renamed.
//! - Of a role never more than R + S members exist, and no ready one is given up at or below R − U.
//! - What one role cannot do keeps no other one back, and creations that are refused keep no deletion back.

mod adoption;
mod apply;
mod fetch;
mod in_place;
mod judge;
mod member;
mod plan;
mod reconcile;
mod roles;
mod scaling;
mod snapshot;
mod state;
mod status;
mod steps;
mod topology_notice;

#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod in_place_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod takeover_tests;
#[cfg(test)]
pub(super) mod testing;

use std::{sync::Arc, time::Duration};

use kube_loops::runtime::{
    conductor::Conductor,
    controller::{LoopSpec, Rule},
    loops::{Loop, LoopTerm, Sources},
};

use crate::api::keys::ORCHESTRATION_GROUP;

pub(super) use self::fetch::ROLE_SET;
use self::{
    fetch::{Reads, Stores},
    reconcile::RoleSetStages,
};
use super::{passes::Passes, pod_groups};

/// The kind.
const KIND: &str = "RoleSet";

const LOOP: LoopSpec = LoopSpec {
    label: "roleset-controller",
    event_source: "roleset-controller",
    workers: 4,
    period: None,
    deadline: Some(Duration::from_mins(1)),
    backoff_cap: Duration::from_secs(15),
    rules: &[
        Rule::new(ORCHESTRATION_GROUP, &["rolesets"], &["get", "patch"]),
        Rule::new(ORCHESTRATION_GROUP, &["rolesets/status"], &["get", "update", "patch"]),
        Rule::new(ORCHESTRATION_GROUP, &["rolesets/finalizers"], &["update"]),
        Rule::new(ORCHESTRATION_GROUP, &["podsets"], &["create", "patch", "delete"]),
        Rule::new("", &["pods"], &["create", "patch", "delete"]),
        Rule::new("", &["pods/status"], &["patch"]),
        pod_groups::RULES[0],
        pod_groups::RULES[1],
        pod_groups::RULES[2],
    ],
};

/// The loop.
pub(super) struct RoleSetLoop {
    pub(super) passes: Arc<Passes>,
}

impl Loop for RoleSetLoop {
    type Stores = Stores;
    type Reconciler = Conductor<RoleSetStages>;

    fn spec(&self) -> &'static LoopSpec {
        &LOOP
    }

    fn open(&self, sources: &mut Sources<'_>) -> Stores {
        Stores::open(sources)
    }

    fn start(&self, stores: Stores, term: &mut LoopTerm) -> Conductor<RoleSetStages> {
        self.passes.reset();
        let passes = Arc::clone(&self.passes);
        Conductor::new(RoleSetStages { reads: Reads::new(stores, term.client.clone()), passes })
    }
}
