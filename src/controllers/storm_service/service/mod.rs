// SPDX-License-Identifier: Apache-2.0
//! StormServices: copies of a RoleSet, a headless Service for their pods, and a history of templates.
//!
//! # Guarantees
//! - A RoleSet is ours by the uid of its controller, whatever selectors and labels say.
//! - Each template is recorded once, in AIBrix's own form; one that comes back gets its old name and a new number.
//! - Never more than R + S RoleSets exist, and no ready one is given up at or below R − U.
//! - A RoleSet at the template's revision is not written, whoever made it.

mod apply;
mod fetch;
mod objects;
mod plan;
mod reconcile;
mod revisions;
mod served;
mod snapshot;
mod state;
mod status;
mod steps;

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod revision_tests;
#[cfg(test)]
mod scaling_tests;
#[cfg(test)]
mod served_tests;
#[cfg(test)]
mod world;

use std::{sync::Arc, time::Duration};

use kube_loops::runtime::{
    conductor::Conductor,
    controller::{LoopSpec, Rule},
    loops::{Loop, LoopTerm, Sources},
};

use crate::api::keys::ORCHESTRATION_GROUP;

pub(super) use self::fetch::STORM_SERVICE;
use self::{
    fetch::{Reads, Stores},
    reconcile::StormServiceStages,
};
use super::passes::Passes;

/// The kind.
const KIND: &str = "StormService";

const LOOP: LoopSpec = LoopSpec {
    label: "stormservice-controller",
    event_source: "stormservice-controller",
    workers: 4,
    period: None,
    deadline: Some(Duration::from_mins(1)),
    backoff_cap: Duration::from_mins(1),
    rules: &[
        Rule::new(ORCHESTRATION_GROUP, &["stormservices"], &["patch"]),
        Rule::new(ORCHESTRATION_GROUP, &["stormservices/status"], &["get", "update", "patch"]),
        Rule::new(ORCHESTRATION_GROUP, &["stormservices/finalizers"], &["update"]),
        Rule::new(ORCHESTRATION_GROUP, &["rolesets"], &["create", "patch", "delete"]),
        Rule::new("apps", &["controllerrevisions"], &["create", "patch", "delete"]),
        Rule::new("", &["services"], &["create", "patch", "delete"]),
        Rule::new("apiextensions.k8s.io", &["customresourcedefinitions"], &["get"]),
    ],
};

/// The loop.
pub(super) struct StormServiceLoop {
    pub(super) passes: Arc<Passes>,
}

impl Loop for StormServiceLoop {
    type Stores = Stores;
    type Reconciler = Conductor<StormServiceStages>;

    fn spec(&self) -> &'static LoopSpec {
        &LOOP
    }

    fn open(&self, sources: &mut Sources<'_>) -> Stores {
        Stores::open(sources)
    }

    fn start(&self, stores: Stores, term: &mut LoopTerm) -> Conductor<StormServiceStages> {
        let reads = Reads::new(stores, Arc::clone(&self.passes), term.client.clone());
        Conductor::new(StormServiceStages { reads })
    }
}
