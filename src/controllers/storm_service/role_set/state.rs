// SPDX-License-Identifier: Apache-2.0
//! What a term remembers of a RoleSet; a restart starts empty. Pure.

use std::collections::BTreeSet;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Keys of notices that were told: those of the last pass, and of earlier ones about the same spec.
    pub(super) told: BTreeSet<String>,
    /// Keys of those that are told once in a term.
    pub(super) once: BTreeSet<String>,
    /// Generation of the RoleSet that they are about.
    pub(super) generation: Option<i64>,
    /// Names that the API server refused because something has them.
    pub(super) taken: BTreeSet<String>,
    /// Names of roles of which a replica could not be made in the last pass.
    pub(super) refused: BTreeSet<String>,
}
