// SPDX-License-Identifier: Apache-2.0
//! `PodSets`: a group of pods, of which each has an index, and which serve as one replica.
//!
//! # Guarantees
//! - A pod is ours by the uid of its controller; nobody's pod with our label is adopted, everybody else's left alone.
//! - Of one index there is one live pod. What has ended is deleted first, and its name is free only when it is gone.
//! - Pods that AIBrix made are kept, restarted by nothing, whatever index they bear.
//! - Under `Recreate` a loss makes all pods anew, once; a group that is being made is never torn down.

mod apply;
mod fetch;
mod plan;
mod reconcile;
mod snapshot;
mod state;

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
pub(super) mod testing;

use std::time::Duration;

use kube::core::ApiResource;
use kube_loops::runtime::{
    conductor::Conductor,
    controller::{Kind, LoopSpec, Rule},
    loops::{Loop, LoopTerm, Sources},
};

use crate::api::{keys::ORCHESTRATION_GROUP, orchestration::VERSION};

use self::{
    fetch::{Reads, Stores},
    reconcile::PodSetStages,
};
use super::pod_groups;

/// The kind.
const KIND: &str = "PodSet";
/// How it is served.
pub(super) const POD_SET: Kind =
    Kind { group: ORCHESTRATION_GROUP, version: VERSION, kind: KIND, plural: "podsets" };

const LOOP: LoopSpec = LoopSpec {
    label: "podset-controller",
    event_source: "podset-controller",
    workers: 4,
    period: None,
    deadline: Some(Duration::from_mins(1)),
    backoff_cap: Duration::from_mins(1),
    rules: &[
        Rule::new(ORCHESTRATION_GROUP, &["podsets"], &["get", "patch"]),
        Rule::new(ORCHESTRATION_GROUP, &["podsets/status"], &["get", "update", "patch"]),
        Rule::new(ORCHESTRATION_GROUP, &["podsets/finalizers"], &["update"]),
        Rule::new("", &["pods"], &["create", "patch", "delete"]),
        Rule::new("", &["pods/status"], &["patch"]),
        pod_groups::RULES[0],
        pod_groups::RULES[1],
        pod_groups::RULES[2],
    ],
};

/// The loop.
pub(super) struct PodSetLoop;

impl Loop for PodSetLoop {
    type Stores = Stores;
    type Reconciler = Conductor<PodSetStages>;

    fn spec(&self) -> &'static LoopSpec {
        &LOOP
    }

    fn open(&self, sources: &mut Sources<'_>) -> Stores {
        Stores::open(sources)
    }

    fn start(&self, stores: Stores, term: &mut LoopTerm) -> Conductor<PodSetStages> {
        Conductor::new(PodSetStages { reads: Reads::new(stores, term.client.clone()) })
    }
}

fn resource() -> ApiResource {
    POD_SET.resource()
}
