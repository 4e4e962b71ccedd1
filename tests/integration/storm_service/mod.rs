// SPDX-License-Identifier: Apache-2.0
//! StormServices, RoleSets and PodSets. The test plays kubelet: pods that were never bound to a node are gone at once when
//! they are deleted.

mod gangs;
mod in_place;
mod in_place_gates;
mod pod_sets;
mod role_sets;
mod services;
mod takeover;
mod world;
