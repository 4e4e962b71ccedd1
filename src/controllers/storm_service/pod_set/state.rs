// SPDX-License-Identifier: Apache-2.0
//! What a term remembers of a `PodSet`; a restart starts empty. Pure.

use std::collections::BTreeSet;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Warnings that were told and are still true.
    pub(super) told: BTreeSet<String>,
}
