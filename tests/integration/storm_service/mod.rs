// SPDX-License-Identifier: Apache-2.0
//! StormServices, RoleSets and PodSets. The test plays kubelet: pods that were never bound to a node are gone at once when
//! they are deleted.

mod disturbances;
mod dump;
mod gangs;
mod headless;
mod in_place;
mod in_place_gates;
mod ownership;
mod pod_sets;
mod refusals;
mod revisions;
mod role_sets;
mod service_updates;
mod services;
mod take_over;
mod topology;
mod world;
