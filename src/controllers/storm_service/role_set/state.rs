// SPDX-License-Identifier: Apache-2.0
//! What a term remembers of a RoleSet; a restart starts empty. Pure.

use std::collections::BTreeSet;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Keys of notices that were told and are still so.
    pub(super) told: BTreeSet<String>,
    /// Keys of those that are told once in a term.
    pub(super) once: BTreeSet<String>,
    /// Names that the API server refused because something has them.
    pub(super) refused: BTreeSet<String>,
}
