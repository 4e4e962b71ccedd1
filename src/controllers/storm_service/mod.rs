// SPDX-License-Identifier: Apache-2.0
//! The StormService controller: three loops under one Lease, for StormServices, RoleSets and PodSets.

mod batches;
mod conditions;
mod names;
mod pod_groups;
mod pod_set;
mod pods;
mod render;
mod role_set;
mod templates;
mod topology;

#[cfg(test)]
mod names_tests;

use kube_loops::runtime::{controller::ControllerSpec, loops::LoopController};

use crate::controllers::Deps;

use self::{
    pod_set::{POD_SET, PodSetLoop},
    role_set::{ROLE_SET, RoleSetLoop},
};

const NAME: &str = "stormservice-controller";

/// Constants of the controller.
pub(super) const SPEC: ControllerSpec = ControllerSpec { name: NAME, required_kinds: &[POD_SET, ROLE_SET] };

/// The controller.
pub(super) fn controller(deps: &Deps) -> LoopController {
    LoopController::new(&SPEC, &deps.watches, &deps.metrics).with(RoleSetLoop).with(PodSetLoop)
}
