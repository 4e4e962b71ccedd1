// SPDX-License-Identifier: Apache-2.0
//! How many writes of one kind go out at a time, and in one pass.

pub(super) use kube_loops::runtime::batches::in_batches;

/// First batch of pods.
pub(super) const PODS: usize = 16;
/// First batch of RoleSets.
pub(super) const ROLE_SETS: usize = 1;
/// Most writes of one kind in one pass of one role.
pub(super) const MOST: usize = 500;
