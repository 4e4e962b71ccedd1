// SPDX-License-Identifier: Apache-2.0
//! The StormService controller: three loops under one Lease, for StormServices, RoleSets and `PodSets`.

mod apply;
mod batches;
mod conditions;
mod json;
mod merge;
mod names;
mod passes;
mod pod_groups;
mod pod_set;
mod render;
mod role_set;
mod service;
mod templates;
mod topology;

#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod world;

use std::sync::Arc;

use kube_loops::runtime::{controller::ControllerSpec, loops::LoopController};

use crate::controllers::Deps;

use self::{
    passes::Passes,
    pod_set::{POD_SET, PodSetLoop},
    role_set::{ROLE_SET, RoleSetLoop},
    service::{STORM_SERVICE, StormServiceLoop},
};

const NAME: &str = "stormservice-controller";

/// Constants of the controller.
pub(super) const SPEC: ControllerSpec =
    ControllerSpec { name: NAME, required_kinds: &[STORM_SERVICE, ROLE_SET, POD_SET] };

/// The controller.
pub(super) fn controller(deps: &Deps) -> LoopController {
    let passes = Arc::<Passes>::default();
    LoopController::new(&SPEC, &deps.watches, &deps.metrics)
        .with(StormServiceLoop { passes: Arc::clone(&passes) })
        .with(RoleSetLoop { passes })
        .with(PodSetLoop)
}
