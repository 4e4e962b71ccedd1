// SPDX-License-Identifier: Apache-2.0
//! What a term remembers of a StormService; a restart starts empty. Pure.

use std::collections::BTreeSet;

use kube_fenced_election::clock::Timestamp;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Warnings that were told and are still true.
    pub(super) told: BTreeSet<String>,
    /// The collision count that the name of the next revision is taken with, where it is more than the status says.
    pub(super) collisions: u32,
    /// When the term looked at it first.
    pub(super) since: Option<Timestamp>,
}
